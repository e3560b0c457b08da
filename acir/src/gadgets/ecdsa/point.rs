//! Points of a curve over a foreign field, and their products with scalars.
//!
//! The products work as those of [`super::super::scalar`], with 65 digits: `s' < 2n < 2^257`. Its argument that no
//! addition but the last meets equal abscissas holds for every scalar below the order and every point of that order. So
//! the additions on the way need no check of their own: their operands are the multiples that the digits say.

use num_bigint::BigInt;
use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::not;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_plonk::layout::FixedRow;

use super::super::foreign::{Element, LIMB_BITS, LIMBS, Terms, residue, split};
use super::super::polynomial::{Polynomial, integer};
use super::super::range::below;
use super::Curve;

/// Digits of 4 bits: 24 in each of the lower limbs.
const DIGITS: usize = 65;
const PER_LIMB: usize = LIMB_BITS as usize / 4;
/// Places of the table: place `u` has the multiple `2u − 15`.
const PLACES: usize = 16;

/// A point on the curve, not the identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) x: Element,
    pub(super) y: Element,
}

/// A point, or the identity with any point in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) point: Point,
    /// 1 for the identity, else 0.
    pub(super) is_identity: Var,
}

impl Point {
    fn select(&self, b: &mut Builder, bit: Var, other: &Self) -> Self {
        Self { x: self.x.select(b, bit, &other.x), y: self.y.select(b, bit, &other.y) }
    }

    /// The same abscissa with the ordinate negated, limb by limb.
    fn negative(&self, b: &mut Builder) -> Self {
        Self { x: self.x, y: Element::combine(b, &[(-1, &self.y)]) }
    }
}

/// The third point of the line with a slope through `p` and a point with abscissa `x2`, mirrored.
fn third(b: &mut Builder, curve: &Curve, slope: &Element, p: &Point, x2: &Element) -> Point {
    let x = Terms::default()
        .product(1, slope, slope)
        .term(-1, &p.x)
        .term(-1, x2)
        .reduce(b, &curve.field);
    let step = Element::combine(b, &[(1, &p.x), (-1, &x)]);
    let y = Terms::default().product(1, slope, &step).term(-1, &p.y).reduce(b, &curve.field);
    Point { x, y }
}

/// The sum of two points with different abscissas.
fn add_distinct(b: &mut Builder, curve: &Curve, p: &Point, q: &Point) -> Point {
    let run = Element::combine(b, &[(1, &q.x), (-1, &p.x)]);
    let rise = q.y.value(b) - p.y.value(b);
    let slope = curve.field.ratio(&rise, &run.value(b));
    let slope = Element::fresh(b, &slope);
    Terms::default()
        .product(1, &slope, &run)
        .term(-1, &q.y)
        .term(1, &p.y)
        .assert_zero(b, &curve.field);
    third(b, curve, &slope, p, &q.x)
}

/// Twice a point. The order is odd, so its ordinate is not 0.
fn double(b: &mut Builder, curve: &Curve, p: &Point) -> Point {
    let a = Element::constant(b, &curve.a);
    let (x, y) = (p.x.value(b), p.y.value(b));
    let rise: BigInt = &x * &x * 3 + &curve.a;
    let slope = Element::fresh(b, &curve.field.ratio(&rise, &(y * 2)));
    Terms::default()
        .product(2, &slope, &p.y)
        .product(-3, &p.x, &p.x)
        .term(-1, &a)
        .assert_zero(b, &curve.field);
    third(b, curve, &slope, p, &p.x)
}

