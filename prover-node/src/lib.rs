//! Watches L1 for unproven epochs, cuts each into proof jobs, checks every result, submits the root.

pub mod pipeline;
