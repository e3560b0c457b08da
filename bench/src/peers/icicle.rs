//! ICICLE beside this device: its MSMs and transforms, through the adapter that `--device icicle`
//! proves with, so copies to its device and the conversion to canonical scalars are part of its time.

use rollmill_algebra::CpuDevice;
use rollmill_icicle::{IcicleDevice, IcicleError};

use super::beside::Peer;
use crate::BenchError;
use crate::measure::Bench;
use rollmill_agent::Config;
use rollmill_agent::accelerator::open_icicle;

/// Whether the device of this name is ICICLE's itself.
pub(super) fn is_own(name: &str) -> bool {
    name.contains("icicle(")
}

/// ICICLE, open and tested.
#[derive(Debug)]
pub(crate) struct Icicle {
    device: IcicleDevice,
    cpu: CpuDevice,
}

impl Icicle {
    /// Opens ICICLE's CPU code beside the CPU, its best device beside any other; `own` is the name of
    /// the device that is measured.
    pub(super) fn find(own: &str, config: &Config) -> Result<Self, IcicleError> {
        let device = open_icicle(config, if own.starts_with("cpu") { "CPU" } else { "0" })?;
        Ok(Self { device, cpu: CpuDevice::new(config.threads) })
    }

    /// Measures what was requested, if ICICLE has it.
    pub(crate) fn run(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        let (device, cpu) = (&self.device, &self.cpu);
        let note = Some(format!("on {}", device.id()));
        Peer { name: "icicle", device, cpu, note }.run(bench)
    }
}
