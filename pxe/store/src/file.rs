//! The file: its head, its rows, and one transaction for each step.
//!
//! A database of redb with two tables. `head` has two rows: the head in clear, and the seal. `rows` has everything
//! else under hidden names ([`crate::seal`]). The seal is written with each commit, and compared with all rows when
//! the file is opened, after redb has compared each page with its checksum.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use zeroize::Zeroizing;

use crate::codec::{Code, decode, encode};
use crate::error::StoreError;
use crate::seal::{self, Cost, FileKeys, GROUP_BYTES, NAME_BYTES, Name, PlainRow, Seal, Sum};
use crate::tables::{RowAddress, RowOf, Table};

type Slice = &'static [u8];
const HEAD: TableDefinition<'static, Slice, Slice> = TableDefinition::new("head");
const ROWS: TableDefinition<'static, Slice, Slice> = TableDefinition::new("rows");
const HEAD_KEY: &[u8] = b"head";
const SEAL_KEY: &[u8] = b"seal";

/// First bytes of the head.
const MAGIC: &[u8; 16] = b"rollmill pxe db\0";
/// Version of the head, of the names and of the sealing.
pub(crate) const FORMAT: u8 = 1;
const SALT_BYTES: usize = 32;
/// Magic, format, cost and salt: what the wrapped key is bound to.
const BOUND_BYTES: usize = 16 + 1 + 9 + SALT_BYTES;
/// Bytes of the master key, wrapped.
const WRAPPED_BYTES: usize = 32 + seal::SEAL_BYTES;

/// Bytes of the largest row.
const ROW_MAX: usize = 64 << 20;

/// What is in clear, and the master key wrapped under the password's key.
struct Head {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    wrapped: Vec<u8>,
}

impl Head {
    fn new(master: &[u8; 32], password: &str, cost: Cost) -> Result<Self, StoreError> {
        let mut head = Self { cost, salt: seal::random(), wrapped: Vec::new() };
        let key = seal::stretch(password, &head.salt, cost)?;
        head.wrapped = seal::seal(&key, &head.bound(), master)?;
        Ok(head)
    }

    fn bound(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[FORMAT, self.cost.log_n]);
        out.extend_from_slice(&self.cost.r.to_be_bytes());
        out.extend_from_slice(&self.cost.p.to_be_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    fn to_bytes(&self) -> Vec<u8> {
        [self.bound(), self.wrapped.clone()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::damaged("its head is malformed");
        let format = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first());
        match format.copied() {
            Some(FORMAT) => {}
            Some(got) if got > FORMAT => {
                let (expected, got) = (FORMAT.into(), got.into());
                return Err(StoreError::Version { part: "format", expected, got });
            }
            _ => return Err(damaged()),
        }
        let (bound, wrapped) = bytes.split_at_checked(BOUND_BYTES).ok_or_else(damaged)?;
        let number = |at: usize| {
            let word = bound.get(at..).and_then(|rest| rest.first_chunk::<4>());
            word.map(|word| u32::from_be_bytes(*word)).ok_or_else(damaged)
        };
        let cost = Cost { log_n: bound[17], r: number(18)?, p: number(22)? };
        // One that is longer can be made to open under many passwords at once. Whoever may change the file and sees
        // which error comes would learn more than one guess at a time.
        if wrapped.len() != WRAPPED_BYTES {
            return Err(damaged());
        }
        let salt = bound[26..].first_chunk::<SALT_BYTES>().ok_or_else(damaged)?;
        Ok(Self { cost, salt: *salt, wrapped: wrapped.to_vec() })
    }

    /// The master key.
    fn master(&self, password: &str) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        let key = seal::stretch(password, &self.salt, self.cost)?;
        let plain = seal::open(&key, &self.bound(), &self.wrapped).ok_or(StoreError::Password)?;
        let mut master = Zeroizing::new([0u8; 32]);
        let plain = plain.first_chunk::<32>().ok_or(StoreError::Password)?;
        master.copy_from_slice(plain);
        Ok(master)
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct File {
    db: Database,
    keys: FileKeys,
}

/// Turns a panic of the database's reader into an error. It checks what it reads, but the file is anybody's.
fn guarded<R>(work: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(_) => Err(StoreError::damaged("its reader panicked")),
    }
}

impl File {
    /// Makes an empty database a store with tables of version `schema`.
    pub(crate) fn create(
        db: Database,
        password: &str,
        cost: Cost,
        schema: u32,
    ) -> Result<Self, StoreError> {
        let master = Zeroizing::new(seal::random::<32>());
        let head = Head::new(&master, password, cost)?;
        let file = Self { db, keys: FileKeys::derive(&master) };
        let transaction = file.db.begin_write()?;
        {
            let mut table = transaction.open_table(HEAD)?;
            table.insert(HEAD_KEY, head.to_bytes().as_slice())?;
            let seal = Seal { sum: Sum::default(), commits: 1, schema };
            table.insert(SEAL_KEY, file.keys.close_seal(&seal)?.as_slice())?;
            transaction.open_table(ROWS)?;
        }
        transaction.commit()?;
        Ok(file)
    }

