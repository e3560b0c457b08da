//! A peer that is a separate program: its output and its peak memory.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::machine;

/// How often the kernel is queried. It keeps the peak itself, so that only what a program uses in its
/// last moment is missed.
const EVERY: Duration = Duration::from_millis(5);

/// Runs a command to its end. Returns its output and its peak resident memory in bytes, if the kernel reports
/// it.
///
/// `wait4` does not serve: the peak that it reports for a child is at least the memory of its parent when it
/// started the child, and this process may use more than the peer.
pub(super) fn run(command: &mut Command) -> std::io::Result<(Output, Option<u64>)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().map(reader);
    let stderr = child.stderr.take().map(reader);
    let mut peak = None;
    let status = loop {
        // Before it is waited for, so that the process id still belongs to this child.
        peak = machine::peak_bytes_of(&child.id().to_string()).max(peak);
        match child.try_wait()? {
            Some(status) => break status,
            None => thread::sleep(EVERY),
        }
    };
    let read = |reader: Option<Reader>| match reader.map(Reader::join) {
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => Err(std::io::Error::other("the thread that reads its output panicked")),
        None => Ok(Vec::new()),
    };
    Ok((Output { status, stdout: read(stdout)?, stderr: read(stderr)? }, peak))
}

type Reader = thread::JoinHandle<std::io::Result<Vec<u8>>>;

/// Reads to the end in a separate thread, so that neither pipe is ever full.
fn reader(mut from: impl Read + Send + 'static) -> Reader {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map(|_| bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Output, Option<u64>) {
        run(Command::new("sh").stdin(Stdio::null()).args(["-c", script])).unwrap()
    }

    #[test]
    fn a_program_that_says_more_than_a_pipe_holds_is_heard_on_both() {
        let (output, _) = shell("head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero; exit 3");
        assert_eq!((output.stderr.len(), output.stdout.len()), (300_000, 200_000));
        assert_eq!(output.status.code(), Some(3));
    }

    /// Goal: the peak is the program's and not that of this process. Method: allocate more than a shell uses;
    /// the shell stays until the kernel was queried, since it ends when its reader is gone.
    #[test]
    fn the_peak_of_a_program_is_its_own() {
        let memory = vec![1u8; 64 << 20];
        let (_, peak) = shell("while :; do echo x; done | head -c 300000 > /dev/null");
        let peak = peak.expect("the kernel reports it");
        assert!((1 << 16..32 << 20).contains(&peak), "{peak} of {}", memory.len());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(run(&mut Command::new("/nonexistent/program")).is_err());
    }
}
