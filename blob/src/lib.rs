//! The data of a block as a blob of EIP-4844: a polynomial whose coefficients are the words of the block, its
//! KZG commitment, and its proofs.
//!
//! No module here opens files or connections, and only [`Kzg`] keeps state: the points of Ethereum's setup.
//!
//! # Conventions
//! - A *word* is an element of BN254's scalar field, below r. An *element* of a blob is one of BLS12-381's scalar
//!   field, below q. Both are 32 bytes, big-endian and canonical. Since r < q, every word is also an element.
//! - The words are the coefficients of a polynomial p, lowest first. Element i of the blob is p(ω^rev(i)), where
//!   ω = 7^((q − 1)/4096) and rev reverses 12 bits.
//! - Errors are [`BlobError`], with codes `BLOB-…`.

mod error;
mod fft;
mod kzg;
mod sidecar;

use std::sync::Arc;

use ark_bls12_381::Fr as Element;
use ark_ff::{BigInt, PrimeField};
use rollmill_algebra::{Fr, bytes};

pub use error::BlobError;
pub use kzg::{Commitment, Kzg, Proof};
pub use sidecar::{CELLS, SIDECAR_BYTES, Sidecar};

/// Elements of a blob, and so the most words that one can hold.
pub const ELEMENTS: usize = 4_096;
/// Bytes of a blob: [`ELEMENTS`] of 32 bytes.
pub const BYTES: usize = ELEMENTS * ELEMENT_BYTES;

pub(crate) const ELEMENT_BYTES: usize = 32;

/// A blob with canonical elements. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Arc<[u8]>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").finish_non_exhaustive()
    }
}

impl Blob {
    /// The blob of a block's words, at most [`ELEMENTS`].
    ///
    /// # Errors
    /// [`BlobError::TooManyWords`]
    pub fn from_words(words: &[Fr]) -> Result<Self, BlobError> {
        if words.len() > ELEMENTS {
            return Err(BlobError::TooManyWords { got: words.len() });
        }
        let mut values: Vec<Element> = words.iter().map(element).collect();
        values.resize(ELEMENTS, Element::from(0u64));
        fft::evaluate(&mut values);
        Ok(Self::of_values(&values))
    }

    /// The blob that these bytes are.
    ///
    /// # Errors
    /// [`BlobError::Length`] unless there are [`BYTES`], [`BlobError::NotCanonical`] if an element is not below q.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlobError> {
        if bytes.len() != BYTES {
            return Err(BlobError::Length { what: "blob", expected: BYTES, got: bytes.len() });
        }
        for (index, element) in bytes.chunks_exact(ELEMENT_BYTES).enumerate() {
            if read(element).is_none() {
                return Err(BlobError::NotCanonical { index });
            }
        }
        Ok(Self(bytes.into()))
    }

    /// The first `count` coefficients.
    ///
    /// # Errors
    /// [`BlobError::AfterEnd`] if a later coefficient is not 0, [`BlobError::NotAWord`] if one of the first is not
    /// below r, and [`BlobError::TooManyWords`] if `count` is above [`ELEMENTS`].
    pub fn to_words(&self, count: usize) -> Result<Vec<Fr>, BlobError> {
        if count > ELEMENTS {
            return Err(BlobError::TooManyWords { got: count });
        }
        // Every element was canonical when the value was made.
        let elements = self.0.chunks_exact(ELEMENT_BYTES).map(|e| read(e).unwrap_or_default());
        let mut coefficients: Vec<Element> = elements.collect();
        fft::interpolate(&mut coefficients);
        let rest = &coefficients[count..];
        if let Some(at) = rest.iter().position(|c| *c != Element::from(0u64)) {
            return Err(BlobError::AfterEnd { index: count + at, count });
        }
        let words = coefficients[..count].iter().enumerate();
        words
            .map(|(index, c)| Fr::from_bigint(c.into_bigint()).ok_or(BlobError::NotAWord { index }))
            .collect()
    }

    /// The canonical bytes, [`BYTES`] of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of_values(values: &[Element]) -> Self {
        Self(values.iter().flat_map(encode).collect())
    }
}

/// The value at `z` of the polynomial with these coefficients, lowest first, as 32 canonical bytes.
pub fn evaluate(words: &[Fr], z: &Fr) -> [u8; 32] {
    let z = element(z);
    let fold = |sum: Element, word: &Fr| sum * z + element(word);
    encode(&words.iter().rev().fold(Element::from(0u64), fold))
}

/// A word as an element.
fn element(word: &Fr) -> Element {
    Element::from_bigint(word.into_bigint()).expect("r is below q")
}

fn encode(value: &Element) -> [u8; ELEMENT_BYTES] {
    let mut out = [0; ELEMENT_BYTES];
    for (bytes, limb) in out.rchunks_exact_mut(8).zip(value.into_bigint().0) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
    out
}

/// The element that 32 bytes are, if they are below q.
fn read(bytes: &[u8]) -> Option<Element> {
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.rchunks_exact(8)) {
        *limb = u64::from_be_bytes(bytes.try_into().ok()?);
    }
    Element::from_bigint(BigInt(limbs))
}

/// A word as 32 bytes.
pub(crate) fn word_bytes(word: &Fr) -> [u8; 32] {
    bytes::fr_to_bytes(word)
}

#[cfg(test)]
mod tests;
