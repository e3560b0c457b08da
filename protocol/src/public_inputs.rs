//! Public inputs of every circuit: the one definition of their order.
//!
//! The layouts serve circuits (over their variables), the prover node and the contract's vectors
//! (over field elements); the typed structs add ranges and reject what no honest proof states.

use rollmill_algebra::Fr;
use rollmill_algebra::pair::{PAIR_INPUTS, Pair, PairError, PairPoint};

use crate::blob::BlobFr;
use crate::codec::{DecodeError, Reader};
use crate::field::{self, EthAddress};
use crate::header::TxState;
use crate::layout::{Encode, Range, layout};
use crate::tx::Tx;
use crate::version::PROTOCOL_VERSION;

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
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Constants as ConstantsLayout, "constants" {
        /// Chain id of the L1.
        pub chain_id: u64,
        /// Number of the rollup deployment.
        pub version: u64,
        /// Root of the verification-key tree.
        pub vk_root: Fr,
        /// Version of the rules that the circuits enforce.
        pub protocol_version: u64,
        /// Hash of the deployment's [`crate::Config`].
        pub config_hash: Fr,
        /// L1 address of the prover who is credited.
        pub prover_id: EthAddress,
    }
}

layout! {
    /// Public inputs of a client proof: of the built-in client, whose pair is the trivial one, and of the last
    /// circuit of the private kernel.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct ClientInputs as ClientInputsLayout, "client inputs" {
        /// Chain id of the L1.
        pub chain_id: u64,
        /// Number of the rollup deployment.
        pub version: u64,
        /// Root of the verification-key tree.
        pub vk_root: Fr,
        /// Version of the rules that the circuits enforce.
        pub protocol_version: u64,
        /// Hash of the header whose state the client proved against.
        pub anchor_header_hash: Fr,
        /// The transaction's name, which covers its effects.
        pub tx_hash: Fr,
        /// What is still owed for the proofs below.
        pub pair: Pair,
    }
}

layout! {
    /// What TxBase and TxMerge state: a run of transactions inside one block.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct TxRange as TxRangeLayout, "transaction range inputs" {
        /// The same in every range.
        pub constants: Constants,
        /// Root of the archive before the block, in which anchors lie.
        pub anchor_archive_root: Fr,
        /// Root of the message tree before the block, in which claimed deposits lie.
        pub message_root: Fr,
        /// Slot of the block.
        pub slot: u64 as 48,
        /// Price of L2 gas in the block.
        pub fee_per_l2_gas: u64,
        /// Price of DA gas in the block.
        pub fee_per_da_gas: u64,
        /// State before the first transaction.
        pub start: TxState,
        /// State after the last transaction.
        pub end: TxState,
        /// The block's running hash before the first transaction.
        pub txs_chain_start: Fr,
        /// The block's running hash after the last transaction.
        pub txs_chain_end: Fr,
        /// Sum of the fees, in units.
        pub fees_sum: u128,
        /// Number of transactions.
        pub tx_count: u64,
        /// L2 gas used.
        pub l2_gas_used: u64,
        /// DA gas used.
        pub da_gas_used: u64,
        /// Point at which the block's blob is opened.
        pub z: Fr,
        /// The polynomial of the run's words there.
        pub y: BlobFr,
        /// The point to the power of the number of the run's words.
        pub pow: BlobFr,
        /// Root of the run's tree of messages to L1.
        pub out_root: Fr,
        /// What is still owed for the proofs below.
        pub pair: Pair,
    }
}

layout! {
    /// What BlockRoot (all variants) and BlockMerge state: a run of blocks.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct BlockRange as BlockRangeLayout, "block range inputs" {
        /// The same in every range.
        pub constants: Constants,
        /// Root of the archive before the first block.
        pub prev_archive_root: Fr,
        /// Root of the archive after the last block.
        pub end_archive_root: Fr,
        /// Number of the first block.
        pub first_block: u64,
        /// Number of the last block.
        pub last_block: u64,
        /// Slot of the first block.
        pub first_slot: u64 as 48,
        /// Slot of the last block.
        pub last_slot: u64 as 48,
        /// L1's chain before the first block.
        pub chain_start: Fr,
        /// L1's chain after the last block.
        pub chain_end: Fr,
        /// Rows charged for the proofs of the range.
        pub num_constraints: u64,
        /// What is still owed for the proofs below.
        pub pair: Pair,
    }
}

layout! {
    /// What EpochRoot (both variants) states, and the contract hands to the verifier: a run of blocks
    /// inside one epoch.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct EpochRoot as EpochRootLayout, "epoch root inputs" {
        /// The same in every range.
        pub constants: Constants,
        /// Root of the archive before the first block.
        pub prev_archive_root: Fr,
        /// Root of the archive after the last block.
        pub end_archive_root: Fr,
        /// Number of the first block.
        pub first_block: u64,
        /// Number of the last block.
        pub last_block: u64,
        /// The epoch of all blocks.
        pub epoch: u64,
        /// L1's chain before the first block.
        pub chain_start: Fr,
        /// L1's chain after the last block.
        pub chain_end: Fr,
        /// Rows charged for the proofs of the range.
        pub num_constraints: u64,
        /// What is still owed for the proofs below.
        pub pair: Pair,
    }
}

impl ClientInputs {
    /// The inputs that the client proof of this transaction must have under the keys of this root.
    pub fn of(tx: &Tx, vk_root: Fr) -> Self {
        Self {
            chain_id: tx.chain_id,
            version: tx.version,
            vk_root,
            protocol_version: PROTOCOL_VERSION,
            anchor_header_hash: tx.anchor_header_hash,
            tx_hash: tx.hash(),
            pair: tx.pair,
        }
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

/// Reads the words of a pair.
pub(crate) fn read_pair(from: &mut Reader<'_>) -> Result<Pair, DecodeError> {
    let cells = PairLayout::from_slice(&from.frs(PAIR_INPUTS)?);
    cells.expect("a pair has as many cells as its layout").pair()
}

fn name_of(point: PairPoint) -> &'static str {
    match point {
        PairPoint::L => "pair.l",
        PairPoint::R => "pair.r",
    }
}

impl Encode for Pair {
    type Row<T> = PairLayout<T>;
    const PAIR_AT: Option<usize> = Some(0);
    fn cells(&self) -> PairLayout<Fr> {
        PairLayout::of(self)
    }
    fn decode(_: &'static str, cells: &PairLayout<Fr>) -> Result<Self, DecodeError> {
        cells.pair()
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        let point = [Range::Bits(u128::BITS); PointLayout::<Fr>::CELLS];
        for _ in 0..2 {
            out.extend(point.map(|range| (range, doc)));
            out.push((Range::Field, doc));
        }
    }
}
