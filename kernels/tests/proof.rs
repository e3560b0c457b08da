//! A whole proof on the device: the bytes that the CPU gives.

mod common;

use rollmill_algebra::CpuDevice;
use rollmill_algebra::device::DeviceError;
use rollmill_kernels::{CudaDevice, CudaOptions, Emulation, PROOF_COLUMNS};

use common::proof::{circuit, proof_of, proof_on};

#[test]
fn a_proof_on_the_device_is_the_cpus_proof_byte_for_byte() {
    let expected = proof_on(&CpuDevice::scalar(2), 8);
    let device = common::device(|_| {});
    assert_eq!(proof_on(&device, 8).to_bytes(), expected.to_bytes());
    let (used, peak, budget) = device.memory_usage();
    // What is left are tables of powers: 1 MiB of roots, and a few KiB for each coset.
    assert!(used < 2 << 20 && used < peak && peak < budget, "{used} of {peak} of {budget} B");

    let emulation = Emulation { late: false, reverse: true, ..Emulation::new(common::library()) };
    let options = CudaOptions { interpret_rows: true, ..CudaOptions::default() };
    let interpreting = CudaDevice::emulated(&emulation, &options).expect("opens");
    assert_eq!(proof_on(&interpreting, 8).to_bytes(), expected.to_bytes());
}

/// A program's constants are no part of it, so that circuits of all widths share its kernel. With `WRITE_GENERATED=1` the files are written instead.
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
    let room = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = std::env::var("WRITE_GENERATED").is_ok_and(|value| value == "1");
    for (file, text) in [("cuda/generated.cuh", cuda), ("src/generated.rs", rust)] {
        if write {
            std::fs::write(room.join(file), text).expect("written");
        } else {
            let held = std::fs::read_to_string(room.join(file)).expect("read");
            assert!(held == text, "{file} is stale: run this test with WRITE_GENERATED=1");
        }
    }
}

#[test]
fn a_proofs_peak_is_known_before_it_starts_and_refused_where_it_does_not_fit() {
    for log_n in [10, 11] {
        let device = common::device(|card| card.late = false);
        proof_of(&device, circuit(8, Some(log_n)));
        let (_, peak, _) = device.memory_usage();
        let planned = CudaDevice::peak_bytes(1 << log_n, PROOF_COLUMNS);
        assert!(peak <= planned && planned <= 2 * peak, "2^{log_n}: {peak} of {planned} B");

        let budget_bytes = Some(planned - 1);
        let options = CudaOptions { budget_bytes, ..CudaOptions::default() };
        let small = CudaDevice::emulated(&Emulation::new(common::library()), &options).unwrap();
        let refused = small.require_memory("prove", planned).unwrap_err();
        let (needed_bytes, free_bytes) = (planned, planned - 1);
        assert_eq!(refused, DeviceError::Memory { operation: "prove", needed_bytes, free_bytes });
    }
}
