//! Rival proofs of one epoch, and proofs that L1 forgets.

use rollmill_l1::abi::{self, Rewards, Rollup};
use rollmill_l1::alloy::primitives::Address;

use crate::Error;
use crate::economics::chain::{Chain, Draft};
use crate::economics::setup::{self, Common, Setup};
use crate::economics::stage::{Call, Role, Stage, getter};

/// Two rivals prove one and two blocks of an epoch before the proof of all three arrives. It is valid nevertheless, since
/// every proof starts at the epoch's first block, and its prover alone is paid.
pub(super) async fn prefix(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup::STANDARD).await?;
    chain.propose(stage, Draft::at(1).with_txs(1)).await?;
    for slot in [2, 3] {
        chain.propose(stage, Draft::at(slot)).await?;
    }
    stage.until(chain.times.end(0)).await?;
    // The prover's work is done before any of it is on L1.
    let (whole, proof) = chain.proof(Role::Prover.address()?, 0, 3).await?;
    let stolen = abi::EpochArgs { prover: Role::Rival.address()?, ..whole.clone() };
    let stolen = chain.submission(stolen, proof.clone());
    stage
        .rejected::<Rollup::ProofRejected>(
            Role::Rival,
            "a copied proof with the rival's name",
            stolen,
        )
        .await?;
    let inflated = abi::EpochArgs { numConstraints: whole.numConstraints + 1, ..whole.clone() };
    let inflated = chain.submission(inflated, proof.clone());
    stage
        .rejected::<Rollup::ProofRejected>(Role::Prover, "a proof with one row too many", inflated)
        .await?;

    chain.prove(stage, Role::Rival, 0, 1).await?;
    chain.prove(stage, Role::Challenger, 0, 2).await?;
    let rows = whole.numConstraints;
    let submission = chain.submission(whole, proof);
    stage.send(Role::Prover, "prove epoch 0 to block 3", submission.clone()).await?;
    chain.proved(Role::Prover.address()?, 0, 3);
    stage.say(format!("prover proves epoch 0 to block 3, with the proof made before: {rows} rows"));
    chain.settled(stage, 0);
    chain.money.bond_returned(0);
    chain.tips(stage).await?;
    stage
        .rejected::<Rollup::RangeEndWrong>(Role::Prover, "the same proof again", submission)
        .await?;
    chain.pay_out(stage, &[0]).await?;
    let rewards = Rewards::new(chain.money.rewards, stage.client.provider().clone());
    let events = rewards.EpochPaid_filter().from_block(0u64).query().await;
    let events = events.map_err(getter("EpochPaid"))?;
    let paid: Vec<_> =
        events.iter().map(|(paid, _)| (paid.epoch, paid.prover, paid.rows)).collect();
    stage.require("epochs paid", vec![(0, Role::Prover.address()?, rows)], paid)?;
    Ok(vec![chain])
}

/// L1 drops the block with a proof, then one with a claim of blocks, one with a payment and one with a prune. Each lands
/// again by its sender, and nothing is paid twice.
pub(super) async fn reorg_after_proof(
    stage: &mut Stage,
    common: &Common,
) -> Result<Vec<Chain>, Error> {
    let mut chain = setup::chain(stage, common, Setup::STANDARD).await?;
    for slot in [1, 2] {
        chain.propose(stage, Draft::at(slot)).await?;
    }
    stage.until(chain.times.end(0)).await?;
    let prover = Role::Prover.address()?;
    let (args, proof) = chain.proof(prover, 0, 2).await?;
    let submission = chain.submission(args, proof);
    stage.send_through_reorg(Role::Prover, "prove epoch 0", submission).await?;
    stage.book.name(prover, Role::Prover.to_string());
    chain.proved(prover, 0, 2);
    chain.settled(stage, 0);
    chain.money.bond_returned(0);
    chain.tips(stage).await?;

    if let Some((claim, blocks, prover)) = chain.claim_of(0) {
        stage.send_through_reorg(Role::Anyone, "claim the blocks of epoch 0", claim).await?;
        chain.money.claimed_blocks(&mut stage.book, &blocks, prover);
    }
    stage.send_through_reorg(Role::Anyone, "pay the prover", chain.claim_for(prover)).await?;
    let paid = chain.money.claimed(&mut stage.book, prover);
    stage.require("the prover is paid", true, paid != 0)?;

    chain.propose(stage, Draft::at(6)).await?;
    stage.until(chain.times.challenge_end(1) + 1).await?;
    let prune = Call { to: chain.rollup.address(), input: abi::prune_calldata(), sidecar: None };
    stage.send_through_reorg(Role::Anyone, "prune epoch 1", prune).await?;
    chain.pruned();
    chain.money.bond_lost(1);
    chain.tips(stage).await?;
    chain.pay_out(stage, &[]).await?;
    once(stage, &chain, prover).await?;
    Ok(vec![chain])
}

/// On the chain that remained, each event occurs once.
async fn once(stage: &Stage, chain: &Chain, prover: Address) -> Result<(), Error> {
    let provider = || stage.client.provider().clone();
    let rollup = Rollup::new(chain.rollup.address(), provider());
    let rewards = Rewards::new(chain.money.rewards, provider());
    let proven = rollup.EpochProven_filter().from_block(0u64).query().await;
    stage.require("accepted proofs", 1, proven.map_err(getter("EpochProven"))?.len())?;
    let pruned = rollup.Pruned_filter().from_block(0u64).query().await;
    stage.require("prunes", 1, pruned.map_err(getter("Pruned"))?.len())?;
    let claimed = rewards.BlocksClaimed_filter().from_block(0u64).query().await;
    stage.require("claims of blocks", 1, claimed.map_err(getter("BlocksClaimed"))?.len())?;
    let paid = rewards.Paid_filter().from_block(0u64).query().await.map_err(getter("Paid"))?;
    let to_prover = paid.iter().filter(|(paid, _)| paid.who == prover && !paid.amount.is_zero());
    stage.require("payments to the prover", 1, to_prover.count())
}
