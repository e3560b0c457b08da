//! What goes over the wire: JSON-RPC 2.0 with positional parameters.
//!
//! Field elements are `0x` and 64 digits, byte strings `0x` and two digits per byte. What is hashed
//! or proven (headers, effects, transactions) travels as its canonical bytes, so that nobody hashes a
//! re-serialized copy.

use rollmill_protocol::field::{serde_fr, serde_frs, serde_hex};
use rollmill_protocol::message::{MESSAGES_PER_BLOCK, deposit_leaf};
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{Tree, WitnessError};
use rollmill_protocol::version::VersionIds;
use rollmill_protocol::{BlockData, DecodeError, Fr, Header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::api::method;

/// JSON-RPC's error number for a request that may succeed later; the HTTP status is then 503.
pub const BUSY: i64 = -32005;
/// Most bytes of a request's body that a node reads.
pub const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Most requests in a batch.
pub const BATCH_MAX: usize = 32;
/// Bytes of a batch's responses after which its other requests get NODE-048.
pub const BATCH_ANSWER_BYTES_MAX: usize = 8 << 20;
/// Most bytes of a response that a client reads. The largest, the effects of [`BLOCKS_MAX`] full blocks, has about 3 MB; a
/// genesis file may have more notes than any so far.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Most tags in one request for logs.
pub const TAGS_MAX: usize = 128;
/// Most logs given for one tag. A tag is used once; only a forger repeats it.
pub const LOGS_PER_TAG_MAX: usize = 16;
/// Maximum blocks in one response with effects.
pub const BLOCKS_MAX: u64 = 16;
/// Maximum deposits in one response.
pub const DEPOSITS_MAX: usize = 64;

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Always `2.0`.
    pub jsonrpc: String,
    /// Returned with the response.
    #[serde(default)]
    pub id: Value,
    pub method: String,
    /// In order; a method without parameters takes an empty list or none.
    #[serde(default)]
    pub params: Vec<Value>,
}

/// A response: a result or an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    pub jsonrpc: String,
    pub id: Value,
    /// Present in a success, where `null` is a value.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RpcError>,
}

/// A present `null` is a result; only an absent field is `None`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// JSON-RPC's number: -32700 no JSON, -32600 no request, -32601 no such method, -32602 wrong
    /// parameters, -32603 the node's fault, -32005 busy ([`BUSY`]), -32000 rejected.
    pub code: i64,
    /// Text for people; starts with the stable code.
    pub message: String,
    /// For programs.
    pub data: ErrorData,
}

/// Numbers of the codes `NODE-0NN` with which a node rejects a transaction as it is: it is malformed, cannot be
/// part of the next block, has no valid proof, is not covered by its payer's balance, or is too large. A test of the
/// node compares them with its error type.
const TX_REJECTED: [u16; 5] = [20, 21, 22, 25, 26];

impl RpcError {
    /// Whether the node rejects the transaction that it was sent, as it is. A pool that is full, or that holds
    /// another transaction with the same nullifier, may take it later; a node at fault says nothing of it.
    pub fn rejects_transaction(&self) -> bool {
        let number = self.data.code.strip_prefix("NODE-").and_then(|number| number.parse().ok());
        number.is_some_and(|number| TX_REJECTED.contains(&number))
    }
}

/// The part of an error that programs read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// Stable code, such as `NODE-010`.
    pub code: String,
}

/// A block's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    pub block_number: u64,
    #[serde(with = "serde_fr")]
    pub header_hash: Fr,
    pub slot: u64,
}

/// The tips of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tips {
    /// Last block that was proposed and executed here.
    pub pending: Tip,
    /// Last block up to which every transaction is proven: by its block's proof on L1, or by its
    /// client proof, which this node has and verified. Only the proposer vouches for later
    /// blocks: they may mint notes and charge strangers, and L1 may prune them.
    pub verified: Tip,
    /// Last block that is proven on L1.
    pub proven: Tip,
    /// Last block whose proof L1 has finalized: no reorganisation removes it.
    pub finalized: Tip,
    /// Number of the last L1 block that was followed.
    pub l1_block: u64,
    /// Set when L1 contains a block that this node rejected; nothing after it is followed until L1
    /// prunes it.
    #[serde(rename = "refused")]
    pub rejected: Option<RejectedBlock>,
}

impl Tips {
    /// The first block that is neither proven nor verified by this node; `None` when there is none.
    pub fn unverified(&self) -> Option<u64> {
        let first = self.verified.block_number.saturating_add(1);
        (first <= self.pending.block_number).then_some(first)
    }
}

/// A block on L1 that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedBlock {
    pub block_number: u64,
    /// L1 block that contains it.
    pub l1_block: u64,
    /// Why, beginning with a stable code.
    pub reason: String,
}

