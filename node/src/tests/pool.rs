//! The pool: what it accepts, orders, parks, keeps, restores and drops. What else than a balance pays: `payment.rs`.

use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::{Fr, Genesis, Pair, ProofKind, Tx, TxRejection};

use super::support::{self, FEE, tx, value};
use super::{L1_SECONDS, MemoryL1, Proposer, TestNode, sync};
use crate::{L1Event, PoolError};

pub(super) fn genesis_hash() -> Fr {
    support::start().0.hash()
}

pub(super) fn submit(test: &TestNode, tx: &Tx) -> Result<Fr, PoolError> {
    test.node.submit(&tx.to_bytes())
}

/// Transaction `i`, which allows `max` for a unit of either kind of gas.
fn offering(i: u64, max: u64) -> Tx {
    let mut tx = tx(i, genesis_hash());
    tx.body.effects.gas.max_fee_per_l2_gas = max;
    tx.body.effects.gas.max_fee_per_da_gas = max;
    tx
}

/// A deployment whose price of L2 gas is `price` before its first block, and falls by up to an eighth with each.
pub(super) fn at_price(price: u64) -> Genesis {
    Genesis { fee_per_l2_gas: price, ..support::genesis() }
}

fn node_of(genesis: &Genesis) -> TestNode {
    TestNode::with(|settings| settings.genesis = genesis.clone())
}

/// [`offering`], anchored in the genesis of `test`.
fn offering_in(test: &TestNode, i: u64, max: u64) -> Tx {
    Tx { anchor_header_hash: test.node.genesis_header().hash(), ..offering(i, max) }
}

/// Transactions `ids`, anchored in genesis, as the next block of `proposer`.
pub(super) fn block(proposer: &mut Proposer, ids: &[u64]) -> L1Event {
    let txs: Vec<Tx> = ids.iter().map(|i| tx(*i, genesis_hash())).collect();
    L1Event::BlockProposed(proposer.propose(&txs))
}

pub(super) fn ready(test: &TestNode) -> Vec<Fr> {
    test.node.ready_txs().iter().map(|tx| tx.hash()).collect()
}

pub(super) fn hashes(txs: &[Tx]) -> Vec<Fr> {
    txs.iter().map(Tx::hash).collect()
}

fn status(test: &TestNode, tx: &Tx) -> TxStatus {
    test.node.transaction_status(&tx.hash()).unwrap()
}

pub(super) fn is_parked(test: &TestNode, tx: &Tx, why: &str) -> bool {
    matches!(status(test, tx), TxStatus::Pending { parked: Some(reason) } if reason.contains(why))
}

