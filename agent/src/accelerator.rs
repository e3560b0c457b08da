//! The devices of this machine: which the settings choose, opened.

use std::borrow::Cow;

use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::device::Memory;
use rollmill_icicle::{IcicleDevice, IcicleError};
use rollmill_kernels::{CudaDevice, CudaError, CudaOptions};
use rollmill_shaders::{OpenError, Options, Pipelines, Rows, WgpuDevice};

use crate::calibration;
use crate::config::Config;
use crate::devices::{self, AdapterRows, Choice, ChoiceError, Chosen};

/// An open device of any kind.
#[derive(Debug)]
pub enum Accelerator {
    Cpu(Box<CpuDevice>),
    Cuda(Box<CudaDevice>),
    Wgpu(Box<WgpuDevice>),
    Icicle(Box<IcicleDevice>),
}

impl Accelerator {
    /// The device's own name.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu(device) => device.name(),
            Self::Cuda(device) => device.name(),
            Self::Wgpu(device) => device.name(),
            Self::Icicle(device) => device.name(),
        }
    }
}

/// Opens the device that the settings choose.
///
/// # Errors
/// When the settings leave no device that can be used.
pub fn choose(config: &Config) -> Result<Chosen<Accelerator>, ChoiceError> {
    let open = |choice: &Choice| open_accelerator(config, choice);
    let on_cpu = || Accelerator::Cpu(Box::new(cpu(config)));
    devices::choose(&config.device, config.fallback, open, on_cpu)
}

/// Opens the CPU, with the sizes that were measured on this machine.
pub(crate) fn cpu(config: &Config) -> CpuDevice {
    calibration::applied(CpuDevice::new(config.threads), calibration::file().as_deref())
}

/// Opens a device other than the CPU, or returns one line on why it cannot be used.
fn open_accelerator(config: &Config, choice: &Choice) -> Result<Accelerator, String> {
    match choice {
        Choice::Wgpu(selector) => {
            let device = open_adapter(config, &selector.to_string());
            Ok(Accelerator::Wgpu(Box::new(device.map_err(|error| error.to_string())?)))
        }
        Choice::Cuda(selector) => {
            let image = match &config.cuda_image {
                Some(path) => Cow::Owned(std::fs::read(path).map_err(|error| {
                    format!(
                        "the compiled kernels in {} cannot be read: {}",
                        path.display(),
                        rollmill_errors::InWords(&error)
                    )
                })?),
                None => Cow::Borrowed(rollmill_kernels::COMPILED),
            };
            let device = CudaDevice::open(&selector.to_string(), &image, &CudaOptions::default())
                .map_err(|error| error.to_string())?;
            if device.others() > 0 {
                let agents = device.others();
                tracing::warn!(device = device.name(), agents, "GPU shared with other processes");
            }
            Ok(Accelerator::Cuda(Box::new(device)))
        }
        Choice::Icicle(selector) => {
            let device = open_icicle(config, &selector.to_string());
            Ok(Accelerator::Icicle(Box::new(device.map_err(|error| error.to_string())?)))
        }
        Choice::Auto | Choice::Cpu => Err(format!("{choice} is no accelerator")),
    }
}

/// Opens a graphics adapter, by index or by a part of its name, with the pipelines that the last start compiled.
fn open_adapter(config: &Config, asked: &str) -> Result<WgpuDevice, OpenError> {
    // Cannot fail: anything but an index or a keyword is a name.
    let Ok(adapter) = asked.parse();
    let defaults = Options::new(adapter);
    let rows = match config.adapter_rows {
        None => defaults.rows,
        Some(AdapterRows::Host) => Rows::Host,
        Some(AdapterRows::Interpreted) => Rows::Interpreted,
        Some(AdapterRows::Generated) => Rows::Generated,
    };
    let keys = rollmill_circuits::store::cache_dir(None);
    let options = Options {
        host_threads: config.threads,
        rows,
        memory_bytes_max: config.adapter_memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        pipelines_dir: keys.parent().map(|cache| cache.join("pipelines")),
        ..defaults
    };
    let device = WgpuDevice::open(&options)?;
    if let Pipelines::Ignored { path, reason } = device.pipelines() {
        tracing::warn!(path = %path.display(), reason, "compiled pipelines ignored");
    }
    Ok(device)
}

/// Opens one of ICICLE's devices, by place in its list or by name.
pub fn open_icicle(config: &Config, asked: &str) -> Result<IcicleDevice, IcicleError> {
    let options = rollmill_icicle::Options {
        folder: config.icicle_dir.clone(),
        host_threads: config.threads,
    };
    IcicleDevice::open(asked, &options)
}

/// The devices of this machine as `--device` names them, each with a description.
pub fn list(config: &Config) -> Vec<(String, String)> {
    let mut found = vec![("cpu".to_owned(), cpu(config).name())];
    match rollmill_kernels::cards() {
        Ok(cards) => {
            for (index, card) in cards.into_iter().enumerate() {
                found.push((format!("cuda:{index}"), card));
            }
        }
        // Without a driver there are none, which is no failure of a list.
        Err(CudaError::NoDriver { .. }) => {}
        Err(error) => tracing::warn!(%error, "CUDA devices unavailable"),
    }
    for (index, adapter) in rollmill_shaders::adapters().iter().enumerate() {
        found.push((format!("wgpu:{index}"), adapter.to_string()));
    }
    match rollmill_icicle::devices(config.icicle_dir.as_deref()) {
        Ok(devices) => {
            for (index, device) in devices.iter().enumerate() {
                found.push((format!("icicle:{index}"), format!("ICICLE {device}")));
            }
        }
        // Few machines have it, but an operator who sets its directory needs the error.
        Err(error) if config.icicle_dir.is_some() => tracing::warn!(%error, "ICICLE unavailable"),
        Err(_) => {}
    }
    found
}
