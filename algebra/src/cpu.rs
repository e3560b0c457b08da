//! The device that runs on host threads, on one of several paths. The portable one is the reference that other paths
//! and other devices are compared with.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
mod msm;
mod ntt;
mod pages;
mod path;
mod probe;
mod recycler;
pub(crate) mod rows;
mod scan;
mod tuning;
mod vector;
pub(crate) mod words;

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

pub use self::msm::CpuBases;
pub use self::pages::map_large_arrays;
pub use self::path::CpuPath;
pub use self::probe::{Probe, Probing};
use self::recycler::Recycler;
pub use self::tuning::Tuning;
use self::words::{Portable, Scalar};
use crate::Fr;
use crate::device::{DeviceBuffer, DeviceError, Memory, check_start};

/// Field and curve work on host threads, in its own pool.
#[derive(Debug)]
pub struct CpuDevice {
    pool: rayon::ThreadPool,
    roots: ntt::Roots,
    /// The code for words, which does everything where there are no vectors, and what is too short for them.
    scalar: Scalar,
    /// The vector path, which works on eight elements together, if the processor has it.
    #[cfg(target_arch = "x86_64")]
    ifma: Option<ifma::Ifma>,
    /// Row kernels, transforms and additions of points, four together, where there is no `ifma`.
    #[cfg(target_arch = "x86_64")]
    avx2: Option<avx2::Avx2>,
    #[cfg(target_arch = "x86_64")]
    pass_roots: ifma::ntt::PassRoots,
    recycler: Recycler,
    accumulators: msm::Accumulators,
    tuning: Tuning,
}

impl CpuDevice {
    /// Starts `threads` worker threads; 0 means one for each core the process may use. Takes the fastest path that
    /// the processor has.
    ///
    /// # Panics
    /// If the system cannot start threads.
    pub fn new(threads: usize) -> Self {
        let mut fastest_first = CpuPath::ALL.into_iter().rev().filter(|path| path.is_automatic());
        fastest_first
            .find_map(|path| Self::on_path(path, threads))
            .unwrap_or_else(|| Self::portable(threads))
    }

    /// As [`Self::new`], without vectors: the faster of [`CpuPath::Portable`] and [`CpuPath::Adx`] that the processor
    /// has.
    ///
    /// # Panics
    /// If the system cannot start threads.
    pub fn scalar(threads: usize) -> Self {
        Self::on_words(threads, Scalar::detect())
    }

    /// As [`Self::new`], on [`CpuPath::Portable`] on any processor.
    ///
    /// # Panics
    /// If the system cannot start threads.
    pub fn portable(threads: usize) -> Self {
        Self::on_words(threads, Scalar::Portable(Portable))
    }

    /// As [`Self::new`], on this path; `None` where the processor lacks its instructions.
    ///
    /// # Panics
    /// If the system cannot start threads.
    pub fn on_path(path: CpuPath, threads: usize) -> Option<Self> {
        match path {
            CpuPath::Portable => Some(Self::portable(threads)),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Adx => {
                let adx = words::Adx::detect()?;
                Some(Self::on_words(threads, Scalar::Adx(adx)))
            }
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx2 => {
                let (adx, avx2) = (words::Adx::detect()?, avx2::Avx2::detect()?);
                Some(Self { avx2: Some(avx2), ..Self::on_words(threads, Scalar::Adx(adx)) })
            }
            #[cfg(target_arch = "x86_64")]
            CpuPath::Ifma => {
                let ifma = ifma::Ifma::detect()?;
                let tuning = Tuning::of(path);
                Some(Self { ifma: Some(ifma), tuning, ..Self::scalar(threads) })
            }
            #[cfg(not(target_arch = "x86_64"))]
            CpuPath::Adx | CpuPath::Avx2 | CpuPath::Ifma => None,
        }
    }

