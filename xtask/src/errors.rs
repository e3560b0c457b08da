//! Error codes: finds every stable code in the sources and what its documentation says, and writes
//! `docs/errors.md` from that.
//!
//! A code is a string literal of the form `ABC-123` (two to four capitals or digits, three digits) in a table
//! `coded!`. Its documentation is the doc comment of the enum variant, or of the struct, that the code's arm
//! stands for. The first paragraph says what happened; the paragraph that starts with `Do: ` says what to do.
//! Neither may be missing.
//!
//! The last column comes from the code too: from the word after the code in the table, and from the arm of the
//! variant in `status`, `exit_code` or `class` of its type.

use std::collections::{BTreeMap, BTreeSet};

use crate::Findings;
use crate::scan;
use crate::tree::{File, Tree};
use tables::Source;

mod handling;
mod tables;

/// Where the page is.
pub(crate) const PAGE: &str = "docs/errors.md";

/// What the paragraph of a doc comment that says what to do starts with.
const DO: &str = "Do: ";

/// Names of standards that look like a code.
const NOT_CODES: &[&str] = &["AES", "BIP", "EIP", "ERC", "ISO", "RFC", "SHA", "UTF"];

/// Codes of errors that no longer exist. They are never used for another error.
const RETIRED: &[&str] = &[
    "AGT-040", "AGT-041", "AGT-042", "AGT-043", "AGT-044", "AGT-045", "AGT-046", "AGT-047",
    "AGT-048", "AGT-049", "BRC-012", "BRC-013", "BRK-016", "CIR-006", "NDC-003", "NODE-029",
    "NODE-061", "PRN-001", "PRN-003", "PRN-021", "PXE-010", "PXE-015", "PXE-016", "PXE-017",
    "SEQ-004",
];

/// What the doc comment of an error says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Docs {
    /// First paragraph; empty when there is none.
    pub(crate) meaning: String,
    /// The paragraph after [`DO`]; empty when there is none.
    pub(crate) remedy: String,
}

/// One use of a code in the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) code: String,
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) docs: Docs,
    /// What the program does with the error, as far as its type says so.
    pub(crate) handling: String,
}

impl Code {
    fn krate(&self) -> &str {
        self.path.split("/src/").next().unwrap_or(&self.path)
    }

    fn prefix(&self) -> &str {
        self.code.split('-').next().unwrap_or_default()
    }
}

/// Whether `text` has the form of a code.
pub(crate) fn is_code(text: &str) -> bool {
    let Some((prefix, number)) = text.split_once('-') else { return false };
    (2..=4).contains(&prefix.len())
        && prefix.starts_with(|c: char| c.is_ascii_uppercase())
        && prefix.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        && number.len() == 3
        && number.chars().all(|c| c.is_ascii_digit())
        && !NOT_CODES.contains(&prefix)
}

/// The code that a literal is or begins with.
fn code_of(literal: &str) -> Option<&str> {
    let head = literal.split(':').next().unwrap_or_default();
    (is_code(head) && (head.len() == literal.len() || literal[head.len()..].starts_with(": ")))
        .then_some(head)
}

/// Whether a file holds what runs outside tests.
fn is_shipped(file: &File) -> bool {
    file.path.contains("/src/")
        && !file.path.starts_with("xtask/")
        && !file.path.contains("/testing/")
        && !file.path.ends_with("/tests.rs")
        && !file.path.contains("/tests/")
}

/// All codes of the tree's own sources, tests left out, in order of code and place.
pub(crate) fn collect(tree: &Tree) -> Vec<Code> {
    let mut codes: Vec<Code> =
        tree.rust().filter(|file| is_shipped(file)).flat_map(collect_file).collect();
    codes.sort_by(|a, b| (&a.code, &a.path, a.line).cmp(&(&b.code, &b.path, b.line)));
    codes
}

fn collect_file(file: &File) -> Vec<Code> {
    let scanned = scan::scan(&file.text);
    let source = Source::new(file, &scanned);
    let end = scan::test_module_line(&scanned.code).unwrap_or(usize::MAX);
    let mut codes = Vec::new();
    for table in source.tables().iter().filter(|table| table.lines.0 < end) {
        for arm in &table.arms {
            let Some(code) = arm.code.clone().filter(|code| is_code(code)) else { continue };
            let at = source.declaration(table, arm);
            let told = at.map(|at| handling::of(&source.code, at)).unwrap_or_default();
            let handling =
                [told.as_str(), arm.handling].into_iter().filter(|part| !part.is_empty());
            codes.push(Code {
                code,
                path: file.path.clone(),
                line: arm.line,
                docs: at.map(|at| docs_above(&source.lines, at)).unwrap_or_default(),
                handling: handling.collect::<Vec<_>>().join(", "),
            });
        }
    }
    codes
}

