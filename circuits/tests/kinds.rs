//! TxBase, whole, over client proofs of both kinds: what it states, and which keys, sizes and words it rejects.
//!
//! Proofs are made up (see `recursion.rs`): everything but the pairing holds, which is all that a parent can see.

use ark_ff::UniformRand;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::Fr;
use rollmill_circuits::children::Child;
use rollmill_circuits::circuit::{Dimensions, dimensions, log_n};
use rollmill_circuits::gadgets::charge::OpenedLeaf;
use rollmill_circuits::registry::layout as layout_of;
use rollmill_circuits::tx_base::{self, TxBaseWitness};
use rollmill_plonk::check::check;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::shape::Shape;
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, reduce};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_path, vk_tree};
use rollmill_protocol::{Circuit, ClientInputs};

use crate::common::mutate::Mutator;
use crate::common::{BlockCase, chain};
use crate::private::assert_same_rows;
use crate::private_whole::{made_up_key, sides};
use crate::recursion::{KIND, coefficients, made_up_proof, points, solve};

/// The circuits whose keys are in the tree.
const CIRCUITS: [Circuit; 5] = [
    Circuit::Client,
    Circuit::PrivateInit,
    Circuit::PrivateInner,
    Circuit::PrivateTail,
    Circuit::PrivateInit2,
];

/// A block of one transaction, and keys of everything that wallets prove.
struct Wallets {
    rng: ChaCha8Rng,
    case: BlockCase,
    keys: [VerifyingKey; 5],
    levels: Vec<Vec<Fr>>,
    leaves: [VkLeaf; 5],
}

impl Wallets {
    fn new() -> Self {
        Self::with(|circuit| (dimensions(circuit), circuit.n_public()))
    }

    /// Keys of these sizes and numbers of public inputs.
    fn with(form: impl Fn(Circuit) -> (Dimensions, usize)) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(17);
        let keys = CIRCUITS.map(|circuit| {
            let (size, n_public) = form(circuit);
            made_up_key(&mut rng, size, n_public)
        });
        let leaves: [VkLeaf; 5] = std::array::from_fn(|i| VkLeaf {
            circuit: CIRCUITS[i],
            vk_digest: keys[i].digest(),
            log_n: keys[i].shape.log_n.into(),
            n_public_inputs: keys[i].shape.n_public.into(),
            charged_rows: 1000 + CIRCUITS[i].role(),
            protocol_version: PROTOCOL_VERSION,
        });
        let levels = vk_tree(&leaves);
        Self { rng, case: chain(&[1]).remove(0), keys, levels, leaves }
    }

    fn root(&self) -> Fr {
        self.levels[VK_TREE_HEIGHT][0]
    }

    fn place(circuit: Circuit) -> usize {
        CIRCUITS.iter().position(|of| *of == circuit).expect("a circuit of wallets")
    }

    fn opened(&self, circuit: Circuit) -> OpenedLeaf {
        let leaf = self.leaves[Self::place(circuit)];
        OpenedLeaf { leaf, path: vk_path(&self.levels, circuit) }
    }

    /// The witness of TxBase under this key tree.
    fn witness(&self) -> TxBaseWitness {
        let mut w = self.case.tx_base_witness(0);
        w.constants.vk_root = self.root();
        w
    }

    fn pair(&mut self) -> Pair {
        let [l, r] = points(&mut self.rng);
        Pair { l, s_l: Fr::rand(&mut self.rng), r, s_r: Fr::rand(&mut self.rng) }
    }

    /// What a client proof of the transaction states, with this pair.
    fn inputs(&self, pair: Pair) -> ClientInputs {
        ClientInputs { pair, ..ClientInputs::of(&self.case.txs[0].0, self.root()) }
    }

    /// A proof that states this under the circuit's key, which is verified with as many public inputs as a client
    /// proof has.
    fn child(&mut self, circuit: Circuit, inputs: &ClientInputs) -> Child {
        let OpenedLeaf { leaf, path } = self.opened(circuit);
        let key = self.keys[Self::place(circuit)].clone();
        let shape = Shape { n_public: ClientInputs::FIELDS as u32, ..key.shape };
        let (vk, public) = (VerifyingKey { shape, ..key }, inputs.to_fields());
        let proof = made_up_proof(&mut self.rng, &vk, &public);
        Child { public, proof, vk, leaf, path }
    }

    fn accepts(&self, child: &Child) -> bool {
        let b = tx_base::build(&self.witness(), child);
        let (layout, witness) = b.finish(Some(log_n(Circuit::TxBase))).expect("fits");
        check(&layout, &witness).is_ok()
    }
}

