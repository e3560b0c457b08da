//! Sums of multiples of points: Straus's method with odd signed digits of four bits.
//!
//! A digit `d` in 0..16 stands for `2d − 15`; `K` digits with `D = Σ d_i·16^i` stand for the multiple
//! `2D − (16^K − 1)`. No digit is zero, so every window adds once for every point, and all terms share
//! one chain of doublings. A digit is bounded by the ROM: there is no entry past 15.
//!
//! # Why no addition meets equal x coordinates
//! An accumulator starts at the point B = b·G, where b is squeezed after everything else in the sum is
//! fixed, digits included. At any addition it is `(16^j + m)·b·G + C` and the table's entry `E + e·b·G`, with C,
//! E, m and e known before b is drawn (m and e are zero unless a term's own point was made from B, see
//! [`super::fold`]). They have equal x coordinates for at most two values of b modulo r, of 2^128. Over the
//! fewer than 2^13 additions of a circuit the chance is below 2^-114 for each try at the transcript. An
//! honest prover that meets it has no proof for this witness, with the same chance.

use ark_ff::{Field, PrimeField};
use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use super::curve::{Point, Read, Table, add, double, read_only, settle_point};
use super::nonnative::Tape;
use super::slopes::{Slopes, Step};

/// Windows of a short scalar.
pub const SHORT_WINDOWS: usize = 32;
/// Windows of a long scalar.
pub const LONG_WINDOWS: usize = 64;

/// A number to be cut into digits.
#[derive(Debug, Clone, Copy)]
pub enum Scalar {
    /// `c`, which stands for the multiple `2c + 1 − 2^128`; shown to be below 2^128 on the way.
    Short(Var),
    /// A multiple modulo r. Its digits are those of the one number below `⌊r / 2^128⌋·2^128` that stands for
    /// it modulo r; but for a chance of 2^-125 there is one. Any other digits would give the same point, but
    /// they would leave the prover a choice after the offset is known.
    Long(Var),
}

struct Running<'a> {
    table: &'a Table,
    digits: Vec<u8>,
    value: Fr,
    at: Var,
    end: Var,
    /// The number that the first half of a long scalar's digits make.
    high: Option<Var>,
}

impl<'a> Running<'a> {
    fn new(b: &mut Builder, table: &'a Table, scalar: Scalar) -> Self {
        let (windows, end) = match scalar {
            Scalar::Short(c) => (SHORT_WINDOWS, c),
            Scalar::Long(s) => {
                // D = (s + 16^64 − 1) / 2
                let half = Fr::from(2u64).inverse().unwrap_or_default();
                let offset = (power_of_two(256) - Fr::from(1u64)) * half;
                (LONG_WINDOWS, b.scale(s, half, offset))
            }
        };
        let words = b.value(end).into_bigint().0;
        let digits =
            (0..windows).rev().map(|i| (words[i / 16] >> (4 * (i % 16)) & 15) as u8).collect();
        Self { table, digits, value: Fr::from(0u64), at: Builder::ZERO, end, high: None }
    }

    /// The entry that the window with `left` windows below it reads.
    fn entry(&self, left: usize) -> &Point {
        &self.table.entries[usize::from(self.digits[self.digits.len() - 1 - left])]
    }

    /// The entry of the window that has `left` windows below it, and the row that reads it.
    fn next(&mut self, b: &mut Builder, left: usize) -> (Point, Read) {
        let digit = self.digits[self.digits.len() - 1 - left];
        self.value = self.value * Fr::from(16u64) + Fr::from(digit);
        let after = if left == 0 { self.end } else { b.witness(self.value) };
        let digit_var = b.witness(Fr::from(digit));
        let read = Read { table: self.table.id, digit: digit_var, before: self.at, after };
        self.at = after;
        if left == SHORT_WINDOWS {
            self.high = Some(after);
        }
        (self.entry(left).read_again(b), read)
    }

    /// Takes the first digit away and gives its entry, for a sum to start with. Three rows.
    fn read_first(&mut self, b: &mut Builder) -> Point {
        let (entry, read) = self.next(b, self.digits.len() - 1);
        read_only(&mut Tape::new(b), &entry, read);
        self.digits.remove(0);
        entry
    }
}

