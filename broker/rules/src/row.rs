//! A job's row with its attempts, as far as rules read them.

use rollmill_broker_client::{AttemptOutcome, FailureClass, JobState, LeaseEpoch, SizeClass};
use rollmill_broker_schedule::policy::Next;

use crate::decide;

/// A row of the table `job`, with its rows of the table `attempt`, the oldest first. Agents and digests are types of
/// the caller: names and SHA-256 in the broker, small numbers in a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row<A, D> {
    pub state: JobState,
    /// Smallest class of agent that can do the job.
    pub class: SizeClass,
    pub lease_epoch: LeaseEpoch,
    /// Leases that were granted.
    pub attempts: u64,
    /// The present lease; there is one exactly while the job is leased.
    pub lease: Option<Lease<A>>,
    /// Of a delayed job: it may become ready. False in every other state.
    pub pause_is_over: bool,
    pub deadline: Deadline,
    /// The result; there is one exactly while the job is done.
    pub made: Option<Made<A, D>>,
    /// Class of the last failure.
    pub failure: Option<FailureClass>,
    pub excluded: Vec<A>,
    pub history: Vec<Attempt<A, D>>,
}

/// An agent's right to a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease<A> {
    pub holder: A,
    /// No heartbeat came in time. The lease is valid until the broker expires it.
    pub is_over: bool,
    /// The agent has held it for as long as it may, so `is_over` holds as well.
    pub limit_is_over: bool,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Made<A, D> {
    pub agent: A,
    pub result: D,
}

/// When a job's result is no longer needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    None,
    Ahead,
    Passed,
}

/// The record of one lease, or of a completion without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt<A, D> {
    /// [`None`] for a completion by an agent of whose lease there is no record.
    pub lease_epoch: Option<LeaseEpoch>,
    pub agent: A,
    pub outcome: AttemptOutcome,
    pub failure: Option<FailureClass>,
    pub result: Option<D>,
    /// It counts towards a budget; no longer once the budget was renewed.
    pub counted: bool,
}

impl<A: Clone + PartialEq, D: Clone + PartialEq> Row<A, D> {
    /// A job that was just enqueued.
    pub fn new(class: SizeClass, deadline: Deadline) -> Self {
        Self {
            state: JobState::Ready,
            class,
            lease_epoch: LeaseEpoch(0),
            attempts: 0,
            lease: None,
            pause_is_over: false,
            deadline,
            made: None,
            failure: None,
            excluded: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Whether the agent holds the job under the lease that it names: the fence.
    pub fn is_held_by(&self, agent: &A, named: LeaseEpoch) -> bool {
        let holder = self.lease.as_ref().map(|lease| &lease.holder);
        decide::holds(holder, self.lease_epoch, agent, named)
    }

    /// As `sql/attempt_failures.sql` counts.
    pub fn failures(&self, class: FailureClass) -> u32 {
        let failed = |attempt: &&Attempt<A, D>| attempt.counted && attempt.failure == Some(class);
        count(self.history.iter().filter(failed).count())
    }

    /// Whether the producer rejected this result, since the budget was last renewed.
    pub fn is_banned(&self, result: &D) -> bool {
        self.rejections().any(|attempt| attempt.result.as_ref() == Some(result))
    }

    /// Whether the producer rejected a result of this agent, since the budget was last renewed.
    pub fn has_rejected(&self, agent: &A) -> bool {
        self.rejections().any(|attempt| attempt.agent == *agent)
    }

    fn rejections(&self) -> impl Iterator<Item = &Attempt<A, D>> {
        self.history.iter().filter(|a| a.counted && a.outcome == AttemptOutcome::Rejected)
    }

    /// As `sql/attempt_distrusted.sql` decides: a rejected result stays banned, a rejected agent while it is excluded.
    pub fn distrusts(&self, agent: &A, result: &D) -> bool {
        self.is_banned(result) || (self.excluded.contains(agent) && self.has_rejected(agent))
    }

    /// As `sql/attempt_makers.sql` counts: agents that made this result since it was first rejected.
    pub fn makers(&self, result: &D) -> u32 {
        let is_first = |a: &Attempt<A, D>| {
            a.counted && a.outcome == AttemptOutcome::Rejected && a.result.as_ref() == Some(result)
        };
        let Some(first) = self.history.iter().position(is_first) else { return 0 };
        let mut makers: Vec<&A> = Vec::new();
        for attempt in self.history.iter().skip(first) {
            if attempt.result.as_ref() == Some(result) && !makers.contains(&&attempt.agent) {
                makers.push(&attempt.agent);
            }
        }
        count(makers.len())
    }

    /// Ends the running attempt of a lease without a result (`sql/attempt_end.sql` and its like).
    pub(crate) fn end(
        &mut self,
        lease_epoch: LeaseEpoch,
        outcome: AttemptOutcome,
        failure: Option<FailureClass>,
    ) {
        for attempt in &mut self.history {
            if attempt.lease_epoch == Some(lease_epoch)
                && attempt.outcome == AttemptOutcome::Running
            {
                attempt.outcome = outcome;
                attempt.failure = failure;
            }
        }
    }

    /// Ends every running attempt, as another's result or a cancellation does.
    pub(crate) fn end_all(&mut self, outcome: AttemptOutcome) {
        for attempt in &mut self.history {
            if attempt.outcome == AttemptOutcome::Running {
                attempt.outcome = outcome;
            }
        }
    }

    /// Renews the budget: no attempt so far counts.
    pub(crate) fn uncount(&mut self) {
        for attempt in &mut self.history {
            attempt.counted = false;
        }
    }

    /// Moves the job, whatever lease and result it had.
    pub(crate) fn place(&mut self, state: JobState) {
        self.state = state;
        self.lease = None;
        self.made = None;
        self.pause_is_over = false;
    }

    /// `sql/reopen.sql`, as the policy decided.
    pub(crate) fn reopen(&mut self, failure: FailureClass, next: Next, agent: &A) {
        let to = decide::reopened(next, self.class);
        self.place(to.state);
        self.class = to.size;
        self.failure = Some(failure);
        if to.excludes && !self.excluded.contains(agent) {
            self.excluded.push(agent.clone());
        }
    }

    /// Records a result of an agent in the attempt of its lease, or in a new one (`sql/attempt_complete.sql`,
    /// `sql/attempt_add.sql`). An attempt whose result was rejected is the ban on that result, and stays as it is.
    pub(crate) fn record(
        &mut self,
        lease_epoch: LeaseEpoch,
        agent: &A,
        outcome: AttemptOutcome,
        result: &D,
    ) {
        let mut is_known = false;
        for attempt in &mut self.history {
            if attempt.lease_epoch == Some(lease_epoch)
                && attempt.agent == *agent
                && attempt.outcome != AttemptOutcome::Rejected
            {
                attempt.outcome = outcome;
                attempt.result = Some(result.clone());
                // Its result is one of today, whenever its lease was.
                attempt.counted = true;
                is_known = true;
            }
        }
        if !is_known {
            self.history.push(Attempt {
                lease_epoch: None,
                agent: agent.clone(),
                outcome,
                failure: None,
                result: Some(result.clone()),
                counted: true,
            });
        }
    }
}

/// Beyond four billion every budget is spent.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
