//! What the compiler cannot know of a statement: that its text fits the schema, and that the schema's
//! names are those of the enums. On a migrated PostgreSQL.

use std::collections::BTreeSet;

use rollmill_broker_client::{
    AgentId, AttemptOutcome, Digest, EpochOutcome, EpochState, FailureClass, JobState, KindName,
    Named, NewJob, Role,
};
use rollmill_broker_testing::TestSchema;
use sqlx::postgres::{PgConnection, PgPool, PgTypeInfo, Postgres};
use sqlx::{Either, Executor as _, SqlSafeStr as _, Type, TypeInfo as _};

use super::super::{Place, Store, Tenant};
use super::Statement as _;
use super::parameter::{As, Parameter};
use super::statements::{AgentBound, AgentPardon, every};

/// What a row struct expects of a column.
#[derive(Debug)]
pub(crate) struct Column {
    name: &'static str,
    fits: fn(&PgTypeInfo) -> bool,
    nullable: bool,
}

impl Column {
    pub(crate) fn of<T: Field>(name: &'static str) -> Self {
        Self { name, fits: T::compatible, nullable: T::NULLABLE }
    }
}

/// What a statement's struct says of it.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) file: &'static str,
    pub(crate) sql: &'static str,
    pub(crate) parameters: Vec<(&'static str, PgTypeInfo)>,
    pub(crate) columns: Vec<Column>,
}

/// The type of a parameter as it is sent.
pub(crate) fn parameter<P: Parameter>(name: &'static str) -> (&'static str, PgTypeInfo) {
    (name, <P::Sql as Type<Postgres>>::type_info())
}

/// A type of a column.
pub(crate) trait Field: Type<Postgres> {
    const NULLABLE: bool = false;
}

impl Field for bool {}
impl Field for i32 {}
impl Field for i64 {}
impl Field for f32 {}
impl Field for f64 {}
impl Field for String {}
impl Field for Vec<String> {}
impl Field for Vec<u8> {}
impl<S: Type<Postgres>, T> Field for As<S, T> {}
impl<T: Field> Field for Option<T> {
    const NULLABLE: bool = true;
}

impl Shape {
    /// Names of the parameters in the head of the file: lines of `--   $1 name`.
    fn head(&self) -> Vec<&'static str> {
        let parameters = self.sql.lines().filter_map(|line| line.strip_prefix("--   $"));
        let mut names = Vec::new();
        for (n, line) in parameters.enumerate() {
            let (number, name) = line.split_once(' ').unwrap_or((line, ""));
            assert_eq!(number, (n + 1).to_string(), "{}: parameters are in order", self.file);
            names.push(name);
        }
        names
    }

    /// What differs from what the server says of the statement.
    async fn findings(&self, pool: &sqlx::PgPool) -> Vec<String> {
        let mut found = Vec::new();
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| *name).collect();
        if names != self.head() {
            found.push(format!("the head names {:?}, the struct {names:?}", self.head()));
        }
        let described = match pool.describe(self.sql.into_sql_str()).await {
            Ok(described) => described,
            Err(error) => return vec![error.to_string()],
        };
        if let Some(Either::Left(types)) = described.parameters() {
            let wanted: Vec<&str> = types.iter().map(|info| info.name()).collect();
            let bound: Vec<&str> = self.parameters.iter().map(|(_, info)| info.name()).collect();
            if wanted != bound {
                found.push(format!("takes {wanted:?}, the struct binds {bound:?}"));
            }
        }
        let columns: Vec<&str> = described.columns().iter().map(sqlx::Column::name).collect();
        let fields: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        if columns != fields {
            found.push(format!("returns {columns:?}, the row struct has {fields:?}"));
            return found;
        }
        for (n, (column, field)) in described.columns().iter().zip(&self.columns).enumerate() {
            let info = sqlx::Column::type_info(column);
            if !(field.fits)(info) {
                found.push(format!(
                    "column {} is {}, not the field's type",
                    field.name,
                    info.name()
                ));
            }
            // Of an expression the server says nothing; of a column it knows whether it can be NULL.
            if described.nullable(n).is_some_and(|nullable| nullable && !field.nullable) {
                found.push(format!("column {} can be NULL, its field cannot", field.name));
            }
        }
        found
    }
}

