//! Products: eight at once, or sums of them with one reduction.
#![allow(unsafe_code)]
// Loops over limbs and lanes walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_setzero_si512, _mm512_srli_epi64,
};

use super::{Eight, LIMB, LIMB_BITS, Modulus, carry, splat, word};

/// Sums of products, column by column of the scheme, for N vectors at once.
pub(in crate::cpu::ifma) type Columns<const N: usize> = [[__m512i; 10]; N];

/// Adds `a · b` to the columns.
///
/// # Safety
/// The processor has AVX-512 IFMA. Meant for functions that have the target feature, into which it is
/// always inlined; a function that has it itself could not be.
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn accumulate(columns: &mut [__m512i; 10], a: &Eight, b: &Eight) {
    // SAFETY: as the caller promises.
    unsafe {
        row::<0>(columns, a, b);
        row::<1>(columns, a, b);
        row::<2>(columns, a, b);
        row::<3>(columns, a, b);
        row::<4>(columns, a, b);
    }
}

/// Montgomery's reduction: the residue of `t / 2^260` modulo p, limbs not carried. For a sum of
/// products `Σ a·b < S·p²` it is below `(2 + S / 84)·p`.
///
/// The first four rounds add multiples of `k·p` for the k that makes it −1 modulo 2^52. Then the
/// multiple is the lowest limb itself, and `k·p + 1` is `2^52 · FRIENDLY`: a round waits for one
/// multiply-add instead of three. What they add comes to `k·p` at most, so the last round, which adds
/// a multiple of p, leaves less than 2p of it.
///
/// Why it fits: a column of 64 products is below 640 · 2^52, and the rounds add at most ten
/// halves and a carry; sums stay below 2^62.
///
/// Source: Montgomery 1985. That a multiple of the modulus may be chosen to be −1 modulo the radix is
/// in Walter, "Montgomery Exponentiation Needs No Final Subtractions", 1999, and before.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn reduce_columns<M: Modulus, const N: usize>(
    mut t: Columns<N>,
) -> [[__m512i; 5]; N] {
    // SAFETY: as the caller promises.
    unsafe {
        let zero = _mm512_setzero_si512();
        let mask = word(LIMB);
        let friendly = splat(&M::FRIENDLY).0;
        for i in 0..4 {
            let mut m = [zero; N];
            for k in 0..N {
                m[k] = _mm512_and_si512(t[k][i], mask);
                t[k][i + 1] =
                    _mm512_add_epi64(t[k][i + 1], _mm512_srli_epi64::<LIMB_BITS>(t[k][i]));
            }
            for j in 0..5 {
                for k in 0..N {
                    t[k][i + j + 1] = _mm512_madd52lo_epu64(t[k][i + j + 1], m[k], friendly[j]);
                }
                if i + j + 2 < 10 {
                    for k in 0..N {
                        t[k][i + j + 2] = _mm512_madd52hi_epu64(t[k][i + j + 2], m[k], friendly[j]);
                    }
                }
            }
        }
        let p = splat(&M::P).0;
        let inverse = word(M::P_NEG_INVERSE);
        let mut out = [[zero; 5]; N];
        for k in 0..N {
            let m = _mm512_madd52lo_epu64(zero, t[k][4], inverse);
            for j in 0..5 {
                t[k][4 + j] = _mm512_madd52lo_epu64(t[k][4 + j], m, p[j]);
                t[k][5 + j] = _mm512_madd52hi_epu64(t[k][5 + j], m, p[j]);
            }
            // The lowest 52 bits are zero now.
            t[k][5] = _mm512_add_epi64(t[k][5], _mm512_srli_epi64::<LIMB_BITS>(t[k][4]));
            out[k].copy_from_slice(&t[k][5..]);
        }
        out
    }
}

/// Montgomery's products `a · b / 2^260` modulo p, each in 101 multiply-adds. For `a < A·p` and
/// `b < B·p` the result is below `(2 + A·B / 84)·p`.
///
/// Two products at once take little longer than one, whose instructions wait for each other.
///
/// Source of the arrangement for multiply-adds of 52 bits: Gueron and Krasnov, "Accelerating Big
/// Integer Arithmetic Using Intel IFMA Extensions", ARITH 2016.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::cpu::ifma) fn products<M: Modulus, const N: usize>(
    a: &[Eight; N],
    b: &[Eight; N],
) -> [Eight; N] {
    // SAFETY: this function has the target feature.
    unsafe { products_here::<M, N>(a, b) }
}

/// [`products`], inlined wherever it is called: operands that travel through memory would cost half as
/// much again.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn products_here<M: Modulus, const N: usize>(
    a: &[Eight; N],
    b: &[Eight; N],
) -> [Eight; N] {
    // SAFETY: as the caller promises.
    unsafe {
        let limbs = product_limbs::<M, N>(a, b);
        let mut out = [Eight([_mm512_setzero_si512(); 5]); N];
        for k in 0..N {
            out[k] = carry(limbs[k]);
        }
        out
    }
}

