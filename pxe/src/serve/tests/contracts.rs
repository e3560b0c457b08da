//! Contracts over HTTP: registered, listed and called.

use std::sync::Arc;

use rollmill_protocol_testing::value;
use serde_json::{Value, json};

use super::Case;
use crate::contracts::tests::town::{MadeUp, artifact};
use crate::serve::{OpenFunctionKeys, SharedKeys};

/// Keys that are made up, for a service that proves nothing.
pub(super) fn made_up() -> OpenFunctionKeys {
    Box::new(|_| {
        let keys: Arc<SharedKeys> = Arc::new(MadeUp);
        Ok(keys)
    })
}

/// An artifact, as it goes over the wire.
fn text(name: &str) -> String {
    String::from_utf8(artifact(name)).expect("text")
}

/// Registers the contract of alice's account, and a token that it may mint. Returns their addresses.
async fn registered(case: &Case) -> (Value, Value) {
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
    let unknown = call(&case.alice, &token, "burn");
    assert_eq!(case.code("pxe_simulateCall", unknown).await, "ACR-007");
    let without = call(&case.alice, &token, "mint");
    assert_eq!(case.code("pxe_simulateCall", without).await, "ACR-060");
    let nowhere = json!(rollmill_protocol::field::to_hex(&value(50, 0)));
    let nowhere = call(&case.alice, &nowhere, "mint");
    assert_eq!(case.code("pxe_simulateCall", nowhere).await, "PXE-048");
}
