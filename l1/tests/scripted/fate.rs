//! The outcome of a transaction, in the end and until L1 reorganises.

use rollmill_l1::{TxRequest, TxUpdate};

use crate::{LOST, REVERTS, call, is_pending, lost, mine_included, start, swallowed, until};
use rollmill_l1_testing::fake::Broadcast;
use rollmill_l1_testing::pay::{included, payment, reason};

#[tokio::test]
async fn a_nonce_used_unseen_is_not_lost_while_l1_may_reorganise() {
    let (fake, sender) = swallowed().await;
    fake.l1().mine_authorization();
    sender.tick().await.unwrap_err();
    assert!(is_pending(&sender, "pay"));
    fake.l1().broadcast = Broadcast::Take;
    fake.l1().replace(1);
    sender.tick().await.unwrap();
    mine_included(&fake, &sender, "pay", 0).await;
}

#[tokio::test]
async fn a_nonce_used_unseen_is_lost_once_final() {
    let (fake, sender) = swallowed().await;
    fake.l1().mine_authorization();
    fake.l1().mine_empty(1);
    fake.l1().finalized = 1;
    sender.tick().await.unwrap();
    assert_eq!(sender.status("pay", 0), LOST);
}

/// Fault: a node reports the state of the block that it is building as that of its head, which is
/// final: a new development chain does, while it puts the transaction in its first block.
#[tokio::test]
async fn a_state_that_is_ahead_of_the_head_is_no_loss() {
    let (fake, sender) = start().await;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().used_before = 1;
    sender.tick().await.unwrap_err();
    assert!(is_pending(&sender, "pay"));
    fake.l1().used_before = 0;
    mine_included(&fake, &sender, "pay", 0).await;
}

#[tokio::test]
async fn a_loss_that_was_seen_needs_no_old_state() {
    let (fake, sender) = lost().await;
    fake.l1().mine_empty(5);
    fake.l1().states_from = 6;
    assert_eq!(sender.tick().await.unwrap(), []);
    assert_eq!(sender.status("pay", 0), LOST);
}

#[tokio::test]
async fn a_receipt_of_another_transaction_is_none() {
    let (fake, sender) = swallowed().await;
    let other = fake.l1().mine_foreign();
    fake.l1().receipt_of = Some(other);
    sender.tick().await.unwrap();
    assert_eq!(sender.status("pay", 0), LOST);
}

/// Fault: an endpoint lists hashes where whole transactions were asked for. Whose transaction used the
/// nonce cannot be known then, and the intent must not count as lost.
#[tokio::test]
async fn a_block_without_its_transactions_does_not_tell_of_a_loss() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Swallow;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().mine_foreign();
    fake.l1().finalized = 1;
    fake.l1().shows_transactions = false;
    assert_eq!(sender.tick().await.unwrap_err().code(), "L1-016");
    assert!(is_pending(&sender, "pay"));
    fake.l1().shows_transactions = true;
    sender.tick().await.unwrap();
    assert_eq!(sender.status("pay", 0), LOST);
}

#[tokio::test]
async fn a_reorg_that_frees_a_lost_nonce_sends_what_was_lost() {
    let (fake, sender) = lost().await;
    fake.l1().broadcast = Broadcast::Take;
    fake.l1().replace(1);
    sender.tick().await.unwrap();
    mine_included(&fake, &sender, "pay", 0).await;
}

#[tokio::test]
async fn a_final_loss_is_not_polled_again() {
    let (fake, sender) = lost().await;
    fake.l1().finalized = 1;
    sender.tick().await.unwrap();
    let requests = fake.l1().requests;
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().requests, requests);
}

#[tokio::test]
async fn a_transaction_is_final_with_its_block_and_not_before() {
    let (fake, sender) = start().await;
    fake.l1().mine_empty(1);
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().mine();
    fake.l1().finalized = 1;
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Included(at)] if !at.is_final), "{updates:?}");
    fake.l1().finalized = 2;
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Final(_)]), "{updates:?}");
}

#[tokio::test]
async fn the_attempt_beside_one_that_landed_is_lost_at_once() {
    let (fake, sender) = start().await;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().broadcast = Broadcast::Lose;
    let second = TxRequest { attempt: 1, ..payment("pay", 5) };
    sender.submit(second).await.unwrap_err();
    mine_included(&fake, &sender, "pay", 0).await;
    assert_eq!(sender.status("pay", 1), LOST);
}

#[tokio::test]
async fn what_is_in_a_block_does_not_expire() {
    let (fake, sender) = start().await;
    sender.submit(until(2, payment("pay", 5))).await.unwrap();
    fake.l1().mine();
    fake.l1().mine_empty(3);
    fake.l1().shows_receipts = false;
    sender.tick().await.unwrap_err();
    assert!(is_pending(&sender, "pay"), "a caller would pay again");
    fake.l1().shows_receipts = true;
    sender.tick().await.unwrap();
    assert_eq!(included(sender.status("pay", 0)).block_number, 1);
}

#[tokio::test]
async fn what_a_reorg_takes_out_too_late_is_not_sent_again() {
    let (fake, sender) = start().await;
    sender.submit(until(2, payment("pay", 5))).await.unwrap();
    fake.l1().mine();
    sender.tick().await.unwrap();
    fake.l1().mine_empty(3);
    fake.l1().replace(4);
    let updates = sender.tick().await.unwrap();
    let expected = matches!(&updates[..], [TxUpdate::Reorged { .. }, TxUpdate::Dropped { .. }]);
    assert!(expected, "{updates:?}");
    assert_eq!(reason(sender.status("pay", 0)), "it has expired");
    assert!(fake.l1().pool.is_empty());
}

#[tokio::test]
async fn a_reorg_is_no_reason_to_offer_more() {
    let (fake, sender) = start().await;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().mine();
    sender.tick().await.unwrap();
    fake.l1().mine_empty(9);
    fake.l1().replace(10);
    sender.tick().await.unwrap();
    // The second poll at the same head decides by the block at which it was sent, too.
    sender.tick().await.unwrap();
    let market = fake.l1().market();
    assert_eq!(fake.l1().prices(), [market, market]);
}

#[tokio::test]
async fn what_lands_while_it_is_simulated_is_not_dropped() {
    let (fake, sender) = start().await;
    sender.submit(call("call")).await.unwrap();
    fake.l1().before("eth_estimateGas", |l1| {
        l1.mine();
        l1.gas = Err(REVERTS);
    });
    assert_eq!(sender.tick().await.unwrap(), []);
    assert!(is_pending(&sender, "call"));
    sender.tick().await.unwrap();
    assert_eq!(included(sender.status("call", 0)).nonce, 0);
}

#[tokio::test]
async fn the_task_polls_while_anything_is_unsettled() {
    let (fake, sender) = start().await;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().mine();
    let sender = std::sync::Arc::new(sender);
    let mut changes = sender.watch();
    changes.mark_unchanged();
    let run = std::sync::Arc::clone(&sender).run(std::future::pending());
    let deadline = std::time::Duration::from_secs(60);
    tokio::select! {
        () = run => unreachable!("it never ends"),
        changed = changes.changed() => changed.unwrap(),
        () = tokio::time::sleep(deadline) => panic!("no poll"),
    }
    assert_eq!(included(sender.status("pay", 0)).nonce, 0);
}
