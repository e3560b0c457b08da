//! One transport over several RPC endpoints: the next one is asked when the current one fails.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::primitives::{B256, U64};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::http::{Http, reqwest};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use rollmill_net::Backoff;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::error::L1Error;

/// Time limit of one request, after which the next endpoint is asked.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Blocks by which an endpoint may lag behind another before it is left.
const LAG_MAX: u64 = 3;
/// Requests for the newest block between two comparisons of the heads of all endpoints.
const COMPARE_EACH: u64 = 8;
/// Time limit of an endpoint to report its head for a comparison.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// Retries of a read at every endpoint.
const RETRIES: usize = 3;
/// First and longest pause before a retry.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));

struct Endpoint {
    /// Scheme, host and port: all of the URL that may be shown.
    url: String,
    /// Forms of the whole URL that may occur in an error text of the HTTP library.
    secret_forms: Vec<String>,
    http: Http<reqwest::Client>,
    /// Set once the endpoint has reported the right chain id and block 0. No other request goes to it
    /// before.
    checked: AtomicBool,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The chain of an endpoint.
enum Chain {
    Right,
    Wrong {
        got: u64,
    },
    /// The id is right and block 0 is that of another chain.
    Other {
        got: B256,
        expected: B256,
    },
    Unknown(TransportError),
}

/// The result of a request to one endpoint.
enum Answer {
    Good(ResponsePacket),
    /// A response about the endpoint, as the text says, and not about the request.
    Poor(String, ResponsePacket),
    /// No response, for this reason.
    None(String),
}

/// The fields of a block that matter here.
#[derive(Debug, serde::Deserialize)]
struct Head {
    number: U64,
    hash: B256,
}

async fn block(client: &RpcClient, which: &'static str) -> Result<Option<Head>, TransportError> {
    client.request("eth_getBlockByNumber", (which, false)).await
}

fn asks_for_the_head(request: &RequestPacket) -> bool {
    let Some(request) = request.as_single() else { return false };
    let params = request.params().map_or("", |params| params.get());
    request.method() == "eth_getBlockByNumber" && params.starts_with("[\"latest\"")
}

/// The number of the block that a request asks for, if it names it by its number.
fn asked_block(request: &RequestPacket) -> Option<u64> {
    let request = request.as_single().filter(|one| one.method() == "eth_getBlockByNumber")?;
    let (number, _): (U64, bool) = serde_json::from_str(request.params()?.get()).ok()?;
    Some(number.to())
}

/// Whether a response says that there is no such thing.
fn is_null(response: &ResponsePacket) -> bool {
    let ResponsePacket::Single(response) = response else { return false };
    response.payload.as_success().is_some_and(|result| result.get() == "null")
}

#[derive(Debug)]
struct Inner {
    chain_id: u64,
    endpoints: Vec<Endpoint>,
    /// Index of the endpoint that responded last; it is asked first.
    preferred: AtomicUsize,
    /// Hash of block 0, as the first endpoint reported it.
    genesis: OnceLock<B256>,
    /// Requests for the newest block so far.
    polls: AtomicU64,
    /// A block that L1 has had, see [`Failover::expect_block`].
    expected: AtomicU64,
}

/// A transport that tries its endpoints in turn, starting with the one that responded last.
///
/// An endpoint is used only after it has reported the expected chain id and the block 0 that the
/// others have, however late it starts. From time to time the heads of all are compared, and one that
/// lags is left: it responds with old data. The next one is asked after a timeout, a broken
/// connection, an HTTP error, or a response about the endpoint and not about the request (a limit, an
/// internal error, a missing state); if no endpoint has a better one, the last such response is
/// returned. A block that L1 has had is missing only if every endpoint says so.
///
/// A signed transaction goes to all endpoints at the same time, so that one that accepts and loses it
/// does no harm. It has one nonce, so it is included at most once.
///
/// When all endpoints fail, a read is retried a few times, so that a sync of thousands of requests
/// succeeds over a connection that loses some of them.
#[derive(Debug, Clone)]
pub(crate) struct Failover(Arc<Inner>);

impl Failover {
    pub(crate) fn new(urls: &[String], chain_id: u64) -> Result<Self, L1Error> {
        let bad = |url: &str, reason: String| L1Error::Url { url: url.to_owned(), reason };
        let client = rollmill_net::http_client()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| bad("", error.to_string()))?;
        let mut endpoints = Vec::new();
        for (place, url) in (1..).zip(urls) {
            // Text that is not a URL may still contain a password, so the error names its position only.
            let parsed = reqwest::Url::parse(url)
                .map_err(|error| bad(&format!("number {place}"), error.to_string()))?;
            let shown = parsed.origin().ascii_serialization();
            if !matches!(parsed.scheme(), "http" | "https") {
                return Err(bad(&shown, format!("scheme `{}` is not supported", parsed.scheme())));
            }
            endpoints.push(Endpoint {
                secret_forms: secret_forms(url, &parsed),
                url: shown,
                http: Http::with_client(client.clone(), parsed),
                checked: AtomicBool::new(false),
            });
        }
        if endpoints.is_empty() {
            return Err(bad("", "none is given".to_owned()));
        }
        Ok(Self(Arc::new(Inner {
            chain_id,
            endpoints,
            preferred: AtomicUsize::new(0),
            genesis: OnceLock::new(),
            polls: AtomicU64::new(0),
            expected: AtomicU64::new(0),
        })))
    }

