//! What each response of a broker means to its client, decided in one place.
//!
//! A response's status alone is not enough: a proxy in front of a broker that restarts returns 502, 403
//! or 404 as well. So only a response with one of the broker's own codes can be final. A client turns
//! every error into an [`Answer`]. The loops of agent and prover node match it without a wildcard, so that a
//! new meaning does not compile until they decide about it.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $code:ident = $number:literal, $status:literal;)+) => {
        /// The code of a response: `BRK-` and the number of the variant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Code {
            $($(#[doc = $doc])+ $code = $number,)+
        }

        impl Code {
            /// Every code, for tables and tests.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$code),+];

            /// The HTTP status of a response with this code. 503 means that the same request may succeed later.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$code => $status,)+
                }
            }

            /// What it means, for people.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => concat!($($doc),+),)+
                }
            }
        }
    };
}

// Number and HTTP status.
codes! {
    /// The database rejected a statement or is unavailable.
    Database = 1, 503;
    /// The request cannot be read, or a value in it is out of range.
    Request = 10, 400;
    /// No job has this id.
    UnknownJob = 11, 404;
    /// The id is taken by a job of another version.
    VersionConflict = 12, 409;
    /// The input or result named was never uploaded.
    NotUploaded = 13, 422;
    /// No artifact has this digest.
    UnknownArtifact = 14, 404;
    /// The bytes sent do not have the digest named.
    DigestMismatch = 15, 422;
    /// A body or batch is larger than allowed.
    TooLarge = 17, 413;
    /// The lease named is no longer held.
    LeaseLost = 18, 409;
    /// The agent returned too many invalid proofs.
    Quarantined = 19, 403;
    /// The job was cancelled.
    Cancelled = 20, 409;
    /// That result, or an earlier result of that agent, was rejected.
    RejectedBefore = 21, 409;
    /// Too many requests at once.
    Overloaded = 22, 503;
    /// No token, or one that is unknown or revoked.
    Unauthorized = 23, 401;
    /// The token's role does not allow the request.
    Forbidden = 24, 403;
    /// The artifact store is unavailable.
    Objects = 25, 503;
    /// An artifact was stored and its bytes can no longer be read.
    ArtifactLost = 26, 410;
    /// No valid token has this label.
    UnknownToken = 28, 404;
    /// No route has this path.
    UnknownPath = 32, 404;
    /// The path has a route, but none of this method.
    WrongMethod = 33, 405;
    /// Producers rejected too many results of the token's agents.
    TokenSuspended = 37, 403;
    /// Another installation uses the agent's identity.
    IdentityTaken = 38, 403;
    /// The session was superseded, or the broker does not know it.
    UnknownSession = 39, 409;
    /// The token has sent more requests, or has more connections open, than it may.
    TooManyRequests = 46, 429;
    /// A token has this label already; a label is never used twice.
    LabelTaken = 49, 409;
    /// A certificate with the name stands for another token already.
    CertificateTaken = 51, 409;
    /// A certificate stands for the token, which has no secret to change.
    NoSecret = 52, 409;
    /// The epoch takes nothing more.
    EpochClosing = 62, 409;
    /// The epoch was deleted, or no producer opened it.
    EpochGone = 63, 410;
    /// The tenant has as many open epochs as it may have.
    EpochsOpen = 64, 503;
    /// The broker's disk is nearly full.
    DiskFull = 65, 503;
}

impl Code {
    /// The code of that name, such as `BRK-` followed by `026`.
    pub fn parse(text: &str) -> Option<Self> {
        let number: u16 = text.strip_prefix("BRK-")?.parse().ok()?;
        Self::ALL.into_iter().find(|code| *code as u16 == number)
    }

    /// The code as text, such as `BRK-` followed by `026`.
    pub fn text(self) -> String {
        format!("BRK-{:03}", self as u16)
    }

