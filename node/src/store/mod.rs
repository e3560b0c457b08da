//! The database: blocks, versioned state, L1 position and the pool, in one file.
//!
//! All tables map byte strings to byte strings. Keys are big-endian, so that their order is the
//! order of the numbers in them. State values carry the number of the block that wrote them: the
//! state after block `n` is, for every key, the value with the greatest number up to `n`. So any
//! recent state can be read while the chain grows, and undoing a block deletes its versions.

mod blocks;
mod messages;
mod state;

use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    Table, TableDefinition, WriteTransaction,
};
use rollmill_protocol::Fr;
use rollmill_protocol::field::{from_bytes, to_bytes};

use crate::error::NodeError;

pub use blocks::{BlockRecord, StoredBlock};
pub(crate) use blocks::{BlockWrite, L1Record, Tips};
pub use state::StateAt;
pub(crate) use state::StateView;

/// Version of the tables below.
const SCHEMA: u64 = 2;

pub(crate) type Bytes = &'static [u8];
/// A key and its value, copied out.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);
type Definition = TableDefinition<'static, Bytes, Bytes>;

/// One handle for each table; `T` reads or reads and writes.
#[derive(Debug)]
pub(crate) struct Tables<T> {
    /// tree, level, index, block → node.
    nodes: T,
    /// tree, index, block → leaf of an indexed tree.
    leaves: T,
    /// tree, key → index, block that inserted it.
    keys: T,
    /// header hash → block.
    headers: T,
    /// block → [`BlockRecord`].
    blocks: T,
    /// block, index → transaction hash, effects and logs.
    txs: T,
    /// transaction hash → block, index.
    tx_index: T,
    /// tag, block, index, log → nothing.
    tags: T,
    /// block → what it wrote.
    undo: T,
    /// Index of a message from L1 → leaf, L1 block, deposit.
    messages: T,
    /// Address, index of a deposit into its fee balance → nothing.
    deposits: T,
    /// L1 block → [`L1Record`].
    l1: T,
    /// name → value.
    meta: T,
    /// transaction hash → arrival, time of arrival, transaction, of those that wait for a block.
    waiting: T,
    /// As `waiting`, of transactions in blocks that are not finally proven.
    included: T,
}

const NODES: Definition = TableDefinition::new("nodes");
const LEAVES: Definition = TableDefinition::new("leaves");
const KEYS: Definition = TableDefinition::new("keys");
const HEADERS: Definition = TableDefinition::new("headers");
const BLOCKS: Definition = TableDefinition::new("blocks");
const TXS: Definition = TableDefinition::new("txs");
const TX_INDEX: Definition = TableDefinition::new("tx_index");
const TAGS: Definition = TableDefinition::new("tags");
const UNDO: Definition = TableDefinition::new("undo");
const MESSAGES: Definition = TableDefinition::new("messages");
const DEPOSITS: Definition = TableDefinition::new("deposits");
const L1: Definition = TableDefinition::new("l1");
const META: Definition = TableDefinition::new("meta");
const WAITING: Definition = TableDefinition::new("waiting");
const INCLUDED: Definition = TableDefinition::new("included");

/// A consistent view of the database at one commit.
pub(crate) type Snapshot = Tables<ReadOnlyTable<Bytes, Bytes>>;
/// The tables inside a write transaction.
pub(crate) type Writer<'t> = Tables<Table<'t, Bytes, Bytes>>;

impl<T> Tables<T> {
    fn open(
        mut table: impl FnMut(Definition) -> Result<T, redb::TableError>,
    ) -> Result<Self, NodeError> {
        Ok(Self {
            nodes: table(NODES)?,
            leaves: table(LEAVES)?,
            keys: table(KEYS)?,
            headers: table(HEADERS)?,
            blocks: table(BLOCKS)?,
            txs: table(TXS)?,
            tx_index: table(TX_INDEX)?,
            tags: table(TAGS)?,
            undo: table(UNDO)?,
            messages: table(MESSAGES)?,
            deposits: table(DEPOSITS)?,
            l1: table(L1)?,
            meta: table(META)?,
            waiting: table(WAITING)?,
            included: table(INCLUDED)?,
        })
    }
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    db: Database,
    path: PathBuf,
}

