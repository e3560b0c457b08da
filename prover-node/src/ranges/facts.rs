//! The facts that decide a step, read again each turn. What a process remembers itself (a rejection that
//! it just received, a proof that its task has) may be lost at any time: the next turn reads it again.

use std::collections::BTreeMap;

use super::row::{Inclusion, RangeBlock, Root};

/// Settings of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Prove whenever an epoch has this many blocks more, instead of at its end; 0 waits for the end.
    pub prefix_blocks: u64,
    /// Ranges that may be proven at once.
    pub ranges_max: usize,
    /// Prove, and send nothing to L1.
    pub dry_run: bool,
}

impl Policy {
    /// Most blocks of the range after one of so many blocks of its epoch: the next multiple of
    /// `prefix_blocks`.
    pub fn length_after(&self, covered: usize) -> usize {
        match usize::try_from(self.prefix_blocks).unwrap_or(usize::MAX) {
            0 => usize::MAX,
            prefix => (covered / prefix).saturating_add(1).saturating_mul(prefix),
        }
    }
}

/// The rollup's tips as of L1's newest final block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finalized {
    pub l1_block: u64,
    /// Unix seconds of that block.
    pub l1_time: u64,
    pub pending: u64,
    pub proven: u64,
}

/// The times of a deployment, in Unix seconds of L1's blocks. An epoch's deadlines follow from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    pub genesis_time: u64,
    /// Slots of an epoch times seconds of a slot; not 0.
    pub epoch_seconds: u64,
    /// Seconds after an epoch's end within which its proof is in time.
    pub proof_window_seconds: u64,
    /// Seconds after that in which a proof is still accepted.
    pub challenge_seconds: u64,
}

impl Schedule {
    /// The epoch of a time.
    pub fn epoch_at(&self, time: u64) -> u64 {
        time.saturating_sub(self.genesis_time) / self.epoch_seconds.max(1)
    }

    /// Last second in which a proof of the epoch is in time. The grace after a late epoch before it is not
    /// counted, so this may be early.
    pub fn window_end(&self, epoch: u64) -> u64 {
        epoch
            .saturating_add(1)
            .saturating_mul(self.epoch_seconds)
            .saturating_add(self.genesis_time)
            .saturating_add(self.proof_window_seconds)
    }

    /// Last second in which a proof of the epoch is accepted.
    pub fn accepted_until(&self, epoch: u64) -> u64 {
        self.window_end(epoch).saturating_add(self.challenge_seconds)
    }
}

/// The chain as this node follows it, the same for all rows of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// Newest L1 block that was followed.
    pub l1_head: u64,
    /// Unix seconds of that block.
    pub l1_time: u64,
    /// `None` on a chain that finalizes nothing.
    pub finalized: Option<Finalized>,
    pub pending: u64,
    pub proven: u64,
    pub schedule: Schedule,
    /// Every block, in order, of each epoch that has unproven blocks, is a row's, or has the number of
    /// a row's first or last block.
    pub epochs: BTreeMap<u64, Vec<RangeBlock>>,
    /// Fence of the submitter's lease while this process holds it and renewed it lately.
    pub lease: Option<u64>,
}

impl Chain {
    /// Blocks of the epoch.
    pub fn blocks(&self, epoch: u64) -> &[RangeBlock] {
        self.epochs.get(&epoch).map_or(&[], Vec::as_slice)
    }

    /// The block of that number, if it is of that epoch.
    pub fn block(&self, epoch: u64, number: u64) -> Option<&RangeBlock> {
        self.blocks(epoch).iter().find(|block| block.number == number)
    }

    /// The block of that number, whatever its epoch, if it was read.
    pub fn any(&self, number: u64) -> Option<&RangeBlock> {
        self.epochs.values().flatten().find(|block| block.number == number)
    }

    /// Whether a proof of the epoch can no longer be accepted after L1's newest block.
    pub fn is_closed(&self, epoch: u64) -> bool {
        self.l1_time >= self.schedule.accepted_until(epoch)
    }

    /// Whether no further block of the epoch can be proposed.
    pub fn has_ended(&self, epoch: u64) -> bool {
        let followed = self.epochs.range(epoch.saturating_add(1)..).any(|(_, b)| !b.is_empty());
        self.schedule.epoch_at(self.l1_time) > epoch || followed
    }
}

/// The state of a range's proving task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proof {
    /// Not running, or not done.
    #[default]
    Open,
    /// The root proof is verified and on disk.
    Ready(Root),
    /// Retrying does not help.
    Failed { reason: String },
}

/// What the sender knows about a range's attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// In no block.
    Pending,
    /// One of the attempts succeeded.
    Included(Inclusion),
    /// The present attempt is in a block and reverted.
    Reverted { tx_hash: String },
    /// Another transaction used the present attempt's nonce, or it expired.
    Lost,
}

/// Why the present attempt was not sent at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitFailure {
    /// The range does not follow the proven tip, or ends at or below it. The tips show which.
    Order { reason: String },
    /// The challenge period is over.
    Late { reason: String },
    /// The contract rejects the proof, or expects other public inputs: sending it again is futile.
    Rejected { reason: String },
    /// L1 did not respond, or the account cannot pay now. Nothing is known about the proof.
    Transient { reason: String },
    /// The simulation reverts for an unknown reason.
    Unknown { reason: String },
}

/// A command of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Retry,
    Abandon,
}

/// Facts about one row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// Whether fewer than `ranges_max` ranges are being proven.
    pub place: bool,
    /// Whether the transactions of the first block are stored.
    pub gathered: bool,
    pub proof: Proof,
    /// Whether the root's bytes can be read and are those that were written.
    pub root_readable: bool,
    pub sent: Option<Sent>,
    pub failure: Option<SubmitFailure>,
    /// Whether the broker has cancelled the unneeded jobs of this range.
    pub cleaned: bool,
    /// Whether the range's failure has been captured.
    pub captured: bool,
    pub command: Option<Command>,
}
