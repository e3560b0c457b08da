//! An RPC endpoint that forwards requests to a real node, or fails in a configured way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::Bytes;
use parking_lot::Mutex;
use rollmill_l1::alloy::transports::http::reqwest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::Random;
use crate::pool;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    None,
    /// Every connection is closed without a response.
    Down,
    /// Every request gets HTTP 503.
    Busy,
    /// Raw transactions are lost on the way: the connection closes and the node sees nothing.
    LoseTransactions,
    /// Raw transactions reach the node, but the connection closes before its response.
    LoseAnswers,
    /// The fee history is of a time when gas cost one wei.
    OldFees,
    /// Every request gets the JSON-RPC error of a limit (EIP-1474).
    Limited,
    /// One request in five, at random, gets HTTP 500.
    Flaky,
    /// Raw transactions are rejected with an internal error, and the node does not see them.
    RejectTransactions,
    /// Raw transactions get their hash as the response, and the node does not receive them.
    SwallowTransactions,
    /// Rejections of raw transactions have an unknown text.
    OtherWords,
    /// No transaction has a receipt.
    NoReceipts,
    /// Receipts are of a block that is not on the chain.
    ForeignReceipts,
    /// The newest block is always block 1.
    StaleHead,
    /// The newest block is always block 1, and there are no higher ones.
    Behind,
    /// Raw transactions are accepted by the rules of a real pool, which are stricter than anvil's: see [`pool`].
    RealPool,
}

const FAULTS: [Fault; 16] = [
    Fault::None,
    Fault::Down,
    Fault::Busy,
    Fault::LoseTransactions,
    Fault::LoseAnswers,
    Fault::OldFees,
    Fault::Limited,
    Fault::Flaky,
    Fault::RejectTransactions,
    Fault::SwallowTransactions,
    Fault::OtherWords,
    Fault::NoReceipts,
    Fault::ForeignReceipts,
    Fault::StaleHead,
    Fault::Behind,
    Fault::RealPool,
];

/// Seed of the requests that a flaky endpoint fails.
pub const SEED: u64 = 20_261_128;

pub struct Proxy {
    pub url: String,
    state: Arc<State>,
}

struct State {
    target: Mutex<String>,
    fault: AtomicU8,
    requests: AtomicU64,
    failed: AtomicU64,
    /// Decides which requests fail; its start is printed, so that a failing run can be repeated.
    random: Mutex<Random>,
    /// Requests until one never gets a response; see [`Proxy::hang_at`].
    left: AtomicI64,
    passes_last: AtomicBool,
    hung: Notify,
    client: reqwest::Client,
    /// What [`Fault::RealPool`] passed on. Those that are in a block by now are dropped at the next one.
    pool: tokio::sync::Mutex<Vec<TxEnvelope>>,
    /// Raw transactions that [`Fault::RealPool`] rejected: the texts.
    rejected: Mutex<Vec<&'static str>>,
}

