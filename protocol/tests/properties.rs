//! Rules against arithmetic of another kind: conservation and prices over wide integers.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rollmill_algebra::Fr;
use rollmill_protocol::gas::{FEE_PER_GAS_MAX, FeePerGas, Gas, GasSettings, fee, next_fee_per_gas};
use rollmill_protocol::message::{Inbox, in_hash, out_path, out_root, out_walk};
use rollmill_protocol::state::{ApplyError, Settlement, TxGlobals, WorldState};
use rollmill_protocol::tree::node_hash;
use rollmill_protocol::{BlockBody, EthAddress, Header, blob};
use rollmill_protocol_testing::{
    CHAIN_ID, FEE, body, body_from_notes, config, start, value, version, witness,
};

fn edges() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(FEE),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        any::<u64>(),
        0..4 * FEE
    ]
}

/// The price rule as the specification writes it, in integers without a range.
fn price_rule(price: u64, used: u64, target: u64, min: u64) -> i128 {
    let [price, used, target, min] = [price, used, target, min].map(i128::from);
    let next = if used > target {
        price + 1.max(price * (used - target) / (8 * target))
    } else if used < target {
        price - 1.max(price * (target - used) / (8 * target))
    } else {
        price
    };
    next.max(min).min(FEE_PER_GAS_MAX.into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn prices_follow_the_rule_and_stay_within_their_bounds(
        price in prop_oneof![edges(), 0..=FEE_PER_GAS_MAX + 1],
        used in prop_oneof![Just(0), 0u64..=3_200_000],
        target in 1u64..=3_200_000,
        min in prop_oneof![Just(1), Just(FEE_PER_GAS_MAX), 1..=FEE_PER_GAS_MAX],
    ) {
        let next = next_fee_per_gas(price, used, target, min);
        prop_assert_eq!(i128::from(next), price_rule(price, used, target, min));
        prop_assert!((min..=FEE_PER_GAS_MAX).contains(&next));
        // Between two blocks a price moves by an eighth for each time that use passes the target, or by 1.
        if (min..=FEE_PER_GAS_MAX).contains(&price) && used <= 2 * target {
            prop_assert!(next.abs_diff(price) <= 1.max(price / 8));
        }
    }

    #[test]
    fn a_fee_is_the_sum_over_both_kinds_or_none(l2 in edges(), da in edges(), a in edges(), b in edges()) {
        let exact = num(l2) * num(a) + num(da) * num(b);
        let got = fee(FeePerGas { l2, da }, Gas { l2: a, da: b });
        prop_assert_eq!(got.map(num), (exact <= num(u64::MAX)).then_some(exact));
    }

    #[test]
    fn use_is_within_the_limits_or_none(l2 in edges(), da in edges(), teardown_l2 in edges(), teardown_da in edges()) {
        let settings = GasSettings {
            l2_gas_limit: l2,
            da_gas_limit: da,
            l2_teardown_gas_limit: teardown_l2,
            da_teardown_gas_limit: teardown_da,
            ..GasSettings::default()
        };
        let used = (100_000 + u128::from(teardown_l2), 2_000 + u128::from(teardown_da));
        let fits = used.0 <= l2.into() && used.1 <= da.into();
        let got = settings.used().map(|used| (used.l2.into(), used.da.into()));
        prop_assert_eq!(got, fits.then_some(used));
    }
}

/// Two products of 64-bit numbers and their sum need 129 bits.
fn num(value: u64) -> num_bigint::BigUint {
    value.into()
}

fn globals() -> TxGlobals {
    TxGlobals {
        chain_id: CHAIN_ID,
        version: version(),
        slot: 1,
        price: FeePerGas { l2: 2, da: 2 },
        gas_left: config().gas_limit(),
    }
}

/// A body with these amounts, whose payer has a balance, has none, or is absent.
fn with_amounts(payer: u8, [notes_in, notes_out, withdraw]: [u64; 3]) -> BlockBody {
    let mut body = if payer == 2 { body_from_notes(0, 0) } else { body(0) };
    if payer == 1 {
        body.effects.fee_payer = value(80, 0);
    }
    (body.effects.notes_in, body.effects.notes_out) = (notes_in, notes_out);
    if withdraw > 0 {
        body.effects.withdraw_amount = withdraw;
        body.effects.withdraw_recipient = EthAddress([1; 20]);
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Goal: value is conserved, whatever the amounts. Method: the equation over integers decides whether a
    /// transaction is accepted and what is left.
    #[test]
    fn value_is_conserved(
        payer in 0u8..3,
        amounts in [edges(), edges(), edges()],
        cancel in any::<bool>(),
    ) {
        let mut amounts = amounts;
        if cancel {
            // Otherwise most sums are far from their bounds.
            amounts[1] = amounts[0].saturating_add(amounts[2]).saturating_add(FEE);
        }
        let (header, store) = start();
        let mut state = WorldState::at(store, &header).unwrap();
        let body = with_amounts(payer, amounts);
        let before = if payer == 0 { 100 * FEE } else { 0 };
        let int = |value: u64| i128::from(value);
        let [notes_in, notes_out, withdraw] = amounts.map(int);
        let left = int(before) + notes_out - int(FEE) - withdraw - notes_in;
        let refs = state.refs;
        match state.apply_body(&body, &globals()) {
            Ok(done) => {
                witness::check_effects(&done, &refs, &body.effects);
                let after = match done.settlement {
                    Settlement::Payer { after, .. } => after,
                    Settlement::Refund { value, .. } => value,
                };
                prop_assert_eq!(int(after), left);
                prop_assert_eq!(payer == 2, body.effects.fee_payer == Fr::from(0u64));
                if payer != 2 {
                    prop_assert_eq!(state.fee_balance(&body.effects.fee_payer).unwrap(), after);
                }
            }
            Err(ApplyError::Rejected(rejection)) => {
                let expected = if left < 0 { "value_too_low" } else { "value_overflow" };
                prop_assert!(!(0..=int(u64::MAX)).contains(&left), "{left}");
                prop_assert_eq!(rejection.rule(), Some(expected));
                prop_assert_eq!(state.refs, refs);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn the_running_hash_of_messages_takes_one_step_each(n in 0usize..=64, seed: u64) {
        let leaves: Vec<Fr> = (0..n as u64).map(|i| value(seed % 1000, i)).collect();
        let whole = in_hash(&leaves);
        prop_assert_eq!(n == 0, whole == Fr::from(0u64));
        if let Some((last, rest)) = leaves.split_last() {
            prop_assert_eq!(whole, rollmill_protocol::message::in_hash_next(&in_hash(rest), last));
            prop_assert_ne!(whole, in_hash(rest));
        }
    }

    /// The polynomial of a block is that of its parts, shifted.
    #[test]
    fn a_blobs_value_is_put_together_from_runs(left in 0u64..4, right in 0u64..4, seed: u64) {
        let txs: Vec<BlockBody> = (0..left + right).map(body).collect();
        let z = blob::to_blob_field(&value(3, seed));
        let (first, second) = txs.split_at(left as usize);
        let at = |txs: &[BlockBody]| blob::evaluate(&blob::block_words(txs), &z);
        prop_assert_eq!(at(&txs), at(first) + blob::shift(&z, left) * at(second));
    }

    #[test]
    fn a_path_of_messages_to_l1_leads_to_the_root_and_a_wrong_one_does_not(
        n in 1usize..=32,
        tx in any::<prop::sample::Index>(),
        which in 0usize..2,
        wrong in any::<prop::sample::Index>(),
    ) {
        let leaves: Vec<[Fr; 2]> = (0..n as u64).map(|i| [value(1, i), value(2, i)]).collect();
        let tx = tx.index(n);
        let path = out_path(&leaves, tx, which).unwrap();
        let root = out_root(&leaves);
        prop_assert_eq!(out_walk(&leaves[tx][which], tx, which, n, &path), Some(root));
        let mut other = path.clone();
        let at = wrong.index(path.len());
        other[at] += Fr::from(1u64);
        prop_assert_ne!(out_walk(&leaves[tx][which], tx, which, n, &other), Some(root));
        prop_assert_eq!(out_walk(&leaves[tx][which], tx, which, n, &path[1..]), None);
        // An inner node is no leaf.
        let inner = node_hash(&leaves[tx][0], &leaves[tx][1]);
        prop_assert_eq!(out_walk(&inner, tx, which, n, &path[1..]), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    /// Goal: a proposer can always build, and knows all messages of its block; unless blocks were pruned, every
    /// message that waits is in the next two numbers or behind one of them. Method: random sends, proposals and
    /// prunes.
    #[test]
    fn messages_of_the_next_block_are_known_and_none_waits_behind_an_empty_number(
        steps in proptest::collection::vec((0u8..10, 1usize..150), 1..60)
    ) {
        let (mut inbox, mut tip, mut highest, mut sent) = (Inbox::new(), 0u64, 0u64, 0u64);
        let mut known: BTreeMap<u64, Fr> = BTreeMap::new();
        for (step, n) in steps {
            match step {
                0..4 => for _ in 0..n {
                    let (block, index) = inbox.send(|index| Fr::from(index + 1));
                    sent += 1;
                    prop_assert!(block >= tip + 2, "it reaches no block that can be built already");
                    prop_assert_eq!(index / 64, block - 1);
                    prop_assert!(inbox.leaves(block).len() <= 64);
                },
                4..9 => {
                    tip += 1;
                    let hash = inbox.consume(tip).unwrap();
                    prop_assert_eq!(hash, in_hash(inbox.leaves(tip)));
                    prop_assert_eq!(*known.entry(tip).or_insert(hash), hash);
                    // What the next block has is decided.
                    known.entry(tip + 1).or_insert(in_hash(inbox.leaves(tip + 1)));
                }
                _ => tip -= tip.min(n as u64 % 4),
            }
            highest = highest.max(tip);
            let is_empty = |block: u64| inbox.leaves(block).is_empty();
            if tip == highest && is_empty(tip + 1) && is_empty(tip + 2) {
                let before: usize = (1..=tip).map(|block| inbox.leaves(block).len()).sum();
                prop_assert_eq!(before as u64, sent, "a message waits unseen");
            }
        }
    }
}

/// A header at the bounds of its fields gives prices without a panic.
#[test]
fn prices_after_any_header_do_not_wrap() {
    let (header, _) = start();
    for price in [0, 1, FEE_PER_GAS_MAX, u64::MAX] {
        for used in [0, 1, u64::MAX] {
            let header = Header {
                fee_per_l2_gas: price,
                fee_per_da_gas: price,
                l2_gas_used: used,
                da_gas_used: used,
                ..header.clone()
            };
            let next = config().prices_after(&header);
            assert!(next.l2 <= FEE_PER_GAS_MAX && next.da <= FEE_PER_GAS_MAX);
        }
    }
}
