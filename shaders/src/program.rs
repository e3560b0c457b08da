//! Row kernels as straight-line programs for the adapter: of the same graphs, and in the same order, as on the CUDA
//! device.
//!
//! A program runs in one of two ways. The interpreter, one kernel for all programs, reads its instructions. Or it is
//! written as WGSL, in pieces of few products, since drivers take minutes for a kernel of hundreds.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use ark_ff::AdditiveGroup;
use parking_lot::Mutex;
use rollmill_algebra::Fr;
use rollmill_algebra::device::RowKernel;
use rollmill_algebra::graph::schedule::{Step, schedule};
use rollmill_algebra::graph::{self, Cell, Graph, Node, slots};

use crate::kernel::Pipeline;
use crate::pace::Pace;

/// Largest column number and rotation that fit in an operand.
const COLUMNS_MAX: u32 = 1 << 16;
const ROTATIONS_MAX: u32 = 1 << 14;
/// Work of a piece, where a sum counts 1 and a product [`PRODUCT_WORK`]: about that of an addition of points, which is
/// the largest kernel otherwise.
const PIECE_WORK: u32 = 96;
const PRODUCT_WORK: u32 = 6;

const ADD: u32 = 0;
const SUB: u32 = 1;
const MUL: u32 = 2;
const OUTPUT: u32 = 3;
const CONSTANT: u32 = 1;
const CELL: u32 = 2;
const LAST: u32 = 3;
/// The target of a value that only the next instruction reads.
const NOWHERE: u32 = u32::MAX;

/// Numbers that `row_program.wgsl` uses by these names.
pub(crate) const NUMBERS: &[(&str, u32)] = &[
    ("ADD", ADD),
    ("SUB", SUB),
    ("OUTPUT", OUTPUT),
    ("CONSTANT", CONSTANT),
    ("CELL", CELL),
    ("LAST", LAST),
    ("NOWHERE", NOWHERE),
];

/// Where an instruction finds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operand {
    Register(u32),
    Constant(u32),
    Cell {
        column: u32,
        rotation: u32,
    },
    /// What the instruction before this one computed, in the same piece.
    Last,
}

