//! Transactions in the pool that notes or a deposit pay for, and those whose last slot passes.

use rollmill_protocol::{Fr, Tx, TxRejection};

use super::pool::{at_price, dropped_for, genesis_hash, hashes, is_parked, ready, submit};
use super::support::{self, FEE, body_from_notes, tx, tx_of};
use super::{MemoryL1, Proposer, TestNode, sync};
use crate::{L1Event, PoolError};

/// Goal: transactions that notes pay for share no payer: none is bounded by another.
#[test]
fn transactions_that_notes_pay_for_stand_on_their_own() {
    let genesis = at_price(20);
    let test = TestNode::with(|settings| {
        settings.genesis = genesis.clone();
        settings.pool.payer_txs_max = 1;
    });
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::of(&genesis));
    let anchor = proposer.header.hash();
    let of_notes = |i: u64, refund: u64| {
        let mut tx = tx_of(body_from_notes(i, refund), anchor);
        tx.body.effects.gas.max_fee_per_l2_gas = 100;
        tx
    };
    // The next price of L2 gas is 18.
    let fee = 18 * 100_000 + 2 * 2_000;
    let (rich, also, poor) = (of_notes(0, fee), of_notes(1, fee - FEE), of_notes(2, fee - FEE - 1));
    for tx in [&rich, &also, &poor] {
        submit(&test, tx).unwrap();
    }
    assert_eq!(ready(&test), hashes(&[rich.clone(), also.clone()]));
    assert!(is_parked(&test, &poor, "too little"));
    let too_poor = tx_of(body_from_notes(3, 0), anchor);
    let mut too_poor = too_poor;
    too_poor.body.effects.notes_out = FEE - 1;
    let error = submit(&test, &too_poor).unwrap_err();
    assert!(matches!(error, PoolError::Rejected(TxRejection::ValueTooLow { .. })), "{error}");
    // The price falls with an empty block.
    l1.mine(vec![proposer.event(&[])]);
    sync(&test.node, &l1);
    assert_eq!(test.node.ready_count(), 3);
    l1.mine(vec![L1Event::BlockProposed(proposer.propose(&[rich, poor]))]);
    sync(&test.node, &l1);
    assert_eq!(ready(&test), [also.hash()]);
    assert_eq!(test.restart().node.ready_count(), 1);
}

/// A transaction that claims a deposit of message `index`.
fn claiming(i: u64, anchor: Fr, index: u64, amount: u64) -> Tx {
    let mut tx = tx(i, anchor);
    tx.body.effects.claim_index = index;
    tx.body.effects.claim_amount = amount;
    tx
}

/// Goal: a deposit pays for the transaction that claims it, of one transaction only, and as long as it is there.
#[test]
fn deposits_are_claimed_once_and_only_where_they_are() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    let deposit = proposer.deposit(support::user(0), 500 * FEE);
    l1.mine(vec![deposit]);
    l1.mine(vec![proposer.event(&[])]);
    sync(&test.node, &l1);
    let claim = claiming(0, genesis_hash(), 64, 500 * FEE);
    // Block 2 appends it.
    let error = submit(&test, &claim).unwrap_err();
    assert!(matches!(error, PoolError::Rejected(TxRejection::ClaimUnknown { index: 64 })));
    l1.mine(vec![proposer.event(&[])]);
    sync(&test.node, &l1);
    for (wrong, i) in
        [(claiming(0, genesis_hash(), 64, FEE), 64), (claiming(0, genesis_hash(), 65, FEE), 65)]
    {
        let error = submit(&test, &wrong).unwrap_err();
        let is_unknown = |index: u64| index == i;
        assert!(
            matches!(error, PoolError::Rejected(TxRejection::ClaimUnknown { index }) if is_unknown(index))
        );
    }
    submit(&test, &claim).unwrap();
    // Other notes and the same deposit: a conflict like that of a nullifier.
    let rival = claiming(4, genesis_hash(), 64, 500 * FEE);
    let (error, other) = (submit(&test, &rival).unwrap_err(), claim.hash());
    assert!(matches!(error, PoolError::Conflict { other: got, .. } if got == other), "{error}");

    // A branch in which the deposit is not taken yet.
    let mut without = l1.fork(2);
    without.mine_empty(2);
    sync(&test.node, &without);
    assert!(is_parked(&test, &claim, "the deposit"));
    let test = test.restart();
    assert!(is_parked(&test, &claim, "the deposit"));
    sync(&test.node, &l1);
    assert_eq!(ready(&test), [claim.hash()]);

    l1.mine(vec![L1Event::BlockProposed(proposer.propose(std::slice::from_ref(&rival)))]);
    sync(&test.node, &l1);
    assert!(dropped_for(&test, &claim).starts_with("a block published nullifier"));
    let error = submit(&test, &claim).unwrap_err();
    assert!(matches!(error, PoolError::Rejected(TxRejection::ClaimSpent { index: 64 })), "{error}");
}

/// Goal: nothing is offered to a builder whose last slot has passed, by blocks or by L1's time.
#[test]
fn transactions_leave_when_their_last_slot_has_passed() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    sync(&test.node, &l1);
    let until = |i: u64, slot: u64| {
        let mut tx = tx(i, genesis_hash());
        tx.body.effects.expiry_slot = slot;
        tx
    };
    let (first, third, tenth) = (until(0, 1), until(1, 3), until(2, 10));
    for tx in [&first, &third, &tenth] {
        submit(&test, tx).unwrap();
    }
    // The block of slot 1; L1 is in slot 1 as well.
    l1.mine(vec![proposer.event(&[])]);
    sync(&test.node, &l1);
    assert!(dropped_for(&test, &first).starts_with("slot 1, the last"));
    assert_eq!(ready(&test), hashes(&[third.clone(), tenth.clone()]));
    // Slots 2, 3 and 4 without a block.
    l1.mine_empty(2);
    sync(&test.node, &l1);
    assert_eq!(test.node.ready_count(), 2);
    l1.mine_empty(1);
    sync(&test.node, &l1);
    assert!(dropped_for(&test, &third).starts_with("slot 3, the last"));
    assert_eq!(ready(&test), [tenth.hash()]);
    let error = submit(&test, &third).unwrap_err();
    assert!(matches!(error, PoolError::Rejected(TxRejection::Expired { expiry: 3, slot: 4 })));
}
