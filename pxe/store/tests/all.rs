//! The tests of the store. One program, since each program links everything that the crate needs.

mod crash;
mod keystore;
mod paths;
mod processes;
mod rotation;
mod steps;
mod support;
mod tamper;
mod twin;
