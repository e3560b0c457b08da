//! The money at the end: every token that was minted is somewhere, and what each bridge holds is what exists on its L2.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_l1::L1Client;
use rollmill_l1::abi::{AztToken, BondVault, FeePortal, Rewards};
use rollmill_l1::alloy::primitives::{Address, U256};

use super::report::Held;
use super::side::Side;
use crate::Error;
use crate::bridge::azt;
use crate::deployment::UNIT;
use crate::error::getter;

/// What somebody deposited and nobody claimed yet, in units, by deployment.
pub(crate) type Unclaimed = BTreeMap<&'static str, u64>;

/// Where every token is, and how many were minted.
///
/// # Errors
/// [`Error::Unpaid`] for the first sum that is not what it must be.
pub(crate) async fn check(
    l1: &L1Client,
    token: Address,
    sides: &mut [Side],
    unclaimed: &Unclaimed,
    names: &BTreeMap<Address, String>,
) -> Result<(Vec<Held>, String), Error> {
    let balances = conservation(l1, token).await?;
    let held = |of: Address| balances.get(&of).copied().unwrap_or_default();
    let (mut names, mut notes) = (names.clone(), BTreeMap::new());
    for side in sides {
        let all = side.deployment.contracts.clone();
        for (address, name) in
            [(all.bondVault, "BondVault"), (all.rewards, "Rewards"), (all.feePortal, "FeePortal")]
        {
            names.insert(address, format!("{} {name}", side.name));
        }
        let (free, locked) = bonds(l1, side, held(all.bondVault)).await?;
        notes.insert(all.bondVault, format!("free {}, locked {}", azt(free), azt(locked)));
        let owed = owed(l1, all.rewards, held(all.rewards)).await?;
        notes.insert(all.rewards, format!("owed {}", azt(owed)));
        let unclaimed = unclaimed.get(side.name).copied().unwrap_or_default();
        let of_that = bridge(l1, side, unclaimed, held(all.feePortal)).await?;
        notes.insert(all.feePortal, of_that);
    }
    let minted = balances.values().copied().sum();
    let full = balances.into_iter().filter(|(_, amount)| !amount.is_zero());
    let holdings = full.map(|(holder, amount)| Held {
        holder: names.get(&holder).cloned().unwrap_or_else(|| holder.to_string()),
        azt: azt(amount),
        of_that: notes.get(&holder).cloned().unwrap_or_default(),
    });
    Ok((holdings.collect(), azt(minted)))
}

fn require(what: &'static str, expected: U256, got: U256) -> Result<(), Error> {
    match expected == got {
        true => Ok(()),
        false => {
            let reason = format!("{} AZT, expected {}", azt(got), azt(expected));
            Err(Error::Unpaid { what, reason })
        }
    }
}

/// Every holder has what the transfers leave it, and the sum is the supply, which is what was minted.
async fn conservation(l1: &L1Client, token: Address) -> Result<BTreeMap<Address, U256>, Error> {
    let token = AztToken::new(token, l1.provider().clone());
    let events = token.Transfer_filter().from_block(0u64).query().await;
    let (mut came, mut went) = (BTreeMap::<_, U256>::new(), BTreeMap::<_, U256>::new());
    for (event, _) in events.map_err(getter("transfers of the token"))? {
        *came.entry(event.to).or_default() += event.value;
        *went.entry(event.from).or_default() += event.value;
    }
    let minted = went.remove(&Address::ZERO).unwrap_or_default();
    let holders: BTreeSet<Address> = came.keys().chain(went.keys()).copied().collect();
    let (mut balances, mut sum) = (BTreeMap::new(), U256::ZERO);
    for holder in holders {
        let amount = token.balanceOf(holder).call().await.map_err(getter("balanceOf"))?;
        let of = |sums: &BTreeMap<Address, U256>| sums.get(&holder).copied().unwrap_or_default();
        require("balance of a holder and its transfers", of(&came), of(&went) + amount)?;
        sum += amount;
        balances.insert(holder, amount);
    }
    let supply = token.totalSupply().call().await.map_err(getter("totalSupply"))?;
    require("supply and tokens minted", minted, supply)?;
    require("sum of all balances and tokens minted", minted, sum)?;
    Ok(balances)
}

/// Free and locked bonds, whose sum the vault holds.
async fn bonds(l1: &L1Client, side: &Side, held: U256) -> Result<(U256, U256), Error> {
    let vault = BondVault::new(side.deployment.contracts.bondVault, l1.provider().clone());
    let (mut free, mut locked) = (U256::ZERO, U256::ZERO);
    for member in &side.deployment.members {
        let of = vault.balanceOf(*member).call().await.map_err(getter("bond account"))?;
        free += U256::from(of.free);
        locked += U256::from(of.locked);
    }
    require("free and locked bonds, and what BondVault holds", free + locked, held)?;
    Ok((free, locked))
}

/// What Rewards owes, which it must hold.
async fn owed(l1: &L1Client, rewards: Address, held: U256) -> Result<U256, Error> {
    let rewards = Rewards::new(rewards, l1.provider().clone());
    let owed = rewards.totalOwed().call().await.map_err(getter("totalOwed"))?;
    if owed > held {
        let reason = format!("it owes {} AZT and holds {}", azt(owed), azt(held));
        return Err(Error::Unpaid { what: "Rewards", reason });
    }
    Ok(owed)
}

/// A bridge holds what came in less what went out, and that is what exists on L2: the user's notes and balance, deposits
/// that nobody claimed yet, and fees that were paid on L2 and not yet released on L1.
async fn bridge(
    l1: &L1Client,
    side: &mut Side,
    unclaimed: u64,
    held: U256,
) -> Result<String, Error> {
    let portal = FeePortal::new(side.deployment.contracts.feePortal, l1.provider().clone());
    let unit = U256::from(UNIT);
    let (mut came, mut went, mut released) = (U256::ZERO, U256::ZERO, U256::ZERO);
    let events = portal.Deposited_filter().from_block(0u64).query().await;
    for (event, _) in events.map_err(getter("Deposited"))? {
        came += U256::from(event.units) * unit;
    }
    let events = portal.Withdrawn_filter().from_block(0u64).query().await;
    for (event, _) in events.map_err(getter("Withdrawn"))? {
        went += U256::from(event.units) * unit;
    }
    let events = portal.Released_filter().from_block(0u64).query().await;
    for (event, _) in events.map_err(getter("Released"))? {
        released += event.amount;
    }
    require(
        "deposits less withdrawals and fees, and FeePortal",
        came.saturating_sub(went + released),
        held,
    )?;
    let (notes, balance) = side.accounts.units(0, &side.node).await?;
    let fees: u128 = side.blocks.values().map(|block| block.fees).sum();
    let on_l2 = u128::from(notes) + u128::from(balance) + u128::from(unclaimed);
    let due = (U256::from(on_l2 + fees) * unit).saturating_sub(released);
    require("units on L2 with fees, and FeePortal", due, held)?;
    Ok(format!(
        "units on L2: {notes} in notes, {balance} public, {unclaimed} unclaimed, fees {fees}"
    ))
}
