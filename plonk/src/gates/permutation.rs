//! Permutation: the step of the running product over the routed columns (PLONK, eprint 2019/953, section 5).
//!
//! `z' · Π (w_i + γ + β σ_i) = z · Π (w_i + γ + β k_i X)`.

use rollmill_algebra::device::Expr;

use super::{Challenges, Fraction, Switched, View};
use crate::shape::{ROUTED, fixed};
use crate::weaken::{self, gone};

pub(super) const EQUATIONS: usize = 1;

/// The numerator `Π (w_i + γ + name_i)` and the denominator `Π (w_i + γ + next_i)` of a row, each times what it
/// `starts` with. The name of a cell is `β k_i X`, the name of the next cell of its cycle `β σ_i`; the caller
/// computes both in the order that its generated code has.
pub(crate) fn fraction<E: Expr>(
    gamma: &E,
    w: &[E; ROUTED],
    names: &[E; ROUTED],
    next: &[E; ROUTED],
    starts: Fraction<E>,
) -> Fraction<E> {
    let Fraction { mut numerator, mut denominator } = starts;
    for i in (0..ROUTED).filter(|i| !gone(weaken::COLUMN[*i])) {
        let shifted = w[i].clone() + gamma.clone();
        numerator = numerator * (shifted.clone() + names[i].clone());
        denominator = denominator * (shifted + next[i].clone());
    }
    Fraction { numerator, denominator }
}

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let (k, x) = (v.k, v.x);
    let Challenges { beta, gamma, .. } = &k.challenges;
    let beta_x = beta.clone() * x.x.clone();
    let names = std::array::from_fn(|i| beta_x.clone() * k.cosets[i].clone());
    let next = std::array::from_fn(|i| beta.clone() * x.fixed[fixed::SIGMA + i].clone());
    let starts = Fraction { numerator: x.z[0].clone(), denominator: x.z[1].clone() };
    let Fraction { numerator, denominator } = fraction(gamma, &x.w[0], &names, &next, starts);
    Switched { selector: x.active.clone(), terms: [denominator - numerator] }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;
    use rollmill_algebra::Fr;

    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;
    use crate::shape::column_cosets;

    #[test]
    fn vectors() {
        let mut x = vectors::random(13);
        let Challenges { beta, gamma, .. } = vectors::challenges();
        x.z[1] = x.z[0];
        for (i, coset) in column_cosets().into_iter().enumerate() {
            let term = |name: Fr| x.w[0][i] + gamma + beta * name;
            x.z[1] *= term(coset * x.x);
            x.z[1] *= term(x.fixed[fixed::SIGMA + i]).inverse().expect("not zero");
        }
        let reads = "w(0) z(0) z(1) x sigma0 sigma1 sigma2 sigma3";
        Vector { gate: Gate::Permutation, holds: x, reads }.check();
    }
}
