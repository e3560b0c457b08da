//! The blob that publishes a block: a polynomial over BLS12-381's scalar field whose coefficients are the
//! words of the block's transactions.
//!
//! A word is below the order r of BN254's scalar field, which is below the order q of BLS12-381's, so every
//! word is one coefficient. The blob holds the polynomial's values, as EIP-4844 has it: element `i` is the
//! value at `ω^rev(i)`, where `ω = 7^((q − 1)/4096)` and `rev` reverses 12 bits.

use ark_ff::{BigInt, Field, PrimeField, Zero};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use rollmill_algebra::pair::halves;
use rollmill_algebra::{Fr, poseidon2};

use crate::block::BlockBody;
use crate::codec::DecodeError;
use crate::domain;
use crate::field;
use crate::gas::MAX_TXS_PER_BLOCK;
use crate::layout::{Cells, Encode, Range, layout};
use crate::tx::{LOG_WORDS, Log, SLOTS, TxEffects, log_hash};

/// An element of BLS12-381's scalar field: a coefficient or a value of a blob's polynomial.
pub type BlobFr = ark_bls12_381::Fr;

/// Coefficients of a blob's polynomial, and elements of a blob.
pub const BLOB_WORDS: usize = 4096;
/// Bytes of a blob.
pub const BLOB_BYTES: usize = BLOB_WORDS * 32;
/// Words of a transaction: its effects, with the words of its eight logs in place of their hashes.
pub const TX_WORDS: usize = TxEffects::FIELDS - SLOTS + SLOTS * LOG_WORDS;
/// Bytes of a KZG commitment: a compressed point of BLS12-381.
pub const COMMITMENT_BYTES: usize = 48;

// The largest block fits.
const _: () = assert!(MAX_TXS_PER_BLOCK * TX_WORDS <= BLOB_WORDS);

/// Where the log hashes stand in a transaction's effects, and its logs in its words.
const LOGS_AT: usize = 3 * SLOTS;

/// Halves of a value of BLS12-381's scalar field, 128 bits each; together it is below the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalvesLayout<T> {
    pub lo: T,
    pub hi: T,
}

impl<T> Cells<T> for HalvesLayout<T> {
    const LEN: usize = 2;
    fn put(self, out: &mut Vec<T>) {
        out.extend([self.lo, self.hi]);
    }
    fn take(from: &mut impl Iterator<Item = T>) -> Option<Self> {
        Some(Self { lo: from.next()?, hi: from.next()? })
    }
    fn names(prefix: &str, out: &mut Vec<String>) {
        out.extend([format!("{prefix}_lo"), format!("{prefix}_hi")]);
    }
}

impl Encode for BlobFr {
    type Row<T> = HalvesLayout<T>;
    fn cells(&self) -> HalvesLayout<Fr> {
        let BigInt([a, b, c, d]) = self.into_bigint();
        let half = |low: u64, high: u64| Fr::from(u128::from(low) | u128::from(high) << 64);
        HalvesLayout { lo: half(a, b), hi: half(c, d) }
    }
    fn decode(what: &'static str, cells: &HalvesLayout<Fr>) -> Result<Self, DecodeError> {
        let [low, high] = [&cells.lo, &cells.hi].map(|cell| match halves(cell) {
            (half, 0) => Ok(half),
            _ => Err(field::out_of_range_u128(what, cell)),
        });
        let (low, high) = (low?, high?);
        let number =
            BigInt::new([low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64]);
        Self::from_bigint(number).ok_or(DecodeError::NotCanonical { what })
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.extend([(Range::Bits(u128::BITS), doc); 2]);
    }
}

layout! {
    /// A commitment in three parts, each a big-endian integer.
    pub struct CommitmentLayout<T> {
        /// Its first 12 bytes.
        pub first: T,
        /// The 12 bytes after them.
        pub second: T,
        /// Its last 24 bytes.
        pub last: T,
    }
}

/// A KZG commitment to a blob, which L1 checks; zeros without transactions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment(pub [u8; COMMITMENT_BYTES]);

impl std::fmt::Debug for Commitment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commitment(0x{})", hex::encode(self.0))
    }
}

impl Default for Commitment {
    fn default() -> Self {
        Self([0; COMMITMENT_BYTES])
    }
}

impl Commitment {
    /// Bits of the parts in order.
    pub const BITS: [u32; 3] = [96, 96, 192];

    /// Both halves, 24 bytes each, as [`blob_z`] hashes them.
    pub fn halves(&self) -> [Fr; 2] {
        let CommitmentLayout { first, second, last } = self.cells();
        [first * Fr::from(2u64).pow([96]) + second, last]
    }
}

