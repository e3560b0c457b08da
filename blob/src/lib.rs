//! The data of a block as a blob of EIP-4844: a polynomial whose coefficients are the words of the block, its
//! KZG commitment, and its proofs.
//!
//! No module here opens files or connections, and only [`Kzg`] keeps state: the points of Ethereum's setup.
//!
//! # Conventions
//! - An *element* of a blob is one of BLS12-381's scalar field, below q: 32 bytes, big-endian and canonical.
//! - What the elements mean, and how a block's words become a blob and back, is `rollmill_protocol::blob`. This crate
//!   takes the bytes.
//! - Errors are [`BlobError`], with codes `BLOB-…`.

mod error;
mod kzg;
mod short;
mod sidecar;

use std::sync::Arc;

use rollmill_algebra::{Fr, bytes};

pub use error::BlobError;
pub use kzg::{Commitment, Kzg, Proof};
pub use short::Short;
pub use sidecar::{CELLS, SIDECAR_BYTES, Sidecar};

/// Elements of a blob.
pub const ELEMENTS: usize = 4_096;
/// Bytes of a blob: [`ELEMENTS`] of 32 bytes.
pub const BYTES: usize = ELEMENTS * ELEMENT_BYTES;

pub(crate) const ELEMENT_BYTES: usize = 32;

/// Order of BLS12-381's scalar field, big-endian: EIP-4844's BLS_MODULUS.
const Q: [u8; ELEMENT_BYTES] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05,
    0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
];

/// A blob with canonical elements. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Arc<[u8]>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blob").field(&Short(&self.0)).finish()
    }
}

impl Blob {
    /// The blob that these bytes are.
    ///
    /// # Errors
    /// [`BlobError::Length`] unless there are [`BYTES`], [`BlobError::NotCanonical`] if an element is not below q.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlobError> {
        if bytes.len() != BYTES {
            return Err(BlobError::Length { what: "blob", expected: BYTES, got: bytes.len() });
        }
        for (index, element) in bytes.chunks_exact(ELEMENT_BYTES).enumerate() {
            if element >= &Q[..] {
                return Err(BlobError::NotCanonical { index });
            }
        }
        Ok(Self(bytes.into()))
    }

    /// The canonical bytes, [`BYTES`] of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A word as 32 bytes.
pub(crate) fn word_bytes(word: &Fr) -> [u8; 32] {
    bytes::fr_to_bytes(word)
}

#[cfg(test)]
mod tests;
