//! Calls as people write them: a function by its name, and arguments by theirs.

use rollmill_acir::private::{args_hash, arguments, selector};
use rollmill_protocol::Fr;
use rollmill_pxe_store::{MasterKeys, Scope, Store};
use serde_json::{Map, Value};

use super::book::{self, Book};
use super::error::ContractError;
use super::request::{Authorization, CallRequest, ContractCall, EntryTerms, Environment};

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

/// The request of an account to make one call and pay for it, in blocks up to a slot. The words of `random` are fresh.
///
/// # Errors
/// [`ContractError::Value`] for arguments that do not fit the function, and those of [`own_contract`] and
/// [`Book::deployed`].
pub fn named_request(
    store: &Store,
    keys: &MasterKeys,
    call: &NamedCall,
    (environment, expiry_slot): (&Environment, u64),
    random: [Fr; 2],
) -> Result<CallRequest, ContractError> {
    let made = named_call(store, call)?;
    let from = own_contract(store, keys, call.from.as_ref())?;
    let terms = EntryTerms { pays: true, expiry_slot };
    CallRequest::of_account(environment, from, &[made], terms, random)
}

/// The call of a contract, with arguments as its function takes them.
///
/// # Errors
/// [`ContractError::Value`] for arguments that do not fit the function, and those of [`Book::deployed`].
pub fn named_call(store: &Store, call: &NamedCall) -> Result<ContractCall, ContractError> {
    let scope = Scope::default();
    let deployed = Book::default().deployed(&store.view(&scope)?, &call.contract)?;
    let function = deployed.class.named(&call.function)?;
    let args = arguments(function, &call.args)?;
    // A class has no function without one.
    let selector = selector(&function.name).unwrap_or_default();
    Ok(ContractCall { contract: call.contract, selector, args, is_static: false })
}

/// What the account with these keys allows when it lets `caller` make a call in its name, in the deployment with this
/// chain id and version.
///
/// # Errors
/// As [`named_request`].
pub fn named_authorization(
    store: &Store,
    keys: &MasterKeys,
    call: &NamedCall,
    caller: Fr,
    (chain_id, version): (u64, u64),
) -> Result<Authorization, ContractError> {
    let made = named_call(store, call)?;
    let account = own_contract(store, keys, call.from.as_ref())?;
    let (contract, selector, args_hash) = (made.contract, made.selector, args_hash(&made.args));
    Ok(Authorization { account, contract, selector, caller, args_hash, chain_id, version })
}
