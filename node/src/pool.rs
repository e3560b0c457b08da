//! Transactions with their client proofs: those that wait for a block, and those of blocks that are
//! not proven for good.
//!
//! A transaction stays after it was included, since whoever proves its block needs its client
//! proof, and since a reorganisation may put it back into the queue. It leaves when its block is
//! proven and L1 will not take that back, when another transaction published one of its nullifiers,
//! or when it grew too old.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

use rollmill_protocol::field::to_hex;
use rollmill_protocol::gas::{self, FeePerGas};
use rollmill_protocol::tree::{IndexedTree, indexed};
use rollmill_protocol::{ClientInputs, Fr, Tx};

use crate::error::{NodeError, PoolError, damaged};
use crate::store::{Snapshot, StateAt, Store, Tips, key, u64_at, word};

/// Verifies client proofs. The one in use is the client circuit's; tests bring their own.
pub trait ClientProofVerifier: Debug + Send + Sync + 'static {
    /// Says yes or why not. Must not panic, whatever the bytes.
    fn verify(&self, inputs: &ClientInputs, proof: &[u8]) -> Result<(), ProofRefused>;
}

/// Why a proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ProofRefused {
    pub reason: String,
}

/// Bounds of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Most transactions, included ones counted.
    pub txs_max: usize,
    /// Blocks after which a waiting transaction is dropped.
    pub age_blocks_max: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { txs_max: 4096, age_blocks_max: 256 }
    }
}

/// Reasons for drops that are remembered.
const DROPPED_MAX: usize = 1024;

#[derive(Debug)]
struct Entry {
    tx: Arc<Tx>,
    /// Number in the order of arrival.
    arrival: u64,
    /// Pending tip at arrival.
    block: u64,
    /// Block and index, when included.
    place: Option<(u64, u32)>,
}

/// The pool in memory; its entries are also in the database.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    entries: HashMap<Fr, Entry>,
    /// Waiting transactions by arrival.
    waiting: BTreeMap<u64, Fr>,
    /// Nullifiers of waiting transactions.
    nullifiers: HashMap<Fr, Fr>,
    dropped: VecDeque<(Fr, String)>,
    next_arrival: u64,
}

impl Pool {
    /// Loads the pool from the database.
    pub(crate) fn load(tables: &Snapshot, limits: PoolLimits) -> Result<Self, NodeError> {
        let mut pool = Self {
            limits,
            entries: HashMap::new(),
            waiting: BTreeMap::new(),
            nullifiers: HashMap::new(),
            dropped: VecDeque::new(),
            next_arrival: 0,
        };
        for (hash, record) in tables.pool_entries()? {
            let (arrival, block) = (u64_at(&record, 0)?, u64_at(&record, 8)?);
            let tx = Tx::from_bytes(&record[16..]).map_err(damaged)?;
            let tx_hash = tx.hash();
            if word(&tx_hash).as_slice() != hash {
                return Err(NodeError::corrupt("a transaction of the pool has another hash"));
            }
            pool.next_arrival = pool.next_arrival.max(arrival + 1);
            let entry = Entry { tx: Arc::new(tx), arrival, block, place: None };
            pool.entries.insert(tx_hash, entry);
        }
        Ok(pool)
    }

    /// Brings the pool in line with the chain: which transactions wait, which are included, which
    /// must go.
    pub(crate) fn refresh(
        &mut self,
        store: &Store,
        tables: &Arc<Snapshot>,
        tips: Tips,
        final_proven: u64,
    ) -> Result<(), NodeError> {
        let state = StateAt::new(Arc::clone(tables), tips.pending);
        let mut leave = Vec::new();
        let mut order: Vec<(u64, Fr)> =
            self.entries.iter().map(|(hash, entry)| (entry.arrival, *hash)).collect();
        order.sort_unstable_by_key(|(arrival, _)| *arrival);
        self.waiting.clear();
        self.nullifiers.clear();
        for (arrival, hash) in order {
            let Some(entry) = self.entries.get_mut(&hash) else { continue };
            entry.place = tables.tx_place(&hash)?;
            if let Some((block, _)) = entry.place {
                if block <= final_proven {
                    leave.push((hash, None));
                }
                continue;
            }
            let age = tips.pending.saturating_sub(entry.block);
            let effects = &entry.tx.effects;
            let mut reason = (age > self.limits.age_blocks_max)
                .then(|| format!("it waited for more than {} blocks", self.limits.age_blocks_max));
            for nullifier in effects.present_nullifiers() {
                let spent = indexed::contains(&state, IndexedTree::Nullifiers, nullifier)?;
                if spent || self.nullifiers.contains_key(nullifier) {
                    let other = if spent { "a block" } else { "an earlier transaction" };
                    reason = Some(format!("{other} published nullifier {}", to_hex(nullifier)));
                }
            }
            if reason.is_some() {
                leave.push((hash, reason));
                continue;
            }
            self.nullifiers.extend(effects.present_nullifiers().map(|n| (*n, hash)));
            self.waiting.insert(arrival, hash);
        }
        self.remove(store, leave)
    }

