//! State commitments and block headers.

use rollmill_algebra::{Fr, poseidon2};

use crate::codec::{DecodeError, Reader, Writer};
use crate::domain;
use crate::field::{self, EthAddress};
use crate::gas::FeePerGas;
use crate::layout::layout;

layout! {
    /// The parts of the state that transactions change.
    pub struct TxStateLayout<T> {
        pub note_root: T,
        pub note_count: T,
        pub nullifier_root: T,
        pub nullifier_count: T,
        pub public_data_root: T,
        pub public_data_count: T,
    }
}

layout! {
    /// Commitment to the whole state but the archive.
    pub struct StateRefsLayout<T> {
        pub tx_state: TxStateLayout<T>,
        pub message_root: T,
        pub message_count: T,
    }
}

layout! {
    /// The fields of a header, in the order in which they are hashed.
    pub struct HeaderLayout<T> {
        pub chain_id: T,
        pub version: T,
        pub block_number: T,
        pub slot: T,
        pub timestamp: T,
        pub coinbase: T,
        pub fee_per_l2_gas: T,
        pub fee_per_da_gas: T,
        pub total_fees: T,
        pub tx_count: T,
        pub last_archive_root: T,
        pub state: StateRefsLayout<T>,
        pub txs_chain: T,
        pub in_hash: T,
        pub out_hash: T,
    }
}

/// Roots and counts of the trees that transactions change. A count is the next free index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxState {
    pub note_root: Fr,
    pub note_count: u64,
    pub nullifier_root: Fr,
    pub nullifier_count: u64,
    pub public_data_root: Fr,
    pub public_data_count: u64,
}

/// Roots and counts of every tree but the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateRefs {
    pub tx_state: TxState,
    pub message_root: Fr,
    pub message_count: u64,
}

impl TxState {
    /// The values by name.
    pub fn layout(&self) -> TxStateLayout<Fr> {
        TxStateLayout {
            note_root: self.note_root,
            note_count: self.note_count.into(),
            nullifier_root: self.nullifier_root,
            nullifier_count: self.nullifier_count.into(),
            public_data_root: self.public_data_root,
            public_data_count: self.public_data_count.into(),
        }
    }

    /// Reads the values; counts must be below 2^64.
    pub fn from_layout(cells: &TxStateLayout<Fr>) -> Result<Self, DecodeError> {
        Ok(Self {
            note_root: cells.note_root,
            note_count: field::to_u64("note_count", &cells.note_count)?,
            nullifier_root: cells.nullifier_root,
            nullifier_count: field::to_u64("nullifier_count", &cells.nullifier_count)?,
            public_data_root: cells.public_data_root,
            public_data_count: field::to_u64("public_data_count", &cells.public_data_count)?,
        })
    }
}

impl StateRefs {
    /// The values by name.
    pub fn layout(&self) -> StateRefsLayout<Fr> {
        StateRefsLayout {
            tx_state: self.tx_state.layout(),
            message_root: self.message_root,
            message_count: self.message_count.into(),
        }
    }

    /// Reads the values; counts must be below 2^64.
    pub fn from_layout(cells: &StateRefsLayout<Fr>) -> Result<Self, DecodeError> {
        Ok(Self {
            tx_state: TxState::from_layout(&cells.tx_state)?,
            message_root: cells.message_root,
            message_count: field::to_u64("message_count", &cells.message_count)?,
        })
    }
}

/// A block header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment.
    pub version: u64,
    /// Parent's number plus one; genesis is 0.
    pub block_number: u64,
    /// Slot, above the parent's.
    pub slot: u64,
    /// Seconds since 1970, above the parent's.
    pub timestamp: u64,
    /// L1 address that is paid the block's fees.
    pub coinbase: EthAddress,
    /// Price of L2 gas in this block.
    pub fee_per_l2_gas: u64,
    /// Price of DA gas in this block.
    pub fee_per_da_gas: u64,
    /// Sum of the transactions' fees.
    pub total_fees: u128,
    /// Number of transactions.
    pub tx_count: u64,
    /// Root of the archive before this header was appended to it.
    pub last_archive_root: Fr,
    /// State after the block.
    pub state: StateRefs,
    /// Running hash over the block's transactions, from zero.
    pub txs_chain: Fr,
    /// Hash of the L1→L2 messages; zero until the bridge is there.
    pub in_hash: Fr,
    /// Hash of the L2→L1 messages; zero until the bridge is there.
    pub out_hash: Fr,
}

