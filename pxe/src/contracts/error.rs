//! Why a contract could not be registered, or a call not be executed or proven.

use rollmill_acir::artifact::ArtifactError;
use rollmill_acir::private::PrivateError;
use rollmill_acir::values::ValueError;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::private::KernelError;
use rollmill_pxe_store::StoreError;

/// Errors of contracts, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// No contract is registered at the address.
    ///
    /// Do: Register it with `rollmill-pxe contract register`, or correct the address.
    #[error("{code}: no contract is registered at {}; register it with `rollmill-pxe contract register`, or correct the address", to_hex(.address), code = self.code())]
    Unknown { address: Fr },
    /// The store has no class of this id.
    ///
    /// Do: Register the contract again, with its artifact.
    #[error("{code}: the store has no class {}; register the contract again, with its artifact", to_hex(.class_id), code = self.code())]
    NoClass { class_id: Fr },
    /// The artifact, salt, keys and words of a contract lead to another address than the one that was named.
    ///
    /// Do: Correct artifact, salt, deployer, account or `--init`; the artifact must be the very file of the contract.
    #[error("{code}: this is the contract {}, not {}; correct artifact, salt, deployer, account or --init", to_hex(.got), to_hex(.expected), code = self.code())]
    Address { expected: Fr, got: Fr },
    /// The contract has no function with this selector.
    ///
    /// Do: Call one of the functions that the message lists.
    #[error("{code}: the contract {} has no function with the selector {}; it has [{known}]", to_hex(.contract), to_hex(.selector), code = self.code())]
    NoFunction { contract: Fr, selector: Fr, known: String },
    /// What the store has of a class or of a contract is not what its id or its address is a hash of.
    ///
    /// Do: Remove the contract and register it again. If that is the second time, check the disk.
    #[error("{code}: what the store has of {what} is damaged; remove the contract and register it again", code = self.code())]
    Damaged { what: String },
    /// The artifact cannot be a class.
    ///
    /// Do: Pass the JSON of a compiled contract with private functions.
    #[error("{code}: the artifact cannot be a class: {why}", code = self.code())]
    NotAClass { why: String },
    /// Calls are nested deeper than a transaction may.
    ///
    /// Do: Call fewer contracts one within the other.
    #[error("{code}: calls are nested deeper than {max}", code = self.code())]
    Depth { max: usize },
    /// A transaction makes more calls than the wallet executes.
    ///
    /// Do: Make fewer calls in one transaction.
    #[error("{code}: the transaction makes more than {max} calls", code = self.code())]
    Calls { max: usize },
    /// A contract asked for something that is not its own.
    ///
    /// Do: Do not use this contract, or report it to its authors.
    #[error("{code}: the contract {} asked {oracle} for {what}, which it may not have", to_hex(.contract), code = self.code())]
    Refused { oracle: String, contract: Fr, what: &'static str },
    /// The wallet has no answer to what a contract asked.
    ///
    /// Do: Do what the reason says.
    #[error("{code}: no answer to {oracle}: {why}", code = self.code())]
    NoAnswer { oracle: String, why: String },
    /// The execution or the proof took too long, or was cancelled. Nothing was sent.
    ///
    /// Do: Call again, with a longer `--deadline-seconds` if the time was over.
    #[error("{code}: stopped before the end, since the time was over or nobody wanted the result any more", code = self.code())]
    Stopped,
    /// A contract needs an authorization that its account has not given.
    ///
    /// Do: Allow the call in the account whose notes it uses, if that is what you want.
    #[error("{code}: the account {} has not allowed the message {}", to_hex(.account), to_hex(.message), code = self.code())]
    NotAllowed { account: Fr, message: Fr },
    /// A proof of a call cannot be made.
    ///
    /// Do: Check `--keys-dir`. Otherwise report it with the message.
    #[error("{code}: cannot make the proof of {what}: {why}", code = self.code())]
    Prove { what: String, why: String },
    /// The wallet lacks the path of a note that a call reads.
    ///
    /// Do: Read the chain again, or use another node.
    #[error("{code}: the path of note {leaf_index} is missing or leads nowhere", code = self.code())]
    Path { leaf_index: u64 },
    /// The account's contract makes at most four calls at once.
    ///
    /// Do: Make the calls in several transactions.
    #[error("{code}: {got} calls, and an account makes at most {max} in one transaction", code = self.code())]
    TooManyCalls { max: usize, got: usize },
    /// The account has no contract to make calls with, or several, or the named one is another account's.
    ///
    /// Do: Register one with `rollmill-pxe contract register --own`, or name it with `--from`.
    #[error("{code}: {why}; register one with `rollmill-pxe contract register --own`, or name it with --from", code = self.code())]
    AccountContract { why: &'static str },
    /// The proving keys are those of another network, so a node would reject the proof. Nothing was proven or sent.
    ///
    /// Do: Make the keys of the network's release with `rollmill-agent keys`, correct `--keys-dir`, or use another node.
    #[error("{code}: the proving keys have the root {}, the network's keys {}; make the keys of the network's release with `rollmill-agent keys`, correct --keys-dir, or use another --node-url", to_hex(.wallet), to_hex(.network), code = self.code())]
    KeyRoot { wallet: Fr, network: Fr },
    /// The public balance of the contract that pays does not cover the maximum fee. Nothing was proven or sent.
    ///
    /// Do: Give the contract in the message a public balance, let a sponsor pay, or wait until transactions that were
    /// sent are in a block.
    #[error("{code}: the fee may take {needed}, the public balance of {} has {balance} for it; give that contract a public balance first", to_hex(.payer), code = self.code())]
    PayerFee { payer: Fr, needed: u64, balance: u64 },
    /// The account has sent no such transaction, or sent it so long ago that it is forgotten.
    ///
    /// Do: Compare the hash with those of `rollmill-pxe history`.
    #[error("{code}: the account has sent no transaction {}; compare it with those of `rollmill-pxe history`", to_hex(.tx_hash), code = self.code())]
    NotSent { tx_hash: Fr },
    /// The artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The arguments do not fit the function.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A function rejects the call, or cannot be executed.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The calls break a rule of transactions.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

rollmill_errors::coded! {
    ContractError {
        Self::Unknown { .. } => "PXE-048",
        Self::NoClass { .. } => "PXE-049",
        Self::Address { .. } => "PXE-050",
        Self::NoFunction { .. } => "PXE-051",
        Self::Damaged { .. } => "PXE-052",
        Self::NotAClass { .. } => "PXE-053",
        Self::Depth { .. } => "PXE-054",
        Self::Calls { .. } => "PXE-055",
        Self::Refused { .. } => "PXE-056",
        Self::NoAnswer { .. } => "PXE-057",
        Self::Stopped => "PXE-058",
        Self::NotAllowed { .. } => "PXE-059",
        Self::Prove { .. } => "PXE-060",
        Self::Path { .. } => "PXE-061",
        Self::TooManyCalls { .. } => "PXE-062",
        Self::AccountContract { .. } => "PXE-063",
        Self::KeyRoot { .. } => "PXE-070",
        Self::PayerFee { .. } => "PXE-071",
        Self::NotSent { .. } => "PXE-072",
        Self::Artifact(error) => (error),
        Self::Value(error) => (error),
        Self::Private(error) => (error),
        Self::Kernel(error) => (error),
        Self::Store(error) => (error),
    }
}

impl ContractError {
    pub(crate) fn no_answer(oracle: &str, why: impl Into<String>) -> Self {
        Self::NoAnswer { oracle: oracle.to_owned(), why: why.into() }
    }
}
