//! What the passes of a commitment cover, and the memory that they take.

use parking_lot::Mutex;

use crate::arena::rounded;
use crate::plan::{DOUBLE, FULL, LENGTHS, Plan, Reach, SPAN, full};

/// Bytes of an affine point and of a sum (X, Y, ZZ, ZZZ).
pub(crate) const AFFINE: u64 = 64;
pub(crate) const XYZZ: u64 = 128;
/// Bytes of `MsmPiece` and of `MsmCut`.
const PIECE: u64 = 12;
const CUT: u64 = 12;
/// Counters of a block of `msm_fold_counts` and `msm_scan_counts`.
pub(crate) const SCAN_BLOCK: u64 = 4096;
/// Scalars of a proof's columns beyond a power of two.
const EXTRA: u64 = 8;
/// Full columns that a batch has memory for, up to so many bytes: the chunks of a quotient.
const COLUMNS: u64 = 5;
const BATCH_BYTES_MAX: u64 = 288 << 20;
/// Entries of a piece: not so few that most buckets are cut, ...
const LENGTH_MIN: u64 = 64;
/// ... and not so many that one bucket has more pieces than a block merges in a moment.
const CUT_PIECES_MAX: u64 = 8192;
/// Threads that a multiprocessor runs of `msm_accumulate`: four blocks of 128, by its registers.
const THREADS: u64 = 512;
/// Bins of a partition of digits, scalars of a block that partitions, digits of a tile and bytes of `MsmPair`, as in the
/// kernels.
pub(crate) const BINS: u64 = 2048;
pub(crate) const SCALARS: u64 = 256 * 8;
pub(crate) const TILE: u64 = 4096;
pub(crate) const PAIR: u64 = 8;
/// Digits from which on a batch partitions them. The counters of fewer are added to in memory, in passes that move less.
pub(crate) const PARTITION_DIGITS: u64 = 1 << 22;
/// Buckets of a lane of `msm_reduce`, as a power of two.
const SEGMENT_MIN: u32 = 2;
const SEGMENT_MAX: u32 = 5;

/// What columns bring into a batch, at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) columns: u64,
    /// Buckets.
    pub(crate) keys: u64,
    /// Digits that are not zero.
    pub(crate) digits: u64,
    pub(crate) windows: u64,
    /// Groups of a warp's buckets.
    groups: u64,
    /// Digits of one bucket.
    run: u64,
}

impl Load {
    /// That of a column of `n` scalars.
    pub(crate) fn of(plan: Plan, reach: &Reach, n: u64) -> Self {
        Self {
            columns: 1,
            keys: plan.buckets(),
            digits: plan.digits(reach),
            windows: u64::from(plan.windows),
            groups: plan.groups(32 << SEGMENT_MIN),
            run: n * u64::from(plan.slices),
        }
    }

    /// That of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            columns: self.columns + other.columns,
            keys: self.keys + other.keys,
            digits: self.digits + other.digits,
            windows: self.windows + other.windows,
            groups: self.groups + other.groups,
            run: self.run.max(other.run),
        }
    }

    /// Bytes of device memory that such a batch takes at most.
    pub(crate) fn bytes_max(self) -> u64 {
        let mut bytes = blocks(self, LENGTH_MIN, self.groups);
        // Bins for longer pieces.
        bytes[0] += 4 * self.length_max();
        bytes.iter().map(|bytes| rounded(*bytes)).sum()
    }

    /// Upper bound of the length of a piece.
    fn length_max(self) -> u64 {
        (self.digits / 128).clamp(LENGTH_MIN, 1 << 16)
    }
}

