//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Brings up the whole network on this machine, sends private transfers through it, and ends when
/// the epochs are proven on L1.
///
/// Everything runs as processes of its own: anvil as L1, the broker with a private PostgreSQL,
/// agents, sequencer, prover node. Nothing stays behind, however devnet ends.
#[derive(Debug, Clone, Parser)]
#[command(name = "devnet", version)]
pub struct Options {
    /// Epochs to prove before ending.
    #[arg(long, allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub epochs: u32,

    /// Blocks in each epoch.
    #[arg(long, allow_negative_numbers = true, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub blocks: u32,

    /// Private transfers in each block.
    #[arg(long, allow_negative_numbers = true, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub txs: u32,

    /// Proving agents.
    #[arg(long, allow_negative_numbers = true, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub agents: u32,

    /// Stay up after the epochs are proven, until Ctrl-C.
    #[arg(long)]
    pub keep_running: bool,

    /// Offer wrong values to the system and require that each is refused.
    #[arg(long, value_enum, value_name = "KIND")]
    pub tamper: Option<Tamper>,

    /// Kill an agent in mid-proof, then kill and restart the broker; print the seconds until the
    /// work went on.
    #[arg(long)]
    pub kill: bool,

    /// Send transfers for this many minutes while L1 is reorganised and processes are killed and
    /// frozen at moments that --seed decides; then require that everything is proven and that a
    /// fresh node arrives at the same chain. Takes the place of --epochs.
    #[arg(long, allow_negative_numbers = true, value_name = "MINUTES", conflicts_with_all = ["tamper", "kill", "epochs"], value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub chaos: Option<u64>,

    /// Run two prover nodes of one account, kill the one that submits at each of its steps, and require
    /// that the other submits within one lease. Takes the place of --epochs.
    #[arg(long, conflicts_with_all = ["tamper", "kill", "epochs", "chaos", "prover_nodes"])]
    pub failover: bool,

    /// Prover nodes of one account. One of them submits; another takes over when it dies.
    #[arg(long, allow_negative_numbers = true, default_value_t = 1, default_value_if("failover", "true", "2"), value_parser = clap::value_parser!(u32).range(1..=4))]
    pub prover_nodes: u32,

    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Seed of the accounts' keys and amounts. The same seed makes the same transfers.
    #[arg(long, allow_negative_numbers = true, default_value_t = 1)]
    pub seed: u64,

    /// Keep data and logs in this new or empty folder instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Give up when the epochs are not proven after this long, at most a week.
    #[arg(long, allow_negative_numbers = true, default_value_t = 120, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub timeout_minutes: u64,
}

impl Options {
    /// Transfers in all.
    pub fn transfers(&self) -> u64 {
        u64::from(self.epochs) * u64::from(self.blocks) * u64::from(self.txs)
    }

    /// When to give up.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_minutes.saturating_mul(60))
    }
}

/// What `--tamper` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tamper {
    /// Each of the kinds below.
    All,
    /// Every public input of the root proof, one at a time, sent to L1.
    PublicInputs,
    /// Every element of the root proof, one at a time, sent to L1.
    Proof,
    /// A client proof made under another key.
    ClientKey,
    /// The children of a job swapped.
    SwappedChildren,
    /// A transaction that spends a spent note.
    SpentNote,
    /// A transaction whose nullifier is in the tree already.
    ReplayedNullifier,
    /// A transaction that states another fee than its proof.
    ForgedFee,
}

impl Tamper {
    /// Whether `kind` is asked for by this value.
    pub fn includes(self, kind: Self) -> bool {
        self == Self::All || self == kind
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_flags_one_epoch_of_two_blocks_with_two_transfers_is_proven() {
        let options = Options::try_parse_from(["devnet"]).unwrap();
        assert_eq!((options.epochs, options.blocks, options.txs, options.agents), (1, 2, 2, 2));
        assert_eq!(options.transfers(), 4);
    }

    #[test]
    fn counts_that_make_no_network_are_refused() {
        for flags in [
            ["--epochs", "0"],
            ["--blocks", "33"],
            ["--agents", "0"],
            ["--tamper", "x"],
            ["--timeout-minutes", "0"],
        ] {
            let refused = Options::try_parse_from(["devnet"].into_iter().chain(flags));
            let error = refused.unwrap_err().to_string();
            assert!(!error.contains("1..18446744073709551615"), "{flags:?}: {error}");
            assert!(!error.contains("unexpected argument"), "{flags:?}: {error}");
        }
    }
}
