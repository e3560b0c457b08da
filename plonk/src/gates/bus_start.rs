//! Bus start: the running sum of lookups is 0 on the first row.

use rollmill_algebra::device::Expr;

use super::{Switched, View};

pub(super) const EQUATIONS: usize = 1;

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let x = v.x;
    Switched { selector: x.first.clone(), terms: [x.s[0].clone()] }
}

#[cfg(test)]
mod tests {
    use rollmill_algebra::Fr;

    use super::super::vectors::{self, Vector};
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(11);
        x.s[0] = Fr::from(0u64);
        Vector { gate: Gate::BusStart, holds: x, reads: "s(0)" }.check();
    }
}
