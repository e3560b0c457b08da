//! Eight field elements in five vectors.
#![allow(unsafe_code)]
// Loops over limbs and lanes walk several arrays at once.
#![allow(clippy::needless_range_loop)]

mod products;

use std::arch::x86_64::{
    __m512i, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi64, _mm512_and_si512,
    _mm512_castsi256_si512, _mm512_castsi512_si256, _mm512_cmplt_epi64_mask,
    _mm512_extracti64x4_epi64, _mm512_inserti64x4, _mm512_load_si512, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_blend_epi64, _mm512_max_epi64, _mm512_or_si512,
    _mm512_permutex2var_epi64, _mm512_set_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_slli_epi64, _mm512_srai_epi64, _mm512_srli_epi64, _mm512_store_si512, _mm512_sub_epi64,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use ark_ff::{BigInt, PrimeField};

pub(super) use self::products::{
    Columns, accumulate, cross, diagonal, last_round, mul, pin, product_limbs, products,
    products_here, reduce_columns, round, row, square_limbs,
};
use crate::{Fq, Fr};

/// Lanes of a vector.
pub(super) const LANES: usize = 8;
pub(super) const LIMB_BITS: u32 = 52;
const LIMB: u64 = (1 << LIMB_BITS) - 1;

/// A prime just below 2^254, in limbs of 52 bits, with what its arithmetic needs.
pub(super) trait Modulus: 'static {
    /// The field as arkworks has it.
    type Field: PrimeField<BigInt = BigInt<4>>;
    /// The modulus p.
    const P: [u64; 5];
    /// `−1 / p` modulo 2^52.
    const P_NEG_INVERSE: u64 = neg_inverse(Self::P[0]);
    /// `(k·p + 1) / 2^52` for `k = −1 / p` modulo 2^52.
    const FRIENDLY: [u64; 5] = friendly(Self::P, Self::P_NEG_INVERSE);
    /// `2^260 − p`.
    const P_COMPLEMENT: [u64; 5] = complement(Self::P);
    /// `⌊2^97 / (⌊p / 2^208⌋ + 1)⌋`, below 2^52: estimates quotients by p.
    const QUOTIENT: u64 = ((1u128 << 97) / (Self::P[4] as u128 + 1)) as u64;
}

/// The base field of the curve.
#[derive(Debug)]
pub(super) struct Q;
/// The scalar field.
#[derive(Debug)]
pub(super) struct R;

impl Modulus for Q {
    type Field = Fq;
    const P: [u64; 5] = split(Fq::MODULUS.0);
}

impl Modulus for R {
    type Field = Fr;
    const P: [u64; 5] = split(Fr::MODULUS.0);
}

/// Limbs of 64 bits to limbs of 52.
pub(super) const fn split(x: [u64; 4]) -> [u64; 5] {
    [
        x[0] & LIMB,
        (x[0] >> 52 | x[1] << 12) & LIMB,
        (x[1] >> 40 | x[2] << 24) & LIMB,
        (x[2] >> 28 | x[3] << 36) & LIMB,
        x[3] >> 16,
    ]
}

/// Newton's iteration doubles the correct bits: 1, 2, 4, … 64.
const fn neg_inverse(p: u64) -> u64 {
    let mut inverse = 1u64;
    let mut i = 0;
    while i < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
        i += 1;
    }
    inverse.wrapping_neg() & LIMB
}

const fn complement(p: [u64; 5]) -> [u64; 5] {
    let mut out = [0; 5];
    let mut carry = 1;
    let mut i = 0;
    while i < 5 {
        let sum = (p[i] ^ LIMB) + carry;
        out[i] = sum & LIMB;
        carry = sum >> LIMB_BITS;
        i += 1;
    }
    out
}

/// `(k·p + 1) / 2^52`, where `k·p` is −1 modulo 2^52.
const fn friendly(p: [u64; 5], k: u64) -> [u64; 5] {
    let mut out = [0; 5];
    let mut carry = (p[0] as u128 * k as u128 + 1) >> LIMB_BITS;
    let mut i = 1;
    while i < 5 {
        let sum = p[i] as u128 * k as u128 + carry;
        out[i - 1] = sum as u64 & LIMB;
        carry = sum >> LIMB_BITS;
        i += 1;
    }
    out[4] = carry as u64;
    out
}

/// `k · p` in limbs.
pub(super) const fn multiple(p: [u64; 5], k: u64) -> [u64; 5] {
    let mut out = [0; 5];
    let mut carry = 0;
    let mut i = 0;
    while i < 5 {
        let sum = p[i] as u128 * k as u128 + carry;
        out[i] = sum as u64 & LIMB;
        carry = sum >> LIMB_BITS;
        i += 1;
    }
    out
}

