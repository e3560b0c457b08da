//! The HTTP interface: who may ask, how much, and how refusals look.

pub(crate) mod admission;
mod agents;
mod operators;
mod producers;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use rollmill_broker_client::{BATCH_MAX, ErrorBody, JobId, WAIT_MS_MAX};
use serde::de::DeserializeOwned;

use crate::broker::Shared;
use crate::error::BrokerError;
use crate::store::tokens::Bearer;

/// Largest JSON body: a full batch of jobs with labels.
const JSON_BYTES_MAX: usize = 4 << 20;

pub(crate) type Shares = State<Arc<Shared>>;
pub(crate) type Answer<T> = Result<axum::Json<T>, Refusal>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    // Long polls wait in memory and cost nothing, so they stand outside the limit on requests.
    let long = Router::new()
        .route("/v1/claim", post(agents::claim))
        .route("/v1/jobs/wait", post(producers::wait));
    let short = Router::new()
        .route("/v1/artifacts/{digest}", put(producers::put_artifact).get(producers::get_artifact))
        .route("/v1/jobs", post(producers::enqueue).get(operators::list))
        .route("/v1/jobs/query", post(producers::query))
        .route("/v1/jobs/reject", post(producers::reject))
        .route("/v1/jobs/cancel", post(producers::cancel))
        .route("/v1/jobs/{id}/history", get(operators::history))
        .route("/v1/epochs/{epoch}", delete(producers::drop_epoch))
        .route("/v1/named-leases/{verb}", post(producers::named_lease))
        .route("/v1/heartbeat", post(agents::heartbeat))
        .route("/v1/progress", post(agents::progress))
        .route("/v1/complete", post(agents::complete))
        .route("/v1/fail", post(agents::fail))
        .route("/v1/release", post(agents::release))
        .route("/v1/status", get(operators::status))
        .route("/v1/dead-letters/{verb}", post(operators::dead_letters))
        .route("/v1/agents/{agent}/pardon", post(operators::pardon))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), admission::admit));
    short
        .merge(long)
        .fallback(|| async { Refusal(BrokerError::bad("no such path")) })
        .method_not_allowed_fallback(|| async {
            Refusal(BrokerError::bad("no such method for this path"))
        })
        .layer(axum::middleware::from_fn_with_state(shared.clone(), count_refusals))
        .with_state(shared)
}

/// The code that a response refuses with, for the count.
#[derive(Clone, Copy)]
struct RefusedWith(&'static str);

async fn count_refusals(State(shared): Shares, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(RefusedWith(code)) = response.extensions().get() {
        shared.metrics.refusals_total.with_label_values(&[code]).inc();
    }
    response
}

/// A refusal as JSON with its code, and Retry-After where waiting helps.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) BrokerError);

impl<E: Into<BrokerError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(error = rollmill_service::one_line(&self.0), "request failed");
        }
        let text = self.0.to_string();
        let message = text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest).to_owned();
        let body = ErrorBody { code: self.0.code().to_owned(), message };
        let mut response = (status, axum::Json(body)).into_response();
        response.extensions_mut().insert(RefusedWith(self.0.code()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The caller, checked before the body is read.
pub(crate) struct Caller(pub(crate) Bearer);

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        Ok(Self(bearer_of(parts, shared)?))
    }
}

fn bearer_of(parts: &Parts, shared: &Shared) -> Result<Bearer, BrokerError> {
    let token = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    shared.bearer(token)
}

/// Reads a body of at most `max` bytes.
pub(crate) async fn read_body(
    body: Body,
    what: &'static str,
    max: usize,
) -> Result<Bytes, BrokerError> {
    axum::body::to_bytes(body, max).await.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            // axum's own name for it; a connection that broke off reads otherwise.
            if error.to_string().contains("length limit") {
                return BrokerError::TooLarge { what, max };
            }
            cause = error.source();
        }
        BrokerError::bad("the body broke off")
    })
}

/// Reads a JSON body; unknown fields are refused by the types.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, BrokerError> {
    let bytes = read_body(body, "the JSON body", JSON_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| BrokerError::bad(error.to_string()))
}

pub(crate) fn check_ids(ids: &[JobId]) -> Result<(), BrokerError> {
    if ids.len() > BATCH_MAX {
        return Err(BrokerError::TooLarge { what: "the batch", max: BATCH_MAX });
    }
    Ok(())
}

/// Small free JSON: agents' information, stats.
pub(crate) fn check_free_json(value: &serde_json::Value) -> Result<(), BrokerError> {
    const MAX: usize = 4096;
    let text = value.to_string();
    if text.len() > MAX {
        return Err(BrokerError::TooLarge { what: "the free JSON", max: MAX });
    }
    // Postgres has no NUL in its text or JSON.
    if text.contains("\\u0000") {
        return Err(BrokerError::bad("NUL in the free JSON"));
    }
    Ok(())
}

/// Text for people, cut to what the database should hold.
pub(crate) fn clean_text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(1000).collect()
}

pub(crate) fn wait_of(wait_ms: u64) -> std::time::Duration {
    std::time::Duration::from_millis(wait_ms.min(WAIT_MS_MAX))
}
