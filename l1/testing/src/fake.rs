//! A fake L1 for one account in this process. It mines no block on its own, and the state that the
//! test has set decides each response.

use std::sync::Arc;

use alloy::consensus::transaction::{Recovered, TransactionInfo};
use alloy::consensus::{
    SignableTransaction, Signed, Transaction as _, TxEip1559, TxEip4844, TxEip4844Variant,
    TxEnvelope,
};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U64, U256, keccak256};
use alloy::rpc::types::{Block, BlockTransactions, Header, Transaction};
use alloy::signers::SignerSync;
use parking_lot::{Mutex, MutexGuard};
use rollmill_l1::{L1Client, SenderConfig, TxSender};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::anvil::CHAIN_ID;
use super::pool;
use super::proxy::{answer, request, result, rpc_failure};
use super::{sender, signer};

pub const GWEI: u128 = 1_000_000_000;

pub use super::pool::RpcFailure;

/// An error with an unknown text.
pub const STRANGE: RpcFailure = (-32010, "not today");

/// What happens to a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// The pool accepts it if its nonce and price are valid.
    Take,
    /// The response is its hash, and it is dropped.
    Swallow,
    /// The connection closes, and no node has received it.
    Lose,
    Reject(RpcFailure),
    /// The pool accepts it, and the response is an error.
    TakeAndReject(RpcFailure),
}

#[derive(Debug, Clone)]
struct Mined {
    hash: B256,
    txs: Vec<TxEnvelope>,
    /// Whether it uses another nonce of the account, by an authorization (EIP-7702) that somebody
    /// else's transaction carries.
    is_authorized: bool,
}

type Hook = Box<dyn FnOnce(&mut L1) + Send>;

/// The state of the L1 and of the node before it.
pub struct L1 {
    blocks: Vec<Mined>,
    /// Blocks ever made, so that a replaced one has another hash.
    made: u64,
    hooks: Vec<(&'static str, Hook)>,
    pub pool: Vec<TxEnvelope>,
    /// Every transaction that the node received, oldest first.
    pub sent: Vec<TxEnvelope>,
    pub broadcast: Broadcast,
    /// Number of the last final block.
    pub finalized: u64,
    pub base_fee: u128,
    /// Of blob gas.
    pub blob_base_fee: u128,
    pub tip: u128,
    pub balance: U256,
    /// The result of a simulation.
    pub gas: Result<u64, RpcFailure>,
    /// Nonces used before block 1.
    pub used_before: u64,
    /// The first block whose state the node still has.
    pub states_from: u64,
    pub shows_receipts: bool,
    /// Whether a block that is asked for with its transactions has more of them than their hashes.
    pub shows_transactions: bool,
    pub shows_base_fee: bool,
    /// The transaction whose receipt is returned, whichever is asked for.
    pub receipt_of: Option<B256>,
    pub requests: u64,
    /// Number of next requests whose connections close without a response.
    pub closes: u64,
}

impl L1 {
    fn new() -> Self {
        let mut l1 = Self {
            blocks: Vec::new(),
            made: 0,
            hooks: Vec::new(),
            pool: Vec::new(),
            sent: Vec::new(),
            broadcast: Broadcast::Take,
            finalized: 0,
            base_fee: 3 * GWEI,
            blob_base_fee: 2 * GWEI,
            tip: GWEI,
            balance: U256::from(10).pow(U256::from(20)),
            gas: Ok(50_000),
            used_before: 0,
            states_from: 0,
            shows_receipts: true,
            shows_transactions: true,
            shows_base_fee: true,
            receipt_of: None,
            requests: 0,
            closes: 0,
        };
        l1.add(Vec::new());
        l1
    }

    fn add(&mut self, txs: Vec<TxEnvelope>) {
        let hash = keccak256(self.made.to_be_bytes());
        self.made += 1;
        self.blocks.push(Mined { hash, txs, is_authorized: false });
    }

    pub fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    /// The account's nonce after a block.
    pub fn count_at(&self, block: u64) -> u64 {
        let blocks = &self.blocks[..=block as usize];
        let used = |block: &Mined| block.txs.len() as u64 + u64::from(block.is_authorized);
        self.used_before + blocks.iter().map(used).sum::<u64>()
    }

    pub fn count(&self) -> u64 {
        self.count_at(self.head())
    }

    /// Mines a block with the pool's transactions whose nonces are next.
    pub fn mine(&mut self) {
        let mut txs = Vec::new();
        let mut next = self.count();
        while let Some(at) = self.pool.iter().position(|tx| tx.nonce() == next) {
            txs.push(self.pool.remove(at));
            next += 1;
        }
        self.pool.retain(|tx| tx.nonce() >= next);
        self.add(txs);
    }

    pub fn mine_empty(&mut self, blocks: u64) {
        (0..blocks).for_each(|_| self.add(Vec::new()));
    }

