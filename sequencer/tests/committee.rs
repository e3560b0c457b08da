//! A committee of four on a development L1: its proposer, its other members, and a member that is killed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::common::node_in;
use crate::common::running::{following, sequencer};
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::signers::SignerSync;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::{abi, attest};
use rollmill_l1_testing::{CHAIN_ID, signer};
use rollmill_node::setup::RunningNode;
use rollmill_node::{BlockSigner, NodeError, Vote};
use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::{Commitment, EthAddress, Fr};
use rollmill_sequencer::committee::Committee;
use rollmill_sequencer::config::Config;
use rollmill_sequencer::error::SequencerError;
use rollmill_sequencer::sequencer::{Memory, Sequencer, Turn};
use rollmill_sequencer_testing::Deployment;
use rollmill_service::{Process, Shutdown, listen, serve};
use rollmill_validator::{CommitteeConfig, Peer, Settings, Validator, duties, router};
use rollmill_validator_client::{ClientError, Proposal, SIGNATURE_BYTES, ValidatorClient};
use tokio::task::JoinHandle;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rollmill-sequencer");
/// The deployment starts in this slot.
const SLOT: u64 = 5;

/// Member `i` of the committee. Member 1 is account 0, which has funds and proposes in slot 5.
fn key(i: u64) -> PrivateKeySigner {
    match i {
        1 => signer(0),
        i => format!("{:064x}", i + 1).parse().unwrap(),
    }
}

fn members() -> Vec<Address> {
    (0..4).map(|i| key(i).address()).collect()
}

/// Member `i` with a node of its own.
struct Member {
    running: RunningNode,
    signer: Arc<BlockSigner>,
    following: JoinHandle<Result<(), NodeError>>,
    process: Process<Config>,
    evidence: PathBuf,
}

impl Member {
    async fn start(deployment: &Deployment, i: u64) -> Self {
        let folder = deployment.path(&format!("member-{i}"));
        let process = Process::new("sequencer", Config::default());
        let node = node_in(deployment, folder.join("node"));
        let beacons = vec![deployment.anvil.url.clone()];
        let (running, following) =
            following(deployment, node, folder.join("blobs"), beacons, &process);
        let path = folder.join("signatures.redb");
        let signer =
            Arc::new(BlockSigner::open(&path, key(i), CHAIN_ID, running.rollup, 0).unwrap());
        // It follows the head, from which it knows the slot.
        let head = deployment.client.latest().await.unwrap().number;
        let mut tips = running.node.watch_tips();
        tips.wait_for(|tips| tips.l1_block >= head).await.unwrap();
        Self { running, signer, following, process, evidence: folder.join("evidence") }
    }

    /// Attests at an address, which it returns.
    async fn attest_at(&self, address: &str) -> String {
        let evidence = self.evidence.clone();
        let validator = Validator::new(
            Arc::clone(&self.running.node),
            Arc::clone(&self.signer),
            self.running.blobs.kzg,
            duties(&self.running),
            Settings { checks: 2, turn: Duration::from_secs(60), token: None, evidence },
            rollmill_validator::Metrics::new(&self.process.metrics).unwrap(),
        );
        let listener = listen(address, "x").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(serve(listener, router(Arc::new(validator)), self.process.shutdown.clone()));
        address
    }

    async fn end(self) {
        self.process.shutdown.start();
        self.following.await.unwrap().unwrap();
    }
}

/// Member 1 as the proposer.
struct Proposer {
    sequencer: Sequencer,
    memory: Memory,
    process: Process<Config>,
    following: JoinHandle<Result<(), NodeError>>,
}

impl Proposer {
    /// `peers` are members with their addresses.
    async fn start(deployment: &Deployment, peers: &[(u64, String)]) -> Self {
        let Member { running, signer, following, process, .. } = Member::start(deployment, 1).await;
        let peers = peers.iter().map(|(i, address)| Peer {
            account: EthAddress(key(*i).address().into_array()),
            url: format!("http://{address}").parse().unwrap(),
        });
        // The test's own limit is the turn's end; this one must outlast a busy machine.
        let committee = CommitteeConfig {
            peers: Some(peers.collect()),
            wait_seconds: 60,
            ..Default::default()
        };
        let config = Config { committee, ..Config::default() };
        let sequencer = sequencer(deployment, running, signer, config, &process).await;
        Self { sequencer, memory: Memory::default(), process, following }
    }

