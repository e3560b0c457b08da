//! The deadline of the oldest unproven epoch: always shown, and acted upon once it is missed.
//!
//! A chain whose oldest unproven epoch was not proven by the end of its challenge period continues only
//! after a prune. Anybody may call it; so the processes that need the chain do.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::{
    DeploymentInfo, L1Error, ProofDeadline, RollupContract, TxRequest, TxSender, abi,
};
use rollmill_service::prometheus::{self, Registry};
use rollmill_service::{Again, Retry, Shutdown, StatusPage};
use tokio::sync::watch;

use crate::metrics::DeadlineMetrics;
use crate::setup::RunningNode;

/// How long one poll waits for the inclusion of its prune.
const LAND_LIMIT: Duration = Duration::from_secs(60);
/// Longest pause before a failed poll is repeated.
const RETRY_MAX: Duration = Duration::from_secs(12);

/// What L1 reports about the oldest unproven epoch. Times are Unix seconds of L1's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Deadline {
    pub epoch: u64,
    /// Until then, inclusive, its proof returns the epoch's bond.
    pub window_end: u64,
    /// Until then, inclusive, its proof is accepted.
    pub challenge_end: u64,
    /// Seconds from L1's newest block to `window_end`; negative once it has passed.
    pub window_seconds_left: i64,
    /// Seconds from L1's newest block to `challenge_end`; negative once it has passed.
    pub seconds_left: i64,
    /// Whether the epoch's blocks, and all after them, can be pruned now.
    pub is_missed: bool,
}

impl From<ProofDeadline> for Deadline {
    fn from(read: ProofDeadline) -> Self {
        let left = |end: u64| {
            let left = i128::from(end) - i128::from(read.at.timestamp);
            i64::try_from(left).unwrap_or(if left < 0 { i64::MIN } else { i64::MAX })
        };
        Self {
            epoch: read.epoch,
            window_end: read.window_end,
            challenge_end: read.challenge_end,
            window_seconds_left: left(read.window_end),
            seconds_left: left(read.challenge_end),
            is_missed: read.is_prune_due,
        }
    }
}

impl DeadlineMetrics {
    fn set(&self, deadline: Option<&Deadline>) {
        self.proof_deadline_open.set(i64::from(deadline.is_some()));
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.proof_deadline_epoch.set(deadline.map_or(0, |deadline| number(deadline.epoch)));
        self.proof_window_seconds.set(deadline.map_or(0, |deadline| deadline.window_seconds_left));
        self.proof_deadline_seconds.set(deadline.map_or(0, |deadline| deadline.seconds_left));
        self.prune_due.set(deadline.map_or(0, |deadline| i64::from(deadline.is_missed)));
    }
}

/// Reads the deadline; `None` while every block is proven.
pub async fn read_deadline(
    contract: &RollupContract,
    info: &DeploymentInfo,
) -> Result<Option<Deadline>, L1Error> {
    Ok(contract.proof_deadline(info).await?.map(Deadline::from))
}

/// Watches the deadline, and prunes when it is missed and nobody else has pruned.
#[derive(Debug)]
pub struct Pruner {
    pub contract: RollupContract,
    pub info: DeploymentInfo,
    /// Sends the prune; `None` only watches.
    pub sender: Option<Arc<TxSender>>,
    /// Seconds to wait for others after the deadline, so that not all prune at the same time.
    pub patience_seconds: u64,
    pub metrics: DeadlineMetrics,
    /// The last deadline read.
    pub seen: watch::Sender<Option<Deadline>>,
}

