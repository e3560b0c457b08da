//! The device: buffers, uploads and downloads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ark_ff::{BigInt, PrimeField};
use parking_lot::Mutex;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{DeviceBuffer, DeviceError, HostColumn, Memory, Work, check_start};

use crate::arena::{Account, Arena, At, Block, COMMON, Stay};
use crate::cards::Claim;
use crate::cuda::RealDriver;
use crate::declared;
use crate::driver::{Driver, Launch, Source, Stream};
use crate::emulated::{EmulatedDriver, Emulation};
use crate::error::CudaError;
use crate::launch::{Argument, List, Word};
use crate::ntt::Tables;
use crate::order::{Access, Order};
use crate::program::Programs;
use crate::replay::Replay;
use crate::sizes::commit_bytes;
use crate::watch::{Calls, Watched};

/// Bytes of a field element.
pub(crate) const ELEMENT: u64 = 32;
/// Per cent of a card's free memory that a device uses without a budget. The rest is for the driver and for
/// displays.
const BUDGET_PERCENT: u64 = 92;

/// How to open a device.
#[derive(Debug, Clone, Default)]
pub struct CudaOptions {
    /// Maximum bytes of device memory to use; by default nearly all that are free.
    pub budget_bytes: Option<u64>,
    /// Run row kernels by the interpreter even where there is a generated kernel.
    pub interpret_rows: bool,
    /// Keep every row program that runs, for [`CudaDevice::generated_rows`].
    pub record_rows: bool,
    /// Slices of the tables of multiples that are made of registered bases, 1 for none. By default what makes a
    /// commitment cheapest and fits in a sixteenth of the free memory; none for fewer than 4096 bases, and none
    /// on the emulator.
    pub table_slices: Option<u32>,
    /// Bytes of columns that are uploaded before they are summed, while the next ones travel; by default 16 MiB, about
    /// four columns of 2^17 rows. Fewer bytes overlap more of the uploads, in more launches.
    pub overlap_bytes: Option<u64>,
    /// Digits from which on the digits of a commitment are partitioned before they are sorted; by default 2^22. The
    /// memory for fewer is not planned.
    pub partition_digits: Option<u64>,
    /// Write a table of the time of each kernel on the card to this file; by default the one that
    /// `$ROLLMILL_CUDA_TRACE` names, if it is set. Timing makes proofs slower.
    pub trace: Option<PathBuf>,
}

/// From this size on an upload has its own stream, in which it travels while kernels run.
const UPLOAD_BYTES: usize = 64 << 10;

/// State that all handles of a card share.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) driver: Arc<dyn Driver>,
    /// The same, for its counts.
    watched: Arc<Watched>,
    /// None on the emulator.
    claim: Option<Claim>,
    pub(crate) order: Arc<Order>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) tables: Mutex<Tables>,
    pub(crate) options: CudaOptions,
    pub(crate) programs: Programs,
    /// Row programs by name.
    pub(crate) recorded: Mutex<BTreeMap<String, String>>,
}

/// A handle on an NVIDIA card, or on the emulator, with its own streams.
///
/// Every call may come from any thread. For several proofs at a time open a [`Memory::session`] for
/// each: their queues run concurrently, and the buffers of one can be used in another.
#[derive(Debug)]
pub struct CudaDevice {
    pub(crate) card: Arc<Card>,
    stream: Stream,
    uploads: Stream,
    account: Account,
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        if self.account != COMMON {
            self.card.arena.close(self.account);
        }
        for stream in [self.stream, self.uploads] {
            self.card.order.release_stream(stream);
        }
    }
}

/// Field elements on the device. Copies share memory until one of them is written to.
#[derive(Debug, Clone)]
pub struct CudaBuffer {
    block: Option<Arc<Block>>,
    len: usize,
}

impl CudaBuffer {
    /// The first element; `None` where there are none.
    pub(crate) fn start(&self) -> Option<At<'_>> {
        self.block.as_ref().map(|block| block.start())
    }
}

