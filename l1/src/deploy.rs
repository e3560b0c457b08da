//! Deploys contracts on L1.

use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider;
use alloy::sol_types::{SolConstructor, SolValue};
use rollmill_protocol::version::rollup_version;
use rollmill_protocol::{Config, EthAddress, Fr};

use crate::abi::{self, Contracts, Parameters, Rates, RootKey};
use crate::error::L1Error;
use crate::sender::{TxReceipt, TxRequest, TxSender, TxStatus};

/// A deployed contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub address: Address,
    pub receipt: TxReceipt,
}

/// Creates a contract from creation code, constructor arguments included ([`abi::creation`]).
///
/// `id` names the transaction: the same id after a restart returns the same contract.
///
/// # Errors
/// As [`TxSender::send`], and [`L1Error::Reverted`] if the constructor reverted.
pub async fn deploy(sender: &TxSender, id: &str, code: Bytes) -> Result<Deployment, L1Error> {
    let receipt = sender.send(TxRequest::create(id, code)).await?;
    match receipt.contract_address {
        Some(address) if receipt.succeeded => Ok(Deployment { address, receipt }),
        _ => Err(L1Error::Reverted { id: id.to_owned(), tx_hash: receipt.tx_hash }),
    }
}

/// The contracts of a rollup that know one another, in the order of their creation. Each takes the
/// account's next nonce, so their addresses are known before any of them exists: no contract needs a
/// setter, and the rollup's address is part of the genesis block. `staking` is created if committees are
/// drawn from stakers; the registry is last, since it requires all others.
const TIED: [&str; 8] =
    ["rollup", "inbox", "outbox", "fee-portal", "rewards", "bond-vault", STAKING, "registry"];
const STAKING: &str = "staking";

/// The addresses of a rollup's contracts, before they exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Nonce of the rollup's creation.
    pub nonce: u64,
    account: Address,
}

/// The contract that selects proposers and committees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// One that exists already, such as a fixed committee.
    Existing(Address),
    /// `Staking`, which is created with the rollup and draws committees from stakers.
    Staking,
}

/// What the deployment of a rollup fixes, besides the addresses.
#[derive(Debug, Clone)]
pub struct Terms {
    pub genesis_archive_root: Fr,
    pub vk_root: Fr,
    pub config: Config,
    /// Verifies ranges of one block.
    pub one_block: RootKey,
    /// Verifies ranges of two blocks and more.
    pub more_blocks: RootKey,
    pub proof_window_seconds: u32,
    pub challenge_seconds: u32,
    pub proof_grace_seconds: u32,
    pub max_unproven_epochs: u16,
    /// Contracts that exist already.
    pub data_availability: Address,
    pub token: Address,
    pub timelock: Address,
    pub selection: Chosen,
    pub rates: Rates,
}

