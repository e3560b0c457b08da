//! Inverses in prime fields of four limbs.
//!
//! Source: Pornin, "Optimized Binary GCD for Modular Inversion", algorithm 2,
//! <https://eprint.iacr.org/2020/972>. The binary algorithm's decisions need only the lowest bits of
//! two numbers and, nearly always, their highest ones: [`STEPS`] of them are taken on one word each,
//! and only then are the numbers themselves touched. Where the highest bits decide wrongly a number
//! comes out negative, which is mended by its sign.

// Loops over limbs walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use ark_ff::{BigInt, Fp, MontBackend, MontConfig, PrimeField};

/// An element of a field of four limbs, as both of the curve's fields are.
pub type Element<T> = Fp<MontBackend<T, 4>, 4>;

// The bounds below are those of moduli of at most 254 bits.
const _: () = assert!(crate::Fr::MODULUS_BIT_SIZE <= 254 && crate::Fq::MODULUS_BIT_SIZE <= 254);

/// Halvings taken on one word before the numbers follow.
const STEPS: u32 = 31;

/// What [`STEPS`] halvings did to `(a, b)`: `2^31 · a' = f0 · a + g0 · b`, and so for b with f1 and g1.
/// Each row's magnitudes add up to at most 2^31.
#[derive(Clone, Copy)]
struct Matrix {
    f0: i64,
    g0: i64,
    f1: i64,
    g1: i64,
}

/// The inverse of `value`, or nothing for zero; equal to [`ark_ff::Field::inverse`], in a third of its
/// time. Not in constant time.
pub fn inverse<T: MontConfig<4>>(value: &Element<T>) -> Option<Element<T>> {
    let modulus = T::MODULUS.0;
    // Throughout, a = u · value and b = v · value modulo the modulus, b is odd, and a and b are not
    // negative.
    let (mut a, mut b) = (value.0.0, modulus);
    let (mut u, mut v) = (Wide([1, 0, 0, 0, 0]), Wide([0; 5]));
    while a != [0; 4] {
        let mut matrix = halvings(&a, &b);
        let Matrix { f0, g0, f1, g1 } = matrix;
        let (negative, next_a) = combined(&a, f0, &b, g0).halved().magnitude();
        if negative {
            (matrix.f0, matrix.g0) = (-f0, -g0);
        }
        let (negative, next_b) = combined(&a, f1, &b, g1).halved().magnitude();
        if negative {
            (matrix.f1, matrix.g1) = (-f1, -g1);
        }
        (a, b) = (next_a, next_b);
        let Matrix { f0, g0, f1, g1 } = matrix;
        (u, v) = (u.combined(f0, &v, g0).divided::<T>(), u.combined(f1, &v, g1).divided::<T>());
    }
    if b != [1, 0, 0, 0] {
        // The modulus is prime: the greatest common divisor is the modulus, of zero alone.
        return None;
    }
    // `value` represents value / 2^256, whose inverse is represented by v · 2^512; the product
    // below removes 2^256.
    let r = Element::<T>::new_unchecked(T::R2);
    Some(Element::<T>::new_unchecked(v.reduced(&modulus)) * (r * r))
}

/// The decisions of [`STEPS`] halvings.
fn halvings(a: &[u64; 4], b: &[u64; 4]) -> Matrix {
    let (mut x, mut y) = approximations(a, b);
    // Two coefficients a word, f in the low half and g in the high one, each with 2^31 − 1 added so
    // that no borrow passes between them.
    const BIAS: u64 = 0x7fff_ffff_7fff_ffff;
    let (mut row0, mut row1) = (BIAS.wrapping_add(1), BIAS.wrapping_add(1 << 32));
    for _ in 0..STEPS {
        let odd = (x & 1).wrapping_neg();
        // Branches here would be guessed wrong every other time.
        let swap = odd & u64::from(x < y).wrapping_neg();
        let exchange = (x ^ y) & swap;
        (x, y) = (x ^ exchange, y ^ exchange);
        let exchange = (row0 ^ row1) & swap;
        (row0, row1) = (row0 ^ exchange, row1 ^ exchange);
        x = x.wrapping_sub(y & odd) >> 1;
        row0 = row0.wrapping_sub(row1 & odd).wrapping_add(BIAS & odd);
        row1 = row1.wrapping_add(row1).wrapping_sub(BIAS);
    }
    let low = |row: u64| (row & 0xffff_ffff) as i64 - 0x7fff_ffff;
    let high = |row: u64| (row >> 32) as i64 - 0x7fff_ffff;
    Matrix { f0: low(row0), g0: high(row0), f1: low(row1), g1: high(row1) }
}

/// The lowest 31 bits of both numbers under the 33 highest bits of the longer, or the numbers
/// themselves where they fit in a word.
fn approximations(a: &[u64; 4], b: &[u64; 4]) -> (u64, u64) {
    let Some(top) = (1..4).rev().find(|i| a[*i] | b[*i] != 0) else { return (a[0], b[0]) };
    let shift = (a[top] | b[top]).leading_zeros();
    let highest = |x: &[u64; 4]| {
        let both = u128::from(x[top]) << 64 | u128::from(x[top - 1]);
        ((both << shift) >> 64) as u64
    };
    let low = (1 << STEPS) - 1;
    let join = |x: &[u64; 4]| x[0] & low | highest(x) & !low;
    (join(a), join(b))
}

