//! Signed integers of 320 bits, for the witnesses of non-native arithmetic.
//!
//! Two's complement in five 64-bit words, with all operations modulo 2^320. That is enough: the divisions of an
//! identity are exact, and an exact quotient is below 2^319, so it is determined modulo 2^320.

use ark_ff::{BigInt, PrimeField};
use rollmill_algebra::Fr;
use rollmill_plonk::gates::MODULUS_LIMBS;

const WORDS: usize = 5;

/// An integer modulo 2^320, read as signed where it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wide([u64; WORDS]);

impl Wide {
    /// Zero.
    pub const ZERO: Self = Self([0; WORDS]);

    /// An unsigned integer of four words, low word first.
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self([words[0], words[1], words[2], words[3], 0])
    }

    /// The product of two limbs, each of absolute value below 2^64.
    pub fn limb_product(a: i128, b: i128) -> Self {
        let low = |v: i128| u128::from(v.unsigned_abs() as u64);
        let product = low(a) * low(b);
        let out = Self([product as u64, (product >> 64) as u64, 0, 0, 0]);
        if (a < 0) == (b < 0) { out } else { out.negated() }
    }

    /// `Σ limbs[i] · 2^(64 i)`.
    pub fn from_limbs(limbs: &[i128; 4]) -> Self {
        let mut out = Self::ZERO;
        let mut carry = 0i128;
        for (i, word) in out.0.iter_mut().enumerate() {
            // Limbs are below 2^65 in absolute value and carries below 2^2.
            let sum = limbs.get(i).copied().unwrap_or(0) + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
        out
    }

    /// `self + other`.
    pub fn plus(self, other: Self) -> Self {
        let mut out = [0; WORDS];
        let mut carry = false;
        for (i, word) in out.iter_mut().enumerate() {
            let (sum, first) = self.0[i].overflowing_add(other.0[i]);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, first | second);
        }
        Self(out)
    }

    /// `−self`.
    pub fn negated(self) -> Self {
        Self(self.0.map(|w| !w)).plus(Self([1, 0, 0, 0, 0]))
    }

    /// `self − other`.
    pub fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    /// `self · 2^(64 words)`.
    pub fn up(self, words: usize) -> Self {
        Self(std::array::from_fn(|i| if i < words { 0 } else { self.0[i - words] }))
    }

    /// `⌊self / 2^(64 words)⌋`.
    pub fn down(self, words: usize) -> Self {
        let fill = if self.is_negative() { u64::MAX } else { 0 };
        Self(std::array::from_fn(|i| self.0.get(i + words).copied().unwrap_or(fill)))
    }

    /// `⌊self / 2⌋`.
    pub fn half(self) -> Self {
        let top = if self.is_negative() { 1 << 63 } else { 0 };
        Self(std::array::from_fn(|i| {
            self.0[i] >> 1 | self.0.get(i + 1).map_or(top, |next| next << 63)
        }))
    }

    /// Whether it is odd.
    pub fn is_odd(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// `self · other`.
    pub const fn times(self, other: Self) -> Self {
        Self(times(self.0, other.0))
    }

    /// `self · factor` for a small factor.
    pub fn scaled(self, factor: i64) -> Self {
        let magnitude = Self([factor.unsigned_abs(), 0, 0, 0, 0]);
        let product = self.times(magnitude);
        if factor < 0 { product.negated() } else { product }
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0[WORDS - 1] >> 63 == 1
    }

    /// The low words.
    pub fn words(self) -> [u64; WORDS] {
        self.0
    }

    /// The residue modulo r.
    pub fn to_fr(self) -> Fr {
        let magnitude = if self.is_negative() { self.negated() } else { self };
        let [a, b, c, d, top] = magnitude.0;
        let low = Fr::from_bigint(BigInt::new([a, b, c, d]));
        let value = match low {
            Some(low) if top == 0 => low,
            // Only an invalid witness gets here.
            _ => {
                let bytes: Vec<u8> = magnitude.0.iter().flat_map(|w| w.to_le_bytes()).collect();
                Fr::from_le_bytes_mod_order(&bytes)
            }
        };
        if self.is_negative() { -value } else { value }
    }

    /// `self / q` modulo 2^320, for the modulus q of the non-native field: the quotient itself where
    /// the division is exact.
    pub fn divided_by_modulus(self) -> Self {
        self.times(MODULUS_INVERSE)
    }
}

/// The modulus q of the non-native field.
pub const MODULUS: Wide = Wide::from_words(MODULUS_LIMBS);
/// `q^−1` modulo 2^320.
const MODULUS_INVERSE: Wide = inverse(MODULUS_LIMBS);

/// The inverse of an odd number modulo 2^320, by Newton's iteration: each step doubles the number of correct bits.
pub const fn inverse(odd: [u64; 4]) -> Wide {
    let q = [odd[0], odd[1], odd[2], odd[3], 0];
    // An odd number is its own inverse modulo 8.
    let mut x = [q[0], 0, 0, 0, 0];
    let mut step = 0;
    while step < 7 {
        let qx = times(q, x);
        // 2 − qx
        let mut two_minus = [0u64; WORDS];
        let mut i = 0;
        let mut carry = 3u128;
        while i < WORDS {
            let sum = !qx[i] as u128 + carry;
            two_minus[i] = sum as u64;
            carry = sum >> 64;
            i += 1;
        }
        x = times(x, two_minus);
        step += 1;
    }
    Wide(x)
}

const fn times(a: [u64; WORDS], b: [u64; WORDS]) -> [u64; WORDS] {
    let mut out = [0u64; WORDS];
    let mut i = 0;
    while i < WORDS {
        let mut carry = 0u128;
        let mut j = 0;
        while j < WORDS - i {
            let t = a[i] as u128 * b[j] as u128 + out[i + j] as u128 + carry;
            out[i + j] = t as u64;
            carry = t >> 64;
            j += 1;
        }
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dividing_a_multiple_of_the_modulus_gives_the_quotient() {
        for k in [0i64, 1, -1, 77, i64::MIN + 1] {
            let quotient = MODULUS.scaled(k).divided_by_modulus();
            assert_eq!(quotient, Wide::limb_product(k.into(), 1));
        }
    }

    #[test]
    fn limbs_of_either_sign_add_up() {
        let value = Wide::from_limbs(&[-1, 0, 1, 0]);
        let expected =
            Wide::from_words([1, 0, 0, 0]).negated().plus(Wide::from_words([0, 0, 1, 0]));
        assert_eq!(value, expected);
        assert_eq!(value.negated().down(2), Wide::from_words([1, 0, 0, 0]).negated());
        assert_eq!(Wide::limb_product(-3, 5).to_fr(), -Fr::from(15u64));
        assert_eq!(Wide::limb_product(-3, 1).half(), Wide::limb_product(-2, 1));
        assert!(Wide::limb_product(-3, 1).is_odd());
    }
}
