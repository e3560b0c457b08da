//! Applies L1's events to the chain in the database.
//!
//! The node trusts a block only after executing it: the header that follows from its parent, its transactions and its
//! messages has the hash that L1 recorded, and the chain hash on L1 is the one that follows from it and the blob.
//! A block that fails is stored as rejected, and the node follows nothing after it until L1 prunes it
//! or reorganises. A block whose data is missing is not rejected, unless L1 pruned it: the node waits before it.

use std::sync::Arc;
use std::time::Duration;

use redb::ReadableTable;
use rollmill_node_client::wire::RejectedBlock;
use rollmill_protocol::builder::{self, BlockEnv, BlockError};
use rollmill_protocol::message::in_hash;
use rollmill_protocol::tree::{Overlay, StateChanges};
use rollmill_protocol::{Block, BlockBody, Config, Fr, Opening, blob};
use rollmill_service::{Again, Retry, Shutdown};

use crate::error::{BlockRefusal, NodeError};
use crate::l1_events::{
    Data, L1Event, L1Events, L1Position, L1SourceError, L1Update, ProposedBlock,
};
use crate::node::Node;
use crate::store::{BlockRecord, BlockWrite, Bytes, L1Record, StateView, Tables, Writer};

/// L1 blocks after which a proof counts as final on an L1 that reports no finalized block.
pub(crate) const FINALITY_L1_BLOCKS: u64 = 64;
/// L1 positions kept, so that a reorganisation up to this depth needs no resync from genesis.
const L1_RECORDS_MAX: u64 = 8192;
/// Newest L1 positions that are all passed to the source; of older ones a sample with growing gaps.
const L1_KNOWN_DENSE: usize = 64;
/// Longest wait after an error of the source.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Minimum number of states kept behind the pending tip. The states of unproven blocks are always
    /// kept.
    pub(crate) state_blocks: u64,
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The chain only grew, or nothing changed.
    Forward,
    /// Blocks were removed.
    Backward,
    /// L1 reorganised beyond the kept history: the node starts again from genesis.
    Restart,
}

impl<T: ReadableTable<Bytes, Bytes>> Tables<T> {
    /// The block on L1 that this node rejected.
    pub(crate) fn rejected(&self) -> Result<Option<RejectedBlock>, NodeError> {
        let bytes = self.meta("refused")?;
        bytes
            .map(|bytes| {
                serde_json::from_slice(&bytes)
                    .map_err(|error| NodeError::corrupt(error.to_string()))
            })
            .transpose()
    }

    /// The proven tip that no reorganisation of L1 removes: the one as of its finalized block, or as of
    /// a block [`FINALITY_L1_BLOCKS`] behind the head where L1 finalizes nothing.
    pub(crate) fn final_proven(&self) -> Result<u64, NodeError> {
        Ok(self.l1_record(self.final_l1()?)?.map_or(0, |record| record.tips.proven))
    }

    /// The newest final L1 block, or the one [`FINALITY_L1_BLOCKS`] behind the head where L1 finalizes
    /// nothing.
    pub(crate) fn final_l1(&self) -> Result<u64, NodeError> {
        let head = self.l1_head()?;
        let far_behind = || head.position.number.saturating_sub(FINALITY_L1_BLOCKS);
        Ok(head.finalized.unwrap_or_else(far_behind))
    }

    /// Known L1 positions, newest first; the last one is the position at which following started.
    pub(crate) fn known_positions(&self) -> Result<Vec<L1Position>, NodeError> {
        let records = self.l1_records()?;
        let (mut known, mut at) = (Vec::new(), 0);
        while at < records.len() {
            known.push(records[at].position);
            at += if known.len() < L1_KNOWN_DENSE { 1 } else { (at / 8).max(1) };
        }
        match (records.last(), known.last()) {
            (Some(first), Some(last)) if first.position != *last => known.push(first.position),
            _ => (),
        }
        Ok(known)
    }
}

/// Applies one update inside a transaction, with the deployment's parameters.
pub(crate) fn apply(
    tables: &mut Writer<'_>,
    update: &L1Update,
    config: &Config,
    retention: Retention,
) -> Result<Applied, NodeError> {
    match update {
        L1Update::Extend { to, time, finalized, events } => {
            let record = L1Record {
                position: *to,
                tips: tables.tips()?,
                low: 0,
                has_rejected: false,
                time: *time,
                finalized: *finalized,
            };
            extend(tables, record, events, config, retention)
        }
        L1Update::Rewind { to } => rewind(tables, to),
    }
}

