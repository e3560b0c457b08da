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

use runs::{LISTS, RUNS};

use super::statements::every;
use super::tests::Shape;

mod runs;

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
    ("session_return.sql", &["agent_pkey", "job_held", "job_pkey", "attempt_job"]),
    ("session_open.sql", &["agent_pkey"]),
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

fn is_growing(table: &str) -> bool {
    GROWING.contains(&table) || table.starts_with("artifact_body")
}

fn shape(file: &str) -> Shape {
    every().into_iter().find(|shape| shape.file == file).unwrap()
}

async fn prepare(connection: &mut PgConnection, shape: &Shape, name: &str) {
    let types: Vec<&str> =
        shape.parameters.iter().map(|(_, info)| sqlx::TypeInfo::name(info)).collect();
    let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
    let text = format!("PREPARE {name} {types} AS {}", shape.sql);
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.unwrap();
}

/// The plan's nodes, as the server explains the statement with these values.
async fn explain(
    connection: &mut PgConnection,
    shape: &Shape,
    options: &str,
    values: &str,
) -> Value {
    prepare(connection, shape, "planned").await;
    let plan = explain_prepared(connection, shape, "planned", options, values).await;
    sqlx::raw_sql("DEALLOCATE planned").execute(connection).await.unwrap();
    plan
}

