//! Reading: a snapshot of the store, within a scope.

use std::collections::BTreeSet;

use rollmill_protocol::Fr;
use rollmill_protocol::tree::frontier::NOTE_SUBTREE_HEIGHT;
use rollmill_protocol::tree::{ArchiveFrontier, Frontier, Mark};
use zeroize::Zeroizing;

use crate::block::{FINALIZED, FIRST, TIP};
use crate::error::StoreError;
use crate::scope::Scope;
use crate::store::{Header, Snapshot};
use crate::tables::{
    Account, Archives, Blocks, Capsules, Claims, ClassKeys, Classes, Contact, Contacts, Contract,
    Contracts, Deferred, Event, Events, Followed, Frontiers, Holds, Included, Keys, Marks, Meta,
    Nodes, Note, Notes, Nullified, Payload, SeenTags, SentTags, States, TransactionRow,
    Transactions, Witnesses,
};

/// A snapshot of the store. What belongs to an account is shown only if the scope has the account.
pub struct View<'s> {
    pub(crate) rows: Snapshot<'s>,
    pub(crate) scope: &'s Scope,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("scope", self.scope).finish_non_exhaustive()
    }
}

/// A note with its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNote {
    /// Index of its leaf.
    pub leaf_index: u64,
    pub note: Note,
    /// Block that published its nullifier.
    pub spent_in: Option<u64>,
    /// Transaction of the wallet that holds it.
    pub held_by: Option<u64>,
}

/// A transaction of the wallet with its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub number: u64,
    pub row: TransactionRow,
    /// Block that contains it.
    pub included_in: Option<u64>,
}

/// Where in the chain a message or an event stands, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    pub tx_hash: Fr,
    /// Index in the transaction.
    pub index: u64,
    pub item: T,
}

fn malformed_tree() -> StoreError {
    StoreError::damaged("its note tree is malformed")
}

impl<'s> View<'s> {
    pub(crate) fn new(rows: Snapshot<'s>, scope: &'s Scope) -> Self {
        Self { rows, scope }
    }

    /// Number of the last block that was read.
    ///
    /// # Errors
    /// When the file cannot be read; so do all others.
    pub fn tip(&self) -> Result<Option<u64>, StoreError> {
        self.rows.get::<Meta>(&TIP.to_owned())
    }

