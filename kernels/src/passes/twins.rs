//! Plain twins of the passes of an MSM, each under the name of its kernel. They follow the definitions in
//! `cuda/msm.cuh` and `cuda/partition.cuh`, one scalar, bucket and point at a time.

use ark_ff::{AdditiveGroup, PrimeField};
use rollmill_algebra::{Fr, G1Affine, G1Projective};

use crate::plan::{LENGTHS, Plan};
use crate::sizes::BINS;

/// A column of scalars, with the plan for its digits.
pub(super) type Column<'a> = (&'a [Fr], Plan);

/// A piece of a bucket, as `MsmPiece`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub(super) start: u32,
    pub(super) length: u32,
    pub(super) slot: u32,
}

/// A bucket of several pieces, as `MsmCut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    pub(super) key: u32,
    pub(super) slot: u32,
    pub(super) pieces: u32,
}

/// The smaller of `s` and `r − s`, and whether it is the second.
fn folded(scalar: Fr) -> ([u64; 4], bool) {
    let (number, other) = (scalar.into_bigint(), (-scalar).into_bigint());
    let negative = scalar != Fr::ZERO && other < number;
    (if negative { other.0 } else { number.0 }, negative)
}

/// Scalars by the bits of `min(s, r − s)`.
pub(super) fn msm_classify(scalars: &[Fr]) -> Vec<u32> {
    let mut lengths = vec![0; LENGTHS];
    for scalar in scalars {
        let (limbs, _) = folded(*scalar);
        let top = limbs.iter().rposition(|limb| *limb != 0);
        let bits = top.map_or(0, |at| 64 * at + 64 - limbs[at].leading_zeros() as usize);
        lengths[bits] += 1;
    }
    lengths
}

/// The digits of a scalar, from `−2^(width − 1) + 1` to `2^(width − 1)` each; for a negative one their opposites.
pub(super) fn digits(scalar: Fr, plan: Plan) -> Vec<i64> {
    let (mut rest, negative) = folded(scalar);
    let mut carry = 0i64;
    let mut digits = Vec::new();
    for window in (0..plan.slices).flat_map(|_| 0..plan.windows) {
        let width = plan.width(window);
        let raw = (rest[0] & ((1u64 << width) - 1)) as i64 + carry;
        rest = std::array::from_fn(|i| {
            rest[i] >> width | rest.get(i + 1).map_or(0, |next| next << (64 - width))
        });
        carry = i64::from(raw > 1i64 << (width - 1));
        let digit = raw - (carry << width);
        digits.push(if negative { -digit } else { digit });
    }
    digits
}

