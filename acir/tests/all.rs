//! The tests of the crate. One program, since each links everything that the crate needs.

mod artifact;
mod contracts;
mod ecdsa;
mod freedom;
mod functions;
mod opcodes;
mod private;
mod proof;
mod rejections;
mod solving;
mod support;
mod values;
mod wallet;
