//! The controller's ports in production: the node's chain, L1, the broker, the sender.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rollmill_broker_client::{Client, EpochOutcome};
use rollmill_l1::alloy::eips::BlockNumberOrTag;
use rollmill_l1::{L1BlockRef, L1Client};
use rollmill_node::Node;
use rollmill_node::setup::RunningNode;
use rollmill_node_client::wire::BlockRef;
use rollmill_service::{Backoff, Conditions, Failure, failpoint};

use crate::capture::Capture;
use crate::gather::NodeSource;
use crate::jobs::{Condition, Health};
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::prove::Provers;
use crate::ranges::controller::Ports;
use crate::ranges::store::RowStore;
use crate::ranges::{
    Chain, Effect, Finalized, GaveUp, Own, Parking, RangeBlock, Row, Schedule, Sent, State,
    SubmitFailure,
};
use crate::submit::{L1Submitter, Submitter};

/// How long a turn waits for one submission; the attempt continues with the next turn.
const SUBMIT_MAX: Duration = Duration::from_secs(30);
/// Pause before a capture that could not be written is retried.
const CAPTURE_AGAIN: Duration = Duration::from_secs(60);
/// Minimum time given to a job while its range may still be proven.
const DEADLINE_LEAST_SECONDS: u64 = 60;
/// A window that closes later than this from now, a generation, counts as no deadline.
const DEADLINE_MOST_SECONDS: u64 = 1_000_000_000;

/// Values that are read once per L1 block.
#[derive(Debug, Clone, Copy)]
struct L1Facts {
    head: L1BlockRef,
    finalized: Option<Finalized>,
}

/// See the module.
#[derive(Debug)]
pub struct NodePorts {
    pub running: RunningNode,
    pub schedule: Schedule,
    pub provers: Provers<Client, NodeSource>,
    pub store: RowStore,
    /// Directory for captures of failed ranges.
    pub captures: Captures,
    pub submitter: Arc<L1Submitter>,
    pub lease: Lease,
    /// Nothing is sent to L1, and the lease is not asked for.
    pub dry_run: bool,
    pub health: Arc<Health>,
    pub metrics: Metrics,
    /// The conditions of the process, for `/ready`.
    pub shown: Conditions,
    /// State that this process keeps between turns; losing it only costs time.
    pub memory: Memory,
}

/// Captures of failed ranges: their directory, and by row whether one is written (true) or being collected.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    pub folder: PathBuf,
    pub state: Arc<Mutex<BTreeMap<u64, bool>>>,
}

/// See [`NodePorts::memory`].
#[derive(Debug, Default)]
pub struct Memory {
    l1: Option<L1Facts>,
    epochs: BTreeMap<u64, Vec<RangeBlock>>,
    failures: BTreeMap<u64, SubmitFailure>,
    cleaned: BTreeSet<u64>,
    /// Epochs that the broker closed, or that another deployment still uses.
    closed: BTreeSet<u64>,
    /// The broker did not answer in this turn.
    is_deaf: bool,
    attempts: BTreeMap<u64, u32>,
    states: BTreeMap<u64, (&'static str, Instant)>,
}

impl NodePorts {
    async fn l1_facts(&mut self, head: u64) -> Result<L1Facts, Failure> {
        let l1 = &self.running.l1;
        let block = block_at(l1, head).await?;
        // A reorganisation may keep the number.
        if let Some(known) = self.memory.l1.filter(|known| known.head.hash == block.hash) {
            return Ok(known);
        }
        // Only ranges that are about to finish need it: proving and submitting continue without it.
        let finalized = match self.finalized().await {
            Ok(finalized) => finalized,
            Err(error) => {
                let error = rollmill_service::one_line(error.as_ref());
                tracing::warn!(error, "finalized L1 state unavailable; ranges cannot finish");
                None
            }
        };
        let facts = L1Facts { head: block, finalized };
        self.memory.l1 = Some(facts);
        Ok(facts)
    }

