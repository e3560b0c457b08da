//! The CUDA device on the emulator: every law of the devices, and what only an emulated card can show.

mod common;

use rollmill_algebra::conformance;
use rollmill_algebra::device::{Coeff, Column, DeviceError, Memory, Msm, Ntt, Vector};
use rollmill_algebra::{Fr, G1Affine, plain};
use rollmill_kernels::{CudaDevice, CudaError, CudaOptions, Emulation, Fault};

fn numbers(n: u64) -> Vec<Fr> {
    (0..n).map(|i| Fr::from(i * i + 3)).collect()
}

#[test]
fn the_device_obeys_every_law_with_its_stream_running_late() {
    // Each column of the host by itself, so that as many uploads overlap sums as can, and all digits partitioned.
    let options =
        CudaOptions { overlap_bytes: Some(1), partition_digits: Some(1), ..CudaOptions::default() };
    let device = CudaDevice::emulated(&Emulation::new(common::library()), &options);
    conformance::run_all(&device.expect("the emulator opens"), 1);
}

#[test]
fn the_device_obeys_every_law_with_threads_in_reverse_and_arithmetic_by_the_cards_instructions() {
    let card = |card: &mut Emulation| {
        card.late = false;
        card.reverse = true;
        card.exact = true;
    };
    conformance::run_all(&common::device(card), 2);
}

/// Every split into passes that sizes up to three of them have, in both orders of threads.
#[test]
fn every_pass_of_a_transform_is_that_of_its_twin() {
    for (reverse, exact, log_ns) in [(false, false, 0..=12), (true, true, 0..=9)] {
        let device = common::device(|card| {
            (card.late, card.reverse, card.exact) = (false, reverse, exact);
        });
        for log_n in log_ns {
            assert_eq!(device.wrong_passes_of_transforms(log_n, 1), Ok(vec![]), "2^{log_n}");
        }
    }
    let device = common::device(|card| card.late = false);
    for log_n in [15, 17] {
        assert_eq!(device.wrong_passes_of_transforms(log_n, 2), Ok(vec![]), "2^{log_n}");
    }
}

#[test]
fn commitments_over_tables_of_multiples_are_the_sums_of_products() {
    for slices in common::SLICES {
        for partition_digits in [None, Some(1)] {
            let table_slices = Some(slices);
            let options = CudaOptions { table_slices, partition_digits, ..CudaOptions::default() };
            let emulation = Emulation::new(common::library());
            let device = CudaDevice::emulated(&emulation, &options).unwrap();
            let case = format!("{slices} slices, partitioned from {partition_digits:?}");
            common::check_commitments(&device, &case);
        }
    }
}

#[test]
fn every_pass_of_an_msm_is_its_twin() {
    let late = common::device(|card| card.late = true);
    assert_eq!(late.wrong_msm_passes(1), Ok(Vec::new()));
    let other = common::device(|card| {
        card.late = false;
        card.reverse = true;
        card.exact = true;
    });
    assert_eq!(other.wrong_msm_passes(2), Ok(Vec::new()));
}

/// The comparison of the passes is worth something: results that are wrong are of every pass.
#[test]
fn wrong_passes_are_named() {
    let device = common::device(|card| card.fault = Some(Fault::WrongDownloads));
    let wrong = device.wrong_msm_passes(1).unwrap();
    for pass in ["classify", "count", "scatter", "order", "accumulate", "merge", "reduce", "finish"]
    {
        let named = format!("msm_{pass}: uniform");
        assert!(wrong.contains(&named), "{named} is not in {wrong:?}");
    }
    assert!(!wrong.iter().any(|pass| pass.contains("not compared")), "{wrong:?}");
}

#[test]
fn buffers_dropped_under_a_running_stream_do_not_change_what_was_queued() {
    let device = common::device(|card| card.late = true);
    let values = numbers(1000);
    let expected = plain::prefix_sum(&values);
    // Each round drops its input while nothing has run yet, and the next takes the same memory.
    let sums: Vec<_> = (0..4)
        .map(|_| {
            let buffer = device.upload(&values).unwrap();
            let sum = device.prefix_sum(&buffer).unwrap();
            drop(buffer);
            drop(device.upload(&vec![Fr::from(9u64); 1000]).unwrap());
            sum
        })
        .collect();
    for sum in sums {
        assert_eq!(device.download(&sum).unwrap(), expected);
    }
}