/// Bytes of each block of a batch: counters, offsets, cursors, folds, entries, pieces, cuts, sums, sums of groups,
/// the lists of columns and windows, and for a partition its bins and digits.
fn blocks(load: Load, length: u64, groups: u64) -> [u64; 13] {
    let Load { columns, keys, digits, windows, .. } = load;
    let pieces = keys.min(digits) + digits / length;
    // A bucket that is cut has more than `length` entries, so at most twice as many pieces as whole ones.
    let cuts = digits / length;
    let partitioned = u64::from(digits >= PARTITION_DIGITS);
    [
        4 * (keys + 1 + length + 1 + 2),
        4 * (keys + 1),
        4 * (keys + 1),
        4 * (keys + 1).div_ceil(SCAN_BLOCK),
        4 * digits,
        PIECE * pieces,
        CUT * cuts.max(1),
        XYZZ * (keys + 2 * cuts),
        2 * XYZZ * groups,
        40 * columns,
        16 * (windows + 1),
        4 * BINS * partitioned,
        PAIR * digits * partitioned,
    ]
}

/// The sizes of a batch on a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) load: Load,
    /// Scalars of the longest column.
    pub(crate) longest: u64,
    /// Most entries of a piece.
    pub(crate) length: u32,
    pub(crate) log_segment: u32,
    pub(crate) groups: u64,
}

impl Sizes {
    /// Those of columns with such plans.
    pub(crate) fn new(load: Load, plans: &[Plan], longest: u64, multiprocessors: u32) -> Self {
        let threads = THREADS * u64::from(multiprocessors);
        let mean = load.digits / load.keys.max(1);
        let busy = (4 * load.digits / threads).max(LENGTH_MIN);
        let length = (4 * mean).clamp(LENGTH_MIN, busy).max(load.run.div_ceil(CUT_PIECES_MAX));
        let length = length.min(load.length_max()) as u32;
        let without = Self { load, longest, length, log_segment: 0, groups: 0 };
        without.with_segment(plans, log_segment(plans, multiprocessors))
    }

    /// With segments of another length.
    pub(crate) fn with_segment(self, plans: &[Plan], log_segment: u32) -> Self {
        let groups = plans.iter().map(|plan| plan.groups(32 << log_segment)).sum();
        Self { log_segment, groups, ..self }
    }

    /// Bytes of each block, as [`blocks`] lists them.
    pub(crate) fn blocks(&self) -> [u64; 13] {
        blocks(self.load, u64::from(self.length), self.groups)
    }

    /// Pieces that there can be at most.
    pub(crate) fn pieces(&self) -> u64 {
        self.load.keys.min(self.load.digits) + self.load.digits / u64::from(self.length)
    }

    /// Blocks of `msm_merge`: one for each bucket that can be cut, and no more than keep the card busy.
    pub(crate) fn merging_blocks(&self, multiprocessors: u32) -> u32 {
        let cuts = self.load.digits / u64::from(self.length);
        cuts.clamp(1, 8 * u64::from(multiprocessors)) as u32
    }

    /// How far keys are shifted to make bins of them.
    pub(crate) fn shift(&self) -> u32 {
        let bits = u64::BITS - (self.load.keys.max(1) - 1).leading_zeros();
        bits.saturating_sub(BINS.ilog2())
    }

    /// Groups of a window.
    pub(crate) fn groups_of(&self, log_buckets: u32) -> u64 {
        (1u64 << log_buckets).div_ceil(32 << self.log_segment)
    }
}

/// Buckets of a lane of `msm_reduce`, as a power of two, with which both passes of the reduction end first. More of
/// them make each warp of the first pass take longer, fewer the only warp that a window has in the second. A warp
/// alone takes as long as the additions that follow one another; more than one for each of the four schedulers of a
/// multiprocessor take turns.
fn log_segment(plans: &[Plan], multiprocessors: u32) -> u32 {
    let schedulers = 4 * u64::from(multiprocessors);
    let costs = |log: &u32| {
        let groups: u64 = plans.iter().map(|plan| plan.groups(32 << log)).sum();
        let of_window = |plan: &Plan| (1u64 << (plan.bits() - 1)).div_ceil(32 << log);
        let longest = plans.iter().map(of_window).max().unwrap_or(1);
        let [reduce, finish] = reduction_chains(*log, longest);
        reduce * groups.max(schedulers) + finish * schedulers
    };
    (SEGMENT_MIN..=SEGMENT_MAX).min_by_key(costs).unwrap_or(SEGMENT_MIN)
}

