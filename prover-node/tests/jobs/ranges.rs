//! The proving tasks of ranges, over blocks of invented transactions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollmill_broker_client::{Digest, JobId, JobView, TRACEPARENT_LABEL};
use rollmill_circuits::jobs::JobError;
use rollmill_protocol::plan::EpochPlan;
use rollmill_protocol::{EthAddress, Fr};
use rollmill_prover_node::capture::Capture;
use rollmill_prover_node::gather::GatherError;
use rollmill_prover_node::jobs::{Health, Jobs, Tempo};
use rollmill_prover_node::pipeline::Work;
use rollmill_prover_node::prove::{Provers, Source};
use rollmill_prover_node::ranges::store::RowStore;
use rollmill_prover_node::ranges::{Proof, RangeBlock, Root, Row};
use rollmill_prover_node::traces::EpochTraces;
use rollmill_prover_node::work::WorkError;
use rollmill_service::prometheus::Registry;
use rollmill_service::traces::Traceparent;
use rollmill_service::{TraceSettings, Traces};
use rollmill_service_testing::{Collected, Collector};
use tempfile::TempDir;

use crate::fake::{Fake, Local, result_of};
use crate::{EPOCH, MS, TEMPO, metrics};

/// Blocks of as many transactions each.
#[derive(Debug)]
struct Blocks {
    txs: usize,
    /// Numbers of blocks whose transactions no node has.
    missing: Mutex<BTreeSet<u64>>,
    /// Numbers whose execution produces another block.
    differing: Mutex<BTreeSet<u64>>,
    asked: Mutex<usize>,
}

impl Blocks {
    fn new(txs: usize) -> Arc<Self> {
        let (missing, differing, asked) = Default::default();
        Arc::new(Self { txs, missing, differing, asked })
    }
}

#[derive(Debug)]
struct Block {
    of: RangeBlock,
    txs: usize,
}

impl Source for Blocks {
    type Block = Block;

    async fn fetch(&self, number: u64) -> Result<(), GatherError> {
        *self.asked.lock() += 1;
        if self.missing.lock().contains(&number) {
            return Err(GatherError::Missing { block: number, tx_hash: String::new() });
        }
        Ok(())
    }

    async fn block(&self, block: RangeBlock) -> Result<Block, GatherError> {
        self.fetch(block.number).await?;
        if self.differing.lock().contains(&block.number) {
            let (expected, got) = (String::new(), String::new());
            return Err(GatherError::Differs { block: block.number, expected, got });
        }
        Ok(Block { of: block, txs: self.txs })
    }

    fn tx_count(block: &Block) -> usize {
        block.txs
    }

    fn work(&self, plan: Arc<EpochPlan>, blocks: Vec<Arc<Block>>) -> Arc<dyn Work> {
        Arc::new(Hashes { plan, blocks })
    }
}

/// An input names its place and binds the children's results; a result is the input's digest.
struct Hashes {
    plan: Arc<EpochPlan>,
    blocks: Vec<Arc<Block>>,
}

impl Work for Hashes {
    fn input(&self, index: usize, children: &[Vec<u8>]) -> Result<Vec<u8>, WorkError> {
        let node = &self.plan.nodes[index];
        assert_eq!(children.len(), node.children.len());
        let hashes: Vec<_> = self.blocks.iter().map(|block| block.of).collect();
        let leaf = children.is_empty().then(|| format!("{:?} of {hashes:?}", node.subject));
        let parts = children.iter().map(|child| Digest::of(child).to_string());
        Ok(leaf.into_iter().chain(parts).collect::<String>().into_bytes())
    }

    fn verify(&self, _: usize, input: &[u8], result: &[u8]) -> Result<(), WorkError> {
        match result == result_of(input) {
            true => Ok(()),
            false => Err(WorkError::Job(JobError::PublicInput { index: 0 })),
        }
    }
}

fn block(number: u64, hash: u64) -> RangeBlock {
    RangeBlock { number, header_hash: Fr::from(hash), l1_block: number }
}

fn row(blocks: Vec<RangeBlock>, frozen: bool) -> Row {
    let mut row = Row::new(1, EPOCH, blocks);
    row.frozen = frozen;
    row
}

