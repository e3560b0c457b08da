//! Part of `cargo xtask deps`: what each manifest says about its crate, and the list of programs.
//!
//! A crate is found by its description and keywords; a program is packaged by what its manifest says
//! under `[package.metadata.rollmill]`. Nothing else lists the programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::Findings;

/// Libraries that are useful without the rest: their manifests say how a public host builds their
/// documentation.
const DOCUMENTED: &[&str] = &[
    "rollmill-algebra",
    "rollmill-plonk",
    "rollmill-kernels",
    "rollmill-shaders",
    "rollmill-icicle",
    "rollmill-broker-client",
];

/// What the registry accepts: the longest keyword in bytes, and how many keywords.
const KEYWORD_MAX: usize = 20;
const KEYWORDS_MAX: usize = 5;

/// What `cargo metadata --no-deps` prints, as far as it is needed here.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifests {
    pub(crate) packages: Vec<Manifest>,
    pub(crate) target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) version: String,
    manifest_path: PathBuf,
    description: Option<String>,
    readme: Option<PathBuf>,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    targets: Vec<Target>,
    #[serde(default)]
    metadata: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Where a program is used, by the key `program` of `[package.metadata.rollmill]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `service`: packaged, with a systemd unit and a sample of its settings.
    Service,
    /// `command`: packaged.
    Command,
    /// `checkout`: needs the repository, and is not packaged.
    Checkout,
}

impl Role {
    const ALL: [(&str, Self); 3] =
        [("service", Self::Service), ("command", Self::Command), ("checkout", Self::Checkout)];
}

/// A program of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) package: String,
    pub(crate) role: Role,
}

/// Reads the manifests of the workspace's own crates.
pub(crate) fn load(root: &Path) -> anyhow::Result<Manifests> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed unknown JSON")
}

impl Manifests {
    /// Every program whose manifest says where it is used, by name. [`check`] reports the others.
    pub(crate) fn programs(&self) -> Vec<Program> {
        let mut programs: Vec<Program> = self
            .packages
            .iter()
            .flat_map(|package| {
                package.binaries().filter_map(move |name| {
                    let role = package.role()?;
                    Some(Program { name: name.to_owned(), package: package.name.clone(), role })
                })
            })
            .collect();
        programs.sort_by(|one, other| one.name.cmp(&other.name));
        programs
    }
}

impl Manifest {
    fn binaries(&self) -> impl Iterator<Item = &str> {
        let is_program = |target: &&Target| target.kind.iter().any(|kind| kind == "bin");
        self.targets.iter().filter(is_program).map(|target| target.name.as_str())
    }

    fn role(&self) -> Option<Role> {
        let stated = self.metadata["rollmill"]["program"].as_str()?;
        Role::ALL.iter().find(|(name, _)| *name == stated).map(|(_, role)| *role)
    }
}

/// What is missing in the manifests.
pub(crate) fn check(manifests: &Manifests) -> Findings {
    let mut findings = Findings::new();
    for package in &manifests.packages {
        let mut require = |holds: bool, what: &str| {
            if !holds {
                findings.push(format!("{}: {what}", package.manifest_path.display()));
            }
        };
        let description = package.description.as_deref().unwrap_or_default();
        require(!description.is_empty(), "no `description`; say in one line what the crate does");
        require(!description.ends_with('.'), "the description is a phrase, without a full stop");
        require(package.readme.is_some(), "write `readme.workspace = true`");
        require(
            (1..=KEYWORDS_MAX).contains(&package.keywords.len())
                && package.keywords.iter().all(|keyword| keyword.len() <= KEYWORD_MAX),
            "write `keywords.workspace = true`; at most 5 keywords of at most 20 characters",
        );
        require(!package.categories.is_empty(), "write `categories.workspace = true`");
        let has_docs = package.metadata["docs"]["rs"]["targets"].is_array();
        require(
            has_docs || !DOCUMENTED.contains(&package.name.as_str()),
            "say under `[package.metadata.docs.rs]` for which `targets` documentation is built",
        );
        for program in package.binaries() {
            require(
                package.role().is_some(),
                &format!(
                    "say where `{program}` is used: `program` under `[package.metadata.rollmill]` is \
                     \"service\" or \"command\" for what `make package` packs, \"checkout\" for the rest"
                ),
            );
            require(
                program.starts_with(crate::deps::PREFIX),
                &format!(
                    "`{program}` shares a directory with other programs: start its name with {}",
                    crate::deps::PREFIX
                ),
            );
        }
    }
    for name in DOCUMENTED {
        if !manifests.packages.iter().any(|package| package.name == *name) {
            findings.push(format!("{name}: is in DOCUMENTED in xtask/src/manifests.rs, but gone"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifests(change: impl Fn(&mut serde_json::Value)) -> Manifests {
        let mut packages = vec![json!({
            "name": "rollmill-agent",
            "version": "0.1.0",
            "manifest_path": "agent/Cargo.toml",
            "description": "Proves",
            "readme": "README.md",
            "keywords": ["plonk"],
            "categories": ["cryptography"],
            "targets": [
                { "name": "rollmill_agent", "kind": ["lib"] },
                { "name": "rollmill-agent", "kind": ["bin"] },
            ],
            "metadata": { "rollmill": { "program": "service" } },
        })];
        change(&mut packages[0]);
        for name in DOCUMENTED {
            let mut library = packages[0].clone();
            library["name"] = json!(name);
            library["description"] = json!("Computes");
            library["targets"] = json!([]);
            library["metadata"] = json!({ "docs": { "rs": { "targets": ["x86_64"] } } });
            packages.push(library);
        }
        serde_json::from_value(json!({ "packages": packages, "target_directory": "/target" }))
            .unwrap()
    }

    #[test]
    fn each_part_that_a_manifest_lacks_is_named() {
        assert_eq!(check(&manifests(|_| {})), Findings::new());
        let cases: [(&str, serde_json::Value, &str); 5] = [
            ("description", json!(null), "no `description`"),
            ("description", json!("Proves."), "without a full stop"),
            ("name", json!("rollmill-plonk"), "`[package.metadata.docs.rs]`"),
            ("metadata", json!(null), "say where `rollmill-agent` is used"),
            ("metadata", json!({ "rollmill": { "program": "demon" } }), "say where"),
        ];
        for (key, value, finding) in cases {
            let findings = check(&manifests(|package| package[key] = value.clone()));
            assert_eq!(findings.len(), 1, "{key}: {findings:?}");
            assert!(findings[0].contains(finding), "{findings:?}");
        }
        for (key, value) in
            [("readme", json!(null)), ("keywords", json!([])), ("categories", json!([]))]
        {
            let findings = check(&manifests(|package| package[key] = value.clone()));
            assert!(findings[0].contains(&format!("{key}.workspace = true")), "{findings:?}");
        }
        let plain = check(&manifests(|package| package["targets"][1]["name"] = json!("agent")));
        assert!(plain[0].contains("start its name with rollmill-"), "{plain:?}");
    }

    #[test]
    fn programs_are_listed_with_their_roles_and_libraries_are_not() {
        let programs = manifests(|_| {}).programs();
        let (name, package) = ("rollmill-agent".to_owned(), "rollmill-agent".to_owned());
        assert_eq!(programs, [Program { name, package, role: Role::Service }]);
    }
}
