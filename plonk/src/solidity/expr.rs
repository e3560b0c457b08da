//! Symbolic terms: the type in which the gates are evaluated to become code.
//!
//! [`Term`] is what [`crate::gates::constraints`] computes with; [`Graph`] is what comes out of it, with
//! equal subterms joined and constants folded.

use std::collections::HashMap;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use ark_ff::{One, Zero};
use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

/// A polynomial over inputs that are known by number only.
#[derive(Debug, Clone)]
pub struct Term(Arc<Node>);

#[derive(Debug)]
enum Node {
    Constant(Fr),
    Input(usize),
    Add(Term, Term),
    Sub(Term, Term),
    Mul(Term, Term),
}

impl Term {
    /// The input with this number.
    pub fn input(number: usize) -> Self {
        Self(Arc::new(Node::Input(number)))
    }
}

impl Add for Term {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(Arc::new(Node::Add(self, other)))
    }
}

impl Sub for Term {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(Arc::new(Node::Sub(self, other)))
    }
}

impl Mul for Term {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(Arc::new(Node::Mul(self, other)))
    }
}

impl Expr for Term {
    fn constant(value: Fr) -> Self {
        Self(Arc::new(Node::Constant(value)))
    }
}

/// Index of an operation in a [`Graph`].
pub type Id = usize;

/// One operation; its operands stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Constant(Fr),
    Input(usize),
    Add(Id, Id),
    Sub(Id, Id),
    Mul(Id, Id),
}

impl Op {
    /// The operations this one reads.
    pub fn operands(&self) -> impl Iterator<Item = Id> + use<> {
        let pair = match *self {
            Self::Add(a, b) | Self::Sub(a, b) | Self::Mul(a, b) => Some([a, b]),
            Self::Constant(_) | Self::Input(_) => None,
        };
        pair.into_iter().flatten()
    }
}

/// Operations in an order in which they can be carried out; no two are equal.
#[derive(Debug, Default)]
pub struct Graph {
    ops: Vec<Op>,
    index: HashMap<Op, Id>,
}

impl Graph {
    /// The operations.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Adds a term; the operation that gives its value.
    pub fn insert(&mut self, term: &Term) -> Id {
        // Terms share subterms by reference, so their tree may be far larger than their graph.
        self.insert_shared(term, &mut HashMap::new())
    }

    fn insert_shared(&mut self, term: &Term, seen: &mut HashMap<*const Node, Id>) -> Id {
        let key = Arc::as_ptr(&term.0);
        if let Some(id) = seen.get(&key) {
            return *id;
        }
        let op = match &*term.0 {
            Node::Constant(value) => Op::Constant(*value),
            Node::Input(number) => Op::Input(*number),
            Node::Add(a, b) => Op::Add(self.insert_shared(a, seen), self.insert_shared(b, seen)),
            Node::Sub(a, b) => Op::Sub(self.insert_shared(a, seen), self.insert_shared(b, seen)),
            Node::Mul(a, b) => Op::Mul(self.insert_shared(a, seen), self.insert_shared(b, seen)),
        };
        let id = self.simplified(op);
        seen.insert(key, id);
        id
    }

    fn constant(&self, id: Id) -> Option<Fr> {
        match self.ops[id] {
            Op::Constant(value) => Some(value),
            _ => None,
        }
    }

    fn simplified(&mut self, op: Op) -> Id {
        let op = match op {
            Op::Add(a, b) => match (self.constant(a), self.constant(b)) {
                (Some(x), Some(y)) => Op::Constant(x + y),
                (Some(x), None) if x.is_zero() => return b,
                (None, Some(y)) if y.is_zero() => return a,
                _ => Op::Add(a.min(b), a.max(b)),
            },
            Op::Sub(a, b) => match (self.constant(a), self.constant(b)) {
                (Some(x), Some(y)) => Op::Constant(x - y),
                (None, Some(y)) if y.is_zero() => return a,
                _ => Op::Sub(a, b),
            },
            Op::Mul(a, b) => match (self.constant(a), self.constant(b)) {
                (Some(x), Some(y)) => Op::Constant(x * y),
                (Some(x), None) if x.is_zero() => return a,
                (None, Some(y)) if y.is_zero() => return b,
                (Some(x), None) if x.is_one() => return b,
                (None, Some(y)) if y.is_one() => return a,
                _ => Op::Mul(a.min(b), a.max(b)),
            },
            leaf => leaf,
        };
        if let Some(id) = self.index.get(&op) {
            return *id;
        }
        self.ops.push(op);
        self.index.insert(op, self.ops.len() - 1);
        self.ops.len() - 1
    }

    /// Value of an operation for these inputs: the plain twin of the emitted code.
    pub fn evaluate(&self, id: Id, input: impl Fn(usize) -> Fr) -> Fr {
        let mut values: Vec<Fr> = Vec::with_capacity(id + 1);
        for op in &self.ops[..=id] {
            values.push(match *op {
                Op::Constant(value) => value,
                Op::Input(number) => input(number),
                Op::Add(a, b) => values[a] + values[b],
                Op::Sub(a, b) => values[a] - values[b],
                Op::Mul(a, b) => values[a] * values[b],
            });
        }
        values[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_subterms_are_one_operation() {
        let (x, y) = (Term::input(0), Term::input(1));
        let mut graph = Graph::default();
        let a = graph.insert(&(x.clone() * y.clone() + x.clone()));
        let b = graph.insert(&(Term::input(0) + Term::input(1) * Term::input(0)));
        assert_eq!(a, b);
        assert_eq!(graph.ops().len(), 4);
    }

    #[test]
    fn constants_are_folded_and_neutral_elements_vanish() {
        let k = |v: u64| Term::constant(Fr::from(v));
        let x = Term::input(7);
        let mut graph = Graph::default();
        let id = graph.insert(&((x.clone() * k(1) + k(2) * k(3) - k(6)) * (k(4) - k(3)) - k(0)));
        // (x + 6) − 6 keeps its two operations: only constants that meet are folded.
        assert_eq!(graph.evaluate(id, |_| Fr::from(9u64)), Fr::from(9u64));
        let zero = graph.insert(&(x * (k(5) - k(5))));
        assert_eq!(graph.ops()[zero], Op::Constant(Fr::from(0u64)));
    }
}
