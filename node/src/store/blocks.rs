//! Blocks, transactions, tags, tips and L1 positions in the database.

use std::ops::RangeInclusive;

use redb::ReadableTable;
use rollmill_protocol::codec::{Reader, Writer as Encoder};
use rollmill_protocol::tree::StateChanges;
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{BlockBody, BlockData, Commitment, Fr, Header, Opening};

use super::{Bytes, Tables, Writer, fr_at, get, key, keys, last, u64_at, word};
use crate::error::{NodeError, damaged};
use crate::l1_events::L1Position;

/// The stored record of a block, without its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRecord {
    pub header: Header,
    pub header_hash: Fr,
    /// Archive root with the header appended.
    pub archive_root: Fr,
    /// L1's chain with the block; zero at genesis.
    pub chain: Fr,
    /// Commitment to the block's blob; zeros at genesis and without transactions. With the transactions it gives
    /// the opening that the chain has.
    pub commitment: Commitment,
    /// L1 block that contains it.
    pub l1_block: u64,
}

/// A block with its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    pub record: BlockRecord,
    /// Hash of each transaction, in order.
    pub tx_hashes: Vec<Fr>,
    /// Effects and logs of each transaction, in order.
    pub txs: Vec<BlockBody>,
}

impl StoredBlock {
    /// The block as nodes exchange it.
    pub fn data(&self) -> BlockData {
        BlockData { header: self.record.header.clone(), txs: self.txs.clone() }
    }

    /// What L1 opened of the block's blob.
    pub fn opening(&self) -> Opening {
        Opening::new(&self.record.header.txs_chain, &self.txs, self.record.commitment)
    }

    /// Index in the note-hash tree of the first note hash of transaction `index`.
    pub fn note_start_index(&self, index: usize) -> u64 {
        let slots = SLOTS as u64;
        let end = self.record.header.state.tx_state.note_count;
        end.saturating_sub((self.txs.len() as u64).saturating_sub(index as u64) * slots)
    }
}

impl BlockRecord {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.raw(&self.header.to_bytes());
        out.frs(&[self.header_hash, self.archive_root, self.chain]);
        out.raw(&self.commitment.0);
        out.u64(self.l1_block);
        out.finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, NodeError> {
        let mut from = Reader::new("block record", bytes);
        let mut read = || {
            let header = Header::from_bytes(from.raw(Header::BYTES)?)?;
            Ok(Self {
                header,
                header_hash: from.fr()?,
                archive_root: from.fr()?,
                chain: from.fr()?,
                commitment: Commitment(from.array()?),
                l1_block: from.u64()?,
            })
        };
        let record = read().map_err(damaged)?;
        from.finish().map_err(damaged)?;
        Ok(record)
    }
}

/// Numbers of the last pending and the last proven block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tips {
    pub(crate) pending: u64,
    pub(crate) proven: u64,
}

/// The chain as of an L1 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct L1Record {
    pub(crate) position: L1Position,
    pub(crate) tips: Tips,
    /// The lowest the pending tip was since the record before: below `tips.pending` where blocks
    /// were pruned and others proposed.
    pub(crate) low: u64,
    /// Whether the chain on L1 then had a block that this node rejected. Going back, the node passes such a
    /// position, so that it asks anew for the data of the block and decides anew.
    pub(crate) has_rejected: bool,
    /// Timestamp of the L1 block, in Unix seconds.
    pub(crate) time: u64,
    /// The newest block that L1 had finalized then; none where L1 finalizes nothing.
    pub(crate) finalized: Option<u64>,
}

/// Means that no block is finalized: no chain reaches this number.
const NOT_FINALIZED: u64 = u64::MAX;

impl L1Record {
    fn value(&self) -> Vec<u8> {
        key(&[
            &self.position.hash,
            &self.tips.pending.to_be_bytes(),
            &self.tips.proven.to_be_bytes(),
            &self.low.to_be_bytes(),
            &[self.has_rejected.into()],
            &self.time.to_be_bytes(),
            &self.finalized.unwrap_or(NOT_FINALIZED).to_be_bytes(),
        ])
    }

    fn from_entry(number: &[u8], value: &[u8]) -> Result<Self, NodeError> {
        let hash = value.first_chunk::<32>();
        let hash = *hash.ok_or_else(|| NodeError::corrupt("an L1 record is too short"))?;
        let has_rejected = value.get(56).is_some_and(|flag| *flag != 0);
        let (time, finalized) = (u64_at(value, 57)?, u64_at(value, 65)?);
        Ok(Self {
            position: L1Position { number: u64_at(number, 0)?, hash },
            tips: Tips { pending: u64_at(value, 32)?, proven: u64_at(value, 40)? },
            low: u64_at(value, 48)?,
            has_rejected,
            time,
            finalized: Some(finalized).filter(|number| *number != NOT_FINALIZED),
        })
    }
}

