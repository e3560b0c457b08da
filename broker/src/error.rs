//! Why the broker refuses or cannot serve.

use rollmill_broker_client::{AgentId, Digest, JobId, LeaseEpoch};

use crate::database::StatementError;

/// Each variant knows its code and the HTTP status it is answered with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The database rejected a statement or is unreachable. Requests are answered 503 while it is.
    #[error("{}: database error: {reason}", self.code())]
    Database { reason: StatementError },

    /// The schema cannot be brought up to date.
    #[error("{}: the schema cannot be migrated: {reason}", self.code())]
    Migrate { reason: String },

    /// A newer release has migrated the database, and this one does not know what it holds.
    #[error(
        "{}: a newer release of Rollmill has migrated the database (to migration {applied}, this one knows {known}); run that release, or restore a backup made before it",
        self.code()
    )]
    SchemaNewer { applied: i64, known: i64 },

    /// The database cannot be used as `database_url` says. The message names server, database or role
    /// and what to do.
    #[error("{}: {reason}", self.code())]
    Connect {
        reason: String,
        /// The server was not reached, and may come by itself.
        is_absent: bool,
    },

    /// The database's address cannot be read. Its text is a secret and is not repeated.
    #[error("{}: database_url is not an address such as postgres://role:password@host:5432/database: {reason}", self.code())]
    DatabaseUrl { reason: String },

    /// Checks of `broker doctor` failed; each was printed.
    #[error("{}: {failed} of {checks} checks failed; see the lines marked WRONG", self.code())]
    ChecksFailed { failed: usize, checks: usize },

    /// An index that the claim depends on is gone; serving without it would overload the database.
    #[error("{}: index `{index}` is missing or invalid; run `broker migrate` or create it again as in migrations/0001_jobs.sql", self.code())]
    IndexMissing { index: &'static str },

    /// The server is older than the oldest supported.
    #[error("{}: PostgreSQL {version} is too old; 14 is the oldest that works", self.code())]
    ServerTooOld { version: String },

    /// The request makes no sense.
    #[error("{}: {message}", self.code())]
    BadRequest { message: String },

    /// No job has this id.
    #[error("{}: no job has the id {id}", self.code())]
    UnknownJob { id: JobId },

    /// The id is taken by a job of another version.
    #[error("{}: job {id} exists with another version", self.code())]
    VersionConflict { id: JobId },

    /// The input or result named was never uploaded, or can no longer be read.
    #[error("{}: artifact {digest} was not uploaded; upload it first", self.code())]
    NotPut { digest: Digest },

    /// No artifact has this digest.
    #[error("{}: no artifact {digest}", self.code())]
    UnknownArtifact { digest: Digest },

    /// The bytes sent do not have the digest in the address.
    #[error("{}: the body has digest {got}, not {wanted}", self.code())]
    DigestMismatch { wanted: Digest, got: Digest },

    /// The artifact was stored and its bytes are gone or damaged. The jobs whose result it was are
    /// open again; uploading it again heals it.
    #[error("{}: artifact {digest} was stored and can no longer be read; upload it again", self.code())]
    ArtifactLost {
        digest: Digest,
        /// Jobs that were opened again because of it.
        reopened: u64,
    },

    /// A body or batch is larger than allowed.
    #[error("{}: {what} is larger than {max}", self.code())]
    TooLarge { what: &'static str, max: usize },

    /// Another grant superseded this lease, or the job is no longer leased.
    #[error("{}: lease epoch {held} of {job} is no longer valid (now {current})", self.code())]
    LeaseLost { job: JobId, held: LeaseEpoch, current: LeaseEpoch },

    /// The agent gave too many wrong proofs.
    #[error("{}: agent {agent} is quarantined; an operator can pardon it", self.code())]
    Quarantined { agent: AgentId },

    /// The job is no longer wanted.
    #[error("{}: job {id} was cancelled", self.code())]
    Cancelled { id: JobId },

    /// That result, or that agent's result, was found wrong before.
    #[error("{}: a result of this digest or agent was rejected for {id}", self.code())]
    AlreadyRejected { id: JobId },

    /// Too much at once.
    #[error("{}: too many requests at once", self.code())]
    Overloaded,

    /// No token, or one that is unknown or revoked.
    #[error("{}: a valid bearer token is required", self.code())]
    Unauthorized,

    /// The token's role may not do this.
    #[error("{}: the token's role may not do this", self.code())]
    Forbidden,

    /// The object store refused.
    #[error("{}: the artifact store failed", self.code())]
    Objects {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The address is reachable from other machines and nobody needs a token.
    #[error("{}: refusing to listen on {address} without a token; make one with `broker tokens add` or listen on 127.0.0.1", self.code())]
    OpenToAll { address: String },

    /// The agent that is to be pardoned is not in quarantine.
    #[error("{}: agent {agent} is not quarantined; `broker status` lists the agents", self.code())]
    NotQuarantined { agent: AgentId },

    /// No valid token has this label.
    #[error("{}: no valid token is labelled {label}; `broker tokens list` lists them", self.code())]
    UnknownToken { label: String },

    /// Jobs that are to be replayed or dropped are no dead letters.
    #[error("{}: these are no dead letters: {ids}; `broker dead-letters list` lists them", self.code())]
    NotDead { ids: String },

    /// There is no private database to work on, and the command is not one that makes it.
    #[error("{}: there is no private database in {folder}; correct --data-dir, or set --database-url", self.code())]
    NoDatabase { folder: String },

    /// The private Postgres ended by itself.
    #[error("{}: the private Postgres ended; see {log}", self.code())]
    PostgresEnded { log: String },
}

impl BrokerError {
    /// Stable identifier. Never reused.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Database { .. } => "BRK-001",
            Self::IndexMissing { .. } => "BRK-002",
            Self::Migrate { .. } => "BRK-003",
            Self::ServerTooOld { .. } => "BRK-004",
            Self::OpenToAll { .. } => "BRK-005",
            Self::PostgresEnded { .. } => "BRK-006",
            Self::Connect { .. } => "BRK-007",
            Self::DatabaseUrl { .. } => "BRK-008",
            Self::ChecksFailed { .. } => "BRK-009",
            Self::BadRequest { .. } => "BRK-010",
            Self::UnknownJob { .. } => "BRK-011",
            Self::VersionConflict { .. } => "BRK-012",
            Self::NotPut { .. } => "BRK-013",
            Self::UnknownArtifact { .. } => "BRK-014",
            Self::DigestMismatch { .. } => "BRK-015",
            Self::TooLarge { .. } => "BRK-017",
            Self::LeaseLost { .. } => "BRK-018",
            Self::Quarantined { .. } => "BRK-019",
            Self::Cancelled { .. } => "BRK-020",
            Self::AlreadyRejected { .. } => "BRK-021",
            Self::Overloaded => "BRK-022",
            Self::Unauthorized => "BRK-023",
            Self::Forbidden => "BRK-024",
            Self::Objects { .. } => "BRK-025",
            // 016 was a damaged artifact answered as the server's own error.
            Self::ArtifactLost { .. } => "BRK-026",
            Self::NotQuarantined { .. } => "BRK-027",
            Self::UnknownToken { .. } => "BRK-028",
            Self::NotDead { .. } => "BRK-029",
            Self::NoDatabase { .. } => "BRK-030",
            Self::SchemaNewer { .. } => "BRK-031",
        }
    }

    /// Whether a setting itself cannot be used, whatever the database does.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::DatabaseUrl { .. })
    }

    /// HTTP status of the answer. 503 says: the same request may succeed later.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest { .. } => 400,
            Self::Unauthorized => 401,
            Self::Quarantined { .. } | Self::Forbidden => 403,
            Self::UnknownJob { .. } | Self::UnknownArtifact { .. } => 404,
            Self::VersionConflict { .. }
            | Self::LeaseLost { .. }
            | Self::Cancelled { .. }
            | Self::AlreadyRejected { .. } => 409,
            Self::ArtifactLost { .. } => 410,
            Self::TooLarge { .. } => 413,
            Self::NotPut { .. } | Self::DigestMismatch { .. } => 422,
            Self::Database { .. } | Self::Overloaded | Self::Objects { .. } => 503,
            _ => 500,
        }
    }

    /// The error of a statement, as an error of the server it was sent to where that says more.
    pub(crate) fn at(self, target: &crate::Target) -> Self {
        match self {
            Self::Database { reason } => Self::Connect {
                is_absent: crate::Target::is_absent(&reason.0),
                reason: target.explain(&reason.0),
            },
            other => other,
        }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::BadRequest { message: message.into() }
    }

    pub(crate) fn objects(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Objects { source: source.into() }
    }
}

impl From<sqlx::Error> for BrokerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database { reason: StatementError(error) }
    }
}

impl From<sqlx::migrate::MigrateError> for BrokerError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            // The connection or a right is missing: say that, not that a migration failed.
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Migrate { reason: other.to_string() },
        }
    }
}
