//! Purposes, attempts, expiry and fences: at most one transaction of a purpose lands, and nothing
//! worthless is sent.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use alloy::eips::BlockId;
use alloy::primitives::Bytes;
use alloy::providers::Provider;
use alloy::providers::ext::AnvilApi;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use rollmill_l1::economics::Reading;
use rollmill_l1::{Expiry, L1Client, L1Error, Right, TxRequest, TxSender, TxStatus, TxUpdate, abi};
use rollmill_l1_testing::pay::{
    BLOCK_GAS, Faulty, count, head, included, mine_full, paid, payment, reason, set_block_gas,
};
use rollmill_l1_testing::proxy::{Fault, Proxy};
use rollmill_l1_testing::{Anvil, CHAIN_ID, Network, mine, range, reorg, sender};

/// Goal: of the requests of one purpose at most one is included, whichever pool contains the others.
#[tokio::test]
async fn a_newer_request_takes_the_older_ones_nonce() {
    let anvil = Anvil::with(&["--no-mining"]);
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    for wei in [1, 10, 100] {
        sender.submit(payment("pay", wei)).await.unwrap();
        sender.submit(payment("other", 1_000)).await.unwrap();
    }
    let later = TxRequest { attempt: 1, ..payment("pay", 10_000) };
    sender.submit(later.clone()).await.unwrap();
    mine(&client, 2).await;
    sender.tick().await.unwrap();
    assert_eq!(paid(&client).await, 11_000);
    assert_eq!(count(&client, 0).await, 2);
    assert_eq!(included(sender.status("pay", 1)).nonce, 0);
    assert_eq!(included(sender.status("other", 0)).nonce, 1);
    assert_eq!(reason(sender.status("pay", 0)), "`pay#1` took its place");
    // The purpose has gone on.
    let error = sender.submit(payment("pay", 1)).await.unwrap_err();
    assert_eq!(error.code(), "L1-014");
    sender.submit(later).await.unwrap();
    assert_eq!(sender.attempt_for("pay"), 2);
    assert_eq!(sender.attempt_for("new"), 0);
}

/// The same proposal as block 7, which the rollup rejects before it looks at the signature.
fn wrong_number(proposal: &Bytes) -> Bytes {
    let mut call = abi::Rollup::proposeCall::abi_decode(proposal).unwrap();
    call.args.blockNumber = 7;
    call.abi_encode().into()
}

/// Goal: an attempt that reverted ends the attempt, not the purpose.
#[tokio::test]
async fn a_reverted_attempt_is_followed_by_the_next() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    let sender = &network.sender;
    let right = network.next(1).await;
    let right = network.proposal(right).await;
    let wrong = wrong_number(&right);
    let propose = |call: &Bytes, attempt, gas_limit| TxRequest {
        attempt,
        gas_limit,
        ..TxRequest::call("propose/1", network.rollup.address(), call.clone())
    };
    let reverting = propose(&wrong, 0, Some(1_000_000));
    assert!(!sender.send(reverting.clone()).await.unwrap().succeeded);
    assert!(!sender.send(reverting).await.unwrap().succeeded, "the same again is the same");
    let error = sender.submit(propose(&right, 0, None)).await.unwrap_err();
    assert!(matches!(error, L1Error::IntentConflict { .. }), "{error}");
    let attempt = sender.attempt_for("propose/1");
    assert_eq!(attempt, 1);
    assert!(sender.send(propose(&right, attempt, None)).await.unwrap().succeeded);
    assert_eq!(network.rollup.tips().await.unwrap().pending, 1);
}

