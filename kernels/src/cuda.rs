//! The driver of NVIDIA cards, loaded at run time. Nothing here runs without a driver library.

#![expect(unsafe_code, reason = "the CUDA driver is a C library")]

use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, c_void};
use std::ops::Range;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use parking_lot::{Mutex, RwLock};

use crate::cards::{DRIVER_OF_IMAGE, find, message, start, version};
use crate::copying::{copy_threads, in_parts};
use crate::declared;
use crate::driver::{Argument, Driver, Launch, Mark, Source, Stream};
use crate::error::CudaError;
use crate::generated::KNOWN;

/// Sizes of the pinned chunks that uploads pass through, and how many there may be: of the small ones as many as a
/// host that is ahead of the card can have queued, of the large ones enough to copy into one while others travel.
const CHUNKS: [(usize, usize); 2] = [(64 << 10, 256), (1 << 20, 32)];

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
    /// One for each row of [`CHUNKS`].
    staging: [Mutex<Staging>; 2],
    /// Threads that copy one array.
    copy_threads: usize,
    marks: Mutex<Marks>,
}

#[derive(Debug, Clone, Copy)]
struct Function(sys::CUfunction);

/// A stream, and the event that others wait for.
#[derive(Debug, Clone, Copy)]
struct Queue {
    stream: sys::CUstream,
    event: sys::CUevent,
}

/// Pinned memory that the card reads after the call that queued the copy has returned.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    memory: *mut u8,
    /// Recorded after the copy.
    copied: sys::CUevent,
}

/// Chunks in the order of their copies, without those that are being written to.
#[derive(Debug, Default)]
struct Staging {
    queued: VecDeque<Chunk>,
    made: usize,
    /// The system has no more pinned memory for this process.
    exhausted: bool,
}

/// Events with times, and those that are not in use.
#[derive(Debug, Default)]
struct Marks {
    all: Vec<sys::CUevent>,
    idle: Vec<Mark>,
}

// SAFETY: handles of the driver may be used from any thread; each call makes the context current
// on its own thread first.
unsafe impl Send for RealDriver {}
// SAFETY: as above; the driver does its own locking.
unsafe impl Sync for RealDriver {}
// SAFETY: a function belongs to a module and not to a thread.
unsafe impl Send for Function {}

