//! The device laws on a real card. Without one the tests print that; with `REQUIRE_GPU=1` they fail.
//!
//! This program needs nothing of the checkout when it runs, so that it can be carried to a machine
//! with a card: see `benches/gpu.sh`, which runs every test of it.
//!
//! `GPU_SMALL=1` leaves out what takes minutes on an emulated driver: large sizes and most repetitions.

mod common;

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::Field;
use rollmill_algebra::device::{Memory, Msm, Vector};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, conformance};
use rollmill_kernels::{COMPILED, CudaDevice, CudaError, CudaOptions};

use common::proof::{circuit, proof_of};
use rollmill_plonk::conformance::Ready;

/// Proofs at a time.
const AT_ONCE: usize = 8;

/// Whether the driver is emulated, where only small sizes end in time.
fn is_small() -> bool {
    std::env::var("GPU_SMALL").is_ok_and(|value| value == "1")
}

/// The card to test, if there is one.
fn card() -> Option<CudaDevice> {
    card_with(&CudaOptions::default())
}

fn card_with(options: &CudaOptions) -> Option<CudaDevice> {
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1");
    let index = std::env::var("GPU").unwrap_or_else(|_| "0".to_owned());
    // An image that was made for older drivers, as the agent takes it.
    let other = std::env::var_os("ROLLMILL_AGENT_CUDA_IMAGE");
    let other = other.map(|path| std::fs::read(path).expect("the image in the environment"));
    match CudaDevice::open(&index, other.as_deref().unwrap_or(COMPILED), options) {
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

/// A wrong sum is traced to its pass.
#[test]
fn every_pass_of_an_msm_on_a_card_is_its_twin() {
    let Some(device) = card() else { return };
    let seeds = if is_small() { 1 } else { 4 };
    for seed in 0..seeds {
        println!("seed {seed}");
        assert_eq!(device.wrong_msm_passes(seed), Ok(Vec::new()));
    }
}

/// The laws above have no multiples but for long columns, upload all columns before they sum any, and have too few
/// digits to be partitioned.
#[test]
fn a_card_obeys_every_law_with_multiples_of_the_bases() {
    let options = CudaOptions {
        table_slices: Some(2),
        overlap_bytes: Some(1),
        partition_digits: Some(1),
        ..CudaOptions::default()
    };
    let Some(device) = card_with(&options) else { return };
    if !is_small() {
        conformance::run_all(&device, 1);
    }
    let count = if is_small() { 3 } else { common::SLICES.len() };
    for slices in common::SLICES.into_iter().take(count) {
        let options = CudaOptions { table_slices: Some(slices), ..CudaOptions::default() };
        let Some(device) = card_with(&options) else { return };
        common::check_commitments(&device, &format!("{slices} slices"));
    }
}

/// Where a transform is wrong, this says in which pass.
#[test]
fn a_card_computes_every_pass_of_a_transform_as_its_twin_does() {
    let Some(device) = card() else { return };
    let large = if is_small() { 0 } else { 6 };
    for log_n in (0..=10).chain([11, 12, 13, 16, 17, 18].into_iter().take(large)) {
        assert_eq!(device.wrong_passes_of_transforms(log_n, 3), Ok(vec![]), "2^{log_n}");
    }
}

#[test]
fn a_card_gives_the_cpus_proofs_byte_for_byte() {
    let Some(device) = card() else { return };
    let sizes = [(8, None), (9, Some(11)), (8, Some(14)), (16, Some(17))];
    let count = if is_small() { 1 } else { sizes.len() };
    for (cell_bits, log_n) in sizes.into_iter().take(count) {
        let expected = proof_of(&CpuDevice::scalar(0), circuit(cell_bits, log_n));
        let got = proof_of(&device, circuit(cell_bits, log_n));
        assert!(got.to_bytes() == expected.to_bytes(), "{cell_bits} bits, rows 2^{log_n:?}");
        println!("{cell_bits} bits, rows 2^{log_n:?}: the CPU's bytes");
    }
}

/// A proof that is right only here was spoilt by a generated row kernel.
#[test]
fn a_card_that_interprets_row_programs_gives_the_cpus_proof() {
    let options = CudaOptions { interpret_rows: true, ..CudaOptions::default() };
    let Some(device) = card_with(&options) else { return };
    let log_n = if is_small() { None } else { Some(10) };
    let expected = proof_of(&CpuDevice::scalar(0), circuit(8, log_n));
    let got = proof_of(&device, circuit(8, log_n));
    assert!(got.to_bytes() == expected.to_bytes());
}

/// For a checker of memory accesses, which makes kernels many times slower: each kernel of a proof, with the row
/// programs as kernels, and by the interpreter over tables of multiples.
#[test]
fn a_card_runs_every_kernel_on_little() {
    let Some(device) = card() else { return };
    let expected = proof_of(&CpuDevice::scalar(0), circuit(8, None)).to_bytes();
    assert!(proof_of(&device, circuit(8, None)).to_bytes() == expected, "generated rows");
    let small: Vec<u16> = (0..700).collect();
    let bases = vec![<G1Affine as AffineRepr>::generator(); small.len()];
    let registered = device.register_bases(&bases).expect("registered");
    let column = device.upload_u16(&small).expect("uploaded");
    let sum = device.commit(&registered, &[&column]).expect("committed")[0];
    // 0 + 1 + … + 699.
    assert_eq!(sum, (bases[0] * Fr::from(699u64 * 700 / 2)).into_affine());
    // Vectors of a proof with more rows, which take more than one block and more than one inversion.
    let n = 5000u64;
    let values: Vec<Fr> = (1..=n).map(Fr::from).collect();
    let mut buffer = device.upload(&values).expect("uploaded");
    let sums = device.prefix_sum(&buffer).expect("summed");
    let last = device.download(&sums).expect("downloaded")[values.len() - 1];
    assert_eq!(last, Fr::from(n * (n - 1) / 2));
    device.invert(&mut buffer).expect("inverted");
    let inverses = device.download(&buffer).expect("downloaded");
    assert!(inverses.iter().zip(&values).all(|(inverse, value)| inverse * value == Fr::ONE));
    drop((device, registered, column, buffer, sums));
    let options = CudaOptions {
        interpret_rows: true,
        table_slices: Some(2),
        partition_digits: Some(1),
        ..CudaOptions::default()
    };
    let Some(device) = card_with(&options) else { return };
    assert!(proof_of(&device, circuit(8, None)).to_bytes() == expected, "interpreted rows");
}

#[test]
fn a_card_makes_several_proofs_at_once_byte_for_byte() {
    let Some(device) = card() else { return };
    // Rows of the rollup's proofs in most rounds: what goes wrong between streams is rare.
    let sizes = [(8, 10, 10), (8, 14, 10), (16, 17, 50)];
    let few = [(8, 10, 1)];
    for (cell_bits, log_n, rounds) in if is_small() { &few[..] } else { &sizes[..] } {
        let made = || circuit(*cell_bits, Some(*log_n));
        let expected = proof_of(&CpuDevice::scalar(0), made()).to_bytes();
        let ready = Ready::new(&device, made(), 1 << 30);
        for round in 0..*rounds {
            for proof in ready.prove_at_once(AT_ONCE) {
                let proof = proof.expect("proof").to_bytes();
                assert!(proof == expected, "round {round} of 2^{log_n} rows");
            }
        }
        println!("2^{log_n} rows: {rounds} rounds of {AT_ONCE} at once, the CPU's bytes");
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
