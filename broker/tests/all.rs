//! The tests of the broker. One program, since each program links everything that the crate needs.

mod aztec;
mod aztec_wire;
mod bench;
mod changes;
mod example;
mod gauges;
mod healing;
mod lanes;
mod leftovers;
mod pages;
mod plan;
mod process;
mod queue;
mod routes;
mod states;
mod support;
mod tls;
mod wire;
