//! Additions of affine points in words, for processors without AVX-512 IFMA.

use ark_bn254::FqConfig;

use super::affine::{Flat, SIGN};
use crate::cpu::words::{Modulus, Products, Words, add, element};
use crate::field::inverse;

/// Chains of running products, so that a product does not wait for the one before it.
const CHAINS: usize = 2;
/// How many pairs ahead points are fetched into the cache.

/// A point and whether it is meant negative.
#[inline(always)]
fn point(points: &[Flat], index: u32) -> (&Flat, bool) {
    (&points[(index & !SIGN) as usize], index & SIGN != 0)
}

#[inline(always)]
fn prefetch(products: impl Products, points: &[Flat], pair: Option<&[u32; 2]>) {
    for index in pair.into_iter().flatten() {
        if let Some(point) = points.get((index & !SIGN) as usize) {
            products.prefetch(point);
        }
    }
}

/// `x2 − x1`, below 2q; q where they are equal.
#[inline(always)]
fn run(products: impl Products, points: &[Flat], pair: &[u32; 2]) -> Words {
    let [left, right] = pair.map(|index| point(points, index).0);
    products.sub::<FqConfig, 1>(right.x_words(), left.x_words())
}

/// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]` for points with different x, with one inversion in all.
/// Returns whether they all were; if not, the contents of `out` are unspecified.
///
/// Cost: five products and a square for each pair. Twin: [`super::affine::add_pairs`], which also adds equal and
/// opposite points.
///
/// Bounds, in multiples of q: coordinates are below 1, and differences of two below 2. Running products are products
/// of numbers below 2, so below 2 again, and so are inverses and slopes.
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
    #[allow(non_snake_case)]
    let AHEAD = {
        static L: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        *L.get_or_init(|| std::env::var("T_AHEAD").ok().and_then(|x| x.parse().ok()).unwrap_or(8))
    };
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
    // Below 2 + 2: the square is below 1.76.
    let x3 =
        products.sub::<Q, 2>(&products.square::<Q>(&slope), &add(left.x_words(), right.x_words()));
    let x3 = products.less::<Q, 1>(&products.less::<Q, 2>(&x3));
    let leg = products.sub::<Q, 1>(left.x_words(), &x3);
    // Below 1.76 + 1.
    let y3 = products.sub::<Q, 1>(&products.mul::<Q>(&slope, &leg), &y1);
    let y3 = products.less::<Q, 1>(&products.less::<Q, 1>(&y3));
    Flat::from_words(&x3, &y3)
}
