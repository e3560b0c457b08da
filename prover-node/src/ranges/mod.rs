//! Ranges as a durable state machine: a row for each, moved by one pure function from facts.
//!
//! A *range* is a run of blocks of one epoch that one proof on L1 will cover. Its row is written before
//! anything that has an effect outside, and only a final fact of L1 ends it. So the next turn handles a
//! process that crashed at any point and any reorganisation.

pub mod controller;
pub mod facts;
pub mod row;
pub mod step;
pub mod store;

pub use facts::{Chain, Command, Finalized, Own, Policy, Proof, Schedule, Sent, SubmitFailure};
pub use row::{Entry, GaveUp, Inclusion, Intent, Parking, RangeBlock, Root, Row, State};
pub use step::{Effect, Step, plan, step};
