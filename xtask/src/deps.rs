//! `cargo xtask deps`: checks the dependencies between crates, the places of the heavy crates and the one
//! version of each direct dependency against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::Findings;
use crate::tree::Tree;
use crate::unused;

/// Prefix of every package of this workspace.
pub(crate) const PREFIX: &str = "rollmill-";

/// Suffix of the names of crates with code that tests of several crates share. No product depends on
/// one.
const TESTING: &str = "-testing";

/// Which crates of ours a crate may name in its manifest, by package name without prefix.
///
/// This is the table of docs/architecture.md. Only direct edges count: that `sequencer` reaches
/// `plonk` through `node` gives it no right to call `plonk` itself.
const ALLOWED: &[(&str, &[&str])] = &[
    ("errors", &[]),
    ("files", &[]),
    ("cache", &[]),
    ("algebra", &["errors"]),
    ("kernels", &["errors", "algebra"]),
    ("plonk", &["errors", "algebra"]),
    ("shaders", &["errors", "files", "algebra"]),
    ("icicle", &["errors", "algebra"]),
    ("plonk-testing", &["algebra", "plonk"]),
    ("protocol", &["errors", "algebra"]),
    ("protocol-testing", &["protocol"]),
    ("circuits", &["errors", "files", "cache", "algebra", "plonk", "protocol"]),
    ("acir", &["errors", "algebra", "plonk", "circuits", "protocol"]),
    ("blob", &["errors", "algebra"]),
    ("net", &["errors"]),
    ("net-testing", &["net"]),
    ("l1", &["errors", "files", "protocol", "blob", "net"]),
    ("l1-testing", &["l1", "net", "protocol"]),
    ("node-client", &["errors", "protocol", "net"]),
    ("broker-client", &["errors", "net"]),
    ("service", &["errors", "net"]),
    ("service-testing", &[]),
    ("node", &["errors", "files", "protocol", "plonk", "l1", "node-client", "service"]),
    ("broker-schedule", &["broker-client"]),
    ("broker-rules", &["broker-client", "broker-schedule"]),
    ("broker-model", &["broker-client", "broker-rules"]),
    (
        "broker",
        &["errors", "files", "net", "broker-client", "broker-rules", "broker-schedule", "service"],
    ),
    ("broker-testing", &["broker", "broker-client", "cache", "service"]),
    (
        "agent",
        &[
            "errors",
            "files",
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
    ("agent-testing", &["kernels"]),
    (
        "bench",
        &[
            "errors", "files", "agent", "algebra", "kernels", "plonk", "shaders", "icicle",
            "circuits", "service",
        ],
    ),
    ("noir", &["errors", "files", "acir", "agent", "algebra", "circuits", "plonk", "service"]),
    ("capacity", &["errors", "broker-client", "broker-schedule", "protocol", "service"]),
    (
        "prover-node",
        &[
            "errors",
            "files",
            "node",
            "node-client",
            "circuits",
            "plonk",
            "protocol",
            "l1",
            "broker-client",
            "sequencer-client",
            "service",
        ],
    ),
    ("validator-client", &["errors", "net", "protocol"]),
    (
        "validator",
        &[
            "errors",
            "files",
            "node",
            "node-client",
            "protocol",
            "l1",
            "service",
            "validator-client",
        ],
    ),
    (
        "sequencer",
        &[
            "errors",
            "node",
            "node-client",
            "protocol",
            "l1",
            "service",
            "validator",
            "validator-client",
            "sequencer-client",
        ],
    ),
    ("sequencer-client", &["errors", "net", "l1"]),
    ("sequencer-testing", &["l1", "l1-testing", "protocol", "protocol-testing"]),
    (
        "deployment",
        &["errors", "files", "circuits", "l1", "node", "plonk", "protocol", "pxe", "service"],
    ),
    (
        "l1-cli",
        &["errors", "files", "circuits", "deployment", "l1", "node", "protocol", "pxe", "service"],
    ),
    (
        "pxe",
        &[
            "errors",
            "files",
            "acir",
            "algebra",
            "circuits",
            "plonk",
            "protocol",
            "node-client",
            "pxe-store",
            "service",
        ],
    ),
    ("pxe-store", &["errors", "files", "algebra", "protocol"]),
    (
        "devnet",
        &[
            "errors",
            "files",
            "algebra",
            "plonk",
            "protocol",
            "circuits",
            "deployment",
            "l1",
            "node-client",
            "node",
            "broker-client",
            "service",
            "pxe",
            "pxe-store",
        ],
    ),
    ("xtask", &["cache", "algebra", "plonk", "protocol", "circuits"]),
];

/// Dependencies that only tests need, each with its reason.
const TEST_ALLOWED: &[(&str, &str, &str)] = &[
    ("agent", "broker", "tests run the loop against the broker itself"),
    ("agent", "broker-testing", "tests run the loop against the broker itself"),
    ("agent", "service-testing", "tests collect traces, and one fills the disk of the spool"),
    ("broker", "broker-testing", "tests run brokers on their own PostgreSQL"),
    (
        "broker",
        "service-testing",
        "tests collect traces, and one fills the disk of the data directory",
    ),
    ("prover-node", "service-testing", "tests collect traces"),
    ("service", "service-testing", "tests collect traces"),
    ("devnet", "service-testing", "a test collects the trace of an epoch"),
    ("devnet", "broker-testing", "a test collects the trace of an epoch"),
    ("files", "service-testing", "a test fills a disk"),
    ("circuits", "service-testing", "a test fills the disk of the keys"),
    ("circuits", "plonk-testing", "tests check the in-circuit verifier against cheating provers"),
    ("devnet", "agent", "a test writes the list of metrics from each program's tables"),
    ("devnet", "broker", "a test writes the list of metrics from each program's tables"),
    ("devnet", "l1-testing", "tests of the economics run on a development L1"),
    ("devnet", "prover-node", "a test writes the list of metrics from each program's tables"),
    ("devnet", "sequencer", "a test writes the list of metrics from each program's tables"),
    ("devnet", "validator", "a test writes the list of metrics from each program's tables"),
    ("devnet", "service", "a test writes the list of metrics from each program's tables"),
    ("l1", "l1-testing", "tests run on a development L1"),
    ("l1", "net-testing", "tests reach an L1 endpoint over TLS"),
    ("broker", "net-testing", "tests serve TLS"),
    ("node", "algebra", "tests prove small circuits"),
    ("node", "net-testing", "tests serve TLS"),
    ("validator", "net-testing", "tests serve TLS"),
    ("service", "net-testing", "tests serve TLS"),
    ("l1-cli", "algebra", "tests make the keys that a deployment needs"),
    ("l1-cli", "l1-testing", "tests run the program on a development L1"),
    ("deployment", "l1-testing", "tests deploy on a development L1"),
    ("node", "l1-testing", "tests read events from a scripted L1"),
    ("node", "service-testing", "a test fills the disk of the database"),
    ("node", "protocol-testing", "tests follow a small deployment"),
    ("circuits", "protocol-testing", "tests lay out the blocks of the Python model"),
    ("acir", "protocol-testing", "tests return the private calls of the Python model"),
    ("plonk", "plonk-testing", "tests check the verifiers against cheating provers"),
    ("blob", "protocol", "tests make blobs of words"),
    ("protocol", "protocol-testing", "tests build blocks of a small deployment"),
    ("pxe", "protocol-testing", "tests execute contracts on a small deployment"),
    ("prover-node", "sequencer", "tests send quotes to the proposer that takes them"),
    ("prover-node", "l1-testing", "tests prove epochs with verifiers that accept"),
    ("prover-node", "sequencer-testing", "tests run the program in a deployment"),
    ("sequencer", "l1-testing", "tests place a failing endpoint before L1"),
    ("sequencer", "net-testing", "tests take quotes over TLS"),
    ("sequencer", "protocol-testing", "tests build blocks of a small deployment"),
    ("sequencer", "sequencer-testing", "tests run the program in a deployment"),
    ("agent", "agent-testing", "tests run on a driver without a card, and in a cloud"),
    ("bench", "agent-testing", "tests run on a driver without a card"),
    ("kernels", "plonk", "tests hold whole proofs on the device to those of the CPU"),
    ("sequencer", "plonk", "tests make the key of a client circuit"),
    ("validator", "circuits", "a test verifies the client proofs of the golden epoch"),
    ("validator", "protocol-testing", "tests build blocks of a small deployment"),
    ("validator-client", "protocol-testing", "tests build blocks of a small deployment"),
    ("shaders", "plonk", "tests compare whole proofs with the CPU's"),
    ("icicle", "plonk", "tests compare whole proofs with the CPU's"),
];

/// Crates that may be named in few crates of ours only, so that a change elsewhere builds in seconds.
const HEAVY: &[(&str, &[&str])] = &[
    ("alloy", &["l1"]),
    ("c-kzg", &["blob"]),
    ("sqlx", &["broker"]),
    // A wallet contains no node, and a node no wallet.
    ("redb", &["node", "pxe-store"]),
    ("object_store", &["broker"]),
    ("wgpu", &["shaders"]),
    ("cudarc", &["kernels"]),
    ("halo2curves", &["bench"]),
    ("opentelemetry", &["service"]),
    ("acvm", &["acir"]),
];

/// Features of arkworks that only its use as a peer of the bench asks for; xtask names them for the build of
/// the tests.
const PEER_FEATURES: &[&str] = &["asm", "parallel"];
const PEER_CRATES: &[&str] = &["bench", "xtask"];

/// Crates that do no I/O and start no runtime, and the crates that would let them.
const PURE: &[&str] = &[
    "algebra",
    "plonk",
    "protocol",
    "circuits",
    "acir",
    "broker-schedule",
    "broker-rules",
    "broker-model",
];
const IMPURE_CRATES: &[&str] =
    &["tokio", "axum", "reqwest", "sqlx", "redb", "alloy", "object_store", "nix"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Option<Resolve>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: String,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) rename: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) req: String,
    pub(crate) source: Option<String>,
    pub(crate) features: Vec<String>,
}

