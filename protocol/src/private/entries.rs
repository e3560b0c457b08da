//! What calls say, entry by entry: as a call states it, and with the contract as the kernel keeps it.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use super::call::{CallEntry, PublicCallEntry};
use super::error::KernelError;
use crate::layout::{Cells, layout};

layout! {
    /// A note hash that must exist before the counter: one of this transaction, or a leaf of the note-hash tree.
    #[derive(Copy)]
    pub struct ReadEntry<T> {
        pub value: T,
        pub counter: T,
    }
}

layout! {
    /// A note hash that a call creates.
    #[derive(Copy)]
    pub struct NoteEntry<T> {
        pub value: T,
        pub counter: T,
    }
}

layout! {
    /// A nullifier that a call publishes.
    #[derive(Copy)]
    pub struct NullifierEntry<T> {
        pub value: T,
        /// The note hash of the same transaction that it nullifies; zero if there is none.
        pub nullified: T,
        pub counter: T,
    }
}

layout! {
    /// An encrypted log.
    #[derive(Copy)]
    pub struct LogEntry<T> {
        pub tag: T,
        /// Hash of the log's words; an absent log has none.
        pub log_hash: T,
        /// Counter of the note that the log is about; zero if it is about none.
        pub note_counter: T,
        pub counter: T,
    }
}

layout! {
    /// A key that a call was given, to be checked against the account's own.
    #[derive(Copy)]
    pub struct KeyEntry<T> {
        /// Public part of the account's nullifier key.
        pub npk: T,
        /// The secret that the call used: [`super::app_key`].
        pub app_key: T,
        /// [`super::NULLIFIER_KEY`].
        pub kind: T,
    }
}

layout! {
    /// A message to L1.
    #[derive(Copy)]
    pub struct MessageEntry<T> {
        /// L1 address; an absent message has none.
        pub recipient: T,
        pub content: T,
        pub counter: T,
    }
}

/// Declares entries with the contract whose call said so.
macro_rules! owned {
    ($($(#[$doc:meta])+ $owned:ident of $entry:ident;)+) => {
        $(
            layout! {
                $(#[$doc])+
                #[derive(Copy)]
                pub struct $owned<T> {
                    pub contract: T,
                    pub item: $entry<T>,
                }
            }

            impl Owned for $owned<Fr> {
                type Item = $entry<Fr>;
                fn new(contract: Fr, item: $entry<Fr>) -> Self {
                    Self { contract, item }
                }
            }

            impl Entry for $owned<Fr> {
                fn key(&self) -> Fr {
                    self.item.key()
                }
                fn words(&self) -> Vec<Fr> {
                    self.to_vec()
                }
            }
        )+
    };
}

owned! {
    /// A read of a note hash, with its contract.
    OwnedRead of ReadEntry;
    /// A note hash with its contract.
    OwnedNote of NoteEntry;
    /// A nullifier with its contract.
    OwnedNullifier of NullifierEntry;
    /// A log with its contract.
    OwnedLog of LogEntry;
    /// A key request with its contract.
    OwnedKey of KeyEntry;
    /// A message to L1 with its contract.
    OwnedMessage of MessageEntry;
}

/// Lists of entries are cells in the order of the entries.
macro_rules! lists {
    ($($entry:ident)+) => {
        $(
            impl<T, const N: usize> Cells<T> for [$entry<T>; N] {
                const LEN: usize = N * <$entry<T> as Cells<T>>::LEN;
                fn put(self, out: &mut Vec<T>) {
                    for entry in self {
                        Cells::<T>::put(entry, out);
                    }
                }
                fn take(from: &mut impl Iterator<Item = T>) -> Option<Self> {
                    let mut entries = Vec::with_capacity(N);
                    for _ in 0..N {
                        entries.push(<$entry<T> as Cells<T>>::take(from)?);
                    }
                    entries.try_into().ok()
                }
                fn names(prefix: &str, out: &mut Vec<String>) {
                    for i in 0..N {
                        <$entry<T> as Cells<T>>::names(&format!("{prefix}.{i}"), out);
                    }
                }
            }
        )+
    };
}

lists! {
    ReadEntry NoteEntry NullifierEntry LogEntry KeyEntry MessageEntry CallEntry PublicCallEntry
    OwnedRead OwnedNote OwnedNullifier OwnedLog OwnedKey OwnedMessage
}

/// An entry that is present or absent.
pub(super) trait Entry: Copy {
    /// The word that is zero exactly in an absent entry.
    fn key(&self) -> Fr;
    /// All words.
    fn words(&self) -> Vec<Fr>;
}

/// An entry that happened at some point of a transaction.
pub(super) trait Counted: Entry {
    /// When it happened.
    fn counter(&self) -> Fr;
}

/// An entry with its contract.
pub(super) trait Owned: Entry {
    /// The entry alone.
    type Item: Entry;
    /// The entry of this contract.
    fn new(contract: Fr, item: Self::Item) -> Self;
}

macro_rules! entry {
    ($($entry:ident by $key:ident;)+) => {
        $(
            impl Entry for $entry<Fr> {
                fn key(&self) -> Fr {
                    self.$key
                }
                fn words(&self) -> Vec<Fr> {
                    self.to_vec()
                }
            }
        )+
    };
}

entry! {
    ReadEntry by value;
    NoteEntry by value;
    NullifierEntry by value;
    LogEntry by log_hash;
    KeyEntry by npk;
    MessageEntry by recipient;
    CallEntry by contract;
}

macro_rules! counted {
    ($($entry:ident)+) => {
        $(
            impl Counted for $entry<Fr> {
                fn counter(&self) -> Fr {
                    self.counter
                }
            }
        )+
    };
}

counted! { ReadEntry NoteEntry NullifierEntry LogEntry MessageEntry }

/// The entries that are present.
///
/// # Errors
/// [`KernelError::Gap`] when one follows an absent one, [`KernelError::AbsentWords`] when an absent one has words.
pub(super) fn present<'a, E: Entry>(
    what: &'static str,
    list: &'a [E],
) -> Result<&'a [E], KernelError> {
    let n = used(list).len();
    for (index, entry) in list.iter().enumerate().skip(n) {
        if !entry.key().is_zero() {
            return Err(KernelError::Gap { what, index });
        }
        if entry.words().iter().any(|word| !word.is_zero()) {
            return Err(KernelError::AbsentWords { what, index });
        }
    }
    Ok(&list[..n])
}

/// The leading entries that are present.
pub(super) fn used<E: Entry>(list: &[E]) -> &[E] {
    let n = list.iter().take_while(|entry| !entry.key().is_zero()).count();
    &list[..n]
}

/// Appends entries behind those that are present.
///
/// # Errors
/// [`KernelError::TooMany`] when they do not fit.
pub(super) fn append<E: Entry, const N: usize>(
    what: &'static str,
    list: &mut [E; N],
    new: impl IntoIterator<Item = E>,
) -> Result<(), KernelError> {
    let used = used(list).len();
    let mut free = list.iter_mut().skip(used);
    for entry in new {
        *free.next().ok_or(KernelError::TooMany { what, max: N })? = entry;
    }
    Ok(())
}
