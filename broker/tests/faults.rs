//! A broker's process that is killed at each step of what it writes, beside another replica on the same database.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rollmill_broker::store::Rules;
use rollmill_broker_client::{
    ClaimRequest, Client, ClientError, CompleteRequest, Digest, EpochOutcome, EpochState,
    HeartbeatRequest, JobId, JobState, LeaseRef, Options, ReleaseRequest,
};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::failpoints;

use crate::process::{Broker, free_address};
use crate::support::{agent, capability, job};

/// Every failpoint of the broker, in the order in which [`walk`] passes them.
const POINTS: &[&str] = &[
    "broker.before_uploads",
    "broker.after_uploads",
    "broker.after_object",
    "broker.before_enqueues",
    "broker.after_enqueues",
    "broker.before_sightings",
    "broker.after_sightings",
    "broker.before_claims",
    "broker.after_claims",
    "broker.before_beats",
    "broker.after_beats",
    "broker.before_releases",
    "broker.after_releases",
    "broker.before_completions",
    "broker.after_completions",
    "broker.after_close",
    "broker.after_end",
];
/// A grant that nobody got is found by its lease running out.
const LEASE_SECONDS: u64 = 1;
/// Longest wait for the end of a process.
const WAIT: Duration = Duration::from_secs(60);

/// The replica that is killed, and the one that stays.
struct Side {
    point: &'static str,
    doomed: Broker,
    first: Client,
    other: Client,
    is_killed: bool,
}

impl Side {
    async fn new(point: &'static str, schema: &TestSchema, dir: &Path, other: &TestBroker) -> Self {
        let address = free_address();
        let store = format!("file://{}", schema.objects().display());
        let mut command = Broker::command(dir, &address);
        command.args(["--database-url", "env:ROLLMILL_TEST_DATABASE", "--object-store", &store]);
        command.args(["--lease-seconds", &LEASE_SECONDS.to_string()]);
        command.env("ROLLMILL_TEST_DATABASE", schema.database_url());
        command.env(failpoints::VARIABLE, point);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let doomed = Broker { child, address };
        doomed.client().status().await.unwrap();
        let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(30) };
        let first = doomed.client().with_options(options);
        Self { point, doomed, first, other: other.client(), is_killed: false }
    }

    /// Takes a step at the replica that is to be killed, and again at the other one if it was killed meanwhile, as a
    /// client behind a load balancer does.
    async fn ask<T>(
        &mut self,
        step: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if !self.is_killed {
            let error = match step(&self.first).await {
                Err(error) if error.broker_code().is_none() => error,
                answered => return answered,
            };
            let child = &mut self.doomed.child;
            let killed = tokio::time::timeout(WAIT, async {
                loop {
                    if let Some(status) = child.try_wait().unwrap() {
                        return status;
                    }
                    tokio::task::yield_now().await;
                }
            });
            let killed = killed.await.unwrap_or_else(|_| panic!("{}: {error}", self.point));
            assert_eq!(killed.signal(), Some(9), "{}: {error}", self.point);
            self.is_killed = true;
        }
        step(&self.other).await
    }

    async fn put(&mut self, epoch: u64, bytes: &[u8]) -> Digest {
        let put = async |client: &Client| client.put_artifact(epoch, bytes.to_vec()).await;
        self.ask(put).await.unwrap()
    }

    async fn claim(&mut self, name: &str) -> LeaseRef {
        let request = ClaimRequest {
            wait_ms: 20_000,
            ..ClaimRequest::new(agent(name), vec![capability("leaf")])
        };
        let claim = async |client: &Client| client.claim(&request).await;
        let grant = self.ask(claim).await.unwrap();
        grant.unwrap_or_else(|| panic!("{}: no job", self.point)).lease()
    }
}

