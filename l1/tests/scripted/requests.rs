//! What a caller asks for: again, late, without the right, and while nodes reject it.

use alloy::consensus::Transaction as _;
use alloy::primitives::U256;
use parking_lot::Mutex;
use rollmill_l1::{L1Error, Right};

use crate::{LOST, fenced, lost, mine_included, start, until};
use rollmill_l1_testing::fake::{Broadcast, STRANGE};
use rollmill_l1_testing::pay::{payment, reason};

#[tokio::test]
async fn the_same_request_under_an_older_fence_is_rejected() {
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
    let (fake, sender) = lost().await;
    fake.l1().broadcast = Broadcast::Take;
    // A reorg may bring the first one back; both would pay.
    sender.submit(payment("pay", 5)).await.unwrap();
    assert_eq!(fake.l1().nonces(), [0]);
    assert_eq!(sender.status("pay", 0), LOST);
    assert_eq!(sender.attempt_for("pay"), 1);
}

/// A dropped form that no transfer could displace is still in the pool. Beside a request under an earlier free nonce it
/// would pay a second time.
#[tokio::test]
async fn a_request_competes_with_a_dropped_form_of_its_purpose_that_is_in_a_pool() {
    for is_pooled in [true, false] {
        let (fake, sender) = start().await;
        sender.submit(until(1, payment("first", 3))).await.unwrap();
        sender.submit(until(1, payment("pay", 5))).await.unwrap();
        fake.l1().mine_empty(1);
        fake.l1().broadcast = Broadcast::Reject(STRANGE);
        sender.tick().await.unwrap_err();
        assert_eq!(reason(sender.status("pay", 0)), "it has expired");
        fake.l1().broadcast = Broadcast::Take;
        if !is_pooled {
            fake.l1().pool.clear();
        }
        sender.submit(payment("pay", 5)).await.unwrap();
        let payments = fake
            .l1()
            .pool
            .iter()
            .map(|tx| tx.value())
            .filter(|&value| value == U256::from(5))
            .count();
        assert_eq!(payments, 1);
        // What the pool has lost costs no later nonce, whose predecessor would have to be filled.
        mine_included(&fake, &sender, "pay", u64::from(is_pooled)).await;
    }
}

#[tokio::test]
async fn a_replaced_payload_in_a_pool_is_never_forgotten() {
    let (fake, sender) = start().await;
    sender.submit(payment("pay", 1)).await.unwrap();
    fake.l1().broadcast = Broadcast::Reject(STRANGE);
    for wei in 2..=80 {
        sender.submit(payment("pay", wei)).await.unwrap_err();
    }
    mine_included(&fake, &sender, "pay", 0).await;
}

#[tokio::test]
async fn a_rejected_payload_that_is_still_needed_is_never_forgotten() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Reject(STRANGE);
    sender.submit(payment("first", 1)).await.unwrap_err();
    for wei in 2..=80 {
        sender.submit(payment("pay", wei)).await.unwrap_err();
    }
    fake.l1().broadcast = Broadcast::Take;
    sender.tick().await.unwrap();
    mine_included(&fake, &sender, "first", 0).await;
}

#[tokio::test]
async fn a_rejection_for_a_used_nonce_is_left_to_the_next_poll() {
    let (fake, sender) = start().await;
    fake.l1().before("eth_sendRawTransaction", |l1| {
        l1.mine_foreign();
    });
    sender.submit(payment("pay", 5)).await.unwrap();
    sender.tick().await.unwrap();
    assert_eq!(sender.status("pay", 0), LOST);
}

#[tokio::test]
async fn a_rejection_of_what_is_in_the_pool_is_ignored() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::TakeAndReject(STRANGE);
    sender.submit(payment("pay", 5)).await.unwrap();
    assert_eq!(fake.l1().pool.len(), 1);
}

#[tokio::test]
async fn what_lost_its_right_before_the_broadcast_stays_dropped() {
    let (fake, sender) = start().await;
    let rights = Mutex::new([Right::Held, Right::Unknown].into_iter());
    let sender = sender.guarded(move |_| rights.lock().next().unwrap_or(Right::Held));
    let error = sender.submit(fenced(1, payment("pay", 5))).await.unwrap_err();
    assert!(matches!(error, L1Error::Dropped { .. }), "{error}");
    reason(sender.status("pay", 0));
    sender.tick().await.unwrap();
    assert!(fake.l1().sent.is_empty());
}