/// A factor in this module's Montgomery form, below p, the same for all lanes.
pub(super) type Factor = [u64; 5];

/// `value · 2^260`, reduced: arkworks' `value · 2^256` times 16.
pub(super) fn factor<F: PrimeField<BigInt = BigInt<4>>>(
    value: F,
    raw: fn(F) -> [u64; 4],
) -> Factor {
    split(raw(value * F::from(16u64)))
}

/// arkworks' limbs, in its Montgomery form.
pub(super) fn raw_fr(value: Fr) -> [u64; 4] {
    value.0.0
}

/// Eight numbers below 2^260, limb by limb, each limb below 2^52.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eight(pub(super) [__m512i; 5]);

/// The same in memory.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct EightMemory(pub(super) [[u64; LANES]; 5]);

impl EightMemory {
    pub(super) const ZERO: Self = Self([[0; LANES]; 5]);

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn load(&self) -> Eight {
        let mut value = [_mm512_setzero_si512(); 5];
        for (limb, row) in value.iter_mut().zip(&self.0) {
            // SAFETY: each row is 64 bytes and, with the type's alignment, starts at a multiple of 64.
            *limb = unsafe { _mm512_load_si512(row.as_ptr().cast()) };
        }
        Eight(value)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn from_eight(value: Eight) -> Self {
        // SAFETY: both are five rows of eight words, and any bits are words.
        Self(unsafe { std::mem::transmute::<[__m512i; 5], [[u64; LANES]; 5]>(value.0) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn store(&mut self, value: Eight) {
        for (row, limb) in self.0.iter_mut().zip(value.0) {
            // SAFETY: as in `load`.
            unsafe { _mm512_store_si512(row.as_mut_ptr().cast(), limb) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn word(value: u64) -> __m512i {
    _mm512_set1_epi64(value as i64)
}

/// The same number in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn splat(value: &Factor) -> Eight {
    Eight([word(value[0]), word(value[1]), word(value[2]), word(value[3]), word(value[4])])
}

/// Moves what a limb has above 52 bits, taken as signed, to the next limb. The number must be at
/// least zero and below 2^260; limbs may be anything of 63 bits and a sign.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn carry(mut t: [__m512i; 5]) -> Eight {
    let mask = word(LIMB);
    for i in 0..4 {
        t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srai_epi64::<LIMB_BITS>(t[i]));
        t[i] = _mm512_and_si512(t[i], mask);
    }
    Eight(t)
}

/// `a + b`. The sum must stay below 2^260, which is above 84p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add(a: Eight, b: Eight) -> Eight {
    let mut t = a.0;
    for i in 0..5 {
        t[i] = _mm512_add_epi64(t[i], b.0[i]);
    }
    carry(t)
}

/// `a − b + K·p`. Requires `b <= K·p`. The result is below `a + K·p`, which must fit.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub<M: Modulus, const K: u64>(a: Eight, b: Eight) -> Eight {
    let kp = const { multiple(M::P, K) };
    let mut t = a.0;
    for i in 0..5 {
        t[i] = _mm512_add_epi64(_mm512_sub_epi64(t[i], b.0[i]), word(kp[i]));
    }
    carry(t)
}

/// Any number below 2^260 to one below `(1 + 2^−39)·p` of the same residue.
///
/// The quotient is estimated from the top limbs: `q = ⌊⌊a / 2^208⌋ · QUOTIENT / 2^97⌋`, which is the
/// true one or one less, as the parts left out weigh below 2^−39. Then `q · (2^260 − p)` is added and
/// `q · 2^260` falls off the top.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn reduce<M: Modulus>(a: Eight) -> Eight {
    let zero = _mm512_setzero_si512();
    let q = _mm512_srli_epi64::<45>(_mm512_madd52hi_epu64(zero, a.0[4], word(M::QUOTIENT)));
    take_off::<M>(a.0, q)
}

/// `t − q·p` of limbs that need not be carried, by adding q times the complement of p modulo 2^260.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn take_off<M: Modulus>(mut t: [__m512i; 5], q: __m512i) -> Eight {
    let c = splat(&M::P_COMPLEMENT).0;
    for i in 0..5 {
        t[i] = _mm512_madd52lo_epu64(t[i], q, c[i]);
    }
    for i in 0..4 {
        t[i + 1] = _mm512_madd52hi_epu64(t[i + 1], q, c[i]);
    }
    let mut out = carry(t);
    out.0[4] = _mm512_and_si512(out.0[4], word(LIMB));
    out
}

/// `limbs − b + K·p`, not carried. Requires `b <= K·p`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn limbs_less<M: Modulus, const K: u64>(
    mut limbs: [__m512i; 5],
    b: Eight,
) -> [__m512i; 5] {
    let kp = const { multiple(M::P, K) };
    for i in 0..5 {
        limbs[i] = _mm512_add_epi64(_mm512_sub_epi64(limbs[i], b.0[i]), word(kp[i]));
    }
    limbs
}

