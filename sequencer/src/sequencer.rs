//! The sequencer's loop: waits for transactions and a slot, builds a block, posts it to L1, and waits
//! until the node has followed it.
//!
//! Building is paused while L1 contains a block that the node rejected: a block on top of it would be
//! rejected too, and the contract accepts none beside it. Building is also paused while no source has the
//! data of a block on L1, since the next block has to follow that one, and while a prune is due.
//! While the block is unproven none of these lasts, because the oldest unproven epoch has a deadline and the
//! sequencer prunes when it is missed. A block that L1 has a proof of stays: without its data the pause lasts until
//! a source has it, which is for an operator to find (`docs/book/blobs.md`).
//!
//! A block whose client proofs the node does not have may be unprovable, and every block built on it is
//! pruned with it. The contract accepts a block only on top of the pending tip, so the only alternative
//! is to wait: building waits `max_unverified_seconds` for the proofs, and then continues.
//!
//! At most one proposal is in flight. The contract accepts a proposal only in its own slot, so a
//! proposal that is in no L1 block by the end of its slot is dropped. The next one for the same block
//! number reuses its nonce: in a queue of proposals all but the first would revert.
//!
//! When the price excludes every waiting transaction, an empty block is built, which lowers the price. One is
//! built, too, when messages from L1 wait. When neither waits, no block is built.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollmill_l1::abi::{self, DaInput};
use rollmill_l1::alloy::eips::BlockNumberOrTag;
use rollmill_l1::attest::Duty;
use rollmill_l1::blob::{Blob, Sidecar};
use rollmill_l1::{Expiry, L1Error, Seen, TxRequest, TxSender, TxStatus};
use rollmill_node::setup::RunningNode;
use rollmill_node::{Deadline, Pruner, Signed, SigningError};
use rollmill_node_client::wire::{BlockRef, RejectedBlock, Tips};
use rollmill_protocol::blob::encode;
use rollmill_protocol::builder::Block;
use rollmill_protocol::{Commitment, EthAddress, Tx};
use rollmill_service::{Again, Outage, Retry, Shutdown, StatusPage};
use rollmill_validator_client::{Proposal, SIGNATURE_BYTES};

use crate::build::{BuildError, Built, Choice, Outcome, build, has_messages};
use crate::committee::Committee;
use crate::config::Config;
use crate::error::SequencerError;
use crate::metrics::Metrics;
use crate::quotes::{Opening, QuoteBook, opening_of};
use crate::unverified::{ProofTurn, ProofWait};

/// Pause between polls of the pool and the slot.
const PACE: Duration = Duration::from_millis(200);
/// First and longest pause after a failed turn, such as a proposal that L1 rejected.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));
/// Pause between polls of the deadline of the oldest unproven epoch.
const WATCH: Duration = Duration::from_secs(2);
/// How long one turn waits for a proposal to be included.
const LAND_LIMIT: Duration = Duration::from_secs(30);
/// Pause between polls for its inclusion.
const POLL: Duration = Duration::from_millis(250);
/// How long the node may take to follow a block that L1 has.
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);

/// The result of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There is nothing to build, or no slot to build it in.
    Waiting,
    /// L1 contains a block that the node rejected or whose data it does not have, or that must be pruned.
    Paused,
    /// Waiting for blocks on L1 to be verified.
    Unverified,
    /// The block of this number is on L1, and the node has followed it.
    Proposed(u64),
    /// The process shuts down.
    Ending,
}

/// State kept from one turn to the next. A restart loses it, which does no harm.
#[derive(Debug, Default)]
pub struct Memory {
    /// When transactions started to wait.
    waiting_since: Option<Instant>,
    /// The rejected block that was last logged.
    rejected: Option<RejectedBlock>,
    /// The time in which the data of a block on L1 is missing.
    without_data: Outage,
    /// The wait for the client proofs of a block on L1.
    proofs: ProofWait,
    /// The proposal in flight.
    in_flight: Option<InFlight>,
    /// A slot of which a block was signed that cannot be proposed any more.
    lost_slot: Option<u64>,
}

