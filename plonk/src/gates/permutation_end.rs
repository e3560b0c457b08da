//! Permutation end: the running product is 1 on the first blinding row.

use rollmill_algebra::device::Expr;

use super::{Switched, View};

pub(super) const EQUATIONS: usize = 1;

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let x = v.x;
    Switched { selector: x.last.clone(), terms: [x.z[0].clone() - v.k.one.clone()] }
}

#[cfg(test)]
mod tests {
    use rollmill_algebra::Fr;

    use super::super::vectors::{self, Vector};
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(15);
        x.z[0] = Fr::from(1u64);
        Vector { gate: Gate::PermutationEnd, holds: x, reads: "z(0)" }.check();
    }
}
