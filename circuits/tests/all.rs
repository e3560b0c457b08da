//! The tests of the circuits. One program, since each links everything that the crate needs.

mod agreement;
mod analysis;
mod blocks;
mod client;
mod common;
mod counter;
mod curve;
mod epoch;
mod gadgets;
mod header;
mod jobs;
mod kinds;
mod layout;
mod maker;
mod mutation;
mod private;
mod private_whole;
mod recursion;
mod store;
mod twins;
mod tx;