/// [`product_limbs`] of numbers with themselves: products of two different limbs are made once.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn square_limbs<M: Modulus, const N: usize>(
    a: &[Eight; N],
) -> [[__m512i; 5]; N] {
    // SAFETY: as the caller promises.
    unsafe {
        let mut columns = [[_mm512_setzero_si512(); 10]; N];
        for k in 0..N {
            let (t, a) = (&mut columns[k], &a[k]);
            cross::<0>(t, a);
            cross::<1>(t, a);
            cross::<2>(t, a);
            cross::<3>(t, a);
            diagonal(t, a);
        }
        reduce_columns::<M, N>(columns)
    }
}

/// [`products_here`], limbs not carried: each is below 2^57.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn product_limbs<M: Modulus, const N: usize>(
    a: &[Eight; N],
    b: &[Eight; N],
) -> [[__m512i; 5]; N] {
    // SAFETY: as the caller promises.
    unsafe {
        let mut columns = [[_mm512_setzero_si512(); 10]; N];
        for k in 0..N {
            accumulate(&mut columns[k], &a[k], &b[k]);
        }
        reduce_columns::<M, N>(columns)
    }
}

/// One product; see [`products`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::cpu::ifma) fn mul<M: Modulus>(a: Eight, b: Eight) -> Eight {
    products::<M, 1>(&[a], &[b])[0]
}

/// One row of the scheme of a product: adds `a · b[I] · 2^(52·I)` to the columns.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn row<const I: usize>(
    t: &mut [__m512i; 10],
    a: &Eight,
    b: &Eight,
) {
    for j in 0..5 {
        // SAFETY: as the caller promises.
        unsafe {
            t[I + j] = _mm512_madd52lo_epu64(t[I + j], a.0[j], b.0[I]);
            t[I + j + 1] = _mm512_madd52hi_epu64(t[I + j + 1], a.0[j], b.0[I]);
        }
    }
}

/// One of the first four rounds of [`reduce_columns`].
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn round<M: Modulus, const I: usize>(t: &mut [__m512i; 10]) {
    // SAFETY: as the caller promises.
    unsafe {
        let friendly = splat(&M::FRIENDLY).0;
        let m = _mm512_and_si512(t[I], word(LIMB));
        t[I + 1] = _mm512_add_epi64(t[I + 1], _mm512_srli_epi64::<LIMB_BITS>(t[I]));
        for j in 0..5 {
            t[I + j + 1] = _mm512_madd52lo_epu64(t[I + j + 1], m, friendly[j]);
            if I + j + 2 < 10 {
                t[I + j + 2] = _mm512_madd52hi_epu64(t[I + j + 2], m, friendly[j]);
            }
        }
    }
}

/// The last round of [`reduce_columns`].
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn last_round<M: Modulus>(t: &mut [__m512i; 10]) -> [__m512i; 5] {
    // SAFETY: as the caller promises.
    unsafe {
        let p = splat(&M::P).0;
        let m = _mm512_madd52lo_epu64(_mm512_setzero_si512(), t[4], word(M::P_NEG_INVERSE));
        for j in 0..5 {
            t[4 + j] = _mm512_madd52lo_epu64(t[4 + j], m, p[j]);
            t[5 + j] = _mm512_madd52hi_epu64(t[5 + j], m, p[j]);
        }
        t[5] = _mm512_add_epi64(t[5], _mm512_srli_epi64::<LIMB_BITS>(t[4]));
        [t[5], t[6], t[7], t[8], t[9]]
    }
}

/// Keeps work between the parts of a product: what `side` takes is computed before the column is used again, and what
/// follows from it after. No instruction is made of it, and no value changes; a compiler would move the work to one end
/// of the product otherwise.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::cpu::ifma) fn pin<const N: usize>(t: &mut __m512i, side: &mut [__m512i; N]) {
    for limb in side {
        // SAFETY: the text is a comment.
        unsafe {
            asm!(
                "/* {0} {1} */",
                inout(zmm_reg) * t,
                inout(zmm_reg) * limb,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
    }
}

/// A row of the scheme of a square: the products of limb I with those after it.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn cross<const I: usize>(t: &mut [__m512i; 10], a: &Eight) {
    for j in I + 1..5 {
        // SAFETY: as the caller promises.
        unsafe {
            t[I + j] = _mm512_madd52lo_epu64(t[I + j], a.0[I], a.0[j]);
            t[I + j + 1] = _mm512_madd52hi_epu64(t[I + j + 1], a.0[I], a.0[j]);
        }
    }
}

/// After [`cross`] of all limbs: doubles the columns and adds the squares of the limbs.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub(in crate::cpu::ifma) unsafe fn diagonal(t: &mut [__m512i; 10], a: &Eight) {
    // SAFETY: as the caller promises.
    unsafe {
        for i in 0..5 {
            let (low, high) = (2 * i, 2 * i + 1);
            t[low] = _mm512_madd52lo_epu64(_mm512_add_epi64(t[low], t[low]), a.0[i], a.0[i]);
            t[high] = _mm512_madd52hi_epu64(_mm512_add_epi64(t[high], t[high]), a.0[i], a.0[i]);
        }
    }
}
