//! The store of a wallet: opens and creates the file, and returns views and steps.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Database, DatabaseError, ReadOnlyTable, StorageBackend};

use crate::block::{self, BlockStep};
use crate::error::StoreError;
use crate::file::{File, Rows, Writer};
use crate::paths;
use crate::scope::Scope;
use crate::seal::Cost;
use crate::step::Step;
use crate::tables::{Classes, Contracts, Followed};
use crate::view::View;

/// What brings tables of one version to the next.
pub(crate) type Migration = fn(&mut Writer<'_>) -> Result<(), StoreError>;

/// Migrations in order: the first one brings version 1 to version 2. Never change one that was released.
const MIGRATIONS: &[Migration] = &[forget_classes_without_keys, follow_anew];

/// To version 2, in which a class has the keys of its functions. A class of version 1 has none, so nothing of it can be
/// called: it goes, with its contracts, which are registered anew. No program wrote such rows.
fn forget_classes_without_keys(writer: &mut Writer<'_>) -> Result<(), StoreError> {
    for (address, _) in writer.rows.all::<Contracts>()? {
        writer.remove::<Contracts>(&address)?;
    }
    for (class_id, _) in writer.rows.all::<Classes>()? {
        writer.remove::<Classes>(&class_id)?;
    }
    Ok(())
}

/// To version 3, which has the note tree. Version 2 has the notes and not their places in the tree: each account is
/// followed anew, so that its blocks are read once more, with their leaves.
fn follow_anew(writer: &mut Writer<'_>) -> Result<(), StoreError> {
    for (account, _) in writer.rows.all::<Followed>()? {
        writer.remove::<Followed>(&account)?;
    }
    Ok(())
}

/// Bytes of the database's pages that are kept in memory. They are ciphertexts.
const CACHE_BYTES: usize = 16 << 20;

/// A snapshot's rows.
pub(crate) type Snapshot<'s> = Rows<'s, ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// Where a store's file is, and the lock that keeps other processes away.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    _lock: fs::File,
}

/// An open store. Clients in several threads share it: reads see the last commit, and steps come one after the
/// other.
#[derive(Debug)]
pub struct Store {
    file: File,
    /// None on a storage that is no file.
    place: Option<Place>,
}

impl Store {
    /// Creates the file at `path`, readable by its owner only, and its parent folders.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is a file, [`StoreError::InUse`] while another process creates it.
    pub fn create(path: &Path, password: &str, cost: Cost) -> Result<Self, StoreError> {
        Self::create_filled(path, password, cost, |_| Ok(())).map(|(store, ())| store)
    }

    /// Creates the file at `path` with what `fill` adds. A crash or an error leaves no file there.
    pub(crate) fn create_filled<R>(
        path: &Path,
        password: &str,
        cost: Cost,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<R, StoreError>,
    ) -> Result<(Self, R), StoreError> {
        rollmill_files::make_folder_of(path).map_err(|source| at(path, source))?;
        let lock = lock(path)?;
        // A link is not replaced either, wherever it leads.
        if path.symlink_metadata().is_ok() {
            return Err(StoreError::Exists { path: path.to_owned() });
        }
        // Under another name until it is whole, so that a crash leaves no half of a store.
        let temporary = beside(path, ".new");
        let (db, _) = database(&temporary, true)?;
        let file = File::create(db, password, cost, version(MIGRATIONS))?;
        let filled = file.write(fill)?;
        // It is closed before it takes its name.
        drop(file);
        rename(&temporary, path)?;
        Ok((Self::open_locked(path, password, lock)?, filled))
    }

