//! The device: buffers, uploads and downloads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ark_ff::{BigInt, PrimeField};
use rollmill_algebra::Fr;
use rollmill_algebra::device::{DeviceBuffer, DeviceError, Memory};

use crate::arena::{Arena, Block};
use crate::cuda::RealDriver;
use crate::driver::{Argument, Driver, Launch};
use crate::emulated::{EmulatedDriver, Emulation};
use crate::error::CudaError;
use crate::msm::commit_bytes;
use crate::ntt::Tables;

/// Bytes of a field element.
pub(crate) const ELEMENT: u64 = 32;
/// Part of a card's free memory that a device takes when no budget is given, in hundredths: the rest
/// is for the driver itself and for whoever shows pictures.
const BUDGET_PERCENT: u64 = 92;

/// Columns that the prover holds at its peak, with those of the circuit's key: in the quotient, where
/// all polynomials are there by coefficients and by values on a coset.
pub const PROOF_COLUMNS: usize = 120;

/// How to open a device.
#[derive(Debug, Clone, Default)]
pub struct CudaOptions {
    /// Most bytes of device memory to use; by default nearly all that are free.
    pub budget_bytes: Option<u64>,
    /// Run row kernels by the interpreter even where there is a generated kernel.
    pub interpret_rows: bool,
    /// Keep every row program that runs, for [`CudaDevice::generated_rows`].
    pub record_rows: bool,
}

/// Field and curve work on one stream of an NVIDIA card, or on the emulator.
///
/// Every call may come from any thread. For several proofs at a time open the card several times:
/// each has a stream, and its budget should be its share.
#[derive(Debug)]
pub struct CudaDevice {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) tables: Mutex<Tables>,
    pub(crate) options: CudaOptions,
    /// Row programs by name.
    pub(crate) recorded: Mutex<BTreeMap<String, String>>,
}

/// Field elements on the device. Copies share memory until one of them is written to.
#[derive(Debug, Clone)]
pub struct CudaBuffer {
    block: Option<Arc<Block>>,
    len: usize,
}

impl CudaBuffer {
    /// Address of the first element; null for none.
    pub(crate) fn pointer(&self) -> u64 {
        self.block.as_ref().map_or(0, |block| block.pointer())
    }
}

impl DeviceBuffer for CudaBuffer {
    fn len(&self) -> usize {
        self.len
    }
}

impl CudaDevice {
    /// Opens a card by index (`0`) or by UUID (`GPU-…`), and loads the kernels.
    ///
    /// # Errors
    /// One each for no driver, a driver too old, an unknown device and kernels that do not load.
    pub fn open(device: &str, image: &[u8], options: &CudaOptions) -> Result<Self, CudaError> {
        Self::with_driver(Arc::new(RealDriver::open(device, image)?), options)
    }

    /// Opens the emulator.
    ///
    /// # Errors
    /// [`CudaError::Image`] when the library of kernels does not load.
    pub fn emulated(emulation: &Emulation, options: &CudaOptions) -> Result<Self, CudaError> {
        Self::with_driver(Arc::new(EmulatedDriver::open(emulation)?), options)
    }

    fn with_driver(driver: Arc<dyn Driver>, options: &CudaOptions) -> Result<Self, CudaError> {
        let (free_bytes, _) = driver.memory()?;
        let budget_bytes = match options.budget_bytes {
            Some(budget) => budget.min(free_bytes),
            None => free_bytes / 100 * BUDGET_PERCENT,
        };
        let arena = Arc::new(Arena::new(driver.clone(), budget_bytes));
        Ok(Self {
            driver,
            arena,
            tables: Mutex::default(),
            options: options.clone(),
            recorded: Mutex::default(),
        })
    }

    /// The card's UUID (`GPU-…`), as the driver's other libraries know it; none on the emulator.
    pub fn uuid(&self) -> Option<&str> {
        self.driver.uuid()
    }

    /// Bytes of device memory in use, the most there were, and the budget.
    pub fn memory_usage(&self) -> (u64, u64, u64) {
        self.arena.usage()
    }

    /// Bytes that work on `columns` columns of `n` elements takes at its peak, with a commitment to
    /// one of them going on. For a proof see [`PROOF_COLUMNS`].
    pub fn peak_bytes(n: usize, columns: usize) -> u64 {
        // Tables of powers: the roots', and those of the cosets of a proof.
        let tables = (2 << 14) * ELEMENT + 16 * ELEMENT * (n as u64).min(1 << 15);
        columns as u64 * crate::arena::rounded(n as u64 * ELEMENT) + commit_bytes(n) + tables
    }

    /// Refuses work that will need `bytes` more than is free, before it begins.
    ///
    /// # Errors
    /// [`DeviceError::Memory`] with both numbers.
    pub fn require_memory(&self, operation: &'static str, bytes: u64) -> Result<(), DeviceError> {
        self.arena.require(operation, bytes)
    }

