//! Signs blocks for the committee, at most one in each slot.
//!
//! Two signatures of one account over different blocks of a slot are evidence against it, so what is signed is
//! decided by a row on the disk: it is written, with its signature, before the signature leaves this module. Asked
//! again for the same block, the signer returns the signature of the row. Asked for another one of the slot, it
//! fails, after a crash or a restart too. The file is locked while it is open.
//!
//! With each row it keeps the proposal, as long as it is among the newest: a proposer continues with it after a
//! restart, and whoever signed can give the client proofs to others.

use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};
use rollmill_l1::alloy::primitives::{Address, B256};
use rollmill_l1::alloy::signers::SignerSync;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::{abi, attest};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::{EthAddress, Fr, field};

/// Version of the tables below.
const SCHEMA: u64 = 1;
/// Rows kept: more than half a day of slots of 12 seconds. Of slots before the oldest one nothing is signed.
const ROWS_MAX: u64 = 4096;
/// Proposals kept, newest slots first: at most 2.2 MiB each.
const PROPOSALS_MAX: u64 = 32;

const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
/// slot → number, chain, signature.
const SIGNED: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("signed");
/// slot → proposal.
const PROPOSALS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("proposals");
const ROW_BYTES: usize = 8 + 32 + attest::SIGNATURE_BYTES;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// Another process has the record of signatures open.
    ///
    /// Do: Stop that process: a key signs in one process only.
    #[error("{code}: the record of signatures {} is in use by another process; stop that process, since a key signs in one process only", path.display(), code = self.code())]
    InUse { path: PathBuf },
    /// The record of signatures cannot be opened: no permission, no space, or damaged.
    ///
    /// Do: Check the path of `--committee-signatures`, its permissions and its disk. If the file is damaged, restore
    /// nothing older: move it away, and the account signs again two slots later.
    #[error("{code}: the record of signatures {} cannot be opened; check the path of committee.signatures, its permissions and the disk's space", path.display(), code = self.code())]
    Open {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    /// The record of signatures is another account's, or of another deployment.
    ///
    /// Do: Correct the account's key or `--committee-signatures`: each account has its own file in each deployment.
    #[error("{code}: {} has the signatures of {got}, not of {expected}; correct the account's key or committee.signatures", path.display(), code = self.code())]
    Foreign { path: PathBuf, expected: String, got: String },
    /// The record of signatures cannot be read or written: full disk, or an I/O error.
    ///
    /// Do: Check the disk's free space and health, then restart. Nothing is signed until then.
    #[error("{code}: the record of signatures: {0}; check the disk's space and health", code = self.code())]
    Database(#[source] Box<redb::Error>),
    /// The account has signed another block of the slot.
    ///
    /// Do: Nothing: the account signs again in the next slot.
    #[error("{code}: another block of slot {slot} is signed already: number {number} with chain {chain}", code = self.code())]
    Twice { slot: u64, number: u64, chain: String },
    /// The slot is older than what the record of signatures covers.
    ///
    /// Do: Nothing: a new file starts two slots after it is created. Never delete a file that is in use.
    #[error("{code}: nothing is signed of slot {slot}; the record of signatures covers slots from {first}", code = self.code())]
    TooOld { slot: u64, first: u64 },
    /// The key does not sign.
    ///
    /// Do: Check the key of `--l1-key-env` or `--l1-keystore`.
    #[error("{code}: the block is not signed: {reason}", code = self.code())]
    Key { reason: String },
    /// The record of signatures has an impossible value.
    ///
    /// Do: Move the file away; the account signs again two slots later.
    #[error("{code}: the record of signatures is damaged: {what}; move the file away", code = self.code())]
    Damaged { what: &'static str },
}

rollmill_errors::coded! {
    SigningError {
        Self::InUse { .. } => "NODE-070",
        Self::Open { .. } => "NODE-071",
        Self::Foreign { .. } => "NODE-072",
        Self::Database(_) => "NODE-073",
        Self::Twice { .. } => "NODE-074" permanent,
        Self::TooOld { .. } => "NODE-075" permanent,
        Self::Key { .. } => "NODE-076",
        Self::Damaged { .. } => "NODE-077",
    }
}

macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for SigningError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })*
    };
}
from_database!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// What is signed of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    pub number: u64,
    pub slot: u64,
    /// The link.
    pub chain: Fr,
}

/// A vote and its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    pub vote: Vote,
    pub signature: [u8; attest::SIGNATURE_BYTES],
}

