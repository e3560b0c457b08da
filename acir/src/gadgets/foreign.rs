//! Arithmetic modulo a prime M of 256 bits that is not r. About 30 rows for a product.
//!
//! An element is three limbs of 96 bits, the last one of 64 where it is fresh, and the sum of its limbs modulo r. It
//! stands for its residue modulo M, and need not be below M. An identity `V = Σ k · a · b + Σ k · a − q · M = 0` is
//! checked modulo 2^288, by three carry equations, and modulo r. It then holds over the integers:
//!
//! * A fresh element is below 2^256. No operand here is the sum of more than two of them, and no identity has factors
//!   `|k|` that add up to more than 8. So elements are below 2^257 in size, the terms below 2^517, and an honest
//!   quotient below 2^262. Any quotient is in `[−2^263, 2^263)`, so `V` is below 2^520 in size, far below
//!   `2^288 · r / 2 > 2^540`.
//! * Limbs are below 2^97 in size, so the terms of an equation of limbs are below 2^200, and a carry is below 2^143
//!   times 2^96: it is an equation of integers, as r is above 2^253. Honest carries are below 2^104.

use ark_ff::PrimeField;
use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::{is_negative, range_bits};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use super::polynomial::{Polynomial, integer};
use super::range::range;

pub(super) const LIMBS: usize = 3;
/// Bits of a limb, and of the last limb of a fresh element and of a quotient.
pub(super) const LIMB_BITS: u32 = 96;
const TOP_BITS: u32 = 64;
const QUOTIENT_TOP_BITS: u32 = 72;
/// A carry is in `[−2^143, 2^143)`: with cells of 12 bits these are three whole range checks.
const CARRY_BITS: u32 = 144;
/// Bytes of an element, and of a limb.
const BYTES: usize = 32;
const LIMB_BYTES: usize = 12;

/// `Σ word · 2^(64 i)`.
pub(super) fn from_words(words: [u64; 4]) -> BigInt {
    words.iter().rev().fold(BigInt::from(0), |sum, word| (sum << 64) + BigInt::from(*word))
}

/// The residue of an integer modulo r.
pub(super) fn residue(value: &BigInt) -> Fr {
    let (sign, bytes) = value.to_bytes_le();
    let magnitude = Fr::from_le_bytes_mod_order(&bytes);
    if sign == Sign::Minus { -magnitude } else { magnitude }
}

/// The integer of least size with this residue modulo r.
fn least(value: Fr) -> BigInt {
    let whole = from_words(value.into_bigint().0);
    match value.into_bigint() > Fr::MODULUS_MINUS_ONE_DIV_TWO {
        true => whole - from_words(Fr::MODULUS.0),
        false => whole,
    }
}

/// The limbs of an integer; the last one has its sign and what is left.
pub(super) fn split(value: &BigInt) -> [BigInt; LIMBS] {
    let mask = (BigInt::from(1) << LIMB_BITS) - 1;
    let at = |i: u32| value >> (LIMB_BITS * i);
    [at(0) & &mask, at(1) & &mask, at(2)]
}

/// `2^(96 i)`.
fn weight(i: usize) -> Fr {
    power_of_two(LIMB_BITS * i as u32)
}

/// A prime of 256 bits.
#[derive(Debug, Clone)]
pub(crate) struct Modulus {
    pub(super) value: BigInt,
    limbs: [Fr; LIMBS],
}

impl Modulus {
    pub(super) fn new(words: [u64; 4]) -> Self {
        let value = from_words(words);
        let limbs = split(&value).map(|limb| residue(&limb));
        Self { value, limbs }
    }

    /// `numerator / denominator`; 0 where the denominator is.
    pub(super) fn ratio(&self, numerator: &BigInt, denominator: &BigInt) -> BigInt {
        let m = &self.value;
        let inverse = denominator.mod_floor(m).modpow(&(m - 2), m);
        (numerator * inverse).mod_floor(m)
    }
}

/// A residue modulo some prime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    pub(super) limbs: [Var; LIMBS],
    /// The sum of the limbs, each with its weight, modulo r.
    pub(super) native: Var,
}

impl Element {
    pub(super) fn from_limbs(b: &mut Builder, limbs: [Var; LIMBS]) -> Self {
        let terms: [(Fr, Var); LIMBS] = std::array::from_fn(|i| (weight(i), limbs[i]));
        Self { limbs, native: b.linear(&terms, Fr::from(0u64)) }
    }