type Under = Provers<Local, Blocks>;

fn provers(fake: &Arc<Fake>, blocks: &Arc<Blocks>) -> (Under, RowStore, TempDir) {
    provers_with(TEMPO, fake, blocks)
}

fn provers_with(
    tempo: Tempo,
    fake: &Arc<Fake>,
    blocks: &Arc<Blocks>,
) -> (Under, RowStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = RowStore::open(folder.path()).unwrap();
    let (broker, health) = (Local(Arc::clone(fake)), Arc::new(Health::default()));
    let jobs = Jobs::new(broker, "alpha".into(), tempo, health, metrics());
    let version = "v1".parse().unwrap();
    (Provers::new(jobs, Arc::clone(blocks), store.clone(), version), store, folder)
}

async fn until_ready(provers: &mut Under) -> Root {
    loop {
        match provers.proof(1) {
            Proof::Ready(root) => return root,
            Proof::Failed { reason } => panic!("{reason}"),
            Proof::Open => tokio::time::sleep(MS).await,
        }
    }
}

/// Goal: a capture contains what the broker has of a range, and says where it ends and why.
#[tokio::test]
async fn a_capture_holds_every_job_that_can_be_made() {
    let (fake, blocks) = (Fake::new(100), Blocks::new(2));
    let (mut provers, _store, _folder) = provers(&fake, &blocks);
    // The invented inputs distinguish the blocks of a plan by their index, so the plan has one block.
    let row = row(vec![block(1, 11)], true);
    provers.prove(&row, None);
    until_ready(&mut provers).await;
    let version = provers.version().clone();
    let collect = async || {
        Capture::collect(&Local(Arc::clone(&fake)), blocks.as_ref(), &version, &row, "why").await
    };
    let whole = collect().await;
    assert_eq!((whole.reason.as_str(), &whole.row, &whole.incomplete), ("why", &row, &None));
    assert_eq!(whole.tx_counts, [2]);
    let count = EpochPlan::new(&[2]).unwrap().nodes.len();
    assert_eq!(whole.jobs.len(), count);
    for job in &whole.jobs {
        let input = hex::decode(&job.input).unwrap();
        assert_eq!(job.result.as_ref(), Some(&hex::encode(result_of(&input))));
        assert_eq!(job.state, "done");
    }

    // A lost result: its job is there without it, and what would be built on it is not.
    let is_leaf = |id: &&JobId| id.kind() == "tx_base";
    let lost = fake.lock().jobs.keys().find(is_leaf).unwrap().clone();
    fake.lock().lose_result(&lost);
    let part = collect().await;
    let without: Vec<_> = part.jobs.iter().filter(|job| job.result.is_none()).collect();
    assert_eq!((without.len(), without[0].state.as_str()), (1, "ready"));
    assert!(part.jobs.len() < count);

    blocks.missing.lock().insert(1);
    let none = collect().await;
    assert_eq!((none.jobs.len(), none.tx_counts.len()), (0, 0));
    assert!(none.incomplete.unwrap().contains("block 1"));
}

/// Goal: an epoch of 20,000 jobs is proven, and the broker is not asked for every job at every step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_of_twenty_thousand_jobs() {
    let (fake, blocks) = (Fake::new(400), Blocks::new(313));
    // Without the checks for a broker that lost its database, which come by time.
    let tempo = Tempo { check: Duration::MAX, ..TEMPO };
    let (mut provers, store, _folder) = provers_with(tempo, &fake, &blocks);
    let all: Vec<RangeBlock> = (1..=32).map(|n| block(n, n)).collect();
    provers.prove(&row(all.clone(), true), None);
    let root = until_ready(&mut provers).await;
    assert_eq!(root.last, all[31]);
    assert!(store.root(&root).is_some());
    let inner = fake.lock();
    let count = inner.jobs.len();
    assert!(count >= 20_000, "{count} jobs");
    println!("{count} jobs, {} read, {} requests", inner.ids_read, inner.requests);
    assert_eq!(inner.uploads, count, "each input is uploaded once");
    assert!(inner.ids_read < 2 * count, "{} jobs read", inner.ids_read);
}

