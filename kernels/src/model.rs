//! A model of a card: what MSMs, transforms and proofs take by the counts of the compiled kernels, of their plans and
//! of a proof's calls. `docs/book/card-model.md` has its tables, and says what it leaves out.
//!
//! A kernel takes the longer of two times: that of all its multiply-adds, when every scheduler is busy, and that of
//! those which follow one another in its longest warp.

use std::fmt::Write as _;

use serde_json::Value;

use crate::declared::REPORT;
use crate::msm::{TABLE_PART, batches_of};
use crate::ntt::eighths;
use crate::plan::{MIXED, Plan, Reach, SPAN, Slices, plan};
use crate::sizes::{AFFINE, Load, PARTITION_DIGITS, Sizes, column_bytes_max, reduction_chains};

/// Calls of a proof, see `tests/calls.rs`.
const CALLS: &str = include_str!("../calls.json");
/// The generated kernels, whose heads state their cost.
const GENERATED: &str = include_str!("../cuda/generated.cuh");

/// Bits of a full scalar, and of a limb of a wire.
const FULL_BITS: u32 = SPAN - 1;
const LIMB_BITS: u32 = 16;
/// Columns of round 1: full ones, and limbs.
const WIRES: [usize; 2] = [5, 8];
/// Full columns of the other commitments: the arguments, the chunks of the quotient and the two openings.
const OTHERS: [usize; 4] = [4, 5, 1, 1];
/// Polynomials on each of five cosets, besides the public inputs.
const POLYNOMIALS: usize = 17;
const COSETS: usize = 5;
/// Products per row of inversions, scans, evaluations, divisions and linear combinations, as `rollmill-bench` counts
/// them.
const VECTOR_PRODUCTS: f64 = 122.0;
/// Cycles between two multiply-adds of a warp that has a scheduler to itself: a product of field elements, which is
/// 129 of them, is issued in 592 cycles by the stall counts of the compiled code.
const ALONE: f64 = 592.0 / 129.0;
/// Shares of the multiply-adds per second that kernels are expected to reach: with four warps for each scheduler; of a
/// transform, which waits for shared memory; of kernels with two warps; of those that read memory for each product.
const LOAD_SUM: f64 = 0.92;
const LOAD_TRANSFORM: f64 = 0.75;
const LOAD_TWO_WARPS: f64 = 0.8;
const LOAD_VECTOR: f64 = 0.5;
/// Launches of a batch of an MSM, and of a commitment besides them.
const LAUNCHES: f64 = 12.0;
/// Of a digit that is partitioned: bytes that move, eight as a pair that is written once and read twice, and the sector
/// of its entry; and additions to counters in shared memory, of which a scheduler makes two a cycle.
const PARTITION_BYTES: f64 = 3.0 * 8.0 + 8.0;
const PARTITION_SHARED: f64 = 4.0;
/// Seconds that the host needs by itself in a proof, copies left out.
const HOST: f64 = 0.8e-3;

/// A card's figures.
#[derive(Debug, Clone, Copy)]
struct Card {
    multiprocessors: u32,
    hertz: f64,
    /// Cycles of a scheduler for a wide multiply-add of a warp.
    cycles: f64,
    /// Bytes per second of its memory, and of an upload with its copy by the host.
    memory: f64,
    upload: f64,
    /// Bytes that are free for tables of multiples and all else.
    free_bytes: u64,
    /// Additions per second to counters anywhere in memory.
    atomics: f64,
    /// Seconds from the end of a kernel to the start of the next, and of a wait of the host.
    launch: f64,
    wait: f64,
    /// Whether other proofs fill every gap: then only what the card computes counts.
    is_shared: bool,
}

/// An H100 SXM with 80 GB. What its data sheet does not state are assumptions: the clock under load, and all from the
/// cycles on but for the memory.
const H100: Card = Card {
    multiprocessors: 132,
    hertz: 1.755e9,
    cycles: 4.0,
    memory: 3.35e12,
    upload: 20e9,
    free_bytes: 73_600_000_000,
    atomics: 60e9,
    launch: 2.5e-6,
    wait: 15e-6,
    is_shared: false,
};

