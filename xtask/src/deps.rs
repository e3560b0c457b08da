//! `cargo xtask deps`: checks the dependencies between crates, the places of the heavy crates and the one
//! version of each direct dependency against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::Findings;

/// Prefix of every package of this workspace.
const PREFIX: &str = "rollmill-";

/// Which crates of ours a crate may name in its manifest, by package name without prefix.
///
/// This is the table of docs/architecture.md. Only direct edges count: that `sequencer` reaches
/// `plonk` through `node` gives it no right to call `plonk` itself.
const ALLOWED: &[(&str, &[&str])] = &[
    ("algebra", &[]),
    ("kernels", &["algebra"]),
    ("plonk", &["algebra"]),
    ("shaders", &["algebra"]),
    ("icicle", &["algebra"]),
    ("protocol", &["algebra"]),
    ("circuits", &["algebra", "plonk", "protocol"]),
    ("l1", &["protocol"]),
    ("node-client", &["protocol"]),
    ("broker-client", &[]),
    ("service", &[]),
    ("node", &["protocol", "plonk", "l1", "node-client", "service"]),
    ("broker", &["broker-client", "service"]),
    (
        "agent",
        &[
            "algebra",
            "kernels",
            "plonk",
            "shaders",
            "icicle",
            "circuits",
            "broker-client",
            "service",
        ],
    ),
    (
        "prover-node",
        &["node", "node-client", "circuits", "plonk", "protocol", "l1", "broker-client", "service"],
    ),
    ("sequencer", &["node", "node-client", "protocol", "l1", "service"]),
    ("pxe", &["algebra", "circuits", "plonk", "protocol", "node-client", "service"]),
    (
        "devnet",
        &[
            "algebra",
            "plonk",
            "shaders",
            "protocol",
            "circuits",
            "l1",
            "node-client",
            "node",
            "broker-client",
            "broker",
            "service",
            "agent",
            "prover-node",
            "sequencer",
            "pxe",
        ],
    ),
    ("xtask", &["algebra", "plonk", "protocol", "circuits", "l1"]),
];

/// Dependencies that only tests need, each with its reason.
const TEST_ALLOWED: &[(&str, &str, &str)] = &[
    ("agent", "broker", "tests run the loop against the broker itself"),
    ("kernels", "plonk", "tests hold whole proofs on the device to those of the CPU"),
    ("agent", "protocol", "tests build the smallest real job from protocol values"),
    ("l1", "algebra", "tests make field elements"),
    ("sequencer", "plonk", "tests make the key of a client circuit"),
    ("shaders", "plonk", "tests compare whole proofs with the CPU's"),
    ("icicle", "plonk", "tests compare whole proofs with the CPU's"),
];

/// Crates that may be named in one crate of ours only, so that a change elsewhere builds in seconds.
const HEAVY: &[(&str, &str)] = &[
    ("alloy", "l1"),
    ("sqlx", "broker"),
    ("redb", "node"),
    ("object_store", "broker"),
    ("wgpu", "shaders"),
    ("cudarc", "kernels"),
];

/// Crates that do no I/O and start no runtime, and the crates that would let them.
const PURE: &[&str] = &["algebra", "plonk", "protocol", "circuits"];
const IMPURE_CRATES: &[&str] =
    &["tokio", "axum", "reqwest", "sqlx", "redb", "alloy", "object_store", "nix"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Option<Resolve>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    req: String,
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDep>,
}

#[derive(Debug, Deserialize)]
struct NodeDep {
    pkg: String,
}

/// Runs `cargo metadata` in `root` and checks the answer.
pub(crate) fn check_workspace(root: &Path) -> anyhow::Result<Findings> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed unknown JSON")?;
    Ok(check(&metadata))
}

fn check(metadata: &Metadata) -> Findings {
    let members: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id))
        .collect();
    let mut findings = Findings::new();
    for package in &members {
        check_allowed(package, &mut findings);
    }
    check_requirements(&members, &mut findings);
    check_versions(metadata, &mut findings);
    findings
}