    /// Says that L1 has had a block of this number. Until the next call, an endpoint that has no block of this number or
    /// a lower one may lag: the others are asked, and there is none only if all endpoints say so.
    pub(crate) fn expect_block(&self, number: u64) {
        self.0.expected.store(number, Ordering::Relaxed);
    }

    /// Asks every endpoint for its chain. One that serves another chain is an error even if others
    /// are right. At least one must respond; the others are asked again when needed.
    pub(crate) async fn check(&self) -> Result<(), L1Error> {
        let mut reasons = Vec::new();
        for endpoint in &self.0.endpoints {
            match self.0.chain_of(endpoint).await {
                Chain::Right => {}
                Chain::Wrong { got } => {
                    return Err(L1Error::ChainIdWrong {
                        url: endpoint.url.clone(),
                        expected: self.0.chain_id,
                        got,
                    });
                }
                Chain::Other { got, expected } => {
                    let url = endpoint.url.clone();
                    return Err(L1Error::GenesisWrong { url, expected, got });
                }
                Chain::Unknown(error) => reasons.push(endpoint.failure(&error)),
            }
        }
        if reasons.len() == self.0.endpoints.len() {
            let reason = reasons.join("; ");
            return Err(L1Error::Unreachable { what: "chain id", reason });
        }
        for reason in reasons {
            tracing::warn!(error = reason, "L1 endpoint unreachable; used once it responds");
        }
        Ok(())
    }
}

impl Inner {
    async fn chain_of(&self, endpoint: &Endpoint) -> Chain {
        if endpoint.checked.load(Ordering::Relaxed) {
            return Chain::Right;
        }
        let client = RpcClient::new(endpoint.http.clone(), false);
        match client.request_noparams::<U64>("eth_chainId").await {
            Ok(got) if got.to::<u64>() == self.chain_id => {}
            Ok(got) => return Chain::Wrong { got: got.to() },
            Err(error) => return Chain::Unknown(error),
        }
        let got = match block(&client, "0x0").await {
            Ok(Some(block)) => block.hash,
            Ok(None) => {
                return Chain::Unknown(TransportErrorKind::custom_str("it has no block 0"));
            }
            Err(error) => return Chain::Unknown(error),
        };
        let expected = *self.genesis.get_or_init(|| got);
        if got != expected {
            return Chain::Other { got, expected };
        }
        endpoint.checked.store(true, Ordering::Relaxed);
        Chain::Right
    }

