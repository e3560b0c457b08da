//! This test program as a process of its own, which runs one of its ignored tests: for what concerns a whole process.

use std::process::{Command, Stdio};

/// Runs the ignored test with this path.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]).stdin(Stdio::null());
    command
}

/// The flags with which a test program runs one of its tests. A service that is such a test takes them too.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flags {
    /// Flag of the test program
    #[arg(long)]
    exact: bool,
    /// Flag of the test program
    #[arg(long)]
    ignored: bool,
    /// Flag of the test program
    #[arg(long)]
    nocapture: bool,
}

impl Flags {
    /// Requires those of [`command`].
    pub(crate) fn check(&self) {
        assert!(self.exact && self.ignored && self.nocapture);
    }
}
