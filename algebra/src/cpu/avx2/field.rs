//! Numbers of nine limbs in four lanes.
#![allow(unsafe_code)]
// Loops over limbs walk several arrays at once; closures in adapters would be compiled without the instructions.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_epi8, _mm256_cmpgt_epi64,
    _mm256_mul_epu32, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_epi64x,
    _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64,
    _mm256_sub_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
};

use crate::cpu::words::{Modulus, Words};

/// Numbers that a vector holds.
pub(super) const LANES: usize = 4;
pub(super) const LIMBS: usize = 9;
const BITS: usize = 29;
const MASK: u64 = (1 << BITS) - 1;
/// Most products of a sum with one reduction: a column of limbs is below `9 · (6 + 1) · 2^58` and a carry, below 2^64.
pub(super) const PRODUCTS_MAX: usize = 6;
/// What numbers may come to, in multiples of p: 169 fit, and what is subtracted from them must fit as well.
pub(super) const SUM_MAX: u32 = 160;

/// A number of one lane.
pub(super) type Limbs = [u64; LIMBS];

/// Four numbers: limb by limb, a lane for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Four(pub(super) [__m256i; LIMBS]);

/// The limbs of four words.
pub(super) const fn split(words: Words) -> Limbs {
    let mut limbs = [0; LIMBS];
    let mut k = 0;
    while k < LIMBS {
        let (word, shift) = (BITS * k / 64, BITS * k % 64);
        limbs[k] = words[word] >> shift;
        if shift + BITS > 64 && word + 1 < words.len() {
            limbs[k] |= words[word + 1] << (64 - shift);
        }
        limbs[k] &= MASK;
        k += 1;
    }
    limbs
}

/// `limbs · factor`, normal; it must be below 2^261.
const fn times(limbs: Limbs, factor: u64) -> Limbs {
    let mut out = [0; LIMBS];
    let mut carry = 0;
    let mut k = 0;
    while k < LIMBS {
        let limb = limbs[k] * factor + carry;
        out[k] = limb & MASK;
        carry = limb >> BITS;
        k += 1;
    }
    assert!(carry == 0);
    out
}

/// Literals of a modulus.
pub(super) trait Literals: Modulus {
    const P: Limbs = split(Self::MODULUS.0);
    /// −1 / p modulo 2^29.
    const MINUS_INVERSE: u64 = Self::INV & MASK;
    /// `⌊2^90 / (h + 1)⌋` for the highest word h of p: at most `2^282 / p`, and less by a part of at most 2^−27.
    const RECIPROCAL: u64 = ((1u128 << 90) / (Self::MODULUS.0[3] as u128 + 1)) as u64;
    /// A number in this form times 2^256, reduced, is in arkworks' form.
    const BACK: Limbs = split(Self::R.0);
}

impl<M: Modulus> Literals for M {}

/// `k · p`, below 2^261.
pub(super) const fn multiple<M: Literals>(k: u32) -> Limbs {
    times(M::P, k as u64)
}

/// Added to the limbs of a difference, whose value it does not change: each limb but the highest then is above zero as
/// long as less than 2^40 is subtracted from it. Modulo 2^64.
const BIAS: Limbs = {
    const UP: u64 = 1 << 40;
    const DOWN: u64 = UP >> BITS;
    let mut bias = [UP.wrapping_sub(DOWN); LIMBS];
    bias[0] = UP;
    bias[LIMBS - 1] = DOWN.wrapping_neg();
    bias
};

#[inline]
#[target_feature(enable = "avx2")]
fn word(value: u64) -> __m256i {
    _mm256_set1_epi64x(value as i64)
}

/// The same number in all lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(limbs: &Limbs) -> Four {
    let mut out = zero();
    for i in 0..LIMBS {
        out[i] = word(limbs[i]);
    }
    Four(out)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn zero() -> [__m256i; LIMBS] {
    [_mm256_setzero_si256(); LIMBS]
}

/// `sum += number`, limb by limb.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn plus(sum: &mut [__m256i; LIMBS], number: &Four) {
    for i in 0..LIMBS {
        sum[i] = _mm256_add_epi64(sum[i], number.0[i]);
    }
}

/// `sum −= number`, limb by limb; [`biased`] makes limbs of it that can be carried.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn minus(sum: &mut [__m256i; LIMBS], number: &Four) {
    for i in 0..LIMBS {
        sum[i] = _mm256_sub_epi64(sum[i], number.0[i]);
    }
}

