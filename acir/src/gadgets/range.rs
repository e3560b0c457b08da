//! Ranges of any width.

use ark_ff::{BigInteger, PrimeField};
use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::{RANGE_BITS_MAX, range_bits};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

/// Bits of the widest range that says anything: r is between 2^253 and 2^254.
const WIDEST: u32 = 253;

/// Constrains `value < 2^bits`.
pub(crate) fn range(b: &mut Builder, value: Var, bits: u32) {
    match bits {
        0 => b.assert_constant(value, Fr::from(0u64)),
        1 => b.assert_bool(value),
        2..=RANGE_BITS_MAX => range_bits(b, value, bits),
        _ if bits <= WIDEST => {
            let halves = halves(&b.value(value));
            halves_given(b, value, bits, halves);
        }
        _ => {}
    }
}

/// The low 128 bits of a value, and the rest.
pub(crate) fn halves(value: &Fr) -> [Fr; 2] {
    let [a, c, d, e] = value.into_bigint().0;
    [[a, c], [d, e]].map(|[low, high]| Fr::from(u128::from(low) | u128::from(high) << 64))
}

/// Constrains `value < 2^bits`, for `bits` from 129 to 253, with halves that the prover chooses.
///
/// `low + 2^128 · high` is below 2^253, so the equation modulo r is one of integers.
pub(super) fn halves_given(b: &mut Builder, value: Var, bits: u32, halves: [Fr; 2]) {
    let [low, high] = halves.map(|half| b.witness(half));
    range_bits(b, low, 128);
    range_bits(b, high, bits - 128);
    b.linear_into(&[(Fr::from(1u64), low), (power_of_two(128), high)], Fr::from(0u64), value);
}

/// A value as a small number, where it is below `bound`.
pub(crate) fn below(value: &Fr, bound: usize) -> Option<usize> {
    let integer = value.into_bigint();
    let low = integer.0[0];
    (integer.num_bits() <= 64 && low < bound as u64).then_some(low as usize)
}
