//! The two passes over a batch of pairs: running products of the differences, and then, backwards, the sums.
//!
//! A vector of eight pairs takes five products and a square, and about as many instructions that load, transpose, split,
//! subtract and carry. A processor looks ahead over some 64 instructions of vectors, which is less than a product has: were
//! one kind of work to follow the other, the multipliers would idle for half of the time. So the rows of each product
//! alternate with pieces of the work for another vector, and [`pin`] keeps them there, where a compiler would gather them
//! again.
//!
//! Bounds: stored coordinates are below 2q, and differences of two below 4q. Running products, being products of numbers
//! below 3q and 4q, are below 3q, and so are inverses of runs. A rise is below 8q and a leg below 9q, so slopes, squares
//! and drops are below 3q.
#![allow(unsafe_code)]

use std::arch::x86_64::{__m512i, _mm512_mask_sub_epi64, _mm512_setzero_si512};

use super::curve::{AHEAD, CHAINS, Places, Vector, prefetch};
use super::field::{
    Eight, EightMemory, LANES, Q, carry, carry_and_reduce, cross, diagonal, join_limbs, last_round,
    limbs_less, load_rows, load_words, pin, round, row, split_limbs, store_rows, sub, transpose,
};
use crate::cpu::msm::affine::Flat;

/// Limbs that are not carried.
type Limbs = [__m512i; 5];

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn columns() -> [__m512i; 10] {
    [_mm512_setzero_si512(); 10]
}

/// Where y is.
#[inline(always)]
fn ys(points: Places) -> Places {
    points.map(|place| place.wrapping_add(4))
}

/// The limbs or, where the mask is set, their negatives.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn signed(limbs: Limbs, negative: u8) -> Limbs {
    limbs.map(|limb| _mm512_mask_sub_epi64(limb, negative, _mm512_setzero_si512(), limb))
}

/// The limbs of `a · b`, beside `x2 − x1` of a vector: those, x1 and x2.
///
/// # Safety
/// The processor has AVX-512 IFMA, and the places are points.
#[inline(always)]
unsafe fn product_beside_run(a: &Eight, b: &Eight, vector: &Vector) -> (Limbs, [Eight; 2], Eight) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut t = columns();
        row::<0>(&mut t, a, b);
        let mut left = load_rows(vector.left);
        pin(&mut t[2], &mut left);
        row::<1>(&mut t, a, b);
        let mut left = transpose(left);
        pin(&mut t[3], &mut left);
        row::<2>(&mut t, a, b);
        let mut x1 = split_limbs(left);
        pin(&mut t[4], &mut x1.0);
        row::<3>(&mut t, a, b);
        let mut right = load_rows(vector.right);
        pin(&mut t[5], &mut right);
        row::<4>(&mut t, a, b);
        let mut right = transpose(right);
        pin(&mut t[1], &mut right);
        round::<Q, 0>(&mut t);
        let mut x2 = split_limbs(right);
        pin(&mut t[2], &mut x2.0);
        round::<Q, 1>(&mut t);
        let mut run = limbs_less::<Q, 2>(x2.0, x1);
        pin(&mut t[3], &mut run);
        round::<Q, 2>(&mut t);
        let mut run = carry(run);
        pin(&mut t[4], &mut run.0);
        round::<Q, 3>(&mut t);
        (last_round::<Q>(&mut t), [x1, x2], run)
    }
}

/// Multiplies each chain with the differences `x2 − x1` of its vectors, and notes in `befores` what it was before each.
///
/// # Safety
/// The pairs name points, and there is a vector for every eight of them.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn multiply_runs(
    points: &[Flat],
    pairs: &[[u32; 2]],
    befores: &mut [EightMemory],
    chains: &mut [EightMemory; CHAINS],
) {
    let last = befores.len() - 1;
    // SAFETY: as the caller promises.
    unsafe {
        let first = Vector::new(points, pairs, 0);
        let x1 = split_limbs(load_words(first.left));
        let mut run = sub::<Q, 2>(split_limbs(load_words(first.right)), x1);
        for (v, before) in befores.iter_mut().enumerate() {
            prefetch(points, pairs, v + AHEAD);
            let chain = &mut chains[v % CHAINS];
            let product = chain.load();
            before.store(product);
            let next = Vector::new(points, pairs, (v + 1).min(last) * LANES);
            let (limbs, _, next_run) = product_beside_run(&product, &run, &next);
            *chain = EightMemory::from_eight(carry(limbs));
            run = next_run;
        }
    }
}

/// A vector whose slopes are known.
struct Sloped {
    slope: Eight,
    x1: Eight,
    x2: Eight,
    /// With their signs.
    y1: Limbs,
}

