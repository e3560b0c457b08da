//! The client circuit: honest transfers are accepted, and each rule refuses what breaks it.

use rollmill_algebra::Fr;
use rollmill_circuits::client::{
    CELL_BITS, ClientWitness, INPUTS, InputNote, OUTPUTS, Payer, build, constrain,
    constrain_with_effects,
};
use rollmill_circuits::gadgets::effects::publish;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_protocol::ClientInputs;
use rollmill_protocol::note::NoteOrigin;
use rollmill_protocol::tree::{Tree, append};

use crate::common::mutate::{Free, Mutator};
use crate::common::{
    account, genesis, genesis_chain, keys, outcome, paid_from_notes, transfer, tx_of, value,
    vk_root,
};

fn honest() -> ClientWitness {
    let (header, store) = genesis_chain();
    transfer(&header, &store, 1)
}

fn accepted(w: &ClientWitness) -> bool {
    let mut b = Builder::new(ClientInputs::FIELDS, 10);
    let inputs = constrain(&mut b, w);
    publish(&mut b, &inputs.into_vec());
    outcome(b).is_ok()
}

#[test]
fn an_honest_transfer_states_the_inputs_of_its_transaction() {
    let w = honest();
    let (layout, witness) = build(&w).finish(None).unwrap();
    assert_eq!(check(&layout, &witness), Ok(()));
    assert_eq!(witness.public, ClientInputs::of(&tx_of(&w, 1), vk_root()).layout().into_vec());
    assert_eq!(layout.shape.cell_bits, CELL_BITS);
    assert_eq!(layout.shape.log_n, rollmill_circuits::client::LOG_N);
}

#[test]
fn one_input_or_two_may_be_real() {
    let (header, store) = genesis_chain();
    let mut w = transfer(&header, &store, 1);
    w.inputs.swap(0, 1);
    assert!(accepted(&w), "the dummy first");
    w.inputs[0] = w.inputs[1].clone();
    w.outputs[0].value += w.inputs[0].value;
    assert!(accepted(&w), "the same note twice: its nullifier cannot be inserted twice");
    let none = [InputNote::dummy(value(9, 1)), InputNote::dummy(value(9, 2))];
    w.inputs = none;
    assert!(!accepted(&w), "value out of nothing");
    w.outputs[0].value = 0;
    w.outputs[1].value = 0;
    assert!(accepted(&w), "nothing out of nothing");
}

#[test]
fn a_dummy_carries_neither_value_nor_origin() {
    let mut w = honest();
    w.inputs[1].value = 5;
    w.outputs[0].value += 5;
    assert!(!accepted(&w), "value");
    let mut w = honest();
    w.inputs[1].origin = NoteOrigin { first_nullifier: value(9, 3), index: 0 };
    assert!(!accepted(&w), "first nullifier");
    let mut w = honest();
    w.inputs[1].origin = NoteOrigin { first_nullifier: Fr::from(0u64), index: 1 };
    assert!(!accepted(&w), "index");
}

#[test]
fn values_must_balance_without_wrapping() {
    let mut w = honest();
    w.outputs[1].value += 1;
    assert!(!accepted(&w));
    w.outputs[0].value -= 1;
    assert!(accepted(&w));
    // True of integers modulo 2^64, not of these.
    w.outputs[0].value = u64::MAX;
    w.outputs[1].value = w.inputs[0].value + 1;
    assert!(!accepted(&w));
}

/// Duty 9: the note must be in the anchor's tree, at its own index, owned by the sender.
#[test]
fn a_note_that_is_not_there_is_rejected() {
    let mut w = honest();
    w.inputs[0].leaf_index = Some(2);
    assert!(!accepted(&w), "wrong index");
    let mut w = honest();
    w.inputs[0].value += 1;
    w.outputs[0].value += 1;
    assert!(!accepted(&w), "another value");
    let mut w = honest();
    w.inputs[0].path[7] += Fr::from(1u64);
    assert!(!accepted(&w), "another path");
    let (header, store) = genesis_chain();
    let mut w = transfer(&header, &store, 1);
    let note = genesis().notes[2].note();
    w.inputs[0] = InputNote {
        value: note.value,
        randomness: note.randomness,
        origin: genesis().origin(2),
        leaf_index: Some(2),
        path: append::path(&store, Tree::Notes, 0, 2).unwrap(),
    };
    w.outputs[1].value += 1;
    assert!(!accepted(&w), "somebody else's note");
    w.sender = keys(2);
    assert!(accepted(&w), "account 1 pays for account 2, whose keys the prover has");
    assert_eq!(w.effects().fee_payer, account(1));
}

