//! Additions of affine points in words, for processors without AVX-512 IFMA.
//!
//! Source: the affine chord formula, with the inversions of a batch by Montgomery's trick ("Speeding the Pollard and
//! elliptic curve methods", 1987, section 10.3.1).

use ark_bn254::FqConfig;

use super::affine::{Flat, SIGN};
use crate::cpu::words::{Modulus, Products, Words, add, element};
use crate::field::inverse;

/// Chains of running products, so that a product does not wait for the one before it.
const CHAINS: usize = 2;
/// How many pairs ahead points are fetched into the cache: the order of a bucket's points is no order of memory.
const AHEAD: usize = 8;

/// A point and whether it is meant negative.
#[inline(always)]
fn point(points: &[Flat], index: u32) -> (&Flat, bool) {
    (&points[(index & !SIGN) as usize], index & SIGN != 0)
}

/// Asks for the points of a pair, if there is one.
#[inline(always)]
fn prefetch(products: impl Products, points: &[Flat], pair: Option<&[u32; 2]>) {
    for index in pair.into_iter().flatten() {
        if let Some(point) = points.get((index & !SIGN) as usize) {
            products.prefetch(point);
        }
    }
}

/// `x2 − x1`, above 0 and below 2q; q where they are equal.
#[inline(always)]
fn run(products: impl Products, points: &[Flat], pair: &[u32; 2]) -> Words {
    let [left, right] = pair.map(|index| point(points, index).0);
    products.sub::<FqConfig, 1>(right.x_words(), left.x_words())
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
    let mul = |a: &Words, b: &Words| products.mul::<FqConfig>(a, b);
    befores.clear();
    befores.reserve(pairs.len());
    let mut chains = [FqConfig::ONE; CHAINS];
    for (k, pair) in pairs.iter().enumerate() {
        prefetch(products, points, pairs.get(k + AHEAD));
        let chain = &mut chains[k % CHAINS];
        befores.push(*chain);
        *chain = mul(chain, &run(products, points, pair));
    }
    let [first, second] = chains;
    let product = products.less::<FqConfig, 1>(&mul(&first, &second));
    let Some(inverse) = inverse(&element::<FqConfig>(product)) else { return false };
    let mut chains = [mul(&inverse.0.0, &second), mul(&inverse.0.0, &first)];

    for (k, (pair, before)) in pairs.iter().zip(befores.iter()).enumerate().rev() {
        prefetch(products, points, pairs.get(k.wrapping_sub(AHEAD)));
        let chain = &mut chains[k % CHAINS];
        let inverse = mul(chain, before);
        *chain = mul(chain, &run(products, points, pair));
        out[k] = sum(products, point(points, pair[0]), point(points, pair[1]), &inverse);
    }
    true
}

/// `left + right`, given the inverse of the difference of their x.
#[inline(always)]
fn sum<P: Products>(
    products: P,
    (left, left_negative): (&Flat, bool),
    (right, right_negative): (&Flat, bool),
    inverse: &Words,
) -> Flat {
    type Q = FqConfig;
    let y1 = products.negated_if::<Q>(left_negative, left.y_words());
    let y2 = products.negated_if::<Q>(right_negative, right.y_words());
    let slope = products.mul::<Q>(&products.sub::<Q, 1>(&y2, &y1), inverse);
    // The square is below 1.76, and the sum of two coordinates below 2: below 3.76, then below 2, then below 1.
    let x3 =
        products.sub::<Q, 2>(&products.square::<Q>(&slope), &add(left.x_words(), right.x_words()));
    let x3 = products.less::<Q, 1>(&products.less::<Q, 2>(&x3));
    let leg = products.sub::<Q, 1>(left.x_words(), &x3);
    // Below 1.76 + 1, then below 1.76, then below 1.
    let y3 = products.sub::<Q, 1>(&products.mul::<Q>(&slope, &leg), &y1);
    let y3 = products.less::<Q, 1>(&products.less::<Q, 1>(&y3));
    Flat::from_words(&x3, &y3)
}

#[cfg(test)]
mod tests {
    use ark_ec::{CurveGroup, PrimeGroup};

    use super::*;
    use crate::cpu::words::{Scalar, with_products};
    use crate::{Fr, G1Affine, G1Projective};

    /// The first `n` multiples of the generator.
    fn multiples(n: u64) -> Vec<G1Affine> {
        (1..=n).map(|k| (G1Projective::generator() * Fr::from(k)).into_affine()).collect()
    }

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
                let pairs: Vec<[u32; 2]> = (0..n)
                    .map(|k| {
                        let signs = (first + k) % 4;
                        [(2 * k) | (SIGN * (signs % 2)), (2 * k + 1) | (SIGN * (signs / 2))]
                    })
                    .collect();
                let signed = |index: u32| {
                    let point = points[(index & !SIGN) as usize];
                    if index & SIGN == 0 { point } else { -point }
                };
                let expected: Vec<G1Affine> =
                    pairs.iter().map(|[a, b]| (signed(*a) + signed(*b)).into_affine()).collect();
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
                        let mut pairs: Vec<[u32; 2]> = (0..n).map(|k| [2 * k, 2 * k + 1]).collect();
                        pairs[at as usize] = [a | (SIGN * (signs % 2)), b | (SIGN * (signs / 2))];
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
