//! Plans of the statements, on tables that are empty, small and large, and while an old snapshot is held.
//!
//! Every statement is explained as the broker's connections run it, and may read none of the tables that grow as a
//! whole, nor an index of one from end to end. For those that serve jobs the index is named too, and how many pages
//! they touch.

use std::collections::BTreeSet;

use rollmill_broker_testing::TestSchema;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, PgPool, Row as _};

use super::statements::every;
use super::tests::Shape;

/// Rows of the large table, unless [`ROWS`] says another number. A million take minutes to insert on a slow machine and
/// give the same plans: the broker's connections use plans that do not depend on statistics of values.
const LARGE: i64 = 150_000;
/// The variable by which `make plans` asks for a million.
const ROWS: &str = "ROLLMILL_PLAN_ROWS";

/// Tables that grow with the work.
const GROWING: [&str; 6] = ["job", "attempt", "artifact", "agent", "device", "audit"];

/// Indexes of tables that grow which hold only what is unfinished or in use now. To read one of them as a whole reads
/// nothing that has been done.
const LIVE: &[&str] = &[
    "job_claim",
    "job_lease",
    "job_held",
    "job_delayed",
    "job_wanted",
    "job_excluded",
    "job_deadline",
    "job_open",
    "agent_draining",
];

/// Statements that read another index without a condition, with the reason.
const UNCONDITIONED: &[(&str, &str)] = &[
    ("audit_forget.sql", "it reads the oldest records, up to a limit"),
    ("kept_bytes.sql", "it adds up what the object store holds, by an index of that alone"),
    ("aztec_old.sql", "it groups the jobs of Aztec by epoch, by an index of those alone"),
];

/// Statements that serve jobs, and the indexes that they use, also on tables that are empty.
const INDEXES: &[(&str, &[&str])] = &[
    ("peek.sql", &["job_claim"]),
    ("claim.sql", &["job_pkey", "agent_pkey"]),
    (
        "complete_many.sql",
        &["job_tenant_id_key", "job_pkey", "artifact_pkey", "agent_pkey", "attempt_job"],
    ),
    ("release_many.sql", &["job_tenant_id_key", "job_pkey", "attempt_job"]),
    ("beat_many.sql", &["job_tenant_id_key", "job_pkey"]),
    ("second_candidates.sql", &["attempt_job"]),
    ("second_free.sql", &["job_pkey"]),
    ("second_claim.sql", &["job_pkey", "agent_pkey"]),
    ("second_beat.sql", &["job_tenant_id_key"]),
    ("second_end.sql", &["job_tenant_id_key"]),
    ("agent_seen_many.sql", &["agent_pkey"]),
    ("artifact_whole.sql", &["artifact_pkey"]),
    ("scrub_next.sql", &["artifact_pkey"]),
    ("artifact_newest.sql", &["artifact_pkey"]),
    ("artifact_put_many.sql", &["epoch_pkey", "job_wanted"]),
    ("artifact_put.sql", &["epoch_pkey"]),
    ("enqueue.sql", &["epoch_pkey"]),
    ("epoch_lock.sql", &["epoch_pkey"]),
    ("epoch_wanted.sql", &["job_of_epoch"]),
    ("epoch_cancel.sql", &["job_of_epoch", "job_pkey"]),
    ("epoch_sweep_jobs.sql", &["job_of_epoch", "job_pkey"]),
    ("epoch_sweep_artifacts.sql", &["artifact_of_epoch"]),
    ("epochs_silent.sql", &["job_of_epoch", "artifact_of_epoch"]),
    ("agents_forget.sql", &["agent_seen"]),
    ("sessions.sql", &["agent_seen"]),
    ("agent_bound.sql", &["agent_seen"]),
    ("view.sql", &["job_tenant_id_key"]),
    ("changes.sql", &["job_change"]),
    ("overdue.sql", &["job_lease", "job_pkey"]),
    ("lease_bound.sql", &["job_lease", "job_pkey"]),
    ("pause_bound.sql", &["job_delayed", "job_pkey"]),
    ("stuck_bound.sql", &["job_pkey"]),
    ("promote.sql", &["job_delayed", "job_pkey"]),
    ("past_deadline.sql", &["job_deadline", "job_pkey"]),
    ("lock.sql", &["job_tenant_id_key"]),
    ("lock_result.sql", &["job_result"]),
    ("cancel.sql", &["job_tenant_id_key", "job_pkey"]),
    ("attempt_failures.sql", &["attempt_job"]),
    ("attempt_end.sql", &["attempt_job"]),
    ("agent_admit_many.sql", &["device_pkey"]),
    ("agent_pardon.sql", &["agent_pkey", "device_pkey", "agent_device"]),
    ("device_agents.sql", &["agent_device"]),
    ("session_open.sql", &["agent_pkey", "job_held", "job_pkey", "attempt_job"]),
    ("session_of.sql", &["agent_pkey"]),
    ("agent_drain.sql", &["agent_pkey"]),
    ("agent_draining.sql", &["agent_pkey"]),
    ("agents_draining.sql", &["agent_draining"]),
    ("audit_list.sql", &["audit_pkey"]),
    ("audit_forget.sql", &["audit_pkey"]),
    ("kept_bytes.sql", &["artifact_object"]),
    ("overview_agents.sql", &["job_held"]),
    ("overview_dead.sql", &["job_dead"]),
    ("overview_jobs.sql", &["job_of_epoch"]),
];

