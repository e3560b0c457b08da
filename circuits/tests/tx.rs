//! TxBase and TxMerge: they equal their plain twins, and each rule refuses what breaks it.

use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::effects::publish;
use rollmill_circuits::tx_base::{TxBaseWitness, constrain, constrain_over};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::header::TxStateLayout;
use rollmill_protocol::layout::Range;
use rollmill_protocol::public_inputs::TxRangeLayout;
use rollmill_protocol::state::{BalanceChange, Settlement};
use rollmill_protocol::tx::TxEffectsLayout;
use rollmill_protocol::{ClientInputs, Pair, TxEffects, TxRange};

use crate::common::mutate::{Free, Mutator};
use crate::common::parts::{lay_tx_base as base, lay_tx_merge};
use crate::common::{BlockCase, chain, constants, outcome, pair_vars, value, wide};

/// Transactions 1 and 2 in the second block: the first pays from its notes, the second claims for a new account.
fn two_txs() -> BlockCase {
    chain(&[1, 2]).remove(1)
}

fn client_of(case: &BlockCase, i: usize) -> ClientInputs {
    ClientInputs::of(&case.txs[i].0, constants().vk_root)
}

#[test]
fn tx_base_states_what_its_twin_states() {
    for case in chain(&[2, 1, 1]) {
        for i in 0..case.txs.len() {
            let w = case.tx_base_witness(i);
            let (layout, witness) = base(&w, client_of(&case, i)).finish(None).unwrap();
            assert_eq!(check(&layout, &witness), Ok(()));
            assert_eq!(witness.public, case.tx_range(i, constants()).to_fields());
        }
    }
}

fn rejected_of(
    case: &BlockCase,
    i: usize,
    change: impl Fn(&mut TxBaseWitness, &mut ClientInputs),
) -> bool {
    let mut w = case.tx_base_witness(i);
    let mut client = client_of(case, i);
    change(&mut w, &mut client);
    outcome(base(&w, client)).is_err()
}

/// A change of the transaction that claims.
fn rejected(change: impl Fn(&mut TxBaseWitness, &mut ClientInputs)) -> bool {
    rejected_of(&two_txs(), 1, change)
}

/// As [`rejected`], with the client's hash made to fit the changed effects.
fn rejected_effects(change: impl Fn(&mut TxBaseWitness)) -> bool {
    rejected(|w, client| {
        change(w);
        client.tx_hash = w.body.effects.tx_hash();
    })
}

#[test]
fn effects_are_those_of_the_client_proof() {
    assert!(!rejected(|_, _| ()));
    assert!(!rejected_effects(|_| ()));
    assert!(rejected(|w, _| w.body.effects.gas.l2_gas_limit += 1));
    assert!(rejected(|_, client| client.tx_hash = value(9, 1)));
}

/// Goal: every word of the effects is bound, low and high. Method: change one by one, and to the ends of its range.
#[test]
fn every_changed_word_of_the_effects_is_rejected() {
    let case = two_txs();
    let (w, client) = (case.tx_base_witness(1), client_of(&case, 1));
    let honest = w.body.effects.to_fields();
    let accepts = |cells: &[Fr]| {
        let mut b = wide(TxRangeLayout::<Var>::CELLS);
        let constants = w.constants.layout().map(|v| b.witness(v));
        let client = client.layout().map(|v| b.witness(v));
        let pair = pair_vars(&mut b);
        let effects = TxEffectsLayout::from_slice(cells).unwrap();
        let range = constrain_over(&mut b, constants, &client, pair, &w, effects);
        publish(&mut b, &range.into_vec());
        outcome(b).is_ok()
    };
    assert!(accepts(&honest));
    for (i, info) in TxEffects::cell_infos().iter().enumerate() {
        let one = Fr::from(1u64);
        let last = match info.range {
            Range::Bits(bits) => power_of_two(bits) - one,
            Range::Field => -one,
        };
        for other in [honest[i] + one, last] {
            let mut cells = honest.clone();
            cells[i] = other;
            assert_eq!(accepts(&cells), other == honest[i], "{} = {other}", info.name);
        }
    }
}

/// Duty 8: a client proof for another chain, deployment, key tree or archive.
#[test]
fn a_client_proof_from_elsewhere_is_rejected() {
    assert!(rejected(|_, client| client.chain_id += 1));
    assert!(rejected(|_, client| client.version += 1));
    assert!(rejected(|_, client| client.vk_root = value(9, 1)), "keys of the sender's own");
    assert!(rejected(|_, client| client.protocol_version += 1));
    assert!(rejected(|_, client| client.anchor_header_hash = value(9, 2)));
    assert!(rejected(|w, _| w.transition.anchor.index += 1));
    assert!(rejected(|w, _| w.transition.anchor.archive_root = value(9, 3)));
}

