//! A connection of one purpose.
//!
//! A pool asks a connection whether it lives each time it is taken and each time it is returned: two round trips
//! around one statement. The lanes send statements one after the other and send those again whose connection broke,
//! so each has a connection of its own instead.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use tokio::sync::Mutex;

use super::CONNECT_LIMIT;
use super::sql::{Row as _, Statement};
use crate::database;
use crate::error::BrokerError;

/// Longest time for a statement, beyond the server's own limit: a server that is gone without a word answers nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// How long plans are kept. Tables grow faster than PostgreSQL looks at them, and a plan is as old as the last look.
const PLANS_KEPT: Duration = Duration::from_secs(20);

/// Connects when it is used first, and again after an outage. Statements wait for each other. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    options: PgConnectOptions,
    connection: Arc<Mutex<Option<Live>>>,
}

#[derive(Debug)]
struct Live {
    connection: PgConnection,
    /// When its statements were planned last.
    planned: Instant,
}

impl Wire {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: Arc::default() }
    }

    /// Every row of a statement.
    pub(super) async fn all<S: Statement>(&self, statement: S) -> Result<Vec<S::Row>, BrokerError> {
        let arguments = statement.arguments()?;
        let rows = self.fetch(S::SQL, arguments).await?;
        rows.iter().map(S::Row::read).collect()
    }

    async fn fetch(
        &self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, BrokerError> {
        let mut slot = self.connection.lock().await;
        // Out of its place while it is used: a future that is dropped half-way leaves none that is out of step.
        let mut live = match slot.take() {
            Some(live) => live,
            None => {
                let connect = PgConnection::connect_with(&self.options);
                let connected = tokio::time::timeout(CONNECT_LIMIT, connect).await;
                let connection = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                Live { connection, planned: Instant::now() }
            }
        };
        if live.planned.elapsed() > PLANS_KEPT {
            sqlx::raw_sql("DISCARD PLANS").execute(&mut live.connection).await?;
            live.planned = Instant::now();
        }
        let answer = send(&mut live.connection, sql, arguments);
        let answer = tokio::time::timeout(ANSWER_LIMIT, answer).await;
        let answer = answer.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        if !answer.as_ref().is_err_and(database::is_outage) {
            *slot = Some(live);
        }
        Ok(answer?)
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        if let Some(live) = self.connection.lock().await.take() {
            // What is lost with it was not acknowledged.
            let _ = live.connection.close().await;
        }
    }
}

/// Boxed: the compiler does not see otherwise that the future can be sent for every lifetime.
fn send<'a>(
    connection: &'a mut PgConnection,
    sql: &'static str,
    arguments: PgArguments,
) -> Pin<Box<dyn Future<Output = Result<Vec<PgRow>, sqlx::Error>> + Send + 'a>> {
    Box::pin(async move { sqlx::query_with(sql, arguments).fetch_all(connection).await })
}
