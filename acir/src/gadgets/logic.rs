//! AND and XOR of integers, by bits.

use rollmill_circuits::gadgets::uint::to_bits;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use super::polynomial::{Polynomial, integer};

/// The bitwise AND of two integers, or XOR where `xor` is set. Both are constrained to `bits` bits, 1 to 248.
///
/// `a XOR c = a + c − 2 · (a AND c)`, and `a AND c` is the sum of the products of their bits.
pub(crate) fn logic(b: &mut Builder, left: Var, right: Var, bits: u32, xor: bool) -> Var {
    let [left_bits, right_bits] = [left, right].map(|value| to_bits(b, value, bits as usize));
    let mut out = Polynomial::default();
    let factor = if xor { integer(-2) } else { integer(1) };
    if xor {
        out = out.term(integer(1), left).term(integer(1), right);
    }
    for (i, (x, y)) in left_bits.into_iter().zip(right_bits).enumerate() {
        out = out.product(factor * power_of_two(i as u32), x, y);
    }
    out.variable(b)
}