/// −number where the mask's lane is full, limb by limb, plus `multiple` there; number elsewhere. Limbs may be below zero.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn negated_where(mask: __m256i, number: &Four, multiple: &Four) -> Four {
    let mut out = number.0;
    for i in 0..LIMBS {
        let minus = _mm256_sub_epi64(multiple.0[i], number.0[i]);
        out[i] = _mm256_blendv_epi8(number.0[i], minus, mask);
    }
    Four(out)
}

/// A full lane for each of four that is true.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn mask_of(lanes: [bool; LANES]) -> __m256i {
    let full = |lane: bool| -i64::from(lane);
    _mm256_set_epi64x(full(lanes[3]), full(lanes[2]), full(lanes[1]), full(lanes[0]))
}

/// What was subtracted from, so that no limb is below zero but the highest, which is right once it is carried to.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn biased(mut sum: [__m256i; LIMBS]) -> [__m256i; LIMBS] {
    for i in 0..LIMBS {
        sum[i] = _mm256_add_epi64(sum[i], word(BIAS[i]));
    }
    sum
}

/// The normal form of a number below 2^261 whose limbs are numbers of 64 bits.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn carry(mut limbs: [__m256i; LIMBS]) -> Four {
    for i in 0..LIMBS - 1 {
        limbs[i + 1] =
            _mm256_add_epi64(limbs[i + 1], _mm256_srli_epi64::<{ BITS as i32 }>(limbs[i]));
        limbs[i] = _mm256_and_si256(limbs[i], word(MASK));
    }
    Four(limbs)
}

/// `Σ a · b / 2^261` modulo p over at most [`PRODUCTS_MAX`] pairs of normal numbers, limbs not yet carried: for a below
/// αp and b below βp it is below `(1 + Σ αβ / 169)p`.
///
/// Round by round, a limb of each second factor at a time; each round makes the lowest limb a multiple of 2^29 and
/// drops it.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum_of_products<M: Literals, const K: usize>(
    pairs: [[&Four; 2]; K],
) -> [__m256i; LIMBS] {
    const { assert!(K <= PRODUCTS_MAX) };
    let mut t = zero();
    for i in 0..LIMBS {
        for k in 0..K {
            let [a, b] = pairs[k];
            let factor = b.0[i];
            for j in 0..LIMBS {
                t[j] = _mm256_add_epi64(t[j], _mm256_mul_epu32(a.0[j], factor));
            }
        }
        // Only the lowest 29 bits of the product count, and of its factors the lowest 32 are multiplied.
        let m = _mm256_mul_epu32(t[0], word(M::MINUS_INVERSE));
        let m = _mm256_and_si256(m, word(MASK));
        let low = _mm256_add_epi64(t[0], _mm256_mul_epu32(m, word(M::P[0])));
        let carry = _mm256_srli_epi64::<{ BITS as i32 }>(low);
        for j in 1..LIMBS {
            t[j - 1] = _mm256_add_epi64(t[j], _mm256_mul_epu32(m, word(M::P[j])));
        }
        t[LIMBS - 1] = _mm256_setzero_si256();
        t[0] = _mm256_add_epi64(t[0], carry);
    }
    t
}

/// A normal number of at most [`SUM_MAX`] to one below 2p: less as many p as its highest limb shows.
///
/// The quotient q is estimated by `⌊limb · RECIPROCAL / 2^50⌋`. It is at most x / p, as both factors are from below.
/// The limb leaves out less than 2^232, below 2^−21 p, and the reciprocal errs by a part of 2^−27 in a quotient
/// below 2^8, so q is above `x / p − 1 − 2^−18`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn reduce<M: Literals>(number: Four) -> Four {
    let mut limbs = number.0;
    let product = _mm256_mul_epu32(limbs[LIMBS - 1], word(M::RECIPROCAL));
    let quotient = _mm256_srli_epi64::<50>(product);
    for i in 0..LIMBS {
        // Below 2^8 · 2^29.
        let part = _mm256_mul_epu32(quotient, word(M::P[i]));
        limbs[i] = _mm256_sub_epi64(limbs[i], part);
    }
    carry(biased(limbs))
}

/// A normal number below 2p to one below p.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn canonical<M: Literals>(number: Four) -> Four {
    let mut less = number.0;
    for i in 0..LIMBS {
        less[i] = _mm256_sub_epi64(less[i], word(M::P[i]));
    }
    let Four(less) = carry(biased(less));
    // Below zero where the number was below p.
    let was_below = _mm256_cmpgt_epi64(_mm256_setzero_si256(), less[LIMBS - 1]);
    let mut out = less;
    for i in 0..LIMBS {
        out[i] = _mm256_blendv_epi8(less[i], number.0[i], was_below);
    }
    Four(out)
}

