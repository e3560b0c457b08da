//! A driver that runs kernels on the host, for tests.
//!
//! Its streams can run late. Calls are queued and take effect only when something waits for them:
//! either in that stream and those it waits for, as if all others had stopped, or, with a seed, one by
//! one from streams drawn at random. So a missing wait between two streams yields wrong results.
//! Allocated memory is filled with 0xcd, freed memory with 0xdd and is checked for writes, and every
//! block has guards on both sides. So faults that would be intermittent on a card are found every time.

#![expect(unsafe_code, reason = "kernels work on raw memory")]

mod compile;

use std::alloc::Layout;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::declared;
use crate::driver::{Argument, Driver, Launch, Mark, Source, Stream};
use crate::error::CudaError;

pub use compile::{compile_emulated_driver, compile_emulator};

const GUARD: usize = 256;
const ALIGNMENT: usize = 256;
const TAKEN: u8 = 0xcd;
const FREED: u8 = 0xdd;
const GUARDED: u8 = 0xab;

/// Faults of the emulated card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The card is lost once it has run this many kernels.
    LostAfter(u64),
    /// Downloads come with all bits set.
    WrongDownloads,
    /// No stream waits for another the time after so many that one did: a mutation, for tests of tests.
    MissesWait(u64),
}

/// An emulated card.
#[derive(Debug, Clone)]
pub struct Emulation {
    /// The kernels, from [`compile_emulator`].
    pub library: PathBuf,
    /// Queue everything until something waits, as a busy card does.
    pub late: bool,
    /// With `late`: run queued calls in between, of streams that this seed chooses.
    pub shuffle: Option<u64>,
    /// Run threads and blocks from last to first.
    pub reverse: bool,
    /// Do arithmetic by emulating each PTX instruction that a card runs. Slower, same values.
    pub exact: bool,
    /// Memory of the card.
    pub memory_bytes: u64,
    pub fault: Option<Fault>,
}

impl Emulation {
    /// A card with 1 GiB whose streams run late.
    pub fn new(library: PathBuf) -> Self {
        Self {
            library,
            late: true,
            shuffle: None,
            reverse: false,
            exact: false,
            memory_bytes: 1 << 30,
            fault: None,
        }
    }
}

type LaunchFn = unsafe extern "C" fn(
    *const c_char,
    *const u32,
    *const u32,
    usize,
    *mut *mut c_void,
    *const usize,
    usize,
    c_int,
    c_int,
) -> c_int;

type CountFn = unsafe extern "C" fn() -> u64;

type SizesFn = unsafe extern "C" fn(*const c_char, *mut *const usize, *mut usize) -> c_int;