impl Encode for Commitment {
    type Row<T> = CommitmentLayout<T>;
    fn cells(&self) -> CommitmentLayout<Fr> {
        let ([first, second, ..], _) = self.0.as_chunks::<12>() else {
            unreachable!("48 bytes are four times twelve")
        };
        let ([_, last, ..], _) = self.0.as_chunks::<24>() else {
            unreachable!("48 bytes are twice 24")
        };
        CommitmentLayout {
            first: field::from_short_bytes(first),
            second: field::from_short_bytes(second),
            last: field::from_short_bytes(last),
        }
    }
    fn decode(what: &'static str, cells: &CommitmentLayout<Fr>) -> Result<Self, DecodeError> {
        let mut bytes = [0; COMMITMENT_BYTES];
        let parts = [(&cells.first, 0, 12), (&cells.second, 12, 24), (&cells.last, 24, 48)];
        for (cell, from, to) in parts {
            let word = field::to_bytes(cell);
            let (above, part) = word.split_at(32 - (to - from));
            if above.iter().any(|byte| *byte != 0) {
                return Err(field::out_of_range_bits(what, 8 * (to - from) as u32, cell));
            }
            bytes[from..to].copy_from_slice(part);
        }
        Ok(Self(bytes))
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.extend(Self::BITS.map(|bits| (Range::Bits(bits), doc)));
    }
}

/// A word as a coefficient.
pub fn to_blob_field(word: &Fr) -> BlobFr {
    BlobFr::from_bigint(word.into_bigint()).expect("r is below q")
}

/// The words of a transaction: effects 0 to 23, the five words of each of eight logs, effects 32 to 49.
/// Absent logs are zeros.
pub fn tx_words(body: &BlockBody) -> [Fr; TX_WORDS] {
    let effects = body.effects.to_fields();
    let (head, tail) = (&effects[..LOGS_AT], &effects[LOGS_AT + SLOTS..]);
    let absent = [Fr::zero(); LOG_WORDS];
    let logs = body.logs.iter().chain(std::iter::repeat(&absent)).take(SLOTS).flatten();
    let words: Vec<Fr> = head.iter().chain(logs).chain(tail).copied().collect();
    words.try_into().expect("effects without log hashes, and eight logs")
}

/// The words of a block's transactions in order.
pub fn block_words(txs: &[BlockBody]) -> Vec<Fr> {
    txs.iter().flat_map(tx_words).collect()
}

/// The polynomial with these coefficients, lowest first, at `z`.
pub fn evaluate(words: &[Fr], z: &BlobFr) -> BlobFr {
    words.iter().rev().fold(BlobFr::zero(), |sum, word| sum * z + to_blob_field(word))
}

/// `z` to the power of the number of words of these transactions: what the words behind them are shifted by.
pub fn shift(z: &BlobFr, tx_count: u64) -> BlobFr {
    z.pow([TX_WORDS as u64]).pow([tx_count])
}

/// The point at which a blob is opened: `hash(BLOB_Z, [txs_chain, C[0..24], C[24..48]])`. It depends on the
/// transactions and on the commitment, so that a blob with another content has another value there.
pub fn blob_z(txs_chain: &Fr, commitment: &Commitment) -> Fr {
    let [high, low] = commitment.halves();
    poseidon2::hash(domain::BLOB_Z, &[*txs_chain, high, low])
}

/// What L1 checks of a block's blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opening {
    /// The blob's commitment.
    pub commitment: Commitment,
    /// [`blob_z`].
    pub z: Fr,
    /// The polynomial's value at `z`.
    pub y: BlobFr,
}

impl Opening {
    /// The opening of a block with this running hash and these transactions. Without transactions there is no
    /// blob, and everything is zero, whatever the commitment.
    pub fn new(txs_chain: &Fr, txs: &[BlockBody], commitment: Commitment) -> Self {
        if txs.is_empty() {
            return Self { commitment: Commitment::default(), z: Fr::zero(), y: BlobFr::zero() };
        }
        let z = blob_z(txs_chain, &commitment);
        let y = evaluate(&block_words(txs), &to_blob_field(&z));
        Self { commitment, z, y }
    }

    /// The value as a word of a contract: 32 bytes, big-endian.
    pub fn y_bytes(&self) -> [u8; 32] {
        let mut word = [0; 32];
        for (bytes, limb) in word.rchunks_exact_mut(8).zip(self.y.into_bigint().0) {
            bytes.copy_from_slice(&limb.to_be_bytes());
        }
        word
    }
}

/// The domain of a blob's values. Arkworks' generator of BLS12-381's multiplicative group is 7, as EIP-4844's.
fn values_domain() -> Radix2EvaluationDomain<BlobFr> {
    Radix2EvaluationDomain::new(BLOB_WORDS).expect("the field has roots of unity of order 2^32")
}

/// Exchanges the elements whose indices mirror each other in 12 bits.
fn reverse_bits(values: &mut [BlobFr]) {
    let shift = usize::BITS - BLOB_WORDS.trailing_zeros();
    for i in 0..values.len() {
        let j = i.reverse_bits() >> shift;
        if i < j {
            values.swap(i, j);
        }
    }
}

/// The blob of a block's transactions.
///
/// # Errors
/// [`DecodeError::OutOfRange`] when there are more than a block may have.
pub fn encode(txs: &[BlockBody]) -> Result<Vec<u8>, DecodeError> {
    check_count(txs.len())?;
    encode_words(&block_words(txs))
}

