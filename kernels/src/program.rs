//! Row kernels as straight-line programs: the nodes of their graphs in order, in as few registers as
//! their lifetimes allow.

use std::collections::HashMap;
use std::sync::Arc;

use ark_ff::AdditiveGroup;
use parking_lot::Mutex;
use rollmill_algebra::Fr;
use rollmill_algebra::device::RowKernel;
use rollmill_algebra::graph::schedule::{Step, schedule};
use rollmill_algebra::graph::{self, Cell, Graph, Node, NodeMap, slots};
use sha2::{Digest, Sha256};

/// Largest column number and rotation that fit in an operand.
const COLUMNS_MAX: u32 = 1 << 16;
const ROTATIONS_MAX: u32 = 1 << 14;

/// The operation of an instruction, with the kernel's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Add = 0,
    Sub = 1,
    Mul = 2,
    Square = 3,
    Output = 4,
}

impl Operation {
    fn of(operation: graph::Operation, is_square: bool) -> Self {
        match operation {
            graph::Operation::Add => Self::Add,
            graph::Operation::Sub => Self::Sub,
            graph::Operation::Mul if is_square => Self::Square,
            graph::Operation::Mul => Self::Mul,
        }
    }
}

/// Where an instruction finds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Register(u32),
    Constant(u32),
    Cell { column: u32, rotation: u32 },
}

impl Operand {
    /// Encodes it for the kernel.
    pub(crate) fn encode(self) -> u32 {
        match self {
            Self::Register(index) => index,
            Self::Constant(index) => 1 << 30 | index,
            Self::Cell { column, rotation } => 2 << 30 | rotation << 16 | column,
        }
    }
}

/// `target` is a register, or an output for [`Operation::Output`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) operation: Operation,
    pub(crate) target: u32,
    pub(crate) a: Operand,
    pub(crate) b: Operand,
}

/// A straight-line program for one row.
#[derive(Debug)]
pub(crate) struct Program {
    /// Identifies the program, whatever the values of its constants.
    pub(crate) name: String,
    pub(crate) instructions: Vec<Instruction>,
    /// The nodes of its constants.
    pub(crate) constants: Vec<usize>,
    pub(crate) registers: u32,
    pub(crate) outputs: usize,
    /// One more than the largest column read.
    pub(crate) columns: usize,
}

/// Nodes without the constants' values, and which of them are outputs.
type Recorded = (Vec<Node<Cell>>, Vec<usize>);

/// Programs by their graphs, for any values of the constants: a proof runs the same few repeatedly.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    known: Mutex<NodeMap<Recorded, Arc<Program>>>,
}

impl Programs {
    /// Records what `kernel` computes on a row, and its constants. `None` when a column or a rotation
    /// does not fit in the encoding of an operand.
    pub(crate) fn record<K: RowKernel>(&self, kernel: &K) -> Option<(Arc<Program>, Vec<Fr>)> {
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
            Some(program) => program.clone(),
            None => {
                let program = Arc::new(Program::compile(&graph)?);
                known.insert(key, program.clone());
                program
            }
        };
        let constants = program.constants.iter().filter_map(|node| graph.constant(*node));
        let constants = constants.collect();
        Some((program, constants))
    }
}

impl Program {
    fn compile(graph: &Graph<Cell>) -> Option<Self> {
        let (steps, values) = schedule(graph);
        let shared: Vec<slots::Step> = steps
            .iter()
            .map(|step| match *step {
                Step::Compute { target, a, b, .. } => {
                    slots::Step { reads: vec![a, b], makes: Some(target) }
                }
                Step::Output { value, .. } => slots::Step { reads: vec![value], makes: None },
            })
            .collect();
        let registers = slots::share(values, &shared);

        let mut program = Self {
            name: String::new(),
            instructions: Vec::with_capacity(steps.len()),
            constants: Vec::new(),
            registers: registers.count as u32,
            outputs: graph.roots().len(),
            columns: 0,
        };
        let register = |value: usize| registers.of[value].map(|index| index as u32);
        let mut places: HashMap<usize, Operand> = HashMap::new();
        let mut place = |program: &mut Self, value: usize| {
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
        for step in steps {
            let instruction = match step {
                Step::Output { index, value } => {
                    let a = place(&mut program, value)?;
                    Instruction { operation: Operation::Output, target: index as u32, a, b: a }
                }
                Step::Compute { target, operation, a, b } => Instruction {
                    operation: Operation::of(operation, a == b),
                    target: register(target)?,
                    a: place(&mut program, a)?,
                    b: place(&mut program, b)?,
                },
            };
            program.instructions.push(instruction);
        }
        program.name = name_of(&program.instructions);
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
                let [column, rotation] =
                    [column, rotation].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                if column >= COLUMNS_MAX || rotation >= ROTATIONS_MAX {
                    return None;
                }
                self.columns = self.columns.max(column as usize + 1);
                Some(Operand::Cell { column, rotation })
            }
            // Computed before it is used, by the order of the schedule.
            Node::Binary(..) => None,
        }
    }
}

