//! What the opcodes of ACIR are made of. Each gadget lays out the same rows whatever the values are.
//!
//! A function whose name ends with `_given` takes what the prover chooses, so that tests can choose as a cheating
//! prover would.

pub(crate) mod aes;
mod blake;
pub(crate) mod blake2s;
pub(crate) mod blake3;
pub(crate) mod curve;
pub(crate) mod ecdsa;
mod foreign;
pub(crate) mod keccak;
pub(crate) mod logic;
pub(crate) mod memory;
pub(crate) mod polynomial;
pub(crate) mod range;
pub(crate) mod scalar;
pub(crate) mod sha256;
pub(crate) mod word;

#[cfg(test)]
mod tests;
