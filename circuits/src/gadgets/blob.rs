//! Values of a blob's polynomial inside a circuit: arithmetic modulo the order of BLS12-381's scalar field,
//! written v here, over Fr.
//!
//! A blob commits to a polynomial over that field (EIP-4844), whose coefficients are words below r. A
//! [`Scalar`] is four limbs of 64 bits, lowest first; the integer need not be below v. One identity
//! `Σ a·b + w = v·q + out` reduces up to [`PRODUCTS_MAX`] products and a word at once. It is shown modulo
//! 2^320, in three groups of limb positions with signed carries, and modulo r; it then holds over the integers:
//!
//! * limbs are below 2^64 (range-checked), so a product is below 2^512 and eight of them with a word below
//!   2^515 + 2^256; q has four limbs of 64 bits and one of [`QUOTIENT_TOP_BITS`], so v·q is below 2^527 and the two
//!   sides differ by less than 2^528, far below `2^320 · r > 2^573`;
//! * a group `s_k + 2^64 s_{k+1}` is below `8 · 4 · 2^128 · 2^64 · 2 = 2^198`, and a carry of [`CARRY_BITS`] bits
//!   times 2^128 below 2^208, so that the equations modulo r, `r/2 > 2^252`, are equations of integers;
//! * an honest carry is below `2^198 / 2^128 = 2^70`, inside the 2^79 on either side of zero that its cells allow.

use ark_bls12_381::Fr as Fv;
use ark_ff::PrimeField;
use rollmill_algebra::Fr;
use rollmill_algebra::field::from_u64;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;

use super::nonnative::{Element, at_most_given, complement};
use super::uint::range_bits;
use super::wide::{Wide, inverse};
use crate::weaken::gone;

/// Most products in one reduction.
pub const PRODUCTS_MAX: usize = 8;
/// Bits of the quotient's fifth limb.
const QUOTIENT_TOP_BITS: u32 = 16;
/// Bits of a carry with its offset.
const CARRY_BITS: u32 = 80;

/// The order v of BLS12-381's scalar field, low word first.
const ORDER: [u64; 4] = <Fv as PrimeField>::MODULUS.0;
const ORDER_WIDE: Wide = Wide::from_words(ORDER);
const ORDER_INVERSE: Wide = inverse(ORDER);

/// An integer below 2^256 that stands for its residue modulo v.
#[derive(Debug, Clone, Copy)]
pub struct Scalar {
    limbs: [Var; 4],
    /// Its residue modulo r.
    native: Var,
}

impl Scalar {
    /// The canonical integer of a field element of the circuit, which is below r and so below v. About ten rows.
    pub fn of_word(b: &mut Builder, word: Var) -> Self {
        let words = b.value(word).into_bigint().0;
        Self::of_word_given(b, word, words.map(from_u64), words)
    }

    /// [`Self::of_word`] with the limbs as the prover chooses them, and the integer that it shows to be below r.
    fn of_word_given(b: &mut Builder, word: Var, limbs: [Fr; 4], integer: [u64; 4]) -> Self {
        let limbs = limbs.map(|limb| b.witness(limb));
        if !gone("gadgets.blob.word.range") {
            Element::from_limbs(b, limbs).range(b);
        }
        if !gone("gadgets.blob.word.sum") {
            b.linear_into(&weighted(&limbs), Fr::from(0u64), word);
        }
        let mut max = Fr::MODULUS.0;
        max[0] -= 1;
        if !gone("gadgets.blob.word.canonical") {
            let (rest, carry) = complement(integer, max);
            at_most_given(b, &limbs, max, rest, carry);
        }
        Self { limbs, native: word }
    }

    /// The integer with these halves of 128 bits, low one first, which some other circuit has made of limbs.
    pub fn of_halves(b: &mut Builder, halves: [Var; 2]) -> Self {
        let limbs = halves.map(|half| {
            let words = b.value(half).into_bigint().0;
            [words[0], words[1]].map(from_u64)
        });
        Self::of_halves_given(b, halves, limbs)
    }

