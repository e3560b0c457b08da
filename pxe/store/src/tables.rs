//! The tables: what their keys and values are, and which rows follow from blocks.
//!
//! A table of *facts* holds what blocks say. Each of its rows belongs to one block, is never changed, and vanishes
//! when the chain is rewound to before that block. The other tables hold what the wallet decided; no rewind touches
//! them. No table has rows of both kinds, so undoing a block never takes back a decision.

use rollmill_protocol::Fr;
use zeroize::Zeroize;

use crate::codec::{Code, Reader, encode, record};

/// An account of the wallet, by its address as a field element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(pub Fr);

impl Code for Account {
    fn size(&self) -> usize {
        self.0.size()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Fr::read(from).map(Self)
    }
}

/// A table: its number, its name in errors, and how many bytes of a key name the group that is listed together.
pub(crate) trait Table {
    const ID: u8;
    const NAME: &'static str;
    const GROUP: usize;
    type Key: Code;
    type Value: Code;
}

/// A row of a table, with its key.
pub(crate) type RowOf<T> = (<T as Table>::Key, <T as Table>::Value);

/// A table whose rows follow from blocks.
pub(crate) trait Facts: Table {}

/// A table whose rows the wallet decides on.
pub(crate) trait Decisions: Table {}

/// Declares tables of one kind.
macro_rules! tables {
    ($kind:ident: $($(#[$meta:meta])* $name:ident = $id:literal, $text:literal, $group:literal, $key:ty => $value:ty;)+) => {
        $(
            $(#[$meta])*
            pub(crate) struct $name;

            impl Table for $name {
                const ID: u8 = $id;
                const NAME: &'static str = $text;
                const GROUP: usize = $group;
                type Key = $key;
                type Value = $value;
            }

            impl $kind for $name {}
        )+
    };
}

tables! {
    Decisions:
    /// Name → number: the tip, the finalized block, counters.
    Meta = 1, "a counter", 0, String => u64;
    /// The seeds of accounts.
    Seeds = 2, "a seed", 0, u32 => SeedRow;
    /// The keys of accounts.
    Accounts = 3, "an account", 0, Account => AccountRow;
    /// Account, address of a sender or recipient.
    Contacts = 4, "a contact", 32, (Account, Fr) => Contact;
    /// Class id → artifact.
    Classes = 5, "a class", 0, Fr => Vec<u8>;
    /// Address → instance.
    Contracts = 6, "a contract", 0, Fr => Contract;
    /// Account, hash of the message.
    Witnesses = 7, "an auth witness", 32, (Account, Fr) => Vec<Fr>;
    /// Account, contract, slot.
    Capsules = 8, "a capsule", 64, (Account, Fr, Fr) => Vec<Fr>;
    /// Account, secret of the pair → index of the next log that is sent.
    SentTags = 9, "an index of sent tags", 32, (Account, Fr) => u64;
    /// Account, number.
    Transactions = 10, "a transaction", 32, (Account, u64) => TransactionRow;
    /// Account, nullifier → number of the transaction that holds the note.
    Holds = 11, "a held note", 32, (Account, Fr) => u64;
    /// The state of `rollmill-pxe`, in its own form, until it lies in the tables.
    States = 13, "a wallet's state", 0, Account => Vec<u8>;
    /// Class id → what the id is a hash of, beside the artifact.
    Keys = 14, "the keys of a class", 0, Fr => ClassKeys;
    /// Account whose messages of all contracts were read up to the tip → the tip when that began.
    Followed = 15, "a followed account", 0, Account => u64;
    /// Block → the rows that follow from it.
    Undo = 12, "the rows of a block", 0, u64 => Vec<RowAddress>;
}

tables! {
    Facts:
    /// Block → hash of its header, slot.
    Blocks = 32, "a block", 0, u64 => (Fr, u64);
    /// Account, index of the leaf.
    Notes = 33, "a note", 32, (Account, u64) => Note;
    /// Account, nullifier → block.
    Nullified = 34, "a nullifier", 32, (Account, Fr) => u64;
    /// Account, contract, transaction, index in it.
    Deferred = 35, "a deferred note", 64, (Account, Fr, Fr, u64) => Payload;
    /// Account, contract, transaction, index in it.
    Events = 36, "an event", 64, (Account, Fr, Fr, u64) => Event;
    /// Account, secret of the pair, block → highest index of a log in it.
    SeenTags = 37, "an index of seen tags", 64, (Account, Fr, u64) => u64;
    /// Account, hash of a transaction → block.
    Included = 38, "an included transaction", 32, (Account, Fr) => u64;
    /// Account, index of a deposit → block that claimed it.
    Claims = 39, "a claimed deposit", 32, (Account, u64) => u64;
    /// Position of a subtree of the note tree that matters → its leaves, and the nodes to its left.
    Marks = 40, "a marked subtree", 0, u64 => (Vec<Fr>, Vec<Fr>);
    /// Level, index → complete node of the note tree to the right of a marked subtree.
    Nodes = 41, "a node of the note tree", 0, (u8, u64) => Fr;
    /// Block → number of leaves of the note tree after it, and the nodes of its frontier.
    Frontiers = 42, "a frontier of the note tree", 0, u64 => (u64, Vec<Fr>);
    /// Block → nodes of the frontier of the archive after it.
    Archives = 43, "a frontier of the archive", 0, u64 => Vec<Fr>;
}

record! {
    /// A row of any table. Its name is not kept, since a change of the password gives it another one.
    #[derive(PartialEq)]
    pub(crate) struct RowAddress {
        pub(crate) table: u8,
        pub(crate) group: u8,
        pub(crate) key: Vec<u8>,
    }
}

impl RowAddress {
    pub(crate) fn of<S: Table>(key: &S::Key) -> Self {
        // A group has at most 64 bytes.
        Self { table: S::ID, group: S::GROUP as u8, key: encode(key).to_vec() }
    }
}

record! {
    /// The entropy of a seed phrase.
    pub(crate) struct SeedRow {
        pub(crate) entropy: Vec<u8>,
        /// Index of the next account that is derived from it.
        pub(crate) next: u32,
    }
}

impl Drop for SeedRow {
    fn drop(&mut self) {
        self.entropy.zeroize();
    }
}

record! {
    /// The keys of an account, and where they come from.
    pub(crate) struct AccountRow {
        pub(crate) label: String,
        /// Seed, and index in it; none for imported keys.
        pub(crate) origin: Option<(u32, u32)>,
        pub(crate) nullifier: [u8; 32],
        pub(crate) viewing: [u8; 32],
    }
}

impl Drop for AccountRow {
    fn drop(&mut self) {
        self.nullifier.zeroize();
        self.viewing.zeroize();
    }
}

record! {
    /// A sender or recipient that an account knows.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Contact {
        pub label: String,
        /// The public part of its nullifier key.
        pub npk: Fr,
        /// Its compressed viewing key.
        pub viewing: [u8; 32],
    }
}

record! {
    /// What the id of a class is a hash of, beside the artifact: whoever has both can check it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ClassKeys {
        pub artifact_hash: Fr,
        pub bytecode_commitment: Fr,
        /// Its private functions, in the order of the artifact.
        pub functions: Vec<FunctionKey>,
    }
}

record! {
    /// The key of a private function.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FunctionKey {
        pub selector: Fr,
        /// The verifying key's own bytes.
        pub vk: Vec<u8>,
    }
}