/// Which block is meant, as a parameter: a number, a header hash, `"pending"`, `"proven"` or
/// `"finalized"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockRef {
    Number(u64),
    Hash(Fr),
    Pending,
    Proven,
    Finalized,
}

impl Serialize for BlockRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Hash(hash) => serde_fr::serialize(hash, serializer),
            Self::Pending => serializer.serialize_str("pending"),
            Self::Proven => serializer.serialize_str("proven"),
            Self::Finalized => serializer.serialize_str("finalized"),
        }
    }
}

impl<'de> Deserialize<'de> for BlockRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_u64().map(Self::Number),
            Value::String(text) if text == "pending" => Some(Self::Pending),
            Value::String(text) if text == "proven" => Some(Self::Proven),
            Value::String(text) if text == "finalized" => Some(Self::Finalized),
            Value::String(text) => rollmill_protocol::field::from_hex(&text).ok().map(Self::Hash),
            _ => None,
        }
        .ok_or_else(|| {
            serde::de::Error::custom(
                "block number, header hash, \"pending\", \"proven\" or \"finalized\" expected",
            )
        })
    }
}

/// A header and what L1 records of its block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderInfo {
    /// Canonical bytes of the header.
    #[serde(with = "serde_hex")]
    pub header: Vec<u8>,
    #[serde(with = "serde_fr")]
    pub header_hash: Fr,
    /// Archive root with the header appended.
    #[serde(with = "serde_fr")]
    pub archive_root: Fr,
    /// Chain after the block; zero at genesis.
    #[serde(with = "serde_fr")]
    pub chain: Fr,
    /// L1 block that contains the block.
    pub l1_block: u64,
    pub proven: bool,
}

impl HeaderInfo {
    /// The header, after a check that it has the hash named here.
    pub fn decode(&self) -> Result<Header, DecodeError> {
        let header = Header::from_bytes(&self.header)?;
        if header.hash() == self.header_hash {
            Ok(header)
        } else {
            Err(DecodeError::Shape {
                what: "header",
                reason: "it does not have the hash it came with".to_owned(),
            })
        }
    }
}

/// The response to an accepted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    #[serde(with = "serde_fr")]
    pub tx_hash: Fr,
}

/// The status of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TxStatus {
    /// This node has not seen it, or has forgotten it.
    Unknown,
    /// It waits in the pool.
    Pending {
        /// Why it cannot be part of the next block, if it cannot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parked: Option<String>,
    },
    /// It is in a block that is not proven.
    Included { block_number: u64, index: u32 },
    /// It is in a proven block.
    Proven { block_number: u64, index: u32 },
    /// It left the pool without a block.
    Dropped { reason: String },
}

/// A log that carries one of the tags asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedLog {
    pub block_number: u64,
    #[serde(with = "serde_fr")]
    pub tx_hash: Fr,
    /// First nullifier of the transaction: the origin of its notes.
    #[serde(with = "serde_fr")]
    pub first_nullifier: Fr,
    /// Index of the log in the transaction.
    pub log_index: u32,
    /// The five words of the log.
    #[serde(with = "serde_frs")]
    pub log: Vec<Fr>,
    /// The transaction's note hashes, in order, absent ones left out.
    #[serde(with = "serde_frs")]
    pub note_hashes: Vec<Fr>,
    /// Index in the note-hash tree of the transaction's first note hash.
    pub note_start_index: u64,
}

/// The public effects of a block.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockEffects {
    pub block_number: u64,
    #[serde(with = "serde_fr")]
    pub header_hash: Fr,
    /// Canonical bytes of the header and of each transaction's effects and logs ([`BlockData`]).
    #[serde(with = "serde_hex")]
    pub data: Vec<u8>,
}

/// Number and hash stand for the block: its data has up to 84 kB.
impl std::fmt::Debug for BlockEffects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockEffects")
            .field("block_number", &self.block_number)
            .field("header_hash", &self.header_hash)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl BlockEffects {
    /// The wire form of a block.
    pub fn of(block: &BlockData) -> Self {
        Self {
            block_number: block.header.block_number,
            header_hash: block.header.hash(),
            data: block.to_bytes(),
        }
    }

    /// The block, after a check that it has the number and the hash named here, and that its
    /// transactions are those of its header.
    pub fn decode(&self) -> Result<BlockData, DecodeError> {
        let block = BlockData::from_bytes(&self.data)?;
        let shape = |reason: &str| DecodeError::Shape { what: "block", reason: reason.to_owned() };
        if block.header.block_number != self.block_number {
            return Err(shape("it does not have the number it came with"));
        }
        if block.header.hash() != self.header_hash {
            return Err(shape("it does not have the hash it came with"));
        }
        Ok(block)
    }
}

