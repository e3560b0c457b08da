//! A chain in memory that follows every rule of a block except for the client proofs, and a node that
//! serves it. Both the wallet's own tests and those of its program use it.
#![allow(dead_code, reason = "each of the two users calls another part")]

pub(crate) mod lies;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rollmill_node_client::wire::{
    BlockEffects, BlockRef, DepositInfo, ErrorData, Field, HeaderInfo, HexBytes, MessagePath,
    PublicData, Request, Response, RpcError, Tip, Tips, TxStatus, Versions, method,
};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::genesis::{GENESIS_FORMAT, GenesisBalance, GenesisNote};
use rollmill_protocol::message::{Inbox, deposit_leaf};
use rollmill_protocol::tree::{IndexedTree, MemoryStore, StateRead, Tree, append, indexed};
use rollmill_protocol::version::{PROTOCOL_VERSION, VersionIds};
use rollmill_protocol::{
    BlockBody, BlockBuilder, BlockData, BlockEnv, Config, EthAddress, Fr, Genesis, Header, Tx,
    TxRejection,
};
use rollmill_service::Shutdown;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use self::lies::Lie;
use super::leaks;

/// The fee of a transaction at the least price, 1 a unit of gas, which blocks of up to two transactions
/// keep.
pub(crate) const FEE: u64 = 102_000;
/// The maximum that a wallet allows then.
pub(crate) const FEE_MAX: u64 = 4 * FEE;
/// A public balance that pays for transactions which no wallet made.
pub(crate) const SPONSOR: u64 = 5;

pub(crate) const CONFIG: Config = Config {
    genesis_time: 1_000,
    slot_seconds: 12,
    slots_per_epoch: 8,
    l2_gas_limit: 3_200_000,
    l2_gas_target: 200_000,
    da_gas_limit: 64_000,
    da_gas_target: 4_000,
    min_fee_per_gas: 1,
    message_subtree_height: 6,
};

/// The chain, with the state after each block.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) genesis: Genesis,
    headers: Vec<Header>,
    blocks: Vec<BlockData>,
    states: Vec<MemoryStore>,
    inbox: Inbox,
    deposits: Vec<(Fr, DepositInfo)>,
}

impl Ledger {
    /// A chain whose genesis has these notes, balances and price.
    pub(crate) fn new(
        notes: Vec<GenesisNote>,
        balances: &[(Fr, u64)],
        price: u64,
        vk_root: Fr,
    ) -> Self {
        let sponsor = [(Fr::from(SPONSOR), 1 << 60)];
        let balances = balances.iter().chain(&sponsor);
        let genesis = Genesis {
            format: GENESIS_FORMAT,
            chain_id: 31337,
            rollup: EthAddress([0xa0; 20]),
            vk_root,
            config: CONFIG,
            fee_per_l2_gas: price,
            fee_per_da_gas: price,
            notes,
            fee_balances: balances
                .map(|(address, amount)| GenesisBalance { address: *address, amount: *amount })
                .collect(),
        };
        let built = genesis.build(MemoryStore::new()).unwrap();
        Self {
            genesis,
            headers: vec![built.header],
            blocks: Vec::new(),
            states: vec![built.state.store],
            inbox: Inbox::new(),
            deposits: Vec::new(),
        }
    }

    pub(crate) fn tip(&self) -> &Header {
        self.headers.last().unwrap()
    }

    pub(crate) fn header(&self, number: u64) -> Option<&Header> {
        self.headers.get(number as usize)
    }

    pub(crate) fn blocks(&self) -> &[BlockData] {
        &self.blocks
    }

    pub(crate) fn state(&self) -> &MemoryStore {
        self.states.last().unwrap()
    }

    pub(crate) fn balance(&self, address: &Fr) -> u64 {
        let slot = rollmill_protocol::note::fee_balance_slot(address);
        let value = indexed::value(self.state(), IndexedTree::PublicData, &slot).unwrap();
        value.map_or(0, |value| rollmill_protocol::field::to_u64("balance", &value).unwrap())
    }

    /// Records a deposit on L1.
    pub(crate) fn deposit(&mut self, to: Fr, amount: u64) -> DepositInfo {
        let (_, index) = self.inbox.send(|index| deposit_leaf(&to, amount, index));
        let deposit = DepositInfo { index, amount };
        self.deposits.push((to, deposit));
        deposit
    }

