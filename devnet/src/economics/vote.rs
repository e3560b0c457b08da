//! A proposal's way through governance: proposed, voted on, queued, and executed after the timelock's delay.

use rollmill_l1::abi::Governance;
use rollmill_l1::alloy::primitives::U256;

use super::book::Purpose;
use super::setup::{TIMELOCK_DELAY, VOTING_DELAY, VOTING_PERIOD};
use super::stage::{Call, Role, Stage};
use crate::Error;
pub(crate) use crate::governance::Motion;
use crate::governance::{AGAINST, Common, FOR};

/// One in so many tokens goes to the voter who votes against.
const VOTERS_PART: u128 = 5;

impl Motion {
    pub(crate) fn proposal(&self) -> Call {
        Call::new(self.governance, &self.propose())
    }

    pub(crate) fn queueing(&self) -> Call {
        Call::new(self.governance, &self.queue())
    }

    pub(crate) fn execution(&self) -> Call {
        Call::new(self.governance, &self.execute())
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
    let proposal_id = motion.id(&stage.client).await?;
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
