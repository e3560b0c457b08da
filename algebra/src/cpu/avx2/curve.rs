//! Additions of affine points, four at a time.
//! Twin: `msm::affine::add_pairs`, which also adds equal and opposite points.
#![allow(unsafe_code)]
// Closures in adapters would be compiled without the instructions.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::sync::LazyLock;

use ark_bn254::FqConfig as Q;
use ark_ff::{AdditiveGroup, BigInt, BigInteger, Field, PrimeField};

use super::Avx2;
use super::field::{
    Four, LANES, biased, canonical, carry, joined, load, mask_of, minus, multiple, negated_where,
    plus, reduce, splat, split, sum_of_products, zero,
};
use crate::Fq;
use crate::cpu::msm::affine::{Flat, SIGN};
use crate::cpu::words::Words;
use crate::field::batch_invert;

/// Chains of running products: two steps whose products do not wait for each other's.
const CHAINS: usize = 2;
/// How many steps of four pairs ahead points are fetched into the cache.
const AHEAD: usize = 4;

/// What a number in this form is to the number itself as an element of arkworks: 2^261 / 2^256.
const FORM: u64 = 32;

static FORM_INVERSE: LazyLock<Fq> =
    LazyLock::new(|| Fq::from(FORM).inverse().expect("a power of two is not zero"));

/// A number below 2q, taken as if it were in arkworks' form.
fn from_raw(words: Words) -> Fq {
    let mut number = BigInt::new(words);
    if number >= Fq::MODULUS {
        number.sub_with_borrow(&Fq::MODULUS);
    }
    Fq::new_unchecked(number)
}

fn scaled(point: &Flat, factor: Fq) -> Flat {
    let of = |words: &Words| (from_raw(*words) * factor).0.0;
    Flat::from_words(&of(point.x_words()), &of(point.y_words()))
}

/// Memory for the running products, kept between calls.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Befores(Vec<Four>);

impl Avx2 {
    /// arkworks' point to the form that [`Self::add_pairs`] reads: coordinates times 2^261, which are below 2q.
    pub(in crate::cpu) fn import(self, point: &Flat) -> Flat {
        scaled(point, Fq::from(FORM))
    }

    /// The way back.
    pub(in crate::cpu) fn export(self, point: &Flat) -> Flat {
        scaled(point, *FORM_INVERSE)
    }

    /// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]` for points with different x. Returns whether they all
    /// were; if not, the contents of `out` are unspecified.
    pub(in crate::cpu) fn add_pairs(
        self,
        points: &[Flat],
        pairs: &[[u32; 2]],
        out: &mut [Flat],
        befores: &mut Befores,
    ) -> bool {
        assert_eq!(pairs.len(), out.len());
        let Avx2(()) = self;
        // SAFETY: the processor has the instructions, as the `Avx2` proves.
        pairs.is_empty() || unsafe { add_pairs(points, pairs, out, befores) }
    }
}

