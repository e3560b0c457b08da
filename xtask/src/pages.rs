//! Part of `cargo xtask tidy`: what a page points at is there. A link leads to a file and a heading, a table of
//! tests names tests, and a command of `cast` calls a function that a contract has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Findings;
use crate::tidy::names_of_tests;
use crate::tree::{File, Tree};

/// Folder of the pages; those in the repository's root are checked as well.
const FOLDER: &str = "docs/";
/// Folder of the pages whose tables of tests are checked.
const BOOK: &str = "docs/book/";
/// The last title of a table of tests.
const TESTS: &str = "tests";
/// Folder of the contracts' interfaces.
const ARTIFACTS: &str = "contracts/artifacts/";
/// Commands of Foundry's `cast` whose first quoted argument is a function.
const CALLS: [&str; 3] = ["cast send ", "cast call ", "cast calldata "];

/// Broken links, tests and functions that do not exist.
pub(crate) fn check(tree: &Tree) -> Findings {
    let pages: Vec<&File> = tree.files.iter().filter(|file| is_page(&file.path)).collect();
    let headings: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|page| (page.path.as_str(), headings(&page.text))).collect();
    let tests = names_of_tests(tree);
    let functions = functions(tree);
    let mut findings = Findings::new();
    for page in pages {
        for (number, line) in prose(&page.text) {
            for link in links(line) {
                if let Some(wrong) = broken(tree, &headings, &page.path, link) {
                    findings.push(format!("{}:{number}: {wrong}", page.path));
                }
            }
        }
        if page.path.starts_with(BOOK) {
            tables_of_tests(page, &tests, &mut findings);
        }
        for (index, line) in page.text.lines().enumerate() {
            for call in calls(line).filter(|call| !is_known(&functions, call)) {
                let place = format!("{}:{}", page.path, index + 1);
                findings.push(format!("{place}: no contract has `{call}`; see {ARTIFACTS}"));
            }
        }
    }
    findings
}

fn is_page(path: &str) -> bool {
    path.ends_with(".md") && (path.starts_with(FOLDER) || !path.contains('/'))
}

/// The lines outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!is_fence && !in_code).then_some((index + 1, line))
    })
}

/// The targets of the links of a line that stay in the repository.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(' '))
}

/// What is wrong with a link on the page at `path`.
fn broken(
    tree: &Tree,
    headings: &BTreeMap<&str, BTreeSet<String>>,
    path: &str,
    link: &str,
) -> Option<String> {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { path.to_owned() } else { joined(path, file) };
    let folder = format!("{}/", target.trim_end_matches('/'));
    if !tree.paths.iter().any(|path| *path == target || path.starts_with(&folder)) {
        return Some(format!("the link to `{link}` leads nowhere"));
    }
    let known = headings.get(target.as_str())?;
    (!heading.is_empty() && !known.contains(heading))
        .then(|| format!("{target} has no heading `#{heading}`"))
}

