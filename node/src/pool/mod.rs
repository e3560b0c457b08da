//! Transactions with their client proofs: those that wait for a block, and those of blocks that are
//! not finally proven.
//!
//! ```text
//!              ┌────────── waiting: bounded, best offer first ──────────┐
//!  admission ─►│ ready ◄── at every tip ──► parked (price, balance, …)  │── in a block ─► included
//!              └── evicted, replaced, expired, nullifier published ─► ✗ ┘ ◄─ reorganised ─┘   │
//!                                                                               proven for good ✗
//! ```
//!
//! A *ready* transaction can be part of the next block: its maximum prices cover the next block's
//! prices, its payer can pay for it after all its better ones, and its anchor and the deposit that it claims
//! are there. One that notes pay for has no payer: its notes must cover its fee. The others are *parked*, which the
//! builder does not see, until that changes or they are too old, or until L1 has finalized a chain without their anchor.
//!
//! A transaction stays after it was included, since proving its block needs its client proof, and
//! since a reorganisation may return it to the waiting ones. Their number is bounded by the length of
//! the chain that is not finally proven, and not by the limits of the waiting ones.

mod displace;
mod figures;
mod included;
mod offer;
mod rank;
mod record;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

use rollmill_protocol::field::to_hex;
use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::tree::{IndexedTree, StateRead, Tree, append, indexed};
use rollmill_protocol::{ClientInputs, Fr, ProofKind, Tx};

use crate::error::{NodeError, PoolError};
use crate::store::{Snapshot, StateAt, Store};
use displace::Displaced;
use included::Included;
use offer::{Rank, claimed, fee, nullifiers, offer};
use record::Record;

pub(crate) use figures::{Dropped, Parked, PoolCounts};
pub(crate) use offer::Candidate;
pub(crate) use rank::balance;

/// Verifies client proofs. The one in use is [`crate::ClientKeys`]; tests bring their own.
pub trait ClientProofVerifier: Debug + Send + Sync + 'static {
    /// Returns why no circuit of this kind made the proof, if none did, or why what the proof owes does not hold.
    /// Must not panic for any bytes.
    fn verify(
        &self,
        kind: ProofKind,
        inputs: &ClientInputs,
        proof: &[u8],
    ) -> Result<(), ProofRejected>;
}

/// Why a proof is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ProofRejected {
    pub reason: String,
}

/// Limits of the waiting transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Maximum waiting transactions.
    pub txs_max: usize,
    /// Maximum bytes of all waiting transactions.
    pub bytes_max: usize,
    /// Maximum waiting transactions of one payer.
    pub payer_txs_max: usize,
    /// Seconds of L1 time after which a waiting transaction is dropped.
    pub age_seconds_max: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            txs_max: 4096,
            bytes_max: 128 << 20,
            payer_txs_max: 256,
            age_seconds_max: 3 * 60 * 60,
        }
    }
}

/// Why a transaction without its anchor is dropped.
const UNANCHORED: &str =
    "L1 finalized a chain without the block that it is anchored in; make it again";
/// Number of remembered reasons for drops.
const DROPPED_MAX: usize = 4096;

/// The chain at one commit, as far as the pool needs it.
#[derive(Debug, Clone)]
pub(crate) struct ChainView {
    pub(crate) tables: Arc<Snapshot>,
    /// The last pending block.
    pub(crate) pending: u64,
    pub(crate) pending_hash: Fr,
    pub(crate) proven: u64,
    pub(crate) final_proven: u64,
    /// Newest L1 block that was followed.
    pub(crate) l1_block: u64,
    /// First slot that the next block may have.
    pub(crate) next_slot: u64,
    /// Prices of the next block.
    pub(crate) price: FeePerGas,
    /// Lowest prices of any block.
    pub(crate) least_price: FeePerGas,
}

impl ChainView {
    fn state(&self) -> StateAt {
        StateAt::new(Arc::clone(&self.tables), self.pending)
    }
}

#[derive(Debug)]
struct Waiting {
    tx: Arc<Tx>,
    /// What it publishes.
    nullifiers: Vec<Fr>,
    /// Number in the order of arrival.
    arrival: u64,
    /// L1 time of arrival.
    since: u64,
    bytes: usize,
    offer: u128,
    has_anchor: bool,
    /// Whether the deposit that it claims is there; true without a claim.
    has_deposit: bool,
    /// L1 block at which its anchor was first missed in the archive.
    missed_at: Option<u64>,
    parked: Option<Parked>,
}

