//! `agent bench`: what a machine is worth, and `agent bench compare`: machines side by side.
//!
//! Every figure is the median of several runs whose result was compared with arkworks' first, beside
//! the floor that the device's own ceilings allow, see [`floor`]. docs/book/bench.md describes the
//! file.

mod arguments;
mod cases;
mod compare;
mod counted;
pub mod floor;
pub(crate) mod machine;
mod measure;
mod mix;
mod peers;
mod proofs;
pub mod result;
mod subject;
mod svg;

use rollmill_algebra::device::DeviceError;
use rollmill_plonk::srs::Srs;

pub use arguments::{Plan, command};
pub use compare::{run as compare, summary};
pub use counted::{Account, Accounts, Counted, products_of};
pub use subject::Subject;

use crate::config::Config;
use measure::Sensors;
use result::{Results, SCHEMA};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// An argument is not one of those that are known.
    #[error("{}: --{what}: `{got}` cannot be used; expected {expected}", self.code())]
    Argument { what: &'static str, expected: String, got: String },
    /// The device or the prover gave an error.
    #[error("{}: {what} failed: {reason}", self.code())]
    Failed { what: String, reason: String },
    /// A result differs from its peer's, or a proof does not verify.
    #[error("{}: {what} by {implementation} is wrong; no figure of this device can be trusted", self.code())]
    Wrong { what: String, implementation: String },
    /// A file of results, a table or a drawing cannot be written.
    #[error("{}: cannot write {path}: {reason}", self.code())]
    Write { path: String, reason: String },
    /// A file of results cannot be read.
    #[error("{}: cannot read {path}: {reason}", self.code())]
    Read { path: String, reason: String },
    /// A file holds something other than results.
    #[error("{}: {path} holds no results of a bench: {reason}", self.code())]
    Foreign { path: String, reason: String },
    /// A file holds results of another version.
    #[error("{}: {path} has schema {got}, this program reads {SCHEMA}; run the bench again", self.code())]
    Schema { path: String, got: u64 },
    /// A peer that was asked for by name cannot be run.
    #[error("{}: peer {name} was asked for, but {reason}", self.code())]
    PeerMissing { name: String, reason: String },
    /// A size does not fit into memory.
    #[error("{}: {what} needs about {needed_mib} MiB, {free_mib} MiB are free; leave out the largest sizes with --sizes", self.code())]
    Memory { what: String, needed_mib: u64, free_mib: u64 },
    /// Two files of results measured nothing in common.
    #[error("{}: the figures of {left} and {right} have no operation in common", self.code())]
    NothingShared { left: String, right: String },
}

impl BenchError {
    /// Stable identifier. Never reused.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Argument { .. } => "AGT-040",
            Self::Failed { .. } => "AGT-041",
            Self::Wrong { .. } => "AGT-042",
            Self::Write { .. } => "AGT-043",
            Self::Foreign { .. } => "AGT-044",
            Self::Schema { .. } => "AGT-045",
            Self::PeerMissing { .. } => "AGT-046",
            Self::Memory { .. } => "AGT-047",
            Self::Read { .. } => "AGT-048",
            Self::NothingShared { .. } => "AGT-049",
        }
    }

    /// Whether the command line itself is wrong.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Argument { .. })
    }

    fn failed(what: impl Into<String>) -> impl FnOnce(DeviceError) -> Self {
        let what = what.into();
        move |error| Self::Failed { what, reason: error.to_string() }
    }
}

/// Runs the plan on `device`. The results are complete or there are none.
pub fn run<D: Subject>(
    device: D,
    config: &Config,
    srs: Option<Srs>,
    plan: &Plan,
) -> Result<Results, BenchError> {
    let machine = machine::look();
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut peers = peers::Peers::find(plan, config.threads)?;
    peers.find_beside(plan, &device.name(), config)?;
    let mut bench = measure::Bench::new(&device, plan, peers)?;
    if plan.wants("field") {
        cases::field(&mut bench, &device)?;
        if let Some(adapter) = device.wgpu() {
            subject::forms(&mut bench, adapter)?;
        }
    }
    if plan.wants("poseidon2") {
        cases::poseidon2(&mut bench)?;
    }
    if plan.wants("msm") {
        cases::msm(&mut bench, &device)?;
    }
    if plan.wants("ntt") {
        cases::ntt(&mut bench, &device)?;
    }
    let name = device.name();
    if let Some(scalar) = bench.peers.scalar.clone() {
        scalar.run(&mut bench)?;
    }
    if let Some(icicle) = bench.peers.icicle.clone() {
        icicle.run(&mut bench)?;
    }
    if plan.wants("proof") || plan.wants("circuit") {
        proofs::run(&mut bench, device, config, srs)?;
    }
    Ok(Results {
        schema: SCHEMA,
        device: name,
        machine,
        rollmill_version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: machine::commit(),
        command: std::env::args().collect(),
        unix_seconds: started.map_or(0, |elapsed| elapsed.as_secs()),
        ceilings: bench.ceilings,
        card: bench.sensors.map(Sensors::report),
        absent_peers: bench.peers.absent,
        entries: bench.entries,
    })
}
