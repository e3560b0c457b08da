//! The circuits of the private kernel against their plain twins: what the twins accept, with the same digests and
//! effects, and what they reject, rule by rule.
//!
//! Rules are tried without the verification of proofs, which takes most of the rows. Whole circuits verify made-up
//! proofs (see `recursion.rs`), in which everything but the pairing holds.

use ark_ff::UniformRand;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fr, G1Affine, G1Projective};
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::gadgets::charge::OpenedLeaf;
use rollmill_circuits::private::tail::hints::Hints;
use rollmill_circuits::private::tail::{self, hiding_pair};
use rollmill_circuits::private::{
    CELL_BITS, FUNCTION_SIZES, FunctionKey, KERNEL_SIZE, LOG_N, ProvenCall, ProvenState,
    build_init, build_inner, build_tail, step,
};
use rollmill_circuits::registry::layout as layout_of;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::layout::Layout;
use rollmill_plonk::shape::Shape;
use rollmill_plonk::srs::{development_tau, development_tau_g2};
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, reduce};
use rollmill_protocol::Circuit;
use rollmill_protocol::private::{
    self as plain, ContractFunction, KernelInputs, KernelState, PrivateCall, TailWitness, TxRequest,
};
use rollmill_protocol::tree::root_from_path;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::VkLeaf;
use rollmill_protocol_testing::cases::{Case, cases};
use rollmill_protocol_testing::private::{Contract, Run, Script, Step, padding};

use crate::common::{opened_in, outcome, small};
use crate::recursion::{KIND, coefficients, made_up_proof, points};

/// Lays out a step without the verification of proofs: the first with a request, a nested one over a state. Returns
/// the state's variables.
fn lay_step(
    b: &mut Builder,
    from: Result<&KernelState<Fr>, &TxRequest>,
    call: &PrivateCall<Fr>,
    function: &ContractFunction,
) -> KernelState<Var> {
    let call = call.clone().map(|word| b.witness(word));
    let key = FunctionKey { selector: call.selector, contract: call.contract, witness: function };
    let (digest, log_n) = (b.witness(function.vk_digest), b.witness(function.log_n.into()));
    key.assert_leaf(b, digest, log_n);
    match from {
        Err(request) => step::init(b, request, &call),
        Ok(state) => {
            let state = state.clone().map(|word| b.witness(word));
            step::inner(b, &state, &call)
        }
    }
}

fn lay_tail(b: &mut Builder, state: &KernelState<Fr>, w: &TailWitness) -> tail::Statement {
    let vars = state.clone().map(|word| b.witness(word));
    tail::constrain(b, &vars, state, w)
}

fn tail_holds(state: &KernelState<Fr>, w: &TailWitness) -> bool {
    let mut b = small(0);
    lay_tail(&mut b, state, w);
    outcome(b).is_ok()
}

/// Takes a call with the twin, and requires the circuit to agree: the same state where the twin accepts, no witness
/// where it rejects. Returns the state, if there is one.
fn step_agrees(
    name: &str,
    from: Result<&KernelState<Fr>, &TxRequest>,
    call: &PrivateCall<Fr>,
    function: &ContractFunction,
) -> Option<KernelState<Fr>> {
    let next = match from {
        Err(request) => plain::init(request, call, function),
        Ok(state) => plain::inner(state, call, function),
    };
    let mut b = small(0);
    let vars = lay_step(&mut b, from, call, function);
    let got = vars.map(|var| b.value(var));
    let accepted = outcome(b);
    match next {
        Ok(next) => {
            assert_eq!(accepted, Ok(()), "{name}");
            assert_eq!(got, next, "{name}");
            Some(next)
        }
        Err(error) => {
            assert!(accepted.is_err(), "{name}: the circuit holds, and breaks a rule: {error}");
            None
        }
    }
}

/// Plays a transaction as far as the twins accept it, with [`step_agrees`] for each call and the same for the tail.
/// Returns whether it is valid.
fn agree(
    name: &str,
    request: &TxRequest,
    calls: &[(PrivateCall<Fr>, ContractFunction)],
    w: &TailWitness,
) -> bool {
    let mut state: Option<KernelState<Fr>> = None;
    for (i, (call, function)) in calls.iter().enumerate() {
        let name = format!("{name}: call {i}");
        let from = state.as_ref().ok_or(request);
        let Some(next) = step_agrees(&name, from, call, function) else { return false };
        state = Some(next);
    }
    let state = state.expect("at least one call");
    let mut b = small(0);
    let statement = lay_tail(&mut b, &state, w);
    let got: Vec<Fr> = statement.effects.to_vec().iter().map(|var| b.value(*var)).collect();
    let tx_hash = b.value(statement.tx_hash);
    let accepted = outcome(b);
    match plain::tail(&state, w) {
        Ok(effects) => {
            assert_eq!(accepted, Ok(()), "{name}: tail");
            assert_eq!(got, effects.to_fields(), "{name}");
            assert_eq!(tx_hash, effects.tx_hash(), "{name}");
            true
        }
        Err(error) => {
            assert!(accepted.is_err(), "{name}: the tail holds, and breaks a rule: {error}");
            false
        }
    }
}

