//! Additions of affine points, eight at a time.
#![allow(unsafe_code)]
// Loops over limbs and lanes walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::sync::LazyLock;

use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};

use super::Ifma;
use super::field::{
    Eight, EightMemory, LANES, Q, canonical, factor, join_limbs, load_words, products, reduce,
    select, splat, split_limbs, store_run, store_words, sub, sub_two,
};
use crate::Fq;
use crate::cpu::msm::affine::{Flat, SIGN};
use crate::field::batch_invert;

/// Pairs that one step takes: two vectors, whose chains of products do not wait for each other.
const STEP: usize = 2 * LANES;
/// How many steps ahead points are fetched into the cache.
const AHEAD: usize = 2;

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

    /// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]` for points with different x. Says whether
    /// they all were; if not, `out` holds nothing of use.
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
    left: [*const u64; LANES],
    right: [*const u64; LANES],
    left_negative: u8,
    right_negative: u8,
}

impl Vector {
    /// # Safety
    /// There is a pair, and `points` outlives the vector and has all points that pairs name.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn new(points: &[Flat], pairs: &[[u32; 2]], start: usize) -> Self {
        let origin: *const Flat = points.as_ptr();
        let mut vector = Self {
            left: [origin.cast(); LANES],
            right: [origin.cast(); LANES],
            left_negative: 0,
            right_negative: 0,
        };
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
        for lane in 0..LANES {
            let [left, right] = run[lane];
            vector.left[lane] = origin.wrapping_add((left & !SIGN) as usize).cast();
            vector.right[lane] = origin.wrapping_add((right & !SIGN) as usize).cast();
            vector.left_negative |= ((left >> 31) << lane) as u8;
            vector.right_negative |= ((right >> 31) << lane) as u8;
        }
        vector
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

    /// `y2 − y1`, below 4q.
    ///
    /// # Safety
    /// The points live.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn rise(&self) -> Eight {
        // SAFETY: as the caller promises.
        unsafe { sub::<Q, 2>(y(self.right, self.right_negative), y(self.left, self.left_negative)) }
    }

    /// The sum's x, `slope² − x1 − x2`, below 2q.
    ///
    /// # Safety
    /// The points live.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn sum_x(&self, square: Eight) -> Eight {
        // SAFETY: as the caller promises.
        reduce::<Q>(unsafe { sub_two::<Q, 4>(square, x(self.left), x(self.right)) })
    }

    /// The sum's y, `slope · (x1 − x3) − y1`, below 2q.
    ///
    /// # Safety
    /// The points live.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn sum_y(&self, drop: Eight) -> Eight {
        // SAFETY: as the caller promises.
        reduce::<Q>(unsafe { sub::<Q, 2>(drop, y(self.left, self.left_negative)) })
    }
}

/// # Safety
/// The places are points.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn x(points: [*const u64; LANES]) -> Eight {
    // SAFETY: x is the first 32 bytes of a point.
    split_limbs(unsafe { load_words(points) })
}

/// y or, where the mask says so, −y. Below 2q.
///
/// # Safety
/// The places are points.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn y(mut points: [*const u64; LANES], negative: u8) -> Eight {
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

/// The inverses of two vectors, or nothing where one of the sixteen has none.
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert(values: [Eight; 2]) -> Option<[Eight; 2]> {
    let mut lanes = [Fq::ZERO; STEP];
    for (value, lanes) in values.into_iter().zip(lanes.chunks_exact_mut(LANES)) {
        let mut words = [[0u64; 4]; LANES];
        let places = words.each_mut().map(|word| word.as_mut_ptr());
        // SAFETY: each place is 32 bytes of `words`.
        unsafe { store_words(join_limbs(canonical::<Q>(value)), places) };
        for (lane, words) in lanes.iter_mut().zip(&words) {
            *lane = from_raw(words);
        }
    }
    if lanes.contains(&Fq::ZERO) {
        return None;
    }
    batch_invert(&mut lanes);
    // A value v · 2^260 reads as the element 16v; its inverse v^−1 / 16 lacks 2^8 to be ours.
    let correct = Fq::from(256u64);
    let mut out = [[[0u64; 4]; LANES]; 2];
    for (lane, words) in lanes.iter().zip(out.as_flattened_mut()) {
        *words = raw(*lane * correct);
    }
    // SAFETY: each place is 32 bytes of `out`.
    Some(out.map(|half| split_limbs(unsafe { load_words(half.each_ref().map(|w| w.as_ptr())) })))
}

/// Bounds: stored coordinates are below 2q, runs below 4q, and running products, being products of
/// numbers below 2q and 4q, below (1 + 8 / 84)q.
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_pairs(points: &[Flat], pairs: &[[u32; 2]], out: &mut [Flat], memory: &mut Products) -> bool {
    let mut highest = 0;
    for index in pairs.as_flattened() {
        highest = highest.max(index & !SIGN);
    }
    assert!(!pairs.is_empty() && (highest as usize) < points.len());

    let one = splat(&factor(Fq::ONE, raw));
    let mut product = [one, one];
    let befores = &mut memory.0;
    befores.clear();
    befores.resize(pairs.len().div_ceil(STEP) * 2, EightMemory::ZERO);
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
        before[0].store(product[0]);
        before[1].store(product[1]);
        product = products::<Q, 2>(product, runs);
    }
    let Some(mut inverse) = invert(product) else { return false };
    for (step, before) in befores.chunks_exact(2).enumerate().rev() {
        let start = step * STEP;
        prefetch(points, pairs, start.wrapping_sub(AHEAD * STEP));
        let run_inverses = products::<Q, 2>(inverse, [before[0].load(), before[1].load()]);
        // SAFETY: as above.
        let (x3, y3) = unsafe {
            let a = Vector::new(points, pairs, start);
            let b = Vector::new(points, pairs, start + LANES);
            inverse = products::<Q, 2>(inverse, [a.run(), b.run()]);
            let slopes = products::<Q, 2>([a.rise(), b.rise()], run_inverses);
            let squares = products::<Q, 2>(slopes, slopes);
            let x3 = [a.sum_x(squares[0]), b.sum_x(squares[1])];
            let legs = [sub::<Q, 2>(x(a.left), x3[0]), sub::<Q, 2>(x(b.left), x3[1])];
            let drops = products::<Q, 2>(slopes, legs);
            (x3, [a.sum_y(drops[0]), b.sum_y(drops[1])])
        };
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
        if let Some(point) = points.get((index & !SIGN) as usize) {
            _mm_prefetch::<_MM_HINT_T0>(point.0.as_ptr().cast());
        }
    }
}
