//! Statements and rows: each statement is a struct that binds its parameters by name, each result a row
//! struct that reads its columns by name.
//!
//! The text of a statement is a file in `src/sql`, sent as it is. `store/sql/tests.rs` prepares every file
//! on a migrated PostgreSQL and compares parameters and columns with these structs: names, order, types
//! and which can be NULL. A statement that nothing constructs does not compile without a warning, and a
//! file that no struct names fails a test.

#[macro_use]
mod declare;
mod parameter;
#[cfg(test)]
mod plans;
mod rows;
mod statements;
#[cfg(test)]
mod tests;

use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::{Arguments as _, Executor};

use crate::error::BrokerError;

pub(crate) use parameter::{Parameter, Text};
pub(crate) use rows::*;
pub(crate) use statements::*;

/// A statement with its parameters.
pub(crate) trait Statement: Sized {
    /// Its text, from a file in `src/sql`.
    const SQL: &'static str;
    /// What it returns; `()` for no columns.
    type Row: Row;

    /// The parameters, in the order of the file's head.
    fn arguments(self) -> Result<PgArguments, BrokerError>;

    /// Every row.
    async fn all<'c>(
        self,
        on: impl Executor<'c, Database = Postgres>,
    ) -> Result<Vec<Self::Row>, BrokerError> {
        let query = sqlx::query_with(Self::SQL, self.arguments()?);
        query.fetch_all(on).await?.iter().map(Self::Row::read).collect()
    }

    /// The row, if there is one.
    async fn optional<'c>(
        self,
        on: impl Executor<'c, Database = Postgres>,
    ) -> Result<Option<Self::Row>, BrokerError> {
        let query = sqlx::query_with(Self::SQL, self.arguments()?);
        query.fetch_optional(on).await?.as_ref().map(Self::Row::read).transpose()
    }

    /// The row that there always is.
    async fn one<'c>(
        self,
        on: impl Executor<'c, Database = Postgres>,
    ) -> Result<Self::Row, BrokerError> {
        let query = sqlx::query_with(Self::SQL, self.arguments()?);
        Self::Row::read(&query.fetch_one(on).await?)
    }

    /// Runs it and returns the number of rows that it changed.
    async fn run<'c>(self, on: impl Executor<'c, Database = Postgres>) -> Result<u64, BrokerError> {
        let query = sqlx::query_with(Self::SQL, self.arguments()?);
        Ok(query.execute(on).await?.rows_affected())
    }
}

/// A row of a result.
pub(crate) trait Row: Sized {
    /// Reads the columns by name.
    fn read(row: &PgRow) -> Result<Self, BrokerError>;

    /// The columns, in order.
    #[cfg(test)]
    fn columns() -> Vec<tests::Column>;
}

impl Row for () {
    fn read(_: &PgRow) -> Result<Self, BrokerError> {
        Ok(())
    }

    #[cfg(test)]
    fn columns() -> Vec<tests::Column> {
        Vec::new()
    }
}

/// Adds one parameter.
pub(crate) fn bind<P: Parameter>(arguments: &mut PgArguments, value: P) -> Result<(), BrokerError> {
    let added = arguments.add(value.sql()?);
    added.map_err(|error| BrokerError::Internal { reason: format!("a parameter: {error}") })
}
