//! The clock of the database, which is set while brokers run.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{agent, capability, job};
use rollmill_broker::Config;
use rollmill_broker::objects::Objects;
use rollmill_broker::store::{Rules, Store};
use rollmill_broker_client::{
    AttemptOutcome, ClaimRequest, Client, CompleteOutcome, CompleteRequest, FailRequest,
    FailureClass, Grant, HeartbeatRequest, JobId, JobState,
};
use rollmill_broker_testing::TestSchema;

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

/// Fault: the clock of the database is set by an hour, so that every lease has run out, and back again. Goal: agents
/// that live keep theirs, and those that are gone keep none for an hour.
/// Method: two pauses after failures end, which the broker looks at before leases, and then the agent sends a heartbeat.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_databases_clock_takes_no_lease_from_a_live_agent() {
    let rules = Rules { lease: LEASE, ..Rules::default() };
    let schema = TestSchema::with(rules.clone()).await;
    let plain = schema.store().await;
    sqlx::raw_sql(CLOCK).execute(plain.pool()).await.unwrap();
    let name: String =
        sqlx::query_scalar("SELECT current_schema()::text").fetch_one(plain.pool()).await.unwrap();
    // Where the path names the catalogue, what comes before it hides its functions.
    let path = format!("{name},pg_catalog");
    let options = schema.connect_options().options([("search_path", path.as_str())]);
    let objects = Objects::in_directory(schema.objects()).unwrap();
    let store = Store::connect(options, objects, rules).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker = TestSchema::broker_over(store, address, Config::default()).await;
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
    sqlx::query("UPDATE clock_step SET step = '1 hour'").execute(plain.pool()).await.unwrap();
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
    sqlx::query("UPDATE clock_step SET step = '0'").execute(plain.pool()).await.unwrap();
    let bounded = async {
        loop {
            let views = client.jobs(std::slice::from_ref(&silent)).await.unwrap();
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
    broker.stop().await;
}
