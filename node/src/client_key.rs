//! The key of the client circuit, with its place under the root that L1 pins.

use rollmill_errors::Bare;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::Proof;
use rollmill_plonk::srs::{Origin, Srs, SrsError, development_tau_g2, srs_id};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;
use rollmill_plonk::{G2_BYTES, G2Affine, g2_from_bytes, g2_to_bytes};
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::tree::node_hash;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf};
use rollmill_protocol::{Circuit, ClientInputs, Fr, field};

use crate::pool::{ClientProofVerifier, ProofRejected};

const FORMAT: u8 = 1;
const KEY_BYTES_MAX: usize = 4096;

/// Why a client key is rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientKeyError {
    /// The client key cannot be decoded.
    ///
    /// Do: Export it again with `rollmill-prover-node keys`.
    #[error("{code}: the client key cannot be decoded: {cause}; export it again with `rollmill-prover-node keys`", code = self.code(), cause = Bare(.0))]
    Decode(#[from] DecodeError),
    /// The verifying key in the client key is malformed.
    ///
    /// Do: Export it again with `rollmill-prover-node keys`.
    #[error("{code}: the client key is malformed: {cause}; export it again with `rollmill-prover-node keys`", code = self.code(), cause = Bare(.0))]
    Key(#[from] rollmill_plonk::key::KeyError),
    /// The SRS point of the client key is malformed or does not belong to the key.
    ///
    /// Do: Export it again with `rollmill-prover-node keys`.
    #[error("{code}: client key: the point of the SRS is malformed or not the key's; export it again with `rollmill-prover-node keys`", code = self.code())]
    Srs,
    /// The client key belongs to another key root than the contract.
    ///
    /// Do: Export it with the release that the contract was deployed for, or correct
    /// `--node-rollup`.
    #[error("{code}: the client key belongs to key tree {got}, the contract pins {expected}", code = self.code())]
    Root { expected: String, got: String },
    #[error(transparent)]
    Development(#[from] SrsError),
}

rollmill_errors::coded! {
    ClientKeyError {
        Self::Decode(..) => "NODE-050",
        Self::Key(..) => "NODE-051",
        Self::Srs => "NODE-052",
        Self::Root { .. } => "NODE-053",
        Self::Development(error) => (error),
    }
}

/// Verifies client proofs.
#[derive(Debug, Clone)]
pub struct ClientKey {
    tau_g2: G2Affine,
    vk: VerifyingKey,
    charged_rows: u64,
    path: [Fr; VK_TREE_HEIGHT],
}

impl ClientKey {
    /// Creates a client key from a key and its place in the VK tree.
    pub fn new(
        tau_g2: G2Affine,
        vk: VerifyingKey,
        charged_rows: u64,
        path: [Fr; VK_TREE_HEIGHT],
    ) -> Self {
        Self { tau_g2, vk, charged_rows, path }
    }

    /// Root of the key tree that this key leads to.
    pub fn root(&self) -> Fr {
        let leaf = VkLeaf {
            circuit: Circuit::Client,
            vk_digest: self.vk.digest(),
            log_n: self.vk.shape.log_n.into(),
            n_public_inputs: self.vk.shape.n_public.into(),
            charged_rows: self.charged_rows,
            protocol_version: PROTOCOL_VERSION,
        };
        let mut index = Circuit::Client.role();
        let mut at = leaf.hash();
        for sibling in &self.path {
            at = if index & 1 == 0 { node_hash(&at, sibling) } else { node_hash(sibling, &at) };
            index >>= 1;
        }
        at
    }

    /// Requires the key to be the one the contract pins, and its SRS to be fit for the chain.
    pub fn require(&self, vk_root: &Fr, chain_id: u64) -> Result<(), ClientKeyError> {
        let got = self.root();
        if got != *vk_root {
            let (expected, got) = (field::to_hex(vk_root), field::to_hex(&got));
            return Err(ClientKeyError::Root { expected, got });
        }
        let origin = match self.tau_g2 == development_tau_g2() {
            true => Origin::Development,
            false => Origin::Ceremony,
        };
        Ok(Srs { powers: Vec::new(), tau_g2: self.tau_g2, origin }.require_ceremony(chain_id)?)
    }

    /// Canonical bytes: format, `[τ]_2`, charged rows, path, key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(FORMAT);
        out.raw(&g2_to_bytes(&self.tau_g2));
        out.u64(self.charged_rows);
        out.frs(&self.path);
        out.counted(&self.vk.to_bytes());
        out.finish()
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ClientKeyError> {
        let mut from = Reader::new("client key", bytes);
        from.version(FORMAT)?;
        let tau_g2 = g2_from_bytes(&from.array::<G2_BYTES>()?).map_err(|_| ClientKeyError::Srs)?;
        let charged_rows = from.u64()?;
        let mut path = [Fr::from(0u64); VK_TREE_HEIGHT];
        for sibling in &mut path {
            *sibling = from.fr()?;
        }
        let vk = VerifyingKey::from_bytes(from.counted(KEY_BYTES_MAX)?)?;
        from.finish()?;
        if vk.srs_id != srs_id(&tau_g2) {
            return Err(ClientKeyError::Srs);
        }
        Ok(Self { tau_g2, vk, charged_rows, path })
    }
}

impl ClientProofVerifier for ClientKey {
    fn verify(&self, inputs: &ClientInputs, proof: &[u8]) -> Result<(), ProofRejected> {
        let rejected = |reason: String| ProofRejected { reason };
        let proof = Proof::from_bytes(proof).map_err(|error| rejected(Bare(&error).to_string()))?;
        let kind = TranscriptKind::Poseidon2;
        verify(kind, &self.vk, &self.tau_g2, &inputs.to_fields(), &proof, None)
            .map_err(|error| rejected(Bare(&error).to_string()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rollmill_plonk::shape::{Shape, fixed};

    /// A key that no circuit has: enough for everything that comes before a proof.
    pub(crate) fn key() -> ClientKey {
        let srs = Srs::development(4);
        let vk = VerifyingKey {
            shape: Shape { log_n: 13, n_public: 4, cell_bits: 12 },
            srs_id: srs.id(),
            fixed: std::array::from_fn::<_, { fixed::COUNT }, _>(|i| srs.powers[i % 20 + 1]),
        };
        ClientKey::new(srs.tau_g2, vk, 1676, std::array::from_fn(|i| Fr::from(i as u64 + 1)))
    }

    #[test]
    fn every_flipped_or_missing_byte_is_rejected_or_leads_to_another_root() {
        let key = key();
        let (root, bytes) = (key.root(), key.to_bytes());
        assert!(ClientKey::from_bytes(&bytes).unwrap().require(&root, 31337).is_ok());
        let mut read = 0;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Ok(other) = ClientKey::from_bytes(&flipped) {
                read += 1;
                let error = other.require(&root, 31337).unwrap_err();
                assert!(matches!(error, ClientKeyError::Root { .. }), "byte {at}: {error}");
            }
            assert!(ClientKey::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(ClientKey::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        assert!(read >= 32 * VK_TREE_HEIGHT / 2, "too few changes were read: {read}");
    }

    #[test]
    fn a_development_key_is_rejected_on_another_chain_and_another_root_anywhere() {
        let key = key();
        let error = key.require(&key.root(), 1).unwrap_err();
        assert!(matches!(error, ClientKeyError::Development(_)), "{error}");
        let other = key.root() + Fr::from(1u64);
        let error = key.require(&other, 31337).unwrap_err().to_string();
        assert!(error.starts_with("NODE-053: "), "{error}");
    }
}
