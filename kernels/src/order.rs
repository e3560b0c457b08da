//! The order of work in different streams.
//!
//! Every block records its uses: which stream wrote it last, and which streams have read it since. Before a
//! call is queued, its stream waits for the uses of its blocks, in other streams, that may not have finished.
//! A call reaches a driver's queue only through [`Order::enqueue`], which takes the blocks themselves, so no
//! operation can forget a wait. A dropped block keeps its uses when it is allocated again
//! ([`crate::arena`]).
//!
//! Why it is enough to record a use after its call was queued: by Rust's borrowing rules a writer borrows a
//! block exclusively, and readers share it, until their call returns. So the next use of a block, in any
//! thread, comes after the record.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::driver::{Driver, Stream};
use crate::error::CudaError;

/// A position in a stream's queue: after its first `count` calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    stream: Stream,
    count: u64,
}

/// The uses of a block that may not have finished.
#[derive(Debug, Default, Clone)]
pub(crate) struct Uses {
    written: Option<Point>,
    /// Reads since then, one per stream.
    read: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Uses {
    fn before(&self, access: Access) -> impl Iterator<Item = Point> {
        let read = if access == Access::Write { &self.read[..] } else { &[] };
        self.written.into_iter().chain(read.iter().copied())
    }

    fn note(&mut self, access: Access, point: Point) {
        if access == Access::Write {
            // It waited for all others, so waiting for it means waiting for them.
            *self = Self { written: Some(point), read: Vec::new() };
            return;
        }
        match self.read.iter_mut().find(|read| read.stream == point.stream) {
            Some(read) => read.count = read.count.max(point.count),
            None => self.read.push(point),
        }
    }
}

/// The streams of a card.
#[derive(Debug)]
pub(crate) struct Order {
    driver: Arc<dyn Driver>,
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    /// Calls queued, by stream.
    queued: Vec<u64>,
    /// Calls that have finished, as far as the host knows.
    ended: Vec<u64>,
    /// `passed[s][t]`: calls of t that every later call of s comes after.
    passed: Vec<Vec<u64>>,
    /// Streams that are not in use.
    idle: Vec<Stream>,
    waits: u64,
}

impl Streams {
    /// Whether a call queued in `stream` now could start before `point` is reached.
    fn is_open(&self, stream: Stream, point: Point) -> bool {
        let Point { stream: other, count } = point;
        other != stream && count > self.ended[other].max(self.passed[stream][other])
    }
}

impl Order {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Self {
        Self { driver, streams: Mutex::default() }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock()
    }

    /// Returns a stream for one owner, perhaps one that an earlier owner released.
    pub(crate) fn acquire_stream(&self) -> Result<Stream, CudaError> {
        let mut streams = self.streams();
        if let Some(stream) = streams.idle.pop() {
            return Ok(stream);
        }
        let stream = self.driver.new_stream()?;
        let count = stream + 1;
        streams.queued.resize(count, 0);
        streams.ended.resize(count, 0);
        streams.passed.resize(count, Vec::new());
        streams.passed.iter_mut().for_each(|passed| passed.resize(count, 0));
        Ok(stream)
    }

    /// What is still queued in it stays in order with what the next owner queues.
    pub(crate) fn release_stream(&self, stream: Stream) {
        self.streams().idle.push(stream);
    }

    /// How often a stream was made to wait for another.
    pub(crate) fn waits(&self) -> u64 {
        self.streams().waits
    }

    /// Whether work in `stream` may write a block of these uses without waiting.
    pub(crate) fn is_ready(&self, stream: Stream, uses: &Uses) -> bool {
        let streams = self.streams();
        !uses.before(Access::Write).any(|point| streams.is_open(stream, point))
    }

    fn wait_for(&self, stream: Stream, uses: &[(&Mutex<Uses>, Access)]) -> Result<(), CudaError> {
        let mut streams = self.streams();
        for (block, access) in uses {
            let block = block.lock();
            for point in block.before(*access) {
                if streams.is_open(stream, point) {
                    // Waits for everything queued there so far, which may be more than `point`, never
                    // less.
                    self.driver.wait(stream, point.stream)?;
                    streams.passed[stream][point.stream] = streams.queued[point.stream];
                    streams.waits += 1;
                }
            }
        }
        Ok(())
    }

    /// Queues `call`, which uses the blocks of `uses`, after all the work it depends on.
    pub(crate) fn enqueue(
        &self,
        stream: Stream,
        uses: &[(&Mutex<Uses>, Access)],
        call: impl FnOnce(&dyn Driver) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        self.wait_for(stream, uses)?;
        // Without the lock, since a copy may take long. A failed call may have started, so it is
        // recorded too.
        let outcome = call(&*self.driver);
        let mut streams = self.streams();
        streams.queued[stream] += 1;
        let point = Point { stream, count: streams.queued[stream] };
        for (block, access) in uses {
            block.lock().note(*access, point);
        }
        outcome
    }

    /// Runs `call`, which waits for the stream and then reads the block of `uses` to its end.
    pub(crate) fn read_out(
        &self,
        stream: Stream,
        uses: &Mutex<Uses>,
        call: impl FnOnce(&dyn Driver) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        self.wait_for(stream, &[(uses, Access::Read)])?;
        self.waiting(stream, call)
    }

    /// Waits for all that is queued in a stream.
    pub(crate) fn synchronize(&self, stream: Stream) -> Result<(), CudaError> {
        self.waiting(stream, |driver| driver.synchronize(stream))
    }

    /// Waits until the uses of a block have ended.
    pub(crate) fn finish(&self, uses: &Uses) -> Result<(), CudaError> {
        uses.before(Access::Write).try_for_each(|Point { stream, count }| {
            let has_ended = self.streams().ended[stream] >= count;
            if has_ended { Ok(()) } else { self.synchronize(stream) }
        })
    }

    /// Waits for all streams.
    pub(crate) fn synchronize_all(&self) -> Result<(), CudaError> {
        let count = self.streams().queued.len();
        (0..count).try_for_each(|stream| self.synchronize(stream))
    }

    /// Runs `call`, which waits for the stream, and records the calls that have finished.
    fn waiting(
        &self,
        stream: Stream,
        call: impl FnOnce(&dyn Driver) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let (queued, mut passed) = {
            let streams = self.streams();
            (streams.queued[stream], streams.passed[stream].clone())
        };
        call(&*self.driver)?;
        passed[stream] = queued;
        let mut streams = self.streams();
        for (ended, passed) in streams.ended.iter_mut().zip(passed) {
            *ended = passed.max(*ended);
        }
        Ok(())
    }
}
