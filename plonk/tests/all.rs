//! The tests of the proof system. One program, since each links everything that the crate needs; `weakened` is
//! another, since it needs a feature and has the process for itself.

mod belongs;
mod blinding;
mod builder;
mod doors;
mod examples;
mod hashes;
mod places;
mod prover;
mod ptau;
mod rejections;
mod rounds;
mod solidity;
mod srs;
mod statements;
mod transcript;
