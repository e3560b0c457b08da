//! How the scalars of a column are split into digits, chosen by their sizes.

use std::ops::Range;

use ark_ff::PrimeField;
use rayon::prelude::*;

use super::SIGN;
use crate::Fr;
use crate::cpu::{CpuBuffer, CpuDevice, Tuning};
use crate::device::DeviceBuffer;

/// Bits of the largest scalar once those above r / 2 are negated.
const BITS_MAX: u32 = 253;
/// Widest window tried: 2^16 buckets of 64 bytes per thread.
const WINDOW_MAX: u32 = 17;

/// Scalars per chunk of work of a thread.
const CHUNK: usize = 1 << 13;
/// Scalars cut at a time, so that a compiler may take a lane for each.
const EIGHT: usize = 8;

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

    /// The index of the lowest bit of a window.
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

    /// Time that `n` scalars take, in hundredths of an addition: an addition for each entry and window, what each
    /// bucket costs, and what a window costs at least.
    fn cost(&self, n: usize, tuning: Tuning) -> u64 {
        const WINDOW_COST: u64 = 100 * 100;
        let windows = u64::from(self.windows());
        // All windows but the top one have as many buckets as the first.
        let buckets = (windows - 1) * (1u64 << (self.c - 1)) + (1u64 << self.top_bits());
        windows * (100 * n as u64 + WINDOW_COST) + u64::from(tuning.bucket_cost()) * buckets
    }

    /// The cheapest shape for `n` scalars of up to `bits` bits; `bits` is not zero.
    fn best(n: usize, bits: u32, tuning: Tuning) -> Self {
        (2..=WINDOW_MAX)
            .filter(|c| tuning.window().is_none_or(|only| only == *c))
            .map(|c| Self { bits, c })
            .filter(|shape| shape.top_bits() < WINDOW_MAX)
            .min_by_key(|shape| shape.cost(n, tuning))
            .unwrap_or(Self { bits, c: 2 })
    }
}

/// Scalars of a column that share a shape, cut into digits.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) shape: Shape,
    len: usize,
    /// Window by window, each [`Part::stride`] long: the digit's magnitude, and [`SIGN`] where it is
    /// negative. All at once, since a window's bits lie in one or two of a scalar's words, and reading
    /// all words again for each window would take longer than writing the digits does.
    digits: Vec<u32>,
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

/// Where the bits of a window are in a scalar of 64-bit words, and what its digits are less than them.
#[derive(Debug)]
struct Window {
    word: usize,
    shift: u32,
    mask: u64,
    half: u64,
}

/// How to cut scalars into digits.
#[derive(Debug)]
pub(in crate::cpu) struct Cuts {
    windows: Vec<Window>,
    /// `Σ 2^(c − 1) · 2^(c · w)` over all windows but the top one. Added to a magnitude it turns
    /// unsigned digits into signed ones without carries: each digit is its window's bits less
    /// `2^(c − 1)`.
    offset: [u64; 4],
}

impl Cuts {
    fn new(shape: Shape) -> Self {
        let mut offset = [0; 4];
        for window in 1..shape.windows() {
            let bit = shape.low_bit(window) - 1;
            offset[bit as usize / 64] |= 1 << (bit % 64);
        }
        let window = |window| {
            let low = shape.low_bit(window);
            let (mask, half) = if window + 1 == shape.windows() {
                ((2u64 << shape.top_bits()) - 1, 0)
            } else {
                ((1u64 << shape.c) - 1, 1u64 << (shape.c - 1))
            };
            Window { word: low as usize / 64, shift: low % 64, mask, half }
        };
        Self { windows: (0..shape.windows()).map(window).collect(), offset }
    }

    /// Writes the digits of `scalars` to `rows`, one row per window, whose lengths are multiples of eight.
    ///
    /// Inlined, so that a caller with wider registers compiles it for them.
    #[inline(always)]
    pub(in crate::cpu) fn cut(&self, scalars: &[Folded], rows: &mut [&mut [u32]]) {
        let mut cut = |i, eight: &[Folded; EIGHT]| self.cut_eight(i, eight, rows);
        in_eights(scalars, Folded::ZERO, &mut cut);
    }