impl Operand {
    fn encode(self) -> u32 {
        match self {
            Self::Register(index) => index,
            Self::Constant(index) => CONSTANT << 30 | index,
            Self::Cell { column, rotation } => CELL << 30 | rotation << 16 | column,
            Self::Last => LAST << 30,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instruction {
    /// `target = a operation b`; without a target only the next instruction reads the result.
    Compute {
        operation: graph::Operation,
        target: Option<u32>,
        a: Operand,
        b: Operand,
    },
    Output {
        index: u32,
        value: Operand,
    },
}

impl Instruction {
    /// The four words that the interpreter reads.
    fn encode(self) -> [u32; 4] {
        match self {
            Self::Compute { operation, target, a, b } => {
                let operation = match operation {
                    graph::Operation::Add => ADD,
                    graph::Operation::Sub => SUB,
                    graph::Operation::Mul => MUL,
                };
                [operation, target.unwrap_or(NOWHERE), a.encode(), b.encode()]
            }
            Self::Output { index, value } => [OUTPUT, index, value.encode(), 0],
        }
    }

    fn reads(self, register: u32) -> bool {
        let of = Operand::Register(register);
        match self {
            Self::Compute { a, b, .. } => a == of || b == of,
            Self::Output { value, .. } => value == of,
        }
    }

    fn target(self) -> Option<u32> {
        match self {
            Self::Compute { target, .. } => target,
            Self::Output { .. } => None,
        }
    }
}

/// A straight-line program for one row.
#[derive(Debug)]
pub(crate) struct Program {
    instructions: Vec<Instruction>,
    /// The instructions of each piece.
    pieces: Vec<Range<usize>>,
    /// The nodes of its constants.
    constants: Vec<usize>,
    pub(crate) registers: usize,
    pub(crate) outputs: usize,
    /// Which of the kernel's columns the program reads.
    pub(crate) columns: Vec<usize>,
    /// Largest rotation of a cell.
    pub(crate) rotation: usize,
    /// The length of the interpreter's dispatches for it.
    pub(crate) pace: Pace,
    /// Its pieces, compiled.
    pub(crate) compiled: OnceLock<Result<Vec<Pipeline>, String>>,
}

/// Nodes without the constants' values, and which of them are outputs.
type Recorded = (Vec<Node<Cell>>, Vec<usize>);

/// Programs by their graphs, for any values of the constants: a proof runs the same few repeatedly.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    known: Mutex<HashMap<Recorded, Arc<Program>>>,
}

impl Programs {
    /// Records what `kernel` computes on a row, and its constants, for an adapter that takes up to `groups_max`
    /// workgroups in a dispatch. `None` when a column or a rotation does not fit in the encoding of an operand.
    pub(crate) fn record<K: RowKernel>(
        &self,
        kernel: &K,
        groups_max: u32,
    ) -> Option<(Arc<Program>, Vec<Fr>)> {
        let graph = Graph::record(kernel);
        let without_value = |node: &Node<Cell>| match *node {
            // 0 and 1 are known by value.
            Node::Constant(_, source) if source > 0 => Node::Constant(Fr::ZERO, source),
            other => other,
        };
        let key: Recorded =
            (graph.nodes().iter().map(without_value).collect(), graph.roots().to_vec());
        let mut known = self.known.lock();
        let program = match known.get(&key) {
            Some(program) => Arc::clone(program),
            None => {
                let program = Arc::new(Program::compile(&graph, groups_max)?);
                known.insert(key, Arc::clone(&program));
                program
            }
        };
        let constants = program.constants.iter().filter_map(|node| graph.constant(*node));
        let constants = constants.collect();
        Some((program, constants))
    }
}

fn reads(step: &Step) -> Vec<usize> {
    match *step {
        Step::Compute { a, b, .. } => vec![a, b],
        Step::Output { value, .. } => vec![value],
    }
}

/// The steps of each piece.
fn pieces(steps: &[Step]) -> Vec<Range<usize>> {
    let (mut pieces, mut start, mut work) = (Vec::new(), 0, 0);
    for (at, step) in steps.iter().enumerate() {
        let own = match step {
            Step::Compute { operation: graph::Operation::Mul, .. } => PRODUCT_WORK,
            Step::Compute { .. } => 1,
            Step::Output { .. } => 0,
        };
        if work + own > PIECE_WORK {
            pieces.push(start..at);
            (start, work) = (at, 0);
        }
        work += own;
    }
    if start < steps.len() {
        pieces.push(start..steps.len());
    }
    pieces
}

/// Which values pass from one step to the next.
struct Passing {
    /// The step that makes each value, and the last that reads it.
    made: Vec<Option<usize>>,
    last_read: Vec<Option<usize>>,
    /// Whether a step is the first of its piece.
    first: Vec<bool>,
}

impl Passing {
    fn new(steps: &[Step], values: usize, pieces: &[Range<usize>]) -> Self {
        let (mut made, mut last_read) = (vec![None; values], vec![None; values]);
        for (at, step) in steps.iter().enumerate() {
            reads(step).into_iter().for_each(|value| last_read[value] = Some(at));
            if let Step::Compute { target, .. } = *step {
                made[target] = Some(at);
            }
        }
        let mut first = vec![false; steps.len()];
        pieces.iter().for_each(|piece| first[piece.start] = true);
        Self { made, last_read, first }
    }

    /// Whether the step before step `at` made the value, in the same piece.
    fn is_last(&self, value: usize, at: usize) -> bool {
        at > 0 && !self.first[at] && self.made[value] == Some(at - 1)
    }

    /// Whether the value needs no register.
    fn only_passes(&self, value: usize) -> bool {
        self.made[value].is_some_and(|made| {
            self.last_read[value] == Some(made + 1) && self.is_last(value, made + 1)
        })
    }
}

impl Program {
    fn compile(graph: &Graph<Cell>, groups_max: u32) -> Option<Self> {
        let (steps, values) = schedule(graph);
        let pieces = pieces(&steps);
        let passing = Passing::new(&steps, values, &pieces);
        let kept = |value: &usize| !passing.only_passes(*value);
        let shared: Vec<slots::Step> = steps
            .iter()
            .map(|step| slots::Step {
                reads: reads(step).into_iter().filter(kept).collect(),
                makes: match *step {
                    Step::Compute { target, .. } => Some(target).filter(kept),
                    Step::Output { .. } => None,
                },
            })
            .collect();
        let registers = slots::share(values, &shared);

        let mut program = Self {
            instructions: Vec::with_capacity(steps.len()),
            pieces,
            constants: Vec::new(),
            registers: registers.count,
            outputs: graph.roots().len(),
            columns: Vec::new(),
            rotation: 0,
            pace: Pace::new(groups_max),
            compiled: OnceLock::new(),
        };
        let register = |value: usize| registers.of[value].map(|index| index as u32);
        let mut places: HashMap<usize, Operand> = HashMap::new();
        let mut place = |program: &mut Self, value: usize, at: usize| {
            if passing.is_last(value, at) {
                return Some(Operand::Last);
            }
            if let Some(index) = register(value) {
                return Some(Operand::Register(index));
            }
            if let Some(operand) = places.get(&value) {
                return Some(*operand);
            }
            let operand = program.place(value, graph.nodes().get(value)?)?;
            places.insert(value, operand);
            Some(operand)
        };
        for (at, step) in steps.iter().enumerate() {
            let instruction = match *step {
                Step::Output { index, value } => {
                    let value = place(&mut program, value, at)?;
                    Instruction::Output { index: index as u32, value }
                }
                Step::Compute { target, operation, a, b } => Instruction::Compute {
                    operation,
                    target: register(target),
                    a: place(&mut program, a, at)?,
                    b: place(&mut program, b, at)?,
                },
            };
            program.instructions.push(instruction);
        }
        Some(program)
    }

    /// Where a node is that is not computed.
    fn place(&mut self, id: usize, node: &Node<Cell>) -> Option<Operand> {
        match *node {
            Node::Constant(..) => {
                self.constants.push(id);
                Some(Operand::Constant(self.constants.len() as u32 - 1))
            }
            Node::Variable(Cell { column, rotation }) => {
                let known = self.columns.iter().position(|known| *known == column);
                let number = known.unwrap_or_else(|| {
                    self.columns.push(column);
                    self.columns.len() - 1
                });
                self.rotation = self.rotation.max(rotation);
                let [column, rotation] =
                    [number, rotation].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                let fits = column < COLUMNS_MAX && rotation < ROTATIONS_MAX;
                fits.then_some(Operand::Cell { column, rotation })
            }
            // Computed before it is used, by the order of the schedule.
            Node::Binary(..) => None,
        }
    }

    /// The program for the interpreter: four words for each instruction.
    pub(crate) fn code(&self) -> Vec<u32> {
        self.instructions.iter().flat_map(|instruction| instruction.encode()).collect()
    }

    /// The entry points of the pieces, which all have the same name, in WGSL.
    pub(crate) fn wgsl(&self) -> Vec<String> {
        self.pieces.iter().map(|piece| self.piece(piece.clone())).collect()
    }

    /// Whether an instruction of a later piece reads what instruction `at` puts into its register.
    fn is_read_later(&self, at: usize, register: u32, piece: &Range<usize>) -> bool {
        for (later, instruction) in self.instructions.iter().enumerate().skip(at + 1) {
            if instruction.reads(register) && later >= piece.end {
                return true;
            }
            if instruction.target() == Some(register) {
                return false;
            }
        }
        false
    }

    fn piece(&self, piece: Range<usize>) -> String {
        let mut text = Lines::default();
        for at in piece.clone() {
            match self.instructions[at] {
                Instruction::Output { index, value } => {
                    let value = text.operand(value);
                    text.line(format_args!("result(row, {index}u, {value});"));
                }
                Instruction::Compute { operation, target, a, b } => {
                    let (a, b) = (text.operand(a), text.operand(b));
                    let function = match operation {
                        graph::Operation::Add => "add",
                        graph::Operation::Sub => "sub",
                        graph::Operation::Mul => "mul",
                    };
                    let name = text.name(&format!("{function}({a}, {b})"));
                    let Some(register) = target else { continue };
                    if self.is_read_later(at, register, &piece) {
                        text.line(format_args!("hold(row, {register}u, {name});"));
                    }
                    text.known.insert(Operand::Register(register), name);
                }
            }
        }
        format!(
            "@compute @workgroup_size(WORKGROUP)\nfn {PIECE}(\n    @builtin(workgroup_id) workgroup: vec3<u32>,\n    \
             @builtin(local_invocation_index) local: u32,\n) {{\n    let row = thread_number(workgroup, local);\n    \
             if (row >= row_program_count()) {{\n        return;\n    }}\n{}}}\n",
            text.body
        )
    }
}

/// The entry point of a piece.
pub(crate) const PIECE: &str = "piece";

/// The lines of a piece as they are written.
#[derive(Default)]
struct Lines {
    body: String,
    /// The names of what is loaded or computed already.
    known: HashMap<Operand, String>,
    names: usize,
    last: String,
}

impl Lines {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into text cannot fail.
        let _ = writeln!(self.body, "    {text}");
    }

    /// Names the value of an expression.
    fn name(&mut self, expression: &str) -> String {
        let name = format!("x{}", self.names);
        self.names += 1;
        self.line(format_args!("let {name} = {expression};"));
        self.last.clone_from(&name);
        name
    }

    /// The name of an operand, which is loaded at its first use.
    fn operand(&mut self, operand: Operand) -> String {
        if let Some(name) = self.known.get(&operand) {
            return name.clone();
        }
        let expression = match operand {
            Operand::Last => return self.last.clone(),
            Operand::Register(index) => format!("held(row, {index}u)"),
            Operand::Constant(index) => format!("constant({index}u)"),
            Operand::Cell { column, rotation } => format!("cell(row, {column}u, {rotation}u)"),
        };
        // Loading a value does not change what the instruction before computed.
        let last = self.last.clone();
        let name = self.name(&expression);
        self.last = last;
        self.known.insert(operand, name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;
    use rollmill_algebra::conformance::{Random, numbers};
    use rollmill_algebra::device::{Expr, Row};

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
            let (a, b) = (row.cell(5, 0), row.cell(3, 2));
            let product = a.clone() * b.clone();
            out[0] = product.clone() + (b * a.clone()) + seven.clone() * E::constant(Fr::ONE);
            out[1] = (product - a.clone()).square();
            out[2] = a;
        }
    }

    fn recorded<K: RowKernel>(kernel: &K) -> (Arc<Program>, Vec<Fr>) {
        Programs::default().record(kernel, 65_535).unwrap()
    }

    #[test]
    fn terms_are_computed_once_and_columns_numbered_by_their_first_use() {
        let (program, constants) = recorded(&Sample);
        let count = |operation| program.code().chunks(4).filter(|it| it[0] == operation).count();
        assert_eq!([ADD, SUB, MUL, OUTPUT].map(count), [2, 1, 2, 3]);
        assert_eq!(constants, [Fr::from(7u64)]);
        assert_eq!((program.columns.clone(), program.rotation), (vec![5, 3], 2));
        // The product alone is read more than once.
        assert_eq!(program.registers, 1);
        let text = program.wgsl().concat();
        for line in ["let x0 = cell(row, 0u, 0u);", "result(row, 2u, x0);", "constant(0u)"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("hold("), "one piece needs no memory: {text}");
    }

    /// Goal: a program computes what its kernel does, and no piece needs what another has at hand. Method: random
    /// kernels; their code is executed word by word, on registers that are empty at first.
    #[test]
    fn a_program_has_the_values_of_its_kernel() {
        for seed in 0..24 {
            let random = Random { seed, shape: seed as u32, steps: 10 + 5 * seed as usize };
            let cells = numbers(seed, "cells", 12);
            let (program, constants) = recorded(&random);
            let mut registers = vec![None; program.registers];
            let mut outputs = vec![None; program.outputs];
            let mut last = None;
            for (at, words) in program.code().chunks(4).enumerate() {
                if program.pieces.iter().any(|piece| piece.start == at) {
                    last = None;
                }
                let value = |word: u32| -> Fr {
                    let index = (word & 0x3fff_ffff) as usize;
                    match word >> 30 {
                        CONSTANT => constants[index],
                        CELL => cells[4 * (index >> 16) + program.columns[index & 0xffff]],
                        LAST => last.expect("a value"),
                        _ => registers[index].expect("a value"),
                    }
                };
                let target = words[1] as usize;
                if words[0] == OUTPUT {
                    outputs[target] = Some(value(words[2]));
                    continue;
                }
                let (a, b) = (value(words[2]), value(words[3]));
                last = Some(match words[0] {
                    ADD => a + b,
                    SUB => a - b,
                    _ => a * b,
                });
                if words[1] != NOWHERE {
                    registers[target] = last;
                }
            }
            assert_eq!(outputs, random.over(&cells).map(Some), "seed {seed}");
        }
    }

    #[test]
    fn pieces_are_short_and_leave_nothing_out() {
        let random = Random { seed: 3, shape: 2, steps: 200 };
        let (program, _) = recorded(&random);
        let mut next = 0;
        for piece in &program.pieces {
            assert_eq!(piece.start, next);
            next = piece.end;
            let code = &program.code()[4 * piece.start..4 * piece.end];
            let products = code.chunks(4).filter(|it| it[0] == MUL).count() as u32;
            assert!(products * PRODUCT_WORK <= PIECE_WORK, "{products} products");
        }
        assert_eq!(next, program.instructions.len());
        assert!(program.pieces.len() > 3, "several pieces");
    }

    #[test]
    fn a_rotation_that_does_not_fit_in_an_operand_is_rejected() {
        struct Far;
        impl RowKernel for Far {
            type Constants<E: Expr> = ();
            fn constants<E: Expr>(&self) {}
            fn outputs(&self) -> usize {
                1
            }
            fn eval<E: Expr, R: Row<E>>(&self, (): &(), row: &R, out: &mut [E]) {
                out[0] = row.cell(0, 1 << 14);
            }
        }
        assert!(Programs::default().record(&Far, 65_535).is_none());
    }
}
