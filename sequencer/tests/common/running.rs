//! A sequencer in the test's own process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::L1Client;
use rollmill_l1_testing::proxy::Proxy;
use rollmill_l1_testing::signer;
use rollmill_node::setup::RunningNode;
use rollmill_node::{
    BeaconIds, BlobConfig, BlockSigner, Node, NodeBlobs, NodeError, Pruner, RollupEvents, follow,
};
use rollmill_node_client::wire::Tips;
use rollmill_protocol::EthAddress;
use rollmill_sequencer::committee::Committee;
use rollmill_sequencer::config::Config;
use rollmill_sequencer::metrics::Metrics;
use rollmill_sequencer::sequencer::{Memory, Sequencer, Turn};
use rollmill_sequencer_testing as support;
use rollmill_sequencer_testing::Deployment;
use rollmill_service::Process;
use tokio::task::JoinHandle;

use super::node;

/// Lets a node follow a deployment, with blobs from these beacon nodes and from its archive.
pub(crate) fn following(
    deployment: &Deployment,
    node: Arc<Node>,
    archive: PathBuf,
    beacon_urls: Vec<String>,
    process: &Process<Config>,
) -> (RunningNode, JoinHandle<Result<(), NodeError>>) {
    let info = deployment.network.info.clone();
    let rollup = EthAddress(deployment.rollup.address().into_array());
    let inbox = EthAddress(info.contracts.inbox.into_array());
    let beacon_ids = BeaconIds::Numbers;
    let blobs = BlobConfig { archive, beacon_urls, beacon_ids, peers: Vec::new() };
    let blobs = NodeBlobs::open(&blobs).unwrap();
    let (l1, contract) = (deployment.client.clone(), deployment.rollup.clone());
    let source = RollupEvents::new(l1.clone(), contract.clone(), inbox, Arc::new(blobs.clone()));
    let (poll, shutdown) = (Duration::from_millis(10), process.shutdown.clone());
    let task = tokio::spawn(follow(Arc::clone(&node), source, poll, shutdown));
    (RunningNode { node, l1, contract, rollup, info, blobs }, task)
}

/// The sequencer on a node. It sends from account 0 and signs with `signer`.
pub(crate) async fn sequencer(
    deployment: &Deployment,
    running: RunningNode,
    signer: Arc<BlockSigner>,
    config: Config,
    process: &Process<Config>,
) -> Sequencer {
    let intents = deployment.path("intents.json");
    let sender = Arc::new(support::sender(&deployment.client, &intents).await);
    let pruner = Pruner::of(&running, Some(Arc::clone(&sender)), 0, &process.metrics).unwrap();
    let metrics = Metrics::new(&process.metrics).unwrap();
    let duties = rollmill_validator::duties(&running);
    let committee = Committee::new(signer, duties, &config.committee, metrics.clone()).unwrap();
    let coinbase = EthAddress([0xc0; 20]);
    Sequencer { running, sender, committee, config, coinbase, metrics, pruner, quotes: None }
}

/// A sequencer on a node that follows a deployment.
pub(crate) struct Running {
    pub(crate) deployment: Deployment,
    pub(crate) process: Process<Config>,
    pub(crate) node: Arc<Node>,
    pub(crate) sequencer: Sequencer,
    pub(crate) following: JoinHandle<Result<(), NodeError>>,
    pub(crate) memory: Memory,
}

impl Running {
    pub(crate) async fn start(deployment: Deployment, config: Config) -> Self {
        let beacons = vec![deployment.anvil.url.clone()];
        Self::with_beacons(deployment, config, beacons).await
    }

    /// Starts one that gets blobs from these beacon nodes, and from its archive.
    pub(crate) async fn with_beacons(
        deployment: Deployment,
        config: Config,
        beacons: Vec<String>,
    ) -> Self {
        let process = Process::new("sequencer", config);
        let node = node(&deployment);
        let archive = deployment.path("blobs");
        let (running, following) =
            following(&deployment, Arc::clone(&node), archive, beacons, &process);
        let mut config = process.config.clone();
        config.committee.signatures = deployment.path("signatures.redb");
        let signing =
            rollmill_validator::open_signer(&config.committee, &running, signer(0)).await.unwrap();
        let sequencer = sequencer(&deployment, running, signing, config, &process).await;
        sequencer.show(&process.status_page);
        Self { deployment, process, node, sequencer, following, memory: Memory::default() }
    }

    /// Starts one whose sender, and nothing else, reaches L1 through the proxy.
    pub(crate) async fn behind_a_proxy() -> (Self, Proxy) {
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
    pub(crate) async fn restart_without_blobs(self) -> (Self, PathBuf) {
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
    pub(crate) async fn is_paused_without_data(&mut self) {
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

    /// Waits until the node is at L1's head and misses no data.
    pub(crate) async fn has_its_data(&self) {
        while self.node.data_missing().is_some() {
            assert!(!self.following.is_finished(), "the node has ended");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn turn(&mut self) -> Turn {
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
    pub(crate) async fn reach(&self, is_there: impl FnMut(&Tips) -> bool) {
        self.node.watch_tips().wait_for(is_there).await.unwrap();
    }

    pub(crate) fn submit(&self, i: u64) {
        let tx = self.deployment.tx(i, self.node.genesis_header().hash());
        self.node.submit(&tx.to_bytes()).unwrap();
    }

    pub(crate) fn figure(&self, name: &str) -> f64 {
        figure(&self.process, name)
    }

    pub(crate) async fn end(self) {
        self.process.shutdown.start();
        self.following.await.unwrap().unwrap();
    }
}

/// The figure of this name, of a gauge or a counter.
pub(crate) fn figure(process: &Process<Config>, name: &str) -> f64 {
    let families = process.metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let metric = &family.get_metric()[0];
    // One of the two is not there, and 0.
    metric.get_gauge().get_value() + metric.get_counter().get_value()
}
