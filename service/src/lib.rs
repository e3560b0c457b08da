//! The frame of every process: settings, logs, metrics, health and graceful shutdown.
//!
//! ```no_run
//! use rollmill_service as service;
//! use service::values;
//!
//! #[derive(Clone, Debug, clap::Args)]
//! struct Config {
//!     /// Serve on this address
//!     #[arg(long, value_name = "HOST:PORT", value_parser = values::listen_address)]
//!     #[arg(default_value = "127.0.0.1:8080")]
//!     listen: String,
//!     /// Bearer token that clients must send
//!     #[arg(long, value_name = "file:PATH|env:NAME")]
//!     token: Option<service::Secret>,
//! }
//! impl service::Settings for Config {}
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
//! # Settings: one declaration, one precedence
//! A flag overrides the environment, which overrides the TOML file of `--config` (or
//! `ROLLMILL_<NAME>_CONFIG`), which overrides the file of the deployment ([`Settings::DEPLOYMENT`]), which overrides
//! the default of the declaration. The key `data_dir` in the
//! table `[store]` of the file is `ROLLMILL_<NAME>_STORE_DATA_DIR` and `--store-data-dir`. An unknown key
//! in the file is an error. The settings of the frame itself are those of [`Common`], in the table
//! `[service]`, without that word in variables and flags (`--log-level`).
//!
//! # Exit codes
//! 0 success, 1 failure, 2 invalid command line or setting; a program may have more ([`Exit`],
//! [`Service::exit_codes`]). A program registers which of its errors are usage errors
//! ([`Service::usage`]). A failure is one line on standard error, `error: CODE: what happened: why`, or
//! a JSON object if the logs are JSON.

mod admin;
mod conditions;
mod descriptors;
mod disk;
mod error;
#[cfg(feature = "failpoints")]
pub mod failpoints;
mod http;
mod listener;
mod log;
pub mod memory;
mod messages;
pub mod metrics;
mod preflight;
mod secret;
mod settings;
mod shutdown;
pub mod traces;
mod usage;
pub mod values;

use http::tls::TlsMetrics;
use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use admin::StatusPage;
pub use conditions::Conditions;
pub use error::{Error, Exit, Failure, Outcome};
pub use http::{
    ClientCertificate, Connection, HttpLimits, HttpMetrics, HttpServer, RequestError, ServerTls,
    UnknownLimits, certificate_end, listen, serve, serve_within,
};
pub use listener::Protection;
pub use preflight::{Finding, Preflight};
pub use prometheus;
pub use rollmill_errors::{Coded, Disposition, one_line, uncoded};
pub use rollmill_net::{
    Again, Backoff, Outage, Retry, Tls, TlsFiles, http_client, untimed_http_client,
};
pub use secret::{RotatingSecret, Secret};
pub use settings::{
    Commands, Common, Conflict, DEPLOYMENT_FORMAT, Fact, LogFormat, NoCommands, Settings,
    command_line, defaults, load, load_with_command,
};
pub use shutdown::Shutdown;
pub use traces::{TraceSettings, Traces};

/// Marks a place where a fault test may end this process: `failpoint!("name")` in async code.
///
/// `failpoint!("name", error)` makes the enclosing function return `Err(error)` when the failpoint is
/// armed with `:error`. Write `blocking` in front of the name in code that is not async. The module
/// `failpoints` describes how a test arms one. Without the feature `failpoints` this compiles to
/// nothing.
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

/// Marks a place where a fault test may end this process. Compiles to nothing, since the feature
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

/// The context of a process: its settings, its shutdown signal, its metrics and its status.
///
/// Tests create one with [`Process::new`] and call [`Shutdown::start`] themselves.
#[derive(Debug)]
pub struct Process<C> {
    /// Effective settings, already checked.
    pub config: C,
    /// Started by SIGINT or SIGTERM. Clone it into every part that must stop.
    pub shutdown: Shutdown,
    /// Metrics served under `/metrics`.
    pub metrics: prometheus::Registry,
    /// Readiness and the JSON served under `/status`.
    pub status_page: StatusPage,
    /// Conditions for the process to do its work; shown under `/ready` and `/status`.
    pub conditions: Conditions,
    /// Where spans go, see [`Settings::traces`].
    pub traces: Traces,
}

