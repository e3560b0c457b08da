//! The proving agent's process. See the library for what it does.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use rollmill_agent::{Agent, Config, bench, card, preflight, prover, srs};
use rollmill_broker_client::ClientError;
use rollmill_service::{Outcome, Process, Service};

fn main() -> ExitCode {
    rollmill_algebra::cpu::map_large_arrays();
    Service::new("agent")
        .about("Leases proof jobs from a broker and proves them")
        .usage(ClientError::is_usage)
        .usage(bench::BenchError::is_usage)
        // It prints as the bench's own error does, and hides that one from the list of causes.
        .usage(prover::ProverError::is_usage)
        .subcommand(Command::new("keys").about("Make the keys of all circuits, or find them made"))
        .subcommand(Command::new("devices").about("List the devices that --device can name"))
        .subcommand(bench::command())
        .subcommand(srs::command())
        .run_checked(preflight::checks, |process: Process<Config>| async move {
            let config = process.config.clone();
            if process.command().is_some_and(|(name, _)| name == "devices") {
                let found = tokio::task::spawn_blocking(move || prover::list(&config)).await?;
                for (name, what) in found {
                    println!("{name}\t{what}");
                }
                return Ok(());
            }
            if let Some(("bench", matches)) = process.command() {
                return measure(config, matches).await;
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

/// `agent bench` and `agent bench compare`.
async fn measure(config: Config, matches: &ArgMatches) -> Outcome {
    if let Some(("compare", matches)) = matches.subcommand() {
        print!("{}", bench::compare(matches)?);
        return Ok(());
    }
    let plan = bench::Plan::of(matches)?;
    plan.require_writable()?;
    let files = (plan.json.clone(), plan.markdown.clone());
    let results = tokio::task::spawn_blocking(move || prover::bench(&config, &plan)).await??;
    let text = bench::summary(&results);
    print!("{text}");
    if let Some(path) = files.0 {
        results.write(&path)?;
    }
    if let Some(path) = files.1 {
        std::fs::write(&path, text).map_err(|error| bench::BenchError::Write {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}
