use super::*;

const METRICS: &str = "\
| metric | type | labels | meaning |
| --- | --- | --- | --- |
| `rollmill_a_jobs_total` | counter | `kind`; `outcome`: `done`, `failed` | Jobs. |
| `rollmill_a_job_seconds` | histogram | `kind` | Time. (2 buckets, 1 to 2) |
| `rollmill_a_open` | gauge |  | Open. |
";
const RECORDING: &str = "\
groups:
  - name: recording
    rules:
      - record: rollmill:open:max
        expr: max by (instance) (rollmill_a_open)
";
const ALERTS: &str = "\
groups:
  - name: alerts
    rules:
      - alert: RollmillFailed
        expr: |
          # Why.
          sum by (kind) (increase(rollmill_a_jobs_total{outcome=\"failed\"}[5m])) > 0
        for: 1m
        labels: {severity: warning}
        annotations:
          summary: \"Jobs of {{ $labels.kind }} fail\"
          runbook: \"docs/book/alerts.md#rollmillfailed\"
";
const BOOK: &str = "\
# Alerts
### RollmillFailed
Severity: `warning`.
- **Means:** it fails.
- **Look at:** the log.
- **Do:** mend it.
- **Resolves:** later.
";
const FIRES: &str = "\
      - {eval_time: 1m, alertname: RollmillFailed, exp_alerts: []}
      - eval_time: 9m
        alertname: RollmillFailed
        exp_alerts:
";
const BOARDS: &str = "\
[[dashboard]]
name = \"n\"
title = \"t\"
instances = \"rollmill_a_open\"
panels = [{ title = \"p\", unit = \"s\", queries = [[\"rollmill:open:max\", \"{{instance}}\"]] }]
";

const FILES: [(&str, &str); 6] = [
    (LIST, METRICS),
    (RULES[0], RECORDING),
    (RULES[1], ALERTS),
    (RUNBOOK, BOOK),
    ("deploy/prometheus/tests/a.test.yml", FIRES),
    (dashboards::DECLARED, BOARDS),
];

/// The findings after `from` became `to` in the file of this path.
fn found(path: &str, from: &str, to: &str) -> String {
    let mut files = FILES.map(|(path, text)| (path, text.to_owned()));
    let file = files.iter_mut().find(|(other, _)| *other == path).unwrap();
    assert!(file.1.contains(from), "{path} has no {from}");
    file.1 = file.1.replacen(from, to, 1);
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    check(&Tree::of(&files)).join("\n")
}

#[test]
fn rules_that_agree_with_list_runbook_and_tests_have_no_finding() {
    assert_eq!(check(&Tree::of(&FILES)), Findings::new());
}

/// Goal: each kind of disagreement is found. Method: one change at a time.
#[test]
fn what_does_not_exist_is_named() {
    let test = "deploy/prometheus/tests/a.test.yml";
    for (path, from, to, finding) in [
        (
            RULES[1],
            "rollmill_a_jobs_total",
            "rollmill_a_tasks_total",
            "has no metric rollmill_a_tasks_total",
        ),
        (RULES[1], "outcome=", "result=", "rollmill_a_jobs_total has no label result"),
        (
            RULES[1],
            "\"failed\"",
            "\"lost\"",
            "label outcome of rollmill_a_jobs_total is never `lost`",
        ),
        (RULES[1], "\"failed\"", "\"failed|lost\"", "is never `lost`"),
        (RULES[1], "by (kind)", "by (sort)", "no metric in it has a label sort"),
        (RULES[1], "by (kind)", "by (outcome)", "the result has no label kind"),
        (RULES[1], "#rollmillfailed", "#failed", "its runbook is `docs/book/alerts.md#failed`"),
        (RULES[0], "rollmill_a_open", "rollmill_a_shut", "has no metric rollmill_a_shut"),
        (
            RULES[0],
            "by (instance)",
            "by (job)",
            "dashboards.toml: n: p: the result has no label instance",
        ),
        (
            RULES[0],
            "- record: rollmill:open:max",
            "- record: rollmill:open:min",
            "has no metric rollmill:open:max",
        ),
        (dashboards::DECLARED, "\"rollmill_a_open\"", "\"rollmill_b\"", "no metric rollmill_b"),
        (dashboards::DECLARED, "rollmill:open:max", "1 + 1", "the query names no metric"),
        (dashboards::DECLARED, "unit", "units", "dashboards.toml is not as expected"),
        (RUNBOOK, "### RollmillFailed", "### RollmillFell", "has no section `### RollmillFailed`"),
        (RUNBOOK, "### RollmillFailed", "### RollmillFell", "there is no alert RollmillFell"),
        (RUNBOOK, "`warning`", "`critical`", "lacks `Severity: `warning`.`"),
        (RUNBOOK, "- **Do:** mend it.\n", "", "section RollmillFailed lacks `- **Do:**`"),
        (
            test,
            "exp_alerts: []",
            "exp_alerts: [{}]",
            "no test in deploy/prometheus/tests/ says when it does not fire",
        ),
        (test, "        alertname: RollmillFailed\n", "", "says when it fires"),
        (
            LIST,
            "rollmill_a_jobs_total",
            "rollmill_a_tasks_total",
            "has no metric rollmill_a_jobs_total",
        ),
        (LIST, "| `", "` ", "no metric rollmill_a_jobs_total"),
    ] {
        let found = found(path, from, to);
        assert!(found.contains(finding), "{from} -> {to}: {found}");
    }
}

#[test]
fn a_query_is_read_with_its_selectors_groups_and_comments() {
    let query = read(
        "sum by (le, kind) (rate(a_bucket{kind=~\"x|y\", b!='z'}[5m])) # d_e\n\
         / on (kind) group_left (b) c offset 5m > bool 1e6 or vector(0)",
    );
    let names: Vec<_> = query.series.iter().map(|s| (s.name.as_str(), s.is_grouped)).collect();
    assert_eq!(names, [("a_bucket", true), ("c", false)]);
    let matched: Vec<_> =
        query.series[0].matched.iter().map(|(l, v)| (l.as_str(), v.as_str())).collect();
    assert_eq!(matched, [("kind", "x"), ("kind", "y"), ("b", "z")]);
    assert_eq!(query.by.iter().collect::<Vec<_>>(), ["kind", "le"]);
    assert_eq!(query.on.iter().collect::<Vec<_>>(), ["b", "kind"]);
    assert_eq!(read("max(a) - b").series.iter().filter(|s| s.is_grouped).count(), 1);
    for broken in ["a{b=\"", "a{", "sum by (", "\"", "a[5m", ")))", "é{}"] {
        read(broken);
    }
}

#[test]
fn a_histogram_is_queried_by_the_names_of_its_series() {
    let found = metrics(METRICS);
    assert!(found["rollmill_a_job_seconds_bucket"].contains_key("le"));
    assert!(!found["rollmill_a_job_seconds_sum"].contains_key("le"));
    assert!(!found.contains_key("rollmill_a_job_seconds"));
    let outcomes = found["rollmill_a_jobs_total"]["outcome"].as_ref().unwrap();
    assert_eq!(outcomes.iter().collect::<Vec<_>>(), ["done", "failed"]);
}
