//! The driver of NVIDIA cards, loaded at run time. Nothing here runs without a driver library.

#![expect(unsafe_code, reason = "the CUDA driver is a C library")]

use std::collections::HashMap;
use std::ffi::{CString, c_void};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use parking_lot::{Mutex, RwLock};

use crate::driver::{Argument, Driver, Launch, Stream};
use crate::error::CudaError;

/// The oldest supported CUDA version, 12.0, in the driver's numbering: older drivers lack functions.
const DRIVER_NEEDED: i32 = 12_000;
/// The CUDA that the kernels are compiled with. A driver that supports it loads the
/// compiler's output. An older one may not, and then the error names the driver's age.
const DRIVER_OF_IMAGE: i32 = 13_000;

/// One card.
#[derive(Debug)]
pub(crate) struct RealDriver {
    name: String,
    uuid: Option<String>,
    ordinal: sys::CUdevice,
    context: sys::CUcontext,
    module: sys::CUmodule,
    streams: RwLock<Vec<Queue>>,
    multiprocessors: u32,
    functions: Mutex<HashMap<String, Function>>,
}

#[derive(Debug, Clone, Copy)]
struct Function(sys::CUfunction);

/// A stream, and the event that others wait for.
#[derive(Debug, Clone, Copy)]
struct Queue {
    stream: sys::CUstream,
    event: sys::CUevent,
}

// SAFETY: handles of the driver may be used from any thread; each call makes the context current
// on its own thread first.
unsafe impl Send for RealDriver {}
// SAFETY: as above; the driver does its own locking.
unsafe impl Sync for RealDriver {}
// SAFETY: a function belongs to a module and not to a thread.
unsafe impl Send for Function {}

fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

fn message(error: DriverError) -> String {
    // The driver's message needs the library, which is loaded, since the error came from it.
    format!("{:?}", error.0)
}

/// Errors after which the context is unusable.
fn is_lost(code: CUresult) -> bool {
    matches!(
        code,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE
            | CUresult::CUDA_ERROR_DEINITIALIZED
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_UNKNOWN
    )
}

/// Why loading the kernels failed: an image that is damaged, or that has nothing for this card.
fn is_image(code: CUresult) -> bool {
    matches!(
        code,
        CUresult::CUDA_ERROR_INVALID_IMAGE
            | CUresult::CUDA_ERROR_INVALID_SOURCE
            | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            | CUresult::CUDA_ERROR_INVALID_PTX
            | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | CUresult::CUDA_ERROR_NOT_FOUND
            | CUresult::CUDA_ERROR_FILE_NOT_FOUND
    )
}

/// Starts the driver. Returns the CUDA version that it supports.
fn start(requested: &str) -> Result<i32, CudaError> {
    // SAFETY: only searches for the library.
    if !unsafe { sys::is_culib_present() } {
        let reason = "libcuda was not found".to_owned();
        return Err(CudaError::NoDriver { reason });
    }
    result::init().map_err(|error| match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            CudaError::UnknownDevice { requested: requested.to_owned(), have: "none".to_owned() }
        }
        _ => CudaError::NoDriver { reason: format!("it does not start: {}", message(error)) },
    })?;
    let mut found = 0;
    // SAFETY: writes one number.
    let outcome = unsafe { sys::cuDriverGetVersion(&raw mut found) }.result();
    outcome.map_err(|error| CudaError::NoDriver { reason: message(error) })?;
    if found < DRIVER_NEEDED {
        let (found, needed) = (version(found), version(DRIVER_NEEDED));
        return Err(CudaError::DriverTooOld { found, needed });
    }
    Ok(found)
}

/// `GPU-` and the identifier in the usual groups.
fn uuid_text(device: sys::CUdevice) -> Option<String> {
    let uuid = result::device::get_uuid(device).ok()?;
    let hex: Vec<String> = uuid.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect();
    let part = |from: usize, to: usize| hex[from..to].concat();
    let parts = [part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16)];
    Some(format!("GPU-{}", parts.join("-")))
}

