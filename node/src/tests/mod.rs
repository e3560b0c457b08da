//! The node against an L1 in memory.

pub(crate) use rollmill_protocol_testing as support;

mod blobs;
mod disk;
mod follow;
mod kinds;
mod messages;
mod missing;
mod payment;
mod pool;
mod rpc;
mod setup;
mod source;
mod verified;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableTable;
use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::message::{Inbox, deposit_leaf};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::{
    BlockBody, ClientInputs, Commitment, Config, Fr, Genesis, Header, ProofKind, Tx, blob,
};

use crate::store::Snapshot;
use crate::{
    ClientProofVerifier, Data, L1Event, L1Events, L1Position, L1SourceError, L1Update, Message,
    Node, NodeError, NodeSettings, PoolLimits, ProofRejected, ProposedBlock,
};

/// Accepts proofs of the built-in client whose first byte is 7, as those of the support module, and proofs of the
/// private kernel whose first byte is 8.
#[derive(Debug)]
pub(super) struct FirstByteIsSeven;

impl ClientProofVerifier for FirstByteIsSeven {
    fn verify(&self, kind: ProofKind, _: &ClientInputs, proof: &[u8]) -> Result<(), ProofRejected> {
        let wanted = match kind {
            ProofKind::BuiltIn => 7,
            ProofKind::PrivateTail => 8,
        };
        match proof.first() {
            Some(first) if *first == wanted => Ok(()),
            _ => Err(ProofRejected { reason: format!("first byte is not {wanted}") }),
        }
    }
}

/// An L1 in memory. Position `i` has number `i`; 0 is the deployment.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryL1 {
    blocks: Vec<(L1Position, Vec<L1Event>)>,
    /// Makes hashes differ between branches.
    branch: u8,
    /// How far behind the head the finalized block is; none where nothing is finalized.
    finality: Option<u64>,
}

/// L1 blocks are this far apart.
pub(super) const L1_SECONDS: u64 = 12;

impl MemoryL1 {
    pub(super) fn new() -> Self {
        let mut l1 = Self::default();
        l1.mine(vec![]);
        l1
    }

    pub(super) fn head(&self) -> L1Position {
        self.blocks.last().unwrap().0
    }

    pub(super) fn mine(&mut self, events: Vec<L1Event>) {
        let number = self.blocks.len() as u64;
        let mut hash = [self.branch; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        self.blocks.push((L1Position { number, hash }, events));
    }

    pub(super) fn mine_empty(&mut self, n: usize) {
        (0..n).for_each(|_| self.mine(vec![]));
    }

    /// The same L1, with a finalized block this far behind its head.
    pub(super) fn finalizing(self, behind: u64) -> Self {
        Self { finality: Some(behind), ..self }
    }

    /// Another branch after L1 block `number`.
    pub(super) fn fork(&self, number: u64) -> Self {
        let mut fork = self.clone();
        fork.blocks.truncate(number as usize + 1);
        fork.branch += 1;
        fork
    }

    fn step(&self, known: &[L1Position]) -> Option<L1Update> {
        let canonical = |position: &L1Position| {
            self.blocks.get(position.number as usize).is_some_and(|block| block.0 == *position)
        };
        if !canonical(&known[0]) {
            let to = *known.iter().find(|position| canonical(position)).unwrap();
            return Some(L1Update::Rewind { to });
        }
        let (to, events) = self.blocks.get(known[0].number as usize + 1)?;
        let events = events.iter().map(|event| (to.number, event.clone())).collect();
        let time = support::config().genesis_time + L1_SECONDS * to.number;
        let finalized = self.finality.map(|behind| to.number.saturating_sub(behind));
        Some(L1Update::Extend { to: *to, time, finalized, events })
    }
}

impl L1Events for MemoryL1 {
    async fn next(&mut self, known: &[L1Position]) -> Result<Option<L1Update>, L1SourceError> {
        Ok(self.step(known))
    }
}

/// A proposer with its own state, which shares no code with the node's store.
#[derive(Debug, Clone)]
pub(super) struct Proposer {
    pub(super) header: Header,
    pub(super) inbox: Inbox,
    config: Config,
    store: MemoryStore,
    chain: Fr,
}

impl Proposer {
    pub(super) fn new() -> Self {
        Self::of(&support::genesis())
    }

