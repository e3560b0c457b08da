//! Additions of affine points in words, for processors without AVX-512 IFMA.
//!
//! Source: the affine chord formula, with the inversions of a batch by Montgomery's trick ("Speeding the Pollard and
//! elliptic curve methods", 1987, section 10.3.1).

use ark_bn254::FqConfig as Q;

use super::affine::{Flat, SIGN};
use crate::cpu::words::{Modulus, Products, Words, add, element};
use crate::field::inverse;

/// Pairs that one step takes. Each has its own chain of running products, and the products of the four do not wait for
/// each other's: one addition is a row of four products of which each waits for the one before.
const STEP: usize = 4;
/// How many steps ahead points are fetched into the cache: the order of a bucket's points is no order of memory.
const AHEAD: usize = 4;

/// A point and whether it is meant negative.
#[inline(always)]
fn point(points: &[Flat], index: u32) -> (&Flat, bool) {
    (&points[(index & !SIGN) as usize], index & SIGN != 0)
}

/// Asks for the points of a step, if there is one.
#[inline(always)]
fn prefetch(products: impl Products, points: &[Flat], step: Option<&[[u32; 2]; STEP]>) {
    for index in step.into_iter().flatten().flatten() {
        if let Some(point) = points.get((index & !SIGN) as usize) {
            products.prefetch(point);
        }
    }
}

/// `x2 − x1` of each pair, above 0 and below 2q; q where they are equal.
#[inline(always)]
fn runs<const N: usize>(
    products: impl Products,
    points: &[Flat],
    pairs: &[[u32; 2]; N],
) -> [Words; N] {
    pairs.map(|pair| {
        let [left, right] = pair.map(|index| point(points, index).0);
        products.sub::<Q, 1>(right.x_words(), left.x_words())
    })
}

/// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]` for points with different x, with one inversion in all. No
/// point named may be the identity. Returns whether all were different; if not, the contents of `out` are
/// unspecified.
///
/// Cost: five products and a square for each pair. Twin: [`super::affine::add_pairs`], which also adds equal and
/// opposite points.
///
/// Bounds, in multiples of q: coordinates are below 1, and differences of two below 2. Running products are products
/// of numbers below 2, so below 1.76, and so are inverses and slopes.
///
/// A difference that is q makes its chain a multiple of q, and so the product of the chains, which is 0 once it is below
/// q: it has no inverse.
pub(super) fn add_pairs<P: Products>(
    products: P,
    points: &[Flat],
    pairs: &[[u32; 2]],
    out: &mut [Flat],
    befores: &mut Vec<Words>,
) -> bool {
    assert_eq!(pairs.len(), out.len());
    befores.clear();
    befores.reserve(pairs.len());
    let (steps, rest) = pairs.as_chunks::<STEP>();
    let mut chains = [Q::ONE; STEP];
    for (s, step) in steps.iter().enumerate() {
        prefetch(products, points, steps.get(s + AHEAD));
        befores.extend_from_slice(&chains);
        chains = products.mul_each::<Q, STEP>(&chains, &runs(products, points, step));
    }
    for (pair, chain) in rest.iter().zip(&mut chains) {
        befores.push(*chain);
        let [run] = runs(products, points, &[*pair]);
        *chain = products.mul::<Q>(chain, &run);
    }
    if !invert(products, &mut chains) {
        return false;
    }

    let (steps_out, rest_out) = out.as_chunks_mut::<STEP>();
    let (steps_before, rest_before) = befores.as_chunks::<STEP>();
    let of_rest = rest.iter().zip(rest_before).zip(&mut chains).zip(rest_out);
    for (((pair, before), chain), out) in of_rest {
        let mut own = [*chain];
        [*out] = sums(products, points, &[*pair], &[*before], &mut own);
        [*chain] = own;
    }
    let of_steps = steps.iter().zip(steps_before).zip(steps_out).enumerate();
    for (s, ((step, before), out)) in of_steps.rev() {
        prefetch(products, points, steps.get(s.wrapping_sub(AHEAD)));
        *out = sums(products, points, step, before, &mut chains);
    }
    true
}

/// Replaces each number, below 1.76q, by its inverse, with one inversion in all. Returns false, with unspecified
/// numbers, if one has none.
#[inline(always)]
fn invert<P: Products>(products: P, chains: &mut [Words; STEP]) -> bool {
    let [a, b, c, d] = *chains;
    let [ab, cd] = products.mul_two::<Q>([&a, &c], [&b, &d]);
    let all = products.less::<Q, 1>(&products.mul::<Q>(&ab, &cd));
    let Some(inverse) = inverse(&element::<Q>(all)) else { return false };
    let inverse = inverse.0.0;
    let [of_ab, of_cd] = products.mul_two::<Q>([&inverse, &inverse], [&cd, &ab]);
    let inverses = [of_ab, of_ab, of_cd, of_cd];
    *chains = products.mul_each::<Q, STEP>(&inverses, &[b, a, d, c]);
    true
}