    /// Leaves the preferred endpoint if it lags far behind another one.
    async fn compare(self: &Arc<Self>) {
        let mut asked = JoinSet::new();
        for index in 0..self.endpoints.len() {
            let inner = Arc::clone(self);
            asked.spawn(async move {
                let endpoint = &inner.endpoints[index];
                let Chain::Right = inner.chain_of(endpoint).await else { return None };
                let client = RpcClient::new(endpoint.http.clone(), false);
                Some((index, block(&client, "latest").await.ok()??.number.to::<u64>()))
            });
        }
        let mut heads = Vec::new();
        let all = async {
            while let Some(told) = asked.join_next().await {
                heads.extend(told.ok().flatten());
            }
        };
        // An endpoint that does not respond in time is not a better one.
        let _ = tokio::time::timeout(HEAD_TIMEOUT, all).await;
        let preferred = self.preferred.load(Ordering::Relaxed);
        let mine = heads.iter().find(|(index, _)| *index == preferred).map(|(_, head)| *head);
        let best = heads.iter().max_by_key(|(_, head)| *head);
        // One that does not respond is left at the next request.
        if let (Some(mine), Some(&(index, head))) = (mine, best)
            && head > mine.saturating_add(LAG_MAX)
        {
            let (left, url) = (&self.endpoints[preferred].url, &self.endpoints[index].url);
            tracing::warn!(
                from = left,
                from_l1_block = mine,
                to = url,
                to_l1_block = head,
                "lagging L1 endpoint left"
            );
            self.preferred.store(index, Ordering::Relaxed);
        }
    }

    /// Sends a signed transaction to every endpoint. Returns the first acceptance; else a response of a
    /// node, if there is one.
    async fn ask_all(
        self: &Arc<Self>,
        request: &RequestPacket,
    ) -> Result<ResponsePacket, TransportError> {
        let mut asked = JoinSet::new();
        for index in 0..self.endpoints.len() {
            let (inner, request) = (Arc::clone(self), request.clone());
            asked.spawn(async move { inner.ask_one(index, &request).await });
        }
        let (mut reasons, mut rejected, mut poor) = (Vec::new(), None, None);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Answer::Good(response)) if !response.is_error() => {
                    // The others still get it.
                    asked.detach_all();
                    return Ok(response);
                }
                Ok(Answer::Good(response)) => rejected = Some(response),
                Ok(Answer::Poor(reason, response)) => {
                    reasons.push(reason);
                    poor = Some(response);
                }
                Ok(Answer::None(reason)) => reasons.push(reason),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        // A response of a node is more informative than a timeout of another one.
        match rejected.or(poor) {
            Some(response) => Ok(response),
            None => Err(TransportErrorKind::custom_str(&reasons.join("; "))),
        }
    }

    async fn ask_one(&self, index: usize, request: &RequestPacket) -> Answer {
        let endpoint = &self.endpoints[index];
        match self.chain_of(endpoint).await {
            Chain::Right => {}
            Chain::Wrong { got } => {
                let expected = self.chain_id;
                tracing::error!(
                    url = endpoint.url,
                    got,
                    expected,
                    "L1 endpoint rejected: wrong chain id"
                );
                let url = &endpoint.url;
                return Answer::None(format!("{url}: chain {got}, expected {expected}"));
            }
            Chain::Other { got, expected } => {
                tracing::error!(url = endpoint.url, %got, %expected, "L1 endpoint rejected: wrong block 0");
                let url = &endpoint.url;
                return Answer::None(format!("{url}: block 0 is {got}, expected {expected}"));
            }
            Chain::Unknown(error) => return Answer::None(endpoint.failure(&error)),
        }
        match endpoint.http.clone().call(request.clone()).await {
            Ok(response) => match speaks_of_the_endpoint(&response) {
                Some(said) => Answer::Poor(format!("{}: {said}", endpoint.url), response),
                None => Answer::Good(response),
            },
            Err(error) => Answer::None(endpoint.failure(&error)),
        }
    }

    async fn ask(
        self: &Arc<Self>,
        request: RequestPacket,
    ) -> Result<ResponsePacket, TransportError> {
        if request.as_single().is_some_and(|r| r.method() == "eth_sendRawTransaction") {
            return self.ask_all(&request).await;
        }
        if self.endpoints.len() > 1
            && asks_for_the_head(&request)
            && self.polls.fetch_add(1, Ordering::Relaxed) % COMPARE_EACH == COMPARE_EACH - 1
        {
            self.compare().await;
        }
        let (mut retry, mut left) = (Backoff::new(RETRY.0, RETRY.1), RETRIES);
        loop {
            let failed = match self.ask_each(&request).await {
                Ok(response) if speaks_of_the_endpoint(&response).is_none() => return Ok(response),
                failed => failed,
            };
            if left == 0 {
                return failed;
            }
            left -= 1;
            tokio::time::sleep(retry.pause()).await;
        }
    }

    /// Whether an endpoint lacks a block that L1 has had.
    fn is_lacking(&self, request: &RequestPacket, response: &ResponsePacket) -> bool {
        let expected = self.expected.load(Ordering::Relaxed);
        is_null(response) && asked_block(request).is_some_and(|number| number <= expected)
    }

    /// Asks one endpoint after the other. A response about its endpoint is returned only if no other
    /// endpoint has a better one.
    async fn ask_each(&self, request: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let n = self.endpoints.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        let (mut poor, mut lacking) = (None, Vec::new());
        for step in 0..n {
            let index = (first + step) % n;
            match self.ask_one(index, request).await {
                Answer::Good(response) if self.is_lacking(request, &response) => {
                    reasons.push(format!("{}: it lacks the block", self.endpoints[index].url));
                    lacking.push(response);
                }
                Answer::Good(response) => {
                    if step > 0 {
                        let url = &self.endpoints[index].url;
                        tracing::warn!(url, "L1 endpoint switched");
                        self.preferred.store(index, Ordering::Relaxed);
                    }
                    return Ok(response);
                }
                Answer::Poor(reason, response) => {
                    reasons.push(reason);
                    poor = Some(response);
                }
                Answer::None(reason) => reasons.push(reason),
            }
        }
        // L1 has none now if all say so. Otherwise those that did not answer may have it.
        if lacking.len() == n
            && let Some(response) = lacking.pop()
        {
            return Ok(response);
        }
        match poor {
            // A response of a node is more informative than a timeout.
            Some(response) => Ok(response),
            None => Err(TransportErrorKind::custom_str(&reasons.join("; "))),
        }
    }
}

