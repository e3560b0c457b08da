//! Arithmetic in BN254's base field Fq inside a circuit over Fr.
//!
//! An element is four limbs of 64 bits in the four routed cells of one row. An identity
//! `Σ a·b + linear = Q·q` is checked modulo 2^320, by two grouped carry equations and one more, and modulo r,
//! natively. It then holds over the integers because
//!
//! * each limb has absolute value below 2^64 (range-checked, or the difference or the negative of
//!   range-checked ones), so a product of two elements is below 2^512; quotients are in
//!   `[−2^255, 2^255)`, so `Q·q` is below 2^509; no identity here weighs more than five products, so everything
//!   stays below 2^515, far below `2^320 · r / 2 > 2^571`;
//! * a group `s_k + 2^64 s_{k+1}` is below `5 · 4 · 2^129 · 2^64 · 2 < 2^199`, and a carry times 2^128
//!   below 2^208, so the equations modulo r, `r/2 > 2^252`, are equations of integers;
//! * an honest carry is below `2^199 / 2^128 = 2^71`, and its cells are enough for 2^79.
//!
//! No gate reads the sixteenth limb cell of a group of carries. It is the only cell that only has a range.

use std::sync::LazyLock;

use ark_ff::PrimeField;
use rollmill_algebra::field::from_u64;
use rollmill_algebra::{Fq, Fr};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::{CARRY_OFFSET_BITS, MODULUS_LIMBS, power_of_two};
use rollmill_plonk::layout::FixedRow;

use super::wide::{MODULUS, Wide};
use crate::weaken::gone;

/// The limb cells of one row.
pub(crate) type Cells = [u16; 8];

/// The kinds of rows of non-native gadgets.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) blank: FixedRow,
    /// This row's cells are packs.
    pub(crate) pack: FixedRow,
    /// The cells two rows below are packs.
    pub(crate) pack_ahead: FixedRow,
    /// w(0) − w(1) − w(2) = 0.
    pub(crate) difference: FixedRow,
    /// w(0) + w(2) = 0.
    pub(crate) opposite: FixedRow,
    /// 3·w(0) − w(1) − 2·w(2) = 0.
    pub(crate) tangent: FixedRow,
    pub(crate) product: FixedRow,
    pub(crate) square: FixedRow,
    /// Carries of a group with no linear part.
    pub(crate) carry: FixedRow,
    /// Carries, minus both following elements.
    pub(crate) carry_less_both: FixedRow,
    /// Carries, minus the next element, plus the one after it.
    pub(crate) carry_less_plus: FixedRow,
    pub(crate) write: FixedRow,
    /// Reads the ROM at w_0 and constrains w_2 = 16·w_1 + w_0.
    pub(crate) read_digit: FixedRow,
}

pub(crate) static ROWS: LazyLock<Rows> = LazyLock::new(|| {
    let mut digit = [Fr::from(0u64); 8];
    digit[0] = Fr::from(1u64);
    digit[1] = Fr::from(16u64);
    digit[2] = -Fr::from(1u64);
    Rows {
        blank: FixedRow::blank(),
        pack: FixedRow::pack(),
        pack_ahead: FixedRow::vector([0, 0, -1, 1]),
        difference: FixedRow::vector([1, -1, -1, 0]),
        opposite: FixedRow::vector([1, 0, 1, 0]),
        tangent: FixedRow::vector([3, -1, -2, 0]),
        product: FixedRow::product(),
        square: FixedRow::square(),
        carry: FixedRow::carry(0, 0),
        carry_less_both: FixedRow::carry(-1, -1),
        carry_less_plus: FixedRow::carry(-1, 1),
        write: FixedRow::write(),
        read_digit: FixedRow::read(digit),
    }
});

/// An element of Fq: four limbs, weight 2^64 apart, each of absolute value below 2^64. The integer that they represent
/// can be negative, or q or more.
#[derive(Debug, Clone, Copy)]
pub struct Element {
    /// Limbs, lowest first.
    pub limbs: [Var; 4],
    ints: [i128; 4],
}

