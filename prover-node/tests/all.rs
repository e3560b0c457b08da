//! The tests of the prover node but those of its jobs and ranges. One program, since each program links everything that the crate needs.

mod claims;
mod commands;
mod process;
mod quotes;
mod submit;