/// Statements with their values, and the most pages that one run may touch with [`LARGE`] rows: a few for each row that it
/// is about, and never the table.
const RUNS: &[(&str, &[&str], u64)] = &[
    ("peek.sql", &["'default'", "'{v1}'", "'{prove-1}'", "'{0}'", "20"], 200),
    (
        "claim.sql",
        &[
            "ARRAY(SELECT seq FROM job WHERE state = 'ready' LIMIT 20)",
            "array_fill('a'::text, '{20}')",
            "30000",
            "3600",
        ],
        2_000,
    ),
    (
        "beat_many.sql",
        &[
            "array_fill('default'::text, '{20}')",
            LEASED,
            "array_fill('a'::text, '{20}')",
            "array_fill(1::bigint, '{20}')",
            "array_fill(true, '{20}')",
            "array_fill(NULL::real, '{20}')",
            "30000",
        ],
        2_000,
    ),
    (
        "complete_many.sql",
        &[
            "array_fill('default'::text, '{20}')",
            LEASED,
            "array_fill('a'::text, '{20}')",
            "array_fill(1::bigint, '{20}')",
            "array_fill(sha256('r'), '{20}')",
            "array_fill('null'::text, '{20}')",
            "'completed'",
        ],
        2_500,
    ),
    ("changes.sql", &["'default'", "7", "NULL", "NULL", "0", "-1", "1000"], 6_000),
    ("audit_list.sql", &["'default'", "9000000000", "100"], 100),
    ("audit_forget.sql", &["86400", "100"], 500),
    ("kept_bytes.sql", &[], 1_500),
    ("scrub_next.sql", &["'default'", "sha256('r')", "-1", "256"], 2_500),
    (
        "session_open.sql",
        &["'default'", "'agent-1'", "'s'", "'i'", "45000", "'released'", "true"],
        200,
    ),
    ("overdue.sql", &["20", "NULL::bigint"], 500),
    ("promote.sql", &["20"], 1_000),
    ("epoch_sweep_jobs.sql", &["'default'", "7", "1", "100"], 8_000),
    ("epoch_sweep_artifacts.sql", &["'default'", "7", "1", "100"], 2_000),
    ("overview_agents.sql", &["'default'", "45000", "600000", "100"], 1_000),
    ("epoch_wanted.sql", &["'default'", "7", "'{leased}'", "'rollup'", "'x'"], 12_000),
];

const LEASED: &str = "ARRAY(SELECT id FROM job WHERE state = 'leased' LIMIT 20)";

fn is_growing(table: &str) -> bool {
    GROWING.contains(&table) || table.starts_with("artifact_body")
}

fn shape(file: &str) -> Shape {
    every().into_iter().find(|shape| shape.file == file).unwrap()
}

async fn prepare(connection: &mut PgConnection, shape: &Shape) {
    let types: Vec<&str> =
        shape.parameters.iter().map(|(_, info)| sqlx::TypeInfo::name(info)).collect();
    let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
    let text = format!("PREPARE planned {types} AS {}", shape.sql);
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.unwrap();
}

