//! What every scenario starts from: the token with its governance, and deployments of the rollup.

use rollmill_l1::abi::{self, RootKey};
use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::{Chosen, L1Error, Plan, Terms, TxSender, deploy, root_key};
use rollmill_protocol::gas::{DA_GAS_PER_TX, L2_GAS_PER_TX, MAX_TXS_PER_BLOCK};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_path, vk_tree};
use rollmill_protocol::{Circuit, Config, Fr};

use super::book::Purpose;
use super::chain::Chain;
use super::ledger::Ledger;
use super::money::{AZT, Rates, Times, charged_rows};
use super::stage::{Call, Role, Stage};
use super::verifier;
use crate::Error;
pub(crate) use crate::governance::Common;
use crate::governance::{Voting, create, deploy_common};

/// The first supply, all of which the holder has.
const SUPPLY: u128 = 1_000_000_000 * AZT;
/// Bonds of each member.
const BONDS: u128 = 5;
/// What governance would have funded, so that pay is not delayed.
pub(crate) const TREASURY: u128 = 100_000 * AZT;
/// Units on L2: what users have deposited.
const ON_L2: u128 = 1_000_000_000_000;
/// Members of a fixed committee, so that one may be missing from a quorum.
pub(crate) const MEMBERS: u8 = 4;
/// Validators with a stake: one may be slashed, and there are enough for a committee.
pub(crate) const STAKERS: u8 = 5;

/// Long enough that the transactions of a slot, one second each, do not leave it.
const SLOT_SECONDS: u64 = 600;
const SLOTS_PER_EPOCH: u64 = 4;
/// One epoch each, so that four epochs may be unproven before a prune is due.
const WINDOW: u64 = SLOTS_PER_EPOCH * SLOT_SECONDS;
const CHALLENGE: u64 = WINDOW;
const GRACE: u64 = SLOT_SECONDS;
const MAX_UNPROVEN_EPOCHS: u16 = 4;
/// From the start to slot 0: enough to deploy and to fund everything.
const BEFORE_GENESIS: u64 = 3_600;

/// Seconds from a proposal to its vote, of the vote, and from its end to execution.
pub(crate) const VOTING_DELAY: u64 = 86_400;
pub(crate) const VOTING_PERIOD: u64 = 3 * 86_400;
pub(crate) const TIMELOCK_DELAY: u64 = 2 * 86_400;

/// How a deployment differs from the standard one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Empty, or what distinguishes this one from another on the same L1.
    pub name: &'static str,
    /// Whether committees are drawn from stakers.
    pub staking: bool,
    /// What Rewards has to pay for proofs and blocks.
    pub treasury: u128,
    /// Missing from the first bond of member 1.
    pub missing: u128,
    /// Start of slot 0, if another deployment has decided it.
    pub genesis_time: Option<u64>,
}

impl Setup {
    pub(crate) const STANDARD: Self =
        Self { name: "", staking: false, treasury: TREASURY, missing: 0, genesis_time: None };
}

/// The decisions' times here.
const VOTING: Voting = Voting {
    delay: VOTING_DELAY,
    period: VOTING_PERIOD,
    timelock_delay: TIMELOCK_DELAY,
    quorum_percent: 4,
};

/// Deploys what no deployment owns, and names it.
pub(crate) async fn common(stage: &mut Stage) -> Result<Common, Error> {
    let sender = stage.sender(Role::Holder).await?;
    let common = deploy_common(&stage.client, &sender, SUPPLY, VOTING).await?;
    let names = [
        (common.timelock, "timelock"),
        (common.governance, "Governance"),
        (common.deployments, "Deployments"),
    ];
    for (address, name) in names {
        stage.book.name(address, name);
    }
    stage.book.moved(Address::ZERO, sender.account(), SUPPLY, Purpose::Supply);
    Ok(common)
}

/// Deploys a rollup with everything that belongs to it, then posts bonds, funds Rewards and deposits for L2.
pub(crate) async fn chain(
    stage: &mut Stage,
    common: &Common,
    setup: Setup,
) -> Result<Chain, Error> {
    let sender = stage.sender(Role::Holder).await?;
    let prefix = if setup.name.is_empty() { "rollup" } else { setup.name };
    let (one_block, more_blocks, vk_root) = verifiers(&sender, prefix).await?;
    let code = abi::BlobAvailability::BYTECODE.clone();
    let id = format!("{prefix}/BlobAvailability");
    let data_availability = deploy(&sender, &id, code).await?.address;
    let selection = match setup.staking {
        true => Chosen::Staking,
        false => Chosen::Existing(fixed_committee(&sender, prefix).await?),
    };
    let plan = Plan::new(&sender, prefix).await?;
    let config = config(match setup.genesis_time {
        Some(second) => second,
        None => stage.now().await? + BEFORE_GENESIS,
    });
    let rates = Rates::STANDARD;
    let terms = Terms {
        // No node builds on it: the contract takes any field element.
        genesis_archive_root: Fr::from(1u64),
        vk_root,
        config,
        one_block,
        more_blocks,
        proof_window_seconds: narrow(WINDOW),
        challenge_seconds: narrow(CHALLENGE),
        proof_grace_seconds: narrow(GRACE),
        max_unproven_epochs: MAX_UNPROVEN_EPOCHS,
        data_availability,
        token: common.token,
        timelock: common.timelock,
        selection,
        rates: rates.to_l1(),
    };
    let rollup = plan.deploy(&sender, prefix, &terms).await?.address;
    let rollup = stage.client.rollup(rollup).await?;
    let info = rollup.info().await?;
    let all = &info.contracts;
    let mut money = Ledger::new(rates, all.bondVault, all.rewards, all.feePortal);
    money.staking = setup.staking.then_some(all.selection);
    name_contracts(stage, all, setup);
    let times = Times {
        genesis: config.genesis_time,
        slot_seconds: SLOT_SECONDS,
        slots_per_epoch: SLOTS_PER_EPOCH,
        window: WINDOW,
        challenge: CHALLENGE,
        grace: GRACE,
    };
    let members = if setup.staking { STAKERS } else { MEMBERS };
    let mut chain = Chain::new(setup.name, rollup, info, times, money, common.token);
    chain.members = (0..members).map(Role::Member).collect();
    fund(stage, &mut chain, setup).await?;
    Ok(chain)
}