    /// Opens a database: `open` returns it, and whether it was repaired after a crash. Every byte that matters is
    /// checked. Returns the version of the tables too.
    pub(crate) fn open(
        open: impl FnOnce() -> Result<(Database, bool), StoreError>,
        password: &str,
    ) -> Result<(Self, u32), StoreError> {
        guarded(|| {
            let (mut db, is_repaired) = open()?;
            // A crash may leave a last commit in part, which is repaired by leaving it out. In a file that was closed
            // it would be the loss of a step that had ended.
            let is_whole = db.check_integrity()? || (is_repaired && db.check_integrity()?);
            if !is_whole {
                return Err(StoreError::damaged("a page does not have its checksum"));
            }
            let head = clear_row(&db, HEAD_KEY)?;
            let master = Head::from_bytes(&head)?.master(password)?;
            let file = Self { db, keys: FileKeys::derive(&master) };
            let seal = file.keys.open_seal(&clear_row(&file.db, SEAL_KEY)?)?;
            if file.sum()? != seal.sum {
                return Err(StoreError::damaged("rows are missing, or older than the rest"));
            }
            Ok((file, seal.schema))
        })
    }

    /// Checks a password.
    pub(crate) fn check_password(&self, password: &str) -> Result<(), StoreError> {
        let head = clear_row(&self.db, HEAD_KEY)?;
        Head::from_bytes(&head)?.master(password).map(|_| ())
    }

    fn sum(&self) -> Result<Sum, StoreError> {
        let rows = self.read()?;
        let mut sum = Sum::default();
        for entry in rows.table.iter()? {
            let (name, sealed) = entry?;
            let name = Name::try_from(name.value())
                .map_err(|_| StoreError::damaged("the name of a row has another length"))?;
            sum.add(&self.keys.digest(&name, sealed.value()));
        }
        Ok(sum)
    }

    /// The rows as of the last commit.
    pub(crate) fn read(&self) -> Result<Rows<'_, ReadOnlyTable<Slice, Slice>>, StoreError> {
        let transaction = self.db.begin_read()?;
        Ok(Rows { table: transaction.open_table(ROWS)?, keys: &self.keys })
    }

    /// Runs `work` in a transaction that is on the disk when this returns, or leaves no trace.
    pub(crate) fn write<R>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let transaction = self.db.begin_write()?;
        let result = {
            let mut head = transaction.open_table(HEAD)?;
            let sealed = head.get(SEAL_KEY)?.map(|sealed| sealed.value().to_vec());
            let sealed = sealed.ok_or_else(|| StoreError::damaged("it has no seal"))?;
            let seal = self.keys.open_seal(&sealed)?;
            let rows = Rows { table: transaction.open_table(ROWS)?, keys: &self.keys };
            let mut writer = Writer { rows, seal };
            let result = work(&mut writer);
            if result.is_ok() {
                let mut seal = writer.seal;
                seal.commits = seal.commits.wrapping_add(1);
                head.insert(SEAL_KEY, self.keys.close_seal(&seal)?.as_slice())?;
            }
            result
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

    /// Copies all rows into another file, which has keys of its own.
    pub(crate) fn copy_to(&self, target: &Self) -> Result<(), StoreError> {
        let rows = self.read()?;
        target.write(|writer| {
            for entry in rows.table.iter()? {
                let (name, sealed) = entry?;
                let row = self.keys.open_row(name.value(), sealed.value())?;
                writer.put_row(&row)?;
            }
            Ok(())
        })
    }
}

/// A row of the table `head`.
fn clear_row(db: &Database, key: &[u8]) -> Result<Vec<u8>, StoreError> {
    let transaction = db.begin_read()?;
    let table = match transaction.open_table(HEAD) {
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(StoreError::damaged("it is no database of a wallet")),
        Ok(table) => table,
    };
    let row = table.get(key)?.map(|row| row.value().to_vec());
    row.ok_or_else(|| StoreError::damaged("it has no head"))
}

/// Rows to read; `T` is a table of a snapshot or of a transaction.
pub(crate) struct Rows<'k, T> {
    table: T,
    keys: &'k FileKeys,
}

