//! What a broker shows of its database, its agents, its epochs and its requests.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::identity::session;
use crate::support::{agent, capability, job};
use rollmill_broker::store::Tenant;
use rollmill_broker_client::{
    ClaimRequest, CompleteRequest, Digest, Installation, NewToken, Role, SizeClass,
};
use rollmill_broker_testing::{TestBroker, TestSchema};
use sqlx::Connection as _;

/// The sum of a metric's series; `None` while it has none.
fn metric(broker: &TestBroker, name: &str) -> Option<f64> {
    let families = broker.metrics.gather();
    let family = families.iter().find(|family| family.name() == name)?;
    Some(family.get_metric().iter().map(|metric| metric.get_gauge().get_value()).sum())
}

async fn reach(broker: &TestBroker, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    loop {
        match metric(broker, name) {
            Some(value) if wanted(value) => return value,
            _ => tokio::task::yield_now().await,
        }
    }
}

/// Fault: a transaction of another connection stays open, so that no dead row can be removed.
#[tokio::test]
async fn the_size_of_the_database_and_its_oldest_transaction_are_shown() {
    let schema = TestSchema::new().await;
    let mut other = sqlx::PgConnection::connect_with(&schema.connect_options()).await.unwrap();
    let mut open = other.begin().await.unwrap();
    let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    sqlx::query(isolation).execute(&mut *open).await.unwrap();
    sqlx::query("SELECT 1 FROM pg_class LIMIT 1").execute(&mut *open).await.unwrap();
    let broker = schema.broker().await;
    // A database has at least its catalogue.
    reach(&broker, "rollmill_broker_database_bytes", |bytes| bytes > 1e6).await;
    reach(&broker, "rollmill_broker_database_oldest_snapshot_seconds", |age| age > 0.0).await;
    assert!(metric(&broker, "rollmill_broker_database_rows").is_some());
    open.rollback().await.unwrap();
}

/// A claim that waits for nothing.
fn asks() -> ClaimRequest {
    ClaimRequest {
        agent: agent("a"),
        capabilities: crate::support::KINDS.map(capability).to_vec(),
        class: SizeClass::SMALLEST,
        wait_ms: 0,
        info: serde_json::Value::Null,
        session: None,
    }
}

/// Goal: the agents that a broker heard of are counted.
#[tokio::test]
async fn an_agent_that_asks_for_work_is_live() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    assert!(broker.client().claim(&asks()).await.unwrap().is_none());
    let live = reach(&broker, "rollmill_broker_agents", |agents| agents > 0.5).await;
    assert!((live - 1.0).abs() < 0.5, "{live}");
}

/// Goal: sessions are counted apart from agents that opened none. Method: a second session of one agent takes the place of
/// the first.
#[tokio::test]
async fn sessions_of_live_agents_are_counted_once_for_each_agent() {
    const SESSIONS: &str = "rollmill_broker_sessions";
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let client = broker.client();
    assert!(client.claim(&asks()).await.unwrap().is_none());
    reach(&broker, "rollmill_broker_agents", |agents| agents > 0.5).await;
    reach(&broker, SESSIONS, |sessions| sessions < 0.5).await;
    let here = Installation::random();
    let mut last = None;
    for _ in 0..2 {
        let opened = client.open_session(&session("b", &here, last)).await.unwrap();
        last = Some(opened.session);
    }
    client.open_session(&session("c", &Installation::random(), None)).await.unwrap();
    let shown = reach(&broker, SESSIONS, |sessions| sessions > 1.5).await;
    assert!((shown - 2.0).abs() < 0.5, "{shown}");
    broker.stop().await;
}

/// Goal: an operator sees which buffer of a replica fills. Method: an agent waits for a job, which takes one of its places.
#[tokio::test]
async fn how_full_the_buffers_are_is_shown() {
    const FILL: &str = "rollmill_broker_buffer_fill_ratio";
    let broker = TestSchema::new().await.broker().await;
    let fill = |buffer: &str| {
        let families = broker.metrics.gather();
        // Absent until the replica has started.
        let family = families.iter().find(|family| family.name() == FILL)?;
        let of = family.get_metric().iter().find(|metric| metric.get_label()[0].value() == buffer);
        Some(of?.get_gauge().get_value())
    };
    let is_empty = |buffer: &str| fill(buffer).is_none_or(|share| share == 0.0);
    let (client, request) = (broker.client(), ClaimRequest { wait_ms: 20_000, ..asks() });
    let waits = tokio::spawn(async move { client.claim(&request).await });
    while is_empty("claims") || is_empty("agents") {
        tokio::task::yield_now().await;
    }
    for buffer in ["claims", "agents", "requests", "bodies", "urgent_bodies"] {
        let share = fill(buffer).unwrap();
        assert!((0.0..0.01).contains(&share), "{buffer}: {share}");
    }
    waits.abort();
    while !is_empty("claims") {
        tokio::task::yield_now().await;
    }
    broker.stop().await;
}

