//! The agent's loop against a real broker on a real Postgres, with a double for the prover.
//!
//! Goal of all: whatever ends an agent or its work, each job is completed once and none is lost.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::worker::Reversing;
use parking_lot::Mutex;
use rollmill_agent::heartbeat::Cancel;
use rollmill_agent::{Agent, AgentError, Config, Prepared, Warmed, WorkError, WorkOutput, Worker};
use rollmill_broker::store::Rules;
use rollmill_broker_client::{
    Client, FailureClass, JobId, JobState, JobView, NewJob, RejectOutcome, WorkStats,
};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::{Process, Shutdown};

const WAIT: Duration = Duration::from_secs(30);

/// Answers with its input reversed. The first byte of the input says how it goes wrong.
#[derive(Debug)]
struct Double {
    /// Gets a message when a job is being prepared.
    prepared: Mutex<Sender<()>>,
    /// Gets a message when a job is on the device.
    started: Mutex<Sender<()>>,
}

impl Double {
    fn new() -> (Arc<Self>, Receiver<()>, Receiver<()>) {
        let (prepared, at_preparation) = channel();
        let (started, at_start) = channel();
        let double = Self { prepared: Mutex::new(prepared), started: Mutex::new(started) };
        (Arc::new(double), at_preparation, at_start)
    }
}

fn reversed(input: &[u8]) -> Vec<u8> {
    input.iter().rev().copied().collect()
}

impl Worker for Double {
    fn circuits(&self) -> Vec<(String, String)> {
        vec![("leaf".into(), "v1".into())]
    }

    fn prepare(
        self: Arc<Self>,
        kind: &str,
        input: &[u8],
        _cancel: &Cancel,
    ) -> Result<Prepared, WorkError> {
        let send = |to: &Mutex<Sender<()>>| {
            let _ = to.lock().send(());
        };
        send(&self.prepared);
        let message = || "as the test says".to_owned();
        match input.first() {
            Some(b'b') => return Err(WorkError::BadInput { message: message() }),
            Some(b'v') => return Err(WorkError::VersionMismatch { kind: kind.into() }),
            Some(b'p') => panic!("as the test says"),
            _ => {}
        }
        let input = input.to_vec();
        Ok(Box::new(move |cancel| {
            send(&self.started);
            let mut result = reversed(&input);
            match input.first() {
                Some(b'm') => return Err(WorkError::OutOfMemory { message: message() }),
                Some(b't') => return Err(WorkError::Transient { message: message() }),
                Some(b'd') => return Err(WorkError::DeviceLost { message: message() }),
                Some(b'q') => panic!("as the test says"),
                Some(b'w') => result.push(0),
                Some(b'l') => {
                    cancel.wait();
                    return Err(WorkError::Cancelled);
                }
                _ => {}
            }
            let proof_bytes = result.len() as u64;
            let stats = WorkStats { rows: 7, proof_bytes, ..Default::default() };
            Ok(WorkOutput { result, stats })
        }))
    }

    fn verify(&self, _kind: &str, input: &[u8], result: &[u8]) -> Result<(), WorkError> {
        if result == reversed(input) {
            return Ok(());
        }
        Err(WorkError::InvalidProof { message: "not reversed".into() })
    }
}

struct Running {
    shutdown: Shutdown,
    prepared: Receiver<()>,
    started: Receiver<()>,
    task: tokio::task::JoinHandle<Result<(), AgentError>>,
}

impl Running {
    fn start(url: &str, name: &str, drain_seconds: u64) -> Self {
        Self::with_prefetch(url, name, drain_seconds, 0)
    }

    fn with_prefetch(url: &str, name: &str, drain_seconds: u64, prefetch: usize) -> Self {
        let prefetch = Some(prefetch);
        Self::with(url, name, Config { drain_seconds, prefetch, ..Config::default() })
    }

    fn with(url: &str, name: &str, config: Config) -> Self {
        let config = Config { broker: url.to_owned(), name: Some(name.parse().unwrap()), ..config };
        let process = Process::new("agent", config);
        let (worker, prepared, started) = Double::new();
        let agent = Agent::new(&process, worker).unwrap();
        let shutdown = process.shutdown.clone();
        let task = tokio::spawn(async move { agent.serve(&process.shutdown).await });
        Self { shutdown, prepared, started, task }
    }

