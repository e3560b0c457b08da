//! Field, curve and polynomial operations of a PLONK prover, behind traits for devices.
//!
//! [`device`] has the traits, [`cpu`] the device for the host, [`conformance`] the laws that every device must
//! satisfy, and [`plain`] the twins with which they are compared. [`graph`] is the graph of expressions from
//! which backends generate code. [`forward!`] passes operations of one device on to another.

pub mod bytes;
pub mod conformance;
pub mod cpu;
pub mod device;
pub mod domain;
pub mod field;
mod forward;
pub mod graph;
pub mod pair;
pub mod plain;
pub mod poseidon2;
pub mod weaken;

pub use ark_bn254::{Bn254, Fq, Fr, G1Affine, G1Projective, G2Affine, G2Projective};

pub use crate::cpu::{CpuDevice, CpuPath};
pub use crate::field::{batch_invert, omega};
