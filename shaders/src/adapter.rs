//! Finds an adapter and checks its limits.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use pollster::block_on;

use crate::error::OpenError;
use crate::native::own_memory_bytes;
use crate::pace::Clock;

/// How numbers are cut into limbs inside shaders. In memory they are eight words in either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimbForm {
    /// Products of words in 64-bit integers, for adapters that have them in shaders.
    U64,
    /// Products of words out of 16-bit halves, for all adapters.
    U32,
}

impl LimbForm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::U64 => "u64 limbs",
            Self::U32 => "u32 limbs",
        }
    }
}

/// Which adapter to use. Parsed from a number, from `software`, or else taken as part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The adapter's index in [`adapters`].
    Index(usize),
    /// The first adapter whose name contains this, in any case of letters.
    Name(String),
    /// The first adapter that runs on the CPU, such as Mesa's lavapipe.
    Software,
}

impl FromStr for AdapterChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse() {
            Ok(index) => Self::Index(index),
            Err(_) if text == "software" => Self::Software,
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

impl std::fmt::Display for AdapterChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => write!(f, "wgpu:{index}"),
            Self::Name(name) => write!(f, "named `{name}`"),
            Self::Software => write!(f, "that is software"),
        }
    }
}

/// Where and how row kernels run, such as that of the quotient. The results are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// On host threads. Every column that they read is copied from the adapter.
    Host,
    /// On the adapter, by a kernel that interprets their programs.
    Interpreted,
    /// On the adapter, by kernels that are written for each program. A program is compiled when it first runs, which
    /// may take minutes.
    Generated,
}

/// How to open a device.
#[derive(Debug, Clone)]
pub struct Options {
    pub adapter: AdapterChoice,
    /// `None` uses 64-bit limbs if the adapter has them.
    pub limbs: Option<LimbForm>,
    /// Whether shaders check every index, and a guard region with garbage follows every array so that
    /// its use is detected. For tests: shaders run up to four times slower.
    pub checks: bool,
    /// Maximum bytes that the device may allocate; beyond it operations fail with both numbers, before a driver moves
    /// memory to the host's. `None` takes nine tenths of the GPU's own memory, where that is known, and else leaves
    /// the limit to the driver.
    pub memory_bytes_max: Option<u64>,
    /// Directory that keeps compiled pipelines for the next start. It need not exist; `None` keeps none.
    pub pipelines_dir: Option<PathBuf>,
    /// Longest buffer in field elements, a power of two; `None` uses the adapter's limit. Longer arrays
    /// use several buffers.
    pub chunk_elements: Option<usize>,
    pub rows: Rows,
    /// Threads of the host part; 0 means one for each core.
    pub host_threads: usize,
    /// What dispatches are timed with; `None` is the clock of the system.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Options {
    /// The best form of limbs, no checks, the memory of the GPU, no kept pipelines, row kernels by the interpreter.
    pub fn new(adapter: AdapterChoice) -> Self {
        Self {
            adapter,
            limbs: None,
            checks: false,
            memory_bytes_max: None,
            pipelines_dir: None,
            chunk_elements: None,
            rows: Rows::Interpreted,
            host_threads: 0,
            clock: None,
        }
    }
}

/// What is known about an adapter without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Driver and version, in the driver's own text.
    pub driver: String,
    /// Whether it computes on the CPU.
    pub software: bool,
    /// Whether shaders have 64-bit integers.
    pub int64: bool,
}

impl Adapter {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        Self {
            name: info.name,
            backend: info.backend.to_str().to_owned(),
            driver: format!("{} {}", info.driver, info.driver_info),
            software: info.device_type == wgpu::DeviceType::Cpu,
            int64: adapter.features().contains(wgpu::Features::SHADER_INT64),
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, backend, driver, .. } = self;
        let limbs = if self.int64 { "u64" } else { "u32" };
        let software = if self.software { ", software" } else { "" };
        write!(f, "{name} ({backend}, {driver}, {limbs} limbs{software})")
    }
}

/// All adapters, in the order of their index.
pub fn adapters() -> Vec<Adapter> {
    all().iter().map(Adapter::of).collect()
}

fn all() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Validation layers are for driver developers; wgpu validates by itself.
    descriptor.flags = wgpu::InstanceFlags::empty();
    block_on(wgpu::Instance::new(descriptor).enumerate_adapters(backends))
}

/// An opened adapter.
pub(crate) struct Opened {
    pub(crate) adapter: Adapter,
    pub(crate) limbs: LimbForm,
    pub(crate) limits: wgpu::Limits,
    /// Bytes of the adapter's own memory, where known.
    pub(crate) memory_bytes: Option<u64>,
    /// Name, backend and numbers of the adapter.
    pub(crate) identity: String,
    /// Whether compiled pipelines can be kept.
    pub(crate) keeps_pipelines: bool,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
}

pub(crate) fn open(options: &Options) -> Result<Opened, OpenError> {
    let mut found = all();
    let known: Vec<Adapter> = found.iter().map(Adapter::of).collect();
    let index = choose(&known, &options.adapter)?;
    let chosen = found.swap_remove(index);
    let adapter = known[index].clone();
    let limbs = limb_form(&adapter, options.limbs)?;
    let limits = chosen.limits();
    check_limits(&adapter.name, &limits)?;
    let info = chosen.get_info();
    let identity = format!("{} {} {:x}:{:x}", info.name, adapter.backend, info.vendor, info.device);
    // A software adapter has the host's memory.
    let memory_bytes = own_memory_bytes(&chosen).filter(|_| !adapter.software);
    let mut features = match limbs {
        LimbForm::U64 => wgpu::Features::SHADER_INT64,
        LimbForm::U32 => wgpu::Features::empty(),
    };
    if options.pipelines_dir.is_some() {
        features |= chosen.features() & wgpu::Features::PIPELINE_CACHE;
    }
    let keeps_pipelines = features.contains(wgpu::Features::PIPELINE_CACHE);
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: limits.clone(),
        ..Default::default()
    };
    match block_on(chosen.request_device(&descriptor)) {
        Ok((device, queue)) => Ok(Opened {
            adapter,
            limbs,
            limits,
            memory_bytes,
            identity,
            keeps_pipelines,
            device,
            queue,
        }),
        Err(error) => {
            Err(OpenError::Refused { adapter: adapter.name, reason: one_line(&error.to_string()) })
        }
    }
}

