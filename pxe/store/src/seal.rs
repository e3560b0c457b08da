//! The cryptography of the file: the key from the password, the keys of the rows, and the sum of all rows.
//!
//! Everything that is kept lies in rows of a hidden name and a sealed value. A name is a keyed hash of the row's
//! table and key; rows that are listed together share its first half. The value is sealed with XChaCha20-Poly1305
//! under a random nonce, with the name as associated data, so that a value cannot be moved to another row. A keyed
//! sum of all rows, sealed too, shows when a row is missing, repeated or older than the rest.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand::RngCore;
use rand::rngs::OsRng;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::error::StoreError;

/// Bytes of a hidden name: the half of the group, and that of the row.
pub(crate) const NAME_BYTES: usize = 32;
/// Bytes of the half that rows of a group share.
pub(crate) const GROUP_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Bytes that [`seal`] adds.
pub(crate) const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// Plain rows are padded to a multiple of this, so that a length shows little.
const PADDING: usize = 64;
/// Memory that deriving the password's key may take.
const MEMORY_MAX: u64 = 1 << 30;

/// A hidden name.
pub(crate) type Name = [u8; NAME_BYTES];

/// The cost of deriving a key from the password by scrypt (RFC 7914).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Base-2 logarithm of the number of blocks.
    pub log_n: u8,
    /// Size of a block in 128 bytes.
    pub r: u32,
    /// Independent repetitions.
    pub p: u32,
}

/// 64 MiB, and about a quarter of a second.
impl Default for Cost {
    fn default() -> Self {
        Self { log_n: 16, r: 8, p: 1 }
    }
}

impl Cost {
    fn is_allowed(&self) -> bool {
        let memory = (128 * u64::from(self.r)) << self.log_n.min(20);
        self.log_n <= 20 && self.r <= 16 && self.p <= 16 && memory <= MEMORY_MAX
    }
}

/// The key that a password opens the file with.
pub(crate) fn stretch(
    password: &str,
    salt: &[u8],
    cost: Cost,
) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    if !cost.is_allowed() {
        return Err(StoreError::Cost);
    }
    let params = scrypt::Params::new(cost.log_n, cost.r, cost.p, 32);
    let params = params.map_err(|_| StoreError::Cost)?;
    let mut key = Zeroizing::new([0u8; 32]);
    scrypt::scrypt(password.as_bytes(), salt, &params, key.as_mut_slice())
        .map_err(|_| StoreError::Cost)?;
    Ok(key)
}

/// Bytes from the operating system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// HMAC-SHA256 over the parts one after the other; callers make them unambiguous.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any size");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Nonce, ciphertext and tag.
pub(crate) fn seal(key: &[u8; 32], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    let nonce = random::<NONCE_BYTES>();
    let payload = Payload { msg: plain, aad: bound };
    let sealed = XChaCha20Poly1305::new(Key::from_slice(key))
        .encrypt(XNonce::from_slice(&nonce), payload)
        .map_err(|_| StoreError::damaged("a row cannot be encrypted"))?;
    Ok([&nonce[..], &sealed].concat())
}

/// What [`seal`] was given; `None` unless key, bytes and `bound` are the same.
pub(crate) fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
    if sealed.len() < TAG_BYTES {
        return None;
    }
    let payload = Payload { msg: sealed, aad: bound };
    let plain = XChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt(XNonce::from_slice(nonce), payload)
        .ok()?;
    Some(Zeroizing::new(plain))
}

/// The keys of a file, from its random master key.
pub(crate) struct FileKeys {
    row: [u8; 32],
    name: [u8; 32],
    sum: [u8; 32],
    seal: [u8; 32],
}

impl Drop for FileKeys {
    fn drop(&mut self) {
        for key in [&mut self.row, &mut self.name, &mut self.sum, &mut self.seal] {
            key.zeroize();
        }
    }
}

impl std::fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileKeys").finish_non_exhaustive()
    }
}

/// A row in clear.
pub(crate) struct PlainRow {
    /// Number of its table.
    pub(crate) table: u8,
    /// Bytes of the key that its group shares.
    pub(crate) group: usize,
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) value: Zeroizing<Vec<u8>>,
}

impl FileKeys {
    pub(crate) fn derive(master: &[u8; 32]) -> Self {
        let of = |label: &str| mac(master, &[b"rollmill pxe store v1 ", label.as_bytes()]);
        Self { row: of("row"), name: of("name"), sum: of("sum"), seal: of("seal") }
    }

