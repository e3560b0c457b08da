//! TxBase and TxMerge: they equal their plain twins, and each rule refuses what breaks it.

mod common;

use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::effects::publish;
use rollmill_circuits::tx_base::{TxBaseWitness, constrain};
use rollmill_circuits::tx_merge::join;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::public_inputs::TxRangeLayout;
use rollmill_protocol::{ClientInputs, Pair, Tx, TxRange, TxTransition};

use common::mutate::{Free, Mutator};
use common::{chain, constants_vars, outcome, pair_vars, small, tx_base_witness, tx_range, value};

fn base(tx: &Tx, w: &TxBaseWitness, client: ClientInputs) -> Builder {
    let _ = tx;
    let mut b = small(TxRangeLayout::<Var>::CELLS);
    let constants = w.constants.layout().map(|v| b.witness(v));
    let client = client.layout().map(|v| b.witness(v));
    let pair = pair_vars(&mut b);
    let range = constrain(&mut b, constants, &client, pair, w);
    publish(&mut b, &range.into_vec());
    b
}

fn two_txs() -> Vec<(Tx, TxTransition)> {
    chain(&[2]).remove(0).txs
}

#[test]
fn tx_base_states_what_its_twin_states() {
    for (tx, transition) in two_txs() {
        let w = tx_base_witness(&tx, &transition);
        let (layout, witness) = base(&tx, &w, ClientInputs::of(&tx)).finish(None).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()));
        assert_eq!(witness.public, tx_range(&transition).to_fields());
    }
}

fn rejected(change: impl Fn(&mut TxBaseWitness, &mut ClientInputs)) -> bool {
    let (tx, transition) = two_txs().remove(1);
    let mut w = tx_base_witness(&tx, &transition);
    let mut client = ClientInputs::of(&tx);
    change(&mut w, &mut client);
    outcome(base(&tx, &w, client)).is_err()
}

/// As [`rejected`], with the client's hash made to fit the changed effects.
fn rejected_effects(change: impl Fn(&mut TxBaseWitness)) -> bool {
    rejected(|w, client| {
        change(w);
        client.tx_hash = w.effects.tx_hash();
    })
}

#[test]
fn effects_are_those_of_the_client_proof() {
    assert!(!rejected(|_, _| ()));
    assert!(!rejected_effects(|_| ()));
    assert!(rejected(|w, _| w.effects.gas.l2_gas_limit += 1));
    assert!(rejected(|_, client| client.tx_hash = value(9, 1)));
}

/// Duty 8: a client proof for another chain, deployment or archive.
#[test]
fn a_client_proof_from_elsewhere_is_rejected() {
    assert!(rejected(|_, client| client.chain_id += 1));
    assert!(rejected(|_, client| client.version += 1));
    assert!(rejected(|_, client| client.anchor_header_hash = value(9, 2)));
    assert!(rejected(|w, _| w.transition.anchor.index += 1));
    assert!(rejected(|w, _| w.transition.anchor.archive_root = value(9, 3)));
}

/// Duty 9: states that the witness does not lead to or from.
#[test]
fn a_wrong_place_in_a_tree_is_rejected() {
    assert!(rejected(|w, _| w.transition.effects.start.note_count -= 8));
    assert!(rejected(|w, _| w.transition.effects.start.note_count += 1));
    assert!(rejected(|w, _| w.transition.effects.start.nullifier_count += 1));
    assert!(rejected(|w, _| w.transition.effects.start.note_root = value(9, 4)));
    assert!(rejected(|w, _| w.transition.effects.start.nullifier_root = value(9, 5)));
    assert!(rejected(|w, _| w.transition.effects.start.public_data_root = value(9, 6)));
    assert!(rejected(|w, _| w.transition.effects.fee_payment.index ^= 1));
}

/// Duty 9: the second transaction repeats the first one's nullifier.
#[test]
fn a_spent_nullifier_is_rejected() {
    let first = two_txs()[0].0.effects.nullifiers[0];
    assert!(rejected_effects(|w| {
        w.effects.nullifiers[0] = first;
        if let Some(insertion) = &mut w.transition.effects.nullifiers[0] {
            insertion.key = first;
        }
    }));
    assert!(rejected_effects(|w| w.effects.nullifiers[1] = w.effects.nullifiers[0]));
    assert!(rejected_effects(|w| w.transition.effects.nullifiers[1] = None));
}