/// The blob whose polynomial has these coefficients.
///
/// # Errors
/// [`DecodeError::OutOfRange`] when there are more than [`BLOB_WORDS`].
pub fn encode_words(words: &[Fr]) -> Result<Vec<u8>, DecodeError> {
    if words.len() > BLOB_WORDS {
        return Err(too_many("words of a blob", BLOB_WORDS, words.len()));
    }
    let mut values: Vec<BlobFr> = words.iter().map(to_blob_field).collect();
    values.resize(BLOB_WORDS, BlobFr::zero());
    values_domain().fft_in_place(&mut values);
    reverse_bits(&mut values);
    let mut bytes = Vec::with_capacity(BLOB_BYTES);
    for value in values {
        let BigInt(limbs) = value.into_bigint();
        bytes.extend(limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()));
    }
    Ok(bytes)
}

fn check_count(got: usize) -> Result<(), DecodeError> {
    let max = MAX_TXS_PER_BLOCK;
    if got > max { Err(too_many("transactions of a block", max, got)) } else { Ok(()) }
}

fn too_many(what: &'static str, max: usize, got: usize) -> DecodeError {
    DecodeError::OutOfRange { what, max: max.to_string(), got: got.to_string() }
}

/// The transactions of a blob.
///
/// # Errors
/// When the bytes are no blob of this many transactions: a wrong length, an element that is not below q, a
/// coefficient that is not below r, one behind the last transaction or in an absent log that is not zero, or
/// effects that no block may have.
pub fn decode(bytes: &[u8], tx_count: usize) -> Result<Vec<BlockBody>, DecodeError> {
    check_count(tx_count)?;
    let words = decode_words(bytes)?;
    let (txs, behind) = words.split_at(tx_count * TX_WORDS);
    if behind.iter().any(|word| !word.is_zero()) {
        return Err(shape("a word behind the last transaction is not zero"));
    }
    let (txs, _) = txs.as_chunks::<TX_WORDS>();
    txs.iter().map(read_tx).collect()
}

/// The coefficients of a blob, all [`BLOB_WORDS`] of them.
///
/// # Errors
/// As [`decode`].
pub fn decode_words(bytes: &[u8]) -> Result<Vec<Fr>, DecodeError> {
    if bytes.len() != BLOB_BYTES {
        return Err(DecodeError::Length {
            what: "bytes of a blob",
            expected: BLOB_BYTES,
            got: bytes.len(),
        });
    }
    let (elements, _) = bytes.as_chunks::<32>();
    let mut values = elements
        .iter()
        .map(|word| {
            let (limbs, _) = word.as_chunks::<8>();
            let mut number = [0; 4];
            for (out, limb) in number.iter_mut().rev().zip(limbs) {
                *out = u64::from_be_bytes(*limb);
            }
            BlobFr::from_bigint(BigInt::new(number))
                .ok_or(DecodeError::NotCanonical { what: "blob" })
        })
        .collect::<Result<Vec<BlobFr>, DecodeError>>()?;
    reverse_bits(&mut values);
    values_domain().ifft_in_place(&mut values);
    values
        .iter()
        .map(|word| {
            Fr::from_bigint(word.into_bigint())
                .ok_or(DecodeError::NotCanonical { what: "word of a blob" })
        })
        .collect()
}

fn shape(reason: &str) -> DecodeError {
    DecodeError::Shape { what: "blob", reason: reason.to_owned() }
}

/// The transaction with these words. A log is there exactly if its tag is.
fn read_tx(words: &[Fr; TX_WORDS]) -> Result<BlockBody, DecodeError> {
    let (head, rest) = words.split_at(LOGS_AT);
    let (logs, tail) = rest.split_at(SLOTS * LOG_WORDS);
    let (logs, _) = logs.as_chunks::<LOG_WORDS>();
    let tags = &head[LOGS_AT - SLOTS..];
    let mut effects = head.to_vec();
    let mut present: Vec<Log> = Vec::new();
    for (tag, log) in tags.iter().zip(logs) {
        if !tag.is_zero() {
            present.push(*log);
            effects.push(log_hash(log));
        } else if log.iter().all(Zero::is_zero) {
            effects.push(Fr::zero());
        } else {
            return Err(shape("a word of an absent log is not zero"));
        }
    }
    effects.extend(tail);
    Ok(BlockBody { effects: TxEffects::from_fields(&effects)?, logs: present })
}

#[cfg(test)]
mod tests {
    use ark_ff::One;

    use super::*;

    /// EIP-4844's PRIMITIVE_ROOT_OF_UNITY is 7.
    #[test]
    fn the_root_of_unity_is_that_of_the_standard() {
        let order = BlobFr::MODULUS;
        let mut exponent = order;
        exponent.0[0] -= 1;
        for _ in 0..12 {
            exponent.0 = [
                exponent.0[0] >> 1 | exponent.0[1] << 63,
                exponent.0[1] >> 1 | exponent.0[2] << 63,
                exponent.0[2] >> 1 | exponent.0[3] << 63,
                exponent.0[3] >> 1,
            ];
        }
        assert_eq!(values_domain().element(1), BlobFr::from(7u64).pow(exponent.0));
        assert_eq!(shift(&BlobFr::from(3u64), 0), BlobFr::one());
    }
}