    async fn stop(self) {
        self.shutdown.start();
        self.task.await.unwrap().unwrap();
    }

    async fn started(&mut self) {
        tokio::task::block_in_place(|| self.started.recv().unwrap());
    }

    async fn prepared(&mut self) {
        tokio::task::block_in_place(|| self.prepared.recv().unwrap());
    }
}

/// A broker whose leases are short, since a dead agent is found by its lease running out.
async fn broker() -> (TestSchema, TestBroker, Client) {
    let rules = Rules { lease: Duration::from_secs(1), ..Rules::default() };
    let schema = TestSchema::with(rules).await;
    let broker = schema.broker().await;
    let client = broker.client();
    (schema, broker, client)
}

fn url(broker: &TestBroker) -> String {
    rollmill_broker::url_of(broker.address)
}

async fn enqueue(client: &Client, input: &[u8]) -> JobId {
    let digest = client.put_artifact(7, input.to_vec()).await.unwrap();
    let job = NewJob::new(7, &"leaf".parse().unwrap(), "v1".parse().unwrap(), digest);
    client.enqueue(vec![job.clone()]).await.unwrap();
    job.id
}

async fn finished(client: &Client, id: &JobId) -> JobView {
    let mut jobs = client.wait(std::slice::from_ref(id), WAIT).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1, "{id} is not final in time");
    jobs.remove(0)
}

