//! The clock of the database, which is set while brokers run.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{agent, capability, job};
use rollmill_broker::Config;
use rollmill_broker::objects::Objects;
use rollmill_broker::store::{Rules, Store};
use rollmill_broker_client::{
    AttemptOutcome, ClaimRequest, Client, CompleteOutcome, CompleteRequest, FailRequest,
    FailureClass, Grant, HeartbeatRequest, Incarnation, JobId, JobState,
};
use rollmill_broker_testing::{TestBroker, TestSchema};

/// Long enough for all that happens between a step of the clock and the heartbeat after it.
const LEASE: Duration = Duration::from_secs(10);
/// Longest wait for what the broker does within a second.
const WAIT: Duration = Duration::from_secs(60);
/// A clock that can be set, which the statements use instead of the server's.
const CLOCK: &str = "
    CREATE TABLE clock_step (step interval NOT NULL);
    INSERT INTO clock_step VALUES ('0');
    CREATE FUNCTION now() RETURNS timestamptz STABLE LANGUAGE sql
        AS 'SELECT pg_catalog.now() + (SELECT step FROM clock_step)'";

async fn claim(client: &Client, name: &str, kind: &str) -> Grant {
    let request =
        ClaimRequest { wait_ms: 20_000, ..ClaimRequest::new(agent(name), vec![capability(kind)]) };
    loop {
        if let Some(grant) = client.claim(&request).await.unwrap() {
            return grant;
        }
    }
}

async fn enqueue(client: &Client, kind: &str, input: &[u8]) -> JobId {
    let input = client.put_artifact(7, input.to_vec()).await.unwrap();
    let mut job = job(7, kind, input);
    // The hard limit counts by the same clock, and is no matter of heartbeats.
    job.hard_limit_seconds = Some(86_400);
    client.enqueue(vec![job.clone()]).await.unwrap();
    job.id
}

async fn outcomes(client: &Client, id: &JobId) -> Vec<AttemptOutcome> {
    let attempts = client.history(id).await.unwrap().attempts;
    attempts.into_iter().map(|attempt| attempt.outcome).collect()
}

/// A schema whose clock can be set.
struct Stepped {
    schema: TestSchema,
    rules: Rules,
    /// By the server's own clock.
    plain: Store,
}

impl Stepped {
    async fn new() -> Self {
        let rules = Rules { lease: LEASE, ..Rules::default() };
        let schema = TestSchema::with(rules.clone()).await;
        let plain = schema.store().await;
        sqlx::raw_sql(CLOCK).execute(plain.pool()).await.unwrap();
        Self { schema, rules, plain }
    }

    /// A store whose statements, and the triggers that they run, use the clock that can be set.
    async fn store(&self) -> Store {
        let name = "SELECT current_schema()::text";
        let name: String = sqlx::query_scalar(name).fetch_one(self.plain.pool()).await.unwrap();
        // Where the path names the catalogue, what comes before it hides its functions.
        let path = format!("{name},pg_catalog");
        let options = self.schema.connect_options().options([("search_path", path.as_str())]);
        let objects = Objects::in_directory(self.schema.objects()).unwrap();
        Store::connect(options, objects, self.rules.clone()).await.unwrap()
    }

    async fn broker(&self) -> TestBroker {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        TestSchema::broker_over(self.store().await, address, Config::default()).await
    }

    /// Sets the clock this far ahead of the server's.
    async fn set(&self, ahead: &str) {
        let set = "UPDATE clock_step SET step = $1::interval";
        sqlx::query(set).bind(ahead).execute(self.plain.pool()).await.unwrap();
    }
}

/// Waits until the lease of a job lasts no longer than one that is granted now.
async fn bounded(client: &Client, id: &JobId) {
    let bounded = async {
        loop {
            let views = client.jobs(std::slice::from_ref(id)).await.unwrap();
            match &views[0].lease {
                Some(lease)
                    if u128::try_from(lease.expires_in_ms).unwrap_or(0) > LEASE.as_millis() => {}
                _ => return,
            }
        }
    };
    tokio::time::timeout(WAIT, bounded)
        .await
        .expect("the lease lasts for as long as the clock was set by");
}

/// Fault: the clock of the database is set by an hour, so that every lease has run out, and back again. Goal: agents
/// that live keep theirs, and those that are gone keep none for an hour.
/// Method: two pauses after failures end, which the broker looks at before leases, and then the agent sends a heartbeat.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_databases_clock_takes_no_lease_from_a_live_agent() {
    let stepped = Stepped::new().await;
    let broker = stepped.broker().await;
    let client = broker.client();

    // A broker that has started expires nothing for a while. Then it does.
    let silent = enqueue(&client, "leaf", b"of an agent that is gone").await;
    claim(&client, "gone", "leaf").await;
    while outcomes(&client, &silent).await != [AttemptOutcome::Expired] {
        tokio::task::yield_now().await;
    }
    client.cancel(&[silent]).await.unwrap();

    let id = enqueue(&client, "leaf", b"of a live agent").await;
    let lease = claim(&client, "live", "leaf").await.lease();
    stepped.set("1 hour").await;
    let paused = enqueue(&client, "root", b"of one that fails").await;
    for _ in 0..2 {
        let failed = FailRequest {
            agent: agent("failing"),
            lease: claim(&client, "failing", "root").await.lease(),
            class: FailureClass::Transient,
            message: "as the test says".to_owned(),
        };
        client.fail(&failed).await.unwrap();
        let ids = [paused.clone()];
        while client.jobs(&ids).await.unwrap()[0].state != JobState::Ready {
            tokio::task::yield_now().await;
        }
    }
    let beat = HeartbeatRequest { agent: agent("live"), leases: vec![lease.clone()] };
    let answer = client.heartbeat(&beat).await.unwrap();
    assert!(answer.cancel.is_empty(), "{answer:?}");
    let result = client.put_artifact(7, b"result".to_vec()).await.unwrap();
    let done = CompleteRequest::new(agent("live"), lease, result);
    assert_eq!(client.complete(&done).await.unwrap(), CompleteOutcome::Accepted);
    assert_eq!(outcomes(&client, &id).await, [AttemptOutcome::Completed]);

    // The way back: a lease that would end in an hour ends as if it were granted now.
    let silent = enqueue(&client, "leaf", b"of another agent that is gone").await;
    claim(&client, "gone-too", "leaf").await;
    stepped.set("0").await;
    bounded(&client, &silent).await;
    broker.stop().await;
}

