//! Grumpkin, whose coordinates are elements of Fr: y² = x³ − 17.
//!
//! The identity is encoded as (0, 0), as ACIR does. The group has odd order, so no point has y = 0, and `y = 0` alone
//! tells the identity from the points.

use ark_ec::AffineRepr;
use ark_ff::{Field, Zero};
use ark_grumpkin::Affine;
use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::not;
use rollmill_plonk::builder::{Builder, Var};

use super::polynomial::{Polynomial, integer};

/// `y² − x³` of every point.
const CURVE: i64 = -17;

/// A point in a circuit. What is known of it is said where it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) x: Var,
    pub(crate) y: Var,
}

/// A point that was constrained to be on the curve, or to be the identity's (0, 0).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoded {
    pub(crate) point: Point,
    /// 1 for the identity, else 0.
    pub(crate) is_identity: Var,
    /// `x²`.
    square: Var,
}

/// The coordinates of a point, (0, 0) for the identity.
pub(crate) fn coordinates(point: &Affine) -> [Fr; 2] {
    point.xy().map_or([Fr::zero(); 2], |(x, y)| [x, y])
}

/// The point with these coordinates; `None` where it is neither on the curve nor (0, 0).
pub(crate) fn affine([x, y]: [Fr; 2]) -> Option<Affine> {
    if x.is_zero() && y.is_zero() {
        return Some(Affine::identity());
    }
    let point = Affine::new_unchecked(x, y);
    point.is_on_curve().then_some(point)
}

impl Point {
    /// The constant point with these coordinates.
    pub(crate) fn constant(b: &mut Builder, [x, y]: [Fr; 2]) -> Self {
        Self { x: b.constant(x), y: b.constant(y) }
    }

    fn value(&self, b: &Builder) -> [Fr; 2] {
        [b.value(self.x), b.value(self.y)]
    }

    /// This point where the bit is 1, (0, 0) where it is 0.
    pub(crate) fn masked(&self, b: &mut Builder, bit: Var) -> Self {
        Self { x: b.mul(self.x, bit), y: b.mul(self.y, bit) }
    }

    /// This point where the bit is 1, the other where it is 0.
    fn select(&self, b: &mut Builder, bit: Var, other: Self) -> Self {
        Self { x: b.select(bit, self.x, other.x), y: b.select(bit, self.y, other.y) }
    }

    /// Constrains the point to be on the curve or (0, 0). Five rows.
    pub(crate) fn encoded(&self, b: &mut Builder) -> Encoded {
        let Self { x, y } = *self;
        let is_identity = b.is_zero(y);
        let square = b.mul(x, x);
        // For y = 0 this is x³ = 0.
        Polynomial::default()
            .product(integer(1), y, y)
            .product(integer(-1), square, x)
            .term(integer(CURVE), is_identity)
            .plus(integer(-CURVE))
            .assert_zero(b);
        Encoded { point: *self, is_identity, square }
    }
}

impl Encoded {
    /// The point, or the generator in place of the identity. It is on the curve in any case.
    pub(crate) fn or_generator(&self, b: &mut Builder) -> Point {
        let generator = Point::constant(b, coordinates(&Affine::generator()));
        generator.select(b, self.is_identity, self.point)
    }
}

/// The sum of two points of any kind: the identity, equal and opposite ones included. About 25 rows.
pub(crate) fn add(b: &mut Builder, p: &Encoded, q: &Encoded) -> Point {
    let slope = slope(p.point.value(b), q.point.value(b));
    add_given(b, p, q, slope)
}

/// The slope of the chord or, for equal points, the tangent; 0 where there is none.
pub(super) fn slope([x1, y1]: [Fr; 2], [x2, y2]: [Fr; 2]) -> Fr {
    let (rise, run) = match x1 == x2 {
        true => (integer(3) * x1 * x1, y1 + y2),
        false => (y2 - y1, x2 - x1),
    };
    rise * run.inverse().unwrap_or_default()
}

