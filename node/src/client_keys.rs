//! The keys of the circuits that make client proofs, each with its place under the root that L1 pins.
//!
//! A transaction names the kind of its proof. The kind decides which of the keys the proof is verified under, so a proof
//! of one circuit does not pass for one of the other.

use rollmill_errors::Bare;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::Proof;
use rollmill_plonk::srs::{Origin, Srs, SrsError, development_tau_g2, srs_id};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;
use rollmill_plonk::{G2_BYTES, G2Affine, g2_from_bytes, g2_to_bytes};
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::tree::root_from_path;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf};
use rollmill_protocol::{Circuit, ClientInputs, Fr, ProofKind, field};

use crate::pool::{ClientProofVerifier, ProofRejected};

const FORMAT: u8 = 2;
const KEY_BYTES_MAX: usize = 4096;

/// Why the client keys are rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientKeyError {
    /// The client keys cannot be decoded.
    ///
    /// Do: Export them again with `rollmill-prover-node keys`.
    #[error("{code}: the client keys cannot be decoded: {cause}; export them again with `rollmill-prover-node keys`", code = self.code(), cause = Bare(.0))]
    Decode(#[from] DecodeError),
    /// A verifying key in the client keys is malformed.
    ///
    /// Do: Export them again with `rollmill-prover-node keys`.
    #[error("{code}: a client key is malformed: {cause}; export them again with `rollmill-prover-node keys`", code = self.code(), cause = Bare(.0))]
    Key(#[from] rollmill_plonk::key::KeyError),
    /// The SRS point of the client keys is malformed or does not belong to one of them.
    ///
    /// Do: Export them again with `rollmill-prover-node keys`.
    #[error("{code}: client keys: the point of the SRS is malformed or not that of a key; export them again with `rollmill-prover-node keys`", code = self.code())]
    Srs,
    /// A client key belongs to another key root than the contract.
    ///
    /// Do: Export the client keys with the release that the contract was deployed for, or correct
    /// `--node-rollup`.
    #[error("{code}: the key of {circuit} belongs to key tree {got}, the contract pins {expected}", code = self.code())]
    Root { circuit: Circuit, expected: String, got: String },
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

/// The key of a circuit, with its place in the key tree.
#[derive(Debug, Clone)]
pub struct PlacedKey {
    pub vk: VerifyingKey,
    /// Rows that the leaf charges.
    pub charged_rows: u64,
    /// Siblings of the leaf, lowest first.
    pub path: [Fr; VK_TREE_HEIGHT],
}

impl PlacedKey {
    /// Root of the key tree in which this is the key of `circuit`.
    fn root(&self, circuit: Circuit) -> Fr {
        let leaf = VkLeaf {
            circuit,
            vk_digest: self.vk.digest(),
            log_n: self.vk.shape.log_n.into(),
            n_public_inputs: self.vk.shape.n_public.into(),
            charged_rows: self.charged_rows,
            protocol_version: PROTOCOL_VERSION,
        };
        root_from_path(&leaf.hash(), circuit.role(), &self.path)
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.charged_rows);
        out.frs(&self.path);
        out.counted(&self.vk.to_bytes());
    }

    fn read(from: &mut Reader<'_>, srs: &Fr) -> Result<Self, ClientKeyError> {
        let charged_rows = from.u64()?;
        let mut path = [Fr::from(0u64); VK_TREE_HEIGHT];
        for sibling in &mut path {
            *sibling = from.fr()?;
        }
        let vk = VerifyingKey::from_bytes(from.counted(KEY_BYTES_MAX)?)?;
        match vk.srs_id == *srs {
            true => Ok(Self { vk, charged_rows, path }),
            false => Err(ClientKeyError::Srs),
        }
    }
}

/// Verifies client proofs of every kind.
#[derive(Debug, Clone)]
pub struct ClientKeys {
    tau_g2: G2Affine,
    built_in: PlacedKey,
    private_tail: PlacedKey,
}

impl ClientKeys {
    /// The keys that `key` returns for the circuit of each kind, all under one SRS.
    pub fn new(tau_g2: G2Affine, key: impl Fn(Circuit) -> PlacedKey) -> Self {
        let of = |kind: ProofKind| key(kind.circuit());
        Self { tau_g2, built_in: of(ProofKind::BuiltIn), private_tail: of(ProofKind::PrivateTail) }
    }

    fn of(&self, kind: ProofKind) -> &PlacedKey {
        match kind {
            ProofKind::BuiltIn => &self.built_in,
            ProofKind::PrivateTail => &self.private_tail,
        }
    }

    /// Root of the key tree that the key for proofs of this kind leads to. Keys of one tree lead to one root.
    pub fn root(&self, kind: ProofKind) -> Fr {
        self.of(kind).root(kind.circuit())
    }

    /// Requires every key to be the one the contract pins, and the SRS to be fit for the chain.
    ///
    /// # Errors
    /// [`ClientKeyError::Root`], [`ClientKeyError::Development`]
    pub fn require(&self, vk_root: &Fr, chain_id: u64) -> Result<(), ClientKeyError> {
        for kind in ProofKind::ALL {
            let got = self.root(kind);
            if got != *vk_root {
                let (expected, got) = (field::to_hex(vk_root), field::to_hex(&got));
                return Err(ClientKeyError::Root { circuit: kind.circuit(), expected, got });
            }
        }
        let origin = match self.tau_g2 == development_tau_g2() {
            true => Origin::Development,
            false => Origin::Ceremony,
        };
        Ok(Srs { powers: Vec::new(), tau_g2: self.tau_g2, origin }.require_ceremony(chain_id)?)
    }

    /// Canonical bytes: format, `[τ]_2`, then charged rows, path and key for each kind in the order of
    /// [`ProofKind::ALL`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(FORMAT);
        out.raw(&g2_to_bytes(&self.tau_g2));
        for kind in ProofKind::ALL {
            self.of(kind).write(&mut out);
        }
        out.finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`ClientKeyError::Decode`], [`ClientKeyError::Key`], [`ClientKeyError::Srs`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ClientKeyError> {
        let mut from = Reader::new("client keys", bytes);
        from.version(FORMAT)?;
        let tau_g2 = g2_from_bytes(&from.array::<G2_BYTES>()?).map_err(|_| ClientKeyError::Srs)?;
        let srs = srs_id(&tau_g2);
        let built_in = PlacedKey::read(&mut from, &srs)?;
        let private_tail = PlacedKey::read(&mut from, &srs)?;
        from.finish()?;
        Ok(Self { tau_g2, built_in, private_tail })
    }
}

impl ClientProofVerifier for ClientKeys {
    fn verify(
        &self,
        kind: ProofKind,
        inputs: &ClientInputs,
        proof: &[u8],
    ) -> Result<(), ProofRejected> {
        let rejected = |reason: String| ProofRejected { reason };
        let proof = Proof::from_bytes(proof).map_err(|error| rejected(Bare(&error).to_string()))?;
        let (vk, transcript) = (&self.of(kind).vk, TranscriptKind::Poseidon2);
        // What is owed for the proofs below must hold too. That of the built-in client always does.
        let pair_at = Some(kind.circuit().pair_at());
        verify(transcript, vk, &self.tau_g2, &inputs.to_fields(), &proof, pair_at)
            .map_err(|error| rejected(Bare(&error).to_string()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rollmill_plonk::shape::{Shape, fixed};
    use rollmill_protocol::vk_tree::{vk_path, vk_tree};

    /// Keys that no circuit has: enough for everything that comes before a proof.
    pub(crate) fn keys() -> ClientKeys {
        let srs = Srs::development(5);
        let key = |circuit: Circuit| {
            let first = if circuit == Circuit::Client { 1 } else { 7 };
            VerifyingKey {
                shape: Shape { log_n: 13, n_public: 16, cell_bits: 12 },
                srs_id: srs.id(),
                fixed: std::array::from_fn::<_, { fixed::COUNT }, _>(|i| {
                    srs.powers[i % 20 + first]
                }),
            }
        };
        placed(srs.tau_g2, key)
    }

    /// The keys that `key` returns, placed in a tree of their own.
    pub(crate) fn placed(tau_g2: G2Affine, key: impl Fn(Circuit) -> VerifyingKey) -> ClientKeys {
        const ROWS: u64 = 1676;
        let leaf = |kind: ProofKind| {
            let (circuit, vk) = (kind.circuit(), key(kind.circuit()));
            VkLeaf {
                circuit,
                vk_digest: vk.digest(),
                log_n: vk.shape.log_n.into(),
                n_public_inputs: vk.shape.n_public.into(),
                charged_rows: ROWS,
                protocol_version: PROTOCOL_VERSION,
            }
        };
        let levels = vk_tree(&ProofKind::ALL.map(leaf));
        ClientKeys::new(tau_g2, |circuit| {
            let path = vk_path(&levels, circuit);
            PlacedKey { vk: key(circuit), charged_rows: ROWS, path }
        })
    }

    #[test]
    fn every_flipped_or_missing_byte_is_rejected_or_leads_to_another_root() {
        let keys = keys();
        let (root, bytes) = (keys.root(ProofKind::BuiltIn), keys.to_bytes());
        assert_eq!(keys.root(ProofKind::PrivateTail), root);
        assert!(ClientKeys::from_bytes(&bytes).unwrap().require(&root, 31337).is_ok());
        let mut read = 0;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Ok(other) = ClientKeys::from_bytes(&flipped) {
                read += 1;
                let error = other.require(&root, 31337).unwrap_err();
                assert!(matches!(error, ClientKeyError::Root { .. }), "byte {at}: {error}");
            }
            assert!(ClientKeys::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(ClientKeys::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        assert!(read >= 32 * VK_TREE_HEIGHT, "too few changes were read: {read}");
    }

    /// Attack: the files of a node with the keys of both circuits exchanged, so that one's proof passes for the
    /// other's. A leaf names its role.
    #[test]
    fn keys_in_each_others_places_lead_to_another_root() {
        let keys = keys();
        let root = keys.root(ProofKind::BuiltIn);
        let ClientKeys { tau_g2, built_in, private_tail } = keys.clone();
        let swapped = ClientKeys { tau_g2, built_in: private_tail, private_tail: built_in };
        let error = swapped.require(&root, 31337).unwrap_err();
        assert!(matches!(error, ClientKeyError::Root { circuit: Circuit::Client, .. }), "{error}");
        let doubled = ClientKeys { private_tail: keys.built_in.clone(), ..keys };
        let error = doubled.require(&root, 31337).unwrap_err();
        let is_of_the_tail =
            matches!(error, ClientKeyError::Root { circuit: Circuit::PrivateTail, .. });
        assert!(is_of_the_tail, "{error}");
    }

    #[test]
    fn a_development_key_is_rejected_on_another_chain_and_another_root_anywhere() {
        let keys = keys();
        let root = keys.root(ProofKind::BuiltIn);
        let error = keys.require(&root, 1).unwrap_err();
        assert!(matches!(error, ClientKeyError::Development(_)), "{error}");
        let other = root + Fr::from(1u64);
        let error = keys.require(&other, 31337).unwrap_err().to_string();
        assert!(error.starts_with("NODE-053: "), "{error}");
    }
}