/// Seconds of the parts of an MSM, and what is counted of it.
#[derive(Debug, Clone, Copy, Default)]
struct Msm {
    accumulate: f64,
    reduce: f64,
    sort: f64,
    rest: f64,
    digits: u64,
    buckets: u64,
}

impl Msm {
    fn seconds(self) -> f64 {
        self.accumulate + self.reduce + self.sort + self.rest
    }
}

impl Card {
    /// Of a kernel with so many multiply-adds of warps in all, and so many that follow one another.
    fn kernel(self, all: f64, chain: f64, load: f64) -> f64 {
        let schedulers = f64::from(4 * self.multiprocessors);
        let busy = all * self.cycles / (schedulers * load * self.hertz);
        if self.is_shared { busy } else { busy.max(chain * ALONE / self.hertz) }
    }

    fn gaps(self, launches: f64, waits: f64) -> f64 {
        if self.is_shared { 0.0 } else { launches * self.launch + waits * self.wait }
    }

    /// A commitment to columns of `n` scalars of so many bits each.
    fn msm(self, n: u64, bits: &[u32]) -> Msm {
        let fit = self.free_bytes / (TABLE_PART * AFFINE * n);
        let fit = u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, Slices::COUNT_MAX);
        let slices = Slices::cheapest(n, fit);
        let bytes_max = column_bytes_max(n);
        let planned: Vec<(Plan, Load)> = bits
            .iter()
            .filter_map(|bits| {
                let reach = Reach::of_all(n, *bits);
                let load = |plan| Load::of(plan, &reach, n);
                let plan = plan(&reach, slices, |plan| load(plan).bytes_max(), bytes_max)?;
                Some((plan, load(plan)))
            })
            .collect();
        let loads: Vec<Load> = planned.iter().map(|(_, load)| *load).collect();
        let mut all = Msm { rest: self.gaps(1.0, 2.0), ..Msm::default() };
        for batch in batches_of(&loads, n) {
            let load = loads[batch.clone()].iter().fold(Load::default(), |all, one| all.plus(*one));
            let plans: Vec<Plan> = planned[batch].iter().map(|(plan, _)| *plan).collect();
            self.add_batch(&mut all, load, &plans, n);
        }
        all
    }

    fn add_batch(self, all: &mut Msm, load: Load, plans: &[Plan], n: u64) {
        let sizes = Sizes::new(load, plans, n, self.multiprocessors);
        let digits = load.digits as f64;
        // The buckets of uniform scalars are about as large as each other.
        let mean = digits / load.keys as f64;
        let longest = mean + 4.0 * mean.sqrt();
        let mixed = MIXED as f64;
        all.accumulate += self.kernel(digits / 32.0 * mixed, longest * mixed, LOAD_SUM);
        let groups = plans.iter().map(|plan| sizes.groups_of(plan.bits() - 1)).max().unwrap_or(1);
        let [reduce, finish] =
            reduction_chains(sizes.log_segment, groups).map(|chain| chain as f64);
        all.reduce += self.kernel(sizes.groups as f64 * reduce, reduce, LOAD_TWO_WARPS);
        all.reduce += self.kernel(load.windows as f64 * finish, finish, LOAD_TWO_WARPS);
        let (seconds, launches) = if load.digits < PARTITION_DIGITS {
            (2.0 * digits / self.atomics, LAUNCHES)
        } else {
            let schedulers = f64::from(4 * self.multiprocessors);
            let shared = PARTITION_SHARED * digits / (2.0 * schedulers * self.hertz);
            (PARTITION_BYTES * digits / (0.6 * self.memory) + shared, LAUNCHES + 3.0)
        };
        all.sort += seconds;
        all.rest += self.gaps(launches, 0.0);
        all.digits += load.digits;
        all.buckets += load.keys;
    }

    /// Transforms of columns of `2^log_n` elements.
    fn transforms(self, log_n: u32, columns: usize, has_coset: bool) -> f64 {
        let elements = columns as f64 * f64::from(log_n).exp2();
        let (products, passes) = eighths(log_n, has_coset);
        let all = elements * products as f64 / 8.0 * product() / 32.0;
        let bytes = elements * 64.0 * passes as f64 / (0.8 * self.memory);
        self.kernel(all, 0.0, LOAD_TRANSFORM).max(bytes) + self.gaps(passes as f64, 0.0)
    }

    /// The parts of a proof of `2^log_n` rows, by name.
    fn proof(self, log_n: u32) -> [(&'static str, f64); 6] {
        let n = 1u64 << log_n;
        let rows = n as f64;
        let mut wires = vec![FULL_BITS; WIRES[0]];
        wires.extend(vec![LIMB_BITS; WIRES[1]]);
        let upload = wires.len() as f64 * 32.0 * rows / self.upload;
        let sums = self.msm(n, &wires).seconds();
        // Nothing is summed while the first group travels; the others travel meanwhile.
        let groups = (wires.len() as u64 * 32 * n / (16 << 20)).clamp(1, wires.len() as u64) as f64;
        let wires = if self.is_shared {
            sums
        } else {
            upload / groups + sums.max(upload - upload / groups)
        };
        let others = OTHERS.map(|count| self.msm(n, &vec![FULL_BITS; count]).seconds());
        let transforms = self.transforms(log_n, POLYNOMIALS + 1, false)
            + COSETS as f64
                * (self.transforms(log_n, POLYNOMIALS + 1, true) + self.transforms(log_n, 1, true));
        let [quotient, fractions, products] = row_costs();
        let limbs = COSETS as f64 * quotient + fractions + products;
        let calls = calls();
        [
            ("commitment to the wires, with uploads", wires),
            ("other commitments", others.iter().sum()),
            ("transforms", transforms),
            ("row programs", self.kernel(rows / 32.0 * limbs, 0.0, LOAD_TWO_WARPS)),
            (
                "inversions, scans, evaluations, divisions, sums",
                self.kernel(rows / 32.0 * VECTOR_PRODUCTS * product(), 0.0, LOAD_VECTOR),
            ),
            (
                "gaps of other launches, waits and the host",
                if self.is_shared { 0.0 } else { self.gaps(calls[0] / 2.0, calls[1] / 2.0) + HOST },
            ),
        ]
    }
}