/// Multiply-adds that follow one another in a warp of `msm_reduce` and in one of `msm_finish`, for a window of so many
/// groups.
pub(crate) fn reduction_chains(log_segment: u32, groups: u64) -> [u64; 2] {
    let each = groups.div_ceil(32).next_power_of_two();
    let log = u64::from(log_segment);
    let reduce = ((2 << log) + 11) * FULL + log * DOUBLE;
    let finish = (3 * each + 11) * FULL + (5 + log + u64::from(each.ilog2())) * DOUBLE;
    [reduce, finish]
}

/// The columns of a proof are as long as its domain or a few scalars longer: the length that stands for both.
fn standard_length(n: u64) -> u64 {
    n.saturating_sub(EXTRA).max(1).next_power_of_two() + EXTRA
}

/// Bytes that a column of `n` scalars takes at most in a batch of its own; its plan keeps to them.
pub(crate) fn column_bytes_max(n: u64) -> u64 {
    full_column(n).bytes_max()
}

/// A full column, by its standard length. Each commitment asks for the same one or two, and a plan is the least of dozens.
static FULL_COLUMNS: Mutex<Vec<(u64, Load)>> = Mutex::new(Vec::new());

fn full_column(n: u64) -> Load {
    let n = standard_length(n);
    let mut known = FULL_COLUMNS.lock();
    if let Some((_, load)) = known.iter().find(|(length, _)| *length == n) {
        return *load;
    }
    let load = Load::of(full(n), &Reach::of_all(n, SPAN - 1), n);
    // Lengths are powers of two and a few scalars, so that there are no more than sixty.
    known.push((n, load));
    load
}

/// Bytes that a batch takes at most whose longest column has `n` scalars.
pub(crate) fn batch_bytes_max(n: u64) -> u64 {
    let one = full_column(n);
    let all = (1..COLUMNS).fold(one, |all, _| all.plus(one));
    one.bytes_max().max(all.bytes_max().min(BATCH_BYTES_MAX))
}

