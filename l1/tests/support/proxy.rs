//! An RPC endpoint that passes requests on to a real node, or fails in the way it is told to.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rollmill_l1::alloy::transports::http::reqwest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    None,
    /// Every connection is closed without an answer.
    Down,
    /// Every request is answered with HTTP 503.
    Busy,
    /// Raw transactions are lost on the way: the connection closes and the node sees nothing.
    LoseTransactions,
    /// Raw transactions reach the node, but the connection closes before its answer.
    LoseAnswers,
    /// The fee history is of a time when gas cost one wei.
    OldFees,
    /// Every request is answered with a JSON-RPC error that speaks of a limit (EIP-1474).
    Limited,
    /// One request in five, at random, is answered with HTTP 500.
    Flaky,
}

const FAULTS: [Fault; 8] = [
    Fault::None,
    Fault::Down,
    Fault::Busy,
    Fault::LoseTransactions,
    Fault::LoseAnswers,
    Fault::OldFees,
    Fault::Limited,
    Fault::Flaky,
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
    random: AtomicU64,
    client: reqwest::Client,
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
            random: AtomicU64::new(SEED),
            client: reqwest::Client::new(),
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

    /// From now on requests go to another node.
    pub fn redirect(&self, target: &str) {
        target.clone_into(&mut self.state.target.lock().unwrap());
    }

    /// Requests that failed by [`Fault::Flaky`] so far.
    pub fn failed(&self) -> u64 {
        self.state.failed.load(Ordering::SeqCst)
    }

    /// Requests that were passed on so far.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl State {
    /// The next number of splitmix64 (Steele, Lea and Flood, 2014, figure 15).
    fn random(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(GAMMA, Ordering::SeqCst).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The answer to a request for the fee history of one block with a base fee of one wei.
fn old_fees(request: &[u8]) -> Vec<u8> {
    let request: serde_json::Value = serde_json::from_slice(request).unwrap();
    let result = serde_json::json!({
        "oldestBlock": "0x0", "baseFeePerGas": ["0x1", "0x1"],
        "gasUsedRatio": [0.0], "reward": [["0x1"]],
    });
    let answer = serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
    answer.to_string().into_bytes()
}

fn limited(request: &[u8]) -> Vec<u8> {
    let request: serde_json::Value = serde_json::from_slice(request).unwrap();
    let error = serde_json::json!({ "code": -32005, "message": "daily limit exceeded" });
    let answer = serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
    answer.to_string().into_bytes()
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    while let Some(body) = request(&mut stream).await {
        let fault = FAULTS[usize::from(state.fault.load(Ordering::SeqCst))];
        let is_send = body.windows(22).any(|part| part == b"eth_sendRawTransaction");
        match fault {
            Fault::Down => return,
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
            Fault::Limited => {
                answer(&mut stream, "200 OK", &limited(&body)).await;
                continue;
            }
            Fault::OldFees if body.windows(14).any(|part| part == b"eth_feeHistory") => {
                answer(&mut stream, "200 OK", &old_fees(&body)).await;
                continue;
            }
            _ => {}
        }
        let target = state.target.lock().unwrap().clone();
        let sent = state.client.post(target).header("content-type", "application/json").body(body);
        let Ok(response) = sent.send().await else { return };
        let Ok(bytes) = response.bytes().await else { return };
        state.requests.fetch_add(1, Ordering::SeqCst);
        if fault == Fault::LoseAnswers && is_send {
            return;
        }
        answer(&mut stream, "200 OK", &bytes).await;
    }
}

/// The body of the next HTTP request; none when the peer is done.
async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
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

async fn answer(stream: &mut TcpStream, status: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
}
