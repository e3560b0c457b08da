//! Range helpers: what the limb cells of a row add to the lookup bus.
//!
//! `h_j · Π (β + l) = ranged · Σ_i Π_{k≠i} (β + l_k)` for each helper over its four limb cells, where `ranged` is
//! one on every row but Poseidon2's and the blinding ones: `h_j = Σ 1 / (β + l)`.

use rollmill_algebra::device::Expr;

use super::{Fraction, Switched, View};
use crate::shape::{HELPERS, fixed};
use crate::weaken::{self, gone};

pub(super) const EQUATIONS: usize = HELPERS;

/// Σ of `1 / term` with the denominators cleared: (Π terms, Σ_j Π_{i≠j} terms).
fn cleared_sum<E: Expr>(t: [E; 4]) -> (E, E) {
    let [a, b, c, d] = t;
    let (ab, cd) = (a.clone() * b.clone(), c.clone() * d.clone());
    let sum = (a + b) * cd.clone() + (c + d) * ab.clone();
    (ab * cd, sum)
}

/// As [`cleared_sum`], of all terms but one.
fn cleared_sum_without<E: Expr>(mut t: [E; 4], left_out: usize) -> (E, E) {
    t.swap(left_out, 3);
    let [a, b, c, _] = t;
    let ab = a.clone() * b.clone();
    (ab.clone() * c.clone(), ab + (a + b) * c)
}

/// The helpers of a row as fractions.
pub(super) fn fractions<E: Expr>(
    k: &super::Constants<E>,
    x: &super::Cells<E>,
) -> [Fraction<E>; HELPERS] {
    let beta = &k.challenges.beta;
    let everywhere = match gone("gates.part.bus.active") {
        true => k.one.clone(),
        false => x.active.clone(),
    };
    let ranged = match gone("gates.part.bus.ranged") {
        true => everywhere,
        false => everywhere - x.fixed[fixed::EXTERNAL].clone() - x.fixed[fixed::INTERNAL].clone(),
    };
    std::array::from_fn(|j| {
        let t: [E; 4] = std::array::from_fn(|i| x.l[0][4 * j + i].clone() + beta.clone());
        let (denominator, sum) = match (0..4).find(|i| gone(weaken::LIMB[4 * j + i])) {
            Some(i) => cleared_sum_without(t, i),
            None => cleared_sum(t),
        };
        Fraction { numerator: ranged.clone() * sum, denominator }
    })
}

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let terms = std::array::from_fn(|j| {
        let Fraction { numerator, denominator } = v.helpers[j].clone();
        v.x.h[j].clone() * denominator - numerator
    });
    Switched { selector: v.x.active.clone(), terms }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;
    use rollmill_algebra::Fr;

    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(9);
        let beta = vectors::challenges().beta;
        let ranged = x.active - x.fixed[fixed::EXTERNAL] - x.fixed[fixed::INTERNAL];
        for j in 0..HELPERS {
            let one = |l: &Fr| (*l + beta).inverse().expect("not zero");
            x.h[j] = x.l[0][4 * j..4 * j + 4].iter().map(one).sum::<Fr>() * ranged;
        }
        let reads = "l(0) h0 h1 active external internal";
        Vector { gate: Gate::RangeHelper, holds: x, reads }.check();
    }
}
