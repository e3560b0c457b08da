//! Product: the first half of a non-native product.
//!
//! `w(2)` contains the groups of `a · b − q · M` for `a = w(0)`, `b = w(1)` and the quotient `q` in the limb cells:
//! `s_0 + 2^64 s_1`, `s_2 + 2^64 s_3`, `s_4` and the native value. The carry gate takes the groups on.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

use super::{Constants, Switched, View, native};
use crate::layout::FixedRow;
use crate::shape::LIMBS;

/// Its value in the column of kinds.
pub(super) const KIND: u64 = 2;
pub(super) const EQUATIONS: usize = 4;

/// Positions 0..=4 of `a · b − q · M`, as the group sums `s_0 + 2^64 s_1`, `s_2 + 2^64 s_3`, `s_4` and
/// the native value. `a · b − q · M ≡ s_0 + … + 2^256 s_4 (mod 2^320)`.
pub(super) fn groups<E: Expr>(k: &Constants<E>, a: &[E; 4], b: &[E; 4], q: &[E; 4]) -> [E; 4] {
    let s: [E; 5] = std::array::from_fn(|position| {
        let mut sum: Option<E> = None;
        for i in 0..4 {
            if position < i || position - i > 3 {
                continue;
            }
            let j = position - i;
            let term = a[i].clone() * b[j].clone() - q[i].clone() * k.modulus[j].clone();
            sum = Some(match sum {
                Some(acc) => acc + term,
                None => term,
            });
        }
        sum.unwrap_or_else(|| E::constant(Fr::from(0u64)))
    });
    let [s0, s1, s2, s3, s4] = s;
    [
        s0 + s1 * k.two64.clone(),
        s2 + s3 * k.two64.clone(),
        s4,
        native(k, a) * native(k, b) - native(k, q) * k.modulus_native.clone(),
    ]
}

pub(super) fn limb_cells(_: &FixedRow) -> usize {
    2 * LIMBS
}

pub(super) fn limb_rows(_: &FixedRow) -> [bool; 3] {
    [true, true, false]
}

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let w = &v.x.w;
    let product = groups(v.k, &w[0], &w[1], &v.quotient());
    let terms = std::array::from_fn(|i| product[i].clone() - w[2][i].clone());
    Switched { selector: v.kind(KIND), terms }
}

impl FixedRow {
    /// First half of a non-native product.
    pub fn product() -> Self {
        Self { kind: KIND, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(3);
        vectors::set(&mut x, &FixedRow::product());
        x.w[2] = vectors::groups(&x, &x.w[0], &x.w[1]);
        let reads = "w(0) w(1) w(2) l(0) l(1)";
        Vector { gate: Gate::Product, holds: x, reads }.check();
    }
}
