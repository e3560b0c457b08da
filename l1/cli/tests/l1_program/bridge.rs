//! Deposits and withdrawals.

use std::sync::Arc;

use rollmill_l1::alloy::primitives::{Address, B256};
use rollmill_l1::alloy::signers::SignerSync;
use rollmill_l1::blob::{Blob, Kzg};
use rollmill_l1::{TxRequest, abi, attest};
use rollmill_l1_testing::{CHAIN_ID, signer};
use rollmill_protocol::blob::{Opening, encode_words, evaluate, to_blob_field};
use rollmill_protocol::message::{out_path, out_root, withdraw_leaf};
use rollmill_protocol::{ChainLink, Commitment, EthAddress, Fr, field};
use rollmill_pxe::keys::Keys;
use rollmill_pxe::withdrawal::Withdrawal;

use crate::{Case, assert_failed, azt};

/// Goal: a deposit moves exactly its amount, leaves no allowance, and names the block and the index by which the
/// account claims it; what cannot be a deposit sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_moves_its_amount_and_names_the_claim() {
    let case = Case::new().await;
    let portal = case.network.info.contracts.feePortal;
    let to = Keys::from_seed(&[7; 32]).address();
    let text = to.to_string();
    let nonce = case.nonce().await;
    for (amount, exit, code, part) in [
        ("0.0000000001", 2, "L1C-003", "nine decimals"),
        ("18446744073.709551616", 2, "L1C-003", "18446744073.709551615"),
        ("1e3", 2, "SVC-003", "an amount of AZT"),
        ("0", 2, "SVC-003", "more than 0"),
        ("1000001", 1, "L1C-002", "has 1000000 AZT and needs 1000001 AZT"),
    ] {
        let failed = case.fail(&["deposit", "--to", &text, "--amount", amount]);
        assert_failed(failed, exit, code, part);
    }
    let failed = case.fail(&["deposit", "--to", &text[..40], "--amount", "1"]);
    assert!(failed.0 == 2 && failed.1.contains("a part is missing"), "{failed:?}");
    let failed = case.fail_as(1, &["deposit", "--to", &text, "--amount", "1"]);
    assert_failed(failed, 1, "L1C-002", "has 0 AZT and needs 1 AZT");

    let dry = case.run(&["deposit", "--to", &text, "--amount", "1.5", "--dry-run"]);
    assert_eq!(dry["sent"], false);
    assert_eq!(dry["call"][0]["outcome"], "succeeds", "{dry}");
    assert!(dry["call"][1]["what"].as_str().unwrap().contains("1500000000 units"), "{dry}");
    assert_eq!(case.nonce().await, nonce, "a transaction was sent");

    let sent = case.run(&["deposit", "--to", &text, "--amount", "1.5"]);
    assert_eq!(sent["units"], 1_500_000_000);
    assert_eq!((&sent["appended_in_block"], &sent["claim_from_block"]), (&2.into(), &3.into()));
    assert_eq!(sent["index"], 64, "{sent}");
    assert_eq!(case.tokens(portal).await, azt("1.5"));
    let allowance = case.economics.allowance(signer(0).address(), portal).await.unwrap();
    assert!(allowance.is_zero(), "{allowance}");
    // The same command once more is another deposit, by either form of the address.
    let field = field::to_hex(&to.to_field());
    let again = case.run(&["deposit", "--to", &field, "--amount", "1.5"]);
    assert_eq!(again["index"], 65, "{again}");
    assert_eq!(case.tokens(portal).await, azt("3"));
}

/// Goal: a command that died before it showed its result sends nothing twice.
///
/// Method: the list of reported transactions is removed, which is all that a command loses when it dies after its
/// transaction was included.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_died_is_continued_and_not_repeated() {
    let case = Case::new().await;
    let deposit = [
        "deposit",
        "--to",
        "0x0000000000000000000000000000000000000000000000000000000000000007",
        "--amount",
        "2",
    ];
    let first = case.run(&deposit);
    let list = case.path("operator-0.json.reported");
    std::fs::remove_file(&list).unwrap();
    let nonce = case.nonce().await;
    let again = case.run(&deposit);
    assert_eq!((&again["l1_tx"], &again["index"]), (&first["l1_tx"], &first["index"]));
    assert_eq!(case.nonce().await, nonce, "it was sent again");
    assert_eq!(case.tokens(case.network.info.contracts.feePortal).await, azt("2"));
    // Shown now, so this one is meant.
    assert_eq!(case.run(&deposit)["index"], 65);
}

