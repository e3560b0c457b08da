//! A validator on a node whose L1 is in memory: what it attests and what not.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::L1Error;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::attest::{self, Duty};
use rollmill_l1::blob::{Blob, Kzg};
use rollmill_l1::evidence::Evidence;
use rollmill_net_testing::Authority;
use rollmill_node::{
    BlockSigner, ClientProofVerifier, Data, L1Event, L1Position, L1Update, Node, NodeSettings,
    PoolLimits, ProofRejected, ProposedBlock, Vote,
};
use rollmill_protocol::blob::encode;
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv};
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::{ClientInputs, Commitment, EthAddress, Fr, Header, ProofKind, Tx};
use rollmill_protocol_testing as chain;
use rollmill_service::prometheus::Registry;
use rollmill_service::{
    HttpLimits, HttpServer, Protection, Secret, Shutdown, Tls, TlsFiles, listen,
};
use rollmill_validator::{AttestError, Duties, Metrics, Settings, Validator, keep_proofs, router};
use rollmill_validator_client::{
    ClientError, PROPOSAL_BYTES_MAX, Proposal, SIGNATURE_BYTES, ValidatorClient,
};

/// Slot of L1's head, in which member 1 proposes.
pub(crate) const SLOT: u64 = 5;
pub(crate) const ROLLUP: EthAddress = EthAddress([0xa0; 20]);
pub(crate) const EVIDENCE: &str = "evidence";

/// Accepts proofs whose first byte is 7, as those of the support crate. One that starts with 9 takes until the
/// sender of the channel is dropped.
#[derive(Debug)]
struct FirstByteIsSeven(parking_lot::Mutex<std::sync::mpsc::Receiver<()>>);

impl ClientProofVerifier for FirstByteIsSeven {
    fn verify(&self, _: ProofKind, _: &ClientInputs, proof: &[u8]) -> Result<(), ProofRejected> {
        match proof.first() {
            Some(7) => Ok(()),
            Some(9) => {
                assert!(self.0.lock().recv().is_err(), "nothing is ever sent");
                Ok(())
            }
            _ => Err(ProofRejected { reason: "first byte is not 7".to_owned() }),
        }
    }
}

pub(crate) fn key(member: u64) -> PrivateKeySigner {
    format!("{:064x}", member + 1).parse().unwrap()
}

/// A committee of four that proposes in turn, in every epoch but the last one.
#[derive(Debug)]
struct Four {
    members: Vec<Address>,
}

impl Duties for Four {
    async fn duty(&self, slot: u64) -> Result<Option<Duty>, L1Error> {
        let proposer = self.members[usize::try_from(slot).unwrap() % self.members.len()];
        let duty = Duty { slot, epoch: slot / 8, proposer, members: self.members.clone() };
        Ok((!self.members.is_empty()).then_some(duty))
    }
}

/// The proposer's own state, which shares no code with the node's store.
pub(crate) struct Proposer {
    kzg: Kzg,
    header: Header,
    store: MemoryStore,
    chain: Fr,
}

impl Proposer {
    pub(crate) fn new() -> Self {
        let (header, store) = chain::start();
        Self { kzg: Kzg::start(), header, store, chain: Fr::from(0u64) }
    }

    pub(crate) fn txs(&self, ids: std::ops::Range<u64>) -> Vec<Tx> {
        ids.map(|i| chain::tx(i, self.header.hash())).collect()
    }

    /// The next block with these transactions, without going on to it.
    fn block(&self, slot: u64, coinbase: u8, txs: &[Tx]) -> (Block, Commitment, MemoryStore) {
        let env = BlockEnv { slot, coinbase: EthAddress([coinbase; 20]), messages: vec![] };
        let (header, store) = (&self.header, self.store.clone());
        let mut builder = BlockBuilder::new(header, store, &chain::config(), env).unwrap();
        for tx in txs {
            builder.apply(tx).unwrap();
        }
        let (block, store) = builder.finish().unwrap();
        let commitment = match txs.is_empty() {
            true => Commitment::default(),
            false => {
                let blob = Blob::from_bytes(&encode(&block.txs).unwrap()).unwrap();
                Commitment(self.kzg.commit(&blob).unwrap().0)
            }
        };
        (block, commitment, store)
    }

