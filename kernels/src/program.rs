//! Row kernels as straight-line programs: their terms in order, in as few registers as their lives
//! allow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ark_ff::AdditiveGroup;
use rollmill_algebra::Fr;
use rollmill_algebra::device::RowKernel;
use rollmill_algebra::terms::{self, Term, Terms};
use sha2::{Digest, Sha256};

use crate::schedule::{Step, schedule};

/// Largest column number and rotation that fit in an operand.
const COLUMNS_MAX: u32 = 1 << 16;
const ROTATIONS_MAX: u32 = 1 << 14;

/// What an instruction does, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Add = 0,
    Sub = 1,
    Mul = 2,
    Square = 3,
    Output = 4,
}

impl Operation {
    fn of(operation: terms::Operation, is_square: bool) -> Self {
        match operation {
            terms::Operation::Add => Self::Add,
            terms::Operation::Sub => Self::Sub,
            terms::Operation::Mul if is_square => Self::Square,
            terms::Operation::Mul => Self::Mul,
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
    /// As the kernel reads it.
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
    pub(crate) instructions: Vec<Instruction>,
    /// The terms of its constants.
    pub(crate) constants: Vec<usize>,
    pub(crate) registers: u32,
    pub(crate) outputs: usize,
    /// One more than the largest column read.
    pub(crate) columns: usize,
}

/// Registers that come free are taken again, the lowest first.
#[derive(Debug, Default)]
struct Registers {
    free: Vec<u32>,
    count: u32,
}

impl Registers {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }
}

/// Terms without the constants' values, and which of them are outputs.
type Recorded = (Vec<Term>, Vec<usize>);

/// Programs by their terms, whatever the constants' values: a proof runs the same few again and again.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    known: Mutex<HashMap<Recorded, Arc<Program>>>,
}

impl Programs {
    /// Records what `kernel` does on a row, and its constants. `None` when it names a column or a
    /// rotation too far away.
    pub(crate) fn record<K: RowKernel>(&self, kernel: &K) -> Option<(Arc<Program>, Vec<Fr>)> {
        let recorded = Terms::record(kernel);
        let without_value = |term: &Term| match *term {
            // 0 and 1 are known by value.
            Term::Constant(_, source) if source > 0 => Term::Constant(Fr::ZERO, source),
            other => other,
        };
        let key = (recorded.list.iter().map(without_value).collect(), recorded.outputs.clone());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let program = match known.get(&key) {
            Some(program) => program.clone(),
            None => {
                let program = Arc::new(Program::compile(&recorded.list, &recorded.outputs)?);
                known.insert(key, program.clone());
                program
            }
        };
        let constants = program.constants.iter().filter_map(|term| recorded.constant(*term));
        let constants = constants.collect();
        Some((program, constants))
    }
}

impl Program {
    fn compile(terms: &[Term], roots: &[usize]) -> Option<Self> {
        let (steps, values) = schedule(terms, roots);
        let operands = |step: &Step| match *step {
            Step::Compute { a, b, .. } => [a, b],
            Step::Output { value, .. } => [value, value],
        };
        let mut last_use = vec![0; values];
        for (at, step) in steps.iter().enumerate() {
            operands(step).into_iter().for_each(|value| last_use[value] = at);
        }

        let mut program = Self {
            instructions: Vec::with_capacity(steps.len()),
            constants: Vec::new(),
            registers: 0,
            outputs: roots.len(),
            columns: 0,
        };
        let mut registers = Registers::default();
        let mut places: Vec<Option<Operand>> = vec![None; values];
        for (at, step) in steps.iter().enumerate() {
            let ids = operands(step);
            let mut found = [Operand::Constant(0); 2];
            for (slot, id) in found.iter_mut().zip(ids) {
                *slot = match places[id] {
                    Some(operand) => operand,
                    None => program.place(id, terms.get(id)?)?,
                };
                places[id] = Some(*slot);
            }
            for (i, id) in ids.into_iter().enumerate() {
                let again = i == 1 && ids[0] == id;
                if let (Operand::Register(register), true, false) =
                    (found[i], last_use[id] == at, again)
                {
                    registers.free.push(register);
                }
            }
            let (operation, target) = match *step {
                Step::Output { index, .. } => (Operation::Output, index as u32),
                Step::Compute { target, operation, a, b } => {
                    // Operands are read before the result is written, so one may give way to it.
                    let register = registers.take();
                    places[target] = Some(Operand::Register(register));
                    (Operation::of(operation, a == b), register)
                }
            };
            program.instructions.push(Instruction { operation, target, a: found[0], b: found[1] });
        }
        program.registers = registers.count;
        Some(program)
    }

