//! Validators with stakes.

use rollmill_l1::abi::Staking;
use rollmill_l1::abi::staking::IStaking::Vote;
use rollmill_l1::alloy::primitives::{Address, U256, keccak256};

use crate::Error;
use crate::economics::chain::{Built, Chain, Draft};
use crate::economics::setup::{self, Common, Setup};
use crate::economics::stage::{Call, Role, Stage};

/// The first epoch that can have a committee: its set is that of genesis, its seed is recorded in epoch 1.
const FIRST: u64 = 3;

/// Five validators stake. One of the committee signs two blocks of a slot: whoever reports it gets a tenth of its stake,
/// once, and Rewards the rest. Another leaves with all of its stake.
pub(super) async fn equivocation(stage: &mut Stage, common: &Common) -> Result<Vec<Chain>, Error> {
    let setup = Setup { staking: true, ..Setup::STANDARD };
    let mut chain = setup::chain(stage, common, setup).await?;
    let staking = chain.money.staking.unwrap_or_default();
    let seed = Call::new(staking, &Staking::recordSeedCall {});
    stage.until(chain.times.slot(chain.times.slots_per_epoch)).await?;
    stage.send(Role::Anyone, "record the seed of epoch 1", seed.clone()).await?;
    stage.rejected::<Staking::SeedKnown>(Role::Anyone, "record it again", seed).await?;

    let slot = FIRST * chain.times.slots_per_epoch;
    stage.until(chain.times.slot(slot)).await?;
    let (_, first, committee, place) = chain.drafted(stage, Draft::at(slot)).await?;
    chain.propose(stage, Draft::at(slot)).await?;
    // Any member but the proposer.
    let offender = committee[(place + 1) % committee.len()];
    report(stage, &mut chain, staking, &first, offender).await?;

    let again = Staking::depositCall {
        attester: offender,
        withdrawer: offender,
        amount: U256::from(chain.money.rates.min_stake),
    };
    let again = Call::new(staking, &again);
    stage
        .rejected::<Staking::AttesterKnown>(
            Role::Holder,
            "stake for the slashed validator again",
            again,
        )
        .await?;

    stage.until(chain.times.end(FIRST)).await?;
    chain.prove(stage, Role::Prover, FIRST, 1).await?;
    chain.settled(stage, FIRST);
    chain.money.bond_returned(FIRST);
    leave(stage, &mut chain, staking, committee[place]).await?;
    chain.pay_out(stage, &[FIRST]).await?;
    Ok(vec![chain])
}

/// A second signature of the offender for the slot of a block, and the report of both.
async fn report(
    stage: &mut Stage,
    chain: &mut Chain,
    staking: Address,
    first: &Built,
    offender: Address,
) -> Result<(), Error> {
    let role = chain.role(offender)?;
    let (number, slot) = (first.args.blockNumber, first.args.slot.to());
    let vote = |link| {
        let signature = chain.signature(role, &first.args, link)?;
        let signature = signature.as_bytes().to_vec().into();
        Ok::<_, Error>(Vote { number, slot, chain: link, signature })
    };
    let (a, b) = (vote(first.link)?, vote(keccak256("another block"))?);
    let slash = |a: &Vote, b: &Vote| {
        Call::new(staking, &Staking::slashEquivocationCall { a: a.clone(), b: b.clone() })
    };
    stage
        .rejected::<Staking::NotEquivocation>(
            Role::Reporter,
            "report one signature twice",
            slash(&a, &a),
        )
        .await?;
    stage.send(Role::Reporter, "report two signatures", slash(&a, &b)).await?;
    let part = chain.money.slashed(&mut stage.book, offender, Role::Reporter.address()?);
    let part = crate::economics::money::azt(part);
    stage.say(format!(
        "{role} signed two blocks of slot {slot}: slashed, {part} AZT to the reporter"
    ));
    for (by, step, call) in [
        (Role::Reporter, "report them again", slash(&a, &b)),
        (Role::Anyone, "report them in the other order", slash(&b, &a)),
    ] {
        stage.rejected::<Staking::NotSlashable>(by, step, call).await?;
    }
    Ok(())
}

/// An honest validator takes its stake back, after the delay in which it can still be slashed.
async fn leave(
    stage: &mut Stage,
    chain: &mut Chain,
    staking: Address,
    who: Address,
) -> Result<(), Error> {
    let role = chain.role(who)?;
    let exit = Call::new(staking, &Staking::initiateExitCall { attester: who });
    stage.send(role, "start to leave", exit).await?;
    let started = stage.now().await?;
    let finalize = Call::new(staking, &Staking::finalizeExitCall { attester: who });
    // Four epochs in which it may sit in a committee, then the window and the challenge period of the last.
    let times = &chain.times;
    let delay = 4 * times.epoch_seconds() + times.window + times.challenge;
    stage.until(started + delay - 60).await?;
    stage
        .rejected::<Staking::ExitTooEarly>(
            Role::Anyone,
            "take the stake a minute early",
            finalize.clone(),
        )
        .await?;
    stage.until(started + delay).await?;
    stage.send(Role::Anyone, "take the stake", finalize).await?;
    chain.money.stake_back(&mut stage.book, who, who);
    stage.say(format!("{role} leaves with its stake"));
    Ok(())
}
