//! Part of `cargo xtask deps`: every dependency that a manifest names is used, and so is every entry of the
//! tables that allow it.
//!
//! Whether a crate is used is a search for its name at the beginning of a path (`hex::encode`, `use hex`) in
//! the sources, comments and literals left out.
//! A crate that no source names, since it is there for its features or for a derive, is excused in [`PINS`].

use std::collections::BTreeSet;
use std::path::Path;

use crate::Findings;
use crate::deps::{Dependency, PREFIX, Package};
use crate::scan;
use crate::tree::Tree;

/// Dependencies that no source names: package without its prefix, dependency, and why it is there.
pub(crate) const PINS: &[(&str, &str, &str)] = &[
    ("xtask", "ark-ec", UNIFIES),
    ("xtask", "ark-ff", UNIFIES),
    ("xtask", "ark-poly", UNIFIES),
    ("xtask", "ark-serialize", UNIFIES),
    ("xtask", "ark-std", UNIFIES),
    ("xtask", "arrayvec", UNIFIES),
    ("xtask", "crc32fast", UNIFIES),
    ("xtask", "crypto-common", UNIFIES),
    ("xtask", "ctutils", UNIFIES),
    ("xtask", "der", UNIFIES),
    ("xtask", "digest", UNIFIES),
    ("xtask", "flate2", UNIFIES),
    ("xtask", "hybrid-array", UNIFIES),
    ("xtask", "hyper", UNIFIES),
    ("xtask", "md-5", UNIFIES),
    ("xtask", "num-bigint", UNIFIES),
    ("xtask", "num-integer", UNIFIES),
    ("xtask", "num-traits", UNIFIES),
    ("xtask", "num_enum", UNIFIES),
    ("xtask", "rand_chacha", UNIFIES),
    ("xtask", "regex-syntax", UNIFIES),
    ("xtask", "slab", UNIFIES),
    ("xtask", "spki", UNIFIES),
    ("xtask", "subtle", UNIFIES),
    ("xtask", "time", UNIFIES),
    ("xtask", "tokio-util", UNIFIES),
    ("xtask", "winnow", UNIFIES),
];

const UNIFIES: &str = "gives the build of the demo the features that test dependencies turn on; \
                       features.rs says which are missing";

/// Unused dependencies of `packages`, and pins without a reason to be.
pub(crate) fn dependencies(root: &Path, tree: &Tree, packages: &[&Package]) -> Findings {
    check(root, tree, packages, PINS)
}

fn check(root: &Path, tree: &Tree, packages: &[&Package], pins: &[(&str, &str, &str)]) -> Findings {
    let mut findings = Findings::new();
    let mut needed = BTreeSet::new();
    for package in packages {
        let krate = package.krate();
        let uses = Uses::of(tree, &format!("{}/", package.folder(root)));
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
            let pinned = pins.iter().find(|(from, to, _)| *from == krate && to == name);
            if let Some(complaint) = uses.complaint(dependency, &name.replace('-', "_")) {
                match pinned {
                    Some((from, to, _)) => _ = needed.insert((*from, *to)),
                    None => findings.push(format!("{krate}: {name} {complaint}")),
                }
            }
        }
    }
    for (krate, name, _) in
        pins.iter().filter(|(krate, name, _)| !needed.contains(&(*krate, *name)))
    {
        findings.push(format!(
            "{krate}: {name} is on PINS in xtask/src/unused.rs, but it is used or not in the manifest"
        ));
    }
    findings
}

/// The code of a package: its products, its build script, and its tests.
#[derive(Debug, Default)]
struct Uses {
    products: BTreeSet<String>,
    build: BTreeSet<String>,
    tests: BTreeSet<String>,
}

impl Uses {
    fn of(tree: &Tree, folder: &str) -> Self {
        let mut uses = Self::default();
        for file in tree.rust() {
            let Some(rest) = file.path.strip_prefix(folder).filter(|rest| is_source(rest)) else {
                continue;
            };
            let code = scan::scan(&file.text).code;
            if rest == "build.rs" {
                uses.build.extend(words(&code));
            } else if !rest.starts_with("src/")
                || rest.ends_with("/tests.rs")
                || rest.contains("/tests/")
            {
                uses.tests.extend(words(&code));
            } else {
                let (product, tests) = split(&code);
                uses.products.extend(words(&product));
                uses.tests.extend(words(&tests));
            }
        }
        uses
    }

