//! Numbers that know which cells they depend on, to evaluate the gates over.

use std::ops::{Add, Mul, Sub};

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

/// Whether a term can be other than zero, and the set of cells in it, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reads {
    pub(super) zero: bool,
    pub(super) cells: u64,
}

impl Reads {
    pub(super) fn cell(number: usize) -> Self {
        Self { zero: false, cells: 1 << number }
    }
    fn join(self, other: Self) -> Self {
        match (self.zero, other.zero) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { zero: false, cells: self.cells | other.cells },
        }
    }
}

impl Add for Reads {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.join(other)
    }
}

impl Sub for Reads {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.join(other)
    }
}

impl Mul for Reads {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        match self.zero || other.zero {
            true => Self { zero: true, cells: 0 },
            false => self.join(other),
        }
    }
}

impl Expr for Reads {
    fn constant(value: Fr) -> Self {
        Self { zero: value == Fr::from(0u64), cells: 0 }
    }
}

/// A value and its derivative by each unknown that it depends on, unknowns in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dual {
    pub(super) value: Fr,
    pub(super) gradient: Vec<(u32, Fr)>,
}

impl Dual {
    pub(super) fn unknown(value: Fr, number: u32) -> Self {
        Self { value, gradient: vec![(number, Fr::from(1u64))] }
    }
}

/// `k · a + l · b`, term by term.
fn merge(a: &[(u32, Fr)], k: Fr, b: &[(u32, Fr)], l: Fr) -> Vec<(u32, Fr)> {
    let zero = Fr::from(0u64);
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let (number, value) = match (a.peek(), b.peek()) {
            (None, None) => return out,
            (Some((x, _)), Some((y, _))) if x == y => {
                let (Some((x, u)), Some((_, v))) = (a.next(), b.next()) else { return out };
                (*x, *u * k + *v * l)
            }
            (Some((x, _)), Some((y, _))) if x > y => match b.next() {
                Some((y, v)) => (*y, *v * l),
                None => return out,
            },
            (Some(_), _) => match a.next() {
                Some((x, u)) => (*x, *u * k),
                None => return out,
            },
            (None, Some(_)) => match b.next() {
                Some((y, v)) => (*y, *v * l),
                None => return out,
            },
        };
        if value != zero {
            out.push((number, value));
        }
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let one = Fr::from(1u64);
        let gradient = match (self.gradient.is_empty(), other.gradient.is_empty()) {
            (true, _) => other.gradient,
            (_, true) => self.gradient,
            _ => merge(&self.gradient, one, &other.gradient, one),
        };
        Self { value: self.value + other.value, gradient }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        let one = Fr::from(1u64);
        let gradient = match other.gradient.is_empty() {
            true => self.gradient,
            false => merge(&self.gradient, one, &other.gradient, -one),
        };
        Self { value: self.value - other.value, gradient }
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let gradient = match (self.gradient.is_empty(), other.gradient.is_empty()) {
            (true, true) => Vec::new(),
            _ => merge(&self.gradient, other.value, &other.gradient, self.value),
        };
        Self { value: self.value * other.value, gradient }
    }
}

impl Expr for Dual {
    fn constant(value: Fr) -> Self {
        Self { value, gradient: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f(value: i64) -> Fr {
        Fr::from(value)
    }

    #[test]
    fn a_dual_number_knows_its_derivatives() {
        let (x, y) = (Dual::unknown(f(3), 1), Dual::unknown(f(5), 4));
        // x²·y − 2x + y at (3, 5): derivatives 2xy − 2 and x² + 1.
        let two = Dual::constant(f(2));
        let got = x.square() * y.clone() - two * x.clone() + y.clone();
        assert_eq!(got.value, f(44));
        assert_eq!(got.gradient, vec![(1, f(28)), (4, f(10))]);
        // What cancels is not there, and a factor that is zero hides its cofactor.
        assert_eq!((x.clone() - x.clone()).gradient, vec![]);
        assert_eq!((Dual::unknown(f(0), 2) * x).gradient, vec![(2, f(3))]);
    }

    #[test]
    fn a_term_reads_no_cell_that_a_zero_hides() {
        let (x, y) = (Reads::cell(0), Reads::cell(3));
        let zero = Reads::constant(f(0));
        assert_eq!((x * zero + y).cells, 8);
        assert_eq!((x * y - zero).cells, 9);
        assert!((x * zero).zero);
    }
}
