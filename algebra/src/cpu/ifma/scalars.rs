//! Scalars to signs and magnitudes, and to digits, eight at a time.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_add_epi64, _mm512_cmplt_epi64_mask, _mm512_mask_or_epi64, _mm512_setzero_si512,
    _mm512_srai_epi64, _mm512_sub_epi64,
};

use super::Ifma;
use super::field::{
    Eight, LANES, LIMB_BITS, Modulus, R, canonical, carry, join_limbs, load_run, mul, select,
    splat, split_limbs, store_run, word,
};
use crate::Fr;
use crate::cpu::msm::plan::{Cuts, Folded, NEGATIVE};

// What a scalar folds to is four limbs and nothing else, as the scalar is.
const _: () = assert!(size_of::<Folded>() == 32);

/// Multiplying by 16 takes arkworks' 2^256 off, as products divide by 2^260. Then `2x − r` is negative
/// for those up to `(r − 1) / 2`, as r is odd.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold(scalars: &[Fr; LANES], out: &mut [Folded; LANES]) {
    // SAFETY: eight elements of four words.
    let words = unsafe { load_run(scalars.as_ptr().cast(), 4) };
    let x = canonical::<R>(mul::<R>(split_limbs(words), splat(&[16, 0, 0, 0, 0])));
    let modulus = splat(&R::P);
    let mut negative = x;
    let mut excess = _mm512_setzero_si512();
    for i in 0..5 {
        negative.0[i] = _mm512_sub_epi64(modulus.0[i], x.0[i]);
        let limb = _mm512_sub_epi64(x.0[i], negative.0[i]);
        excess = _mm512_add_epi64(_mm512_srai_epi64::<LIMB_BITS>(excess), limb);
    }
    let is_small = _mm512_cmplt_epi64_mask(excess, _mm512_setzero_si512());
    let magnitude: Eight = select(is_small, carry(negative.0), x);
    let mut words = join_limbs(magnitude);
    words[3] = _mm512_mask_or_epi64(words[3], !is_small, words[3], word(NEGATIVE));
    // SAFETY: eight elements of four words.
    unsafe { store_run(words, out.as_mut_ptr().cast(), 4) };
}

impl Ifma {
    /// [`Folded::new`] on each scalar.
    pub(in crate::cpu) fn fold(self, scalars: &[Fr], out: &mut [Folded]) {
        assert_eq!(scalars.len(), out.len());
        let (eights, rest) = scalars.as_chunks();
        let (out_eights, out_rest) = out.as_chunks_mut();
        for (scalars, out) in eights.iter().zip(out_eights) {
            // SAFETY: the processor has the instructions, as `self` proves.
            unsafe { fold(scalars, out) };
        }
        for (scalar, out) in rest.iter().zip(out_rest) {
            *out = Folded::new(scalar);
        }
    }

    /// [`Cuts::cut`], faster.
    pub(in crate::cpu) fn cut(self, cuts: &Cuts, scalars: &[Folded], rows: &mut [&mut [u32]]) {
        // SAFETY: the processor has the instructions, as `self` proves.
        unsafe { cut(cuts, scalars, rows) }
    }

    /// [`Cuts::cut_small`], faster.
    pub(in crate::cpu) fn cut_small(self, cuts: &Cuts, scalars: &[u16], rows: &mut [&mut [u32]]) {
        // SAFETY: the processor has the instructions, as `self` proves.
        unsafe { cut_small(cuts, scalars, rows) }
    }
}

/// The portable code, compiled for wider registers.
#[target_feature(enable = "avx512f")]
fn cut(cuts: &Cuts, scalars: &[Folded], rows: &mut [&mut [u32]]) {
    cuts.cut(scalars, rows);
}

/// Likewise.
#[target_feature(enable = "avx512f")]
fn cut_small(cuts: &Cuts, scalars: &[u16], rows: &mut [&mut [u32]]) {
    cuts.cut_small(scalars, rows);
}

#[cfg(test)]
mod tests {
    use ark_ff::{AdditiveGroup, Field, PrimeField};

    use super::*;

    #[test]
    fn folding_eight_is_folding_each() {
        let Some(ifma) = Ifma::detect() else {
            println!("no AVX-512 IFMA here: nothing to compare");
            return;
        };
        let half = Fr::from_bigint(Fr::MODULUS_MINUS_ONE_DIV_TWO).expect("below r");
        let ends = [Fr::ZERO, Fr::ONE, -Fr::ONE, half, half + Fr::ONE, half - Fr::ONE];
        let powers = (0..256).map(|i| Fr::from(2u64).pow([i]));
        let random = (0..1000u64).map(|i| Fr::from(i + 2).inverse().expect("not zero"));
        let scalars: Vec<Fr> = ends
            .into_iter()
            .chain(powers.flat_map(|p| [p, -p, p - Fr::ONE]))
            .chain(random)
            .collect();
        let expected: Vec<Folded> = scalars.iter().map(Folded::new).collect();
        let mut out = vec![Folded::ZERO; scalars.len()];
        ifma.fold(&scalars, &mut out);
        assert_eq!(out, expected);
    }
}
