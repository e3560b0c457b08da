//! Applies L1's events to the chain in the database.
//!
//! The node trusts a block only after executing it: its bytes have the hash that L1 recorded, its
//! header is the result of its transactions, and the chain hash on L1 is the one that follows from it.
//! A block that fails is stored as rejected, and the node follows nothing after it until L1 prunes it
//! or reorganises.

use std::sync::Arc;
use std::time::Duration;

use redb::ReadableTable;
use rollmill_node_client::wire::RejectedBlock;
use rollmill_protocol::block::data_hash;
use rollmill_protocol::builder::{self, BlockError};
use rollmill_protocol::tree::{Overlay, StateChanges};
use rollmill_protocol::{BlockBody, BlockData, ChainLink, Header};
use rollmill_service::{Again, Retry, Shutdown};

use crate::error::{BlockRefusal, NodeError};
use crate::l1_events::{L1Event, L1Events, L1Position, L1Update, ProposedBlock};
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

/// Applies one update inside a transaction.
pub(crate) fn apply(
    tables: &mut Writer<'_>,
    update: &L1Update,
    retention: Retention,
) -> Result<Applied, NodeError> {
    match update {
        L1Update::Extend { to, time, finalized, events } => {
            let record = L1Record {
                position: *to,
                tips: tables.tips()?,
                low: 0,
                time: *time,
                finalized: *finalized,
            };
            extend(tables, record, events, retention)
        }
        L1Update::Rewind { to } => rewind(tables, to),
    }
}

/// Applies events up to the position of `record`. The tips of `record` are those before the events.
fn extend(
    tables: &mut Writer<'_>,
    record: L1Record,
    events: &[(u64, L1Event)],
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
                if propose(tables, tips.pending, *l1_block, proposed)? {
                    tips.pending += 1;
                }
            }
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
    tables.put_l1(&L1Record { tips, low, ..record })?;
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
    pending: u64,
    l1_block: u64,
    proposed: &ProposedBlock,
) -> Result<bool, NodeError> {
    let number = proposed.block_number;
    if tables.rejected()?.is_some() {
        tracing::warn!(block = number, error = %BlockRefusal::AfterRefused, "block not followed");
        return Ok(false);
    }
    match execute(tables, pending, l1_block, proposed)? {
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

/// Checks a proposed block against its parent and L1. The outer error is a failure of the node, the
/// inner one a fault of the block.
fn execute(
    tables: &Writer<'_>,
    pending: u64,
    l1_block: u64,
    proposed: &ProposedBlock,
) -> Result<Result<Executed, BlockRefusal>, NodeError> {
    let parent = tables.expect_block(pending)?;
    let checked = || -> Result<BlockData, BlockRefusal> {
        let (expected, got) = (pending + 1, proposed.block_number);
        if expected != got {
            return Err(BlockRefusal::OutOfOrder { expected, got });
        }
        let published =
            proposed.data.as_ref().map_err(|why| BlockRefusal::Unavailable(why.clone()))?;
        let (expected, got) = (proposed.data_hash, data_hash(published));
        if expected != got {
            return Err(BlockRefusal::DataHash { expected, got });
        }
        let data = BlockData::from_bytes(published)?;
        same_on_l1(&data.header, proposed)?;
        Ok(data)
    };
    let data = match checked() {
        Ok(data) => data,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let overlay = Overlay::new(StateView::new(tables, pending));
    let (block, overlay) = match builder::execute(&parent.header, overlay, &data) {
        Ok(done) => done,
        Err(BlockError::Storage(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(BlockRefusal::Rule(error))),
    };
    let archive_root = block.archive.append.root_after;
    let link = ChainLink::new(&block.header, parent.chain, proposed.data_hash, archive_root);
    let record = BlockRecord {
        header_hash: block.header_hash,
        header: block.header,
        archive_root,
        chain: link.chain(),
        data_hash: proposed.data_hash,
        l1_block,
    };
    if record.archive_root != proposed.archive_root {
        return Ok(Err(BlockRefusal::Mismatch { what: "the archive root" }));
    }
    if record.chain != proposed.chain {
        return Ok(Err(BlockRefusal::Mismatch { what: "the chain" }));
    }
    Ok(Ok((record, data.txs, overlay.into_parts().1)))
}

/// Compares a published header with what L1 recorded of it. Fields that L1 does not record are left to
/// `builder::execute`, which computes the whole header again and compares it.
fn same_on_l1(header: &Header, proposed: &ProposedBlock) -> Result<(), BlockRefusal> {
    // Without `..`, so that a field that L1 records in future must be compared here, or where a comment
    // says.
    let ProposedBlock {
        block_number: _, // before this, with the pending tip; `execute` has the header's
        archive_root: _, // after `execute`
        header_hash,
        data_hash: _, // before this
        chain: _,     // after `execute`
        slot,
        coinbase,
        total_fees,
        data: _, // the header is read from it
    } = proposed;
    for (what, same) in [
        ("the header hash", header.hash() == *header_hash),
        ("the slot", header.slot == *slot),
        ("the coinbase", header.coinbase == *coinbase),
        ("the sum of fees", header.total_fees == *total_fees),
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

/// Goes back to the newest L1 record up to `to` whose blocks are all still in the database. Blocks that
/// a later prune removed are read from L1 again.
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
        if position.number <= to.number && record.tips.pending <= low {
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
    tables.set_tips(target.tips)?;
    if target.position.number < u64::MAX {
        tables.forget_l1(target.position.number + 1..=u64::MAX)?;
    }
    if tables.rejected()?.is_some_and(|rejected| rejected.l1_block > target.position.number) {
        tables.clear_meta("refused")?;
    }
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
                recovered(&mut retry);
                shutdown.within(poll).await;
                continue;
            }
            Err(error) => Err(NodeError::Source(error)),
        };
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