    /// Opens the file at `path` and checks every byte of it that matters.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::InUse`], [`StoreError::Password`], [`StoreError::Damaged`], and
    /// [`StoreError::Version`] for the file of a newer release.
    pub fn open(path: &Path, password: &str) -> Result<Self, StoreError> {
        // Under all names that links give a file it has one lock, and a change of the password replaces the file and
        // not the link.
        let path = fs::canonicalize(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => StoreError::Missing { path: path.to_owned() },
            _ => at(path, source),
        })?;
        let lock = lock(&path)?;
        Self::open_locked(&path, password, lock)
    }

    fn open_locked(path: &Path, password: &str, lock: fs::File) -> Result<Self, StoreError> {
        let opened = File::open(|| database(path, false), password)?;
        // What a killed change of the password left. Only the holder of the lock may remove it, and only beside a
        // store: elsewhere the name is somebody else's.
        remove(&beside(path, ".new"))?;
        let file = migrated(opened, MIGRATIONS)?;
        Ok(Self { file, place: Some(Place { path: path.to_owned(), _lock: lock }) })
    }

    /// Creates a store on an empty storage that is no file: for tests, and for systems without files.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn create_on(
        storage: impl StorageBackend,
        password: &str,
        cost: Cost,
    ) -> Result<Self, StoreError> {
        let (db, _) = opened(|builder| builder.create_with_backend(storage))?;
        let file = File::create(db, password, cost, version(MIGRATIONS))?;
        Ok(Self { file, place: None })
    }

    /// Opens a store on a storage that is no file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(storage: impl StorageBackend, password: &str) -> Result<Self, StoreError> {
        let open = || -> Result<(Database, bool), StoreError> {
            let length = storage.len().map_err(redb::Error::Io)?;
            if length == 0 {
                return Err(StoreError::damaged("it is empty"));
            }
            Ok(opened(|builder| builder.create_with_backend(storage))?)
        };
        let file = migrated(File::open(open, password)?, MIGRATIONS)?;
        Ok(Self { file, place: None })
    }

    /// Changes the password. All rows are encrypted anew into a second file that then replaces this one, so that
    /// whoever knew the old password and had a copy of the file cannot read what is written from now on. A crash
    /// leaves the file with the old password, or that with the new one.
    ///
    /// # Errors
    /// [`StoreError::Password`] when `old` is not the password, and those of the file. The store is closed after an
    /// error; open it again.
    pub fn change_password(self, old: &str, new: &str, cost: Cost) -> Result<Self, StoreError> {
        self.file.check_password(old)?;
        let Some(Place { path, _lock: lock }) = self.place else {
            return Err(StoreError::damaged("it is no file, so it cannot be replaced"));
        };
        let temporary = beside(&path, ".new");
        let (db, _) = database(&temporary, true)?;
        let copy = File::create(db, new, cost, version(MIGRATIONS))?;
        self.file.copy_to(&copy)?;
        // Both are closed before one takes the other's name.
        drop(copy);
        drop(self.file);
        rename(&temporary, &path)?;
        Self::open_locked(&path, new, lock)
    }

    /// Reads as of the last commit. Later steps do not change what the view shows.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn view<'s>(&'s self, scope: &'s Scope) -> Result<View<'s>, StoreError> {
        Ok(View::new(self.file.read()?, scope))
    }

    /// Runs a step of decisions: all that `work` does is on the disk when this returns, or nothing is.
    ///
    /// # Errors
    /// Those of `work`, and [`StoreError::Database`].
    pub fn step<R>(
        &self,
        scope: &Scope,
        work: impl FnOnce(&mut Step<'_, '_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.file.write(|writer| work(&mut Step::new(writer, scope)))
    }

    /// Reads the next block: its facts and its header are on the disk when this returns, or nothing is. The first
    /// block of a store may have any number.
    ///
    /// # Errors
    /// Those of `work`, [`StoreError::Order`] for another block than the next, and [`StoreError::Database`].
    pub fn read_block<R>(
        &self,
        scope: &Scope,
        header: &Header,
        work: impl FnOnce(&mut BlockStep<'_, '_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.file.write(|writer| block::read(writer, scope, header, work))
    }

    /// Adds facts of a block that was read before: what a contract's registration or a late message made readable.
    ///
    /// # Errors
    /// Those of `work`, [`StoreError::Order`] for a block that was not read, and [`StoreError::Database`].
    pub fn read_again<R>(
        &self,
        scope: &Scope,
        number: u64,
        work: impl FnOnce(&mut BlockStep<'_, '_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.file.write(|writer| block::read_again(writer, scope, number, work))
    }

    /// Undoes all blocks after `block`: everything that follows from them vanishes, and nothing else.
    ///
    /// # Errors
    /// [`StoreError::Finalized`] when `block` is before the finalized one.
    pub fn rewind(&self, block: u64) -> Result<(), StoreError> {
        self.file.write(|writer| block::rewind(writer, block))
    }

    /// Records that L1 has finalized `block`, which was read: up to it nothing can be undone any more.
    ///
    /// # Errors
    /// [`StoreError::Order`] for a block that was not read.
    pub fn finalize(&self, block: u64) -> Result<(), StoreError> {
        self.file.write(|writer| block::finalize(writer, block))
    }

    /// Removes what only paths of spent notes need of the note tree: the marks of subtrees whose known notes are all
    /// spent in finalized blocks, and the nodes to their right that no other mark needs. Marks at the positions `keep`,
    /// and those of subtrees without a known note, stay. Returns how many marks were removed.
    ///
    /// What was removed comes back if its blocks are read again for another account.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] unless the scope has all accounts of the store: subtrees belong to none.
    pub fn forget_paths(&self, scope: &Scope, keep: &BTreeSet<u64>) -> Result<usize, StoreError> {
        self.file.write(|writer| paths::forget(writer, scope, keep))
    }

    pub(crate) fn rows(&self) -> Result<Snapshot<'_>, StoreError> {
        self.file.read()
    }

    pub(crate) fn write<R>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.file.write(work)
    }
}

