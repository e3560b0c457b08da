//! A block on L1 that the node refuses: the sequencer builds nothing while it is there, and says so.

mod support;

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::rpc::types::anvil::ReorgOptions;
use rollmill_node::setup::{Constants, RunningNode};
use rollmill_node::{
    ClientKey, ClientProofVerifier, DeadlineMetrics, Node, NodeSettings, PoolLimits, ProofRefused,
    Pruner, RollupEvents, SlotClock, follow, position,
};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::shape::fixed;
use rollmill_plonk::srs::{development_tau_g2, srs_id};
use rollmill_protocol::plan::VK_TREE_HEIGHT;
use rollmill_protocol::version::{PROTOCOL_VERSION, VersionIds};
use rollmill_protocol::{ClientInputs, EthAddress, Fr, field};
use rollmill_sequencer::config::Config;
use rollmill_sequencer::metrics::Metrics;
use rollmill_sequencer::sequencer::{Memory, Sequencer, Turn};
use rollmill_service::Process;
use support::{Deployment, SLOTS_PER_EPOCH, chain};

/// What is tested here comes after a transaction was admitted.
#[derive(Debug)]
struct AnyProof;

impl ClientProofVerifier for AnyProof {
    fn verify(&self, _: &ClientInputs, _: &[u8]) -> Result<(), ProofRefused> {
        Ok(())
    }
}

fn node(deployment: &Deployment, vk_root: Fr) -> Arc<Node> {
    let settings = NodeSettings {
        data_dir: deployment.path("node"),
        genesis: chain::genesis(),
        versions: VersionIds {
            chain_id: chain::CHAIN_ID,
            rollup_version: chain::VERSION,
            protocol_version: PROTOCOL_VERSION,
            vk_root,
        },
        slots_per_epoch: SLOTS_PER_EPOCH.into(),
        clock: SlotClock {
            genesis_time: deployment.parameters.genesisTime,
            slot_seconds: deployment.parameters.slotSeconds.into(),
        },
        l1_start: position(&deployment.start),
        pool: PoolLimits::default(),
        state_blocks: 64,
    };
    Node::open(settings, Arc::new(AnyProof)).unwrap()
}

/// Goal: with transactions waiting, nothing is built on or beside a refused block, and building goes
/// on when it is gone. Method: post nonsense, look, take it away by a reorganisation, look again.
#[tokio::test]
async fn no_block_is_built_while_l1_holds_a_refused_one() {
    let vk_root = chain::value(9, 0);
    let deployment = Deployment::new(&vk_root).await;
    deployment.propose_nonsense().await;

    let process = Process::new("sequencer", Config::default());
    let shutdown = process.shutdown.clone();
    let node = node(&deployment, vk_root);
    let rollup = EthAddress(deployment.rollup.address().into_array());
    let source = RollupEvents::new(deployment.client.clone(), rollup);
    let poll = Duration::from_millis(10);
    let following = tokio::spawn(follow(Arc::clone(&node), source, poll, shutdown.clone()));
    let mut tips = node.watch_tips();
    tips.wait_for(|tips| tips.refused.is_some()).await.unwrap();
    let p = &deployment.parameters;
    let sender =
        Arc::new(support::sender(&deployment.client, &deployment.path("intents.json")).await);
    let sequencer = Sequencer {
        running: RunningNode {
            node: Arc::clone(&node),
            l1: deployment.client.clone(),
            contract: deployment.rollup.clone(),
            rollup,
            constants: Constants {
                vk_root,
                rollup_version: p.rollupVersion,
                genesis_time: p.genesisTime,
                slot_seconds: p.slotSeconds.into(),
                slots_per_epoch: p.slotsPerEpoch.into(),
                proposer: EthAddress(p.proposer.into_array()),
            },
        },
        sender: Arc::clone(&sender),
        config: process.config.clone(),
        coinbase: EthAddress([0xc0; 20]),
        metrics: Metrics::new(&process.metrics).unwrap(),
        pruner: Pruner {
            l1: deployment.client.clone(),
            contract: deployment.rollup.clone(),
            sender: Some(sender),
            patience_l1_blocks: 0,
            metrics: DeadlineMetrics::new(&process.metrics).unwrap(),
            seen: Default::default(),
        },
    };
    sequencer.show(&process.board);
    let tx = chain::tx(0, node.genesis_header().hash());
    node.submit(&tx.to_bytes()).unwrap();

    let mut memory = Memory::default();
    for _ in 0..3 {
        assert_eq!(sequencer.turn(&mut memory, &shutdown).await.unwrap(), Turn::Held);
    }
    assert_eq!(deployment.rollup.tips().await.unwrap().pending, 1, "only the nonsense");
    assert_eq!(node.ready_count(), 1);
    let held = process.board.status()["held"].clone();
    assert_eq!(held["block_number"], 1);
    assert!(held["reason"].as_str().unwrap().starts_with("NODE-032"), "{held}");
    assert_eq!(figure(&process, "rollmill_sequencer_held"), 1.0);

    let options = ReorgOptions { depth: 1, tx_block_pairs: vec![] };
    deployment.client.provider().anvil_reorg(options).await.unwrap();
    tips.wait_for(|tips| tips.refused.is_none()).await.unwrap();
    assert_eq!(sequencer.turn(&mut memory, &shutdown).await.unwrap(), Turn::Proposed(1));
    assert_eq!(node.ready_count(), 0);
    assert!(process.board.status()["held"].is_null());
    assert_eq!(figure(&process, "rollmill_sequencer_held"), 0.0);
    shutdown.start();
    following.await.unwrap().unwrap();
}

