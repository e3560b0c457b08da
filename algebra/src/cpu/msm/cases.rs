//! Pairs of points for the tests of every way to add them.

use ark_ec::{CurveGroup, PrimeGroup};

use super::affine::SIGN;
use crate::{Fr, G1Affine, G1Projective};

/// The first `n` multiples of the generator.
pub(in crate::cpu) fn multiples(n: u64) -> Vec<G1Affine> {
    (1..=n).map(|k| (G1Projective::generator() * Fr::from(k)).into_affine()).collect()
}

/// The first `2n` points as `n` pairs, with the four combinations of signs in turn from the combination `first` on, and
/// their sums by arkworks.
pub(in crate::cpu) fn signed_pairs(
    points: &[G1Affine],
    n: u32,
    first: u32,
) -> (Vec<[u32; 2]>, Vec<G1Affine>) {
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
    let sums = pairs.iter().map(|[a, b]| (signed(*a) + signed(*b)).into_affine()).collect();
    (pairs, sums)
}

/// `n` pairs of different points, except that the one at `at` is `other`.
pub(in crate::cpu) fn pairs_but(n: u32, at: u32, other: [u32; 2]) -> Vec<[u32; 2]> {
    (0..n).map(|k| if k == at { other } else { [2 * k, 2 * k + 1] }).collect()
}
