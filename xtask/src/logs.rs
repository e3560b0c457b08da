//! Log events: one spelling per field, and messages that can be searched for.
//!
//! The table under [`HEADING`] in [`PAGE`] is the list of the fields' keys. A key that it lacks is a
//! finding, and so is a key of the table that no program uses. A message is one constant text, which
//! neither starts with a capital nor ends with a full stop.

use std::collections::BTreeSet;

use crate::Findings;
use crate::scan::{self, is_word};
use crate::tree::{File, Tree};

/// Where the list of keys is.
const PAGE: &str = "docs/book/operations.md";
const HEADING: &str = "## Log fields";

/// The macros of `tracing` that make an event.
const MACROS: [&str; 5] = ["error!(", "warn!(", "info!(", "debug!(", "trace!("];

/// Compares every log event of the programs with the table.
pub(crate) fn check(tree: &Tree) -> Findings {
    let listed = listed(tree.text(PAGE).unwrap_or_default());
    let mut findings = Findings::new();
    if listed.is_empty() {
        findings.push(format!("{PAGE}: no table of keys under `{HEADING}`"));
    }
    let mut used = BTreeSet::new();
    let of_programs = |file: &&File| {
        file.path.contains("/src/")
            && !file.path.starts_with("xtask/")
            && !file.path.contains("/tests")
    };
    for file in tree.rust().filter(of_programs) {
        for event in events(&file.text) {
            let at = format!("{}:{}", file.path, event.line);
            if let Some(wrong) = wrong_message(&event.message) {
                findings.push(format!("{at}: log message {}: {wrong}", event.message));
            }
            for key in event.keys {
                if !listed.contains(&key) {
                    findings.push(format!(
                        "{at}: log field `{key}` is not in the table of {PAGE}; use the key that is there for this thing, or add it"
                    ));
                }
                used.insert(key);
            }
        }
    }
    let unused = listed.difference(&used);
    findings.extend(unused.map(|key| format!("{PAGE}: no log event has the field `{key}`")));
    findings
}

/// The keys in the first column of the table.
fn listed(page: &str) -> BTreeSet<String> {
    let lines = page.lines().skip_while(|line| *line != HEADING).skip(1);
    lines
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// What is wrong with a message, quotes included.
fn wrong_message(message: &str) -> Option<&'static str> {
    let Some(text) = message.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Some("it must be one string literal, the last argument");
    };
    let mut letters = text.chars();
    let (first, second) = (letters.next().unwrap_or('.'), letters.next().unwrap_or('.'));
    if first.is_uppercase() && second.is_lowercase() {
        return Some("it must start with a lower-case letter");
    }
    if text.ends_with('.') {
        return Some("it must not end with a full stop");
    }
    text.contains('{').then_some("it must be constant; values belong into fields")
}

struct Event {
    line: usize,
    /// The last argument as written.
    message: String,
    keys: Vec<String>,
}

/// The log events of a source, its test module left out.
fn events(source: &str) -> Vec<Event> {
    let scanned = scan::scan(source).code;
    let end = scan::test_module_line(&scanned).unwrap_or(usize::MAX);
    // The scanner writes one character for each, so that both have the same indices.
    let (code, source): (Vec<char>, Vec<char>) =
        (scanned.chars().collect(), source.chars().collect());
    let mut events = Vec::new();
    let mut line = 1;
    for at in 0..code.len() {
        if code[at] == '\n' {
            line += 1;
        }
        if line >= end {
            break;
        }
        if at > 0 && is_word(code[at - 1]) {
            continue;
        }
        let is_here = |name: &str| code[at..].iter().copied().take(name.len()).eq(name.chars());
        if let Some(name) = MACROS.iter().find(|name| is_here(name)) {
            let mut arguments = arguments(&code, &source, at + name.len());
            let message = arguments.pop().unwrap_or_default();
            let keys = arguments.iter().map(|argument| key(argument)).collect();
            events.push(Event { line, message, keys });
        }
    }
    events
}

/// The arguments of a call whose parenthesis opens before `start`.
fn arguments(code: &[char], source: &[char], start: usize) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut generics) = (0usize, 0usize);
    for at in start..code.len() {
        match code[at] {
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            '<' if code[..at].ends_with(&[':', ':']) => generics += 1,
            '>' if generics > 0 => generics -= 1,
            ',' if depth == 0 && generics == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = arguments.last_mut() {
            last.push(source[at]);
        }
    }
    arguments.retain(|argument| !argument.trim().is_empty());
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// The key of a field: `key = value`, `key`, `%key` or `?key`.
fn key(argument: &str) -> String {
    argument
        .trim_start_matches(['%', '?'])
        .chars()
        .take_while(|c| is_word(*c) || *c == '.')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "## Log fields\n\n| key | meaning |\n| --- | --- |\n| `job`, `error` | x |\n";

    fn found(call: &str) -> Findings {
        let source = format!(
            "fn f() {{\n    tracing::info!(job = a.get::<String, _>(\"id\"), \"x\");\n    {call}\n}}\n\
             #[cfg(test)]\nmod tests {{ fn g() {{ info!(\"Bad {{x}}.\"); }} }}\n"
        );
        check(&Tree::of(&[("a/src/b.rs", &source), (PAGE, TABLE)]))
    }

    #[test]
    fn an_event_with_listed_keys_and_a_constant_message_is_accepted() {
        for call in [
            "warn!(%error, \"job lost\");",
            "tracing::error!(error = format!(\"{a}, {b}\"), \"L1 left; \\\"x\\\" retried\",);",
        ] {
            assert_eq!(found(call), Findings::new(), "{call}");
        }
    }

    #[test]
    fn another_key_and_an_unused_one_are_named() {
        let findings = found("warn!(id, \"job lost\");");
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("a/src/b.rs:3: log field `id`"), "{findings:?}");
        assert!(findings[1].contains("no log event has the field `error`"), "{findings:?}");
    }

    #[test]
    fn a_message_that_is_no_constant_or_no_phrase_is_rejected() {
        for call in [
            "warn!(error, \"Job lost\");",
            "warn!(error, \"job lost.\");",
            "warn!(error, \"job {job} lost\");",
            "warn!(error, \"job {} lost\", job);",
            "warn!(error);",
        ] {
            let findings = found(call);
            assert!(findings.iter().any(|it| it.contains("log message")), "{call}: {findings:?}");
        }
    }

    #[test]
    fn a_page_without_the_table_is_a_finding() {
        let findings = check(&Tree::of(&[(PAGE, "")]));
        assert!(findings[0].contains("no table of keys"), "{findings:?}");
    }
}
