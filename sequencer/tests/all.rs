//! The tests of the sequencer. One program, since each program links everything that the crate needs.

mod bond;
mod committee;
mod common;
mod pool;
mod process;
mod quotes;
mod reader;
mod seed;
