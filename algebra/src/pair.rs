//! The pair of points that a proof's verification leaves to be checked, and its encoding in public inputs.

use ark_bn254::Bn254;
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInt, BigInteger, One, PrimeField, Zero};

use crate::weaken::gone;
use crate::{Fq, Fr, G1Affine, G2Affine};

/// Two points and two multiples of the generator `G` that must satisfy
/// `e(L − s_L·G, [τ]) = e(R − s_R·G, [1])`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Left point.
    pub l: G1Affine,
    /// Multiple of the generator to subtract from the left point.
    pub s_l: Fr,
    /// Right point.
    pub r: G1Affine,
    /// Multiple of the generator to subtract from the right point.
    pub s_r: Fr,
}

/// Public inputs that a pair takes: both coordinates of both points as 128-bit halves, low first, each
/// point followed by its multiple.
pub const PAIR_INPUTS: usize = 10;

/// What the public inputs of a pair are, in values of any type: the order of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairCells<T> {
    /// Halves of the left point's coordinates: x low, x high, y low, y high.
    pub l: [T; 4],
    /// Multiple of the left side.
    pub s_l: T,
    /// Halves of the right point's coordinates.
    pub r: [T; 4],
    /// Multiple of the right side.
    pub s_r: T,
}

impl<T> PairCells<T> {
    /// Takes the public inputs of a pair apart.
    pub fn split([l0, l1, l2, l3, s_l, r0, r1, r2, r3, s_r]: [T; PAIR_INPUTS]) -> Self {
        Self { l: [l0, l1, l2, l3], s_l, r: [r0, r1, r2, r3], s_r }
    }

    /// Puts them in order.
    pub fn join(self) -> [T; PAIR_INPUTS] {
        let ([l0, l1, l2, l3], [r0, r1, r2, r3]) = (self.l, self.r);
        [l0, l1, l2, l3, self.s_l, r0, r1, r2, r3, self.s_r]
    }
}

/// One of the two points of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairPoint {
    /// The left point.
    L,
    /// The right point.
    R,
}

/// Why field elements are not a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A half of a coordinate is not below 2^128.
    #[error("a half of a coordinate of point {point:?} has more than 128 bits")]
    Half {
        /// The point.
        point: PairPoint,
        /// The half.
        got: Fr,
    },
    /// A coordinate is not below the modulus of the base field.
    #[error("a coordinate of point {point:?} is not below the modulus")]
    Modulus {
        /// The point.
        point: PairPoint,
    },
    /// The coordinates are not those of a point of the curve other than the identity.
    #[error("point {point:?} is not on the curve, or is the identity")]
    Curve {
        /// The point.
        point: PairPoint,
    },
}

/// The low 128 bits of a field element and the rest.
pub fn halves(value: &Fr) -> (u128, u128) {
    integer_halves(value.into_bigint())
}

fn integer_halves(BigInt([a, b, c, d]): BigInt<4>) -> (u128, u128) {
    let join = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
    (join(a, b), join(c, d))
}

/// The coordinate with these halves.
fn coordinate(point: PairPoint, low: Fr, high: Fr) -> Result<Fq, PairError> {
    let half = |got: Fr| match halves(&got) {
        (half, 0) => Ok(half),
        (half, _) if gone("verifier.pair.half") => Ok(half),
        _ => Err(PairError::Half { point, got }),
    };
    let (low, high) = (half(low)?, half(high)?);
    let number = BigInt::new([low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64]);
    if gone("verifier.pair.modulus") {
        return Ok(Fq::from_le_bytes_mod_order(&number.to_bytes_le()));
    }
    Fq::from_bigint(number).ok_or(PairError::Modulus { point })
}

/// The point with these halves of coordinates.
fn point(point: PairPoint, [x0, x1, y0, y1]: [Fr; 4]) -> Result<G1Affine, PairError> {
    let made = G1Affine::new_unchecked(coordinate(point, x0, x1)?, coordinate(point, y0, y1)?);
    // (0, 0) counts as the identity, and so as on the curve; the identity satisfies every pairing.
    let is_identity = made.is_zero() && !gone("verifier.pair.identity");
    if is_identity || !made.is_on_curve() && !gone("verifier.pair.curve") {
        return Err(PairError::Curve { point });
    }
    Ok(made)
}

impl Pair {
    /// A pair that holds for every τ: both sides are `G − 1·G`.
    pub fn trivial() -> Self {
        let g = G1Affine::generator();
        Self { l: g, s_l: Fr::one(), r: g, s_r: Fr::one() }
    }

    /// Encodes the pair for public inputs. The identity has zeros, which [`Self::from_fields`] rejects.
    pub fn to_fields(&self) -> [Fr; PAIR_INPUTS] {
        let point = |point: &G1Affine| {
            let (x, y) = point.xy().unwrap_or((Fq::zero(), Fq::zero()));
            let ((x0, x1), (y0, y1)) =
                (integer_halves(x.into_bigint()), integer_halves(y.into_bigint()));
            [x0, x1, y0, y1].map(Fr::from)
        };
        let (l, r) = (point(&self.l), point(&self.r));
        PairCells { l, s_l: self.s_l, r, s_r: self.s_r }.join()
    }

    /// Decodes a pair from public inputs. Only the encoding of [`Self::to_fields`] is accepted.
    ///
    /// # Errors
    /// If a half is not below 2^128, a coordinate is not below the modulus of the base field, or a point is
    /// not on the curve or is the identity.
    pub fn from_fields(fields: &[Fr; PAIR_INPUTS]) -> Result<Self, PairError> {
        let PairCells { l, s_l, r, s_r } = PairCells::split(*fields);
        let (l, r) = (point(PairPoint::L, l)?, point(PairPoint::R, r)?);
        Ok(Self { l, s_l, r, s_r })
    }

    /// Decides the pairing equation.
    pub fn holds(&self, tau_g2: &G2Affine) -> bool {
        let g = G1Affine::generator();
        let left = (self.l.into_group() - g * self.s_l).into_affine();
        let right = (g * self.s_r - self.r).into_affine();
        Bn254::multi_pairing([left, right], [*tau_g2, G2Affine::generator()]).is_zero()
    }

    /// `self + u · other`, which holds only if both hold, except with the probability of guessing `u`.
    pub fn fold(&self, other: &Self, u: Fr) -> Self {
        Self {
            l: (self.l.into_group() + other.l * u).into_affine(),
            s_l: self.s_l + u * other.s_l,
            r: (self.r.into_group() + other.r * u).into_affine(),
            s_r: self.s_r + u * other.s_r,
        }
    }
}
