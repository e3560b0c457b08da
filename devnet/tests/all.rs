//! The tests of the devnet. One program, since each program links everything that the crate needs.

mod economics;
mod leaves_nothing;
mod metrics;
mod reference;
mod settings;
mod traces;