#[test]
fn a_note_of_another_state_is_rejected() {
    let mut w = honest();
    w.anchor.state.tx_state.note_root = value(9, 4);
    assert!(!accepted(&w));
}

/// Value enters and leaves the notes by public words only.
#[test]
fn what_enters_and_leaves_the_notes_is_counted() {
    let mut w = honest();
    w.notes_in = 7;
    assert!(!accepted(&w));
    w.outputs[0].value += 7;
    assert!(accepted(&w));
    w.notes_out = 9;
    assert!(!accepted(&w));
    w.outputs[1].value -= 9;
    assert!(accepted(&w));
    // 2^64 − 1 more enter than are made.
    w.notes_in = u64::MAX;
    assert!(!accepted(&w));
}

#[test]
fn either_an_address_pays_or_a_refund_has_a_note() {
    let by_notes = paid_from_notes(honest());
    assert!(accepted(&by_notes));
    let effects = by_notes.effects();
    assert_eq!(effects.fee_payer, Fr::from(0u64));
    let Payer::Notes { owner, randomness } = by_notes.payer else { panic!("notes pay") };
    let partial = rollmill_protocol::note::note_partial(&owner, &randomness);
    assert_eq!(effects.refund_partial, partial);
    let effects = honest().effects();
    assert_eq!((effects.fee_payer, effects.refund_partial), (account(1), Fr::from(0u64)));
}

#[test]
fn tags_and_logs_come_together_and_without_gaps() {
    for (tag, log, good) in [(2, 2, true), (2, 3, false), (3, 3, false), (2, 7, false)] {
        let mut w = honest();
        w.tags[tag] = value(9, 5);
        w.log_hashes[log] = value(9, 6);
        assert_eq!(accepted(&w), good, "tag {tag} log {log}");
    }
    for tag in [2, 7] {
        let mut w = honest();
        w.tags[tag] = value(9, 5);
        assert!(!accepted(&w), "tag {tag} without a log");
    }
    // A tag says nothing by itself, so that even zero is one: it is hashed with the contract.
    let mut w = honest();
    w.tags[1] = Fr::from(0u64);
    assert!(accepted(&w));
    assert_ne!(w.effects().tags[1], Fr::from(0u64));
}

/// Goal: what the circuit publishes is what the transfer's effects say, whoever pays.
#[test]
fn the_published_hash_is_that_of_the_effects() {
    let mut claims = honest();
    (claims.claim_index, claims.claim_amount, claims.notes_in) = (5, 900, 400);
    claims.outputs[0].value += 400;
    (claims.withdraw_amount, claims.expiry_slot) = (60, 99);
    claims.withdraw_recipient = rollmill_protocol::EthAddress([8; 20]);
    let mut no_logs = honest();
    (no_logs.tags, no_logs.log_hashes) = ([Fr::from(0u64); 8], [Fr::from(0u64); 8]);
    for w in [honest(), paid_from_notes(honest()), claims, no_logs] {
        let mut b = Builder::new(ClientInputs::FIELDS, 10);
        let inputs = constrain(&mut b, &w);
        assert_eq!(b.value(inputs.tx_hash), w.effects().tx_hash());
        publish(&mut b, &inputs.into_vec());
        assert_eq!(outcome(b), Ok(()));
    }
}

/// Attacks: a note out of nothing in a place that a transfer does not use, and a message that is the leaf of a
/// withdrawal of any amount. TxBase takes both as they are, since only the kernel's tail has them. They are the constant
/// zero here, which no prover chooses.
#[test]
fn words_that_a_transfer_does_not_use_are_constants() {
    for w in [honest(), paid_from_notes(honest())] {
        let mut b = Builder::new(ClientInputs::FIELDS, 10);
        let (_, effects) = constrain_with_effects(&mut b, &w);
        let unused = [
            &effects.nullifiers[INPUTS..],
            &effects.note_hashes[OUTPUTS..],
            &effects.messages[..],
            &[effects.public_calls_hash],
        ]
        .concat();
        assert_eq!(unused, vec![Builder::ZERO; 6 + 6 + 2 + 1]);
    }
}

#[test]
fn every_changed_variable_is_rejected() {
    let mut b = Builder::new(ClientInputs::FIELDS, 10);
    let inputs = constrain(&mut b, &honest());
    publish(&mut b, &inputs.into_vec());
    let (layout, witness) = b.finish(None).unwrap();
    assert_eq!(check(&layout, &witness), Ok(()));
    let free = Mutator::new(layout, witness).run(1);
    // Six absent logs.
    assert_eq!(free.get(&Free::InverseOfZero), Some(&6));
}
