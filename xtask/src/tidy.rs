//! `cargo xtask tidy`: the house rules that a text search can check.
//!
//! Every exception is listed here with its reason, and an exception that is no longer needed is
//! rejected too, so that the lists stay true.

use std::collections::{BTreeMap, BTreeSet};

use crate::Findings;
use crate::errors;
use crate::scan;
use crate::tree::{File, Tree};

/// Longest source file, in lines.
const LINES_MAX: usize = 600;

/// Source files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Files that may hold `unsafe`, with the reason.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("agent/src/nvml.rs", "NVML is a C library"),
    ("agent/src/xid.rs", "NVML is a C library"),
    ("algebra/src/cpu/avx2/curve.rs", "AVX2 instructions"),
    ("algebra/src/cpu/avx2/field.rs", "AVX2 instructions"),
    ("algebra/src/cpu/avx2/ntt.rs", "AVX2 instructions"),
    ("algebra/src/cpu/avx2/rows.rs", "AVX2 instructions"),
    ("algebra/src/cpu/ifma/curve.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/field.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/field/products.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/field/tests.rs", "tests of AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/invert.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/ntt.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/poseidon2.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/rows.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/scalars.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/scan.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/sums.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/ifma/vector.rs", "AVX-512 intrinsics"),
    ("algebra/src/cpu/pages.rs", "memory asked of the system"),
    ("algebra/src/cpu/words/adx.rs", "BMI2 and ADX instructions"),
    ("algebra/src/cpu/words/adx/many.rs", "BMI2 and ADX instructions"),
    ("icicle/src/library.rs", "ICICLE is a C library"),
    ("icicle/tests/fake/lib.rs", "a C library for the tests, seen from inside"),
    ("kernels/src/cards.rs", "the CUDA driver is a C library"),
    ("kernels/src/cuda.rs", "the CUDA driver is a C library"),
    ("kernels/src/emulated.rs", "emulated kernels work on raw memory"),
    ("shaders/src/kernel.rs", "shader modules without run-time checks"),
    ("shaders/src/native.rs", "memory and pipelines that wgpu has no safe function for"),
];

/// What must not be left behind in code.
const LEFTOVERS: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Files that a program writes and `gen --check` compares instead.
const GENERATED: &[&str] =
    &["contracts/src/EpochRoot1Verifier.sol", "contracts/src/EpochRoot2Verifier.sol"];

/// The page that lists which test fails without which constraint, and its number of duties.
const SOUNDNESS: &str = "docs/book/soundness.md";
/// Pages of tables whose last cells name functions.
const TRAPS: &str = "docs/book/traps.md";
const FAULTS: &str = "docs/book/faults.md";
const DUTIES: usize = 14;
/// The table of contents of the book that `make book` builds.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Phrases that no reader would search for, and what to write. Kernels in CUDA are left out: their image
/// names the digests of their sources.
const PHRASES: &[(&str, &str)] = &[
    ("a person must", "an operator must, or a usage error"),
    ("another look", "another poll or a retry"),
    ("arrows between", "dependencies between"),
    ("are refused", "are rejected"),
    ("between looks", "between polls"),
    ("cannot be had", "is unavailable or is missing"),
    ("come to rest", "settle"),
    ("given back", "released or returned"),
    ("gives back", "releases or returns"),
    ("hands out", "returns or leases"),
    ("has not begun", "has not started"),
    ("held back", "locked or delayed"),
    ("held down", "throttled"),
    ("held up", "delayed or paused"),
    ("hold up", "delay or pause"),
    ("holds up", "delays or pauses"),
    ("is refused", "is rejected"),
    ("is wanted", "is needed or is requested"),
    ("lets go", "releases or drops"),
    ("look again", "poll again or retry"),
    ("akes room", "evicts or frees"),
    ("of no meaning", "dummy or placeholder"),
    ("ordered end", "graceful shutdown"),
    ("puts back", "restores or returns"),
    ("second or so", "about a second"),
    ("stands still", "does not advance"),
    ("taken back", "removed or reorganised"),
    ("the most there", "the maximum"),
    ("thread a piece", "thread per chunk"),
    ("told of", "informed of, or reports"),
    ("took back", "removed or reorganised"),
    ("was begun", "was started"),
    ("went on", "continued"),
    ("what became of", "the status or the outcome of"),
    ("what becomes of", "the status or the outcome of"),
];

