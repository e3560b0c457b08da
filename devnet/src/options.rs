//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use rollmill_pxe::keys::Address;
use rollmill_service::values;

use crate::economics::EconomicsOptions;
use crate::upgrade::UpgradeOptions;
use crate::{bridge, contracts};

/// Run the whole network on this machine and prove epochs on a local L1
///
/// It starts anvil as L1, the broker with a private PostgreSQL, agents, a sequencer and a prover node as
/// processes of their own. It sends private transfers and stops when L1 has accepted the proofs of the epochs.
/// With four transactions or more in an epoch, one of the first is the claim of a deposit and one a withdrawal,
/// and L1 pays the withdrawal, the fees and the proofs.
/// However it ends, no process stays behind.
#[derive(Debug, Clone, Parser)]
#[command(name = "rollmill-devnet", version, args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Epochs to prove
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(1..=1000_u32))]
    #[arg(allow_negative_numbers = true, help_heading = "Network")]
    pub epochs: u32,

    /// Blocks per epoch
    #[arg(long, value_name = "BLOCKS", default_value_t = 2, value_parser = values::whole(1..=32_u32))]
    #[arg(allow_negative_numbers = true, help_heading = "Network")]
    pub blocks: u32,

    /// Private transfers per block
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = values::whole(1..=32_u32))]
    #[arg(allow_negative_numbers = true, help_heading = "Network")]
    pub txs: u32,

    /// Private transfers of a token of a contract in the first epoch, whose fees a sponsor pays
    ///
    /// Accounts are Noir contracts then, and a private mint comes first. They need what deposit and withdrawal need:
    /// four transactions in an epoch and no faults.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(0..=16_u32))]
    #[arg(allow_negative_numbers = true, help_heading = "Network")]
    pub token_transfers: u32,

    /// Proving agents
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = values::whole(1..=64_u32))]
    #[arg(allow_negative_numbers = true, help_heading = "Network")]
    pub agents: u32,

    /// Members of the committee, each with a sequencer and a node of its own
    ///
    /// With several, every block needs the signatures of more than two thirds of them, and each verifies the client
    /// proofs before it signs. Slots are then longer.
    #[arg(long, value_name = "N", default_value_t = 1, default_value_if("terminate", "true", "2"))]
    #[arg(value_parser = values::whole(1..=7_u32), allow_negative_numbers = true)]
    #[arg(help_heading = "Network")]
    pub committee: u32,

    /// Prover nodes of one account; one submits, another takes over if it fails
    #[arg(long, value_name = "N", default_value_t = 1, default_value_if("failover", "true", "2"))]
    #[arg(value_parser = values::whole(1..=4_u32), allow_negative_numbers = true)]
    #[arg(help_heading = "Network")]
    pub prover_nodes: u32,

    /// Seed of the keys and amounts; the same seed makes the same transfers
    #[arg(long, value_name = "SEED", default_value_t = 1, allow_negative_numbers = true)]
    #[arg(value_parser = values::whole(0..=u64::MAX), help_heading = "Network")]
    pub seed: u64,

    /// Another account of L2, rollmill1…, with notes and a public balance at genesis; repeatable [default: none]
    ///
    /// With --keep-running its owner can use the network afterwards, for example with `rollmill-pxe serve`.
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub fund: Vec<Address>,

    /// Time after an epoch's end in which its proof keeps the bond [default: as long as the epochs allow]
    ///
    /// A short one lets the alert about an epoch at risk fire on a network that is otherwise well.
    #[arg(long, value_name = "SECONDS", value_parser = values::whole(60..=86_400_u32))]
    #[arg(conflicts_with = "chaos", allow_negative_numbers = true, help_heading = "Network")]
    pub proof_window_seconds: Option<u32>,

    /// Offer invalid values to the system and require that each is rejected [default: none]
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Faults")]
    pub tamper: Option<Tamper>,

    /// Kill an agent during a proof, then kill and restart the broker
    ///
    /// Prints the time until work continued. With a committee of 4 or more and at least two blocks, one of its members is
    /// killed too, once a block has its signature, and the next blocks must be proposed without it.
    #[arg(long, help_heading = "Faults")]
    pub kill: bool,

    /// Send transfers under random faults for this long, instead of --epochs [default: none]
    ///
    /// L1 is reorganised and processes are killed, frozen and terminated at moments that --seed decides. Afterwards
    /// everything must be proven, and a fresh node must arrive at the same chain.
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["tamper", "kill", "epochs"])]
    #[arg(value_parser = values::whole(1..=1440_u64), allow_negative_numbers = true)]
    #[arg(help_heading = "Faults")]
    pub chaos: Option<u64>,

    /// Kill the submitting one of two prover nodes at each of its steps, instead of --epochs
    ///
    /// Requires that the other one submits within one lease.
    #[arg(long, conflicts_with_all = ["tamper", "kill", "epochs", "chaos", "prover_nodes"])]
    #[arg(help_heading = "Faults")]
    pub failover: bool,

    /// Send SIGTERM to each process while an epoch is being proven, instead of --epochs
    ///
    /// One after the other: an agent, the broker, the prover node, and the sequencers of a committee of two, which
    /// have the nodes and validators. Each must exit with 0 within its grace period and lose nothing that it holds.
    /// It is started again, and the epoch must become final on L1.
    #[arg(long, help_heading = "Faults")]
    #[arg(conflicts_with_all = ["tamper", "kill", "epochs", "chaos", "failover", "prover_nodes"])]
    pub terminate: bool,

    /// Keep running after the epochs are proven, until Ctrl-C
    #[arg(long, help_heading = "Run")]
    pub keep_running: bool,

    /// Fail if the epochs are not proven after this time
    #[arg(long, value_name = "MINUTES", default_value_t = 120, allow_negative_numbers = true)]
    #[arg(value_parser = values::whole(1..=10_080_u64), help_heading = "Run")]
    pub timeout_minutes: u64,

    /// Keep data and logs in this new or empty directory [default: a temporary one]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub dir: Option<PathBuf>,

    /// Write the report as JSON to this file [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub json: Option<PathBuf>,
}

