//! The vector code and the scalar code give the same bytes, on sizes and values chosen at random.

use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{PrimeField, UniformRand};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::device::{Coeff, Column, Memory, Msm, Ntt, Vector};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, G1Projective, plain};

/// Scalars of `bits` bits at most, or any from 64 up; some of them negated and some repeated.
fn scalars(seed: u64, n: usize, bits: u32) -> Vec<Fr> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut out: Vec<Fr> = Vec::new();
    for _ in 0..n {
        let scalar = if bits < 64 {
            Fr::from(rng.r#gen::<u64>() >> (64 - bits))
        } else {
            Fr::from_le_bytes_mod_order(&rng.r#gen::<[u8; 32]>())
        };
        out.push(match rng.gen_range(0..8) {
            0 => -scalar,
            1 => *out.last().unwrap_or(&scalar),
            _ => scalar,
        });
    }
    out
}

fn points(seed: u64, n: usize) -> Vec<G1Affine> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scalar = Fr::from_le_bytes_mod_order(&rng.r#gen::<[u8; 32]>());
    let mut point: G1Projective = G1Projective::generator() * scalar;
    let out: Vec<G1Projective> = (0..n)
        .map(|_| {
            point = point + point + G1Projective::generator();
            point
        })
        .collect();
    G1Projective::normalize_batch(&out)
}

/// A length whose data no cache holds, on several threads, against another implementation.
#[test]
fn a_transform_of_a_million_values_is_arkworks() {
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let values: Vec<Fr> = (0..1 << 20).map(|_| Fr::rand(&mut rng)).collect();
    let domain = Radix2EvaluationDomain::<Fr>::new(values.len()).unwrap();
    let expected = domain.fft(&values);
    let device = CpuDevice::new(3);
    let column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
    let on_h = device.to_lagrange(&[&column]).unwrap().remove(0);
    assert!(device.download(&on_h.buffer).unwrap() == expected);
    let back = device.to_coeff(&[&on_h]).unwrap().remove(0);
    assert!(device.download(&back.buffer).unwrap() == values);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn commitments_agree(seed: u64, n in 0usize..600, bits in 1u32..80) {
        let (bases, scalars) = (points(seed, n), scalars(seed, n, bits));
        let sums = [CpuDevice::scalar(2), CpuDevice::new(2)].map(|device| {
            let held = device.register_bases(&bases).unwrap();
            device.commit(&held, &[&device.upload(&scalars).unwrap()]).unwrap()[0]
        });
        prop_assert_eq!(sums[0], sums[1]);
        if n < 64 {
            prop_assert_eq!(sums[0], plain::msm(&bases, &scalars));
        }
    }

    #[test]
    fn transforms_and_divisions_agree(seed: u64, log_n in 0u32..12) {
        let values = scalars(seed, 1 << log_n, 254);
        let shift = Fr::from(seed | 1);
        let outputs = [CpuDevice::scalar(2), CpuDevice::new(2)].map(|device| {
            let column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
            let on_coset = device.to_coset(&[&column], shift).unwrap().remove(0);
            let back = device.from_coset(&[&on_coset], shift).unwrap().remove(0);
            let quotient = device.divide_by_linear(&column, shift).unwrap();
            [on_coset.buffer, back.buffer, quotient.buffer].map(|b| device.download(&b).unwrap())
        });
        prop_assert_eq!(&outputs[0], &outputs[1]);
        prop_assert_eq!(&outputs[0][1], &values);
    }
}