    /// What is wrong with a dependency whose crate is called `name`.
    fn complaint(&self, dependency: &Dependency, name: &str) -> Option<&'static str> {
        match dependency.kind.as_deref() {
            // Also asked for by a test, for a feature that only tests need.
            Some("dev") if self.tests.contains(name) || self.products.contains(name) => None,
            Some("dev") => Some("is a dev-dependency that no test or example names; remove it"),
            Some("build") if self.build.contains(name) => None,
            Some("build") => Some("is a build-dependency that build.rs does not name; remove it"),
            _ if self.products.contains(name) => None,
            _ if self.tests.contains(name) => {
                Some("is named by tests alone; move it to [dev-dependencies]")
            }
            _ => Some("is a dependency that no source names; remove it"),
        }
    }
}

/// Whether a path from a package's folder is the package's own: another may lie inside, such as `node/client`.
fn is_source(path: &str) -> bool {
    let top = path.split('/').next().unwrap_or(path);
    ["src", "tests", "examples", "benches", "build.rs"].contains(&top)
}

/// The lines of a file before the module of its tests, and that module.
fn split(code: &str) -> (String, String) {
    let lines: Vec<&str> = code.lines().collect();
    let begins = |at: &usize| {
        let mut rest = lines[at + 1..].iter().map(|line| line.trim());
        let next = rest.find(|line| !line.is_empty() && !line.starts_with("#["));
        lines[*at] == "#[cfg(test)]"
            && next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    let end = (0..lines.len()).find(begins).unwrap_or(lines.len());
    (lines[..end].join("\n"), lines[end..].join("\n"))
}

/// The words of some code that start a path (`hex::encode`) or are imported whole (`use hex;`), so that
/// a variable of the same name is no use of a crate.
fn words(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut before = "";
    let mut rest = code;
    while let Some(at) = rest.find(scan::is_word) {
        let (gap, from) = rest.split_at(at);
        let end = from.find(|c| !scan::is_word(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let begins_path = after.trim_start().starts_with("::") && !gap.ends_with("::");
        let is_imported = ["use", "crate"].contains(&before) && gap.trim().is_empty();
        if begins_path || is_imported {
            found.insert(word.to_owned());
        }
        (before, rest) = (word, after);
    }
    found
}

/// Entries of `[workspace.dependencies]` that no manifest takes over.
pub(crate) fn workspace_entries(tree: &Tree) -> Findings {
    let manifests = || tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let Some(root) = tree.text("Cargo.toml") else {
        return vec!["Cargo.toml: missing".to_owned()];
    };
    let section = root.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let names = section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| !name.starts_with('#'));
    let taken = |name: &&str| {
        let (dotted, table) =
            (format!("{name}.workspace = true"), format!("{name} = {{ workspace = true"));
        manifests().any(|file| {
            file.text.lines().any(|line| line.starts_with(&dotted) || line.starts_with(&table))
        })
    };
    names
        .filter(|name| !taken(name))
        .map(|name| {
            format!("Cargo.toml: no crate uses {name} of [workspace.dependencies]; remove it")
        })
        .collect()
}

/// Entries of the tables of `deps.rs` that no manifest has.
pub(crate) fn allowed(
    packages: &[&Package],
    entries: &[(&str, &[&str])],
    test_allowed: &[(&str, &str, &str)],
) -> Findings {
    let mut findings = Findings::new();
    let names = |krate: &str, target: &str, dev: bool| {
        let of_krate = packages.iter().filter(|package| package.krate() == krate);
        of_krate.flat_map(|package| &package.dependencies).any(|dependency| {
            dependency.name.strip_prefix(PREFIX) == Some(target)
                && (dependency.kind.as_deref() == Some("dev")) == dev
        })
    };
    for (krate, targets) in entries {
        if !packages.iter().any(|package| package.krate() == *krate) {
            findings.push(format!(
                "{krate}: is in ALLOWED in xtask/src/deps.rs, but there is no such crate"
            ));
            continue;
        }
        for target in targets.iter().filter(|target| !names(krate, target, false)) {
            findings.push(format!(
                "{krate}: does not depend on {target}; take it out of ALLOWED in xtask/src/deps.rs and of \
                 docs/architecture.md"
            ));
        }
    }
    for (krate, target, _) in
        test_allowed.iter().filter(|(krate, target, _)| !names(krate, target, true))
    {
        findings.push(format!(
            "{krate}: no test depends on {target}; take it out of TEST_ALLOWED in xtask/src/deps.rs"
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, kind: Option<&str>) -> Dependency {
        Dependency {
            name: name.into(),
            rename: None,
            kind: kind.map(str::to_owned),
            req: "^1".into(),
            source: Some("registry".into()),
            features: Vec::new(),
        }
    }

    fn package(dependencies: Vec<Dependency>) -> Package {
        Package {
            id: "a".into(),
            name: "rollmill-a".into(),
            version: "0.1.0".into(),
            manifest_path: "/r/a/Cargo.toml".into(),
            dependencies,
        }
    }

    fn found(dependencies: Vec<Dependency>, files: &[(&str, &str)]) -> Findings {
        check(Path::new("/r"), &Tree::of(files), &[&package(dependencies)], &[])
    }

    #[test]
    fn a_dependency_is_used_by_a_word_of_the_code_and_not_by_a_comment_or_a_literal() {
        let hex = || vec![dependency("hex-lib", None)];
        assert!(found(hex(), &[("a/src/lib.rs", "use hex_lib::encode;\n")]).is_empty());
        for source in [
            "let hex_lib = 1;\n",
            "a::hex_lib::b();\n",
            "use crate::hex_lib;\n",
            "// hex_lib\n",
            "const X: &str = \"hex_lib\";\n",
            "use hex_lib2::x;\n",
            "",
        ] {
            let findings = found(hex(), &[("a/src/lib.rs", source)]);
            assert_eq!(findings, ["a: hex-lib is a dependency that no source names; remove it"]);
        }
        // Another package's use is not this one's, though its folder is inside.
        assert_eq!(found(hex(), &[("a/client/src/lib.rs", "use hex_lib::encode;\n")]).len(), 1);
    }

    #[test]
    fn a_dependency_of_tests_alone_is_a_dev_dependency() {
        let unit = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use hex::encode;\n}\n";
        for files in [[("a/src/lib.rs", unit)], [("a/tests/x.rs", "use hex::encode;\n")]] {
            let findings = found(vec![dependency("hex", None)], &files);
            assert!(findings[0].ends_with("move it to [dev-dependencies]"), "{findings:?}");
            assert!(found(vec![dependency("hex", Some("dev"))], &files).is_empty());
        }
        let findings = found(vec![dependency("hex", Some("dev"))], &[]);
        assert!(findings[0].contains("dev-dependency that no test"), "{findings:?}");
        let findings =
            found(vec![dependency("hex", Some("build"))], &[("a/src/lib.rs", "use hex::x;\n")]);
        assert!(findings[0].contains("build.rs does not name"), "{findings:?}");
    }

    #[test]
    fn a_pin_excuses_a_dependency_until_it_is_used() {
        let pins = [("a", "hex", "for its features")];
        let package = package(vec![dependency("hex", None)]);
        let check = |files| check(Path::new("/r"), &Tree::of(files), &[&package], &pins);
        assert!(check(&[]).is_empty());
        let findings = check(&[("a/src/lib.rs", "use hex::encode;\n")]);
        assert!(findings[0].contains("is on PINS"), "{findings:?}");
    }

    #[test]
    fn an_entry_of_the_workspace_that_nobody_takes_over_is_found() {
        let root = "[workspace.dependencies]\nhex = \"1\"\n# a = 1\nrand = \"0.8\"\n\n[profile.dev]\nx = 1\n";
        let tree = Tree::of(&[
            ("Cargo.toml", root),
            ("a/Cargo.toml", "[dependencies]\nhex = { workspace = true, features = [\"x\"] }\n"),
        ]);
        let findings = workspace_entries(&tree);
        assert_eq!(
            findings,
            ["Cargo.toml: no crate uses rand of [workspace.dependencies]; remove it"]
        );
    }

    #[test]
    fn an_entry_that_no_manifest_has_is_found() {
        let package =
            package(vec![dependency("rollmill-b", None), dependency("rollmill-c", Some("dev"))]);
        let of = |entries: &[(&str, &[&str])], tests: &[(&str, &str, &str)]| {
            allowed(&[&package], entries, tests)
        };
        assert!(of(&[("a", &["b"])], &[("a", "c", "")]).is_empty());
        assert!(of(&[("a", &["b", "d"])], &[])[0].contains("does not depend on d"));
        assert!(of(&[("a", &["b", "c"])], &[])[0].contains("does not depend on c"));
        assert!(of(&[("e", &[])], &[])[0].contains("no such crate"));
        assert!(of(&[], &[("a", "b", "")])[0].contains("no test depends on b"));
    }
}