record! {
    /// A deployed contract: all that its address is a hash of.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Contract {
        pub class_id: Fr,
        pub salt: Fr,
        pub init_hash: Fr,
        pub deployer: Fr,
        pub keys_hash: Fr,
    }
}

record! {
    /// A note of an account, as its transaction created it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Note {
        /// Block that created it; 0 at genesis.
        pub block: u64,
        pub tx_hash: Fr,
        pub contract: Fr,
        pub slot: Fr,
        /// Number of the note's type in its contract.
        pub kind: u64,
        pub content: Vec<Fr>,
        /// The leaf of the note-hash tree.
        pub unique: Fr,
        pub nullifier: Fr,
    }
}

record! {
    /// A message for a contract that is not registered.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Payload {
        pub block: u64,
        pub words: Vec<Fr>,
    }
}

record! {
    /// A private event that an account received.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Event {
        pub block: u64,
        pub selector: Fr,
        pub content: Vec<Fr>,
    }
}

/// How far a transaction has come, as far as the wallet decides on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its notes and tags are taken. Nothing of it exists outside.
    Planned,
    /// Its bytes are kept: it was sent, or may have been.
    Ready,
    /// The node dropped it. Its notes are free.
    Dropped,
}

impl Stage {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Ready => "ready",
            Self::Dropped => "dropped",
        }
    }
}

impl Code for Stage {
    fn size(&self) -> usize {
        1
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Planned => 0,
            Self::Ready => 1,
            Self::Dropped => 2,
        });
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match u8::read(from)? {
            0 => Some(Self::Planned),
            1 => Some(Self::Ready),
            2 => Some(Self::Dropped),
            _ => None,
        }
    }
}

record! {
    /// A transaction of the wallet.
    #[derive(Clone, PartialEq, Eq)]
    pub struct TransactionRow {
        pub stage: Stage,
        /// What was asked for, in the wallet's own form.
        pub request: Vec<u8>,
        /// Nullifiers of the notes that it holds.
        pub nullifiers: Vec<Fr>,
        /// For each log: the secret of its pair, and the index of its tag.
        pub tags: Vec<(Fr, u64)>,
        /// Known once it is ready.
        pub tx_hash: Option<Fr>,
        /// The transaction, once it is ready.
        pub bytes: Vec<u8>,
        /// Whether the user was informed that it was sent.
        pub reported: bool,
    }
}

/// Of the tags only the indices are shown: the secret of a pair tells all transfers between the two.
impl std::fmt::Debug for TransactionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tags: Vec<u64> = self.tags.iter().map(|(_, index)| *index).collect();
        f.debug_struct("TransactionRow")
            .field("stage", &self.stage)
            .field("request", &self.request)
            .field("nullifiers", &self.nullifiers)
            .field("tags", &tags)
            .field("tx_hash", &self.tx_hash)
            .field("bytes", &self.bytes)
            .field("reported", &self.reported)
            .finish()
    }
}
