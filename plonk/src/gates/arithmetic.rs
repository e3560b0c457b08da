//! Arithmetic: a relation between the cells of a row, and the public inputs.
//!
//! `Σ c_i w_i + c_4 w_0 w_1 + c_5 w_2 w_3 + c_6 w_3(1) + c_7 = 0` where the fixed column `ARITH` is one. On the
//! first rows the public inputs are subtracted, whatever the column contains.

use rollmill_algebra::device::Expr;

use super::{Single, View, dot};
use crate::shape::fixed;

pub(super) const EQUATIONS: usize = 1;

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Single<E> {
    let (c, w) = (v.c(), &v.x.w);
    let linear = dot(&w[0], &c[..4])
        + c[4].clone() * (w[0][0].clone() * w[0][1].clone())
        + c[5].clone() * (w[0][2].clone() * w[0][3].clone())
        + c[6].clone() * w[1][3].clone()
        + c[7].clone();
    Single(v.x.fixed[fixed::ARITH].clone() * linear - v.x.public.clone())
}

#[cfg(test)]
mod tests {
    use rollmill_algebra::Fr;

    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(1);
        x.fixed[fixed::ARITH] = Fr::from(1u64);
        let (w, c) = (x.w, x.fixed);
        let sum: Fr = (0..4).map(|i| c[i] * w[0][i]).sum();
        let products = c[4] * w[0][0] * w[0][1] + c[5] * w[0][2] * w[0][3];
        x.fixed[7] = x.public - sum - products - c[6] * w[1][3];
        let reads = "w0(0) w1(0) w2(0) w3(0) w3(1) c0 c1 c2 c3 c4 c5 c6 c7 arith public";
        Vector { gate: Gate::Arithmetic, holds: x, reads }.check();
    }
}
