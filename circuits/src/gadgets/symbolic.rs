//! Expressions over circuit variables, and how they become arithmetic rows.
//!
//! [`Sym`] is a term: gates that are written over [`Expr`] give terms when evaluated with it. A batch of
//! terms is then lowered in one pass. Equal subterms are shared; sums and constant factors cost nothing
//! until a product needs them; a row takes two products, or one product and one or two more variables.

use std::collections::HashMap;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;
use rollmill_plonk::builder::{Builder, Var};

/// A term over circuit variables. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sym(Arc<Node>);

#[derive(Debug)]
enum Node {
    Constant(Fr),
    Var(Var),
    Add(Sym, Sym),
    Sub(Sym, Sym),
    Mul(Sym, Sym),
}

impl Sym {
    /// A variable.
    pub fn var(var: Var) -> Self {
        Self(Arc::new(Node::Var(var)))
    }
    fn as_constant(&self) -> Option<Fr> {
        match *self.0 {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }
    fn is(&self, value: u64) -> bool {
        self.as_constant() == Some(Fr::from(value))
    }
}

impl From<Var> for Sym {
    fn from(var: Var) -> Self {
        Self::var(var)
    }
}

impl Expr for Sym {
    fn constant(value: Fr) -> Self {
        Self(Arc::new(Node::Constant(value)))
    }
}

impl Add for Sym {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(a), Some(b)) => Self::constant(a + b),
            _ if self.is(0) => other,
            _ if other.is(0) => self,
            _ => Self(Arc::new(Node::Add(self, other))),
        }
    }
}

impl Sub for Sym {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(a), Some(b)) => Self::constant(a - b),
            _ if other.is(0) => self,
            _ => Self(Arc::new(Node::Sub(self, other))),
        }
    }
}

impl Mul for Sym {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(a), Some(b)) => Self::constant(a * b),
            _ if self.is(0) || other.is(1) => self,
            _ if other.is(0) || self.is(1) => other,
            _ => Self(Arc::new(Node::Mul(self, other))),
        }
    }
}

/// `Σ terms`, zero when there are none.
pub fn sum(terms: impl IntoIterator<Item = Sym>) -> Sym {
    let zero = Sym::constant(Fr::from(0u64));
    terms.into_iter().fold(zero, |acc, t| acc + t)
}

/// Makes variables for terms.
pub fn lower<const N: usize>(b: &mut Builder, terms: [&Sym; N]) -> [Var; N] {
    let mut lowering = Lowering::default();
    let ids = terms.map(|t| lowering.intern(t));
    lowering.evaluate(b);
    ids.map(|id| lowering.var(b, id))
}

/// Constrains a term to zero.
pub fn assert_zero(b: &mut Builder, term: &Sym) {
    let mut lowering = Lowering::default();
    let id = lowering.intern(term);
    lowering.evaluate(b);
    let form = lowering.forms[id].clone();
    form.emit(b, None);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    Constant(Fr),
    Var(Var),
    Add(usize, usize),
    Sub(usize, usize),
    Mul(usize, usize),
}

/// A quadratic form: a constant, multiples of variables, multiples of products of two.
#[derive(Debug, Clone, Default)]
struct Form {
    constant: Fr,
    linear: Vec<(Fr, Var)>,
    products: Vec<(Fr, Var, Var)>,
}

impl Form {
    fn of(var: Var) -> Self {
        Self { linear: vec![(Fr::from(1u64), var)], ..Self::default() }
    }

    fn add_linear(&mut self, factor: Fr, var: Var) {
        match self.linear.iter_mut().find(|(_, v)| *v == var) {
            Some((k, _)) => *k += factor,
            None => self.linear.push((factor, var)),
        }
        self.linear.retain(|(k, _)| *k != Fr::from(0u64));
    }

    fn add(&mut self, other: &Self, factor: Fr) {
        self.constant += other.constant * factor;
        for (k, v) in &other.linear {
            self.add_linear(*k * factor, *v);
        }
        self.products.extend(other.products.iter().map(|(k, x, y)| (*k * factor, *x, *y)));
    }

