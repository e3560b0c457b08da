//! A driver that repeats what another one returned and does nothing else, to measure the host by itself.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::copying::{copy_threads, in_parts};
use crate::driver::{Driver, Launch, Mark, Source, Stream};
use crate::error::CudaError;

/// Bytes of memory that a thread writes uploads to, over and over, as a driver's pinned memory is.
const SCRATCH: usize = 1 << 20;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Through,
    Recording,
    Repeating,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    /// What came from the device, in order.
    downloads: Vec<Vec<u8>>,
    next: usize,
    /// Of the threads that copy, while none of them has it.
    scratch: Vec<Vec<u8>>,
    /// How long copies took since [`Replay::repeat`].
    copying: Duration,
}

/// The driver between the device and the one that computes.
#[derive(Debug)]
pub(crate) struct Replayed {
    inner: Arc<dyn Driver>,
    state: Mutex<State>,
}

/// Says what the driver of [`CudaDevice::replayed`](crate::CudaDevice::replayed) does.
#[derive(Debug, Clone)]
pub struct Replay {
    driver: Arc<Replayed>,
}

impl Replay {
    pub(crate) fn of(inner: Arc<dyn Driver>) -> (Arc<Replayed>, Self) {
        let driver = Arc::new(Replayed { inner, state: Mutex::default() });
        (driver.clone(), Self { driver })
    }

    /// From now on, what is downloaded is kept. Only one thread may use the device.
    pub fn record(&self) {
        *self.driver.state.lock() = State { mode: Mode::Recording, ..State::default() };
    }

    /// From now on nothing is computed, and what was recorded is downloaded again, from its beginning.
    pub fn repeat(&self) {
        let mut state = self.driver.state.lock();
        (state.mode, state.next, state.copying) = (Mode::Repeating, 0, Duration::ZERO);
    }

    /// How long the host has copied what it uploads since [`Self::repeat`].
    pub fn copying(&self) -> Duration {
        self.driver.state.lock().copying
    }
}

impl Replayed {
    fn repeats(&self) -> bool {
        self.state.lock().mode == Mode::Repeating
    }

    fn through(
        &self,
        call: impl FnOnce(&dyn Driver) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        if self.repeats() { Ok(()) } else { call(&*self.inner) }
    }
}

impl Driver for Replayed {
    fn device(&self) -> &str {
        self.inner.device()
    }

    fn is_emulated(&self) -> bool {
        true
    }

    fn multiprocessors(&self) -> u32 {
        self.inner.multiprocessors()
    }

    fn limb_products(&self) -> Option<u64> {
        self.inner.limb_products()
    }

    fn memory(&self) -> Result<(u64, u64), CudaError> {
        self.inner.memory()
    }

    fn allocate(&self, bytes: u64) -> Result<u64, CudaError> {
        self.inner.allocate(bytes)
    }

    fn release(&self, pointer: u64) -> Result<(), CudaError> {
        self.inner.release(pointer)
    }

    fn new_stream(&self) -> Result<Stream, CudaError> {
        self.inner.new_stream()
    }

    fn wait(&self, waiter: Stream, before: Stream) -> Result<(), CudaError> {
        self.through(|driver| driver.wait(waiter, before))
    }

    fn send(&self, stream: Stream, to: u64, source: Source<'_>) -> Result<(), CudaError> {
        if !self.repeats() {
            return self.inner.send(stream, to, source);
        }
        // By as many threads as a card's driver takes.
        let copy = |part: Range<usize>| {
            let kept = self.state.lock().scratch.pop();
            let mut scratch = kept.unwrap_or_else(|| vec![0; SCRATCH]);
            for at in part.clone().step_by(SCRATCH) {
                source.write(at, &mut scratch[..SCRATCH.min(part.end - at)]);
            }
            std::hint::black_box(&scratch);
            self.state.lock().scratch.push(scratch);
            Ok(true)
        };
        let panicked = || CudaError::Call {
            call: "replay",
            device: self.device().to_owned(),
            reason: "a thread that copies panicked".to_owned(),
        };
        let started = Instant::now();
        let copied = in_parts(source.bytes(), SCRATCH, copy_threads(), copy, panicked);
        self.state.lock().copying += started.elapsed();
        copied.map(drop)
    }

    fn copy_out(&self, stream: Stream, from: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        let mut state = self.state.lock();
        if state.mode != Mode::Repeating {
            self.inner.copy_out(stream, from, bytes)?;
            if state.mode == Mode::Recording {
                state.downloads.push(bytes.to_vec());
            }
            return Ok(());
        }
        let State { downloads, next, .. } = &mut *state;
        match downloads.get(*next).filter(|held| held.len() == bytes.len()) {
            Some(held) => bytes.copy_from_slice(held),
            None => {
                return Err(CudaError::Call {
                    call: "replay",
                    device: self.device().to_owned(),
                    reason: format!("download {next} of {} B was not recorded", bytes.len()),
                });
            }
        }
        *next += 1;
        Ok(())
    }

    fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), CudaError> {
        self.through(|driver| driver.copy(stream, to, from, bytes))
    }

    fn clear(&self, stream: Stream, at: u64, bytes: u64) -> Result<(), CudaError> {
        self.through(|driver| driver.clear(stream, at, bytes))
    }

    fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Result<(), CudaError> {
        self.through(|driver| driver.launch(stream, launch))
    }

    fn synchronize(&self, stream: Stream) -> Result<(), CudaError> {
        self.through(|driver| driver.synchronize(stream))
    }

    fn mark(&self, stream: Stream) -> Result<Mark, CudaError> {
        self.inner.mark(stream)
    }

    fn microseconds(&self, from: Mark, to: Mark) -> Result<f64, CudaError> {
        self.inner.microseconds(from, to)
    }

    fn forget(&self, mark: Mark) {
        self.inner.forget(mark);
    }
}
