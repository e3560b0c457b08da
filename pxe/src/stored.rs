//! An account of a store: its keys, and its wallet as it was saved last.

use rollmill_pxe_store::{Account, Scope, Store, Zeroizing};

use crate::error::PxeError;
use crate::keys::Keys;
use crate::wallet::{State, Wallet};

/// The keys of an account of the store.
///
/// # Errors
/// [`PxeError::Store`].
pub fn keys(store: &Store, account: Account) -> Result<Keys, PxeError> {
    let scope = Scope::of([account]);
    Ok(Keys::from_master(&store.view(&scope)?.master_keys(&account)?))
}

/// The wallet of an account as it was saved last, or an empty one.
///
/// # Errors
/// [`PxeError::Store`], and [`PxeError::State`] for the state of another version of the protocol.
pub fn load(store: &Store, account: Account, keys: Keys) -> Result<Wallet, PxeError> {
    let scope = Scope::of([account]);
    let plain = store.view(&scope)?.wallet_state(&account)?;
    let state = plain.map(|plain| State::from_bytes(&plain)).transpose()?;
    Ok(match state {
        Some(state) => Wallet::with_state(keys, state),
        None => Wallet::new(keys),
    })
}

/// Saves the wallet of an account, durably.
///
/// # Errors
/// [`PxeError::Store`].
pub fn save(store: &Store, account: Account, wallet: &Wallet) -> Result<(), PxeError> {
    let plain = Zeroizing::new(wallet.state().to_bytes()?);
    let scope = Scope::of([account]);
    rollmill_service::failpoint!(blocking "pxe.before_commit");
    Ok(store.step(&scope, |step| step.set_wallet_state(&account, &plain))?)
}