    /// The half of a name that all rows of a group share.
    pub(crate) fn group_name(&self, table: u8, group: &[u8]) -> [u8; GROUP_BYTES] {
        let mut half = [0u8; GROUP_BYTES];
        half.copy_from_slice(&mac(&self.name, &[&[0, table], group])[..GROUP_BYTES]);
        half
    }

    /// The name of a row, the first `group` bytes of whose key are its group's.
    pub(crate) fn name(&self, table: u8, group: usize, key: &[u8]) -> Name {
        let mut name = [0u8; NAME_BYTES];
        let shared = &key[..group.min(key.len())];
        name[..GROUP_BYTES].copy_from_slice(&self.group_name(table, shared));
        let own = mac(&self.name, &[&[1, table], key]);
        name[GROUP_BYTES..].copy_from_slice(&own[..NAME_BYTES - GROUP_BYTES]);
        name
    }

    /// Seals a row under its name.
    pub(crate) fn seal_row(&self, name: &Name, row: &PlainRow) -> Result<Vec<u8>, StoreError> {
        let length = 6 + row.key.len() + row.value.len() + 1;
        // At its final capacity, so that no copy is left behind when it grows.
        let padded = length.next_multiple_of(PADDING);
        let mut plain = Zeroizing::new(Vec::with_capacity(padded));
        plain.extend_from_slice(&[row.table, row.group as u8]);
        plain.extend_from_slice(&(row.key.len() as u32).to_be_bytes());
        plain.extend_from_slice(&row.key);
        plain.extend_from_slice(&row.value);
        plain.push(0x80);
        plain.resize(padded, 0);
        seal(&self.row, name, &plain)
    }

    /// Opens a row of this name.
    pub(crate) fn open_row(&self, name: &[u8], sealed: &[u8]) -> Result<PlainRow, StoreError> {
        let plain = open(&self.row, name, sealed);
        let plain = plain.ok_or_else(|| StoreError::damaged("a row was changed"))?;
        split(&plain).ok_or_else(|| StoreError::damaged("a row has another form"))
    }

    /// What a row adds to the sum of all rows. All names have one length, so that bytes of a name cannot pass for
    /// bytes of a value.
    pub(crate) fn digest(&self, name: &Name, sealed: &[u8]) -> [u8; 32] {
        mac(&self.sum, &[name, sealed])
    }

    pub(crate) fn close_seal(&self, seal: &Seal) -> Result<Vec<u8>, StoreError> {
        self::seal(&self.seal, b"seal", &seal.to_bytes())
    }

    pub(crate) fn open_seal(&self, sealed: &[u8]) -> Result<Seal, StoreError> {
        let plain = open(&self.seal, b"seal", sealed);
        plain
            .and_then(|plain| Seal::from_bytes(&plain))
            .ok_or_else(|| StoreError::damaged("its seal was changed"))
    }
}

fn split(plain: &[u8]) -> Option<PlainRow> {
    let end = plain.iter().rposition(|byte| *byte != 0)?;
    if plain[end] != 0x80 {
        return None;
    }
    let (head, rest) = plain[..end].split_at_checked(6)?;
    let length = u32::from_be_bytes(*head[2..].first_chunk::<4>()?);
    let (key, value) = rest.split_at_checked(length as usize)?;
    let group = usize::from(head[1]);
    (group <= key.len()).then(|| PlainRow {
        table: head[0],
        group,
        key: Zeroizing::new(key.to_vec()),
        value: Zeroizing::new(value.to_vec()),
    })
}

/// The sum of the digests of all rows, modulo 2^256, and their number. Rows come and go in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    words: [u64; 4],
    rows: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, digest: &[u8; 32]) {
        self.rows = self.rows.wrapping_add(1);
        let mut carry = false;
        for (word, more) in self.words.iter_mut().zip(words(digest)) {
            let (sum, over) = word.overflowing_add(more);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, over || over_again);
        }
    }

    pub(crate) fn sub(&mut self, digest: &[u8; 32]) {
        self.rows = self.rows.wrapping_sub(1);
        let mut borrow = false;
        for (word, less) in self.words.iter_mut().zip(words(digest)) {
            let (sum, under) = word.overflowing_sub(less);
            let (sum, under_again) = sum.overflowing_sub(u64::from(borrow));
            (*word, borrow) = (sum, under || under_again);
        }
    }
}

/// Least significant word first.
fn words(digest: &[u8; 32]) -> [u64; 4] {
    let mut words = [0u64; 4];
    for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

/// What vouches for the rows as a whole, written with each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) sum: Sum,
    /// Commits so far.
    pub(crate) commits: u64,
    /// Version of the tables.
    pub(crate) schema: u32,
}