fn small(value: i128) -> Fr {
    // Limbs and small factors: absolute values below 2^64.
    let magnitude = from_u64(value.unsigned_abs() as u64);
    if value < 0 { -magnitude } else { magnitude }
}

/// The lowest 64 bits of a variable's value.
fn low_word(b: &Builder, var: Var) -> u64 {
    b.value(var).into_bigint().0[0]
}

impl Element {
    /// Zero.
    pub const ZERO: Self = Self { limbs: [Builder::ZERO; 4], ints: [0; 4] };

    /// A new element with this value; nothing constrains its limbs yet.
    pub(crate) fn unchecked(b: &mut Builder, value: Fq) -> Self {
        Self::from_words(b, value.into_bigint().0)
    }

    fn from_words(b: &mut Builder, words: [u64; 4]) -> Self {
        let limbs = words.map(|w| b.witness(from_u64(w)));
        Self { limbs, ints: words.map(i128::from) }
    }

    /// The element with these variables as limbs. A number of 2^64 or more will be rejected.
    pub(crate) fn from_limbs(b: &Builder, limbs: [Var; 4]) -> Self {
        Self { limbs, ints: limbs.map(|v| i128::from(low_word(b, v))) }
    }

    /// A new element whose limbs are constrained to 64 bits. Two rows.
    pub fn fresh(b: &mut Builder, value: Fq) -> Self {
        let element = Self::unchecked(b, value);
        element.range(b);
        element
    }

    /// A constant.
    pub fn constant(b: &mut Builder, value: Fq) -> Self {
        let words = value.into_bigint().0;
        Self { limbs: words.map(|w| b.constant_u64(w)), ints: words.map(i128::from) }
    }

    /// The negative of a constant, limb by limb.
    pub(crate) fn constant_negative(b: &mut Builder, value: Fq) -> Self {
        let words = value.into_bigint().0;
        let limbs = words.map(|w| b.constant(-Fr::from(w)));
        Self { limbs, ints: words.map(|w| -i128::from(w)) }
    }

    /// Constrains every limb to 64 bits. Two rows.
    pub(crate) fn range(&self, b: &mut Builder) {
        let mut tape = Tape::new(b);
        tape.range(self);
        tape.end();
    }

    /// New variables for `self − other`; the caller lays out the relation.
    pub(crate) fn less(&self, b: &mut Builder, other: &Self) -> Self {
        let ints: [i128; 4] = std::array::from_fn(|i| self.ints[i] - other.ints[i]);
        Self { limbs: ints.map(|v| b.witness(small(v))), ints }
    }

    /// New variables for `−self`; the caller lays out the relation.
    pub(crate) fn negative(&self, b: &mut Builder) -> Self {
        let ints = self.ints.map(|v| -v);
        Self { limbs: ints.map(|v| b.witness(small(v))), ints }
    }

    /// New variables with the same value; the caller constrains them.
    pub(crate) fn read_again(&self, b: &mut Builder) -> Self {
        Self { limbs: self.ints.map(|v| b.witness(small(v))), ints: self.ints }
    }

    /// The integer that the limbs represent.
    pub(crate) fn integer(&self) -> Wide {
        Wide::from_limbs(&self.ints)
    }

    /// Its residue modulo r, as a circuit variable.
    pub fn mod_r(&self, b: &mut Builder) -> Var {
        let terms: [(Fr, Var); 4] =
            std::array::from_fn(|i| (power_of_two(64 * i as u32), self.limbs[i]));
        b.linear(&terms, Fr::from(0u64))
    }

    /// The two halves of 128 bits, low one first.
    pub fn halves(&self, b: &mut Builder) -> [Var; 2] {
        let one = Fr::from(1u64);
        let two64 = power_of_two(64);
        let l = self.limbs;
        [[l[0], l[1]], [l[2], l[3]]]
            .map(|[low, high]| b.linear(&[(one, low), (two64, high)], Fr::from(0u64)))
    }