/// Endings of files that people write.
const SOURCES: &[&str] = &[".rs", ".sol", ".yul", ".sql", ".js", ".py", ".sh", ".wgsl"];
const TEXTS: &[&str] = &[".md", ".toml", ".yml", ".yaml"];

/// Runs every rule.
pub(crate) fn check(tree: &Tree) -> Findings {
    check_except(tree, LONG_FILES, UNSAFE_FILES)
}

/// A list of files and why each is excused.
type Exceptions<'a> = &'a [(&'a str, &'a str)];

fn check_except(tree: &Tree, long: Exceptions<'_>, with_unsafe: Exceptions<'_>) -> Findings {
    let mut findings = Findings::new();
    file_length(tree, long, &mut findings);
    unsafe_code(tree, with_unsafe, &mut findings);
    leftovers(tree, &mut findings);
    white_space(tree, &mut findings);
    phrases(tree, &mut findings);
    decision_records(tree, &mut findings);
    crates_exist(tree, "README.md", "## What works today", &mut findings);
    crates_exist(tree, "docs/architecture.md", "## Crates", &mut findings);
    soundness_duties(tree, &mut findings);
    functions_of_tables(tree, TRAPS, &mut findings);
    functions_of_tables(tree, FAULTS, &mut findings);
    summary(tree, &mut findings);
    findings.extend(errors::check(tree));
    findings
}

fn written_by_people<'a>(tree: &'a Tree, endings: &'a [&str]) -> impl Iterator<Item = &'a File> {
    tree.files.iter().filter(move |file| {
        endings.iter().any(|ending| file.path.ends_with(ending))
            && !GENERATED.contains(&file.path.as_str())
    })
}

fn file_length(tree: &Tree, long: Exceptions<'_>, findings: &mut Findings) {
    for file in written_by_people(tree, SOURCES) {
        let lines = file.text.lines().count();
        let excused = long.iter().any(|(path, _)| *path == file.path);
        if lines > LINES_MAX && !excused {
            findings.push(format!(
                "{}: {lines} lines, at most {LINES_MAX}; split it along its ideas",
                file.path
            ));
        }
        if lines <= LINES_MAX && excused {
            findings.push(format!("{}: no longer long; take it off LONG_FILES", file.path));
        }
    }
    for (path, _) in long.iter().filter(|(path, _)| tree.text(path).is_none()) {
        findings.push(format!("{path}: is on LONG_FILES but not in the tree"));
    }
}

fn unsafe_code(tree: &Tree, allowed: Exceptions<'_>, findings: &mut Findings) {
    for file in tree.rust() {
        let code = scan::scan(&file.text).code;
        let lines = scan::lines_with_word(&code, "unsafe");
        let excused = allowed.iter().any(|(path, _)| *path == file.path);
        if !excused {
            for line in &lines {
                findings.push(format!(
                    "{}:{line}: unsafe outside the files listed in xtask/src/tidy.rs",
                    file.path
                ));
            }
        } else if lines.is_empty() {
            findings.push(format!("{}: has no unsafe; take it off UNSAFE_FILES", file.path));
        }
    }
    for (path, _) in allowed.iter().filter(|(path, _)| tree.text(path).is_none()) {
        findings.push(format!("{path}: is on UNSAFE_FILES but not in the tree"));
    }
}

fn leftovers(tree: &Tree, findings: &mut Findings) {
    for file in tree.rust() {
        let code = scan::scan(&file.text).code;
        for word in LEFTOVERS {
            for line in scan::lines_with_word(&code, word) {
                findings.push(format!("{}:{line}: {word} left behind; finish it", file.path));
            }
        }
        for (index, line) in code.lines().enumerate() {
            let line = line.trim_start();
            // The entry point of a child process that a test starts is no test by itself.
            let original = file.text.lines().nth(index).unwrap_or_default();
            if line.starts_with("#[ignore") && !original.contains("\"not a test:") {
                findings.push(format!(
                    "{}:{}: an ignored test is no test; run it or delete it",
                    file.path,
                    index + 1
                ));
            }
        }
    }
}

