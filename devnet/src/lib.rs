//! The whole network on one machine, as processes supervised by one: for the demo and for tests.
//!
//! The program `rollmill-devnet` brings up L1 (anvil), the contracts, the broker with its PostgreSQL,
//! agents, sequencer and prover node, lets accounts send private transfers to each other, and stops
//! when the requested number of epochs is proven on L1. This library contains its parts.

pub mod accounts;
pub mod bridge;
pub mod chaos;
pub mod contracts;
pub mod deployment;
pub mod economics;
pub mod endpoint;
mod error;
pub mod failover;
pub mod faults;
mod governance;
pub mod guard;
pub mod jobs;
pub mod keys;
mod network;
mod options;
mod ports;
mod process;
mod programs;
mod progress;
mod reorg;
mod report;
mod rundir;
pub mod scenario;
pub mod services;
pub mod tampering;
pub mod terminate;
mod tokens;
pub mod upgrade;

pub use error::Error;
pub use network::{ANVIL_CHAIN_ID, Network};
pub use options::{Command, Options, Tamper};
pub use ports::Ports;
pub use process::{Child, Exit, Launcher, Program, last_line};
pub use programs::{ANVIL_VARIABLE, Programs};
pub use progress::Progress;
pub use report::{
    BlockSignatures, EpochReport, JobReport, PaymentReport, PrivateCallReport, Recovery, Report,
    StepReport, TamperReport,
};
pub use rundir::RunDir;
