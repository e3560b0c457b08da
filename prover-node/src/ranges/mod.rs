//! Ranges as a durable state machine: a row for each, moved by one pure function from facts.
//!
//! A *range* is a run of blocks of one epoch that one proof on L1 is to cover. Its row is written before
//! anything is done that leaves traces, and only what L1 has finalized ends it, so a process that dies
//! at any point, or a chain that takes anything back, is met by the next turn.

pub mod controller;
pub mod facts;
pub mod row;
pub mod step;
pub mod store;

pub use facts::{Chain, Command, Finalized, Own, Policy, Proof, Refusal, Sent};
pub use row::{Entry, GaveUp, Inclusion, Intent, Parking, RangeBlock, Root, Row, State};
pub use step::{Effect, Step, plan, step};
