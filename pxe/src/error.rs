//! Why the wallet could not do what was asked.

use std::path::Path;

use rollmill_errors::{Coded, Disposition};
use rollmill_node_client::ClientError;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_pxe_store::StoreError;

use crate::contracts::ContractError;

/// Errors of the wallet, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PxeError {
    /// The recipient is not an address.
    ///
    /// Do: Pass the address that `rollmill-pxe address` of the recipient prints.
    #[error("{code}: not the address of an account: {why}", code = self.code())]
    Address { why: String },
    /// The keystore cannot be opened: wrong password, or a damaged or foreign file.
    ///
    /// Do: Correct `--keystore` or `--password`.
    #[error("{code}: the keystore{file} cannot be opened: {why}; the settings are --keystore and --password", code = self.code())]
    Keystore {
        /// Its path with a space before it, or empty where no file is concerned.
        file: String,
        why: &'static str,
    },
    /// The wallet's state file cannot be opened.
    ///
    /// Do: Correct `--state` or `--keystore`. Otherwise move the file away and sync again; the
    /// message says what is lost.
    #[error("{code}: the wallet state{file} cannot be opened ({why}); correct --state or --keystore, or move the file away to sync from the start: notes come back from the chain; what is lost are transfers that are in no block yet, and the count of transfers to each recipient, without which the next ones can be linked to earlier ones", code = self.code())]
    State {
        /// Its path with a space before it, or empty where no file is concerned.
        file: String,
        why: &'static str,
    },
    /// The two largest notes do not hold the amount and the maximum fee.
    ///
    /// Do: Send a smaller amount, or join notes first by sending to yourself.
    #[error("{code}: {wanted} is needed{}, the two largest spendable notes hold {spendable} (balance {balance}){}",
        of_which_fee(*.fee), if balance >= wanted { "; join notes by sending to yourself first" } else { "" }, code = self.code())]
    Funds { wanted: u64, fee: u64, spendable: u64, balance: u64 },
    /// The node returned an error or an impossible value.
    ///
    /// Do: Run wallet and node of the same release, or use another `--node-url`.
    #[error("{code}: the node returned something invalid: {0}; use another --node-url, or wallet and node of the same release", code = self.code())]
    Node(String),
    /// The node serves another chain than the wallet's.
    ///
    /// Do: Correct `--node-url`, or use another `--state`.
    #[error("{code}: the node serves {got}, this wallet belongs to {expected}", code = self.code())]
    Network { expected: String, got: String },
    /// The client proof cannot be made.
    ///
    /// Do: Check `--keys-dir`. Otherwise report it with the message.
    #[error("{code}: cannot make the client proof: {0}", code = self.code())]
    Prove(String),
    /// A file cannot be read or written.
    ///
    /// Do: Check `--keystore` and `--state`, their permissions and the disk.
    #[error("{code}: cannot use the file {path} ({cause}); the settings are --keystore and --state", code = self.code(), cause = rollmill_errors::InWords(.source))]
    File { path: String, source: std::io::Error },
    /// Another pxe command uses the account.
    ///
    /// Do: Wait until it ends.
    #[error("{code}: another pxe command works on this account (it holds {path}); wait until it ends", code = self.code())]
    Busy { path: String },
    /// The account's public balance does not cover the maximum fee.
    ///
    /// Do: Leave out `--fee-payer self`, so that notes pay, or claim a deposit first.
    #[error("{code}: the fee may take {needed}, the account's public balance has {balance} for it; let notes pay, or claim a deposit first", code = self.code())]
    Fee { needed: u64, balance: u64 },
    /// The keystore file exists already. It is never overwritten.
    ///
    /// Do: Choose another file with `--keystore`.
    #[error("{code}: the keystore {path} exists already; choose another file with --keystore", code = self.code())]
    KeystoreExists { path: String },
    /// No password is given.
    ///
    /// Do: Set `--password` to `file:PATH` or `env:NAME`.
    #[error("{code}: no password given; set --password to file:PATH or env:NAME", code = self.code())]
    NoPassword,
    /// An earlier command was interrupted, and its transaction is sent now. Nothing else was sent.
    ///
    /// Do: Run the command again if you want another transaction.
    #[error("{code}: an earlier command was interrupted, and its transaction ({hashes}) is sent now; nothing else was sent. Run the command again if you want another transaction", code = self.code())]
    Interrupted { hashes: String },
    /// The transaction was not confirmed. Nothing was sent.
    ///
    /// Do: Answer `y`, or pass `--yes`.
    #[error("{code}: not confirmed; nothing was sent", code = self.code())]
    NotConfirmed,
    /// The node dropped the transaction.
    ///
    /// Do: Read the reason. The notes are spendable again; send the transfer again if you still want
    /// it.
    #[error("{code}: the node dropped the transaction: {reason}", code = self.code())]
    Dropped { reason: String },
    /// The transaction did not reach the requested stage in time.
    ///
    /// Do: Run `rollmill-pxe status` later, or wait longer with `--wait-seconds`.
    #[error("{code}: the transaction is not {stage} after {seconds} s; run `rollmill-pxe status` later, or raise --wait-seconds", code = self.code())]
    Late { stage: String, seconds: u64 },
    /// The transaction was sent, but its hash cannot be printed.
    ///
    /// Do: Note the hash in the message. Do not send again.
    #[error("{code}: {hash} was sent, but cannot be printed ({cause}); do not send it again", code = self.code(), cause = rollmill_errors::InWords(.source))]
    Unprinted { hash: String, source: std::io::Error },
    /// The keystore cannot be read.
    ///
    /// Do: Create one with `rollmill-pxe keygen`, or correct `--keystore`.
    #[error("{code}: cannot read the keystore {path} ({cause}); create one with `rollmill-pxe keygen`, or correct --keystore", code = self.code(), cause = rollmill_errors::InWords(.source))]
    NoKeystore { path: String, source: std::io::Error },
    /// The node does not know the transaction.
    ///
    /// Do: Check the hash and `--node-url`.
    #[error("{code}: the node at {url} does not know this transaction after {seconds} s; check the hash and --node-url", code = self.code())]
    UnknownTx { url: String, seconds: u64 },
    /// The deposit is claimed already, or about to be.
    ///
    /// Do: Nothing: its amount is in the account's public balance or notes. Otherwise check `--index`.
    #[error("{code}: deposit {index} is claimed {place}", code = self.code())]
    DepositClaimed { index: u64, place: String },
    /// The block that takes the deposit from L1 does not exist yet.
    ///
    /// Do: Claim it again after that block.
    #[error("{code}: deposit {index} comes with block {block}, the last block is {tip}; claim it after that block", code = self.code())]
    DepositWaiting { index: u64, block: u64, tip: u64 },
    /// No deposit of this amount for this account has this index.
    ///
    /// Do: Check `--index` and `--amount`, which is in units, and the account.
    #[error("{code}: message {index} from L1 is no deposit of {amount} for this account; check --index and --amount", code = self.code())]
    DepositUnknown { index: u64, amount: u64 },
    /// The node knows of no deposit that can be claimed.
    ///
    /// Do: Wait if deposits come with a later block. Otherwise check the deposit's transaction on L1, or
    /// pass `--index` and `--amount`.
    #[error("{code}: the node knows of no deposit for this account that can be claimed; {waiting} come with later blocks", code = self.code())]
    NoDeposit { waiting: usize },
    /// The transaction is in no block.
    ///
    /// Do: Wait for it with `rollmill-pxe status HASH --wait included`, and check the hash and `--node-url`.
    #[error("{code}: transaction {hash} is in no block of this node; wait with `rollmill-pxe status HASH --wait included`", code = self.code())]
    NotIncluded { hash: String },
    /// The transaction withdraws nothing.
    ///
    /// Do: Pass the hash that `rollmill-pxe withdraw` printed.
    #[error("{code}: transaction {hash} withdraws nothing; pass the hash that `rollmill-pxe withdraw` printed", code = self.code())]
    NoWithdrawal { hash: String },
    /// The text is not a withdrawal.
    ///
    /// Do: Pass the whole output of `rollmill-pxe withdrawal-path`.
    #[error("{code}: not the output of `rollmill-pxe withdrawal-path`: {why}", code = self.code())]
    WithdrawalText { why: String },
    /// No password or seed phrase was entered.
    ///
    /// Do: Enter it, or set `--password` to `file:PATH` or `env:NAME`.
    #[error("{code}: nothing was entered; enter it, or set --password to file:PATH or env:NAME", code = self.code())]
    NotEntered,
    /// The two entries of a new password differ.
    ///
    /// Do: Enter the same password twice.
    #[error("{code}: the two passwords differ; enter the same one twice", code = self.code())]
    PasswordsDiffer,
    /// The store has several accounts and none is chosen, or not the chosen one.
    ///
    /// Do: Set `--account` to an address that `rollmill-pxe store accounts` lists.
    #[error("{code}: {why}; set --account to an address that `rollmill-pxe store accounts` lists", code = self.code())]
    AccountChoice { why: &'static str },
    /// The command needs a store.
    ///
    /// Do: Set `--store` to the database file.
    #[error("{code}: no store is named; set --store to the database file", code = self.code())]
    NoStore,
    /// The file for the access token of the service cannot be written, or is another file: a token replaces only a
    /// token or an empty file.
    ///
    /// Do: Correct `--serve-token-file`, or the permissions of its folder.
    #[error("{code}: cannot write the access token to {path} ({cause}); the setting is --serve-token-file", code = self.code(), cause = rollmill_errors::InWords(.source))]
    TokenFile { path: String, source: std::io::Error },
    /// The idempotency key was used for another order. Nothing was sent now.
    ///
    /// Do: Use another key for another order. To repeat the earlier order, repeat every part of it.
    #[error("{code}: the idempotency key belongs to another order, whose transaction is {hash}; nothing was sent. Use another key", code = self.code())]
    KeyReused { hash: String },
    /// The transaction of the idempotency key was rejected or dropped, or has expired. Nothing was sent now.
    ///
    /// Do: Read the reason. The notes are spendable again; use another key if you still want the payment.
    #[error("{code}: transaction {hash} of this idempotency key was dropped: {reason}; nothing was sent now. Use another key if you still want the payment", code = self.code())]
    KeyDropped { hash: String, reason: String },
    /// The node has not confirmed that it has the transaction: that of the idempotency key, or one that it rejected
    /// without saying afterwards whether somebody else had sent it.
    ///
    /// Do: Do not send it again: the wallet does. Ask for its status later, or repeat the order with the same key.
    #[error("{code}: the node has not confirmed that it has transaction {hash}; the wallet sends it again with each sync", code = self.code())]
    Unconfirmed { hash: String },
    /// The access token of the settings is too short to be safe from guessing.
    ///
    /// Do: Use a longer one, such as the output of `openssl rand -hex 32`, or leave `--serve-token` unset.
    #[error("{code}: the access token has {length} characters, at least {least} are needed; the setting is --serve-token", code = self.code())]
    TokenShort { length: usize, least: usize },
    /// The file of what applications are granted cannot be used.
    ///
    /// Do: Correct the file of `--serve-apps`; `docs/book/pxe-service.md` describes it.
    #[error("{code}: cannot use the grants of {path}: {why}; the setting is --serve-apps", code = self.code())]
    Apps { path: String, why: String },
    /// The note hashes of a block do not lead to the root of its header: the node left some out, or changed them. What
    /// was read before stays.
    ///
    /// Do: Use another `--node-url`.
    #[error("{code}: the note hashes of block {block} lead to the root {}, its header has {}; the node leaves some out, or has changed them: use another --node-url", to_hex(.got), to_hex(.expected), code = self.code())]
    NoteRoot { block: u64, expected: Fr, got: Fr },
    /// The header of a block names other blocks before it than those that were read: the node has changed one of them,
    /// or this one. What was read before stays, and the next sync compares the last block of it with the node's.
    ///
    /// Do: Sync again. If it recurs, use another `--node-url`.
    #[error("{code}: block {block} follows the archive root {}, the blocks before it lead to {}; sync again, and if it recurs, use another --node-url", to_hex(.got), to_hex(.expected), code = self.code())]
    Chain { block: u64, expected: Fr, got: Fr },
    /// The wallet has no note tree of the block that a transaction names as its anchor, or a wrong one. Nothing was sent.
    ///
    /// Do: Read the chain again (any command does so first) and repeat the order. If it recurs, report it with the message.
    #[error("{code}: the wallet has no path of its notes in block {block}; read the chain again, then repeat the order", code = self.code())]
    NoTree { block: u64 },
    /// Reading the chain, or asking for transactions that were sent, took too long. What was read is kept.
    ///
    /// Do: Repeat the command, which reads on. If that recurs, use another `--node-url`.
    #[error("{code}: reading the chain took longer than {seconds} s; what was read is kept: repeat the command, or use another --node-url", code = self.code())]
    Slow { seconds: u64 },
    /// A newer release wrote the record of a transaction, so it is not known whether the idempotency key is that of its
    /// order. Nothing was sent now.
    ///
    /// Do: Use the newer release, or wait until it has forgotten the transaction.
    #[error("{code}: a newer release wrote the record of transaction {hash}, which may have this idempotency key; nothing was sent. Use that release", code = self.code())]
    NewerRecord { hash: String },
    /// A contract could not be registered, or a call not be made. The source's message has the code.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The store failed. The source's message has the code.
    #[error("{0}; the setting is --store")]
    Store(#[from] StoreError),
    /// There is no node at the address. The source's message has the code.
    #[error("{0}; the setting is --node-url")]
    Client(#[source] ClientError),
}

// PXE-015 is retired.
rollmill_errors::coded! {
    PxeError {
        Self::Address { .. } => "PXE-001" usage,
        Self::Keystore { .. } => "PXE-002",
        Self::State { .. } => "PXE-003",
        Self::Funds { .. } => "PXE-004",
        Self::Node(..) => "PXE-005",
        Self::Network { .. } => "PXE-006",
        Self::Prove(..) => "PXE-007",
        Self::File { .. } => "PXE-008",
        Self::Busy { .. } => "PXE-013",
        Self::Fee { .. } => "PXE-014",
        Self::KeystoreExists { .. } => "PXE-011",
        Self::NoPassword => "PXE-012" usage,
        Self::Interrupted { .. } => "PXE-018",
        Self::NotConfirmed => "PXE-019",
        Self::Dropped { .. } => "PXE-020",
        Self::Late { .. } => "PXE-021",
        Self::Unprinted { .. } => "PXE-022",
        Self::NoKeystore { .. } => "PXE-023",
        Self::UnknownTx { .. } => "PXE-024",
        Self::DepositClaimed { .. } => "PXE-025",
        Self::DepositWaiting { .. } => "PXE-026",
        Self::DepositUnknown { .. } => "PXE-027",
        Self::NoDeposit { .. } => "PXE-028",
        Self::NotIncluded { .. } => "PXE-029",
        Self::NoWithdrawal { .. } => "PXE-030",
        Self::WithdrawalText { .. } => "PXE-031",
        Self::NotEntered => "PXE-032",
        Self::PasswordsDiffer => "PXE-033",
        Self::AccountChoice { .. } => "PXE-034" usage,
        Self::NoStore => "PXE-035" usage,
        Self::TokenFile { .. } => "PXE-047",
        Self::KeyReused { .. } => "PXE-064",
        Self::KeyDropped { .. } => "PXE-065",
        Self::Unconfirmed { .. } => "PXE-066",
        Self::TokenShort { .. } => "PXE-067" usage,
        Self::Apps { .. } => "PXE-085" usage,
        Self::NoteRoot { .. } => "PXE-080",
        Self::NoTree { .. } => "PXE-081",
        Self::Slow { .. } => "PXE-090",
        Self::NewerRecord { .. } => "PXE-091",
        Self::Chain { .. } => "PXE-092",
        Self::Contract(error) => (error),
        Self::Store(error) => (error),
        Self::Client(error) => (error),
    }
}

fn of_which_fee(fee: u64) -> String {
    if fee == 0 { String::new() } else { format!(", of which {fee} for the fee at most") }
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
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }
}
