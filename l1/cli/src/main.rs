//! The program `rollmill-l1`: what an account on L1 does with the contracts of a deployment, and with those of
//! governance.
//!
//! Exit codes of commands that send: 0 the transaction is in a block on L1; 1 nothing was sent, or it reverted; 3 it
//! was sent, or may have been, and is in no block yet. After any of them the command can be run again: a journal makes
//! it continue with a transaction whose result it has not shown, instead of sending a second one.

mod answer;
mod args;
mod bridge;
mod context;
mod deploy;
mod deployment;
mod error;
mod governance;
mod money;
mod reported;
mod stake;

use std::process::ExitCode;

use rollmill_deployment::DeployError;
use rollmill_l1::L1Error;
use rollmill_service::{Outcome, Process, Service};

use args::{Commands, Config};
use context::Context;
use error::CliError;

fn main() -> ExitCode {
    Service::new(env!("CARGO_BIN_NAME"))
        .about("Deploy and use the contracts on L1: bridge, bonds, rewards, stakes and governance")
        .usage(CliError::is_usage)
        .usage(L1Error::is_usage)
        .usage(DeployError::is_usage)
        .exit_codes(
            "3 a transaction was sent, or may have been, and is in no L1 block yet: run the command again, which \
             continues with it",
        )
        .run_commands(run)
}

async fn run(process: Process<Config>, command: Option<Commands>) -> Outcome {
    // The command line requires a subcommand.
    let Some(command) = command else { return Ok(()) };
    if let Commands::Deploy(deploy) = &command
        && deploy.sample
    {
        return deploy::sample();
    }
    let mut context = Context::connect(&process).await?;
    let context = &mut context;
    match command {
        Commands::Deploy(deploy) => deploy::run(context, &deploy).await,
        Commands::Deployment => deployment::show(context).await,
        Commands::Deposit(deposit) => bridge::deposit(context, &deposit).await,
        Commands::Withdraw { file } => bridge::withdraw(context, &file).await,
        Commands::Bond(bond) => money::bond(context, bond).await,
        Commands::Rewards(rewards) => money::rewards(context, rewards).await,
        Commands::Settle { epoch } => money::settle(context, epoch).await,
        Commands::Prune => money::prune(context).await,
        Commands::Stake(stake) => stake::run(context, stake).await,
        Commands::Seed => stake::seed(context).await,
        Commands::Delegate { to } => governance::delegate(context, to).await,
        Commands::Proposals { id, newest } => governance::list(context, id, newest).await,
        Commands::Propose(propose) => governance::propose(context, &propose.action).await,
        Commands::Vote { id, vote } => governance::vote(context, id, vote).await,
        Commands::Queue { id } => governance::queue(context, id).await,
        Commands::Execute { id } => governance::execute(context, id).await,
    }
}
