//! The program as anybody runs it.

use std::process::{Command, Output};

use serde_json::Value;

const RESULTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/results/circuits-zen5-2cores.json");

fn capacity(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollmill-capacity")).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = capacity(&[arguments, &["--results", RESULTS, "--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Goal: an epoch of 100,000 transactions, about 200,000 jobs, can be simulated with thousands of agents that fail.
/// Gate: what is simulated, not how long it takes.
#[test]
fn an_epoch_of_100000_transactions_comes_close_to_its_floor() {
    let outcome = json(&[
        "simulate",
        "--transactions",
        "100000",
        "--agents",
        "2000",
        "--reclaim-minutes",
        "60",
    ]);
    assert_eq!(outcome["seed"], 1);
    assert!(outcome["jobs"].as_u64().unwrap() > 199_000, "{outcome}");
    let [makespan, floor, utilisation] = ["makespan_seconds", "floor_seconds", "utilisation"]
        .map(|field| outcome[field].as_f64().unwrap());
    assert!(makespan >= floor && makespan < 1.6 * floor, "{outcome}");
    assert!((0.5..1.0).contains(&utilisation), "{outcome}");
    assert!(outcome["crashes"].as_u64().unwrap() > 0 && outcome["reclaims"].as_u64().unwrap() > 0);
    assert_eq!(outcome["dead_letters"], 0);
}

#[test]
fn a_plan_has_a_row_for_each_rate_and_the_cost_is_that_of_its_agents() {
    let plans = json(&["plan", "--rates", "1,4", "--price", "50", "--epoch-seconds", "240"]);
    let plans = plans.as_array().unwrap();
    assert_eq!(plans.len(), 2);
    for plan in plans {
        let [agents, dollars] =
            ["agents", "dollars_per_hour"].map(|field| plan[field].as_f64().unwrap());
        assert_eq!(dollars, agents * 0.5, "{plan}");
        let after = plan["proven_after_seconds"].as_f64().unwrap();
        assert!(after > 60.0 && after <= 1536.0, "{plan}");
    }
    let output = capacity(&["plan", "--results", RESULTS, "--rates", "1,2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("$/1000 TXS") && text.contains("From 2 tx/s on"), "{text}");
}

#[test]
fn errors_have_a_code_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.json");
    std::fs::write(&file, "{}").unwrap();
    let file = file.to_str().unwrap();
    let missing = folder.path().join("missing.json");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["plan", "--results", file], 1, "CAP-002"),
        (&["plan", "--results", missing.to_str().unwrap()], 1, "CAP-001"),
        (&["plan", "--results", RESULTS, "--slot-seconds", "900"], 2, "CAP-004"),
        (&["plan", "--results", RESULTS, "--prove-within", "60"], 1, "CAP-005"),
        (&["plan"], 2, "--results"),
    ];
    for (arguments, status, text) in cases {
        let output = capacity(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {errors}");
        assert!(errors.contains(text) && errors.lines().count() == 1, "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