    fn submit(&self, deployment: &Deployment, i: u64) -> Fr {
        let node = &self.sequencer.running.node;
        let tx = deployment.tx(i, node.genesis_header().hash());
        node.submit(&tx.to_bytes()).unwrap()
    }

    async fn turn(&mut self) -> Result<Turn, SequencerError> {
        let shutdown = Shutdown::new();
        loop {
            match self.sequencer.turn(&mut self.memory, &shutdown).await {
                // anvil shows a transaction in a block a moment before its receipt.
                Err(error) if error.to_string().contains("but no receipt") => {}
                turn => return turn,
            }
        }
    }

    fn wait_at_most(&mut self, seconds: u64) {
        self.sequencer.committee.set_wait(seconds);
    }

    fn figure(&self, text: &str) -> bool {
        let families = self.process.metrics.gather();
        let encoder = rollmill_service::prometheus::TextEncoder::new();
        encoder.encode_to_string(&families).unwrap().lines().any(|line| line == text)
    }

    async fn end(self) {
        self.process.shutdown.start();
        self.following.await.unwrap().unwrap();
    }
}

/// Goal: the contract takes the block of a committee of four with three signatures, one member being away.
#[tokio::test(flavor = "multi_thread")]
async fn a_committee_of_four_proposes_while_one_member_is_away() {
    let deployment = Deployment::with_committee(&[], members()).await;
    let (zero, two) = (Member::start(&deployment, 0).await, Member::start(&deployment, 2).await);
    let away = listen("127.0.0.1:0", "x").await.unwrap().local_addr().unwrap().to_string();
    let any = "127.0.0.1:0";
    let peers = [(0, zero.attest_at(any).await), (2, two.attest_at(any).await), (3, away)];
    let mut proposer = Proposer::start(&deployment, &peers).await;
    proposer.submit(&deployment, 0);
    assert_eq!(proposer.turn().await.unwrap(), Turn::Proposed(1));
    let record = deployment.rollup.block_record(1).await.unwrap();
    assert_eq!(record.signers, 0b0111);
    assert!(proposer.figure("rollmill_sequencer_attestations_total{outcome=\"signed\"} 2"));
    assert!(proposer.figure("rollmill_sequencer_quorum_missed_total 0"));
    // Each of the signers follows the block that it has signed, and has its client proofs.
    for member in [zero, two] {
        let mut tips = member.running.node.watch_tips();
        tips.wait_for(|tips| tips.pending.block_number == 1).await.unwrap();
        assert!(member.signer.signed(SLOT).unwrap().is_some());
        let kept = member.signer.proposal(SLOT).unwrap().unwrap();
        assert_eq!(Proposal::from_bytes(&kept).unwrap().txs.len(), 1);
        member.end().await;
    }
    proposer.end().await;
}

/// Goal: without a quorum no transaction is sent, and the slot's block stays what was signed: when a member comes
/// back, that very block is proposed, also by a process that knows of it from the disk alone.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_proposed_until_a_member_comes_back() {
    let deployment = Deployment::with_committee(&[], members()).await;
    let (zero, two) = (Member::start(&deployment, 0).await, Member::start(&deployment, 2).await);
    let reserved = listen("127.0.0.1:0", "x").await.unwrap().local_addr().unwrap().to_string();
    // What answers for member 3 signs with another key.
    let zeros = zero.attest_at("127.0.0.1:0").await;
    let peers = [(0, zeros.clone()), (2, reserved.clone()), (3, zeros)];
    let mut proposer = Proposer::start(&deployment, &peers).await;
    // Member 2 is asked again until then; the others have answered long before.
    proposer.wait_at_most(10);
    let first = proposer.submit(&deployment, 0);
    let sent =
        deployment.client.provider().get_transaction_count(signer(0).address()).await.unwrap();
    let error = proposer.turn().await.unwrap_err();
    assert_eq!(error.code(), "SEQ-008");
    let text = error.to_string();
    assert!(text.contains("2 of the 3 signatures"), "{text}");
    assert!(text.contains("connection refused") && text.contains("no signature of its"), "{text}");
    assert!(proposer.figure("rollmill_sequencer_quorum_missed_total 1"));
    assert!(proposer.figure("rollmill_sequencer_attestations_total{outcome=\"wrong\"} 1"));
    let after =
        deployment.client.provider().get_transaction_count(signer(0).address()).await.unwrap();
    assert_eq!((sent, deployment.rollup.tips().await.unwrap().pending), (after, 0));
    assert_eq!(proposer.sequencer.sender.attempt_for("propose/1"), 0);

    proposer.submit(&deployment, 1);
    proposer.memory = Memory::default();
    proposer.wait_at_most(60);
    two.attest_at(&reserved).await;
    assert_eq!(proposer.turn().await.unwrap(), Turn::Proposed(1));
    assert_eq!(deployment.rollup.block_record(1).await.unwrap().signers, 0b0111);
    let node = &proposer.sequencer.running.node;
    let txs = node.block(1).unwrap().unwrap().txs;
    assert_eq!(txs.iter().map(|tx| tx.effects.tx_hash()).collect::<Vec<_>>(), [first]);
    assert_eq!(node.ready_count(), 1);
    for member in [zero, two] {
        member.end().await;
    }
    proposer.end().await;
}

