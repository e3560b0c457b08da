//! Why the wallet could not do what was asked.

/// Errors of the wallet, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PxeError {
    /// The text is not an address.
    #[error("PXE-001: this is not an address: {why}")]
    Address { why: String },
    /// The keystore file cannot be opened.
    #[error("PXE-002: the keystore cannot be opened: {why}")]
    Keystore { why: &'static str },
    /// The wallet's state file cannot be opened; it can be made again from the chain.
    #[error("PXE-003: the wallet state cannot be opened ({why}); delete it to sync from the start")]
    State { why: &'static str },
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
    #[error("PXE-008: {path}: {source}")]
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
}
