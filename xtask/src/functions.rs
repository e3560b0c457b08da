//! The length of functions, as `cargo xtask tidy` bounds it.
//!
//! Works on text that rustfmt has laid out: a body ends with the first line that is the brace of the function's
//! own indentation.

use crate::Findings;
use crate::tree::Tree;

/// Most lines of a function's body.
const LINES_MAX: usize = 70;

/// Functions that may be longer: file, name, and why.
const LONG: &[(&str, &str, &str)] = &[
    ("agent/tests/commands.rs", "a_wrong_key_ends_the_agent_with_one_line", "a list of cases"),
    ("bench/src/arguments.rs", "command", "a list of arguments"),
    ("circuits/examples/epoch.rs", "main", "a walk through an epoch"),
    ("circuits/src/gadgets/fold.rs", "fold", "the steps of folding, as the book lists them"),
    ("circuits/src/tx_base.rs", "constrain_over", "a circuit, rule by rule"),
    (
        "devnet/tests/settings.rs",
        "a_setting_that_cannot_be_used_ends_each_program_with_2",
        "a list of cases",
    ),
    ("l1/tests/schedule.rs", "schedule", "one loop over random steps"),
    ("plonk/tests/solidity/forger.rs", "forge", "the rounds of the protocol in their order"),
    ("prover-node/src/main.rs", "serve", "one part after the other"),
    ("xtask/src/mutants.rs", "run", "one run, from its choice to its report"),
    ("xtask/src/suite.rs", "run", "one step after the other"),
];

/// Every function above the bound that is not excused, and every excuse that is not needed.
pub(crate) fn check(tree: &Tree) -> Findings {
    check_except(tree, LONG)
}

fn check_except(tree: &Tree, excused: &[(&str, &str, &str)]) -> Findings {
    let mut findings = Findings::new();
    let mut needed = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        for (name, lines) in functions(&file.text).filter(|(_, lines)| *lines > LINES_MAX) {
            let is_it = |entry: &&(&str, &str, &str)| (entry.0, entry.1) == (&*file.path, name);
            match excused.iter().find(is_it) {
                Some(entry) => needed.push((entry.0, entry.1)),
                None => findings.push(format!(
                    "{}: the body of {name} has {lines} lines, at most {LINES_MAX}; split it along its \
                     ideas, or excuse it in xtask/src/functions.rs",
                    file.path
                )),
            }
        }
    }
    let spare = excused.iter().filter(|(path, name, _)| !needed.contains(&(*path, *name)));
    findings.extend(spare.map(|(path, name, _)| {
        format!("{path}: {name} is not long; take it off the list in xtask/src/functions.rs")
    }));
    findings
}

/// The functions of a source file with a body of more than one line: name, and lines of the body.
fn functions(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).filter_map(move |at| {
        let (indentation, name) = head(lines[at])?;
        let opens = lines[at..].iter().position(|line| line.ends_with(['{', ';', '}']))? + at;
        let closes = |line: &&str| line.strip_prefix(indentation) == Some("}");
        match lines[opens].ends_with('{') {
            true => Some((name, lines[opens + 1..].iter().position(closes)?)),
            false => None,
        }
    })
}

/// Indentation and name of the function that starts on a line, if one does.
fn head(line: &str) -> Option<(&str, &str)> {
    let words = line.trim_start();
    let indentation = &line[..line.len() - words.len()];
    let (before, after) = match words.strip_prefix("fn ") {
        Some(after) => ("", after),
        None => words.split_once(" fn ")?,
    };
    let is_qualifier = |word: &str| {
        ["async", "const", "default", "extern", "unsafe"].contains(&word)
            || word.starts_with("pub")
            || word.starts_with('"')
            || word.ends_with(')')
    };
    let name = after.split(['(', '<']).next()?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && before.split_whitespace().all(is_qualifier)).then_some((indentation, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, excused: &[(&str, &str, &str)]) -> Findings {
        check_except(&Tree::of(&[("a/src/b.rs", text)]), excused)
    }

    #[test]
    fn bodies_are_counted_whatever_stands_before_the_name() {
        let body = "        x();\n".repeat(3);
        for head in [
            "fn f() {",
            "pub fn f<T: A>(a: T) -> B {",
            "pub(crate) async fn f() {",
            "pub(in crate::a) const unsafe extern \"C\" fn f() {",
            "pub fn f(\n        a: A,\n    ) -> B\n    where\n        A: C,\n    {",
        ] {
            let text = format!("impl A {{\n    {head}\n{body}    }}\n}}\n");
            assert_eq!(functions(&text).collect::<Vec<_>>(), [("f", 3)], "{head}");
        }
        for text in
            ["    fn f(&self);\n", "    fn f() {}\n", "// the fn f of a\n", "let g = a fn b;\n"]
        {
            assert_eq!(functions(text).count(), 0, "{text}");
        }
    }

    #[test]
    fn a_long_function_is_named_unless_it_is_excused() {
        let of = |lines: usize| format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines));
        assert_eq!(found(&of(LINES_MAX), &[]), Findings::new());
        let long = of(LINES_MAX + 1);
        assert!(found(&long, &[])[0].starts_with("a/src/b.rs: the body of f has 71 lines"));
        assert_eq!(found(&long, &[("a/src/b.rs", "f", "why")]), Findings::new());
    }

    #[test]
    fn an_excuse_that_is_not_needed_is_a_finding() {
        let short = "fn f() {\n    x();\n}\n";
        for name in ["f", "gone"] {
            let findings = found(short, &[("a/src/b.rs", name, "why")]);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(findings[0].contains(&format!("{name} is not long")), "{findings:?}");
        }
    }
}