/// The sums of pairs, given the products of the differences before each in its chain, and the inverse of what each
/// chain comes to with its pair; leaves that without it.
#[inline(always)]
fn sums<P: Products, const N: usize>(
    products: P,
    points: &[Flat],
    pairs: &[[u32; 2]; N],
    befores: &[Words; N],
    chains: &mut [Words; N],
) -> [Flat; N] {
    let left = pairs.map(|pair| point(points, pair[0]));
    let right = pairs.map(|pair| point(points, pair[1]));
    let inverses = products.mul_each::<Q, N>(chains, befores);
    *chains = products.mul_each::<Q, N>(chains, &runs(products, points, pairs));

    let y1 = left.map(|(point, negative)| products.negated_if::<Q>(negative, point.y_words()));
    let rises: [Words; N] = std::array::from_fn(|k| {
        let (point, negative) = right[k];
        let y2 = products.negated_if::<Q>(negative, point.y_words());
        products.sub::<Q, 1>(&y2, &y1[k])
    });
    let slopes = products.mul_each::<Q, N>(&rises, &inverses);
    // A square is below 1.76, and the sum of two coordinates below 2: below 3.76, then below 2, then below 1.
    let x3: [Words; N] = std::array::from_fn(|k| {
        let both = add(left[k].0.x_words(), right[k].0.x_words());
        let x3 = products.sub::<Q, 2>(&products.square::<Q>(&slopes[k]), &both);
        products.less::<Q, 1>(&products.less::<Q, 2>(&x3))
    });
    let legs: [Words; N] =
        std::array::from_fn(|k| products.sub::<Q, 1>(left[k].0.x_words(), &x3[k]));
    let drops = products.mul_each::<Q, N>(&slopes, &legs);
    std::array::from_fn(|k| {
        // Below 1.76 + 1, then below 1.76, then below 1.
        let y3 = products.sub::<Q, 1>(&drops[k], &y1[k]);
        let y3 = products.less::<Q, 1>(&products.less::<Q, 1>(&y3));
        Flat::from_words(&x3[k], &y3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::G1Affine;
    use crate::cpu::msm::cases::{multiples, pairs_but, signed_pairs};
    use crate::cpu::words::{Scalar, with_products};

    /// The sums, or `None` where not all points of a pair were different.
    fn added(scalar: Scalar, points: &[G1Affine], pairs: &[[u32; 2]]) -> Option<Vec<G1Affine>> {
        let points: Vec<Flat> = points.iter().map(Flat::from_affine).collect();
        // As after an earlier batch.
        let mut out = vec![points[0]; pairs.len()];
        let mut befores = vec![[u64::MAX; 4]; 3];
        let are_different = with_products!(scalar, products => {
            add_pairs(products, &points, pairs, &mut out, &mut befores)
        });
        are_different.then(|| out.into_iter().map(Flat::to_affine).collect())
    }

    /// Goal: every sign of every place. Method: batches around the number of chains, and one past the distance of the
    /// prefetch, each with the four combinations of signs in turn.
    #[test]
    fn sums_of_different_points_are_arkworks_sums() {
        let points = multiples(120);
        for n in [0, 1, 2, 3, 4, 5, 8, 9, 60] {
            for first in 0..4 {
                let (pairs, expected) = signed_pairs(&points, n, first);
                for scalar in Scalar::available() {
                    let sums = added(scalar, &points, &pairs);
                    assert_eq!(sums.as_ref(), Some(&expected), "{scalar:?}, {n} pairs");
                }
            }
        }
    }

    /// Goal: no batch with equal or opposite points is taken for one without. Method: such a pair at each place, by the
    /// same point twice and by two points, with each sign, beside pairs that can be added.
    #[test]
    fn equal_and_opposite_points_are_noticed_at_every_place() {
        let mut points = multiples(20);
        points.extend([points[18], -points[18]]);
        for n in 1..=9 {
            for at in 0..n {
                for [a, b] in [[18, 18], [18, 20], [20, 18], [18, 21], [21, 18]] {
                    for signs in 0..4 {
                        let other = [a | (SIGN * (signs % 2)), b | (SIGN * (signs / 2))];
                        let pairs = pairs_but(n, at, other);
                        for scalar in Scalar::available() {
                            let sums = added(scalar, &points, &pairs);
                            assert_eq!(sums, None, "{scalar:?}, {n} pairs, {at}: {a} and {b}");
                        }
                    }
                }
            }
        }
    }
}
