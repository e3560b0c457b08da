//! The agent's process killed at each step it passes, against a real broker on a real Postgres.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::worker::Reversing;
use rollmill_agent::{Agent, AgentError, Config};
use rollmill_broker::store::Rules;
use rollmill_broker_client::{Client, JobId, JobState, NewJob};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::{Process, Shutdown, failpoints};

const WAIT: Duration = Duration::from_secs(30);
const URL: &str = "ROLLMILL_TEST_BROKER";
const SPOOL: &str = "ROLLMILL_TEST_SPOOL";
/// Every failpoint of the agent, in the order in which a job passes them.
const POINTS: &[&str] = &[
    "agent.before_claim",
    "agent.after_claim",
    "agent.after_fetch",
    "agent.after_spool",
    "agent.before_upload",
    "agent.after_upload",
    "agent.after_report",
];

fn start(
    url: &str,
    name: &str,
    spool: Option<&std::path::Path>,
) -> (Shutdown, tokio::task::JoinHandle<Result<(), AgentError>>) {
    let config = Config {
        broker: url.to_owned(),
        name: Some(name.parse().unwrap()),
        drain_seconds: 5,
        spool_dir: spool.map(Into::into),
        ..Config::default()
    };
    let process = Process::new("agent", config);
    let agent = Agent::new(&process, Arc::new(Reversing::default())).unwrap();
    let shutdown = process.shutdown.clone();
    (shutdown, tokio::spawn(async move { agent.serve(&process.shutdown).await }))
}

async fn enqueue(client: &Client, input: &[u8]) -> JobId {
    let digest = client.put_artifact(7, input.to_vec()).await.unwrap();
    let job = NewJob::new(7, &"leaf".parse().unwrap(), "v1".parse().unwrap(), digest);
    client.enqueue(vec![job.clone()]).await.unwrap();
    job.id
}

/// Fault: the process is killed at each step it passes. Every job is done afterwards, by the agent
/// that comes next or by what the killed one left, and completed once.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_at_any_step_costs_time_and_nothing_else() {
    // A dead agent is found by its lease running out, so leases are short; what it spooled is offered
    // at once, so there no lease runs out.
    let spooled = ["agent.after_spool", "agent.before_upload", "agent.after_upload"];
    let short = Rules { lease: Duration::from_secs(1), ..Rules::default() };
    let (short, long) = (TestSchema::with(short).await, TestSchema::new().await);
    let (short, long) = (short.broker().await, long.broker().await);
    for point in POINTS {
        let broker = if spooled.contains(point) { &long } else { &short };
        let client = broker.client();
        let spool = tempfile::tempdir().unwrap();
        let id = enqueue(&client, format!("good {point}").as_bytes()).await;
        let killed = child(broker, point, spool.path()).status().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9), "{point}");
        let (shutdown, task) =
            start(&rollmill_broker::url_of(broker.address), "rescuer", Some(spool.path()));
        let job = client.wait(std::slice::from_ref(&id), WAIT).await.unwrap().jobs.remove(0);
        assert_eq!(job.state, JobState::Done, "{point}");
        let attempts = client.history(&id).await.unwrap().attempts;
        let completed =
            attempts.iter().filter(|a| a.outcome.as_str().starts_with("completed")).count();
        assert_eq!(completed, 1, "{point}: {attempts:?}");
        let maker = job.agent.unwrap();
        let expected = if *point == "agent.after_report" { "doomed" } else { "rescuer" };
        assert_eq!(maker.as_str(), expected, "{point}");
        if spooled.contains(point) {
            assert_eq!(job.attempts, 1, "{point}: proven once");
        }
        shutdown.start();
        task.await.unwrap().unwrap();
    }
}

fn child(broker: &TestBroker, point: &str, spool: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "faults::child_agent", "--ignored", "--nocapture"])
        .env(URL, rollmill_broker::url_of(broker.address))
        .env(SPOOL, spool)
        .env(failpoints::VARIABLE, point)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test: the process that the fault test starts and kills"]
async fn child_agent() {
    let url = std::env::var(URL).expect("started by a fault test");
    let spool = std::env::var_os(SPOOL).expect("started by a fault test");
    let (_shutdown, task) = start(&url, "doomed", Some(spool.as_ref()));
    task.await.unwrap().unwrap();
}

/// No failpoint is added without a kill at it.
#[test]
fn every_failpoint_of_the_agent_is_in_the_list() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut named = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let points = text.split("failpoint!(\"").skip(1);
            named.extend(points.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
        }
    }
    let mut listed: Vec<String> = POINTS.iter().map(|&point| point.to_owned()).collect();
    named.sort_unstable();
    listed.sort_unstable();
    assert_eq!(named, listed);
}
