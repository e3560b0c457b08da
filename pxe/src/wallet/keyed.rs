//! Idempotency keys: the outcome of each order that its client gave a key.
//!
//! A client that got no response repeats its order with the same key. The record of the key is in the state from the
//! same write as the held notes and the transaction, before anything is sent, so the repeated order finds the
//! transaction of the first one whatever was killed in between, and nothing is paid twice.
//!
//! From that write on a key stands for one transaction. If that one is dropped, the key does not pay again: another
//! transaction of other notes could be included beside a copy of the dropped one. An order that failed before the
//! write, for lack of funds or without a proof, leaves its key unused.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use rollmill_protocol::Fr;
use rollmill_protocol::field::{serde_fr, to_hex};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::order::Order;
use super::{Delivery, Wallet};
use crate::error::PxeError;

/// Fewest characters of a key: shorter ones are too easily chosen twice.
pub const KEY_LENGTH_MIN: usize = 8;
/// Most characters of a key.
pub const KEY_LENGTH_MAX: usize = 64;
/// How long a key is known after the wallet has let go of its transaction: 7 days, in seconds.
pub const KEY_SECONDS: u64 = 7 * 24 * 60 * 60;

/// What a client calls one of its orders, so that it can repeat it without paying twice: 8 to 64 ASCII letters,
/// digits, `-`, `_`, `.` or `:`. Keys of different accounts are independent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IdempotencyKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let is_key =
            (KEY_LENGTH_MIN..=KEY_LENGTH_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        match is_key {
            true => Ok(Self(text.to_owned())),
            false => Err("8 to 64 ASCII letters, digits, '-', '_', '.' or ':' expected"),
        }
    }
}

impl Serialize for IdempotencyKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for IdempotencyKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is known of the transaction of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It is on the disk. Whether a node has it is not known.
    Held,
    /// A node has said that it has it, or it was in a block.
    Accepted,
    /// It was rejected, dropped or expired, or another transaction spent its notes; and why.
    Dropped(String),
}

/// The transaction of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Keyed {
    key: IdempotencyKey,
    /// [`Order::text`] of the order that was made with it.
    order: String,
    #[serde(with = "serde_fr")]
    tx_hash: Fr,
    fate: Fate,
    /// When the wallet let go of the transaction, in seconds since 1970; none while it keeps it.
    ended: Option<u64>,
}

/// The keys of an account, in the order in which their transactions were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct KeyRecords(Vec<Keyed>);

/// The transaction that an earlier order with the same key made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    pub tx_hash: Fr,
    /// Whether a node has said that it has it, or a block contained it. If not, each sync sends it again.
    pub accepted: bool,
}

impl KeyRecords {
    /// The transaction of this key, made for the order with this text.
    ///
    /// # Errors
    /// [`PxeError::KeyReused`] if it was made for another order, [`PxeError::KeyDropped`] if it was dropped.
    fn find(&self, key: &IdempotencyKey, order: &str) -> Result<Option<Earlier>, PxeError> {
        let Some(found) = self.0.iter().find(|keyed| keyed.key == *key) else { return Ok(None) };
        let hash = || to_hex(&found.tx_hash);
        if found.order != order {
            return Err(PxeError::KeyReused { hash: hash() });
        }
        match &found.fate {
            Fate::Dropped(reason) => {
                Err(PxeError::KeyDropped { hash: hash(), reason: reason.clone() })
            }
            fate => {
                let accepted = *fate == Fate::Accepted;
                Ok(Some(Earlier { tx_hash: found.tx_hash, accepted }))
            }
        }
    }

    /// Records the transaction of a new key, before it is sent.
    fn add(&mut self, key: IdempotencyKey, order: String, tx_hash: Fr) {
        self.0.push(Keyed { key, order, tx_hash, fate: Fate::Held, ended: None });
    }

    /// Forgets the key of a transaction that was never on the disk.
    fn remove(&mut self, tx_hash: &Fr) {
        self.0.retain(|keyed| keyed.tx_hash != *tx_hash);
    }

