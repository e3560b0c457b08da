//! The deadline of the oldest unproven epoch: always shown, and acted upon once it is missed.
//!
//! A chain whose oldest unproven epoch missed its window continues only after a prune. Anybody may
//! call it; so the processes that need the chain do.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::{L1BlockRef, L1Client, L1Error, RollupContract, TxRequest, TxSender, abi};
use rollmill_service::prometheus::{self, Registry};
use rollmill_service::{Again, Retry, Shutdown, StatusPage};
use tokio::sync::watch;

use crate::metrics::DeadlineMetrics;
use crate::setup::RunningNode;

/// How long one poll waits for the inclusion of its prune.
const LAND_LIMIT: Duration = Duration::from_secs(60);
/// Longest pause before a failed poll is repeated.
const RETRY_MAX: Duration = Duration::from_secs(12);
/// L1 blocks over which the pace is measured.
const PACE_L1_BLOCKS: u64 = 32;

/// What L1 reports about the oldest unproven epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Deadline {
    pub epoch: u64,
    /// Last L1 block in which its proof is accepted.
    pub last_l1_block: u64,
    /// L1 blocks left until then; negative once it has passed.
    pub l1_blocks_left: i64,
    /// Seconds that those take at the pace of the last L1 blocks: an estimate.
    pub seconds_left: i64,
    /// Whether the epoch's blocks, and all after them, can be pruned now.
    pub is_missed: bool,
}

impl DeadlineMetrics {
    fn set(&self, deadline: Option<&Deadline>) {
        self.proof_deadline_open.set(i64::from(deadline.is_some()));
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.proof_deadline_epoch.set(deadline.map_or(0, |deadline| number(deadline.epoch)));
        self.proof_deadline_l1_blocks.set(deadline.map_or(0, |deadline| deadline.l1_blocks_left));
        self.proof_deadline_seconds.set(deadline.map_or(0, |deadline| deadline.seconds_left));
        self.prune_due.set(deadline.map_or(0, |deadline| i64::from(deadline.is_missed)));
    }
}

/// Reads the deadline; `None` while every block is proven.
pub async fn read_deadline(
    l1: &L1Client,
    contract: &RollupContract,
) -> Result<Option<Deadline>, L1Error> {
    let Some(deadline) = contract.proof_deadline().await? else { return Ok(None) };
    let head = l1.latest().await?;
    let is_missed = contract.prune_due().await?;
    let left = i128::from(deadline.last_l1_block) - i128::from(head.number);
    let l1_blocks_left = i64::try_from(left).unwrap_or(i64::MAX);
    let earlier = head.number.saturating_sub(PACE_L1_BLOCKS);
    let earlier = l1.block(earlier.into()).await?.map(|block| L1BlockRef::from(&block));
    Ok(Some(Deadline {
        epoch: deadline.epoch,
        last_l1_block: deadline.last_l1_block,
        l1_blocks_left,
        seconds_left: seconds(l1_blocks_left, &head, &earlier.unwrap_or(head)),
        is_missed,
    }))
}

/// Seconds that `blocks` L1 blocks take at the pace between `earlier` and `head`.
fn seconds(blocks: i64, head: &L1BlockRef, earlier: &L1BlockRef) -> i64 {
    let passed = i128::from(head.timestamp.saturating_sub(earlier.timestamp));
    let between = i128::from(head.number.saturating_sub(earlier.number)).max(1);
    i64::try_from(i128::from(blocks) * passed / between).unwrap_or(i64::MAX)
}

/// Watches the deadline, and prunes when it is missed and nobody else has pruned.
#[derive(Debug)]
pub struct Pruner {
    pub l1: L1Client,
    pub contract: RollupContract,
    /// Sends the prune; `None` only watches.
    pub sender: Option<Arc<TxSender>>,
    /// L1 blocks to wait for others after the deadline, so that not all prune at the same time.
    pub patience_l1_blocks: u64,
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
        patience_l1_blocks: u64,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            l1: running.l1.clone(),
            contract: running.contract.clone(),
            sender,
            patience_l1_blocks,
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
        let mut retry = Retry::new(pause.min(RETRY_MAX), RETRY_MAX);
        while !shutdown.is_started() {
            let step = tokio::select! {
                () = shutdown.started() => return,
                step = self.step() => step,
            };
            match step {
                Ok(_) => {
                    retry.succeeded(|wait_seconds| {
                        tracing::info!(wait_seconds, "proof deadline checked again");
                    });
                    shutdown.within(pause).await;
                }
                Err(error) => {
                    let log = |Again { repeated, retry_seconds }| {
                        tracing::warn!(%error, repeated, retry_seconds, "proof deadline not checked; retrying");
                    };
                    retry.failed(shutdown.started(), log).await;
                }
            }
        }
    }

    /// Polls once; prunes if it is this process's turn. True when it did.
    ///
    /// # Errors
    /// When L1 cannot be read, or accepts no prune. Both can be retried.
    pub async fn step(&self) -> Result<bool, L1Error> {
        let deadline = read_deadline(&self.l1, &self.contract).await?;
        let before = self.seen.send_replace(deadline);
        self.metrics.set(deadline.as_ref());
        let Some(deadline) = deadline.filter(|deadline| deadline.is_missed) else {
            return Ok(false);
        };
        if !before.is_some_and(|before| before.is_missed) {
            tracing::error!(
                epoch = deadline.epoch,
                last_l1_block = deadline.last_l1_block,
                "proof deadline missed; unproven blocks can be pruned"
            );
        }
        let Some(sender) = &self.sender else { return Ok(false) };
        let overdue = deadline.l1_blocks_left.unsigned_abs();
        if deadline.l1_blocks_left < 0 && overdue <= self.patience_l1_blocks {
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
    use super::*;

    #[test]
    fn seconds_follow_the_pace_of_the_last_l1_blocks() {
        let at = |number, timestamp| L1BlockRef { number, hash: Default::default(), timestamp };
        assert_eq!(seconds(10, &at(132, 1384), &at(100, 1000)), 120);
        assert_eq!(seconds(-10, &at(132, 1384), &at(100, 1000)), -120);
        // Only one block, and a chain whose time does not advance.
        assert_eq!(seconds(10, &at(5, 1000), &at(5, 1000)), 0);
        assert_eq!(seconds(i64::MAX, &at(132, u64::MAX), &at(131, 0)), i64::MAX);
    }
}