#[test]
fn a_transaction_without_a_first_nullifier_or_with_messages_is_rejected() {
    assert!(rejected_effects(|w| {
        w.effects.nullifiers = [Fr::from(0u64); 8];
        w.transition.effects.nullifiers = [const { None }; 8];
    }));
    assert!(rejected_effects(|w| w.effects.messages[1] = Fr::from(1u64)));
}

/// Duty 10: prices above what is allowed, limits that do not hold, balances that do not suffice.
#[test]
fn a_fee_that_is_not_allowed_or_not_covered_is_rejected() {
    assert!(rejected_effects(|w| w.effects.gas.max_fee_per_l2_gas = 1));
    assert!(rejected_effects(|w| w.effects.gas.max_fee_per_da_gas = 2));
    assert!(rejected_effects(|w| w.effects.gas.l2_gas_limit -= 1));
    assert!(rejected_effects(|w| w.effects.gas.da_gas_limit -= 1));
    assert!(rejected_effects(|w| w.effects.gas.da_teardown_gas_limit = u64::MAX));
    assert!(!rejected_effects(|w| w.effects.gas.l2_gas_limit = u64::MAX));
    // The leaf with a smaller balance is another leaf, but even with the tree made to fit it the
    // difference is no number of 64 bits.
    for (balance, good) in [(206_000, true), (205_999, false), (0, false)] {
        let is_rejected = rejected(|w, _| {
            let payment = &mut w.transition.effects.fee_payment;
            payment.leaf.value = Fr::from(balance as u64);
            let leaf = payment.leaf.hash(rollmill_protocol::tree::IndexedTree::PublicData);
            let root = rollmill_protocol::tree::root_from_path(&leaf, payment.index, &payment.path);
            w.transition.effects.start.public_data_root = root;
        });
        assert_eq!(is_rejected, !good, "{balance}");
    }
}

/// Duty 10: a balance above 64 bits would pay any fee.
#[test]
fn a_balance_beyond_64_bits_is_rejected() {
    let top = power_of_two(64);
    for (balance, good) in [(top - Fr::from(1u64), true), (top + Fr::from(100u64), false)] {
        let is_rejected = rejected(|w, _| {
            let payment = &mut w.transition.effects.fee_payment;
            payment.leaf.value = balance;
            let leaf = payment.leaf.hash(rollmill_protocol::tree::IndexedTree::PublicData);
            let root = rollmill_protocol::tree::root_from_path(&leaf, payment.index, &payment.path);
            w.transition.effects.start.public_data_root = root;
        });
        assert_eq!(is_rejected, !good, "{balance}");
    }
}

/// Duty 10: a price so high that the fee does not fit 64 bits, although every cap allows it.
#[test]
fn a_fee_beyond_64_bits_is_rejected() {
    for price in [u64::MAX / 100_000, u64::MAX / 100_000 + 1, u64::MAX] {
        let is_rejected = rejected_effects(|w| {
            w.effects.gas.max_fee_per_l2_gas = u64::MAX;
            w.price.l2 = price;
            w.price.da = 0;
            let payment = &mut w.transition.effects.fee_payment;
            payment.leaf.value = Fr::from(u64::MAX);
            let leaf = payment.leaf.hash(rollmill_protocol::tree::IndexedTree::PublicData);
            let root = rollmill_protocol::tree::root_from_path(&leaf, payment.index, &payment.path);
            w.transition.effects.start.public_data_root = root;
        });
        assert_eq!(is_rejected, price > u64::MAX / 100_000, "{price}");
    }
}

#[test]
fn every_changed_cell_of_tx_base_is_rejected() {
    let (tx, transition) = two_txs().remove(0);
    let w = tx_base_witness(&tx, &transition);
    let (layout, witness) = base(&tx, &w, ClientInputs::of(&tx)).finish(None).unwrap();
    println!("TxBase without the verifier: {} rows", layout.rows_used);
    let free = Mutator::new(layout, witness).run(1);
    // Six absent nullifiers with the last-leaf test of each, and of the two present ones.
    assert_eq!(free.get(&Free::InverseOfZero), Some(&14));
}

