//! The schema while brokers of two releases share it.

use std::time::Duration;

use crate::support::{Bench, blocked};
use rollmill_broker_testing::TestSchema;
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

/// Fault: a newer release migrates the database in a way that the running brokers cannot follow. Goal: they say so, also
/// while their statements still work, and no longer once the backup is back.
#[tokio::test]
async fn a_broker_says_that_a_newer_release_took_its_schema_away() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    broker.client().status().await.unwrap();
    assert_eq!(broker.conditions.to_json()["schema"]["ok"], true);
    bench
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
             VALUES (9999, 'of tomorrow', now(), true, '', 0)",
        )
        .await;
    bench.sql("UPDATE schema_release SET oldest = 9999").await;
    let failing = async {
        loop {
            match broker.conditions.failing().into_iter().find(|(name, _)| *name == "schema") {
                Some((_, why)) => return why,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let why = until("a condition that fails", failing).await;
    assert!(why.starts_with("BRK-031: ") && why.contains("9999"), "{why}");
    bench.sql("UPDATE schema_release SET oldest = 0").await;
    let holds = async {
        while !broker.conditions.failing().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    until("a condition that holds", holds).await;
    broker.stop().await;
}

/// All that the migrations make, one line for each column, index, constraint, function, trigger and record.
const CATALOG: &str = "
    SELECT replace(line, current_schema() || '.', '') FROM (
        SELECT format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                      pg_get_expr(d.adbin, d.adrelid))
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = current_schema()::regnamespace
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()
        UNION ALL SELECT format('%s %s', conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
        UNION ALL SELECT format('%s %s', proname, prosrc)
        FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
        UNION ALL SELECT pg_get_triggerdef(t.oid)
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal
        UNION ALL SELECT format('%s %s', version, encode(checksum, 'hex')) FROM _sqlx_migrations
        UNION ALL SELECT format('oldest %s', oldest) FROM schema_release
    ) AS lines (line)
    ORDER BY 1";

/// Fault: the template that tests start on was kept, although what it is made of has changed. Method: the first schema
/// of a program is the template's; the second one is migrated here.
#[tokio::test]
async fn the_schema_of_the_template_is_what_the_migrations_make() {
    let catalog = async || -> Vec<String> {
        let store = TestSchema::new().await.store().await;
        sqlx::query_scalar(CATALOG).fetch_all(store.pool()).await.unwrap()
    };
    let (of_template, migrated) = (catalog().await, catalog().await);
    assert!(of_template.len() > 100, "{of_template:#?}");
    assert_eq!(of_template, migrated);
}
