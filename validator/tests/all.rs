//! The tests of the validator. One program, since each program links everything that the crate needs.

mod attest;
mod evidence;
mod real_proofs;
