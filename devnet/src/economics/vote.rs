//! A proposal's way through governance: proposed, voted on, queued, and executed after the timelock's delay.

use rollmill_l1::abi::Governance;
use rollmill_l1::alloy::primitives::{Address, Bytes, U256, keccak256};
use rollmill_l1::alloy::sol_types::SolCall;

use super::book::Purpose;
use super::setup::{Common, TIMELOCK_DELAY, VOTING_DELAY, VOTING_PERIOD};
use super::stage::{Call, Role, Stage};
use crate::Error;

/// Answers of a vote, as the Governor counts them.
const AGAINST: u8 = 0;
const FOR: u8 = 1;
/// One in so many tokens goes to the voter who votes against.
const VOTERS_PART: u128 = 5;

/// What is voted on: calls that the timelock makes, all or none.
#[derive(Debug, Clone)]
pub(crate) struct Motion {
    governance: Address,
    description: String,
    targets: Vec<Address>,
    calls: Vec<Bytes>,
}

impl Motion {
    pub(crate) fn new(common: &Common, description: &str) -> Self {
        let (targets, calls) = (Vec::new(), Vec::new());
        Self { governance: common.governance, description: description.to_owned(), targets, calls }
    }

    /// Adds a call.
    pub(crate) fn call(mut self, to: Address, call: &impl SolCall) -> Self {
        self.targets.push(to);
        self.calls.push(call.abi_encode().into());
        self
    }

    fn values(&self) -> Vec<U256> {
        vec![U256::ZERO; self.targets.len()]
    }

    pub(crate) fn proposal(&self) -> Call {
        let propose = Governance::proposeCall {
            targets: self.targets.clone(),
            values: self.values(),
            calldatas: self.calls.clone(),
            description: self.description.clone(),
        };
        Call::new(self.governance, &propose)
    }

    pub(crate) fn queueing(&self) -> Call {
        let queue = Governance::queueCall {
            targets: self.targets.clone(),
            values: self.values(),
            calldatas: self.calls.clone(),
            descriptionHash: keccak256(&self.description),
        };
        Call::new(self.governance, &queue)
    }

    pub(crate) fn execution(&self) -> Call {
        let execute = Governance::executeCall {
            targets: self.targets.clone(),
            values: self.values(),
            calldatas: self.calls.clone(),
            descriptionHash: keccak256(&self.description),
        };
        Call::new(self.governance, &execute)
    }

    async fn id(&self, stage: &Stage) -> Result<U256, Error> {
        let governance = Governance::new(self.governance, stage.client.provider().clone());
        let hash = keccak256(&self.description);
        let id = governance
            .hashProposal(self.targets.clone(), self.values(), self.calls.clone(), hash)
            .call()
            .await;
        id.map_err(super::stage::getter("hashProposal"))
    }
}

/// Gives the voter its tokens; both holders vote with what they have from now on.
pub(crate) async fn delegate(stage: &mut Stage, common: &Common) -> Result<(), Error> {
    let (holder, voter) = (Role::Holder.address()?, Role::Voter.address()?);
    let amount = stage.book.balance(holder) / VOTERS_PART;
    let transfer =
        rollmill_l1::abi::AztToken::transferCall { to: voter, value: U256::from(amount) };
    stage.send(Role::Holder, "tokens for the voter", Call::new(common.token, &transfer)).await?;
    stage.book.moved(holder, voter, amount, Purpose::Grant);
    for role in [Role::Holder, Role::Voter] {
        let delegate = rollmill_l1::abi::AztToken::delegateCall { delegatee: role.address()? };
        stage.send(role, "delegate votes", Call::new(common.token, &delegate)).await?;
    }
    Ok(())
}

/// Proposes a motion, and lets the holder vote for it and the voter against.
pub(crate) async fn voted(stage: &mut Stage, motion: &Motion) -> Result<(), Error> {
    stage.send(Role::Holder, "propose the motion", motion.proposal()).await?;
    let proposed = stage.now().await?;
    let proposal_id = motion.id(stage).await?;
    stage.until(proposed + VOTING_DELAY + 1).await?;
    for (role, support) in [(Role::Holder, FOR), (Role::Voter, AGAINST)] {
        let vote = Governance::castVoteCall { proposalId: proposal_id, support };
        stage.send(role, "vote", Call::new(motion.governance, &vote)).await?;
    }
    stage.say(format!(
        "motion \"{}\": four fifths of the votes for it, one fifth against",
        motion.description
    ));
    Ok(())
}

/// Lets the vote of a motion end, and queues the motion in the timelock.
pub(crate) async fn queued(stage: &mut Stage, motion: &Motion) -> Result<(), Error> {
    let now = stage.now().await?;
    stage.until(now + VOTING_PERIOD + 1).await?;
    stage.send(Role::Anyone, "queue the motion", motion.queueing()).await?;
    Ok(())
}

/// Lets the timelock's delay pass, and executes the motion.
pub(crate) async fn executed(stage: &mut Stage, motion: &Motion) -> Result<(), Error> {
    let now = stage.now().await?;
    stage.until(now + TIMELOCK_DELAY + 1).await?;
    stage.send(Role::Anyone, "execute the motion", motion.execution()).await?;
    stage.say(format!(
        "motion \"{}\": queued after the vote, executed after the timelock's delay",
        motion.description
    ));
    Ok(())
}

/// All of it.
pub(crate) async fn passed(stage: &mut Stage, motion: &Motion) -> Result<(), Error> {
    voted(stage, motion).await?;
    queued(stage, motion).await?;
    executed(stage, motion).await
}
