//! A server of PostgreSQL that answers and takes no changes.

use std::net::SocketAddr;
use std::time::Duration;

use rollmill_broker::Config;
use rollmill_broker::embedded::{self, PrivatePostgres};
use rollmill_broker::objects::Objects;
use rollmill_broker::store::{Rules, Store};
use rollmill_broker_client::{Answer, Options};
use rollmill_broker_testing::{TestSchema, put_cluster};
use sqlx::{Connection as _, PgConnection};

/// Lets the server take changes, or not.
async fn set(server: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut *server).await.unwrap();
    sqlx::query("SELECT pg_reload_conf()").execute(server).await.unwrap();
}

/// Fault: the server becomes a standby, as in a failover: what reads succeeds still. Goal: the broker is not ready and says
/// why, rejects what it cannot do for now, and goes on by itself. Method: a server of its own, whose transactions are made
/// read-only.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_server_takes_no_changes_is_not_ready_and_goes_on_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let place =
        embedded::Options { data_dir: dir.path().join("postgres"), bin_dir: None, throwaway: true };
    put_cluster(&place.data_dir).await;
    let postgres = PrivatePostgres::start(&place).await.unwrap();
    let objects = Objects::in_directory(&dir.path().join("objects")).unwrap();
    let rules = Rules::default();
    let store = Store::connect(postgres.connect_options(), objects, rules).await.unwrap();
    store.migrate().await.unwrap();
    let mut server = PgConnection::connect_with(&postgres.connect_options()).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker = TestSchema::broker_over(store, address, Config::default()).await;
    let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(30) };
    let client = broker.client().with_options(options);
    client.put_artifact(7, b"before".to_vec()).await.unwrap();
    let failing = || {
        let mut failing = broker.conditions.failing().into_iter();
        failing.find(|(name, _)| *name == "database").map(|(_, why)| why)
    };
    assert_eq!(failing(), None);

    set(&mut server, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    let why = loop {
        match failing() {
            Some(why) => break why,
            None => tokio::task::yield_now().await,
        }
    };
    assert!(why.starts_with("BRK-"), "{why}");
    let error = client.put_artifact(7, b"meanwhile".to_vec()).await.unwrap_err();
    assert_eq!(error.answer(), Answer::Transient, "{error}");

    set(&mut server, "ALTER SYSTEM RESET default_transaction_read_only").await;
    while failing().is_some() {
        tokio::task::yield_now().await;
    }
    let digest = client.put_artifact(7, b"afterwards".to_vec()).await.unwrap();
    assert_eq!(client.get_artifact(&digest).await.unwrap(), b"afterwards");
    broker.stop().await;
    postgres.stop().await;
}
