//! Epochs that are proven in time, late, or not at all.

use rollmill_l1::abi::{self, Rewards, Rollup};

use crate::Error;
use crate::economics::chain::{Chain, Draft};
use crate::economics::setup::{self, Common, Setup};
use crate::economics::stage::{Call, Role, Stage};

/// Two epochs, each proven in its window. Bonds come back, and every payment is made once.
pub(super) async fn honest(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup::STANDARD).await?;
    chain.propose(stage, Draft::at(1).with_txs(2)).await?;
    // Member 3 does not sign: its part of the fees stays with Rewards.
    chain.propose(stage, Draft { absent: &[3], ..Draft::at(2).with_txs(1) }).await?;
    chain.propose(stage, Draft::at(5)).await?;

    // Epoch 0 is over, epoch 1 is not: its proof is settled later, by whoever wants to.
    chain.prove(stage, Role::Prover, 0, 2).await?;
    chain.settled(stage, 0);
    chain.money.bond_returned(0);
    chain.prove(stage, Role::Prover, 1, 3).await?;
    let settle = Call::new(chain.rollup.address(), &Rollup::settleCall { epoch: 1 });
    stage
        .rejected::<Rollup::NothingToSettle>(
            Role::Anyone,
            "settle epoch 1 before it ends",
            settle.clone(),
        )
        .await?;
    stage.until(chain.times.end(1)).await?;
    stage.send(Role::Anyone, "settle epoch 1", settle.clone()).await?;
    chain.settled(stage, 1);
    chain.money.bond_returned(1);
    stage.rejected::<Rollup::NothingToSettle>(Role::Anyone, "settle epoch 1 again", settle).await?;

    chain.pay_out(stage, &[0, 1]).await?;
    if let Some((claim, ..)) = chain.claim_of(0) {
        stage
            .rejected::<Rewards::AlreadyClaimed>(
                Role::Member(1),
                "claim the blocks of epoch 0 again",
                claim,
            )
            .await?;
    }
    let paid = chain.claim(stage, Role::Prover.address()?).await?;
    stage.require("what the prover is paid the second time", 0, paid)?;
    Ok(vec![chain])
}

/// Nobody proves epoch 0. It loses its bond, later epochs get theirs back, and the chain goes on from genesis.
pub(super) async fn missed(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup::STANDARD).await?;
    for slot in [1, 2, 5, 10] {
        chain.propose(stage, Draft::at(slot)).await?;
    }
    stage.until(chain.times.challenge_end(0) - 60).await?;
    let prune = Call { to: chain.rollup.address(), input: abi::prune_calldata(), sidecar: None };
    stage
        .rejected::<Rollup::NothingToPrune>(Role::Anyone, "prune in the challenge period", prune)
        .await?;
    let (args, proof) = chain.proof(Role::Prover.address()?, 0, 2).await?;
    let late = chain.submission(args, proof);
    stage.until(chain.times.challenge_end(0) + 1).await?;
    stage
        .rejected::<Rollup::ChallengeOver>(
            Role::Prover,
            "prove epoch 0 after its challenge period",
            late,
        )
        .await?;

    // The next proposal prunes by itself, and is block 1 again.
    chain.pruned();
    chain.money.bond_lost(0);
    chain.money.bond_returned(1);
    chain.money.bond_returned(2);
    stage.say("the next proposal prunes blocks 1 to 4: bond of epoch 0 lost, those of epochs 1 and 2 returned");
    chain.propose(stage, Draft { salt: 1, ..Draft::at(12) }).await?;
    stage.until(chain.times.end(3)).await?;
    chain.prove(stage, Role::Prover, 3, 1).await?;
    chain.settled(stage, 3);
    chain.money.bond_returned(3);
    chain.pay_out(stage, &[3]).await?;
    Ok(vec![chain])
}

/// The prover of epoch 0 does nothing. Two others prove it in the challenge period; the first of them a part only.
pub(super) async fn challenge(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup::STANDARD).await?;
    for slot in [1, 2, 3, 5] {
        chain.propose(stage, Draft::at(slot)).await?;
    }
    stage.until(chain.times.window_end(0) + 1).await?;
    chain.prove(stage, Role::Challenger, 0, 2).await?;
    chain.money.bond_shared(0, Role::Challenger.address()?, 2, 3);
    stage.say("late: the challenger earns two thirds of the challenge share of the bond");

    stage.until(chain.times.challenge_end(0) - 60).await?;
    chain.prove(stage, Role::Rival, 0, 3).await?;
    chain.money.bond_shared(0, Role::Rival.address()?, 1, 3);
    chain.settled(stage, 0);
    chain.money.bond_lost(0);
    stage.say("late: the rival earns one third of it and the pay of the longest proof; the rest of the bond is lost");

    // Epoch 1 waited for epoch 0, so it has some while after that was completed.
    stage.until(chain.times.window_end(1) + 1).await?;
    let grace = chain.times.challenge_end(0) - 60 + chain.times.grace;
    stage.require("the grace is not over", true, stage.now().await? < grace)?;
    chain.prove(stage, Role::Prover, 1, 4).await?;
    chain.settled(stage, 1);
    chain.money.bond_returned(1);
    stage.say("epoch 1 is proven after its window and within the grace: its bond comes back");
    chain.pay_out(stage, &[0, 1]).await?;
    Ok(vec![chain])
}
