//! Orders with idempotency keys: one order makes one transaction, whatever happens to it and to its wallet.

use rollmill_pxe_store::{Account, Cost, Store};

use super::sent::Case;
use super::*;
use crate::stored;

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn to_alice(amount: u64) -> Order {
    Order::transfer(keys(1).address(), amount)
}

type Keep<'k> = &'k mut (dyn FnMut(&Wallet) -> Result<(), PxeError> + Send);

async fn deliver(
    case: &mut Case,
    order: &Order,
    name: &str,
    keep: Keep<'_>,
) -> Result<Delivery, PxeError> {
    // One seed for each key: two transactions under one key would differ in their inputs alone, and those of two
    // keys share no random nullifier.
    let mut rng = ChaCha20Rng::seed_from_u64(name.bytes().map(u64::from).sum());
    let (key, node) = (key(name), case.node.clone());
    case.wallet.deliver(&node, &CheckedOnly, order, Some(&key), &mut rng, keep).await
}

async fn accepted(case: &mut Case, order: &Order, name: &str) -> Tx {
    match deliver(case, order, name, &mut |_| Ok(())).await.unwrap() {
        Delivery::Accepted(tx) => tx,
        other => panic!("{other:?}"),
    }
}

fn reopened(state: &[u8]) -> Wallet {
    let mut wallet = Wallet::with_state(keys(2), State::from_bytes(state).unwrap());
    wallet.set_clock(|| 0);
    wallet
}

fn full() -> PxeError {
    PxeError::File { path: "x".into(), source: std::io::ErrorKind::StorageFull.into() }
}

#[tokio::test]
async fn a_repeated_order_returns_the_transaction_of_the_first_one_and_makes_none() {
    let mut case = Case::new().await;
    let order = to_alice(15 * UNIT);
    let first = accepted(&mut case, &order, "key-of-first").await;
    let earlier = Earlier { tx_hash: first.hash(), accepted: true };
    let mut never = |_: &Wallet| -> Result<(), PxeError> { panic!("nothing is made") };
    let again = deliver(&mut case, &order, "key-of-first", &mut never).await.unwrap();
    assert!(matches!(again, Delivery::Earlier(found) if found == earlier), "{again:?}");
    assert!(case.wallet.unreported().is_empty(), "no one else is informed of it");

    // With another payee, amount, payer, end or choice of notes it is another order.
    let other = [
        Order::transfer(keys(3).address(), 15 * UNIT),
        to_alice(16 * UNIT),
        order.paid_by(FeePayer::Account),
        Order { expiry_epochs: 1, ..order },
        Order::withdraw(EthAddress([7; 20]), 15 * UNIT),
    ];
    for order in other {
        let error = deliver(&mut case, &order, "key-of-first", &mut never).await.unwrap_err();
        let hash = to_hex(&first.hash());
        assert!(matches!(&error, PxeError::KeyReused { hash: named } if *named == hash), "{error}");
    }
    case.wallet.set_spend_pending(false);
    let error = case.wallet.recall(&key("key-of-first"), &order).unwrap_err();
    assert!(matches!(error, PxeError::KeyReused { .. }), "{error}");
    case.wallet.set_spend_pending(true);

    let second = accepted(&mut case, &order, "key-of-second").await;
    assert_eq!(case.chain.pool().received, [first.hash(), second.hash()]);
}

/// Fault: the process ends after the intent was kept, before and after the transaction is sent.
#[tokio::test]
async fn after_a_crash_the_key_leads_to_the_transaction_of_the_intent() {
    let mut case = Case::new().await;
    let order = to_alice(300 * UNIT);
    let (mut kept, name) = (Vec::new(), key("key-of-first"));
    let mut keep = |wallet: &Wallet| {
        kept = wallet.state().to_bytes().unwrap();
        Ok(())
    };
    let sent = deliver(&mut case, &order, "key-of-first", &mut keep).await.unwrap();
    let Delivery::Accepted(tx) = sent else { panic!("{sent:?}") };
    let found = |accepted| Some(Earlier { tx_hash: tx.hash(), accepted });
    for is_at_node in [true, false] {
        if !is_at_node {
            case.forget();
        }
        let mut next = reopened(&kept);
        assert_eq!(next.recall(&name, &order).unwrap(), found(false), "nobody has asked the node");
        next.sync(&case.node).await.unwrap();
        assert_eq!(next.recall(&name, &order).unwrap(), found(true));
        assert!(next.unreported().is_empty(), "whoever has the key asks for it");
        assert_eq!(next.balance(), 20 * UNIT, "its notes are locked");
    }
    // Once by the wallet, and once by the next one, after the node had forgotten it.
    assert_eq!(case.chain.pool().received, [tx.hash(), tx.hash()]);
}

