//! The device obeys every law, and its proofs are the CPU's byte for byte.

mod common;

use ark_ec::{CurveGroup, PrimeGroup};
use rollmill_algebra::device::{Coeff, Column, Memory, Msm, Ntt};
use rollmill_algebra::{Fr, G1Affine, G1Projective, conformance};
use rollmill_plonk::conformance::proof_is_the_cpus;

use common::Fake;

#[test]
fn the_device_obeys_every_law() {
    let fake = Fake::new(&[]);
    conformance::run_all(&fake.open(), 1);
}

#[test]
fn keys_and_proofs_are_byte_equal_to_the_cpus() {
    proof_is_the_cpus(&Fake::new(&["devices=CPU,CUDA"]).open());
}

/// The fake rejects two calls at a time, and calls on a thread that set no device.
#[test]
fn one_device_serves_several_threads() {
    let fake = Fake::new(&[]);
    let device = fake.open();
    let generator: G1Affine = G1Projective::generator().into_affine();
    let registered = device.register_bases(&vec![generator; 300]).unwrap();
    std::thread::scope(|scope| {
        for thread in 1..=4u64 {
            let (device, registered) = (&device, &registered);
            scope.spawn(move || {
                for round in 1..=5u64 {
                    let scalar = Fr::from(thread * 1_000_003 + round);
                    let column = device.upload(&vec![scalar; 300]).unwrap();
                    let sum = device.commit(registered, &[&column]).unwrap()[0];
                    let expected = generator * (scalar * Fr::from(300u64));
                    assert_eq!(sum, expected.into_affine(), "thread {thread}, round {round}");
                    // Each thread grows the domain a few times while others use it.
                    let n = 1 << (8 + 2 * round);
                    let column = Column::<_, Coeff>::new(device.upload(&vec![scalar; n]).unwrap());
                    let values = device.to_lagrange(&[&column]).unwrap();
                    let first = values[0].buffer.as_slice()[0];
                    assert_eq!(first, scalar * Fr::from(n as u64), "thread {thread}");
                }
            });
        }
    });
}

#[test]
fn two_devices_of_one_library_keep_domains_of_their_own() {
    let fake = Fake::new(&["devices=CPU,CUDA"]);
    let (first, second) = (fake.open(), fake.try_open("cpu").unwrap());
    assert_ne!(first.id(), second.id());
    for log_n in [3, 13, 14, 5] {
        for device in [&first, &second] {
            let values = vec![Fr::from(3u64); 1 << log_n];
            let column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
            let there = device.to_lagrange(&[&column]).unwrap();
            let back = device.to_coeff(&[&there[0]]).unwrap();
            assert!(back[0].buffer.as_slice() == values, "2^{log_n} on {}", device.name());
        }
    }
}
