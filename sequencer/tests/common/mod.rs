//! What tests of the program share.

pub(crate) mod running;

use std::path::PathBuf;
use std::sync::Arc;

use rollmill_l1::alloy::primitives::Address;
use rollmill_node::{
    ClientKeys, ClientProofVerifier, Node, NodeSettings, PlacedKey, PoolLimits, ProofRejected,
    position,
};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::shape::fixed;
use rollmill_plonk::srs::{development_tau_g2, srs_id};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::VkLeaf;
use rollmill_protocol::{Circuit, ClientInputs, Fr, ProofKind, field};
use rollmill_sequencer_testing::Deployment;

/// What is tested here comes after a transaction was admitted.
#[derive(Debug)]
pub(crate) struct AnyProof;

impl ClientProofVerifier for AnyProof {
    fn verify(&self, _: ProofKind, _: &ClientInputs, _: &[u8]) -> Result<(), ProofRejected> {
        Ok(())
    }
}

/// The node in the deployment's folder, which takes any client proof.
pub(crate) fn node(deployment: &Deployment) -> Arc<Node> {
    node_in(deployment, deployment.path("node"))
}

/// As [`node`], in another folder.
pub(crate) fn node_in(deployment: &Deployment, data_dir: PathBuf) -> Arc<Node> {
    let settings = NodeSettings {
        data_dir,
        genesis: deployment.genesis.clone(),
        l1_start: position(&deployment.start),
        // Time jumps here by whole epochs.
        pool: PoolLimits { age_seconds_max: u64::MAX, ..PoolLimits::default() },
        state_blocks: 64,
    };
    Node::open(settings, Arc::new(AnyProof)).unwrap()
}

/// A deployment of this committee whose folder has the client keys, with which no test proves.
pub(crate) async fn with_client_key(members: Vec<Address>) -> Deployment {
    let tau_g2 = development_tau_g2();
    let n_public = Circuit::Client.n_public();
    let shape = [17u32, n_public as u32, 8];
    let mut bytes: Vec<u8> = shape.iter().flat_map(|n| n.to_be_bytes()).collect();
    bytes.extend(field::to_bytes(&srs_id(&tau_g2)));
    for _ in 0..fixed::COUNT {
        // The generator of the curve, (1, 2).
        for coordinate in [1u64, 2] {
            bytes.extend(field::to_bytes(&Fr::from(coordinate)));
        }
    }
    let vk = VerifyingKey::from_bytes(&bytes).unwrap();
    let leaf = |circuit: Circuit| VkLeaf {
        circuit,
        vk_digest: vk.digest(),
        log_n: 17,
        n_public_inputs: n_public as u64,
        charged_rows: 1,
        protocol_version: PROTOCOL_VERSION,
    };
    let leaves = ProofKind::ALL.map(|kind| leaf(kind.circuit()));
    let deployment = Deployment::with_committee(&leaves, members).await;
    let keys = ClientKeys::new(tau_g2, |circuit| {
        let path = deployment.vk_path(circuit);
        PlacedKey { vk: vk.clone(), charged_rows: 1, path }
    });
    std::fs::write(deployment.path("client.key"), keys.to_bytes()).unwrap();
    deployment
}
