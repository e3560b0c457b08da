//! Multi-scalar multiplication; see `cuda/msm.cuh` and `cuda/partition.cuh`.

mod partition;

use std::ops::Range;

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};
use rollmill_algebra::device::{
    Committed, DeviceBuffer, DeviceError, HostColumn, Msm, check_start,
};
use rollmill_algebra::{Fq, G1Affine, G1Projective};

use crate::arena::{At, Block};
use crate::declared;
use crate::device::{CudaBuffer, CudaDevice, ELEMENT, shape};
use crate::launch::{List, Word};
use crate::plan::{LENGTHS, Plan, Reach, Slices, plan};
use crate::sizes::{AFFINE, Load, SCAN_BLOCK, Sizes, XYZZ, batch_bytes_max, column_bytes_max};

pub(crate) const OP: &str = "commit";
/// Counters that a thread scans, as in the kernels.
const COUNTERS: u64 = 16;

/// A table of multiples takes at most this part of the free memory.
pub(crate) const TABLE_PART: u64 = 16;
/// Bytes of columns that travel before their sums are queued: four columns of 2^17 rows, about what a batch takes, so
/// that groups cost few launches.
const OVERLAP_BYTES: u64 = 16 << 20;
/// For fewer bases a table saves less than it costs to make.
const TABLE_BASES_MIN: usize = 1 << 12;

/// Bases in device memory, with a table of their multiples. They are registered once for an SRS, whose owner
/// keeps them under its id.
#[derive(Debug)]
pub struct CudaBases {
    /// Slice after slice.
    block: Option<Block>,
    len: usize,
    slices: Slices,
}

/// A column with a scalar that is not zero, and how it is cut into digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) scalars: At<'a>,
    pub(crate) n: usize,
    pub(crate) plan: Plan,
    pub(crate) load: Load,
}

/// Columns whose passes run together.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) sizes: Sizes,
    /// As `MsmColumn` and `MsmWindow`.
    pub(crate) columns: List<'a>,
    pub(crate) windows: List<'a>,
}

/// A commitment whose sums are queued.
#[derive(Debug)]
struct Queued {
    /// Of each column; `None` for one of zeros.
    plans: Vec<Option<Plan>>,
    /// Of the windows of all columns; `None` if there are no windows.
    sums: Option<Block>,
}

/// Places in the block of counters that a batch starts with zeros.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters<'a> {
    /// One per bucket and a last one, so that the prefix sums end with the total.
    pub(crate) counts: At<'a>,
    /// One per length of a piece; the last, which counts none, has their total after the scan.
    pub(crate) bins: At<'a>,
    pub(crate) total: At<'a>,
    /// Buckets that are cut, and the pieces of them.
    pub(crate) found: At<'a>,
}

impl<'a> Counters<'a> {
    pub(crate) fn new(sizes: &Sizes, start: At<'a>) -> Self {
        let bins = start.plus(4 * (sizes.load.keys + 1));
        let total = bins.plus(4 * u64::from(sizes.length));
        Self { counts: start, bins, total, found: total.plus(4) }
    }
}

/// A grid of blocks of so many threads for `threads` of them.
fn grid(threads: u64, block: u64) -> [u32; 2] {
    // A grid that does not fit is rejected at its launch.
    [u32::try_from(threads.div_ceil(block)).unwrap_or(u32::MAX), 1]
}

impl Sizes {
    /// A thread per scalar of the longest column, a row per column.
    pub(crate) fn grid_of_scalars(&self) -> [u32; 2] {
        [grid(self.longest, 256)[0], self.load.columns as u32]
    }

    pub(crate) fn grid_of_keys(&self) -> [u32; 2] {
        grid(self.load.keys, 256)
    }

    /// For the counters of the buckets and the one behind them.
    pub(crate) fn grid_of_scan(&self) -> [u32; 2] {
        grid((self.load.keys + 1).div_ceil(COUNTERS), SCAN_BLOCK / COUNTERS)
    }

    pub(crate) fn grid_of_pieces(&self) -> [u32; 2] {
        grid(self.pieces(), 128)
    }

