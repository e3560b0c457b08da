//! What governance decides, by proposal, vote, queue and execution.

use rollmill_l1::abi::{AztToken, Deployments, Governance, Registry, TimelockController};
use rollmill_l1::alloy::primitives::{Address, B256, Bytes, U256};
use rollmill_l1::alloy::sol_types::SolCall;

use super::deployments::{WITHDRAWN, withdraw};
use crate::Error;
use crate::economics::book::Purpose;
use crate::economics::chain::{Chain, Draft};
use crate::economics::setup::{self, Common, Setup, TREASURY};
use crate::economics::stage::{Call, Role, Stage, getter};
use crate::economics::vote::{self, Motion};

/// Rewards is empty. A prover gets its part of fees, and its pay when governance has minted for it. Nobody else can mint.
pub(super) async fn governance_funding(
    stage: &mut Stage,
    common: &Common,
) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup { treasury: 0, ..Setup::STANDARD }).await?;
    vote::delegate(stage, common).await?;
    chain.propose(stage, Draft::at(1).with_txs(2)).await?;
    stage.until(chain.times.end(0)).await?;
    chain.prove(stage, Role::Prover, 0, 1).await?;
    chain.settled(stage, 0);
    chain.money.bond_returned(0);
    chain.claim_blocks(stage, 0).await?;
    let prover = Role::Prover.address()?;
    let paid = chain.claim(stage, prover).await?;
    let still = chain.money.owed.get(&prover).map_or(0, |owed| owed.total());
    let expected = chain.money.rates.epoch_pay(chain.rows(0, 1));
    stage.require("Rewards is empty: the pay waits", expected, still)?;
    stage.require("its part of the fees does not", true, paid != 0)?;
    stage.say("Rewards is empty: the prover is paid its part of the fees, and its pay waits");

    let to = chain.money.rewards;
    let mint = AztToken::mintCall { to, amount: U256::from(TREASURY) };
    for (by, step) in
        [(Role::Holder, "mint by the first holder"), (Role::Prover, "mint by the prover")]
    {
        stage.rejected::<AztToken::NotMinter>(by, step, Call::new(common.token, &mint)).await?;
    }
    past_governance(stage, common, &mint).await?;
    let motion = Motion::new(common, "fund the provers").call(common.token, &mint);
    let step = "propose the motion without votes";
    stage
        .rejected::<Governance::GovernorInsufficientProposerVotes>(
            Role::User,
            step,
            motion.proposal(),
        )
        .await?;
    vote::voted(stage, &motion).await?;
    let step = "queue it before the vote ends";
    stage
        .rejected::<Governance::GovernorUnexpectedProposalState>(
            Role::Anyone,
            step,
            motion.queueing(),
        )
        .await?;
    vote::queued(stage, &motion).await?;
    let step = "execute it before the delay is over";
    stage
        .rejected::<TimelockController::TimelockUnexpectedOperationState>(
            Role::Anyone,
            step,
            motion.execution(),
        )
        .await?;
    vote::executed(stage, &motion).await?;
    stage.book.moved(Address::ZERO, to, TREASURY, Purpose::Mint);
    chain.pay_out(stage, &[]).await?;
    stage.say("Rewards is funded: everybody is paid the rest");
    Ok(vec![chain])
}

/// Nobody reaches the timelock but through the Governor.
async fn past_governance(
    stage: &mut Stage,
    common: &Common,
    mint: &AztToken::mintCall,
) -> Result<(), Error> {
    let schedule = TimelockController::scheduleCall {
        target: common.token,
        value: U256::ZERO,
        data: mint.abi_encode().into(),
        predecessor: B256::ZERO,
        salt: B256::ZERO,
        delay: U256::from(setup::TIMELOCK_DELAY),
    };
    let step = "schedule it in the timelock directly";
    let call = Call::new(common.timelock, &schedule);
    stage
        .rejected::<TimelockController::AccessControlUnauthorizedAccount>(Role::Holder, step, call)
        .await?;
    let execute = TimelockController::executeCall {
        target: common.token,
        value: U256::ZERO,
        payload: Bytes::from(mint.abi_encode()),
        predecessor: B256::ZERO,
        salt: B256::ZERO,
    };
    let step = "execute it in the timelock directly";
    let call = Call::new(common.timelock, &execute);
    stage
        .rejected::<TimelockController::TimelockUnexpectedOperationState>(Role::Holder, step, call)
        .await
}

