//! Row kernels on sixteen rows at a time, four to a vector.
//!
//! The interpreter is that of [`crate::cpu::rows`], its twin, with other limits.
#![allow(unsafe_code)]
// Closures in adapters would be compiled without the instructions.
#![allow(clippy::needless_range_loop)]

use ark_bn254::FrConfig as R;
use ark_ff::AdditiveGroup;

use super::Avx2;
use super::field::{
    Four, LANES, Limbs, PRODUCTS_MAX, SUM_MAX, biased, carry, export, import, minus, multiple,
    plus, reduce, splat, split, sum_of_products, zero,
};
use crate::Fr;
use crate::cpu::rows::plan::{Constant, Limits, Operand, Plan, Range, Step};
use crate::cpu::rows::{ROWS, cells};
use crate::cpu::words::element;
use crate::graph::{Cell, Graph};

const VECTORS: usize = ROWS / LANES;

/// A cell is shifted to this form, which makes 32p of p. Six products of cells come to `1 + 6 · 32² / 169`, below 38p.
pub(in crate::cpu) const LIMITS: Limits = Limits {
    register: 32,
    cell: 32,
    sum: SUM_MAX,
    reduced: 2,
    products: PRODUCTS_MAX,
    first_factors: u32::MAX,
    reduction: 1,
    radix_hundredths: 16_900,
};

/// A number of each row.
type Register = [Four; VECTORS];

/// A row kernel, ready to run.
#[derive(Debug)]
pub(in crate::cpu) struct Rows {
    plan: Plan,
    constants: Vec<Limbs>,
    avx2: Avx2,
}

impl Rows {
    pub(in crate::cpu) fn new(avx2: Avx2, graph: &Graph<Cell>) -> Self {
        let plan = Plan::new(graph, LIMITS);
        // A value in arkworks' form times 2^5 is in this form, and below p once it is reduced.
        let to_form = Fr::from(32u64);
        let constants = plan.constants.iter().map(|constant| match constant {
            Constant::Value(value) => split((*value * to_form).0.0),
            Constant::Multiple(k) => multiple::<R>(*k),
        });
        Self { constants: constants.collect(), plan, avx2 }
    }

    /// Runs the kernel on the rows from `start` on, as many as each of `outputs` is long. The columns all have one
    /// length, and the rows are among theirs.
    pub(in crate::cpu) fn run(&self, columns: &[&[Fr]], start: usize, outputs: &mut [&mut [Fr]]) {
        let Avx2(()) = self.avx2;
        // SAFETY: the processor has the instructions, as the `Avx2` proves.
        unsafe { self.run_here(columns, start, outputs) };
    }

    #[target_feature(enable = "avx2")]
    fn run_here(&self, columns: &[&[Fr]], start: usize, outputs: &mut [&mut [Fr]]) {
        let len = outputs.first().map_or(0, |part| part.len());
        let mut constants = Vec::with_capacity(self.constants.len());
        for limbs in &self.constants {
            constants.push(splat(limbs));
        }
        let mut registers: Vec<Register> = vec![[Four(zero()); VECTORS]; self.plan.registers];
        for offset in (0..len).step_by(ROWS) {
            for step in &self.plan.steps {
                match *step {
                    Step::Load { target, column, rotation } => {
                        let mut wrapped = [Fr::ZERO; ROWS];
                        let row = start + offset + rotation as usize;
                        let cells = cells(columns[column as usize], row, &mut wrapped);
                        load(cells, &mut registers[target as usize]);
                    }
                    Step::Sum { target, products, plus, minus, bound } => {
                        // A register may take the place of an operand, whose vector is read before it is written.
                        for vector in 0..VECTORS {
                            let numbers =
                                Numbers { registers: &registers, constants: &constants, vector };
                            let sum = self.sum(numbers, [plus, minus], products, bound);
                            registers[target as usize][vector] = sum;
                        }
                    }
                    Step::Store { output, source } => {
                        // The rows past the end took cells from the start again.
                        let part = &mut outputs[output as usize][offset..];
                        store(&registers[source as usize], part);
                    }
                }
            }
        }
    }

    /// `Σ pairs + Σ plus − Σ minus`, by the bounds of the plan.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum(
        &self,
        numbers: Numbers<'_>,
        [add, subtract]: [Range; 2],
        pairs: Range,
        bound: u32,
    ) -> Four {
        let pair = |(a, b): (Operand, Operand)| [numbers.of(a), numbers.of(b)];
        let mut sum = match *pairs.of(&self.plan.products) {
            [] => zero(),
            [a] => sum_of_products::<R, 1>([pair(a)]),
            [a, b] => sum_of_products::<R, 2>([pair(a), pair(b)]),
            [a, b, c] => sum_of_products::<R, 3>([pair(a), pair(b), pair(c)]),
            [a, b, c, d] => sum_of_products::<R, 4>([pair(a), pair(b), pair(c), pair(d)]),
            [a, b, c, d, e] => {
                sum_of_products::<R, 5>([pair(a), pair(b), pair(c), pair(d), pair(e)])
            }
            [a, b, c, d, e, f] => {
                sum_of_products::<R, 6>([pair(a), pair(b), pair(c), pair(d), pair(e), pair(f)])
            }
            _ => unreachable!("a sum has at most six products, by the limits"),
        };
        for operand in add.of(&self.plan.summands) {
            plus(&mut sum, numbers.of(*operand));
        }
        let subtract = subtract.of(&self.plan.summands);
        for operand in subtract {
            minus(&mut sum, numbers.of(*operand));
        }
        let sum = carry(if subtract.is_empty() { sum } else { biased(sum) });
        if bound > LIMITS.register { reduce::<R>(sum) } else { sum }
    }
}

/// What operands name, in one vector of rows.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    registers: &'a [Register],
    constants: &'a [Four],
    vector: usize,
}

impl<'a> Numbers<'a> {
    #[inline(always)]
    fn of(self, operand: Operand) -> &'a Four {
        match operand.place() {
            Ok(register) => &self.registers[register][self.vector],
            Err(constant) => &self.constants[constant],
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(cells: &[Fr; ROWS], register: &mut Register) {
    for vector in 0..VECTORS {
        let at = vector * LANES;
        let numbers = [&cells[at].0.0, &cells[at + 1].0.0, &cells[at + 2].0.0, &cells[at + 3].0.0];
        register[vector] = import(numbers);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(register: &Register, part: &mut [Fr]) {
    for (vector, slots) in register.iter().zip(part.chunks_mut(LANES)) {
        for (slot, words) in slots.iter_mut().zip(export::<R>(vector)) {
            *slot = element::<R>(words);
        }
    }
}
