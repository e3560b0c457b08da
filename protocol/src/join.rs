//! How ranges become larger ranges: the plain twins of TxBase, TxMerge, BlockRoot, BlockMerge and
//! EpochRoot, without the proofs. The pair of the result comes from folding the children's proofs,
//! so the caller hands it in.

use ark_ff::Zero;
use rollmill_algebra::Fr;
use rollmill_algebra::pair::Pair;

use crate::block::ChainLink;
use crate::builder::Block;
use crate::charge::ChargedRows;
use crate::circuit::Circuit;
use crate::field::{self, EthAddress};
use crate::gas::FeePerGas;
use crate::header::Header;
use crate::public_inputs::{BlockRange, Constants, EpochRoot, TxRange};
use crate::state::TxTransition;

/// Why ranges do not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The children were made under different constants.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {what} differs between children", code = self.code())]
    Constants { what: &'static str },
    /// The right child does not start where the left one ends.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {what}: the right child does not start where the left one ends", code = self.code())]
    Gap { what: &'static str },
    /// A child covers an empty range.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: an empty range cannot be joined", code = self.code())]
    Empty,
    /// A sum overflows.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {what} overflows", code = self.code())]
    Overflow { what: &'static str },
    /// A child contradicts the block's header.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {what} is not what the header says", code = self.code())]
    Header { what: &'static str },
    /// The circuit has no variant for this number of children.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {circuit} has no variant for {got} children", code = self.code())]
    Children { circuit: &'static str, got: usize },
    /// The range leaves its epoch, or an epoch has no slots.
    ///
    /// Do: Check the contract's number of slots per epoch. Otherwise report a bug in Rollmill with
    /// the range's capture.
    #[error("{code}: slots {first} to {last} are not in one epoch of {slots_per_epoch} slots", code = self.code())]
    Epoch { first: u64, last: u64, slots_per_epoch: u64 },
    /// A value that must be zero until the bridge exists is not zero.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {what} must be zero, got {}", field::to_hex(.got), code = self.code())]
    Bridge { what: &'static str, got: Fr },
    /// A field of a header does not follow from the parent's header or from the deployment's constants.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the header's {what} does not follow from its parent or the deployment", code = self.code())]
    Parent { what: &'static str },
}

rollmill_errors::coded! {
    JoinError {
        Self::Constants { .. } => "PRO-070",
        Self::Gap { .. } => "PRO-071",
        Self::Empty => "PRO-072",
        Self::Overflow { .. } => "PRO-073",
        Self::Header { .. } => "PRO-074",
        Self::Children { .. } => "PRO-075",
        Self::Epoch { .. } => "PRO-076",
        Self::Bridge { .. } => "PRO-077",
        Self::Parent { .. } => "PRO-078",
    }
}

fn same<T: PartialEq>(what: &'static str, left: &T, right: &T) -> Result<(), JoinError> {
    if left == right { Ok(()) } else { Err(JoinError::Constants { what }) }
}

fn adjacent<T: PartialEq>(what: &'static str, end: &T, start: &T) -> Result<(), JoinError> {
    if end == start { Ok(()) } else { Err(JoinError::Gap { what }) }
}

fn named<T: PartialEq>(what: &'static str, range: &T, header: &T) -> Result<(), JoinError> {
    if range == header { Ok(()) } else { Err(JoinError::Header { what }) }
}

impl TxRange {
    /// What TxBase states of a transaction.
    pub fn of_tx(
        transition: &TxTransition,
        constants: Constants,
        price: FeePerGas,
        pair: Pair,
    ) -> Self {
        let effects = &transition.effects;
        Self {
            constants,
            anchor_archive_root: transition.anchor.archive_root,
            fee_per_l2_gas: price.l2,
            fee_per_da_gas: price.da,
            start: effects.start,
            end: effects.end,
            txs_chain_start: effects.txs_chain_start,
            txs_chain_end: effects.txs_chain_end,
            fees_sum: effects.fee.into(),
            tx_count: 1,
            pair,
        }
    }

    /// What TxMerge states of this range followed by `right`.
    pub fn join(&self, right: &Self, pair: Pair) -> Result<Self, JoinError> {
        same("constants", &self.constants, &right.constants)?;
        same("anchor_archive_root", &self.anchor_archive_root, &right.anchor_archive_root)?;
        same("fee_per_l2_gas", &self.fee_per_l2_gas, &right.fee_per_l2_gas)?;
        same("fee_per_da_gas", &self.fee_per_da_gas, &right.fee_per_da_gas)?;
        if self.tx_count == 0 || right.tx_count == 0 {
            return Err(JoinError::Empty);
        }
        adjacent("state", &self.end, &right.start)?;
        adjacent("txs_chain", &self.txs_chain_end, &right.txs_chain_start)?;
        let fees_sum = self.fees_sum.checked_add(right.fees_sum);
        let tx_count = self.tx_count.checked_add(right.tx_count);
        Ok(Self {
            constants: self.constants,
            anchor_archive_root: self.anchor_archive_root,
            fee_per_l2_gas: self.fee_per_l2_gas,
            fee_per_da_gas: self.fee_per_da_gas,
            start: self.start,
            end: right.end,
            txs_chain_start: self.txs_chain_start,
            txs_chain_end: right.txs_chain_end,
            fees_sum: fees_sum.ok_or(JoinError::Overflow { what: "fees_sum" })?,
            tx_count: tx_count.ok_or(JoinError::Overflow { what: "tx_count" })?,
            pair,
        })
    }
}

impl BlockRange {
    /// What BlockRoot states of a block whose transactions `ranges` (0, 1 or 2) cover. `link` is
    /// the block's link in L1's chain.
    pub fn of_block(
        ranges: &[TxRange],
        block: &Block,
        link: &ChainLink,
        constants: Constants,
        prover_id: EthAddress,
        rows: &ChargedRows,
        pair: Pair,
    ) -> Result<Self, JoinError> {
        let header = &block.header;
        match ranges {
            [] => {
                named("state", &block.start.tx_state, &block.end.tx_state)?;
                named("tx_count", &0, &header.tx_count)?;
                named("total_fees", &0, &header.total_fees)?;
                named("txs_chain", &Fr::zero(), &header.txs_chain)?;
            }
            [range] => covers(range, block, &constants)?,
            [left, right] => covers(&left.join(right, pair)?, block, &constants)?,
            _ => {
                return Err(JoinError::Children { circuit: "block_root", got: ranges.len() });
            }
        }
        closes(block, link, &constants)?;
        let num_constraints =
            rows.block(header.tx_count).ok_or(JoinError::Overflow { what: "num_constraints" })?;
        Ok(Self {
            constants,
            prover_id,
            prev_archive_root: block.archive.append.root_before,
            end_archive_root: block.archive.append.root_after,
            first_block: header.block_number,
            last_block: header.block_number,
            first_slot: header.slot,
            last_slot: header.slot,
            chain_start: link.chain_prev,
            chain_end: link.chain(),
            out_hash: header.out_hash,
            num_constraints,
            pair,
        })
    }

    /// What BlockMerge states of this range followed by `right`.
    pub fn join(&self, right: &Self, rows: &ChargedRows, pair: Pair) -> Result<Self, JoinError> {
        self.join_charging(right, rows.of(Circuit::BlockMerge), pair)
    }

    fn join_charging(&self, right: &Self, rows: u64, pair: Pair) -> Result<Self, JoinError> {
        same("constants", &self.constants, &right.constants)?;
        same("prover_id", &self.prover_id, &right.prover_id)?;
        if self.last_block < self.first_block || right.last_block < right.first_block {
            return Err(JoinError::Empty);
        }
        adjacent("archive", &self.end_archive_root, &right.prev_archive_root)?;
        adjacent("block number", &self.last_block.checked_add(1), &Some(right.first_block))?;
        adjacent("chain", &self.chain_end, &right.chain_start)?;
        if right.first_slot <= self.last_slot {
            return Err(JoinError::Gap { what: "slot" });
        }
        for got in [self.out_hash, right.out_hash] {
            if !got.is_zero() {
                return Err(JoinError::Bridge { what: "out_hash", got });
            }
        }
        let num_constraints = self
            .num_constraints
            .checked_add(right.num_constraints)
            .and_then(|sum| sum.checked_add(rows))
            .ok_or(JoinError::Overflow { what: "num_constraints" })?;
        Ok(Self {
            constants: self.constants,
            prover_id: self.prover_id,
            prev_archive_root: self.prev_archive_root,
            end_archive_root: right.end_archive_root,
            first_block: self.first_block,
            last_block: right.last_block,
            first_slot: self.first_slot,
            last_slot: right.last_slot,
            chain_start: self.chain_start,
            chain_end: right.chain_end,
            out_hash: self.out_hash,
            num_constraints,
            pair,
        })
    }
}

/// Checks the fields of a header besides the range of transactions: the native rules of a header, with
/// [`covers`] for what comes from the range.
fn closes(block: &Block, link: &ChainLink, constants: &Constants) -> Result<(), JoinError> {
    // Without `..`, so that a new field needs a rule here, or the place of its rule.
    let Header {
        chain_id,
        version,
        block_number,
        slot,
        timestamp,
        coinbase: _,       // the proposer's choice
        fee_per_l2_gas: _, // `covers`; free in a block without transactions
        fee_per_da_gas: _, // likewise
        total_fees: _,     // `covers`
        tx_count: _,       // `covers`
        last_archive_root,
        state,
        txs_chain: _, // `covers`
        in_hash,
        out_hash,
    } = &block.header;
    let parent = &block.parent;
    for (holds, what) in [
        (parent.chain_id == constants.chain_id, "parent's chain id"),
        (*chain_id == constants.chain_id, "chain id"),
        (parent.version == constants.version, "parent's version"),
        (*version == constants.version, "version"),
        (parent.block_number.checked_add(1) == Some(*block_number), "block number"),
        (parent.slot < *slot, "slot"),
        (parent.timestamp < *timestamp, "timestamp"),
    ] {
        if !holds {
            return Err(JoinError::Parent { what });
        }
    }
    named("last_archive_root", &block.archive.append.root_before, last_archive_root)?;
    named("state", &block.end, state)?;
    named("parent's state", &block.start, &parent.state)?;
    named("message_root", &block.start.message_root, &block.end.message_root)?;
    named("message_count", &block.start.message_count, &block.end.message_count)?;
    named("header_hash", &link.header_hash, &block.header_hash)?;
    named("archive_root", &link.archive_root, &block.archive.append.root_after)?;
    for (what, got) in [("in_hash", *in_hash), ("out_hash", *out_hash)] {
        if !got.is_zero() {
            return Err(JoinError::Bridge { what, got });
        }
    }
    Ok(())
}

/// Checks that `range` is the whole of `block`.
fn covers(range: &TxRange, block: &Block, constants: &Constants) -> Result<(), JoinError> {
    let header = &block.header;
    // Without `..`, so that a new field of a range must be compared with the block here.
    let TxRange {
        constants: range_constants,
        anchor_archive_root,
        fee_per_l2_gas,
        fee_per_da_gas,
        start,
        end,
        txs_chain_start,
        txs_chain_end,
        fees_sum,
        tx_count,
        pair: _, // folded into the result's by the caller
    } = range;
    if *tx_count == 0 {
        return Err(JoinError::Empty);
    }
    same("constants", range_constants, constants)?;
    named("anchor_archive_root", anchor_archive_root, &block.archive.append.root_before)?;
    named("fee_per_l2_gas", fee_per_l2_gas, &header.fee_per_l2_gas)?;
    named("fee_per_da_gas", fee_per_da_gas, &header.fee_per_da_gas)?;
    named("start state", start, &block.start.tx_state)?;
    named("end state", end, &block.end.tx_state)?;
    named("txs_chain start", txs_chain_start, &Fr::zero())?;
    named("txs_chain", txs_chain_end, &header.txs_chain)?;
    named("total_fees", fees_sum, &header.total_fees)?;
    named("tx_count", tx_count, &header.tx_count)
}

impl EpochRoot {
    /// What EpochRoot states of these ranges (1 or 2).
    pub fn of_ranges(
        ranges: &[BlockRange],
        slots_per_epoch: u64,
        rows: &ChargedRows,
        pair: Pair,
    ) -> Result<Self, JoinError> {
        let whole = match ranges {
            [range] => {
                if range.last_block < range.first_block {
                    return Err(JoinError::Empty);
                }
                let sum = range.num_constraints.checked_add(rows.of(Circuit::EpochRoot1));
                let num_constraints = sum.ok_or(JoinError::Overflow { what: "num_constraints" })?;
                BlockRange { num_constraints, ..*range }
            }
            [left, right] => left.join_charging(right, rows.of(Circuit::EpochRoot2), pair)?,
            _ => {
                return Err(JoinError::Children { circuit: "epoch_root", got: ranges.len() });
            }
        };
        // Without `..`, so that a new field of a range of blocks must be stated or checked here.
        let BlockRange {
            constants,
            prover_id,
            prev_archive_root,
            end_archive_root,
            first_block,
            last_block,
            first_slot: first,
            last_slot: last,
            chain_start,
            chain_end,
            out_hash,
            num_constraints,
            pair: _, // the caller's, which covers it
        } = whole;
        let epoch = first
            .checked_div(slots_per_epoch)
            .filter(|epoch| last.checked_div(slots_per_epoch) == Some(*epoch))
            .ok_or(JoinError::Epoch { first, last, slots_per_epoch })?;
        Ok(Self {
            constants,
            prover_id,
            prev_archive_root,
            end_archive_root,
            first_block,
            last_block,
            epoch,
            slots_per_epoch,
            chain_start,
            chain_end,
            out_hash,
            num_constraints,
            pair,
        })
    }
}
