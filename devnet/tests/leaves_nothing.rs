//! However a supervisor ends, its processes are stopped and its folder is removed.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rollmill_devnet::{Error, Launcher, Network, Program, Programs, RunDir, guard};

const DEVNET: &str = env!("CARGO_BIN_EXE_rollmill-devnet");

/// A shell script that prints that it is up and then runs until it is killed. The pipe it holds ends
/// with it, so that a test can wait for that without looking at the clock.
const LASTING: &str = "echo up; exec sleep 1000";

fn is_up(reader: &mut impl BufRead) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
}

/// Goal: the kernel ends a child whose supervisor was killed, without the guard's help.
#[test]
fn a_child_dies_with_a_parent_that_is_killed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut reader = BufReader::new(reader);
    let mut parent = Command::new("sh")
        .args(["-c", "\"$0\" __exec $$ sh -c \"$1\" & wait", DEVNET, LASTING])
        .stdout(writer)
        .process_group(0)
        .spawn()
        .unwrap();
    is_up(&mut reader);
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_child_whose_parent_is_gone_already_does_not_start() {
    let output =
        Command::new(DEVNET).args(["__exec", "1", "sh", "-c", "echo started"]).output().unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
}

fn start_guard(mark: &str, folder: &Path) -> std::process::Child {
    Command::new(DEVNET).args(["__guard", mark]).arg(folder).stdin(Stdio::piped()).spawn().unwrap()
}

/// Goal: the guard of a killed supervisor ends what is left, grandchildren included, and removes
/// the folder.
#[test]
fn the_guard_of_a_killed_supervisor_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("net");
    std::fs::create_dir_all(own.join("data")).unwrap();
    let mark = format!("test-a-{}", std::process::id());
    let mut guard = start_guard(&mark, &own);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut reader = BufReader::new(reader);
    let mut child = Command::new("sh")
        .args(["-c", "sh -c \"$0\" & wait", LASTING])
        .env(guard::MARK, &mark)
        .stdout(writer)
        .spawn()
        .unwrap();
    is_up(&mut reader);
    // A process that becomes another program has no environment for a moment.
    assert!((0..100_000).any(|_| guard::marked(&mark).len() == 2));

    drop(guard.stdin.take());
    child.wait().unwrap();
    assert!(guard.wait().unwrap().success());
    assert!(guard::marked(&mark).is_empty());
    assert!(!own.exists());
}

#[test]
fn a_dismissed_guard_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mark = format!("test-b-{}", std::process::id());
    let mut guard = start_guard(&mark, folder.path());
    std::io::Write::write_all(guard.stdin.as_mut().unwrap(), b"done").unwrap();
    drop(guard.stdin.take());
    assert!(guard.wait().unwrap().success());
    assert!(folder.path().exists());
}

fn network() -> Network {
    let dir = RunDir::create(None, rand::random()).unwrap();
    Network::new(Programs::beside(Path::new(DEVNET)), Path::new(DEVNET), dir).unwrap()
}

fn shell(name: &str, script: &str) -> Program {
    Program::new(name, "/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn a_network_that_stops_leaves_no_process_and_no_folder() {
    let mut network = network();
    let (mark, path) = (network.mark().to_owned(), network.dir.path().to_owned());
    let limit = Duration::from_secs(60);
    network.start(shell("one", LASTING), limit).await.unwrap();
    // A child that starts another and then ends by itself leaves an orphan behind.
    network.start(shell("two", "sleep 1000 & sleep 1000"), limit).await.unwrap();
    network.stop().await.unwrap();
    assert!(guard::marked(&mark).is_empty());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_process_that_ends_is_reported_with_its_last_words() {
    let mut network = network();
    let admin = network.ports.free().unwrap();
    let mut program = shell("moody", "echo fine; echo 'error: SVC-005: port taken' >&2; exit 3");
    program.admin = Some(admin);
    let error = network.start(program, Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(&error, Error::Ended { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("moody") && text.contains("exit status: 3"), "{text}");
    assert!(text.ends_with("its last line: \"error: SVC-005: port taken\""), "{text}");
    network.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_process_can_be_started_again() {
    let mut network = network();
    let limit = Duration::from_secs(60);
    network.start(shell("phoenix", LASTING), limit).await.unwrap();
    let program = network.kill("phoenix").await.unwrap();
    assert!(network.kill("phoenix").await.is_err());
    network.start(program, limit).await.unwrap();
    network.check().unwrap();
    network.stop().await.unwrap();
}

/// Fault: a process ends with a failure after SIGTERM, or takes no notice of it.
#[tokio::test]
async fn a_terminated_process_is_reported_with_its_exit_code() {
    let mut network = network();
    let limit = Duration::from_secs(60);
    for (name, reaction, code, wrong) in [
        ("orderly", "trap 'exit 0' TERM", Some(0), None),
        ("failing", "trap 'exit 3' TERM", Some(3), Some("ended with exit status: 3")),
        ("deaf", "trap '' TERM", None, Some("did not exit within")),
    ] {
        let script = format!("{reaction}; echo ready; while :; do sleep 0.02; done");
        let child = network.launch(shell(name, &script)).unwrap();
        child.wait_for_line("ready", limit).await.unwrap();
        let patience = if code.is_some() { limit } else { Duration::from_millis(100) };
        let exit = network.terminate(name, patience).unwrap().await.unwrap();
        assert_eq!(exit.code(), code, "{name}");
        let fault = exit.fault(limit);
        assert_eq!(fault.is_some(), wrong.is_some(), "{name}: {fault:?}");
        assert!(wrong.is_none_or(|part| fault.unwrap().contains(part)), "{name}");
        assert!(exit.fault(Duration::ZERO).is_some(), "{name}: no process has no time");
        assert!(!network.runs(name));
        if code.is_some() {
            // It can be started again.
            network.start(exit.program, limit).await.unwrap();
        }
    }
    network.stop().await.unwrap();
}

#[tokio::test]
async fn anvil_listens_at_the_configured_address() {
    let mut network = network();
    let address = network.start_anvil(2).await.unwrap();
    assert!(std::net::TcpStream::connect(address).is_ok());
    network.stop().await.unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_program_that_is_not_there_is_a_plain_failure() {
    let launcher = Launcher::new("/nowhere/devnet", "mark");
    let dir = RunDir::create(None, rand::random()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let error = launcher.spawn(&shell("x", "true"), &dir).unwrap_err();
    assert!(error.to_string().starts_with("NET-003: cannot start x"), "{error}");
    dir.remove().unwrap();
}