fn merged(left: &TxRangeLayout<Fr>, right: &TxRangeLayout<Fr>) -> Builder {
    let mut b = small(TxRangeLayout::<Var>::CELLS);
    let constants = constants_vars(&mut b);
    let pair = pair_vars(&mut b);
    let left = left.clone().map(|v| b.witness(v));
    let right = right.clone().map(|v| b.witness(v));
    let joined = join(&mut b, constants, &left, &right, pair);
    publish(&mut b, &joined.into_vec());
    b
}

fn two_ranges() -> [TxRange; 2] {
    let txs = two_txs();
    [tx_range(&txs[0].1), tx_range(&txs[1].1)]
}

#[test]
fn tx_merge_states_what_its_twin_states() {
    let [left, right] = two_ranges();
    let (layout, witness) = merged(&left.layout(), &right.layout()).finish(None).unwrap();
    assert_eq!(check(&layout, &witness), Ok(()));
    assert_eq!(witness.public, left.join(&right, Pair::trivial()).unwrap().to_fields());
}

fn merge_rejected(change: impl Fn(&mut TxRangeLayout<Fr>, &mut TxRangeLayout<Fr>)) -> bool {
    let [mut left, mut right] = two_ranges().map(|range| range.layout());
    change(&mut left, &mut right);
    outcome(merged(&left, &right)).is_err()
}

/// Duty 8: gaps, overlaps, swapped and repeated children, other constants.
#[test]
fn ranges_that_do_not_join_are_rejected() {
    assert!(!merge_rejected(|_, _| ()));
    assert!(merge_rejected(std::mem::swap), "swapped");
    assert!(merge_rejected(|l, r| *r = l.clone()), "repeated");
    let one = Fr::from(1u64);
    assert!(merge_rejected(|_, r| r.constants.chain_id += one));
    assert!(merge_rejected(|_, r| r.constants.version += one));
    assert!(merge_rejected(|_, r| r.constants.vk_root += one));
    assert!(merge_rejected(|_, r| r.constants.protocol_version += one));
    assert!(merge_rejected(|l, r| {
        l.constants.chain_id += one;
        r.constants.chain_id += one;
    }));
    assert!(merge_rejected(|_, r| r.anchor_archive_root += one));
    assert!(merge_rejected(|_, r| r.fee_per_l2_gas += one));
    assert!(merge_rejected(|_, r| r.fee_per_da_gas += one));
    assert!(merge_rejected(|_, r| r.txs_chain_start += one));
    for cell in 0..6 {
        let gap = |l: &mut TxRangeLayout<Fr>, r: &mut TxRangeLayout<Fr>, side: usize| {
            let state = if side == 0 { &mut l.end } else { &mut r.start };
            let mut cells = state.to_vec();
            cells[cell] += one;
            let changed = rollmill_protocol::header::TxStateLayout::from_slice(&cells);
            *state = changed.unwrap();
        };
        assert!(merge_rejected(|l, r| gap(l, r, 0)), "end {cell}");
        assert!(merge_rejected(|l, r| gap(l, r, 1)), "start {cell}");
    }
}

/// Duty 10.
#[test]
fn an_empty_range_and_sums_that_wrap_are_rejected() {
    let zero = Fr::from(0u64);
    assert!(merge_rejected(|l, _| l.tx_count = zero));
    assert!(merge_rejected(|_, r| r.tx_count = zero));
    let top = power_of_two(128) - Fr::from(1u64);
    assert!(!merge_rejected(|l, r| (l.fees_sum, r.fees_sum) = (top, zero)));
    assert!(merge_rejected(|l, r| (l.fees_sum, r.fees_sum) = (top, Fr::from(1u64))));
    assert!(merge_rejected(|l, r| (l.fees_sum, r.fees_sum) = (zero, -Fr::from(1u64))));
    let most = Fr::from(u64::MAX);
    assert!(merge_rejected(|l, r| (l.tx_count, r.tx_count) = (most, Fr::from(1u64))));
}

#[test]
fn every_changed_cell_of_tx_merge_is_rejected() {
    let [left, right] = two_ranges();
    let (layout, witness) = merged(&left.layout(), &right.layout()).finish(None).unwrap();
    let free = Mutator::new(layout, witness).run(1);
    assert_eq!(free.get(&Free::InverseOfZero), None);
}