/// The sum of any two points: the identity, equal and opposite ones included.
///
/// Where the abscissas agree, the line is the tangent at `p`, also for opposite points: its slope exists, and the sum
/// is marked as the identity. So the slope has a divisor that is not 0 in every case.
pub(super) fn add(b: &mut Builder, curve: &Curve, p: &Sum, q: &Sum) -> Sum {
    let field = &curve.field;
    let (first, second) = (&p.point, &q.point);
    let same = Terms::default().term(1, &second.x).term(-1, &first.x).zero_bit(b, field);
    let mirrored = Terms::default().term(1, &second.y).term(1, &first.y).zero_bit(b, field);
    let opposite = b.mul(same, mirrored);
    let a = Element::constant(b, &curve.a);
    let tangent = Terms::default().product(3, &first.x, &first.x).term(1, &a).reduce(b, field);
    let rise = Element::combine(b, &[(1, &second.y), (-1, &first.y)]);
    let rise = tangent.select(b, same, &rise);
    let twice = Element::combine(b, &[(2, &first.y)]);
    let run = Element::combine(b, &[(1, &second.x), (-1, &first.x)]);
    let run = twice.select(b, same, &run);
    let slope = field.ratio(&rise.value(b), &run.value(b));
    let slope = Element::fresh(b, &slope);
    Terms::default().product(1, &slope, &run).term(-1, &rise).assert_zero(b, field);
    let point = third(b, curve, &slope, first, &second.x);
    let point = first.select(b, q.is_identity, &point);
    let point = second.select(b, p.is_identity, &point);
    // p is the identity: as q is. Else, if q is, the sum is p. Else it is where they are opposite.
    let with_p = not(b, q.is_identity);
    let with_p = b.mul(with_p, opposite);
    let is_identity = b.select(p.is_identity, q.is_identity, with_p);
    Sum { point, is_identity }
}

/// `scalar · base`, for a scalar below the order and a point on the curve.
pub(super) fn multiply(b: &mut Builder, curve: &Curve, base: &Point, scalar: &Element) -> Sum {
    let value = scalar.value(b);
    let is_even = !value.bit(0);
    let number = if is_even { &value + &curve.order.value } else { value };
    let places = places(&number);
    let adds = integer(i64::from(is_even));
    let places = digits_given(b, curve, scalar, adds, &places);
    let table = Table::new(b, curve, base);
    let mut places = places.into_iter().rev();
    let top = places.next().unwrap_or(Builder::ZERO);
    let mut sum = table.read(b, top);
    let zero = Builder::ZERO;
    let mut out = Sum { point: sum, is_identity: zero };
    let rest = places.len();
    for (i, place) in places.enumerate() {
        for _ in 0..4 {
            sum = double(b, curve, &sum);
        }
        let multiple = table.read(b, place);
        if i + 1 == rest {
            // It may be equal or opposite to the multiple.
            let [sum, multiple] = [sum, multiple].map(|point| Sum { point, is_identity: zero });
            out = add(b, curve, &sum, &multiple);
        } else {
            sum = add_distinct(b, curve, &sum, &multiple);
        }
    }
    out
}

/// The places of the digits of an odd number, lowest first: `Σ 16^i u_i = (number + 16^65 − 1) / 2`.
fn places(number: &BigInt) -> [u8; DIGITS] {
    let sum: BigInt = (number + (BigInt::from(1) << (4 * DIGITS)) - 1) >> 1u32;
    std::array::from_fn(|i| {
        (0..4).filter(|bit| sum.bit(4 * i as u64 + bit)).fold(0, |digit, bit| digit | 1 << bit)
    })
}

/// Constrains places that the prover chooses to be those of the digits of the scalar made odd, and returns them, lowest
/// first. Each must be looked up in a table of 16 places.
///
/// With `U` for the sum of places, in limbs, `e` for whether the order n is added, and carries from −4 to 3,
/// `2 U_k − s_k − e · n_k − (16^65 − 1)_k + carry_(k−1) = carry_k · 2^96`, and the last carry is 0. All terms are below
/// 2^99, so these are equations of integers.
fn digits_given(
    b: &mut Builder,
    curve: &Curve,
    scalar: &Element,
    adds: Fr,
    places: &[u8; DIGITS],
) -> Vec<Var> {
    let adds = b.witness(adds);
    b.assert_bool(adds);
    let order = split(&curve.order.value).map(|limb| residue(&limb));
    let ones = split(&((BigInt::from(1) << (4 * DIGITS)) - 1)).map(|limb| residue(&limb));
    let places: Vec<Var> =
        places.iter().map(|place| b.witness(Fr::from(u64::from(*place)))).collect();
    let two96 = power_of_two(LIMB_BITS);
    let mut carried: Option<Var> = None;
    for (k, digits) in places.chunks(PER_LIMB).enumerate() {
        let mut equation = Polynomial::default()
            .term(integer(-1), scalar.limbs[k])
            .term(-order[k], adds)
            .plus(-ones[k]);
        let mut value = -b.value(scalar.limbs[k]) - order[k] * b.value(adds) - ones[k];
        for (i, place) in digits.iter().enumerate() {
            let weight = power_of_two(4 * i as u32 + 1);
            equation = equation.term(weight, *place);
            value += weight * b.value(*place);
        }
        if let Some(carry) = carried {
            // A carry has 4 added, so that it is from 0 to 7.
            equation = equation.term(integer(1), carry).plus(integer(-4));
            value += b.value(carry) - integer(4);
        }
        if k + 1 < LIMBS {
            let carry = (0..8).find(|carry| (integer(*carry) - integer(4)) * two96 == value);
            let carry = b.witness(integer(carry.unwrap_or(0)));
            b.range(carry, 3);
            equation = equation.term(-two96, carry).plus(integer(4) * two96);
            carried = Some(carry);
        }
        equation.assert_zero(b);
    }
    places
}

