//! The frame of every process: settings, logs, metrics, health and an ordered end.
//!
//! ```no_run
//! use rollmill_service as service;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     listen: String,
//!     token: Option<service::Secret>,
//! }
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { listen: "127.0.0.1:8080".into(), token: None }
//!     }
//! }
//! impl service::Settings for Config {
//!     const HELP: &'static [(&'static str, &'static str)] = &[("listen", "address to serve on")];
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     service::run("example", |process: service::Process<Config>| async move {
//!         let listener = service::listen(&process.config.listen, "--listen").await?;
//!         process.ready();
//!         service::serve(listener, axum::Router::new(), process.shutdown.clone()).await?;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # Settings: one precedence
//! Defaults in code, then the TOML file of `--config` (or `ROLLMILL_<NAME>_CONFIG`), then the
//! environment, then flags; the later wins. One key has one name everywhere: `store.data_dir` in
//! the file is `ROLLMILL_<NAME>_STORE_DATA_DIR` and `--store-data-dir`. An unknown key in the file
//! is refused. The keys of the frame itself are those of [`Common`], in the file's table
//! `[service]`, without that word in variables and flags (`--log-level`).
//!
//! # Exit codes
//! 0 done, 1 failed, 2 the command line or the settings are wrong. A failure is one line on
//! standard error, `error: CODE: what happened: why`.

mod admin;
mod config;
mod error;
#[cfg(feature = "failpoints")]
pub mod failpoints;
mod http;
mod log;
mod secret;
mod shutdown;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub use admin::Board;
pub use config::{Common, LogFormat, Settings, load};
pub use error::{Error, Failure, Outcome, one_line};
pub use http::{HttpLimits, HttpMetrics, listen, serve, serve_within};
pub use prometheus;
pub use secret::Secret;
pub use shutdown::Shutdown;

/// Marks a place where a fault test may end this process: `failpoint!("name")` in async code.
///
/// `failpoint!("name", error)` makes the enclosing function return `Err(error)` when the failpoint is
/// armed with `:error`. Write `blocking` in front of the name in code that is not async.
/// See the module `failpoints` for how a test arms one. Without the feature `failpoints` nothing is compiled.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    (blocking $name:literal) => {
        let _ = $crate::failpoints::pass_blocking($name);
    };
    (blocking $name:literal, $error:expr) => {
        if $crate::failpoints::pass_blocking($name) {
            return Err($error);
        }
    };
    ($name:literal) => {
        let _ = $crate::failpoints::pass($name).await;
    };
    ($name:literal, $error:expr) => {
        if $crate::failpoints::pass($name).await {
            return Err($error);
        }
    };
}

/// Marks a place where a fault test may end this process. Compiled to nothing here, since the feature
/// `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($(blocking)? $name:literal) => {};
    ($(blocking)? $name:literal, $error:expr) => {
        if false {
            return Err($error);
        }
    };
}

/// What a process is given: its settings, the signal to end, and where to show itself.
///
/// Tests build one with [`Process::new`] and pull [`Shutdown::start`] themselves.
#[derive(Debug)]
pub struct Process<C> {
    /// Effective settings, already checked.
    pub config: C,
    /// Started by SIGINT or SIGTERM. Clone it into every part that must end.
    pub shutdown: Shutdown,
    /// Metrics served under `/metrics`.
    pub metrics: prometheus::Registry,
    /// Readiness and the JSON served under `/status`.
    pub board: Board,
    command: Option<(String, clap::ArgMatches)>,
}

impl<C> Process<C> {
    /// A process outside the frame, for tests and for running several in one program.
    pub fn new(name: &'static str, config: C) -> Self {
        Self {
            config,
            shutdown: Shutdown::new(),
            metrics: prometheus::Registry::new(),
            board: Board::new(name),
            command: None,
        }
    }

    /// Says that the process can do its work. `/health` answers 503 until then.
    pub fn ready(&self) {
        self.board.ready();
    }

    /// The subcommand given and its arguments, of those passed to [`Service::subcommand`].
    pub fn command(&self) -> Option<(&str, &clap::ArgMatches)> {
        self.command.as_ref().map(|(name, matches)| (name.as_str(), matches))
    }
}

