//! The commands for contracts, against a fake node. Real keys of functions.

use crate::transfer::Case;

/// An artifact of `noir/artifacts`.
const ACCOUNT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../noir/artifacts/schnorr_account.json");

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
    fails(&["simulate", address, "pay"], 1, "ACR-007");
    fails(&["simulate", address, "authorize"], 1, "ACR-060");
    fails(&["simulate", "0x5", "authorize"], 1, "PXE-048");
    fails(&["simulate", address, "authorize", "--from", "0x5"], 1, "ACR-060");
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
