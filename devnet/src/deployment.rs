//! Deploys the contracts on the development L1, and writes the files by which the processes find them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rollmill_circuits::circuit::contracts as root_contracts;
use rollmill_l1::abi::{self, Rates, RootKey};
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_l1::alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::rpc::types::TransactionReceipt;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::blob::Sidecar;
use rollmill_l1::{
    Chosen, Followed, L1Client, L1Error, Plan, SenderConfig, Terms, TxRequest, TxSender,
    creation_code, deploy, root_key,
};
use rollmill_plonk::solidity;
use rollmill_protocol::gas::{DA_GAS_PER_TX, L2_GAS_PER_TX};
use rollmill_protocol::{Config, EthAddress, Genesis};

use crate::accounts::genesis_archive_root;
use crate::error::rpc;
use crate::governance::create;
use crate::keys::CircuitKeys;
use crate::{ANVIL_CHAIN_ID, Error, Options};

/// Keys of anvil's first accounts, which are public.
pub const DEPLOYER_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
pub const PROPOSER_KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
pub const PROVER_KEY: &str = "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a";

const WARMING_KEY: &str = "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";

/// A slot is at least two L1 blocks long, since a proposal must land in the slot it was made in, and
/// anvil mines one block per second. One more block allows for a busy machine.
pub const SLOT_SECONDS: u32 = 3;
/// With several members one slot has a round of signatures too, for which a proposer waits at most half of the slot.
const COMMITTEE_SLOT_SECONDS: u32 = 6;
/// Proving takes minutes on a small machine: enough for a day.
pub(crate) const PROOF_WINDOW_SECONDS: u32 = 86_400;
/// Under faults a deadline may be missed, and the chain must continue after that.
const CHAOS_PROOF_WINDOW_SECONDS: u32 = 180;
/// Time in which anybody may still prove after the window, and that an epoch has after a late one before it.
const CHALLENGE_SECONDS: u32 = 60;
/// More than a run proposes before one of its epochs is proven.
const MAX_UNPROVEN_EPOCHS: u16 = 128;

/// Base units of the token in one unit on L2, as the contract has it.
pub const UNIT: u64 = 1_000_000_000;
/// Base units of one token.
pub const TOKEN: u128 = 1_000_000_000_000_000_000;
/// The deployer's tokens, of which it funds everything else.
pub(crate) const SUPPLY: u128 = 1_000_000_000 * TOKEN;
/// What the first block of an epoch locks, and how many epochs the proposer can open unproven.
const BOND: u128 = 1_000 * TOKEN;
const BONDS: u128 = 200;
/// Pays for proofs and blocks.
pub(crate) const TREASURY: u128 = 1_000_000 * TOKEN;

/// A rollup on L1.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub l1_url: String,
    pub rollup: Address,
    pub contracts: abi::Contracts,
    /// The fee asset.
    pub token: Address,
    /// Accounts of the committee, in its order.
    pub members: Vec<Address>,
    /// Verifiers of ranges of one block and of more.
    pub verifiers: [Address; 2],
    /// L1 block before the deployment.
    pub l1_start: u64,
    /// First L1 block that has all of the deployment.
    pub l1_ready: u64,
    pub config: Config,
    /// What L1 pays at first.
    pub rates: Rates,
    /// Genesis file.
    pub genesis: PathBuf,
    /// File with the client circuit's key.
    pub client_key: PathBuf,
}

impl Deployment {
    /// The contracts whose events are followed.
    pub fn followed(&self) -> Followed {
        Followed { rollup: self.rollup, inbox: self.contracts.inbox }
    }

    /// The verifier of a range of so many blocks.
    pub fn verifier_of(&self, blocks: u64) -> Address {
        self.verifiers[usize::from(blocks > 1)]
    }
}

/// Slots of an epoch that holds `blocks` blocks: enough time to send the transactions of all of them from
/// any point of its first half on.
pub fn slots_per_epoch(blocks: u32) -> u32 {
    (4 * blocks).max(8)
}

/// The signer of one of the well-known keys above.
///
/// # Errors
/// [`Error::L1Key`] if the text is no key.
pub fn signer(key: &str) -> Result<PrivateKeySigner, Error> {
    key.parse().map_err(|_| Error::L1Key)
}

