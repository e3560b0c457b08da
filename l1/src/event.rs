//! Events that a follower reports, and how they are read from logs.

use alloy::primitives::{Address, B256, Bytes};
use alloy::rpc::types::Log;
use alloy::sol_types::SolEvent;

use crate::abi::{Inbox, Rollup};
use crate::client::L1BlockRef;
use crate::error::L1Error;

/// The contracts whose events are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    pub rollup: Address,
    pub inbox: Address,
}

/// Where on L1 an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub block: L1BlockRef,
    pub tx_hash: B256,
    /// Position of the log in its L1 block, which orders events of one block.
    pub log_index: u64,
}

/// A block that was proposed on L1. Its transactions are in the blob with the versioned hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProposed {
    pub place: Place,
    pub block_number: u64,
    /// Archive root after the block.
    pub archive_root: B256,
    pub header_hash: B256,
    /// The contract's hash chain up to and including this block.
    pub chain: B256,
    pub slot: u64,
    pub coinbase: Address,
    pub total_fees: u128,
    pub tx_count: u16,
    /// Versioned hash of the blob; zero without transactions, as the three fields below.
    pub versioned_hash: B256,
    pub z: B256,
    pub y: B256,
    /// 48 bytes, or none.
    pub commitment: Bytes,
    /// Running hash of the messages that the block appends.
    pub in_hash: B256,
    /// Root of the block's messages to L1.
    pub out_root: B256,
    /// Bitmap of the committee's members that signed.
    pub signers: u64,
}

/// A message to L2, from anyone or, as a deposit, from the fee portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSent {
    pub place: Place,
    /// The block that appends it.
    pub block: u64,
    /// Index of its leaf in the message tree.
    pub index: u64,
    pub leaf: B256,
    pub kind: MessageKind,
}

/// What a message contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    General { sender: Address, recipient: B256, content: B256, secret_hash: B256 },
    Deposit { to: B256, units: B256 },
}

/// An epoch, or a prefix of one, whose proof the contract accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochProven {
    pub place: Place,
    pub epoch: u64,
    /// First block of the epoch, and of the proof.
    pub first_block: u64,
    /// First block that no earlier proof covered.
    pub first_added: u64,
    pub last_block: u64,
    pub prover: Address,
    /// Charged rows that were credited for the added blocks.
    pub delta: u64,
    /// Whether the proof came after the time in which the epoch's bond is returned.
    pub is_late: bool,
}

/// Blocks `proven_tip + 1` to `pruned_tip` left the chain, because nobody proved `epoch` by the end of its
/// challenge period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    pub place: Place,
    pub epoch: u64,
    pub proven_tip: u64,
    pub pruned_tip: u64,
}

/// An event on L1, in the order of L1's blocks and of the logs in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L1Event {
    BlockProposed(BlockProposed),
    MessageSent(MessageSent),
    EpochProven(EpochProven),
    Pruned(Pruned),
    /// L1 replaced every block after `to`: events that were reported from later L1 blocks are void. The
    /// events that replace them follow.
    Rewind {
        to: L1BlockRef,
    },
}

impl L1Event {
    /// The L1 block of an event; `None` for a rewind.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::BlockProposed(event) => Some(&event.place),
            Self::MessageSent(event) => Some(&event.place),
            Self::EpochProven(event) => Some(&event.place),
            Self::Pruned(event) => Some(&event.place),
            Self::Rewind { .. } => None,
        }
    }
}

/// Reads one log of the followed contracts; `None` for an event that this program does not follow. `block`
/// is the block that contains it.
///
/// # Errors
/// [`L1Error::Decode`] for a log that the contract cannot have emitted.
pub(crate) fn read(
    followed: &Followed,
    block: L1BlockRef,
    log: &Log,
) -> Result<Option<L1Event>, L1Error> {
    let (Some(tx_hash), Some(log_index)) = (log.transaction_hash, log.log_index) else {
        let reason = "a log without transaction or index".to_owned();
        return Err(L1Error::Decode { what: "log", reason });
    };
    let place = Place { block, tx_hash, log_index };
    let Some(topic) = log.topic0() else { return Ok(None) };
    // By address as well: one contract may emit an event of another's name.
    if log.address() == followed.rollup {
        rollup_event(place, *topic, log)
    } else if log.address() == followed.inbox && *topic == Inbox::MessageSent::SIGNATURE_HASH {
        message(place, log).map(|message| Some(L1Event::MessageSent(message)))
    } else {
        Ok(None)
    }
}

fn bad(what: &'static str) -> impl Fn(alloy::sol_types::Error) -> L1Error {
    move |error| L1Error::Decode { what, reason: error.to_string() }
}

fn rollup_event(place: Place, topic: B256, log: &Log) -> Result<Option<L1Event>, L1Error> {
    Ok(Some(match topic {
        Rollup::BlockProposed::SIGNATURE_HASH => {
            let e = Rollup::BlockProposed::decode_log(&log.inner).map_err(bad("BlockProposed"))?;
            let e = e.data;
            L1Event::BlockProposed(BlockProposed {
                place,
                block_number: e.blockNumber,
                archive_root: e.archiveRoot,
                header_hash: e.headerHash,
                chain: e.chain,
                slot: e.slot,
                coinbase: e.coinbase,
                total_fees: e.totalFees,
                tx_count: e.txCount,
                versioned_hash: e.versionedHash,
                z: e.z.into(),
                y: e.y.into(),
                commitment: e.commitment,
                in_hash: e.inHash,
                out_root: e.outRoot,
                signers: e.signers,
            })
        }
        Rollup::EpochProven::SIGNATURE_HASH => {
            let e = Rollup::EpochProven::decode_log(&log.inner).map_err(bad("EpochProven"))?;
            L1Event::EpochProven(EpochProven {
                place,
                epoch: e.epoch,
                first_block: e.firstBlock,
                first_added: e.firstAdded,
                last_block: e.lastBlock,
                prover: e.prover,
                delta: e.delta,
                is_late: e.inChallenge,
            })
        }
        Rollup::Pruned::SIGNATURE_HASH => {
            let e = Rollup::Pruned::decode_log(&log.inner).map_err(bad("Pruned"))?;
            L1Event::Pruned(Pruned {
                place,
                epoch: e.epoch,
                proven_tip: e.provenTip,
                pruned_tip: e.prunedTip,
            })
        }
        _ => return Ok(None),
    }))
}

fn message(place: Place, log: &Log) -> Result<MessageSent, L1Error> {
    let e = Inbox::MessageSent::decode_log(&log.inner).map_err(bad("MessageSent"))?.data;
    let kind = match e.kind {
        0 => MessageKind::General {
            sender: e.sender,
            recipient: e.recipient,
            content: e.content,
            secret_hash: e.secretHash,
        },
        1 => MessageKind::Deposit { to: e.recipient, units: e.content },
        other => {
            let reason = format!("kind {other}");
            return Err(L1Error::Decode { what: "MessageSent", reason });
        }
    };
    Ok(MessageSent { place, block: e.block, index: e.index, leaf: e.leaf, kind })
}
