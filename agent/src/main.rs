//! The proving agent's process. See the library for what it does.

use std::process::ExitCode;

use clap::Subcommand;
use rollmill_agent::prover::CheckedSrs;
use rollmill_agent::{Agent, Config, accelerator, card, preflight, prover, session, srs};
use rollmill_broker_client::ClientError;
use rollmill_service::{Outcome, Process, Service};

#[derive(Debug, Subcommand)]
enum Commands {
    /// Generate the proving and verifying keys of all circuits, reusing cached ones
    Keys,
    /// List the devices that --device can name
    Devices {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Generate, import, check or export the structured reference string (SRS)
    #[command(subcommand)]
    Srs(srs::SrsCommand),
}

impl rollmill_service::Commands for Commands {
    const USES: &'static [(&'static str, &'static [&'static str])] =
        &[("keys", &["keys_dir", "threads"]), ("devices", &["device", "cuda_image", "icicle_dir"])];
}

fn main() -> ExitCode {
    rollmill_algebra::cpu::map_large_arrays();
    let checked = CheckedSrs::default();
    let by_check = checked.clone();
    Service::new(env!("CARGO_BIN_NAME"))
        .about("Lease proof jobs from a broker and prove them")
        .usage(ClientError::is_usage)
        .run_checked(
            move |config| preflight::checks(config, &by_check),
            |process, command| run(process, command, checked),
        )
}

async fn run(process: Process<Config>, command: Option<Commands>, checked: CheckedSrs) -> Outcome {
    let config = process.config.clone();
    match command {
        None => serve(process, checked).await,
        Some(Commands::Devices { json }) => {
            let found = tokio::task::spawn_blocking(move || accelerator::list(&config)).await?;
            if json {
                let listed = found
                    .iter()
                    .map(|(name, what)| serde_json::json!({ "device": name, "description": what }));
                println!("{}", serde_json::Value::from_iter(listed));
                return Ok(());
            }
            for (name, what) in found {
                println!("{name}\t{what}");
            }
            Ok(())
        }
        Some(Commands::Srs(command)) => {
            print!("{}", tokio::task::spawn_blocking(move || srs::run(&command)).await??);
            Ok(())
        }
        Some(Commands::Keys) => make_keys(config).await,
    }
}

/// `rollmill-agent keys`.
async fn make_keys(config: Config) -> Outcome {
    let set = tokio::task::spawn_blocking(move || prover::make(&config)).await??;
    println!("{}", rollmill_circuits::version_name(&set));
    let expected = rollmill_circuits::registry::require_expected_root(&set)?;
    let root = rollmill_circuits::registry::root_text(&set);
    match expected {
        true => tracing::info!(root, "key root verified"),
        false => {
            tracing::warn!(root, "key root unknown for this SRS; compare it with other machines")
        }
    }
    Ok(())
}

async fn serve(process: Process<Config>, checked: CheckedSrs) -> Outcome {
    let config = process.config.clone();
    process.conditions.expect(&["device", "broker"]);
    let opened = tokio::task::spawn_blocking(move || prover::open(&config, &checked)).await??;
    process.conditions.set("device", Ok(()));
    let (device, why, fell_back) = (opened.device, opened.why, opened.fell_back);
    process.status_page.show(
        "device",
        move || serde_json::json!({ "name": device, "why": why, "fell_back": fell_back }),
    );
    if let Some(uuid) = opened.uuid {
        card::export(&process.metrics, &uuid)?;
    }
    let installation = session::installation(process.config.installation_file.as_deref());
    let agent = Agent::new(&process, opened.worker)?.installed(installation);
    agent.follow_token();
    agent.follow_reclaims();
    // Ready only now: a process that cannot prove must not appear healthy.
    process.ready();
    agent.serve(&process.shutdown).await?;
    Ok(())
}
