//! The node's handle: one store, one pool, and every query of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rollmill_node_client::wire;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::tree::{MemoryStore, Overlay};
use rollmill_protocol::version::{PROTOCOL_VERSION, VersionIds};
use rollmill_protocol::{
    ClientInputs, Commitment, Config, Fr, Genesis, Header, Tx, TxGlobals, WorldState,
};
use rollmill_service::prometheus::{self, Registry};
use tokio::sync::watch;

use crate::archiver::{self, Applied, Retention};
use crate::error::{NodeError, PoolError, QueryError};
use crate::l1_events::{L1Position, L1Update};
use crate::metrics::Gauges;
use crate::pool::{self, Candidate, ChainView, ClientProofVerifier, Pool, PoolLimits, included_tx};
use crate::rejected::RejectedProofs;
use crate::store::{
    BlockRecord, BlockWrite, L1Record, Snapshot, StateAt, Store, StoredBlock, Tips, Writer,
};

/// Name of the database in the data directory.
const DATABASE: &str = "node.redb";
/// Settings of a node.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Directory of the database; created if missing.
    pub data_dir: PathBuf,
    /// The deployment: its contract, keys and parameters, and its first state.
    pub genesis: Genesis,
    /// The L1 block of the deployment; events are read from the one after it.
    pub l1_start: L1Position,
    /// Limits of the pool.
    pub pool: PoolLimits,
    /// States that stay readable behind the pending tip. Clients may anchor in any of them.
    pub state_blocks: u64,
}

/// A block's state, header and prices: what the next block is built on.
#[derive(Debug)]
struct Deployment {
    header: Header,
    archive_root: Fr,
}

/// The node. Share it in an [`Arc`].
#[derive(Debug)]
pub struct Node {
    settings: NodeSettings,
    genesis: Deployment,
    store: Store,
    pool: Mutex<Pool>,
    verifier: Arc<dyn ClientProofVerifier>,
    rejected_proofs: Mutex<RejectedProofs>,
    tips: watch::Sender<wire::Tips>,
    gauges: Gauges,
    /// See [`Node::data_missing`].
    data_missing: Mutex<Option<u64>>,
    /// Locked while an update is applied, so that pool and tips follow in the order of commits.
    applying: Mutex<()>,
}

/// The result of checking a transaction without its proof.
#[derive(Debug)]
pub(crate) enum Considered {
    /// The pool has it already.
    Known(Fr),
    /// Its proof decides.
    New(Box<Candidate>),
}

impl Node {
    /// Opens the database, or creates it with the genesis state, and loads the pool.
    pub fn open(
        settings: NodeSettings,
        verifier: Arc<dyn ClientProofVerifier>,
    ) -> Result<Arc<Self>, NodeError> {
        let path = settings.data_dir.join(DATABASE);
        rollmill_files::make_folder(&settings.data_dir).map_err(|source| NodeError::Open {
            path: settings.data_dir.clone(),
            source: source.into(),
        })?;
        let store = Store::open(&path)?;
        let genesis = store.write(|tables| {
            let is_new = tables.l1_record(u64::MAX)?.is_none();
            let genesis = build_genesis(tables, &settings, is_new)?;
            let found = tables.expect_block(0)?.header_hash;
            let expected = genesis.header.hash();
            let start = tables.l1_record(tables.l1_records_start()?)?;
            if found != expected || start.map(|start| start.position) != Some(settings.l1_start) {
                return Err(NodeError::OtherDeployment {
                    path: path.clone(),
                    expected: describe(&expected, Some(settings.l1_start)),
                    got: describe(&found, start.map(|start| start.position)),
                });
            }
            Ok(genesis)
        })?;
        let mut pool = Pool::load(&store, settings.pool)?;
        let chain = chain_view(&Arc::new(store.read()?), &settings.genesis.config)?;
        // As after a rewind: what happened since the pool was last refreshed is not known.
        pool.refresh(&store, &chain, true)?;
        let gauges = Gauges::create(&[]);
        let tips = wire_tips(&chain, pool.verified(&chain))?;
        gauges.set_tips(&tips, chain.tables.l1_head()?.time);
        gauges.set_pool(&pool.counts());
        let tips = watch::Sender::new(tips);
        Ok(Arc::new(Self {
            settings,
            genesis,
            store,
            pool: Mutex::new(pool),
            verifier,
            rejected_proofs: Mutex::default(),
            tips,
            gauges,
            data_missing: Mutex::default(),
            applying: Mutex::new(()),
        }))
    }