    /// [`Self::of_halves`] with the limbs as the prover chooses them.
    fn of_halves_given(b: &mut Builder, [low, high]: [Var; 2], limbs: [[Fr; 2]; 2]) -> Self {
        let limbs = limbs.map(|pair| pair.map(|limb| b.witness(limb)));
        let [[l0, l1], [l2, l3]] = limbs;
        let limbs = [l0, l1, l2, l3];
        if !gone("gadgets.blob.halves.range") {
            Element::from_limbs(b, limbs).range(b);
        }
        for (half, limbs) in [(low, [l0, l1]), (high, [l2, l3])] {
            if !gone("gadgets.blob.halves.sum") {
                b.linear_into(&weighted(&limbs), Fr::from(0u64), half);
            }
        }
        let native = b.linear(&[(Fr::from(1u64), low), (power_of_two(128), high)], Fr::from(0u64));
        Self { limbs, native }
    }

    /// The two halves of 128 bits, low one first.
    pub fn halves(&self, b: &mut Builder) -> [Var; 2] {
        let [l0, l1, l2, l3] = self.limbs;
        [[l0, l1], [l2, l3]].map(|limbs| b.linear(&weighted(&limbs), Fr::from(0u64)))
    }

    /// `self · other` modulo v. 35 rows.
    pub fn times(&self, b: &mut Builder, other: &Self) -> Self {
        reduced(b, &[(*self, *other)], None)
    }

    /// `self · other + addend` modulo v.
    pub fn times_plus(&self, b: &mut Builder, other: &Self, addend: &Self) -> Self {
        reduced(b, &[(*self, *other)], Some(addend))
    }

    fn value(&self, b: &Builder) -> [u64; 4] {
        self.limbs.map(|limb| b.value(limb).into_bigint().0[0])
    }
}

/// `Σ 2^(64 i) limbs[i]` as terms.
fn weighted<const N: usize>(limbs: &[Var; N]) -> [(Fr, Var); N] {
    std::array::from_fn(|i| (power_of_two(64 * i as u32), limbs[i]))
}

/// The residue modulo v of an integer below 2^256.
fn residue(words: [u64; 4]) -> Fv {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Fv::from_le_bytes_mod_order(&bytes)
}

/// What a prover supplies for a reduction.
#[derive(Debug, Clone, Copy)]
struct Reduction {
    out: [Fr; 4],
    quotient: [Fr; 5],
    carries: [Fr; 3],
}

/// Products with limbs of positions i and j, where i + j is the position.
fn position(k: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..4).filter(move |i| k >= *i && k - i < 4).map(move |i| (i, k - i))
}

impl Reduction {
    /// The honest one, with the canonical residue.
    fn of(products: &[([u64; 4], [u64; 4])], addend: [u64; 4]) -> Self {
        let sum = products.iter().map(|(x, y)| residue(*x) * residue(*y)).sum::<Fv>();
        let out = (sum + residue(addend)).into_bigint().0;
        let mut s = [Wide::ZERO; 5];
        let int = |word: u64| i128::from(word);
        for (k, s) in s.iter_mut().enumerate() {
            for (x, y) in products {
                for (i, j) in position(k) {
                    *s = s.plus(Wide::limb_product(int(x[i]), int(y[j])));
                }
            }
            if k < 4 {
                let linear = Wide::from_words([addend[k], 0, 0, 0]);
                *s = s.plus(linear).minus(Wide::from_words([out[k], 0, 0, 0]));
            }
        }
        let total = s.iter().enumerate().fold(Wide::ZERO, |sum, (k, s)| sum.plus(s.up(k)));
        // Exact: v divides the whole, and the quotient is below 2^263.
        let quotient = total.times(ORDER_INVERSE).words();
        for (k, s) in s.iter_mut().enumerate() {
            for (i, q) in quotient.iter().enumerate().filter(|(i, _)| *i <= k && k - i < 4) {
                *s = s.minus(Wide::limb_product(int(*q), int(ORDER[k - i])));
            }
        }
        let c1 = s[0].plus(s[1].up(1)).down(2);
        let c2 = s[2].plus(s[3].up(1)).plus(c1).down(2);
        let c3 = s[4].plus(c2).down(1);
        Self {
            out: out.map(from_u64),
            quotient: quotient.map(from_u64),
            carries: [c1, c2, c3].map(|carry| carry.to_fr()),
        }
    }
}