impl DeviceBuffer for CudaBuffer {
    fn len(&self) -> usize {
        self.len
    }
}

impl CudaDevice {
    /// Opens a card by index (`0`) or by UUID (`GPU-…`, or `MIG-…` for a slice), and loads the kernels.
    ///
    /// # Errors
    /// One each for no driver, a driver too old, an unknown device and kernels that do not load.
    pub fn open(device: &str, image: &[u8], options: &CudaOptions) -> Result<Self, CudaError> {
        let driver = RealDriver::open(device, image)?;
        declared::check_image(image)?;
        let claim = driver.uuid().map(Claim::on);
        Self::with_driver(Arc::new(driver), claim, options)
    }

    /// Opens the emulator.
    ///
    /// # Errors
    /// [`CudaError::Image`] when the library of kernels does not load.
    pub fn emulated(emulation: &Emulation, options: &CudaOptions) -> Result<Self, CudaError> {
        Self::with_driver(Arc::new(EmulatedDriver::open(emulation)?), None, options)
    }

    /// The emulator with a driver that can record a proof and then repeat it without computing anything, which leaves
    /// the time of the host.
    ///
    /// # Errors
    /// As [`Self::emulated`].
    pub fn replayed(
        emulation: &Emulation,
        options: &CudaOptions,
    ) -> Result<(Self, Replay), CudaError> {
        let (driver, replay) = Replay::of(Arc::new(EmulatedDriver::open(emulation)?));
        Ok((Self::with_driver(driver, None, options)?, replay))
    }

    fn with_driver(
        driver: Arc<dyn Driver>,
        claim: Option<Claim>,
        options: &CudaOptions,
    ) -> Result<Self, CudaError> {
        let requested = || std::env::var_os("ROLLMILL_CUDA_TRACE").map(PathBuf::from);
        let trace = options.trace.clone().or_else(requested);
        let watched = Arc::new(Watched::new(driver, trace)?);
        let driver: Arc<dyn Driver> = watched.clone();
        let (free_bytes, _) = driver.memory()?;
        let budget_bytes = match options.budget_bytes {
            Some(budget) => budget.min(free_bytes),
            None => free_bytes / 100 * BUDGET_PERCENT,
        };
        let order = Arc::new(Order::new(driver.clone()));
        let arena = Arc::new(Arena::new(driver.clone(), order.clone(), budget_bytes));
        let (tables, recorded) = (Mutex::default(), Mutex::default());
        let (programs, options) = (Programs::default(), options.clone());
        let card =
            Card { driver, watched, claim, order, arena, tables, options, programs, recorded };
        Self::on(Arc::new(card), COMMON)
    }

    /// Another handle on the card.
    fn on(card: Arc<Card>, account: Account) -> Result<Self, CudaError> {
        let streams = card.order.acquire_stream().and_then(|stream| {
            let uploads = card.order.acquire_stream();
            if uploads.is_err() {
                card.order.release_stream(stream);
            }
            Ok((stream, uploads?))
        });
        match streams {
            Ok((stream, uploads)) => Ok(Self { card, stream, uploads, account }),
            Err(error) => {
                if account != COMMON {
                    card.arena.close(account);
                }
                Err(error)
            }
        }
    }

    /// The card's UUID (`GPU-…` or `MIG-…`), as the driver's other libraries know it; none on the emulator.
    pub fn uuid(&self) -> Option<&str> {
        self.card.driver.uuid()
    }

    /// Bytes of device memory in use, their maximum so far, and the budget.
    pub fn memory_usage(&self) -> (u64, u64, u64) {
        self.card.arena.usage()
    }

    /// Other processes that had this card open when it was opened here. The budgets of all of them can be more than
    /// the card has.
    pub fn others(&self) -> usize {
        self.card.claim.as_ref().map_or(0, Claim::others)
    }

    /// Calls into the driver so far.
    pub fn calls(&self) -> Calls {
        self.card.watched.calls()
    }

    /// How often work in one stream had to wait for work in another.
    pub fn waits(&self) -> u64 {
        self.card.order.waits()
    }