/// The key of one of the further accounts of a development network. Anybody can derive it from its name.
pub fn derived_key(name: &str) -> String {
    let key = keccak256(format!("rollmill-devnet {name}"));
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Key of member `i` of the committee, counted from 1.
pub fn member_key(i: u32) -> String {
    if i == 1 { PROPOSER_KEY.to_owned() } else { derived_key(&format!("member {i}")) }
}

/// Wei for the gas of a further account.
const WEALTH: u128 = 1_000_000_000_000_000_000_000;

/// Gives an account wei, which only those that anvil starts with have.
///
/// # Errors
/// [`Error::L1`].
pub(crate) async fn enrich(l1: &L1Client, account: Address) -> Result<(), Error> {
    let done = l1.provider().anvil_set_balance(account, U256::from(WEALTH)).await;
    done.map_err(rpc("balance of a development account"))
}

/// The parameters of a deployment with slot 0 at `genesis_time`, epochs for so many blocks and so many members.
pub(crate) fn config(genesis_time: u64, blocks: u32, members: u32) -> Config {
    let slot_seconds = if members > 1 { COMMITTEE_SLOT_SECONDS } else { SLOT_SECONDS };
    Config {
        genesis_time,
        slot_seconds: slot_seconds.into(),
        slots_per_epoch: slots_per_epoch(blocks).into(),
        l2_gas_limit: 32 * L2_GAS_PER_TX,
        l2_gas_target: 16 * L2_GAS_PER_TX,
        da_gas_limit: 32 * DA_GAS_PER_TX,
        da_gas_target: 16 * DA_GAS_PER_TX,
        min_fee_per_gas: 1,
        message_subtree_height: 6,
    }
}

/// What L1 pays at first.
pub(crate) fn rates() -> Rates {
    Rates {
        feePerConstraint: 1_000_000,
        blockReward: U96::from(TOKEN),
        proposerBps: 8_000,
        attesterBps: 2_000,
        proverBps: 0,
        challengeShareBps: 5_000,
        committeeSize: 4,
        bondAmount: U96::from(BOND),
        minStake: U96::from(TOKEN),
    }
}

/// Deploys the contracts on L1, funds them, and writes the files that name them. `genesis` makes the genesis of
/// the rollup at an address under a config.
///
/// # Errors
/// [`Error::L1`] when L1 rejects it, [`Error::File`] for the artifacts or the files.
pub async fn deploy_contracts(
    l1: SocketAddr,
    contracts: &Path,
    data: &Path,
    keys: &CircuitKeys,
    genesis_time: u64,
    genesis: impl FnOnce(EthAddress, Config) -> Genesis,
    options: &Options,
) -> Result<Deployment, Error> {
    let deployer = Deployer::open(l1, data).await?;
    let verifiers = deployer.verifiers(contracts, keys).await?;
    let (timelock, token) = deploy_token(&deployer.sender).await?;
    let proof_window_seconds = match options.chaos {
        Some(_) => CHAOS_PROOF_WINDOW_SECONDS,
        None => PROOF_WINDOW_SECONDS,
    };
    let members = (1..=options.committee).map(|i| Ok(signer(&member_key(i))?.address()));
    let members = members.collect::<Result<_, Error>>()?;
    let of = Founding {
        name: "rollup",
        token,
        timelock,
        verifiers,
        members,
        config: config(genesis_time, options.blocks, options.committee),
        proof_window_seconds,
    };
    let (deployment, genesis) = deployer.found(of, keys, genesis).await?;
    deployer.back(&deployment, &genesis).await?;
    deployer.pay("fund/rewards", token, deployment.contracts.rewards, TREASURY).await?;
    deployer.post_bonds(&deployment).await?;
    Ok(deployment)
}

/// What distinguishes a deployment from another on the same L1.
#[derive(Debug, Clone)]
pub(crate) struct Founding {
    /// Prefix of its transactions and files.
    pub name: &'static str,
    pub token: Address,
    pub timelock: Address,
    /// For ranges of one block and of more.
    pub verifiers: [RootKey; 2],
    /// Accounts of the fixed committee.
    pub members: Vec<Address>,
    pub config: Config,
    pub proof_window_seconds: u32,
}

/// The account that deploys and funds everything, and has the token's first supply.
#[derive(Debug)]
pub(crate) struct Deployer {
    pub l1: L1Client,
    pub sender: TxSender,
    l1_url: String,
    /// Directory of the files that name a deployment.
    data: PathBuf,
    /// L1's head before the first of its transactions.
    start: u64,
}

impl Deployer {
    /// Opens the account. Its journal goes to `data`.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub(crate) async fn open(l1: SocketAddr, data: &Path) -> Result<Self, Error> {
        let l1_url = format!("http://{l1}");
        let client = L1Client::connect(std::slice::from_ref(&l1_url), ANVIL_CHAIN_ID).await?;
        let start = client.latest().await?.number;
        let intents = data.join("deployer-intents.json");
        let sender = open_sender(&client, DEPLOYER_KEY, &intents).await?;
        Ok(Self { l1: client, sender, l1_url, data: data.to_owned(), start })
    }

    /// Deploys both generated verifiers, and opens their leaves in the key tree.
    ///
    /// # Errors
    /// [`Error::VerifierStale`] for verifiers of other keys; as [`deploy_contracts`].
    pub(crate) async fn verifiers(
        &self,
        contracts: &Path,
        keys: &CircuitKeys,
    ) -> Result<[RootKey; 2], Error> {
        deploy_verifiers(&self.sender, contracts, keys).await
    }

    /// Deploys a rollup with the contracts that belong to it, and writes the files that name it. Nothing is funded.
    ///
    /// # Errors
    /// As [`deploy_contracts`].
    pub(crate) async fn found(
        &self,
        of: Founding,
        keys: &CircuitKeys,
        genesis: impl FnOnce(EthAddress, Config) -> Genesis,
    ) -> Result<(Deployment, Genesis), Error> {
        let (sender, name) = (&self.sender, of.name);
        let code = abi::BlobAvailability::BYTECODE.clone();
        let data_availability =
            deploy(sender, &format!("{name}/BlobAvailability"), code).await?.address;
        let committee = abi::FixedCommittee::constructorCall { members: of.members.clone() };
        let id = format!("{name}/FixedCommittee");
        let selection = create(sender, &id, &abi::FixedCommittee::BYTECODE, &committee).await?;
        let plan = Plan::new(sender, name).await?;
        let genesis = genesis(EthAddress(plan.rollup().into_array()), of.config);
        let [one_block, more_blocks] = of.verifiers;
        let verifiers = [one_block.verifier, more_blocks.verifier];
        let terms = Terms {
            genesis_archive_root: genesis_archive_root(&genesis)?,
            vk_root: keys.set().root(),
            config: of.config,
            one_block,
            more_blocks,
            proof_window_seconds: of.proof_window_seconds,
            challenge_seconds: CHALLENGE_SECONDS,
            proof_grace_seconds: CHALLENGE_SECONDS,
            max_unproven_epochs: MAX_UNPROVEN_EPOCHS,
            data_availability,
            token: of.token,
            timelock: of.timelock,
            selection: Chosen::Existing(selection),
            rates: rates(),
        };
        let rollup = plan.deploy(sender, name, &terms).await?.address;
        let deployment = Deployment {
            l1_url: self.l1_url.clone(),
            rollup,
            contracts: self.l1.rollup(rollup).await?.info().await?.contracts,
            token: of.token,
            members: of.members,
            verifiers,
            l1_start: self.start,
            l1_ready: self.l1.latest().await?.number,
            config: of.config,
            rates: rates(),
            genesis: self.data.join(format!("{name}-genesis.json")),
            client_key: self.data.join("client.key"),
        };
        let write = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes).map_err(Error::file("write", path))
        };
        write(&deployment.genesis, genesis.to_json().as_bytes())?;
        write(&deployment.client_key, &keys.client_key().to_bytes())?;
        Ok((deployment, genesis))
    }

    /// Backs what genesis created on L2.
    async fn back(&self, deployment: &Deployment, genesis: &Genesis) -> Result<(), Error> {
        let notes = genesis.notes.iter().map(|note| note.value);
        let units = notes.chain(genesis.fee_balances.iter().map(|balance| balance.amount));
        let backing: u128 = units.map(|units| u128::from(units) * u128::from(UNIT)).sum();
        let portal = deployment.contracts.feePortal;
        self.pay("fund/fee-portal", deployment.token, portal, backing).await
    }

    /// Transfers tokens.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub(crate) async fn pay(
        &self,
        id: &str,
        token: Address,
        to: Address,
        amount: u128,
    ) -> Result<(), Error> {
        let transfer = abi::AztToken::transferCall { to, value: U256::from(amount) };
        send(&self.sender, id, token, &transfer).await
    }

    /// Gives every member wei, and posts its bonds.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub(crate) async fn post_bonds(&self, deployment: &Deployment) -> Result<(), Error> {
        let (vault, bonds) = (deployment.contracts.bondVault, U256::from(BOND) * U256::from(BONDS));
        let all = bonds * U256::from(deployment.members.len());
        let approve = abi::AztToken::approveCall { spender: vault, value: all };
        let rollup = deployment.rollup;
        send(&self.sender, &format!("{rollup}/approve"), deployment.token, &approve).await?;
        for account in deployment.members.iter().copied() {
            enrich(&self.l1, account).await?;
            let deposit = abi::BondVault::depositCall { account, amount: bonds };
            send(&self.sender, &format!("{rollup}/bonds/{account}"), vault, &deposit).await?;
        }
        Ok(())
    }
}

