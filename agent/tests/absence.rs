//! A finished proof outlives an absent broker and a restart of its agent. Real broker and Postgres.

#[path = "common/worker.rs"]
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use rollmill_agent::{Agent, AgentError, Config};
use rollmill_broker_client::{Client, JobId, JobState, JobView, NewJob};
use rollmill_broker_testing::TestSchema;
use rollmill_service::Process;
use worker::Reversing;

const WAIT: Duration = Duration::from_secs(30);

struct Running {
    process: Process<Config>,
    proofs: Arc<AtomicUsize>,
    proven: Receiver<()>,
    verify: Sender<()>,
    task: tokio::task::JoinHandle<Result<(), AgentError>>,
}

impl Running {
    fn start(broker: &str, spool: Option<&Path>) -> Self {
        let config = Config {
            broker: broker.to_owned(),
            name: Some("a".parse().unwrap()),
            drain_seconds: 0,
            spool_dir: spool.map(Path::to_owned),
            ..Config::default()
        };
        let process = Process::new("agent", config);
        let ((told, proven), (verify, wait)) = (channel(), channel());
        let (proofs, wait) = (Arc::new(AtomicUsize::new(0)), Mutex::new(wait));
        let counted = Arc::clone(&proofs);
        let worker = Reversing {
            proven: Box::new(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = told.send(());
            }),
            // A proof is verified when the test says so.
            verifying: Box::new(move |_| wait.lock().recv().unwrap()),
            ..Reversing::default()
        };
        let agent = Agent::new(&process, Arc::new(worker)).unwrap();
        let shutdown = process.shutdown.clone();
        let task = tokio::spawn(async move { agent.serve(&shutdown).await });
        Self { process, proofs, proven, verify, task }
    }

    fn spooled(&self) -> i64 {
        let families = self.process.metrics.gather();
        let family = families.iter().find(|f| f.name() == "rollmill_agent_spool_proofs").unwrap();
        family.get_metric()[0].get_gauge().get_value() as i64
    }

    /// Waits for a proof, ends the broker through `stop`, and lets the proof be verified.
    async fn finishes_without(&self, stop: impl Future<Output = ()>) {
        tokio::task::block_in_place(|| self.proven.recv().unwrap());
        stop.await;
        self.verify.send(()).unwrap();
        while self.spooled() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn enqueue(client: &Client, input: &[u8]) -> JobId {
    let digest = client.put_artifact(7, input.to_vec()).await.unwrap();
    let job = NewJob::new(7, &"leaf".parse().unwrap(), "v1".parse().unwrap(), digest);
    client.enqueue(vec![job.clone()]).await.unwrap();
    job.id
}

async fn done(client: &Client, id: &JobId) -> JobView {
    let view = client.wait(std::slice::from_ref(id), WAIT).await.unwrap().jobs.remove(0);
    assert_eq!(view.state, JobState::Done);
    view
}

/// Fault: the broker is down when the proof is finished, and comes back later. The job is not proven
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_waits_for_a_broker_that_is_unavailable() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let (address, url) = (broker.address, rollmill_broker::url_of(broker.address));
    let agent = Running::start(&url, None);
    let id = enqueue(&broker.client(), b"abc").await;
    agent.finishes_without(broker.stop()).await;
    let broker = schema.broker_at(address, rollmill_broker::Config::default()).await;
    let view = done(&broker.client(), &id).await;
    assert_eq!(view.attempts, 1);
    assert_eq!(broker.client().get_artifact(&view.result.unwrap()).await.unwrap(), b"cba");
    assert_eq!(agent.proofs.load(Ordering::SeqCst), 1);
    agent.process.shutdown.start();
    agent.task.await.unwrap().unwrap();
}

/// Fault: broker and agent both stop before the proof was accepted. The restarted agent offers it.
#[tokio::test(flavor = "multi_thread")]
async fn a_spooled_proof_outlives_its_agent() {
    let (schema, spool) = (TestSchema::new().await, tempfile::tempdir().unwrap());
    let broker = schema.broker().await;
    let (address, url) = (broker.address, rollmill_broker::url_of(broker.address));
    let agent = Running::start(&url, Some(spool.path()));
    let id = enqueue(&broker.client(), b"abc").await;
    agent.finishes_without(broker.stop()).await;
    agent.process.shutdown.start();
    agent.task.await.unwrap().unwrap();
    assert_eq!(proofs_in(spool.path()), 1);

    let broker = schema.broker_at(address, rollmill_broker::Config::default()).await;
    let agent = Running::start(&url, Some(spool.path()));
    let view = done(&broker.client(), &id).await;
    assert_eq!(view.attempts, 1);
    assert_eq!(agent.proofs.load(Ordering::SeqCst), 0, "nothing was proven again");
    while agent.spooled() > 0 {
        tokio::task::yield_now().await;
    }
    agent.process.shutdown.start();
    agent.task.await.unwrap().unwrap();
    assert_eq!(proofs_in(spool.path()), 0);
}

fn proofs_in(spool: &Path) -> usize {
    let entries = std::fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|name| name == "proof")).count()
}

/// Goal: an agent never offers another's proofs. Method: two on one directory, and the second again once the
/// first has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_belongs_to_one_agent_at_a_time() {
    let spool = tempfile::tempdir().unwrap();
    let first = Running::start("http://127.0.0.1:9", Some(spool.path()));
    let second = || {
        let spool_dir = Some(spool.path().to_owned());
        let broker = "http://127.0.0.1:9".to_owned();
        let process = Process::new("agent", Config { spool_dir, broker, ..Config::default() });
        Agent::new(&process, Arc::new(Reversing::default())).map(drop)
    };
    let error = second().unwrap_err().to_string();
    assert!(error.starts_with("AGT-025: ") && error.contains("--spool-dir"), "{error}");
    assert!(error.contains(&spool.path().display().to_string()), "{error}");
    first.process.shutdown.start();
    first.task.await.unwrap().unwrap();
    let process = Process::new(
        "agent",
        Config { spool_dir: Some(spool.path().to_owned()), ..Config::default() },
    );
    Agent::new(&process, Arc::new(Reversing::default())).map(drop).unwrap();
}

/// Goal: `/ready` of an idle agent says whether its broker answers, at once and not with its next job.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_shows_whether_its_broker_answers() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let (address, url) = (broker.address, rollmill_broker::url_of(broker.address));
    let agent = Running::start(&url, None);
    let conditions = agent.process.conditions.clone();
    let reach = async |failing: &[&str]| loop {
        let now: Vec<_> = conditions.failing().into_iter().map(|(name, _)| name).collect();
        if now == failing {
            return;
        }
        tokio::task::yield_now().await;
    };
    reach(&[]).await;
    broker.stop().await;
    reach(&["broker"]).await;
    assert!(conditions.failing()[0].1.starts_with("BRC-011"), "{:?}", conditions.failing());
    let broker = schema.broker_at(address, rollmill_broker::Config::default()).await;
    reach(&[]).await;
    agent.process.shutdown.start();
    agent.task.await.unwrap().unwrap();
    broker.stop().await;
}