/// The plan's nodes, as the server explains the statement with these values.
async fn explain(
    connection: &mut PgConnection,
    shape: &Shape,
    options: &str,
    values: &str,
) -> Value {
    prepare(connection, shape).await;
    let values = if values.is_empty() { String::new() } else { format!("({values})") };
    let text = format!("EXPLAIN ({options}FORMAT JSON) EXECUTE planned{values}");
    let row = sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(&mut *connection).await;
    let row = row.unwrap_or_else(|error| panic!("{}: {error}", shape.file));
    sqlx::raw_sql("DEALLOCATE planned").execute(connection).await.unwrap();
    let text: String = row.try_get_unchecked(0).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[0]["Plan"].clone()
}

fn nodes(plan: &Value) -> Vec<&Value> {
    let children = plan["Plans"].as_array().into_iter().flatten().flat_map(nodes);
    std::iter::once(plan).chain(children).collect()
}

/// Growing tables, each with an index of it that the plan reads without a condition. Unless a limit ends it, such a
/// scan reads the whole index, and costs as much as a scan of the table. The scan that makes a bitmap does not name its
/// table; the node above it does.
fn unconditioned<'a>(plan: &'a Value, table: &'a str) -> Vec<(&'a str, &'a str)> {
    let table = plan["Relation Name"].as_str().unwrap_or(table);
    let index = plan["Index Name"].as_str().filter(|_| plan["Index Cond"].is_null());
    let own = index.filter(|_| is_growing(table)).map(|index| (table, index));
    let children = plan["Plans"].as_array().into_iter().flatten();
    own.into_iter().chain(children.flat_map(|child| unconditioned(child, table))).collect()
}

/// What is wrong with the indexes that the statements read without a condition. For large tables only: on a small one
/// it is cheaper to read all of an index than to search it for each row of a join, and the server plans again once the
/// table has grown.
async fn unconditioned_findings(pool: &PgPool) -> Vec<String> {
    let mut connection = pool.acquire().await.unwrap();
    let mut found = Vec::new();
    for shape in every() {
        let plan = explain(&mut connection, &shape, "", &nulls(&shape)).await;
        let mut read = unconditioned(&plan, "");
        read.retain(|(_, index)| !LIVE.contains(index));
        let is_allowed = UNCONDITIONED.iter().any(|(file, _)| *file == shape.file);
        if is_allowed && read.is_empty() {
            found.push(format!("{}: has a condition; strike it from UNCONDITIONED", shape.file));
        }
        for (table, index) in read.iter().filter(|_| !is_allowed) {
            let file = shape.file;
            found.push(format!("{file}: reads all of {index} of {table}:\n{plan:#}"));
        }
    }
    found
}

fn nulls(shape: &Shape) -> String {
    vec!["NULL"; shape.parameters.len()].join(", ")
}

/// What is wrong with the plans of the statements.
async fn findings(pool: &PgPool, rows: &str) -> Vec<String> {
    let mut connection = pool.acquire().await.unwrap();
    let mut found = Vec::new();
    for shape in every() {
        let plan = explain(&mut connection, &shape, "", &nulls(&shape)).await;
        let all = nodes(&plan);
        for node in &all {
            let table = node["Relation Name"].as_str().unwrap_or_default();
            if node["Node Type"] == "Seq Scan" && is_growing(table) {
                found.push(format!("{rows}: {}: reads all of {table}", shape.file));
            }
        }
        let used: BTreeSet<&str> =
            all.iter().filter_map(|node| node["Index Name"].as_str()).collect();
        let wanted = INDEXES.iter().find(|(file, _)| *file == shape.file);
        for index in wanted.into_iter().flat_map(|(_, indexes)| *indexes) {
            if !used.contains(index) {
                found.push(format!("{rows}: {}: not by {index} but {used:?}", shape.file));
            }
        }
    }
    found
}