/// What the doc comment above line `at` (from 0) says, attributes skipped.
fn docs_above(lines: &[&str], at: usize) -> Docs {
    let mut docs: Vec<&str> = Vec::new();
    let mut inside_attribute = false;
    for line in lines[..at].iter().rev().map(|line| line.trim()) {
        if let Some(doc) = line.strip_prefix("///").filter(|_| !inside_attribute) {
            docs.push(doc.trim());
        } else if !docs.is_empty() {
            break;
        } else if line.starts_with("#[") {
            inside_attribute = false;
        } else if line.ends_with(")]") {
            inside_attribute = true;
        } else if !inside_attribute {
            break;
        }
    }
    docs.reverse();
    let mut said = Docs::default();
    for (index, paragraph) in docs.split(|line| line.is_empty()).enumerate() {
        // Links to items lead nowhere on the page.
        let text = paragraph.join(" ").replace("[`", "`").replace("`]", "`");
        match text.strip_prefix(DO) {
            Some(remedy) => said.remedy = remedy.into(),
            None if index == 0 => said.meaning = text,
            None => {}
        }
    }
    said
}

/// The page, generated from the codes.
pub(crate) fn page(codes: &[Code]) -> String {
    let mut by_crate: BTreeMap<&str, BTreeMap<&str, &Code>> = BTreeMap::new();
    for code in codes {
        let of_crate = by_crate.entry(code.krate()).or_default();
        let kept = of_crate.entry(&code.code).or_insert(code);
        if kept.docs.meaning.is_empty() {
            *kept = code;
        }
    }
    let mut page = String::from(
        "# Error codes\n\n\
         `cargo xtask gen` generates this page from the doc comments of the error types; do not edit it.\n\n\
         Every error message starts with a code such as `BRK-001`. The prefix identifies the crate, the number \
         the\nerror. Codes are stable: they appear in logs, HTTP responses and exit messages, and a code is \
         never reused for\nanother error. The column *handling* lists what the program itself does with the \
         error, where its type says so: the\nHTTP status of the response, the exit code of the process (1 \
         unless stated), *retried* for a transient failure, or\n*permanent* if a retry cannot help.\n",
    );
    let cell = |text: &str| text.replace('|', "\\|");
    for (krate, codes) in by_crate {
        page.push_str(&format!(
            "\n## {krate}\n\n| code | meaning | what to do | handling |\n| --- | --- | --- | --- |\n"
        ));
        for (code, entry) in codes {
            let Docs { meaning, remedy } = &entry.docs;
            let (meaning, remedy) = (cell(meaning), cell(remedy));
            page.push_str(&format!("| {code} | {meaning} | {remedy} | {} |\n", entry.handling));
        }
    }
    page.push_str("\n## Retired codes\n\nThese errors no longer exist, and no other error gets their codes:\n");
    let rows: Vec<String> = RETIRED.chunks(10).map(|row| row.join(", ")).collect();
    page.push_str(&format!("{}.\n", rows.join(",\n")));
    page
}

/// Rejects codes without documentation or a remedy, prefixes shared by two crates, and codes that the
/// page and the sources do not both have.
pub(crate) fn check(tree: &Tree) -> Findings {
    let codes = collect(tree);
    let mut findings = undocumented(&codes);
    findings.extend(tables::check(tree));
    findings.extend(unknown_flags(tree, &codes));
    for code in codes.iter().filter(|code| RETIRED.contains(&code.code.as_str())) {
        findings.push(format!(
            "{}:{}: {} was the code of another error; choose a new number",
            code.path, code.line, code.code
        ));
    }
    let mut owner: BTreeMap<&str, &Code> = BTreeMap::new();
    for code in &codes {
        let first = owner.entry(code.prefix()).or_insert(code);
        if first.krate() != code.krate() {
            findings.push(format!(
                "{}:{}: prefix {} belongs to {} ({}:{}); choose another",
                code.path,
                code.line,
                code.prefix(),
                first.krate(),
                first.path,
                first.line
            ));
        }
    }
    let Some(page) = tree.text(PAGE) else {
        findings.push(format!("{PAGE}: missing; run `cargo xtask gen`"));
        return findings;
    };
    let listed: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|line| line.split(" |").next())
        .filter(|cell| is_code(cell))
        .collect();
    for code in &codes {
        if !listed.contains(&code.code.as_str()) {
            findings.push(format!(
                "{}:{}: {} is not in {PAGE}; run `cargo xtask gen`",
                code.path, code.line, code.code
            ));
        }
    }
    for code in listed {
        if !codes.iter().any(|known| known.code == code) {
            findings
                .push(format!("{PAGE}: {code} is in no source any more; run `cargo xtask gen`"));
        }
    }
    findings
}

