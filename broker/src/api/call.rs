//! One call of a route: its caller, parameter, query and body, each read and checked as the table says.

use std::sync::Arc;
use std::time::Instant;

use axum::RequestPartsExt;
use axum::body::{Body, Bytes};
use axum::extract::{Query, RawPathParams, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use rollmill_broker_client::routes::{Admission, BodyLimit, Content, Payload, Route};
use rollmill_broker_client::rules::{At, Described};
use rollmill_service::Connection;
use tokio::sync::Semaphore;

use super::Answer;
use super::admission::Memory;
use crate::broker::Shared;
use crate::credential::Credential;
use crate::error::BrokerError;
use crate::store::tokens::Bearer;

/// The arguments of a handler.
pub(crate) struct Call<R: Route> {
    pub(crate) bearer: Arc<Bearer>,
    pub(crate) parameter: R::Parameter,
    pub(crate) query: R::Query,
    pub(crate) body: <R::Body as Payload>::Value,
}

/// Serves a call: token and role, parameter and query, a place and the body, the handler. Without a
/// token of the right role the broker buffers no body.
pub(super) async fn serve<R, H, F>(
    shared: &Arc<Shared>,
    request: Request,
    handler: H,
) -> Result<Response, BrokerError>
where
    R: Route,
    H: Fn(Arc<Shared>, Call<R>) -> F,
    F: Future<Output = Answer<R>>,
{
    let (mut parts, body) = request.into_parts();
    let Head { bearer, parameter, query, limit, share } = head::<R>(shared, &mut parts).await?;
    require_content_type::<R>(&parts)?;
    let admission = &shared.admission;
    let mut memory = admission.memory(R::SPEC.admission, &parts, limit.max, share)?;
    let body = read(body, limit, &mut memory).await?;
    let body = R::Body::decode(body)
        .map_err(|error| BrokerError::bad(format!("the JSON body cannot be read: {error}")))?;
    R::Body::check(&body)?;
    let place = admission.place(R::SPEC.admission).await?;
    let handled = handler(Arc::clone(shared), Call { bearer, parameter, query, body });
    let answer = match R::SPEC.admission {
        // It may wait for longer than its token is valid. What it was granted meanwhile it returns.
        Admission::LongPoll => {
            let credential = Credential::of(&parts);
            tokio::select! {
                answer = handled => answer?,
                error = shared.until_closed_to(&credential) => return Err(error),
            }
        }
        Admission::Bounded | Admission::Urgent => handled.await?,
    };
    // Held until the handler has ended.
    drop((memory, place));
    respond::<R>(&answer)
}

/// What a request says before its body.
pub(super) struct Head<R: Route> {
    pub(super) bearer: Arc<Bearer>,
    pub(super) parameter: R::Parameter,
    pub(super) query: R::Query,
    pub(super) limit: Limit,
    /// What its token may have of the memory for bodies.
    pub(super) share: Option<Arc<Semaphore>>,
}

/// Reads and checks what a request says before its body: token with its limits and role, parameter, query, announced
/// length.
pub(super) async fn head<R: Route>(
    shared: &Shared,
    parts: &mut Parts,
) -> Result<Head<R>, BrokerError> {
    let bearer = shared.bearer(&Credential::of(parts))?;
    let connection = parts.extensions.get::<Connection>();
    let is_urgent = R::SPEC.admission == Admission::Urgent;
    let admitted = shared.usage.request(&bearer, connection, is_urgent, Instant::now())?;
    if let Some(connection) = connection.filter(|_| admitted.is_within) {
        connection.vouch();
    }
    bearer.require(R::SPEC.roles)?;
    let parameter = parameter::<R>(parts).await?;
    let query = Query::<R::Query>::try_from_uri(&parts.uri);
    let Query(query) = query.map_err(|error| {
        // What serde found wrong, after axum's words for it. The query has no secrets.
        let text = error.body_text();
        let found = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        BrokerError::bad(format!("the query cannot be read: {found}"))
    })?;
    query.check(&At::TOP)?;
    let limit = Limit::of::<R>(shared);
    if max_exceeded(parts, limit) {
        return Err(BrokerError::TooLarge { what: limit.what, max: limit.max });
    }
    Ok(Head { bearer, parameter, query, limit, share: admitted.share })
}

fn respond<R: Route>(answer: &<R::Answer as Payload>::Value) -> Result<Response, BrokerError> {
    let bytes = R::Answer::encode(answer).map_err(|error| BrokerError::Internal {
        reason: format!("the answer cannot be written as JSON: {error}"),
    })?;
    let status = StatusCode::from_u16(R::SPEC.success).unwrap_or(StatusCode::OK);
    let mut response = (status, bytes).into_response();
    match R::Answer::CONTENT_TYPE {
        Some(content_type) => {
            let value = HeaderValue::from_static(content_type);
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        None => {
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
    }
    Ok(response)
}

async fn parameter<R: Route>(parts: &mut Parts) -> Result<R::Parameter, BrokerError> {
    use rollmill_broker_client::routes::Parameter;
    let params = parts
        .extract::<RawPathParams>()
        .await
        .map_err(|error| BrokerError::bad(format!("the path cannot be read: {error}")))?;
    let text = params.iter().next().map(|(_, value)| value);
    R::Parameter::read(text).map_err(BrokerError::bad)
}

/// Rejects what says that it is no JSON where JSON is expected. Bytes may come as any type.
fn require_content_type<R: Route>(parts: &Parts) -> Result<(), BrokerError> {
    if !matches!(R::SPEC.body_form, Content::Json(_)) || is_json(&parts.headers) {
        return Ok(());
    }
    Err(BrokerError::bad("the content type is application/json"))
}

/// Whether the body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// What BRK-017 says about an artifact.
const ARTIFACT: &str = "the size of the artifact in bytes (setting `artifact_bytes_max`)";

/// The largest body, and what it is called.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) what: &'static str,
    pub(super) max: usize,
}

impl Limit {
    fn of<R: Route>(shared: &Shared) -> Self {
        match R::SPEC.body_limit {
            BodyLimit::None => Self { what: "the body", max: 0 },
            BodyLimit::Bytes(max) => Self { what: "the size of the JSON body in bytes", max },
            BodyLimit::Artifact => Self { what: ARTIFACT, max: shared.artifact_bytes_max },
        }
    }
}

/// Whether the announced length is too large already.
fn max_exceeded(parts: &Parts, limit: Limit) -> bool {
    limit.max > 0 && super::admission::length(parts).is_some_and(|length| length > limit.max)
}

/// Reads a body as a whole; `memory` grows with it.
pub(super) async fn read(
    body: Body,
    Limit { what, max }: Limit,
    memory: &mut Memory<'_>,
) -> Result<Bytes, BrokerError> {
    if max == 0 {
        // The route has no body; what came with it is ignored.
        return Ok(Bytes::new());
    }
    let mut body = body.into_data_stream();
    let (mut parts, mut length) = (Vec::new(), 0);
    while let Some(part) = body.next().await {
        let part: Bytes = part.map_err(|_| {
            BrokerError::bad("the connection broke off before the body was complete")
        })?;
        length += part.len();
        if length > max {
            return Err(BrokerError::TooLarge { what, max });
        }
        memory.grow(length)?;
        parts.push(part);
    }
    match <[Bytes; 1]>::try_from(parts) {
        Ok([whole]) => Ok(whole),
        Err(parts) => Ok(parts.concat().into()),
    }
}
