//! What a broker shows of its database and of its agents.

use crate::support::{agent, capability};
use rollmill_broker::store::Tenant;
use rollmill_broker_client::{ClaimRequest, NewToken, Role, SizeClass};
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

/// Goal: the agents that a broker heard of are counted.
#[tokio::test]
async fn an_agent_that_asks_for_work_is_live() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let asks = ClaimRequest {
        agent: agent("a"),
        capabilities: crate::support::KINDS.map(capability).to_vec(),
        class: SizeClass::SMALLEST,
        wait_ms: 0,
        info: serde_json::Value::Null,
        session: None,
    };
    assert!(broker.client().claim(&asks).await.unwrap().is_none());
    let live = reach(&broker, "rollmill_broker_agents", |agents| agents > 0.5).await;
    assert!((live - 1.0).abs() < 0.5, "{live}");
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
