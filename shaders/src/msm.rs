//! Multi-scalar multiplication on the adapter: the bucket method with signed digits.
//!
//! For each column and each chunk of the bases: digits are counted by bucket and sorted into them;
//! every bucket's entries are summed in runs of bounded length, then the runs' sums likewise until one
//! point is left; running sums weigh the buckets, and the host adds the few points that remain. No
//! step depends on the distribution of the scalars: one bucket may contain every entry.
//!
//! Source: Bernstein, Doumen, Lange and Oosterwijk, section 4, <https://eprint.iacr.org/2012/549>.

use std::collections::BTreeMap;
use std::sync::Arc;

use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
use ark_ff::PrimeField;
use rollmill_algebra::device::{DeviceBuffer, DeviceError, Msm};
use rollmill_algebra::{Fq, G1Affine, G1Projective};

use crate::buffer::Array;
use crate::buffer::WgpuBuffer;
use crate::device::{WgpuDevice, shape};
use crate::gpu::{FEWER_RESULTS, Gpu, Region, limbs_of};
use crate::kernel::Kernel;
use crate::params;
use crate::record::Record;

const OPERATION: &str = "commit";
/// Bytes of an affine point and of a homogeneous one.
const AFFINE_BYTES: usize = 64;
const POINT_BYTES: u64 = 96;
/// Maximum bases of one MSM. It bounds the size of scratch memory.
const CHUNK_MAX: usize = 1 << 20;
/// Entries that one thread adds.
const ENTRIES_RUN: u32 = 64;
/// Sums that one thread adds.
const SUMS_RUN: u32 = 64;
/// Buckets that one thread weighs, in windows of many and of few buckets.
const BUCKETS_RUN: u32 = 32;
const FEW_BUCKETS_RUN: u32 = 8;
const FEW_BUCKETS: u32 = 256;
/// Points per window that the host adds.
const HOST_POINTS: u32 = 32;
/// Numbers that a workgroup of `blocks` sums.
const BLOCK: u32 = 1024;
/// Widest window tried.
const WINDOW_MAX: u32 = 16;

/// Bases on the adapter, in chunks, one MSM each.
#[derive(Debug)]
pub struct WgpuBases {
    len: usize,
    chunk_len: usize,
    chunks: Vec<Arc<Region>>,
    has_identity: bool,
}

/// How scalars of up to `bits` bits are split into windows of `c` bits. The sum of a magnitude and of
/// half a window in each window must not overflow, which two bits more than the magnitude's ensure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    c: u32,
    windows: u32,
}

impl Shape {
    /// The cheapest one for `n` scalars whose scratch fits bindings of `binding_bytes_max`.
    fn best(n: usize, bits: u32, binding_bytes_max: u64) -> Self {
        (2..=WINDOW_MAX)
            .map(|c| Self { c, windows: (bits + 2).div_ceil(c) })
            .filter(|shape| {
                let entries = 4 * n as u64 * u64::from(shape.windows);
                entries.max(POINT_BYTES * shape.runs_max(n)) <= binding_bytes_max
            })
            .min_by_key(|shape| {
                u64::from(shape.windows) * (n as u64 + 3 * u64::from(shape.buckets()))
            })
            .unwrap_or(Self { c: WINDOW_MAX, windows: (bits + 2).div_ceil(WINDOW_MAX) })
    }

    /// Buckets of a window, for magnitudes from 1 up.
    fn buckets(self) -> u32 {
        1 << (self.c - 1)
    }

    fn all_buckets(self) -> u32 {
        self.windows * self.buckets()
    }

    /// Most runs that the entries can make.
    fn runs_max(self, n: usize) -> u64 {
        let entries = n as u64 * u64::from(self.windows);
        entries.min(entries / u64::from(ENTRIES_RUN) + u64::from(self.all_buckets()))
    }

    /// Half a window in every window.
    fn addend(self) -> [u32; 9] {
        let mut words = [0; 9];
        for window in 1..=self.windows {
            let bit = window * self.c - 1;
            words[(bit / 32) as usize] |= 1 << (bit % 32);
        }
        words
    }
}

