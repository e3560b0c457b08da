//! Requests for one artifact. A large one is never in memory as a whole, neither on its way in nor out.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use futures_util::{Stream, StreamExt as _};
use rollmill_broker_client::Digest;
use rollmill_broker_client::routes::{Artifact, Empty, GetArtifact, Payload, PutArtifact, Route};
use sha2::{Digest as _, Sha256};

use super::admission::length;
use super::call::{self, Head};
use crate::broker::Shared;
use crate::error::BrokerError;
use crate::objects::{Download, PART_BYTES};
use crate::store::tokens::Bearer;
use crate::store::{Opened, Place, ROW_ARTIFACT_BYTES_MAX, Tenant, Uploaded};

/// Most memory of one upload, which takes it as it arrives: what is collected before its place is known, or else the
/// two parts of [`crate::objects::Write`].
const UPLOAD_BYTES: usize = ROW_ARTIFACT_BYTES_MAX + 2 * PART_BYTES;

pub(super) async fn put(shared: Arc<Shared>, request: Request) -> Result<Response, BrokerError> {
    let (mut parts, body) = request.into_parts();
    let Head { bearer, parameter: digest, query, limit, share } =
        call::head::<PutArtifact>(&shared, &mut parts).await?;
    shared.disk.require_for(bearer.role)?;
    let admission = PutArtifact::SPEC.admission;
    let bounded = limit.max.min(UPLOAD_BYTES);
    let mut memory = shared.admission.memory(admission, &parts, bounded, share)?;
    let mut body = body.into_data_stream();
    // Until it is longer than a small one may be.
    let mut start: Vec<u8> =
        Vec::with_capacity(length(&parts).unwrap_or(0).min(ROW_ARTIFACT_BYTES_MAX));
    let too_large = || BrokerError::TooLarge { what: limit.what, max: limit.max };
    let mut is_whole = false;
    while start.len() <= ROW_ARTIFACT_BYTES_MAX {
        let Some(bytes) = next(&mut body).await? else {
            is_whole = true;
            break;
        };
        start.extend_from_slice(&bytes);
        if start.len() > limit.max {
            return Err(too_large());
        }
        memory.grow(start.len())?;
    }
    let mut bytes = start.len();
    if is_whole {
        let place = shared.admission.place(admission).await?;
        stored(&shared, &bearer, query.epoch, digest, start).await?;
        drop((memory, place));
        return Ok(no_content());
    }
    let may_open = bearer.opens_epochs();
    let mut object =
        shared.store.write_object(&bearer.tenant, query.epoch, digest, may_open).await?;
    object.write.put(start.into()).await?;
    while let Some(more) = next(&mut body).await? {
        bytes += more.len();
        if bytes > limit.max {
            return Err(too_large());
        }
        memory.grow(bytes)?;
        object.write.put(more).await?;
    }
    let place = shared.admission.place(admission).await?;
    let done = shared.store.end_object(object).await?;
    drop((memory, place));
    count(&shared, done, bytes as u64);
    Ok(no_content())
}

fn no_content() -> Response {
    axum::http::StatusCode::from_u16(<Empty as Payload>::SUCCESS)
        .unwrap_or(axum::http::StatusCode::NO_CONTENT)
        .into_response()
}

/// Stores an artifact that is in memory.
pub(super) async fn stored(
    shared: &Shared,
    bearer: &Bearer,
    epoch: u64,
    digest: Digest,
    body: Vec<u8>,
) -> Result<(), BrokerError> {
    let bytes = body.len() as u64;
    let epoch = (epoch, bearer.opens_epochs());
    let done = shared.lanes.put_artifact(&bearer.tenant, epoch, digest, body).await?;
    count(shared, done, bytes);
    Ok(())
}

fn count(shared: &Shared, done: Uploaded, bytes: u64) {
    let counter = &shared.metrics.artifact_bytes_total;
    counter.with_label_values(&["in", done.place.as_str()]).inc_by(bytes);
    if done.made_ready > 0 {
        shared.hub.became_ready();
    }
}

