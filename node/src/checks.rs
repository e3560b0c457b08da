//! Checks of what the node in a process needs, run at startup and by the subcommand `check`.

use std::path::Path;
use std::sync::Arc;

use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::{KeySource, L1Client, L1Error, RollupContract};
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::{Fr, Genesis};
use rollmill_service::{Coded, Finding, Preflight};

use crate::ClientKeys;
use crate::config::NodeConfig;
use crate::setup::{SetupError, agreed};

/// Adds the checks of the node: its files, L1, the contract and the nodes it fetches transactions from.
pub fn node(preflight: Preflight, config: &NodeConfig) -> Preflight {
    let config = Arc::new(config.clone());
    let [dir, genesis, key, l1, contract, peers] = std::array::from_fn(|_| Arc::clone(&config));
    preflight
        .check("data_dir", move || {
            std::future::ready(Finding::of_directory(&dir.data_dir, "--node-data-dir"))
        })
        .check("genesis", move || {
            std::future::ready(match read_genesis(&genesis.genesis) {
                Ok(found) => Finding::Ok(format!(
                    "{} notes and {} fee balances of chain {}",
                    found.notes.len(),
                    found.fee_balances.len(),
                    found.chain_id
                )),
                Err(error) => Finding::wrong(&error)
                    .todo("Give the deployment's genesis file as --node-genesis"),
            })
        })
        .check("client_key", move || {
            std::future::ready(match read_keys(&key.client_key) {
                Ok(_) => Finding::Ok(key.client_key.display().to_string()),
                Err(error) => Finding::wrong(&error).todo(
                    "Export the keys with `rollmill-prover-node keys FILE` and give the file as --node-client-key",
                ),
            })
        })
        .needed("l1", move || {
            let config = Arc::clone(&l1);
            async move { l1_head(&config).await }
        })
        .check("contract", move || {
            let config = Arc::clone(&contract);
            async move { contract_of(&config).await.unwrap_or_else(|finding| finding) }
        })
        .check("node.tx_sources", move || {
            let config = Arc::clone(&peers);
            async move { sources("--node-tx-sources", &config.tx_sources, &config.genesis).await }
        })
}

/// Turns an L1 error into a finding: absent if L1 may respond later, else wrong.
fn of_l1(error: &L1Error) -> Finding {
    match error {
        L1Error::Unreachable { .. } | L1Error::Answer { .. } => Finding::absent(error),
        _ => Finding::wrong(error),
    }
}

async fn l1_head(config: &NodeConfig) -> Finding {
    let head = async {
        let l1 = L1Client::connect(&config.l1_urls, config.chain_id).await?;
        l1.latest().await
    };
    match head.await {
        Ok(head) => Finding::Ok(format!("chain {} at block {}", config.chain_id, head.number)),
        Err(error) => match of_l1(&error) {
            absent @ Finding::Absent { .. } => absent.todo("The setting is --node-l1-urls"),
            other => other.todo("The settings are --node-l1-urls and --node-chain-id"),
        },
    }
}

async fn contract_of(config: &NodeConfig) -> Result<Finding, Finding> {
    let address = config.rollup().map_err(|error| Finding::wrong(&error))?;
    let l1 = L1Client::connect(&config.l1_urls, config.chain_id).await;
    let l1 = l1.map_err(|_| absent("not checked, since L1 was not reached"))?;
    let contract = l1.rollup(address.0.into()).await.map_err(|error| {
        let finding = of_l1(&error);
        match &error {
            L1Error::NoContract { .. } => finding.todo("The setting is --node-rollup"),
            _ => finding,
        }
    })?;
    let info = contract.info().await.map_err(|error| of_l1(&error))?;
    require_early_start(config, &contract).await.map_err(|error| Finding::wrong(&error))?;
    // Separate checks report files that cannot be read.
    if let (Ok(genesis), Ok(keys)) = (read_genesis(&config.genesis), read_keys(&config.client_key))
    {
        agreed(config, &genesis, &keys, &info).map_err(|error| {
            Finding::wrong(error.as_ref()).todo(
                "Give --node-rollup, --node-genesis, --node-client-key and --node-chain-id of one \
                 deployment",
            )
        })?;
    }
    Ok(Finding::Ok(format!("{address} is deployment {}", info.version)))
}

/// Requires that the rollup had no block at the L1 block where following starts. An error of the call
/// does not mean that the start is late: the L1 node may have deleted that state, or the contract was
/// not deployed yet.
pub(crate) async fn require_early_start(
    config: &NodeConfig,
    contract: &RollupContract,
) -> Result<(), SetupError> {
    let number = config.l1_start;
    match contract.tips_at(number).await {
        Ok((tip, _)) if tip > 0 => Err(SetupError::LateStart { number, tip }),
        _ => Ok(()),
    }
}