/// A path relative to the folder of another one.
fn joined(page: &str, link: &str) -> String {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// The names by which links reach the headings of a page.
fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter_map(|(_, line)| {
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))
        })
        .map(|title| {
            let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// Every row of a table whose last title is [`TESTS`] names tests there, and they exist.
fn tables_of_tests(page: &File, tests: &BTreeSet<String>, findings: &mut Findings) {
    let (mut before, mut is_table) = ("", false);
    for (number, line) in prose(&page.text) {
        if line.starts_with("| ---") {
            is_table = last_cell(before) == TESTS;
        } else if !line.starts_with("| ") {
            is_table = false;
        } else if is_table {
            let quoted = last_cell(line).split('`').skip(1).step_by(2);
            // A path says where the tests after it are.
            let names: Vec<&str> =
                quoted.filter(|name| name.contains('_') && !name.contains('/')).collect();
            if names.is_empty() {
                findings.push(format!("{}:{number}: the row names no test", page.path));
            }
            for name in names.iter().filter(|name| !tests.contains(**name)) {
                findings.push(format!("{}:{number}: there is no test `{name}`", page.path));
            }
        }
        before = line;
    }
}

fn last_cell(row: &str) -> &str {
    row.trim().trim_end_matches('|').rsplit('|').next().unwrap_or(row).trim()
}

/// The functions of all contracts, `name(types)`, with the types that each returns.
fn functions(tree: &Tree) -> BTreeMap<String, BTreeSet<String>> {
    let mut functions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let is_artifact =
        |file: &&File| file.path.starts_with(ARTIFACTS) && file.path.ends_with(".json");
    for file in tree.files.iter().filter(is_artifact) {
        let artifact: Value = serde_json::from_str(&file.text).unwrap_or_default();
        for entry in artifact["abi"].as_array().into_iter().flatten() {
            if entry["type"] == "function" {
                let name = entry["name"].as_str().unwrap_or_default();
                let call = format!("{name}({})", types(&entry["inputs"]));
                functions.entry(call).or_default().insert(flat(&types(&entry["outputs"])));
            }
        }
    }
    functions
}

/// The types of a list of parameters, as a signature writes them.
fn types(list: &Value) -> String {
    let of = |parameter: &Value| {
        let name = parameter["type"].as_str().unwrap_or_default();
        match name.strip_prefix("tuple") {
            Some(array) => format!("({}){array}", types(&parameter["components"])),
            None => name.to_owned(),
        }
    };
    let list: Vec<String> = list.as_array().into_iter().flatten().map(of).collect();
    list.join(",")
}

/// Types without the brackets of a struct, which is decoded as its fields are.
fn flat(types: &str) -> String {
    types.replace(['(', ')'], "")
}

/// The functions that the commands of a line call, with the types of what they return.
fn calls(line: &str) -> impl Iterator<Item = &str> {
    CALLS.into_iter().flat_map(|call| line.split(call).skip(1)).filter_map(|rest| {
        let quoted = rest.split('\'').nth(1)?;
        // The text of a proposal is quoted as well.
        (quoted.contains('(') && !quoted.contains(' ')).then_some(quoted)
    })
}

/// Whether a contract has a function, and returns these types if some are named.
fn is_known(functions: &BTreeMap<String, BTreeSet<String>>, call: &str) -> bool {
    // No parameter of a function that the pages call is a struct.
    let end = call.find(')').map_or(call.len(), |at| at + 1);
    let (function, returned) = call.split_at(end);
    functions
        .get(function)
        .is_some_and(|known| returned.is_empty() || known.contains(&flat(returned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTIFACT: &str = r#"{"abi": [
        {"type": "function", "name": "settle", "inputs": [{"type": "uint64"}], "outputs": []},
        {"type": "function", "name": "tips", "inputs": [], "outputs": [
            {"type": "tuple", "components": [{"type": "uint48"}, {"type": "uint48"}]}]},
        {"type": "event", "name": "Settled", "inputs": []}
    ]}"#;

    fn findings(page: &str) -> Findings {
        check(&Tree::of(&[
            ("docs/book/a.md", page),
            ("docs/book/b.md", "# A title, with `code`\n\n```\n# no heading\n```\n"),
            ("README.md", "[A](docs/book/a.md)\n"),
            ("contracts/artifacts/Rollup.json", ARTIFACT),
            ("a/tests/t.rs", "#[test]\nfn it_is_so() {}\n\nfn no_test_at_all() {}\n"),
            ("a/tests/T.t.sol", "    function testFuzz_it(uint256 x) public {}\n"),
        ]))
    }

    #[test]
    fn what_is_there_is_accepted() {
        for page in [
            "[B](b.md), [its title](b.md#a-title-with-code), [a folder](../../a/tests), [web](https://x.y/#z)\n",
            "# Here\n\n[here](#here)\n\n```\n[code](nowhere.md)\n```\n",
            "| rule | tests |\n| --- | --- |\n| One | `it_is_so`; `a/tests/T.t.sol`: `testFuzz_it` |\n",
            "| rule | other |\n| --- | --- |\n| One | `no_such_thing` |\n",
            "cast send --private-key $KEY $ROLLUP 'settle(uint64)' 12\n",
            "cast call $ROLLUP 'tips()(uint48,uint48)' and cast call $ROLLUP 'tips()'\n",
            "cast keccak 'Fund it (all)'\n",
        ] {
            assert_eq!(findings(page), Findings::new(), "{page}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (page, expected) in [
            ("\n[gone](gone.md)\n", "docs/book/a.md:2: the link to `gone.md` leads nowhere"),
            ("[B](b.md#no-heading)\n", "a.md:1: docs/book/b.md has no heading `#no-heading`"),
            ("[up](../../../b.md)\n", "leads nowhere"),
            (
                "| a | tests |\n| --- | --- |\n| One | `no_test_at_all` |\n",
                "a.md:3: there is no test",
            ),
            (
                "| a | tests |\n| --- | --- |\n| One | by reading |\n",
                "a.md:3: the row names no test",
            ),
            ("cast send $A 'settle(uint256)' 1\n", "a.md:1: no contract has `settle(uint256)`"),
            ("cast call $A 'tips()(uint48)'\n", "no contract has `tips()(uint48)`"),
            ("cast call $A 'Settled()'\n", "no contract has"),
        ] {
            let findings = findings(page);
            assert_eq!(findings.len(), 1, "{page}: {findings:?}");
            assert!(findings[0].contains(expected), "{page}: {findings:?}");
        }
    }
}
