//! The trace of an epoch, from the prover node through a real broker to an agent, as one collector gets it. Blocks
//! and proofs are invented.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rollmill_agent::heartbeat::Cancel;
use rollmill_agent::{Agent, Prepared, WorkError as AgentError, WorkOutput, Worker};
use rollmill_broker_client::{Digest, WorkStats};
use rollmill_broker_testing::TestSchema;
use rollmill_circuits::Circuit;
use rollmill_protocol::plan::EpochPlan;
use rollmill_protocol::{EthAddress, Fr};
use rollmill_prover_node::gather::GatherError;
use rollmill_prover_node::jobs::{Broker, Health, Jobs, Tempo};
use rollmill_prover_node::metrics::Metrics;
use rollmill_prover_node::pipeline::Work;
use rollmill_prover_node::prove::{Provers, Source};
use rollmill_prover_node::ranges::store::RowStore;
use rollmill_prover_node::ranges::{Proof, RangeBlock, Row};
use rollmill_prover_node::traces::EpochTraces;
use rollmill_prover_node::work::WorkError;
use rollmill_service::prometheus::Registry;
use rollmill_service::{Process, TraceSettings, Traces};
use rollmill_service_testing::{Collected, Collector};

/// Longer than the test takes.
const WAIT: Duration = Duration::from_secs(120);
const EPOCH: u64 = 7;

/// What an honest agent makes of an input.
fn proof_of(input: &[u8]) -> Vec<u8> {
    Digest::of(input).0.to_vec()
}

struct Prover;

impl Worker for Prover {
    fn circuits(&self) -> Vec<(String, String)> {
        Circuit::ALL.into_iter().map(|it| (it.name().to_owned(), "v1".to_owned())).collect()
    }

    fn prepare(
        self: Arc<Self>,
        _kind: &str,
        input: &[u8],
        _cancel: &Cancel,
    ) -> Result<Prepared, AgentError> {
        let result = proof_of(input);
        Ok(Box::new(move |_| Ok(WorkOutput { result, stats: WorkStats::default() })))
    }

    fn verify(&self, _kind: &str, _input: &[u8], _result: &[u8]) -> Result<(), AgentError> {
        Ok(())
    }
}

/// Blocks of two transactions each.
struct Blocks;

impl Source for Blocks {
    type Block = RangeBlock;

    async fn fetch(&self, _number: u64) -> Result<(), GatherError> {
        Ok(())
    }

    async fn block(&self, block: RangeBlock) -> Result<RangeBlock, GatherError> {
        Ok(block)
    }

    fn tx_count(_block: &RangeBlock) -> usize {
        2
    }

    fn work(&self, plan: Arc<EpochPlan>, blocks: Vec<Arc<RangeBlock>>) -> Arc<dyn Work> {
        Arc::new(Hashes { plan, blocks })
    }
}

/// An input names its place and holds the children's results.
struct Hashes {
    plan: Arc<EpochPlan>,
    blocks: Vec<Arc<RangeBlock>>,
}

impl Work for Hashes {
    fn input(&self, index: usize, children: &[Vec<u8>]) -> Result<Vec<u8>, WorkError> {
        let place = format!("{:?} of {:?}", self.plan.nodes[index].subject, self.blocks);
        Ok([place.into_bytes(), children.concat()].concat())
    }

    fn verify(&self, _index: usize, input: &[u8], result: &[u8]) -> Result<(), WorkError> {
        assert_eq!(result, proof_of(input));
        Ok(())
    }
}

/// Proves an epoch of two blocks.
async fn prove<B: Broker>(broker: B, traces: &Traces) {
    let (rollup, prover) = (EthAddress([1; 20]), EthAddress([2; 20]));
    let (metrics, health) = (Metrics::new(&Registry::new()).unwrap(), Arc::new(Health::default()));
    let jobs = Jobs::new(broker, rollup.to_string(), Tempo::default(), health, metrics);
    let folder = tempfile::tempdir().unwrap();
    let store = RowStore::open(folder.path()).unwrap();
    let epochs = EpochTraces::new(traces.clone(), 31337, rollup, prover, || true);
    let jobs = jobs.traced(traces.clone());
    let provers = Provers::new(jobs, Arc::new(Blocks), store, "v1".parse().unwrap());
    let mut provers = provers.traced(epochs);
    let block = |number| RangeBlock { number, header_hash: Fr::from(number), l1_block: number };
    let mut row = Row::new(1, EPOCH, vec![block(1), block(2)]);
    row.frozen = true;
    provers.prove(&row, None);
    let news = provers.news();
    loop {
        match provers.proof(1) {
            Proof::Ready(_) => return,
            Proof::Failed { reason } => panic!("{reason}"),
            Proof::Open => news.notified().await,
        }
    }
}

