//! The seeds of later committees, where committees are drawn from stakers.
//!
//! The committee of an epoch is drawn with a seed that is recorded two epochs before. The first proposal of an epoch
//! records it. An epoch without a committee has no proposal, and one without transactions may have none; if nobody
//! records a seed there, the epoch after the next has no committee, and so on without end. So each member of the set
//! watches, and records a seed that is missing.
//!
//! One call an epoch is enough, and the next one reverts. So the members have turns: one at a time at first, and twice
//! as many with each step in which nobody called. A member whose turn has come calls only if nobody has. Two that meet
//! in one L1 block cost one of them the gas of a call that reverts at once.
//!
//! The first turn is at the start of the epoch. The seed is a value of the L1 block that records it, and known before;
//! until it is recorded, whoever likes one of these values better than the next can record that one. Each L1 block
//! without a call is one more value to choose from.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::economics::Reading;
use rollmill_l1::{
    DeploymentInfo, Expiry, FIRST_SEED, L1Error, RollupContract, Seeds, TxRequest, TxSender,
};
use rollmill_node::watch;
use rollmill_service::{Again, Retry, Shutdown};

use crate::metrics::Metrics;

/// Steps in an epoch, at least. The last eighth of an epoch is left for inclusion.
const STEPS: u64 = 32;
/// Seconds of a step, at most: two L1 blocks, so that a call of the step before is included and seen.
const STEP_MAX: u64 = 24;
/// Longest pause between readings of the seed.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Readings in an epoch, at least: some in each step, or a turn would be noticed late.
const READINGS: u32 = 4 * STEPS as u32;
/// Members that take turns at being first while there is no committee, a power of two. Fewer stakes draw no committee.
const ROTATED: u64 = 4;
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
        let Some(reading) = Reading::of(&self.sender, &purpose).await? else { return Ok(false) };
        let at = reading.head.hash.into();
        let is_missing = !self.seeds.is_recorded(epoch, at).await?;
        self.metrics.seed_missing.set(i64::from(is_missing));
        let account = self.sender.account();
        if !is_missing {
            return Ok(false);
        }
        let Some(index) = self.seeds.index_of(account, at).await? else { return Ok(false) };
        let duty = self.seeds.duty(self.slot(now), epoch).await?;
        // Its proposal records the seed, and pools would hold it back while they have a plain call of its account.
        if duty.as_ref().is_some_and(|duty| duty.proposer == account) {
            return Ok(false);
        }
        let committee = duty.map(|duty| duty.members).unwrap_or_default();
        let span = self.span(epoch);
        if reading.head.timestamp < turn(span, rank(epoch, account, &committee, index)) {
            return Ok(false);
        }
        let request = TxRequest {
            // In the next epoch it would record that one's seed.
            expires: Some(Expiry::Timestamp(span.end.saturating_sub(1))),
            ..TxRequest::of(purpose, self.seeds.record())
        };
        match reading.send_within(&self.sender, request, LAND_LIMIT).await {
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

    /// The slot at a Unix second after genesis.
    fn slot(&self, timestamp: u64) -> u64 {
        let seconds = timestamp.saturating_sub(self.info.schedule.genesisTime);
        // The constructor rejects slots without length.
        seconds / u64::from(self.info.schedule.slotSeconds).max(1)
    }

    fn span(&self, epoch: u64) -> Span {
        let start = match epoch.checked_sub(1) {
            Some(before) => self.info.epoch_end(before),
            None => self.info.schedule.genesisTime,
        };
        Span { start, end: self.info.epoch_end(epoch) }
    }
}

/// How many members have a turn before an account, which is number `index` of the set. First comes the epoch's
/// committee in the order in which it was drawn, which is another in each epoch, then the set in its order. Without a
/// committee, the first few of the set are first in turn.
fn rank(epoch: u64, account: Address, committee: &[Address], index: u32) -> u64 {
    match committee.iter().position(|member| *member == account) {
        Some(place) => place as u64,
        None if committee.is_empty() => u64::from(index) ^ (epoch % ROTATED),
        None => committee.len() as u64 + u64::from(index),
    }
}