/// The constants of a prover are an address of L1.
#[test]
fn a_prover_beyond_160_bits_is_rejected() {
    let (case, w) = (two_txs(), two_txs().tx_base_witness(1));
    for (prover, good) in [(power_of_two(160) - Fr::from(1u64), true), (power_of_two(160), false)] {
        let mut b = wide(TxRangeLayout::<Var>::CELLS);
        let mut constants = w.constants.layout();
        constants.prover_id = prover;
        let constants = constants.map(|v| b.witness(v));
        let client = client_of(&case, 1).layout().map(|v| b.witness(v));
        let pair = pair_vars(&mut b);
        let range = constrain(&mut b, constants, &client, pair, &w);
        publish(&mut b, &range.into_vec());
        assert_eq!(outcome(b).is_ok(), good, "{prover}");
    }
}

/// Duty 9: states that the witness does not lead to or from.
#[test]
fn a_wrong_place_in_a_tree_is_rejected() {
    assert!(rejected(|w, _| w.transition.effects.start.note_count -= 8));
    assert!(rejected(|w, _| w.transition.effects.start.note_count += 1));
    assert!(rejected(|w, _| w.transition.effects.start.nullifier_count += 1));
    assert!(rejected(|w, _| w.transition.effects.start.public_data_count += 1));
    assert!(rejected(|w, _| w.transition.effects.start.note_root = value(9, 4)));
    assert!(rejected(|w, _| w.transition.effects.start.nullifier_root = value(9, 5)));
    assert!(rejected(|w, _| w.transition.effects.start.public_data_root = value(9, 6)));
    assert!(rejected(|w, _| w.transition.effects.message_root = value(9, 7)));
}

/// Duty 9: the second transaction repeats the first one's nullifier.
#[test]
fn a_spent_nullifier_is_rejected() {
    let first = two_txs().txs[0].0.body.effects.nullifiers[0];
    assert!(rejected_effects(|w| {
        w.body.effects.nullifiers[0] = first;
        if let Some(insertion) = &mut w.transition.effects.nullifiers[0] {
            insertion.key = first;
        }
    }));
    assert!(rejected_effects(|w| w.body.effects.nullifiers[1] = w.body.effects.nullifiers[0]));
    assert!(rejected_effects(|w| w.transition.effects.nullifiers[1] = None));
}

/// Attacks: a claim whose nullifier is left out, so that it could be claimed twice; one that was claimed; another's
/// deposit, another amount, another index; and a claim against messages that are not before the block.
#[test]
fn a_deposit_is_claimed_once_and_by_its_owner_only() {
    assert!(rejected_effects(|w| w.transition.effects.claim = None), "without its nullifier");
    assert!(rejected_effects(|w| w.body.effects.claim_index += 1));
    assert!(rejected_effects(|w| w.body.effects.claim_amount += 1));
    assert!(rejected_effects(|w| w.body.effects.fee_payer = crate::common::account(5)));
    assert!(rejected(|w, _| w.transition.effects.claim.as_mut().unwrap().path[3] = value(9, 1)));
    // The same claim over the tree after it: its nullifier is there.
    assert!(rejected(|w, _| {
        let effects = &mut w.transition.effects;
        let insertion = &effects.claim.as_ref().unwrap().insertion;
        effects.start.nullifier_root = insertion.root_after;
        effects.start.nullifier_count = insertion.new_index + 1;
    }));
}

