//! Why the store could not do what was asked.

use std::path::PathBuf;

use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;

/// Errors of the store, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the database open.
    ///
    /// Do: Stop that process, or use another database file.
    #[error("{code}: the database {} is in use by another process; stop that process, or use another file", path.display(), code = self.code())]
    InUse { path: PathBuf },
    /// The database file, or a file beside it, cannot be opened or written: no permission, or no space.
    ///
    /// Do: Check the path, its permissions and its disk.
    #[error("{code}: cannot use the file {} ({cause}); check its path, its permissions and its disk", path.display(), code = self.code(), cause = rollmill_errors::InWords(.source))]
    File { path: PathBuf, source: std::io::Error },
    /// The database file exists already. It is never overwritten.
    ///
    /// Do: Open it, or choose another file.
    #[error("{code}: the database {} exists already; open it, or choose another file", path.display(), code = self.code())]
    Exists { path: PathBuf },
    /// There is no database file.
    ///
    /// Do: Correct its path, or create one.
    #[error("{code}: there is no database {}; correct its path, or create one", path.display(), code = self.code())]
    Missing { path: PathBuf },
    /// The password is wrong, or the start of the database was changed.
    ///
    /// Do: Enter the right password. If it is right, restore the file from a backup.
    #[error("{code}: the password is wrong, or the head of the database was changed; enter the right password, or restore the file from a backup", code = self.code())]
    Password,
    /// The database is damaged: it was cut, changed, or written in part.
    ///
    /// Do: Restore the file from a backup, or restore the accounts from their seed phrases and read the chain again.
    #[error("{code}: the database is damaged: {what}; restore it from a backup, or restore the accounts from their seed phrases", code = self.code())]
    Damaged { what: String },
    /// A newer release wrote the database.
    ///
    /// Do: Use that release, or a later one.
    #[error("{code}: the database has version {got} of its {part}, this release knows versions up to {expected}; use the release that wrote it", code = self.code())]
    Version { part: &'static str, expected: u32, got: u32 },
    /// A database operation failed: full disk, or an I/O error. The step that failed left no trace.
    ///
    /// Do: Check the disk's free space and health, then open the database again.
    #[error("{code}: the database failed: {0}; check the disk's space and health, then open it again", code = self.code())]
    Database(#[source] Box<redb::Error>),
    /// The account is not among those that the caller may use.
    ///
    /// Do: Ask the wallet's user to allow this account, or use one that is allowed.
    #[error("{code}: the account {} is out of scope; use one that the wallet allows", to_hex(account), code = self.code())]
    OutOfScope { account: Fr },
    /// The database has no such account.
    ///
    /// Do: Correct the address, or add the account.
    #[error("{code}: there is no account {}; correct the address, or add the account", to_hex(account), code = self.code())]
    UnknownAccount { account: Fr },
    /// The database has the account already.
    ///
    /// Do: Nothing: the account keeps its label and its origin.
    #[error("{code}: the account {} is in the database already", to_hex(account), code = self.code())]
    AccountExists { account: Fr },
    /// A block contradicts what an earlier one was read as.
    ///
    /// Do: Rewind to before the block and read it again. If this recurs, use another node.
    #[error("{code}: {what} is known with other contents; rewind to before its block and read it again", code = self.code())]
    Conflict { what: &'static str },
    /// The block is not the next one.
    ///
    /// Do: Read the blocks in order, and rewind before reading one again.
    #[error("{code}: block {got} is not the next one, which is {expected}; read blocks in order, or rewind first", code = self.code())]
    Order { expected: u64, got: u64 },
    /// The block is finalized, so what follows from it is not undone.
    ///
    /// Do: Use a node that follows the same chain. If L1 itself has changed, create a new database from the seed phrases.
    #[error("{code}: cannot rewind to block {block}, since block {finalized} is finalized; use a node of the same chain", code = self.code())]
    Finalized { block: u64, finalized: u64 },
    /// A note is spent already, or another transaction holds it.
    ///
    /// Do: Choose another note, or wait until that transaction is settled or dropped.
    #[error("{code}: the note with nullifier {} is spent, or held by another transaction; choose another one", to_hex(nullifier), code = self.code())]
    Held { nullifier: Fr },
    /// There is no such transaction of the account.
    ///
    /// Do: List the account's transactions and correct the number.
    #[error("{code}: the account has no transaction {number}; list its transactions", code = self.code())]
    NoTransaction { number: u64 },
    /// The transaction is at another stage than this step needs.
    ///
    /// Do: Read the transaction's stage and continue from there.
    #[error("{code}: transaction {number} is {stage}, so it cannot be {wanted}", code = self.code())]
    Stage { number: u64, stage: &'static str, wanted: &'static str },
    /// The text is not a seed phrase.
    ///
    /// Do: Compare the words with what you wrote down; the message says what is wrong.
    #[error("{code}: not a seed phrase: {why}; compare the words with what you wrote down", code = self.code())]
    Phrase { why: String },
    /// The account does not come from a seed phrase, or there is no such seed.
    ///
    /// Do: Keep a backup of the file that the account was imported from.
    #[error("{code}: there is no seed phrase for this; keep a backup of the file that the account was imported from", code = self.code())]
    NoPhrase,
    /// A value is larger than the store takes.
    ///
    /// Do: Use a smaller one; the message has the limit.
    #[error("{code}: {what} has {got} bytes, at most {max} are kept", code = self.code())]
    TooLarge { what: &'static str, max: usize, got: usize },
    /// The cost of deriving a key from the password is out of bounds.
    ///
    /// Do: Choose a cost of at most 1 GiB of memory; the default is right for most machines.
    #[error("{code}: the cost of the password's key is out of bounds; choose one of at most 1 GiB of memory", code = self.code())]
    Cost,
}

rollmill_errors::coded! {
    StoreError {
        Self::InUse { .. } => "PXS-001",
        Self::File { .. } => "PXS-002",
        Self::Exists { .. } => "PXS-003",
        Self::Missing { .. } => "PXS-004",
        Self::Password => "PXS-005",
        Self::Damaged { .. } => "PXS-006",
        Self::Version { .. } => "PXS-007",
        Self::Database(_) => "PXS-008",
        Self::OutOfScope { .. } => "PXS-009",
        Self::UnknownAccount { .. } => "PXS-010",
        Self::AccountExists { .. } => "PXS-011",
        Self::Conflict { .. } => "PXS-012",
        Self::Order { .. } => "PXS-013",
        Self::Finalized { .. } => "PXS-014",
        Self::Held { .. } => "PXS-015",
        Self::NoTransaction { .. } => "PXS-016",
        Self::Stage { .. } => "PXS-017",
        Self::Phrase { .. } => "PXS-018",
        Self::NoPhrase => "PXS-019",
        Self::TooLarge { .. } => "PXS-020",
        Self::Cost => "PXS-021",
    }
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match error {
            redb::Error::Corrupted(_) | redb::Error::RepairAborted => {
                Self::damaged("a page does not have its checksum")
            }
            redb::Error::UpgradeRequired(_) => Self::damaged("it is a file of another kind"),
            redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableIsMultimap(_) => Self::damaged("it has other tables"),
            redb::Error::Io(source) if matches!(source.kind(), InvalidData | UnexpectedEof) => {
                Self::damaged("it is cut, or no database")
            }
            error => Self::Database(Box::new(error)),
        }
    }
}

macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}
from_database!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