/// Goal: a process that decides by a reading of L1 pays once, if what was pending during the reading lands before the
/// decision is carried out.
#[tokio::test]
async fn what_lands_after_a_reading_is_not_sent_a_second_time() {
    let anvil = Anvil::with(&["--no-mining"]);
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    let read = || async { Reading::of(&sender, "top-up").await.unwrap().unwrap() };
    sender.submit(payment("top-up", 5)).await.unwrap();
    let reading = read().await;
    mine(&client, 1).await;
    sender.tick().await.unwrap();
    let landed = included(sender.status("top-up", 0));
    let limit = Duration::from_secs(60);
    let sent = reading.send_within(&sender, payment("top-up", 5), limit).await.unwrap().unwrap();
    assert_eq!(sent, landed);
    assert_eq!((paid(&client).await, count(&client, 0).await), (5, 1));
    // The next reading shows it, so that one more can be asked for.
    assert!(read().await.head.number >= landed.block_number);
    client.provider().anvil_set_auto_mine(true).await.unwrap();
    let more = read().await.send_within(&sender, payment("top-up", 5), limit).await;
    assert_eq!(more.unwrap().unwrap().nonce, 1);
    assert_eq!(paid(&client).await, 10);
}

/// Goal: what has expired in a pool is displaced by a transfer of nothing, whose nonce a later request
/// may take instead.
#[tokio::test]
async fn an_expired_transaction_in_a_pool_never_lands() {
    for takes_over in [false, true] {
        let anvil = Anvil::with(&["--no-mining"]);
        let client = anvil.client().await;
        let folder = tempfile::tempdir().unwrap();
        let sender = sender(&client, folder.path(), 0).await;
        let expires = Some(Expiry::Block(head(&client).await + 2));
        sender.submit(TxRequest { expires, ..payment("late", 5) }).await.unwrap();
        mine_full(&client).await;
        assert_eq!(sender.tick().await.unwrap(), []);
        mine_full(&client).await;
        let updates = sender.tick().await.unwrap();
        let [TxUpdate::Dropped { id, reason: why }] = &updates[..] else { panic!("{updates:?}") };
        assert_eq!((id.as_str(), why.as_str()), ("late", "it has expired"));
        if takes_over {
            sender.submit(payment("next", 7)).await.unwrap();
        }
        mine(&client, 1).await;
        assert_eq!(paid(&client).await, if takes_over { 7 } else { 0 });
        assert_eq!(count(&client, 0).await, 1);
        assert_eq!(sender.tick().await.unwrap().len(), usize::from(takes_over));
        assert_eq!(reason(sender.status("late", 0)), "it has expired");
        let rejected = sender.submit(TxRequest { expires, ..payment("late", 6) }).await;
        assert_eq!(rejected.unwrap_err().code(), "L1-020");
        // The account continues.
        sender.submit(payment("after", 11)).await.unwrap();
        mine(&client, 1).await;
        assert_eq!(count(&client, 0).await, 2);
    }
}

/// Goal: what has expired and is in no pool costs nothing; its nonce goes to the next request.
#[tokio::test]
async fn an_expired_transaction_that_no_pool_holds_costs_nothing() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::LoseTransactions);
    let expires = Some(Expiry::Block(head(&test.client).await + 1));
    sender.submit(TxRequest { expires, ..payment("late", 5) }).await.unwrap_err();
    test.proxy.set(Fault::None);
    mine(&test.client, 1).await;
    sender.tick().await.unwrap();
    assert_eq!(reason(sender.status("late", 0)), "it has expired");
    sender.tick().await.unwrap();
    assert_eq!(count(&test.client, 0).await, 0, "nothing was worth sending");
    assert_eq!(sender.send(payment("next", 7)).await.unwrap().nonce, 0);
    assert_eq!(paid(&test.client).await, 7);
}

/// Goal: a nonce that no request needs any more does not block the ones after it.
#[tokio::test]
async fn a_dead_nonce_is_filled_for_what_waits_behind_it() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::LoseTransactions);
    let expires = Some(Expiry::Block(head(&test.client).await + 1));
    sender.submit(TxRequest { expires, ..payment("late", 5) }).await.unwrap_err();
    test.proxy.set(Fault::None);
    sender.submit(payment("behind", 7)).await.unwrap();
    assert_eq!(count(&test.client, 0).await, 0);
    mine(&test.client, 1).await;
    sender.tick().await.unwrap();
    mine(&test.client, 1).await;
    sender.tick().await.unwrap();
    assert_eq!((paid(&test.client).await, count(&test.client, 0).await), (7, 2));
    assert_eq!(included(sender.status("behind", 0)).nonce, 1);
}

