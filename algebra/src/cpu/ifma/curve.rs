//! Additions of affine points, eight at a time.
#![allow(unsafe_code)]
// Loops over limbs and lanes walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch, _mm512_loadu_si512, _mm512_test_epi64_mask};
use std::sync::LazyLock;

use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};

use super::Ifma;
use super::field::{
    EightMemory, LANES, Q, canonical, factor, join_limbs, load_words, mul, splat, split_limbs,
    store_words, word,
};
use super::sums::{add_with_inverses, multiply_runs};
use crate::Fq;
use crate::cpu::msm::affine::{Flat, SIGN};
use crate::field::batch_invert;

/// Chains of running products, of which the vectors take turns: a product does not wait for the one before.
pub(super) const CHAINS: usize = 4;
/// How many vectors ahead points are fetched into the cache.
pub(super) const AHEAD: usize = 8;

static SIXTEENTH: LazyLock<Fq> =
    LazyLock::new(|| Fq::from(16u64).inverse().expect("16 is not zero"));

fn raw(value: Fq) -> [u64; 4] {
    value.0.0
}

/// A number below 2q in arkworks' limbs, taken as if it were in arkworks' form.
fn from_raw(limbs: &[u64]) -> Fq {
    let mut number = BigInt::new([limbs[0], limbs[1], limbs[2], limbs[3]]);
    if number >= Fq::MODULUS {
        ark_ff::BigInteger::sub_with_borrow(&mut number, &Fq::MODULUS);
    }
    Fq::new_unchecked(number)
}

impl Ifma {
    /// arkworks' point to the form that [`Self::add_pairs`] reads: coordinates times 2^260.
    pub(in crate::cpu) fn import(self, point: &Flat) -> Flat {
        self.scaled(point, Fq::from(16u64))
    }

    /// The way back.
    pub(in crate::cpu) fn export(self, point: &Flat) -> Flat {
        self.scaled(point, *SIXTEENTH)
    }

    fn scaled(self, point: &Flat, factor: Fq) -> Flat {
        let (x, y) = (raw(from_raw(&point.0[..4]) * factor), raw(from_raw(&point.0[4..]) * factor));
        Flat([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]])
    }

    /// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]` for points with different x. Returns
    /// whether they all were; if not, the contents of `out` are unspecified.
    ///
    /// Cost: six products in vectors of eight, 606 multiply-adds for eight pairs.
    /// Twin: `msm::affine::add_pairs`, which also adds equal and opposite points.
    pub(in crate::cpu) fn add_pairs(
        self,
        points: &[Flat],
        pairs: &[[u32; 2]],
        out: &mut [Flat],
        products: &mut Products,
    ) -> bool {
        assert_eq!(pairs.len(), out.len());
        // SAFETY: the processor has the instructions, as `self` proves.
        pairs.is_empty() || unsafe { add_pairs(points, pairs, out, products) }
    }
}

/// Memory for the running products, kept between calls.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Products(Vec<EightMemory>);

/// Where the points of one vector of pairs are; the last pair repeats where there are no more.
#[derive(Clone, Copy)]
pub(super) struct Vector {
    pub(super) left: Places,
    pub(super) right: Places,
    pub(super) left_negative: u8,
    pub(super) right_negative: u8,
}

pub(super) type Places = [*const u64; LANES];