/// Fault: the clock of the database is set back while no broker runs, so that none sees it. Goal: what one leaves in the future
/// lasts no longer than what begins now: leases, agents, exclusions, epochs, and the pause of the scrubber.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_while_no_broker_runs_makes_nothing_wait_for_as_long() {
    let stepped = Stepped::new().await;
    // Longer than a pass of the scrubber, shorter than an epoch may be silent.
    stepped.set("25 hours").await;
    let before = stepped.broker().await;
    let client = before.client();
    let silent = enqueue(&client, "leaf", b"of an agent that is gone").await;
    claim(&client, "gone", "leaf").await;
    let stuck = enqueue(&client, "leaf", b"that excludes everybody").await;
    before.stop().await;
    let future = stepped.store().await;
    for text in [
        "UPDATE job SET excluded_agents = '{gone}', stuck_at = now() WHERE state = 'ready'",
        // Defaults of columns are by the server's own clock.
        "UPDATE agent SET last_seen_at = now()",
        "UPDATE epoch SET opened_at = now()",
        "UPDATE scrub SET due_at = now() + interval '1 minute'",
    ] {
        assert_eq!(sqlx::query(text).execute(future.pool()).await.unwrap().rows_affected(), 1);
    }
    future.close().await;
    stepped.set("0").await;
    let after = stepped.broker().await;
    let client = after.client();
    bounded(&client, &silent).await;
    let late = "
        SELECT (SELECT count(*) FROM agent WHERE last_seen_at > now())
             + (SELECT count(*) FROM job WHERE stuck_at > now())
             + (SELECT count(*) FROM epoch WHERE opened_at > now())
             + (SELECT count(*) FROM scrub WHERE due_at > now() + interval '1 day')";
    let none = async {
        while sqlx::query_scalar::<_, i64>(late).fetch_one(stepped.plain.pool()).await.unwrap() > 0
        {
        }
    };
    tokio::time::timeout(WAIT, none).await.expect("something is in the future still");
    assert_eq!(client.jobs(&[stuck]).await.unwrap()[0].state, JobState::Ready);
    after.stop().await;
}

/// Fault: the holder of a named lease stops, and the clock of the database is set back by an hour. Goal: another gets the name
/// after the time that it was given for, and not after an hour more. One whose holder lives stays with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_named_lease_ends_in_time_although_the_clock_was_set_back() {
    let stepped = Stepped::new().await;
    stepped.set("1 hour").await;
    let broker = stepped.broker().await;
    let client = broker.client();
    let (one, two) = (agent("one"), agent("two"));
    let (start, other) = (Incarnation::random(), Incarnation::random());
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(600));
    let gone = client.acquire_name("gone", &one, &start, short).await.unwrap();
    let live = client.acquire_name("live", &one, &start, long).await.unwrap();
    assert!(gone.held && live.held);
    stepped.set("0").await;

    // Nobody takes a lease that may be held, and nobody waits for longer than it was given for.
    let asked = client.acquire_name("live", &two, &other, short).await.unwrap();
    assert!(!asked.held && asked.expires_in_ms <= 600_000, "{asked:?}");
    assert!(
        asked.expires_in_ms > 500_000,
        "by its own time, and not by that of who asks: {asked:?}"
    );
    let renewed = client.renew_name("live", &one, &start, live.fence, long).await.unwrap();
    assert!(renewed.held, "{renewed:?}");
    let again = client.acquire_name("live", &two, &other, short).await.unwrap();
    assert!(!again.held, "{again:?}");

    let first = client.acquire_name("gone", &two, &other, short).await.unwrap();
    assert!(!first.held && first.expires_in_ms <= 1_000, "{first:?}");
    let taken = async {
        loop {
            let asked = client.acquire_name("gone", &two, &other, short).await.unwrap();
            if asked.held {
                return asked;
            }
        }
    };
    let taken = tokio::time::timeout(WAIT, taken).await.expect("it never ends");
    assert!(taken.fence > gone.fence, "{taken:?} after {gone:?}");
    let late = client.renew_name("gone", &one, &start, gone.fence, short).await.unwrap();
    assert!(!late.held, "{late:?}");
    broker.stop().await;
}