impl Waiting {
    fn rank(&self, tx_hash: &Fr) -> Rank {
        (Reverse(self.offer), self.arrival, *tx_hash)
    }
}

/// The pool in memory; its entries are also in the database.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    waiting: HashMap<Fr, Waiting>,
    /// Transactions that can be part of the next block, best first.
    ready: BTreeSet<Rank>,
    /// Waiting transactions of each payer, best first.
    payers: HashMap<Fr, BTreeSet<Rank>>,
    /// Nullifiers of waiting transactions.
    nullifiers: HashMap<Fr, Fr>,
    bytes: usize,
    included: Included,
    dropped: VecDeque<(Fr, String)>,
    dropped_counts: [u64; 5],
    next_arrival: u64,
    /// Pending tip at the last check of every waiting transaction.
    seen: Option<Fr>,
    /// L1's time when the node last had followed all of L1; none until it has.
    time: Option<u64>,
}

impl Pool {
    /// Loads the pool from the database.
    pub(crate) fn load(store: &Store, limits: PoolLimits) -> Result<Self, NodeError> {
        let tables = store.read()?;
        let mut pool = Self {
            limits,
            waiting: HashMap::new(),
            ready: BTreeSet::new(),
            payers: HashMap::new(),
            nullifiers: HashMap::new(),
            bytes: 0,
            included: Included::load(&tables)?,
            dropped: VecDeque::new(),
            dropped_counts: [0; 5],
            next_arrival: pool_arrival(&tables)?,
            seen: None,
            time: None,
        };
        for (hash, bytes) in tables.waiting_entries()? {
            let record = Record::from_bytes(&hash, &bytes)?;
            pool.next_arrival = pool.next_arrival.max(record.arrival + 1);
            let entry = waiting(record, bytes.len() - Record::HEAD_BYTES);
            pool.waiting.insert(entry.tx.hash(), entry);
        }
        Ok(pool)
    }

    /// Updates the pool for the chain: which transactions wait and which of those are ready, which are
    /// included, which are dropped. `rewound` means that blocks were removed.
    pub(crate) fn refresh(
        &mut self,
        store: &Store,
        chain: &ChainView,
        rewound: bool,
    ) -> Result<(), NodeError> {
        let is_new = rewound || self.seen != Some(chain.pending_hash);
        let mut leave: Vec<(Fr, Dropped, String)> = Vec::new();
        let mut moved = Vec::new();
        let mut back = Vec::new();
        if rewound {
            back = self.included.without_block(&chain.tables)?;
            for hash in &back {
                let Some(bytes) = chain.tables.included_entry(hash)? else { continue };
                let record = Record::decode(&bytes)?;
                let entry = waiting(record, bytes.len() - Record::HEAD_BYTES);
                self.waiting.insert(*hash, entry);
            }
        }
        if is_new {
            self.check_all(chain, &mut moved, &mut leave)?;
        }
        let gone: HashSet<Fr> = leave
            .iter()
            .map(|(hash, ..)| *hash)
            .chain(moved.iter().map(|(hash, _)| *hash))
            .collect();
        self.waiting.retain(|hash, _| !gone.contains(hash));
        self.nullifiers.retain(|_, hash| !gone.contains(hash));
        if is_new {
            self.rank_all(chain)?;
        }
        self.look_for_anchors(chain, rewound);
        // What returned from blocks may exceed the limits.
        while self.waiting.len() > self.limits.txs_max || self.bytes > self.limits.bytes_max {
            let Some(hash) = self.worst(&HashSet::new(), None) else { break };
            self.take_out(&hash);
            leave.push((hash, Dropped::Evicted, evicted_reason()));
        }
        let known: HashSet<Fr> = self.waiting.keys().copied().collect();
        let finished = self.included.follow(chain, &moved, &back, rewound)?;
        if !(leave.is_empty() && moved.is_empty() && back.is_empty() && finished.is_empty()) {
            store.write(|tables| {
                for hash in back.iter().filter(|hash| known.contains(*hash)) {
                    if let Some(record) = chain.tables.included_entry(hash)? {
                        tables.put_waiting(hash, &record)?;
                    }
                }
                for hash in &back {
                    tables.remove_included(hash)?;
                }
                for (hash, record) in &moved {
                    tables.put_included(hash, &record.to_bytes())?;
                    tables.remove_waiting(hash)?;
                }
                leave.iter().try_for_each(|(hash, ..)| tables.remove_waiting(hash))?;
                finished.iter().try_for_each(|hash| tables.remove_included(hash))
            })?;
        }
        self.remember(leave);
        self.seen = Some(chain.pending_hash);
        Ok(())
    }

