//! The leaves of blocks: what the wallet's own note trees are made of.
//!
//! A header has the root of the note tree after its block. A node that leaves out or changes a note hash cannot make
//! the leaves lead to it, so a wallet that adds up all of them notices.

use rollmill_errors::Bare;
use rollmill_node_client::wire::BlockEffects;
use rollmill_protocol::tree::{Appended, Frontier};
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{BlockData, Fr, Genesis};

use crate::error::PxeError;

/// The block of this number.
///
/// # Errors
/// [`PxeError::Node`] for another one, and for one that cannot be read.
pub(crate) fn decoded(number: u64, block: &BlockEffects) -> Result<BlockData, PxeError> {
    if block.block_number != number {
        let got = block.block_number;
        return Err(PxeError::Node(format!("block {got} instead of block {number}")));
    }
    block.decode().map_err(|error| PxeError::Node(Bare(&error).to_string()))
}

/// What the notes of genesis append, and the frontier after it.
///
/// # Errors
/// [`PxeError::Node`] for more notes than the tree has leaves.
pub(crate) fn of_genesis(genesis: &Genesis) -> Result<(Vec<Appended>, Frontier), PxeError> {
    let mut frontier = Frontier::new();
    let leaves = genesis.leaves();
    let of_chunk = |chunk: &[Fr]| {
        let mut leaves = [Fr::from(0u64); SLOTS];
        leaves.iter_mut().zip(chunk).for_each(|(leaf, given)| *leaf = *given);
        frontier.append(&leaves)
    };
    let appended: Option<Vec<Appended>> = leaves.chunks(SLOTS).map(of_chunk).collect();
    let full = || PxeError::Node("its genesis has more notes than the tree has leaves".to_owned());
    Ok((appended.ok_or_else(full)?, frontier))
}

/// What a block appends after `before`, and the frontier after it.
///
/// # Errors
/// [`PxeError::NoteRoot`] unless the leaves lead to the root of the block's header.
pub(crate) fn of_block(
    before: &Frontier,
    block: &BlockData,
) -> Result<(Vec<Appended>, Frontier), PxeError> {
    let mut after = before.clone();
    let leaves = block.txs.iter().map(|tx| &tx.effects.note_hashes);
    let appended: Option<Vec<Appended>> = leaves.map(|leaves| after.append(leaves)).collect();
    let state = &block.header.state.tx_state;
    let got = after.root();
    match appended {
        Some(appended) if (got, after.count()) == (state.note_root, state.note_count) => {
            Ok((appended, after))
        }
        _ => Err(PxeError::NoteRoot {
            block: block.header.block_number,
            expected: state.note_root,
            got,
        }),
    }
}
