//! Turns a [`Graph`] into Yul statements over memory words.
//!
//! Every value that is used more than once gets a word of memory, so that the stack of the EVM stays
//! shallow whatever the gates are. Reductions are lazy: `5·r < 2^256 < 6·r`, and `mulmod` and `addmod`
//! take any 256-bit words, so sums use plain `add` while the bound of five moduli can be shown.

use std::fmt::Write;

use ark_ff::PrimeField;
use rollmill_algebra::Fr;

use super::expr::{Graph, Id, Op};

/// Multiples of r that fit a word.
const BOUND: u64 = 5;
/// Operations of one expression, past which its value is put into memory instead. It keeps the stack
/// that an expression needs far below the sixteen words that the EVM can reach.
const EXPRESSION_OPS: usize = 10;
/// Statements of one block. The compiler may keep on the stack what a block has stored or loaded, so a
/// block must be small; it forgets it all at the block's end.
const BLOCK_STATEMENTS: usize = 8;

/// Emitted code and where its result stands.
#[derive(Debug)]
pub struct Code {
    /// Yul statements, indented.
    pub yul: String,
    /// Memory address of the result, which is not reduced: below `5·r`, and congruent to the value.
    pub result: usize,
    /// First address after the words used.
    pub end: usize,
}

struct Statement {
    id: Id,
    reads: Vec<Id>,
    text: String,
}

struct Emitter<'a> {
    graph: &'a Graph,
    /// Operations that get a word of memory.
    stored: Vec<bool>,
    /// Value of each operation is at most this many times r.
    bounds: Vec<u64>,
    /// Operations in the expression of each operation.
    weights: Vec<usize>,
    emitted: Vec<bool>,
    statements: Vec<Statement>,
}

/// Emits the code of operation `root`. Input `i` of the graph is the memory word at address `i`, below
/// r; words from `start` on are free to use. The code expects a variable `r`, the modulus, and a
/// variable `ok` that is not zero.
pub fn emit(graph: &Graph, root: Id, start: usize, indent: &str) -> Code {
    let n = root + 1;
    let mut uses = vec![0usize; n];
    uses[root] = 2;
    for op in (0..n).rev().filter(|id| uses[*id] > 0).map(|id| graph.ops()[id]).collect::<Vec<_>>() {
        op.operands().for_each(|operand| uses[operand] += 1);
    }
    let mut emitter = Emitter {
        graph,
        stored: vec![false; n],
        bounds: vec![1; n],
        weights: vec![0; n],
        emitted: vec![false; n],
        statements: Vec::new(),
    };
    for id in 0..n {
        emitter.analyse(id, uses[id]);
    }
    emitter.statement(root);
    let (addresses, end) = emitter.addresses(start, root);
    let mut yul = String::new();
    for block in emitter.statements.chunks(BLOCK_STATEMENTS) {
        // Writing to a string cannot fail.
        let _ = writeln!(yul, "{indent}if ok {{");
        for statement in block {
            let mut text = statement.text.clone();
            for read in &statement.reads {
                text = text.replace(&placeholder(*read), &format!("mload({:#x})", addresses[*read]));
            }
            let _ = writeln!(yul, "{indent}    mstore({:#x}, {text})", addresses[statement.id]);
        }
        let _ = writeln!(yul, "{indent}}}");
    }
    Code { yul, result: addresses[root], end }
}

/// Stands for a stored value until its address is known. The closing mark keeps `<1>` apart from `<11>`.
fn placeholder(id: Id) -> String {
    format!("<{id}>")
}

/// A number as Solidity source: short hexadecimal without leading zeros.
pub fn literal(value: &Fr) -> String {
    let mut out = String::from("0x");
    let limbs = value.into_bigint().0;
    let top = limbs.iter().rposition(|limb| *limb != 0).unwrap_or(0);
    let _ = write!(out, "{:x}", limbs[top]);
    for limb in limbs[..top].iter().rev() {
        let _ = write!(out, "{limb:016x}");
    }
    out
}

