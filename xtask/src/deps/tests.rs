use super::*;

fn dependency(name: &str) -> Dependency {
    let internal = name.starts_with(PREFIX);
    Dependency {
        name: name.into(),
        rename: None,
        kind: None,
        req: if internal { "*".into() } else { "^1".into() },
        source: (!internal).then(|| "registry".into()),
        features: Vec::new(),
    }
}

fn package(name: &str, dependencies: &[&str]) -> Package {
    Package {
        id: name.into(),
        name: name.into(),
        version: "0.1.0".into(),
        manifest_path: format!("/{name}/Cargo.toml"),
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
fn an_arrow_against_the_table_is_rejected() {
    let metadata = workspace(vec![package("rollmill-algebra", &["rollmill-plonk"])]);
    let findings = check(&metadata);
    assert_eq!(findings, ["algebra: may not depend on plonk; its dependencies are [errors]"]);
}

#[test]
fn an_unknown_crate_is_rejected() {
    let findings = check(&workspace(vec![package("rollmill-utils", &[])]));
    assert!(findings[0].starts_with("utils: has no entry"), "{findings:?}");
}

#[test]
fn a_heavy_crate_outside_its_home_is_rejected_under_any_of_its_names() {
    for (krate, name) in
        [("rollmill-node", "alloy"), ("rollmill-node", "alloy-primitives"), ("rollmill-l1", "sqlx")]
    {
        let findings = check(&workspace(vec![package(krate, &[name])]));
        assert_eq!(findings.len(), 1, "{krate} {name}: {findings:?}");
        assert!(findings[0].contains("alone"), "{findings:?}");
    }
    assert!(check(&workspace(vec![package("rollmill-broker", &["sqlx"])])).is_empty());
    for home in ["rollmill-node", "rollmill-pxe-store"] {
        assert!(check(&workspace(vec![package(home, &["redb"])])).is_empty(), "{home}");
    }
}

#[test]
fn support_for_tests_is_rejected_in_a_product() {
    let mut krate = package("rollmill-sequencer", &["rollmill-l1-testing"]);
    let findings = check(&workspace(vec![package("rollmill-sequencer", &["rollmill-l1-testing"])]));
    assert_eq!(
        findings,
        ["sequencer: l1-testing is for tests; depend on it under [dev-dependencies]"]
    );
    krate.dependencies[0].kind = Some("dev".into());
    assert!(check(&workspace(vec![krate])).is_empty());
    let support = package("rollmill-sequencer-testing", &["rollmill-l1-testing"]);
    assert!(check(&workspace(vec![support])).is_empty());
    assert!(check(&workspace(vec![package("rollmill-l1-testing", &["alloy"])])).is_empty());
}

#[test]
fn what_a_peer_needs_is_rejected_outside_of_the_bench() {
    for (krate, feature, findings) in
        [("agent", "parallel", 1), ("agent", "std", 0), ("bench", "parallel", 0)]
    {
        let mut package = package(&format!("rollmill-{krate}"), &["ark-ec"]);
        package.dependencies[0].features.push(feature.into());
        assert_eq!(check(&workspace(vec![package])).len(), findings, "{krate} {feature}");
    }
    assert_eq!(check(&workspace(vec![package("rollmill-agent", &["halo2curves"])])).len(), 1);
}

#[test]
fn a_pure_crate_with_a_runtime_is_rejected() {
    let findings = check(&workspace(vec![package("rollmill-circuits", &["tokio"])]));
    assert!(findings[0].contains("does no I/O"), "{findings:?}");
}

#[test]
fn a_test_only_arrow_is_no_arrow_for_the_library() {
    let mut krate = package("rollmill-agent", &["rollmill-broker"]);
    assert_eq!(check(&workspace(vec![package("rollmill-agent", &["rollmill-broker"])])).len(), 1);
    krate.dependencies[0].kind = Some("dev".into());
    assert!(check(&workspace(vec![krate])).is_empty());
}

#[test]
fn the_page_has_the_rows_of_the_table_and_no_others() {
    let allowed: &[(&str, &[&str])] = &[("node-client", &[]), ("node", &["node-client"])];
    let [mut client, node] = ["node-client", "node"].map(|name| package(name, &[]));
    client.manifest_path = "/node/client/Cargo.toml".into();
    let found = |rows: &str| {
        let text = format!("{HEAD}\n| --- | --- |\n{rows}\nend\n");
        page(&Tree::of(&[(PAGE, &text)]), Path::new("/"), &[&client, &node], allowed)
    };
    let first = "| `node/client` | nothing in the workspace |";
    assert!(found(&format!("{first}\n| `node` | `node/client` |")).is_empty());
    assert!(found(first)[0].contains("lacks this row: | `node` | `node/client` |"));
    let more = format!("{first}\n| `node` | `node/client` |\n| `x` | `y` |");
    assert!(found(&more)[0].ends_with("says: | `x` | `y` |"));
}

#[test]
fn two_requirements_for_one_crate_are_rejected() {
    let mut other = package("rollmill-broker", &["hex"]);
    other.dependencies[0].req = "^2".into();
    let findings = check(&workspace(vec![package("rollmill-l1", &["hex"]), other]));
    assert!(findings[0].contains("hex.workspace = true"), "{findings:?}");
}

#[test]
fn two_resolved_versions_of_a_direct_dependency_are_rejected() {
    let mut metadata =
        workspace(vec![package("rollmill-l1", &["hex"]), package("rollmill-broker", &["hex"])]);
    let mut nodes = Vec::new();
    for (member, version) in [("rollmill-l1", "1.0.0"), ("rollmill-broker", "2.0.0")] {
        let id = format!("hex {version}");
        metadata.packages.push(Package {
            id: id.clone(),
            name: "hex".into(),
            version: version.into(),
            manifest_path: String::new(),
            dependencies: Vec::new(),
        });
        nodes.push(Node { id: member.into(), deps: vec![NodeDep { pkg: id }] });
    }
    metadata.resolve = Some(Resolve { nodes });
    let findings = check(&metadata);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("1.0.0 and 2.0.0"));
}