    /// Number of the last block that cannot be undone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn finalized(&self) -> Result<Option<u64>, StoreError> {
        self.rows.get::<Meta>(&FINALIZED.to_owned())
    }

    /// The headers from the finalized block to the tip, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn headers(&self) -> Result<Vec<Header>, StoreError> {
        let rows = self.rows.all::<Blocks>()?.into_iter();
        let mut headers: Vec<Header> =
            rows.map(|(number, (hash, slot))| Header { number, hash, slot }).collect();
        headers.sort_unstable_by_key(|header| header.number);
        Ok(headers)
    }

    /// All notes of an account, by leaf, the spent ones too.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn notes(&self, account: &Account) -> Result<Vec<StoredNote>, StoreError> {
        self.scope.check(account)?;
        let mut notes = Vec::new();
        for ((_, leaf_index), note) in self.rows.list::<Notes>(account)? {
            let key = (*account, note.nullifier);
            let spent_in = self.rows.get::<Nullified>(&key)?;
            let held_by = self.rows.get::<Holds>(&key)?;
            notes.push(StoredNote { leaf_index, note, spent_in, held_by });
        }
        notes.sort_unstable_by_key(|note| note.leaf_index);
        Ok(notes)
    }

    /// The notes of one storage slot of a contract that are neither spent nor held, by leaf.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn spendable(
        &self,
        account: &Account,
        contract: &Fr,
        slot: &Fr,
    ) -> Result<Vec<StoredNote>, StoreError> {
        let mut notes = self.notes(account)?;
        notes.retain(|stored| {
            let is_here = stored.note.contract == *contract && stored.note.slot == *slot;
            is_here && stored.spent_in.is_none() && stored.held_by.is_none()
        });
        Ok(notes)
    }

    /// The messages for a contract that wait for its registration, by block.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn deferred(
        &self,
        account: &Account,
        contract: &Fr,
    ) -> Result<Vec<Placed<Payload>>, StoreError> {
        self.scope.check(account)?;
        let rows = self.rows.list::<Deferred>(&(*account, *contract))?.into_iter();
        let place = |((_, _, tx_hash, index), item)| Placed { tx_hash, index, item };
        let mut placed: Vec<Placed<Payload>> = rows.map(place).collect();
        placed.sort_unstable_by_key(|placed| (placed.item.block, placed.tx_hash, placed.index));
        Ok(placed)
    }

    /// The private events that an account received from a contract, by block.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn events(
        &self,
        account: &Account,
        contract: &Fr,
    ) -> Result<Vec<Placed<Event>>, StoreError> {
        self.scope.check(account)?;
        let rows = self.rows.list::<Events>(&(*account, *contract))?.into_iter();
        let place = |((_, _, tx_hash, index), item)| Placed { tx_hash, index, item };
        let mut placed: Vec<Placed<Event>> = rows.map(place).collect();
        placed.sort_unstable_by_key(|placed| (placed.item.block, placed.tx_hash, placed.index));
        Ok(placed)
    }

    /// Highest index of a log of this pair that was seen.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn seen_tag(&self, account: &Account, secret: &Fr) -> Result<Option<u64>, StoreError> {
        self.scope.check(account)?;
        let rows = self.rows.list::<SeenTags>(&(*account, *secret))?;
        Ok(rows.into_iter().map(|(_, index)| index).max())
    }

    /// Index of the next log of this pair that is sent.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn next_tag(&self, account: &Account, secret: &Fr) -> Result<u64, StoreError> {
        self.scope.check(account)?;
        Ok(self.rows.get::<SentTags>(&(*account, *secret))?.unwrap_or_default())
    }

    /// Block that claimed a deposit of the account.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn claimed(&self, account: &Account, index: u64) -> Result<Option<u64>, StoreError> {
        self.scope.check(account)?;
        self.rows.get::<Claims>(&(*account, index))
    }

    /// Block that published a nullifier of the account.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn nullified(&self, account: &Account, nullifier: &Fr) -> Result<Option<u64>, StoreError> {
        self.scope.check(account)?;
        self.rows.get::<Nullified>(&(*account, *nullifier))
    }

    /// Block that contains a transaction of the account.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn included(&self, account: &Account, tx_hash: &Fr) -> Result<Option<u64>, StoreError> {
        self.scope.check(account)?;
        self.rows.get::<Included>(&(*account, *tx_hash))
    }

    /// The account's transactions, oldest first.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn transactions(&self, account: &Account) -> Result<Vec<Transaction>, StoreError> {
        self.scope.check(account)?;
        let mut transactions = Vec::new();
        for ((_, number), row) in self.rows.list::<Transactions>(account)? {
            let included_in = match &row.tx_hash {
                Some(tx_hash) => self.rows.get::<Included>(&(*account, *tx_hash))?,
                None => None,
            };
            transactions.push(Transaction { number, row, included_in });
        }
        transactions.sort_unstable_by_key(|transaction| transaction.number);
        Ok(transactions)
    }

    /// The senders and recipients that an account knows, by address.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn contacts(&self, account: &Account) -> Result<Vec<(Fr, Contact)>, StoreError> {
        self.scope.check(account)?;
        let rows = self.rows.list::<Contacts>(account)?.into_iter();
        let mut contacts: Vec<(Fr, Contact)> =
            rows.map(|((_, address), contact)| (address, contact)).collect();
        contacts.sort_unstable_by_key(|(address, _)| *address);
        Ok(contacts)
    }

    /// The auth witness for a message.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn witness(&self, account: &Account, message: &Fr) -> Result<Option<Vec<Fr>>, StoreError> {
        self.scope.check(account)?;
        self.rows.get::<Witnesses>(&(*account, *message))
    }

    /// The state that a wallet has of an account, in the wallet's own form.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn wallet_state(
        &self,
        account: &Account,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.scope.check(account)?;
        Ok(self.rows.get::<States>(account)?.map(Zeroizing::new))
    }

    /// A capsule of a contract.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn capsule(
        &self,
        account: &Account,
        contract: &Fr,
        slot: &Fr,
    ) -> Result<Option<Vec<Fr>>, StoreError> {
        self.scope.check(account)?;
        self.rows.get::<Capsules>(&(*account, *contract, *slot))
    }

    /// The artifact of a class. Classes belong to no account.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn class(&self, class_id: &Fr) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get::<Classes>(class_id)
    }

    /// The keys of a class. Classes belong to no account.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn class_keys(&self, class_id: &Fr) -> Result<Option<ClassKeys>, StoreError> {
        self.rows.get::<Keys>(class_id)
    }

    /// Whether the messages of an account were read up to the tip.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn is_followed(&self, account: &Account) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        Ok(self.rows.get::<Followed>(account)?.is_some())
    }

    /// A contact by its address.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn contact(&self, account: &Account, address: &Fr) -> Result<Option<Contact>, StoreError> {
        self.scope.check(account)?;
        self.rows.get::<Contacts>(&(*account, *address))
    }

    /// Number of the first block that was read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn first_block(&self) -> Result<Option<u64>, StoreError> {
        self.rows.get::<Meta>(&FIRST.to_owned())
    }

    /// The frontier of the note tree after a block; `None` for a block that was not read, or is before the finalized
    /// one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn frontier(&self, block: u64) -> Result<Option<Frontier>, StoreError> {
        let Some((count, nodes)) = self.rows.get::<Frontiers>(&block)? else { return Ok(None) };
        Frontier::of(count, nodes).map(Some).ok_or_else(malformed_tree)
    }

    /// The frontier of the archive after a block; `None` as for [`Self::frontier`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn archive(&self, block: u64) -> Result<Option<ArchiveFrontier>, StoreError> {
        let Some(nodes) = self.rows.get::<Archives>(&block)? else { return Ok(None) };
        let archive = ArchiveFrontier::of(block.saturating_add(1), nodes);
        archive.map(Some).ok_or_else(|| StoreError::damaged("its archive is malformed"))
    }

    /// The hash of the genesis header of the network whose blocks were read; `None` before the first one.
    ///
    /// # Errors
    /// As [`Self::archive`].
    pub fn network(&self) -> Result<Option<Fr>, StoreError> {
        Ok(self.archive(0)?.and_then(|genesis| genesis.nodes().first().copied()))
    }

    /// Positions of the subtrees of the note tree whose leaves have paths. They belong to no account.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn marks(&self) -> Result<BTreeSet<u64>, StoreError> {
        Ok(self.rows.all::<Marks>()?.into_iter().map(|(position, _)| position).collect())
    }

    /// Siblings of a leaf in the note tree after a block, lowest first; `None` when the block has no frontier here, or
    /// the leaf is not of a marked subtree. Whoever uses the path compares the root that it leads to.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn note_path(&self, leaf_index: u64, block: u64) -> Result<Option<Vec<Fr>>, StoreError> {
        let position = leaf_index >> NOTE_SUBTREE_HEIGHT;
        let Some(frontier) = self.frontier(block)? else { return Ok(None) };
        let Some((leaves, left)) = self.rows.get::<Marks>(&position)? else { return Ok(None) };
        let leaves = leaves.try_into().map_err(|_| malformed_tree())?;
        // An error of the file, and not a missing node, is what the caller gets.
        let mut failed = None;
        let path = frontier.path(leaf_index, &Mark { leaves, left }, |level, index| {
            match self.rows.get::<Nodes>(&(level, index)) {
                Ok(node) => node,
                Err(error) => {
                    failed = Some(error);
                    None
                }
            }
        });
        failed.map_or(Ok(path), Err)
    }

    /// A registered contract. Contracts belong to no account.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contract(&self, address: &Fr) -> Result<Option<Contract>, StoreError> {
        self.rows.get::<Contracts>(address)
    }

    /// All registered contracts, by address.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contracts(&self) -> Result<Vec<(Fr, Contract)>, StoreError> {
        let mut contracts = self.rows.all::<Contracts>()?;
        contracts.sort_unstable_by_key(|(address, _)| *address);
        Ok(contracts)
    }
}