/// Duty 10: what is left must be a number of 64 bits, and the balance before is that of the tree.
#[test]
fn value_out_of_nothing_is_rejected() {
    let more = |w: &mut TxBaseWitness| w.body.effects.notes_in += 1;
    assert!(!rejected_effects(|w| {
        more(w);
        w.body.effects.notes_out += 1;
    }));
    // The leaf of the balance is another, so that the tree does not follow; but a statement of it would.
    assert!(!rejected_effects(more), "the balance after is less by one");
    assert!(rejected_effects(|w| w.body.effects.notes_in = u64::MAX));
    assert!(rejected_effects(|w| w.body.effects.withdraw_amount = 5), "without a recipient");
    // A balance that the tree does not have.
    assert!(rejected(|w, _| {
        if let Settlement::Payer { change: BalanceChange::Insert(insertion), .. } =
            &mut w.transition.effects.settlement
        {
            insertion.low_leaf.value += Fr::from(1u64);
        }
    }));
    let of_notes = |change: fn(&mut TxBaseWitness)| {
        rejected_of(&two_txs(), 0, |w, client| {
            change(w);
            client.tx_hash = w.body.effects.tx_hash();
        })
    };
    assert!(!of_notes(|_| ()));
    assert!(!of_notes(|w| w.body.effects.notes_out += 1), "the refund is more by one");
    assert!(of_notes(|w| w.body.effects.notes_out = 1), "less than the fee");
    assert!(of_notes(|w| w.body.effects.note_hashes[7] = value(9, 1)), "note 7 is the refund's");
    assert!(of_notes(|w| w.body.effects.refund_partial = Fr::from(0u64)));
    assert!(of_notes(|w| w.body.effects.claim_amount = 1), "a claim without a payer");
}

/// Expired by one slot, and slots that are no slots.
#[test]
fn a_transaction_is_not_included_after_its_expiry() {
    for (slot, expiry, good) in [(4, 4, true), (5, 4, false), (0, 0, true), (1, 0, false)] {
        let is_rejected = rejected_effects(|w| {
            w.slot = slot;
            w.body.effects.expiry_slot = expiry;
        });
        assert_eq!(is_rejected, !good, "slot {slot}, expiry {expiry}");
    }
    assert!(!rejected(|w, _| w.slot = (1 << 48) - 1));
    assert!(rejected_effects(|w| w.slot = 1 << 48));
}

#[test]
fn a_fee_that_is_not_allowed_or_not_covered_is_rejected() {
    let price = two_txs().block.header.fee_per_gas();
    assert!(!rejected_effects(|w| w.body.effects.gas.max_fee_per_l2_gas = price.l2));
    assert!(rejected_effects(|w| w.body.effects.gas.max_fee_per_l2_gas = price.l2 - 1));
    assert!(rejected_effects(|w| w.body.effects.gas.max_fee_per_da_gas = price.da - 1));
    assert!(rejected_effects(|w| w.body.effects.gas.l2_gas_limit -= 1));
    assert!(rejected_effects(|w| w.body.effects.gas.da_gas_limit -= 1));
    assert!(rejected_effects(|w| w.body.effects.gas.da_teardown_gas_limit = u64::MAX));
    assert!(!rejected_effects(|w| w.body.effects.gas.l2_gas_limit = u64::MAX));
}

/// Attack: y of another transaction, through another log or another word; the statement changes with each.
#[test]
fn another_word_has_another_value_at_the_point() {
    let case = two_txs();
    let [first, second] = [0, 1].map(|i| case.tx_range(i, constants()));
    assert_ne!(first.y, second.y);
    assert_eq!(first.pow, second.pow);
    let mut w = case.tx_base_witness(1);
    w.body.logs[1][4] += Fr::from(1u64);
    assert!(outcome(base(&w, client_of(&case, 1))).is_err(), "another log");
    w.body.logs[1] = w.body.logs[0];
    assert!(outcome(base(&w, client_of(&case, 1))).is_err(), "the first log again");
    w.body.logs.pop();
    assert!(outcome(base(&w, client_of(&case, 1))).is_err(), "a withheld log");
}

#[test]
fn every_changed_cell_of_tx_base_is_rejected() {
    let case = two_txs();
    for i in 0..2 {
        let w = case.tx_base_witness(i);
        let (layout, witness) = base(&w, client_of(&case, i)).finish(None).unwrap();
        println!("TxBase without the verifier: {} rows", layout.rows_used);
        let free = Mutator::new(layout, witness).run(7);
        assert!(free.contains_key(&Free::InverseOfZero), "{free:?}");
    }
}

fn merged(left: &TxRangeLayout<Fr>, right: &TxRangeLayout<Fr>) -> Builder {
    lay_tx_merge(constants(), left, right)
}

