//! The JSON-RPC server: `POST /`, one request or a bounded batch in a body. Beside it `GET /blobs/…`, for other nodes.

mod admission;
mod blobs;
mod methods;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use axum::{Extension, Router};
use rollmill_l1::data::{BlobArchive, PEER_PATH};
use rollmill_node_client::api::{Fault, dispatch};
use rollmill_node_client::wire::{
    BATCH_ANSWER_BYTES_MAX, BATCH_MAX, BUSY, ErrorData, REQUEST_BYTES_MAX, Request, Response,
    RpcError,
};
use rollmill_service::prometheus::{self, Registry};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use admission::AdmissionLimits;

use crate::error::{NodeError, PoolError, QueryError};
use crate::node::Node;
use admission::Admission;

/// Bounds of the work on requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallLimits {
    /// Maximum requests in progress; others wait for their turn.
    pub(crate) calls: usize,
    /// How long a request waits for its turn.
    pub(crate) turn: Duration,
    /// After this time no further request of a batch is worked on. A client waits 30 s.
    pub(crate) batch_time: Duration,
    /// Bytes of a batch's responses after which its remaining requests get an error.
    pub(crate) batch_answer_bytes: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            calls: 64,
            turn: Duration::from_secs(5),
            batch_time: Duration::from_secs(20),
            batch_answer_bytes: BATCH_ANSWER_BYTES_MAX,
        }
    }
}

/// The JSON-RPC of a node, with the figures of its admission.
pub struct Rpc {
    node: Arc<Node>,
    admission: Arc<Admission>,
    calls: Semaphore,
    limits: CallLimits,
    blobs: Option<blobs::Served>,
}

impl std::fmt::Debug for Rpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rpc").finish_non_exhaustive()
    }
}

impl Rpc {
    /// The JSON-RPC of `node`.
    pub fn new(node: Arc<Node>, limits: AdmissionLimits) -> Self {
        let admission = Arc::new(Admission::new(Arc::clone(&node), limits));
        let limits = CallLimits::default();
        Self { node, admission, calls: Semaphore::new(limits.calls), limits, blobs: None }
    }

    /// Also serves a blob archive.
    #[must_use]
    pub fn with_blobs(self, archive: BlobArchive) -> Self {
        Self { blobs: Some(blobs::Served::new(archive)), ..self }
    }

    /// With other bounds of the work on requests.
    #[cfg(test)]
    pub(crate) fn within(self, limits: CallLimits) -> Self {
        Self { calls: Semaphore::new(limits.calls), limits, ..self }
    }

    /// Shows the figures of the admission under `rollmill_node_admission_…`.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.admission.register(registry)
    }

    /// A turn to work on a request.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, CallError> {
        match tokio::time::timeout(self.limits.turn, self.calls.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(CallError::Overloaded),
        }
    }

    async fn answer(&self, request: &Request, peer: Option<IpAddr>) -> Result<Value, CallError> {
        dispatch(&methods::Api { rpc: self, peer }, &request.method, &request.params).await
    }

    /// Serves under `/`. Serve it with the process's frame; add no state.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", post(handle))
            .route(&format!("/{PEER_PATH}/{{versioned_hash}}"), get(blobs::blob))
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
    #[error("{code}: a request of at most {REQUEST_BYTES_MAX} bytes is read", code = self.code())]
    TooLarge,
    /// The request body is not JSON.
    ///
    /// Do: Correct the client.
    #[error("{code}: the request is not JSON: {0}", code = self.code())]
    NotJson(String),
    /// The request body is neither a JSON-RPC 2.0 request nor a batch of them.
    ///
    /// Do: Correct the client.
    #[error("{code}: a JSON-RPC 2.0 request object expected: {0}", code = self.code())]
    NotARequest(String),
    /// The method does not exist.
    ///
    /// Do: Check its name against the node's release.
    #[error("{code}: there is no method {0:.64}", code = self.code())]
    NoMethod(String),
    /// Internal error: the request handler panicked.
    ///
    /// Do: A bug in Rollmill: report it with the node's log.
    #[error("{code}: internal error: the request handler panicked; see the node's log", code = self.code())]
    Died,
    /// The request body is incomplete.
    ///
    /// Do: Send the request again; check the network or proxy.
    #[error("{code}: the request is incomplete; send it again", code = self.code())]
    Body,
    /// Too many concurrent requests.
    ///
    /// Do: Send the request again later.
    #[error("{code}: the node is busy with other requests; send it again later", code = self.code())]
    Overloaded,
    /// A batch has more requests than a node takes.
    ///
    /// Do: Send several smaller batches.
    #[error("{code}: a batch of {0} requests, at most {BATCH_MAX} are taken; send several", code = self.code())]
    BatchTooLong(usize),
    /// The answers to the earlier requests of a batch are too large for another one.
    ///
    /// Do: Send this request again in another batch or on its own.
    #[error("{code}: the answer to the batch is too large; send this request again on its own", code = self.code())]
    BatchAnswer,
    /// The question has no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The transaction is not taken.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

