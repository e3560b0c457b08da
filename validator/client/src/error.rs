//! Why a validator's signature did not come.

use rollmill_errors::{Coded, Disposition};

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The validator's address is not a URL.
    ///
    /// Do: Correct `--committee-peers`.
    #[error("{code}: a validator's address `{url}` is not a URL such as http://127.0.0.1:8570", code = self.code())]
    Address { url: String },
    /// The token has a line break or another control character inside.
    ///
    /// Do: Correct `--committee-peers-token`.
    #[error("{code}: the token for the validators has a line break or another control character in it; correct the setting committee.peers_token", code = self.code())]
    Token,
    /// The validator is unreachable, or the connection broke. Retrying may succeed.
    ///
    /// Do: Check that it runs, and correct its URL in `--committee-peers`.
    #[error("{code}: validator {url} cannot be reached: {reason}", code = self.code())]
    Unreachable {
        url: String,
        /// In a few words, such as `connection refused`.
        reason: String,
        /// For a debugger: its words repeat those of `reason` in three layers.
        cause: Box<reqwest::Error>,
    },
    /// Something other than a validator answers at the address, or a proxy in front of one.
    ///
    /// Do: Correct the URL in `--committee-peers`, or run both of the same release.
    #[error("{code}: {url} does not answer as a validator of this release: {reason}", code = self.code())]
    NotAValidator { url: String, reason: String },
    /// The validator does not sign. The message carries its code instead.
    ///
    /// Do: Look up the validator's code.
    #[error("{message}")]
    Rejected { status: u16, validator_code: String, message: String },
}

/// The HTTP status of an answer after which the same request may succeed.
const UNAVAILABLE: u16 = 503;

rollmill_errors::coded! {
    ClientError {
        Self::Address { .. } => "VAC-001" usage,
        Self::Token => "VAC-002" usage,
        Self::Unreachable { .. } => "VAC-003" retried,
        Self::NotAValidator { .. } => "VAC-004" retried,
        Self::Rejected { status, validator_code, .. } if *status == UNAVAILABLE => [validator_code] retried,
        Self::Rejected { validator_code, .. } => [validator_code],
    }
}

impl ClientError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        self.disposition() == Disposition::Retried
    }

    /// Whether the setting itself cannot be used, whatever the validator does.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    /// The error of a request that got no whole answer.
    pub(crate) fn unreachable(url: &str, source: reqwest::Error) -> Self {
        let reason = match rollmill_net::connection_failure(&source) {
            Some(words) => words,
            None if source.is_timeout() => "no answer in time".to_owned(),
            None if source.is_connect() => "no connection".to_owned(),
            None => "the connection broke off".to_owned(),
        };
        // The address is in the message already.
        Self::Unreachable { url: url.to_owned(), reason, cause: Box::new(source.without_url()) }
    }
}
