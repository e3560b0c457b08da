//! Part of `cargo xtask tidy`: alerts, recording rules and dashboards name metrics, labels and values that exist,
//! and each alert has its section in the runbook and tests that it fires and that it does not.
//!
//! What exists is what `docs/metrics.md` lists, which a test compares with the code. The syntax of the rules is
//! `promtool`'s matter.

use std::collections::{BTreeMap, BTreeSet};

use crate::Findings;
use crate::dashboards;
use crate::tree::Tree;

mod promql;

use promql::{Query, read};

const LIST: &str = "docs/metrics.md";
const RULES: [&str; 2] =
    ["deploy/prometheus/recording.rules.yml", "deploy/prometheus/alerts.rules.yml"];
/// Folder of the tests of the rules.
const TESTS: &str = "deploy/prometheus/tests/";
const RUNBOOK: &str = "docs/book/alerts.md";
/// What each section of the runbook says, in this order.
const PARTS: [&str; 4] = ["- **Means:** ", "- **Look at:** ", "- **Do:** ", "- **Resolves:** "];
/// Labels that Prometheus adds to each series.
const TARGET: [&str; 2] = ["job", "instance"];

/// A metric and the values of its labels, where these are known.
type Labels = BTreeMap<String, Option<BTreeSet<String>>>;
type Metrics = BTreeMap<String, Labels>;

/// A rule as its file has it.
#[derive(Debug, Default, PartialEq)]
struct Rule {
    /// Its line in the file.
    line: usize,
    name: String,
    is_alert: bool,
    expr: String,
    severity: String,
    /// Texts with labels in them.
    texts: Vec<String>,
    runbook: String,
}

/// Everything that is wrong.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    let mut metrics = metrics(tree.text(LIST).unwrap_or_default());
    if metrics.is_empty() {
        findings.push(format!("{LIST}: no table of metrics"));
        return findings;
    }
    let mut alerts = Vec::new();
    for path in RULES {
        let rules = rules(tree.text(path).unwrap_or_default());
        if rules.is_empty() {
            findings.push(format!("{path}: no rule"));
        }
        for rule in rules {
            let place = format!("{path}:{}: {}", rule.line, rule.name);
            let query = read(&rule.expr);
            findings.extend(wrong(&metrics, &query, &rule.texts, &place));
            if rule.is_alert {
                alerts.push((place, rule));
            } else {
                metrics.insert(rule.name, labels_of(&metrics, &query));
            }
        }
    }
    match dashboards::declared(tree) {
        Ok(declared) => {
            for dashboard in &declared {
                for panel in &dashboard.panels {
                    let place =
                        format!("{}: {}: {}", dashboards::DECLARED, dashboard.name, panel.title);
                    for (expr, legend) in &panel.queries {
                        let texts = [legend.clone()];
                        findings.extend(wrong(&metrics, &read(expr), &texts, &place));
                    }
                }
                let variable = dashboard.instances.iter().filter(|m| !metrics.contains_key(*m));
                let unknown = |m: &String| format!("{}: no metric {m}", dashboards::DECLARED);
                findings.extend(variable.map(unknown));
            }
        }
        Err(error) => findings.push(format!("{error:#}")),
    }
    findings.extend(runbook(tree.text(RUNBOOK).unwrap_or_default(), &alerts));
    findings.extend(tests_of(tree, &alerts));
    findings
}

/// The table of metrics; each histogram by the names of its series.
fn metrics(page: &str) -> Metrics {
    let mut found = Metrics::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [name, kind, labels, ..] = cells[..] else { continue };
        let Some(name) = name.strip_prefix("| `").and_then(|name| name.strip_suffix('`')) else {
            continue;
        };
        let mut known: Labels = TARGET.iter().map(|label| ((*label).to_owned(), None)).collect();
        for label in labels.split("; ").filter(|label| label.contains('`')) {
            let mut names = label.split('`').skip(1).step_by(2).map(str::to_owned);
            let Some(name) = names.next() else { continue };
            let values: BTreeSet<String> = names.collect();
            known.insert(name, (!values.is_empty()).then_some(values));
        }
        if kind == "histogram" {
            let mut with_bound = known.clone();
            with_bound.insert("le".to_owned(), None);
            found.insert(format!("{name}_bucket"), with_bound);
            found.insert(format!("{name}_sum"), known.clone());
            found.insert(format!("{name}_count"), known);
        } else {
            found.insert(name.to_owned(), known);
        }
    }
    if !found.is_empty() {
        let plain: Labels = TARGET.iter().map(|label| ((*label).to_owned(), None)).collect();
        found.insert("up".to_owned(), plain.clone());
        let mut alerts = plain;
        alerts.extend(["alertname", "alertstate"].map(|label| (label.to_owned(), None)));
        found.insert("ALERTS".to_owned(), alerts);
    }
    found
}

/// The labels that the result of a query can have: those that it groups by, or all of its metrics.
fn labels_of(metrics: &Metrics, query: &Query) -> Labels {
    let mut all = Labels::new();
    for series in &query.series {
        let known = metrics.get(&series.name).cloned().unwrap_or_default();
        let kept = |label: &String| !series.is_grouped || query.by.contains(label);
        all.extend(known.into_iter().filter(|(label, _)| kept(label)));
    }
    all
}

