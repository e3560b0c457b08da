//! Calls as people write them: a function by its name, and arguments by theirs.

use rollmill_acir::private::{arguments, selector};
use rollmill_protocol::Fr;
use rollmill_pxe_store::{MasterKeys, Scope, Store};
use serde_json::{Map, Value};

use super::book::{self, Book};
use super::error::ContractError;
use super::request::{CallRequest, ContractCall, Environment};

/// A call of a contract by an account.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCall {
    pub contract: Fr,
    pub function: String,
    pub args: Map<String, Value>,
    /// The account's contract; the only one with the account's keys if absent.
    pub from: Option<Fr>,
}

/// The contract by which the account with these keys makes calls: the one that is named, or the only one.
///
/// # Errors
/// [`ContractError::AccountContract`] where there is none or several, or the named one has other keys.
pub fn own_contract(
    store: &Store,
    keys: &MasterKeys,
    named: Option<&Fr>,
) -> Result<Fr, ContractError> {
    let scope = Scope::default();
    let (view, keys_hash) = (store.view(&scope)?, keys.keys_hash());
    if let Some(named) = named {
        return match book::instance(&view, named)?.keys_hash == keys_hash {
            true => Ok(*named),
            false => Err(ContractError::AccountContract { why: "the contract has another's keys" }),
        };
    }
    let mut own = view.contracts()?.into_iter().filter(|(_, other)| other.keys_hash == keys_hash);
    match (own.next(), own.next()) {
        (Some((address, _)), None) => Ok(address),
        (None, _) => {
            Err(ContractError::AccountContract { why: "no contract has the account's keys" })
        }
        _ => {
            Err(ContractError::AccountContract { why: "several contracts have the account's keys" })
        }
    }
}

/// The request of an account to make one call and pay for it. The words of `random` are fresh.
///
/// # Errors
/// [`ContractError::Value`] for arguments that do not fit the function, and those of [`own_contract`] and
/// [`Book::deployed`].
pub fn named_request(
    store: &Store,
    keys: &MasterKeys,
    call: &NamedCall,
    environment: &Environment,
    random: [Fr; 2],
) -> Result<CallRequest, ContractError> {
    let scope = Scope::default();
    let deployed = Book::default().deployed(&store.view(&scope)?, &call.contract)?;
    let function = deployed.class.named(&call.function)?;
    let args = arguments(function, &call.args)?;
    // A class has no function without one.
    let selector = selector(&function.name).unwrap_or_default();
    let made = ContractCall { contract: call.contract, selector, args, is_static: false };
    let from = own_contract(store, keys, call.from.as_ref())?;
    CallRequest::of_account(environment, from, &[made], true, random)
}