fn check_allowed(package: &Package, findings: &mut Findings) {
    let krate = package.name.strip_prefix(PREFIX).unwrap_or(&package.name);
    if krate == package.name {
        findings.push(format!("{krate}: package names begin with {PREFIX}"));
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == krate) else {
        findings.push(format!(
            "{krate}: has no entry; add the crate to ALLOWED in xtask/src/deps.rs and to \
             docs/architecture.md"
        ));
        return;
    };
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let in_tests = dependency.kind.as_deref() == Some("dev");
        if let Some(target) = name.strip_prefix(PREFIX) {
            let is_test_dependency =
                TEST_ALLOWED.iter().any(|(from, to, _)| *from == krate && *to == target);
            let may = allowed.contains(&target) || in_tests && is_test_dependency;
            if !may {
                findings.push(format!(
                    "{krate}: may not depend on {target}; its dependencies are [{}]",
                    allowed.join(", ")
                ));
            }
            continue;
        }
        if let Some((heavy, home)) = heavy(name)
            && home != krate
            && !in_tests
        {
            findings.push(format!("{krate}: {name} belongs to {home} alone ({heavy} is heavy)"));
        }
        if PURE.contains(&krate) && IMPURE_CRATES.contains(&name) && !in_tests {
            findings.push(format!(
                "{krate}: does no I/O and starts no runtime, so it may not depend on {name}"
            ));
        }
        if dependency.source.is_none() {
            findings.push(format!("{krate}: {name} is a path outside the workspace"));
        }
        if dependency.req == "*" {
            findings.push(format!("{krate}: {name} has no version requirement"));
        }
    }
}

/// The rule of [`HEAVY`] that a crate falls under; `alloy-primitives` falls under `alloy`.
fn heavy(name: &str) -> Option<(&'static str, &'static str)> {
    HEAVY.iter().copied().find(|(heavy, _)| {
        name == *heavy || name.strip_prefix(heavy).is_some_and(|rest| rest.starts_with('-'))
    })
}

/// Every crate that names a dependency names it with the same requirement, as `workspace = true` yields.
fn check_requirements(members: &[&Package], findings: &mut Findings) {
    let mut uses: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for package in members {
        for dependency in package.dependencies.iter().filter(|d| d.source.is_some()) {
            uses.entry(&dependency.name)
                .or_default()
                .entry(&dependency.req)
                .or_default()
                .push(&package.name);
        }
    }
    for (name, requirements) in uses.iter().filter(|(_, requirements)| requirements.len() > 1) {
        let each: Vec<String> = requirements
            .iter()
            .map(|(req, crates)| format!("{req} in {}", crates.join(" and ")))
            .collect();
        findings.push(format!(
            "{name}: required as {}; use `{name}.workspace = true` everywhere",
            each.join(", ")
        ));
    }
}