/// One job in ten is ready, one in a hundred each is leased, delayed or waits for its input; the others are done, as
/// in a queue that has run for a while.
async fn fill(pool: &PgPool, rows: i64) {
    for text in [
        "INSERT INTO job (tenant, id, kind, version, epoch, rank, class, state, input, result, finished_at,
                          lease_epoch, lease_holder, lease_expires_at, hard_limit_at, ready_at, change)
         SELECT 'default', gen_random_uuid()::text, 'prove-' || n % 3, 'v1', n / 10000, n % 50, 0, s.state,
                sha256(n::text::bytea), CASE WHEN s.state = 'done' THEN sha256(n::text::bytea) END,
                CASE WHEN s.state = 'done' THEN now() END, 1,
                CASE WHEN s.state = 'leased' THEN 'a' END,
                CASE WHEN s.state = 'leased' THEN now() + interval '1 h' END,
                CASE WHEN s.state = 'leased' THEN now() + interval '2 h' END,
                now() + interval '1 h', CASE WHEN s.state = 'done' THEN n END
         FROM generate_series(1, $1) AS n
         CROSS JOIN LATERAL (SELECT CASE WHEN n % 10 = 0 THEN 'ready' WHEN n % 100 = 1 THEN 'leased'
                                         WHEN n % 100 = 2 THEN 'delayed' WHEN n % 100 = 3 THEN 'input_wanted'
                                         ELSE 'done' END AS state) AS s",
        "INSERT INTO attempt (job, lease_epoch, agent, outcome)
         SELECT seq, 1, 'a', CASE state WHEN 'leased' THEN 'running' ELSE 'completed' END
         FROM job WHERE state IN ('leased', 'done') AND seq % $1 >= 0",
        "INSERT INTO artifact (tenant, digest, epoch, bytes, place)
         SELECT 'default', sha256(n::text::bytea), n / 10000, 1, 'row' FROM generate_series(1, $1) AS n
         ON CONFLICT DO NOTHING",
        "INSERT INTO agent (tenant, id, device) SELECT 'default', 'agent-' || n, 'gpu-' || n
         FROM generate_series(1, least($1, 10000)) AS n ON CONFLICT DO NOTHING",
        "INSERT INTO device (tenant, id) SELECT 'default', 'gpu-' || n FROM generate_series(1, least($1, 10000)) AS n
         ON CONFLICT DO NOTHING",
        "INSERT INTO audit (tenant, label, action, detail)
         SELECT 'default', 'me', 'cancel', '' FROM generate_series(1, $1)",
    ] {
        sqlx::query(text).bind(rows).execute(pool).await.unwrap();
    }
    sqlx::query(
        "INSERT INTO artifact (tenant, digest, epoch, bytes, place) VALUES ('default', sha256('r'), 7, 1, 'row')
         ON CONFLICT DO NOTHING",
    )
    .execute(pool)
    .await
    .unwrap();
    sqlx::raw_sql("ANALYZE job, attempt, artifact, agent, device, audit")
        .execute(pool)
        .await
        .unwrap();
}

/// Values as constants: EXECUTE takes no query as a value.
async fn constants(connection: &mut PgConnection, values: &[&str]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let each: Vec<String> =
        values.iter().map(|value| format!("quote_nullable(({value})::text)")).collect();
    let text = format!("SELECT concat_ws(', ', {})", each.join(", "));
    sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(connection).await.unwrap()
}

