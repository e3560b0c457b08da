//! Proves one graph of jobs: enqueues each job as soon as its children's proofs exist.
//!
//! It keeps no state on disk: job ids are digests of inputs, so a restarted prover node that plans the
//! same blocks finds its finished jobs at the broker. Losing the broker's database only costs time.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollmill_broker_client::{Digest, IdError, KindName, NewJob, TRACEPARENT_LABEL};
use rollmill_protocol::plan::{EpochPlan, Subject};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::jobs::{Broker, JobFailure, Jobs, Verify};
use crate::traces::SharedSpan;
use crate::work::WorkError;

/// How inputs are built and results are verified, which the pipeline does not know.
pub trait Work: Send + Sync + 'static {
    /// The input of node `index` of the plan, given its children's results in order.
    fn input(&self, index: usize, children: &[Vec<u8>]) -> Result<Vec<u8>, WorkError>;
    /// Verifies a result. Called on a thread that may block.
    fn verify(&self, index: usize, input: &[u8], result: &[u8]) -> Result<(), WorkError>;
}

/// What all jobs of a range share.
#[derive(Debug, Clone)]
pub struct Labels {
    pub epoch: u64,
    /// Number of the plan's first block.
    pub first_block: u64,
    /// Version of the circuit set.
    pub version: KindName,
    /// Unix seconds by which the epoch must be proven, as last computed.
    pub deadline: watch::Receiver<Option<u64>>,
    /// The span below which the jobs are.
    pub trace: SharedSpan,
}

/// A part of a plan: the nodes to prove, and those already proven.
#[derive(Debug, Clone)]
pub struct Graph {
    pub plan: Arc<EpochPlan>,
    /// By node: whether its proof is needed. Closed under children, except proven ones.
    pub needed: Vec<bool>,
    /// Results of nodes that are proven already.
    pub proven: BTreeMap<usize, Vec<u8>>,
}

impl Graph {
    /// All nodes up to the root of the plan's only block.
    pub fn block(plan: Arc<EpochPlan>) -> Self {
        let mut needed = vec![true; plan.nodes.len()];
        needed[plan.root()] = false;
        Self { plan, needed, proven: BTreeMap::new() }
    }

    /// All nodes above the blocks' roots, which are passed in order.
    pub fn top(plan: Arc<EpochPlan>, roots: Vec<Vec<u8>>) -> Self {
        let is_block = |subject| matches!(subject, Subject::Block { .. });
        let is_top = |subject| matches!(subject, Subject::Blocks { .. } | Subject::Epoch);
        let needed = plan.nodes.iter().map(|node| is_top(node.subject)).collect();
        let blocks = plan.nodes.iter().enumerate().filter(|(_, node)| is_block(node.subject));
        let proven = blocks.map(|(index, _)| index).zip(roots).collect();
        Self { plan, needed, proven }
    }
}

/// Proves every needed node and returns the result of the last one.
///
/// # Errors
/// When an operator must act. Temporary failures are retried without limit: drop the future to stop.
pub async fn run<B: Broker>(
    jobs: &Jobs<B>,
    graph: Graph,
    labels: &Labels,
    work: &Arc<dyn Work>,
) -> Result<Vec<u8>, JobFailure> {
    let Graph { plan, needed, proven: mut results } = graph;
    let last = needed.iter().rposition(|needed| *needed).unwrap_or(plan.root());
    let mut running = JoinSet::new();
    let start = |index: usize, results: &mut BTreeMap<usize, Vec<u8>>, to: &mut JoinSet<_>| {
        let children = plan.nodes[index].children.iter();
        let children: Vec<Vec<u8>> = children.filter_map(|child| results.remove(child)).collect();
        let node = Node { plan: Arc::clone(&plan), index, children };
        to.spawn(prove(jobs.clone(), node, labels.clone(), Arc::clone(work)));
    };
    for index in (0..plan.nodes.len()).filter(|index| needed[*index]) {
        if plan.nodes[index].children.iter().all(|child| results.contains_key(child)) {
            start(index, &mut results, &mut running);
        }
    }
    while let Some(ended) = running.join_next().await {
        let (index, result) = match ended {
            Ok(result) => result?,
            Err(panic) => {
                let source = panic.into();
                return Err(JobFailure::Input { index: last, circuit: "unknown", source });
            }
        };
        if index == last {
            return Ok(result);
        }
        results.insert(index, result);
        if let Some(parent) = plan.nodes[index].parent.filter(|parent| needed[*parent])
            && plan.nodes[parent].children.iter().all(|child| results.contains_key(child))
        {
            start(parent, &mut results, &mut running);
        }
    }
    let circuit = plan.nodes[last].circuit.name();
    Err(JobFailure::Input { index: last, circuit, source: WorkError::NoChildren })
}

/// One node of the plan, with its children's results.
struct Node {
    plan: Arc<EpochPlan>,
    index: usize,
    children: Vec<Vec<u8>>,
}

async fn prove<B: Broker>(
    jobs: Jobs<B>,
    node: Node,
    labels: Labels,
    work: Arc<dyn Work>,
) -> Result<(usize, Vec<u8>), JobFailure> {
    let Node { plan, index, children } = node;
    let circuit = plan.nodes[index].circuit.name();
    let broken = |source: WorkError| JobFailure::Input { index, circuit, source };
    let maker = Arc::clone(&work);
    let input = jobs.blocking(move || maker.input(index, &children)).await.map_err(broken)?;
    let kind: KindName = circuit.parse().map_err(|error: IdError| broken(error.into()))?;
    let digest = Digest::of(&input);
    let mut job = NewJob::new(labels.epoch, &kind, labels.version.clone(), digest);
    job.rank = jobs.path_ms(&plan, index);
    job.path_ms = Some(job.rank);
    job.labels.insert("subject".into(), subject(labels.first_block, plan.nodes[index].subject));
    let trace = labels.trace.job(&job.id);
    if let Some(context) = trace.context() {
        job.labels.insert(TRACEPARENT_LABEL.to_owned(), context.to_string());
    }
    let input = Arc::new(input);
    let (checked, checker) = (Arc::clone(&input), work);
    let verify: Verify = Arc::new(move |result| checker.verify(index, &checked, result));
    let deadline = || *labels.deadline.borrow();
    let done = trace.within(jobs.prove_by(&job, deadline, &input, &verify)).await;
    match &done {
        Ok(done) => trace.done(&done.view),
        Err(failure) => trace.ended(Some(failure.code())),
    }
    let done = done?;
    tracing::info!(job = %job.id, circuit, agent = ?done.view.agent, "proof verified");
    jobs.finished(circuit, &done.view);
    Ok((index, done.result))
}

fn subject(first_block: u64, subject: Subject) -> String {
    let at = |block: usize| first_block + block as u64;
    match subject {
        Subject::Tx { block, tx } => format!("block {} tx {tx}", at(block)),
        Subject::Txs { block, first, last } => format!("block {} txs {first}..{last}", at(block)),
        Subject::Block { block } => format!("block {}", at(block)),
        Subject::Blocks { first, last } => format!("blocks {}..{}", at(first), at(last)),
        Subject::Epoch => "epoch".to_owned(),
    }
}