    fn set_fate(&mut self, tx_hash: &Fr, fate: &Fate) {
        for keyed in self.0.iter_mut().filter(|keyed| keyed.tx_hash == *tx_hash) {
            keyed.fate = fate.clone();
        }
    }

    /// A node has the transaction, or a block contains it. It may have been dropped before.
    pub(super) fn accept(&mut self, tx_hash: &Fr) {
        self.set_fate(tx_hash, &Fate::Accepted);
    }

    /// The wallet has given up the transaction.
    pub(super) fn drop_tx(&mut self, tx_hash: &Fr, reason: &str) {
        self.set_fate(tx_hash, &Fate::Dropped(reason.to_owned()));
    }

    /// Forgets keys of which the wallet let go [`KEY_SECONDS`] ago. `kept` are the transactions that it keeps, and
    /// `now` is in seconds since 1970. A clock that goes backwards only keeps keys for longer.
    pub(super) fn age(&mut self, now: u64, kept: &BTreeSet<Fr>) {
        self.0.retain_mut(|keyed| {
            if kept.contains(&keyed.tx_hash) {
                keyed.ended = None;
                return true;
            }
            let ended = *keyed.ended.get_or_insert(now);
            now < ended.saturating_add(KEY_SECONDS)
        });
    }
}

impl Wallet {
    /// The transaction that an earlier order with this key made; none if the key is new. The order is compared with
    /// what [`Wallet::set_spend_pending`] set last. After [`Wallet::sync`] it says what the node knows.
    ///
    /// # Errors
    /// [`PxeError::KeyReused`] if the earlier order was another one, [`PxeError::KeyDropped`] if its transaction was
    /// rejected or dropped, or expired.
    pub fn recall(&self, key: &IdempotencyKey, order: &Order) -> Result<Option<Earlier>, PxeError> {
        self.state.keyed.find(key, &order.text(self.spend_pending))
    }

    /// As [`Self::recall`], for an order that may have no key.
    pub(super) fn repeated(
        &self,
        key: Option<&IdempotencyKey>,
        order: &Order,
    ) -> Result<Option<Delivery>, PxeError> {
        let Some(key) = key else { return Ok(None) };
        Ok(self.recall(key, order)?.map(Delivery::Earlier))
    }

    /// Records the key of a transaction that is about to be sent.
    pub(super) fn bind(&mut self, key: Option<&IdempotencyKey>, order: &Order, tx_hash: Fr) {
        if let Some(key) = key {
            let text = order.text(self.spend_pending);
            self.state.keyed.add(key.clone(), text, tx_hash);
        }
    }

