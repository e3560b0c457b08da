//! The sequencer on a node and a development L1: what it builds, what it waits for and what it prunes.

#[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
use rollmill_sequencer_testing as support;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::L1Client;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::rpc::types::anvil::ReorgOptions;
use rollmill_l1_testing::proxy::{Fault, Proxy};
use rollmill_l1_testing::signer;
use rollmill_node::setup::RunningNode;
use rollmill_node::{
    BeaconIds, BlobConfig, ClientProofVerifier, DeadlineMetrics, Node, NodeBlobs, NodeError,
    NodeSettings, PoolLimits, ProofRejected, Pruner, RollupEvents, follow, position,
};
use rollmill_node_client::wire::Tips;
use rollmill_protocol::{ClientInputs, EthAddress};
use rollmill_sequencer::committee::Committee;
use rollmill_sequencer::config::Config;
use rollmill_sequencer::metrics::Metrics;
use rollmill_sequencer::sequencer::{Memory, Sequencer, Turn};
use rollmill_sequencer_testing::{Deployment, SLOT_SECONDS};
use rollmill_service::Process;
use rollmill_validator::CommitteeConfig;
use tokio::task::JoinHandle;

/// What is tested here comes after a transaction was admitted.
#[derive(Debug)]
struct AnyProof;

impl ClientProofVerifier for AnyProof {
    fn verify(&self, _: &ClientInputs, _: &[u8]) -> Result<(), ProofRejected> {
        Ok(())
    }
}

fn node(deployment: &Deployment) -> Arc<Node> {
    let settings = NodeSettings {
        data_dir: deployment.path("node"),
        genesis: deployment.genesis.clone(),
        l1_start: position(&deployment.start),
        // Time jumps here by whole epochs.
        pool: PoolLimits { age_seconds_max: u64::MAX, ..PoolLimits::default() },
        state_blocks: 64,
    };
    Node::open(settings, Arc::new(AnyProof)).unwrap()
}

/// A sequencer on a node that follows a deployment.
struct Running {
    deployment: Deployment,
    process: Process<Config>,
    node: Arc<Node>,
    sequencer: Sequencer,
    following: JoinHandle<Result<(), NodeError>>,
    memory: Memory,
}

impl Running {
    async fn start(deployment: Deployment, config: Config) -> Self {
        let beacons = vec![deployment.anvil.url.clone()];
        Self::with_beacons(deployment, config, beacons).await
    }

    /// Starts one that gets blobs from these beacon nodes, and from its archive.
    async fn with_beacons(deployment: Deployment, config: Config, beacons: Vec<String>) -> Self {
        let process = Process::new("sequencer", config);
        let node = node(&deployment);
        let info = deployment.network.info.clone();
        let rollup = EthAddress(deployment.rollup.address().into_array());
        let inbox = EthAddress(info.contracts.inbox.into_array());
        let blobs = BlobConfig {
            archive: deployment.path("blobs"),
            beacon_urls: beacons,
            beacon_ids: BeaconIds::Numbers,
            peers: Vec::new(),
        };
        let blobs = NodeBlobs::open(&blobs).unwrap();
        let (client, contract) = (deployment.client.clone(), deployment.rollup.clone());
        let source = RollupEvents::new(client, contract, inbox, Arc::new(blobs.clone()));
        let poll = Duration::from_millis(10);
        let shutdown = process.shutdown.clone();
        let following = tokio::spawn(follow(Arc::clone(&node), source, poll, shutdown));
        let intents = deployment.path("intents.json");
        let sender = Arc::new(support::sender(&deployment.client, &intents).await);
        let running = RunningNode {
            node: Arc::clone(&node),
            l1: deployment.client.clone(),
            contract: deployment.rollup.clone(),
            rollup,
            info,
            blobs,
        };
        let pruner = Pruner::of(&running, Some(Arc::clone(&sender)), 0, &process.metrics).unwrap();
        let metrics = Metrics::new(&process.metrics).unwrap();
        let config = process.config.clone();
        let record = CommitteeConfig {
            signatures: deployment.path("signatures.redb"),
            ..config.committee.clone()
        };
        let signing = rollmill_validator::open_signer(&record, &running, signer(0)).await.unwrap();
        let duties = rollmill_validator::duties(&running);
        let committee = Committee::new(signing, duties, &record, metrics.clone()).unwrap();
        let coinbase = EthAddress([0xc0; 20]);
        let sequencer = Sequencer { running, sender, committee, config, coinbase, metrics, pruner };
        sequencer.show(&process.status_page);
        Self { deployment, process, node, sequencer, following, memory: Memory::default() }
    }