/// A ROM table with the odd multiples of a point from −15 to 15, by their limbs and residues modulo r.
struct Table {
    name: Var,
    multiples: [Point; PLACES],
}

impl Table {
    fn new(b: &mut Builder, curve: &Curve, base: &Point) -> Self {
        let two = double(b, curve, base);
        let mut positive = vec![*base];
        for i in 1..PLACES / 2 {
            positive.push(add_distinct(b, curve, &positive[i - 1], &two));
        }
        let negatives: Vec<Point> = positive.iter().rev().map(|point| point.negative(b)).collect();
        let multiples: Vec<Point> = negatives.into_iter().chain(positive).collect();
        let multiples: [Point; PLACES] = std::array::from_fn(|place| multiples[place]);
        let name = b.new_table();
        for (place, point) in multiples.iter().enumerate() {
            let address = b.constant_u64(place as u64);
            let [first, second] = cells(point);
            b.rom_write(name, address, first, second);
        }
        Self { name, multiples }
    }

    /// The multiple at a place, which is constrained to be in the table.
    fn read(&self, b: &mut Builder, place: Var) -> Point {
        let at = below(&b.value(place), PLACES).unwrap_or(0);
        let [x, y] = [self.multiples[at].x, self.multiples[at].y].map(|element| {
            let limbs = element.limbs.map(|limb| {
                let value = b.value(limb);
                b.witness(value)
            });
            let native = b.value(element.native);
            Element { limbs, native: b.witness(native) }
        });
        let point = Point { x, y };
        let [first, second] = cells(&point);
        let zero = Builder::ZERO;
        let row = FixedRow::read([Fr::from(0u64); 8]);
        let number = b.raw_row([place, zero, zero, self.name], &row, [0; 8]);
        b.raw_row(first, &FixedRow::blank(), [0; 8]);
        b.raw_row(second, &FixedRow::blank(), [0; 8]);
        if below(&b.value(place), PLACES).is_some() {
            b.note_read(number, self.name, place);
        }
        point
    }
}

/// The values of a point in a table: limbs and residue of each coordinate.
fn cells(point: &Point) -> [[Var; 4]; 2] {
    [point.x, point.y].map(|element| {
        let [low, middle, high] = element.limbs;
        [low, middle, high, element.native]
    })
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::super::super::foreign::from_words;
    use super::super::SECP256K1;
    use super::*;

    /// Whether places are accepted for a scalar, with the order added or not.
    fn accepted(scalar: &BigInt, adds: i64, places: &[u8; DIGITS]) -> bool {
        let mut b = Builder::new(0, 12);
        let scalar = Element::fresh(&mut b, scalar);
        digits_given(&mut b, &SECP256K1, &scalar, integer(adds), places);
        let (layout, witness) = b.finish(None).unwrap();
        check(&layout, &witness).is_ok()
    }

    #[test]
    fn digits_of_another_scalar_are_rejected() {
        let order = &SECP256K1.order.value;
        for scalar in
            [from_words([5, 6, 7, 8]), order - 1, order - 2, BigInt::from(0), BigInt::from(18)]
        {
            let is_even = !scalar.bit(0);
            let number = if is_even { &scalar + order } else { scalar.clone() };
            let honest = places(&number);
            assert!(accepted(&scalar, i64::from(is_even), &honest), "{scalar}");
            assert!(!accepted(&scalar, i64::from(!is_even), &honest), "{scalar}");
            assert!(!accepted(&scalar, 2, &honest), "{scalar}");
            for at in [0, 23, 24, 47, 48, 64] {
                let mut changed = honest;
                changed[at] ^= 1;
                assert!(!accepted(&scalar, i64::from(is_even), &changed), "{scalar}, digit {at}");
            }
        }
    }
}
