//! Integers in a circuit: ranges of any width, bits, and the order of canonical field elements.
//!
//! A range check covers four limb cells, so its width depends on the circuit's cells. The functions here split wider
//! values into such limbs. They constrain integers by equations over Fr, so each function explains why no sum in it
//! reaches r, which lies between 2^253 and 2^254.

use ark_ff::PrimeField;
use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use crate::weaken::gone;

/// Bits of a slot.
pub const SLOT_BITS: u32 = 48;

/// Widest range that [`range_bits`] takes; the recomposed sum stays below r.
pub const RANGE_BITS_MAX: u32 = 248;

/// The bits `from .. from + width` of a value, `width` at most 64.
fn bits_of(value: &Fr, from: u32, width: u32) -> u64 {
    let limbs = value.into_bigint().0;
    let (limb, shift) = ((from / 64) as usize, from % 64);
    let low = limbs.get(limb).copied().unwrap_or(0) >> shift;
    let high = match shift {
        0 => 0,
        _ => limbs.get(limb + 1).copied().unwrap_or(0) << (64 - shift),
    };
    let both = low | high;
    if width == 64 { both } else { both & ((1 << width) - 1) }
}

/// Constrains `value < 2^bits`.
pub fn range_bits(b: &mut Builder, value: Var, bits: u32) {
    assert!((1..=RANGE_BITS_MAX).contains(&bits), "a range of {bits} bits");
    let slot = 4 * b.cell_bits();
    if bits <= slot {
        b.range(value, bits);
        return;
    }
    let whole = b.value(value);
    let limb = |i: u32| Fr::from(bits_of(&whole, i * slot, slot.min(bits - i * slot)));
    let limbs: Vec<Fr> = (0..bits.div_ceil(slot)).map(limb).collect();
    range_by_limbs(b, value, bits, &limbs);
}

/// [`range_bits`] with limbs that the prover chooses, lowest first.
fn range_by_limbs(b: &mut Builder, value: Var, bits: u32, limbs: &[Fr]) {
    let slot = 4 * b.cell_bits();
    let mut terms = Vec::with_capacity(limbs.len());
    for (i, limb) in limbs.iter().enumerate() {
        let from = i as u32 * slot;
        let limb = b.witness(*limb);
        if !gone("gadgets.range.limb") {
            b.range(limb, slot.min(bits - from));
        }
        terms.push((power_of_two(from), limb));
    }
    if !gone("gadgets.range.sum") {
        b.linear_into(&terms, Fr::from(0u64), value);
    }
}

/// Constrains `value < 2^64`.
pub fn range_u64(b: &mut Builder, value: Var) {
    range_bits(b, value, 64);
}

/// Constrains `value < 2^128`.
pub fn range_u128(b: &mut Builder, value: Var) {
    range_bits(b, value, 128);
}

/// Constrains `small ≤ large` and returns the difference.
///
/// Both must already be below `2^width`, with `width ≤ 128`. A negative difference is then above `r − 2^128`, so it
/// does not have `width` bits.
pub fn assert_at_most(b: &mut Builder, small: Var, large: Var, width: u32) -> Var {
    let difference = b.sub(large, small);
    if !gone("gadgets.order.at_most") {
        range_bits(b, difference, width);
    }
    difference
}

/// Constrains `small < large`; both must already be below `2^width`, `width ≤ 128`.
pub fn assert_below(b: &mut Builder, small: Var, large: Var, width: u32) {
    let one = Fr::from(1u64);
    let difference = b.linear(&[(one, large), (-one, small)], -one);
    if !gone("gadgets.order.below") {
        range_bits(b, difference, width);
    }
}

/// `a + c`, constrained to be below `2^width`, `width ≤ 128`. Both terms must already be below `2^width`, so that the
/// sum does not wrap.
pub fn checked_add(b: &mut Builder, a: Var, c: Var, width: u32) -> Var {
    let sum = b.add(a, c);
    if !gone("gadgets.add.range") {
        range_bits(b, sum, width);
    }
    sum
}

