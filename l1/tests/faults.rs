//! What nodes, processes and L1 itself do wrong: each payment lands once all the same.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{U256, keccak256};
use alloy::providers::Provider;
use alloy::providers::ext::AnvilApi;
use rollmill_l1::{L1Error, SenderConfig, TxRequest, TxSender, TxStatus, TxUpdate};
use rollmill_l1_testing::pay::{Faulty, PAYEE, count, included, paid, payment};
use rollmill_l1_testing::proxy::Fault;
use rollmill_l1_testing::{Anvil, CHAIN_ID, mine, reorg, sender, signer};

/// Fault: an endpoint rejects every broadcast for a while, and the caller comes with something new
/// each time.
#[tokio::test]
async fn rejected_broadcasts_leave_one_transaction_at_the_price_of_the_market() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::RejectTransactions);
    for wei in 1..=200 {
        let error = sender.submit(payment("propose/1", wei)).await.unwrap_err();
        assert_eq!(error.code(), "L1-004", "{error}");
    }
    let file = std::fs::metadata(test.folder.path().join("account-0.json")).unwrap();
    assert!(file.len() < 100_000, "the file grew to {} bytes", file.len());
    let asked = test.client.provider().estimate_eip1559_fees().await.unwrap();
    test.proxy.set(Fault::None);
    sender.tick().await.unwrap();
    mine(&test.client, 1).await;
    sender.tick().await.unwrap();
    assert_eq!(paid(&test.client).await, 200);
    assert_eq!(count(&test.client, 0).await, 1);
    let receipt = included(sender.status("propose/1", 0));
    let tx = test.client.provider().get_transaction_by_hash(receipt.tx_hash).await.unwrap();
    let offered = alloy::consensus::Transaction::max_fee_per_gas(&tx.unwrap());
    assert!(offered <= asked.max_fee_per_gas * 11 / 10, "{offered} of {}", asked.max_fee_per_gas);
}

/// Goal: an endpoint's acceptance of a transaction proves nothing. The task notices without a new
/// block.
#[tokio::test]
async fn a_swallowed_broadcast_is_sent_again_without_a_new_block() {
    let test = Faulty::new().await;
    let sender = Arc::new(test.sender().await);
    test.proxy.set(Fault::SwallowTransactions);
    sender.submit(payment("pay", 5)).await.unwrap();
    assert_eq!(paid(&test.client).await, 0);
    test.proxy.set(Fault::None);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut changes = sender.watch();
    let running = tokio::spawn(Arc::clone(&sender).run(async { drop(stopped.await) }));
    while !matches!(sender.status("pay", 0), Some(TxStatus::Included(_))) {
        changes.changed().await.unwrap();
    }
    assert_eq!((paid(&test.client).await, count(&test.client, 0).await), (5, 1));
    drop(stop);
    running.await.unwrap();
}

/// Goal: a reorg of any depth sends again what it dropped, once.
#[tokio::test]
async fn reorgs_of_every_depth_send_a_transaction_again() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    let mut total = 0;
    for depth in 1..=20 {
        let (purpose, wei) = (format!("pay/{depth}"), 1 << depth);
        let first = sender.send(payment(&purpose, wei)).await.unwrap();
        mine(&client, depth - 1).await;
        reorg(&client, depth).await;
        assert_eq!(paid(&client).await, total, "depth {depth}");
        let mut updates = sender.tick().await.unwrap();
        updates.retain(|update| !matches!(update, TxUpdate::Final(_)));
        assert_eq!(updates, [TxUpdate::Reorged { id: purpose.clone() }], "depth {depth}");
        let again = sender.send(payment(&purpose, wei)).await.unwrap();
        assert_eq!((again.nonce, again.tx_hash), (first.nonce, first.tx_hash), "depth {depth}");
        total += wei;
        assert_eq!(paid(&client).await, total, "depth {depth}");
    }
    assert_eq!(count(&client, 0).await, 20);
}

/// Fault: a node withholds receipts, or gives receipts of a block that is not on the chain. Neither
/// is an inclusion, nor the loss of a nonce.
#[tokio::test]
async fn false_receipts_decide_nothing() {
    for fault in [Fault::NoReceipts, Fault::ForeignReceipts] {
        let test = Faulty::new().await;
        let sender = test.sender().await;
        sender.submit(payment("pay", 5)).await.unwrap();
        mine(&test.client, 1).await;
        assert_eq!(paid(&test.client).await, 5);
        test.proxy.set(fault);
        for _ in 0..4 {
            let error = sender.tick().await.unwrap_err();
            assert!(error.to_string().contains("receipt"), "{error}");
            let status = sender.status("pay", 0);
            assert!(matches!(status, Some(TxStatus::Pending { .. })), "{status:?}");
            // Another payload of the purpose must not go out beside it.
            sender.submit(payment("pay", 7)).await.unwrap_err();
            mine(&test.client, 1).await;
        }
        test.proxy.set(Fault::None);
        sender.tick().await.unwrap();
        assert!(included(sender.status("pay", 0)).succeeded);
        assert_eq!((paid(&test.client).await, count(&test.client, 0).await), (5, 1));
    }
}

