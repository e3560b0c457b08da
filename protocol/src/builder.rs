//! Blocks: built from transactions by a proposer, rebuilt from published data by everyone else.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use crate::blob::{Commitment, Opening};
use crate::block::{BlockBody, BlockData, ChainLink};
use crate::config::Config;
use crate::field::{self, EthAddress};
use crate::gas::{FeePerGas, Gas, MAX_TXS_PER_BLOCK};
use crate::header::{Header, StateRefs};
use crate::message::{MESSAGES_PER_BLOCK, OUT_LEAVES, in_hash, out_root};
use crate::state::{
    ApplyError, EffectsTransition, TxGlobals, TxRejection, TxTransition, WorldState,
};
use crate::tree::{StateRead, StateWrite, StorageError, SubtreeAppend, Tree, append};
use crate::tx::Tx;

/// Why a block cannot follow its parent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The block's slot is not above its parent's.
    ///
    /// Do: Nothing: the block is invalid. A proposer waits for the next slot.
    #[error("{code}: slot {got} does not follow the parent's slot {parent}", code = self.code())]
    Slot { parent: u64, got: u64 },
    /// The block's slot has more than 48 bits, or its time is beyond 64 bits.
    ///
    /// Do: Nothing helps on this deployment: it has reached its last slot.
    #[error("{code}: slot {got} is above the last one", code = self.code())]
    SlotRange { got: u64 },
    /// The block has more messages from L1 than it may, or an absent one.
    ///
    /// Do: Read the messages from L1 again; a block has at most 64, and none is 0.
    #[error("{code}: at most {max} messages from L1 expected, none of them 0, got {got}", code = self.code())]
    Messages { max: usize, got: usize },
    /// The archive tree is full.
    ///
    /// Do: Nothing helps on this deployment: it has reached its capacity.
    #[error("{code}: the archive is full", code = self.code())]
    ArchiveFull,
    /// A transaction of a published block violates a rule. The message names it.
    ///
    /// Do: Nothing: the block is invalid and is pruned. Tell the proposer.
    #[error("{code}: transaction {index}: {cause}", code = self.code(), cause = rollmill_errors::Bare(.rejection))]
    Rejected {
        index: usize,
        #[source]
        rejection: TxRejection,
    },
    /// A field of a published header does not follow from the block's transactions.
    ///
    /// Do: Nothing: the block is invalid and is pruned. Tell the proposer; check that both run the
    /// same release.
    #[error("{code}: header field {name}: {expected} expected, got {got}", code = self.code())]
    Header { name: String, expected: String, got: String },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

// PRO-051 is retired.
rollmill_errors::coded! {
    BlockError {
        Self::Slot { .. } => "PRO-050",
        Self::ArchiveFull => "PRO-052",
        Self::Rejected { .. } => "PRO-053",
        Self::Header { .. } => "PRO-054",
        Self::SlotRange { .. } => "PRO-055",
        Self::Messages { .. } => "PRO-056",
        Self::Storage(error) => (error),
    }
}

/// What a block is given besides its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEnv {
    pub slot: u64,
    /// The proposer's choice.
    pub coinbase: EthAddress,
    /// Leaves of the messages from L1 that belong to the block, in order.
    pub messages: Vec<Fr>,
}

/// What BlockRoot needs to know of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveWitness {
    /// Siblings of the parent's header in the archive before the block. Its index is the parent's
    /// block number and the root is `append.root_before`.
    pub parent_path: Vec<Fr>,
    /// The append of this block's header as a subtree of one leaf.
    pub append: SubtreeAppend,
}

/// A finished block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub header: Header,
    pub header_hash: Fr,
    /// The header it follows.
    pub parent: Header,
    /// Effects and logs, in order.
    pub txs: Vec<BlockBody>,
    /// State before; the parent header's.
    pub start: StateRefs,
    /// State after; the header's.
    pub end: StateRefs,
    /// The subtree of messages from L1 that the block appends: present ones first, then zeros.
    pub messages: SubtreeAppend,
    pub archive: ArchiveWitness,
}

impl Block {
    /// What nodes store.
    pub fn data(&self) -> BlockData {
        BlockData { header: self.header.clone(), txs: self.txs.clone() }
    }

    /// The opening of the block's blob, whose commitment this is.
    pub fn opening(&self, commitment: Commitment) -> Opening {
        Opening::new(&self.header.txs_chain, &self.txs, commitment)
    }