/// Bytes of device memory that a commitment to columns of `n` scalars takes at most, besides bases and scalars.
pub(crate) fn commit_bytes(n: usize) -> u64 {
    // Lengths and windows of all columns.
    const SMALL: u64 = 32 * (4 * LENGTHS as u64 + 40 + 20 * XYZZ);
    batch_bytes_max(n as u64) + SMALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Slices, plan};

    fn sizes(plans: &[(Plan, Reach, u64)], multiprocessors: u32) -> Sizes {
        let loads = plans.iter().map(|(plan, reach, n)| Load::of(*plan, reach, *n));
        let load = loads.fold(Load::default(), Load::plus);
        let longest = plans.iter().map(|(_, _, n)| *n).max().unwrap();
        let plans: Vec<Plan> = plans.iter().map(|(plan, _, _)| *plan).collect();
        Sizes::new(load, &plans, longest, multiprocessors)
    }

    /// Columns of one kind: how many scalars have how many bits.
    fn kinds(n: u64) -> Vec<Reach> {
        let mut skewed = [0; LENGTHS];
        (skewed[0], skewed[1], skewed[16], skewed[253]) =
            (n as u32 / 2, n as u32 / 4, n as u32 / 8, 7);
        let mut kinds: Vec<Reach> =
            (1..=253).step_by(12).map(|bits| Reach::of_all(n, bits)).collect();
        kinds.push(Reach::new(&skewed));
        kinds
    }

    #[test]
    fn what_is_planned_is_at_least_what_is_taken_on_every_card() {
        for log_n in 10..=24 {
            for n in [1 << log_n, (1 << log_n) + EXTRA] {
                let bytes_max = column_bytes_max(n);
                for reach in kinds(n) {
                    let bytes = |plan| Load::of(plan, &reach, n).bytes_max();
                    let plan = plan(&reach, Slices::ONE, bytes, bytes_max).unwrap();
                    assert!(bytes(plan) <= bytes_max, "2^{log_n}: {plan:?}");
                    for multiprocessors in [1, 2, 46, 132, 200] {
                        let taken = sizes(&[(plan, reach.clone(), n)], multiprocessors);
                        let bytes: u64 = taken.blocks().iter().map(|b| rounded(*b)).sum();
                        assert!(bytes <= taken.load.bytes_max(), "2^{log_n}: {taken:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_batch_has_memory_for_the_chunks_of_a_quotient_up_to_a_limit() {
        let n = (1 << 14) + EXTRA;
        let reach = Reach::of_all(n, 253);
        let one = Load::of(full(n), &reach, n);
        let five = (0..4).fold(one, |all, _| all.plus(one));
        assert!(five.bytes_max() <= batch_bytes_max(n));
        assert_eq!(batch_bytes_max(n), batch_bytes_max(1 << 14));
        assert!(batch_bytes_max(1 << 17) <= BATCH_BYTES_MAX);
        assert_eq!(batch_bytes_max(1 << 22), column_bytes_max(1 << 22));
    }

    #[test]
    fn pieces_are_long_where_buckets_are_and_short_where_few_hold_everything() {
        let of = |n: u64, bits| {
            let reach = Reach::of_all(n, bits);
            let plan = plan(&reach, Slices::ONE, |_| 0, 0).unwrap();
            sizes(&[(plan, reach, n)], 132)
        };
        let uniform = of(1 << 20, 253);
        let mean = uniform.load.digits / uniform.load.keys;
        assert_eq!(u64::from(uniform.length), 4 * mean);
        assert!(of(1 << 17, 1).pieces() >= 1 << 11, "bits keep many threads busy");
        // No bucket has more pieces than a block merges.
        for bits in [1, 16, 253] {
            let sizes = of(1 << 24, bits);
            assert!((1u64 << 24).div_ceil(u64::from(sizes.length)) <= CUT_PIECES_MAX);
        }
    }

    #[test]
    fn every_key_has_a_bin_and_no_bin_is_wider_than_it_has_to_be() {
        for keys in [1, 2, 2047, 2048, 2049, 163_840, 524_288, 524_289, u64::from(u32::MAX)] {
            let load = Load { columns: 1, keys, ..Load::default() };
            let sizes = Sizes { load, longest: 1, length: 64, log_segment: 2, groups: 1 };
            let shift = sizes.shift();
            assert!((keys - 1) >> shift < BINS, "{keys}");
            assert!(shift == 0 || (keys - 1) >> (shift - 1) >= BINS, "{keys}");
        }
    }

    /// A window has one warp in the last pass, which took longer than all others where a whole table left one window.
    #[test]
    fn a_single_window_is_reduced_in_the_least_time() {
        for log_n in [12, 17, 20, 22] {
            let n = 1 << log_n;
            let reach = Reach::of_all(n, SPAN - 1);
            let slices = Slices::cheapest(n, Slices::COUNT_MAX);
            let plan = plan(&reach, slices, |_| 0, 0).unwrap();
            assert_eq!(plan.windows, 1, "2^{log_n}");
            let chosen = sizes(&[(plan, reach, n)], 132).log_segment;
            let time = |log: u32| {
                let groups = plan.groups(32 << log);
                let [reduce, finish] = reduction_chains(log, groups);
                reduce * groups.max(4 * 132) + finish * 4 * 132
            };
            for log in SEGMENT_MIN..=SEGMENT_MAX {
                assert!(time(chosen) <= time(log), "2^{log_n}: {chosen}, not {log}");
            }
        }
        // Many windows have many warps, for which long segments save nothing.
        let n = 1 << 12;
        let many = [(full(n), Reach::of_all(n, SPAN - 1), n)];
        assert_eq!(sizes(&many, 132).log_segment, SEGMENT_MIN);
    }

    #[test]
    fn groups_fill_a_card() {
        let n = (1 << 17) + EXTRA;
        let column = || (full(n), Reach::of_all(n, SPAN - 1), n);
        let sizes = sizes(&[column(), column(), column(), column()], 132);
        assert!(sizes.groups >= 4 * 132, "a warp for each scheduler: {sizes:?}");
    }
}
