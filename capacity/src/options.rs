//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rollmill_protocol::gas::MAX_TXS_PER_BLOCK;
use rollmill_service::values;

use crate::CapacityError;
use crate::plan::{Cluster, Traffic};
use crate::results::Results;
use crate::simulation::{Delays, Faults};

/// Plan the agents that a load needs, or simulate a cluster
///
/// Everything is computed: no process is started, and nothing is read but the files with results. The seconds per circuit
/// come from measured runs; docs/book/capacity.md has the formulas.
#[derive(Debug, Clone, Parser)]
#[command(name = "rollmill-capacity", version)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Print agents, dollars and times for loads of transactions
    ///
    /// It takes the number of agents that the formulas say, simulates epochs that follow each other, and adds a tenth until
    /// every epoch is proven in time. Example: rollmill-capacity plan --results benches/results/circuits-zen5-2cores.json
    Plan(PlanOptions),
    /// Simulate one epoch in virtual time
    ///
    /// It drives the scheduler and the retry policy of the broker with the job graph of the prover node. The same options
    /// and seed have the same result. Example: rollmill-capacity simulate --results
    /// benches/results/circuits-zen5-2cores.json --transactions 100000 --agents 2000
    Simulate(SimulateOptions),
}

#[derive(Debug, Clone, Args)]
pub struct PlanOptions {
    /// Transactions per second, one plan each
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,10,100")]
    #[arg(value_parser = values::whole(1..=1000_u32), help_heading = "Load")]
    pub rates: Vec<u32>,
    /// Length of an epoch
    #[arg(long, value_name = "SECONDS", default_value_t = 768, value_parser = values::whole(1..=1_000_000_u32))]
    #[arg(help_heading = "Load")]
    pub epoch_seconds: u32,
    /// Length of a slot; each has a block while transactions wait
    #[arg(long, value_name = "SECONDS", default_value_t = 24, value_parser = values::whole(1..=65_535_u32))]
    #[arg(help_heading = "Load")]
    pub slot_seconds: u32,
    /// Most time from the end of an epoch to the acceptance of its proof
    #[arg(long, value_name = "SECONDS", default_value_t = 1536, value_parser = values::whole(1..=1_000_000_u32))]
    #[arg(help_heading = "Load")]
    pub prove_within: u32,
    /// Epochs to simulate, one after the other
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = values::whole(1..=20_u32))]
    #[arg(help_heading = "Load")]
    pub epochs: u32,
    #[command(flatten)]
    pub cluster: ClusterOptions,
}

#[derive(Debug, Clone, Args)]
pub struct SimulateOptions {
    /// Transactions of the epoch
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = values::whole(1..=1_000_000_u32))]
    #[arg(help_heading = "Load")]
    pub transactions: u32,
    /// Time over which the blocks land, evenly; 0 means that all are there at the start
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = values::whole(0..=1_000_000_u32))]
    #[arg(help_heading = "Load")]
    pub arrival_seconds: u32,
    /// Most time from the last block to the acceptance of the proof; 0 means any
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = values::whole(0..=1_000_000_u32))]
    #[arg(help_heading = "Load")]
    pub prove_within: u32,
    /// Agents
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = values::whole(1..=20_000_u32))]
    #[arg(help_heading = "Cluster")]
    pub agents: u32,
    #[command(flatten)]
    pub cluster: ClusterOptions,
}

