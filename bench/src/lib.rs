//! Measures how fast a machine proves, and compares machines.
//!
//! Every figure is the median of several runs, whose result was first compared with that of arkworks. Beside it
//! is the floor, the least time that the device's measured ceilings allow; see [`floor`]. docs/book/bench.md
//! describes the file of results.

mod arguments;
mod cases;
mod compare;
mod counted;
pub mod epoch;
pub mod floor;
pub(crate) mod machine;
mod measure;
mod mix;
mod peers;
mod proofs;
pub mod result;
mod subject;
mod svg;

use rollmill_agent::Config;
use rollmill_agent::accelerator::{self, Accelerator};
use rollmill_agent::prover::ProverError;
use rollmill_algebra::device::DeviceError;
use rollmill_algebra::{CpuDevice, CpuPath};
use rollmill_circuits::registry::open_srs;
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_errors::{Coded, Disposition};
use rollmill_plonk::srs::Srs;
use rollmill_service::Failure;

pub use arguments::{Plan, command};
pub use compare::{command as compare_command, run as compare, summary};
pub use counted::{Account, Accounts, Counted, products_of};
pub use proofs::fill as mixed_circuit;
pub use subject::Subject;

use result::{Results, SCHEMA};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The value of an option is not one of those allowed.
    ///
    /// Do: Use a value that the message lists; `rollmill-bench run --help` describes them.
    #[error("{}: --{what}: `{got}` cannot be used; expected {expected}", self.code())]
    Argument { what: &'static str, expected: String, got: String },
    /// The device or the prover returned an error during the bench.
    ///
    /// Do: Read the reason. If memory is short, use smaller `--sizes`.
    #[error("{}: {what} failed: {reason}", self.code())]
    Failed { what: String, reason: String },
    /// A result differs from that of another implementation, or a proof does not verify.
    ///
    /// Do: Do not prove on this device: test its memory and update its driver. If it passes, report
    /// a bug in Rollmill with the results.
    #[error("{}: {what} by {implementation} is wrong; no figure of this device can be trusted", self.code())]
    Wrong { what: String, implementation: String },
    /// A file of results, a table or a plot cannot be written.
    ///
    /// Do: Check that its directory exists and is writable and that the disk has space.
    #[error("{}: cannot write {path}: {reason}", self.code())]
    Write { path: String, reason: String },
    /// A file of bench results cannot be read.
    ///
    /// Do: Check its path and permissions.
    #[error("{}: cannot read {path}: {reason}", self.code())]
    Read { path: String, reason: String },
    /// The file does not contain bench results.
    ///
    /// Do: Name a file that `rollmill-bench run --json` wrote.
    #[error("{}: {path} contains no bench results: {reason}", self.code())]
    Foreign { path: String, reason: String },
    /// The file contains bench results of another version.
    ///
    /// Do: Run `rollmill-bench run --json` again with this release.
    #[error("{}: {path} has schema {got}, this program reads {SCHEMA}; run the bench again", self.code())]
    Schema { path: String, got: u64 },
    /// A peer that `--peers` names cannot be run.
    ///
    /// Do: Install what the message names as missing, or leave the peer out of `--peers`.
    #[error("{}: peer {name} is named by --peers, but {reason}", self.code())]
    PeerMissing { name: String, reason: String },
    /// A size does not fit in memory.
    ///
    /// Do: Leave out the largest sizes with `--sizes`, or free memory.
    #[error("{}: {what} needs about {needed_mib} MiB, {free_mib} MiB are free; leave out the largest sizes with --sizes", self.code())]
    Memory { what: String, needed_mib: u64, free_mib: u64 },
    /// The two files of results have no operation in common.
    ///
    /// Do: Run `rollmill-bench run` with the same `--only` and `--sizes` on both machines.
    #[error("{}: the figures of {left} and {right} have no operation in common; run both with the same --only and --sizes", self.code())]
    NothingShared { left: String, right: String },
    /// `compare --peers` was given files of two machines or devices.
    ///
    /// Do: Give files of one machine, or leave out `--peers` to compare the machines.
    #[error("{}: {left} and {right} are of different machines or devices; --peers takes files of one", self.code())]
    OtherMachine { left: String, right: String },
    /// A signal ended the run. The file of `--json` holds what was measured before.
    ///
    /// Do: Use those figures, or run the rest again with `--only` and `--sizes`.
    #[error("{}: stopped by a signal; what was measured before is in the file of --json", self.code())]
    Stopped,
}

