//! Transactions that must land once, through restarts, reorgs and failing endpoints.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use alloy::providers::Provider;
use alloy::providers::ext::AnvilApi;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use rollmill_l1::{
    L1Client, L1Error, SenderConfig, TxRequest, TxSender, TxStatus, TxUpdate, abi, attest,
};
use rollmill_l1_testing::proxy::{Fault, Proxy};
use rollmill_l1_testing::{Anvil, CHAIN_ID, Network, mine, reorg, sender, signer};

/// A payment that nothing can make fail.
fn payment(id: &str, wei: u64) -> TxRequest {
    TxRequest {
        value: U256::from(wei),
        gas_limit: Some(21_000),
        ..TxRequest::call(id, Address::with_last_byte(0x42), Default::default())
    }
}

async fn paid(client: &L1Client) -> u64 {
    client.provider().get_balance(Address::with_last_byte(0x42)).await.unwrap().to()
}

async fn no_mining() -> (Anvil, L1Client, tempfile::TempDir) {
    let anvil = Anvil::with(&["--no-mining"]);
    let client = anvil.client().await;
    (anvil, client, tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn several_pending_transactions_take_consecutive_nonces() {
    let (_anvil, client, folder) = no_mining().await;
    let sender = sender(&client, folder.path(), 0).await;
    for i in 1..=4 {
        sender.submit(payment(&format!("p{i}"), i)).await.unwrap();
    }
    mine(&client, 1).await;
    let updates = sender.tick().await.unwrap();
    let nonces: Vec<u64> = updates
        .iter()
        .map(|update| match update {
            TxUpdate::Included(receipt) if receipt.succeeded => receipt.nonce,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(nonces, [0, 1, 2, 3]);
    assert_eq!(paid(&client).await, 10);
    assert!(sender.tick().await.unwrap().is_empty());
}

/// Goal: a restart continues what was sent. Method: end the sender after submission, open another
/// one on the same file, and ask for the same id again.
#[tokio::test]
async fn an_intent_survives_a_restart_and_is_sent_once() {
    let (_anvil, client, folder) = no_mining().await;
    let before = sender(&client, folder.path(), 0).await;
    before.submit(payment("once", 5)).await.unwrap();
    drop(before);

    let after = sender(&client, folder.path(), 0).await;
    assert_eq!(after.status("once", 0), Some(TxStatus::Pending { nonce: 0, attempts: 1 }));
    after.submit(payment("once", 5)).await.unwrap();
    after.tick().await.unwrap();
    mine(&client, 2).await;
    let receipt = after.send(payment("once", 5)).await.unwrap();
    assert_eq!((receipt.nonce, receipt.attempts), (0, 1));
    assert_eq!(paid(&client).await, 5);
    drop(after);

    let last = sender(&client, folder.path(), 0).await;
    assert_eq!(last.send(payment("once", 5)).await.unwrap(), receipt);
    assert_eq!(paid(&client).await, 5);
}

/// Fault: the process ends after the intent is on disk and before the node has the transaction. Fault:
/// the node has the transaction and its response is lost.
#[tokio::test]
async fn a_submission_cut_off_on_the_wire_lands_exactly_once() {
    for fault in [Fault::LoseTransactions, Fault::LoseAnswers] {
        let anvil = Anvil::start();
        let proxy = Proxy::before(&anvil.url).await;
        let folder = tempfile::tempdir().unwrap();
        let urls = std::slice::from_ref(&proxy.url);
        let client = L1Client::connect(urls, CHAIN_ID).await.unwrap();
        let before = sender(&client, folder.path(), 0).await;
        proxy.set(fault);
        let error = before.submit(payment("cut", 5)).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        drop(before);

        proxy.set(Fault::None);
        let after = sender(&client, folder.path(), 0).await;
        let receipt = after.send(payment("cut", 5)).await.unwrap();
        assert_eq!(receipt.nonce, 0, "{fault:?}");
        assert_eq!(paid(&client).await, 5, "{fault:?}");
    }
}

#[tokio::test]
async fn a_reorg_sends_dropped_transactions_again_under_their_nonces() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    let first = sender.send(payment("a", 1)).await.unwrap();
    let second = sender.send(payment("b", 2)).await.unwrap();
    reorg(&client, 2).await;
    assert_eq!(paid(&client).await, 0);

    let updates = sender.tick().await.unwrap();
    assert_eq!(
        updates,
        [TxUpdate::Reorged { id: "a".into() }, TxUpdate::Reorged { id: "b".into() }]
    );
    let again = sender.send(payment("a", 1)).await.unwrap();
    assert_eq!((again.nonce, again.tx_hash), (first.nonce, first.tx_hash));
    assert_ne!(again.block_hash, first.block_hash);
    let again = sender.send(payment("b", 2)).await.unwrap();
    assert_eq!((again.nonce, again.tx_hash), (second.nonce, second.tx_hash));
    assert_eq!(paid(&client).await, 3);
}

#[tokio::test]
async fn fees_rise_until_a_transaction_is_included() {
    let (_anvil, client, folder) = no_mining().await;
    let sender = sender(&client, folder.path(), 0).await;
    sender.submit(payment("slow", 5)).await.unwrap();
    // The next blocks ask for more than was offered.
    for _ in 0..3 {
        client.provider().anvil_set_next_block_base_fee_per_gas(50_000_000_000).await.unwrap();
        mine(&client, 1).await;
    }
    assert_eq!(paid(&client).await, 0);
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Bumped { id, .. }] if id == "slow"), "{updates:?}");
    mine(&client, 1).await;
    let updates = sender.tick().await.unwrap();
    let [TxUpdate::Included(receipt)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!((receipt.nonce, receipt.attempts), (0, 2));
    assert_eq!(paid(&client).await, 5);
}

/// Goal: a node whose fee history lags behind its head does not delay a transaction.
#[tokio::test]
async fn an_old_fee_history_underprices_nothing() {
    let anvil = Anvil::with(&["--no-mining"]);
    let proxy = Proxy::before(&anvil.url).await;
    let folder = tempfile::tempdir().unwrap();
    let client = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    client.provider().anvil_set_next_block_base_fee_per_gas(50_000_000_000).await.unwrap();
    mine(&client, 1).await;
    proxy.set(Fault::OldFees);
    sender.submit(payment("dear", 5)).await.unwrap();
    mine(&client, 1).await;
    let updates = sender.tick().await.unwrap();
    let [TxUpdate::Included(receipt)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(receipt.attempts, 1);
    assert_eq!(paid(&client).await, 5);
}

#[tokio::test]
async fn fees_above_the_limit_are_rejected_at_first_and_waited_out_later() {
    let (_anvil, client, folder) = no_mining().await;
    let open = |limit| {
        let config = SenderConfig { max_fee_limit_wei: limit, ..Default::default() };
        let path = folder.path().join("limit.json");
        let client = client.clone();
        async move { TxSender::open(client, signer(0), &path, config).await.unwrap() }
    };
    let low = open(1).await;
    let error = low.submit(payment("dear", 5)).await.unwrap_err();
    assert_eq!(error.code(), "L1-010");
    assert_eq!(low.status("dear", 0), None);
    drop(low);

    let sender = open(20_000_000_000).await;
    sender.submit(payment("dear", 5)).await.unwrap();
    for _ in 0..3 {
        client.provider().anvil_set_next_block_base_fee_per_gas(50_000_000_000).await.unwrap();
        mine(&client, 1).await;
    }
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::FeeLimited { .. }]), "{updates:?}");
    assert_eq!(paid(&client).await, 0);
    // The price falls below the limit: the next poll offers it.
    client.provider().anvil_set_next_block_base_fee_per_gas(1_000_000_000).await.unwrap();
    mine(&client, 1).await;
    sender.tick().await.unwrap();
    mine(&client, 1).await;
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Included(_)]), "{updates:?}");
    assert_eq!(paid(&client).await, 5);
}

