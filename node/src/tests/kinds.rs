//! Kinds of client proofs, by real proofs of two small circuits that state what client proofs state.

use std::sync::Arc;

use rollmill_algebra::cpu::CpuDevice;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, ProvingKey, setup};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_protocol::{Circuit, ClientInputs, Fr, Genesis, Pair, ProofKind, Tx};

use super::support;
use crate::client_keys::tests::placed;
use crate::{ClientKeys, Node, NodeSettings, PoolError};

const CELL_BITS: u32 = 10;
const LOG_N: u32 = 11;

/// In the places of the client's and the tail's circuit: circuits that accept any words. The first one states the
/// trivial pair, as the built-in client does.
fn laid(kind: ProofKind, inputs: &ClientInputs) -> (Layout, Witness) {
    let (fields, pair_at) = (inputs.to_fields(), kind.circuit().pair_at());
    let mut b = Builder::new(fields.len(), CELL_BITS);
    for (i, value) in fields.into_iter().enumerate() {
        let var = match kind == ProofKind::BuiltIn && i >= pair_at {
            true => b.constant(value),
            false => b.witness(value),
        };
        b.set_public(i, var);
    }
    b.finish(Some(LOG_N)).expect("fits")
}

struct Prover {
    device: CpuDevice,
    bases: Bases<CpuDevice>,
    srs: Srs,
}

impl Prover {
    fn new() -> Self {
        let (device, srs) = (CpuDevice::default(), Srs::development(LOG_N));
        let lagrange = srs.lagrange(LOG_N).expect("long enough");
        let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
        Self { device, bases, srs }
    }

    fn key(&self, kind: ProofKind, tx: &Tx) -> ProvingKey<CpuDevice> {
        let (layout, _) = laid(kind, &ClientInputs::of(tx, Fr::from(0u64)));
        let columns = layout.fixed_columns();
        let (device, id) = (&self.device, self.srs.id());
        let vk = setup(device, &self.bases, id, layout.shape, &columns).expect("a key");
        ProvingKey::new(device, vk, &columns).expect("a key")
    }

    /// A proof of the circuit of this kind for what the transaction says.
    fn proof(&self, kind: ProofKind, tx: &Tx, vk_root: Fr) -> Vec<u8> {
        let (_, witness) = laid(kind, &ClientInputs::of(tx, vk_root));
        let (key, blinding) = (self.key(kind, tx), Blinding::On { seed: [3; 32] });
        let transcript = TranscriptKind::Poseidon2;
        let proof = prove(&self.device, &key, &self.bases, transcript, &witness, blinding);
        proof.expect("a proof").to_bytes()
    }

    /// The keys of both circuits, which do not depend on the transaction.
    fn keys(&self) -> ClientKeys {
        let tx = support::tx(0, Fr::from(0u64));
        let kinds = ProofKind::ALL.map(|kind| (kind.circuit(), self.key(kind, &tx).vk.clone()));
        placed(self.srs.tau_g2, |circuit| {
            let [(first, built_in), (_, tail)] = &kinds;
            if circuit == *first { built_in.clone() } else { tail.clone() }
        })
    }

    /// A pair other than the trivial one. It holds if `power` is 1.
    fn pair(&self, power: usize) -> Pair {
        let zero = Fr::from(0u64);
        Pair { l: self.srs.powers[0], s_l: zero, r: self.srs.powers[power], s_r: zero }
    }
}

/// Requires that the node rejects the proof of a transaction.
fn assert_rejected(what: &str, node: &Node, tx: &Tx) {
    let answer = node.submit(&tx.to_bytes());
    assert!(matches!(answer, Err(PoolError::Proof { .. })), "{what}: {answer:?}");
}

/// Goal: a proof of each kind is accepted under its own key, and none passes for the other kind or for what it does
/// not state. A proof of the private kernel needs a pair that holds.
#[test]
fn each_kind_of_client_proof_is_accepted_and_none_passes_for_the_other() {
    let prover = Prover::new();
    let keys = prover.keys();
    let vk_root = keys.root(ProofKind::BuiltIn);
    let genesis = Genesis { vk_root, ..support::genesis() };
    let dir = tempfile::tempdir().unwrap();
    let settings = NodeSettings { genesis: genesis.clone(), ..super::settings(dir.path()) };
    let node = Node::open(settings, Arc::new(keys)).unwrap();
    let anchor = node.genesis_header().hash();
    let tx = |i: u64| Tx { version: genesis.version(), ..support::tx(i, anchor) };
    let proven = |kind: ProofKind, tx: Tx| {
        let client_proof = prover.proof(kind, &tx, vk_root);
        Tx { client_proof, ..tx }
    };

    let built_in = proven(ProofKind::BuiltIn, tx(0));
    let of_kernel = |i: u64, power: usize| {
        let pair = prover.pair(power);
        proven(ProofKind::PrivateTail, Tx { proof_kind: ProofKind::PrivateTail, pair, ..tx(i) })
    };
    let tail = of_kernel(1, 1);

    // Each under the other's name, with the pair that both could state.
    let crossed = Tx { proof_kind: ProofKind::PrivateTail, ..built_in.clone() };
    assert_rejected("the client's proof as the tail's", &node, &crossed);
    let plain = proven(ProofKind::PrivateTail, tx(1));
    assert_eq!((plain.proof_kind, plain.pair), (ProofKind::BuiltIn, Pair::trivial()));
    assert_rejected("the tail's proof as the client's", &node, &plain);
    let replaced = Tx { pair: Pair::trivial(), ..tail.clone() };
    assert_rejected("another pair than the proof states", &node, &replaced);
    assert_rejected("a pair that does not hold", &node, &of_kernel(1, 2));
    let client_proof = prover.proof(ProofKind::PrivateTail, &tail, vk_root + Fr::from(1u64));
    let foreign = Tx { client_proof, ..tail.clone() };
    assert_rejected("a proof under another key tree", &node, &foreign);

    for tx in [&built_in, &tail] {
        assert_eq!(node.submit(&tx.to_bytes()).unwrap(), tx.hash());
        assert_eq!(node.transaction(&tx.hash()).unwrap().as_deref(), Some(tx));
    }
    // As the pool and other nodes read it again.
    assert_eq!(Tx::from_bytes(&tail.to_bytes()).as_ref(), Ok(&tail));
    assert_eq!(tail.proof_kind.circuit(), Circuit::PrivateTail);
}
