//! Small helpers over Fr that need no device.

mod inverse;

use ark_bn254::FrConfig;
use ark_ff::{AdditiveGroup, BigInt, FftField, Field, MontConfig, MontFp, PrimeField, Zero};

pub use self::inverse::{Element, inverse};
use crate::Fr;

/// Largest `log_n` for which Fr has a root of unity of order `2^log_n`.
pub const TWO_ADICITY: u32 = 28;

/// The generator of the subgroup of order `2^log_n`: a power of the one fixed root of order 2^28, so
/// that `omega(k) = omega(k + 1)²`.
///
/// # Panics
/// When `log_n` is above [`TWO_ADICITY`].
pub fn omega(log_n: u32) -> Fr {
    assert!(log_n <= TWO_ADICITY, "Fr has no root of unity of order 2^{log_n}");
    let mut root = Fr::TWO_ADIC_ROOT_OF_UNITY;
    for _ in log_n..TWO_ADICITY {
        root.square_in_place();
    }
    root
}

/// Replaces each element by its inverse with one field inversion in all; zero stays zero.
///
/// Source: Montgomery's trick, "Speeding the Pollard and elliptic curve methods", 1987, section
/// 10.3.1.
pub fn batch_invert<T: MontConfig<4>>(values: &mut [Element<T>]) {
    let mut products = Vec::with_capacity(values.len());
    let mut product = Element::<T>::ONE;
    for value in values.iter() {
        products.push(product);
        if !value.is_zero() {
            product *= value;
        }
    }
    // A product of non-zero elements is not zero.
    let mut inverse = inverse(&product).unwrap_or(Element::<T>::ONE);
    for (value, before) in values.iter_mut().zip(products).rev() {
        if !value.is_zero() {
            let next = inverse * *value;
            *value = inverse * before;
            inverse = next;
        }
    }
}

/// The inverse of a number that cannot be zero by its construction, such as a root of unity or the difference of
/// two different ones.
///
/// Panics on zero in debug builds. Release builds return zero, with which no proof verifies.
pub fn inverse_of_nonzero(value: &Fr) -> Fr {
    debug_assert!(!value.is_zero(), "a number that cannot be zero is zero");
    value.inverse().unwrap_or_default()
}

/// `value` in Fr, at a third of the cost of `Fr::from`: one word takes one round of Montgomery's reduction
/// and not four.
///
/// Source: Montgomery, "Modular multiplication without trial division", 1985.
pub fn from_u64(value: u64) -> Fr {
    // In Montgomery's form this is 2^64·R, so that the round takes value·2^64·R to value·R.
    const FACTOR: [u64; 4] = {
        let factor: Fr = MontFp!("18446744073709551616");
        factor.0.0
    };
    const MODULUS: [u64; 4] = Fr::MODULUS.0;
    let step = |at: u64, a: u64, b: u64, carry: &mut u64| {
        let sum = u128::from(a) * u128::from(b) + u128::from(at) + u128::from(*carry);
        *carry = (sum >> 64) as u64;
        sum as u64
    };
    let mut top = 0;
    let product = FACTOR.map(|word| step(0, word, value, &mut top));
    let multiple = product[0].wrapping_mul(FrConfig::INV);
    let mut carry = 0;
    step(product[0], MODULUS[0], multiple, &mut carry);
    let mut out = BigInt::new([0; 4]);
    for i in 1..4 {
        out.0[i - 1] = step(product[i], MODULUS[i], multiple, &mut carry);
    }
    // Below 2r, as both products are below 2^64·r; and 2r is below 2^255.
    out.0[3] = top + carry;
    if out >= Fr::MODULUS {
        ark_ff::BigInteger::sub_with_borrow(&mut out, &Fr::MODULUS);
    }
    Fr::new_unchecked(out)
}

/// `1, base, base², …`, in all `n` elements.
pub fn powers(base: Fr, n: usize) -> Vec<Fr> {
    std::iter::successors(Some(Fr::ONE), |power| Some(*power * base)).take(n).collect()
}

/// The value at `point` of the polynomial with these coefficients, constant term first.
pub fn horner(coefficients: &[Fr], point: Fr) -> Fr {
    coefficients.iter().rev().fold(Fr::ZERO, |sum, coefficient| sum * point + coefficient)
}

#[cfg(test)]
mod tests {
    use ark_ff::UniformRand;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn omega_has_exactly_the_order_asked_for() {
        for log_n in 1..=TWO_ADICITY {
            assert_eq!(omega(log_n).pow([1u64 << (log_n - 1)]), -Fr::ONE, "log_n {log_n}");
        }
        assert_eq!(omega(0), Fr::ONE);
    }

    #[test]
    fn batch_inversion_inverts_and_leaves_zeros() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for n in [0, 1, 2, 9] {
            let mut values: Vec<Fr> = (0..n).map(|_| Fr::rand(&mut rng)).collect();
            values.extend([Fr::ZERO, Fr::ONE]);
            let before = values.clone();
            batch_invert(&mut values);
            for (value, before) in values.iter().zip(before) {
                assert_eq!(*value, before.inverse().unwrap_or(Fr::ZERO), "n {n}");
            }
        }
    }

    #[test]
    fn a_word_becomes_the_element_it_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let random = (0..1000).map(|_| rand::Rng::r#gen::<u64>(&mut rng));
        let edges = (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1, !((1 << bit) - 1)]);
        for value in edges.chain(random) {
            assert_eq!(from_u64(value), Fr::from(value), "{value:#x}");
        }
    }

    #[test]
    fn horner_sums_powers() {
        let c = [3u64, 5, 7].map(Fr::from);
        assert_eq!(horner(&c, Fr::from(10u64)), Fr::from(753u64));
        assert_eq!(powers(Fr::from(10u64), 3), [1u64, 10, 100].map(Fr::from));
    }
}
