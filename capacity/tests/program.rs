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

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/book/capacity.md");
const START: &str = "<!-- written by that test -->\n```text\n";
const END: &str = "```\n<!-- end of what the test writes -->\n";

/// The lines of a table that have numbers alone.
fn rows(text: &str) -> Vec<Vec<f64>> {
    let row = |line: &str| -> Option<Vec<f64>> {
        line.split_whitespace().map(|word| word.parse::<f64>().ok()).collect()
    };
    text.lines().filter_map(row).filter(|row| !row.is_empty()).collect()
}

/// Goal: the page's table is what the program prints. The row of 100 transactions per second takes many seconds; of it only
/// the load is compared. `ROLLMILL_BLESS=1` writes the table.
#[test]
fn the_page_shows_what_the_program_prints() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(START).expect("the page has the mark before the table");
    let (table, after) = rest.split_once(END).expect("the page has the mark after the table");
    let plan = |more: &[&str]| {
        let output = capacity(&[&["plan", "--results", RESULTS][..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    if std::env::var_os("ROLLMILL_BLESS").is_some() {
        std::fs::write(PAGE, format!("{before}{START}{}{END}{after}", plan(&[]))).unwrap();
        return;
    }
    let stale =
        "run `ROLLMILL_BLESS=1 cargo test -p rollmill-capacity --test program the_page_shows`";
    let shown = rows(table);
    assert_eq!(shown.iter().map(|row| row[0]).collect::<Vec<_>>(), [1.0, 10.0, 100.0], "{stale}");
    for (row, printed) in shown.iter().zip(rows(&plan(&["--rates", "1,10"]))) {
        assert_eq!(row.len(), printed.len(), "{stale}");
        for (a, b) in row.iter().zip(&printed) {
            // Logarithms may differ in their last digit between machines, and then which attempt fails.
            assert!((a - b).abs() <= 0.2 + 0.1 * b.abs(), "{stale}: {row:?}, printed {printed:?}");
        }
    }
    // Transactions and blocks of an epoch of 768 s with 32 transactions in a block.
    let last = &shown[2];
    assert_eq!((last[1], last[10]), (76_800.0, 2_400.0), "{stale}");
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
