//! What the broker decides in Rust, after a statement has locked the job and before another one changes it.

use std::time::Duration;

use rollmill_broker_client::{FailureClass, JobState, LeaseEpoch, RejectOutcome, SizeClass};
use rollmill_broker_schedule::policy::Next;

/// Whether an agent holds a job under the lease that it names. This is the fence of heartbeats, progress, failures and
/// releases; a completion passes it late.
pub fn holds<A: PartialEq>(
    holder: Option<&A>,
    present: LeaseEpoch,
    agent: &A,
    named: LeaseEpoch,
) -> bool {
    holder == Some(agent) && present == named
}

/// Whether an agent gets leases. One that was asked to leave keeps those that it has, and its results count.
pub fn may_claim(is_quarantined: bool, is_draining: bool) -> bool {
    !is_quarantined && !is_draining
}

/// What a completion finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The job has this result from this agent: the answer to the first request was lost.
    Repeated,
    /// The job has a result, and that one stays.
    AlreadyDone,
    /// Nobody wants a result any more.
    Cancelled,
    /// The job has no result, so this one may become it.
    Wanted,
}

/// The completion rule: the first result stays, whoever offers it and whatever lease it names.
pub fn offer<A: PartialEq, D: PartialEq>(
    state: JobState,
    made: Option<(&A, &D)>,
    offered: (&A, &D),
) -> Offer {
    match state {
        JobState::Done if made == Some(offered) => Offer::Repeated,
        JobState::Done => Offer::AlreadyDone,
        JobState::Cancelled => Offer::Cancelled,
        // Those that sql/complete.sql accepts a result in.
        JobState::Ready
        | JobState::Delayed
        | JobState::InputWanted
        | JobState::Leased
        | JobState::Dead => Offer::Wanted,
    }
}

/// The class of a failure that an agent reports. An input that the broker can read is not missing, whatever the agent
/// could fetch.
pub fn reported(class: FailureClass, input_is_readable: bool) -> FailureClass {
    match class {
        FailureClass::InputMissing if input_is_readable => FailureClass::Transient,
        class => class,
    }
}

/// Why a lease ended by itself.
pub fn expired(beyond_hard_limit: bool) -> (FailureClass, &'static str) {
    match beyond_hard_limit {
        true => (FailureClass::HardLimit, "held longer than its hard limit"),
        false => (FailureClass::AgentDied, "no heartbeat within the lease"),
    }
}

/// Where a job goes that lost its lease or its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reopened {
    pub state: JobState,
    pub pause: Duration,
    /// Class of agent that it needs from now on.
    pub size: SizeClass,
    /// The agent does not get it again.
    pub excludes: bool,
}

/// The row that follows from a decision of the policy; `size` is the class that the job needs so far.
pub fn reopened(next: Next, size: SizeClass) -> Reopened {
    let out = |state| Reopened { state, pause: Duration::ZERO, size, excludes: false };
    match next {
        Next::GiveUp => out(JobState::Dead),
        Next::AwaitInput => out(JobState::InputWanted),
        Next::Retry { pause, size, exclude } => {
            let state = if pause.is_zero() { JobState::Ready } else { JobState::Delayed };
            Reopened { state, pause, size, excludes: exclude }
        }
    }
}

/// What a producer is told that rejected a result.
pub fn rejected(next: Next) -> RejectOutcome {
    match next {
        Next::GiveUp => RejectOutcome::DeadLettered,
        Next::Retry { .. } | Next::AwaitInput => RejectOutcome::Reopened,
    }
}

/// The states in which a second agent goes on with a job: it may still have a result, and its producer waits for it. The
/// first agent may have lost it meanwhile.
pub fn wants_second() -> Vec<JobState> {
    unfinished()
}

/// The states that a cancellation, or the end of an epoch, ends.
pub fn unfinished() -> Vec<JobState> {
    JobState::ALL.into_iter().filter(|state| !state.is_final()).collect()
}