/// Rejects a library in which a kernel does not take what the table of kernels declares.
fn check_declared(library: &libloading::Library) -> Result<(), CudaError> {
    let reject = |reason: String| Err(CudaError::Image { reason });
    // SAFETY: the type is that of `rm_sizes` in emulator/emulator.cpp.
    let sizes_of = match unsafe { library.get::<SizesFn>(b"rm_sizes\0") } {
        Ok(symbol) => *symbol,
        Err(error) => return reject(error.to_string()),
    };
    for kernel in declared::all() {
        let Ok(name) = CString::new(kernel.name) else { continue };
        let (mut sizes, mut count) = (std::ptr::null(), 0);
        // SAFETY: writes a pointer to a static array and its length, if there is a kernel of that name.
        let found = unsafe { sizes_of(name.as_ptr(), &raw mut sizes, &raw mut count) } != 0;
        if !found {
            return reject(format!("the emulator has no kernel `{}`", kernel.name));
        }
        // SAFETY: as above; every kernel takes an argument, so that the array is not empty.
        let found = unsafe { std::slice::from_raw_parts(sizes, count) };
        if !found.iter().copied().eq(kernel.parameters.iter().map(|kind| kind.bytes())) {
            return reject(format!(
                "kernel `{}` takes arguments of {found:?} B, declared are {:?}",
                kernel.name, kernel.parameters
            ));
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Allocation {
    bytes: usize,
    layout: Layout,
}

/// A call that was queued.
#[derive(Debug)]
enum Call {
    CopyIn {
        to: u64,
        bytes: Vec<u8>,
    },
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    Clear {
        at: u64,
        bytes: usize,
    },
    Launch {
        kernel: String,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        arguments: Vec<Argument>,
    },
    /// For so many calls of another stream.
    Wait {
        before: Stream,
        count: u64,
    },
    Mark(Mark),
}

#[derive(Debug, Default)]
struct Queue {
    calls: VecDeque<Call>,
    /// Calls that have run.
    run: u64,
}

#[derive(Debug, Default)]
struct State {
    /// By the address of the first byte after the guard.
    live: HashMap<u64, Allocation>,
    freed: HashMap<u64, Allocation>,
    used_bytes: u64,
    streams: Vec<Queue>,
    launches: u64,
    waits: u64,
    /// When each mark was reached, and the marks that are not in use.
    marks: Vec<Option<Instant>>,
    idle_marks: Vec<Mark>,
    /// Draws the streams to run.
    random: u64,
    /// A card that was lost stays lost.
    lost: Option<String>,
}

#[derive(Debug)]
pub(crate) struct EmulatedDriver {
    launch: LaunchFn,
    limb_products: CountFn,
    // Keeps both valid.
    _library: libloading::Library,
    emulation: Emulation,
    state: Mutex<State>,
}

impl EmulatedDriver {
    pub(crate) fn open(emulation: &Emulation) -> Result<Self, CudaError> {
        let image = |error: libloading::Error| CudaError::Image {
            reason: format!("{}: {error}", emulation.library.display()),
        };
        // SAFETY: the library is the one that `compile_emulator` made; its initialisers only link
        // static structures together.
        let library = unsafe { libloading::Library::new(&emulation.library) }.map_err(image)?;
        // SAFETY: the type is that of `rm_launch` in emulator/emulator.cpp.
        let launch = *unsafe { library.get::<LaunchFn>(b"rm_launch\0") }.map_err(image)?;
        // SAFETY: the type is that of `rm_limb_products` in the same file.
        let limb_products =
            *unsafe { library.get::<CountFn>(b"rm_limb_products\0") }.map_err(image)?;
        check_declared(&library)?;
        let emulation = emulation.clone();
        let random = emulation.shuffle.unwrap_or(0);
        let state = Mutex::new(State { random, ..State::default() });
        Ok(Self { launch, limb_products, _library: library, emulation, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn lost(&self, state: &mut State, reason: String) -> CudaError {
        state.lost = Some(reason.clone());
        CudaError::Lost { device: self.device().to_owned(), reason }
    }

    fn alive(&self, state: &State) -> Result<(), CudaError> {
        match &state.lost {
            Some(reason) => {
                let device = self.device().to_owned();
                Err(CudaError::Lost { device, reason: reason.clone() })
            }
            None => Ok(()),
        }
    }

    fn queue(&self, stream: Stream, call: Call) -> Result<(), CudaError> {
        let mut state = self.state();
        self.alive(&state)?;
        let Some(queue) = state.streams.get_mut(stream) else {
            return Err(self.lost(&mut state, format!("there is no stream {stream}")));
        };
        queue.calls.push_back(call);
        if !self.emulation.late {
            return self.finish(&mut state, stream);
        }
        if self.emulation.shuffle.is_some() {
            for _ in 0..draw(&mut state.random, 3) {
                self.run_any(&mut state)?;
            }
        }
        Ok(())
    }

    /// Runs the next call of a stream drawn at random, unless it waits for another.
    fn run_any(&self, state: &mut State) -> Result<(), CudaError> {
        let stream = draw(&mut state.random, state.streams.len() as u64) as usize;
        match state.streams[stream].calls.front() {
            Some(Call::Wait { before, count }) if state.streams[*before].run < *count => Ok(()),
            Some(_) => self.run_next(state, stream),
            None => Ok(()),
        }
    }

    fn run_next(&self, state: &mut State, stream: Stream) -> Result<(), CudaError> {
        let queue = &mut state.streams[stream];
        let Some(call) = queue.calls.pop_front() else { return Ok(()) };
        queue.run += 1;
        self.run(state, call).map_err(|reason| self.lost(state, reason))
    }

    /// Runs the first `count` calls of a stream, and of the others what these wait for.
    fn run_until(&self, state: &mut State, stream: Stream, count: u64) -> Result<(), CudaError> {
        while state.streams[stream].run < count {
            match state.streams[stream].calls.front() {
                Some(Call::Wait { before, count }) if state.streams[*before].run < *count => {
                    let (before, count) = (*before, *count);
                    self.run_until(state, before, count)?;
                }
                _ => {
                    self.run_next(state, stream)?;
                    if self.emulation.shuffle.is_some() {
                        self.run_any(state)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs all that is queued in a stream.
    fn finish(&self, state: &mut State, stream: Stream) -> Result<(), CudaError> {
        self.alive(state)?;
        let count = match state.streams.get(stream) {
            Some(queue) => queue.run + queue.calls.len() as u64,
            None => return Err(self.lost(state, format!("there is no stream {stream}"))),
        };
        self.run_until(state, stream, count)?;
        if state.streams.iter().any(|queue| !queue.calls.is_empty()) {
            return Ok(());
        }
        for (pointer, allocation) in std::mem::take(&mut state.freed) {
            let touched = contains_other(pointer, allocation.bytes, FREED);
            free(pointer, &allocation);
            if touched {
                return Err(self.lost(state, "memory was written after it was freed".into()));
            }
        }
        Ok(())
    }

    fn run(&self, state: &mut State, call: Call) -> Result<(), String> {
        let holds = |state: &State, at: u64, bytes: usize| {
            let inside = |(start, allocation): (&u64, &Allocation)| {
                *start <= at && at + bytes as u64 <= start + allocation.bytes as u64
            };
            if state.live.iter().any(inside) {
                Ok(())
            } else {
                Err(format!("a copy or fill of {bytes} B at {at:#x} is outside of any block"))
            }
        };
        match call {
            Call::CopyIn { to, bytes } => {
                holds(state, to, bytes.len())?;
                // SAFETY: the range lies in a live allocation, and `bytes` is not part of it.
                unsafe {
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len());
                }
            }
            Call::Copy { to, from, bytes } => {
                holds(state, to, bytes)?;
                holds(state, from, bytes)?;
                // SAFETY: both ranges lie in live allocations; they may overlap.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
            }
            Call::Clear { at, bytes } => {
                holds(state, at, bytes)?;
                // SAFETY: the range lies in a live allocation.
                unsafe { std::ptr::write_bytes(at as *mut u8, 0, bytes) };
            }
            Call::Launch { kernel, grid, block, shared_bytes, arguments } => {
                if self.emulation.fault == Some(Fault::LostAfter(state.launches)) {
                    return Err("the emulated card was pulled out".into());
                }
                state.launches += 1;
                self.run_kernel(&kernel, grid, block, shared_bytes, &arguments)?;
            }
            Call::Mark(mark) => state.marks[mark] = Some(Instant::now()),
            Call::Wait { .. } => {}
        }
        Ok(())
    }

    fn run_kernel(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        arguments: &[Argument],
    ) -> Result<(), String> {
        let name = CString::new(kernel).map_err(|error| error.to_string())?;
        let mut held: Vec<Vec<u128>> = arguments.iter().map(Argument::aligned).collect();
        let mut pointers: Vec<*mut c_void> =
            held.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
        let sizes: Vec<usize> = arguments.iter().map(Argument::size).collect();
        let block = [block, 1, 1];
        // SAFETY: the emulator compares the sizes with those of the kernel's parameters; addresses
        // come from `allocate`, and guards and poison find accesses that do not stay inside.
        let outcome = unsafe {
            (self.launch)(
                name.as_ptr(),
                grid.as_ptr(),
                block.as_ptr(),
                shared_bytes as usize,
                pointers.as_mut_ptr(),
                sizes.as_ptr(),
                sizes.len(),
                c_int::from(self.emulation.reverse),
                c_int::from(self.emulation.exact),
            )
        };
        match outcome {
            0 => Ok(()),
            1 => Err(format!("there is no kernel `{kernel}`")),
            2 => Err(format!("kernel `{kernel}`: not all threads of a block reached a barrier")),
            3 => Err(format!("kernel `{kernel}`: not all threads of a warp reached an exchange")),
            _ => Err(format!("kernel `{kernel}` does not take arguments of {sizes:?} B")),
        }
    }
}

/// A number below `below`, by SplitMix64 (Steele, Lea, Flood 2014).
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below.max(1)
}

/// Whether any of `bytes` bytes at `pointer` differs from `value`. The caller owns them.
fn contains_other(pointer: u64, bytes: usize, value: u8) -> bool {
    // SAFETY: called only on parts of allocations that were made with all bytes set.
    let held = unsafe { std::slice::from_raw_parts(pointer as *const u8, bytes) };
    held.iter().any(|byte| *byte != value)
}

fn guards_touched(pointer: u64, allocation: &Allocation) -> bool {
    let after = pointer + allocation.bytes as u64;
    contains_other(pointer - GUARD as u64, GUARD, GUARDED) || contains_other(after, GUARD, GUARDED)
}

fn free(pointer: u64, allocation: &Allocation) {
    // SAFETY: made by `allocate` with this layout, and taken off both lists by the caller.
    unsafe { std::alloc::dealloc((pointer as usize - GUARD) as *mut u8, allocation.layout) };
}

impl Driver for EmulatedDriver {
    fn device(&self) -> &str {
        "emulator"
    }

    fn is_emulated(&self) -> bool {
        true
    }

    fn multiprocessors(&self) -> u32 {
        2
    }

    fn limb_products(&self) -> Option<u64> {
        // SAFETY: it reads a counter.
        Some(unsafe { (self.limb_products)() })
    }

    fn memory(&self) -> Result<(u64, u64), CudaError> {
        let total = self.emulation.memory_bytes;
        Ok((total - self.state().used_bytes, total))
    }

    fn allocate(&self, bytes: u64) -> Result<u64, CudaError> {
        let mut state = self.state();
        self.alive(&state)?;
        let free_bytes = self.emulation.memory_bytes - state.used_bytes;
        let rejected = CudaError::Memory { needed_bytes: bytes, free_bytes };
        if bytes > free_bytes {
            return Err(rejected);
        }
        let size = bytes as usize;
        let Ok(layout) = Layout::from_size_align(size + 2 * GUARD, ALIGNMENT) else {
            return Err(rejected);
        };
        // SAFETY: the layout's size is not zero.
        let start = unsafe { std::alloc::alloc(layout) };
        if start.is_null() {
            return Err(rejected);
        }
        // SAFETY: all of it lies in the new allocation.
        let pointer = unsafe {
            std::ptr::write_bytes(start, GUARDED, size + 2 * GUARD);
            let pointer = start.add(GUARD);
            std::ptr::write_bytes(pointer, TAKEN, size);
            pointer as u64
        };
        state.used_bytes += bytes;
        state.live.insert(pointer, Allocation { bytes: size, layout });
        Ok(pointer)
    }

    fn release(&self, pointer: u64) -> Result<(), CudaError> {
        let mut state = self.state();
        let Some(allocation) = state.live.remove(&pointer) else {
            let reason = format!("{pointer:#x} was freed but never allocated");
            return Err(self.lost(&mut state, reason));
        };
        state.used_bytes -= allocation.bytes as u64;
        let touched = guards_touched(pointer, &allocation);
        // SAFETY: the block was live until now.
        unsafe { std::ptr::write_bytes(pointer as *mut u8, FREED, allocation.bytes) };
        state.freed.insert(pointer, allocation);
        if touched {
            return Err(self.lost(&mut state, "memory beside a block was written".into()));
        }
        Ok(())
    }

    fn new_stream(&self) -> Result<Stream, CudaError> {
        let mut state = self.state();
        state.streams.push(Queue::default());
        Ok(state.streams.len() - 1)
    }

    fn wait(&self, waiter: Stream, before: Stream) -> Result<(), CudaError> {
        let mut state = self.state();
        state.waits += 1;
        if self.emulation.fault == Some(Fault::MissesWait(state.waits - 1)) {
            return Ok(());
        }
        let Some(queue) = state.streams.get(before) else {
            return Err(self.lost(&mut state, format!("there is no stream {before}")));
        };
        let count = queue.run + queue.calls.len() as u64;
        drop(state);
        self.queue(waiter, Call::Wait { before, count })
    }

    fn send(&self, stream: Stream, to: u64, source: Source<'_>) -> Result<(), CudaError> {
        let mut bytes = vec![0; source.bytes()];
        source.write(0, &mut bytes);
        self.queue(stream, Call::CopyIn { to, bytes })
    }

    fn copy_out(&self, stream: Stream, from: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        let mut state = self.state();
        self.finish(&mut state, stream)?;
        let inside = |(start, allocation): (&u64, &Allocation)| {
            *start <= from && from + bytes.len() as u64 <= start + allocation.bytes as u64
        };
        if !state.live.iter().any(inside) {
            let reason = format!("a download at {from:#x} is outside of any block");
            return Err(self.lost(&mut state, reason));
        }
        // SAFETY: the range lies in a live allocation, which `bytes` is no part of.
        unsafe {
            std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len());
        }
        if self.emulation.fault == Some(Fault::WrongDownloads) {
            bytes.fill(0xff);
        }
        Ok(())
    }

    fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), CudaError> {
        self.queue(stream, Call::Copy { to, from, bytes: bytes as usize })
    }

    fn clear(&self, stream: Stream, at: u64, bytes: u64) -> Result<(), CudaError> {
        self.queue(stream, Call::Clear { at, bytes: bytes as usize })
    }

    fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Result<(), CudaError> {
        let call = Call::Launch {
            kernel: launch.kernel.to_owned(),
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            arguments: launch.arguments.clone(),
        };
        self.queue(stream, call)
    }

    fn synchronize(&self, stream: Stream) -> Result<(), CudaError> {
        self.finish(&mut self.state(), stream)
    }

    fn mark(&self, stream: Stream) -> Result<Mark, CudaError> {
        let mut state = self.state();
        let mark = state.idle_marks.pop().unwrap_or(state.marks.len());
        let count = state.marks.len().max(mark + 1);
        state.marks.resize(count, None);
        state.marks[mark] = None;
        drop(state);
        self.queue(stream, Call::Mark(mark)).map(|()| mark)
    }

    fn microseconds(&self, from: Mark, to: Mark) -> Result<f64, CudaError> {
        let state = self.state();
        let reached = |mark: Mark| state.marks.get(mark).copied().flatten();
        match (reached(from), reached(to)) {
            (Some(from), Some(to)) => Ok(to.duration_since(from).as_secs_f64() * 1e6),
            _ => Err(CudaError::Call {
                call: "microseconds",
                device: self.device().to_owned(),
                reason: format!("the stream has not reached marks {from} and {to}"),
            }),
        }
    }

    fn forget(&self, mark: Mark) {
        self.state().idle_marks.push(mark);
    }
}

impl Drop for EmulatedDriver {
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut *self.state());
        for (pointer, allocation) in state.live.drain().chain(state.freed.drain()) {
            free(pointer, &allocation);
        }
    }
}
