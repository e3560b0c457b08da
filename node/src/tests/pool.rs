//! The pool: what it takes, keeps, puts back and lets go.

use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::{Fr, Tx, TxRejection};

use super::support::{self, FEE, tx, value};
use super::{MemoryL1, Proposer, TestNode, sync};
use crate::{L1Event, PoolError, PoolLimits};

fn genesis_hash() -> Fr {
    support::start().0.hash()
}

fn submit(test: &TestNode, tx: &Tx) -> Result<Fr, PoolError> {
    test.node.submit(&tx.to_bytes())
}

/// Transactions `ids`, anchored in genesis, as the next block of `proposer`.
fn block(proposer: &mut Proposer, ids: &[u64]) -> L1Event {
    let txs: Vec<Tx> = ids.iter().map(|i| tx(*i, genesis_hash())).collect();
    L1Event::BlockProposed(proposer.propose(&txs))
}

fn waiting(test: &TestNode) -> Vec<Fr> {
    test.node.pending_txs(100).iter().map(|tx| tx.hash()).collect()
}

fn status(test: &TestNode, tx: &Tx) -> TxStatus {
    test.node.transaction_status(&tx.hash()).unwrap()
}

#[test]
fn good_transactions_wait_in_the_order_of_arrival_and_survive_a_restart() {
    let test = TestNode::new();
    let txs: Vec<Tx> = [3, 1, 2].map(|i| tx(i, genesis_hash())).to_vec();
    for tx in &txs {
        assert_eq!(submit(&test, tx).unwrap(), tx.hash());
        assert_eq!(submit(&test, tx).unwrap(), tx.hash());
    }
    let order: Vec<Fr> = txs.iter().map(Tx::hash).collect();
    assert_eq!(waiting(&test), order);
    let test = test.restart();
    assert_eq!(waiting(&test), order);
    assert_eq!(test.node.pending_count(), 3);
    assert_eq!(status(&test, &txs[0]), TxStatus::Pending);
    assert_eq!(*test.node.transaction(&order[1]).unwrap(), txs[1]);
    assert_eq!(status(&test, &tx(9, genesis_hash())), TxStatus::Unknown);
    submit(&test, &tx(4, genesis_hash())).unwrap();
    assert_eq!(waiting(&test)[3], tx(4, genesis_hash()).hash());
}

#[test]
fn transactions_that_break_a_rule_are_refused_with_its_code() {
    let test = TestNode::new();
    let good = || tx(0, genesis_hash());
    type Case = (&'static str, fn(&mut Tx));
    let changes: [Case; 8] = [
        ("NODE-021: PRO-021", |tx| tx.chain_id = 1),
        ("NODE-021: PRO-022", |tx| tx.version = 7),
        ("NODE-021: PRO-023", |tx| tx.anchor_header_hash = Fr::from(5u64)),
        ("NODE-021: PRO-024", |tx| tx.effects.gas.max_fee_per_l2_gas = 1),
        ("NODE-021: PRO-025", |tx| tx.effects.gas.l2_gas_limit = 1),
        ("NODE-021: PRO-030", |tx| tx.effects.fee_payer = Fr::from(5u64)),
        ("NODE-020: PRO-007", |tx| tx.effects.messages[0] = Fr::from(5u64)),
        ("NODE-022", |tx| tx.client_proof[0] = 8),
    ];
    for (code, change) in changes {
        let mut tx = good();
        change(&mut tx);
        let refused = submit(&test, &tx).unwrap_err().to_string();
        assert!(refused.starts_with(code), "{refused} is not {code}");
    }
    assert!(matches!(test.node.submit(b""), Err(PoolError::Malformed(_))));
    let huge = vec![1; 1 << 20];
    assert!(matches!(test.node.submit(&huge), Err(PoolError::TooLarge { .. })));
    // What is taken after a change is another transaction, which its proof must vouch for.
    let bytes = good().to_bytes();
    for at in (0..bytes.len()).step_by(29) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        if test.node.submit(&bytes).is_ok() {
            assert_ne!(Tx::from_bytes(&bytes).unwrap(), good(), "byte {at}");
        }
    }
}

#[test]
fn a_nullifier_that_waits_or_was_published_is_refused() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    submit(&test, &tx(0, genesis_hash())).unwrap();
    let mut rival = tx(1, genesis_hash());
    rival.effects.nullifiers[1] = value(2, 0);
    let refused = submit(&test, &rival).unwrap_err();
    assert!(
        matches!(refused, PoolError::Conflict { other, .. } if other == tx(0, genesis_hash()).hash())
    );
    l1.mine(vec![block(&mut proposer, &[0])]);
    sync(&test.node, &l1);
    let refused = submit(&test, &rival).unwrap_err();
    assert!(matches!(refused, PoolError::Rejected(TxRejection::NullifierSpent { .. })));
}

#[test]
fn a_payer_cannot_promise_more_than_its_balance() {
    let test = TestNode::new();
    // A hundred fees are there; every fourth transaction has this payer.
    for i in 0..100 {
        submit(&test, &tx(4 * i, genesis_hash())).unwrap();
    }
    let refused = submit(&test, &tx(400, genesis_hash())).unwrap_err();
    let expected = u128::from(FEE) * 101;
    assert!(matches!(refused, PoolError::PayerOvercommitted { needed, .. } if needed == expected));
    submit(&test, &tx(401, genesis_hash())).unwrap();
}

