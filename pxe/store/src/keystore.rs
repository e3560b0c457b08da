//! The keystore: seeds and accounts, in the same file as everything else.
//!
//! Adding and listing accounts is the wallet's own business, so it asks for no scope. Keys are read through a
//! [`View`], whose scope must have the account.

use std::path::Path;

use rollmill_protocol::Fr;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::file::Writer;
use crate::keys::{KeyKind, MasterKeys};
use crate::phrase;
use crate::seal::{Cost, random};
use crate::store::Store;
use crate::tables::{Account, AccountRow, Accounts, Meta, SeedRow, Seeds, States};
use crate::view::View;

/// Number of the next seed.
const NEXT_SEED: &str = "next seed";
/// Accounts that [`Store::restore`] derives at most.
const ACCOUNTS_MAX: u32 = 1000;

/// An account as the wallet lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    pub account: Account,
    pub label: String,
    /// Seed, and index in it; none for imported keys.
    pub origin: Option<(u32, u32)>,
}

impl Store {
    /// Creates the file at `path` with a new seed and its first account, all at once: a crash leaves no file without
    /// them. Returns the account too.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_with_account(
        path: &Path,
        password: &str,
        cost: Cost,
        label: &str,
    ) -> Result<(Self, Account), StoreError> {
        let entropy = Zeroizing::new(random::<32>());
        Self::create_filled(path, password, cost, |writer| {
            let seed = add_seed(writer, entropy.as_slice())?;
            derive(writer, seed, None, label.to_owned())
        })
    }

    /// Creates a seed of 32 random bytes, that is a phrase of 24 words. Returns its number.
    ///
    /// # Errors
    /// Those of the file.
    pub fn new_seed(&self) -> Result<u32, StoreError> {
        let entropy = Zeroizing::new(random::<32>());
        self.write(|writer| add_seed(writer, entropy.as_slice()))
    }

    /// Adds the seed of a phrase and its first `accounts` accounts, named `label` and their index. Returns the seed's
    /// number; the number of a seed that is known already, which gets the accounts that it lacks.
    ///
    /// # Errors
    /// [`StoreError::Phrase`], and those of the file.
    pub fn restore(
        &self,
        words: &str,
        accounts: u32,
        label: &str,
    ) -> Result<(u32, Vec<Account>), StoreError> {
        let entropy = phrase::parse(words)?;
        self.write(|writer| {
            let known = writer.rows.all::<Seeds>()?;
            let known = known.iter().find(|(_, row)| row.entropy == *entropy);
            let seed = match known {
                Some((seed, _)) => *seed,
                None => add_seed(writer, &entropy)?,
            };
            let mut restored = Vec::new();
            for index in 0..accounts.min(ACCOUNTS_MAX) {
                let name = format!("{label} {index}");
                restored.push(derive(writer, seed, Some(index), name)?);
            }
            Ok((seed, restored))
        })
    }

    /// The phrase of a seed, from which all its accounts come back.
    ///
    /// # Errors
    /// [`StoreError::NoPhrase`] when there is no such seed.
    pub fn seed_phrase(&self, seed: u32) -> Result<Zeroizing<String>, StoreError> {
        let row = self.rows()?.get::<Seeds>(&seed)?.ok_or(StoreError::NoPhrase)?;
        phrase::of(&row.entropy)
    }

    /// The phrase that leads back to an account, and its index.
    ///
    /// # Errors
    /// [`StoreError::UnknownAccount`], and [`StoreError::NoPhrase`] for imported keys.
    pub fn phrase_of(&self, account: &Account) -> Result<(Zeroizing<String>, u32), StoreError> {
        let row = self.rows()?.get::<Accounts>(account)?;
        let row = row.ok_or(StoreError::UnknownAccount { account: account.0 })?;
        let (seed, index) = row.origin.ok_or(StoreError::NoPhrase)?;
        Ok((self.seed_phrase(seed)?, index))
    }

    /// Adds the next account of a seed.
    ///
    /// # Errors
    /// [`StoreError::NoPhrase`] when there is no such seed.
    pub fn add_account(&self, seed: u32, label: &str) -> Result<Account, StoreError> {
        self.write(|writer| derive(writer, seed, None, label.to_owned()))
    }

    /// Adds an account whose keys were made elsewhere. No seed phrase leads back to it.
    ///
    /// # Errors
    /// [`StoreError::AccountExists`].
    pub fn add_keys(&self, keys: &MasterKeys, label: &str) -> Result<Account, StoreError> {
        self.import(keys, label, None)
    }

    /// As [`Self::add_keys`], with the state that a wallet has of the account, in one step.
    ///
    /// # Errors
    /// As [`Self::add_keys`].
    pub fn import(
        &self,
        keys: &MasterKeys,
        label: &str,
        state: Option<&[u8]>,
    ) -> Result<Account, StoreError> {
        self.write(|writer| {
            let account = keys.account();
            if writer.rows.get::<Accounts>(&account)?.is_some() {
                return Err(StoreError::AccountExists { account: account.0 });
            }
            writer.put::<Accounts>(&account, &keys.to_row(label.to_owned(), None))?;
            if let Some(state) = state {
                writer.put::<States>(&account, &Zeroizing::new(state.to_vec()))?;
            }
            Ok(account)
        })
    }

    /// All accounts, by address.
    ///
    /// # Errors
    /// Those of the file.
    pub fn accounts(&self) -> Result<Vec<AccountInfo>, StoreError> {
        let rows = self.rows()?.all::<Accounts>()?;
        let mut accounts: Vec<AccountInfo> = rows.iter().map(info).collect();
        accounts.sort_unstable_by_key(|info| info.account);
        Ok(accounts)
    }
}

