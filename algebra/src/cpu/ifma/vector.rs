//! Values and combinations of polynomials, sixteen coefficients at a time.
#![allow(unsafe_code)]

use ark_ff::{AdditiveGroup, Field};

use super::Ifma;
use super::field::{
    Eight, Factor, LANES, R, add, factor, load_sixteen, products, raw_fr, reduce, splat,
    split_limbs, store_sixteen,
};
use crate::Fr;

/// Elements that one step takes.
const STEP: usize = 2 * LANES;

/// arkworks' form as it is, below p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load(values: &[Fr; STEP]) -> [Eight; 2] {
    load_sixteen(values).map(|words| split_limbs(words))
}

/// Horner's rule on sixteen interleaved polynomials in `point^16`. A product of a number below 4p
/// and a factor is below (2 + 4 / 84)p, and a coefficient adds less than p.
#[target_feature(enable = "avx512f,avx512ifma")]
fn interleaved_horner(coefficients: &[[Fr; STEP]], power: Fr) -> [Fr; STEP] {
    let power = splat(&factor(power, raw_fr));
    let mut sum = [splat(&[0; 5]); 2];
    for step in coefficients.iter().rev() {
        let product = products::<R, 2>(&sum, &[power, power]);
        let step = load(step);
        sum = [add(product[0], step[0]), add(product[1], step[1])];
    }
    let mut out = [Fr::ZERO; STEP];
    store_sixteen(sum, &mut out);
    out
}

/// Sums of products below (2 + 1 / 84)p each; reduced every 32 terms, so below 2p + 65p.
#[target_feature(enable = "avx512f,avx512ifma")]
fn combine(terms: &[(&[Fr], Factor)], start: usize, out: &mut [Fr; STEP]) {
    let mut sum = [splat(&[0; 5]); 2];
    for (i, (values, by)) in terms.iter().enumerate() {
        let Some(values) = values.get(start..) else { continue };
        let mut padded = [Fr::ZERO; STEP];
        let values = match values.first_chunk() {
            Some(values) => values,
            None => {
                padded[..values.len()].copy_from_slice(values);
                &padded
            }
        };
        let by = splat(by);
        let product = products::<R, 2>(&load(values), &[by, by]);
        sum = [add(sum[0], product[0]), add(sum[1], product[1])];
        if i % 32 == 31 {
            sum = [reduce::<R>(sum[0]), reduce::<R>(sum[1])];
        }
    }
    store_sixteen(sum, out);
}

impl Ifma {
    /// The value at `point` of the polynomial with these coefficients.
    pub(in crate::cpu) fn horner(self, coefficients: &[Fr], point: Fr) -> Fr {
        let (steps, rest) = coefficients.as_chunks();
        // SAFETY: the processor has the instructions, as `self` proves.
        let lanes = unsafe { interleaved_horner(steps, point.pow([STEP as u64])) };
        let low = crate::field::horner(&lanes, point);
        let high = crate::field::horner(rest, point);
        if rest.is_empty() { low } else { low + high * point.pow([(steps.len() * STEP) as u64]) }
    }

    /// `out[i] = Σ factor · values[start + i]`; values past an end count as zero.
    pub(in crate::cpu) fn combine(self, terms: &[(&[Fr], Fr)], start: usize, out: &mut [Fr]) {
        let terms: Vec<(&[Fr], Factor)> =
            terms.iter().map(|(values, by)| (*values, factor(*by, raw_fr))).collect();
        let (steps, rest) = out.as_chunks_mut();
        let end = start + steps.len() * STEP;
        for (step, start) in steps.iter_mut().zip((start..).step_by(STEP)) {
            // SAFETY: the processor has the instructions, as `self` proves.
            unsafe { combine(&terms, start, step) };
        }
        if !rest.is_empty() {
            let mut last = [Fr::ZERO; STEP];
            // SAFETY: as above.
            unsafe { combine(&terms, end, &mut last) };
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
}
