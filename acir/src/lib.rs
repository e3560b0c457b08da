//! Noir programs as PLONK circuits.
//!
//! [`artifact::Artifact::parse`] reads what Noir's compiler writes, [`solve::solve`] computes a witness with Noir's
//! own solver, and [`lower::lower`] lays the opcodes of ACIR out in rows of [`rollmill_plonk`]. [`plain::holds`] reads
//! the opcodes one by one, as the slow twin of the rows.
//!
//! [`values`] turns named inputs into witnesses, and witnesses into return values. [`private`] lays out functions of
//! contracts as the private kernel verifies them.
//!
//! No I/O, no clock: an artifact is bytes, and an oracle is the caller's [`solve::Oracles`].
//!
//! The rows do not depend on the witness, so that a key needs no inputs.

pub mod artifact;
pub mod ecdsa;
mod gadgets;
pub mod lower;
pub mod plain;
pub mod private;
pub mod solve;
pub mod values;
