//! The program `rollmill-bench`. See the library for what it measures.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use rollmill_agent::{Config, accelerator};
use rollmill_bench::{BenchError, Plan};
use rollmill_service::{Outcome, Process, Service};

fn main() -> ExitCode {
    rollmill_algebra::cpu::map_large_arrays();
    // The agent's settings, so that what is measured is what an agent would prove on.
    Service::tool("rollmill-bench", "agent")
        .about("Measure what this machine is worth as a prover, with the settings of an agent")
        .usage(BenchError::is_usage)
        .subcommand(rollmill_bench::command())
        .subcommand(rollmill_bench::compare_command())
        .subcommand(Command::new("devices").about("List the devices that --device can name"))
        .run(|process: Process<Config>| async move {
            let config = process.config.clone();
            match process.command() {
                Some(("compare", matches)) => {
                    print!("{}", rollmill_bench::compare(matches)?);
                    Ok(())
                }
                Some(("devices", _)) => {
                    let listed = tokio::task::spawn_blocking(move || accelerator::list(&config));
                    for (name, what) in listed.await? {
                        println!("{name}\t{what}");
                    }
                    Ok(())
                }
                Some((_, matches)) => measure(config, matches).await,
                // The command line asks for one of them.
                None => Ok(()),
            }
        })
}

async fn measure(config: Config, matches: &ArgMatches) -> Outcome {
    let plan = Plan::of(matches)?;
    plan.require_writable()?;
    let (json, markdown) = (plan.json.clone(), plan.markdown.clone());
    let results =
        tokio::task::spawn_blocking(move || rollmill_bench::run(&config, &plan)).await??;
    let text = rollmill_bench::summary(&results);
    print!("{text}");
    if let Some(path) = json {
        results.write(&path)?;
    }
    if let Some(path) = markdown {
        std::fs::write(&path, text).map_err(|error| BenchError::Write {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}
