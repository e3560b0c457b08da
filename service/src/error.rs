//! Errors of the service frame, and the conversion of any error to one line and an exit code.

use rollmill_errors::{Coded, Disposition};
use std::sync::OnceLock;

/// Any error a process body may end with. Its `Display` is expected to start with a stable code.
pub type Failure = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What a process body returns.
pub type Outcome = Result<(), Failure>;

/// Why a process did not start or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has an invalid value, or two settings exclude each other. The message names the flag, the
    /// variable, or the file with line and key.
    ///
    /// Do: Correct it; `--help` and `config --sample` list the settings.
    #[error("{}: {message}", self.code())]
    Setting { message: String },

    /// The settings file cannot be read.
    ///
    /// Do: Check the path of `--config` and its permissions.
    #[error("{}: cannot read the settings file {path} ({cause}); correct {setting}, or the file and its permissions", self.code(), cause = rollmill_errors::InWords(.source))]
    SettingsFile {
        path: String,
        /// `--config`, or the variable that names the file.
        setting: String,
        #[source]
        source: std::io::Error,
    },

    /// The file of the deployment cannot be read.
    ///
    /// Do: Check the path of `--deployment` and its permissions; `rollmill-l1 deploy` writes the file.
    #[error("{}: cannot read the deployment file {path} ({cause}); correct {setting}, or the file and its permissions", self.code(), cause = rollmill_errors::InWords(.source))]
    DeploymentFile {
        path: String,
        /// The flag, the variable, or the place in the settings file that names it.
        setting: String,
        #[source]
        source: std::io::Error,
    },

    /// The command line is invalid.
    ///
    /// Do: Correct it as the message says; `--help` lists the commands and options.
    #[error("{}: {message}", self.code())]
    Usage { message: String },

    /// Threads or signal handlers cannot be set up.
    ///
    /// Do: Raise the limits of the process: threads, open files, memory.
    #[error("{}: cannot set up the process", self.code())]
    Runtime {
        #[source]
        source: std::io::Error,
    },

    /// Another process uses the port.
    ///
    /// Do: Stop that process, or choose another address with the setting that the message names.
    #[error("{}: {address} is in use: stop the process that listens there, or choose another address with {setting}", self.code())]
    PortTaken { address: String, setting: String },

    /// The address cannot be listened on.
    ///
    /// Do: Correct the setting that the message names: the address must belong to this machine, and
    /// ports below 1024 need a privilege.
    #[error("{}: cannot listen on {address}; check {setting}", self.code())]
    Listen {
        address: String,
        setting: String,
        #[source]
        source: std::io::Error,
    },

    /// The HTTP server stopped on its own.
    ///
    /// Do: Restart the process. If it recurs, check the limit of open files.
    #[error("{}: the HTTP server stopped on its own", self.code())]
    Serve {
        #[source]
        source: std::io::Error,
    },

    /// The process did not stop within its grace period and was cut off.
    ///
    /// Do: Raise `--grace-seconds` if its work needs longer. Restarting is safe.
    #[error("{}: not stopped after {seconds} s; open work was abandoned. Raise --grace-seconds if it needs longer", self.code())]
    Grace { seconds: u64 },

    /// A second signal ended the process before it had released its open work, or a signal ended a check.
    ///
    /// Do: Nothing: restarting is safe, and what was held is given to others once its lease has expired.
    #[error("{}: stopped by a signal before open work was released", self.code())]
    Aborted,

    /// A file of certificates or keys cannot be used.
    ///
    /// Do: Correct the file, or the setting that the message names. Files are PEM; a key has no passphrase.
    #[error("{}: cannot use the file of {setting}: {error}", self.code())]
    Tls {
        setting: String,
        // Not a cause: the message has its words.
        error: rollmill_net::PemError,
    },

    /// At least one startup check failed. A single failed check is reported with its own code.
    ///
    /// Do: Fix what each line of the log names; `check` repeats the checks.
    #[error("{}{message}", if rollmill_errors::is_coded(.message) { String::new() } else { format!("{}: ", self.code()) })]
    Preflight {
        message: String,
        /// A setting is wrong by itself: [`crate::Finding::Setting`].
        is_usage: bool,
    },
}

rollmill_errors::coded! {
    Error {
        Self::Setting { .. } => "SVC-001" usage,
        Self::SettingsFile { .. } => "SVC-002" usage,
        Self::Usage { .. } => "SVC-003" usage,
        Self::Runtime { .. } => "SVC-004",
        Self::PortTaken { .. } => "SVC-005",
        Self::Listen { .. } => "SVC-006",
        Self::Serve { .. } => "SVC-007",
        Self::Grace { .. } => "SVC-008",
        Self::Aborted => "SVC-009",
        Self::Preflight { is_usage: true, .. } => "SVC-010" usage,
        Self::Preflight { .. } => "SVC-010",
        Self::Tls { .. } => "SVC-011" usage,
        Self::DeploymentFile { .. } => "SVC-016" usage,
    }
}

impl Error {
    /// 2 for a usage error, else 1.
    pub fn exit_code(&self) -> u8 {
        match self.disposition() {
            Disposition::Usage => USAGE,
            _ => 1,
        }
    }
}

/// Whether an error of one type is a usage error: the user must change the command line or a setting.
pub(crate) type UsageTest = Box<dyn Fn(&(dyn std::error::Error + 'static)) -> bool + Send + Sync>;

/// The tests registered with [`crate::Service::usage`]. A process has one program.
static USAGE_TESTS: OnceLock<Vec<UsageTest>> = OnceLock::new();

pub(crate) fn register(tests: Vec<UsageTest>) {
    // Fails only in a program that runs a second service in its process.
    let _ = USAGE_TESTS.set(tests);
}

/// Whether the error, or one of its causes, is a usage error.
pub(crate) fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let own = error.downcast_ref::<Error>().is_some_and(|error| error.exit_code() == USAGE);
        if own || USAGE_TESTS.get().into_iter().flatten().any(|is_usage| is_usage(error)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The exit code of a process that ends with this error.
pub(crate) fn exit_code(error: &(dyn std::error::Error + 'static)) -> u8 {
    match error.downcast_ref::<Exit>() {
        Some(exit) => exit.code,
        None if is_usage(error) => USAGE,
        None => 1,
    }
}

/// The exit code for a command line or a setting that is wrong.
const USAGE: u8 = 2;

/// A failure with an exit code of its own, where 1 would say too little. The program documents its
/// codes with [`crate::Service::exit_codes`].
#[derive(Debug)]
pub struct Exit {
    /// The process's exit code.
    pub code: u8,
    /// What happened.
    pub failure: Failure,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for Exit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source()
    }
}
