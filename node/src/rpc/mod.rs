//! The JSON-RPC server: `POST /`, one request a body.

mod methods;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use rollmill_node_client::wire::{ErrorData, REQUEST_BYTES_MAX, Request, Response, RpcError};
use serde_json::Value;

use crate::error::{NodeError, PoolError, QueryError};
use crate::node::Node;

/// Serves `node` under `/`. Serve it with the process's frame; add no state.
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", post(handle))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(node)
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The body is larger than any request.
    #[error("NODE-040: a request of at most {REQUEST_BYTES_MAX} bytes is read")]
    TooLarge,
    /// The body is no JSON.
    #[error("NODE-041: the request is not JSON: {0}")]
    NotJson(String),
    /// The body is no JSON-RPC 2.0 request. Batches are not taken.
    #[error("NODE-042: a JSON-RPC 2.0 request object expected: {0}")]
    NotARequest(String),
    /// There is no such method.
    #[error("NODE-043: there is no method {0:.64}")]
    NoMethod(String),
    /// The work died.
    #[error("NODE-044: the request could not be worked on")]
    Died,
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
            Self::TooLarge | Self::NotARequest(_) => -32600,
            Self::NoMethod(_) => -32601,
            Self::Query(QueryError::Parameters { .. }) => -32602,
            Self::Died | Self::Query(QueryError::Node(_)) | Self::Pool(PoolError::Node(_)) => {
                -32603
            }
            Self::Query(_) | Self::Pool(_) => -32000,
        }
    }

    fn to_wire(&self) -> RpcError {
        let message = self.to_string();
        if self.number() == -32603 {
            tracing::error!(%message, "request failed");
        }
        let code = message.split(':').next().unwrap_or_default().to_owned();
        RpcError { code: self.number(), message, data: ErrorData { code } }
    }
}

async fn handle(
    State(node): State<Arc<Node>>,
    body: Result<Bytes, BytesRejection>,
) -> HttpResponse {
    let (id, result) = match parse(body) {
        Ok(request) => {
            let id = request.id.clone();
            // Reading and verifying block; the runtime's own threads must not.
            let work = tokio::task::spawn_blocking(move || methods::call(&node, &request));
            (id, work.await.unwrap_or(Err(CallError::Died)))
        }
        Err(error) => (Value::Null, Err(error)),
    };
    let response = match result {
        Ok(result) => Response { jsonrpc: "2.0".to_owned(), id, result: Some(result), error: None },
        Err(error) => {
            Response { jsonrpc: "2.0".to_owned(), id, result: None, error: Some(error.to_wire()) }
        }
    };
    match serde_json::to_vec(&response) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn parse(body: Result<Bytes, BytesRejection>) -> Result<Request, CallError> {
    let body = body.map_err(|_| CallError::TooLarge)?;
    let value: Value =
        serde_json::from_slice(&body).map_err(|error| CallError::NotJson(error.to_string()))?;
    let request: Request =
        serde_json::from_value(value).map_err(|error| CallError::NotARequest(error.to_string()))?;
    if request.jsonrpc == "2.0" {
        Ok(request)
    } else {
        Err(CallError::NotARequest("jsonrpc must be \"2.0\"".to_owned()))
    }
}