/// Memory that one MSM after another uses.
struct Scratch<'a> {
    gpu: &'a Gpu,
    regions: BTreeMap<String, Arc<Region>>,
}

impl Scratch<'_> {
    fn get(&mut self, name: &str, bytes: u64) -> Result<Arc<Region>, DeviceError> {
        match self.regions.get(name) {
            Some(region) if region.end >= bytes => Ok(Arc::clone(region)),
            _ => {
                self.regions.remove(name);
                let region = self.gpu.allocate(OPERATION, bytes)?;
                self.regions.insert(name.to_owned(), Arc::clone(&region));
                Ok(region)
            }
        }
    }
}

/// Points that the host adds: for each window, runs with their sums and weighted sums.
#[derive(Debug)]
struct Rest {
    shape: Shape,
    /// Points per run, and runs per window.
    run: u32,
    runs: u32,
    sums: Arc<Region>,
    weighted: Arc<Region>,
    /// The same one level up, where there are many runs: `sums` weighted from the second one on, and
    /// `weighted` summed.
    above: Option<Box<Above>>,
}

#[derive(Debug)]
struct Above {
    runs: u32,
    sums: Arc<Region>,
    weighted: Arc<Region>,
    plain_runs: u32,
    plain: Arc<Region>,
}

impl Msm for WgpuDevice {
    type Bases = WgpuBases;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<WgpuBases, DeviceError> {
        const OPERATION: &str = "register_bases";
        // Points are twice as long as scalars, so a chunk is half a buffer at most.
        let chunk_len = CHUNK_MAX.min(self.gpu.chunk() / 2);
        let chunks = bases
            .chunks(chunk_len)
            .map(|bases| {
                let mut bytes = Vec::with_capacity(AFFINE_BYTES * bases.len());
                for base in bases {
                    let (x, y) = base.xy().unwrap_or_default();
                    bytes.extend_from_slice(bytemuck::cast_slice(&x.0.0));
                    bytes.extend_from_slice(bytemuck::cast_slice(&y.0.0));
                }
                self.gpu.upload(OPERATION, &bytes)
            })
            .collect::<Result<_, _>>()?;
        let has_identity = bases.iter().any(AffineRepr::is_zero);
        Ok(WgpuBases { len: bases.len(), chunk_len, chunks, has_identity })
    }

