//! A finished proof outlives an absent broker and a restart of its agent. Real broker and Postgres.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::worker::Reversing;
use parking_lot::Mutex;
use rollmill_agent::{Agent, AgentError, Config};
use rollmill_broker_client::{Client, JobId, JobState, JobView, NewJob};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::Process;
use rollmill_service_testing::SmallDisk;

/// Longest wait for anything here. An agent retries within 10 s.
const WAIT: Duration = Duration::from_secs(60);

/// An address for the brokers of a test, one after another. No other program gets it in between: an agent that found
/// another test's broker there would never see that its own is gone.
struct Place {
    address: SocketAddr,
    /// Bound, and not listening. Nobody can connect while nothing else listens.
    _socket: Option<tokio::net::TcpSocket>,
}

impl Place {
    fn reserve() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local_addr().unwrap();
        // Other systems let nothing listen where another socket is bound.
        Self { address, _socket: cfg!(target_os = "linux").then_some(socket) }
    }

    async fn broker(&self, schema: &TestSchema) -> TestBroker {
        schema.broker_at(self.address, rollmill_broker::Config::default()).await
    }

    fn url(&self) -> String {
        rollmill_broker::url_of(self.address)
    }
}

/// Waits at most [`WAIT`].
async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(WAIT, done).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {WAIT:?}"))
}

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
            // A proof is verified when the test says so, or ends.
            verifying: Box::new(move |_| wait.lock().recv_timeout(WAIT).unwrap()),
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

    /// Why a condition of the agent does not hold.
    fn failing(&self, name: &str) -> Option<String> {
        let mut failing = self.process.conditions.failing().into_iter();
        failing.find(|(of, _)| *of == name).map(|(_, reason)| reason)
    }

    /// Waits until something holds. Ends with the agent too, which would change nothing any more.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                let failing = self.process.conditions.failing();
                assert!(!self.task.is_finished(), "{what}: the agent has ended; {failing:?}");
                tokio::task::yield_now().await;
            }
        };
        within(what, wait).await;
    }

    /// Waits for a proof, ends the broker, and lets the proof be verified.
    async fn finishes_without(&self, broker: TestBroker) {
        tokio::task::block_in_place(|| self.proven.recv_timeout(WAIT).unwrap());
        within("the broker's end", broker.stop()).await;
        self.verify.send(()).unwrap();
        self.until("a proof in the spool", |agent| agent.spooled() > 0).await;
    }

    async fn end(self) {
        self.process.shutdown.start();
        within("the agent's end", self.task).await.unwrap().unwrap();
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
    let place = Place::reserve();
    let broker = place.broker(&schema).await;
    let agent = Running::start(&place.url(), None);
    let id = enqueue(&broker.client(), b"abc").await;
    agent.finishes_without(broker).await;
    let broker = place.broker(&schema).await;
    let view = done(&broker.client(), &id).await;
    assert_eq!(view.attempts, 1);
    assert_eq!(broker.client().get_artifact(&view.result.unwrap()).await.unwrap(), b"cba");
    assert_eq!(agent.proofs.load(Ordering::SeqCst), 1);
    agent.end().await;
}

/// Fault: broker and agent both stop before the proof was accepted. The restarted agent offers it.
#[tokio::test(flavor = "multi_thread")]
async fn a_spooled_proof_outlives_its_agent() {
    let (schema, spool) = (TestSchema::new().await, tempfile::tempdir().unwrap());
    let place = Place::reserve();
    let broker = place.broker(&schema).await;
    let agent = Running::start(&place.url(), Some(spool.path()));
    let id = enqueue(&broker.client(), b"abc").await;
    agent.finishes_without(broker).await;
    agent.end().await;
    assert_eq!(proofs_in(spool.path()), 1);

    let broker = place.broker(&schema).await;
    let agent = Running::start(&place.url(), Some(spool.path()));
    let view = done(&broker.client(), &id).await;
    assert_eq!(view.attempts, 1);
    assert_eq!(agent.proofs.load(Ordering::SeqCst), 0, "nothing was proven again");
    agent.until("an empty spool", |agent| agent.spooled() == 0).await;
    agent.end().await;
    assert_eq!(proofs_in(spool.path()), 0);
}

/// Fault: the disk of the spool is full when a proof is finished, and the broker is down. The agent says which directory
/// that is, and keeps the proof; once there is space the proof is on disk and outlives the agent.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_outlives_a_full_disk() {
    let name = "absence::a_proof_outlives_a_full_disk";
    let Some(disk) = SmallDisk::of_test(name, 1 << 20) else { return };
    let (schema, spool) = (TestSchema::new().await, disk.path().join("spool"));
    let place = Place::reserve();
    let broker = place.broker(&schema).await;
    let agent = Running::start(&place.url(), Some(&spool));
    let id = enqueue(&broker.client(), b"abc").await;
    tokio::task::block_in_place(|| agent.proven.recv_timeout(WAIT).unwrap());
    within("the broker's end", broker.stop()).await;
    assert_eq!(agent.failing("spool"), None);
    disk.fill(&[]);
    agent.verify.send(()).unwrap();
    agent.until("a failing condition", |agent| agent.failing("spool").is_some()).await;
    let reason = agent.failing("spool").unwrap();
    assert!(reason.contains(&spool.display().to_string()), "{reason}");
    assert!(reason.contains("free space there"), "{reason}");
    assert_eq!((agent.spooled(), proofs_in(&spool)), (1, 0), "it is offered from memory");
    disk.free(&[]);
    agent.until("space", |agent| agent.failing("spool").is_none()).await;
    assert_eq!(proofs_in(&spool), 1);
    agent.end().await;

    let broker = place.broker(&schema).await;
    let agent = Running::start(&place.url(), Some(&spool));
    assert_eq!(done(&broker.client(), &id).await.attempts, 1);
    assert_eq!(agent.proofs.load(Ordering::SeqCst), 0, "nothing was proven again");
    agent.end().await;
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
    first.end().await;
    let process = Process::new(
        "agent",
        Config { spool_dir: Some(spool.path().to_owned()), ..Config::default() },
    );
    Agent::new(&process, Arc::new(Reversing::default())).map(drop).unwrap();
}

/// Goal: `/ready` of an idle agent says whether its broker answers, at once and not with its next job.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_shows_whether_its_broker_answers() {
    let (schema, place) = (TestSchema::new().await, Place::reserve());
    let broker = place.broker(&schema).await;
    let agent = Running::start(&place.url(), None);
    let failing = || agent.process.conditions.failing();
    let reach = async |expected: &[&str]| {
        let names = |agent: &Running| {
            let failing = agent.process.conditions.failing();
            failing.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        agent.until(&format!("failing {expected:?}"), |agent| names(agent) == expected).await;
    };
    reach(&[]).await;
    within("the broker's end", broker.stop()).await;
    reach(&["broker"]).await;
    assert!(failing()[0].1.starts_with("BRC-011"), "{:?}", failing());
    let broker = place.broker(&schema).await;
    reach(&[]).await;
    agent.end().await;
    within("the broker's end", broker.stop()).await;
}
