//! Which requests are worked on, and when: a request takes a place only once its body is here.
//!
//! A body may take its sender a long time, so it is read before the request takes one of the places
//! that bound the work in progress; it takes only the memory that it needs, from a budget. What keeps
//! leases and results alive has places and memory of its own: those requests wait for a place while
//! others are answered 503.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::{JSON_BYTES_MAX, Refusal, Shares, bearer_of, read_body};
use crate::broker::Shared;
use crate::error::BrokerError;

/// Bytes of bodies that may be in memory, of artifacts and of requests that can come again.
const BODY_BYTES: usize = 256 << 20;
/// The same of heartbeats and outcomes.
const URGENT_BODY_BYTES: usize = 64 << 20;
/// Heartbeats and outcomes worked on at a time; more wait.
const URGENT_REQUESTS: usize = 64;
/// Unit in which body memory is counted.
const UNIT: usize = 1024;

/// Places and memory for requests.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Semaphore,
    urgent: Semaphore,
    bodies: Semaphore,
    urgent_bodies: Semaphore,
}

impl Admission {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self {
            requests: Semaphore::new(requests_max),
            urgent: Semaphore::new(URGENT_REQUESTS),
            bodies: Semaphore::new(BODY_BYTES / UNIT),
            urgent_bodies: Semaphore::new(URGENT_BODY_BYTES / UNIT),
        }
    }
}

/// Whether a request keeps a lease or a result alive.
fn is_urgent(path: &str) -> bool {
    matches!(path, "/v1/heartbeat" | "/v1/complete" | "/v1/fail" | "/v1/release")
}

/// Reads the body, then takes a place, then serves. Answers 503 at once rather than queue without end.
pub(super) async fn admit(State(shared): Shares, request: Request, next: Next) -> Response {
    match admitted(&shared, request, next).await {
        Ok(response) => response,
        Err(error) => Refusal(error).into_response(),
    }
}

async fn admitted(shared: &Shared, request: Request, next: Next) -> Result<Response, BrokerError> {
    let (parts, body) = request.into_parts();
    // Nobody without a token makes the broker hold a body.
    bearer_of(&parts, shared)?;
    let urgent = is_urgent(parts.uri.path());
    let (what, max) = match parts.method == Method::PUT {
        true => ("the artifact", shared.artifact_bytes_max),
        false => ("the JSON body", JSON_BYTES_MAX),
    };
    let admission = &shared.admission;
    let bytes = match length(&parts) {
        Some(length) if length > max => return Err(BrokerError::TooLarge { what, max }),
        Some(length) => length,
        // A GET has neither length nor body; a body of unknown length may be of any.
        None if parts.method == Method::GET || parts.method == Method::DELETE => 0,
        None => max,
    };
    let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
    let memory = if urgent { &admission.urgent_bodies } else { &admission.bodies };
    let _memory = memory.try_acquire_many(units).map_err(|_| BrokerError::Overloaded)?;
    let body = read_body(body, what, max).await?;
    let _place = match urgent {
        // The semaphore is never closed.
        true => admission.urgent.acquire().await.map_err(|_| BrokerError::Overloaded)?,
        false => admission.requests.try_acquire().map_err(|_| BrokerError::Overloaded)?,
    };
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

fn length(parts: &Parts) -> Option<usize> {
    parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