impl Plan {
    /// Plans a deployment by the sender's account under names that start with `prefix`. After a restart
    /// that finds some of the contracts, the plan is the same.
    ///
    /// Until [`Self::deploy`] is done, the account must send nothing else.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn new(sender: &TxSender, prefix: &str) -> Result<Self, L1Error> {
        let account = sender.account();
        let nonce = match sender.status(&format!("{prefix}/{}", TIED[0]), 0) {
            Some(TxStatus::Included(receipt)) => receipt.nonce,
            Some(TxStatus::Pending { nonce, .. }) => nonce,
            _ => {
                let count = sender.client().provider().get_transaction_count(account).await;
                count.map_err(L1Error::rpc("nonce"))?
            }
        };
        Ok(Self { nonce, account })
    }

    /// The plan of an account whose rollup takes this nonce.
    pub const fn at(account: Address, nonce: u64) -> Self {
        Self { nonce, account }
    }

    /// Address of the rollup.
    pub fn rollup(&self) -> Address {
        self.account.create(self.nonce)
    }

    /// Number of the deployment that this plan makes on a chain with these keys and this config.
    pub fn version(&self, chain_id: u64, vk_root: &Fr, config: &Config) -> u64 {
        let rollup = EthAddress(self.rollup().into_array());
        rollup_version(chain_id, rollup, vk_root, config)
    }

    /// The contracts as the rollup knows them.
    pub fn contracts(&self, terms: &Terms) -> Contracts {
        let at = |place: u64| self.account.create(self.nonce + place);
        let [inbox, outbox, fee_portal, rewards, bond_vault] = [1, 2, 3, 4, 5].map(at);
        let (selection, registry) = match terms.selection {
            Chosen::Existing(address) => (address, at(6)),
            Chosen::Staking => (at(6), at(7)),
        };
        Contracts {
            dataAvailability: terms.data_availability,
            selection,
            inbox,
            outbox,
            feePortal: fee_portal,
            rewards,
            bondVault: bond_vault,
            registry,
        }
    }

    /// The creations in their order, each by its name and with its constructor's arguments. Each takes the nonce after
    /// the one before.
    ///
    /// # Errors
    /// [`L1Error::Decode`] if the config is out of its bounds.
    pub fn creations(&self, terms: &Terms) -> Result<Vec<(&'static str, Bytes)>, L1Error> {
        let bad = |error: rollmill_protocol::DecodeError| L1Error::Decode {
            what: "deployment's config",
            reason: error.to_string(),
        };
        let parameters = Parameters {
            genesisArchiveRoot: abi::word(&terms.genesis_archive_root),
            vkRoot: abi::word(&terms.vk_root),
            config: abi::l1_config(&terms.config).map_err(bad)?,
            oneBlock: terms.one_block.clone(),
            moreBlocks: terms.more_blocks.clone(),
            proofWindowSeconds: terms.proof_window_seconds,
            challengeSeconds: terms.challenge_seconds,
            proofGraceSeconds: terms.proof_grace_seconds,
            maxUnprovenEpochs: terms.max_unproven_epochs,
            contracts: self.contracts(terms),
        };
        let rollup = self.rollup();
        let of_token = |code: &Bytes| abi::creation(code, &(rollup, terms.token).abi_encode());
        let registry = abi::Registry::constructorCall {
            rollup,
            timelock: terms.timelock,
            first: terms.rates.clone(),
        };
        let codes = [
            abi::rollup_creation(&parameters),
            abi::creation(&abi::Inbox::BYTECODE, &rollup.abi_encode()),
            abi::creation(&abi::Outbox::BYTECODE, &rollup.abi_encode()),
            of_token(&abi::FeePortal::BYTECODE),
            of_token(&abi::Rewards::BYTECODE),
            of_token(&abi::BondVault::BYTECODE),
            of_token(&abi::Staking::BYTECODE),
            abi::creation(&abi::Registry::BYTECODE, &registry.abi_encode()),
        ];
        let has_staking = terms.selection == Chosen::Staking;
        let tied = TIED.into_iter().zip(codes);
        Ok(tied.filter(|(name, _)| *name != STAKING || has_staking).collect())
    }

    /// Creates the contracts, and returns the rollup's deployment.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if a constructor rejects its arguments; [`L1Error::NonceTaken`] if the account
    /// sent something else meanwhile; as [`TxSender::send`].
    pub async fn deploy(
        &self,
        sender: &TxSender,
        prefix: &str,
        terms: &Terms,
    ) -> Result<Deployment, L1Error> {
        let tied = self.creations(terms)?;
        let mut first = None;
        for (nonce, (name, code)) in (self.nonce..).zip(tied) {
            let planned = self.account.create(nonce);
            let id = format!("{prefix}/{name}");
            let made = deploy(sender, &id, code).await?;
            if made.address != planned {
                let (nonce, account) = (made.receipt.nonce, sender.account());
                return Err(L1Error::NonceTaken { id, nonce, account });
            }
            first.get_or_insert(made);
        }
        first.ok_or_else(|| L1Error::Decode {
            what: "deployment",
            reason: "it has no contract".to_owned(),
        })
    }
}

/// The key of a root verifier as the rollup takes it: the contract, and the leaf's path in the key tree.
pub fn root_key(verifier: Address, charged_rows: u64, path: &[Fr]) -> Result<RootKey, L1Error> {
    let words: Vec<B256> = path.iter().map(abi::word).collect();
    let got = words.len();
    let path = words.try_into().map_err(|_| L1Error::Decode {
        what: "path of a root key",
        reason: format!("{got} siblings"),
    })?;
    Ok(RootKey { verifier, chargedRows: charged_rows, path })
}

/// The creation code in an artifact as `contracts/build.js` writes it, or as forge does.
pub fn creation_code(artifact: &str) -> Result<Bytes, L1Error> {
    let bad = |reason: String| L1Error::Decode { what: "contract artifact", reason };
    let value: serde_json::Value =
        serde_json::from_str(artifact).map_err(|error| bad(error.to_string()))?;
    let code = &value["bytecode"];
    let text = code.as_str().or_else(|| code["object"].as_str());
    let text = text.ok_or_else(|| bad("field `bytecode` is missing".to_owned()))?;
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .map_err(|error| bad(format!("field `bytecode`: {error}")))?;
    if bytes.is_empty() {
        return Err(bad("field `bytecode` is empty: the contract is abstract".to_owned()));
    }
    Ok(bytes.into())
}