impl Pruner {
    /// For the rollup of `running`, with its figures in `registry`. Give every process but one some
    /// patience, so that not all send the same prune.
    ///
    /// # Errors
    /// When the figures are registered already.
    pub fn of(
        running: &RunningNode,
        sender: Option<Arc<TxSender>>,
        patience_seconds: u64,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            contract: running.contract.clone(),
            info: running.info.clone(),
            sender,
            patience_seconds,
            metrics: DeadlineMetrics::new(registry)?,
            seen: watch::Sender::default(),
        })
    }

    /// Shows the deadline under `/status`.
    pub fn show(&self, status_page: &StatusPage) {
        let seen = self.seen.subscribe();
        status_page.show("proof_deadline", move || serde_json::json!(*seen.borrow()));
    }

    /// Polls every `pause` until `shutdown` starts. Errors of L1 are logged and retried, with growing pauses.
    pub async fn run(&self, pause: Duration, shutdown: &Shutdown) {
        let retry = Retry::new(pause.min(RETRY_MAX), RETRY_MAX);
        let succeeded = |wait_seconds| tracing::info!(wait_seconds, "proof deadline checked again");
        let failed = |error: &L1Error, Again { repeated, retry_seconds }| {
            tracing::warn!(%error, repeated, retry_seconds, "proof deadline not checked; retrying");
        };
        crate::watch::watch(pause, retry, shutdown, || self.step(), succeeded, failed).await;
    }

    /// Polls once; prunes if it is this process's turn. True when it did.
    ///
    /// # Errors
    /// When L1 cannot be read, or accepts no prune. Both can be retried.
    pub async fn step(&self) -> Result<bool, L1Error> {
        let deadline = read_deadline(&self.contract, &self.info).await?;
        let before = self.seen.send_replace(deadline);
        self.metrics.set(deadline.as_ref());
        let Some(deadline) = deadline.filter(|deadline| deadline.is_missed) else {
            return Ok(false);
        };
        if !before.is_some_and(|before| before.is_missed) {
            tracing::error!(
                epoch = deadline.epoch,
                challenge_end = deadline.challenge_end,
                "proof deadline missed; unproven blocks can be pruned"
            );
        }
        let Some(sender) = &self.sender else { return Ok(false) };
        let overdue = deadline.seconds_left.unsigned_abs();
        if deadline.seconds_left < 0 && overdue <= self.patience_seconds {
            return Ok(false);
        }
        let tips = self.contract.tips().await?;
        if tips.pending == tips.proven {
            return Ok(false);
        }
        let (from, to) = (tips.pending, tips.proven);
        let purpose = format!("prune/{to}");
        let request = TxRequest {
            // The chain may have been pruned to this block before.
            attempt: sender.attempt_for(&purpose),
            ..TxRequest::call(purpose, self.contract.address(), abi::prune_calldata())
        };
        let sending = tokio::time::timeout(LAND_LIMIT, sender.send(request)).await;
        let Ok(sent) = sending else {
            // It stays pending, and the next poll continues with it.
            tracing::warn!(from_block = from, to_block = to, "prune sent; not included yet");
            return Ok(false);
        };
        match sent {
            Ok(receipt) if receipt.succeeded => {
                self.metrics.prunes_sent_total.inc();
                tracing::warn!(from_block = from, to_block = to, l1_tx = %receipt.tx_hash, "pending chain pruned");
                Ok(true)
            }
            // Another process was faster.
            Ok(_) | Err(L1Error::WouldRevert { .. } | L1Error::Dropped { .. }) => {
                self.metrics.prune_failures_total.inc();
                Ok(false)
            }
            Err(error) => {
                self.metrics.prune_failures_total.inc();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rollmill_l1::L1BlockRef;

    use super::*;

    #[test]
    fn seconds_are_counted_from_the_block_that_was_read() {
        let at = |timestamp| L1BlockRef { number: 9, hash: Default::default(), timestamp };
        let read = |window_end, challenge_end, timestamp| {
            let at = at(timestamp);
            let deadline =
                ProofDeadline { epoch: 3, window_end, challenge_end, is_prune_due: false, at };
            let deadline = Deadline::from(deadline);
            (deadline.window_seconds_left, deadline.seconds_left)
        };
        assert_eq!(read(100, 150, 90), (10, 60));
        assert_eq!(read(100, 150, 160), (-60, -10));
        assert_eq!(read(0, u64::MAX, u64::MAX), (i64::MIN, 0));
        assert_eq!(read(0, u64::MAX, 0), (0, i64::MAX));
    }
}
