//! The claim's plan: by its index, whatever the table holds and whatever the planner knows.

use crate::support::Bench;

async fn assert_uses_the_index(bench: &Bench, rows: u32) {
    for generic in [false, true] {
        let plan = bench.store.explain_peek(generic).await.unwrap();
        assert!(plan.contains("Index Scan using job_claim"), "{rows} rows, {generic}:\n{plan}");
        assert!(!plan.contains("Sort"), "{rows} rows, {generic}:\n{plan}");
    }
}

/// Goal: the claim does not degrade as the table grows, nor when most of it is finished jobs.
#[tokio::test]
async fn the_peek_uses_its_index_at_0_1000_and_50000_rows() {
    let bench = Bench::new().await;
    assert_uses_the_index(&bench, 0).await;
    for (rows, add) in [(1_000, 1_000), (50_000, 49_000)] {
        fill(&bench, add).await;
        bench.sql("ANALYZE job").await;
        assert_uses_the_index(&bench, rows).await;
    }
}

/// Goal: a claim touches a few pages, not the table. Method: buffers of one peek, counted by the
/// server, at 50,000 rows.
#[tokio::test]
async fn a_peek_reads_few_buffers_at_50000_rows() {
    let bench = Bench::new().await;
    fill(&bench, 50_000).await;
    bench.sql("ANALYZE job").await;
    let peek = format!(
        "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT * FROM job
         WHERE seq = ANY (ARRAY(SELECT seq FROM job WHERE state = 'ready' AND tenant = 'default'
           AND version = 'v1' AND kind = 'prove-1' AND class = 0
           ORDER BY epoch, rank DESC, seq LIMIT {}))",
        20
    );
    let row = sqlx::raw_sql(sqlx::AssertSqlSafe(peek)).fetch_one(bench.store.pool()).await.unwrap();
    let text: String = sqlx::Row::try_get_unchecked(&row, 0).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
    let top = &plan[0]["Plan"];
    let buffers =
        top["Shared Hit Blocks"].as_u64().unwrap() + top["Shared Read Blocks"].as_u64().unwrap();
    assert!(buffers < 200, "{buffers} buffers:\n{plan:#}");
}

#[tokio::test]
async fn a_broker_refuses_to_serve_without_the_claim_index() {
    let bench = Bench::new().await;
    bench.store.check().await.unwrap();
    bench.sql("DROP INDEX job_claim").await;
    let error = bench.store.check().await.unwrap_err();
    assert_eq!(error.code(), "BRK-002");
    assert!(error.to_string().contains("job_claim"), "{error}");
}

/// One job in five is ready; the others are done, as in a queue that has run for a while.
async fn fill(bench: &Bench, rows: i64) {
    sqlx::query(
        "INSERT INTO job (tenant, id, kind, version, epoch, rank, class, state, input, result, finished_at)
         SELECT 'default', gen_random_uuid()::text, 'prove-' || n % 3, 'v1', n / 100, n % 50, 0,
                CASE WHEN n % 5 = 0 THEN 'ready' ELSE 'done' END, '\\x00',
                CASE WHEN n % 5 <> 0 THEN '\\x00'::bytea END, now()
         FROM generate_series(1, $1) AS n",
    )
    .bind(rows)
    .execute(bench.store.pool())
    .await
    .unwrap();
}
