//! The types of Aztec's jobs.
//!
//! On the wire a type is a number, and the numbers changed between versions; its name is in the id of the
//! job. A job is known here by name and number, so that an agent gets it only if it means the same type
//! by that number. Source: `ProvingRequestType` in `@aztec/stdlib/proofs`, and for version 6 the
//! repository `aztec-labs-eng/aztec-node` of 21 August 2026.

use std::sync::LazyLock;

use rollmill_broker_client::{Capability, KindName};

/// The numbers that a line of versions uses: each type's is its place.
#[derive(Debug)]
pub(super) struct Numbering {
    /// The versions.
    pub(super) versions: &'static str,
    pub(super) names: &'static [&'static str],
}

/// Every numbering.
pub(super) const NUMBERINGS: [Numbering; 2] = [
    Numbering {
        versions: "4 and 5",
        names: &[
            "PUBLIC_VM",
            "PUBLIC_CHONK_VERIFIER",
            "PRIVATE_TX_BASE_ROLLUP",
            "PUBLIC_TX_BASE_ROLLUP",
            "TX_MERGE_ROLLUP",
            "BLOCK_ROOT_FIRST_ROLLUP",
            "BLOCK_ROOT_SINGLE_TX_FIRST_ROLLUP",
            "BLOCK_ROOT_EMPTY_TX_FIRST_ROLLUP",
            "BLOCK_ROOT_ROLLUP",
            "BLOCK_ROOT_SINGLE_TX_ROLLUP",
            "BLOCK_MERGE_ROLLUP",
            "CHECKPOINT_ROOT_ROLLUP",
            "CHECKPOINT_ROOT_SINGLE_BLOCK_ROLLUP",
            "CHECKPOINT_PADDING_ROLLUP",
            "CHECKPOINT_MERGE_ROLLUP",
            "ROOT_ROLLUP",
            "PARITY_BASE",
            "PARITY_ROOT",
        ],
    },
    Numbering {
        versions: "6",
        names: &[
            "PUBLIC_VM",
            "PUBLIC_CHONK_VERIFIER",
            "PRIVATE_TX_BASE_ROLLUP",
            "PUBLIC_TX_BASE_ROLLUP",
            "TX_MERGE_ROLLUP",
            "BLOCK_ROOT_ROLLUP",
            "BLOCK_ROOT_SINGLE_TX_ROLLUP",
            "BLOCK_ROOT_NO_TXS_ROLLUP",
            "BLOCK_MERGE_ROLLUP",
            "CHECKPOINT_ROOT_ROLLUP",
            "CHECKPOINT_ROOT_SINGLE_BLOCK_ROLLUP",
            "CHECKPOINT_PADDING_ROLLUP",
            "CHECKPOINT_MERGE_ROLLUP",
            "ROOT_ROLLUP",
            "INBOX_PARITY",
        ],
    },
];

/// Every type, the one nearest to the root first. Of one epoch the first goes first. Source:
/// `PROOF_TYPES_IN_PRIORITY_ORDER` in `proving_broker.ts`.
const PRIORITY: [&str; 20] = [
    "ROOT_ROLLUP",
    "BLOCK_ROOT_FIRST_ROLLUP",
    "BLOCK_ROOT_SINGLE_TX_FIRST_ROLLUP",
    "BLOCK_ROOT_EMPTY_TX_FIRST_ROLLUP",
    "BLOCK_ROOT_ROLLUP",
    "BLOCK_ROOT_SINGLE_TX_ROLLUP",
    "BLOCK_ROOT_NO_TXS_ROLLUP",
    "BLOCK_MERGE_ROLLUP",
    "CHECKPOINT_ROOT_ROLLUP",
    "CHECKPOINT_ROOT_SINGLE_BLOCK_ROLLUP",
    "CHECKPOINT_MERGE_ROLLUP",
    "CHECKPOINT_PADDING_ROLLUP",
    "TX_MERGE_ROLLUP",
    "PUBLIC_TX_BASE_ROLLUP",
    "PRIVATE_TX_BASE_ROLLUP",
    "PUBLIC_VM",
    "PUBLIC_CHONK_VERIFIER",
    "INBOX_PARITY",
    "PARITY_ROOT",
    "PARITY_BASE",
];

/// A type in a numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobType {
    /// Its number on the wire.
    pub(super) number: u32,
    /// Name and version of the jobs of this type and number.
    pub(super) capability: Capability,
}

