//! KZG commitments and proofs with Ethereum's setup, which the library contains.

use std::fmt;

use c_kzg::{Bytes32, Bytes48, KzgSettings};
use rollmill_algebra::Fr;
use sha2::{Digest, Sha256};

use crate::error::BlobError;
use crate::sidecar::Sidecar;
use crate::{Blob, word_bytes};

/// Tables for faster cell proofs that the library makes while it loads: none. Loading takes 2 s to 3 s in any case,
/// larger tables add up to 1 s and 100 MB, and a proposer needs one set of cell proofs per block.
const PRECOMPUTE: u64 = 0;
/// First byte of a versioned hash (EIP-4844).
const VERSION: u8 = 1;

/// A commitment to a blob's polynomial: a compressed point of BLS12-381. Not necessarily a valid one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment(pub [u8; 48]);

/// A proof of a polynomial's value at one point. Not necessarily a valid one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proof(pub [u8; 48]);

impl Commitment {
    /// The hash by which L1 names the blob: `0x01` and the last 31 bytes of SHA-256 of the commitment.
    pub fn versioned_hash(&self) -> [u8; 32] {
        let mut hash: [u8; 32] = Sha256::digest(self.0).into();
        hash[0] = VERSION;
        hash
    }
}

fn show(name: &str, bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}(0x")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
    f.write_str(")")
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show("Commitment", &self.0, f)
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show("Proof", &self.0, f)
    }
}

/// The right to use the setup, which is loaded once per process. Every call waits until it is loaded and then
/// computes on the calling thread; call it from a blocking task.
#[derive(Debug, Clone, Copy)]
pub struct Kzg(());

impl Kzg {
    /// Loads the setup in a thread of its own, which takes 2 s to 3 s, and returns at once.
    pub fn start() -> Self {
        let load = || _ = settings();
        // Without a thread the first call loads it.
        let _ = std::thread::Builder::new().name("kzg-setup".to_owned()).spawn(load);
        Self(())
    }

    /// The commitment to a blob, which takes about 40 ms.
    ///
    /// # Errors
    /// [`BlobError::Kzg`]
    pub fn commit(&self, blob: &Blob) -> Result<Commitment, BlobError> {
        let commitment = settings().blob_to_kzg_commitment(&native(blob)?);
        Ok(Commitment(*commitment.map_err(failed("commitment"))?.to_bytes()))
    }

    /// Whether L1 names this blob by `versioned_hash`.
    ///
    /// # Errors
    /// [`BlobError::Kzg`]
    pub fn is_named(&self, blob: &Blob, versioned_hash: &[u8; 32]) -> Result<bool, BlobError> {
        Ok(self.commit(blob)?.versioned_hash() == *versioned_hash)
    }

    /// The value at `z` of a blob's polynomial as 32 canonical bytes, and its proof.
    ///
    /// # Errors
    /// [`BlobError::Kzg`]
    pub fn prove(&self, blob: &Blob, z: &Fr) -> Result<([u8; 32], Proof), BlobError> {
        let z = Bytes32::from(word_bytes(z));
        let opening = settings().compute_kzg_proof(&native(blob)?, &z);
        let (proof, y) = opening.map_err(failed("proof"))?;
        Ok((*y, Proof(*proof.to_bytes())))
    }

    /// Whether the polynomial of `commitment` has the value `y` at `z`, as L1's precompile decides it. False for
    /// bytes that are no point or no canonical element.
    ///
    /// # Errors
    /// [`BlobError::Kzg`] if the library cannot decide.
    pub fn verify(
        &self,
        commitment: &Commitment,
        z: &Fr,
        y: &[u8; 32],
        proof: &Proof,
    ) -> Result<bool, BlobError> {
        let (commitment, proof) = (Bytes48::from(commitment.0), Bytes48::from(proof.0));
        let (z, y) = (Bytes32::from(word_bytes(z)), Bytes32::from(*y));
        match settings().verify_kzg_proof(&commitment, &z, &y, &proof) {
            Ok(holds) => Ok(holds),
            Err(c_kzg::Error::CError(c_kzg::CkzgError::C_KZG_BADARGS)) => Ok(false),
            Err(error) => Err(failed("verification")(error)),
        }
    }

    /// What a transaction carries besides its blob's hash: commitment and cell proofs (EIP-7594). Takes 0.2 s to
    /// 0.4 s.
    ///
    /// # Errors
    /// [`BlobError::Kzg`]
    pub fn sidecar(&self, blob: Blob) -> Result<Sidecar, BlobError> {
        let native = native(&blob)?;
        let commitment = settings().blob_to_kzg_commitment(&native);
        let commitment = Commitment(*commitment.map_err(failed("commitment"))?.to_bytes());
        let cells = settings().compute_cells_and_kzg_proofs(&native);
        let (_, proofs) = cells.map_err(failed("cell proofs"))?;
        let cell_proofs = proofs.iter().map(|proof| Proof(*proof.to_bytes())).collect();
        Ok(Sidecar { blob, commitment, cell_proofs })
    }
}

fn settings() -> &'static KzgSettings {
    c_kzg::ethereum_kzg_settings(PRECOMPUTE)
}

fn native(blob: &Blob) -> Result<c_kzg::Blob, BlobError> {
    c_kzg::Blob::from_bytes(blob.as_bytes()).map_err(failed("blob"))
}

fn failed(what: &'static str) -> impl FnOnce(c_kzg::Error) -> BlobError {
    move |error| BlobError::Kzg { what, reason: format!("{error:?}") }
}
