//! Vector: a linear relation between three rows and the packed limbs, column by column.
//!
//! `c_0 w(0) + c_1 w(1) + c_2 w(2) + c_3 p = 0` in each of the four columns, where `p` are the packs.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

use super::{Switched, View, signed};
use crate::layout::FixedRow;
use crate::shape::LIMBS;

/// Its value in the column of kinds.
pub(super) const KIND: u64 = 1;
pub(super) const EQUATIONS: usize = 4;

pub(super) fn limb_cells(row: &FixedRow) -> usize {
    if row.c[3] == Fr::from(0u64) { 0 } else { 2 * LIMBS }
}

pub(super) fn limb_rows(_: &FixedRow) -> [bool; 3] {
    [false; 3]
}

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let (c, w) = (v.c(), &v.x.w);
    let terms = std::array::from_fn(|i| {
        c[0].clone() * w[0][i].clone()
            + c[1].clone() * w[1][i].clone()
            + c[2].clone() * w[2][i].clone()
            + c[3].clone() * v.packs[i].clone()
    });
    Switched { selector: v.kind(KIND), terms }
}

impl FixedRow {
    /// A linear relation `c_0 w(0) + c_1 w(1) + c_2 w(2) + c_3 p = 0`, column by column.
    pub fn vector(c: [i64; 4]) -> Self {
        let mut row = Self { kind: KIND, ..Self::default() };
        for (slot, value) in row.c.iter_mut().zip(c) {
            *slot = signed(value);
        }
        row
    }
    /// A row whose four cells are packs of its own and the next row's limb cells.
    pub fn pack() -> Self {
        Self::vector([-1, 0, 0, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(2);
        vectors::set(&mut x, &FixedRow::vector([2, -3, 1, 5]));
        let packs = vectors::packs(&x);
        let (c, w) = (&x.fixed, &x.w);
        x.w[2] = std::array::from_fn(|i| -(c[0] * w[0][i] + c[1] * w[1][i] + c[3] * packs[i]));
        let reads = "w(0) w(1) w(2) l(0) l(1) c0 c1 c2 c3";
        Vector { gate: Gate::Vector, holds: x, reads }.check();
    }
}