    fn commit(
        &self,
        bases: &WgpuBases,
        columns: &[&WgpuBuffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        if let Some(column) = columns.iter().find(|column| column.len() > bases.len) {
            let expected = format!("columns of at most {} scalars", bases.len);
            return shape(OPERATION, expected, column.len().to_string());
        }
        self.gpu.check(OPERATION)?;
        let bits = self.widest(columns)?;
        let mut scratch = Scratch { gpu: &self.gpu, regions: BTreeMap::new() };
        let mut rests = Vec::new();
        for (i, (column, bits)) in columns.iter().zip(bits).enumerate() {
            if bits == 0 {
                continue;
            }
            let array = column.device(&self.gpu)?;
            for (chunk, points) in bases.chunks.iter().enumerate() {
                let start = chunk * bases.chunk_len;
                if start >= array.len {
                    break;
                }
                let n = bases.chunk_len.min(array.len - start);
                let mut record = Record::new(&self.gpu, OPERATION);
                let scalars = (&array.chunks[start / self.gpu.chunk()], start % self.gpu.chunk());
                let msm = ChunkMsm { n, bits, points, scalars, has_identity: bases.has_identity };
                rests.push((i, self.msm_chunk(&mut record, &mut scratch, &msm)?));
                record.submit()?;
            }
        }
        self.finish(columns.len(), &rests)
    }
}

/// The scalars of one column over one chunk of the bases.
struct ChunkMsm<'a> {
    n: usize,
    bits: u32,
    points: &'a Arc<Region>,
    /// The buffer of the scalars, and the index of the first.
    scalars: (&'a Arc<Region>, usize),
    has_identity: bool,
}

impl WgpuDevice {
    /// The most bits that a magnitude of each column has.
    fn widest(&self, columns: &[&WgpuBuffer]) -> Result<Vec<u32>, DeviceError> {
        let mut bits: Vec<Option<u32>> = columns
            .iter()
            .map(|column| if column.is_empty() { Some(0) } else { column.bits_max() })
            .collect();
        if bits.iter().all(Option::is_some) {
            return Ok(bits.into_iter().flatten().collect());
        }
        let [nothing, _] = self.gpu.fillers()?;
        let bytes = 4 * columns.len() as u64;
        let found = self.gpu.allocate(OPERATION, bytes)?;
        let mut record = Record::new(&self.gpu, OPERATION);
        record.clear(&found);
        for (i, column) in columns.iter().enumerate().filter(|(i, _)| bits[*i].is_none()) {
            let array: &Array = column.device(&self.gpu)?;
            for (k, chunk) in array.chunks.iter().enumerate() {
                let params = params::Widest { slot: i as u32, first_scalar: 0 };
                let regions = [chunk, nothing, &found];
                record.run(Kernel::Widest, array.len_of(&self.gpu, k), &params, &regions);
            }
        }
        record.submit()?;
        let read = self.gpu.read(OPERATION, &[(&found, bytes)])?;
        let words = read.iter().flat_map(|bytes| bytes.chunks_exact(4));
        for (slot, word) in bits.iter_mut().zip(words) {
            let bits = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            if bits >= 254 {
                return Err(self.gpu.failed(format!("a scalar has {bits} bits")));
            }
            slot.get_or_insert(bits);
        }
        Ok(bits.into_iter().flatten().collect())
    }

    fn msm_chunk(
        &self,
        record: &mut Record<'_>,
        scratch: &mut Scratch<'_>,
        msm: &ChunkMsm<'_>,
    ) -> Result<Rest, DeviceError> {
        let gpu = &self.gpu;
        let shape = Shape::best(msm.n, msm.bits, gpu.binding_bytes_max);
        let buckets = shape.all_buckets();
        let places_bytes = 4 * (u64::from(buckets) + 1);

        // Count the entries of each bucket, scan the counts, write the entries.
        let counts = scratch.get("counts", places_bytes)?;
        let starts = scratch.get("starts", places_bytes)?;
        let mut run_starts = scratch.get("run starts 0", places_bytes)?;
        let entries = scratch.get("entries", 4 * msm.n as u64 * u64::from(shape.windows))?;
        let digits = |write| params::Digits {
            c: shape.c,
            windows: shape.windows,
            write,
            first_scalar: msm.scalars.1 as u32,
            identities: msm.has_identity,
            addend: shape.addend(),
        };
        let regions = [msm.scalars.0, msm.points, &counts, &entries];
        record.clear(&counts);
        record.run(Kernel::Digits, msm.n, &digits(false), &regions);
        places(record, scratch, [&counts, &starts], buckets, (Count::Values, 1), 0)?;
        let runs_of = (Count::RunsOf, ENTRIES_RUN);
        places(record, scratch, [&counts, &run_starts], buckets, runs_of, 0)?;
        record.copy(&starts, &counts, places_bytes);
        record.run(Kernel::Digits, msm.n, &digits(true), &regions);

        // Sum the entries of each bucket in runs, then the runs.
        let mut runs = shape.runs_max(msm.n);
        let mut points = scratch.get("points 0", POINT_BYTES * runs)?;
        let params = params::Accumulate { buckets, run: ENTRIES_RUN };
        let regions = [msm.points, &entries, &starts, &run_starts, &points];
        record.run(Kernel::Accumulate, runs as usize, &params, &regions);
        let [_, nowhere] = gpu.fillers()?;
        let mut longest = msm.n.div_ceil(ENTRIES_RUN as usize);
        let mut level = 0;
        while longest > 1 {
            level += 1;
            longest = longest.div_ceil(SUMS_RUN as usize);
            runs = runs.min(runs / u64::from(SUMS_RUN) + u64::from(buckets));
            let fewer = scratch.get(&format!("run starts {level}"), places_bytes)?;
            let runs_between = (Count::RunsBetween, SUMS_RUN);
            places(record, scratch, [&run_starts, &fewer], buckets, runs_between, 0)?;
            let sums = scratch.get(&format!("points {level}"), POINT_BYTES * runs)?;
            let params = params::SumRuns {
                buckets,
                run: SUMS_RUN,
                runs: 0,
                arrangement: Arrangement::Groups as u32,
                weighted: false,
                points: 0,
                skip: 0,
            };
            let regions = [&points, &run_starts, &fewer, &sums, nowhere];
            record.run(Kernel::SumRuns, runs as usize, &params, &regions);
            (run_starts, points) = (fewer, sums);
        }

        self.weigh(record, shape, [&points, &run_starts])
    }

