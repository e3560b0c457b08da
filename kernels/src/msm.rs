//! Multi-scalar multiplication; see `cuda/msm.cuh`.

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, PrimeField};
use rollmill_algebra::device::{DeviceBuffer, DeviceError, Msm};
use rollmill_algebra::{Fq, G1Affine, G1Projective, batch_invert};

use crate::arena::{At, Block};
use crate::device::{CudaBuffer, CudaDevice, shape};
use crate::launch::Argument::{In, Null, Out, U32, U64};
use crate::vector::CHUNK;

const OP: &str = "commit";
/// Bytes of an affine point and of a sum (X, Y, ZZ, ZZZ).
const AFFINE: u64 = 64;
const XYZZ: u64 = 128;
/// Sums that a thread merges, as in the kernels.
const MERGE: u32 = 16;
/// Threads that keep a large card busy.
const THREADS_WANTED: u64 = 1 << 17;
/// Products of 32 bits in a mixed addition, and in the two full additions of a bucket's reduction.
const COST_ENTRY: u64 = 1196;
const COST_BUCKET: u64 = 2 * 1724;

/// Bases in device memory.
#[derive(Debug)]
pub struct CudaBases {
    block: Option<Block>,
    len: usize,
}

/// How scalars are split into windows, and buckets into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// Bits of a window.
    c: u32,
    windows: u32,
    /// Entries of a bucket that one thread adds.
    chunk_len: u32,
}

/// The cheapest plan for scalars of at most `bits` bits, `sum_bits` of them together.
fn plan(bits: u32, sum_bits: u64) -> Plan {
    let windows = |c: u32| (bits + 1).div_ceil(c);
    let cost = |c: u32| {
        let entries = sum_bits / u64::from(c);
        entries * COST_ENTRY + (u64::from(windows(c)) << (c - 1)) * COST_BUCKET
    };
    let c = (2..=20).min_by_key(|c| cost(*c)).unwrap_or(2);
    let entries = sum_bits / u64::from(c);
    let mean = entries / (u64::from(windows(c)) << (c - 1));
    let most = (4 * mean).clamp(16, 1 << 16);
    let chunk_len = (entries / THREADS_WANTED).clamp(16, most) as u32;
    Plan { c, windows: windows(c), chunk_len }
}

/// Bytes of device memory that a commitment to `n` scalars of any size takes at most, besides bases
/// and scalars.
pub(crate) fn commit_bytes(n: usize) -> u64 {
    plan_bytes(plan(253, 253 * n as u64), n as u64)
}

fn plan_bytes(Plan { c, windows, chunk_len }: Plan, n: u64) -> u64 {
    let keys = u64::from(windows) << (c - 1);
    let entries = n * u64::from(windows);
    let chunks = keys.min(entries) + entries / u64::from(chunk_len);
    // Counters, offsets, chunks, slots and cursors with the levels of their prefix sums; entries; chunks in
    // order and their sums, and these merged once.
    let bytes = 5 * 4 * keys * 17 / 16 + 4 * entries + chunks * (12 + XYZZ + XYZZ / 16);
    // Blocks come in eight steps for each power of two.
    bytes / 8 * 9 + (1 << 16)
}

impl CudaDevice {
    fn zeroed(&self, bytes: u64) -> Result<Block, DeviceError> {
        let block = self.take(OP, 1, bytes)?;
        self.clear(OP, block.start(), bytes)?;
        Ok(block)
    }

    /// Exclusive prefix sums of `n` counters.
    fn scan_counts(&self, counts: At<'_>, n: usize) -> Result<Block, DeviceError> {
        let chunks = n.div_ceil(CHUNK);
        let before = if n > CHUNK {
            let folds = self.take(OP, chunks, 4)?;
            let arguments = vec![Out(folds.start()), In(counts), U64(n as u64)];
            self.launch(OP, "msm_fold_counts", 256, chunks, arguments)?;
            Some(self.scan_counts(folds.start(), chunks)?)
        } else {
            None
        };
        let out = self.take(OP, n, 4)?;
        let before = before.as_ref().map_or(Null, |block| In(block.start()));
        let arguments = vec![Out(out.start()), In(counts), before, U64(n as u64)];
        self.launch(OP, "msm_scan_counts", 256, chunks, arguments)?;
        Ok(out)
    }

    /// Splits buckets of `counts` entries into chunks of at most `length` entries, which the kernels call
    /// pieces. Returns the chunks per bucket, their prefix sums, the total, and the most of one bucket.
    fn split_buckets(
        &self,
        counts: At<'_>,
        keys: usize,
        length: u32,
    ) -> Result<(Block, Block, u32, u32), DeviceError> {
        // A last counter of zero, so that the prefix sums end with the total.
        let chunks = self.zeroed(4 * (keys as u64 + 1))?;
        let most = self.zeroed(8)?;
        let arguments =
            vec![In(counts), U64(keys as u64), U32(length), Out(chunks.start()), Out(most.start())];
        self.launch(OP, "msm_pieces", 256, keys, arguments)?;
        let slots = self.scan_counts(chunks.start(), keys + 1)?;
        // Both numbers in one download.
        let total = slots.start().plus(4 * keys as u64);
        self.copy(OP, most.start().plus(4), total, 4)?;
        let word = self.download_words(OP, most.start(), 1)?[0];
        Ok((chunks, slots, (word >> 32) as u32, word as u32))
    }

