//! Rules of the sender that no fault of a node brings out, each alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::consensus::Transaction;
use alloy::primitives::B256;
use alloy::providers::Provider;
use rollmill_l1::{
    Expiry, GAS_LIMIT_MAX, L1BlockRef, Right, Seen, SenderConfig, TxRequest, TxSender, TxStatus,
    TxUpdate,
};
use rollmill_l1_testing::pay::{
    Faulty, count, head, included, mine_full, paid, payment, set_block_gas,
};
use rollmill_l1_testing::proxy::Fault;
use rollmill_l1_testing::{Anvil, mine, signer};

async fn without_mining() -> Faulty {
    Faulty::before(Anvil::with(&["--no-mining"])).await
}

async fn status(sender: &TxSender, purpose: &str) -> Option<TxStatus> {
    sender.tick().await.unwrap();
    sender.status(purpose, 0)
}

/// Goal: a transaction counts as expired once its last block is L1's head, and not before: the next
/// block is the first that is too late.
#[test]
fn nothing_can_land_in_its_last_block_once_that_is_there() {
    let head = |number, timestamp| L1BlockRef { number, hash: B256::ZERO, timestamp };
    for (at, is_past) in [(9, false), (10, true), (11, true)] {
        assert_eq!(Expiry::Block(10).is_past(head(at, 0)), is_past, "block {at}");
        assert_eq!(Expiry::Timestamp(10).is_past(head(0, at)), is_past, "second {at}");
    }
}

/// Goal: what a tick could not do is done at the next poll, though L1's head is the same.
#[tokio::test]
async fn a_failed_tick_is_repeated_at_the_same_head() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::LoseTransactions);
    sender.submit(payment("pay", 5)).await.unwrap_err();
    let mut seen = Seen::default();
    sender.tick_if_new(&mut seen).await.unwrap_err();
    test.proxy.set(Fault::None);
    sender.tick_if_new(&mut seen).await.unwrap();
    mine(&test.client, 1).await;
    assert_eq!(paid(&test.client).await, 5);
}

/// Goal: a head that does not change is not processed at each poll, but is processed eventually.
#[tokio::test]
async fn an_unchanged_head_is_polled_again_in_the_end() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::SwallowTransactions);
    sender.submit(payment("pay", 5)).await.unwrap();
    let mut seen = Seen::default();
    sender.tick_if_new(&mut seen).await.unwrap();
    test.proxy.set(Fault::None);
    sender.tick_if_new(&mut seen).await.unwrap();
    assert_eq!(paid(&test.client).await, 0, "the head has just been polled");
    for _ in 0..100 {
        sender.tick_if_new(&mut seen).await.unwrap();
    }
    mine(&test.client, 1).await;
    assert_eq!(paid(&test.client).await, 5);
}

/// Goal: the same request with a later end is worth something for longer.
#[tokio::test]
async fn a_repeated_request_moves_its_end() {
    let test = without_mining().await;
    let sender = test.sender().await;
    let start = head(&test.client).await;
    let until = |last| TxRequest { expires: Some(Expiry::Block(last)), ..payment("pay", 5) };
    sender.submit(until(start + 1)).await.unwrap();
    sender.submit(until(start + 5)).await.unwrap();
    mine_full(&test.client).await;
    assert_eq!(sender.tick().await.unwrap(), []);
    sender.submit(until(start + 2)).await.unwrap();
    mine_full(&test.client).await;
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Dropped { .. }]), "{updates:?}");
}

