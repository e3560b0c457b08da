//! Why the broker rejects a request or cannot serve.

use rollmill_broker_client::rules::Violation;
use rollmill_broker_client::{AgentId, Code, Digest, JobId, LeaseEpoch};
use rollmill_errors::{Coded, Disposition};

use crate::database::StatementError;

/// Each variant knows its code; a code that clients know has its HTTP status there ([`Code::status`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The database rejected a statement or is unreachable. Meanwhile requests get 503.
    ///
    /// Do: Check that PostgreSQL runs and has space and free connections. The broker continues on
    /// its own when it is back.
    #[error("{}: a database statement failed: {reason}", self.code())]
    Database { reason: StatementError },

    /// The schema cannot be migrated.
    ///
    /// Do: Read the reason. Restore a backup, or use the release that wrote the database.
    #[error("{}: the schema cannot be migrated: {reason}", self.code())]
    Migrate { reason: String },

    /// A newer release migrated the database, and this release does not know its schema.
    ///
    /// Do: Run that release, or restore a backup made before the migration.
    #[error(
        "{}: a newer release of Rollmill has migrated the database (to migration {applied}, this one knows {known}); run that release, or restore a backup made before it",
        self.code()
    )]
    SchemaNewer { applied: i64, known: i64 },

    /// The database in `database_url` cannot be used. The message names the server, database or
    /// role.
    ///
    /// Do: Do what the message says; `rollmill-broker doctor` checks the settings.
    #[error("{}: {reason}", self.code())]
    Connect {
        reason: String,
        /// The server was not reached, and may come by itself.
        is_absent: bool,
    },

    /// `database_url` cannot be parsed. It may hold a password, so the message does not repeat it.
    ///
    /// Do: Write it as `postgres://role:password@host:5432/database`, special characters
    /// percent-encoded.
    #[error("{}: database_url is not an address such as postgres://role:password@host:5432/database: {reason}", self.code())]
    DatabaseUrl { reason: String },

    /// At least one check of `rollmill-broker doctor` failed.
    ///
    /// Do: Fix the lines marked WRONG and run it again.
    #[error("{}: {failed} of {checks} checks failed; see the lines marked WRONG", self.code())]
    ChecksFailed { failed: usize, checks: usize },

    /// An index that the claim query needs is missing. The broker does not start, because the query
    /// would overload the database.
    ///
    /// Do: Drop the index if it is there and invalid, and create it again with the statement
    /// `CREATE INDEX` of its name in `broker/migrations`. `rollmill-broker migrate` does not: a migration runs once.
    #[error("{}: index `{index}` is missing or invalid; drop it if it exists, and create it again with its statement in broker/migrations", self.code())]
    IndexMissing { index: &'static str },

    /// The PostgreSQL server is older than the oldest supported version.
    ///
    /// Do: Use PostgreSQL 14 or newer.
    #[error("{}: PostgreSQL {version} is too old; 14 is the oldest that works", self.code())]
    ServerTooOld { version: String },

    /// The request is malformed: its path, a parameter or the body.
    ///
    /// Do: Use a client of the same release. If you wrote the client, the message names the part to
    /// correct.
    #[error("{}: {message}", self.code())]
    BadRequest { message: String },

    /// No job has this id.
    ///
    /// Do: Check the id with `rollmill-broker jobs`. A producer enqueues the job again.
    #[error("{}: no job has the id {id}", self.code())]
    UnknownJob { id: JobId },

    /// The id belongs to a job of another circuit version.
    ///
    /// Do: Run the same release on every prover node of this broker.
    #[error("{}: job {id} exists with another version", self.code())]
    VersionConflict { id: JobId },

    /// The named input or result was never uploaded, or can no longer be read.
    ///
    /// Do: Upload the artifact, then repeat the request. Agents and prover nodes do so on their
    /// own.
    #[error("{}: artifact {digest} was not uploaded; upload it first", self.code())]
    NotUploaded { digest: Digest },

    /// No artifact has this digest.
    ///
    /// Do: Check the digest. Artifacts are deleted with their epoch; the producer uploads again what
    /// it still needs.
    #[error("{}: there is no artifact {digest}; it was never uploaded, or was deleted with its epoch", self.code())]
    UnknownArtifact { digest: Digest },

    /// The uploaded bytes do not have the digest of the path.
    ///
    /// Do: Upload again. If it recurs, a proxy or the network changes bodies.
    #[error("{}: the body has digest {got}, the path names {wanted}; upload it again", self.code())]
    DigestMismatch { wanted: Digest, got: Digest },

    /// The artifact was stored, but its bytes are missing or damaged. The jobs whose result it was
    /// are open again.
    ///
    /// Do: Nothing: agents prove again, and producers upload inputs again. Check the disk of the
    /// database.
    #[error("{}: artifact {digest} was stored and can no longer be read; upload it again", self.code())]
    ArtifactLost {
        digest: Digest,
        /// Jobs that were opened again because of it.
        reopened: u64,
    },

    /// A body or batch is larger than allowed.
    ///
    /// Do: Split the batch, or raise `--artifact-bytes-max` for artifacts.
    #[error("{}: {what} exceeds the limit of {max}", self.code())]
    TooLarge { what: &'static str, max: usize },

    /// The lease was superseded, or the job is no longer leased.
    ///
    /// Do: Nothing: the agent drops the job. If it recurs for long jobs, raise `--lease-seconds` or
    /// look for agents that pause.
    #[error("{}: lease {held} on job {job} was superseded; the current lease is {current}", self.code())]
    LeaseLost { job: JobId, held: LeaseEpoch, current: LeaseEpoch },

    /// The agent is quarantined: too many of its proofs were invalid.
    ///
    /// Do: Test the agent's device, then release it with `rollmill-broker pardon`.
    #[error("{}: agent {agent} is quarantined; an operator can release it with `rollmill-broker pardon`", self.code())]
    Quarantined { agent: AgentId },

    /// The job was cancelled.
    ///
    /// Do: Nothing: the agent drops the job.
    #[error("{}: job {id} was cancelled", self.code())]
    Cancelled { id: JobId },

    /// A result with this digest, or of this agent, was rejected for this job before.
    ///
    /// Do: Nothing: another agent gets the job. If it recurs on one agent, test its device.
    #[error("{}: a result of this digest or agent was rejected before for job {id}", self.code())]
    AlreadyRejected { id: JobId },

    /// Too many concurrent requests.
    ///
    /// Do: Nothing: clients retry. If it recurs, raise `--requests-max` or add broker replicas.
    #[error("{}: too many concurrent requests; send it again later", self.code())]
    Overloaded,

    /// The bearer token is missing, unknown, expired or revoked, and no certificate stands for one.
    ///
    /// Do: Set `--token` to a valid token; `rollmill-broker tokens add` creates one, `tokens list` shows ends.
    #[error("{}: a valid bearer token is required", self.code())]
    Unauthorized,

    /// The token's role does not allow this request.
    ///
    /// Do: Use a token of the role that the command needs; `rollmill-broker tokens list` shows the roles.
    #[error("{}: the token's role does not allow this request", self.code())]
    Forbidden,

    /// The object store, which holds large artifacts, failed or does not answer.
    ///
    /// Do: Check the store of the setting `object_store`, its disk and the way to it. Requests succeed again when
    /// it is back.
    #[error("{}: the object store failed; check the store of the setting object_store", self.code())]
    Objects {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The settings of the object store, with the environment of the process, do not make a store.
    ///
    /// Do: Correct what the message names. Credentials of a bucket come from environment variables such as
    /// `AWS_ACCESS_KEY_ID` and `GOOGLE_SERVICE_ACCOUNT`.
    #[error("{}: the object store {url} cannot be used: {reason}; correct object_store or the environment variables of its credentials", self.code())]
    ObjectsAddress { url: String, reason: String },

    /// The object store is not the one that the database's artifacts lie in. Each replica of a broker needs the same
    /// store, so this one does not serve.
    ///
    /// Do: Set `object_store` to the store that the message names. If that store is lost for good, stop the brokers
    /// and run `rollmill-broker adopt-store`: jobs whose artifacts are lost are made again.
    #[error("{}: the object store {store} has the identity {found}, and the database's artifacts lie in {name} with the identity {registered}; correct object_store, or run `rollmill-broker adopt-store` if that store is lost", self.code())]
    OtherStore { store: String, found: String, registered: String, name: String },

    /// The object store has an identity that this database does not know: another database has artifacts in it, and
    /// each would delete what the other has in folders of the same names.
    ///
    /// Do: Set `object_store` to a store or folder of its own for each database. If the artifacts are those of this
    /// database, which was lost, stop the brokers and run `rollmill-broker adopt-store`.
    #[error("{}: the object store {store} with the identity {found} belongs to another database; set object_store to a store or folder of its own, or run `rollmill-broker adopt-store` if that database is lost", self.code())]
    ForeignStore { store: String, found: String },

    /// The listen address is reachable from other machines, and no token is required.
    ///
    /// Do: Create a token with `rollmill-broker tokens add`, or set `--listen` to an address on 127.0.0.1.
    #[error("{}: refusing to listen on {address} without a token; make one with `rollmill-broker tokens add` or listen on 127.0.0.1", self.code())]
    OpenToAll { address: String },

    /// The agent to pardon is not quarantined.
    ///
    /// Do: List the agents with `rollmill-broker status` and correct the name.
    #[error("{}: agent {agent} is not quarantined; `rollmill-broker status` lists the agents", self.code())]
    NotQuarantined { agent: AgentId },

    /// The broker knows no agent of this name. It forgets those that were silent for `keep_agents_seconds`.
    ///
    /// Do: List the agents with `rollmill-broker status` and correct the name; those of a fleet have its label in front.
    #[error("{}: no agent is called {agent}; `rollmill-broker status` lists the agents", self.code())]
    UnknownAgent { agent: AgentId },

    /// No valid token has this label.
    ///
    /// Do: List the tokens with `rollmill-broker tokens list` and correct the label.
    #[error("{}: no valid token is labelled {label}; `rollmill-broker tokens list` lists them", self.code())]
    UnknownToken { label: String },

    /// A token has this label already. A label is never used twice, so that the record stays clear.
    ///
    /// Do: Choose another label; `rollmill-broker tokens list` lists those that are taken, revoked ones included.
    #[error("{}: a token labelled {label} exists; choose another label (`rollmill-broker tokens list` lists them, revoked ones included)", self.code())]
    LabelTaken { label: String },

    /// A certificate with this name stands for another token already.
    ///
    /// Do: Choose a name that only this client's certificate has, or revoke the other token; `rollmill-broker tokens list` has the
    /// names.
    #[error("{}: a certificate with the name {certificate} stands for another token; choose another name, or revoke that token (`rollmill-broker tokens list` lists them)", self.code())]
    CertificateTaken { certificate: String },

    /// The token to rotate has no secret: a client's certificate stands for it.
    ///
    /// Do: Renew the certificate; its name is what counts. To lock a client out, revoke the token.
    #[error("{}: a certificate stands for the token {label}, which has no secret; renew the certificate instead", self.code())]
    NoSecret { label: String },

    /// The token to resume is not suspended.
    ///
    /// Do: List the tokens with `rollmill-broker tokens list` and correct the label.
    #[error("{}: token {label} is not suspended; `rollmill-broker tokens list` lists the tokens", self.code())]
    NotSuspended { label: String },

    /// The file for commands of this machine cannot be written in the data directory.
    ///
    /// Do: Correct the rights of the directory, or set `--data-dir` to another one.
    #[error("{}: cannot write {path}; correct its rights, or set --data-dir to another directory", self.code())]
    OperatorFile {
        path: String,
        #[source]
        source: std::io::Error,
    },

    /// Some of the named jobs are not dead letters.
    ///
    /// Do: List them with `rollmill-broker dead-letters list` and correct the ids.
    #[error("{}: these are not dead letters: {ids}; `rollmill-broker dead-letters list` lists them", self.code())]
    NotDead { ids: String },

    /// There is no private database in `--data-dir`, and this command does not create one.
    ///
    /// Do: Correct `--data-dir`, or set `--database-url`.
    #[error("{}: there is no private database in {folder}; correct --data-dir, or set --database-url", self.code())]
    NoDatabase { folder: String },

    /// Producers rejected too many results of the agents of this token. It opens the broker again when an operator
    /// has resumed it.
    ///
    /// Do: Find out with `rollmill-broker status` which agents gave wrong results, stop or repair them, and run
    /// `rollmill-broker tokens resume`.
    #[error("{}: the token {label} is suspended: too many results of its agents were rejected; an operator can end that with `rollmill-broker tokens resume`", self.code())]
    TokenSuspended { label: String },

    /// Another installation uses this agent's identity, and was seen a moment ago.
    ///
    /// Do: Give each agent a name or a token of its own. After a move to another disk, wait until the old
    /// installation has been silent for 45 s.
    #[error("{}: another installation is alive as agent {agent}; give each agent a name or token of its own", self.code())]
    IdentityTaken { agent: AgentId },

    /// The agent's session was superseded by a newer one, or the broker does not know it.
    ///
    /// Do: Nothing: the agent opens another.
    #[error("{}: the session of agent {agent} is not open here; open another", self.code())]
    UnknownSession { agent: AgentId },

    /// The token has sent more requests, or opened more connections, than it may.
    ///
    /// Do: Wait for the time in `Retry-After`. If it recurs, give the token higher limits: add another with
    /// `--requests-per-second` or `--connections`.
    #[error("{}: more {what} than the token may have ({max}); send it again later", self.code())]
    TooManyRequests { what: &'static str, max: u32, retry_seconds: u64 },

    /// No route has this path.
    ///
    /// Do: Correct the path: `docs/http.md` lists them. If a client of this project asked, run client and
    /// broker of the same release.
    #[error("{}: no such path; docs/http.md lists the paths", self.code())]
    UnknownPath,

    /// The path has a route, but not for this method.
    ///
    /// Do: Correct the method: `docs/http.md` lists the methods of each path.
    #[error("{}: the path does not take this method; docs/http.md lists the methods of each path", self.code())]
    WrongMethod,

    /// The database holds a value that this release cannot read: a newer release wrote it, or somebody
    /// changed it by hand.
    ///
    /// Do: Run the release that wrote it, or restore a backup.
    #[error("{}: the database holds a value that this release cannot read ({what}); run the release that wrote it, or restore a backup", self.code())]
    Corrupt { what: String },

    /// The broker itself made an error.
    ///
    /// Do: Report it with the message and the log around it.
    #[error("{}: internal error: {reason}; please report it", self.code())]
    Internal { reason: String },

    /// The epoch is closing: it takes no artifacts, jobs and results any more. Or its last generation is still being
    /// deleted.
    ///
    /// Do: Nothing: agents drop its jobs. A producer that still needs the epoch opens it again; the prover node does so on
    /// its own.
    #[error("{}: epoch {epoch} is closing and takes nothing more; a producer that still needs it opens it again", self.code())]
    EpochClosing { epoch: u64 },

    /// The epoch was deleted, or no producer ever opened it.
    ///
    /// Do: Nothing: agents drop its jobs. A producer that still needs the epoch opens it again and uploads what it needs;
    /// the prover node does so on its own.
    #[error("{}: epoch {epoch} is gone, or no producer opened it; a producer that needs it opens it and uploads again", self.code())]
    EpochGone { epoch: u64 },

    /// The tenant has as many open epochs as it may have.
    ///
    /// Do: Close epochs that are done with: `rollmill-broker epochs` lists them. Or raise `--epochs-open-max`.
    #[error("{}: {most} epochs are open, which is the limit; close some, or raise --epochs-open-max", self.code())]
    EpochsOpen { most: u32 },

    /// The disk of `data_dir` is nearly full, so the broker takes no artifacts and jobs; what it has goes on.
    ///
    /// Do: Free space, or close and drop epochs. Requests succeed again when there is space.
    #[error("{}: {free_percent:.0} % of the disk of data_dir is free, less than --disk-free-min-percent; free space, or drop epochs", self.code())]
    DiskFull { free_percent: f64 },

    /// `rollmill-broker bench` cannot run, or found that jobs were lost or completed twice, or heartbeats or completions
    /// rejected.
    ///
    /// Do: Do what the message says. Lost jobs are an error of the broker: report them with the run's output.
    #[error("{}: the benchmark failed: {reason}", self.code())]
    Bench { reason: String },

    /// The private PostgreSQL server stopped on its own.
    ///
    /// Do: Read the log that the message names (often a full disk or the out-of-memory killer),
    /// then start the broker again.
    #[error("{}: the private PostgreSQL stopped on its own; read {log}", self.code())]
    PostgresEnded { log: String },
}

rollmill_errors::coded! {
    BrokerError {
        Self::Database { .. } => "BRK-001",
        Self::IndexMissing { .. } => "BRK-002",
        Self::Migrate { .. } => "BRK-003",
        Self::ServerTooOld { .. } => "BRK-004",
        Self::OpenToAll { .. } => "BRK-005",
        Self::PostgresEnded { .. } => "BRK-006",
        Self::Connect { .. } => "BRK-007",
        Self::DatabaseUrl { .. } => "BRK-008" usage,
        Self::ChecksFailed { .. } => "BRK-009",
        Self::BadRequest { .. } => "BRK-010",
        Self::UnknownJob { .. } => "BRK-011",
        Self::VersionConflict { .. } => "BRK-012",
        Self::NotUploaded { .. } => "BRK-013",
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
        Self::UnknownPath => "BRK-032",
        Self::WrongMethod => "BRK-033",
        Self::Corrupt { .. } => "BRK-034",
        Self::Internal { .. } => "BRK-035",
        Self::Bench { .. } => "BRK-036",
        Self::TokenSuspended { .. } => "BRK-037",
        Self::IdentityTaken { .. } => "BRK-038",
        Self::UnknownSession { .. } => "BRK-039",
        // 040 to 045 are those of the private PostgreSQL.
        Self::TooManyRequests { .. } => "BRK-046",
        Self::NotSuspended { .. } => "BRK-047",
        Self::OperatorFile { .. } => "BRK-048",
        Self::LabelTaken { .. } => "BRK-049",
        // 050 is one of the private PostgreSQL.
        Self::CertificateTaken { .. } => "BRK-051",
        Self::NoSecret { .. } => "BRK-052",
        Self::ObjectsAddress { .. } => "BRK-060" usage,
        Self::OtherStore { .. } => "BRK-061",
        Self::EpochClosing { .. } => "BRK-062",
        Self::EpochGone { .. } => "BRK-063",
        Self::EpochsOpen { .. } => "BRK-064",
        Self::DiskFull { .. } => "BRK-065",
        Self::ForeignStore { .. } => "BRK-066",
        Self::UnknownAgent { .. } => "BRK-067",
    }
}

impl BrokerError {
    /// Whether a setting itself cannot be used, whatever the database does.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    /// The code as clients know it; [`None`] for errors that are no answer to a request, and for those
    /// of the broker itself.
    pub fn wire_code(&self) -> Option<Code> {
        Code::parse(self.code())
    }

    /// HTTP status of the answer. 503 says: the same request may succeed later. Where clients know the
    /// code it is [`Code::status`], which a test compares; the page of error codes is made from this one.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest { .. } => 400,
            Self::Unauthorized => 401,
            Self::Quarantined { .. }
            | Self::Forbidden
            | Self::TokenSuspended { .. }
            | Self::IdentityTaken { .. } => 403,
            Self::UnknownJob { .. }
            | Self::UnknownArtifact { .. }
            | Self::UnknownToken { .. }
            | Self::UnknownPath => 404,
            Self::WrongMethod => 405,
            Self::VersionConflict { .. }
            | Self::LeaseLost { .. }
            | Self::Cancelled { .. }
            | Self::AlreadyRejected { .. }
            | Self::UnknownSession { .. }
            | Self::LabelTaken { .. }
            | Self::CertificateTaken { .. }
            | Self::NoSecret { .. }
            | Self::EpochClosing { .. } => 409,
            Self::ArtifactLost { .. } | Self::EpochGone { .. } => 410,
            Self::TooLarge { .. } => 413,
            Self::TooManyRequests { .. } => 429,
            Self::NotUploaded { .. } | Self::DigestMismatch { .. } => 422,
            Self::Database { .. }
            | Self::Overloaded
            | Self::Objects { .. }
            | Self::EpochsOpen { .. }
            | Self::DiskFull { .. } => 503,
            _ => 500,
        }
    }

    /// What happened, without the code: the answer carries the code apart.
    pub fn message(&self) -> String {
        rollmill_errors::Bare(self).to_string()
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

    /// A malformed request. The code of an error that the message quotes is left out.
    pub(crate) fn bad(message: impl AsRef<str>) -> Self {
        Self::BadRequest { message: rollmill_service::uncoded(message.as_ref()) }
    }

    pub(crate) fn objects(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Objects { source: source.into() }
    }
}

impl From<Violation> for BrokerError {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::TooLarge { what, max } => Self::TooLarge { what, max },
            Violation::Wrong(message) => Self::bad(message),
        }
    }
}

impl From<sqlx::Error> for BrokerError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { index, source } => {
                Self::Corrupt { what: format!("column {index}: {source}") }
            }
            sqlx::Error::Decode(source) => Self::Corrupt { what: source.to_string() },
            error => Self::Database { reason: StatementError(error) },
        }
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
