//! What of a block goes to L1, and the chain that L1 keeps of it.

use ark_ff::{Field, Zero};
use rollmill_algebra::{Fr, poseidon2};

use crate::blob::{BlobFr, Commitment, CommitmentLayout, HalvesLayout, Opening};
use crate::codec::{DecodeError, Reader, Writer};
use crate::domain;
use crate::field::EthAddress;
use crate::gas::MAX_TXS_PER_BLOCK;
use crate::header::Header;
use crate::layout::layout;
use crate::tx::{LOG_WORDS, Log, TxEffects};
use crate::version::ENCODING_VERSION;

/// Appends a transaction to a block's running hash: `hash(TXS_CHAIN, [prev, tx_hash])`. A block's
/// hash starts at zero.
pub fn txs_chain_next(prev: &Fr, tx_hash: &Fr) -> Fr {
    poseidon2::hash(domain::TXS_CHAIN, &[*prev, *tx_hash])
}

/// The running hash over these transactions.
pub fn txs_chain<'a>(tx_hashes: impl IntoIterator<Item = &'a Fr>) -> Fr {
    tx_hashes.into_iter().fold(Fr::zero(), |prev, hash| txs_chain_next(&prev, hash))
}

layout! {
    /// One link of the chain of blocks, part by part: L1 computes it on `propose`, BlockRoot opens it. Zero
    /// stands before the first block after genesis.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ChainLink as ChainLinkLayout, "chain link" {
        /// The chain before the block.
        pub chain_before: Fr,
        /// Hash of the block's header.
        pub header_hash: Fr,
        /// Root of the archive with the header appended.
        pub archive_root: Fr,
        /// The header's slot.
        pub slot: u64 as 48,
        /// The header's number of transactions.
        pub tx_count: u64 as 16,
        /// The header's price of L2 gas.
        pub fee_per_l2_gas: u64,
        /// The header's price of DA gas.
        pub fee_per_da_gas: u64,
        /// The header's coinbase.
        pub coinbase: EthAddress,
        /// The header's L2 gas.
        pub l2_gas_used: u64,
        /// The header's DA gas.
        pub da_gas_used: u64,
        /// The header's sum of fees.
        pub total_fees: u128,
        /// The header's running hash of messages from L1.
        pub in_hash: Fr,
        /// The header's root of messages to L1.
        pub out_root: Fr,
        /// The point at which the blob is opened.
        pub z: Fr,
        /// The blob's value there.
        pub y: BlobFr,
        /// The blob's commitment.
        pub commitment: Commitment,
    }
}

layout! {
    /// The words of a link, in the order of its hash. A packed word lists its parts from the lowest bit up.
    pub struct LinkWordsLayout<T> {
        pub chain_before: T,
        pub header_hash: T,
        pub archive_root: T,
        /// Slot 48, number of transactions 16, price of L2 gas 64, price of DA gas 64.
        pub slot_count_prices: T,
        /// Coinbase 160, L2 gas 64.
        pub coinbase_l2_gas: T,
        /// Fees 128, DA gas 64.
        pub fees_da_gas: T,
        pub in_hash: T,
        pub out_root: T,
        pub z: T,
        /// The lower half of the blob's value 128, first 12 bytes of the commitment 96.
        pub y_lo_c0: T,
        /// The upper half of the blob's value 128, the 12 bytes after them 96.
        pub y_hi_c1: T,
        /// The last 24 bytes of the commitment.
        pub c2_c3: T,
    }
}

impl<T> ChainLinkLayout<T> {
    /// Packs the parts into words: natively over values, in a circuit over its variables. `pack` makes one
    /// word of parts with their bits, the first one in the lowest bits.
    pub fn pack(self, mut pack: impl FnMut(&[(T, u32)]) -> T) -> LinkWordsLayout<T> {
        let CommitmentLayout { first, second, last } = self.commitment;
        let HalvesLayout { lo, hi } = self.y;
        let [first_bits, second_bits, _] = Commitment::BITS;
        LinkWordsLayout {
            chain_before: self.chain_before,
            header_hash: self.header_hash,
            archive_root: self.archive_root,
            slot_count_prices: pack(&[
                (self.slot, 48),
                (self.tx_count, 16),
                (self.fee_per_l2_gas, 64),
                (self.fee_per_da_gas, 64),
            ]),
            coinbase_l2_gas: pack(&[(self.coinbase, 160), (self.l2_gas_used, 64)]),
            fees_da_gas: pack(&[(self.total_fees, 128), (self.da_gas_used, 64)]),
            in_hash: self.in_hash,
            out_root: self.out_root,
            z: self.z,
            y_lo_c0: pack(&[(lo, 128), (first, first_bits)]),
            y_hi_c1: pack(&[(hi, 128), (second, second_bits)]),
            c2_c3: last,
        }
    }
}

