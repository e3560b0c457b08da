//! Sends transfers that may be interrupted at any step: nothing is paid twice and nothing is lost.

use super::sent::{Case, NoProof};
use super::*;

fn reopened(state: &[u8]) -> Wallet {
    Wallet::with_state(keys(2), serde_json::from_slice(state).unwrap())
}

async fn deliver(
    case: &mut Case,
    amount: u64,
    keep: &mut (dyn FnMut(&Wallet) -> Result<(), PxeError> + Send),
) -> Result<Delivery, PxeError> {
    let mut rng = ChaCha20Rng::seed_from_u64(amount);
    let to = keys(1).address();
    case.wallet.deliver(&case.node, &NoProof, (&to, amount), &mut rng, keep).await
}

/// Fault: the process ends at each step after the intent was kept. What the next command finds is the
/// kept state; the node has the transaction or does not. In both cases the same transaction, and no
/// other one, is at the node after the next sync, and the command reports it.
#[tokio::test]
async fn a_transfer_that_was_cut_off_is_completed_once_and_told() {
    let mut case = Case::new().await;
    let (mut kept, chain) = (Vec::new(), case.chain.clone());
    let mut keep = |wallet: &Wallet| {
        assert!(chain.pool.lock().received.is_empty(), "kept before it is sent");
        kept = serde_json::to_vec(wallet.state()).unwrap();
        Ok(())
    };
    let Ok(Delivery::Accepted(tx)) = deliver(&mut case, 300, &mut keep).await else { panic!() };
    assert_eq!(case.wallet.unreported(), [tx.hash()], "not reported yet");
    case.wallet.report(&tx.hash());
    assert!(case.wallet.unreported().is_empty());

    // Cut off after sending: the node has it, and it is not sent again.
    case.set_status(&tx, TxStatus::Pending { parked: None });
    let mut next = reopened(&kept);
    assert_eq!(next.balance(), 20, "its notes are locked");
    next.sync(&case.node).await.unwrap();
    assert_eq!(next.unreported(), [tx.hash()]);
    assert_eq!(case.pool().received, [tx.hash()]);

    // It is included and its block proven before any command reports it: it must still be reported.
    case.chain.set(vec![Case::first(), Case::with(2, &tx)]);
    case.pool().proven = 2;
    let mut next = reopened(&kept);
    next.sync(&case.node).await.unwrap();
    assert_eq!(next.unreported(), [tx.hash()]);
    next.report(&tx.hash());
    next.sync(&case.node).await.unwrap();
    assert!(next.unreported().is_empty());
    assert_eq!(next.balance(), 220);
    case.chain.set(vec![Case::first()]);
    case.pool().proven = 0;

    // Cut off before sending: the node does not know it, and gets that very one.
    case.pool().statuses.clear();
    case.pool().received.clear();
    let mut next = reopened(&kept);
    next.sync(&case.node).await.unwrap();
    assert_eq!(next.unreported(), [tx.hash()]);
    assert_eq!(case.pool().received, [tx.hash()]);
    assert_eq!(next.balance(), 20);

    // The node rejects it finally: the value is spendable again, and the command may continue.
    case.pool().rejects_with = Some("NODE-021");
    let mut next = reopened(&kept);
    next.sync(&case.node).await.unwrap();
    assert!(next.unreported().is_empty());
    assert_eq!(next.balance(), 520);
}

#[tokio::test]
async fn a_transfer_whose_intent_cannot_be_kept_is_not_sent() {
    let mut case = Case::new().await;
    let full =
        || PxeError::File { path: "x".into(), source: std::io::ErrorKind::StorageFull.into() };
    let error = deliver(&mut case, 300, &mut |_| Err(full())).await.unwrap_err();
    assert!(matches!(error, PxeError::File { .. }), "{error}");
    assert!(case.pool().received.is_empty());
    assert_eq!(case.wallet.balance(), 520);
}

#[tokio::test]
async fn a_lost_answer_is_no_error_that_says_not_sent() {
    let mut case = Case::new().await;
    case.pool().silent = true;
    let sent = deliver(&mut case, 300, &mut |_| Ok(())).await.unwrap();
    let Delivery::Unknown(tx, _) = sent else { panic!("{sent:?}") };
    assert_eq!(case.wallet.unreported(), [tx.hash()]);
    // Busy, or another transaction with its nullifiers: it may have arrived before.
    let mut case = Case::new().await;
    case.pool().rejects_with = Some("NODE-024");
    let sent = deliver(&mut case, 300, &mut |_| Ok(())).await.unwrap();
    assert!(matches!(sent, Delivery::Unknown(..)), "{sent:?}");
}

#[tokio::test]
async fn only_proven_value_is_spent_unless_told_otherwise() {
    let mut case = Case::new().await;
    case.wallet.set_spend_pending(false);
    let sure = Balances { proven: 500, pending: 20, unverified: 0 };
    assert_eq!(case.wallet.balances(), sure);
    assert_eq!(case.wallet.change(10).unwrap(), 490, "not the note of 20");
    let error = case.wallet.change(510).unwrap_err();
    assert!(matches!(error, PxeError::Funds { balance: 500, .. }), "{error}");
    assert!(!error.to_string().contains("join"), "{error}");
    case.pool().proven = 1;
    case.sync().await;
    assert_eq!(case.wallet.balances(), Balances { proven: 520, ..Balances::default() });
    assert_eq!(case.wallet.change(510).unwrap(), 10);
}

/// A state of before blocks were kept with notes is read again, so that no note counts as proven that
/// is not.
#[tokio::test]
async fn notes_without_their_block_are_read_again() {
    let mut case = Case::new().await;
    let mut state = serde_json::to_value(case.wallet.state()).unwrap();
    for note in state["notes"].as_array_mut().unwrap() {
        note.as_object_mut().unwrap().remove("block");
    }
    case.wallet = Wallet::with_state(keys(2), serde_json::from_value(state).unwrap());
    case.sync().await;
    assert_eq!(case.wallet.balances(), Balances { proven: 500, pending: 20, unverified: 0 });
}
