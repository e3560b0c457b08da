//! Scans of sixteen segments at a time, one in each lane of two vectors.
//!
//! # Bounds, in multiples of p
//! What is carried is in arkworks' form and below 4: a product of it with an element, which is loaded as
//! 16 times arkworks' form and so below 16, is below `2 + 4 · 16 / 84`; a sum is reduced; and a product
//! with the point, which is below 1, is below `2 + 4 / 84`, to which an element adds less than 1.
#![allow(unsafe_code)]
// Loops over limbs walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{__m512i, _mm512_add_epi64};

use super::Ifma;
use super::field::{
    Eight, LANES, R, canonical, carry, carry_and_reduce, factor, join_limbs, load_run,
    load_sixteen, product_limbs, products_here, raw_fr, splat, split_limbs, split_limbs_times_16,
    store_run, store_sixteen,
};
use crate::Fr;
use crate::cpu::scan::Scan;

/// Segments that one step takes an element of each of.
pub(in crate::cpu) const SEGMENTS: usize = 2 * LANES;

/// Length of each segment at the start of `len` elements; fewer than `2 · SEGMENTS` are left.
///
/// Odd, so that the elements of a step do not compete for the same lines of the cache.
pub(in crate::cpu) fn segment_len(len: usize) -> usize {
    let most = len / SEGMENTS;
    if most.is_multiple_of(2) { most.saturating_sub(1) } else { most }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn plus(mut a: [__m512i; 5], b: Eight) -> [__m512i; 5] {
    for i in 0..5 {
        a[i] = _mm512_add_epi64(a[i], b.0[i]);
    }
    a
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn step(scan: Scan, point: Eight, carried: [Eight; 2], words: [[__m512i; 4]; 2]) -> [Eight; 2] {
    let [low, high] = words;
    // SAFETY: this function has the target feature.
    unsafe {
        match scan {
            Scan::Products => {
                let factors = [split_limbs_times_16(low), split_limbs_times_16(high)];
                products_here::<R, 2>(&carried, &factors)
            }
            Scan::Sums => [
                carry_and_reduce::<R>(plus(carried[0].0, split_limbs(low))),
                carry_and_reduce::<R>(plus(carried[1].0, split_limbs(high))),
            ],
            Scan::Quotient { .. } => {
                let products = product_limbs::<R, 2>(&carried, &[point, point]);
                [
                    carry(plus(products[0], split_limbs(low))),
                    carry(plus(products[1], split_limbs(high))),
                ]
            }
        }
    }
}

/// Scans each segment from its value in `carried`, and leaves its total there. Writes
/// what each element met to `out`, if there is one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn run(scan: Scan, values: &[Fr], mut out: Option<&mut [Fr]>, carried: &mut [Fr; SEGMENTS]) {
    let len = segment_len(values.len());
    assert!(out.as_ref().is_none_or(|out| out.len() == values.len()));
    let point = match scan {
        Scan::Quotient { point } => splat(&factor(point, raw_fr)),
        Scan::Products | Scan::Sums => splat(&[0; 5]),
    };
    let mut now = load_sixteen(carried).map(|words| split_limbs(words));
    for i in 0..len {
        let at = if scan.is_backwards() { len - 1 - i } else { i };
        // Where an element of the first segment and one of the ninth lie.
        let places = [at, LANES * len + at];
        if let Some(out) = &mut out {
            for (place, now) in places.iter().zip(now) {
                let words = join_limbs(canonical::<R>(now));
                // SAFETY: `at` is below `len`, and there are sixteen segments of `len` elements of four words
                // in `out` as in `values`, which is as long.
                unsafe { store_run(words, out.as_mut_ptr().add(*place).cast(), 4 * len) };
            }
        }
        // SAFETY: as above.
        let words =
            places.map(|place| unsafe { load_run(values.as_ptr().add(place).cast(), 4 * len) });
        now = step(scan, point, now, words);
    }
    store_sixteen(now, carried);
}

impl Ifma {
    /// What each of the segments comes to, from the scan's start.
    pub(in crate::cpu) fn scan_totals(self, scan: Scan, values: &[Fr]) -> [Fr; SEGMENTS] {
        let mut totals = [scan.start(); SEGMENTS];
        // SAFETY: the processor has the instructions, as `self` proves.
        unsafe { run(scan, values, None, &mut totals) };
        totals
    }

    /// Scans the segments from these starts into `out`, which is as long as `values`.
    pub(in crate::cpu) fn scan(
        self,
        scan: Scan,
        values: &[Fr],
        mut starts: [Fr; SEGMENTS],
        out: &mut [Fr],
    ) {
        // SAFETY: as above.
        unsafe { run(scan, values, Some(out), &mut starts) };
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;

    use super::super::field::tests::{below, lane, minus_one, number, pack, samples};
    use super::super::field::{EightMemory, Modulus, multiple};
    use super::*;

    /// What is carried, in multiples of p.
    const CARRIED: u64 = 4;

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn apply(scan: Scan, point: Fr, carried: &EightMemory, values: &[Fr; SEGMENTS]) -> EightMemory {
        let words = load_sixteen(values);
        let carried = carried.load();
        let point = splat(&factor(point, raw_fr));
        EightMemory::from_eight(step(scan, point, [carried; 2], words)[1])
    }

    /// Method: numbers just below 4p and other multiples of p, with the largest element and the largest
    /// point there are; results against field elements and against the bound they are carried on with.
    #[test]
    fn a_step_keeps_residues_and_bounds() {
        if Ifma::detect().is_none() {
            println!("no AVX-512 IFMA here: nothing to compare");
            return;
        }
        let two = Fr::from(2u64);
        // What takes off 2^256 and 2^260.
        let [arkworks, own] =
            [256u64, 260].map(|bits| two.pow([bits]).inverse().expect("not zero"));
        // Their words are p − 1, and 0, 1, and another.
        let mut elements = [-arkworks, Fr::from(0u64), arkworks, -Fr::ONE].repeat(4);
        let mut numbers = samples::<R>(CARRIED);
        numbers.extend([number::<R>(minus_one(multiple(R::P, CARRIED))); LANES]);
        for point in [-own, Fr::from(0u64), Fr::ONE, Fr::from(99u64)] {
            for carried in numbers.chunks_exact(LANES) {
                elements.rotate_left(1);
                let values: &[Fr; SEGMENTS] = elements.first_chunk().expect("sixteen");
                for scan in [Scan::Products, Scan::Sums, Scan::Quotient { point }] {
                    // SAFETY: the instructions were found above.
                    let out = unsafe { apply(scan, point, &pack(carried), values) };
                    for (i, carried) in carried.iter().enumerate() {
                        // A number in arkworks' form is 2^256 times its element.
                        let met = carried.residue * arkworks;
                        let value = values[LANES + i];
                        let expected = match scan {
                            Scan::Products => met * value,
                            Scan::Sums => met + value,
                            Scan::Quotient { .. } => met * point + value,
                        };
                        let out = lane(&out, i);
                        assert_eq!(number::<R>(out).residue * arkworks, expected, "{scan:?}");
                        assert!(below(out, multiple(R::P, CARRIED)), "{scan:?}: {out:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn segments_leave_few_elements_and_are_of_odd_length() {
        for len in 0..5000 {
            let segment = segment_len(len);
            assert!(segment == 0 || segment % 2 == 1, "{len}");
            assert!(SEGMENTS * segment <= len && len - SEGMENTS * segment < 2 * SEGMENTS, "{len}");
        }
    }
}
