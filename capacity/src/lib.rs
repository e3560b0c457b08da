//! How many agents a load of transactions needs, what they cost and when its epochs are proven.
//!
//! The arithmetic is that of the broker's scheduler ([`rollmill_broker_schedule::forecast`]); a simulation in virtual time
//! then runs the plan with failures. It drives the broker's own decisions, [`rollmill_broker_schedule::schedule`] and
//! [`rollmill_broker_schedule::policy`], on the job graph of the prover node,
//! [`EpochPlan`](rollmill_protocol::plan::EpochPlan). No process is started and no clock is read.
//!
//! - [`results`] seconds per circuit, from the files that measured runs wrote.
//! - [`simulation`] a cluster in virtual time.
//! - [`plan`] agents, dollars and times for a load.
//! - [`options`], [`report`] the command line and what it prints.

mod error;
pub mod options;
pub mod plan;
pub mod report;
pub mod results;
pub mod simulation;

pub use error::CapacityError;