/// Flags of remedies that no program has: neither as an argument's name, such as `wait-seconds`, nor as
/// the field of a setting, such as `lease_seconds` or, of a table, `l1_urls` for `--node-l1-urls`.
fn unknown_flags(tree: &Tree, codes: &[Code]) -> Findings {
    let is_of_programs =
        |file: &&File| file.path.contains("/src/") && !file.path.starts_with("xtask/");
    let mut names = BTreeSet::new();
    for file in tree.rust().filter(is_of_programs) {
        let scanned = scan::scan(&file.text);
        names.extend(scanned.literals.into_iter().map(|literal| literal.text));
        let lines: Vec<&str> = scanned.code.lines().map(str::trim).collect();
        // The argument of a subcommand is a field of a variant, under its attribute.
        let fields = lines.iter().enumerate().filter_map(|(i, line)| {
            let public = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) "));
            public.or_else(|| (i > 0 && lines[i - 1].ends_with(")]")).then_some(line))
        });
        names.extend(fields.filter_map(|line| Some(line.split_once(':')?.0.to_owned())));
    }
    let is_known = |flag: &str| {
        let field = flag.replace('-', "_");
        let inner = field.split_once('_').map_or("", |(_, rest)| rest);
        [flag, field.as_str(), inner].iter().any(|name| names.contains(*name))
            || ["help", "version"].contains(&flag)
    };
    let mut findings = Findings::new();
    for code in codes {
        // What cargo is told is not ours.
        for quoted in
            code.docs.remedy.split('`').skip(1).step_by(2).filter(|it| !it.starts_with("cargo "))
        {
            for flag in quoted.split("--").skip(1) {
                let end = flag.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                let flag = &flag[..end.unwrap_or(flag.len())];
                if !is_known(flag) {
                    findings.push(format!(
                        "{}:{}: {}: no program has the flag --{flag}",
                        code.path, code.line, code.code
                    ));
                }
            }
        }
    }
    findings
}