fn two_ranges() -> [TxRange; 2] {
    let case = two_txs();
    [0, 1].map(|i| case.tx_range(i, constants()))
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

/// Duty 8: gaps, overlaps, swapped and repeated children, other constants, and other words of a block.
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
    assert!(merge_rejected(|_, r| r.constants.config_hash += one));
    assert!(merge_rejected(|_, r| r.constants.prover_id += one), "work of another prover");
    assert!(merge_rejected(|l, r| {
        l.constants.chain_id += one;
        r.constants.chain_id += one;
    }));
    assert!(merge_rejected(|_, r| r.anchor_archive_root += one));
    assert!(merge_rejected(|_, r| r.message_root += one));
    assert!(merge_rejected(|_, r| r.slot += one));
    assert!(merge_rejected(|_, r| r.fee_per_l2_gas += one));
    assert!(merge_rejected(|_, r| r.fee_per_da_gas += one));
    assert!(merge_rejected(|_, r| r.txs_chain_start += one));
    assert!(merge_rejected(|_, r| r.z += one), "another point");
    for cell in 0..6 {
        let gap = |l: &mut TxRangeLayout<Fr>, r: &mut TxRangeLayout<Fr>, side: usize| {
            let state = if side == 0 { &mut l.end } else { &mut r.start };
            let mut cells = state.to_vec();
            cells[cell] += one;
            *state = TxStateLayout::from_slice(&cells).unwrap();
        };
        assert!(merge_rejected(|l, r| gap(l, r, 0)), "cell {cell} of the left end");
        assert!(merge_rejected(|l, r| gap(l, r, 1)), "cell {cell} of the right start");
    }
}

/// Goal: no word of a child is idle. Method: change each; the join is rejected, or states something else.
#[test]
fn every_word_of_a_child_is_compared_or_joined() {
    let [left, right] = two_ranges().map(|range| range.layout());
    let honest = merged(&left, &right).finish(None).unwrap().1.public;
    let names = TxRangeLayout::<Fr>::cell_names();
    for (i, name) in names.iter().enumerate().filter(|(_, name)| !name.starts_with("pair.")) {
        for side in 0..2 {
            for delta in [Fr::from(1u64), -Fr::from(1u64)] {
                let mut children = [left.to_vec(), right.to_vec()];
                children[side][i] += delta;
                let [l, r] = children.map(|cells| TxRangeLayout::from_slice(&cells).unwrap());
                let (layout, witness) = merged(&l, &r).finish(None).unwrap();
                let same = witness.public == honest;
                assert!(check(&layout, &witness).is_err() || !same, "{name} of child {side}");
            }
        }
    }
}

/// Attack: another shape of the tree of messages to L1, and blocks of more than 32 transactions.
#[test]
fn numbers_of_transactions_have_one_shape() {
    let rejected =
        |left: Fr, right: Fr| merge_rejected(|l, r| (l.tx_count, r.tx_count) = (left, right));
    let f = |value: u64| Fr::from(value);
    for (left, right) in [(1, 1), (2, 1), (2, 2), (4, 3), (8, 1), (16, 1), (16, 15), (16, 16)] {
        assert!(!rejected(f(left), f(right)), "{left} and {right}");
    }
    for (left, right) in [(1, 2), (3, 1), (3, 3), (5, 1), (32, 1), (16, 17), (2, 3), (0, 0)] {
        assert!(rejected(f(left), f(right)), "{left} and {right}");
    }
    for left in [1, 2, 16] {
        assert!(rejected(f(left), f(0)), "an empty right range");
        assert!(rejected(f(left), -f(1)));
        assert!(rejected(f(left), power_of_two(64)));
    }
    assert!(rejected(f(0), f(1)), "an empty left range");
    // Its low limb is 1, by which the choice is made.
    assert!(rejected(power_of_two(64) + f(1), f(1)));
    assert!(rejected(-f(1), f(1)));
}

/// Duty 10: sums that wrap, and halves of a value that are no halves.
#[test]
fn sums_and_halves_beyond_their_ranges_are_rejected() {
    let last = |bits: u32| power_of_two(bits) - Fr::from(1u64);
    assert!(merge_rejected(|l, _| l.fees_sum = last(128)));
    assert!(merge_rejected(|l, _| l.fees_sum = -Fr::from(1u64 << 40)));
    assert!(merge_rejected(|l, _| l.l2_gas_used = last(64)));
    assert!(merge_rejected(|l, _| l.da_gas_used = last(64)));
    assert!(merge_rejected(|l, _| l.y.lo = power_of_two(128)));
    assert!(merge_rejected(|_, r| r.pow.hi = power_of_two(128)));
}

#[test]
fn every_changed_cell_of_tx_merge_is_rejected() {
    let [left, right] = two_ranges();
    let (layout, witness) = merged(&left.layout(), &right.layout()).finish(None).unwrap();
    Mutator::new(layout, witness).run(1);
}
