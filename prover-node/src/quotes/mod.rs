//! Sends quotes to proposers: what this prover asks for proving the present epoch and the next.
//!
//! A quote is a function of the settings and the slot, and nothing is remembered: each proposer gets the present quotes
//! again and again, and keeps what is new to it. So a proposer that restarted has them within seconds, and two prover
//! nodes of one account send the same quotes.

mod config;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::quote::{EPOCHS_AHEAD, Quote};
use rollmill_l1::{Azt, L1Error, abi};
use rollmill_node::NodeError;
use rollmill_node::setup::RunningNode;
use rollmill_sequencer_client::{ClientError, QuoteClient, Stored};
use rollmill_service::{Again, Retry, Shutdown};
use tokio::task::JoinSet;

pub use config::{Proposer, Proposers, QuotesConfig};

use crate::metrics::Metrics;

/// Pause between two times at which a proposer gets the quotes.
const PAUSE: Duration = Duration::from_secs(6);
/// First and longest pause after a proposer took none of them.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Reads the slot of L1's head. It may wait for the disk.
pub type SlotReader = Arc<dyn Fn() -> Result<u64, NodeError> + Send + Sync>;

/// Why a quote was not sent, or not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The task that reads the slot panicked.
    ///
    /// Do: A bug in Rollmill: report it with the log.
    #[error("{code}: the slot was not read: {source}", code = self.code())]
    Died {
        #[from]
        source: tokio::task::JoinError,
    },
    /// The slot cannot be read.
    #[error(transparent)]
    Slot(#[from] NodeError),
    /// The quote cannot be signed.
    #[error(transparent)]
    Sign(#[from] L1Error),
    /// The proposer does not take the quote.
    #[error(transparent)]
    Proposer(#[from] ClientError),
}

rollmill_errors::coded! {
    QuoteError {
        Self::Died { .. } => "PRN-060",
        Self::Slot(error) => (error),
        Self::Sign(error) => (error),
        Self::Proposer(error) => (error),
    }
}

/// What came of sending the present quotes to a proposer, if it took one at least.
#[derive(Debug)]
pub struct Sent {
    /// Quotes that were new to the proposer.
    pub new: usize,
    /// Why it did not take the first of the others, if there were others.
    pub rejected: Option<ClientError>,
}

/// What a prover asks, and what it needs to sign that.
#[derive(Clone)]
pub struct Quoter {
    pub key: PrivateKeySigner,
    pub chain_id: u64,
    pub rollup: Address,
    pub slots_per_epoch: u64,
    /// For each epoch.
    pub fee: Azt,
    /// At least 2.
    pub valid_slots: u64,
    pub slot: SlotReader,
    pub metrics: Metrics,
}

impl fmt::Debug for Quoter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fee, valid_slots, .. } = self;
        let mut shown = f.debug_struct("Quoter");
        shown.field("prover", &self.key.address()).field("fee", fee);
        shown.field("valid_slots", valid_slots).finish_non_exhaustive()
    }
}

impl Quoter {
    /// The quoter of these settings with this key, and the proposers; `None` if nothing is quoted.
    ///
    /// # Errors
    /// When a URL or a token cannot be used.
    pub fn open(
        config: &QuotesConfig,
        running: &RunningNode,
        key: PrivateKeySigner,
        metrics: &Metrics,
    ) -> Result<Option<(Self, Vec<QuoteClient>)>, ClientError> {
        let Some((fee, proposers)) = config.asked() else { return Ok(None) };
        let proposers = proposers.iter().map(Proposer::client).collect::<Result<_, _>>()?;
        let node = Arc::clone(&running.node);
        let quoter = Self {
            key,
            chain_id: running.l1.chain_id(),
            rollup: abi::address(running.rollup),
            slots_per_epoch: node.config().slots_per_epoch,
            fee,
            valid_slots: config.valid_slots,
            slot: Arc::new(move || Ok(node.config().slot_at(node.l1_time()?))),
            metrics: metrics.clone(),
        };
        Ok(Some((quoter, proposers)))
    }

    /// The quotes of a slot: one for its epoch, and one for each epoch ahead that is quoted.
    pub fn quotes(&self, slot: u64) -> Vec<Quote> {
        // The end moves on each time half of the slots are over, so that a quote stays the same in between, and is
        // valid for half of them at least.
        let step = (self.valid_slots / 2).max(1);
        let valid_until_slot = (slot / step * step).saturating_add(self.valid_slots);
        let present = slot / self.slots_per_epoch.max(1);
        let (prover, fee) = (self.key.address(), self.fee);
        let quote = |epoch| Quote { prover, epoch, fee, valid_until_slot };
        (present..=present.saturating_add(EPOCHS_AHEAD)).map(quote).collect()
    }