/// Goal: a lack of funds is detected by the balance, whatever the node's message is.
#[tokio::test]
async fn missing_funds_are_known_in_any_words() {
    let test = Faulty::new().await;
    let sender = test.sender().await;
    test.proxy.set(Fault::LoseTransactions);
    sender.submit(payment("pay", 5)).await.unwrap_err();
    let provider = test.client.provider();
    provider.anvil_set_balance(sender.account(), U256::from(1000)).await.unwrap();
    test.proxy.set(Fault::OtherWords);
    let error = sender.tick().await.unwrap_err();
    assert!(matches!(error, L1Error::Funds { .. }), "{error}");
    assert!(error.to_string().contains("owns 1000 wei"), "{error}");
    // Before anything is written, too.
    let error = sender.submit(payment("other", 5)).await.unwrap_err();
    assert!(matches!(error, L1Error::Funds { .. }), "{error}");
    assert_eq!(sender.status("other", 0), None);
    provider.anvil_set_balance(sender.account(), U256::from(10).pow(U256::from(18))).await.unwrap();
    sender.tick().await.unwrap();
    mine(&test.client, 1).await;
    assert_eq!(paid(&test.client).await, 5);
}

/// Goal: the process may end at any moment of a submission or a tick; the next one pays once. Method:
/// the endpoint never responds to the k-th request, having forwarded it or not, and the work is
/// dropped.
#[tokio::test]
async fn a_process_that_ends_at_any_request_pays_once() {
    // Everything is final immediately, so that each round starts with nothing in flight.
    let test = Faulty::before(Anvil::with(&["--slots-in-an-epoch", "1"])).await;
    let (mut total, mut cut) = (0, 0);
    for passes in [false, true] {
        for at in 0..40 {
            let request = payment(&format!("pay/{passes}/{at}"), 1 + at);
            let first = test.sender().await;
            test.proxy.hang_at(at as i64, passes);
            let work = async {
                first.submit(request.clone()).await.unwrap();
                first.tick().await.unwrap();
            };
            let is_cut = tokio::select! {
                () = work => false,
                () = test.proxy.hung() => true,
            };
            drop(first);
            test.proxy.hang_at(i64::MAX, false);
            cut += u64::from(is_cut);
            total += 1 + at;
            let second = test.sender().await;
            assert!(second.send(request).await.unwrap().succeeded);
            assert_eq!(paid(&test.client).await, total, "cut at request {at}, passed: {passes}");
            mine(&test.client, 3).await;
            second.tick().await.unwrap();
            if !is_cut {
                break;
            }
        }
    }
    assert!(cut >= 20, "{cut} cuts");
    assert_eq!(count(&test.client, 0).await, cut + 2);
}

/// Goal: what the version before left in its file is continued: nothing is paid twice, and what was
/// never sent is.
#[tokio::test]
async fn a_file_of_the_first_version_is_continued() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let landed = sender(&client, folder.path(), 0).await.send(payment("pay#1", 5)).await.unwrap();
    let tx = client.provider().get_transaction_by_hash(landed.tx_hash).await.unwrap().unwrap();
    use alloy::consensus::Transaction;
    let (max, tip) = (tx.max_fee_per_gas(), tx.max_priority_fee_per_gas().unwrap());
    let digest = |wei: u64| {
        let value = U256::from(wei).to_be_bytes::<32>();
        keccak256([&[20][..], PAYEE.as_slice(), &value, &[]].concat())
    };
    let genesis = client.genesis_hash().await.unwrap();
    let account = signer(0).address().to_string().to_lowercase();
    let payee = PAYEE.to_string().to_lowercase();
    let intent = |id: &str, nonce: u64, wei: u64, attempts: &str| {
        let digest = digest(wei);
        format!(
            r#"{{"id":"{id}","nonce":{nonce},"to":"{payee}","value":"0x{wei:x}","input":"0x","gas_limit":21000,"digest":"{digest}","attempts":[{attempts}],"state":"pending"}}"#
        )
    };
    let attempt = format!(
        r#"{{"tx_hash":"{}","fees":{{"max_fee_wei":{max},"max_priority_fee_wei":{tip}}},"sent_at_block":0}}"#,
        landed.tx_hash
    );
    let (one, two) = (intent("pay#1", 0, 5, &attempt), intent("other", 1, 7, ""));
    let contents = format!(
        r#"{{"version":1,"chain_id":{CHAIN_ID},"genesis_hash":"{genesis}","account":"{account}","intents":[{one},{two}]}}"#
    );
    let sealed = keccak256(&contents);
    let path = folder.path().join("old.json");
    std::fs::write(&path, format!(r#"{{"digest":"{sealed}","contents":{contents}}}"#)).unwrap();
    let config = SenderConfig { poll_interval: Duration::from_millis(10), ..Default::default() };
    let after = TxSender::open(client.clone(), signer(0), &path, config).await.unwrap();
    let again = after.send(TxRequest { attempt: 1, ..payment("pay", 5) }).await.unwrap();
    assert_eq!(again.tx_hash, landed.tx_hash);
    assert_eq!(after.send(payment("other", 7)).await.unwrap().nonce, 1);
    assert_eq!((paid(&client).await, count(&client, 0).await), (12, 2));
}

/// Goal: a fee limit is named with the setting that raises it.
#[tokio::test]
async fn the_fee_limit_names_its_setting() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let config = SenderConfig { max_fee_limit_wei: 1, ..Default::default() };
    let path = folder.path().join("limit.json");
    let sender = TxSender::open(client, signer(0), &path, config).await.unwrap();
    let error = sender.submit(payment("pay", 5)).await.unwrap_err();
    assert!(error.to_string().contains("l1_max_fee_gwei"), "{error}");
    assert_eq!(*sender.watch_fee_rejections().borrow(), 1);
}
