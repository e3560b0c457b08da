//! Compares what a scenario expects with L1: every movement of the token, every balance, and the books of every contract.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_l1::abi::{BondVault, Rewards, Staking};
use rollmill_l1::alloy::primitives::{Address, U256};

use super::chain::Chain;
use super::ledger::{BondAccount, BondChange};
use super::money::{UNIT, azt};
use super::report::{Holding, Payment};
use super::setup::Common;
use super::stage::{Stage, getter};
use crate::Error;
use crate::tokens::{BridgeFlows, Tokens};

/// Audits everything at the end of a scenario and enters payments and holdings into its report.
///
/// # Errors
/// [`Error::EconomicsAmount`] or [`Error::EconomicsState`] for the first difference.
pub(crate) async fn check(
    stage: &mut Stage,
    common: &Common,
    chains: &[Chain],
) -> Result<(), Error> {
    let tokens = Tokens::read(stage.client.provider(), common.token).await?;
    transfers(stage, &tokens)?;
    conservation(stage, &tokens)?;
    stage.report.minted = tokens.supply.to_string();
    let mut of_that = BTreeMap::new();
    for chain in chains {
        of_that.extend(books(stage, chain, &tokens).await?);
        deadlines(stage, chain).await?;
    }
    let payments = stage.book.payments().into_iter();
    stage.report.payments = payments
        .map(|((to, purpose, by), amount)| Payment { to, purpose, by, amount: amount.to_string() })
        .collect();
    let held = tokens.balances.iter().filter(|(_, amount)| !amount.is_zero());
    stage.report.holdings = held
        .map(|(holder, amount)| Holding {
            holder: stage.book.named(*holder),
            amount: amount.to_string(),
            of_that: of_that.get(holder).cloned().unwrap_or_default(),
        })
        .collect();
    Ok(())
}

/// All movements on L1, summed by payer and payee, are those of the book, and there are no others.
fn transfers(stage: &Stage, tokens: &Tokens) -> Result<(), Error> {
    let (got, expected) = (&tokens.moved, stage.book.sums());
    let pairs: BTreeSet<_> = got.keys().chain(expected.keys()).copied().collect();
    for pair in pairs {
        let (from, to) = (stage.book.named(pair.0), stage.book.named(pair.1));
        let amount = got.get(&pair).copied().unwrap_or_default();
        let expected = expected.get(&pair).copied().unwrap_or_default();
        stage.require_amount(&format!("all that {from} paid to {to}"), expected, amount)?;
    }
    Ok(())
}

/// Every account and contract that ever held the token has what the movements leave it, and the sum is what was minted.
fn conservation(stage: &Stage, tokens: &Tokens) -> Result<(), Error> {
    let mut holders = stage.book.holders();
    holders.extend(tokens.balances.keys());
    for holder in holders {
        let (expected, name) = (stage.book.balance(holder), stage.book.named(holder));
        stage.require_amount(&format!("balance of {name}"), expected, tokens.balance(holder))?;
    }
    stage.require("tokens minted, and supply", tokens.minted(), tokens.supply)?;
    stage.require("sum of all balances, and tokens minted", tokens.minted(), tokens.held())
}

/// The books of a deployment's contracts. Returns what each says that its tokens are for.
async fn books(
    stage: &Stage,
    chain: &Chain,
    tokens: &Tokens,
) -> Result<Vec<(Address, String)>, Error> {
    let held = |contract: Address| tokens.balance(contract);
    let mut notes = Vec::new();
    let (free, locked) = vault(stage, chain, held(chain.money.vault)).await?;
    notes.push((chain.money.vault, format!("free {}, locked {}", azt(free), azt(locked))));
    bond_changes(stage, chain).await?;
    let owed = rewards(stage, chain, held(chain.money.rewards)).await?;
    notes.push((chain.money.rewards, format!("owed {}", azt(owed))));
    portal(stage, chain, held(chain.money.portal)).await?;
    notes.push((chain.money.portal, format!("{} units on L2", chain.money.backing)));
    if let Some(staking) = chain.money.staking {
        stakes(stage, chain, staking, held(staking)).await?;
        let count = chain.money.stakes.values().filter(|stake| **stake != 0).count();
        notes.push((staking, format!("{count} stakes")));
    }
    Ok(notes)
}

/// BondVault: free and locked parts of every account are as expected, and their sum is what the contract holds.
async fn vault(stage: &Stage, chain: &Chain, held: U256) -> Result<(u128, u128), Error> {
    let vault = BondVault::new(chain.money.vault, stage.client.provider().clone());
    let (mut free, mut locked) = (0, 0);
    for (account, expected) in &chain.money.bonds {
        let got = vault.balanceOf(*account).call().await.map_err(getter("bond account"))?;
        let BondAccount { free: expected_free, locked: expected_locked, .. } = *expected;
        let name = stage.book.named(*account);
        stage.require_amount(
            &chain.step(&format!("free bond of {name}")),
            expected_free,
            U256::from(got.free),
        )?;
        let what = chain.step(&format!("locked bond of {name}"));
        stage.require_amount(&what, expected_locked, U256::from(got.locked))?;
        free += expected_free;
        locked += expected_locked;
    }
    stage.require_amount(
        &chain.step("free and locked bonds, and what BondVault holds"),
        free + locked,
        held,
    )?;
    Ok((free, locked))
}