/// Every card with its UUID, in the driver's order.
fn all_cards(requested: &str) -> Result<Vec<(sys::CUdevice, String)>, CudaError> {
    let failed = |call, error| CudaError::Call {
        call,
        device: requested.to_owned(),
        reason: message(error),
    };
    let count = result::device::get_count().map_err(|error| failed("cuDeviceGetCount", error))?;
    let card = |i| {
        let device = result::device::get(i).map_err(|error| failed("cuDeviceGet", error))?;
        Ok((device, uuid_text(device).unwrap_or_default()))
    };
    (0..count).map(card).collect()
}

fn find(requested: &str) -> Result<sys::CUdevice, CudaError> {
    let cards = all_cards(requested)?;
    let named = cards.iter().enumerate().find(|(i, (_, uuid))| {
        requested == i.to_string() || (!uuid.is_empty() && requested.eq_ignore_ascii_case(uuid))
    });
    if let Some((_, (device, _))) = named {
        return Ok(*device);
    }
    let have: Vec<String> =
        cards.iter().enumerate().map(|(i, (_, uuid))| format!("{i} ({uuid})")).collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    Err(CudaError::UnknownDevice { requested: requested.to_owned(), have })
}

/// The cards of this machine in the order of their indices, each with its name and UUID.
///
/// # Errors
/// [`CudaError::NoDriver`], [`CudaError::DriverTooOld`], or [`CudaError::UnknownDevice`] where the
/// driver finds no card.
pub fn cards() -> Result<Vec<String>, CudaError> {
    start("any")?;
    let describe = |(device, uuid): (sys::CUdevice, String)| {
        let name = result::device::get_name(device).unwrap_or_default();
        format!("{name} {uuid}")
    };
    Ok(all_cards("any")?.into_iter().map(describe).collect())
}

impl RealDriver {
    /// Opens a card by index or UUID.
    pub(crate) fn open(requested: &str, image: &[u8]) -> Result<Self, CudaError> {
        let supported = start(requested)?;
        let ordinal = find(requested)?;
        let name = result::device::get_name(ordinal).unwrap_or_else(|_| requested.to_owned());
        let failed = |call| {
            let device = name.clone();
            move |error| CudaError::Call { call, device, reason: message(error) }
        };
        let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        // SAFETY: `ordinal` is a device of this driver.
        let multiprocessors = unsafe { result::device::get_attribute(ordinal, count) }
            .map_err(failed("cuDeviceGetAttribute"))?;
        // SAFETY: as above; released when this is dropped.
        let context = unsafe { result::primary_ctx::retain(ordinal) }
            .map_err(failed("cuDevicePrimaryCtxRetain"))?;
        let mut opened = Self {
            name: name.clone(),
            uuid: uuid_text(ordinal),
            ordinal,
            context,
            module: std::ptr::null_mut(),
            streams: RwLock::default(),
            multiprocessors: u32::try_from(multiprocessors).unwrap_or(1).max(1),
            functions: Mutex::default(),
        };
        opened.enter()?;
        // The driver reads as many bytes as the image's header states, so the image must not be shorter.
        let image = checked_image(image)?;
        // SAFETY: `image` outlives the call and is as long as its header states.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        opened.module = module.map_err(|error| match error.0 {
            code if is_image(code) && supported < DRIVER_OF_IMAGE => CudaError::DriverTooOld {
                found: version(supported),
                needed: version(DRIVER_OF_IMAGE),
            },
            code if is_image(code) => CudaError::Image { reason: message(error) },
            _ => failed("cuModuleLoadData")(error),
        })?;
        Ok(opened)
    }

    fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained for as long as `self` lives.
        self.checked("cuCtxSetCurrent", unsafe { result::ctx::set_current(self.context) })
    }

    fn checked<T>(
        &self,
        call: &'static str,
        outcome: Result<T, DriverError>,
    ) -> Result<T, CudaError> {
        outcome.map_err(|error| {
            let (device, reason) = (self.name.clone(), message(error));
            if is_lost(error.0) {
                return CudaError::Lost { device, reason: format!("{call}: {reason}") };
            }
            CudaError::Call { call, device, reason }
        })
    }

    fn stream(&self, stream: Stream) -> Result<Queue, CudaError> {
        let streams = self.streams.read();
        streams.get(stream).copied().ok_or_else(|| CudaError::Call {
            call: "stream",
            device: self.name.clone(),
            reason: format!("there is no stream {stream}"),
        })
    }

    fn function(&self, kernel: &str) -> Result<sys::CUfunction, CudaError> {
        let mut functions = self.functions.lock();
        if let Some(function) = functions.get(kernel) {
            return Ok(function.0);
        }
        let name = CString::new(kernel)
            .map_err(|error| CudaError::Image { reason: format!("kernel `{kernel}`: {error}") })?;
        // SAFETY: the module is loaded for as long as `self` lives.
        let found = unsafe { result::module::get_function(self.module, name) };
        let function = found.map_err(|error| CudaError::Image {
            reason: format!("kernel `{kernel}`: {}", message(error)),
        })?;
        functions.insert(kernel.to_owned(), Function(function));
        Ok(function)
    }
}