impl Package {
    /// The name without the prefix that all share.
    pub(crate) fn krate(&self) -> &str {
        self.name.strip_prefix(PREFIX).unwrap_or(&self.name)
    }

    /// Path of its folder from the repository's root.
    pub(crate) fn folder(&self, root: &Path) -> String {
        let folder = Path::new(&self.manifest_path).parent().unwrap_or(root);
        folder.strip_prefix(root).unwrap_or(folder).display().to_string()
    }
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

/// Runs `cargo metadata` in `root` and checks its output.
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
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed unknown JSON")?;
    let mut findings = check(&metadata);
    let tree = Tree::load(root)?;
    let members = metadata.members();
    findings.extend(unused::dependencies(root, &tree, &members));
    findings.extend(unused::workspace_entries(&tree));
    findings.extend(unused::allowed(&members, ALLOWED, TEST_ALLOWED));
    findings.extend(page(&tree, root, &members, ALLOWED));
    Ok(findings)
}

impl Metadata {
    fn members(&self) -> Vec<&Package> {
        let is_member = |package: &&Package| self.workspace_members.contains(&package.id);
        self.packages.iter().filter(is_member).collect()
    }
}

fn check(metadata: &Metadata) -> Findings {
    let members = metadata.members();
    let mut findings = Findings::new();
    for package in &members {
        check_allowed(package, &mut findings);
    }
    check_requirements(&members, &mut findings);
    check_versions(metadata, &mut findings);
    findings
}