    /// Where a term is that is not computed.
    fn place(&mut self, id: usize, term: &Term) -> Option<Operand> {
        match *term {
            Term::Constant(..) => {
                self.constants.push(id);
                Some(Operand::Constant(self.constants.len() as u32 - 1))
            }
            Term::Cell(column, rotation) => {
                let [column, rotation] =
                    [column, rotation].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                if column >= COLUMNS_MAX || rotation >= ROTATIONS_MAX {
                    return None;
                }
                self.columns = self.columns.max(column as usize + 1);
                Some(Operand::Cell { column, rotation })
            }
            // Computed before it is used, by the order of the schedule.
            Term::Binary(..) => None,
        }
    }
}

impl Program {
    /// Names what the program does, whatever its constants are.
    pub(crate) fn name(&self) -> String {
        let mut hasher = Sha256::new();
        for step in &self.instructions {
            let words = [step.operation as u32, step.target, step.a.encode(), step.b.encode()];
            words.iter().for_each(|word| hasher.update(word.to_le_bytes()));
        }
        let digest = hasher.finalize();
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("rows_{hex}")
    }

    /// The program as a CUDA kernel with parameters (columns, outputs, constants, n).
    pub(crate) fn to_cuda(&self) -> String {
        let mut rotations: Vec<u32> = self
            .instructions
            .iter()
            .flat_map(|step| [step.a, step.b])
            .filter_map(|operand| match operand {
                Operand::Cell { rotation, .. } => Some(rotation),
                _ => None,
            })
            .collect();
        rotations.sort_unstable();
        rotations.dedup();
        let mut text = format!(
            "RM_KERNEL(128) {}(const Fr* const* columns, Fr* const* outputs, const Fr* constants, u64 n) {{\n  \
             const u64 row = global_index();\n  if (row >= n) return;\n",
            self.name()
        );
        for rotation in rotations {
            text += &format!("  const u64 at{rotation} = (row + {rotation}) % n;\n");
        }
        if self.registers > 0 {
            let names: Vec<String> = (0..self.registers).map(|i| format!("r{i}")).collect();
            text += &format!("  Fr {};\n", names.join(", "));
        }
        let operand = |operand: Operand| match operand {
            Operand::Register(index) => format!("r{index}"),
            Operand::Constant(index) => format!("constants[{index}]"),
            Operand::Cell { column, rotation } => format!("columns[{column}][at{rotation}]"),
        };
        for step in &self.instructions {
            let (target, a, b) = (step.target, operand(step.a), operand(step.b));
            text += &match step.operation {
                Operation::Add => format!("  r{target} = add({a}, {b});\n"),
                Operation::Sub => format!("  r{target} = sub({a}, {b});\n"),
                Operation::Mul => format!("  r{target} = row_mul({a}, {b});\n"),
                Operation::Square => format!("  r{target} = row_mul({a}, {a});\n"),
                Operation::Output => format!("  outputs[{target}][row] = {a};\n"),
            };
        }
        text + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;
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
        let name = |kernel| programs.record(&kernel).unwrap().0.name();
        assert_eq!(name(Scaled(3, false)), name(Scaled(5, false)));
        assert_ne!(name(Scaled(3, false)), name(Scaled(3, true)));
        assert_ne!(name(Scaled(3, false)), name(Scaled(1, false)), "a factor of 1 is dropped");
        let (program, constants) = programs.record(&Scaled(5, true)).unwrap();
        assert_eq!(constants, [Fr::from(5u64)], "of this kernel, not of the first like it");
        let text = program.to_cuda();
        assert!(text.contains("r0 = row_mul(columns[0][at1], constants[0]);"), "{text}");
        assert!(text.contains("r0 = sub(r0, columns[0][at1]);"), "{text}");
    }

    #[test]
    fn a_column_without_room_in_an_operand_is_refused() {
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