/// Rejects an image that is not a fat binary of the length that its header states. Header: magic
/// 0xba55ed50, version, header size (16 bits each after the magic), then the size of what follows
/// (64 bits), all least byte first.
fn checked_image(image: &[u8]) -> Result<&[u8], CudaError> {
    let reject = |reason: String| Err(CudaError::Image { reason });
    let Some(header) = image.get(..16) else {
        return reject(format!("the image has {} B, too short for a header", image.len()));
    };
    if header[..4] != [0x50, 0xed, 0x55, 0xba] {
        return reject("the image does not begin like a fat binary".to_owned());
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |all, b| all << 8 | u64::from(*b));
    let expected = number(&header[6..8]).saturating_add(number(&header[8..16]));
    if expected != image.len() as u64 {
        return reject(format!("the image should have {expected} B, it has {}", image.len()));
    }
    Ok(image)
}

impl Driver for RealDriver {
    fn device(&self) -> &str {
        &self.name
    }

    fn uuid(&self) -> Option<&str> {
        self.uuid.as_deref()
    }

    fn is_emulated(&self) -> bool {
        false
    }

    fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    fn memory(&self) -> Result<(u64, u64), CudaError> {
        self.enter()?;
        let (free, total) = self.checked("cuMemGetInfo", result::mem_get_info())?;
        Ok((free as u64, total as u64))
    }

