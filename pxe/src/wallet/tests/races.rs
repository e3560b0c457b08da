//! What happens between two requests to a node: blocks are removed, and others send the same transaction.

use std::collections::BTreeSet;
use std::slice::from_ref;

use rollmill_node_client::wire::method;

use super::sent::Case;
use super::*;

/// The blocks that the wallet of a case has not read: one of them has a payment, and the last one the wallet's own
/// transaction, if any. They are more than one request returns.
fn continued(base: &Ledger, first_slot: u64, paid_in: u64, own: Option<&Tx>) -> Ledger {
    let mut ledger = base.clone();
    let end = first_slot + BLOCKS + 2;
    for slot in first_slot..end {
        let paid = body(&[Fr::from(77u64)], &[payment(&keys(1), &keys(2), 30 * UNIT, 1)]);
        let bodies = if slot == paid_in { vec![paid] } else { vec![] };
        ledger.publish(slot, &bodies);
    }
    match own {
        Some(tx) => {
            let rejected = ledger.include(end, from_ref(tx));
            assert!(rejected.is_empty(), "{rejected:?}");
        }
        None => {
            ledger.publish(end, &[]);
            ledger.publish(end + 1, &[]);
        }
    }
    ledger
}

/// What a wallet knows of its notes.
fn found(wallet: &Wallet) -> BTreeSet<(Fr, u64, u64, u64, Option<u64>)> {
    let notes = wallet.notes().iter();
    notes.map(|n| (n.nullifier, n.value, n.leaf_index, n.block, n.spent_in)).collect()
}

/// Fault: a reorganization between two requests of one sync, before each of them in turn. The two chains have the same
/// leaves in other blocks, so no root tells them apart. Neither blocks of both are mixed, nor is a transaction
/// forgotten which only the removed chain has.
#[tokio::test]
async fn a_reorganization_between_two_requests_of_a_sync_mixes_no_blocks() {
    let mut case = Case::new().await;
    let tx = case.transfer(300 * UNIT).await.unwrap();
    let (start, base) = (case.wallet.state().clone(), case.chain.ledger().clone());
    let one = continued(&base, 2, 2, Some(&tx));
    let other = continued(&base, 3, 4, None);
    let mut cut_off = 0;
    for before in 0.. {
        *case.chain.ledger() = one.clone();
        case.forget();
        {
            let mut pool = case.chain.pool();
            pool.proven = u64::MAX;
            pool.reorganization = Some((before, other.clone()));
        }
        case.wallet = Wallet::with_state(keys(2), start.clone());
        case.wallet.set_clock(|| 0);
        let synced = case.wallet.sync(&case.node).await;
        if case.chain.pool().reorganization.take().is_some() {
            synced.unwrap();
            break;
        }
        if let Err(error) = synced {
            let text = error.to_string();
            assert!(text.contains("is another one than before"), "before request {before}: {text}");
            cut_off += 1;
        }
        case.sync().await;
        let mut fresh = Wallet::new(keys(2));
        fresh.sync(&case.node).await.unwrap();
        assert_eq!(found(&case.wallet), found(&fresh), "before request {before}");
        assert_eq!(case.wallet.locked(), 500 * UNIT, "before request {before}");
    }
    assert!(cut_off > 3, "{cut_off} syncs were cut off");
}

/// Fault: a node rejects a transaction for its own nullifiers, since somebody else sent it first and a block has it.
/// The user must not be told that nothing was sent.
#[tokio::test]
async fn a_rejection_of_what_the_node_has_already_does_not_free_its_notes() {
    let mut case = Case::new().await;
    case.chain.pool().rejects_with = Some("NODE-021");
    case.chain.pool().has_what_it_rejects = true;
    let tx = case.transfer(300 * UNIT).await.unwrap();
    assert_eq!(case.chain.pool().received, [tx.hash()]);
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (20 * UNIT, 500 * UNIT));
}

/// Fault: as before, between the question of a sync for the transaction and its sending.
#[tokio::test]
async fn a_sync_that_sends_what_somebody_else_has_just_sent_does_not_free_its_notes() {
    let mut case = Case::new().await;
    let tx = case.transfer(300 * UNIT).await.unwrap();
    case.forget();
    case.chain.pool().rejects_with = Some("NODE-021");
    case.chain.pool().has_what_it_rejects = true;
    case.sync().await;
    assert_eq!(case.chain.pool().received, [tx.hash(), tx.hash()]);
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (20 * UNIT, 500 * UNIT));
}

/// Fault: the node rejects a transaction, and does not say whether it has it. Its notes stay held until it does.
#[tokio::test]
async fn a_rejection_without_a_status_holds_the_notes_until_there_is_one() {
    let mut case = Case::new().await;
    case.chain.pool().rejects_with = Some("NODE-021");
    case.chain.pool().unavailable = Some(method::GET_TRANSACTION_STATUS);
    let error = case.transfer(300 * UNIT).await.unwrap_err();
    assert_eq!(error.code(), "PXE-066", "{error}");
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (20 * UNIT, 500 * UNIT));
    case.chain.pool().unavailable = None;
    case.sync().await;
    assert_eq!(case.wallet.balance(), 520 * UNIT, "the node does not have it");
}