    /// Builds a block in this slot of transactions that nobody sent.
    pub(crate) fn publish(&mut self, slot: u64, bodies: &[BlockBody]) -> BlockEffects {
        self.build_with(slot, |builder| {
            for body in bodies {
                builder.apply_body(body).unwrap();
            }
        })
    }

    /// Builds a block in this slot of those transactions that it can include; returns why it cannot
    /// include the others.
    pub(crate) fn include(&mut self, slot: u64, txs: &[Tx]) -> Vec<(Fr, TxRejection)> {
        let mut rejected = Vec::new();
        self.build_with(slot, |builder| {
            for tx in txs {
                match builder.apply(tx) {
                    Ok(_) => {}
                    Err(rollmill_protocol::state::ApplyError::Rejected(why)) => {
                        rejected.push((tx.hash(), why));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        rejected
    }

    fn build_with(
        &mut self,
        slot: u64,
        fill: impl FnOnce(&mut BlockBuilder<MemoryStore>),
    ) -> BlockEffects {
        let parent = self.tip().clone();
        let number = parent.block_number + 1;
        self.inbox.consume(number).unwrap();
        let messages = self.inbox.leaves(number).to_vec();
        let env = BlockEnv { slot, coinbase: EthAddress([0xc0; 20]), messages };
        let store = self.state().clone();
        let mut builder = BlockBuilder::new(&parent, store, &self.genesis.config, env).unwrap();
        fill(&mut builder);
        let (block, store) = builder.finish().unwrap();
        self.headers.push(block.header.clone());
        self.states.push(store);
        self.blocks.push(block.data());
        BlockEffects::of(&self.blocks[self.blocks.len() - 1])
    }

    /// Removes the blocks after this number, as a reorganization does.
    pub(crate) fn cut(&mut self, number: usize) {
        self.headers.truncate(number + 1);
        self.states.truncate(number + 1);
        self.blocks.truncate(number);
    }

    fn number_of(&self, hash: &Fr) -> usize {
        self.headers.iter().position(|header| header.hash() == *hash).unwrap()
    }

    fn place_of(&self, hash: &str) -> Option<(u64, u32)> {
        self.blocks.iter().find_map(|block| {
            let mut txs = block.txs.iter();
            let at = txs.position(|tx| to_hex(&tx.effects.tx_hash()) == hash)?;
            Some((block.header.block_number, at as u32))
        })
    }
}

/// What the node does with transactions.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) waiting: Vec<Tx>,
    /// Statuses that the node reports in place of the true ones.
    pub(crate) statuses: BTreeMap<Fr, TxStatus>,
    /// The code with which the node rejects transactions.
    pub(crate) rejects_with: Option<&'static str>,
    /// The node has the transactions that it rejects: somebody else sent them first.
    pub(crate) has_what_it_rejects: bool,
    /// The method that the node answers with an error.
    pub(crate) unavailable: Option<&'static str>,
    /// The method that the node never answers.
    pub(crate) hangs: Option<&'static str>,
    /// After this number of requests the chain is another one.
    pub(crate) reorganization: Option<(usize, Ledger)>,
    /// The node accepts transactions, but does not respond.
    pub(crate) silent: bool,
    pub(crate) received: Vec<Fr>,
    /// Method and parameters of each request, in order.
    pub(crate) requests: Vec<(String, Vec<Value>)>,
    /// Number of the proven tip, if the chain is that long.
    pub(crate) proven: u64,
    /// The node returns deposits with this amount in place of the true one.
    pub(crate) wrong_amount: Option<u64>,
    /// Changes what the node answers, but for transactions that it is sent.
    pub(crate) lie: Option<Lie>,
    /// The request, numbered from 0, that the node does as it is asked and never responds to, and who is told.
    pub(crate) held: Option<(usize, UnboundedSender<()>)>,
}

/// A node of the chain.
#[derive(Clone)]
pub(crate) struct Node {
    ledger: Arc<Mutex<Ledger>>,
    pool: Arc<Mutex<Pool>>,
}

impl Node {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger: Arc::new(Mutex::new(ledger)), pool: Arc::default() }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock()
    }

    /// Builds the next block, in the next slot, of everything that waits.
    pub(crate) fn build(&self) -> Vec<(Fr, TxRejection)> {
        let slot = self.ledger().tip().slot + 1;
        let waiting = std::mem::take(&mut self.pool().waiting);
        self.ledger().include(slot, &waiting)
    }

    /// The node's response, `None` for none, or the code of a rejection.
    fn answer(&self, request: &Request) -> Result<Option<Value>, &'static str> {
        let name = &request.method;
        assert!(leaks::is_declared(name), "{name} is not declared in pxe/src/leaks.rs");
        self.pool().requests.push((name.clone(), request.params.clone()));
        self.reorganize();
        if self.pool().unavailable.is_some_and(|unavailable| unavailable == name) {
            return Err("NODE-004");
        }
        if request.method == method::SEND_TRANSACTION {
            return self.take(&request.params[0]);
        }
        let mut known = self.known(request);
        if let Some(lie) = &mut self.pool().lie {
            lie(request, &mut known);
        }
        Ok(Some(known))
    }

    /// Whether the last request has no response; whoever waits for that is told.
    fn is_held(&self) -> bool {
        let pool = self.pool();
        let held = pool.held.as_ref().filter(|(at, _)| pool.requests.len() == at + 1);
        held.is_some_and(|(_, told)| told.send(()).is_ok())
    }

    /// Replaces the chain once its time has come.
    fn reorganize(&self) {
        let mut pool = self.pool();
        match pool.reorganization.take() {
            Some((0, ledger)) => {
                drop(pool);
                *self.ledger() = ledger;
            }
            Some((left, ledger)) => pool.reorganization = Some((left - 1, ledger)),
            None => {}
        }
    }

    fn take(&self, parameter: &Value) -> Result<Option<Value>, &'static str> {
        let bytes: HexBytes = serde_json::from_value(parameter.clone()).unwrap();
        let tx = Tx::from_bytes(&bytes.0).unwrap();
        let (hash, mut pool) = (tx.hash(), self.pool());
        pool.received.push(hash);
        if let Some(code) = pool.rejects_with {
            if pool.has_what_it_rejects {
                let status = TxStatus::Included { block_number: 1, index: 0 };
                pool.statuses.insert(hash, status);
            }
            return Err(code);
        }
        let spends = |tx: &Tx| tx.effects().present_nullifiers().copied().collect::<Vec<_>>();
        let others = pool.waiting.iter().filter(|other| other.hash() != hash);
        if others.flat_map(spends).any(|nullifier| spends(&tx).contains(&nullifier)) {
            return Err("NODE-023");
        }
        if pool.waiting.iter().all(|other| other.hash() != hash) {
            pool.waiting.push(tx);
        }
        Ok((!pool.silent).then(|| json!({ "tx_hash": to_hex(&hash) })))
    }

