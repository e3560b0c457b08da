//! Inverses by Montgomery's trick in sixteen interleaved runs.
//!
//! # Bounds, in multiples of p
//! Elements are loaded as 16 times arkworks' form, so below 16; products of one with a product, and of two
//! products, are below `2 + 3 · 16 / 84`, so below 3.
#![allow(unsafe_code)]

use std::arch::x86_64::{__m512i, _mm512_cmpeq_epi64_mask, _mm512_or_si512, _mm512_setzero_si512};

use ark_ff::Field;

use super::Ifma;
use super::field::{
    Eight, EightMemory, LANES, R, factor, load_sixteen, products_here, raw_fr, select, splat,
    split, split_limbs, split_limbs_times_16, store_sixteen,
};
use crate::Fr;
use crate::field::batch_invert;

/// Elements that one step takes.
const STEP: usize = 2 * LANES;
/// Elements per chunk: with their prefix products, five words each, they fit the second-level cache.
const RUN: usize = 1 << 14;

/// The elements with ones in place of zeros, and where those are.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load(values: &[Fr; STEP], one: Eight) -> ([Eight; 2], [u8; 2]) {
    let words = load_sixteen(values);
    let zeros = words.map(|[a, b, c, d]| {
        let any: __m512i = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
        _mm512_cmpeq_epi64_mask(any, _mm512_setzero_si512())
    });
    let [low, high] = words.map(|words| split_limbs_times_16(words));
    ([select(zeros[0], low, one), select(zeros[1], high, one)], zeros)
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn invert(steps: &mut [[Fr; STEP]], before: &mut Vec<[EightMemory; 2]>) {
    let one = splat(&factor(Fr::ONE, raw_fr));
    let zero = splat(&[0; 5]);
    before.clear();
    let mut product = [one; 2];
    for values in steps.iter() {
        before.push(product.map(|product| EightMemory::from_eight(product)));
        // SAFETY: this function has the target feature.
        product = unsafe { products_here::<R, 2>(&product, &load(values, one).0) };
    }
    // Multiplying by 2^256 modulo r yields arkworks' form; inverses stay in it, as they are multiplied by
    // numbers in this module's.
    let back = splat(&split(raw_fr(Fr::ONE)));
    let mut totals = [Fr::ONE; STEP];
    // SAFETY: as above.
    store_sixteen(unsafe { products_here::<R, 2>(&product, &[back, back]) }, &mut totals);
    batch_invert(&mut totals);
    let mut inverse = load_sixteen(&totals).map(|words| split_limbs(words));
    for (values, before) in steps.iter_mut().zip(before).rev() {
        let (factors, zeros) = load(values, one);
        let before = [before[0].load(), before[1].load()];
        // SAFETY: as above.
        let [low, high] = unsafe { products_here::<R, 2>(&inverse, &before) };
        store_sixteen([select(zeros[0], low, zero), select(zeros[1], high, zero)], values);
        // SAFETY: as above.
        inverse = unsafe { products_here::<R, 2>(&inverse, &factors) };
    }
}

impl Ifma {
    /// [`batch_invert`]: with a field inversion for every 2^14 elements or fewer.
    pub(in crate::cpu) fn invert(self, values: &mut [Fr]) {
        let (steps, rest) = values.as_chunks_mut();
        let mut before = Vec::new();
        for run in steps.chunks_mut(RUN / STEP) {
            // SAFETY: the processor has the instructions, as `self` proves.
            unsafe { invert(run, &mut before) };
        }
        batch_invert(rest);
    }
}