impl<T: ReadableTable<Slice, Slice>> Rows<'_, T> {
    /// The value of a key.
    pub(crate) fn get<S: Table>(&self, key: &S::Key) -> Result<Option<S::Value>, StoreError> {
        let key = encode(key);
        let name = self.keys.name(S::ID, S::GROUP, &key);
        let sealed = self.table.get(name.as_slice())?.map(|sealed| sealed.value().to_vec());
        let Some(sealed) = sealed else { return Ok(None) };
        let row = self.keys.open_row(&name, &sealed)?;
        if row.table != S::ID || *row.key != *key {
            return Err(StoreError::damaged("a row has another's name"));
        }
        let value = decode(&row.value);
        value.map(Some).ok_or_else(|| StoreError::damaged("a value is malformed"))
    }

    /// All rows of a group, in no particular order.
    pub(crate) fn list<S: Table>(&self, group: &impl Code) -> Result<Vec<RowOf<S>>, StoreError> {
        self.listed::<S>(&encode(group))
    }

    /// All rows of a table without groups, in no particular order.
    pub(crate) fn all<S: Table>(&self) -> Result<Vec<RowOf<S>>, StoreError> {
        self.listed::<S>(&[])
    }

    fn listed<S: Table>(&self, group: &[u8]) -> Result<Vec<RowOf<S>>, StoreError> {
        let shared = self.keys.group_name(S::ID, group);
        let (mut from, mut to) = ([0u8; NAME_BYTES], [0xff; NAME_BYTES]);
        from[..GROUP_BYTES].copy_from_slice(&shared);
        to[..GROUP_BYTES].copy_from_slice(&shared);
        let mut out = Vec::new();
        for entry in self.table.range::<&[u8]>(from.as_slice()..=to.as_slice())? {
            let (name, sealed) = entry?;
            let row = self.keys.open_row(name.value(), sealed.value())?;
            let is_listed = row.table == S::ID && row.key.starts_with(group);
            let key = decode(&row.key).filter(|_| is_listed);
            let (Some(key), Some(value)) = (key, decode(&row.value)) else {
                return Err(StoreError::damaged("a row is malformed"));
            };
            out.push((key, value));
        }
        Ok(out)
    }
}

/// Rows to read and write.
pub(crate) struct Writer<'t> {
    pub(crate) rows: Rows<'t, redb::Table<'t, Slice, Slice>>,
    pub(crate) seal: Seal,
}

impl Writer<'_> {
    /// Sets the value of a key.
    pub(crate) fn put<S: Table>(
        &mut self,
        key: &S::Key,
        value: &S::Value,
    ) -> Result<(), StoreError> {
        let row =
            PlainRow { table: S::ID, group: S::GROUP, key: encode(key), value: encode(value) };
        let got = row.key.len() + row.value.len();
        if got > ROW_MAX {
            return Err(StoreError::TooLarge { what: S::NAME, max: ROW_MAX, got });
        }
        self.put_row(&row)
    }

    fn put_row(&mut self, row: &PlainRow) -> Result<(), StoreError> {
        let name = self.rows.keys.name(row.table, row.group, &row.key);
        let sealed = self.rows.keys.seal_row(&name, row)?;
        let old = self.rows.table.insert(name.as_slice(), sealed.as_slice())?;
        let old = old.map(|old| old.value().to_vec());
        if let Some(old) = old {
            self.seal.sum.sub(&self.rows.keys.digest(&name, &old));
        }
        self.seal.sum.add(&self.rows.keys.digest(&name, &sealed));
        Ok(())
    }

    /// Removes a row; returns whether it was there.
    pub(crate) fn remove<S: Table>(&mut self, key: &S::Key) -> Result<bool, StoreError> {
        self.remove_address(&RowAddress::of::<S>(key))
    }

    /// Removes the row of this address; returns whether it was there.
    pub(crate) fn remove_address(&mut self, address: &RowAddress) -> Result<bool, StoreError> {
        let group = usize::from(address.group);
        let name = self.rows.keys.name(address.table, group, &address.key);
        let old = self.rows.table.remove(name.as_slice())?.map(|old| old.value().to_vec());
        let Some(old) = old else { return Ok(false) };
        self.seal.sum.sub(&self.rows.keys.digest(&name, &old));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_one_length() {
        let cost = Cost { log_n: 1, r: 1, p: 1 };
        let mut head = Head::new(&[7; 32], "p", cost).expect("a head");
        let whole = Head::from_bytes(&head.to_bytes()).expect("whole");
        assert_eq!(*whole.master("p").expect("opens"), [7; 32]);
        let key = seal::stretch("p", &head.salt, cost).expect("a key");
        for length in [0, 31, 33, 64] {
            head.wrapped = seal::seal(&key, &head.bound(), &vec![7; length]).expect("sealed");
            let read = Head::from_bytes(&head.to_bytes());
            assert!(matches!(read, Err(StoreError::Damaged { .. })), "{length} bytes");
        }
    }
}
