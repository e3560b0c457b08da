//! Settings that every process with a node shares: the node itself, and its account on L1.

use std::path::PathBuf;

use rollmill_l1::KeySource;
use rollmill_protocol::EthAddress;
use rollmill_service::{Conflict, Fact, HttpLimits, values};

use crate::PoolLimits;
use crate::blobs::BlobConfig;
use crate::rpc::AdmissionLimits;
use crate::setup::SetupError;

rollmill_service::listener_settings! {
    /// Settings that protect the address of the node's JSON-RPC.
    pub struct ListenerConfig: "node.", "Node"
}

/// Settings of the node part of a process: the table `[node]` of the file.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Node")]
pub struct NodeConfig {
    /// Serve the node's JSON-RPC on this address
    #[arg(id = "node.listen", long, value_name = "HOST:PORT", default_value = "127.0.0.1:8560")]
    #[arg(value_parser = values::listen_address)]
    pub listen: String,

    #[command(flatten)]
    pub listener: ListenerConfig,

    /// Directory of the node's database
    #[arg(id = "node.data_dir", long, value_name = "DIR", default_value = "node-data")]
    pub data_dir: PathBuf,

    /// Genesis file of the deployment
    #[arg(id = "node.genesis", long, value_name = "FILE", default_value = "genesis.json")]
    pub genesis: PathBuf,

    /// Keys that verify client proofs, as `rollmill-prover-node keys` exports them
    #[arg(id = "node.client_key", long, value_name = "FILE", default_value = "client.key")]
    pub client_key: PathBuf,

    /// JSON-RPC URLs of nodes to fetch missing client proofs from [default: none]
    #[arg(id = "node.tx_sources", long, value_name = "URL,...", default_value = "")]
    #[arg(hide_default_value = true, value_parser = values::urls)]
    pub tx_sources: values::Urls,

    /// Past states to keep, for transaction anchors and Merkle paths
    #[arg(id = "node.state_blocks", long, value_name = "BLOCKS", default_value_t = 256)]
    #[arg(value_parser = values::whole(1..=1_000_000_u64))]
    pub state_blocks: u64,

    /// Maximum transactions that wait for a block
    #[arg(id = "node.pool_txs", long, value_name = "N", default_value_t = PoolLimits::default().txs_max)]
    #[arg(value_parser = values::whole(1..=10_000_000_usize))]
    pub pool_txs: usize,

    /// Maximum transactions of one fee payer that wait for a block
    #[arg(id = "node.pool_payer_txs", long, value_name = "N")]
    #[arg(default_value_t = PoolLimits::default().payer_txs_max)]
    #[arg(value_parser = values::whole(1..=10_000_000_usize))]
    pub pool_payer_txs: usize,

    /// L1 time after which a waiting transaction is dropped
    #[arg(id = "node.pool_age_seconds", long, value_name = "SECONDS")]
    #[arg(default_value_t = PoolLimits::default().age_seconds_max)]
    #[arg(value_parser = values::whole(1..=31_536_000_u64))]
    pub pool_age_seconds: u64,

    /// Maximum open connections to the JSON-RPC
    #[arg(id = "node.connections", long, value_name = "N", default_value_t = 512)]
    #[arg(value_parser = values::whole(1..=100_000_usize))]
    pub connections: usize,

    /// Maximum open connections to the JSON-RPC from one address
    #[arg(id = "node.connections_per_peer", long, value_name = "N", default_value_t = 128)]
    #[arg(value_parser = values::whole(1..=100_000_usize))]
    pub connections_per_peer: usize,

    /// Client proofs to verify concurrently; 0 means one per two cores
    #[arg(id = "node.verify_threads", long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = values::whole(0..=1024_usize))]
    pub verify_threads: usize,

    /// Maximum transactions that wait for verification; further ones get 503
    #[arg(id = "node.verify_queue", long, value_name = "N")]
    #[arg(default_value_t = AdmissionLimits::default().queue)]
    #[arg(value_parser = values::whole(1..=1_000_000_usize))]
    pub verify_queue: usize,

    /// RPC URLs of L1, tried in order
    #[arg(
        id = "node.l1_urls",
        long,
        value_name = "URL,...",
        default_value = "http://127.0.0.1:8545"
    )]
    #[arg(value_parser = values::some_urls, help_heading = "L1")]
    pub l1_urls: values::Urls,

    /// Chain ID of L1; an endpoint with another chain ID is rejected
    #[arg(id = "node.chain_id", long, value_name = "ID", default_value_t = 31337)]
    #[arg(value_parser = values::whole(1..=values::CHAIN_ID_MAX), help_heading = "L1")]
    pub chain_id: u64,

    /// Address of the rollup contract; required
    #[arg(id = "node.rollup", long, value_name = "ADDRESS", value_parser = eth_address)]
    #[arg(help_heading = "L1")]
    pub rollup: Option<EthAddress>,

    /// L1 block before the deployment of the rollup contract
    #[arg(id = "node.l1_start", long, value_name = "BLOCK", default_value_t = 0)]
    #[arg(value_parser = values::whole(0..=u64::from(u32::MAX)), help_heading = "L1")]
    pub l1_start: u64,

    /// L1 polling interval
    #[arg(id = "node.poll_ms", long, value_name = "MILLISECONDS", default_value_t = 250)]
    #[arg(value_parser = values::whole(10..=600_000_u64), help_heading = "L1")]
    pub poll_ms: u64,

    #[command(flatten)]
    pub blobs: BlobConfig,
}