/// The limbs of the slopes' squares, beside carrying `run_inverse`, and y1 and y2 of a vector.
///
/// # Safety
/// As [`product_beside_run`].
#[inline(always)]
unsafe fn square_beside_ys(
    slope: &Eight,
    run_inverse: Limbs,
    vector: &Vector,
) -> (Limbs, Eight, [Limbs; 2]) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut t = columns();
        cross::<0>(&mut t, slope);
        let mut run_inverse = carry(run_inverse);
        pin(&mut t[5], &mut run_inverse.0);
        cross::<1>(&mut t, slope);
        let mut left = load_rows(ys(vector.left));
        pin(&mut t[6], &mut left);
        cross::<2>(&mut t, slope);
        cross::<3>(&mut t, slope);
        let mut left = transpose(left);
        pin(&mut t[7], &mut left);
        diagonal(&mut t, slope);
        let mut y1 = split_limbs(left).0;
        pin(&mut t[1], &mut y1);
        round::<Q, 0>(&mut t);
        let mut right = load_rows(ys(vector.right));
        pin(&mut t[2], &mut right);
        round::<Q, 1>(&mut t);
        let mut right = transpose(right);
        pin(&mut t[3], &mut right);
        round::<Q, 2>(&mut t);
        let mut y2 = split_limbs(right).0;
        pin(&mut t[4], &mut y2);
        round::<Q, 3>(&mut t);
        (last_round::<Q>(&mut t), run_inverse, [y1, y2])
    }
}

/// What comes out of [`product_beside_legs`].
struct Beside {
    product: Limbs,
    y1: Limbs,
    rise: Eight,
    /// Of the vector before, not reduced.
    x3: Limbs,
    legs: Eight,
}

/// The limbs of `a · b`, beside the rises of a vector, and x3 and `x1 − x3` of the one before.
///
/// # Safety
/// As [`product_beside_run`].
#[inline(always)]
unsafe fn product_beside_legs(
    a: &Eight,
    b: &Eight,
    (vector, [y1, y2]): (&Vector, [Limbs; 2]),
    (before, square): (&Sloped, Limbs),
) -> Beside {
    // SAFETY: as the caller promises.
    unsafe {
        let mut t = columns();
        row::<0>(&mut t, a, b);
        let mut y1 = signed(y1, vector.left_negative);
        pin(&mut t[2], &mut y1);
        row::<1>(&mut t, a, b);
        let mut y2 = signed(y2, vector.right_negative);
        pin(&mut t[3], &mut y2);
        row::<2>(&mut t, a, b);
        let mut x3 = limbs_less::<Q, 2>(square, before.x1);
        pin(&mut t[4], &mut x3);
        row::<3>(&mut t, a, b);
        let mut x3 = limbs_less::<Q, 2>(x3, before.x2);
        pin(&mut t[5], &mut x3);
        row::<4>(&mut t, a, b);
        // Of x3 before it is reduced, below 7q.
        let mut legs = limbs_less::<Q, 7>(before.x1.0, Eight(x3));
        pin(&mut t[1], &mut legs);
        round::<Q, 0>(&mut t);
        let mut legs = carry(legs);
        pin(&mut t[2], &mut legs.0);
        round::<Q, 1>(&mut t);
        let mut rise = limbs_less::<Q, 4>(y2, Eight(y1));
        pin(&mut t[3], &mut rise);
        round::<Q, 2>(&mut t);
        let mut rise = carry(rise);
        pin(&mut t[4], &mut rise.0);
        round::<Q, 3>(&mut t);
        Beside { product: last_round::<Q>(&mut t), y1, rise, x3, legs }
    }
}

/// The limbs of `a · b`, beside the 64-bit words of reduced numbers, in rows of points.
///
/// # Safety
/// As [`product_beside_run`].
#[inline(always)]
unsafe fn product_beside_words(a: &Eight, b: &Eight, limbs: Limbs) -> (Limbs, [__m512i; 4]) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut t = columns();
        row::<0>(&mut t, a, b);
        row::<1>(&mut t, a, b);
        let mut reduced = carry_and_reduce::<Q>(limbs);
        pin(&mut t[3], &mut reduced.0);
        row::<2>(&mut t, a, b);
        row::<3>(&mut t, a, b);
        let mut words = join_limbs(reduced);
        pin(&mut t[5], &mut words);
        row::<4>(&mut t, a, b);
        round::<Q, 0>(&mut t);
        let mut rows = transpose(words);
        pin(&mut t[2], &mut rows);
        round::<Q, 1>(&mut t);
        round::<Q, 2>(&mut t);
        round::<Q, 3>(&mut t);
        (last_round::<Q>(&mut t), rows)
    }
}