    /// Constrains the integer to be below q. The limbs must already be constrained to 64 bits.
    pub fn assert_canonical(&self, b: &mut Builder) {
        let mut max = MODULUS_LIMBS;
        max[0] -= 1;
        assert_at_most(b, &self.limbs, max);
    }
}

/// Constrains the integer of four limbs, each already below 2^64, to be at most `max`. Five rows.
///
/// A second number `y` of four limbs of 64 bits and a bit `t` with
/// `y_lo + x_lo = max_lo + 2^128·t` and `y_hi + x_hi + t = max_hi` exist only if `x + y = max`: all sums
/// are below 2^130, so the equations modulo r are equations of integers.
pub fn assert_at_most(b: &mut Builder, x: &[Var; 4], max: [u64; 4]) {
    let words = x.map(|v| low_word(b, v));
    let (rest, borrow) = complement(words, max);
    at_most_given(b, x, max, rest, borrow);
}

/// What the prover supplies for [`assert_at_most`]: the limbs of `max − x`, and the carry.
pub(crate) fn complement(words: [u64; 4], max: [u64; 4]) -> ([Fr; 4], Fr) {
    let rest = Wide::from_words(max).minus(Wide::from_words(words)).words();
    let join = |w: [u64; 2]| u128::from(w[0]) | u128::from(w[1]) << 64;
    let borrow = join([words[0], words[1]]) > join([max[0], max[1]]);
    ([rest[0], rest[1], rest[2], rest[3]].map(from_u64), Fr::from(u64::from(borrow)))
}

/// [`assert_at_most`] with the second number and the carry as the prover chooses them.
pub(crate) fn at_most_given(
    b: &mut Builder,
    x: &[Var; 4],
    max: [u64; 4],
    rest: [Fr; 4],
    carry: Fr,
) {
    let join = |w: [u64; 2]| u128::from(w[0]) | u128::from(w[1]) << 64;
    let limbs = rest.map(|limb| b.witness(limb));
    let y = Element::from_limbs(b, limbs);
    if !gone("gadgets.at_most.rest") {
        y.range(b);
    }
    let t = b.witness(carry);
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    let (two64, two128) = (power_of_two(64), power_of_two(128));
    let low = Fr::from(join([max[0], max[1]]));
    let high = Fr::from(join([max[2], max[3]]));
    let y = y.limbs;
    if !gone("gadgets.at_most.low") {
        b.arith_row(
            [Some(y[0]), Some(y[1]), Some(x[0]), Some(x[1])],
            [one, two64, one, two64, zero, zero, -two128, -low],
            Some(t),
        );
    }
    if !gone("gadgets.at_most.high") {
        b.arith_row(
            [Some(y[2]), Some(y[3]), Some(x[2]), Some(t)],
            [one, two64, one, one, zero, zero, two64, -high],
            Some(x[3]),
        );
    }
    if !gone("gadgets.at_most.carry") {
        b.assert_bool(t);
    }
}

/// The quotient of an identity: its value and the limb cells that hold it, offset by 2^255.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quotient {
    ints: [i128; 4],
    pub(crate) cells: [Cells; 2],
}

impl Quotient {
    /// The quotient of the left side of an identity, which is a multiple of q.
    pub(crate) fn of(total: Wide) -> Self {
        Self::new(total.divided_by_modulus())
    }

    pub(crate) fn new(quotient: Wide) -> Self {
        let offset = quotient.plus(Wide::from_words([0, 0, 0, 1 << 63])).words();
        let mut ints: [i128; 4] = std::array::from_fn(|i| i128::from(offset[i]));
        ints[3] -= 1 << 63;
        let cell = |i: usize| (offset[i / 4] >> (16 * (i % 4))) as u16;
        let cells = [std::array::from_fn(cell), std::array::from_fn(|i| cell(8 + i))];
        Self { ints, cells }
    }
}

static MODULUS_MOD_R: LazyLock<Fr> = LazyLock::new(|| MODULUS.to_fr());