/// From when on, in Unix seconds, the member of this rank records the seed of an epoch if nobody has: the first at
/// once, 2^k of them by the end of step k, all before the last eighth of the epoch.
fn turn(span: Span, rank: u64) -> u64 {
    let seconds = span.end.saturating_sub(span.start);
    let step = (seconds / STEPS).min(STEP_MAX);
    let delay = rank.checked_ilog2().map_or(0, |k| {
        // 2^k members have turns before those of this step, and as many have turns within it.
        let before = 1 << k;
        step * u64::from(k) + step.saturating_mul(rank - before + 1).div_ceil(before)
    });
    span.start.saturating_add(delay.min(seconds - seconds.div_ceil(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKS: u64 = 5_000;

    fn due(seconds: u64, rank: u64) -> u64 {
        turn(Span { start: 1_000, end: 1_000 + seconds }, rank) - 1_000
    }

    /// Goal: the first turn is at the start of an epoch of any length, later ranks are not earlier, and all have time
    /// for inclusion.
    #[test]
    fn turns_begin_with_the_epoch_and_end_in_time() {
        for seconds in [1, 2, 7, 8, 16, 31, 32, 384, 40_000, u64::from(u32::MAX)] {
            assert_eq!(due(seconds, 0), 0);
            let turns: Vec<u64> = (0..RANKS).map(|rank| due(seconds, rank)).collect();
            assert!(turns.is_sorted(), "{seconds}");
            for rank in [RANKS, u64::from(u32::MAX), u64::MAX] {
                assert!(due(seconds, rank) <= seconds - seconds.div_ceil(8), "{rank} of {seconds}");
            }
        }
    }

    /// Goal: no stampede. In whatever time, no more come to their turn than had theirs without effect, and one step
    /// passes before there is a second. With the steps all get theirs.
    #[test]
    fn turns_widen_from_one_to_all() {
        for (seconds, step) in [(768, 24), (384, 12), (100_000, 24)] {
            let count = |until: u64| (0..RANKS).filter(|rank| due(seconds, *rank) <= until).count();
            assert_eq!(count(step - 1), 1);
            for k in 0..13 {
                assert_eq!(count(k * step), (1 << k).min(RANKS as usize), "{k} of {seconds}");
                // Half a step is an L1 block.
                let (old, new) = (count(k * step), count(k * step + step / 2));
                assert!(new - old <= old.div_ceil(2), "{old} and {new} after {k} of {seconds}");
            }
        }
    }

    #[test]
    fn an_account_has_a_rank_of_its_own() {
        let set: Vec<Address> = (1..=40).map(Address::with_last_byte).collect();
        for size in [0, 4, 24, 40] {
            for epoch in 0..20 {
                // A committee in another order than the set's.
                let mut committee = set.clone();
                committee.rotate_left(epoch as usize % 40);
                committee.truncate(size);
                let mut ranks: Vec<u64> = (0..)
                    .zip(&set)
                    .map(|(index, account)| rank(epoch, *account, &committee, index))
                    .collect();
                for (place, member) in committee.iter().enumerate() {
                    let index = set.iter().position(|account| account == member).unwrap();
                    assert_eq!(ranks[index], place as u64);
                }
                ranks.sort_unstable();
                ranks.dedup();
                assert_eq!((ranks.len(), ranks[0]), (40, 0), "{size} in {epoch}");
                assert!(*ranks.last().unwrap() < 40 + size as u64);
            }
        }
    }

    /// Goal: without a committee nobody pays for every epoch, and a set that is too small has a first member, too.
    #[test]
    fn the_first_turn_goes_round_without_a_committee() {
        for size in 1..=9 {
            let mut first = [0; 9];
            for epoch in 0..40 {
                let of = |index: &u32| rank(epoch, Address::with_last_byte(1), &[], *index);
                let index = (0..size).min_by_key(of).unwrap();
                assert!(of(&index) < ROTATED);
                first[index as usize] += 1;
            }
            if size >= 4 {
                assert_eq!(first[..4], [10; 4], "{size}");
            }
            assert!(size == 1 || first.iter().all(|count| *count <= 20), "{size}: {first:?}");
        }
    }
}