    /// `k·v + c`, when it is no more than that.
    fn affine(&self) -> Option<(Fr, Var, Fr)> {
        match (&self.linear[..], &self.products[..]) {
            ([(k, v)], []) => Some((*k, *v, self.constant)),
            _ => None,
        }
    }

    fn value(&self, b: &Builder) -> Fr {
        let linear = self.linear.iter().map(|(k, v)| *k * b.value(*v));
        let products = self.products.iter().map(|(k, x, y)| *k * b.value(*x) * b.value(*y));
        linear.chain(products).fold(self.constant, |acc, t| acc + t)
    }

    /// Lays out rows that make the form equal to `out`, or to zero.
    fn emit(mut self, b: &mut Builder, out: Option<Var>) {
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        let mut carried: Option<Var> = None;
        loop {
            let mut w: [Option<Var>; 4] = [None; 4];
            let mut c = [zero; 8];
            let mut value = self.constant;
            c[7] = std::mem::take(&mut self.constant);
            if let Some(carried) = carried {
                (w[3], c[3]) = (Some(carried), one);
                value += b.value(carried);
            }
            for (slot, at) in [(4, 0), (5, 2)] {
                if w[at].is_none()
                    && w[at + 1].is_none()
                    && let Some((k, x, y)) = self.products.pop()
                {
                    (w[at], w[at + 1], c[slot]) = (Some(x), Some(y), k);
                    value += k * b.value(x) * b.value(y);
                }
            }
            // Multiples of variables that stand in the row already are free.
            self.linear.retain(|(k, v)| match w.iter().position(|slot| *slot == Some(*v)) {
                Some(at) => {
                    c[at] += k;
                    value += *k * b.value(*v);
                    false
                }
                None => true,
            });
            for at in 0..4 {
                if w[at].is_none()
                    && let Some((k, v)) = self.linear.pop()
                {
                    (w[at], c[at]) = (Some(v), k);
                    value += k * b.value(v);
                }
            }
            if self.products.is_empty() && self.linear.is_empty() {
                let mut next = None;
                if let Some(out) = out {
                    match w.iter().position(|slot| slot.is_none()) {
                        Some(at) => (w[at], c[at]) = (Some(out), -one),
                        None => (next, c[6]) = (Some(out), -one),
                    }
                }
                b.arith_row(w, c, next);
                return;
            }
            let next = b.witness(value);
            c[6] = -one;
            b.arith_row(w, c, Some(next));
            carried = Some(next);
        }
    }
}

#[derive(Debug, Default)]
struct Lowering {
    by_node: HashMap<usize, usize>,
    by_op: HashMap<Op, usize>,
    ops: Vec<Op>,
    uses: Vec<u32>,
    forms: Vec<Form>,
}

impl Lowering {
    fn intern(&mut self, term: &Sym) -> usize {
        // The address names the node while the caller holds the terms.
        let address = Arc::as_ptr(&term.0) as usize;
        if let Some(&id) = self.by_node.get(&address) {
            return id;
        }
        let op = match &*term.0 {
            Node::Constant(value) => Op::Constant(*value),
            Node::Var(var) => Op::Var(*var),
            Node::Add(x, y) => {
                let (x, y) = (self.intern(x), self.intern(y));
                Op::Add(x.min(y), x.max(y))
            }
            Node::Sub(x, y) => Op::Sub(self.intern(x), self.intern(y)),
            Node::Mul(x, y) => {
                let (x, y) = (self.intern(x), self.intern(y));
                Op::Mul(x.min(y), x.max(y))
            }
        };
        let id = match self.by_op.get(&op) {
            Some(&id) => id,
            None => {
                if let Op::Add(x, y) | Op::Sub(x, y) | Op::Mul(x, y) = op {
                    self.uses[x] += 1;
                    self.uses[y] += 1;
                }
                self.ops.push(op);
                self.uses.push(0);
                self.by_op.insert(op, self.ops.len() - 1);
                self.ops.len() - 1
            }
        };
        self.by_node.insert(address, id);
        id
    }

