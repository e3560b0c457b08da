//! Contracts over HTTP: registered, listed and called.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use rollmill_protocol::Fr;
use rollmill_protocol_testing::value;
use rollmill_pxe_store::Contract;
use serde_json::{Value, json};

use super::{Case, FEE, FEE_MAX};
use crate::contracts::tests::sends::MadeUpProofs;
use crate::contracts::tests::town::{MadeUp, artifact};
use crate::contracts::{CallProver, address, class_of, init_hash, signing_key};
use crate::keys::Keys;
use crate::serve::{OpenCallProver, OpenFunctionKeys, ServiceLimits, SharedKeys};
use crate::wallet::tests::CheckedOnly;

/// Keys that are made up, for a service that proves nothing.
pub(super) fn made_up() -> OpenFunctionKeys {
    Box::new(|_| {
        let keys: Arc<SharedKeys> = Arc::new(MadeUp);
        Ok(keys)
    })
}

/// Proofs that are made up.
pub(super) fn made_up_proofs() -> OpenCallProver {
    Box::new(|_| {
        let prover: Arc<dyn CallProver> = Arc::new(MadeUpProofs { vk_root: Fr::from(0u64) });
        Ok(prover)
    })
}

/// The address of an account's contract with made-up keys, and a public balance for it at genesis.
pub(super) fn balance(account: &Keys) -> (Fr, u64) {
    let (keys, zero) = (account.master(), Fr::from(0u64));
    let class = class_of(&artifact("schnorr_account"), &MadeUp).expect("a class");
    let contract = Contract {
        class_id: *class.id(),
        salt: zero,
        init_hash: init_hash(&signing_key(&keys)),
        deployer: zero,
        keys_hash: keys.keys_hash(),
    };
    (address(&contract), 2 * FEE_MAX)
}

/// An artifact, as it goes over the wire.
fn text(name: &str) -> String {
    String::from_utf8(artifact(name)).expect("text")
}