fn absent(why: &str) -> Finding {
    Finding::Absent { why: why.to_owned(), todo: String::new() }
}

/// The account that signs for L1.
#[derive(Debug, Clone)]
pub struct Account {
    pub address: Address,
    /// The committee of the present epoch, whose members propose in turn; `None` if L1 or the contract did not
    /// respond.
    pub committee: Option<Vec<Address>>,
    pub balance_wei: Option<U256>,
}

impl Account {
    /// Loads the key, and reads the account's balance and the deployment's committee from L1.
    ///
    /// # Errors
    /// The finding when the key cannot be loaded.
    pub async fn load(config: &NodeConfig, key: KeySource) -> Result<Self, Finding> {
        let todo = match &key {
            KeySource::Environment { .. } => {
                "Set the variable of --l1-key-env, or give --l1-keystore and --l1-password-file"
            }
            KeySource::Keystore { .. } => "The settings are --l1-keystore and --l1-password-file",
        };
        let load = tokio::task::spawn_blocking(move || key.load().map(|signer| signer.address()));
        let loaded = load.await.map_err(|error| Finding::wrong(&error))?;
        let address = loaded.map_err(|error| Finding::wrong(&error).todo(todo))?;
        let mut account = Self { address, committee: None, balance_wei: None };
        if let Ok(l1) = L1Client::connect(&config.l1_urls, config.chain_id).await {
            account.balance_wei = l1.provider().get_balance(address).await.ok();
            account.committee = committee(&l1, config).await;
        }
        Ok(account)
    }

    /// Returns the finding for an account with the right address: whether it can pay.
    pub fn finding(&self) -> Finding {
        match self.balance_wei {
            None => absent("its balance was not read, since L1 was not reached"),
            Some(balance) if balance.is_zero() => {
                let why = format!("account {} has no ETH on L1", self.address);
                Finding::Absent { why, todo: "Fund it: it pays for transactions on L1".to_owned() }
            }
            Some(balance) => Finding::Ok(format!("{} with {balance} wei", self.address)),
        }
    }
}

async fn committee(l1: &L1Client, config: &NodeConfig) -> Option<Vec<Address>> {
    let contract = l1.rollup(config.rollup?.0.into()).await.ok()?;
    let info = contract.info().await.ok()?;
    let epoch = info.epoch(contract.current_slot().await.ok()?);
    contract.selection(&info).committee(epoch).await.ok()
}

/// Checks that each node in `urls`, from which transactions are fetched, belongs to this network.
pub async fn sources(setting: &str, urls: &[String], genesis: &Path) -> Finding {
    let ours = read_genesis(genesis).ok().and_then(|genesis| header_hash(&genesis));
    let mut absent = Vec::new();
    for url in urls {
        let versions = async { NodeClient::new(url)?.versions().await };
        match versions.await {
            Ok(versions) if ours.is_some_and(|ours| ours != versions.genesis_header_hash) => {
                let why =
                    format!("a node of {setting} is of another network, or has another genesis");
                return Finding::Wrong { why, todo: format!("Correct {setting}") };
            }
            Ok(_) => {}
            Err(error @ ClientError::Address { .. }) => {
                return Finding::wrong(&error).todo(format!("Correct {setting}"));
            }
            // Absent whatever the response is: it may come from a proxy in front of a node that
            // restarts. Reported without the causes, which are a library's messages.
            Err(error) => absent.push(error.to_string()),
        }
    }
    match absent.first() {
        None => Finding::Ok(format!("{} nodes", urls.len())),
        Some(why) => Finding::Absent {
            why: why.clone(),
            todo: format!("{} of {} in {setting} do not answer", absent.len(), urls.len()),
        },
    }
}

fn header_hash(genesis: &Genesis) -> Option<Fr> {
    Some(genesis.build(MemoryStore::new()).ok()?.header.hash())
}

fn read(path: &Path, key: &'static str) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::File { path: path.into(), key, source })
}

fn contents<E: Coded + Send + Sync + 'static>(
    path: &Path,
    key: &'static str,
) -> impl FnOnce(E) -> SetupError {
    let path = path.into();
    move |cause| SetupError::Contents { path, key, cause: Box::new(cause) }
}

pub(crate) fn read_genesis(path: &Path) -> Result<Genesis, SetupError> {
    let found = Genesis::from_json(&String::from_utf8_lossy(&read(path, "node.genesis")?));
    found.map_err(contents(path, "node.genesis"))
}

pub(crate) fn read_keys(path: &Path) -> Result<ClientKeys, SetupError> {
    let found = ClientKeys::from_bytes(&read(path, "node.client_key")?);
    found.map_err(contents(path, "node.client_key"))
}