/// Signs blocks with one key, at most one in each slot.
#[derive(Debug)]
pub struct BlockSigner {
    key: PrivateKeySigner,
    chain_id: u64,
    rollup: EthAddress,
    db: Database,
}

impl BlockSigner {
    /// Opens the record of the account's signatures, or creates it. A new one covers slots from `first` on: a file
    /// that was lost may have had rows of slots up to the present one.
    ///
    /// # Errors
    /// [`SigningError::InUse`] while another process has it open.
    pub fn open(
        path: &Path,
        key: PrivateKeySigner,
        chain_id: u64,
        rollup: EthAddress,
        first: u64,
    ) -> Result<Self, SigningError> {
        let failed = |source: redb::Error| SigningError::Open {
            path: path.to_owned(),
            source: Box::new(source),
        };
        // A file that is lost with its folder would allow a second block of a slot.
        rollmill_files::make_folder_of(path).map_err(|error| failed(redb::Error::Io(error)))?;
        let db = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => SigningError::InUse { path: path.to_owned() },
            error => failed(error.into()),
        })?;
        let signer = Self { key, chain_id, rollup, db };
        signer.identify(path, first)?;
        Ok(signer)
    }

    /// Requires that the file is this account's, and makes a new one so.
    fn identify(&self, path: &Path, first: u64) -> Result<(), SigningError> {
        let own = self.identity();
        let transaction = self.db.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            transaction.open_table(SIGNED)?;
            transaction.open_table(PROPOSALS)?;
            let found = meta.get("identity")?.map(|value| value.value().to_vec());
            match found {
                None => {
                    meta.insert("identity", own.as_slice())?;
                    meta.insert("first", first.to_be_bytes().as_slice())?;
                }
                Some(found) if found == own => {}
                Some(found) => {
                    return Err(SigningError::Foreign {
                        path: path.to_owned(),
                        expected: describe(&own),
                        got: describe(&found),
                    });
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Schema, chain, rollup and account.
    fn identity(&self) -> Vec<u8> {
        let account = self.key.address();
        [
            &SCHEMA.to_be_bytes()[..],
            &self.chain_id.to_be_bytes(),
            &self.rollup.0,
            account.as_slice(),
        ]
        .concat()
    }

    /// The account that signs.
    pub fn account(&self) -> Address {
        self.key.address()
    }

    /// Chain and rollup for which it signs.
    pub fn domain(&self) -> (u64, Address) {
        (self.chain_id, abi::address(self.rollup))
    }

    /// What the account signed of a slot.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn signed(&self, slot: u64) -> Result<Option<Signed>, SigningError> {
        let table = self.db.begin_read()?.open_table(SIGNED)?;
        table.get(slot)?.map(|row| read(slot, row.value())).transpose()
    }

    /// The proposal that was kept with the signature of a slot.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn proposal(&self, slot: u64) -> Result<Option<Vec<u8>>, SigningError> {
        let table = self.db.begin_read()?.open_table(PROPOSALS)?;
        Ok(table.get(slot)?.map(|row| row.value().to_vec()))
    }

    /// Signs a block, or returns the signature of the row if this very block was signed before. When this returns,
    /// the row is on the disk. `proposal` makes what is kept with it from the signature.
    ///
    /// Concurrent calls come one after the other.
    ///
    /// # Errors
    /// [`SigningError::Twice`] for another block of a slot, and [`SigningError::TooOld`] for a slot before the
    /// first row. Nothing is signed when the row cannot be written.
    pub fn sign(
        &self,
        vote: Vote,
        proposal: impl FnOnce(&[u8; attest::SIGNATURE_BYTES]) -> Vec<u8>,
    ) -> Result<Signed, SigningError> {
        // The second of two calls waits here for the first to commit.
        let transaction = self.db.begin_write()?;
        let signed = match self.decide(&transaction, vote)? {
            Some(signed) => {
                transaction.abort()?;
                return Ok(signed);
            }
            None => Signed { vote, signature: self.signature(vote)? },
        };
        put(&transaction, &signed, &proposal(&signed.signature))?;
        // Waits for the disk, as it does by default.
        transaction.commit()?;
        rollmill_service::failpoint!(blocking "node.block_signed");
        Ok(signed)
    }

    /// The row of this very block; `None` if the slot has no row yet and may have one.
    fn decide(
        &self,
        transaction: &WriteTransaction,
        vote: Vote,
    ) -> Result<Option<Signed>, SigningError> {
        let rows = transaction.open_table(SIGNED)?;
        let row = rows.get(vote.slot)?.map(|row| read(vote.slot, row.value())).transpose()?;
        if let Some(signed) = row {
            let Vote { number, slot, chain } = signed.vote;
            return match signed.vote == vote {
                true => Ok(Some(signed)),
                false => Err(SigningError::Twice { slot, number, chain: to_hex(&chain) }),
            };
        }
        let first = first(&transaction.open_table(META)?)?;
        match vote.slot < first {
            true => Err(SigningError::TooOld { slot: vote.slot, first }),
            false => Ok(None),
        }
    }

    /// What a signature of a block is over.
    pub fn digest(&self, Vote { number, slot, chain }: Vote) -> B256 {
        let rollup = abi::address(self.rollup);
        attest::block_digest(self.chain_id, rollup, number, slot, abi::word(&chain))
    }

    fn signature(&self, vote: Vote) -> Result<[u8; attest::SIGNATURE_BYTES], SigningError> {
        let signature = self.key.sign_hash_sync(&self.digest(vote));
        let signature =
            signature.map_err(|error| SigningError::Key { reason: error.to_string() })?;
        Ok(signature.as_bytes())
    }
}

