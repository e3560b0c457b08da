//! The tests of the agent. One program, since each program links everything that the crate needs.

mod absence;
mod answers;
mod card;
mod commands;
mod devices;
mod faults;
mod leaving;
mod r#loop;
mod sessions;
mod traces;

#[path = "common/worker.rs"]
mod worker;
