//! Which accounts a caller may read and change.

use std::collections::BTreeSet;

use crate::error::StoreError;
use crate::tables::Account;

/// The accounts that one request may use. The wallet decides on it when a user allows an application something;
/// every read and every change of an account's rows names an account and is checked against the scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<Account>);

impl Scope {
    /// A scope of these accounts.
    pub fn of(accounts: impl IntoIterator<Item = Account>) -> Self {
        Self(accounts.into_iter().collect())
    }

    /// Whether the scope has the account.
    pub fn has(&self, account: &Account) -> bool {
        self.0.contains(account)
    }

    /// The accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.0.iter()
    }

    pub(crate) fn check(&self, account: &Account) -> Result<(), StoreError> {
        match self.has(account) {
            true => Ok(()),
            false => Err(StoreError::OutOfScope { account: account.0 }),
        }
    }
}
