//! A process with a low limit of open files says when few are left.

use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use rollmill_service::{Commands, Outcome, Process, Service, Settings};

use crate::child::{self, Flags};

/// Longest wait for what a process notices within seconds.
const WAIT: Duration = Duration::from_secs(60);
const CHILD: &str = "descriptors::child_with_few_files";
/// Files that the process may have open. It has some before the test opens any.
const LIMIT: u64 = 256;

impl Settings for Flags {}

/// The name of the test below is a subcommand, so that both the test program and the process accept their arguments.
#[derive(Debug, clap::Subcommand)]
enum Test {
    /// Open files until none is left
    #[command(name = CHILD)]
    Open,
}

impl Commands for Test {
    fn serves(&self) -> bool {
        true
    }
}

/// Fault: a process opens files until it has nearly as many as it may, then until it may open none, and closes them.
/// Goal: its condition follows, also where nothing can be opened any more, which reading the number takes.
/// Method: a process of its own, with a real limit. It checks itself and fails otherwise.
#[test]
fn a_process_that_runs_out_of_files_is_not_ready_until_it_has_some() {
    let output = child::command(CHILD).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("condition not met") && text.contains("descriptors"), "{text}");
}

#[test]
#[ignore = "not a test: the process that the test above starts"]
fn child_with_few_files() -> ExitCode {
    setrlimit(Resource::RLIMIT_NOFILE, LIMIT, LIMIT).unwrap();
    Service::new("rollmill-opener").run_commands(|process, _: Option<Test>| open(process))
}

/// Why the condition does not hold; `None` while it does.
fn reason(process: &Process<Flags>) -> Option<String> {
    let mut failing = process.conditions.failing().into_iter();
    failing.find(|(name, _)| *name == "descriptors").map(|(_, reason)| reason)
}

async fn until(process: &Process<Flags>, what: &str, is_so: impl Fn(Option<String>) -> bool) {
    let waiting = async {
        while !is_so(reason(process)) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(WAIT, waiting).await;
    assert!(waited.is_ok(), "{what}: {:?}", reason(process));
}

async fn open(process: Process<Flags>) -> Outcome {
    process.config.check();
    let is_known = |process: &Process<Flags>| {
        process.conditions.to_json()["descriptors"]["ok"] == serde_json::Value::Bool(true)
    };
    while !is_known(&process) {
        tokio::task::yield_now().await;
    }
    process.ready();
    assert!(process.status_page.not_ready().is_empty(), "{:?}", process.status_page.not_ready());
    let mut held = Vec::new();
    for _ in 0..LIMIT - 64 {
        held.push(File::open("/dev/null")?);
    }
    until(&process, "fewer than 64 are left", |reason| {
        reason.is_some_and(|it| it.ends_with("files are open of at most 256; 64 must be left"))
    })
    .await;
    assert_eq!(process.status_page.not_ready().len(), 1);
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    until(&process, "none is left", |reason| {
        reason.is_some_and(|it| it.starts_with("no further file can be opened"))
    })
    .await;
    drop(held);
    until(&process, "all are left", |reason| reason.is_none()).await;
    Ok(())
}