impl ChainLink {
    /// The link of a block with this header, and with transactions that have this opening.
    pub fn new(header: &Header, chain_before: Fr, archive_root: Fr, blob: &Opening) -> Self {
        Self {
            chain_before,
            header_hash: header.hash(),
            archive_root,
            slot: header.slot,
            tx_count: header.tx_count,
            fee_per_l2_gas: header.fee_per_l2_gas,
            fee_per_da_gas: header.fee_per_da_gas,
            coinbase: header.coinbase,
            l2_gas_used: header.l2_gas_used,
            da_gas_used: header.da_gas_used,
            total_fees: header.total_fees,
            in_hash: header.in_hash,
            out_root: header.out_root,
            z: blob.z,
            y: blob.y,
            commitment: blob.commitment,
        }
    }

    /// The twelve words of its hash.
    pub fn words(&self) -> LinkWordsLayout<Fr> {
        self.layout().pack(|parts| {
            parts.iter().rev().fold(Fr::zero(), |word, (part, bits)| {
                word * Fr::from(2u64).pow([u64::from(*bits)]) + part
            })
        })
    }

    /// The chain after the block: `hash(CHAIN, words)`.
    pub fn chain(&self) -> Fr {
        poseidon2::hash(domain::CHAIN, &self.words().into_vec())
    }
}

/// The public part of one transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBody {
    /// Its effects.
    pub effects: TxEffects,
    /// Its logs.
    pub logs: Vec<Log>,
}

impl BlockBody {
    /// Canonical bytes: effects, then logs.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new("transaction effects", bytes);
        let body = Self::read(&mut from)?;
        from.finish()?;
        Ok(body)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.effects.write(out);
        for log in &self.logs {
            out.frs(log);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let effects = TxEffects::read(from)?;
        let words = from.frs(effects.log_count() * LOG_WORDS)?;
        let logs = words.as_chunks::<LOG_WORDS>().0.to_vec();
        effects.check_logs(&logs)?;
        Ok(Self { effects, logs })
    }
}

/// A block as nodes store it: enough to follow the chain, not enough to prove it, since client proofs are
/// not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockData {
    /// The header.
    pub header: Header,
    /// One entry a transaction, in order.
    pub txs: Vec<BlockBody>,
}

impl BlockData {
    /// Canonical bytes: version byte, header, then effects and logs of each transaction. The number
    /// of transactions is the header's.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(ENCODING_VERSION);
        self.header.write(&mut out);
        for tx in &self.txs {
            tx.write(&mut out);
        }
        out.finish()
    }

    /// Reads canonical bytes. The header's number of transactions and running hash must be those
    /// of the transactions that follow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new("block data", bytes);
        from.version(ENCODING_VERSION)?;
        let header = Header::read(&mut from)?;
        if header.tx_count > MAX_TXS_PER_BLOCK as u64 {
            return Err(DecodeError::OutOfRange {
                what: "transactions of a block",
                max: MAX_TXS_PER_BLOCK.to_string(),
                got: header.tx_count.to_string(),
            });
        }
        let txs = (0..header.tx_count)
            .map(|_| BlockBody::read(&mut from))
            .collect::<Result<Vec<_>, DecodeError>>()?;
        from.finish()?;
        let hashes = TxEffects::tx_hashes(txs.iter().map(|tx: &BlockBody| &tx.effects));
        if txs_chain(&hashes) != header.txs_chain {
            return Err(DecodeError::Shape {
                what: "block data",
                reason: "the header names other transactions than the ones that follow".to_owned(),
            });
        }
        Ok(Self { header, txs })
    }
}