/// Goal: a nonce that another program used is an error, and never a second transaction.
#[tokio::test]
async fn a_nonce_used_by_another_program_loses_the_transaction() {
    let anvil = Anvil::start();
    let proxy = Proxy::before(&anvil.url).await;
    let folder = tempfile::tempdir().unwrap();
    let client = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    proxy.set(Fault::LoseTransactions);
    sender.submit(payment("mine", 5)).await.unwrap_err();
    proxy.set(Fault::None);
    let foreign = TransactionRequest::default()
        .from(signer(0).address())
        .to(Address::with_last_byte(0x43))
        .value(U256::from(1));
    // In a block before the sender polls: until then its own form may still take the nonce.
    let foreign = client.provider().send_transaction(foreign).await.unwrap();
    foreign.get_receipt().await.unwrap();

    let error = sender.send(payment("mine", 5)).await.unwrap_err();
    assert!(matches!(error, L1Error::NonceTaken { nonce: 0, .. }), "{error}");
    assert_eq!(paid(&client).await, 0);
    // Under a new id it goes out with the next nonce.
    assert_eq!(sender.send(payment("mine-2", 5)).await.unwrap().nonce, 1);
    assert_eq!(paid(&client).await, 5);
}

#[tokio::test]
async fn finality_settles_a_transaction() {
    let anvil = Anvil::with(&["--slots-in-an-epoch", "1"]);
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    assert!(!sender.send(payment("a", 1)).await.unwrap().is_final);
    mine(&client, 4).await;
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::Final(receipt)] if receipt.is_final), "{updates:?}");
    assert!(sender.send(payment("a", 1)).await.unwrap().is_final);
    assert!(sender.tick().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_file_serves_one_process_one_account_and_one_chain() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("account.json");
    let open = |client: L1Client, index: usize| {
        let path = path.clone();
        async move { TxSender::open(client, signer(index), &path, SenderConfig::default()).await }
    };
    let first = open(client.clone(), 0).await.unwrap();
    first.send(payment("a", 1)).await.unwrap();
    assert_eq!(open(client.clone(), 0).await.unwrap_err().code(), "L1-013");
    assert_eq!(first.submit(payment("a", 2)).await.unwrap_err().code(), "L1-014");
    drop(first);

    assert_eq!(open(client.clone(), 1).await.unwrap_err().code(), "L1-012");
    let other = Anvil::with(&["--timestamp", "1700000000"]);
    let error = open(other.client().await, 0).await.unwrap_err();
    assert_eq!(error.code(), "L1-012", "{error}");

    let bytes = std::fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], b"", b"{}"] {
        std::fs::write(&path, damaged).unwrap();
        let error = open(client.clone(), 0).await.unwrap_err();
        assert_eq!(error.code(), "L1-011", "{error}");
    }
    std::fs::write(&path, &bytes).unwrap();
    open(client, 0).await.unwrap();
}

#[tokio::test]
async fn a_call_that_would_revert_is_rejected_with_the_contracts_reason() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    let stranger = sender(&network.client, network.folder.path(), 1).await;
    let args = network.next(1).await;
    let call = abi::propose_calldata(args, attest::attestations(&[]), abi::no_data());
    let request = TxRequest::call("propose-1", network.rollup.address(), call);
    let error = stranger.send(request).await.unwrap_err();
    assert_eq!(error.code(), "L1-008");
    assert!(error.to_string().contains("ProposerMissing"), "{error}");
    assert_eq!(stranger.status("propose-1", 0), None);
}

#[tokio::test]
async fn an_account_without_funds_is_named() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let poor: PrivateKeySigner = format!("{:064x}", 0xbad).parse().unwrap();
    let config = SenderConfig { poll_interval: Duration::from_millis(10), ..Default::default() };
    let path = folder.path().join("poor.json");
    let sender = TxSender::open(client, poor.clone(), &path, config).await.unwrap();
    let request = TxRequest { gas_limit: None, ..payment("a", 1) };
    let error = sender.send(request).await.unwrap_err();
    assert_eq!(error.code(), "L1-017", "{error}");
    assert!(error.to_string().contains(&poor.address().to_string()), "{error}");
}