/// Every change of a bond that the BondVault reports, in order.
async fn bond_changes(stage: &Stage, chain: &Chain) -> Result<(), Error> {
    let vault = BondVault::new(chain.money.vault, stage.client.provider().clone());
    let mut got = Vec::new();
    // An amount beyond 128 bits is no bond.
    let narrow = |amount: U256| u128::try_from(amount).unwrap_or(u128::MAX);
    let mut add = |log: &rollmill_l1::alloy::rpc::types::Log, change: BondChange| {
        got.push(((log.block_number, log.log_index), change));
    };
    let events = vault.BondLocked_filter().from_block(0u64).query().await;
    for (event, log) in events.map_err(getter("BondLocked"))? {
        let (epoch, poster, amount) = (event.epoch, event.account, narrow(event.amount));
        add(&log, BondChange::Locked { epoch, poster, amount });
    }
    let events = vault.BondReturned_filter().from_block(0u64).query().await;
    for (event, log) in events.map_err(getter("BondReturned"))? {
        let (epoch, poster, amount) = (event.epoch, event.account, narrow(event.amount));
        add(&log, BondChange::Returned { epoch, poster, amount });
    }
    let events = vault.BondShared_filter().from_block(0u64).query().await;
    for (event, log) in events.map_err(getter("BondShared"))? {
        let (epoch, poster, to) = (event.epoch, event.account, event.to);
        add(&log, BondChange::Shared { epoch, poster, to, amount: narrow(event.amount) });
    }
    let events = vault.BondLost_filter().from_block(0u64).query().await;
    for (event, log) in events.map_err(getter("BondLost"))? {
        let (epoch, poster, amount) = (event.epoch, event.account, narrow(event.amount));
        add(&log, BondChange::Lost { epoch, poster, amount });
    }
    got.sort_by_key(|(place, _)| *place);
    let got: Vec<BondChange> = got.into_iter().map(|(_, change)| change).collect();
    stage.require(&chain.step("changes of bonds"), &chain.money.changes, &got)
}

/// Rewards: everybody is owed what is expected, the sums fit, fees are always there, and no block is claimed that is not.
async fn rewards(stage: &Stage, chain: &Chain, held: U256) -> Result<u128, Error> {
    let rewards = Rewards::new(chain.money.rewards, stage.client.provider().clone());
    for (who, expected) in &chain.money.owed {
        let got = rewards.owedTo(*who).call().await.map_err(getter("owedTo"))?;
        let what = chain.step(&format!("owed to {}", stage.book.named(*who)));
        stage.require_amount(&what, expected.total(), got)?;
    }
    let total = chain.money.total_owed();
    let got = rewards.totalOwed().call().await.map_err(getter("totalOwed"))?;
    stage.require_amount(&chain.step("owed to all"), total, got)?;
    let got = rewards.feesOwed().call().await.map_err(getter("feesOwed"))?;
    stage.require_amount(&chain.step("fees owed to all"), chain.money.fees_owed(), got)?;
    stage.require(&chain.step("Rewards holds what it owes"), true, held >= U256::from(total))?;
    Ok(total)
}

/// FeePortal: what its events say came in and went out is what it must back, and it holds exactly that.
async fn portal(stage: &Stage, chain: &Chain, held: U256) -> Result<(), Error> {
    let flows = BridgeFlows::read(stage.client.provider(), chain.money.portal).await?;
    let backing = chain.money.backing * UNIT;
    let what = chain.step("deposits less withdrawals and fees");
    match flows.left() {
        Ok(left) => stage.require_amount(&what, backing, left)?,
        Err(reason) => stage.require(&what, format!("{} AZT", azt(backing)), reason)?,
    }
    stage.require_amount(&chain.step("what backs the units on L2"), backing, held)
}

/// Staking: every stake is as expected, and their sum is what the contract holds.
async fn stakes(stage: &Stage, chain: &Chain, at: Address, held: U256) -> Result<(), Error> {
    let staking = Staking::new(at, stage.client.provider().clone());
    for (attester, expected) in &chain.money.stakes {
        let got = staking.attesterOf(*attester).call().await.map_err(getter("attesterOf"))?;
        let what = chain.step(&format!("stake of {}", stage.book.named(*attester)));
        stage.require_amount(&what, *expected, U256::from(got.stake))?;
    }
    let sum = chain.money.stakes.values().sum();
    stage.require_amount(&chain.step("all stakes, and what Staking holds"), sum, held)
}

/// No deadline ever moves: those of every epoch so far are where the formulas put them.
pub(crate) async fn deadlines(stage: &Stage, chain: &Chain) -> Result<(), Error> {
    let rollup =
        rollmill_l1::abi::Rollup::new(chain.rollup.address(), stage.client.provider().clone());
    let last = chain.blocks.last().map_or(0, |block| chain.epoch(block.slot));
    for epoch in last.saturating_sub(8)..=last + 1 {
        let got = rollup.deadlines(epoch).call().await.map_err(getter("deadlines"))?;
        let expected = (chain.times.window_end(epoch), chain.times.challenge_end(epoch));
        let expected = (U256::from(expected.0), U256::from(expected.1));
        let what = chain.step(&format!("end of window and challenge period of epoch {epoch}"));
        stage.require(&what, expected, (got.windowEnd, got.challengeEnd))?;
    }
    Ok(())
}