/// Group values of a product minus a multiple of q, as the gates compute them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    pub(crate) vars: [Var; 4],
    ints: [Wide; 3],
    native: Fr,
}

impl Groups {
    fn new(b: &mut Builder, ints: [Wide; 3], native: Fr) -> Self {
        let [a, c, d] = ints.map(|v| b.witness(v.to_fr()));
        Self { vars: [a, c, d, b.witness(native)], ints, native }
    }

    /// `x · y − minus − Q · q`.
    pub(crate) fn product(
        b: &mut Builder,
        x: &Element,
        y: &Element,
        minus: &Element,
        quotient: &Quotient,
    ) -> Self {
        let mut s = [Wide::ZERO; 5];
        for (i, (xi, qi)) in x.ints.iter().zip(&quotient.ints).enumerate() {
            for (slot, (yj, mj)) in s[i..].iter_mut().zip(y.ints.iter().zip(MODULUS_LIMBS)) {
                let modulus = Wide::limb_product(*qi, mj.into());
                *slot = slot.plus(Wide::limb_product(*xi, *yj)).minus(modulus);
            }
        }
        let low = Wide::from_limbs(&[minus.ints[0], minus.ints[1], 0, 0]);
        let high = Wide::from_limbs(&[minus.ints[2], minus.ints[3], 0, 0]);
        let ints = [s[0].plus(s[1].up(1)).minus(low), s[2].plus(s[3].up(1)).minus(high), s[4]];
        let q = Wide::from_limbs(&quotient.ints).to_fr();
        let native = x.integer().to_fr() * y.integer().to_fr()
            - q * *MODULUS_MOD_R
            - minus.integer().to_fr();
        Self::new(b, ints, native)
    }

    /// `k · self + l · other`.
    pub(crate) fn combine(&self, b: &mut Builder, k: i64, other: &Self, l: i64) -> Self {
        let ints = std::array::from_fn(|i| self.ints[i].scaled(k).plus(other.ints[i].scaled(l)));
        let native = self.native * small(k.into()) + other.native * small(l.into());
        Self::new(b, ints, native)
    }

    /// Limb cells of the carries, when `linear` is added to the groups.
    pub(crate) fn carries(&self, linear: &[(i64, &Element)]) -> [Cells; 2] {
        let part = |at: usize| {
            linear.iter().fold(Wide::ZERO, |sum, (k, e)| {
                sum.plus(Wide::from_limbs(&[e.ints[at], e.ints[at + 1], 0, 0]).scaled(*k))
            })
        };
        let c1 = self.ints[0].plus(part(0)).down(2);
        let c2 = self.ints[1].plus(part(2)).plus(c1).down(2);
        let c3 = self.ints[2].plus(c2).down(1);
        let offset = Wide::from_words([0, 1 << (CARRY_OFFSET_BITS - 64), 0, 0]);
        let mut cells = [0u16; 16];
        for (k, c) in [c1, c2, c3].into_iter().enumerate() {
            let words = c.plus(offset).words();
            for i in 0..5 {
                cells[5 * k + i] = (words[i / 4] >> (16 * (i % 4))) as u16;
            }
        }
        [std::array::from_fn(|i| cells[i]), std::array::from_fn(|i| cells[8 + i])]
    }
}

/// Lays out adjacent rows. The second half of a pack uses the limb cells of the next row, whatever that row is for.
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    pub(crate) b: &'a mut Builder,
    spill: Option<Cells>,
}

impl<'a> Tape<'a> {
    pub(crate) fn new(b: &'a mut Builder) -> Self {
        assert_eq!(b.cell_bits(), 16, "four limb cells must make a limb of 64 bits");
        Self { b, spill: None }
    }

    /// A row that does not use its limb cells.
    pub(crate) fn row(&mut self, w: [Var; 4], fixed: &FixedRow) -> usize {
        let limbs = self.spill.take().unwrap_or_default();
        self.b.raw_row(w, fixed, limbs)
    }

