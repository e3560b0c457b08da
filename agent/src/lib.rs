//! The proving agent: leases jobs, proves one or, if the settings say so, several at a time, checks
//! each proof itself, and hands it back.
//!
//! An agent remembers nothing between jobs but the proofs that no broker has taken yet. It may be
//! killed at any instant: the broker grants the job to another agent once the lease runs out, and what
//! was uploaded meanwhile is addressed by its digest and does no harm.
//!
//! - [`Worker`] what can do jobs: the prover, or a double in tests.
//! - [`Agent`] the loop: claim, fetch, prepare, prove, verify, upload, report.
//! - [`devices`] where proofs are made, and what happens where that cannot be.
//! - [`card`] metrics of an NVIDIA card, and [`nvml`] where they come from.
//! - [`accelerator`] the device that the settings choose, opened.
//! - [`srs`] the structured reference string as files.
//! - [`preflight`] what it needs, checked at its start.
//! - [`session`] where the agent is installed, and its session with the broker.
//! - [`reclaim`] notices that the machine is taken away.
//! - [`heartbeat`] heartbeats from a separate thread, so that a busy machine does not appear dead.

pub mod accelerator;
mod agent;
mod calibration;
pub mod card;
mod config;
pub mod devices;
pub mod heartbeat;
mod leave;
mod link;
pub mod machine;
pub mod metrics;
pub mod nvml;
mod pace;
pub mod preflight;
pub mod prover;
pub mod reclaim;
pub mod session;
mod spool;
pub mod srs;
mod warm;
mod worker;
mod xid;

pub use agent::{Agent, AgentError};
pub use config::Config;
pub use pace::Pace;
pub use worker::{DeviceReport, Prepared, Warmed, WorkError, WorkOutput, Worker};
