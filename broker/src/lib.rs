//! The broker: a flat queue of jobs on Postgres that never loses work.
//!
//! N replicas over one database. Producers enqueue jobs whose inputs they have uploaded; agents claim,
//! work and complete; a producer rejects an invalid result. The dependency graph is the
//! producer's: the broker knows a job's rank and nothing of what it proves.
//!
//! - [`store`] every statement and the rules they keep: completion, fencing, budgets.
//! - [`objects`] where the bodies of large artifacts lie.
//! - `rollmill_broker_schedule` what it decides: which agent gets which job, what follows each class of failure
//!   ([`policy`]), which types of job no live agent can do ([`ability`]).
//! - `rollmill_broker_rules` what each statement does to a job, as pure functions, and the table of transitions behind the
//!   state diagram ([`states`]).
//! - [`openapi`] the description of the HTTP interface for programs.
//! - [`embedded`] the private Postgres used when no database is named.
//! - `aztec` the interface for Aztec's prover nodes and agents.
//! - `page` the web page, and `overview` what it shows.
//! - [`serve`] one replica with its HTTP interface, the counterpart of `rollmill_broker_client`.

mod api;
mod autoscale;
mod aztec;
mod background;
mod broker;
mod clock;
pub mod config;
mod credential;
mod database;
mod disk;
mod dispatch;
mod drains;
pub mod embedded;
pub mod error;
mod first;
mod hub;
mod lane;
mod lanes;
mod limits;
mod matching;
pub mod metrics;
pub mod objects;
pub mod openapi;
mod overview;
mod page;
mod retention;
mod scrub;
mod seconds;
mod sightings;
pub mod store;
mod traces;

pub use broker::{OPERATOR_TOKEN_FILE, serve, serve_with_operator, url_of};
pub use config::{Config, ListenerConfig};
pub use database::{StatementError, Target};
pub use disk::check_disk;
pub use error::BrokerError;
pub use first::{FIRST_TOKEN_FILE, write_secret};
pub use rollmill_broker_rules::states;
pub use rollmill_broker_schedule::{ability, policy};
