//! What can go wrong between this program and L1, with stable codes.

use rollmill_errors::{Coded, Disposition};
use std::path::PathBuf;

use alloy::contract::Error as ContractError;
use alloy::primitives::{Address, B256};
use alloy::transports::{RpcError, TransportError};

/// Why something on L1 could not be read or done. The message says what was expected, what was received,
/// and what to do; [`Self::code`] is for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum L1Error {
    /// No RPC endpoint of L1 answered.
    ///
    /// Do: Check that an endpoint in `--node-l1-urls` (or `--l1-urls`) runs and is reachable. Programs retry.
    #[error("{}: {what}: no L1 endpoint answered ({reason}); check that one of the RPC URLs is up", self.code())]
    Unreachable { what: &'static str, reason: String },

    /// An endpoint serves another chain. Nothing is read from it or sent to it.
    ///
    /// Do: Correct the URL or the chain ID (`--node-chain-id`, or `--chain-id`).
    #[error("{}: {url} serves chain {got}, expected chain {expected}; correct the URL or the chain id", self.code())]
    ChainIdWrong { url: String, expected: u64, got: u64 },

    /// An endpoint serves another chain with the same chain id. Nothing is read from it or sent to
    /// it.
    ///
    /// Do: Correct the URL.
    #[error("{}: {url} serves a chain whose block 0 is {got}, that of the other endpoints is {expected}; correct the URL", self.code())]
    GenesisWrong { url: String, expected: B256, got: B256 },

    /// An RPC URL cannot be used.
    ///
    /// Do: Write it as `http://127.0.0.1:8545`.
    #[error("{}: RPC URL `{url}`: {reason}; give a URL such as http://127.0.0.1:8545", self.code())]
    Url { url: String, reason: String },

    /// The L1 node answered with an error.
    ///
    /// Do: Read its message: a rate limit or a missing method calls for another endpoint.
    #[error("{}: {what}: the L1 node answered {code_number}: {message}", self.code())]
    Answer { what: &'static str, code_number: i64, message: String },

    /// There is no contract at the address.
    ///
    /// Do: Correct `--node-rollup` (or `--rollup`), or deploy the contract first.
    #[error("{}: no contract at {address} on chain {chain_id}; check the address or deploy first", self.code())]
    NoContract { address: Address, chain_id: u64 },

    /// The contract at the address is not a rollup of this release.
    ///
    /// Do: Correct `--node-rollup` (or `--rollup`).
    #[error("{}: the contract at {address} is not a Rollmill rollup of this release ({reason}); correct the address of the rollup (--node-rollup, or --rollup)", self.code())]
    NotARollup { address: Address, reason: String },

    /// The L1 chain changed below every block that the node remembers, finalized blocks included.
    ///
    /// Do: Correct the RPC URL. If L1 really was replaced, start with an empty data directory.
    #[error("{}: L1 no longer has any remembered block down to number {oldest}, which was final; this is another chain: check the RPC URL, or sync from an empty store", self.code())]
    ReorgBelowFinality { oldest: u64 },

    /// L1 has no block under the numbers of the newest followed ones, and what is below them is unchanged: the endpoint
    /// lags, or a shorter chain has not grown yet. Nothing is undone.
    ///
    /// Do: Nothing: it ends when L1 has these blocks again, or others in their place. If it lasts, check that the
    /// endpoints in `--node-l1-urls` (or `--l1-urls`) are synced.
    #[error("{}: L1 has no blocks {missing} to {followed}, which were followed, and no others in their place; waiting until it has; if it lasts, check that the L1 endpoints are synced", self.code())]
    Behind { missing: u64, followed: u64 },

    /// The transaction would revert now. Nothing was sent and no nonce was used.
    ///
    /// Do: Read the reason, which is the contract's. Programs try again when their state changes.
    #[error("{}: transaction `{id}` would revert: {reason}; nothing was sent", self.code())]
    WouldRevert { id: String, reason: String },

    /// Another program used the nonce of a transaction, which will therefore never be included.
    ///
    /// Do: Give the account to one program only.
    #[error("{}: transaction `{id}` is lost: nonce {nonce} of {account} was used by another program; give this account to one program only, then send under a new id", self.code())]
    NonceTaken { id: String, nonce: u64, account: Address },

    /// The L1 fee is above the configured limit. The transaction stays pending.
    ///
    /// Do: Raise `l1_max_fee_gwei` (`--l1-max-fee-gwei`), or wait for lower fees.
    #[error("{}: transaction `{id}` needs {needed_wei} wei a gas, the limit is {limit_wei}; raise the setting l1_max_fee_gwei or wait", self.code())]
    FeeLimit { id: String, needed_wei: u128, limit_wei: u128 },

    /// The L1 fee for blobs is above the configured limit. The transaction stays pending.
    ///
    /// Do: Wait for lower fees, or raise the limit of the account that the message's program sends from.
    #[error("{}: transaction `{id}` needs {needed_wei} wei a unit of blob gas, the limit is {limit_wei}; raise the limit or wait", self.code())]
    BlobFeeLimit { id: String, needed_wei: u128, limit_wei: u128 },

    /// The journal of L1 transactions cannot be read or written.
    ///
    /// Do: Check the path of `--intents`, its permissions and its disk.
    #[error("{}: cannot use the journal of L1 transactions {}: {reason}; check the setting intents (--intents)", self.code(), path.display())]
    IntentFile { path: PathBuf, reason: String },

    /// The journal of L1 transactions belongs to another chain or account.
    ///
    /// Do: Correct the account's key or `--intents`. If that chain is gone, move the file away.
    #[error("{}: {} was written for {got}, expected {expected}; correct the account's key or the setting intents (--intents), or move the file away if that chain is gone", self.code(), path.display())]
    IntentForeign { path: PathBuf, expected: String, got: String },

    /// Another process uses the journal of L1 transactions.
    ///
    /// Do: Stop that process, or give this one its own `--intents`.
    #[error("{}: {} is in use by another process; stop that process or give this one its own file", self.code(), path.display())]
    IntentLocked { path: PathBuf },

    /// A later attempt, or one with a higher fence, exists for this purpose.
    ///
    /// Do: Nothing: a newer holder of the submitter's lease took over.
    #[error("{}: transaction `{id}` was superseded by a later attempt or a higher fence; use a higher attempt", self.code())]
    IntentConflict { id: String },

    /// A signing key cannot be loaded.
    ///
    /// Do: Correct `--l1-key-env`, or `--l1-keystore` and `--l1-password-file`.
    #[error("{}: signing key from {from}: {reason}", self.code())]
    Key { from: String, reason: String },

    /// The response of L1 does not have the expected form.
    ///
    /// Do: Check that `--node-rollup` (or `--rollup`) is a contract of this release and that the URL is an L1 node.
    #[error("{}: the response for {what} is not understood: {reason}; check that the contract is of this release", self.code())]
    Decode { what: &'static str, reason: String },

    /// The account cannot pay for the transaction.
    ///
    /// Do: Fund the account that the message names.
    #[error("{}: account {account} cannot pay for transaction `{id}`: {reason}; fund the account", self.code())]
    Funds { id: String, account: Address, reason: String },

    /// The transaction was included and reverted.
    ///
    /// Do: Look it up on L1 by its hash. Programs decide from the new state whether to send again.
    #[error("{}: transaction `{id}` ({tx_hash}) reverted", self.code())]
    Reverted { id: String, tx_hash: B256 },

    /// The transaction was not included for many L1 blocks. It stays pending.
    ///
    /// Do: Check `l1_max_fee_gwei` and the account's balance.
    #[error("{}: transaction `{id}` is in no block after {blocks} L1 blocks and stays pending; check the fee limit and the account's balance", self.code())]
    NotIncluded { id: String, blocks: u64 },

    /// The transaction was dropped, or is not sent again.
    ///
    /// Do: Read the reason. A program sends a new attempt if it still needs it.
    #[error("{}: transaction `{id}` was dropped: {reason}; send a new attempt if it is still wanted", self.code())]
    Dropped { id: String, reason: String },
}

rollmill_errors::coded! {
    L1Error {
        Self::Unreachable { .. } => "L1-001" retried,
        Self::ChainIdWrong { .. } => "L1-002",
        Self::Url { .. } => "L1-003" usage,
        Self::Answer { .. } => "L1-004",
        Self::NoContract { .. } => "L1-005",
        Self::ReorgBelowFinality { .. } => "L1-006",
        Self::WouldRevert { .. } => "L1-008",
        Self::NonceTaken { .. } => "L1-009",
        Self::FeeLimit { .. } => "L1-010" retried,
        Self::IntentFile { .. } => "L1-011",
        Self::IntentForeign { .. } => "L1-012",
        Self::IntentLocked { .. } => "L1-013",
        Self::IntentConflict { .. } => "L1-014",
        Self::Key { .. } => "L1-015",
        Self::Decode { .. } => "L1-016",
        Self::Funds { .. } => "L1-017",
        Self::Reverted { .. } => "L1-018",
        Self::NotIncluded { .. } => "L1-019" retried,
        Self::Dropped { .. } => "L1-020",
        Self::GenesisWrong { .. } => "L1-021",
        Self::NotARollup { .. } => "L1-022",
        Self::BlobFeeLimit { .. } => "L1-023" retried,
        Self::Behind { .. } => "L1-024" retried,
    }
}

impl L1Error {
    /// Whether the setting itself cannot be used, whatever L1 does.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    /// Whether the same call may succeed later, without a change of settings.
    pub fn is_transient(&self) -> bool {
        self.disposition() == Disposition::Retried
    }

    /// The error of a request for `what`.
    pub fn rpc(what: &'static str) -> impl FnOnce(TransportError) -> Self {
        move |error| match error {
            RpcError::ErrorResp(payload) => {
                Self::Answer { what, code_number: payload.code, message: payload.to_string() }
            }
            RpcError::DeserError { err, text } => {
                Self::Decode { what, reason: format!("{err} in {}", clip(&text)) }
            }
            other => Self::Unreachable { what, reason: other.to_string() },
        }
    }

    /// L1 does not have a block that it had a moment ago.
    pub(crate) fn gone(number: u64) -> Self {
        Self::Unreachable {
            what: "block",
            reason: format!("block {number} is not there any more, or not yet"),
        }
    }

    /// A transaction of this account is in a block, and its receipt is withheld, or not there yet.
    pub(crate) fn unclear(nonce: u64) -> Self {
        Self::Unreachable {
            what: "receipt",
            reason: format!("L1 shows the transaction of nonce {nonce} in a block, but no receipt"),
        }
    }

    /// The error of a contract's view `what`: with the contract's reason if it reverted.
    pub fn contract(what: &'static str) -> impl FnOnce(ContractError) -> Self {
        move |error| match error {
            ContractError::TransportError(error) => match revert_reason(&error) {
                Some(message) => Self::Answer { what, code_number: 3, message },
                None => Self::rpc(what)(error),
            },
            other => Self::Decode { what, reason: other.to_string() },
        }
    }
}

/// The contract's own error behind a failed call, if that is what failed.
pub(crate) fn revert_reason(error: &TransportError) -> Option<String> {
    let payload = error.as_error_resp()?;
    let data = payload.as_revert_data()?;
    Some(match crate::abi::describe_revert(&data) {
        Some(text) => text,
        None => payload.message.to_string(),
    })
}

/// Why a call failed, if it is the call that failed and not the node: a revert, with data or without.
pub(crate) fn reverted(error: &TransportError) -> Option<String> {
    /// Go-ethereum's code of a failed execution.
    const EXECUTION_FAILED: i64 = 3;
    let payload = error.as_error_resp()?;
    let is_revert =
        payload.code == EXECUTION_FAILED || payload.message.starts_with("execution reverted");
    revert_reason(error).or_else(|| is_revert.then(|| payload.message.to_string()))
}

fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(200).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
