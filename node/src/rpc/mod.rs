//! The JSON-RPC server: `POST /`, one request a body.

mod admission;
mod methods;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use axum::{Extension, Router};
use rollmill_node_client::wire::{
    BUSY, ErrorData, REQUEST_BYTES_MAX, Request, Response, RpcError, Sent, method,
};
use rollmill_service::prometheus::{self, Registry};
use serde_json::Value;
use tokio::sync::Semaphore;

pub use admission::AdmissionLimits;

use crate::error::{NodeError, PoolError, QueryError};
use crate::node::Node;
use admission::Admission;

/// Requests that are worked on at once; others wait for their turn.
const CALLS_MAX: usize = 64;
/// How long a request waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);

/// The JSON-RPC of a node, with the figures of its admission.
pub struct Rpc {
    node: Arc<Node>,
    admission: Arc<Admission>,
    calls: Semaphore,
}

impl std::fmt::Debug for Rpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rpc").finish_non_exhaustive()
    }
}

impl Rpc {
    /// Answers for `node`.
    pub fn new(node: Arc<Node>, limits: AdmissionLimits) -> Self {
        let admission = Arc::new(Admission::new(Arc::clone(&node), limits));
        Self { node, admission, calls: Semaphore::new(CALLS_MAX) }
    }

    /// Shows the figures of the admission under `rollmill_node_admission_…`.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.admission.register(registry)
    }

    /// Serves under `/`. Serve it with the process's frame; add no state.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", post(handle))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(Arc::new(self))
    }
}

/// Serves `node` under `/` within [`AdmissionLimits::default`].
pub fn router(node: Arc<Node>) -> Router {
    Rpc::new(node, AdmissionLimits::default()).router()
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The request body exceeds the maximum size.
    ///
    /// Do: Send smaller requests.
    #[error("NODE-040: a request of at most {REQUEST_BYTES_MAX} bytes is read")]
    TooLarge,
    /// The request body is not JSON.
    ///
    /// Do: Correct the client.
    #[error("NODE-041: the request is not JSON: {0}")]
    NotJson(String),
    /// The request body is not a JSON-RPC 2.0 request. Batches are not supported.
    ///
    /// Do: Correct the client; send one request per body.
    #[error("NODE-042: a JSON-RPC 2.0 request object expected: {0}")]
    NotARequest(String),
    /// The method does not exist.
    ///
    /// Do: Check its name against the node's release.
    #[error("NODE-043: there is no method {0:.64}")]
    NoMethod(String),
    /// Internal error: the request handler panicked.
    ///
    /// Do: A bug in Rollmill: report it with the node's log.
    #[error("NODE-044: internal error: the request handler panicked; see the node's log")]
    Died,
    /// The request body is incomplete.
    ///
    /// Do: Send the request again; check the network or proxy.
    #[error("NODE-045: the request is incomplete; send it again")]
    Body,
    /// Too many concurrent requests.
    ///
    /// Do: Send the request again later.
    #[error("NODE-046: the node is busy with other requests; send it again later")]
    Overloaded,
    /// The question has no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The transaction is not taken.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<NodeError> for CallError {
    fn from(error: NodeError) -> Self {
        Self::Query(error.into())
    }
}

impl CallError {
    /// JSON-RPC's number for this error.
    fn number(&self) -> i64 {
        match self {
            Self::NotJson(_) => -32700,
            Self::TooLarge | Self::Body | Self::NotARequest(_) => -32600,
            Self::NoMethod(_) => -32601,
            Self::Query(QueryError::Parameters { .. }) => -32602,
            Self::Died | Self::Query(QueryError::Node(_)) | Self::Pool(PoolError::Node(_)) => {
                -32603
            }
            Self::Overloaded | Self::Pool(PoolError::Busy) => BUSY,
            Self::Query(_) | Self::Pool(_) => -32000,
        }
    }

    /// HTTP's word for it, where there is one that intermediaries should see.
    fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body => StatusCode::BAD_REQUEST,
            Self::Overloaded | Self::Pool(PoolError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }

    fn to_wire(&self) -> RpcError {
        let message = self.to_string();
        if self.number() == -32603 {
            tracing::error!(error = %message, "request failed");
        }
        let code = message.split(':').next().unwrap_or_default().to_owned();
        RpcError { code: self.number(), message, data: ErrorData { code } }
    }
}

async fn handle(
    State(rpc): State<Arc<Rpc>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    body: Result<Bytes, BytesRejection>,
) -> HttpResponse {
    let peer = peer.map(|Extension(ConnectInfo(address))| address.ip());
    let (id, result) = match parse(body) {
        Ok(request) => (request.id.clone(), answer(&rpc, request, peer).await),
        Err(error) => (Value::Null, Err(error)),
    };
    let status = result.as_ref().err().map_or(StatusCode::OK, CallError::status);
    let response = match result {
        Ok(result) => Response { jsonrpc: "2.0".to_owned(), id, result: Some(result), error: None },
        Err(error) => {
            Response { jsonrpc: "2.0".to_owned(), id, result: None, error: Some(error.to_wire()) }
        }
    };
    match serde_json::to_vec(&response) {
        Ok(bytes) => {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            let mut response = (status, headers, bytes).into_response();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                let value = HeaderValue::from_static("1");
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn answer(rpc: &Rpc, request: Request, peer: Option<IpAddr>) -> Result<Value, CallError> {
    let turn = tokio::time::timeout(TURN_MAX, rpc.calls.acquire()).await;
    // The semaphore is never closed.
    let Ok(Ok(turn)) = turn else { return Err(CallError::Overloaded) };
    if request.method == method::SEND_TRANSACTION {
        let bytes = methods::sent_transaction(&request)?;
        // Verification has its own turns.
        drop(turn);
        let tx_hash = rpc.admission.submit(bytes, peer).await?;
        return methods::value(Sent { tx_hash });
    }
    let node = Arc::clone(&rpc.node);
    // Reading and hashing block; the runtime's own threads must not.
    let work = tokio::task::spawn_blocking(move || methods::call(&node, &request));
    work.await.unwrap_or(Err(CallError::Died))
}

fn parse(body: Result<Bytes, BytesRejection>) -> Result<Request, CallError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => CallError::TooLarge,
        _ => CallError::Body,
    })?;
    let value: Value =
        serde_json::from_slice(&body).map_err(|error| CallError::NotJson(error.to_string()))?;
    match &value {
        Value::Object(_) => {}
        Value::Array(_) => {
            return Err(CallError::NotARequest("batches are not supported".to_owned()));
        }
        _ => return Err(CallError::NotARequest("it is neither an object nor a list".to_owned())),
    }
    let request: Request =
        serde_json::from_value(value).map_err(|error| CallError::NotARequest(error.to_string()))?;
    if request.jsonrpc == "2.0" {
        Ok(request)
    } else {
        Err(CallError::NotARequest("jsonrpc must be \"2.0\"".to_owned()))
    }
}
