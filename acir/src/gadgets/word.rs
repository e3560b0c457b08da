//! Words of 8, 32 and 64 bits as values and as bits.

use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::to_bits;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use super::polynomial::{Polynomial, integer};

/// A word with its bits, lowest first, each constrained to 0 or 1.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) value: Var,
    pub(crate) bits: Vec<Var>,
}

impl Word {
    /// Splits a value, which is constrained to `width` bits.
    pub(crate) fn split(b: &mut Builder, value: Var, width: usize) -> Self {
        Self { value, bits: to_bits(b, value, width) }
    }

    /// Joins bits that are constrained already.
    pub(crate) fn join(b: &mut Builder, bits: Vec<Var>) -> Self {
        Self { value: join(b, &bits), bits }
    }

    /// A constant of 32 bits.
    pub(crate) fn constant(b: &mut Builder, value: u32) -> Self {
        let bits = (0..32).map(|i| b.constant_u64(u64::from(value >> i & 1))).collect();
        Self { value: b.constant_u64(u64::from(value)), bits }
    }

    /// The bits of the word rotated to the right.
    pub(crate) fn rotated_right(&self, by: usize) -> Vec<Var> {
        let mut bits = self.bits.clone();
        bits.rotate_left(by);
        bits
    }
}

/// `Σ 2^i · bit`.
pub(crate) fn join(b: &mut Builder, bits: &[Var]) -> Var {
    let terms: Vec<(Fr, Var)> =
        bits.iter().enumerate().map(|(i, bit)| (power_of_two(i as u32), *bit)).collect();
    b.linear(&terms, Fr::from(0u64))
}

/// XOR of two bits. One row.
pub(crate) fn xor(b: &mut Builder, x: Var, y: Var) -> Var {
    let minus_two = integer(-2);
    let (left, right) = (b.value(x), b.value(y));
    let out = b.witness(left + right + minus_two * left * right);
    let mut c = [Fr::from(0u64); 8];
    (c[0], c[1], c[2], c[4]) = (integer(1), integer(1), integer(-1), minus_two);
    b.arith_row([Some(x), Some(y), Some(out), None], c, None);
    out
}

/// XOR bit by bit of lists of one length.
pub(crate) fn xor_all(b: &mut Builder, x: &[Var], y: &[Var]) -> Vec<Var> {
    x.iter().zip(y).map(|(x, y)| xor(b, *x, *y)).collect()
}

/// The value of the XOR of two lists of bits, in as many rows as bits.
pub(crate) fn xor_value(b: &mut Builder, x: &[Var], y: &[Var]) -> Var {
    let mut out = Polynomial::default();
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let weight = power_of_two(i as u32);
        out = out.term(weight, *x).term(weight, *y).product(integer(-2) * weight, *x, *y);
    }
    out.variable(b)
}

/// `Σ terms + constant` modulo 2^32. Each term must already be below 2^32, and there are at most 2^8 of them.
///
/// The sum is below `2^32 · (number of terms + 1)`, so that it is split into 32 bits and those of its carry.
pub(crate) fn sum(b: &mut Builder, terms: &[Var], constant: u32) -> Word {
    let addends = terms.len() + usize::from(constant != 0);
    let carry = (usize::BITS - (addends.max(1) - 1).leading_zeros()) as usize;
    let linear: Vec<(Fr, Var)> = terms.iter().map(|term| (integer(1), *term)).collect();
    let total = b.linear(&linear, Fr::from(u64::from(constant)));
    let mut bits = to_bits(b, total, 32 + carry);
    let high = bits.split_off(32);
    let mut low = vec![(integer(1), total)];
    low.extend(high.iter().enumerate().map(|(i, bit)| (-power_of_two(32 + i as u32), *bit)));
    Word { value: b.linear(&low, Fr::from(0u64)), bits }
}

/// A word of bytes, the lowest first.
pub(crate) fn from_bytes(b: &mut Builder, bytes: &[Word]) -> Word {
    let bits = bytes.iter().flat_map(|byte| byte.bits.iter().copied()).collect();
    Word::join(b, bits)
}

/// The bytes of words, the lowest of each first.
pub(crate) fn to_bytes(b: &mut Builder, words: &[Word]) -> Vec<Var> {
    let bytes = words.iter().flat_map(|word| word.bits.chunks(8));
    bytes.map(|bits| join(b, bits)).collect()
}
