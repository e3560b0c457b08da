//! What the bench needs of a device beyond the device traits: its card, and the ceilings that it
//! measures by itself.

use std::time::Instant;

use ark_ff::{AdditiveGroup, Field as _};
use rollmill_algebra::device::{Device, DeviceError};
use rollmill_algebra::{CpuDevice, Fr};
use rollmill_icicle::IcicleDevice;
use rollmill_kernels::CudaDevice;
use rollmill_shaders::{AdapterChoice, Field, LimbForm, Options, WgpuDevice};

use crate::BenchError;
use crate::cases::elements;
use crate::floor::Work;
use crate::measure::{Bench, Case};

/// Factors of the chains on an adapter, and products of each: enough that copies take little of the
/// time.
const CHAINS: usize = 1 << 14;
const CHAIN: u32 = 512;

/// A device that can be measured.
pub trait Subject: Device {
    /// The device, if it is an NVIDIA card.
    fn cuda(&self) -> Option<&CudaDevice> {
        None
    }
    /// The device, if it is a graphics adapter.
    fn wgpu(&self) -> Option<&WgpuDevice> {
        None
    }
    /// Waits until all queued work is done, on devices that queue: otherwise an operation that returns no values to
    /// the host would be timed only until it is queued.
    fn wait(&self) -> Result<(), DeviceError> {
        match (self.cuda(), self.wgpu()) {
            (Some(card), _) => card.synchronize(),
            (_, Some(adapter)) => adapter.synchronize(),
            _ => Ok(()),
        }
    }
}

impl Subject for CpuDevice {}
impl Subject for IcicleDevice {}
impl Subject for CudaDevice {
    fn cuda(&self) -> Option<&CudaDevice> {
        Some(self)
    }
}
impl Subject for WgpuDevice {
    fn wgpu(&self) -> Option<&WgpuDevice> {
        Some(self)
    }
}

/// Chains of products on an adapter.
struct Chains(Vec<[u64; 4]>);

impl Chains {
    fn new() -> Self {
        Self(elements(CHAINS, 6).iter().map(|value| value.0.0).collect())
    }

    fn run(&self, device: &WgpuDevice) -> Result<Vec<[u64; 4]>, BenchError> {
        let failed = BenchError::failed("field products on the adapter");
        device.field_products(Field::Fr, &self.0, &self.0, CHAIN).map_err(failed)
    }

    /// Whether the products of all chains are right.
    fn are(&self, got: &[[u64; 4]]) -> bool {
        let plain = |limbs: &[u64; 4]| {
            let mut value = Fr::ZERO;
            value.0.0 = *limbs;
            value.pow([u64::from(CHAIN) + 1]).0.0
        };
        self.0.iter().map(plain).eq(got.iter().copied())
    }
}

/// Maximum products in Fr per second of an adapter, in the form of limbs in use.
pub(crate) fn adapter_products(device: &WgpuDevice) -> Result<f64, BenchError> {
    let chains = Chains::new();
    chains.run(device)?;
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let started = Instant::now();
        chains.run(device)?;
        best = best.min(started.elapsed().as_secs_f64().max(1e-9));
    }
    Ok(CHAINS as f64 * f64::from(CHAIN) / best)
}

/// Records products on an adapter in each form of limbs that it has.
pub(crate) fn forms(bench: &mut Bench<'_>, device: &WgpuDevice) -> Result<(), BenchError> {
    let chains = Chains::new();
    for (form, name) in [(LimbForm::U64, "u64"), (LimbForm::U32, "u32")] {
        if form == LimbForm::U64 && !device.adapter().int64 {
            continue;
        }
        let choice = AdapterChoice::Name(device.adapter().name.clone());
        let options = Options { limbs: Some(form), host_threads: 1, ..Options::new(choice) };
        let other = match form == device.limbs() {
            true => None,
            false => Some(WgpuDevice::open(&options).map_err(|error| BenchError::Failed {
                what: format!("opening the adapter with {name} limbs"),
                reason: error.to_string(),
            })?),
        };
        let device = other.as_ref().unwrap_or(device);
        let n = CHAINS as u64 * u64::from(CHAIN);
        let case = Case {
            group: "field",
            name: format!("adapter's product, {name} limbs x{n}"),
            n,
            work: Work { products: n as f64, ..Work::default() },
        };
        if !chains.are(&chains.run(device)?) {
            let implementation = "rollmill".to_owned();
            return Err(BenchError::Wrong { what: case.name, implementation });
        }
        bench.own(&case, || chains.run(device))?;
    }
    Ok(())
}
