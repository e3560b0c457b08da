//! The HTTP interface: `POST /attest` and `GET /identity`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rollmill_service::Secret;
use rollmill_validator_client::{
    ATTEST_PATH, ErrorBody, IDENTITY_PATH, PROPOSAL_BYTES_MAX, SIGNATURE_BYTES,
};

use crate::duties::Duties;
use crate::error::AttestError;
use crate::validator::Validator;

/// Serves a validator. Serve it with the process's frame; add no state.
pub fn router<D: Duties>(validator: Arc<Validator<D>>) -> Router {
    Router::new()
        .route(ATTEST_PATH, post(attest::<D>))
        .route(IDENTITY_PATH, get(identity::<D>))
        .fallback(|State(validator): State<Arc<Validator<D>>>| async move {
            response(&validator, &AttestError::UnknownPath)
        })
        .method_not_allowed_fallback(|State(validator): State<Arc<Validator<D>>>| async move {
            response(&validator, &AttestError::WrongMethod)
        })
        .layer(DefaultBodyLimit::max(PROPOSAL_BYTES_MAX))
        .with_state(validator)
}

async fn attest<D: Duties>(
    State(validator): State<Arc<Validator<D>>>,
    request: Request,
) -> Response {
    match attested(&validator, request).await {
        Ok(signature) => signature.to_vec().into_response(),
        Err(error) => response(&validator, &error),
    }
}

/// The token comes before the body: a stranger's is not read.
async fn attested<D: Duties>(
    validator: &Arc<Validator<D>>,
    request: Request,
) -> Result<[u8; SIGNATURE_BYTES], AttestError> {
    require_token(validator.token.as_ref(), request.headers())?;
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            AttestError::TooLarge
        }
        _ => AttestError::Body,
    })?;
    validator.attest(body.into()).await
}

async fn identity<D: Duties>(
    State(validator): State<Arc<Validator<D>>>,
    headers: HeaderMap,
) -> Response {
    match require_token(validator.token.as_ref(), &headers) {
        Ok(()) => Json(validator.identity()).into_response(),
        Err(error) => response(&validator, &error),
    }
}

fn require_token(expected: Option<&Secret>, headers: &HeaderMap) -> Result<(), AttestError> {
    match expected.is_none_or(|expected| expected.is_bearer_of(headers)) {
        true => Ok(()),
        false => Err(AttestError::Token),
    }
}

/// An error as JSON with its one code, counted and logged, with Retry-After where asking again helps.
fn response<D: Duties>(validator: &Validator<D>, error: &AttestError) -> Response {
    debug_assert!(AttestError::codes().any(|code| code == error.code()), "{error}");
    validator.metrics.rejected_total.with_label_values(&[error.code()]).inc();
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = error.message();
    tracing::debug!(error = message, "proposal not attested");
    let body = ErrorBody { code: error.code().to_owned(), message };
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
