//! Symbolic expressions and their graphs.
//!
//! A formula that is written once over [`Expr`] becomes code by evaluating it with [`Expression`]s and
//! turning what comes out into a [`Graph`]. The backends start from graphs: the plans of the CPU's row
//! kernels, CUDA programs and kernels, the Yul of the Solidity verifiers, and the rows of a circuit that
//! verifies proofs. So do the analyses, such as the degree of a constraint.
//!
//! ```
//! use rollmill_algebra::Fr;
//! use rollmill_algebra::device::Expr;
//! use rollmill_algebra::graph::{Expression, Graph, Identity};
//!
//! let x = Expression::var("x");
//! let formula = x.square() * x.clone() + x + Expression::constant(Fr::from(5u64));
//! let graph = Graph::new(Identity::Value, [&formula]);
//! assert_eq!(graph.evaluate(|_| Fr::from(3u64)), [Fr::from(35u64)]);
//! assert_eq!(graph.degrees(|_| 1), [3]);
//! ```

mod hashing;
pub mod schedule;
pub mod slots;

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use ark_ff::{AdditiveGroup, Field};

pub use self::hashing::{NodeHasher, NodeMap};
use crate::Fr;
use crate::device::{Expr, Row, RowKernel};

/// The variables of an expression: cells of columns, words of memory, variables of a
/// circuit.
pub trait Variable: Copy + Debug + Eq + Hash + Send + Sync {}

impl<V: Copy + Debug + Eq + Hash + Send + Sync> Variable for V {}

/// What joins two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Add,
    Sub,
    Mul,
}

impl Operation {
    fn apply<E: Expr>(self, a: E, b: E) -> E {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
        }
    }
}

/// A polynomial as it was written. Cheap to clone: copies share their operands, so its tree may be far
/// larger than its graph.
#[derive(Debug, Clone)]
pub struct Expression<V>(Arc<Tree<V>>);

#[derive(Debug)]
enum Tree<V> {
    Constant(Fr),
    Variable(V),
    Binary(Operation, Expression<V>, Expression<V>),
}

impl<V> Expression<V> {
    /// A variable.
    pub fn var(variable: V) -> Self {
        Self(Arc::new(Tree::Variable(variable)))
    }

    fn binary(operation: Operation, a: Self, b: Self) -> Self {
        Self(Arc::new(Tree::Binary(operation, a, b)))
    }
}

impl<V> Add for Expression<V> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::binary(Operation::Add, self, other)
    }
}

impl<V> Sub for Expression<V> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::binary(Operation::Sub, self, other)
    }
}

impl<V> Mul for Expression<V> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::binary(Operation::Mul, self, other)
    }
}

impl<V: Variable> Expr for Expression<V> {
    fn constant(value: Fr) -> Self {
        Self(Arc::new(Tree::Constant(value)))
    }
}

/// Which constants are one node of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Those of one value: fewest nodes, for code that has its constants written into it.
    Value,
    /// Those that come from one [`Expr::constant`], or from the same operation on them. So a kernel has
    /// one graph when two challenges or sizes happen to be equal and when they are not, and a device can
    /// compile it once and change the constants. 0 and 1 are one node each all the same, since what is
    /// simplified depends on them.
    Source,
}

/// A node of a graph. Numbers are positions in [`Graph::nodes`], always of earlier nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Node<V> {
    /// A constant and where it comes from; 0 when it is known by its value.
    Constant(Fr, usize),
    Variable(V),
    /// Two nodes joined; the lower number first where the order does not matter.
    Binary(Operation, usize, usize),
}

impl<V> Node<V> {
    /// The nodes that this one reads.
    pub fn operands(&self) -> Option<[usize; 2]> {
        match self {
            Self::Binary(_, a, b) => Some([*a, *b]),
            Self::Constant(..) | Self::Variable(_) => None,
        }
    }
}

/// Expressions with equal parts joined: operations on constants are folded, factors and summands without
/// effect are dropped, and equal parts occur once.
#[derive(Debug)]
pub struct Graph<V> {
    nodes: Vec<Node<V>>,
    roots: Vec<usize>,
}

/// A graph under construction.
struct Inserting<V> {
    identity: Identity,
    nodes: Vec<Node<V>>,
    known: NodeMap<Node<V>, usize>,
    /// By address, which names a part of an expression as long as the caller keeps the expression.
    seen: NodeMap<*const Tree<V>, usize>,
    /// What operations on constants gave.
    folded: NodeMap<(Operation, usize, usize), usize>,
    sources: usize,
}

