//! Why a quote was not delivered.

use rollmill_errors::{Coded, Disposition};

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The proposer's address is not a URL.
    ///
    /// Do: Correct `--quotes-proposers`.
    #[error("{code}: a proposer's address `{url}` is not a URL such as http://127.0.0.1:8580", code = self.code())]
    Address { url: String },
    /// The token has a line break or another control character inside.
    ///
    /// Do: Correct `--quotes-token`.
    #[error("{code}: the token for the proposers has a line break or another control character in it; correct the setting quotes.token", code = self.code())]
    Token,
    /// The proposer is unreachable, or the connection broke. Retrying may succeed.
    ///
    /// Do: Check that it runs with `--quotes-listen`, and correct its URL in `--quotes-proposers`.
    #[error("{code}: proposer {url} cannot be reached: {reason}", code = self.code())]
    Unreachable {
        url: String,
        /// In a few words, such as `connection refused`.
        reason: String,
        /// For a debugger: its words repeat those of `reason` in three layers.
        cause: Box<reqwest::Error>,
    },
    /// Something other than a proposer that takes quotes answers at the address, or a proxy in front of one.
    ///
    /// Do: Correct the URL in `--quotes-proposers`, or run both of the same release.
    #[error("{code}: {url} does not answer as a proposer of this release that takes quotes: {reason}", code = self.code())]
    NotAProposer { url: String, reason: String },
    /// The proposer does not take the quote. The message carries its code instead.
    ///
    /// Do: Look up the proposer's code.
    #[error("{message}")]
    Rejected { status: u16, proposer_code: String, message: String },
}

/// The HTTP status of an answer after which the same request may succeed.
const UNAVAILABLE: u16 = 503;

rollmill_errors::coded! {
    ClientError {
        Self::Address { .. } => "SQC-001" usage,
        Self::Token => "SQC-002" usage,
        Self::Unreachable { .. } => "SQC-003" retried,
        Self::NotAProposer { .. } => "SQC-004" retried,
        Self::Rejected { status, proposer_code, .. } if *status == UNAVAILABLE => [proposer_code] retried,
        Self::Rejected { proposer_code, .. } => [proposer_code],
    }
}

/// Kinds of failures, for a figure: what a proposer answers must not become a name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The token is missing or wrong.
    Token,
    /// The prover is not one that the proposer listens to, or the signature is not its.
    Prover,
    /// The proposer has a quote of the prover that counts more.
    Superseded,
    /// Epoch or validity are not of now.
    Terms,
    /// The proposer has as many quotes as it keeps, and all are cheaper.
    Full,
    Unreachable,
    /// No answer of a proposer of this release, or one that has no other name here.
    Other,
}

impl Reason {
    pub const ALL: [Self; 7] = [
        Self::Token,
        Self::Prover,
        Self::Superseded,
        Self::Terms,
        Self::Full,
        Self::Unreachable,
        Self::Other,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Prover => "prover",
            Self::Superseded => "superseded",
            Self::Terms => "terms",
            Self::Full => "full",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
        }
    }

    /// The HTTP status with which a proposer says so; `None` for those that it does not say.
    fn status(self) -> Option<u16> {
        match self {
            Self::Token => Some(401),
            Self::Prover => Some(403),
            Self::Superseded => Some(409),
            Self::Terms => Some(422),
            Self::Full => Some(429),
            Self::Unreachable | Self::Other => None,
        }
    }
}

impl ClientError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        self.disposition() == Disposition::Retried
    }

    /// Whether the setting itself cannot be used, whatever the proposer does.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    /// The kind of the failure.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } => Reason::Unreachable,
            Self::Rejected { status, .. } => {
                let says = |reason: &Reason| reason.status() == Some(*status);
                Reason::ALL.into_iter().find(says).unwrap_or(Reason::Other)
            }
            Self::Address { .. } | Self::Token | Self::NotAProposer { .. } => Reason::Other,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_name_and_a_status_of_its_own() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            for other in &Reason::ALL[..i] {
                assert_ne!(reason.label(), other.label());
                assert!(reason.status().is_none() || reason.status() != other.status());
            }
            if let Some(status) = reason.status() {
                let (proposer_code, message) = (String::new(), String::new());
                let error = ClientError::Rejected { status, proposer_code, message };
                assert_eq!(error.reason(), reason);
            }
        }
    }
}
