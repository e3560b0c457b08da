//! Why a Noir program was not proven, or its proof not accepted.

use rollmill_acir::artifact::ArtifactError;
use rollmill_acir::lower::LowerError;
use rollmill_acir::solve::SolveError;
use rollmill_acir::values::ValueError;
use rollmill_agent::devices::ChoiceError;
use rollmill_circuits::registry::RegistryError;
use rollmill_errors::{Coded as _, Disposition};
use rollmill_plonk::check::Violation;
use rollmill_plonk::key::KeyError;
use rollmill_plonk::layout::LayoutError;
use rollmill_plonk::proof::ProofError;
use rollmill_plonk::prover::ProveError;
use rollmill_plonk::verifier::VerifyError;

/// Errors of the program, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoirError {
    /// A file cannot be read.
    ///
    /// Do: Check the path and its permissions.
    #[error("{code}: cannot read {path}: {reason}", code = self.code())]
    Read { path: String, reason: String },
    /// A file cannot be written.
    ///
    /// Do: Check that its directory exists and is writable and that the disk has space.
    #[error("{code}: cannot write {path}: {reason}", code = self.code())]
    Write { path: String, reason: String },
    /// A file is larger than any of its kind.
    ///
    /// Do: Check that the path names the right file.
    #[error("{code}: {path} has more than {limit} bytes", code = self.code())]
    TooLarge { path: String, limit: u64 },
    /// The inputs are neither TOML nor JSON.
    ///
    /// Do: Correct the file at the place that the message names. Write numbers of more than 63 bits in quotes.
    #[error("{code}: {path} does not contain inputs: {reason}", code = self.code())]
    Inputs { path: String, reason: String },
    /// The file is no key, or is damaged.
    ///
    /// Do: Name a file that `rollmill-noir key` wrote, or make it again.
    #[error("{code}: {path} is no key of a Noir program: {reason}", code = self.code())]
    KeyFile { path: String, reason: String },
    /// The file is no proof, or is damaged.
    ///
    /// Do: Name a file that `rollmill-noir prove` wrote, or get it again.
    #[error("{code}: {path} is no proof of a Noir program: {reason}", code = self.code())]
    ProofFile { path: String, reason: String },
    /// The proof was made with another key than the one that it is verified with.
    ///
    /// Do: Reject the proof, or verify it with the key of its program.
    #[error("{code}: the proof is for key {proof}, the key is {key}", code = self.code())]
    OtherKey { proof: String, key: String },
    /// The key was made for another program, for another function of it, or by another release.
    ///
    /// Do: Make the key again with `rollmill-noir key`, with the same `--function` and `--cell-bits`.
    #[error("{code}: the key {key} was not made for this program; make it again with `rollmill-noir key`", code = self.code())]
    OtherProgram { key: String },
    /// The key was made under another SRS than the one of this machine.
    ///
    /// Do: Make the key again with `rollmill-noir key`, or correct `--keys-dir`.
    #[error("{code}: the key {key} was made under another SRS than that of --keys-dir", code = self.code())]
    OtherSrs { key: String },
    /// The contract's name is no identifier of Solidity, or is that of its interface or its function.
    ///
    /// Do: Choose a name of letters, digits, `_` and `$` that does not begin with a digit and is neither `IVerifier`
    /// nor `verify`.
    #[error("{code}: a contract cannot be named {name:?}; choose letters, digits, _ and $, begin with no digit, and do not choose IVerifier or verify", code = self.code())]
    ContractName { name: String },
    /// The proof that the device made does not verify.
    ///
    /// Do: If you passed `--key`, make the key again first: a false one has the same effect. Else do not prove on this
    /// device: test its memory and update its driver. If it passes, report a bug.
    #[error("{code}: the proof that {device} made does not verify: {reason}", code = self.code())]
    Wrong { device: String, reason: String },
    /// The system provides no random numbers, which hide the witness.
    ///
    /// Do: Check the system's source of randomness.
    #[error("{code}: the system provides no random numbers: {reason}", code = self.code())]
    Random { reason: String },
    /// A signal ended the program. Nothing was written.
    ///
    /// Do: Nothing: run it again.
    #[error("{code}: stopped by a signal", code = self.code())]
    Stopped,
    /// The output would replace a file that the command reads.
    ///
    /// Do: Choose another `--output`.
    #[error("{code}: the command reads {path} and would replace it; choose another --output", code = self.code())]
    ReplacesInput { path: String },
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Solve(SolveError),
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Rows(#[from] Violation),
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Prove(ProveError),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// Wherever a signal finds the work, one code says so.
impl From<SolveError> for NoirError {
    fn from(error: SolveError) -> Self {
        match error {
            SolveError::Stopped => Self::Stopped,
            error => Self::Solve(error),
        }
    }
}

impl From<ProveError> for NoirError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Stopped => Self::Stopped,
            error => Self::Prove(error),
        }
    }
}

rollmill_errors::coded! {
    NoirError {
        Self::Read { .. } => "NOI-001",
        Self::Write { .. } => "NOI-002",
        Self::TooLarge { .. } => "NOI-003" usage,
        Self::Inputs { .. } => "NOI-004" usage,
        Self::KeyFile { .. } => "NOI-005" usage,
        Self::ProofFile { .. } => "NOI-006",
        Self::OtherKey { .. } => "NOI-007",
        Self::OtherProgram { .. } => "NOI-008" usage,
        Self::OtherSrs { .. } => "NOI-009" usage,
        Self::ContractName { .. } => "NOI-010" usage,
        Self::Wrong { .. } => "NOI-011",
        Self::Random { .. } => "NOI-012",
        Self::Stopped => "NOI-013",
        Self::ReplacesInput { .. } => "NOI-014" usage,
        Self::Artifact(error) => (error),
        Self::Value(error) => (error),
        Self::Solve(error) => (error),
        Self::Lower(error) => (error),
        Self::Layout(error) => (error),
        Self::Rows(error) => (error),
        Self::Choice(error) => (error),
        Self::Registry(error) => (error),
        Self::Key(error) => (error),
        Self::Prove(error) => (error),
        Self::Proof(error) => (error),
        Self::Verify(error) => (error),
    }
}

impl NoirError {
    /// Whether the command line, or a file that it names, is wrong.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }
}
