//! What PostgreSQL counts.

use rollmill_broker::{BrokerError, Config};
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::server::Servers;

/// A connection to the database, and whether its statements are counted.
#[derive(Debug)]
pub(super) struct Counted {
    connection: PgConnection,
    has_statements: bool,
}

/// Absent for a running broker whose database was not named.
pub(super) type Database = Option<Counted>;

/// Counts since the server's statistics were reset.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    commits: i64,
    bytes: i64,
    wal_bytes: f64,
    statements: Option<Vec<Statement>>,
}

/// One statement's calls.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Statement {
    /// The file in `broker/src/sql`, or the start of the text.
    pub(super) name: String,
    pub(super) calls: i64,
    pub(super) mean_ms: f64,
    #[serde(skip)]
    total_ms: f64,
}

/// What a run cost the database.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Statistics {
    pub(super) commits: i64,
    /// Of every transaction, those that only read among them.
    pub(super) commits_per_job: f64,
    /// Absent where `pg_stat_statements` is not loaded.
    pub(super) statements_per_job: Option<f64>,
    pub(super) wal_bytes_per_job: f64,
    pub(super) bytes: i64,
    pub(super) grown_bytes: i64,
    /// Every statement, those that took longest first.
    pub(super) statements: Vec<Statement>,
}

impl Snapshot {
    pub(super) fn since(self, start: Self, jobs: usize) -> Statistics {
        let jobs = jobs as f64;
        let statements = self.statements.zip(start.statements).map(|(end, start)| {
            let before = |name: &str| start.iter().find(|statement| statement.name == name);
            let mut counted: Vec<Statement> = end
                .into_iter()
                .map(|statement| {
                    let before = before(&statement.name);
                    let calls = statement.calls - before.map_or(0, |before| before.calls);
                    let total = statement.total_ms - before.map_or(0.0, |before| before.total_ms);
                    let mean_ms = if calls > 0 { total / calls as f64 } else { 0.0 };
                    Statement { calls, mean_ms, total_ms: total, ..statement }
                })
                .filter(|statement| statement.calls > 0)
                .collect();
            counted.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms));
            counted
        });
        let calls = |all: &Vec<Statement>| all.iter().map(|statement| statement.calls).sum::<i64>();
        let commits = self.commits - start.commits;
        Statistics {
            commits,
            commits_per_job: commits as f64 / jobs,
            statements_per_job: statements.as_ref().map(|all| calls(all) as f64 / jobs),
            wal_bytes_per_job: (self.wal_bytes - start.wal_bytes) / jobs,
            bytes: self.bytes,
            grown_bytes: self.bytes - start.bytes,
            statements: statements.unwrap_or_default(),
        }
    }
}

impl Counted {
    /// Connects to the run's own database, or to the one that the settings name.
    async fn new(options: &sqlx::postgres::PgConnectOptions) -> Result<Self, BrokerError> {
        let mut connection = PgConnection::connect_with(options).await?;
        let loaded: bool = sqlx::query_scalar(
            "SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'",
        )
        .fetch_one(&mut connection)
        .await?;
        let has_statements = loaded
            && sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
                .execute(&mut connection)
                .await
                .is_ok();
        Ok(Self { connection, has_statements })
    }
}

impl Snapshot {
    async fn of(counted: &mut Counted) -> Result<Self, BrokerError> {
        let row = sqlx::query(
            "SELECT xact_commit, pg_database_size(current_database()) AS bytes,
                    (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8 AS wal_bytes
             FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&mut counted.connection)
        .await?;
        let statements = match counted.has_statements {
            true => Some(statements(&mut counted.connection).await?),
            false => None,
        };
        Ok(Self {
            commits: row.try_get("xact_commit")?,
            bytes: row.try_get("bytes")?,
            wal_bytes: row.try_get("wal_bytes")?,
            statements,
        })
    }
}

async fn statements(connection: &mut PgConnection) -> Result<Vec<Statement>, BrokerError> {
    let rows = sqlx::query(
        "SELECT query, calls, total_exec_time FROM pg_stat_statements
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .fetch_all(connection)
    .await?;
    let mut all: Vec<Statement> = Vec::new();
    for row in rows {
        let text: String = row.try_get("query")?;
        let (name, calls) = (name_of(&text), row.try_get("calls")?);
        let total_ms: f64 = row.try_get("total_exec_time")?;
        match all.iter_mut().find(|statement| statement.name == name) {
            Some(known) => {
                known.calls += calls;
                known.total_ms += total_ms;
            }
            None => all.push(Statement { name, calls, mean_ms: 0.0, total_ms }),
        }
    }
    Ok(all)
}

/// A statement's text begins with the name of its file.
fn name_of(text: &str) -> String {
    let first = text.trim_start().trim_start_matches("-- ");
    match first.split_once(".sql:") {
        Some((file, _)) if !file.contains(char::is_whitespace) => format!("{file}.sql"),
        _ => first.split_whitespace().take(6).collect::<Vec<_>>().join(" "),
    }
}

/// Connects where there is a database to ask.
pub(super) async fn connect(
    config: &Config,
    servers: Option<&Servers>,
) -> Result<Database, BrokerError> {
    let options = match (servers, &config.database_url) {
        (Some(servers), _) => servers.connect_options(),
        (None, Some(url)) => crate::database(url.reveal())?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Counted::new(&options).await?))
}

/// What is counted so far.
pub(super) async fn read(database: &mut Database) -> Result<Option<Snapshot>, BrokerError> {
    match database {
        Some(counted) => Ok(Some(Snapshot::of(counted).await?)),
        None => Ok(None),
    }
}

/// What the database holds at a moment, as it estimates it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) database_bytes: f64,
    pub(super) live_rows: f64,
    pub(super) dead_rows: f64,
    /// Tables of bodies with their indexes, and objects.
    pub(super) artifact_bytes: f64,
}

/// What the database holds now.
pub(super) async fn held(database: &mut Database) -> Result<Option<Held>, BrokerError> {
    let Some(counted) = database else { return Ok(None) };
    let row = sqlx::query(
        "SELECT pg_database_size(current_database())::float8 AS database_bytes,
                (SELECT coalesce(sum(n_live_tup), 0)::float8 FROM pg_stat_user_tables) AS live_rows,
                (SELECT coalesce(sum(n_dead_tup), 0)::float8 FROM pg_stat_user_tables) AS dead_rows,
                (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::float8 FROM pg_inherits
                 WHERE inhparent = 'artifact_body'::regclass)
                + (SELECT coalesce(sum(bytes), 0)::float8 FROM artifact WHERE place = 'object') AS artifact_bytes",
    )
    .fetch_one(&mut counted.connection)
    .await?;
    Ok(Some(Held {
        database_bytes: row.try_get("database_bytes")?,
        live_rows: row.try_get("live_rows")?,
        dead_rows: row.try_get("dead_rows")?,
        artifact_bytes: row.try_get("artifact_bytes")?,
    }))
}

/// Jobs of the epoch with more than one accepted completion.
pub(super) async fn completed_twice(
    database: &mut Database,
    epoch: u64,
) -> Result<Option<u64>, BrokerError> {
    let Some(counted) = database else { return Ok(None) };
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (
             SELECT a.job FROM attempt a JOIN job j ON j.seq = a.job
             WHERE j.epoch = $1 AND a.outcome IN ('completed', 'completed_late')
             GROUP BY a.job HAVING count(*) > 1) AS twice",
    )
    .bind(epoch)
    .fetch_one(&mut counted.connection)
    .await?;
    Ok(u64::try_from(count).ok())
}