#[tokio::test]
async fn an_order_that_made_nothing_leaves_its_key_unused() {
    let mut case = Case::new().await;
    let too_much = to_alice(1000 * UNIT);
    let error = deliver(&mut case, &too_much, "key-of-first", &mut |_| Ok(())).await.unwrap_err();
    assert!(matches!(error, PxeError::Funds { .. }), "{error}");
    let order = to_alice(300 * UNIT);
    let error = deliver(&mut case, &order, "key-of-first", &mut |_| Err(full())).await.unwrap_err();
    assert!(matches!(error, PxeError::File { .. }), "{error}");
    assert!(case.chain.pool().received.is_empty());
    let tx = accepted(&mut case, &order, "key-of-first").await;
    assert_eq!(case.chain.pool().received, [tx.hash()]);
}

/// Goal: a store has a key exactly if it has the transaction and its held notes.
#[tokio::test]
async fn a_key_its_transaction_and_its_held_notes_reach_the_store_in_one_commit() {
    let mut case = Case::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, cost) = (folder.path().join("wallet.pxe"), Cost { log_n: 1, r: 1, p: 1 });
    let (store, _) = Store::create_with_account(&path, "word", cost, "another").unwrap();
    store.import(&keys(2).master(), "bob", None).unwrap();
    let account = Account(owner(2));
    stored::save(&store, account, &case.wallet).unwrap();
    let (order, name) = (to_alice(300 * UNIT), key("key-of-first"));
    let found = |store: &Store| {
        let wallet = stored::load(store, account, keys(2)).unwrap();
        let hash = wallet.recall(&name, &order).unwrap().map(|earlier| earlier.tx_hash);
        let sent: Vec<Fr> = wallet.sent_transactions().map(|sent| sent.tx_hash).collect();
        (hash, sent, wallet.locked())
    };
    let mut keep = |wallet: &Wallet| {
        assert_eq!(found(&store), (None, vec![], 0));
        stored::save(&store, account, wallet)
    };
    let sent = deliver(&mut case, &order, "key-of-first", &mut keep).await.unwrap();
    let Delivery::Accepted(tx) = sent else { panic!("{sent:?}") };
    drop(store);
    // What was saved before the transaction was sent, as the next process reads it.
    let store = Store::open(&path, "word").unwrap();
    assert_eq!(found(&store), (Some(tx.hash()), vec![tx.hash()], 500 * UNIT));
}

/// Goal: a rejected or dropped transaction is not paid again under its key, since a copy of it may still be included.
#[tokio::test]
async fn the_key_of_a_dropped_transaction_makes_no_other_one() {
    let mut case = Case::new().await;
    let order = to_alice(300 * UNIT);
    case.chain.pool().rejects_with = Some("NODE-021");
    let error = deliver(&mut case, &order, "key-of-first", &mut |_| Ok(())).await.unwrap_err();
    assert!(matches!(error, PxeError::Node(_)), "{error}");
    case.chain.pool().rejects_with = None;
    let again = deliver(&mut case, &order, "key-of-first", &mut |_| Ok(())).await.unwrap_err();
    assert!(matches!(&again, PxeError::KeyDropped { reason, .. } if reason.contains("NODE-021")));

    let second = accepted(&mut case, &order, "key-of-second").await;
    case.forget();
    let reason = TxStatus::Dropped { reason: "it waited too long".to_owned() };
    case.set_status(&second, reason);
    case.sync().await;
    let error = case.wallet.recall(&key("key-of-second"), &order).unwrap_err();
    assert!(
        matches!(&error, PxeError::KeyDropped { reason, .. } if reason == "it waited too long")
    );
    // Somebody gets a copy of it included.
    case.forget();
    case.include(&second);
    case.sync().await;
    let found = case.wallet.recall(&key("key-of-second"), &order).unwrap();
    assert_eq!(found, Some(Earlier { tx_hash: second.hash(), accepted: true }));
}

