//! The methods: parameters in, wire values out.

use rollmill_node_client::wire::{
    BLOCKS_MAX, BlockEffects, BlockRef, HeaderInfo, HexBytes, LOGS_PER_TAG_MAX, NotePath,
    NullifierStatus, PublicData, Request, TAGS_MAX, TaggedLog, TxEffectsInfo, method,
};
use rollmill_protocol::Fr;
use rollmill_protocol::field::{from_hex, to_hex};
use rollmill_protocol::tree::{IndexedTree, StateRead, Tree, append, indexed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::CallError;
use crate::error::{NodeError, QueryError};
use crate::node::Node;
use crate::store::{BlockRecord, StateAt, StoredBlock};

/// Parameters of a call, taken in order.
struct Params<'a> {
    method: &'static str,
    left: std::slice::Iter<'a, Value>,
    /// How many the method takes, for the error.
    expected: usize,
    got: usize,
}

impl<'a> Params<'a> {
    fn new(
        method: &'static str,
        request: &'a Request,
        expected: usize,
    ) -> Result<Self, QueryError> {
        let got = request.params.len();
        let params = Self { method, left: request.params.iter(), expected, got };
        if got == expected { Ok(params) } else { Err(params.count()) }
    }

    fn count(&self) -> QueryError {
        self.error(format!("{} parameters expected, got {}", self.expected, self.got))
    }

    fn error(&self, reason: String) -> QueryError {
        QueryError::Parameters { method: self.method, reason }
    }

    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, QueryError> {
        let value = self.left.next().ok_or_else(|| self.count())?;
        T::deserialize(value).map_err(|error| self.error(format!("{name}: {error}")))
    }

    fn field(&mut self, name: &str) -> Result<Fr, QueryError> {
        let text: String = self.take(name)?;
        from_hex(&text).map_err(|error| self.error(format!("{name}: {error}")))
    }
}

pub(super) fn value(answer: impl Serialize) -> Result<Value, CallError> {
    serde_json::to_value(answer).map_err(|error| NodeError::corrupt(error.to_string()).into())
}

/// The bytes of the transaction of a request that sends one.
pub(super) fn sent_transaction(request: &Request) -> Result<Vec<u8>, CallError> {
    let tx: HexBytes = Params::new(method::SEND_TRANSACTION, request, 1)?.take("transaction")?;
    Ok(tx.0)
}

/// Answers one request, other than one that sends a transaction.
pub(crate) fn call(node: &Node, request: &Request) -> Result<Value, CallError> {
    let params = |method, expected| Params::new(method, request, expected);
    match request.method.as_str() {
        method::GET_TIPS => {
            params(method::GET_TIPS, 0)?;
            value(node.tips())
        }
        method::GET_HEADER => {
            let block: BlockRef = params(method::GET_HEADER, 1)?.take("block")?;
            let proven = node.tips().proven.block_number;
            value(node.block_record(block)?.map(|record| header_info(&record, proven)))
        }
        method::GET_GENESIS => {
            params(method::GET_GENESIS, 0)?;
            value(&node.settings().genesis)
        }
        method::GET_VERSIONS => {
            params(method::GET_VERSIONS, 0)?;
            value(node.versions())
        }
        method::GET_TRANSACTION_STATUS => {
            let hash = params(method::GET_TRANSACTION_STATUS, 1)?.field("transaction hash")?;
            value(node.transaction_status(&hash)?)
        }
        method::GET_TRANSACTION => {
            let hash = params(method::GET_TRANSACTION, 1)?.field("transaction hash")?;
            value(node.transaction(&hash)?.map(|tx| HexBytes(tx.to_bytes())))
        }
        method::GET_LOGS_BY_TAGS => logs_by_tags(node, params(method::GET_LOGS_BY_TAGS, 1)?),
        method::GET_BLOCK_EFFECTS => block_effects(node, params(method::GET_BLOCK_EFFECTS, 2)?),
        method::GET_NOTE_PATH => note_path(node, params(method::GET_NOTE_PATH, 2)?),
        method::GET_PUBLIC_DATA => {
            let slot = params(method::GET_PUBLIC_DATA, 1)?.field("slot")?;
            let state = pending_state(node)?;
            let found = indexed::value(&state, IndexedTree::PublicData, &slot);
            let found = found.map_err(NodeError::from)?;
            let block_number = state.block();
            value(found.map(|value| PublicData { value, block_number }))
        }
        method::GET_NULLIFIER_STATUS => {
            let nullifier = params(method::GET_NULLIFIER_STATUS, 1)?.field("nullifier")?;
            let block_number =
                pending_state(node)?.inserted_in(IndexedTree::Nullifiers, &nullifier)?;
            value(NullifierStatus { block_number, in_pool: node.pool_publishes(&nullifier) })
        }
        other => Err(CallError::NoMethod(other.to_owned())),
    }
}

