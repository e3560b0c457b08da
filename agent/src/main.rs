//! The proving agent's process. See the library for what it does.

use std::process::ExitCode;

use clap::Command;
use rollmill_agent::{Agent, Config, accelerator, card, preflight, prover, srs};
use rollmill_broker_client::ClientError;
use rollmill_service::{Process, Service};

fn main() -> ExitCode {
    rollmill_algebra::cpu::map_large_arrays();
    Service::new("agent")
        .about("Leases proof jobs from a broker and proves them")
        .usage(ClientError::is_usage)
        .subcommand(Command::new("keys").about("Make the keys of all circuits, or find them made"))
        .subcommand(Command::new("devices").about("List the devices that --device can name"))
        .subcommand(srs::command())
        .run_checked(preflight::checks, |process: Process<Config>| async move {
            let config = process.config.clone();
            if process.command().is_some_and(|(name, _)| name == "devices") {
                let found = tokio::task::spawn_blocking(move || accelerator::list(&config)).await?;
                for (name, what) in found {
                    println!("{name}\t{what}");
                }
                return Ok(());
            }
            if let Some(("srs", matches)) = process.command() {
                let matches = matches.clone();
                print!("{}", tokio::task::spawn_blocking(move || srs::run(&matches)).await??);
                return Ok(());
            }
            if process.command().is_some() {
                let set = tokio::task::spawn_blocking(move || prover::make(&config)).await??;
                println!("{}", rollmill_circuits::version_name(&set));
                let expected = rollmill_circuits::registry::require_expected_root(&set)?;
                let root = rollmill_circuits::registry::root_text(&set);
                match expected {
                    true => tracing::info!(root, "key root verified"),
                    false => tracing::warn!(
                        root,
                        "key root unknown for this SRS; compare it with other machines"
                    ),
                }
                return Ok(());
            }
            process.conditions.expect(&["device", "broker"]);
            let opened = tokio::task::spawn_blocking(move || prover::open(&config)).await??;
            process.conditions.set("device", Ok(()));
            let (device, why, fell_back) = (opened.device, opened.why, opened.fell_back);
            process.board.show(
                "device",
                move || serde_json::json!({ "name": device, "why": why, "fell_back": fell_back }),
            );
            if let Some(uuid) = opened.uuid {
                card::export(&process.metrics, &uuid)?;
            }
            let agent = Agent::new(&process, opened.worker)?;
            // Ready only now: a process that cannot prove must not appear healthy.
            process.ready();
            agent.serve(&process.shutdown).await?;
            Ok(())
        })
}