    /// A warp per group, and a warp per window.
    pub(crate) fn grids_of_warps(&self) -> [[u32; 2]; 2] {
        [self.groups, self.load.windows].map(|warps| grid(32 * warps, 128))
    }
}

impl CudaDevice {
    pub(crate) fn zeroed(&self, op: &'static str, bytes: u64) -> Result<Block, DeviceError> {
        let block = self.take_scratch(op, 1, bytes)?;
        self.clear(op, block.start(), bytes)?;
        Ok(block)
    }

    /// How many scalars of each column reach how many bits.
    fn classify(&self, columns: &[&CudaBuffer]) -> Result<Vec<Reach>, DeviceError> {
        let longest = columns.iter().map(|column| column.len()).max().unwrap_or(0);
        if longest == 0 {
            return Ok(vec![Reach::new(&[0; LENGTHS]); columns.len()]);
        }
        let words = columns.iter().flat_map(|column| {
            let scalars = [Word::In(column.start()), Word::Number(column.len() as u64)];
            // The plan, of which this pass reads nothing.
            scalars.into_iter().chain([Word::Number(0); 3])
        });
        let list = self.upload_list(OP, words.collect())?;
        let lengths = self.zeroed(OP, 4 * (LENGTHS * columns.len()) as u64)?;
        let grid = [grid(longest as u64, 256)[0], columns.len() as u32];
        self.run(OP, declared::msm_classify(&list, lengths.start()), grid)?;
        let words = self.download_words(OP, lengths.start(), LENGTHS / 2 * columns.len())?;
        let counts: Vec<u32> =
            words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]).collect();
        Ok(counts.chunks_exact(LENGTHS).map(Reach::new).collect())
    }

    /// Uploads what the passes read about some columns, over slices of `stride` bases, and with the segments that suit
    /// the card unless their length is given.
    pub(crate) fn batch<'a>(
        &self,
        jobs: &[Job<'a>],
        stride: usize,
        log_segment: Option<u32>,
    ) -> Result<Batch<'a>, DeviceError> {
        let load = jobs.iter().fold(Load::default(), |load, job| load.plus(job.load));
        let plans: Vec<Plan> = jobs.iter().map(|job| job.plan).collect();
        let longest = jobs.iter().map(|job| job.n as u64).max().unwrap_or(0);
        let sizes = Sizes::new(load, &plans, longest, self.card.driver.multiprocessors());
        let sizes = log_segment.map_or(sizes, |log| sizes.with_segment(&plans, log));
        let pair = |low: u64, high: u64| Word::Number(low | high << 32);
        let (mut columns, mut windows) = (Vec::new(), Vec::new());
        let (mut key, mut group) = (0, 0);
        for job in jobs {
            let plan = job.plan;
            columns.extend([
                Word::In(Some(job.scalars)),
                Word::Number(job.n as u64),
                pair(plan.bits().into(), plan.tall().into()),
                pair(plan.windows.into(), plan.slices.into()),
                pair(key, stride as u64),
            ]);
            for window in 0..plan.windows {
                let log_buckets = plan.width(window) - 1;
                windows.extend([pair(key, log_buckets.into()), Word::Number(group)]);
                key += 1 << log_buckets;
                group += sizes.groups_of(log_buckets);
            }
        }
        windows.extend([Word::Number(0), Word::Number(group)]);
        let columns = self.upload_list(OP, columns)?;
        Ok(Batch { sizes, columns, windows: self.upload_list(OP, windows)? })
    }

    fn count_digits(&self, batch: &Batch<'_>, counts: At<'_>) -> Result<(), DeviceError> {
        let call = declared::msm_count(&batch.columns, counts);
        self.run(OP, call, batch.sizes.grid_of_scalars())
    }

    /// Exclusive prefix sums of the counters of all buckets, twice: to keep, and to count on from.
    fn scan_counts(
        &self,
        sizes: &Sizes,
        counts: At<'_>,
        [offsets, cursors, folds]: [At<'_>; 3],
    ) -> Result<(), DeviceError> {
        let n = sizes.load.keys + 1;
        let grid = sizes.grid_of_scan();
        self.run(OP, declared::msm_fold_counts(folds, counts, n), grid)?;
        self.scan_in_place(folds, grid[0])?;
        self.run(OP, declared::msm_scan_counts(offsets, cursors, counts, folds, n), grid)
    }

    fn scan_in_place(&self, values: At<'_>, n: u32) -> Result<(), DeviceError> {
        self.run(OP, declared::msm_scan_folds(values, n), [1, 1])
    }

    /// Cuts the buckets into pieces, the longest first.
    fn cut_pieces(
        &self,
        sizes: &Sizes,
        offsets: At<'_>,
        counters: Counters<'_>,
        [pieces, cuts]: [At<'_>; 2],
    ) -> Result<(), DeviceError> {
        let Counters { bins, found, .. } = counters;
        let (keys, length) = (sizes.load.keys as u32, sizes.length);
        self.run(OP, declared::msm_sizes(offsets, keys, length, bins), sizes.grid_of_keys())?;
        self.scan_in_place(bins, length + 1)?;
        let call = declared::msm_order(offsets, keys, length, bins, found, pieces, cuts);
        self.run(OP, call, sizes.grid_of_keys())
    }

    fn scatter(
        &self,
        batch: &Batch<'_>,
        cursors: At<'_>,
        entries: At<'_>,
    ) -> Result<(), DeviceError> {
        let call = declared::msm_scatter(&batch.columns, cursors, entries);
        self.run(OP, call, batch.sizes.grid_of_scalars())
    }

    fn accumulate(
        &self,
        sizes: &Sizes,
        [pieces, total, entries, bases]: [At<'_>; 4],
        sums: At<'_>,
    ) -> Result<(), DeviceError> {
        let call = declared::msm_accumulate(pieces, total, entries, bases, sums);
        self.run(OP, call, sizes.grid_of_pieces())
    }

    fn merge(
        &self,
        sizes: &Sizes,
        [cuts, found]: [At<'_>; 2],
        sums: At<'_>,
    ) -> Result<(), DeviceError> {
        let blocks = sizes.merging_blocks(self.card.driver.multiprocessors());
        self.run(OP, declared::msm_merge(cuts, found, sums), [blocks, 1])
    }

    /// The sum of each window, from those of its buckets; `groups` has memory for two sums per group.
    fn reduce(
        &self,
        batch: &Batch<'_>,
        [sums, offsets]: [At<'_>; 2],
        groups: At<'_>,
        out: At<'_>,
    ) -> Result<(), DeviceError> {
        let sizes = &batch.sizes;
        let (windows, count) = (&batch.windows, sizes.load.windows as u32);
        let weighted = groups.plus(XYZZ * sizes.groups);
        let [by_group, by_window] = sizes.grids_of_warps();
        let (segment, all) = (sizes.log_segment, sizes.groups as u32);
        let call =
            declared::msm_reduce(sums, offsets, windows, count, segment, all, groups, weighted);
        self.run(OP, call, by_group)?;
        let call = declared::msm_finish(groups, weighted, windows, count, segment, out);
        self.run(OP, call, by_window)
    }

    /// The sum of each window of a batch, into `out`: column after column, the lowest window first.
    fn sum_windows(
        &self,
        bases: At<'_>,
        batch: &Batch<'_>,
        out: At<'_>,
    ) -> Result<(), DeviceError> {
        let sizes = &batch.sizes;
        let blocks = sizes.blocks();
        let counters = self.zeroed(OP, blocks[0])?;
        let places = Counters::new(sizes, counters.start());
        let take = |at: usize| self.take_scratch(OP, 1, blocks[at]);
        let (offsets, cursors, folds) = (take(1)?, take(2)?, take(3)?);
        let (entries, pieces, cuts) = (take(4)?, take(5)?, take(6)?);
        let (sums, groups) = (take(7)?, take(8)?);

        let partition = self.partition(batch)?;
        match &partition {
            Some(partition) => self.count_tiles(sizes, partition, places.counts)?,
            None => self.count_digits(batch, places.counts)?,
        }
        let scanned = [offsets.start(), cursors.start(), folds.start()];
        self.scan_counts(sizes, places.counts, scanned)?;
        self.cut_pieces(sizes, offsets.start(), places, [pieces.start(), cuts.start()])?;
        match &partition {
            Some(partition) => {
                self.scatter_tiles(sizes, partition, [cursors.start(), entries.start()])?;
            }
            None => self.scatter(batch, cursors.start(), entries.start())?,
        }
        drop(partition);
        let work = [pieces.start(), places.total, entries.start(), bases];
        self.accumulate(sizes, work, sums.start())?;
        self.merge(sizes, [cuts.start(), places.found], sums.start())?;
        self.reduce(batch, [sums.start(), offsets.start()], groups.start(), out)
    }

    /// Checks sums (X, Y, ZZ, ZZZ), and makes Jacobian coordinates of them.
    pub(crate) fn checked_sums(&self, words: &[u64]) -> Result<Vec<G1Projective>, DeviceError> {
        let coordinate = |limbs: &[u64]| {
            let number = BigInt([limbs[0], limbs[1], limbs[2], limbs[3]]);
            if number >= Fq::MODULUS {
                return Err(self.wrong(OP, "a coordinate is not below the modulus"));
            }
            Ok(Fq::new_unchecked(number))
        };
        let numbers: Vec<Fq> = words.chunks_exact(4).map(coordinate).collect::<Result<_, _>>()?;
        let point = |sum: &[Fq]| {
            let [x, y, zz, zzz] = [sum[0], sum[1], sum[2], sum[3]];
            if zz == Fq::ZERO {
                return Ok(G1Projective::ZERO);
            }
            // x = X / ZZ and y = Y / ZZZ on y² = x³ + 3, times ZZ³ = ZZZ².
            let (cube, square) = (zz.square() * zz, zzz.square());
            if cube != square || y.square() != x.square() * x + square * Fq::from(3u64) {
                return Err(self.wrong(OP, "a sum is not a point of the curve"));
            }
            // With Z = ZZ: X / ZZ = X ZZ / Z² and Y / ZZZ = Y ZZZ / Z³.
            Ok(G1Projective::new_unchecked(x * zz, y * zzz, zz))
        };
        numbers.chunks_exact(4).map(point).collect()
    }

    /// The slices to keep of `n` bases.
    fn slices(&self, n: usize) -> Slices {
        // An entry has 31 bits for the number of a base.
        let indexed = u32::try_from((1u64 << 31) / n as u64).unwrap_or(u32::MAX);
        if let Some(count) = self.card.options.table_slices {
            return Slices::at_most(count.min(indexed));
        }
        if self.card.driver.is_emulated() || n < TABLE_BASES_MIN {
            return Slices::ONE;
        }
        let fits = |count: &u32| {
            let bytes = TABLE_PART * AFFINE * n as u64 * u64::from(*count);
            *count == 1 || self.require_memory("register_bases", bytes).is_ok()
        };
        let most = (1..=Slices::COUNT_MAX.min(indexed)).take_while(fits).last().unwrap_or(1);
        Slices::cheapest(n as u64, most)
    }

    /// Slices of multiples of `n` bases, each computed from the one before.
    fn table(&self, bases: &Block, n: usize, slices: Slices) -> Result<Block, DeviceError> {
        const OP: &str = "register_bases";
        let table = self.take(OP, n * slices.count as usize, AFFINE)?;
        let bytes = AFFINE * n as u64;
        self.copy(OP, table.start(), bases.start(), bytes)?;
        for slice in 1..u64::from(slices.count) {
            let to = table.start().plus(slice * bytes);
            let from = table.start().plus((slice - 1) * bytes);
            let call = declared::msm_multiples(from, n as u64, slices.span, to);
            self.run(OP, call, grid(n as u64, 128))?;
        }
        Ok(table)
    }

    /// The columns that are not zero, each with the cheapest plan that fits in its share of memory.
    fn jobs<'a>(
        &self,
        bases: &CudaBases,
        columns: &[&'a CudaBuffer],
    ) -> Result<Vec<Option<Job<'a>>>, DeviceError> {
        let reaches = self.classify(columns)?;
        // Most columns have one length.
        let mut known = (0, 0);
        let job = |(column, reach): (&&'a CudaBuffer, &Reach)| {
            let (scalars, n) = (column.start()?, column.len());
            let load = |plan| Load::of(plan, reach, n as u64);
            if known.0 != n {
                known = (n, column_bytes_max(n as u64));
            }
            let (_, bytes_max) = known;
            let plan = plan(reach, bases.slices, |plan| load(plan).bytes_max(), bytes_max)?;
            Some(Job { scalars, n, plan, load: load(plan) })
        };
        Ok(columns.iter().zip(&reaches).map(job).collect())
    }

    /// Queues all passes of a commitment. Waits only for the lengths of the scalars.
    fn queue_sums(
        &self,
        bases: &CudaBases,
        columns: &[&CudaBuffer],
    ) -> Result<Queued, DeviceError> {
        columns.iter().try_for_each(|column| require_bases(bases, column.len()))?;
        let none = Queued { plans: vec![None; columns.len()], sums: None };
        let Some(block) = bases.block.as_ref().filter(|_| !columns.is_empty()) else {
            return Ok(none);
        };
        let planned = self.jobs(bases, columns)?;
        let jobs: Vec<Job<'_>> = planned.iter().flatten().copied().collect();
        if jobs.is_empty() {
            return Ok(none);
        }
        if let Some(long) = jobs.iter().find(|job| job.load.digits > u64::from(u32::MAX)) {
            return shape(OP, "fewer than 2^32 digits in a column", format!("{} scalars", long.n));
        }
        let batches = batches(&jobs);
        // Before any allocation: a commitment that does not fit in memory is rejected with the bytes it
        // needs.
        for batch in &batches {
            let load = batch.iter().fold(Load::default(), |load, job| load.plus(job.load));
            self.require_memory(OP, load.bytes_max())?;
        }
        let windows: usize = jobs.iter().map(|job| job.plan.windows as usize).sum();
        let out = self.take_scratch(OP, windows, XYZZ)?;
        let mut at = out.start();
        for jobs in batches {
            let batch = self.batch(jobs, bases.len, None)?;
            self.sum_windows(block.start(), &batch, at)?;
            at = at.plus(XYZZ * batch.sizes.load.windows);
        }
        let plans = planned.iter().map(|job| job.map(|job| job.plan)).collect();
        Ok(Queued { plans, sums: Some(out) })
    }

    /// Waits for the sums of commitments, and joins the windows of each column.
    fn joined_sums(&self, queued: &[Queued]) -> Result<Vec<G1Affine>, DeviceError> {
        let mut points = Vec::new();
        for Queued { plans, sums } in queued {
            let windows: usize = plans.iter().flatten().map(|plan| plan.windows as usize).sum();
            let sums = match sums {
                Some(sums) => self.download_words(OP, sums.start(), 16 * windows)?,
                None => Vec::new(),
            };
            let sums = self.checked_sums(&sums)?;
            let mut sums = sums.as_slice();
            for plan in plans {
                let Some(plan) = plan else {
                    points.push(G1Projective::ZERO);
                    continue;
                };
                let (own, rest) = sums.split_at(plan.windows as usize);
                sums = rest;
                points.push(joined(*plan, own));
            }
        }
        Ok(ark_ec::CurveGroup::normalize_batch(&points))
    }
}

/// Splits columns into batches that fit in the memory of a commitment, each of one column or more.
fn batches<'b, 'a>(jobs: &'b [Job<'a>]) -> Vec<&'b [Job<'a>]> {
    let longest = jobs.iter().map(|job| job.n as u64).max().unwrap_or(0);
    let loads: Vec<Load> = jobs.iter().map(|job| job.load).collect();
    batches_of(&loads, longest).into_iter().map(|batch| &jobs[batch]).collect()
}

/// The batches of columns with such loads, of which the longest has so many scalars.
pub(crate) fn batches_of(loads: &[Load], longest: u64) -> Vec<Range<usize>> {
    let bytes_max = batch_bytes_max(longest);
    let fits = |load: Load| {
        let all = load.keys + load.digits;
        load.bytes_max() <= bytes_max && all <= u64::from(u32::MAX)
    };
    let mut batches = Vec::new();
    let (mut from, mut load) = (0, Load::default());
    for (at, own) in loads.iter().enumerate() {
        if at > from && !fits(load.plus(*own)) {
            batches.push(from..at);
            (from, load) = (at, Load::default());
        }
        load = load.plus(*own);
    }
    if from < loads.len() {
        batches.push(from..loads.len());
    }
    batches
}

impl Msm for CudaDevice {
    type Bases = CudaBases;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<CudaBases, DeviceError> {
        const OP: &str = "register_bases";
        if bases.is_empty() {
            return Ok(CudaBases { block: None, len: 0, slices: Slices::ONE });
        }
        let block = self.upload_bytes(OP, &base_bytes(bases))?;
        let slices = self.slices(bases.len());
        let block =
            if slices.count == 1 { block } else { self.table(&block, bases.len(), slices)? };
        Ok(CudaBases { block: Some(block), len: bases.len(), slices })
    }

    fn commit(
        &self,
        bases: &CudaBases,
        columns: &[&CudaBuffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        let queued = self.queue_sums(bases, columns)?;
        self.joined_sums(&[queued])
    }

    /// The copies have a stream of their own. While some columns are summed, the host copies the next ones, which wait
    /// for nothing; the pass that counts the lengths of their scalars waits for them, and comes after the sums.
    fn upload_and_commit(
        &self,
        bases: &CudaBases,
        columns: &[HostColumn<'_>],
    ) -> Result<Committed<CudaBuffer>, DeviceError> {
        for column in columns {
            check_start(column.start, column.values.len())?;
            require_bases(bases, column.elements())?;
        }
        let bytes = self.card.options.overlap_bytes.unwrap_or(OVERLAP_BYTES);
        let (mut buffers, mut queued) = (Vec::with_capacity(columns.len()), Vec::new());
        for group in groups(columns, bytes) {
            let from = buffers.len();
            for column in group {
                buffers.push(self.upload_column("upload", *column)?);
            }
            let refs: Vec<&CudaBuffer> = buffers[from..].iter().collect();
            queued.push(self.queue_sums(bases, &refs)?);
        }
        let points = self.joined_sums(&queued)?;
        Ok((buffers, points))
    }
}

fn require_bases(bases: &CudaBases, scalars: usize) -> Result<(), DeviceError> {
    if scalars <= bases.len {
        return Ok(());
    }
    shape(OP, format!("at most {} scalars", bases.len), scalars.to_string())
}

/// Splits columns, which mostly have one length, into groups of at least `bytes`, of which the last ones may have one
/// column more: nothing is summed while the first group travels.
fn groups<'b, 'a>(columns: &'b [HostColumn<'a>], bytes: u64) -> Vec<&'b [HostColumn<'a>]> {
    let elements: usize = columns.iter().map(HostColumn::elements).sum();
    let wanted = elements as u64 * ELEMENT / bytes.max(1);
    let count = usize::try_from(wanted).unwrap_or(usize::MAX).min(columns.len()).max(1);
    let end = |group: usize| group * columns.len() / count;
    (0..count).map(|group| &columns[end(group)..end(group + 1)]).collect()
}

/// Bases as the kernels have them; (0, 0) represents the identity.
pub(crate) fn base_bytes(bases: &[G1Affine]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(bases.len() * AFFINE as usize);
    for base in bases {
        let (x, y) = base.xy().unwrap_or((Fq::ZERO, Fq::ZERO));
        let limbs = x.0.0.into_iter().chain(y.0.0);
        limbs.for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
    }
    bytes
}

/// The sum of the windows of a column, each times its weight.
fn joined(plan: Plan, windows: &[G1Projective]) -> G1Projective {
    let mut point = G1Projective::ZERO;
    for (window, sum) in windows.iter().enumerate().rev() {
        for _ in 0..plan.width(window as u32) {
            point.double_in_place();
        }
        point += sum;
    }
    point
}

#[cfg(test)]
mod tests;