    /// A row that uses its limb cells.
    pub(crate) fn row_with(&mut self, w: [Var; 4], fixed: &FixedRow, limbs: Cells) {
        assert!(self.spill.is_none(), "the row's limb cells are already in use");
        self.b.raw_row(w, fixed, limbs);
    }

    /// A row whose pack, in its own and the next row's limb cells, is `element`.
    pub(crate) fn row_packing(&mut self, w: [Var; 4], fixed: &FixedRow, element: &Element) {
        let words = element.ints.map(|v| v as u64);
        let cell = |i: usize| (words[i / 4] >> (16 * (i % 4))) as u16;
        self.row_with(w, fixed, std::array::from_fn(cell));
        self.spill = Some(std::array::from_fn(|i| cell(8 + i)));
    }

    /// A row whose routed cells are not used here.
    pub(crate) fn filler(&mut self) {
        let limbs = self.spill.take().unwrap_or_default();
        self.b.filler_row(limbs);
    }

    /// Two rows (or one and whatever follows) that constrain an element's limbs to 64 bits.
    pub(crate) fn range(&mut self, element: &Element) {
        self.settle();
        self.row_packing(element.limbs, &ROWS.pack, element);
    }

    /// Makes the next row's limb cells free.
    pub(crate) fn settle(&mut self) {
        if self.spill.is_some() {
            self.filler();
        }
    }

    /// Ends the sequence.
    pub(crate) fn end(mut self) {
        self.settle();
    }
}

/// Every pack must be complete: without its second half, the range would be of other cells.
impl Drop for Tape<'_> {
    fn drop(&mut self) {
        let lost = self.spill.is_some() && !std::thread::panicking();
        assert!(!lost, "a tape ends with half of a pack to be laid out");
    }
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::*;

    /// ⌊r / 2^128⌋ and r mod 2^128.
    fn modulus_halves() -> [u128; 2] {
        let r = Fr::MODULUS.0;
        [[r[2], r[3]], [r[0], r[1]]].map(|w| u128::from(w[0]) | u128::from(w[1]) << 64)
    }

    /// Attacks on x above the maximum: no complement at all, a complement of −1, and a "carry" of −⌊r / 2^128⌋, which moves r mod 2^128
    /// into the low half and keeps both equations modulo r.
    #[test]
    fn a_number_above_the_maximum_is_rejected_whatever_complement_and_carry() {
        let (q, r) = (MODULUS_LIMBS, Fr::MODULUS.0);
        for modulus in [q, r] {
            let mut max = modulus;
            max[0] -= 1;
            let accepted = |x: [u64; 4], rest: [Fr; 4], carry: Fr| {
                let mut b = Builder::new(0, 16);
                let x = Element::from_words(&mut b, x);
                x.range(&mut b);
                at_most_given(&mut b, &x.limbs, max, rest, carry);
                let (layout, witness) = b.finish(None).expect("fits");
                check(&layout, &witness).is_ok()
            };
            let zero = Fr::from(0u64);
            assert!(accepted(max, [zero; 4], zero), "the maximum itself");
            assert!(!accepted(modulus, [-Fr::from(1u64), zero, zero, zero], zero));
            assert!(!accepted(modulus, [zero; 4], zero), "a low half above the maximum's");
            let mut higher = max;
            higher[2] += 1;
            assert!(!accepted(higher, [zero; 4], zero), "a high half above the maximum's");
            let [high, low] = modulus_halves();
            let rest = [low - 1, (low - 1) >> 64, high, high >> 64].map(|w| Fr::from(w as u64));
            assert!(!accepted(modulus, rest, -Fr::from(high)));
        }
    }

    #[test]
    #[should_panic(expected = "half of a pack")]
    fn a_tape_that_loses_half_of_a_pack_panics() {
        let mut b = Builder::new(0, 16);
        let element = Element::unchecked(&mut b, Fq::from(5u64));
        let mut tape = Tape::new(&mut b);
        tape.range(&element);
        drop(tape);
    }
}