pub(super) fn dropped_for(test: &TestNode, tx: &Tx) -> String {
    match status(test, tx) {
        TxStatus::Dropped { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_transactions_wait_best_offer_first_and_survive_a_restart() {
    let test = TestNode::new();
    let txs = [offering(3, 10), offering(1, 12), offering(2, 10), offering(5, 11)];
    for tx in &txs {
        assert_eq!(submit(&test, tx).unwrap(), tx.hash());
        assert_eq!(submit(&test, tx).unwrap(), tx.hash());
    }
    let order = hashes(&[1, 3, 0, 2].map(|i: usize| txs[i].clone()));
    assert_eq!(ready(&test), order);
    let test = test.restart();
    assert_eq!(ready(&test), order);
    assert_eq!(test.node.ready_count(), 4);
    assert_eq!(status(&test, &txs[0]), TxStatus::Pending { parked: None });
    assert_eq!(*test.node.transaction(&order[0]).unwrap().unwrap(), txs[1]);
    assert_eq!(status(&test, &tx(9, genesis_hash())), TxStatus::Unknown);
    // Offers as good as the best: after it.
    submit(&test, &offering(4, 12)).unwrap();
    assert_eq!(ready(&test)[1], offering(4, 12).hash());
}

#[test]
fn transactions_that_break_a_rule_are_rejected_with_its_code() {
    let test = TestNode::new();
    let good = || tx(0, genesis_hash());
    type Case = (&'static str, &'static str, fn(&mut Tx));
    let changes: [Case; 13] = [
        ("NODE-021", "PRO-021", |tx| tx.chain_id = 1),
        ("NODE-021", "PRO-022", |tx| tx.version = 7),
        ("NODE-021", "PRO-023", |tx| tx.anchor_header_hash = Fr::from(5u64)),
        // No block is ever cheaper than 2.
        ("NODE-021", "PRO-024", |tx| tx.body.effects.gas.max_fee_per_l2_gas = 1),
        ("NODE-021", "PRO-025", |tx| tx.body.effects.gas.l2_gas_limit = 1),
        // More than a block may use.
        ("NODE-021", "PRO-033", |tx| {
            tx.body.effects.gas.l2_teardown_gas_limit = 3_200_000;
            tx.body.effects.gas.l2_gas_limit = 3_300_000;
        }),
        // The first slot after genesis is 1.
        ("NODE-021", "PRO-034", |tx| tx.body.effects.expiry_slot = 0),
        ("NODE-021", "PRO-035", |tx| tx.body.effects.claim_amount = 5),
        // An address that has nothing.
        ("NODE-021", "PRO-037", |tx| tx.body.effects.fee_payer = Fr::from(5u64)),
        ("NODE-020", "PRO-110", |tx| tx.body.effects.fee_payer = Fr::from(0u64)),
        ("NODE-022", "", |tx| tx.proof_kind = ProofKind::PrivateTail),
        ("NODE-022", "", |tx| tx.client_proof[0] = 8),
        ("NODE-020", "PRO-007", |tx| tx.pair = Pair { s_l: Fr::from(2u64), ..tx.pair }),
    ];
    for (code, cause, change) in changes {
        let mut tx = good();
        change(&mut tx);
        let refused = submit(&test, &tx).unwrap_err();
        let own = match &refused {
            PoolError::Rejected(cause) => cause.code(),
            PoolError::Malformed(cause) => cause.code(),
            _ => "",
        };
        assert_eq!((refused.code(), own), (code, cause), "{refused}");
        let text = refused.to_string();
        assert!(text.starts_with(code) && !text.contains("PRO-"), "two codes: {text}");
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
fn a_nullifier_that_waits_is_taken_again_for_a_tenth_more_and_one_that_was_published_is_not() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    let first = offering(0, 10);
    submit(&test, &first).unwrap();
    let rival = |l2, da| {
        let mut rival = offering(1, 10);
        rival.body.effects.nullifiers[1] = value(2, 0);
        rival.body.effects.gas.max_fee_per_l2_gas = l2;
        rival.body.effects.gas.max_fee_per_da_gas = da;
        rival
    };
    for (l2, da) in [(10, 10), (100, 10), (10, 100), (11, 10)] {
        let error = submit(&test, &rival(l2, da)).unwrap_err();
        let expected = first.hash();
        assert!(matches!(error, PoolError::Conflict { other, .. } if other == expected));
    }
    let better = rival(11, 11);
    submit(&test, &better).unwrap();
    assert_eq!(ready(&test), [better.hash()]);
    assert!(dropped_for(&test, &first).ends_with("replaced it"));
    let test = test.restart();
    assert_eq!(ready(&test), [better.hash()]);

    l1.mine(vec![block(&mut proposer, &[0])]);
    sync(&test.node, &l1);
    assert_eq!(ready(&test), [] as [Fr; 0]);
    let error = submit(&test, &rival(100, 100)).unwrap_err();
    assert!(matches!(error, PoolError::Rejected(TxRejection::NullifierSpent { .. })));
}

#[test]
fn a_payer_cannot_promise_more_than_its_balance() {
    let test = TestNode::new();
    // Every fourth transaction has this payer, whose balance is a hundred fees.
    for i in 0..100 {
        submit(&test, &tx(4 * i, genesis_hash())).unwrap();
    }
    let error = submit(&test, &tx(400, genesis_hash())).unwrap_err();
    let expected = u128::from(101 * FEE);
    assert!(matches!(error, PoolError::PayerOvercommitted { needed, .. } if needed == expected));
    // What takes value out of notes brings its fee along.
    let mut brings = tx(404, genesis_hash());
    brings.body.effects.notes_out = FEE;
    submit(&test, &brings).unwrap();
    let mut withdraws = tx(401, genesis_hash());
    withdraws.body.effects.withdraw_recipient = rollmill_protocol::EthAddress([1; 20]);
    withdraws.body.effects.withdraw_amount = 99 * FEE;
    submit(&test, &withdraws).unwrap();
    let error = submit(&test, &tx(405, genesis_hash())).unwrap_err();
    assert!(matches!(error, PoolError::PayerOvercommitted { needed, .. } if needed == expected));
}

/// Goal: one payer has its share of the pool, in which better offers replace worse ones.
#[test]
fn one_payer_cannot_fill_the_pool() {
    let test = TestNode::with(|settings| settings.pool.payer_txs_max = 3);
    let of_one = |i: u64, max| offering(4 * i, max);
    for i in 0..3 {
        submit(&test, &of_one(i, 10 + i)).unwrap();
    }
    let error = submit(&test, &of_one(3, 10)).unwrap_err();
    assert!(matches!(error, PoolError::PayerFull { max: 3 }), "{error}");
    submit(&test, &offering(1, 10)).unwrap();
    submit(&test, &of_one(3, 20)).unwrap();
    assert!(dropped_for(&test, &of_one(0, 10)).contains("offer more"));
    assert_eq!(test.node.ready_count(), 4);
}

/// Goal: a pool full of transactions at the least price keeps no better one out, and takes no more
/// of the same.
#[test]
fn a_full_pool_lets_the_worst_go_for_a_better_one() {
    let test = TestNode::with(|settings| settings.pool.txs_max = 8);
    for i in 0..8 {
        submit(&test, &offering(i, 5)).unwrap();
    }
    let error = submit(&test, &offering(8, 5)).unwrap_err();
    assert!(matches!(error, PoolError::Full { max: 8, .. }), "{error}");
    for i in 0..8 {
        submit(&test, &offering(100 + i, 6)).unwrap();
        assert_eq!(test.node.ready_count(), 8);
    }
    // The newest of the worst went first.
    assert!(dropped_for(&test, &offering(7, 5)).contains("the pool is full"));
    let test = test.restart();
    assert_eq!(ready(&test), (0..8).map(|i| offering(100 + i, 6).hash()).collect::<Vec<_>>());
    assert!(submit(&test, &offering(0, 5)).is_err());
}

#[test]
fn the_bytes_of_a_pool_are_bounded_too() {
    let size = offering(0, 5).to_bytes().len();
    let test = TestNode::with(|settings| settings.pool.bytes_max = 3 * size);
    for i in 0..3 {
        submit(&test, &offering(i, 5)).unwrap();
    }
    assert!(matches!(submit(&test, &offering(3, 5)), Err(PoolError::Full { .. })));
    submit(&test, &offering(4, 6)).unwrap();
    assert_eq!(test.node.ready_count(), 3);
}

/// Goal: an offer is worth no more than its payer has, so that a bid beyond it buys nothing.
#[test]
fn an_offer_beyond_the_payers_balance_counts_as_the_balance() {
    let test = TestNode::new();
    let boast = offering(0, u64::MAX);
    let rich = offering(1, 300);
    submit(&test, &boast).unwrap();
    submit(&test, &rich).unwrap();
    // The payers have equal balances: the earlier one is first, whatever it offers.
    let mut bolder = offering(2, u64::MAX);
    bolder.body.effects.gas.max_fee_per_da_gas = u64::MAX - 1;
    submit(&test, &bolder).unwrap();
    assert_eq!(ready(&test), hashes(&[boast, rich, bolder]));
}

/// Goal: a transaction that no block can contain at its price is out of the builder's view, wakes the
/// empty blocks that lower the price, and comes back.
#[test]
fn transactions_below_the_price_are_parked_and_come_back() {
    let genesis = at_price(100);
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::of(&genesis));
    let test = node_of(&genesis);
    assert_eq!(test.node.next_price().unwrap().l2, 88);
    let (low, high) = (offering_in(&test, 0, 10), offering_in(&test, 1, 80));
    submit(&test, &low).unwrap();
    submit(&test, &high).unwrap();
    assert_eq!(test.node.ready_count(), 0);
    assert!(test.node.is_priced_out().unwrap());
    let test = test.restart();
    assert!(is_parked(&test, &low, "prices are above"));

    l1.mine(vec![proposer.event(&[])]);
    sync(&test.node, &l1);
    assert_eq!(test.node.next_price().unwrap().l2, 77);
    assert_eq!(ready(&test), [high.hash()]);
    assert!(is_parked(&test, &low, "prices are above"));
    assert!(!test.node.is_priced_out().unwrap(), "one can be taken");

    while test.node.next_price().unwrap().l2 > 10 {
        assert!(is_parked(&test, &low, "prices are above"));
        l1.mine(vec![proposer.event(&[])]);
        sync(&test.node, &l1);
    }
    assert_eq!(ready(&test), hashes(&[high, low]));
}

#[test]
fn transactions_that_their_payer_cannot_pay_are_parked_and_come_back() {
    let genesis = at_price(100);
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::of(&genesis));
    let test = node_of(&genesis);
    let txs = [0, 4].map(|i| offering_in(&test, i, 150 + i));
    for tx in &txs {
        submit(&test, tx).unwrap();
    }
    // A payer has 20.4 million, and a transaction costs 8.8 million.
    assert_eq!(test.node.ready_count(), 2);
    let before = l1.clone();
    // Another transaction of that payer, which the pool never had. The next one costs 7.8 million.
    let spent = [offering_in(&test, 40, 100)];
    l1.mine(vec![L1Event::BlockProposed(proposer.propose(&spent))]);
    sync(&test.node, &l1);
    // Both offer more than the payer has, so that the earlier one is first.
    assert_eq!(ready(&test), [txs[0].hash()]);
    assert!(is_parked(&test, &txs[1], "too little"));
    let mut other = before.fork(0);
    other.mine_empty(1);
    sync(&test.node, &other);
    assert_eq!(test.node.ready_count(), 2);
}

/// Goal: a transaction whose anchor a reorganisation removed is not a candidate, and waits.
#[test]
fn transactions_without_their_anchor_are_parked() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    l1.mine(vec![block(&mut proposer, &[])]);
    sync(&test.node, &l1);
    let anchored = tx(0, proposer.header.hash());
    submit(&test, &anchored).unwrap();
    let mut other = l1.fork(0);
    other.mine_empty(2);
    sync(&test.node, &other);
    assert_eq!(test.node.ready_count(), 0);
    assert!(is_parked(&test, &anchored, "anchor"));
    // Lower prices do not help it.
    assert!(!test.node.is_priced_out().unwrap());
    sync(&test.node, &l1);
    assert_eq!(ready(&test), [anchored.hash()]);
}

/// Goal: a transaction that can no longer be included releases its notes. Its anchor may come back
/// until L1 has finalized a chain without it.
#[test]
fn a_transaction_whose_anchor_is_gone_for_good_is_dropped() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    l1.mine(vec![block(&mut proposer, &[])]);
    sync(&test.node, &l1);
    let (anchored, other) = (tx(0, proposer.header.hash()), tx(1, genesis_hash()));
    submit(&test, &anchored).unwrap();
    submit(&test, &other).unwrap();
    l1.mine(vec![L1Event::Pruned { proven_tip: 0 }]);
    l1.mine_empty(63);
    sync(&test.node, &l1);
    assert!(is_parked(&test, &anchored, "anchor"));
    l1.mine_empty(64);
    sync(&test.node, &l1);
    let reason = dropped_for(&test, &anchored);
    assert!(reason.contains("without the block that it is anchored in"), "{reason}");
    assert_eq!(ready(&test), [other.hash()]);
    assert_eq!(test.restart().node.ready_count(), 1);
}

