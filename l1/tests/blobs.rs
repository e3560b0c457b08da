//! Blob transactions on a development L1: real commitments and cell proofs, a contract that reads the blob's hash, and the
//! replacement rules of real pools before it.

use std::sync::Arc;

use alloy::primitives::{B256, Bytes, U256};
use alloy::providers::Provider;
use alloy::providers::ext::AnvilApi;
use alloy::sol_types::SolCall;
use rollmill_l1::blob::{Blob, Kzg, Sidecar};
use rollmill_l1::{
    L1Client, L1Error, SenderConfig, TxRequest, TxSender, TxUpdate, creation_code, deploy,
};
use rollmill_l1_testing::pay::{Faulty, included, mine_full, paid, payment};
use rollmill_l1_testing::proxy::Fault;
use rollmill_l1_testing::{Anvil, mine, reorg, sender, signer};
use rollmill_protocol::Commitment;
use rollmill_protocol::Fr;
use rollmill_protocol::blob::{self, Opening, encode_words};

fn blob_of(words: &[Fr]) -> Blob {
    Blob::from_bytes(&encode_words(words).unwrap()).unwrap()
}

/// A block's data, with the proofs that Ethereum's library computes.
async fn sidecar(words: u64) -> Arc<Sidecar> {
    let words: Vec<_> = (1..=words).map(Fr::from).collect();
    let made = move || Kzg::start().sidecar(blob_of(&words)).unwrap();
    Arc::new(tokio::task::spawn_blocking(made).await.unwrap())
}

fn with(sidecar: &Arc<Sidecar>, request: TxRequest) -> TxRequest {
    TxRequest { sidecar: Some(Arc::clone(sidecar)), ..request }
}

/// Creation code of a contract whose calls revert unless their transaction has a blob: it runs PUSH0 BLOBHASH ISZERO
/// PUSH1 7 JUMPI STOP JUMPDEST PUSH0 PUSH0 REVERT.
fn blob_reader() -> Bytes {
    let runtime = [0x5f, 0x49, 0x15, 0x60, 7, 0x57, 0x00, 0x5b, 0x5f, 0x5f, 0xfd];
    let copy =
        [0x60, runtime.len() as u8, 0x60, 10, 0x5f, 0x39, 0x60, runtime.len() as u8, 0x5f, 0xf3];
    [&copy[..], &runtime[..]].concat().into()
}

async fn blobs_of(client: &L1Client, tx_hash: B256) -> Vec<Bytes> {
    let blobs: Option<Vec<Bytes>> = client
        .provider()
        .raw_request("anvil_getBlobsByTransactionHash".into(), [tx_hash])
        .await
        .unwrap();
    blobs.unwrap_or_default()
}

#[tokio::test]
async fn a_contract_sees_the_blob_in_simulation_and_in_its_block() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    let reader = deploy(&sender, "reader", blob_reader()).await.unwrap().address;
    let call = |id: &str| TxRequest::call(id, reader, Bytes::new());
    let error = sender.send(call("plain")).await.unwrap_err();
    assert!(matches!(error, L1Error::WouldRevert { .. }), "{error}");

    let sidecar = sidecar(82).await;
    let receipt = sender.send(with(&sidecar, call("propose/1"))).await.unwrap();
    assert!(receipt.succeeded && receipt.attempts == 1, "{receipt:?}");
    let blobs = blobs_of(&client, receipt.tx_hash).await;
    assert_eq!(blobs.len(), 1);
    assert_eq!(&blobs[0][..], sidecar.blob().as_bytes());
}

mod contract {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

    alloy::sol! {
        /// As in `contracts/src/IRollup.sol`.
        struct DaInput {
            uint256 blobIndex;
            uint256 z;
            uint256 y;
            bytes commitment;
            bytes proof;
        }

        function commit(DaInput data) external view returns (bytes32 versionedHash);
    }
}

/// Goal: what this crate publishes is what the contract of protocol 2 requires: the blob under its index, the commitment,
/// and the opening that L1's precompile verifies. Nothing else passes.
#[tokio::test]
async fn the_contract_of_protocol_2_accepts_the_opening_of_a_published_blob_and_no_other() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    let artifact = include_str!("../../contracts/artifacts/BlobAvailability.json");
    let code = creation_code(artifact).unwrap();
    let availability = deploy(&sender, "availability", code).await.unwrap().address;

    let words: Vec<Fr> = (1..=164).map(Fr::from).collect();
    let z = Fr::from(77);
    let opened = words.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let blob = blob_of(&opened);
        (Kzg::start().prove(&blob, &z).unwrap(), Kzg::start().sidecar(blob).unwrap())
    });
    let ((y, proof), published) = opened.await.unwrap();
    let opening = Opening {
        commitment: Commitment(published.commitment().0),
        z,
        y: blob::evaluate(&words, &blob::to_blob_field(&z)),
    };
    assert_eq!(y, opening.y_bytes());
    let published = Arc::new(published);
    let right = contract::DaInput {
        blobIndex: U256::ZERO,
        z: U256::from(77),
        y: U256::from_be_bytes(y),
        commitment: published.commitment().0.into(),
        proof: proof.0.into(),
    };
    let call = |id: &str, data: &contract::DaInput| {
        let input = contract::commitCall { data: data.clone() }.abi_encode();
        TxRequest::call(id, availability, input.into())
    };
    let other = sidecar(163).await;
    let change = |change: fn(&mut contract::DaInput)| {
        let mut data = right.clone();
        change(&mut data);
        data
    };
    for (id, request) in [
        ("no-blob", call("no-blob", &right)),
        ("other-blob", with(&other, call("other-blob", &right))),
        ("index", with(&published, call("index", &change(|data| data.blobIndex = U256::from(1))))),
        ("z", with(&published, call("z", &change(|data| data.z = U256::from(78))))),
        ("y", with(&published, call("y", &change(|data| data.y += U256::from(1))))),
        ("proof", with(&published, call("proof", &change(|data| data.proof = vec![0; 48].into())))),
    ] {
        let error = sender.send(request).await.unwrap_err();
        assert!(matches!(error, L1Error::WouldRevert { .. }), "{id}: {error}");
    }
    let receipt = sender.send(with(&published, call("right", &right))).await.unwrap();
    assert!(receipt.succeeded, "{receipt:?}");
    println!("gas of publishing and opening: {}", receipt.gas_used);
}

