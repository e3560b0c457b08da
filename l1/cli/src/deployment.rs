//! What a deployment is, as its contracts say it.

use rollmill_l1::abi::{Contracts, Deployments, Rates};
use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::{Azt, L1Error};
use rollmill_protocol::field::to_hex;
use rollmill_service::{Failure, Outcome};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::{Context, Deployment};

/// `rollmill-l1 deployment`.
pub(crate) async fn show(context: &mut Context) -> Outcome {
    let deployment = context.deployment().await?;
    let Deployment { rollup, info, economics } = &deployment;
    let tips = rollup.tips().await?;
    let slot = rollup.current_slot().await?;
    let epoch = info.epoch(slot);
    // Committees that are drawn may not be there yet.
    let committee = rollup.selection(info).committee(epoch).await.ok();
    let proposer = rollup.selection(info).proposer_of(slot).await.ok();
    let proposer = proposer.filter(|account| !account.is_zero());
    let text = |address: &Address| address.to_string();
    let deadline = rollup.proof_deadline(info).await?.map(|it| {
        json!({
            "epoch": it.epoch, "window_end": it.window_end, "challenge_end": it.challenge_end,
            "is_prune_due": it.is_prune_due,
        })
    });
    let schedule = &info.schedule;
    let (owed, funds) = economics.funds().await?;
    let mut answer = Answer::new()
        .with_text("rollup", rollup.address())
        .with("chain_id", context.config.chain_id)
        .with("version", info.version)
        .with("config_hash", to_hex(&info.config_hash))
        .with("vk_root", to_hex(&info.vk_root))
        .with("genesis_archive_root", to_hex(&info.genesis_archive_root))
        .with("contract", contracts(&info.contracts))
        .with_text("token", economics.token())
        .with(
            "schedule",
            json!({
                "genesis_time": schedule.genesisTime, "slot_seconds": schedule.slotSeconds,
                "slots_per_epoch": schedule.slotsPerEpoch,
                "proof_window_seconds": schedule.proofWindowSeconds,
                "challenge_seconds": schedule.challengeSeconds,
                "proof_grace_seconds": schedule.proofGraceSeconds,
                "max_unproven_epochs": schedule.maxUnprovenEpochs,
            }),
        )
        .with("rate", rates(&economics.rates().await?))
        .with("pending_tip", tips.pending)
        .with("proven_tip", tips.proven)
        .with("slot", slot)
        .with("epoch", epoch)
        .with("proposer", proposer.as_ref().map(text))
        .with("committee", committee.map(|all| all.iter().map(text).collect::<Vec<_>>()))
        .with("proof_deadline", deadline)
        .with("bridged_azt", economics.bridged().await?)
        .with("rewards_owed_azt", owed)
        .with("rewards_funds_azt", funds);
    if context.config.deployments.is_some() {
        answer.push("listed_as", listed(context, &deployment).await?);
    }
    answer.print(context.config.json);
    Ok(())
}

fn contracts(all: &Contracts) -> Value {
    let text = |address: &Address| address.to_string();
    json!({
        "data_availability": text(&all.dataAvailability), "selection": text(&all.selection),
        "inbox": text(&all.inbox), "outbox": text(&all.outbox),
        "fee_portal": text(&all.feePortal), "rewards": text(&all.rewards),
        "bond_vault": text(&all.bondVault), "registry": text(&all.registry),
    })
}

/// Rates by the names of their flags.
pub(crate) fn rates(rates: &Rates) -> Value {
    json!({
        "fee_per_constraint_azt": Azt::new(rates.feePerConstraint.into()),
        "block_reward_azt": Azt::new(rates.blockReward.to()),
        "proposer_bps": rates.proposerBps, "attester_bps": rates.attesterBps,
        "prover_bps": rates.proverBps, "challenge_share_bps": rates.challengeShareBps,
        "committee_size": rates.committeeSize, "bond_amount_azt": Azt::new(rates.bondAmount.to()),
        "min_stake_azt": Azt::new(rates.minStake.to()),
    })
}

/// The entry of the deployment in the list; `None` if it has none.
async fn listed(context: &Context, deployment: &Deployment) -> Result<Option<Value>, Failure> {
    let list = Deployments::new(context.deployments()?, context.client.provider().clone());
    let count: u64 = list
        .count()
        .call()
        .await
        .map_err(L1Error::contract("list of deployments"))?
        .saturating_to();
    let canonical = match count {
        0 => None,
        _ => Some(
            list.canonical()
                .call()
                .await
                .map_err(L1Error::contract("list of deployments"))?
                .version,
        ),
    };
    for id in 0..count {
        let entry = list.deployment(U256::from(id)).call().await;
        let entry = entry.map_err(L1Error::contract("list of deployments"))?;
        if entry.version == deployment.info.version {
            let is_canonical = canonical == Some(entry.version);
            return Ok(Some(json!({ "id": id, "name": entry.name, "is_canonical": is_canonical })));
        }
    }
    Ok(None)
}
