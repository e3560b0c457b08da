//! The loop: waits for transactions and a slot, builds a block, puts it on L1, waits until the node
//! has followed it.
//!
//! While L1 holds a block that the node refuses, nothing is built: a block on top would be refused
//! with it, and one beside it L1 would not take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollmill_l1::abi::{self, ProposeArgs, word};
use rollmill_l1::alloy::eips::BlockNumberOrTag;
use rollmill_l1::{L1Error, TxRequest, TxSender};
use rollmill_node::setup::RunningNode;
use rollmill_node_client::wire::{BlockRef, RefusedBlock, Tips};
use rollmill_protocol::EthAddress;
use rollmill_protocol::builder::BlockEnv;
use rollmill_protocol::gas::{FeePerGas, next_fee_per_gas};
use rollmill_service::{Board, Failure, Shutdown, prometheus};

use crate::build::{BuildError, Built, build};
use crate::config::Config;

/// Pause between looks at the pool and the slot.
const PACE: Duration = Duration::from_millis(200);
/// Pause after a proposal that L1 would not take.
const RETRY: Duration = Duration::from_secs(1);
/// How long the node may take to follow a block that L1 has.
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);

/// Counters of the sequencer.
#[derive(Debug, Clone)]
pub struct Metrics {
    blocks: prometheus::IntCounter,
    txs: prometheus::IntCounter,
    left_out: prometheus::IntCounter,
    refused: prometheus::IntCounter,
    pool: prometheus::IntGauge,
    held: prometheus::IntGauge,
}

impl Metrics {
    /// Registers the counters.
    pub fn new(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = prometheus::IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = prometheus::IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            blocks: counter("rollmill_sequencer_blocks_total", "Blocks put on L1")?,
            txs: counter("rollmill_sequencer_transactions_total", "Transactions put into blocks")?,
            left_out: counter(
                "rollmill_sequencer_left_out_total",
                "Transactions that could not follow the ones before them",
            )?,
            refused: counter(
                "rollmill_sequencer_refused_total",
                "Proposals that L1 would not take",
            )?,
            pool: gauge(
                "rollmill_sequencer_pool_transactions",
                "Transactions that wait for a block",
            )?,
            held: gauge(
                "rollmill_sequencer_held",
                "1 while nothing is built because L1 holds a block that the node refuses",
            )?,
        })
    }
}

/// L1 has the block that was proposed, and the node has not followed it in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "SEQ-003: block {number} is on L1, but the node has not followed it in {seconds} s; see the lines of its log about L1"
)]
struct NotFollowed {
    number: u64,
    seconds: u64,
}

/// What one look at pool, slot and chain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There is nothing to build, or no slot to build it in.
    Waiting,
    /// L1 holds a block that the node refuses.
    Held,
    /// A block of this number is on L1 and followed.
    Proposed(u64),
    /// The process ends.
    Ending,
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Since when transactions wait.
    waiting_since: Option<Instant>,
    /// The refused block that was last reported.
    held: Option<RefusedBlock>,
}

/// A sequencer in service.
#[derive(Debug)]
pub struct Sequencer {
    pub running: RunningNode,
    pub sender: TxSender,
    pub config: Config,
    pub coinbase: EthAddress,
    pub metrics: Metrics,
}

impl Sequencer {
    /// Shows under `/status` whether building is held up, and by which block.
    pub fn show(&self, board: &Board) {
        let node = Arc::clone(&self.running.node);
        board.show("held", move || serde_json::json!(node.tips().refused));
    }

