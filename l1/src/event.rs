//! What a follower reports, and how it is read out of logs and transactions.

use alloy::consensus::Transaction as _;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider;
use alloy::rpc::types::Log;
use alloy::sol_types::{SolCall, SolEvent};
use sha2::{Digest, Sha256};

use crate::abi::Rollup;
use crate::client::{L1BlockRef, L1Client};
use crate::error::L1Error;

/// Where on L1 an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub block: L1BlockRef,
    pub tx_hash: B256,
    /// Position of the log in its L1 block, which orders events of one block.
    pub log_index: u64,
}

/// A block that the proposer put on L1, with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProposed {
    pub place: Place,
    pub block_number: u64,
    pub slot: u64,
    /// Archive root after the block.
    pub archive_root: B256,
    pub header_hash: B256,
    pub data_hash: B256,
    /// The contract's hash chain up to and including this block.
    pub chain: B256,
    pub coinbase: Address,
    pub total_fees: u128,
    /// The block's canonical bytes; their hash is `data_hash`, which has been checked.
    pub data: Bytes,
}

/// An epoch, or a prefix of one, whose proof the contract accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochProven {
    pub place: Place,
    pub epoch: u64,
    pub first_block: u64,
    pub last_block: u64,
    pub prover: Address,
    /// Archive root after `last_block`.
    pub archive_root: B256,
    pub num_constraints: u64,
}

/// Blocks `proven_tip + 1` to `pruned_tip` left the chain, because `epoch` missed its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    pub place: Place,
    pub epoch: u64,
    pub proven_tip: u64,
    pub pruned_tip: u64,
}

/// One thing that happened on L1, in the order of L1's blocks and of logs in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L1Event {
    BlockProposed(BlockProposed),
    EpochProven(EpochProven),
    Pruned(Pruned),
    /// L1 replaced every block after `to`: whatever was reported from L1 blocks with a higher number
    /// did not happen. What happened instead follows.
    Rewind {
        to: L1BlockRef,
    },
}

impl L1Event {
    /// The L1 block an event comes from; none for a rewind, which comes from none.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::BlockProposed(event) => Some(&event.place),
            Self::EpochProven(event) => Some(&event.place),
            Self::Pruned(event) => Some(&event.place),
            Self::Rewind { .. } => None,
        }
    }
}

/// SHA-256 of a block's bytes with the top byte zeroed, as the contract stores it.
pub fn data_hash(data: &[u8]) -> B256 {
    let mut digest: [u8; 32] = Sha256::digest(data).into();
    digest[0] = 0;
    B256::from(digest)
}

/// What reading a log gave.
pub(crate) enum Read {
    Event(Box<L1Event>),
    /// An event that this program does not follow.
    Other,
    /// The transaction is gone: L1 was reorganised after the log was fetched.
    Gone,
}

/// Reads one log of the rollup. `block` is the block it lies in.
pub(crate) async fn read(client: &L1Client, block: L1BlockRef, log: &Log) -> Result<Read, L1Error> {
    let bad = |what| {
        move |error: alloy::sol_types::Error| L1Error::Decode { what, reason: error.to_string() }
    };
    let (Some(tx_hash), Some(log_index)) = (log.transaction_hash, log.log_index) else {
        let reason = "a log without transaction or index".to_owned();
        return Err(L1Error::Decode { what: "log", reason });
    };
    let place = Place { block, tx_hash, log_index };
    let Some(topic) = log.topic0() else { return Ok(Read::Other) };
    let event = match *topic {
        Rollup::BlockProposed::SIGNATURE_HASH => {
            let e = Rollup::BlockProposed::decode_log(&log.inner).map_err(bad("BlockProposed"))?;
            let Some(data) = proposal_data(client, &place, e.blockNumber, e.dataHash).await? else {
                return Ok(Read::Gone);
            };
            L1Event::BlockProposed(BlockProposed {
                place,
                block_number: e.blockNumber,
                slot: e.slot,
                archive_root: e.archiveRoot,
                header_hash: e.headerHash,
                data_hash: e.dataHash,
                chain: e.chain,
                coinbase: e.coinbase,
                total_fees: e.totalFees,
                data,
            })
        }
        Rollup::EpochProven::SIGNATURE_HASH => {
            let e = Rollup::EpochProven::decode_log(&log.inner).map_err(bad("EpochProven"))?;
            L1Event::EpochProven(EpochProven {
                place,
                epoch: e.epoch,
                first_block: e.firstBlock,
                last_block: e.lastBlock,
                prover: e.prover,
                archive_root: e.archiveRoot,
                num_constraints: e.numConstraints,
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
        _ => return Ok(Read::Other),
    };
    Ok(Read::Event(Box::new(event)))
}

/// The data of a proposal, out of its transaction's input, checked against the event.
///
/// Only the proposer's own account may propose, so the call is the transaction itself.
async fn proposal_data(
    client: &L1Client,
    place: &Place,
    block_number: u64,
    hash: B256,
) -> Result<Option<Bytes>, L1Error> {
    let tx_hash = place.tx_hash;
    let tx = client.provider().get_transaction_by_hash(tx_hash).await;
    let Some(tx) = tx.map_err(L1Error::rpc("transaction"))? else { return Ok(None) };
    let wrong = |reason: String| L1Error::BlockData { block_number, tx_hash, reason };
    let call = Rollup::proposeCall::abi_decode(tx.input())
        .map_err(|error| wrong(format!("its input is no call of propose: {error}")))?;
    if call.args.blockNumber != block_number {
        return Err(wrong(format!("it proposes block {}", call.args.blockNumber)));
    }
    let got = data_hash(&call.data);
    if got != hash {
        return Err(wrong(format!("its data hashes to {got}, the contract has {hash}")));
    }
    Ok(Some(call.data))
}
