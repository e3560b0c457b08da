//! The seeds of later committees, where committees are drawn from stakers.
//!
//! The committee of an epoch is drawn with a seed that is recorded two epochs before. The first proposal of an epoch
//! records it. An epoch without a committee has no proposal, and one without transactions may have none; if nobody
//! records a seed there, the epoch after the next has no committee, and so on without end. So each member of the set
//! watches, and records a seed that is missing.
//!
//! One call an epoch is enough, and the next one reverts. So each member waits for a moment of its own, which depends
//! on its address and the epoch, and calls only if nobody has by then. Two that meet in one L1 block cost one of them
//! the gas of a call that reverts at once.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::primitives::{Address, keccak256};
use rollmill_l1::economics::{head_after, send_within};
use rollmill_l1::{
    DeploymentInfo, Expiry, FIRST_SEED, L1Error, RollupContract, Seeds, TxRequest, TxSender,
};
use rollmill_node::watch;
use rollmill_service::{Again, Retry, Shutdown};

use crate::metrics::Metrics;

/// Longest pause between readings of the seed.
const PAUSE_MAX: Duration = Duration::from_secs(12);
/// Readings in an epoch, at least: a member's moment must not be over long before it is noticed.
const READINGS: u32 = 32;
/// Longest pause before a failed reading is repeated.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long one step waits for the inclusion of its transaction.
const LAND_LIMIT: Duration = Duration::from_secs(120);

/// Records the seeds that nobody else records.
#[derive(Debug)]
pub struct SeedKeeper {
    seeds: Seeds,
    info: DeploymentInfo,
    sender: Arc<TxSender>,
    metrics: Metrics,
}

/// An epoch's length in time, in Unix seconds of L1: from the first of it to the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
}