    fn allocate(&self, bytes: u64) -> Result<u64, CudaError> {
        self.enter()?;
        // SAFETY: the context is current; the arena releases the memory.
        match unsafe { result::malloc_sync(bytes as usize) } {
            Err(error) if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let free_bytes = self.memory().map_or(0, |(free, _)| free);
                Err(CudaError::Memory { needed_bytes: bytes, free_bytes })
            }
            outcome => self.checked("cuMemAlloc", outcome),
        }
    }

    fn release(&self, pointer: u64) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: from `allocate`, and the arena has waited for all streams.
        self.checked("cuMemFree", unsafe { result::free_sync(pointer) })
    }

    fn new_stream(&self) -> Result<Stream, CudaError> {
        self.enter()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        let stream = self.checked("cuStreamCreate", stream)?;
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        let event = self.checked("cuEventCreate", event).inspect_err(|_| {
            // SAFETY: nothing was queued in it. The event's error is the one to report.
            let _ = unsafe { result::stream::destroy(stream) };
        })?;
        let mut streams = self.streams.write();
        streams.push(Queue { stream, event });
        Ok(streams.len() - 1)
    }

    fn wait(&self, waiter: Stream, before: Stream) -> Result<(), CudaError> {
        let (waiter, before) = (self.stream(waiter)?, self.stream(before)?);
        self.enter()?;
        // A wait is for what the event recorded last when it is queued; recording again changes
        // nothing for it (CUDA driver API, cuStreamWaitEvent).
        // SAFETY: streams and event live as long as the driver.
        let recorded = unsafe { result::event::record(before.event, before.stream) };
        self.checked("cuEventRecord", recorded)?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: as above.
        let waits = unsafe { result::stream::wait_event(waiter.stream, before.event, flags) };
        self.checked("cuStreamWaitEvent", waits)
    }

    fn copy_in(&self, stream: Stream, to: u64, bytes: &[u8]) -> Result<(), CudaError> {
        let Queue { stream, .. } = self.stream(stream)?;
        self.enter()?;
        // SAFETY: the arena's block is large enough. The memory is pageable, of which the driver keeps a
        // copy before it returns (CUDA driver API, "API synchronization behavior").
        let outcome = unsafe { result::memcpy_htod_async(to, bytes, stream) };
        self.checked("cuMemcpyHtoDAsync", outcome)
    }

    fn copy_out(&self, stream: Stream, from: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        let queue = self.stream(stream)?;
        self.enter()?;
        // SAFETY: the arena's block is as long; the stream is waited for while `bytes` is borrowed.
        let outcome = unsafe { result::memcpy_dtoh_async(bytes, from, queue.stream) };
        self.checked("cuMemcpyDtoHAsync", outcome)?;
        self.synchronize(stream)
    }

    fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), CudaError> {
        let Queue { stream, .. } = self.stream(stream)?;
        self.enter()?;
        // SAFETY: both lie in blocks of the arena.
        let outcome = unsafe { result::memcpy_dtod_async(to, from, bytes as usize, stream) };
        self.checked("cuMemcpyDtoDAsync", outcome)
    }

    fn clear(&self, stream: Stream, at: u64, bytes: u64) -> Result<(), CudaError> {
        let Queue { stream, .. } = self.stream(stream)?;
        self.enter()?;
        // SAFETY: lies in a block of the arena.
        let outcome = unsafe { result::memset_d8_async(at, 0, bytes as usize, stream) };
        self.checked("cuMemsetD8Async", outcome)
    }

    fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Result<(), CudaError> {
        let Queue { stream, .. } = self.stream(stream)?;
        self.enter()?;
        let function = self.function(launch.kernel)?;
        let mut held: Vec<Vec<u128>> = launch.arguments.iter().map(Argument::aligned).collect();
        let mut pointers: Vec<*mut c_void> =
            held.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: every argument is as long as the kernel's parameter, which the emulator's build of
        // the same kernels checks; the driver copies them before it returns.
        let outcome = unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                (launch.block, 1, 1),
                launch.shared_bytes,
                stream,
                &mut pointers,
            )
        };
        self.checked("cuLaunchKernel", outcome)
    }

    fn synchronize(&self, stream: Stream) -> Result<(), CudaError> {
        let Queue { stream, .. } = self.stream(stream)?;
        self.enter()?;
        // SAFETY: the stream is alive.
        self.checked("cuStreamSynchronize", unsafe { result::stream::synchronize(stream) })
    }
}

impl Drop for RealDriver {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        // SAFETY: nothing uses the handles after this; failures cannot be reported to anyone.
        unsafe {
            let streams = self.streams.get_mut();
            for Queue { stream, event } in streams.drain(..) {
                let _ = result::stream::synchronize(stream);
                let _ = result::event::destroy(event);
                let _ = result::stream::destroy(stream);
            }
            if !self.module.is_null() {
                let _ = result::module::unload(self.module);
            }
            let _ = result::primary_ctx::release(self.ordinal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(body: usize) -> Vec<u8> {
        let mut image = vec![0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0];
        image.extend((body as u64).to_le_bytes());
        image.resize(16 + body, 7);
        image
    }

    #[test]
    fn an_image_that_is_cut_or_is_something_else_is_rejected() {
        assert!(checked_image(&image(40)).is_ok());
        let whole = image(40);
        for end in 0..whole.len() {
            assert!(checked_image(&whole[..end]).is_err(), "{end} B");
        }
        let mut other = whole;
        other[0] ^= 1;
        assert!(matches!(checked_image(&other), Err(CudaError::Image { .. })));
    }
}