/// Multiply-adds of a product, of which two narrow ones take as long as a wide one.
fn product() -> f64 {
    let report: Value = serde_json::from_str(REPORT).unwrap_or_default();
    let cost = &report["kernels"]["measure_product_fr"]["sm_90"];
    let number = |field: &str| cost[field].as_f64().unwrap_or(f64::NAN);
    number("wide") + number("narrow") / 2.0
}

/// Products of limbs per row of the three row programs of a proof, the most first.
fn row_costs() -> [f64; 3] {
    let stated = GENERATED.lines().filter_map(|line| line.strip_prefix("// "));
    let costs = stated.filter_map(|line| line.split_once(" products of limbs")?.0.parse().ok());
    let mut costs: Vec<f64> = costs.collect();
    costs.sort_by(|a, b| b.total_cmp(a));
    std::array::from_fn(|i| costs.get(i).copied().unwrap_or(f64::NAN))
}

/// Most launches and downloads of a proof of 2^17 rows.
fn calls() -> [f64; 2] {
    let calls: Value = serde_json::from_str(CALLS).unwrap_or_default();
    ["launches", "downloads"].map(|name| calls["17"][name].as_f64().unwrap_or(f64::NAN))
}

/// What was planned for, and what the first version took: by size, milliseconds.
const MSM_SIZES: [(u32, f64, f64); 5] =
    [(16, 1.1, 0.5), (18, 2.1, 1.1), (20, 5.0, 3.0), (22, 19.0, 10.0), (24, 57.0, 36.0)];
const TRANSFORM_SIZES: [(u32, f64, f64); 3] = [(20, 0.3, 0.22), (22, 1.3, 0.95), (24, 5.6, 4.2)];

