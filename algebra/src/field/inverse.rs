//! Inversion modulo a prime of up to 255 bits.
//!
//! Source: Pornin, "Optimized Binary GCD for Modular Inversion", <https://eprint.iacr.org/2020/972>,
//! algorithm 2, with words of 64 bits. The time of the steps does not depend on the value; that of the
//! corrections between them may.

use ark_ff::{BigInt, PrimeField};

type Limbs = [u64; 4];

/// Halvings decided on approximations of 64 bits before they are applied to the whole numbers.
const STEPS: u32 = 31;
/// Two numbers of 254 bits need at most 507 halvings.
const ROUNDS: u32 = 507u32.div_ceil(STEPS);

/// The inverse of `x`, or `None` for zero.
pub fn inverse<F: PrimeField<BigInt = BigInt<4>>>(x: &F) -> Option<F> {
    const { assert!(F::MODULUS_BIT_SIZE <= 254) };
    if x.is_zero() {
        return None;
    }
    let modulus = F::MODULUS.0;
    // −1 / modulus modulo 2^31, by Newton's iteration: 5, 10, 20, 40 bits.
    let mut inverse = modulus[0].wrapping_mul(3) ^ 2;
    for _ in 0..3 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(modulus[0].wrapping_mul(inverse)));
    }
    let negative_inverse = inverse.wrapping_neg();

    // Invariants modulo the prime: a = x·u and b = x·v.
    let (mut a, mut b) = (x.into_bigint().0, modulus);
    let (mut u, mut v): (Limbs, Limbs) = ([1, 0, 0, 0], [0; 4]);
    for _ in 0..ROUNDS {
        let [mut f, mut g] = steps(&a, &b);
        let (next_a, next_b) = (halved(f, &a, &b), halved(g, &a, &b));
        (a, f) = absolute(next_a, f);
        (b, g) = absolute(next_b, g);
        (u, v) = (
            halved_modulo(f, &u, &v, &modulus, negative_inverse),
            halved_modulo(g, &u, &v, &modulus, negative_inverse),
        );
    }
    debug_assert_eq!(
        (a, b),
        ([0; 4], [1, 0, 0, 0]),
        "a prime shares no factor with what is below it"
    );
    F::from_bigint(BigInt(v))
}

/// What a and b become, as multiples of both, in units of 2^−31.
type Factors = [i64; 2];

/// 31 steps of the binary algorithm on the lowest 31 bits and the highest 33 of two numbers.
#[inline]
fn steps(a: &Limbs, b: &Limbs) -> [Factors; 2] {
    let (mut x, mut y) = approximations(a, b);
    let [mut f, mut g]: [Factors; 2] = [[1, 0], [0, 1]];
    for _ in 0..STEPS {
        // Masks in place of branches, which would be guessed wrong half of the time.
        let is_odd = (x & 1).wrapping_neg();
        let swaps = is_odd & u64::from(x < y).wrapping_neg();
        let difference = (x ^ y) & swaps;
        (x, y) = (x ^ difference, y ^ difference);
        for i in 0..2 {
            let difference = (f[i] ^ g[i]) & swaps as i64;
            (f[i], g[i]) = (f[i] ^ difference, g[i] ^ difference);
            f[i] -= g[i] & is_odd as i64;
            g[i] <<= 1;
        }
        x = x.wrapping_sub(y & is_odd) >> 1;
    }
    [f, g]
}

/// The lowest 31 bits and, at the same place in both, the highest 33; all bits of numbers below 2^64.
#[inline]
fn approximations(a: &Limbs, b: &Limbs) -> (u64, u64) {
    let top = (1..4).rev().find(|i| a[*i] | b[*i] != 0);
    let Some(top) = top else { return (a[0], b[0]) };
    let shift = (a[top] | b[top]).leading_zeros();
    let of = |limbs: &Limbs| {
        let pair = u128::from(limbs[top]) << 64 | u128::from(limbs[top - 1]);
        let high = ((pair << shift) >> 64) as u64;
        (high >> STEPS << STEPS) | (limbs[0] & ((1 << STEPS) - 1))
    };
    (of(a), of(b))
}

