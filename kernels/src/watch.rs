//! A driver between the device and another one. It counts the calls, and on request times them on the card.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::driver::{Driver, Launch, Mark, Source, Stream};
use crate::error::CudaError;

/// Calls after which the table is written again.
const WRITE_EVERY: u64 = 4096;

/// Calls into a driver so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Kernels launched.
    pub launches: u64,
    /// Fills of memory with zeros.
    pub clears: u64,
    /// Copies within the device.
    pub copies: u64,
    /// Copies to the device, and their bytes.
    pub uploads: u64,
    pub uploaded_bytes: u64,
    /// Copies to the host, each of which waits for its stream.
    pub downloads: u64,
    /// Other waits of the host for a stream.
    pub synchronizations: u64,
    /// Blocks of memory taken from the driver, and returned to it.
    pub allocations: u64,
    pub releases: u64,
}

impl Calls {
    /// Those after `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            launches: self.launches - before.launches,
            clears: self.clears - before.clears,
            copies: self.copies - before.copies,
            uploads: self.uploads - before.uploads,
            uploaded_bytes: self.uploaded_bytes - before.uploaded_bytes,
            downloads: self.downloads - before.downloads,
            synchronizations: self.synchronizations - before.synchronizations,
            allocations: self.allocations - before.allocations,
            releases: self.releases - before.releases,
        }
    }
}

/// The driver that counts.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn Driver>,
    calls: Mutex<Calls>,
    trace: Option<Trace>,
}

impl Watched {
    /// With a path, the table of times is written there: again and again, and when the device is closed.
    pub(crate) fn new(inner: Arc<dyn Driver>, trace: Option<PathBuf>) -> Result<Self, CudaError> {
        let trace = trace.map(|path| Trace::open(path, inner.device())).transpose()?;
        Ok(Self { inner, calls: Mutex::default(), trace })
    }

    pub(crate) fn calls(&self) -> Calls {
        *self.calls.lock()
    }

    fn count(&self, add: impl FnOnce(&mut Calls)) {
        add(&mut self.calls.lock());
    }

    /// Queues a call between two marks.
    fn timed(
        &self,
        stream: Stream,
        name: &str,
        call: impl FnOnce(&dyn Driver) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let Some(trace) = &self.trace else { return call(&*self.inner) };
        let from = self.inner.mark(stream)?;
        call(&*self.inner)?;
        let to = self.inner.mark(stream)?;
        trace.lines.lock().push(stream, Timed { name: name.to_owned(), from, to });
        Ok(())
    }

    /// Makes a call that waits for the stream, and reads the times of what was queued before.
    fn waiting(
        &self,
        stream: Stream,
        call: impl FnOnce(&dyn Driver) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let Some(trace) = &self.trace else { return call(&*self.inner) };
        let queued = trace.lines.lock().of(stream).queued;
        call(&*self.inner)?;
        let mut lines = trace.lines.lock();
        lines.read(stream, queued, &*self.inner)?;
        if lines.unwritten >= WRITE_EVERY {
            lines.unwritten = 0;
            // The next time may succeed; a trace is no reason for a proof to fail.
            let _ = trace.write(&lines);
        }
        Ok(())
    }
}

impl Driver for Watched {
    fn device(&self) -> &str {
        self.inner.device()
    }

    fn uuid(&self) -> Option<&str> {
        self.inner.uuid()
    }

    fn is_emulated(&self) -> bool {
        self.inner.is_emulated()
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
        self.count(|calls| calls.allocations += 1);
        self.inner.allocate(bytes)
    }

    fn release(&self, pointer: u64) -> Result<(), CudaError> {
        self.count(|calls| calls.releases += 1);
        self.inner.release(pointer)
    }

    fn new_stream(&self) -> Result<Stream, CudaError> {
        self.inner.new_stream()
    }

    fn wait(&self, waiter: Stream, before: Stream) -> Result<(), CudaError> {
        self.inner.wait(waiter, before)
    }

    fn send(&self, stream: Stream, to: u64, source: Source<'_>) -> Result<(), CudaError> {
        self.count(|calls| {
            calls.uploads += 1;
            calls.uploaded_bytes += source.bytes() as u64;
        });
        self.timed(stream, "copy to the device", |driver| driver.send(stream, to, source))
    }

    fn copy_out(&self, stream: Stream, from: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.count(|calls| calls.downloads += 1);
        self.timed(stream, "copy to the host", |_| {
            self.waiting(stream, |driver| driver.copy_out(stream, from, bytes))
        })
    }

    fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), CudaError> {
        self.count(|calls| calls.copies += 1);
        self.timed(stream, "copy", |driver| driver.copy(stream, to, from, bytes))
    }

    fn clear(&self, stream: Stream, at: u64, bytes: u64) -> Result<(), CudaError> {
        self.count(|calls| calls.clears += 1);
        self.timed(stream, "fill", |driver| driver.clear(stream, at, bytes))
    }

    fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Result<(), CudaError> {
        self.count(|calls| calls.launches += 1);
        self.timed(stream, launch.kernel, |driver| driver.launch(stream, launch))
    }

    fn synchronize(&self, stream: Stream) -> Result<(), CudaError> {
        self.count(|calls| calls.synchronizations += 1);
        self.waiting(stream, |driver| driver.synchronize(stream))
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

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(trace) = &self.trace else { return };
        let mut lines = trace.lines.lock();
        for stream in 0..lines.streams.len() {
            let queued = lines.of(stream).queued;
            // The device is being closed, or was lost: what can still be read is written.
            if self.inner.synchronize(stream).is_ok() {
                let _ = lines.read(stream, queued, &*self.inner);
            }
        }
        let _ = trace.write(&lines);
    }
}

/// The times of calls, and the file of their table.
#[derive(Debug)]
struct Trace {
    path: PathBuf,
    device: String,
    lines: Mutex<Lines>,
}

/// Times by call, and what is not read yet.
#[derive(Debug, Default)]
struct Lines {
    streams: Vec<Line>,
    sums: BTreeMap<String, Sums>,
    /// Calls read since the table was written.
    unwritten: u64,
}

/// A stream's calls in their order.
#[derive(Debug, Default)]
struct Line {
    open: VecDeque<Timed>,
    /// Calls queued so far, and of these read.
    queued: u64,
    read: u64,
    /// The end of the last one that was read.
    last: Option<Mark>,
}

#[derive(Debug)]
struct Timed {
    name: String,
    from: Mark,
    to: Mark,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    calls: u64,
    microseconds: f64,
    /// In which the stream had nothing to do before these calls.
    gaps: f64,
}

impl Lines {
    fn of(&mut self, stream: Stream) -> &mut Line {
        if self.streams.len() <= stream {
            self.streams.resize_with(stream + 1, Line::default);
        }
        &mut self.streams[stream]
    }

    fn push(&mut self, stream: Stream, timed: Timed) {
        let line = self.of(stream);
        line.queued += 1;
        line.open.push_back(timed);
    }

    /// Adds up the first `queued` calls of a stream, which have run.
    fn read(&mut self, stream: Stream, queued: u64, driver: &dyn Driver) -> Result<(), CudaError> {
        self.of(stream);
        let Self { streams, sums, unwritten } = self;
        let line = &mut streams[stream];
        while line.read < queued {
            let Some(Timed { name, from, to }) = line.open.pop_front() else { break };
            line.read += 1;
            *unwritten += 1;
            let took = driver.microseconds(from, to)?;
            let gap = line.last.map_or(Ok(0.0), |last| driver.microseconds(last, from))?;
            let sum = sums.entry(name).or_default();
            sum.calls += 1;
            sum.microseconds += took;
            sum.gaps += gap;
            driver.forget(from);
            if let Some(last) = line.last.replace(to) {
                driver.forget(last);
            }
        }
        Ok(())
    }

    /// The table in Markdown, what takes longest first.
    fn table(&self, device: &str) -> String {
        let mut rows: Vec<(&String, &Sums)> = self.sums.iter().collect();
        rows.sort_by(|a, b| b.1.microseconds.total_cmp(&a.1.microseconds));
        let busy: f64 = rows.iter().map(|(_, sum)| sum.microseconds).sum();
        let gaps: f64 = rows.iter().map(|(_, sum)| sum.gaps).sum();
        let mut text = format!(
            "{device}: calls took {busy:.0} µs, all streams together; in {gaps:.0} µs a stream had nothing to do\n\n\
             | call | calls | µs | µs each | % | gaps before, µs |\n| --- | --- | --- | --- | --- | --- |\n"
        );
        for (name, Sums { calls, microseconds, gaps }) in rows {
            let each = microseconds / *calls as f64;
            let share = 100.0 * microseconds / busy.max(1e-9);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {name} | {calls} | {microseconds:.1} | {each:.2} | {share:.1} | {gaps:.1} |"
            );
        }
        text
    }
}

impl Trace {
    fn open(path: PathBuf, device: &str) -> Result<Self, CudaError> {
        let trace = Self { path, device: device.to_owned(), lines: Mutex::default() };
        let written = trace.write(&trace.lines.lock());
        written.map_err(|error| CudaError::Call {
            call: "ROLLMILL_CUDA_TRACE",
            device: device.to_owned(),
            reason: format!("cannot write {}: {error}", trace.path.display()),
        })?;
        Ok(trace)
    }

    /// In one step, so that whoever ends the process leaves a whole table.
    fn write(&self, lines: &Lines) -> std::io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        std::fs::write(&new, lines.table(&self.device))?;
        std::fs::rename(Path::new(&new), &self.path)
    }
}