#[test]
fn a_full_pool_refuses() {
    let test = TestNode::with(|settings| {
        settings.pool = PoolLimits { txs_max: 2, ..PoolLimits::default() };
    });
    submit(&test, &tx(0, genesis_hash())).unwrap();
    submit(&test, &tx(1, genesis_hash())).unwrap();
    let refused = submit(&test, &tx(2, genesis_hash())).unwrap_err();
    assert!(matches!(refused, PoolError::Full { max: 2 }));
}

/// Goal: whoever proves a block finds its client proofs until the proof cannot be taken back.
#[test]
fn client_proofs_are_kept_until_the_blocks_proof_is_final() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    let (first, second) = (tx(0, genesis_hash()), tx(1, genesis_hash()));
    submit(&test, &first).unwrap();
    submit(&test, &second).unwrap();
    l1.mine(vec![block(&mut proposer, &[0])]);
    sync(&test.node, &l1);
    assert_eq!(status(&test, &first), TxStatus::Included { block_number: 1, index: 0 });
    assert_eq!(waiting(&test), [second.hash()]);
    assert!(test.node.transaction(&first.hash()).is_some());

    l1.mine(vec![L1Event::EpochProven { last_block: 1 }]);
    sync(&test.node, &l1);
    assert_eq!(status(&test, &first), TxStatus::Proven { block_number: 1, index: 0 });
    assert!(test.node.transaction(&first.hash()).is_some());
    let test = test.restart();
    assert!(test.node.transaction(&first.hash()).is_some());

    l1.mine_empty(64);
    sync(&test.node, &l1);
    assert!(test.node.transaction(&first.hash()).is_none());
    assert_eq!(status(&test, &first), TxStatus::Proven { block_number: 1, index: 0 });
    let test = test.restart();
    assert!(test.node.transaction(&first.hash()).is_none());
    assert_eq!(waiting(&test), [second.hash()]);
}

#[test]
fn transactions_of_blocks_that_a_reorganisation_took_back_wait_again() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    let txs: Vec<Tx> = (0..4).map(|i| tx(i, genesis_hash())).collect();
    for tx in &txs {
        submit(&test, tx).unwrap();
    }
    let hashes: Vec<Fr> = txs.iter().map(Tx::hash).collect();
    l1.mine(vec![block(&mut proposer, &[1, 3])]);
    sync(&test.node, &l1);
    assert_eq!(waiting(&test), [hashes[0], hashes[2]]);

    // The other branch includes one of them, and something that conflicts with another.
    let mut other = l1.fork(0);
    let mut fork = Proposer::new();
    let mut rival = tx(9, genesis_hash());
    rival.effects.nullifiers[2] = txs[2].effects.nullifiers[0];
    let included = vec![tx(3, genesis_hash()), rival];
    other.mine(vec![L1Event::BlockProposed(fork.propose(&included))]);
    sync(&test.node, &other);
    assert_eq!(waiting(&test), [hashes[0], hashes[1]]);
    assert_eq!(status(&test, &txs[3]), TxStatus::Included { block_number: 1, index: 0 });
    let TxStatus::Dropped { reason } = status(&test, &txs[2]) else { panic!("dropped") };
    assert!(reason.starts_with("a block published nullifier"), "{reason}");
    // A prune puts back in the same way.
    other.mine(vec![L1Event::Pruned { proven_tip: 0 }]);
    sync(&test.node, &other);
    assert_eq!(waiting(&test), [hashes[0], hashes[1], hashes[3]]);
}

#[test]
fn transactions_that_waited_too_long_are_dropped() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::with(|settings| settings.pool.age_blocks_max = 2);
    let old = tx(0, genesis_hash());
    submit(&test, &old).unwrap();
    for expected in [1, 1, 0] {
        l1.mine(vec![block(&mut proposer, &[])]);
        sync(&test.node, &l1);
        assert_eq!(test.node.pending_count(), expected);
    }
    let TxStatus::Dropped { reason } = status(&test, &old) else { panic!("dropped") };
    assert_eq!(reason, "it waited for more than 2 blocks");
}

#[test]
fn a_transaction_fetched_from_elsewhere_is_kept_only_with_its_block_and_proof() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    l1.mine(vec![block(&mut proposer, &[0])]);
    sync(&test.node, &l1);
    let included = tx(0, genesis_hash());
    let mut forged = included.clone();
    forged.client_proof = vec![1];
    assert!(matches!(test.node.keep_included(forged), Err(PoolError::Proof { .. })));
    let elsewhere = test.node.keep_included(tx(1, genesis_hash()));
    assert!(matches!(elsewhere, Err(PoolError::Proof { .. })));
    test.node.keep_included(included.clone()).unwrap();
    test.node.keep_included(included.clone()).unwrap();
    assert_eq!(*test.node.transaction(&included.hash()).unwrap(), included);
    assert_eq!(test.node.pending_count(), 0);
}