/// `Σ scalar·table + Σ once + 16^(K−1)·start`, where K is the number of windows of the longest scalar.
/// `start` is the offset that keeps additions apart, see the module's text.
pub fn multi_scalar(
    b: &mut Builder,
    start: &Point,
    terms: &[(&Table, Scalar)],
    once: &[&Point],
) -> Point {
    let mut running: Vec<Running<'_>> =
        terms.iter().map(|(table, scalar)| Running::new(b, table, *scalar)).collect();
    let sum = sum_up(b, start, &mut running, once);
    for high in running.into_iter().filter_map(|r| r.high) {
        assert_high_half_below_modulus(b, high);
    }
    sum
}

/// One operation of a sum on what there is so far.
#[derive(Clone, Copy)]
enum Operation {
    Double,
    /// Adds what term `term` reads in the window with `left` windows below it.
    Read {
        term: usize,
        left: usize,
    },
    Once(usize),
}

/// `start` with all digits of the terms, and the points. All slopes are made with one field inversion.
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

/// Constrains `high`, which 32 digits make, to be below `⌊r / 2^128⌋`. About four rows.
fn assert_high_half_below_modulus(b: &mut Builder, high: Var) {
    let join = |w: &[u64]| u128::from(w[0]) | u128::from(w[1]) << 64;
    let max = join(&Fr::MODULUS.0[2..]) - 1;
    let rest = max.wrapping_sub(join(&b.value(high).into_bigint().0));
    let words = [rest as u64, (rest >> 64) as u64].map(|w| b.witness(Fr::from(w)));
    for word in words {
        b.range(word, 64);
    }
    // All three are below 2^128, so this is an equation of integers.
    let one = Fr::from(1u64);
    let terms = [(one, words[0]), (power_of_two(64), words[1]), (one, high)];
    let max = b.constant(Fr::from(max));
    b.linear_into(&terms, Fr::from(0u64), max);
}

/// The factor of `start` in [`multi_scalar`] when its longest scalar has `windows` windows.
pub fn offset_factor(windows: usize) -> Fr {
    power_of_two(4 * (windows as u32 - 1))
}

/// Parts that a short multiple of the generator is cut into, each with its own constant table.
const COMB: usize = 4;

/// `(2c + 1 − 2^128)·G` for a short `c`.
///
/// Four parts of eight windows run side by side over the constant tables of `2^(32 i)·G`, so there are
/// 28 doublings. No addition is degenerate: every accumulator is an integer multiple of G below 2^129,
/// and at each addition the two multiples have different powers of two in them: the accumulator after a
/// window's doublings has 16 times an odd number at its lowest part, and the addends of parts 3, 2, 1, 0
/// have exactly 2^96, 2^64, 2^32 and 1, while the sum of those before them has the next higher one (in
/// the first window) or exactly 16 (later on).
pub fn short_multiple_of_generator(b: &mut Builder, c: Var) -> Point {
    let generator = <G1Affine as ark_ec::AffineRepr>::generator();
    let windows = SHORT_WINDOWS / COMB;
    let tables: Vec<Table> = (0..COMB)
        .map(|i| {
            let base = generator * power_of_two((4 * windows * i) as u32);
            Table::constant(b, &ark_ec::CurveGroup::into_affine(base))
        })
        .collect();
    let words = b.value(c).into_bigint().0;
    // The running numbers of the four parts, each of eight digits.
    let parts: Vec<Var> = (0..COMB)
        .map(|i| b.witness(Fr::from(words[i / 2] >> (32 * (i % 2)) & 0xffff_ffff)))
        .collect();
    let weights: Vec<(Fr, Var)> =
        parts.iter().enumerate().map(|(i, v)| (power_of_two(32 * i as u32), *v)).collect();
    b.linear_into(&weights, Fr::from(0u64), c);
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

    /// Attack: a long scalar written as the number r higher, to choose among accumulators.
    #[test]
    fn digits_of_a_number_above_the_modulus_are_refused() {
        let top = u128::from(Fr::MODULUS.0[2]) | u128::from(Fr::MODULUS.0[3]) << 64;
        for (high, fits) in [(0, true), (top - 1, true), (top, false), (u128::MAX, false)] {
            let mut b = Builder::new(0, 16);
            let var = b.witness(Fr::from(high));
            assert_high_half_below_modulus(&mut b, var);
            let (layout, witness) = b.finish(None).expect("fits");
            assert_eq!(check(&layout, &witness).is_ok(), fits, "{high:#x}");
        }
    }
}