/// Makes up the proof anew, under the key as it is and for the words as they are.
fn solve_again(child: &mut Child) {
    solve(&child.vk, &child.public, &mut child.proof);
}

/// Goal: over a proof of either kind TxBase has the rows of its key, states what its twin states, and owes what the
/// client proof owes, and a sample of its cells has none that a prover may choose. Method: the pair is the sum of the
/// proof's own and the one that it carries.
#[test]
fn tx_base_states_the_same_over_client_proofs_of_both_kinds() {
    let mut wallets = Wallets::new();
    let w = wallets.witness();
    let expected = wallets.case.tx_range(0, w.constants).to_fields();
    let of_key = layout_of(Circuit::TxBase).expect("fits");
    let at = Circuit::TxBase.pair_at();
    for circuit in [Circuit::Client, Circuit::PrivateTail] {
        let pair = match circuit {
            Circuit::Client => Pair::trivial(),
            _ => wallets.pair(),
        };
        let inputs = wallets.inputs(pair);
        let child = wallets.child(circuit, &inputs);
        let b = tx_base::build(&w, &child);
        let (layout, witness) = b.finish(Some(log_n(Circuit::TxBase))).expect("fits");
        println!("tx_base over {circuit}: {} rows", layout.rows_used);
        assert_eq!(check(&layout, &witness), Ok(()), "{circuit}");
        assert_same_rows(circuit.name(), &of_key, &layout);
        assert_eq!(witness.public[..at], expected[..at], "{circuit}");
        let (own, seed) = reduce(KIND, &child.vk, &child.public, &child.proof).expect("holds");
        let folded = own.fold(&pair, coefficients(&[seed])[1]);
        let got: &[Fr; PAIR_INPUTS] = witness.public[at..].try_into().expect("ten words");
        assert_eq!(sides(&Pair::from_fields(got).expect("a pair")), sides(&folded), "{circuit}");
        // Panics on a cell that is free without a reason.
        Mutator::new(layout, witness).run_from(7, 61);
    }
}

