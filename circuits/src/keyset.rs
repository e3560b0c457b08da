//! The verification keys of all circuits and the tree over them. A node, a verifier and L1 pin its root.
//!
//! The root covers the circuits that wallets prove too, so whoever makes the set makes their verification keys as well.
//! An agent never loads a proving key of theirs.

use rollmill_algebra::bytes::{G2_BYTES, g2_from_bytes, g2_to_bytes};
use rollmill_algebra::{Fr, G2Affine};
use rollmill_plonk::key::{KeyError, VerifyingKey};
use rollmill_plonk::proof::{Proof, ProofError};
use rollmill_plonk::srs::srs_id;
use rollmill_plonk::verifier::{VerifyError, verify};
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_path, vk_tree};
use rollmill_protocol::{ChargedRows, Circuit, Config, Constants, EthAddress};
use sha2::{Digest, Sha256};

use crate::circuit::{cell_bits, log_n, transcript};
use crate::gadgets::charge::OpenedLeaf;

const FORMAT: u8 = 2;
const KEY_BYTES_MAX: usize = 4096;

/// Why a file is no set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The set of keys cannot be decoded.
    ///
    /// Do: Run `rollmill-agent keys`; it writes the set again.
    #[error("{code}: key set: {cause}", code = self.code(), cause = rollmill_errors::Bare(.0))]
    Decode(#[from] DecodeError),
    /// The digest of the set of keys does not match its contents: the file is damaged.
    ///
    /// Do: Run `rollmill-agent keys`; it writes the set again.
    #[error("{code}: key set: its digest does not match its contents", code = self.code())]
    Digest,
    /// A verifying key in the set is malformed.
    ///
    /// Do: Run `rollmill-agent keys`; it writes the set again.
    #[error("{code}: key set: key of {circuit}: {cause}", code = self.code(), cause = rollmill_errors::Bare(.source))]
    Key { circuit: Circuit, source: KeyError },
    /// A key has another shape than the circuit of this release.
    ///
    /// Do: Run `rollmill-agent keys` of this release; it writes the set again.
    #[error("{code}: key set: {circuit} has another shape than this build lays out", code = self.code())]
    Shape { circuit: Circuit },
    /// The SRS point of the set of keys is malformed, or the set was made under another SRS than the one in the
    /// directory of keys.
    ///
    /// Do: Run `rollmill-agent keys` to make the set again under the SRS in `--keys-dir`. If the deployment was made
    /// under another SRS, import that one first with `rollmill-agent srs import`.
    #[error("{code}: key set: its SRS is malformed, or not the one in the directory of keys", code = self.code())]
    Srs,
    /// The keys have another root than the deployment's contract.
    ///
    /// Do: Use the release and the SRS with which the contract was deployed, or correct
    /// `--node-rollup`.
    #[error("{code}: the keys have root {got}, this deployment pins {expected}", code = self.code())]
    Root { expected: String, got: String },
}

rollmill_errors::coded! {
    KeySetError {
        Self::Decode(..) => "CIR-010",
        Self::Digest => "CIR-011",
        Self::Key { .. } => "CIR-012",
        Self::Shape { .. } => "CIR-013",
        Self::Srs => "CIR-014",
        Self::Root { .. } => "CIR-015",
    }
}

/// Why a proof was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectedProof {
    #[error(transparent)]
    Encoding(#[from] ProofError),
    #[error(transparent)]
    Proof(#[from] VerifyError),
}

rollmill_errors::coded! {
    RejectedProof {
        Self::Encoding(error) => (error),
        Self::Proof(error) => (error),
    }
}

/// One circuit's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitKey {
    pub circuit: Circuit,
    pub vk: VerifyingKey,
    /// Rows of the circuit without padding, which is not charged.
    pub rows_used: u64,
    /// Digest of the layout that the key was made for.
    pub layout_digest: [u8; 32],
}

/// The keys of all circuits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<CircuitKey>,
    tau_g2: G2Affine,
    levels: Vec<Vec<Fr>>,
}

impl KeySet {
    /// The set of these keys: one for each circuit, in the order of [`Circuit::ALL`], all under one SRS.
    pub fn new(keys: Vec<CircuitKey>, tau_g2: G2Affine) -> Result<Self, KeySetError> {
        let id = srs_id(&tau_g2);
        if keys.len() != Circuit::ALL.len() {
            let (expected, got) = (Circuit::ALL.len(), keys.len());
            return Err(DecodeError::Length { what: "key set", expected, got }.into());
        }
        for (key, circuit) in keys.iter().zip(Circuit::ALL) {
            let shape = key.vk.shape;
            let right = key.circuit == circuit
                && shape.log_n == log_n(circuit)
                && shape.cell_bits == cell_bits(circuit)
                && shape.n_public as usize == circuit.n_public()
                && key.rows_used <= shape.n() as u64;
            if !right {
                return Err(KeySetError::Shape { circuit });
            }
            if key.vk.srs_id != id {
                return Err(KeySetError::Srs);
            }
        }
        let mut set = Self { keys, tau_g2, levels: Vec::new() };
        let leaves: Vec<VkLeaf> = Circuit::ALL.iter().map(|circuit| set.leaf(*circuit)).collect();
        set.levels = vk_tree(&leaves);
        Ok(set)
    }

