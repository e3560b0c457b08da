//! The program `rollmill-bench`. See the library for what it measures.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Command, FromArgMatches, Subcommand};
use rollmill_agent::{Config, accelerator};
use rollmill_bench::{BenchError, Plan};
use rollmill_service::{Outcome, Process, Service, Shutdown};

/// The settings that a measurement uses.
const USED: &[&str] = &[
    "device",
    "fallback",
    "threads",
    "cuda_image",
    "adapter_rows",
    "adapter_memory_mib",
    "icicle_dir",
    "keys_dir",
    "chain_id",
];

/// After a signal the operation in progress has this long to end. What was measured before is written already.
const STOP_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Commands {
    Run(ArgMatches),
    Compare(ArgMatches),
    Devices,
}

impl rollmill_service::Commands for Commands {
    const IS_REQUIRED: bool = true;
    const USES: &'static [(&'static str, &'static [&'static str])] =
        &[("run", USED), ("devices", &["device", "cuda_image", "icicle_dir"])];
}

impl FromArgMatches for Commands {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some(("run", arguments)) => Ok(Self::Run(arguments.clone())),
            Some(("compare", arguments)) => Ok(Self::Compare(arguments.clone())),
            Some(("devices", _)) => Ok(Self::Devices),
            _ => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Commands {
    fn augment_subcommands(command: Command) -> Command {
        let devices = Command::new("devices").about("List the devices that --device can name");
        command.subcommands([rollmill_bench::command(), rollmill_bench::compare_command(), devices])
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        ["run", "compare", "devices"].contains(&name)
    }
}

fn main() -> ExitCode {
    rollmill_algebra::cpu::map_large_arrays();
    // The agent's settings, so that what is measured is what an agent would prove on.
    Service::tool("rollmill-bench", "agent")
        .about("Measure how fast this machine proves, with the settings of an agent")
        .usage(BenchError::is_usage)
        .run_commands(|process: Process<Config>, command| async move {
            let config = process.config.clone();
            match command {
                Some(Commands::Run(matches)) => measure(config, &matches, process.shutdown).await,
                Some(Commands::Compare(matches)) => {
                    print!("{}", rollmill_bench::compare(&matches)?);
                    Ok(())
                }
                Some(Commands::Devices) => {
                    let listed = tokio::task::spawn_blocking(move || accelerator::list(&config));
                    for (name, what) in listed.await? {
                        println!("{name}\t{what}");
                    }
                    Ok(())
                }
                // The command line requires a subcommand.
                None => Ok(()),
            }
        })
}

async fn measure(config: Config, matches: &ArgMatches, shutdown: Shutdown) -> Outcome {
    let plan = Plan::of(matches)?;
    plan.require_writable()?;
    let (markdown, epoch) = (plan.markdown.clone(), plan.epoch);
    let asked = shutdown.clone();
    let running = tokio::task::spawn_blocking(move || {
        rollmill_bench::run(&config, &plan, &|| !asked.is_started())
    });
    let cut_off = async {
        shutdown.started().await;
        tokio::time::sleep(STOP_WAIT).await;
    };
    let results = tokio::select! {
        results = running => results??,
        () = cut_off => return Err(BenchError::Stopped.into()),
    };
    let mut text = rollmill_bench::summary(&results);
    if let Some(estimate) = epoch.and_then(|epoch| rollmill_bench::epoch::estimate(&results, epoch))
    {
        text += &format!("\n{estimate}");
    }
    print!("{text}");
    if let Some(path) = markdown {
        std::fs::write(&path, text).map_err(|error| BenchError::Write {
            path: path.display().to_string(),
            reason: rollmill_errors::InWords(&error).to_string(),
        })?;
    }
    Ok(())
}