/// Goal: a prover finds a block's client proofs until no reorganisation can remove its proof.
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
    assert_eq!(ready(&test), [second.hash()]);
    let has = |test: &TestNode| test.node.transaction(&first.hash()).unwrap().is_some();
    assert!(has(&test));

    l1.mine(vec![L1Event::EpochProven { last_block: 1 }]);
    sync(&test.node, &l1);
    assert_eq!(status(&test, &first), TxStatus::Proven { block_number: 1, index: 0 });
    assert!(has(&test));
    let test = test.restart();
    assert!(has(&test));

    l1.mine_empty(64);
    sync(&test.node, &l1);
    assert!(!has(&test));
    assert_eq!(status(&test, &first), TxStatus::Proven { block_number: 1, index: 0 });
    let test = test.restart();
    assert!(!has(&test));
    assert_eq!(ready(&test), [second.hash()]);
}

/// Goal: a proving outage fills no pool: included transactions are outside its bounds.
#[test]
fn included_transactions_take_no_place_of_waiting_ones() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::with(|settings| {
        (settings.pool.txs_max, settings.pool.payer_txs_max) = (2, 1);
    });
    for i in 0..40 {
        submit(&test, &tx(i, genesis_hash())).unwrap();
        l1.mine(vec![block(&mut proposer, &[i])]);
        sync(&test.node, &l1);
    }
    for i in 0..40 {
        assert!(test.node.transaction(&tx(i, genesis_hash()).hash()).unwrap().is_some());
    }
    assert_eq!(test.node.tips().verified.block_number, 40);
}

