//! Turns a [`Graph`] into Yul statements over memory words.
//!
//! Every value that is used more than once gets a word of memory, so that the stack of the EVM stays
//! shallow whatever the gates are. Reductions are lazy: `5·r < 2^256 < 6·r`, and `mulmod` and `addmod`
//! take any 256-bit words, so sums use plain `add` while the bound of five moduli can be shown.

use std::fmt::Write;

use ark_ff::PrimeField;
use rollmill_algebra::Fr;
use rollmill_algebra::graph::{Graph, Node, Operation, slots};

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

/// The address of a word of memory whose value is below r.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(pub usize);

/// Index of a node.
type Id = usize;

/// Emitted code and where its result is.
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
    graph: &'a Graph<Address>,
    /// Nodes that get a word of memory.
    stored: Vec<bool>,
    /// Value of each node is at most this many times r.
    bounds: Vec<u64>,
    /// Stack words that the expression of each node needs while it is evaluated.
    needs: Vec<usize>,
    emitted: Vec<bool>,
    statements: Vec<Statement>,
}

/// Emits the code of the graph's last root. Words from `start` on are free to use. The code expects a
/// variable `r`, the modulus, and a variable `ok` that is not zero.
///
/// # Panics
/// When the graph has no root.
pub fn emit(graph: &Graph<Address>, start: usize, indent: &str) -> Code {
    let n = graph.nodes().len();
    let root = *graph.roots().last().expect("an expression to emit");
    let mut uses = graph.uses();
    // The result gets a word, however often it is used.
    uses[root] += 2;
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
    let slots = emitter.slots();
    let address = |id: Id| start + 0x20 * slots.of[id].unwrap_or(slots.count);
    let mut yul = String::new();
    for block in emitter.statements.chunks(BLOCK_STATEMENTS) {
        // Writing to a string cannot fail.
        let _ = writeln!(yul, "{indent}if ok {{");
        for statement in block {
            let mut text = statement.text.clone();
            for read in &statement.reads {
                text = text.replace(&placeholder(*read), &format!("mload({:#x})", address(*read)));
            }
            let _ = writeln!(yul, "{indent}    mstore({:#x}, {text})", address(statement.id));
        }
        let _ = writeln!(yul, "{indent}}}");
    }
    Code { yul, result: address(root), end: start + 0x20 * slots.count }
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
    fn analyse(&mut self, id: Id, uses: u32) {
        let Node::Binary(operation, a, b) = self.graph.nodes()[id] else { return };
        let sum = self.bounds[a] + self.bounds[b];
        let reduced = operation == Operation::Mul || sum > BOUND;
        self.bounds[id] = if reduced { 1 } else { sum };
        // The modulus of a reduction lies below both operands, the heavier operand below the other. A
        // difference has the multiple it is taken from on top.
        let taken = operation == Operation::Sub;
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
        let (operation, a, b) = match self.graph.nodes()[id] {
            Node::Constant(value, _) => return literal(&value),
            Node::Variable(Address(address)) => return format!("mload({address:#x})"),
            Node::Binary(operation, a, b) => (operation, a, b),
        };
        let lazy = self.bounds[a] + self.bounds[b] <= BOUND;
        // Operands are evaluated from the right, so the heavier one goes there.
        let first_is_heavy = self.need(a) > self.need(b);
        let (first, mut second) = (self.operand(a, reads), self.operand(b, reads));
        if operation == Operation::Sub {
            let multiple = match self.bounds[b] {
                1 => "r".to_owned(),
                k => format!("mul({k}, r)"),
            };
            second = format!("sub({multiple}, {second})");
        }
        let (light, heavy) = if first_is_heavy { (second, first) } else { (first, second) };
        match operation {
            Operation::Mul => format!("mulmod({light}, {heavy}, r)"),
            Operation::Add | Operation::Sub if lazy => format!("add({light}, {heavy})"),
            Operation::Add | Operation::Sub => format!("addmod({light}, {heavy}, r)"),
        }
    }

    /// Assigns a word to every stored value, and reuses words whose values are no longer read.
    fn slots(&self) -> slots::Slots {
        let step = |statement: &Statement| {
            let mut reads = statement.reads.clone();
            reads.sort_unstable();
            slots::Step { reads, makes: Some(statement.id) }
        };
        let steps: Vec<slots::Step> = self.statements.iter().map(step).collect();
        slots::share(self.graph.nodes().len(), &steps)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ark_ff::{BigInt, BigInteger};
    use rollmill_algebra::conformance::{Random, numbers};
    use rollmill_algebra::device::Expr;
    use rollmill_algebra::graph::{Expression, Identity};

    use super::*;

    const START: usize = 0x1000;

    fn x(i: usize) -> Expression<Address> {
        Expression::var(Address(i * 0x20))
    }

    fn code(expression: &Expression<Address>) -> Code {
        emit(&Graph::new(Identity::Value, [expression]), START, "")
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        assert_eq!(literal(&Fr::from(0u64)), "0x0");
        assert_eq!(literal(&Fr::from(255u64)), "0xff");
        assert_eq!(literal(&crate::gates::power_of_two(64)), "0x10000000000000000");
    }

    /// Goal: no sum can wrap. Method: six summands of one modulus each need a reduction, five do not.
    #[test]
    fn a_sum_is_reduced_before_it_can_wrap() {
        let sum = |count: usize| code(&(1..count).fold(x(0), |acc, i| acc + x(i))).yul;
        assert!(!sum(5).contains("addmod"));
        assert!(sum(6).contains("addmod"));
    }

    #[test]
    fn a_value_that_is_used_twice_is_computed_once() {
        let product = x(0) * x(1);
        let yul = code(&((product.clone() + x(0)) * product)).yul;
        assert_eq!(yul.matches("mulmod").count(), 2, "{yul}");
    }

    #[test]
    fn a_difference_adds_the_multiple_of_the_modulus_that_bounds_what_is_taken_away() {
        let yul = code(&(x(0) - (x(1) + x(2)) - Expression::constant(Fr::from(3u64)))).yul;
        assert!(yul.contains("sub(mul(2, r), add("), "{yul}");
        assert!(yul.contains("sub(r, 0x3)"), "{yul}");
    }

    type Word = BigInt<4>;

    fn reduced(word: &Word) -> Fr {
        Fr::from_le_bytes_mod_order(&word.to_bytes_le())
    }

    /// Interprets Yul on memory, and panics where a value wraps.
    struct Machine {
        memory: HashMap<usize, Word>,
    }

    impl Machine {
        fn number(text: &str) -> Word {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            let limbs = digits.as_bytes().rchunks(16).map(|limb| {
                u64::from_str_radix(std::str::from_utf8(limb).unwrap(), 16).expect("a number")
            });
            let mut word = Word::zero();
            word.0.iter_mut().zip(limbs).for_each(|(to, limb)| *to = limb);
            word
        }

        fn call(&self, name: &str, of: &[Word]) -> Word {
            match (name, of) {
                ("mload", [at]) => self.memory[&(at.0[0] as usize)],
                ("add", [a, b]) => {
                    let mut sum = *a;
                    assert!(!sum.add_with_carry(b), "a sum wraps");
                    sum
                }
                ("sub", [a, b]) => {
                    let mut difference = *a;
                    assert!(!difference.sub_with_borrow(b), "a difference wraps");
                    difference
                }
                ("mul", [a, b]) => {
                    let (low, high) = a.mul(b);
                    assert!(high.is_zero(), "a product wraps");
                    low
                }
                ("addmod", [a, b, m]) if *m == Fr::MODULUS => {
                    (reduced(a) + reduced(b)).into_bigint()
                }
                ("mulmod", [a, b, m]) if *m == Fr::MODULUS => {
                    (reduced(a) * reduced(b)).into_bigint()
                }
                _ => panic!("{name} of {of:?}"),
            }
        }

        /// The value at the start of `text`, and what follows it.
        fn value<'a>(&self, text: &'a str) -> (Word, &'a str) {
            let end = text.find(['(', ')', ',']).unwrap_or(text.len());
            let (name, mut rest) = text.split_at(end);
            if !rest.starts_with('(') {
                return (if name == "r" { Fr::MODULUS } else { Self::number(name) }, rest);
            }
            let mut operands = Vec::new();
            while !rest.starts_with(')') {
                let (value, after) = self.value(rest[1..].trim_start());
                operands.push(value);
                rest = after;
            }
            (self.call(name, &operands), &rest[1..])
        }

        fn run(&mut self, yul: &str) {
            for line in yul.lines().map(str::trim) {
                let Some(statement) = line.strip_prefix("mstore(") else {
                    assert!(["if ok {", "}"].contains(&line), "{line}");
                    continue;
                };
                let (at, rest) = self.value(statement);
                let (value, rest) = self.value(rest[1..].trim_start());
                assert_eq!(rest, ")", "{line}");
                self.memory.insert(at.0[0] as usize, value);
            }
        }
    }

    /// Goal: the code has the value of its expression, and no word of it wraps. Method: random expressions, the
    /// code carried out on random inputs and on the largest ones.
    #[test]
    fn emitted_code_has_the_value_of_its_expression() {
        for seed in 0..24 {
            let random = Random { seed, shape: seed as u32, steps: 5 + 6 * seed as usize };
            let expressions = random.over(&[0, 1, 2, 3, 4].map(x));
            let largest = vec![-Fr::from(1u64); 5];
            for inputs in [numbers(seed, "inputs", 5), largest] {
                for (expression, expected) in expressions.iter().zip(random.over(&inputs)) {
                    let Code { yul, result, end } = code(expression);
                    let words = inputs.iter().enumerate();
                    let memory = words.map(|(i, v)| (i * 0x20, v.into_bigint())).collect();
                    let mut machine = Machine { memory };
                    machine.run(&yul);
                    let got = &machine.memory[&result];
                    assert!(*got < Fr::MODULUS.mul(&Word::from(BOUND)).0, "seed {seed}");
                    assert_eq!(reduced(got), expected, "seed {seed}\n{yul}");
                    let used = machine.memory.keys().filter(|at| **at >= START);
                    assert!(used.into_iter().all(|at| *at < end), "seed {seed}");
                }
            }
        }
    }
}
