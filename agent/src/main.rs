//! The proving agent's process. See the library for what it does.

use std::process::ExitCode;

use clap::Command;
use rollmill_agent::{Agent, Config, prover};
use rollmill_service::{Process, Service};

fn main() -> ExitCode {
    Service::new("agent")
        .about("Leases proof jobs from a broker and proves them")
        .subcommand(Command::new("keys").about("Make the keys of all circuits, or find them made"))
        .run(|process: Process<Config>| async move {
            if process.command().is_some() {
                let config = process.config.clone();
                let set = tokio::task::spawn_blocking(move || prover::make(&config)).await??;
                println!("{}", rollmill_circuits::version_name(&set));
                return Ok(());
            }
            let config = process.config.clone();
            let opened = tokio::task::spawn_blocking(move || prover::open(&config)).await??;
            let (device, why, fell_back) = (opened.device, opened.why, opened.fell_back);
            process.board.show(
                "device",
                move || serde_json::json!({ "name": device, "why": why, "fell_back": fell_back }),
            );
            let agent = Agent::new(&process, opened.worker)?;
            // Ready only now: a process that cannot prove must not look healthy.
            process.ready();
            agent.serve(&process.shutdown).await?;
            Ok(())
        })
}
