//! The proving tasks: one per range that is being proven. Each block is proven up to its root when it
//! arrives, and retried until it is no longer on the chain. Once the range has its last block, the
//! proofs above the blocks follow.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollmill_broker_client::{ClientError, KindName};
use rollmill_protocol::plan::EpochPlan;
use rollmill_service::{Again, Retry};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::gather::GatherError;
use crate::jobs::{Broker, JobFailure, Jobs};
use crate::pipeline::{self, Graph, Labels, Work};
use crate::ranges::store::RowStore;
use crate::ranges::{Proof, RangeBlock, Root, Row};
use crate::traces::{EpochTraces, SharedSpan};
use crate::work::WorkError;

/// First and longest pause before a block is gathered again, or a root written.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often executing a block may produce a block other than L1's before the range is parked for an
/// operator. A reorg between two reads causes this once.
const DIFFERS_MAX: u32 = 3;

/// The source of blocks, and how they become jobs.
pub trait Source: Send + Sync + 'static {
    /// An executed block with the inputs of its proofs.
    type Block: Send + Sync + 'static;

    /// Fetches a block's transactions, so that they are stored before it is executed.
    fn fetch(&self, number: u64) -> impl Future<Output = Result<(), GatherError>> + Send;

    /// Fetches and executes a block.
    fn block(
        &self,
        block: RangeBlock,
    ) -> impl Future<Output = Result<Self::Block, GatherError>> + Send;

    /// Number of transactions of a block.
    fn tx_count(block: &Self::Block) -> usize;

    /// The inputs and verifications of a plan over these blocks.
    fn work(&self, plan: Arc<EpochPlan>, blocks: Vec<Arc<Self::Block>>) -> Arc<dyn Work>;
}

/// The target of a proving task.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    epoch: u64,
    blocks: Vec<RangeBlock>,
    frozen: bool,
}

#[derive(Debug)]
struct Task {
    target: watch::Sender<Target>,
    deadline: watch::Sender<Option<u64>>,
    proof: Arc<Mutex<Proof>>,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

#[derive(Debug, Default)]
struct Probe {
    done: Arc<std::sync::atomic::AtomicBool>,
    handle: Option<AbortHandle>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

/// The proving tasks of a process, by row. Dropping it stops them all; finished proofs stay at the
/// broker.
#[derive(Debug)]
pub struct Provers<B, S> {
    jobs: Jobs<B>,
    source: Arc<S>,
    store: RowStore,
    version: KindName,
    traces: EpochTraces,
    /// Notified whenever a task's state changes.
    news: Arc<Notify>,
    tasks: BTreeMap<u64, Task>,
    /// Whether the first block's transactions are stored, by row.
    probes: BTreeMap<u64, Probe>,
}

impl<B: Broker, S: Source> Provers<B, S> {
    /// Starts without tasks. Root proofs are kept in `store`.
    pub fn new(jobs: Jobs<B>, source: Arc<S>, store: RowStore, version: KindName) -> Self {
        let (tasks, probes, news) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        let traces = EpochTraces::default();
        Self { jobs, source, store, version, traces, news, tasks, probes }
    }

    /// Records the tasks' work in these traces.
    pub fn traced(self, traces: EpochTraces) -> Self {
        Self { traces, ..self }
    }

    /// The source of blocks.
    pub fn source(&self) -> &Arc<S> {
        &self.source
    }

    /// Version of the circuit set.
    pub fn version(&self) -> &KindName {
        &self.version
    }

    /// Notified whenever a task's state changes.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// The connection to the broker.
    pub fn jobs(&self) -> &Jobs<B> {
        &self.jobs
    }

