//! An agent that leaves although nobody stops its process: asked by the broker, or because its machine is taken away. Real
//! broker and Postgres; the proof is a double that ends when the test says so.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::worker::Reversing;
use parking_lot::Mutex;
use rollmill_agent::reclaim::Source;
use rollmill_agent::{Agent, AgentError, Config};
use rollmill_agent_testing::MetadataService;
use rollmill_broker::store::Rules;
use rollmill_broker_client::{AgentId, Client, JobId, JobState, JobView, NewJob};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::Process;
use tokio::task::JoinHandle;

/// Longest wait for anything here.
const WAIT: Duration = Duration::from_secs(60);
/// Longer than any test.
const LONG: u64 = 3600;

/// A broker whose agents send heartbeats often.
async fn broker() -> TestBroker {
    let rules = Rules { lease: Duration::from_secs(4), ..Rules::default() };
    TestSchema::with(rules).await.broker().await
}

fn name() -> AgentId {
    "a".parse().unwrap()
}

struct Running {
    process: Process<Config>,
    /// Gets a message when a job is on the device.
    started: Receiver<()>,
    /// The next proof ends with a message, all with its end.
    finish: Sender<()>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Running {
    fn start(broker: &TestBroker, config: Config) -> Self {
        Self::start_with(broker, config, |_| {})
    }

    fn start_with(
        broker: &TestBroker,
        config: Config,
        prepare: impl FnOnce(&Agent<Reversing>),
    ) -> Self {
        let broker = rollmill_broker::url_of(broker.address);
        let config = Config { broker, name: Some(name()), prefetch: Some(0), ..config };
        let process = Process::new("agent", config);
        let ((told, started), (finish, wait)) = (channel(), channel());
        let (told, wait) = (Mutex::new(told), Mutex::new(wait));
        let worker = Reversing {
            proven: Box::new(move || {
                let _ = told.lock().send(());
                let _ = wait.lock().recv();
            }),
            ..Reversing::default()
        };
        let agent = Agent::new(&process, Arc::new(worker)).unwrap();
        prepare(&agent);
        let shutdown = process.shutdown.clone();
        let task = tokio::spawn(async move { agent.serve(&shutdown).await });
        Self { process, started, finish, task }
    }

    fn works(&self) {
        tokio::task::block_in_place(|| self.started.recv_timeout(WAIT).unwrap());
    }

    /// How often the agent began to leave for this reason.
    fn left(&self, reason: &str) -> u64 {
        let families = self.process.metrics.gather();
        let family = families.iter().find(|f| f.name() == "rollmill_agent_leaving_total").unwrap();
        let of = |metric: &&rollmill_service::prometheus::proto::Metric| {
            metric.get_label().iter().any(|label| label.value() == reason)
        };
        let metric = family.get_metric().iter().find(of).expect("every series is there");
        metric.get_counter().get_value() as u64
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                let is_finished = self.task.is_finished();
                assert!(!is_finished || holds(self), "{what}: the agent has ended");
                tokio::task::yield_now().await;
            }
        };
        within(what, wait).await;
    }

    /// The agent ends well.
    async fn ends(&mut self) {
        within("the agent's end", &mut self.task).await.unwrap().unwrap();
    }
}

async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(WAIT, done).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {WAIT:?}"))
}

async fn enqueue(client: &Client, input: &[u8]) -> JobId {
    let digest = client.put_artifact(7, input.to_vec()).await.unwrap();
    let job = NewJob::new(7, &"leaf".parse().unwrap(), "v1".parse().unwrap(), digest);
    client.enqueue(vec![job.clone()]).await.unwrap();
    job.id
}

async fn view(client: &Client, id: &JobId) -> JobView {
    client.jobs(std::slice::from_ref(id)).await.unwrap().remove(0)
}

async fn done(client: &Client, id: &JobId) {
    let jobs = client.wait(std::slice::from_ref(id), WAIT).await.unwrap().jobs;
    assert_eq!(jobs[0].state, JobState::Done);
}

/// Asks until the broker knows the agent.
async fn ask_to_leave(client: &Client) {
    let asked = async { while !client.drain(&name(), false).await.unwrap() {} };
    within("an agent that is known", asked).await;
}

/// Goal: scale-in. An agent that waits for a job leaves at once, and well: no supervisor starts it again.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_that_is_asked_to_leave_ends_well() {
    let broker = broker().await;
    let mut agent = Running::start(&broker, Config::default());
    ask_to_leave(&broker.client()).await;
    let id = enqueue(&broker.client(), b"abc").await;
    agent.ends().await;
    assert_eq!([agent.left("drain"), agent.left("signal")], [1, 0]);
    assert_eq!(view(&broker.client(), &id).await.state, JobState::Ready);
}

