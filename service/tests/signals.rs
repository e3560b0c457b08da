//! A process with real signals: what it holds is released before it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rollmill_service::{Commands, Outcome, Process, Service, Settings};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::child::{self, Flags};

/// Longest wait for a line of the process.
const WAIT: Duration = Duration::from_secs(60);
const CHILD: &str = "signals::child_that_holds_work";

/// The settings of the process.
#[derive(Clone, Debug, clap::Args)]
struct Held {
    /// Address of whoever has to take back what the process holds
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1")]
    owner: String,
    /// What to do after a second signal: release or ignore; fail does not wait for one
    #[arg(long, value_name = "TEXT", default_value = "release")]
    second: String,
    #[command(flatten)]
    flags: Flags,
}

impl Settings for Held {}

/// The name of the test below is a subcommand, so that both the test program and the process accept their arguments.
#[derive(Debug, clap::Subcommand)]
enum Test {
    /// Hold work until it is released
    #[command(name = CHILD)]
    Hold,
}

impl Commands for Test {
    fn serves(&self) -> bool {
        true
    }
}

/// The owner of the work, and the process that holds it.
struct Owner {
    process: Child,
    lines: BufReader<TcpStream>,
}

impl Owner {
    /// Starts the process and waits until it holds the work.
    fn start(second: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut process = child::command(CHILD)
            .env("ROLLMILL_HOLDER_OWNER", listener.local_addr().unwrap().to_string())
            .env("ROLLMILL_HOLDER_SECOND", second)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stream = accept(&listener, &mut process);
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut owner = Self { process, lines: BufReader::new(stream) };
        owner.expect("held");
        owner
    }

    /// Waits for a line of the process.
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    fn terminate(&self) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits for the end of the process. Returns whether it succeeded, and what it wrote.
    fn end(self) -> (bool, String) {
        drop(self.lines);
        let output = self.process.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The connection of a process, which must not end before it.
fn accept(listener: &TcpListener, process: &mut Child) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        if let Some(status) = process.try_wait().unwrap() {
            let mut text = String::new();
            process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
            panic!("the process ended with {status}: {text}");
        }
        std::thread::yield_now();
    }
}

/// Fault: a second signal while the process still finishes its work. It has the time for a request to whoever must
/// know, and that was no failure.
#[test]
fn a_second_signal_leaves_the_time_to_release_what_is_held() {
    let mut owner = Owner::start("release");
    owner.terminate();
    owner.expect("finishing");
    owner.terminate();
    owner.expect("releasing");
    owner.lines.get_mut().write_all(b"withdrawn\n").unwrap();
    owner.expect("released");
    let (is_success, text) = owner.end();
    assert!(is_success, "{text}");
    assert!(text.contains("second signal; releasing open work"), "{text}");
}

/// Fault: the body takes no notice of the second signal. The process ends all the same, and says so.
#[test]
fn a_second_signal_ends_a_process_that_does_not_release() {
    let mut owner = Owner::start("ignore");
    owner.terminate();
    owner.expect("finishing");
    owner.terminate();
    owner.expect("releasing");
    let (is_success, text) = owner.end();
    assert!(!is_success, "{text}");
    assert!(text.contains("error: SVC-009: stopped by a signal before"), "{text}");
}

/// Goal: a part that fails ends the process in order, and the process does not look like a success to its supervisor.
#[test]
fn a_failed_part_ends_the_process_with_its_failure() {
    let owner = Owner::start("fail");
    let (is_success, text) = owner.end();
    assert!(!is_success, "{text}");
    assert!(text.contains("error: the disk is full"), "{text}");
}

#[test]
#[ignore = "not a test: the process that the tests above start"]
fn child_that_holds_work() -> ExitCode {
    Service::new("rollmill-holder").run_commands(|process, _: Option<Test>| hold(process))
}

/// Tells the owner each step, and on a second signal waits for its answer.
async fn hold(process: Process<Held>) -> Outcome {
    process.config.flags.check();
    let owner = tokio::net::TcpStream::connect(&process.config.owner).await?;
    let (reader, mut writer) = owner.into_split();
    process.ready();
    writer.write_all(b"held\n").await?;
    if process.config.second == "fail" {
        process.shutdown.fail("the disk is full");
        process.shutdown.started().await;
        return Ok(());
    }
    process.shutdown.started().await;
    writer.write_all(b"finishing\n").await?;
    process.shutdown.aborted().await;
    writer.write_all(b"releasing\n").await?;
    if process.config.second == "ignore" {
        std::future::pending::<()>().await;
    }
    tokio::io::BufReader::new(reader).read_line(&mut String::new()).await?;
    writer.write_all(b"released\n").await?;
    Ok(())
}
