//! The client of one validator.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use rollmill_net::{Limits, Tls, Transport};

use crate::error::ClientError;
use crate::wire::{ATTEST_PATH, IDENTITY_PATH, Identity, SIGNATURE_BYTES};

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    // Whoever asks has a deadline that is shorter.
    request: Duration::from_secs(30),
    answer_bytes: 16 * 1024,
};

/// A client of one validator over HTTP. Clones share connections.
#[derive(Debug, Clone)]
pub struct ValidatorClient {
    transport: Transport,
}

impl ValidatorClient {
    /// A client of the validator at `url`, with the bearer token that it requires, if it does. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] unless `url` is the address of a server, without user name, password, query and
    /// fragment, [`ClientError::Token`] for a token that no header can have, and [`ClientError::Exposed`] for one that
    /// would go over plain HTTP to another machine, unless [`Tls::with_plain_tokens`] allows it.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        Self::with_tls(url, token, &Tls::of_process())
    }

    /// As [`Self::new`], with other TLS than that of this process.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tls(url: &str, token: Option<&str>, tls: &Tls) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::new(url, token, LIMITS, tls)? })
    }

    /// Scheme, host and port of the validator's address.
    pub fn url(&self) -> &str {
        self.transport.url()
    }

    /// Asks for a signature of a proposal. Whether it is one of this proposal and whose it is, the caller checks.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the validator's code if it does not sign.
    pub async fn attest(&self, proposal: Bytes) -> Result<[u8; SIGNATURE_BYTES], ClientError> {
        let request = self.transport.post_bytes(ATTEST_PATH, proposal);
        let body = self.transport.success(request).await?.body;
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
        let request = self.transport.request(Method::GET, IDENTITY_PATH);
        let answer = self.transport.success(request).await?;
        serde_json::from_slice(&answer.body)
            .map_err(|_| self.foreign("its identity cannot be read".to_owned()))
    }

    fn foreign(&self, reason: String) -> ClientError {
        ClientError::NotAValidator(self.transport.foreign(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_token_that_cannot_be_used_is_reported_and_shows_no_secret() {
        for wrong in ["nonsense", "user:planted@host", "http://u:planted@host", "http://h?planted"]
        {
            let error = ValidatorClient::new(wrong, None).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.starts_with("VAC-001: a validator's address `"), "{text}");
            assert!(!text.contains("planted") && error.is_usage(), "{text}");
        }
        let client = ValidatorClient::new("https://host:8570/x/", Some("planted")).unwrap();
        assert_eq!(client.url(), "https://host:8570");
        assert!(!format!("{client:?}").contains("planted"));
        let error = ValidatorClient::new("http://host", Some("a\nb")).unwrap_err();
        assert!(matches!(error, ClientError::Token), "{error}");
        let error = ValidatorClient::new("http://host", Some("planted")).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            text.starts_with(
                "VAC-005: the validator at http://host would get the token unencrypted"
            ),
            "{text}"
        );
        assert!(!text.contains("planted") && error.is_usage(), "{text}");
    }
}
