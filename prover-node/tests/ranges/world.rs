//! An L1 that reorganises, finalizes and closes windows, a broker's lease and its proofs, all in
//! memory and without a clock: what the controllers of a test run against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rollmill_broker_client::EpochOutcome;
use rollmill_protocol::Fr;
use rollmill_prover_node::ranges::controller::Ports;
use rollmill_prover_node::ranges::{
    Chain, Effect, Finalized, Inclusion, Own, Proof, RangeBlock, Root, Row, Schedule, Sent, State,
    SubmitFailure,
};
use rollmill_service::Failure;

/// L1 blocks that make an epoch of the rollup.
pub(crate) const EPOCH_L1_BLOCKS: u64 = 6;
/// Ticks that a lease lasts, and that its holder trusts it.
const LEASE_TICKS: u64 = 6;
const LEASE_TRUSTED_TICKS: u64 = 3;

/// A proof on its way to L1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tx {
    pub(crate) node: usize,
    pub(crate) purpose: String,
    pub(crate) attempt: u32,
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    pub(crate) last: RangeBlock,
}

#[derive(Debug, Clone)]
pub(crate) struct L1Block {
    /// The rollup's blocks as of this L1 block; number n at index n - 1.
    pub(crate) pending: Vec<(u64, RangeBlock)>,
    pub(crate) proven: u64,
    pub(crate) txs: Vec<(Tx, bool)>,
}

/// What all nodes share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) l1: Vec<L1Block>,
    /// Index of the newest final L1 block; none on a chain that finalizes nothing.
    pub(crate) finalized: Option<u64>,
    pub(crate) window: u64,
    mempool: Vec<Tx>,
    hashes: u64,
    pub(crate) ticks: u64,
    holder: Option<(usize, u64, u64)>,
    fence: u64,
    /// Header hashes whose ranges' roots the broker holds, by first block.
    roots: BTreeSet<(u64, [u8; 32])>,
    pub(crate) doomed: u64,
    pub(crate) sent: u64,
}

fn bytes(hash: &Fr) -> [u8; 32] {
    rollmill_protocol::field::to_bytes(hash)
}

