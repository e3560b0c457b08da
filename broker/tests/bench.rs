//! `rollmill-broker bench` as anybody runs it: brokers in processes of their own over a durable PostgreSQL. What is
//! checked are results and counts, never seconds.

use serde_json::Value;

use crate::support::program;

fn bench(arguments: &[&str]) -> Value {
    let output = program().args(["bench", "--json"]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    serde_json::from_str(&text).unwrap()
}

/// Calls of the statements that serve jobs, by file. What a broker does by itself is not among them.
fn calls(report: &Value, files: &[&str]) -> Vec<u64> {
    let all = report["database"]["statements"].as_array();
    let all =
        all.expect("the server has no pg_stat_statements: install PostgreSQL's contrib package");
    let of = |file: &&str| {
        let name = format!("{file}.sql");
        all.iter().filter(|s| s["name"] == *name).map(|s| s["calls"].as_u64().unwrap()).sum()
    };
    files.iter().map(of).collect()
}

/// Statements that write and commit, each alone.
const WRITES: [&str; 4] = ["artifact_put_many", "enqueue", "claim", "complete_many"];
const READS: [&str; 4] = ["artifact_whole", "view", "peek", "artifact_newest"];
/// The way of requests that are not as usual: a transaction with several statements.
const APART: [&str; 4] = ["lock", "complete", "agent_admit", "heartbeat"];

/// Goal: one job alone, from its upload to its result, costs few statements and commits. Gate: docs/adr/0033.
#[test]
fn a_lone_job_costs_five_commits_and_twelve_statements_at_most() {
    let report =
        bench(&["--jobs", "1", "--agents", "1", "--artifact-bytes", "2000", "--heartbeats", "0"]);
    assert_eq!(report["lost"], 0);
    // The input and the result; one enqueue, one grant, one completion.
    assert_eq!(calls(&report, &WRITES), [2, 1, 1, 1]);
    let reads = calls(&report, &READS);
    // The input is checked, the job is returned to the producer, and read once more by the benchmark.
    assert_eq!((reads[0], reads[3]), (1, 1));
    assert!(reads[1] <= 2, "{reads:?}");
    // One peek finds the job; others found none, when the agent came and after it left.
    assert!((1..=3).contains(&reads[2]), "{reads:?}");
    assert_eq!(calls(&report, &APART), [0; 4]);
}

/// Goal: under load many jobs share a statement, and no heartbeat or completion is rejected.
#[test]
fn jobs_of_a_batch_share_their_statements() {
    let jobs = 3000;
    let report = bench(&["--jobs", "3000", "--agents", "300", "--heartbeats", "2"]);
    assert_eq!(report["lost"], 0);
    assert_eq!(report["twice"], 0);
    let rejected = report["rejected"].as_array().unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    let writes = calls(&report, &WRITES);
    assert_eq!(writes[1], 3, "enqueues of 1,000 jobs");
    let all = [&WRITES[..], &READS, &["beat_many", "agent_admit_many"]].concat();
    let count: u64 = calls(&report, &all).iter().sum();
    assert!(count < jobs, "{count} statements for {jobs} jobs");
    assert_eq!(calls(&report, &APART), [0; 4]);
}

/// Fault: silent connections, half heads and bodies of a byte a second, several for each agent. Work goes on, and no
/// heartbeat or completion is rejected.
#[test]
fn hostile_connections_stop_no_agent() {
    let report =
        bench(&["--jobs", "1000", "--agents", "50", "--heartbeats", "1", "--hostile", "300"]);
    assert_eq!(report["lost"], 0);
    assert_eq!(report["hostile"], 300);
    assert!(report["heartbeat_ms"]["p99"].as_f64().is_some(), "{report}");
    let rejected = report["rejected"].as_array().unwrap();
    let kept = ["heartbeat", "complete"];
    let broken = rejected.iter().find(|of| kept.iter().any(|route| of["route"] == *route));
    assert!(broken.is_none(), "{rejected:?}");
}

/// Fault: one of two brokers is killed half-way. Nothing is lost, nothing has an effect twice.
#[test]
fn a_killed_replica_loses_nothing() {
    let report = bench(&[
        "--jobs",
        "2000",
        "--agents",
        "100",
        "--replicas",
        "2",
        "--kill",
        "--batch",
        "500",
    ]);
    assert_eq!(report["lost"], 0);
    assert_eq!(report["twice"], 0);
    // The agents of the killed broker noticed.
    assert!(!report["rejected"].as_array().unwrap().is_empty());
}