    /// Shows the node's figures under `rollmill_node_…`.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.gauges.register(registry)
    }

    /// The settings that the node was opened with.
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// The deployment's parameters.
    pub fn config(&self) -> &Config {
        &self.settings.genesis.config
    }

    /// Header of block 0.
    pub fn genesis_header(&self) -> &Header {
        &self.genesis.header
    }

    /// Archive root after block 0: what the contract must have been deployed with.
    pub fn genesis_archive_root(&self) -> Fr {
        self.genesis.archive_root
    }

    /// L1 positions that were followed, newest first, the deployment's last.
    pub fn known_positions(&self) -> Result<Vec<L1Position>, NodeError> {
        self.store.read()?.known_positions()
    }

    /// Applies one update from L1 in one commit, then brings pool and tips in line.
    pub fn apply(&self, update: &L1Update) -> Result<(), NodeError> {
        let _in_order = self.applying.lock();
        let retention = Retention { state_blocks: self.settings.state_blocks };
        let undone = match update {
            L1Update::Extend { .. } => None,
            L1Update::Rewind { to } => {
                let head = self.store.read()?.l1_head()?.position.number;
                Some(head.saturating_sub(to.number))
            }
        };
        let applied = self.store.write(|tables| {
            let applied = archiver::apply(tables, update, self.config(), retention)?;
            if applied == Applied::Restart {
                tables.reset_chain()?;
                build_genesis(tables, &self.settings, true)?;
            }
            Ok(applied)
        })?;
        rollmill_service::failpoint!(blocking "node.update_committed");
        if let Some(blocks) = undone {
            self.gauges.count_reorg(blocks);
        }
        let chain = self.chain()?;
        let mut pool = self.pool.lock();
        pool.refresh(&self.store, &chain, applied != Applied::Forward)?;
        self.show(&pool, &chain)
    }

    /// Records which block waits for its data; `None` once the node has followed L1 to its head.
    pub(crate) fn wait_for_data(&self, block: Option<u64>) {
        self.gauges.set_data_missing(block);
        *self.data_missing.lock() = block;
    }

    /// Number of the block on L1 whose data no source had. It stays until the node has followed L1 to its head, past that
    /// block or its prune: the pending tip is behind that of L1 for so long, so no block that is built on it can be
    /// proposed.
    pub fn data_missing(&self) -> Option<u64> {
        *self.data_missing.lock()
    }

    /// Call it when L1 has nothing newer than what was followed: waiting transactions age by L1's
    /// time.
    pub(crate) fn caught_up(&self) -> Result<(), NodeError> {
        let _in_order = self.applying.lock();
        let tables = self.store.read()?;
        let (now, final_l1) = (tables.l1_head()?.time, tables.final_l1()?);
        let tip = tables.expect_block(tables.tips()?.pending)?.header;
        let slot = next_slot(self.config(), &tip, now);
        let mut pool = self.pool.lock();
        if pool.time() != Some(now) {
            pool.expire(&self.store, now, slot, final_l1)?;
            self.gauges.set_pool(&pool.counts());
        }
        Ok(())
    }

    /// Brings tips and figures in line with the pool and the chain.
    fn show(&self, pool: &Pool, chain: &ChainView) -> Result<(), NodeError> {
        self.gauges.set_pool(&pool.counts());
        let tips = wire_tips(chain, pool.verified(chain))?;
        self.gauges.set_tips(&tips, chain.tables.l1_head()?.time);
        self.tips.send_replace(tips);
        Ok(())
    }

    fn chain(&self) -> Result<ChainView, NodeError> {
        chain_view(&self.snapshot()?, self.config())
    }

    fn snapshot(&self) -> Result<Arc<Snapshot>, NodeError> {
        self.store.read().map(Arc::new)
    }

    /// The tips of the node.
    pub fn tips(&self) -> wire::Tips {
        self.tips.borrow().clone()
    }

    /// Tips as a value that can be waited on.
    pub fn watch_tips(&self) -> watch::Receiver<wire::Tips> {
        self.tips.subscribe()
    }

    /// Versions to report to clients.
    pub fn versions(&self) -> wire::Versions {
        wire::Versions {
            ids: VersionIds {
                chain_id: self.genesis.header.chain_id,
                rollup_version: self.genesis.header.version,
                protocol_version: PROTOCOL_VERSION,
                vk_root: self.settings.genesis.vk_root,
            },
            software: env!("CARGO_PKG_VERSION").to_owned(),
            slots_per_epoch: self.config().slots_per_epoch,
            genesis_header_hash: self.genesis.header.hash(),
        }
    }

    /// The stored record of a block; `None` when the chain has no such block.
    pub fn block_record(&self, block: wire::BlockRef) -> Result<Option<BlockRecord>, NodeError> {
        let tables = self.store.read()?;
        let number = match block {
            wire::BlockRef::Number(number) => Some(number),
            wire::BlockRef::Hash(hash) => tables.block_number(&hash)?,
            wire::BlockRef::Pending => Some(tables.tips()?.pending),
            wire::BlockRef::Proven => Some(tables.tips()?.proven),
            wire::BlockRef::Finalized => Some(tables.final_proven()?),
        };
        number.map_or(Ok(None), |number| tables.block_record(number))
    }

    /// A block with its transactions; `None` when the chain has no such block.
    pub fn block(&self, number: u64) -> Result<Option<StoredBlock>, NodeError> {
        self.store.read()?.stored_block(number)
    }

    /// The state after a block, to read or to build on; it does not change when the chain grows.
    pub fn state_at(&self, block: u64) -> Result<StateAt, QueryError> {
        let tables = self.snapshot()?;
        let (oldest, tips) = (tables.history_start()?, tables.tips()?);
        if block > tips.pending {
            return Err(QueryError::UnknownBlock { block: block.to_string() });
        }
        if block < oldest {
            return Err(QueryError::StateGone { block, oldest });
        }
        Ok(StateAt::new(tables, block))
    }

    /// Adds a transaction to the pool: runs the cheap checks, verifies its proof and stores it. A
    /// transaction that is in the pool already is accepted again without checks.
    pub fn submit(&self, bytes: &[u8]) -> Result<Fr, PoolError> {
        match self.consider(bytes)? {
            Considered::Known(tx_hash) => Ok(tx_hash),
            Considered::New(candidate) => self.admit(*candidate),
        }
    }

    /// Checks a transaction except its proof: its form, the state, the other transactions.
    pub(crate) fn consider(&self, bytes: &[u8]) -> Result<Considered, PoolError> {
        if bytes.len() > Tx::BYTES_MAX {
            return Err(PoolError::TooLarge { max: Tx::BYTES_MAX, got: bytes.len() });
        }
        let tx = Tx::from_bytes(bytes)?;
        let tx_hash = tx.hash();
        if self.pool.lock().contains(&tx_hash) {
            return Ok(Considered::Known(tx_hash));
        }
        if let Some(reason) = self.rejected_proofs.lock().reason(bytes) {
            return Err(PoolError::Proof { reason });
        }
        let chain = self.chain()?;
        let tip = chain.tables.expect_block(chain.pending)?.header;
        let state = StateAt::new(Arc::clone(&chain.tables), chain.pending);
        let state = WorldState::at(state, &tip).map_err(NodeError::from)?;
        state.check_tx(&tx, &self.least_globals(&chain, &tip))?;
        let balance = pool::balance(&state, &tx.effects().fee_payer)?;
        let candidate = Candidate::new(tx, tx_hash, bytes.len(), balance);
        self.pool.lock().check(&candidate, chain.price)?;
        Ok(Considered::New(Box::new(candidate)))
    }

    /// What the next block gives a transaction, at the lowest prices: one that today's prices exclude waits until
    /// they fall.
    fn least_globals(&self, chain: &ChainView, tip: &Header) -> TxGlobals {
        TxGlobals {
            chain_id: tip.chain_id,
            version: tip.version,
            slot: chain.next_slot,
            price: chain.least_price,
            gas_left: self.config().gas_limit(),
        }
    }

    /// The inputs that the client proof of a transaction must have.
    fn client_inputs(&self, tx: &Tx) -> ClientInputs {
        ClientInputs::of(tx, self.settings.genesis.vk_root)
    }

    /// Verifies the proof of a transaction under the key of its kind, whatever state the transaction is in.
    ///
    /// # Errors
    /// [`PoolError::Proof`]
    pub fn verify_proof(&self, tx: &Tx) -> Result<(), PoolError> {
        self.verifier
            .verify(tx.proof_kind, &self.client_inputs(tx), &tx.client_proof)
            .map_err(|rejected| PoolError::Proof { reason: rejected.reason })
    }

    /// Unix time of the last L1 block that was followed.
    pub fn l1_time(&self) -> Result<u64, NodeError> {
        Ok(self.store.read()?.l1_head()?.time)
    }

    /// Verifies the proof of a transaction and adds it to the pool.
    pub(crate) fn admit(&self, candidate: Candidate) -> Result<Fr, PoolError> {
        let (tx_hash, tx) = (candidate.tx_hash, &candidate.tx);
        // Without the pool's lock: it takes long, and others may be admitted meanwhile.
        if let Err(error) = self.verify_proof(tx) {
            if let PoolError::Proof { reason } = &error {
                self.rejected_proofs.lock().insert(&tx.to_bytes(), reason.clone());
            }
            return Err(error);
        }
        // So that no update comes between this read of the chain and the pool's.
        let _in_order = self.applying.lock();
        let chain = self.chain()?;
        let state = StateAt::new(Arc::clone(&chain.tables), chain.pending);
        let tip = chain.tables.expect_block(chain.pending)?.header;
        let state = WorldState::at(state, &tip).map_err(NodeError::from)?;
        let mut pool = self.pool.lock();
        if pool.contains(&tx_hash) {
            return Ok(tx_hash);
        }
        state.check_tx(tx, &self.least_globals(&chain, &tip))?;
        let balance = pool::balance(&state, &tx.effects().fee_payer)?;
        pool.insert(&self.store, Candidate { balance, ..candidate }, &chain)?;
        self.gauges.set_pool(&pool.counts());
        Ok(tx_hash)
    }

    /// All transactions that can be part of the next block at [`Self::next_price`], best offer
    /// first. A builder must still ask of each whether it can follow the ones before it.
    pub fn ready_txs(&self) -> Vec<Arc<Tx>> {
        self.pool.lock().ready()
    }

    /// Number of transactions that can be part of the next block.
    pub fn ready_count(&self) -> usize {
        self.pool.lock().ready_count()
    }

    /// True when no transaction can be part of the next block and some could at lower prices: an
    /// empty block lowers them.
    pub fn is_priced_out(&self) -> Result<bool, NodeError> {
        let (price, least) = (self.next_price()?, least_price(self.config()));
        let pool = self.pool.lock();
        Ok(pool.ready_count() == 0 && price != least && pool.is_priced_out(least))
    }

    /// Prices of the next block.
    pub fn next_price(&self) -> Result<FeePerGas, NodeError> {
        let tables = self.store.read()?;
        Ok(self.config().prices_after(&tables.expect_block(tables.tips()?.pending)?.header))
    }

    /// Leaves of the messages from L1 that a block appends, in order, as far as they were followed. When the
    /// block before it was proposed, no further one comes.
    pub fn messages(&self, block: u64) -> Result<Vec<Fr>, NodeError> {
        self.store.read()?.message_leaves(block)
    }

    /// The block that appends the newest message from L1, as far as messages were followed; `None` if there is none.
    pub fn last_message_block(&self) -> Result<Option<u64>, NodeError> {
        self.store.read()?.last_message_block()
    }

    /// A transaction with its client proof, as long as the pool keeps it.
    pub fn transaction(&self, tx_hash: &Fr) -> Result<Option<Arc<Tx>>, NodeError> {
        if let Some(tx) = self.pool.lock().waiting(tx_hash) {
            return Ok(Some(tx));
        }
        // From the disk, and without the lock: a prover of an epoch asks for many.
        let record = self.store.read()?.included_entry(tx_hash)?;
        record.map(|bytes| included_tx(&bytes)).transpose()
    }

    /// Transactions of unproven blocks whose client proofs this node does not have, by block.
    pub fn missing_proofs(&self) -> BTreeMap<u64, Vec<Fr>> {
        self.pool.lock().missing()
    }

    /// Stores a transaction of a block on the chain with its client proof, which this node did not
    /// have: a node keeps and serves what it fetched from others.
    pub fn keep_included(&self, tx: Tx) -> Result<(), PoolError> {
        let not_there = |reason: &str| PoolError::Proof { reason: reason.to_owned() };
        let tx_hash = tx.hash();
        let check = |chain: &ChainView| -> Result<u64, PoolError> {
            let place = chain.tables.tx_place(&tx_hash)?;
            let (block, _) = place.ok_or_else(|| not_there("it is in no block of the chain"))?;
            let anchor = chain.tables.block_number(&tx.anchor_header_hash)?;
            match anchor.is_some_and(|anchor| anchor < block) {
                true => Ok(block),
                false => Err(not_there("its anchor is no header before its block")),
            }
        };
        let chain = self.chain()?;
        check(&chain)?;
        let ids = &chain.tables.expect_block(chain.pending)?.header;
        if (tx.chain_id, tx.version) != (ids.chain_id, ids.version) {
            return Err(not_there("it is of another deployment"));
        }
        self.verify_proof(&tx)?;
        let _in_order = self.applying.lock();
        let chain = self.chain()?;
        let block = check(&chain)?;
        let mut pool = self.pool.lock();
        if !pool.contains(&tx_hash) && block > chain.final_proven {
            pool.keep_included(&self.store, tx_hash, tx, block)?;
            self.show(&pool, &chain)?;
        }
        Ok(())
    }

    /// The status of a transaction.
    pub fn transaction_status(&self, tx_hash: &Fr) -> Result<wire::TxStatus, NodeError> {
        let tables = self.store.read()?;
        if let Some((block_number, index)) = tables.tx_place(tx_hash)? {
            return Ok(if block_number <= tables.tips()?.proven {
                wire::TxStatus::Proven { block_number, index }
            } else {
                wire::TxStatus::Included { block_number, index }
            });
        }
        let pool = self.pool.lock();
        if let Some(parked) = pool.waiting_state(tx_hash) {
            return Ok(wire::TxStatus::Pending { parked: parked.map(str::to_owned) });
        }
        Ok(match pool.dropped(tx_hash) {
            Some(reason) => wire::TxStatus::Dropped { reason },
            None => wire::TxStatus::Unknown,
        })
    }

    /// True when a transaction in the pool publishes this nullifier.
    pub(crate) fn pool_publishes(&self, nullifier: &Fr) -> bool {
        self.pool.lock().publishes(nullifier)
    }

    /// The database as it is now, for queries that read several tables.
    pub(crate) fn view(&self) -> Result<Arc<Snapshot>, NodeError> {
        self.snapshot()
    }
}

