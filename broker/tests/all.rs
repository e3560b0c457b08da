//! The tests of the broker. One program, since each program links everything that the crate needs.

mod access;
mod autoscale;
mod aztec;
mod aztec_wire;
mod bench;
mod changes;
mod epochs;
mod example;
mod fuzz;
mod gauges;
mod healing;
mod identity;
mod lanes;
mod leftovers;
mod objects;
mod pages;
mod plan;
mod process;
mod queue;
mod routes;
mod rules;
mod states;
mod support;
mod tls;
mod wire;
