//! Part of `cargo xtask tidy`: the switches that leave out checks, and the code that carries them.

use std::collections::BTreeSet;

use rollmill_plonk::weaken::Switch;

use crate::Findings;
use crate::tree::Tree;

/// Crates whose code carries switches.
const FOLDERS: [&str; 3] = ["algebra/src/", "plonk/src/", "circuits/src/"];

/// Every switch of the repository.
pub(crate) fn all() -> Vec<Switch> {
    let mut all = rollmill_plonk::weaken::switches();
    all.extend(rollmill_circuits::weaken::SWITCHES.iter().cloned());
    all
}

/// Every name that the code asks for is registered, and every registered one is asked for somewhere.
///
/// The switches of the gates' constraints are exempt from the second rule: their names are made from the
/// gates themselves.
pub(crate) fn check(tree: &Tree) -> Findings {
    compare(tree, &all())
}

fn compare(tree: &Tree, switches: &[Switch]) -> Findings {
    let registered: BTreeSet<&str> = switches.iter().map(|switch| &*switch.name).collect();
    let mut findings = Findings::new();
    if registered.len() != switches.len() {
        findings.push("two switches have one name".to_owned());
    }
    let ours = |path: &str| FOLDERS.iter().any(|folder| path.starts_with(folder));
    for file in tree.rust().filter(|file| ours(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for asked in line.split("gone(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if !registered.contains(asked) {
                    let at = format!("{}:{}", file.path, index + 1);
                    findings.push(format!("{at}: the switch `{asked}` is not registered"));
                }
            }
        }
    }
    let constraints: BTreeSet<String> = rollmill_plonk::gates::Gate::ALL
        .into_iter()
        .flat_map(|gate| (0..gate.equations()).map(move |i| (gate, i)))
        .map(|(gate, i)| rollmill_plonk::weaken::of_constraint(gate, i))
        .collect();
    for switch in switches.iter().filter(|switch| !constraints.contains(&*switch.name)) {
        let quoted = format!("\"{}\"", switch.name);
        let times: usize = tree
            .rust()
            .filter(|file| ours(&file.path))
            .map(|file| file.text.matches(&quoted).count())
            .sum();
        // Once where it is registered.
        if times < 2 {
            findings.push(format!(
                "the switch `{}` is registered, but no check carries it",
                switch.name
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_registered_and_one_that_no_code_carries_are_rejected() {
        let switches = [Switch::new("a.used"), Switch::new("a.idle")];
        let registry = "const S: [&str; 2] = [\"a.used\", \"a.idle\"];\n";
        let code = "// gone(\"a.comment\")\nif !gone(\"a.used\") && !gone(\"a.other\") {}\n";
        let tree = Tree::of(&[("plonk/src/weaken.rs", registry), ("circuits/src/x.rs", code)]);
        let findings = compare(&tree, &switches);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("circuits/src/x.rs:2: the switch `a.other` is not"));
        assert!(findings[1].starts_with("the switch `a.idle` is registered"));
    }
}
