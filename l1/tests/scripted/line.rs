//! Several transactions in a queue: which are sent, wait, are filled or lose their nonces.

use alloy::consensus::Transaction as _;
use alloy::primitives::U256;
use rollmill_l1::{Right, TxUpdate};

use crate::{
    REVERTS, call, fenced, guarded, is_pending, mine_included, start, submit_unsent, until,
};
use rollmill_l1_testing::fake::{Broadcast, STRANGE};
use rollmill_l1_testing::pay::{included, payment};

#[tokio::test]
async fn a_gap_in_the_line_is_filled() {
    let (fake, sender) = start().await;
    sender.submit(payment("first", 5)).await.unwrap();
    fake.l1().mine();
    fake.l1().finalized = 1;
    sender.tick().await.unwrap();
    sender.submit(payment("second", 7)).await.unwrap();
    // L1 replaces even what was final; the first payment is gone.
    fake.l1().replace(1);
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().nonces(), [0, 1, 0]);
    mine_included(&fake, &sender, "second", 1).await;
}

#[tokio::test]
async fn a_node_that_forgets_the_nonce_costs_few_fills() {
    let (fake, sender) = start().await;
    fake.l1().used_before = 200;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().used_before = 0;
    sender.tick().await.unwrap();
    let fills = fake.l1().sent.len() - 1;
    assert!((1..=32).contains(&fills), "{fills} fills");
}

#[tokio::test]
async fn nothing_follows_what_cannot_be_polled() {
    let (fake, sender) = start().await;
    submit_unsent(&fake, &sender, [call("first"), call("second")]).await;
    fake.l1().gas = Err(STRANGE);
    sender.tick().await.unwrap_err();
    assert!(fake.l1().sent.is_empty());
}

#[tokio::test]
async fn one_that_cannot_be_polled_does_not_delay_the_others() {
    let (fake, sender) = start().await;
    submit_unsent(&fake, &sender, [call("first"), payment("second", 5)]).await;
    fake.l1().gas = Err(STRANGE);
    sender.tick().await.unwrap_err();
    assert_eq!(fake.l1().nonces(), [1]);
}

#[tokio::test]
async fn only_the_first_in_line_is_simulated() {
    let (fake, sender) = start().await;
    sender.submit(payment("first", 5)).await.unwrap();
    sender.submit(call("second")).await.unwrap();
    // It needs what the first one does.
    fake.l1().gas = Err(REVERTS);
    assert_eq!(sender.tick().await.unwrap(), []);
    assert!(is_pending(&sender, "second"));
}

#[tokio::test]
async fn nothing_follows_what_would_revert_before_its_nonce_is_filled() {
    let (fake, sender) = start().await;
    submit_unsent(&fake, &sender, [call("first"), call("second")]).await;
    fake.l1().gas = Err(REVERTS);
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().nonces(), [0]);
    assert!(is_pending(&sender, "second"));
}

#[tokio::test]
async fn nothing_follows_what_lacks_the_right_to_be_sent() {
    for lack in [Right::Unknown, Right::Gone] {
        let (fake, sender) = start().await;
        let (sender, right) = guarded(sender);
        submit_unsent(&fake, &sender, [fenced(1, payment("first", 5)), call("second")]).await;
        *right.lock() = lack;
        sender.tick().await.unwrap();
        assert!(fake.l1().sent.is_empty(), "{lack:?}");
    }
}

#[tokio::test]
async fn a_nonce_of_another_process_in_a_pool_is_not_filled() {
    let (fake, sender) = start().await;
    let (sender, right) = guarded(sender);
    sender.submit(fenced(1, payment("first", 5))).await.unwrap();
    sender.submit(payment("second", 7)).await.unwrap();
    *right.lock() = Right::Gone;
    fake.l1().mine_empty(3);
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Dropped { .. }]), "{updates:?}");
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().nonces(), [0, 1]);
    mine_included(&fake, &sender, "first", 0).await;
}

#[tokio::test]
async fn no_nonce_is_filled_for_an_expired_transaction() {
    let (fake, sender) = start().await;
    submit_unsent(&fake, &sender, [until(1, payment("first", 5)), until(1, payment("second", 7))])
        .await;
    fake.l1().mine_empty(1);
    assert_eq!(sender.tick().await.unwrap().len(), 2);
    assert!(fake.l1().sent.is_empty());
}

#[tokio::test]
async fn what_was_rejected_and_then_accepted_is_filled_once_expired() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Reject(STRANGE);
    sender.submit(until(5, payment("pay", 5))).await.unwrap_err();
    fake.l1().broadcast = Broadcast::Take;
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().pool.len(), 1);
    fake.l1().mine_empty(5);
    sender.tick().await.unwrap();
    let left: Vec<U256> = fake.l1().pool.iter().map(|tx| tx.value()).collect();
    assert_eq!(left, [U256::ZERO]);
}

#[tokio::test]
async fn only_the_next_nonce_gets_a_higher_fee() {
    let (fake, sender) = start().await;
    sender.submit(payment("first", 5)).await.unwrap();
    sender.submit(payment("second", 7)).await.unwrap();
    fake.l1().mine_empty(3);
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().nonces(), [0, 1, 0]);
}

#[tokio::test]
async fn what_a_reorg_has_just_freed_keeps_its_nonce() {
    let (fake, sender) = start().await;
    sender.submit(payment("first", 5)).await.unwrap();
    fake.l1().mine();
    sender.tick().await.unwrap();
    fake.l1().replace(1);
    sender.submit(payment("second", 7)).await.unwrap();
    assert_eq!(fake.l1().nonces(), [0, 1]);
    sender.tick().await.unwrap();
    mine_included(&fake, &sender, "first", 0).await;
    assert_eq!(included(sender.status("second", 0)).nonce, 1);
}

#[tokio::test]
async fn the_next_holder_of_the_right_replaces_the_pending_transaction_of_its_purpose() {
    let (fake, sender) = start().await;
    let (sender, right) = guarded(sender);
    sender.submit(fenced(4, payment("prove/1", 5))).await.unwrap();
    *right.lock() = Right::Gone;
    fake.l1().mine_empty(3);
    sender.tick().await.unwrap();
    *right.lock() = Right::Held;
    sender.submit(fenced(6, payment("prove/1", 5))).await.unwrap();
    assert_eq!(fake.l1().nonces(), [0, 0]);
}
