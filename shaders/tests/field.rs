//! The shaders' field arithmetic against arkworks, in both forms of limbs, for both fields.

mod common;

use ark_ff::{BigInt, PrimeField};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fq, Fr};
use rollmill_shaders::{Field, WgpuDevice};

/// Pairs of the values at which carries, borrows and the last subtraction turn, and random ones.
fn pairs<F: PrimeField<BigInt = BigInt<4>>>(seed: u64) -> (Vec<F>, Vec<F>) {
    let raw = |limbs: [u64; 4]| F::from_bigint(BigInt(limbs)).unwrap();
    // As Montgomery forms, since those are what the words hold.
    let form = |limbs: [u64; 4]| raw(limbs) * F::from(2u64).pow([256]).inverse().unwrap();
    let mut edges = vec![F::ZERO, F::ONE, -F::ONE, F::from(2u64), -F::from(2u64)];
    for limbs in [[1, 0, 0, 0], [u64::MAX, 0, 0, 0], [u64::MAX, u64::MAX, u64::MAX, 0]] {
        edges.extend([form(limbs), -form(limbs)]);
    }
    for bit in [31, 32, 33, 63, 64, 127, 128, 253] {
        let mut limbs = [0; 4];
        limbs[bit / 64] = 1 << (bit % 64);
        edges.extend([form(limbs), form(limbs) - form([1, 0, 0, 0])]);
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for a in &edges {
        for b in &edges {
            left.push(*a);
            right.push(*b);
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..5000 {
        left.push(F::rand(&mut rng));
        right.push(F::rand(&mut rng));
    }
    (left, right)
}

fn check<F: PrimeField<BigInt = BigInt<4>>>(
    device: &WgpuDevice,
    field: Field,
    words: impl Fn(&F) -> [u64; 4],
) {
    let seed = 11;
    let (left, right) = pairs::<F>(seed);
    let all = |values: &[F]| -> Vec<[u64; 4]> { values.iter().map(&words).collect() };
    for rounds in [0, 1, 5] {
        let got = device.field_products(field, &all(&left), &all(&right), rounds).unwrap();
        for (i, (a, b)) in left.iter().zip(&right).enumerate() {
            let expected = words(&(*a * b.pow([u64::from(rounds)])));
            assert_eq!(got[i], expected, "{field:?}, pair {i}, {rounds} rounds, seed {seed}");
        }
    }
    let got = device.field_sums(field, &all(&left), &all(&right)).unwrap();
    for (i, (a, b)) in left.iter().zip(&right).enumerate() {
        assert_eq!(got[2 * i], words(&(*a + b)), "{field:?}, sum {i}, seed {seed}");
        assert_eq!(got[2 * i + 1], words(&(*a - b)), "{field:?}, difference {i}, seed {seed}");
    }
}

#[test]
fn sums_and_products_are_those_of_arkworks_in_both_forms_of_limbs() {
    for form in common::forms() {
        for checks in [false, true] {
            let device =
                common::open(&rollmill_shaders::Options { checks, ..common::options(form) });
            check::<Fr>(&device, Field::Fr, |value| value.0.0);
            check::<Fq>(&device, Field::Fq, |value| value.0.0);
        }
    }
}

#[test]
fn operands_of_two_lengths_are_rejected() {
    let device = common::open(&common::any_form());
    let error = device.field_products(Field::Fr, &[[0; 4]], &[], 1).unwrap_err();
    assert!(error.to_string().starts_with("DEV-001"), "{error}");
}
