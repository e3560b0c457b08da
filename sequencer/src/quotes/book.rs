//! The quotes that a proposer has.
//!
//! They are in memory only: nothing is decided by a quote, and a prover node sends its quotes again within seconds, so
//! that a restart loses nothing that does not come back.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use rollmill_l1::Azt;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::quote::{EPOCHS_AHEAD, Quote, SignedQuote, VALID_SLOTS_MAX};
use rollmill_sequencer_client::{QUOTES_MAX, Stored};

use super::error::QuoteError;
use crate::metrics::Metrics;

/// Slots by which the L1 of a prover may be ahead of this one: its head is one block further, and in the next slot.
const SLOTS_OFF: u64 = 1;

/// The deployment whose quotes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Market {
    pub chain_id: u64,
    pub rollup: Address,
    pub slots_per_epoch: u64,
}

/// An epoch that a block opens, and the cheapest valid quote at the time the block was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub epoch: u64,
    pub quote: Option<Quote>,
}

/// Quotes of the present epoch and those after it, by epoch and prover.
#[derive(Debug)]
pub struct QuoteBook {
    market: Market,
    /// Provers whose quotes are kept; `None` keeps anybody's.
    provers: Option<BTreeSet<Address>>,
    pub(super) metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    epochs: BTreeMap<u64, BTreeMap<Address, SignedQuote>>,
    /// What was last logged as the cheapest quote of an epoch.
    shown: BTreeMap<u64, (Address, Azt)>,
}

impl QuoteBook {
    /// An empty one.
    pub fn new(market: Market, provers: Option<BTreeSet<Address>>, metrics: Metrics) -> Self {
        Self { market, provers, metrics, state: Mutex::default() }
    }

    /// Keeps a quote if it counts in this slot. A prover has one quote for each epoch.
    ///
    /// # Errors
    /// Why the quote is not kept.
    pub fn offer(&self, offered: SignedQuote, slot: u64) -> Result<Stored, QuoteError> {
        self.check(&offered.quote, slot)?;
        // A prover node sends its quotes again and again; each signature is checked once.
        if self.has(&offered) {
            return Ok(Stored::Known);
        }
        let Market { chain_id, rollup, .. } = self.market;
        let Quote { prover, epoch, fee, .. } = offered.quote;
        if !offered.is_signed_by_its_prover(chain_id, rollup) {
            return Err(QuoteError::Signature { prover, chain_id, rollup });
        }
        let mut state = self.state.lock();
        state.forget(self.epoch(slot), slot);
        let quotes = state.epochs.entry(epoch).or_default();
        if let Some(SignedQuote { quote: kept, .. }) = quotes.get(&prover) {
            if *kept == offered.quote {
                return Ok(Stored::Known);
            }
            if !replaces(&offered.quote, kept) {
                let Quote { fee, valid_until_slot: until, .. } = *kept;
                return Err(QuoteError::Superseded { prover, epoch, fee, until });
            }
        } else if quotes.len() >= QUOTES_MAX
            && let Some(dearest) = quotes.values().map(|kept| price(&kept.quote)).max()
        {
            if fee >= dearest.0 {
                return Err(QuoteError::Full { epoch, dearest: dearest.0 });
            }
            quotes.remove(&dearest.1);
        }
        quotes.insert(prover, offered);
        drop(state);
        self.metrics.quotes_accepted_total.inc();
        Ok(Stored::New)
    }

    /// Whether this very quote is kept, with this signature.
    fn has(&self, offered: &SignedQuote) -> bool {
        let state = self.state.lock();
        let of_epoch = state.epochs.get(&offered.quote.epoch);
        of_epoch.and_then(|quotes| quotes.get(&offered.quote.prover)) == Some(offered)
    }

    /// Epoch, validity and prover, which cost less to check than a signature.
    fn check(&self, quote: &Quote, slot: u64) -> Result<(), QuoteError> {
        let Quote { prover, epoch: got, valid_until_slot: until, .. } = *quote;
        let latest = slot.saturating_add(SLOTS_OFF);
        let (first, last) = (self.epoch(slot), self.epoch(latest).saturating_add(EPOCHS_AHEAD));
        if !(first..=last).contains(&got) {
            return Err(QuoteError::Epoch { first, last, got });
        }
        if until < slot {
            return Err(QuoteError::Expired { slot, until });
        }
        let last = latest.saturating_add(VALID_SLOTS_MAX);
        if until > last {
            return Err(QuoteError::TooLong { last, until });
        }
        match self.provers.as_ref().is_none_or(|provers| provers.contains(&prover)) {
            true => Ok(()),
            false => Err(QuoteError::Prover { prover }),
        }
    }