    /// Sends the present quotes to a proposer.
    ///
    /// # Errors
    /// The first failure if the proposer took no quote. All failures can be retried: what is wrong may be the proposer's
    /// settings.
    pub async fn step(&self, proposer: &QuoteClient) -> Result<Sent, QuoteError> {
        let read = Arc::clone(&self.slot);
        let slot = tokio::task::spawn_blocking(move || read()).await??;
        let (mut taken, mut new, mut rejected) = (0, 0, None);
        for quote in self.quotes(slot) {
            let signed = quote.sign(&self.key, self.chain_id, self.rollup)?;
            match proposer.post(&signed).await {
                Ok(Stored::Known) => taken += 1,
                Ok(Stored::New) => {
                    (taken, new) = (taken + 1, new + 1);
                    self.metrics.quotes_posted_total.inc();
                    let Quote { epoch, fee, valid_until_slot, .. } = quote;
                    let url = proposer.url();
                    tracing::info!(url, epoch, fee_azt = %fee, valid_until_slot, "quote posted");
                }
                Err(error) => {
                    let reason = error.reason().label();
                    self.metrics.quotes_failed_total.with_label_values(&[reason]).inc();
                    rejected.get_or_insert(error);
                }
            }
        }
        match rejected {
            Some(error) if taken == 0 => Err(error.into()),
            rejected => Ok(Sent { new, rejected }),
        }
    }

    /// Sends quotes to all proposers until `shutdown` starts, each in its own time. Nothing waits for it.
    pub async fn run(self, proposers: Vec<QuoteClient>, shutdown: Shutdown) {
        let quoter = Arc::new(self);
        let mut tasks = JoinSet::new();
        for proposer in proposers {
            let (quoter, shutdown) = (Arc::clone(&quoter), shutdown.clone());
            tasks.spawn(async move { quoter.serve(&proposer, &shutdown).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Sends quotes to one proposer. It gets them at the usual pace as long as it takes one of them: an epoch for which it
    /// has a quote that counts more keeps no other epoch from its quote.
    async fn serve(&self, proposer: &QuoteClient, shutdown: &Shutdown) {
        let (mut retry, mut partly) = (Retry::new(RETRY.0, RETRY.1), Retry::steady(PAUSE));
        while !shutdown.is_started() {
            let step = tokio::select! {
                () = shutdown.started() => return,
                step = self.step(proposer) => step,
            };
            let url = proposer.url();
            let Sent { rejected, .. } = match step {
                Ok(sent) => sent,
                Err(error) => {
                    let log = |Again { repeated, retry_seconds }| {
                        tracing::warn!(url, %error, repeated, retry_seconds, "quote not posted; retrying");
                    };
                    retry.failed(shutdown.started(), log).await;
                    continue;
                }
            };
            retry.succeeded(|wait_seconds| {
                tracing::info!(url, wait_seconds, "proposer takes quotes again");
            });
            let Some(error) = rejected else {
                partly.succeeded(|wait_seconds| {
                    tracing::info!(url, wait_seconds, "proposer takes all quotes again");
                });
                shutdown.within(PAUSE).await;
                continue;
            };
            let log = |Again { repeated, retry_seconds }| {
                tracing::warn!(url, %error, repeated, retry_seconds, "quote of an epoch not posted; retrying");
            };
            partly.failed(shutdown.started(), log).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollmill_service::prometheus::Registry;

    use super::*;

    fn quoter(slots_per_epoch: u64, valid_slots: u64) -> Quoter {
        Quoter {
            key: format!("{:064x}", 7).parse().unwrap(),
            chain_id: 1,
            rollup: Address::ZERO,
            slots_per_epoch,
            fee: Azt::from_units(5),
            valid_slots,
            slot: Arc::new(|| Ok(0)),
            metrics: Metrics::new(&Registry::new()).unwrap(),
        }
    }

    proptest! {
        /// Goal: in every slot there is a quote for the present epoch and the next, valid for half of the slots at
        /// least and for no more than all; its end never moves back, and moves seldom.
        #[test]
        fn quotes_follow_the_slot(slot in 0..u64::MAX / 2, per_epoch in 1..1025_u64, valid in 2..1025_u64) {
            let quoter = quoter(per_epoch, valid);
            let quotes = quoter.quotes(slot);
            let epochs: Vec<_> = quotes.iter().map(|quote| quote.epoch).collect();
            prop_assert_eq!(epochs, [slot / per_epoch, slot / per_epoch + 1]);
            let end = |slot| quoter.quotes(slot)[0].valid_until_slot;
            for quote in &quotes {
                let left = quote.valid_until_slot - slot;
                prop_assert!(left <= valid && left * 2 >= valid, "{left} of {valid}");
                prop_assert_eq!(quote.valid_until_slot, end(slot));
            }
            prop_assert!(end(slot + 1) >= end(slot));
            prop_assert_eq!(end(slot + valid / 2) - end(slot), valid / 2);
        }
    }

    #[test]
    fn the_last_slots_do_not_overflow() {
        let quotes = quoter(1, 1024).quotes(u64::MAX);
        assert_eq!(quotes.len(), 1, "there is no next epoch");
        assert_eq!(quotes[0].valid_until_slot, u64::MAX);
    }
}
