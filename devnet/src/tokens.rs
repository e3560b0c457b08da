//! What L1 says about the token: who paid whom, what everybody holds, and what a bridge took in and paid out. The audits of
//! `economics` and `upgrade` compare it, each with what it expects.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_l1::abi::{AztToken, FeePortal};
use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::alloy::providers::RootProvider;

use crate::Error;
use crate::bridge::azt;
use crate::deployment::UNIT;
use crate::error::getter;

/// The token's movements since its deployment and the balances that they left, in base units.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Sums by payer and payee, without those of nothing. The zero address pays what is minted.
    pub moved: BTreeMap<(Address, Address), U256>,
    /// Of everybody who ever held the token, as the contract reports them.
    pub balances: BTreeMap<Address, U256>,
    pub supply: U256,
}

impl Tokens {
    /// Reads movements, balances and supply.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub(crate) async fn read(provider: &RootProvider, token: Address) -> Result<Self, Error> {
        let token = AztToken::new(token, provider.clone());
        let mut read = Self::default();
        let events = token.Transfer_filter().from_block(0u64).query().await;
        for (event, _) in events.map_err(getter("transfers of the token"))? {
            *read.moved.entry((event.from, event.to)).or_default() += event.value;
        }
        read.moved.retain(|_, amount| !amount.is_zero());
        for holder in read.holders() {
            let amount = token.balanceOf(holder).call().await.map_err(getter("balanceOf"))?;
            read.balances.insert(holder, amount);
        }
        read.supply = token.totalSupply().call().await.map_err(getter("totalSupply"))?;
        Ok(read)
    }

    /// Everybody whom a movement names, but the zero address.
    fn holders(&self) -> BTreeSet<Address> {
        let ends = self.moved.keys().flat_map(|(from, to)| [*from, *to]);
        ends.filter(|address| !address.is_zero()).collect()
    }

    /// What an account or contract holds.
    pub(crate) fn balance(&self, of: Address) -> U256 {
        self.balances.get(&of).copied().unwrap_or_default()
    }

    /// What the zero address paid.
    pub(crate) fn minted(&self) -> U256 {
        let minted = self.moved.iter().filter(|((from, _), _)| from.is_zero());
        minted.map(|(_, amount)| *amount).sum()
    }

    /// The sum of all balances.
    pub(crate) fn held(&self) -> U256 {
        self.balances.values().copied().sum()
    }

    /// What an account received, and what it paid.
    pub(crate) fn flows(&self, of: Address) -> (U256, U256) {
        let sum = |is_its: &dyn Fn(&(Address, Address)) -> bool| -> U256 {
            self.moved.iter().filter(|(ends, _)| is_its(ends)).map(|(_, amount)| *amount).sum()
        };
        (sum(&|(_, to)| *to == of), sum(&|(from, _)| *from == of))
    }
}

/// What the events of a deployment's FeePortal report, in base units.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BridgeFlows {
    pub deposited: U256,
    pub withdrawn: U256,
    /// Fees that were paid on L2 and released to Rewards.
    pub released: U256,
}

impl BridgeFlows {
    /// Reads all events.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub(crate) async fn read(provider: &RootProvider, portal: Address) -> Result<Self, Error> {
        let portal = FeePortal::new(portal, provider.clone());
        let unit = U256::from(UNIT);
        let mut flows = Self::default();
        let events = portal.Deposited_filter().from_block(0u64).query().await;
        for (event, _) in events.map_err(getter("Deposited"))? {
            flows.deposited += U256::from(event.units) * unit;
        }
        let events = portal.Withdrawn_filter().from_block(0u64).query().await;
        for (event, _) in events.map_err(getter("Withdrawn"))? {
            flows.withdrawn += U256::from(event.units) * unit;
        }
        let events = portal.Released_filter().from_block(0u64).query().await;
        for (event, _) in events.map_err(getter("Released"))? {
            flows.released += event.amount;
        }
        Ok(flows)
    }

    /// What is left in the portal.
    ///
    /// # Errors
    /// A sentence, if more went out than came in.
    pub(crate) fn left(&self) -> Result<U256, String> {
        let Self { deposited, withdrawn, released } = *self;
        let left = withdrawn.checked_add(released).and_then(|went| deposited.checked_sub(went));
        left.ok_or_else(|| {
            let [deposited, withdrawn, released] = [deposited, withdrawn, released].map(azt);
            format!(
                "{withdrawn} AZT were withdrawn and {released} AZT of fees released, more than the {deposited} AZT \
                 that were deposited"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_and_what_was_minted_follow_from_the_movements() {
        let [zero, a, b] = [0, 1, 2].map(Address::with_last_byte);
        let moved = BTreeMap::from([
            ((zero, a), U256::from(10)),
            ((a, b), U256::from(4)),
            ((b, a), U256::from(1)),
        ]);
        let balances = BTreeMap::from([(a, U256::from(7)), (b, U256::from(3))]);
        let tokens = Tokens { moved, balances, supply: U256::from(10) };
        assert_eq!(tokens.holders().into_iter().collect::<Vec<_>>(), [a, b]);
        assert_eq!(tokens.flows(a), (U256::from(11), U256::from(4)));
        assert_eq!((tokens.minted(), tokens.held()), (U256::from(10), U256::from(10)));
        assert_eq!(tokens.balance(zero), U256::ZERO);
    }

    #[test]
    fn a_bridge_that_paid_out_more_than_it_took_in_is_found() {
        let [ten, seven, three] = [10, 7, 3].map(U256::from);
        let flows = BridgeFlows { deposited: ten, withdrawn: seven, released: three };
        assert_eq!(flows.left(), Ok(U256::ZERO));
        let more = BridgeFlows { released: three + U256::from(1), ..flows };
        assert!(more.left().unwrap_err().contains("more than"), "{more:?}");
        let huge = BridgeFlows { withdrawn: U256::MAX, ..flows };
        assert!(huge.left().is_err());
    }
}