fn describe(header_hash: &Fr, start: Option<L1Position>) -> String {
    let number = start.map_or(0, |start| start.number);
    format!("{} deployed in L1 block {number}", to_hex(header_hash))
}

/// Builds the genesis state and, in an empty database, writes it.
fn build_genesis(
    tables: &mut Writer<'_>,
    settings: &NodeSettings,
    write: bool,
) -> Result<Deployment, NodeError> {
    let built = settings.genesis.build(Overlay::new(MemoryStore::new()))?;
    let archive_root = built.state.archive_root;
    if write {
        let record = BlockRecord {
            header_hash: built.header.hash(),
            header: built.header.clone(),
            archive_root,
            chain: Fr::from(0u64),
            commitment: Commitment::default(),
            l1_block: settings.l1_start.number,
        };
        let changes = built.state.store.changes();
        tables.put_block(&BlockWrite { record: &record, txs: &[], changes })?;
        let tips = Tips { pending: 0, proven: 0 };
        tables.set_tips(tips)?;
        let (position, time) = (settings.l1_start, settings.genesis.config.genesis_time);
        let has_rejected = false;
        tables.put_l1(&L1Record { position, tips, low: 0, has_rejected, time, finalized: None })?;
    }
    Ok(Deployment { header: built.header, archive_root })
}