#[test]
fn transactions_of_blocks_that_a_reorganisation_took_back_wait_again() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    let txs: Vec<Tx> = (0..4).map(|i| tx(i, genesis_hash())).collect();
    for tx in &txs {
        submit(&test, tx).unwrap();
    }
    let hashes = hashes(&txs);
    l1.mine(vec![block(&mut proposer, &[1, 3])]);
    sync(&test.node, &l1);
    assert_eq!(ready(&test), [hashes[0], hashes[2]]);
    // Also one that was killed before its pool had followed.
    let test = test.restart();

    // The other branch includes one of them, and something that conflicts with another.
    let mut other = l1.fork(0);
    let mut fork = Proposer::new();
    let mut rival = tx(9, genesis_hash());
    rival.body.effects.nullifiers[2] = txs[2].body.effects.nullifiers[0];
    let included = vec![tx(3, genesis_hash()), rival];
    other.mine(vec![L1Event::BlockProposed(fork.propose(&included))]);
    sync(&test.node, &other);
    assert_eq!(ready(&test), [hashes[0], hashes[1]]);
    assert_eq!(status(&test, &txs[3]), TxStatus::Included { block_number: 1, index: 0 });
    let reason = dropped_for(&test, &txs[2]);
    assert!(reason.starts_with("a block published nullifier"), "{reason}");
    // A prune restores transactions in the same way.
    other.mine(vec![L1Event::Pruned { proven_tip: 0 }]);
    sync(&test.node, &other);
    assert_eq!(ready(&test), [hashes[0], hashes[1], hashes[3]]);
    let test = test.restart();
    assert_eq!(ready(&test), [hashes[0], hashes[1], hashes[3]]);
}