/// A block to be written.
#[derive(Debug)]
pub(crate) struct BlockWrite<'a> {
    pub(crate) record: &'a BlockRecord,
    pub(crate) txs: &'a [BlockBody],
    pub(crate) changes: &'a StateChanges,
}

const FIRST: [u8; 8] = [0; 8];
const LAST: [u8; 8] = [0xff; 8];

fn tx_key(block: u64, index: u32) -> Vec<u8> {
    key(&[&block.to_be_bytes(), &index.to_be_bytes()])
}

fn tx_place(bytes: &[u8]) -> Result<(u64, u32), NodeError> {
    let index = bytes.get(8..).and_then(|rest| rest.first_chunk::<4>());
    let index = index.ok_or_else(|| NodeError::corrupt("a transaction's place is too short"))?;
    Ok((u64_at(bytes, 0)?, u32::from_be_bytes(*index)))
}

impl<T: ReadableTable<Bytes, Bytes>> Tables<T> {
    /// The tips; an error before genesis is written.
    pub(crate) fn tips(&self) -> Result<Tips, NodeError> {
        let bytes = self.meta("tips")?.ok_or_else(|| NodeError::corrupt("there are no tips"))?;
        Ok(Tips { pending: u64_at(&bytes, 0)?, proven: u64_at(&bytes, 8)? })
    }

    /// The oldest block whose state can be read.
    pub(crate) fn history_start(&self) -> Result<u64, NodeError> {
        Ok(self.meta_u64("history_start")?.unwrap_or(0))
    }

    /// A block of the chain.
    pub(crate) fn block_record(&self, block: u64) -> Result<Option<BlockRecord>, NodeError> {
        let bytes = get(&self.blocks, &block.to_be_bytes())?;
        bytes.map(|bytes| BlockRecord::from_bytes(&bytes)).transpose()
    }

    /// A block that exists according to the tips.
    pub(crate) fn expect_block(&self, block: u64) -> Result<BlockRecord, NodeError> {
        self.block_record(block)?
            .ok_or_else(|| NodeError::corrupt(format!("block {block} is missing")))
    }

    /// The number of the block with this header hash.
    pub(crate) fn block_number(&self, header_hash: &Fr) -> Result<Option<u64>, NodeError> {
        get(&self.headers, &word(header_hash))?.map(|bytes| u64_at(&bytes, 0)).transpose()
    }

    /// Transaction `index` of a block: its hash, effects and logs.
    pub(crate) fn tx_body(
        &self,
        block: u64,
        index: u32,
    ) -> Result<Option<(Fr, BlockBody)>, NodeError> {
        let Some(bytes) = get(&self.txs, &tx_key(block, index))? else { return Ok(None) };
        let hash = fr_at(&bytes, 0)?;
        Ok(Some((hash, BlockBody::from_bytes(&bytes[32..]).map_err(damaged)?)))
    }

    /// Hashes of a block's transactions, in order, without reading the transactions.
    pub(crate) fn tx_hashes(&self, block: u64) -> Result<Vec<Fr>, NodeError> {
        let (from, to) = (tx_key(block, 0), tx_key(block, u32::MAX));
        let range = self.txs.range::<&[u8]>(&from[..]..=&to[..])?;
        range.map(|entry| fr_at(entry?.1.value(), 0)).collect()
    }

    /// A block with its transactions.
    pub(crate) fn stored_block(&self, block: u64) -> Result<Option<StoredBlock>, NodeError> {
        let Some(record) = self.block_record(block)? else { return Ok(None) };
        let (mut tx_hashes, mut txs) = (Vec::new(), Vec::new());
        let count = u32::try_from(record.header.tx_count);
        for index in 0..count.map_err(|_| NodeError::corrupt(format!("size of block {block}")))? {
            let (hash, body) = self.tx_body(block, index)?.ok_or_else(|| {
                NodeError::corrupt(format!("transaction {index} of block {block} is missing"))
            })?;
            tx_hashes.push(hash);
            txs.push(body);
        }
        Ok(Some(StoredBlock { record, tx_hashes, txs }))
    }

    /// Block and index of a transaction of the chain.
    pub(crate) fn tx_place(&self, tx_hash: &Fr) -> Result<Option<(u64, u32)>, NodeError> {
        get(&self.tx_index, &word(tx_hash))?.map(|bytes| tx_place(&bytes)).transpose()
    }

    /// Block, transaction and log of up to `limit` logs with this tag, oldest first.
    pub(crate) fn tagged(&self, tag: &Fr, limit: usize) -> Result<Vec<(u64, u32, u8)>, NodeError> {
        let prefix = word(tag);
        let to = key(&[&prefix, &LAST, &LAST]);
        let found = keys(&self.tags, &prefix, &to, limit)?;
        found
            .iter()
            .map(|found| {
                let (block, index) = tx_place(found.get(32..).unwrap_or_default())?;
                let log = found.get(44).copied();
                Ok((block, index, log.ok_or_else(|| NodeError::corrupt("a tag is too short"))?))
            })
            .collect()
    }

