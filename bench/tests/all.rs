//! The tests of the bench. One program, since each program links everything that the crate needs.

mod commands;
mod devices;
mod gpu_script;
mod plot;