    /// The contract's tips at L1's final block.
    async fn finalized(&self) -> Result<Option<Finalized>, Failure> {
        let l1 = &self.running.l1;
        let start = self.running.node.settings().l1_start.number;
        let Some(at) = l1.finalized().await?.filter(|at| at.number > start) else {
            return Ok(None);
        };
        let (pending, proven) = self.running.contract.tips_at(at.number).await?;
        Ok(Some(Finalized { l1_block: at.number, l1_time: at.timestamp, pending, proven }))
    }

    /// Every block of the epoch that contains block `number`, from the node's database.
    fn epoch_around(&mut self, number: u64) -> Result<Option<(u64, Vec<RangeBlock>)>, Failure> {
        let node = &self.running.node;
        let slots = node.config().slots_per_epoch.max(1);
        let Some((epoch, block)) = block_of(node, number, slots)? else { return Ok(None) };
        // A block's hash binds all blocks before it, so only later blocks are read.
        if let Some(known) = self.memory.epochs.get(&epoch)
            && let Some(last) = known.last()
            && known.contains(&block)
            && block_of(node, last.number, slots)? == Some((epoch, *last))
            && block_of(node, last.number + 1, slots)?.is_none_or(|(next, _)| next != epoch)
        {
            return Ok(Some((epoch, known.clone())));
        }
        let mut blocks = vec![block];
        let mut at = number;
        // Block 0 is genesis, which is not proven.
        while at > 1
            && let Some((before, block)) = block_of(node, at - 1, slots)?
            && before == epoch
        {
            at -= 1;
            blocks.insert(0, block);
        }
        at = number;
        while let Some((after, block)) = block_of(node, at + 1, slots)?
            && after == epoch
        {
            at += 1;
            blocks.push(block);
        }
        self.memory.epochs.insert(epoch, blocks.clone());
        Ok(Some((epoch, blocks)))
    }

