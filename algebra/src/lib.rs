//! Field, curve and polynomial work behind the device traits.

pub mod device;
pub mod poseidon2;

pub use ark_bn254::{Fq, Fr, G1Affine, G1Projective, G2Affine};
