//! Multi-scalar multiplication by Straus's method, with odd signed digits of four bits.
//!
//! A digit `d` in 0..16 represents `2d − 15`, and `K` digits with `D = Σ d_i·16^i` represent the scalar
//! `2D − (16^K − 1)`. No digit is zero, so every window has one addition for every point, and all terms share
//! one chain of doublings. The ROM bounds a digit: it has no entry beyond 15.
//!
//! # Why no addition has operands with equal x coordinates
//! An accumulator starts at the point B = b·G, where b is squeezed after everything else in the MSM is
//! fixed, digits included. At any addition it is `(16^j + m)·b·G + C`, and the table's entry is `E + e·b·G`, with C,
//! E, m and e known before b is drawn (m and e are zero unless a term's own point contains B, see
//! [`super::fold`]). They have equal x coordinates for at most two values of b modulo r. As the upper half of a
//! squeezed element, b has one of r/2^128 values, about 2^125.6. Over the 3,392 additions of the largest circuit
//! the chance is about 2^-112.9 for each attempt with another transcript. With the same chance, an honest prover has
//! no proof for its witness.

use ark_ff::{Field, PrimeField};
use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use super::curve::{Point, Read, Table, add, double, read_only, settle_point};
use super::nonnative::Tape;
use super::slopes::{Slopes, Step};
use super::transcript::OffsetScalar;
use crate::weaken::gone;

/// Windows of a short scalar.
pub const SHORT_WINDOWS: usize = 32;
/// Windows of a long scalar.
pub const LONG_WINDOWS: usize = 64;

/// A number to split into digits.
#[derive(Debug, Clone, Copy)]
pub enum Scalar {
    /// `c`, which represents the scalar `2c + 1 − 2^128`. Its digits show that it is below 2^128.
    Short(Var),
    /// A scalar modulo r. Its digits are those of the unique number below `⌊r / 2^128⌋·2^128` that represents it
    /// modulo r, which exists except with chance 2^-125.6. Other digits would result in the same point, but they would
    /// leave the prover a choice after the offset is known.
    Long(Var),
}

struct Running<'a> {
    table: &'a Table,
    digits: Vec<u8>,
    value: Fr,
    at: Var,
    end: Var,
    /// The number that the first half of a long scalar's digits represents.
    high: Option<Var>,
}

/// The point b·G that an MSM starts from.
#[derive(Debug, Clone, Copy)]
pub struct Offset {
    point: Point,
}

impl Offset {
    /// `(2b + 1 − 2^128)·G`.
    pub fn new(b: &mut Builder, scalar: OffsetScalar) -> Self {
        Self { point: short_multiple_of_generator(b, scalar.var()) }
    }

    /// The point's value in this witness.
    pub fn value(&self) -> G1Affine {
        self.point.value()
    }
}

impl<'a> Running<'a> {
    fn new(b: &mut Builder, table: &'a Table, scalar: Scalar) -> Self {
        let (windows, end) = match scalar {
            Scalar::Short(c) => (SHORT_WINDOWS, c),
            Scalar::Long(s) => {
                // D = (s + 16^64 − 1) / 2
                let half = Fr::from(2u64).inverse().expect("2 is not zero");
                let offset = (power_of_two(256) - Fr::from(1u64)) * half;
                let number = b.scale(s, half, offset);
                let number = match gone("gadgets.straus.long") {
                    true => b.witness(b.value(number)),
                    false => number,
                };
                (LONG_WINDOWS, number)
            }
        };
        let words = b.value(end).into_bigint().0;
        Self::given(b, table, end, digits_of(words, windows), Fr::from(0u64))
    }

    /// With digits that the prover chooses, and the number that they are appended to, which must be zero.
    fn given(b: &mut Builder, table: &'a Table, end: Var, digits: Vec<u8>, before: Fr) -> Self {
        let at = match gone("gadgets.straus.start") {
            true => b.witness(before),
            false => Builder::ZERO,
        };
        Self { table, digits, value: before, at, end, high: None }
    }

    /// The entry that a window reads; `left` is the number of windows below it.
    fn entry(&self, left: usize) -> &Point {
        &self.table.entries[usize::from(self.digits[self.digits.len() - 1 - left])]
    }