    /// The element of 32 bytes, the highest first, each of which is constrained to 8 bits.
    pub(crate) fn from_bytes(b: &mut Builder, bytes: &[Var; BYTES]) -> Self {
        for byte in bytes {
            range(b, *byte, 8);
        }
        let lowest_first: Vec<Var> = bytes.iter().rev().copied().collect();
        let limbs = std::array::from_fn(|i| {
            let limb = lowest_first.iter().skip(LIMB_BYTES * i).take(LIMB_BYTES).enumerate();
            let terms: Vec<(Fr, Var)> =
                limb.map(|(at, byte)| (power_of_two(8 * at as u32), *byte)).collect();
            b.linear(&terms, Fr::from(0u64))
        });
        Self::from_limbs(b, limbs)
    }

    /// A new element below 2^256 that nothing else constrains. Eight rows.
    pub(super) fn fresh(b: &mut Builder, value: &BigInt) -> Self {
        let limbs = split(value).map(|limb| b.witness(residue(&limb)));
        for (limb, bits) in limbs.into_iter().zip([LIMB_BITS, LIMB_BITS, TOP_BITS]) {
            range_bits(b, limb, bits);
        }
        Self::from_limbs(b, limbs)
    }

    pub(super) fn constant(b: &mut Builder, value: &BigInt) -> Self {
        let limbs = split(value).map(|limb| b.constant(residue(&limb)));
        Self { limbs, native: b.constant(residue(value)) }
    }

    /// The integer that the limbs stand for.
    pub(super) fn value(&self, b: &Builder) -> BigInt {
        let ints = self.ints(b);
        ints.iter().rev().fold(BigInt::from(0), |sum, limb| (sum << LIMB_BITS) + limb)
    }

    fn ints(&self, b: &Builder) -> [BigInt; LIMBS] {
        self.limbs.map(|limb| least(b.value(limb)))
    }

    /// `Σ k · element`, limb by limb. Four rows for two.
    pub(super) fn combine(b: &mut Builder, terms: &[(i64, &Self)]) -> Self {
        let mut sum = |of: &dyn Fn(&Self) -> Var| {
            let terms: Vec<(Fr, Var)> = terms.iter().map(|(k, e)| (integer(*k), of(e))).collect();
            b.linear(&terms, Fr::from(0u64))
        };
        let limbs = std::array::from_fn(|i| sum(&|element: &Self| element.limbs[i]));
        Self { limbs, native: sum(&|element: &Self| element.native) }
    }

    /// This element where the bit is 1, the other where it is 0.
    pub(super) fn select(&self, b: &mut Builder, bit: Var, other: &Self) -> Self {
        let limbs = std::array::from_fn(|i| b.select(bit, self.limbs[i], other.limbs[i]));
        Self { limbs, native: b.select(bit, self.native, other.native) }
    }
}

/// `Σ k · a · b + Σ k · a`.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    products: Vec<(i64, Element, Element)>,
    linear: Vec<(i64, Element)>,
}

impl Terms {
    pub(super) fn product(mut self, k: i64, x: &Element, y: &Element) -> Self {
        self.products.push((k, *x, *y));
        self
    }

    pub(super) fn term(mut self, k: i64, x: &Element) -> Self {
        self.linear.push((k, *x));
        self
    }

    pub(super) fn value(&self, b: &Builder) -> BigInt {
        let products = self.products.iter().map(|(k, x, y)| x.value(b) * y.value(b) * *k);
        let linear = self.linear.iter().map(|(k, x)| x.value(b) * *k);
        products.chain(linear).fold(BigInt::from(0), |sum, term| sum + term)
    }

    /// A fresh element with the residue of the terms. It is below 2^256, and the honest one below M.
    pub(super) fn reduce(self, b: &mut Builder, modulus: &Modulus) -> Element {
        let residue = self.value(b).mod_floor(&modulus.value);
        let out = Element::fresh(b, &residue);
        self.term(-1, &out).assert_zero(b, modulus);
        out
    }

    /// 1 where the terms are a multiple of M, else 0.
    pub(super) fn zero_bit(self, b: &mut Builder, modulus: &Modulus) -> Var {
        let rest = self.reduce(b, modulus);
        assert_below(b, &rest, &modulus.value);
        is_none(b, &rest)
    }

    /// Constrains the terms to be a multiple of M.
    pub(super) fn assert_zero(&self, b: &mut Builder, modulus: &Modulus) {
        let quotient = self.value(b).div_floor(&modulus.value);
        self.assert_zero_given(b, modulus, &quotient);
    }