/// A slot in which a block can be proposed now.
#[derive(Debug, Clone, Copy)]
struct Place {
    slot: u64,
    /// The time of the last L1 head for which the next L1 block is in the slot.
    expires: Expiry,
    /// Seconds from L1's head to the end of the slot.
    seconds_left: u64,
}

/// A proposal that was passed to the sender.
#[derive(Debug, Clone)]
struct InFlight {
    purpose: String,
    attempt: u32,
    number: u64,
    txs: usize,
    /// The epoch that the block opens, and the quote that it goes with, as of when it was proposed.
    opening: Option<Opening>,
}

/// A block's commitment, what L1 checks of its data, and the blob.
type BlockData = (Commitment, DaInput, Option<Arc<Sidecar>>);

/// A running sequencer.
#[derive(Debug)]
pub struct Sequencer {
    pub running: RunningNode,
    pub sender: Arc<TxSender>,
    /// Signs blocks, with the key of the sender's account, and has them signed.
    pub committee: Committee,
    pub config: Config,
    pub coinbase: EthAddress,
    pub metrics: Metrics,
    pub pruner: Pruner,
    /// Quotes of provers, if any are taken.
    pub quotes: Option<Arc<QuoteBook>>,
}

impl Sequencer {
    /// The blob of a block with transactions, and what L1 checks of it; nothing without transactions.
    /// Takes about a second, on a blocking thread.
    async fn data(&self, block: &Arc<Block>) -> Result<BlockData, SequencerError> {
        if block.txs.is_empty() {
            return Ok((Commitment::default(), abi::no_data(), None));
        }
        let (blobs, block) = (self.running.blobs.clone(), Arc::clone(block));
        let work = move || -> Result<BlockData, SequencerError> {
            let sidecar = blobs.kzg.sidecar(Blob::from_bytes(&encode(&block.txs)?)?)?;
            let commitment = Commitment(sidecar.commitment().0);
            let opening = block.opening(commitment);
            let (_, proof) = blobs.kzg.prove(sidecar.blob(), &opening.z)?;
            // Before it is on L1, so that the data of this node's blocks is never missing here.
            blobs.archive.write(sidecar.versioned_hash().into(), sidecar.blob())?;
            Ok((commitment, abi::da_input(&opening, &proof.0), Some(Arc::new(sidecar))))
        };
        let computed = tokio::task::spawn_blocking(work).await;
        computed.map_err(SequencerError::task("computing a blob"))?
    }

    /// Shows under `/status` which rejected block pauses building, if one does, and the deadline of the
    /// oldest unproven epoch.
    pub fn show(&self, status_page: &StatusPage) {
        let node = Arc::clone(&self.running.node);
        status_page.show("held", move || serde_json::json!(node.tips().rejected));
        self.pruner.show(status_page);
    }

    /// Builds blocks, follows the L1 transactions it sent, and prunes when a deadline is missed, until
    /// `shutdown` starts.
    pub async fn run(&self, shutdown: &Shutdown) -> Result<(), SequencerError> {
        let stop = shutdown.clone();
        let sending = Arc::clone(&self.sender).run(async move { stop.started().await });
        let sending = tokio::spawn(sending);
        let ((), built) = tokio::join!(self.pruner.run(WATCH, shutdown), self.build_all(shutdown));
        sending.await.map_err(SequencerError::task("the sender"))?;
        built
    }