    /// The entry of a window, and the row that reads it; `left` is the number of windows below it.
    fn next(&mut self, b: &mut Builder, left: usize) -> (Point, Read) {
        let digit = self.digits[self.digits.len() - 1 - left];
        self.value = self.value * Fr::from(16u64) + Fr::from(digit);
        let last = left == 0 && !gone("gadgets.straus.end");
        let after = if last { self.end } else { b.witness(self.value) };
        let digit_var = b.witness(Fr::from(digit));
        let read = Read { table: self.table.id, digit: digit_var, before: self.at, after };
        self.at = after;
        if left == SHORT_WINDOWS {
            self.high = Some(after);
        }
        (self.entry(left).read_again(b), read)
    }

    /// Removes the first digit and returns its entry, which an MSM can start with. Three rows.
    fn read_first(&mut self, b: &mut Builder) -> Point {
        let (entry, read) = self.next(b, self.digits.len() - 1);
        read_only(&mut Tape::new(b), &entry, read);
        self.digits.remove(0);
        entry
    }
}

/// The `windows` digits of a number, highest first.
fn digits_of(words: [u64; 4], windows: usize) -> Vec<u8> {
    (0..windows).rev().map(|i| (words[i / 16] >> (4 * (i % 16)) & 15) as u8).collect()
}

/// `Σ scalar·table + Σ once + 16^(K−1)·start`, where K is the number of windows of the longest scalar.
/// `start` prevents degenerate additions, see the module's documentation: everything else in the MSM must be fixed
/// before the transcript that returned `start` ended.
pub fn multi_scalar(
    b: &mut Builder,
    start: &Offset,
    terms: &[(&Table, Scalar)],
    once: &[&Point],
) -> Point {
    let running = terms.iter().map(|(table, scalar)| Running::new(b, table, *scalar)).collect();
    sum_of(b, &start.point, running, once)
}

/// The MSM, with the digits of its long scalars constrained to their unique form.
fn sum_of(b: &mut Builder, start: &Point, mut running: Vec<Running<'_>>, once: &[&Point]) -> Point {
    let sum = sum_up(b, start, &mut running, once);
    for high in running.into_iter().filter_map(|r| r.high) {
        if !gone("gadgets.straus.high") {
            assert_high_half_below_modulus(b, high);
        }
    }
    sum
}

/// One operation of an MSM on its accumulator.
#[derive(Clone, Copy)]
enum Operation {
    Double,
    /// Adds the entry of term `term` in a window; `left` is the number of windows below it.
    Read {
        term: usize,
        left: usize,
    },
    Once(usize),
}

