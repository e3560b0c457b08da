//! What the handlers do, for a caller in this process: the interface for Aztec's programs.
//!
//! The same code runs as for a request, so rules, metrics and wake-ups are the same.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use rollmill_broker_client::routes::{self, NoQuery, Payload, Route};
use rollmill_broker_client::{
    ClaimRequest, CompleteOutcome, CompleteRequest, Digest, FailRequest, Grant, HeartbeatRequest,
    IdsRequest, JobId, ReleaseRequest,
};
use tokio::sync::Semaphore;

use super::admission::Memory;
pub(crate) use super::call::is_json;
use super::call::{self, Call};
use super::{agents, artifacts, producers};
use crate::broker::Shared;
use crate::error::BrokerError;
use crate::store::tokens::Bearer;

fn call<R>(bearer: &Arc<Bearer>, body: <R::Body as Payload>::Value) -> Result<Call<R>, BrokerError>
where
    R: Route<Parameter = (), Query = NoQuery>,
{
    R::Body::check(&body)?;
    Ok(Call { bearer: Arc::clone(bearer), parameter: (), query: NoQuery {}, body })
}

/// What BRK-017 says about a body of Aztec's programs.
pub(crate) const BODY: &str = "the size of the body in bytes (setting `aztec_body_bytes_max`)";

/// Reads a body of at most `max` bytes; the memory for it is taken as it arrives. `share` is what its token may have of
/// that.
pub(crate) async fn body<'a>(
    shared: &'a Shared,
    parts: &Parts,
    body: Body,
    max: usize,
    share: Option<Arc<Semaphore>>,
) -> Result<(Bytes, Memory<'a>), BrokerError> {
    if super::admission::length(parts).is_some_and(|length| length > max) {
        return Err(BrokerError::TooLarge { what: BODY, max });
    }
    let mut memory = shared.admission.memory(routes::Admission::Bounded, parts, max, share)?;
    let body = call::read(body, call::Limit { what: BODY, max }, &mut memory).await?;
    Ok((body, memory))
}

/// Stores an artifact and returns its digest.
pub(crate) async fn put_artifact(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    epoch: u64,
    body: Bytes,
) -> Result<Digest, BrokerError> {
    let digest = Digest::of(&body);
    artifacts::stored(shared, bearer, epoch, digest, body.into()).await?;
    Ok(digest)
}

/// The bytes of an artifact.
pub(crate) async fn get_artifact(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    digest: Digest,
) -> Result<Bytes, BrokerError> {
    artifacts::fetched(shared, bearer, digest).await
}

/// Cancels a job.
pub(crate) async fn cancel(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    id: JobId,
) -> Result<(), BrokerError> {
    let call = call(bearer, IdsRequest { ids: vec![id] })?;
    producers::cancel(Arc::clone(shared), call).await.map(drop)
}

/// Claims a job.
pub(crate) async fn claim(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    request: ClaimRequest,
) -> Result<Option<Grant>, BrokerError> {
    Ok(agents::claim(Arc::clone(shared), call(bearer, request)?).await?.grant)
}

/// Extends leases; returns whether all are still held.
pub(crate) async fn heartbeat(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    request: HeartbeatRequest,
) -> Result<bool, BrokerError> {
    let answer = agents::heartbeat(Arc::clone(shared), call(bearer, request)?).await?;
    Ok(answer.cancel.is_empty())
}

/// Completes a job.
pub(crate) async fn complete(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    request: CompleteRequest,
) -> Result<CompleteOutcome, BrokerError> {
    Ok(agents::complete(Arc::clone(shared), call(bearer, request)?).await?.outcome)
}

/// Reports a failed attempt.
pub(crate) async fn fail(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    request: FailRequest,
) -> Result<(), BrokerError> {
    agents::fail(Arc::clone(shared), call(bearer, request)?).await.map(drop)
}

/// Returns a job unharmed.
pub(crate) async fn release(
    shared: &Arc<Shared>,
    bearer: &Arc<Bearer>,
    request: ReleaseRequest,
) -> Result<(), BrokerError> {
    agents::release(Arc::clone(shared), call(bearer, request)?).await.map(drop)
}
