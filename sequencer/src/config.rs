//! Settings of the sequencer.

use rollmill_l1::Azt;
use rollmill_node::config::{AccountConfig, NODE_FACTS, NodeConfig, eth_address};
use rollmill_protocol::EthAddress;
use rollmill_protocol::gas::MAX_TXS_PER_BLOCK;
use rollmill_service::{Common, Conflict, Fact, Settings, values};
use rollmill_validator::CommitteeConfig;

use crate::quotes::QuotesConfig;

/// Settings of the sequencer.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_arg("intents", |arg| arg.default_value("sequencer-intents.json")))]
pub struct Config {
    /// L1 address that is paid for a block: its share of the fees, and the block reward [default: the account]
    #[arg(long, value_name = "ADDRESS", value_parser = eth_address, help_heading = "Blocks")]
    pub coinbase: Option<EthAddress>,

    /// Transactions to wait for before building a block, at most `max_txs`
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Blocks")]
    #[arg(value_parser = values::whole(1..=MAX_TXS_PER_BLOCK))]
    pub min_txs: usize,

    /// Maximum transactions in a block
    #[arg(long, value_name = "N", default_value_t = MAX_TXS_PER_BLOCK, help_heading = "Blocks")]
    #[arg(value_parser = values::whole(1..=MAX_TXS_PER_BLOCK))]
    pub max_txs: usize,

    /// Time after which fewer than `min_txs` transactions make a block
    #[arg(long, value_name = "SECONDS", default_value_t = 60, help_heading = "Blocks")]
    #[arg(value_parser = values::whole(0..=604_800_u64))]
    pub max_wait_seconds: u64,

    /// Maximum wait for the client proofs of a block on L1 before building on it
    #[arg(long, value_name = "SECONDS", default_value_t = 120, help_heading = "Blocks")]
    #[arg(value_parser = values::whole(0..=604_800_u64))]
    pub max_unverified_seconds: u64,

    /// Maximum blocks in an epoch; 0 means as many as the epoch has slots
    #[arg(long, value_name = "BLOCKS", default_value_t = 0, help_heading = "Blocks")]
    #[arg(value_parser = values::whole(0..=1_000_000_u64))]
    pub blocks_per_epoch: u64,

    /// AZT to deposit whenever the free bond does not cover the next epoch [default: none, only warn]
    ///
    /// The account needs this much of the token, and approves the amount of each deposit.
    #[arg(long, value_name = "AZT", help_heading = "L1 account")]
    pub bond_top_up: Option<Azt>,

    #[command(flatten)]
    pub committee: CommitteeConfig,

    #[command(flatten)]
    pub quotes: QuotesConfig,

    #[command(flatten)]
    pub account: AccountConfig,

    #[command(flatten)]
    pub node: NodeConfig,
}

impl Default for Config {
    fn default() -> Self {
        rollmill_service::defaults()
    }
}

impl Settings for Config {
    const DEPLOYMENT: &'static [Fact] = NODE_FACTS;

    fn check(&self, _common: &Common) -> Result<(), Conflict> {
        if self.min_txs > self.max_txs {
            let why = "a block would never be full; lower min_txs or raise max_txs";
            return Err(Conflict::new(&["min_txs", "max_txs"], why));
        }
        self.node.check()?;
        self.committee.check()?;
        self.quotes.check(self.committee.attest_only)?;
        self.account.check()
    }
}
