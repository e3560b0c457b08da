//! Devices to test.

#![allow(dead_code, reason = "each test program uses some of it")]

pub(crate) mod proof;

use std::path::{Path, PathBuf};

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
