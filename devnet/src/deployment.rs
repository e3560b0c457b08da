//! Deploys the contracts on the development L1, and writes the files by which the processes find them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rollmill_deployment::{
    Account, Amount, Blocks, Bond, Committee, ContractBalance, EthAccount, Event, Existing, Facts,
    Funds, Governance, Roots, Schedule, Token, client_keys,
};
use rollmill_l1::abi;
use rollmill_l1::alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::rpc::types::TransactionReceipt;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::blob::Sidecar;
use rollmill_l1::{Azt, Followed, L1Client, L1Error, SenderConfig, TxRequest, TxSender};
use rollmill_protocol::Config;

use crate::error::rpc;
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
/// Proving takes minutes on a small machine: enough for a day, if epochs are long enough for [`MAX_UNPROVEN_EPOCHS`].
pub(crate) const PROOF_WINDOW_SECONDS: u32 = 86_400;
/// Under faults a deadline may be missed, and the chain must continue after that.
const CHAOS_PROOF_WINDOW_SECONDS: u32 = 180;
/// Time in which anybody may still prove after the window, and that an epoch has after a late one before it.
const CHALLENGE_SECONDS: u32 = 60;
/// As many as a deployment can have: more than a run proposes before one of its epochs is proven.
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
    pub rates: abi::Rates,
    /// The file that the processes of the deployment start with.
    pub file: PathBuf,
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

/// First prices of gas.
const FEE_PER_GAS: u64 = 10;

fn azt(base_units: u128) -> Amount {
    Amount(Azt::new(base_units))
}

/// What L1 pays at first.
pub(crate) fn rate_facts() -> rollmill_deployment::Rates {
    rollmill_deployment::Rates {
        fee_per_constraint_azt: azt(1_000_000),
        block_reward_azt: azt(TOKEN),
        proposer_bps: 8_000,
        attester_bps: 2_000,
        prover_bps: 0,
        challenge_share_bps: 5_000,
        committee_size: 4,
        bond_azt: azt(BOND),
        min_stake_azt: azt(TOKEN),
    }
}

/// Deploys the contracts on L1, funds them, and writes the files that name them. `accounts` and `contracts` have something
/// on L2 from the start.
///
/// # Errors
/// [`Error::L1`] when L1 rejects it, [`Error::Deploy`] for the facts, the verifiers or the files.
pub async fn deploy_contracts(
    l1: SocketAddr,
    data: &Path,
    keys: &CircuitKeys,
    genesis_time: u64,
    (accounts, contracts): (Vec<Account>, Vec<ContractBalance>),
    options: &Options,
) -> Result<Deployment, Error> {
    let deployer = Deployer::open(l1, data).await?;
    let proof_window_seconds = match (options.chaos, options.proof_window_seconds) {
        (Some(_), _) => CHAOS_PROOF_WINDOW_SECONDS,
        (None, Some(seconds)) => seconds,
        (None, None) => PROOF_WINDOW_SECONDS,
    };
    let members = (1..=options.committee).map(|i| Ok(signer(&member_key(i))?.address()));
    let of = Founding {
        name: "rollup",
        existing: Existing::default(),
        members: members.collect::<Result<_, Error>>()?,
        genesis_time,
        blocks: options.epoch_blocks(),
        proof_window_seconds,
        accounts,
        contracts,
        rewards: TREASURY,
    };
    deployer.found(of, keys).await
}

/// What distinguishes a deployment from another on the same L1.
#[derive(Debug, Clone)]
pub(crate) struct Founding {
    /// Prefix of its transactions, and folder of its files.
    pub name: &'static str,
    /// Token, timelock and verifiers, if it has those of another one.
    pub existing: Existing,
    /// Accounts of the fixed committee.
    pub members: Vec<Address>,
    /// Time of slot 0.
    pub genesis_time: u64,
    /// Blocks for which an epoch has slots.
    pub blocks: u32,
    pub proof_window_seconds: u32,
    /// Who has something on L2 from the start.
    pub accounts: Vec<Account>,
    /// Which contracts have a public balance on L2 from the start.
    pub contracts: Vec<ContractBalance>,
    /// Base units that Rewards gets.
    pub rewards: u128,
}