impl Vector {
    /// # Safety
    /// The processor has AVX-512 IFMA. There is a pair, and `points` outlives the vector and has all points that pairs
    /// name. Always inlined: a call would empty the registers of the products around it.
    #[inline(always)]
    pub(super) unsafe fn new(points: &[Flat], pairs: &[[u32; 2]], start: usize) -> Self {
        let mut repeated = [[0; 2]; LANES];
        let run: &[[u32; 2]; LANES] = match pairs.get(start..).and_then(<[_]>::first_chunk) {
            Some(run) => run,
            None => {
                for lane in 0..LANES {
                    repeated[lane] = pairs[(start + lane).min(pairs.len() - 1)];
                }
                &repeated
            }
        };
        // Words of 64 bits: the left index in the low half, the right one in the high half.
        // SAFETY: eight pairs of 32-bit words.
        let words = unsafe { _mm512_loadu_si512(run.as_ptr().cast()) };
        // SAFETY: as the caller promises.
        let negative = |bit: u64| unsafe { _mm512_test_epi64_mask(words, word(bit)) };
        let place = |index: u32| points.as_ptr().wrapping_add((index & !SIGN) as usize).cast();
        Self {
            left: run.map(|pair| place(pair[0])),
            right: run.map(|pair| place(pair[1])),
            left_negative: negative(SIGN as u64),
            right_negative: negative((SIGN as u64) << 32),
        }
    }
}

/// Replaces the numbers by their inverses. Returns false, with unspecified numbers, if one has none.
///
/// The four vectors share eight inversions, and those share one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert(vectors: &mut [EightMemory; CHAINS]) -> bool {
    // befores[i] is the product of the vectors before i.
    let mut product = splat(&factor(Fq::ONE, raw));
    let mut befores = [EightMemory::ZERO; CHAINS];
    for (vector, before) in vectors.iter().zip(&mut befores) {
        before.store(product);
        product = mul::<Q>(product, vector.load());
    }
    let mut words = [[0u64; 4]; LANES];
    let places = words.each_mut().map(|word| word.as_mut_ptr());
    // SAFETY: each place is 32 bytes of `words`.
    unsafe { store_words(join_limbs(canonical::<Q>(product)), places) };
    let mut lanes = words.map(|words| from_raw(&words));
    if lanes.contains(&Fq::ZERO) {
        return false;
    }
    batch_invert(&mut lanes);
    // A value v · 2^260 reads as the element 16v; its inverse v^−1 / 16 lacks 2^8 to be ours.
    let correct = Fq::from(256u64);
    let words = lanes.map(|lane| raw(lane * correct));
    // SAFETY: each place is 32 bytes of `words`.
    let mut inverse = split_limbs(unsafe { load_words(words.each_ref().map(|w| w.as_ptr())) });
    for (vector, before) in vectors.iter_mut().zip(&befores).rev() {
        let value = vector.load();
        vector.store(mul::<Q>(inverse, before.load()));
        inverse = mul::<Q>(inverse, value);
    }
    true
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn add_pairs(points: &[Flat], pairs: &[[u32; 2]], out: &mut [Flat], memory: &mut Products) -> bool {
    let mut highest = 0;
    for index in pairs.as_flattened() {
        highest = highest.max(index & !SIGN);
    }
    assert!(!pairs.is_empty() && (highest as usize) < points.len());

    let one = EightMemory::from_eight(splat(&factor(Fq::ONE, raw)));
    let mut chains = [one; CHAINS];
    let vectors = pairs.len().div_ceil(LANES);
    if memory.0.len() < vectors {
        memory.0.resize(vectors, EightMemory::ZERO);
    }
    let befores = &mut memory.0[..vectors];
    // SAFETY: all indices were compared with the number of points above.
    unsafe { multiply_runs(points, pairs, befores, &mut chains) };
    if !invert(&mut chains) {
        return false;
    }
    // SAFETY: as above, and the caller compared the lengths.
    unsafe { add_with_inverses(points, pairs, out, befores, &mut chains) };
    true
}

/// Asks for the points of a vector, if there is one.
#[inline(always)]
pub(super) fn prefetch(points: &[Flat], pairs: &[[u32; 2]], vector: usize) {
    let start = vector.wrapping_mul(LANES);
    let Some(pairs) = pairs.get(start..start.wrapping_add(LANES)) else { return };
    for index in pairs.as_flattened() {
        let place = points.as_ptr().wrapping_add((index & !SIGN) as usize);
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
}