/// Words of four numbers to the words of each, and back.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256i; LANES]) -> [__m256i; LANES] {
    let [a, b, c, d] = rows;
    let (even, odd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (even_after, odd_after) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<0x20>(even, even_after),
        _mm256_permute2x128_si256::<0x20>(odd, odd_after),
        _mm256_permute2x128_si256::<0x31>(even, even_after),
        _mm256_permute2x128_si256::<0x31>(odd, odd_after),
    ]
}

/// The words of four numbers, a lane for each.
#[inline]
#[target_feature(enable = "avx2")]
fn words_of(numbers: [&Words; LANES]) -> [__m256i; LANES] {
    let mut rows = [_mm256_setzero_si256(); LANES];
    for lane in 0..LANES {
        let words = numbers[lane];
        rows[lane] =
            _mm256_set_epi64x(words[3] as i64, words[2] as i64, words[1] as i64, words[0] as i64);
    }
    transposed(rows)
}

/// `(low >> DOWN | high << UP)` modulo 2^29.
#[inline]
#[target_feature(enable = "avx2")]
fn across<const DOWN: i32, const UP: i32>(low: __m256i, high: __m256i) -> __m256i {
    let both = _mm256_or_si256(_mm256_srli_epi64::<DOWN>(low), _mm256_slli_epi64::<UP>(high));
    _mm256_and_si256(both, word(MASK))
}

/// `(number >> DOWN)` modulo 2^29.
#[inline]
#[target_feature(enable = "avx2")]
fn within<const DOWN: i32>(number: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi64::<DOWN>(number), word(MASK))
}

/// Four numbers below 2^256, normal.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(numbers: [&Words; LANES]) -> Four {
    let [w0, w1, w2, w3] = words_of(numbers);
    Four([
        _mm256_and_si256(w0, word(MASK)),
        within::<29>(w0),
        across::<58, 6>(w0, w1),
        within::<23>(w1),
        across::<52, 12>(w1, w2),
        within::<17>(w2),
        across::<46, 18>(w2, w3),
        within::<11>(w3),
        _mm256_srli_epi64::<40>(w3),
    ])
}

/// `number · 2^5` of four numbers of arkworks' form, below 32p and normal.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn import(numbers: [&Words; LANES]) -> Four {
    let [w0, w1, w2, w3] = words_of(numbers);
    // Limb k has the bits from 29k − 5 on.
    Four([
        _mm256_and_si256(_mm256_slli_epi64::<5>(w0), word(MASK)),
        within::<24>(w0),
        across::<53, 11>(w0, w1),
        within::<18>(w1),
        across::<47, 17>(w1, w2),
        within::<12>(w2),
        across::<41, 23>(w2, w3),
        within::<6>(w3),
        _mm256_srli_epi64::<35>(w3),
    ])
}

#[inline]
#[target_feature(enable = "avx2")]
fn three(low: __m256i, middle: __m256i, high: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_or_si256(low, middle), high)
}

/// The words of four normal numbers below 2^256.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn joined(number: &Four) -> [Words; LANES] {
    let [l0, l1, l2, l3, l4, l5, l6, l7, l8] = number.0;
    let rows = transposed([
        three(l0, _mm256_slli_epi64::<29>(l1), _mm256_slli_epi64::<58>(l2)),
        three(_mm256_srli_epi64::<6>(l2), _mm256_slli_epi64::<23>(l3), _mm256_slli_epi64::<52>(l4)),
        three(
            _mm256_srli_epi64::<12>(l4),
            _mm256_slli_epi64::<17>(l5),
            _mm256_slli_epi64::<46>(l6),
        ),
        three(
            _mm256_srli_epi64::<18>(l6),
            _mm256_slli_epi64::<11>(l7),
            _mm256_slli_epi64::<40>(l8),
        ),
    ]);
    // SAFETY: four vectors and four numbers are 128 bytes each, and any bytes are words.
    unsafe { std::mem::transmute::<[__m256i; LANES], [Words; LANES]>(rows) }
}

/// Back to arkworks' form, below p, for normal numbers below 32p: a product by 2^256 leaves less than 1.2p.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn export<M: Literals>(number: &Four) -> [Words; LANES] {
    let back = splat(&M::BACK);
    let product = carry(sum_of_products::<M, 1>([[number, &back]]));
    joined(&canonical::<M>(product))
}

#[cfg(test)]
mod tests {
    use ark_bn254::{FqConfig, FrConfig};
    use ark_ff::{BigInt, Field};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::Avx2;
    use super::*;
    use crate::cpu::words;
    use crate::field::Element;

