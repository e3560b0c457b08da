//! The file that every process of a deployment starts with, and the files that it names.

use std::path::{Path, PathBuf};

use rollmill_l1::alloy::primitives::Address;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::version::PROTOCOL_VERSION;
use serde::{Deserialize, Serialize};

use crate::{DeployError, Facts, Plan};

/// Name of the file in the folder of a deployment.
pub const DEPLOYMENT_FILE: &str = "deployment.toml";
/// Name of the genesis file beside it.
pub const GENESIS_FILE: &str = "genesis.json";
/// Name of the file of client keys beside it.
const CLIENT_KEY_FILE: &str = "client.key";

const HEAD: &str = "\
# A Rollmill deployment, as `rollmill-l1 deploy` wrote it. Broker, nodes, agents and `rollmill-l1` take it by --deployment.
# Paths are relative to this file. Nothing in it is secret.

";

/// What the processes of a deployment need to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentFile {
    /// [`rollmill_service::DEPLOYMENT_FORMAT`].
    pub format: i64,
    pub name: String,
    pub chain_id: u64,
    /// Number of the deployment; text, since TOML's numbers are signed.
    pub version: String,
    pub protocol_version: u64,
    /// L1 block before the first contract.
    pub l1_start: u64,
    /// Root of the key tree.
    pub key_root: String,
    pub config_hash: String,
    pub genesis_archive_root: String,
    /// Files, relative to this one.
    pub genesis: PathBuf,
    pub client_key: PathBuf,
    pub contracts: Contracts,
}

/// Addresses of the contracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    pub rollup: Address,
    pub inbox: Address,
    pub outbox: Address,
    pub fee_portal: Address,
    pub rewards: Address,
    pub bond_vault: Address,
    pub registry: Address,
    pub data_availability: Address,
    pub selection: Address,
    pub token: Address,
    pub timelock: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governance: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Address>,
    pub one_block_verifier: Address,
    pub more_blocks_verifier: Address,
}

impl DeploymentFile {
    pub(crate) fn of(facts: &Facts, plan: &Plan, l1_start: u64) -> Self {
        let (at, terms) = (&plan.addresses, &plan.terms);
        let tied = &at.tied;
        Self {
            format: rollmill_service::DEPLOYMENT_FORMAT,
            name: facts.name.clone(),
            chain_id: facts.chain_id,
            version: plan.genesis.version().to_string(),
            protocol_version: PROTOCOL_VERSION,
            l1_start,
            key_root: to_hex(&terms.vk_root),
            config_hash: to_hex(&terms.config.hash()),
            genesis_archive_root: to_hex(&terms.genesis_archive_root),
            genesis: GENESIS_FILE.into(),
            client_key: CLIENT_KEY_FILE.into(),
            contracts: Contracts {
                rollup: at.rollup,
                inbox: tied.inbox,
                outbox: tied.outbox,
                fee_portal: tied.feePortal,
                rewards: tied.rewards,
                bond_vault: tied.bondVault,
                registry: tied.registry,
                data_availability: tied.dataAvailability,
                selection: tied.selection,
                token: at.token,
                timelock: at.timelock,
                governance: at.governance,
                deployments: at.deployments,
                one_block_verifier: at.verifiers[0],
                more_blocks_verifier: at.verifiers[1],
            },
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`DeployError::File`], [`DeployError::Fact`].
    pub fn read(path: &Path) -> Result<Self, DeployError> {
        let text = std::fs::read_to_string(path).map_err(DeployError::file("read", path))?;
        toml::from_str(&text)
            .map_err(|error| DeployError::fact(path.display().to_string(), error.message()))
    }

    /// Writes the genesis and the client keys into `folder`, and last this file. Returns its path.
    pub(crate) fn write(
        &self,
        folder: &Path,
        genesis: &str,
        client_key: &[u8],
    ) -> Result<PathBuf, DeployError> {
        let path = folder.join(DEPLOYMENT_FILE);
        let text = toml::to_string(self)
            .map_err(|error| DeployError::fact(path.display().to_string(), error.to_string()))?;
        replace(&folder.join(&self.genesis), genesis.as_bytes())?;
        replace(&folder.join(&self.client_key), client_key)?;
        replace(&path, format!("{HEAD}{text}").as_bytes())?;
        Ok(path)
    }
}

/// Writes a file so that a crash leaves the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DeployError> {
    rollmill_files::write(path, &[bytes]).map_err(DeployError::file("write", path))
}
