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
    pub coinbase: String,
    pub min_txs: usize,
    pub max_txs: usize,
    pub max_wait_seconds: u64,
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
            coinbase: "0x0000000000000000000000000000000000000000".into(),
            min_txs: 1,
            max_txs: MAX_TXS_PER_BLOCK,
            max_wait_seconds: 60,
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
        ("node.poll_ms", "milliseconds between looks at L1"),
        ("node.state_blocks", "states kept behind the tip, for anchors and paths"),
        ("l1_key_env", "environment variable with the proposer's key, for development"),
        ("l1_keystore", "keystore file with the proposer's key"),
        ("l1_password_file", "file with the keystore's password"),
        ("intents", "file of transactions to L1 that were begun"),
        ("coinbase", "L1 address that is paid a block's fees"),
        ("min_txs", "transactions to wait for before a block is built"),
        ("max_txs", "most transactions in a block"),
        ("max_wait_seconds", "time after which fewer transactions, at least one, make a block"),
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
