//! Part of `cargo xtask deps`: the demo's build and the tests' build are the same build.
//!
//! Cargo turns on a crate's features for everything that is built together. A test dependency that
//! asks for one more feature of a crate deep down therefore makes `cargo test` build that crate, and
//! everything above it, a second time. Naming the feature in a manifest that is always built
//! prevents that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::Findings;

/// What `make build`, `make demo` and `make test` turn on, and a plain `cargo build` does not.
pub(crate) const SUITE: &str = "rollmill-service/failpoints";

/// Searches the output of a plain build for failpoints; and compares the features with and without test
/// dependencies.
pub(crate) fn check(root: &Path) -> anyhow::Result<Findings> {
    let demo = tree(root, "normal,build")?;
    let tests = tree(root, "normal,build,dev")?;
    let mut findings = compare(&demo, &tests);
    findings.extend(weakened(&tests));
    findings.extend(failpoints(&metadata(root)?));
    Ok(findings)
}

/// `cargo metadata` of the workspace's own crates.
pub(crate) fn metadata(root: &Path) -> anyhow::Result<serde_json::Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")
}

/// Failpoints that a build without options would have: by a default feature, directly or through
/// other features, or by a dependency that asks for them outside tests.
fn failpoints(metadata: &serde_json::Value) -> Findings {
    let mut findings = Findings::new();
    let none = Vec::new();
    for package in metadata["packages"].as_array().unwrap_or(&none) {
        let name = package["name"].as_str().unwrap_or_default();
        let (mut open, mut seen) = (vec!["default".to_owned()], BTreeSet::new());
        while let Some(feature) = open.pop() {
            if feature.contains("failpoints") {
                findings.push(format!(
                    "{name}: a default feature turns on `{feature}`; failpoints are for tests"
                ));
            }
            if seen.insert(feature.clone()) {
                let implied = package["features"][&feature].as_array().unwrap_or(&none);
                open.extend(implied.iter().filter_map(|f| f.as_str()).map(str::to_owned));
            }
        }
        for dependency in package["dependencies"].as_array().unwrap_or(&none) {
            let asks = dependency["features"].as_array().unwrap_or(&none);
            if dependency["kind"] != "dev" && asks.iter().any(|feature| feature == "failpoints") {
                findings.push(format!(
                    "{name}: its dependency on {} turns on failpoints; ask for them under \
                     [dev-dependencies]",
                    dependency["name"].as_str().unwrap_or_default()
                ));
            }
        }
    }
    findings
}

/// The feature that leaves out checks, which no build but that of `cargo xtask mutants` may turn on.
const WEAKEN: &str = "weaken";

fn weakened(tests: &BTreeSet<String>) -> Findings {
    let turns_on = |line: &&String| {
        let features = line.split_once(" [").map_or("", |(_, features)| features);
        features.trim_end_matches(']').split(',').any(|feature| feature == WEAKEN)
    };
    tests
        .iter()
        .filter(turns_on)
        .map(|line| format!("{line}: a manifest turns on the feature `{WEAKEN}`, which leaves out checks; remove it"))
        .collect()
}

/// Every crate with its features, as `name vVERSION [feature,…]`.
fn tree(root: &Path, edges: &str) -> anyhow::Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--prefix", "none", "--format", "{p} [{f}]", "--edges"])
        .arg(edges)
        .args(["--features", SUITE])
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // (*) marks what was listed before.
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)").to_owned());
    Ok(lines.filter(|line| line.contains(" v")).collect())
}

/// Crates that may be built twice. A manifest names one version of a crate, and these are the other one.
const TWICE: &[&str] = &["sha2 v0.11."];

/// Crates of the demo that the tests build with more features. A crate may be there twice, for the machine that builds
/// and for what is built, so a line that both builds have says nothing about the other one.
fn compare(demo: &BTreeSet<String>, tests: &BTreeSet<String>) -> Findings {
    let split = |line: &str| {
        let (name, features) = line.split_once(" [").unwrap_or((line, ""));
        let features = features.trim_end_matches(']').split(',').filter(|it| !it.is_empty());
        (name.to_owned(), features.map(str::to_owned).collect::<BTreeSet<_>>())
    };
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, features) in demo.iter().map(|line| split(line)) {
        known.entry(name).or_default().extend(features);
    }
    let mut more: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, features) in tests.iter().map(|line| split(line)) {
        if let Some(known) = known.get(&name) {
            more.entry(name).or_default().extend(features.difference(known).cloned());
        }
    }
    more.retain(|name, features| {
        !features.is_empty() && !TWICE.iter().any(|it| name.starts_with(it))
    });
    more.into_iter()
        .map(|(name, more)| {
            let more: Vec<String> = more.into_iter().collect();
            format!(
                "{name}: only test dependencies turn on [{}], so the tests build it again; name \
                 the features in xtask/Cargo.toml",
                more.join(",")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_feature_that_only_tests_turn_on_is_rejected() {
        let demo = set(&["ark-ff v0.6.0 [std]", "hex v0.4.3 [alloc]"]);
        let tests = set(&["ark-ff v0.6.0 [asm,std]", "hex v0.4.3 [alloc]", "proptest v1.0.0 []"]);
        let findings = compare(&demo, &tests);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("ark-ff v0.6.0: only test dependencies turn on [asm]"));
        assert!(compare(&tests, &tests).is_empty());
        // Built twice by the tests: without features for a macro, and with one.
        let twice = set(&["ark-ff v0.6.0 [std]", "ark-ff v0.6.0 [asm,std]"]);
        assert_eq!(compare(&demo, &twice), findings);
        // A macro of the tests that needs less is another build of this crate alone.
        assert!(compare(&demo, &set(&["ark-ff v0.6.0 []"])).is_empty());
    }

    #[test]
    fn the_feature_that_leaves_out_checks_is_rejected_wherever_it_is_on() {
        let tests = set(&["rollmill-plonk v0.1.0 [weaken]", "hex v0.4.3 [alloc]", "a v1.0.0 []"]);
        let findings = weakened(&tests);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("rollmill-plonk v0.1.0"));
        assert!(weakened(&set(&["a v1.0.0 [weakened,std]"])).is_empty());
    }

    #[test]
    fn failpoints_in_a_plain_build_are_found_and_those_of_tests_are_not() {
        let package = |features: serde_json::Value, dependencies: serde_json::Value| {
            serde_json::json!({ "packages": [
                { "name": "x", "features": features, "dependencies": dependencies }
            ]})
        };
        let dependency = |kind: Option<&str>| {
            serde_json::json!([
                { "name": "rollmill-service", "kind": kind, "features": ["failpoints"] }
            ])
        };
        let (none, empty) = (serde_json::json!({}), serde_json::json!([]));
        let through = serde_json::json!({
            "default": ["a"], "a": ["rollmill-service/failpoints"]
        });
        let by_choice = serde_json::json!({ "failpoints": ["dep:nix"], "default": [] });
        assert_eq!(failpoints(&package(through, empty.clone())).len(), 1);
        assert_eq!(failpoints(&package(none.clone(), dependency(None))).len(), 1);
        assert!(failpoints(&package(by_choice, empty)).is_empty());
        assert!(failpoints(&package(none, dependency(Some("dev")))).is_empty());
    }
}
