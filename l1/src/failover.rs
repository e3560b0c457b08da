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

#[derive(Debug)]
struct Endpoint {
    url: String,
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
/// An endpoint is used only after it has told the expected chain id, however late it comes up. An
/// error that a node answers is an answer; only silence, a broken connection or an HTTP error makes
/// the next endpoint be asked. A request may thus reach two nodes: every request of this crate can
/// bear that, a signed transaction included, since it has one nonce.
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
        for url in urls {
            let parsed = reqwest::Url::parse(url).map_err(|error| bad(url, error.to_string()))?;
            if !matches!(parsed.scheme(), "http" | "https") {
                return Err(bad(url, format!("scheme `{}` is not supported", parsed.scheme())));
            }
            endpoints.push(Endpoint {
                url: url.clone(),
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
                Chain::Unknown(error) => reasons.push(format!("{}: {error}", endpoint.url)),
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
        let n = self.endpoints.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
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
                    reasons.push(format!("{}: {error}", endpoint.url));
                    continue;
                }
            }
            match endpoint.http.clone().call(request.clone()).await {
                Ok(response) => {
                    if step > 0 {
                        tracing::warn!(url = endpoint.url, "now asking another L1 endpoint");
                        self.preferred.store(index, Ordering::Relaxed);
                    }
                    return Ok(response);
                }
                Err(error) => reasons.push(format!("{}: {error}", endpoint.url)),
            }
        }
        Err(TransportErrorKind::custom_str(&reasons.join("; ")))
    }
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