    async fn build_all(&self, shutdown: &Shutdown) -> Result<(), SequencerError> {
        let mut memory = Memory::default();
        let (mut retry, mut code) = (Retry::new(RETRY.0, RETRY.1), String::new());
        while !shutdown.is_started() {
            match self.turn(&mut memory, shutdown).await {
                Ok(turn) => {
                    let pause = match turn {
                        // Nothing was tried, so an earlier failure may last.
                        Turn::Waiting | Turn::Paused | Turn::Unverified => PACE,
                        Turn::Ending => Duration::ZERO,
                        Turn::Proposed(_) => {
                            retry.succeeded(|wait_seconds| {
                                tracing::info!(wait_seconds, "block building continues");
                            });
                            code.clear();
                            Duration::ZERO
                        }
                    };
                    shutdown.within(pause).await;
                }
                Err(error) => {
                    self.metrics.refused_total.inc();
                    if code != error.code() {
                        // A failure of another kind.
                        retry.changed();
                        error.code().clone_into(&mut code);
                    }
                    let log = |Again { repeated, retry_seconds }| {
                        tracing::warn!(%error, repeated, retry_seconds, "block not proposed; retrying");
                    };
                    retry.failed(shutdown.started(), log).await;
                }
            }
        }
        Ok(())
    }

    /// Runs one turn: polls pool, slot and chain, and builds and posts a block if there is a reason to.
    ///
    /// # Errors
    /// When L1 rejects the block, or the node's state cannot be read; the next turn starts over.
    pub async fn turn(
        &self,
        memory: &mut Memory,
        shutdown: &Shutdown,
    ) -> Result<Turn, SequencerError> {
        let node = &self.running.node;
        let count = node.ready_count();
        self.metrics.pool_transactions.set(i64::try_from(count).unwrap_or(i64::MAX));
        if memory.in_flight.is_some() {
            return self.land(memory, shutdown).await;
        }
        let tips = node.tips();
        let is_paused = self.is_paused(tips.rejected.clone(), memory);
        if self.is_data_missing(memory) || is_paused || self.is_prune_due() {
            return Ok(Turn::Paused);
        }
        if count == 0 && !node.is_priced_out()? && !has_messages(node)? {
            memory.waiting_since = None;
            return Ok(Turn::Waiting);
        }
        if self.waits_for_proofs(&tips, memory)? {
            return Ok(Turn::Unverified);
        }
        let since = *memory.waiting_since.get_or_insert_with(Instant::now);
        let patience = Duration::from_secs(self.config.max_wait_seconds);
        if (1..self.config.min_txs).contains(&count) && since.elapsed() < patience {
            return Ok(Turn::Waiting);
        }
        let Some(place) = self.slot_for_next_block().await? else { return Ok(Turn::Waiting) };
        let slot = place.slot;
        if memory.lost_slot == Some(slot) || !self.slot_is_free(slot)? {
            return Ok(Turn::Waiting);
        }
        let Some(duty) = self.committee.duty(slot).await? else { return Ok(Turn::Waiting) };
        if duty.proposer != self.committee.account() {
            return Ok(Turn::Waiting);
        }
        let signed = self.committee.signed(slot).await?;
        let built = match &signed {
            None => self.build(slot).await?,
            Some(signed) => self.build_again(signed).await?,
        };
        let Some(built) = built else {
            self.note_lost(signed.is_some(), slot, memory);
            return Ok(Turn::Waiting);
        };
        memory.waiting_since = None;
        self.propose(built, &duty, place, memory, shutdown).await
    }

    /// Whether a prune is due. A block that is built now would be pruned with the blocks below it.
    fn is_prune_due(&self) -> bool {
        let is_missed = |deadline: &Deadline| deadline.is_missed;
        self.pruner.seen.borrow().as_ref().is_some_and(is_missed)
    }

    /// Whether building waits for client proofs. Logs when the wait starts and when it is abandoned.
    fn waits_for_proofs(&self, tips: &Tips, memory: &mut Memory) -> Result<bool, SequencerError> {
        let block = tips.unverified();
        let first = match block {
            None => None,
            Some(number) => {
                // Gone since the tips were read: the next turn sees which block takes its place.
                let record = self.running.node.block_record(BlockRef::Number(number))?;
                let Some(record) = record else { return Ok(true) };
                Some(record.header_hash)
            }
        };
        let wait_seconds = self.config.max_unverified_seconds;
        let patience = Duration::from_secs(wait_seconds);
        let turn = memory.proofs.turn(first, Instant::now(), patience);
        match turn {
            ProofTurn::Start => {
                tracing::warn!(
                    block,
                    wait_seconds,
                    "waiting for the client proofs of a block on L1"
                );
            }
            ProofTurn::Abandon => {
                tracing::warn!(block, "building on a block whose client proofs were not found");
            }
            ProofTurn::Build | ProofTurn::Wait => {}
        }
        self.metrics.unverified.set(i64::from(turn.waits()));
        Ok(turn.waits())
    }