    /// A block with a transaction of another program that has the account's key.
    pub fn mine_foreign(&mut self) -> B256 {
        let tx = foreign(self.count());
        let hash = *tx.tx_hash();
        self.pool.retain(|known| known.nonce() != tx.nonce());
        self.add(vec![tx]);
        hash
    }

    /// A block that uses the account's next nonce, and no transaction of the account.
    pub fn mine_authorization(&mut self) {
        self.add(Vec::new());
        self.blocks.last_mut().unwrap().is_authorized = true;
    }

    /// Replaces the last `depth` blocks with as many empty ones. Their transactions are dropped.
    pub fn replace(&mut self, depth: u64) {
        self.blocks.truncate(self.blocks.len() - depth as usize);
        self.mine_empty(depth);
    }

    /// Runs a function once, just before the next response to `method`.
    pub fn before(&mut self, method: &'static str, act: impl FnOnce(&mut L1) + Send + 'static) {
        self.hooks.push((method, Box::new(act)));
    }

    /// The nonces of what was sent, oldest first.
    pub fn nonces(&self) -> Vec<u64> {
        self.sent.iter().map(|tx| tx.nonce()).collect()
    }

    /// The highest price of what was sent, oldest first.
    pub fn prices(&self) -> Vec<u128> {
        self.sent.iter().map(|tx| tx.max_fee_per_gas()).collect()
    }

    /// Like [`Self::prices`], of blob gas; 0 without a blob.
    pub fn blob_prices(&self) -> Vec<u128> {
        self.sent.iter().map(|tx| tx.max_fee_per_blob_gas().unwrap_or_default()).collect()
    }

    /// What a transaction pays that is sent at the price of the market.
    pub fn market(&self) -> u128 {
        2 * self.base_fee + self.tip
    }

    fn number_of(&self, id: &Value) -> Option<u64> {
        let named = id.get("blockHash").unwrap_or(id);
        if let Ok(hash) = serde_json::from_value::<B256>(named.clone()) {
            return self.blocks.iter().position(|block| block.hash == hash).map(|at| at as u64);
        }
        let number = match id.as_str().unwrap() {
            "latest" => self.head(),
            "finalized" => self.finalized,
            number => number.parse::<U64>().unwrap().to(),
        };
        (number <= self.head()).then_some(number)
    }

    fn block(&self, number: u64, is_full: bool) -> Value {
        let mined = &self.blocks[number as usize];
        let inner = alloy::consensus::Header {
            number,
            timestamp: 1_000_000 + 12 * number,
            base_fee_per_gas: self.shows_base_fee.then_some(self.base_fee as u64),
            ..Default::default()
        };
        let header = Header { hash: mined.hash, inner, total_difficulty: None, size: None };
        let transactions = match is_full && self.shows_transactions {
            true => BlockTransactions::Full(mined.txs.iter().map(shown).collect()),
            false => BlockTransactions::Hashes(mined.txs.iter().map(|tx| *tx.tx_hash()).collect()),
        };
        let block: Block = Block { header, transactions, ..Default::default() };
        serde_json::to_value(block).unwrap()
    }

    fn receipt(&self, tx_hash: B256) -> Value {
        let place = |mined: &Mined| mined.txs.iter().any(|tx| *tx.tx_hash() == tx_hash);
        let at = self.blocks.iter().position(place).filter(|_| self.shows_receipts);
        let Some(number) = at else { return Value::Null };
        json!({
            "type": "0x2", "status": "0x1", "logs": [],
            "logsBloom": format!("0x{}", "00".repeat(256)),
            "transactionHash": tx_hash, "transactionIndex": "0x0",
            "blockHash": self.blocks[number].hash, "blockNumber": U64::from(number),
            "cumulativeGasUsed": "0x5208", "gasUsed": "0x5208", "effectiveGasPrice": "0x1",
            "from": signer(0).address(), "to": Address::ZERO, "contractAddress": null,
        })
    }

    fn is_known(&self, hash: B256) -> Option<&TxEnvelope> {
        let mined = self.blocks.iter().flat_map(|block| &block.txs);
        mined.chain(&self.pool).find(|tx| *tx.tx_hash() == hash)
    }

    fn take(&mut self, tx: &TxEnvelope) -> Result<(), RpcFailure> {
        if self.is_known(*tx.tx_hash()).is_some() {
            return Err(pool::KNOWN);
        }
        if tx.nonce() < self.count() {
            return Err((-32000, "nonce too low"));
        }
        pool::accepts(&self.pool, tx)?;
        self.pool.retain(|old| old.nonce() != tx.nonce());
        self.pool.push(tx.clone());
        Ok(())
    }

    fn broadcast(&mut self, raw: &Value) -> Option<Result<Value, RpcFailure>> {
        let raw: Bytes = serde_json::from_value(raw.clone()).unwrap();
        let tx = TxEnvelope::decode_2718(&mut &raw[..]).unwrap();
        if self.broadcast == Broadcast::Lose {
            return None;
        }
        self.sent.push(tx.clone());
        let hash = json!(tx.tx_hash());
        Some(match self.broadcast {
            Broadcast::Take => self.take(&tx).map(|()| hash),
            Broadcast::Reject(rpc_failure) => Err(rpc_failure),
            Broadcast::TakeAndReject(rpc_failure) => self.take(&tx).and(Err(rpc_failure)),
            Broadcast::Swallow | Broadcast::Lose => Ok(hash),
        })
    }

