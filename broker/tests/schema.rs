//! The schema while brokers of two releases share it.

use std::time::Duration;

use crate::support::{Bench, blocked};
use sqlx::{Connection, PgConnection};

/// Longest wait for what is certain to come.
const LIMIT: Duration = Duration::from_secs(60);

async fn until<T>(what: &str, done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(LIMIT, done).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"))
}

/// Fault: an upgrade during a backup, which holds every table for as long as it reads. Goal: the migration waits for the
/// backup, and the brokers that serve do not wait for the migration. Method: the migration that drops an index runs again.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_for_a_backup_holds_up_nobody() {
    let bench = Bench::new().await;
    bench.sql("CREATE INDEX job_holder ON job (lease_holder)").await;
    bench.sql("DELETE FROM _sqlx_migrations WHERE version = 17").await;
    let mut backup = PgConnection::connect_with(&bench.schema.connect_options()).await.unwrap();
    let mut reading = backup.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM job").execute(&mut *reading).await.unwrap();
    let store = bench.schema.store().await;
    let migrating = tokio::spawn(async move { store.migrate().await });
    until("a migration that waits", blocked(&mut reading, "%")).await;
    until("a job behind it", bench.ready_job(7, "leaf", 1)).await;
    assert!(!migrating.is_finished(), "it waits still");
    reading.rollback().await.unwrap();
    until("the migration", migrating).await.unwrap().unwrap();
    let is_gone: bool = sqlx::query_scalar("SELECT to_regclass('job_holder') IS NULL")
        .fetch_one(bench.store.pool())
        .await
        .unwrap();
    assert!(is_gone);
    bench.store.check().await.unwrap();
}

/// Fault: while brokers are being replaced, one of the release before crashes. Goal: it starts again on the schema of the newer
/// one, and serves.
#[tokio::test]
async fn a_release_starts_again_on_the_schema_of_the_next_one() {
    let bench = Bench::new().await;
    bench
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
             VALUES (9999, 'of tomorrow', now(), true, '', 0)",
        )
        .await;
    bench.store.migrate().await.unwrap();
    bench.store.check().await.unwrap();
    let broker = bench.schema.broker().await;
    broker.client().status().await.unwrap();
    let job = bench.ready_job(7, "leaf", 1).await;
    let views = broker.client().jobs(&[job.id]).await.unwrap();
    assert_eq!(views.len(), 1);
    broker.stop().await;
}