impl Store {
    /// Opens or creates the file with its tables.
    pub(crate) fn open(path: &Path) -> Result<Self, NodeError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| NodeError::Open {
            path: path.to_owned(),
            source,
        };
        let db = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => NodeError::InUse { path: path.to_owned() },
            error => failed(error.into()),
        })?;
        let store = Self { db, path: path.to_owned() };
        store.write(|tables| {
            match tables.meta_u64("schema")? {
                None => tables.set_meta("schema", &SCHEMA.to_be_bytes())?,
                Some(SCHEMA) => (),
                Some(got) => return Err(NodeError::Schema { expected: SCHEMA, got }),
            }
            Ok(())
        })?;
        Ok(store)
    }

    /// The database as of the last commit.
    pub(crate) fn read(&self) -> Result<Snapshot, NodeError> {
        let transaction: ReadTransaction = self.db.begin_read()?;
        Snapshot::open(|definition| transaction.open_table(definition))
    }

    /// Runs `work` in a transaction that is committed if it succeeds and leaves no trace otherwise. A failure of the
    /// database names its file: it is on the disk that is full.
    pub(crate) fn write<R>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<R, NodeError>,
    ) -> Result<R, NodeError> {
        self.commit(work).map_err(|error| error.at(&self.path))
    }

    fn commit<R>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<R, NodeError>,
    ) -> Result<R, NodeError> {
        let transaction: WriteTransaction = self.db.begin_write()?;
        let result = {
            let mut tables = Writer::open(|definition| transaction.open_table(definition))?;
            work(&mut tables)
        };
        match result {
            Ok(value) => {
                transaction.commit()?;
                Ok(value)
            }
            Err(error) => {
                // What failed says more than a database that takes nothing after it.
                let _ = transaction.abort();
                Err(error)
            }
        }
    }
}

/// The value of a key, copied out.
pub(crate) fn get<T: ReadableTable<Bytes, Bytes>>(
    table: &T,
    key: &[u8],
) -> Result<Option<Vec<u8>>, NodeError> {
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

/// The last entry with `from <= key <= to`.
pub(crate) fn last<T: ReadableTable<Bytes, Bytes>>(
    table: &T,
    from: &[u8],
    to: &[u8],
) -> Result<Option<Entry>, NodeError> {
    let entry = table.range::<&[u8]>(from..=to)?.next_back().transpose()?;
    Ok(entry.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())))
}

/// All keys with `from <= key < to`, up to `limit`.
pub(crate) fn keys<T: ReadableTable<Bytes, Bytes>>(
    table: &T,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> Result<Vec<Vec<u8>>, NodeError> {
    let range = table.range::<&[u8]>(from..to)?.take(limit);
    range.map(|entry| Ok(entry?.0.value().to_vec())).collect()
}

/// The eight bytes at `at` as a number.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, NodeError> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    word.map(|word| u64::from_be_bytes(*word)).ok_or_else(|| {
        NodeError::corrupt(format!("a record of {} bytes is too short", bytes.len()))
    })
}

/// The 32 bytes at `at` as a field element.
pub(crate) fn fr_at(bytes: &[u8], at: usize) -> Result<Fr, NodeError> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<32>());
    word.and_then(from_bytes).ok_or_else(|| NodeError::corrupt("a record holds no field element"))
}