/// The points of four pairs; the last pair repeats where there are no more.
#[derive(Clone, Copy)]
struct Step<'a> {
    left: [&'a Flat; LANES],
    right: [&'a Flat; LANES],
    left_negative: [bool; LANES],
    right_negative: [bool; LANES],
}

impl<'a> Step<'a> {
    /// There is a pair.
    #[inline(always)]
    fn new(points: &'a [Flat], pairs: &[[u32; 2]], start: usize) -> Self {
        let last = pairs.len() - 1;
        let of: [[u32; 2]; LANES] = std::array::from_fn(|lane| pairs[(start + lane).min(last)]);
        let point = |index: u32| &points[(index & !SIGN) as usize];
        Self {
            left: of.map(|pair| point(pair[0])),
            right: of.map(|pair| point(pair[1])),
            left_negative: of.map(|pair| pair[0] & SIGN != 0),
            right_negative: of.map(|pair| pair[1] & SIGN != 0),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn x(points: [&Flat; LANES]) -> Four {
    load([points[0].x_words(), points[1].x_words(), points[2].x_words(), points[3].x_words()])
}

/// y or, where it is meant negative, `2q − y`, whose limbs may be below zero.
#[inline]
#[target_feature(enable = "avx2")]
fn y(points: [&Flat; LANES], negative: [bool; LANES], twice: &Four) -> Four {
    let y =
        load([points[0].y_words(), points[1].y_words(), points[2].y_words(), points[3].y_words()]);
    match negative.contains(&true) {
        false => y,
        true => negated_where(mask_of(negative), &y, twice),
    }
}

/// `a + 2q − b`, normal and below 4q, for numbers below 2q.
#[inline]
#[target_feature(enable = "avx2")]
fn difference(a: &Four, b: &Four, twice: &Four) -> Four {
    let mut sum = zero();
    plus(&mut sum, a);
    plus(&mut sum, twice);
    minus(&mut sum, b);
    carry(biased(sum))
}

#[inline]
#[target_feature(enable = "avx2")]
fn product(a: &Four, b: &Four) -> Four {
    carry(sum_of_products::<Q, 1>([[a, b]]))
}

/// Replaces the numbers by their inverses. Returns false, with unspecified numbers, if one has none. The eight share an
/// inversion.
#[target_feature(enable = "avx2")]
fn invert(chains: &mut [Four; CHAINS]) -> bool {
    let [first, second] = *chains;
    let mut lanes = joined(&canonical::<Q>(product(&first, &second))).map(from_raw);
    if lanes.contains(&Fq::ZERO) {
        return false;
    }
    batch_invert(&mut lanes);
    // A number v · 2^261 reads as the element 32v, and its inverse as 1 / (32v); that of v in this form is 32 / v.
    let correct = Fq::from(FORM * FORM);
    let words = lanes.map(|lane| (lane * correct).0.0);
    let inverse = load(words.each_ref());
    *chains = [product(&inverse, &second), product(&inverse, &first)];
    true
}

/// Bounds, in multiples of q: stored coordinates are below 2, and differences of two below 4. Products are below
/// `1 + 16 / 169`, as their factors are below 4.
#[target_feature(enable = "avx2")]
fn add_pairs(points: &[Flat], pairs: &[[u32; 2]], out: &mut [Flat], befores: &mut Befores) -> bool {
    let steps = pairs.len().div_ceil(LANES);
    let one = splat(&split((Fq::ONE * Fq::from(FORM)).0.0));
    let (twice, four_times) = (splat(&multiple::<Q>(2)), splat(&multiple::<Q>(4)));
    let mut chains = [one; CHAINS];
    befores.0.clear();
    befores.0.reserve(steps);
    for s in 0..steps {
        prefetch(points, pairs, (s + AHEAD) * LANES);
        let step = Step::new(points, pairs, s * LANES);
        let chain = &mut chains[s % CHAINS];
        befores.0.push(*chain);
        *chain = product(chain, &difference(&x(step.right), &x(step.left), &twice));
    }
    if !invert(&mut chains) {
        return false;
    }
    for s in (0..steps).rev() {
        prefetch(points, pairs, s.wrapping_sub(AHEAD).wrapping_mul(LANES));
        let step = Step::new(points, pairs, s * LANES);
        let chain = &mut chains[s % CHAINS];
        let inverse = product(chain, &befores.0[s]);
        let (x1, x2) = (x(step.left), x(step.right));
        *chain = product(chain, &difference(&x2, &x1, &twice));
        let y1 = y(step.left, step.left_negative, &twice);
        let y2 = y(step.right, step.right_negative, &twice);
        let slope = product(&difference(&y2, &y1, &twice), &inverse);
        // Below 1.1 + 4, then below 2.
        let mut x3 = sum_of_products::<Q, 1>([[&slope, &slope]]);
        plus(&mut x3, &four_times);
        minus(&mut x3, &x1);
        minus(&mut x3, &x2);
        let x3 = reduce::<Q>(carry(biased(x3)));
        // Below 1.1 + 2, then below 2.
        let leg = difference(&x1, &x3, &twice);
        let mut y3 = sum_of_products::<Q, 1>([[&slope, &leg]]);
        plus(&mut y3, &twice);
        minus(&mut y3, &y1);
        let y3 = reduce::<Q>(carry(biased(y3)));
        let (x3, y3) = (joined(&x3), joined(&y3));
        for (lane, slot) in out[s * LANES..].iter_mut().take(LANES).enumerate() {
            *slot = Flat::from_words(&x3[lane], &y3[lane]);
        }
    }
    true
}

/// Asks for the points of a step that comes later, if there is one.
#[inline(always)]
fn prefetch(points: &[Flat], pairs: &[[u32; 2]], start: usize) {
    let Some(pairs) = pairs.get(start..start.wrapping_add(LANES)) else { return };
    for index in pairs.as_flattened() {
        let place = points.as_ptr().wrapping_add((index & !SIGN) as usize);
        // SAFETY: a hint for an address, which is not read; every processor of this architecture has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::G1Affine;
    use crate::cpu::msm::cases::{multiples, pairs_but, signed_pairs};

    /// The sums, or `None` where not all points of a pair were different.
    fn added(avx2: Avx2, points: &[G1Affine], pairs: &[[u32; 2]]) -> Option<Vec<G1Affine>> {
        let points: Vec<Flat> =
            points.iter().map(|point| avx2.import(&Flat::from_affine(point))).collect();
        // As after an earlier batch.
        let mut out = vec![points[0]; pairs.len()];
        let mut befores = Befores::default();
        let are_different = avx2.add_pairs(&points, pairs, &mut out, &mut befores);
        are_different.then(|| out.iter().map(|sum| avx2.export(sum).to_affine()).collect())
    }

    /// Goal: every sign of every lane, and sums that are added again. Method: batches around the lanes, the chains and
    /// the distance of the prefetch.
    #[test]
    fn sums_of_four_lanes_are_arkworks_sums() {
        let Some(avx2) = Avx2::detect() else {
            eprintln!("not run: this processor has no AVX2");
            return;
        };
        let points = multiples(120);
        for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 60] {
            for first in 0..4 {
                let (pairs, expected) = signed_pairs(&points, n, first);
                assert_eq!(added(avx2, &points, &pairs), Some(expected), "{n} pairs, {first}");
            }
        }
    }

    /// Goal: no batch with equal or opposite points is taken for one without. Method: such a pair in each lane of each
    /// chain.
    #[test]
    fn equal_and_opposite_points_are_noticed_in_every_lane() {
        let Some(avx2) = Avx2::detect() else { return };
        let mut points = multiples(40);
        points.extend([points[38], -points[38]]);
        for n in 1..=13 {
            for at in 0..n {
                for [a, b] in [[38, 38], [38, 40], [40, 38], [38, 41], [41, 38]] {
                    let pairs = pairs_but(n, at, [a, b | SIGN]);
                    assert_eq!(added(avx2, &points, &pairs), None, "{n} pairs, {at}: {a} and {b}");
                }
            }
        }
    }
}
