//! The methods of a node's JSON-RPC, each declared once: the server's trait and its dispatch, the
//! client's calls, the names and `docs/rpc.md` come from one table.

use std::future::Future;

use rollmill_protocol::Genesis;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::wire::{
    BlockEffects, BlockRef, DepositInfo, Field, HeaderInfo, HexBytes, MessagePath, NotePath,
    NullifierStatus, PublicData, Sent, TaggedLog, Tips, TxStatus, Versions,
};
use crate::{ClientError, NodeClient};

/// A method as the table declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Name on the wire.
    pub name: &'static str,
    /// Name and Rust type of each parameter, in order.
    pub parameters: Vec<(&'static str, &'static str)>,
    /// Rust type of the result.
    pub result: &'static str,
    /// What it does: the doc comment.
    pub meaning: String,
}

/// Why a call did not come to its method, or its result not to the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There is no such method.
    NoMethod(String),
    /// A parameter is missing, superfluous or not what the method takes.
    Parameters { method: &'static str, reason: String },
    /// The result has no JSON.
    Result(String),
}

/// Parameters of a call, taken in order.
struct Parameters<'a> {
    method: &'static str,
    left: std::slice::Iter<'a, Value>,
}

impl<'a> Parameters<'a> {
    fn new(
        method: &'static str,
        names: &[&'static str],
        given: &'a [Value],
    ) -> Result<Self, Fault> {
        let parameters = Self { method, left: given.iter() };
        let (expected, got) = (names.len(), given.len());
        if expected == got {
            return Ok(parameters);
        }
        let named = if expected == 0 { String::new() } else { format!(" ({})", names.join(", ")) };
        Err(parameters.fault(format!("{expected} parameters expected{named}, got {got}")))
    }

    fn fault(&self, reason: String) -> Fault {
        Fault::Parameters { method: self.method, reason }
    }

    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Fault> {
        let value = self.left.next().unwrap_or(&Value::Null);
        T::deserialize(value).map_err(|error| self.fault(format!("{name}: {error}")))
    }
}

macro_rules! methods {
    ($(
        $(#[doc = $doc:literal])+
        $wire:literal, $constant:ident: $name:ident($($parameter:ident: $type:ty),*) -> $result:ty;
    )+) => {
        /// Names of the methods.
        pub mod method {
            $( $(#[doc = $doc])+ pub const $constant: &str = $wire; )+
        }

        /// What a node serves.
        pub trait NodeApi: Sync {
            /// Why a call has no result.
            type Error: From<Fault>;
            $(
                $(#[doc = $doc])+
                fn $name(
                    &self,
                    $($parameter: $type),*
                ) -> impl Future<Output = Result<$result, Self::Error>> + Send;
            )+
        }

        /// Calls a method of `api` by its name on the wire.
        ///
        /// # Errors
        /// Those of the method, and [`Fault`] for an unknown method or other parameters.
        pub async fn dispatch<A: NodeApi>(
            api: &A,
            method: &str,
            parameters: &[Value],
        ) -> Result<Value, A::Error> {
            match method {
                $(
                    method::$constant => {
                        #[allow(unused_mut, unused_variables, reason = "a method may take nothing")]
                        let mut left = Parameters::new(
                            method::$constant, &[$(stringify!($parameter)),*], parameters,
                        )?;
                        $( let $parameter: $type = left.take(stringify!($parameter))?; )*
                        let result: $result = api.$name($($parameter),*).await?;
                        Ok(serde_json::to_value(result)
                            .map_err(|error| Fault::Result(error.to_string()))?)
                    }
                )+
                other => Err(Fault::NoMethod(other.to_owned()).into()),
            }
        }

        /// Every method, in order.
        pub fn methods() -> Vec<Method> {
            vec![$(
                Method {
                    name: $wire,
                    parameters: vec![$( (stringify!($parameter), stringify!($type)) ),*],
                    result: stringify!($result),
                    meaning: [$($doc.trim()),+].join(" "),
                },
            )+]
        }

        /// The calls of a client, as the table has them.
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Calls<'a>(pub(crate) &'a NodeClient);

        impl Calls<'_> {
            $(
                pub(crate) async fn $name(
                    self,
                    $($parameter: $type),*
                ) -> Result<$result, ClientError> {
                    self.0.call(method::$constant, json!([$($parameter),*])).await
                }
            )+
        }
    };
}

methods! {
    /// The pending, verified, proven and finalized tips, and the last L1 block that was followed.
    "node_getTips", GET_TIPS: tips() -> Tips;

    /// The header of a block and what L1 records of it; `null` if the node has no such block.
    "node_getHeader", GET_HEADER: header(block: BlockRef) -> Option<HeaderInfo>;

    /// The genesis file of the node's deployment.
    "node_getGenesis", GET_GENESIS: genesis() -> Genesis;

    /// Versions and deployment of the node.
    "node_getVersions", GET_VERSIONS: versions() -> Versions;

    /// Submit a transaction to the node's pool. Sending a known one again succeeds.
    "node_sendTransaction", SEND_TRANSACTION: send_transaction(transaction: HexBytes) -> Sent;

    /// The status of a transaction.
    "node_getTransactionStatus", GET_TRANSACTION_STATUS:
        transaction_status(transaction_hash: Field) -> TxStatus;

    /// A transaction with its client proof, which a node keeps until the transaction is proven; `null`
    /// if this node does not have it.
    "node_getTransaction", GET_TRANSACTION:
        transaction(transaction_hash: Field) -> Option<HexBytes>;

    /// For each tag, in order, the logs that carry it: oldest first, at most 16. At most 128 tags.
    "node_getLogsByTags", GET_LOGS_BY_TAGS:
        logs_by_tags(tags: Vec<Field>) -> Vec<Vec<TaggedLog>>;

    /// Headers and effects of up to `limit` blocks from number `from`, at most 16.
    "node_getBlockEffects", GET_BLOCK_EFFECTS:
        block_effects(from: u64, limit: u64) -> Vec<BlockEffects>;

    /// The siblings of a note hash under the note root of the header with this hash.
    "node_getNotePath", GET_NOTE_PATH: note_path(leaf_index: u64, header_hash: Field) -> NotePath;

    /// Deposits on L1 into the fee balance of `address`, by index from `from_index` on, at most 64. Those
    /// that no block has taken yet are among them; which are claimed is not stated.
    "node_getDeposits", GET_DEPOSITS: deposits(address: Field, from_index: u64) -> Vec<DepositInfo>;

    /// The siblings of a message from L1 under the message root of the header with this hash.
    "node_getMessagePath", GET_MESSAGE_PATH:
        message_path(index: u64, header_hash: Field) -> MessagePath;

    /// The value of a public data slot at the pending tip; `null` if the slot was never written.
    "node_getPublicData", GET_PUBLIC_DATA: public_data(slot: Field) -> Option<PublicData>;

    /// Whether a nullifier was published, in a block or in the pool.
    "node_getNullifierStatus", GET_NULLIFIER_STATUS:
        nullifier_status(nullifier: Field) -> NullifierStatus;
}