/// Registers the contract of alice's account, and a token that it may mint. Returns their addresses.
pub(super) async fn registered(case: &Case) -> (Value, Value) {
    let account = json!({ "artifact": text("schnorr_account"), "account": case.alice });
    let account = case.call("pxe_registerContract", account).await["address"].take();
    let token = json!({ "artifact": text("token"), "init": [account] });
    let token = case.call("pxe_registerContract", token).await["address"].take();
    (account, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_registered_listed_and_called() {
    let case = Case::new().await;
    let (account, token) = registered(&case).await;
    let listed = case.call("pxe_contracts", json!({})).await;
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 2);
    let named = |name: &str| listed.iter().find(|one| one["name"] == name).expect("listed");
    let own = named("SchnorrAccount");
    assert_eq!((&own["address"], own["account"].as_str()), (&account, Some(case.alice.as_str())));
    let other = named("Token");
    assert_eq!((&other["address"], &other["account"]), (&token, &Value::Null));
    assert!(other["functions"].as_array().expect("names").contains(&json!("mint")));
    let call = json!({
        "account": case.alice,
        "contract": token,
        "function": "mint",
        "args": { "to": account, "amount": 5 },
    });
    let done = case.call("pxe_simulateCall", call).await;
    assert_eq!((&done["calls"], &done["fee_payer"]), (&json!(2), &account));
    assert_eq!((&done["returns"], &done["note_hashes"]), (&json!([]), &json!(2)));
    assert!(case.received().is_empty(), "nothing is sent");
    // Once more, it is the same.
    assert_eq!(registered(&case).await, (account, token));
}

/// Goal: a call is sent once for its key, and followed to its block.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_contract_is_sent_once_and_followed_to_its_block() {
    let case = Case::new().await;
    let (account, token) = registered(&case).await;
    let call = |amount: u64, key: &str| {
        json!({
            "account": case.alice,
            "contract": token,
            "function": "mint",
            "args": { "to": account, "amount": amount },
            "idempotency_key": key,
        })
    };
    let simulated = json!({
        "account": case.alice,
        "contract": token,
        "function": "mint",
        "args": { "to": account, "amount": 5 },
    });
    let quote = case.call("pxe_simulateCall", simulated.clone()).await;
    assert_eq!(quote["fee"], json!(FEE.to_string()));
    assert_eq!(quote["fee_max"], json!(FEE_MAX.to_string()));
    let sent = case.call("pxe_call", call(5, "key-of-the-first")).await;
    assert_eq!((&sent["receipt"], &sent["repeated"]), (&json!("accepted"), &json!(false)));
    let again = case.call("pxe_call", call(5, "key-of-the-first")).await;
    assert_eq!((&again["hash"], &again["repeated"]), (&sent["hash"], &json!(true)));
    assert_eq!(case.code("pxe_call", call(6, "key-of-the-first")).await, "PXE-064");
    assert_eq!(case.received(), [sent["hash"].as_str().expect("a hash")]);
    let history = case.call("pxe_history", case.of_alice()).await;
    assert_eq!((&history[0]["hash"], &history[0]["state"]), (&sent["hash"], &json!("pending")));
    case.build();
    let wait = json!({ "hash": sent["hash"], "stage": "finalized", "seconds": 0 });
    assert_eq!(case.call("pxe_wait", wait).await["reached"], true);
    let history = case.call("pxe_history", case.of_alice()).await;
    assert_eq!((&history[0]["state"], &history[0]["block"]), (&json!("finalized"), &json!(1)));
    let of_bob = json!({ "account": case.bob });
    assert_eq!(case.call("pxe_history", of_bob).await, json!([]));
    let of = |account: &str| json!({ "account": account, "contract": token });
    let notes = case.call("pxe_contractNotes", of(&case.alice)).await;
    assert_eq!(notes.as_array().expect("a list").len(), 1, "{notes}");
    assert_eq!((&notes[0]["tx"], &notes[0]["block"]), (&sent["hash"], &json!(1)));
    assert_eq!(notes[0]["state"], "spendable");
    let five = json!(format!("0x{:064x}", 5));
    assert!(notes[0]["content"].as_array().expect("words").contains(&five), "{notes}");
    assert_eq!(case.call("pxe_contractNotes", of(&case.bob)).await, json!([]));

    // Without a key, as often as it is asked for, and for as long as there is a balance.
    let mut without = simulated;
    assert_eq!(case.call("pxe_call", without.clone()).await["repeated"], false);
    assert_eq!(case.code("pxe_call", without.clone()).await, "PXE-071");
    without["expiry_epochs"] = json!(0);
    assert_eq!(case.code("pxe_call", without).await, "PXE-042");
}