/// The spans below `parent` of this name.
fn below<'a>(spans: &'a [Collected], parent: u64, name: &str) -> Vec<&'a Collected> {
    spans.iter().filter(|span| span.parent == parent && span.name == name).collect()
}

/// Requires one span of each name below `parent`, of this service, and returns the last.
fn require<'a>(
    spans: &'a [Collected],
    parent: &Collected,
    service: &str,
    names: &[&str],
) -> &'a Collected {
    let one = |name: &&str| {
        let found = below(spans, parent.span, name);
        assert_eq!(found.len(), 1, "{name} below {parent:?}: {spans:#?}");
        assert_eq!(found[0].service, service, "{name}");
        found[0]
    };
    let mut found: Vec<&Collected> = names.iter().map(one).collect();
    found.pop().unwrap()
}

/// Goal: one trace for an epoch, over three services, with no span whose parent is missing.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_one_trace_from_the_prover_node_to_the_agent() {
    let collector = Collector::start().await;
    let settings =
        TraceSettings { endpoint: Some(collector.url().parse().unwrap()), headers: None };
    let schema = TestSchema::new().await;
    let config = rollmill_broker::Config { traces: settings.clone(), ..Default::default() };
    let broker = schema.broker_with(config).await;

    let config = rollmill_agent::Config {
        broker: rollmill_broker::url_of(broker.address),
        name: Some("a".parse().unwrap()),
        ..Default::default()
    };
    let mut process = Process::new("agent", config);
    process.traces = Traces::start("rollmill-agent", &settings, &process.metrics).unwrap();
    let (shutdown, of_agent) = (process.shutdown.clone(), process.traces.clone());
    let agent = Agent::new(&process, Arc::new(Prover)).unwrap();
    let serving = tokio::spawn(async move { agent.serve(&process.shutdown).await });

    let traces = Traces::start("rollmill-prover-node", &settings, &Registry::new()).unwrap();
    tokio::time::timeout(WAIT, prove(broker.client(), &traces)).await.unwrap();
    shutdown.start();
    serving.await.unwrap().unwrap();
    traces.end(WAIT).await;
    of_agent.end(WAIT).await;
    broker.stop().await;

    let spans = collector.spans();
    let by_id: BTreeMap<u64, &Collected> = spans.iter().map(|span| (span.span, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "two spans have one id: {spans:#?}");
    let traces: BTreeSet<u128> = spans.iter().map(|span| span.trace).collect();
    assert_eq!(traces.len(), 1);
    let roots: Vec<&Collected> =
        spans.iter().filter(|span| !by_id.contains_key(&span.parent)).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!((roots[0].parent, roots[0].name.as_str()), (0, "epoch"));
    assert!(spans.iter().all(|span| span.error.is_empty()), "{spans:#?}");

    // Two proofs and a root for each block, and the root of the epoch.
    let jobs: Vec<&Collected> = spans.iter().filter(|span| span.name.starts_with("job ")).collect();
    assert_eq!(jobs.len(), 7);
    for job in jobs {
        let above = &by_id[&job.parent].name;
        assert!(["epoch", "block"].contains(&above.as_str()), "{above}");
        let own = ["upload input", "verify result", "fetch result"];
        let fetch = require(&spans, job, "rollmill-prover-node", &own);
        require(&spans, fetch, "rollmill-broker", &["GET /v1/artifacts/{digest}"]);
        require(&spans, job, "rollmill-broker", &["enqueue", "claim"]);
        let attempt = require(&spans, job, "rollmill-agent", &["attempt"]);
        let stages = ["witness", "wait for device", "prove", "verify", "fetch", "upload", "report"];
        let report = require(&spans, attempt, "rollmill-agent", &stages);
        require(&spans, report, "rollmill-broker", &["POST /v1/complete"]);
        let fetch = below(&spans, attempt.span, "fetch")[0];
        require(&spans, fetch, "rollmill-broker", &["GET /v1/artifacts/{digest}"]);
        let upload = below(&spans, attempt.span, "upload")[0];
        require(&spans, upload, "rollmill-broker", &["PUT /v1/artifacts/{digest}"]);
    }
}
