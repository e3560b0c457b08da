//! The CPU device obeys every law, with few threads and with more threads than work.

use rollmill_algebra::{CpuDevice, conformance};

#[test]
fn the_cpu_device_obeys_every_law_on_one_thread() {
    conformance::run_all(&CpuDevice::new(1), 1);
}

#[test]
fn the_cpu_device_obeys_every_law_on_many_threads() {
    conformance::run_all(&CpuDevice::new(5), 2);
}
