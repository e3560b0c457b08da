//! Sizes that decide how long the CPU device takes, and never what it returns.

use std::ops::RangeInclusive;

use ark_ec::{AdditiveGroup as _, CurveGroup, PrimeGroup};
use ark_ff::Field;

use super::{CpuBases, CpuBuffer, CpuDevice, CpuPath};
use crate::device::{DeviceError, Memory, Msm};
use crate::{Fr, G1Affine, G1Projective};

/// Sizes that suit one machine. Every value in range gives the same results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// What a bucket of an MSM costs, in hundredths of the addition of an entry to its bucket.
    bucket_cost: u32,
    /// Base-2 logarithm of the entries that are added up together.
    log_block: u32,
    /// The width of all windows, where it is not chosen by cost.
    window: Option<u32>,
}

impl Tuning {
    /// Values of [`Self::bucket_cost`].
    pub const BUCKET_COSTS: RangeInclusive<u32> = 100..=2_000;
    /// Values of [`Self::log_block`]. Smaller blocks would share an inversion among too few additions; the points of
    /// larger ones need 8 MiB and more for each thread.
    pub const LOG_BLOCKS: RangeInclusive<u32> = 10..=16;

    /// `None` if a value is out of range.
    pub fn new(bucket_cost: u32, log_block: u32) -> Option<Self> {
        let is_valid =
            Self::BUCKET_COSTS.contains(&bucket_cost) && Self::LOG_BLOCKS.contains(&log_block);
        is_valid.then_some(Self { bucket_cost, log_block, window: None })
    }

    /// What suits a path where nothing was measured.
    pub const fn of(path: CpuPath) -> Self {
        let bucket_cost = match path {
            // Two additions, and as much again twice for keeping account of the bucket, as measured.
            CpuPath::Ifma => 600,
            // An addition takes four times as long, and keeping account no longer.
            CpuPath::Portable | CpuPath::Adx | CpuPath::Avx2 => 300,
        };
        // The points in between, 64 bytes each, stay in or near the second-level cache.
        Self { bucket_cost, log_block: 14, window: None }
    }

    /// What a bucket of an MSM costs, in hundredths of the addition of an entry to its bucket: the dearer, the narrower
    /// the windows.
    pub fn bucket_cost(self) -> u32 {
        self.bucket_cost
    }

    /// Base-2 logarithm of the entries of an MSM that are added up together, and share inversions.
    pub fn log_block(self) -> u32 {
        self.log_block
    }

    pub(super) fn block(self) -> usize {
        1 << self.log_block
    }

    pub(super) fn window(self) -> Option<u32> {
        self.window
    }
}

/// Points of a calibration. Their 2 MiB exceed most second-level caches.
const LOG_POINTS: u32 = 15;
/// Widths that the cost of a bucket follows from: with few buckets, and with a quarter as many as points.
const NARROW: u32 = 8;
const WIDE: u32 = 14;
/// Most columns of a calibration. The device commits to as many together.
const COLUMNS_MAX: usize = 26;
/// Runs of each choice, of which the fastest counts: what disturbs a run only makes it slower.
const RUNS: usize = 3;
/// Another block must take at least this much less time than the usual one.
const GAIN: f64 = 0.98;

impl CpuDevice {
    /// The device with these sizes.
    pub fn tuned(self, tuning: Tuning) -> Self {
        Self { tuning, ..self }
    }

    /// The sizes in use.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Finds the sizes for this machine by some thirty short commitments, one or two seconds in all, and uses them from
    /// now on. `seconds` is a clock.
    ///
    /// # Errors
    /// Those of the device.
    pub fn calibrate(&mut self, seconds: &dyn Fn() -> f64) -> Result<Tuning, DeviceError> {
        let usual = Tuning::of(self.path());
        let n = 1 << LOG_POINTS;
        let bases = self.register_bases(&points(n))?;
        let column = self.upload(&scalars(n))?;
        let columns = vec![&column; columns(self.threads())];
        let mut least = |tuning: Tuning| -> Result<f64, DeviceError> {
            self.tuning = tuning;
            let mut least = f64::INFINITY;
            // The first run finds the memory that later ones use.
            for run in 0..=RUNS {
                let taken = self.timed(&bases, &columns, seconds)?;
                least = if run == 0 { least } else { least.min(taken) };
            }
            Ok(least)
        };
        let [narrow, wide] =
            [NARROW, WIDE].map(|width| least(Tuning { window: Some(width), ..usual }));
        let measured = bucket_cost(n, [(NARROW, narrow?), (WIDE, wide?)]);
        let mut best = Tuning { bucket_cost: measured.unwrap_or(usual.bucket_cost), ..usual };
        let mut limit = GAIN * least(best)?;
        for log_block in 11..=15 {
            let other = Tuning { log_block, ..best };
            let taken = least(other)?;
            if taken < limit {
                (best, limit) = (other, taken);
            }
        }
        self.tuning = best;
        Ok(best)
    }

