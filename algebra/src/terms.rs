//! Row kernels as lists of distinct terms, recorded through a symbolic [`Expr`]: what a device that
//! compiles or interprets kernels starts from.

use std::collections::HashMap;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use ark_ff::{AdditiveGroup, Field};

use crate::Fr;
use crate::device::{Expr, Row, RowKernel};

/// An expression under construction.
#[derive(Debug, Clone)]
struct Symbol(Arc<Node>);

#[derive(Debug)]
enum Node {
    Constant(Fr),
    Cell(usize, usize),
    Binary(Operation, Symbol, Symbol),
}

/// What joins two terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Add,
    Sub,
    Mul,
}

impl Symbol {
    fn binary(operation: Operation, a: Self, b: Self) -> Self {
        Self(Arc::new(Node::Binary(operation, a, b)))
    }
}

impl Add for Symbol {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::binary(Operation::Add, self, other)
    }
}

impl Sub for Symbol {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::binary(Operation::Sub, self, other)
    }
}

impl Mul for Symbol {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::binary(Operation::Mul, self, other)
    }
}

impl Expr for Symbol {
    fn constant(value: Fr) -> Self {
        Self(Arc::new(Node::Constant(value)))
    }
}

#[derive(Debug)]
struct Recorder;

impl Row<Symbol> for Recorder {
    fn cell(&self, column: usize, rotation: usize) -> Symbol {
        Symbol(Arc::new(Node::Cell(column, rotation)))
    }
}

/// A term of a kernel, each distinct one once. Numbers are positions in [`Terms::list`], always of
/// earlier terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Term {
    /// A constant, and where it comes from: constants are told apart by that and not by their
    /// values, so that a kernel has the same terms when two challenges or sizes happen to be equal.
    /// Only 0 and 1 are known by value.
    Constant(Fr, usize),
    /// The cell of a column at a rotation.
    Cell(usize, usize),
    /// Two terms joined; the lower number first where the order does not matter.
    Binary(Operation, usize, usize),
}

/// The terms of a row kernel. Constants are folded, factors and summands without effect dropped, and
/// terms that occur several times stand once.
#[derive(Debug, Default)]
pub struct Terms {
    /// The terms, operands before what uses them.
    pub list: Vec<Term>,
    /// Which term each output is.
    pub outputs: Vec<usize>,
    known: HashMap<Term, usize>,
    /// By the address of a node, which lives as long as the recording.
    seen: HashMap<*const Node, usize>,
    /// What operations on constants gave.
    folded: HashMap<(Operation, usize, usize), usize>,
    sources: usize,
}

impl Terms {
    /// Records what `kernel` does on a row.
    pub fn record<K: RowKernel>(kernel: &K) -> Self {
        let constants = kernel.constants::<Symbol>();
        let mut out = vec![Symbol::constant(Fr::ZERO); kernel.outputs()];
        kernel.eval(&constants, &Recorder, &mut out);
        let mut terms = Self::default();
        terms.outputs = out.iter().map(|symbol| terms.number(symbol)).collect();
        terms.seen.clear();
        terms
    }

    /// The value of a term that is a constant.
    pub fn constant(&self, term: usize) -> Option<Fr> {
        match self.list[term] {
            Term::Constant(value, _) => Some(value),
            _ => None,
        }
    }

    fn id(&mut self, term: Term) -> usize {
        *self.known.entry(term).or_insert_with(|| {
            self.list.push(term);
            self.list.len() - 1
        })
    }

    fn new_constant(&mut self, value: Fr) -> usize {
        let by_value = value == Fr::ZERO || value == Fr::ONE;
        self.sources += 1;
        self.id(Term::Constant(value, if by_value { 0 } else { self.sources }))
    }

    fn number(&mut self, symbol: &Symbol) -> usize {
        let address = Arc::as_ptr(&symbol.0);
        if let Some(id) = self.seen.get(&address) {
            return *id;
        }
        let id = match &*symbol.0 {
            Node::Constant(value) => self.new_constant(*value),
            Node::Cell(column, rotation) => self.id(Term::Cell(*column, *rotation)),
            Node::Binary(operation, a, b) => {
                let (a, b) = (self.number(a), self.number(b));
                self.binary(*operation, a, b)
            }
        };
        self.seen.insert(address, id);
        id
    }

    fn binary(&mut self, operation: Operation, a: usize, b: usize) -> usize {
        use Operation as Op;
        let (x, y) = (self.constant(a), self.constant(b));
        if let (Some(x), Some(y)) = (x, y) {
            if let Some(id) = self.folded.get(&(operation, a, b)) {
                return *id;
            }
            let value = match operation {
                Op::Add => x + y,
                Op::Sub => x - y,
                Op::Mul => x * y,
            };
            let id = self.new_constant(value);
            self.folded.insert((operation, a, b), id);
            return id;
        }
        match (operation, x, y) {
            (Op::Add, Some(zero), _) if zero == Fr::ZERO => return b,
            (Op::Add | Op::Sub, _, Some(zero)) if zero == Fr::ZERO => return a,
            (Op::Mul, Some(zero), _) if zero == Fr::ZERO => return a,
            (Op::Mul, _, Some(zero)) if zero == Fr::ZERO => return b,
            (Op::Mul, Some(one), _) if one == Fr::ONE => return b,
            (Op::Mul, _, Some(one)) if one == Fr::ONE => return a,
            _ => {}
        }
        let (a, b) = if operation == Op::Sub { (a, b) } else { (a.min(b), a.max(b)) };
        self.id(Term::Binary(operation, a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample;

    impl RowKernel for Sample {
        type Constants<E: Expr> = E;
        fn constants<E: Expr>(&self) -> E {
            E::constant(Fr::from(7u64))
        }
        fn outputs(&self) -> usize {
            3
        }
        fn eval<E: Expr, R: Row<E>>(&self, seven: &E, row: &R, out: &mut [E]) {
            let (a, b) = (row.cell(0, 0), row.cell(1, 2));
            let product = a.clone() * b.clone();
            out[0] = product.clone() + (b * a.clone()) + seven.clone() * E::constant(Fr::ONE);
            out[1] = product - a.clone() * E::constant(Fr::ZERO);
            out[2] = a;
        }
    }

    #[test]
    fn terms_stand_once_and_those_without_effect_are_dropped() {
        let terms = Terms::record(&Sample);
        let count = |operation| {
            let is = |term: &&Term| matches!(term, Term::Binary(op, ..) if *op == operation);
            terms.list.iter().filter(is).count()
        };
        assert_eq!(count(Operation::Mul), 1);
        assert_eq!(count(Operation::Add), 2);
        assert_eq!(count(Operation::Sub), 0);
        assert_eq!(terms.list[terms.outputs[1]], Term::Binary(Operation::Mul, 0, 1));
        assert_eq!(terms.list[terms.outputs[2]], Term::Cell(0, 0));
        for (at, term) in terms.list.iter().enumerate() {
            if let Term::Binary(_, a, b) = term {
                assert!(*a < at && *b < at);
            }
        }
    }
}
