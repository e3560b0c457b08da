//! An RPC endpoint of L1 that fails as real ones do: a few requests at any time, and as a whole for a while.
//!
//! It is a proxy between anvil and the network's processes in runs with `--chaos`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_l1::alloy::primitives::{B256, hex, keccak256};
use serde_json::{Value, json};

use crate::Error;

/// Percentage of requests that fail at any time.
const FAILING_PERCENT: u32 = 3;
/// Minimum duration of a slow request.
const SLOW: Duration = Duration::from_secs(2);

/// What is wrong with an endpoint for a while, beside the requests that fail at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointFault {
    /// Every request gets HTTP 503.
    Down,
    /// The head stays where it was, as on a node that has lost its peers.
    Stale,
    /// Transactions are accepted and dropped.
    Swallowing,
    /// No transaction and no receipt is known.
    NoReceipts,
    /// Receipts turn success into failure and back, and name a block that does not exist.
    LyingReceipts,
}

impl EndpointFault {
    pub const ALL: [Self; 5] =
        [Self::Down, Self::Stale, Self::Swallowing, Self::NoReceipts, Self::LyingReceipts];

    /// For the progress line.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Down => "answers 503",
            Self::Stale => "stays at its block",
            Self::Swallowing => "swallows transactions",
            Self::NoReceipts => "knows no receipts",
            Self::LyingReceipts => "lies in receipts",
        }
    }
}

/// An active fault.
#[derive(Debug, Clone, Copy)]
struct ActiveFault {
    fault: EndpointFault,
    /// L1's head when it started.
    head: u64,
}

#[derive(Debug)]
struct Shared {
    target: String,
    http: reqwest::Client,
    active: Mutex<Option<ActiveFault>>,
    rng: Mutex<ChaCha20Rng>,
    counts: Mutex<Counts>,
}

/// Requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    /// Those that failed or got a false response on purpose.
    pub failed: u64,
}

/// One faulty endpoint. Dropping it stops it.
#[derive(Debug)]
pub struct Endpoint {
    pub url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Endpoint {
    /// Listens on `address` and passes requests on to `target`. `seed` decides which requests fail.
    ///
    /// # Errors
    /// [`Error::Spawn`] when nothing can listen there.
    pub async fn start(address: SocketAddr, target: &str, seed: u64) -> Result<Self, Error> {
        let failed =
            |source| Error::Spawn { name: format!("the L1 endpoint at {address}"), source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            http: rollmill_service::untimed_http_client(),
            active: Mutex::new(None),
            rng: Mutex::new(ChaCha20Rng::seed_from_u64(seed)),
            counts: Mutex::default(),
        });
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It ends with its task; the client notices a failed connection.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, shared, server })
    }

    /// Sets the fault of the endpoint, which started at L1 block `head`, or clears it.
    pub fn set(&self, fault: Option<EndpointFault>, head: u64) {
        *self.shared.active.lock() = fault.map(|fault| ActiveFault { fault, head });
    }

    /// Requests so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock()
    }
}

