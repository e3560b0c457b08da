//! Watches L1 for unproven epochs, cuts each into proof jobs, checks every result, submits the root.

pub mod capture;
pub mod commands;
pub mod config;
pub mod gather;
pub mod jobs;
pub mod lease;
pub mod metrics;
pub mod node;
pub mod pipeline;
pub mod ports;
pub mod preflight;
pub mod prove;
pub mod range;
pub mod ranges;
pub mod submit;