    /// Until when the range's proof is in time, in Unix seconds of this machine's clock: the broker compares
    /// it with its own clock, and L1's clock may be far behind both.
    fn deadline(&self, row: &Row) -> Option<u64> {
        let l1 = self.memory.l1?;
        let left = self.schedule.window_end(row.epoch).saturating_sub(l1.head.timestamp);
        if left > DEADLINE_MOST_SECONDS {
            return None;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(now.saturating_add(left.max(DEADLINE_LEAST_SECONDS)))
    }

    fn show(&mut self, chain: &Chain, rows: &[Row]) {
        let metrics = &self.metrics;
        for name in State::NAMES {
            let count = rows.iter().filter(|row| row.state.as_str() == name).count();
            metrics.ranges.with_label_values(&[name]).set(count as i64);
        }
        let unproven = chain.pending.saturating_sub(chain.proven);
        metrics.unproven_blocks.set(i64::try_from(unproven).unwrap_or(i64::MAX));
        let oldest = chain
            .epochs
            .iter()
            .find(|(_, blocks)| blocks.last().is_some_and(|last| last.number > chain.proven));
        let end = oldest.map(|(epoch, _)| chain.schedule.window_end(*epoch));
        metrics
            .seconds_to_deadline
            .set(end.map_or(f64::NAN, |end| end as f64 - chain.l1_time as f64));
        metrics.submitter_lease_held.set(i64::from(chain.lease.is_some()));
        if let Some(fence) = chain.lease {
            metrics.submitter_fence.set(i64::try_from(fence).unwrap_or(i64::MAX));
        }
        metrics.jobs_open.set(i64::try_from(self.provers.jobs().open()).unwrap_or(i64::MAX));
    }
}

/// Fault tests end the process once a row in this state is on disk.
fn failpoint_of(state: &str) {
    match state {
        "planned" => {
            failpoint!(blocking "prover-node.planned");
        }
        "proving" => {
            failpoint!(blocking "prover-node.proving");
        }
        "submitting" => {
            failpoint!(blocking "prover-node.submitting");
        }
        "included" => {
            failpoint!(blocking "prover-node.included");
        }
        _ => {}
    }
}

/// The chain changed while it was read.
#[derive(Debug, thiserror::Error)]
enum ChainChanged {
    /// L1 no longer has a block that the node followed, because of a reorg. The prover node retries.
    ///
    /// Do: Nothing.
    #[error("{code}: L1 no longer has block {number}; retrying", code = self.code())]
    L1Block { number: u64 },
    /// The chain changed while it was read. The prover node reads it again.
    ///
    /// Do: Nothing.
    #[error("{code}: the chain changed while it was read; retrying", code = self.code())]
    Tips,
}

rollmill_errors::coded! {
    ChainChanged {
        Self::L1Block { .. } => "PRN-032",
        Self::Tips => "PRN-033",
    }
}

async fn block_at(l1: &L1Client, number: u64) -> Result<L1BlockRef, Failure> {
    let block = l1.block(BlockNumberOrTag::Number(number)).await?;
    // The endpoint lags, or a reorg made L1 shorter than what was followed; the follower decides which.
    let block = block.ok_or(ChainChanged::L1Block { number })?;
    Ok(L1BlockRef::from(&block))
}

fn block_of(node: &Node, number: u64, slots: u64) -> Result<Option<(u64, RangeBlock)>, Failure> {
    let record = node.block_record(BlockRef::Number(number))?;
    Ok(record.filter(|_| number > 0).map(|record| {
        let (header_hash, l1_block) = (record.header_hash, record.l1_block);
        (record.header.slot / slots, RangeBlock { number, header_hash, l1_block })
    }))
}

impl Ports for NodePorts {
    async fn chain(&mut self, rows: &[Row]) -> Result<Chain, Failure> {
        self.memory.is_deaf = false;
        for row in rows.iter().filter(|row| !row.state.is_end()) {
            self.memory.closed.remove(&row.epoch);
        }
        let tips = self.running.node.tips();
        let (pending, proven) = (tips.pending.block_number, tips.proven.block_number);
        let l1 = self.l1_facts(tips.l1_block).await?;
        let mut epochs = BTreeMap::new();
        let mut number = proven + 1;
        while number <= pending
            && let Some((epoch, blocks)) = self.epoch_around(number)?
        {
            number = blocks.last().map_or(number, |last| last.number) + 1;
            epochs.insert(epoch, blocks);
        }
        for row in rows.iter().filter(|row| !row.state.is_end()) {
            for number in [row.first(), row.last()] {
                if let Some((epoch, blocks)) = self.epoch_around(number)? {
                    epochs.insert(epoch, blocks);
                }
            }
        }
        if self.running.node.tips() != tips {
            return Err(ChainChanged::Tips.into());
        }
        self.memory.epochs.retain(|epoch, _| epochs.contains_key(epoch));
        let chain = Chain {
            l1_head: tips.l1_block,
            l1_time: l1.head.timestamp,
            finalized: l1.finalized,
            pending,
            proven,
            schedule: self.schedule,
            epochs,
            lease: self.lease.fence(Instant::now()),
        };
        self.show(&chain, rows);
        Ok(chain)
    }

    async fn own(&mut self, row: &Row) -> Own {
        let root_readable = row.root.as_ref().is_some_and(|root| self.store.root(root).is_some());
        let sent = if row.root.is_some() { self.submitter.sent(row) } else { None };
        Own {
            place: false,
            gathered: self.provers.is_gathered(row.id),
            proof: self.provers.proof(row.id),
            root_readable,
            sent,
            failure: self.memory.failures.get(&row.id).cloned(),
            cleaned: self.memory.cleaned.contains(&row.id),
            captured: self.captures.state.lock().get(&row.id) == Some(&true),
            command: None,
        }
    }