impl<C> Process<C> {
    /// Creates a process outside the frame, for tests and for running several in one program.
    pub fn new(name: &'static str, config: C) -> Self {
        let status_page = StatusPage::new(name);
        let conditions = status_page.conditions().clone();
        let metrics = prometheus::Registry::new();
        // Cannot fail: the registry is new, and no other metric has these names.
        let _ = conditions::about(name, env!("CARGO_PKG_VERSION")).register(&metrics);
        let _ = metrics.register(Box::new(usage::Usage::new()));
        let _ = metrics.register(Box::new(conditions.clone()));
        let (shutdown, traces) = (Shutdown::new(), Traces::default());
        Self { config, shutdown, metrics, status_page, conditions, traces }
    }

    /// Shows the free space of a directory in which the process keeps data.
    ///
    /// # Errors
    /// If the directory is shown already.
    pub fn show_disk(&self, dir: &std::path::Path) -> Result<(), prometheus::Error> {
        self.metrics.register(Box::new(disk::Disk::new(dir)))
    }

    /// Marks the process as started. `/health` returns 503 until then; `/ready` also requires every
    /// condition to hold.
    pub fn ready(&self) {
        self.status_page.ready();
    }
}

/// Runs a process without its own subcommands (`config` is always there).
pub fn run<C, F, R>(name: &'static str, body: F) -> ExitCode
where
    C: Settings,
    F: FnOnce(Process<C>) -> R,
    R: Future<Output = Outcome>,
{
    Service::new(name).run(body)
}

/// A program with a description or subcommands. See [`run`] for one without.
pub struct Service {
    name: &'static str,
    command: clap::Command,
    exit_codes: &'static str,
    usage_tests: Vec<error::UsageTest>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Service {
    /// A process whose program is `program`: lower case, words joined by `-`. Its settings, its metrics and
    /// `/status` name it without the prefix that all programs share: `ROLLMILL_BROKER_LISTEN` is a setting of
    /// `rollmill-broker`.
    pub fn new(program: &'static str) -> Self {
        let name = program.strip_prefix("rollmill-").unwrap_or(program);
        let command = clap::Command::new(program).version(env!("CARGO_PKG_VERSION"));
        Self { name, command, exit_codes: "", usage_tests: Vec::new() }
    }

    /// A program that has only subcommands, and reads the settings of the process `settings`: its file, its
    /// environment variables and its flags.
    pub fn tool(program: &'static str, settings: &'static str) -> Self {
        let command = clap::Command::new(program)
            .version(env!("CARGO_PKG_VERSION"))
            .subcommand_required(true);
        Self { command, ..Self::new(settings) }
    }

    /// Registers which errors of type `E` are usage errors. The process exits with 2 after such an
    /// error, whether it ends a check or the program, alone or as the cause of another.
    pub fn usage<E: std::error::Error + 'static>(mut self, is_usage: fn(&E) -> bool) -> Self {
        self.usage_tests.push(Box::new(move |error| error.downcast_ref().is_some_and(is_usage)));
        self
    }

    /// One line shown at the head of `--help`.
    pub fn about(mut self, text: &'static str) -> Self {
        self.command = self.command.about(text);
        self
    }

    /// Documents exit codes beyond 0, 1 and 2, shown at the end of `--help`.
    pub fn exit_codes(mut self, text: &'static str) -> Self {
        self.exit_codes = text;
        self
    }

    /// Reads the settings, runs `body` until it returns, and turns its result into an exit code.
    pub fn run<C, F, R>(self, body: F) -> ExitCode
    where
        C: Settings,
        F: FnOnce(Process<C>) -> R,
        R: Future<Output = Outcome>,
    {
        self.run_commands(|process, _: Option<NoCommands>| body(process))
    }

    /// As [`Self::run`], with subcommands: `body` receives the requested one.
    pub fn run_commands<C, S, F, R>(self, body: F) -> ExitCode
    where
        C: Settings,
        S: Commands,
        F: FnOnce(Process<C>, Option<S>) -> R,
        R: Future<Output = Outcome>,
    {
        self.start(None::<fn(&C) -> Preflight>, body)
    }

    /// As [`Self::run_commands`], with checks. They run before `body` when the process serves. The
    /// subcommand `check [--wait SECONDS]` runs only the checks, prints one line for each and exits
    /// with 0, 1 or 2.
    pub fn run_checked<C, S, F, R>(self, checks: impl FnOnce(&C) -> Preflight, body: F) -> ExitCode
    where
        C: Settings,
        S: Commands,
        F: FnOnce(Process<C>, Option<S>) -> R,
        R: Future<Output = Outcome>,
    {
        self.start(Some(checks), body)
    }

    fn start<C, S, P, F, R>(self, checks: Option<P>, body: F) -> ExitCode
    where
        C: Settings,
        S: Commands,
        P: FnOnce(&C) -> Preflight,
        F: FnOnce(Process<C>, Option<S>) -> R,
        R: Future<Output = Outcome>,
    {
        let exit_codes = format!(
            "Exit codes: 0 success, 1 failure, 2 invalid command line or setting{}{}.",
            if self.exit_codes.is_empty() { "" } else { "; " },
            self.exit_codes
        );
        let command = self.command.after_help(exit_codes);
        error::register(self.usage_tests);
        let early = log::asked_for_json(self.name);
        let parsed = settings::from_command_line::<C, S>(self.name, command, checks.is_some());
        let loaded = match parsed {
            Ok(settings::Parsed::Run(loaded)) => *loaded,
            Ok(settings::Parsed::Answer { text, unknown_variables }) => {
                for unknown in unknown_variables {
                    eprintln!("warning: {unknown}");
                }
                // A closed pipe (`--help | head`) is no failure.
                let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
                return ExitCode::SUCCESS;
            }
            Err(error) => return report(&error, early),
        };
        let format = loaded.common.log_format;
        if let Err(error) = log::start(&loaded.common) {
            return report(&error, format);
        }
        for settings::UnknownVariable { name, nearest } in &loaded.unknown_variables {
            let did_you_mean = nearest.as_deref();
            tracing::warn!(
                variable = %name,
                did_you_mean,
                "unknown environment variable ignored"
            );
        }
        http::raise_open_files();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => return report(&Error::Runtime { source }, format),
        };
        let result = runtime.block_on(supervise(self.name, loaded, checks, body));
        // Blocking work that still runs must not delay the exit after the grace period.
        runtime.shutdown_timeout(Duration::from_millis(200));
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => report(failure.as_ref(), format),
        }
    }
}

