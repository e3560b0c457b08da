//! The schema: its migrations, and what a broker needs of it.

use std::time::Duration;

use rollmill_service::{Again, Retry};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::sql::{
    IndexOf, MigrationLast, MigrationsRecorded, SchemaOldest, ServerVersionOf, Statement,
};
use super::{CONNECT_LIMIT, Store};
use crate::database;
use crate::error::BrokerError;

/// Oldest server supported, as `server_version_num`.
const SERVER_VERSION_MIN: i32 = 140_000;

/// How long a migration waits for a table that is in use. Statements of brokers that serve wait behind it meanwhile.
const LOCK_LIMIT: &str = "2s";
/// First and longest pause before a migration is tried again that did not get its tables.
const LOCK_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

impl Store {
    /// Versions and checksums of the migrations of this release, in order. A schema that was kept with others is out of
    /// date.
    pub fn migrations() -> impl Iterator<Item = (i64, &'static [u8])> {
        MIGRATOR.iter().map(|migration| (migration.version, &*migration.checksum))
    }

    /// Brings the schema up to date. Brokers that start together take turns. It waits for tables that others use, such as
    /// a backup, and lets everybody else pass meanwhile.
    pub async fn migrate(&self) -> Result<(), BrokerError> {
        if self.is_newer().await? {
            return Ok(());
        }
        let mut retry = Retry::new(LOCK_PAUSE.0, LOCK_PAUSE.1);
        loop {
            let error = match self.migrate_once().await {
                Err(BrokerError::Database { reason }) if database::is_locked(&reason.0) => {
                    database::plain(&reason.0)
                }
                Err(error) => return Err(error.at(&self.target)),
                Ok(()) => {
                    retry.succeeded(|wait_seconds| {
                        tracing::info!(wait_seconds, "schema migrated");
                    });
                    return Ok(());
                }
            };
            let log = |Again { repeated, retry_seconds }| {
                tracing::warn!(error, repeated, retry_seconds, "schema in use; migrating again");
            };
            // Whoever waits for it drops it.
            retry.failed(std::future::pending(), log).await;
        }
    }

    async fn migrate_once(&self) -> Result<(), BrokerError> {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_LIMIT);
        let pool = pool.connect_with(unhurried(&self.pool.connect_options())).await?;
        let migrated = MIGRATOR.run(&pool).await;
        pool.close().await;
        Ok(migrated?)
    }

    /// Rejects a schema that a newer release has migrated, unless that says that this one may run on it. One that this
    /// release would migrate is no error, nor is an empty database.
    pub async fn check_release(&self) -> Result<(), BrokerError> {
        self.is_newer().await.map(drop)
    }

    /// Whether a newer release has migrated the schema, so that there is nothing to migrate.
    async fn is_newer(&self) -> Result<bool, BrokerError> {
        let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
        let read = async {
            match self.applied().await?.filter(|applied| *applied > known) {
                None => Ok(None),
                // Every release that asks for it knows the migration that made its table.
                Some(applied) => {
                    let oldest = SchemaOldest {}.one(&self.pool).await?.oldest;
                    Ok::<_, BrokerError>(Some((applied, oldest)))
                }
            }
        };
        let newer = read.await.map_err(|error| error.at(&self.target))?;
        match newer {
            None => Ok(false),
            Some((_, oldest)) if oldest <= known => Ok(true),
            Some((applied, _)) => Err(BrokerError::SchemaNewer { applied, known }),
        }
    }

    /// Version of the last migration that the database records.
    async fn applied(&self) -> Result<Option<i64>, BrokerError> {
        if !(MigrationsRecorded {}).one(&self.pool).await?.found {
            return Ok(None);
        }
        Ok(MigrationLast {}.one(&self.pool).await?.version)
    }

    /// Rejects a server or schema that would not work: too old, or without the indexes that
    /// claims and expiry depend on.
    pub async fn check(&self) -> Result<(), BrokerError> {
        self.check_release().await?;
        let version = ServerVersionOf {}.one(&self.pool).await?;
        if version.number < SERVER_VERSION_MIN {
            return Err(BrokerError::ServerTooOld { version: version.text });
        }
        for index in [
            "job_claim",
            "job_lease",
            "job_delayed",
            "job_result",
            "job_wanted",
            "job_excluded",
            "job_deadline",
            "job_change",
            "job_of_epoch",
            "epoch_pkey",
        ] {
            let found = IndexOf { index }.optional(&self.pool).await?;
            if !found.is_some_and(|found| found.valid) {
                return Err(BrokerError::IndexMissing { index });
            }
        }
        Ok(())
    }
}

/// For migrations: no limit for a statement, since an index of a large table takes minutes; a short one for locks; and
/// plans as they are best.
fn unhurried(options: &PgConnectOptions) -> PgConnectOptions {
    // The last of two values counts.
    options.clone().options([
        ("statement_timeout", "0"),
        ("lock_timeout", LOCK_LIMIT),
        ("enable_seqscan", "on"),
        ("plan_cache_mode", "auto"),
    ])
}

#[cfg(test)]
mod tests {
    use rollmill_broker_testing::TestSchema;
    use sqlx::Connection;
    use sqlx::postgres::PgConnection;

    use super::*;

    /// Fault: a database with so many jobs that a step of a migration takes longer than any statement of a broker may.
    #[tokio::test]
    async fn a_migration_has_all_the_time_that_it_needs() {
        let options = TestSchema::new().await.connect_options();
        let hurried = options.options([("statement_timeout", "30s"), ("enable_seqscan", "off")]);
        for (options, wanted) in [(hurried.clone(), "30s off"), (unhurried(&hurried), "0 on")] {
            let mut connection = PgConnection::connect_with(&options).await.unwrap();
            let shown: String = sqlx::query_scalar(
                "SELECT current_setting('statement_timeout') || ' ' || current_setting('enable_seqscan')",
            )
            .fetch_one(&mut connection)
            .await
            .unwrap();
            assert_eq!(shown, wanted);
        }
    }
}
