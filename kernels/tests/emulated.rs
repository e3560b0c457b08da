//! The CUDA device on the emulator: every law of the devices, and what only an emulated card can show.

mod common;

use rollmill_algebra::conformance;

/// Every law, with the stream running late and threads in their order.
#[test]
fn the_emulated_device_obeys_every_law() {
    conformance::run_all(&common::device(|_| {}), 1);
}