    /// The proposal of the next block, signed by the proposer of its slot.
    pub(crate) fn proposal(&self, slot: u64, coinbase: u8, txs: Vec<Tx>) -> Proposal {
        let (block, commitment, _) = self.block(slot, coinbase, &txs);
        let chain = block.chain_link(self.chain, &block.opening(commitment)).chain();
        let header = block.header;
        resigned(Proposal { chain, commitment, signature: [0; SIGNATURE_BYTES], header, txs })
    }

    /// The event of the next block on L1, and on to it.
    fn propose(&mut self, slot: u64, txs: &[Tx]) -> ProposedBlock {
        let (block, commitment, store) = self.block(slot, 0xc0, txs);
        let link = block.chain_link(self.chain, &block.opening(commitment));
        let data = match txs.is_empty() {
            true => Data::None,
            false => Data::Blob(encode(&block.txs).unwrap()),
        };
        let proposed = ProposedBlock::with_link(block.header.block_number, &link, data);
        (self.header, self.store, self.chain) = (block.header, store, link.chain());
        proposed
    }
}

fn vote(proposal: &Proposal) -> Vote {
    let Header { block_number: number, slot, .. } = proposal.header;
    Vote { number, slot, chain: proposal.chain }
}

fn digest(vote: Vote) -> rollmill_l1::alloy::primitives::B256 {
    let chain = rollmill_l1::abi::word(&vote.chain);
    let rollup = rollmill_l1::abi::address(ROLLUP);
    attest::block_digest(chain::CHAIN_ID, rollup, vote.number, vote.slot, chain)
}

/// The proposal with a signature of its slot's proposer.
pub(crate) fn resigned(proposal: Proposal) -> Proposal {
    let signature = sign(vote(&proposal), proposal.header.slot % 4);
    Proposal { signature, ..proposal }
}

fn sign(vote: Vote, member: u64) -> [u8; SIGNATURE_BYTES] {
    use rollmill_l1::alloy::signers::SignerSync;
    key(member).sign_hash_sync(&digest(vote)).unwrap().as_bytes()
}

/// Member 3 on a node that follows nothing but what a test tells it.
pub(crate) struct Member {
    node: Arc<Node>,
    signer: Arc<BlockSigner>,
    validator: Arc<Validator<Four>>,
    pub(crate) registry: Registry,
    l1_block: u64,
    /// While it is there, proofs that start with 9 are not verified.
    gate: Option<std::sync::mpsc::Sender<()>>,
    folder: tempfile::TempDir,
}

impl Member {
    pub(crate) fn new() -> Self {
        Self::with(|_| (), (0..4).map(|i| key(i).address()).collect())
    }

    fn with(change: impl FnOnce(&mut Settings), members: Vec<Address>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = NodeSettings {
            data_dir: folder.path().join("node"),
            genesis: chain::genesis(),
            l1_start: L1Position { number: 0, hash: [0; 32] },
            pool: PoolLimits::default(),
            state_blocks: 64,
        };
        let (gate, closed) = std::sync::mpsc::channel();
        let verifier = FirstByteIsSeven(parking_lot::Mutex::new(closed));
        let node = Node::open(settings, Arc::new(verifier)).unwrap();
        let signer = Arc::new(open_signer(&folder));
        let registry = Registry::new();
        let evidence = folder.path().join(EVIDENCE);
        let mut settings = Settings { checks: 2, turn: Duration::MAX, token: None, evidence };
        change(&mut settings);
        let validator = Arc::new(Validator::new(
            Arc::clone(&node),
            Arc::clone(&signer),
            Kzg::start(),
            Four { members },
            settings,
            Metrics::new(&registry).unwrap(),
        ));
        let gate = Some(gate);
        let mut member = Self { node, signer, validator, registry, l1_block: 0, gate, folder };
        member.follow(SLOT, vec![]);
        member
    }

