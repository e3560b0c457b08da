//! What goes over the wire: named parameters and results. Amounts are decimal strings, since a number in JSON is exact
//! only below 2^53; field elements are `0x` and 64 digits.

mod amount;

use rollmill_node_client::wire::Field;
use rollmill_protocol::EthAddress;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

pub use amount::Amount;

use super::access::Rights;
use super::error::CallError;
use crate::keys;
use crate::wallet::{self, IdempotencyKey};

/// The address of an account: `rollmill1…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub keys::Address);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = text.parse().map(Self);
        address.map_err(|error: crate::error::PxeError| {
            D::Error::custom(rollmill_errors::Bare(&error))
        })
    }
}

/// Arguments of a function by name.
pub type Arguments = Map<String, Value>;

/// Who pays the fee of a transaction: `notes`, which names nobody, or `self`, the public balance of the account, which
/// the transaction names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeePayer {
    #[default]
    Notes,
    #[serde(rename = "self")]
    Account,
}

impl From<FeePayer> for wallet::FeePayer {
    fn from(payer: FeePayer) -> Self {
        match payer {
            FeePayer::Notes => Self::Notes,
            FeePayer::Account => Self::Account,
        }
    }
}

/// How far a transaction has come: `included` in a block on L1, `proven` on L1, `finalized` by L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Included,
    Proven,
    Finalized,
}

/// The state of a transaction: a [`Stage`], or `unknown` to the node, `pending`, or `dropped` by the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxState {
    Unknown,
    Pending,
    Included,
    Proven,
    Finalized,
    Dropped,
}

impl TxState {
    /// The stage that it has reached, if it is in a block.
    pub fn stage(self) -> Option<Stage> {
        match self {
            Self::Included => Some(Stage::Included),
            Self::Proven => Some(Stage::Proven),
            Self::Finalized => Some(Stage::Finalized),
            Self::Unknown | Self::Pending | Self::Dropped => None,
        }
    }
}

/// What a note is to its account: `spendable`, `held` by a transaction that was sent and may still be included, or
/// `spent` in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteState {
    Spendable,
    Held,
    Spent,
}

/// How certain a block is: `proven` on L1, `pending`, or `unverified` by the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    Proven,
    Pending,
    Unverified,
}

/// What is known of a transaction that was handed to the node: `accepted`, or `unknown` if the node's answer was
/// missing or unclear. In both cases it may be included, so it must not be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    Accepted,
    Unknown,
}

/// A member of parameters or of a result, as the page lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: &'static str,
    /// Its type; `Option` if it may be absent or `null`.
    pub of: &'static str,
    /// The doc comment.
    pub meaning: String,
}

/// An object with members.
pub trait Shape: Sized {
    /// Its members, in order.
    fn members() -> Vec<Member>;

