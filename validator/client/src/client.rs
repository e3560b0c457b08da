//! The client of one validator.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Url, header};
use rollmill_net::Tls;

use crate::error::ClientError;
use crate::wire::{ATTEST_PATH, ErrorBody, IDENTITY_PATH, Identity, SIGNATURE_BYTES};

/// Connection timeout, after which a validator counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for a whole request. Whoever asks has a deadline that is shorter.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the longest response that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Characters of an error's message that are kept: it is text from somebody else.
const MESSAGE_MAX: usize = 500;

/// A client of one validator over HTTP. Clones share connections.
#[derive(Debug, Clone)]
pub struct ValidatorClient {
    http: reqwest::Client,
    /// The address, without a slash at the end. It may contain a password.
    base: String,
    /// Scheme, host and port, for errors.
    url: String,
}

impl ValidatorClient {
    /// A client of the validator at `url`, with the bearer token that it requires, if it does. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] unless `url` starts with `http://` or `https://` and names a host, and
    /// [`ClientError::Token`] for a token that no header can have.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        Self::with_tls(url, token, &Tls::of_process())
    }

    /// As [`Self::new`], with other TLS than that of this process.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tls(url: &str, token: Option<&str>, tls: &Tls) -> Result<Self, ClientError> {
        let parsed = Url::parse(url).ok();
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let Some(parsed) = parsed.filter(is_http) else {
            return Err(ClientError::Address { url: rollmill_net::unreadable_url(url) });
        };
        let mut headers = header::HeaderMap::new();
        if let Some(token) = token {
            let value = header::HeaderValue::from_str(&format!("Bearer {}", token.trim()));
            let mut value = value.map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let shown = parsed.origin().ascii_serialization();
        let http = tls
            .http_client()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A redirect would carry the token to another server.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|source| ClientError::unreachable(&shown, source))?;
        Ok(Self { http, base: url.trim_end_matches('/').to_owned(), url: shown })
    }

    /// Scheme, host and port of the validator's address, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for a signature of a proposal. Whether it is one of this proposal and whose it is, the caller checks.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the validator's code if it does not sign.
    pub async fn attest(&self, proposal: Bytes) -> Result<[u8; SIGNATURE_BYTES], ClientError> {
        let body = self.request(Method::POST, ATTEST_PATH, proposal).await?;
        let length = body.len();
        body.try_into().map_err(|_| {
            self.foreign(format!("{SIGNATURE_BYTES} bytes of signature expected, got {length}"))
        })
    }

    /// Asks whose signatures the validator makes.
    ///
    /// # Errors
    /// [`ClientError::NotAValidator`] when something else answers.
    pub async fn identity(&self) -> Result<Identity, ClientError> {
        let body = self.request(Method::GET, IDENTITY_PATH, Bytes::new()).await?;
        serde_json::from_slice(&body)
            .map_err(|_| self.foreign("its identity cannot be read".to_owned()))
    }

    /// The body of a successful response.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Vec<u8>, ClientError> {
        let failed = |source| ClientError::unreachable(&self.url, source);
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/octet-stream").body(body);
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.foreign(format!("its answer exceeds {ANSWER_BYTES_MAX} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(answer);
        }
        match serde_json::from_slice::<ErrorBody>(&answer) {
            // The frame of its server, for the host or the form of the request.
            Ok(error) if error.code.starts_with("SVC-") => Err(ClientError::Rejected {
                status: status.as_u16(),
                message: shown(&format!("{}: {}", error.code, error.message)),
                validator_code: error.code,
            }),
            Ok(error) if error.message.starts_with(&format!("{}: ", error.code)) => {
                Err(ClientError::Rejected {
                    status: status.as_u16(),
                    validator_code: error.code,
                    message: shown(&error.message),
                })
            }
            _ => Err(self.foreign(format!("HTTP {} without a validator's code", status.as_u16()))),
        }
    }

    fn foreign(&self, reason: String) -> ClientError {
        ClientError::NotAValidator { url: self.url.clone(), reason }
    }
}

/// The part of somebody else's text that is kept.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_no_url_is_reported_and_no_password_in_it() {
        for wrong in ["nonsense", "", "127.0.0.1:8570", "ftp://host/", "user:planted@host"] {
            let error = ValidatorClient::new(wrong, None).unwrap_err().to_string();
            assert!(error.starts_with("VAC-001: a validator's address `"), "{error}");
            assert!(!error.contains("planted"), "{error}");
        }
        let client = ValidatorClient::new("https://user:planted@host:8570/x/", Some("t")).unwrap();
        assert_eq!(client.url(), "https://host:8570");
        let error = ValidatorClient::new("http://host", Some("a\nb")).unwrap_err();
        assert!(matches!(error, ClientError::Token), "{error}");
    }
}