    /// Follows one more L1 block, in a slot.
    fn follow(&mut self, slot: u64, events: Vec<L1Event>) {
        self.l1_block += 1;
        let number = self.l1_block;
        let to = L1Position { number, hash: [u8::try_from(number).unwrap(); 32] };
        let time = chain::config().timestamp(slot).unwrap();
        let events = events.into_iter().map(|event| (number, event)).collect();
        self.node.apply(&L1Update::Extend { to, time, finalized: None, events }).unwrap();
    }

    async fn attest(&self, proposal: &Proposal) -> Result<[u8; SIGNATURE_BYTES], AttestError> {
        self.validator.attest(proposal.to_bytes()).await
    }

    /// Requires that the proposal is rejected with this code, and that nothing is signed.
    pub(crate) async fn reject(&self, proposal: &Proposal, code: &str) -> String {
        let before = self.signer.signed(proposal.header.slot).unwrap();
        let error = self.attest(proposal).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(self.signer.signed(proposal.header.slot).unwrap(), before);
        error.to_string()
    }

    /// What this member kept against proposers.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let Ok(files) = std::fs::read_dir(self.folder.path().join(EVIDENCE)) else { return vec![] };
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            Evidence::read(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap()
        };
        files.map(read).collect()
    }

    /// Requires that this member signs the proposal.
    pub(crate) async fn accept(&self, proposal: &Proposal) -> [u8; SIGNATURE_BYTES] {
        let signature = self.attest(proposal).await.unwrap();
        let by = attest::recover(&digest(vote(proposal)), &signature);
        assert_eq!(by, Some(key(3).address()));
        signature
    }
}

fn open_signer(folder: &tempfile::TempDir) -> BlockSigner {
    let path = folder.path().join("signatures.redb");
    BlockSigner::open(&path, key(3), chain::CHAIN_ID, ROLLUP, 0).unwrap()
}

/// Blocks with and without transactions, in the slot of L1's head and the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_valid_block_of_its_slots_proposer_is_attested() {
    let (mut member, mut proposer) = (Member::new(), Proposer::new());
    let full = proposer.proposal(SLOT, 0xc0, proposer.txs(0..3));
    let signature = member.accept(&full).await;
    assert_eq!(member.accept(&full).await, signature);
    // The proposer of the next slot may be an L1 block ahead.
    member.accept(&proposer.proposal(SLOT + 1, 0xc0, vec![])).await;
    let event = proposer.propose(SLOT, &full.txs);
    assert_eq!(event.chain, full.chain);
    member.follow(SLOT + 2, vec![L1Event::BlockProposed(event)]);
    let second = proposer.proposal(SLOT + 2, 0xc1, proposer.txs(3..4));
    assert_eq!(second.header.block_number, 2);
    member.accept(&second).await;
    let text = metrics(&member.registry);
    assert!(text.contains("rollmill_validator_attested_total 3"), "{text}");
    assert!(text.contains(&format!("rollmill_validator_attested_slot {}", SLOT + 2)), "{text}");
}

