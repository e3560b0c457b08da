//! The subcommands that look at ranges on disk. They work beside a running prover node: what they change
//! is left as a command file, which the node obeys with its next turn.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use rollmill_circuits::keyset::KeySet;
use rollmill_service::Outcome;

use crate::capture::{Capture, CaptureError, Finding, replay as replay_jobs};
use crate::ranges::store::{RowStore, StoreError};
use crate::ranges::{Command as Order, Row};

/// `prover-node ranges …`.
pub fn ranges() -> Command {
    let id = || {
        Arg::new("id")
            .required(true)
            .value_name("ID")
            .value_parser(clap::value_parser!(u64))
            .help("Number of the range, as `ranges list` shows it")
    };
    Command::new("ranges")
        .about("List, show, retry or abandon ranges of blocks")
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Print a line for each range, newest last"))
        .subcommand(
            Command::new("show").about("Print one range with its history as JSON").arg(id()),
        )
        .subcommand(
            Command::new("retry").about("Resume a range that was parked for an operator").arg(id()),
        )
        .subcommand(
            Command::new("abandon").about("End a range without a proof of this node, for good; a transaction that is on its way may still land").arg(id()),
        )
}

/// `prover-node replay`.
pub fn replay() -> Command {
    Command::new("replay").about("Find the job at fault in the capture of a failed range").arg(
        Arg::new("file").required(true).value_name("FILE").help("Capture, from data_dir/captures"),
    )
}

/// Runs `prover-node ranges …` on the rows in `folder`.
pub fn run_ranges(folder: &Path, arguments: &ArgMatches) -> Outcome {
    let store = RowStore::existing(folder)?;
    let id = |arguments: &ArgMatches| arguments.get_one::<u64>("id").copied().unwrap_or_default();
    match arguments.subcommand() {
        Some(("show", arguments)) => {
            let id = id(arguments);
            let (rows, _) = store.read()?;
            let row =
                rows.into_iter().find(|row| row.id == id).ok_or(StoreError::Unknown { id })?;
            println!("{}", serde_json::to_string_pretty(&row)?);
        }
        Some(("retry", arguments)) => {
            store.put_command(id(arguments), Order::Retry)?;
            println!("range {} is retried with the prover node's next turn", id(arguments));
        }
        Some(("abandon", arguments)) => {
            store.put_command(id(arguments), Order::Abandon)?;
            println!("range {} ends with the prover node's next turn", id(arguments));
        }
        _ => {
            let (rows, damaged) = store.read()?;
            println!(
                "{:>6} {:>8} {:>17} {:<16} {:>8} since L1 block",
                "id", "epoch", "blocks", "state", "attempt"
            );
            rows.iter().for_each(|row| println!("{}", line(row)));
            for (path, reason) in damaged {
                println!("damaged: {}: {reason}", path.display());
            }
        }
    }
    Ok(())
}

fn line(row: &Row) -> String {
    let blocks = format!("{}-{}", row.first(), row.last());
    let since = row.log.last().map_or_else(|| "-".to_owned(), |entry| entry.l1_block.to_string());
    let (state, attempt) = (row.state.as_str(), row.attempt);
    format!("{:>6} {:>8} {blocks:>17} {state:<16} {attempt:>8} {since}", row.id, row.epoch)
}

/// Runs `prover-node replay FILE`.
pub fn run_replay(keys: &KeySet, arguments: &ArgMatches) -> Outcome {
    let path = arguments.get_one::<String>("file").map(PathBuf::from).unwrap_or_default();
    let capture = Capture::read(&path)?;
    println!(
        "range {} of epoch {}, blocks {} to {}: {}",
        capture.row.id,
        capture.row.epoch,
        capture.row.first(),
        capture.row.last(),
        capture.reason
    );
    let expected = rollmill_circuits::version_name(keys);
    if capture.version != expected {
        println!("captured with circuits {}, replayed with {expected}", capture.version);
    }
    let findings = replay_jobs(keys, &capture);
    let (mut fails, total) = (0, findings.len());
    for (job, finding) in capture.jobs.iter().zip(&findings) {
        match finding {
            Finding::Holds => {}
            Finding::Provable => println!(
                "job {} ({}): no result; its input satisfies the circuit; at the broker: {}",
                job.index, job.circuit, job.state
            ),
            Finding::Fails(why) => {
                fails += 1;
                println!(
                    "job {} ({}): {why}; at the broker: {}",
                    job.index, job.circuit, job.state
                );
            }
        }
    }
    if let Some(why) = &capture.incomplete {
        println!("the capture ends early: {why}");
    }
    println!("{} of {total} jobs hold", total - fails);
    match fails {
        0 => Ok(()),
        count => Err(CaptureError::Fails { count, total }.into()),
    }
}
