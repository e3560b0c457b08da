//! The leaves of blocks: what the wallet's own note trees are made of.
//!
//! A header has the root of the note tree after its block. A node that leaves out or changes a note hash cannot make
//! the leaves lead to it, so a wallet that adds up all of them notices. It has the root of the archive before its block
//! too, so a node that makes up a block, to leave out logs, say, cannot have a true one follow it.

use rollmill_errors::Bare;
use rollmill_node_client::wire::BlockEffects;
use rollmill_protocol::gas;
use rollmill_protocol::note::refund_leaf;
use rollmill_protocol::tree::{Appended, ArchiveFrontier, Frontier};
use rollmill_protocol::tx::{REFUND_SLOT, SLOTS};
use rollmill_protocol::{BlockData, FeePerGas, Fr, Genesis, Header, TxEffects};

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
    let price = block.header.fee_per_gas();
    let of_tx = |effects| after.append(&of_effects(effects, price)?);
    let appended: Option<Vec<Appended>> =
        block.txs.iter().map(|tx| &tx.effects).map(of_tx).collect();
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

/// The archive after a block that follows `before`.
///
/// # Errors
/// [`PxeError::Chain`] unless the header names the archive before it.
pub(crate) fn archived(
    before: &ArchiveFrontier,
    header: &Header,
) -> Result<ArchiveFrontier, PxeError> {
    let (expected, got) = (before.root(), header.last_archive_root);
    let mut after = before.clone();
    if got == expected && after.append(header.hash()).is_some() {
        return Ok(after);
    }
    Err(PxeError::Chain { block: header.block_number, expected, got })
}

/// The leaves of a transaction in a block with these prices: its note hashes, and that of the refund, which no
/// transaction names because it depends on the prices. `None` if no block can contain it.
fn of_effects(effects: &TxEffects, price: FeePerGas) -> Option<[Fr; SLOTS]> {
    let mut leaves = effects.note_hashes;
    if !effects.has_payer() {
        let [first, ..] = &effects.nullifiers;
        leaves[REFUND_SLOT] = refund_leaf(first, &effects.refund_partial, refund(effects, price)?);
    }
    Some(leaves)
}

/// The value of the refund of a transaction without a fee payer, in a block with these prices; `None` if
/// no block can contain the transaction.
pub(crate) fn refund(effects: &TxEffects, price: FeePerGas) -> Option<u64> {
    let fee = gas::fee(price, effects.gas.used()?)?;
    let due = fee.checked_add(effects.withdraw_amount)?.checked_add(effects.notes_in)?;
    effects.notes_out.checked_sub(due)
}
