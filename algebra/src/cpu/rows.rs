//! Row kernels on sixteen rows at a time, in words.
//!
//! A kernel is recorded once and interpreted. What a step costs to fetch is little beside sixteen products, and
//! a recorded kernel computes repeated terms once and adds two products before it reduces.

pub(in crate::cpu) mod plan;

use ark_bn254::FrConfig as R;
use ark_ff::{AdditiveGroup, PrimeField};

use self::plan::{Constant, Limits, Operand, Plan, Range, Step};
use super::words::{
    Products, Scalar, Words, add, assert_bound, difference, element, multiple, with_products,
};
use crate::Fr;
use crate::graph::{Cell, Graph};

/// Rows that one step takes.
pub(in crate::cpu) const ROWS: usize = 16;

/// Words hold numbers below 5.28p, and first factors that come to 4p; see [`Products::dot`]. A product or two of
/// registers are below `1 + 8 / 5.28`, rounded up to 3p.
pub(in crate::cpu) const LIMITS: Limits = Limits {
    register: 2,
    cell: 1,
    sum: 5,
    reduced: 2,
    products: 2,
    first_factors: 4,
    reduction: 1,
    radix_hundredths: 528,
};

/// A number of each row.
type Register = [Words; ROWS];

/// A row kernel, ready to run.
#[derive(Debug)]
pub(in crate::cpu) struct Rows {
    plan: Plan,
    constants: Vec<Words>,
}

/// The cells of `N` rows from `start` on, wrapping around.
#[inline]
pub(in crate::cpu) fn cells<'a, const N: usize>(
    column: &'a [Fr],
    start: usize,
    wrapped: &'a mut [Fr; N],
) -> &'a [Fr; N] {
    match column.get(start..).and_then(<[_]>::first_chunk) {
        Some(run) => run,
        None => {
            for (lane, value) in wrapped.iter_mut().enumerate() {
                *value = column[(start + lane) % column.len()];
            }
            wrapped
        }
    }
}

impl Rows {
    pub(in crate::cpu) fn new(graph: &Graph<Cell>) -> Self {
        let plan = Plan::new(graph, LIMITS);
        let constants = plan.constants.iter().map(|constant| match constant {
            Constant::Value(value) => value.0.0,
            Constant::Multiple(k) => multiple(Fr::MODULUS.0, *k as usize),
        });
        Self { constants: constants.collect(), plan }
    }

    /// Runs the kernel on the rows from `start` on, as many as each of `outputs` is long. The columns
    /// all have one length, and the rows are among theirs.
    ///
    /// It takes no type of the kernel, so this crate compiles the interpreter once, with its own settings: a caller's
    /// crate may be compiled without optimisation.
    pub(in crate::cpu) fn run(
        &self,
        scalar: Scalar,
        columns: &[&[Fr]],
        start: usize,
        outputs: &mut [&mut [Fr]],
    ) {
        with_products!(scalar, products => self.run_with(products, columns, start, outputs));
    }

    fn run_with<P: Products>(
        &self,
        products: P,
        columns: &[&[Fr]],
        start: usize,
        outputs: &mut [&mut [Fr]],
    ) {
        let len = outputs.first().map_or(0, |part| part.len());
        let mut registers = vec![[[0; 4]; ROWS]; self.plan.registers];
        for offset in (0..len).step_by(ROWS) {
            for step in &self.plan.steps {
                match *step {
                    Step::Load { target, column, rotation } => {
                        let mut wrapped = [Fr::ZERO; ROWS];
                        let row = start + offset + rotation as usize;
                        let cells = cells(columns[column as usize], row, &mut wrapped);
                        registers[target as usize] = cells.map(|cell| cell.0.0);
                    }
                    Step::Sum { target, products: pairs, plus, minus, bound } => {
                        let sum = self.sum(products, &registers, [plus, minus], pairs, bound);
                        registers[target as usize] = sum;
                    }
                    Step::Store { output, source } => {
                        let part = &mut outputs[output as usize][offset..];
                        // The rows past the end took cells from the start again. A register is below 2.
                        for (slot, number) in part.iter_mut().zip(&registers[source as usize]) {
                            *slot = element::<R>(products.less::<R, 1>(number));
                        }
                    }
                }
            }
        }
    }

    /// `Σ pairs + Σ plus − Σ minus`, by the bounds of the plan.
    #[inline(always)]
    fn sum<P: Products>(
        &self,
        products: P,
        registers: &[Register],
        [plus, minus]: [Range; 2],
        pairs: Range,
        bound: u32,
    ) -> Register {
        let number = |operand: Operand, row: usize| match operand.place() {
            Ok(register) => &registers[register][row],
            Err(constant) => &self.constants[constant],
        };
        let mut sum = [[0; 4]; ROWS];
        match *pairs.of(&self.plan.products) {
            [] => {}
            [(a, b)] if a == b => {
                for (row, slot) in sum.iter_mut().enumerate() {
                    *slot = products.square::<R>(number(a, row));
                }
            }
            [(a, b)] => {
                for (row, slot) in sum.iter_mut().enumerate() {
                    *slot = products.mul::<R>(number(a, row), number(b, row));
                }
            }
            [first, second] => {
                for (row, slot) in sum.iter_mut().enumerate() {
                    let pair = |(a, b)| [number(a, row), number(b, row)];
                    *slot = products.dot::<R>(pair(first), pair(second));
                }
            }
            _ => unreachable!("a sum has at most two products, by the limits"),
        }
        for operand in plus.of(&self.plan.summands) {
            for (row, slot) in sum.iter_mut().enumerate() {
                *slot = add(slot, number(*operand, row));
            }
        }
        for operand in minus.of(&self.plan.summands) {
            for (row, slot) in sum.iter_mut().enumerate() {
                let (rest, borrow) = difference(slot, number(*operand, row));
                assert_bound!(!borrow, "a sum falls below zero");
                *slot = rest;
            }
        }
        if bound > LIMITS.register {
            // Below 5, then below 4, then below 2.
            for slot in &mut sum {
                if bound > 4 {
                    *slot = products.less::<R, 4>(slot);
                }
                *slot = products.less::<R, 2>(slot);
            }
        }
        sum
    }
}
