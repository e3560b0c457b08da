//! Why a validator's signature did not come.

use rollmill_errors::{Coded, Disposition};
use rollmill_net::{AddressError, ExposedToken, Foreign, Rejection, TransportError, Unreachable};

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The validator's address is not a URL, or has a user name, a password, a query or a fragment.
    ///
    /// Do: Correct `--committee-peers`.
    #[error("{code}: a validator's address {0}; correct the setting committee.peers", code = self.code())]
    Address(AddressError),
    /// The token has a line break or another control character inside.
    ///
    /// Do: Correct `--committee-peers-token`.
    #[error("{code}: the token for the validators has a line break or another control character in it; correct the setting committee.peers_token", code = self.code())]
    Token,
    /// The token would go over plain HTTP to another machine, and whoever is in between could read it.
    ///
    /// Do: Use `https://` in `--committee-peers`, or set `--plain-tokens` if the network encrypts by itself.
    #[error("{code}: the validator at {0}", code = self.code())]
    Exposed(ExposedToken),
    /// The validator is unreachable, or the connection broke. Retrying may succeed.
    ///
    /// Do: Check that it runs, and correct its URL in `--committee-peers`.
    #[error("{code}: validator {0}", code = self.code())]
    Unreachable(Unreachable),
    /// Something other than a validator answers at the address, or a proxy in front of one.
    ///
    /// Do: Correct the URL in `--committee-peers`, or run both of the same release.
    #[error("{code}: no validator of this release answers at {0}", code = self.code())]
    NotAValidator(Foreign),
    /// The validator does not sign. The message carries its code instead.
    ///
    /// Do: Look up the validator's code.
    #[error("{0}")]
    Rejected(Rejection),
}

rollmill_errors::coded! {
    ClientError {
        Self::Address(_) => "VAC-001" usage,
        Self::Token => "VAC-002" usage,
        Self::Exposed(_) => "VAC-005" usage,
        Self::Unreachable(_) => "VAC-003" retried,
        Self::NotAValidator(_) => "VAC-004" retried,
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
            TransportError::Foreign(foreign) => Self::NotAValidator(foreign),
            TransportError::Rejected(rejection) => Self::Rejected(rejection),
        }
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
}