/// Pending tip and state of one commit.
fn pending_state(node: &Node) -> Result<StateAt, NodeError> {
    let tables = node.view()?;
    let tips = tables.tips()?;
    Ok(StateAt::new(tables, tips.pending))
}

fn header_info(record: &BlockRecord, proven: u64) -> HeaderInfo {
    HeaderInfo {
        header: record.header.to_bytes(),
        header_hash: record.header_hash,
        archive_root: record.archive_root,
        chain: record.chain,
        data_hash: record.data_hash,
        l1_block: record.l1_block,
        proven: record.header.block_number <= proven,
    }
}

fn logs_by_tags(node: &Node, mut params: Params<'_>) -> Result<Value, CallError> {
    let texts: Vec<String> = params.take("tags")?;
    if texts.len() > TAGS_MAX {
        let reason = format!("at most {TAGS_MAX} tags are taken, got {}", texts.len());
        return Err(params.error(reason).into());
    }
    let tables = node.view()?;
    let mut answer = Vec::with_capacity(texts.len());
    for text in texts {
        let tag = from_hex(&text).map_err(|error| params.error(format!("tags: {error}")))?;
        let mut logs = Vec::new();
        for (block, index, log) in tables.tagged(&tag, LOGS_PER_TAG_MAX)? {
            let missing = || NodeError::corrupt("a tag leads to no transaction");
            let (tx_hash, body) = tables.tx_body(block, index)?.ok_or_else(missing)?;
            let record = tables.expect_block(block)?;
            let effects = &body.effects;
            logs.push(TaggedLog {
                block_number: block,
                tx_hash,
                first_nullifier: effects.nullifiers[0],
                log_index: log.into(),
                log: body.logs.get(usize::from(log)).cloned().ok_or_else(missing)?,
                note_hashes: present(&effects.note_hashes),
                note_start_index: note_start(&record, index),
            });
        }
        answer.push(logs);
    }
    value(answer)
}

fn present(values: &[Fr]) -> Vec<Fr> {
    let zero = Fr::from(0u64);
    values.iter().take_while(|value| **value != zero).copied().collect()
}

/// Index in the note-hash tree of the first note hash of transaction `index` of a block.
fn note_start(record: &BlockRecord, index: u32) -> u64 {
    let header = &record.header;
    let after = header.tx_count.saturating_sub(u64::from(index));
    let slots = rollmill_protocol::tx::SLOTS as u64;
    header.state.tx_state.note_count.saturating_sub(after.saturating_mul(slots))
}

fn block_effects(node: &Node, mut params: Params<'_>) -> Result<Value, CallError> {
    let (from, limit): (u64, u64) = (params.take("from")?, params.take("limit")?);
    let tables = node.view()?;
    let pending = tables.tips()?.pending;
    let mut answer = Vec::new();
    for block in (from..=pending).take(limit.min(BLOCKS_MAX) as usize) {
        let missing = || NodeError::corrupt(format!("block {block} is missing"));
        let stored = tables.stored_block(block)?.ok_or_else(missing)?;
        answer.push(effects_info(&stored));
    }
    value(answer)
}

fn effects_info(block: &StoredBlock) -> BlockEffects {
    let txs = block.tx_hashes.iter().zip(&block.txs).enumerate();
    BlockEffects {
        block_number: block.record.header.block_number,
        header_hash: block.record.header_hash,
        txs: txs
            .map(|(index, (tx_hash, body))| TxEffectsInfo {
                tx_hash: *tx_hash,
                effects: body.effects.to_fields(),
                logs: body.logs.iter().cloned().map(HexBytes).collect(),
                note_start_index: block.note_start_index(index),
            })
            .collect(),
    }
}

fn note_path(node: &Node, mut params: Params<'_>) -> Result<Value, CallError> {
    let leaf_index: u64 = params.take("leaf index")?;
    let header_hash = params.field("header hash")?;
    let tables = node.view()?;
    let unknown = || QueryError::UnknownBlock { block: to_hex(&header_hash) };
    let number = tables.block_number(&header_hash)?.ok_or_else(unknown)?;
    let oldest = tables.history_start()?;
    if number < oldest {
        return Err(QueryError::StateGone { block: number, oldest }.into());
    }
    let refs = tables.expect_block(number)?.header.state.tx_state;
    if leaf_index >= refs.note_count {
        return Err(QueryError::NoLeaf { index: leaf_index, count: refs.note_count }.into());
    }
    let state = StateAt::new(tables, number);
    let read = || {
        let leaf = state.node(Tree::Notes, 0, leaf_index)?.unwrap_or_default();
        Ok::<_, NodeError>((leaf, append::path(&state, Tree::Notes, 0, leaf_index)?))
    };
    let (leaf, path) = read()?;
    value(NotePath { leaf_index, leaf, path, note_root: refs.note_root })
}
