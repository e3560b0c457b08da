//! Decisions of the wallet: what no block says and no rewind undoes.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_protocol::Fr;
use zeroize::Zeroizing;

use crate::block::{FINALIZED, number, set_number};
use crate::error::StoreError;
use crate::file::Writer;
use crate::scope::Scope;
use crate::tables::{
    Account, Capsules, ClassKeys, Classes, Contact, Contacts, Contract, Contracts, Decisions,
    Followed, Holds, Included, Keys, Nullified, SentTags, Stage, States, TransactionRow,
    Transactions, Witnesses,
};

/// Number of the next transaction.
const NEXT_TRANSACTION: &str = "next transaction";

/// One step of the wallet, within a scope. All of it is on the disk after it, or nothing.
pub struct Step<'w, 't> {
    writer: &'w mut Writer<'t>,
    scope: &'w Scope,
}

impl std::fmt::Debug for Step<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("scope", self.scope).finish_non_exhaustive()
    }
}

/// What a transaction takes before it is built.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What was asked for, in the wallet's own form.
    pub request: Vec<u8>,
    /// Nullifiers of the notes that it spends.
    pub nullifiers: Vec<Fr>,
    /// For each log: the secret of the pair. A secret may occur more than once.
    pub secrets: Vec<Fr>,
}

/// Without the secrets, of which one tells all transfers of its pair.
impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("request", &self.request)
            .field("nullifiers", &self.nullifiers)
            .field("secrets", &self.secrets.len())
            .finish()
    }
}

/// A transaction whose notes and tags are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// By which the account names it.
    pub number: u64,
    /// For each log: the index of its tag.
    pub tags: Vec<u64>,
}

impl<'w, 't> Step<'w, 't> {
    pub(crate) fn new(writer: &'w mut Writer<'t>, scope: &'w Scope) -> Self {
        Self { writer, scope }
    }

