//! An L1 to read, in this process: blocks with the events of a rollup and its inbox. It mines nothing on its own,
//! and what the rollup answers at a block follows from the events up to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, LogData, U64, U256, keccak256};
use alloy::rpc::types::{Block, Header, Log};
use alloy::sol_types::{SolCall, SolEvent, SolInterface};
use parking_lot::{Mutex, MutexGuard};
use rollmill_l1::abi::{BlockRecord, Inbox, Rollup, rollup};
use rollmill_l1::{L1BlockRef, L1Client, RollupContract};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::anvil::CHAIN_ID;
use super::pool::RpcFailure;
use super::proxy::{answer, request, result, rpc_failure};

/// Address of the rollup.
pub const ROLLUP: Address = Address::repeat_byte(0xaa);
/// Address of its inbox.
pub const INBOX: Address = Address::repeat_byte(0xbb);

/// An event of the contracts.
#[expect(clippy::large_enum_variant, reason = "most events are blocks, and a test holds few")]
#[derive(Debug, Clone)]
pub enum Emitted {
    Proposed(Rollup::BlockProposed),
    Proven(Rollup::EpochProven),
    Pruned(Rollup::Pruned),
    Sent(Inbox::MessageSent),
}

impl Emitted {
    fn log(&self) -> (Address, LogData) {
        match self {
            Self::Proposed(event) => (ROLLUP, event.encode_log_data()),
            Self::Proven(event) => (ROLLUP, event.encode_log_data()),
            Self::Pruned(event) => (ROLLUP, event.encode_log_data()),
            Self::Sent(event) => (INBOX, event.encode_log_data()),
        }
    }
}

/// What the rollup stores, as far as a reader asks for it.
#[derive(Debug, Clone, Default)]
struct State {
    proven: u64,
    /// L1's chain after each block of the pending chain.
    chains: BTreeMap<u64, B256>,
}

impl State {
    fn pending(&self) -> u64 {
        self.chains.keys().next_back().copied().unwrap_or_default()
    }

    fn apply(&mut self, event: &Emitted) {
        match event {
            Emitted::Proposed(event) => {
                self.chains.insert(event.blockNumber, event.chain);
            }
            Emitted::Proven(event) => self.proven = event.lastBlock,
            Emitted::Pruned(event) => self.chains.retain(|number, _| *number <= event.provenTip),
            Emitted::Sent(_) => {}
        }
    }
}

#[derive(Debug, Clone)]
struct Mined {
    hash: B256,
    events: Vec<Emitted>,
    /// After the block.
    state: State,
}

type Hook = Box<dyn FnOnce(&mut Chain) + Send>;

/// The L1's blocks, and how its endpoint answers.
pub struct Chain {
    blocks: Vec<Mined>,
    /// Blocks ever made, so that a replaced one has another hash.
    made: u64,
    hooks: Vec<(&'static str, Hook)>,
    /// Number of the final block; `None` where L1 finalizes nothing.
    pub finalized: Option<u64>,
    /// How many blocks the endpoint is behind that answers for the newest block and for the rollup.
    pub lag: u64,
}

impl Chain {
    /// Mines a block with these events.
    pub fn mine(&mut self, events: Vec<Emitted>) {
        let mut state = self.blocks.last().map(|block| block.state.clone()).unwrap_or_default();
        events.iter().for_each(|event| state.apply(event));
        let hash = keccak256(self.made.to_be_bytes());
        self.made += 1;
        self.blocks.push(Mined { hash, events, state });
    }

    /// Drops the last `depth` blocks; what is mined next replaces them.
    pub fn drop_last(&mut self, depth: usize) {
        assert!(depth < self.blocks.len(), "block 0 stays");
        self.blocks.truncate(self.blocks.len() - depth);
    }

    /// A block by its number.
    pub fn at(&self, number: u64) -> L1BlockRef {
        let hash = self.blocks[number as usize].hash;
        L1BlockRef { number, hash, timestamp: 1_000_000 + 12 * number }
    }

    /// The newest block.
    pub fn head(&self) -> L1BlockRef {
        self.at(self.blocks.len() as u64 - 1)
    }

    /// Runs a function once, just before the next response to `method`.
    pub fn before(&mut self, method: &'static str, act: impl FnOnce(&mut Self) + Send + 'static) {
        self.hooks.push((method, Box::new(act)));
    }

    fn number_of(&self, id: &Value) -> Option<u64> {
        let head = self.head().number;
        let number = match id.as_str()? {
            "latest" => head.saturating_sub(self.lag),
            "finalized" => self.finalized?,
            number => number.parse::<U64>().ok()?.to(),
        };
        (number <= head).then_some(number)
    }

    fn block(&self, number: u64) -> Value {
        let at = self.at(number);
        let parent = number.checked_sub(1).map(|parent| self.at(parent).hash);
        let inner = alloy::consensus::Header {
            number,
            timestamp: at.timestamp,
            parent_hash: parent.unwrap_or_default(),
            ..Default::default()
        };
        let header = Header { hash: at.hash, inner, total_difficulty: None, size: None };
        let block: Block = Block { header, ..Default::default() };
        json!(block)
    }

