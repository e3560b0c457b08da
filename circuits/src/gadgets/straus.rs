//! Sums of multiples of points: Straus's method with odd signed digits of four bits.
//!
//! A digit `d` in 0..16 stands for `2d − 15`; `K` digits with `D = Σ d_i·16^i` stand for the multiple
//! `2D − (16^K − 1)`. No digit is zero, so every window adds once for every point, and all terms share
//! one chain of doublings. A digit is bounded by the ROM: there is no entry past 15.
//!
//! # Why no addition meets equal x coordinates
//! An accumulator starts at the point B = b·G, where b is squeezed after everything else in the sum is
//! fixed. At any addition it is `(16^j + m)·b·G + C`, with C and the table's entry `E + e·b·G` known before b
//! is drawn (m and e are zero unless a term's own point was made from B, see [`super::fold`]). It equals
//! `±E` for at most two values of b modulo r, of 2^128. Over the fewer than 2^14 additions of a circuit
//! the chance is below 2^−113 for each try at the transcript, and a failing honest prover takes another
//! witness.

use ark_ff::{Field, PrimeField};
use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use super::curve::{Point, Read, Table, add, double, read_only, settle_point};
use super::nonnative::Tape;

/// Windows of a short scalar.
pub const SHORT_WINDOWS: usize = 32;
/// Windows of a long scalar.
pub const LONG_WINDOWS: usize = 64;

/// A number to be cut into digits.
#[derive(Debug, Clone, Copy)]
pub enum Scalar {
    /// `c`, which stands for the multiple `2c + 1 − 2^128`; shown to be below 2^128 on the way.
    Short(Var),
    /// A multiple modulo r. Any digits that stand for it modulo r will do, as points have order r.
    Long(Var),
}

struct Running<'a> {
    table: &'a Table,
    digits: Vec<u8>,
    value: Fr,
    at: Var,
    end: Var,
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
        Self { table, digits, value: Fr::from(0u64), at: Builder::ZERO, end }
    }

    /// The entry of the window that has `left` windows below it, and the row that reads it.
    fn next(&mut self, b: &mut Builder, left: usize) -> (Point, Read) {
        let digit = self.digits[self.digits.len() - 1 - left];
        self.value = self.value * Fr::from(16u64) + Fr::from(digit);
        let after = if left == 0 { self.end } else { b.witness(self.value) };
        let digit_var = b.witness(Fr::from(digit));
        let read = Read { table: self.table.id, digit: digit_var, before: self.at, after };
        self.at = after;
        (self.table.entries[usize::from(digit)].read_again(b), read)
    }

    fn step(&mut self, tape: &mut Tape<'_>, sum: &Point, left: usize) -> Point {
        let (entry, read) = self.next(tape.b, left);
        add(tape, sum, &entry, Some(read))
    }

    /// Starts a sum with the entry itself. Three rows.
    fn read_first(&mut self, tape: &mut Tape<'_>, left: usize) -> Point {
        let (entry, read) = self.next(tape.b, left);
        read_only(tape, &entry, read);
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
    let windows = running.iter().map(|r| r.digits.len()).max().unwrap_or(0);
    let mut tape = Tape::new(b);
    let mut sum = *start;
    for left in (0..windows).rev() {
        if left + 1 < windows {
            for _ in 0..4 {
                sum = double(&mut tape, &sum);
            }
        }
        for term in running.iter_mut().filter(|t| left < t.digits.len()) {
            sum = term.step(&mut tape, &sum, left);
        }
    }
    for point in once {
        sum = add(&mut tape, &sum, point, None);
    }
    settle_point(&mut tape, &sum);
    sum
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
    let mut running: Vec<Running<'_>> = tables
        .iter()
        .zip(&parts)
        .map(|(table, part)| {
            let mut r = Running::new(b, table, Scalar::Short(*part));
            r.digits.drain(..SHORT_WINDOWS - windows);
            r
        })
        .collect();
    let mut sum: Option<Point> = None;
    let mut tape = Tape::new(b);
    for left in (0..windows).rev() {
        if let (Some(at), true) = (sum.as_mut(), left + 1 < windows) {
            for _ in 0..4 {
                *at = double(&mut tape, at);
            }
        }
        for term in running.iter_mut().rev() {
            sum = Some(match sum {
                Some(at) => term.step(&mut tape, &at, left),
                None => term.read_first(&mut tape, left),
            });
        }
    }
    let sum = sum.unwrap_or(tables[0].point);
    settle_point(&mut tape, &sum);
    sum
}
