//! The methods: parameters in, wire values out. [`NodeApi`] lists them.

use std::net::IpAddr;
use std::sync::Arc;

use rollmill_node_client::api::NodeApi;
use rollmill_node_client::wire::{
    BLOCKS_MAX, BlockEffects, BlockRef, DEPOSITS_MAX, DepositInfo, Field, HeaderInfo, HexBytes,
    LOGS_PER_TAG_MAX, MessagePath, NotePath, NullifierStatus, PublicData, Sent, TAGS_MAX,
    TaggedLog, Tips, TxStatus, Versions, method,
};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::tree::{IndexedTree, StateRead, Tree, append, indexed};
use rollmill_protocol::{Fr, Genesis, Header};

use super::{CallError, Rpc};
use crate::error::{NodeError, QueryError};
use crate::node::Node;
use crate::store::{BlockRecord, StateAt};

/// Serves the calls of one peer.
pub(super) struct Api<'a> {
    pub(super) rpc: &'a Rpc,
    pub(super) peer: Option<IpAddr>,
}

impl Api<'_> {
    /// Reads when it is this call's turn. Reading and hashing block, which the runtime's own threads
    /// must not do.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let _turn = self.rpc.turn().await?;
        let node = Arc::clone(&self.rpc.node);
        tokio::task::spawn_blocking(move || work(&node)).await.unwrap_or(Err(CallError::Died))
    }
}

impl NodeApi for Api<'_> {
    type Error = CallError;

    async fn tips(&self) -> Result<Tips, CallError> {
        self.read(|node| Ok(node.tips())).await
    }

    async fn header(&self, block: BlockRef) -> Result<Option<HeaderInfo>, CallError> {
        self.read(move |node| {
            let proven = node.tips().proven.block_number;
            Ok(node.block_record(block)?.map(|record| header_info(&record, proven)))
        })
        .await
    }

    async fn genesis(&self) -> Result<Genesis, CallError> {
        self.read(|node| Ok(node.settings().genesis.clone())).await
    }

    async fn versions(&self) -> Result<Versions, CallError> {
        self.read(|node| Ok(node.versions())).await
    }

    async fn send_transaction(&self, transaction: HexBytes) -> Result<Sent, CallError> {
        // Verification has its own queue.
        drop(self.rpc.turn().await?);
        let tx_hash = self.rpc.admission.submit(transaction.0, self.peer).await?;
        Ok(Sent { tx_hash })
    }

    async fn transaction_status(&self, transaction_hash: Field) -> Result<TxStatus, CallError> {
        self.read(move |node| Ok(node.transaction_status(&transaction_hash.0)?)).await
    }

    async fn transaction(&self, transaction_hash: Field) -> Result<Option<HexBytes>, CallError> {
        self.read(move |node| {
            Ok(node.transaction(&transaction_hash.0)?.map(|tx| HexBytes(tx.to_bytes())))
        })
        .await
    }

    async fn logs_by_tags(&self, tags: Vec<Field>) -> Result<Vec<Vec<TaggedLog>>, CallError> {
        self.read(move |node| logs_by_tags(node, &tags)).await
    }

    async fn block_effects(&self, from: u64, limit: u64) -> Result<Vec<BlockEffects>, CallError> {
        self.read(move |node| block_effects(node, from, limit)).await
    }

    async fn note_path(&self, leaf_index: u64, header_hash: Field) -> Result<NotePath, CallError> {
        self.read(move |node| note_path(node, leaf_index, header_hash.0)).await
    }

    async fn deposits(
        &self,
        address: Field,
        from_index: u64,
    ) -> Result<Vec<DepositInfo>, CallError> {
        self.read(move |node| {
            let found = node.view()?.deposits(&address.0, from_index, DEPOSITS_MAX)?;
            let deposit = |(index, amount)| DepositInfo { index, amount };
            Ok(found.into_iter().map(deposit).collect())
        })
        .await
    }

    async fn message_path(&self, index: u64, header_hash: Field) -> Result<MessagePath, CallError> {
        self.read(move |node| message_path(node, index, header_hash.0)).await
    }

    async fn public_data(&self, slot: Field) -> Result<Option<PublicData>, CallError> {
        self.read(move |node| {
            let state = pending_state(node)?;
            let found = indexed::value(&state, IndexedTree::PublicData, &slot.0);
            let block_number = state.block();
            let found = found.map_err(NodeError::from)?;
            Ok(found.map(|value| PublicData { value, block_number }))
        })
        .await
    }

    async fn nullifier_status(&self, nullifier: Field) -> Result<NullifierStatus, CallError> {
        self.read(move |node| {
            let Field(nullifier) = nullifier;
            let block_number =
                pending_state(node)?.inserted_in(IndexedTree::Nullifiers, &nullifier)?;
            Ok(NullifierStatus { block_number, in_pool: node.pool_publishes(&nullifier) })
        })
        .await
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
        l1_block: record.l1_block,
        proven: record.header.block_number <= proven,
    }
}

