//! Domain tags: one number for every use of the hash, so that no value of one kind can be taken for
//! a value of another. Frozen; a new use gets a new number.

/// Inner node of every Merkle tree.
pub const NODE: u64 = 1;
/// A note's contents.
pub const NOTE: u64 = 2;
/// A note made unique by its place: the leaf of the note-hash tree.
pub const UNIQUE_NOTE: u64 = 3;
/// A nullifier of a spent note.
pub const NULLIFIER: u64 = 4;
/// Public part of the nullifier key.
pub const NPK: u64 = 5;
/// An address on the rollup.
pub const ADDRESS: u64 = 6;
/// A transaction's effects.
pub const TX: u64 = 7;
/// The running hash of a block's transactions.
pub const TXS_CHAIN: u64 = 8;
/// A block header.
pub const HEADER: u64 = 9;
/// The running hash of blocks that L1 stores.
pub const CHAIN: u64 = 10;
/// A leaf of the nullifier tree.
pub const NULLIFIER_LEAF: u64 = 11;
/// A leaf of the public data tree.
pub const PUBLIC_DATA_LEAF: u64 = 12;
/// The public data slot of an address's fee balance.
pub const FEE_BALANCE_SLOT: u64 = 13;
/// A leaf of the verification-key tree.
pub const VK_LEAF: u64 = 14;
/// A discovery tag of a log.
pub const TAG: u64 = 15;
/// Key derivation for encrypted logs.
pub const LOG: u64 = 16;
/// The proof transcript.
pub const TRANSCRIPT: u64 = 17;
/// The digest of a verification key.
pub const VK_DIGEST: u64 = 18;
/// What stands for the first nullifier of genesis notes.
pub const GENESIS: u64 = 19;
/// The transcript that folds the children's pairs.
pub const FOLD: u64 = 20;