/// Waits, without a clock of its own, until a job's history holds an attempt with this outcome.
async fn ended(client: &Client, id: &JobId, outcome: &str) -> Option<FailureClass> {
    loop {
        let attempts = client.history(id).await.unwrap().attempts;
        if let Some(attempt) =
            attempts.into_iter().find(|attempt| attempt.outcome.as_str() == outcome)
        {
            return attempt.failure.map(|failure| failure.class);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_comes_back_as_its_result_with_what_it_took() {
    let (_schema, broker, client) = broker().await;
    let agent = Running::start(&url(&broker), "a", 5);
    let id = enqueue(&client, b"good").await;
    let job = finished(&client, &id).await;
    assert_eq!(job.state, JobState::Done);
    assert_eq!(client.get_artifact(&job.result.unwrap()).await.unwrap(), b"doog");
    let stats: WorkStats = serde_json::from_value(job.stats.unwrap()).unwrap();
    assert_eq!((stats.rows, stats.proof_bytes), (7, 4));
    assert_eq!(job.agent.unwrap().as_str(), "a");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_is_reported_as_its_class() {
    let (_schema, broker, client) = broker().await;
    let agent = Running::start(&url(&broker), "a", 5);
    for (input, class) in [
        (b"bad", FailureClass::BadInput),
        (b"mem", FailureClass::OutOfMemory),
        (b"try", FailureClass::Transient),
        (b"ver", FailureClass::VersionMismatch),
        (b"pan", FailureClass::Transient),
        (b"wro", FailureClass::InvalidProof),
    ] {
        let id = enqueue(&client, input).await;
        assert_eq!(ended(&client, &id, "failed").await, Some(class), "{id}");
        client.cancel(&[id]).await.unwrap();
    }
    let id = enqueue(&client, b"good").await;
    assert_eq!(finished(&client, &id).await.state, JobState::Done);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_input_is_reported_as_missing_and_never_worked_on() {
    let (schema, broker, client) = broker().await;
    let id = enqueue(&client, b"good").await;
    let store = schema.store().await;
    sqlx::query("UPDATE artifact_body SET body = 'evil'").execute(store.pool()).await.unwrap();
    let agent = Running::start(&url(&broker), "a", 5);
    assert_eq!(ended(&client, &id, "failed").await, Some(FailureClass::InputMissing));
    assert!(agent.started.try_recv().is_err());
    client.put_artifact(7, b"good".to_vec()).await.unwrap();
    assert_eq!(finished(&client, &id).await.state, JobState::Done);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_stopped_by_the_heartbeat_and_the_agent_takes_the_next() {
    let (_schema, broker, client) = broker().await;
    let mut agent = Running::start(&url(&broker), "a", 5);
    let long = enqueue(&client, b"long").await;
    agent.started().await;
    client.cancel(&[long]).await.unwrap();
    let next = enqueue(&client, b"good").await;
    assert_eq!(finished(&client, &next).await.state, JobState::Done);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_a_lease_for_longer_than_it_lasts() {
    let (_schema, broker, client) = broker().await;
    let mut agent = Running::start(&url(&broker), "a", 0);
    let long = enqueue(&client, b"long").await;
    agent.started().await;
    // Three leases long; the other agent would have got the job.
    let other = Running::start(&url(&broker), "b", 0);
    let none = client.wait(std::slice::from_ref(&long), Duration::from_secs(3)).await.unwrap();
    assert!(none.jobs.is_empty());
    let job = client.jobs(&[long]).await.unwrap().remove(0);
    assert_eq!((job.state, job.attempts), (JobState::Leased, 1));
    agent.stop().await;
    other.shutdown.abort();
    other.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_the_present_job_finish() {
    let (_schema, broker, client) = broker().await;
    let agent = Running::start(&url(&broker), "a", 60);
    let id = enqueue(&client, b"good").await;
    agent.started.recv().unwrap();
    agent.stop().await;
    assert_eq!(finished(&client, &id).await.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_outlasts_the_drain_is_handed_back_at_once() {
    let (_schema, broker, client) = broker().await;
    let mut agent = Running::start(&url(&broker), "a", 0);
    let id = enqueue(&client, b"long").await;
    agent.started().await;
    agent.stop().await;
    let job = client.jobs(std::slice::from_ref(&id)).await.unwrap().remove(0);
    assert_eq!(job.state, JobState::Ready);
    assert_eq!(client.history(&id).await.unwrap().attempts[0].outcome.as_str(), "released");
}

/// Fault: a second signal while the drain lasts. The job is not kept until its lease expires.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_hands_the_present_job_back() {
    let (_schema, broker, client) = broker().await;
    let mut agent = Running::start(&url(&broker), "a", 3600);
    let id = enqueue(&client, b"long").await;
    agent.started().await;
    agent.shutdown.start();
    agent.shutdown.abort();
    agent.task.await.unwrap().unwrap();
    let job = client.jobs(std::slice::from_ref(&id)).await.unwrap().remove(0);
    assert_eq!(job.state, JobState::Ready);
    assert_eq!(client.history(&id).await.unwrap().attempts[0].outcome.as_str(), "released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_result_is_proven_again_by_another_agent() {
    let (_schema, broker, client) = broker().await;
    let first = Running::start(&url(&broker), "a", 5);
    let id = enqueue(&client, b"good").await;
    let job = finished(&client, &id).await;
    let rejected = client.reject(&id, job.result.unwrap(), "the producer says no").await.unwrap();
    assert_eq!(rejected.outcome, RejectOutcome::Reopened);
    let second = Running::start(&url(&broker), "b", 5);
    // The double is deterministic, so the second result is the one rejected: it is rejected, and the
    // second agent reports that as its failure instead of keeping the job.
    assert_eq!(ended(&client, &id, "failed").await, Some(FailureClass::InvalidProof));
    let attempts = client.history(&id).await.unwrap().attempts;
    assert_eq!(attempts.iter().filter(|attempt| attempt.agent.as_str() == "a").count(), 1);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_rejects_the_agent_ends_it_with_its_reason() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let (role, tenant) = (rollmill_broker::store::Role::Agent, Default::default());
    store.add_token("agents", role, &tenant).await.unwrap();
    let broker = schema.broker().await;
    let agent = Running::start(&url(&broker), "a", 5);
    let error = agent.task.await.unwrap().unwrap_err();
    let line = rollmill_service::one_line(&error);
    assert!(line.starts_with("AGT-020: ") && line.contains("a valid bearer token"), "{line}");
}

/// Goal: while one job is on the device the next is prepared, and no further one is taken.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_is_prepared_while_one_is_proven() {
    let (_schema, broker, client) = broker().await;
    let mut agent = Running::with_prefetch(&url(&broker), "a", 5, 1);
    let long = enqueue(&client, b"long").await;
    agent.prepared().await;
    agent.started().await;
    let next = enqueue(&client, b"good").await;
    agent.prepared().await;
    let third = enqueue(&client, b"good too").await;
    let states = |jobs: Vec<JobView>| jobs.into_iter().map(|job| job.state).collect::<Vec<_>>();
    let jobs = client.jobs(&[long.clone(), next.clone(), third.clone()]).await.unwrap();
    assert_eq!(states(jobs), [JobState::Leased, JobState::Leased, JobState::Ready]);
    // The device is busy, so the prepared job waits.
    assert!(agent.started.try_recv().is_err());
    client.cancel(&[long]).await.unwrap();
    assert_eq!(finished(&client, &next).await.state, JobState::Done);
    assert_eq!(finished(&client, &third).await.state, JobState::Done);
    agent.stop().await;
}

/// Goal: as many jobs are on the device at a time as the settings say, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn several_proofs_are_in_flight_where_the_settings_say_so() {
    let (_schema, broker, client) = broker().await;
    let config = Config { proofs_in_flight: Some(2), prefetch: Some(1), ..Config::default() };
    let mut agent = Running::with(&url(&broker), "a", config);
    let mut long = vec![enqueue(&client, b"long").await, enqueue(&client, b"long too").await];
    agent.started().await;
    agent.started().await;
    let third = enqueue(&client, b"good").await;
    for _ in 0..3 {
        agent.prepared().await;
    }
    // Two are on the device, so the prepared one waits.
    assert!(agent.started.try_recv().is_err());
    client.cancel(&[long.remove(0)]).await.unwrap();
    assert_eq!(finished(&client, &third).await.state, JobState::Done);
    client.cancel(&long).await.unwrap();
    agent.stop().await;
}

/// Goal: a prepared job that is cancelled leaves its place while the device is still busy, so the agent prepares another.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_that_waits_for_the_device_leaves_its_place_at_once() {
    let (_schema, broker, client) = broker().await;
    let mut agent = Running::with_prefetch(&url(&broker), "a", 5, 1);
    let long = enqueue(&client, b"long").await;
    agent.prepared().await;
    agent.started().await;
    let unwanted = enqueue(&client, b"good").await;
    agent.prepared().await;
    let next = enqueue(&client, b"good too").await;
    client.cancel(&[unwanted]).await.unwrap();
    // There are two places, and the long job keeps one.
    agent.prepared().await;
    assert!(agent.started.try_recv().is_err());
    client.cancel(&[long]).await.unwrap();
    assert_eq!(finished(&client, &next).await.state, JobState::Done);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_hands_a_prepared_job_back_while_the_proof_goes_on() {
    let (_schema, broker, client) = broker().await;
    let mut agent = Running::with_prefetch(&url(&broker), "a", 60, 1);
    let long = enqueue(&client, b"long").await;
    agent.started().await;
    let next = enqueue(&client, b"good").await;
    agent.prepared().await;
    agent.prepared().await;
    agent.shutdown.start();
    assert_eq!(ended(&client, &next, "released").await, None);
    let job = client.jobs(std::slice::from_ref(&long)).await.unwrap().remove(0);
    assert_eq!(job.state, JobState::Leased);
    client.cancel(&[long]).await.unwrap();
    agent.task.await.unwrap().unwrap();
}

/// Fault: the device is lost in mid-proof. The agent ends with an error; neither the job it was at
/// nor the one it had prepared waits for a lease to run out.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_ends_the_agent_and_releases_every_job() {
    let (_schema, broker, client) = broker().await;
    let agent = Running::with_prefetch(&url(&broker), "a", 60, 1);
    let job = enqueue(&client, b"dead").await;
    let error = agent.task.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "AGT-023");
    assert_eq!(ended(&client, &job, "failed").await, Some(FailureClass::Transient));
}

/// What a load ahead does: `pieces` loads, of which the last takes until it is cancelled, once.
fn loads(pieces: usize, report: impl Fn(&'static str)) -> impl Fn(&Cancel) -> Warmed {
    let state = Mutex::new((pieces, false));
    move |cancel| {
        let mut state = state.lock();
        let (left, was_stopped) = *state;
        match left {
            0 => {
                report("nothing");
                return Warmed::Nothing;
            }
            1 if !was_stopped => {
                report("long");
                cancel.wait();
                *state = (1, true);
                report("stopped");
                return Warmed::Stopped;
            }
            _ => *state = (left - 1, was_stopped),
        }
        report("loaded");
        Warmed::Loaded("piece".into())
    }
}

/// An agent whose worker reports each thing it does. A proof of an input that begins with `h` is
/// verified when `verify` says so.
struct Reporting {
    process: Process<Config>,
    task: tokio::task::JoinHandle<Result<(), AgentError>>,
    events: Receiver<&'static str>,
    verify: Sender<()>,
}

impl Reporting {
    fn start(broker: &TestBroker, pieces: usize, warm_keys: bool) -> Self {
        let config = Config {
            broker: url(broker),
            name: Some("a".parse().unwrap()),
            prefetch: Some(0),
            warm_keys,
            ..Config::default()
        };
        let process = Process::new("agent", config);
        let ((events, received), (verify, wait)) = (channel(), channel());
        let (proven, wait) = (Mutex::new(events.clone()), Mutex::new(wait));
        let events = Mutex::new(events);
        let send = |events: &Mutex<Sender<_>>, event| {
            let _ = events.lock().send(event);
        };
        let worker = Arc::new(Reversing {
            proven: Box::new(move || send(&proven, "proven")),
            verifying: Box::new(move |input| {
                if input.first() == Some(&b'h') {
                    wait.lock().recv().unwrap();
                }
            }),
            warming: Box::new(loads(pieces, move |event| send(&events, event))),
        });
        let agent = Agent::new(&process, worker).unwrap();
        let shutdown = process.shutdown.clone();
        let task = tokio::spawn(async move { agent.serve(&shutdown).await });
        Self { process, task, events: received, verify }
    }

    fn next(&self) -> &'static str {
        tokio::task::block_in_place(|| self.events.recv_timeout(WAIT).unwrap())
    }

    /// Stops the agent; returns the events that were not read yet.
    async fn stop(self) -> Vec<&'static str> {
        self.process.shutdown.start();
        self.task.await.unwrap().unwrap();
        self.events.into_iter().collect()
    }
}

/// Goal: the device waits for neither a verification nor a report, even where nothing is prepared ahead.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_is_proven_while_a_result_is_verified() {
    let (_schema, broker, client) = broker().await;
    let agent = Reporting::start(&broker, 0, false);
    let first = enqueue(&client, b"held").await;
    assert_eq!(agent.next(), "proven");
    let second = enqueue(&client, b"good").await;
    assert_eq!(agent.next(), "proven");
    agent.verify.send(()).unwrap();
    for job in [first, second] {
        assert_eq!(finished(&client, &job).await.state, JobState::Done);
    }
    agent.stop().await;
}

/// Goal: an idle agent loads ahead, a job is not delayed, and the load continues after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_loads_ahead_and_stops_for_a_job() {
    let (_schema, broker, client) = broker().await;
    let agent = Reporting::start(&broker, 2, true);
    assert_eq!([agent.next(), agent.next()], ["loaded", "long"]);
    let job = enqueue(&client, b"good").await;
    assert_eq!(finished(&client, &job).await.state, JobState::Done);
    // The job and the load that it stopped end in either order.
    let mut both = [agent.next(), agent.next()];
    both.sort_unstable();
    assert_eq!(both, ["proven", "stopped"]);
    assert_eq!([agent.next(), agent.next()], ["loaded", "nothing"]);
    let metrics = agent.process.metrics.gather();
    let of = |name: &str| metrics.iter().find(|family| family.name() == name).unwrap();
    let warmed = of("rollmill_agent_keys_warmed_total").get_metric()[0].get_counter().get_value();
    assert!((warmed - 2.0).abs() < 0.5, "{warmed}");
    assert!(agent.stop().await.is_empty());

    // The end of the agent stops a load as a job does, and the setting keeps it from loading at all.
    let agent = Reporting::start(&broker, 1, true);
    assert_eq!(agent.next(), "long");
    assert_eq!(agent.stop().await, ["stopped"]);
    let agent = Reporting::start(&broker, 2, false);
    let job = enqueue(&client, b"again").await;
    assert_eq!(finished(&client, &job).await.state, JobState::Done);
    assert_eq!(agent.stop().await, ["proven"]);
}
