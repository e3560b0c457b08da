//! The HTTP client of buckets: the one of this process, with its TLS.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::BodyExt as _;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{BackoffConfig, ClientOptions, Error, RetryConfig};

/// How long a bucket may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest silence of a bucket within an answer.
const SILENCE: Duration = Duration::from_secs(20);

/// How a request is repeated that failed for a while. The broker's clients repeat theirs for longer.
pub(super) fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 4, retry_timeout: Duration::from_secs(20) }
}

/// Makes the client. Without it the library would make one that knows nothing of the settings for TLS.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient, Error> {
        let client = rollmill_net::http_client()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            // A redirect would carry the credentials to another server.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client.map_err(|error| Error::Generic {
            store: "object store",
            source: Box::new(error.without_url()),
        })?;
        Ok(HttpClient::new(Client(client)))
    }
}

#[derive(Debug)]
struct Client(reqwest::Client);

impl HttpService for Client {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let request = request.map(reqwest::Body::wrap);
            let request = reqwest::Request::try_from(request).map_err(failed)?;
            let response = self.0.execute(request).await.map_err(failed)?;
            let response: axum::http::Response<reqwest::Body> = response.into();
            Ok(response.map(|body| HttpResponseBody::new(body.map_err(failed))))
        })
    }
}

/// What went wrong decides whether the library repeats the request.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = match &error {
        error if error.is_timeout() => HttpErrorKind::Timeout,
        error if error.is_connect() => HttpErrorKind::Connect,
        error if error.is_builder() => HttpErrorKind::Unknown,
        error if error.is_decode() => HttpErrorKind::Decode,
        error if error.is_body() => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Request,
    };
    HttpError::new(kind, error.without_url())
}