/// Goal: the same request under a newer fence is sent by that one.
#[tokio::test]
async fn a_repeated_request_moves_its_fence() {
    let test = Faulty::new().await;
    let good = Arc::new(AtomicU64::new(4));
    let now = Arc::clone(&good);
    let is_good = move |fence| match fence == now.load(Ordering::SeqCst) {
        true => Right::Held,
        false => Right::Gone,
    };
    let sender = test.sender().await.guarded(is_good);
    let fenced = |fence| TxRequest { fence: Some(fence), ..payment("prove/1", 5) };
    test.proxy.set(Fault::LoseTransactions);
    sender.submit(fenced(4)).await.unwrap_err();
    test.proxy.set(Fault::None);
    good.store(6, Ordering::SeqCst);
    sender.submit(fenced(6)).await.unwrap();
    sender.tick().await.unwrap();
    mine(&test.client, 1).await;
    assert_eq!(paid(&test.client).await, 5);
    assert_eq!(included(status(&sender, "prove/1").await).nonce, 0);
}

/// Goal: a caller's gas limit above L1's maximum does not make a transaction that every node rejects.
#[tokio::test]
async fn a_gas_limit_is_cut_to_what_l1_takes() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    let request = TxRequest { gas_limit: Some(GAS_LIMIT_MAX + 1), ..payment("pay", 5) };
    sender.submit(request).await.unwrap();
    mine(&test.client, 1).await;
    let receipt = included(status(&sender, "pay").await);
    let tx = test.client.provider().get_transaction_by_hash(receipt.tx_hash).await.unwrap();
    assert_eq!(tx.unwrap().gas_limit(), GAS_LIMIT_MAX);
}

/// Goal: of two payloads of one attempt the status is that of the one in a block, though the other is
/// newer.
#[tokio::test]
async fn the_status_is_that_of_the_payload_that_landed() {
    let test = without_mining().await;
    let sender = test.sender().await;
    sender.submit(payment("pay", 5)).await.unwrap();
    test.proxy.set(Fault::LoseTransactions);
    sender.submit(payment("pay", 7)).await.unwrap_err();
    test.proxy.set(Fault::None);
    mine(&test.client, 1).await;
    assert!(included(status(&sender, "pay").await).succeeded);
    assert_eq!((paid(&test.client).await, count(&test.client, 0).await), (5, 1));
}

/// Goal: a caller does not wait for ever for blocks that leave its transaction out.
#[tokio::test]
async fn a_wait_ends_after_its_blocks() {
    let test = without_mining().await;
    let poll_interval = Duration::from_millis(1);
    let config = SenderConfig { poll_interval, wait_blocks: 2, ..Default::default() };
    let path = test.folder.path().join("waits.json");
    let sender = TxSender::open(test.client.clone(), signer(0), &path, config).await.unwrap();
    set_block_gas(&test.client, 20_000).await;
    let blocks = async {
        for _ in 0..1_000 {
            mine(&test.client, 1).await;
        }
    };
    let error = tokio::select! {
        sent = sender.send(payment("pay", 5)) => sent.unwrap_err(),
        () = blocks => panic!("it still waits"),
    };
    assert!(matches!(error, rollmill_l1::L1Error::NotIncluded { .. }), "{error}");
}

/// Goal: a caller waits for what is written down, though a node rejected it at first.
#[tokio::test]
async fn a_wait_goes_on_after_a_first_rejection() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::RejectTransactions);
    let mut changes = sender.watch();
    changes.mark_unchanged();
    // Written down, then rejected.
    let repair = async {
        for _ in 0..2 {
            changes.changed().await.unwrap();
        }
        test.proxy.set(Fault::None);
    };
    let (sent, ()) = tokio::join!(sender.send(payment("pay", 5)), repair);
    assert!(sent.unwrap().succeeded);
}

/// Goal: a caller waits while no endpoint responds.
#[tokio::test]
async fn a_wait_outlasts_a_silent_endpoint() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::Down);
    let repair = async {
        // More than one request and its repetitions.
        while test.proxy.failed() < 6 {
            tokio::task::yield_now().await;
        }
        test.proxy.set(Fault::None);
        std::future::pending::<()>().await;
    };
    let receipt = tokio::select! {
        sent = sender.send(payment("pay", 5)) => sent.unwrap(),
        () = repair => unreachable!("it never ends"),
    };
    assert!(receipt.succeeded);
}
