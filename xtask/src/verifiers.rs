//! The Solidity verifiers of the root circuits, generated from their keys under the development SRS.
//!
//! A deployment on another chain generates its own, from keys of its ceremony's SRS.

use anyhow::Context;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::circuit;
use rollmill_circuits::registry::{make_keys, open_srs, require_expected_root};
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_plonk::solidity;
use rollmill_protocol::Circuit;

use crate::generate::Output;
use crate::tree::Tree;

/// Chain id of the development L1.
pub(crate) const DEVELOPMENT_CHAIN_ID: u64 = 31_337;

/// Generates the contract of each circuit whose proofs L1 verifies, named after it. Keys come from the cache, where each lies under the digest of the layout
/// it was made for, or are made.
pub(crate) fn contracts(_tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let store = DirStore::new(cache_dir(None));
    let srs = open_srs(&store, DEVELOPMENT_CHAIN_ID).context("the development SRS")?;
    let keys = make_keys(&CpuDevice::default(), &srs, &store, &|_, _| {}).context("keys")?;
    require_expected_root(&keys).context(
        "the circuits or their keys changed; if that is meant, change the root in circuits/src/registry.rs",
    )?;
    let contract = |(circuit, name): (Circuit, String)| {
        let key = keys.key(circuit);
        let source = solidity::generate(&key.vk, keys.tau_g2(), &name, Some(circuit.pair_at()));
        Output::text(&format!("contracts/src/{name}.sol"), source)
    };
    Ok(circuit::contracts().into_iter().map(contract).collect())
}
