//! Poseidon2 internal rounds: eight on a row.
//!
//! Each has one S-box, whose output is in a limb cell; the state after all eight is in the next row. Where the
//! fixed column `INTERNAL` is one.

use rollmill_algebra::device::Expr;

use super::{Switched, View, fifth};
use crate::builder::Coefficients;
use crate::layout::FixedRow;
use crate::shape::fixed;

pub(super) const EQUATIONS: usize = 12;

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let (c, w, l) = (v.c(), &v.x.w, &v.x.l[0]);
    let mut state = w[0].clone();
    let rounds: [E; 8] = std::array::from_fn(|j| {
        let term = l[j].clone() - fifth(state[0].clone() + c[j].clone());
        state[0] = l[j].clone();
        let sum = (state[0].clone() + state[1].clone()) + (state[2].clone() + state[3].clone());
        state = std::array::from_fn(|i| state[i].clone() * v.k.diag[i].clone() + sum.clone());
        term
    });
    let terms = std::array::from_fn(|i| match i {
        0..8 => rounds[i].clone(),
        _ => w[1][i - 8].clone() - state[i - 8].clone(),
    });
    Switched { selector: v.x.fixed[fixed::INTERNAL].clone(), terms }
}

impl FixedRow {
    /// Eight internal rounds of Poseidon2; S-box outputs are in the limb cells, which contain full elements.
    pub fn internal(c: Coefficients) -> Self {
        Self { internal: true, c, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use rollmill_algebra::{Fr, poseidon2};

    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(8);
        let c = vectors::coefficients(&x);
        vectors::set(&mut x, &FixedRow::internal(c));
        let mut state = x.w[0];
        for round in 0..8 {
            let input = state[0] + x.fixed[round];
            state[0] = input * input * input * input * input;
            x.l[0][round] = state[0];
            let sum: Fr = state.iter().sum();
            state = std::array::from_fn(|i| poseidon2::INTERNAL_DIAG[i] * state[i] + sum);
        }
        x.w[1] = state;
        let reads = "w(0) w(1) l(0) c0 c1 c2 c3 c4 c5 c6 c7";
        Vector { gate: Gate::PoseidonInternal, holds: x, reads }.check();
    }
}