impl Header {
    /// Number of fields.
    pub const FIELDS: usize = HeaderLayout::<Fr>::CELLS;
    /// Number of bytes: each field as one word.
    pub const BYTES: usize = Self::FIELDS * 32;

    /// The fields by name.
    pub fn layout(&self) -> HeaderLayout<Fr> {
        HeaderLayout {
            chain_id: self.chain_id.into(),
            version: self.version.into(),
            block_number: self.block_number.into(),
            slot: self.slot.into(),
            timestamp: self.timestamp.into(),
            coinbase: self.coinbase.to_field(),
            fee_per_l2_gas: self.fee_per_l2_gas.into(),
            fee_per_da_gas: self.fee_per_da_gas.into(),
            total_fees: self.total_fees.into(),
            tx_count: self.tx_count.into(),
            last_archive_root: self.last_archive_root,
            state: self.state.layout(),
            txs_chain: self.txs_chain,
            in_hash: self.in_hash,
            out_hash: self.out_hash,
        }
    }

    /// The fields in order.
    pub fn to_fields(&self) -> Vec<Fr> {
        self.layout().into_vec()
    }

    /// The header of exactly these fields; numbers must be in their ranges.
    pub fn from_fields(fields: &[Fr]) -> Result<Self, DecodeError> {
        let cells = HeaderLayout::from_slice(fields).ok_or(DecodeError::Length {
            what: "header",
            expected: Self::FIELDS,
            got: fields.len(),
        })?;
        Ok(Self {
            chain_id: field::to_u64("chain_id", &cells.chain_id)?,
            version: field::to_u64("version", &cells.version)?,
            block_number: field::to_u64("block_number", &cells.block_number)?,
            slot: field::to_u64("slot", &cells.slot)?,
            timestamp: field::to_u64("timestamp", &cells.timestamp)?,
            coinbase: EthAddress::from_field("coinbase", &cells.coinbase)?,
            fee_per_l2_gas: field::to_u64("fee_per_l2_gas", &cells.fee_per_l2_gas)?,
            fee_per_da_gas: field::to_u64("fee_per_da_gas", &cells.fee_per_da_gas)?,
            total_fees: field::to_u128("total_fees", &cells.total_fees)?,
            tx_count: field::to_u64("tx_count", &cells.tx_count)?,
            last_archive_root: cells.last_archive_root,
            state: StateRefs::from_layout(&cells.state)?,
            txs_chain: cells.txs_chain,
            in_hash: cells.in_hash,
            out_hash: cells.out_hash,
        })
    }

    /// `hash(HEADER, fields)`: the archive's leaf.
    pub fn hash(&self) -> Fr {
        poseidon2::hash(domain::HEADER, &self.to_fields())
    }

    /// Prices of this block.
    pub fn fee_per_gas(&self) -> FeePerGas {
        FeePerGas { l2: self.fee_per_l2_gas, da: self.fee_per_da_gas }
    }

    /// The epoch of the block's slot; `None` when an epoch has no slots.
    pub fn epoch(&self, slots_per_epoch: u64) -> Option<u64> {
        self.slot.checked_div(slots_per_epoch)
    }

    /// Canonical bytes: each field as a 32-byte word.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new("header", bytes);
        let header = Self::read(&mut from)?;
        from.finish()?;
        Ok(header)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.frs(&self.to_fields());
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_fields(&from.frs(Self::FIELDS)?)
    }
}
