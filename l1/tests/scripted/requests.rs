//! What a caller asks for: again, late, without the right, and while nodes reject it.

use std::sync::Mutex;

use rollmill_l1::{L1Error, Right, TxStatus};

use crate::{fenced, start};
use rollmill_l1_testing::fake::{Broadcast, STRANGE};
use rollmill_l1_testing::pay::{included, payment, reason};

#[tokio::test]
async fn the_same_request_under_an_older_fence_is_refused() {
    let (_fake, sender) = start().await;
    sender.submit(fenced(6, payment("prove/1", 5))).await.unwrap();
    let error = sender.submit(fenced(4, payment("prove/1", 5))).await.unwrap_err();
    assert!(matches!(error, L1Error::IntentConflict { .. }), "{error}");
}

/// Two payloads of one attempt are over, one because the other landed; each may be asked for again, and
/// a third is a conflict.
#[tokio::test]
async fn every_payload_of_an_attempt_that_is_over_may_be_repeated() {
    let (fake, sender) = start().await;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().broadcast = Broadcast::Lose;
    sender.submit(payment("pay", 7)).await.unwrap_err();
    fake.l1().broadcast = Broadcast::Take;
    fake.l1().mine();
    sender.tick().await.unwrap();
    sender.submit(payment("pay", 5)).await.unwrap();
    sender.submit(payment("pay", 7)).await.unwrap();
    let error = sender.submit(payment("pay", 9)).await.unwrap_err();
    assert!(matches!(error, L1Error::IntentConflict { .. }), "{error}");
    assert_eq!(fake.l1().nonces(), [0]);
}

#[tokio::test]
async fn a_lost_attempt_is_not_sent_under_another_nonce() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Swallow;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().mine_foreign();
    sender.tick().await.unwrap();
    fake.l1().broadcast = Broadcast::Take;
    // A reorg may bring the first one back; both would pay.
    sender.submit(payment("pay", 5)).await.unwrap();
    assert_eq!(fake.l1().nonces(), [0]);
    assert_eq!(sender.status("pay", 0), Some(TxStatus::Lost { nonce: 0 }));
    assert_eq!(sender.attempt_for("pay"), 1);
}

#[tokio::test]
async fn a_replaced_payload_that_a_pool_holds_is_never_forgotten() {
    let (fake, sender) = start().await;
    sender.submit(payment("pay", 1)).await.unwrap();
    fake.l1().broadcast = Broadcast::Refuse(STRANGE);
    for wei in 2..=80 {
        sender.submit(payment("pay", wei)).await.unwrap_err();
    }
    fake.l1().mine();
    sender.tick().await.unwrap();
    assert_eq!(included(sender.status("pay", 0)).nonce, 0);
}

#[tokio::test]
async fn a_refused_payload_that_is_wanted_is_never_forgotten() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Refuse(STRANGE);
    sender.submit(payment("first", 1)).await.unwrap_err();
    for wei in 2..=80 {
        sender.submit(payment("pay", wei)).await.unwrap_err();
    }
    fake.l1().broadcast = Broadcast::Take;
    sender.tick().await.unwrap();
    fake.l1().mine();
    sender.tick().await.unwrap();
    assert_eq!(included(sender.status("first", 0)).nonce, 0);
}

#[tokio::test]
async fn a_refusal_of_a_nonce_that_is_used_is_left_to_the_next_look() {
    let (fake, sender) = start().await;
    fake.l1().before("eth_sendRawTransaction", |l1| {
        l1.mine_foreign();
    });
    sender.submit(payment("pay", 5)).await.unwrap();
    sender.tick().await.unwrap();
    assert_eq!(sender.status("pay", 0), Some(TxStatus::Lost { nonce: 0 }));
}

#[tokio::test]
async fn a_refusal_of_what_the_pool_holds_is_none() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::TakeAndRefuse(STRANGE);
    sender.submit(payment("pay", 5)).await.unwrap();
    assert_eq!(fake.l1().pool.len(), 1);
}

#[tokio::test]
async fn what_lost_its_right_before_the_broadcast_stays_dropped() {
    let (fake, sender) = start().await;
    let rights = Mutex::new([Right::Held, Right::Unknown].into_iter());
    let sender = sender.guarded(move |_| rights.lock().unwrap().next().unwrap_or(Right::Held));
    let error = sender.submit(fenced(1, payment("pay", 5))).await.unwrap_err();
    assert!(matches!(error, L1Error::Dropped { .. }), "{error}");
    reason(sender.status("pay", 0));
    sender.tick().await.unwrap();
    assert!(fake.l1().sent.is_empty());
}