impl Proxy {
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            target: Mutex::new(target.to_owned()),
            fault: AtomicU8::new(0),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            random: Mutex::new(Random(SEED)),
            left: AtomicI64::new(i64::MAX),
            passes_last: AtomicBool::new(false),
            hung: Notify::new(),
            client: rollmill_net::untimed_http_client(),
            pool: tokio::sync::Mutex::new(Vec::new()),
            rejected: Mutex::new(Vec::new()),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, state }
    }

    pub fn set(&self, fault: Fault) {
        self.state.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// The request after the next `count` never gets a response, nor does any after it. Whether the
    /// node gets that one is `passes`.
    pub fn hang_at(&self, count: i64, passes: bool) {
        self.state.passes_last.store(passes, Ordering::SeqCst);
        self.state.left.store(count, Ordering::SeqCst);
    }

    /// Waits until a request hangs, and the node has it if it gets it.
    pub async fn hung(&self) {
        self.state.hung.notified().await;
    }

    /// From now on requests go to another node.
    pub fn redirect(&self, target: &str) {
        target.clone_into(&mut self.state.target.lock());
    }

    /// Requests that failed by [`Fault::Flaky`] or [`Fault::Down`] so far.
    pub fn failed(&self) -> u64 {
        self.state.failed.load(Ordering::SeqCst)
    }

    /// What [`Fault::RealPool`] said to the raw transactions that it rejected so far.
    pub fn rejected(&self) -> Vec<&'static str> {
        self.state.rejected.lock().clone()
    }

    /// Requests that were passed on so far.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl State {
    /// The next random number.
    fn random(&self) -> u64 {
        self.random.lock().number()
    }

    /// Whether a real pool with what was passed on before rejects this request for a raw transaction.
    async fn rejection(&self, body: &[u8]) -> Option<pool::RpcFailure> {
        let asked: serde_json::Value = serde_json::from_slice(body).unwrap();
        let raw: Bytes = serde_json::from_value(asked["params"][0].clone()).unwrap();
        let tx = TxEnvelope::decode_2718(&mut &raw[..]).unwrap();
        let mut pool = self.pool.lock().await;
        let mut pending = Vec::new();
        for old in pool.drain(..) {
            if self.is_pending(&old).await {
                pending.push(old);
            }
        }
        *pool = pending;
        if pool.iter().any(|old| old.tx_hash() == tx.tx_hash()) {
            return None;
        }
        match pool::accepts(&pool, &tx) {
            Err(rejection) => {
                self.rejected.lock().push(rejection.1);
                Some(rejection)
            }
            Ok(()) => {
                pool.retain(|old| old.nonce() != tx.nonce());
                pool.push(tx);
                None
            }
        }
    }

    /// Whether the node has a transaction and no block has it.
    async fn is_pending(&self, tx: &TxEnvelope) -> bool {
        let ask = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionByHash", "params": [tx.tx_hash()],
        });
        let target = self.target.lock().clone();
        let sent = self.client.post(target).header("content-type", "application/json");
        let response = sent.body(ask.to_string()).send().await.unwrap();
        let response: serde_json::Value =
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        response["result"].is_object() && response["result"]["blockNumber"].is_null()
    }
}

/// The response to a request for the fee history of one block with a base fee of one wei.
fn old_fees(request: &[u8]) -> Vec<u8> {
    let fees = serde_json::json!({
        "oldestBlock": "0x0", "baseFeePerGas": ["0x1", "0x1"],
        "gasUsedRatio": [0.0], "reward": [["0x1"]],
    });
    result(request, &fees)
}

pub fn rpc_failure(request: &[u8], code: i64, message: &str) -> Vec<u8> {
    let request: serde_json::Value = serde_json::from_slice(request).unwrap();
    let error = serde_json::json!({ "code": code, "message": message });
    let answer = serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
    answer.to_string().into_bytes()
}

pub fn result(request: &[u8], result: &serde_json::Value) -> Vec<u8> {
    let request: serde_json::Value = serde_json::from_slice(request).unwrap();
    let answer = serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
    answer.to_string().into_bytes()
}

/// The response that the proxy sends instead of the node's.
fn instead(fault: Fault, body: &[u8]) -> Option<Vec<u8>> {
    let asks = |method: &str| body.windows(method.len()).any(|part| part == method.as_bytes());
    let is_send = asks("eth_sendRawTransaction");
    match fault {
        Fault::Limited => Some(rpc_failure(body, -32005, "daily limit exceeded")),
        Fault::RejectTransactions if is_send => Some(rpc_failure(body, -32603, "internal error")),
        Fault::SwallowTransactions if is_send => {
            let hash = format!("0x{}", "11".repeat(32));
            Some(result(body, &hash.into()))
        }
        Fault::NoReceipts if asks("eth_getTransactionReceipt") => {
            Some(result(body, &serde_json::Value::Null))
        }
        Fault::OldFees if asks("eth_feeHistory") => Some(old_fees(body)),
        Fault::Behind
            if asks("eth_getBlockByNumber") && block_number(body).is_some_and(|it| it > 1) =>
        {
            Some(result(body, &serde_json::Value::Null))
        }
        _ => None,
    }
}

