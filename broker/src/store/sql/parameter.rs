//! How values go into statements and come out of rows.

use std::marker::PhantomData;
use std::time::Duration;

use rollmill_broker_client::{
    AgentId, AttemptOutcome, Digest, EpochOutcome, EpochState, FailureClass, IdError, Incarnation,
    Installation, JobId, JobState, KindName, LeaseEpoch, Named as _, Role, SessionId, SizeClass,
    TokenLabel,
};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type};

use super::super::{Place, Tenant};
use crate::error::BrokerError;

/// A value that can be bound to a parameter.
pub(crate) trait Parameter {
    /// As PostgreSQL takes it.
    type Sql: Type<Postgres> + for<'q> Encode<'q, Postgres>;

    /// Converts it.
    fn sql(self) -> Result<Self::Sql, BrokerError>;
}

macro_rules! plain {
    ($($type:ty),+) => {$(
        impl Parameter for $type {
            type Sql = Self;

            fn sql(self) -> Result<Self, BrokerError> {
                Ok(self)
            }
        }
    )+};
}

plain!(bool, i32, i64, f32, f64, String);

macro_rules! texts {
    ($($type:ty: $text:ident),+) => {$(
        impl<'a> Parameter for &'a $type {
            type Sql = &'a str;

            fn sql(self) -> Result<&'a str, BrokerError> {
                Ok(self.$text())
            }
        }
    )+};
}

texts!(
    AgentId: as_str, JobId: as_str, KindName: as_str, Incarnation: as_str, Installation: as_str,
    SessionId: as_str, TokenLabel: as_str, Tenant: as_str
);

macro_rules! names {
    ($($type:ty),+) => {$(
        impl Parameter for $type {
            type Sql = &'static str;

            fn sql(self) -> Result<&'static str, BrokerError> {
                Ok(self.as_str())
            }
        }
    )+};
}

names!(JobState, AttemptOutcome, FailureClass, Role, Place, EpochOutcome);

impl<'a> Parameter for &'a str {
    type Sql = Self;

    fn sql(self) -> Result<&'a str, BrokerError> {
        Ok(self)
    }
}

/// Keys of jobs.
impl<'a> Parameter for &'a [i64] {
    type Sql = Self;

    fn sql(self) -> Result<&'a [i64], BrokerError> {
        Ok(self)
    }
}

/// Bytes as they are.
impl<'a> Parameter for &'a [u8] {
    type Sql = Self;

    fn sql(self) -> Result<&'a [u8], BrokerError> {
        Ok(self)
    }
}

impl Parameter for Digest {
    type Sql = Vec<u8>;

    fn sql(self) -> Result<Vec<u8>, BrokerError> {
        Ok(self.0.to_vec())
    }
}

impl Parameter for SizeClass {
    type Sql = i16;

    fn sql(self) -> Result<i16, BrokerError> {
        Ok(i16::from(self.number()))
    }
}

impl Parameter for u32 {
    type Sql = i64;

    fn sql(self) -> Result<i64, BrokerError> {
        Ok(i64::from(self))
    }
}

/// An epoch, a fence or a number of bytes. One that PostgreSQL cannot hold is rejected, never changed.
impl Parameter for u64 {
    type Sql = i64;

    fn sql(self) -> Result<i64, BrokerError> {
        i64::try_from(self).map_err(|_| BrokerError::bad(format!("{self} is above {}", i64::MAX)))
    }
}

impl Parameter for LeaseEpoch {
    type Sql = i64;

    fn sql(self) -> Result<i64, BrokerError> {
        self.0.sql()
    }
}

/// In milliseconds.
impl Parameter for Duration {
    type Sql = i64;

    fn sql(self) -> Result<i64, BrokerError> {
        let ms = i64::try_from(self.as_millis());
        ms.map_err(|_| BrokerError::bad(format!("{} s are too long", self.as_secs())))
    }
}

macro_rules! optional {
    ($($type:ty => $sql:ty),+) => {$(
        impl Parameter for Option<$type> {
            type Sql = Option<$sql>;

            fn sql(self) -> Result<Self::Sql, BrokerError> {
                self.map(|value| Ok(value.sql()?.into())).transpose()
            }
        }
    )+};
}