fn figure(process: &Process<Config>, name: &str) -> f64 {
    let families = process.metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric()[0].get_gauge().get_value()
}

/// A key that the contract pins and nobody proves under.
fn client_key() -> ClientKey {
    let tau_g2 = development_tau_g2();
    let mut bytes: Vec<u8> = [17u32, 1, 8].iter().flat_map(|n| n.to_be_bytes()).collect();
    bytes.extend(field::to_bytes(&srs_id(&tau_g2)));
    for _ in 0..fixed::COUNT {
        // The generator of the curve, (1, 2).
        for coordinate in [1u64, 2] {
            bytes.extend(field::to_bytes(&Fr::from(coordinate)));
        }
    }
    let vk = VerifyingKey::from_bytes(&bytes).unwrap();
    ClientKey::new(tau_g2, vk, 1, [Fr::from(0u64); VK_TREE_HEIGHT])
}

/// Goal: an operator sees it where they look: log, `/status` and `/metrics` of the process.
#[tokio::test]
async fn the_program_shows_its_nodes_figures_and_the_refused_block() {
    let key = client_key();
    let deployment = Deployment::new(&key.root()).await;
    std::fs::write(deployment.path("client.key"), key.to_bytes()).unwrap();
    let mut program = deployment.run(env!("CARGO_BIN_EXE_sequencer"), &[]);
    program.line_with("proposer");
    for name in ["rollmill_node_pending_block", "rollmill_node_block_refused"] {
        assert_eq!(program.metric(name), 0.0, "{name}");
    }
    assert!(program.metric("rollmill_node_l1_block") >= deployment.start.number as f64);
    assert_eq!(program.metric("rollmill_sequencer_held"), 0.0);

    deployment.propose_nonsense().await;
    let line = program.line_with("held: ");
    assert!(line.contains("block=1") && line.contains("NODE-032"), "{line}");
    assert_eq!(program.metric("rollmill_node_block_refused"), 1.0);
    assert_eq!(program.metric("rollmill_sequencer_held"), 1.0);
    let status = program.status(|_| true);
    assert_eq!(status["held"]["block_number"], 1, "{status}");
    assert_eq!(status["tips"]["pending"]["block_number"], 0, "{status}");
}