    /// Whether missing data of a block on L1 pauses building. Logs when the pause starts, once a minute, and when it
    /// ends: the node follows L1's head again, since the data was found or L1 pruned the block.
    fn is_data_missing(&self, memory: &mut Memory) -> bool {
        let missing = self.running.node.data_missing();
        self.metrics.data_missing.set(i64::from(missing.is_some()));
        let outage = &memory.without_data;
        if let Some(block) = missing {
            if let Some(repeated) = outage.failed() {
                tracing::warn!(block, repeated, "paused; no source has the data of a block on L1");
            }
        } else if let Some(wait_seconds) = outage.ended() {
            tracing::info!(wait_seconds, "resumed; no block on L1 lacks its data");
        }
        missing.is_some()
    }

    /// Whether a rejected block pauses building. Logs when the pause starts, changes and ends.
    fn is_paused(&self, rejected: Option<RejectedBlock>, memory: &mut Memory) -> bool {
        self.metrics.held.set(i64::from(rejected.is_some()));
        if rejected != memory.rejected {
            match &rejected {
                Some(block) => tracing::error!(
                    block = block.block_number,
                    l1_block = block.l1_block,
                    error = block.reason,
                    "paused; L1 contains a block that this node rejected"
                ),
                None => tracing::info!("resumed; the rejected block is gone from L1"),
            }
            memory.rejected = rejected;
        }
        memory.rejected.is_some()
    }

    /// The slot of L1's head, if the next L1 block will be in it too, and the time of the last head for
    /// which this is so.
    ///
    /// The contract accepts a proposal only in its own slot, so a proposal made in the last L1 block of
    /// a slot would miss it. For that reason a slot lasts at least two L1 blocks.
    async fn slot_for_next_block(&self) -> Result<Option<Place>, SequencerError> {
        let (l1, config) = (&self.running.l1, self.running.node.config());
        let head = l1.latest().await?;
        let before = l1.block(BlockNumberOrTag::Number(head.number.saturating_sub(1))).await?;
        let before = before.map_or(head.timestamp, |block| block.header.timestamp);
        // A gap in L1, or a time jump of a development chain, must not cost more than half a slot.
        let half = (config.slot_seconds / 2).max(1);
        let interval = head.timestamp.saturating_sub(before).clamp(1, half);
        let slot = config.slot_at(head.timestamp);
        let end = config.timestamp(slot.saturating_add(1)).unwrap_or(u64::MAX);
        let place = Place {
            slot,
            expires: Expiry::Timestamp(end.saturating_sub(interval)),
            seconds_left: end.saturating_sub(head.timestamp),
        };
        let is_next = config.slot_at(head.timestamp.saturating_add(interval)) == slot;
        Ok(is_next.then_some(place))
    }

    /// Whether a block may be built in this slot: it is later than the parent's slot, and the epoch is
    /// not full.
    fn slot_is_free(&self, slot: u64) -> Result<bool, SequencerError> {
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
        let slots = node.config().slots_per_epoch.max(1);
        let earlier = node.block_record(BlockRef::Number(tip + 1 - limit))?;
        Ok(earlier
            .is_none_or(|b| b.header.block_number == 0 || b.header.slot / slots != slot / slots))
    }