/// Goal: each rule has an attack that the circuits reject, and every valid case has a witness. Method: the cases of
/// the model, of which each breaks one rule.
#[test]
fn the_circuits_accept_and_reject_what_the_model_does() {
    let mut valid = 0;
    for Case { name, request, calls, witness, error, .. } in cases() {
        let is_valid = agree(&name, &request, &calls, &witness);
        assert_eq!(is_valid, error.is_none(), "{name}");
        valid += u32::from(is_valid);
    }
    assert_eq!(valid, 12);
}

/// Goal: circuit and twin agree about each word of a call, also about words of no rule. Method: add 1 to each word of
/// the first call and of a nested one that makes calls itself.
#[test]
fn every_word_of_a_call_means_to_the_circuits_what_it_means_to_the_twins() {
    let case = cases().into_iter().find(|case| case.name == "deep").expect("a case");
    let mut state: Option<KernelState<Fr>> = None;
    for (i, (call, function)) in case.calls.iter().enumerate() {
        let from = state.as_ref().ok_or(&case.request);
        let makes_calls = call.calls[0].contract != Fr::from(0u64);
        let words = if makes_calls { call.to_vec() } else { Vec::new() };
        for (at, name) in PrivateCall::<Fr>::cell_names().iter().enumerate().take(words.len()) {
            let mut words = words.clone();
            words[at] += Fr::from(1u64);
            let changed = PrivateCall::from_slice(&words).expect("as many words");
            step_agrees(&format!("call {i}: {name}"), from, &changed, function);
        }
        state = step_agrees("unchanged", from, call, function);
    }
    assert!(state.is_some());
}

/// Goal: the rows are the same whatever the transaction is, so that one key serves all.
#[test]
fn the_rows_do_not_depend_on_the_transaction() {
    let all = cases();
    let valid: Vec<&Case> = all.iter().filter(|case| case.error.is_none()).collect();
    let firsts = valid.iter().map(|case| {
        let mut b = small(0);
        let (call, function) = &case.calls[0];
        lay_step(&mut b, Err(&case.request), call, function);
        b
    });
    same_rows("init", firsts);
    let inners = valid.iter().filter_map(|case| {
        let (first, nested) = (case.calls.first()?, case.calls.get(1)?);
        let state = plain::init(&case.request, &first.0, &first.1).expect("valid");
        let mut b = small(0);
        lay_step(&mut b, Ok(&state), &nested.0, &nested.1);
        Some(b)
    });
    same_rows("inner", inners);
    let tails = valid.iter().map(|case| {
        let (state, w) = finished(&case.name);
        let mut b = small(0);
        lay_tail(&mut b, &state, &w);
        b
    });
    same_rows("tail", tails);
}

fn same_rows(name: &str, builders: impl Iterator<Item = Builder>) {
    let mut layouts = builders.map(|b| b.layout(None).expect("fits"));
    let first = layouts.next().expect("a layout");
    let mut others = 0;
    for other in layouts {
        others += 1;
        assert_same_rows(name, &first, &other);
    }
    assert!(others > 0, "{name}: nothing to compare");
}

pub(crate) fn assert_same_rows(name: &str, first: &Layout, other: &Layout) {
    assert_eq!(first.shape, other.shape, "{name}");
    assert_eq!(first.rows_used, other.rows_used, "{name}");
    for row in 0..first.rows_used {
        assert_eq!(first.fixed_row(row), other.fixed_row(row), "{name}: row {row}");
    }
    assert!(first.sigma() == other.sigma(), "{name}: ties");
}

/// The state of a valid case after its last call, and what its tail needs.
fn finished(name: &str) -> (KernelState<Fr>, TailWitness) {
    let case = cases().into_iter().find(|case| case.name == name).expect("a case of this name");
    let mut calls = case.calls.iter();
    let (first, function) = calls.next().expect("a call");
    let start = plain::init(&case.request, first, function).expect("valid");
    let last = calls.fold(start, |state, (call, function)| {
        plain::inner(&state, call, function).expect("valid")
    });
    (last, case.witness)
}

