//! What the store keeps of the order of a transaction beside its bytes, in the wallet's own form: JSON with a number.

use rollmill_protocol::Fr;
use rollmill_protocol::field::serde_fr;
use rollmill_pxe_store::Account;
use serde::{Deserialize, Serialize};

use crate::error::PxeError;
use crate::wallet::{Fate, IdempotencyKey};

/// Version of the form.
const FORM: u64 = 1;

/// The order of a transaction, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(super) form: u64,
    /// The account that ordered it. Others of the store may have notes and tags in it.
    #[serde(with = "serde_fr")]
    pub(super) sender: Fr,
    /// [`super::CallOrder::text`].
    pub(crate) order: String,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) fate: Fate,
    /// When nothing could happen to it any more, in seconds since 1970.
    pub(crate) ended: Option<u64>,
    /// Whether the row has a form that this release does not know. It is left as it is then.
    #[serde(skip)]
    pub(super) is_newer: bool,
}

impl Record {
    /// The record of a transaction that nobody has seen.
    pub(crate) fn new(sender: Account, order: String, key: Option<IdempotencyKey>) -> Self {
        let (sender, fate) = (sender.0, Fate::Held);
        Self { form: FORM, sender, order, key, fate, ended: None, is_newer: false }
    }

    /// The record in a row of an account. One that cannot be read, as a newer release may write it, has neither order
    /// nor key, so that its transaction is followed all the same, and is not written back.
    pub(crate) fn of_row(account: Account, bytes: &[u8]) -> Self {
        let read: Option<Self> = serde_json::from_slice(bytes).ok();
        let known = read.filter(|read| read.form <= FORM);
        known.unwrap_or_else(|| Self { is_newer: true, ..Self::new(account, String::new(), None) })
    }

    /// The bytes of the row.
    ///
    /// # Errors
    /// [`PxeError::State`] for a record of a newer release, of which this one knows a part only.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, PxeError> {
        if self.is_newer {
            return Err(PxeError::state("an order is of a newer release"));
        }
        serde_json::to_vec(self).map_err(|_| PxeError::state("an order cannot be written"))
    }

    /// Whether this account ordered the transaction.
    pub(crate) fn is_of(&self, account: Account) -> bool {
        self.sender == account.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let key = "a-key-of-the-tests".parse().expect("a key");
        Record::new(Account(Fr::from(5u64)), "call \"it\"".to_owned(), Some(key))
    }

    #[test]
    fn a_record_is_the_same_after_it_was_written_and_read() {
        for fate in [Fate::Held, Fate::Accepted, Fate::Dropped("why".to_owned())] {
            let record = Record { fate, ended: Some(7), ..record() };
            let bytes = record.to_bytes().expect("bytes");
            assert_eq!(Record::of_row(Account(Fr::from(9u64)), &bytes), record);
        }
    }

    #[test]
    fn what_is_no_record_of_this_release_has_neither_order_nor_key() {
        let account = Account(Fr::from(5u64));
        let newer = Record { form: FORM + 1, ..record() }.to_bytes().expect("bytes");
        let mut longer = record().to_bytes().expect("bytes");
        longer.push(b'}');
        for bytes in [&newer[..], &longer, &[7; 32], b"", b"{}"] {
            let read = Record::of_row(account, bytes);
            let without = Record::new(account, String::new(), None);
            assert_eq!(read, Record { is_newer: true, ..without });
            assert_eq!(read.to_bytes().expect_err("not written back").code(), "PXE-003");
        }
    }
}