    fn logs(&self, filter: &Value) -> Result<Value, RpcFailure> {
        let numbers = match filter.get("blockHash") {
            Some(hash) => {
                let at = self.blocks.iter().position(|block| json!(block.hash) == *hash);
                let number = at.ok_or((-32000, "unknown block"))? as u64;
                number..=number
            }
            None => {
                let [from, to] = ["fromBlock", "toBlock"].map(|end| self.number_of(&filter[end]));
                from.unwrap_or_default()..=to.unwrap_or(self.head().number)
            }
        };
        let mut logs = Vec::new();
        for number in numbers {
            let (block, at) = (&self.blocks[number as usize], self.at(number));
            for (index, event) in block.events.iter().enumerate() {
                let (address, data) = event.log();
                logs.push(Log {
                    inner: alloy::primitives::Log { address, data },
                    block_hash: Some(at.hash),
                    block_number: Some(number),
                    block_timestamp: Some(at.timestamp),
                    transaction_hash: Some(keccak256([at.hash.0, [index as u8; 32]].concat())),
                    transaction_index: Some(index as u64),
                    log_index: Some(index as u64),
                    removed: false,
                });
            }
        }
        Ok(json!(logs))
    }

    fn call(&self, of: &Value, id: &Value) -> Result<Value, RpcFailure> {
        let known = self.head().number.saturating_sub(self.lag);
        let number = self.number_of(id).filter(|number| *number <= known);
        let number = number.ok_or((-32000, "unknown block"))?;
        let state = &self.blocks[number as usize].state;
        let input = of.get("input").or_else(|| of.get("data")).expect("a call with data");
        let input: Bytes = serde_json::from_value(input.clone()).expect("bytes");
        let output = match Rollup::RollupCalls::abi_decode(&input).expect("a call of the rollup") {
            Rollup::RollupCalls::tips(_) => Rollup::tipsCall::abi_encode_returns(&tips(state)),
            Rollup::RollupCalls::blockRecord(call) => {
                let chain = state.chains.get(&call.number).ok_or((3, "execution reverted"))?;
                Rollup::blockRecordCall::abi_encode_returns(&record(*chain))
            }
            other => panic!("the scripted rollup does not know {other:?}"),
        };
        Ok(json!(Bytes::from(output)))
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, RpcFailure> {
        if let Some(at) = self.hooks.iter().position(|(of, _)| *of == method) {
            (self.hooks.remove(at).1)(self);
        }
        match method {
            "eth_chainId" => Ok(json!(U256::from(CHAIN_ID))),
            "eth_getCode" => Ok(json!("0x00")),
            "eth_getBlockByNumber" => {
                Ok(self.number_of(&params[0]).map_or(Value::Null, |number| self.block(number)))
            }
            "eth_getLogs" => self.logs(&params[0]),
            "eth_call" => self.call(&params[0], params.get(1).unwrap_or(&json!("latest"))),
            other => panic!("the scripted L1 does not know {other}"),
        }
    }
}

fn tips(state: &State) -> rollup::IRollup::Tips {
    rollup::IRollup::Tips {
        pending: alloy::primitives::aliases::U48::from(state.pending()),
        proven: alloy::primitives::aliases::U48::from(state.proven),
        provenEpoch: Default::default(),
    }
}

fn record(chain: B256) -> BlockRecord {
    BlockRecord {
        archiveRoot: B256::ZERO,
        chain,
        outRoot: B256::ZERO,
        coinbase: Address::ZERO,
        slot: Default::default(),
        l1Block: Default::default(),
        totalFees: 0,
        signers: 0,
        txCount: 0,
    }
}

/// An endpoint with a [`Chain`] behind it. It ends with the runtime of its test.
pub struct Script {
    url: String,
    chain: Arc<Mutex<Chain>>,
}

impl Script {
    /// An L1 with block 0 only.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut chain =
            Chain { blocks: Vec::new(), made: 0, hooks: Vec::new(), finalized: None, lag: 0 };
        chain.mine(Vec::new());
        let chain = Arc::new(Mutex::new(chain));
        let shared = Arc::clone(&chain);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, chain }
    }

    /// The blocks, to read and to change. Drop the guard before anything is read from the endpoint.
    pub fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock()
    }

    pub async fn client(&self) -> L1Client {
        L1Client::connect(std::slice::from_ref(&self.url), CHAIN_ID).await.unwrap()
    }

    pub async fn contract(&self) -> RollupContract {
        self.client().await.rollup(ROLLUP).await.unwrap()
    }
}

async fn serve(mut stream: TcpStream, chain: Arc<Mutex<Chain>>) {
    while let Some(body) = request(&mut stream).await {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let response = chain.lock().answer(asked["method"].as_str().unwrap(), &asked["params"]);
        let response = match response {
            Ok(value) => result(&body, &value),
            Err((code, message)) => rpc_failure(&body, code, message),
        };
        answer(&mut stream, "200 OK", &response).await;
    }
}
