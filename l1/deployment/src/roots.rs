//! What a deployment needs of the keys: the root of their tree, both verifier contracts, and the client keys.

use std::path::Path;

use rollmill_circuits::circuit::contracts;
use rollmill_circuits::keyset::KeySet;
use rollmill_l1::alloy::primitives::Bytes;
use rollmill_l1::creation_code;
use rollmill_node::{ClientKeys, PlacedKey};
use rollmill_plonk::solidity;
use rollmill_protocol::vk_tree::VK_TREE_HEIGHT;
use rollmill_protocol::{Circuit, Fr};

use crate::DeployError;

/// The verifiers of the release's keys: name, source as it was generated, and compiled.
const BUILT_IN: [(&str, &str, &str); 2] = [
    (
        "EpochRoot1Verifier",
        include_str!("../../../contracts/src/EpochRoot1Verifier.sol"),
        include_str!("../../../contracts/artifacts/EpochRoot1Verifier.json"),
    ),
    (
        "EpochRoot2Verifier",
        include_str!("../../../contracts/src/EpochRoot2Verifier.sol"),
        include_str!("../../../contracts/artifacts/EpochRoot2Verifier.json"),
    ),
];

/// A root circuit's verifier and its place in the key tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Name of the contract.
    pub name: String,
    /// Creation code of the verifier.
    pub code: Bytes,
    pub charged_rows: u64,
    pub path: [Fr; VK_TREE_HEIGHT],
}

/// The key tree as the contracts take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Root of the key tree.
    pub vk_root: Fr,
    /// For ranges of one block, and of more.
    pub roots: [Root; 2],
}

impl Roots {
    /// The root circuits of these keys with their verifiers, those of the release or those in a folder: NAME.sol as it
    /// is generated, and NAME.json as it is compiled.
    ///
    /// # Errors
    /// [`DeployError::ClientKey`] for keys of a development SRS on another chain than a development chain;
    /// [`DeployError::Verifier`] for verifiers of other keys; [`DeployError::File`].
    pub fn of(set: &KeySet, folder: Option<&Path>, chain_id: u64) -> Result<Self, DeployError> {
        client_keys(set).require(&set.root(), chain_id)?;
        let [one, more] = BUILT_IN;
        Ok(Self { vk_root: set.root(), roots: [root(set, one, folder)?, root(set, more, folder)?] })
    }
}

fn root(
    set: &KeySet,
    (name, source, compiled): (&str, &str, &str),
    folder: Option<&Path>,
) -> Result<Root, DeployError> {
    let stale = |why: &str| DeployError::Verifier { name: name.to_owned(), why: why.to_owned() };
    let circuit: Circuit = contracts()
        .into_iter()
        .find_map(|(circuit, of)| (of == name).then_some(circuit))
        .ok_or_else(|| stale("no circuit has it"))?;
    let read = |ending: &str, built_in: &str| match folder {
        None => Ok(built_in.to_owned()),
        Some(folder) => {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::read_to_string(&path).map_err(DeployError::file("read", &path))
        }
    };
    let (source, compiled) = (read("sol", source)?, read("json", compiled)?);
    let expected =
        solidity::generate(&set.key(circuit).vk, set.tau_g2(), name, Some(circuit.pair_at()));
    if source != expected {
        return Err(stale("its source is of other keys"));
    }
    let opened = set.opened(circuit);
    let (charged_rows, path) = (opened.leaf.charged_rows, opened.path);
    Ok(Root { name: name.to_owned(), code: creation_code(&compiled)?, charged_rows, path })
}

/// The keys of the circuits that make client proofs with their places in the key tree, as nodes read them from a file.
pub fn client_keys(set: &KeySet) -> ClientKeys {
    ClientKeys::new(*set.tau_g2(), |circuit| {
        let opened = set.opened(circuit);
        let (vk, charged_rows) = (set.key(circuit).vk.clone(), opened.leaf.charged_rows);
        PlacedKey { vk, charged_rows, path: opened.path }
    })
}
