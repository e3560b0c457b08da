//! Public inputs of every circuit: the one definition of their order.
//!
//! The layouts serve circuits (over their variables), the prover node and the contract's vectors
//! (over field elements); the typed structs add ranges and refuse what no honest proof states.

use rollmill_algebra::Fr;
use rollmill_algebra::pair::{PAIR_INPUTS, Pair, PairError, PairPoint};

use crate::codec::DecodeError;
use crate::field::{self, EthAddress};
use crate::header::{TxState, TxStateLayout};
use crate::layout::layout;
use crate::tx::Tx;

layout! {
    /// A point of G1: each coordinate as two halves of 128 bits, canonical.
    pub struct PointLayout<T> {
        pub x_lo: T,
        pub x_hi: T,
        pub y_lo: T,
        pub y_hi: T,
    }
}

layout! {
    /// A pair that must satisfy `e(L − s_l·G, [τ]) = e(R − s_r·G, [1])`.
    pub struct PairLayout<T> {
        pub l: PointLayout<T>,
        pub s_l: T,
        pub r: PointLayout<T>,
        pub s_r: T,
    }
}

layout! {
    /// Constants that every range carries and every parent requires equal.
    pub struct ConstantsLayout<T> {
        pub chain_id: T,
        pub version: T,
        pub vk_root: T,
        pub protocol_version: T,
    }
}

layout! {
    /// The client circuit: 4 inputs and no pair.
    pub struct ClientInputsLayout<T> {
        pub chain_id: T,
        pub version: T,
        pub anchor_header_hash: T,
        pub tx_hash: T,
    }
}

layout! {
    /// TxBase and TxMerge: 33 inputs.
    pub struct TxRangeLayout<T> {
        pub constants: ConstantsLayout<T>,
        /// Root of the archive before the block, in which anchors lie.
        pub anchor_archive_root: T,
        pub fee_per_l2_gas: T,
        pub fee_per_da_gas: T,
        pub start: TxStateLayout<T>,
        pub end: TxStateLayout<T>,
        pub txs_chain_start: T,
        pub txs_chain_end: T,
        pub fees_sum: T,
        pub tx_count: T,
        pub pair: PairLayout<T>,
    }
}

layout! {
    /// BlockRoot (all variants) and BlockMerge: 25 inputs.
    pub struct BlockRangeLayout<T> {
        pub constants: ConstantsLayout<T>,
        pub prover_id: T,
        pub prev_archive_root: T,
        pub end_archive_root: T,
        pub first_block: T,
        pub last_block: T,
        pub first_slot: T,
        pub last_slot: T,
        pub chain_start: T,
        pub chain_end: T,
        pub out_hash: T,
        pub num_constraints: T,
        pub pair: PairLayout<T>,
    }
}

layout! {
    /// EpochRoot (both variants): 25 inputs, what the contract hands to the verifier.
    pub struct EpochRootLayout<T> {
        pub constants: ConstantsLayout<T>,
        pub prover_id: T,
        pub prev_archive_root: T,
        pub end_archive_root: T,
        pub first_block: T,
        pub last_block: T,
        pub epoch: T,
        pub slots_per_epoch: T,
        pub chain_start: T,
        pub chain_end: T,
        pub out_hash: T,
        pub num_constraints: T,
        pub pair: PairLayout<T>,
    }
}

/// Public inputs of the client circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientInputs {
    pub chain_id: u64,
    pub version: u64,
    pub anchor_header_hash: Fr,
    pub tx_hash: Fr,
}

/// Constants of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Constants {
    pub chain_id: u64,
    pub version: u64,
    pub vk_root: Fr,
    pub protocol_version: u64,
}

/// What TxBase and TxMerge state: a run of transactions inside one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxRange {
    pub constants: Constants,
    pub anchor_archive_root: Fr,
    pub fee_per_l2_gas: u64,
    pub fee_per_da_gas: u64,
    pub start: TxState,
    pub end: TxState,
    pub txs_chain_start: Fr,
    pub txs_chain_end: Fr,
    pub fees_sum: u128,
    pub tx_count: u64,
    pub pair: Pair,
}

/// What BlockRoot and BlockMerge state: a run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockRange {
    pub constants: Constants,
    pub prover_id: EthAddress,
    pub prev_archive_root: Fr,
    pub end_archive_root: Fr,
    pub first_block: u64,
    pub last_block: u64,
    pub first_slot: u64,
    pub last_slot: u64,
    pub chain_start: Fr,
    pub chain_end: Fr,
    pub out_hash: Fr,
    pub num_constraints: u64,
    pub pair: Pair,
}