/// Fault: the process ends between broadcast and inclusion, and the node loses the transaction; later a reorg drops the
/// block.
#[tokio::test]
async fn a_blob_survives_a_restart_and_a_reorg() {
    let anvil = Anvil::with(&["--no-mining"]);
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sidecar = sidecar(3).await;
    let before = sender(&client, folder.path(), 0).await;
    before.submit(with(&sidecar, payment("propose/1", 5))).await.unwrap();
    drop(before);
    client.provider().anvil_drop_all_transactions().await.unwrap();

    let after = sender(&client, folder.path(), 0).await;
    after.tick().await.unwrap();
    mine(&client, 1).await;
    after.tick().await.unwrap();
    let first = included(after.status("propose/1", 0));
    assert_eq!(first.attempts, 1);
    reorg(&client, 1).await;
    assert!(blobs_of(&client, first.tx_hash).await.is_empty());
    let updates = after.tick().await.unwrap();
    assert_eq!(updates, [TxUpdate::Reorged { id: "propose/1".to_owned() }]);
    mine(&client, 1).await;
    after.tick().await.unwrap();
    let second = included(after.status("propose/1", 0));
    assert_eq!((second.nonce, second.tx_hash), (first.nonce, first.tx_hash));
    let blobs = blobs_of(&client, second.tx_hash).await;
    assert_eq!(&blobs[0][..], sidecar.blob().as_bytes());
    assert_eq!(paid(&client).await, 5);
}

/// Goal: real pools accept each bump. Method: anvil mines nothing, and the endpoint before it has their rules.
#[tokio::test]
async fn a_pool_with_real_rules_accepts_each_replacement_of_a_blob() {
    let faulty = Faulty::before(Anvil::with(&["--no-mining"])).await;
    faulty.proxy.set(Fault::RealPool);
    let path = faulty.folder.path().join("account-0.json");
    let config = SenderConfig { bump_after_blocks: 1, ..Default::default() };
    let client = faulty.proxied.clone();
    let sender = TxSender::open(client, signer(0), &path, config).await.unwrap();
    let sidecar = sidecar(5).await;
    sender.submit(with(&sidecar, payment("propose/1", 5))).await.unwrap();
    // The next blocks ask for more than was offered.
    for fee in [50_000_000_000_u128, 200_000_000_000] {
        let provider = faulty.client.provider();
        provider.anvil_set_next_block_base_fee_per_gas(fee).await.unwrap();
        mine(&faulty.client, 1).await;
        let updates = sender.tick().await.unwrap();
        assert!(matches!(&updates[..], [TxUpdate::Bumped { .. }]), "{updates:?}");
    }
    // A plain request of another purpose waits behind it, then goes out.
    sender.submit(payment("prune/1", 7)).await.unwrap();
    mine(&faulty.client, 1).await;
    sender.tick().await.unwrap();
    let receipt = included(sender.status("propose/1", 0));
    assert_eq!((receipt.nonce, receipt.attempts), (0, 3));
    mine(&faulty.client, 1).await;
    sender.tick().await.unwrap();
    assert_eq!(included(sender.status("prune/1", 0)).nonce, 1);
    assert_eq!(paid(&faulty.client).await, 12);
    assert!(faulty.proxy.rejected().is_empty(), "{:?}", faulty.proxy.rejected());
}

/// The endpoint of these tests rejects what real pools reject: a replacement with 30 % more.
#[tokio::test]
async fn the_endpoint_with_real_rules_rejects_a_small_replacement() {
    let faulty = Faulty::before(Anvil::with(&["--no-mining"])).await;
    let sidecar = sidecar(5).await;
    faulty.proxy.set(Fault::RealPool);
    let sent = async |folder: &tempfile::TempDir, base_fee: u128| {
        let provider = faulty.client.provider();
        provider.anvil_set_next_block_base_fee_per_gas(base_fee).await.unwrap();
        mine_full(&faulty.client).await;
        let sender = sender(&faulty.proxied, folder.path(), 0).await;
        sender.submit(with(&sidecar, payment("propose/1", 5))).await
    };
    // Two senders of one account, which know nothing of each other, as no program should be run.
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sent(&first, 1_000_000_000).await.unwrap();
    sent(&second, 1_300_000_000).await.unwrap();
    assert_eq!(faulty.proxy.rejected(), ["replacement transaction underpriced"]);
}

/// Goal: a request in a log or a failed test is a few lines, whatever it carries.
#[test]
fn a_request_with_a_blob_is_short_in_debug_output() {
    let input = vec![7; 5_000].into();
    let call = TxRequest::call("propose/1", alloy::primitives::Address::with_last_byte(1), input);
    let request = with(&Arc::new(Sidecar::empty()), call);
    let shown = format!("{request:?}");
    assert!(shown.len() < 1_000, "{} bytes", shown.len());
    for part in ["propose/1", "5000 bytes, SHA-256 0x", "131072 bytes, SHA-256 0x"] {
        assert!(shown.contains(part), "{shown}");
    }
}
