//! What a column's scalars are like, and how to cut them into digits.

use std::ops::Range;

use super::SIGN;
use crate::Fr;
use crate::cpu::CpuBuffer;
use crate::device::DeviceBuffer;
use ark_ff::PrimeField;
use rayon::prelude::*;

/// Bits of the largest scalar once those above r / 2 are negated.
const BITS_MAX: u32 = 253;
/// Widest window tried: 2^16 buckets of 64 bytes a thread.
const WINDOW_MAX: u32 = 17;
/// Largest magnitude kept in one word, with room for the digit offset and the sign.
const NARROW_BITS_MAX: u32 = 60;

/// Scalars that a thread takes at a time.
pub(super) const PIECE: usize = 1 << 13;

/// How scalars of up to `bits` bits are cut into windows of `c` bits. All windows but the top one
/// have signed digits in `−2^(c − 1) .. 2^(c − 1)`; the top one is unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    bits: u32,
    c: u32,
}

impl Shape {
    pub(super) fn windows(&self) -> u32 {
        self.bits.div_ceil(self.c)
    }

    /// The bit that the lowest bit of a window stands for.
    pub(super) fn low_bit(&self, window: u32) -> u32 {
        self.c * window
    }

    /// Bits of the top window. Its digit is at most `2^top_bits`, since a carry may come in.
    fn top_bits(&self) -> u32 {
        self.bits - self.c * (self.windows() - 1)
    }

    /// Number of buckets of a window, for digits of magnitude 1, 2, ….
    pub(super) fn buckets(&self, window: u32) -> usize {
        if window + 1 == self.windows() { 1 << self.top_bits() } else { 1 << (self.c - 1) }
    }

    /// Time that `n` scalars take, in additions: one an entry and window; for each bucket two, and as
    /// much again for keeping account of it, as measured; and what a window costs at least.
    fn cost(&self, n: usize) -> usize {
        const BUCKET_COST: usize = 6;
        const WINDOW_COST: usize = 100;
        (0..self.windows()).map(|w| n + BUCKET_COST * self.buckets(w) + WINDOW_COST).sum()
    }

    /// The cheapest shape for `n` scalars of up to `bits` bits; `bits` is not zero.
    fn best(n: usize, bits: u32) -> Self {
        (2..=WINDOW_MAX)
            .map(|c| Self { bits, c })
            .filter(|shape| shape.top_bits() < WINDOW_MAX)
            .min_by_key(|shape| shape.cost(n))
            .unwrap_or(Self { bits, c: 2 })
    }
}

/// Magnitudes with the digit offset added; the highest bit is the scalar's sign.
#[derive(Debug)]
enum Scalars {
    Narrow(Vec<u64>),
    Wide(Vec<Folded>),
}

/// Scalars of a column that share a shape.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) shape: Shape,
    scalars: Scalars,
    /// Which base each scalar belongs to; none means the one at its own place.
    bases: Option<Vec<u32>>,
}

/// Set in the highest limb of a scalar to mean the negative of its magnitude.
pub(in crate::cpu) const NEGATIVE: u64 = 1 << 63;

/// A scalar as a magnitude of at most [`BITS_MAX`] bits, with [`NEGATIVE`] for its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(in crate::cpu) struct Folded(pub(in crate::cpu) [u64; 4]);

impl Folded {
    pub(in crate::cpu) const ZERO: Self = Self([0; 4]);

    pub(in crate::cpu) fn new(scalar: &Fr) -> Self {
        const HALF: [u64; 4] = Fr::MODULUS_MINUS_ONE_DIV_TWO.0;
        let limbs = scalar.into_bigint().0;
        if limbs.iter().rev().le(HALF.iter().rev()) {
            return Self(limbs);
        }
        let mut magnitude = [0; 4];
        let mut borrow = false;
        for (i, slot) in magnitude.iter_mut().enumerate() {
            let (low, under) = Fr::MODULUS.0[i].overflowing_sub(limbs[i]);
            let (low, under_again) = low.overflowing_sub(u64::from(borrow));
            *slot = low;
            borrow = under || under_again;
        }
        magnitude[3] |= NEGATIVE;
        Self(magnitude)
    }

    /// Bits of the magnitude.
    fn bits(&self) -> u32 {
        let [x0, x1, x2, x3] = self.0;
        match (x0, x1, x2, x3 & !NEGATIVE) {
            (0, 0, 0, 0) => 0,
            (x, 0, 0, 0) => 64 - x.leading_zeros(),
            (_, x, 0, 0) => 128 - x.leading_zeros(),
            (_, _, x, 0) => 192 - x.leading_zeros(),
            (_, _, _, x) => 256 - x.leading_zeros(),
        }
    }

    /// The magnitude plus `offset`, which does not reach the sign.
    fn with_offset(self, offset: &[u64; 4]) -> Self {
        let mut out = [0; 4];
        let mut carry = false;
        for (i, slot) in out.iter_mut().enumerate() {
            let (sum, over) = self.0[i].overflowing_add(offset[i]);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *slot = sum;
            carry = over || over_again;
        }
        Self(out)
    }
}

/// `Σ 2^(c − 1) · 2^(c · w)` over all windows but the top one. Added to a magnitude it turns unsigned
/// digits into signed ones without carries: each digit is its window's bits less `2^(c − 1)`.
fn offset(shape: Shape) -> [u64; 4] {
    let mut limbs = [0; 4];
    for window in 1..shape.windows() {
        let bit = shape.low_bit(window) - 1;
        limbs[bit as usize / 64] |= 1 << (bit % 64);
    }
    limbs
}

