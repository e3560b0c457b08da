//! The client of one proposer.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rollmill_l1::quote::SignedQuote;
use rollmill_net::{Limits, Tls, Transport};

use crate::error::ClientError;
use crate::wire::{QUOTES_PATH, ShownQuote, Stored};

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    request: Duration::from_secs(10),
    // A full list has less than half of it.
    answer_bytes: 64 * 1024,
};

/// A client of one proposer over HTTP. Clones share connections.
#[derive(Debug, Clone)]
pub struct QuoteClient {
    transport: Transport,
}

impl QuoteClient {
    /// A client of the proposer at `url`, with the bearer token that it requires, if it does. Nothing is sent yet.
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

    /// Scheme, host and port of the proposer's address.
    pub fn url(&self) -> &str {
        self.transport.url()
    }

    /// Sends a quote. Sent again, it changes nothing.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the proposer's code if it does not keep the quote.
    pub async fn post(&self, quote: &SignedQuote) -> Result<Stored, ClientError> {
        let request = self.transport.post_bytes(QUOTES_PATH, quote.to_bytes());
        match self.transport.success(request).await?.status {
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
        let request = self.transport.request(Method::GET, &format!("{QUOTES_PATH}/{epoch}"));
        let answer = self.transport.success(request).await?;
        serde_json::from_slice(&answer.body)
            .map_err(|_| self.foreign("its quotes cannot be read".to_owned()))
    }

    fn foreign(&self, reason: String) -> ClientError {
        ClientError::NotAProposer(self.transport.foreign(reason))
    }
}

#[cfg(test)]
mod tests {
    use rollmill_l1::Azt;
    use rollmill_l1::alloy::primitives::Address;
    use rollmill_l1::quote::Quote;

    use super::*;
    use crate::wire::QUOTES_MAX;

    #[test]
    fn an_address_or_token_that_cannot_be_used_is_reported_and_shows_no_secret() {
        for wrong in ["nonsense", "user:planted@host", "http://u:planted@host", "http://h?planted"]
        {
            let error = QuoteClient::new(wrong, None).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.starts_with("SQC-001: a proposer's address `"), "{text}");
            assert!(!text.contains("planted") && error.is_usage(), "{text}");
        }
        let client = QuoteClient::new("https://host:8580/x/", Some("planted")).unwrap();
        assert_eq!(client.url(), "https://host:8580");
        assert!(!format!("{client:?}").contains("planted"));
        let error = QuoteClient::new("http://host", Some("a\nb")).unwrap_err();
        assert!(matches!(error, ClientError::Token), "{error}");
        let error = QuoteClient::new("http://host", Some("planted")).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            text.starts_with(
                "SQC-005: the proposer at http://host would get the token unencrypted"
            ),
            "{text}"
        );
        assert!(!text.contains("planted") && error.is_usage(), "{text}");
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
        assert!(list.len() * 2 < LIMITS.answer_bytes, "{} bytes", list.len());
    }
}
