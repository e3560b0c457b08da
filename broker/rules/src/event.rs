//! What happens to a job, and what the broker answers.

use rollmill_broker_client::{
    CompleteOutcome, EpochState, FailureClass, JobState, LeaseEpoch, RejectOutcome, SizeClass,
};
use rollmill_broker_schedule::policy::Next;

use crate::row::{Deadline, Row};

/// One request, or one deed of the broker itself, with the facts outside the job that its statements look at. Each is
/// one transaction: what a request does in two of them is two events, and others may come between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event<A, D> {
    /// A producer enqueues the job again. `deadline`: [`None`] where it names none.
    Enqueue {
        class: SizeClass,
        deadline: Option<Deadline>,
        epoch: EpochState,
        input_is_readable: bool,
    },
    /// A replica leases the job to an agent for which it found the job before. `is_draining`: the agent was asked to
    /// leave.
    Claim { agent: A, is_quarantined: bool, is_draining: bool },
    /// An agent says that it still works on the job.
    Heartbeat { agent: A, lease_epoch: LeaseEpoch },
    /// A lane offers a result together with others. What is not as usual is left to [`Event::Complete`].
    CompleteMany(Offered<A, D>),
    /// A result is judged by itself.
    Complete(Offered<A, D>),
    /// An agent reports a failure.
    Fail { agent: A, lease_epoch: LeaseEpoch, class: FailureClass, input_is_readable: bool },
    /// A lane returns the job together with others. What is not as usual is left to [`Event::Release`].
    ReleaseMany { agent: A, lease_epoch: LeaseEpoch },
    /// An agent returns the job.
    Release { agent: A, lease_epoch: LeaseEpoch },
    /// An agent opens a session after another one.
    Restart { agent: A, is_quarantined: bool },
    /// An agent of an Aztec prover node takes its expired lease up again.
    Resume { agent: A, lease_epoch: LeaseEpoch },
    /// The broker ends a lease that is over.
    Expire,
    /// The broker makes a delayed job ready whose pause is over.
    Promote,
    /// The broker gives up a job whose deadline has passed.
    PassDeadline,
    /// The broker forgets exclusions that have left nobody for long enough.
    Forgive { nobody_is_left: bool },
    /// A producer uploads the input. `is_object`: it is large.
    Upload { is_object: bool, epoch: EpochState },
    /// Somebody finds that the result cannot be read.
    LoseResult,
    /// A producer rejects a result. `is_readable`: its bytes can be read, so somebody can have checked them.
    Reject { result: D, is_readable: bool },
    /// A producer cancels the job.
    Cancel,
    /// A producer or operator drops the dead letter.
    Drop,
    /// A producer or operator replays the dead letter.
    Replay,
    /// The job's epoch is closed.
    CloseEpoch,
}

/// A result that an agent offers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Offered<A, D> {
    pub agent: A,
    /// The lease under which the agent made it, which may be over.
    pub lease_epoch: LeaseEpoch,
    pub result: D,
    pub stored: Stored,
    pub is_quarantined: bool,
    pub epoch: EpochState,
}

/// Where an offered result was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    /// For the job's epoch.
    Here,
    /// For another epoch, where it can be read.
    Elsewhere,
    Nowhere,
}

/// What one event does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<A, D> {
    pub row: Row<A, D>,
    /// A rejection may leave another row behind: a holder that can only repeat a rejected result loses its lease.
    pub answer: Result<Answer, Rejection>,
    pub effects: Effects<A>,
}

/// What one event does besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<A> {
    /// The statement that moved the job to another state, as a file of `broker/src/sql`.
    pub statement: Option<&'static str>,
    /// The feed of the epoch shows the change to the producer.
    pub is_told: bool,
    /// The agent to which a wrong result was charged.
    pub charged: Option<A>,
}

/// What the broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The state in which the producer finds the job.
    Enqueued(JobState),
    /// The lease; [`None`] if the job could not be leased any more.
    Granted(Option<LeaseEpoch>),
    /// Whether the agent may go on.
    Held(bool),
    Completed(Completion),
    /// Not as usual, so left to another event.
    Left,
    /// What follows a failure.
    Failed(Next),
    /// What followed the end of a lease; [`None`] if no lease was over.
    Expired(Option<(FailureClass, Next)>),
    Rejected(RejectOutcome),
    /// Whether the job was one of those that the statement changed.
    Changed(bool),
}

/// What a completion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub outcome: CompleteOutcome,
    pub late: bool,
    pub repeated: bool,
}

/// Why the broker rejects a request. Each is an error code of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    LeaseLost,
    Cancelled,
    Quarantined,
    AlreadyRejected,
    NotUploaded,
    EpochClosing,
    EpochGone,
}

impl<A> Effects<A> {
    pub(crate) fn none() -> Self {
        Self { statement: None, is_told: false, charged: None }
    }
}