    /// [`Self::cut`] for small scalars, which are not folded.
    #[inline(always)]
    pub(in crate::cpu) fn cut_small(&self, scalars: &[u16], rows: &mut [&mut [u32]]) {
        let mut cut = |i, eight: &[u16; EIGHT]| {
            self.cut_eight(i, &eight.map(|x| Folded([u64::from(x), 0, 0, 0])), rows);
        };
        in_eights(scalars, 0, &mut cut);
    }

    #[inline(always)]
    fn cut_eight(&self, at: usize, scalars: &[Folded; EIGHT], rows: &mut [&mut [u32]]) {
        // One word more, for the window that ends with the last one.
        let mut words = [[0u64; EIGHT]; 5];
        let mut signs = [0u32; EIGHT];
        for (lane, scalar) in scalars.iter().enumerate() {
            let Folded(scalar) = scalar.with_offset(&self.offset);
            for (words, word) in words.iter_mut().zip(scalar) {
                words[lane] = word;
            }
            signs[lane] = (scalar[3] >> 32) as u32 & SIGN;
            words[3][lane] &= !NEGATIVE;
        }
        for (Window { word, shift, mask, half }, row) in self.windows.iter().zip(rows) {
            let (low, high) = (&words[*word], &words[*word + 1]);
            let out = &mut row.as_chunks_mut::<EIGHT>().0[at];
            for lane in 0..EIGHT {
                let bits = low[lane] >> shift | high[lane] << 1 << (63 - shift);
                let digit = (bits & mask).wrapping_sub(*half);
                let negative = (digit >> 63).wrapping_neg();
                let magnitude = (digit ^ negative).wrapping_sub(negative);
                out[lane] = magnitude as u32 | (negative as u32 & SIGN) ^ signs[lane];
            }
        }
    }
}

/// Calls `each` with every eight of `values`, the last filled up with `zero`.
#[inline(always)]
fn in_eights<T: Copy>(values: &[T], zero: T, each: &mut impl FnMut(usize, &[T; EIGHT])) {
    let (eights, rest) = values.as_chunks();
    for (i, eight) in eights.iter().enumerate() {
        each(i, eight);
    }
    if !rest.is_empty() {
        let mut last = [zero; EIGHT];
        last[..rest.len()].copy_from_slice(rest);
        each(eights.len(), &last);
    }
}

impl Part {
    /// Splits `scalars`, which belong to `bases` or, without them, to all bases in order.
    fn new(device: &CpuDevice, shape: Shape, scalars: &[Folded], bases: Option<Vec<u32>>) -> Self {
        let cut = |cuts: &Cuts, scalars: &[Folded], rows: &mut [&mut [u32]]| {
            device.cut(cuts, scalars, rows);
        };
        Self::cut(device, shape, scalars, bases, cut)
    }

    /// Splits small scalars, which are not folded.
    fn small(device: &CpuDevice, shape: Shape, scalars: &[u16]) -> Self {
        let cut = |cuts: &Cuts, scalars: &[u16], rows: &mut [&mut [u32]]| {
            device.cut_small(cuts, scalars, rows);
        };
        Self::cut(device, shape, scalars, None, cut)
    }

    fn cut<T: Sync>(
        device: &CpuDevice,
        shape: Shape,
        scalars: &[T],
        bases: Option<Vec<u32>>,
        cut: impl Fn(&Cuts, &[T], &mut [&mut [u32]]) + Sync,
    ) -> Self {
        let len = scalars.len();
        let stride = Self::stride(len);
        let mut digits = device.recycler.take(shape.windows() as usize * stride);
        let mut rows: Vec<_> = digits.chunks_mut(stride).map(|row| row.chunks_mut(CHUNK)).collect();
        let chunks: Vec<(&[T], Vec<&mut [u32]>)> = scalars
            .chunks(CHUNK)
            .map(|scalars| (scalars, rows.iter_mut().filter_map(Iterator::next).collect()))
            .collect();
        let cuts = Cuts::new(shape);
        chunks.into_par_iter().for_each(|(scalars, mut rows)| cut(&cuts, scalars, &mut rows));
        Self { shape, len, digits, bases }
    }

    fn stride(len: usize) -> usize {
        len.next_multiple_of(EIGHT)
    }

    /// Returns the memory of the digits to the device.
    pub(super) fn release(self, device: &CpuDevice) {
        device.recycler.release(self.digits);
        if let Some(bases) = self.bases {
            device.recycler.release(bases);
        }
    }