impl<V: Variable> Graph<V> {
    /// The graph of expressions, which are its roots.
    pub fn new<'a>(
        identity: Identity,
        expressions: impl IntoIterator<Item = &'a Expression<V>>,
    ) -> Self
    where
        V: 'a,
    {
        let mut inserting = Inserting {
            identity,
            nodes: Vec::new(),
            known: NodeMap::default(),
            seen: NodeMap::default(),
            folded: NodeMap::default(),
            sources: 0,
        };
        let roots = expressions.into_iter().map(|root| inserting.expression(root)).collect();
        Self { nodes: inserting.nodes, roots }
    }

    /// The nodes, operands before what reads them. Some may serve no root: what a factor of zero dropped.
    pub fn nodes(&self) -> &[Node<V>] {
        &self.nodes
    }

    /// The node of each expression.
    pub fn roots(&self) -> &[usize] {
        &self.roots
    }

    /// The value of a node that is a constant.
    pub fn constant(&self, node: usize) -> Option<Fr> {
        constant(&self.nodes, node)
    }

    /// Which nodes serve a root.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        self.roots.iter().for_each(|root| live[*root] = true);
        for (id, node) in self.nodes.iter().enumerate().rev() {
            if let (Some(operands), true) = (node.operands(), live[id]) {
                operands.into_iter().for_each(|operand| live[operand] = true);
            }
        }
        live
    }

    /// How often nodes that serve a root read each node. Being a root counts nothing.
    pub fn uses(&self) -> Vec<u32> {
        let mut uses = vec![0; self.nodes.len()];
        let live = self.nodes.iter().zip(self.live()).filter(|(_, live)| *live);
        live.filter_map(|(node, _)| node.operands()).flatten().for_each(|read| uses[read] += 1);
        uses
    }

    /// [`Graph::uses`], and one for each root that a node is: for backends that write roots to outputs.
    pub fn uses_and_outputs(&self) -> Vec<u32> {
        let mut uses = self.uses();
        self.roots.iter().for_each(|root| uses[*root] += 1);
        uses
    }

    /// Computes a value for each node from the values of its operands.
    pub fn fold<T>(
        &self,
        mut constant: impl FnMut(Fr) -> T,
        mut variable: impl FnMut(V) -> T,
        mut binary: impl FnMut(Operation, &T, &T) -> T,
    ) -> Vec<T> {
        let mut all: Vec<T> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            all.push(match *node {
                Node::Constant(value, _) => constant(value),
                Node::Variable(v) => variable(v),
                Node::Binary(operation, a, b) => binary(operation, &all[a], &all[b]),
            });
        }
        all
    }

    fn of_roots<T: Clone>(&self, all: &[T]) -> Vec<T> {
        self.roots.iter().map(|root| all[*root].clone()).collect()
    }

    /// The values of the roots for these values of the variables.
    pub fn evaluate<E: Expr>(&self, variable: impl FnMut(V) -> E) -> Vec<E> {
        let binary = |operation: Operation, a: &E, b: &E| operation.apply(a.clone(), b.clone());
        self.of_roots(&self.fold(E::constant, variable, binary))
    }

    /// The degrees of the roots, from those of the variables. Terms of one degree are not taken to cancel,
    /// so these bound the degrees from above.
    pub fn degrees(&self, variable: impl FnMut(V) -> u32) -> Vec<u32> {
        let binary = |operation, a: &u32, b: &u32| match operation {
            Operation::Add | Operation::Sub => *a.max(b),
            Operation::Mul => a + b,
        };
        self.of_roots(&self.fold(|_| 0, variable, binary))
    }
}

fn constant<V>(nodes: &[Node<V>], node: usize) -> Option<Fr> {
    match nodes[node] {
        Node::Constant(value, _) => Some(value),
        Node::Variable(_) | Node::Binary(..) => None,
    }
}