#[test]
fn memory_goes_back_to_the_card_only_after_the_work_on_it() {
    let options = CudaOptions { budget_bytes: Some(100 << 10), ..CudaOptions::default() };
    let device = CudaDevice::emulated(&Emulation::new(common::library()), &options).unwrap();
    let values = numbers(1024);
    let buffer = device.upload(&values).unwrap();
    let sum = device.prefix_sum(&buffer).unwrap();
    drop(buffer);
    // Nothing has run yet. This fits only where the idle 32 KiB go back, and is of another size.
    let other = device.upload(&numbers(1280)).unwrap();
    assert_eq!(device.download(&sum).unwrap(), plain::prefix_sum(&values));
    assert_eq!(device.download(&other).unwrap(), numbers(1280));
}

/// An upload of so many KiB.
fn block(device: &CudaDevice, kib: u64) -> rollmill_kernels::CudaBuffer {
    device.upload(&numbers(kib << 5)).unwrap()
}

/// Otherwise each size that is not there would make every proof on the card allocate everything again.
#[test]
fn only_what_is_needed_goes_back_to_the_card() {
    let options = CudaOptions { budget_bytes: Some(1 << 20), ..CudaOptions::default() };
    let device = CudaDevice::emulated(&Emulation::new(common::library()), &options).unwrap();
    // 960 KiB, of which all but the first block end up idle.
    let kept = block(&device, 128);
    drop([160, 192, 224, 256].map(|kib| block(&device, kib)));
    let before = device.calls();
    // 64 KiB are left.
    let new = block(&device, 96);
    let calls = device.calls().since(&before);
    assert_eq!((calls.allocations, calls.releases), (1, 1));
    assert_eq!(device.download(&new).unwrap(), numbers(96 << 5));
    assert_eq!(device.download(&kept).unwrap(), numbers(128 << 5));
    // Several, where one is not enough.
    let before = device.calls();
    let large = block(&device, 512);
    let calls = device.calls().since(&before);
    assert_eq!((calls.allocations, calls.releases), (1, 2), "256 and 192 KiB");
    assert_eq!(device.download(&large).unwrap(), numbers(512 << 5));
}

#[test]
fn work_that_does_not_fit_is_rejected_with_both_numbers_and_changes_nothing() {
    let options = CudaOptions { budget_bytes: Some(1 << 20), ..CudaOptions::default() };
    let device = CudaDevice::emulated(&Emulation::new(common::library()), &options).unwrap();
    let buffer = device.upload(&numbers(100)).unwrap();
    let rejected = device.upload(&vec![Fr::from(1u64); 1 << 15]).unwrap_err();
    let DeviceError::Memory { needed_bytes, free_bytes, .. } = rejected else {
        panic!("another error: {rejected}")
    };
    assert!(needed_bytes >= 1 << 20 && free_bytes < 1 << 20, "{needed_bytes} {free_bytes}");
    assert!(device.require_memory("prove", 1 << 21).is_err());
    assert!(device.require_memory("prove", 1 << 19).is_ok());
    assert_eq!(device.download(&buffer).unwrap(), numbers(100));
    let (used, peak, budget) = device.memory_usage();
    assert!(used <= peak && peak <= budget && budget == 1 << 20);
}

#[test]
fn a_card_that_refuses_memory_within_the_budget_is_out_of_memory_too() {
    let device = common::device(|card| card.memory_bytes = 1 << 20);
    let outcome = device.upload(&vec![Fr::from(1u64); 1 << 16]);
    assert!(matches!(outcome, Err(DeviceError::Memory { .. })), "{outcome:?}");
}

#[test]
fn a_lost_card_is_said_to_be_lost_and_stays_so() {
    let device = common::device(|card| card.fault = Some(Fault::LostAfter(0)));
    let buffer = device.upload(&numbers(40)).unwrap();
    let sum = device.prefix_sum(&buffer).unwrap();
    for _ in 0..2 {
        let outcome = device.download(&sum);
        assert!(matches!(outcome, Err(DeviceError::Lost { .. })), "{outcome:?}");
    }
    assert!(matches!(device.upload(&numbers(4)), Err(DeviceError::Lost { .. })));
}

#[test]
fn results_that_cannot_be_right_are_another_error_than_a_lost_card() {
    let device = common::device(|card| card.fault = Some(Fault::WrongDownloads));
    let buffer = device.upload(&numbers(40)).unwrap();
    let outcome = device.download(&buffer);
    let Err(DeviceError::Failed { reason, .. }) = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("CUD-007"), "{reason}");
}