    /// Peak bytes of work on `columns` columns of `n` elements, during a commitment to some of them.
    pub fn peak_bytes(n: usize, columns: usize) -> u64 {
        let columns = columns as u64 * crate::arena::rounded(n as u64 * ELEMENT);
        columns + commit_bytes(n) + crate::ntt::table_bytes(n)
    }

    /// Rejects work that would need more than the free memory, `bytes`, before it starts.
    ///
    /// # Errors
    /// [`DeviceError::Memory`] with both numbers.
    pub fn require_memory(&self, operation: &'static str, bytes: u64) -> Result<(), DeviceError> {
        self.card.arena.require(operation, self.account, bytes)
    }

    /// Waits for all work queued so far through any handle.
    ///
    /// # Errors
    /// The error of the first work that failed.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.done("synchronize", self.card.order.synchronize_all())
    }

    pub(crate) fn done<T>(
        &self,
        operation: &'static str,
        outcome: Result<T, CudaError>,
    ) -> Result<T, DeviceError> {
        outcome.map_err(|error| error.during(operation, self.card.driver.device()))
    }

    pub(crate) fn wrong(&self, operation: &'static str, reason: &str) -> DeviceError {
        let device = self.card.driver.device().to_owned();
        CudaError::WrongResult { device, reason: reason.to_owned() }
            .during(operation, self.card.driver.device())
    }

    /// Memory for `n` items of `size` bytes.
    pub(crate) fn take(
        &self,
        operation: &'static str,
        n: usize,
        size: u64,
    ) -> Result<Block, DeviceError> {
        let bytes = n as u64 * size;
        self.card.arena.take(operation, self.account, self.stream, Stay::Long, bytes)
    }

    /// [`Self::take`] for an operation that releases it before it returns.
    pub(crate) fn take_scratch(
        &self,
        operation: &'static str,
        n: usize,
        size: u64,
    ) -> Result<Block, DeviceError> {
        let bytes = n as u64 * size;
        self.card.arena.take(operation, self.account, self.stream, Stay::Short, bytes)
    }

    /// An uninitialised buffer of `n` elements.
    pub(crate) fn new_buffer(
        &self,
        operation: &'static str,
        n: usize,
    ) -> Result<CudaBuffer, DeviceError> {
        let block = if n == 0 { None } else { Some(Arc::new(self.take(operation, n, ELEMENT)?)) };
        Ok(CudaBuffer { block, len: n })
    }

    /// Runs `threads` threads.
    pub(crate) fn launch(
        &self,
        operation: &'static str,
        kernel: &str,
        block: u32,
        threads: usize,
        arguments: Vec<Argument<'_>>,
    ) -> Result<(), DeviceError> {
        let Ok(blocks) = u32::try_from(threads.div_ceil(block as usize)) else {
            return shape(operation, "at most 2^31 blocks of threads", threads.to_string());
        };
        self.launch_grid(operation, kernel, [blocks, 1, 1], block, 0, arguments)
    }

    pub(crate) fn launch_grid(
        &self,
        operation: &'static str,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        arguments: Vec<Argument<'_>>,
    ) -> Result<(), DeviceError> {
        let mut uses = Vec::new();
        let arguments = arguments.iter().map(|argument| argument.resolve(&mut uses)).collect();
        let launch = Launch { kernel, grid, block, shared_bytes, arguments };
        self.done(operation, launch.check(self.card.driver.device()))?;
        self.done(operation, declared::check(&launch, self.card.driver.device()))?;
        let launched = self
            .card
            .order
            .enqueue(self.stream, &uses, |driver| driver.launch(self.stream, &launch));
        self.done(operation, launched)
    }

    /// Copies within the device.
    pub(crate) fn copy(
        &self,
        operation: &'static str,
        to: At<'_>,
        from: At<'_>,
        bytes: u64,
    ) -> Result<(), DeviceError> {
        let uses = [to.used(Access::Write), from.used(Access::Read)];
        let copied = self.card.order.enqueue(self.stream, &uses, |driver| {
            driver.copy(self.stream, to.address(), from.address(), bytes)
        });
        self.done(operation, copied)
    }

    /// Sets bytes to zero.
    pub(crate) fn clear(
        &self,
        operation: &'static str,
        at: At<'_>,
        bytes: u64,
    ) -> Result<(), DeviceError> {
        let cleared = self.card.order.enqueue(self.stream, &[at.used(Access::Write)], |driver| {
            driver.clear(self.stream, at.address(), bytes)
        });
        self.done(operation, cleared)
    }

    fn send(
        &self,
        operation: &'static str,
        stream: Stream,
        to: At<'_>,
        source: Source<'_>,
    ) -> Result<(), DeviceError> {
        let sent = self.card.order.enqueue(stream, &[to.used(Access::Write)], |driver| {
            driver.send(stream, to.address(), source)
        });
        self.done(operation, sent)
    }

    /// Copies a source into a new block.
    fn upload_from(
        &self,
        operation: &'static str,
        source: Source<'_>,
    ) -> Result<Block, DeviceError> {
        let bytes = source.bytes();
        let stream = if bytes < UPLOAD_BYTES { self.stream } else { self.uploads };
        let (account, stay) = (self.account, Stay::Long);
        let block = self.card.arena.take(operation, account, stream, stay, bytes as u64)?;
        self.send(operation, stream, block.start(), source)?;
        Ok(block)
    }

    /// Copies bytes into a new block.
    pub(crate) fn upload_bytes(
        &self,
        operation: &'static str,
        bytes: &[u8],
    ) -> Result<Block, DeviceError> {
        self.upload_from(operation, Source::Bytes(bytes))
    }

    /// Words for a kernel to read, addresses among them.
    pub(crate) fn upload_list<'a>(
        &self,
        operation: &'static str,
        words: Vec<Word<'a>>,
    ) -> Result<List<'a>, DeviceError> {
        List::new(words, |words| self.upload_from(operation, Source::Words(words)))
    }

    pub(crate) fn upload_elements(
        &self,
        operation: &'static str,
        values: &[Fr],
    ) -> Result<Block, DeviceError> {
        self.upload_from(operation, Source::Elements(values))
    }

    /// Copies a column into a new buffer.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when its `start` is past its end.
    pub(crate) fn upload_column(
        &self,
        operation: &'static str,
        column: HostColumn<'_>,
    ) -> Result<CudaBuffer, DeviceError> {
        check_start(column.start, column.values.len())?;
        let len = column.elements();
        let block = match len {
            0 => None,
            _ => Some(Arc::new(self.upload_from(operation, Source::Column(column))?)),
        };
        Ok(CudaBuffer { block, len })
    }

    pub(crate) fn download_words(
        &self,
        operation: &'static str,
        from: At<'_>,
        words: usize,
    ) -> Result<Vec<u64>, DeviceError> {
        let mut bytes = vec![0; 8 * words];
        let (uses, _) = from.used(Access::Read);
        let copied = self.card.order.read_out(self.stream, uses, |driver| {
            driver.copy_out(self.stream, from.address(), &mut bytes)
        });
        self.done(operation, copied)?;
        Ok(bytes
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b)))
            .collect())
    }

    pub(crate) fn download_elements(
        &self,
        operation: &'static str,
        from: At<'_>,
        n: usize,
    ) -> Result<Vec<Fr>, DeviceError> {
        let words = self.download_words(operation, from, 4 * n)?;
        let element = |limbs: &[u64]| {
            let number = BigInt([limbs[0], limbs[1], limbs[2], limbs[3]]);
            if number >= Fr::MODULUS {
                return Err(self.wrong(operation, "a field element is not below the modulus"));
            }
            Ok(Fr::new_unchecked(number))
        };
        words.chunks_exact(4).map(element).collect()
    }

    /// Makes `buffer` the only owner of its memory.
    pub(crate) fn make_own(
        &self,
        operation: &'static str,
        buffer: &mut CudaBuffer,
    ) -> Result<(), DeviceError> {
        if let Some(block) = &mut buffer.block
            && Arc::get_mut(block).is_none()
        {
            let bytes = buffer.len as u64 * ELEMENT;
            let copy = self.take(operation, 1, bytes)?;
            self.copy(operation, copy.start(), block.start(), bytes)?;
            *block = Arc::new(copy);
        }
        Ok(())
    }
}

