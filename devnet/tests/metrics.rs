//! `docs/metrics.md` is what the tables of metrics declare, and nothing names a metric that none of
//! them has. `ROLLMILL_BLESS=1` writes the page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rollmill_service::metrics::{Declared, Kind};

const PAGE: &str = "docs/metrics.md";

const HEAD: &str = "# List of metrics

Generated from the tables of metrics in the code by
`ROLLMILL_BLESS=1 cargo test -p rollmill-devnet --test all metrics`; do not edit.

Every service serves its metrics in Prometheus' text format at `/metrics` of its admin address.
[Metrics and readiness](book/metrics.md) says which to watch. A series exists from startup, at 0, if all
values of its labels are listed here. A name ends in its unit, a counter in `_total`.
";

/// Heading, the program that serves them, and the tables: every table of the workspace.
fn sections() -> [(&'static str, &'static str, Vec<Declared>); 7] {
    [
        ("All services", "Every service has these.", rollmill_service::metrics::declared()),
        (
            "Agents",
            "The metrics of a card exist on an agent that proves on an NVIDIA GPU; a reading that \
             the GPU does not support is left out.",
            rollmill_agent::metrics::declared(),
        ),
        (
            "Nodes",
            "A sequencer and a prover node serve these metrics of the node that they contain.",
            rollmill_node::metrics::declared(),
        ),
        (
            "Sequencers",
            "A sequencer has these besides those of its node.",
            rollmill_sequencer::metrics::Metrics::declared(),
        ),
        (
            "Validators",
            "A sequencer that attests blocks of other members of its committee has these too.",
            rollmill_validator::metrics::declared(),
        ),
        (
            "Prover nodes",
            "A prover node has these besides those of its node.",
            rollmill_prover_node::metrics::Metrics::declared(),
        ),
        ("Brokers", "A broker has these.", rollmill_broker::metrics::Metrics::declared()),
    ]
}

fn all() -> Vec<Declared> {
    sections().into_iter().flat_map(|(_, _, declared)| declared).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below `folder` with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_page_lists_every_metric_as_it_is_declared() {
    let mut page = HEAD.to_owned();
    for (heading, who, declared) in sections() {
        page.push_str(&format!("\n## {heading}\n\n{who}\n\n"));
        page.push_str("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
        declared.iter().for_each(|metric| page.push_str(&format!("{}\n", metric.to_row())));
    }
    let path = root().join(PAGE);
    if std::env::var_os("ROLLMILL_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = read(&path);
    for (found, expected) in found.lines().zip(page.lines()) {
        assert_eq!(found, expected, "{PAGE} differs; its head names the command that writes it");
    }
    assert_eq!(found, page, "{PAGE} differs; its head names the command that writes it");
}

#[test]
fn names_are_unique_and_end_in_their_unit() {
    let mut seen = BTreeSet::new();
    for Declared { name, help, kind, buckets, .. } in all() {
        assert!(seen.insert(name), "two metrics are called {name}");
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name} is a {kind:?}");
        assert_eq!(buckets.is_empty(), kind != Kind::Histogram, "{name} is a {kind:?}");
        let has_unit = ["_seconds", "_items"].iter().any(|unit| name.ends_with(unit));
        assert!(kind != Kind::Histogram || has_unit, "{name} has no unit");
        assert!(buckets.is_sorted_by(|a, b| a < b), "{name} has buckets out of order");
        let first = help.chars().next().unwrap();
        assert!(first.is_uppercase() || first == '1', "{name}: {help}");
        assert!(help.ends_with('.') && !help.contains("  "), "{name}: {help}");
    }
}

/// Goal: no metric that the page lacks. Method: the tables in the sources have the page's names, and
/// no source creates a metric without a table.
#[test]
fn every_metric_in_the_sources_is_in_a_table_that_the_page_lists() {
    let mut declared = BTreeSet::new();
    for folder in std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        for path in files(&folder.join("src"), "rs") {
            let text = read(&path);
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            if path.ends_with("service/src/metrics.rs") {
                continue;
            }
            for made in
                ["Opts::new(", "::with_opts(", "Counter::new(", "Gauge::new(", "Vec::new(\""]
            {
                assert!(!code.contains(made), "{}: {made} outside a table", path.display());
            }
            for table in code.split("rollmill_service::metrics! {\n").skip(1) {
                declared.extend(names(table));
            }
            for table in code.split("crate::metrics! {\n").skip(1) {
                declared.extend(names(table));
            }
        }
    }
    let listed: BTreeSet<_> = all().iter().map(|metric| metric.name.to_owned()).collect();
    assert!(declared.len() > 60, "{} metrics found in the sources", declared.len());
    let missing: Vec<_> = declared.symmetric_difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "declared in the sources or in a section here, not in both: {missing:?}"
    );
}

/// Full names of the metrics of a table, from the text after its start.
fn names(table: &str) -> Vec<String> {
    let body = table.split("\n}").next().unwrap();
    let prefix = body.split(": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    body.lines()
        .map(|line| line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub "))
        .filter(|line| {
            !line.starts_with("//") && !line.starts_with("struct ") && line.ends_with(',')
        })
        .filter_map(|line| line.split_once(": "))
        .map(|(field, _)| format!("{prefix}{field}"))
        .collect()
}

/// Words of a text that start like a metric's name.
fn mentioned(text: &str) -> BTreeSet<String> {
    let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let prefixes: BTreeSet<_> = all()
        .iter()
        .map(|metric| metric.name.split('_').take(2).collect::<Vec<_>>().join("_") + "_")
        .collect();
    let words = text.split(is_end).filter(|word| prefixes.iter().any(|p| word.starts_with(p)));
    words.map(str::to_owned).collect()
}

/// Names under which a metric's series are queried.
fn series() -> BTreeSet<String> {
    let of = |metric: &Declared| match metric.kind {
        Kind::Histogram => {
            ["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name)).to_vec()
        }
        _ => vec![metric.name.to_owned()],
    };
    all().iter().flat_map(of).collect()
}

#[test]
fn dashboards_and_pages_name_metrics_that_exist() {
    let series = series();
    let mut dashboards = BTreeSet::new();
    for path in files(&root().join("deploy/grafana"), "json") {
        let names = mentioned(&read(&path));
        let unknown: Vec<_> = names.difference(&series).collect();
        assert!(unknown.is_empty(), "{} shows {unknown:?}", path.display());
        dashboards.extend(names);
    }
    assert!(dashboards.len() > 12, "{dashboards:?}");
    for metric in all().iter().filter(|metric| metric.name.starts_with("rollmill_agent_card_")) {
        assert!(dashboards.contains(metric.name), "no panel shows {}", metric.name);
    }
    let names: BTreeSet<_> = all().iter().map(|metric| metric.name.to_owned()).collect();
    let mut found = 0;
    for page in [
        "README.md",
        "docs/book/metrics.md",
        "docs/book/operations.md",
        "docs/book/deadlines.md",
        "docs/book/blobs.md",
        "docs/book/committee.md",
        "docs/book/quotes.md",
        "docs/book/faults.md",
    ] {
        for name in mentioned(&read(&root().join(page))) {
            assert!(names.contains(&name) || series.contains(&name), "{page} names {name}");
            found += 1;
        }
    }
    assert!(found > 5, "{found} metrics on the pages");
}