    /// Weighs each bucket of `[points, run_starts]` by its number, as far as the device does it.
    fn weigh(
        &self,
        record: &mut Record<'_>,
        shape: Shape,
        [points, run_starts]: [&Arc<Region>; 2],
    ) -> Result<Rest, DeviceError> {
        let run = if shape.buckets() > FEW_BUCKETS { BUCKETS_RUN } else { FEW_BUCKETS_RUN };
        let runs = shape.buckets().div_ceil(run);
        let weigh = Runs { run, runs, windows: shape.windows, points: shape.buckets(), skip: 0 };
        let [sums, weighted] =
            self.sum_runs(record, &weigh, Arrangement::Buckets, true, [points, run_starts])?;
        let mut rest = Rest { shape, run, runs, sums, weighted, above: None };
        if runs > HOST_POINTS {
            let above = Runs {
                run: BUCKETS_RUN,
                runs: (runs - 1).div_ceil(BUCKETS_RUN),
                windows: shape.windows,
                points: runs,
                skip: 1,
            };
            let [sums, weighted] =
                self.sum_runs(record, &above, Arrangement::Runs, true, [&rest.sums, run_starts])?;
            let flat = Runs { runs: runs.div_ceil(BUCKETS_RUN), skip: 0, ..above };
            let [plain, _] = self.sum_runs(
                record,
                &flat,
                Arrangement::Runs,
                false,
                [&rest.weighted, run_starts],
            )?;
            let (runs, plain_runs) = (above.runs, flat.runs);
            rest.above = Some(Box::new(Above { runs, sums, weighted, plain_runs, plain }));
        }
        Ok(rest)
    }

    /// Sums, and with `weigh` also weighted sums, of runs of one length in each window.
    fn sum_runs(
        &self,
        record: &mut Record<'_>,
        runs: &Runs,
        arrangement: Arrangement,
        weigh: bool,
        [points, places]: [&Arc<Region>; 2],
    ) -> Result<[Arc<Region>; 2], DeviceError> {
        let threads = runs.windows * runs.runs;
        let bytes = POINT_BYTES * u64::from(threads);
        let sums = self.gpu.allocate(OPERATION, bytes)?;
        let weighted = if weigh {
            self.gpu.allocate(OPERATION, bytes)?
        } else {
            Arc::clone(&self.gpu.fillers()?[1])
        };
        let params = params::SumRuns {
            buckets: 0,
            run: runs.run,
            runs: runs.runs,
            arrangement: arrangement as u32,
            weighted: weigh,
            points: runs.points,
            skip: runs.skip,
        };
        let nothing = &self.gpu.fillers()?[0];
        let regions = [points, places, nothing, &sums, &weighted];
        record.run(Kernel::SumRuns, threads as usize, &params, &regions);
        Ok([sums, weighted])
    }

