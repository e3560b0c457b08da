//! A whole proof on the device: the bytes that the CPU gives.

mod common;

use rollmill_algebra::device::{Device, DeviceError};
use rollmill_algebra::{CpuDevice, Fr};
use rollmill_kernels::{CudaDevice, CudaOptions, Emulation, PROOF_COLUMNS};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, ProvingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

/// A circuit with arithmetic, ranges, hashes and the ROM.
fn circuit(cell_bits: u32, log_n: Option<u32>) -> (Layout, Witness) {
    let mut b = Builder::new(2, cell_bits);
    let x = b.witness(Fr::from(3u64));
    let y = b.witness(Fr::from(5u64));
    b.set_public(0, x);
    let product = b.mul(x, y);
    let terms: Vec<_> = (1..12u64).map(|i| (Fr::from(i), if i % 2 == 0 { x } else { y })).collect();
    let sum = b.linear(&terms, Fr::from(7u64));
    b.range(product, 32);
    let digest = b.hash(9, &[x, y, product, sum]);
    b.set_public(1, digest);
    let id = b.constant_u64(1);
    let address = b.constant_u64(4);
    b.rom_write(id, address, [x, y, product, sum], [sum, digest, x, x]);
    let copy = b.add(address, Builder::ZERO);
    let row = b.raw_row([copy, x, y, id], &FixedRow::read([Fr::from(0u64); 8]), [0; 8]);
    b.raw_row([x, y, product, sum], &FixedRow::blank(), [0; 8]);
    b.raw_row([sum, digest, x, x], &FixedRow::blank(), [0; 8]);
    b.note_read(row, id, copy);
    b.finish(log_n).expect("fits")
}

fn proof_on<D: Device>(device: &D, cell_bits: u32) -> Proof {
    proof_of(device, circuit(cell_bits, None))
}

fn proof_of<D: Device>(device: &D, (layout, witness): (Layout, Witness)) -> Proof {
    let srs = Srs::development(layout.shape.log_n);
    let lagrange = srs.lagrange(layout.shape.log_n).expect("long enough");
    let bases = Bases::new(device, &srs, &lagrange).expect("registered");
    let columns = layout.fixed_columns();
    let vk = setup(device, &bases, srs.id(), layout.shape, &columns).expect("key");
    let key = ProvingKey::new(device, vk, &columns).expect("key");
    let blinding = Blinding::On { seed: [7; 32] };
    let kind = TranscriptKind::Poseidon2;
    let proof = prove(device, &key, &bases, kind, &witness, blinding).expect("proof");
    verify(kind, &key.vk, &srs.tau_g2, &witness.public, &proof, None).expect("it verifies");
    proof
}

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
