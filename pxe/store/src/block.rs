//! Blocks: the facts that they state, and how they are undone.

use std::collections::BTreeSet;

use rollmill_protocol::Fr;
use rollmill_protocol::tree::{Appended, ArchiveFrontier, Frontier, frontier};

use crate::error::StoreError;
use crate::file::Writer;
use crate::scope::Scope;
use crate::store::Header;
use crate::tables::{
    Account, Archives, Blocks, Claims, Deferred, Event, Events, Facts, Frontiers, Included, Marks,
    Meta, Nodes, Note, Notes, Nullified, Payload, RowAddress, SeenTags, Undo,
};

/// Number of the last block that was read.
pub(crate) const TIP: &str = "tip";
/// Number of the last block that cannot be undone.
pub(crate) const FINALIZED: &str = "finalized";
/// Number of the first block that was read.
pub(crate) const FIRST: &str = "first";
/// Rows of seen tags of one pair beyond which those of finalized blocks are merged.
const SEEN_ROWS: usize = 8;

/// A named number.
pub(crate) fn number(writer: &Writer<'_>, name: &str) -> Result<Option<u64>, StoreError> {
    writer.rows.get::<Meta>(&name.to_owned())
}

pub(crate) fn set_number(
    writer: &mut Writer<'_>,
    name: &str,
    value: u64,
) -> Result<(), StoreError> {
    writer.put::<Meta>(&name.to_owned(), &value)
}

/// Adds facts of one block. A fact is never changed: stated again, it must be the same.
pub struct BlockStep<'w, 't> {
    writer: &'w mut Writer<'t>,
    scope: &'w Scope,
    block: u64,
    /// The rows that vanish with the block.
    undo: Vec<RowAddress>,
}

impl std::fmt::Debug for BlockStep<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStep").field("block", &self.block).finish_non_exhaustive()
    }
}

/// [`crate::Store::read_block`].
pub(crate) fn read<R>(
    writer: &mut Writer<'_>,
    scope: &Scope,
    header: &Header,
    work: impl FnOnce(&mut BlockStep<'_, '_>) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    match number(writer, TIP)? {
        None => set_number(writer, FIRST, header.number)?,
        Some(tip) => {
            let expected = tip.saturating_add(1);
            if header.number != expected {
                return Err(StoreError::Order { expected, got: header.number });
            }
        }
    }
    set_number(writer, TIP, header.number)?;
    let mut step = BlockStep { writer, scope, block: header.number, undo: Vec::new() };
    step.fact::<Blocks>(&header.number, &(header.hash, header.slot))?;
    let result = work(&mut step)?;
    step.close()?;
    Ok(result)
}

/// Whether a block was read, and not undone since.
fn is_read(writer: &Writer<'_>, block: u64) -> Result<bool, StoreError> {
    Ok(match (number(writer, FIRST)?, number(writer, TIP)?) {
        (Some(first), Some(tip)) => (first..=tip).contains(&block),
        _ => false,
    })
}

/// [`crate::Store::read_again`].
pub(crate) fn read_again<R>(
    writer: &mut Writer<'_>,
    scope: &Scope,
    block: u64,
    work: impl FnOnce(&mut BlockStep<'_, '_>) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    if !is_read(writer, block)? {
        let expected = number(writer, TIP)?.unwrap_or_default();
        return Err(StoreError::Order { expected, got: block });
    }
    let mut step = BlockStep { writer, scope, block, undo: Vec::new() };
    let result = work(&mut step)?;
    step.close()?;
    Ok(result)
}

/// [`crate::Store::rewind`].
pub(crate) fn rewind(writer: &mut Writer<'_>, block: u64) -> Result<(), StoreError> {
    let Some(tip) = number(writer, TIP)?.filter(|tip| *tip > block) else { return Ok(()) };
    if let Some(finalized) = number(writer, FINALIZED)?.filter(|finalized| block < *finalized) {
        return Err(StoreError::Finalized { block, finalized });
    }
    let first = number(writer, FIRST)?.unwrap_or_default();
    for undone in (block.saturating_add(1).max(first)..=tip).rev() {
        for row in writer.rows.get::<Undo>(&undone)?.unwrap_or_default() {
            writer.remove_address(&row)?;
        }
        writer.remove::<Undo>(&undone)?;
    }
    if block < first {
        set_number(writer, FIRST, block.saturating_add(1))?;
    }
    set_number(writer, TIP, block)
}