/// Goal: transactions that a reorganisation restores respect the limits.
#[test]
fn more_than_fits_is_put_back_by_a_reorganisation() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::with(|settings| settings.pool.txs_max = 2);
    for i in 0..4 {
        submit(&test, &offering(i, 10 + i)).unwrap();
        let included = vec![offering(i, 10 + i)];
        l1.mine(vec![L1Event::BlockProposed(proposer.propose(&included))]);
        sync(&test.node, &l1);
    }
    let mut other = l1.fork(0);
    other.mine_empty(1);
    sync(&test.node, &other);
    assert_eq!(ready(&test), hashes(&[offering(3, 13), offering(2, 12)]));
    let test = test.restart();
    assert_eq!(ready(&test), hashes(&[offering(3, 13), offering(2, 12)]));
}

/// Goal: age is L1's time, so that it passes although no block is built.
#[test]
fn transactions_that_waited_too_long_are_dropped() {
    let mut l1 = MemoryL1::new();
    let test = TestNode::with(|settings| settings.pool.age_seconds_max = 2 * L1_SECONDS);
    let old = tx(0, genesis_hash());
    // While the node is behind, however far, it is not L1's time that passes.
    submit(&test, &old).unwrap();
    l1.mine_empty(100);
    for expected in [1, 1, 1, 0] {
        sync(&test.node, &l1);
        assert_eq!(test.node.ready_count(), expected);
        l1.mine_empty(1);
    }
    assert_eq!(dropped_for(&test, &old), "it waited for more than 24 s");
    // Its nullifiers are free again.
    submit(&test, &old).unwrap();
    assert_eq!(test.restart().node.ready_count(), 1);
}

/// Goal: what comes to a node that has followed L1 is as old after a restart as before.
#[test]
fn age_is_kept_over_a_restart() {
    let mut l1 = MemoryL1::new();
    let test = TestNode::with(|settings| settings.pool.age_seconds_max = 2 * L1_SECONDS);
    l1.mine_empty(5);
    sync(&test.node, &l1);
    submit(&test, &tx(0, genesis_hash())).unwrap();
    l1.mine_empty(2);
    let test = test.restart();
    for expected in [1, 0] {
        sync(&test.node, &l1);
        assert_eq!(test.node.ready_count(), expected);
        l1.mine_empty(1);
    }
}

/// Goal: a transaction that is included when it would be too old is included.
#[test]
fn an_included_transaction_does_not_grow_old() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::with(|settings| settings.pool.age_seconds_max = L1_SECONDS);
    let old = tx(0, genesis_hash());
    sync(&test.node, &l1);
    submit(&test, &old).unwrap();
    sync(&test.node, &l1);
    l1.mine_empty(5);
    l1.mine(vec![block(&mut proposer, &[0])]);
    sync(&test.node, &l1);
    assert_eq!(status(&test, &old), TxStatus::Included { block_number: 1, index: 0 });
    assert_eq!(test.node.tips().unverified(), None);
}