    fn timed(
        &self,
        bases: &CpuBases,
        columns: &[&CpuBuffer],
        seconds: &dyn Fn() -> f64,
    ) -> Result<f64, DeviceError> {
        let started = seconds();
        self.commit(bases, columns)?;
        Ok(seconds() - started)
    }
}

/// Columns that a calibration commits to at once. A single one has fewer windows of the wide ones than a large machine
/// has threads, and those windows are too few entries to be cut: threads without work would count as the cost of
/// buckets.
fn columns(threads: usize) -> usize {
    threads.div_ceil(2).min(COLUMNS_MAX)
}

/// The cost of a bucket, from the times of MSMs with `n` scalars of 253 bits by two widths: each time is
/// `windows · n · entry + buckets · bucket`. `None` where the times cannot be those of this machine alone.
fn bucket_cost(n: usize, [narrow, wide]: [(u32, f64); 2]) -> Option<u32> {
    const BITS: u32 = 253;
    let counts = |width: u32| {
        let windows = BITS.div_ceil(width);
        let top = BITS - width * (windows - 1);
        let buckets =
            f64::from(windows - 1) * f64::from(1u32 << (width - 1)) + f64::from(1u32 << top);
        (f64::from(windows) * n as f64, buckets)
    };
    let ((entries, buckets), (entries_wide, buckets_wide)) = (counts(narrow.0), counts(wide.0));
    let determinant = entries * buckets_wide - entries_wide * buckets;
    let entry = (narrow.1 * buckets_wide - wide.1 * buckets) / determinant;
    let bucket = (entries * wide.1 - entries_wide * narrow.1) / determinant;
    let cost = (100.0 * bucket / entry).round();
    let is_sound = entry > 0.0 && bucket > 0.0 && cost.is_finite();
    let (least, most) = (*Tuning::BUCKET_COSTS.start(), *Tuning::BUCKET_COSTS.end());
    is_sound.then(|| cost.clamp(f64::from(least), f64::from(most)) as u32)
}

/// Points without a pattern that would make sums of buckets equal: each is twice the one before and the generator.
pub(super) fn points(n: usize) -> Vec<G1Affine> {
    let generator = G1Projective::generator();
    let each = std::iter::successors(Some(generator), |point| Some(point.double() + generator));
    G1Projective::normalize_batch(&each.take(n).collect::<Vec<_>>())
}

