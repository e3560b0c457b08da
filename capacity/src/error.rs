//! Why nothing can be planned.

use rollmill_errors::{Coded as _, Disposition};

/// Errors of the program, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CapacityError {
    /// A file with results cannot be read.
    ///
    /// Do: Check the path after `--results` and its permissions.
    #[error("{code}: {path} cannot be read: {reason}; check --results", code = self.code())]
    Read { path: String, reason: String },
    /// A file with results is not one that the programs write.
    ///
    /// Do: Name a file of `cargo xtask circuits --prove --json`, of `rollmill-devnet --json` or of `rollmill-bench run --json`.
    #[error("{code}: {path} holds no results of proofs: {reason}; name a file of `cargo xtask circuits --prove --json`, `rollmill-devnet --json` or `rollmill-bench run --json`", code = self.code())]
    Foreign { path: String, reason: String },
    /// The results lack a circuit that an epoch needs.
    ///
    /// Do: Name another file, or several: a later `--results` adds what the earlier ones lack.
    #[error("{code}: no result for the circuit `{circuit}`; name another file with --results, or add one", code = self.code())]
    Missing { circuit: &'static str },
    /// The options fit no epoch.
    ///
    /// Do: Do what the message says.
    #[error("{code}: {reason}", code = self.code())]
    Impossible { reason: String },
    /// No number of agents proves the epochs in time.
    ///
    /// Do: Allow more seconds with `--prove-within`, or use faster agents.
    #[error("{code}: even {agents} agents do not prove epochs of {rate} transactions per second within {seconds} s; raise --prove-within or use faster agents", code = self.code())]
    TooSlow { agents: u64, rate: f64, seconds: u64 },
}

rollmill_errors::coded! {
    CapacityError {
        Self::Read { .. } => "CAP-001",
        Self::Foreign { .. } => "CAP-002",
        Self::Missing { .. } => "CAP-003",
        Self::Impossible { .. } => "CAP-004" usage,
        Self::TooSlow { .. } => "CAP-005",
    }
}

impl CapacityError {
    /// 2 for options that cannot be used, else 1.
    pub fn exit_code(&self) -> u8 {
        if self.disposition() == Disposition::Usage { 2 } else { 1 }
    }
}