/// Applies events up to the position of `record`. The tips of `record` are those before the events.
fn extend(
    tables: &mut Writer<'_>,
    record: L1Record,
    events: &[(u64, L1Event)],
    config: &Config,
    retention: Retention,
) -> Result<Applied, NodeError> {
    let (head, to) = (tables.l1_head()?, record.position);
    if to.number <= head.position.number {
        return Err(NodeError::Inconsistent {
            what: format!(
                "it continues with L1 block {} after {}",
                to.number, head.position.number
            ),
        });
    }
    let mut tips = record.tips;
    let mut low = tips.pending;
    for (l1_block, event) in events {
        match event {
            L1Event::BlockProposed(proposed) => {
                if propose(tables, config, tips.pending, *l1_block, proposed)? {
                    tips.pending += 1;
                }
            }
            L1Event::MessageSent(message) => tables.put_message(*l1_block, message)?,
            L1Event::EpochProven { last_block } => {
                let reached = prove(tables, tips.pending, *last_block)?;
                tips.proven = tips.proven.max(reached);
            }
            L1Event::Pruned { proven_tip } => {
                prune(tables, tips.pending, *proven_tip)?;
                tips.pending = tips.pending.min(*proven_tip);
                low = low.min(tips.pending);
            }
        }
    }
    tables.set_tips(tips)?;
    let has_rejected = tables.rejected()?.is_some();
    tables.put_l1(&L1Record { tips, low, has_rejected, ..record })?;
    let deployed = tables.l1_records_start()?;
    if let Some(old) = to.number.checked_sub(L1_RECORDS_MAX).filter(|old| *old > deployed) {
        tables.forget_l1(deployed + 1..=old)?;
    }
    let keep_from = tips.pending.saturating_sub(retention.state_blocks);
    tables.forget_states(keep_from.min(tables.final_proven()?))?;
    Ok(if low < head.tips.pending { Applied::Backward } else { Applied::Forward })
}

/// Executes and stores a proposed block; `false` when it is rejected.
fn propose(
    tables: &mut Writer<'_>,
    config: &Config,
    pending: u64,
    l1_block: u64,
    proposed: &ProposedBlock,
) -> Result<bool, NodeError> {
    let number = proposed.block_number;
    if tables.rejected()?.is_some() {
        tracing::warn!(block = number, error = %BlockRefusal::AfterRefused, "block not followed");
        return Ok(false);
    }
    match execute(tables, config, pending, l1_block, proposed)? {
        Ok((record, txs, changes)) => {
            tracing::info!(block = number, txs = txs.len(), l1_block, "block executed");
            tables.put_block(&BlockWrite { record: &record, txs: &txs, changes: &changes })?;
            Ok(true)
        }
        Err(rejection) => {
            let reason = rejection.to_string();
            tracing::error!(block = number, l1_block, error = %reason, "block on L1 rejected");
            let rejected = RejectedBlock { block_number: number, l1_block, reason };
            // Cannot fail: the value has only numbers and text.
            let bytes = serde_json::to_vec(&rejected)
                .map_err(|error| NodeError::corrupt(error.to_string()))?;
            tables.set_meta("refused", &bytes)?;
            Ok(false)
        }
    }
}

type Executed = (BlockRecord, Vec<BlockBody>, StateChanges);

