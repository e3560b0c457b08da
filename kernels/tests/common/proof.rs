//! A small proof on any device.

use rollmill_algebra::device::Device;
use rollmill_plonk::conformance::prove_on;
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::shape::{QUOTIENT_CHUNKS, fixed};

pub(crate) use rollmill_plonk::conformance::circuit;

pub(crate) fn proof_on<D: Device>(device: &D, cell_bits: u32) -> Proof {
    proof_of(device, circuit(cell_bits, None))
}

pub(crate) fn proof_of<D: Device>(device: &D, circuit: (Layout, Witness)) -> Proof {
    prove_on(device, circuit).1
}

/// Bytes of a key's columns on all cosets of the quotient.
pub(crate) fn all_cosets(log_n: u32) -> u64 {
    (QUOTIENT_CHUNKS * (fixed::COUNT + 1)) as u64 * (32 << log_n)
}
