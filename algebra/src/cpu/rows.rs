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

/// Words hold numbers below 5.28p, and first factors that come to at most 4p; see [`Products::dot`]. Products of
/// registers whose first factors come to 4p are below `1 + 8 / 5.28`, rounded up to 3p.
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
                        // A row at a time would leave the processor waiting for carries. A register may take the
                        // place of an operand, whose rows are read before they are written.
                        for row in (0..ROWS).step_by(2) {
                            let sums =
                                self.sum(products, &registers, row, [plus, minus], pairs, bound);
                            let target = &mut registers[target as usize];
                            [target[row], target[row + 1]] = sums;
                        }
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

    /// `Σ pairs + Σ plus − Σ minus` of a row and the next, by the bounds of the plan.
    #[inline(always)]
    fn sum<P: Products>(
        &self,
        products: P,
        registers: &[Register],
        row: usize,
        [plus, minus]: [Range; 2],
        pairs: Range,
        bound: u32,
    ) -> [Words; 2] {
        let number = |operand: Operand, row: usize| match operand.place() {
            Ok(register) => &registers[register][row],
            Err(constant) => &self.constants[constant],
        };
        let both = |operand: Operand| [number(operand, row), number(operand, row + 1)];
        let pair = |(a, b): (Operand, Operand), row: usize| [number(a, row), number(b, row)];
        let rows = [row, row + 1];
        let mut sums = match *pairs.of(&self.plan.products) {
            [] => [[0; 4]; 2],
            [(a, b)] if a == b => both(a).map(|number| products.square::<R>(number)),
            [(a, b)] => products.mul_two::<R>(both(a), both(b)),
            [a, b] => rows.map(|row| products.dot::<R>(pair(a, row), pair(b, row))),
            _ => unreachable!("a sum has at most two products, by the limits"),
        };
        for operand in plus.of(&self.plan.summands) {
            for (sum, number) in sums.iter_mut().zip(both(*operand)) {
                *sum = add(sum, number);
            }
        }
        for operand in minus.of(&self.plan.summands) {
            for (sum, number) in sums.iter_mut().zip(both(*operand)) {
                let (rest, borrow) = difference(sum, number);
                assert_bound!(!borrow, "a sum falls below zero");
                *sum = rest;
            }
        }
        if bound > LIMITS.register {
            // At most 5, then 4, then 2.
            for sum in &mut sums {
                if bound > 4 {
                    *sum = products.less::<R, 4>(sum);
                }
                *sum = products.less::<R, 2>(sum);
            }
        }
        sums
    }
}
