//! Checks a block as every follower will, and its client proofs, which only those who attest it have.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rollmill_errors::Bare;
use rollmill_l1::blob::{Blob, Kzg};
use rollmill_node::{Node, NodeError, PoolError};
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::blob::encode;
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv, require_same_header};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::tree::{Overlay, StateWrite};
use rollmill_protocol::{ApplyError, BlockError, Commitment, Tx};
use rollmill_validator_client::Proposal;

use crate::error::AttestError;

/// Most threads that verify the proofs of one proposal.
const THREADS_MAX: usize = 4;

/// Requires that the block is the one that follows the pending tip with these transactions, that its link is the
/// one that is to be signed, and that every client proof verifies. Blocks for up to about a second.
pub(crate) fn check(node: &Node, kzg: &Kzg, proposal: &Proposal) -> Result<(), AttestError> {
    if let Some(rejected) = node.tips().rejected {
        return Err(AttestError::Held { block: rejected.block_number });
    }
    let parent = node.block_record(BlockRef::Pending)?;
    let parent = parent.ok_or_else(|| NodeError::Corrupt { what: "no pending tip".to_owned() })?;
    let (pending, header) = (parent.header.block_number, &proposal.header);
    if header.block_number != pending.saturating_add(1) {
        return Err(AttestError::Number { pending, got: header.block_number });
    }
    if header.last_archive_root != parent.archive_root {
        let (expected, got) = (to_hex(&parent.archive_root), to_hex(&header.last_archive_root));
        return Err(AttestError::Parent { pending, expected, got });
    }
    let env = BlockEnv {
        slot: header.slot,
        coinbase: header.coinbase,
        messages: node.messages(header.block_number)?,
    };
    let state = Overlay::new(node.state_at(pending)?);
    let builder = BlockBuilder::new(&parent.header, state, node.config(), env).map_err(rule)?;
    let block = execute(builder, &proposal.txs)?;
    require_same_header(&block.header, header).map_err(rule)?;
    let commitment = commitment(kzg, &block)?;
    if proposal.commitment != commitment {
        return Err(AttestError::Commitment);
    }
    let chain = block.chain_link(parent.chain, &block.opening(commitment)).chain();
    if proposal.chain != chain {
        let (expected, got) = (to_hex(&chain), to_hex(&proposal.chain));
        return Err(AttestError::Chain { expected, got });
    }
    verify_proofs(node, &proposal.txs)
}

/// The block of these transactions. Other than a follower, who has effects only, this checks the anchors too.
fn execute<S: StateWrite>(mut builder: BlockBuilder<S>, txs: &[Tx]) -> Result<Block, AttestError> {
    for (index, tx) in txs.iter().enumerate() {
        builder.apply(tx).map_err(|error| match error {
            ApplyError::Rejected(rejection) => rule(BlockError::Rejected { index, rejection }),
            ApplyError::Storage(error) => NodeError::from(error).into(),
            other => NodeError::Corrupt { what: Bare(&other).to_string() }.into(),
        })?;
    }
    let (block, _) = builder.finish().map_err(rule)?;
    Ok(block)
}

/// A fault of the block; one of the store is this validator's.
fn rule(error: BlockError) -> AttestError {
    match error {
        BlockError::Storage(error) => NodeError::from(error).into(),
        error => AttestError::Rule(error),
    }
}

/// The commitment of the block's blob; zeros without transactions.
fn commitment(kzg: &Kzg, block: &Block) -> Result<Commitment, AttestError> {
    if block.txs.is_empty() {
        return Ok(Commitment::default());
    }
    let blob = Blob::from_bytes(&encode(&block.txs).map_err(AttestError::Data)?)?;
    Ok(Commitment(kzg.commit(&blob)?.0))
}

/// Verifies the client proof of each transaction, a few at a time. Of several bad ones it reports the first.
fn verify_proofs(node: &Node, txs: &[Tx]) -> Result<(), AttestError> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<(usize, PoolError)>> = Mutex::new(None);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(tx) = txs.get(index) else { break };
            if let Err(error) = node.verify_proof(tx) {
                // Later ones are not looked at, and earlier ones are taken already.
                next.fetch_max(txs.len(), Ordering::Relaxed);
                let mut failed = failed.lock();
                if failed.as_ref().is_none_or(|(first, _)| index < *first) {
                    *failed = Some((index, error));
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(THREADS_MAX).min(txs.len()) {
            scope.spawn(work);
        }
    });
    failed.into_inner().map_or(Ok(()), |(index, fault)| Err(AttestError::Proof { index, fault }))
}