/// `factors[0]·a + factors[1]·b`, the highest of the five limbs signed.
#[inline]
fn combined([f, g]: Factors, a: &Limbs, b: &Limbs) -> [u64; 5] {
    let mut out = [0; 5];
    let mut carry = 0i128;
    for i in 0..4 {
        carry += i128::from(f) * i128::from(a[i]) + i128::from(g) * i128::from(b[i]);
        out[i] = carry as u64;
        carry >>= 64;
    }
    out[4] = carry as u64;
    out
}

/// Divides by 2^31, rounding down.
#[inline]
fn shifted(x: [u64; 5]) -> [u64; 5] {
    let mut out = [0; 5];
    for i in 0..4 {
        out[i] = x[i] >> STEPS | x[i + 1] << (64 - STEPS);
    }
    out[4] = ((x[4] as i64) >> STEPS) as u64;
    out
}

/// [`combined`] in units of 2^31, which it is a multiple of.
#[inline]
fn halved(factors: Factors, a: &Limbs, b: &Limbs) -> [u64; 5] {
    shifted(combined(factors, a, b))
}

/// A number without its sign, and its factors with the other sign if it had one.
#[inline]
fn absolute([a, b, c, d, top]: [u64; 5], [f, g]: Factors) -> (Limbs, Factors) {
    let limbs = [a, b, c, d];
    if (top as i64) >= 0 {
        return (limbs, [f, g]);
    }
    let [a, b, c, d, _] = combined([-1, 0], &limbs, &[0; 4]);
    ([a, b, c, d], [-f, -g])
}

/// `(factors[0]·u + factors[1]·v) / 2^31` modulo the prime, of numbers below it. Both factors come to at
/// most 2^31 in magnitude, so the sum is between −p and 2p once a multiple of p has made it divisible.
#[inline]
fn halved_modulo(
    factors: Factors,
    u: &Limbs,
    v: &Limbs,
    modulus: &Limbs,
    negative_inverse: u64,
) -> Limbs {
    let sum = combined(factors, u, v);
    let multiple = sum[0].wrapping_mul(negative_inverse) & ((1 << STEPS) - 1);
    let mut out = shifted(plus(sum, multiple as i64, modulus));
    if (out[4] as i64) < 0 {
        out = plus(out, 1, modulus);
    }
    let less = plus(out, -1, modulus);
    if (less[4] as i64) >= 0 {
        out = less;
    }
    [out[0], out[1], out[2], out[3]]
}

/// `x + factor · modulus`.
#[inline]
fn plus(x: [u64; 5], factor: i64, modulus: &Limbs) -> [u64; 5] {
    let mut out = [0; 5];
    let mut carry = 0i128;
    for i in 0..4 {
        carry += i128::from(x[i]) + i128::from(factor) * i128::from(modulus[i]);
        out[i] = carry as u64;
        carry >>= 64;
    }
    out[4] = (carry as u64).wrapping_add(x[4]);
    out
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{Fq, Fr};

    fn check<F: PrimeField<BigInt = BigInt<4>>>() {
        assert_eq!(inverse(&F::zero()), None);
        let mut values = vec![F::one(), F::from(2u64).inverse().unwrap()];
        let mut power = F::one();
        for _ in 0..260 {
            values.extend([power, power + F::one(), power - F::one()]);
            power.double_in_place();
        }
        // Powers of two just below, and numbers with few bits at both ends.
        for bits in 0..254 {
            let mut limbs = [0u64; 4];
            limbs[bits / 64] = 1 << (bits % 64);
            values.extend(F::from_bigint(BigInt(limbs)));
            limbs[0] |= 1;
            values.extend(F::from_bigint(BigInt(limbs)));
        }
        values.extend((1..200u64).map(F::from));
        let mut rng = ChaCha8Rng::seed_from_u64(254);
        values.extend((0..2000).map(|_| F::rand(&mut rng)));
        for value in values {
            for value in [value, -value] {
                assert_eq!(inverse(&value), value.inverse(), "{value}");
            }
        }
    }

    #[test]
    fn inverses_are_those_of_arkworks_in_the_scalar_field() {
        check::<Fr>();
    }

    #[test]
    fn inverses_are_those_of_arkworks_in_the_base_field() {
        check::<Fq>();
    }
}
