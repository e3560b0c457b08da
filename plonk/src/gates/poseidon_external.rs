//! Poseidon2 external rounds: two on a row.
//!
//! The outputs of the S-boxes are in the limb cells, four per round; the state after both is in the next
//! row. Where the fixed column `EXTERNAL` is one.

use rollmill_algebra::device::Expr;

use super::{Switched, View, external_matrix, fifth};
use crate::builder::Coefficients;
use crate::layout::FixedRow;
use crate::shape::fixed;

pub(super) const EQUATIONS: usize = 12;

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let (c, w, l) = (v.c(), &v.x.w, &v.x.l[0]);
    let first: [E; 4] = std::array::from_fn(|i| l[i].clone());
    let second: [E; 4] = std::array::from_fn(|i| l[4 + i].clone());
    let middle = external_matrix(&first);
    let out = external_matrix(&second);
    let terms = std::array::from_fn(|i| match i {
        0..4 => l[i].clone() - fifth(w[0][i].clone() + c[i].clone()),
        4..8 => l[i].clone() - fifth(middle[i - 4].clone() + c[i].clone()),
        _ => w[1][i - 8].clone() - out[i - 8].clone(),
    });
    Switched { selector: v.x.fixed[fixed::EXTERNAL].clone(), terms }
}

impl FixedRow {
    /// Two external rounds of Poseidon2; S-box outputs are in the limb cells, which contain full elements.
    pub fn external(c: Coefficients) -> Self {
        Self { external: true, c, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use rollmill_algebra::Fr;

    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(7);
        let c = vectors::coefficients(&x);
        vectors::set(&mut x, &FixedRow::external(c));
        let rows = [[5u64, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6]];
        let mut state = x.w[0];
        for round in 0..2 {
            let boxes: [Fr; 4] = std::array::from_fn(|i| {
                let input = state[i] + x.fixed[4 * round + i];
                input * input * input * input * input
            });
            x.l[0][4 * round..4 * round + 4].copy_from_slice(&boxes);
            state = rows.map(|row| (0..4).map(|j| Fr::from(row[j]) * boxes[j]).sum());
        }
        x.w[1] = state;
        let reads = "w(0) w(1) l(0) c0 c1 c2 c3 c4 c5 c6 c7";
        Vector { gate: Gate::PoseidonExternal, holds: x, reads }.check();
    }
}