/// The sums, from the last vector to the first. `chains` has the inverses of the running products at the end.
///
/// # Safety
/// As [`multiply_runs`], and there is a place in `out` for each pair.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn add_with_inverses(
    points: &[Flat],
    pairs: &[[u32; 2]],
    out: &mut [Flat],
    befores: &[EightMemory],
    chains: &mut [EightMemory; CHAINS],
) {
    let nothing = Eight([_mm512_setzero_si512(); 5]);
    let mut before = Sloped { slope: nothing, x1: nothing, x2: nothing, y1: nothing.0 };
    let mut spare = [Flat::IDENTITY; LANES];
    let vectors = befores.len();
    // Each round finds the slopes of a vector, and finishes the one after it, whose slopes the round before found. So the
    // first has nothing to finish, and the last finds the first vector's slopes once more, which nothing reads.
    for done in (0..=vectors).rev() {
        let v = done.saturating_sub(1);
        prefetch(points, pairs, v.wrapping_sub(AHEAD));
        let chain = &mut chains[v % CHAINS];
        let inverse = chain.load();
        // SAFETY: as the caller promises; a vector of points is eight neighbours.
        unsafe {
            let vector = Vector::new(points, pairs, v * LANES);
            let (run_inverse, [x1, x2], run) =
                product_beside_run(&inverse, &befores[v].load(), &vector);
            let (square, run_inverse, ys) = square_beside_ys(&before.slope, run_inverse, &vector);
            let Beside { product, y1, rise, x3, legs } =
                product_beside_legs(&inverse, &run, (&vector, ys), (&before, square));
            *chain = EightMemory::from_eight(carry(product));
            let (drop, x) = product_beside_words(&before.slope, &legs, x3);
            let y3 = limbs_less::<Q, 2>(drop, Eight(before.y1));
            let (slope, y) = product_beside_words(&rise, &run_inverse, y3);
            before = Sloped { slope: carry(slope), x1, x2, y1 };
            let rest = out.get_mut(done * LANES..).unwrap_or_default();
            write(x, y, rest, &mut spare);
        }
    }
}

/// Writes eight points, or as many as there are places, by way of `spare`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn write(x: [__m512i; 4], y: [__m512i; 4], out: &mut [Flat], spare: &mut [Flat; LANES]) {
    const WORDS: usize = size_of::<Flat>() / 8;
    let mut full = out.first_chunk_mut();
    let place: *mut u64 = full.as_deref_mut().unwrap_or(spare).as_mut_ptr().cast();
    // SAFETY: the two halves of eight neighbouring points.
    unsafe {
        store_rows(x, place, WORDS);
        store_rows(y, place.wrapping_add(4), WORDS);
    }
    if full.is_none() {
        let rest = out.len();
        out.copy_from_slice(&spare[..rest]);
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::{BigInteger as _, PrimeField as _};

    use super::*;
    use crate::cpu::ifma::Ifma;
    use crate::cpu::ifma::curve::Products;
    use crate::cpu::msm::affine::SIGN;
    use crate::cpu::msm::cases::{multiples, pairs_but, signed_pairs};
    use crate::{Fq, G1Affine};

    /// The sums, or `None` where not all points of a pair were different. Coordinates have q added where `highest` is set,
    /// and so lie right below the bound of 2q for some points.
    fn added(
        ifma: Ifma,
        points: &[G1Affine],
        pairs: &[[u32; 2]],
        highest: bool,
    ) -> Option<Vec<G1Affine>> {
        let lifted = |words: &[u64; 4]| {
            let mut number = ark_ff::BigInt(*words);
            assert!(!(highest && number.add_with_carry(&Fq::MODULUS)), "below 2^256");
            number.0
        };
        let imported = |point: &G1Affine| {
            let point = ifma.import(&Flat::from_affine(point));
            Flat::from_words(&lifted(point.x_words()), &lifted(point.y_words()))
        };
        let points: Vec<Flat> = points.iter().map(imported).collect();
        // As after an earlier batch.
        let mut out = vec![points[0]; pairs.len()];
        let mut memory = Products::default();
        let are_different = ifma.add_pairs(&points, pairs, &mut out, &mut memory);
        are_different.then(|| out.iter().map(|sum| ifma.export(sum).to_affine()).collect())
    }

    /// Goal: every sign of every lane, in batches around the eight of a vector, the vectors of all chains and the distance
    /// of the prefetch, for coordinates at both ends of what they may be.
    #[test]
    fn sums_of_eight_lanes_are_arkworks_sums() {
        let Some(ifma) = Ifma::detect() else {
            eprintln!("not run: this processor has no AVX-512 IFMA");
            return;
        };
        let points = multiples(400);
        for n in (1..=41).chain([63, 64, 65, 127, 128, 129, 200]) {
            for first in 0..4 {
                let (pairs, expected) = signed_pairs(&points, n, first);
                for highest in [false, true] {
                    let sums = added(ifma, &points, &pairs, highest);
                    assert_eq!(sums.as_ref(), Some(&expected), "{n} pairs, {first}, {highest}");
                }
            }
        }
    }

    /// Goal: no batch with equal or opposite points is taken for one without, whatever lane, vector and chain they are in.
    #[test]
    fn equal_and_opposite_points_are_noticed_in_every_lane() {
        let Some(ifma) = Ifma::detect() else { return };
        let mut points = multiples(100);
        points.extend([points[90], -points[90]]);
        for n in [1, 7, 8, 9, 33, 40] {
            for at in 0..n {
                for [a, b] in [[90, 90], [90, 100], [100, 90], [90, 101], [101, 90]] {
                    for signs in 0..4 {
                        let other = [a | (SIGN * (signs % 2)), b | (SIGN * (signs / 2))];
                        let pairs = pairs_but(n, at, other);
                        for highest in [false, true] {
                            let sums = added(ifma, &points, &pairs, highest);
                            assert_eq!(sums, None, "{n} pairs, {at}: {a} and {b}, {highest}");
                        }
                    }
                }
            }
        }
    }
}
