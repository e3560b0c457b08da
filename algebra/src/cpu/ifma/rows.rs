//! Row kernels on eight rows at a time.
#![allow(unsafe_code)]

use std::ops::{Add, Mul, Sub};

use super::Ifma;
use super::field::{
    EightMemory, LANES, R, add, canonical, factor, join_limbs, load_words, mul, raw_fr, reduce,
    splat, split, split_limbs_times_16, store_words, sub,
};
use crate::Fr;
use crate::device::{Expr, Row, RowKernel};
use ark_ff::{AdditiveGroup, Field};

/// Rows that one step takes.
pub(in crate::cpu) const ROWS: usize = LANES;

/// Eight field elements in this module's form, below 2r.
///
/// The operations are calls, not inlined: a gate of a hundred products would not fit the instruction
/// cache otherwise, and the kernels that use them are compiled without the instructions.
///
/// Invariant: a value exists only where the processor has the instructions, since it comes from
/// [`Ifma::rows`] or out of a constant made inside it.
#[derive(Debug)]
#[repr(transparent)]
pub(in crate::cpu) struct Lanes(EightMemory);

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn copy_lanes(a: &EightMemory) -> EightMemory {
    EightMemory::from_eight(a.load())
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_lanes(a: &EightMemory, b: &EightMemory) -> EightMemory {
    EightMemory::from_eight(reduce::<R>(add(a.load(), b.load())))
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sub_lanes(a: &EightMemory, b: &EightMemory) -> EightMemory {
    EightMemory::from_eight(reduce::<R>(sub::<R, 2>(a.load(), b.load())))
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul_lanes(a: &EightMemory, b: &EightMemory) -> EightMemory {
    EightMemory::from_eight(mul::<R>(a.load(), b.load()))
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square_lanes(a: &EightMemory) -> EightMemory {
    let a = a.load();
    EightMemory::from_eight(mul::<R>(a, a))
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn splat_lanes(value: Fr) -> EightMemory {
    EightMemory::from_eight(splat(&factor(value, raw_fr)))
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_lanes(places: [&Fr; LANES]) -> EightMemory {
    let places = places.map(|place| std::ptr::from_ref(place).cast());
    // SAFETY: each place is one field element, which is 32 bytes.
    let words = unsafe { load_words(places) };
    EightMemory::from_eight(reduce::<R>(split_limbs_times_16(words)))
}

/// The number 2^256 modulo r: multiplying by it brings arkworks' form back.
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_lanes(value: &EightMemory, out: &mut [Fr; LANES]) {
    let back = splat(&split(raw_fr(Fr::ONE)));
    let words = join_limbs(canonical::<R>(mul::<R>(value.load(), back)));
    let places = out.each_mut().map(|place| std::ptr::from_mut(place).cast());
    // SAFETY: each place is one field element, which is 32 bytes.
    unsafe { store_words(words, places) };
}

impl Clone for Lanes {
    #[inline(always)]
    fn clone(&self) -> Self {
        // SAFETY: the processor has the instructions, or `self` would not exist.
        Self(unsafe { copy_lanes(&self.0) })
    }
}

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `clone`.
        Self(unsafe { add_lanes(&self.0, &other.0) })
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as in `clone`.
        Self(unsafe { sub_lanes(&self.0, &other.0) })
    }
}

impl Mul for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as in `clone`.
        Self(unsafe { mul_lanes(&self.0, &other.0) })
    }
}

impl Expr for Lanes {
    fn constant(value: Fr) -> Self {
        // SAFETY: only `Ifma::rows` names this type to a kernel, and it has an `Ifma`.
        Self(unsafe { splat_lanes(value) })
    }

    #[inline(always)]
    fn square(&self) -> Self {
        // SAFETY: as in `clone`.
        Self(unsafe { square_lanes(&self.0) })
    }
}

/// Eight rows of columns in host memory, from `row` on, wrapping around.
#[derive(Debug)]
struct EightRows<'a> {
    columns: &'a [&'a [Fr]],
    row: usize,
}

impl Row<Lanes> for EightRows<'_> {
    #[inline]
    fn cell(&self, column: usize, rotation: usize) -> Lanes {
        let column = self.columns[column];
        let start = self.row + rotation;
        let places = match column.get(start..start + LANES) {
            Some(run) => std::array::from_fn(|lane| &run[lane]),
            None => std::array::from_fn(|lane| &column[(start + lane) % column.len()]),
        };
        // SAFETY: rows exist only inside `Ifma::rows`.
        Lanes(unsafe { load_lanes(places) })
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
        let mut out: Vec<Lanes> = outputs.iter().map(|_| Lanes(EightMemory::ZERO)).collect();
        for offset in (0..len).step_by(ROWS) {
            kernel.eval(constants, &EightRows { columns, row: start + offset }, &mut out);
            for (part, value) in outputs.iter_mut().zip(&out) {
                let part = &mut part[offset..];
                let mut last = [Fr::ZERO; ROWS];
                let whole = part.first_chunk_mut();
                let is_whole = whole.is_some();
                // SAFETY: the processor has the instructions, as `self` proves.
                unsafe { store_lanes(&value.0, whole.unwrap_or(&mut last)) };
                if !is_whole {
                    // The lanes past the end took rows from the start again.
                    part.copy_from_slice(&last[..part.len()]);
                }
            }
        }
    }
}
