//! Row kernels on sixteen rows at a time.
//!
//! A kernel is recorded once and interpreted: what an instruction costs to fetch is little beside
//! sixteen products, and a recorded kernel loads each cell once and adds products before it reduces.
#![allow(unsafe_code)]
// Loops over limbs walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi64, _mm512_setzero_si512, _mm512_sub_epi64,
};

use ark_ff::{AdditiveGroup, Field};

use super::Ifma;
use super::field::{
    Columns, Eight, EightMemory, Factor, LANES, Modulus, R, accumulate, carry, factor,
    load_sixteen, multiple, products, raw_fr, reduce, reduce_columns, splat, split,
    split_limbs_times_16, store_sixteen,
};
use crate::Fr;
use crate::cpu::rows::cells;
use crate::cpu::rows::plan::{Constant, Limits, Operand, Plan, Range, Step};
use crate::graph::{Cell, Graph};

/// Rows that one step takes: two vectors, whose reductions hide each other's latency.
pub(in crate::cpu) const ROWS: usize = 2 * LANES;

/// Cells are loaded as 16 times arkworks' form; 2^260 is above 84p; a number just reduced is below `(1 + 2^−39)p`;
/// and each product adds at most ten halves below 2^52 to an accumulator of 63 bits.
pub(in crate::cpu) const LIMITS: Limits = Limits {
    register: 16,
    cell: 16,
    sum: 80,
    reduced: 2,
    products: 64,
    first_factors: u32::MAX,
    reduction: 2,
    radix_hundredths: 8400,
};

/// Sixteen field elements in this module's form.
type Sixteen = [EightMemory; 2];

/// A row kernel, ready to run.
#[derive(Debug)]
pub(in crate::cpu) struct Rows {
    /// The first factor of each product is a register.
    plan: Plan,
    constants: Vec<Factor>,
    ifma: Ifma,
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_cells(values: &[Fr; ROWS]) -> Sixteen {
    load_sixteen(values).map(|words| EightMemory::from_eight(split_limbs_times_16(words)))
}

/// Multiplying by 2^256 modulo r brings arkworks' form back.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_cells(value: &Sixteen, out: &mut [Fr; ROWS]) {
    let back = splat(&split(raw_fr(Fr::ONE)));
    store_sixteen(products::<R, 2>(&[value[0].load(), value[1].load()], &[back, back]), out);
}

/// `Σ products + Σ plus − Σ minus`, by the bounds of the plan.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sum(
    pairs: &[(Operand, Operand)],
    plus: &[Operand],
    minus: &[Operand],
    is_reduced: bool,
    registers: &[Sixteen],
    constants: &[Factor],
) -> Sixteen {
    let zero = _mm512_setzero_si512();
    let mut total = [[zero; 5]; 2];
    if !pairs.is_empty() {
        let mut columns: Columns<2> = [[zero; 10]; 2];
        for (a, b) in pairs {
            let (Ok(a) | Err(a)) = a.place();
            let a = &registers[a];
            match b.place() {
                Ok(b) => {
                    for k in 0..2 {
                        // SAFETY: this function has the target feature.
                        unsafe {
                            accumulate(&mut columns[k], &a[k].load(), &registers[b][k].load())
                        };
                    }
                }
                Err(b) => {
                    let b = splat(&constants[b]);
                    for k in 0..2 {
                        // SAFETY: this function has the target feature.
                        unsafe { accumulate(&mut columns[k], &a[k].load(), &b) };
                    }
                }
            }
        }
        // SAFETY: as above.
        total = unsafe { reduce_columns::<R, 2>(columns) };
    }
    let value = |operand: &Operand| match operand.place() {
        Ok(register) => [registers[register][0].load().0, registers[register][1].load().0],
        Err(constant) => [splat(&constants[constant]).0; 2],
    };
    for operand in plus {
        let value = value(operand);
        for k in 0..2 {
            for i in 0..5 {
                total[k][i] = _mm512_add_epi64(total[k][i], value[k][i]);
            }
        }
    }
    for operand in minus {
        let value = value(operand);
        for k in 0..2 {
            for i in 0..5 {
                total[k][i] = _mm512_sub_epi64(total[k][i], value[k][i]);
            }
        }
    }
    let finish = |limbs: [__m512i; 5]| -> EightMemory {
        let value: Eight = carry(limbs);
        EightMemory::from_eight(if is_reduced { reduce::<R>(value) } else { value })
    };
    [finish(total[0]), finish(total[1])]
}

/// How many rows ahead cells are fetched into the cache: there are more columns than the processor
/// follows by itself.
const AHEAD: usize = 2 * ROWS;

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn prefetch(column: &[Fr], start: usize) {
    let place: *const i8 = column.as_ptr().wrapping_add(start).cast();
    for line in 0..size_of::<[Fr; ROWS]>() / 64 {
        _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(64 * line));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn run(
    plan: &Plan,
    constants: &[Factor],
    columns: &[&[Fr]],
    row: usize,
    offset: usize,
    registers: &mut [Sixteen],
    outputs: &mut [&mut [Fr]],
) {
    for step in &plan.steps {
        match *step {
            Step::Load { target, column, rotation } => {
                let mut wrapped = [Fr::ZERO; ROWS];
                let start = row + rotation as usize;
                let column = columns[column as usize];
                if rotation == 0 {
                    prefetch(column, start + AHEAD);
                }
                let run = cells(column, start, &mut wrapped);
                registers[target as usize] = load_cells(run);
            }
            Step::Sum { target, products, plus, minus, bound } => {
                let summands = |range: Range| range.of(&plan.summands);
                registers[target as usize] = sum(
                    products.of(&plan.products),
                    summands(plus),
                    summands(minus),
                    bound > plan.limits.register,
                    registers,
                    constants,
                );
            }
            Step::Store { output, source } => {
                let part = &mut outputs[output as usize][offset..];
                let source = &registers[source as usize];
                match part.first_chunk_mut() {
                    Some(whole) => store_cells(source, whole),
                    None => {
                        // The lanes past the end took rows from the start again.
                        let mut last = [Fr::ZERO; ROWS];
                        store_cells(source, &mut last);
                        part.copy_from_slice(&last[..part.len()]);
                    }
                }
            }
        }
    }
}

impl Rows {
    pub(in crate::cpu) fn new(ifma: Ifma, graph: &Graph<Cell>) -> Self {
        let mut plan = Plan::new(graph, LIMITS);
        for (a, b) in &mut plan.products {
            if a.place().is_err() {
                std::mem::swap(a, b);
            }
        }
        let constants = plan.constants.iter().map(|constant| match constant {
            Constant::Value(value) => factor(*value, raw_fr),
            Constant::Multiple(k) => multiple(R::P, (*k).into()),
        });
        Self { constants: constants.collect(), plan, ifma }
    }

    /// Runs the kernel on the rows from `start` on, as many as each of `outputs` is long. The columns
    /// all have one length, and the rows are among theirs.
    pub(in crate::cpu) fn run(&self, columns: &[&[Fr]], start: usize, outputs: &mut [&mut [Fr]]) {
        let Self { plan, constants, ifma: Ifma(()) } = self;
        let len = outputs.first().map_or(0, |part| part.len());
        let mut registers = vec![[EightMemory::ZERO; 2]; plan.registers];
        for offset in (0..len).step_by(ROWS) {
            // SAFETY: the processor has the instructions, as the `Ifma` proves.
            unsafe {
                run(plan, constants, columns, start + offset, offset, &mut registers, outputs)
            };
        }
    }
}