/// Goal: what would revert by now is not sent again, and what a pool holds of it is displaced. Method:
/// two accounts prove the same blocks, and the other one's proof lands first.
#[tokio::test]
async fn what_would_revert_by_now_is_not_sent() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    network.propose(1).await;
    network.propose(2).await;
    let client = &network.client;
    let proxy = Proxy::before(&anvil.url).await;
    let proxied = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
    let mine_of = sender(&proxied, network.folder.path(), 1).await;
    let other = sender(client, network.folder.path(), 2).await;
    let prove = |last: u64| {
        let call = abi::submit_calldata(range(0, last), vec![7; 64]);
        TxRequest::call(format!("prove/{last}"), network.rollup.address(), call)
    };

    // In no pool: nothing is sent at all.
    proxy.set(Fault::LoseTransactions);
    mine_of.submit(prove(1)).await.unwrap_err();
    assert!(other.send(prove(1)).await.unwrap().succeeded);
    proxy.set(Fault::None);
    let updates = mine_of.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Dropped { .. }]), "{updates:?}");
    let why = reason(mine_of.status("prove/1", 0));
    assert!(why.starts_with("it would revert: Range"), "{why}");
    assert_eq!(count(client, 1).await, 0);

    // In the pool, behind the other one's in a block that fits one.
    let provider = client.provider();
    provider.anvil_set_auto_mine(false).await.unwrap();
    mine_of.submit(prove(2)).await.unwrap();
    let theirs = TransactionRequest::default()
        .from(other.account())
        .to(network.rollup.address())
        .input(prove(2).input.into());
    let gas = provider.estimate_gas(theirs.clone()).block(BlockId::latest()).await.unwrap() * 6 / 5;
    let theirs = theirs
        .gas_limit(gas)
        .max_fee_per_gas(100_000_000_000)
        .max_priority_fee_per_gas(50_000_000_000);
    let _ = provider.send_transaction(theirs).await.unwrap();
    set_block_gas(client, gas + 100).await;
    mine(client, 1).await;
    set_block_gas(client, BLOCK_GAS).await;
    assert_eq!(network.rollup.tips().await.unwrap().proven, 2);
    assert_eq!(count(client, 1).await, 0);
    let updates = mine_of.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Dropped { .. }]), "{updates:?}");
    mine(client, 1).await;
    mine_of.tick().await.unwrap();
    assert_eq!(count(client, 1).await, 1);
    let block = provider.get_block_by_number(head(client).await.into()).full().await;
    let block = block.unwrap().unwrap();
    let txs = block.transactions.as_transactions().unwrap();
    assert_eq!(txs.len(), 1);
    assert_eq!(alloy::consensus::Transaction::gas_limit(&txs[0]), 21_000);
}

/// A sender whose fence is good, unknown or gone.
async fn guarded(client: &L1Client, folder: &Path, right: &Arc<AtomicU8>) -> TxSender {
    let right = Arc::clone(right);
    sender(client, folder, 0).await.guarded(move |_| match right.load(Ordering::SeqCst) {
        0 => Right::Held,
        1 => Right::Unknown,
        _ => Right::Gone,
    })
}

#[tokio::test]
async fn without_the_right_nothing_is_sent() {
    let test = Faulty::new().await;
    let right = Arc::new(AtomicU8::new(0));
    let sender = guarded(&test.proxied, test.folder.path(), &right).await;
    let fenced =
        |purpose: &str, wei, fence| TxRequest { fence: Some(fence), ..payment(purpose, wei) };
    // Recorded while the right was held, and not sent before it was in doubt.
    test.proxy.set(Fault::LoseTransactions);
    sender.submit(fenced("prove/1", 5, 4)).await.unwrap_err();
    test.proxy.set(Fault::None);
    right.store(1, Ordering::SeqCst);
    sender.tick().await.unwrap();
    assert!(matches!(sender.status("prove/1", 0), Some(TxStatus::Pending { .. })));
    assert_eq!(count(&test.client, 0).await, 0);
    // Gone, before it was sent.
    right.store(2, Ordering::SeqCst);
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Dropped { .. }]), "{updates:?}");
    for rejected in [fenced("prove/1", 5, 4), fenced("prove/2", 7, 4)] {
        assert_eq!(sender.submit(rejected).await.unwrap_err().code(), "L1-020");
    }
    assert_eq!(sender.status("prove/2", 0), None);
    sender.tick().await.unwrap();
    assert_eq!(count(&test.client, 0).await, 0);
    // Back under a higher fence: the same attempt goes out under its nonce.
    right.store(0, Ordering::SeqCst);
    assert_eq!(sender.submit(fenced("prove/1", 5, 3)).await.unwrap_err().code(), "L1-014");
    assert_eq!(sender.send(fenced("prove/1", 5, 6)).await.unwrap().nonce, 0);
    assert_eq!(paid(&test.client).await, 5);
    assert_eq!(sender.submit(fenced("prove/1", 9, 4)).await.unwrap_err().code(), "L1-014");
}

