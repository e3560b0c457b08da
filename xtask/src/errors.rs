//! Error codes: finds every stable code in the sources and what its documentation says, and writes
//! `docs/errors.md` from that.
//!
//! A code is a string literal that is exactly `ABC-123` (two to four capitals or digits, three
//! digits), or begins with it and a colon. The meaning is the doc comment of the enum variant whose
//! match arm gives the code, of the constant it is assigned to, or of the variant that carries it in
//! `#[error("…")]`; failing that, the message that follows the code. So the page cannot say anything that the code does not.

use std::collections::BTreeMap;

use crate::Findings;
use crate::scan::{self, is_word};
use crate::tree::{File, Tree};

/// Where the page is.
pub(crate) const PAGE: &str = "docs/errors.md";

/// Names of standards that look like a code.
const NOT_CODES: &[&str] = &["AES", "BIP", "EIP", "ERC", "ISO", "RFC", "SHA", "UTF"];

/// One use of a code in the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) code: String,
    pub(crate) path: String,
    pub(crate) line: usize,
    /// First paragraph of the documentation; empty when there is none.
    pub(crate) meaning: String,
}

impl Code {
    fn room(&self) -> &str {
        room_of(&self.path)
    }

    fn prefix(&self) -> &str {
        self.code.split('-').next().unwrap_or_default()
    }
}

/// The folder that a source path belongs to: everything before `/src/`.
fn room_of(path: &str) -> &str {
    path.split("/src/").next().unwrap_or(path)
}