/// Goal: whoever watches sees the end of a token before its agents stop with it. Method: one of two tokens has an end.
#[tokio::test]
async fn the_end_of_a_token_is_shown_while_it_is_valid() {
    const ENDS: &str = "rollmill_broker_token_expiry_timestamp_seconds";
    let schema = TestSchema::new().await;
    let (store, tenant) = (schema.store().await, Tenant::default());
    let farm = NewToken { valid_seconds: Some(86_400), ..NewToken::new("farm", Role::Fleet) };
    for new in [farm, NewToken::new("me", Role::Operator)] {
        store.create_token(&tenant, &new).await.unwrap();
    }
    let wanted: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM expires_at)::float8 FROM token WHERE label = 'farm'",
    )
    .fetch_one(store.pool())
    .await
    .unwrap();
    let broker = schema.broker().await;
    let shown = reach(&broker, ENDS, |end| end > 0.5).await;
    assert!((shown - wanted).abs() <= 1.0, "{shown} and {wanted}");
    store.revoke_token(&tenant, None, &"farm".parse().unwrap()).await.unwrap();
    while metric(&broker, ENDS).is_some() {
        tokio::task::yield_now().await;
    }
}

/// Goal: a monitor sees how much time an epoch will have to spare, and nothing once there is no epoch.
#[tokio::test]
async fn the_time_that_an_epoch_has_to_spare_is_shown_while_it_has_work() {
    const SPARE: &str = "rollmill_broker_epoch_spare_seconds";
    const FINISH: &str = "rollmill_broker_epoch_finish_seconds";
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    assert!(client.claim(&asks()).await.unwrap().is_none());
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut job = job(7, "leaf", input);
    // A day is more than any machine takes for this test.
    job.deadline_unix_seconds = Some(now + 86_400);
    client.enqueue(vec![job.clone()]).await.unwrap();
    let spare = reach(&broker, SPARE, |seconds| seconds > 0.5).await;
    let finish = reach(&broker, FINISH, |seconds| seconds > 0.5).await;
    assert!(finish < 3_600.0 && spare > 3_600.0 && spare + finish <= 86_400.0, "{spare}, {finish}");
    assert_eq!(client.cancel(&[job.id]).await.unwrap(), 1);
    while metric(&broker, SPARE).or(metric(&broker, FINISH)).is_some() {
        tokio::task::yield_now().await;
    }
    broker.stop().await;
}

/// Goal: an agent that holds a job for too long is seen, also while its heartbeats come.
#[tokio::test]
async fn the_age_of_the_oldest_lease_is_shown_while_a_job_is_leased() {
    const AGE: &str = "rollmill_broker_lease_oldest_seconds";
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let mut job = job(7, "leaf", input);
    // Its own limit, and not the broker's.
    job.hard_limit_seconds = Some(120);
    client.enqueue(vec![job]).await.unwrap();
    let grant = client.claim(&ClaimRequest { wait_ms: 20_000, ..asks() }).await.unwrap().unwrap();
    let age = reach(&broker, AGE, |seconds| seconds > 0.0).await;
    assert!(age < 110.0, "{age}");
    let result = client.put_artifact(7, b"result".to_vec()).await.unwrap();
    client.complete(&CompleteRequest::new(agent("a"), grant.lease(), result)).await.unwrap();
    while metric(&broker, AGE).is_some() {
        tokio::task::yield_now().await;
    }
    broker.stop().await;
}

/// Goal: an operator sees which route fails, and how often.
#[tokio::test]
async fn requests_are_counted_by_route_and_outcome() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    client.status().await.unwrap();
    client.status().await.unwrap();
    client.get_artifact(&Digest::of(b"nothing")).await.unwrap_err();
    let families = broker.metrics.gather();
    let name = "rollmill_broker_requests_total";
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let mut counted = Vec::new();
    for metric in family.get_metric() {
        let count = metric.get_counter().get_value().round() as u64;
        let mut labels: Vec<&str> = metric.get_label().iter().map(|label| label.value()).collect();
        labels.sort_unstable();
        if count > 0 {
            counted.push((labels.join(" "), count));
        }
    }
    counted.sort();
    let expected = [("GET /v1/artifacts/{digest} rejected", 1), ("GET /v1/status ok", 2)];
    assert_eq!(counted, expected.map(|(labels, count)| (labels.to_owned(), count)));
    broker.stop().await;
}