    /// The proposer of another deployment.
    pub(super) fn of(genesis: &Genesis) -> Self {
        let built = genesis.build(MemoryStore::new()).unwrap();
        Self {
            header: built.header,
            inbox: Inbox::new(),
            config: genesis.config,
            store: built.state.store,
            chain: Fr::from(0u64),
        }
    }

    /// A deposit on L1, as its event.
    pub(super) fn deposit(&mut self, to: Fr, amount: u64) -> L1Event {
        let (block, index) = self.inbox.send(|index| deposit_leaf(&to, amount, index));
        let leaf = deposit_leaf(&to, amount, index);
        L1Event::MessageSent(Message { block, index, leaf, deposit: Some((to, amount)) })
    }

    /// A message of another contract, as its event.
    pub(super) fn message(&mut self, leaf: Fr) -> L1Event {
        let (block, index) = self.inbox.send(|_| leaf);
        L1Event::MessageSent(Message { block, index, leaf, deposit: None })
    }

    /// The next block, with these transactions and the messages that belong to it.
    pub(super) fn propose(&mut self, txs: &[Tx]) -> ProposedBlock {
        let number = self.header.block_number + 1;
        self.inbox.consume(number).unwrap();
        let messages = self.inbox.leaves(number).to_vec();
        let env = BlockEnv { messages, ..support::env(&self.header) };
        let mut builder =
            BlockBuilder::new(&self.header, self.store.clone(), &self.config, env).unwrap();
        for tx in txs {
            builder.apply(tx).unwrap();
        }
        let (block, store) = builder.finish().unwrap();
        // No commitment is checked here: the source of blobs does it, and L1.
        let opening = block.opening(Commitment([0xcc; 48]));
        let link = block.chain_link(self.chain, &opening);
        self.store = store;
        self.chain = link.chain();
        self.header = block.header.clone();
        ProposedBlock::with_link(block.header.block_number, &link, data(&block.txs))
    }

    /// The next block with transactions `ids`, anchored in the parent, as an event.
    pub(super) fn event(&mut self, ids: &[u64]) -> L1Event {
        let anchor = self.header.hash();
        let txs: Vec<Tx> = ids.iter().map(|i| support::tx(*i, anchor)).collect();
        L1Event::BlockProposed(self.propose(&txs))
    }
}

/// A block's data as its blob.
pub(super) fn data(txs: &[BlockBody]) -> Data {
    if txs.is_empty() { Data::None } else { Data::Blob(blob::encode(txs).unwrap()) }
}

pub(crate) fn settings(dir: &Path) -> NodeSettings {
    NodeSettings {
        data_dir: dir.to_owned(),
        genesis: support::genesis(),
        l1_start: MemoryL1::new().head(),
        pool: PoolLimits::default(),
        state_blocks: 64,
    }
}

pub(super) fn open(settings: NodeSettings) -> Result<Arc<Node>, NodeError> {
    Node::open(settings, Arc::new(FirstByteIsSeven))
}

/// Applies everything `l1` has. Returns the number of updates.
pub(super) fn sync(node: &Node, l1: &MemoryL1) -> usize {
    let mut steps = 0;
    while let Some(update) = l1.step(&node.known_positions().unwrap()) {
        node.apply(&update).unwrap();
        steps += 1;
    }
    node.caught_up().unwrap();
    steps
}

/// A node and the folder it lives in.
pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    pub(crate) dir: tempfile::TempDir,
}

impl TestNode {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut NodeSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        change(&mut settings);
        Self { node: open(settings).unwrap(), dir }
    }

    /// A fresh node that followed `l1` from its start.
    pub(super) fn synced(l1: &MemoryL1) -> Self {
        let test = Self::new();
        sync(&test.node, l1);
        test
    }

    /// The same folder, opened again.
    pub(super) fn restart(self) -> Self {
        let settings = self.node.settings().clone();
        drop(self.node);
        Self { node: open(settings).unwrap(), dir: self.dir }
    }

    pub(super) fn pending(&self) -> u64 {
        self.node.tips().pending.block_number
    }

    pub(super) fn proven(&self) -> u64 {
        self.node.tips().proven.block_number
    }
}

type Dump = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// Everything in the database but the transactions of the pool.
pub(super) fn dump(node: &Node) -> Dump {
    let tables: &Snapshot = &node.view().unwrap();
    let mut dump = BTreeMap::new();
    for (name, table) in tables.chain_tables() {
        for entry in table.iter().unwrap() {
            let (key, value) = entry.unwrap();
            dump.insert((name, key.value().to_vec()), value.value().to_vec());
        }
    }
    dump
}