/// Whatever a job and an epoch go through. Returns the ids of the jobs.
async fn walk(side: &mut Side, epoch: u64) -> Vec<JobId> {
    let name = format!("agent-{epoch}");
    let (input, proof) = (format!("input of {}", side.point), format!("proof of {}", side.point));
    let large = vec![u8::try_from(epoch).unwrap(); 300_000];
    let small = side.put(epoch, input.as_bytes()).await;
    let object = side.put(epoch, &large).await;
    let jobs = vec![job(epoch, "leaf", small), job(epoch, "root", object)];
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
    side.ask(async |client: &Client| client.enqueue(jobs.clone()).await).await.unwrap();

    let lease = side.claim(&name).await;
    let beat = HeartbeatRequest { agent: agent(&name), leases: vec![lease.clone()] };
    side.ask(async |client: &Client| client.heartbeat(&beat).await).await.unwrap();
    let release = ReleaseRequest { agent: agent(&name), lease };
    let released = side.ask(async |client: &Client| client.release(&release).await).await;
    // The lease may have run out, and of two requests the first may have ended it.
    assert!(
        released.as_ref().err().is_none_or(|error| error.broker_code() == Some("BRK-018")),
        "{}: {released:?}",
        side.point
    );
    let lease = side.claim(&name).await;
    let result = side.put(epoch, proof.as_bytes()).await;
    let complete = CompleteRequest::new(agent(&name), lease, result);
    side.ask(async |client: &Client| client.complete(&complete).await).await.unwrap();
    let close = async |client: &Client| client.close_epoch(epoch, EpochOutcome::Final, None).await;
    let closed = side.ask(close).await.unwrap();
    assert_eq!(closed.state, EpochState::Closing, "{}", side.point);

    for (digest, bytes) in
        [(small, input.into_bytes()), (object, large), (result, proof.into_bytes())]
    {
        assert_eq!(side.other.get_artifact(&digest).await.unwrap(), bytes, "{}", side.point);
    }
    let views = side.other.jobs(&ids).await.unwrap();
    let states: Vec<JobState> = views.iter().map(|view| view.state).collect();
    assert_eq!(states, [JobState::Done, JobState::Cancelled], "{}", side.point);
    assert_eq!(views[0].result, Some(result), "{}", side.point);
    let attempts = side.other.history(&ids[0]).await.unwrap().attempts;
    let completed = attempts.iter().filter(|a| a.outcome.as_str().starts_with("completed"));
    assert_eq!(completed.count(), 1, "{}: {attempts:?}", side.point);
    side.ask(async |client: &Client| client.drop_epoch(epoch).await).await.unwrap();
    ids
}

/// Fault: one of two replicas is killed at each step of what it writes: before it, and after it has committed but
/// nobody has been answered. Everything is done once, and nothing is lost.
#[tokio::test]
async fn a_broker_killed_at_any_step_costs_time_and_nothing_else() {
    let lease = Duration::from_secs(LEASE_SECONDS);
    let schema = TestSchema::with(Rules { lease, ..Rules::default() }).await;
    let other = schema.broker().await;
    for (epoch, point) in (1..).zip(POINTS) {
        println!("{point}");
        let dir = tempfile::tempdir().unwrap();
        let mut side = Side::new(point, &schema, dir.path(), &other).await;
        let ids = walk(&mut side, epoch).await;
        assert!(side.is_killed, "{point} was not passed");
        assert!(side.other.jobs(&ids).await.unwrap().is_empty(), "{point}: the epoch is not gone");
    }
    other.stop().await;
}

/// No failpoint is added without a kill at it.
#[test]
fn every_failpoint_of_the_broker_is_in_the_list() {
    let pattern = regex_lite::Regex::new(r#""(broker\.(?:before|after)_[a-z_]+)""#).unwrap();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let (mut named, mut uses) = (Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                uses += text.matches("failpoint!(").count();
                named.extend(pattern.captures_iter(&text).map(|found| found[1].to_owned()));
            }
        }
    }
    named.sort_unstable();
    let mut listed: Vec<&str> = POINTS.to_vec();
    listed.sort_unstable();
    assert_eq!(named, listed);
    // Two of the uses are those of the lanes that one macro makes, for three lanes.
    assert_eq!(uses + 4, POINTS.len());
}