async fn explain_prepared(
    connection: &mut PgConnection,
    shape: &Shape,
    name: &str,
    options: &str,
    values: &str,
) -> Value {
    let values = if values.is_empty() { String::new() } else { format!("({values})") };
    let text = format!("EXPLAIN ({options}FORMAT JSON) EXECUTE {name}{values}");
    let row = sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(&mut *connection).await;
    let row = row.unwrap_or_else(|error| panic!("{}: {error}", shape.file));
    let text: String = row.try_get_unchecked(0).unwrap();
    let explained: Value = serde_json::from_str(&text).unwrap();
    assert!(explained[0]["JIT"].is_null(), "{}: the server compiles it", shape.file);
    explained[0]["Plan"].clone()
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

/// Growing tables, each with a condition on an array that is no condition of an index, so that all rows that the index
/// finds are compared with the array. The server chooses that where it takes a table for empty, as it does with a new one
/// until it is analyzed, which for a new epoch is after the jobs came. Whoever means it hides the column in an expression.
fn filtered_by_array(plan: &Value) -> Vec<(&str, &str)> {
    let is_array_of_column = |filter: &&str| {
        let parts: Vec<&str> = filter.split(" = ANY (").collect();
        parts.windows(2).any(|pair| {
            let is_column = pair[0].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            is_column && pair[1].starts_with('$')
        })
    };
    let mut found = Vec::new();
    for node in nodes(plan) {
        let table = node["Relation Name"].as_str().filter(|table| is_growing(table));
        let filter = node["Filter"].as_str().filter(is_array_of_column);
        found.extend(table.zip(filter));
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
        for (table, filter) in filtered_by_array(&plan) {
            let file = shape.file;
            found.push(format!("{rows}: {file}: compares rows of {table} with an array: {filter}"));
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
}

async fn execute(pool: &PgPool, text: &'static str) {
    sqlx::raw_sql(text).execute(pool).await.unwrap();
}

async fn analyze(pool: &PgPool) {
    execute(pool, "ANALYZE").await;
}

/// Ends an epoch, so that a sweep reads something of it.
async fn end_epoch(pool: &PgPool, number: i64) {
    let text = "UPDATE epoch SET state = 'gone', outcome = 'final', closed_at = now(), gone_at = now() WHERE number = $1";
    sqlx::query(text).bind(number).execute(pool).await.unwrap();
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

/// The plan of a prepared statement with what happened when it ran with these values.
async fn run(connection: &mut PgConnection, file: &str, name: &str, values: &[&str]) -> Value {
    let values = constants(connection, values).await;
    let options = "ANALYZE, BUFFERS, TIMING OFF, ";
    explain_prepared(connection, &shape(file), name, options, &values).await
}

/// Rows that the scans of a plan that ran looked at, those that a condition removed included.
fn rows_of(plan: &Value) -> f64 {
    let of = |node: &Value, name: &str| node[name].as_f64().unwrap_or(0.0);
    let scans = nodes(plan).into_iter().filter(|node| {
        node["Node Type"].as_str().is_some_and(|kind| kind.ends_with("Scan"))
            && (node["Relation Name"].is_string() || node["Index Name"].is_string())
    });
    scans
        .map(|node| {
            let removed = ["Rows Removed by Filter", "Rows Removed by Index Recheck"];
            let removed: f64 = removed.iter().map(|name| of(node, name)).sum();
            (of(node, "Actual Rows") + removed) * of(node, "Actual Loops")
        })
        .sum()
}

async fn pages(connection: &mut PgConnection, file: &str, values: &[&str]) -> u64 {
    let mut tx = connection.begin().await.unwrap();
    prepare(&mut tx, &shape(file), "planned").await;
    let plan = run(&mut tx, file, "planned", values).await;
    tx.rollback().await.unwrap();
    sqlx::raw_sql("DEALLOCATE planned").execute(connection).await.unwrap();
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

/// Goal: the check for arrays notices one that no index serves, and takes one that an index serves or an expression hides.
#[tokio::test]
async fn a_plan_that_compares_rows_with_an_array_is_noticed() {
    let store = TestSchema::new().await.store().await;
    let mut connection = store.pool().acquire().await.unwrap();
    for (condition, is_noticed) in [
        ("tenant = $1 AND kind = ANY ($2)", true),
        ("tenant = $1 AND kind || '' = ANY ($2)", false),
        ("tenant = $1 AND kind = $2[1]", false),
    ] {
        let text = format!(
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
             PREPARE planned (text, text[]) AS SELECT seq FROM job WHERE {condition}"
        );
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *connection).await.unwrap();
        let text = "EXPLAIN (FORMAT JSON) EXECUTE planned('t', '{a,b}')";
        let row = sqlx::raw_sql(text).fetch_one(&mut *connection).await.unwrap();
        sqlx::raw_sql("DEALLOCATE planned").execute(&mut *connection).await.unwrap();
        let text: String = row.try_get_unchecked(0).unwrap();
        let plan = serde_json::from_str::<Value>(&text).unwrap()[0]["Plan"].clone();
        assert_eq!(
            filtered_by_array(&plan).len(),
            usize::from(is_noticed),
            "{condition}: {plan:#}"
        );
    }
}

/// Goal: no statement degrades as its tables grow, nor because they were empty when it was prepared. Method: see the
/// module.
#[tokio::test]
async fn every_statement_uses_its_index_on_empty_small_and_large_tables() {
    let store = TestSchema::new().await.store().await;
    execute(store.pool(), "SELECT artifact_body_partition(n) FROM generate_series(1, 3) AS n")
        .await;
    let mut found = findings(store.pool(), "new").await;
    analyze(store.pool()).await;
    found.extend(findings(store.pool(), "empty").await);
    fill(store.pool(), 1_000).await;
    analyze(store.pool()).await;
    found.extend(findings(store.pool(), "1,000 rows").await);
    let large = std::env::var(ROWS).map_or(LARGE, |rows| rows.parse().unwrap());
    println!("{large} rows");
    fill(store.pool(), large).await;
    analyze(store.pool()).await;
    found.extend(findings(store.pool(), "large").await);
    found.extend(unconditioned_findings(store.pool()).await);
    assert!(found.is_empty(), "{}", found.join("\n"));

    // A sweep reads nothing of an epoch that is open.
    end_epoch(store.pool(), 7).await;
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

/// Fault: a broker planned its statements while there was nothing, and the statistics of the server, which come a minute or
/// more after the rows, still say so. Goal: each looks at the rows that it is about; by the first columns of an index alone
/// it would look at all.
#[tokio::test]
async fn plans_of_when_the_tables_were_empty_find_rows_by_their_indexes() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let mut text = String::from("SELECT artifact_body_partition(1);");
    for table in GROWING.iter().chain(&["artifact_body_1"]) {
        text += &format!("ALTER TABLE {table} SET (autovacuum_enabled = off);");
    }
    sqlx::raw_sql(AssertSqlSafe(text)).execute(store.pool()).await.unwrap();
    let mut connection = store.pool().acquire().await.unwrap();
    let name = |file: &str| format!("planned_{}", file.trim_end_matches(".sql"));
    for (file, _, _) in RUNS {
        let shape = shape(file);
        prepare(&mut connection, &shape, &name(file)).await;
        explain_prepared(&mut connection, &shape, &name(file), "", &nulls(&shape)).await;
    }
    fill(store.pool(), 20_000).await;
    execute(
        store.pool(),
        "INSERT INTO artifact_body (tenant, digest, epoch, body)
         SELECT 'default', sha256(n::text::bytea), 1, n::text::bytea FROM generate_series(1, 10000) AS n",
    )
    .await;
    end_epoch(store.pool(), 0).await;
    let jit: String = sqlx::query_scalar("SHOW jit").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(jit, "off");
    let mut found = Vec::new();
    for (file, values, _) in RUNS {
        let mut tx = connection.begin().await.unwrap();
        // There are fewer epochs here than in the large tables.
        let values: Vec<&str> =
            values.iter().map(|value| if *value == "7" { "0" } else { value }).collect();
        let rows = rows_of(&run(&mut tx, file, &name(file), &values).await);
        tx.rollback().await.unwrap();
        println!("{file}: {rows} rows");
        if rows > 2_000.0 && !LISTS.contains(file) {
            found.push(format!("{file}: looks at {rows} rows"));
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
    execute(store.pool(), "SELECT artifact_body_partition(1)").await;
    fill(store.pool(), 1_000).await;
    analyze(store.pool()).await;
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
    execute(
        store.pool(),
        "UPDATE job SET state = 'done', result = sha256('r'), finished_at = now() WHERE rank = 60",
    )
    .await;
    execute(store.pool(), "VACUUM job").await;
    assert_eq!(findings(store.pool(), "held snapshot").await, [] as [String; 0]);
    let mut connection = store.pool().acquire().await.unwrap();
    let (file, values, most) = RUNS[0];
    let pages = pages(&mut connection, file, values).await;
    println!("{file}: {pages} pages with {DEAD} dead rows");
    assert!(pages < most + 2 * DEAD.unsigned_abs(), "{pages} pages");
    snapshot.rollback().await.unwrap();
}
