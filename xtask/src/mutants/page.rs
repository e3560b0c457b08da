//! `docs/book/mutants.md`: the outcome of each mutant's last run.
//!
//! `cargo xtask mutants --write` writes the rows of the sets that it ran and keeps the others. The page
//! is checked against the registry by `cargo xtask tidy`: a switch without a row, a row without a switch,
//! and a mutant that survived or has not run are findings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use rollmill_plonk::weaken::Switch;

use crate::Findings;
use crate::tree::Tree;

/// Path of the page.
pub(crate) const PAGE: &str = "docs/book/mutants.md";
/// What a row starts with whose switch needs no test.
pub(super) const HARMLESS: &str = "harmless: ";
/// The text of a row that needs a run.
pub(super) const SURVIVED: &str = "survived";
/// What replaces a test's name when the program that ran the tests ended at once, or did not end. Neither
/// names what noticed, so such a row is a finding too.
pub(super) const PROGRAM_ENDED: [&str; 2] = ["(the program ended)", "(the program did not end)"];
/// The text of a row whose mutant has not run.
const UNKNOWN: &str = "not run";

/// Rows of a page: the switch's name and its outcome.
pub(super) fn rows(page: &str) -> BTreeMap<String, String> {
    let cells = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.strip_suffix(" |")?.to_owned()))
    };
    page.lines().filter_map(cells).collect()
}

/// The page with these results, and for switches without one those of the page before.
pub(super) fn with(old: &str, switches: &[Switch], new: &BTreeMap<String, String>) -> String {
    let old = rows(old);
    let outcome = |switch: &Switch| -> String {
        let known = new.get(&*switch.name).or_else(|| old.get(&*switch.name));
        known.cloned().unwrap_or_else(|| UNKNOWN.to_owned())
    };
    let sets: Vec<&str> = {
        let mut seen = BTreeSet::new();
        switches.iter().map(Switch::set).filter(|set| seen.insert(*set)).collect()
    };
    let mut page = String::from(INTRODUCTION);
    for set in &sets {
        let outcomes: Vec<String> =
            switches.iter().filter(|switch| switch.set() == *set).map(outcome).collect();
        let of = |is: fn(&str) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
        let noticed = of(|outcome| outcome.starts_with('`'));
        let harmless = of(|outcome| outcome.starts_with(HARMLESS));
        let rest = outcomes.len() - noticed - harmless;
        let _ = writeln!(page, "| {set} | {} | {noticed} | {harmless} | {rest} |", outcomes.len());
    }
    for set in sets {
        let _ = write!(page, "\n## {set}\n\n| left out | noticed by |\n| --- | --- |\n");
        for switch in switches.iter().filter(|switch| switch.set() == set) {
            let _ = writeln!(page, "| `{}` | {} |", switch.name, outcome(switch));
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Mutants

Written by `make mutants`; `cargo xtask tidy` compares it with the registry of switches (`plonk/src/weaken.rs`,
`circuits/src/weaken.rs`). Each row is one check or one constraint. A test build leaves it out, tests of properties
run until one fails, and the row names a test that did. Tests that compare with stored bytes, numbers of rows or
digests do not run: they fail on every deliberate change and are then written anew.

| set | mutants | noticed | harmless | survived or not run |
| --- | --- | --- | --- | --- |
";

/// Every switch has a row, every row a switch, and each row names a test that exists or gives the reason that
/// the registry gives.
pub(crate) fn check(tree: &Tree, switches: &[Switch], tests: &BTreeSet<String>) -> Findings {
    let Some(page) = tree.text(PAGE) else {
        return vec![format!("{PAGE}: missing; `make mutants` writes it")];
    };
    let mut findings = Findings::new();
    let mut rows = rows(page);
    for switch in switches {
        let name = &switch.name;
        let Some(outcome) = rows.remove(&**name) else {
            findings.push(format!("{PAGE}: {name} has no row; run `cargo xtask mutants --write`"));
            continue;
        };
        let finding = match (switch.harmless, outcome.strip_prefix(HARMLESS)) {
            (Some(why), Some(said)) if why == said => continue,
            (Some(_), _) => "the registry calls it harmless, the page does not say so or why",
            (None, Some(_)) => "the page calls it harmless, the registry does not",
            (None, None) if outcome == SURVIVED => "no test notices its loss",
            (None, None) if outcome == UNKNOWN => "it has not run",
            (None, None) => match outcome.trim_matches('`').rsplit("::").next() {
                Some(test) if tests.contains(test) => continue,
                _ => "the test that noticed it is not there any more",
            },
        };
        findings.push(format!("{PAGE}: {name}: {finding}; run `cargo xtask mutants --write`"));
    }
    findings.extend(rows.into_keys().map(|name| format!("{PAGE}: there is no switch `{name}`")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches() -> [Switch; 3] {
        [Switch::new("a.one"), Switch::harmless("a.two", "why"), Switch::new("b.three")]
    }

    fn new(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
        rows.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect()
    }

    fn found(page: &str) -> Findings {
        check(&Tree::of(&[(PAGE, page)]), &switches(), &BTreeSet::from(["a_test".to_owned()]))
    }

    #[test]
    fn a_run_of_one_set_keeps_the_rows_of_the_others() {
        let first = with("", &switches(), &new(&[("b.three", "`plonk x::a_test`")]));
        assert!(first.contains("| a | 2 | 0 | 0 | 2 |\n| b | 1 | 1 | 0 | 0 |\n"), "{first}");
        let rest = new(&[("a.one", "`plonk x::m::a_test`"), ("a.two", "harmless: why")]);
        let second = with(&first, &switches(), &rest);
        assert!(second.contains("| a | 2 | 1 | 1 | 0 |\n| b | 1 | 1 | 0 | 0 |\n"), "{second}");
        assert_eq!(found(&second), Findings::new());
    }

    #[test]
    fn a_row_that_is_missing_or_says_what_is_not_so_is_found() {
        let good = [
            ("a.one", "`plonk x::a_test`"),
            ("a.two", "harmless: why"),
            ("b.three", "`plonk x::a_test`"),
        ];
        for (at, lie) in [
            (1, SURVIVED),
            (0, SURVIVED),
            (2, UNKNOWN),
            (0, "harmless: why"),
            (0, "`plonk x::another_test`"),
            (1, "harmless: not so"),
            (1, "`plonk x::a_test`"),
        ] {
            let mut rows = good;
            rows[at].1 = lie;
            let found = found(&with("", &switches(), &new(&rows)));
            assert_eq!(found.len(), 1, "{lie}: {found:?}");
            assert!(found[0].contains(rows[at].0), "{found:?}");
        }
        let one_more = with("", &switches(), &new(&good)) + "| `c.four` | `plonk x::a_test` |\n";
        assert_eq!(found(&one_more), [format!("{PAGE}: there is no switch `c.four`")]);
        assert_eq!(found("").len(), 3);
    }
}
