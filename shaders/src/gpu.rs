//! An opened adapter: its memory, its kernels and its faults.
//!
//! wgpu reports most errors by callbacks. They are stored here and returned by the next call, so that
//! no result of a faulty device is returned.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};

use ark_ff::{BigInt, PrimeField};
use parking_lot::{Mutex, RwLock};
use pollster::block_on;
use rollmill_algebra::Fr;
use rollmill_algebra::device::DeviceError;

use crate::adapter::{Adapter, LimbForm, Opened, Options, one_line, open};
use crate::error::OpenError;
use crate::kernel::{Compiled, Compiler, Kernel, Pipeline};
use crate::pace::{Clock, SystemClock};
use crate::pipelines::{Compilation, PipelineFile, Pipelines};
use crate::program::Program;

/// Bytes of a field element.
pub(crate) const ELEMENT_BYTES: u64 = 32;
/// Why an operation failed that read fewer arrays than it requested, which is a bug.
pub(crate) const FEWER_RESULTS: &str = "fewer results than requested";
/// Longest buffer even where an adapter allows more: offsets in bytes stay in 32 bits.
const CHUNK_LOG_MAX: u32 = 26;
/// Shortest buffer of a long array, in elements; segments of scans must divide it.
const CHUNK_ELEMENTS_MIN: usize = 256;

/// Minimum length of the guard region that follows an array under checks.
const GUARD_BYTES: u64 = 64;
const GARBAGE: u8 = 0xff;

/// Errors since the device was opened.
#[derive(Debug, Default)]
struct Faults {
    lost: Option<String>,
    out_of_memory: bool,
    failed: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pub(crate) adapter: Adapter,
    compiler: Compiler,
    /// Log of the longest buffer in field elements.
    pub(crate) chunk_log: u32,
    /// Longest buffer in bytes.
    pub(crate) binding_bytes_max: u64,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held alone while a dispatch is timed, so that the time is its own.
    pub(crate) submissions: RwLock<()>,
    checks: bool,
    /// Most bytes to allocate; `None` leaves it to the driver.
    pub(crate) memory_bytes_max: Option<u64>,
    pub(crate) kept_pipelines: Pipelines,
    used_bytes: Arc<AtomicU64>,
    downloaded_elements: AtomicU64,
    faults: Arc<Mutex<Faults>>,
    pipelines: Vec<OnceLock<Compiled<Pipeline>>>,
    /// Bound to bindings that a kernel does not read.
    fillers: OnceLock<[Arc<Region>; 2]>,
}

/// Memory on the adapter. wgpu frees it once it is dropped and no queued work uses it.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) buffer: wgpu::Buffer,
    /// Requested bytes.
    pub(crate) end: u64,
    /// Whether a guard region follows, which no kernel may change.
    guard: bool,
    bytes: u64,
    used_bytes: Arc<AtomicU64>,
}