async fn next(
    body: &mut (impl Stream<Item = Result<Bytes, axum::Error>> + Unpin),
) -> Result<Option<Bytes>, BrokerError> {
    let next = body.next().await.transpose();
    next.map_err(|_| BrokerError::bad("the connection broke off before the body was complete"))
}

pub(super) async fn get(shared: Arc<Shared>, request: Request) -> Result<Response, BrokerError> {
    let (mut parts, _) = request.into_parts();
    let Head { bearer, parameter: digest, .. } =
        call::head::<GetArtifact>(&shared, &mut parts).await?;
    let place = shared.admission.place(GetArtifact::SPEC.admission).await?;
    let opened = lost(&shared, shared.store.open_artifact(&bearer.tenant, digest).await)?;
    drop(place);
    let counter = &shared.metrics.artifact_bytes_total;
    let (bytes, body) = match opened {
        Opened::Row(body) => {
            counter.with_label_values(&["out", Place::Row.as_str()]).inc_by(body.len() as u64);
            (body.len() as u64, Body::from(body))
        }
        Opened::Object(object) => {
            counter.with_label_values(&["out", Place::Object.as_str()]).inc_by(object.bytes());
            let bytes = object.bytes();
            let reading = Reading {
                shared,
                tenant: bearer.tenant.clone(),
                digest,
                object,
                hash: Sha256::new(),
            };
            (bytes, Body::from_stream(reading.stream()))
        }
    };
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Some(content_type) = <Artifact as Payload>::CONTENT_TYPE {
        let value = HeaderValue::from_static(content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    Ok(response)
}

/// The bytes of an artifact in memory.
pub(super) async fn fetched(
    shared: &Shared,
    bearer: &Bearer,
    digest: Digest,
) -> Result<Bytes, BrokerError> {
    let body = lost(shared, shared.store.get_artifact(&bearer.tenant, digest).await)?;
    let counter = &shared.metrics.artifact_bytes_total;
    let place = Place::of(body.len());
    counter.with_label_values(&["out", place.as_str()]).inc_by(body.len() as u64);
    Ok(body.into())
}

/// Counts the jobs that were reopened where the artifact is lost.
fn lost<T>(shared: &Shared, opened: Result<T, BrokerError>) -> Result<T, BrokerError> {
    opened.inspect_err(|error| {
        if let BrokerError::ArtifactLost { reopened, .. } = error {
            shared.count_lost(*reopened);
        }
    })
}

/// An object on its way to a client.
struct Reading {
    shared: Arc<Shared>,
    tenant: Tenant,
    digest: Digest,
    object: Download,
    hash: Sha256,
}

impl Reading {
    /// The bytes. The last of them are kept until the digest is known: where it is wrong the stream ends in an
    /// error, which breaks the connection, so that no client takes the body for whole.
    fn stream(self) -> impl Stream<Item = Result<Bytes, BrokerError>> + Send {
        stream::unfold(Some((self, None::<Bytes>)), |state| async move {
            let (mut reading, mut held) = state?;
            loop {
                match reading.object.next().await {
                    Ok(Some(bytes)) => {
                        reading.hash.update(&bytes);
                        if let Some(ready) = held.replace(bytes) {
                            return Some((Ok(ready), Some((reading, held))));
                        }
                    }
                    Ok(None) => {
                        return match reading.end().await {
                            Ok(()) => held.map(|last| (Ok(last), None)),
                            Err(error) => Some((Err(error), None)),
                        };
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
    }

    async fn end(self) -> Result<(), BrokerError> {
        let Self { shared, tenant, digest, hash, .. } = self;
        if Digest(hash.finalize().into()) == digest {
            return Ok(());
        }
        let reopened = shared.store.doubt(&tenant, digest).await?;
        shared.count_lost(reopened);
        let error = BrokerError::ArtifactLost { digest, reopened };
        tracing::warn!(
            error = rollmill_service::one_line(&error),
            "artifact damaged; answer broken off"
        );
        Err(error)
    }
}
