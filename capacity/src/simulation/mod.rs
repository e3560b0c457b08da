//! A cluster in virtual time: an event queue, the broker's own decisions, and agents that take as long as measured ones.
//!
//! What is simulated: blocks land, jobs are enqueued when their inputs exist, rounds of grants as the broker runs them,
//! loading of keys, proofs of varying length, hand-in, verification by the producer, retries, agents that crash without a
//! word and are replaced, spot machines that are taken away, second leases. What is not: an agent that fetches a job while
//! it still proves another one, and the broker's own speed beyond its delays; `rollmill-broker bench` measures that.
//!
//! The same [`Setup`] has the same [`Outcome`].

mod engine;
mod finish;
mod graph;
mod look;
mod machines;

use rollmill_broker_client::SizeClass;
use rollmill_broker_schedule::Work;
use serde::Serialize;

pub use engine::run;

/// A cluster and its load.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub epochs: Vec<EpochLoad>,
    /// By the place of the circuit in `Circuit::ALL`.
    pub works: Vec<Work>,
    pub machines: Vec<Machine>,
    pub delays: Delays,
    pub faults: Faults,
    /// Keys that an agent keeps in memory.
    pub resident_keys: usize,
    /// Whether slow jobs of an epoch at risk get second leases.
    pub has_second_leases: bool,
    /// Whether ranks are milliseconds of proofs up to the root, as a prover node sends them that has measured each
    /// circuit, or numbers of proofs, as other producers may send them.
    pub has_measured_ranks: bool,
    /// Virtual seconds after which the run ends whatever is open.
    pub limit: f64,
}

/// An epoch to prove.
#[derive(Clone, Debug)]
pub struct EpochLoad {
    pub blocks: Vec<Block>,
    /// When its root proof must be ready for L1.
    pub submit_by: Option<f64>,
    /// Length of the window that ends then.
    pub window: f64,
}

/// A block of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub txs: usize,
    /// When the producer has it with its client proofs.
    pub lands: f64,
}

/// An agent.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// 1 is what the results were measured on.
    pub speed: f64,
    pub class: SizeClass,
    /// Mean seconds until it crashes without a word.
    pub mtbf: Option<f64>,
    /// Mean seconds until its owner takes it back, with a signal.
    pub reclaimed_after: Option<f64>,
}

/// Delays in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// A request and its answer.
    pub request: f64,
    /// A flush lane of the broker, its commit included.
    pub flush: f64,
    /// Least time between two rounds of grants.
    pub round: f64,
    /// The producer's verification of a result.
    pub verify: f64,
    pub lease: f64,
    /// From the loss of an agent to its replacement.
    pub replace: f64,
    /// From a root proof to its acceptance on L1.
    pub submission: f64,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            request: 0.005,
            flush: 0.005,
            round: 0.005,
            verify: 0.005,
            lease: 30.0,
            replace: 120.0,
            submission: 60.0,
        }
    }
}

/// What goes wrong with single attempts, as parts of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Attempts that fail half-way for a passing reason.
    pub transient: f64,
    /// Results that the producer finds wrong.
    pub invalid: f64,
    /// Attempts that take [`STRAGGLER`] times as long.
    pub stragglers: f64,
}

/// How much longer a straggler takes.
pub const STRAGGLER: f64 = 8.0;

/// What a run found. Times are virtual seconds since the first block.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    pub seed: u64,
    pub jobs: usize,
    pub agents: usize,
    pub attempts: u64,
    /// When the last epoch was accepted.
    pub makespan_seconds: f64,
    pub epochs: Vec<EpochOutcome>,
    /// The most of the longest path and of all work divided by all agents: nothing is faster.
    pub floor_seconds: f64,
    /// Seconds of accepted proofs ÷ seconds that agents were there.
    pub utilisation: f64,
    pub proving_seconds: f64,
    pub loading_seconds: f64,
    /// Seconds of attempts whose result was not used.
    pub wasted_seconds: f64,
    pub agent_seconds: f64,
    pub crashes: u64,
    pub reclaims: u64,
    pub second_leases: u64,
    /// Second leases whose result came first.
    pub second_leases_won: u64,
    pub dead_letters: u64,
    /// Events and rounds of grants that were simulated.
    pub events: u64,
    pub rounds: u64,
}

/// What became of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EpochOutcome {
    /// When its proof was accepted; null when it was not.
    pub accepted_seconds: Option<f64>,
    /// When it would be on as many agents as there are jobs, without failures and delays of the broker.
    pub critical_seconds: f64,
    /// When its root proof was due.
    pub submit_by_seconds: Option<f64>,
    /// It was cancelled, had a dead letter, or was accepted too late.
    pub is_missed: bool,
}

#[cfg(test)]
mod tests;
