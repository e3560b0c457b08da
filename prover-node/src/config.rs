//! Settings of the prover node.

use std::path::PathBuf;

use rollmill_l1::KeySource;
use rollmill_node::setup::NodeConfig;
use rollmill_service::{Secret, Settings};
use serde::{Deserialize, Serialize};

/// Settings of the prover node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub node: NodeConfig,
    pub l1_key_env: String,
    pub l1_keystore: Option<PathBuf>,
    pub l1_password_file: Option<PathBuf>,
    pub intents: PathBuf,
    pub l1_max_fee_gwei: u64,
    pub prover_id: Option<String>,
    pub broker: String,
    pub token: Option<Secret>,
    pub tx_sources: Vec<String>,
    pub keys_dir: Option<PathBuf>,
    pub prefix_blocks: u64,
    pub ranges_max: usize,
    pub dry_run: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeConfig { listen: "127.0.0.1:8561".into(), ..NodeConfig::default() },
            l1_key_env: "ROLLMILL_L1_KEY".into(),
            l1_keystore: None,
            l1_password_file: None,
            intents: "prover-intents.json".into(),
            l1_max_fee_gwei: 500,
            prover_id: None,
            broker: "http://127.0.0.1:8551".into(),
            token: None,
            tx_sources: vec!["http://127.0.0.1:8560".into()],
            keys_dir: None,
            prefix_blocks: 0,
            ranges_max: 4,
            dry_run: false,
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        ("node.data_dir", "folder of the node's database"),
        ("node.l1_urls", "RPC addresses of L1, tried in order"),
        ("node.chain_id", "L1's chain id; an endpoint with another one is refused"),
        ("node.rollup", "address of the rollup contract"),
        ("node.l1_start", "L1 block before the contract's deployment"),
        ("node.genesis", "genesis file of the deployment"),
        ("node.client_key", "key of the client circuit, as `prover-node keys` exports it"),
        ("node.listen", "address of the node's JSON-RPC"),
        ("node.poll_ms", "L1 polling interval in milliseconds"),
        ("node.state_blocks", "past states to keep, for transaction anchors and Merkle paths"),
        ("node.tx_sources", "JSON-RPC addresses of nodes to fetch missing client proofs from"),
        ("node.pool_txs", "maximum transactions that wait for a block"),
        ("node.pool_payer_txs", "maximum transactions of one fee payer that wait for a block"),
        (
            "node.pool_age_seconds",
            "seconds of L1 time after which a waiting transaction is dropped",
        ),
        ("node.connections", "maximum open connections to the JSON-RPC"),
        ("node.connections_per_peer", "maximum open connections to the JSON-RPC from one address"),
        ("node.verify_threads", "client proofs verified at once; 0 means one per two cores"),
        ("node.verify_queue", "maximum transactions that wait for verification; more get 503"),
        ("l1_key_env", "environment variable with the account's key, for development"),
        ("l1_keystore", "keystore file with the account's key"),
        ("l1_password_file", "file with the keystore's password"),
        ("intents", "file of transactions to L1 that were begun"),
        ("l1_max_fee_gwei", "most that a transaction to L1 offers for a unit of gas, in gwei"),
        ("prover_id", "L1 address that proofs are bound to; the account's own when unset"),
        ("broker", "address of the broker"),
        ("token", "the broker's token, as file:PATH or env:NAME"),
        ("tx_sources", "nodes to fetch transactions with their client proofs from"),
        (
            "keys_dir",
            "folder of keys and SRS; $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys when unset",
        ),
        (
            "prefix_blocks",
            "prove after this many blocks instead of at the end of the epoch; 0 waits for the end",
        ),
        ("ranges_max", "ranges to prove at once, 1 to 64"),
        ("dry_run", "prove, and send nothing to L1"),
    ];

    fn check(&self) -> Result<(), String> {
        if self.l1_keystore.is_some() != self.l1_password_file.is_some() {
            return Err("l1_keystore and l1_password_file go together".into());
        }
        if self.l1_max_fee_gwei == 0 {
            return Err("l1_max_fee_gwei must be at least 1".into());
        }
        if !(1..=64).contains(&self.ranges_max) {
            return Err(format!("ranges_max is {}, expected 1 to 64", self.ranges_max));
        }
        Ok(())
    }
}

impl Config {
    /// Where the account's key lies.
    pub fn key(&self) -> KeySource {
        match (&self.l1_keystore, &self.l1_password_file) {
            (Some(path), Some(password_file)) => {
                KeySource::Keystore { path: path.clone(), password_file: password_file.clone() }
            }
            _ => KeySource::Environment { variable: self.l1_key_env.clone() },
        }
    }
}
