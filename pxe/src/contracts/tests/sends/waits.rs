//! Each wait has an end, whatever the node does.

use std::time::Duration;

use rollmill_node_client::wire::method;
use tokio::time::Instant;

use super::*;
use crate::contracts::sync::READ_TIMEOUT;
use crate::serve::ServiceLimits;

async fn waited(harbour: &Harbour, hash: &Fr, stage: CallStage, until: Instant) -> CallState {
    let of = (&*harbour.store, &harbour.node);
    wait(of, (harbour.accounts[0], hash), stage, until, || NOW).await.expect("a state")
}

/// Goal: a wait ends once the stage is reached or the transaction is dropped, long before its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_once_the_transaction_has_come_far_enough_or_is_dropped() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let far = Instant::now() + Duration::from_secs(3600);
    let hash = harbour.sent(0, &harbour.transfer(1, 30)).await;
    harbour.build();
    let included = CallState::Included { block: 2 };
    assert_eq!(waited(&harbour, &hash, CallStage::Included, far).await, included);
    harbour.chain.pool().proven = 2;
    let finalized = CallState::Finalized { block: 2 };
    assert_eq!(waited(&harbour, &hash, CallStage::Proven, far).await, finalized);

    let hash = harbour.sent(0, &harbour.transfer(1, 20)).await;
    harbour.chain.pool().waiting.clear();
    let reason = "the pool is full".to_owned();
    harbour.chain.pool().statuses.insert(hash, TxStatus::Dropped { reason: reason.clone() });
    let dropped = CallState::Dropped { reason };
    assert_eq!(waited(&harbour, &hash, CallStage::Included, far).await, dropped);
}

/// Fault: the node takes a question and never answers. The wait ends with its time all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_time_though_the_node_does_not_answer() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let hash = harbour.sent(0, &harbour.transfer(1, 30)).await;
    harbour.chain.pool().hangs = Some(method::GET_TIPS);
    let over = Instant::now();
    let state = waited(&harbour, &hash, CallStage::Included, over).await;
    assert_eq!(state, CallState::Pending, "what the store knows");
}

/// Fault: a node that keeps a wallet waiting. Reading ends with its time, and the next one reads on.
#[tokio::test(flavor = "multi_thread")]
async fn reading_ends_with_its_time_and_the_next_one_reads_on() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    harbour.build();
    harbour.chain.pool().hangs = Some(method::GET_TIPS);
    let reading = sync::follow_on(&harbour.store, &harbour.node);
    let slow = sync::within(Duration::ZERO, reading).await.expect_err("its time is over");
    assert_eq!(slow.code(), "PXE-090");
    harbour.chain.pool().hangs = None;
    harbour.refresh().await;
    let scope = Scope::default();
    assert_eq!(harbour.store.view(&scope).expect("a view").tip().expect("read"), Some(2));
}

/// Goal: the time of a reading is bounded, and blocks that are read once more, from the first one on, have theirs.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_reading_grows_with_the_blocks_that_are_read_once_more() {
    assert!(READ_TIMEOUT < ServiceLimits::default().answer, "a client is told");
    let harbour = Harbour::new().await;
    let time = || sync::time(&harbour.store).expect("a time");
    assert_eq!(time(), READ_TIMEOUT, "nothing was read");
    harbour.minted(100).await;
    harbour.build();
    harbour.refresh().await;
    assert_eq!(time(), READ_TIMEOUT);
    let late = MasterKeys::generate(&mut rng(9));
    harbour.store.add_keys(&late, "late").expect("an account");
    // Of the 30 s for a request of 16 blocks, each has 2 s, rounded up.
    assert_eq!(time(), READ_TIMEOUT + Duration::from_secs(2 * 2));
    harbour.refresh().await;
    assert_eq!(time(), READ_TIMEOUT);
}