#[derive(Debug, Clone, Args)]
pub struct ClusterOptions {
    /// Files with seconds per circuit: of `cargo xtask circuits --prove --json`, `rollmill-devnet --json` or
    /// `rollmill-bench run --json`. Each adds the circuits that the ones before it lack
    #[arg(long, value_name = "FILE", required = true, num_args = 1.., help_heading = "Cluster")]
    pub results: Vec<PathBuf>,
    /// Most transactions of a block
    #[arg(long, value_name = "N", default_value_t = MAX_TXS_PER_BLOCK, value_parser = values::whole(1..=4096_usize))]
    #[arg(help_heading = "Load")]
    pub txs_per_block: usize,
    /// Speed of an agent compared with the machine of the results
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = values::whole(1..=100_000_u32))]
    #[arg(help_heading = "Cluster")]
    pub speed: u32,
    /// Price of an agent per hour, in cents of a dollar
    #[arg(long, value_name = "CENTS", default_value_t = 10, value_parser = values::whole(0..=1_000_000_u32))]
    #[arg(help_heading = "Cluster")]
    pub price: u32,
    /// Time to load a proving key that is not in memory
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2000, value_parser = values::whole(0..=600_000_u32))]
    #[arg(help_heading = "Cluster")]
    pub load_ms: u32,
    /// Proving keys that an agent keeps in memory
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = values::whole(1..=64_usize))]
    #[arg(help_heading = "Cluster")]
    pub resident_keys: usize,
    /// Mean time until an agent crashes; 0 means never
    #[arg(long, value_name = "MINUTES", default_value_t = 1440, value_parser = values::whole(0..=10_000_000_u32))]
    #[arg(help_heading = "Failures")]
    pub crash_minutes: u32,
    /// Mean time until a spot machine is reclaimed; 0 means never
    #[arg(long, value_name = "MINUTES", default_value_t = 0, value_parser = values::whole(0..=10_000_000_u32))]
    #[arg(help_heading = "Failures")]
    pub reclaim_minutes: u32,
    /// Time until a lost agent is replaced
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = values::whole(0..=100_000_u32))]
    #[arg(help_heading = "Failures")]
    pub replace_seconds: u32,
    /// Attempts of 1000 that fail for a passing reason
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(0..=500_u32))]
    #[arg(help_heading = "Failures")]
    pub failures: u32,
    /// Attempts of 1000 that take eight times as long
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(0..=500_u32))]
    #[arg(help_heading = "Failures")]
    pub stragglers: u32,
    /// Lease of the broker
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = values::whole(1..=3_600_u32))]
    #[arg(help_heading = "Delays")]
    pub lease_seconds: u32,
    /// Time of a request and its answer
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5, value_parser = values::whole(0..=60_000_u32))]
    #[arg(help_heading = "Delays")]
    pub request_ms: u32,
    /// Time of a flush of the broker, its commit included
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5, value_parser = values::whole(0..=60_000_u32))]
    #[arg(help_heading = "Delays")]
    pub flush_ms: u32,
    /// Time from the root proof to its acceptance on L1
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = values::whole(0..=100_000_u32))]
    #[arg(help_heading = "Delays")]
    pub submission_seconds: u32,
    /// Seed of failures and durations
    #[arg(long, value_name = "SEED", default_value_t = 1, value_parser = values::whole(0..=1_000_000_000_u64))]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl ClusterOptions {
    /// The cluster that the options describe.
    ///
    /// # Errors
    /// Those of [`Results::read`].
    pub fn cluster(&self) -> Result<Cluster, CapacityError> {
        let mean = |minutes: u32| (minutes > 0).then_some(f64::from(minutes) * 60.0);
        let part = |of_1000: u32| f64::from(of_1000) / 1000.0;
        let ms = |ms: u32| f64::from(ms) / 1000.0;
        Ok(Cluster {
            results: Results::read(&self.results)?,
            speed: f64::from(self.speed) / 100.0,
            load: ms(self.load_ms),
            resident_keys: self.resident_keys,
            mtbf: mean(self.crash_minutes),
            reclaimed_after: mean(self.reclaim_minutes),
            faults: Faults {
                transient: part(self.failures),
                invalid: 0.0,
                stragglers: part(self.stragglers),
            },
            delays: Delays {
                request: ms(self.request_ms),
                flush: ms(self.flush_ms),
                lease: f64::from(self.lease_seconds),
                replace: f64::from(self.replace_seconds),
                submission: f64::from(self.submission_seconds),
                ..Delays::default()
            },
            dollars_per_hour: f64::from(self.price) / 100.0,
            seed: self.seed,
        })
    }
}

impl PlanOptions {
    /// The traffic of one of the rates.
    ///
    /// # Errors
    /// [`CapacityError::Impossible`].
    pub fn traffic(&self, rate: u32) -> Result<Traffic, CapacityError> {
        if self.slot_seconds > self.epoch_seconds {
            let reason = format!(
                "--slot-seconds is {} and --epoch-seconds {}; an epoch has at least one slot",
                self.slot_seconds, self.epoch_seconds
            );
            return Err(CapacityError::Impossible { reason });
        }
        Ok(Traffic {
            rate: f64::from(rate),
            epoch_seconds: f64::from(self.epoch_seconds),
            slot_seconds: f64::from(self.slot_seconds),
            txs_per_block: self.cluster.txs_per_block,
            prove_within: f64::from(self.prove_within),
            epochs: self.epochs,
        })
    }
}