    fn remove(&mut self, store: &Store, leave: Vec<(Fr, Option<String>)>) -> Result<(), NodeError> {
        if leave.is_empty() {
            return Ok(());
        }
        store.write(|tables| leave.iter().try_for_each(|(hash, _)| tables.remove_pool(hash)))?;
        for (hash, reason) in leave {
            self.entries.remove(&hash);
            if let Some(reason) = reason {
                tracing::info!(tx = %to_hex(&hash), %reason, "transaction dropped");
                self.dropped.push_back((hash, reason));
            }
        }
        while self.dropped.len() > DROPPED_MAX {
            self.dropped.pop_front();
        }
        Ok(())
    }

    /// True when the pool has this transaction, waiting or included.
    pub(crate) fn contains(&self, tx_hash: &Fr) -> bool {
        self.entries.contains_key(tx_hash)
    }

    /// Checks against the other transactions: room, nullifiers, and the payer's balance for all of
    /// its transactions that wait.
    pub(crate) fn check(&self, tx: &Tx, balance: u64, price: FeePerGas) -> Result<(), PoolError> {
        if self.entries.len() >= self.limits.txs_max {
            return Err(PoolError::Full { max: self.limits.txs_max });
        }
        for nullifier in tx.effects.present_nullifiers() {
            if let Some(other) = self.nullifiers.get(nullifier) {
                return Err(PoolError::Conflict { nullifier: *nullifier, other: *other });
            }
        }
        let payer = &tx.effects.fee_payer;
        let waiting = self.waiting.values().filter_map(|hash| self.entries.get(hash));
        let others = waiting.filter(|entry| entry.tx.effects.fee_payer == *payer).count();
        // No fee at all: no balance can be overdrawn.
        let fee = u128::from(gas::fee(price).unwrap_or(u64::MAX));
        let needed = fee * (others as u128 + 1);
        if needed > u128::from(balance) {
            return Err(PoolError::PayerOvercommitted { balance, needed });
        }
        Ok(())
    }

    /// Takes a transaction that was checked and verified.
    pub(crate) fn insert(
        &mut self,
        store: &Store,
        tx_hash: Fr,
        tx: Tx,
        block: u64,
    ) -> Result<(), NodeError> {
        let arrival = self.next_arrival;
        let record = key(&[&arrival.to_be_bytes(), &block.to_be_bytes(), &tx.to_bytes()]);
        store.write(|tables| tables.put_pool(&tx_hash, &record))?;
        self.next_arrival += 1;
        self.nullifiers.extend(tx.effects.present_nullifiers().map(|n| (*n, tx_hash)));
        self.waiting.insert(arrival, tx_hash);
        self.dropped.retain(|(hash, _)| *hash != tx_hash);
        let entry = Entry { tx: Arc::new(tx), arrival, block, place: None };
        self.entries.insert(tx_hash, entry);
        Ok(())
    }

    /// Waiting transactions in the order of arrival.
    pub(crate) fn waiting(&self, limit: usize) -> Vec<Arc<Tx>> {
        let waiting = self.waiting.values().filter_map(|hash| self.entries.get(hash));
        waiting.take(limit).map(|entry| Arc::clone(&entry.tx)).collect()
    }

    /// Number of transactions that wait.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// A transaction that waits or is kept for its client proof.
    pub(crate) fn get(&self, tx_hash: &Fr) -> Option<Arc<Tx>> {
        self.entries.get(tx_hash).map(|entry| Arc::clone(&entry.tx))
    }

    /// True when the transaction waits for a block.
    pub(crate) fn is_waiting(&self, tx_hash: &Fr) -> bool {
        self.entries.get(tx_hash).is_some_and(|entry| entry.place.is_none())
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
}