/// As [`reduce`], of limbs that are not carried: each below 2^60 in magnitude, the number at least zero
/// and below `84·p`. One pass of carries serves both.
///
/// The limbs below the third can move the top by one either way, so the quotient is estimated from one
/// less than the top: never too large, and at most `2^209` more is left than by [`reduce`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn carry_and_reduce<M: Modulus>(t: [__m512i; 5]) -> Eight {
    let zero = _mm512_setzero_si512();
    let top = _mm512_add_epi64(t[4], _mm512_srai_epi64::<LIMB_BITS>(t[3]));
    let top = _mm512_max_epi64(_mm512_sub_epi64(top, word(1)), zero);
    let q = _mm512_srli_epi64::<45>(_mm512_madd52hi_epu64(zero, top, word(M::QUOTIENT)));
    take_off::<M>(t, q)
}

/// Any number below 2^260 to the one below p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn canonical<M: Modulus>(a: Eight) -> Eight {
    let a = reduce::<M>(a);
    let mut t = a.0;
    let mask = word(LIMB);
    for i in 0..5 {
        t[i] = _mm512_sub_epi64(t[i], word(M::P[i]));
    }
    for i in 0..4 {
        t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srai_epi64::<LIMB_BITS>(t[i]));
        t[i] = _mm512_and_si512(t[i], mask);
    }
    let below = _mm512_cmplt_epi64_mask(t[4], _mm512_setzero_si512());
    select(below, Eight(t), a)
}

/// Lane by lane: `yes` where the mask's bit is set, else `no`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn select(mask: u8, no: Eight, yes: Eight) -> Eight {
    let mut t = no.0;
    for i in 0..5 {
        t[i] = _mm512_mask_blend_epi64(mask, t[i], yes.0[i]);
    }
    Eight(t)
}

/// Four vectors of 64-bit limbs to five of 52 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn split_limbs(x: [__m512i; 4]) -> Eight {
    let mask = word(LIMB);
    let [x0, x1, x2, x3] = x;
    Eight([
        _mm512_and_si512(x0, mask),
        _mm512_and_si512(
            _mm512_or_si512(_mm512_srli_epi64::<52>(x0), _mm512_slli_epi64::<12>(x1)),
            mask,
        ),
        _mm512_and_si512(
            _mm512_or_si512(_mm512_srli_epi64::<40>(x1), _mm512_slli_epi64::<24>(x2)),
            mask,
        ),
        _mm512_and_si512(
            _mm512_or_si512(_mm512_srli_epi64::<28>(x2), _mm512_slli_epi64::<36>(x3)),
            mask,
        ),
        _mm512_srli_epi64::<16>(x3),
    ])
}

/// `16 · x`, for x below 2^256: turns arkworks' form into this module's, below 16p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn split_limbs_times_16(x: [__m512i; 4]) -> Eight {
    let mask = word(LIMB);
    let [x0, x1, x2, x3] = x;
    Eight([
        _mm512_and_si512(_mm512_slli_epi64::<4>(x0), mask),
        _mm512_and_si512(
            _mm512_or_si512(_mm512_srli_epi64::<48>(x0), _mm512_slli_epi64::<16>(x1)),
            mask,
        ),
        _mm512_and_si512(
            _mm512_or_si512(_mm512_srli_epi64::<36>(x1), _mm512_slli_epi64::<28>(x2)),
            mask,
        ),
        _mm512_and_si512(
            _mm512_or_si512(_mm512_srli_epi64::<24>(x2), _mm512_slli_epi64::<40>(x3)),
            mask,
        ),
        _mm512_srli_epi64::<12>(x3),
    ])
}

/// Five vectors of 52-bit limbs, numbers below 2^256, to four of 64 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn join_limbs(x: Eight) -> [__m512i; 4] {
    let [l0, l1, l2, l3, l4] = x.0;
    [
        _mm512_or_si512(l0, _mm512_slli_epi64::<52>(l1)),
        _mm512_or_si512(_mm512_srli_epi64::<12>(l1), _mm512_slli_epi64::<40>(l2)),
        _mm512_or_si512(_mm512_srli_epi64::<24>(l2), _mm512_slli_epi64::<28>(l3)),
        _mm512_or_si512(_mm512_srli_epi64::<36>(l3), _mm512_slli_epi64::<16>(l4)),
    ]
}

