//! PLONK with KZG over BN254: arithmetization, keys, prover, verifiers.
//!
//! No I/O, no clock, no runtime: a proof is a function of its inputs.

pub mod analysis;
pub mod builder;
pub mod check;
pub mod conformance;
pub mod gates;
pub mod key;
pub mod layout;
pub mod proof;
pub mod prover;
pub mod resident;
mod rom;
mod row;
pub mod shape;
pub mod solidity;
pub mod srs;
mod sums;
pub mod transcript;
pub mod verifier;
pub mod weaken;

pub use rollmill_algebra::G2Affine;
pub use rollmill_algebra::bytes::{G2_BYTES, g2_from_bytes, g2_to_bytes};

/// The generator G of the curve, which multiples in a pair are of.
pub fn generator() -> rollmill_algebra::G1Affine {
    <rollmill_algebra::G1Affine as ark_ec::AffineRepr>::generator()
}