// A text that may be absent is copied: sqlx encodes an `Option` of a reference only for `'static`.
optional!(
    i32 => i32, f32 => f32, f64 => f64, u64 => i64, Duration => i64, JobState => &'static str,
    FailureClass => &'static str, &Tenant => String, &AgentId => String, &JobId => String, &str => String
);

impl<T: Parameter> Parameter for Vec<T>
where
    Vec<T::Sql>: Type<Postgres> + for<'q> Encode<'q, Postgres>,
{
    type Sql = Vec<T::Sql>;

    fn sql(self) -> Result<Self::Sql, BrokerError> {
        self.into_iter().map(T::sql).collect()
    }
}

/// A column of the type `S` that holds a `T`. A value that is no `T` is an error, never another value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct As<S, T>(pub(crate) T, PhantomData<S>);

impl<S: Type<Postgres>, T> Type<Postgres> for As<S, T> {
    fn type_info() -> PgTypeInfo {
        S::type_info()
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        S::compatible(info)
    }
}

impl<S: PgHasArrayType, T> PgHasArrayType for As<S, T> {
    fn array_type_info() -> PgTypeInfo {
        S::array_type_info()
    }
}

impl<'r, S, T> Decode<'r, Postgres> for As<S, T>
where
    S: Decode<'r, Postgres>,
    T: Stored<S>,
{
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(T::stored(S::decode(value)?)?, PhantomData))
    }
}

/// A value that is stored as an `S`.
pub(crate) trait Stored<S>: Sized {
    /// Reads it, or says what is wrong with it.
    fn stored(value: S) -> Result<Self, String>;
}

macro_rules! stored_ids {
    ($($type:ty),+) => {$(
        impl Stored<String> for $type {
            fn stored(text: String) -> Result<Self, String> {
                text.parse().map_err(|error: IdError| format!("`{text}`: {}", error.message()))
            }
        }
    )+};
}

stored_ids!(AgentId, JobId, KindName, Incarnation, Installation, SessionId);

macro_rules! stored_names {
    ($($type:ty),+) => {$(
        impl Stored<String> for $type {
            fn stored(name: String) -> Result<Self, String> {
                Self::parse(&name).ok_or_else(|| format!("`{name}` is no {}", Self::WHAT))
            }
        }
    )+};
}

stored_names!(JobState, AttemptOutcome, FailureClass, Role, Place, EpochState, EpochOutcome);

impl Stored<Vec<u8>> for Digest {
    fn stored(bytes: Vec<u8>) -> Result<Self, String> {
        let length = bytes.len();
        bytes.try_into().map(Digest).map_err(|_| format!("a digest of {length} bytes"))
    }
}

macro_rules! stored_numbers {
    ($($stored:ty => $type:ty),+) => {$(
        impl Stored<$stored> for $type {
            fn stored(number: $stored) -> Result<Self, String> {
                Self::try_from(number).map_err(|_| format!("{number} is out of range"))
            }
        }
    )+};
}

stored_numbers!(i32 => u32, i64 => u32, i64 => u64);

impl Stored<i16> for SizeClass {
    fn stored(number: i16) -> Result<Self, String> {
        let class = u8::try_from(number).ok().and_then(Self::new);
        class.ok_or_else(|| format!("{number} is no size class"))
    }
}

/// A text column with an id or a name.
pub(crate) type Text<T> = As<String, T>;
/// A `bytea` column with a SHA-256.
pub(crate) type Sha = As<Vec<u8>, Digest>;
/// A `smallint` column with the class of an agent, or the one that a job needs.
pub(crate) type Size = As<i16, SizeClass>;
/// An `integer` column that is not negative.
pub(crate) type Int = As<i32, u32>;
/// A `bigint` column that is not negative.
pub(crate) type Big = As<i64, u64>;
/// A `bigint` column that fits in 32 bits and is not negative.
pub(crate) type Rank = As<i64, u32>;

impl Big {
    /// As the fencing token of a lease.
    pub(crate) fn lease_epoch(&self) -> LeaseEpoch {
        LeaseEpoch(self.0)
    }
}