    /// Reads the points that remain of every MSM and adds them up by column.
    fn finish(
        &self,
        columns: usize,
        rests: &[(usize, Rest)],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        let mut requested = Vec::new();
        for (_, rest) in rests {
            let bytes = |runs: u32| POINT_BYTES * u64::from(rest.shape.windows * runs);
            match &rest.above {
                None => {
                    requested.push((&*rest.sums, bytes(rest.runs)));
                    requested.push((&*rest.weighted, bytes(rest.runs)));
                }
                Some(above) => {
                    requested.push((&*above.sums, bytes(above.runs)));
                    requested.push((&*above.weighted, bytes(above.runs)));
                    requested.push((&*above.plain, bytes(above.plain_runs)));
                }
            }
        }
        let mut read = self.gpu.read(OPERATION, &requested)?.into_iter();
        let mut next = || match read.next() {
            Some(bytes) => self.points(&bytes),
            None => Err(self.gpu.failed(FEWER_RESULTS)),
        };
        let mut totals = vec![G1Projective::ZERO; columns];
        for (column, rest) in rests {
            // The weighted sum of each window's buckets.
            let windows: Vec<G1Projective> = match &rest.above {
                None => {
                    let (sums, weighted) = (next()?, next()?);
                    let runs = rest.runs as usize;
                    let pairs = sums.chunks(runs).zip(weighted.chunks(runs));
                    pairs.map(|(sums, weighted)| weighted_total(sums, weighted, rest.run)).collect()
                }
                Some(above) => {
                    let (sums, weighted, plain) = (next()?, next()?, next()?);
                    let (runs, plain_runs) = (above.runs as usize, above.plain_runs as usize);
                    let pairs = sums.chunks(runs).zip(weighted.chunks(runs));
                    pairs
                        .zip(plain.chunks(plain_runs))
                        .map(|((sums, weighted), plain)| {
                            let numbered = weighted_total(sums, weighted, BUCKETS_RUN);
                            times(numbered, rest.run) + plain.iter().sum::<G1Projective>()
                        })
                        .collect()
                }
            };
            let total = windows.iter().rev().fold(G1Projective::ZERO, |total, window| {
                (0..rest.shape.c).fold(total, |total, _| total.double()) + window
            });
            totals[*column] += total;
        }
        let totals = G1Projective::normalize_batch(&totals);
        if totals.iter().any(|point| !point.is_on_curve()) {
            return Err(self.gpu.failed("a sum of points is not on the curve"));
        }
        Ok(totals)
    }