    async fn build(&self, slot: u64) -> Result<Option<Built>, SequencerError> {
        let node = Arc::clone(&self.running.node);
        let (max_txs, coinbase) = (self.config.max_txs, self.coinbase);
        let work = move || -> Result<Outcome, BuildError> {
            let is_priced_out = node.is_priced_out()?;
            let choice = Choice { slot, coinbase, max_txs, is_priced_out };
            build(&node, &node.ready_txs(), choice)
        };
        let Outcome { built, left_out } = tokio::task::spawn_blocking(work)
            .await
            .map_err(SequencerError::task("building a block"))??;
        self.metrics.left_out_total.inc_by(left_out.len() as u64);
        if let Some((first, reason)) = left_out.first() {
            let tx = rollmill_protocol::field::to_hex(first);
            let count = left_out.len();
            tracing::info!(txs = count, first_tx = tx, reason, "transactions left out of a block");
        }
        Ok(built)
    }

    /// Builds the block of a slot again that this account has signed already, before a restart or for a committee
    /// that was not complete. `None` if it does not follow the tip any more.
    async fn build_again(&self, signed: &Signed) -> Result<Option<Built>, SequencerError> {
        let slot = signed.vote.slot;
        let Some(proposal) = self.committee.proposal(slot).await? else { return Ok(None) };
        let node = Arc::clone(&self.running.node);
        let work = move || -> Result<Outcome, BuildError> {
            let (coinbase, max_txs) = (proposal.header.coinbase, proposal.txs.len());
            let txs: Vec<_> = proposal.txs.into_iter().map(Arc::new).collect();
            build(&node, &txs, Choice { slot, coinbase, max_txs, is_priced_out: true })
        };
        let outcome = tokio::task::spawn_blocking(work);
        let outcome = outcome.await.map_err(SequencerError::task("building a block"))??;
        Ok(outcome.built.filter(|built| built.block.header.block_number == signed.vote.number))
    }

    /// Remembers a slot in which nothing more can be signed.
    fn note_lost(&self, is_lost: bool, slot: u64, memory: &mut Memory) {
        if is_lost {
            memory.lost_slot = Some(slot);
            self.metrics.slots_lost_total.inc();
            tracing::warn!(
                slot,
                "the slot's signed block no longer follows the tip; waiting for the next slot"
            );
        }
    }

    /// Has a block signed by its committee, and posts it.
    async fn propose(
        &self,
        built: Built,
        duty: &Duty,
        place: Place,
        memory: &mut Memory,
        shutdown: &Shutdown,
    ) -> Result<Turn, SequencerError> {
        let Built { block, chain_before, txs: with_proofs } = built;
        let block = Arc::new(block);
        let header = &block.header;
        let number = header.block_number;
        let (commitment, data, sidecar) = self.data(&block).await?;
        let link = block.chain_link(chain_before, &block.opening(commitment));
        let proposal = Proposal {
            chain: link.chain(),
            commitment,
            signature: [0; SIGNATURE_BYTES],
            header: header.clone(),
            txs: with_proofs.iter().map(|tx| Tx::clone(tx)).collect(),
        };
        let proposal = match self.committee.sign(proposal).await {
            Err(SequencerError::Signing(SigningError::Twice { slot, .. })) => {
                self.note_lost(true, slot, memory);
                return Ok(Turn::Waiting);
            }
            signed => signed?,
        };
        let limit = Duration::from_secs((place.seconds_left / 2).max(1));
        let attestations = tokio::select! {
            () = shutdown.started() => return Ok(Turn::Ending),
            attestations = self.committee.collect(duty, &proposal, limit) => attestations?,
        };
        let args = abi::propose_args(header, &block.archive.append.root_after);
        let (txs, messages) = (block.txs.len(), block.message_leaves().count());
        tracing::info!(block = number, slot = header.slot, txs, messages, "block built");
        let purpose = format!("propose/{number}");
        // An earlier block of this number may have been on L1 and was pruned.
        let attempt = self.sender.attempt_for(&purpose);
        let input = abi::propose_calldata(args, attestations, data);
        let opening = self
            .quotes
            .as_ref()
            .and_then(|quotes| opening_of(quotes, &self.running.node, number, header.slot));
        rollmill_service::failpoint!("sequencer.block_built");
        // It does the same at any time of its slot, so it needs no gas to spare: if a prune is due by then, which it
        // would do first, its number is wrong.
        let request = TxRequest {
            attempt,
            sidecar,
            expires: Some(place.expires),
            ..TxRequest::call(purpose.clone(), abi::address(self.running.rollup), input)
        };
        let submitted = self.sender.submit(request).await;
        // Recorded in the intent file, so it may still be included, whatever the endpoint responded.
        let status = self.sender.status(&purpose, attempt);
        if submitted.is_ok() || matches!(status, Some(TxStatus::Pending { .. })) {
            memory.in_flight = Some(InFlight { purpose, attempt, number, txs, opening });
        }
        rollmill_service::failpoint!("sequencer.proposal_submitted");
        submitted?;
        self.land(memory, shutdown).await
    }

