//! The broker as a process: its private Postgres, its death, its return.

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rollmill_broker_client::{
    ClaimRequest, Client, CompleteRequest, Digest, JobState, LeaseRef, Options,
};
use support::{agent, capability, job};

struct Broker {
    child: Child,
    address: String,
}

impl Broker {
    fn command(dir: &Path, address: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.args(["--listen", address, "--data-dir"]).arg(dir).stdin(Stdio::null());
        command
    }

    fn start(dir: &Path, address: &str) -> Self {
        let child = Self::command(dir, address).stderr(Stdio::null()).spawn().unwrap();
        Self { child, address: address.to_owned() }
    }

    fn client(&self) -> Client {
        let options =
            Options { patience: Duration::from_secs(60), timeout: Duration::from_secs(30) };
        Client::new(&format!("http://{}", self.address), None, options).unwrap()
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Goal: nothing acknowledged is lost when the broker and its Postgres are killed; a lease taken
/// before outlives the restart. Method: SIGKILL between claim and completion.
#[tokio::test]
async fn a_killed_broker_comes_back_with_everything() {
    let dir = data_dir();
    let address = free_address();
    let mut broker = Broker::start(dir.path(), &address);
    let client = broker.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let large = client.put_artifact(7, vec![1; 300_000]).await.unwrap();
    let jobs = vec![job(7, "leaf", input), job(7, "root", large)];
    client.enqueue(jobs.clone()).await.unwrap();
    let request = ClaimRequest {
        agent: agent("a"),
        capabilities: vec![capability("leaf")],
        class: 0,
        wait_ms: 20_000,
        info: serde_json::Value::Null,
    };
    let grant = client.claim(&request).await.unwrap().unwrap();

    broker.child.kill().unwrap();
    broker.child.wait().unwrap();
    let broker = Broker::start(dir.path(), &address);
    let result = client.put_artifact(7, b"proof".to_vec()).await.unwrap();
    let lease = LeaseRef { job: grant.job, lease_epoch: grant.lease_epoch };
    let stats = serde_json::Value::Null;
    client.complete(&CompleteRequest { agent: agent("a"), lease, result, stats }).await.unwrap();
    let ids = jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
    let views = client.jobs(&ids).await.unwrap();
    assert_eq!((views[0].state, views[1].state), (JobState::Done, JobState::Ready));
    assert_eq!(views[0].attempts, 1);
    assert_eq!(client.get_artifact(&large).await.unwrap(), vec![1; 300_000]);
    assert_eq!(client.get_artifact(&Digest::of(b"proof")).await.unwrap(), b"proof");
    drop(broker);
}

#[tokio::test]
async fn sigterm_ends_the_broker_and_its_postgres_with_exit_code_0() {
    let dir = data_dir();
    let mut broker = Broker::start(dir.path(), &free_address());
    broker.client().status().await.unwrap();
    let postmaster = dir.path().join("pg/postmaster.pid");
    assert!(postmaster.exists());
    broker.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(broker.child.wait().unwrap().success());
    assert!(!postmaster.exists(), "Postgres removes its pid file when it ends in order");
}

#[test]
fn a_taken_port_is_one_line_that_says_what_to_do() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = data_dir();
    let line = refusal(Broker::command(dir.path(), &holder.local_addr().unwrap().to_string()), 1);
    assert!(line.starts_with("error: SVC-005: ") && line.contains("--listen"), "{line}");
    assert!(!dir.path().join("pg").exists(), "the data was not touched");
}

#[test]
fn a_machine_without_postgres_is_one_line_that_says_what_to_do() {
    let dir = data_dir();
    let mut command = Broker::command(dir.path(), &free_address());
    command.arg("--postgres-bin").arg(dir.path());
    let line = refusal(command, 1);
    assert!(line.starts_with("error: BRK-040: ") && line.contains("apt-get install"), "{line}");
}

#[test]
fn a_wrong_setting_is_exit_code_2() {
    let dir = data_dir();
    let mut command = Broker::command(dir.path(), &free_address());
    command.args(["--lease-seconds", "0"]);
    let line = refusal(command, 2);
    assert!(line.starts_with("error: SVC-001: "), "{line}");
    let mut command = Broker::command(dir.path(), &free_address());
    command.arg("--no-such-flag");
    assert!(refusal(command, 2).starts_with("error: SVC-003: "));
}

#[test]
fn doctor_finds_a_sound_machine_sound() {
    let dir = data_dir();
    let migrate = Broker::command(dir.path(), &free_address()).arg("migrate").output().unwrap();
    assert!(migrate.status.success(), "{}", String::from_utf8_lossy(&migrate.stderr));
    let output = Broker::command(dir.path(), &free_address()).arg("doctor").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("ok    schema"), "{text}");
    assert!(!text.contains("WRONG"), "{text}");
}

/// Runs a command that must fail and returns its one line.
fn refusal(mut command: Command, code: i32) -> String {
    let output = command.stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(code));
    let lines: Vec<String> = BufReader::new(&output.stderr[..])
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}