    /// [`Self::assert_zero`] with a quotient that the prover chooses.
    pub(super) fn assert_zero_given(&self, b: &mut Builder, modulus: &Modulus, quotient: &BigInt) {
        let offset = BigInt::from(1) << (2 * LIMB_BITS + QUOTIENT_TOP_BITS - 1);
        let cells = split(&(quotient + &offset)).map(|limb| b.witness(residue(&limb)));
        for (limb, bits) in cells.into_iter().zip([LIMB_BITS, LIMB_BITS, QUOTIENT_TOP_BITS]) {
            range_bits(b, limb, bits);
        }
        let (quotient_ints, modulus_ints) = (split(quotient), split(&modulus.value));
        let carry_offset = BigInt::from(1) << (CARRY_BITS - 1);
        let mut carried: Option<(Var, BigInt)> = None;
        for position in 0..LIMBS {
            let (mut equation, mut sum) = self.at(b, position);
            for (i, (cell, int)) in cells.iter().zip(&quotient_ints).enumerate().take(position + 1)
            {
                let factor = modulus.limbs[position - i];
                equation = equation.term(-factor, *cell);
                if i == LIMBS - 1 {
                    // The cell of the highest limb has the offset.
                    equation = equation.plus(factor * power_of_two(QUOTIENT_TOP_BITS - 1));
                }
                sum -= int * &modulus_ints[position - i];
            }
            if let Some((cell, value)) = &carried {
                equation = equation.term(integer(1), *cell).plus(-residue(&carry_offset));
                sum += value;
            }
            let carry: BigInt = sum >> LIMB_BITS;
            let cell = b.witness(residue(&(&carry + &carry_offset)));
            range_bits(b, cell, CARRY_BITS);
            equation = equation.term(-weight(1), cell).plus(weight(1) * residue(&carry_offset));
            equation.assert_zero(b);
            carried = Some((cell, carry));
        }
        self.assert_zero_natively(b, modulus, &cells, &offset);
    }

    /// The terms of weight `2^(96 · position)`, as a polynomial and as an integer.
    fn at(&self, b: &Builder, position: usize) -> (Polynomial, BigInt) {
        let mut polynomial = Polynomial::default();
        let mut sum = BigInt::from(0);
        for (k, x, y) in &self.products {
            let (x_ints, y_ints) = (x.ints(b), y.ints(b));
            for (i, x_int) in x_ints.iter().enumerate().take(position + 1) {
                let j = position - i;
                polynomial = polynomial.product(integer(*k), x.limbs[i], y.limbs[j]);
                sum += x_int * &y_ints[j] * *k;
            }
        }
        for (k, x) in &self.linear {
            polynomial = polynomial.term(integer(*k), x.limbs[position]);
            sum += &x.ints(b)[position] * *k;
        }
        (polynomial, sum)
    }

    /// The identity modulo r.
    fn assert_zero_natively(
        &self,
        b: &mut Builder,
        modulus: &Modulus,
        quotient: &[Var; LIMBS],
        offset: &BigInt,
    ) {
        let mut equation = Polynomial::default();
        for (k, x, y) in &self.products {
            equation = equation.product(integer(*k), x.native, y.native);
        }
        for (k, x) in &self.linear {
            equation = equation.term(integer(*k), x.native);
        }
        let native = residue(&modulus.value);
        for (i, cell) in quotient.iter().enumerate() {
            equation = equation.term(-native * weight(i), *cell);
        }
        equation.plus(native * residue(offset)).assert_zero(b);
    }
}

/// 1 where an element is below a number, as integers, else 0. Its limbs must be those of a fresh element or of bytes.
pub(super) fn is_below(b: &mut Builder, element: &Element, bound: &BigInt) -> Var {
    let mut borrow = Builder::ZERO;
    for (limb, limit) in element.limbs.into_iter().zip(split(bound)) {
        let rest = b.linear(&[(integer(1), limb), (integer(-1), borrow)], -residue(&limit));
        borrow = is_negative(b, rest, LIMB_BITS);
    }
    borrow
}

/// Constrains an element to be below a number; see [`is_below`].
pub(super) fn assert_below(b: &mut Builder, element: &Element, bound: &BigInt) {
    let is_below = is_below(b, element, bound);
    b.assert_constant(is_below, integer(1));
}

/// 1 where an element is 0 as an integer, else 0; see [`is_below`].
pub(super) fn is_none(b: &mut Builder, element: &Element) -> Var {
    // The limbs are not negative, so their sum is 0 only where each is.
    let sum = b.linear(&element.limbs.map(|limb| (integer(1), limb)), Fr::from(0u64));
    b.is_zero(sum)
}

/// 1 where two elements have the same limbs, else 0.
pub(super) fn is_equal(b: &mut Builder, x: &Element, y: &Element) -> Var {
    let [first, second, third] = std::array::from_fn(|i| {
        let difference = b.sub(x.limbs[i], y.limbs[i]);
        b.is_zero(difference)
    });
    let two = b.mul(first, second);
    b.mul(two, third)
}