impl World {
    pub(crate) fn new(window: u64, finalizes: bool) -> Self {
        let genesis = L1Block { pending: Vec::new(), proven: 0, txs: Vec::new() };
        Self {
            l1: vec![genesis],
            finalized: finalizes.then_some(0),
            window,
            mempool: Vec::new(),
            hashes: 0,
            ticks: 0,
            holder: None,
            fence: 0,
            roots: BTreeSet::new(),
            doomed: 0,
            sent: 0,
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.l1.len() as u64 - 1
    }

    pub(crate) fn tip(&self) -> &L1Block {
        self.l1.last().expect("genesis")
    }

    /// Two thirds of the window are for proofs in time; L1 makes a block a second.
    pub(crate) fn schedule(&self) -> Schedule {
        let proof_window_seconds = self.window / 3 * 2;
        Schedule {
            genesis_time: 0,
            epoch_seconds: EPOCH_L1_BLOCKS,
            proof_window_seconds,
            challenge_seconds: self.window - proof_window_seconds,
        }
    }

    /// Whether a proof would be accepted in L1 block `number` over the state `at`.
    fn judge(&self, at: &L1Block, number: u64, tx: &Tx) -> Result<(), SubmitFailure> {
        let reason = String::new;
        let end = at.pending.iter().find(|(_, block)| block.number == tx.last.number);
        let first = at.pending.iter().find(|(epoch, _)| *epoch == tx.epoch);
        let starts = first.is_some_and(|(_, block)| block.number == tx.first);
        let follows = tx.first <= at.proven + 1 && tx.last.number > at.proven;
        if !starts || !follows || end.is_none() {
            return Err(SubmitFailure::Order { reason: reason() });
        }
        if number > self.schedule().accepted_until(tx.epoch) {
            return Err(SubmitFailure::Late { reason: reason() });
        }
        if !end.is_some_and(|(_, block)| block.is_same(&tx.last)) {
            return Err(SubmitFailure::Rejected { reason: "other public inputs".to_owned() });
        }
        Ok(())
    }

    /// One more L1 block, with a proposal if asked for, and the proofs that the network holds.
    pub(crate) fn mine(&mut self, propose: bool, takes_proofs: bool) {
        let number = self.head() + 1;
        let mut next = L1Block { txs: Vec::new(), ..self.tip().clone() };
        if takes_proofs {
            for tx in std::mem::take(&mut self.mempool) {
                let good = self.judge(&next, number, &tx).is_ok();
                if good {
                    next.proven = tx.last.number;
                } else {
                    self.doomed += 1;
                }
                next.txs.push((tx, good));
            }
        }
        if propose {
            let due = next.pending.get(next.proven as usize).map(|(epoch, _)| *epoch);
            if due.is_some_and(|epoch| number > self.schedule().accepted_until(epoch)) {
                next.pending.truncate(next.proven as usize);
            }
            self.hashes += 1;
            let block = RangeBlock {
                number: next.pending.len() as u64 + 1,
                header_hash: Fr::from(self.hashes),
                l1_block: number,
            };
            next.pending.push((number / EPOCH_L1_BLOCKS, block));
        }
        self.l1.push(next);
        self.ticks += 1;
    }

    /// Takes `depth` blocks back, not below the final one. Their proofs return to the pool, or not.
    pub(crate) fn reorg(&mut self, depth: u64, keep_txs: bool) -> u64 {
        let floor = self.finalized.unwrap_or(0);
        let depth = depth.min(self.head() - floor);
        for _ in 0..depth {
            let block = self.l1.pop().expect("above the floor");
            if keep_txs {
                self.mempool.extend(block.txs.into_iter().map(|(tx, _)| tx));
            }
        }
        depth
    }

    /// The next reorganisation may go `depth` blocks below the final block.
    pub(crate) fn forget_finality(&mut self, depth: u64) {
        self.finalized = self.finalized.map(|at| at.saturating_sub(depth));
    }

    pub(crate) fn finalize(&mut self, behind: u64) {
        if let Some(at) = self.finalized {
            self.finalized = Some(at.max(self.head().saturating_sub(behind)));
        }
    }

    fn included(&self, purpose: &str, node: usize) -> impl Iterator<Item = (u64, &Tx, bool)> {
        let blocks = self.l1.iter().enumerate();
        blocks
            .flat_map(move |(number, block)| {
                let txs = block.txs.iter().filter(move |(tx, _)| tx.node == node);
                txs.map(move |(tx, good)| (number as u64, tx, *good))
            })
            .filter(move |(_, tx, _)| tx.purpose == purpose)
    }

    /// The final block that accepted a proof of exactly this range by this node, if any.
    pub(crate) fn final_success(&self, node: usize, row: &Row) -> Option<u64> {
        let purpose = row.purpose();
        let found = self.included(&purpose, node).find(|(_, _, good)| *good).map(|(n, ..)| n);
        found.filter(|number| self.finalized.is_some_and(|at| at >= *number))
    }

    pub(crate) fn successes(&self) -> BTreeMap<(u64, [u8; 32]), u32> {
        let mut counts = BTreeMap::new();
        for block in &self.l1 {
            for (tx, good) in &block.txs {
                if *good {
                    *counts.entry((tx.first, bytes(&tx.last.header_hash))).or_default() += 1;
                }
            }
        }
        counts
    }
}

/// What a node keeps on disk beside its rows, and what it loses when it dies.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) world: Arc<Mutex<World>>,
    rng: ChaCha8Rng,
    /// The sender's file.
    intents: BTreeMap<(String, u32), Tx>,
    roots: BTreeSet<String>,
    // Lost with the process:
    lease: Option<(u64, u64)>,
    failures: BTreeMap<u64, SubmitFailure>,
    proving: BTreeMap<u64, Vec<RangeBlock>>,
    gathered: BTreeSet<u64>,
    cleaned: BTreeSet<u64>,
    /// Epochs that the broker was told to close.
    pub(crate) closed: BTreeSet<u64>,
    captured: BTreeSet<u64>,
    /// Transactions of a process that was frozen before it sent them.
    frozen: Vec<Tx>,
    /// One in so many points of a turn kills the process; 0 for never.
    pub(crate) crash_one_in: u32,
    pub(crate) crash_at: Option<&'static str>,
    pub(crate) faults: bool,
}

