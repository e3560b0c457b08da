//! The tests of the L1 client. One program, since each program links everything that the crate needs.

mod blobs;
mod client;
mod data;
mod faults;
mod follow;
mod gas;
mod hostile;
mod purposes;
mod reverts;
mod rules;
mod schedule;
mod send;
mod tls;
