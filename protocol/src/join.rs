//! How ranges become larger ranges: the plain twins of TxBase, TxMerge, BlockRoot, BlockMerge and
//! EpochRoot, without the proofs. The pair of the result comes from folding the children's proofs,
//! so the caller hands it in.

use ark_ff::Zero;
use rollmill_algebra::Fr;
use rollmill_algebra::pair::Pair;

use crate::blob::{BlobFr, blob_z, evaluate, shift, to_blob_field, tx_words};
use crate::block::{BlockBody, ChainLink};
use crate::builder::Block;
use crate::charge::ChargedRows;
use crate::circuit::Circuit;
use crate::config::Config;
use crate::gas::MAX_TXS_PER_BLOCK;
use crate::header::Header;
use crate::message::{MESSAGES_PER_BLOCK, in_hash};
use crate::public_inputs::{BlockRange, Constants, EpochRoot, TxRange};
use crate::state::{TxGlobals, TxTransition};
use crate::tree::verify::{WitnessError, membership};
use crate::tree::{Tree, node_hash};

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
    /// The sizes of two runs of transactions do not have the one shape of a block's tree.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: runs of {left} and {right} transactions do not join: the left one is a power of two, at most half a block, and the right one no larger", code = self.code())]
    Shape { left: u64, right: u64 },
    /// A single child covers more than one transaction or block: such a range is proven by the variant for two.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: a single child covers {got} {what}, one is expected", code = self.code())]
    Single { what: &'static str, got: u64 },
    /// The parameters are not those of the constants.
    ///
    /// Do: Check that the node and the contract have one genesis file. Otherwise report a bug in Rollmill.
    #[error("{code}: the config is not the one whose hash the constants name", code = self.code())]
    Config,
    /// A part of the link is not what the block says.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the link's {what} is not that of the block", code = self.code())]
    Link { what: &'static str },
    /// A path of the block's trees proves nothing.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// A field of a header does not follow from the parent's header or from the deployment's constants.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the header's {what} does not follow from its parent or the deployment", code = self.code())]
    Parent { what: &'static str },
}

// PRO-077 is retired.
rollmill_errors::coded! {
    JoinError {
        Self::Constants { .. } => "PRO-070",
        Self::Gap { .. } => "PRO-071",
        Self::Empty => "PRO-072",
        Self::Overflow { .. } => "PRO-073",
        Self::Header { .. } => "PRO-074",
        Self::Children { .. } => "PRO-075",
        Self::Epoch { .. } => "PRO-076",
        Self::Parent { .. } => "PRO-078",
        Self::Shape { .. } => "PRO-079",
        Self::Config => "PRO-120",
        Self::Link { .. } => "PRO-121",
        Self::Single { .. } => "PRO-122",
        Self::Witness(error) => (error),
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

fn linked<T: PartialEq>(what: &'static str, block: &T, link: &T) -> Result<(), JoinError> {
    if block == link { Ok(()) } else { Err(JoinError::Link { what }) }
}

fn single(what: &'static str, got: u64) -> Result<(), JoinError> {
    match got {
        0 => Err(JoinError::Empty),
        1 => Ok(()),
        _ => Err(JoinError::Single { what, got }),
    }
}

fn sum<T>(what: &'static str, sum: Option<T>) -> Result<T, JoinError> {
    sum.ok_or(JoinError::Overflow { what })
}

impl TxRange {
    /// What TxBase states of a transaction of a block whose blob is opened at `z`.
    pub fn of_tx(
        transition: &TxTransition,
        body: &BlockBody,
        constants: Constants,
        globals: &TxGlobals,
        z: Fr,
        pair: Pair,
    ) -> Self {
        let effects = &transition.effects;
        let point = to_blob_field(&z);
        let [first, second] = &effects.out_leaves;
        Self {
            constants,
            anchor_archive_root: transition.anchor.archive_root,
            message_root: effects.message_root,
            slot: globals.slot,
            fee_per_l2_gas: globals.price.l2,
            fee_per_da_gas: globals.price.da,
            start: effects.start,
            end: effects.end,
            txs_chain_start: effects.txs_chain_start,
            txs_chain_end: effects.txs_chain_end,
            fees_sum: effects.fee.into(),
            tx_count: 1,
            l2_gas_used: effects.used.l2,
            da_gas_used: effects.used.da,
            z,
            y: evaluate(&tx_words(body), &point),
            pow: shift(&point, 1),
            out_root: node_hash(first, second),
            pair,
        }
    }

    /// What TxMerge states of this range followed by `right`.
    pub fn join(&self, right: &Self, pair: Pair) -> Result<Self, JoinError> {
        same("constants", &self.constants, &right.constants)?;
        same("anchor_archive_root", &self.anchor_archive_root, &right.anchor_archive_root)?;
        same("message_root", &self.message_root, &right.message_root)?;
        same("slot", &self.slot, &right.slot)?;
        same("fee_per_l2_gas", &self.fee_per_l2_gas, &right.fee_per_l2_gas)?;
        same("fee_per_da_gas", &self.fee_per_da_gas, &right.fee_per_da_gas)?;
        same("z", &self.z, &right.z)?;
        if self.tx_count == 0 || right.tx_count == 0 {
            return Err(JoinError::Empty);
        }
        // The one shape of a block's tree, and the bound of its size.
        let half = MAX_TXS_PER_BLOCK as u64 / 2;
        let is_left = self.tx_count.is_power_of_two() && self.tx_count <= half;
        if !is_left || right.tx_count > self.tx_count {
            return Err(JoinError::Shape { left: self.tx_count, right: right.tx_count });
        }
        adjacent("state", &self.end, &right.start)?;
        adjacent("txs_chain", &self.txs_chain_end, &right.txs_chain_start)?;
        Ok(Self {
            constants: self.constants,
            anchor_archive_root: self.anchor_archive_root,
            message_root: self.message_root,
            slot: self.slot,
            fee_per_l2_gas: self.fee_per_l2_gas,
            fee_per_da_gas: self.fee_per_da_gas,
            start: self.start,
            end: right.end,
            txs_chain_start: self.txs_chain_start,
            txs_chain_end: right.txs_chain_end,
            fees_sum: sum("fees_sum", self.fees_sum.checked_add(right.fees_sum))?,
            tx_count: sum("tx_count", self.tx_count.checked_add(right.tx_count))?,
            l2_gas_used: sum("l2_gas_used", self.l2_gas_used.checked_add(right.l2_gas_used))?,
            da_gas_used: sum("da_gas_used", self.da_gas_used.checked_add(right.da_gas_used))?,
            z: self.z,
            y: self.y + self.pow * right.y,
            pow: self.pow * right.pow,
            out_root: node_hash(&self.out_root, &right.out_root),
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
        config: &Config,
        rows: &ChargedRows,
        pair: Pair,
    ) -> Result<Self, JoinError> {
        let header = &block.header;
        if config.hash() != constants.config_hash {
            return Err(JoinError::Config);
        }
        match ranges {
            [] => is_empty(block, link)?,
            [range] => {
                single("transactions", range.tx_count)?;
                covers(range, block, link, &constants)?;
            }
            [left, right] => covers(&left.join(right, pair)?, block, link, &constants)?,
            _ => {
                return Err(JoinError::Children { circuit: "block_root", got: ranges.len() });
            }
        }
        follows_parent(block, &constants, config)?;
        appends_messages(block)?;
        extends_archive(block)?;
        is_linked(block, link)?;
        let num_constraints = sum("num_constraints", rows.block(header.tx_count))?;
        Ok(Self {
            constants,
            prev_archive_root: block.archive.append.root_before,
            end_archive_root: block.archive.append.root_after,
            first_block: header.block_number,
            last_block: header.block_number,
            first_slot: header.slot,
            last_slot: header.slot,
            chain_start: link.chain_before,
            chain_end: link.chain(),
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
        if self.last_block < self.first_block || right.last_block < right.first_block {
            return Err(JoinError::Empty);
        }
        adjacent("archive", &self.end_archive_root, &right.prev_archive_root)?;
        adjacent("block number", &self.last_block.checked_add(1), &Some(right.first_block))?;
        adjacent("chain", &self.chain_end, &right.chain_start)?;
        if right.first_slot <= self.last_slot {
            return Err(JoinError::Gap { what: "slot" });
        }
        let charged = self.num_constraints.checked_add(right.num_constraints);
        let charged = charged.and_then(|charged| charged.checked_add(rows));
        Ok(Self {
            constants: self.constants,
            prev_archive_root: self.prev_archive_root,
            end_archive_root: right.end_archive_root,
            first_block: self.first_block,
            last_block: right.last_block,
            first_slot: self.first_slot,
            last_slot: right.last_slot,
            chain_start: self.chain_start,
            chain_end: right.chain_end,
            num_constraints: sum("num_constraints", charged)?,
            pair,
        })
    }
}

/// Checks what a range of transactions would say of a block without any.
fn is_empty(block: &Block, link: &ChainLink) -> Result<(), JoinError> {
    let header = &block.header;
    named("state", &block.start.tx_state, &block.end.tx_state)?;
    named("tx_count", &0, &header.tx_count)?;
    named("total_fees", &0, &header.total_fees)?;
    named("l2_gas_used", &0, &header.l2_gas_used)?;
    named("da_gas_used", &0, &header.da_gas_used)?;
    named("txs_chain", &Fr::zero(), &header.txs_chain)?;
    named("out_root", &Fr::zero(), &header.out_root)?;
    linked("z", &Fr::zero(), &link.z)?;
    linked("y", &BlobFr::zero(), &link.y)?;
    linked("commitment", &Default::default(), &link.commitment)
}

/// Checks the rules of a header that neither its transactions nor its messages decide.
fn follows_parent(block: &Block, constants: &Constants, config: &Config) -> Result<(), JoinError> {
    // Without `..`, so that a new field needs a rule here, or the place of its rule.
    let Header {
        chain_id,
        version,
        block_number,
        slot,
        timestamp,
        coinbase: _, // the proposer's choice
        fee_per_l2_gas,
        fee_per_da_gas,
        l2_gas_used,   // `covers`; the limit here
        da_gas_used,   // likewise
        total_fees: _, // `covers`
        tx_count: _,   // `covers`
        last_archive_root,
        state,
        txs_chain: _, // `covers`
        in_hash: _,   // `appends_messages`
        out_root: _,  // `covers`
    } = &block.header;
    let parent = &block.parent;
    let price = config.prices_after(parent);
    let limit = config.gas_limit();
    for (holds, what) in [
        (parent.chain_id == constants.chain_id, "parent's chain id"),
        (*chain_id == constants.chain_id, "chain id"),
        (parent.version == constants.version, "parent's version"),
        (*version == constants.version, "version"),
        (parent.block_number.checked_add(1) == Some(*block_number), "block number"),
        (parent.slot < *slot, "slot"),
        (config.timestamp(*slot) == Some(*timestamp), "timestamp"),
        (*fee_per_l2_gas == price.l2, "price of L2 gas"),
        (*fee_per_da_gas == price.da, "price of DA gas"),
        (*l2_gas_used <= limit.l2, "L2 gas"),
        (*da_gas_used <= limit.da, "DA gas"),
    ] {
        if !holds {
            return Err(JoinError::Parent { what });
        }
    }
    named("last_archive_root", &block.archive.append.root_before, last_archive_root)?;
    named("state", &block.end, state)?;
    named("parent's state", &block.start, &parent.state)?;
    named("hash", &block.header.hash(), &block.header_hash)
}

/// Checks that the archive's last header is the parent, and that the block's follows it.
fn extends_archive(block: &Block) -> Result<(), JoinError> {
    let (parent, append) = (&block.parent, &block.archive.append);
    let (root, path) = (&append.root_before, &block.archive.parent_path);
    membership(Tree::Archive, root, &parent.hash(), parent.block_number, path)?;
    append.verify(Tree::Archive, block.header.block_number)?;
    named("place in the archive", &append.leaves.as_slice(), &[block.header_hash].as_slice())
}

/// Checks that the block appends the messages of its running hash.
fn appends_messages(block: &Block) -> Result<(), JoinError> {
    let append = &block.messages;
    let (start, end) = (&block.start, &block.end);
    let absent = append.leaves.iter().skip_while(|leaf| !leaf.is_zero());
    named("messages", &append.leaves.len(), &MESSAGES_PER_BLOCK)?;
    named("messages", &absent.clone().count(), &absent.filter(|leaf| leaf.is_zero()).count())?;
    named("in_hash", &in_hash(block.message_leaves()), &block.header.in_hash)?;
    append.verify(Tree::Messages, start.message_count)?;
    named("parent's message_root", &append.root_before, &start.message_root)?;
    named("message_root", &append.root_after, &end.message_root)?;
    let count = start.message_count.checked_add(MESSAGES_PER_BLOCK as u64);
    named("message_count", &count, &Some(end.message_count))
}

/// Checks the link against the block; the blob's value is that of the ranges.
fn is_linked(block: &Block, link: &ChainLink) -> Result<(), JoinError> {
    let header = &block.header;
    // Without `..`, so that a new part of the link is compared here.
    let ChainLink {
        chain_before: _, // stated as the start of the range
        header_hash,
        archive_root,
        slot,
        tx_count,
        fee_per_l2_gas,
        fee_per_da_gas,
        coinbase,
        l2_gas_used,
        da_gas_used,
        total_fees,
        in_hash,
        out_root,
        z: _,          // `covers`, `is_empty`
        y: _,          // likewise
        commitment: _, // likewise
    } = link;
    linked("header_hash", &block.header_hash, header_hash)?;
    linked("archive_root", &block.archive.append.root_after, archive_root)?;
    linked("slot", &header.slot, slot)?;
    linked("tx_count", &header.tx_count, tx_count)?;
    linked("fee_per_l2_gas", &header.fee_per_l2_gas, fee_per_l2_gas)?;
    linked("fee_per_da_gas", &header.fee_per_da_gas, fee_per_da_gas)?;
    linked("coinbase", &header.coinbase, coinbase)?;
    linked("l2_gas_used", &header.l2_gas_used, l2_gas_used)?;
    linked("da_gas_used", &header.da_gas_used, da_gas_used)?;
    linked("total_fees", &header.total_fees, total_fees)?;
    linked("in_hash", &header.in_hash, in_hash)?;
    linked("out_root", &header.out_root, out_root)
}

/// Checks that `range` is the whole of `block`.
fn covers(
    range: &TxRange,
    block: &Block,
    link: &ChainLink,
    constants: &Constants,
) -> Result<(), JoinError> {
    let header = &block.header;
    // Without `..`, so that a new field of a range must be compared with the block here.
    let TxRange {
        constants: range_constants,
        anchor_archive_root,
        message_root,
        slot,
        fee_per_l2_gas,
        fee_per_da_gas,
        start,
        end,
        txs_chain_start,
        txs_chain_end,
        fees_sum,
        tx_count,
        l2_gas_used,
        da_gas_used,
        z,
        y,
        pow: _, // of no use to a block
        out_root,
        pair: _, // folded into the result's by the caller
    } = range;
    if *tx_count == 0 {
        return Err(JoinError::Empty);
    }
    same("constants", range_constants, constants)?;
    named("anchor_archive_root", anchor_archive_root, &block.archive.append.root_before)?;
    named("message_root", message_root, &block.start.message_root)?;
    named("slot", slot, &header.slot)?;
    named("fee_per_l2_gas", fee_per_l2_gas, &header.fee_per_l2_gas)?;
    named("fee_per_da_gas", fee_per_da_gas, &header.fee_per_da_gas)?;
    named("start state", start, &block.start.tx_state)?;
    named("end state", end, &block.end.tx_state)?;
    named("txs_chain start", txs_chain_start, &Fr::zero())?;
    named("txs_chain", txs_chain_end, &header.txs_chain)?;
    named("total_fees", fees_sum, &header.total_fees)?;
    named("tx_count", tx_count, &header.tx_count)?;
    named("l2_gas_used", l2_gas_used, &header.l2_gas_used)?;
    named("da_gas_used", da_gas_used, &header.da_gas_used)?;
    named("out_root", out_root, &header.out_root)?;
    linked("z", z, &link.z)?;
    linked("z", &blob_z(&header.txs_chain, &link.commitment), z)?;
    linked("y", y, &link.y)
}

impl EpochRoot {
    /// What EpochRoot states of these ranges (1 or 2).
    pub fn of_ranges(
        ranges: &[BlockRange],
        config: &Config,
        rows: &ChargedRows,
        pair: Pair,
    ) -> Result<Self, JoinError> {
        let whole = match ranges {
            [range] => {
                let blocks = range.last_block.checked_sub(range.first_block);
                single("blocks", blocks.ok_or(JoinError::Empty)?.saturating_add(1))?;
                let charged = range.num_constraints.checked_add(rows.of(Circuit::EpochRoot1));
                let num_constraints = sum("num_constraints", charged)?;
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
            prev_archive_root,
            end_archive_root,
            first_block,
            last_block,
            first_slot: first,
            last_slot: last,
            chain_start,
            chain_end,
            num_constraints,
            pair: _, // the caller's, which covers it
        } = whole;
        if config.hash() != constants.config_hash {
            return Err(JoinError::Config);
        }
        let slots_per_epoch = config.slots_per_epoch;
        let epoch = first
            .checked_div(slots_per_epoch)
            .filter(|epoch| last.checked_div(slots_per_epoch) == Some(*epoch))
            .ok_or(JoinError::Epoch { first, last, slots_per_epoch })?;
        Ok(Self {
            constants,
            prev_archive_root,
            end_archive_root,
            first_block,
            last_block,
            epoch,
            chain_start,
            chain_end,
            num_constraints,
            pair,
        })
    }
}