/// Runs a process without subcommands of its own (`config --print` is always there).
pub fn run<C, F, R>(name: &'static str, body: F) -> ExitCode
where
    C: Settings,
    F: FnOnce(Process<C>) -> R,
    R: Future<Output = Outcome>,
{
    Service::new(name).run(body)
}

/// A process with a description or subcommands. See [`run`] for the plain case.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    command: clap::Command,
}

impl Service {
    /// A process called `name`: lower case, words joined by `-`.
    pub fn new(name: &'static str) -> Self {
        Self { name, command: clap::Command::new(name).version(env!("CARGO_PKG_VERSION")) }
    }

    /// One line shown at the head of `--help`.
    pub fn about(mut self, text: &'static str) -> Self {
        self.command = self.command.about(text);
        self
    }

    /// Adds a subcommand, to be read back with [`Process::command`]. The settings' flags are
    /// accepted before and after its name.
    pub fn subcommand(mut self, command: clap::Command) -> Self {
        self.command = self.command.subcommand(command);
        self
    }

    /// Reads the settings, runs `body` until it returns, and turns its result into an exit code.
    pub fn run<C, F, R>(self, body: F) -> ExitCode
    where
        C: Settings,
        F: FnOnce(Process<C>) -> R,
        R: Future<Output = Outcome>,
    {
        let loaded = match config::from_command_line::<C>(self.name, self.command) {
            Ok(config::Parsed::Run(loaded)) => loaded,
            Ok(config::Parsed::Answer { text }) => {
                // A closed pipe (`--help | head`) is no failure.
                let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
                return ExitCode::SUCCESS;
            }
            Err(error) => return report(&error),
        };
        if let Err(error) = log::start(&loaded.common) {
            return report(&error);
        }
        for name in &loaded.unknown_variables {
            tracing::warn!(variable = %name, "environment variable names no setting; ignored");
        }
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => return report(&Error::Runtime { source }),
        };
        let result = runtime.block_on(supervise(self.name, loaded, body));
        // Blocking work still running must not hold the exit after the grace period.
        runtime.shutdown_timeout(Duration::from_millis(200));
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => report_failure(failure.as_ref()),
        }
    }
}

async fn supervise<C, F, R>(name: &'static str, loaded: config::Loaded<C>, body: F) -> Outcome
where
    F: FnOnce(Process<C>) -> R,
    R: Future<Output = Outcome>,
{
    let config::Loaded { config, common, command, .. } = loaded;
    let mut process = Process::new(name, config);
    process.command = command;
    let shutdown = process.shutdown.clone();
    shutdown::on_signals(&shutdown)?;

    let board = process.board.clone();
    if let Some(address) = &common.admin_listen {
        let listener = listen(address, "--admin-listen").await?;
        tracing::info!(address = %listener.local_addr().map_or_else(|_| address.clone(), |a| a.to_string()), "admin endpoint");
        let router = admin::router(board.clone(), process.metrics.clone());
        let metrics = HttpMetrics::new("admin");
        metrics
            .register(&process.metrics)
            .map_err(|source| Error::Serve { source: std::io::Error::other(source) })?;
        // Not ended by the process's shutdown: it shows how that goes on.
        let ends_with_the_process = Shutdown::new();
        tokio::spawn(serve_within(
            listener,
            router,
            HttpLimits::admin(),
            metrics,
            ends_with_the_process,
        ));
    }

    let grace = Duration::from_secs(common.grace_seconds);
    let limit = {
        let shutdown = shutdown.clone();
        let board = Arc::new(board);
        async move {
            shutdown.started().await;
            board.ending();
            tokio::select! {
                () = tokio::time::sleep(grace) => Error::Grace { seconds: grace.as_secs() },
                () = shutdown.aborted() => Error::Aborted,
            }
        }
    };
    // Dropping the body ends what it owns (children, sockets) even when it would not end itself.
    tokio::select! {
        result = body(process) => result,
        error = limit => Err(error.into()),
    }
}

fn report(error: &Error) -> ExitCode {
    eprintln!("error: {}", one_line(error));
    ExitCode::from(error.exit_code())
}

fn report_failure(failure: &(dyn std::error::Error + Send + Sync + 'static)) -> ExitCode {
    let code = failure.downcast_ref::<Error>().map_or(1, Error::exit_code);
    eprintln!("error: {}", one_line(failure));
    ExitCode::from(code)
}
