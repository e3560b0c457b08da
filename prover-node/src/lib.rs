//! Watches L1 for unproven epochs, cuts each into proof jobs, checks every result, submits the root.

pub mod config;
pub mod gather;
pub mod metrics;
pub mod pipeline;
pub mod range;
pub mod watch;
