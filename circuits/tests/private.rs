//! The circuits of the private kernel against their plain twins: what the twins accept, with the same digests and
//! effects, and what they reject, rule by rule.
//!
//! Rules are tried without the verification of proofs, which takes most of the rows. Whole circuits are in
//! `private_whole.rs`.

use rollmill_algebra::Fr;
use rollmill_circuits::private::tail::hints::Hints;
use rollmill_circuits::private::{FunctionKey, step, tail};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::layout::Layout;
use rollmill_protocol::private::{
    self as plain, ContractFunction, KernelState, LogEntry, NoteEntry, NullifierEntry, OwnedLog,
    OwnedNote, OwnedNullifier, OwnedRead, PrivateCall, ReadEntry, TailWitness, TxRequest,
};
use rollmill_protocol_testing::cases::{Case, cases};
use rollmill_protocol_testing::private::padding;

use crate::common::{outcome, small};

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

/// Plays a transaction as far as the twins accept it, with [`step_agrees`] for each call and [`tail_agrees`] at its
/// end. Returns whether it is valid.
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
    tail_agrees(name, &state.expect("at least one call"), w)
}

/// Ends a transaction with the twin, and requires the circuit to agree. Returns whether it is valid.
fn tail_agrees(name: &str, state: &KernelState<Fr>, w: &TailWitness) -> bool {
    let mut b = small(0);
    let statement = lay_tail(&mut b, state, w);
    let got: Vec<Fr> = statement.effects.to_vec().iter().map(|var| b.value(*var)).collect();
    let tx_hash = b.value(statement.tx_hash);
    let accepted = outcome(b);
    match plain::tail(state, w) {
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

/// Lays out two calls at once, without the verification of proofs.
fn lay_both(
    b: &mut Builder,
    request: &TxRequest,
    calls: [&(PrivateCall<Fr>, ContractFunction); 2],
) -> KernelState<Var> {
    let [first, second] = calls.map(|(call, function)| {
        let call = call.clone().map(|word| b.witness(word));
        let (selector, contract) = (call.selector, call.contract);
        let key = FunctionKey { selector, contract, witness: function };
        let (digest, log_n) = (b.witness(function.vk_digest), b.witness(function.log_n.into()));
        key.assert_leaf(b, digest, log_n);
        call
    });
    step::init2(b, request, [&first, &second])
}

/// Goal: the circuit for two calls accepts and rejects what its twin does, and has the same state.
#[test]
fn two_calls_at_once_mean_to_the_circuit_what_they_mean_to_its_twin() {
    let (mut valid, mut broken) = (0, 0);
    for Case { name, request, calls, .. } in cases() {
        let [first, second, ..] = &calls[..] else { continue };
        let mut pairs = vec![[first, second], [second, first], [first, first]];
        // In some cases the third call waits as well, below the second one on the stack.
        pairs.extend(calls.get(2).map(|third| [first, third]));
        for [first, second] in pairs {
            let twin = [(&first.0, &first.1), (&second.0, &second.1)];
            let mut b = small(0);
            let vars = lay_both(&mut b, &request, [first, second]);
            let got = vars.map(|var| b.value(var));
            match (plain::init2(&request, twin), outcome(b)) {
                (Ok(state), accepted) => {
                    assert_eq!((accepted, got), (Ok(()), state), "{name}");
                    valid += 1;
                }
                (Err(error), accepted) => {
                    assert!(accepted.is_err(), "{name}: it holds, and breaks a rule: {error}");
                    broken += 1;
                }
            }
        }
    }
    assert!(valid > 0 && broken > valid, "{valid} valid and {broken} broken");
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
    assert_eq!(valid, 16);
}

/// Goal: circuit and twin agree about each word of a call, also about words of no rule. Method: add 1 to each word of
/// the first call and of a nested one that makes calls itself.
#[test]
fn every_word_of_a_call_means_to_the_circuits_what_it_means_to_the_twins() {
    let case = case("deep");
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

/// Goal: circuit and twin agree about each word of a state, with equal effects where they accept it. Method: add 1 to
/// each word that stands alone and to each of a present entry; no call makes an absent one with words.
#[test]
fn every_word_of_a_state_means_to_the_tail_what_it_means_to_its_twin() {
    let (state, w) = finished("deep");
    assert!(tail_agrees("unchanged", &state, &w));
    let (names, words) = (KernelState::<Fr>::cell_names(), state.to_vec());
    let entry = |name: &str| name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let present = |name: &str| {
        let mut of_entry =
            names.iter().zip(&words).filter(|(other, _)| entry(other) == entry(name));
        !name.contains('.') || of_entry.any(|(_, word)| *word != Fr::from(0u64))
    };
    for (at, name) in names.iter().enumerate().filter(|(_, name)| present(name)) {
        let mut words = words.clone();
        words[at] += Fr::from(1u64);
        let changed = KernelState::from_slice(&words).expect("as many words");
        tail_agrees(name, &changed, &w);
    }
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
    let both = valid.iter().filter_map(|case| {
        let [first, second, ..] = &case.calls[..] else { return None };
        let mut b = small(0);
        lay_both(&mut b, &case.request, [first, second]);
        Some(b)
    });
    same_rows("init2", both);
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

/// Requires two circuits to have one layout.
pub(crate) fn assert_same_rows(name: &str, first: &Layout, other: &Layout) {
    assert_eq!(first.shape, other.shape, "{name}");
    assert_eq!(first.rows_used, other.rows_used, "{name}");
    for row in 0..first.rows_used {
        assert_eq!(first.fixed_row(row), other.fixed_row(row), "{name}: row {row}");
    }
    assert!(first.sigma() == other.sigma(), "{name}: ties");
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).expect("a case of this name")
}

/// The state of a case whose calls are valid after its last call, and what its tail needs.
fn finished(name: &str) -> (KernelState<Fr>, TailWitness) {
    let case = case(name);
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
    assert!(!holds_with(&state, &w, |h| h.note_slots.swap(0, 1)), "a note behind a gap");
    assert!(!holds_with(&state, &w, |h| h.note_slots.swap(0, 7)), "a note that is not shown");
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

/// Attacks: a tail that moves value, which TxBase would take as it takes that of the built-in client: notes out of
/// nothing, a claim, a withdrawal or a refund. These words are the constant zero, which no prover chooses.
#[test]
fn words_that_calls_do_not_move_are_constants() {
    for name in ["empty", "every_list_is_full"] {
        let (state, w) = finished(name);
        let effects = lay_tail(&mut small(0), &state, &w).effects;
        let unused = [
            effects.public_calls_hash,
            effects.notes_in,
            effects.notes_out,
            effects.claim_index,
            effects.claim_amount,
            effects.withdraw_recipient,
            effects.withdraw_amount,
            effects.refund_partial,
        ];
        assert_eq!(unused, [Builder::ZERO; 8], "{name}");
    }
}

/// Contract, value and counter of the entry that is meant by what happens at counter 30, and of others that differ from
/// it in one thing.
const ENTRIES: [[u64; 3]; 4] = [[7, 5, 10], [7, 6, 11], [8, 5, 12], [7, 5, 40]];
const DIFFERS: [&str; 4] =
    ["that is meant", "of another value", "of another contract", "from later"];

/// A state whose contracts have made these note hashes.
fn with_notes(notes: &[[u64; 3]]) -> (KernelState<Fr>, TailWitness) {
    let (mut state, w) = finished("empty");
    for (place, note) in state.note_hashes.iter_mut().zip(notes) {
        let [contract, value, counter] = note.map(Fr::from);
        *place = OwnedNote { contract, item: NoteEntry { value, counter } };
    }
    (state, w)
}

fn nullifier(words: [u64; 4]) -> OwnedNullifier<Fr> {
    let [contract, value, nullified, counter] = words.map(Fr::from);
    OwnedNullifier { contract, item: NullifierEntry { value, nullified, counter } }
}

/// Attacks: a read of another value or of another contract, and of what is not there yet.
#[test]
fn a_read_is_of_an_equal_entry_before_it() {
    let [contract, value, counter] = [7u64, 5, 30].map(Fr::from);
    let read = OwnedRead { contract, item: ReadEntry { value, counter } };
    let (mut state, w) = with_notes(&ENTRIES);
    state.note_reads[0] = read;
    for (i, name) in DIFFERS.iter().enumerate() {
        let accepted = holds_with(&state, &w, |h| h.note_reads[0] = Some(i));
        assert_eq!(accepted, i == 0, "a note hash {name}");
    }
    let (mut state, w) = finished("empty");
    for (place, [contract, value, counter]) in state.nullifiers.iter_mut().zip(ENTRIES) {
        *place = nullifier([contract, value, 0, counter]);
    }
    state.nullifier_reads[0] = read;
    for (i, name) in DIFFERS.iter().enumerate() {
        let accepted = holds_with(&state, &w, |h| h.nullifier_reads[0] = Some(i));
        assert_eq!(accepted, i == 0, "a nullifier {name}");
    }
}

/// Attacks: a nullifier that lets another note disappear than the one that it names.
#[test]
fn a_nullifier_takes_an_equal_note_before_it() {
    let (mut state, w) = with_notes(&ENTRIES);
    state.nullifiers[0] = nullifier([7, 9, 5, 30]);
    for (taken, name) in DIFFERS.iter().enumerate() {
        let takes = |h: &mut Hints| {
            h.named[0] = Some(taken);
            let mut left = (0..ENTRIES.len()).filter(|i| *i != taken);
            h.note_slots = std::array::from_fn(|_| left.next());
        };
        assert_eq!(holds_with(&state, &w, takes), taken == 0, "a note hash {name}");
    }
}

/// Attack: two nullifiers that take one note, so that the second shows nothing of what it spends.
#[test]
fn a_note_is_taken_once() {
    let (mut state, w) = with_notes(&ENTRIES[..1]);
    let (first, second) = (nullifier([7, 9, 5, 30]), nullifier([7, 8, 5, 31]));
    let takes = |h: &mut Hints| {
        h.named[..2].fill(Some(0));
        (h.note_slots[0], h.nullifier_slots[0]) = (None, None);
    };
    state.nullifiers[0] = first;
    assert!(holds_with(&state, &w, |_| {}));
    state.nullifiers[1] = second;
    assert!(!holds_with(&state, &w, takes));
}

/// Attacks: a log of a note of another contract, or of another note than the one at the counter that the log names.
/// With that note the log would disappear.
#[test]
fn a_log_is_of_the_note_that_it_names() {
    let (mut state, w) = with_notes(&ENTRIES[..3]);
    for (note_counter, about, is_good) in [(10u64, 0, true), (10, 1, false), (12, 2, false)] {
        let [contract, tag, log_hash, note_counter, counter] =
            [7, 1, 2, note_counter, 20].map(Fr::from);
        let item = LogEntry { tag, log_hash, note_counter, counter };
        state.logs[0] = OwnedLog { contract, item };
        let accepted = holds_with(&state, &w, |h| h.about[0] = Some(about));
        assert_eq!(accepted, is_good, "note {about} for the counter {note_counter}");
    }
}

/// Attacks on the order of counters: two entries at one of them, read one after the other, with an absent entry between
/// them, or one of the two alone.
#[test]
fn two_entries_of_one_counter_are_rejected_in_whatever_order_they_are_read() {
    let (mut state, w) = with_notes(&[[7, 5, 10]]);
    state.nullifiers[0] = nullifier([7, 9, 0, 11]);
    assert!(holds_with(&state, &w, |_| {}), "at two counters");
    state.nullifiers[0] = nullifier([7, 9, 0, 10]);
    let order = Hints::of(&state).order;
    let (absent, present) = order.split_at(order.len() - 2);
    let [first, second] = *present else { panic!("two entries") };
    let between = [&absent[1..], &[first, absent[0], second][..]].concat();
    let alone = [absent, &[absent[0], first][..]].concat();
    for (name, order) in [("next", order.clone()), ("between", between), ("alone", alone)] {
        assert_eq!(order.len(), tail::hints::counters(&state).len());
        assert!(!holds_with(&state, &w, |h| h.order = order), "{name}");
    }
}

/// Goal: entries of every list lie inside their call.
#[test]
fn counters_of_every_list_lie_between_the_start_and_the_end_of_their_call() {
    let case = case("empty");
    let (call, function) = &case.calls[0];
    let names = PrivateCall::<Fr>::cell_names();
    for (list, key) in [
        ("note_reads", "value"),
        ("nullifier_reads", "value"),
        ("note_hashes", "value"),
        ("nullifiers", "value"),
        ("logs", "log_hash"),
        ("messages", "recipient"),
    ] {
        let at = |word: &str| {
            let name = format!("{list}.0.{word}");
            names.iter().position(|other| *other == name).expect("a word of this name")
        };
        let accepted = |counter: Fr| {
            let mut words = call.to_vec();
            (words[at(key)], words[at("counter")]) = (Fr::from(1u64), counter);
            let call = PrivateCall::from_slice(&words).expect("as many words");
            step_agrees(list, Err(&case.request), &call, function).is_some()
        };
        assert!(accepted(Fr::from(1u64)), "{list}");
        assert!(!accepted(call.start) && !accepted(call.end), "{list}");
    }
}

/// Goal: a call's own words have their ranges whatever its caller says. Method: states that no caller leads to.
#[test]
fn a_call_beyond_its_ranges_is_rejected_even_if_it_was_requested() {
    let case = case("sponsored");
    let [(first, function), (nested, of_nested)] = &case.calls[..] else { panic!("two calls") };
    let state = plain::init(&case.request, first, function).expect("valid");
    assert!(step_agrees("as it is", Ok(&state), nested, of_nested).is_some());
    let (mut waiting, mut call) = (state.clone(), nested.clone());
    let start = -Fr::from(5u64);
    (waiting.stack[0].start, call.start) = (start, start);
    assert!(step_agrees("a start below zero", Ok(&waiting), &call, of_nested).is_none());
    let (mut waiting, mut call) = (state, nested.clone());
    let two = Fr::from(2u64);
    (waiting.stack[0].is_static, call.is_static) = (two, two);
    call.is_fee_payer = Fr::from(0u64);
    assert!(step_agrees("static twice", Ok(&waiting), &call, of_nested).is_none());
}
