//! Affine points and their additions in batches.

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, Field};

use crate::{Fq, G1Affine};

/// Set in an index to mean the point's negative.
pub(super) const SIGN: u32 = 1 << 31;

/// An affine point in one cache line: x then y, four limbs each, Montgomery form. The identity is all
/// zero, which no point of the curve is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Flat(pub(super) [u64; 8]);

impl Flat {
    pub(super) const IDENTITY: Self = Self([0; 8]);

    pub(super) fn is_identity(&self) -> bool {
        *self == Self::IDENTITY
    }

    fn new(x: Fq, y: Fq) -> Self {
        let (x, y) = (x.0.0, y.0.0);
        Self([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]])
    }

    fn x(&self) -> Fq {
        let l = &self.0;
        Fq::new_unchecked(BigInt::new([l[0], l[1], l[2], l[3]]))
    }

    fn y(&self) -> Fq {
        let l = &self.0;
        Fq::new_unchecked(BigInt::new([l[4], l[5], l[6], l[7]]))
    }

    pub(super) fn from_affine(point: &G1Affine) -> Self {
        if point.is_zero() { Self::IDENTITY } else { Self::new(point.x, point.y) }
    }

    pub(super) fn to_affine(&self) -> G1Affine {
        if self.is_identity() {
            G1Affine::identity()
        } else {
            G1Affine::new_unchecked(self.x(), self.y())
        }
    }

    fn negative(&self) -> Self {
        Self::new(self.x(), -self.y())
    }

    /// The point that an index with its sign means.
    #[inline]
    pub(super) fn signed(points: &[Self], index: u32) -> Self {
        let point = points[(index & !SIGN) as usize];
        if index & SIGN == 0 { point } else { point.negative() }
    }
}

/// What the slope of the line through two points is divided by, and which of the cases it is.
enum Slope {
    Chord(Fq),
    Tangent(Fq),
    Vertical,
}

#[inline]
fn slope(p: &Flat, q: &Flat) -> Slope {
    let dx = q.x() - p.x();
    if dx != Fq::ZERO {
        Slope::Chord(dx)
    } else if p.y() == q.y() {
        Slope::Tangent(p.y().double())
    } else {
        Slope::Vertical
    }
}

/// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]`, with one inversion in all. No point named may
/// be the identity. Says whether some sum is.
///
/// Cost: five products and a square for each pair. Source: the affine chord and tangent formulas.
pub(super) fn add_pairs(
    points: &[Flat],
    pairs: &[[u32; 2]],
    out: &mut [Flat],
    products: &mut Vec<Fq>,
) -> bool {
    products.clear();
    let mut product = Fq::ONE;
    for [a, b] in pairs {
        products.push(product);
        match slope(&Flat::signed(points, *a), &Flat::signed(points, *b)) {
            Slope::Chord(divisor) | Slope::Tangent(divisor) => product *= divisor,
            Slope::Vertical => {}
        }
    }
    // Not zero: no divisor is, for no point of this curve has y = 0 (its order is odd).
    let mut inverse = product.inverse().unwrap_or(Fq::ZERO);
    let mut some_identity = false;
    for ((pair, out), before) in pairs.iter().zip(out).zip(products).rev() {
        let p = Flat::signed(points, pair[0]);
        let q = Flat::signed(points, pair[1]);
        let (rise, divisor) = match slope(&p, &q) {
            Slope::Chord(divisor) => (q.y() - p.y(), divisor),
            Slope::Tangent(divisor) => {
                let square = p.x().square();
                (square.double() + square, divisor)
            }
            Slope::Vertical => {
                *out = Flat::IDENTITY;
                some_identity = true;
                continue;
            }
        };
        let slope = rise * (inverse * *before);
        inverse *= divisor;
        let x = slope.square() - p.x() - q.x();
        *out = Flat::new(x, slope * (p.x() - x) - p.y());
    }
    some_identity
}