/// Attacks: proofs of other circuits than the two, and keys of the two in each other's places or sizes. The proof
/// always holds for the key and the size that the attacker claims.
#[test]
fn keys_that_make_no_client_proofs_are_rejected() {
    type Attack = (&'static str, fn(&mut Wallets, &mut Child));
    let size = |child: &mut Child, size: Dimensions| {
        (child.vk.shape.log_n, child.vk.shape.cell_bits) = (size.log_n, size.cell_bits);
        solve_again(child);
    };
    let mut wallets = Wallets::new();
    let (trivial, pair) = (Pair::trivial(), wallets.pair());
    let (of_client, of_tail) = (wallets.inputs(trivial), wallets.inputs(pair));
    let client = wallets.child(Circuit::Client, &of_client);
    let tail = wallets.child(Circuit::PrivateTail, &of_tail);
    assert!(wallets.accepts(&client) && wallets.accepts(&tail));

    for circuit in [Circuit::PrivateInit, Circuit::PrivateInner, Circuit::PrivateInit2] {
        let honest = wallets.child(circuit, &of_tail);
        assert!(!wallets.accepts(&honest), "{circuit} by its own role");
        let mut child = honest;
        child.leaf.circuit = Circuit::PrivateTail;
        assert!(!wallets.accepts(&child), "{circuit} as the tail");
        child.path = wallets.opened(Circuit::PrivateTail).path;
        assert!(!wallets.accepts(&child), "{circuit} in the place of the tail");
    }
    let attacks: [Attack; 5] = [
        ("the other accepted role", |_, child| {
            child.leaf.circuit = match child.leaf.circuit {
                Circuit::Client => Circuit::PrivateTail,
                _ => Circuit::Client,
            };
        }),
        ("the other accepted role and its place", |wallets, child| {
            let other = match child.leaf.circuit {
                Circuit::Client => Circuit::PrivateTail,
                _ => Circuit::Client,
            };
            (child.leaf, child.path) = (wallets.opened(other).leaf, wallets.opened(other).path);
        }),
        ("other charged rows than in the leaf", |_, child| child.leaf.charged_rows += 1),
        ("another key", |wallets, child| {
            let Shape { log_n, cell_bits, n_public } = child.vk.shape;
            let size = Dimensions { log_n, cell_bits };
            child.vk = made_up_key(&mut wallets.rng, size, n_public as usize);
            solve_again(child);
        }),
        ("another sibling", |_, child| child.path[4] += Fr::from(1u64)),
    ];
    for honest in [&client, &tail] {
        let circuit = honest.leaf.circuit;
        for (name, attack) in attacks {
            let mut child = honest.clone();
            attack(&mut wallets, &mut child);
            assert!(!wallets.accepts(&child), "{circuit}: {name}");
        }
        let (own, [small, large]) =
            (dimensions(circuit), [Circuit::Client, Circuit::PrivateTail].map(dimensions));
        let sizes = [
            small,
            large,
            Dimensions { log_n: small.log_n, ..large },
            Dimensions { cell_bits: small.cell_bits, ..large },
        ];
        for other in sizes.into_iter().filter(|other| *other != own) {
            let mut child = honest.clone();
            size(&mut child, other);
            assert!(!wallets.accepts(&child), "{circuit} as {other:?}");
        }
    }
}

/// Attack: a circuit of another role, in its own place of the key tree, whose key has the form of the tail's. Nothing
/// but the role tells its proof from a client proof.
#[test]
fn the_roles_of_client_proofs_are_the_only_ones() {
    let form = (dimensions(Circuit::PrivateTail), ClientInputs::FIELDS);
    let mut wallets = Wallets::with(|_| form);
    let pair = wallets.pair();
    let inputs = wallets.inputs(pair);
    for circuit in CIRCUITS {
        let child = wallets.child(circuit, &inputs);
        let is_of_client = matches!(circuit, Circuit::Client | Circuit::PrivateTail);
        assert_eq!(wallets.accepts(&child), is_of_client, "{circuit}");
    }
}

/// Attacks: a tail that was proven under keys of the sender's own, by other rules, for something else, or with a pair
/// that its proof does not state or that is none.
#[test]
fn a_tail_from_elsewhere_is_rejected() {
    type Attack = (&'static str, fn(&mut ClientInputs));
    let attacks: [Attack; 6] = [
        ("another key tree", |inputs| inputs.vk_root += Fr::from(1u64)),
        ("another version of the rules", |inputs| inputs.protocol_version += 1),
        ("another chain", |inputs| inputs.chain_id += 1),
        ("another deployment", |inputs| inputs.version += 1),
        ("another anchor", |inputs| inputs.anchor_header_hash += Fr::from(1u64)),
        ("another transaction", |inputs| inputs.tx_hash += Fr::from(1u64)),
    ];
    let mut wallets = Wallets::new();
    let pair = wallets.pair();
    let honest = wallets.inputs(pair);
    for (name, attack) in attacks {
        let mut inputs = honest;
        attack(&mut inputs);
        let child = wallets.child(Circuit::PrivateTail, &inputs);
        assert!(!wallets.accepts(&child), "{name}");
    }
    let child = wallets.child(Circuit::PrivateTail, &honest);
    let pair_at = Circuit::PrivateTail.pair_at();
    let mut replaced = child.clone();
    replaced.public[pair_at..].copy_from_slice(&Pair::trivial().to_fields());
    assert!(!wallets.accepts(&replaced), "another pair than the proof states");
    let mut dropped = child;
    dropped.public[pair_at..].fill(Fr::from(0u64));
    solve_again(&mut dropped);
    assert!(!wallets.accepts(&dropped), "no pair");
}
