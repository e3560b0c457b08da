//! Settings of the sequencer.

use std::path::PathBuf;

use rollmill_l1::KeySource;
use rollmill_node::setup::NodeConfig;
use rollmill_protocol::gas::MAX_TXS_PER_BLOCK;
use rollmill_service::Settings;
use serde::{Deserialize, Serialize};

/// Settings of the sequencer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub node: NodeConfig,
    pub l1_key_env: String,
    pub l1_keystore: Option<PathBuf>,
    pub l1_password_file: Option<PathBuf>,
    pub intents: PathBuf,
    pub l1_max_fee_gwei: u64,
    pub coinbase: String,
    pub min_txs: usize,
    pub max_txs: usize,
    pub max_wait_seconds: u64,
    pub max_unverified_seconds: u64,
    pub blocks_per_epoch: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeConfig::default(),
            l1_key_env: "ROLLMILL_L1_KEY".into(),
            l1_keystore: None,
            l1_password_file: None,
            intents: "sequencer-intents.json".into(),
            l1_max_fee_gwei: 500,
            coinbase: "0x0000000000000000000000000000000000000000".into(),
            min_txs: 1,
            max_txs: MAX_TXS_PER_BLOCK,
            max_wait_seconds: 60,
            max_unverified_seconds: 120,
            blocks_per_epoch: 0,
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
        ("l1_key_env", "environment variable with the proposer's key, for development"),
        ("l1_keystore", "keystore file with the proposer's key"),
        ("l1_password_file", "file with the keystore's password"),
        ("intents", "file of transactions to L1 that were begun"),
        ("l1_max_fee_gwei", "most that a transaction to L1 offers for a unit of gas, in gwei"),
        ("coinbase", "L1 address that is paid a block's fees"),
        ("min_txs", "transactions to wait for before a block is built"),
        ("max_txs", "most transactions in a block"),
        ("max_wait_seconds", "time after which fewer transactions, at least one, make a block"),
        (
            "max_unverified_seconds",
            "longest wait for the client proofs of a block on L1 before building on it",
        ),
        ("blocks_per_epoch", "most blocks in an epoch; 0 for no bound but the slots"),
    ];

    fn check(&self) -> Result<(), String> {
        if self.max_txs == 0 || self.max_txs > MAX_TXS_PER_BLOCK {
            return Err(format!("max_txs must be from 1 to {MAX_TXS_PER_BLOCK}"));
        }
        if self.min_txs > self.max_txs {
            return Err("min_txs must not exceed max_txs".into());
        }
        if self.l1_keystore.is_some() != self.l1_password_file.is_some() {
            return Err("l1_keystore and l1_password_file go together".into());
        }
        if self.l1_max_fee_gwei == 0 {
            return Err("l1_max_fee_gwei must be at least 1".into());
        }
        Ok(())
    }
}

impl Config {
    /// Where the proposer's key lies.
    pub fn key(&self) -> KeySource {
        match (&self.l1_keystore, &self.l1_password_file) {
            (Some(path), Some(password_file)) => {
                KeySource::Keystore { path: path.clone(), password_file: password_file.clone() }
            }
            _ => KeySource::Environment { variable: self.l1_key_env.clone() },
        }
    }
}
