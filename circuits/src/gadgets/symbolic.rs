//! Expressions over circuit variables, and how they become arithmetic rows.
//!
//! Gates are written over [`Expr`]; evaluated with [`Sym`], they result in expressions. A batch of them is lowered in
//! one pass. Equal parts are shared. Sums and constant factors cost no row until a product needs them. A row has space
//! for two products, or for one product and one or two more variables.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;
use rollmill_algebra::graph::{Expression, Graph, Identity, Node, Operation};
use rollmill_plonk::builder::{Builder, Var};

/// An expression over circuit variables. Cheap to clone.
pub type Sym = Expression<Var>;

/// `Σ terms`, zero when there are none.
pub fn sum(terms: impl IntoIterator<Item = Sym>) -> Sym {
    let zero = Sym::constant(Fr::from(0u64));
    terms.into_iter().fold(zero, |acc, t| acc + t)
}

/// Lays out terms and returns their variables.
pub fn lower<const N: usize>(b: &mut Builder, terms: [&Sym; N]) -> [Var; N] {
    let mut lowering = Lowering::of(b, terms);
    let roots: [usize; N] = std::array::from_fn(|i| lowering.graph.roots()[i]);
    roots.map(|root| lowering.var(b, root))
}

/// Constrains a term to zero.
pub fn assert_zero(b: &mut Builder, term: &Sym) {
    let lowering = Lowering::of(b, [term]);
    let form = lowering.forms[lowering.graph.roots()[0]].clone();
    form.emit(b, None);
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

    /// `k·v + c`, if the form is that simple.
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

    /// Lays out rows that constrain the form to equal `out`, or zero.
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
            // Multiples of variables that are already in the row are free.
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

#[derive(Debug)]
struct Lowering {
    graph: Graph<Var>,
    forms: Vec<Form>,
}

impl Lowering {
    /// Computes the form of every node. Operands come before the nodes that read them.
    fn of<const N: usize>(b: &mut Builder, terms: [&Sym; N]) -> Self {
        let graph = Graph::new(Identity::Value, terms);
        let (live, uses) = (graph.live(), graph.uses());
        let mut lowering = Self { forms: vec![Form::default(); graph.nodes().len()], graph };
        // A node that no term uses must not cost rows.
        for id in (0..live.len()).filter(|id| live[*id]) {
            let form = match lowering.graph.nodes()[id] {
                Node::Constant(value, _) => Form { constant: value, ..Form::default() },
                Node::Variable(var) => Form::of(var),
                Node::Binary(Operation::Add, x, y) => lowering.sum(x, y, Fr::from(1u64)),
                Node::Binary(Operation::Sub, x, y) => lowering.sum(x, y, -Fr::from(1u64)),
                Node::Binary(Operation::Mul, x, y) => lowering.product(b, x, y),
            };
            let costly = !form.products.is_empty() || form.linear.len() > 2;
            lowering.forms[id] = form;
            if uses[id] > 1 && costly {
                lowering.var(b, id);
            }
        }
        lowering
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

    /// The variable of a term.
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
    use rollmill_algebra::conformance::{Random, numbers};
    use rollmill_plonk::check::check;

    use super::*;

    /// Goal: rows hold for the values of their expressions. Method: random expressions, over numbers and over
    /// a circuit.
    #[test]
    fn a_lowered_term_has_the_value_of_its_expression() {
        for seed in 0..24 {
            let random = Random { seed, shape: seed as u32, steps: 5 + 6 * seed as usize };
            let values = numbers(seed, "values", 5);
            let mut b = Builder::new(0, 8);
            let vars: Vec<Sym> = values.iter().map(|v| Sym::var(b.witness(*v))).collect();
            let (terms, expected) = (random.over(&vars), random.over(&values));
            let lowered = lower(&mut b, terms.each_ref());
            assert_eq!(lowered.map(|var| b.value(var)), expected, "seed {seed}");
            for (term, value) in terms.into_iter().zip(expected) {
                assert_zero(&mut b, &(term - Sym::constant(value)));
            }
            let (layout, witness) = b.finish(None).expect("fits");
            assert_eq!(check(&layout, &witness), Ok(()), "seed {seed}");
        }
    }

    /// Goal: rows hold for no other values.
    #[test]
    fn a_lowered_term_with_another_value_is_rejected() {
        for seed in 0..24 {
            let random = Random { seed, shape: seed as u32, steps: 5 + 6 * seed as usize };
            let values = numbers(seed, "values", 5);
            for (i, value) in random.over(&values).into_iter().enumerate() {
                let mut b = Builder::new(0, 8);
                let vars: Vec<Sym> = values.iter().map(|v| Sym::var(b.witness(*v))).collect();
                let other = Sym::constant(value + Fr::from(1u64));
                assert_zero(&mut b, &(random.over(&vars)[i].clone() - other));
                let (layout, witness) = b.finish(None).expect("fits");
                assert!(check(&layout, &witness).is_err(), "seed {seed}, term {i}");
            }
        }
    }

    /// Goal: terms with the factor zero cost no rows.
    #[test]
    fn a_term_that_was_dropped_costs_nothing() {
        fn power(x: Sym) -> Sym {
            x.square().square() * x.square() * x
        }
        let rows = |term: fn(Sym) -> Sym| {
            let mut b = Builder::new(0, 8);
            let x = Sym::var(b.witness(Fr::from(2u64)));
            lower(&mut b, [&term(x)]);
            b.layout(None).expect("fits").rows_used
        };
        assert_eq!(rows(|x| power(x.clone()) * Sym::constant(Fr::from(0u64)) + x), rows(|x| x));
        assert!(rows(|x| power(x.clone()) + x) > rows(|x| x));
    }

    #[test]
    fn a_term_that_is_not_zero_is_rejected() {
        let mut b = Builder::new(0, 8);
        let x = b.witness(Fr::from(2u64));
        assert_zero(&mut b, &(Sym::var(x) * Sym::var(x) - Sym::constant(Fr::from(5u64))));
        let (layout, witness) = b.finish(None).expect("fits");
        assert!(check(&layout, &witness).is_err());
    }
}