/// A digest of what a program does, which names its kernel.
fn name_of(instructions: &[Instruction]) -> String {
    let mut hasher = Sha256::new();
    for step in instructions {
        let words = [step.operation as u32, step.target, step.a.encode(), step.b.encode()];
        words.iter().for_each(|word| hasher.update(word.to_le_bytes()));
    }
    let digest = hasher.finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("rows_{hex}")
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
            let (a, b) = (row.cell(0, 0), row.cell(1, 2));
            let product = a.clone() * b.clone();
            out[0] = product.clone() + (b * a.clone()) + seven.clone() * E::constant(Fr::ONE);
            out[1] = (product.clone() - a.clone()).square();
            out[2] = a;
        }
    }

    #[test]
    fn terms_are_computed_once_in_few_registers() {
        let (program, constants) = Programs::default().record(&Sample).unwrap();
        let count = |operation| {
            program.instructions.iter().filter(|step| step.operation == operation).count()
        };
        assert_eq!(count(Operation::Mul), 1);
        assert_eq!(count(Operation::Square), 1);
        assert_eq!(count(Operation::Add), 2);
        assert_eq!(count(Operation::Output), 3);
        assert_eq!(constants, [Fr::from(7u64)]);
        assert_eq!(program.columns, 2);
        assert_eq!(program.registers, 2);
    }

    #[test]
    fn a_program_is_named_by_what_it_does_and_not_by_its_constants() {
        struct Scaled(u64, bool);
        impl RowKernel for Scaled {
            type Constants<E: Expr> = E;
            fn constants<E: Expr>(&self) -> E {
                E::constant(Fr::from(self.0))
            }
            fn outputs(&self) -> usize {
                1
            }
            fn eval<E: Expr, R: Row<E>>(&self, factor: &E, row: &R, out: &mut [E]) {
                let cell = row.cell(0, 1);
                let product = cell.clone() * factor.clone();
                out[0] = if self.1 { product - cell } else { product + cell };
            }
        }
        let programs = Programs::default();
        let name = |kernel| programs.record(&kernel).unwrap().0.name.clone();
        assert_eq!(name(Scaled(3, false)), name(Scaled(5, false)));
        assert_ne!(name(Scaled(3, false)), name(Scaled(3, true)));
        assert_ne!(name(Scaled(3, false)), name(Scaled(1, false)), "a factor of 1 is dropped");
        let (program, constants) = programs.record(&Scaled(5, true)).unwrap();
        assert_eq!(constants, [Fr::from(5u64)], "of this kernel, not of the first like it");
        let text = program.to_cuda();
        assert!(text.contains("r0 = row_mul(r0, constants[0]);"), "{text}");
        assert!(text.contains("r0 = sub(r0, columns[0][at1]);"), "{text}");
    }

    /// Goal: a program computes what its kernel does. Method: random kernels; the program's instructions are
    /// executed one by one on registers that are empty at first.
    #[test]
    fn a_program_has_the_values_of_its_kernel() {
        for seed in 0..24 {
            let random = Random { seed, shape: seed as u32, steps: 10 + 5 * seed as usize };
            let cells = numbers(seed, "cells", 12);
            let (program, constants) = Programs::default().record(&random).unwrap();
            let mut registers = vec![None; program.registers as usize];
            let mut outputs = vec![None; program.outputs];
            for step in &program.instructions {
                let value = |operand| match operand {
                    Operand::Register(index) => registers[index as usize].expect("a value"),
                    Operand::Constant(index) => constants[index as usize],
                    Operand::Cell { column, rotation } => cells[(4 * rotation + column) as usize],
                };
                let (a, b): (Fr, Fr) = (value(step.a), value(step.b));
                let target = step.target as usize;
                match step.operation {
                    Operation::Add => registers[target] = Some(a + b),
                    Operation::Sub => registers[target] = Some(a - b),
                    Operation::Mul => registers[target] = Some(a * b),
                    Operation::Square => registers[target] = Some(a * a),
                    Operation::Output => outputs[target] = Some(a),
                }
            }
            assert_eq!(outputs, random.over(&cells).map(Some), "seed {seed}");
        }
    }

    #[test]
    fn a_column_that_does_not_fit_in_an_operand_is_rejected() {
        struct Far;
        impl RowKernel for Far {
            type Constants<E: Expr> = ();
            fn constants<E: Expr>(&self) {}
            fn outputs(&self) -> usize {
                1
            }
            fn eval<E: Expr, R: Row<E>>(&self, (): &(), row: &R, out: &mut [E]) {
                out[0] = row.cell(1 << 16, 0);
            }
        }
        assert!(Programs::default().record(&Far).is_none());
    }
}
