//! Whom an account can make notes for: a log is encrypted to the viewing key of the note's owner.

use rollmill_protocol::Fr;
use rollmill_protocol::note;
use rollmill_pxe_store::{Account, Contact, Scope, Store};

use super::error::ContractError;
use crate::keys::{Address, point_to_bytes};

/// Lets an account of the store make notes for somebody else's address: the one with these keys, and with `partial` of
/// its contract, or 0 for an account without one. Returns the address, which arguments name.
///
/// # Errors
/// Those of the store.
pub fn add_contact(
    store: &Store,
    account: Account,
    (keys, partial): (&Address, &Fr),
    label: &str,
) -> Result<Fr, ContractError> {
    let address = note::address(&note::keys_hash(&keys.npk, &keys.viewing()), partial);
    let viewing = point_to_bytes(&keys.vpk);
    let contact = Contact { label: label.to_owned(), npk: keys.npk, viewing };
    let scope = Scope::of([account]);
    store.step(&scope, |step| step.set_contact(&account, &address, &contact))?;
    Ok(address)
}
