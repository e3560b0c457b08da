//! Proposals that L1 must reject, and who goes on after them.

use rollmill_l1::abi::{BondVault, FixedCommittee, Rollup};

use crate::Error;
use crate::economics::audit;
use crate::economics::chain::{Chain, Draft};
use crate::economics::setup::{self, Common, Setup};
use crate::economics::stage::{Call, Role, Stage};

/// The proposer keeps client proofs to itself. Two of four members sign only what they can verify: no quorum, no block.
/// Then three sign blindly: the block is there, nobody can prove it, and the epoch ends as a missed one.
pub(super) async fn withheld(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup::STANDARD).await?;
    stage.until(chain.times.slot(1)).await?;
    let honest = Draft { absent: &[2, 3], ..Draft::at(1) };
    let (call, ..) = chain.drafted(stage, honest).await?;
    stage
        .rejected::<FixedCommittee::QuorumMissed>(
            Role::Member(1),
            "propose with two of four signatures",
            call,
        )
        .await?;
    chain.tips(stage).await?;

    chain.propose(stage, Draft { absent: &[3], ..Draft::at(2) }).await?;
    stage.say("three members signed without the client proofs: nobody can prove epoch 0");
    chain.propose(stage, Draft::at(5)).await?;
    stage.until(chain.times.challenge_end(0) + 1).await?;
    let prune = Rollup::pruneCall {};
    let prune = Call::new(chain.rollup.address(), &prune);
    stage.send(Role::Anyone, "prune epoch 0", prune.clone()).await?;
    chain.pruned();
    chain.money.bond_lost(0);
    chain.money.bond_returned(1);
    chain.tips(stage).await?;
    stage.say("pruned: the bond of epoch 0's proposer is lost, that of epoch 1 returned, and nobody is paid");
    stage.rejected::<Rollup::NothingToPrune>(Role::Anyone, "prune again", prune).await?;

    chain.propose(stage, Draft { salt: 1, ..Draft::at(13) }).await?;
    stage.until(chain.times.end(3)).await?;
    chain.prove(stage, Role::Prover, 3, 1).await?;
    chain.settled(stage, 3);
    chain.money.bond_returned(3);
    chain.pay_out(stage, &[3]).await?;
    Ok(vec![chain])
}

/// Proposals for past and future slots, and a second one for the same slot, all with every signature. No deadline moves.
pub(super) async fn backdate(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup::STANDARD).await?;
    audit::deadlines(stage, &chain).await?;
    stage.until(chain.times.slot(2)).await?;
    for (slot, step) in [(1, "propose for slot 1 in slot 2"), (3, "propose for slot 3 in slot 2")] {
        let (call, ..) = chain.drafted(stage, Draft::at(slot)).await?;
        stage.rejected::<Rollup::SlotNotCurrent>(Role::Member(slot as u8), step, call).await?;
    }
    chain.propose(stage, Draft::at(2)).await?;
    let (call, ..) = chain.drafted(stage, Draft { salt: 1, ..Draft::at(2) }).await?;
    stage
        .rejected::<Rollup::SlotOutOfOrder>(
            Role::Member(2),
            "propose a second block in slot 2",
            call,
        )
        .await?;
    audit::deadlines(stage, &chain).await?;

    // In epoch 1, a block for the last slot of epoch 0 would have a deadline that is running already.
    stage.until(chain.times.slot(4)).await?;
    let (call, ..) = chain.drafted(stage, Draft::at(3)).await?;
    stage
        .rejected::<Rollup::SlotNotCurrent>(Role::Member(3), "propose for epoch 0 in epoch 1", call)
        .await?;
    chain.prove(stage, Role::Prover, 0, 1).await?;
    chain.settled(stage, 0);
    chain.money.bond_returned(0);
    audit::deadlines(stage, &chain).await?;
    stage.say("end of window and challenge period of every epoch: where they were at the start");
    chain.pay_out(stage, &[0]).await?;
    Ok(vec![chain])
}

/// Member 1 has one base unit less than a bond. It cannot open epoch 0; the next proposer does. With one base unit more it
/// opens epoch 1.
pub(super) async fn lost_bond(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let setup = Setup { missing: 1, ..Setup::STANDARD };
    let mut chain = setup::chain(stage, common, setup).await?;
    stage.until(chain.times.slot(1)).await?;
    let (call, ..) = chain.drafted(stage, Draft::at(1)).await?;
    stage
        .rejected::<BondVault::BondTooLow>(
            Role::Member(1),
            "propose with a bond of one base unit less",
            call,
        )
        .await?;
    chain.tips(stage).await?;
    chain.propose(stage, Draft::at(2)).await?;

    let member = Role::Member(1).address()?;
    chain.deposit_bond(stage, member, 1).await?;
    chain.propose(stage, Draft::at(5)).await?;
    stage.say("with the missing base unit, member 1 opens epoch 1");
    for (epoch, last) in [(0, 1), (1, 2)] {
        stage.until(chain.times.end(epoch)).await?;
        chain.prove(stage, Role::Prover, epoch, last).await?;
        chain.settled(stage, epoch);
        chain.money.bond_returned(epoch);
    }
    chain.pay_out(stage, &[0, 1]).await?;
    Ok(vec![chain])
}