/// Opens an account of a development L1, whose blocks come each second.
///
/// # Errors
/// [`Error::L1`].
pub(crate) async fn open_sender(
    l1: &L1Client,
    key: &str,
    intents: &Path,
) -> Result<TxSender, Error> {
    let config = SenderConfig { poll_interval: Duration::from_millis(50), ..Default::default() };
    Ok(TxSender::open(l1.clone(), signer(key)?, intents, config).await?)
}

/// Sends a call that must succeed.
///
/// # Errors
/// [`Error::L1`].
pub(crate) async fn send(
    sender: &TxSender,
    id: &str,
    to: Address,
    call: &impl SolCall,
) -> Result<(), Error> {
    let request = TxRequest::call(id, to, Bytes::from(call.abi_encode()));
    let receipt = sender.send(request).await?;
    match receipt.succeeded {
        true => Ok(()),
        false => {
            let (id, tx_hash) = (id.to_owned(), receipt.tx_hash);
            Err(L1Error::Reverted { id, tx_hash }.into())
        }
    }
}

/// Sends a blob to a development L1, from an account that does nothing else.
///
/// With the first one anvil loads the points of its KZG setup, which takes seconds. A proposal would miss its slot
/// meanwhile.
///
/// # Errors
/// [`Error::L1`].
pub async fn warm_up(l1: SocketAddr, intents: &Path) -> Result<(), Error> {
    let client = L1Client::connect(&[format!("http://{l1}")], ANVIL_CHAIN_ID).await?;
    let signer = signer(WARMING_KEY)?;
    let to = signer.address();
    let sender = TxSender::open(client, signer, intents, SenderConfig::default()).await?;
    let sidecar = Some(Arc::new(Sidecar::empty()));
    let request = TxRequest { sidecar, ..TxRequest::call("warm-up", to, Bytes::new()) };
    sender.send(request).await?;
    Ok(())
}

