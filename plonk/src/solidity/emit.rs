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
/// Stack words that one expression may need; from there on its value is put into memory. The EVM can
/// reach sixteen, and others are in use around the expression. Five still compile,
/// with blocks as small as these.
const EXPRESSION_STACK: usize = 4;
/// Statements of one block. The compiler may keep on the stack what a block has stored or loaded, so a
/// block must be small; it forgets it all at the block's end. Six still compile,
/// with expressions as small as these.
const BLOCK_STATEMENTS: usize = 4;

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
    /// Stack words that the expression of each operation needs while it is evaluated.
    needs: Vec<usize>,
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
    for (id, op) in graph.ops().iter().enumerate().take(n).rev() {
        if uses[id] > 0 {
            op.operands().for_each(|operand| uses[operand] += 1);
        }
    }
    let mut emitter = Emitter {
        graph,
        stored: vec![false; n],
        bounds: vec![1; n],
        needs: vec![1; n],
        emitted: vec![false; n],
        statements: Vec::new(),
    };
    uses.iter().enumerate().for_each(|(id, uses)| emitter.analyse(id, *uses));
    emitter.statement(root);
    let (addresses, end) = emitter.addresses(start, root);
    let mut yul = String::new();
    for block in emitter.statements.chunks(BLOCK_STATEMENTS) {
        // Writing to a string cannot fail.
        let _ = writeln!(yul, "{indent}if ok {{");
        for statement in block {
            let mut text = statement.text.clone();
            for read in &statement.reads {
                text =
                    text.replace(&placeholder(*read), &format!("mload({:#x})", addresses[*read]));
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
        let (a, b, product) = match self.graph.ops()[id] {
            Op::Constant(_) | Op::Input(_) => return,
            Op::Add(a, b) | Op::Sub(a, b) => (a, b, false),
            Op::Mul(a, b) => (a, b, true),
        };
        let sum = self.bounds[a] + self.bounds[b];
        let reduced = product || sum > BOUND;
        self.bounds[id] = if reduced { 1 } else { sum };
        // The modulus of a reduction lies below both operands, the heavier operand below the other. A
        // difference has the multiple it is taken from on top.
        let taken = matches!(self.graph.ops()[id], Op::Sub(..));
        let heavy = self.need(a).max(self.need(b));
        let light = self.need(a).min(self.need(b)) + 1;
        self.needs[id] = heavy.max(light) + usize::from(reduced) + usize::from(taken);
        self.stored[id] = uses > 1 || self.needs[id] >= EXPRESSION_STACK;
    }

    /// Stack words that it takes to have the value of `id`.
    fn need(&self, id: Id) -> usize {
        if self.stored[id] { 1 } else { self.needs[id] }
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
                let first_is_heavy = self.need(a) > self.need(b);
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
        let first_is_heavy = self.need(a) > self.need(b);
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
    fn a_value_that_is_used_twice_is_computed_once() {
        let product = Term::input(0) * Term::input(0x20);
        let mut graph = Graph::default();
        let root = graph.insert(&((product.clone() + Term::input(0)) * product));
        let yul = emit(&graph, root, 0x1000, "").yul;
        assert_eq!(yul.matches("mulmod").count(), 2, "{yul}");
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