/// [`crate::Store::finalize`].
pub(crate) fn finalize(writer: &mut Writer<'_>, block: u64) -> Result<(), StoreError> {
    // After one before the first, the next call would go through all blocks between the two.
    if !is_read(writer, block)? {
        let expected = number(writer, TIP)?.unwrap_or_default();
        return Err(StoreError::Order { expected, got: block });
    }
    let finalized = number(writer, FINALIZED)?;
    if finalized.is_some_and(|finalized| block <= finalized) {
        return Ok(());
    }
    let first = number(writer, FIRST)?.unwrap_or_default();
    for settled in finalized.unwrap_or(first)..=block {
        writer.remove::<Undo>(&settled)?;
        // The header of the finalized block stays, to notice another chain, and its tree, for anchors.
        if settled < block {
            writer.remove::<Blocks>(&settled)?;
            writer.remove::<Frontiers>(&settled)?;
            writer.remove::<Archives>(&settled)?;
        }
    }
    set_number(writer, FINALIZED, block)
}

impl BlockStep<'_, '_> {
    /// Number of the block.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// Adds a note of an account, in the block of this step. Returns whether it is new.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], and [`StoreError::Conflict`] for another note with this leaf.
    pub fn note(
        &mut self,
        account: &Account,
        leaf_index: u64,
        note: Note,
    ) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let note = Note { block: self.block, ..note };
        self.fact::<Notes>(&(*account, leaf_index), &note)
    }

    /// Records that a nullifier of an account was published.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], and [`StoreError::Conflict`] when another block published it.
    pub fn nullify(&mut self, account: &Account, nullifier: &Fr) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let block = self.block;
        self.fact::<Nullified>(&(*account, *nullifier), &block)
    }

    /// Keeps a message for a contract that is not registered, until it is.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub fn defer(
        &mut self,
        account: &Account,
        contract: &Fr,
        (tx_hash, index): (&Fr, u64),
        words: Vec<Fr>,
    ) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let payload = Payload { block: self.block, words };
        self.fact::<Deferred>(&(*account, *contract, *tx_hash, index), &payload)
    }

    /// Forgets a deferred message of this block, whose notes the same step adds. Returns whether it was there.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], and [`StoreError::Conflict`] for a message of another block.
    pub fn resolve(
        &mut self,
        account: &Account,
        contract: &Fr,
        (tx_hash, index): (&Fr, u64),
    ) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let key = (*account, *contract, *tx_hash, index);
        match self.writer.rows.get::<Deferred>(&key)? {
            Some(payload) if payload.block != self.block => {
                Err(StoreError::Conflict { what: "a deferred note" })
            }
            _ => {
                self.keep(&RowAddress::of::<Deferred>(&key))?;
                self.writer.remove::<Deferred>(&key)
            }
        }
    }

    /// Takes a row out of what vanishes with the block: another block may state it again.
    fn keep(&mut self, row: &RowAddress) -> Result<(), StoreError> {
        self.undo.retain(|undone| undone != row);
        let Some(mut rows) = self.writer.rows.get::<Undo>(&self.block)? else { return Ok(()) };
        rows.retain(|undone| undone != row);
        self.writer.put::<Undo>(&self.block, &rows)
    }

    /// Adds a private event that an account received, in the block of this step.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub fn event(
        &mut self,
        account: &Account,
        contract: &Fr,
        (tx_hash, index): (&Fr, u64),
        event: Event,
    ) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let event = Event { block: self.block, ..event };
        self.fact::<Events>(&(*account, *contract, *tx_hash, index), &event)
    }

    /// Records that the log of this index of a pair was seen, whose tags follow from `secret`.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn see_tag(
        &mut self,
        account: &Account,
        secret: &Fr,
        index: u64,
    ) -> Result<(), StoreError> {
        self.scope.check(account)?;
        let key = (*account, *secret, self.block);
        match self.writer.rows.get::<SeenTags>(&key)? {
            Some(highest) if highest >= index => return Ok(()),
            Some(_) => self.writer.put::<SeenTags>(&key, &index)?,
            None => {
                self.writer.put::<SeenTags>(&key, &index)?;
                self.undo.push(RowAddress::of::<SeenTags>(&key));
            }
        }
        self.merge_seen(account, secret)
    }

    /// Of the rows of finalized blocks, only the one with the highest index is needed.
    fn merge_seen(&mut self, account: &Account, secret: &Fr) -> Result<(), StoreError> {
        let finalized = number(self.writer, FINALIZED)?;
        let mut rows = self.writer.rows.list::<SeenTags>(&(*account, *secret))?;
        rows.retain(|((_, _, block), _)| finalized.is_some_and(|finalized| *block <= finalized));
        if rows.len() <= SEEN_ROWS {
            return Ok(());
        }
        rows.sort_unstable_by_key(|(key, index)| (*index, key.2));
        rows.pop();
        for (key, _) in rows {
            self.writer.remove::<SeenTags>(&key)?;
        }
        Ok(())
    }

    /// Records that the block has a transaction of the account.
    ///
    /// # Errors
    /// As [`Self::nullify`].
    pub fn include(&mut self, account: &Account, tx_hash: &Fr) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let block = self.block;
        self.fact::<Included>(&(*account, *tx_hash), &block)
    }

    /// Records that the block claims a deposit of the account.
    ///
    /// # Errors
    /// As [`Self::nullify`].
    pub fn claim(&mut self, account: &Account, index: u64) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let block = self.block;
        self.fact::<Claims>(&(*account, index), &block)
    }

    /// Adds what the block appends to the note tree, as far as paths need it: the subtrees at these positions if the
    /// block appends them, complete nodes to the right of marked ones, and the frontier after the block. `marks` has
    /// the positions of all subtrees that matter, those of earlier blocks too.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the block was read with other leaves.
    pub fn grow(
        &mut self,
        appended: &[Appended],
        marks: &BTreeSet<u64>,
        after: &Frontier,
    ) -> Result<(), StoreError> {
        for Appended { position, mark, .. } in appended {
            if marks.contains(position) {
                self.fact::<Marks>(position, &(mark.leaves.to_vec(), mark.left.clone()))?;
            }
        }
        for node in frontier::kept(appended, marks) {
            self.fact::<Nodes>(&(node.level, node.index), &node.value)?;
        }
        // No transaction names an anchor before the finalized block.
        if self.is_settled()? {
            return Ok(());
        }
        let block = self.block;
        self.fact::<Frontiers>(&block, &(after.count(), after.nodes().to_vec())).map(|_| ())
    }

    /// Adds the frontier of the archive after the block, by which the header of the next one is checked.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the block was read with another header, or on other blocks.
    pub fn archive(&mut self, after: &ArchiveFrontier) -> Result<(), StoreError> {
        // The next block is never one before the finalized block.
        if self.is_settled()? {
            return Ok(());
        }
        let (block, nodes) = (self.block, after.nodes().to_vec());
        self.fact::<Archives>(&block, &nodes).map(|_| ())
    }

    /// Records the hash of the genesis header, by which the blocks are those of one network.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a block of another network was read.
    pub fn network(&mut self, genesis_header_hash: &Fr) -> Result<(), StoreError> {
        // The frontier of the archive after block 0.
        let nodes = vec![*genesis_header_hash];
        self.fact::<Archives>(&0, &nodes).map(|_| ())
    }

    /// Whether the block comes before the finalized one.
    fn is_settled(&self) -> Result<bool, StoreError> {
        let finalized = number(self.writer, FINALIZED)?;
        Ok(finalized.is_some_and(|finalized| self.block < finalized))
    }

    fn fact<S: Facts>(&mut self, key: &S::Key, value: &S::Value) -> Result<bool, StoreError>
    where
        S::Value: PartialEq,
    {
        match self.writer.rows.get::<S>(key)? {
            Some(known) if known == *value => Ok(false),
            Some(_) => Err(StoreError::Conflict { what: S::NAME }),
            None => {
                self.writer.put::<S>(key, value)?;
                self.undo.push(RowAddress::of::<S>(key));
                Ok(true)
            }
        }
    }

    /// Writes what undoes the step, unless its block is finalized.
    fn close(self) -> Result<(), StoreError> {
        let finalized = number(self.writer, FINALIZED)?;
        if self.undo.is_empty() || finalized.is_some_and(|finalized| self.block <= finalized) {
            return Ok(());
        }
        let mut rows = self.writer.rows.get::<Undo>(&self.block)?.unwrap_or_default();
        rows.extend(self.undo);
        self.writer.put::<Undo>(&self.block, &rows)
    }
}
