//! One bounded GET, for the sources that are HTTP servers.

use std::time::Duration;

use alloy::transports::http::reqwest::{self, StatusCode, Url, redirect};

use super::error::SourceError;
use crate::error::L1Error;

/// Redirects that are followed; some beacon nodes are behind one.
const REDIRECTS: usize = 2;

/// Time limits of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebLimits {
    pub connect: Duration,
    /// Of a whole request, the answer's last byte included.
    pub request: Duration,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), request: Duration::from_secs(30) }
    }
}

/// A server under a base URL, whose path may be a key.
#[derive(Debug, Clone)]
pub(super) struct Server {
    http: reqwest::Client,
    base: Url,
    /// Kind, scheme, host and port: all that may be shown.
    pub(super) name: String,
}

impl Server {
    /// # Errors
    /// [`L1Error::Url`]
    pub(super) fn new(kind: &str, url: &str, limits: WebLimits) -> Result<Self, L1Error> {
        let bad = |reason: String| L1Error::Url { url: rollmill_net::unreadable_url(url), reason };
        let base = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(bad(format!("scheme `{}` is not supported", base.scheme())));
        }
        let http = rollmill_net::http_client()
            .connect_timeout(limits.connect)
            .timeout(limits.request)
            .redirect(redirect::Policy::limited(REDIRECTS))
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let name = format!("{kind} {}", base.origin().ascii_serialization());
        Ok(Self { http, base, name })
    }

    /// The body of `path` under the base, at most `limit` bytes.
    ///
    /// # Errors
    /// [`SourceError::Absent`] for status 404, and the others.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: Option<&str>,
        limit: usize,
    ) -> Result<Vec<u8>, SourceError> {
        let name = || self.name.clone();
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_query(query);
        let mut response = self.http.get(url).send().await.map_err(|e| self.unreachable(e))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(SourceError::Absent { name: name() }),
            other => return Err(SourceError::Status { name: name(), status: other.as_u16() }),
        }
        let mut body = Vec::new();
        // The length that a server announces is not believed: what arrives counts.
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            if body.len() + chunk.len() > limit {
                return Err(SourceError::TooLarge { name: name(), limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: reqwest::Error) -> SourceError {
        let words = rollmill_net::connection_failure(&error);
        let reason = words.unwrap_or_else(|| match error.is_timeout() {
            true => "no answer in time".to_owned(),
            false => "the connection broke off".to_owned(),
        });
        SourceError::Unreachable { name: self.name.clone(), reason }
    }
}