/// Goal: what the wallet has given up is reported with its reason, though the node does not know it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_reported_with_its_reason() {
    let case = Case::new().await;
    let (account, token) = registered(&case).await;
    let call = json!({
        "account": case.alice,
        "contract": token,
        "function": "mint",
        "args": { "to": account, "amount": 5 },
    });
    let sent = case.call("pxe_call", call).await;
    case.chain.pool().waiting.clear();
    // The node does not know it, and rejects it when it is sent again.
    case.chain.pool().rejects_with = Some("NODE-021");
    case.call("pxe_sync", case.of_alice()).await;
    let status = case.call("pxe_transaction", json!({ "hash": sent["hash"] })).await;
    assert_eq!(status["state"], "dropped", "{status}");
    assert!(status["reason"].as_str().expect("a reason").contains("NODE-021"), "{status}");
    let history = case.call("pxe_history", case.of_alice()).await;
    assert_eq!(history[0]["state"], "dropped", "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_registered_or_called_has_its_code() {
    let case = Case::new().await;
    let other = json!({ "artifact": text("token"), "address": format!("0x{:064x}", 5) });
    assert_eq!(case.code("pxe_registerContract", other).await, "PXE-050");
    let both = json!({ "artifact": text("token"), "account": case.alice, "init": [] });
    assert_eq!(case.code("pxe_registerContract", both).await, "PXE-042");
    let damaged = json!({ "artifact": "{" });
    assert_eq!(case.code("pxe_registerContract", damaged).await, "ACR-002");
    let (_, token) = registered(&case).await;
    let call = |account: &str, contract: &Value, function: &str| json!({ "account": account, "contract": contract, "function": function });
    let of_bob = json!({
        "account": case.bob,
        "contract": token,
        "function": "mint",
        "args": { "to": token, "amount": 5 },
    });
    assert_eq!(case.code("pxe_simulateCall", of_bob).await, "PXE-063");
    let unknown = call(&case.alice, &token, "give");
    assert_eq!(case.code("pxe_simulateCall", unknown).await, "ACR-007");
    let without = call(&case.alice, &token, "mint");
    assert_eq!(case.code("pxe_simulateCall", without).await, "ACR-060");
    let nowhere = json!(rollmill_protocol::field::to_hex(&value(50, 0)));
    let nowhere = call(&case.alice, &nowhere, "mint");
    assert_eq!(case.code("pxe_simulateCall", nowhere).await, "PXE-048");
}

/// Goal: whoever waits for the turn at reading blocks has a deadline. Method: another request has it, and does not end.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_does_not_wait_for_ever_for_one_that_reads_blocks() {
    let limits = ServiceLimits { turn: Duration::ZERO, ..ServiceLimits::default() };
    let case = Case::with(Arc::new(CheckedOnly), limits).await;
    let (_, token) = registered(&case).await;
    let ((holds, is_held), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
    let service = Arc::clone(&case.service);
    let holder = std::thread::spawn(move || {
        let _following = service.following.lock();
        holds.send(()).expect("a test");
        // Ends with an error once the other end is gone.
        let _ = released.recv();
    });
    is_held.recv().expect("it is held");
    let of_token = json!({ "account": case.alice, "contract": token });
    assert_eq!(case.code("pxe_contractNotes", of_token).await, "PXE-044");
    let other = json!({ "artifact": text("token"), "salt": format!("0x{:064x}", 5) });
    assert_eq!(case.code("pxe_registerContract", other).await, "PXE-044");
    drop(release);
    holder.join().expect("it ended");
}

/// Goal: what is signed names every part of the call. Method: one part after the other is another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_allows_one_call_of_another_contract() {
    let case = Case::new().await;
    let (account, token) = registered(&case).await;
    let allowed = json!({
        "account": case.alice,
        "caller": token,
        "contract": token,
        "function": "transfer_from",
        "args": { "from": account, "to": account, "amount": 5, "nonce": 17 },
    });
    let first = case.call("pxe_authorize", allowed.clone()).await["message"].take();
    assert_eq!(case.call("pxe_authorize", allowed.clone()).await["message"], first);
    let mut messages = vec![first];
    for (of, name, other) in [
        ("args", "amount", json!(6)),
        ("args", "nonce", json!(18)),
        ("args", "to", token.clone()),
        ("", "caller", account.clone()),
    ] {
        let mut changed = allowed.clone();
        match of {
            "" => changed[name] = other,
            of => changed[of][name] = other,
        }
        let message = case.call("pxe_authorize", changed).await["message"].take();
        assert!(!messages.contains(&message), "{name}");
        messages.push(message);
    }
    let mut short = allowed.clone();
    short["args"] = json!({ "from": account });
    assert_eq!(case.code("pxe_authorize", short).await, "ACR-060");
    let mut of_bob = allowed;
    of_bob["account"] = json!(case.bob);
    assert_eq!(case.code("pxe_authorize", of_bob).await, "PXE-063");
    assert!(case.received().is_empty(), "nothing is sent");
}