    /// Starts the range's task, or passes the range's new blocks to the running one.
    pub fn prove(&mut self, row: &Row, deadline: Option<u64>) {
        self.probes.remove(&row.id);
        let target = Target { epoch: row.epoch, blocks: row.blocks.clone(), frozen: row.frozen };
        if let Some(task) = self.tasks.get(&row.id) {
            task.target.send_if_modified(|before| {
                let changed = *before != target;
                *before = target;
                changed
            });
            task.deadline.send_replace(deadline);
            return;
        }
        let (sender, receiver) = watch::channel(target);
        let (deadline, deadline_seen) = watch::channel(deadline);
        let proof = Arc::new(Mutex::new(Proof::Open));
        let task = RangeTask {
            jobs: self.jobs.clone(),
            source: Arc::clone(&self.source),
            store: self.store.clone(),
            version: self.version.clone(),
            deadline: deadline_seen,
            target: receiver,
            trace: self.traces.range(row.epoch, row.first()),
        };
        let (told, news) = (Arc::clone(&proof), Arc::clone(&self.news));
        let handle = tokio::spawn(async move {
            let trace = task.trace.clone();
            let proof = task.run().await;
            match &proof {
                Proof::Ready(_) => trace.ended(None),
                Proof::Failed { .. } => trace.ended(Some("failed")),
                Proof::Open => {}
            }
            *told.lock() = proof;
            news.notify_one();
        })
        .abort_handle();
        self.tasks.insert(row.id, Task { target: sender, deadline, proof, handle });
    }

    /// Stops the range's task.
    pub fn stop(&mut self, id: u64) {
        self.tasks.remove(&id);
        self.probes.remove(&id);
    }

    /// The state of the range's task.
    pub fn proof(&mut self, id: u64) -> Proof {
        let Some(task) = self.tasks.get(&id) else { return Proof::Open };
        let proof = task.proof.lock().clone();
        if proof == Proof::Open && task.handle.is_finished() {
            // It panicked, or ended between the two checks; the next turn shows which.
            let again = task.proof.lock().clone();
            if again == Proof::Open {
                self.tasks.remove(&id);
            }
            return again;
        }
        proof
    }