/// Goal: what is on the device is finished, and nothing is started.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_works_finishes_its_job_before_it_leaves() {
    let broker = broker().await;
    let client = broker.client();
    let config = Config { drain_seconds: LONG, ..Config::default() };
    let mut agent = Running::start(&broker, config);
    let first = enqueue(&client, b"abc").await;
    agent.works();
    ask_to_leave(&client).await;
    agent.until("a heartbeat that says so", |agent| agent.left("drain") == 1).await;
    let second = enqueue(&client, b"def").await;
    agent.finish.send(()).unwrap();
    agent.ends().await;
    let first = view(&client, &first).await;
    assert_eq!((first.state, first.attempts), (JobState::Done, 1));
    let second = view(&client, &second).await;
    assert_eq!((second.state, second.attempts), (JobState::Ready, 0));
}

/// Goal: a proof that takes longer than the agent has goes to another agent at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_outlasts_the_drain_is_returned_and_the_agent_ends_well() {
    let broker = broker().await;
    let client = broker.client();
    let mut agent = Running::start(&broker, Config { drain_seconds: 0, ..Config::default() });
    let id = enqueue(&client, b"abc").await;
    agent.works();
    ask_to_leave(&client).await;
    agent.ends().await;
    assert_eq!(view(&client, &id).await.state, JobState::Ready);
    let attempts = client.history(&id).await.unwrap().attempts;
    assert_eq!(attempts[0].outcome.as_str(), "released");
}

/// Goal: an operator who was wrong loses nothing, as long as the agent works on something.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_taken_back_in_time_lets_the_agent_go_on() {
    let broker = broker().await;
    let client = broker.client();
    let mut agent = Running::start(&broker, Config { drain_seconds: LONG, ..Config::default() });
    let first = enqueue(&client, b"abc").await;
    agent.works();
    ask_to_leave(&client).await;
    let shown = |agent: &Running| agent.process.status_page.status()["leaving"].clone();
    agent.until("a heartbeat that says so", |agent| agent.left("drain") == 1).await;
    let leaving = shown(&agent);
    let (reason, by) = (leaving["reason"].as_str(), leaving["by"].as_str());
    assert_eq!((reason, by), (Some("drain"), Some("loopback")));
    client.drain(&name(), true).await.unwrap();
    agent.until("a heartbeat that says no more", |agent| shown(agent).is_null()).await;
    agent.finish.send(()).unwrap();
    done(&client, &first).await;
    let second = enqueue(&client, b"def").await;
    agent.works();
    agent.finish.send(()).unwrap();
    done(&client, &second).await;
    agent.process.shutdown.start();
    agent.ends().await;
}

/// Fault: the machine is taken away in the middle of a proof. Goal: the job is back in the queue before the machine is
/// gone, whatever `drain_seconds` says, and not when its lease expires. A signal says the same.
///
/// One test, since the signal reaches every agent of the process that listens to it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_machine_is_taken_away_returns_its_job_in_time() {
    let broker = broker().await;
    let client = broker.client();
    let answer = |status: u16, body: &str| vec![("GET /notice ", status, body.to_owned())];
    let service = MetadataService::start(answer(404, "")).await;
    let url = format!("{}/notice", service.url());
    let config = Config { reclaim: Source::Url(url), drain_seconds: LONG, ..Config::default() };
    let mut agent = Running::start_with(&broker, config, Agent::follow_reclaims);
    let id = enqueue(&client, b"abc").await;
    agent.works();
    assert_eq!(agent.left("reclaim"), 0);
    service.set_answers(answer(200, "1970-01-01T00:00:01Z"));
    agent.until("a notice", |agent| agent.left("reclaim") == 1).await;
    agent.ends().await;
    let attempts = client.history(&id).await.unwrap().attempts;
    assert_eq!(attempts[0].outcome.as_str(), "released");

    let mut agent = Running::start_with(&broker, Config::default(), Agent::follow_reclaims);
    agent.works();
    let kill = format!("kill -USR1 {}", std::process::id());
    let sent = std::process::Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(sent.success());
    agent.until("a signal", |agent| agent.left("reclaim") == 1).await;
    agent.finish.send(()).unwrap();
    agent.ends().await;
    done(&client, &id).await;
}