    #[target_feature(enable = "avx2")]
    fn pack(numbers: &[Limbs; LANES]) -> Four {
        let mut out = zero();
        for i in 0..LIMBS {
            let [a, b, c, d] = numbers.map(|limbs| limbs[i] as i64);
            out[i] = _mm256_set_epi64x(d, c, b, a);
        }
        Four(out)
    }

    fn unpacked(four: &Four) -> [Limbs; LANES] {
        // SAFETY: a vector and four words are 32 bytes each, and any bytes are words.
        let lanes = four.0.map(|limb| unsafe { std::mem::transmute::<__m256i, [u64; 4]>(limb) });
        std::array::from_fn(|lane| lanes.map(|limb| limb[lane]))
    }

    #[target_feature(enable = "avx2")]
    fn summed<M: Literals, const K: usize>(pairs: &[[[Limbs; LANES]; 2]; K]) -> [Limbs; LANES] {
        let packed = pairs.each_ref().map(|[a, b]| [pack(a), pack(b)]);
        unpacked(&carry(sum_of_products::<M, K>(packed.each_ref().map(|[a, b]| [a, b]))))
    }

    #[target_feature(enable = "avx2")]
    fn reduced<M: Literals>(numbers: &[Limbs; LANES]) -> [Limbs; LANES] {
        unpacked(&reduce::<M>(pack(numbers)))
    }

    /// `k · p + a − b`.
    #[target_feature(enable = "avx2")]
    fn difference<M: Literals>(k: u32, a: &[Limbs; LANES], b: &[Limbs; LANES]) -> [Limbs; LANES] {
        let mut sum = zero();
        plus(&mut sum, &splat(&multiple::<M>(k)));
        plus(&mut sum, &pack(a));
        minus(&mut sum, &pack(b));
        unpacked(&carry(biased(sum)))
    }

    #[target_feature(enable = "avx2")]
    fn exported<M: Literals>(numbers: &[Limbs; LANES]) -> [Words; LANES] {
        export::<M>(&pack(numbers))
    }

    #[target_feature(enable = "avx2")]
    fn imported(numbers: [&Words; LANES]) -> [Limbs; LANES] {
        unpacked(&import(numbers))
    }

    #[target_feature(enable = "avx2")]
    fn loaded_and_joined(numbers: [&Words; LANES]) -> [Words; LANES] {
        joined(&load(numbers))
    }

    fn residue<M: Literals>(limbs: &Limbs) -> Element<M> {
        let base = Element::<M>::from(1u64 << BITS);
        limbs
            .iter()
            .rev()
            .fold(Element::<M>::from(0u64), |sum, limb| sum * base + Element::<M>::from(*limb))
    }

    /// Whether a normal number is below `k · p`.
    fn is_below<M: Literals>(limbs: &Limbs, k: u32) -> bool {
        assert!(limbs.iter().all(|limb| *limb <= MASK), "{limbs:x?} is not normal");
        limbs.iter().rev().lt(multiple::<M>(k).iter().rev())
    }

