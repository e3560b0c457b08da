//! The money at the end: every token that was minted is somewhere, and what each bridge holds is what exists on its L2.

use std::collections::BTreeMap;

use rollmill_l1::L1Client;
use rollmill_l1::abi::{BondVault, Rewards};
use rollmill_l1::alloy::primitives::{Address, U256};

use super::report::Held;
use super::side::Side;
use crate::Error;
use crate::bridge::azt;
use crate::deployment::UNIT;
use crate::error::getter;
use crate::tokens::{BridgeFlows, Tokens};

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
    let tokens = conservation(l1, token).await?;
    let held = |of: Address| tokens.balance(of);
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
    let minted = tokens.held();
    let full = tokens.balances.into_iter().filter(|(_, amount)| !amount.is_zero());
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
async fn conservation(l1: &L1Client, token: Address) -> Result<Tokens, Error> {
    let tokens = Tokens::read(l1.provider(), token).await?;
    for (holder, amount) in &tokens.balances {
        let (came, went) = tokens.flows(*holder);
        let left = came.checked_sub(went).ok_or_else(|| {
            let reason = format!("{holder} received {} AZT and paid {}", azt(came), azt(went));
            Error::Unpaid { what: "transfers of a holder", reason }
        })?;
        require("balance of a holder and its transfers", left, *amount)?;
    }
    require("supply and tokens minted", tokens.minted(), tokens.supply)?;
    require("sum of all balances and tokens minted", tokens.minted(), tokens.held())?;
    Ok(tokens)
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
    let portal = side.deployment.contracts.feePortal;
    let flows = BridgeFlows::read(l1.provider(), portal).await?;
    let left = flows.left().map_err(|reason| Error::Unpaid { what: "FeePortal", reason })?;
    require("deposits less withdrawals and fees, and FeePortal", left, held)?;
    let (notes, balance) = side.accounts.units(0, &side.node).await?;
    let fees: u128 = side.blocks.values().map(|block| block.fees).sum();
    let on_l2 = u128::from(notes) + u128::from(balance) + u128::from(unclaimed);
    let due = backing(on_l2, fees, flows.released)?;
    require("units on L2 with fees, and FeePortal", due, held)?;
    Ok(format!(
        "units on L2: {notes} in notes, {balance} public, {unclaimed} unclaimed, fees {fees}"
    ))
}

/// What backs the units on L2, and the fees of all blocks that were not released yet, in base units.
fn backing(units: u128, fees: u128, released: U256) -> Result<U256, Error> {
    let unit = U256::from(UNIT);
    let (units, fees) = (U256::from(units) * unit, U256::from(fees) * unit);
    let waiting = fees.checked_sub(released).ok_or_else(|| {
        let [released, fees] = [released, fees].map(azt);
        let reason =
            format!("{released} AZT were released, and all blocks together paid {fees} AZT");
        Error::Unpaid { what: "fees", reason }
    })?;
    Ok(units + waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_more_than_all_fees_is_found_however_much_is_on_l2() {
        let unit = U256::from(UNIT);
        assert_eq!(backing(5, 3, unit + unit).unwrap(), U256::from(6) * unit);
        let error = backing(1_000_000, 3, U256::from(3) * unit + U256::from(1)).unwrap_err();
        assert!(error.to_string().contains("fees"), "{error}");
    }
}