impl<V: Variable> Inserting<V> {
    fn node(&mut self, node: Node<V>) -> usize {
        *self.known.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    fn new_constant(&mut self, value: Fr) -> usize {
        let by_value = self.identity == Identity::Value || value == Fr::ZERO || value == Fr::ONE;
        self.sources += 1;
        self.node(Node::Constant(value, if by_value { 0 } else { self.sources }))
    }

    fn expression(&mut self, expression: &Expression<V>) -> usize {
        let address = Arc::as_ptr(&expression.0);
        if let Some(id) = self.seen.get(&address) {
            return *id;
        }
        let id = match &*expression.0 {
            Tree::Constant(value) => self.new_constant(*value),
            Tree::Variable(variable) => self.node(Node::Variable(*variable)),
            Tree::Binary(operation, a, b) => {
                let (a, b) = (self.expression(a), self.expression(b));
                self.binary(*operation, a, b)
            }
        };
        self.seen.insert(address, id);
        id
    }

    fn binary(&mut self, operation: Operation, a: usize, b: usize) -> usize {
        use Operation::{Add, Mul, Sub};
        let (x, y) = (constant(&self.nodes, a), constant(&self.nodes, b));
        if let (Some(x), Some(y)) = (x, y) {
            if let Some(id) = self.folded.get(&(operation, a, b)) {
                return *id;
            }
            let id = self.new_constant(operation.apply(x, y));
            self.folded.insert((operation, a, b), id);
            return id;
        }
        match (operation, x, y) {
            (Add, Some(zero), _) if zero == Fr::ZERO => return b,
            (Add | Sub, _, Some(zero)) if zero == Fr::ZERO => return a,
            (Mul, Some(zero), _) if zero == Fr::ZERO => return a,
            (Mul, _, Some(zero)) if zero == Fr::ZERO => return b,
            (Mul, Some(one), _) if one == Fr::ONE => return b,
            (Mul, _, Some(one)) if one == Fr::ONE => return a,
            _ => {}
        }
        let (a, b) = if operation == Sub { (a, b) } else { (a.min(b), a.max(b)) };
        self.node(Node::Binary(operation, a, b))
    }
}

/// The cell of a column at a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cell {
    pub column: usize,
    pub rotation: usize,
}

struct Cells;

impl Row<Expression<Cell>> for Cells {
    fn cell(&self, column: usize, rotation: usize) -> Expression<Cell> {
        Expression::var(Cell { column, rotation })
    }
}

