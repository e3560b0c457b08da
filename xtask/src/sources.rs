//! Part of `cargo xtask tidy`: no crate compiles a source file of another, since `cargo xtask deps`
//! could not see that it depends on it. Code that tests of several crates share is a separate crate,
//! `…/testing`. And each file of tests is compiled: a crate whose tests are one program lists its files.

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
    findings.extend(not_compiled(tree));
    findings
}

/// Files of tests that no program compiles, in crates whose manifests list the test programs.
fn not_compiled(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    let manifests = tree.files.iter().filter(|file| {
        file.path.ends_with("/Cargo.toml") && file.text.lines().any(|l| l == "autotests = false")
    });
    for manifest in manifests {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let tests = format!("{folder}tests/");
        let is_program = |path: &str| manifest.text.contains(&format!("path = \"tests/{path}\""));
        let below = |file: &'_ crate::tree::File| {
            let path = file.path.strip_prefix(&tests)?.to_owned();
            let is_one = !path.contains('/') || path.ends_with("/main.rs");
            is_one.then_some(path)
        };
        let modules: String = tree
            .rust()
            .filter(|file| below(file).is_some_and(|path| is_program(&path)))
            .map(|file| scan::scan(&file.text).code)
            .collect();
        for path in tree.rust().filter_map(below).filter(|path| !is_program(path)) {
            let name = path.trim_end_matches(".rs");
            let is_module = [format!("mod {name};"), format!("mod r#{name};")];
            if !modules.lines().any(|line| is_module.iter().any(|module| line == module)) {
                findings.push(format!(
                    "{tests}{path}: no test program compiles it; add `mod {name};` to {tests}all.rs"
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
    fn a_file_of_tests_that_no_program_compiles_is_named() {
        let manifest =
            "[package]\nautotests = false\n[[test]]\nname = \"all\"\npath = \"tests/all.rs\"\n";
        let found = |all: &str, manifest: &str| {
            check(&Tree::of(&[
                ("a/Cargo.toml", manifest),
                ("a/tests/all.rs", all),
                ("a/tests/one.rs", ""),
                ("a/tests/loop.rs", ""),
                ("a/tests/other/main.rs", ""),
                ("a/tests/other/part.rs", ""),
                ("b/tests/two.rs", ""),
            ]))
        };
        let with =
            format!("{manifest}[[test]]\nname = \"other\"\npath = \"tests/other/main.rs\"\n");
        assert_eq!(found("mod one;\nmod r#loop;\n", &with), Findings::new());
        let findings = found("mod r#loop;\n// mod one;\n", manifest);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("a/tests/one.rs: no test program"), "{findings:?}");
        assert!(findings[1].starts_with("a/tests/other/main.rs: no test program"), "{findings:?}");
        assert_eq!(found("", ""), Findings::new());
    }

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