    /// One circuit's key.
    pub fn key(&self, circuit: Circuit) -> &CircuitKey {
        &self.keys[circuit as usize]
    }

    /// `[τ]` in G2.
    pub fn tau_g2(&self) -> &G2Affine {
        &self.tau_g2
    }

    /// The leaf of a circuit in the key tree.
    pub fn leaf(&self, circuit: Circuit) -> VkLeaf {
        let key = self.key(circuit);
        VkLeaf {
            circuit,
            vk_digest: key.vk.digest(),
            log_n: key.vk.shape.log_n.into(),
            n_public_inputs: key.vk.shape.n_public.into(),
            charged_rows: key.rows_used,
            protocol_version: PROTOCOL_VERSION,
        }
    }

    /// The leaf of a circuit with its siblings.
    pub fn opened(&self, circuit: Circuit) -> OpenedLeaf {
        OpenedLeaf { leaf: self.leaf(circuit), path: vk_path(&self.levels, circuit) }
    }

    /// Root of the key tree.
    pub fn root(&self) -> Fr {
        self.levels[VK_TREE_HEIGHT][0]
    }

    /// Checks that the root is the one that a deployment pins.
    ///
    /// # Errors
    /// [`KeySetError::Root`]
    pub fn require_root(&self, expected: &Fr) -> Result<(), KeySetError> {
        let text = rollmill_protocol::field::to_hex;
        match self.root() == *expected {
            true => Ok(()),
            false => Err(KeySetError::Root { expected: text(expected), got: text(&self.root()) }),
        }
    }

    /// Rows charged for a proof of each circuit.
    pub fn charged_rows(&self) -> ChargedRows {
        ChargedRows::new(|circuit| self.key(circuit).rows_used)
    }

    /// Constants of every range of a deployment that uses these keys, in the proofs of this prover.
    pub fn constants(
        &self,
        chain_id: u64,
        version: u64,
        config: &Config,
        prover_id: EthAddress,
    ) -> Constants {
        Constants {
            chain_id,
            version,
            vk_root: self.root(),
            protocol_version: PROTOCOL_VERSION,
            config_hash: config.hash(),
            prover_id,
        }
    }

    /// Verifies a proof of `circuit`, with the pair its public inputs carry.
    pub fn verify(
        &self,
        circuit: Circuit,
        public: &[Fr],
        proof: &[u8],
    ) -> Result<(), RejectedProof> {
        let proof = Proof::from_bytes(proof)?;
        let vk = &self.key(circuit).vk;
        verify(transcript(circuit), vk, &self.tau_g2, public, &proof, Some(circuit.pair_at()))?;
        Ok(())
    }

    /// Encodes the set: format, `[τ]_2`, then rows, layout digest and key of each circuit, then SHA-256 of
    /// everything before.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(FORMAT);
        out.raw(&g2_to_bytes(&self.tau_g2));
        for key in &self.keys {
            out.u64(key.rows_used);
            out.raw(&key.layout_digest);
            out.counted(&key.vk.to_bytes());
        }
        let mut bytes = out.finish();
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// Decodes [`Self::to_bytes`].
    ///
    /// # Errors
    /// When a byte differs from what [`Self::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeySetError> {
        let Some((contents, digest)) = bytes.split_last_chunk::<32>() else {
            return Err(KeySetError::Digest);
        };
        if Sha256::digest(contents)[..] != digest[..] {
            return Err(KeySetError::Digest);
        }
        let mut from = Reader::new("key set", contents);
        from.version(FORMAT)?;
        let tau_g2 = g2_from_bytes(&from.array::<G2_BYTES>()?).map_err(|_| KeySetError::Srs)?;
        let mut keys = Vec::with_capacity(Circuit::ALL.len());
        for circuit in Circuit::ALL {
            let rows_used = from.u64()?;
            let layout_digest = from.array()?;
            let vk = VerifyingKey::from_bytes(from.counted(KEY_BYTES_MAX)?)
                .map_err(|source| KeySetError::Key { circuit, source })?;
            keys.push(CircuitKey { circuit, vk, rows_used, layout_digest });
        }
        from.finish()?;
        Self::new(keys, tau_g2)
    }
}
