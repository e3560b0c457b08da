//! The node against an L1 in memory.

pub(crate) use rollmill_protocol_testing as support;

mod blobs;
mod follow;
mod pool;
mod rpc;
mod verified;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableTable;
use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::version::VersionIds;
use rollmill_protocol::{ClientInputs, Fr, Header, Tx};

use crate::store::Snapshot;
use crate::{
    ClientProofVerifier, L1Event, L1Events, L1Position, L1SourceError, L1Update, Node, NodeError,
    NodeSettings, PoolLimits, ProofRejected, ProposedBlock, SlotClock,
};

/// Accepts proofs whose first byte is 7, as those of the support module.
#[derive(Debug)]
pub(super) struct FirstByteIsSeven;

impl ClientProofVerifier for FirstByteIsSeven {
    fn verify(&self, _: &ClientInputs, proof: &[u8]) -> Result<(), ProofRejected> {
        match proof.first() {
            Some(7) => Ok(()),
            _ => Err(ProofRejected { reason: "first byte is not 7".to_owned() }),
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
        let time = support::genesis().timestamp + L1_SECONDS * to.number;
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
    pub(super) price: FeePerGas,
    store: MemoryStore,
    chain: Fr,
}

impl Proposer {
    pub(super) fn new() -> Self {
        let (header, store) = support::start();
        Self { header, price: support::PRICE, store, chain: Fr::from(0u64) }
    }

    /// The next block, with these transactions.
    pub(super) fn propose(&mut self, txs: &[Tx]) -> ProposedBlock {
        let env = BlockEnv { price: self.price, ..support::env(&self.header) };
        let mut builder = BlockBuilder::new(&self.header, self.store.clone(), env).unwrap();
        for tx in txs {
            builder.apply(tx).unwrap();
        }
        let (block, store) = builder.finish().unwrap();
        let link = block.chain_link(self.chain);
        self.store = store;
        self.chain = link.chain();
        self.header = block.header.clone();
        ProposedBlock {
            block_number: block.header.block_number,
            archive_root: link.archive_root,
            header_hash: link.header_hash,
            data_hash: link.data_hash,
            chain: link.chain(),
            slot: link.slot,
            coinbase: link.coinbase,
            total_fees: link.total_fees,
            data: Ok(block.data().to_bytes()),
        }
    }

    /// The next block with transactions `ids`, anchored in the parent, as an event.
    pub(super) fn event(&mut self, ids: &[u64]) -> L1Event {
        let anchor = self.header.hash();
        let txs: Vec<Tx> = ids.iter().map(|i| support::tx(*i, anchor)).collect();
        L1Event::BlockProposed(self.propose(&txs))
    }
}

pub(crate) fn settings(dir: &Path) -> NodeSettings {
    NodeSettings {
        data_dir: dir.to_owned(),
        genesis: support::genesis(),
        versions: VersionIds {
            chain_id: support::CHAIN_ID,
            rollup_version: support::VERSION,
            protocol_version: 1,
            vk_root: support::value(9, 0),
        },
        slots_per_epoch: 8,
        clock: SlotClock { genesis_time: support::genesis().timestamp, slot_seconds: 12 },
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