    fn known(&self, request: &Request) -> Value {
        let (ledger, pool) = (self.ledger(), self.pool());
        let parameters = &request.params;
        let number = |at: usize| parameters[at].as_u64().unwrap();
        match request.method.as_str() {
            method::GET_GENESIS => json!(ledger.genesis),
            method::GET_VERSIONS => json!(Versions {
                ids: VersionIds {
                    chain_id: ledger.genesis.chain_id,
                    rollup_version: ledger.genesis.version(),
                    protocol_version: PROTOCOL_VERSION,
                    vk_root: ledger.genesis.vk_root,
                },
                software: "test".to_owned(),
                slots_per_epoch: CONFIG.slots_per_epoch,
                genesis_header_hash: ledger.headers[0].hash(),
            }),
            method::GET_HEADER => {
                let found = match serde_json::from_value(parameters[0].clone()).unwrap() {
                    BlockRef::Number(number) => ledger.header(number),
                    BlockRef::Hash(hash) => ledger.headers.iter().find(|h| h.hash() == hash),
                    _ => Some(ledger.tip()),
                };
                json!(found.map(|header| HeaderInfo {
                    header: header.to_bytes(),
                    header_hash: header.hash(),
                    archive_root: Fr::from(0u64),
                    chain: Fr::from(0u64),
                    l1_block: 1,
                    proven: header.block_number <= pool.proven,
                }))
            }
            method::GET_BLOCK_EFFECTS => {
                let blocks = ledger.blocks.iter().map(BlockEffects::of);
                let after = blocks.filter(|block| block.block_number >= number(0));
                json!(after.take(number(1) as usize).collect::<Vec<_>>())
            }
            method::GET_TIPS => {
                let last = ledger.tip().block_number;
                let tip = |number: u64| {
                    let header = ledger.header(number).unwrap();
                    Tip { block_number: number, header_hash: header.hash(), slot: header.slot }
                };
                let (pending, proven) = (tip(last), tip(pool.proven.min(last)));
                let (verified, finalized) = (pending, proven);
                json!(Tips { pending, verified, proven, finalized, l1_block: 1, rejected: None })
            }
            method::GET_TRANSACTION_STATUS => {
                json!(status(&ledger, &pool, parameters[0].as_str().unwrap()))
            }
            _ => found(&ledger, &pool, request),
        }
    }