impl Graph<Cell> {
    /// Records what `kernel` does on a row; the roots are its outputs.
    pub fn record<K: RowKernel>(kernel: &K) -> Self {
        let constants = kernel.constants::<Expression<Cell>>();
        let mut out = vec![Expression::constant(Fr::ZERO); kernel.outputs()];
        kernel.eval(&constants, &Cells, &mut out);
        Self::new(Identity::Source, &out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Random, numbers};

    type Symbol = Expression<usize>;

    fn x(number: usize) -> Symbol {
        Symbol::var(number)
    }

    fn k(value: u64) -> Symbol {
        Symbol::constant(Fr::from(value))
    }

    /// The nodes without constants and variables, as `(operation, operands)`.
    fn operations(graph: &Graph<usize>) -> Vec<Operation> {
        let operation = |node: &Node<usize>| match node {
            Node::Binary(operation, ..) => Some(*operation),
            _ => None,
        };
        graph.nodes().iter().filter_map(operation).collect()
    }

    const BOTH: [Identity; 2] = [Identity::Value, Identity::Source];

    #[test]
    fn equal_parts_are_one_node() {
        for identity in BOTH {
            let one = x(0) * x(1) + x(0);
            let same = x(0) + x(1) * x(0);
            let graph = Graph::new(identity, [&one, &same]);
            assert_eq!(graph.nodes().len(), 4);
            assert_eq!(graph.roots()[0], graph.roots()[1]);
            let swapped = Graph::new(identity, [&(x(0) - x(1)), &(x(1) - x(0))]);
            assert_ne!(swapped.roots()[0], swapped.roots()[1]);
        }
    }

    /// Each rule of simplification by itself: what is left of it.
    #[test]
    fn constants_are_folded_and_what_has_no_effect_is_dropped() {
        let is = |expression: Symbol, expected: &Symbol| {
            for identity in BOTH {
                let graph = Graph::new(identity, [&expression, expected]);
                assert_eq!(graph.roots()[0], graph.roots()[1], "{expression:?}");
                assert!(operations(&graph).is_empty(), "{expression:?}");
            }
        };
        let y = x(7);
        is(y.clone() + k(0), &y);
        is(k(0) + y.clone(), &y);
        is(y.clone() - k(0), &y);
        is(y.clone() * k(1), &y);
        is(k(1) * y.clone(), &y);
        is(y.clone() * k(0), &k(0));
        is(k(0) * y.clone(), &k(0));
        is(k(4) - k(3), &k(1));
        is(k(3) - k(2) - k(1), &k(0));
        is(y.clone() * (k(2) * k(3) - k(5)) + (k(2) + k(3) - k(5)), &y);
        // Only constants that meet are folded, and what is taken from zero stays a difference.
        let graph = Graph::new(Identity::Value, [&(y.clone() + k(6) - k(6)), &(k(0) - y)]);
        assert_eq!(operations(&graph), [Operation::Add, Operation::Sub, Operation::Sub]);
    }

    #[test]
    fn constants_are_told_apart_by_what_the_graph_is_for() {
        let (three, four) = (k(3), k(4));
        let formula = |a: Symbol, b: Symbol, c: Symbol| {
            [x(0) * a.clone() + x(1) * b.clone(), x(0) * (a.clone() * c.clone()), x(1) * (a * c)]
        };
        let graph = |identity, [a, b, c]: [&Symbol; 3]| {
            let formulas = formula(a.clone(), b.clone(), c.clone());
            Graph::new(identity, &formulas)
        };
        let constants = |graph: &Graph<usize>| {
            (0..graph.nodes().len()).filter(|node| graph.constant(*node).is_some()).count()
        };
        // By value, a second 3 is the first; by source it is another one, as a 4 would be. The product of two
        // of them, which the formula makes twice, is one in either case.
        assert_eq!(constants(&graph(Identity::Value, [&three, &k(3), &four])), 3);
        assert_eq!(constants(&graph(Identity::Source, [&three, &k(3), &four])), 4);
        assert_eq!(constants(&graph(Identity::Source, [&three, &k(5), &four])), 4);
        // One that is shared is one.
        assert_eq!(constants(&graph(Identity::Source, [&three, &three, &four])), 3);
        // 0 and 1 are known by value: what they drop is gone.
        assert_eq!(constants(&graph(Identity::Source, [&k(1), &k(1), &k(0)])), 2);
    }

    #[test]
    fn what_a_factor_of_zero_dropped_is_not_live_and_uses_nothing() {
        let dropped = x(0) * x(1);
        let roots = [dropped * k(0) + x(1) * x(2), x(2)];
        let graph = Graph::new(Identity::Value, &roots);
        let of = |variable| {
            graph.nodes().iter().position(|node| *node == Node::Variable(variable)).unwrap()
        };
        let (live, uses, with_outputs) = (graph.live(), graph.uses(), graph.uses_and_outputs());
        assert_eq!([0, 1, 2].map(|v| live[of(v)]), [false, true, true]);
        assert_eq!([0, 1, 2].map(|v| uses[of(v)]), [0, 1, 1]);
        assert_eq!([0, 1, 2].map(|v| with_outputs[of(v)]), [0, 1, 2]);
        assert_eq!(uses[graph.roots()[0]], 0);
    }

    /// Goal: a graph has the values of its expressions. Method: random expressions, evaluated as
    /// written and through both kinds of graph, and through the graph of a graph.
    #[test]
    fn a_graph_has_the_values_of_its_expressions() {
        for seed in 0..60 {
            let values = numbers(seed, "variables", 5);
            let symbols: Vec<Symbol> = (0..values.len()).map(x).collect();
            let random = Random { seed, shape: seed as u32, steps: 1 + seed as usize * 3 };
            let (direct, symbolic) = (random.over(&values), random.over(&symbols));
            for identity in BOTH {
                let graph = Graph::new(identity, &symbolic);
                assert_eq!(graph.evaluate(|v| values[v]), direct, "{identity:?}, seed {seed}");
                let again = Graph::new(identity, &graph.evaluate(Symbol::var));
                assert_eq!(again.evaluate(|v| values[v]), direct, "{identity:?}, seed {seed}");
                for (at, node) in graph.nodes().iter().enumerate() {
                    assert!(node.operands().into_iter().flatten().all(|read| read < at));
                }
            }
        }
    }

    /// Goal: a degree is never understated. Method: along a random line, an expression is a polynomial in one
    /// variable, and as many differences as its degree says, and one more, leave nothing of it.
    #[test]
    fn no_expression_exceeds_its_degree() {
        let (mut exact, mut seeds) = (0, 0);
        for seed in 0..60 {
            let (start, step) = (numbers(seed, "start", 4), numbers(seed, "step", 4));
            let symbols: Vec<Symbol> = (0..4).map(x).collect();
            let random = Random { seed, shape: seed as u32, steps: 8 };
            let graph = Graph::new(Identity::Value, &random.over(&symbols));
            // The last variable is a challenge: the line leaves it alone.
            let at =
                |t: u64, v: usize| start[v] + if v < 3 { step[v] * Fr::from(t) } else { Fr::ZERO };
            for (root, degree) in graph.degrees(|v| u32::from(v < 3)).into_iter().enumerate() {
                if degree > 40 {
                    continue;
                }
                let points = u64::from(degree) + 2;
                let mut values: Vec<Fr> =
                    (0..points).map(|t| graph.evaluate(|v| at(t, v))[root]).collect();
                for _ in 0..degree {
                    values = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
                }
                assert_eq!(values[0], values[1], "degree {degree}, root {root}, seed {seed}");
                seeds += 1;
                exact += usize::from(values[0] != Fr::ZERO);
            }
        }
        // Random terms seldom cancel.
        assert!(seeds > 90 && exact * 10 > seeds * 8, "{exact} of {seeds} exact");
    }
}
