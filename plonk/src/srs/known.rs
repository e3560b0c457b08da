//! τ that anyone can find, and ceremonies that are known.
//!
//! An SRS with a known τ passes every check of its points, since they are successive powers of τ. Only a
//! ceremony's record shows that an SRS is honest; those that certainly are not are rejected here.

use std::collections::HashSet;

use ark_bn254::Fq;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::Field;
use rollmill_algebra::bytes::{G2_BYTES, g2_to_bytes};
use rollmill_algebra::field::{inverse_of_nonzero, omega, powers};
use rollmill_algebra::{Fr, G1Affine, G1Projective};

use super::{Srs, SrsError, development_tau};
use crate::weaken::gone;

/// Base-2 logarithm of the integers, and of the inverses of integers, that are tried as τ.
const INTEGER_BITS: u32 = 20;
/// Fr has roots of unity of this two-power order and of every smaller one.
const TWO_ADICITY: u32 = 28;
/// Base-2 logarithm of the most roots that are tried: with the 2^17 powers that circuits need, all are.
const ROOTS_BITS_MAX: u32 = 14;

/// `[τ]_2` of ceremonies, as EIP-197 encodes it, in hexadecimal.
///
/// Aztec's Ignition (2019, 176 participants): the constant `g2_x` of Aztec's published Solidity verifiers,
/// and `bn254_g2.dat` of Barretenberg's CRS.
const CEREMONIES: [(&str, &str); 1] = [(
    "Aztec Ignition",
    "260e01b251f6f1c7e7ff4e580791dee8ea51d87a358e038b4efe30fac09383c1\
     0118c4d5b837bcc2bc89b5b398b5974e9f5944073b32078b7e231fec938883b0\
     04fc6369f7110fe3d25156c1bb9a72859cf2a04641f99ba4ee413c80da6a5fe4\
     22febda3c0c0632a56475b4214e5615e11e6dd3f96e6cea2854a87d4dacc5e55",
)];

impl Srs {
    /// The ceremony that `[τ]_2` is known to come from, if any. Presumes [`Self::check`].
    pub fn ceremony(&self) -> Option<&'static str> {
        let ours: [u8; G2_BYTES] = g2_to_bytes(&self.tau_g2);
        let ours = hex::encode(ours);
        CEREMONIES.into_iter().find(|(_, tau)| *tau == ours).map(|(name, _)| name)
    }

    /// Rejects an SRS whose τ anyone can find: the development τ, its opposite and their inverses, an
    /// integer or the inverse of one up to 2^20 in absolute value, an element of an order below the number
    /// of powers, and a root of unity of a two-power order. Presumes [`Self::check`].
    ///
    /// # Errors
    /// [`SrsError::Known`]
    pub fn require_secret(&self) -> Result<(), SrsError> {
        match known(&self.powers) {
            Some(what) => Err(SrsError::Known { what }),
            None => Ok(()),
        }
    }
}

fn known(points: &[G1Affine]) -> Option<String> {
    let g = G1Affine::generator();
    let Some(&tau) = points.get(1) else { return Some("there is no power of it".to_owned()) };
    let development = development_tau();
    let inverse = inverse_of_nonzero(&development);
    for (factor, what) in [(development, "the development τ"), (inverse, "its inverse")] {
        let point = (g * factor).into_affine();
        if point == tau && !gone("srs.known.development") {
            return Some(format!("it is {what}"));
        }
        if -point == tau && !gone("srs.known.opposite") {
            return Some(format!("it is {what} with the opposite sign"));
        }
    }
    if is_small_multiple(&g, &tau) && !gone("srs.known.integer") {
        return Some(format!("it is an integer of at most {INTEGER_BITS} bits"));
    }
    if is_small_multiple(&tau, &g) && !gone("srs.known.inverse") {
        return Some(format!("it is the inverse of an integer of at most {INTEGER_BITS} bits"));
    }
    let order = points.iter().skip(1).position(|power| *power == g);
    if let Some(order) = order
        && !gone("srs.known.order")
    {
        return Some(format!("its order is {}", order + 1));
    }
    let n = (points.len() - 1).ilog2();
    if is_root(&points[1 << n], TWO_ADICITY.saturating_sub(n)) && !gone("srs.known.root") {
        return Some("it is a root of unity of a two-power order".to_owned());
    }
    None
}

/// Whether `point = k · base` for an integer of at most [`INTEGER_BITS`] bits and any sign: with
/// `k = j · 2^(h+1) + i` and `|i| ≤ 2^h`, the abscissa of `point − j · 2^(h+1) · base` is that of a small
/// multiple.
fn is_small_multiple(base: &G1Affine, point: &G1Affine) -> bool {
    let half = INTEGER_BITS / 2;
    let multiples = |step: G1Projective, start: G1Projective, count: usize| -> Vec<G1Affine> {
        let all: Vec<_> =
            std::iter::successors(Some(start), |sum| Some(*sum + step)).take(count).collect();
        G1Projective::normalize_batch(&all)
    };
    let small = multiples(base.into_group(), base.into_group(), 1 << half);
    let small: HashSet<Fq> = small.iter().map(|point| point.x).collect();
    let step = *base * Fr::from(1u64 << (half + 1));
    let start = point.into_group() - step * Fr::from(1u64 << (half - 1));
    let tried = multiples(step, start, (1 << half) + 1);
    tried.iter().any(|point| point.is_zero() || small.contains(&point.x))
}

/// Whether `point = x · G` for a root of unity x of order `2^bits`, or of 2^14 if that is less: for
/// `x = g^a` some `g^i · x` is a power of `g^s`, with i below s.
fn is_root(point: &G1Affine, bits: u32) -> bool {
    let bits = bits.min(ROOTS_BITS_MAX);
    let root = omega(bits);
    let s = 1usize << (bits / 2);
    let scaled = |base: &G1Affine, factors: Vec<Fr>| -> Vec<G1Affine> {
        let points: Vec<G1Projective> = factors.into_iter().map(|factor| *base * factor).collect();
        G1Projective::normalize_batch(&points)
    };
    let near = scaled(point, powers(root, s));
    let far = scaled(&G1Affine::generator(), powers(root.pow([s as u64]), 1 << (bits - bits / 2)));
    let far: HashSet<G1Affine> = far.into_iter().collect();
    near.iter().any(|point| far.contains(point))
}
