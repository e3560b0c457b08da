//! Carry: the second half of a non-native product or square.
//!
//! The groups in `w(0)`, plus a linear part out of the next two rows, vanish modulo `2^320` and natively. Three
//! signed carries are in the limb cells, five cells each; the last cell of the next row is not read.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

use super::{Switched, View, dot, power_of_two, signed};
use crate::layout::FixedRow;
use crate::shape::LIMBS;

/// Its value in the column of kinds.
pub(super) const KIND: u64 = 3;
pub(super) const EQUATIONS: usize = 4;

pub(super) fn limb_cells(_: &FixedRow) -> usize {
    2 * LIMBS - 1
}

pub(super) fn limb_rows(row: &FixedRow) -> [bool; 3] {
    let reads = |c: &[Fr]| c.iter().any(|c| *c != Fr::from(0u64));
    [false, reads(&row.c[..4]), reads(&row.c[4..])]
}

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let (k, c, w) = (v.k, v.c(), &v.x.w);
    let low = dot(&w[1][..2], &c[..2]) + dot(&w[2][..2], &c[4..6]);
    let high = dot(&w[1][2..], &c[2..4]) + dot(&w[2][2..], &c[6..8]);
    let carry = |cells: [&E; 5]| -> E {
        let mut sum = E::constant(Fr::from(0u64)) - k.carry_offset.clone();
        for (cell, weight) in cells.into_iter().zip(&k.cell) {
            sum = sum + cell.clone() * weight.clone();
        }
        sum
    };
    let [l0, l1] = &v.x.l;
    let c1 = carry([&l0[0], &l0[1], &l0[2], &l0[3], &l0[4]]);
    let c2 = carry([&l0[5], &l0[6], &l0[7], &l1[0], &l1[1]]);
    let c3 = carry([&l1[2], &l1[3], &l1[4], &l1[5], &l1[6]]);
    let terms = [
        w[0][0].clone() + low.clone() - c1.clone() * k.two128.clone(),
        w[0][1].clone() + high.clone() + c1 - c2.clone() * k.two128.clone(),
        w[0][2].clone() + c2 - c3 * k.two64.clone(),
        w[0][3].clone() + low + high * k.two128.clone(),
    ];
    Switched { selector: v.kind(KIND), terms }
}

impl FixedRow {
    /// Second half: `first` and `second` scale the two element rows that follow, as limbs.
    pub fn carry(first: i64, second: i64) -> Self {
        let two64 = power_of_two(64);
        let (a, b) = (signed(first), signed(second));
        let c = [a, a * two64, a, a * two64, b, b * two64, b, b * two64];
        Self { kind: KIND, c, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{self, CELL_BITS, Vector};
    use super::*;
    use crate::gates::{CARRY_OFFSET_BITS, Gate};

    #[test]
    fn vectors() {
        let mut x = vectors::random(5);
        vectors::set(&mut x, &FixedRow::carry(-1, 3));
        let cells: Vec<Fr> = x.l.into_iter().flatten().collect();
        let carry = |i: usize| {
            let weighed = |j: usize| power_of_two(CELL_BITS * j as u32) * cells[5 * i + j];
            (0..5).map(weighed).sum::<Fr>() - power_of_two(CARRY_OFFSET_BITS)
        };
        // −1 times the first element and 3 times the second, by halves of 128 bits.
        let half = |i: usize| {
            let of = |row: usize| x.w[row][i] + power_of_two(64) * x.w[row][i + 1];
            Fr::from(3u64) * of(2) - of(1)
        };
        let (low, high) = (half(0), half(2));
        let (two64, two128) = (power_of_two(64), power_of_two(128));
        x.w[0] = [
            carry(0) * two128 - low,
            carry(1) * two128 - high - carry(0),
            carry(2) * two64 - carry(1),
            -low - high * two128,
        ];
        let reads = "w(0) w(1) w(2) l(0) l0(1) l1(1) l2(1) l3(1) l4(1) l5(1) l6(1) \
                     c0 c1 c2 c3 c4 c5 c6 c7";
        Vector { gate: Gate::Carry, holds: x, reads }.check();
    }
}