/// Picks 128-bit halves: from each 256-bit half the low (or high) one of `a`, then that of `b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn interleave_low(a: __m512i, b: __m512i) -> __m512i {
    _mm512_permutex2var_epi64(a, _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn interleave_high(a: __m512i, b: __m512i) -> __m512i {
    _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2), b)
}

/// Transposes 4 × 4 words in each 256-bit half. It is its own inverse.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn transpose(r: [__m512i; 4]) -> [__m512i; 4] {
    let (low01, high01) = (_mm512_unpacklo_epi64(r[0], r[1]), _mm512_unpackhi_epi64(r[0], r[1]));
    let (low23, high23) = (_mm512_unpacklo_epi64(r[2], r[3]), _mm512_unpackhi_epi64(r[2], r[3]));
    [
        interleave_low(low01, low23),
        interleave_low(high01, high23),
        interleave_high(low01, low23),
        interleave_high(high01, high23),
    ]
}

/// Loads 32 bytes from each of eight places, for [`transpose`].
///
/// # Safety
/// Each pointer is good for reading 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn load_rows(places: [*const u64; LANES]) -> [__m512i; 4] {
    let mut rows = [_mm512_setzero_si512(); 4];
    for i in 0..4 {
        // SAFETY: as the caller promises.
        rows[i] = unsafe {
            let low = _mm256_loadu_si256(places[i].cast());
            let high = _mm256_loadu_si256(places[i + 4].cast());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        };
    }
    rows
}

/// Loads 32 bytes from each of eight places. Word i of vector j is limb j of lane i.
///
/// # Safety
/// As [`load_rows`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn load_words(places: [*const u64; LANES]) -> [__m512i; 4] {
    // SAFETY: as the caller promises.
    transpose(unsafe { load_rows(places) })
}

/// [`load_words`] from places at equal distances, in words.
///
/// # Safety
/// Each of `place`, `place + stride`, …, `place + 7 · stride` is good for reading 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn load_run(place: *const u64, stride: usize) -> [__m512i; 4] {
    let mut places = [place; LANES];
    for lane in 1..LANES {
        places[lane] = place.wrapping_add(lane * stride);
    }
    // SAFETY: as the caller promises.
    unsafe { load_words(places) }
}

/// [`store_words`] to places at equal distances, in words.
///
/// # Safety
/// Each of `place`, `place + stride`, …, `place + 7 · stride` is good for writing 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn store_run(words: [__m512i; 4], place: *mut u64, stride: usize) {
    let mut places = [place; LANES];
    for lane in 1..LANES {
        places[lane] = place.wrapping_add(lane * stride);
    }
    // SAFETY: as the caller promises.
    unsafe { store_words(words, places) };
}

/// The reverse of [`load_words`].
///
/// # Safety
/// Each pointer is good for writing 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn store_words(words: [__m512i; 4], places: [*mut u64; LANES]) {
    // SAFETY: as the caller promises.
    unsafe { store_rows_at(transpose(words), places) }
}

/// Writes rows, as [`transpose`] makes them of words, to places at equal distances, in words.
///
/// # Safety
/// As [`store_run`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn store_rows(rows: [__m512i; 4], place: *mut u64, stride: usize) {
    let places = std::array::from_fn(|lane| place.wrapping_add(lane * stride));
    // SAFETY: as the caller promises.
    unsafe { store_rows_at(rows, places) }
}

/// # Safety
/// As [`store_words`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn store_rows_at(rows: [__m512i; 4], places: [*mut u64; LANES]) {
    for (i, row) in rows.into_iter().enumerate() {
        // SAFETY: as the caller promises.
        unsafe {
            _mm256_storeu_si256(places[i].cast(), _mm512_castsi512_si256(row));
            _mm256_storeu_si256(places[i + 4].cast(), _mm512_extracti64x4_epi64::<1>(row));
        }
    }
}

// An element is four limbs and nothing else.
const _: () = assert!(size_of::<Fr>() == 32);

/// The limbs of sixteen elements.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn load_sixteen(values: &[Fr; 2 * LANES]) -> [[__m512i; 4]; 2] {
    let place: *const u64 = values.as_ptr().cast();
    // SAFETY: each half of `values` is eight elements of four words.
    unsafe { [load_run(place, 4), load_run(place.wrapping_add(4 * LANES), 4)] }
}

/// Numbers below 2^260, in arkworks' form, to their elements.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn store_sixteen(values: [Eight; 2], out: &mut [Fr; 2 * LANES]) {
    let place: *mut u64 = out.as_mut_ptr().cast();
    // SAFETY: each half of `out` is eight elements of four words.
    unsafe {
        store_run(join_limbs(canonical::<R>(values[0])), place, 4);
        store_run(join_limbs(canonical::<R>(values[1])), place.wrapping_add(4 * LANES), 4);
    }
}

#[cfg(test)]
pub(super) mod tests;