/// Installs the TLS of the process's clients, and reads its files again when they change.
fn keep_tls(common: &Common, registry: &prometheus::Registry) -> Result<(), Error> {
    let tls = common.install_tls()?;
    if !tls.has_files() {
        return Ok(());
    }
    let metrics = TlsMetrics::of("client", registry)?;
    metrics.show("client", tls.certificate().as_slice());
    tokio::spawn(http::tls::keep(move || {
        let outcome = tls.reload();
        metrics.reloaded("client", &outcome);
        if matches!(outcome, Ok(true)) {
            metrics.show("client", tls.certificate().as_slice());
        }
    }));
    Ok(())
}

/// Serves the admin endpoint, if the settings name an address.
async fn serve_admin<C>(common: &Common, process: &Process<C>) -> Result<(), Error> {
    let Some(address) = &common.admin_listen else { return Ok(()) };
    let listener = listen(address, "--admin-listen").await?;
    tracing::info!(address = %listener.local_addr().map_or_else(|_| address.clone(), |a| a.to_string()), "admin endpoint listening");
    let router = admin::router(process.status_page.clone(), process.metrics.clone());
    let metrics = HttpMetrics::new("admin");
    metrics
        .register(&process.metrics)
        .map_err(|source| Error::Serve { source: std::io::Error::other(source) })?;
    // Not stopped by the process's shutdown, so that the progress of the shutdown is visible.
    let ends_with_the_process = Shutdown::new();
    tokio::spawn(serve_within(
        listener,
        router,
        HttpLimits::admin(),
        metrics,
        ends_with_the_process,
    ));
    Ok(())
}