impl Founding {
    /// As an operator would write them into a file. A new token has a timelock that the deployer alone schedules.
    fn facts(self, deployer: Address) -> Facts {
        let is_new = self.existing.token.is_none();
        let slot_seconds =
            if self.members.len() > 1 { COMMITTEE_SLOT_SECONDS } else { SLOT_SECONDS };
        // A deployment whose proposals would stall before a prune is due is rejected.
        let pruned_after = slots_per_epoch(self.blocks)
            .saturating_mul(slot_seconds)
            .saturating_mul(u32::from(MAX_UNPROVEN_EPOCHS) - 2);
        let window_max = pruned_after.saturating_sub(CHALLENGE_SECONDS);
        let bond =
            |member: &Address| Bond { account: EthAccount(*member), amount_azt: azt(BOND * BONDS) };
        Facts {
            name: self.name.to_owned(),
            chain_id: ANVIL_CHAIN_ID,
            schedule: Schedule {
                genesis_time: self.genesis_time,
                slot_seconds: slot_seconds.into(),
                slots_per_epoch: slots_per_epoch(self.blocks).into(),
                proof_window_seconds: self.proof_window_seconds.min(window_max),
                challenge_seconds: CHALLENGE_SECONDS,
                proof_grace_seconds: CHALLENGE_SECONDS,
                max_unproven_epochs: MAX_UNPROVEN_EPOCHS,
            },
            blocks: Blocks {
                max_txs: 32,
                target_txs: 16,
                min_fee_per_gas: 1,
                first_fee_per_l2_gas: FEE_PER_GAS,
                first_fee_per_da_gas: FEE_PER_GAS,
            },
            existing: self.existing,
            token: is_new.then(|| Token { supply_azt: azt(SUPPLY), holder: None }),
            governance: is_new.then_some(Governance {
                timelock_seconds: 0,
                owner: Some(EthAccount(deployer)),
                vote: None,
            }),
            bonds: self.members.iter().map(bond).collect(),
            committee: Committee {
                members: self.members.into_iter().map(EthAccount).collect(),
                staking: false,
            },
            rates: rate_facts(),
            funds: Funds { rewards_azt: (self.rewards > 0).then(|| azt(self.rewards)) },
            accounts: self.accounts,
            contracts: self.contracts,
        }
    }
}

/// The account that deploys and funds everything, and has the token's first supply.
#[derive(Debug)]
pub(crate) struct Deployer {
    pub l1: L1Client,
    pub sender: TxSender,
    l1_url: String,
    /// Directory of the files that name a deployment.
    data: PathBuf,
}

impl Deployer {
    /// Opens the account. Its journal goes to `data`.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub(crate) async fn open(l1: SocketAddr, data: &Path) -> Result<Self, Error> {
        let l1_url = format!("http://{l1}");
        let client = L1Client::connect(std::slice::from_ref(&l1_url), ANVIL_CHAIN_ID).await?;
        let intents = data.join("deployer-intents.json");
        let sender = open_sender(&client, DEPLOYER_KEY, &intents).await?;
        Ok(Self { l1: client, sender, l1_url, data: data.to_owned() })
    }

    /// Deploys a rollup with the contracts that belong to it, funds it, gives every member wei, posts the members' bonds,
    /// and writes the files that name it: what `rollmill-l1 deploy` does.
    ///
    /// # Errors
    /// As [`deploy_contracts`].
    pub(crate) async fn found(
        &self,
        of: Founding,
        keys: &CircuitKeys,
    ) -> Result<Deployment, Error> {
        for account in of.members.iter().copied() {
            enrich(&self.l1, account).await?;
        }
        let (folder, members) = (self.data.join(of.name), of.members.clone());
        let facts = of.facts(self.sender.account());
        let roots = Roots::of(keys.set(), None, ANVIL_CHAIN_ID)?;
        let key = client_keys(keys.set()).to_bytes();
        let mut silent = |_: Event<'_>| {};
        let deployed =
            rollmill_deployment::deploy(&self.sender, &facts, &roots, &key, &folder, &mut silent);
        let deployed = deployed.await?;
        let at = deployed.plan.addresses;
        Ok(Deployment {
            l1_url: self.l1_url.clone(),
            rollup: at.rollup,
            contracts: at.tied,
            token: at.token,
            members,
            verifiers: at.verifiers,
            l1_start: deployed.l1_start,
            l1_ready: deployed.l1_ready,
            config: deployed.plan.terms.config,
            rates: deployed.plan.terms.rates,
            file: deployed.path,
        })
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