    /// Drops what waited too long or may be in no block from `slot` on, and what lost its anchor permanently: the block
    /// was pruned or reorganised away and L1 has finalized a chain without it, so that the transaction can never be in
    /// a block. Call it when the node has followed all of L1: the time of an old L1 block says
    /// nothing about transactions that arrived while the node was behind.
    pub(crate) fn expire(
        &mut self,
        store: &Store,
        now: u64,
        slot: u64,
        final_l1: u64,
    ) -> Result<(), NodeError> {
        self.time = Some(now);
        let max = self.limits.age_seconds_max;
        let mut old = Vec::new();
        for (hash, entry) in &mut self.waiting {
            // Arrived while the node was behind, or with an older version.
            entry.since = if entry.since == 0 { now } else { entry.since };
            if now.saturating_sub(entry.since) > max {
                old.push((*hash, Dropped::Expired, format!("it waited for more than {max} s")));
            } else if slot > entry.tx.effects().expiry_slot {
                old.push((*hash, Dropped::Expired, expired_reason(&entry.tx)));
            } else if entry.missed_at.is_some_and(|at| at < final_l1) {
                old.push((*hash, Dropped::Unanchored, UNANCHORED.to_owned()));
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        store.write(|tables| old.iter().try_for_each(|(hash, ..)| tables.remove_waiting(hash)))?;
        for (hash, ..) in &old {
            self.take_out(hash);
        }
        self.remember(old);
        Ok(())
    }

    /// L1's time at the last [`Self::expire`].
    pub(crate) fn time(&self) -> Option<u64> {
        self.time
    }

    /// Checks every waiting transaction: which were included, and which can never be.
    fn check_all(
        &mut self,
        chain: &ChainView,
        moved: &mut Vec<(Fr, Record)>,
        leave: &mut Vec<(Fr, Dropped, String)>,
    ) -> Result<(), NodeError> {
        let state = chain.state();
        let messages = chain.tables.expect_block(chain.pending)?.header.state.message_count;
        let mut order: Vec<(u64, Fr)> =
            self.waiting.iter().map(|(hash, entry)| (entry.arrival, *hash)).collect();
        order.sort_unstable();
        self.nullifiers.clear();
        for (arrival, hash) in order {
            let Some(entry) = self.waiting.get_mut(&hash) else { continue };
            if chain.tables.tx_place(&hash)?.is_some() {
                let tx = Arc::clone(&entry.tx);
                moved.push((hash, Record { arrival, since: entry.since, tx }));
                continue;
            }
            if chain.next_slot > entry.tx.effects().expiry_slot {
                leave.push((hash, Dropped::Expired, expired_reason(&entry.tx)));
                continue;
            }
            let mut reason = None;
            for nullifier in &entry.nullifiers {
                let spent = indexed::contains(&state, IndexedTree::Nullifiers, nullifier)?;
                if spent || self.nullifiers.contains_key(nullifier) {
                    let other = if spent { "a block" } else { "an earlier transaction" };
                    reason = Some(format!("{other} published nullifier {}", to_hex(nullifier)));
                }
            }
            if let Some(reason) = reason {
                leave.push((hash, Dropped::Spent, reason));
                continue;
            }
            let anchor = state.block_of_header(&entry.tx.anchor_header_hash);
            entry.has_anchor = anchor.map_err(NodeError::from)?.is_some();
            entry.has_deposit = has_deposit(&state, messages, &entry.tx)?;
            self.nullifiers.extend(entry.nullifiers.iter().map(|n| (*n, hash)));
        }
        Ok(())
    }

    /// Records since which L1 block the anchor of each transaction is missing in the archive.
    fn look_for_anchors(&mut self, chain: &ChainView, rewound: bool) {
        for entry in self.waiting.values_mut() {
            if entry.has_anchor || rewound {
                entry.missed_at = None;
            }
            if !entry.has_anchor {
                entry.missed_at.get_or_insert(chain.l1_block);
            }
        }
    }

    /// Removes a waiting transaction from every order; its payer's others do not change.
    fn take_out(&mut self, hash: &Fr) {
        let Some(entry) = self.waiting.remove(hash) else { return };
        let rank = entry.rank(hash);
        self.ready.remove(&rank);
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        let payer = entry.tx.effects().fee_payer;
        if let Some(ranks) = self.payers.get_mut(&payer) {
            ranks.remove(&rank);
            if ranks.is_empty() {
                self.payers.remove(&payer);
            }
        }
        for nullifier in &entry.nullifiers {
            if self.nullifiers.get(nullifier) == Some(hash) {
                self.nullifiers.remove(nullifier);
            }
        }
    }

    /// Checks whether a transaction would be accepted, if its proof is valid.
    pub(crate) fn check(&self, new: &Candidate, price: FeePerGas) -> Result<(), PoolError> {
        self.displaced(new, price).map(|_| ())
    }

    /// Adds a transaction whose proof was verified, unless [`Self::check`] rejects it now.
    pub(crate) fn insert(
        &mut self,
        store: &Store,
        new: Candidate,
        chain: &ChainView,
    ) -> Result<(), PoolError> {
        let Displaced { replaced, evicted } = self.displaced(&new, chain.price)?;
        let Candidate { tx, tx_hash, bytes, balance, nullifiers: _ } = new;
        let record =
            Record { arrival: self.next_arrival, since: self.time.unwrap_or(0), tx: Arc::new(tx) };
        let gone: Vec<Fr> = replaced.iter().chain(&evicted).copied().collect();
        store.write(|tables| {
            gone.iter().try_for_each(|hash| tables.remove_waiting(hash))?;
            tables.put_waiting(&tx_hash, &record.to_bytes())
        })?;
        let mut left = Vec::new();
        for hash in gone {
            self.take_out(&hash);
            left.push(if replaced.contains(&hash) {
                let reason = format!("transaction {} replaced it", to_hex(&tx_hash));
                (hash, Dropped::Replaced, reason)
            } else {
                (hash, Dropped::Evicted, evicted_reason())
            });
        }
        self.remember(left);
        self.next_arrival += 1;
        self.dropped.retain(|(hash, _)| *hash != tx_hash);
        let payer = record.tx.effects().fee_payer;
        let mut entry = waiting(record, bytes);
        entry.offer = offer(entry.tx.effects(), balance);
        (entry.has_anchor, entry.has_deposit) = (true, true);
        self.bytes += entry.bytes;
        self.nullifiers.extend(entry.nullifiers.iter().map(|n| (*n, tx_hash)));
        self.payers.entry(payer).or_default().insert(entry.rank(&tx_hash));
        self.waiting.insert(tx_hash, entry);
        self.sort_payer(&payer, balance, chain.price);
        Ok(())
    }

    /// Stores a transaction of a block on the chain, whose proof was verified.
    pub(crate) fn keep_included(
        &mut self,
        store: &Store,
        tx_hash: Fr,
        tx: Tx,
        block: u64,
    ) -> Result<(), NodeError> {
        let record =
            Record { arrival: self.next_arrival, since: self.time.unwrap_or(0), tx: Arc::new(tx) };
        store.write(|tables| tables.put_included(&tx_hash, &record.to_bytes()))?;
        self.next_arrival += 1;
        self.included.add(tx_hash, block, record.tx.anchor_header_hash);
        Ok(())
    }

    fn remember(&mut self, left: Vec<(Fr, Dropped, String)>) {
        for (hash, how, reason) in left {
            tracing::info!(tx = %to_hex(&hash), outcome = how.label(), %reason, "transaction dropped");
            self.dropped_counts[how as usize] += 1;
            self.dropped.push_back((hash, reason));
        }
        let surplus = self.dropped.len().saturating_sub(DROPPED_MAX);
        self.dropped.drain(..surplus);
    }

    /// True when the pool has this transaction, waiting or included.
    pub(crate) fn contains(&self, tx_hash: &Fr) -> bool {
        self.waiting.contains_key(tx_hash) || self.included.contains(tx_hash)
    }

    /// Transactions that can be part of the next block, best first, all of them.
    pub(crate) fn ready(&self) -> Vec<Arc<Tx>> {
        let entries = self.ready.iter().filter_map(|rank| self.waiting.get(&rank.2));
        entries.map(|entry| Arc::clone(&entry.tx)).collect()
    }

    /// Number of transactions that can be part of the next block.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// True when transactions wait that could be in a block at prices above or at the least.
    pub(crate) fn is_priced_out(&self, least: FeePerGas) -> bool {
        // An offer is at most what its payer has.
        let waits = |entry: &Waiting| {
            matches!(entry.parked, Some(Parked::Price | Parked::Balance))
                && fee(&entry.tx.effects().gas, least).is_some_and(|least| entry.offer >= least)
        };
        self.waiting.values().any(waits)
    }

    /// A transaction that waits.
    pub(crate) fn waiting(&self, tx_hash: &Fr) -> Option<Arc<Tx>> {
        self.waiting.get(tx_hash).map(|entry| Arc::clone(&entry.tx))
    }

    /// Why a waiting transaction cannot be part of the next block; `None` when it does not wait.
    pub(crate) fn waiting_state(&self, tx_hash: &Fr) -> Option<Option<&'static str>> {
        self.waiting.get(tx_hash).map(|entry| entry.parked.map(Parked::reason))
    }

    /// Why a transaction left without a block.
    pub(crate) fn dropped(&self, tx_hash: &Fr) -> Option<String> {
        let found = self.dropped.iter().rev().find(|(hash, _)| hash == tx_hash);
        found.map(|(_, reason)| reason.clone())
    }

    /// True when a waiting transaction publishes this nullifier.
    pub(crate) fn publishes(&self, nullifier: &Fr) -> bool {
        self.nullifiers.contains_key(nullifier)
    }

    /// The last block up to which every transaction is proven or its client proof is stored.
    pub(crate) fn verified(&self, chain: &ChainView) -> u64 {
        self.included.verified(chain)
    }

    /// Transactions of unproven blocks whose client proofs are missing, by block.
    pub(crate) fn missing(&self) -> BTreeMap<u64, Vec<Fr>> {
        self.included.missing().clone()
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        let mut parked = [0; Parked::ALL.len()];
        for entry in self.waiting.values() {
            let slot = entry.parked.and_then(|p| Parked::ALL.iter().position(|other| *other == p));
            if let Some(slot) = slot {
                parked[slot] += 1;
            }
        }
        PoolCounts {
            ready: self.ready.len(),
            bytes: self.bytes,
            parked,
            included: self.included.count(),
            dropped: self.dropped_counts,
        }
    }
}

/// The transaction of an included one's record.
pub(crate) fn included_tx(bytes: &[u8]) -> Result<Arc<Tx>, NodeError> {
    Record::decode(bytes).map(|record| record.tx)
}

fn evicted_reason() -> String {
    "the pool is full and the others offer more".to_owned()
}

fn expired_reason(tx: &Tx) -> String {
    format!("slot {}, the last of a block that may have it, has passed", tx.effects().expiry_slot)
}

fn waiting(record: Record, bytes: usize) -> Waiting {
    let Record { arrival, since, tx } = record;
    Waiting {
        nullifiers: nullifiers(tx.effects()),
        tx,
        arrival,
        since,
        bytes,
        offer: 0,
        // Ranked before the first query.
        has_anchor: false,
        has_deposit: false,
        missed_at: None,
        parked: Some(Parked::Anchor),
    }
}

/// Whether the deposit that a transaction claims is among the first `count` leaves of the message tree.
fn has_deposit(state: &StateAt, count: u64, tx: &Tx) -> Result<bool, NodeError> {
    let Some(leaf) = claimed(tx.effects()) else { return Ok(true) };
    let index = tx.effects().claim_index;
    Ok(index < count && append::node(state, Tree::Messages, 0, index)? == leaf)
}

/// One above every arrival of an included transaction.
fn pool_arrival(tables: &Snapshot) -> Result<u64, NodeError> {
    let mut next = 0;
    for (_, bytes) in tables.included_entries()? {
        next = next.max(crate::store::u64_at(&bytes, 0)?.saturating_add(1));
    }
    Ok(next)
}