    /// Starts one whose sender, and nothing else, reaches L1 through the proxy.
    async fn behind_a_proxy() -> (Self, Proxy) {
        let deployment = Deployment::new(&[]).await;
        let mut running = Self::start(deployment, Config::default()).await;
        let proxy = Proxy::before(&running.deployment.anvil.url).await;
        let urls = [proxy.url.clone()];
        let client = L1Client::connect(&urls, rollmill_l1_testing::CHAIN_ID).await.unwrap();
        let intents = running.deployment.path("proxied.json");
        running.sequencer.sender = Arc::new(support::sender(&client, &intents).await);
        (running, proxy)
    }

    /// Starts this one again, without its database, its blobs and a source of blobs. Returns where its blobs are now.
    async fn restart_without_blobs(self) -> (Self, PathBuf) {
        let Self { deployment, process, node, sequencer, following, .. } = self;
        process.shutdown.start();
        following.await.unwrap().unwrap();
        drop((sequencer, node));
        std::fs::remove_dir_all(deployment.path("node")).unwrap();
        let blobs = deployment.path("blobs-elsewhere");
        std::fs::rename(deployment.path("blobs"), &blobs).unwrap();
        let running = Self::with_beacons(deployment, process.config.clone(), Vec::new()).await;
        while running.node.data_missing().is_none() {
            assert!(!running.following.is_finished(), "the node has ended");
            tokio::task::yield_now().await;
        }
        (running, blobs)
    }

    /// Requires that nothing is signed or sent while block 1 has no data here.
    async fn is_paused_without_data(&mut self) {
        let slot = self.deployment.rollup.current_slot().await.unwrap();
        for _ in 0..3 {
            assert_eq!(self.turn().await, Turn::Paused);
        }
        assert_eq!(self.node.data_missing(), Some(1));
        assert_eq!(self.figure("rollmill_sequencer_data_missing"), 1.0);
        assert_eq!(self.deployment.rollup.tips().await.unwrap().pending, 1);
        assert_eq!(self.sequencer.sender.attempt_for("propose/2"), 0);
        assert!(self.sequencer.committee.signed(slot).await.unwrap().is_none(), "it signed");
        assert_eq!(self.figure("rollmill_sequencer_refused_total"), 0.0);
    }

