//! A small proof on any device.

use ark_ff::PrimeField;
use rollmill_algebra::Fr;
use rollmill_algebra::device::Device;
use rollmill_plonk::builder::Builder;
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

/// A circuit that fills its rows with hashes, ranges and products, about as a recursive verifier does, so that its
/// columns are as full as those of a rollup's proof.
pub(crate) fn full_circuit(log_n: u32) -> (Layout, Witness) {
    let cell_bits = 16.min(log_n - 1);
    // A range takes four cells, and a part of it still has to be a number of 64 bits.
    let bits = 4 * cell_bits;
    let mut b = Builder::new(2, cell_bits);
    let start = b.witness(Fr::from(3u64));
    b.set_public(0, start);
    let mut x = start;
    for i in 0..(1usize << log_n) / 4 {
        if i % 8 == 0 {
            x = b.hash(9, &[x, x]);
        }
        let low = b.value(x).into_bigint().0[0] & (u64::MAX >> (64 - bits));
        let low = b.witness(Fr::from(low));
        b.range(low, bits);
        x = b.mul(x, low);
    }
    b.set_public(1, x);
    b.finish(Some(log_n)).expect("the circuit fits")
}

/// Bytes of a key's columns on all cosets of the quotient.
pub(crate) fn all_cosets(log_n: u32) -> u64 {
    (QUOTIENT_CHUNKS * (fixed::COUNT + 1)) as u64 * (32 << log_n)
}
