//! Whole circuits of the private kernel: the rules with the verification of proofs.
//!
//! The proofs are made up (see `recursion.rs`): everything but the pairing holds, which is all that a circuit sees.

use ark_ff::UniformRand;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fr, G1Affine, G1Projective};
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::gadgets::charge::OpenedLeaf;
use rollmill_circuits::private::tail::hiding_pair;
use rollmill_circuits::private::{
    CELL_BITS, FUNCTION_SIZES, KERNEL_SIZE, LOG_N, ProvenCall, ProvenState, build_init,
    build_init2, build_inner, build_tail,
};
use rollmill_circuits::registry::layout as layout_of;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::shape::Shape;
use rollmill_plonk::srs::{development_tau, development_tau_g2};
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, reduce};
use rollmill_protocol::Circuit;
use rollmill_protocol::private::{self as plain, KernelInputs, KernelState, TxRequest};
use rollmill_protocol::tree::root_from_path;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::VkLeaf;
use rollmill_protocol_testing::private::{Contract, Run, Script, Step};

use crate::common::opened_in;
use crate::private::assert_same_rows;
use crate::recursion::{KIND, coefficients, made_up_proof, points};

#[test]
fn a_hiding_pair_holds_and_hides_every_word() {
    let tau_g1 = G1Affine::from(G1Projective::from(points_of(1)) * development_tau());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let words: [Fr; 3] = std::array::from_fn(|_| Fr::rand(&mut rng));
    let pair = |words: [Fr; 3]| {
        let fields = hiding_pair(&tau_g1, words);
        let pair = Pair::from_fields(&fields).expect("a pair");
        assert!(pair.holds(&development_tau_g2()));
        fields
    };
    let first = pair(words);
    // Changing c alone changes both points and no scalar; a and b change their side.
    let [a, b, c] = words;
    let other = pair([a, b, c + Fr::from(1u64)]);
    assert!(first[..4] != other[..4] && first[5..9] != other[5..9]);
    assert_eq!((first[4], first[9]), (other[4], other[9]));
    let other = pair([a + Fr::from(1u64), b, c]);
    assert!(first[..5] != other[..5] && first[5..] == other[5..]);
}

/// A multiple of the generator.
fn points_of(k: u64) -> G1Affine {
    use ark_ec::{AffineRepr, CurveGroup};
    (G1Affine::generator() * Fr::from(k)).into_affine()
}

pub(crate) fn made_up_key(rng: &mut ChaCha8Rng, size: Dimensions, n_public: usize) -> VerifyingKey {
    let Dimensions { log_n, cell_bits } = size;
    let shape = Shape { log_n, n_public: n_public as u32, cell_bits };
    VerifyingKey { shape, srs_id: Fr::rand(rng), fixed: points(rng) }
}

/// A transaction of two calls with made-up proofs: an account pays and calls a contract, which makes a note.
struct Chain {
    rng: ChaCha8Rng,
    run: Run,
    /// Keys of the account's function and of the contract's.
    keys: [VerifyingKey; 2],
    kernel: VerifyingKey,
    leaves: Vec<VkLeaf>,
}

