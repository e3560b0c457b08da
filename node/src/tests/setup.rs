//! What a node requires of its files before it follows a contract.

use rollmill_l1::DeploymentInfo;
use rollmill_l1::abi::{Contracts, Schedule};
use rollmill_l1::alloy::primitives::Address;
use rollmill_protocol::{EthAddress, Fr, Genesis, ProofKind};

use super::support;
use crate::ClientKeys;
use crate::client_keys::tests::keys;
use crate::config::NodeConfig;
use crate::setup::agreed;

/// Settings, files and a contract of one deployment.
struct Parts {
    config: NodeConfig,
    genesis: Genesis,
    keys: ClientKeys,
    contract: DeploymentInfo,
}

impl Parts {
    fn new() -> Self {
        let keys = keys();
        let vk_root = keys.root(ProofKind::BuiltIn);
        let genesis = Genesis { vk_root, ..support::genesis() };
        let config = NodeConfig {
            rollup: Some(genesis.rollup),
            chain_id: genesis.chain_id,
            ..NodeConfig::default()
        };
        Self { contract: contract(&genesis), config, genesis, keys }
    }

    /// The code and the text of the rejection.
    fn rejected(&self) -> String {
        let agreed = agreed(&self.config, &self.genesis, &self.keys, &self.contract);
        agreed.expect_err("rejected").to_string()
    }
}

fn contract(genesis: &Genesis) -> DeploymentInfo {
    let none = Address::ZERO;
    DeploymentInfo {
        version: genesis.version(),
        config_hash: genesis.config.hash(),
        vk_root: genesis.vk_root,
        genesis_archive_root: Fr::from(1u64),
        schedule: Schedule {
            genesisTime: genesis.config.genesis_time,
            slotSeconds: 12,
            slotsPerEpoch: 8,
            proofWindowSeconds: 96,
            challengeSeconds: 96,
            proofGraceSeconds: 12,
            maxUnprovenEpochs: 8,
        },
        contracts: Contracts {
            dataAvailability: none,
            selection: none,
            inbox: none,
            outbox: none,
            feePortal: none,
            rewards: none,
            bondVault: none,
            registry: none,
        },
    }
}

#[test]
fn files_and_contract_of_one_deployment_agree() {
    let parts = Parts::new();
    agreed(&parts.config, &parts.genesis, &parts.keys, &parts.contract).unwrap();
}

/// What differs is named with both values. The contract's own hashes are of its genesis, so that each case differs in
/// one thing only, up to the deployment's number, which covers the others.
#[test]
fn each_difference_between_files_and_contract_is_rejected_by_name() {
    type Change = fn(&mut Parts);
    let cases: [(&str, Change); 7] = [
        ("NODE-062: chain id: this node has 1, ", |of| of.genesis.chain_id = 1),
        ("NODE-062: chain id: this node has 31337, ", |of| of.config.chain_id = 5),
        ("NODE-062: rollup address: ", |of| of.genesis.rollup = EthAddress([1; 20])),
        ("NODE-062: rollup address: ", |of| of.config.rollup = Some(EthAddress([1; 20]))),
        ("NODE-062: config hash: ", |of| of.genesis.config.slots_per_epoch += 1),
        ("NODE-062: key root: ", |of| of.genesis.vk_root += Fr::from(1u64)),
        ("NODE-062: rollup version: ", |of| of.contract.version += 1),
    ];
    for (expected, change) in cases {
        let mut parts = Parts::new();
        change(&mut parts);
        let shown = parts.rejected();
        assert!(shown.starts_with(expected), "{expected}: {shown}");
    }
    let mut parts = Parts::new();
    parts.config.rollup = None;
    assert!(parts.rejected().starts_with("NODE-064: setting node.rollup "), "{}", parts.rejected());
}

/// Genesis and contract agree about a key root that is not that of the client keys.
#[test]
fn client_keys_of_another_deployment_are_rejected() {
    let mut parts = Parts::new();
    parts.genesis.vk_root += Fr::from(1u64);
    parts.contract = contract(&parts.genesis);
    assert!(parts.rejected().starts_with("NODE-053: "), "{}", parts.rejected());
}

/// Everything agrees about a chain with value, but whoever has the development SRS can forge proofs.
#[test]
fn a_development_key_is_rejected_on_another_chain() {
    let mut parts = Parts::new();
    (parts.genesis.chain_id, parts.config.chain_id) = (1, 1);
    parts.contract = contract(&parts.genesis);
    let shown = parts.rejected();
    assert!(!shown.starts_with("NODE-062") && shown.contains("SRS"), "{shown}");
}
