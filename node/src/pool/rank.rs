//! The order of the waiting transactions, and which of them are ready.

use std::collections::{HashMap, HashSet};

use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::{Fr, WorldState};

use super::offer::{fee, for_fee, offer};
use super::{ChainView, Parked, Pool};
use crate::error::NodeError;
use crate::store::StateAt;

impl Pool {
    /// Orders all waiting transactions anew, at the chain's prices and balances.
    pub(super) fn rank_all(&mut self, chain: &ChainView) -> Result<(), NodeError> {
        self.ready.clear();
        self.payers.clear();
        self.bytes = self.waiting.values().map(|entry| entry.bytes).sum();
        let header = chain.tables.expect_block(chain.pending)?.header;
        let state = WorldState::at(chain.state(), &header).map_err(NodeError::from)?;
        let payers: HashSet<Fr> =
            self.waiting.values().map(|entry| entry.tx.effects().fee_payer).collect();
        let mut balances = HashMap::with_capacity(payers.len());
        for payer in payers {
            balances.insert(payer, balance(&state, &payer)?);
        }
        for (hash, entry) in &mut self.waiting {
            let payer = entry.tx.effects().fee_payer;
            // Each payer's balance was read above.
            entry.offer = offer(entry.tx.effects(), balances[&payer]);
            self.payers.entry(payer).or_default().insert(entry.rank(hash));
        }
        for (payer, balance) in balances {
            self.sort_payer(&payer, balance, chain.price);
        }
        Ok(())
    }

    /// Decides for each waiting transaction of a payer whether it is ready. Those that notes pay for have the payer 0,
    /// and nothing in common.
    pub(super) fn sort_payer(&mut self, payer: &Fr, balance: u64, price: FeePerGas) {
        let Some(ranks) = self.payers.get(payer) else { return };
        let mut left = u128::from(balance);
        for rank in ranks {
            let Some(entry) = self.waiting.get_mut(&rank.2) else { continue };
            let effects = entry.tx.effects();
            let after = |fee: u128| for_fee(effects, left).and_then(|left| left.checked_sub(fee));
            let fee = fee(&effects.gas, price).filter(|_| effects.gas.allows(price));
            entry.parked = match fee {
                _ if !entry.has_anchor => Some(Parked::Anchor),
                _ if !entry.has_deposit => Some(Parked::Deposit),
                None => Some(Parked::Price),
                Some(fee) => match after(fee) {
                    None => Some(Parked::Balance),
                    Some(after) => {
                        if effects.has_payer() {
                            left = after;
                        }
                        None
                    }
                },
            };
            match entry.parked {
                None => self.ready.insert(*rank),
                Some(_) => self.ready.remove(rank),
            };
        }
    }
}

/// A payer's balance; 0 where it has no leaf, and for transactions that notes pay for.
pub(crate) fn balance(state: &WorldState<StateAt>, payer: &Fr) -> Result<u64, NodeError> {
    if *payer == Fr::from(0u64) { Ok(0) } else { Ok(state.fee_balance(payer)?) }
}