    /// The newest L1 record up to L1 block `number`.
    pub(crate) fn l1_record(&self, number: u64) -> Result<Option<L1Record>, NodeError> {
        let found = last(&self.l1, &FIRST, &number.to_be_bytes())?;
        found.map(|(number, value)| L1Record::from_entry(&number, &value)).transpose()
    }

    /// The newest L1 record.
    pub(crate) fn l1_head(&self) -> Result<L1Record, NodeError> {
        self.l1_record(u64::MAX)?.ok_or_else(|| NodeError::corrupt("there is no L1 position"))
    }

    /// L1 block of the deployment, the oldest record.
    pub(crate) fn l1_records_start(&self) -> Result<u64, NodeError> {
        let first = self.l1.first()?;
        let first = first.ok_or_else(|| NodeError::corrupt("there is no L1 position"))?;
        u64_at(first.0.value(), 0)
    }

    /// L1 records, newest first.
    pub(crate) fn l1_records(&self) -> Result<Vec<L1Record>, NodeError> {
        let entries = self.l1.iter()?.rev();
        entries
            .map(|entry| {
                let (number, value) = entry?;
                L1Record::from_entry(number.value(), value.value())
            })
            .collect()
    }
}

impl Writer<'_> {
    /// Sets the tips.
    pub(crate) fn set_tips(&mut self, tips: Tips) -> Result<(), NodeError> {
        let value = key(&[&tips.pending.to_be_bytes(), &tips.proven.to_be_bytes()]);
        self.set_meta("tips", &value)
    }

    /// Appends a block. Its number is one above the last.
    pub(crate) fn put_block(&mut self, write: &BlockWrite<'_>) -> Result<(), NodeError> {
        let block = write.record.header.block_number;
        self.write_state(block, write.changes)?;
        self.blocks.insert(block.to_be_bytes().as_slice(), write.record.to_bytes().as_slice())?;
        for (index, body) in (0u32..).zip(write.txs) {
            let hash = word(&body.effects.tx_hash());
            let place = tx_key(block, index);
            let value = key(&[&hash, &body.to_bytes()]);
            self.txs.insert(place.as_slice(), value.as_slice())?;
            self.tx_index.insert(hash.as_slice(), place.as_slice())?;
            for tag in tag_keys(block, index, body) {
                self.tags.insert(tag.as_slice(), [].as_slice())?;
            }
        }
        Ok(())
    }

    /// Removes the newest blocks until `last` is the newest. The caller sets the tips.
    pub(crate) fn undo_blocks(&mut self, pending: u64, last: u64) -> Result<(), NodeError> {
        for block in (last + 1..=pending).rev() {
            let stored = self.stored_block(block)?;
            let stored =
                stored.ok_or_else(|| NodeError::corrupt(format!("block {block} is missing")))?;
            self.undo_state(block, &stored.record.header_hash)?;
            for ((index, hash), body) in (0u32..).zip(&stored.tx_hashes).zip(&stored.txs) {
                for tag in tag_keys(block, index, body) {
                    self.tags.remove(tag.as_slice())?;
                }
                self.tx_index.remove(word(hash).as_slice())?;
                self.txs.remove(tx_key(block, index).as_slice())?;
            }
            self.blocks.remove(block.to_be_bytes().as_slice())?;
        }
        Ok(())
    }

    /// Deletes states before `oldest`.
    pub(crate) fn forget_states(&mut self, oldest: u64) -> Result<(), NodeError> {
        let start = self.history_start()?;
        for block in start + 1..=oldest {
            self.forget_state_before(block)?;
        }
        if oldest > start {
            self.set_meta("history_start", &oldest.to_be_bytes())?;
        }
        Ok(())
    }

    /// Records the chain as of an L1 block.
    pub(crate) fn put_l1(&mut self, record: &L1Record) -> Result<(), NodeError> {
        let number = record.position.number.to_be_bytes();
        self.l1.insert(number.as_slice(), record.value().as_slice())?;
        Ok(())
    }

    /// Deletes L1 records in a range of L1 block numbers.
    pub(crate) fn forget_l1(&mut self, range: RangeInclusive<u64>) -> Result<(), NodeError> {
        let (from, to) = (range.start().to_be_bytes(), range.end().to_be_bytes());
        self.l1.retain_in::<&[u8], _>(&from[..]..=&to[..], |_, _| false)?;
        Ok(())
    }
}

fn tag_keys(block: u64, index: u32, body: &BlockBody) -> impl Iterator<Item = Vec<u8>> {
    let tags = body.effects.tags.iter().take(body.effects.log_count());
    tags.zip(0u8..).map(move |(tag, log)| {
        key(&[&word(tag), &block.to_be_bytes(), &index.to_be_bytes(), &[log]])
    })
}
