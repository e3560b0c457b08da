//! Why a request to the broker did not succeed.

use crate::{Answer, Digest, Role};
use rollmill_errors::{Coded, Disposition};
use rollmill_net::{
    AddressError, ErrorBody, ExposedToken, Foreign, Rejection, TransportError, Unreachable,
};

/// What happened. [`ClientError::answer`] says what it means for the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The broker's address is not a URL, or has a user name, a password, a query or a fragment.
    ///
    /// Do: Correct `--broker` (agent, prover node) or `--url` (broker commands).
    #[error("{code}: the broker's address {0}", code = self.code())]
    Address(AddressError),

    /// The token has a line break or another control character inside, which no token has.
    ///
    /// Do: Set `--token` (agent, prover node, broker commands) to what `rollmill-broker tokens add` printed.
    #[error("{}: the token has a line break or another control character in it, so it is not one that `rollmill-broker tokens add` printed; correct the setting token", self.code())]
    Token,

    /// The token would go over plain HTTP to another machine, and whoever is in between could read it.
    ///
    /// Do: Use `https://` in `--broker` (agent, prover node) or `--url` (broker commands), or set `--plain-tokens` if
    /// the network encrypts by itself.
    #[error("{code}: the broker at {0}", code = self.code())]
    Exposed(ExposedToken),

    /// The request has no JSON form, so nothing was sent.
    ///
    /// Do: Report it: a value of the request was built wrongly.
    #[error("{}: the request to {path} cannot be written as JSON", self.code())]
    Request {
        path: &'static str,
        #[source]
        source: serde_json::Error,
    },

    /// The broker is unreachable: no connection, a timeout, or an incomplete response, until the
    /// client stopped retrying.
    ///
    /// Do: Check that the broker runs, and correct `--broker` or `--url` and firewalls.
    #[error("{code}: broker {0}", code = self.code())]
    Unreachable(Unreachable),

    /// The broker responds but cannot serve now: it is overloaded or has no database. The message
    /// carries the broker's code instead.
    ///
    /// Do: Look up the broker's code; the client retries.
    #[error("{broker_code}: the broker at {url} cannot serve now: {message}")]
    Unavailable { url: String, status: u16, broker_code: String, message: String },

    /// Something other than a broker answers at the address: a proxy, or another server.
    ///
    /// Do: Correct `--broker` or `--url`, or start the broker behind the proxy.
    #[error("{}: the server at {url} answered {status} without a broker's code; correct the address of the broker", self.code())]
    NotABroker { url: String, status: u16 },

    /// The broker rejected the request. The message carries the broker's code instead.
    ///
    /// Do: Look up the broker's code. Repeating the request does not help.
    #[error("{broker_code}: {message}")]
    Rejected { status: u16, broker_code: String, message: String },

    /// The broker's response cannot be read: cut off, or of another version.
    ///
    /// Do: Run client and broker of the same release.
    #[error("{}: the response of {url} cannot be read; run client and broker of the same release", self.code())]
    Answer {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The artifact arrived with another digest than requested.
    ///
    /// Do: Nothing: the client fetches it again. If it recurs, a proxy or the network changes
    /// bodies.
    #[error("{}: artifact {wanted} arrived with digest {got}", self.code())]
    Corrupt { wanted: Digest, got: Digest },
}

rollmill_errors::coded! {
    ClientError {
        Self::Address(_) => "BRC-010" usage,
        Self::Unreachable(_) => "BRC-011" retried,
        Self::Unavailable { broker_code, .. } => [broker_code] retried,
        Self::Rejected { broker_code, .. } => [broker_code],
        Self::Answer { .. } => "BRC-014" retried,
        Self::Corrupt { .. } => "BRC-015" retried,
        Self::NotABroker { .. } => "BRC-016" retried,
        Self::Request { .. } => "BRC-017",
        Self::Token => "BRC-018" usage,
        Self::Exposed(_) => "BRC-019" usage,
    }
}

impl ClientError {
    /// What this means to the client.
    pub fn answer(&self) -> Answer {
        match self {
            // No request is made: `Client::new` rejects the address, and a value without a JSON form is
            // not sent.
            Self::Address(_) | Self::Request { .. } => Answer::Incompatible,
            Self::Token | Self::Exposed(_) => Answer::TokenRejected,
            Self::Unreachable(_)
            | Self::NotABroker { .. }
            | Self::Answer { .. }
            | Self::Corrupt { .. } => Answer::Transient,
            Self::Unavailable { status, broker_code, .. }
            | Self::Rejected { status, broker_code, .. } => Answer::of(*status, Some(broker_code)),
        }
    }

    /// What to do when the first request of a program with the settings `--broker` and `--token` fails:
    /// one that needs a token of this role.
    pub fn advice(&self, role: Role) -> String {
        match (self.answer(), self) {
            // Also a proxy before a broker that restarts answers as no broker does.
            (_, Self::Address(_) | Self::NotABroker { .. }) => "Correct --broker".to_owned(),
            // The message says it.
            (_, Self::Exposed(_)) => String::new(),
            (Answer::Transient, _) => "Start the broker, or correct --broker".to_owned(),
            (Answer::TokenRejected, _) => {
                format!(
                    "Set --token to a token of role {} (`rollmill-broker tokens add`)",
                    role.as_str()
                )
            }
            _ => "Use a broker of this release".to_owned(),
        }
    }

    /// Whether the setting itself cannot be used, whatever the broker does.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    /// Whether the same request may succeed later: [`Answer::Transient`].
    pub fn is_transient(&self) -> bool {
        self.disposition() == Disposition::Retried
    }

    /// The broker's own code, when it sent one.
    pub fn broker_code(&self) -> Option<&str> {
        match self {
            Self::Rejected { broker_code, .. } | Self::Unavailable { broker_code, .. } => {
                Some(broker_code)
            }
            _ => None,
        }
    }

    /// The error of an answer that is no success, by what its body says.
    pub(crate) fn of_answer(url: &str, status: u16, told: Option<ErrorBody>) -> Self {
        let url = url.to_owned();
        let Some(ErrorBody { code, message }) = told.filter(|it| crate::Code::is_one(&it.code))
        else {
            return Self::NotABroker { url, status };
        };
        match Answer::of(status, Some(&code)) {
            Answer::Transient => Self::Unavailable { url, status, broker_code: code, message },
            _ => Self::Rejected { status, broker_code: code, message },
        }
    }

    /// The error of a request without an answer, or of a client that cannot be made.
    pub(crate) fn of_transport(error: TransportError) -> Self {
        match error {
            TransportError::Address(error) => Self::Address(error),
            TransportError::Token => Self::Token,
            TransportError::Exposed(exposed) => Self::Exposed(exposed),
            TransportError::Unreachable(error) => Self::Unreachable(error),
            TransportError::Foreign(Foreign { url, reason }) => {
                Self::Answer { url, source: reason.into() }
            }
            TransportError::Rejected(Rejection { status, code, message }) => {
                Self::Rejected { status, broker_code: code, message }
            }
        }
    }
}