impl Drop for Region {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Gpu {
    pub(crate) fn open(options: &Options) -> Result<Self, OpenError> {
        if let Some(elements) = options.chunk_elements
            && (!elements.is_power_of_two() || elements < CHUNK_ELEMENTS_MIN)
        {
            return Err(OpenError::Option {
                option: "chunk_elements",
                expected: "a power of two from 256 up",
                got: elements.to_string(),
            });
        }
        let opened = open(options)?;
        let (kept, kept_state) = kept_pipelines(&opened, options);
        let Opened { adapter, limbs, limits, memory_bytes, device, queue, .. } = opened;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let held = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut faults = held.lock();
            match error {
                wgpu::Error::OutOfMemory { .. } => faults.out_of_memory = true,
                other => {
                    faults.failed.get_or_insert(one_line(&other.to_string()));
                }
            }
        }));
        let held = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            let mut faults = held.lock();
            faults.lost.get_or_insert(one_line(&format!("{reason:?} {message}")));
        });
        let largest = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let allowed = (largest / ELEMENT_BYTES).ilog2().min(CHUNK_LOG_MAX);
        let chunk_log = options.chunk_elements.map_or(allowed, |n| n.ilog2().min(allowed));
        let compiler = Compiler {
            device: device.clone(),
            form: limbs,
            checks: options.checks,
            groups_max: limits.max_compute_workgroups_per_dimension,
            kept,
        };
        Ok(Self {
            device,
            queue,
            adapter,
            compiler,
            chunk_log,
            binding_bytes_max: largest,
            clock: options.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::new())),
            submissions: RwLock::new(()),
            checks: options.checks,
            memory_bytes_max: options.memory_bytes_max.or(memory_bytes.map(part_of_memory)),
            kept_pipelines: kept_state,
            used_bytes: Arc::default(),
            downloaded_elements: AtomicU64::new(0),
            faults,
            pipelines: Kernel::ALL.iter().map(|_| OnceLock::new()).collect(),
            fillers: OnceLock::new(),
        })
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Bytes allocated now.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Field elements of the arrays that were copied to the host.
    pub(crate) fn downloaded_elements(&self) -> u64 {
        self.downloaded_elements.load(Ordering::Relaxed)
    }

    pub(crate) fn count_download(&self, elements: usize) {
        self.downloaded_elements.fetch_add(elements as u64, Ordering::Relaxed);
    }

    /// Longest buffer in field elements.
    pub(crate) fn chunk(&self) -> usize {
        1 << self.chunk_log
    }

    /// Returns the error of a device that is lost or failed.
    pub(crate) fn check(&self, operation: &'static str) -> Result<(), DeviceError> {
        let faults = self.faults.lock();
        let device = self.adapter.name.clone();
        if let Some(reason) = &faults.lost {
            return Err(DeviceError::Lost { device, reason: reason.clone() });
        }
        if faults.out_of_memory {
            return Err(self.out_of_memory(operation, 0));
        }
        match &faults.failed {
            Some(reason) => Err(DeviceError::Failed { device, reason: reason.clone() }),
            None => Ok(()),
        }
    }

    pub(crate) fn failed(&self, reason: impl Into<String>) -> DeviceError {
        DeviceError::Failed { device: self.adapter.name.clone(), reason: reason.into() }
    }

    fn out_of_memory(&self, operation: &'static str, needed_bytes: u64) -> DeviceError {
        // Without a limit of our own only the driver knows the free memory, and it does not report it.
        let free_bytes =
            self.memory_bytes_max.map_or(0, |most| most.saturating_sub(self.used_bytes()));
        DeviceError::Memory { operation, needed_bytes, free_bytes }
    }

    /// Releases the adapter; every later call fails as lost.
    pub(crate) fn destroy(&self) {
        self.device.destroy();
        // The callback is called once nothing is queued any more.
        let _ = self.poll("close", wgpu::PollType::wait_indefinitely());
    }

    /// Lets wgpu process finished work, and waits for it if `how` says so.
    ///
    /// A card that is lost during the wait makes wgpu 30 panic, with no lock held; that is treated as a lost
    /// device.
    pub(crate) fn poll(
        &self,
        operation: &'static str,
        how: wgpu::PollType,
    ) -> Result<(), DeviceError> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(how)));
        if let Err(panic) = &polled {
            let message = panic.downcast_ref::<String>().map_or("no reason given", String::as_str);
            let mut faults = self.faults.lock();
            faults.lost.get_or_insert(one_line(message));
        }
        self.check(operation)?;
        match polled {
            Ok(Err(error)) => Err(self.failed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Memory of `bytes`, of any content.
    pub(crate) fn allocate(
        &self,
        operation: &'static str,
        bytes: u64,
    ) -> Result<Arc<Region>, DeviceError> {
        self.check(operation)?;
        let end = bytes;
        let guard = self.checks && bytes + GUARD_BYTES <= self.binding_bytes_max;
        let bytes = bytes.next_multiple_of(16).max(64) + if guard { GUARD_BYTES } else { 0 };
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        // From here on dropping the region subtracts the bytes again.
        let used_bytes = Arc::clone(&self.used_bytes);
        let region = |buffer| Region { buffer, end, guard, bytes, used_bytes };
        if self.memory_bytes_max.is_some_and(|most| before.saturating_add(bytes) > most) {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(self.out_of_memory(operation, bytes));
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let region = region(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(operation),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }));
        if block_on(scope.pop()).is_some() {
            drop(region);
            return Err(self.out_of_memory(operation, bytes));
        }
        if guard {
            let garbage = vec![GARBAGE; (bytes - end) as usize];
            self.queue.write_buffer(&region.buffer, end, &garbage);
        }
        self.check(operation)?;
        Ok(Arc::new(region))
    }

    /// Memory with a copy of `data`, whose length is a multiple of four bytes.
    pub(crate) fn upload(
        &self,
        operation: &'static str,
        data: &[u8],
    ) -> Result<Arc<Region>, DeviceError> {
        let region = self.allocate(operation, data.len() as u64)?;
        self.queue.write_buffer(&region.buffer, 0, data);
        self.check(operation)?;
        Ok(region)
    }

    /// Regions to bind where a kernel reads nothing: one to read, one to write.
    pub(crate) fn fillers(&self) -> Result<&[Arc<Region>; 2], DeviceError> {
        if self.fillers.get().is_none() {
            let made = [self.allocate("filler", 64)?, self.allocate("filler", 64)?];
            let _ = self.fillers.set(made);
        }
        self.fillers.get().ok_or_else(|| self.failed("no fillers"))
    }

    /// The form of limbs in the shaders.
    pub(crate) fn limbs(&self) -> LimbForm {
        self.compiler.form
    }

    /// Most workgroups of a dispatch.
    pub(crate) fn groups_max(&self) -> u32 {
        self.compiler.groups_max
    }

    pub(crate) fn pipeline(&self, kernel: Kernel) -> Result<&Pipeline, DeviceError> {
        let made = self.pipelines[kernel as usize].get_or_init(|| self.compiler.kernel(kernel));
        made.as_ref().map_err(|reason| self.failed(reason.clone()))
    }

    /// The pieces of a row program.
    pub(crate) fn pieces<'p>(&self, program: &'p Program) -> Result<&'p [Pipeline], DeviceError> {
        let made = program.compiled.get_or_init(|| self.compiler.pieces(program));
        made.as_deref().map_err(|reason| self.failed(reason.clone()))
    }

    /// The entry points of the kernels that ran, and how many workgroups a dispatch of each may have.
    pub(crate) fn dispatch_groups(&self) -> Vec<(&'static str, u32)> {
        let of = |(kernel, cell): (&Kernel, &OnceLock<Compiled<Pipeline>>)| {
            let made = cell.get()?.as_ref().ok()?;
            Some((kernel.spec().params.entry, made.pace.most()))
        };
        Kernel::ALL.iter().zip(&self.pipelines).filter_map(of).collect()
    }

    /// The first bytes of each region, after all work queued before.
    pub(crate) fn read(
        &self,
        operation: &'static str,
        requested: &[(&Region, u64)],
    ) -> Result<Vec<Vec<u8>>, DeviceError> {
        self.check(operation)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut staged = Vec::with_capacity(requested.len());
        for (region, bytes) in requested {
            let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(operation),
                size: (*bytes).max(4),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            if block_on(scope.pop()).is_some() {
                return Err(self.out_of_memory(operation, *bytes));
            }
            encoder.copy_buffer_to_buffer(&region.buffer, 0, &staging, 0, *bytes);
            staged.push(staging);
        }
        let mut guards = Vec::new();
        for (region, _) in requested.iter().filter(|(region, _)| region.guard) {
            let bytes = region.bytes - region.end;
            let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("guard"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            encoder.copy_buffer_to_buffer(&region.buffer, region.end, &staging, 0, bytes);
            guards.push(staging);
        }
        self.queue.submit([encoder.finish()]);
        self.check(operation)?;
        let (sender, receiver) = channel();
        for staging in staged.iter().chain(&guards) {
            let sender = sender.clone();
            staging.slice(..).map_async(wgpu::MapMode::Read, move |outcome| {
                // The receiver is gone only when this call has already failed.
                let _ = sender.send(outcome);
            });
        }
        drop(sender);
        self.poll(operation, wgpu::PollType::wait_indefinitely())?;
        for outcome in receiver {
            outcome.map_err(|error| self.failed(error.to_string()))?;
        }
        for guard in &guards {
            let view = guard.slice(..).get_mapped_range();
            let view = view.map_err(|error| self.failed(error.to_string()))?;
            if view.iter().any(|byte| *byte != GARBAGE) {
                return Err(self.failed(format!("{operation}: a kernel wrote past an array")));
            }
        }
        staged
            .iter()
            .zip(requested)
            .map(|(staging, (_, bytes))| {
                let view = staging.slice(..).get_mapped_range();
                let view = view.map_err(|error| self.failed(error.to_string()))?;
                Ok(view[..*bytes as usize].to_vec())
            })
            .collect()
    }

    /// Decodes `bytes` as field elements. A value that is not below the modulus is a fault of the device.
    pub(crate) fn elements(&self, bytes: &[u8], out: &mut Vec<Fr>) -> Result<(), DeviceError> {
        for chunk in bytes.chunks_exact(ELEMENT_BYTES as usize) {
            let limbs = limbs_of(chunk);
            if limbs >= Fr::MODULUS {
                return Err(self.failed("a value is not below the field's modulus"));
            }
            out.push(Fr::new_unchecked(limbs));
        }
        Ok(())
    }
}