/// What EpochRoot states: a run of blocks inside one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochRoot {
    pub constants: Constants,
    pub prover_id: EthAddress,
    pub prev_archive_root: Fr,
    pub end_archive_root: Fr,
    pub first_block: u64,
    pub last_block: u64,
    pub epoch: u64,
    pub slots_per_epoch: u64,
    pub chain_start: Fr,
    pub chain_end: Fr,
    pub out_hash: Fr,
    pub num_constraints: u64,
    pub pair: Pair,
}

/// Adds `to_fields` and the strict `from_fields` to a typed struct with a layout.
macro_rules! fields {
    ($name:ident, $layout:ident, $what:literal) => {
        impl $name {
            /// Number of public inputs.
            pub const FIELDS: usize = $layout::<Fr>::CELLS;

            /// The public inputs in order.
            pub fn to_fields(&self) -> Vec<Fr> {
                self.layout().into_vec()
            }

            /// The value of exactly these public inputs; every number must be in its range.
            pub fn from_fields(fields: &[Fr]) -> Result<Self, DecodeError> {
                let cells = $layout::from_slice(fields).ok_or(DecodeError::Length {
                    what: $what,
                    expected: Self::FIELDS,
                    got: fields.len(),
                })?;
                Self::from_layout(&cells)
            }
        }
    };
}

fields!(ClientInputs, ClientInputsLayout, "client inputs");
fields!(TxRange, TxRangeLayout, "transaction range inputs");
fields!(BlockRange, BlockRangeLayout, "block range inputs");
fields!(EpochRoot, EpochRootLayout, "epoch root inputs");

impl ClientInputs {
    /// The inputs that the client proof of this transaction must have.
    pub fn of(tx: &Tx) -> Self {
        Self {
            chain_id: tx.chain_id,
            version: tx.version,
            anchor_header_hash: tx.anchor_header_hash,
            tx_hash: tx.hash(),
        }
    }

    /// The values by name.
    pub fn layout(&self) -> ClientInputsLayout<Fr> {
        ClientInputsLayout {
            chain_id: self.chain_id.into(),
            version: self.version.into(),
            anchor_header_hash: self.anchor_header_hash,
            tx_hash: self.tx_hash,
        }
    }

    /// Reads the values.
    pub fn from_layout(cells: &ClientInputsLayout<Fr>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain_id: field::to_u64("chain_id", &cells.chain_id)?,
            version: field::to_u64("version", &cells.version)?,
            anchor_header_hash: cells.anchor_header_hash,
            tx_hash: cells.tx_hash,
        })
    }
}

const _: () = assert!(PairLayout::<Fr>::CELLS == PAIR_INPUTS, "the layout is that of the pair");

impl PairLayout<Fr> {
    /// The cells of a pair, in the order of [`Pair::to_fields`].
    pub fn of(pair: &Pair) -> Self {
        Self::from_slice(&pair.to_fields()).expect("a pair has as many cells as its layout")
    }

    /// Reads the pair, as strictly as [`Pair::from_fields`].
    ///
    /// # Errors
    /// What makes the cells no pair, under the name of the point.
    pub fn pair(&self) -> Result<Pair, DecodeError> {
        let cells = self.to_vec().try_into();
        let cells: [Fr; PAIR_INPUTS] = cells.expect("a pair has as many cells as its layout");
        Pair::from_fields(&cells).map_err(|error| match error {
            PairError::Half { point, got } => field::out_of_range_u128(name_of(point), &got),
            PairError::Modulus { point } => DecodeError::NotCanonical { what: name_of(point) },
            PairError::Curve { point } => DecodeError::NotOnCurve { what: name_of(point) },
        })
    }
}

fn name_of(point: PairPoint) -> &'static str {
    match point {
        PairPoint::L => "pair.l",
        PairPoint::R => "pair.r",
    }
}

impl Constants {
    /// The values by name.
    pub fn layout(&self) -> ConstantsLayout<Fr> {
        ConstantsLayout {
            chain_id: self.chain_id.into(),
            version: self.version.into(),
            vk_root: self.vk_root,
            protocol_version: self.protocol_version.into(),
        }
    }

    /// Reads the values.
    pub fn from_layout(cells: &ConstantsLayout<Fr>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain_id: field::to_u64("chain_id", &cells.chain_id)?,
            version: field::to_u64("version", &cells.version)?,
            vk_root: cells.vk_root,
            protocol_version: field::to_u64("protocol_version", &cells.protocol_version)?,
        })
    }
}