/// `Σ a·b + addend` modulo v.
fn reduced(b: &mut Builder, products: &[(Scalar, Scalar)], addend: Option<&Scalar>) -> Scalar {
    let values: Vec<_> = products.iter().map(|(x, y)| (x.value(b), y.value(b))).collect();
    let reduction = Reduction::of(&values, addend.map_or([0; 4], |addend| addend.value(b)));
    reduced_given(b, products, addend, &reduction)
}

/// [`reduced`] with result, quotient and carries as the prover chooses them.
fn reduced_given(
    b: &mut Builder,
    products: &[(Scalar, Scalar)],
    addend: Option<&Scalar>,
    reduction: &Reduction,
) -> Scalar {
    assert!(products.len() <= PRODUCTS_MAX, "{} products in one reduction", products.len());
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    let out = reduction.out.map(|limb| b.witness(limb));
    if !gone("gadgets.blob.out.range") {
        Element::from_limbs(b, out).range(b);
    }
    let quotient = reduction.quotient.map(|limb| b.witness(limb));
    let [q0, q1, q2, q3, top] = quotient;
    if !gone("gadgets.blob.quotient.range") {
        Element::from_limbs(b, [q0, q1, q2, q3]).range(b);
    }
    if !gone("gadgets.blob.quotient.top") {
        b.range(top, QUOTIENT_TOP_BITS);
    }
    let carries = reduction.carries.map(|carry| {
        let carry = b.witness(carry);
        let shifted = b.scale(carry, one, power_of_two(CARRY_BITS - 1));
        if !gone("gadgets.blob.carry.range") {
            range_bits(b, shifted, CARRY_BITS);
        }
        carry
    });

    // Products and linear terms of the positions `at..at + n`, each position 2^64 above the one before.
    let group = |at: usize, n: usize| {
        let (mut squares, mut linear) = (Vec::new(), Vec::new());
        for k in at..at + n {
            let weight = power_of_two(64 * (k - at) as u32);
            for (i, j) in position(k) {
                squares.extend(products.iter().map(|(x, y)| (weight, x.limbs[i], y.limbs[j])));
            }
            if k < 4 {
                linear.extend(addend.map(|addend| (weight, addend.limbs[k])));
                linear.push((-weight, out[k]));
            }
            for (i, q) in quotient.iter().enumerate().filter(|(i, _)| *i <= k && k - i < 4) {
                linear.push((-weight * from_u64(ORDER[k - i]), *q));
            }
        }
        (squares, linear)
    };
    let [c1, c2, c3] = carries;
    let (squares, mut linear) = group(0, 2);
    linear.push((-power_of_two(128), c1));
    if !gone("gadgets.blob.low") {
        assert_zero(b, &squares, &linear);
    }
    let (squares, mut linear) = group(2, 2);
    linear.extend([(one, c1), (-power_of_two(128), c2)]);
    if !gone("gadgets.blob.middle") {
        assert_zero(b, &squares, &linear);
    }
    let (squares, mut linear) = group(4, 1);
    linear.extend([(one, c2), (-power_of_two(64), c3)]);
    if !gone("gadgets.blob.high") {
        assert_zero(b, &squares, &linear);
    }
    let native = b.linear(&weighted(&out), zero);
    let squares: Vec<_> = products.iter().map(|(x, y)| (one, x.native, y.native)).collect();
    let mut linear = vec![(-one, native)];
    linear.extend(addend.map(|addend| (one, addend.native)));
    let order = ORDER_WIDE.to_fr();
    linear.extend(weighted(&quotient).map(|(weight, q)| (-weight * order, q)));
    if !gone("gadgets.blob.native") {
        assert_zero(b, &squares, &linear);
    }
    Scalar { limbs: out, native }
}

