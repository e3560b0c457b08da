//! Why a command could not do what was asked.

use rollmill_errors::{Coded as _, Disposition};
use rollmill_l1::Azt;
use rollmill_l1::alloy::primitives::{Address, B256, U256};

/// Errors of the program, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    /// The command needs a setting that is not set.
    ///
    /// Do: Set it as a flag, in the settings file or in the environment.
    #[error("{code}: setting {key} is not set; give it as --{key}, in the settings file or in the environment", code = self.code())]
    Unset { key: &'static str },
    /// The account has fewer tokens than the command moves.
    ///
    /// Do: Send AZT to the account that the message names, or lower the amount.
    #[error("{code}: account {account} has {owned} AZT and needs {needed} AZT; send it more, or lower the amount", code = self.code())]
    NotEnough { account: Address, owned: Azt, needed: Azt },
    /// The amount of a deposit is not a whole number of units of L2, or too large for one.
    ///
    /// Do: Give at most nine decimals and at most 18446744073.709551615 AZT.
    #[error("{code}: {amount} AZT is no whole number of units below 2^64: give at most nine decimals and at most 18446744073.709551615 AZT", code = self.code())]
    NotWholeUnits { amount: Azt },
    /// The file is not what `rollmill-pxe withdrawal-path` prints.
    ///
    /// Do: Write the output of `rollmill-pxe withdrawal-path HASH` to it again.
    #[error("{code}: {file} is not what `rollmill-pxe withdrawal-path` prints: {why}", code = self.code())]
    WithdrawalFile { file: String, why: String },
    /// The block of the withdrawal is not proven on L1 yet.
    ///
    /// Do: Run the command again once the block is proven; `rollmill-l1 deployment` shows the proven tip.
    #[error("{code}: block {block} is not proven yet, the proven tip is {proven}; run the command again once it is proven", code = self.code())]
    NotProven { block: u64, proven: u64 },
    /// The withdrawal was paid before.
    ///
    /// Do: Nothing: its recipient has the tokens.
    #[error("{code}: the withdrawal of transaction {tx} in block {block} was paid before", code = self.code())]
    Paid { block: u64, tx: usize },
    /// The account is owed nothing.
    ///
    /// Do: Nothing yet. Epochs are credited once they are settled; `rollmill-l1 rewards status` shows them.
    #[error("{code}: account {account} is owed nothing; `rollmill-l1 rewards status` shows what is not settled or claimed yet", code = self.code())]
    NothingOwed { account: Address },
    /// The free part of the bond is less than the amount.
    ///
    /// Do: Lower the amount. The locked part comes back when its epochs are settled.
    #[error("{code}: {free} AZT of the bond are free and {locked} AZT locked, {wanted} AZT were asked for; the locked part comes back when its epochs are settled", code = self.code())]
    BondTooLow { free: Azt, locked: Azt, wanted: Azt },
    /// The deployment has a fixed committee, and no stakes.
    ///
    /// Do: Correct `--rollup`; a fixed committee cannot be joined.
    #[error("{code}: the deployment at {rollup} has no stakes: its committee is fixed; correct --rollup", code = self.code())]
    NoStaking { rollup: Address },
    /// The validator's stake is not in the state that the command needs.
    ///
    /// Do: See `rollmill-l1 stake status`, and do what the message says.
    #[error("{code}: validator {validator} {why}", code = self.code())]
    Stake { validator: Address, why: String },
    /// The account has fewer votes than a proposal needs.
    ///
    /// Do: Delegate votes to the account with `rollmill-l1 delegate`; they count from the next L1 block on.
    #[error("{code}: account {account} has {votes} AZT of votes, a proposal needs {needed} AZT; delegate votes to it with `rollmill-l1 delegate`", code = self.code())]
    TooFewVotes { account: Address, votes: Azt, needed: Azt },
    /// Governance has no proposal of this number.
    ///
    /// Do: Correct the number, `--governance` or `--l1-start`; `rollmill-l1 proposals` lists them.
    #[error("{code}: no proposal {id} from L1 block {from} on; correct the number, --governance or --l1-start", code = self.code())]
    ProposalUnknown { id: U256, from: u64 },
    /// The proposal is not in the state that the command needs.
    ///
    /// Do: See `rollmill-l1 proposals`, and do what the message says.
    #[error("{code}: proposal {id} is {state}: {why}", code = self.code())]
    ProposalState { id: U256, state: &'static str, why: String },
    /// The command was not confirmed. Nothing was sent.
    ///
    /// Do: Answer `y`, or pass `--yes`.
    #[error("{code}: not confirmed; nothing was sent", code = self.code())]
    NotConfirmed,
    /// A transaction was sent, or may have been, and is in no block yet.
    ///
    /// Do: Run the command again: it continues with this transaction and sends no second one.
    #[error("{code}: {what} was sent, or may have been, and is in no L1 block yet ({why}); run the command again: it continues with this transaction and sends no second one", code = self.code())]
    OutcomeUnknown { what: String, why: String },
    /// Nothing was sent in time.
    ///
    /// Do: Check `--l1-urls`, and run the command again.
    #[error("{code}: {what} was not sent in {seconds} s; check --l1-urls and run the command again", code = self.code())]
    NotSent { what: String, seconds: u64 },
    /// The list of reported transactions cannot be read or written.
    ///
    /// Do: Check the path of `--intents`, its permissions and its disk.
    #[error("{code}: cannot use {path}, the list of reported transactions beside --intents: {why}", code = self.code())]
    Reported { path: String, why: String },
    /// No prune is due.
    ///
    /// Do: Nothing: the chain waits for proofs. `rollmill-l1 deployment` shows the deadline.
    #[error("{code}: no prune is due; `rollmill-l1 deployment` shows the deadline of the oldest unproven epoch", code = self.code())]
    NoPruneDue,
    /// The transaction is on L1, but its result cannot be read.
    ///
    /// Do: Look it up on L1 by its hash. Do not run the command again.
    #[error("{code}: {what} is on L1 as {tx_hash}, but L1 does not return its events; look it up there and do not run the command again", code = self.code())]
    NoEvents { what: &'static str, tx_hash: B256 },
    /// What the proposal would do fails.
    ///
    /// Do: Correct the arguments; the message has the contract's reason.
    #[error("{code}: governance could not {what}: {why}; correct the arguments", code = self.code())]
    ActionReverts { what: String, why: String },
    /// A rate is too large for the contract.
    ///
    /// Do: Lower it; docs/book/economics.md has the bounds.
    #[error("{code}: the amount of --{key} is beyond what the Registry can store; lower it", code = self.code())]
    RateTooLarge { key: &'static str },
    /// The file is no evidence that an account of this deployment signed two blocks of a slot.
    ///
    /// Do: Give a file of the folder `evidence` of a validator of this deployment.
    #[error("{code}: {file} is no evidence: {why}; give a file of the folder evidence of a validator", code = self.code())]
    Evidence { file: String, why: String },
}

rollmill_errors::coded! {
    CliError {
        Self::Unset { .. } => "L1C-001" usage,
        Self::NotEnough { .. } => "L1C-002",
        Self::NotWholeUnits { .. } => "L1C-003" usage,
        Self::WithdrawalFile { .. } => "L1C-004",
        Self::NotProven { .. } => "L1C-005",
        Self::Paid { .. } => "L1C-006",
        Self::NothingOwed { .. } => "L1C-007",
        Self::BondTooLow { .. } => "L1C-008",
        Self::NoStaking { .. } => "L1C-009",
        Self::Stake { .. } => "L1C-010",
        Self::TooFewVotes { .. } => "L1C-011",
        Self::ProposalUnknown { .. } => "L1C-012",
        Self::ProposalState { .. } => "L1C-013",
        Self::NotConfirmed => "L1C-014",
        Self::OutcomeUnknown { .. } => "L1C-015",
        Self::NotSent { .. } => "L1C-016",
        Self::Reported { .. } => "L1C-017",
        Self::NoPruneDue => "L1C-018",
        Self::NoEvents { .. } => "L1C-019",
        Self::ActionReverts { .. } => "L1C-020",
        Self::RateTooLarge { .. } => "L1C-021" usage,
        Self::Evidence { .. } => "L1C-022",
    }
}

impl CliError {
    /// Whether the command line itself cannot be used, whatever L1 has.
    pub(crate) fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }
}
