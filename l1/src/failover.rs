//! One transport over several RPC endpoints: the next one answers when the current one does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::primitives::U64;
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::http::{Http, reqwest};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use tower_service::Service;

use crate::error::L1Error;

/// Longest an endpoint may take for one request before the next one is asked.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pauses before a read is tried again at every endpoint.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(150), Duration::from_millis(450)];

#[derive(Debug)]
struct Endpoint {
    /// Scheme, host and port: all of the URL that may be shown.
    url: String,
    /// Forms of the whole URL that may stand in an error text of the HTTP library.
    secret_forms: Vec<String>,
    http: Http<reqwest::Client>,
    /// Set once the endpoint has told the right chain id. Nothing else is asked of it before.
    checked: AtomicBool,
}

/// What an endpoint said when asked for its chain.
enum Chain {
    Right,
    Wrong { got: u64 },
    Unknown(TransportError),
}

#[derive(Debug)]
struct Inner {
    chain_id: u64,
    endpoints: Vec<Endpoint>,
    /// Index of the endpoint that answered last; it is asked first.
    preferred: AtomicUsize,
}

/// A transport that tries its endpoints in turn, starting with the one that answered last.
///
/// An endpoint is used only after it has told the expected chain id, however late it comes up. The
/// next one is asked after silence, a broken connection, an HTTP error, or an answer that speaks of the
/// endpoint and not of the request (a limit, an internal error, a state that it has not got); the last
/// such answer is given if no endpoint has a better one. A request may thus reach two nodes: every
/// request of this crate can bear that, a signed transaction included, since it has one nonce.
///
/// When no endpoint is of use a request that only reads is tried again a few times, so that a sync of
/// thousands of requests gets through a connection that loses some of them.
#[derive(Debug, Clone)]
pub(crate) struct Failover(Arc<Inner>);

impl Failover {
    pub(crate) fn new(urls: &[String], chain_id: u64) -> Result<Self, L1Error> {
        let bad = |url: &str, reason: String| L1Error::Url { url: url.to_owned(), reason };
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| bad("", error.to_string()))?;
        let mut endpoints = Vec::new();
        for (place, url) in (1..).zip(urls) {
            // Text that is no URL may still hold a password, so it is named by its place.
            let parsed = reqwest::Url::parse(url)
                .map_err(|error| bad(&format!("number {place}"), error.to_string()))?;
            let shown = shown(&parsed);
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
        Ok(Self(Arc::new(Inner { chain_id, endpoints, preferred: AtomicUsize::new(0) })))
    }

    /// Asks every endpoint for its chain. One that serves another chain is an error even if others
    /// are right, and one endpoint must answer; those that do not are asked again when needed.
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
                Chain::Unknown(error) => reasons.push(endpoint.failure(&error)),
            }
        }
        if reasons.len() == self.0.endpoints.len() {
            let reason = reasons.join("; ");
            return Err(L1Error::Unreachable { what: "chain id", reason });
        }
        for reason in reasons {
            tracing::warn!(reason, "an L1 endpoint does not answer; it is used once it does");
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
            Ok(got) if got.to::<u64>() == self.chain_id => {
                endpoint.checked.store(true, Ordering::Relaxed);
                Chain::Right
            }
            Ok(got) => Chain::Wrong { got: got.to() },
            Err(error) => Chain::Unknown(error),
        }
    }

    async fn ask(&self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let reads = request.as_single().is_some_and(|r| r.method() != "eth_sendRawTransaction");
        let mut pauses = PAUSES.iter();
        loop {
            let failed = match self.ask_each(&request).await {
                Ok(response) if speaks_of_the_endpoint(&response).is_none() => return Ok(response),
                failed => failed,
            };
            let Some(pause) = pauses.next().filter(|_| reads) else { return failed };
            // Half of it at random, so that many requests do not come again at once.
            let jitter = rand::random::<u64>() % (pause.as_millis() as u64 / 2);
            tokio::time::sleep(*pause / 2 + Duration::from_millis(jitter)).await;
        }
    }

    /// Asks one endpoint after the other. An answer that speaks of its endpoint is given only if no
    /// other endpoint has a better one.
    async fn ask_each(&self, request: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let n = self.endpoints.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        let mut poor = None;
        for step in 0..n {
            let index = (first + step) % n;
            let endpoint = &self.endpoints[index];
            match self.chain_of(endpoint).await {
                Chain::Right => {}
                Chain::Wrong { got } => {
                    let expected = self.chain_id;
                    tracing::error!(url = endpoint.url, got, expected, "refused: another chain");
                    reasons.push(format!("{}: chain {got}, expected {expected}", endpoint.url));
                    continue;
                }
                Chain::Unknown(error) => {
                    reasons.push(endpoint.failure(&error));
                    continue;
                }
            }
            match endpoint.http.clone().call(request.clone()).await {
                Ok(response) => {
                    if let Some(said) = speaks_of_the_endpoint(&response) {
                        reasons.push(format!("{}: {said}", endpoint.url));
                        poor = Some(response);
                        continue;
                    }
                    if step > 0 {
                        tracing::warn!(url = endpoint.url, "now asking another L1 endpoint");
                        self.preferred.store(index, Ordering::Relaxed);
                    }
                    return Ok(response);
                }
                Err(error) => reasons.push(endpoint.failure(&error)),
            }
        }
        match poor {
            // What a node answered says more than that nobody did.
            Some(response) => Ok(response),
            None => Err(TransportErrorKind::custom_str(&reasons.join("; "))),
        }
    }
}

impl Endpoint {
    /// An error of this endpoint in words, without what its URL keeps secret.
    fn failure(&self, error: &TransportError) -> String {
        let hidden = |text: String, form: &String| text.replace(form.as_str(), &self.url);
        format!("{}: {}", self.url, self.secret_forms.iter().fold(error.to_string(), hidden))
    }
}

/// Scheme, host and port of a URL.
fn shown(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme())
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

/// What an answer says about the endpoint that gave it, if it says nothing about the request: limits,
/// internal errors, and states that a node has not got yet or no more. Another endpoint may know better.
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
    // A revert carries data, whatever number a client gives it.
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