/// Constrains `Σ k·x·y + Σ k·t = 0`: about one row a product, with a linear term on each for nothing.
fn assert_zero(b: &mut Builder, products: &[(Fr, Var, Var)], linear: &[(Fr, Var)]) {
    let (mut products, mut linear) = (products.iter().peekable(), linear.iter().peekable());
    let mut sum: Option<Var> = None;
    loop {
        let (mut w, mut c) = ([None; 4], [Fr::from(0u64); 8]);
        // A product takes the first two cells or, once, the last two; the sum so far takes the last one.
        let mut free = vec![2];
        match products.next() {
            Some((k, x, y)) => (w[0], w[1], c[4]) = (Some(*x), Some(*y), *k),
            None => free.extend([0, 1]),
        }
        if let Some(sum) = sum {
            (w[3], c[3]) = (Some(sum), Fr::from(1u64));
        } else if let Some((k, x, y)) = products.next() {
            (w[2], w[3], c[5]) = (Some(*x), Some(*y), *k);
            free.retain(|at| *at != 2);
        } else {
            free.push(3);
        }
        for (at, (k, term)) in free.into_iter().zip(&mut linear) {
            (w[at], c[at]) = (Some(*term), *k);
        }
        if products.peek().is_none() && linear.peek().is_none() {
            b.arith_row(w, c, None);
            return;
        }
        let x = w.map(|var| var.map(|var| b.value(var)).unwrap_or_default());
        let straight = (0..4).map(|i| c[i] * x[i]).sum::<Fr>();
        let next = b.witness(straight + c[4] * x[0] * x[1] + c[5] * x[2] * x[3]);
        c[6] = -Fr::from(1u64);
        b.arith_row(w, c, Some(next));
        sum = Some(next);
    }
}

/// The powers `z, z², …, z^8` of the point of a blob.
#[derive(Debug, Clone, Copy)]
pub struct Powers([Scalar; PRODUCTS_MAX]);

impl Powers {
    /// Of a point that is an element of Fr.
    pub fn new(b: &mut Builder, z: Var) -> Self {
        let z = Scalar::of_word(b, z);
        let mut powers = [z; PRODUCTS_MAX];
        for i in 1..PRODUCTS_MAX {
            powers[i] = powers[i - 1].times(b, &z);
        }
        Self(powers)
    }

    /// `Σ words[i] · z^i` modulo v, by Horner's rule over eight words at a time.
    pub fn evaluate(&self, b: &mut Builder, words: &[Scalar]) -> Scalar {
        let mut sum: Option<Scalar> = None;
        for chunk in words.chunks(PRODUCTS_MAX).rev() {
            let mut products: Vec<(Scalar, Scalar)> = Vec::with_capacity(PRODUCTS_MAX);
            products.extend(sum.map(|sum| (sum, self.0[PRODUCTS_MAX - 1])));
            products.extend(chunk[1..].iter().copied().zip(self.0));
            sum = Some(match products.is_empty() {
                true => chunk[0],
                false => reduced(b, &products, Some(&chunk[0])),
            });
        }
        sum.expect("a polynomial with coefficients")
    }

    /// `z^exponent` modulo v, for an exponent from 1.
    pub fn power(&self, b: &mut Builder, exponent: u32) -> Scalar {
        assert!(exponent > 0, "the power 0 needs no circuit");
        // From the top: the leading bits as far as the table reaches, then one squaring a bit.
        let bits = u32::BITS - exponent.leading_zeros();
        let mut left = bits.saturating_sub(3);
        let mut power = self.0[(exponent >> left) as usize - 1];
        while left > 0 {
            left -= 1;
            power = power.times(b, &power);
            if exponent >> left & 1 == 1 {
                power = power.times(b, &self.0[0]);
            }
        }
        power
    }
}

#[cfg(test)]
mod tests;