/// Calls `each` with the index of the scalar, the slice, the key and the sign of every digit but zero.
fn for_each_digit(columns: &[Column<'_>], mut each: impl FnMut(usize, u32, usize, bool)) {
    let mut first_key = 0;
    for (scalars, plan) in columns {
        for (i, scalar) in scalars.iter().enumerate() {
            for (at, digit) in digits(*scalar, *plan).into_iter().enumerate() {
                let (slice, window) = (at as u32 / plan.windows, at as u32 % plan.windows);
                let below: u64 = (0..window).map(|w| 1u64 << (plan.width(w) - 1)).sum();
                if digit != 0 {
                    let key = first_key + below as usize + digit.unsigned_abs() as usize - 1;
                    each(i, slice, key, digit < 0);
                }
            }
        }
        first_key += plan.buckets() as usize;
    }
}

fn keys(columns: &[Column<'_>]) -> usize {
    columns.iter().map(|(_, plan)| plan.buckets() as usize).sum()
}

/// Digits in each bucket, and a last zero.
pub(super) fn msm_count(columns: &[Column<'_>]) -> Vec<u32> {
    let mut counts = vec![0; keys(columns) + 1];
    for_each_digit(columns, |_, _, key, _| counts[key] += 1);
    counts
}

/// The entries of each bucket.
pub(super) fn msm_scatter(columns: &[Column<'_>], stride: usize) -> Vec<Vec<u32>> {
    let mut entries = vec![Vec::new(); keys(columns)];
    for_each_digit(columns, |i, slice, key, minus| {
        entries[key].push((slice * stride as u32 + i as u32) << 1 | u32::from(minus));
    });
    entries
}

/// Digits in each bin of keys.
pub(super) fn msm_bins(columns: &[Column<'_>], shift: u32) -> Vec<u32> {
    let mut bins = vec![0; BINS as usize];
    for_each_digit(columns, |_, _, key, _| bins[key >> shift] += 1);
    bins
}

/// The digits of each bin, as keys and entries.
pub(super) fn msm_partition(
    columns: &[Column<'_>],
    stride: usize,
    shift: u32,
) -> Vec<Vec<[u32; 2]>> {
    let mut bins = vec![Vec::new(); BINS as usize];
    for (key, bucket) in msm_scatter(columns, stride).into_iter().enumerate() {
        bins[key >> shift].extend(bucket.into_iter().map(|entry| [key as u32, entry]));
    }
    bins
}

/// Pairs with each of so many keys, and a last zero.
pub(super) fn msm_tile_count(pairs: &[[u32; 2]], keys: usize) -> Vec<u32> {
    let mut counts = vec![0; keys + 1];
    pairs.iter().for_each(|[key, _]| counts[*key as usize] += 1);
    counts
}

/// The entries of each of so many keys.
pub(super) fn msm_tile_scatter(pairs: &[[u32; 2]], keys: usize) -> Vec<Vec<u32>> {
    let mut entries = vec![Vec::new(); keys];
    pairs.iter().for_each(|[key, entry]| entries[*key as usize].push(*entry));
    entries
}

/// Sums of blocks of 4096.
pub(super) fn msm_fold_counts(counts: &[u32]) -> Vec<u32> {
    counts.chunks(4096).map(|block| block.iter().sum()).collect()
}

/// Sums of those before.
pub(super) fn msm_scan_folds(values: &[u32]) -> Vec<u32> {
    (0..values.len()).map(|i| values[..i].iter().sum()).collect()
}

/// Where the entries of each bucket start.
pub(super) fn msm_scan_counts(counts: &[u32]) -> Vec<u32> {
    let mut sum = 0u32;
    let before = |count: &u32| {
        sum += *count;
        sum - *count
    };
    counts.iter().map(before).collect()
}

/// The lengths of a bucket's pieces.
fn lengths(count: u32, length: u32) -> impl Iterator<Item = u32> {
    (0..count.div_ceil(length)).map(move |piece| length.min(count - piece * length))
}

/// How many pieces of each length, the longest first, and a last zero.
pub(super) fn msm_sizes(counts: &[u32], length: u32) -> Vec<u32> {
    let mut bins = vec![0; length as usize + 1];
    for size in counts.iter().flat_map(|count| lengths(*count, length)) {
        bins[(length - size) as usize] += 1;
    }
    bins
}

/// The pieces, the longest first, and the buckets that are cut. `counts` ends with a zero, which is no bucket.
pub(super) fn msm_order(counts: &[u32], length: u32) -> (Vec<Piece>, Vec<Cut>) {
    let (mut pieces, mut cuts) = (Vec::new(), Vec::new());
    let mut free = counts.len() as u32 - 1;
    let mut start = 0;
    for (key, count) in counts.iter().enumerate() {
        let parts = count.div_ceil(length);
        let mut slot = key as u32;
        if parts > 1 {
            cuts.push(Cut { key: slot, slot: free, pieces: parts });
            (slot, free) = (free, free + parts);
        }
        for size in lengths(*count, length) {
            pieces.push(Piece { start, length: size, slot });
            (start, slot) = (start + size, slot + 1);
        }
    }
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.length));
    (pieces, cuts)
}

/// The sum of each piece, with its slot.
pub(super) fn msm_accumulate(
    pieces: &[Piece],
    entries: &[u32],
    bases: &[G1Affine],
) -> Vec<(u32, G1Projective)> {
    let sum = |piece: &Piece| {
        let own = &entries[piece.start as usize..][..piece.length as usize];
        own.iter().fold(G1Projective::ZERO, |sum, entry| {
            let base = bases[(entry >> 1) as usize];
            if entry & 1 == 1 { sum - base } else { sum + base }
        })
    };
    pieces.iter().map(|piece| (piece.slot, sum(piece))).collect()
}

/// The sum of each bucket that is cut, with its key.
pub(super) fn msm_merge(cuts: &[Cut], sums: &[G1Projective]) -> Vec<(u32, G1Projective)> {
    let own = |cut: &Cut| sum(&sums[cut.slot as usize..][..cut.pieces as usize]);
    cuts.iter().map(|cut| (cut.key, own(cut))).collect()
}

/// The buckets of each window of all columns.
fn windows<'a>(columns: &[Column<'_>], buckets: &'a [G1Projective]) -> Vec<&'a [G1Projective]> {
    let mut rest = buckets;
    let mut windows = Vec::new();
    for (_, plan) in columns {
        for window in 0..plan.windows {
            let (own, others) = rest.split_at(1 << (plan.width(window) - 1));
            windows.push(own);
            rest = others;
        }
    }
    windows
}

fn sum(points: &[G1Projective]) -> G1Projective {
    points.iter().fold(G1Projective::ZERO, |sum, point| sum + point)
}

/// `Σ (i + offset) · points[i]`.
fn weighted(points: &[G1Projective], offset: u64) -> G1Projective {
    let terms = points.iter().enumerate().map(|(i, point)| *point * Fr::from(i as u64 + offset));
    terms.fold(G1Projective::ZERO, |sum, term| sum + term)
}

/// For each group of a window's buckets, their sum and their weighted sum.
pub(super) fn msm_reduce(
    columns: &[Column<'_>],
    buckets: &[G1Projective],
    log_segment: u32,
) -> (Vec<G1Projective>, Vec<G1Projective>) {
    let groups: Vec<&[G1Projective]> = windows(columns, buckets)
        .into_iter()
        .flat_map(|window| window.chunks(32 << log_segment))
        .collect();
    let totals = groups.iter().map(|group| sum(group)).collect();
    (totals, groups.iter().map(|group| weighted(group, 1)).collect())
}

/// The weighted sum of each window's buckets, from the two sums of each group.
pub(super) fn msm_finish(
    columns: &[Column<'_>],
    (totals, of_groups): (&[G1Projective], &[G1Projective]),
    log_segment: u32,
) -> Vec<G1Projective> {
    let widths = columns.iter().flat_map(|(_, plan)| (0..plan.windows).map(|w| plan.width(w)));
    let mut from = 0;
    let window = |width: u32| {
        let to = from + (1usize << (width - 1)).div_ceil(32 << log_segment);
        let shift = Fr::from(32u64 << log_segment);
        let out = sum(&of_groups[from..to]) + weighted(&totals[from..to], 0) * shift;
        from = to;
        out
    };
    widths.map(window).collect()
}

/// `2^bits` times each base.
pub(super) fn msm_multiples(bases: &[G1Affine], bits: u32) -> Vec<G1Projective> {
    let doubled = |base: &G1Affine| {
        let start = G1Projective::from(*base);
        (0..bits).fold(start, |point, _| point + point)
    };
    bases.iter().map(doubled).collect()
}

#[cfg(test)]
mod tests {
    use ark_ff::{Field, UniformRand};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn digits_add_up_to_the_scalar() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let half = Fr::from_bigint(Fr::MODULUS_MINUS_ONE_DIV_TWO).unwrap();
        let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, half, half + Fr::ONE];
        scalars.extend((0..20).map(|_| Fr::rand(&mut rng)));
        for (slices, span, windows) in [(1, 254, 20), (1, 254, 64), (2, 127, 9), (16, 16, 1)] {
            let plan = Plan { slices, span, windows };
            for scalar in &scalars {
                let (mut sum, mut weight) = (Fr::ZERO, Fr::ONE);
                for (at, digit) in digits(*scalar, plan).into_iter().enumerate() {
                    let width = plan.width(at as u32 % windows);
                    assert!(digit.unsigned_abs() <= 1 << (width - 1));
                    sum += weight * Fr::from(digit);
                    weight *= Fr::from(2u64).pow([u64::from(width)]);
                }
                assert_eq!(sum, *scalar, "{plan:?}");
            }
        }
    }

    #[test]
    fn a_bucket_is_cut_only_where_it_is_longer_than_a_piece() {
        let (pieces, cuts) = msm_order(&[8, 0, 9, 20, 0], 8);
        assert_eq!(cuts, [Cut { key: 2, slot: 4, pieces: 2 }, Cut { key: 3, slot: 6, pieces: 3 }]);
        let slots: Vec<(u32, u32)> =
            pieces.iter().map(|piece| (piece.length, piece.slot)).collect();
        assert_eq!(slots, [(8, 0), (8, 4), (8, 6), (8, 7), (4, 8), (1, 5)]);
    }
}