    /// Decodes homogeneous points.
    fn points(&self, bytes: &[u8]) -> Result<Vec<G1Projective>, DeviceError> {
        let coordinate = |bytes: &[u8]| {
            let limbs = limbs_of(bytes);
            if limbs >= Fq::MODULUS {
                return Err(self.gpu.failed("a coordinate is not below the field's modulus"));
            }
            Ok(Fq::new_unchecked(limbs))
        };
        bytes
            .chunks_exact(POINT_BYTES as usize)
            .map(|bytes| {
                let [x, y, z] = [
                    coordinate(&bytes[..32])?,
                    coordinate(&bytes[32..64])?,
                    coordinate(&bytes[64..])?,
                ];
                // (X/Z, Y/Z) as (X'/Z², Y'/Z³).
                Ok(G1Projective::new_unchecked(x * z, y * z * z, z))
            })
            .collect()
    }
}

/// Where `sum_runs` finds its points.
#[derive(Debug, Clone, Copy)]
enum Arrangement {
    /// The points of a bucket are contiguous, as `accumulate` writes them.
    Groups,
    /// Runs of one length; a point is the one of its bucket, or the identity of an empty bucket.
    Buckets,
    /// Runs of one length.
    Runs,
}

/// The names and numbers of arrangements in `msm_sums.wgsl`.
pub(crate) const ARRANGEMENTS: &[(&str, u32)] = &[
    ("GROUPS", Arrangement::Groups as u32),
    ("BUCKETS", Arrangement::Buckets as u32),
    ("RUNS", Arrangement::Runs as u32),
];

/// What `blocks` sums.
#[derive(Debug, Clone, Copy)]
enum Count {
    /// The numbers themselves.
    Values,
    /// How many runs each number of entries makes.
    RunsOf,
    /// How many runs the entries between a number and the next one make.
    RunsBetween,
}

/// Numbers that `msm_places.wgsl` uses by these names.
pub(crate) const PLACES_CONSTANTS: &[(&str, u32)] = &[
    ("BLOCK", BLOCK),
    ("VALUES", Count::Values as u32),
    ("RUNS_OF", Count::RunsOf as u32),
    ("RUNS_BETWEEN", Count::RunsBetween as u32),
];

#[derive(Debug, Clone, Copy)]
struct Runs {
    /// Points per run.
    run: u32,
    /// Runs per window.
    runs: u32,
    windows: u32,
    /// Points per window.
    points: u32,
    /// Points at the start of a window that are left out.
    skip: u32,
}

/// `Σ weighted + run · Σ r · sums[r]`.
fn weighted_total(sums: &[G1Projective], weighted: &[G1Projective], run: u32) -> G1Projective {
    let (mut running, mut numbered) = (G1Projective::ZERO, G1Projective::ZERO);
    for sum in sums.iter().skip(1).rev() {
        running += sum;
        numbered += running;
    }
    times(numbered, run) + weighted.iter().sum::<G1Projective>()
}

/// `factor · point` for a power of two.
fn times(point: G1Projective, factor: u32) -> G1Projective {
    (0..factor.trailing_zeros()).fold(point, |point, _| point.double())
}

/// `out[i] = Σ counted(source[j])` over `j < i` for `i ≤ n`, where `count` and the run's length say what a
/// number counts for.
fn places(
    record: &mut Record<'_>,
    scratch: &mut Scratch<'_>,
    [source, out]: [&Arc<Region>; 2],
    n: u32,
    (count, run): (Count, u32),
    level: u32,
) -> Result<(), DeviceError> {
    let blocks = (n + 1).div_ceil(BLOCK);
    let totals = scratch.get(&format!("totals {level}"), 4 * u64::from(blocks))?;
    let params = params::Blocks { numbers: n, mode: count as u32, run, out_len: n + 1 };
    let regions = [source, out, &totals];
    record.run_groups(Kernel::Blocks, blocks as usize, blocks as usize, &params, &regions);
    if blocks > 1 {
        let before = scratch.get(&format!("before {level}"), 4 * (u64::from(blocks) + 1))?;
        places(record, scratch, [&totals, &before], blocks, (Count::Values, 1), level + 1)?;
        record.run(Kernel::CarryOver, n as usize + 1, &params::CarryOver {}, &[&before, out]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum that `shifted` makes stays below the windows' end, whatever the scalar.
    #[test]
    fn half_windows_and_a_magnitude_never_overflow() {
        for c in 2..=WINDOW_MAX {
            for bits in 1..=253u32 {
                let shape = Shape { c, windows: (bits + 2).div_ceil(c) };
                let end = shape.windows * c;
                assert!(end <= 288, "it fits nine words");
                // In units of 2^(end − 2): a magnitude is below 1, the halves below 2 + 2/3 + ….
                let magnitude = f64::from(bits as i32 - end as i32 + 2).exp2();
                let halves: f64 =
                    (0..shape.windows).map(|w| 2.0 * f64::from(-((w * c) as i32)).exp2()).sum();
                assert!(magnitude + halves <= 4.0, "c {c}, {bits} bits");
            }
        }
    }

    #[test]
    fn a_shape_respects_the_binding_limit() {
        let ample = Shape::best(1 << 20, 253, 1 << 31);
        assert!((12..=16).contains(&ample.c), "{ample:?}");
        let tight = Shape::best(1 << 20, 253, 1 << 27);
        assert!(4 * (1 << 20) * u64::from(tight.windows) <= 1 << 27);
        assert!(POINT_BYTES * tight.runs_max(1 << 20) <= 1 << 27);
        assert_eq!(Shape::best(1 << 20, 16, 1 << 27).windows, 2);
    }
}