/// The tables of `docs/book/card-model.md`.
pub fn card_model() -> String {
    let fast = Card { cycles: 2.0, ..H100 };
    let slow_atomics = Card { atomics: 20e9, ..H100 };
    let cards = [H100, slow_atomics, fast];
    let mut text = String::from(
        "| ms on an H100 | before | now | with slow counters | with fast multiply-adds | target |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut row = |name: String, before: String, now: [f64; 3], target: String| {
        let [now, slow, fast] = now;
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "| {name} | {before} | {now:.2} | {slow:.2} | {fast:.2} | {target} |");
    };
    for (log_n, before, target) in MSM_SIZES {
        let now = cards.map(|card| 1e3 * card.msm(1 << log_n, &[FULL_BITS]).seconds());
        row(format!("MSM 2^{log_n}"), before.to_string(), now, target.to_string());
    }
    for (log_n, before, target) in TRANSFORM_SIZES {
        let now = cards.map(|card| 1e3 * card.transforms(log_n, 1, false));
        row(format!("NTT 2^{log_n}"), before.to_string(), now, target.to_string());
    }
    for (log_n, before, target) in [(17, "50 to 55", "20"), (22, "900", "450")] {
        let now = cards.map(|card| 1e3 * card.proof(log_n).iter().map(|part| part.1).sum::<f64>());
        row(format!("proof of 2^{log_n} rows"), before.to_owned(), now, target.to_owned());
    }
    let shared = cards.map(|card| Card { is_shared: true, ..card }.proof(17));
    let speeds = shared.map(|parts| 1.0 / parts.iter().map(|part| part.1).sum::<f64>());
    row("proofs of 2^17 rows a second, several at a time".into(), "45".into(), speeds, "80".into());

    text += "\n| ms of a proof of 2^17 rows | alone | beside others |\n| --- | --- | --- |\n";
    for ((name, alone), (_, busy)) in H100.proof(17).into_iter().zip(shared[0]) {
        let _ = writeln!(text, "| {name} | {:.2} | {:.2} |", 1e3 * alone, 1e3 * busy);
    }

    text += "\n| MSM | digits before | digits | buckets before | buckets | sums, ms | reduction, ms | sort, ms |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    // Windows of 13 and 18 bits without multiples.
    for (log_n, windows, bits) in [(17, 20u64, 13), (22, 15, 18)] {
        let msm = H100.msm(1 << log_n, &[FULL_BITS]);
        let before = [windows << log_n, windows << (bits - 1)];
        let _ = writeln!(
            text,
            "| 2^{log_n} | {} | {} | {} | {} | {:.2} | {:.2} | {:.2} |",
            before[0],
            msm.digits,
            before[1],
            msm.buckets,
            1e3 * msm.accumulate,
            1e3 * msm.reduce,
            1e3 * msm.sort
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_finds_its_counts_and_no_time_is_missing() {
        assert_eq!(product(), 129.0);
        let costs = row_costs();
        assert!(costs[0] > 30_000.0 && costs[0] > costs[1] && costs[1] > costs[2], "{costs:?}");
        assert!(calls().iter().all(|count| *count > 0.0), "{:?}", calls());
        for card in [H100, Card { is_shared: true, ..H100 }] {
            for (name, seconds) in card.proof(17) {
                assert!(seconds.is_finite() && seconds >= 0.0, "{name}: {seconds}");
            }
        }
    }

    /// An MSM of a size by hand: 16 windows of 16 bits over 16 slices, which share 2^15 buckets.
    #[test]
    fn an_msm_has_the_parts_of_its_counts() {
        let msm = H100.msm(1 << 17, &[FULL_BITS]);
        assert_eq!((msm.digits, msm.buckets), (16 << 17, 1 << 15));
        let ceiling = (16u64 << 17) as f64 * MIXED as f64 / (132.0 * 32.0 * 1.755e9);
        assert!((msm.accumulate / ceiling - 1.0 / LOAD_SUM).abs() < 1e-9, "{msm:?}");
        assert!((msm.sort - (32u64 << 17) as f64 / 60e9).abs() < 1e-12, "{msm:?}");
    }
}