    /// Gives every term its form; operands stand before what uses them.
    fn evaluate(&mut self, b: &mut Builder) {
        for id in 0..self.ops.len() {
            let form = match self.ops[id] {
                Op::Constant(value) => Form { constant: value, ..Form::default() },
                Op::Var(var) => Form::of(var),
                Op::Add(x, y) => self.sum(x, y, Fr::from(1u64)),
                Op::Sub(x, y) => self.sum(x, y, -Fr::from(1u64)),
                Op::Mul(x, y) => self.product(b, x, y),
            };
            self.forms.push(form);
            let form = &self.forms[id];
            let costly = !form.products.is_empty() || form.linear.len() > 2;
            if self.uses[id] > 1 && costly {
                self.var(b, id);
            }
        }
    }

    fn sum(&self, x: usize, y: usize, factor: Fr) -> Form {
        let mut form = self.forms[x].clone();
        form.add(&self.forms[y], factor);
        form
    }

    fn product(&mut self, b: &mut Builder, x: usize, y: usize) -> Form {
        for (x, y) in [(x, y), (y, x)] {
            let form = &self.forms[x];
            if form.linear.is_empty() && form.products.is_empty() {
                let factor = form.constant;
                let mut out = Form::default();
                out.add(&self.forms[y], factor);
                return out;
            }
        }
        let [(k, u, c), (l, v, d)] = [x, y].map(|id| match self.forms[id].affine() {
            Some(affine) => affine,
            None => (Fr::from(1u64), self.var(b, id), Fr::from(0u64)),
        });
        let mut form = Form { constant: c * d, linear: vec![], products: vec![(k * l, u, v)] };
        form.add_linear(k * d, u);
        form.add_linear(l * c, v);
        form
    }

    /// The variable that holds a term.
    fn var(&mut self, b: &mut Builder, id: usize) -> Var {
        let form = &self.forms[id];
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        if let Some((k, v, c)) = form.affine()
            && k == one
            && c == zero
        {
            return v;
        }
        let out = if form.linear.is_empty() && form.products.is_empty() {
            b.constant(form.constant)
        } else {
            let out = b.witness(form.value(b));
            form.clone().emit(b, Some(out));
            out
        };
        self.forms[id] = Form::of(out);
        out
    }
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::*;

    /// Method: one expression that uses every kind of node, over numbers and over a circuit.
    #[test]
    fn a_lowered_term_has_the_value_of_its_expression() {
        fn expression<E: Expr>(x: &[E]) -> E {
            let mut acc = E::constant(Fr::from(3u64));
            for (i, v) in x.iter().enumerate() {
                let k = E::constant(Fr::from(i as u64 + 2));
                let shifted = v.clone() * k.clone() - k.clone();
                let square = (shifted.clone() + x[0].clone()).square();
                acc = acc.clone() * shifted.clone() + square.clone() * acc - square + v.clone();
            }
            acc
        }
        let values: Vec<Fr> = (5..12u64).map(Fr::from).collect();
        let mut b = Builder::new(0, 8);
        let vars: Vec<Sym> = values.iter().map(|v| Sym::var(b.witness(*v))).collect();
        let term = expression(&vars);
        let [out] = lower(&mut b, [&term]);
        assert_eq!(b.value(out), expression(&values));
        let expected = Sym::constant(expression(&values));
        assert_zero(&mut b, &(term - expected));
        let (layout, witness) = b.finish(None).expect("fits");
        assert_eq!(check(&layout, &witness), Ok(()));
    }

    #[test]
    fn a_term_that_is_not_zero_is_refused() {
        let mut b = Builder::new(0, 8);
        let x = b.witness(Fr::from(2u64));
        assert_zero(&mut b, &(Sym::var(x) * Sym::var(x) - Sym::constant(Fr::from(5u64))));
        let (layout, witness) = b.finish(None).expect("fits");
        assert!(check(&layout, &witness).is_err());
    }
}
