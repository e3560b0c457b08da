//! The choice of notes, and that a plan covers every fee it allows.

use rand::Rng;
use rollmill_node_client::wire::DepositInfo;

use super::*;

/// A note of this value that no block has.
fn note(value: u64, i: u64) -> OwnedNote {
    OwnedNote {
        value,
        randomness: Fr::from(i),
        first_nullifier: Fr::from(i),
        index_in_tx: 0,
        leaf_index: i,
        nullifier: Fr::from(1_000 + i),
        spent_in: None,
        block: 1,
        pending: false,
        given_back: false,
    }
}

fn transfer(amount: u64) -> Order {
    Order::transfer(keys(1).address(), amount)
}

#[test]
fn at_most_two_notes_are_spent_and_the_smallest_that_is_enough() {
    let mut wallet = wallet(2);
    wallet.state.notes = (0..).zip([30, 5, 20, 8]).map(|(i, v)| note(v, i)).collect();
    let chosen = |wallet: &Wallet, amount: u64, fee: u64| -> Vec<u64> {
        let plan = wallet.plan(&transfer(amount), fee, 0).unwrap();
        assert_eq!(plan.notes_out, fee);
        plan.inputs.iter().map(|note| note.value).collect()
    };
    assert_eq!(chosen(&wallet, 0, 0), [5]);
    assert_eq!(chosen(&wallet, 6, 0), [8]);
    assert_eq!(chosen(&wallet, 6, 2), [8]);
    assert_eq!(chosen(&wallet, 6, 3), [20], "the fee counts");
    assert_eq!(chosen(&wallet, 30, 0), [30]);
    assert_eq!(chosen(&wallet, 30, 1), [30, 20]);
    assert_eq!(chosen(&wallet, 40, 10), [30, 20]);
    let error = wallet.plan(&transfer(40), 11, 0).unwrap_err();
    let expected = PxeError::Funds { wanted: 51, fee: 11, spendable: 50, balance: 63 };
    assert_eq!(error.to_string(), expected.to_string());
    assert!(error.to_string().contains("join notes"), "{error}");
    assert!(wallet.plan(&transfer(u64::MAX), 1, 0).is_err(), "no sum wraps");
    wallet.state.notes[0].pending = true;
    assert_eq!(chosen(&wallet, 25, 0), [20, 8]);
    // The account pays: the notes need not.
    let paid = transfer(28).paid_by(FeePayer::Account);
    assert_eq!(wallet.plan(&paid, 100, 100).unwrap().notes_out, 0);
    assert!(matches!(wallet.plan(&paid, 100, 99), Err(PxeError::Fee { .. })));
}

/// Goal: whatever the notes and the order are, a plan spends only notes that it may, what enters equals
/// what leaves, and the refund or the balance after is not below zero at any fee up to the maximum. An
/// order is rejected only if the notes do not cover it.
#[test]
fn a_plan_balances_covers_every_fee_and_touches_no_locked_note() {
    for seed in 0..20_000u64 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut wallet = wallet(2);
        let size: u64 = if rng.gen_bool(0.05) { u64::MAX / 2 } else { 1_000 };
        for i in 0..rng.gen_range(0..7) {
            let mut note = note(rng.gen_range(1..=size), i);
            note.spent_in = rng.gen_bool(0.2).then_some(1);
            note.pending = rng.gen_bool(0.2);
            note.given_back = rng.gen_bool(0.2);
            note.block = rng.gen_range(0..4);
            wallet.state.notes.push(note);
        }
        wallet.proven = rng.gen_range(0..4);
        wallet.spend_pending = rng.gen_bool(0.5);
        let (amount, max_fee) = (rng.gen_range(1..=size), rng.gen_range(1..=size));
        let balance = if rng.gen_bool(0.3) { 0 } else { rng.gen_range(0..=size) };
        let order = match rng.gen_range(0..3) {
            0 => transfer(amount),
            1 => Order::withdraw(EthAddress([1; 20]), amount),
            _ => {
                let deposit = DepositInfo { index: 3, amount };
                let purpose = Purpose::Claim { deposit, keep: rng.gen_bool(0.5) };
                Order { purpose, ..Order::claim(deposit) }
            }
        };
        let payer = if rng.gen_bool(0.5) { FeePayer::Account } else { FeePayer::Notes };
        let order = order.paid_by(payer);
        check_plan(&wallet, &order, max_fee, balance, &format!("seed {seed}"));
    }
}

fn check_plan(wallet: &Wallet, order: &Order, max_fee: u64, balance: u64, at: &str) {
    let may = |note: &OwnedNote| {
        let is_proven = wallet.spend_pending || note.block <= wallet.proven;
        note.spent_in.is_none() && !note.pending && is_proven
    };
    let from_notes = order.fee_payer == FeePayer::Notes;
    let wide = u128::from;
    let (claimed, withdrawn, paid) = match order.purpose {
        Purpose::Transfer { amount, .. } => (0, 0, amount),
        Purpose::Withdraw { amount, .. } => (0, amount, 0),
        Purpose::Claim { deposit, .. } => (deposit.amount, 0, 0),
    };
    let plan = match wallet.plan(order, max_fee, balance) {
        Ok(plan) => plan,
        Err(PxeError::Fee { .. }) => {
            assert!(!from_notes && wide(balance) + wide(claimed) < wide(max_fee), "{at}");
            return;
        }
        Err(error) => {
            assert!(matches!(error, PxeError::Funds { .. }), "{at}: {error}");
            let mut values: Vec<u64> =
                wallet.state.notes.iter().filter(|n| may(n)).map(|n| n.value).collect();
            values.sort_unstable();
            let most: u128 = values.iter().rev().take(2).map(|value| wide(*value)).sum();
            let needed = wide(paid) + wide(withdrawn) + if from_notes { wide(max_fee) } else { 0 };
            assert!(most < needed, "{at}: {most} covers {needed}");
            return;
        }
    };
    assert!(plan.inputs.len() <= 2 && plan.inputs.iter().all(may), "{at}");
    let leaves: std::collections::BTreeSet<u64> =
        plan.inputs.iter().map(|note| note.leaf_index).collect();
    assert_eq!(leaves.len(), plan.inputs.len(), "{at}: a note twice");
    let spent: u128 = plan.inputs.iter().map(|note| wide(note.value)).sum();
    let made: u128 = plan.outputs.iter().map(|(_, value)| wide(*value)).sum();
    assert_eq!(spent + wide(plan.notes_in), made + wide(plan.notes_out), "{at}");
    let to_self: u128 = made - wide(paid);
    assert_eq!(to_self, wide(plan.change) + wide(plan.notes_in), "{at}");
    for fee in [0, 1, max_fee / 2, max_fee] {
        let funds =
            wide(claimed) + wide(plan.notes_out) + if from_notes { 0 } else { wide(balance) };
        let due = wide(fee) + wide(withdrawn) + wide(plan.notes_in);
        assert!(funds >= due, "{at}: {funds} do not cover {due}");
        if from_notes {
            assert_eq!(
                funds - due,
                wide(max_fee - fee),
                "{at}: all that the fee leaves comes back"
            );
        }
    }
}