fn choose(known: &[Adapter], choice: &AdapterChoice) -> Result<usize, OpenError> {
    if known.is_empty() {
        return Err(OpenError::NoAdapter);
    }
    let place = match choice {
        AdapterChoice::Index(index) => (*index < known.len()).then_some(*index),
        AdapterChoice::Name(name) => {
            let name = name.to_lowercase();
            known.iter().position(|adapter| adapter.name.to_lowercase().contains(&name))
        }
        AdapterChoice::Software => known.iter().position(|adapter| adapter.software),
    };
    place.ok_or_else(|| {
        let names: Vec<String> = known
            .iter()
            .enumerate()
            .map(|(i, a)| format!("wgpu:{i} ({}, {})", a.name, a.backend))
            .collect();
        OpenError::UnknownAdapter { wanted: choice.to_string(), found: names.join(", ") }
    })
}

fn limb_form(adapter: &Adapter, wanted: Option<LimbForm>) -> Result<LimbForm, OpenError> {
    match wanted {
        Some(LimbForm::U64) if !adapter.int64 => {
            Err(OpenError::NoInt64 { adapter: adapter.name.clone() })
        }
        Some(form) => Ok(form),
        None if adapter.int64 => Ok(LimbForm::U64),
        None => Ok(LimbForm::U32),
    }
}

/// Minimum limits that the kernels need; WebGPU guarantees them all.
fn check_limits(adapter: &str, limits: &wgpu::Limits) -> Result<(), OpenError> {
    let needs = [
        ("storage buffers a shader", limits.max_storage_buffers_per_shader_stage.into(), 5),
        ("storage binding in bytes", limits.max_storage_buffer_binding_size, 1 << 24),
        ("buffer size in bytes", limits.max_buffer_size, 1 << 24),
        ("uniform binding in bytes", limits.max_uniform_buffer_binding_size, 256),
        ("workgroup memory in bytes", limits.max_compute_workgroup_storage_size.into(), 8192),
        ("threads a workgroup", limits.max_compute_invocations_per_workgroup.into(), 256),
        ("threads a workgroup in x", limits.max_compute_workgroup_size_x.into(), 256),
        ("workgroups a dispatch", limits.max_compute_workgroups_per_dimension.into(), 65_535),
    ];
    match needs.into_iter().find(|(_, has, needed)| has < needed) {
        None => Ok(()),
        Some((limit, has, needed)) => {
            Err(OpenError::Limits { adapter: adapter.to_owned(), limit, needed, has })
        }
    }
}

/// Errors of drivers span paragraphs; logs need one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, software: bool, int64: bool) -> Adapter {
        Adapter { name: name.into(), backend: "vulkan".into(), driver: "x".into(), software, int64 }
    }

    #[test]
    fn adapters_are_chosen_by_number_by_name_and_by_kind() {
        let known = [adapter("Fast Card 9", false, true), adapter("llvmpipe", true, true)];
        for (text, place) in [("0", 0), ("1", 1), ("card", 0), ("LLVM", 1), ("software", 1)] {
            assert_eq!(choose(&known, &text.parse().unwrap()), Ok(place), "{text}");
        }
    }

    #[test]
    fn an_adapter_that_is_not_there_is_rejected_with_the_list() {
        let known = [adapter("Fast Card 9", false, true)];
        for (text, wanted) in
            [("1", "wgpu:1"), ("slow", "named `slow`"), ("software", "that is software")]
        {
            let error = choose(&known, &text.parse().unwrap()).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "SHD-002: there is no adapter {wanted}; the adapters are wgpu:0 (Fast Card 9, vulkan)"
                )
            );
        }
        assert_eq!(choose(&[], &AdapterChoice::Index(0)), Err(OpenError::NoAdapter));
    }

    #[test]
    fn limbs_follow_the_adapter_unless_told_otherwise() {
        let (with, without) = (adapter("a", false, true), adapter("b", false, false));
        assert_eq!(limb_form(&with, None), Ok(LimbForm::U64));
        assert_eq!(limb_form(&with, Some(LimbForm::U32)), Ok(LimbForm::U32));
        assert_eq!(limb_form(&without, None), Ok(LimbForm::U32));
        let rejected = limb_form(&without, Some(LimbForm::U64));
        assert_eq!(rejected, Err(OpenError::NoInt64 { adapter: "b".into() }));
    }

    #[test]
    fn the_limits_that_every_browser_promises_are_enough_and_less_is_rejected_by_name() {
        assert_eq!(check_limits("a", &wgpu::Limits::default()), Ok(()));
        let small = wgpu::Limits { max_compute_workgroup_storage_size: 4096, ..Default::default() };
        let error = check_limits("a", &small).unwrap_err().to_string();
        assert!(
            error.starts_with("SHD-004: adapter a: workgroup memory in bytes is 4096"),
            "{error}"
        );
        assert!(check_limits("a", &wgpu::Limits::downlevel_webgl2_defaults()).is_err());
    }
}