/// Goal: wrong connections are named before anything is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_connections_are_named() {
    let case = Case::new().await;
    assert_failed(case.fail(&["deployment", "--chain-id", "1"]), 1, "L1-002", "31337");
    let nowhere = ["--rollup", "0x00000000000000000000000000000000000000aa"];
    let mut bare = Case { contracts: Vec::new(), ..case };
    assert_failed(bare.fail(&["deployment"]), 2, "L1C-001", "--rollup");
    assert_failed(bare.fail(&["proposals"]), 2, "L1C-001", "--governance");
    assert_failed(bare.fail(&[&["deployment"], &nowhere[..]].concat()), 1, "L1-005", "no contract");
    bare.contracts = vec![format!("--rollup={}", bare.economics.token())];
    assert_failed(bare.fail(&["deployment"]), 1, "L1-022", "--rollup");
}

/// Goal: a withdrawal is paid once its block is proven, to its recipient, and once.
///
/// Method: a block with one transaction's messages and a real blob, on the contracts; what the wallet prints is given
/// to the command.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_paid_once_when_its_block_is_proven() {
    let case = Case::new().await;
    let portal = case.network.info.contracts.feePortal;
    case.give(portal, "5").await;
    let recipient = EthAddress([0x5a; 20]);
    let amount = 1_250_000_000;
    let leaves = [[withdraw_leaf(recipient, amount), Fr::from(0u64)]];
    let path = out_path(&leaves, 0, 0).unwrap();
    propose(&case, out_root(&leaves)).await;
    let withdrawal =
        Withdrawal { block_number: 1, tx: 0, recipient, amount, path, is_proven: false };
    let file = case.path("withdrawal");
    std::fs::write(&file, withdrawal.to_string()).unwrap();
    let file = file.to_str().unwrap();

    assert_failed(case.fail(&["withdraw", file]), 1, "L1C-005", "the proven tip is 0");
    case.network.prove(0, 1).await;
    let other = case.path("other");
    std::fs::write(&other, withdrawal.to_string().replace("amount 1", "amount 2")).unwrap();
    let failed = case.fail(&["withdraw", other.to_str().unwrap()]);
    assert_failed(failed, 1, "L1-008", "PathWrong");
    assert_failed(case.fail(&["withdraw", "/dev/null"]), 1, "L1C-004", "line `block`");

    let paid = case.run(&["withdraw", file]);
    assert_eq!(paid["paid_azt"], "1.25");
    assert_eq!(case.tokens(Address::from(recipient.0)).await, azt("1.25"));
    assert_failed(case.fail(&["withdraw", file]), 1, "L1C-006", "paid before");
    assert_eq!(case.tokens(portal).await, azt("3.75"));
}

/// Proposes block 1 with one transaction, whose messages to L1 have this root.
async fn propose(case: &Case, out_root: Fr) {
    let network = &case.network;
    let words: Vec<Fr> = (1..=10).map(Fr::from).collect();
    let z = Fr::from(77u64);
    let blob = Blob::from_bytes(&encode_words(&words).unwrap()).unwrap();
    let made = tokio::task::spawn_blocking(move || {
        (Kzg::start().prove(&blob, &z).unwrap(), Kzg::start().sidecar(blob).unwrap())
    });
    let ((_, proof), sidecar) = made.await.unwrap();
    let commitment = Commitment(sidecar.commitment().0);
    let opening = Opening { commitment, z, y: evaluate(&words, &to_blob_field(&z)) };
    // Slot 0 is that of genesis.
    let mut args = network.next(1).await;
    (args.outRoot, args.txCount) = (abi::word(&out_root), 1);
    let link = network.link(&args).await;
    let chain = ChainLink { z, y: opening.y, commitment, ..link }.chain();
    let (number, slot) = (args.blockNumber, args.slot.to());
    let chain: B256 = abi::word(&chain);
    let digest = attest::block_digest(CHAIN_ID, network.rollup.address(), number, slot, chain);
    let signature = signer(0).sign_hash_sync(&digest).unwrap();
    let signed = attest::attestations(&[(signer(0).address(), Some(signature))]);
    let input = abi::propose_calldata(args, signed, abi::da_input(&opening, &proof.0));
    let call = TxRequest::call("propose/1", network.rollup.address(), input);
    let request = TxRequest { sidecar: Some(Arc::new(sidecar)), ..call };
    assert!(network.sender.send(request).await.unwrap().succeeded);
}
