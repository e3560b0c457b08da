//! Devices to test.

#![allow(dead_code, reason = "each test program uses some of it")]

pub(crate) mod proof;

use std::path::{Path, PathBuf};

use ark_ec::AffineRepr;
use ark_ff::Field;
use rollmill_algebra::device::{Memory, Msm};
use rollmill_algebra::{Fr, G1Affine, plain};
use rollmill_kernels::{
    CudaDevice, CudaOptions, Emulation, compile_emulated_driver, compile_emulator,
};

/// The kernels, compiled for the emulator once for all tests.
pub(crate) fn library() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    compile_emulator(folder, Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the kernels compile")
}

/// The folder of a driver library made of them.
pub(crate) fn driver() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    compile_emulated_driver(folder, Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("it compiles")
}

/// An emulated device, with changes to the card.
pub(crate) fn device(change: impl FnOnce(&mut Emulation)) -> CudaDevice {
    let mut emulation = Emulation::new(library());
    change(&mut emulation);
    CudaDevice::emulated(&emulation, &CudaOptions::default()).expect("the emulator opens")
}

/// Slices of the tables of multiples to test: none, a few, as many as the digits of most plans, one for each bit.
pub(crate) const SLICES: [u32; 6] = [1, 2, 3, 16, 26, 254];

/// Checks a commitment to columns of every kind: full, opposite, equal, short and small scalars, zeros and none.
pub(crate) fn check_commitments(device: &CudaDevice, case: &str) {
    let bases: Vec<G1Affine> =
        (1..=300u64).map(|i| (G1Affine::generator() * Fr::from(i * i)).into()).collect();
    let factor = Fr::from(7u64);
    let full: Vec<Fr> = (0..300u64).map(|i| factor.pow([i + 100])).collect();
    let columns = [
        full.clone(),
        full.iter().map(|scalar| -*scalar).collect(),
        vec![full[150]; 300],
        (0..200u64).map(|i| Fr::from(i & 1)).collect(),
        (0..17u64).map(|i| Fr::from(i * 1000)).collect(),
        vec![Fr::from(0u64); 20],
        Vec::new(),
    ];
    let registered = device.register_bases(&bases).expect("bases");
    let buffers: Vec<_> =
        columns.iter().map(|column| device.upload(column).expect("upload")).collect();
    let buffers: Vec<_> = buffers.iter().collect();
    let sums = device.commit(&registered, &buffers).expect("commit");
    for (i, (column, sum)) in columns.iter().zip(sums).enumerate() {
        assert_eq!(sum, plain::msm(&bases[..column.len()], column), "{case}, column {i}");
    }
}
