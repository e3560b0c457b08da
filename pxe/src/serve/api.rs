//! The methods of the service, each declared once: the dispatch with its checks of parameters, and the tables of
//! `docs/book/pxe-service.md`, come from one table.

use std::sync::Arc;

use rollmill_pxe_store::Account;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Service;
use super::error::CallError;
use super::wire::{
    AccountInfo, Authorize, Authorized, Balance, Call, CallInfo, Capabilities, Claim, ContractInfo,
    ContractNote, Member, NoteInfo, Nothing, OfAccount, OfContract, OfTransaction, Quote,
    RegisterContract, Registered, Sent, SentInfo, Shape, SimulateCall, SimulatedCall, Status,
    Synced, Transfer, TxInfo, Waited, Waiting, Withdraw,
};

/// A method as the table declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Name on the wire.
    pub name: &'static str,
    /// Its parameters, by name.
    pub parameters: Vec<Member>,
    /// Type of the result.
    pub result: &'static str,
    /// What it does: the doc comment.
    pub meaning: String,
}

/// The parameters of `method`, which are named. Unknown ones are rejected, so that a misspelt option is not ignored.
fn read<T: Shape>(method: &'static str, parameters: Value) -> Result<T, CallError> {
    let wrong = |reason: String| CallError::Parameters { method, reason };
    let mut given = match parameters {
        Value::Null => Map::new(),
        Value::Object(given) => given,
        _ => return Err(wrong("an object of named parameters expected".to_owned())),
    };
    let read = T::take(method, &mut given)?;
    match given.keys().next() {
        None => Ok(read),
        Some(name) => Err(wrong(format!("there is no parameter {name:.64}"))),
    }
}

fn written(result: impl Serialize) -> Result<Value, CallError> {
    serde_json::to_value(result).map_err(|_| CallError::Died)
}

/// As [`dispatch`], for an application with these accounts: of the transactions that the wallet has given up, it is
/// told about those of its accounts only, and of others what the node knows.
pub(super) async fn dispatch_for(
    service: &Arc<Service>,
    accounts: &[Account],
    method: &str,
    parameters: Value,
) -> Result<Value, CallError> {
    match method {
        "pxe_transaction" => {
            let of: OfTransaction = read("pxe_transaction", parameters)?;
            written(service.transaction_for(of, Some(accounts)).await?)
        }
        "pxe_wait" => {
            let of: Waiting = read("pxe_wait", parameters)?;
            written(service.wait_for(of, Some(accounts)).await?)
        }
        _ => dispatch(service, method, parameters).await,
    }
}

macro_rules! methods {
    ($(
        $(#[doc = $doc:literal])+
        $wire:literal: $name:ident($of:ty) -> $result:ty;
    )+) => {
        /// Every method, in order.
        pub fn methods() -> Vec<Method> {
            vec![$( Method {
                name: $wire,
                parameters: <$of as Shape>::members(),
                result: stringify!($result),
                meaning: [$($doc.trim()),+].join(" "),
            }, )+]
        }

        /// Calls a method by its name on the wire.
        pub(super) async fn dispatch(
            service: &Arc<Service>,
            method: &str,
            parameters: Value,
        ) -> Result<Value, CallError> {
            match method {
                $(
                    $wire => {
                        let parameters: $of = read($wire, parameters)?;
                        let result: $result = service.$name(parameters).await?;
                        written(result)
                    }
                )+
                other => Err(CallError::NoMethod(other.to_owned())),
            }
        }
    };
}

methods! {
    /// The service, and the tips of the node that it asks.
    "pxe_status": status(Nothing) -> Status;

    /// The accounts of the store.
    "pxe_accounts": accounts(Nothing) -> Vec<AccountInfo>;

    /// Read the chain up to the pending tip. Every method that reads or uses an account does so first.
    "pxe_sync": sync(OfAccount) -> Synced;

    /// The balances of an account.
    "pxe_balance": balance(OfAccount) -> Balance;

    /// All notes of an account, the spent ones too.
    "pxe_notes": notes(OfAccount) -> Vec<NoteInfo>;

    /// The transactions of an account whose blocks are not proven, in the order in which they were sent.
    "pxe_sent": sent(OfAccount) -> Vec<SentInfo>;

    /// What a transfer would cost. Nothing is proven or sent.
    "pxe_simulateTransfer": simulate_transfer(Transfer) -> Quote;

    /// Send a private transfer. An error says that nothing was sent, unless it is PXE-018, PXE-045 or PXE-046. With a
    /// key, the same request again returns the transaction of the first one.
    "pxe_transfer": transfer(Transfer) -> Sent;

    /// Claim a deposit on L1 and move its amount into a note. Errors are those of `pxe_transfer`.
    "pxe_claim": claim(Claim) -> Sent;

    /// Withdraw value from notes to an account on L1. Errors are those of `pxe_transfer`.
    "pxe_withdraw": withdraw(Withdraw) -> Sent;

    /// The status of a transaction, of any account.
    "pxe_transaction": transaction(OfTransaction) -> TxInfo;

    /// Wait until a transaction has reached a stage, was dropped, or the time is over.
    "pxe_wait": wait(Waiting) -> Waited;

    /// Register a contract by its artifact. The keys of its functions are made, which takes seconds for each.
    "pxe_registerContract": register_contract(RegisterContract) -> Registered;

    /// The registered contracts.
    "pxe_contracts": contracts(Nothing) -> Vec<ContractInfo>;

    /// Execute a call of a contract by the kernel's rules. Nothing is proven or sent.
    "pxe_simulateCall": simulate_call(SimulateCall) -> SimulatedCall;

    /// Call a contract: execute the call, prove its transaction, which takes minutes, and send it. Errors are those of
    /// `pxe_transfer`. Send a key: a client that waits too long for the proofs asks again with it.
    "pxe_call": call_contract(Call) -> Sent;

    /// The transactions of contracts that an account sent, the oldest first, with what became of them.
    "pxe_history": history(OfAccount) -> Vec<CallInfo>;

    /// The notes of a contract that an account received, the spent ones too. Other events do not exist yet.
    "pxe_contractNotes": contract_notes(OfContract) -> Vec<ContractNote>;

    /// Sign that a contract may make one call on behalf of the account. The signature is in the store until a call uses
    /// it. Nothing is sent.
    "pxe_authorize": authorize(Authorize) -> Authorized;

    /// What the token of the request allows.
    "pxe_capabilities": capabilities(Nothing) -> Capabilities;
}