/// Whether `text` has the form of a code.
fn is_code(text: &str) -> bool {
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

/// All codes of the tree's own sources, tests left out, in order of code and place.
pub(crate) fn collect(tree: &Tree) -> Vec<Code> {
    let mut codes: Vec<Code> = tree
        .rust()
        .filter(|file| file.path.contains("/src/") && !file.path.starts_with("xtask/"))
        .filter(|file| !file.path.ends_with("/tests.rs") && !file.path.contains("/tests/"))
        .flat_map(collect_file)
        .collect();
    codes.sort_by(|a, b| (&a.code, &a.path, a.line).cmp(&(&b.code, &b.path, b.line)));
    codes
}

fn collect_file(file: &File) -> Vec<Code> {
    let scanned = scan::scan(&file.text);
    let end = scan::test_module_line(&scanned.code).unwrap_or(usize::MAX);
    let code_lines: Vec<&str> = scanned.code.lines().collect();
    let lines: Vec<&str> = file.text.lines().collect();
    let mut codes = Vec::new();
    let mut previous_line = 0;
    for literal in scanned.literals.iter().filter(|literal| literal.line < end) {
        let Some(code) = code_of(&literal.text) else { continue };
        let mut meaning = meaning(&lines, &code_lines, literal.line, previous_line, code);
        if meaning.is_empty() {
            // The message says it too, if less well.
            meaning = literal.text[code.len()..].trim_start_matches(':').trim().to_owned();
        }
        previous_line = literal.line;
        codes.push(Code {
            code: code.into(),
            path: file.path.clone(),
            line: literal.line,
            meaning,
        });
    }
    codes
}

/// Documentation of the thing that carries the code on `line` (from 1).
fn meaning(lines: &[&str], code: &[&str], line: usize, previous: usize, text: &str) -> String {
    let own = code[line - 1].trim_start();
    if own.starts_with("const ") || own.starts_with("pub") && own.contains("const ") {
        return docs_above(lines, line - 1);
    }
    // The message of an error, on the line of its attribute or on one below it.
    let attribute =
        (line.saturating_sub(4)..line).rev().find(|at| code[*at].trim().starts_with("#["));
    if let Some(at) = attribute
        && code[at..line - 1].iter().all(|line| !line.trim().ends_with("]"))
    {
        return docs_above(lines, at);
    }
    // A match arm: the variants named between the previous code and this one, the code itself cut off.
    let first = previous.max(line.saturating_sub(8));
    let mut names = Vec::new();
    for index in first..line {
        let mut part = code[index];
        if index + 1 == line {
            part = lines[index].find(text).map_or(part, |at| code[index].get(..at).unwrap_or(part));
        }
        if part.contains("match ") {
            names.clear();
        }
        names.extend(variants(part));
    }
    let mut meanings: Vec<String> = Vec::new();
    for name in names {
        if let Some(at) = declaration(code, &name) {
            let docs = docs_above(lines, at);
            if !docs.is_empty() && !meanings.contains(&docs) {
                meanings.push(docs);
            }
        }
    }
    meanings.join(" Or: ")
}

/// Identifiers that follow `::` and begin with a capital.
fn variants(part: &str) -> Vec<String> {
    part.match_indices("::")
        .map(|(at, _)| part[at + 2..].chars().take_while(|c| is_word(*c)).collect::<String>())
        .filter(|name| name.starts_with(|c: char| c.is_uppercase()))
        .collect()
}

/// Index of the line that declares enum variant `name`.
fn declaration(code: &[&str], name: &str) -> Option<usize> {
    code.iter().position(|line| {
        let line = line.trim();
        line.strip_prefix(name).is_some_and(|rest| {
            let rest = rest.trim_start();
            !rest.contains("=>")
                && (rest.is_empty() || rest.starts_with(['{', '(', ',', '=']))
                && !rest.starts_with("==")
        })
    })
}

/// First paragraph of the doc comment above line `at` (from 0), attributes skipped.
fn docs_above(lines: &[&str], at: usize) -> String {
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
    let paragraph: Vec<&str> = docs.into_iter().take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ")
}

/// The page, generated from the codes.
pub(crate) fn page(codes: &[Code]) -> String {
    let mut by_room: BTreeMap<&str, BTreeMap<&str, &Code>> = BTreeMap::new();
    for code in codes {
        let room = by_room.entry(code.room()).or_default();
        let kept = room.entry(&code.code).or_insert(code);
        if kept.meaning.is_empty() {
            *kept = code;
        }
    }
    let mut page = String::from(
        "# Error codes\n\n\
         Generated by `cargo xtask gen` from the documentation of the error types; do not edit.\n\n\
         A code is stable: it appears in logs, in answers over HTTP and in exit messages, and is \
         never reused for\nanother meaning. The letters name the room, the number the error.\n",
    );
    for (room, codes) in by_room {
        page.push_str(&format!("\n## {room}\n\n| code | meaning |\n| --- | --- |\n"));
        for (code, entry) in codes {
            let meaning = entry.meaning.replace('|', "\\|");
            page.push_str(&format!("| {code} | {meaning} |\n"));
        }
    }
    page
}

/// Refuses codes without documentation, prefixes shared by two rooms, and codes that the page and
/// the sources do not both have.
pub(crate) fn check(tree: &Tree) -> Findings {
    let codes = collect(tree);
    let mut findings = Findings::new();
    let mut owner: BTreeMap<&str, &Code> = BTreeMap::new();
    for code in &codes {
        let first = owner.entry(code.prefix()).or_insert(code);
        if first.room() != code.room() {
            findings.push(format!(
                "{}:{}: prefix {} belongs to {} ({}:{}); choose another",
                code.path,
                code.line,
                code.prefix(),
                first.room(),
                first.path,
                first.line
            ));
        }
        let documented = |other: &Code| other.code == code.code && !other.meaning.is_empty();
        if !codes.iter().any(documented) {
            findings.push(format!(
                "{}:{}: {} has neither a doc comment nor a message; write what it means",
                code.path, code.line, code.code
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
/// Why it failed.
pub enum TreeError {
    /// The tree is full, so
    /// nothing can be added.
    ///
    /// A second paragraph.
    #[error("{}: full", self.code())]
    Full,
    /// A leaf is not there.
    #[error(
        "{}: leaf {index} is missing",
        self.code()
    )]
    Missing { index: u64 },
    /// From below.
    #[error("{}: {source}", self.code())]
    Below(#[from] Other),
}
/// Port taken.
pub const PORT_TAKEN: &str = "ABC-009";
impl TreeError {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Full => "ABC-001",
            Self::Missing { .. } => "ABC-002",
            Self::Below(_) => {
                "ABC-003"
            }
        }
    }
}
/// Gone.
#[derive(Debug)]
pub enum LongError {
    /// It broke.
    #[error(
        "ABC-004: a message too long for one line, so that the formatter breaks it: {0}"
    )]
    Broke(u8),
}
fn hash() -> &'static str { "SHA-256" }
#[cfg(test)]
mod tests {
    const X: &str = "ZZZ-999";
}
"#;

    fn tree(page: &str) -> Tree {
        Tree::of(&[("room/src/lib.rs", SOURCE), (PAGE, page)])
    }

    #[test]
    fn meanings_come_from_the_variants_and_constants() {
        let codes = collect(&tree(""));
        let found: Vec<(&str, &str)> =
            codes.iter().map(|code| (code.code.as_str(), code.meaning.as_str())).collect();
        assert_eq!(
            found,
            [
                ("ABC-001", "The tree is full, so nothing can be added."),
                ("ABC-002", "A leaf is not there."),
                ("ABC-003", "From below."),
                ("ABC-004", "It broke."),
                ("ABC-009", "Port taken."),
            ]
        );
    }

    #[test]
    fn the_generated_page_satisfies_the_check() {
        let page = page(&collect(&tree("")));
        assert!(page.contains("## room\n"), "{page}");
        assert_eq!(check(&tree(&page)), Findings::new());
    }

    #[test]
    fn a_code_missing_from_the_page_is_refused_and_so_is_a_dead_one() {
        let page = page(&collect(&tree(""))).replace("ABC-002", "ABC-007");
        let findings = check(&tree(&page));
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("ABC-002 is not in"));
        assert!(findings[1].contains("ABC-007 is in no source"));
    }

    #[test]
    fn an_undocumented_code_is_refused() {
        let tree = Tree::of(&[
            ("room/src/lib.rs", "enum E {\n    A,\n}\nfn f() { match e { E::A => \"QQ-001\" } }"),
            (PAGE, "| QQ-001 | |\n"),
        ]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("neither a doc comment"));
    }

    #[test]
    fn two_rooms_with_one_prefix_are_refused() {
        let source = "/// A.\npub const A: &str = \"QQ-001\";\n";
        let tree =
            Tree::of(&[("one/src/a.rs", source), ("two/src/b.rs", source), (PAGE, "| QQ-001 | |")]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("prefix QQ belongs to one"));
    }
}