/// Adds a row, and removes the oldest ones beyond the limits.
fn put(
    transaction: &WriteTransaction,
    signed: &Signed,
    proposal: &[u8],
) -> Result<(), SigningError> {
    let Signed { vote: Vote { number, slot, chain }, signature } = signed;
    let row = [&number.to_be_bytes()[..], &field::to_bytes(chain), signature].concat();
    let mut rows = transaction.open_table(SIGNED)?;
    rows.insert(slot, row.as_slice())?;
    // By count and not by distance, so that one row of a far slot excludes no nearer one.
    if let Some(oldest) = trim(&mut rows, ROWS_MAX)? {
        let mut meta = transaction.open_table(META)?;
        let next = oldest.saturating_add(1).max(first(&meta)?);
        meta.insert("first", next.to_be_bytes().as_slice())?;
    }
    let mut proposals = transaction.open_table(PROPOSALS)?;
    proposals.insert(slot, proposal)?;
    trim(&mut proposals, PROPOSALS_MAX)?;
    Ok(())
}

/// Removes the lowest slots until `max` are left; the highest of those that it removed.
fn trim(table: &mut Table<'_, u64, &'static [u8]>, max: u64) -> Result<Option<u64>, SigningError> {
    let mut removed = None;
    while table.len()? > max {
        match table.pop_first()? {
            Some((slot, _)) => removed = Some(slot.value()),
            None => break,
        }
    }
    Ok(removed)
}

fn first(meta: &Table<'_, &'static str, &'static [u8]>) -> Result<u64, SigningError> {
    let value = meta.get("first")?;
    let bytes = value.as_ref().and_then(|value| value.value().try_into().ok());
    let what = "it has no first slot";
    bytes.map(u64::from_be_bytes).ok_or(SigningError::Damaged { what })
}

fn read(slot: u64, row: &[u8]) -> Result<Signed, SigningError> {
    let damaged = || SigningError::Damaged { what: "a row is no signature" };
    let row: &[u8; ROW_BYTES] = row.try_into().map_err(|_| damaged())?;
    let (number, rest) = row.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (chain, signature) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
    let vote = Vote {
        number: u64::from_be_bytes(*number),
        slot,
        chain: field::from_bytes(chain).ok_or_else(damaged)?,
    };
    Ok(Signed { vote, signature: signature.try_into().map_err(|_| damaged())? })
}

