//! The commands for contracts, against a fake node. Real keys of functions.

use std::os::unix::process::ExitStatusExt;

use rollmill_protocol::field::to_hex;
use rollmill_protocol::{Circuit, ClientInputs, Fr};
use rollmill_pxe::contracts::prover::ContractProver;
use rollmill_pxe::contracts::{address, class_of, init_hash, signing_key};
use rollmill_pxe::keys::Keys;
use rollmill_pxe_store::Contract;
use rollmill_service::failpoints;

use crate::ledger::{FEE, FEE_MAX};
use crate::transfer::{Case, made_keys};

/// Artifacts of `noir/artifacts`.
const ACCOUNT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../noir/artifacts/schnorr_account.json");
const TOKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../noir/artifacts/token.json");

/// The address of the contract by which an account makes calls, as the program will register it.
fn own_contract(account: &Keys) -> Fr {
    // The keys of its functions are made under the SRS of these.
    made_keys();
    let prover = ContractProver::open(None, 31337).unwrap();
    let class = class_of(&std::fs::read(ACCOUNT).unwrap(), &prover).unwrap();
    let (keys, zero) = (account.master(), Fr::from(0u64));
    address(&Contract {
        class_id: *class.id(),
        salt: zero,
        init_hash: init_hash(&signing_key(&keys)),
        deployer: zero,
        keys_hash: keys.keys_hash(),
    })
}

/// Fault: SIGKILL of a call between its intent and the node, with real proofs. The next command sends that very
/// transaction, which the network's keys verify, and says so before it would send another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_killed_is_sent_once_and_found_in_its_block() {
    let own = own_contract(&Keys::from_seed(&[1; 32]));
    let case = Case::in_store_with(&[(own, FEE_MAX)]).await;
    let registered = case.run(&["contract", "register", "--own", ACCOUNT]);
    assert_eq!(registered.trim(), to_hex(&own));
    let init = format!("[\"{}\"]", to_hex(&own));
    let token = case.run(&["contract", "register", TOKEN, "--init", &init]);
    let args = format!("{{\"to\":\"{}\",\"amount\":50}}", to_hex(&own));
    let call = ["call", token.trim(), "mint", "--args", &args];
    let dry = case.run(&[&call[..], &["--dry-run"]].concat());
    assert!(dry.contains("mint returns") && dry.ends_with("nothing sent\n"), "{dry}");
    let killed =
        case.command(&call).env(failpoints::VARIABLE, "pxe.after_intent").output().unwrap();
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    assert!(case.node.pool().received.is_empty());

    let told = case.command(&call).output().unwrap();
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(3), "{text}");
    let received = case.node.pool().received.clone();
    assert_eq!(received.len(), 1);
    assert!(text.contains("PXE-018") && text.contains(&to_hex(&received[0])), "{text}");
    {
        let (ledger, pool) = (case.node.ledger(), case.node.pool());
        let tx = &pool.waiting[0];
        let inputs = ClientInputs::of(tx, ledger.genesis.vk_root);
        let proof = &tx.client_proof;
        case.keys.verify(Circuit::PrivateTail, &inputs.to_fields(), proof).expect("a proof");
    }
    // The balance is taken until the transaction is in a block, and what is left of it pays for no second one.
    for build in [false, true] {
        let more = case.command(&call).output().unwrap();
        let text = String::from_utf8_lossy(&more.stderr).into_owned();
        assert_eq!(more.status.code(), Some(1), "{text}");
        assert!(text.contains("PXE-071"), "{text}");
        if !build {
            assert!(case.node.build().is_empty());
        }
    }
    let history = case.run(&["history"]);
    let expected = format!("{}  finalized in block 1  call \"mint\"", to_hex(&received[0]));
    assert!(history.starts_with(&expected), "{history}");
    assert_eq!(case.node.ledger().balance(&own), FEE_MAX - FEE);
    // The note is there: without it nothing could be moved.
    let args = format!("{{\"to\":\"{}\",\"amount\":20}}", to_hex(&own));
    let moved = case.run(&["simulate", token.trim(), "transfer", "--args", &args]);
    assert!(moved.contains("transfer returns"), "{moved}");
}

/// Goal: an account registers its contract and calls it, and what goes wrong has its code. Method: the account is asked
/// for a signature that its owner has not allowed.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_registers_its_contract_and_signs_nothing_that_was_not_allowed() {
    let case = Case::in_store().await;
    let printed = case.run(&["contract", "register", "--own", ACCOUNT]);
    let address = printed.trim();
    let listed = case.run(&["contract", "list"]);
    assert_eq!(listed.trim(), format!("{address}  SchnorrAccount  account"));
    let shown = case.run(&["contract", "show", address]);
    for line in
        ["name SchnorrAccount", "function entrypoint(payload)", "function authorize(message)"]
    {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    let fails = |arguments: &[&str], status: i32, part: &str| {
        let output = case.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    };
    let message = "{\"message\":\"0x5\"}";
    fails(&["simulate", address, "authorize", "--args", message], 1, "PXE-059");
    fails(&["simulate", address, "pay"], 2, "ACR-007");
    fails(&["simulate", address, "authorize"], 2, "ACR-060");
    fails(&["simulate", "0x5", "authorize"], 1, "PXE-048");
    fails(&["simulate", address, "authorize", "--from", "0x5"], 2, "ACR-060");
    fails(&["simulate", "5", "authorize"], 2, "hex digits");
    fails(&["simulate", address, "authorize", "--args", "5"], 2, "object of JSON");
    fails(&["contract", "register", "--address", "0x5", "--own", ACCOUNT], 1, "PXE-050");
    fails(&["contract", "register", "/proc/x/y"], 1, "PXE-008");
    // The message of an authorization is another one than what the account is asked for here.
    let allowed = case.run(&[
        "contract",
        "allow",
        address,
        "authorize",
        "--args",
        message,
        "--caller",
        "0x7",
    ]);
    assert!(allowed.starts_with("0x") && allowed.trim().len() == 66, "{allowed}");
    fails(&["simulate", address, "authorize", "--args", message], 1, "PXE-059");
    let of_it = format!("{{\"message\":\"{}\"}}", allowed.trim());
    let done = case.run(&["simulate", address, "authorize", "--args", &of_it]);
    assert!(done.contains("authorize returns [0x"), "{done}");
    let contact = case.run(&["contract", "contact", &case.bob]);
    assert!(contact.starts_with("0x") && contact.trim().len() == 66, "{contact}");
    case.run(&["contract", "remove", address]);
    assert_eq!(case.run(&["contract", "list"]), "");
    fails(&["contract", "remove", address], 1, "PXE-048");
}