impl View<'_> {
    /// The accounts in scope, by address.
    ///
    /// # Errors
    /// Those of the file.
    pub fn accounts(&self) -> Result<Vec<AccountInfo>, StoreError> {
        let rows = self.rows.all::<Accounts>()?;
        let mut accounts: Vec<AccountInfo> = rows.iter().map(info).collect();
        accounts.retain(|info| self.scope.has(&info.account));
        accounts.sort_unstable_by_key(|info| info.account);
        Ok(accounts)
    }

    /// The master keys of an account. A contract is given [`Self::app_key`] instead.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] and [`StoreError::UnknownAccount`].
    pub fn master_keys(&self, account: &Account) -> Result<MasterKeys, StoreError> {
        self.scope.check(account)?;
        let row = self.rows.get::<Accounts>(account)?;
        let row = row.ok_or(StoreError::UnknownAccount { account: account.0 })?;
        let keys = MasterKeys::of_row(&row).filter(|keys| keys.account() == *account);
        keys.ok_or_else(|| StoreError::damaged("the keys of an account are another's"))
    }

    /// What a contract is given of an account's key.
    ///
    /// # Errors
    /// As [`Self::master_keys`].
    pub fn app_key(
        &self,
        account: &Account,
        kind: KeyKind,
        contract: &Fr,
    ) -> Result<Zeroizing<Fr>, StoreError> {
        Ok(self.master_keys(account)?.app_key(kind, contract))
    }
}

fn info((account, row): &(Account, AccountRow)) -> AccountInfo {
    AccountInfo { account: *account, label: row.label.clone(), origin: row.origin }
}

fn add_seed(writer: &mut Writer<'_>, entropy: &[u8]) -> Result<u32, StoreError> {
    let name = NEXT_SEED.to_owned();
    let next = writer.rows.get::<Meta>(&name)?.unwrap_or(1);
    let seed = u32::try_from(next).map_err(|_| StoreError::damaged("it has too many seeds"))?;
    writer.put::<Meta>(&name, &next.saturating_add(1))?;
    writer.put::<Seeds>(&seed, &SeedRow { entropy: entropy.to_vec(), next: 0 })?;
    Ok(seed)
}

/// Adds the account of a seed with this index, or with the next one. One that is known stays as it is.
fn derive(
    writer: &mut Writer<'_>,
    seed: u32,
    index: Option<u32>,
    label: String,
) -> Result<Account, StoreError> {
    let mut row = writer.rows.get::<Seeds>(&seed)?.ok_or(StoreError::NoPhrase)?;
    let index = index.unwrap_or(row.next);
    let keys = MasterKeys::of_seed(&*phrase::seed(&row.entropy)?, index);
    let account = keys.account();
    if writer.rows.get::<Accounts>(&account)?.is_none() {
        writer.put::<Accounts>(&account, &keys.to_row(label, Some((seed, index))))?;
    }
    if index >= row.next {
        row.next = index.saturating_add(1);
        writer.put::<Seeds>(&seed, &row)?;
    }
    Ok(account)
}
