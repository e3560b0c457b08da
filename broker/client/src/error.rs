//! Why a request to the broker did not succeed.

use crate::Digest;

/// See the variants for what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The broker's address makes no sense. Change the settings.
    #[error("{}: the broker's address `{url}` is not a URL such as http://127.0.0.1:8551", self.code())]
    Address { url: String },

    /// Nobody answered within the client's patience. Try later.
    #[error("{}: no answer from the broker at {url}", self.code())]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },

    /// The broker has too much to do, or its database is away, beyond the client's patience.
    #[error("{}: the broker at {url} is overloaded: {message}", self.code())]
    Overloaded { url: String, message: String },

    /// The broker refused. `broker_code` says why; repeating the request will not help.
    #[error("{}: refused with {status}: {broker_code}: {message}", self.code())]
    Refused { status: u16, broker_code: String, message: String },

    /// The answer cannot be read: another version, or not a broker.
    #[error("{}: the answer of {url} is not the broker's", self.code())]
    Answer {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The artifact got does not have the digest asked for.
    #[error("{}: artifact {wanted} arrived as {got}", self.code())]
    Corrupt { wanted: Digest, got: Digest },
}

impl ClientError {
    /// Stable identifier. Never reused.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "BRC-010",
            Self::Unreachable { .. } => "BRC-011",
            Self::Overloaded { .. } => "BRC-012",
            Self::Refused { .. } => "BRC-013",
            Self::Answer { .. } => "BRC-014",
            Self::Corrupt { .. } => "BRC-015",
        }
    }

    /// Whether the same request may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Overloaded { .. })
    }

    /// The broker's own code, when it refused.
    pub fn broker_code(&self) -> Option<&str> {
        match self {
            Self::Refused { broker_code, .. } => Some(broker_code),
            _ => None,
        }
    }
}