impl Part {
    fn narrow(shape: Shape, scalars: impl Iterator<Item = (u64, bool)>) -> Self {
        let offset = offset(shape)[0];
        let with_sign = |(value, negative)| (value + offset) | (u64::from(negative) << 63);
        Self { shape, scalars: Scalars::Narrow(scalars.map(with_sign).collect()), bases: None }
    }

    fn from_folded(shape: Shape, mut scalars: Vec<Folded>) -> Self {
        if shape.bits <= NARROW_BITS_MAX {
            let narrow = |s: &Folded| (s.0[0], s.0[3] & NEGATIVE != 0);
            return Self::narrow(shape, scalars.iter().map(narrow));
        }
        let offset = offset(shape);
        scalars.par_chunks_mut(PIECE).for_each(|scalars| {
            scalars.iter_mut().for_each(|scalar| *scalar = scalar.with_offset(&offset));
        });
        Self { shape, scalars: Scalars::Wide(scalars), bases: None }
    }

    /// Number of scalars, zeros included.
    pub(super) fn len(&self) -> usize {
        match &self.scalars {
            Scalars::Narrow(scalars) => scalars.len(),
            Scalars::Wide(scalars) => scalars.len(),
        }
    }

    /// The index of the base that belongs to `entry`.
    pub(super) fn base(&self, entry: usize) -> u32 {
        self.bases.as_ref().map_or(entry as u32, |bases| bases[entry])
    }

    /// The digits of a range of entries in one window: the magnitude, and [`SIGN`] where negative.
    pub(super) fn digits(&self, window: u32, entries: Range<usize>, out: &mut Vec<u32>) {
        let low = self.shape.low_bit(window);
        let top = window + 1 == self.shape.windows();
        let (mask, half) = if top {
            ((2u64 << self.shape.top_bits()) - 1, 0)
        } else {
            ((1u64 << self.shape.c) - 1, 1i64 << (self.shape.c - 1))
        };
        let digit = |bits: u64, negative: u64| {
            let digit = (bits & mask) as i64 - half;
            let sign = if (digit < 0) != (negative != 0) { SIGN } else { 0 };
            if digit == 0 { 0 } else { digit.unsigned_abs() as u32 | sign }
        };
        match &self.scalars {
            Scalars::Narrow(scalars) => {
                out.extend(
                    scalars[entries].iter().map(|s| digit((s & !(1 << 63)) >> low, s >> 63)),
                );
            }
            Scalars::Wide(scalars) => {
                let (limb, shift) = (low as usize / 64, low % 64);
                out.extend(scalars[entries].iter().map(|Folded(s)| {
                    let high = s.get(limb + 1).copied().unwrap_or(0);
                    let bits = (u128::from(high) << 64 | u128::from(s[limb])) >> shift;
                    digit(bits as u64, s[3] >> 63)
                }));
            }
        }
    }
}

type OfBits = [usize; BITS_MAX as usize + 1];

fn no_bits() -> OfBits {
    [0; BITS_MAX as usize + 1]
}

/// How many scalars have each number of bits.
fn count_bits(scalars: &[Folded]) -> OfBits {
    let mut of_bits = no_bits();
    scalars.iter().for_each(|scalar| of_bits[scalar.bits() as usize] += 1);
    of_bits
}

/// Cuts a column into parts of similar size of scalar: usually one, two where a few large scalars
/// stand among many small ones, none where all are zero. `fold` is [`Folded::new`] on each.
pub(super) fn plan_column(column: &CpuBuffer, fold: impl Fn(&[Fr]) -> Vec<Folded>) -> Vec<Part> {
    assert!(column.len() < SIGN as usize, "an index and its sign fit a word");
    if let Some(small) = column.as_small() {
        let nonzero = small.iter().filter(|value| **value != 0).count();
        let bits = 16 - small.iter().fold(0, |all, value| all | value).leading_zeros();
        if nonzero == 0 {
            return Vec::new();
        }
        let shape = Shape::best(nonzero, bits);
        return vec![Part::narrow(shape, small.iter().map(|value| (u64::from(*value), false)))];
    }

    let mut folded = fold(column.as_slice());
    let of_bits = folded.par_chunks(PIECE).map(count_bits).reduce(no_bits, |mut all, piece| {
        all.iter_mut().zip(piece).for_each(|(all, piece)| *all += piece);
        all
    });
    let Some(bits) = of_bits.iter().rposition(|count| *count != 0).filter(|bits| *bits > 0) else {
        return Vec::new();
    };
    let nonzero: usize = of_bits[1..].iter().sum();
    let whole = Shape::best(nonzero, bits as u32);

    // The best place to split, if any beats not splitting.
    let mut best = (whole.cost(nonzero), None);
    let mut small = 0;
    for (threshold, count) in of_bits.iter().enumerate().take(bits).skip(1) {
        small += count;
        if *count == 0 {
            continue;
        }
        let low = Shape::best(small, threshold as u32);
        let high = Shape::best(nonzero - small, bits as u32);
        let cost = low.cost(small) + high.cost(nonzero - small);
        if cost < best.0 {
            best = (cost, Some((low, high)));
        }
    }
    let Some((low, high)) = best.1 else {
        return vec![Part::from_folded(whole, folded)];
    };
    let (mut bases, mut large) = (Vec::new(), Vec::new());
    for (i, scalar) in folded.iter_mut().enumerate() {
        if scalar.bits() > low.bits {
            bases.push(i as u32);
            large.push(std::mem::replace(scalar, Folded::ZERO));
        }
    }
    let low_part = Part::from_folded(low, folded);
    let high_part = Part { bases: Some(bases), ..Part::from_folded(high, large) };
    vec![low_part, high_part]
}