/// What a node takes from the deployment's file.
pub const NODE_FACTS: &[Fact] = &[
    Fact::identity("node.chain_id", "chain_id"),
    Fact::identity("node.rollup", "contracts.rollup"),
    Fact::default("node.l1_start", "l1_start"),
    Fact::path("node.genesis", "genesis"),
    Fact::path("node.client_key", "client_key"),
];

impl Default for NodeConfig {
    fn default() -> Self {
        rollmill_service::defaults()
    }
}

impl NodeConfig {
    /// The address of the rollup contract.
    ///
    /// # Errors
    /// [`SetupError::Unset`]
    pub fn rollup(&self) -> Result<EthAddress, SetupError> {
        self.rollup.ok_or(SetupError::Unset { key: "node.rollup" })
    }

    /// Rejects settings of the listener that cannot work together.
    ///
    /// # Errors
    /// The settings that exclude each other.
    pub fn check(&self) -> Result<(), Conflict> {
        self.listener.check()
    }

    pub(crate) fn pool(&self) -> PoolLimits {
        PoolLimits {
            txs_max: self.pool_txs,
            payer_txs_max: self.pool_payer_txs,
            age_seconds_max: self.pool_age_seconds,
            ..PoolLimits::default()
        }
    }

    pub(crate) fn http(&self) -> HttpLimits {
        HttpLimits {
            connections: self.connections,
            connections_per_peer: self.connections_per_peer,
            ..HttpLimits::default()
        }
    }

    pub(crate) fn admission(&self) -> AdmissionLimits {
        let default = AdmissionLimits::default();
        AdmissionLimits {
            workers: if self.verify_threads == 0 { default.workers } else { self.verify_threads },
            queue: self.verify_queue,
            queue_per_peer: (self.verify_queue / 4).max(1),
        }
    }
}

/// Settings of the account that sends transactions to L1.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "L1 account")]
pub struct AccountConfig {
    /// Environment variable that holds the private key of the account, for development
    #[arg(long, value_name = "NAME", default_value = "ROLLMILL_L1_KEY")]
    pub l1_key_env: String,

    /// Keystore file with the private key of the account [default: none, --l1-key-env applies]
    ///
    /// It needs --l1-password-file.
    #[arg(long, value_name = "FILE")]
    pub l1_keystore: Option<PathBuf>,

    /// File with the password of the keystore; required with --l1-keystore
    #[arg(long, value_name = "FILE")]
    pub l1_password_file: Option<PathBuf>,

    /// Journal of in-flight L1 transactions
    #[arg(long, value_name = "FILE", default_value = "intents.json")]
    pub intents: PathBuf,

    /// Maximum fee per gas that a transaction to L1 offers
    #[arg(long, value_name = "GWEI", default_value_t = 500)]
    #[arg(value_parser = values::whole(1..=1_000_000_u64))]
    pub l1_max_fee_gwei: u64,
}

impl AccountConfig {
    /// Where the private key of the account is.
    pub fn key(&self) -> KeySource {
        match (&self.l1_keystore, &self.l1_password_file) {
            (Some(path), Some(password_file)) => {
                KeySource::Keystore { path: path.clone(), password_file: password_file.clone() }
            }
            _ => KeySource::Environment { variable: self.l1_key_env.clone() },
        }
    }

    /// Rejects a keystore without its password, and a password without its keystore.
    ///
    /// # Errors
    /// The two settings.
    pub fn check(&self) -> Result<(), Conflict> {
        match self.l1_keystore.is_some() == self.l1_password_file.is_some() {
            true => Ok(()),
            false => {
                let keys = &["l1_keystore", "l1_password_file"];
                Err(Conflict::new(keys, "set both or neither"))
            }
        }
    }
}

/// Parses an L1 address.
///
/// # Errors
/// What is expected.
pub fn eth_address(text: &str) -> Result<EthAddress, String> {
    EthAddress::from_hex(text)
        .map_err(|_| "expected a 20-byte address (0x and 40 hex digits)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_twenty_bytes_and_an_unset_one_names_its_setting() {
        assert_eq!(eth_address(&format!("0x{}", "ab".repeat(20))), Ok(EthAddress([0xab; 20])));
        for wrong in ["0x12", "", "12", &"ab".repeat(20)] {
            assert!(eth_address(wrong).is_err(), "{wrong}");
        }
        let command = <NodeConfig as clap::Args>::augment_args(clap::Command::new("node"));
        let flag = command.get_arguments().find(|arg| arg.get_id() == "node.l1_urls").unwrap();
        let none = format!("--{}=", flag.get_long().unwrap());
        let none = command.try_get_matches_from(["node", &none]).unwrap_err().to_string();
        assert!(none.contains("at least one URL is required"), "{none}");
        let unset = NodeConfig::default().rollup().unwrap_err().to_string();
        assert!(unset.starts_with("NODE-064: setting node.rollup is not set"), "{unset}");
        assert!(unset.contains("--node-rollup"), "{unset}");
    }
}