impl Options {
    /// Parses the command line of the process, or returns a help text to print.
    ///
    /// # Errors
    /// What is wrong with the command line; the exit code is 2.
    pub fn of_command_line() -> Result<Result<Self, String>, rollmill_service::Error> {
        rollmill_service::command_line(std::env::args_os())
    }

    /// Transfers in all.
    pub fn transfers(&self) -> u64 {
        u64::from(self.epochs) * u64::from(self.blocks) * u64::from(self.txs)
    }

    /// Whether the run shows deposit, withdrawal and payments: the first epoch has transactions for them, and nothing
    /// disturbs it.
    pub fn has_bridge(&self) -> bool {
        let is_plain = self.tamper.is_none() && self.chaos.is_none();
        is_plain && !self.failover && !self.terminate && self.blocks * self.txs >= 4
    }

    /// Transfers of the token that the run makes.
    pub fn tokens_sent(&self) -> u32 {
        if self.has_bridge() && !self.kill { self.token_transfers } else { 0 }
    }

    /// Blocks for which an epoch has slots: a transfer of a token is proven while the epoch runs.
    pub fn epoch_blocks(&self) -> u32 {
        self.blocks + contracts::BLOCKS_PER_TRANSFER * self.tokens_sent()
    }

    /// Whether the run kills a member of the committee: the others still are a quorum, and there are blocks before and
    /// after.
    pub fn kills_member(&self) -> bool {
        self.kill && self.committee >= 4 && self.epochs.saturating_mul(self.first_blocks()) >= 2
    }

    /// Blocks of the first epoch.
    pub fn first_blocks(&self) -> u32 {
        let extra = if self.has_bridge() { bridge::EXTRA_BLOCKS } else { 0 };
        // Each transfer of a token waits for the block of what it spends.
        self.blocks + extra + self.tokens_sent()
    }

    /// The deadline of the run.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_minutes.saturating_mul(60))
    }
}

/// What devnet does instead of running the network.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show on a local L1 who is paid what, and that nobody is paid anything else
    ///
    /// Each scenario deploys the contracts on an anvil of its own and sends them real transactions. It prints what
    /// happened, every payment and where every token is, and fails unless the payments are those that the formulas
    /// give. Epoch proofs are stand-ins. Example: rollmill-devnet economics --scenario challenge
    Economics(EconomicsOptions),
    /// Run two deployments on one broker and its agents, and let governance move the network from one to the other
    ///
    /// It starts alpha, to which a user deposits, then beta beside it, which a vote adds, funds and makes canonical. The
    /// user withdraws from alpha, deposits to beta and claims there. L1 accepts epoch proofs of both while both run,
    /// and what was made for alpha is rejected by beta. All programs, proofs and transactions are real; the votes take
    /// seconds.
    Upgrade(UpgradeOptions),
}