/// How a request fails that may fail at any time.
#[derive(Debug, Clone, Copy)]
enum Failing {
    Status(StatusCode),
    Rpc(i64, &'static str),
    Empty,
    Slow,
}

const FAILINGS: [Failing; 6] = [
    Failing::Status(StatusCode::INTERNAL_SERVER_ERROR),
    Failing::Status(StatusCode::TOO_MANY_REQUESTS),
    // EIP-1474's codes of an internal error and of a limit.
    Failing::Rpc(-32603, "internal error"),
    Failing::Rpc(-32005, "limit exceeded"),
    Failing::Empty,
    Failing::Slow,
];

fn body(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn result(request: &Value, value: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": value })
}

fn rpc_error(request: &Value, code: i64, message: &str) -> Value {
    let error = json!({ "code": code, "message": message });
    json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
}

async fn answer(State(shared): State<Arc<Shared>>, bytes: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let failing = {
        let mut rng = shared.rng.lock();
        let fails = rng.gen_ratio(FAILING_PERCENT, 100);
        let kind = FAILINGS[rng.gen_range(0..FAILINGS.len())];
        fails.then_some(kind)
    };
    let active = *shared.active.lock();
    {
        let mut counts = shared.counts.lock();
        counts.requests += 1;
        counts.failed += u64::from(failing.is_some());
    }
    match failing {
        Some(Failing::Status(status)) => return status.into_response(),
        Some(Failing::Rpc(code, message)) => return body(&rpc_error(&request, code, message)),
        Some(Failing::Empty) => return StatusCode::OK.into_response(),
        Some(Failing::Slow) => tokio::time::sleep(SLOW).await,
        None => {}
    }
    if let Some(answer) = active.and_then(|active| instead(active, &request)) {
        shared.counts.lock().failed += 1;
        return match answer {
            Some(value) => body(&value),
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        };
    }
    let response = match active {
        Some(active) => {
            let answer = forward(&shared, &pinned(active, request.clone())).await;
            answer.map(|value| twisted(active, &request, value))
        }
        None => forward(&shared, &request).await,
    };
    match response {
        Some(value) => body(&value),
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn forward(shared: &Shared, request: &Value) -> Option<Value> {
    let response = shared.http.post(&shared.target).json(request).send().await.ok()?;
    response.json().await.ok()
}

/// The response to a request that is not forwarded to L1: `Some(None)` for HTTP 503.
#[expect(clippy::option_option, reason = "an answer, no answer, and an answer that is none")]
fn instead(active: ActiveFault, request: &Value) -> Option<Option<Value>> {
    let method = request["method"].as_str().unwrap_or_default();
    match active.fault {
        EndpointFault::Down => Some(None),
        EndpointFault::Stale if method == "eth_blockNumber" => {
            Some(Some(result(request, &json!(format!("{:#x}", active.head)))))
        }
        EndpointFault::Stale if names_later_block(request, active.head) => {
            Some(Some(match method {
                "eth_getBlockByNumber" => result(request, &Value::Null),
                // geth's message for a block it does not have.
                _ => rpc_error(request, -32000, "header not found"),
            }))
        }
        EndpointFault::Swallowing if method == "eth_sendRawTransaction" => {
            let raw = request["params"][0].as_str().unwrap_or_default();
            let hash = keccak256(hex::decode(raw).unwrap_or_default());
            Some(Some(result(request, &json!(hash))))
        }
        EndpointFault::NoReceipts
            if matches!(method, "eth_getTransactionReceipt" | "eth_getTransactionByHash") =>
        {
            Some(Some(result(request, &Value::Null)))
        }
        _ => None,
    }
}

/// Whether a parameter is the number of a block above `head`.
fn names_later_block(request: &Value, head: u64) -> bool {
    // Only methods whose parameters hold block numbers; a value of a transaction is a number too.
    let method = request["method"].as_str().unwrap_or_default();
    let at = match method {
        "eth_getBlockByNumber" => &request["params"][0],
        "eth_call" | "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" => {
            &request["params"][1]
        }
        "eth_getLogs" => &request["params"][0]["toBlock"],
        _ => return false,
    };
    number(at).is_some_and(|number| number > head)
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// The request as a stalled node understands it: `latest` is its own head.
fn pinned(active: ActiveFault, mut request: Value) -> Value {
    if active.fault != EndpointFault::Stale {
        return request;
    }
    let is_head = |value: &Value| matches!(value.as_str(), Some("latest" | "pending"));
    let head = json!(format!("{:#x}", active.head));
    if let Some(params) = request["params"].as_array_mut() {
        for param in params {
            if is_head(param) {
                *param = head.clone();
            }
            for key in ["fromBlock", "toBlock"] {
                if param.get(key).is_some_and(is_head) {
                    param[key] = head.clone();
                }
            }
        }
    }
    request
}

/// The response as the fault changes it.
fn twisted(active: ActiveFault, request: &Value, mut answer: Value) -> Value {
    if request["method"].as_str() != Some("eth_getTransactionReceipt") {
        return answer;
    }
    let receipt = &mut answer["result"];
    match active.fault {
        EndpointFault::Stale
            if number(&receipt["blockNumber"]).is_some_and(|n| n > active.head) =>
        {
            *receipt = Value::Null;
        }
        EndpointFault::LyingReceipts if receipt.is_object() => {
            let success = receipt["status"].as_str() == Some("0x1");
            receipt["status"] = json!(if success { "0x0" } else { "0x1" });
            receipt["blockHash"] = json!(B256::repeat_byte(0x11));
        }
        _ => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(fault: EndpointFault) -> ActiveFault {
        ActiveFault { fault, head: 16 }
    }

    fn request(method: &str, params: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
    }

    #[test]
    fn a_stale_endpoint_stays_at_its_block() {
        let stale = active(EndpointFault::Stale);
        let head = instead(stale, &request("eth_blockNumber", &json!([]))).unwrap().unwrap();
        assert_eq!(head, json!({ "jsonrpc": "2.0", "id": 7, "result": "0x10" }));
        let later = request("eth_getBlockByNumber", &json!(["0x11", false]));
        assert_eq!(instead(stale, &later).unwrap().unwrap()["result"], Value::Null);
        let call = request("eth_call", &json!([{ "value": "0x11" }, "0x11"]));
        assert_eq!(instead(stale, &call).unwrap().unwrap()["error"]["code"], -32000);
        let latest = request("eth_getBlockByNumber", &json!(["latest", false]));
        assert!(instead(stale, &latest).is_none());
        assert_eq!(pinned(stale, latest)["params"][0], "0x10");
        let logs = request("eth_getLogs", &json!([{ "fromBlock": "0x1", "toBlock": "latest" }]));
        assert_eq!(pinned(stale, logs)["params"][0]["toBlock"], "0x10");
        let asked = request("eth_getTransactionReceipt", &json!(["0xaa"]));
        let later = json!({ "result": { "blockNumber": "0x11", "status": "0x1" } });
        assert_eq!(twisted(stale, &asked, later)["result"], Value::Null);
    }

    #[test]
    fn a_swallowed_transaction_is_answered_with_its_hash() {
        let sent = request("eth_sendRawTransaction", &json!(["0x01"]));
        let answer = instead(active(EndpointFault::Swallowing), &sent).unwrap().unwrap();
        assert_eq!(answer["result"], json!(keccak256([1])));
        let other = request("eth_gasPrice", &json!([]));
        assert!(instead(active(EndpointFault::Swallowing), &other).is_none());
    }

    #[test]
    fn receipts_are_hidden_or_false() {
        let asked = request("eth_getTransactionReceipt", &json!(["0xaa"]));
        let hidden = instead(active(EndpointFault::NoReceipts), &asked).unwrap().unwrap();
        assert_eq!(hidden["result"], Value::Null);
        for (status, changed) in [("0x1", "0x0"), ("0x0", "0x1")] {
            let receipt = json!({ "result": { "status": status, "blockHash": "0x22" } });
            let answer = twisted(active(EndpointFault::LyingReceipts), &asked, receipt);
            assert_eq!(answer["result"]["status"], changed);
            assert_ne!(answer["result"]["blockHash"], "0x22");
        }
    }

    #[test]
    fn an_endpoint_that_is_down_answers_nothing() {
        assert_eq!(
            instead(active(EndpointFault::Down), &request("eth_call", &json!([]))),
            Some(None)
        );
    }

    const REQUESTS: u64 = 150;

    #[tokio::test(flavor = "current_thread")]
    async fn some_requests_fail_and_the_same_ones_for_the_same_seed() {
        // Port 9 (discard, RFC 863) has no listener here, so a forwarded request gets 502.
        let run = || async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let endpoint = Endpoint::start(any, "http://127.0.0.1:9", 5).await.unwrap();
            let http = rollmill_service::untimed_http_client();
            let mut failed = Vec::new();
            for i in 0..REQUESTS {
                let asked = request("eth_blockNumber", &json!([]));
                let answer = http.post(&endpoint.url).json(&asked).send().await.unwrap();
                if answer.status() != StatusCode::BAD_GATEWAY {
                    failed.push(i);
                }
            }
            (failed, endpoint.counts())
        };
        let (first, counts) = run().await;
        assert!(!first.is_empty() && first.len() < 20, "{first:?}");
        assert_eq!(counts.requests, REQUESTS);
        assert_eq!(run().await.0, first);
    }
}