    /// The sum of each window of one column, lowest first; on the device.
    fn window_sums(
        &self,
        bases: At<'_>,
        scalars: At<'_>,
        n: usize,
        plan: Plan,
    ) -> Result<Block, DeviceError> {
        let Plan { c, windows, chunk_len } = plan;
        let keys = (windows as usize) << (c - 1);
        if n as u64 * u64::from(windows) > u64::from(u32::MAX) {
            return shape(OP, "fewer than 2^32 digits in a column", format!("{n} scalars"));
        }

        let counts = self.zeroed(4 * (keys as u64 + 1))?;
        let of_scalars = |to| vec![In(scalars), U64(n as u64), U32(c), U32(windows), Out(to)];
        self.launch(OP, "msm_count", 256, n, of_scalars(counts.start()))?;
        let offsets = self.scan_counts(counts.start(), keys + 1)?;
        let (mut chunks, mut slots, mut total, mut most) =
            self.split_buckets(counts.start(), keys, chunk_len)?;

        let cursors = self.take(OP, keys + 1, 4)?;
        let bytes = 4 * (keys as u64 + 1);
        self.copy(OP, cursors.start(), offsets.start(), bytes)?;
        let entries = self.take(OP, n * windows as usize, 4)?;
        let mut arguments = of_scalars(cursors.start());
        arguments.push(Out(entries.start()));
        self.launch(OP, "msm_scatter", 256, n, arguments)?;

        // Chunks in order of their size, the longest first.
        let bins = self.zeroed(4 * u64::from(chunk_len))?;
        let (offsets, places) = (In(offsets.start()), In(slots.start()));
        let of_slots = |bins| {
            let (offsets, places) = (offsets.clone(), places.clone());
            vec![offsets, places, U64(keys as u64), U32(chunk_len), U32(total), Out(bins)]
        };
        self.launch(OP, "msm_sizes", 256, total as usize, of_slots(bins.start()))?;
        let starts = self.scan_counts(bins.start(), chunk_len as usize)?;
        let order = self.take(OP, total as usize, 12)?;
        let mut arguments = of_slots(starts.start());
        arguments.push(Out(order.start()));
        self.launch(OP, "msm_order", 256, total as usize, arguments)?;

        let mut sums = self.take(OP, total as usize, XYZZ)?;
        let arguments =
            vec![In(order.start()), U32(total), In(entries.start()), In(bases), Out(sums.start())];
        self.launch(OP, "msm_accumulate", 128, total as usize, arguments)?;

        while most > 1 {
            let (next_chunks, next_slots, next_total, next_most) =
                self.split_buckets(chunks.start(), keys, MERGE)?;
            let merged = self.take(OP, next_total as usize, XYZZ)?;
            let arguments = vec![
                In(sums.start()),
                In(slots.start()),
                In(next_slots.start()),
                U64(keys as u64),
                U32(next_total),
                Out(merged.start()),
            ];
            self.launch(OP, "msm_merge", 128, next_total as usize, arguments)?;
            (chunks, slots, total, most, sums) =
                (next_chunks, next_slots, next_total, next_most, merged);
        }
        debug_assert!(total as usize <= keys);
        self.reduce(sums.start(), slots.start(), plan)
    }

    fn reduce(&self, sums: At<'_>, slots: At<'_>, plan: Plan) -> Result<Block, DeviceError> {
        let log_buckets = plan.c - 1;
        let keys = u64::from(plan.windows) << log_buckets;
        let log_segment = (keys / THREADS_WANTED).max(1).ilog2().clamp(3, 6).min(log_buckets);
        let mut length = 1u32 << (log_buckets - log_segment);
        let total = plan.windows as usize * length as usize;
        let mut rows = self.take(OP, total, XYZZ)?;
        let arguments = vec![
            In(sums),
            In(slots),
            U32(log_buckets),
            U32(log_segment),
            U32(total as u32),
            Out(rows.start()),
        ];
        self.launch(OP, "msm_reduce", 128, total, arguments)?;
        while length > 1 {
            let shorter = length.div_ceil(MERGE);
            let threads = plan.windows as usize * shorter as usize;
            let next = self.take(OP, threads, XYZZ)?;
            let arguments =
                vec![In(rows.start()), U32(length), U32(plan.windows), Out(next.start())];
            self.launch(OP, "msm_sum", 128, threads, arguments)?;
            (rows, length) = (next, shorter);
        }
        Ok(rows)
    }