    async fn perform(&mut self, row: &Row, effect: &Effect) {
        match effect {
            Effect::Gather => self.provers.gather(row),
            Effect::Prove => {
                let deadline = self.deadline(row);
                self.provers.prove(row, deadline);
            }
            Effect::Stop => self.provers.stop(row.id),
            Effect::Cancel => match self.provers.jobs().cancel_unwanted(row.epoch).await {
                Ok(count) => {
                    tracing::info!(
                        range = row.id,
                        epoch = row.epoch,
                        jobs = count,
                        "jobs cancelled"
                    );
                    self.memory.cleaned.insert(row.id);
                }
                Err(error) => {
                    let error = rollmill_service::one_line(&error);
                    tracing::warn!(range = row.id, error, "jobs not cancelled; retrying");
                }
            },
            Effect::Submit => {
                failpoint!("prover-node.before_submit");
                self.submit(row).await;
                failpoint!("prover-node.after_submit");
            }
            Effect::Capture { reason } => self.capture(row, reason),
        }
    }

    async fn close(&mut self, epoch: u64, outcome: EpochOutcome) {
        if self.memory.closed.contains(&epoch) || self.memory.is_deaf {
            return;
        }
        match self.provers.jobs().close_epoch(epoch, outcome).await {
            Ok(is_closed) => {
                if is_closed {
                    tracing::info!(epoch, outcome = outcome.as_str(), "epoch closed at the broker");
                }
                self.memory.closed.insert(epoch);
            }
            Err(error) => {
                // The others of this turn would wait as long.
                self.memory.is_deaf = true;
                let error = rollmill_service::one_line(&error);
                tracing::warn!(epoch, error, "epoch not closed at the broker; retrying");
            }
        }
    }

    fn written(&mut self, row: &Row, own: &Own) {
        if own.failure.is_some() {
            self.memory.failures.remove(&row.id);
        }
        if own.cleaned {
            self.memory.cleaned.remove(&row.id);
        }
        if own.captured {
            self.captures.state.lock().remove(&row.id);
        }
        let attempt = self.memory.attempts.insert(row.id, row.attempt);
        let is_next = attempt.is_some_and(|before| before < row.attempt);
        if is_next && matches!(own.sent, Some(Sent::Reverted { .. })) {
            self.metrics.submissions_total.with_label_values(&["reverted"]).inc();
        }
        let name = row.state.as_str();
        let now = Instant::now();
        let before = self.memory.states.get(&row.id).copied();
        if before.is_some_and(|(before, _)| before == name) {
            return;
        }
        let since = before.map_or(now, |(_, since)| since);
        self.memory.states.insert(row.id, (name, since));
        failpoint_of(name);
        let Some((left, _)) = before else { return };
        // The time of a range is measured from its first turn in this process to its root proof.
        if left == "proving" && row.root.is_some() {
            self.metrics.range_seconds.observe(since.elapsed().as_secs_f64());
        }
        match &row.state {
            State::Included { inclusion, .. } => {
                self.metrics.epochs_proven_total.inc();
                self.metrics.submissions_total.with_label_values(&["included"]).inc();
                self.metrics.submission_gas_total.inc_by(inclusion.gas_used);
                // Far below 2^53 gwei, up to which a float is exact enough for a metric.
                let fee_eth = inclusion.fee_wei as f64 / 1e18;
                self.metrics.submission_fees_eth_total.inc_by(fee_eth);
                tracing::info!(
                    range = row.id,
                    epoch = row.epoch,
                    l1_tx = inclusion.tx_hash,
                    gas = inclusion.gas_used,
                    "epoch proven on L1"
                );
            }
            State::Parked { parking: Parking::Late, .. } => self.metrics.epochs_missed_total.inc(),
            State::GivenUp { reason: GaveUp::Late } if left != "parked_late" => {
                self.metrics.epochs_missed_total.inc();
            }
            _ => {}
        }
        if row.state.is_end() {
            self.memory.states.remove(&row.id);
            self.memory.attempts.remove(&row.id);
        }
    }