rollmill_errors::coded! {
    CallError {
        Self::TooLarge => "NODE-040",
        Self::NotJson(_) => "NODE-041",
        Self::NotARequest(_) => "NODE-042",
        Self::NoMethod(_) => "NODE-043",
        Self::Died => "NODE-044",
        Self::Body => "NODE-045",
        Self::Overloaded => "NODE-046",
        Self::BatchTooLong(_) => "NODE-047",
        Self::BatchAnswer => "NODE-048",
        Self::Query(error) => (error),
        Self::Pool(error) => (error),
    }
}

impl From<NodeError> for CallError {
    fn from(error: NodeError) -> Self {
        Self::Query(error.into())
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoMethod(name) => Self::NoMethod(name),
            Fault::Parameters { method, reason } => {
                QueryError::Parameters { method, reason }.into()
            }
            Fault::Result(reason) => NodeError::corrupt(reason).into(),
        }
    }
}

impl CallError {
    /// JSON-RPC's number for this error.
    fn number(&self) -> i64 {
        match self {
            Self::NotJson(_) => -32700,
            Self::TooLarge | Self::Body | Self::NotARequest(_) | Self::BatchTooLong(_) => -32600,
            Self::NoMethod(_) => -32601,
            Self::Query(QueryError::Parameters { .. }) => -32602,
            Self::Died | Self::Query(QueryError::Node(_)) | Self::Pool(PoolError::Node(_)) => {
                -32603
            }
            Self::Overloaded | Self::Pool(PoolError::Busy) => BUSY,
            Self::BatchAnswer | Self::Query(_) | Self::Pool(_) => -32000,
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

    pub(crate) fn to_wire(&self) -> RpcError {
        let message = self.to_string();
        if self.number() == -32603 {
            tracing::error!(error = %message, "request failed");
        }
        RpcError { code: self.number(), message, data: ErrorData { code: self.code().to_owned() } }
    }
}

/// What a body asks for.
enum Asked {
    One(Request),
    /// Each is yet to be read as a request.
    Many(Vec<Value>),
}

async fn handle(
    State(rpc): State<Arc<Rpc>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    body: Result<Bytes, BytesRejection>,
) -> HttpResponse {
    let peer = peer.map(|Extension(ConnectInfo(address))| address.ip());
    let (id, result) = match parse(body) {
        Ok(Asked::Many(requests)) => return batch(&rpc, requests, peer).await,
        Ok(Asked::One(request)) => (request.id.clone(), rpc.answer(&request, peer).await),
        Err(error) => (Value::Null, Err(error)),
    };
    let status = result.as_ref().err().map_or(StatusCode::OK, CallError::status);
    match serde_json::to_vec(&response(id, result)) {
        Ok(bytes) => json(status, bytes),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Handles the requests of a batch one after the other, so that a connection never has more than one
/// turn. The responses have the order of the requests.
async fn batch(rpc: &Rpc, requests: Vec<Value>, peer: Option<IpAddr>) -> HttpResponse {
    let end = tokio::time::Instant::now() + rpc.limits.batch_time;
    let mut is_overloaded = false;
    let mut bytes = vec![b'['];
    for value in requests {
        let (id, result) = match request(value) {
            Ok(request) => {
                is_overloaded |= tokio::time::Instant::now() >= end;
                let result = if is_overloaded {
                    Err(CallError::Overloaded)
                } else if bytes.len() > rpc.limits.batch_answer_bytes {
                    Err(CallError::BatchAnswer)
                } else {
                    rpc.answer(&request, peer).await
                };
                (request.id, result)
            }
            Err(error) => (Value::Null, Err(error)),
        };
        is_overloaded |= matches!(result, Err(CallError::Overloaded));
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        if serde_json::to_writer(&mut bytes, &response(id, result)).is_err() {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    }
    bytes.push(b']');
    json(StatusCode::OK, bytes)
}

fn response(id: Value, result: Result<Value, CallError>) -> Response {
    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error.to_wire())),
    };
    Response { jsonrpc: "2.0".to_owned(), id, result, error }
}

fn json(status: StatusCode, bytes: Vec<u8>) -> HttpResponse {
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let value = HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn parse(body: Result<Bytes, BytesRejection>) -> Result<Asked, CallError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => CallError::TooLarge,
        _ => CallError::Body,
    })?;
    let value: Value =
        serde_json::from_slice(&body).map_err(|error| CallError::NotJson(error.to_string()))?;
    match value {
        Value::Array(requests) if requests.is_empty() => {
            Err(CallError::NotARequest("the batch is empty".to_owned()))
        }
        Value::Array(requests) if requests.len() > BATCH_MAX => {
            Err(CallError::BatchTooLong(requests.len()))
        }
        Value::Array(requests) => Ok(Asked::Many(requests)),
        value => request(value).map(Asked::One),
    }
}

fn request(value: Value) -> Result<Request, CallError> {
    if !value.is_object() {
        return Err(CallError::NotARequest("it is not an object".to_owned()));
    }
    let request: Request =
        serde_json::from_value(value).map_err(|error| CallError::NotARequest(error.to_string()))?;
    if request.jsonrpc == "2.0" {
        Ok(request)
    } else {
        Err(CallError::NotARequest("jsonrpc must be \"2.0\"".to_owned()))
    }
}
