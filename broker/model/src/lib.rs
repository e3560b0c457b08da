//! A model of the broker: two replicas, two agents, a producer and a few jobs, with every interleaving of what they do
//! and of what can go wrong between them. What happens to a job is [`rollmill_broker_rules::step`], which the broker's
//! tests compare with its statements.
//!
//! - [`Model`] the states and what can happen in each. It is a model of `stateright`, which explores it and looks for a
//!   state that breaks a [`Rule`].
//! - [`explore`] the whole graph, for what `stateright` cannot say: whether every job can still be finished from every
//!   state, and which transitions happen.
//! - [`weak`] the rules with one of them missing, which a model that is worth its name notices.
//!
//! `docs/book/model.md` says what is modelled and what is not.

pub mod action;
mod graph;
mod monitor;
mod second;
mod state;
pub mod weak;

use rollmill_broker_client::EpochState;
use stateright::Property;

pub use action::Action;
pub use graph::{Exploration, explore};
pub use monitor::Rule;
pub use second::Beside;
pub use state::{Agent, JobRow, Memory, Proof, SecondRow, State};

/// Agents of the model.
pub const AGENTS: usize = 2;

/// What an event does to a job.
pub type StepFn = fn(
    &JobRow,
    &rollmill_broker_rules::Event<Agent, Proof>,
) -> rollmill_broker_rules::Step<Agent, Proof>;

/// What an event does to a second lease of a job.
pub type SecondFn = fn(
    &JobRow,
    Option<&SecondRow>,
    &rollmill_broker_rules::SecondEvent<Agent>,
) -> (Option<SecondRow>, rollmill_broker_rules::Answer);

/// How far the model goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub jobs: usize,
    pub brokers: usize,
    /// Leases of one job that may end without its result, and those of all jobs: beyond, a job loses neither lease nor
    /// result any more.
    pub leases: u64,
    pub leases_in_all: u64,
    /// Rejected results that put an agent in quarantine.
    pub rejections_max: u8,
    /// Jobs have a deadline, which may pass.
    pub has_deadlines: bool,
    /// Operators ask agents to leave, and take that back.
    pub has_drains: bool,
    /// Agents get second leases of jobs that others hold, so they offer results under leases that they never had.
    pub has_seconds: bool,
    /// Second leases are rows, which replicas give, agents renew and give up, and time ends. Without, only what follows
    /// from results is explored.
    pub has_second_rows: bool,
    /// Agents of Aztec's prover nodes take up leases that have expired.
    pub has_resume: bool,
    /// Other events come between the two transactions of a completion that a lane leaves alone.
    pub has_gap: bool,
    /// States that differ in the names of agents, jobs and brokers alone count as one.
    pub is_symmetric: bool,
}

impl Bounds {
    /// Two jobs, few leases.
    pub const BROAD: Self = Self {
        jobs: 2,
        brokers: 2,
        leases: 2,
        leases_in_all: 2,
        rejections_max: 1,
        has_deadlines: false,
        has_drains: false,
        has_seconds: false,
        has_second_rows: false,
        has_resume: false,
        has_gap: true,
        is_symmetric: true,
    };

    /// One job, with more leases, with deadlines and with all that agents can ask for.
    pub const DEEP: Self = Self {
        jobs: 1,
        brokers: 1,
        leases: 3,
        leases_in_all: 3,
        rejections_max: 2,
        has_deadlines: true,
        has_resume: true,
        has_gap: false,
        ..Self::BROAD
    };

    /// One job, and agents that are asked to leave.
    pub const LEAVING: Self = Self { jobs: 1, has_drains: true, ..Self::BROAD };

    /// One job, and agents with second leases of it.
    pub const SECONDS: Self = Self { jobs: 1, has_seconds: true, ..Self::BROAD };

    /// As [`Self::SECONDS`], with the rows of the second leases. One replica: each event on such a row is one
    /// transaction, and no replica remembers any of it.
    pub const SECOND_ROWS: Self =
        Self { brokers: 1, has_second_rows: true, has_gap: false, ..Self::SECONDS };

    /// Two jobs with more leases: some minutes and some gigabytes.
    pub const LARGE: Self = Self { leases_in_all: 3, rejections_max: 2, ..Self::BROAD };
}

/// See the crate.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub bounds: Bounds,
    pub step: StepFn,
    pub second: SecondFn,
}

impl Model {
    /// With the broker's rules.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            step: rollmill_broker_rules::step,
            second: rollmill_broker_rules::second_step,
        }
    }

    /// The beginning: an open epoch without jobs.
    pub fn start(&self) -> State {
        State::new(self.bounds)
    }
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        action::possible(self, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        action::apply(self, state, action).map(|(next, _)| next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        monitor::properties()
    }
}

/// Whether nothing more can happen by itself: every job is final, or the epoch is gone with all of them.
pub fn is_final(state: &State) -> bool {
    let is_over = |row: &Option<JobRow>| row.as_ref().is_some_and(|row| row.state.is_final());
    state.epoch == EpochState::Gone || state.jobs.iter().all(is_over)
}