#[tokio::test]
async fn the_key_of_a_transaction_whose_notes_another_one_spent_says_so() {
    let mut case = Case::new().await;
    let order = to_alice(300 * UNIT);
    let tx = accepted(&mut case, &order, "key-of-first").await;
    case.forget();
    let spent = tx.effects().nullifiers[0];
    case.chain.ledger().publish(2, &[body(&[spent], &[])]);
    case.sync().await;
    let error = case.wallet.recall(&key("key-of-first"), &order).unwrap_err();
    assert!(matches!(&error, PxeError::KeyDropped { reason, .. } if reason.contains("another")));
}

/// Goal: a key outlives the record of its transaction by its time, and a reorganization as well.
#[tokio::test]
async fn a_key_outlives_its_transaction_and_a_reorganization() {
    let mut case = Case::new().await;
    let (order, name) = (to_alice(300 * UNIT), key("key-of-first"));
    let tx = accepted(&mut case, &order, "key-of-first").await;
    let is_known = |case: &Case| case.wallet.recall(&name, &order).unwrap().is_some();
    case.include(&tx);
    case.sync().await;
    case.replace(1);
    case.sync().await;
    assert!(is_known(&case), "the chain was read again");
    case.include(&tx);
    case.wallet.set_clock(|| u64::MAX);
    case.sync().await;
    assert!(is_known(&case), "its block is not proven");

    case.chain.pool().proven = u64::MAX;
    let clocks: [(fn() -> u64, bool); 3] =
        [(|| 50, true), (|| 49 + KEY_SECONDS, true), (|| 50 + KEY_SECONDS, false)];
    for (clock, expected) in clocks {
        assert!(is_known(&case), "it is forgotten by a sync alone");
        case.wallet.set_clock(clock);
        case.sync().await;
        assert_eq!(case.wallet.sent_transactions().count(), 0);
        assert_eq!(is_known(&case), expected, "at {}", clock());
        let kept = case.wallet.state().to_bytes().unwrap();
        let again = Wallet::with_state(keys(2), State::from_bytes(&kept).unwrap());
        assert_eq!(again.recall(&name, &order).unwrap().is_some(), expected);
    }
}

/// Goal: a state of a release without keys is read, and one of a later release is not overwritten.
#[tokio::test]
async fn a_state_without_keys_is_read_and_one_of_a_later_form_is_not() {
    let mut case = Case::new().await;
    accepted(&mut case, &to_alice(300 * UNIT), "key-of-first").await;
    let with_key = String::from_utf8(case.wallet.state().to_bytes().unwrap()).unwrap();
    assert!(with_key.contains("key-of-first") && with_key.contains("\"form\":2,"));
    let (start, _) = with_key.split_once(",\"keyed\":").unwrap();
    let old = format!("{start}}}").replace("\"form\":2,", "");
    assert!(!old.contains("form") && !old.contains("key-of-first"), "{old}");
    let read = State::from_bytes(old.as_bytes()).unwrap();
    let next = Wallet::with_state(keys(2), read.clone());
    assert_eq!(next.notes(), case.wallet.notes());
    assert_eq!(next.recall(&key("key-of-first"), &to_alice(300 * UNIT)).unwrap(), None);
    let written = String::from_utf8(read.to_bytes().unwrap()).unwrap();
    assert!(written.contains("\"form\":2,") && written.ends_with(",\"keyed\":[]}"), "{written}");

    let later = with_key.replace("\"form\":2,", "\"form\":3,");
    let error = State::from_bytes(later.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("PXE-003") && error.contains("another version"), "{error}");
}