/// The `n` bits of a value, lowest first, `n ≤ 248`. Each is constrained to 0 or 1, and the value to be below `2^n`.
pub fn to_bits(b: &mut Builder, value: Var, n: usize) -> Vec<Var> {
    assert!((1..=RANGE_BITS_MAX as usize).contains(&n), "{n} bits");
    let whole = b.value(value);
    let bits: Vec<Fr> = (0..n).map(|i| Fr::from(bits_of(&whole, i as u32, 1))).collect();
    bits_given(b, value, &bits)
}

/// [`to_bits`] with bits that the prover chooses.
pub(crate) fn bits_given(b: &mut Builder, value: Var, bits: &[Fr]) -> Vec<Var> {
    let mut one_bit = |bit: &Fr| {
        let bit = b.witness(*bit);
        if !gone("gadgets.bits.bool") {
            b.assert_bool(bit);
        }
        bit
    };
    let bits: Vec<Var> = bits.iter().map(&mut one_bit).collect();
    let terms: Vec<(Fr, Var)> =
        bits.iter().enumerate().map(|(i, bit)| (power_of_two(i as u32), *bit)).collect();
    if !gone("gadgets.bits.sum") {
        b.linear_into(&terms, Fr::from(0u64), value);
    }
    bits
}

/// 1 where `value` is below zero, else 0. The value must be an integer from `−2^bits` to `2^bits − 1`, `bits` at most
/// 128, and any other is rejected.
pub fn is_negative(b: &mut Builder, value: Var, bits: u32) -> Var {
    // Integers of this size are far from r, so a value below zero is in the upper half of the field.
    let is_below = b.value(value).into_bigint() > Fr::MODULUS_MINUS_ONE_DIV_TWO;
    is_negative_given(b, value, bits, Fr::from(u64::from(is_below)))
}

/// [`is_negative`] with the answer that the prover claims.
fn is_negative_given(b: &mut Builder, value: Var, bits: u32, answer: Fr) -> Var {
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    let answer = b.witness(answer);
    if !gone("gadgets.negative.bit") {
        b.assert_bool(answer);
    }
    // The value itself, or −value − 1 where it is below zero.
    let folded = b.mul_add(answer, value, -Fr::from(2u64), Some(value), zero);
    let rest = b.linear(&[(one, folded), (-one, answer)], zero);
    if !gone("gadgets.negative.range") {
        range_bits(b, rest, bits);
    }
    answer
}

/// `1 − bit`.
pub fn not(b: &mut Builder, bit: Var) -> Var {
    b.scale(bit, -Fr::from(1u64), Fr::from(1u64))
}

/// Constrains `a = c` where `gate` is 1, and nothing where it is 0.
pub fn assert_equal_if(b: &mut Builder, gate: Var, a: Var, c: Var) {
    let mut k = [Fr::from(0u64); 8];
    k[4] = Fr::from(1u64);
    k[5] = -Fr::from(1u64);
    if !gone("gadgets.equal_if") {
        b.arith_row([Some(gate), Some(a), Some(gate), Some(c)], k, None);
    }
}

/// Constrains `a · c = 0`.
pub fn assert_either_zero(b: &mut Builder, a: Var, c: Var) {
    let mut k = [Fr::from(0u64); 8];
    k[4] = Fr::from(1u64);
    if !gone("gadgets.either_zero") {
        b.arith_row([Some(a), Some(c), None, None], k, None);
    }
}

/// A number as two halves of 128 bits each.
#[derive(Debug, Clone, Copy)]
pub struct Halves {
    /// Low 128 bits.
    pub lo: Var,
    /// The rest.
    pub hi: Var,
}

fn half_of(value: &Fr, half: u32) -> Fr {
    Fr::from(bits_of(value, 128 * half, 64))
        + Fr::from(bits_of(value, 128 * half + 64, 64)) * power_of_two(64)
}

/// The halves of the canonical integer of a field element: the one below r, so that each element
/// has one pair of halves.
pub fn canonical_halves(b: &mut Builder, value: Var) -> Halves {
    let whole = b.value(value);
    halves_given(b, value, [half_of(&whole, 0), half_of(&whole, 1)])
}