/// Goal: a block that was signed and then lost its parent is not signed anew in its slot; the next own slot is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_signed_block_lost_its_parent_stays_empty() {
    let deployment = Deployment::with_committee(&[], members()).await;
    let mut proposer = Proposer::start(&deployment, &[]).await;
    proposer.submit(&deployment, 0);
    // Another link is on the disk, as of a block on another parent.
    let vote = Vote { number: 1, slot: SLOT, chain: Fr::from(7u64) };
    let path = deployment.path("member-1/signatures.redb");
    let config = proposer.sequencer.config.clone();
    let Proposer { sequencer, process, following, .. } = proposer;
    let Sequencer { running, sender, committee, coinbase, metrics, pruner, .. } = sequencer;
    drop(committee);
    let signer = BlockSigner::open(&path, key(1), CHAIN_ID, running.rollup, 0).unwrap();
    signer.sign(vote, |_| Vec::new()).unwrap();
    let committee =
        Committee::new(Arc::new(signer), duties(&running), &config.committee, metrics.clone());
    let committee = committee.unwrap();
    let sequencer =
        Sequencer { running, sender, committee, config, coinbase, metrics, pruner, quotes: None };
    proposer = Proposer { sequencer, memory: Memory::default(), process, following };
    for _ in 0..2 {
        assert_eq!(proposer.turn().await.unwrap(), Turn::Waiting);
    }
    assert!(proposer.figure("rollmill_sequencer_slots_lost_total 1"));
    // Slot 6 is another member's.
    deployment.network.at(SLOT + 1).await;
    assert_eq!(proposer.turn().await.unwrap(), Turn::Waiting);
    assert_eq!(deployment.rollup.tips().await.unwrap().pending, 0);
    proposer.end().await;
}

/// The first block without transactions, with a signature of its slot's proposer.
fn empty_block(deployment: &Deployment, slot: u64, coinbase: u8) -> Proposal {
    let built = deployment.genesis.build(MemoryStore::new()).unwrap();
    let env = BlockEnv { slot, coinbase: EthAddress([coinbase; 20]), messages: vec![] };
    let config = &deployment.genesis.config;
    let builder = BlockBuilder::new(&built.header, built.state.store, config, env).unwrap();
    let (block, _) = builder.finish().unwrap();
    let commitment = Commitment::default();
    let chain = block.chain_link(Fr::from(0u64), &block.opening(commitment)).chain();
    let digest = attest::block_digest(
        CHAIN_ID,
        deployment.rollup.address(),
        block.header.block_number,
        slot,
        abi::word(&chain),
    );
    let signature: [u8; SIGNATURE_BYTES] =
        key(slot % 4).sign_hash_sync(&digest).unwrap().as_bytes();
    Proposal { chain, commitment, signature, header: block.header, txs: vec![] }
}

/// Starts the program as member 1 that only attests, with this failpoint, and returns a client of it.
fn attesting(
    deployment: &Deployment,
    failpoint: &str,
) -> (rollmill_sequencer_testing::Program, ValidatorClient) {
    attesting_for(deployment, failpoint, "30")
}