/// Scalars that look uniform.
fn scalars(n: usize) -> Vec<Fr> {
    let first = Fr::from(0x9e37_79b9_7f4a_7c15_u64).square().square();
    let each = std::iter::successors(Some(first), |x| Some(x.square() + first));
    each.take(n).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::conformance::numbers;

    /// Goal: no choice changes a result. Method: widths of windows with the smallest, the usual and the largest block,
    /// and both ends of the costs, on every path, on scalars of all sizes and more entries than a small block has.
    #[test]
    fn every_choice_gives_the_same_sums() {
        let n = 1500;
        let bases = points(n);
        let mut mixed = numbers(3, "mixed", n);
        mixed.iter_mut().step_by(3).for_each(|x| *x = Fr::from(7u64));
        mixed[..5].copy_from_slice(&[Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(1u64 << 40), Fr::ZERO]);
        let small: Vec<u16> = (0..n as u32).map(|i| ((i * 40_503) >> 3) as u16).collect();
        let mut expected: Option<Vec<G1Affine>> = None;
        let (least, most) = (*Tuning::BUCKET_COSTS.start(), *Tuning::BUCKET_COSTS.end());
        let blocks = [*Tuning::LOG_BLOCKS.start(), 14, *Tuning::LOG_BLOCKS.end()];
        let mut choices = Vec::new();
        for log_block in blocks {
            // Wider windows have more buckets than a test has time for, but for the widest.
            for width in (2..=12).chain([17]) {
                choices.push(Tuning { bucket_cost: least, log_block, window: Some(width) });
            }
            for bucket_cost in [least, most] {
                choices.push(Tuning { bucket_cost, log_block, window: None });
            }
        }
        for path in CpuPath::ALL {
            let Some(mut device) = CpuDevice::on_path(path, 2) else { continue };
            let registered = device.register_bases(&bases).unwrap();
            let columns = [
                device.upload(&mixed).unwrap(),
                device.upload_u16(&small).unwrap(),
                device.upload(&vec![mixed[1400]; n]).unwrap(),
            ];
            let columns = columns.each_ref();
            for tuning in &choices {
                device = device.tuned(*tuning);
                let sums = device.commit(&registered, &columns).unwrap();
                assert_eq!(expected.get_or_insert(sums.clone()), &sums, "{path}, {tuning:?}");
            }
        }
    }

    #[test]
    fn a_calibration_finds_valid_sizes_and_changes_no_result() {
        let mut device = CpuDevice::new(2);
        let bases = points(300);
        let registered = device.register_bases(&bases).unwrap();
        let column = device.upload(&scalars(300)).unwrap();
        let before = device.commit(&registered, &[&column]).unwrap();
        // A clock that advances evenly, and one that stands.
        let ticks = Cell::new(0.0);
        let clock = || {
            ticks.set(ticks.get() + 1.0);
            ticks.get()
        };
        let found = device.calibrate(&clock).unwrap();
        assert_eq!(Tuning::new(found.bucket_cost(), found.log_block()), Some(found));
        assert_eq!(device.tuning(), found);
        let still = device.calibrate(&|| 7.0).unwrap();
        assert_eq!(still, Tuning::of(device.path()), "nothing was measured");
        assert_eq!(device.commit(&registered, &[&column]).unwrap(), before);
    }

    /// Otherwise waiting would be taken for the cost of buckets, and windows would be too narrow on large machines.
    #[test]
    fn a_calibration_keeps_the_threads_of_large_machines_busy() {
        for threads in 1..=64 {
            for width in [NARROW, WIDE] {
                let windows = columns(threads) * 253usize.div_ceil(width as usize);
                let of_threads = windows.div_ceil(threads) * threads;
                assert!(8 * of_threads <= 9 * windows, "{threads} threads, {width} bits");
            }
        }
    }

    /// Method: times made of a known cost.
    #[test]
    fn the_cost_of_a_bucket_is_solved_from_two_times() {
        let n = 1 << LOG_POINTS;
        let time = |entry: f64, bucket: f64| {
            // 32 windows of 8 bits, the top one of 5; 19 of 14 bits, the top one of a single bit.
            let narrow = 32.0 * n as f64 * entry + (31.0 * 128.0 + 32.0) * bucket;
            let wide = 19.0 * n as f64 * entry + (18.0 * 8192.0 + 2.0) * bucket;
            [(NARROW, narrow), (WIDE, wide)]
        };
        assert_eq!(bucket_cost(n, time(1e-7, 3.2e-7)), Some(320));
        assert_eq!(bucket_cost(n, time(1e-7, 9e-5)), Some(*Tuning::BUCKET_COSTS.end()));
        assert_eq!(bucket_cost(n, time(1e-7, -1e-9)), None);
        assert_eq!(bucket_cost(n, [(NARROW, 0.0), (WIDE, 0.0)]), None);
    }

    #[test]
    fn sizes_out_of_range_are_rejected() {
        for path in CpuPath::ALL {
            let usual = Tuning::of(path);
            assert_eq!(Tuning::new(usual.bucket_cost, usual.log_block), Some(usual));
        }
        for (cost, block) in [(99, 14), (2001, 14), (300, 9), (300, 17)] {
            assert_eq!(Tuning::new(cost, block), None);
        }
    }
}
