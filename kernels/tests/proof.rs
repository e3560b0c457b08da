//! A whole proof on the device: the bytes that the CPU returns.

mod common;

use rollmill_algebra::CpuDevice;
use rollmill_algebra::device::DeviceError;
use rollmill_kernels::{CudaDevice, CudaOptions, Emulation};
use rollmill_plonk::conformance::Ready;
use rollmill_plonk::prover::{PEAK_COLUMNS, ProveError};

use common::proof::{all_cosets, circuit, proof_of, proof_on};

#[test]
fn a_proof_on_the_device_is_the_cpus_proof_byte_for_byte() {
    let expected = proof_on(&CpuDevice::scalar(2), 8);
    let device = common::device(|_| {});
    assert_eq!(proof_on(&device, 8).to_bytes(), expected.to_bytes());
    let (used, peak, budget) = device.memory_usage();
    // What is left are tables of powers: 1 MiB of roots, and a few KiB for each coset.
    assert!(used < 2 << 20 && used < peak && peak < budget, "{used} of {peak} of {budget} B");

    let emulation = Emulation { late: false, reverse: true, ..Emulation::new(common::library()) };
    let options = CudaOptions {
        interpret_rows: true,
        overlap_bytes: Some(1),
        partition_digits: Some(1),
        ..CudaOptions::default()
    };
    let interpreting = CudaDevice::emulated(&emulation, &options).expect("opens");
    assert_eq!(proof_on(&interpreting, 8).to_bytes(), expected.to_bytes());
}

/// A program's constants are no part of it, so that circuits of all widths share its kernel. With
/// `ROLLMILL_BLESS=1` the files are written instead.
#[test]
fn the_generated_kernels_are_those_of_the_provers_programs() {
    let options = CudaOptions { record_rows: true, ..CudaOptions::default() };
    let device = CudaDevice::emulated(&Emulation::new(common::library()), &options).expect("opens");
    for cell_bits in [8, 9] {
        let expected = proof_on(&CpuDevice::scalar(2), cell_bits);
        assert_eq!(proof_on(&device, cell_bits).to_bytes(), expected.to_bytes());
    }
    let (cuda, rust) = device.generated_rows();
    assert_eq!(cuda.matches("RM_KERNEL").count(), 3, "fractions, products, quotient");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = std::env::var("ROLLMILL_BLESS").is_ok_and(|value| value == "1");
    for (file, text) in [("cuda/generated.cuh", cuda), ("src/generated.rs", rust)] {
        if write {
            std::fs::write(folder.join(file), text).expect("written");
        } else {
            let held = std::fs::read_to_string(folder.join(file)).expect("read");
            assert!(held == text, "{file} is stale: run this test with ROLLMILL_BLESS=1");
        }
    }
}

#[test]
fn a_proofs_peak_is_known_before_it_starts_and_rejected_where_it_does_not_fit() {
    for log_n in [10, 11] {
        let device = common::device(|card| card.late = false);
        let _ready = Ready::new(&device, circuit(8, Some(log_n)), 0);
        let (before, _, _) = device.memory_usage();
        let planned = CudaDevice::peak_bytes(1 << log_n, PEAK_COLUMNS);
        for (missing, fits) in [(0, true), (1, false)] {
            let budget_bytes = Some(before + planned - missing);
            let options = CudaOptions { budget_bytes, ..CudaOptions::default() };
            let emulation = Emulation { late: false, ..Emulation::new(common::library()) };
            let small = CudaDevice::emulated(&emulation, &options).unwrap();
            let ready = Ready::new(&small, circuit(8, Some(log_n)), all_cosets(log_n));
            let outcome = ready.prove();
            // What may be kept takes nothing that the proof needs.
            assert_eq!(outcome.is_ok(), fits, "{missing} B missing: {outcome:?}");
            if fits {
                // Here no block is larger than requested: there is nothing that is not reserved.
                let took = small.memory_usage().1 - before;
                assert!(planned <= 2 * took, "2^{log_n}: {took} of {planned} B");
            } else {
                let (needed_bytes, free_bytes) = (planned, planned - 1);
                let rejected = DeviceError::Memory { operation: "prove", needed_bytes, free_bytes };
                assert_eq!(outcome, Err(ProveError::Device(rejected)));
            }
        }
    }
}

#[test]
fn proofs_at_once_on_one_card_are_the_cpus_proof_byte_for_byte() {
    let expected = proof_on(&CpuDevice::scalar(2), 8).to_bytes();
    for shuffle in [None, Some(5), Some(6)] {
        let device = common::device(|card| card.shuffle = shuffle);
        let layout = circuit(8, None);
        let kept = all_cosets(layout.0.shape.log_n);
        let ready = Ready::new(&device, layout, kept);
        for proof in ready.prove_at_once(2) {
            assert!(proof.expect("proof").to_bytes() == expected, "seed {shuffle:?}");
        }
        let (used, _, _) = device.memory_usage();
        let dropped = ready.key.drop_kept();
        assert_eq!(dropped, kept, "all of it was kept");
        assert!(device.memory_usage().0 + dropped <= used, "and is free again");
        assert!(ready.prove().expect("proof").to_bytes() == expected, "seed {shuffle:?}");
    }
}

/// Goal: no order in which a card may run its streams changes a proof. `ROLLMILL_TEST_SCHEDULES` is how many orders are
/// tried; 1,000 take an hour.
#[test]
fn eight_proofs_at_once_are_the_cpus_in_every_order_of_their_streams() {
    let count = std::env::var("ROLLMILL_TEST_SCHEDULES").ok();
    let count = count.map_or(2, |count| count.parse::<u64>().expect("a number"));
    let expected = proof_on(&CpuDevice::scalar(2), 8).to_bytes();
    for seed in 100..100 + count {
        println!("seed {seed}");
        let emulation = Emulation { shuffle: Some(seed), ..Emulation::new(common::library()) };
        // In every other one each column of wires travels while those before it are summed.
        let overlap_bytes = (seed % 2 == 1).then_some(1);
        let options = CudaOptions { overlap_bytes, ..CudaOptions::default() };
        let device = CudaDevice::emulated(&emulation, &options).expect("opens");
        let ready = Ready::new(&device, circuit(8, None), 1 << 30);
        for proof in ready.prove_at_once(8) {
            assert!(proof.expect("a proof").to_bytes() == expected, "seed {seed}");
        }
    }
}

#[test]
fn a_proof_waits_for_another_where_the_card_has_room_for_one() {
    let log_n = 10;
    let expected = proof_of(&CpuDevice::scalar(2), circuit(8, Some(log_n))).to_bytes();
    let one = CudaDevice::peak_bytes(1 << log_n, PEAK_COLUMNS);
    let options = CudaOptions { budget_bytes: Some(2 * one), ..CudaOptions::default() };
    let device = CudaDevice::emulated(&Emulation::new(common::library()), &options).unwrap();
    let ready = Ready::new(&device, circuit(8, Some(log_n)), 0);
    for proof in ready.prove_at_once(2) {
        assert!(proof.expect("in turn").to_bytes() == expected);
    }
    let (_, peak, budget) = device.memory_usage();
    assert!(peak <= budget);
}
