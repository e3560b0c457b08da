//! How the scalars of a column are cut into digits: the cheapest way by an exact count of additions.

/// Lengths of scalars in bits, as `msm_classify` counts them.
pub(crate) const LENGTHS: usize = 256;
/// Bits of the longest scalar once it is folded to `min(s, r − s)`, and one for the carry of signed digits.
pub(crate) const SPAN: u32 = 254;
/// Buckets that a warp reduces at a time, where each lane adds those of a segment of eight.
const GROUP: u64 = 256;
/// Fewest and most bits of a window. Below nine the reduction costs as much as at nine.
const BITS_MIN: u32 = 4;
const BITS_MAX: u32 = 20;
/// Multiply-adds of 32 bits in a mixed addition, a full addition and a doubling.
pub(crate) const MIXED: u64 = 1196;
pub(crate) const FULL: u64 = 1724;
pub(crate) const DOUBLE: u64 = 1100;
/// At most so many buckets for each digit: empty ones take memory.
const BUCKETS_PER_DIGIT: u64 = 1;

/// The bases of a commitment with their multiples: slice `j` has `2^(j · span)` times each base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slices {
    /// Bits between neighbouring slices.
    pub(crate) span: u32,
    pub(crate) count: u32,
}

impl Slices {
    /// Bases without multiples.
    pub(crate) const ONE: Self = Self { span: SPAN, count: 1 };
    /// More do not make a commitment cheaper.
    pub(crate) const COUNT_MAX: u32 = 32;

    /// Slices for all digits, at most `count` and at least one.
    pub(crate) const fn at_most(count: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        let span = SPAN.div_ceil(count);
        Self { span, count: SPAN.div_ceil(span) }
    }

    /// The slices with which a commitment to `n` full scalars is cheapest, at most `count_max`.
    pub(crate) fn cheapest(n: u64, count_max: u32) -> Self {
        let reach = Reach::of_all(n, SPAN - 1);
        let cost = |slices: &Self| plan(&reach, *slices, |_| 0, 0).map(|plan| plan.cost(&reach));
        let all = (1..=count_max.clamp(1, Self::COUNT_MAX)).map(Self::at_most);
        // The first of equals has the fewest slices.
        all.min_by_key(cost).unwrap_or(Self::ONE)
    }
}

/// The digits of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Slices that the scalars reach.
    pub(crate) slices: u32,
    /// Bits of a slice, which its windows share.
    pub(crate) span: u32,
    /// Windows of a slice.
    pub(crate) windows: u32,
}

impl Plan {
    /// Bits of the lowest windows.
    pub(crate) const fn bits(self) -> u32 {
        self.span.div_ceil(self.windows)
    }

    /// How many windows have so many bits; those above have one less.
    pub(crate) const fn tall(self) -> u32 {
        self.span - self.windows * (self.bits() - 1)
    }

    /// Bits of a window.
    pub(crate) const fn width(self, window: u32) -> u32 {
        self.bits() - (window >= self.tall()) as u32
    }

    /// A number for each window, added up: `of` maps the bits of a window to it.
    fn sum_of_windows(self, of: impl Fn(u32) -> u64) -> u64 {
        let tall = u64::from(self.tall());
        let low = u64::from(self.windows) - tall;
        let of_low = if low == 0 { 0 } else { of(self.bits() - 1) };
        tall * of(self.bits()) + low * of_low
    }

    /// Buckets of all windows: one for each magnitude of a signed digit.
    pub(crate) fn buckets(self) -> u64 {
        self.sum_of_windows(|bits| 1 << (bits - 1))
    }

    /// Groups of `buckets` neighbours in all windows, the last of a window with fewer.
    pub(crate) fn groups(self, buckets: u64) -> u64 {
        self.sum_of_windows(|bits| (1u64 << (bits - 1)).div_ceil(buckets))
    }

    /// Most digits that are not zero, for scalars of which `reach[b]` have at least `b` bits: a scalar below
    /// `2^(b − 1)` has no digit at bit `b` or above, not even by a carry.
    pub(crate) fn digits(self, reach: &Reach) -> u64 {
        let mut at = 0;
        let mut digits = 0;
        for _ in 0..self.slices {
            for window in 0..self.windows {
                digits += reach.of(at);
                at += self.width(window);
            }
        }
        digits
    }

    /// Multiply-adds of the passes that add points.
    fn cost(self, reach: &Reach) -> u64 {
        self.digits(reach) * MIXED + self.sum_of_windows(reduction_cost)
    }
}