/// Deploys both generated verifiers, and opens their leaves in the key tree.
async fn deploy_verifiers(
    sender: &TxSender,
    contracts: &Path,
    keys: &CircuitKeys,
) -> Result<[RootKey; 2], Error> {
    let code = |name: &str| {
        let path = contracts.join("artifacts").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        Ok::<_, Error>(creation_code(&text)?)
    };
    let mut roots = Vec::new();
    for (circuit, name) in root_contracts() {
        // A verifier of other keys would reject every proof, after minutes of proving.
        let path = contracts.join("src").join(format!("{name}.sol"));
        let source = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let key = &keys.set().key(circuit).vk;
        if source != solidity::generate(key, keys.set().tau_g2(), &name, Some(circuit.pair_at())) {
            return Err(Error::VerifierStale { path });
        }
        let verifier = deploy(sender, &name, code(&name)?).await?.address;
        let opened = keys.set().opened(circuit);
        roots.push(root_key(verifier, opened.leaf.charged_rows, &opened.path)?);
    }
    let got = roots.len();
    roots.try_into().map_err(|_| {
        let reason = format!("{got} of them, two expected");
        Error::from(L1Error::Decode { what: "root circuits", reason })
    })
}

/// Deploys the fee asset, whose minter is a timelock that only the deployer can schedule.
async fn deploy_token(sender: &TxSender) -> Result<(Address, Address), Error> {
    let admin = sender.account();
    let timelock = abi::TimelockController::constructorCall {
        minDelay: U256::ZERO,
        proposers: vec![admin],
        executors: vec![Address::ZERO],
        admin,
    };
    let timelock =
        create(sender, "TimelockController", &abi::TimelockController::BYTECODE, &timelock).await?;
    let token = abi::AztToken::constructorCall {
        minter: timelock,
        holder: admin,
        supply: U256::from(SUPPLY),
    };
    Ok((timelock, create(sender, "AztToken", &abi::AztToken::BYTECODE, &token).await?))
}

/// The receipt of a transaction that L1 included.
///
/// # Errors
/// [`Error::NoReceipt`] if L1 has none, [`Error::L1`].
pub(crate) async fn receipt(l1: &L1Client, hash: B256) -> Result<TransactionReceipt, Error> {
    let receipt = l1.provider().get_transaction_receipt(hash).await.map_err(rpc("receipt"))?;
    receipt.ok_or_else(|| Error::NoReceipt { tx_hash: hash.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses are those that anvil prints when it starts.
    #[test]
    fn the_keys_are_those_of_anvils_accounts() {
        let address = |key: &str| signer(key).unwrap().address().to_string();
        assert_eq!(address(DEPLOYER_KEY), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(address(PROPOSER_KEY), "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
        assert_eq!(address(PROVER_KEY), "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
        assert_eq!(address(WARMING_KEY), "0x90F79bf6EB2c4f870365E785982E1f101E93b906");
    }
}