/// [`canonical_halves`] with halves that the prover chooses.
fn halves_given(b: &mut Builder, value: Var, [lo, hi]: [Fr; 2]) -> Halves {
    let lo = b.witness(lo);
    let hi = b.witness(hi);
    if !gone("gadgets.halves.low") {
        range_u128(b, lo);
    }
    if !gone("gadgets.halves.high") {
        range_u128(b, hi);
    }
    let one = Fr::from(1u64);
    if !gone("gadgets.halves.sum") {
        b.linear_into(&[(one, lo), (power_of_two(128), hi)], Fr::from(0u64), value);
    }
    let modulus = Fr::MODULUS.0;
    let part = |low: u64, high: u64| Fr::from(u128::from(low) | u128::from(high) << 64);
    let limit = Halves {
        lo: b.constant(part(modulus[0], modulus[1])),
        hi: b.constant(part(modulus[2], modulus[3])),
    };
    let halves = Halves { lo, hi };
    if !gone("gadgets.halves.canonical") {
        assert_halves_below(b, halves, limit);
    }
    halves
}

/// Constrains `small < large` as integers of 256 bits; every half must be below 2^128.
///
/// With a borrow bit, `large − small − 1` is written in halves that are range-checked. Each half's
/// equation is one of integers below 2^130 in size, so it cannot hold modulo r alone.
pub fn assert_halves_below(b: &mut Builder, small: Halves, large: Halves) {
    let borrows = b.value(large.lo).into_bigint() <= b.value(small.lo).into_bigint();
    halves_below_borrowing(b, small, large, Fr::from(u64::from(borrows)));
}

/// [`assert_halves_below`] with a borrow that the prover chooses.
fn halves_below_borrowing(b: &mut Builder, small: Halves, large: Halves, borrows: Fr) {
    let one = Fr::from(1u64);
    let borrow = b.witness(borrows);
    if !gone("gadgets.below.borrow") {
        b.assert_bool(borrow);
    }
    let lo = b.linear(&[(one, large.lo), (-one, small.lo), (power_of_two(128), borrow)], -one);
    let hi = b.linear(&[(one, large.hi), (-one, small.hi), (-one, borrow)], Fr::from(0u64));
    if !gone("gadgets.below.low") {
        range_u128(b, lo);
    }
    if !gone("gadgets.below.high") {
        range_u128(b, hi);
    }
}

/// Quotient and remainder of numbers below `2^bits`, `bits` at most 124: `value = quotient · divisor + remainder` with
/// `remainder < divisor`, so the divisor is not zero. All four are constrained to this number of bits.
///
/// The product stays below 2^248, so the equation is one of integers.
pub fn divide(b: &mut Builder, value: Var, divisor: Var, bits: u32) -> (Var, Var) {
    let (v, d) = (low_u128(b, value), low_u128(b, divisor));
    // No remainder is below a divisor of zero, so these zeros do not satisfy the circuit.
    let parts = [v.checked_div(d), v.checked_rem(d)].map(|part| Fr::from(part.unwrap_or(0)));
    divide_into(b, value, divisor, bits, parts)
}

/// [`divide`] with a quotient and a remainder that the prover chooses.
fn divide_into(
    b: &mut Builder,
    value: Var,
    divisor: Var,
    bits: u32,
    [quotient, remainder]: [Fr; 2],
) -> (Var, Var) {
    assert!(bits <= RANGE_BITS_MAX / 2, "a division of {bits} bits");
    let quotient = b.witness(quotient);
    if !gone("gadgets.divide.quotient") {
        range_bits(b, quotient, bits);
    }
    let remainder = b.witness(remainder);
    if !gone("gadgets.divide.remainder") {
        range_bits(b, remainder, bits);
    }
    if !gone("gadgets.divide.value") {
        range_bits(b, value, bits);
    }
    if !gone("gadgets.divide.divisor") {
        range_bits(b, divisor, bits);
    }
    let product = b.mul_add(quotient, divisor, Fr::from(1u64), Some(remainder), Fr::from(0u64));
    if !gone("gadgets.divide.equal") {
        b.assert_equal(product, value);
    }
    if !gone("gadgets.divide.below") {
        assert_below(b, remainder, divisor, bits);
    }
    (quotient, remainder)
}

fn low_u128(b: &Builder, var: Var) -> u128 {
    let words = b.value(var).into_bigint().0;
    u128::from(words[0]) | u128::from(words[1]) << 64
}

#[cfg(test)]
mod tests;