/// Goal: the right is asked about after the file is written, which may take its time.
#[tokio::test]
async fn a_right_that_goes_while_the_file_is_written_sends_nothing() {
    let test = Faulty::new().await;
    let asked = AtomicU8::new(0);
    let sender = test.sender().await.guarded(move |fence| {
        assert_eq!(fence, 4);
        if asked.fetch_add(1, Ordering::SeqCst) == 0 { Right::Held } else { Right::Gone }
    });
    let request = TxRequest { fence: Some(4), ..payment("prove/1", 5) };
    assert_eq!(sender.submit(request).await.unwrap_err().code(), "L1-020");
    sender.tick().await.unwrap();
    assert_eq!(count(&test.client, 0).await, 0);
    assert!(reason(sender.status("prove/1", 0)).contains("right"));
}

/// Goal: a pool's transaction is not displaced because the right is gone: it may well be good.
#[tokio::test]
async fn a_transaction_in_a_pool_outlives_the_right_to_send_it() {
    let anvil = Anvil::with(&["--no-mining"]);
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let right = Arc::new(AtomicU8::new(0));
    let sender = guarded(&client, folder.path(), &right).await;
    let fenced = TxRequest { fence: Some(4), ..payment("prove/1", 5) };
    sender.submit(fenced).await.unwrap();
    for _ in 0..4 {
        mine_full(&client).await;
    }
    // It would be offered more, if that were allowed.
    right.store(2, Ordering::SeqCst);
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Dropped { .. }]), "{updates:?}");
    // Another purpose leaves it alone.
    sender.submit(payment("prune/0", 100)).await.unwrap();
    mine(&client, 1).await;
    sender.tick().await.unwrap();
    assert_eq!((paid(&client).await, count(&client, 0).await), (105, 2));
    assert_eq!(included(sender.status("prove/1", 0)).attempts, 1);
}

/// Goal: after a reorg that takes a reverted attempt and its successor back, one of them lands.
#[tokio::test]
async fn a_reorg_brings_back_the_last_attempt_only() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    let (client, sender) = (&network.client, &network.sender);
    let before = count(client, 0).await;
    let right = network.next(1).await;
    let right = network.proposal(right).await;
    let wrong = wrong_number(&right);
    let to = network.rollup.address();
    let reverting =
        TxRequest { gas_limit: Some(1_000_000), ..TxRequest::call("propose/1", to, wrong) };
    assert!(!sender.send(reverting).await.unwrap().succeeded);
    let next = TxRequest { attempt: 1, ..TxRequest::call("propose/1", to, right) };
    assert!(sender.send(next.clone()).await.unwrap().succeeded);
    reorg(client, 2).await;
    let mut updates = sender.tick().await.unwrap();
    mine(client, 1).await;
    updates.extend(sender.tick().await.unwrap());
    assert!(
        updates.iter().any(|u| matches!(u, TxUpdate::Dropped { id, .. } if id == "propose/1")),
        "{updates:?}"
    );
    assert!(sender.send(next).await.unwrap().succeeded);
    assert_eq!(network.rollup.tips().await.unwrap().pending, 1);
    assert_eq!(count(client, 0).await, before + 2);
    assert!(reason(sender.status("propose/1", 0)).contains("came after it"));
}