    /// Normal numbers below `k · p`: multiples of p and their neighbours, full limbs, and random ones.
    fn samples<M: Literals>(k: u32) -> Vec<Limbs> {
        let top = u64::from(k) * M::P[LIMBS - 1];
        let mut full = [MASK; LIMBS];
        full[LIMBS - 1] = top - 1;
        let mut all = vec![[0; LIMBS], full];
        for times in [1, 2, 31, 32, 33, 64, 127, 128, 159, 160] {
            let mut number = multiple::<M>(times);
            all.push(number);
            // p is odd, so its multiples by odd factors are not zero in the lowest limb.
            number[0] ^= 1;
            all.push(number);
        }
        let mut highest = multiple::<M>(k);
        if highest[0] > 0 {
            highest[0] -= 1;
            all.push(highest);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(k));
        for _ in 0..100 {
            let mut number: Limbs = std::array::from_fn(|_| rng.r#gen::<u64>() & MASK);
            number[LIMBS - 1] = rng.gen_range(0..top);
            all.push(number);
        }
        all.retain(|number| is_below::<M>(number, k));
        all
    }

    fn four(all: &[Limbs], at: usize, step: usize) -> [Limbs; LANES] {
        std::array::from_fn(|lane| all[(at + lane * step) % all.len()])
    }

    /// # Safety
    /// The processor has AVX2.
    unsafe fn check_sums<M: Literals, const K: usize>(bounds: [u32; 2], most: u32) {
        let inverse = Element::<M>::from(2u64).pow([261]).inverse().expect("2 is not zero");
        let (left, right) = (samples::<M>(bounds[0]), samples::<M>(bounds[1]));
        for at in 0..left.len() {
            for step in [0, 1, 7] {
                let pairs: [[[Limbs; LANES]; 2]; K] = std::array::from_fn(|k| {
                    [
                        four(&left, at + k * step, step),
                        four(&right, at * (step + 1) + 3 * k * step, 1),
                    ]
                });
                // SAFETY: as the caller promises.
                let got = unsafe { summed::<M, K>(&pairs) };
                for lane in 0..LANES {
                    let terms =
                        pairs.iter().map(|[a, b]| residue::<M>(&a[lane]) * residue::<M>(&b[lane]));
                    assert_eq!(residue::<M>(&got[lane]), terms.sum::<Element<M>>() * inverse);
                    assert!(is_below::<M>(&got[lane], most), "{:x?}", got[lane]);
                }
            }
        }
    }

    /// # Safety
    /// The processor has AVX2.
    unsafe fn check_all<M: Literals>() {
        // SAFETY: as the caller promises, here and below.
        unsafe {
            // αβ / 169 and one more; six products of full limbs fill a column.
            check_sums::<M, 1>([160, 160], 153);
            check_sums::<M, 1>([32, 32], 8);
            check_sums::<M, 2>([32, 32], 14);
            check_sums::<M, 3>([32, 32], 20);
            check_sums::<M, 6>([32, 32], 38);
            check_sums::<M, 6>([66, 66], 156);
        }
        // With the negative of zeros, which reaches its bound.
        let mut all = samples::<M>(SUM_MAX);
        all.push(multiple::<M>(SUM_MAX));
        for at in 0..all.len() {
            let numbers = four(&all, at, 1);
            // SAFETY: as above.
            let got = unsafe { reduced::<M>(&numbers) };
            for lane in 0..LANES {
                assert_eq!(residue::<M>(&got[lane]), residue::<M>(&numbers[lane]));
                assert!(is_below::<M>(&got[lane], 2), "{:x?}", numbers[lane]);
            }
        }
        let (low, high) = (samples::<M>(64), samples::<M>(96));
        for at in 0..low.len() {
            let (a, b) = (four(&low, at, 3), four(&high, 5 * at, 1));
            // SAFETY: as above.
            let got = unsafe { difference::<M>(96, &a, &b) };
            for lane in 0..LANES {
                let expected = residue::<M>(&a[lane]) - residue::<M>(&b[lane]);
                assert_eq!(residue::<M>(&got[lane]), expected);
                assert!(is_below::<M>(&got[lane], SUM_MAX));
            }
        }
        let inverse = Element::<M>::from(2u64).pow([5]).inverse().expect("2 is not zero");
        let all = samples::<M>(32);
        for at in 0..all.len() {
            let numbers = four(&all, at, 1);
            // SAFETY: as above.
            let got = unsafe { exported::<M>(&numbers) };
            for lane in 0..LANES {
                let expected = residue::<M>(&numbers[lane]) * inverse;
                // The words are read as they are, not as an element in Montgomery form.
                assert_eq!(Element::<M>::new(BigInt::new(got[lane])), expected);
                assert!(words::difference(&got[lane], &M::MODULUS.0).1, "it is reduced");
            }
            // SAFETY: as above.
            assert_eq!(unsafe { loaded_and_joined(got.each_ref()) }, got);
            // SAFETY: as above.
            let again = unsafe { imported(got.each_ref()) };
            for lane in 0..LANES {
                assert_eq!(residue::<M>(&again[lane]), residue::<M>(&numbers[lane]));
                assert!(is_below::<M>(&again[lane], 32));
            }
        }
    }

    #[test]
    fn words_of_any_value_are_joined_as_they_were_loaded() {
        if Avx2::detect().is_none() {
            return;
        }
        let any: [Words; LANES] = [
            [u64::MAX; 4],
            [1, 1 << 63, u64::MAX, 0],
            [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 7 << 40, 1 << 63],
            [0, 0, 0, u64::MAX],
        ];
        // SAFETY: the instructions were found above.
        assert_eq!(unsafe { loaded_and_joined(any.each_ref()) }, any);
    }

    /// Goal: every operation keeps residues and its bound, in both fields. Method: numbers at the ends of the bounds
    /// that row kernels state, with full limbs among them, in lanes that differ.
    #[test]
    fn operations_on_four_lanes_keep_residues_and_bounds() {
        if Avx2::detect().is_none() {
            eprintln!("not run: this processor has no AVX2");
            return;
        }
        // SAFETY: the instructions were found above.
        unsafe {
            check_all::<FrConfig>();
            check_all::<FqConfig>();
        }
    }
}
