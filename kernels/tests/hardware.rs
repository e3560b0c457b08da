//! The same laws on a real card. Without one the tests say so; with `REQUIRE_GPU=1` they fail.

mod common;

use rollmill_algebra::conformance;
use rollmill_kernels::{CudaDevice, CudaError, CudaOptions};

/// The card to test, if there is one and the kernels were compiled for it.
fn card() -> Option<CudaDevice> {
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1");
    let index = std::env::var("GPU").unwrap_or_else(|_| "0".to_owned());
    let image = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels.fatbin");
    let image = match std::fs::read(&image) {
        Ok(image) => image,
        Err(error) if required => panic!("{}: {error}", image.display()),
        Err(_) => {
            println!("no compiled kernels: these laws ran on the emulator only");
            return None;
        }
    };
    match CudaDevice::open(&index, &image, &CudaOptions::default()) {
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

#[test]
fn without_a_driver_opening_says_so_and_does_not_panic() {
    match CudaDevice::open("0", &[], &CudaOptions::default()) {
        Ok(_) => panic!("an empty image opened"),
        Err(CudaError::NoDriver { reason }) => assert!(!reason.is_empty()),
        // With a driver: an empty image, or no card.
        Err(CudaError::Image { .. } | CudaError::UnknownDevice { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}