impl Chain {
    fn new(functions: [Dimensions; 2]) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let keys = functions.map(|size| made_up_key(&mut rng, size, 1));
        let contracts: Vec<Contract> = (1..)
            .zip(&keys)
            .map(|(seed, vk)| Contract::new(seed, &[(vk.digest(), vk.shape.log_n.into())]))
            .collect();
        let zero = Fr::from(0u64);
        let note = Step::Note(Fr::from(5u64));
        let nested = Script { contract: 1, function: 0, steps: vec![note] };
        let nullifier = Step::Nullify(Fr::from(6u64), zero);
        let steps = vec![Step::Pay, nullifier, Step::Call(nested)];
        let (anchor, _) = rollmill_protocol_testing::start();
        let script = Script { contract: 0, function: 0, steps };
        let run = Run::new(&contracts, &anchor, &script);
        let kernel = made_up_key(&mut rng, KERNEL_SIZE, KernelInputs::FIELDS);
        let digest = kernel.digest();
        // All roles have one key here, so that only the role tells them apart.
        let leaf = |circuit: Circuit| VkLeaf {
            circuit,
            vk_digest: digest,
            log_n: LOG_N.into(),
            n_public_inputs: KernelInputs::FIELDS as u64,
            charged_rows: 1000 + circuit.role(),
            protocol_version: PROTOCOL_VERSION,
        };
        let leaves = Circuit::ALL.into_iter().map(leaf).collect();
        Self { rng, run, keys, kernel, leaves }
    }

    fn root(&self) -> Fr {
        let OpenedLeaf { leaf, path } = opened_in(&self.leaves, Circuit::PrivateInit);
        root_from_path(&leaf.hash(), Circuit::PrivateInit.role(), &path)
    }

    fn call(&mut self, i: usize) -> ProvenCall {
        let (call, vk) = (self.run.calls[i].clone(), self.keys[i].clone());
        let proof = made_up_proof(&mut self.rng, &vk, &[call.digest()]);
        let (digest, function) = (call.digest(), self.run.functions[i].clone());
        ProvenCall { call, digest, function, proof, vk }
    }

    /// A pair to hide the others, of which nothing but its form matters here.
    fn hiding(&mut self) -> Pair {
        let [l, r] = points(&mut self.rng);
        let [s_l, s_r] = [1u64, 2].map(Fr::from);
        Pair { l, s_l, r, s_r }
    }

    fn state(&mut self, circuit: Circuit, state: KernelState<Fr>) -> ProvenState {
        let [l, r] = points(&mut self.rng);
        let pair = Pair { l, s_l: Fr::rand(&mut self.rng), r, s_r: Fr::rand(&mut self.rng) };
        let (vk_root, protocol_version) = (self.root(), PROTOCOL_VERSION);
        let inputs = KernelInputs { state: state.digest(), vk_root, protocol_version, pair };
        let vk = self.kernel.clone();
        let proof = made_up_proof(&mut self.rng, &vk, &inputs.to_fields());
        let opened = opened_in(&self.leaves, circuit);
        ProvenState { inputs, state, proof, vk, opened }
    }

    /// Makes up the proof of a state anew, for its inputs as they are.
    fn prove_again(&mut self, state: &mut ProvenState) {
        state.proof = made_up_proof(&mut self.rng, &state.vk, &state.inputs.to_fields());
    }

    /// The states after the first and after the second call.
    fn states(&self) -> [KernelState<Fr>; 2] {
        let Run { request, calls, functions, .. } = &self.run;
        let first = plain::init(request, &calls[0], &functions[0]).expect("valid");
        let second = plain::inner(&first, &calls[1], &functions[1]).expect("valid");
        [first, second]
    }
}

/// A circuit of the kernel, whole, that holds.
pub(crate) fn laid_out(circuit: Circuit) -> Builder {
    let mut chain = Chain::new([FUNCTION_SIZES[0], FUNCTION_SIZES[4]]);
    let (root, [first, second]) = (chain.root(), chain.states());
    match circuit {
        Circuit::PrivateInit => {
            let call = chain.call(0);
            build_init(root, &chain.run.request, &call)
        }
        Circuit::PrivateInit2 => {
            let (first, second) = (chain.call(0), chain.call(1));
            build_init2(root, &chain.run.request, [&first, &second])
        }
        Circuit::PrivateInner => {
            let (before, call) = (chain.state(Circuit::PrivateInit, first), chain.call(1));
            build_inner(root, &before, &call)
        }
        Circuit::PrivateTail => {
            let last = chain.state(Circuit::PrivateInner, second);
            let hiding = chain.hiding();
            build_tail(root, &last, &chain.run.witness, &hiding.to_fields())
        }
        other => panic!("{other} is no circuit of the private kernel"),
    }
}

