//! Sums of any number of products and linear terms, in as few arithmetic rows as a greedy choice finds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ark_ff::Zero;
use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Coefficients, Var};

/// `Σ k · x · y + Σ k · x + constant`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Polynomial {
    products: Vec<(Fr, Var, Var)>,
    linear: Vec<(Fr, Var)>,
    constant: Fr,
}

/// A small integer in Fr.
pub(crate) fn integer(value: i64) -> Fr {
    let magnitude = Fr::from(value.unsigned_abs());
    if value < 0 { -magnitude } else { magnitude }
}

impl Polynomial {
    /// Adds `k · x · y`.
    pub(crate) fn product(mut self, k: Fr, x: Var, y: Var) -> Self {
        self.products.push((k, x, y));
        self
    }

    /// Adds `k · x`.
    pub(crate) fn term(mut self, k: Fr, x: Var) -> Self {
        self.linear.push((k, x));
        self
    }

    /// Adds `k`.
    pub(crate) fn plus(mut self, k: Fr) -> Self {
        self.constant += k;
        self
    }

    /// Its value in this witness.
    fn value(&self, b: &Builder) -> Fr {
        let products: Fr =
            self.products.iter().map(|(k, x, y)| *k * b.value(*x) * b.value(*y)).sum();
        let linear: Fr = self.linear.iter().map(|(k, x)| *k * b.value(*x)).sum();
        products + linear + self.constant
    }

    /// A new variable, constrained to equal the polynomial.
    pub(crate) fn variable(self, b: &mut Builder) -> Var {
        let value = self.value(b);
        let out = b.witness(value);
        self.term(integer(-1), out).assert_zero(b);
        out
    }

    /// Constrains the polynomial to be zero.
    ///
    /// A row takes two products and four variables. The sum so far moves to `w_3` of the next row, which leaves space
    /// for one product there; where only one term remains, it takes that cell itself.
    pub(crate) fn assert_zero(&self, b: &mut Builder) {
        let one = Fr::from(1u64);
        let mut products = self.products.iter().filter(|(k, ..)| !k.is_zero()).peekable();
        let mut linear = Linear::new(&self.linear);
        let mut constant = self.constant;
        let mut carried: Option<Var> = None;
        loop {
            let mut w = [None; 4];
            let mut c: Coefficients = [Fr::zero(); 8];
            c[7] = std::mem::take(&mut constant);
            if let Some(sum) = carried {
                (w[3], c[3]) = (Some(sum), one);
            }
            let pairs = if carried.is_some() { 1 } else { 2 };
            for pair in 0..pairs {
                let Some((k, x, y)) = products.next() else { break };
                let (i, j) = (2 * pair, 2 * pair + 1);
                (w[i], w[j]) = (Some(*x), Some(*y));
                c[4 + pair] = *k;
                c[i] = linear.take(*x);
                // Zero where the product is a square.
                c[j] = linear.take(*y);
            }
            for (cell, coefficient) in w.iter_mut().zip(&mut c) {
                if cell.is_none()
                    && let Some((k, x)) = linear.pop()
                {
                    (*cell, *coefficient) = (Some(x), k);
                }
            }
            if products.peek().is_none() && linear.len() <= 1 {
                let last = linear.pop();
                c[6] = last.map(|(k, _)| k).unwrap_or_default();
                b.arith_row(w, c, last.map(|(_, x)| x));
                return;
            }
            let cell = |i: usize| w[i].map(|x| b.value(x)).unwrap_or_default();
            let sum = (0..4).map(|i| c[i] * cell(i)).sum::<Fr>()
                + c[4] * cell(0) * cell(1)
                + c[5] * cell(2) * cell(3)
                + c[7];
            let next = b.witness(sum);
            c[6] = -one;
            b.arith_row(w, c, Some(next));
            carried = Some(next);
        }
    }
}

/// Linear terms, one for each variable.
struct Linear {
    /// The variables in the order of their first term.
    order: std::vec::IntoIter<Var>,
    coefficients: HashMap<Var, Fr>,
}

impl Linear {
    fn new(terms: &[(Fr, Var)]) -> Self {
        let mut order = Vec::new();
        let mut coefficients = HashMap::new();
        for (k, x) in terms {
            match coefficients.entry(*x) {
                Entry::Vacant(entry) => {
                    entry.insert(*k);
                    order.push(*x);
                }
                Entry::Occupied(mut entry) => *entry.get_mut() += *k,
            }
        }
        coefficients.retain(|_, k: &mut Fr| !k.is_zero());
        Self { order: order.into_iter(), coefficients }
    }

    /// The coefficient of a variable, which has none afterwards.
    fn take(&mut self, x: Var) -> Fr {
        self.coefficients.remove(&x).unwrap_or_default()
    }

    /// The next term.
    fn pop(&mut self) -> Option<(Fr, Var)> {
        loop {
            let x = self.order.next()?;
            if let Some(k) = self.coefficients.remove(&x) {
                return Some((k, x));
            }
        }
    }

    fn len(&self) -> usize {
        self.coefficients.len()
    }
}