    /// The quotes of an epoch that are valid in this slot, the cheapest one first.
    pub fn list(&self, epoch: u64, slot: u64) -> Vec<SignedQuote> {
        let state = self.state.lock();
        let quotes = state.epochs.get(&epoch).into_iter().flat_map(BTreeMap::values);
        let valid = quotes.filter(|kept| kept.quote.valid_until_slot >= slot);
        let mut valid: Vec<_> = valid.cloned().collect();
        valid.sort_by_key(|kept| price(&kept.quote));
        valid
    }

    /// The cheapest quote of an epoch that is valid in this slot. Of several with one fee it is the one of the lowest
    /// account, so that it depends on the quotes alone.
    pub fn cheapest(&self, epoch: u64, slot: u64) -> Option<Quote> {
        self.list(epoch, slot).first().map(|kept| kept.quote)
    }

    /// Removes what is over, and shows the cheapest quotes of the present epoch and the next. Logs those that are not
    /// what they were at the last call.
    pub fn show(&self, slot: u64) {
        let present = self.epoch(slot);
        self.state.lock().forget(present, slot);
        let next = present.saturating_add(1);
        let [now, then] = [present, next].map(|epoch| self.cheapest(epoch, slot));
        let azt = |quote: &Option<Quote>| quote.map_or(f64::NAN, |quote| quote.fee.to_metric());
        self.metrics.quote_fee_azt.set(azt(&now));
        self.metrics.quote_next_fee_azt.set(azt(&then));
        let mut state = self.state.lock();
        let count: usize = state.epochs.values().map(BTreeMap::len).sum();
        self.metrics.quotes.set(i64::try_from(count).unwrap_or(i64::MAX));
        for (epoch, quote) in [(present, now), (next, then)] {
            let Some(Quote { prover, fee, valid_until_slot, .. }) = quote else {
                if state.shown.remove(&epoch).is_some() {
                    tracing::info!(epoch, "no valid quote left");
                }
                continue;
            };
            if state.shown.insert(epoch, (prover, fee)) != Some((prover, fee)) {
                tracing::info!(epoch, %prover, fee_azt = %fee, valid_until_slot, "cheapest quote");
            }
        }
    }

    /// The quote that a block goes with which opens the epoch of this slot now.
    pub fn choose(&self, slot: u64) -> Opening {
        let epoch = self.epoch(slot);
        Opening { epoch, quote: self.cheapest(epoch, slot) }
    }

    /// Logs which quote a block that L1 has included went with. Neither the block nor L1 says so, and nothing follows
    /// from it: whoever proves the epoch is paid by the rates of the deployment.
    pub fn opened(&self, opening: Opening, block: u64) {
        let Opening { epoch, quote } = opening;
        let Some(Quote { prover, fee, valid_until_slot, .. }) = quote else {
            tracing::info!(epoch, block, "epoch opened without a quote");
            return;
        };
        self.metrics.quotes_taken_total.inc();
        tracing::info!(epoch, block, %prover, fee_azt = %fee, valid_until_slot, "epoch opened; quote taken");
    }

    /// The epoch of a slot.
    pub fn epoch(&self, slot: u64) -> u64 {
        slot / self.market.slots_per_epoch.max(1)
    }
}

impl State {
    /// Removes quotes of epochs before `present`, and those that are no longer valid.
    fn forget(&mut self, present: u64, slot: u64) {
        self.epochs.retain(|epoch, quotes| {
            quotes.retain(|_, kept| kept.quote.valid_until_slot >= slot);
            *epoch >= present && !quotes.is_empty()
        });
        self.shown.retain(|epoch, _| *epoch >= present);
    }
}

/// Orders quotes of different provers.
fn price(quote: &Quote) -> (Azt, Address) {
    (quote.fee, quote.prover)
}

/// Whether a quote takes the place of another one of the prover: it is valid for longer, or as long and cheaper.
///
/// This order depends on what is signed alone. By the order of arrival, anybody who has an earlier quote could send it
/// again and have it replace a later one.
fn replaces(quote: &Quote, kept: &Quote) -> bool {
    let rank = |quote: &Quote| (quote.valid_until_slot, std::cmp::Reverse(quote.fee));
    rank(quote) > rank(kept)
}

#[cfg(test)]
mod tests;
