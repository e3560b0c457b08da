//! The HTTP interface: `POST /quotes` and `GET /quotes/EPOCH`.

use std::sync::Arc;
use std::time::Duration;

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
use tokio::sync::Semaphore;

use super::{QuoteBook, QuoteError, SlotReader};

/// How many requests are worked on. Each reads the slot from the disk, and a new quote costs the recovery of its signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Requests that are worked on at once.
    pub places: usize,
    /// How long a request waits for a place. Those that wait get theirs in the order of their arrival, so that a peer with
    /// many connections delays the others, and does not shut them out.
    pub turn: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self { places: 2, turn: Duration::from_secs(2) }
    }
}

/// What the interface serves.
pub struct QuoteServer {
    book: Arc<QuoteBook>,
    slot: SlotReader,
    token: Option<Secret>,
    places: Arc<Semaphore>,
    turn: Duration,
}

impl std::fmt::Debug for QuoteServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuoteServer").field("book", &self.book).finish_non_exhaustive()
    }
}

impl QuoteServer {
    /// Serves `book`, in the slot that `slot` reads. A prover must send `token`; none is required without one.
    pub fn new(
        book: Arc<QuoteBook>,
        slot: SlotReader,
        token: Option<Secret>,
        admission: Admission,
    ) -> Self {
        let Admission { places, turn } = admission;
        Self { book, slot, token, places: Arc::new(Semaphore::new(places)), turn }
    }

    /// Works on a request, on a thread that may wait and compute, once it has a place. The place is taken until the work is
    /// over, also when the request is dropped before.
    async fn work<R: Send + 'static>(
        &self,
        work: impl FnOnce(&QuoteBook, u64) -> Result<R, QuoteError> + Send + 'static,
    ) -> Result<R, QuoteError> {
        let turn = tokio::time::timeout(self.turn, Arc::clone(&self.places).acquire_owned()).await;
        let place = turn.ok().and_then(Result::ok).ok_or(QuoteError::Busy)?;
        let (book, slot) = (Arc::clone(&self.book), Arc::clone(&self.slot));
        let working = move || {
            let _place = place;
            work(&book, slot()?)
        };
        tokio::task::spawn_blocking(working).await?
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
    server.work(move |book, slot| book.offer(quote, slot)).await
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
    let list = move |book: &QuoteBook, slot| Ok(book.list(epoch, slot));
    Ok(server.work(list).await?.iter().map(ShownQuote::from).collect())
}

fn require_token(expected: Option<&Secret>, headers: &HeaderMap) -> Result<(), QuoteError> {
    match expected.is_none_or(|expected| expected.is_bearer_of(headers)) {
        true => Ok(()),
        false => Err(QuoteError::Token),
    }
}

/// An error as JSON with its one code, counted and logged, with Retry-After where asking again helps.
fn response(server: &QuoteServer, error: &QuoteError) -> Response {
    debug_assert!(QuoteError::codes().any(|code| code == error.code()), "{error}");
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
