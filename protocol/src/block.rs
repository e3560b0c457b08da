//! What of a block goes to L1, and the chain that L1 keeps of it.

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use crate::codec::{DecodeError, Reader, Writer};
use crate::domain;
use crate::field;
use crate::field::EthAddress;
use crate::gas::MAX_TXS_PER_BLOCK;
use crate::header::Header;
use crate::layout::layout;
use crate::tx::{TxEffects, read_logs};
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
    /// One link of the chain of blocks: L1 computes it on `propose`, BlockRoot opens it. Zero stands
    /// before the first block after genesis. The order of its fields is that of its hash.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ChainLink as ChainLinkLayout, "chain link" {
        /// The chain before the block.
        pub chain_prev: Fr,
        /// Hash of the block's header.
        pub header_hash: Fr,
        /// [`BlockData::data_hash`].
        pub data_hash: Fr,
        /// Root of the archive with the header appended.
        pub archive_root: Fr,
        /// The header's slot.
        pub slot: u64,
        /// The header's coinbase.
        pub coinbase: EthAddress,
        /// The header's sum of fees.
        pub total_fees: u128,
    }
}

impl ChainLink {
    /// The link of a block with this header.
    pub fn new(header: &Header, chain_prev: Fr, data_hash: Fr, archive_root: Fr) -> Self {
        Self {
            chain_prev,
            header_hash: header.hash(),
            data_hash,
            archive_root,
            slot: header.slot,
            coinbase: header.coinbase,
            total_fees: header.total_fees,
        }
    }

    /// The chain after the block: `hash(CHAIN, fields)`.
    pub fn chain(&self) -> Fr {
        poseidon2::hash(domain::CHAIN, &self.to_fields())
    }
}

/// The public part of one transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBody {
    /// Its effects.
    pub effects: TxEffects,
    /// Its encrypted logs.
    pub logs: Vec<Vec<u8>>,
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

    fn write(&self, out: &mut Writer) {
        self.effects.write(out);
        for log in &self.logs {
            out.raw(log);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let effects = TxEffects::read(from)?;
        let logs = read_logs(from, &effects)?;
        Ok(Self { effects, logs })
    }
}

/// A block as it is published: enough to follow the chain, not enough to prove it, since client
/// proofs stay with the nodes.
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

    /// SHA-256 of the canonical bytes with the first byte zeroed.
    pub fn data_hash(&self) -> Fr {
        data_hash(&self.to_bytes())
    }
}

/// SHA-256 of a block's canonical bytes with the first byte zeroed.
pub fn data_hash(bytes: &[u8]) -> Fr {
    field::sha256_field(bytes)
}
