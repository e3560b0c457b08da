//! The client of one proposer.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url, header};
use rollmill_l1::quote::SignedQuote;
use rollmill_net::Tls;

use crate::error::ClientError;
use crate::wire::{ErrorBody, QUOTES_PATH, ShownQuote, Stored};

/// Connection timeout, after which a proposer counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the longest response that is read: a full list has less than half of it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Characters of an error's message that are kept: it is text from somebody else.
const MESSAGE_MAX: usize = 500;

/// A client of one proposer over HTTP. Clones share connections.
#[derive(Debug, Clone)]
pub struct QuoteClient {
    http: reqwest::Client,
    /// The address, without a slash at the end. It may contain a password.
    base: String,
    /// Scheme, host and port, for errors.
    url: String,
}

impl QuoteClient {
    /// A client of the proposer at `url`, with the bearer token that it requires, if it does. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] unless `url` starts with `http://` or `https://` and names a host, and
    /// [`ClientError::Token`] for a token that no header can have.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, ClientError> {
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
        let http = Tls::of_process()
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

    /// Scheme, host and port of the proposer's address, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a quote. Sent again, it changes nothing.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the proposer's code if it does not keep the quote.
    pub async fn post(&self, quote: &SignedQuote) -> Result<Stored, ClientError> {
        let (status, _) =
            self.request(Method::POST, QUOTES_PATH.to_owned(), quote.to_bytes()).await?;
        match status {
            StatusCode::CREATED => Ok(Stored::New),
            StatusCode::OK => Ok(Stored::Known),
            other => Err(self.foreign(format!("HTTP {} to a quote", other.as_u16()))),
        }
    }

    /// The quotes of an epoch that the proposer has, the cheapest one first.
    ///
    /// # Errors
    /// [`ClientError::NotAProposer`] when something else answers.
    pub async fn list(&self, epoch: u64) -> Result<Vec<ShownQuote>, ClientError> {
        let path = format!("{QUOTES_PATH}/{epoch}");
        let (_, body) = self.request(Method::GET, path, Vec::new()).await?;
        serde_json::from_slice(&body)
            .map_err(|_| self.foreign("its quotes cannot be read".to_owned()))
    }

    /// Status and body of a successful response.
    async fn request(
        &self,
        method: Method,
        path: String,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
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
            return Ok((status, answer));
        }
        match serde_json::from_slice::<ErrorBody>(&answer) {
            // The frame of its server, for the host or the form of the request.
            Ok(error) if error.code.starts_with("SVC-") => Err(ClientError::Rejected {
                status: status.as_u16(),
                message: shown(&format!("{}: {}", error.code, error.message)),
                proposer_code: error.code,
            }),
            Ok(error) if error.message.starts_with(&format!("{}: ", error.code)) => {
                Err(ClientError::Rejected {
                    status: status.as_u16(),
                    proposer_code: error.code,
                    message: shown(&error.message),
                })
            }
            _ => Err(self.foreign(format!("HTTP {} without a code", status.as_u16()))),
        }
    }

    fn foreign(&self, reason: String) -> ClientError {
        ClientError::NotAProposer { url: self.url.clone(), reason }
    }
}

/// The part of somebody else's text that is kept.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use rollmill_l1::Azt;
    use rollmill_l1::alloy::primitives::Address;
    use rollmill_l1::quote::Quote;

    use super::*;
    use crate::wire::QUOTES_MAX;

    #[test]
    fn an_address_that_is_no_url_is_reported_and_no_password_in_it() {
        for wrong in ["nonsense", "", "127.0.0.1:8580", "ftp://host/", "user:planted@host"] {
            let error = QuoteClient::new(wrong, None).unwrap_err().to_string();
            assert!(error.starts_with("SQC-001: a proposer's address `"), "{error}");
            assert!(!error.contains("planted"), "{error}");
        }
        let client = QuoteClient::new("https://user:planted@host:8580/x/", Some("t")).unwrap();
        assert_eq!(client.url(), "https://host:8580");
        let error = QuoteClient::new("http://host", Some("a\nb")).unwrap_err();
        assert!(matches!(error, ClientError::Token), "{error}");
    }

    #[test]
    fn a_full_list_is_read() {
        let quote = Quote {
            prover: Address::repeat_byte(0xff),
            epoch: u64::MAX,
            // Most digits: 21 before the point and 18 after it.
            fee: Azt::new(u128::MAX),
            valid_until_slot: u64::MAX,
        };
        let shown = ShownQuote::from(&SignedQuote { quote, signature: [0xff; 65] });
        let list = serde_json::to_vec(&vec![shown; QUOTES_MAX]).unwrap();
        assert!(list.len() * 2 < ANSWER_BYTES_MAX, "{} bytes", list.len());
    }
}