pub(crate) fn metrics(registry: &Registry) -> String {
    rollmill_service::prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

/// Goal: no field of the header is taken on trust, and none of the attempts keeps the honest block from being
/// signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_field_of_the_header_is_rejected() {
    let (member, proposer) = (Member::new(), Proposer::new());
    let honest = proposer.proposal(SLOT, 0xc0, proposer.txs(0..2));
    let fields = honest.header.to_fields();
    let names = HeaderLayout::<Fr>::cell_names();
    assert_eq!(fields.len(), names.len());
    for (i, name) in names.iter().enumerate() {
        let mut changed = fields.to_vec();
        changed[i] += Fr::from(1u64);
        let header = Header::from_fields(&changed).unwrap();
        let other = resigned(Proposal { header, ..honest.clone() });
        let (code, quotes) = match name.as_str() {
            "block_number" => ("VAL-013", "block 2 does not follow block 0".to_owned()),
            // The one after it is another proposer's, and this one signed.
            "slot" => ("VAL-016", "header field timestamp".to_owned()),
            "last_archive_root" => ("VAL-014", "does not follow block 0".to_owned()),
            // The proposer's choice, so that another one is another block: not the one with this link.
            "coinbase" => ("VAL-019", "follows from the block".to_owned()),
            name => ("VAL-016", format!("header field {name}:")),
        };
        let message = member.reject(&other, code).await;
        assert!(message.contains(&quotes), "{name}: {message}");
    }
    member.accept(&honest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_transactions_proofs_and_data_are_rejected() {
    let (member, proposer) = (Member::new(), Proposer::new());
    let honest = proposer.proposal(SLOT, 0xc0, proposer.txs(0..3));
    let with = |change: &dyn Fn(&mut Proposal)| {
        let mut other = honest.clone();
        change(&mut other);
        resigned(other)
    };
    let bad_proof = |p: &mut Proposal| p.txs[1].client_proof[0] = 8;
    let message = member.reject(&with(&bad_proof), "VAL-017").await;
    assert!(message.contains("transaction 1: the client proof does not verify"), "{message}");
    let both = |p: &mut Proposal| p.txs.iter_mut().for_each(|tx| tx.client_proof[0] = 8);
    let message = member.reject(&with(&both), "VAL-017").await;
    assert!(message.contains("transaction 0:"), "{message}");
    let changes: [&dyn Fn(&mut Proposal); 7] = [
        &|p| p.txs[0].body.effects.nullifiers[1] += Fr::from(1u64),
        &|p| p.txs[2].body.effects.expiry_slot = SLOT - 1,
        &|p| p.txs[2].body.effects.gas.max_fee_per_l2_gas = 0,
        &|p| p.txs[1].anchor_header_hash += Fr::from(1u64),
        &|p| p.txs[1].version += 1,
        &|p| p.txs.swap(0, 1),
        &|p| p.txs.truncate(2),
    ];
    for change in changes {
        member.reject(&with(change), "VAL-016").await;
    }
    let again = |p: &mut Proposal| p.txs.push(p.txs[0].clone());
    let message = member.reject(&with(&again), "VAL-016").await;
    assert!(message.contains("transaction 3:"), "{message}");
    member.reject(&with(&|p| p.commitment.0[47] ^= 1), "VAL-018").await;
    member.reject(&with(&|p| p.commitment = Commitment::default()), "VAL-018").await;
    member.reject(&with(&|p| p.chain += Fr::from(1u64)), "VAL-019").await;
    member.accept(&honest).await;
}

/// Goal: two links of a slot are never signed, whoever asks and whatever happened between.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_block_of_a_slot_is_rejected_after_a_crash_too() {
    let (mut member, mut proposer) = (Member::new(), Proposer::new());
    let first = proposer.proposal(SLOT, 0xc0, proposer.txs(0..1));
    let second = proposer.proposal(SLOT, 0xc1, proposer.txs(0..1));
    // The row is written and the process ends before it answers: nobody has seen the signature.
    let bytes = first.to_bytes();
    let row = member.signer.sign(vote(&first), |_| bytes.clone()).unwrap();
    for _ in 0..2 {
        member.reject(&second, "NODE-074").await;
        assert_eq!(member.accept(&first).await, row.signature);
        let Member { node, signer, validator, folder, l1_block, registry: _, gate } = member;
        drop((validator, signer));
        let signer = Arc::new(open_signer(&folder));
        let registry = Registry::new();
        let evidence = folder.path().join(EVIDENCE);
        let validator = Arc::new(Validator::new(
            Arc::clone(&node),
            Arc::clone(&signer),
            Kzg::start(),
            Four { members: (0..4).map(|i| key(i).address()).collect() },
            Settings { checks: 1, turn: Duration::MAX, token: None, evidence },
            Metrics::new(&registry).unwrap(),
        ));
        member = Member { node, signer, validator, registry, l1_block, gate, folder };
    }
    // After the restart it was known from the record, and the file is the one from before.
    assert_eq!(member.evidence().len(), 1);
    // The proposer lost the answer, and its block is on L1 meanwhile.
    let event = proposer.propose(SLOT, &first.txs);
    member.follow(SLOT, vec![L1Event::BlockProposed(event)]);
    assert_eq!(member.accept(&first).await, row.signature);
    // The slot before it is somebody else's, and unaffected; that of the next too.
    let next = proposer.proposal(SLOT + 1, 0xc0, vec![]);
    member.accept(&next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_slots_proposer_is_heard_and_only_in_its_slot() {
    let (mut member, mut proposer) = (Member::new(), Proposer::new());
    for far in [1, SLOT - 1, SLOT + 2, SLOT + 1000] {
        member.reject(&proposer.proposal(far, 0xc0, vec![]), "VAL-010").await;
    }
    let honest = proposer.proposal(SLOT, 0xc0, proposer.txs(0..1));
    for stranger in [0, 2, 3, 4] {
        let signature = sign(vote(&honest), stranger);
        member.reject(&Proposal { signature, ..honest.clone() }, "VAL-012").await;
    }
    let mut garbled = honest.clone();
    garbled.signature[3] ^= 1;
    member.reject(&garbled, "VAL-012").await;
    // Its signature of another block.
    let other = proposer.proposal(SLOT, 0xc1, proposer.txs(0..1));
    member.reject(&Proposal { signature: other.signature, ..honest.clone() }, "VAL-012").await;
    let outside = Member::with(|_| (), (0..3).map(|i| key(i).address()).collect());
    let proposal = proposer.proposal(SLOT, 0xc0, vec![]);
    assert_eq!(outside.attest(&proposal).await.unwrap_err().code(), "VAL-011");

    // A block further, which the member has not followed, and another one than the member has.
    let event = proposer.propose(SLOT, &honest.txs);
    let ahead = proposer.proposal(SLOT + 1, 0xc0, vec![]);
    member.reject(&ahead, "VAL-013").await;
    let mut elsewhere = Proposer::new();
    elsewhere.propose(SLOT, &[]);
    member.follow(SLOT, vec![L1Event::BlockProposed(event)]);
    member.reject(&elsewhere.proposal(SLOT + 1, 0xc0, vec![]), "VAL-014").await;
    member.accept(&ahead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_attested_on_top_of_a_rejected_block() {
    let (mut member, mut proposer) = (Member::new(), Proposer::new());
    let honest = proposer.proposal(SLOT + 1, 0xc0, vec![]);
    let nonsense = ProposedBlock { header_hash: Fr::from(1u64), ..proposer.propose(SLOT, &[]) };
    member.follow(SLOT, vec![L1Event::BlockProposed(nonsense)]);
    let message = member.reject(&honest, "VAL-015").await;
    assert!(message.contains("L1 has block 1"), "{message}");
}

/// Goal: a proposer that shows the client proofs to nobody but its committee makes a block that can be proven.
#[tokio::test(flavor = "multi_thread")]
async fn client_proofs_of_attested_blocks_are_kept_and_served() {
    let (mut member, mut proposer) = (Member::new(), Proposer::new());
    let proposal = proposer.proposal(SLOT, 0xc0, proposer.txs(0..2));
    member.accept(&proposal).await;
    let shutdown = Shutdown::new();
    let keeping = tokio::spawn(keep_proofs(
        Arc::clone(&member.node),
        Arc::clone(&member.signer),
        shutdown.clone(),
    ));
    let event = proposer.propose(SLOT, &proposal.txs);
    member.follow(SLOT, vec![L1Event::BlockProposed(event)]);
    let mut tips = member.node.watch_tips();
    tips.wait_for(|tips| tips.verified.block_number == 1).await.unwrap();
    for tx in &proposal.txs {
        assert_eq!(member.node.transaction(&tx.hash()).unwrap().as_deref(), Some(tx));
    }
    assert!(member.node.missing_proofs().is_empty());
    shutdown.start();
    keeping.await.unwrap();
}

/// A validator over HTTP with TLS, which takes only clients with a certificate of the same authority.
struct Served {
    member: Member,
    url: String,
    tls: Tls,
    shutdown: Shutdown,
}

impl Served {
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let member = Member::with(change, (0..4).map(|i| key(i).address()).collect());
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "authority");
        let (server, client) =
            (authority.sign("server", &["127.0.0.1"]), authority.sign("client", &["member"]));
        let protection = Protection {
            cert: Some(server.cert),
            key: Some(server.key),
            client_ca: Some(authority.file()),
            ..Protection::default()
        };
        let files =
            TlsFiles { ca: Some(authority.file()), identity: Some((client.cert, client.key)) };
        let tls = Tls::open(files).unwrap();
        let (limits, registry) = (HttpLimits::default(), Registry::new());
        let server =
            HttpServer::open("committee", "127.0.0.1:0", limits, &protection, &registry).unwrap();
        let listener = listen("127.0.0.1:0", "x").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let served = router(Arc::clone(&member.validator));
        tokio::spawn(server.serve(listener, served, shutdown.clone()));
        Self { member, url, tls, shutdown }
    }

    fn client(&self, token: Option<&str>) -> ValidatorClient {
        ValidatorClient::with_tls(&self.url, token, &self.tls).unwrap()
    }
}

fn code(error: &ClientError) -> (&str, bool) {
    (error.code(), error.is_transient())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposer_gets_signatures_and_codes_over_http() {
    let served = Served::new(|settings| settings.token = Some(Secret::generated("right"))).await;
    let (client, proposer) = (served.client(Some("right")), Proposer::new());
    let identity = client.identity().await.unwrap();
    assert_eq!(identity.account, key(3).address().to_string());
    assert_eq!(identity.rollup_version, chain::version().to_string());
    let honest = proposer.proposal(SLOT, 0xc0, proposer.txs(0..1));
    for stranger in [None, Some("wrong")] {
        let client = served.client(stranger);
        let error = client.attest(honest.to_bytes().into()).await.unwrap_err();
        assert_eq!(code(&error), ("VAL-003", false));
        assert_eq!(code(&client.identity().await.unwrap_err()), ("VAL-003", false));
    }
    let largest = vec![2; PROPOSAL_BYTES_MAX];
    let error = client.attest(largest.clone().into()).await.unwrap_err();
    assert_eq!(code(&error), ("VAL-004", false));
    let error = client.attest([&largest[..], &[0]].concat().into()).await.unwrap_err();
    assert_eq!(code(&error), ("VAL-001", false));
    let ahead = proposer.proposal(SLOT + 2, 0xc0, vec![]);
    let error = client.attest(ahead.to_bytes().into()).await.unwrap_err();
    assert_eq!(code(&error), ("VAL-010", true));
    let signature = client.attest(honest.to_bytes().into()).await.unwrap();
    assert_eq!(attest::recover(&digest(vote(&honest)), &signature), Some(key(3).address()));
    let text = metrics(&served.member.registry);
    assert!(text.contains("rollmill_validator_rejected_total{code=\"VAL-003\"} 4"), "{text}");
    let (path, plain) = (format!("{}/x", served.url), served.url.replace("https", "http"));
    let elsewhere = ValidatorClient::with_tls(&path, Some("right"), &served.tls).unwrap();
    assert_eq!(code(&elsewhere.identity().await.unwrap_err()), ("VAL-006", false));
    let error = ValidatorClient::new(&plain, Some("right")).unwrap().identity().await.unwrap_err();
    assert_eq!(code(&error), ("SVC-015", false));
    let stranger = Tls::open(TlsFiles { ca: None, identity: None }).unwrap();
    let stranger = ValidatorClient::with_tls(&served.url, Some("right"), &stranger).unwrap();
    let error = stranger.identity().await.unwrap_err();
    assert_eq!(code(&error), ("VAC-003", true));
    assert!(error.to_string().contains("set --tls-ca"), "{error}");
    served.shutdown.start();
}

/// Goal: every code of a rejection is a series from the start, so that the first rejection is an increase.
#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_rejections_are_there_from_the_start() {
    let text = metrics(&Member::new().registry);
    for code in ["VAL-001", "VAL-005", "VAL-024", "NODE-004", "NODE-070"] {
        let line = format!("rollmill_validator_rejected_total{{code=\"{code}\"}} 0");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
}

/// Goal: proposals that are being checked leave no place for more than the settings say, and further ones are told
/// so. A repeated question for a signed block needs no place.
#[tokio::test(flavor = "multi_thread")]
async fn further_proposals_are_turned_away_while_the_places_are_taken() {
    let change = |settings: &mut Settings| (settings.checks, settings.turn) = (1, Duration::ZERO);
    let mut served = Served::new(change).await;
    let (client, proposer) = (served.client(None), Proposer::new());
    let mut slow = proposer.proposal(SLOT, 0xc0, proposer.txs(0..1));
    let signed = served.member.accept(&proposer.proposal(SLOT + 1, 0xc0, vec![])).await;
    slow.txs[0].client_proof[0] = 9;
    let bytes = slow.to_bytes();
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.attest(bytes.into()).await }
    });
    let checking = "rollmill_validator_checks 1";
    while !metrics(&served.member.registry).contains(checking) {
        tokio::task::yield_now().await;
    }
    let error = client.attest(slow.to_bytes().into()).await.unwrap_err();
    assert_eq!(code(&error), ("VAL-005", true));
    let again = proposer.proposal(SLOT + 1, 0xc0, vec![]).to_bytes();
    assert_eq!(client.attest(again.into()).await.unwrap(), signed);
    drop(served.member.gate.take());
    asking.await.unwrap().unwrap();
    assert!(!metrics(&served.member.registry).contains(checking));
    served.shutdown.start();
}

/// Attack: whoever proposes in the next slot asks for blocks with a bad proof, which are dear to check, so that members
/// have no place for the block of the present slot.
#[tokio::test(flavor = "multi_thread")]
async fn the_proposer_of_the_next_slot_takes_no_place_from_that_of_the_present_one() {
    let change = |settings: &mut Settings| (settings.checks, settings.turn) = (1, Duration::ZERO);
    let mut member = Member::with(change, (0..4).map(|i| key(i).address()).collect());
    let proposer = Proposer::new();
    let mut slow = proposer.proposal(SLOT + 1, 0xc0, proposer.txs(0..1));
    slow.txs[0].client_proof[0] = 9;
    let (validator, bytes) = (Arc::clone(&member.validator), slow.to_bytes());
    let asking = tokio::spawn(async move { validator.attest(bytes).await });
    while !metrics(&member.registry).contains("rollmill_validator_checks 1") {
        tokio::task::yield_now().await;
    }
    assert_eq!(member.attest(&slow).await.unwrap_err().code(), "VAL-005");
    member.accept(&proposer.proposal(SLOT, 0xc0, proposer.txs(0..1))).await;
    drop(member.gate.take());
    asking.await.unwrap().unwrap();
}