impl Seal {
    fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(52);
        for word in self.sum.words.into_iter().chain([self.sum.rows, self.commits]) {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.schema.to_be_bytes());
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, schema) = bytes.split_at_checked(48)?;
        let mut all = numbers.chunks_exact(8).map(|word| {
            // Eight bytes, as the chunks are exact.
            word.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        });
        let words = [all.next()?, all.next()?, all.next()?, all.next()?];
        let sum = Sum { words, rows: all.next()? };
        let commits = all.next()?;
        let schema = u32::from_be_bytes(*schema.first_chunk::<4>()?);
        (bytes.len() == 52).then_some(Self { sum, commits, schema })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_rows_does_not_depend_on_their_order_and_forgets_what_leaves() {
        let digests: Vec<[u8; 32]> = (0..20u8).map(|i| mac(&[i], &[b"x"])).collect();
        let (mut all, mut reversed) = (Sum::default(), Sum::default());
        digests.iter().for_each(|digest| all.add(digest));
        digests.iter().rev().for_each(|digest| reversed.add(digest));
        assert_eq!(all, reversed);
        let mut less = all;
        less.sub(&digests[7]);
        assert_ne!(less, all);
        less.add(&digests[7]);
        assert_eq!(less, all);
        digests.iter().rev().for_each(|digest| less.sub(digest));
        assert_eq!(less, Sum::default());
        let mut twice = all;
        twice.add(&digests[0]);
        twice.sub(&digests[1]);
        assert_ne!(twice, all);
    }

    #[test]
    fn carries_and_borrows_run_through_all_words() {
        assert_eq!(words(&[1; 32]), [0x0101_0101_0101_0101; 4]);
        let mut sum = Sum::default();
        sum.add(&[0xff; 32]);
        let mut small = [0u8; 32];
        small[0] = 1;
        sum.add(&small);
        assert_eq!((sum.words, sum.rows), ([0; 4], 2));
        sum.sub(&small);
        assert_eq!(sum.words, [u64::MAX; 4]);
    }

    #[test]
    fn a_row_opens_under_its_own_name_only_and_no_changed_byte_goes_unseen() {
        let keys = FileKeys::derive(&[3; 32]);
        for length in [0usize, 1, 56, 57, 58, 200] {
            let row = PlainRow {
                table: 9,
                group: 2,
                key: Zeroizing::new(vec![1, 2, 3]),
                value: Zeroizing::new(vec![0; length]),
            };
            let name = keys.name(9, 2, &row.key);
            let sealed = keys.seal_row(&name, &row).expect("sealed");
            assert_eq!((sealed.len() - NONCE_BYTES - TAG_BYTES) % PADDING, 0);
            let back = keys.open_row(&name, &sealed).expect("opens");
            assert_eq!((back.table, back.group), (9, 2));
            assert!(*back.key == *row.key && *back.value == *row.value);
            let other = keys.name(9, 2, &[1, 2, 4]);
            assert_eq!(other[..GROUP_BYTES], name[..GROUP_BYTES]);
            assert!(keys.open_row(&other, &sealed).is_err());
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert!(keys.open_row(&name, &changed).is_err(), "byte {at}");
                assert!(keys.open_row(&name, &sealed[..at]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_seal_comes_back_and_has_one_form() {
        let keys = FileKeys::derive(&[4; 32]);
        let mut sum = Sum::default();
        sum.add(&[7; 32]);
        let seal = Seal { sum, commits: 5, schema: 1 };
        let sealed = keys.close_seal(&seal).expect("sealed");
        assert_eq!(keys.open_seal(&sealed).expect("opens"), seal);
        assert!(FileKeys::derive(&[5; 32]).open_seal(&sealed).is_err());
        assert!(Seal::from_bytes(&[0; 51]).is_none() && Seal::from_bytes(&[0; 53]).is_none());
    }

    #[test]
    fn a_cost_beyond_the_bounds_is_rejected_before_any_memory_is_taken() {
        for cost in [
            Cost { log_n: 21, r: 1, p: 1 },
            Cost { log_n: 20, r: 16, p: 1 },
            Cost { log_n: 255, r: 8, p: 1 },
            Cost { log_n: 1, r: u32::MAX, p: 1 },
            Cost { log_n: 1, r: 0, p: 1 },
            Cost { log_n: 1, r: 1, p: 0 },
            Cost { log_n: 1, r: 1, p: 17 },
        ] {
            assert!(matches!(stretch("p", b"salt", cost), Err(StoreError::Cost)), "{cost:?}");
        }
        assert!(stretch("p", b"salt", Cost { log_n: 1, r: 1, p: 1 }).is_ok());
    }
}
