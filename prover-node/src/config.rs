//! Settings of the prover node.

use std::path::PathBuf;

use rollmill_l1::Azt;
use rollmill_node::config::{AccountConfig, NODE_FACTS, NodeConfig, eth_address};
use rollmill_protocol::EthAddress;
use rollmill_service::{Common, Conflict, Fact, Secret, Settings, TraceSettings, values};

use crate::quotes::QuotesConfig;

/// Settings of the prover node.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_arg("intents", |arg| arg.default_value("prover-intents.json")))]
#[command(mut_arg("node.listen", |arg| arg.default_value("127.0.0.1:8561")))]
pub struct Config {
    /// URL of the broker
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8551")]
    #[arg(value_parser = values::url, help_heading = "Connection")]
    pub broker: String,

    /// Bearer token for the broker, with the role `producer` [default: none]
    #[arg(long, value_name = "file:PATH|env:NAME", help_heading = "Connection")]
    pub token: Option<Secret>,

    /// JSON-RPC URLs of nodes to fetch transactions with their client proofs from
    #[arg(long, value_name = "URL,...", default_value = "http://127.0.0.1:8560")]
    #[arg(value_parser = values::urls, help_heading = "Connection")]
    pub tx_sources: values::Urls,

    /// L1 address that proofs are bound to and that is rewarded [default: the address of the account]
    #[arg(long, value_name = "ADDRESS", value_parser = eth_address, help_heading = "Proving")]
    pub prover_id: Option<EthAddress>,

    /// Directory of proving keys and SRS [default: $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys]
    #[arg(long, value_name = "DIR", help_heading = "Proving")]
    pub keys_dir: Option<PathBuf>,

    /// Prove each time an epoch has this many blocks more, from its first block on; 0 proves once it has ended
    #[arg(long, value_name = "BLOCKS", default_value_t = 0, help_heading = "Proving")]
    #[arg(value_parser = values::whole(0..=1_000_000_u64))]
    pub prefix_blocks: u64,

    /// Maximum ranges of blocks to prove concurrently
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Proving")]
    #[arg(value_parser = values::whole(1..=64_usize))]
    pub ranges_max: usize,

    /// Prove, but send nothing to L1
    #[arg(long, help_heading = "Proving")]
    pub dry_run: bool,

    /// Claim on L1 once the prover is owed this much AZT, and settle its epochs [default: none, claim nothing]
    ///
    /// The tokens go to `prover_id`. The account pays for gas.
    #[arg(long, value_name = "AZT", help_heading = "L1 account")]
    pub claim_rewards_above: Option<Azt>,

    #[command(flatten)]
    pub quotes: QuotesConfig,

    #[command(flatten)]
    pub account: AccountConfig,

    #[command(flatten)]
    pub node: NodeConfig,

    #[command(flatten)]
    pub traces: TraceSettings,
}

impl Default for Config {
    fn default() -> Self {
        rollmill_service::defaults()
    }
}

impl Settings for Config {
    const DEPLOYMENT: &'static [Fact] = NODE_FACTS;

    fn check(&self, _common: &Common) -> Result<(), Conflict> {
        self.node.check()?;
        self.quotes.check(self.dry_run)?;
        self.account.check()
    }

    fn traces(&self) -> Option<&TraceSettings> {
        Some(&self.traces)
    }
}
