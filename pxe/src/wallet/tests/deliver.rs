//! Sends transfers that may be interrupted at any step: nothing is paid twice and nothing is lost.

use super::sent::Case;
use super::*;

fn reopened(state: &[u8]) -> Wallet {
    Wallet::with_state(keys(2), State::from_bytes(state).unwrap())
}

async fn deliver(
    case: &mut Case,
    amount: u64,
    keep: &mut (dyn FnMut(&Wallet) -> Result<(), PxeError> + Send),
) -> Result<Delivery, PxeError> {
    let mut rng = ChaCha20Rng::seed_from_u64(amount);
    let order = Order::transfer(keys(1).address(), amount);
    case.wallet.deliver(&case.node, &CheckedOnly, &order, None, &mut rng, keep).await
}

/// Fault: the process ends at each step after the intent was kept. What the next command finds is the
/// kept state; the node has the transaction or does not. In both cases the same transaction, and no
/// other one, is at the node after the next sync, and the command reports it.
#[tokio::test]
async fn a_transfer_that_was_cut_off_is_completed_once_and_told() {
    let mut case = Case::new().await;
    let (mut kept, chain) = (Vec::new(), case.chain.clone());
    let mut keep = |wallet: &Wallet| {
        assert!(chain.pool().received.is_empty(), "kept before it is sent");
        kept = wallet.state().to_bytes().unwrap();
        Ok(())
    };
    let Ok(Delivery::Accepted(tx)) = deliver(&mut case, 300 * UNIT, &mut keep).await else {
        panic!()
    };
    assert_eq!(case.wallet.unreported(), [tx.hash()], "not reported yet");
    case.wallet.report(&tx.hash());
    assert!(case.wallet.unreported().is_empty());

    // Cut off after sending: the node has it, and it is not sent again.
    let mut next = reopened(&kept);
    assert_eq!(next.balance(), 20 * UNIT, "its notes are locked");
    next.sync(&case.node).await.unwrap();
    assert_eq!(next.unreported(), [tx.hash()]);
    assert_eq!(case.chain.pool().received, [tx.hash()]);

    // It is included and its block proven before any command reports it: it must still be reported.
    case.include(&tx);
    case.chain.pool().proven = 2;
    let mut next = reopened(&kept);
    next.sync(&case.node).await.unwrap();
    assert_eq!(next.unreported(), [tx.hash()]);
    next.report(&tx.hash());
    next.sync(&case.node).await.unwrap();
    assert!(next.unreported().is_empty());
    assert_eq!(next.balance(), 220 * UNIT - FEE);
    case.chain.ledger().cut(1);
    case.chain.pool().proven = 0;

    // Cut off before sending: the node does not know it, and gets that very one.
    case.forget();
    case.chain.pool().received.clear();
    let mut next = reopened(&kept);
    next.sync(&case.node).await.unwrap();
    assert_eq!(next.unreported(), [tx.hash()]);
    assert_eq!(case.chain.pool().received, [tx.hash()]);
    assert_eq!(next.balance(), 20 * UNIT);

    // The node rejects it finally: the value is spendable again, and the command may continue.
    case.forget();
    case.chain.pool().rejects_with = Some("NODE-021");
    let mut next = reopened(&kept);
    next.sync(&case.node).await.unwrap();
    assert!(next.unreported().is_empty());
    assert_eq!(next.balance(), 520 * UNIT);
}

#[tokio::test]
async fn a_transfer_whose_intent_cannot_be_kept_is_not_sent() {
    let mut case = Case::new().await;
    let full =
        || PxeError::File { path: "x".into(), source: std::io::ErrorKind::StorageFull.into() };
    let error = deliver(&mut case, 300 * UNIT, &mut |_| Err(full())).await.unwrap_err();
    assert!(matches!(error, PxeError::File { .. }), "{error}");
    assert!(case.chain.pool().received.is_empty());
    assert_eq!(case.wallet.balance(), 520 * UNIT);
}

#[tokio::test]
async fn a_lost_answer_is_no_error_that_says_not_sent() {
    let mut case = Case::new().await;
    case.chain.pool().silent = true;
    let sent = deliver(&mut case, 300 * UNIT, &mut |_| Ok(())).await.unwrap();
    let Delivery::Unknown(tx, _) = sent else { panic!("{sent:?}") };
    assert_eq!(case.wallet.unreported(), [tx.hash()]);
    // Busy, or another transaction with its nullifiers: it may have arrived before.
    let mut case = Case::new().await;
    case.chain.pool().rejects_with = Some("NODE-024");
    let sent = deliver(&mut case, 300 * UNIT, &mut |_| Ok(())).await.unwrap();
    assert!(matches!(sent, Delivery::Unknown(..)), "{sent:?}");
}

#[tokio::test]
async fn only_proven_value_is_spent_unless_told_otherwise() {
    let mut case = Case::new().await;
    case.wallet.set_spend_pending(false);
    let sure = Balances { proven: 500 * UNIT, pending: 20 * UNIT, unverified: 0 };
    assert_eq!(case.wallet.balances(), sure);
    let to = keys(1).address();
    let change = async |case: &Case, amount: u64| {
        let quote = case.wallet.quote(&case.node, &Order::transfer(to, amount)).await?;
        assert_eq!(quote.fee, Fee { now: FEE, max: FEE_MAX });
        Ok(quote.change)
    };
    assert_eq!(change(&case, 10).await.unwrap(), 500 * UNIT - FEE_MAX - 10, "not the note of 20");
    let error: PxeError = change(&case, 510 * UNIT).await.unwrap_err();
    let of_proven = 500 * UNIT;
    assert!(matches!(error, PxeError::Funds { balance, .. } if balance == of_proven), "{error}");
    assert!(!error.to_string().contains("join"), "{error}");
    assert!(error.to_string().contains(&format!("of which {FEE_MAX} for the fee")), "{error}");
    case.chain.pool().proven = 1;
    case.sync().await;
    let all = Balances { proven: 520 * UNIT, ..Balances::default() };
    assert_eq!(case.wallet.balances(), all);
    assert_eq!(change(&case, 510 * UNIT).await.unwrap(), 10 * UNIT - FEE_MAX);
}