/// Multiply-adds of the reduction of a window of so many bits, as `msm_reduce` and `msm_finish` do it. A warp counts as
/// a whole, whether its lanes have work or not.
fn reduction_cost(bits: u32) -> u64 {
    let buckets = 1u64 << (bits - 1);
    let groups = buckets.div_ceil(GROUP);
    let each = groups.div_ceil(32).next_power_of_two();
    let reduce = groups * (27 * FULL + 3 * DOUBLE);
    let finish = (3 * each + 11) * FULL + (8 + u64::from(each.ilog2())) * DOUBLE;
    32 * (reduce + finish)
}

/// For each number of bits, how many scalars of a column have at least so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach(Vec<u64>);

impl Reach {
    /// From how many scalars have exactly so many bits.
    pub(crate) fn new(lengths: &[u32]) -> Self {
        let mut reach: Vec<u64> = lengths.iter().map(|count| u64::from(*count)).collect();
        for bits in (1..reach.len()).rev() {
            reach[bits - 1] += reach[bits];
        }
        Self(reach)
    }

    /// Of `n` scalars of `bits` bits each.
    pub(crate) fn of_all(n: u64, bits: u32) -> Self {
        Self(vec![n; bits as usize + 1])
    }

    /// Scalars that can have a digit other than zero at bit `at`; the scalar zero has none.
    fn of(&self, at: u32) -> u64 {
        self.0.get(at.max(1) as usize).copied().unwrap_or(0)
    }

    /// Bits of the longest scalar.
    pub(crate) fn bits(&self) -> u32 {
        self.0.iter().rposition(|count| *count != 0).unwrap_or(0) as u32
    }
}

/// Every plan for scalars of at most `bits` bits over such bases.
fn candidates(bits: u32, slices: Slices) -> impl Iterator<Item = Plan> {
    let needed = bits + 1;
    let used = needed.div_ceil(slices.span).min(slices.count).max(1);
    let span = if used == 1 { needed } else { slices.span };
    (span.div_ceil(BITS_MAX)..=span.div_ceil(BITS_MIN)).map(move |windows| Plan {
        slices: used,
        span,
        windows,
    })
}

/// The plan with the fewest multiply-adds, of those whose `bytes` are at most `bytes_max`. `None` for a column
/// of zeros.
pub(crate) fn plan(
    reach: &Reach,
    slices: Slices,
    bytes: impl Fn(Plan) -> u64,
    bytes_max: u64,
) -> Option<Plan> {
    let bits = reach.bits();
    if bits == 0 {
        return None;
    }
    let fits = |plan: Plan| {
        plan.buckets() <= BUCKETS_PER_DIGIT * plan.digits(reach) && bytes(plan) <= bytes_max
    };
    let mut cheapest: Option<(u64, Plan)> = None;
    for plan in candidates(bits, slices) {
        let cost = plan.cost(reach);
        if cheapest.is_none_or(|(least, _)| cost < least) && fits(plan) {
            cheapest = Some((cost, plan));
        }
    }
    // Where nothing fits, the one that takes the least memory.
    let smallest = || candidates(bits, slices).min_by_key(|plan| bytes(*plan));
    cheapest.map(|(_, plan)| plan).or_else(smallest)
}

