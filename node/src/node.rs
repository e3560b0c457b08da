//! The node's handle: one store, one pool, and every question one can ask them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollmill_node_client::wire;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::tree::{MemoryStore, Overlay};
use rollmill_protocol::tx::{CLIENT_PROOF_BYTES_MAX, LOG_BYTES, SLOTS};
use rollmill_protocol::version::VersionIds;
use rollmill_protocol::{ClientInputs, Fr, Genesis, Header, Tx, TxEffects, TxGlobals, WorldState};
use rollmill_service::prometheus::{self, Registry};
use tokio::sync::watch;

use crate::archiver::{self, Applied, Retention};
use crate::error::{NodeError, PoolError, QueryError};
use crate::l1_events::{L1Position, L1Update};
use crate::metrics::Gauges;
use crate::pool::{ClientProofVerifier, Pool, PoolLimits};
use crate::store::{
    BlockRecord, BlockWrite, L1Record, Snapshot, StateAt, Store, StoredBlock, Tips, Writer,
};

/// Name of the database in the data directory.
const DATABASE: &str = "node.redb";
/// Bytes of the largest transaction.
const TX_BYTES_MAX: usize =
    1 + 16 + 32 + TxEffects::BYTES + SLOTS * LOG_BYTES + 4 + CLIENT_PROOF_BYTES_MAX;

/// What a node is opened with.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Where the database lies; made when it is not there.
    pub data_dir: PathBuf,
    /// The deployment's first state.
    pub genesis: Genesis,
    /// Versions to tell clients. Chain id and rollup version must be the genesis file's.
    pub versions: VersionIds,
    /// Slots of an epoch, as the contract has it.
    pub slots_per_epoch: u64,
    /// The L1 block of the deployment; events are read from the one after it.
    pub l1_start: L1Position,
    /// Bounds of the pool.
    pub pool: PoolLimits,
    /// States that stay readable behind the pending tip. Clients may anchor in any of them.
    pub state_blocks: u64,
}

/// A block's state, header and what sits on it: what a block is built on.
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
    tips: watch::Sender<wire::Tips>,
    gauges: Gauges,
    /// Held while an update is applied, so that pool and tips follow in the order of commits.
    applying: Mutex<()>,
}