    fn pass(&mut self, _point: &'static str) -> Result<(), Failure> {
        Ok(())
    }
}

impl NodePorts {
    /// Updates the conditions of the process.
    pub fn conditions(&self) {
        let submitter = self.lease.fence(Instant::now()).is_some() || self.lease.other().is_some();
        let submitter = Condition {
            holds: submitter,
            reason: if submitter {
                ""
            } else {
                "no process is known to hold the submitter's lease"
            }
            .to_owned(),
        };
        for (name, condition) in [
            ("broker", self.health.broker()),
            ("token", self.health.token()),
            ("agents", self.health.agents()),
            ("submitter", submitter),
        ] {
            if self.dry_run && name == "submitter" {
                continue;
            }
            let Condition { holds, reason } = condition;
            self.shown.set(name, if holds { Ok(()) } else { Err(reason) });
        }
        // What looks for a block logs that it finds none.
        let missing = self.provers.source().missing.reason(Instant::now());
        self.shown.record("sources", missing.map_or(Ok(()), Err));
    }

    /// Collects and writes a capture in a separate task, since it requests every job from the broker.
    fn capture(&self, row: &Row, reason: &str) {
        let (jobs, source) = (self.provers.jobs().clone(), Arc::clone(self.provers.source()));
        let (version, row) = (self.provers.version().clone(), row.clone());
        let (reason, captures) = (reason.to_owned(), self.captures.clone());
        match self.captures.state.lock().entry(row.id) {
            // The capture is being collected, or is written and not yet recorded in the row.
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(false),
        };
        tracing::error!(
            range = row.id,
            epoch = row.epoch,
            reason,
            "range parked for an operator; see `rollmill-prover-node ranges show`"
        );
        tokio::spawn(async move {
            let broker = jobs.broker();
            let capture = Capture::collect(broker, source.as_ref(), &version, &row, &reason).await;
            match capture.write(&captures.folder) {
                Ok(path) => {
                    tracing::info!(range = row.id, path = %path.display(), jobs = capture.jobs.len(), incomplete = capture.incomplete, "range captured; see `rollmill-prover-node replay`");
                }
                Err(error) => {
                    tracing::error!(range = row.id, error = %rollmill_service::one_line(&error), "range not captured; retrying");
                    tokio::time::sleep(Backoff::steady(CAPTURE_AGAIN).pause()).await;
                    captures.state.lock().remove(&row.id);
                    return;
                }
            }
            captures.state.lock().insert(row.id, true);
        });
    }

    async fn submit(&mut self, row: &Row) {
        let State::Submitting { intent } = row.state else { return };
        // The facts were read earlier in the turn, so the lease is read once more.
        if self.lease.fence(Instant::now()) != Some(intent.fence) {
            return;
        }
        let Some(proof) = row.root.as_ref().and_then(|root| self.store.root(root)) else { return };
        let (attempt, purpose) = (row.attempt, row.purpose());
        tracing::info!(range = row.id, epoch = row.epoch, purpose, attempt, "submitting proof");
        let sending = self.submitter.submit(row, &proof, intent.fence);
        let failure = match tokio::time::timeout(SUBMIT_MAX, sending).await {
            Ok(Ok(())) => {
                self.metrics.submissions_total.with_label_values(&["sent"]).inc();
                return;
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                SubmitFailure::Transient { reason: "L1 did not answer within 30 s".to_owned() }
            }
        };
        let (outcome, reason) = match &failure {
            SubmitFailure::Transient { reason } => ("unavailable", reason),
            SubmitFailure::Order { reason }
            | SubmitFailure::Late { reason }
            | SubmitFailure::Rejected { reason }
            | SubmitFailure::Unknown { reason } => ("refused", reason),
        };
        self.metrics.submissions_total.with_label_values(&[outcome]).inc();
        tracing::warn!(
            range = row.id,
            epoch = row.epoch,
            attempt,
            error = reason,
            "proof not submitted"
        );
        self.memory.failures.insert(row.id, failure);
    }
}