/// A deposit into a fee balance, as L1 recorded it. L1 names the account, so a request for its deposits
/// reveals nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositInfo {
    /// Index in the tree of messages from L1.
    pub index: u64,
    /// Amount in units.
    pub amount: u64,
}

impl DepositInfo {
    /// Number of the block that takes the deposit from L1. It can be claimed in later blocks.
    pub const fn block_number(&self) -> u64 {
        self.index / MESSAGES_PER_BLOCK as u64 + 1
    }

    /// The leaf of the deposit for the account `to`.
    pub fn leaf(&self, to: &Fr) -> Fr {
        deposit_leaf(to, self.amount, self.index)
    }
}

/// Bytes as `0x` text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexBytes(#[serde(with = "serde_hex")] pub Vec<u8>);

/// A field element as `0x` and 64 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Field(#[serde(with = "serde_fr")] pub Fr);

/// A note hash and its place under a header's note root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotePath {
    pub leaf_index: u64,
    #[serde(with = "serde_fr")]
    pub leaf: Fr,
    /// 40 siblings, lowest first.
    #[serde(with = "serde_frs")]
    pub path: Vec<Fr>,
    /// The root they lead to: the header's.
    #[serde(with = "serde_fr")]
    pub note_root: Fr,
}

impl NotePath {
    /// Checks that the path leads from the leaf to `note_root`, which the asker takes from a header
    /// it trusts and not from this answer.
    pub fn verify(&self, note_root: &Fr) -> Result<(), WitnessError> {
        membership(Tree::Notes, note_root, &self.leaf, self.leaf_index, &self.path)
    }
}

/// A message from L1 and its place under a header's message root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePath {
    pub index: u64,
    #[serde(with = "serde_fr")]
    pub leaf: Fr,
    /// 38 siblings, lowest first.
    #[serde(with = "serde_frs")]
    pub path: Vec<Fr>,
    /// The root they lead to: the header's.
    #[serde(with = "serde_fr")]
    pub message_root: Fr,
}

impl MessagePath {
    /// Checks that the path leads from the leaf to `message_root`, which the asker takes from a header
    /// it trusts and not from this answer.
    pub fn verify(&self, message_root: &Fr) -> Result<(), WitnessError> {
        membership(Tree::Messages, message_root, &self.leaf, self.index, &self.path)
    }
}

/// The value of a public data slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicData {
    #[serde(with = "serde_fr")]
    pub value: Fr,
    /// Block after which the slot has this value.
    pub block_number: u64,
}

/// Whether a nullifier was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NullifierStatus {
    /// The block that published it.
    pub block_number: Option<u64>,
    /// A transaction in the pool publishes it.
    pub in_pool: bool,
}

/// What a client must know before it trusts a node's answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    #[serde(flatten)]
    pub ids: VersionIds,
    /// Version of the node's software.
    pub software: String,
    pub slots_per_epoch: u64,
    /// Hash of the header of block 0.
    #[serde(with = "serde_fr")]
    pub genesis_header_hash: Fr,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no answer that a node of this release may give is too long for its client.
    #[test]
    fn the_longest_answers_are_read() {
        let word = Fr::from(0u64) - Fr::from(1u64);
        let log = TaggedLog {
            block_number: u64::MAX,
            tx_hash: word,
            first_nullifier: word,
            log_index: u32::MAX,
            log: vec![word; 5],
            note_hashes: vec![word; rollmill_protocol::tx::SLOTS],
            note_start_index: u64::MAX,
        };
        let data = vec![0xff; 84_000];
        let block = BlockEffects { block_number: u64::MAX, header_hash: word, data };
        let blocks = vec![block; usize::try_from(BLOCKS_MAX).unwrap()];
        let tx = serde_json::to_vec(&HexBytes(vec![0xff; rollmill_protocol::Tx::BYTES_MAX]));
        let logs = serde_json::to_vec(&vec![vec![log; LOGS_PER_TAG_MAX]; TAGS_MAX]);
        for answer in [tx, logs, serde_json::to_vec(&blocks)] {
            let bytes = answer.unwrap().len();
            assert!(bytes * 4 < ANSWER_BYTES_MAX, "{bytes} bytes");
        }
    }

    /// Goal: a full block in a log is one line.
    #[test]
    fn debug_output_of_a_blocks_effects_is_short() {
        let effects =
            BlockEffects { block_number: 7, header_hash: Fr::from(9u64), data: vec![1; 84_000] };
        let shown = format!("{effects:?}");
        assert!(shown.len() < 1_000 && shown.contains("data_bytes: 84000"), "{shown}");
    }
}