/// A signed number of 320 bits in two's complement.
#[derive(Clone, Copy)]
struct Wide([u64; 5]);

/// `a · f + b · g`, for |f| + |g| at most 2^31.
fn combined(a: &[u64; 4], f: i64, b: &[u64; 4], g: i64) -> Wide {
    let wide = |x: &[u64; 4]| Wide([x[0], x[1], x[2], x[3], 0]);
    wide(a).combined(f, &wide(b), g)
}

impl Wide {
    fn combined(&self, f: i64, other: &Self, g: i64) -> Self {
        let mut out = [0; 5];
        let mut carry = 0i128;
        for i in 0..4 {
            // Below 2^64 · 2^31 in magnitude, and the carry below 2^33.
            carry += i128::from(self.0[i]) * i128::from(f);
            carry += i128::from(other.0[i]) * i128::from(g);
            out[i] = carry as u64;
            carry >>= 64;
        }
        // The sign is in the highest limb.
        carry += i128::from(self.0[4] as i64) * i128::from(f);
        carry += i128::from(other.0[4] as i64) * i128::from(g);
        out[4] = carry as u64;
        Self(out)
    }

    /// Divided by 2^31, what is below the point lost.
    fn halved(self) -> Self {
        let x = self.0;
        let low = |i: usize| x[i] >> STEPS | x[i + 1] << (64 - STEPS);
        Self([low(0), low(1), low(2), low(3), ((x[4] as i64) >> STEPS) as u64])
    }

    /// Whether it is negative, and its magnitude, which is below 2^256.
    fn magnitude(self) -> (bool, [u64; 4]) {
        let negative = (self.0[4] as i64) < 0;
        let mask = u64::from(negative).wrapping_neg();
        let mut out = [0; 4];
        let mut carry = negative;
        for i in 0..4 {
            (out[i], carry) = (self.0[i] ^ mask).overflowing_add(u64::from(carry));
        }
        (negative, out)
    }

    /// Divided by 2^31 modulo the modulus. A magnitude of at most `k` moduli times 2^31 comes out as
    /// at most `k + 1` moduli.
    fn divided<T: MontConfig<4>>(self) -> Self {
        // T::INV is −1 / modulus modulo 2^64.
        let factor = self.0[0].wrapping_mul(T::INV) & ((1 << STEPS) - 1);
        let mut out = [0; 5];
        let mut carry = 0u128;
        for i in 0..4 {
            carry += u128::from(T::MODULUS.0[i]) * u128::from(factor) + u128::from(self.0[i]);
            out[i] = carry as u64;
            carry >>= 64;
        }
        out[4] = self.0[4].wrapping_add(carry as u64);
        Self(out).halved()
    }

    /// The remainder by `modulus`. There are at most 18 rounds of halvings, so few subtractions suffice.
    fn reduced(mut self, modulus: &[u64; 4]) -> BigInt<4> {
        while (self.0[4] as i64) < 0 {
            self = self.combined(1, &Self::from_limbs(modulus), 1);
        }
        loop {
            let less = self.combined(1, &Self::from_limbs(modulus), -1);
            if (less.0[4] as i64) < 0 {
                let [x0, x1, x2, x3, _] = self.0;
                return BigInt::new([x0, x1, x2, x3]);
            }
            self = less;
        }
    }

    fn from_limbs(x: &[u64; 4]) -> Self {
        Self([x[0], x[1], x[2], x[3], 0])
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::{AdditiveGroup, Field, UniformRand};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn holds<T: MontConfig<4>>(name: &str, seed: u64) {
        type E<T> = Element<T>;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = vec![E::<T>::ZERO, E::<T>::ONE, -E::<T>::ONE];
        // Every length of number, in both readings of the limbs, and numbers near the modulus.
        for bit in 0..254 {
            let mut limbs = [0u64; 4];
            limbs[bit / 64] = 1 << (bit % 64);
            let power = BigInt::new(limbs);
            if power < T::MODULUS {
                values.extend([E::<T>::from(power), E::<T>::new_unchecked(power)]);
                values.extend([-E::<T>::from(power), -E::<T>::new_unchecked(power)]);
                values.push(E::<T>::from(power) - E::<T>::ONE);
            }
        }
        for small in 1..200u64 {
            values.push(E::<T>::new_unchecked(BigInt::from(small)));
            values.push(-E::<T>::new_unchecked(BigInt::from(small)));
        }
        // Runs of equal bits, on which approximations are worst.
        for _ in 0..2_000 {
            let mut limbs = [0u64; 4];
            let mut bit = 0;
            while bit < 253 {
                let run = rng.gen_range(1..70);
                let value = rng.gen_range(0..2u64);
                for i in bit..(bit + run).min(253) {
                    limbs[i / 64] |= value << (i % 64);
                }
                bit += run;
            }
            values.push(E::<T>::new_unchecked(BigInt::new(limbs)));
        }
        values.extend((0..20_000).map(|_| E::<T>::rand(&mut rng)));
        for value in values {
            assert_eq!(inverse(&value), value.inverse(), "{name}, seed {seed}: {:?}", value.0.0);
        }
    }

    #[test]
    fn inverses_are_arkworks_inverses_in_both_fields() {
        holds::<ark_bn254::FrConfig>("Fr", 20_261_121);
        holds::<ark_bn254::FqConfig>("Fq", 20_261_122);
    }
}
