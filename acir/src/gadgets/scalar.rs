//! Products of points of Grumpkin with scalars. About 1,800 rows for each.
//!
//! A scalar `s` below the group's order `n` comes as halves of 128 bits. It is made odd, `s' = s + n` where it is
//! even, and written in 64 odd digits from −15 to 15: `s' = Σ 16^i · d_i`. Each digit picks its multiple of the point
//! out of a ROM table, so that no digit needs a range check of its own. From the highest digit on, the sum so far is
//! doubled four times and the next multiple is added.
//!
//! **It is complete.** Let `a` be the sum of digits so far: `a · 16^i` differs from `s'` by less than `16^i`, and `a`
//! is odd, so `1 ≤ a`. Before the last digit is added, `16a < 2n/16 + 16 < n − 15` for `i ≥ 1`, and `16a ≥ 16 > 15`,
//! so that `16a` is neither 0 nor `±d` modulo n: both operands have different abscissas, and no point on the way is
//! the identity. Only the last addition can meet equal or opposite points (`s = 18` and `s = 0`), so it is the
//! complete one.
//!
//! **It is sound.** Each step has one result ([`super::curve`]), and the points on the way are on the curve, as the
//! first one is. That the digits are those of `s'` is an equation of integers ([`digits_given`]).

use ark_ff::{BigInt, BigInteger, PrimeField};
use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::{Halves, assert_halves_below, not, range_u128};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_plonk::layout::FixedRow;

use super::curve::{Encoded, Point, add, add_distinct, double, negative};
use super::polynomial::{Polynomial, integer};
use super::range::below;

/// Digits of one half of the scalar.
const HALF: usize = 32;
const DIGITS: usize = 2 * HALF;
/// Places of the table: place `u` has the multiple `2u − 15`.
const PLACES: usize = 16;

/// A scalar in halves of 128 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar {
    pub(crate) low: Var,
    pub(crate) high: Var,
}

/// The order of the group: BN254's base field has as many elements.
const ORDER: BigInt<4> = <ark_grumpkin::Fr as PrimeField>::MODULUS;

fn order_halves() -> [Fr; 2] {
    let [a, b, c, d] = ORDER.0;
    [[a, b], [c, d]].map(|[low, high]| Fr::from(u128::from(low) | u128::from(high) << 64))
}

/// `scalar · point`, (0, 0) for the identity. Constrains the scalar to be below the order, for the identity as well.
pub(crate) fn multiply(b: &mut Builder, point: &Encoded, scalar: Scalar) -> Point {
    let odd = odd(b, scalar);
    let places = places(&odd);
    let reads = digits_given(b, scalar, &odd, &places);
    let base = point.or_generator(b);
    let product = by_digits(b, base, &reads);
    let keep = not(b, point.is_identity);
    product.masked(b, keep)
}

/// What the prover chooses to make a scalar odd.
#[derive(Debug, Clone, Copy)]
pub(super) struct Odd {
    /// 1 where the order is added.
    pub(super) adds: Fr,
    /// The odd number; it has 255 bits at most.
    pub(super) number: [u64; 4],
}

/// The honest choice. It means nothing for halves above 128 bits, which are rejected.
pub(super) fn odd(b: &Builder, scalar: Scalar) -> Odd {
    let word = |var: Var, i: usize| b.value(var).into_bigint().0[i];
    let [low, high] = [scalar.low, scalar.high];
    let mut number = BigInt::new([word(low, 0), word(low, 1), word(high, 0), word(high, 1)]);
    let is_even = number.is_even();
    if is_even {
        number.add_with_carry(&ORDER);
    }
    Odd { adds: Fr::from(u64::from(is_even)), number: number.0 }
}

/// The places of the digits of an odd number, lowest first: `number = Σ 16^i (2u_i − 15)`, so `Σ 16^i u_i` is
/// `(number + 2^256 − 1) / 2`, which is `⌊number / 2⌋ + 2^255`.
pub(super) fn places(odd: &Odd) -> [u8; DIGITS] {
    let n = odd.number;
    let word = |i: usize| n[i] >> 1 | n.get(i + 1).map_or(1, |next| next & 1) << 63;
    std::array::from_fn(|i| (word(i / 16) >> (4 * (i % 16)) & 15) as u8)
}

