//! Ensures that no process and no directory is left behind, even if the supervisor is killed.
//!
//! Three mechanisms, each for the cases that the previous one cannot cover:
//!
//! 1. The supervisor ends its processes itself, in order, on success, failure and signals.
//! 2. Every process asks the kernel for a SIGTERM when the supervisor dies (`PR_SET_PDEATHSIG`),
//!    through a small program in between ([`exec`]) that sets it and becomes the real one.
//! 3. A guard process outlives the supervisor. It reads a pipe that only the supervisor can write to;
//!    when the pipe ends without a message, the supervisor was killed, and the guard kills every process
//!    that still has this network's mark in its environment and removes the directory.
//!
//! The mark is a variable of the environment, so processes that others start (PostgreSQL is
//! started by the broker) carry it too.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;

/// Name of the variable that marks a network's processes.
pub const MARK: &str = "ROLLMILL_DEVNET_MARK";

/// First argument that makes devnet act as [`exec`] or as the guard.
pub const EXEC: &str = "__exec";
const GUARD: &str = "__guard";

/// How long marked processes may take to end after SIGTERM before they get SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Acts as one of the small programs above if the arguments say so.
///
/// Call it first in `main`; `None` means that this is the supervisor itself.
pub fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        EXEC => Some(exec(arguments)),
        GUARD => Some(guard(arguments)),
        _ => None,
    }
}

/// `__exec PARENT PROGRAM ARGUMENT…`: becomes PROGRAM, with a SIGTERM ordered for PARENT's exit.
fn exec(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments.next().and_then(|text| text.to_str()?.parse::<i32>().ok());
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        eprintln!("error: {EXEC} wants a process id and a program");
        return ExitCode::from(2);
    };
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM) {
        eprintln!("error: cannot tie {} to its parent: {error}", program.display());
        return ExitCode::from(1);
    }
    // The parent may have exited before this call; then the kernel would never send the signal.
    if nix::unistd::getppid() != Pid::from_raw(parent) {
        return ExitCode::from(1);
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("error: cannot start {}: {error}", program.display());
    ExitCode::from(127)
}

/// `__guard MARK [FOLDER]`: waits for the supervisor's end, then cleans up unless it was dismissed.
fn guard(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(mark) = arguments.next().and_then(|text| text.into_string().ok()) else {
        return ExitCode::from(2);
    };
    let folder = arguments.next().map(PathBuf::from);
    let mut message = Vec::new();
    // An error counts as the end: either way the supervisor sends nothing more.
    let _ = std::io::stdin().read_to_end(&mut message);
    if message == b"done" {
        return ExitCode::SUCCESS;
    }
    sweep(&mark, GRACE);
    if let Some(folder) = folder {
        let _ = std::fs::remove_dir_all(folder);
    }
    ExitCode::SUCCESS
}

/// The guard of a running network.
#[derive(Debug)]
pub struct Guard {
    child: std::process::Child,
}

impl Guard {
    /// Starts the guard. `program` is devnet itself; `folder` is removed if the supervisor dies.
    ///
    /// # Errors
    /// [`Error::Spawn`] when the system does not start it.
    pub fn start(program: &Path, mark: &str, folder: Option<&Path>) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command.arg(GUARD).arg(mark).args(folder);
        command.env_remove(MARK).current_dir("/");
        // A separate process group: Ctrl-C in a terminal goes to the supervisor's group.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().map_err(|source| Error::Spawn { name: "the guard".into(), source })?;
        Ok(Self { child })
    }

    /// Dismisses the guard, since everything has been cleaned up, and waits for it.
    pub fn dismiss(mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            // A guard that was killed has nothing left to do.
            let _ = pipe.write_all(b"done");
        }
        let _ = self.child.wait();
    }
}

/// Processes that carry `mark` in their environment, the calling process left out.
///
/// Zombies have no environment any more and do not count.
pub fn marked(mark: &str) -> Vec<Pid> {
    let needle = format!("{MARK}={mark}");
    let own = std::process::id().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| *name != own)
        .filter_map(|name| {
            let pid: i32 = name.parse().ok()?;
            let environment = std::fs::read(format!("/proc/{name}/environ")).ok()?;
            let found =
                environment.split(|byte| *byte == 0).any(|entry| entry == needle.as_bytes());
            found.then(|| Pid::from_raw(pid))
        })
        .collect()
}

/// Ends every marked process: SIGTERM, and SIGKILL for those that are still there after `grace`.
/// Returns how many there were.
pub fn sweep(mark: &str, grace: Duration) -> usize {
    let first = marked(mark);
    for pid in &first {
        let _ = kill(*pid, Signal::SIGTERM);
    }
    let start = Instant::now();
    let mut left = marked(mark);
    while !left.is_empty() && start.elapsed() < grace {
        std::thread::sleep(Duration::from_millis(20));
        left = marked(mark);
    }
    // Processes that start others while they exit need more than one round.
    for _ in 0..100 {
        if left.is_empty() {
            break;
        }
        for pid in &left {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
        left = marked(mark);
    }
    first.len()
}
