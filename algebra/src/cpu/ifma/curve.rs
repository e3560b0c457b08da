//! Additions of affine points, eight at a time.
#![allow(unsafe_code)]
// Loops over limbs and lanes walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512,
    _mm512_slli_epi64, _mm512_srli_epi64, _mm512_storeu_si512, _mm512_test_epi64_mask,
};
use std::sync::LazyLock;

use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};

use super::Ifma;
use super::field::{
    Eight, EightMemory, LANES, Q, canonical, carry_and_reduce, factor, join_limbs, limbs_less,
    load_words, mul, product_limbs, products_here, select, splat, split_limbs, square_limbs,
    store_run, store_words, sub, word,
};
use crate::Fq;
use crate::cpu::msm::affine::{Flat, SIGN};
use crate::field::batch_invert;

/// Pairs that one step takes: two vectors, whose chains of products do not wait for each other.
const STEP: usize = 2 * LANES;
/// Chains of running products: two steps whose products do not wait for each other's.
const CHAINS: usize = 2;
/// How many steps ahead points are fetched into the cache.
const AHEAD: usize = 4;

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
    /// Cost: six products in vectors of eight, about 23 ns a pair on a Zen 5 core.
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
struct Vector {
    left: Places,
    right: Places,
    left_negative: u8,
    right_negative: u8,
}

type Places = [*const u64; LANES];

impl Vector {
    /// # Safety
    /// There is a pair, and `points` outlives the vector and has all points that pairs name.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn new(points: &[Flat], pairs: &[[u32; 2]], start: usize) -> Self {
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
        // SAFETY: eight pairs of 32-bit words.
        let words = unsafe { _mm512_loadu_si512(run.as_ptr().cast()) };
        const { assert!(size_of::<Flat>() == 64) };
        // Words of 64 bits: the left index in the low half, the right one in the high half.
        let places = |indices: __m512i| {
            let offsets = _mm512_slli_epi64::<6>(_mm512_and_si512(indices, word(!SIGN as u64)));
            let origin = word(points.as_ptr() as u64);
            let mut out = [0u64; LANES];
            // SAFETY: eight words.
            unsafe {
                _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_add_epi64(origin, offsets))
            };
            out.map(|place| points.as_ptr().with_addr(place as usize).cast())
        };
        Self {
            left: places(words),
            right: places(_mm512_srli_epi64::<32>(words)),
            left_negative: _mm512_test_epi64_mask(words, word(SIGN as u64)),
            right_negative: _mm512_test_epi64_mask(words, word((SIGN as u64) << 32)),
        }
    }

    /// `x2 − x1`, below 4q.
    ///
    /// # Safety
    /// The points live.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn run(&self) -> Eight {
        // SAFETY: as the caller promises.
        unsafe { sub::<Q, 2>(x(self.right), x(self.left)) }
    }
}

/// # Safety
/// The places are points.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn x(points: Places) -> Eight {
    // SAFETY: x is the first 32 bytes of a point.
    split_limbs(unsafe { load_words(points) })
}

/// y or, where the mask is set, −y. Below 2q.
///
/// # Safety
/// The places are points.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn y(mut points: Places, negative: u8) -> Eight {
    for place in &mut points {
        *place = place.wrapping_add(4);
    }
    // SAFETY: y is the last 32 bytes of a point.
    let y = split_limbs(unsafe { load_words(points) });
    if negative == 0 {
        return y;
    }
    select(negative, y, sub::<Q, 2>(splat(&[0; 5]), y))
}

/// Replaces the numbers by their inverses. Returns false, with unspecified numbers, if one has none.
///
/// The four vectors share eight inversions, and those share one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert(chains: &mut [[EightMemory; 2]; CHAINS]) -> bool {
    let vectors = chains.as_flattened_mut();
    // befores[i] is the product of the vectors before i.
    let mut product = splat(&factor(Fq::ONE, raw));
    let mut befores = [EightMemory::ZERO; 2 * CHAINS];
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

