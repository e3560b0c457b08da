//! Two deployments side by side.

use rollmill_l1::abi::{self, FeePortal, FixedCommittee, Outbox, Rollup};
use rollmill_l1::alloy::primitives::{Address, B256};
use rollmill_protocol::EpochRoot;
use rollmill_protocol::message::out_path;

use crate::Error;
use crate::economics::chain::{Chain, Draft};
use crate::economics::setup::{self, Common, Setup};
use crate::economics::stage::{Call, Role, Stage};

/// Units of a withdrawal.
pub(super) const WITHDRAWN: u64 = 250_000_000_000;

/// Alpha and beta have one committee, one config and the same first block. What is signed, proven or withdrawn on one is
/// rejected by the other, since the version and the address differ.
pub(super) async fn two_deployments(
    stage: &mut Stage,
    common: &Common,
) -> Result<Vec<Chain>, Error> {
    let mut alpha = setup::chain(stage, common, Setup { name: "alpha", ..Setup::STANDARD }).await?;
    let genesis_time = Some(alpha.times.genesis);
    let setup = Setup { name: "beta", genesis_time, ..Setup::STANDARD };
    let mut beta = setup::chain(stage, common, setup).await?;
    stage.require("the versions differ", true, alpha.info.version != beta.info.version)?;
    stage.say(format!("versions {:016x} and {:016x}", alpha.info.version, beta.info.version));
    stage.until(alpha.times.slot(1)).await?;
    let (of_alpha, ..) = alpha.drafted(stage, Draft::at(1)).await?;
    let crossed = Call { to: beta.rollup.address(), ..of_alpha };
    stage
        .rejected::<FixedCommittee::CommitteeWrong>(
            Role::Member(1),
            "alpha's proposal sent to beta",
            crossed,
        )
        .await?;
    for chain in [&mut alpha, &mut beta] {
        chain.propose(stage, Draft::at(1)).await?;
    }
    stage.require("both have the same link", alpha.blocks[0].link, beta.blocks[0].link)?;
    let user = Role::User.address()?;
    stage.book.name(user, "user");
    stage.until(alpha.times.slot(2)).await?;
    let withdrawing = Draft { withdrawal: Some((user, WITHDRAWN)), ..Draft::at(2).with_txs(1) };
    alpha.propose(stage, withdrawing).await?;
    beta.propose(stage, Draft::at(2).with_txs(1)).await?;

    stage.until(alpha.times.end(0)).await?;
    crossed_proofs(stage, &alpha, &beta).await?;
    for chain in [&mut alpha, &mut beta] {
        chain.prove(stage, Role::Prover, 0, 2).await?;
        chain.settled(stage, 0);
        chain.money.bond_returned(0);
    }
    let crossed = withdrawal(&alpha, 2, beta.money.portal);
    stage
        .rejected::<Outbox::PathWrong>(Role::User, "alpha's withdrawal sent to beta", crossed)
        .await?;
    withdraw(stage, &mut alpha, 2, user).await?;
    for chain in [&mut alpha, &mut beta] {
        chain.pay_out(stage, &[0]).await?;
    }
    Ok(vec![alpha, beta])
}

/// A proof of alpha's first block is none of beta's, which is the same but for the version.
async fn crossed_proofs(stage: &mut Stage, alpha: &Chain, beta: &Chain) -> Result<(), Error> {
    let (args, proof) = alpha.proof(Role::Prover.address()?, 0, 1).await?;
    let inputs = [
        alpha.rollup.public_inputs(args.clone()).await?,
        beta.rollup.public_inputs(args.clone()).await?,
    ];
    let [of_alpha, of_beta] = &inputs;
    stage.require("number of public inputs", EpochRoot::FIELDS, of_alpha.len())?;
    let differing = of_alpha.iter().zip(of_beta).enumerate().filter(|(_, (a, b))| a != b);
    let expected = [alpha.info.version, beta.info.version].map(word);
    let differing: Vec<_> = differing.map(|(_, (a, b))| [*a, *b]).collect();
    stage.require("what differs in the public inputs: the version", vec![expected], differing)?;
    let crossed = beta.submission(args, proof);
    stage
        .rejected::<Rollup::ProofRejected>(Role::Prover, "alpha's proof sent to beta", crossed)
        .await
}

fn word(value: u64) -> B256 {
    B256::left_padding_from(&value.to_be_bytes())
}

/// The call that takes the withdrawal of a block's first transaction out of a portal.
pub(super) fn withdrawal(chain: &Chain, number: u64, portal: Address) -> Call {
    let block = &chain.blocks[number as usize - 1];
    let path = out_path(&block.leaves, 0, 0).unwrap_or_default();
    let withdraw = FeePortal::withdrawCall {
        number,
        transaction: 0,
        recipient: Role::User.address().unwrap_or_default(),
        units: WITHDRAWN,
        path: path.iter().map(abi::word).collect(),
    };
    Call::new(portal, &withdraw)
}

/// The user takes the withdrawal, once.
pub(super) async fn withdraw(
    stage: &mut Stage,
    chain: &mut Chain,
    number: u64,
    user: Address,
) -> Result<(), Error> {
    let call = withdrawal(chain, number, chain.money.portal);
    stage.send(Role::User, &chain.step("withdraw"), call.clone()).await?;
    chain.money.withdrawn(&mut stage.book, user, WITHDRAWN.into());
    stage.say(chain.step(&format!("the user withdraws {WITHDRAWN} units")));
    stage.rejected::<Outbox::AlreadyConsumed>(Role::User, &chain.step("withdraw again"), call).await
}
