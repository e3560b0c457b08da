//! Row kernels on sixteen rows at a time.
#![allow(unsafe_code)]

use std::ops::{Add, Mul, Sub};

use super::Ifma;
use super::field::{
    EightMemory, LANES, R, add, canonical, factor, join_limbs, load_run, products, raw_fr, reduce,
    splat, split, split_limbs_times_16, store_run, sub,
};
use crate::Fr;
use crate::device::{Expr, Row, RowKernel};
use ark_ff::{AdditiveGroup, Field};

/// Rows that one step takes: two vectors, whose products hide each other's latency.
pub(in crate::cpu) const ROWS: usize = 2 * LANES;

/// Sixteen field elements in this module's form, below 2r.
///
/// The operations are calls, not inlined: a gate of a hundred products would not fit the instruction
/// cache otherwise, and the kernels that use them are compiled without the instructions.
///
/// Invariant: a value exists only where the processor has the instructions, since it comes from
/// [`Ifma::rows`] or out of a constant made inside it.
#[derive(Debug)]
pub(in crate::cpu) struct Lanes([EightMemory; 2]);

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn copy_lanes(a: &Lanes) -> Lanes {
    Lanes([EightMemory::from_eight(a.0[0].load()), EightMemory::from_eight(a.0[1].load())])
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_lanes(a: &Lanes, b: &Lanes) -> Lanes {
    let low = reduce::<R>(add(a.0[0].load(), b.0[0].load()));
    let high = reduce::<R>(add(a.0[1].load(), b.0[1].load()));
    Lanes([EightMemory::from_eight(low), EightMemory::from_eight(high)])
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sub_lanes(a: &Lanes, b: &Lanes) -> Lanes {
    let low = reduce::<R>(sub::<R, 2>(a.0[0].load(), b.0[0].load()));
    let high = reduce::<R>(sub::<R, 2>(a.0[1].load(), b.0[1].load()));
    Lanes([EightMemory::from_eight(low), EightMemory::from_eight(high)])
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul_lanes(a: &Lanes, b: &Lanes) -> Lanes {
    let (a, b) = ([a.0[0].load(), a.0[1].load()], [b.0[0].load(), b.0[1].load()]);
    let [low, high] = products::<R, 2>(a, b);
    Lanes([EightMemory::from_eight(low), EightMemory::from_eight(high)])
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square_lanes(a: &Lanes) -> Lanes {
    let a = [a.0[0].load(), a.0[1].load()];
    let [low, high] = products::<R, 2>(a, a);
    Lanes([EightMemory::from_eight(low), EightMemory::from_eight(high)])
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn splat_lanes(value: Fr) -> Lanes {
    let value = splat(&factor(value, raw_fr));
    Lanes([EightMemory::from_eight(value), EightMemory::from_eight(value)])
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_lanes(values: &[Fr; ROWS]) -> Lanes {
    let place: *const u64 = values.as_ptr().cast();
    // SAFETY: each half of `values` is eight elements of four words.
    let (low, high) = unsafe { (load_run(place, 4), load_run(place.wrapping_add(4 * LANES), 4)) };
    Lanes([
        EightMemory::from_eight(reduce::<R>(split_limbs_times_16(low))),
        EightMemory::from_eight(reduce::<R>(split_limbs_times_16(high))),
    ])
}

/// The number 2^256 modulo r: multiplying by it brings arkworks' form back.
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_lanes(value: &Lanes, out: &mut [Fr; ROWS]) {
    let back = splat(&split(raw_fr(Fr::ONE)));
    let values = products::<R, 2>([value.0[0].load(), value.0[1].load()], [back, back]);
    let place: *mut u64 = out.as_mut_ptr().cast();
    // SAFETY: each half of `out` is eight elements of four words.
    unsafe {
        store_run(join_limbs(canonical::<R>(values[0])), place, 4);
        store_run(join_limbs(canonical::<R>(values[1])), place.wrapping_add(4 * LANES), 4);
    }
}

impl Clone for Lanes {
    #[inline(always)]
    fn clone(&self) -> Self {
        // SAFETY: the processor has the instructions, or `self` would not exist.
        unsafe { copy_lanes(self) }
    }
}

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `clone`.
        unsafe { add_lanes(&self, &other) }
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as in `clone`.
        unsafe { sub_lanes(&self, &other) }
    }
}

impl Mul for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as in `clone`.
        unsafe { mul_lanes(&self, &other) }
    }
}

impl Expr for Lanes {
    fn constant(value: Fr) -> Self {
        // SAFETY: only `Ifma::rows` names this type to a kernel, and it has an `Ifma`.
        unsafe { splat_lanes(value) }
    }

    #[inline(always)]
    fn square(&self) -> Self {
        // SAFETY: as in `clone`.
        unsafe { square_lanes(self) }
    }
}

/// Sixteen rows of columns in host memory, from `row` on, wrapping around.
#[derive(Debug)]
struct ManyRows<'a> {
    columns: &'a [&'a [Fr]],
    row: usize,
}

impl Row<Lanes> for ManyRows<'_> {
    #[inline]
    fn cell(&self, column: usize, rotation: usize) -> Lanes {
        let column = self.columns[column];
        let start = self.row + rotation;
        let mut wrapped = [Fr::ZERO; ROWS];
        let run = match column.get(start..).and_then(<[_]>::first_chunk) {
            Some(run) => run,
            None => {
                for (lane, value) in wrapped.iter_mut().enumerate() {
                    *value = column[(start + lane) % column.len()];
                }
                &wrapped
            }
        };
        // SAFETY: rows exist only inside `Ifma::rows`.
        unsafe { load_lanes(run) }
    }
}

impl Ifma {
    /// Runs `kernel` on the rows from `start` on, as many as each of `outputs` is long. The columns
    /// all have one length, and the rows are among theirs.
    pub(in crate::cpu) fn rows<K: RowKernel>(
        self,
        kernel: &K,
        constants: &K::Constants<Lanes>,
        columns: &[&[Fr]],
        start: usize,
        outputs: &mut [&mut [Fr]],
    ) {
        let len = outputs.first().map_or(0, |part| part.len());
        let mut out: Vec<Lanes> = outputs.iter().map(|_| Lanes([EightMemory::ZERO; 2])).collect();
        for offset in (0..len).step_by(ROWS) {
            kernel.eval(constants, &ManyRows { columns, row: start + offset }, &mut out);
            for (part, value) in outputs.iter_mut().zip(&out) {
                let part = &mut part[offset..];
                let mut last = [Fr::ZERO; ROWS];
                let whole = part.first_chunk_mut();
                let is_whole = whole.is_some();
                // SAFETY: the processor has the instructions, as `self` proves.
                unsafe { store_lanes(value, whole.unwrap_or(&mut last)) };
                if !is_whole {
                    // The lanes past the end took rows from the start again.
                    part.copy_from_slice(&last[..part.len()]);
                }
            }
        }
    }
}
