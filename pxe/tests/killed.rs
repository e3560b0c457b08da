//! The wallet's program, killed from outside while it waits for a response of its node, which has done what it was
//! asked. Failpoints kill at the steps that the program names; here nothing in the program chooses the moment. Real
//! proofs.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use crate::ledger::FEE;
use crate::transfer::{AMOUNT, Case, TOTAL, taken_of};

/// The longest wait for a request, which is a failure of the test.
const PATIENCE: Duration = Duration::from_secs(120);

fn transfer(case: &Case) -> Command {
    case.command(&["transfer", "--to", &case.bob, "--amount", &AMOUNT.to_string()])
}

/// Which requests of a transfer, numbered from 0: the first and the last one of each method.
async fn moments() -> BTreeSet<usize> {
    let case = Case::in_store().await;
    let before = case.node.pool().requests.len();
    let done = transfer(&case).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let pool = case.node.pool();
    let methods: Vec<&str> = pool.requests[before..].iter().map(|(name, _)| &**name).collect();
    let first = |name: &str| methods.iter().position(|other| *other == name);
    let last = |name: &str| methods.iter().rposition(|other| *other == name);
    methods.iter().flat_map(|name| [first(name), last(name)]).flatten().collect()
}

/// Fault: SIGKILL of a transfer while it waits for a response, whatever it has asked. The command again pays once, or
/// says that the first one was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_killed_while_it_waits_for_its_node_and_repeated_pays_once() {
    let mut sent = 0;
    for at in moments().await {
        let case = Case::in_store().await;
        let (told, mut is_held) = unbounded_channel();
        let before = case.node.pool().requests.len();
        case.node.pool().held = Some((before + at, told));
        let mut child = transfer(&case);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let held = tokio::time::timeout(PATIENCE, is_held.recv()).await;
        child.kill().unwrap();
        let killed = child.wait_with_output().unwrap();
        assert_eq!(held, Ok(Some(())), "request {at}: {killed:?}");
        assert_eq!(killed.status.signal(), Some(9), "request {at}: {killed:?}");
        assert!(killed.stdout.is_empty(), "request {at}: {killed:?}");
        case.node.pool().held = None;

        let is_sent = !case.node.pool().received.is_empty();
        sent += usize::from(is_sent);
        let again = transfer(&case).output().unwrap();
        let text = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(if is_sent { 3 } else { 0 }), "request {at}: {text}");
        assert_eq!(text.contains("PXE-018"), is_sent, "request {at}: {text}");
        assert_eq!(taken_of(&case), 1, "request {at}");
        assert!(case.node.build().is_empty());
        let balance = case.run(&["balance"]);
        let expected = format!("balance {}\n", TOTAL - (AMOUNT + FEE));
        assert!(balance.starts_with(&expected), "request {at}: {balance}");
    }
    assert_eq!(sent, 1, "one of them is the transaction");
}
