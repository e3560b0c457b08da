//! The broker's wire types and its typed client.
//!
//! Producers enqueue jobs and check their results; agents claim, prove and report. Both speak HTTP
//! to any replica and never see the database. Every request may be repeated: ids are
//! content-addressed and lease epochs fence what is out of date, so [`Client`] repeats by itself
//! while a broker is unavailable or overloaded.

mod access;
mod answer;
mod batches;
mod client;
mod error;
mod ids;
mod limits;
mod make;
mod names;
mod operator;
mod options;
pub mod outlook;
pub mod overview;
mod payloads;
pub mod routes;
pub mod rules;
pub mod shapes;
mod size;
mod status;
mod types;

pub use access::*;
pub use answer::{Answer, Code, Scope};
pub use client::Client;
pub use error::ClientError;
pub use ids::{
    AgentId, Digest, IdError, Incarnation, Installation, JobId, KindName, LeaseEpoch, SessionId,
    TokenLabel,
};
pub use make::path_ms;
pub use names::{
    AgentState, AttemptOutcome, CompleteOutcome, EpochOutcome, EpochState, FailureClass, JobState,
    Named, RejectOutcome, Role, Severity, TokenState,
};
pub use options::Options;
pub use outlook::{AutoscaleResponse, ClassView, OutlookView, PoolView};
pub use overview::{
    AgentOverview, AgentsOverview, CallerView, DeadLetterOverview, DeadLettersOverview,
    EpochOverview, EventsQuery, Followed, HeadlineView, KindOverview, Overview, OverviewEvents,
    QueueOverview,
};
pub use size::SizeClass;
pub use status::{AgentView, DrainRequest, QueueView, StatusResponse};
pub use types::*;

/// Every struct of requests and answers, for pages.
pub const SHAPE_LISTS: &[&[shapes::Shape]] =
    &[types::SHAPES, status::SHAPES, outlook::SHAPES, overview::SHAPES, access::SHAPES];