/// Joins the parts of a key.
pub(crate) fn key(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A field element as a key or value.
pub(crate) fn word(value: &Fr) -> [u8; 32] {
    to_bytes(value)
}

impl<T: ReadableTable<Bytes, Bytes>> Tables<T> {
    /// A named value.
    pub(crate) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, NodeError> {
        get(&self.meta, name.as_bytes())
    }

    /// A named number.
    pub(crate) fn meta_u64(&self, name: &str) -> Result<Option<u64>, NodeError> {
        self.meta(name)?.map(|bytes| u64_at(&bytes, 0)).transpose()
    }

    /// Every waiting transaction: hash and record.
    pub(crate) fn waiting_entries(&self) -> Result<Vec<Entry>, NodeError> {
        entries(&self.waiting)
    }

    /// The record of an included transaction.
    pub(crate) fn included_entry(&self, tx_hash: &Fr) -> Result<Option<Vec<u8>>, NodeError> {
        get(&self.included, &word(tx_hash))
    }

    /// Every included transaction: hash and record.
    pub(crate) fn included_entries(&self) -> Result<Vec<Entry>, NodeError> {
        entries(&self.included)
    }
}

fn entries<T: ReadableTable<Bytes, Bytes>>(table: &T) -> Result<Vec<Entry>, NodeError> {
    table
        .iter()?
        .map(|entry| {
            let (key, value) = entry?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        })
        .collect()
}

#[cfg(test)]
impl<T> Tables<T> {
    /// Every table but those of the pool, by name.
    pub(crate) fn chain_tables(&self) -> [(&'static str, &T); 13] {
        [
            ("nodes", &self.nodes),
            ("leaves", &self.leaves),
            ("keys", &self.keys),
            ("headers", &self.headers),
            ("blocks", &self.blocks),
            ("txs", &self.txs),
            ("tx_index", &self.tx_index),
            ("tags", &self.tags),
            ("undo", &self.undo),
            ("messages", &self.messages),
            ("deposits", &self.deposits),
            ("l1", &self.l1),
            ("meta", &self.meta),
        ]
    }
}

impl Writer<'_> {
    /// Sets a named value.
    pub(crate) fn set_meta(&mut self, name: &str, value: &[u8]) -> Result<(), NodeError> {
        self.meta.insert(name.as_bytes(), value)?;
        Ok(())
    }

    /// Forgets a named value.
    pub(crate) fn clear_meta(&mut self, name: &str) -> Result<(), NodeError> {
        self.meta.remove(name.as_bytes())?;
        Ok(())
    }

    /// Keeps a waiting transaction.
    pub(crate) fn put_waiting(&mut self, tx_hash: &Fr, record: &[u8]) -> Result<(), NodeError> {
        self.waiting.insert(word(tx_hash).as_slice(), record)?;
        Ok(())
    }

    /// Forgets a waiting transaction.
    pub(crate) fn remove_waiting(&mut self, tx_hash: &Fr) -> Result<(), NodeError> {
        self.waiting.remove(word(tx_hash).as_slice())?;
        Ok(())
    }

    /// Keeps an included transaction.
    pub(crate) fn put_included(&mut self, tx_hash: &Fr, record: &[u8]) -> Result<(), NodeError> {
        self.included.insert(word(tx_hash).as_slice(), record)?;
        Ok(())
    }

    /// Forgets an included transaction.
    pub(crate) fn remove_included(&mut self, tx_hash: &Fr) -> Result<(), NodeError> {
        self.included.remove(word(tx_hash).as_slice())?;
        Ok(())
    }

    /// Deletes everything except the pool, to follow the chain from genesis again.
    pub(crate) fn reset_chain(&mut self) -> Result<(), NodeError> {
        for table in [
            &mut self.nodes,
            &mut self.leaves,
            &mut self.keys,
            &mut self.headers,
            &mut self.blocks,
            &mut self.txs,
            &mut self.tx_index,
            &mut self.tags,
            &mut self.undo,
            &mut self.messages,
            &mut self.deposits,
            &mut self.l1,
        ] {
            table.retain(|_, _| false)?;
        }
        for name in ["tips", "refused", "history_start"] {
            self.clear_meta(name)?;
        }
        Ok(())
    }
}