/// Whether the context is unusable after an error: after any but those of a call that was wrong or too much. A code
/// that is not known here is not trusted. Every call makes the context current, so that one that finds none is told
/// that another library of the process has ended it.
fn is_lost(code: CUresult) -> bool {
    !matches!(
        code,
        CUresult::CUDA_ERROR_INVALID_VALUE
            | CUresult::CUDA_ERROR_OUT_OF_MEMORY
            | CUresult::CUDA_ERROR_INVALID_IMAGE
            | CUresult::CUDA_ERROR_MAP_FAILED
            | CUresult::CUDA_ERROR_UNMAP_FAILED
            | CUresult::CUDA_ERROR_ALREADY_MAPPED
            | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            | CUresult::CUDA_ERROR_NOT_FOUND
            | CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
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

impl RealDriver {
    /// Opens a card by index or UUID.
    pub(crate) fn open(requested: &str, image: &[u8]) -> Result<Self, CudaError> {
        let supported = start(requested)?;
        let (ordinal, uuid) = find(requested)?;
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
            uuid,
            ordinal,
            context,
            module: std::ptr::null_mut(),
            streams: RwLock::default(),
            multiprocessors: u32::try_from(multiprocessors).unwrap_or(1).max(1),
            functions: Mutex::default(),
            staging: Default::default(),
            copy_threads: copy_threads(),
            marks: Mutex::default(),
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
        opened.load_kernels()?;
        Ok(opened)
    }

    /// Loads every kernel. By default a driver loads one when it is asked for it, may wait for all streams then, and
    /// needs memory, which proofs have taken by the time that they first launch the last of the kernels.
    fn load_kernels(&self) -> Result<(), CudaError> {
        let mut names = declared::all().map(|kernel| kernel.name).chain(KNOWN.iter().copied());
        names.try_for_each(|name| self.function(name).map(drop))
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

    /// A chunk of the kind whose last copy has ended; `None` where there is no pinned memory.
    fn chunk(&self, kind: usize) -> Result<Option<Chunk>, CudaError> {
        let (bytes, most) = CHUNKS[kind];
        let oldest = {
            let mut staging = self.staging[kind].lock();
            // SAFETY: the event was recorded, and lives as long as the driver.
            let is_copied = |chunk: &Chunk| unsafe { result::event::query(chunk.copied) }.is_ok();
            if staging.queued.front().is_some_and(is_copied) {
                return Ok(staging.queued.pop_front());
            }
            let can_make = staging.made < most && !staging.exhausted;
            let oldest = if can_make { None } else { staging.queued.pop_front() };
            if oldest.is_none() && staging.exhausted {
                return Ok(None);
            }
            staging.made += usize::from(oldest.is_none());
            oldest
        };
        if let Some(chunk) = oldest {
            // SAFETY: as above. Without the lock, since it may take long.
            let waited = unsafe { result::event::synchronize(chunk.copied) };
            return self.checked("cuEventSynchronize", waited).map(|()| Some(chunk));
        }
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let copied = self.checked("cuEventCreate", result::event::create(flags))?;
        // SAFETY: the context is current; released when the driver is dropped.
        match unsafe { result::malloc_host(bytes, 0) } {
            Ok(memory) => Ok(Some(Chunk { memory: memory.cast(), copied })),
            Err(_) => {
                // SAFETY: nothing was queued in it.
                let _ = unsafe { result::event::destroy(copied) };
                let mut staging = self.staging[kind].lock();
                staging.exhausted = true;
                staging.made -= 1;
                drop(staging);
                // Those that there are have to do. Without any, copies are slower, and no less right.
                self.chunk(kind)
            }
        }
    }

    /// Copies a part of a source to the card through pinned chunks; false where there are none.
    fn send_pinned(
        &self,
        stream: Stream,
        to: u64,
        source: Source<'_>,
        part: Range<usize>,
    ) -> Result<bool, CudaError> {
        let queue = self.stream(stream)?;
        self.enter()?;
        let kind = usize::from(source.bytes() > CHUNKS[0].0);
        for at in part.clone().step_by(CHUNKS[kind].0) {
            let Some(chunk) = self.chunk(kind)? else { return Ok(false) };
            let length = CHUNKS[kind].0.min(part.end - at);
            // SAFETY: the chunk is as long, its last copy has ended, and no other thread has it.
            let bytes = unsafe { std::slice::from_raw_parts_mut(chunk.memory, length) };
            source.write(at, bytes);
            // SAFETY: the arena's block is large enough; the chunk is not written before its event.
            let copied = unsafe { result::memcpy_htod_async(to + at as u64, bytes, queue.stream) };
            // SAFETY: stream and event live as long as the driver.
            let recorded = unsafe { result::event::record(chunk.copied, queue.stream) };
            self.staging[kind].lock().queued.push_back(chunk);
            self.checked("cuMemcpyHtoDAsync", copied)?;
            self.checked("cuEventRecord", recorded)?;
        }
        Ok(true)
    }

    /// Copies to the card without pinned chunks.
    fn send_pageable(&self, stream: Stream, to: u64, source: Source<'_>) -> Result<(), CudaError> {
        let Queue { stream, .. } = self.stream(stream)?;
        let mut bytes = vec![0; source.bytes()];
        source.write(0, &mut bytes);
        // SAFETY: the arena's block is large enough. `bytes` lives until the stream was waited for: a driver that reads
        // pageable memory itself may not have copied it when the call returns.
        let copied = unsafe { result::memcpy_htod_async(to, &bytes, stream) };
        self.checked("cuMemcpyHtoDAsync", copied)?;
        // SAFETY: the stream is alive.
        self.checked("cuStreamSynchronize", unsafe { result::stream::synchronize(stream) })
    }

    fn panicked(&self) -> CudaError {
        let reason = "a thread that copies panicked".to_owned();
        CudaError::Call { call: "send", device: self.name.clone(), reason }
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
        let function = match found {
            Err(error) if is_image(error.0) => {
                let reason = format!("kernel `{kernel}`: {}", message(error));
                return Err(CudaError::Image { reason });
            }
            outcome => self.checked("cuModuleGetFunction", outcome)?,
        };
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

    fn send(&self, stream: Stream, to: u64, source: Source<'_>) -> Result<(), CudaError> {
        let copy = |part| self.send_pinned(stream, to, source, part);
        let (chunk, threads) = (CHUNKS[1].0, self.copy_threads);
        let is_sent = in_parts(source.bytes(), chunk, threads, copy, || self.panicked())?;
        if is_sent { Ok(()) } else { self.send_pageable(stream, to, source) }
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

    fn mark(&self, stream: Stream) -> Result<Mark, CudaError> {
        let Queue { stream, .. } = self.stream(stream)?;
        self.enter()?;
        let mut marks = self.marks.lock();
        let mark = match marks.idle.pop() {
            Some(mark) => mark,
            None => {
                let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
                marks.all.push(self.checked("cuEventCreate", event)?);
                marks.all.len() - 1
            }
        };
        // SAFETY: stream and event live as long as the driver.
        let recorded = unsafe { result::event::record(marks.all[mark], stream) };
        self.checked("cuEventRecord", recorded).map(|()| mark)
    }

    fn microseconds(&self, from: Mark, to: Mark) -> Result<f64, CudaError> {
        self.enter()?;
        let marks = self.marks.lock();
        // SAFETY: the events were recorded, and live as long as the driver.
        let elapsed = unsafe { result::event::elapsed(marks.all[from], marks.all[to]) };
        self.checked("cuEventElapsedTime", elapsed).map(|ms| f64::from(ms) * 1e3)
    }

    fn forget(&self, mark: Mark) {
        self.marks.lock().idle.push(mark);
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
            for Chunk { memory, copied } in
                self.staging.iter_mut().flat_map(|s| s.get_mut().queued.drain(..))
            {
                let _ = result::event::destroy(copied);
                let _ = result::free_host(memory.cast());
            }
            for event in self.marks.get_mut().all.drain(..) {
                let _ = result::event::destroy(event);
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
