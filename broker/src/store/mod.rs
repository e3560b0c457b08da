//! The database: every statement the broker sends, and nothing of HTTP.
//!
//! Statements are files in `src/sql`, bound and read by the structs of `sql`; see
//! docs/adr/0007-sql-access.md.

mod agents;
mod artifacts;
pub(crate) mod audit;
mod aztec;
mod bulk;
mod changes;
mod epochs;
mod healing;
mod jobs;
mod leases;
mod names;
mod objects;
mod outcomes;
mod overview;
mod retention;
mod schema;
mod scrub;
mod seconds;
mod sql;
pub(crate) mod tokens;
mod view;
mod wire;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path as ObjectPath;
use parking_lot::Mutex;
use rollmill_broker_client::Digest;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::database::Target;
use crate::error::BrokerError;
use crate::objects::Objects;

use wire::Wire;

use sql::{ClockOf, DatabaseSize, Notify, Probe, SchemaOf, Statement};

pub use agents::{Arrival, OpenedSession, Opening};
pub use artifacts::{NewObject, Place, Uploaded};
pub use audit::{By, DATABASE};
pub use aztec::AztecJob;
pub use bulk::{Beat, Pulse, Sighting, Upload};
pub use changes::{Changed, Cursor};
pub use epochs::Closed;
pub use healing::Opened;
pub use jobs::{Backlog, Cancelled, queue_of};
pub use leases::{Candidate, Granted, Match};
pub use outcomes::Completed;
pub(crate) use overview::{EpochJobs, SeenAgent, SeenAgents};
pub use retention::{Kept, Partitions, Retention, Retired};
pub use rollmill_broker_client::Role;
pub use scrub::{ScrubBatch, StoredCopy, Verdict};
pub use seconds::{Running, Second, SecondsGiven};
pub use tokens::secret;
pub use view::Listed;

/// Artifacts up to this size are stored in the database, larger ones in the object store.
pub const ROW_ARTIFACT_BYTES_MAX: usize = 256 * 1024;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the end of all connections may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The owner of jobs. Comes from the caller's token, never from a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(pub String);

impl Tenant {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("default".into())
    }
}

/// Limits that the statements need.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A lease expires after this long without a heartbeat.
    pub lease: Duration,
    /// Hard limit of jobs that name none.
    pub hard_limit: Duration,
    /// Invalid proofs after which an agent is quarantined.
    pub rejections_max: u32,
    /// Invalid proofs of the agents of one token after which it is suspended.
    pub token_rejections_max: u32,
    /// An agent that was not seen for this long counts as gone. Above the longest wait of a claim.
    pub live: Duration,
    /// How long every live able agent is excluded from a job before it is forgiven the first time.
    pub forgive_after: Duration,
    /// How long no live agent is able to do a type of job before that is reported.
    pub unable_after: Duration,
    /// How long nothing may come from the database, its own limit for a statement included. Then a connection counts as
    /// lost.
    pub silence: Duration,
    /// Most epochs that a tenant may have open.
    pub epochs_open_max: u32,
    /// How long things are kept.
    pub retention: Retention,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            hard_limit: Duration::from_secs(3600),
            rejections_max: 3,
            token_rejections_max: 10,
            live: Duration::from_secs(45),
            forgive_after: Duration::from_secs(30),
            unable_after: Duration::from_secs(10),
            silence: Duration::from_secs(45),
            epochs_open_max: 64,
            retention: Retention::default(),
        }
    }
}

/// What the database holds.
#[derive(Clone, Copy, Debug)]
pub struct Database {
    pub bytes: u64,
    /// As PostgreSQL estimates them.
    pub live_rows: u64,
    pub dead_rows: u64,
    /// Age of the oldest open transaction of another connection; 0 without one.
    pub oldest_snapshot_seconds: f64,
}

/// Connections for everything that has none of its own.
const CONNECTIONS: u32 = 12;
/// Connections on which artifacts are read, for whoever fetches one and to find those that are damaged.
pub const READ_CONNECTIONS: u32 = 4;
/// Longest wait for a lock of a statement that holds the requests of many.
const LOCK_TIMEOUT: &str = "2s";
/// Longest time for such a statement.
const LANE_TIMEOUT: &str = "10s";

/// Jobs, leases and artifacts. Clones share their connections. What the lanes write, grants and reads of artifacts
/// have connections of their own, so that neither a slow statement nor a lock elsewhere delays them, nor they the others.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    /// Reads of artifacts, which may be large and many: they wait for each other and take no connection from `pool`.
    reads: PgPool,
    outcomes: Wire,
    grants: Wire,
    /// Does not wait for the disk.
    beats: Wire,
    enqueues: Wire,
    uploads: Wire,
    /// Epochs that have a partition for bodies, as far as this store knows.
    partitions: Arc<Mutex<HashSet<u64>>>,
    /// Artifacts whose objects had other bytes when they were read last.
    suspects: Arc<Mutex<HashSet<(Tenant, Digest)>>>,
    /// Objects whose bytes this store wrote or read as a whole, and which had their digest.
    whole_objects: Arc<Mutex<HashSet<ObjectPath>>>,
    objects: Objects,
    target: Target,
    rules: Rules,
}

impl Store {
    /// Connects, without touching the schema. `objects` keeps the large artifacts; see [`Self::join_objects`].
    pub async fn connect(
        options: PgConnectOptions,
        objects: Objects,
        rules: Rules,
    ) -> Result<Self, BrokerError> {
        Self::connect_with(options, objects, rules).await
    }

    /// Connects to the database alone, for checks of it; nothing is created.
    pub async fn connect_to_database(
        options: PgConnectOptions,
        rules: Rules,
    ) -> Result<Self, BrokerError> {
        Self::connect_with(options, Objects::nowhere(), rules).await
    }