/// [`add`] with a slope that the prover chooses.
///
/// With `same` for `x₁ = x₂`, the run of the line is `x₂ − x₁ + same · (y₁ + y₂)`. It is 0 exactly for opposite points,
/// of which the identity twice is one case: then the sum is the identity whatever the slope is. Else the slope is
/// determined: for different abscissas it is the chord's; for the same abscissa of two points on the curve that are not
/// opposite, they are equal, and the rise `y₂ − y₁ + same · 3x₁²` over `2y₁` is the tangent's. Where one operand is the
/// identity, the line means nothing, and the other operand is the sum.
pub(super) fn add_given(b: &mut Builder, p: &Encoded, q: &Encoded, slope: Fr) -> Point {
    let [one, minus_one] = [integer(1), integer(-1)];
    let zero = Fr::zero();
    let (Point { x: x1, y: y1 }, Point { x: x2, y: y2 }) = (p.point, q.point);
    let step = b.sub(x2, x1);
    let same = b.is_zero(step);
    let sum = b.add(y1, y2);
    let run = b.mul_add(same, sum, one, Some(step), zero);
    let difference = b.sub(y2, y1);
    let rise = b.mul_add(same, p.square, integer(3), Some(difference), zero);
    let opposite = b.is_zero(run);
    let slope = b.witness(slope);
    Polynomial::default()
        .product(one, slope, run)
        .product(one, opposite, rise)
        .term(minus_one, rise)
        .assert_zero(b);
    let Point { x, y } = third(b, slope, p.point, x2);
    let keep = not(b, opposite);
    let third = Point { x, y }.masked(b, keep);
    let without_q = p.point.select(b, q.is_identity, third);
    q.point.select(b, p.is_identity, without_q)
}

/// The third point of the line with a slope through `p` and a point with abscissa `x2`, mirrored:
/// `x = slope² − x₁ − x₂` and `y = slope · (x₁ − x) − y₁`.
fn third(b: &mut Builder, slope: Var, p: Point, x2: Var) -> Point {
    let [one, minus_one] = [integer(1), integer(-1)];
    let x = Polynomial::default()
        .product(one, slope, slope)
        .term(minus_one, p.x)
        .term(minus_one, x2)
        .variable(b);
    let y = Polynomial::default()
        .product(one, slope, p.x)
        .product(minus_one, slope, x)
        .term(minus_one, p.y)
        .variable(b);
    Point { x, y }
}

/// The sum of two points on the curve whose abscissas differ, which is enforced. Neither may be the identity.
pub(crate) fn add_distinct(b: &mut Builder, p: Point, q: Point) -> Point {
    let slope = slope(p.value(b), q.value(b));
    add_distinct_given(b, p, q, slope)
}

/// [`add_distinct`] with a slope that the prover chooses: only one satisfies `slope · (x₂ − x₁) = y₂ − y₁`, as the
/// difference of the abscissas has an inverse.
pub(super) fn add_distinct_given(b: &mut Builder, p: Point, q: Point, slope: Fr) -> Point {
    let step = b.sub(q.x, p.x);
    b.inverse(step);
    let slope = b.witness(slope);
    Polynomial::default()
        .product(integer(1), slope, step)
        .term(integer(-1), q.y)
        .term(integer(1), p.y)
        .assert_zero(b);
    third(b, slope, p, q.x)
}

/// Twice a point on the curve, which may not be the identity.
pub(crate) fn double(b: &mut Builder, p: Point) -> Point {
    let slope = slope(p.value(b), p.value(b));
    double_given(b, p, slope)
}

/// [`double`] with a slope that the prover chooses: only one satisfies `slope · 2y = 3x²`, as a point on the curve has
/// `y ≠ 0`.
pub(super) fn double_given(b: &mut Builder, p: Point, slope: Fr) -> Point {
    let slope = b.witness(slope);
    Polynomial::default()
        .product(integer(2), slope, p.y)
        .product(integer(-3), p.x, p.x)
        .assert_zero(b);
    third(b, slope, p, p.x)
}

/// The negative of a point.
pub(crate) fn negative(b: &mut Builder, p: Point) -> Point {
    Point { x: p.x, y: b.scale(p.y, integer(-1), Fr::zero()) }
}