    /// Takes the members out of the parameters of `method`.
    ///
    /// # Errors
    /// [`CallError::Parameters`] for a member that is missing or invalid.
    fn take(method: &'static str, given: &mut Map<String, Value>) -> Result<Self, CallError>;
}

/// One member of the parameters of `method`. An absent one is `null`.
fn member<T: DeserializeOwned>(
    method: &'static str,
    given: &mut Map<String, Value>,
    name: &str,
) -> Result<T, CallError> {
    let value = given.remove(name).unwrap_or(Value::Null);
    let is_absent = value.is_null();
    T::deserialize(value).map_err(|error| {
        let reason = match is_absent {
            true => format!("{name} is missing"),
            false => format!("{name}: {error}"),
        };
        CallError::Parameters { method, reason }
    })
}

macro_rules! shapes {
    ($(
        $(#[doc = $about:literal])+
        $name:ident { $( $(#[doc = $doc:literal])+ $member:ident: $of:ty, )* }
    )+) => { $(
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $( $(#[doc = $doc])+ pub $member: $of, )* }

        impl Shape for $name {
            fn members() -> Vec<Member> {
                vec![$( Member {
                    name: stringify!($member),
                    of: stringify!($of),
                    meaning: [$($doc.trim()),+].join(" "),
                }, )*]
            }

            #[allow(unused_variables, reason = "a method may take nothing")]
            fn take(
                method: &'static str,
                given: &mut Map<String, Value>,
            ) -> Result<Self, CallError> {
                Ok(Self { $( $member: member(method, given, stringify!($member))?, )* })
            }
        }
    )+

        /// The results and the values in them that have members, by name.
        pub fn shapes() -> Vec<(&'static str, Vec<Member>)> {
            vec![$( (stringify!($name), <$name as Shape>::members()), )+]
        }
    };
}

shapes! {
    /// No parameters.
    Nothing {}

    /// An account.
    OfAccount {
        /// An account of the store.
        account: Address,
    }

    /// A private payment.
    Transfer {
        /// The account that pays.
        account: Address,
        /// The account that is paid.
        to: Address,
        /// Amount, above 0.
        amount: Amount,
        /// Who pays the fee; `notes` if absent.
        fee_payer: Option<FeePayer>,
        /// Whether notes of blocks that are not proven on L1 may be spent; no if absent.
        spend_pending: Option<bool>,
        /// Whole epochs after the current one in which a block may include the transaction; 8 if absent.
        expiry_epochs: Option<u64>,
        /// Lets the request be repeated without paying twice: 8 to 64 ASCII letters, digits, `-`, `_`, `.` or `:`.
        idempotency_key: Option<IdempotencyKey>,
    }

    /// A withdrawal to an account on L1. Recipient and amount are public.
    Withdraw {
        /// The account that pays.
        account: Address,
        /// The account on L1 that is paid: `0x` and 40 digits.
        to: EthAddress,
        /// Amount, above 0.
        amount: Amount,
        /// Who pays the fee; `notes` if absent.
        fee_payer: Option<FeePayer>,
        /// Whether notes of blocks that are not proven on L1 may be spent; no if absent.
        spend_pending: Option<bool>,
        /// Whole epochs after the current one in which a block may include the transaction; 8 if absent.
        expiry_epochs: Option<u64>,
        /// Lets the request be repeated without paying twice: 8 to 64 ASCII letters, digits, `-`, `_`, `.` or `:`.
        idempotency_key: Option<IdempotencyKey>,
    }

    /// A claim of a deposit on L1. The public balance pays the fee; the deposit covers what it lacks.
    Claim {
        /// The account of the deposit.
        account: Address,
        /// The deposit; the oldest one that can be claimed if absent.
        deposit: Option<Deposit>,
        /// Whether the amount stays in the public balance instead of moving into a note; no if absent.
        keep: Option<bool>,
        /// Whole epochs after the current one in which a block may include the transaction; 8 if absent.
        expiry_epochs: Option<u64>,
    }

    /// A contract to register.
    RegisterContract {
        /// The file of the compiled contract, as it is: its bytes are a part of the address.
        artifact: String,
        /// The address that the contract must have; any if absent.
        address: Option<Field>,
        /// Word that makes it different from others of its class; 0 if absent.
        salt: Option<Field>,
        /// Address of whoever deployed it; 0 if absent.
        deployer: Option<Field>,
        /// Words that it was made with; none if absent.
        init: Option<Vec<Field>>,
        /// Hash of the keys of its address; 0 if absent.
        keys_hash: Option<Field>,
        /// The account whose contract it is: with its keys, and made with the key by which it signs. Then `init` and
        /// `keys_hash` must be absent.
        account: Option<Address>,
    }

    /// A call of a contract by an account.
    SimulateCall {
        /// The account that makes the call and pays.
        account: Address,
        /// Address of the contract that is called.
        contract: Field,
        /// Name of its private function.
        function: String,
        /// Arguments by name; none if absent. A field element is a number, or a string with `0x` and hexadecimal
        /// digits.
        args: Option<Arguments>,
        /// Address of the account's contract; the only one if absent.
        from: Option<Field>,
    }

    /// A call of a contract by an account, which is sent.
    Call {
        /// The account that makes the call and pays.
        account: Address,
        /// Address of the contract that is called.
        contract: Field,
        /// Name of its private function.
        function: String,
        /// Arguments by name; none if absent. A field element is a number, or a string with `0x` and hexadecimal
        /// digits.
        args: Option<Arguments>,
        /// Address of the account's contract; the only one if absent.
        from: Option<Field>,
        /// Whole epochs after the current one in which a block may include the transaction; 8 if absent.
        expiry_epochs: Option<u64>,
        /// Lets the request be repeated without paying twice: 8 to 64 ASCII letters, digits, `-`, `_`, `.` or `:`.
        idempotency_key: Option<IdempotencyKey>,
    }

    /// A contract, for an account.
    OfContract {
        /// An account of the store.
        account: Address,
        /// Address of the contract.
        contract: Field,
    }

    /// A call that another contract may make on behalf of the account, once.
    Authorize {
        /// The account that allows it.
        account: Address,
        /// Address of the contract that may make the call.
        caller: Field,
        /// Address of the contract that is called.
        contract: Field,
        /// Name of its private function.
        function: String,
        /// All arguments by name, the random `nonce` too.
        args: Option<Arguments>,
        /// Address of the account's contract; the only one if absent.
        from: Option<Field>,
    }

    /// A transaction.
    OfTransaction {
        /// Its hash.
        hash: Field,
    }

    /// A transaction, and how long to wait for it.
    Waiting {
        /// Its hash.
        hash: Field,
        /// The stage to wait for.
        stage: Stage,
        /// Longest wait in seconds, at most 60.
        seconds: u64,
    }

    /// A deposit on L1.
    Deposit {
        /// Index of its message, as its event on L1 names it.
        index: u64,
        /// Its amount.
        amount: Amount,
    }

    /// The service and the node that it asks.
    Status {
        /// Release of the service.
        version: String,
        /// Version of the protocol.
        protocol_version: u64,
        /// Number of accounts of the store.
        accounts: u64,
        /// Scheme, host and port of the node.
        node_url: String,
        /// The tips of the node; absent if it does not answer.
        tips: Option<Tips>,
        /// Why the node does not answer.
        node_error: Option<Reason>,
    }

    /// Numbers of the last blocks of a node.
    Tips {
        /// Last block on L1.
        pending: u64,
        /// Last block up to which the node has verified every transaction.
        verified: u64,
        /// Last block that is proven on L1.
        proven: u64,
        /// Last block whose proof L1 has finalized.
        finalized: u64,
    }

    /// An error inside a result.
    Reason {
        /// Stable code.
        code: String,
        /// Text for people.
        message: String,
    }

    /// An account of the store.
    AccountInfo {
        /// Its address.
        address: Address,
        /// Its label.
        label: String,
        /// Number of its seed; absent for imported keys.
        seed: Option<u32>,
        /// Its index in the seed.
        index: Option<u32>,
    }

    /// How far the chain was read.
    Synced {
        /// Number of the last block that was read.
        block: u64,
    }

    /// The balances of an account.
    Balance {
        /// In notes of blocks that are proven on L1.
        proven: Amount,
        /// In notes of later blocks that the node has verified; L1 may still prune them.
        pending: Amount,
        /// In notes of blocks that nobody has proven: such a note may not exist.
        unverified: Amount,
        /// In notes that sent transactions spend which may still be included.
        locked: Amount,
        /// The public balance, which pays fees.
        public: Amount,
    }

    /// A note of an account.
    NoteInfo {
        /// Its value.
        value: Amount,
        /// Index of its leaf.
        leaf_index: u64,
        /// The block that created it; 0 at genesis.
        block: u64,
        /// How certain that block is.
        certainty: Certainty,
        /// Whether it can be spent.
        state: NoteState,
        /// The block that spent it.
        spent_in: Option<u64>,
    }

    /// A transaction of the account whose block is not proven.
    SentInfo {
        /// Its hash.
        hash: Field,
        /// The block that contains it.
        block: Option<u64>,
    }

    /// What a transaction would do.
    Quote {
        /// Its fee in the next block.
        fee: Amount,
        /// The highest fee that it allows if prices rise.
        fee_max: Amount,
        /// Value that comes back in a note at once, besides what is left of the highest fee.
        change: Amount,
        /// The public balance, without what sent transactions may still take; 0 if notes pay.
        public_balance: Amount,
        /// Last slot of a block that may include it.
        expiry_slot: u64,
    }

    /// A registered contract.
    ContractInfo {
        /// Its address.
        address: Field,
        /// The name that its artifact gives it.
        name: String,
        /// Its class.
        class_id: Field,
        /// The account of the store whose keys its address has.
        account: Option<Address>,
        /// Names of its private functions.
        functions: Vec<String>,
    }

    /// The address of a contract that was registered.
    Registered {
        /// Its address.
        address: Field,
        /// Notes of the store's accounts that were received before and can be read now.
        notes: u64,
    }

    /// A note of a contract: the private event that an account can read.
    ContractNote {
        /// Index of its leaf.
        leaf_index: u64,
        /// The block that created it; 0 at genesis.
        block: u64,
        /// Hash of the transaction that created it.
        tx: Field,
        /// Its words, as the contract made them.
        content: Vec<Field>,
        /// Whether it can be spent.
        state: NoteState,
        /// The block that spent it.
        spent_in: Option<u64>,
    }

    /// What an account signed.
    Authorized {
        /// The message, a hash over all parts of the call.
        message: Field,
    }

    /// What the token of a request allows.
    Capabilities {
        /// Name of the application; absent for the owner, who may do everything.
        app: Option<String>,
        /// Accounts that were granted; absent for the owner.
        accounts: Option<Vec<Address>>,
        /// Contracts that were granted; absent for the owner.
        contracts: Option<Vec<Field>>,
        /// Whether the built-in asset was granted.
        asset: bool,
        /// What may be done with them.
        rights: Rights,
    }

    /// What a call would do.
    SimulatedCall {
        /// The words that the called function returned.
        returns: Vec<Field>,
        /// Functions that were executed, the account's own counted.
        calls: u64,
        /// Nullifiers of the transaction, with those that hide how many there are.
        nullifiers: u64,
        /// Note hashes, with such ones too.
        note_hashes: u64,
        /// Logs, with such ones too.
        logs: u64,
        /// Messages to L1.
        messages: u64,
        /// Address of the contract that pays the fee.
        fee_payer: Field,
        /// Its fee in the next block.
        fee: Amount,
        /// The highest fee that it allows if prices rise.
        fee_max: Amount,
        /// Last slot of a block that may include it, if it is sent now.
        expiry_slot: u64,
    }

    /// A transaction of contracts that was sent.
    CallInfo {
        /// Its hash.
        hash: Field,
        /// What was ordered, for people.
        order: String,
        /// Its state.
        state: TxState,
        /// The block that contains it.
        block: Option<u64>,
        /// Why it was dropped.
        reason: Option<String>,
    }

    /// A transaction that was handed to the node.
    Sent {
        /// Its hash.
        hash: Field,
        /// What the node said.
        receipt: Receipt,
        /// Why the receipt is `unknown`.
        doubt: Option<Reason>,
        /// Whether an earlier request with the same idempotency key made it; nothing was sent now.
        repeated: bool,
    }

    /// The status of a transaction.
    TxInfo {
        /// Its state.
        state: TxState,
        /// The block that contains it.
        block: Option<u64>,
        /// Why it was dropped, or cannot be in the next block.
        reason: Option<String>,
    }

    /// The status of a transaction at the end of a wait.
    Waited {
        /// Whether it has reached the stage.
        reached: bool,
        /// Its state.
        state: TxState,
        /// The block that contains it.
        block: Option<u64>,
        /// Why it was dropped, or cannot be in the next block.
        reason: Option<String>,
    }
}

#[cfg(test)]
mod tests;
