//! Square: the first half of a non-native square less an element.
//!
//! `w(2)` contains the groups of `a² − b − q · M` for `a = w(0)`, `b = w(1)` and the quotient `q` in the limb cells.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

use super::product::groups;
use super::{Switched, View, native};
use crate::layout::FixedRow;
use crate::shape::LIMBS;

/// Its value in the column of kinds.
pub(super) const KIND: u64 = 4;
pub(super) const EQUATIONS: usize = 4;

pub(super) fn limb_cells(_: &FixedRow) -> usize {
    2 * LIMBS
}

pub(super) fn limb_rows(_: &FixedRow) -> [bool; 3] {
    [true, true, false]
}

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let (k, w) = (v.k, &v.x.w);
    let square = groups(k, &w[0], &w[0], &v.quotient());
    let minus = [
        w[1][0].clone() + w[1][1].clone() * k.two64.clone(),
        w[1][2].clone() + w[1][3].clone() * k.two64.clone(),
        E::constant(Fr::from(0u64)),
        native(k, &w[1]),
    ];
    let terms = std::array::from_fn(|i| square[i].clone() - minus[i].clone() - w[2][i].clone());
    Switched { selector: v.kind(KIND), terms }
}

impl FixedRow {
    /// First half of a non-native square.
    pub fn square() -> Self {
        Self { kind: KIND, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::{Gate, power_of_two};

    #[test]
    fn vectors() {
        let mut x = vectors::random(4);
        vectors::set(&mut x, &FixedRow::square());
        x.w[2] = vectors::groups(&x, &x.w[0], &x.w[0]);
        let b = x.w[1];
        let two64 = power_of_two(64);
        x.w[2][0] -= b[0] + two64 * b[1];
        x.w[2][1] -= b[2] + two64 * b[3];
        x.w[2][3] -= (0..4).map(|i| power_of_two(64 * i) * b[i as usize]).sum::<Fr>();
        let reads = "w(0) w(1) w(2) l(0) l(1)";
        Vector { gate: Gate::Square, holds: x, reads }.check();
    }
}