    /// Number of scalars, zeros included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The index of the base that belongs to `entry`.
    pub(super) fn base(&self, entry: usize) -> u32 {
        self.bases.as_ref().map_or(entry as u32, |bases| bases[entry])
    }

    /// The digits of a range of entries in one window: the magnitude, and [`SIGN`] where negative. A
    /// zero may have a sign too.
    pub(super) fn digits(&self, window: u32, entries: Range<usize>) -> &[u32] {
        let row = window as usize * Self::stride(self.len);
        &self.digits[row + entries.start..row + entries.end]
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

/// Splits a column into parts with scalars of similar size: usually one, two where a few large scalars
/// are among many small ones, none where all are zero.
pub(super) fn plan_column(device: &CpuDevice, column: &CpuBuffer) -> Vec<Part> {
    assert!(column.len() < SIGN as usize, "an index and its sign fit a word");
    let tuning = device.tuning;
    if let Some(small) = column.as_small() {
        let nonzero = small.iter().filter(|value| **value != 0).count();
        let bits = 16 - small.iter().fold(0, |all, value| all | value).leading_zeros();
        if nonzero == 0 {
            return Vec::new();
        }
        return vec![Part::small(device, Shape::best(nonzero, bits, tuning), small)];
    }

    let mut folded = fold(device, column.as_slice());
    let of_bits = folded.par_chunks(CHUNK).map(count_bits).reduce(no_bits, |mut all, chunk| {
        all.iter_mut().zip(chunk).for_each(|(all, count)| *all += count);
        all
    });
    let Some(bits) = of_bits.iter().rposition(|count| *count != 0).filter(|bits| *bits > 0) else {
        device.recycler.release(folded);
        return Vec::new();
    };
    let nonzero: usize = of_bits[1..].iter().sum();
    let whole = Shape::best(nonzero, bits as u32, tuning);

    // The best place to split, if any beats not splitting.
    let mut best = (whole.cost(nonzero, tuning), None);
    let mut small = 0;
    for (threshold, count) in of_bits.iter().enumerate().take(bits).skip(1) {
        small += count;
        if *count == 0 {
            continue;
        }
        let low = Shape::best(small, threshold as u32, tuning);
        let high = Shape::best(nonzero - small, bits as u32, tuning);
        let cost = low.cost(small, tuning) + high.cost(nonzero - small, tuning);
        if cost < best.0 {
            best = (cost, Some((low, high)));
        }
    }
    let mut parts = Vec::new();
    let mut rest = whole;
    if let Some((low, high)) = best.1 {
        let count = of_bits[low.bits as usize + 1..].iter().sum();
        parts.push(taken(device, high, &mut folded, count, |scalar| scalar.bits() > low.bits));
        rest = low;
    }
    let zeros = folded.len() - nonzero + parts.iter().map(Part::len).sum::<usize>();
    if zeros > folded.len() / 2 {
        let count = folded.len() - zeros;
        parts.push(taken(device, rest, &mut folded, count, |scalar| *scalar != Folded::ZERO));
    } else {
        parts.push(Part::new(device, rest, &folded, None));
    }
    device.recycler.release(folded);
    parts
}

fn fold(device: &CpuDevice, scalars: &[Fr]) -> Vec<Folded> {
    let mut out = device.recycler.take(scalars.len());
    let chunks = out.par_chunks_mut(CHUNK).zip(scalars.par_chunks(CHUNK));
    chunks.for_each(|(out, scalars)| device.fold(scalars, out));
    out
}

/// A part of the scalars that `which` names, of which there are `count`. They leave zeros behind.
fn taken(
    device: &CpuDevice,
    shape: Shape,
    scalars: &mut [Folded],
    count: usize,
    which: impl Fn(&Folded) -> bool,
) -> Part {
    let mut bases = device.recycler.take(count);
    let mut part = device.recycler.take(count);
    let found = scalars.iter_mut().enumerate().filter(|(_, scalar)| which(scalar));
    for ((base, out), (i, scalar)) in bases.iter_mut().zip(&mut part).zip(found) {
        *base = i as u32;
        *out = std::mem::replace(scalar, Folded::ZERO);
    }
    let made = Part::new(device, shape, &part, Some(bases));
    device.recycler.release(part);
    made
}

#[cfg(test)]
mod tests {
    use ark_ff::{AdditiveGroup, Field, UniformRand};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::cpu::CpuPath;
    use crate::device::Memory;

    /// The scalar that an entry's digits add up to.
    fn joined(part: &Part, entry: usize) -> Fr {
        (0..part.shape.windows()).fold(Fr::ZERO, |sum, window| {
            let digit = part.digits(window, entry..entry + 1)[0];
            let magnitude = digit & !SIGN;
            assert!(magnitude as usize <= part.shape.buckets(window), "no bucket {magnitude}");
            let value =
                Fr::from(magnitude) * Fr::from(2u64).pow([u64::from(part.shape.low_bit(window))]);
            if digit & SIGN == 0 { sum + value } else { sum - value }
        })
    }

    /// Otherwise shapes are compared by buckets that they have not.
    #[test]
    fn the_cost_of_a_shape_counts_the_buckets_that_it_has() {
        let tuning = Tuning::new(300, 14).unwrap();
        for bits in 1..=BITS_MAX {
            for c in 2..=WINDOW_MAX {
                let shape = Shape { bits, c };
                let buckets: usize = (0..shape.windows()).map(|w| shape.buckets(w)).sum();
                let expected = u64::from(shape.windows()) * 100 * 1100 + 300 * buckets as u64;
                assert_eq!(shape.cost(1000, tuning), expected, "{shape:?}");
            }
        }
    }

    #[test]
    fn digits_add_up_to_their_scalar_for_every_width_and_length() {
        let mut rng = ChaCha8Rng::seed_from_u64(20_261_123);
        for device in CpuPath::ALL.into_iter().filter_map(|path| CpuDevice::on_path(path, 1)) {
            for c in 2..=WINDOW_MAX {
                let shape = Shape { bits: BITS_MAX, c };
                if shape.top_bits() >= WINDOW_MAX {
                    continue;
                }
                for len in [1, 7, 8, 9, 100] {
                    let mut scalars: Vec<Fr> = (0..len).map(|_| Fr::rand(&mut rng)).collect();
                    let half = Fr::from_bigint(Fr::MODULUS_MINUS_ONE_DIV_TWO).unwrap();
                    let ends = [Fr::ZERO, Fr::ONE, -Fr::ONE, half, half + Fr::ONE];
                    scalars.iter_mut().zip(ends).for_each(|(scalar, end)| *scalar = end);
                    let folded: Vec<Folded> = scalars.iter().map(Folded::new).collect();
                    let part = Part::new(&device, shape, &folded, None);
                    for (entry, scalar) in scalars.iter().enumerate() {
                        assert_eq!(joined(&part, entry), *scalar, "window of {c} bits, {entry}");
                    }
                }
            }
            for bits in 1..=16 {
                let small: Vec<u16> =
                    (0..CHUNK as u64 + 3).map(|i| (i * 40_503 % (1 << bits)) as u16).collect();
                let part =
                    Part::small(&device, Shape::best(small.len(), bits, device.tuning), &small);
                for (entry, value) in small.iter().enumerate() {
                    assert_eq!(joined(&part, entry), Fr::from(*value), "{bits} bits, {entry}");
                }
            }
        }
    }

    #[test]
    fn a_column_is_planned_by_what_is_in_it() {
        let device = CpuDevice::scalar(1);
        let planned = |column: &[Fr]| plan_column(&device, &device.upload(column).unwrap());
        let large = -Fr::from(3u64).inverse().unwrap();
        assert!(planned(&[Fr::ZERO; 100]).is_empty());

        let mut sparse = vec![Fr::ZERO; 1000];
        sparse[17] = large;
        sparse[900] = Fr::from(2u64);
        let parts = planned(&sparse);
        let entries: Vec<(u32, Fr)> = parts
            .iter()
            .flat_map(|part| (0..part.len()).map(|entry| (part.base(entry), joined(part, entry))))
            .collect();
        assert_eq!(entries, [(17, sparse[17]), (900, sparse[900])], "zeros are not carried along");

        let mut mixed = vec![Fr::from(5u64); 1000];
        mixed[17] = large;
        let parts = planned(&mixed);
        let lens: Vec<usize> = parts.iter().map(Part::len).collect();
        assert_eq!(lens, [1, 1000], "the large scalar by itself, and zero in its place");
        assert_eq!((parts[0].base(0), joined(&parts[0], 0)), (17, large));
        assert_eq!(joined(&parts[1], 17), Fr::ZERO);
    }
}
