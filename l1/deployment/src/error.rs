//! Why a deployment was not made.

use std::path::PathBuf;

use rollmill_errors::{Coded as _, Disposition, InWords};
use rollmill_l1::L1Error;
use rollmill_l1::alloy::primitives::{Address, B256};
use rollmill_node::ClientKeyError;
use rollmill_protocol::genesis::GenesisError;

/// Errors of a deployment, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// A fact of the deployment cannot be used. Nothing was sent.
    ///
    /// Do: Correct the key that the message names; `rollmill-l1 deploy --sample` prints a file with every key.
    #[error("{code}: facts of the deployment: {key}: {why}", code = self.code())]
    Fact { key: String, why: String },
    /// A file of the deployment cannot be read or written.
    ///
    /// Do: Check the path and its permissions.
    #[error("{code}: cannot {action} {path} ({cause})", code = self.code(), cause = InWords(.source), path = path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    /// The verifier contracts are not those of the keys, and would reject every proof. Nothing was sent.
    ///
    /// Do: Name a folder with the verifiers of these keys by `--verifiers`: NAME.sol as `cargo xtask gen` writes it, and
    /// NAME.json as `contracts/build.js` compiles it. Or name the keys of this release by `--keys-dir`.
    #[error("{code}: verifier {name} is not the one of these keys: {why}; name the folder of their verifiers by --verifiers, or other keys by --keys-dir", code = self.code())]
    Verifier { name: String, why: String },
    /// The journal of a deployment cannot be read.
    ///
    /// Do: Restore the file, or deploy anew into another folder.
    #[error("{code}: {path} is not the journal of a deployment: {why}; restore it, or deploy anew into another folder", code = self.code(), path = path.display())]
    Journal { path: PathBuf, why: String },
    /// The journal was started with other facts, keys, account or release. Nothing was sent.
    ///
    /// Do: Restore what the message names, or deploy anew into another folder.
    #[error("{code}: the journal {path} was started with another {what}; restore it, or deploy anew into another folder", code = self.code(), path = path.display())]
    JournalOther { path: PathBuf, what: String },
    /// L1 would reject a step of the deployment. It was not sent.
    ///
    /// Do: Correct the facts as the contract's reason says, or give the account what it lacks.
    #[error("{code}: step {step} would revert: {why}; correct the facts, or give the account what it lacks", code = self.code())]
    WouldRevert { step: String, why: String },
    /// A contract is at another address than planned, since the account sent something else meanwhile.
    ///
    /// Do: Deploy anew into another folder, and use the account for nothing else until it is done.
    #[error("{code}: step {step} made {made}, planned was {planned}: account {account} sent something else meanwhile; deploy anew into another folder", code = self.code())]
    Elsewhere { step: String, made: Address, planned: Address, account: Address },
    /// The account has transactions that are in no block yet. Nothing was sent.
    ///
    /// Do: Wait until they are included, or use another account.
    #[error("{code}: account {account} has {count} transactions that are in no block yet; wait for them, or use another account", code = self.code())]
    Busy { account: Address, count: u64 },
    /// A step that nobody knows to be on L1 has another nonce to take than planned. Either it is on L1, sent by a run with
    /// another file of L1 transactions, or the account sent something else, or this is another chain. Nothing was sent.
    ///
    /// Do: Run the command with `--intents` of the earlier run and on the chain of the journal, or deploy anew into another
    /// folder.
    #[error("{code}: step {step} is planned for nonce {planned} of account {account}, whose next one is {found}; name the file of the earlier run by --intents, or deploy anew into another folder", code = self.code())]
    Nonce { step: String, account: Address, planned: u64, found: u64 },
    /// A step is in a block and reverted, which used its nonce.
    ///
    /// Do: Look up the transaction on L1. If the message says so, run the same command again: it sends the step once
    /// more. A step that creates a contract cannot be sent again, since all addresses follow from its nonce: deploy
    /// anew into another folder.
    #[error("{code}: step {step} reverted in transaction {tx_hash}; {fix}", code = self.code())]
    Reverted { step: String, tx_hash: B256, fix: &'static str },
    /// L1 has another value than the facts ask for.
    ///
    /// Do: Do not use this deployment. Check the endpoint, and deploy anew into another folder.
    #[error("{code}: {what} on L1 is {found}, asked was {asked}; do not use this deployment", code = self.code())]
    Differs { what: String, asked: String, found: String },
    #[error(transparent)]
    ClientKey(#[from] ClientKeyError),
    #[error(transparent)]
    L1(#[from] L1Error),
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

rollmill_errors::coded! {
    DeployError {
        Self::Fact { .. } => "DEP-001" usage,
        Self::File { .. } => "DEP-002",
        Self::Verifier { .. } => "DEP-003",
        Self::Journal { .. } => "DEP-004",
        Self::JournalOther { .. } => "DEP-005",
        Self::WouldRevert { .. } => "DEP-006",
        Self::Elsewhere { .. } => "DEP-007",
        Self::Busy { .. } => "DEP-008",
        Self::Differs { .. } => "DEP-009",
        Self::Nonce { .. } => "DEP-010",
        Self::Reverted { .. } => "DEP-011",
        Self::ClientKey(error) => (error),
        Self::L1(error) => (error),
        Self::Genesis(error) => (error),
    }
}

impl DeployError {
    /// Whether the facts themselves cannot be used, whatever L1 has.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    pub(crate) fn fact(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Fact { key: key.into(), why: why.into() }
    }

    /// The error of a file operation.
    pub(crate) fn file(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
