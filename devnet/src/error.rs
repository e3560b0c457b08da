//! Why a network on this machine could not be brought up, or did not do what it was asked.

use std::path::PathBuf;
use std::time::Duration;

use rollmill_l1::L1Error;

/// Each message says what to do next, on one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program of this build is not beside devnet.
    ///
    /// Do: Run `cargo build --workspace --bins` with the profile of devnet.
    #[error("{}: no program {name} in {}; run: cargo build --workspace --bins", self.code(), folder.display())]
    ProgramMissing { name: String, folder: PathBuf },

    /// anvil is not installed.
    ///
    /// Do: Run `make setup`.
    #[error("{}: no anvil at {}; run: make setup", self.code(), path.display())]
    AnvilMissing { path: PathBuf },

    /// devnet does not run in a checkout, and the checkout that built it is gone.
    ///
    /// Do: Run devnet inside a checkout of this repository.
    #[error("{}: no folder `contracts` with a package.json in {} or above it; run devnet in a checkout of this repository", self.code(), folder.display())]
    ContractsMissing { folder: PathBuf },

    /// `ROLLMILL_ANVIL` names a file that does not exist.
    ///
    /// Do: Correct the variable, or unset it to use anvil from npm.
    #[error("{}: {variable} is {}, and no file is there; correct it, or unset it to use anvil from npm", self.code(), path.display())]
    AnvilVariable { variable: &'static str, path: PathBuf },

    /// A program exists but cannot be started.
    ///
    /// Do: Read the reason: often a missing permission or a missing library.
    #[error("{}: cannot start {name}: {cause}", self.code(), cause = rollmill_errors::InWords(.source))]
    Spawn {
        name: String,
        #[source]
        source: std::io::Error,
    },

    /// A process exited while it was still needed. The message ends with its last line.
    ///
    /// Do: Look up the code in that line. Use `--dir` to keep all logs.
    #[error("{}: {name} ended with {status}; its last line: \"{last_line}\"", self.code())]
    Ended { name: String, status: String, last_line: String },

    /// A process did not become ready in time.
    ///
    /// Do: Use `--dir` to keep its log, and read what it waits for. On a slow machine, free CPU and
    /// memory.
    #[error(
        "{}: {name} was not ready after {} s; see its log with --dir; its last line: \"{last_line}\"",
        self.code(), limit.as_secs()
    )]
    NotReady { name: String, limit: Duration, last_line: String },

    /// No port of the range is free.
    ///
    /// Do: Stop the processes that use the ports.
    #[error("{}: no free port between {first} and {last} on 127.0.0.1; stop the processes that use them", self.code())]
    NoPort { first: u16, last: u16 },

    /// A file or directory cannot be created, written or read.
    ///
    /// Do: Free disk space, set `TMPDIR`, or choose a writable `--dir`.
    #[error("{}: cannot {action} {}: {cause}{}", self.code(), path.display(), advice(source), cause = rollmill_errors::InWords(.source))]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    /// The directory given with `--dir` is not empty.
    ///
    /// Do: Choose a new directory for `--dir`.
    #[error("{}: {} is not empty; give a new folder to --dir", self.code(), path.display())]
    DirInUse { path: PathBuf },

    /// devnet was interrupted by a signal and stopped all processes.
    ///
    /// Do: Nothing.
    #[error("{}: interrupted by {signal}", self.code())]
    Interrupted { signal: &'static str },

    /// The network ran, but the epochs were not proven in time.
    ///
    /// Do: Raise `--timeout-minutes`, or use `--dir` and read the logs of prover node and agents.
    #[error("{}: {proven} of {wanted} epochs proven after {} s; raise --timeout-minutes or read the logs with --dir", self.code(), elapsed.as_secs())]
    Unproven { proven: u64, wanted: u64, elapsed: Duration },

    /// The run under faults ended in a state that no injected fault explains.
    ///
    /// Do: Run it again with the same `--seed` and with `--dir`, and report it with the logs.
    #[error("{}: under faults of seed {seed}: {why}; see the logs with --dir", self.code())]
    Chaos { seed: u64, why: String },

    /// The standby prover node did not submit after the other was killed.
    ///
    /// Do: Run it again with `--dir`, and report it with the logs.
    #[error("{}: after a kill at {step}: {why}; see the logs with --dir", self.code())]
    Failover { step: String, why: String },

    /// A process did not exit in order after SIGTERM, or lost what it held.
    ///
    /// Do: Run it again with `--dir`, and report it with the logs.
    #[error("{}: after SIGTERM: {process} {why}; see the logs with --dir", self.code())]
    Termination { process: String, why: String },

    /// The network accepted a tampered value. It is not sound.
    ///
    /// Do: Do not use this build. Report it as SECURITY.md says.
    #[error("{}: {count} of {total} tampered values were accepted; do not use this build, and report it as SECURITY.md says", self.code())]
    TamperAccepted { count: usize, total: usize },

    /// The untampered values were rejected, so rejections of tampered ones prove nothing.
    ///
    /// Do: Read the reason; the build is broken. Run `make test`.
    #[error("{}: the honest proof was rejected: {answer}", self.code())]
    HonestRefused { answer: String },

    /// A finished job has no readable result.
    ///
    /// Do: Use `--dir` and read the broker's log.
    #[error("{}: job {job} has no result that can be read", self.code())]
    NoResult { job: String },

    /// A request to the broker failed.
    ///
    /// Do: Do what the message says. Use `--dir` to keep the broker's log.
    #[error("{}: a request to the broker failed: {cause}", self.code(), cause = rollmill_errors::Bare(.source))]
    Broker {
        #[from]
        source: rollmill_broker_client::ClientError,
    },

    /// The circuits' keys cannot be loaded or generated.
    ///
    /// Do: Do what the message says.
    #[error("{}: the circuits' keys cannot be loaded or generated: {cause}", self.code(), cause = rollmill_errors::Bare(.source))]
    Keys {
        #[from]
        source: rollmill_circuits::registry::RegistryError,
    },

    /// A request to L1 failed.
    ///
    /// Do: Do what the message says. Use `--dir` to keep the log of anvil.
    #[error("{}: a request to L1 failed: {cause}", self.code(), cause = rollmill_errors::Bare(.source))]
    L1 {
        #[from]
        source: L1Error,
    },

    /// Somebody was paid another amount than the rules say.
    ///
    /// Do: A bug in Rollmill: report it with the log of `--dir`.
    #[error("{}: {what}: {reason}", self.code())]
    Unpaid { what: &'static str, reason: String },

    /// A signing key of the development L1 is malformed.
    ///
    /// Do: A bug in Rollmill: report it.
    #[error("{}: a development key is not 64 hexadecimal digits", self.code())]
    L1Key,

    /// A request to a node failed.
    ///
    /// Do: Do what the message says. Use `--dir` to keep the node's log.
    #[error("{}: a request to a node failed: {cause}", self.code(), cause = rollmill_errors::Bare(.source))]
    Node {
        #[from]
        source: rollmill_node_client::ClientError,
    },

    /// A wallet failed.
    ///
    /// Do: Do what the message says.
    #[error("{}: a wallet failed: {cause}", self.code(), cause = rollmill_errors::Bare(.source))]
    Wallet {
        #[from]
        source: rollmill_pxe::error::PxeError,
    },

    #[error(transparent)]
    Deploy(#[from] rollmill_deployment::DeployError),

    /// A transaction that the node had accepted was dropped.
    ///
    /// Do: Use `--dir` and read the reason in the node's log.
    #[error("{}: transaction {tx_hash} was dropped: {reason}", self.code())]
    Dropped { tx_hash: String, reason: String },

    /// A transaction that the nodes have was put into no block within the time of the run.
    ///
    /// Do: Raise `--timeout-minutes`, or use `--dir` and read the sequencer's log.
    #[error("{}: transaction {tx_hash} is in no block after {} s; raise --timeout-minutes or read the sequencer's log with --dir", self.code(), elapsed.as_secs())]
    NotIncluded { tx_hash: String, elapsed: Duration },

    /// A payment or a balance on L1 is not what the formulas say.
    ///
    /// Do: Do not use the contracts of this build. Report it with the scenario's name.
    #[error("{}: scenario {scenario}: {what}: the formulas say {expected}, L1 says {got}; do not use the contracts of this build, and report it", self.code())]
    EconomicsAmount { scenario: &'static str, what: String, expected: String, got: String },

    /// L1 accepted what a scenario requires it to reject, or rejected it for another reason.
    ///
    /// Do: Do not use the contracts of this build. Report it with the scenario's name.
    #[error("{}: scenario {scenario}: {step}: expected the rejection {expected}, got {got}; do not use the contracts of this build, and report it", self.code())]
    EconomicsRejection { scenario: &'static str, step: String, expected: String, got: String },

    /// L1 rejected a step of a scenario that must succeed.
    ///
    /// Do: Run it again with `--dir`, and report it with the logs.
    #[error("{}: scenario {scenario}: {step}: L1 rejected it: {reason}; run it again with --dir, and report it", self.code())]
    EconomicsStep { scenario: &'static str, step: String, reason: String },

    /// The state of L1 in a scenario is not what the rules say.
    ///
    /// Do: Do not use the contracts of this build. Report it with the scenario's name.
    #[error("{}: scenario {scenario}: {what}: expected {expected}, got {got}; do not use the contracts of this build, and report it", self.code())]
    EconomicsState { scenario: &'static str, what: String, expected: String, got: String },

    /// Two deployments on one broker did something else than an upgrade requires.
    ///
    /// Do: Run it again with `--dir`, and report it with the logs.
    #[error("{}: {what}: {reason}; run it again with --dir, and report it with the logs", self.code())]
    Upgrade { what: String, reason: String },

    /// L1 has no receipt for the transaction whose event it reported.
    ///
    /// Do: Run it again. If it recurs, report it with the log of anvil.
    #[error("{}: L1 transaction {tx_hash} has no receipt", self.code())]
    NoReceipt { tx_hash: String },
}

rollmill_errors::coded! {
    Error {
        Self::ProgramMissing { .. } => "NET-001",
        Self::AnvilMissing { .. } => "NET-002",
        Self::Spawn { .. } => "NET-003",
        Self::Ended { .. } => "NET-004",
        Self::NotReady { .. } => "NET-005",
        Self::NoPort { .. } => "NET-006",
        Self::File { .. } => "NET-007",
        Self::DirInUse { .. } => "NET-008",
        Self::Interrupted { .. } => "NET-009",
        Self::Unproven { .. } => "NET-010",
        Self::TamperAccepted { .. } => "NET-011",
        Self::Chaos { .. } => "NET-033",
        Self::Failover { .. } => "NET-034",
        Self::HonestRefused { .. } => "NET-031",
        Self::NoResult { .. } => "NET-032",
        Self::Broker { .. } => "NET-012",
        Self::Keys { .. } => "NET-013",
        Self::L1 { .. } => "NET-014",
        Self::L1Key => "NET-015",
        Self::Node { .. } => "NET-016",
        Self::Wallet { .. } => "NET-017",
        Self::Deploy(error) => (error),
        Self::Dropped { .. } => "NET-019",
        Self::NoReceipt { .. } => "NET-020",
        Self::ContractsMissing { .. } => "NET-035",
        Self::AnvilVariable { .. } => "NET-036",
        Self::Unpaid { .. } => "NET-037",
        Self::EconomicsAmount { .. } => "NET-038",
        Self::EconomicsRejection { .. } => "NET-039",
        Self::EconomicsStep { .. } => "NET-040",
        Self::EconomicsState { .. } => "NET-041",
        Self::Upgrade { .. } => "NET-042",
        Self::Termination { .. } => "NET-043",
        Self::NotIncluded { .. } => "NET-044",
    }
}

fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => "; free some disk space, or set TMPDIR",
        std::io::ErrorKind::PermissionDenied => "; give a folder that you may write to",
        _ => "",
    }
}

impl Error {
    /// Exit code of the process: 130 after a signal, as shells do, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { .. } => 130,
            _ => 1,
        }
    }

    /// Makes a [`Self::File`] of an I/O error.
    pub fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// A request to L1 that this crate sends itself failed.
pub(crate) fn rpc(
    what: &'static str,
) -> impl FnOnce(rollmill_l1::alloy::transports::TransportError) -> Error {
    move |error| L1Error::Unreachable { what, reason: error.to_string() }.into()
}

/// A getter of a contract failed.
pub(crate) fn getter(
    what: &'static str,
) -> impl FnOnce(rollmill_l1::alloy::contract::Error) -> Error {
    move |error| L1Error::Decode { what, reason: error.to_string() }.into()
}