/// Checks a proposed block against its parent and L1. The outer error is a failure of the node or of L1, the
/// inner one a fault of the block.
fn execute(
    tables: &Writer<'_>,
    config: &Config,
    pending: u64,
    l1_block: u64,
    proposed: &ProposedBlock,
) -> Result<Result<Executed, BlockRefusal>, NodeError> {
    let (expected, got) = (pending + 1, proposed.block_number);
    if expected != got {
        return Ok(Err(BlockRefusal::OutOfOrder { expected, got }));
    }
    let parent = tables.expect_block(pending)?;
    let messages = tables.message_leaves(got)?;
    if in_hash(&messages) != proposed.in_hash {
        let what = format!("the messages of block {got} are not those that the block appends");
        return Err(NodeError::Inconsistent { what });
    }
    let txs = match published(proposed) {
        Ok(txs) => txs,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let env = BlockEnv { slot: proposed.slot, coinbase: proposed.coinbase, messages };
    let overlay = Overlay::new(StateView::new(tables, pending));
    let (block, overlay) = match builder::rebuild(&parent.header, overlay, config, env, &txs) {
        Ok(done) => done,
        Err(BlockError::Storage(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(BlockRefusal::Rule(error))),
    };
    let opening = block.opening(proposed.commitment);
    let archive_root = block.archive.append.root_after;
    let chain = block.chain_link(parent.chain, &opening).chain();
    if let Err(rejection) = same_on_l1(&block, &opening, chain, proposed) {
        return Ok(Err(rejection));
    }
    let record = BlockRecord {
        header_hash: block.header_hash,
        header: block.header,
        archive_root,
        chain,
        commitment: opening.commitment,
        l1_block,
    };
    Ok(Ok((record, txs, overlay.into_parts().1)))
}

/// The transactions of a block's blob.
fn published(proposed: &ProposedBlock) -> Result<Vec<BlockBody>, BlockRefusal> {
    match &proposed.data {
        Data::Missing => Err(BlockRefusal::DataMissing),
        Data::None if proposed.tx_count == 0 => Ok(Vec::new()),
        Data::None => Err(BlockRefusal::Mismatch { what: "the number of transactions" }),
        Data::Blob(bytes) => {
            // L1's number has 16 bits; a larger one than a block may have is rejected in `decode`.
            let count = usize::try_from(proposed.tx_count).unwrap_or(usize::MAX);
            Ok(blob::decode(bytes, count)?)
        }
    }
}

/// Compares an executed block with what its proposer stated on L1. The chain comes last: it covers the rest of the
/// header, the opening of the blob and everything before the block.
fn same_on_l1(
    block: &Block,
    opening: &Opening,
    chain: Fr,
    proposed: &ProposedBlock,
) -> Result<(), BlockRefusal> {
    // Without `..`, so that a field that L1 records in future must be compared here, or where a comment
    // says.
    let ProposedBlock {
        block_number: _, // before this, with the pending tip
        archive_root,
        header_hash,
        chain: chain_on_l1,
        slot: _,     // the block was built for it
        coinbase: _, // the block was built with it
        total_fees,
        tx_count,
        versioned_hash: _, // the source verified the blob against it, and L1 the commitment
        z,
        y,
        commitment,
        in_hash: _, // before this, with the messages
        out_root,
        signers: _, // the contract's affair
        data: _,    // the block was built of it
    } = proposed;
    let header = &block.header;
    for (what, same) in [
        ("the number of transactions", header.tx_count == *tx_count),
        ("the sum of fees", header.total_fees == *total_fees),
        ("the root of messages to L1", header.out_root == *out_root),
        ("the header hash", block.header_hash == *header_hash),
        ("the archive root", block.archive.append.root_after == *archive_root),
        ("the commitment", opening.commitment == *commitment),
        ("the point of the blob's opening", opening.z == *z),
        ("the value of the blob's opening", opening.y == *y),
        ("the chain", chain == *chain_on_l1),
    ] {
        if !same {
            return Err(BlockRefusal::Mismatch { what });
        }
    }
    Ok(())
}

/// How far a proof of blocks up to `last_block` moves the proven tip.
fn prove(tables: &mut Writer<'_>, pending: u64, last_block: u64) -> Result<u64, NodeError> {
    if last_block <= pending {
        return Ok(last_block);
    }
    match tables.rejected()? {
        // L1 accepted a proof of a block that this node rejected, so one of the two is wrong and an
        // operator must investigate. The blocks that this node executed stay valid.
        Some(rejected) => {
            tracing::error!(last_block, block = rejected.block_number, error = %rejected.reason,
                "L1 proved a block that this node rejected");
            Ok(pending)
        }
        None => Err(NodeError::Inconsistent {
            what: format!("block {last_block} is proven, but {pending} is the last proposed"),
        }),
    }
}

fn prune(tables: &mut Writer<'_>, pending: u64, proven_tip: u64) -> Result<(), NodeError> {
    if proven_tip < pending {
        tracing::warn!(from_block = pending, to_block = proven_tip, "pending chain pruned on L1");
        tables.undo_blocks(pending, proven_tip)?;
    }
    if tables.rejected()?.is_some_and(|rejected| rejected.block_number > proven_tip) {
        tables.clear_meta("refused")?;
    }
    Ok(())
}

/// Goes back to the newest L1 record up to `to` whose blocks are all still in the database, and at which L1 had no
/// rejected block: the prune that let the node pass one may be gone, and its data there now. Blocks that a later prune
/// removed are read from L1 again.
fn rewind(tables: &mut Writer<'_>, to: &L1Position) -> Result<Applied, NodeError> {
    let tips = tables.tips()?;
    let mut low = tips.pending;
    let mut target = None;
    for record in tables.l1_records()? {
        let position = record.position;
        if position.number == to.number && position.hash != to.hash {
            return Err(NodeError::Inconsistent {
                what: format!("L1 block {} to go back to is not a known one", to.number),
            });
        }
        if position.number <= to.number && record.tips.pending <= low && !record.has_rejected {
            target = Some(record);
            break;
        }
        low = low.min(record.low);
    }
    let oldest = tables.history_start()?;
    let Some(target) = target.filter(|record| record.tips.pending >= oldest) else {
        tracing::warn!(l1_block = to.number, "L1 reorganised beyond the kept history; resyncing");
        return Ok(Applied::Restart);
    };
    tracing::warn!(
        from_block = tips.pending,
        to_block = target.tips.pending,
        l1_block = target.position.number,
        "L1 reorganised"
    );
    tables.undo_blocks(tips.pending, target.tips.pending)?;
    tables.undo_messages(target.position.number)?;
    tables.set_tips(target.tips)?;
    if target.position.number < u64::MAX {
        tables.forget_l1(target.position.number + 1..=u64::MAX)?;
    }
    // The rejected block, if there is one, is behind the target.
    tables.clear_meta("refused")?;
    Ok(Applied::Backward)
}

/// Follows L1 until `shutdown` starts: applies each update as it arrives, and polls again after `poll`
/// when there is none. Errors of the source are logged and retried after growing pauses.
///
/// # Errors
/// [`NodeError`] when the database fails: the process should stop, and may be restarted.
pub async fn follow<E: L1Events>(
    node: Arc<Node>,
    mut source: E,
    poll: Duration,
    shutdown: Shutdown,
) -> Result<(), NodeError> {
    let mut retry = Retry::new(poll.min(RETRY_MAX), RETRY_MAX);
    while !shutdown.is_started() {
        let known = on_blocking(&node, |node| node.known_positions()).await?;
        let update = tokio::select! {
            () = shutdown.started() => break,
            update = source.next(&known) => update,
        };
        let step = match update {
            Ok(Some(update)) => on_blocking(&node, move |node| node.apply(&update)).await,
            Ok(None) => {
                on_blocking(&node, Node::caught_up).await?;
                node.wait_for_data(None);
                recovered(&mut retry);
                shutdown.within(poll).await;
                continue;
            }
            Err(error) => Err(NodeError::Source(error)),
        };
        // A step that succeeds may end before the block, or be followed by another block without data: only at L1's head
        // is it known that none is missing.
        if let Err(NodeError::Source(L1SourceError::DataMissing { block, .. })) = &step {
            node.wait_for_data(Some(*block));
        }
        match step {
            Ok(()) => recovered(&mut retry),
            Err(error @ (NodeError::Source(_) | NodeError::Inconsistent { .. })) => {
                let log = |Again { repeated, retry_seconds }| {
                    tracing::warn!(%error, repeated, retry_seconds, "L1 step failed; retrying");
                };
                retry.failed(shutdown.started(), log).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ends the outage after a successful step.
fn recovered(retry: &mut Retry) {
    retry.succeeded(|wait_seconds| tracing::info!(wait_seconds, "L1 followed again"));
}

async fn on_blocking<R: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> Result<R, NodeError> + Send + 'static,
) -> Result<R, NodeError> {
    let node = Arc::clone(node);
    match tokio::task::spawn_blocking(move || work(&node)).await {
        Ok(result) => result,
        Err(error) => Err(NodeError::corrupt(format!("a step did not end: {error}"))),
    }
}
