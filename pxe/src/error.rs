//! Why the wallet could not do what was asked.

use std::path::Path;

use rollmill_node_client::ClientError;

/// Errors of the wallet, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PxeError {
    /// The text is not an address.
    #[error("PXE-001: --to: this is not an address: {why}")]
    Address { why: String },
    /// The keystore file cannot be opened.
    #[error(
        "PXE-002: the keystore{file} cannot be opened: {why}; the settings are --keystore and --password"
    )]
    Keystore {
        /// Its path with a space before it, or empty where no file is concerned.
        file: String,
        why: &'static str,
    },
    /// The wallet's state file cannot be opened; it can be made again from the chain.
    #[error(
        "PXE-003: the wallet state{file} cannot be opened ({why}); correct --state or --keystore, or move the file away to sync from the start: notes come back from the chain; what is lost are transfers that are in no block yet, and the count of transfers to each recipient, without which the next ones can be linked to earlier ones"
    )]
    State {
        /// Its path with a space before it, or empty where no file is concerned.
        file: String,
        why: &'static str,
    },
    /// Not enough value in at most two notes.
    #[error(
        "PXE-004: {wanted} is needed, the two largest spendable notes hold {spendable} (balance {balance}){}",
        if balance >= wanted { "; join notes by sending to yourself first" } else { "" }
    )]
    Funds { wanted: u64, spendable: u64, balance: u64 },
    /// The node answered with an error or something impossible.
    #[error("PXE-005: the node: {0}")]
    Node(String),
    /// The chain the node serves is not the one the wallet knows.
    #[error("PXE-006: the node serves {got}, this wallet belongs to {expected}")]
    Network { expected: String, got: String },
    /// The client proof could not be made.
    #[error("PXE-007: the client proof could not be made: {0}")]
    Prove(String),
    /// A file could not be read or written.
    #[error(
        "PXE-008: cannot use the file {path} ({source}); the settings are --keystore and --state"
    )]
    File { path: String, source: std::io::Error },
    /// Another command works on the account.
    #[error(
        "PXE-013: another pxe command works on this account (it holds {path}); wait until it ends"
    )]
    Busy { path: String },
    /// The fee cannot be paid.
    #[error(
        "PXE-014: the fee may take {needed}, the account's fee balance is {balance}; only the genesis of the deployment creates fee balances"
    )]
    Fee { needed: u64, balance: u64 },
    /// The value would be of no use to who gets it.
    #[error(
        "PXE-015: the recipient has no fee balance from the deployment's genesis and cannot spend what it is sent; give --allow-unspendable to send all the same"
    )]
    Unspendable,
    /// The amount makes no transfer.
    #[error("PXE-016: --amount {given}: expected a whole number from 1 to 18446744073709551615")]
    Amount { given: String },
    /// There is no node at the address. The source's message has the code.
    #[error("{0}; the setting is --node-url")]
    Client(#[source] ClientError),
}

impl PxeError {
    /// [`Self::Keystore`] of no file yet.
    pub(crate) fn keystore(why: &'static str) -> Self {
        Self::Keystore { file: String::new(), why }
    }

    /// [`Self::State`] of no file yet.
    pub(crate) fn state(why: &'static str) -> Self {
        Self::State { file: String::new(), why }
    }

    /// The error with the file that it is about.
    pub fn in_file(self, path: &Path) -> Self {
        let file = format!(" {}", path.display());
        match self {
            Self::Keystore { why, .. } => Self::Keystore { file, why },
            Self::State { why, .. } => Self::State { file, why },
            other => other,
        }
    }

    /// Whether the command line itself is wrong.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Amount { .. })
    }
}