fn holds_with(state: &KernelState<Fr>, w: &TailWitness, change: impl FnOnce(&mut Hints)) -> bool {
    let mut hints = Hints::of(state);
    change(&mut hints);
    let mut b = small(0);
    let vars = state.clone().map(|word| b.witness(word));
    tail::constrain_given(&mut b, &vars, w, &hints);
    outcome(b).is_ok()
}

/// Attacks: choices of the prover that no honest one makes.
#[test]
fn choices_that_are_not_those_of_the_transaction_are_rejected() {
    let (state, w) = finished("deep");
    assert!(holds_with(&state, &w, |_| {}));
    // Reads and notes of the case: one read is pending, one is settled; one note is named, one stays.
    let pending = Hints::of(&state).note_reads.iter().position(Option::is_some).expect("a read");
    let named = Hints::of(&state).named.iter().position(Option::is_some).expect("a nullifier");
    assert!(!holds_with(&state, &w, |h| h.note_reads[pending] = None), "a new note as a leaf");
    assert!(!holds_with(&state, &w, |h| h.note_reads[15] = Some(0)), "an absent read of a note");
    assert!(
        !holds_with(&state, &w, |h| h.note_reads[pending] = h.note_reads[pending].map(|i| i ^ 1)),
        "another note"
    );
    assert!(!holds_with(&state, &w, |h| h.named[named] = None), "a nullifier without its note");
    assert!(!holds_with(&state, &w, |h| h.named[15] = Some(0)), "a note without its nullifier");
    assert!(!holds_with(&state, &w, |h| h.about.fill(None)), "logs without their notes");
    assert!(!holds_with(&state, &w, |h| h.nullifier_slots.swap(0, 1)), "another order");
    assert!(!holds_with(&state, &w, |h| h.nullifier_slots[1] = None), "a lost nullifier");
    assert!(!holds_with(&state, &w, |h| h.note_slots.swap(0, 7)), "a note behind a gap");
    let twice = |h: &mut Hints| h.nullifier_slots[2] = h.nullifier_slots[1];
    assert!(!holds_with(&state, &w, twice), "a nullifier in two slots");
    let gone = Hints::of(&state).named[named];
    assert!(!holds_with(&state, &w, |h| h.note_slots[1] = gone), "a note that disappears");
    assert!(!holds_with(&state, &w, |h| h.swap_messages = !h.swap_messages), "messages swapped");
    assert!(!holds_with(&state, &w, |h| h.order.swap(70, 73)), "counters out of order");
    let repeated = |h: &mut Hints| h.order[72] = h.order[73];
    assert!(!holds_with(&state, &w, repeated), "a counter read twice");
}

/// Of two equal notes a nullifier may take either, and never both.
#[test]
fn of_equal_notes_a_nullifier_takes_one() {
    let (state, w) = finished("equal_notes");
    let first = Hints::of(&state).named[0].expect("a named note");
    let other = |h: &mut Hints| {
        h.named[0] = Some(1 - first);
        // The note's log stays with the other one, and that note takes the slot.
        h.note_slots[0] = Some(first);
    };
    assert!(!holds_with(&state, &w, |h| h.named[0] = Some(1 - first)), "both at once");
    let logs_of_first = Hints::of(&state).about.contains(&Some(first));
    assert!(holds_with(&state, &w, |h| {
        other(h);
        let log = h.about.iter().position(Option::is_some);
        h.log_slots[0] = if logs_of_first { log } else { None };
    }));
}

/// Attack: a note from before the boundary that is nullified behind it. Both would stay, and the contract makes another
/// nullifier of the note's leaf in a later transaction: the note is spent twice.
#[test]
fn a_nullifier_names_no_note_on_the_other_side_of_the_boundary() {
    let (state, w) = finished("nullified_across_the_boundary");
    assert!(!holds_with(&state, &w, |h| h.named[0] = Some(0)), "both stay");
    let both_go = |h: &mut Hints| {
        h.named[0] = Some(0);
        (h.note_slots[0], h.nullifier_slots[0], h.log_slots[0]) = (None, None, None);
    };
    assert!(!holds_with(&state, &w, both_go), "both disappear");
    let unset = KernelState { min_revertible: Fr::from(0u64), ..state };
    assert!(holds_with(&unset, &w, both_go), "without a boundary");
    // Of two equal notes only the one on the nullifier's own side can be named.
    let (state, w) = finished("equal_notes_on_both_sides");
    assert!(holds_with(&state, &w, |_| {}));
    let takes_the_first = |h: &mut Hints| {
        h.named[0] = Some(0);
        (h.note_slots[0], h.log_slots[0]) = (Some(1), None);
    };
    assert!(!holds_with(&state, &w, takes_the_first), "the first of two");
    let unset = KernelState { min_revertible: Fr::from(0u64), ..state };
    assert!(holds_with(&unset, &w, takes_the_first), "the first of two without a boundary");
}