/// Goal: blocks are proven as they arrive; what a reorg removes is dropped, and what stays is not
/// proven again.
#[tokio::test]
async fn blocks_are_proven_as_they_land_and_dropped_with_a_reorg() {
    let (fake, blocks) = (Fake::new(100), Blocks::new(2));
    let (mut provers, _, _folder) = provers(&fake, &blocks);
    provers.prove(&row(vec![block(1, 1), block(2, 2)], false), None);
    // Two proofs of transactions and a block root each.
    while fake.lock().jobs.values().filter(|job| job.result.is_some()).count() < 6 {
        tokio::time::sleep(MS).await;
    }
    provers.prove(&row(vec![block(1, 1), block(2, 22), block(3, 33)], true), None);
    let root = until_ready(&mut provers).await;
    assert_eq!(root.last, block(3, 33));
    let inner = fake.lock();
    // Blocks 1, 2, 22 and 33, a merge and the root.
    assert_eq!((inner.jobs.len(), inner.uploads), (4 * 3 + 2, 4 * 3 + 2));
}

/// Goal: a restarted process gets the same root without a proof made twice.
#[tokio::test]
async fn a_restart_costs_no_proof() {
    let (fake, blocks) = (Fake::new(100), Blocks::new(3));
    let all: Vec<RangeBlock> = (1..=4).map(|n| block(n, n)).collect();
    let first = {
        let (mut provers, _, _folder) = provers(&fake, &blocks);
        provers.prove(&row(all.clone(), true), None);
        until_ready(&mut provers).await
    };
    let made = fake.lock().jobs.len();
    let (mut provers, _, _folder) = provers(&fake, &blocks);
    provers.prove(&row(all, true), None);
    assert_eq!(until_ready(&mut provers).await, first);
    let inner = fake.lock();
    assert_eq!(inner.jobs.len(), made);
    assert!(inner.jobs.values().all(|job| job.attempts == 1));
}

/// Goal: transactions that no node has are requested again, and a range does not start without its
/// first block's.
#[tokio::test]
async fn missing_transactions_are_asked_for_again() {
    let (fake, blocks) = (Fake::new(100), Blocks::new(1));
    blocks.missing.lock().insert(1);
    let (mut provers, _, _folder) = provers(&fake, &blocks);
    let row = row(vec![block(1, 1)], true);
    provers.gather(&row);
    while *blocks.asked.lock() == 0 {
        tokio::time::sleep(MS).await;
    }
    assert!(!provers.is_gathered(row.id));
    blocks.missing.lock().clear();
    while !provers.is_gathered(row.id) {
        provers.gather(&row);
        tokio::time::sleep(MS).await;
    }
    provers.prove(&row, None);
    until_ready(&mut provers).await;
}

/// Goal: a block that this program executes to something else is a person's matter, after more than one
/// try.
#[tokio::test]
async fn a_block_that_differs_fails_the_range() {
    let (fake, blocks) = (Fake::new(100), Blocks::new(1));
    blocks.differing.lock().insert(1);
    let (mut provers, _, _folder) = provers(&fake, &blocks);
    provers.prove(&row(vec![block(1, 1)], true), None);
    let reason = loop {
        match provers.proof(1) {
            Proof::Failed { reason } => break reason,
            Proof::Ready(root) => panic!("{root:?}"),
            Proof::Open => tokio::time::sleep(MS).await,
        }
    };
    assert!(reason.starts_with("PRN-012"), "{reason}");
    assert_eq!(*blocks.asked.lock(), 3);
}