async fn supervise<C, S, P, F, R>(
    name: &'static str,
    loaded: settings::Loaded<C, S>,
    checks: Option<P>,
    body: F,
) -> Outcome
where
    C: Settings,
    S: Commands,
    P: FnOnce(&C) -> Preflight,
    F: FnOnce(Process<C>, Option<S>) -> R,
    R: Future<Output = Outcome>,
{
    let settings::Loaded { config, common, command, check, .. } = loaded;
    let mut process = Process::new(name, config);
    let shutdown = process.shutdown.clone();
    shutdown::on_signals(&shutdown)?;

    keep_tls(&common, &process.metrics)?;

    let checks = checks.map(|checks| checks(&process.config));
    if let (Some(checks), Some(wait)) = (&checks, check) {
        let wait = wait.map(Duration::from_secs);
        return tokio::select! {
            report = checks.report(wait) => Ok(report?),
            () = shutdown.started() => Err(Error::Aborted.into()),
        };
    }
    // A subcommand runs beside the server with the server's settings file, so it opens no port.
    let serving = command.as_ref().is_none_or(S::serves);
    if serving {
        if let Some(settings) = process.config.traces() {
            let program = format!("rollmill-{name}");
            process.traces = Traces::start(&program, settings, &process.metrics)?;
        }
        serve_admin(&common, &process).await?;
        tokio::spawn(descriptors::keep(process.conditions.clone(), shutdown.clone()));
    }

    let grace = Duration::from_secs(common.grace_seconds);
    let (traces, grace_ends) = (process.traces.clone(), Arc::new(OnceLock::new()));
    // A command has nothing that others wait for.
    let hand_back = if serving { shutdown::HAND_BACK } else { Duration::ZERO };
    let limit = {
        let (shutdown, status_page) = (shutdown.clone(), process.status_page.clone());
        let grace_ends = Arc::clone(&grace_ends);
        async move {
            shutdown.started().await;
            let _ = grace_ends.set(Instant::now() + grace);
            status_page.ending();
            shutdown.over(grace, hand_back).await
        }
    };
    let work = async move {
        if let Some(checks) = checks.filter(|_| serving) {
            // A signal arrived while the process waited for a requirement; nothing is open yet.
            if !checks.at_start(&process.conditions, &process.shutdown).await? {
                return Ok(());
            }
        }
        body(process, command).await
    };
    // Dropping the body stops what it owns (child processes, sockets), even if the body does not stop
    // itself.
    let outcome = tokio::select! {
        result = work => result,
        error = limit => Err(error.into()),
    };
    let left = grace_ends.get().map(|end: &Instant| end.saturating_duration_since(Instant::now()));
    end_traces(&traces, left.unwrap_or(grace), &shutdown).await;
    shutdown.settle(outcome)
}

/// Most time for the last spans of a process. Whether they are taken changes nothing about how the process ends.
const LAST_TRACES: Duration = Duration::from_secs(5);

/// Sends the last spans while the grace period lasts. `left` is what is left of it.
async fn end_traces(traces: &Traces, left: Duration, shutdown: &Shutdown) {
    let limit = left.min(LAST_TRACES);
    if limit.is_zero() {
        return;
    }
    tokio::select! {
        () = traces.end(limit) => {}
        () = shutdown.aborted() => {}
    }
}

/// Prints the last line of a process that failed, in the format of its logs.
fn report(failure: &(dyn std::error::Error + 'static), format: LogFormat) -> ExitCode {
    let line = one_line(failure);
    match format {
        LogFormat::Human => eprintln!("error: {line}"),
        LogFormat::Json => eprintln!("{}", log::failure_line(&line)),
    }
    ExitCode::from(error::exit_code(failure))
}
