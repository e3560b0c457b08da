//! State commitments and block headers.

use rollmill_algebra::{Fr, poseidon2};

use crate::codec::{DecodeError, Reader, Writer};
use crate::domain;
use crate::field::EthAddress;
use crate::gas::{FeePerGas, Gas};
use crate::layout::layout;

layout! {
    /// Roots and counts of the trees that transactions change. A count is the next free index.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct TxState as TxStateLayout, "state" {
        /// Root of the note-hash tree.
        pub note_root: Fr,
        /// Leaves of the note-hash tree.
        pub note_count: u64,
        /// Root of the nullifier tree.
        pub nullifier_root: Fr,
        /// Leaves of the nullifier tree.
        pub nullifier_count: u64,
        /// Root of the public data tree.
        pub public_data_root: Fr,
        /// Leaves of the public data tree.
        pub public_data_count: u64,
    }
}

layout! {
    /// Roots and counts of every tree but the archive.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct StateRefs as StateRefsLayout, "state" {
        /// The trees that transactions change.
        pub tx_state: TxState,
        /// Root of the tree of messages from L1.
        pub message_root: Fr,
        /// Leaves of the tree of messages from L1.
        pub message_count: u64,
    }
}

layout! {
    /// A block header. The order of its fields is that of its hash and of its bytes.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Header as HeaderLayout, "header" {
        /// Chain id of the L1.
        pub chain_id: u64,
        /// Number of the rollup deployment.
        pub version: u64,
        /// Parent's number plus one; genesis is 0.
        pub block_number: u64,
        /// Slot, above the parent's.
        pub slot: u64 as 48,
        /// Seconds since 1970 at the start of the slot.
        pub timestamp: u64,
        /// L1 address that is paid the block's fees.
        pub coinbase: EthAddress,
        /// Price of L2 gas in this block, in units.
        pub fee_per_l2_gas: u64,
        /// Price of DA gas in this block, in units.
        pub fee_per_da_gas: u64,
        /// L2 gas that the transactions used.
        pub l2_gas_used: u64,
        /// DA gas that the transactions used.
        pub da_gas_used: u64,
        /// Sum of the transactions' fees, in units.
        pub total_fees: u128,
        /// Number of transactions.
        pub tx_count: u64,
        /// Root of the archive before this header was appended to it.
        pub last_archive_root: Fr,
        /// State after the block.
        pub state: StateRefs,
        /// Running hash over the block's transactions, from zero.
        pub txs_chain: Fr,
        /// Running hash over the block's messages from L1, from zero.
        pub in_hash: Fr,
        /// Root over the transactions' messages to L1; zero without transactions.
        pub out_root: Fr,
    }
}

impl Header {
    /// Number of bytes: each field as one word.
    pub const BYTES: usize = Self::FIELDS * 32;

    /// `hash(HEADER, fields)`: the archive's leaf.
    pub fn hash(&self) -> Fr {
        poseidon2::hash(domain::HEADER, &self.to_fields())
    }

    /// Prices of this block.
    pub fn fee_per_gas(&self) -> FeePerGas {
        FeePerGas { l2: self.fee_per_l2_gas, da: self.fee_per_da_gas }
    }

    /// Gas that the transactions used.
    pub fn gas_used(&self) -> Gas {
        Gas { l2: self.l2_gas_used, da: self.da_gas_used }
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
