//! What a blob transaction carries beside its signed part.

use crate::error::BlobError;
use crate::kzg::{Commitment, Proof};
use crate::{BYTES, Blob};

/// Cells of an extended blob, each with a proof (EIP-7594).
pub const CELLS: usize = 128;
/// Bytes of a commitment or a proof.
const POINT: usize = 48;
/// Bytes of [`Sidecar::to_bytes`].
pub const SIDECAR_BYTES: usize = BYTES + POINT + CELLS * POINT;
/// The point at infinity, compressed.
const INFINITY: [u8; POINT] = {
    let mut bytes = [0; POINT];
    bytes[0] = 0xc0;
    bytes
};

/// A blob with its commitment and its [`CELLS`] cell proofs, as [`crate::Kzg::sidecar`] computes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Sidecar {
    pub(crate) blob: Blob,
    pub(crate) commitment: Commitment,
    pub(crate) cell_proofs: Vec<Proof>,
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The cell proofs follow from the blob.
        let mut shown = f.debug_struct("Sidecar");
        shown.field("blob", &self.blob).field("commitment", &self.commitment);
        shown.finish_non_exhaustive()
    }
}

impl Sidecar {
    /// The sidecar of a blob of zeros. The zero polynomial's commitment and proofs are the point at infinity, so
    /// nothing is computed.
    pub fn empty() -> Self {
        Self {
            blob: Blob(vec![0; BYTES].into()),
            commitment: Commitment(INFINITY),
            cell_proofs: vec![Proof(INFINITY); CELLS],
        }
    }

    /// The blob.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// The commitment to it.
    pub fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// The proofs of its cells, in order.
    pub fn cell_proofs(&self) -> &[Proof] {
        &self.cell_proofs
    }

    /// The hash by which the transaction names the blob.
    pub fn versioned_hash(&self) -> [u8; 32] {
        self.commitment.versioned_hash()
    }

    /// Blob, commitment and cell proofs in this order: [`SIDECAR_BYTES`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let proofs = self.cell_proofs.iter().flat_map(|proof| proof.0);
        self.blob.as_bytes().iter().copied().chain(self.commitment.0).chain(proofs).collect()
    }

    /// Reads what [`Self::to_bytes`] wrote. Commitment and proofs are not checked against the blob.
    ///
    /// # Errors
    /// [`BlobError::Length`] and [`BlobError::NotCanonical`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlobError> {
        let got = bytes.len();
        if got != SIDECAR_BYTES {
            return Err(BlobError::Length { what: "sidecar", expected: SIDECAR_BYTES, got });
        }
        let (blob, points) = bytes.split_at(BYTES);
        let mut points = points.chunks_exact(POINT).map(|chunk| {
            let mut point = [0; POINT];
            point.copy_from_slice(chunk);
            point
        });
        Ok(Self {
            blob: Blob::from_bytes(blob)?,
            // The length was checked, so there is one.
            commitment: Commitment(points.next().unwrap_or(INFINITY)),
            cell_proofs: points.map(Proof).collect(),
        })
    }
}