    /// Builds blocks until `shutdown` starts.
    pub async fn run(&self, shutdown: &Shutdown) -> Result<(), Failure> {
        let mut memory = Memory::default();
        while !shutdown.is_started() {
            let pause = match self.turn(&mut memory, shutdown).await {
                Ok(Turn::Waiting | Turn::Held) => PACE,
                Ok(Turn::Proposed(_) | Turn::Ending) => Duration::ZERO,
                Err(error) => {
                    self.metrics.refused.inc();
                    tracing::warn!(%error, "no block this time");
                    RETRY
                }
            };
            tokio::select! {
                () = shutdown.started() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// Looks once, and builds and posts a block if there is reason to.
    ///
    /// # Errors
    /// When L1 does not take the block, or the node cannot be asked; the next look starts over.
    pub async fn turn(&self, memory: &mut Memory, shutdown: &Shutdown) -> Result<Turn, Failure> {
        let node = &self.running.node;
        let count = node.pending_count();
        self.metrics.pool.set(i64::try_from(count).unwrap_or(i64::MAX));
        if self.is_held(node.tips().refused, memory) {
            return Ok(Turn::Held);
        }
        if count == 0 {
            memory.waiting_since = None;
            return Ok(Turn::Waiting);
        }
        let since = *memory.waiting_since.get_or_insert_with(Instant::now);
        let patience = Duration::from_secs(self.config.max_wait_seconds);
        if count < self.config.min_txs && since.elapsed() < patience {
            return Ok(Turn::Waiting);
        }
        let Some(slot) = self.slot_with_room().await? else { return Ok(Turn::Waiting) };
        if !self.slot_is_free(slot)? {
            return Ok(Turn::Waiting);
        }
        let Some(built) = self.build(slot).await? else { return Ok(Turn::Waiting) };
        memory.waiting_since = None;
        self.propose(built, shutdown).await
    }

    /// Whether a refused block holds building up. Says so when that begins, changes and ends.
    fn is_held(&self, refused: Option<RefusedBlock>, memory: &mut Memory) -> bool {
        self.metrics.held.set(i64::from(refused.is_some()));
        if refused != memory.held {
            match &refused {
                Some(block) => tracing::error!(
                    block = block.block_number,
                    l1_block = block.l1_block,
                    reason = block.reason,
                    "held: no block is built while L1 holds one that this node refuses"
                ),
                None => tracing::info!("no longer held: the refused block is gone from L1"),
            }
            memory.held = refused;
        }
        memory.held.is_some()
    }

    /// The slot of L1's head, if the L1 block after the head will lie in it too.
    ///
    /// The contract takes a proposal in its own slot only, so one that is made in the last L1 block
    /// of a slot would miss it. A slot is at least two L1 blocks long for that reason.
    async fn slot_with_room(&self) -> Result<Option<u64>, Failure> {
        let (l1, constants) = (&self.running.l1, &self.running.constants);
        let head = l1.latest().await?;
        let before = l1.block(BlockNumberOrTag::Number(head.number.saturating_sub(1))).await?;
        let before = before.map_or(head.timestamp, |block| block.header.timestamp);
        // A gap in L1, or a jump of a development chain's time, must not cost more than half a slot.
        let half = (constants.slot_seconds / 2).max(1);
        let interval = head.timestamp.saturating_sub(before).clamp(1, half);
        let slot = constants.slot_at(head.timestamp);
        Ok((constants.slot_at(head.timestamp + interval) == slot).then_some(slot))
    }

    /// Whether a block may be built in this slot: it is past the parent's, and the epoch has room.
    fn slot_is_free(&self, slot: u64) -> Result<bool, Failure> {
        let node = &self.running.node;
        let Some(parent) = node.block_record(BlockRef::Pending)? else { return Ok(false) };
        if slot <= parent.header.slot {
            return Ok(false);
        }
        let limit = self.config.blocks_per_epoch;
        let tip = parent.header.block_number;
        if limit == 0 || tip < limit {
            return Ok(true);
        }
        let slots = self.running.constants.slots_per_epoch;
        let earlier = node.block_record(BlockRef::Number(tip + 1 - limit))?;
        Ok(earlier
            .is_none_or(|b| b.header.block_number == 0 || b.header.slot / slots != slot / slots))
    }

    async fn build(&self, slot: u64) -> Result<Option<Built>, Failure> {
        let node = Arc::clone(&self.running.node);
        let (max_txs, coinbase) = (self.config.max_txs, self.coinbase);
        let timestamp = self.running.constants.slot_start(slot);
        let work = move || -> Result<Option<Built>, BuildError> {
            let parent = node.block_record(BlockRef::Pending)?.ok_or(BuildError::NoParent)?.header;
            let (price, txs) = (parent.fee_per_gas(), parent.tx_count);
            let txs = usize::try_from(txs).unwrap_or(usize::MAX);
            let price = FeePerGas {
                l2: next_fee_per_gas(price.l2, txs),
                da: next_fee_per_gas(price.da, txs),
            };
            let env = BlockEnv { slot, timestamp, coinbase, price };
            build(&node, &node.pending_txs(2 * max_txs), max_txs, env)
        };
        let built = tokio::task::spawn_blocking(work).await??;
        if let Some(built) = &built {
            for (tx_hash, reason) in &built.left_out {
                self.metrics.left_out.inc();
                let tx_hash = rollmill_protocol::field::to_hex(tx_hash);
                tracing::info!(tx_hash, reason, "transaction left out");
            }
        }
        Ok(built)
    }

    async fn propose(&self, built: Built, shutdown: &Shutdown) -> Result<Turn, Failure> {
        let Built { block, previous_archive_root, .. } = built;
        let header = &block.header;
        let number = header.block_number;
        let args = ProposeArgs {
            blockNumber: number,
            slot: header.slot,
            previousArchiveRoot: word(&previous_archive_root),
            archiveRoot: word(&block.archive.append.root_after),
            headerHash: word(&block.header_hash),
            coinbase: abi::address(header.coinbase),
            totalFees: header.total_fees,
        };
        let data = block.data().to_bytes();
        let hash = rollmill_protocol::field::to_hex(&block.header_hash);
        let txs = block.txs.len();
        tracing::info!(number, slot = header.slot, txs, bytes = data.len(), "block built");
        let id = format!("propose-{number}-{hash}");
        let input = abi::propose_calldata(args, data);
        let request = TxRequest::call(id, abi::address(self.running.rollup), input);
        let receipt = tokio::select! {
            receipt = self.sender.send(request) => receipt?,
            () = shutdown.started() => return Ok(Turn::Ending),
        };
        if !receipt.succeeded {
            return Err(L1Error::Reverted { id: receipt.id, tx_hash: receipt.tx_hash }.into());
        }
        self.metrics.blocks.inc();
        self.metrics.txs.inc_by(txs as u64);
        let gas = receipt.gas_used;
        tracing::info!(number, l1_tx = %receipt.tx_hash, gas, "block is on L1");
        self.wait_for(number, shutdown).await
    }

    /// Waits until the node has followed block `number`, so that the next one builds on it, or refuses
    /// what L1 holds.
    async fn wait_for(&self, number: u64, shutdown: &Shutdown) -> Result<Turn, Failure> {
        let mut tips = self.running.node.watch_tips();
        let follows = |tips: &Tips| tips.pending.block_number >= number;
        let told = tips.wait_for(|tips| follows(tips) || tips.refused.is_some());
        tokio::select! {
            told = tokio::time::timeout(FOLLOW_LIMIT, told) => match told {
                Ok(Ok(tips)) if !follows(&tips) => Ok(Turn::Held),
                Ok(_) => Ok(Turn::Proposed(number)),
                Err(_) => Err(NotFollowed { number, seconds: FOLLOW_LIMIT.as_secs() }.into()),
            },
            () = shutdown.started() => Ok(Turn::Ending),
        }
    }
}