#[test]
fn columns_that_alias_each_other_and_the_input_are_left_alone() {
    let device = common::device(|_| {});
    let values = numbers(64);
    let buffer = device.upload(&values).unwrap();
    let column: Column<_, Coeff> = Column::new(buffer.clone());
    let both = device.to_coset(&[&column, &column], Fr::from(1u64)).unwrap();
    for out in &both {
        assert_eq!(device.download(&out.buffer).unwrap(), plain::dft(&values, Fr::from(1u64)));
    }
    let mut copy = buffer.clone();
    device.invert(&mut copy).unwrap();
    assert_eq!(device.download(&buffer).unwrap(), values);
    assert_eq!(device.download(&copy).unwrap(), plain::invert(&values));
}

#[test]
fn a_large_transform_of_three_passes_matches_its_definition_at_single_points() {
    let device = common::device(|card| card.late = false);
    let (log_n, n) = (17, 1u64 << 17);
    let values = numbers(n);
    let shift = Fr::from(7u64);
    let column = Column::new(device.upload(&values).unwrap());
    let coset = device.to_coset(&[&column], shift).unwrap();
    let out = device.download(&coset[0].buffer).unwrap();
    let root = rollmill_algebra::omega(log_n);
    for i in [0u64, 1, 2, 255, 256, 65_535, 65_536, n - 1] {
        let point = shift * ark_ff::Field::pow(&root, [i]);
        assert_eq!(out[i as usize], rollmill_algebra::field::horner(&values, point), "{i}");
    }
    let back = device.from_coset(&[&coset[0]], shift).unwrap();
    assert_eq!(device.download(&back[0].buffer).unwrap(), values);
}

#[test]
fn scans_and_quotients_are_right_at_the_ends_of_segments() {
    let device = common::device(|card| card.late = false);
    let point = Fr::from(5u64);
    for n in [4095usize, 4096, 4097, 8192, 8193] {
        let values = numbers(n as u64);
        let buffer = device.upload(&values).unwrap();
        let sums = device.download(&device.prefix_sum(&buffer).unwrap()).unwrap();
        let products = device.download(&device.prefix_product(&buffer).unwrap()).unwrap();
        assert_eq!([sums[0], products[0]], [0u64, 1].map(Fr::from), "{n}");
        let column: Column<_, Coeff> = Column::new(buffer);
        let quotient = device.divide_by_linear(&column, point).unwrap().buffer;
        let quotient = device.download(&quotient).unwrap();
        assert_eq!(quotient[n - 1], Fr::from(0u64));
        for i in 1..n {
            assert_eq!(sums[i], sums[i - 1] + values[i - 1], "{i} of {n}");
            assert_eq!(products[i], products[i - 1] * values[i - 1], "{i} of {n}");
            assert_eq!(quotient[i - 1], values[i] + point * quotient[i], "{i} of {n}");
        }
    }
}

#[test]
fn one_bucket_that_holds_everything_is_cut_and_merged() {
    let device = common::device(|card| card.late = false);
    let n = 6000;
    let base: G1Affine = ark_ec::AffineRepr::generator();
    let bases = device.register_bases(&vec![base; n]).unwrap();
    let column = device.upload(&vec![Fr::from(1u64); n]).unwrap();
    let sum = device.commit(&bases, &[&column]).unwrap()[0];
    assert_eq!(sum, base * Fr::from(n as u64));
}

#[test]
fn the_emulator_rejects_a_library_that_is_none() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("damaged.so");
    std::fs::write(&file, b"not a library").unwrap();
    let outcome = CudaDevice::emulated(&Emulation::new(file), &CudaOptions::default());
    assert!(matches!(outcome, Err(CudaError::Image { .. })), "{outcome:?}");
}

#[test]
fn several_devices_and_threads_work_at_a_time() {
    let device = common::device(|_| {});
    let other = common::device(|_| {});
    std::thread::scope(|scope| {
        for k in 0..4u64 {
            let device = if k % 2 == 0 { &device } else { &other };
            scope.spawn(move || {
                let values = numbers(300 + k);
                let buffer = device.upload(&values).unwrap();
                let sum = device.prefix_sum(&buffer).unwrap();
                assert_eq!(device.download(&sum).unwrap(), plain::prefix_sum(&values));
            });
        }
    });
}