/// What a query names that does not exist. `texts` may have labels of its result in them.
fn wrong(metrics: &Metrics, query: &Query, texts: &[String], place: &str) -> Findings {
    let mut findings = Findings::new();
    let mut labels = Labels::new();
    if query.series.is_empty() {
        findings.push(format!("{place}: the query names no metric"));
    }
    for series in &query.series {
        let Some(known) = metrics.get(&series.name) else {
            findings.push(format!("{place}: {LIST} has no metric {}", series.name));
            continue;
        };
        labels.extend(known.clone());
        for (label, value) in &series.matched {
            match known.get(label) {
                None => findings.push(format!("{place}: {} has no label {label}", series.name)),
                Some(Some(values)) if !values.contains(value) => findings
                    .push(format!("{place}: label {label} of {} is never `{value}`", series.name)),
                Some(_) => {}
            }
        }
    }
    let unknown = query.by.iter().chain(&query.on).filter(|label| !labels.contains_key(*label));
    findings.extend(unknown.map(|label| format!("{place}: no metric in it has a label {label}")));
    let shown = labels_of(metrics, query);
    for label in texts.iter().flat_map(|text| placeholders(text)) {
        if !shown.contains_key(label) {
            findings.push(format!("{place}: the result has no label {label}"));
        }
    }
    findings
}

/// The labels in a text: `{{label}}` of Grafana, `{{ $labels.label }}` of Prometheus.
fn placeholders(text: &str) -> Vec<&str> {
    let inner = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    inner.map(|inner| inner.trim().trim_start_matches("$labels.")).collect()
}

/// The rules of a file, which has each key on a line of its own.
fn rules(text: &str) -> Vec<Rule> {
    let mut found: Vec<Rule> = Vec::new();
    let mut block = None;
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let content = line.trim_start();
        let start = |kind: &str| content.strip_prefix(kind).map(str::to_owned);
        let (alert, record) = (start("- alert: "), start("- record: "));
        let is_alert = alert.is_some();
        if let Some(name) = alert.or(record) {
            found.push(Rule { line: index + 1, name, is_alert, ..Rule::default() });
            block = None;
            continue;
        }
        let Some(rule) = found.last_mut() else { continue };
        if block.is_some_and(|outer| indent > outer) {
            rule.expr.push_str(content);
            rule.expr.push('\n');
            continue;
        }
        block = None;
        let quoted = |key: &str| start(key).map(|value| value.trim_matches('"').to_owned());
        match content.strip_prefix("expr: ") {
            Some("|") => block = Some(indent),
            Some(expr) => rule.expr = expr.to_owned(),
            None => {}
        }
        if let Some(severity) = start("labels: {severity: ") {
            rule.severity = severity.trim_end_matches('}').to_owned();
        }
        rule.texts.extend(quoted("summary: "));
        rule.runbook = quoted("runbook: ").unwrap_or_else(|| std::mem::take(&mut rule.runbook));
    }
    found
}

/// Alerts without a section, sections without an alert, and sections that lack a part.
fn runbook(page: &str, alerts: &[(String, Rule)]) -> Findings {
    let mut findings = Findings::new();
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut heading = None;
    for line in page.lines() {
        if line.starts_with('#') {
            heading = line.strip_prefix("### ");
            heading.map(|name| sections.insert(name, Vec::new()));
        } else if let Some(section) = heading.and_then(|name| sections.get_mut(name)) {
            section.push(line);
        }
    }
    for (place, rule) in alerts {
        let wanted = format!("{RUNBOOK}#{}", rule.name.to_lowercase());
        if rule.runbook != wanted {
            findings.push(format!("{place}: its runbook is `{}`, not `{wanted}`", rule.runbook));
        }
        let Some(section) = sections.get(rule.name.as_str()) else {
            findings.push(format!("{place}: {RUNBOOK} has no section `### {}`", rule.name));
            continue;
        };
        let severity = format!("Severity: `{}`.", rule.severity);
        let text = section.join("\n");
        let parts = std::iter::once(severity.as_str()).chain(PARTS);
        let mut rest = text.as_str();
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => findings.push(format!(
                    "{RUNBOOK}: section {} lacks `{}` or has it out of order",
                    rule.name,
                    part.trim_end()
                )),
            }
        }
    }
    let stale = sections.keys().filter(|name| !alerts.iter().any(|(_, rule)| rule.name == **name));
    findings.extend(stale.map(|name| format!("{RUNBOOK}: there is no alert {name}")));
    findings
}

/// Alerts that no test lets fire, or that none expects to be silent.
fn tests_of(tree: &Tree, alerts: &[(String, Rule)]) -> Findings {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    let files = tree.files.iter().filter(|file| file.path.starts_with(TESTS));
    for line in files.flat_map(|file| file.text.lines()) {
        let Some((_, rest)) = line.split_once("alertname: ") else { continue };
        let name = rest.split(',').next().unwrap_or_default().trim();
        let is_silent = rest.ends_with("exp_alerts: []}");
        if is_silent {
            silent.insert(name)
        } else {
            fires.insert(name)
        };
    }
    let mut findings = Findings::new();
    for (place, rule) in alerts {
        for (set, what) in [(&fires, "fires"), (&silent, "does not fire")] {
            if !set.contains(rule.name.as_str()) {
                findings.push(format!("{place}: no test in {TESTS} says when it {what}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests;