fn name_contracts(stage: &mut Stage, all: &abi::Contracts, setup: Setup) {
    let named = [
        (all.bondVault, "BondVault"),
        (all.rewards, "Rewards"),
        (all.feePortal, "FeePortal"),
        (all.selection, if setup.staking { "Staking" } else { "FixedCommittee" }),
    ];
    for (address, name) in named {
        stage.book.name(address, format!("{} {name}", setup.name).trim_start());
    }
}

async fn fixed_committee(sender: &TxSender, prefix: &str) -> Result<Address, Error> {
    let members: Result<_, _> = (0..MEMBERS).map(|i| Role::Member(i).address()).collect();
    let committee = abi::FixedCommittee::constructorCall { members: members? };
    let name = format!("{prefix}/FixedCommittee");
    Ok(create(sender, &name, &abi::FixedCommittee::BYTECODE, &committee).await?)
}

/// Stand-ins for both root verifiers, their places in a tree of keys, and the tree's root.
async fn verifiers(sender: &TxSender, prefix: &str) -> Result<(RootKey, RootKey, Fr), Error> {
    let rows = charged_rows();
    let leaf = |circuit: Circuit| VkLeaf {
        circuit,
        vk_digest: Fr::from(1_000 + circuit as u64),
        log_n: 17,
        n_public_inputs: circuit.n_public() as u64,
        charged_rows: rows.of(circuit),
        protocol_version: PROTOCOL_VERSION,
    };
    let leaves = [Circuit::EpochRoot1, Circuit::EpochRoot2].map(leaf);
    let levels = vk_tree(&leaves);
    let mut keys = Vec::new();
    for leaf in leaves {
        let code = verifier::creation_code(abi::word(&leaf.vk_digest));
        let id = format!("{prefix}/verifier-{}", leaf.circuit.name());
        let address = deploy(sender, &id, code).await?.address;
        keys.push(root_key(address, leaf.charged_rows, &vk_path(&levels, leaf.circuit))?);
    }
    let root = levels[VK_TREE_HEIGHT][0];
    match <[RootKey; 2]>::try_from(keys) {
        Ok([one_block, more_blocks]) => Ok((one_block, more_blocks, root)),
        Err(keys) => {
            let reason = format!("{} of them, two expected", keys.len());
            Err(L1Error::Decode { what: "root verifiers", reason }.into())
        }
    }
}

fn config(genesis_time: u64) -> Config {
    let txs = MAX_TXS_PER_BLOCK as u64;
    Config {
        genesis_time,
        slot_seconds: SLOT_SECONDS,
        slots_per_epoch: SLOTS_PER_EPOCH,
        l2_gas_limit: txs * L2_GAS_PER_TX,
        l2_gas_target: txs * L2_GAS_PER_TX / 2,
        da_gas_limit: txs * DA_GAS_PER_TX,
        da_gas_target: txs * DA_GAS_PER_TX / 2,
        min_fee_per_gas: 1,
        message_subtree_height: 6,
    }
}

fn narrow(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// The holder posts every member's bonds, funds Rewards, deposits for L2, and places the stakes.
async fn fund(stage: &mut Stage, chain: &mut Chain, setup: Setup) -> Result<(), Error> {
    let (token, holder) = (chain.token, Role::Holder.address()?);
    let (vault, portal) = (chain.money.vault, chain.money.portal);
    for spender in [Some(vault), Some(portal), chain.money.staking].into_iter().flatten() {
        let approve = abi::AztToken::approveCall { spender, value: U256::MAX };
        stage.send(Role::Holder, "approve", Call::new(token, &approve)).await?;
    }
    for role in chain.members.clone() {
        let account = role.address()?;
        stage.book.name(account, role.to_string());
        let missing = if role == Role::Member(1) { setup.missing } else { 0 };
        let whole = if missing == 0 { BONDS } else { 1 };
        let amount = chain.money.rates.bond * whole - missing;
        chain.deposit_bond(stage, account, amount).await?;
        if let Some(staking) = chain.money.staking {
            let amount = chain.money.rates.min_stake;
            let deposit = abi::Staking::depositCall {
                attester: account,
                withdrawer: account,
                amount: U256::from(amount),
            };
            stage.send(Role::Holder, "stake", Call::new(staking, &deposit)).await?;
            chain.money.staked(&mut stage.book, holder, account, amount);
        }
    }
    if setup.treasury != 0 {
        let (to, value) = (chain.money.rewards, U256::from(setup.treasury));
        let transfer = abi::AztToken::transferCall { to, value };
        stage.send(Role::Holder, "fund Rewards", Call::new(token, &transfer)).await?;
        stage.book.moved(holder, to, setup.treasury, Purpose::Grant);
    }
    chain.deposit_for_l2(stage, Role::Holder, ON_L2).await?;
    Ok(())
}