/// No two crates have different versions of a dependency that they name directly.
fn check_versions(metadata: &Metadata, findings: &mut Findings) {
    let Some(resolve) = &metadata.resolve else {
        findings.push("cargo metadata gave no resolution".into());
        return;
    };
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in resolve.nodes.iter().filter(|node| metadata.workspace_members.contains(&node.id)) {
        for dep in &node.deps {
            if let Some(package) = packages.get(dep.pkg.as_str()) {
                versions.entry(&package.name).or_default().insert(&package.version);
            }
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let versions: Vec<&str> = versions.iter().copied().collect();
        findings.push(format!(
            "{name}: crates use versions {}; one version of each direct dependency",
            versions.join(" and ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str) -> Dependency {
        let internal = name.starts_with(PREFIX);
        Dependency {
            name: name.into(),
            kind: None,
            req: if internal { "*".into() } else { "^1".into() },
            source: (!internal).then(|| "registry".into()),
        }
    }

    fn package(name: &str, dependencies: &[&str]) -> Package {
        Package {
            id: name.into(),
            name: name.into(),
            version: "0.1.0".into(),
            dependencies: dependencies.iter().map(|name| dependency(name)).collect(),
        }
    }

    fn workspace(packages: Vec<Package>) -> Metadata {
        Metadata {
            workspace_members: packages.iter().map(|package| package.id.clone()).collect(),
            packages,
            resolve: Some(Resolve { nodes: Vec::new() }),
        }
    }

    #[test]
    fn arrows_of_the_table_pass() {
        let metadata = workspace(vec![
            package("rollmill-plonk", &["rollmill-algebra", "rayon"]),
            package("rollmill-l1", &["rollmill-protocol", "alloy", "tokio"]),
        ]);
        assert_eq!(check(&metadata), Findings::new());
    }

    #[test]
    fn an_arrow_against_the_table_is_refused() {
        let metadata = workspace(vec![package("rollmill-algebra", &["rollmill-plonk"])]);
        let findings = check(&metadata);
        assert_eq!(findings, ["algebra: may not depend on plonk; its dependencies are []"]);
    }

    #[test]
    fn an_unknown_crate_is_rejected() {
        let findings = check(&workspace(vec![package("rollmill-utils", &[])]));
        assert!(findings[0].starts_with("utils: has no entry"), "{findings:?}");
    }

    #[test]
    fn a_heavy_crate_outside_its_home_is_rejected_under_any_of_its_names() {
        for (krate, name) in [
            ("rollmill-node", "alloy"),
            ("rollmill-node", "alloy-primitives"),
            ("rollmill-l1", "sqlx"),
        ] {
            let findings = check(&workspace(vec![package(krate, &[name])]));
            assert_eq!(findings.len(), 1, "{krate} {name}: {findings:?}");
            assert!(findings[0].contains("alone"), "{findings:?}");
        }
        assert!(check(&workspace(vec![package("rollmill-broker", &["sqlx"])])).is_empty());
    }

    #[test]
    fn a_pure_crate_with_a_runtime_is_rejected() {
        let findings = check(&workspace(vec![package("rollmill-circuits", &["tokio"])]));
        assert!(findings[0].contains("does no I/O"), "{findings:?}");
    }

    #[test]
    fn a_test_only_arrow_is_no_arrow_for_the_library() {
        let mut krate = package("rollmill-agent", &["rollmill-protocol"]);
        assert_eq!(
            check(&workspace(vec![package("rollmill-agent", &["rollmill-protocol"])])).len(),
            1
        );
        krate.dependencies[0].kind = Some("dev".into());
        assert!(check(&workspace(vec![krate])).is_empty());
    }

    #[test]
    fn two_requirements_for_one_crate_are_refused() {
        let mut other = package("rollmill-broker", &["hex"]);
        other.dependencies[0].req = "^2".into();
        let findings = check(&workspace(vec![package("rollmill-l1", &["hex"]), other]));
        assert!(findings[0].contains("hex.workspace = true"), "{findings:?}");
    }

    #[test]
    fn two_resolved_versions_of_a_direct_dependency_are_refused() {
        let mut metadata =
            workspace(vec![package("rollmill-l1", &["hex"]), package("rollmill-broker", &["hex"])]);
        let mut nodes = Vec::new();
        for (member, version) in [("rollmill-l1", "1.0.0"), ("rollmill-broker", "2.0.0")] {
            let id = format!("hex {version}");
            metadata.packages.push(Package {
                id: id.clone(),
                name: "hex".into(),
                version: version.into(),
                dependencies: Vec::new(),
            });
            nodes.push(Node { id: member.into(), deps: vec![NodeDep { pkg: id }] });
        }
        metadata.resolve = Some(Resolve { nodes });
        let findings = check(&metadata);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("1.0.0 and 2.0.0"));
    }
}
