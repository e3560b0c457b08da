//! Noir programs, proven and verified by Rollmill's PLONK on any device.
//!
//! [`program`] reads an artifact and counts its rows, [`inputs`] reads `Prover.toml`, [`backend`] makes keys and
//! proofs, [`files`] has what is written for others, and [`solidity`] writes a verifier for Ethereum. The program
//! `rollmill-noir` joins them; docs/book/noir.md shows it.

pub mod backend;
pub mod error;
pub mod files;
pub mod inputs;
pub mod program;
pub mod solidity;

pub use self::error::NoirError;