/// The block that a request names by its number.
fn block_number(body: &[u8]) -> Option<u64> {
    let request: serde_json::Value = serde_json::from_slice(body).ok()?;
    u64::from_str_radix(request["params"][0].as_str()?.strip_prefix("0x")?, 16).ok()
}

/// The node's response as the proxy forwards it.
fn changed(fault: Fault, body: &[u8], answer: Vec<u8>) -> Vec<u8> {
    let asks = |method: &str| body.windows(method.len()).any(|part| part == method.as_bytes());
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&answer) else {
        return answer;
    };
    match fault {
        Fault::OtherWords if asks("eth_sendRawTransaction") && value.get("error").is_some() => {
            rpc_failure(body, -32010, "upfront cost exceeds what the sender has")
        }
        Fault::ForeignReceipts if asks("eth_getTransactionReceipt") => {
            if let Some(receipt) = value["result"].as_object_mut() {
                receipt.insert("blockHash".to_owned(), format!("0x{}", "22".repeat(32)).into());
            }
            value.to_string().into_bytes()
        }
        _ => answer,
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    while let Some(body) = request(&mut stream).await {
        let fault = FAULTS[usize::from(state.fault.load(Ordering::SeqCst))];
        let is_send = body.windows(22).any(|part| part == b"eth_sendRawTransaction");
        match fault {
            Fault::Down => {
                state.failed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Fault::LoseTransactions if is_send => return,
            Fault::Busy => {
                answer(&mut stream, "503 Service Unavailable", b"busy").await;
                continue;
            }
            Fault::Flaky if state.random().is_multiple_of(5) => {
                state.failed.fetch_add(1, Ordering::SeqCst);
                answer(&mut stream, "500 Internal Server Error", b"").await;
                continue;
            }
            _ => {}
        }
        if let Some(said) = instead(fault, &body) {
            answer(&mut stream, "200 OK", &said).await;
            continue;
        }
        if fault == Fault::RealPool
            && is_send
            && let Some((code, message)) = state.rejection(&body).await
        {
            answer(&mut stream, "200 OK", &rpc_failure(&body, code, message)).await;
            continue;
        }
        let left = state.left.fetch_sub(1, Ordering::SeqCst);
        if left < 0 || (left == 0 && !state.passes_last.load(Ordering::SeqCst)) {
            state.hung.notify_one();
            std::future::pending::<()>().await;
        }
        let body = match String::from_utf8(body.clone()) {
            Ok(text) if matches!(fault, Fault::StaleHead | Fault::Behind) => {
                text.replace("\"latest\"", "\"0x1\"").into()
            }
            _ => body,
        };
        let target = state.target.lock().clone();
        let sent = state.client.post(target).header("content-type", "application/json");
        let Ok(response) = sent.body(body.clone()).send().await else { return };
        let Ok(bytes) = response.bytes().await else { return };
        state.requests.fetch_add(1, Ordering::SeqCst);
        if left == 0 {
            state.hung.notify_one();
            std::future::pending::<()>().await;
        }
        let bytes = changed(fault, &body, bytes.to_vec());
        if fault == Fault::LoseAnswers && is_send {
            return;
        }
        answer(&mut stream, "200 OK", &bytes).await;
    }
}

/// The body of the next HTTP request; none when the peer is done.
pub async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let n = stream.read(&mut chunk).await.ok()?;
        if n == 0 {
            return None;
        }
        bytes.extend_from_slice(&chunk[..n]);
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
        let length: usize = length.trim().parse().ok()?;
        if bytes.len() >= end + 4 + length {
            return Some(bytes[end + 4..end + 4 + length].to_vec());
        }
    }
}

pub async fn answer(stream: &mut TcpStream, status: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // In one piece: a second small one would wait for the first to be acknowledged.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
}
