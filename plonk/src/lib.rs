//! PLONK with KZG over BN254: arithmetization, keys, prover, verifiers.
//!
//! No I/O, no clock, no runtime: a proof is a function of its inputs.

pub mod builder;
pub mod check;
pub mod gates;
pub mod layout;
pub mod shape;