/// Codes whose meaning or remedy is documented nowhere.
pub(crate) fn undocumented(codes: &[Code]) -> Findings {
    let mut findings = Findings::new();
    for code in codes {
        let is_there = |get: fn(&Docs) -> &str| {
            codes.iter().any(|other| other.code == code.code && !get(&other.docs).is_empty())
        };
        let at = format!("{}:{}: {}", code.path, code.line, code.code);
        if !is_there(|docs| &docs.meaning) {
            findings.push(format!("{at} has no doc comment; write what happened"));
        }
        if !is_there(|docs| &docs.remedy) {
            findings.push(format!(
                "{at}: its doc comment has no paragraph that starts with `{}`; write what to do",
                DO.trim()
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The tree is full, so
    /// nothing can be added.
    ///
    /// A second paragraph.
    ///
    /// Do: Plant another
    /// one with [`Tree::new`].
    #[error("{code}: full", code = self.code())]
    Full,
    /// A leaf is not there.
    ///
    /// Do: Look.
    #[error(
        "{code}: leaf {index} is missing",
        code = self.code()
    )]
    Missing { index: u64 },
    /// From below.
    ///
    /// Do: Dig.
    #[error("{code}: {0}", code = self.code())]
    Below(#[from] Other),
}
rollmill_errors::coded! {
    TreeError {
        Self::Full => "ABC-001",
        // A comment.
        Self::Missing { .. } => "ABC-002" usage,
        Self::Below(_) => "ABC-003" retried,
    }
}
impl TreeError {
    pub const fn status(&self) -> u16 {
        match self {
            Self::Missing { .. } => 404,
            _ => 500,
        }
    }
}
/// Gone.
///
/// Do: Mend it.
#[derive(Debug, thiserror::Error)]
#[error("{code}: gone", code = self.code())]
struct Gone {
    what: u8,
}
coded! {
    Gone {
        Self { .. } => "ABC-004",
    }
}
fn hash() -> &'static str { "SHA-256" }
#[cfg(test)]
mod tests {
    const X: &str = "ZZZ-999";
}
"#;

    /// An error type `E` with one variant that has these docs and this code.
    fn source(docs: &str, code: &str) -> String {
        format!(
            "#[derive(thiserror::Error)]\nenum E {{\n{docs}    A,\n}}\ncoded! {{\n    E {{\n        \
             Self::A => \"{code}\",\n    }}\n}}\n"
        )
    }

    fn tree(page: &str) -> Tree {
        Tree::of(&[("room/src/lib.rs", SOURCE), (PAGE, page)])
    }

    #[test]
    fn a_retired_code_is_not_used_again() {
        let source = source("    /// A.\n    ///\n    /// Do: Wait.\n", "PRN-001");
        let listed = (PAGE, "| PRN-001 | | | |\n");
        let findings = check(&Tree::of(&[("room/src/lib.rs", &source), listed]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("PRN-001 was the code of another error"), "{findings:?}");
    }

    #[test]
    fn meanings_come_from_the_variants_and_structs() {
        let codes = collect(&tree(""));
        let found: Vec<(&str, &str, &str)> = codes
            .iter()
            .map(|Code { code, docs, .. }| {
                (code.as_str(), docs.meaning.as_str(), docs.remedy.as_str())
            })
            .collect();
        assert_eq!(
            found,
            [
                (
                    "ABC-001",
                    "The tree is full, so nothing can be added.",
                    "Plant another one with `Tree::new`."
                ),
                ("ABC-002", "A leaf is not there.", "Look."),
                ("ABC-003", "From below.", "Dig."),
                ("ABC-004", "Gone.", "Mend it."),
            ]
        );
    }

    #[test]
    fn the_generated_page_satisfies_the_check() {
        let page = page(&collect(&tree("")));
        assert!(page.contains("## room\n"), "{page}");
        assert!(
            page.contains("| ABC-002 | A leaf is not there. | Look. | HTTP 404, exit 2 |\n"),
            "{page}"
        );
        assert!(page.contains("| ABC-003 | From below. | Dig. | retried |\n"), "{page}");
        assert_eq!(check(&tree(&page)), Findings::new());
    }

    #[test]
    fn a_code_missing_from_the_page_is_rejected_and_so_is_a_dead_one() {
        let page = page(&collect(&tree(""))).replace("ABC-002", "ABC-007");
        let findings = check(&tree(&page));
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("ABC-002 is not in"));
        assert!(findings[1].contains("ABC-007 is in no source"));
    }

    #[test]
    fn a_code_without_a_doc_comment_or_a_remedy_is_rejected() {
        let found = |docs: &str| {
            let source = source(docs, "QQ-001");
            check(&Tree::of(&[("room/src/lib.rs", &source), (PAGE, "| QQ-001 | | | |\n")]))
        };
        let findings = found("");
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("QQ-001 has no doc comment"));
        let findings = found("    /// It broke.\n    ///\n    /// Mend it.\n");
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("QQ-001: its doc comment has no paragraph"), "{findings:?}");
        assert_eq!(found("    /// It broke.\n    ///\n    /// Do: Mend it.\n"), Findings::new());
    }

    #[test]
    fn a_flag_that_no_program_has_is_named() {
        let found = |flag: &str| {
            let docs = format!("    /// A.\n    ///\n    /// Do: Set `{flag}`.\n");
            let source = source(&docs, "QQ-001")
                + "struct Config {\n    pub lease_seconds: u64,\n    pub l1_urls: String,\n}\n\
                   enum F {\n    A {\n        #[arg(long)]\n        powers: u64,\n    },\n}\n\
                   fn f() { Arg::new(\"wait-seconds\") }\n";
            check(&Tree::of(&[("room/src/lib.rs", &source), (PAGE, "| QQ-001 | | | |\n")]))
        };
        for flag in [
            "--lease-seconds",
            "--node-l1-urls",
            "a --wait-seconds 3",
            "--powers",
            "cargo x --bins",
        ] {
            assert_eq!(found(flag), Findings::new(), "{flag}");
        }
        let findings = found("--lease-minutes");
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].ends_with("QQ-001: no program has the flag --lease-minutes"));
    }

    #[test]
    fn two_crates_with_one_prefix_are_rejected() {
        let of = |code| source("    /// A.\n    ///\n    /// Do: B.\n", code);
        let (one, two) = (of("QQ-001"), of("QQ-002"));
        let page = (PAGE, "| QQ-001 | |\n| QQ-002 | |");
        let tree = Tree::of(&[("one/src/a.rs", &one), ("two/src/b.rs", &two), page]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("prefix QQ belongs to one"));
    }
}
