//! Why a network on this machine could not be brought up, or did not do what it was asked.

use std::path::PathBuf;
use std::time::Duration;

/// Each message says what to do next, on one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program of this build is not next to devnet.
    #[error("{}: no program {name} in {}; build it: cargo build --workspace --bins", self.code(), folder.display())]
    ProgramMissing { name: String, folder: PathBuf },

    /// The npm packages with anvil are not installed.
    #[error("{}: no anvil at {}; run: make setup", self.code(), path.display())]
    AnvilMissing { path: PathBuf },

    /// devnet does not run in a checkout, and the one that it was built from is gone.
    #[error("{}: no folder `contracts` with a package.json in {} or above it; run devnet in a checkout of this repository", self.code(), folder.display())]
    ContractsMissing { folder: PathBuf },

    /// The variable that names anvil names no file.
    #[error("{}: {variable} is {}, and no file is there; correct it, or unset it to use anvil from npm", self.code(), path.display())]
    AnvilVariable { variable: &'static str, path: PathBuf },

    /// A program was found but the system did not start it.
    #[error("{}: cannot start {name}: {source}", self.code())]
    Spawn {
        name: String,
        #[source]
        source: std::io::Error,
    },

    /// A process ended while it was still needed. Its last words follow.
    #[error("{}: {name} ended with {status}: {last_line}", self.code())]
    Ended { name: String, status: String, last_line: String },

    /// A process was started but did not become ready in time.
    #[error(
        "{}: {name} was not ready after {} s: {last_line}; see its log with --dir",
        self.code(), limit.as_secs()
    )]
    NotReady { name: String, limit: Duration, last_line: String },

    /// No port of the range could be bound.
    #[error("{}: no free port between {first} and {last} on 127.0.0.1; end what holds them", self.code())]
    NoPort { first: u16, last: u16 },

    /// A file or folder could not be made, written or read.
    #[error("{}: cannot {action} {}: {source}{}", self.code(), path.display(), advice(source))]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    /// The folder given with `--dir` holds something else already.
    #[error("{}: {} is not empty; give a new folder to --dir", self.code(), path.display())]
    DirInUse { path: PathBuf },

    /// Ended by a signal, as asked.
    #[error("{}: interrupted by {signal}", self.code())]
    Interrupted { signal: &'static str },

    /// The network stands but the asked-for epochs were not proven in time.
    #[error("{}: {proven} of {wanted} epochs proven after {} s; raise --timeout-minutes or look at the logs with --dir", self.code(), elapsed.as_secs())]
    Unproven { proven: u64, wanted: u64, elapsed: Duration },

    /// A run under faults ended in a state that no fault excuses.
    #[error("{}: under faults of seed {seed}: {why}; see the logs with --dir", self.code())]
    Chaos { seed: u64, why: String },

    /// The prover node that stood by did not submit in the killed one's place.
    #[error("{}: after a kill at {step}: {why}; see the logs with --dir", self.code())]
    Failover { step: String, why: String },

    /// A wrong value was accepted somewhere. The system is not sound.
    #[error("{}: {count} of {total} tampered values were accepted", self.code())]
    TamperAccepted { count: usize, total: usize },

    /// The honest values were refused, so that refusals of changed ones show nothing.
    #[error("{}: the honest proof was refused: {answer}", self.code())]
    HonestRefused { answer: String },

    /// A finished job has no result that can be read.
    #[error("{}: job {job} has no result that can be read", self.code())]
    NoResult { job: String },

    /// The broker could not be asked.
    #[error("{}: {source}", self.code())]
    Broker {
        #[from]
        source: rollmill_broker_client::ClientError,
    },

    /// The circuits' keys could not be loaded or made.
    #[error("{}: {source}", self.code())]
    Keys {
        #[from]
        source: rollmill_circuits::registry::RegistryError,
    },

    /// L1 did not do what it was asked.
    #[error("{}: {source}", self.code())]
    L1 {
        #[from]
        source: rollmill_l1::L1Error,
    },

    /// A signing key of the development L1 is malformed.
    #[error("{}: a development key is not 64 hexadecimal digits", self.code())]
    L1Key,

    /// A node did not answer, or refused what it should take.
    #[error("{}: {source}", self.code())]
    Node {
        #[from]
        source: rollmill_node_client::ClientError,
    },

    /// A wallet could not do its part.
    #[error("{}: {source}", self.code())]
    Wallet {
        #[from]
        source: rollmill_pxe::error::PxeError,
    },

    /// The genesis file breaks its own rules.
    #[error("{}: {source}", self.code())]
    Genesis {
        #[from]
        source: rollmill_protocol::genesis::GenesisError,
    },

    /// A transaction that was taken did not come into a block.
    #[error("{}: transaction {tx_hash} was dropped: {reason}", self.code())]
    Dropped { tx_hash: String, reason: String },

    /// The generated verifier in the contracts folder is not that of this build's keys.
    #[error("{}: {} was generated from other keys; run: make gen", self.code(), path.display())]
    VerifierStale { path: PathBuf },

    /// L1's transaction with the proof did not do what its event says.
    #[error("{}: L1 transaction {tx_hash} has no receipt", self.code())]
    NoReceipt { tx_hash: String },
}

fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => "; free some disk space, or set TMPDIR",
        std::io::ErrorKind::PermissionDenied => "; give a folder that you may write to",
        _ => "",
    }
}

impl Error {
    /// Stable identifier. Never reused.
    pub const fn code(&self) -> &'static str {
        match self {
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
            Self::Genesis { .. } => "NET-018",
            Self::Dropped { .. } => "NET-019",
            Self::NoReceipt { .. } => "NET-020",
            Self::VerifierStale { .. } => "NET-021",
            Self::ContractsMissing { .. } => "NET-035",
            Self::AnvilVariable { .. } => "NET-036",
        }
    }

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
