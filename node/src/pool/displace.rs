//! Which transactions a new one evicts.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use rollmill_protocol::Fr;
use rollmill_protocol::gas::FeePerGas;

use super::offer::{Candidate, fee, needed, outbids};
use super::{Pool, Waiting};
use crate::error::PoolError;

/// What accepting a candidate means for those that wait.
#[derive(Debug, Default)]
pub(super) struct Displaced {
    /// Transactions with the same nullifiers.
    pub(super) replaced: BTreeSet<Fr>,
    /// Transactions that offer less.
    pub(super) evicted: Vec<Fr>,
}

impl Pool {
    /// The waiting transaction that is dropped first when the pool is full: parked ones before ready
    /// ones, then the lowest offer, then the newest. Of `payer` only, if one is named.
    pub(super) fn worst(&self, except: &HashSet<Fr>, payer: Option<&Fr>) -> Option<Fr> {
        let of_payer = |entry: &Waiting| payer.is_none_or(|p| *p == entry.tx.effects().fee_payer);
        self.waiting
            .iter()
            .filter(|(hash, entry)| !except.contains(*hash) && of_payer(entry))
            .min_by_key(|(_, entry)| (entry.parked.is_none(), entry.offer, Reverse(entry.arrival)))
            .map(|(hash, _)| *hash)
    }

    /// The transactions that `new` evicts, or why it is rejected.
    pub(super) fn displaced(
        &self,
        new: &Candidate,
        price: FeePerGas,
    ) -> Result<Displaced, PoolError> {
        let effects = new.tx.effects();
        let mut replaced = BTreeSet::new();
        for nullifier in &new.nullifiers {
            let Some(other) = self.nullifiers.get(nullifier) else { continue };
            let rival = self.waiting.get(other);
            if rival.is_some_and(|rival| !outbids(&effects.gas, &rival.tx.effects().gas)) {
                return Err(PoolError::Conflict { nullifier: *nullifier, other: *other });
            }
            replaced.insert(*other);
        }
        let mut gone: HashSet<Fr> = replaced.iter().copied().collect();
        let mut evicted = Vec::new();
        let is_ready = effects.gas.allows(price) && fee(&effects.gas, price).is_some();
        let value = (is_ready, new.offer());
        let beats = |hash: &Fr| {
            let entry = self.waiting.get(hash);
            entry.is_none_or(|entry| value > (entry.parked.is_none(), entry.offer))
        };

        if effects.has_payer() {
            self.displace_of_payer(new, price, beats, &mut gone, &mut evicted)?;
        }

        let size = |hash: &Fr| self.waiting.get(hash).map_or(0, |entry| entry.bytes);
        let mut count = self.waiting.len() - gone.len();
        let mut bytes = self.bytes - gone.iter().map(size).sum::<usize>();
        while count >= self.limits.txs_max || bytes + new.bytes > self.limits.bytes_max {
            let worst = self.worst(&gone, None).filter(|hash| beats(hash));
            let Some(worst) = worst else {
                let least = self.worst(&gone, None).and_then(|hash| self.waiting.get(&hash));
                let offer = least.map_or(0, |entry| entry.offer);
                return Err(PoolError::Full { max: self.limits.txs_max, offer });
            };
            count -= 1;
            bytes -= size(&worst);
            gone.insert(worst);
            evicted.push(worst);
        }
        Ok(Displaced { replaced, evicted })
    }

    /// Evicts the worst transaction of the payer of `new` if the payer has as many as the pool allows, and checks that
    /// its balance covers those that stay. Transactions that notes pay for have no payer in common.
    fn displace_of_payer(
        &self,
        new: &Candidate,
        price: FeePerGas,
        beats: impl Fn(&Fr) -> bool,
        gone: &mut HashSet<Fr>,
        evicted: &mut Vec<Fr>,
    ) -> Result<(), PoolError> {
        let effects = new.tx.effects();
        let payer = &effects.fee_payer;
        let of_payer: Vec<(Fr, u128)> = self
            .payers
            .get(payer)
            .into_iter()
            .flatten()
            .map(|rank| {
                let entry = self.waiting.get(&rank.2);
                (rank.2, entry.map_or(0, |entry| needed(entry.tx.effects(), price)))
            })
            .collect();
        let stay = of_payer.iter().filter(|(hash, _)| !gone.contains(hash)).count();
        if stay >= self.limits.payer_txs_max {
            let worst = self.worst(gone, Some(payer)).filter(|hash| beats(hash));
            let Some(worst) = worst else {
                return Err(PoolError::PayerFull { max: self.limits.payer_txs_max });
            };
            gone.insert(worst);
            evicted.push(worst);
        }
        let others: u128 =
            of_payer.iter().filter(|(hash, _)| !gone.contains(hash)).map(|(_, cost)| cost).sum();
        let needed = others.saturating_add(needed(effects, price));
        if needed > u128::from(new.balance) {
            return Err(PoolError::PayerOvercommitted { balance: new.balance, needed });
        }
        Ok(())
    }
}