/// The plan for `n` of the longest scalars over bases without multiples.
pub(crate) fn full(n: u64) -> Plan {
    let reach = Reach::of_all(n, SPAN - 1);
    let longest = Plan { slices: 1, span: SPAN, windows: SPAN.div_ceil(BITS_MIN) };
    plan(&reach, Slices::ONE, |_| 0, 0).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The count by its definition: digit by digit, and addition by addition of the reduction.
    fn counted(plan: Plan, n: u64, bits: u32) -> u64 {
        let widths: Vec<u32> = (0..plan.windows).map(|window| plan.width(window)).collect();
        let starts = (0..plan.slices).flat_map(|_| widths.iter()).scan(0u32, |at, width| {
            let start = *at;
            *at += *width;
            Some(start)
        });
        let digits = starts.filter(|start| *start <= bits).count() as u64 * n;
        let mut reduction = 0;
        for width in widths {
            let buckets = 1u64 << (width - 1);
            // Eight buckets with two additions each; the suffix sums, the weight and the tree of a warp.
            let groups = buckets.div_ceil(32 * 8);
            reduction += groups * 32 * ((8 * 2 + 5 + 1 + 5) * FULL + 3 * DOUBLE);
            let mut each = 1u64;
            while 32 * each < groups {
                each *= 2;
            }
            // Three additions a group; the suffix sums, the weight and the tree; the factors' doublings.
            let doublings = 3 + 5 + (0u64..).find(|log| 1u64 << *log == each).unwrap();
            reduction += 32 * ((3 * each + 5 + 1 + 5) * FULL + doublings * DOUBLE);
        }
        digits * MIXED + reduction
    }

    /// Lengths from 2^10 to 2^24: every power of two and its neighbours, and others by a printed seed.
    fn lengths() -> Vec<u64> {
        let seed: u64 = rand::thread_rng().r#gen();
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let powers = (10..=24).flat_map(|log| [(1 << log) - 1, 1 << log, (1 << log) + 1]);
        let mut lengths: Vec<u64> = powers.filter(|n| (1 << 10..=1 << 24).contains(n)).collect();
        for log in 10..24 {
            lengths.extend((0..8).map(|_| rng.gen_range(1 << log..2u64 << log)));
        }
        lengths
    }

    #[test]
    fn a_plan_is_the_minimum_of_an_exact_count_for_every_length() {
        for n in lengths() {
            for (bits, slices) in [
                (253, Slices::ONE),
                (16, Slices::ONE),
                (64, Slices::ONE),
                (253, Slices { span: 127, count: 2 }),
                (253, Slices { span: 16, count: 16 }),
            ] {
                let reach = Reach::of_all(n, bits);
                let chosen = plan(&reach, slices, |_| 0, 0).expect("not all zero");
                let needed = bits + 1;
                let used = needed.div_ceil(slices.span);
                let span = if used == 1 { needed } else { slices.span };
                let least = (1..=span.div_ceil(2))
                    .map(|windows| Plan { slices: used, span, windows })
                    .filter(|plan| plan.bits() <= 20 && plan.buckets() <= plan.digits(&reach))
                    .map(|plan| counted(plan, n, bits))
                    .min();
                assert_eq!(Some(counted(chosen, n, bits)), least, "{n} of {bits} bits: {chosen:?}");
            }
        }
    }

    #[test]
    fn windows_share_the_bits_of_a_slice_and_leave_none_for_a_short_one() {
        for bits in 1..=253 {
            for log_n in [0, 4, 10, 16, 20, 24] {
                let plan = plan(&Reach::of_all(1 << log_n, bits), Slices::ONE, |_| 0, 0).unwrap();
                let widths: Vec<u32> = (0..plan.windows).map(|window| plan.width(window)).collect();
                assert_eq!(widths.iter().sum::<u32>(), bits + 1, "the carry has a bit: {plan:?}");
                let (most, least) = (widths[0], *widths.last().unwrap());
                assert!(most <= least + 1 && least >= 1 && most <= 20, "{plan:?}");
            }
        }
    }

    #[test]
    fn windows_grow_with_the_column_and_shrink_with_its_scalars() {
        assert!(full(1 << 22).bits() > full(1 << 12).bits());
        let bits = plan(&Reach::of_all(1 << 20, 1), Slices::ONE, |_| 0, 0).unwrap();
        assert_eq!((bits.windows, bits.span), (1, 2));
        assert_eq!(plan(&Reach::new(&[7, 0, 0]), Slices::ONE, |_| 0, 0), None, "only zeros");
    }

    #[test]
    fn scalars_of_two_lengths_count_by_how_far_they_reach() {
        let mut lengths = [0; LENGTHS];
        (lengths[0], lengths[1], lengths[253]) = (5, 1000, 3);
        let reach = Reach::new(&lengths);
        let plan = Plan { slices: 1, span: SPAN, windows: 20 };
        assert_eq!(plan.digits(&reach), 1003 + 19 * 3);
        assert_eq!(reach.bits(), 253);
    }

    #[test]
    fn slices_cover_every_digit_and_make_a_commitment_cheaper() {
        for count in 0..300 {
            let slices = Slices::at_most(count);
            assert!(slices.count * slices.span >= SPAN && slices.count <= count.max(1));
            assert!((slices.count - 1) * slices.span < SPAN, "every slice has digits");
        }
        assert_eq!(Slices::at_most(1), Slices::ONE);
        for log_n in [10, 17, 22] {
            let (n, reach) = (1 << log_n, Reach::of_all(1 << log_n, 253));
            let cost = |slices| plan(&reach, slices, |_| 0, 0).unwrap().cost(&reach);
            let costs: Vec<u64> =
                [1, 2, 4, 8, 32].map(|most| cost(Slices::cheapest(n, most))).into();
            assert!(costs.is_sorted_by(|more, less| more >= less), "2^{log_n}: {costs:?}");
            assert!(10 * costs[4] < 9 * costs[0], "2^{log_n}: {costs:?}");
        }
    }

    #[test]
    fn a_plan_keeps_to_its_bytes_where_one_can() {
        let reach = Reach::of_all(1 << 16, 253);
        let best = full(1 << 16);
        let less = plan(&reach, Slices::ONE, Plan::buckets, best.buckets() - 1).unwrap();
        assert!(less.buckets() < best.buckets());
        let least = plan(&reach, Slices::ONE, Plan::buckets, 0).unwrap();
        assert_eq!(least.bits(), BITS_MIN);
    }
}