/// Constrains places that the prover chooses to be those of the digits of the scalar made odd, and the scalar to be
/// below the order. Returns the places, lowest first. Each must be looked up in a table of 16 places.
///
/// With `U` for the sum `Σ 16^i u_i` of places, in halves, and `e` for whether the order n is added,
///
/// ```text
/// 2 U_low  = low  + e · n_low  + (2^128 − 1) + carry · 2^128
/// 2 U_high = high + e · n_high + (2^128 − 1) − carry
/// ```
///
/// Halves are below 2^128 and the carry is from −2 to 1, so both sides stay below 2^131 in size: these are equations
/// of integers. Together they say `2U − (2^256 − 1) = s + e · n`, and the left side is odd.
pub(super) fn digits_given(
    b: &mut Builder,
    scalar: Scalar,
    odd: &Odd,
    places: &[u8; DIGITS],
) -> Vec<Var> {
    let [order_low, order_high] = order_halves();
    let (one, two128) = (Fr::from(1u64), power_of_two(128));
    range_u128(b, scalar.low);
    range_u128(b, scalar.high);
    let limit = Halves { lo: b.constant(order_low), hi: b.constant(order_high) };
    assert_halves_below(b, Halves { lo: scalar.low, hi: scalar.high }, limit);
    let adds = b.witness(odd.adds);
    b.assert_bool(adds);
    let places: Vec<Var> =
        places.iter().map(|place| b.witness(Fr::from(u64::from(*place)))).collect();
    let sums: Vec<Fr> = places
        .chunks(HALF)
        .map(|half| {
            half.iter().rev().fold(Fr::from(0u64), |sum, u| sum * integer(16) + b.value(*u))
        })
        .collect();
    // The carry is the integer `(2 U_low − low − e · n_low − 2^128 + 1) / 2^128`, plus 2 to be from 0 to 3.
    let rest = integer(2) * sums[0] - b.value(scalar.low) - odd.adds * order_low - two128 + one;
    let carry = (0..4).find(|carry| (integer(*carry) - integer(2)) * two128 == rest).unwrap_or(0);
    let carry = b.witness(integer(carry));
    b.range(carry, 2);
    let all_ones = two128 - one;
    for (half, weight, order, value) in
        [(0, two128, order_low, scalar.low), (1, -one, order_high, scalar.high)]
    {
        let mut equation = Polynomial::default();
        for (i, place) in places[HALF * half..HALF * (half + 1)].iter().enumerate() {
            equation = equation.term(power_of_two(4 * i as u32 + 1), *place);
        }
        equation
            .term(-one, value)
            .term(-order, adds)
            .term(-weight, carry)
            .plus(integer(2) * weight - all_ones)
            .assert_zero(b);
    }
    places
}

/// `Σ 16^i (2u_i − 15) · base`, for a base on the curve and places that [`digits_given`] constrains.
pub(super) fn by_digits(b: &mut Builder, base: Point, places: &[Var]) -> Point {
    let table = Table::new(b, base);
    let mut places = places.iter().rev();
    let Some(top) = places.next() else { return Point { x: Builder::ZERO, y: Builder::ZERO } };
    let mut sum = table.read(b, *top);
    let rest = places.len();
    for (i, place) in places.enumerate() {
        for _ in 0..4 {
            sum = double(b, sum);
        }
        let multiple = table.read(b, *place);
        sum = match i + 1 == rest {
            // It may be equal or opposite to the multiple.
            true => {
                let (sum, multiple) = (sum.encoded(b), multiple.encoded(b));
                add(b, &sum, &multiple)
            }
            false => add_distinct(b, sum, multiple),
        };
    }
    sum
}

/// A ROM table with the odd multiples of a point from −15 to 15.
struct Table {
    name: Var,
    multiples: [Point; PLACES],
}

impl Table {
    fn new(b: &mut Builder, base: Point) -> Self {
        // 1 and 2, 3 and 2, … have different abscissas: the order is a large prime.
        let two = double(b, base);
        let mut positive = vec![base];
        for i in 1..PLACES / 2 {
            positive.push(add_distinct(b, positive[i - 1], two));
        }
        let negatives: Vec<Point> =
            positive.iter().rev().map(|point| negative(b, *point)).collect();
        let multiples: Vec<Point> = negatives.into_iter().chain(positive).collect();
        let multiples: [Point; PLACES] = std::array::from_fn(|place| multiples[place]);
        let name = b.new_table();
        let zero = Builder::ZERO;
        for (place, point) in multiples.iter().enumerate() {
            let address = b.constant_u64(place as u64);
            b.rom_write(name, address, [point.x, point.y, zero, zero], [zero; 4]);
        }
        Self { name, multiples }
    }

    /// The multiple at a place, which is constrained to be in the table.
    fn read(&self, b: &mut Builder, place: Var) -> Point {
        let at = below(&b.value(place), PLACES).unwrap_or(0);
        let Point { x, y } = self.multiples[at];
        let values = [x, y].map(|coordinate| b.value(coordinate));
        self.read_given(b, place, values)
    }

    /// [`Self::read`] with coordinates that the prover chooses.
    fn read_given(&self, b: &mut Builder, place: Var, [x, y]: [Fr; 2]) -> Point {
        let point = Point { x: b.witness(x), y: b.witness(y) };
        let zero = Builder::ZERO;
        let row = FixedRow::read([Fr::from(0u64); 8]);
        let number = b.raw_row([place, zero, zero, self.name], &row, [0; 8]);
        b.raw_row([point.x, point.y, zero, zero], &FixedRow::blank(), [0; 8]);
        b.raw_row([zero; 4], &FixedRow::blank(), [0; 8]);
        if below(&b.value(place), PLACES).is_some() {
            b.note_read(number, self.name, place);
        }
        point
    }
}