/// The public inputs of a circuit that holds. Its rows are those that its key is made for.
fn public(circuit: Circuit, b: Builder) -> Vec<Fr> {
    let (layout, witness) = b.finish(Some(LOG_N)).expect("fits in 2^17 rows");
    println!("{circuit}: {} rows", layout.rows_used);
    assert_eq!(check(&layout, &witness), Ok(()), "{circuit}");
    assert_eq!((layout.shape.log_n, layout.shape.cell_bits), (LOG_N, CELL_BITS), "{circuit}");
    assert_same_rows(circuit.name(), &layout_of(circuit).expect("fits"), &layout);
    witness.public
}

fn holds(b: Builder) -> bool {
    let (layout, witness) = b.finish(None).expect("fits");
    check(&layout, &witness).is_ok()
}

/// Goal: each whole circuit fits its size, holds over proofs of functions of the smallest and the largest size, and
/// states what its twin computes.
#[test]
fn whole_circuits_state_what_their_twins_compute() {
    let mut chain = Chain::new([FUNCTION_SIZES[0], FUNCTION_SIZES[4]]);
    let (root, [first, second]) = (chain.root(), chain.states());
    let expected = |state: &KernelState<Fr>| [state.digest(), root, Fr::from(PROTOCOL_VERSION)];
    let call = chain.call(0);
    let inputs = public(Circuit::PrivateInit, build_init(root, &chain.run.request, &call));
    assert_eq!(inputs[..3], expected(&first));
    let (before, call) = (chain.state(Circuit::PrivateInit, first), chain.call(1));
    let inputs = public(Circuit::PrivateInner, build_inner(root, &before, &call));
    assert_eq!(inputs[..3], expected(&second));

    let (call, nested) = (chain.call(0), chain.call(1));
    let both = build_init2(root, &chain.run.request, [&call, &nested]);
    let inputs = public(Circuit::PrivateInit2, both);
    assert_eq!(inputs[..3], expected(&second));
    // The pair is the sum of those of both functions.
    let pairs = [&call, &nested].map(|of| reduce(KIND, &of.vk, &[of.digest], &of.proof));
    let [(own, seed), (other, seed_2)] = pairs.map(|pair| pair.expect("holds"));
    let drawn = coefficients(&[seed, seed_2]);
    let got: &[Fr; PAIR_INPUTS] = inputs[3..].try_into().expect("ten words");
    let got = Pair::from_fields(got).expect("a pair");
    assert_eq!(sides(&got), sides(&own.fold(&other, drawn[1])));
    let before = chain.state(Circuit::PrivateInit2, second.clone());
    let hiding = chain.hiding();
    let tail = build_tail(root, &before, &chain.run.witness, &hiding.to_fields());
    assert!(holds(tail), "the tail over init2");

    let w = chain.run.witness.clone();
    let last = chain.state(Circuit::PrivateInner, second.clone());
    let hiding = chain.hiding();
    let inputs = public(Circuit::PrivateTail, build_tail(root, &last, &w, &hiding.to_fields()));
    let effects = plain::tail(&second, &w).expect("valid");
    let anchor = &w.anchor;
    let words = [
        anchor.chain_id.into(),
        anchor.version.into(),
        root,
        PROTOCOL_VERSION.into(),
        anchor.hash(),
        effects.tx_hash(),
    ];
    assert_eq!(inputs[..6], words);
    // The pair is the sum of the child's own, the carried and the random one.
    let public = last.inputs.to_fields();
    let (own, seed) = reduce(KIND, &last.vk, &public, &last.proof).expect("holds");
    let mut seeds = vec![seed];
    seeds.extend(hiding.to_fields());
    let drawn = coefficients(&seeds);
    let folded = own.fold(&last.inputs.pair, drawn[1]).fold(&hiding, drawn[2]);
    let got: &[Fr; PAIR_INPUTS] = inputs[6..].try_into().expect("ten words");
    let got = Pair::from_fields(got).expect("a pair");
    assert_eq!(sides(&got), sides(&folded));
}