/// The budget on an adapter with so much memory of its own: the rest is left to the driver and to other programs.
fn part_of_memory(bytes: u64) -> u64 {
    bytes / 10 * 9
}

/// The file of compiled pipelines, where the options want one and the driver has what belongs into it.
fn kept_pipelines(opened: &Opened, options: &Options) -> (Option<PipelineFile>, Pipelines) {
    let Some(dir) = &options.pipelines_dir else { return (None, Pipelines::Off) };
    if !opened.keeps_pipelines {
        return (None, Pipelines::Unsupported);
    }
    let compilation = Compilation {
        adapter: &opened.identity,
        driver: &opened.adapter.driver,
        form: opened.limbs,
        checks: options.checks,
    };
    PipelineFile::open(&opened.device, dir, &compilation)
}

/// Four limbs out of 32 bytes.
pub(crate) fn limbs_of(bytes: &[u8]) -> BigInt<4> {
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
    }
    BigInt(limbs)
}

/// Field elements in their in-memory form: Montgomery form, little-endian.
pub(crate) fn bytes_of<'a>(values: impl IntoIterator<Item = &'a Fr>) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        out.extend_from_slice(bytemuck::cast_slice(&value.0.0));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::AdapterChoice;

    fn gpu() -> Gpu {
        let options =
            Options { limbs: Some(LimbForm::U32), ..Options::new(AdapterChoice::Software) };
        Gpu::open(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Goal: an error that only a callback reports fails every later call. Method: a buffer that no
    /// adapter allows.
    #[test]
    fn an_error_by_callback_fails_every_later_call() {
        let gpu = gpu();
        drop(gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1 << 60,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        }));
        for _ in 0..2 {
            let error = gpu.allocate("allocate", 64).unwrap_err();
            assert!(matches!(error, DeviceError::Failed { .. }), "{error}");
            let line = error.to_string();
            assert!(line.starts_with("DEV-004") && !line.contains('\n'), "{line}");
        }
    }

    /// Goal: a driver that is out of memory causes one error, and the device continues. Method: this
    /// test program again, in a child with 4 GB of address space, where software adapters keep theirs.
    #[test]
    fn memory_that_the_driver_refuses_is_a_memory_error_and_no_fault() {
        const CHILD: &str = "ROLLMILL_TEST_SMALL_MEMORY";
        const NAME: &str =
            "gpu::tests::memory_that_the_driver_refuses_is_a_memory_error_and_no_fault";
        if std::env::var_os(CHILD).is_none() {
            let output = std::process::Command::new("sh")
                .args(["-c", "ulimit -v 4000000 && exec \"$0\" --exact \"$1\" --nocapture"])
                .arg(std::env::current_exe().unwrap())
                .arg(NAME)
                .env(CHILD, "1")
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            let rejected = output.status.success() && text.contains("rejected as it should be");
            assert!(rejected, "{text}{errors}");
            return;
        }
        let gpu = gpu();
        let mut held = Vec::new();
        let error = loop {
            match gpu.allocate("upload", 1 << 30) {
                Ok(region) => held.push(region),
                Err(error) => break error,
            }
            assert!(held.len() < 8, "4 GB hold {} GiB", held.len());
        };
        let expected =
            DeviceError::Memory { operation: "upload", needed_bytes: 1 << 30, free_bytes: 0 };
        assert_eq!(error, expected);
        assert_eq!(gpu.used_bytes(), (held.len() as u64) << 30);
        drop(held);
        assert_eq!(gpu.allocate("upload", 1 << 20).map(|_| ()), Ok(()));
        println!("rejected as it should be");
    }

    #[test]
    fn an_allocation_that_fails_inside_the_driver_is_a_memory_error() {
        let gpu = gpu();
        // The fault that the callback records.
        gpu.faults.lock().out_of_memory = true;
        let error = gpu.check("commit").unwrap_err();
        assert!(matches!(error, DeviceError::Memory { operation: "commit", .. }), "{error}");
    }

    #[test]
    fn a_tenth_of_a_gpus_memory_is_left_to_others() {
        assert_eq!(part_of_memory(24 << 30), 23_192_823_393);
        assert_eq!(part_of_memory(0), 0);
        // A software adapter shares the host's, which is not divided here.
        assert_eq!(gpu().memory_bytes_max, None);
    }

    #[test]
    fn a_value_that_is_no_field_element_is_the_devices_fault() {
        let gpu = gpu();
        let mut out = Vec::new();
        let mut bytes = Vec::new();
        for limb in Fr::MODULUS.0 {
            bytes.extend(limb.to_le_bytes());
        }
        let error = gpu.elements(&bytes, &mut out).unwrap_err();
        assert!(matches!(error, DeviceError::Failed { .. }), "{error}");
        bytes[0] -= 1;
        assert_eq!(gpu.elements(&bytes, &mut out), Ok(()));
        assert_eq!(out.len(), 1);
    }
}