/// An identity for people.
fn describe(identity: &[u8]) -> String {
    let hex = |from: usize, to: usize| {
        let part = identity.get(from..to).unwrap_or_default();
        part.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let number = |from: usize| {
        let bytes = identity.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_be_bytes)
    };
    let (schema, chain_id) = (number(0), number(8));
    format!(
        "account 0x{} at rollup 0x{} on chain {chain_id} (schema {schema})",
        hex(36, 56),
        hex(16, 36)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: EthAddress = EthAddress([0xa0; 20]);

    fn key(number: u64) -> PrivateKeySigner {
        format!("{number:064x}").parse().unwrap()
    }

    fn open(path: &Path) -> Result<BlockSigner, SigningError> {
        BlockSigner::open(path, key(7), 31337, ROLLUP, 3)
    }

    fn vote(number: u64, slot: u64, chain: u64) -> Vote {
        Vote { number, slot, chain: Fr::from(chain) }
    }

    fn sign(signer: &BlockSigner, vote: Vote) -> Result<Signed, SigningError> {
        signer.sign(vote, |signature| signature.to_vec())
    }

    #[test]
    fn of_a_slot_one_block_is_signed_and_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/signatures.redb");
        let mut signer = open(&path).unwrap();
        let own = sign(&signer, vote(5, 9, 1)).unwrap();
        let digest = signer.digest(vote(5, 9, 1));
        assert_eq!(attest::recover(&digest, &own.signature), Some(key(7).address()));
        for _ in 0..2 {
            assert_eq!(sign(&signer, vote(5, 9, 1)).unwrap(), own);
            for other in [vote(5, 9, 2), vote(6, 9, 1)] {
                let error = sign(&signer, other).unwrap_err();
                assert!(matches!(error, SigningError::Twice { slot: 9, number: 5, .. }), "{error}");
            }
            assert_eq!(signer.signed(9).unwrap(), Some(own));
            assert_eq!(signer.proposal(9).unwrap(), Some(own.signature.to_vec()));
            drop(signer);
            signer = open(&path).unwrap();
        }
        // An earlier slot is another slot: whoever proposes in 10 cannot keep 8 from being signed.
        sign(&signer, vote(5, 10, 3)).unwrap();
        sign(&signer, vote(5, 8, 4)).unwrap();
        assert_eq!(signer.signed(7).unwrap(), None);
    }

    #[test]
    fn a_second_process_and_another_account_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signatures.redb");
        let signer = open(&path).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, SigningError::InUse { .. }), "{error}");
        drop(signer);
        for other in [
            BlockSigner::open(&path, key(8), 31337, ROLLUP, 3),
            BlockSigner::open(&path, key(7), 1, ROLLUP, 3),
            BlockSigner::open(&path, key(7), 31337, EthAddress([1; 20]), 3),
        ] {
            let error = other.unwrap_err();
            assert!(matches!(error, SigningError::Foreign { .. }), "{error}");
        }
        open(&path).unwrap();
    }

    #[test]
    fn a_file_signs_nothing_before_its_first_slot_and_forgets_the_oldest_only() {
        let folder = tempfile::tempdir().unwrap();
        let signer = open(&folder.path().join("signatures.redb")).unwrap();
        let too_old = |slot: u64, expected: u64| {
            let error = sign(&signer, vote(1, slot, 1)).unwrap_err();
            assert!(
                matches!(error, SigningError::TooOld { first, .. } if first == expected),
                "{error}"
            );
        };
        too_old(2, 3);
        // One row of a far slot does not exclude the nearer ones.
        sign(&signer, vote(1, u64::MAX, 1)).unwrap();
        let transaction = signer.db.begin_write().unwrap();
        for slot in 3..3 + ROWS_MAX {
            let signature = [1; attest::SIGNATURE_BYTES];
            put(&transaction, &Signed { vote: vote(1, slot, 1), signature }, &[2]).unwrap();
        }
        transaction.commit().unwrap();
        let last = 2 + ROWS_MAX;
        // The far row and as many others as there is place for.
        too_old(3, 4);
        assert!(signer.signed(4).unwrap().is_some());
        assert!(matches!(sign(&signer, vote(1, 4, 2)), Err(SigningError::Twice { .. })));
        assert!(sign(&signer, vote(1, last + 1, 1)).is_ok());
        too_old(4, 5);
        assert_eq!(signer.proposal(last - 40).unwrap(), None);
        assert_eq!(signer.proposal(last).unwrap(), Some(vec![2]));
    }

    /// Goal: of many threads that ask for two blocks of one slot, those of one block get its signature.
    #[test]
    fn concurrent_calls_agree_on_one_block() {
        let folder = tempfile::tempdir().unwrap();
        let signer = open(&folder.path().join("signatures.redb")).unwrap();
        let results: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8u64)
                .map(|i| {
                    (
                        i % 2,
                        scope.spawn({
                            let signer = &signer;
                            move || sign(signer, vote(1, 5, i % 2))
                        }),
                    )
                })
                .collect();
            calls.into_iter().map(|(of, call)| (of, call.join().unwrap())).collect()
        });
        let winner = signer.signed(5).unwrap().unwrap();
        for (of, result) in results {
            match Fr::from(of) == winner.vote.chain {
                true => assert_eq!(result.unwrap(), winner),
                false => assert!(matches!(result, Err(SigningError::Twice { .. }))),
            }
        }
    }
}
