//! ECDSA over secp256k1 and secp256r1. About 75,000 rows.
//!
//! Source: SEC 1, section 4.1.4, with the rule of BIP 62 that `s` is at most half of the order.
//!
//! A signature that is malformed, a key that is no point, and a sum that is the identity are invalid, not
//! unsatisfiable: the verdict is a bit that the inputs determine. Where the inputs are malformed, `s = 1` and the
//! generator stand in for them, so that every division has an answer.

mod point;

use std::sync::LazyLock;

use num_bigint::BigInt;
use rollmill_circuits::gadgets::uint::not;
use rollmill_plonk::builder::{Builder, Var};

use self::point::{Point, add, multiply};
use super::foreign::{
    Element, Modulus, Terms, assert_below, from_words, is_below, is_equal, is_none,
};
use super::polynomial::integer;

/// A curve `y² = x³ + ax + b` of prime order.
#[derive(Debug)]
pub(crate) struct Curve {
    field: Modulus,
    order: Modulus,
    a: BigInt,
    b: BigInt,
    generator: [BigInt; 2],
}

/// Words of 64 bits, the lowest first. Source: SEC 2, section 2.4.1.
pub(crate) static SECP256K1: LazyLock<Curve> = LazyLock::new(|| Curve {
    field: Modulus::new([0xfffffffefffffc2f, u64::MAX, u64::MAX, u64::MAX]),
    order: Modulus::new([0xbfd25e8cd0364141, 0xbaaedce6af48a03b, 0xfffffffffffffffe, u64::MAX]),
    a: BigInt::from(0),
    b: BigInt::from(7),
    generator: [
        [0x59f2815b16f81798, 0x029bfcdb2dce28d9, 0x55a06295ce870b07, 0x79be667ef9dcbbac],
        [0x9c47d08ffb10d4b8, 0xfd17b448a6855419, 0x5da4fbfc0e1108a8, 0x483ada7726a3c465],
    ]
    .map(from_words),
});

/// Source: SEC 2, section 2.4.2.
pub(crate) static SECP256R1: LazyLock<Curve> = LazyLock::new(|| Curve {
    field: Modulus::new([u64::MAX, 0xffffffff, 0, 0xffffffff00000001]),
    order: Modulus::new([0xf3b9cac2fc632551, 0xbce6faada7179e84, u64::MAX, 0xffffffff00000000]),
    a: from_words([u64::MAX - 3, 0xffffffff, 0, 0xffffffff00000001]),
    b: from_words([0x3bce3c3e27d2604b, 0x651d06b0cc53b0f6, 0xb3ebbd55769886bc, 0x5ac635d8aa3a93e7]),
    generator: [
        [0xf4a13945d898c296, 0x77037d812deb33a0, 0xf8bce6e563a440f2, 0x6b17d1f2e12c4247],
        [0xcbb6406837bf51f5, 0x2bce33576b315ece, 0x8ee7eb4a7c0f9e16, 0x4fe342e2fe1a7f9b],
    ]
    .map(from_words),
});

/// The bytes of a call, the highest first in each number. All are constrained to 8 bits.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) key: [&'a [Var; 32]; 2],
    pub(crate) r: &'a [Var; 32],
    pub(crate) s: &'a [Var; 32],
    pub(crate) hash: &'a [Var; 32],
}

/// 1 where the signature is valid, else 0.
pub(crate) fn verify(b: &mut Builder, curve: &Curve, signed: &Signed<'_>) -> Var {
    let key = signed.key.map(|bytes| Element::from_bytes(b, bytes));
    let [r, s, hash] = [signed.r, signed.s, signed.hash].map(|bytes| Element::from_bytes(b, bytes));
    let half: BigInt = (&curve.order.value >> 1) + 1;
    let is_fine = [
        is_in_range(b, &r, &curve.order.value),
        is_in_range(b, &s, &half),
        is_point(b, curve, &key),
    ];
    let is_fine = is_fine.into_iter().fold(b.constant(integer(1)), |all, one| b.mul(all, one));
    let one = Element::constant(b, &BigInt::from(1));
    let s = s.select(b, is_fine, &one);
    let [gx, gy] = curve.generator.each_ref().map(|value| Element::constant(b, value));
    let generator = Point { x: gx, y: gy };
    let key = Point { x: key[0].select(b, is_fine, &gx), y: key[1].select(b, is_fine, &gy) };
    let of_generator = divide(b, &curve.order, &hash, &s);
    let of_key = divide(b, &curve.order, &r, &s);
    let (first, second) =
        (multiply(b, curve, &generator, &of_generator), multiply(b, curve, &key, &of_key));
    let sum = add(b, curve, &first, &second);
    // The abscissa is an integer below the field's prime, of which the residue modulo the order counts.
    let x = Terms::default().term(1, &sum.point.x).reduce(b, &curve.field);
    assert_below(b, &x, &curve.field.value);
    let x = Terms::default().term(1, &x).reduce(b, &curve.order);
    assert_below(b, &x, &curve.order.value);
    let is_r = is_equal(b, &x, &r);
    let is_proper = not(b, sum.is_identity);
    let is_valid = b.mul(is_r, is_proper);
    b.mul(is_valid, is_fine)
}

/// 1 where a number of 32 bytes is from 1 to `bound − 1`, else 0.
fn is_in_range(b: &mut Builder, value: &Element, bound: &BigInt) -> Var {
    let is_low = is_below(b, value, bound);
    let is_zero = is_none(b, value);
    let is_some = not(b, is_zero);
    b.mul(is_low, is_some)
}

/// 1 where the coordinates, numbers of 32 bytes, are those of a point, else 0.
fn is_point(b: &mut Builder, curve: &Curve, [x, y]: &[Element; 2]) -> Var {
    let canonical = [x, y].map(|value| is_below(b, value, &curve.field.value));
    let canonical = b.mul(canonical[0], canonical[1]);
    let [a, constant] = [&curve.a, &curve.b].map(|value| Element::constant(b, value));
    let square = Terms::default().product(1, x, x).reduce(b, &curve.field);
    let is_on = Terms::default()
        .product(1, y, y)
        .product(-1, &square, x)
        .product(-1, &a, x)
        .term(-1, &constant)
        .zero_bit(b, &curve.field);
    b.mul(canonical, is_on)
}

/// The quotient modulo a prime, below it. The divisor must not be a multiple of the prime.
fn divide(b: &mut Builder, modulus: &Modulus, numerator: &Element, divisor: &Element) -> Element {
    let value = modulus.ratio(&numerator.value(b), &divisor.value(b));
    let quotient = Element::fresh(b, &value);
    assert_below(b, &quotient, &modulus.value);
    Terms::default().product(1, &quotient, divisor).term(-1, numerator).assert_zero(b, modulus);
    quotient
}