/// What the store keeps of a block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub number: u64,
    pub hash: rollmill_protocol::Fr,
    pub slot: u64,
}

/// The version of the tables after these migrations.
fn version(migrations: &[Migration]) -> u32 {
    // There are few.
    migrations.len() as u32 + 1
}

/// Brings the tables to the newest version, in one transaction.
fn migrated(
    (file, schema): (File, u32),
    migrations: &'static [Migration],
) -> Result<File, StoreError> {
    let newest = version(migrations);
    if schema > newest {
        return Err(StoreError::Version { part: "tables", expected: newest, got: schema });
    }
    if schema < newest {
        let left = schema.checked_sub(1).and_then(|done| migrations.get(done as usize..));
        let left = left.ok_or_else(|| StoreError::damaged("its tables have no version"))?;
        file.write(|writer| {
            for migration in left {
                migration(writer)?;
            }
            writer.seal.schema = newest;
            Ok(())
        })?;
    }
    Ok(file)
}

/// A database, and whether it was repaired after a crash.
fn opened(
    open: impl FnOnce(&redb::Builder) -> Result<Database, DatabaseError>,
) -> Result<(Database, bool), DatabaseError> {
    let is_repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_repaired);
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_repair_callback(move |_| seen.store(true, Ordering::Relaxed));
    let db = open(&builder)?;
    Ok((db, is_repaired.load(Ordering::Relaxed)))
}

/// Opens the file of a database, or replaces it by an empty one.
fn database(path: &Path, is_new: bool) -> Result<(Database, bool), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    if is_new {
        // What was left under this name may be a link, or have another mode or owner.
        remove(path)?;
    }
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(is_new).mode(0o600);
    let file = options.open(path).map_err(|source| at(path, source))?;
    let length = file.metadata().map_err(|source| at(path, source))?.len();
    if !is_new && length == 0 {
        return Err(StoreError::damaged("it is empty"));
    }
    opened(|builder| builder.create_file(file)).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        error => error.into(),
    })
}

/// Removes what has this name, if anything: a link itself, and not what it leads to.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(at(path, source)),
        _ => Ok(()),
    }
}

/// A file beside the database's.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Takes the lock of a store without waiting. It is a file of its own, since a change of the password replaces the
/// database's. The operating system releases it when the process ends, even by a crash.
fn lock(path: &Path) -> Result<fs::File, StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let name = beside(path, ".lock");
    let file =
        fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let file = file.map_err(|source| at(&name, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(at(&name, source)),
    }
}

/// Gives a file its final name, durably.
fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    rollmill_files::rename(from, to).map_err(|source| at(to, source))
}

fn at(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