    /// The link of this block after `chain_before`; `blob` is [`Self::opening`].
    pub fn chain_link(&self, chain_before: Fr, blob: &Opening) -> ChainLink {
        ChainLink::new(&self.header, chain_before, self.archive.append.root_after, blob)
    }

    /// The messages from L1 that the block appends, without the zeros behind them.
    pub fn message_leaves(&self) -> impl Iterator<Item = &Fr> {
        self.messages.leaves.iter().take_while(|leaf| !leaf.is_zero())
    }

    /// The leaves of each transaction in the tree of messages to L1.
    pub fn out_leaves(&self) -> Vec<[Fr; OUT_LEAVES]> {
        self.txs.iter().map(|tx| tx.effects.out_leaves()).collect()
    }
}

/// A block under construction. Lay it over an [`crate::tree::Overlay`] and drop both to abandon it.
#[derive(Debug)]
pub struct BlockBuilder<S> {
    parent: Header,
    config: Config,
    env: BlockEnv,
    price: FeePerGas,
    timestamp: u64,
    state: WorldState<S>,
    gas_left: Gas,
    total_fees: u128,
    txs: Vec<BlockBody>,
}

impl<S: StateWrite> BlockBuilder<S> {
    /// Starts a block after `parent`, whose state `store` holds. Time and prices follow from the slot, the
    /// parent and the deployment's `config`.
    pub fn new(
        parent: &Header,
        store: S,
        config: &Config,
        env: BlockEnv,
    ) -> Result<Self, BlockError> {
        if env.slot <= parent.slot {
            return Err(BlockError::Slot { parent: parent.slot, got: env.slot });
        }
        let out_of_range = BlockError::SlotRange { got: env.slot };
        let timestamp = config.timestamp(env.slot).ok_or(out_of_range)?;
        if env.messages.len() > MESSAGES_PER_BLOCK || env.messages.iter().any(Zero::is_zero) {
            let (max, got) = (MESSAGES_PER_BLOCK, env.messages.len());
            return Err(BlockError::Messages { max, got });
        }
        if parent.block_number >= Tree::Archive.capacity() - 1 {
            return Err(BlockError::ArchiveFull);
        }
        Ok(Self {
            parent: parent.clone(),
            config: *config,
            price: config.prices_after(parent),
            timestamp,
            state: WorldState::at(store, parent)?,
            gas_left: config.gas_limit(),
            total_fees: 0,
            txs: Vec::new(),
            env,
        })
    }

    /// What the next transaction of this block is given.
    pub fn globals(&self) -> TxGlobals {
        TxGlobals {
            chain_id: self.parent.chain_id,
            version: self.parent.version,
            slot: self.env.slot,
            price: self.price,
            gas_left: self.gas_left,
        }
    }

    /// Number of transactions so far.
    pub fn tx_count(&self) -> usize {
        self.txs.len()
    }

    /// The state so far.
    pub fn state(&self) -> &WorldState<S> {
        &self.state
    }

