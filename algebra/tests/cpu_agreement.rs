//! All paths of the CPU device produce the same bytes, on sizes and values chosen at random.

use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{Field, PrimeField, UniformRand};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::device::{Coeff, Column, Memory, Msm, Ntt, Vector};
use rollmill_algebra::{CpuDevice, CpuPath, Fr, G1Affine, G1Projective, plain};

/// A device on each path that this processor has, the portable one first.
fn devices(threads: usize) -> impl Iterator<Item = CpuDevice> {
    CpuPath::ALL.into_iter().filter_map(move |path| CpuDevice::on_path(path, threads))
}

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
    for device in devices(3) {
        let column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
        let on_h = device.to_lagrange(&[&column]).unwrap().remove(0);
        assert!(device.download(&on_h.buffer).unwrap() == expected, "{}", device.name());
        let back = device.to_coeff(&[&on_h]).unwrap().remove(0);
        assert!(device.download(&back.buffer).unwrap() == values, "{}", device.name());
    }
}

/// A batch with more digits than are kept at a time, wide and narrow columns alternating.
#[test]
fn msms_of_a_batch_larger_than_its_memory_are_those_of_each() {
    let n = 1 << 16;
    let device = CpuDevice::new(2);
    let bases = device.register_bases(&points(4, n)).unwrap();
    let columns: Vec<_> = (0..40u64)
        .map(|i| match i % 2 {
            0 => device.upload(&scalars(i, n - i as usize, 64)).unwrap(),
            _ => device.upload_u16(&vec![i as u16; n]).unwrap(),
        })
        .collect();
    let together = device.commit(&bases, &columns.iter().collect::<Vec<_>>()).unwrap();
    for (i, column) in columns.iter().enumerate() {
        assert_eq!(device.commit(&bases, &[column]).unwrap(), together[i..=i], "column {i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn commitments_agree(seed: u64, n in 0usize..600, bits in 1u32..80) {
        let (bases, scalars) = (points(seed, n), scalars(seed, n, bits));
        let sums: Vec<G1Affine> = devices(2)
            .map(|device| {
                let registered = device.register_bases(&bases).unwrap();
                device.commit(&registered, &[&device.upload(&scalars).unwrap()]).unwrap()[0]
            })
            .collect();
        for other in &sums[1..] {
            prop_assert_eq!(other, &sums[0]);
        }
        if n < 64 {
            prop_assert_eq!(sums[0], plain::msm(&bases, &scalars));
        }
    }

    /// Lengths of several pieces, each cut into segments with a rest; zeros and −1 in long runs too.
    #[test]
    fn scans_inverses_and_divisions_agree(seed: u64, n in 0usize..9000, runs in 1usize..400) {
        let mut values = scalars(seed, n, 254);
        for (i, run) in values.chunks_mut(runs).enumerate() {
            match i % 7 {
                0 => run.fill(-Fr::from(1u64)),
                1 => run.fill(Fr::from(0u64)),
                _ => {}
            }
        }
        // A product of everything would be zero from the first zero on.
        let factors: Vec<Fr> = values.iter().map(|x| *x + Fr::from(u64::from(*x == Fr::from(0u64)))).collect();
        let point = Fr::from(seed | 1).pow([5]);
        let outputs: Vec<Vec<Vec<Fr>>> = devices(1).chain(devices(3)).map(|device| {
            let mut buffer = device.upload(&values).unwrap();
            let column = Column::<_, Coeff>::new(buffer.clone());
            let mut out = vec![
                device.prefix_product(&device.upload(&factors).unwrap()).unwrap(),
                device.prefix_product(&buffer).unwrap(),
                device.prefix_sum(&buffer).unwrap(),
                device.divide_by_linear(&column, point).unwrap().buffer,
            ];
            device.invert(&mut buffer).unwrap();
            out.push(buffer);
            out.iter().map(|buffer| device.download(buffer).unwrap()).collect()
        }).collect();
        for other in &outputs[1..] {
            prop_assert!(*other == outputs[0]);
        }
    }

    #[test]
    fn transforms_and_divisions_agree(seed: u64, log_n in 0u32..15) {
        let values = scalars(seed, 1 << log_n, 254);
        let shift = Fr::from(seed | 1);
        let outputs: Vec<[Vec<Fr>; 3]> = devices(2).map(|device| {
            let column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
            let on_coset = device.to_coset(&[&column], shift).unwrap().remove(0);
            let back = device.from_coset(&[&on_coset], shift).unwrap().remove(0);
            let quotient = device.divide_by_linear(&column, shift).unwrap();
            [on_coset.buffer, back.buffer, quotient.buffer].map(|b| device.download(&b).unwrap())
        }).collect();
        for other in &outputs[1..] {
            prop_assert_eq!(other, &outputs[0]);
        }
        prop_assert_eq!(&outputs[0][1], &values);
    }
}