pub(crate) fn shape<T>(
    operation: &'static str,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Result<T, DeviceError> {
    Err(DeviceError::Shape { operation, expected: expected.into(), got: got.into() })
}

/// The common length of all `buffers`; zero when there are none.
pub(crate) fn common_len<'a>(
    operation: &'static str,
    buffers: impl IntoIterator<Item = &'a CudaBuffer>,
) -> Result<usize, DeviceError> {
    let mut lengths = buffers.into_iter().map(DeviceBuffer::len);
    let Some(first) = lengths.next() else { return Ok(0) };
    match lengths.find(|len| *len != first) {
        None => Ok(first),
        Some(other) => shape(operation, format!("columns of length {first}"), format!("{other}")),
    }
}

impl Memory for CudaDevice {
    type Buffer = CudaBuffer;

    fn name(&self) -> String {
        let kind = if self.card.driver.is_emulated() { "cuda-emulated" } else { "cuda" };
        format!("{kind}({})", self.card.driver.device())
    }

    fn session(&self, work: Work) -> Result<Option<Self>, DeviceError> {
        let bytes = Self::peak_bytes(work.n, work.columns);
        let account = self.card.arena.open(work.name, bytes)?;
        let session = Self::on(self.card.clone(), account);
        self.done(work.name, session).map(Some)
    }