fn check_allowed(package: &Package, findings: &mut Findings) {
    let krate = package.krate();
    if krate == package.name {
        findings.push(format!("{krate}: package names start with {PREFIX}"));
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
            if target.ends_with(TESTING) && !in_tests && !krate.ends_with(TESTING) {
                findings.push(format!(
                    "{krate}: {target} is for tests; depend on it under [dev-dependencies]"
                ));
            } else if !may {
                findings.push(format!(
                    "{krate}: may not depend on {target}; its dependencies are [{}]",
                    allowed.join(", ")
                ));
            }
            continue;
        }
        if let Some((heavy, homes)) = heavy(name)
            && !homes.contains(&krate.strip_suffix(TESTING).unwrap_or(krate))
            && !in_tests
        {
            let homes = homes.join(" and ");
            findings.push(format!("{krate}: {name} belongs to {homes} alone ({heavy} is heavy)"));
        }
        let of_peer = |feature: &&String| PEER_FEATURES.contains(&feature.as_str());
        if let Some(feature) = dependency.features.iter().find(of_peer)
            && name.starts_with("ark-")
            && !in_tests
            && !PEER_CRATES.contains(&krate)
        {
            findings.push(format!(
                "{krate}: asks for `{feature}` of {name}, which is for the peer in bench alone"
            ));
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

/// The page whose table must equal [`ALLOWED`].
const PAGE: &str = "docs/architecture.md";
/// The head of that table.
const HEAD: &str = "| crate | may depend on |";

/// Compares the table of the page with [`ALLOWED`]: a row for each crate, by its folder, in the same order.
fn page(tree: &Tree, root: &Path, members: &[&Package], allowed: &[(&str, &[&str])]) -> Findings {
    let folder = |krate: &str| {
        let package = members.iter().find(|package| package.krate() == krate);
        package.map_or_else(|| krate.to_owned(), |package| package.folder(root))
    };
    let expected = allowed.iter().map(|(krate, targets)| {
        let targets: Vec<String> = targets.iter().map(|to| format!("`{}`", folder(to))).collect();
        let targets = match targets.is_empty() {
            true => "nothing in the workspace".to_owned(),
            false => targets.join(", "),
        };
        format!("| `{}` | {targets} |", folder(krate))
    });
    let expected: Vec<String> = expected.collect();
    let text = tree.text(PAGE).unwrap_or_default();
    let table = text.lines().skip_while(|line| *line != HEAD).skip(2);
    let rows: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    let mut findings = Findings::new();
    for row in expected.iter().filter(|row| !rows.contains(&row.as_str())) {
        findings.push(format!("{PAGE}: the table under `{HEAD}` lacks this row: {row}"));
    }
    for row in rows.iter().filter(|row| !expected.iter().any(|wanted| wanted == *row)) {
        findings.push(format!("{PAGE}: no entry of ALLOWED in xtask/src/deps.rs says: {row}"));
    }
    findings
}

/// The rule of [`HEAVY`] that a crate falls under; `alloy-primitives` falls under `alloy`.
fn heavy(name: &str) -> Option<(&'static str, &'static [&'static str])> {
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
mod tests;
