//! Deploys a rollup's contracts on L1, from a file of facts to the file that every process starts with.
//!
//! 1. [`Facts`] are what the deployer decides: periods, committee, bonds, rates, governance, accounts of genesis.
//! 2. A [`Plan`] has every transaction and every address before any of them exists. Each transaction takes the account's
//!    next nonce, so that contracts can name one another without setters.
//! 3. [`deploy`] tries the whole plan on L1's state, sends what the [`Journal`] does not have yet, reads everything
//!    back, and writes the files. A run that was killed is continued by the next one.
//!
//! Errors are [`DeployError`], with codes `DEP-…`.

mod error;
mod facts;
mod file;
mod journal;
mod plan;
mod roots;
mod run;
mod verify;

pub use error::DeployError;
pub use facts::{
    Account, Amount, Blocks, Bond, Committee, ContractBalance, EthAccount, Existing, Facts, Funds,
    Governance, L2Account, L2Contract, Rates, SAMPLE, Schedule, Token, Vote,
};
pub use file::{Contracts, DEPLOYMENT_FILE, DeploymentFile, GENESIS_FILE};
pub use journal::{JOURNAL_FILE, Journal};
pub use plan::{Addresses, Plan, Step};
pub use roots::{Root, Roots, client_keys};
pub use run::{Deployed, Event, Simulated, deploy, require_chain, simulate};