/// A poisoned lock means that a thread died while it held it; what it guards is rebuilt from the
/// database on the next refresh, so going on is safe.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// Opens the database, or makes it with the genesis state, and loads the pool.
    pub fn open(
        settings: NodeSettings,
        verifier: Arc<dyn ClientProofVerifier>,
    ) -> Result<Arc<Self>, NodeError> {
        let path = settings.data_dir.join(DATABASE);
        std::fs::create_dir_all(&settings.data_dir).map_err(|source| NodeError::Open {
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
        let snapshot = Arc::new(store.read()?);
        let mut pool = Pool::load(&snapshot, settings.pool)?;
        pool.refresh(&store, &snapshot, snapshot.tips()?, snapshot.final_proven()?)?;
        let gauges = Gauges::new();
        let tips = wire_tips(&snapshot)?;
        gauges.set_tips(&tips);
        gauges.set_waiting(pool.waiting_count());
        let tips = watch::Sender::new(tips);
        Ok(Arc::new(Self {
            settings,
            genesis,
            store,
            pool: Mutex::new(pool),
            verifier,
            tips,
            gauges,
            applying: Mutex::new(()),
        }))
    }

    /// Shows the node's figures under `rollmill_node_…`.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.gauges.register(registry)
    }

    /// What the node was opened with.
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
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
        let _in_order = lock(&self.applying);
        let retention = Retention { state_blocks: self.settings.state_blocks };
        self.store.write(|tables| {
            let applied = archiver::apply(tables, update, retention)?;
            if applied == Applied::Restart {
                tables.reset_chain()?;
                build_genesis(tables, &self.settings, true)?;
            }
            Ok(())
        })?;
        let snapshot = self.snapshot()?;
        let (tips, final_proven) = (snapshot.tips()?, snapshot.final_proven()?);
        let mut pool = lock(&self.pool);
        pool.refresh(&self.store, &snapshot, tips, final_proven)?;
        self.gauges.set_waiting(pool.waiting_count());
        drop(pool);
        let tips = wire_tips(&snapshot)?;
        self.gauges.set_tips(&tips);
        self.tips.send_replace(tips);
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<Snapshot>, NodeError> {
        self.store.read().map(Arc::new)
    }

    /// Where the node stands.
    pub fn tips(&self) -> wire::Tips {
        self.tips.borrow().clone()
    }

    /// Tips as a value that can be waited on.
    pub fn watch_tips(&self) -> watch::Receiver<wire::Tips> {
        self.tips.subscribe()
    }

    /// Versions to tell clients.
    pub fn versions(&self) -> wire::Versions {
        wire::Versions {
            ids: self.settings.versions.clone(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            slots_per_epoch: self.settings.slots_per_epoch,
            genesis_header_hash: self.genesis.header.hash(),
        }
    }

    /// What is kept of a block; `None` when the chain has no such block.
    pub fn block_record(&self, block: wire::BlockRef) -> Result<Option<BlockRecord>, NodeError> {
        let tables = self.store.read()?;
        let number = match block {
            wire::BlockRef::Number(number) => Some(number),
            wire::BlockRef::Hash(hash) => tables.block_number(&hash)?,
            wire::BlockRef::Pending => Some(tables.tips()?.pending),
            wire::BlockRef::Proven => Some(tables.tips()?.proven),
        };
        number.map_or(Ok(None), |number| tables.block_record(number))
    }

    /// A block with its transactions; `None` when the chain has no such block.
    pub fn block(&self, number: u64) -> Result<Option<StoredBlock>, NodeError> {
        self.store.read()?.stored_block(number)
    }

    /// The state after a block, to read or to build on; it stays as it is while the chain goes on.
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

    /// Takes a transaction into the pool: decodes it, asks the state, the other transactions and the
    /// verifier, in the order of cost, and keeps it on disk. A transaction that is there already is
    /// taken again without a question.
    pub fn submit(&self, bytes: &[u8]) -> Result<Fr, PoolError> {
        if bytes.len() > TX_BYTES_MAX {
            return Err(PoolError::TooLarge { max: TX_BYTES_MAX, got: bytes.len() });
        }
        let tx = Tx::from_bytes(bytes)?;
        let tx_hash = tx.hash();
        if lock(&self.pool).contains(&tx_hash) {
            return Ok(tx_hash);
        }
        let tables = self.snapshot()?;
        let tip = tables.expect_block(tables.tips()?.pending)?.header;
        let state = StateAt::new(tables, tip.block_number);
        let state = WorldState::at(state, &tip).map_err(NodeError::from)?;
        let price = tip.fee_per_gas();
        let globals = TxGlobals { chain_id: tip.chain_id, version: tip.version, price };
        state.check_tx(&tx, &globals)?;
        let balance = state.fee_balance(&tx.effects.fee_payer)?;
        lock(&self.pool).check(&tx, balance, price)?;

        // Without the lock: it takes long, and others may be admitted meanwhile.
        self.verifier
            .verify(&ClientInputs::of(&tx), &tx.client_proof)
            .map_err(|refused| PoolError::Proof { reason: refused.reason })?;

        let mut pool = lock(&self.pool);
        if pool.contains(&tx_hash) {
            return Ok(tx_hash);
        }
        pool.check(&tx, balance, price)?;
        pool.insert(&self.store, tx_hash, tx, tip.block_number)?;
        self.gauges.set_waiting(pool.waiting_count());
        Ok(tx_hash)
    }

    /// Up to `limit` transactions that wait for a block, in the order of arrival. A builder must
    /// still ask of each whether it can follow the ones before it.
    pub fn pending_txs(&self, limit: usize) -> Vec<Arc<Tx>> {
        lock(&self.pool).waiting(limit)
    }

    /// Number of transactions that wait for a block.
    pub fn pending_count(&self) -> usize {
        lock(&self.pool).waiting_count()
    }

    /// A transaction with its client proof, as long as the pool keeps it.
    pub fn transaction(&self, tx_hash: &Fr) -> Option<Arc<Tx>> {
        lock(&self.pool).get(tx_hash)
    }

    /// Takes a transaction of a block on the chain together with its client proof, which this node
    /// did not have: a prover node keeps and serves what it fetched from others.
    pub fn keep_included(&self, tx: Tx) -> Result<(), PoolError> {
        let tx_hash = tx.hash();
        let tables = self.snapshot()?;
        let Some((block, _)) = tables.tx_place(&tx_hash)? else {
            return Err(PoolError::Proof { reason: "it is in no block of the chain".to_owned() });
        };
        self.verifier
            .verify(&ClientInputs::of(&tx), &tx.client_proof)
            .map_err(|refused| PoolError::Proof { reason: refused.reason })?;
        let mut pool = lock(&self.pool);
        if !pool.contains(&tx_hash) {
            pool.insert(&self.store, tx_hash, tx, block)?;
            let final_proven = tables.final_proven()?;
            pool.refresh(&self.store, &tables, tables.tips()?, final_proven)?;
        }
        Ok(())
    }

    /// What became of a transaction.
    pub fn transaction_status(&self, tx_hash: &Fr) -> Result<wire::TxStatus, NodeError> {
        let tables = self.store.read()?;
        if let Some((block_number, index)) = tables.tx_place(tx_hash)? {
            return Ok(if block_number <= tables.tips()?.proven {
                wire::TxStatus::Proven { block_number, index }
            } else {
                wire::TxStatus::Included { block_number, index }
            });
        }
        let pool = lock(&self.pool);
        if pool.is_waiting(tx_hash) {
            return Ok(wire::TxStatus::Pending);
        }
        Ok(match pool.dropped(tx_hash) {
            Some(reason) => wire::TxStatus::Dropped { reason },
            None => wire::TxStatus::Unknown,
        })
    }

    /// True when a transaction in the pool publishes this nullifier.
    pub(crate) fn pool_publishes(&self, nullifier: &Fr) -> bool {
        lock(&self.pool).publishes(nullifier)
    }

    /// The database as it is now, for questions that read several tables.
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
            data_hash: Fr::from(0u64),
            l1_block: settings.l1_start.number,
        };
        let changes = built.state.store.changes();
        tables.put_block(&BlockWrite { record: &record, txs: &[], changes })?;
        let tips = Tips { pending: 0, proven: 0 };
        tables.set_tips(tips)?;
        tables.put_l1(&L1Record { position: settings.l1_start, tips, low: 0 })?;
    }
    Ok(Deployment { header: built.header, archive_root })
}

fn wire_tips(tables: &Snapshot) -> Result<wire::Tips, NodeError> {
    let tip = |number| -> Result<wire::Tip, NodeError> {
        let record = tables.expect_block(number)?;
        Ok(wire::Tip {
            block_number: number,
            header_hash: record.header_hash,
            slot: record.header.slot,
        })
    };
    let tips = tables.tips()?;
    Ok(wire::Tips {
        pending: tip(tips.pending)?,
        proven: tip(tips.proven)?,
        l1_block: tables.l1_head()?.position.number,
        refused: tables.refused()?,
    })
}