impl SeedKeeper {
    /// For the account of `sender`; `None` if the rollup's committee is fixed.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn new(
        contract: &RollupContract,
        info: &DeploymentInfo,
        sender: Arc<TxSender>,
        metrics: Metrics,
    ) -> Result<Option<Self>, L1Error> {
        let seeds = contract.selection(info).seeds().await?;
        let info = info.clone();
        Ok(seeds.map(|seeds| Self { seeds, info, sender, metrics }))
    }

    /// Reads the seed now and then until `shutdown` starts. Errors of L1 are logged and retried.
    pub async fn run(&self, shutdown: &Shutdown) {
        let Span { start, end } = self.span(FIRST_SEED);
        let pause = Duration::from_secs(end.saturating_sub(start)) / READINGS;
        let pause = pause.clamp(Duration::from_millis(100), PAUSE_MAX);
        let succeeded = |wait_seconds| tracing::info!(wait_seconds, "committee seed read again");
        let failed = |error: &L1Error, Again { repeated, retry_seconds }| {
            tracing::warn!(%error, repeated, retry_seconds, "committee seed not read or not recorded; retrying");
        };
        let retry = Retry::new(pause, RETRY_MAX);
        watch(pause, retry, shutdown, || self.step(), succeeded, failed).await;
    }

    /// Looks once whether the present epoch has a seed, and records one if it has none and it is this account's turn.
    /// True when it did.
    ///
    /// # Errors
    /// When L1 cannot be read, or accepts no transaction. Both can be retried.
    pub async fn step(&self) -> Result<bool, L1Error> {
        let now = self.sender.client().latest().await?.timestamp;
        let Some(epoch) = self.info.epoch_at(now).filter(|epoch| *epoch >= FIRST_SEED) else {
            return Ok(false);
        };
        let purpose = format!("seed/{epoch}");
        let Some(head) = head_after(&self.sender, &purpose).await? else { return Ok(false) };
        let at = head.hash.into();
        let is_missing = !self.seeds.is_recorded(epoch, at).await?;
        self.metrics.seed_missing.set(i64::from(is_missing));
        let account = self.sender.account();
        if !is_missing || !self.seeds.is_active(account, at).await? {
            return Ok(false);
        }
        let slot = epoch.saturating_mul(self.info.schedule.slotsPerEpoch.into());
        let has_committee = self.seeds.has_committee(slot).await?;
        let span = self.span(epoch);
        if head.timestamp < turn(span, epoch, account, has_committee) {
            return Ok(false);
        }
        let request = TxRequest {
            // In the next epoch it would record that one's seed.
            expires: Some(Expiry::Timestamp(span.end.saturating_sub(1))),
            ..TxRequest::of(purpose, self.seeds.record())
        };
        match send_within(&self.sender, request, LAND_LIMIT).await {
            Ok(Some(receipt)) if receipt.succeeded => {
                self.metrics.seeds_recorded_total.inc();
                self.metrics.seed_missing.set(0);
                tracing::info!(epoch, l1_tx = %receipt.tx_hash, "committee seed recorded");
                Ok(true)
            }
            // Somebody else was faster, or the epoch is over.
            Ok(_) | Err(L1Error::WouldRevert { .. } | L1Error::Dropped { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn span(&self, epoch: u64) -> Span {
        let start = match epoch.checked_sub(1) {
            Some(before) => self.info.epoch_end(before),
            None => self.info.schedule.genesisTime,
        };
        Span { start, end: self.info.epoch_end(epoch) }
    }
}

/// From when on, in Unix seconds, an account records the epoch's seed if nobody else has. The moments of all accounts
/// are spread evenly, and over the epochs each is as often early as late. An epoch with a committee leaves the first
/// half to proposals; the last eighth is left for inclusion.
fn turn(span: Span, epoch: u64, account: Address, has_committee: bool) -> u64 {
    let seconds = span.end.saturating_sub(span.start);
    let from = if has_committee { seconds / 2 } else { 0 };
    let to = seconds - seconds / 8;
    let digest = keccak256([&epoch.to_be_bytes()[..], account.as_slice()].concat());
    let drawn = u64::from_be_bytes(digest[..8].try_into().unwrap_or_default());
    span.start.saturating_add(from).saturating_add(drawn % (to - from).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every account's turn is in time, in epochs of every length; with a committee it comes after the half in
    /// which proposals record the seed; and turns are spread.
    #[test]
    fn turns_are_spread_and_in_time() {
        for seconds in [1, 2, 7, 8, 16, 384, 40_000, u64::from(u32::MAX)] {
            let span = Span { start: 1_000, end: 1_000 + seconds };
            for has_committee in [false, true] {
                let mut early = 0;
                for i in 0..1_000u64 {
                    let (epoch, account) = (i % 10, Address::left_padding_from(&i.to_be_bytes()));
                    let due = turn(span, epoch, account, has_committee) - span.start;
                    let from = if has_committee { seconds / 2 } else { 0 };
                    let to = seconds - seconds / 8;
                    assert!((from..to.max(from + 1)).contains(&due), "{due} of {seconds}");
                    early += usize::from(due < from + (to - from) / 2);
                }
                // Half of them, within five standard deviations of 16.
                assert!(
                    seconds < 384 || (420..580).contains(&early),
                    "{early} of 1000 in {seconds}"
                );
            }
        }
    }

    #[test]
    fn an_account_is_not_first_in_every_epoch() {
        let span = Span { start: 0, end: 384 };
        let accounts = [1, 2, 3, 4].map(Address::with_last_byte);
        let first = |epoch| {
            let turns = accounts.map(|account| turn(span, epoch, account, false));
            (0..4).min_by_key(|i| turns[*i]).unwrap()
        };
        let mut counts = [0; 4];
        (0..400).for_each(|epoch| counts[first(epoch)] += 1);
        // Five standard deviations of 8.7 around 100.
        assert!(counts.iter().all(|count| (57..143).contains(count)), "{counts:?}");
    }
}