    /// Bits of the largest scalar of each column, and of all its scalars together.
    fn classify(&self, columns: &[&CudaBuffer]) -> Result<Vec<(u32, u64)>, DeviceError> {
        let found = self.zeroed(16 * columns.len() as u64)?;
        for (i, column) in columns.iter().enumerate() {
            if let Some(scalars) = column.start() {
                let (n, to) = (column.len(), found.start().plus(16 * i as u64));
                let arguments = vec![In(scalars), U64(n as u64), Out(to)];
                self.launch(OP, "msm_classify", 256, n, arguments)?;
            }
        }
        let words = self.download_words(OP, found.start(), 2 * columns.len())?;
        Ok(words.chunks_exact(2).map(|pair| (pair[0] as u32, pair[1])).collect())
    }

    /// Reads sums (X, Y, ZZ, ZZZ) and makes them affine.
    fn affine_sums(&self, words: &[u64]) -> Result<Vec<G1Affine>, DeviceError> {
        let coordinate = |limbs: &[u64]| {
            let number = BigInt([limbs[0], limbs[1], limbs[2], limbs[3]]);
            if number >= Fq::MODULUS {
                return Err(self.wrong(OP, "a coordinate is not below the modulus"));
            }
            Ok(Fq::new_unchecked(number))
        };
        let numbers: Vec<Fq> = words.chunks_exact(4).map(coordinate).collect::<Result<_, _>>()?;
        let mut inverses: Vec<Fq> =
            numbers.chunks_exact(4).flat_map(|sum| [sum[2], sum[3]]).collect();
        batch_invert(&mut inverses);
        let point = |(sum, inverse): (&[Fq], &[Fq])| {
            if sum[2] == Fq::ZERO {
                return Ok(G1Affine::identity());
            }
            let point = G1Affine::new_unchecked(sum[0] * inverse[0], sum[1] * inverse[1]);
            if !point.is_on_curve() {
                return Err(self.wrong(OP, "a sum is not a point of the curve"));
            }
            Ok(point)
        };
        numbers.chunks_exact(4).zip(inverses.chunks_exact(2)).map(point).collect()
    }
}

impl Msm for CudaDevice {
    type Bases = CudaBases;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<CudaBases, DeviceError> {
        const OP: &str = "register_bases";
        if bases.is_empty() {
            return Ok(CudaBases { block: None, len: 0 });
        }
        let mut bytes = Vec::with_capacity(bases.len() * AFFINE as usize);
        for base in bases {
            // (0, 0) represents the identity.
            let (x, y) = base.xy().unwrap_or((Fq::ZERO, Fq::ZERO));
            let limbs = x.0.0.into_iter().chain(y.0.0);
            limbs.for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
        }
        let block = self.upload_bytes(OP, &bytes)?;
        Ok(CudaBases { block: Some(block), len: bases.len() })
    }

    fn commit(
        &self,
        bases: &CudaBases,
        columns: &[&CudaBuffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        if let Some(long) = columns.iter().find(|column| column.len() > bases.len) {
            let expected = format!("at most {} scalars", bases.len);
            return shape(OP, expected, long.len().to_string());
        }
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let classes = self.classify(columns)?;
        // Before any allocation: a commitment that does not fit in memory is rejected with the bytes it
        // needs.
        for (column, (bits, sum_bits)) in columns.iter().zip(&classes) {
            self.require_memory(OP, plan_bytes(plan(*bits, *sum_bits), column.len() as u64))?;
        }
        let mut sums = Vec::with_capacity(columns.len());
        for (column, (bits, sum_bits)) in columns.iter().zip(classes) {
            let found = match (&bases.block, column.start()) {
                (Some(block), Some(scalars)) if bits > 0 => {
                    let plan = plan(bits, sum_bits);
                    Some((self.window_sums(block.start(), scalars, column.len(), plan)?, plan))
                }
                _ => None,
            };
            sums.push(found);
        }
        let mut points = Vec::with_capacity(columns.len());
        for found in sums {
            let Some((block, plan)) = found else {
                points.push(G1Projective::ZERO);
                continue;
            };
            let words = self.download_words(OP, block.start(), 16 * plan.windows as usize)?;
            let mut point = G1Projective::ZERO;
            for window in self.affine_sums(&words)?.iter().rev() {
                for _ in 0..plan.c {
                    point.double_in_place();
                }
                point += window;
            }
            points.push(point);
        }
        Ok(ark_ec::CurveGroup::normalize_batch(&points))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_have_room_for_every_digit_and_a_carry() {
        for bits in 1..=253 {
            for log_n in [0, 4, 10, 16, 20, 24] {
                let plan = plan(bits, u64::from(bits) << log_n);
                assert!(plan.c * plan.windows > bits, "{bits} bits: {plan:?}");
                assert!(plan.chunk_len >= 16, "{plan:?}");
            }
        }
    }

    #[test]
    fn windows_grow_with_the_column() {
        assert!(plan(253, 253 << 22).c > plan(253, 253 << 12).c);
        assert_eq!(plan(1, 1 << 20).windows, 1);
    }
}
