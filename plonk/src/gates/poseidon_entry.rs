//! Poseidon2 entry: the state and what is absorbed, through the first linear layer.
//!
//! `w(2) = M_E · (w(0) + w(1))` where the row both reads and writes the ROM, which no ROM row does.

use rollmill_algebra::device::Expr;

use super::{Switched, View, external_matrix};
use crate::layout::FixedRow;
use crate::shape::fixed;

pub(super) const EQUATIONS: usize = 4;

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let w = &v.x.w;
    let selector = v.x.fixed[fixed::READ].clone() * v.x.fixed[fixed::WRITE].clone();
    let mixed = external_matrix(&std::array::from_fn(|i| w[0][i].clone() + w[1][i].clone()));
    let terms = std::array::from_fn(|i| w[2][i].clone() - mixed[i].clone());
    Switched { selector, terms }
}

impl FixedRow {
    /// The entry layer of a Poseidon2 permutation: `w(2) = M_E (w(0) + w(1))`.
    pub fn poseidon_entry() -> Self {
        Self { read: true, write: true, ..Self::default() }
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
        let mut x = vectors::random(6);
        vectors::set(&mut x, &FixedRow::poseidon_entry());
        // The matrix of the Poseidon2 paper (eprint 2023/323, section 5.1).
        let rows = [[5u64, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6]];
        x.w[2] = rows.map(|row| (0..4).map(|j| Fr::from(row[j]) * (x.w[0][j] + x.w[1][j])).sum());
        Vector { gate: Gate::PoseidonEntry, holds: x, reads: "w(0) w(1) w(2)" }.check();
    }
}