/// Goal: a statement cannot differ from its struct without being named. Method: the server prepares every
/// file and describes it.
#[tokio::test]
async fn every_statement_fits_the_schema_and_its_structs() {
    let store = TestSchema::new().await.store().await;
    let mut found = Vec::new();
    for shape in every() {
        let findings = shape.findings(store.pool()).await;
        found.extend(findings.into_iter().map(|text| format!("{}: {text}", shape.file)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Goal: no file is forgotten, and none lies about its name.
#[test]
fn every_file_of_sql_is_a_statement_and_names_itself() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let statements: BTreeSet<String> = every().iter().map(|shape| shape.file.to_owned()).collect();
    assert_eq!(files, statements, "left: files, right: statements");
    assert_eq!(every().len(), statements.len(), "two statements share a file");
    for shape in every() {
        let head = format!("-- {}: ", shape.file);
        assert!(shape.sql.starts_with(&head), "{} begins with {head:?}", shape.file);
    }
}

/// The texts in single quotes.
fn quoted(sql: &str) -> BTreeSet<&str> {
    sql.split('\'').skip(1).step_by(2).collect()
}

fn names<T: Named>() -> BTreeSet<&'static str> {
    T::VALUES.iter().map(|value| value.name()).collect()
}

/// Goal: a name in a statement is a name of an enum. A misspelt one would select nothing, silently.
#[test]
fn every_name_in_a_statement_is_one_of_an_enum() {
    let known: BTreeSet<&str> = [
        names::<JobState>(),
        names::<AttemptOutcome>(),
        names::<FailureClass>(),
        names::<Place>(),
        names::<EpochState>(),
        names::<EpochOutcome>(),
        BTreeSet::from([
            // Hides a column from the planner.
            "",
            "/",
            "{}",
            "1 day",
            "1 minute",
            "UTF8",
            "_sqlx_migrations",
            "artifact_body",
            "artifact_body_",
            "aztec.%",
            "client backend",
            "rollmill_second_lease",
            "server_version",
            "server_version_num",
            // The label of a job whose epoch is traced.
            "traceparent",
            // What agents report of a job, and the type of JSON that it should have.
            "witness_seconds",
            "proving_seconds",
            "number",
            "its deadline passed before it was done",
        ]),
    ]
    .into_iter()
    .flatten()
    .collect();
    for shape in every() {
        let code: String = shape
            .sql
            .lines()
            .filter(|line| !line.starts_with("--"))
            .flat_map(|line| [line, "\n"])
            .collect();
        let unknown: Vec<&str> = quoted(&code).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", shape.file);
    }
}

/// Goal: the values that a table accepts are those of its enum.
#[tokio::test]
async fn every_check_of_a_table_lists_the_names_of_its_enum() {
    let store = TestSchema::new().await.store().await;
    let checks = [
        ("job_state_check", names::<JobState>()),
        ("job_failure_class_check", names::<FailureClass>()),
        ("attempt_outcome_check", names::<AttemptOutcome>()),
        ("attempt_failure_class_check", names::<FailureClass>()),
        ("token_role_check", names::<Role>()),
        ("artifact_place_check", names::<Place>()),
        ("epoch_state_check", names::<EpochState>()),
        ("epoch_outcome_check", names::<EpochOutcome>()),
    ];
    // A fleet is stored as agents with a mark, which a release that knows no fleets can read.
    let stored =
        |constraint: &str, name: &&str| constraint != "token_role_check" || *name != "fleet";
    for (constraint, wanted) in checks {
        let wanted: BTreeSet<&str> =
            wanted.into_iter().filter(|name| stored(constraint, name)).collect();
        let text: String = sqlx::query_scalar(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint
             WHERE conname = $1 AND connamespace = current_schema()::regnamespace",
        )
        .bind(constraint)
        .fetch_one(store.pool())
        .await
        .unwrap();
        assert_eq!(quoted(&text), wanted, "{constraint}: left: the table, right: the enum");
    }
}

/// Fault: a row holds what this release does not know. It is an error that names the column, never
/// another value.
#[tokio::test]
async fn a_value_that_is_no_name_is_an_error_with_its_column() {
    use super::{AgentRow, QueueRow, Row as _};
    let store = TestSchema::new().await.store().await;
    let sql = "SELECT 'a'::text AS id, NULL::text AS info, -1 AS rejected, false AS quarantined,
                      NULL::text AS draining_by, 0::float8 AS last_seen_seconds, 0::bigint AS leases";
    let row = sqlx::query(sql).fetch_one(store.pool()).await.unwrap();
    let error = AgentRow::read(&row).unwrap_err();
    assert_eq!(error.code(), "BRK-034");
    assert!(error.to_string().contains("rejected"), "{error}");

    let sql = "SELECT 'default'::text AS tenant, 'leaf'::text AS kind, 'v1'::text AS version,
                      0::smallint AS class, 'lost'::text AS state, 1::bigint AS epoch, 1::bigint AS count,
                      0::float8 AS oldest_seconds, 1::bigint AS rank, NULL::float8 AS deadline_seconds";
    let row = sqlx::query(sql).fetch_one(store.pool()).await.unwrap();
    let error = QueueRow::read(&row).unwrap_err();
    assert!(error.to_string().contains("`lost` is no job state"), "{error}");
}

/// Runs `statement` in a transaction while another one has locked the row that `lock` finds for `first`. Once the
/// statement waits, the other one locks the row of `second`, which must be free, and both end.
async fn waits_for_the_first_row(
    pool: &PgPool,
    lock: &'static str,
    [first, second]: [&str; 2],
    statement: impl AsyncFnOnce(&mut PgConnection),
) {
    let mut other = pool.begin().await.unwrap();
    sqlx::query(lock).bind(first).fetch_one(&mut *other).await.unwrap();
    let mut own = pool.begin().await.unwrap();
    let pid = "SELECT pg_backend_pid()";
    let pid: i32 = sqlx::query_scalar(pid).fetch_one(&mut *own).await.unwrap();
    let stated = async {
        let connection: &mut PgConnection = &mut own;
        statement(connection).await;
        own.commit().await.unwrap();
    };
    let locked = async {
        let waiting = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE pid = $1 AND NOT granted)";
        let waits = async || -> bool {
            sqlx::query_scalar(waiting).bind(pid).fetch_one(pool).await.unwrap()
        };
        while !waits().await {}
        sqlx::query(lock).bind(second).fetch_one(&mut *other).await.unwrap();
        other.commit().await.unwrap();
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, async { tokio::join!(stated, locked) }).await.unwrap();
}

const LOCK_AGENT: &str = "SELECT id FROM agent WHERE id = $1 FOR NO KEY UPDATE NOWAIT";

/// Fault: agents ask for work while the clock's step back is mended, each in its own order, and wait for each other. Goal:
/// one order. Method: the rows lie in the other one; the first of them is locked, and the second is free meanwhile.
#[tokio::test]
async fn agents_in_the_future_are_locked_in_the_order_in_which_they_are_admitted() {
    let store = TestSchema::new().await.store().await;
    for id in ["b", "a"] {
        let text = "INSERT INTO agent (tenant, id, last_seen_at) VALUES ('default', $1, now() + interval '1 hour')";
        sqlx::query(text).bind(id).execute(store.pool()).await.unwrap();
    }
    waits_for_the_first_row(
        store.pool(),
        LOCK_AGENT,
        ["a", "b"],
        async |own: &mut PgConnection| {
            AgentBound {}.run(own).await.unwrap();
        },
    )
    .await;
    let left = "SELECT count(*) FROM agent WHERE last_seen_at > now()";
    let left: i64 = sqlx::query_scalar(left).fetch_one(store.pool()).await.unwrap();
    assert_eq!(left, 0);
}

/// Fault: an agent is pardoned while another one of its device is pardoned or charged, and the two wait for each other.
/// Goal: agents are locked in the order of their ids, whichever is named, and the device after all of them.
#[tokio::test]
async fn a_pardon_locks_the_agents_of_a_device_in_order_and_then_the_device() {
    let store = TestSchema::new().await.store().await;
    sqlx::raw_sql(
        "INSERT INTO device (tenant, id, rejected, quarantined_at) VALUES ('default', 'gpu', 3, now());
         INSERT INTO agent (tenant, id, device, rejected, quarantined_at)
         VALUES ('default', 'b', 'gpu', 3, now()), ('default', 'a', 'gpu', 0, now())",
    )
    .execute(store.pool())
    .await
    .unwrap();
    // An agent by its id, or a device.
    let lock = "WITH a AS MATERIALIZED (SELECT id FROM agent WHERE id = $1 FOR NO KEY UPDATE NOWAIT),
                     d AS MATERIALIZED (SELECT id FROM device WHERE id = $1 FOR NO KEY UPDATE NOWAIT)
                SELECT id FROM a UNION ALL SELECT id FROM d";
    let (tenant, agent): (Tenant, AgentId) = (Tenant::default(), "b".parse().unwrap());
    for second in ["b", "gpu"] {
        let again = "UPDATE agent SET quarantined_at = now()";
        sqlx::query(again).execute(store.pool()).await.unwrap();
        let (tenant, agent) = (&tenant, &agent);
        let pardon = async |own: &mut PgConnection| {
            let pardoned = AgentPardon { tenant, agent }.all(own).await.unwrap();
            assert_eq!(pardoned.len(), 1);
        };
        waits_for_the_first_row(store.pool(), lock, ["a", second], pardon).await;
    }
    let left = "SELECT (SELECT count(*) FROM agent WHERE quarantined_at IS NOT NULL OR rejected > 0)
                     + (SELECT count(*) FROM device WHERE quarantined_at IS NOT NULL OR rejected > 0)";
    let left: i64 = sqlx::query_scalar(left).fetch_one(store.pool()).await.unwrap();
    assert_eq!(left, 0);
}

/// Fault: jobs are enqueued again while they are replayed or cancelled, and the two wait for each other. Goal: one
/// order, that of their numbers. Method: the ids are in the other one.
#[tokio::test]
async fn jobs_that_are_enqueued_again_are_locked_in_the_order_of_their_numbers() {
    let store = TestSchema::new().await.store().await;
    let (tenant, epoch) = (Tenant::default(), 7);
    let text = "INSERT INTO epoch (tenant, number) VALUES ('default', 7)";
    sqlx::query(text).execute(store.pool()).await.unwrap();
    let job = |input: &[u8]| {
        let kind: KindName = "leaf".parse().unwrap();
        NewJob::new(epoch, &kind, "v1".parse().unwrap(), Digest::of(input))
    };
    let mut jobs = [job(b"one"), job(b"two")];
    jobs.sort_by(|a, b| b.id.cmp(&a.id));
    for job in &jobs {
        let enqueue = Store::enqueue_statement(&tenant, &[job]).unwrap();
        enqueue.run(store.pool()).await.unwrap();
    }
    let [first, second] = &jobs;
    let enqueue = Store::enqueue_statement(&tenant, &[second, first]).unwrap();
    let lock = "SELECT id FROM job WHERE id = $1 FOR NO KEY UPDATE NOWAIT";
    let ids = [first.id.to_string(), second.id.to_string()];
    let again = async |own: &mut PgConnection| {
        enqueue.run(own).await.unwrap();
    };
    waits_for_the_first_row(store.pool(), lock, ids.each_ref().map(String::as_str), again).await;
}