    fn on_words(threads: usize, scalar: Scalar) -> Self {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("cpu-device-{i}"))
            .build()
            .expect("the system starts threads");
        Self {
            pool,
            roots: ntt::Roots::new(),
            scalar,
            #[cfg(target_arch = "x86_64")]
            ifma: None,
            #[cfg(target_arch = "x86_64")]
            avx2: None,
            #[cfg(target_arch = "x86_64")]
            pass_roots: ifma::ntt::PassRoots::default(),
            recycler: Recycler::default(),
            accumulators: msm::Accumulators::default(),
            tuning: Tuning::of(scalar.path()),
        }
    }

    /// Which code runs.
    pub fn path(&self) -> CpuPath {
        #[cfg(target_arch = "x86_64")]
        if self.ifma.is_some() {
            return CpuPath::Ifma;
        }
        #[cfg(target_arch = "x86_64")]
        if self.avx2.is_some() {
            return CpuPath::Avx2;
        }
        self.scalar.path()
    }

    /// Number of worker threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Length of the chunks that `n` elements are split into: a few per thread, but not so small that
    /// scheduling them costs more than the work.
    fn chunk_len(&self, n: usize) -> usize {
        n.div_ceil(4 * self.threads()).max(1 << 10)
    }
}

impl Default for CpuDevice {
    fn default() -> Self {
        Self::new(0)
    }
}

/// Field elements in host memory. Copies share the storage until one of them is written to.
#[derive(Debug, Clone)]
pub struct CpuBuffer {
    storage: Arc<Storage>,
}

#[derive(Debug)]
enum Storage {
    Full(Full),
    /// Small values, and their full form once it was needed.
    Small(Vec<u16>, OnceLock<Vec<Fr>>),
}

/// Elements whose memory returns to the recycler.
#[derive(Debug)]
struct Full {
    values: Vec<Fr>,
    recycler: Recycler,
}

impl Drop for Full {
    fn drop(&mut self) {
        self.recycler.release(std::mem::take(&mut self.values));
    }
}

impl CpuBuffer {
    /// The elements. The first call on a buffer of small values converts them.
    pub fn as_slice(&self) -> &[Fr] {
        match &*self.storage {
            Storage::Full(full) => &full.values,
            Storage::Small(small, full) => {
                // One thread: work handed to the pool from inside the lock could come back to it.
                full.get_or_init(|| small.iter().map(|value| Fr::from(*value)).collect())
            }
        }
    }

    /// The elements as small numbers, if they were uploaded that way.
    fn as_small(&self) -> Option<&[u16]> {
        match &*self.storage {
            Storage::Full(_) => None,
            Storage::Small(small, _) => Some(small),
        }
    }
}

impl CpuDevice {
    fn buffer(&self, values: Vec<Fr>) -> CpuBuffer {
        let full = Full { values, recycler: self.recycler.clone() };
        CpuBuffer { storage: Arc::new(Storage::Full(full)) }
    }

    /// The elements of `buffer` for writing; copies them first if another buffer shares them.
    fn make_mut<'a>(&self, buffer: &'a mut CpuBuffer) -> &'a mut Vec<Fr> {
        let is_own = Arc::get_mut(&mut buffer.storage)
            .is_some_and(|storage| matches!(storage, Storage::Full(_)));
        if !is_own {
            *buffer = self.buffer(self.recycler.copy(buffer.as_slice()));
        }
        match Arc::get_mut(&mut buffer.storage) {
            Some(Storage::Full(full)) => &mut full.values,
            _ => unreachable!("made so above"),
        }
    }
}

impl DeviceBuffer for CpuBuffer {
    fn len(&self) -> usize {
        match &*self.storage {
            Storage::Full(full) => full.values.len(),
            Storage::Small(values, _) => values.len(),
        }
    }
}

impl Memory for CpuDevice {
    type Buffer = CpuBuffer;

    fn name(&self) -> String {
        format!("cpu-{}({} threads)", self.path(), self.threads())
    }

    fn upload(&self, values: &[Fr]) -> Result<CpuBuffer, DeviceError> {
        let mut copy: Vec<Fr> = self.recycler.take(values.len());
        let chunk_len = self.chunk_len(values.len());
        if values.len() <= chunk_len {
            copy.copy_from_slice(values);
        } else {
            // Of a witness, all columns are uploaded one after the other, while nothing else runs.
            self.pool.install(|| {
                let chunks = copy.par_chunks_mut(chunk_len).zip(values.par_chunks(chunk_len));
                chunks.for_each(|(copy, values)| copy.copy_from_slice(values));
            });
        }
        Ok(self.buffer(copy))
    }

    fn upload_vec(&self, values: Vec<Fr>) -> Result<CpuBuffer, DeviceError> {
        self.recycler.adopt(&values);
        Ok(self.buffer(values))
    }