rollmill_errors::coded! {
    BenchError {
        Self::Argument { .. } => "BEN-001" usage,
        Self::Failed { .. } => "BEN-002",
        Self::Wrong { .. } => "BEN-003",
        Self::Write { .. } => "BEN-004",
        Self::Foreign { .. } => "BEN-005",
        Self::Schema { .. } => "BEN-006",
        Self::PeerMissing { .. } => "BEN-007",
        Self::Memory { .. } => "BEN-008",
        Self::Read { .. } => "BEN-009",
        Self::NothingShared { .. } => "BEN-010",
        Self::OtherMachine { .. } => "BEN-011",
        Self::Stopped => "BEN-012",
    }
}

impl BenchError {
    /// Whether the command line itself is wrong.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    fn failed(what: impl Into<String>) -> impl FnOnce(DeviceError) -> Self {
        let what = what.into();
        move |error| Self::Failed { what, reason: rollmill_errors::Bare(&error).to_string() }
    }
}

/// Runs the plan on the device that the settings choose, as long as `goes_on` returns true. The returned results are
/// complete. The plan's file holds those so far, whatever ends the run.
///
/// # Errors
/// Those of [`BenchError`]; those of the choice of a device and of its keys keep their own codes.
pub fn run(
    config: &Config,
    plan: &Plan,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Results, Failure> {
    let chosen = accelerator::choose(config)?;
    let device = on_path(chosen.device, plan.cpu_path)?;
    let store = DirStore::new(cache_dir(config.keys_dir.as_deref()));
    let srs = match plan.wants("circuit") {
        true => Some(open_srs(&store, config.chain_id).map_err(ProverError::from)?),
        false => None,
    };
    Ok(match device {
        Accelerator::Cpu(device) => run_on(*device, config, srs, plan, goes_on)?,
        Accelerator::Cuda(device) => run_on(*device, config, srs, plan, goes_on)?,
        Accelerator::Wgpu(device) => run_on(*device, config, srs, plan, goes_on)?,
        Accelerator::Icicle(device) => run_on(*device, config, srs, plan, goes_on)?,
    })
}

/// The device on the path that the command line names.
fn on_path(device: Accelerator, path: Option<CpuPath>) -> Result<Accelerator, BenchError> {
    let Some(path) = path else { return Ok(device) };
    let rejected = |expected: &str| BenchError::Argument {
        what: "cpu-path",
        expected: expected.to_owned(),
        got: path.to_string(),
    };
    match device {
        // As it is, with the sizes that were measured for it.
        Accelerator::Cpu(device) if device.path() == path => Ok(Accelerator::Cpu(device)),
        Accelerator::Cpu(device) => CpuDevice::on_path(path, device.threads())
            .map(|device| Accelerator::Cpu(Box::new(device)))
            .ok_or_else(|| rejected("a path whose instructions the processor has")),
        _ => Err(rejected("none with a device other than cpu")),
    }
}

fn run_on<D: Subject>(
    device: D,
    config: &Config,
    srs: Option<Srs>,
    plan: &Plan,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Results, BenchError> {
    // Before anything loads the machine.
    let machine = machine::detect();
    let mut peers = peers::Peers::find(plan, config.threads)?;
    peers.find_beside(plan, &device.name(), config)?;
    let mut bench = measure::Bench::new(&device, plan, peers, machine, goes_on)?;
    let outcome = groups(&mut bench, device, config, srs);
    bench.finish(outcome)
}

/// Measures what the plan wants, in the order of the groups.
fn groups<D: Subject>(
    bench: &mut measure::Bench<'_>,
    device: D,
    config: &Config,
    srs: Option<Srs>,
) -> Result<(), BenchError> {
    let plan = bench.plan;
    if plan.wants("field") {
        cases::field(bench, &device)?;
        if let Some(adapter) = device.wgpu() {
            subject::forms(bench, adapter)?;
        }
    }
    if plan.wants("poseidon2") {
        cases::poseidon2(bench)?;
    }
    if plan.wants("msm") {
        cases::msm(bench, &device)?;
    }
    if plan.wants("ntt") {
        cases::ntt(bench, &device)?;
    }
    if let Some(scalar) = bench.peers.scalar.clone() {
        scalar.run(bench)?;
    }
    if let Some(icicle) = bench.peers.icicle.clone() {
        icicle.run(bench)?;
    }
    if plan.wants("proof") || plan.wants("circuit") {
        proofs::run(bench, device, config, srs)?;
    }
    Ok(())
}
