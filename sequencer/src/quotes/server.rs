//! The HTTP interface: `POST /quotes` and `GET /quotes/EPOCH`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rollmill_l1::quote::SignedQuote;
use rollmill_sequencer_client::{ErrorBody, QUOTES_PATH, ShownQuote, Stored};
use rollmill_service::{Secret, one_line};

use super::{QuoteBook, QuoteError, SlotReader};

/// What the interface serves.
pub struct QuoteServer {
    pub book: Arc<QuoteBook>,
    pub slot: SlotReader,
    /// Token that a prover must send; none is required without one.
    pub token: Option<Secret>,
}

impl std::fmt::Debug for QuoteServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuoteServer").field("book", &self.book).finish_non_exhaustive()
    }
}

/// Serves quotes. Serve it with the process's frame; add no state.
pub fn router(server: Arc<QuoteServer>) -> Router {
    Router::new()
        .route(QUOTES_PATH, post(offer))
        .route(&format!("{QUOTES_PATH}/{{epoch}}"), get(list))
        .fallback(|State(server): State<Arc<QuoteServer>>| async move {
            response(&server, &QuoteError::UnknownPath)
        })
        .method_not_allowed_fallback(|State(server): State<Arc<QuoteServer>>| async move {
            response(&server, &QuoteError::WrongMethod)
        })
        .layer(DefaultBodyLimit::max(SignedQuote::BYTES))
        .with_state(server)
}

async fn offer(State(server): State<Arc<QuoteServer>>, request: Request) -> Response {
    match offered(&server, request).await {
        Ok(Stored::New) => StatusCode::CREATED.into_response(),
        Ok(Stored::Known) => StatusCode::OK.into_response(),
        Err(error) => response(&server, &error),
    }
}

/// The token comes before the body: a stranger's is not read.
async fn offered(server: &QuoteServer, request: Request) -> Result<Stored, QuoteError> {
    require_token(server.token.as_ref(), request.headers())?;
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            QuoteError::TooLarge
        }
        _ => QuoteError::Body,
    })?;
    let quote = SignedQuote::from_bytes(&body)?;
    let slot = read(&server.slot).await?;
    server.book.offer(quote, slot)
}

async fn list(
    State(server): State<Arc<QuoteServer>>,
    Path(epoch): Path<String>,
    headers: HeaderMap,
) -> Response {
    match listed(&server, &epoch, &headers).await {
        Ok(quotes) => Json(quotes).into_response(),
        Err(error) => response(&server, &error),
    }
}

async fn listed(
    server: &QuoteServer,
    epoch: &str,
    headers: &HeaderMap,
) -> Result<Vec<ShownQuote>, QuoteError> {
    require_token(server.token.as_ref(), headers)?;
    let epoch = epoch.parse().map_err(|_| QuoteError::UnknownPath)?;
    let slot = read(&server.slot).await?;
    Ok(server.book.list(epoch, slot).iter().map(ShownQuote::from).collect())
}

/// The present slot.
pub(super) async fn read(slot: &SlotReader) -> Result<u64, QuoteError> {
    let slot = Arc::clone(slot);
    Ok(tokio::task::spawn_blocking(move || slot()).await??)
}

fn require_token(expected: Option<&Secret>, headers: &HeaderMap) -> Result<(), QuoteError> {
    match expected.is_none_or(|expected| expected.is_bearer_of(headers)) {
        true => Ok(()),
        false => Err(QuoteError::Token),
    }
}

/// An error as JSON with its one code, counted and logged, with Retry-After where asking again helps.
fn response(server: &QuoteServer, error: &QuoteError) -> Response {
    server.book.metrics.quotes_rejected_total.with_label_values(&[error.code()]).inc();
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = one_line(error);
    tracing::debug!(error = message, "quote not taken");
    let body = ErrorBody { code: error.code().to_owned(), message };
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
