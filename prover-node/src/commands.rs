//! The subcommands. Those of ranges work beside a running prover node: a change is written as a command
//! file, which the node executes in its next turn.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use rollmill_circuits::keyset::KeySet;
use rollmill_service::{Outcome, values};

use crate::capture::{Capture, CaptureError, Finding, replay as replay_jobs};
use crate::ranges::store::{RowStore, StoreError};
use crate::ranges::{Command as Order, Row};

/// The subcommands of a prover node.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Export the keys that verify client proofs, for nodes and wallets
    Keys {
        /// File to write
        #[arg(value_name = "FILE")]
        out: PathBuf,
    },
    /// List, show, retry or abandon ranges of blocks
    #[command(subcommand)]
    Ranges(RangesCommand),
    /// Find the job at fault in the capture of a failed range
    Replay {
        /// Capture file, from the directory `captures` in `node.data_dir`
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl rollmill_service::Commands for Commands {
    const USES: &'static [(&'static str, &'static [&'static str])] =
        &[("keys", &["keys_dir"]), ("ranges", &["node.data_dir"]), ("replay", &["keys_dir"])];
}

/// `rollmill-prover-node ranges …`.
#[derive(Debug, Subcommand)]
pub enum RangesCommand {
    /// Print a line for each range, newest last
    List,
    /// Print one range with its history as JSON
    Show {
        /// Number of the range, as `rollmill-prover-node ranges list` prints it
        #[arg(value_name = "RANGE", value_parser = values::whole(0..=u64::from(u32::MAX)))]
        id: u64,
    },
    /// Resume a range that waits for an operator
    Retry {
        /// Number of the range, as `rollmill-prover-node ranges list` prints it
        #[arg(value_name = "RANGE", value_parser = values::whole(0..=u64::from(u32::MAX)))]
        id: u64,
    },
    /// Abandon a range; a transaction that is already sent may still be included
    Abandon {
        /// Number of the range, as `rollmill-prover-node ranges list` prints it
        #[arg(value_name = "RANGE", value_parser = values::whole(0..=u64::from(u32::MAX)))]
        id: u64,
    },
}

/// Runs `rollmill-prover-node ranges …` on the rows in `folder`.
pub fn run_ranges(folder: &Path, command: &RangesCommand) -> Outcome {
    let store = RowStore::existing(folder)?;
    match *command {
        RangesCommand::Show { id } => {
            let (rows, _) = store.read()?;
            let row =
                rows.into_iter().find(|row| row.id == id).ok_or(StoreError::Unknown { id })?;
            println!("{}", serde_json::to_string_pretty(&row)?);
        }
        RangesCommand::Retry { id } => {
            store.put_command(id, Order::Retry)?;
            println!("range {id} is retried with the prover node's next turn");
        }
        RangesCommand::Abandon { id } => {
            store.put_command(id, Order::Abandon)?;
            println!("range {id} ends with the prover node's next turn");
        }
        RangesCommand::List => {
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

/// Runs `rollmill-prover-node replay FILE`.
pub fn run_replay(keys: &KeySet, file: &Path) -> Outcome {
    let capture = Capture::read(file)?;
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