    /// Undoes [`Self::bind`] for a transaction that could not be written to the disk.
    pub(super) fn unbind(&mut self, tx_hash: &Fr) {
        self.state.keyed.remove(tx_hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        text.parse().unwrap()
    }

    fn hash(i: u64) -> Fr {
        Fr::from(i)
    }

    #[test]
    fn a_key_has_8_to_64_characters_of_its_alphabet() {
        let (least, most) = ("a".repeat(KEY_LENGTH_MIN), "Z".repeat(KEY_LENGTH_MAX));
        for text in [least.as_str(), &most, "rent-2026_11.a:1", "00000000-0000-0000-0000-0"] {
            assert_eq!(key(text).as_str(), text);
            let json = serde_json::to_string(&key(text)).unwrap();
            assert_eq!(serde_json::from_str::<IdempotencyKey>(&json).unwrap(), key(text));
        }
        let (short, long) = (&least[1..], format!("{most}Z"));
        for text in [
            short,
            &long,
            "",
            "with space",
            "slash/es",
            "umlautäöü",
            "new\nlines",
            "\0\0\0\0\0\0\0\0",
        ] {
            assert!(text.parse::<IdempotencyKey>().is_err(), "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<IdempotencyKey>(&json).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_leads_to_its_transaction_for_its_order_alone() {
        let mut keys = KeyRecords::default();
        keys.add(key("key-of-a"), "order a".to_owned(), hash(1));
        keys.add(key("key-of-b"), "order b".to_owned(), hash(2));
        let held = Earlier { tx_hash: hash(1), accepted: false };
        assert_eq!(keys.find(&key("key-of-a"), "order a").unwrap(), Some(held));
        assert_eq!(keys.find(&key("key-of-c"), "order a").unwrap(), None);
        let error = keys.find(&key("key-of-b"), "order a").unwrap_err();
        assert!(
            matches!(&error, PxeError::KeyReused { hash: named } if *named == to_hex(&hash(2)))
        );
        keys.accept(&hash(1));
        let accepted = Earlier { accepted: true, ..held };
        assert_eq!(keys.find(&key("key-of-a"), "order a").unwrap(), Some(accepted));
        assert_eq!(
            keys.find(&key("key-of-b"), "order b").unwrap().map(|b| b.accepted),
            Some(false)
        );
        keys.remove(&hash(1));
        assert_eq!(keys.find(&key("key-of-a"), "another order").unwrap(), None, "unused again");
    }

    #[test]
    fn the_key_of_a_dropped_transaction_pays_nothing_until_a_block_has_that_transaction() {
        let mut keys = KeyRecords::default();
        keys.add(key("key-of-a"), "order a".to_owned(), hash(1));
        keys.drop_tx(&hash(1), "it expired");
        let error = keys.find(&key("key-of-a"), "order a").unwrap_err();
        assert!(matches!(&error, PxeError::KeyDropped { reason, .. } if reason == "it expired"));
        // Another order is a mistake of the client, whatever became of the first one.
        let error = keys.find(&key("key-of-a"), "order b").unwrap_err();
        assert!(matches!(error, PxeError::KeyReused { .. }), "{error}");
        keys.accept(&hash(1));
        let accepted = Earlier { tx_hash: hash(1), accepted: true };
        assert_eq!(keys.find(&key("key-of-a"), "order a").unwrap(), Some(accepted));
    }

    #[test]
    fn a_key_is_known_for_its_time_after_its_transaction_and_no_longer() {
        let (mut keys, none) = (KeyRecords::default(), BTreeSet::new());
        let kept = BTreeSet::from([hash(1)]);
        keys.add(key("key-of-a"), "order a".to_owned(), hash(1));
        let is_known =
            |keys: &KeyRecords| keys.find(&key("key-of-a"), "order a").unwrap().is_some();
        keys.age(u64::MAX, &kept);
        assert!(is_known(&keys), "as long as the transaction is kept");
        keys.age(1_000, &none);
        keys.age(999 + KEY_SECONDS, &none);
        assert!(is_known(&keys), "one second before its time is over");
        keys.age(0, &none);
        assert!(is_known(&keys), "a clock that goes backwards forgets nothing");
        // A reorganization brings the transaction back, so the time starts again.
        keys.age(2_000, &kept);
        keys.age(3_000, &none);
        keys.age(2_999 + KEY_SECONDS, &none);
        assert!(is_known(&keys));
        keys.age(3_000 + KEY_SECONDS, &none);
        assert!(!is_known(&keys));
        assert_eq!(keys, KeyRecords::default());
    }

    #[test]
    fn keys_are_the_same_after_they_were_written_and_read() {
        let mut keys = KeyRecords::default();
        for (i, name) in (0..).zip(["key-held", "key-accepted", "key-dropped"]) {
            keys.add(key(name), format!("order {i}"), hash(i));
        }
        keys.accept(&hash(1));
        keys.drop_tx(&hash(2), "why \"it\" went");
        keys.age(77, &BTreeSet::from([hash(0)]));
        let json = serde_json::to_vec(&keys).unwrap();
        assert_eq!(serde_json::from_slice::<KeyRecords>(&json).unwrap(), keys);
    }
}
