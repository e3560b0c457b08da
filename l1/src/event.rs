//! Events that a follower reports, and how they are read from logs and transactions.

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

/// A block that the proposer posted to L1, with its data.
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
    /// The block's canonical bytes, whose hash is `data_hash` (checked), or why they are unavailable.
    pub data: Result<Bytes, Unavailable>,
}

/// The data of a proposal cannot be read from its L1 transaction, although L1 answers.
///
/// Do: Nothing: the node stops before the block until it is pruned. If other nodes follow the block, the
/// endpoint answered wrongly: use another L1 endpoint and start with an empty `--node-data-dir`.
///
/// This is not the endpoint's fault and is permanent: a follower must continue without the data, and
/// so sees the prune that removes the block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: data of block {block_number} in L1 transaction {tx_hash}: {reason}", code = self.code())]
pub struct Unavailable {
    pub block_number: u64,
    pub tx_hash: B256,
    pub reason: String,
}

rollmill_errors::coded! {
    Unavailable {
        Self { .. } => "L1-007",
    }
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

/// An event on L1, in the order of L1's blocks and of the logs in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L1Event {
    BlockProposed(BlockProposed),
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

/// The result of reading a log.
pub(crate) enum Read {
    Event(Box<L1Event>),
    /// An event that this program does not follow.
    Other,
    /// The transaction no longer exists: L1 was reorganised after the log was fetched.
    Gone,
}

/// Reads one log of the rollup. `block` is the block that contains it.
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

/// Reads the data of a proposal from its transaction's input and checks it against the event; `None` if
/// L1 no longer has the transaction.
///
/// The contract accepts a proposal only from the transaction itself, so the call is the input. That
/// is the contract's rule, not L1's: anything else is reported as [`Unavailable`].
///
/// # Errors
/// Only when L1 does not respond.
async fn proposal_data(
    client: &L1Client,
    place: &Place,
    block_number: u64,
    hash: B256,
) -> Result<Option<Result<Bytes, Unavailable>>, L1Error> {
    let tx_hash = place.tx_hash;
    let tx = client.provider().get_transaction_by_hash(tx_hash).await;
    let Some(tx) = tx.map_err(L1Error::rpc("transaction"))? else { return Ok(None) };
    let found = data_in(tx.input(), block_number, hash);
    Ok(Some(found.map_err(|reason| Unavailable { block_number, tx_hash, reason })))
}

/// The data of block `block_number` in the input of an L1 transaction.
fn data_in(input: &[u8], block_number: u64, hash: B256) -> Result<Bytes, String> {
    let call = Rollup::proposeCall::abi_decode(input)
        .map_err(|error| format!("the input is no call of propose: {error}"))?;
    if call.args.blockNumber != block_number {
        return Err(format!("the input proposes block {}", call.args.blockNumber));
    }
    let got = data_hash(&call.data);
    if got != hash {
        return Err(format!("the data hashes to {got}, the contract has {hash}"));
    }
    Ok(call.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{ProposeArgs, propose_calldata};

    /// Every way in which an L1 transaction can fail to contain the data of the block it proposed.
    #[test]
    fn data_that_is_not_the_proposals_is_reported_with_the_reason() {
        let args = ProposeArgs {
            blockNumber: 7,
            slot: 1,
            previousArchiveRoot: B256::ZERO,
            archiveRoot: B256::ZERO,
            headerHash: B256::ZERO,
            coinbase: Address::ZERO,
            totalFees: 0,
        };
        let honest = propose_calldata(args, b"data".to_vec());
        let hash = data_hash(b"data");
        assert_eq!(data_in(&honest, 7, hash).unwrap(), Bytes::from_static(b"data"));
        for (input, number, hash, expected) in [
            (&[][..], 7, hash, "no call of propose"),
            (&honest[..3], 7, hash, "no call of propose"),
            (&honest[..honest.len() - 40], 7, hash, "no call of propose"),
            (&[0x12, 0x34, 0x56, 0x78, 0], 7, hash, "no call of propose"),
            (&honest[..], 8, hash, "the input proposes block 7"),
            (&honest[..], 7, data_hash(b"other"), "the data hashes to"),
        ] {
            let why = data_in(input, number, hash).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