/// Before the number, in the version of a job. The statements `aztec_*.sql` know it too.
const VERSION: &str = "aztec.";

/// Every type of every numbering, once.
static TYPES: LazyLock<Vec<JobType>> = LazyLock::new(|| {
    let mut types = Vec::new();
    for (number, name) in
        NUMBERINGS.iter().flat_map(|numbering| (0_u32..).zip(numbering.names.iter()))
    {
        let version = format!("{VERSION}{number}").parse::<KindName>();
        // Names of this file are names; a test counts the types.
        if let (Ok(kind), Ok(version)) = (name.parse(), version) {
            let found = JobType { number, capability: Capability { kind, version } };
            if !types.contains(&found) {
                types.push(found);
            }
        }
    }
    types
});

/// The type of this name that has this number in some version.
pub(super) fn find(name: &str, number: u32) -> Option<&'static JobType> {
    TYPES.iter().find(|known| known.number == number && known.capability.kind.as_str() == name)
}

/// The numbers of a type in each version, for a message.
pub(super) fn numbers_of(name: &str) -> String {
    let numbers = NUMBERINGS.iter().filter_map(|Numbering { versions, names }| {
        let number = names.iter().position(|known| *known == name)?;
        Some(format!("{number} in version {versions}"))
    });
    let numbers: Vec<String> = numbers.collect();
    if numbers.is_empty() { "in no version".to_owned() } else { numbers.join(", ") }
}

/// How far ahead of others a type goes.
pub(super) fn rank(name: &str) -> u32 {
    let place = PRIORITY.iter().position(|known| *known == name).unwrap_or(PRIORITY.len());
    u32::try_from(PRIORITY.len() - place).unwrap_or(0)
}

/// Whether a job of this version is one of Aztec's.
pub(crate) fn is_aztec(version: &str) -> bool {
    version.starts_with(VERSION)
}

/// The number in the version of a job.
pub(super) fn number_of(version: &KindName) -> Option<u32> {
    version.as_str().strip_prefix(VERSION)?.parse().ok()
}

/// What an agent can do that lists these numbers; everything when it lists none.
pub(super) fn capabilities(allowed: &[u32]) -> Vec<Capability> {
    TYPES
        .iter()
        .filter(|known| allowed.is_empty() || allowed.contains(&known.number))
        .map(|known| known.capability.clone())
        .collect()
}

/// Most numbers that an agent may list.
pub(super) const ALLOWED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_with_its_numbers_and_a_place_in_the_order() {
        let pairs: std::collections::BTreeSet<_> = NUMBERINGS
            .iter()
            .flat_map(|numbering| (0_u32..).zip(numbering.names.iter().copied()))
            .collect();
        assert_eq!(TYPES.len(), pairs.len());
        for (number, name) in &pairs {
            let found = find(name, *number).unwrap();
            assert_eq!(number_of(&found.capability.version), Some(*number));
            assert!(rank(name) > 0, "{name}");
        }
        let names: std::collections::BTreeSet<_> = pairs.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), PRIORITY.len());
        assert!(rank("ROOT_ROLLUP") > rank("TX_MERGE_ROLLUP"));
    }

    #[test]
    fn a_number_means_a_type_only_in_the_versions_that_give_it() {
        assert!(find("CHECKPOINT_MERGE_ROLLUP", 14).is_some(), "version 5");
        assert!(find("CHECKPOINT_MERGE_ROLLUP", 12).is_some(), "version 6");
        assert!(find("CHECKPOINT_MERGE_ROLLUP", 13).is_none());
        assert!(find("INBOX_PARITY", 16).is_none());
        assert!(find("PUBLIC_VM", 18).is_none());
        assert_eq!(numbers_of("ROOT_ROLLUP"), "15 in version 4 and 5, 13 in version 6");
        assert_eq!(numbers_of("TUBE"), "in no version");
    }

    #[test]
    fn an_agent_can_do_what_any_version_means_by_its_numbers() {
        let kinds = |allowed: &[u32]| -> Vec<String> {
            capabilities(allowed).iter().map(|c| format!("{}/{}", c.kind, c.version)).collect()
        };
        assert_eq!(
            kinds(&[14, 16]),
            ["CHECKPOINT_MERGE_ROLLUP/aztec.14", "PARITY_BASE/aztec.16", "INBOX_PARITY/aztec.14"]
        );
        assert!(kinds(&[99]).is_empty());
        assert_eq!(kinds(&[]).len(), TYPES.len());
    }
}
