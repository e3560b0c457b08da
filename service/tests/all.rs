//! The tests of what every service shares. One program, since each program links everything that the crate needs.

mod child;
mod deployment;
mod descriptors;
mod frame;
mod http;
mod lifecycle;
mod secrets;
mod signals;
mod tls;
mod traces;