/// [`attesting`] with a grace period of so many seconds.
fn attesting_for(
    deployment: &Deployment,
    failpoint: &str,
    grace: &str,
) -> (rollmill_sequencer_testing::Program, ValidatorClient) {
    let flags =
        ["--committee-attest-only", "--committee-listen", "127.0.0.1:0", "--grace-seconds", grace];
    let mut program = deployment.run_with(PROGRAM, &flags, &[("ROLLMILL_FAILPOINT", failpoint)]);
    let line = program.line_with("validator listening");
    let (_, address) = line.split_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap().trim_matches('"');
    let client = ValidatorClient::new(&format!("http://{address}"), None).unwrap();
    (program, client)
}

async fn ask(client: &ValidatorClient, proposal: &Proposal) -> Result<Vec<u8>, ClientError> {
    loop {
        match client.attest(proposal.to_bytes().into()).await {
            // The node follows L1 a moment later.
            Err(error) if error.code() == "VAL-010" => tokio::task::yield_now().await,
            answer => return answer.map(|signature| signature.to_vec()),
        }
    }
}

/// Fault: SIGTERM to a member that only attests, while it checks a proposal. It must not end before the proposer has its
/// answer, unless its grace period is over. Without work it ends at once, whoever is connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_only_attests_ends_after_the_proposals_that_it_checks() {
    let deployment = crate::common::with_client_key(members()).await;
    let (mut program, client) = attesting(&deployment, "");
    // A new record leaves out the present slot.
    let early = ask(&client, &empty_block(&deployment, SLOT, 0xc0)).await.unwrap_err();
    assert_eq!(early.code(), "NODE-075");
    assert_eq!(program.terminate(), Some(0));

    let slot = SLOT + 2;
    deployment.network.at(slot).await;
    let block = empty_block(&deployment, slot, 0xc0);
    let (mut program, client) = attesting_for(&deployment, "node.block_signed:hang", "1");
    let asking = tokio::spawn(async move { ask(&client, &block).await });
    program.line_with("failpoint reached");
    assert_eq!(program.terminate(), Some(1));
    program.line_with("SVC-008");
    assert!(asking.await.unwrap().is_err());
}

/// Goal: a member that is killed after it has written what it signs, and before it answers, signs that and nothing
/// else afterwards; a second process with its record does not start; a new record leaves out the present slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_signs_the_same_block_and_no_other() {
    let deployment = crate::common::with_client_key(members()).await;
    let (program, client) = attesting(&deployment, "");
    let early = ask(&client, &empty_block(&deployment, SLOT, 0xc0)).await.unwrap_err();
    assert_eq!((early.code(), early.is_transient()), ("NODE-075", false));
    drop(program);
    let slot = SLOT + 2;
    deployment.network.at(slot).await;
    let (block, other) =
        (empty_block(&deployment, slot, 0xc0), empty_block(&deployment, slot, 0xc1));
    for failpoint in ["node.block_signed", "validator.attested"] {
        let (mut program, client) = attesting(&deployment, failpoint);
        let lost = ask(&client, &block).await;
        match failpoint {
            "node.block_signed" => {
                assert_eq!(lost.unwrap_err().code(), "VAC-003");
                assert_eq!(program.wait(), None, "killed");
            }
            // Its row is there already, so nothing is checked or written again.
            _ => drop(lost.unwrap()),
        }
    }
    let (_program, client) = attesting(&deployment, "");
    let signature = ask(&client, &block).await.unwrap();
    let digest = attest::block_digest(
        CHAIN_ID,
        deployment.rollup.address(),
        1,
        slot,
        abi::word(&block.chain),
    );
    let by = attest::recover(&digest, &signature.try_into().unwrap());
    assert_eq!(by, Some(key(1).address()));
    let error = ask(&client, &other).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("NODE-074", false));

    let node = deployment.path("node-2").display().to_string();
    let blobs = deployment.path("blobs-2").display().to_string();
    let second = deployment.output(
        PROGRAM,
        &[
            "--node-data-dir",
            &node,
            "--node-blob-archive",
            &blobs,
            "--committee-attest-only",
            "--committee-listen",
            "127.0.0.1:0",
        ],
    );
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("NODE-070"), "{text}");
}