/// Adds all digits of the terms, and the points, to `start`. All slopes are computed with one field inversion.
fn sum_up(b: &mut Builder, start: &Point, terms: &mut [Running<'_>], once: &[&Point]) -> Point {
    let windows = terms.iter().map(|t| t.digits.len()).max().unwrap_or(0);
    let mut operations = Vec::new();
    for left in (0..windows).rev() {
        if left + 1 < windows {
            operations.extend([Operation::Double; 4]);
        }
        let reading = (0..terms.len()).filter(|term| left < terms[*term].digits.len());
        operations.extend(reading.map(|term| Operation::Read { term, left }));
    }
    operations.extend((0..once.len()).map(Operation::Once));

    let mut slopes = Slopes::default();
    let steps = operations.iter().map(|operation| match *operation {
        Operation::Double => Step::Double,
        Operation::Read { term, left } => Step::Add(terms[term].entry(left).at),
        Operation::Once(i) => Step::Add(once[i].at),
    });
    slopes.chain(start.at, steps);
    let (mut tape, mut sum) = (Tape::new(b), *start);
    for (operation, slope) in operations.iter().zip(slopes.finish()) {
        sum = match *operation {
            Operation::Double => double(&mut tape, &sum, slope),
            Operation::Read { term, left } => {
                let (entry, read) = terms[term].next(tape.b, left);
                add(&mut tape, &sum, &entry, Some(read), slope)
            }
            Operation::Once(i) => add(&mut tape, &sum, once[i], None, slope),
        };
    }
    settle_point(&mut tape, &sum);
    sum
}

/// Constrains `high`, a number of 32 digits, to be below `⌊r / 2^128⌋`. About four rows.
fn assert_high_half_below_modulus(b: &mut Builder, high: Var) {
    let rest = HIGH_HALF_MAX.wrapping_sub(join(&b.value(high).into_bigint().0));
    let words = [rest as u64, (rest >> 64) as u64].map(Fr::from);
    high_half_given(b, high, words);
}

/// The largest allowed high half of an element: `⌊r / 2^128⌋ − 1`, so that it is below r with any low half.
const HIGH_HALF_MAX: u128 = join(&[Fr::MODULUS.0[2], Fr::MODULUS.0[3]]) - 1;

const fn join(words: &[u64]) -> u128 {
    words[0] as u128 | (words[1] as u128) << 64
}

/// [`assert_high_half_below_modulus`] with words of the difference that the prover chooses.
fn high_half_given(b: &mut Builder, high: Var, words: [Fr; 2]) {
    let words = words.map(|w| b.witness(w));
    for word in words {
        if !gone("gadgets.straus.high.range") {
            b.range(word, 64);
        }
    }
    // All three are below 2^128, so this is an equation of integers.
    let one = Fr::from(1u64);
    let terms = [(one, words[0]), (power_of_two(64), words[1]), (one, high)];
    let max = b.constant(Fr::from(HIGH_HALF_MAX));
    if !gone("gadgets.straus.high.sum") {
        b.linear_into(&terms, Fr::from(0u64), max);
    }
}

/// The factor of `start` in [`multi_scalar`] when its longest scalar has `windows` windows.
pub fn offset_factor(windows: usize) -> Fr {
    power_of_two(4 * (windows as u32 - 1))
}

/// Parts that a short multiple of the generator is split into, each with its own constant table.
const COMB: usize = 4;

/// `(2c + 1 − 2^128)·G` for a short `c`.
///
/// The four parts have eight windows each, over the constant tables of `2^(32 i)·G`, and share 28 doublings. No
/// addition is degenerate. Every accumulator is an integer multiple of G below 2^129, and at each addition the two
/// multiples are divisible by different powers of two. The addends of parts 3, 2, 1 and 0 are divisible by exactly
/// 2^96, 2^64, 2^32 and 1. In the first window the sum of the addends before is divisible by the next higher of these
/// powers. In later windows the accumulator is divisible by exactly 16 after the doublings.
pub fn short_multiple_of_generator(b: &mut Builder, c: Var) -> Point {
    let words = b.value(c).into_bigint().0;
    let parts = std::array::from_fn(|i| words[i / 2] >> (32 * (i % 2)) & 0xffff_ffff);
    short_multiple_given(b, c, parts)
}

/// [`short_multiple_of_generator`] with parts of `c` that the prover chooses, 32 bits each.
fn short_multiple_given(b: &mut Builder, c: Var, parts: [u64; COMB]) -> Point {
    let generator = <G1Affine as ark_ec::AffineRepr>::generator();
    let windows = SHORT_WINDOWS / COMB;
    let tables: Vec<Table> = (0..COMB)
        .map(|i| {
            let base = generator * power_of_two((4 * windows * i) as u32);
            Table::constant(b, &ark_ec::CurveGroup::into_affine(base))
        })
        .collect();
    // The running numbers of the four parts, each of eight digits.
    let parts = parts.map(|part| b.witness(Fr::from(part)));
    let weights: Vec<(Fr, Var)> =
        parts.iter().enumerate().map(|(i, v)| (power_of_two(32 * i as u32), *v)).collect();
    if !gone("gadgets.straus.parts") {
        b.linear_into(&weights, Fr::from(0u64), c);
    }
    // The highest part first.
    let mut running: Vec<Running<'_>> = tables
        .iter()
        .zip(&parts)
        .rev()
        .map(|(table, part)| {
            let mut r = Running::new(b, table, Scalar::Short(*part));
            r.digits.drain(..SHORT_WINDOWS - windows);
            r
        })
        .collect();
    let start = running[0].read_first(b);
    sum_up(b, &start, &mut running, &[])
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::*;

    /// Attack: a long scalar written as a number that is larger by r, to choose among accumulators.
    #[test]
    fn digits_of_a_number_above_the_modulus_are_rejected() {
        let top = u128::from(Fr::MODULUS.0[2]) | u128::from(Fr::MODULUS.0[3]) << 64;
        for (high, fits) in [(0, true), (top - 1, true), (top, false), (u128::MAX, false)] {
            let mut b = Builder::new(0, 16);
            let var = b.witness(Fr::from(high));
            assert_high_half_below_modulus(&mut b, var);
            let (layout, witness) = b.finish(None).expect("fits");
            assert_eq!(check(&layout, &witness).is_ok(), fits, "{high:#x}");
        }
    }

    /// Attack: the same, with a negative word in the difference, so that the sum is right.
    #[test]
    fn a_difference_below_zero_is_no_difference() {
        let one_word = power_of_two(64);
        for (above, words) in [
            (Fr::from(5u64), [-Fr::from(5u64), Fr::from(0u64)]),
            (Fr::from(5u64) * one_word, [Fr::from(0u64), -Fr::from(5u64)]),
        ] {
            let mut b = Builder::new(0, 16);
            let high = b.witness(Fr::from(HIGH_HALF_MAX) + above);
            high_half_given(&mut b, high, words);
            assert!(!holds(b), "{above}");
        }
    }

    fn holds(b: Builder) -> bool {
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok()
    }

    /// Attack: parts that represent another offset than the squeezed one.
    #[test]
    fn parts_of_another_scalar_than_the_offsets_are_rejected() {
        let c = 0x0123_4567_89ab_cdef_0011_2233_4455_6677u128;
        let parts: [u64; COMB] = std::array::from_fn(|i| (c >> (32 * i)) as u64 & 0xffff_ffff);
        let mut others = vec![(parts, true)];
        others.extend((0..COMB).map(|i| {
            let mut other = parts;
            other[i] ^= 1;
            (other, false)
        }));
        for (parts, good) in others {
            let mut b = Builder::new(0, 16);
            let var = b.witness(Fr::from(c));
            short_multiple_given(&mut b, var, parts);
            assert_eq!(holds(b), good, "{parts:?}");
        }
    }

    fn generator(k: u64) -> G1Affine {
        let g = <G1Affine as ark_ec::AffineRepr>::generator();
        ark_ec::CurveGroup::into_affine(g * Fr::from(k))
    }

    /// A multiple of 3·G with the given digits, and the given number before them.
    fn sum_of_digits(end: Fr, digits: Vec<u8>, before: Fr) -> bool {
        let mut b = Builder::new(0, 16);
        let start = Point::constant(&mut b, &generator(1_000_003));
        let table = Table::constant(&mut b, &generator(3));
        let end = b.witness(end);
        let running = Running::given(&mut b, &table, end, digits, before);
        sum_of(&mut b, &start, vec![running], &[]);
        holds(b)
    }

    /// Attack: digits after a number other than zero, so that any digits end at the right number.
    #[test]
    fn digits_that_do_not_start_at_zero_are_rejected() {
        let digits = || digits_of([7, 0, 0, 0], SHORT_WINDOWS);
        assert!(sum_of_digits(Fr::from(7u64), digits(), Fr::from(0u64)));
        let before = Fr::from(5u64);
        let end = before * power_of_two(128) + Fr::from(7u64);
        assert!(!sum_of_digits(end, digits(), before));
    }

    /// Attack: a long scalar's digits are those of its number plus r, in an MSM as in the circuits.
    #[test]
    fn long_digits_of_a_number_plus_the_modulus_are_rejected_in_a_sum() {
        let number = [9, 8, 7, 6];
        let end = super::super::wide::Wide::from_words(number);
        let higher = end.plus(super::super::wide::Wide::from_words(Fr::MODULUS.0)).words();
        let higher = [higher[0], higher[1], higher[2], higher[3]];
        let value = Fr::from_bigint(ark_ff::BigInt(number)).expect("below r");
        let of = |words| sum_of_digits(value, digits_of(words, LONG_WINDOWS), Fr::from(0u64));
        assert!(of(number));
        assert!(!of(higher));
    }
}
