//! A database that falls silent: its machine is gone, and nothing tells the broker that its connections are.

use std::net::SocketAddr;
use std::time::Duration;

use crate::rules::link::Link;
use crate::support::{blocked, job};
use rollmill_broker::Config;
use rollmill_broker::objects::Objects;
use rollmill_broker::store::{Rules, Store};
use rollmill_broker_testing::TestSchema;
use sqlx::{Connection, PgConnection, PgPool};

/// Longest wait for what is certain to come. Each connection that fell silent costs some seconds once.
const LIMIT: Duration = Duration::from_secs(120);

async fn until(what: &str, done: impl Future<Output = ()>) {
    let done = tokio::time::timeout(LIMIT, done).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"));
}

/// Waits until the task that ends the pauses of jobs waits for a lock of this connection.
async fn promotion_waits(locker: &mut PgConnection) {
    blocked(locker, "-- promote.sql%").await;
}

async fn becomes_ready(pool: &PgPool) {
    loop {
        let state: String =
            sqlx::query_scalar("SELECT state FROM job").fetch_one(pool).await.unwrap();
        if state == "ready" {
            return;
        }
    }
}

/// Fault: the machine of PostgreSQL vanishes while statements are under way, and another takes its place: the connections
/// stay open and bring nothing. Goal: background work goes on, and no place in the pool is lost. Method: a lock keeps a
/// statement of the sweep under way while the connections fall silent.
#[tokio::test(flavor = "multi_thread")]
async fn background_work_goes_on_after_its_connections_fell_silent() {
    let rules = Rules { silence: Duration::from_secs(2), ..Rules::default() };
    let schema = TestSchema::with(rules.clone()).await;
    let options = schema.connect_options();
    let link = Link::new(&options);
    let objects = Objects::in_directory(schema.objects()).unwrap();
    let store = Store::connect(link.options(&options), objects, rules).await.unwrap();
    let pool = store.pool().clone();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker = TestSchema::broker_over(store, address, Config::default()).await;
    let client = broker.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    client.enqueue(vec![job(7, "leaf", input)]).await.unwrap();

    let mut locker = PgConnection::connect_with(&options).await.unwrap();
    let mut lock = locker.begin().await.unwrap();
    sqlx::query("LOCK TABLE job IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    until("a statement under way", promotion_waits(&mut lock)).await;
    link.silence();
    lock.rollback().await.unwrap();
    // After the time of the statement that was under way, so that it does not do it.
    let apart = schema.store().await;
    sqlx::query("UPDATE job SET state = 'delayed', ready_at = now() + interval '1 s'")
        .execute(apart.pool())
        .await
        .unwrap();

    until("the end of the pause", becomes_ready(apart.pool())).await;
    let served = async { while client.status().await.is_err() {} };
    until("an answer", served).await;
    let returned = async {
        while pool.size() as usize != pool.num_idle() {
            tokio::task::yield_now().await;
        }
    };
    until("the return of every connection", returned).await;
    let healthy = async {
        while !broker.conditions.failing().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    until("a healthy broker", healthy).await;
    until("the broker's end", broker.stop()).await;
}