impl Node {
    pub(crate) fn new(index: usize, world: Arc<Mutex<World>>, rng: ChaCha8Rng) -> Self {
        Self {
            index,
            world,
            rng,
            intents: BTreeMap::new(),
            roots: BTreeSet::new(),
            lease: None,
            failures: BTreeMap::new(),
            proving: BTreeMap::new(),
            gathered: BTreeSet::new(),
            cleaned: BTreeSet::new(),
            closed: BTreeSet::new(),
            captured: BTreeSet::new(),
            frozen: Vec::new(),
            crash_one_in: 0,
            crash_at: None,
            faults: false,
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// The process is gone; its disk is not.
    pub(crate) fn restart(&mut self) {
        self.lease = None;
        self.failures.clear();
        self.proving.clear();
        self.gathered.clear();
        self.cleaned.clear();
        self.captured.clear();
    }

    pub(crate) fn renew(&mut self) {
        let (index, mine) = (self.index, self.lease);
        let mut world = self.world();
        let now = world.ticks;
        let free = world.holder.is_none_or(|(_, _, until)| until < now);
        let held = world.holder.filter(|(node, fence, _)| {
            *node == index && mine.is_some_and(|(held, _)| held == *fence)
        });
        let lease = if let Some((_, fence, _)) = held {
            world.holder = Some((index, fence, now + LEASE_TICKS));
            Some((fence, now))
        } else if free {
            world.fence += 1;
            world.holder = Some((index, world.fence, now + LEASE_TICKS));
            Some((world.fence, now))
        } else {
            None
        };
        drop(world);
        self.lease = lease;
    }

    /// The sender polls L1: transactions in no block are in the pool again.
    pub(crate) fn tick(&mut self) {
        let mut world = self.world.lock();
        // What is final is settled: a sender does not keep it.
        let is_final = |tx: &Tx| {
            let at = world.included(&tx.purpose, self.index).find(|(_, there, _)| *there == tx);
            at.is_some_and(|(at, ..)| world.finalized.is_some_and(|end| end >= at))
        };
        self.intents.retain(|_, tx| !is_final(tx));
        for tx in self.intents.values() {
            let known = world.included(&tx.purpose, self.index).any(|(_, there, _)| there == tx);
            if !known && !world.mempool.contains(tx) {
                world.mempool.push(tx.clone());
            }
        }
        for tx in std::mem::take(&mut self.frozen) {
            if !world.mempool.contains(&tx) {
                world.mempool.push(tx);
            }
        }
    }

    /// Agents finish the ranges that this node has enqueued.
    pub(crate) fn work(&mut self) {
        let mut world = self.world.lock();
        for blocks in self.proving.values() {
            if let (Some(first), Some(last)) = (blocks.first(), blocks.last()) {
                world.roots.insert((first.number, bytes(&last.header_hash)));
            }
        }
    }

    pub(crate) fn damage_roots(&mut self) {
        self.roots.clear();
    }
}

fn digest(row: &Row) -> String {
    row.purpose()
}

impl Ports for Node {
    async fn chain(&mut self, rows: &[Row]) -> Result<Chain, Failure> {
        if self.faults && self.rng.gen_range(0..20) == 0 {
            return Err("L1 does not answer".into());
        }
        let lease = self.lease;
        let world = self.world();
        let tip = world.tip();
        let mut needed: BTreeSet<u64> = rows.iter().map(|row| row.epoch).collect();
        needed.extend(tip.pending.iter().skip(tip.proven as usize).map(|(epoch, _)| *epoch));
        let ends = rows.iter().flat_map(|row| [row.first(), row.last()]);
        let at = ends.filter_map(|number| tip.pending.get(number as usize - 1));
        needed.extend(at.map(|(epoch, _)| *epoch));
        let mut epochs: BTreeMap<u64, Vec<RangeBlock>> = BTreeMap::new();
        for (epoch, block) in &tip.pending {
            if needed.contains(epoch) {
                epochs.entry(*epoch).or_default().push(*block);
            }
        }
        let finalized = world.finalized.map(|at| {
            let block = &world.l1[at as usize];
            let (pending, proven) = (block.pending.len() as u64, block.proven);
            Finalized { l1_block: at, l1_time: at, pending, proven }
        });
        let trusted = |(_, at): &(u64, u64)| world.ticks - at <= LEASE_TRUSTED_TICKS;
        Ok(Chain {
            l1_head: world.head(),
            l1_time: world.head(),
            finalized,
            pending: tip.pending.len() as u64,
            proven: tip.proven,
            schedule: world.schedule(),
            epochs,
            lease: lease.filter(trusted).map(|(fence, _)| fence),
        })
    }

    async fn own(&mut self, row: &Row) -> Own {
        let (purpose, last) = (row.purpose(), *row.blocks.last().expect("a block"));
        let mut own = Own { gathered: self.gathered.contains(&row.id), ..Own::default() };
        let known = self.proving.get(&row.id).is_some_and(|blocks| *blocks == row.blocks);
        let done = self.world().roots.contains(&(row.first(), bytes(&last.header_hash)));
        if row.state == State::Proving && row.frozen && known && done {
            self.roots.insert(digest(row));
            own.proof = Proof::Ready(Root { digest: digest(row), last });
        }
        own.root_readable = row.root.as_ref().is_some_and(|r| self.roots.contains(&r.digest));
        own.failure = self.failures.get(&row.id).cloned();
        own.captured = self.captured.contains(&row.id);
        own.cleaned = self.cleaned.contains(&row.id);
        let world = self.world();
        let mut included: Vec<_> = world.included(&purpose, self.index).collect();
        included.sort_by_key(|(_, _, good)| *good);
        own.sent = match included.last() {
            Some((number, tx, true)) => Some(Sent::Included(Inclusion {
                attempt: tx.attempt,
                tx_hash: String::new(),
                l1_block: *number,
                gas_used: 0,
                fee_wei: 0,
            })),
            _ if included.iter().any(|(_, tx, _)| tx.attempt == row.attempt) => {
                Some(Sent::Reverted { tx_hash: String::new() })
            }
            _ => self.intents.contains_key(&(purpose, row.attempt)).then_some(Sent::Pending),
        };
        own
    }

    async fn close(&mut self, epoch: u64, _: EpochOutcome) {
        self.closed.insert(epoch);
    }

    async fn perform(&mut self, row: &Row, effect: &Effect) {
        match effect {
            Effect::Gather => {
                if !self.faults || self.rng.gen_range(0..3) > 0 {
                    self.gathered.insert(row.id);
                }
            }
            Effect::Prove => {
                self.proving.insert(row.id, row.blocks.clone());
            }
            Effect::Stop => {
                self.proving.remove(&row.id);
            }
            Effect::Cancel => {
                self.cleaned.insert(row.id);
            }
            Effect::Submit => {
                let State::Submitting { intent } = &row.state else {
                    panic!("a proof is sent without an intent on disk: {row:?}")
                };
                assert!(intent.fence > 0, "a proof is sent without a lease");
                let tx = Tx {
                    node: self.index,
                    purpose: row.purpose(),
                    attempt: row.attempt,
                    epoch: row.epoch,
                    first: row.first(),
                    last: *row.blocks.last().expect("a block"),
                };
                let fault = if self.faults { self.rng.gen_range(0..10) } else { 9 };
                let judged = {
                    let world = self.world();
                    world.judge(world.tip(), world.head() + 1, &tx)
                };
                match (fault, judged) {
                    (0, _) => {
                        let reason = "L1 does not answer".to_owned();
                        self.failures.insert(row.id, SubmitFailure::Transient { reason });
                    }
                    (_, Err(failure)) => {
                        self.failures.insert(row.id, failure);
                    }
                    (1, Ok(())) => self.send(tx, false),
                    (_, Ok(())) => self.send(tx, true),
                }
            }
            Effect::Capture { .. } => {
                self.captured.insert(row.id);
            }
        }
    }

    fn written(&mut self, row: &Row, own: &Own) {
        if own.failure.is_some() {
            self.failures.remove(&row.id);
        }
        if own.captured {
            self.captured.remove(&row.id);
        }
        if own.cleaned {
            self.cleaned.remove(&row.id);
        }
    }

    fn pass(&mut self, point: &'static str) -> Result<(), Failure> {
        let at = self.crash_at.is_some_and(|at| at == point);
        if at || self.crash_one_in > 0 && self.rng.gen_range(0..self.crash_one_in) == 0 {
            self.crash_at = None;
            return Err(format!("killed at {point}").into());
        }
        Ok(())
    }
}

impl Node {
    /// The sender: written first, then broadcast, immediately or after a freeze.
    fn send(&mut self, tx: Tx, now: bool) {
        let key = (tx.purpose.clone(), tx.attempt);
        if let Some(before) = self.intents.insert(key, tx.clone()) {
            assert_eq!(before, tx, "an attempt's number names two transactions");
        }
        self.world().sent += 1;
        if now {
            let mut world = self.world.lock();
            if !world.mempool.contains(&tx) {
                world.mempool.push(tx);
            }
        } else {
            self.frozen.push(tx);
        }
    }
}