/// Governance recognizes alpha, later beta: one motion adds it, makes it canonical, funds it and sets alpha's block reward
/// to 0. Alpha goes on, and so do withdrawals from it.
pub(super) async fn upgrade(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let mut alpha = setup::chain(stage, common, Setup { name: "alpha", ..Setup::STANDARD }).await?;
    vote::delegate(stage, common).await?;
    let registry = alpha.info.contracts.registry;
    let add = Deployments::addCall { name: "testnet-alpha".into(), registry };
    let step = "add a deployment without a vote";
    let call = Call::new(common.deployments, &add);
    stage.rejected::<Deployments::NotTimelock>(Role::Holder, step, call).await?;
    let motion = Motion::new(common, "recognize alpha").call(common.deployments, &add);
    vote::passed(stage, &motion).await?;
    require_canonical(stage, common, &alpha).await?;
    run_epoch(stage, &mut alpha, None).await?;

    let setup = Setup { name: "beta", treasury: 0, ..Setup::STANDARD };
    let mut beta = setup::chain(stage, common, setup).await?;
    let mut without_reward = alpha.money.rates;
    without_reward.block_reward = 0;
    let set_rates = Registry::setRatesCall { next: without_reward.to_l1() };
    let step = "set alpha's rates without a vote";
    stage
        .rejected::<Registry::NotTimelock>(Role::Holder, step, Call::new(registry, &set_rates))
        .await?;
    let (rewards, amount) = (beta.money.rewards, U256::from(TREASURY));
    let add = Deployments::addCall {
        name: "testnet-beta".into(),
        registry: beta.info.contracts.registry,
    };
    let motion = Motion::new(common, "upgrade to beta")
        .call(common.deployments, &add)
        .call(common.deployments, &Deployments::setCanonicalCall { id: U256::from(1) })
        .call(common.token, &AztToken::mintCall { to: rewards, amount })
        .call(registry, &set_rates);
    vote::passed(stage, &motion).await?;
    stage.book.moved(Address::ZERO, rewards, TREASURY, Purpose::Mint);
    alpha.money.rates = without_reward;
    require_canonical(stage, common, &beta).await?;

    let user = Role::User.address()?;
    stage.book.name(user, "user");
    let number = alpha.blocks.len() as u64 + 1;
    run_epoch(stage, &mut alpha, Some((user, WITHDRAWN))).await?;
    withdraw(stage, &mut alpha, number, user).await?;
    let approve = AztToken::approveCall { spender: beta.money.portal, value: U256::MAX };
    stage.send(Role::User, "approve", Call::new(common.token, &approve)).await?;
    beta.deposit_for_l2(stage, Role::User, WITHDRAWN.into()).await?;
    stage.say("the user deposits on beta what it withdrew from alpha");
    run_epoch(stage, &mut beta, None).await?;
    for chain in [&mut alpha, &mut beta] {
        chain.pay_out(stage, &[]).await?;
    }
    Ok(vec![alpha, beta])
}

/// One block in the next slot, proven when its epoch is over, and claimed.
async fn run_epoch(
    stage: &mut Stage,
    chain: &mut Chain,
    withdrawal: Option<(Address, u64)>,
) -> Result<(), Error> {
    let slot = chain.times.slot_at(stage.now().await?) + 1;
    let epoch = chain.epoch(slot);
    let txs = u64::from(withdrawal.is_some());
    chain.propose(stage, Draft { withdrawal, ..Draft::at(slot).with_txs(txs) }).await?;
    stage.until(chain.times.end(epoch)).await?;
    let last = chain.blocks.len() as u64;
    chain.prove(stage, Role::Prover, epoch, last).await?;
    chain.settled(stage, epoch);
    chain.money.bond_returned(epoch);
    chain.claim_blocks(stage, epoch).await
}

async fn require_canonical(stage: &mut Stage, common: &Common, chain: &Chain) -> Result<(), Error> {
    let deployments = Deployments::new(common.deployments, stage.client.provider().clone());
    let canonical = deployments.canonical().call().await.map_err(getter("canonical"))?;
    stage.require("version of the canonical deployment", chain.info.version, canonical.version)?;
    stage.say(format!("{} is canonical", canonical.name));
    Ok(())
}