    /// The response to one request; `None` closes the connection.
    fn answer(&mut self, method: &str, params: &Value) -> Option<Result<Value, RpcFailure>> {
        self.requests += 1;
        if let Some(at) = self.hooks.iter().position(|(of, _)| *of == method) {
            (self.hooks.remove(at).1)(self);
        }
        if self.closes > 0 {
            self.closes -= 1;
            return None;
        }
        let quantity = |number: U256| Ok(json!(number));
        let hash = || serde_json::from_value::<B256>(params[0].clone()).unwrap();
        Some(match method {
            "eth_chainId" => quantity(U256::from(CHAIN_ID)),
            "eth_getBlockByNumber" => {
                let number = self.number_of(&params[0]);
                Ok(number.map_or(Value::Null, |number| self.block(number, params[1] == true)))
            }
            "eth_getTransactionCount" => match self.number_of(&params[1]) {
                Some(number) if number >= self.states_from => {
                    quantity(U256::from(self.count_at(number)))
                }
                _ => Err((-32000, "no state of that block")),
            },
            "eth_getBalance" => quantity(self.balance),
            "eth_estimateGas" => self.gas.map(|gas| json!(U256::from(gas))),
            "eth_feeHistory" => Ok(json!({
                "oldestBlock": "0x0", "gasUsedRatio": [0.5], "reward": [[U256::from(self.tip)]],
                "baseFeePerGas": [U256::from(self.base_fee), U256::from(self.base_fee)],
            })),
            "eth_blobBaseFee" => quantity(U256::from(self.blob_base_fee)),
            "eth_getTransactionReceipt" => Ok(self.receipt(self.receipt_of.unwrap_or(hash()))),
            "eth_getTransactionByHash" => {
                Ok(self.is_known(hash()).map_or(Value::Null, |tx| json!(shown(tx))))
            }
            "eth_sendRawTransaction" => return self.broadcast(&params[0]),
            other => panic!("the fake L1 does not know {other}"),
        })
    }
}

/// A transaction of another program that signs for the account.
fn foreign(nonce: u64) -> TxEnvelope {
    let tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        to: TxKind::Call(Address::with_last_byte(0x43)),
        ..Default::default()
    };
    let signature = signer(0).sign_hash_sync(&tx.signature_hash()).unwrap();
    tx.into_signed(signature).into()
}

/// A transaction as a node returns it, without its sidecar.
fn shown(tx: &TxEnvelope) -> Transaction {
    let from = signer(0).address();
    let bare = match tx.clone() {
        TxEnvelope::Eip4844(signed) => {
            let (tx, signature, hash) = signed.into_parts();
            let bare = TxEip4844Variant::from(TxEip4844::from(tx));
            TxEnvelope::Eip4844(Signed::new_unchecked(bare, signature, hash))
        }
        other => other,
    };
    let of = Recovered::new_unchecked(bare, from);
    Transaction::from_transaction(of, TransactionInfo::default())
}

/// An endpoint with an [`L1`] behind it.
pub struct Fake {
    pub url: String,
    pub folder: tempfile::TempDir,
    l1: Arc<Mutex<L1>>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let l1 = Arc::new(Mutex::new(L1::new()));
        let shared = Arc::clone(&l1);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, folder: tempfile::tempdir().unwrap(), l1 }
    }

    /// The state, to read and to change. Drop the guard before the sender works.
    pub fn l1(&self) -> MutexGuard<'_, L1> {
        self.l1.lock()
    }

    pub async fn client(&self) -> L1Client {
        L1Client::connect(std::slice::from_ref(&self.url), CHAIN_ID).await.unwrap()
    }

    pub async fn sender(&self) -> TxSender {
        sender(&self.client().await, self.folder.path(), 0).await
    }

    pub async fn sender_with(&self, config: SenderConfig) -> TxSender {
        let path = self.folder.path().join("account-0.json");
        TxSender::open(self.client().await, signer(0), &path, config).await.unwrap()
    }

    /// Bytes of the sender's file.
    pub fn file_len(&self) -> u64 {
        std::fs::metadata(self.folder.path().join("account-0.json")).unwrap().len()
    }
}

async fn serve(mut stream: TcpStream, l1: Arc<Mutex<L1>>) {
    while let Some(body) = request(&mut stream).await {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let response = l1.lock().answer(asked["method"].as_str().unwrap(), &asked["params"]);
        let response = match response {
            None => return,
            Some(Ok(value)) => result(&body, &value),
            Some(Err((code, message))) => rpc_failure(&body, code, message),
        };
        answer(&mut stream, "200 OK", &response).await;
    }
}