fn logs_by_tags(node: &Node, tags: &[Field]) -> Result<Vec<Vec<TaggedLog>>, CallError> {
    if tags.len() > TAGS_MAX {
        let reason = format!("tags: at most {TAGS_MAX} are taken, got {}", tags.len());
        return Err(QueryError::Parameters { method: method::GET_LOGS_BY_TAGS, reason }.into());
    }
    let tables = node.view()?;
    let mut answer = Vec::with_capacity(tags.len());
    for Field(tag) in tags {
        let mut logs = Vec::new();
        for (block, index, log) in tables.tagged(tag, LOGS_PER_TAG_MAX)? {
            let missing = || NodeError::corrupt("a tag leads to no transaction");
            let (tx_hash, body) = tables.tx_body(block, index)?.ok_or_else(missing)?;
            let record = tables.expect_block(block)?;
            let effects = &body.effects;
            logs.push(TaggedLog {
                block_number: block,
                tx_hash,
                first_nullifier: effects.nullifiers[0],
                log_index: log.into(),
                log: body.logs.get(usize::from(log)).ok_or_else(missing)?.to_vec(),
                note_hashes: present(&effects.note_hashes),
                note_start_index: note_start(&record, index),
            });
        }
        answer.push(logs);
    }
    Ok(answer)
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

fn block_effects(node: &Node, from: u64, limit: u64) -> Result<Vec<BlockEffects>, CallError> {
    let tables = node.view()?;
    let pending = tables.tips()?.pending;
    let mut answer = Vec::new();
    for block in (from..=pending).take(limit.min(BLOCKS_MAX) as usize) {
        let missing = || NodeError::corrupt(format!("block {block} is missing"));
        let stored = tables.stored_block(block)?.ok_or_else(missing)?;
        answer.push(BlockEffects::of(&stored.data()));
    }
    Ok(answer)
}

fn note_path(node: &Node, leaf_index: u64, header_hash: Fr) -> Result<NotePath, CallError> {
    let (state, header) = state_of(node, &header_hash)?;
    let refs = header.state.tx_state;
    let (leaf, path) = leaf_path(&state, Tree::Notes, refs.note_count, leaf_index)?;
    Ok(NotePath { leaf_index, leaf, path, note_root: refs.note_root })
}

fn message_path(node: &Node, index: u64, header_hash: Fr) -> Result<MessagePath, CallError> {
    let (state, header) = state_of(node, &header_hash)?;
    let refs = header.state;
    let (leaf, path) = leaf_path(&state, Tree::Messages, refs.message_count, index)?;
    Ok(MessagePath { index, leaf, path, message_root: refs.message_root })
}

/// The state after the block with this header hash, and its header.
fn state_of(node: &Node, header_hash: &Fr) -> Result<(StateAt, Header), CallError> {
    let tables = node.view()?;
    let unknown = || QueryError::UnknownBlock { block: to_hex(header_hash) };
    let number = tables.block_number(header_hash)?.ok_or_else(unknown)?;
    let oldest = tables.history_start()?;
    if number < oldest {
        return Err(QueryError::StateGone { block: number, oldest }.into());
    }
    let header = tables.expect_block(number)?.header;
    Ok((StateAt::new(tables, number), header))
}

/// A leaf of a tree with `count` leaves, and its siblings.
fn leaf_path(
    state: &StateAt,
    tree: Tree,
    count: u64,
    index: u64,
) -> Result<(Fr, Vec<Fr>), CallError> {
    if index >= count {
        return Err(QueryError::NoLeaf { index, count }.into());
    }
    let read = || {
        let leaf = state.node(tree, 0, index)?.unwrap_or_default();
        Ok::<_, NodeError>((leaf, append::path(state, tree, 0, index)?))
    };
    Ok(read()?)
}
