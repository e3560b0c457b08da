//! The tests of the crate. One program, since each links everything that the crate needs.

mod commands;
mod contracts;
mod programs;
mod proofs;
mod support;
