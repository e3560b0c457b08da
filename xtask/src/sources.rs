//! Part of `cargo xtask tidy`: no crate compiles a source file of another, since `cargo xtask deps`
//! could not see that it depends on it. Code that tests of several crates share is a separate crate,
//! `…/testing`.

use crate::Findings;
use crate::scan;
use crate::tree::Tree;

/// Sources that a crate compiles from the folder of another.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for file in tree.rust() {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let scanned = scan::scan(&file.text);
        for literal in &scanned.literals {
            let line = scanned.code.lines().nth(literal.line - 1).unwrap_or_default().trim_start();
            let is_source = line.starts_with("#[path")
                || line.contains("include!(") && literal.text.ends_with(".rs");
            let target = join(folder, &literal.text);
            if is_source && crate_of(tree, &target) != crate_of(tree, &file.path) {
                findings.push(format!(
                    "{}:{}: compiles {target}, a source of another crate; depend on that crate, or move \
                     what tests share to a crate `testing/`",
                    file.path, literal.line
                ));
            }
        }
    }
    findings
}

/// `path` from `folder`, with each `..` resolved.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => _ = parts.pop(),
            "." | "" => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The nearest folder above a file that has a manifest.
fn crate_of<'a>(tree: &Tree, path: &'a str) -> Option<&'a str> {
    let mut folders = path.rmatch_indices('/').map(|(at, _)| &path[..at]);
    folders.find(|folder| tree.text(&format!("{folder}/Cargo.toml")).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_another_crate_is_rejected_and_one_of_the_same_crate_is_not() {
        let found = |path: &str, text: &str| {
            let manifests = [("a/Cargo.toml", ""), ("b/Cargo.toml", ""), ("b/c/Cargo.toml", "")];
            let tree = Tree::of(&[&manifests[..], &[(path, text)]].concat());
            check(&tree)
        };
        let of_b = "#[path = \"../../b/tests/x.rs\"]\nmod x;\n";
        assert!(
            found("a/tests/t.rs", of_b)[0].starts_with("a/tests/t.rs:1: compiles b/tests/x.rs")
        );
        assert_eq!(found("b/tests/t.rs", "#[path = \"../c/src/x.rs\"]\nmod x;\n").len(), 1);
        assert_eq!(found("a/tests/t.rs", "include!(\"../../b/tests/x.rs\");\n").len(), 1);
        for text in [
            "#[path = \"common/x.rs\"]\nmod x;\n",
            "#[path = \"../src/x.rs\"]\nmod x;\n",
            "const X: &[u8] = include_bytes!(\"../../b/tests/x.bin\");\n",
            "// #[path = \"../../b/tests/x.rs\"]\n",
        ] {
            assert_eq!(found("a/tests/t.rs", text), Findings::new(), "{text}");
        }
    }
}