    /// Waits until the proposal in flight is in an L1 block, or can no longer be in one.
    ///
    /// # Errors
    /// When L1 rejected it, or has not included it yet: then it is still in flight, and the next call
    /// continues.
    async fn land(&self, memory: &mut Memory, shutdown: &Shutdown) -> Result<Turn, SequencerError> {
        let Some(flight) = memory.in_flight.clone() else { return Ok(Turn::Waiting) };
        let InFlight { purpose, attempt, number, txs, opening } = flight;
        let mut seen = Seen::default();
        let limit = Instant::now() + LAND_LIMIT;
        let receipt = loop {
            self.sender.tick_if_new(&mut seen).await?;
            match self.sender.status(&purpose, attempt) {
                Some(TxStatus::Included(receipt)) => break receipt,
                Some(TxStatus::Pending { .. }) => {}
                Some(TxStatus::Lost { nonce }) => {
                    memory.in_flight = None;
                    let account = self.sender.account();
                    return Err(L1Error::NonceTaken { id: purpose, nonce, account }.into());
                }
                Some(TxStatus::Dropped { reason }) => {
                    memory.in_flight = None;
                    return Err(L1Error::Dropped { id: purpose, reason }.into());
                }
                None => {
                    memory.in_flight = None;
                    return Ok(Turn::Waiting);
                }
            }
            if Instant::now() >= limit {
                return Err(SequencerError::NotIncluded { number, seconds: LAND_LIMIT.as_secs() });
            }
            tokio::select! {
                () = shutdown.started() => return Ok(Turn::Ending),
                () = tokio::time::sleep(POLL) => {}
            }
        };
        memory.in_flight = None;
        rollmill_service::failpoint!("sequencer.proposal_included");
        if !receipt.succeeded {
            return Err(L1Error::Reverted { id: receipt.id, tx_hash: receipt.tx_hash }.into());
        }
        self.metrics.blocks_total.inc();
        self.metrics.transactions_total.inc_by(txs as u64);
        self.metrics.empty_blocks_total.inc_by(u64::from(txs == 0));
        let gas = receipt.gas_used;
        tracing::info!(block = number, l1_tx = %receipt.tx_hash, gas, "block included on L1");
        if let (Some(quotes), Some(opening)) = (&self.quotes, opening) {
            quotes.opened(opening, number);
        }
        self.wait_for(number, shutdown).await
    }

    /// Waits until the node has followed block `number`, so that the next block builds on it, or has
    /// rejected a block on L1.
    async fn wait_for(&self, number: u64, shutdown: &Shutdown) -> Result<Turn, SequencerError> {
        let mut tips = self.running.node.watch_tips();
        let follows = |tips: &Tips| tips.pending.block_number >= number;
        let followed = tips.wait_for(|tips| follows(tips) || tips.rejected.is_some());
        tokio::select! {
            followed = tokio::time::timeout(FOLLOW_LIMIT, followed) => match followed {
                Ok(Ok(tips)) if !follows(&tips) => Ok(Turn::Paused),
                Ok(_) => Ok(Turn::Proposed(number)),
                Err(_) => Err(SequencerError::NotFollowed { number, seconds: FOLLOW_LIMIT.as_secs() }),
            },
            () = shutdown.started() => Ok(Turn::Ending),
        }
    }
}