fn phrases(tree: &Tree, findings: &mut Findings) {
    let files = written_by_people(tree, SOURCES).chain(written_by_people(tree, TEXTS));
    for file in files.filter(|file| file.path != "xtask/src/tidy.rs") {
        for (index, line) in file.text.lines().enumerate() {
            for (phrase, better) in PHRASES.iter().filter(|(phrase, _)| line.contains(phrase)) {
                findings.push(format!(
                    "{}:{}: `{phrase}` is a house word; write {better}",
                    file.path,
                    index + 1
                ));
            }
        }
    }
}

fn white_space(tree: &Tree, findings: &mut Findings) {
    for file in written_by_people(tree, SOURCES).chain(written_by_people(tree, TEXTS)) {
        for (index, line) in file.text.split('\n').enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(format!("{}:{}: trailing white space", file.path, index + 1));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(format!("{}: does not end with a newline", file.path));
        }
    }
}

/// Decision records: `docs/adr/NNNN-name.md`, each number once, a title and a date.
fn decision_records(tree: &Tree, findings: &mut Findings) {
    const FOLDER: &str = "docs/adr/";
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        let name = &file.path[FOLDER.len()..];
        let Some(number) = adr_number(name) else {
            findings.push(format!("{}: name it NNNN-name.md", file.path));
            continue;
        };
        if let Some(other) = numbers.insert(number, &file.path) {
            findings.push(format!("{}: number {number} is taken by {other}", file.path));
        }
        let head: Vec<&str> = file.text.lines().take(8).collect();
        if !head.first().is_some_and(|line| line.starts_with("# ")) {
            findings.push(format!("{}: the first line must be a title, `# …`", file.path));
        }
        if !head.iter().any(|line| line.contains("Date") && has_date(line)) {
            findings.push(format!("{}: no `Date: YYYY-MM-DD` near the top", file.path));
        }
    }
}

fn adr_number(name: &str) -> Option<&str> {
    let (number, rest) = name.split_once('-')?;
    let digits = number.len() == 4 && number.chars().all(|c| c.is_ascii_digit());
    let slug = rest.strip_suffix(".md")?;
    let plain = slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (digits && plain && !slug.is_empty()).then_some(number)
}

fn has_date(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_digit() && c != '-').any(|word| {
        let parts: Vec<&str> = word.split('-').collect();
        let [year, month, day] = parts[..] else { return false };
        let number = |text: &str| text.parse::<u32>().unwrap_or(0);
        year.len() == 4
            && month.len() == 2
            && day.len() == 2
            && (2026..2100).contains(&number(year))
            && (1..=12).contains(&number(month))
            && (1..=31).contains(&number(day))
    })
}

/// Every crate named as `` `folder/` `` in the first column of the table under `heading` exists.
fn crates_exist(tree: &Tree, path: &str, heading: &str, findings: &mut Findings) {
    let Some(text) = tree.text(path) else {
        findings.push(format!("{path}: missing"));
        return;
    };
    let mut lines = text.lines().enumerate().skip_while(|(_, line)| *line != heading).skip(1);
    let mut rows = 0;
    for (index, line) in lines.by_ref().take_while(|(_, line)| !line.starts_with("## ")) {
        let Some(cell) = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next()) else {
            continue;
        };
        for name in cell.split('`').skip(1).step_by(2) {
            rows += 1;
            let folder = format!("{}/", name.trim_end_matches('/'));
            let exists = tree.paths.iter().any(|path| path.starts_with(&folder) || path == name);
            if !exists {
                findings.push(format!("{path}:{}: there is no crate `{name}`", index + 1));
            }
        }
    }
    if rows == 0 {
        findings.push(format!("{path}: no table of crates under `{heading}`"));
    }
}

