//! Why the wallet could not do what was asked.

use std::path::Path;

use rollmill_node_client::ClientError;

/// Errors of the wallet, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PxeError {
    /// The recipient is not an address.
    ///
    /// Do: Pass the address that `rollmill-pxe address` of the recipient prints.
    #[error("PXE-001: not the address of an account: {why}")]
    Address { why: String },
    /// The keystore cannot be opened: wrong password, or a damaged or foreign file.
    ///
    /// Do: Correct `--keystore` or `--password`.
    #[error(
        "PXE-002: the keystore{file} cannot be opened: {why}; the settings are --keystore and --password"
    )]
    Keystore {
        /// Its path with a space before it, or empty where no file is concerned.
        file: String,
        why: &'static str,
    },
    /// The wallet's state file cannot be opened.
    ///
    /// Do: Correct `--state` or `--keystore`. Otherwise move the file away and sync again; the
    /// message says what is lost.
    #[error(
        "PXE-003: the wallet state{file} cannot be opened ({why}); correct --state or --keystore, or move the file away to sync from the start: notes come back from the chain; what is lost are transfers that are in no block yet, and the count of transfers to each recipient, without which the next ones can be linked to earlier ones"
    )]
    State {
        /// Its path with a space before it, or empty where no file is concerned.
        file: String,
        why: &'static str,
    },
    /// The two largest notes do not hold the amount.
    ///
    /// Do: Send a smaller amount, or join notes first by sending to yourself.
    #[error(
        "PXE-004: {wanted} is needed, the two largest spendable notes hold {spendable} (balance {balance}){}",
        if balance >= wanted { "; join notes by sending to yourself first" } else { "" }
    )]
    Funds { wanted: u64, spendable: u64, balance: u64 },
    /// The node returned an error or an impossible value.
    ///
    /// Do: Run wallet and node of the same release, or use another `--node-url`.
    #[error(
        "PXE-005: the node returned something invalid: {0}; use another --node-url, or wallet and node of the same release"
    )]
    Node(String),
    /// The node serves another chain than the wallet's.
    ///
    /// Do: Correct `--node-url`, or use another `--state`.
    #[error("PXE-006: the node serves {got}, this wallet belongs to {expected}")]
    Network { expected: String, got: String },
    /// The client proof cannot be made.
    ///
    /// Do: Check `--keys-dir`. Otherwise report it with the message.
    #[error("PXE-007: cannot make the client proof: {0}")]
    Prove(String),
    /// A file cannot be read or written.
    ///
    /// Do: Check `--keystore` and `--state`, their permissions and the disk.
    #[error(
        "PXE-008: cannot use the file {path} ({source}); the settings are --keystore and --state"
    )]
    File { path: String, source: std::io::Error },
    /// Another pxe command uses the account.
    ///
    /// Do: Wait until it ends.
    #[error(
        "PXE-013: another pxe command works on this account (it holds {path}); wait until it ends"
    )]
    Busy { path: String },
    /// The fee payer cannot pay the maximum fee.
    ///
    /// Do: Pay from an account with a larger fee balance; only the genesis creates fee balances.
    #[error(
        "PXE-014: the fee may take {needed}, the account's fee balance is {balance}; only the genesis of the deployment creates fee balances"
    )]
    Fee { needed: u64, balance: u64 },
    /// The recipient has no fee balance and cannot spend what it receives.
    ///
    /// Do: Choose another recipient, or pass `--allow-unspendable`.
    #[error(
        "PXE-015: the recipient has no fee balance from the deployment's genesis and cannot spend what it is sent; give --allow-unspendable to send all the same"
    )]
    Unspendable,
    /// The keystore file exists already. It is never overwritten.
    ///
    /// Do: Choose another file with `--keystore`.
    #[error("PXE-011: the keystore {path} exists already; choose another file with --keystore")]
    KeystoreExists { path: String },
    /// No password is given.
    ///
    /// Do: Set `--password` to `file:PATH` or `env:NAME`.
    #[error("PXE-012: no password given; set --password to file:PATH or env:NAME")]
    NoPassword,
    /// An earlier transfer was interrupted and is sent now. Nothing else was sent.
    ///
    /// Do: Run the command again if you want another transfer.
    #[error(
        "PXE-018: an earlier transfer ({hashes}) was interrupted and is sent now; nothing else was sent. Run the command again if you want another transfer"
    )]
    Interrupted { hashes: String },
    /// The transfer was not confirmed. Nothing was sent.
    ///
    /// Do: Answer `y`, or pass `--yes`.
    #[error("PXE-019: not confirmed; nothing was sent")]
    NotConfirmed,
    /// The node dropped the transaction.
    ///
    /// Do: Read the reason. The notes are spendable again; send the transfer again if you still want
    /// it.
    #[error("PXE-020: the node dropped the transaction: {reason}")]
    Dropped { reason: String },
    /// The transaction did not reach the requested stage in time.
    ///
    /// Do: Run `rollmill-pxe status` later, or wait longer with `--wait-seconds`.
    #[error(
        "PXE-021: the transaction is not {stage} after {seconds} s; run `rollmill-pxe status` later, or raise --wait-seconds"
    )]
    Late { stage: String, seconds: u64 },
    /// The transaction was sent, but its hash cannot be printed.
    ///
    /// Do: Note the hash in the message. Do not send again.
    #[error("PXE-022: {hash} was sent, but cannot be printed ({source}); do not send it again")]
    Unprinted { hash: String, source: std::io::Error },
    /// The keystore cannot be read.
    ///
    /// Do: Create one with `rollmill-pxe keygen`, or correct `--keystore`.
    #[error(
        "PXE-023: cannot read the keystore {path} ({source}); create one with `rollmill-pxe keygen`, or correct --keystore"
    )]
    NoKeystore { path: String, source: std::io::Error },
    /// The node does not know the transaction.
    ///
    /// Do: Check the hash and `--node-url`.
    #[error(
        "PXE-024: the node at {url} does not know this transaction after {seconds} s; check the hash and --node-url"
    )]
    UnknownTx { url: String, seconds: u64 },
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
        matches!(self, Self::Address { .. } | Self::NoPassword)
    }
}
