//! The device laws on a real card. Without one the tests print that; with `REQUIRE_GPU=1` they fail.
//!
//! This program needs nothing of the checkout when it runs, so that it can be carried to a machine
//! with a card: see `benches/gpu.sh`.

mod common;

use rollmill_algebra::{CpuDevice, conformance};
use rollmill_kernels::{COMPILED, CudaDevice, CudaError, CudaOptions};

use common::proof::{circuit, proof_of};
use rollmill_plonk::conformance::Ready;

/// The card to test, if there is one.
fn card() -> Option<CudaDevice> {
    card_with(&CudaOptions::default())
}

fn card_with(options: &CudaOptions) -> Option<CudaDevice> {
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1");
    let index = std::env::var("GPU").unwrap_or_else(|_| "0".to_owned());
    match CudaDevice::open(&index, COMPILED, options) {
        Ok(device) => Some(device),
        Err(error) if required => panic!("REQUIRE_GPU=1, but: {error}"),
        Err(error) => {
            println!("{error}; these laws ran on the emulator only");
            None
        }
    }
}

#[test]
fn a_card_obeys_every_law() {
    if let Some(device) = card() {
        conformance::run_all(&device, 1);
    }
}

/// Before anything that uses them: a wrong sum is traced to its pass.
#[test]
fn every_pass_of_an_msm_on_a_card_is_its_twin() {
    let Some(device) = card() else { return };
    for seed in 0..4 {
        println!("seed {seed}");
        assert_eq!(device.wrong_msm_passes(seed), Ok(Vec::new()));
    }
}

/// The laws above have no multiples but for long columns.
#[test]
fn a_card_obeys_every_law_with_multiples_of_the_bases() {
    let options = CudaOptions { table_slices: Some(2), ..CudaOptions::default() };
    let Some(device) = card_with(&options) else { return };
    conformance::run_all(&device, 1);
    for slices in common::SLICES {
        let options = CudaOptions { table_slices: Some(slices), ..CudaOptions::default() };
        let Some(device) = card_with(&options) else { return };
        common::check_commitments(&device, &format!("{slices} slices"));
    }
}

/// Where a transform is wrong, this says in which pass.
#[test]
fn a_card_computes_every_pass_of_a_transform_as_its_twin_does() {
    let Some(device) = card() else { return };
    for log_n in (0..=13).chain([16, 17, 18]) {
        assert_eq!(device.wrong_passes_of_transforms(log_n, 3), Ok(vec![]), "2^{log_n}");
    }
}

#[test]
fn a_card_gives_the_cpus_proofs_byte_for_byte() {
    let Some(device) = card() else { return };
    for (cell_bits, log_n) in [(8, None), (9, Some(11)), (8, Some(14))] {
        let expected = proof_of(&CpuDevice::scalar(4), circuit(cell_bits, log_n));
        let got = proof_of(&device, circuit(cell_bits, log_n));
        assert!(got.to_bytes() == expected.to_bytes(), "{cell_bits} bits, rows 2^{log_n:?}");
    }
}

/// A proof that is right only here was spoilt by a generated row kernel.
#[test]
fn a_card_that_interprets_row_programs_gives_the_cpus_proof() {
    let options = CudaOptions { interpret_rows: true, ..CudaOptions::default() };
    let Some(device) = card_with(&options) else { return };
    let expected = proof_of(&CpuDevice::scalar(4), circuit(8, Some(10)));
    let got = proof_of(&device, circuit(8, Some(10)));
    assert!(got.to_bytes() == expected.to_bytes());
}

#[test]
fn a_card_makes_several_proofs_at_once_byte_for_byte() {
    let Some(device) = card() else { return };
    for log_n in [10, 14] {
        let expected = proof_of(&CpuDevice::scalar(4), circuit(8, Some(log_n))).to_bytes();
        let ready = Ready::new(&device, circuit(8, Some(log_n)), 1 << 30);
        for _ in 0..3 {
            for proof in ready.prove_at_once(4) {
                assert!(proof.expect("proof").to_bytes() == expected, "2^{log_n} rows");
            }
        }
    }
}

/// Prints the ceilings of the card on one line of JSON.
#[test]
fn a_card_says_how_fast_it_is() {
    let Some(device) = card() else { return };
    let rates = device.measure_rates().expect("measured");
    assert!(rates.wide > rates.products && rates.products > 0.0, "{rates:?}");
    println!(
        "rates: {{\"wide_multiply_adds_per_second\": {:.4e}, \"products_per_second\": {:.4e}, \
         \"copied_bytes_per_second\": {:.4e}, \"multiprocessors\": {}}}",
        rates.wide, rates.products, rates.bytes, rates.multiprocessors
    );
}

#[test]
fn without_a_driver_opening_says_so_and_does_not_panic() {
    match CudaDevice::open("0", &[], &CudaOptions::default()) {
        Ok(_) => panic!("an empty image opened"),
        Err(CudaError::NoDriver { reason }) => assert!(!reason.is_empty()),
        // With a driver: an empty image, a driver too old, or no card.
        Err(
            CudaError::Image { .. }
            | CudaError::UnknownDevice { .. }
            | CudaError::DriverTooOld { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}
