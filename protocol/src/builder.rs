//! Blocks: built from transactions by a proposer, rebuilt from published data by everyone else.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use crate::block::{BlockBody, BlockData, ChainLink, data_hash};
use crate::field::{self, EthAddress};
use crate::gas::{FeePerGas, MAX_TXS_PER_BLOCK};
use crate::header::{Header, StateRefs};
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
    /// The block's timestamp is not above its parent's.
    ///
    /// Do: Nothing: the block is invalid. A proposer checks its clock.
    #[error("{code}: timestamp {got} does not follow the parent's {parent}", code = self.code())]
    Timestamp { parent: u64, got: u64 },
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

rollmill_errors::coded! {
    BlockError {
        Self::Slot { .. } => "PRO-050",
        Self::Timestamp { .. } => "PRO-051",
        Self::ArchiveFull => "PRO-052",
        Self::Rejected { .. } => "PRO-053",
        Self::Header { .. } => "PRO-054",
        Self::Storage(error) => (error),
    }
}

/// What a proposer decides about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEnv {
    pub slot: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    pub coinbase: EthAddress,
    pub price: FeePerGas,
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
    pub archive: ArchiveWitness,
}

impl Block {
    /// What is published.
    pub fn data(&self) -> BlockData {
        BlockData { header: self.header.clone(), txs: self.txs.clone() }
    }

    /// The link of this block after `chain_prev`.
    pub fn chain_link(&self, chain_prev: Fr) -> ChainLink {
        let data_hash = data_hash(&self.data().to_bytes());
        ChainLink::new(&self.header, chain_prev, data_hash, self.archive.append.root_after)
    }
}

/// A block under construction. Lay it over an [`crate::tree::Overlay`] and drop both to abandon it.
#[derive(Debug)]
pub struct BlockBuilder<S> {
    parent: Header,
    env: BlockEnv,
    state: WorldState<S>,
    total_fees: u128,
    txs: Vec<BlockBody>,
}

impl<S: StateWrite> BlockBuilder<S> {
    /// Starts a block after `parent`, whose state `store` holds.
    pub fn new(parent: &Header, store: S, env: BlockEnv) -> Result<Self, BlockError> {
        if env.slot <= parent.slot {
            return Err(BlockError::Slot { parent: parent.slot, got: env.slot });
        }
        if env.timestamp <= parent.timestamp {
            return Err(BlockError::Timestamp { parent: parent.timestamp, got: env.timestamp });
        }
        if parent.block_number >= Tree::Archive.capacity() - 1 {
            return Err(BlockError::ArchiveFull);
        }
        Ok(Self {
            parent: parent.clone(),
            env,
            state: WorldState::at(store, parent)?,
            total_fees: 0,
            txs: Vec::new(),
        })
    }

    /// What every transaction of this block is given.
    pub fn globals(&self) -> TxGlobals {
        TxGlobals {
            chain_id: self.parent.chain_id,
            version: self.parent.version,
            price: self.env.price,
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
        self.push(tx.effects.clone(), tx.logs.clone(), &transition.effects);
        Ok(transition)
    }

    /// Adds a published transaction, whose anchor and proof are not published.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_body(&mut self, body: &BlockBody) -> Result<EffectsTransition, ApplyError> {
        self.check_capacity()?;
        body.effects.check_logs(&body.logs).map_err(TxRejection::Malformed)?;
        let transition = self.state.apply_effects(&body.effects, self.env.price)?;
        self.push(body.effects.clone(), body.logs.clone(), &transition);
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
        effects: crate::tx::TxEffects,
        logs: Vec<Vec<u8>>,
        transition: &EffectsTransition,
    ) {
        // At most 2^5 fees below 2^64: no wrap.
        self.total_fees += u128::from(transition.fee);
        self.txs.push(BlockBody { effects, logs });
    }

    /// Closes the block: computes the header and appends it to the archive. Returns the block, and the
    /// store with everything the block wrote.
    pub fn finish(mut self) -> Result<(Block, S), BlockError> {
        let (chain_id, version) = (self.parent.chain_id, self.parent.version);
        let fees = (self.total_fees, self.txs.len() as u64);
        let header = header_of(chain_id, version, &self.env, &self.state, fees);
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
            archive: ArchiveWitness { parent_path, append },
        };
        Ok((block, self.state.store))
    }
}

/// The header of a block in `state`, which is not in the archive yet: genesis, or the block after the last
/// one of the archive. `fees` are the sum of the transactions' fees and their number.
pub(crate) fn header_of<S>(
    chain_id: u64,
    version: u64,
    env: &BlockEnv,
    state: &WorldState<S>,
    (total_fees, tx_count): (u128, u64),
) -> Header {
    Header {
        chain_id,
        version,
        block_number: state.archive_count,
        slot: env.slot,
        timestamp: env.timestamp,
        coinbase: env.coinbase,
        fee_per_l2_gas: env.price.l2,
        fee_per_da_gas: env.price.da,
        total_fees,
        tx_count,
        last_archive_root: state.archive_root,
        state: state.refs,
        txs_chain: state.txs_chain,
        in_hash: Fr::zero(),
        out_hash: Fr::zero(),
    }
}

/// Executes a published block after `parent` and checks that it leads to its own header.
pub fn execute<S: StateWrite + StateRead>(
    parent: &Header,
    store: S,
    data: &BlockData,
) -> Result<(Block, S), BlockError> {
    let env = BlockEnv {
        slot: data.header.slot,
        timestamp: data.header.timestamp,
        coinbase: data.header.coinbase,
        price: data.header.fee_per_gas(),
    };
    let mut builder = BlockBuilder::new(parent, store, env)?;
    for (index, body) in data.txs.iter().enumerate() {
        builder.apply_body(body).map_err(|error| match error {
            ApplyError::Rejected(rejection) => BlockError::Rejected { index, rejection },
            ApplyError::Storage(error) => BlockError::Storage(error),
        })?;
    }
    let (block, store) = builder.finish()?;
    check_same_header(&block.header, &data.header)?;
    Ok((block, store))
}

/// Names the first field in which `got` differs.
fn check_same_header(expected: &Header, got: &Header) -> Result<(), BlockError> {
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