    /// Waits for all work queued so far.
    ///
    /// # Errors
    /// Whatever that work failed with.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.done("synchronize", self.driver.synchronize())
    }

    pub(crate) fn done<T>(
        &self,
        operation: &'static str,
        outcome: Result<T, CudaError>,
    ) -> Result<T, DeviceError> {
        outcome.map_err(|error| error.during(operation, self.driver.device()))
    }

    pub(crate) fn wrong(&self, operation: &'static str, reason: &str) -> DeviceError {
        let device = self.driver.device().to_owned();
        CudaError::WrongResult { device, reason: reason.to_owned() }
            .during(operation, self.driver.device())
    }

    /// Memory for `n` things of `size` bytes.
    pub(crate) fn take(
        &self,
        operation: &'static str,
        n: usize,
        size: u64,
    ) -> Result<Block, DeviceError> {
        self.arena.take(operation, n as u64 * size)
    }

    /// A buffer of `n` elements yet to be written.
    pub(crate) fn new_buffer(
        &self,
        operation: &'static str,
        n: usize,
    ) -> Result<CudaBuffer, DeviceError> {
        let block = if n == 0 { None } else { Some(Arc::new(self.take(operation, n, ELEMENT)?)) };
        Ok(CudaBuffer { block, len: n })
    }

    /// Runs one thread for each of `threads` things.
    pub(crate) fn launch(
        &self,
        operation: &'static str,
        kernel: &str,
        block: u32,
        threads: usize,
        arguments: Vec<Argument>,
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
        arguments: Vec<Argument>,
    ) -> Result<(), DeviceError> {
        let launch = Launch { kernel, grid, block, shared_bytes, arguments };
        self.done(operation, launch.check(self.driver.device()))?;
        self.done(operation, self.driver.launch(&launch))
    }

    /// Copies bytes into a block of their own.
    pub(crate) fn upload_bytes(
        &self,
        operation: &'static str,
        bytes: &[u8],
    ) -> Result<Block, DeviceError> {
        let block = self.take(operation, bytes.len(), 1)?;
        self.done(operation, self.driver.copy_in(block.pointer(), bytes))?;
        Ok(block)
    }

    pub(crate) fn upload_words(
        &self,
        operation: &'static str,
        words: &[u64],
    ) -> Result<Block, DeviceError> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.upload_bytes(operation, &bytes)
    }

    pub(crate) fn upload_elements(
        &self,
        operation: &'static str,
        values: &[Fr],
    ) -> Result<Block, DeviceError> {
        self.upload_bytes(operation, &element_bytes(values))
    }

    pub(crate) fn download_words(
        &self,
        operation: &'static str,
        from: u64,
        words: usize,
    ) -> Result<Vec<u64>, DeviceError> {
        let mut bytes = vec![0; 8 * words];
        self.done(operation, self.driver.copy_out(from, &mut bytes))?;
        Ok(bytes
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b)))
            .collect())
    }

    pub(crate) fn download_elements(
        &self,
        operation: &'static str,
        from: u64,
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
            let copy = self.arena.take(operation, bytes)?;
            self.done(operation, self.driver.copy(copy.pointer(), block.pointer(), bytes))?;
            *block = Arc::new(copy);
        }
        Ok(())
    }
}

fn element_bytes(values: &[Fr]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * ELEMENT as usize);
    for value in values {
        value.0.0.iter().for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
    }
    bytes
}

pub(crate) fn shape<T>(
    operation: &'static str,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Result<T, DeviceError> {
    Err(DeviceError::Shape { operation, expected: expected.into(), got: got.into() })
}

/// The one length of all `buffers`; zero when there are none.
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
        let kind = if self.driver.is_emulated() { "cuda-emulated" } else { "cuda" };
        format!("{kind}({})", self.driver.device())
    }

    fn upload(&self, values: &[Fr]) -> Result<CudaBuffer, DeviceError> {
        let buffer = self.new_buffer("upload", values.len())?;
        if !values.is_empty() {
            let bytes = element_bytes(values);
            self.done("upload", self.driver.copy_in(buffer.pointer(), &bytes))?;
        }
        Ok(buffer)
    }

    fn upload_u16(&self, values: &[u16]) -> Result<CudaBuffer, DeviceError> {
        let buffer = self.new_buffer("upload_u16", values.len())?;
        if !values.is_empty() {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let small = self.upload_bytes("upload_u16", &bytes)?;
            let arguments = vec![
                Argument::Pointer(buffer.pointer()),
                Argument::Pointer(small.pointer()),
                Argument::U64(values.len() as u64),
            ];
            self.launch("upload_u16", "vector_from_u16", 256, values.len(), arguments)?;
        }
        Ok(buffer)
    }

    fn download(&self, buffer: &CudaBuffer) -> Result<Vec<Fr>, DeviceError> {
        if buffer.is_empty() {
            return Ok(Vec::new());
        }
        self.download_elements("download", buffer.pointer(), buffer.len())
    }
}