async fn pages(connection: &mut PgConnection, file: &str, values: &[&str]) -> u64 {
    let shape = shape(file);
    let mut tx = connection.begin().await.unwrap();
    let values = constants(&mut tx, values).await;
    let plan = explain(&mut tx, &shape, "ANALYZE, BUFFERS, TIMING OFF, ", &values).await;
    tx.rollback().await.unwrap();
    let of = |name: &str| plan[name].as_u64().unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

/// Goal: the check for indexes without a condition notices one, also below a bitmap, and only those of tables that
/// grow.
#[tokio::test]
async fn a_plan_that_reads_all_of_an_index_is_noticed() {
    let store = TestSchema::new().await.store().await;
    let mut connection = store.pool().acquire().await.unwrap();
    let (usual, bitmaps) = (
        "SET enable_indexscan = on; SET enable_indexonlyscan = on",
        "SET enable_indexscan = off; SET enable_indexonlyscan = off",
    );
    for (settings, sql, expected) in [
        (usual, "SELECT seq FROM job ORDER BY seq", Some(("job", "job_pkey"))),
        (usual, "SELECT seq FROM job WHERE seq = 7", None),
        (usual, "SELECT number FROM epoch ORDER BY tenant, number", None),
        (
            bitmaps,
            "SELECT * FROM agent WHERE draining_by IS NOT NULL",
            Some(("agent", "agent_draining")),
        ),
    ] {
        sqlx::raw_sql(settings).execute(&mut *connection).await.unwrap();
        let text = AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {sql}"));
        let row = sqlx::raw_sql(text).fetch_one(&mut *connection).await.unwrap();
        let text: String = row.try_get_unchecked(0).unwrap();
        let plan = serde_json::from_str::<Value>(&text).unwrap()[0]["Plan"].clone();
        let expected: Vec<(&str, &str)> = expected.into_iter().collect();
        assert_eq!(unconditioned(&plan, ""), expected, "{sql}: {plan:#}");
    }
}

/// Goal: no statement degrades as its tables grow, nor because they were empty when it was prepared. Method: see the
/// module.
#[tokio::test]
async fn every_statement_uses_its_index_on_empty_small_and_large_tables() {
    let store = TestSchema::new().await.store().await;
    sqlx::raw_sql("SELECT artifact_body_partition(n) FROM generate_series(1, 3) AS n; ANALYZE")
        .execute(store.pool())
        .await
        .unwrap();
    let mut found = findings(store.pool(), "empty").await;
    fill(store.pool(), 1_000).await;
    found.extend(findings(store.pool(), "1,000 rows").await);
    let large = std::env::var(ROWS).map_or(LARGE, |rows| rows.parse().unwrap());
    println!("{large} rows");
    fill(store.pool(), large).await;
    found.extend(findings(store.pool(), "large").await);
    found.extend(unconditioned_findings(store.pool()).await);
    assert!(found.is_empty(), "{}", found.join("\n"));

    // A sweep reads nothing of an epoch that is open.
    sqlx::raw_sql(
        "UPDATE epoch SET state = 'gone', outcome = 'final', closed_at = now(), gone_at = now() WHERE number = 7",
    )
    .execute(store.pool())
    .await
    .unwrap();
    let mut connection = store.pool().acquire().await.unwrap();
    let mut found = Vec::new();
    for (file, values, most) in RUNS {
        let pages = pages(&mut connection, file, values).await;
        println!("{file}: {pages} pages");
        if pages > *most {
            found.push(format!("{file}: {pages} pages, at most {most} are expected"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Fault: somebody holds a snapshot, so that dead rows cannot be removed. Goal: the plan stays, and a peek costs what
/// lies dead before the first ready job, and no more.
#[tokio::test]
async fn a_held_snapshot_costs_a_peek_the_dead_rows_and_no_more() {
    const DEAD: i64 = 5_000;
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    sqlx::raw_sql("SELECT artifact_body_partition(1)").execute(store.pool()).await.unwrap();
    fill(store.pool(), 1_000).await;
    let mut holder = PgConnection::connect_with(&schema.connect_options()).await.unwrap();
    let mut snapshot = holder.begin().await.unwrap();
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM job")
        .execute(&mut *snapshot)
        .await
        .unwrap();
    // Jobs of the oldest epoch come and go.
    sqlx::query(
        "INSERT INTO job (tenant, id, kind, version, epoch, rank, class, input)
         SELECT 'default', gen_random_uuid()::text, 'prove-1', 'v1', 0, 60, 0, sha256(n::text::bytea)
         FROM generate_series(1, $1) AS n",
    )
    .bind(DEAD)
    .execute(store.pool())
    .await
    .unwrap();
    sqlx::raw_sql(
        "UPDATE job SET state = 'done', result = sha256('r'), finished_at = now() WHERE rank = 60",
    )
    .execute(store.pool())
    .await
    .unwrap();
    sqlx::raw_sql("VACUUM job").execute(store.pool()).await.unwrap();
    assert_eq!(findings(store.pool(), "held snapshot").await, [] as [String; 0]);
    let mut connection = store.pool().acquire().await.unwrap();
    let (file, values, most) = RUNS[0];
    let pages = pages(&mut connection, file, values).await;
    println!("{file}: {pages} pages with {DEAD} dead rows");
    assert!(pages < most + 2 * DEAD.unsigned_abs(), "{pages} pages");
    snapshot.rollback().await.unwrap();
}
