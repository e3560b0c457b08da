//! Why a quote was not delivered.

use rollmill_errors::{Coded, Disposition};
use rollmill_net::{AddressError, ExposedToken, Foreign, Rejection, TransportError, Unreachable};

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The proposer's address is not a URL, or has a user name, a password, a query or a fragment.
    ///
    /// Do: Correct `--quotes-proposers`.
    #[error("{code}: a proposer's address {0}; correct the setting quotes.proposers", code = self.code())]
    Address(AddressError),
    /// The token has a line break or another control character inside.
    ///
    /// Do: Correct the file or variable that `--quotes-proposers` names for the proposer.
    #[error("{code}: the token for a proposer has a line break or another control character in it; correct what the setting quotes.proposers names", code = self.code())]
    Token,
    /// The token would go over plain HTTP to another machine, and whoever is in between could read it.
    ///
    /// Do: Use `https://` in `--quotes-proposers`, or set `--plain-tokens` if the network encrypts by itself.
    #[error("{code}: the proposer at {0}", code = self.code())]
    Exposed(ExposedToken),
    /// The proposer is unreachable, or the connection broke. Retrying may succeed.
    ///
    /// Do: Check that it runs with `--quotes-listen`, and correct its URL in `--quotes-proposers`.
    #[error("{code}: proposer {0}", code = self.code())]
    Unreachable(Unreachable),
    /// Something other than a proposer that takes quotes answers at the address, or a proxy in front of one.
    ///
    /// Do: Correct the URL in `--quotes-proposers`, or run both of the same release.
    #[error("{code}: no proposer of this release that takes quotes answers at {0}", code = self.code())]
    NotAProposer(Foreign),
    /// The proposer does not take the quote. The message carries its code instead.
    ///
    /// Do: Look up the proposer's code.
    #[error("{0}")]
    Rejected(Rejection),
}

rollmill_errors::coded! {
    ClientError {
        Self::Address(_) => "SQC-001" usage,
        Self::Token => "SQC-002" usage,
        Self::Exposed(_) => "SQC-005" usage,
        Self::Unreachable(_) => "SQC-003" retried,
        Self::NotAProposer(_) => "SQC-004" retried,
        Self::Rejected(rejection) if rejection.is_unavailable() => [&rejection.code] retried,
        Self::Rejected(rejection) => [&rejection.code],
    }
}

impl From<TransportError> for ClientError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Address(error) => Self::Address(error),
            TransportError::Token => Self::Token,
            TransportError::Exposed(exposed) => Self::Exposed(exposed),
            TransportError::Unreachable(error) => Self::Unreachable(error),
            TransportError::Foreign(foreign) => Self::NotAProposer(foreign),
            TransportError::Rejected(rejection) => Self::Rejected(rejection),
        }
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
    /// The proposer has no time for the quote now.
    Busy,
    Unreachable,
    /// No answer of a proposer of this release, or one that has no other name here.
    Other,
}

impl Reason {
    pub const ALL: [Self; 8] = [
        Self::Token,
        Self::Prover,
        Self::Superseded,
        Self::Terms,
        Self::Full,
        Self::Busy,
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
            Self::Busy => "busy",
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
            Self::Busy => Some(503),
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
            Self::Unreachable(_) => Reason::Unreachable,
            // The frame of its server rejects the form of a request, and knows no quotes.
            Self::Rejected(Rejection { code, .. }) if code.starts_with("SVC-") => Reason::Other,
            Self::Rejected(Rejection { status, .. }) => {
                let says = |reason: &Reason| reason.status() == Some(*status);
                Reason::ALL.into_iter().find(says).unwrap_or(Reason::Other)
            }
            Self::Address(_) | Self::Token | Self::Exposed(_) | Self::NotAProposer(_) => {
                Reason::Other
            }
        }
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
                let (code, message) = (String::new(), String::new());
                let error = ClientError::Rejected(Rejection { status, code, message });
                assert_eq!(error.reason(), reason);
            }
        }
        let (code, message) = ("SVC-012".to_owned(), "SVC-012: host".to_owned());
        let of_the_frame = ClientError::Rejected(Rejection { status: 403, code, message });
        assert_eq!(of_the_frame.reason(), Reason::Other);
    }
}