    /// Serves until `shutdown`; returns the address.
    pub(crate) async fn serve(&self, shutdown: &Shutdown) -> String {
        let node = self.clone();
        let answer = move |axum::Json(request): axum::Json<Request>| async move {
            let hangs = node.pool().hangs.is_some_and(|hangs| hangs == request.method);
            if hangs {
                std::future::pending::<()>().await;
            }
            let answer = node.answer(&request);
            if node.is_held() {
                std::future::pending::<()>().await;
            }
            let (result, error) = match answer {
                Ok(result) => (result, None),
                Err(code) => {
                    let data = ErrorData { code: code.to_owned() };
                    (None, Some(RpcError { code: -32000, message: format!("{code}: no"), data }))
                }
            };
            axum::Json(Response { jsonrpc: "2.0".to_owned(), id: request.id, result, error })
        };
        let router = axum::Router::new().route("/", axum::routing::post(answer));
        let listener = rollmill_service::listen("127.0.0.1:0", "--listen").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(rollmill_service::serve(listener, router, shutdown.clone()));
        url
    }
}

/// What the node looks up in the state or among the deposits.
fn found(ledger: &Ledger, pool: &Pool, request: &Request) -> Value {
    let parameters = &request.params;
    let field = |at: usize| serde_json::from_value::<Field>(parameters[at].clone()).unwrap().0;
    let number = |at: usize| parameters[at].as_u64().unwrap();
    match request.method.as_str() {
        method::GET_MESSAGE_PATH => {
            let (index, at) = (number(0), ledger.number_of(&field(1)));
            let (leaf, path) = leaf_and_path(&ledger.states[at], Tree::Messages, index);
            let message_root = ledger.headers[at].state.message_root;
            json!(MessagePath { index, leaf, path, message_root })
        }
        method::GET_DEPOSITS => {
            let (to, from) = (field(0), number(1));
            let own = ledger.deposits.iter().filter(|(owner, _)| *owner == to);
            let after = own.map(|(_, deposit)| *deposit).filter(|d| d.index >= from);
            let amount = |d: DepositInfo| pool.wrong_amount.unwrap_or(d.amount);
            let handed = after.map(|d| DepositInfo { amount: amount(d), ..d });
            json!(handed.take(64).collect::<Vec<_>>())
        }
        method::GET_PUBLIC_DATA => {
            let value = indexed::value(ledger.state(), IndexedTree::PublicData, &field(0));
            let block_number = ledger.tip().block_number;
            json!(value.unwrap().map(|value| PublicData { value, block_number }))
        }
        other => panic!("a wallet does not ask for {other}"),
    }
}

fn status(ledger: &Ledger, pool: &Pool, hash: &str) -> TxStatus {
    let told = pool.statuses.iter().find(|(tx, _)| to_hex(tx) == hash);
    if let Some((_, status)) = told {
        return status.clone();
    }
    match ledger.place_of(hash) {
        Some((block_number, index)) if block_number <= pool.proven => {
            TxStatus::Proven { block_number, index }
        }
        Some((block_number, index)) => TxStatus::Included { block_number, index },
        None if pool.waiting.iter().any(|tx| to_hex(&tx.hash()) == hash) => {
            TxStatus::Pending { parked: None }
        }
        None => TxStatus::Unknown,
    }
}

fn leaf_and_path(store: &MemoryStore, tree: Tree, index: u64) -> (Fr, Vec<Fr>) {
    let leaf = store.node(tree, 0, index).unwrap().unwrap_or_default();
    (leaf, append::path(store, tree, 0, index).unwrap())
}