impl Endpoint {
    /// An error of this endpoint in words, without the credentials of its URL.
    fn failure(&self, error: &TransportError) -> String {
        let hidden = |text: String, form: &String| text.replace(form.as_str(), &self.url);
        let text = rollmill_net::connection_failure(error).unwrap_or_else(|| error.to_string());
        format!("{}: {}", self.url, self.secret_forms.iter().fold(text, hidden))
    }
}

/// The URL as it was given, as it is normalised, and without user and password, which the HTTP
/// library takes out before it sends; longest first.
fn secret_forms(given: &str, url: &reqwest::Url) -> Vec<String> {
    let mut bare = url.clone();
    // Both fail only for URLs without a host, to which nothing is ever sent.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let mut forms = vec![given.to_owned(), url.to_string(), bare.to_string()];
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms
}

/// What a response reports about its endpoint rather than about the request: limits, internal errors,
/// and states that the node does not have yet or no longer has. Another endpoint may have them.
///
/// Sources: codes of JSON-RPC 2.0 section 5.1 and of EIP-1474; texts of go-ethereum, Erigon and Nethermind
/// for pruned or missing states, for which they share no code.
fn speaks_of_the_endpoint(response: &ResponsePacket) -> Option<String> {
    const LIMIT_EXCEEDED: i64 = -32005;
    const RESOURCE_UNAVAILABLE: i64 = -32002;
    const INTERNAL: i64 = -32603;
    const TEXTS: [&str; 7] = [
        "header not found",
        "missing trie node",
        "unknown block",
        "rate limit",
        "too many requests",
        "limit exceeded",
        "state not available",
    ];
    let ResponsePacket::Single(response) = response else { return None };
    let error = response.payload.as_error()?;
    // A revert carries data, with any code.
    if error.as_revert_data().is_some() {
        return None;
    }
    let message = error.message.to_lowercase();
    let is_code = [LIMIT_EXCEEDED, RESOURCE_UNAVAILABLE, INTERNAL].contains(&error.code);
    (is_code || TEXTS.iter().any(|text| message.contains(text)))
        .then(|| format!("{} {}", error.code, error.message))
}

impl Service<RequestPacket> for Failover {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.ask(request).await })
    }
}