    /// Fetches the transactions of the range's first block, and retries until they are stored.
    pub fn gather(&mut self, row: &Row) {
        let probe = self.probes.entry(row.id).or_default();
        let running = probe.handle.as_ref().is_some_and(|handle| !handle.is_finished());
        if running || probe.done.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let (source, number) = (Arc::clone(&self.source), row.first());
        let (done, news) = (Arc::clone(&probe.done), Arc::clone(&self.news));
        let task = tokio::spawn(async move {
            let mut retry = gathering();
            loop {
                match source.fetch(number).await {
                    Ok(()) => break gathered(&mut retry, number),
                    // The row's next turn starts a new task for the block that is on the chain then.
                    Err(GatherError::Gone { .. }) => return,
                    Err(error) => not_gathered(&mut retry, number, &error).await,
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            news.notify_one();
        });
        probe.handle = Some(task.abort_handle());
    }

    /// Whether the transactions of the range's first block are stored.
    pub fn is_gathered(&self, id: u64) -> bool {
        let done = |probe: &Probe| probe.done.load(std::sync::atomic::Ordering::Relaxed);
        self.probes.get(&id).is_some_and(done)
    }
}

/// A task that proves a block up to its root.
struct ProvenBlock<T> {
    block: Arc<T>,
    root: Vec<u8>,
}

/// Why a range cannot be proven, or not be captured whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProveError {
    /// A block cannot be read or executed.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// A job cannot be done.
    #[error(transparent)]
    Job(#[from] JobFailure),
    /// A plan, an input or a check failed.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The broker cannot be asked.
    #[error(transparent)]
    Broker(#[from] ClientError),
}

rollmill_errors::coded! {
    ProveError {
        Self::Gather(error) => (error),
        Self::Job(error) => (error),
        Self::Work(error) => (error),
        Self::Broker(error) => (error),
    }
}

/// A person must look.
fn failed(error: &(dyn std::error::Error + 'static)) -> Proof {
    Proof::Failed { reason: rollmill_service::one_line(error) }
}

struct RangeTask<B, S> {
    jobs: Jobs<B>,
    source: Arc<S>,
    store: RowStore,
    version: KindName,
    deadline: watch::Receiver<Option<u64>>,
    target: watch::Receiver<Target>,
    trace: SharedSpan,
}

type BlockResult<T> = (RangeBlock, Result<ProvenBlock<T>, ProveError>);

impl<B: Broker, S: Source> RangeTask<B, S> {
    async fn run(mut self) -> Proof {
        // By number; replacing a block drops its task.
        let mut needed: BTreeMap<u64, (RangeBlock, AbortHandle)> = BTreeMap::new();
        let mut proven: BTreeMap<u64, (RangeBlock, ProvenBlock<S::Block>)> = BTreeMap::new();
        let mut running: JoinSet<BlockResult<S::Block>> = JoinSet::new();
        let mut top: JoinSet<Result<Vec<u8>, JobFailure>> = JoinSet::new();
        let mut top_of: Option<Target> = None;
        loop {
            let target = self.target.borrow_and_update().clone();
            let is_needed = |block: &RangeBlock| target.blocks.iter().any(|b| b.is_same(block));
            proven.retain(|_, (block, _)| is_needed(block));
            needed.retain(|_, (block, handle)| {
                let keep = is_needed(block);
                if !keep {
                    handle.abort();
                }
                keep
            });
            for block in &target.blocks {
                needed.entry(block.number).or_insert_with(|| {
                    let task = self.block_task(target.epoch, *block);
                    (*block, running.spawn(task))
                });
            }
            if top_of.as_ref().is_some_and(|of| *of != target) {
                top.abort_all();
                (top, top_of) = (JoinSet::new(), None);
            }
            if top_of.is_none() && target.frozen && proven.len() == target.blocks.len() {
                self.start_top(&target, &proven, &mut top);
                top_of = Some(target.clone());
            }
            tokio::select! {
                changed = self.target.changed() => {
                    if changed.is_err() {
                        return Proof::Open;
                    }
                }
                Some(ended) = running.join_next() => match ended {
                    Ok((block, Ok(done))) => {
                        if needed.get(&block.number).is_some_and(|(at, _)| at.is_same(&block)) {
                            proven.insert(block.number, (block, done));
                        }
                    }
                    Ok((block, Err(error))) => {
                        if needed.get(&block.number).is_some_and(|(at, _)| at.is_same(&block)) {
                            return failed(&error);
                        }
                    }
                    Err(error) if error.is_cancelled() => {}
                    Err(panic) => return failed(&WorkError::from(panic)),
                },
                Some(ended) = top.join_next() => match ended {
                    Ok(Ok(bytes)) => return self.keep(&target, bytes).await,
                    Ok(Err(failure)) => return failed(&failure),
                    Err(error) if error.is_cancelled() => {}
                    Err(panic) => return failed(&WorkError::from(panic)),
                },
            }
        }
    }

    fn labels(&self, epoch: u64, first_block: u64, trace: SharedSpan) -> Labels {
        let (version, deadline) = (self.version.clone(), self.deadline.clone());
        Labels { epoch, first_block, version, deadline, trace }
    }

    /// Gathers and proves one block; retries until it succeeds or an operator must act.
    fn block_task(
        &self,
        epoch: u64,
        block: RangeBlock,
    ) -> impl Future<Output = BlockResult<S::Block>> + Send + 'static {
        let (jobs, source) = (self.jobs.clone(), Arc::clone(&self.source));
        let labels = self.labels(epoch, block.number, self.trace.block(&block));
        async move {
            let trace = labels.trace.clone();
            let proven = prove_block(jobs, source, labels, block).await;
            trace.ended(proven.as_ref().err().map(ProveError::code));
            (block, proven)
        }
    }

    fn start_top(
        &self,
        target: &Target,
        proven: &BTreeMap<u64, (RangeBlock, ProvenBlock<S::Block>)>,
        top: &mut JoinSet<Result<Vec<u8>, JobFailure>>,
    ) {
        let blocks: Vec<Arc<S::Block>> =
            proven.values().map(|(_, proven)| Arc::clone(&proven.block)).collect();
        let roots = proven.values().map(|(_, proven)| proven.root.clone()).collect();
        let counts: Vec<usize> = blocks.iter().map(|block| S::tx_count(block)).collect();
        let Some(plan) = EpochPlan::new(&counts).map(Arc::new) else { return };
        let first = target.blocks.first().map_or(0, |block| block.number);
        let labels = self.labels(target.epoch, first, self.trace.clone());
        let work = self.source.work(Arc::clone(&plan), blocks);
        let (jobs, graph) = (self.jobs.clone(), Graph::top(plan, roots));
        top.spawn(async move { pipeline::run(&jobs, graph, &labels, &work).await });
    }

    /// Writes the root proof to disk. Retries while the disk is full, since the proof would have to be
    /// fetched again.
    async fn keep(&self, target: &Target, bytes: Vec<u8>) -> Proof {
        let Some(last) = target.blocks.last().copied() else { return Proof::Open };
        let bytes = Arc::new(bytes);
        let mut retry = Retry::new(PAUSE.0, PAUSE.1);
        loop {
            let (store, copy) = (self.store.clone(), Arc::clone(&bytes));
            let kept = tokio::task::spawn_blocking(move || store.put_root(&copy)).await;
            match kept {
                Ok(Ok(digest)) => {
                    retry.succeeded(|wait_seconds| {
                        tracing::info!(wait_seconds, "root proof written");
                    });
                    return Proof::Ready(Root { digest, last });
                }
                Ok(Err(error)) => {
                    let log = |Again { repeated, retry_seconds }| {
                        tracing::error!(%error, repeated, retry_seconds, "root proof not written; retrying");
                    };
                    retry.failed(pending(), log).await;
                }
                Err(panic) => return failed(&WorkError::from(panic)),
            }
        }
    }
}

/// The retries of gathering a block, which [`gathered`] ends. Their task is aborted by its owner.
fn gathering() -> Retry {
    Retry::new(PAUSE.0, PAUSE.1)
}

fn gathered(retry: &mut Retry, block: u64) {
    retry.succeeded(|wait_seconds| tracing::info!(block, wait_seconds, "block gathered"));
}

async fn not_gathered(retry: &mut Retry, block: u64, error: &GatherError) {
    let log = |Again { repeated, retry_seconds }| {
        tracing::warn!(block, %error, repeated, retry_seconds, "block not gathered; retrying");
    };
    retry.failed(pending(), log).await;
}

async fn prove_block<B: Broker, S: Source>(
    jobs: Jobs<B>,
    source: Arc<S>,
    labels: Labels,
    block: RangeBlock,
) -> Result<ProvenBlock<S::Block>, ProveError> {
    let (mut retry, mut differs) = (gathering(), 0);
    let span = labels.trace.start("gather");
    let found = loop {
        let error = match source.block(block).await {
            Ok(found) => break Arc::new(found),
            Err(error) => error,
        };
        differs += u32::from(matches!(error, GatherError::Differs { .. }));
        if differs >= DIFFERS_MAX {
            span.end_with(Some(error.code()));
            return Err(error.into());
        }
        not_gathered(&mut retry, block.number, &error).await;
    };
    span.end();
    gathered(&mut retry, block.number);
    let Some(plan) = EpochPlan::new(&[S::tx_count(&found)]).map(Arc::new) else {
        return Err(WorkError::NoPlan.into());
    };
    let work = source.work(Arc::clone(&plan), vec![Arc::clone(&found)]);
    let root = pipeline::run(&jobs, Graph::block(plan), &labels, &work).await?;
    Ok(ProvenBlock { block: found, root })
}
