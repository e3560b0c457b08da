//! The CPU device obeys every law, with each of its codes, with one thread and with several.

use rollmill_algebra::{CpuDevice, conformance};

#[test]
fn the_scalar_device_obeys_every_law_on_one_thread() {
    conformance::run_all(&CpuDevice::scalar(1), 1);
}

#[test]
fn the_scalar_device_obeys_every_law_on_many_threads() {
    conformance::run_all(&CpuDevice::scalar(5), 2);
}

#[test]
fn the_fastest_device_obeys_every_law_on_one_thread() {
    conformance::run_all(&CpuDevice::new(1), 3);
}

#[test]
fn the_fastest_device_obeys_every_law_on_many_threads() {
    conformance::run_all(&CpuDevice::new(5), 4);
}