    /// Whether `text` has the form of a broker's code, also of one that this client does not know, or of the
    /// frame of its server, which rejects requests for their host or form.
    pub(crate) fn is_one(text: &str) -> bool {
        let number = text.strip_prefix("BRK-").or_else(|| text.strip_prefix("SVC-"));
        number.is_some_and(|number| number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// What a request's failure means to the client that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The same request may succeed later: no connection, a truncated or unreadable response, an
    /// overloaded or restarting broker, or a response that is not from a broker. Repeat it for as long
    /// as the result is needed; never exit because of it.
    Transient,
    /// Client and broker do not understand each other: another version, or a client's bug.
    /// Repeating the request does not help; an upgrade of either side does.
    Incompatible,
    /// The token is missing, revoked, expired, suspended or of another role.
    TokenRejected,
    /// This agent is in quarantine until an operator pardons it.
    Quarantined,
    /// The broker does not know the job. Its database may have been lost: a producer enqueues again.
    UnknownJob,
    /// The job exists with another version of the circuits.
    VersionConflict,
    /// The artifact was never uploaded, or is gone.
    UnknownArtifact,
    /// The artifact was there and its bytes cannot be read. The broker has reopened the jobs whose
    /// result it was.
    ArtifactLost,
    /// Upload the artifact, then repeat the request.
    NotUploaded,
    /// The bytes arrived with another digest than the one named.
    DigestMismatch,
    /// A body or batch is larger than the broker accepts.
    TooLarge,
    /// Another grant superseded the lease, or the job is no longer leased.
    LeaseLost,
    /// The job is no longer needed.
    Cancelled,
    /// The producer has rejected this result, or a result of this agent, for this job.
    RejectedBefore,
    /// Another installation uses this agent's identity, and is alive.
    IdentityTaken,
    /// The broker does not know the agent's session, or a newer one superseded it: open another.
    UnknownSession,
    /// The epoch takes nothing more, or is deleted. A producer that still needs it opens it again; for an agent the
    /// job is over.
    EpochEnded,
}

/// What a failure is about, for clients that act by that alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The broker or the connection to it: any request may succeed later.
    Broker,
    /// The client: the broker rejects its other requests too, until an operator acts.
    Client,
    /// This request.
    Request,
}

impl Answer {
    /// What the failure is about.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Transient => Scope::Broker,
            Self::TokenRejected | Self::Quarantined | Self::IdentityTaken => Scope::Client,
            Self::Incompatible
            | Self::UnknownJob
            | Self::VersionConflict
            | Self::UnknownArtifact
            | Self::ArtifactLost
            | Self::NotUploaded
            | Self::DigestMismatch
            | Self::TooLarge
            | Self::LeaseLost
            | Self::Cancelled
            | Self::RejectedBefore
            | Self::UnknownSession
            | Self::EpochEnded => Scope::Request,
        }
    }

    /// The meaning of a response with this HTTP status and, if the body carried one, this code. `code`
    /// is [`None`] for a response without a broker's code; a code that this client does not know is
    /// [`Answer::Incompatible`] unless its status says that it is temporary.
    pub fn of(status: u16, code: Option<&str>) -> Self {
        let Some(text) = code.filter(|text| Code::is_one(text)) else { return Self::Transient };
        if status >= 500 || matches!(status, 408 | 425 | 429) {
            return Self::Transient;
        }
        let Some(code) = Code::parse(text) else { return Self::Incompatible };
        match code {
            Code::Database
            | Code::Overloaded
            | Code::Objects
            | Code::TooManyRequests
            | Code::EpochsOpen
            | Code::DiskFull => Self::Transient,
            // Only operators name tokens, and no loop of theirs waits for one.
            Code::Request
            | Code::UnknownPath
            | Code::WrongMethod
            | Code::UnknownToken
            | Code::LabelTaken
            | Code::CertificateTaken
            | Code::NoSecret => Self::Incompatible,
            Code::UnknownJob => Self::UnknownJob,
            Code::VersionConflict => Self::VersionConflict,
            Code::NotUploaded => Self::NotUploaded,
            Code::UnknownArtifact => Self::UnknownArtifact,
            Code::DigestMismatch => Self::DigestMismatch,
            Code::TooLarge => Self::TooLarge,
            Code::LeaseLost => Self::LeaseLost,
            Code::Quarantined => Self::Quarantined,
            Code::Cancelled => Self::Cancelled,
            Code::RejectedBefore => Self::RejectedBefore,
            Code::Unauthorized | Code::Forbidden | Code::TokenSuspended => Self::TokenRejected,
            Code::ArtifactLost => Self::ArtifactLost,
            Code::IdentityTaken => Self::IdentityTaken,
            Code::UnknownSession => Self::UnknownSession,
            Code::EpochClosing | Code::EpochGone => Self::EpochEnded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_its_text() {
        for code in Code::ALL {
            assert_eq!(Code::parse(&code.text()), Some(code));
        }
        assert_eq!(Code::parse("BRK-016"), None);
        assert_eq!(Code::parse("NODE-010"), None);
    }

    #[test]
    fn only_a_brokers_own_code_can_be_final() {
        for status in [301, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422] {
            for code in [None, Some("-"), Some("ABC-001"), Some("BRK-"), Some("BRK-0001")] {
                assert_eq!(Answer::of(status, code), Answer::Transient, "{status} {code:?}");
            }
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            for code in [None, Some("BRK-001"), Some("BRK-016"), Some("BRK-023"), Some("BRK-999")] {
                assert_eq!(Answer::of(status, code), Answer::Transient, "{status} {code:?}");
            }
        }
        assert_eq!(Answer::of(409, Some("BRK-999")), Answer::Incompatible);
        // The broker's HTTP server rejects a name or a type of content before any route.
        assert_eq!(Answer::of(421, Some("SVC-012")), Answer::Incompatible);
    }
}