/// Every duty of the page on soundness names its tests, and every test that the page names exists.
///
/// The duties are the rows `| N. … |` of its table, numbered from 1 to [`DUTIES`]; a row's last cell
/// names its tests in back quotes, and may name their files. Elsewhere on the page a word in back
/// quotes is taken for a test when it has the form of one.
fn soundness_duties(tree: &Tree, findings: &mut Findings) {
    let Some(text) = tree.text(SOUNDNESS) else {
        findings.push(format!("{SOUNDNESS}: missing"));
        return;
    };
    let tests = names_of_tests(tree);
    let mut duties = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let duty = line.strip_prefix("| ").and_then(|rest| rest.split_once(". "));
        let duty = duty.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
        let cell = duty.and_then(|(_, rest)| rest.trim_end_matches([' ', '|']).rsplit('|').next());
        let quoted = cell.unwrap_or(line).split('`').skip(1).step_by(2);
        let mut named = 0;
        for name in quoted {
            let is_name =
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                    || name.starts_with("test") && name.chars().all(scan::is_word);
            if name.contains('/') {
                let folder = format!("{}/", name.trim_end_matches('/'));
                if !tree.paths.iter().any(|path| path == name || path.starts_with(&folder)) {
                    findings.push(format!("{SOUNDNESS}:{line_number}: there is no `{name}`"));
                }
            } else if is_name && (duty.is_some() || name.matches('_').count() > 2) {
                named += 1;
                if !tests.contains(name) {
                    findings.push(format!("{SOUNDNESS}:{line_number}: there is no test `{name}`"));
                }
            }
        }
        if let Some((number, _)) = duty {
            duties.push(number);
            if named == 0 {
                findings.push(format!("{SOUNDNESS}:{line_number}: duty {number} names no test"));
            }
        }
    }
    if duties != (1..=DUTIES).collect::<Vec<_>>() {
        findings.push(format!("{SOUNDNESS}: duties {duties:?}, expected 1 to {DUTIES} in order"));
    }
}

/// Every function that the tables of the page at `path` name in their last cells exists, and every row
/// names one.
fn functions_of_tables(tree: &Tree, path: &str, findings: &mut Findings) {
    let Some(text) = tree.text(path) else {
        findings.push(format!("{path}: missing"));
        return;
    };
    let mut in_table = false;
    for (index, line) in text.lines().enumerate() {
        if !line.starts_with("| ") {
            in_table = false;
            continue;
        }
        if !in_table || line.starts_with("| ---") {
            in_table = line.starts_with("| ---");
            continue;
        }
        let cell = line.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or(line);
        let mut named = 0;
        for name in cell.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
            named += 1;
            let (plain, generic) = (format!("fn {name}("), format!("fn {name}<"));
            let is_there = |text: &str| text.contains(&plain) || text.contains(&generic);
            let of_contract = format!("function {name}(");
            let contracts = || tree.files.iter().filter(|file| file.path.ends_with(".t.sol"));
            if !tree.rust().any(|file| is_there(&file.text))
                && !contracts().any(|file| file.text.contains(&of_contract))
            {
                findings.push(format!("{path}:{}: there is no function `{name}`", index + 1));
            }
        }
        if named == 0 {
            findings.push(format!("{path}:{}: the row names no function", index + 1));
        }
    }
}

/// [`SUMMARY`] lists every page under `docs` once, and only pages that exist.
fn summary(tree: &Tree, findings: &mut Findings) {
    const FOLDER: &str = "docs/";
    let Some(text) = tree.text(SUMMARY) else {
        findings.push(format!("{SUMMARY}: missing"));
        return;
    };
    let mut listed = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for page in links.map(|link| format!("{FOLDER}{link}")) {
            if tree.text(&page).is_none() {
                findings.push(format!("{SUMMARY}:{}: there is no page {page}", index + 1));
            }
            if listed.contains(&page) {
                findings.push(format!("{SUMMARY}:{}: {page} is listed twice", index + 1));
            }
            listed.insert(page);
        }
    }
    let is_page = |path: &str| path.starts_with(FOLDER) && path.ends_with(".md") && path != SUMMARY;
    for file in tree.files.iter().filter(|file| is_page(&file.path)) {
        if !listed.contains(&file.path) {
            findings.push(format!("{}: {SUMMARY} does not list it; add a line", file.path));
        }
    }
}