/// The lowest prices of a block.
fn least_price(config: &Config) -> FeePerGas {
    FeePerGas { l2: config.min_fee_per_gas, da: config.min_fee_per_gas }
}

/// The first slot that the block after `tip` may have, at a time of L1.
fn next_slot(config: &Config, tip: &Header, l1_time: u64) -> u64 {
    config.slot_at(l1_time).max(tip.slot.saturating_add(1))
}

fn chain_view(tables: &Arc<Snapshot>, config: &Config) -> Result<ChainView, NodeError> {
    let tips = tables.tips()?;
    let record = tables.expect_block(tips.pending)?;
    let head = tables.l1_head()?;
    Ok(ChainView {
        tables: Arc::clone(tables),
        pending: tips.pending,
        pending_hash: record.header_hash,
        proven: tips.proven,
        final_proven: tables.final_proven()?.min(tips.proven),
        l1_block: head.position.number,
        next_slot: next_slot(config, &record.header, head.time),
        price: config.prices_after(&record.header),
        least_price: least_price(config),
    })
}

fn wire_tips(chain: &ChainView, verified: u64) -> Result<wire::Tips, NodeError> {
    let tables = &chain.tables;
    let tip = |number| -> Result<wire::Tip, NodeError> {
        let record = tables.expect_block(number)?;
        Ok(wire::Tip {
            block_number: number,
            header_hash: record.header_hash,
            slot: record.header.slot,
        })
    };
    Ok(wire::Tips {
        pending: tip(chain.pending)?,
        verified: tip(verified)?,
        proven: tip(chain.proven)?,
        finalized: tip(chain.final_proven)?,
        l1_block: tables.l1_head()?.position.number,
        rejected: tables.rejected()?,
    })
}