/// The traces of a prover in a process, and its proving tasks. `holds` says whether it holds the submitter's lease.
fn traced(
    collector: &Collector,
    (fake, blocks): (&Arc<Fake>, &Arc<Blocks>),
    holds: bool,
) -> (Under, Traces, TempDir) {
    let settings =
        TraceSettings { endpoint: Some(collector.url().parse().unwrap()), headers: None };
    let traces = Traces::start("rollmill-prover-node", &settings, &Registry::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = RowStore::open(folder.path()).unwrap();
    let (broker, health) = (Local(Arc::clone(fake)), Arc::new(Health::default()));
    let jobs = Jobs::new(broker, "alpha".into(), TEMPO, health, metrics()).traced(traces.clone());
    let provers = Provers::new(jobs, Arc::clone(blocks), store, "v1".parse().unwrap());
    (provers.traced(epochs(&traces, 2, holds)), traces, folder)
}

fn epochs(traces: &Traces, prover: u8, holds: bool) -> EpochTraces {
    let (rollup, prover) = (EthAddress([1; 20]), EthAddress([prover; 20]));
    EpochTraces::new(traces.clone(), 31337, rollup, prover, move || holds)
}

fn named(spans: &[Collected], name: &str) -> Vec<Collected> {
    spans.iter().filter(|span| span.name == name).cloned().collect()
}

/// The traces that the jobs' labels name.
fn labels(fake: &Arc<Fake>) -> Vec<(JobId, String)> {
    let inner = fake.lock();
    let label = |job: &JobView| (job.id.clone(), job.labels[TRACEPARENT_LABEL].clone());
    inner.jobs.values().map(label).collect()
}

/// Requires the span of a job that its label names, below one of `above`, and one of each stage below it.
fn require_job(spans: &[Collected], (id, label): &(JobId, String), above: &[Collected]) {
    let of_job = Traceparent::parse(label).unwrap();
    assert!(of_job.is_sampled() && of_job.trace() == above[0].trace);
    let mut found = named(spans, &format!("job {}", id.kind()));
    found.retain(|span| span.span == of_job.span());
    assert_eq!(found.len(), 1, "{id}: {spans:#?}");
    assert_eq!(found[0].attribute("rollmill.job"), id.as_str());
    assert!(above.iter().any(|above| above.span == found[0].parent), "{:?}", found[0]);
    for stage in ["upload input", "fetch result", "verify result"] {
        let stages = named(spans, stage);
        let below = stages.iter().filter(|stage| stage.parent == found[0].span);
        assert_eq!(below.count(), 1, "{stage} of {id}");
    }
}

/// Goal: an epoch is one trace for a process that restarts and for a standby: each computes the same span for a job,
/// so that the job's label stays, and only the holder of the submitter's lease exports it.
#[tokio::test]
async fn an_epoch_is_one_trace_in_every_process_of_a_prover() {
    let collector = Collector::start().await;
    let (fake, blocks) = (Fake::new(100), Blocks::new(2));
    let row = row(vec![block(1, 1), block(2, 2)], true);
    let prove = async |holds: bool| {
        let (mut provers, traces, _folder) = traced(&collector, (&fake, &blocks), holds);
        provers.prove(&row, None);
        until_ready(&mut provers).await;
        traces.end(Duration::from_secs(60)).await;
        let other = epochs(&traces, 3, true).range(EPOCH, 1).context().unwrap();
        let next = epochs(&traces, 2, true).range(EPOCH + 1, 1).context().unwrap();
        [other.trace(), next.trace()]
    };
    let others = prove(true).await;
    let spans = collector.spans();
    let mut above = named(&spans, "epoch");
    assert_eq!(above.len(), 1, "{spans:#?}");
    let (trace, epoch) = (above[0].trace, above[0].span);
    assert_eq!((above[0].parent, above[0].attribute("rollmill.epoch")), (0, "7"));
    assert!(spans.iter().all(|span| span.trace == trace && span.error.is_empty()), "{spans:#?}");
    assert!(!others.contains(&trace) && others[0] != others[1]);
    above.extend(named(&spans, "block"));
    assert_eq!(above.len(), 3);
    for block in &above[1..] {
        assert_eq!(block.parent, epoch);
        assert!(named(&spans, "gather").iter().any(|gather| gather.parent == block.span));
    }
    let first = labels(&fake);
    first.iter().for_each(|job| require_job(&spans, job, &above));

    prove(false).await;
    assert_eq!(labels(&fake), first);
    let more = &collector.spans()[spans.len()..];
    assert!(!more.is_empty() && more.iter().all(|span| span.trace == trace));
    let own = ["gather", "upload input", "fetch result", "verify result"];
    assert!(more.iter().all(|span| own.contains(&span.name.as_str())), "{more:#?}");
    assert_eq!(EpochTraces::default().range(EPOCH, 1).context(), None);
}