/// Bounds: stored coordinates are below 2q, and differences of two below 4q. Running products, being
/// products of numbers below 3q and 4q, are below 3q, and so are slopes, squares and drops.
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_pairs(points: &[Flat], pairs: &[[u32; 2]], out: &mut [Flat], memory: &mut Products) -> bool {
    let mut highest = 0;
    for index in pairs.as_flattened() {
        highest = highest.max(index & !SIGN);
    }
    assert!(!pairs.is_empty() && (highest as usize) < points.len());

    let one = EightMemory::from_eight(splat(&factor(Fq::ONE, raw)));
    let mut chains = [[one; 2]; CHAINS];
    let vectors = pairs.len().div_ceil(STEP) * 2;
    if memory.0.len() < vectors {
        memory.0.resize(vectors, EightMemory::ZERO);
    }
    let befores = &mut memory.0[..vectors];
    for (step, before) in befores.chunks_exact_mut(2).enumerate() {
        let start = step * STEP;
        prefetch(points, pairs, start + AHEAD * STEP);
        // SAFETY: all indices were compared with the number of points above.
        let runs = unsafe {
            [
                Vector::new(points, pairs, start).run(),
                Vector::new(points, pairs, start + LANES).run(),
            ]
        };
        let chain = &mut chains[step % CHAINS];
        let product = [chain[0].load(), chain[1].load()];
        before[0].store(product[0]);
        before[1].store(product[1]);
        // SAFETY: this function has the target feature.
        let product = unsafe { products_here::<Q, 2>(&product, &runs) };
        *chain = product.map(|half| EightMemory::from_eight(half));
    }
    if !invert(&mut chains) {
        return false;
    }
    for (step, before) in befores.chunks_exact(2).enumerate().rev() {
        let start = step * STEP;
        prefetch(points, pairs, start.wrapping_sub(AHEAD * STEP));
        let chain = &mut chains[step % CHAINS];
        let inverse = [chain[0].load(), chain[1].load()];
        // SAFETY: this function has the target feature.
        let run_inverses =
            unsafe { products_here::<Q, 2>(&inverse, &[before[0].load(), before[1].load()]) };
        // SAFETY: as above.
        let [a, b] = unsafe {
            [Vector::new(points, pairs, start), Vector::new(points, pairs, start + LANES)]
        };
        // SAFETY: as above.
        let (x1, x2) = unsafe { ([x(a.left), x(b.left)], [x(a.right), x(b.right)]) };
        let runs = [sub::<Q, 2>(x2[0], x1[0]), sub::<Q, 2>(x2[1], x1[1])];
        // SAFETY: this function has the target feature.
        let inverse = unsafe { products_here::<Q, 2>(&inverse, &runs) };
        *chain = inverse.map(|half| EightMemory::from_eight(half));
        // SAFETY: as above.
        let (y1, y2) = unsafe {
            (
                [y(a.left, a.left_negative), y(b.left, b.left_negative)],
                [y(a.right, a.right_negative), y(b.right, b.right_negative)],
            )
        };
        let rises = [sub::<Q, 2>(y2[0], y1[0]), sub::<Q, 2>(y2[1], y1[1])];
        // SAFETY: this function has the target feature.
        let slopes = unsafe { products_here::<Q, 2>(&rises, &run_inverses) };
        // SAFETY: this function has the target feature.
        let squares = unsafe { square_limbs::<Q, 2>(&slopes) };
        let x3 = [0, 1].map(|k| {
            let less_one = limbs_less::<Q, 2>(squares[k], x1[k]);
            carry_and_reduce::<Q>(limbs_less::<Q, 2>(less_one, x2[k]))
        });
        let legs = [sub::<Q, 2>(x1[0], x3[0]), sub::<Q, 2>(x1[1], x3[1])];
        // SAFETY: this function has the target feature.
        let drops = unsafe { product_limbs::<Q, 2>(&slopes, &legs) };
        let y3 = [0, 1].map(|k| carry_and_reduce::<Q>(limbs_less::<Q, 2>(drops[k], y1[k])));
        if let Some(out) = out[start..].first_chunk_mut::<STEP>() {
            write(x3, y3, out);
        } else {
            let mut full = [Flat::IDENTITY; STEP];
            write(x3, y3, &mut full);
            let rest = &mut out[start..];
            rest.copy_from_slice(&full[..rest.len()]);
        }
    }
    true
}

/// Numbers below 2^256 to points.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn write(x: [Eight; 2], y: [Eight; 2], out: &mut [Flat; STEP]) {
    const WORDS: usize = size_of::<Flat>() / 8;
    let place: *mut u64 = out.as_mut_ptr().cast();
    for half in 0..2 {
        let place = place.wrapping_add(half * LANES * WORDS);
        // SAFETY: the two halves of eight neighbouring points.
        unsafe {
            store_run(join_limbs(x[half]), place, WORDS);
            store_run(join_limbs(y[half]), place.wrapping_add(4), WORDS);
        }
    }
}

/// Asks for the points of a step that comes later, if there is one.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn prefetch(points: &[Flat], pairs: &[[u32; 2]], start: usize) {
    let Some(pairs) = pairs.get(start..start.wrapping_add(STEP)) else { return };
    for index in pairs.as_flattened() {
        let place = points.as_ptr().wrapping_add((index & !SIGN) as usize);
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
}