    fn upload_u16(&self, values: &[u16]) -> Result<CpuBuffer, DeviceError> {
        let storage = Storage::Small(values.to_vec(), OnceLock::new());
        Ok(CpuBuffer { storage: Arc::new(storage) })
    }

    fn download(&self, buffer: &CpuBuffer) -> Result<Vec<Fr>, DeviceError> {
        Ok(self.pool.install(|| buffer.as_slice().to_vec()))
    }

    fn write(
        &self,
        buffer: &mut CpuBuffer,
        start: usize,
        values: &[Fr],
    ) -> Result<(), DeviceError> {
        check_start(start, buffer.len())?;
        let all = self.make_mut(buffer);
        let (inside, past) = values.split_at(values.len().min(all.len() - start));
        all[start..start + inside.len()].copy_from_slice(inside);
        all.reserve_exact(past.len());
        all.extend_from_slice(past);
        Ok(())
    }
}

fn shape<T>(
    operation: &'static str,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Result<T, DeviceError> {
    Err(DeviceError::Shape { operation, expected: expected.into(), got: got.into() })
}

/// The one length of all `buffers`; zero when there are none.
fn common_len<'a>(
    operation: &'static str,
    buffers: impl IntoIterator<Item = &'a CpuBuffer>,
) -> Result<usize, DeviceError> {
    let mut lengths = buffers.into_iter().map(CpuBuffer::len);
    let Some(first) = lengths.next() else { return Ok(0) };
    match lengths.find(|len| *len != first) {
        None => Ok(first),
        Some(other) => shape(operation, format!("columns of length {first}"), format!("{other}")),
    }
}

#[cfg(test)]
mod tests {
    use ark_bn254::FrConfig;
    use ark_ff::{AdditiveGroup, PrimeField};

    use super::words::Checked;
    use super::*;
    use crate::conformance;
    use crate::device::{Expr, Row, RowKernel, Vector};

    /// Goal: no kernel on words exceeds the bounds that its comments state. Method: the laws, whose inputs are at the
    /// ends of the field, on the twin that checks each input of each operation.
    #[test]
    fn the_laws_hold_with_every_bound_checked() {
        conformance::run_all(&CpuDevice::on_words(1, Scalar::Checked(Checked)), 11);
        conformance::run_all(&CpuDevice::on_words(3, Scalar::Checked(Checked)), 12);
    }

    /// `x − ab − cd − ef − gh`, and `x − (a + c + e + g + z) · b`.
    #[derive(Debug)]
    struct Negatives;

    impl RowKernel for Negatives {
        type Constants<E: Expr> = ();
        fn constants<E: Expr>(&self) {}
        fn outputs(&self) -> usize {
            2
        }
        fn eval<E: Expr, R: Row<E>>(&self, _: &(), row: &R, out: &mut [E]) {
            let [x, z, a, b, c, d, e, f, g, h] = std::array::from_fn(|column| row.cell(column, 0));
            let sum = a.clone() + c.clone() + e.clone() + g.clone() + z;
            out[1] = x.clone() - sum * b.clone();
            out[0] = x - a * b - c * d - e * f - g * h;
        }
    }

    /// Goal: the negative of zero, which is p and no less, is within all bounds. Method: four products whose first
    /// factors are such negatives, with the largest second factors, and the negative of a sum of five zeros, on every
    /// path and with every bound checked.
    #[test]
    fn negatives_of_zero_are_within_the_bounds_of_row_kernels() {
        let n = 40;
        let x = conformance::numbers(5, "minuends", n);
        let (zeros, largest) = (vec![Fr::ZERO; n], vec![largest(); n]);
        let columns: [&[Fr]; 10] =
            [&x, &zeros, &zeros, &largest, &zeros, &largest, &zeros, &largest, &zeros, &largest];
        let mut devices = vec![CpuDevice::on_words(1, Scalar::Checked(Checked))];
        devices.extend(CpuPath::ALL.into_iter().filter_map(|path| CpuDevice::on_path(path, 1)));
        for device in devices {
            let columns = columns.map(|column| device.upload(column).unwrap());
            let outputs = device.rows(&Negatives, &columns.each_ref()).unwrap();
            for output in &outputs {
                assert_eq!(device.download(output).unwrap(), x, "{}", device.name());
            }
        }
    }

    /// The element whose words are the largest.
    fn largest() -> Fr {
        words::element::<FrConfig>(words::difference(&Fr::MODULUS.0, &[1, 0, 0, 0]).0)
    }
}