impl Emitter<'_> {
    fn analyse(&mut self, id: Id, uses: usize) {
        let op = self.graph.ops()[id];
        let part = |this: &Self, x: Id| if this.stored[x] { 0 } else { this.weights[x] };
        let weight = op.operands().map(|x| part(self, x)).sum::<usize>();
        match op {
            Op::Constant(_) | Op::Input(_) => return,
            Op::Add(a, b) | Op::Sub(a, b) => {
                let sum = self.bounds[a] + self.bounds[b];
                self.bounds[id] = if sum <= BOUND { sum } else { 1 };
            }
            Op::Mul(..) => {}
        }
        self.weights[id] = weight + 1;
        self.stored[id] = uses > 1 || self.weights[id] >= EXPRESSION_OPS;
    }

    /// Emits the statement that stores `id`, after those it reads from.
    fn statement(&mut self, id: Id) {
        if std::mem::replace(&mut self.emitted[id], true) {
            return;
        }
        let mut reads = Vec::new();
        let text = self.expression(id, &mut reads);
        self.statements.push(Statement { id, reads, text });
    }

    fn operand(&mut self, id: Id, reads: &mut Vec<Id>) -> String {
        if self.stored[id] {
            self.statement(id);
            reads.push(id);
            return placeholder(id);
        }
        self.expression(id, reads)
    }

    fn expression(&mut self, id: Id, reads: &mut Vec<Id>) -> String {
        let lazy = |this: &Self, a: Id, b: Id| this.bounds[a] + this.bounds[b] <= BOUND;
        match self.graph.ops()[id] {
            Op::Constant(value) => literal(&value),
            Op::Input(address) => format!("mload({address:#x})"),
            Op::Add(a, b) => {
                let lazy = lazy(self, a, b);
                let (light, heavy) = self.ordered(a, b, reads);
                if lazy {
                    format!("add({light}, {heavy})")
                } else {
                    format!("addmod({light}, {heavy}, r)")
                }
            }
            Op::Sub(a, b) => {
                let lazy = lazy(self, a, b);
                let multiple = match self.bounds[b] {
                    1 => "r".to_owned(),
                    k => format!("mul({k}, r)"),
                };
                // Operands are evaluated from the right, so the heavier one goes there.
                let first_is_heavy = self.weights[a] > self.weights[b] && !self.stored[a];
                let a = self.operand(a, reads);
                let b = format!("sub({multiple}, {})", self.operand(b, reads));
                let (light, heavy) = if first_is_heavy { (b, a) } else { (a, b) };
                if lazy {
                    format!("add({light}, {heavy})")
                } else {
                    format!("addmod({light}, {heavy}, r)")
                }
            }
            Op::Mul(a, b) => {
                let (light, heavy) = self.ordered(a, b, reads);
                format!("mulmod({light}, {heavy}, r)")
            }
        }
    }

    fn ordered(&mut self, a: Id, b: Id, reads: &mut Vec<Id>) -> (String, String) {
        let weight = |this: &Self, x: Id| if this.stored[x] { 0 } else { this.weights[x] };
        let first_is_heavy = weight(self, a) > weight(self, b);
        let (a, b) = (self.operand(a, reads), self.operand(b, reads));
        if first_is_heavy { (b, a) } else { (a, b) }
    }

    /// Gives every stored value a word, and uses words again whose values are no longer read.
    fn addresses(&self, start: usize, root: Id) -> (Vec<usize>, usize) {
        let mut last_read = vec![0usize; root + 1];
        for (i, statement) in self.statements.iter().enumerate() {
            statement.reads.iter().for_each(|read| last_read[*read] = i);
        }
        let mut addresses = vec![0usize; root + 1];
        let mut free: Vec<usize> = Vec::new();
        let mut end = start;
        for (i, statement) in self.statements.iter().enumerate() {
            let mut done: Vec<Id> =
                statement.reads.iter().copied().filter(|read| last_read[*read] == i).collect();
            done.sort_unstable();
            done.dedup();
            free.extend(done.iter().map(|read| addresses[*read]));
            addresses[statement.id] = free.pop().unwrap_or_else(|| {
                end += 0x20;
                end - 0x20
            });
        }
        (addresses, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solidity::expr::Term;
    use rollmill_algebra::device::Expr;

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        assert_eq!(literal(&Fr::from(0u64)), "0x0");
        assert_eq!(literal(&Fr::from(255u64)), "0xff");
        assert_eq!(literal(&crate::gates::power_of_two(64)), "0x10000000000000000");
    }

    /// Goal: no sum can wrap. Method: six summands of one modulus each need a reduction, five do not.
    #[test]
    fn a_sum_is_reduced_before_it_can_wrap() {
        let sum = |count: usize| {
            let terms = (1..count).fold(Term::input(0), |acc, i| acc + Term::input(i * 0x20));
            let mut graph = Graph::default();
            let root = graph.insert(&terms);
            emit(&graph, root, 0x1000, "").yul
        };
        assert!(!sum(5).contains("addmod"));
        assert!(sum(6).contains("addmod"));
    }

    #[test]
    fn a_difference_adds_the_multiple_of_the_modulus_that_bounds_what_is_taken_away() {
        let x = |i: usize| Term::input(i * 0x20);
        let mut graph = Graph::default();
        let root = graph.insert(&(x(0) - (x(1) + x(2)) - Term::constant(Fr::from(3u64))));
        let yul = emit(&graph, root, 0x1000, "").yul;
        assert!(yul.contains("sub(mul(2, r), add("), "{yul}");
        assert!(yul.contains("sub(r, 0x3)"), "{yul}");
    }
}
