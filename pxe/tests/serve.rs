//! The program `rollmill-pxe serve`: its token, its lock, and its end in the middle of a transfer. Real proofs.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rollmill_protocol::field::to_hex;
use rollmill_service::failpoints;
use serde_json::{Value, json};

use crate::transfer::{AMOUNT, Case};

/// A service that listens. It is killed when this is dropped.
struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    address: String,
    /// What it has logged so far.
    log: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(case: &Case) -> Command {
    command_at(case, "127.0.0.1:0")
}

fn command_at(case: &Case, address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-pxe"));
    command.arg("--store").arg(case.path("wallet.pxe"));
    command.args(["--node-url", &case.url, "--password", &case.password()]);
    command.args(["--serve-listen", address, "--grace-seconds", "1", "serve"]);
    command.stdin(Stdio::null());
    command
}

impl Service {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut service = Self { child, lines, address: String::new(), log: String::new() };
        let line = service.logged("wallet service listening");
        let address = line.split("address=").nth(1).unwrap();
        service.address = address.split_whitespace().next().unwrap().to_owned();
        service
    }

    /// The next line of its log with this text.
    fn logged(&mut self, text: &str) -> String {
        for line in self.lines.by_ref().map_while(Result::ok) {
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(text) {
                return line;
            }
        }
        panic!("the service ended without `{text}`: {}", self.log)
    }

    /// Sends a request and does not wait for its response.
    fn send(&self, token: &str, method: &str, params: &Value) -> TcpStream {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn call(&self, token: &str, method: &str, params: &Value) -> Value {
        let mut answer = String::new();
        self.send(token, method, params).read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

/// The token that the service wrote at its start.
fn token(case: &Case) -> String {
    let path = case.path("wallet.pxe.token");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_has_a_new_token_at_each_start_and_its_store_for_itself() {
    let case = Case::in_store().await;
    let mut service = Service::start(command(&case));
    let first = token(&case);
    assert_eq!(first.len(), 64);
    assert_eq!(service.call(&first, "pxe_status", &json!({}))["result"]["accounts"], 2);
    let refused = service.call("another", "pxe_status", &json!({}));
    assert_eq!(refused["error"]["data"]["code"], "PXE-036");

    let second = command(&case).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(text(&second).contains("PXS-001"), "{second:?}");
    assert_eq!(token(&case), first, "the second one wrote no token");

    service.signal(Signal::SIGTERM);
    assert!(service.child.wait().unwrap().success());
    service.lines.by_ref().map_while(Result::ok).for_each(|line| service.log.push_str(&line));
    assert!(!service.log.contains(&first), "{}", service.log);

    let chosen = format!("file:{}", case.path("chosen").display());
    let words = "chosen by the user, 32 characters";
    std::fs::write(case.path("chosen"), &words[..31]).unwrap();
    let short = command(&case).args(["--serve-token", &chosen]).output().unwrap();
    assert_eq!(short.status.code(), Some(2), "{short:?}");
    assert!(text(&short).contains("PXE-067") && text(&short).contains("31"), "{short:?}");
    assert!(!text(&short).contains(&words[..31]), "{short:?}");
    let words = &words[..32];
    std::fs::write(case.path("chosen"), format!("{words}\n")).unwrap();
    let mut with_token = command(&case);
    with_token.args(["--serve-token", &chosen]);
    let service = Service::start(with_token);
    let status = service.call(words, "pxe_status", &json!({}));
    assert_eq!(status["result"]["accounts"], 2);
    assert_eq!(token(&case), first, "no token was made");
    drop(service);
    let service = Service::start(command(&case));
    assert_ne!(token(&case), first);
    let stale = service.call(&first, "pxe_status", &json!({}));
    assert_eq!(stale["error"]["data"]["code"], "PXE-036");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_store_or_on_an_address_of_the_network_does_not_start() {
    let case = Case::in_store().await;
    let mut without = Command::new(env!("CARGO_BIN_EXE_rollmill-pxe"));
    let without = without.args(["serve"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(without.status.code(), Some(2), "{without:?}");
    assert!(text(&without).contains("PXE-035"), "{without:?}");
    for address in ["0.0.0.0:0", "192.0.2.1:80", "localhost", "[::]:1"] {
        let output = command_at(&case, address).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output).contains("expected IP:PORT of this machine"), "{output:?}");
    }
    assert!(!case.path("wallet.pxe.token").exists());
}

/// Fault: the setting for the token names the store itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_never_replaces_the_store() {
    let case = Case::in_store().await;
    let path = case.path("wallet.pxe");
    let mut command = command(&case);
    let output = command.arg("--serve-token-file").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("PXE-047"), "{output:?}");
    let service = Service::start(self::command(&case));
    let status = service.call(&token(&case), "pxe_status", &json!({}));
    assert_eq!(status["result"]["accounts"], 2);
}

/// Fault: SIGTERM while a transfer is between its intent and the node, and a node that takes longer than the grace
/// period. The next service sends that very transaction, and says so before it sends another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_in_the_middle_of_a_transfer_leaves_its_intent() {
    let case = Case::in_store().await;
    let alice = case.in_store.clone().unwrap();
    let payment = json!({ "account": alice, "to": case.bob, "amount": AMOUNT.to_string() });
    let mut hanging = command(&case);
    hanging.env(failpoints::VARIABLE, "pxe.after_intent:hang");
    let mut service = Service::start(hanging);
    let stream = service.send(&token(&case), "pxe_transfer", &payment);
    service.logged("failpoint reached");
    service.signal(Signal::SIGTERM);
    let ended = service.child.wait().unwrap();
    assert_eq!(ended.code(), Some(1), "the grace period was too short");
    drop(stream);
    assert!(case.node.pool().received.is_empty());

    let service = Service::start(command(&case));
    let token = token(&case);
    let told = service.call(&token, "pxe_transfer", &payment);
    assert_eq!(told["error"]["data"]["code"], "PXE-018", "{told}");
    let received: Vec<String> = case.node.pool().received.iter().map(to_hex).collect();
    assert_eq!(received.len(), 1);
    assert!(told["error"]["message"].as_str().unwrap().contains(&received[0]), "{told}");
    let of = json!({ "hash": received[0] });
    let status = service.call(&token, "pxe_transaction", &of);
    assert_eq!(status["result"]["state"], "pending", "{status}");
    let sent = service.call(&token, "pxe_transfer", &payment);
    assert_eq!(sent["result"]["receipt"], "accepted", "{sent}");
    assert_eq!(case.node.pool().received.len(), 2);
}

/// Fault: SIGKILL of the service at each step of a transfer with an idempotency key. The same request to the next
/// service returns the one transaction, and a request with another key is not delayed by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_at_any_step_of_a_transfer_with_a_key_pays_it_once() {
    // Where it is killed, and whether the intent is on the disk then. The first commit is that of the sync, the second
    // that of the intent, the third that of the report.
    for (step, is_made) in [
        ("pxe.before_proof", false),
        ("pxe.before_intent", false),
        ("pxe.before_commit@2", false),
        ("pxe.after_intent", true),
        ("pxe.after_send", true),
        ("pxe.before_report", true),
        ("pxe.before_commit@3", true),
    ] {
        let case = Case::in_store().await;
        let alice = case.in_store.clone().unwrap();
        let payment = |key: &str| {
            let amount = AMOUNT.to_string();
            json!({ "account": alice, "to": case.bob, "amount": amount, "idempotency_key": key })
        };
        let mut killed = command(&case);
        killed.env(failpoints::VARIABLE, step);
        let mut service = Service::start(killed);
        let stream = service.send(&token(&case), "pxe_transfer", &payment("of-the-first"));
        assert_eq!(service.child.wait().unwrap().signal(), Some(9), "{step}");
        drop(stream);

        let service = Service::start(command(&case));
        let token = token(&case);
        let other = service.call(&token, "pxe_transfer", &payment("of-the-second"));
        assert_eq!(other["result"]["repeated"], false, "{step}: {other}");
        let first = service.call(&token, "pxe_transfer", &payment("of-the-first"));
        assert_eq!(first["result"]["repeated"], is_made, "{step}: {first}");
        assert_eq!(first["result"]["receipt"], "accepted", "{step}: {first}");
        let again = service.call(&token, "pxe_transfer", &payment("of-the-first"));
        assert_eq!(again["result"]["hash"], first["result"]["hash"], "{step}");
        assert_eq!(again["result"]["repeated"], true, "{step}: {again}");
        assert_eq!(crate::transfer::taken_of(&case), 2, "{step}");
    }
}

/// Goal: with real proofs a service does what the command does.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_pays_with_a_real_proof() {
    let case = Case::in_store().await;
    let alice = case.in_store.clone().unwrap();
    let service = Service::start(command(&case));
    let token = token(&case);
    let payment = json!({ "account": alice, "to": case.bob, "amount": AMOUNT.to_string() });
    let sent = service.call(&token, "pxe_transfer", &payment);
    let hash = sent["result"]["hash"].as_str().unwrap().to_owned();
    assert_eq!(crate::transfer::taken_of(&case), 1);
    assert!(case.node.build().is_empty());
    let wait = json!({ "hash": hash, "stage": "finalized", "seconds": 60 });
    assert_eq!(service.call(&token, "pxe_wait", &wait)["result"]["reached"], true);
}
