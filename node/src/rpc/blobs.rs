//! `GET /blobs/{versioned hash}`: the blob archive, for other nodes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollmill_l1::data::BlobArchive;
use rollmill_service::Outage;

use super::{CallError, Rpc};

/// What the route serves from.
#[derive(Debug)]
pub(super) struct Served {
    archive: BlobArchive,
    /// Reads that failed.
    unread: Outage,
}

impl Served {
    pub(super) fn new(archive: BlobArchive) -> Self {
        Self { archive, unread: Outage::default() }
    }
}

/// The blob's bytes; 404 if the blob archive does not have it, 400 for anything but a hash with `0x`, 503 if the node is
/// busy. Whoever asks verifies the bytes: the archive's digest is all that is checked here.
pub(super) async fn blob(State(rpc): State<Arc<Rpc>>, Path(hash): Path<String>) -> Response {
    let Some(served) = &rpc.blobs else { return StatusCode::NOT_FOUND.into_response() };
    let mut versioned_hash = [0; 32];
    let digits = hash.strip_prefix("0x").unwrap_or_default();
    if hex::decode_to_slice(digits, &mut versioned_hash).is_err() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let Ok(_turn) = rpc.turn().await else {
        let mut response = CallError::Overloaded.status().into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    let archive = served.archive.clone();
    match tokio::task::spawn_blocking(move || archive.read(versioned_hash.into())).await {
        Ok(Ok(Some(blob))) => {
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            (kind, blob.as_bytes().to_vec()).into_response()
        }
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => {
            if let Some(repeated) = served.unread.failed() {
                tracing::error!(%error, repeated, "blob not served");
            }
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
