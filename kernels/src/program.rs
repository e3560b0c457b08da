//! Row kernels as straight-line programs: their terms in order, in as few registers as their lives
//! allow.

use rollmill_algebra::Fr;
use rollmill_algebra::device::RowKernel;
use rollmill_algebra::terms::{self, Term, Terms};
use sha2::{Digest, Sha256};

/// Largest column number and rotation that an operand has room for.
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
    pub(crate) constants: Vec<Fr>,
    pub(crate) registers: u32,
    pub(crate) outputs: usize,
    /// One more than the largest column read.
    pub(crate) columns: usize,
}

/// The order of a program's terms.
struct Schedule<'a> {
    terms: &'a [Term],
    /// Registers that the term takes to compute.
    needs: Vec<u32>,
    done: Vec<bool>,
}

impl<'a> Schedule<'a> {
    fn new(terms: &'a [Term]) -> Self {
        let mut needs: Vec<u32> = Vec::with_capacity(terms.len());
        for term in terms {
            needs.push(match *term {
                Term::Binary(_, a, b) if needs[a] == needs[b] => needs[a] + 1,
                Term::Binary(_, a, b) => needs[a].max(needs[b]),
                _ => 0,
            });
        }
        Self { terms, needs, done: vec![false; terms.len()] }
    }

    /// What is to be computed for `root`, in order: operands first, the one that needs more registers
    /// before the other (Sethi and Ullman 1970).
    fn add(&mut self, root: usize, order: &mut Vec<usize>) {
        if self.done[root] {
            return;
        }
        self.done[root] = true;
        if let Term::Binary(_, a, b) = self.terms[root] {
            let (first, second) = if self.needs[a] >= self.needs[b] { (a, b) } else { (b, a) };
            self.add(first, order);
            self.add(second, order);
            order.push(root);
        }
    }
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

impl Program {
    /// Records what `kernel` does on a row. `None` when it names a column or a rotation too far away.
    pub(crate) fn record<K: RowKernel>(kernel: &K) -> Option<Self> {
        let Terms { list, outputs, .. } = Terms::record(kernel);
        Self::compile(&list, &outputs)
    }

    fn compile(terms: &[Term], roots: &[usize]) -> Option<Self> {
        let mut schedule = Schedule::new(terms);
        let mut steps: Vec<(Option<usize>, usize)> = Vec::new();
        for (output, root) in roots.iter().enumerate() {
            let mut order = Vec::new();
            schedule.add(*root, &mut order);
            steps.extend(order.into_iter().map(|id| (None, id)));
            steps.push((Some(output), *root));
        }
        let operands = |(output, id): (Option<usize>, usize)| match terms[id] {
            Term::Binary(_, a, b) if output.is_none() => [a, b],
            _ => [id, id],
        };
        let mut last_use = vec![0; terms.len()];
        for (at, step) in steps.iter().enumerate() {
            operands(*step).into_iter().for_each(|id| last_use[id] = at);
        }

        let mut program = Self {
            instructions: Vec::with_capacity(steps.len()),
            constants: Vec::new(),
            registers: 0,
            outputs: roots.len(),
            columns: 0,
        };
        let mut registers = Registers::default();
        let mut places: Vec<Option<Operand>> = vec![None; terms.len()];
        for (at, step) in steps.into_iter().enumerate() {
            let ids = operands(step);
            let mut found = [Operand::Constant(0); 2];
            for (slot, id) in found.iter_mut().zip(ids) {
                *slot = program.place(terms[id], &mut places[id])?;
            }
            for (i, id) in ids.into_iter().enumerate() {
                let again = i == 1 && ids[0] == id;
                if let (Operand::Register(register), true, false) =
                    (found[i], last_use[id] == at, again)
                {
                    registers.free.push(register);
                }
            }
            let (operation, target) = match (step.0, terms[step.1]) {
                (Some(output), _) => (Operation::Output, output as u32),
                (None, Term::Binary(operation, a, b)) => {
                    // Operands are read before the result is written, so one may give way to it.
                    let register = registers.take();
                    places[step.1] = Some(Operand::Register(register));
                    (Operation::of(operation, a == b), register)
                }
                (None, _) => continue,
            };
            program.instructions.push(Instruction { operation, target, a: found[0], b: found[1] });
        }
        program.registers = registers.count;
        Some(program)
    }

    fn place(&mut self, term: Term, place: &mut Option<Operand>) -> Option<Operand> {
        if let Some(operand) = *place {
            return Some(operand);
        }
        let operand = match term {
            Term::Constant(value, _) => {
                self.constants.push(value);
                Operand::Constant(self.constants.len() as u32 - 1)
            }
            Term::Cell(column, rotation) => {
                let [column, rotation] =
                    [column, rotation].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                if column >= COLUMNS_MAX || rotation >= ROTATIONS_MAX {
                    return None;
                }
                self.columns = self.columns.max(column as usize + 1);
                Operand::Cell { column, rotation }
            }
            // Computed before it is used, by the order of the schedule.
            Term::Binary(..) => return None,
        };
        *place = Some(operand);
        Some(operand)
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
        let program = Program::record(&Sample).unwrap();
        let count = |operation| {
            program.instructions.iter().filter(|step| step.operation == operation).count()
        };
        assert_eq!(count(Operation::Mul), 1);
        assert_eq!(count(Operation::Square), 1);
        assert_eq!(count(Operation::Add), 2);
        assert_eq!(count(Operation::Output), 3);
        assert_eq!(program.constants, [Fr::from(7u64)]);
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
        let name = |kernel| Program::record(&kernel).unwrap().name();
        assert_eq!(name(Scaled(3, false)), name(Scaled(5, false)));
        assert_ne!(name(Scaled(3, false)), name(Scaled(3, true)));
        assert_ne!(name(Scaled(3, false)), name(Scaled(1, false)), "a factor of 1 is dropped");
        let text = Program::record(&Scaled(3, true)).unwrap().to_cuda();
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
        assert!(Program::record(&Far).is_none());
    }
}