/// The names of all test functions, in Rust and in Solidity.
pub(crate) fn names_of_tests(tree: &Tree) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let name = |line: &str, word: &str| -> Option<String> {
        let (_, rest) = line.split_once(word)?;
        Some(rest.chars().take_while(|c| scan::is_word(*c)).collect())
    };
    for file in tree.rust() {
        let code = scan::scan(&file.text).code;
        let mut is_test = false;
        for line in code.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.contains("::test");
            } else {
                if is_test {
                    names.extend(name(line, "fn "));
                }
                is_test = false;
            }
        }
    }
    for file in tree.files.iter().filter(|file| file.path.ends_with(".t.sol")) {
        let found = file.text.lines().filter_map(|line| name(line, "function "));
        names
            .extend(found.filter(|name| name.starts_with("test") || name.starts_with("invariant")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str =
        "# R\n\n## What works today\n\n| room | today |\n| --- | --- |\n| `a/` | yes |\n";
    const MAP: &str = "# A\n\n## Crates\n\n| crate | contents |\n| --- | --- |\n| `a/` | code |\n";
    const ERRORS: &str = "# Error codes\n";

    const TESTS: &str = "#[test]\nfn it_is_so() {}\n\n#[tokio::test]\nasync fn this_too() {}\n";

    /// A page of duties, the third of which names `tests`.
    fn duties(tests: &str) -> String {
        let mut text = "# S\n\n| duty | met by | tests |\n| --- | --- | --- |\n".to_owned();
        for number in 1..=DUTIES {
            let tests = if number == 3 { tests } else { "`it_is_so`" };
            text += &format!("| {number}. A duty | `not_a_test` | {tests} |\n");
        }
        text
    }

    /// A tree that breaks no rule, with `extra` files added or replaced.
    fn findings_with(extra: &[(&str, &str)]) -> Findings {
        let page = duties("`a/tests/t.rs`: `this_too`; `a/tests`: `testFuzz_it`");
        let mut files = vec![
            ("README.md", README),
            ("docs/architecture.md", MAP),
            ("docs/errors.md", ERRORS),
            ("docs/adr/0001-why.md", "# 1. Why\n\nDate: 2026-11-21\n"),
            ("a/src/lib.rs", "//! Nothing.\n"),
            ("a/tests/t.rs", TESTS),
            ("a/tests/T.t.sol", "    function testFuzz_it(uint256 x) public {}\n"),
            (SOUNDNESS, &page),
            (TRAPS, "# T\n\n| trap | held by |\n| --- | --- |\n| One | `it_is_so` |\n"),
            (FAULTS, "# F\n\n| fault | held by |\n| --- | --- |\n| One | `it_is_so` |\n"),
        ];
        files.retain(|(path, _)| extra.iter().all(|(other, _)| other != path));
        files.extend_from_slice(extra);
        let pages = files.iter().filter_map(|(path, _)| path.strip_prefix("docs/"));
        let summary: String = pages.map(|page| format!("- [A page]({page})\n")).collect();
        files.push((SUMMARY, &summary));
        check_except(&Tree::of(&files), &[], &[])
    }

    #[test]
    fn a_tidy_tree_passes() {
        assert_eq!(findings_with(&[]), Findings::new());
        let two_tables = "| a | b |\n| --- | --- |\n| One | `it_is_so` |\n\n## Contracts\n\n\
                          | a | b |\n| --- | --- |\n| Two | `testFuzz_it` |\n";
        assert_eq!(findings_with(&[(FAULTS, two_tables)]), Findings::new());
    }

    #[test]
    fn each_broken_rule_is_rejected() {
        let long = "//\n".repeat(LINES_MAX + 1);
        let all = duties("`it_is_so`");
        let one_more = format!("expected 1 to {DUTIES}");
        let cases: &[(&str, &str, &str)] = &[
            ("a/src/long.rs", &long, "601 lines"),
            ("a/src/x.rs", "fn f() { unsafe { g() } }\n", "unsafe outside"),
            ("a/src/x.rs", "fn f() {\n    todo!()\n}\n", "a/src/x.rs:2: todo! left behind"),
            ("a/src/x.rs", "fn f() { dbg!(1); }\n", "dbg! left behind"),
            ("a/tests/x.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n", "ignored test"),
            ("a/src/x.rs", "fn f() {} \n", "a/src/x.rs:1: trailing white space"),
            ("a/x.md", "text", "does not end with a newline"),
            ("a/x.md", "A key of no meaning.\n", "a/x.md:1: `of no meaning` is a house word"),
            ("docs/adr/0001-again.md", "# T\n\nDate: 2026-11-21\n", "is taken by"),
            ("docs/adr/2-short.md", "# T\n\nDate: 2026-11-21\n", "name it NNNN-name.md"),
            ("docs/adr/0002-undated.md", "# T\n\nDate: soon\n", "no `Date:"),
            ("docs/adr/0002-bare.md", "Date: 2026-11-21\n", "must be a title"),
            (
                "README.md",
                "## What works today\n\n| `ghost/` | yes |\n",
                "there is no crate `ghost/`",
            ),
            ("README.md", "# R\n", "no table of crates"),
            (
                "a/src/x.rs",
                "enum E {\n    /// Bad.\n    ///\n    /// Do: Good.\n    A,\n}\ncoded! {\n    E {\n        Self::A => \"XY-001\",\n    }\n}\n",
                "XY-001 is not in",
            ),
            ("docs/errors.md", "| XY-001 | Bad. |\n", "XY-001 is in no source"),
            (SOUNDNESS, &duties("`gone`"), "soundness.md:7: there is no test `gone`"),
            (SOUNDNESS, &duties("`a/gone.rs`: `it_is_so`"), "there is no `a/gone.rs`"),
            (SOUNDNESS, &duties("`a/tests/t.rs`"), "duty 3 names no test"),
            (SOUNDNESS, &duties("nothing"), "duty 3 names no test"),
            (SOUNDNESS, &format!("{all}| 12. Again | | `it_is_so` |\n"), &one_more),
            (SOUNDNESS, &format!("{all}\nSee `a_test_that_is_gone`.\n"), "there is no test"),
            (TRAPS, "| trap | by |\n| --- | --- |\n| One | `is_gone` |\n", "no function `is_gone`"),
            (TRAPS, "| trap | by |\n| --- | --- |\n| One | `equal` |\n", "names no function"),
            (
                FAULTS,
                "| a | b |\n| --- | --- |\n| One | `it_is_so` |\n\nText.\n\n| a | b |\n| --- | --- |\n| Two | `testFuzz_no` |\n",
                "faults.md:9: there is no function `testFuzz_no`",
            ),
            ("a/tests/t.rs", &TESTS.replace("#[test]", "// #[test]"), "no test `it_is_so`"),
            ("a/tests/T.t.sol", "contract T {}\n", "no test `testFuzz_it`"),
        ];
        for (path, text, expected) in cases {
            let findings = findings_with(&[(path, text)]);
            // Every duty but the third names the removed test.
            let count = if *path == "a/tests/t.rs" { DUTIES - 1 } else { 1 };
            assert_eq!(findings.len(), count, "{path} {expected}: {findings:?}");
            assert!(findings[0].contains(expected), "{path}: {findings:?}");
        }
    }

    #[test]
    fn a_page_that_the_summary_lacks_repeats_or_invents_is_named() {
        let findings_of = |text: &str| {
            let pages = [(SUMMARY, text), ("docs/a.md", "# A\n"), ("docs/book/b.md", "# B\n")];
            let mut findings = Findings::new();
            summary(&Tree::of(&pages), &mut findings);
            findings
        };
        let all = "# Summary\n\n[A](a.md)\n\n- [B](book/b.md)\n";
        assert_eq!(findings_of(all), Findings::new());
        for (text, expected) in [
            ("[A](a.md)\n", "docs/book/b.md: docs/SUMMARY.md does not list it"),
            (&format!("{all}- [A](a.md)\n"), "docs/SUMMARY.md:6: docs/a.md is listed twice"),
            (&format!("{all}- [C](c.md)\n"), "docs/SUMMARY.md:6: there is no page docs/c.md"),
        ] {
            let findings = findings_of(text);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(findings[0].starts_with(expected), "{findings:?}");
        }
        let mut findings = Findings::new();
        summary(&Tree::of(&[]), &mut findings);
        assert_eq!(findings, ["docs/SUMMARY.md: missing"]);
    }

    #[test]
    fn an_exception_that_is_not_needed_is_rejected() {
        let tree = Tree::of(&[("a/src/x.rs", "fn f() {}\n")]);
        let mut findings = Findings::new();
        file_length(&tree, &[("a/src/x.rs", "no"), ("gone.rs", "no")], &mut findings);
        unsafe_code(&tree, &[("a/src/x.rs", "no")], &mut findings);
        assert_eq!(findings.len(), 3, "{findings:?}");
    }

    #[test]
    fn dates_are_real() {
        assert!(has_date("Date: 2026-11-21"));
        assert!(!has_date("Date: 2026-13-01"));
        assert!(!has_date("Date: 26-11-21"));
    }
}