impl TxRange {
    /// The values by name.
    pub fn layout(&self) -> TxRangeLayout<Fr> {
        TxRangeLayout {
            constants: self.constants.layout(),
            anchor_archive_root: self.anchor_archive_root,
            fee_per_l2_gas: self.fee_per_l2_gas.into(),
            fee_per_da_gas: self.fee_per_da_gas.into(),
            start: self.start.layout(),
            end: self.end.layout(),
            txs_chain_start: self.txs_chain_start,
            txs_chain_end: self.txs_chain_end,
            fees_sum: self.fees_sum.into(),
            tx_count: self.tx_count.into(),
            pair: PairLayout::of(&self.pair),
        }
    }

    /// Reads the values.
    pub fn from_layout(cells: &TxRangeLayout<Fr>) -> Result<Self, DecodeError> {
        Ok(Self {
            constants: Constants::from_layout(&cells.constants)?,
            anchor_archive_root: cells.anchor_archive_root,
            fee_per_l2_gas: field::to_u64("fee_per_l2_gas", &cells.fee_per_l2_gas)?,
            fee_per_da_gas: field::to_u64("fee_per_da_gas", &cells.fee_per_da_gas)?,
            start: TxState::from_layout(&cells.start)?,
            end: TxState::from_layout(&cells.end)?,
            txs_chain_start: cells.txs_chain_start,
            txs_chain_end: cells.txs_chain_end,
            fees_sum: field::to_u128("fees_sum", &cells.fees_sum)?,
            tx_count: field::to_u64("tx_count", &cells.tx_count)?,
            pair: cells.pair.pair()?,
        })
    }
}

impl BlockRange {
    /// The values by name.
    pub fn layout(&self) -> BlockRangeLayout<Fr> {
        BlockRangeLayout {
            constants: self.constants.layout(),
            prover_id: self.prover_id.to_field(),
            prev_archive_root: self.prev_archive_root,
            end_archive_root: self.end_archive_root,
            first_block: self.first_block.into(),
            last_block: self.last_block.into(),
            first_slot: self.first_slot.into(),
            last_slot: self.last_slot.into(),
            chain_start: self.chain_start,
            chain_end: self.chain_end,
            out_hash: self.out_hash,
            num_constraints: self.num_constraints.into(),
            pair: PairLayout::of(&self.pair),
        }
    }

    /// Reads the values.
    pub fn from_layout(cells: &BlockRangeLayout<Fr>) -> Result<Self, DecodeError> {
        Ok(Self {
            constants: Constants::from_layout(&cells.constants)?,
            prover_id: EthAddress::from_field("prover_id", &cells.prover_id)?,
            prev_archive_root: cells.prev_archive_root,
            end_archive_root: cells.end_archive_root,
            first_block: field::to_u64("first_block", &cells.first_block)?,
            last_block: field::to_u64("last_block", &cells.last_block)?,
            first_slot: field::to_u64("first_slot", &cells.first_slot)?,
            last_slot: field::to_u64("last_slot", &cells.last_slot)?,
            chain_start: cells.chain_start,
            chain_end: cells.chain_end,
            out_hash: cells.out_hash,
            num_constraints: field::to_u64("num_constraints", &cells.num_constraints)?,
            pair: cells.pair.pair()?,
        })
    }
}

impl EpochRoot {
    /// The values by name.
    pub fn layout(&self) -> EpochRootLayout<Fr> {
        EpochRootLayout {
            constants: self.constants.layout(),
            prover_id: self.prover_id.to_field(),
            prev_archive_root: self.prev_archive_root,
            end_archive_root: self.end_archive_root,
            first_block: self.first_block.into(),
            last_block: self.last_block.into(),
            epoch: self.epoch.into(),
            slots_per_epoch: self.slots_per_epoch.into(),
            chain_start: self.chain_start,
            chain_end: self.chain_end,
            out_hash: self.out_hash,
            num_constraints: self.num_constraints.into(),
            pair: PairLayout::of(&self.pair),
        }
    }

    /// Reads the values.
    pub fn from_layout(cells: &EpochRootLayout<Fr>) -> Result<Self, DecodeError> {
        Ok(Self {
            constants: Constants::from_layout(&cells.constants)?,
            prover_id: EthAddress::from_field("prover_id", &cells.prover_id)?,
            prev_archive_root: cells.prev_archive_root,
            end_archive_root: cells.end_archive_root,
            first_block: field::to_u64("first_block", &cells.first_block)?,
            last_block: field::to_u64("last_block", &cells.last_block)?,
            epoch: field::to_u64("epoch", &cells.epoch)?,
            slots_per_epoch: field::to_u64("slots_per_epoch", &cells.slots_per_epoch)?,
            chain_start: cells.chain_start,
            chain_end: cells.chain_end,
            out_hash: cells.out_hash,
            num_constraints: field::to_u64("num_constraints", &cells.num_constraints)?,
            pair: cells.pair.pair()?,
        })
    }
}