    /// Adds or replaces a sender or recipient that an account knows.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn set_contact(
        &mut self,
        account: &Account,
        address: &Fr,
        contact: &Contact,
    ) -> Result<(), StoreError> {
        self.scope.check(account)?;
        self.set::<Contacts>(&(*account, *address), contact)
    }

    /// Forgets a sender or recipient; returns whether it was known.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn remove_contact(&mut self, account: &Account, address: &Fr) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        self.unset::<Contacts>(&(*account, *address))
    }

    /// Keeps the artifact of a class. The id is a hash of what matters of it, so an artifact is never replaced.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for another artifact of the class, [`StoreError::TooLarge`].
    pub fn add_class(&mut self, class_id: &Fr, artifact: &[u8]) -> Result<bool, StoreError> {
        match self.writer.rows.get::<Classes>(class_id)? {
            Some(known) if known == artifact => Ok(false),
            Some(_) => Err(StoreError::Conflict { what: "the artifact of a class" }),
            None => self.set::<Classes>(class_id, &artifact.to_vec()).map(|()| true),
        }
    }

    /// Keeps the keys of a class, which its id is a hash of.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for other keys of the class, [`StoreError::TooLarge`].
    pub fn add_class_keys(&mut self, class_id: &Fr, keys: &ClassKeys) -> Result<bool, StoreError> {
        match self.writer.rows.get::<Keys>(class_id)? {
            Some(known) if known == *keys => Ok(false),
            Some(_) => Err(StoreError::Conflict { what: "the keys of a class" }),
            None => self.set::<Keys>(class_id, keys).map(|()| true),
        }
    }

    /// Forgets a contract, and its class if no other contract is of it; returns whether it was registered. Its notes
    /// stay: they are what blocks say.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn remove_contract(&mut self, address: &Fr) -> Result<bool, StoreError> {
        let Some(contract) = self.writer.rows.get::<Contracts>(address)? else { return Ok(false) };
        self.unset::<Contracts>(address)?;
        let left = self.writer.rows.all::<Contracts>()?;
        if left.iter().all(|(_, other)| other.class_id != contract.class_id) {
            self.unset::<Classes>(&contract.class_id)?;
            self.unset::<Keys>(&contract.class_id)?;
        }
        Ok(true)
    }

    /// Records that the messages of an account were read up to `tip`, and are from now on with each block.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn follow(&mut self, account: &Account, tip: u64) -> Result<(), StoreError> {
        self.scope.check(account)?;
        self.set::<Followed>(account, &tip)
    }

    /// Registers a contract, or moves it to another class: its other fields never change.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for another instance with this address.
    pub fn set_contract(&mut self, address: &Fr, contract: &Contract) -> Result<(), StoreError> {
        if let Some(known) = self.writer.rows.get::<Contracts>(address)? {
            let moved = Contract { class_id: contract.class_id, ..known };
            if moved != *contract {
                return Err(StoreError::Conflict { what: "a contract" });
            }
        }
        self.set::<Contracts>(address, contract)
    }

    /// Keeps an auth witness for a message.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn set_witness(
        &mut self,
        account: &Account,
        message: &Fr,
        witness: &[Fr],
    ) -> Result<(), StoreError> {
        self.scope.check(account)?;
        self.set::<Witnesses>(&(*account, *message), &witness.to_vec())
    }

    /// Forgets an auth witness; returns whether it was there.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn remove_witness(&mut self, account: &Account, message: &Fr) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        self.unset::<Witnesses>(&(*account, *message))
    }

    /// Keeps the state that a wallet has of an account, in the wallet's own form.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], [`StoreError::TooLarge`].
    pub fn set_wallet_state(&mut self, account: &Account, state: &[u8]) -> Result<(), StoreError> {
        self.scope.check(account)?;
        self.set::<States>(account, &Zeroizing::new(state.to_vec()))
    }

    /// Keeps a capsule of a contract.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn set_capsule(
        &mut self,
        account: &Account,
        contract: &Fr,
        slot: &Fr,
        words: &[Fr],
    ) -> Result<(), StoreError> {
        self.scope.check(account)?;
        self.set::<Capsules>(&(*account, *contract, *slot), &words.to_vec())
    }

    /// Deletes a capsule; returns whether it was there.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn remove_capsule(
        &mut self,
        account: &Account,
        contract: &Fr,
        slot: &Fr,
    ) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        self.unset::<Capsules>(&(*account, *contract, *slot))
    }

    /// Copies `count` capsules with consecutive slots, as if all were read before the first is written. Returns
    /// false, and copies nothing, when one is missing.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub fn copy_capsules(
        &mut self,
        account: &Account,
        contract: &Fr,
        (from, to): (&Fr, &Fr),
        count: u32,
    ) -> Result<bool, StoreError> {
        self.scope.check(account)?;
        let mut copied = Vec::new();
        for offset in 0..count {
            let slot = *from + Fr::from(offset);
            match self.writer.rows.get::<Capsules>(&(*account, *contract, slot))? {
                Some(words) => copied.push((*to + Fr::from(offset), words)),
                None => return Ok(false),
            }
        }
        for (slot, words) in copied {
            self.set::<Capsules>(&(*account, *contract, slot), &words)?;
        }
        Ok(true)
    }

    /// Takes notes and tags for a transaction, before it is built. Two transactions never take the same ones, also
    /// when two clients plan at once.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], and [`StoreError::Held`] for a note that is spent or held.
    pub fn plan(&mut self, account: &Account, plan: &Plan) -> Result<Planned, StoreError> {
        self.scope.check(account)?;
        // All is checked before the first write: the rest of a step may go on after an error, and what a failed plan
        // had taken would belong to no transaction.
        let mut taken = BTreeSet::new();
        for nullifier in &plan.nullifiers {
            let key = (*account, *nullifier);
            let is_spent = self.writer.rows.get::<Nullified>(&key)?.is_some();
            let is_held = self.writer.rows.get::<Holds>(&key)?.is_some();
            if is_spent || is_held || !taken.insert(*nullifier) {
                return Err(StoreError::Held { nullifier: *nullifier });
            }
        }
        let mut next = BTreeMap::<Fr, u64>::new();
        let mut tags = Vec::with_capacity(plan.secrets.len());
        for secret in &plan.secrets {
            let known = match next.get(secret) {
                Some(index) => Some(*index),
                None => self.writer.rows.get::<SentTags>(&(*account, *secret))?,
            };
            let index = known.unwrap_or_default();
            next.insert(*secret, index.saturating_add(1));
            tags.push((*secret, index));
        }
        let indices = tags.iter().map(|(_, index)| *index).collect();
        let transaction = number(self.writer, NEXT_TRANSACTION)?.unwrap_or(1);
        let row = TransactionRow {
            stage: Stage::Planned,
            request: plan.request.clone(),
            nullifiers: plan.nullifiers.clone(),
            tags,
            tx_hash: None,
            bytes: Vec::new(),
            reported: false,
        };
        // First, since it may be too large.
        self.set::<Transactions>(&(*account, transaction), &row)?;
        set_number(self.writer, NEXT_TRANSACTION, transaction.saturating_add(1))?;
        for nullifier in &plan.nullifiers {
            self.set::<Holds>(&(*account, *nullifier), &transaction)?;
        }
        for (secret, index) in next {
            self.set::<SentTags>(&(*account, secret), &index)?;
        }
        Ok(Planned { number: transaction, tags: indices })
    }

    /// Keeps the bytes of a planned transaction. Only after this step may they leave the machine.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], [`StoreError::NoTransaction`], and [`StoreError::Stage`] unless it is planned.
    pub fn ready(
        &mut self,
        account: &Account,
        number: u64,
        tx_hash: &Fr,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let row = self.transaction(account, number, Stage::Planned, "made ready")?;
        let row = TransactionRow {
            stage: Stage::Ready,
            tx_hash: Some(*tx_hash),
            bytes: bytes.to_vec(),
            ..row
        };
        self.set::<Transactions>(&(*account, number), &row)
    }

    /// Gives up a transaction of which nothing can have left: its notes are free, and so are its tags unless later
    /// ones of their pairs are taken.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn abandon(&mut self, account: &Account, number: u64) -> Result<(), StoreError> {
        let row = self.transaction(account, number, Stage::Planned, "abandoned")?;
        for (secret, index) in row.tags.iter().rev() {
            let key = (*account, *secret);
            let next = self.writer.rows.get::<SentTags>(&key)?;
            if next == Some(index.saturating_add(1)) {
                self.set::<SentTags>(&key, index)?;
            }
        }
        self.release(account, number, &row)?;
        self.unset::<Transactions>(&(*account, number)).map(|_| ())
    }

    /// Records that a transaction cannot be included any more, or that the node dropped it: its notes are free. Its
    /// tags stay taken, since they may have been seen.
    ///
    /// # Errors
    /// As [`Self::ready`], for a transaction that is not ready.
    pub fn drop_transaction(&mut self, account: &Account, number: u64) -> Result<(), StoreError> {
        let row = self.transaction(account, number, Stage::Ready, "dropped")?;
        self.release(account, number, &row)?;
        let row = TransactionRow { stage: Stage::Dropped, ..row };
        self.set::<Transactions>(&(*account, number), &row)
    }

    /// Records that the user was informed that a transaction was sent, or may have been.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] and [`StoreError::NoTransaction`].
    pub fn report(&mut self, account: &Account, number: u64) -> Result<(), StoreError> {
        let row = TransactionRow { reported: true, ..self.any_transaction(account, number)? };
        self.set::<Transactions>(&(*account, number), &row)
    }

    /// Replaces what the wallet keeps of a transaction in its own form.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], [`StoreError::NoTransaction`], [`StoreError::TooLarge`].
    pub fn set_request(
        &mut self,
        account: &Account,
        number: u64,
        request: &[u8],
    ) -> Result<(), StoreError> {
        let row = self.any_transaction(account, number)?;
        let row = TransactionRow { request: request.to_vec(), ..row };
        self.set::<Transactions>(&(*account, number), &row)
    }

    /// Forgets a transaction whose block is finalized, or that was dropped.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`], [`StoreError::NoTransaction`], and [`StoreError::Stage`] for a planned one, which
    /// is abandoned instead, and for one that may still be included, alone or again after a reorganization.
    pub fn forget(&mut self, account: &Account, number: u64) -> Result<(), StoreError> {
        let row = self.any_transaction(account, number)?;
        let is_settled = match row.stage {
            Stage::Planned => false,
            Stage::Ready => self.is_final(account, &row)?,
            Stage::Dropped => true,
        };
        if !is_settled {
            let stage = row.stage.as_str();
            return Err(StoreError::Stage { number, stage, wanted: "forgotten" });
        }
        self.release(account, number, &row)?;
        self.unset::<Transactions>(&(*account, number)).map(|_| ())
    }

    /// Whether the block of a transaction is finalized.
    fn is_final(&self, account: &Account, row: &TransactionRow) -> Result<bool, StoreError> {
        let Some(tx_hash) = row.tx_hash else { return Ok(false) };
        let block = self.writer.rows.get::<Included>(&(*account, tx_hash))?;
        let finalized = number(self.writer, FINALIZED)?;
        Ok(block.zip(finalized).is_some_and(|(block, finalized)| block <= finalized))
    }

    fn set<S: Decisions>(&mut self, key: &S::Key, value: &S::Value) -> Result<(), StoreError> {
        self.writer.put::<S>(key, value)
    }

    fn unset<S: Decisions>(&mut self, key: &S::Key) -> Result<bool, StoreError> {
        self.writer.remove::<S>(key)
    }

    fn any_transaction(
        &self,
        account: &Account,
        number: u64,
    ) -> Result<TransactionRow, StoreError> {
        self.scope.check(account)?;
        let row = self.writer.rows.get::<Transactions>(&(*account, number))?;
        row.ok_or(StoreError::NoTransaction { number })
    }

    fn transaction(
        &self,
        account: &Account,
        number: u64,
        stage: Stage,
        wanted: &'static str,
    ) -> Result<TransactionRow, StoreError> {
        let row = self.any_transaction(account, number)?;
        if row.stage != stage {
            return Err(StoreError::Stage { number, stage: row.stage.as_str(), wanted });
        }
        Ok(row)
    }

    /// Frees the notes that the transaction holds.
    fn release(
        &mut self,
        account: &Account,
        number: u64,
        row: &TransactionRow,
    ) -> Result<(), StoreError> {
        for nullifier in &row.nullifiers {
            let key = (*account, *nullifier);
            // Another one may hold the note by now.
            if self.writer.rows.get::<Holds>(&key)? == Some(number) {
                self.unset::<Holds>(&key)?;
            }
        }
        Ok(())
    }
}