    /// Adds a transaction, and returns what TxBase needs to know of it.
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] leaves the block as it was; after a storage error drop it.
    pub fn apply(&mut self, tx: &Tx) -> Result<TxTransition, ApplyError> {
        self.check_capacity()?;
        let transition = self.state.apply_tx(tx, &self.globals())?;
        self.push(tx.body.clone(), &transition.effects)?;
        Ok(transition)
    }

    /// Adds a published transaction, whose anchor and proof are not published.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_body(&mut self, body: &BlockBody) -> Result<EffectsTransition, ApplyError> {
        self.check_capacity()?;
        let transition = self.state.apply_body(body, &self.globals())?;
        self.push(body.clone(), &transition)?;
        Ok(transition)
    }

    fn check_capacity(&self) -> Result<(), TxRejection> {
        if self.txs.len() < MAX_TXS_PER_BLOCK {
            Ok(())
        } else {
            Err(TxRejection::BlockFull { max: MAX_TXS_PER_BLOCK })
        }
    }

    fn push(
        &mut self,
        body: BlockBody,
        transition: &EffectsTransition,
    ) -> Result<(), StorageError> {
        let left = self.gas_left.checked_sub(transition.used);
        // The transaction was rejected otherwise.
        self.gas_left = left.ok_or_else(|| StorageError::corrupt("a block's gas was passed"))?;
        // At most 2^5 fees below 2^64: no wrap.
        self.total_fees += u128::from(transition.fee);
        self.txs.push(body);
        Ok(())
    }

    /// Closes the block: appends its messages, computes the header and appends it to the archive. Returns the
    /// block, and the store with everything the block wrote.
    pub fn finish(mut self) -> Result<(Block, S), BlockError> {
        let mut leaves = [Fr::zero(); MESSAGES_PER_BLOCK];
        for (leaf, message) in leaves.iter_mut().zip(&self.env.messages) {
            *leaf = *message;
        }
        let messages = self.state.append_messages(&leaves)?;
        let limit = self.config.gas_limit();
        let used = Gas { l2: limit.l2 - self.gas_left.l2, da: limit.da - self.gas_left.da };
        let out: Vec<_> = self.txs.iter().map(|tx| tx.effects.out_leaves()).collect();
        let header = Header {
            l2_gas_used: used.l2,
            da_gas_used: used.da,
            total_fees: self.total_fees,
            tx_count: self.txs.len() as u64,
            in_hash: in_hash(&self.env.messages),
            out_root: out_root(&out),
            slot: self.env.slot,
            timestamp: self.timestamp,
            coinbase: self.env.coinbase,
            ..header_of(self.parent.chain_id, self.parent.version, self.price, &self.state)
        };
        let header_hash = header.hash();
        let parent_path =
            append::path(&self.state.store, Tree::Archive, 0, self.parent.block_number)?;
        let append = self.state.append_header(header_hash)?;
        let block = Block {
            start: self.parent.state,
            end: header.state,
            header,
            header_hash,
            parent: self.parent,
            txs: self.txs,
            messages,
            archive: ArchiveWitness { parent_path, append },
        };
        Ok((block, self.state.store))
    }
}

/// The header of a block without messages and transactions in slot 0, in `state`, which does not have it yet:
/// genesis, or what the header after the last one of the archive is made of.
pub(crate) fn header_of<S>(
    chain_id: u64,
    version: u64,
    price: FeePerGas,
    state: &WorldState<S>,
) -> Header {
    Header {
        chain_id,
        version,
        block_number: state.archive_count,
        slot: 0,
        timestamp: 0,
        coinbase: EthAddress::default(),
        fee_per_l2_gas: price.l2,
        fee_per_da_gas: price.da,
        l2_gas_used: 0,
        da_gas_used: 0,
        total_fees: 0,
        tx_count: 0,
        last_archive_root: state.archive_root,
        state: state.refs,
        txs_chain: state.txs_chain,
        in_hash: Fr::zero(),
        out_root: Fr::zero(),
    }
}

/// Builds the block of these transactions after `parent`: what a follower computes from L1, where the hash of
/// the header and the root of the archive stand to compare with.
pub fn rebuild<S: StateWrite>(
    parent: &Header,
    store: S,
    config: &Config,
    env: BlockEnv,
    txs: &[BlockBody],
) -> Result<(Block, S), BlockError> {
    let mut builder = BlockBuilder::new(parent, store, config, env)?;
    for (index, body) in txs.iter().enumerate() {
        builder.apply_body(body).map_err(|error| match error {
            ApplyError::Rejected(rejection) => BlockError::Rejected { index, rejection },
            ApplyError::Storage(error) => BlockError::Storage(error),
        })?;
    }
    builder.finish()
}

/// Executes a block with its messages from L1 after `parent`, and checks that it leads to its own header.
pub fn execute<S: StateWrite + StateRead>(
    parent: &Header,
    store: S,
    config: &Config,
    data: &BlockData,
    messages: &[Fr],
) -> Result<(Block, S), BlockError> {
    let env = BlockEnv {
        slot: data.header.slot,
        coinbase: data.header.coinbase,
        messages: messages.to_vec(),
    };
    let (block, store) = rebuild(parent, store, config, env, &data.txs)?;
    require_same_header(&block.header, &data.header)?;
    Ok((block, store))
}

/// Requires that a header of somebody else is the one that was computed here.
///
/// # Errors
/// [`BlockError::Header`] names the first field in which `got` differs.
pub fn require_same_header(expected: &Header, got: &Header) -> Result<(), BlockError> {
    let names = crate::header::HeaderLayout::<Fr>::cell_names();
    for ((name, expected), got) in names.into_iter().zip(expected.to_fields()).zip(got.to_fields())
    {
        if expected != got {
            return Err(BlockError::Header {
                name,
                expected: field::to_hex(&expected),
                got: field::to_hex(&got),
            });
        }
    }
    Ok(())
}
