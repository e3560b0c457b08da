//! The CPU device without vector instructions, beside the one with them: shows the speed of a machine
//! without AVX-512 IFMA. The note of each figure says which path that is.

use rollmill_algebra::CpuDevice;
use rollmill_algebra::device::Memory;

use super::beside::Peer;
use crate::BenchError;
use crate::measure::Bench;
use rollmill_agent::Config;

pub(crate) const NAME: &str = "scalar";

/// The faster of the paths `adx` and `portable` that the processor has.
#[derive(Debug)]
pub(crate) struct Scalar {
    device: CpuDevice,
    cpu: CpuDevice,
}

impl Scalar {
    /// Returns one line on why it is not a peer of the device of this name, if it is not.
    pub(super) fn find(own: &str, config: &Config) -> Result<Self, String> {
        let scalar = CpuDevice::scalar(config.threads);
        if own == scalar.name() {
            return Err("it is the device that is measured".to_owned());
        }
        if !own.starts_with("cpu") {
            return Err("it is compared with the CPU device only".to_owned());
        }
        Ok(Self { device: scalar, cpu: CpuDevice::new(config.threads) })
    }

    /// Measures what was requested.
    pub(crate) fn run(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        let (device, cpu) = (&self.device, &self.cpu);
        Peer { name: NAME, device, cpu, note: Some(device.name()) }.run(bench)
    }
}