    async fn connect_with(
        options: PgConnectOptions,
        objects: Objects,
        rules: Rules,
    ) -> Result<Self, BrokerError> {
        let target = Target::of(&options);
        let options = options.application_name("rollmill-broker").options([
            // A statement that takes this long is a fault, and blocks a connection that others need.
            ("statement_timeout", "30s"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("client_min_messages", "warning"),
            // The plans are decided by the statements and the indexes, and not by statistics: those of a table that
            // was empty a moment ago choose scans of the whole table, and a cached plan keeps them.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            // A scan of a small table costs more than ten thousand million by the setting above, and the server would
            // compile each such statement for 0.1 to 0.2 s.
            ("jit", "off"),
        ]);
        // A pool retries until its timeout and reports only that; a single connection reports why.
        let first = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&options));
        let first = first.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let first = first.map_err(|error| BrokerError::from(error).at(&target))?;
        // What follows does not depend on how this one ends.
        let _ = first.close().await;
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_LIMIT);
        let pool = returned_within(pool, rules.silence).connect_with(options.clone()).await;
        let pool = pool.map_err(|error| BrokerError::from(error).at(&target))?;
        let reads =
            PgPoolOptions::new().max_connections(READ_CONNECTIONS).acquire_timeout(CONNECT_LIMIT);
        let reads = returned_within(reads, rules.silence).connect_lazy_with(options.clone());
        let limited =
            options.options([("lock_timeout", LOCK_TIMEOUT), ("statement_timeout", LANE_TIMEOUT)]);
        let wire = || Wire::new(limited.clone());
        Ok(Self {
            outcomes: wire(),
            grants: wire(),
            beats: Wire::new(limited.clone().options([("synchronous_commit", "off")])),
            enqueues: wire(),
            uploads: wire(),
            pool,
            reads,
            partitions: Arc::default(),
            suspects: Arc::default(),
            whole_objects: Arc::default(),
            objects,
            target,
            rules,
        })
    }

    /// Closes every connection.
    pub async fn close(&self) {
        for wire in [&self.outcomes, &self.grants, &self.beats, &self.enqueues, &self.uploads] {
            wire.close().await;
        }
        // What is still on its way is closed with the process.
        let pools = async { tokio::join!(self.pool.close(), self.reads.close()) };
        let _ = tokio::time::timeout(CLOSE_LIMIT, pools).await;
    }

    /// Runs a statement on the table of jobs that would change them, and changes none.
    pub(crate) async fn probe(&self) -> Result<(), BrokerError> {
        Probe {}.run(&self.pool).await.map(drop)
    }

    /// The clock of the database, since 1970.
    pub async fn clock(&self) -> Result<Duration, BrokerError> {
        Ok(Duration::from_millis(ClockOf {}.one(&self.pool).await?.unix_ms.0))
    }

    /// What the database holds.
    pub async fn database(&self) -> Result<Database, BrokerError> {
        let row = DatabaseSize {}.one(&self.pool).await?;
        Ok(Database {
            bytes: row.bytes.0,
            live_rows: row.live_rows.0,
            dead_rows: row.dead_rows.0,
            oldest_snapshot_seconds: row.oldest_snapshot_seconds,
        })
    }

    /// The pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// One connection, apart from the others, for listening. A listener that ends waits for an answer, also of a server
    /// that is gone.
    pub(crate) fn listening(&self) -> PgPool {
        let options = PgConnectOptions::clone(&self.pool.connect_options());
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_LIMIT);
        pool.connect_lazy_with(options)
    }

    /// The limits in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Name of the notification channel: one per schema, so that instances do not wake each other.
    pub async fn channel(&self) -> Result<String, BrokerError> {
        let schema = SchemaOf {}.one(&self.pool).await?.name;
        let schema = schema.ok_or_else(|| corrupt("a search path without a schema"))?;
        Ok(format!("rollmill_{schema}"))
    }

    /// Wakes the other replicas.
    pub async fn notify(&self, channel: &str, payload: &str) -> Result<(), BrokerError> {
        Notify { channel, payload }.run(&self.pool).await.map(drop)
    }

    /// The plan of the peek statement as text, for the test that guards it. `generic` asks for the
    /// plan made without knowing the parameters.
    pub async fn explain_peek(&self, generic: bool) -> Result<String, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let mode = if generic { "force_generic_plan" } else { "force_custom_plan" };
        let peek = sql::Peek::SQL;
        for statement in [
            format!("SET LOCAL plan_cache_mode = {mode}"),
            format!("PREPARE peek (text, text[], text[], smallint[], bigint) AS {peek}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        let rows = sqlx::raw_sql(
            "EXPLAIN EXECUTE peek('default', '{v1,v1}', '{prove-0,prove-1}', '{0,0}', 20)",
        )
        .fetch_all(&mut *tx)
        .await?;
        sqlx::raw_sql("DEALLOCATE peek").execute(&mut *tx).await?;
        let lines: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(lines?.join("\n"))
    }
}

/// Bounds how long a connection may take to return to the pool. The pool asks it whether it lives, and a server whose
/// machine is gone answers nothing and closes nothing; such a connection would keep its place for ever.
fn returned_within(pool: PgPoolOptions, silence: Duration) -> PgPoolOptions {
    pool.after_release(move |connection, _| {
        Box::pin(async move {
            match tokio::time::timeout(silence, connection.ping()).await {
                Ok(answered) => answered.map(|()| true),
                Err(_) => Err(sqlx::Error::PoolTimedOut),
            }
        })
    })
}

/// Work on the database, which ends although the database is silent.
pub(crate) async fn limited<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}

fn corrupt(what: &str) -> BrokerError {
    BrokerError::Corrupt { what: what.to_owned() }
}