/// What `--tamper` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tamper {
    /// Each of the kinds below
    All,
    /// Each public input of the root proof, sent to L1
    PublicInputs,
    /// Each element of the root proof, sent to L1
    Proof,
    /// A client proof under another key
    ClientKey,
    /// Swapped children of a job
    SwappedChildren,
    /// A transaction that spends a spent note
    SpentNote,
    /// A transaction whose nullifier is already in the tree
    ReplayedNullifier,
    /// A transaction with another fee than its proof
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
        let options = Options::try_parse_from(["rollmill-devnet"]).unwrap();
        assert_eq!((options.committee, options.kills_member()), (1, false));
        assert_eq!((options.epochs, options.blocks, options.txs, options.agents), (1, 2, 2, 2));
        assert_eq!(options.transfers(), 4);
        assert!(options.has_bridge());
        assert_eq!((options.tokens_sent(), options.first_blocks()), (1, 4));
        assert!(options.epoch_blocks() > options.blocks);
        for flags in [
            &["--blocks", "1"][..],
            &["--tamper", "all"],
            &["--chaos", "1"],
            &["--failover"],
            &["--terminate"],
        ] {
            let options = Options::try_parse_from([&["rollmill-devnet"], flags].concat()).unwrap();
            assert!(!options.has_bridge(), "{flags:?}");
            assert_eq!((options.tokens_sent(), options.first_blocks()), (0, options.blocks));
            assert_eq!(options.epoch_blocks(), options.blocks);
        }
    }

    #[test]
    fn transfers_of_a_token_can_be_left_out() {
        let parse = |flags: &[&str]| {
            Options::try_parse_from(["rollmill-devnet"].iter().chain(flags)).unwrap()
        };
        let without = parse(&["--token-transfers", "0"]);
        assert_eq!((without.tokens_sent(), without.first_blocks()), (0, 3));
        assert_eq!(parse(&["--token-transfers", "2"]).first_blocks(), 5);
        assert_eq!(parse(&["--kill"]).tokens_sent(), 0);
    }

    #[test]
    fn a_member_is_killed_only_between_two_blocks_of_a_quorum() {
        let kills = |flags: &str| {
            let flags = flags.split_whitespace();
            Options::try_parse_from(["rollmill-devnet"].into_iter().chain(flags))
                .unwrap()
                .kills_member()
        };
        assert!(kills("--kill --committee 4"));
        assert!(kills("--kill --committee 4 --blocks 1 --txs 1 --epochs 2"));
        assert!(!kills("--kill --committee 4 --blocks 1 --txs 1"));
        assert!(!kills("--kill --committee 3"));
        assert!(!kills("--committee 4"));
    }

    #[test]
    fn processes_are_terminated_in_a_network_with_a_validator() {
        let parse = |flags: &[&str]| {
            Options::try_parse_from(["rollmill-devnet", "--terminate"].iter().chain(flags))
        };
        let options = parse(&[]).unwrap();
        assert_eq!((options.committee, options.prover_nodes), (2, 1));
        assert_eq!(parse(&["--committee", "3"]).unwrap().committee, 3);
        for flags in [&["--kill"][..], &["--failover"], &["--chaos", "1"], &["--epochs", "2"]] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn economics_wants_a_scenario_and_takes_several() {
        let parse = |flags: &[&str]| {
            Options::try_parse_from(["rollmill-devnet", "economics"].iter().chain(flags))
        };
        let options = parse(&["--scenario", "honest", "--scenario", "lost-bond"]).unwrap();
        let Some(Command::Economics(chosen)) = options.command else { panic!("{options:?}") };
        assert_eq!(chosen.scenario.len(), 2);
        for flags in [&[][..], &["--scenario", "luck"], &["--epochs", "1"]] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
        let mixed = ["rollmill-devnet", "--kill", "economics", "--scenario", "all"];
        assert!(Options::try_parse_from(mixed).is_err());
    }

    #[test]
    fn counts_that_make_no_network_are_rejected() {
        for flags in [
            ["--epochs", "0"],
            ["--blocks", "33"],
            ["--agents", "0"],
            ["--committee", "0"],
            ["--committee", "8"],
            ["--tamper", "x"],
            ["--timeout-minutes", "0"],
            ["--proof-window-seconds", "59"],
        ] {
            let rejected = Options::try_parse_from(["rollmill-devnet"].into_iter().chain(flags));
            let error = rejected.unwrap_err().to_string();
            assert!(!error.contains("1..18446744073709551615"), "{flags:?}: {error}");
            assert!(!error.contains("unexpected argument"), "{flags:?}: {error}");
        }
    }
}
