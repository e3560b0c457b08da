//! Errors of the database for its operator: which server, what is wrong, what to do.

use std::fmt;

use sqlx::postgres::PgConnectOptions;

/// The server, database and role that a connection was asked for. Never the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `host:port`, or the directory of the socket.
    server: String,
    host: String,
    database: String,
    role: String,
}

impl Target {
    /// What `options` name.
    pub fn of(options: &PgConnectOptions) -> Self {
        let role = options.get_username().to_owned();
        let host = options.get_host().to_owned();
        let server = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{host}:{}", options.get_port()),
        };
        // Postgres takes the role's name where no database is named.
        let database = options.get_database().unwrap_or(&role).to_owned();
        Self { server, host, database, role }
    }

    /// Whether the server was not reached: it may only not have started yet.
    pub(crate) fn is_absent(error: &sqlx::Error) -> bool {
        matches!(Cause::of(error), Cause::Refused | Cause::UnknownHost | Cause::Silent)
    }

    /// Why a connection failed or the database cannot be used, in one sentence with its remedy.
    pub(crate) fn explain(&self, error: &sqlx::Error) -> String {
        let Self { server, host, database, role } = self;
        match Cause::of(error) {
            Cause::Refused => format!(
                "no PostgreSQL server listens at {server}; start it, or correct database_url"
            ),
            Cause::UnknownHost => {
                format!("the host {host} is unknown; correct database_url")
            }
            Cause::Rejected => format!(
                "PostgreSQL at {server} rejects role {role}; correct the role or its password in \
                 database_url"
            ),
            Cause::NoDatabase => format!(
                "PostgreSQL at {server} has no database {database}; create it (CREATE DATABASE \
                 {database} OWNER {role}), or correct database_url"
            ),
            Cause::NoRights => format!(
                "role {role} has no right to use the schema of database {database} at {server}; \
                 grant it (GRANT ALL ON SCHEMA public TO {role}), or name another role in \
                 database_url"
            ),
            Cause::NoSchema => format!(
                "database {database} at {server} has no schema that role {role} would use; create one \
                 (CREATE SCHEMA public AUTHORIZATION {role}), or set the role's search_path"
            ),
            Cause::Foreign => format!(
                "database {database} at {server} holds tables of the names that Rollmill uses and no \
                 record of its migrations; name an empty database in database_url"
            ),
            Cause::Silent => format!(
                "no answer from PostgreSQL at {server} in time; check the server, the network and \
                 database_url"
            ),
            Cause::Other => format!("cannot use database {database} at {server}: {}", plain(error)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} as {}", self.database, self.server, self.role)
    }
}

/// The usual reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Refused,
    UnknownHost,
    Rejected,
    NoDatabase,
    NoRights,
    /// No schema to create tables in.
    NoSchema,
    /// Somebody else's tables.
    Foreign,
    Silent,
    Other,
}

impl Cause {
    fn of(error: &sqlx::Error) -> Self {
        use std::io::ErrorKind;
        match error {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                // invalid_authorization_specification, invalid_password
                Some("28000" | "28P01") => Self::Rejected,
                // invalid_catalog_name
                Some("3D000") => Self::NoDatabase,
                // cannot_connect_now: it starts or stops
                Some("57P03") => Self::Silent,
                // insufficient_privilege
                Some("42501") => Self::NoRights,
                // invalid_schema_name
                Some("3F000") => Self::NoSchema,
                // duplicate_table, duplicate_object, duplicate_function: only migrations create any
                Some("42P07" | "42710" | "42723") => Self::Foreign,
                _ => Self::Other,
            },
            sqlx::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => Self::Refused,
                ErrorKind::TimedOut
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof => Self::Silent,
                // The resolver's errors have no kind of their own.
                _ if error.to_string().contains("lookup address") => Self::UnknownHost,
                _ => Self::Other,
            },
            sqlx::Error::PoolTimedOut => Self::Silent,
            _ => Self::Other,
        }
    }
}

/// Whether the database was unreachable, broke off or cannot write now: the same statement may succeed later, and
/// nothing about it is wrong. It is unknown whether it was done.
pub(crate) fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => matches!(
            error.code().as_deref(),
            // admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout: the backend ended;
            // read_only_sql_transaction: the server became a standby; too_many_connections
            Some("57P01" | "57P02" | "57P03" | "57P05" | "25006" | "53300")
        ),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether the same statement may succeed later although its connection is fine: a table was locked, the server was
/// short of something, or it chose this transaction to end a deadlock.
pub(crate) fn is_congestion(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(
        code.as_deref(),
        // lock_not_available, query_canceled (a timeout), deadlock_detected, serialization_failure, disk_full,
        // out_of_memory
        Some("55P03" | "57014" | "40P01" | "40001" | "53100" | "53200")
    )
}

/// Whether a statement did not get a lock in time.
pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    // lock_not_available
    code.as_deref() == Some("55P03")
}

/// The text of an error without what only PostgreSQL's authors can use, such as lines of its source.
pub(crate) fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} (SQLSTATE {code})", error.message()),
            None => error.message().to_owned(),
        },
        sqlx::Error::Io(error) => format!("the connection to the database failed: {error}"),
        sqlx::Error::PoolTimedOut => {
            "no connection to the database in time: it is unreachable or overloaded".to_owned()
        }
        sqlx::Error::PoolClosed => "the broker is stopping".to_owned(),
        other => other.to_string(),
    }
}

/// An error of a statement; shows as [`plain`] text.
#[derive(Debug)]
pub struct StatementError(pub(crate) sqlx::Error);

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.0))
    }
}