    fn keep(&self, buffers: &[&CudaBuffer]) -> bool {
        let blocks: Vec<&Block> = buffers.iter().filter_map(|b| b.block.as_deref()).collect();
        self.card.arena.keep(&blocks)
    }

    fn memory_bytes(&self) -> Option<u64> {
        Some(self.card.arena.usage().2)
    }

    fn upload(&self, values: &[Fr]) -> Result<CudaBuffer, DeviceError> {
        let block = match values {
            [] => None,
            _ => Some(Arc::new(self.upload_elements("upload", values)?)),
        };
        Ok(CudaBuffer { block, len: values.len() })
    }

    fn upload_u16(&self, values: &[u16]) -> Result<CudaBuffer, DeviceError> {
        let buffer = self.new_buffer("upload_u16", values.len())?;
        if let Some(to) = buffer.start() {
            let small = self.upload_from("upload_u16", Source::Small(values))?;
            let arguments = vec![
                Argument::Out(to),
                Argument::In(small.start()),
                Argument::U64(values.len() as u64),
            ];
            self.launch("upload_u16", "vector_from_u16", 256, values.len(), arguments)?;
        }
        Ok(buffer)
    }

    fn download(&self, buffer: &CudaBuffer) -> Result<Vec<Fr>, DeviceError> {
        match buffer.start() {
            Some(from) => self.download_elements("download", from, buffer.len()),
            None => Ok(Vec::new()),
        }
    }

    fn write(
        &self,
        buffer: &mut CudaBuffer,
        start: usize,
        values: &[Fr],
    ) -> Result<(), DeviceError> {
        const OP: &str = "write";
        check_start(start, buffer.len)?;
        let len = buffer.len.max(start + values.len());
        if len > buffer.len {
            let longer = self.new_buffer(OP, len)?;
            if let (Some(to), Some(from)) = (longer.start(), buffer.start()) {
                self.copy(OP, to, from, start as u64 * ELEMENT)?;
            }
            *buffer = longer;
        } else {
            self.make_own(OP, buffer)?;
        }
        match buffer.start() {
            Some(to) if !values.is_empty() => {
                let to = to.plus(start as u64 * ELEMENT);
                self.send(OP, self.stream, to, Source::Elements(values))
            }
            _ => Ok(()),
        }
    }
}
