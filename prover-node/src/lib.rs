//! Follows L1, keeps a durable row for each range of unproven blocks, plans its proof jobs, checks every
//! result, and submits the root proof.

pub mod capture;
pub mod claims;
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
pub mod quotes;
pub mod range;
pub mod ranges;
pub mod submit;
pub mod traces;
pub mod work;