/// The points whose pairing a pair compares.
pub(crate) fn sides(pair: &Pair) -> [G1Projective; 2] {
    let g = points_of(1);
    [pair.l - g * pair.s_l, pair.r - g * pair.s_r]
}

/// Each attack changes one honest child of `private_inner`.
#[test]
fn named_attacks_on_the_children_of_inner_are_rejected() {
    type Attack = (&'static str, fn(&mut Chain, &mut ProvenState, &mut ProvenCall));
    let attacks: [Attack; 8] = [
        ("a kernel under another key tree", |chain, state, _| {
            state.inputs.vk_root += Fr::from(1u64);
            chain.prove_again(state);
        }),
        ("a kernel of another version", |chain, state, _| {
            state.inputs.protocol_version += 1;
            chain.prove_again(state);
        }),
        ("another role than the leaf's", |_, state, _| {
            state.opened.leaf.circuit = Circuit::PrivateInner;
        }),
        ("a role that is not accepted", |chain, state, _| {
            state.opened = opened_in(&chain.leaves, Circuit::PrivateTail);
        }),
        ("other charged rows than the leaf's", |_, state, _| state.opened.leaf.charged_rows += 1),
        ("a proof of another state", |chain, state, _| {
            state.inputs.state += Fr::from(1u64);
            chain.prove_again(state);
        }),
        ("a key that is not of the contract, for which the proof would hold", |chain, _, call| {
            call.vk = made_up_key(&mut chain.rng, FUNCTION_SIZES[1], 1);
            call.proof = made_up_proof(&mut chain.rng, &call.vk, &[call.call.digest()]);
        }),
        ("a proof of another call", |chain, _, call| {
            call.digest += Fr::from(1u64);
            call.proof = made_up_proof(&mut chain.rng, &call.vk, &[call.digest]);
        }),
    ];
    let mut chain = Chain::new([FUNCTION_SIZES[0], FUNCTION_SIZES[1]]);
    let [first, _] = chain.states();
    let root = chain.root();
    let call = chain.call(1);
    for circuit in [Circuit::PrivateInner, Circuit::PrivateInit2] {
        let state = chain.state(circuit, first.clone());
        assert!(holds(build_inner(root, &state, &call)), "over {circuit}");
    }
    let state = chain.state(Circuit::PrivateInit, first);
    assert!(holds(build_inner(root, &state, &call)));
    assert!(!holds(build_inner(root + Fr::from(1u64), &state, &call)), "another root");
    for (name, attack) in attacks {
        let (mut state, mut call) = (state.clone(), call.clone());
        attack(&mut chain, &mut state, &mut call);
        assert!(!holds(build_inner(root, &state, &call)), "{name}");
    }
}

/// Each attack changes the honest child of `private_tail`, which is a proof of any of the three circuits before it.
#[test]
fn named_attacks_on_the_child_of_the_tail_are_rejected() {
    type Attack = (&'static str, fn(&mut Chain, &mut ProvenState));
    let attacks: [Attack; 7] = [
        ("a kernel under another key tree", |chain, state| {
            state.inputs.vk_root += Fr::from(1u64);
            chain.prove_again(state);
        }),
        ("a kernel of another version", |chain, state| {
            state.inputs.protocol_version += 1;
            chain.prove_again(state);
        }),
        ("a proof of another state", |chain, state| {
            state.inputs.state += Fr::from(1u64);
            chain.prove_again(state);
        }),
        ("another pair than the proof states", |_, state| state.inputs.pair = Pair::trivial()),
        ("another role than the leaf's", |_, state| {
            state.opened.leaf.circuit = Circuit::PrivateInner;
        }),
        ("the role of a tail", |chain, state| {
            state.opened = opened_in(&chain.leaves, Circuit::PrivateTail);
        }),
        ("the role of the built-in client", |chain, state| {
            state.opened = opened_in(&chain.leaves, Circuit::Client);
        }),
    ];
    let mut chain = Chain::new([FUNCTION_SIZES[0], FUNCTION_SIZES[1]]);
    let (root, w, [_, second]) = (chain.root(), chain.run.witness.clone(), chain.states());
    let hiding = chain.hiding().to_fields();
    let accepts = |state: &ProvenState| holds(build_tail(root, state, &w, &hiding));
    for circuit in [Circuit::PrivateInit, Circuit::PrivateInner] {
        let state = chain.state(circuit, second.clone());
        assert!(accepts(&state), "over {circuit}");
    }
    let honest = chain.state(Circuit::PrivateInit2, second);
    assert!(accepts(&honest));
    for (name, attack) in attacks {
        let mut state = honest.clone();
        attack(&mut chain, &mut state);
        assert!(!accepts(&state), "{name}");
    }
}

/// Each attack changes the honest children of `private_init2`.
#[test]
fn named_attacks_on_the_children_of_init2_are_rejected() {
    type Attack = (&'static str, fn(&mut Chain, &mut [ProvenCall; 2]));
    let attacks: [Attack; 6] = [
        ("calls in the other order", |_, calls| calls.reverse()),
        ("the first call twice", |_, calls| calls[1] = calls[0].clone()),
        ("the second call twice", |_, calls| calls[0] = calls[1].clone()),
        ("the first call's function and key for the second", |chain, [first, second]| {
            (second.function, second.vk) = (first.function.clone(), first.vk.clone());
            second.proof = made_up_proof(&mut chain.rng, &second.vk, &[second.digest]);
        }),
        ("a second call that nobody asked for", |chain, [_, second]| {
            second.call.args_hash += Fr::from(1u64);
            second.digest = second.call.digest();
            second.proof = made_up_proof(&mut chain.rng, &second.vk, &[second.digest]);
        }),
        ("a proof of another second call", |chain, [_, second]| {
            second.digest += Fr::from(1u64);
            second.proof = made_up_proof(&mut chain.rng, &second.vk, &[second.digest]);
        }),
    ];
    let mut chain = Chain::new([FUNCTION_SIZES[0], FUNCTION_SIZES[1]]);
    let (root, request) = (chain.root(), chain.run.request);
    let calls = [chain.call(0), chain.call(1)];
    let accepts =
        |[first, second]: &[ProvenCall; 2]| holds(build_init2(root, &request, [first, second]));
    assert!(accepts(&calls));
    for (name, attack) in attacks {
        let mut calls = calls.clone();
        attack(&mut chain, &mut calls);
        assert!(!accepts(&calls), "{name}");
    }
}

/// Attack: a key of the kernel as a function of a contract, so that its first public input, a state that the attacker
/// chose, passes for the digest of a call. The digest of the key has another number of public inputs.
#[test]
fn a_key_of_the_kernel_is_no_function_of_any_contract() {
    let mut chain = Chain::new([FUNCTION_SIZES[0], FUNCTION_SIZES[0]]);
    let mut call = chain.call(0);
    let request = chain.run.request;
    assert!(holds(build_init(chain.root(), &request, &call)));
    let shape = Shape { n_public: KernelInputs::FIELDS as u32, ..call.vk.shape };
    call.vk = VerifyingKey { shape, ..call.vk };
    // The class of a contract that lists this key.
    let contract = Contract::new(9, &[(call.vk.digest(), shape.log_n.into())]);
    call.function = contract.functions[0].clone();
    call.call.contract = contract.address;
    for nested in call.call.calls.iter_mut().filter(|nested| nested.contract != Fr::from(0u64)) {
        nested.sender = contract.address;
    }
    let request = TxRequest { origin: contract.address, ..request };
    assert_eq!(plain::init(&request, &call.call, &call.function).map(|_| ()), Ok(()));
    let one = VerifyingKey { shape: Shape { n_public: 1, ..shape }, ..call.vk.clone() };
    call.digest = call.call.digest();
    call.proof = made_up_proof(&mut chain.rng, &one, &[call.digest]);
    assert!(!holds(build_init(chain.root(), &request, &call)));
}