    async fn turn(&mut self) -> Turn {
        for _ in 0..1000 {
            match self.sequencer.turn(&mut self.memory, &self.process.shutdown).await {
                Ok(turn) => return turn,
                // anvil shows a transaction in a block a moment before its receipt. The sequencer's own
                // loop takes another turn then.
                Err(error) if error.to_string().contains("but no receipt") => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("anvil shows a transaction in a block and never its receipt")
    }

    /// Waits until the node has come to this.
    async fn reach(&self, is_there: impl FnMut(&Tips) -> bool) {
        self.node.watch_tips().wait_for(is_there).await.unwrap();
    }

    fn submit(&self, i: u64) {
        let tx = self.deployment.tx(i, self.node.genesis_header().hash());
        self.node.submit(&tx.to_bytes()).unwrap();
    }

    fn figure(&self, name: &str) -> f64 {
        figure(&self.process, name)
    }

    async fn end(self) {
        self.process.shutdown.start();
        self.following.await.unwrap().unwrap();
    }
}

/// Goal: with transactions waiting, nothing is built on or beside a rejected block, and building
/// continues when it is gone. Method: post an invalid block, run a turn, remove the block by a
/// reorganisation, run another turn.
#[tokio::test]
async fn no_block_is_built_while_l1_holds_a_refused_one() {
    let deployment = Deployment::new(&[]).await;
    deployment.propose_nonsense().await;
    let mut running = Running::start(deployment, Config::default()).await;
    running.reach(|tips| tips.rejected.is_some()).await;
    running.submit(0);

    for _ in 0..3 {
        assert_eq!(running.turn().await, Turn::Paused);
    }
    let tips = running.deployment.rollup.tips().await.unwrap();
    assert_eq!(tips.pending, 1, "only the nonsense");
    assert_eq!(running.node.ready_count(), 1);
    let held = running.process.status_page.status()["held"].clone();
    assert_eq!(held["block_number"], 1);
    assert!(held["reason"].as_str().unwrap().starts_with("NODE-033"), "{held}");
    assert_eq!(running.figure("rollmill_sequencer_held"), 1.0);

    let options = ReorgOptions { depth: 1, tx_block_pairs: vec![] };
    running.deployment.client.provider().anvil_reorg(options).await.unwrap();
    running.reach(|tips| tips.rejected.is_none()).await;
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(running.node.ready_count(), 0);
    assert!(running.process.status_page.status()["held"].is_null());
    assert_eq!(running.figure("rollmill_sequencer_held"), 0.0);
    running.end().await;
}

/// Goal: a rejected block that no reorganisation removes pauses the sequencer only until its deadline:
/// then the sequencer itself prunes, and continues.
#[tokio::test]
async fn a_held_sequencer_prunes_at_the_deadline_and_goes_on() {
    let deployment = Deployment::new(&[]).await;
    deployment.propose_nonsense().await;
    let mut running = Running::start(deployment, Config::default()).await;
    running.reach(|tips| tips.rejected.is_some()).await;
    running.submit(0);
    assert_eq!(running.figure("rollmill_node_prune_due"), 0.0);
    assert!(!running.sequencer.pruner.step().await.unwrap(), "nothing is due");
    assert_eq!(running.figure("rollmill_node_proof_deadline_open"), 1.0);
    assert!(running.figure("rollmill_node_proof_window_seconds") > 100_000.0);
    assert!(running.figure("rollmill_node_proof_deadline_seconds") > 200_000.0);
    let shown = running.process.status_page.status()["proof_deadline"].clone();
    assert_eq!(shown["is_missed"], false, "{shown}");
    assert_eq!(running.turn().await, Turn::Paused);

    running.deployment.miss_deadline(0).await;

    // A process that only watches leaves the prune to others.
    let watcher = Pruner {
        contract: running.deployment.rollup.clone(),
        info: running.deployment.network.info.clone(),
        sender: None,
        patience_seconds: 0,
        metrics: DeadlineMetrics::new(&Process::new("watcher", ()).metrics).unwrap(),
        seen: Default::default(),
    };
    assert!(!watcher.step().await.unwrap());
    assert!(watcher.seen.borrow().unwrap().is_missed);
    assert!(watcher.seen.borrow().unwrap().seconds_left < 0);
    // So does one that gives others more time than has passed.
    let patient = Pruner { patience_seconds: 1_000_000, ..watcher };
    assert!(!patient.step().await.unwrap());
    assert_eq!(running.deployment.rollup.tips().await.unwrap().pending, 1);

    assert!(running.sequencer.pruner.step().await.unwrap(), "it is due");
    assert_eq!(running.figure("rollmill_node_prunes_sent_total"), 1.0);
    assert_eq!(running.deployment.rollup.tips().await.unwrap().pending, 0);
    running.reach(|tips| tips.rejected.is_none()).await;
    assert!(!running.sequencer.pruner.step().await.unwrap(), "it is done");
    assert_eq!(running.figure("rollmill_node_prune_due"), 0.0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    running.end().await;
}

/// Goal: nothing is built on blocks that a prune is due to take, although they are good.
#[tokio::test]
async fn nothing_is_built_on_blocks_that_missed_their_deadline() {
    let deployment = Deployment::new(&[]).await;
    let mut running = Running::start(deployment, Config::default()).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    running.submit(1);
    running.deployment.miss_deadline(0).await;
    // Seen by the watch, not yet acted upon.
    let sender = running.sequencer.pruner.sender.take();
    assert!(!running.sequencer.pruner.step().await.unwrap());
    assert_eq!(running.turn().await, Turn::Paused);
    running.sequencer.pruner.sender = sender;
    assert!(running.sequencer.pruner.step().await.unwrap());
    running.reach(|tips| tips.pending.block_number == 0).await;
    assert!(!running.sequencer.pruner.step().await.unwrap());
    // Both transactions are in one block now.
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(running.node.block(1).unwrap().unwrap().txs.len(), 2);
    running.end().await;
}

/// Goal: without the data of a block on L1 nothing is built, signed or sent, since the next block has to follow that
/// one; building continues when a source has the data.
#[tokio::test]
async fn nothing_is_built_while_the_data_of_a_block_is_missing() {
    let mut running = Running::start(Deployment::new(&[]).await, Config::default()).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    let (mut running, blobs) = running.restart_without_blobs().await;
    // The block of the present slot is the one that is missing.
    let slot = running.deployment.rollup.current_slot().await.unwrap();
    let start = running.deployment.genesis.config.timestamp(slot + 1).unwrap();
    running.deployment.network.at_second(start).await;
    running.submit(1);
    running.is_paused_without_data().await;

    let archive = running.deployment.path("blobs");
    std::fs::remove_dir_all(&archive).unwrap();
    std::fs::rename(blobs, archive).unwrap();
    running.reach(|tips| tips.pending.block_number == 1).await;
    // Its client proofs are known here no more.
    let tx = running.deployment.tx(0, running.node.genesis_header().hash());
    running.node.keep_included(tx).unwrap();
    while running.node.data_missing().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.turn().await, Turn::Proposed(2));
    assert_eq!(running.figure("rollmill_sequencer_data_missing"), 0.0);
    running.end().await;
}

/// Goal: a block whose data no source ever has pauses the sequencer only until its deadline.
#[tokio::test]
async fn a_block_without_data_is_pruned_at_the_deadline_and_building_continues() {
    let mut running = Running::start(Deployment::new(&[]).await, Config::default()).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    let (mut running, _) = running.restart_without_blobs().await;
    running.deployment.miss_deadline(0).await;
    running.submit(1);
    running.is_paused_without_data().await;
    assert!(running.sequencer.pruner.step().await.unwrap(), "it is due");
    while running.node.data_missing().is_some() {
        assert!(!running.following.is_finished(), "the node has ended");
        tokio::task::yield_now().await;
    }
    assert!(!running.sequencer.pruner.step().await.unwrap(), "it is done");
    assert_eq!(running.turn().await, Turn::Proposed(1));
    running.end().await;
}

/// Goal: building waits for the client proofs of a block on L1, and continues without them after its
/// patience, because the contract takes no block beside it.
#[tokio::test]
async fn building_waits_for_client_proofs_and_then_goes_on() {
    let config = Config { max_unverified_seconds: 1_000_000, ..Config::default() };
    let deployment = Deployment::new(&[]).await;
    let mut running = Running::start(deployment, config).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(running.node.tips().unverified(), None);
    // A node that lost its pool: the same chain, none of the client proofs.
    let Running { deployment, process, node, sequencer, following, .. } = running;
    process.shutdown.start();
    following.await.unwrap().unwrap();
    drop((sequencer, node));
    std::fs::remove_dir_all(deployment.path("node")).unwrap();
    let mut running = Running::start(deployment, process.config.clone()).await;
    running.reach(|tips| tips.pending.block_number == 1).await;
    assert_eq!(running.node.tips().unverified(), Some(1));
    running.submit(1);
    for _ in 0..3 {
        assert_eq!(running.turn().await, Turn::Unverified);
    }
    assert_eq!(running.figure("rollmill_sequencer_unverified"), 1.0);
    // Found: the next block is built on it without a wait.
    let before = running.node.tips();
    let tx = running.deployment.tx(0, running.node.genesis_header().hash());
    running.node.keep_included(tx).unwrap();
    assert_eq!((before.unverified(), running.node.tips().unverified()), (Some(1), None));
    assert_ne!(running.turn().await, Turn::Unverified);
    running.end().await;
}

fn figure(process: &Process<Config>, name: &str) -> f64 {
    let families = process.metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let metric = &family.get_metric()[0];
    // One of the two is not there, and 0.
    metric.get_gauge().get_value() + metric.get_counter().get_value()
}

/// Goal: while no endpoint passes proposals on, one is made and no more; it lands when they do, and
/// none reverts.
#[tokio::test]
async fn one_proposal_is_in_flight_while_l1_includes_none() {
    let (mut running, proxy) = Running::behind_a_proxy().await;
    let account = running.sequencer.sender.account();
    let provider = running.deployment.client.provider().clone();
    let nonce = || async { provider.get_transaction_count(account).await.unwrap() };
    let before = nonce().await;
    running.submit(0);
    proxy.set(Fault::LoseTransactions);
    for _ in 0..5 {
        let (memory, shutdown) = (&mut running.memory, &running.process.shutdown);
        running.sequencer.turn(memory, shutdown).await.unwrap_err();
        // Others come, and change nothing about it.
        running.submit(running.node.ready_count() as u64);
    }
    assert_eq!(nonce().await, before);
    proxy.set(Fault::None);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(nonce().await, before + 1);
    assert_eq!(running.node.block(1).unwrap().unwrap().txs.len(), 1);
    running.end().await;
}

/// Goal: a proposal that is in no L1 block by the end of its slot is dropped, and the next one takes its
/// nonce: none reverts.
#[tokio::test]
async fn a_proposal_that_missed_its_slot_is_replaced_under_its_nonce() {
    let (mut running, proxy) = Running::behind_a_proxy().await;
    let account = running.sequencer.sender.account();
    let provider = running.deployment.client.provider().clone();
    let before = provider.get_transaction_count(account).await.unwrap();
    running.submit(0);
    proxy.set(Fault::LoseTransactions);
    let (memory, shutdown) = (&mut running.memory, &running.process.shutdown);
    running.sequencer.turn(memory, shutdown).await.unwrap_err();
    proxy.set(Fault::None);
    // The deployment started in the middle of a slot. The second block shows L1's usual pace.
    let part = SLOT_SECONDS * 3 / 4;
    provider.anvil_increase_time(part).await.unwrap();
    provider.anvil_mine(Some(2), None).await.unwrap();
    let (memory, shutdown) = (&mut running.memory, &running.process.shutdown);
    let error = running.sequencer.turn(memory, shutdown).await.unwrap_err();
    assert!(error.to_string().starts_with("L1-020"), "{error}");
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(provider.get_transaction_count(account).await.unwrap(), before + 1);
    running.end().await;
}