/// Attack: a nullifier as proof that something has happened, which disappears with its note and is not there after the
/// transaction.
#[test]
fn a_nullifier_that_disappears_cannot_be_read() {
    let (state, w) = finished("nullifier_that_disappears");
    let first = |h: &mut Hints| h.nullifier_reads[0] = Some(0);
    assert!(!holds_with(&state, &w, |_| {}) && !holds_with(&state, &w, first));
    let mut stays = state;
    stays.nullifiers[0].item.nullified = Fr::from(0u64);
    assert!(holds_with(&stays, &w, first), "one that names no note");
}

/// Goal: a place beyond the tree for what needs none is no reason against a transaction, as with the plain rules.
#[test]
fn places_of_reads_that_need_none_do_not_matter() {
    let (state, mut w) = finished("every_list_is_full");
    let nowhere = plain::NotePath { index: u64::MAX, path: Vec::new() };
    w.note_paths = vec![Some(nowhere); state.note_reads.len()];
    let leaf = rollmill_protocol::tree::IndexedLeaf::default();
    let nowhere = plain::NullifierPath { leaf, index: u64::MAX, path: Vec::new() };
    w.nullifier_paths = vec![Some(nowhere); state.nullifier_reads.len()];
    assert!(plain::tail(&state, &w).is_ok() && tail_holds(&state, &w));
}

/// Goal: padding is chosen by the wallet and nothing else is: another padding changes effects in padded slots only.
#[test]
fn padding_fills_the_slots_that_are_left() {
    let (state, mut w) = finished("deep");
    let before = plain::tail(&state, &w).expect("valid");
    assert!(tail_holds(&state, &w));
    w.padding = padding(8);
    let after = plain::tail(&state, &w).expect("valid");
    assert!(tail_holds(&state, &w));
    assert_eq!(before.nullifiers[..2], after.nullifiers[..2]);
    assert_ne!(before.nullifiers[2], after.nullifiers[2]);
    for size in [0, 1, 3, 5, 7, 9, 16] {
        w.padding.size = size;
        assert!(!tail_holds(&state, &w), "{size} slots");
    }
}

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
        ProvenCall { call, function: self.run.functions[i].clone(), proof, vk }
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

    /// The states after the first and after the second call.
    fn states(&self) -> [KernelState<Fr>; 2] {
        let Run { request, calls, functions, .. } = &self.run;
        let first = plain::init(request, &calls[0], &functions[0]).expect("valid");
        let second = plain::inner(&first, &calls[1], &functions[1]).expect("valid");
        [first, second]
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

    let w = chain.run.witness.clone();
    let last = chain.state(Circuit::PrivateInner, second.clone());
    let [l, r] = points(&mut chain.rng);
    let [s_l, s_r] = [1u64, 2].map(Fr::from);
    let hiding = Pair { l, s_l, r, s_r };
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
            state.proof = made_up_proof(&mut chain.rng, &state.vk, &state.inputs.to_fields());
        }),
        ("a kernel of another version", |chain, state, _| {
            state.inputs.protocol_version += 1;
            state.proof = made_up_proof(&mut chain.rng, &state.vk, &state.inputs.to_fields());
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
            state.proof = made_up_proof(&mut chain.rng, &state.vk, &state.inputs.to_fields());
        }),
        ("a key that is not of the contract, for which the proof would hold", |chain, _, call| {
            call.vk = made_up_key(&mut chain.rng, FUNCTION_SIZES[1], 1);
            call.proof = made_up_proof(&mut chain.rng, &call.vk, &[call.call.digest()]);
        }),
        ("a proof of another call", |chain, _, call| {
            let other = Fr::from(3u64);
            call.proof = made_up_proof(&mut chain.rng, &call.vk, &[other]);
        }),
    ];
    let mut chain = Chain::new([FUNCTION_SIZES[0], FUNCTION_SIZES[1]]);
    let [first, _] = chain.states();
    let root = chain.root();
    let (state, call) = (chain.state(Circuit::PrivateInit, first), chain.call(1));
    assert!(holds(build_inner(root, &state, &call)));
    assert!(!holds(build_inner(root + Fr::from(1u64), &state, &call)), "another root");
    for (name, attack) in attacks {
        let (mut state, mut call) = (state.clone(), call.clone());
        attack(&mut chain, &mut state, &mut call);
        assert!(!holds(build_inner(root, &state, &call)), "{name}");
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
    call.proof = made_up_proof(&mut chain.rng, &one, &[call.call.digest()]);
    assert!(!holds(build_init(chain.root(), &request, &call)));
}
