//! One event on one job.

use rollmill_broker_client::{
    AttemptOutcome, CompleteOutcome, EpochState, FailureClass, JobState, LeaseEpoch, RejectOutcome,
    SizeClass,
};
use rollmill_broker_schedule::policy::{self, Failure, Next};

use crate::decide::{self, Offer};
use crate::event::{Answer, Completion, Effects, Event, Offered, Rejection, Step, Stored};
use crate::row::{Attempt, Deadline, Lease, Made, Row};

/// The spread of pauses that [`step`] assumes: none either way.
pub const SPREAD: f64 = 0.5;

type Outcome = Result<Answer, Rejection>;

/// What an event does to a job that was enqueued before. It is what one transaction of the broker does, which holds the
/// lock of the row, so events on one job have an order.
///
/// The brief form of each statement is the code below; the long form is its file in `broker/src/sql`. The test
/// `the_database_does_what_the_rules_say` compares them.
pub fn step<A: Clone + PartialEq, D: Clone + PartialEq>(
    before: &Row<A, D>,
    event: &Event<A, D>,
) -> Step<A, D> {
    let mut doing = Doing { row: before.clone(), effects: Effects::none() };
    let answer = doing.event(event);
    let Doing { row, mut effects } = doing;
    if row.state == before.state {
        effects.statement = None;
    }
    effects.is_told = is_told(before.state, row.state);
    Step { row, answer, effects }
}

/// As the trigger `job_change` decides.
fn is_told(from: JobState, to: JobState) -> bool {
    from != to && (from == JobState::Done || to.awaits_producer())
}

struct Doing<A, D> {
    row: Row<A, D>,
    effects: Effects<A>,
}

impl<A: Clone + PartialEq, D: Clone + PartialEq> Doing<A, D> {
    fn event(&mut self, event: &Event<A, D>) -> Outcome {
        match event {
            Event::Enqueue { class, deadline, epoch, input_is_readable } => {
                self.enqueue(*class, *deadline, *epoch, *input_is_readable)
            }
            Event::Claim { agent, is_quarantined, is_draining } => {
                Ok(self.claim(agent, decide::may_claim(*is_quarantined, *is_draining)))
            }
            Event::Heartbeat { agent, lease_epoch } => Ok(self.heartbeat(agent, *lease_epoch)),
            Event::CompleteMany(offered) => Ok(self.complete_many(offered)),
            Event::Complete(offered) => self.complete(offered),
            Event::Fail { agent, lease_epoch, class, input_is_readable } => {
                self.fail(agent, *lease_epoch, decide::reported(*class, *input_is_readable))
            }
            Event::ReleaseMany { agent, lease_epoch } => {
                let released = self.release(agent, *lease_epoch, "release_many.sql");
                Ok(released.unwrap_or(Answer::Left))
            }
            Event::Release { agent, lease_epoch } => {
                self.release(agent, *lease_epoch, "release.sql")
            }
            Event::Restart { agent, is_quarantined } => self.restart(agent, *is_quarantined),
            Event::Resume { agent, lease_epoch } => Ok(self.resume(agent, *lease_epoch)),
            Event::Expire => Ok(self.expire()),
            Event::Promote => Ok(self.promote()),
            Event::PassDeadline => Ok(self.pass_deadline()),
            Event::Forgive { nobody_is_left } => Ok(self.forgive(*nobody_is_left)),
            Event::Upload { is_object, epoch } => self.upload(*is_object, *epoch),
            Event::LoseResult => Ok(Answer::Changed(self.lose_result())),
            Event::Reject { result, is_readable } => Ok(self.reject(result, *is_readable)),
            Event::Cancel => Ok(self.cancel(&decide::unfinished(), "cancel.sql")),
            Event::Drop => Ok(self.cancel(&[JobState::Dead], "cancel.sql")),
            Event::Replay => Ok(self.replay()),
            Event::CloseEpoch => Ok(self.cancel(&decide::unfinished(), "epoch_cancel.sql")),
        }
    }

    fn by(&mut self, statement: &'static str) {
        self.effects.statement = Some(statement);
    }

    fn enqueue(
        &mut self,
        class: SizeClass,
        deadline: Option<Deadline>,
        epoch: EpochState,
        input_is_readable: bool,
    ) -> Outcome {
        require_open(epoch)?;
        if !input_is_readable {
            return Err(Rejection::NotUploaded);
        }
        let row = &mut self.row;
        if row.state != JobState::Done {
            row.class = row.class.max(class);
            row.deadline = deadline.unwrap_or(row.deadline);
            let was_cancelled = row.state == JobState::Cancelled;
            let has_time_again = row.state == JobState::Dead
                && row.failure == Some(FailureClass::PastDeadline)
                && row.deadline == Deadline::Ahead;
            if was_cancelled {
                row.excluded.clear();
                row.uncount();
            }
            if was_cancelled || has_time_again {
                row.place(JobState::Ready);
                self.by("enqueue.sql");
            }
        }
        Ok(Answer::Enqueued(self.row.state))
    }

    fn claim(&mut self, agent: &A, may_claim: bool) -> Answer {
        let row = &mut self.row;
        if row.state != JobState::Ready || row.deadline == Deadline::Passed || !may_claim {
            return Answer::Granted(None);
        }
        let lease_epoch = LeaseEpoch(row.lease_epoch.0 + 1);
        row.place(JobState::Leased);
        row.lease_epoch = lease_epoch;
        row.attempts += 1;
        row.lease = Some(Lease { holder: agent.clone(), is_over: false, limit_is_over: false });
        row.history.push(Attempt {
            lease_epoch: Some(lease_epoch),
            agent: agent.clone(),
            outcome: AttemptOutcome::Running,
            failure: None,
            result: None,
            counted: true,
        });
        self.by("claim.sql");
        Answer::Granted(Some(lease_epoch))
    }

    /// A lease that is over and was not expired yet is kept, but not beyond its hard limit.
    fn heartbeat(&mut self, agent: &A, lease_epoch: LeaseEpoch) -> Answer {
        if !self.row.is_held_by(agent, lease_epoch) {
            return Answer::Held(false);
        }
        match &mut self.row.lease {
            Some(lease) if !lease.limit_is_over => {
                lease.is_over = false;
                Answer::Held(true)
            }
            _ => Answer::Held(false),
        }
    }

    fn complete_many(&mut self, offered: &Offered<A, D>) -> Answer {
        let Offered { agent, lease_epoch, result, stored, is_quarantined, .. } = offered;
        let row = &self.row;
        let is_usual = row.state == JobState::Leased
            && row.is_held_by(agent, *lease_epoch)
            && !row.excluded.contains(agent)
            && *stored == Stored::Here
            && !is_quarantined
            && !row.is_banned(result);
        if !is_usual {
            return Answer::Left;
        }
        self.row.record(*lease_epoch, agent, AttemptOutcome::Completed, result);
        self.finish(agent, result, "complete_many.sql");
        completed(CompleteOutcome::Accepted, false, false)
    }

    fn complete(&mut self, offered: &Offered<A, D>) -> Outcome {
        let Offered { agent, lease_epoch, result, stored, is_quarantined, epoch } = offered;
        let row = &self.row;
        let late = !row.is_held_by(agent, *lease_epoch);
        let made = row.made.as_ref().map(|made| (&made.agent, &made.result));
        match decide::offer(row.state, made, (agent, result)) {
            Offer::Repeated => return Ok(completed(CompleteOutcome::Accepted, late, true)),
            Offer::AlreadyDone => return Ok(completed(CompleteOutcome::AlreadyDone, late, false)),
            Offer::Cancelled => return Err(Rejection::Cancelled),
            Offer::Wanted => {}
        }
        if *is_quarantined {
            return Err(Rejection::Quarantined);
        }
        if row.distrusts(agent, result) {
            if !late {
                self.hand_on(agent, *lease_epoch, result);
            }
            return Err(Rejection::AlreadyRejected);
        }
        require_open(*epoch)?;
        if *stored == Stored::Nowhere {
            return Err(Rejection::NotUploaded);
        }
        let outcome = match late {
            true => AttemptOutcome::CompletedLate,
            false => AttemptOutcome::Completed,
        };
        self.row.record(*lease_epoch, agent, outcome, result);
        self.row.end_all(AttemptOutcome::Superseded);
        self.finish(agent, result, "complete.sql");
        Ok(completed(CompleteOutcome::Accepted, late, false))
    }

    fn finish(&mut self, agent: &A, result: &D, statement: &'static str) {
        self.row.place(JobState::Done);
        self.row.made = Some(Made { agent: agent.clone(), result: result.clone() });
        self.by(statement);
    }

    /// Takes the job from a holder that can only repeat a rejected result. Its attempt does not count.
    fn hand_on(&mut self, agent: &A, lease_epoch: LeaseEpoch, result: &D) {
        let failure = FailureClass::InvalidProof;
        for attempt in &mut self.row.history {
            if attempt.lease_epoch == Some(lease_epoch)
                && attempt.outcome == AttemptOutcome::Running
            {
                attempt.outcome = AttemptOutcome::Failed;
                attempt.failure = Some(failure);
                attempt.result = Some(result.clone());
                attempt.counted = false;
            }
        }
        let next = policy::after_repeat(self.row.makers(result), self.row.class);
        self.row.reopen(failure, next, agent);
        self.by("reopen.sql");
    }

    fn fail(&mut self, agent: &A, lease_epoch: LeaseEpoch, failure: FailureClass) -> Outcome {
        if !self.row.is_held_by(agent, lease_epoch) {
            return Err(Rejection::LeaseLost);
        }
        self.row.end(lease_epoch, AttemptOutcome::Failed, Some(failure));
        Ok(Answer::Failed(self.follow(failure, agent)))
    }

    /// Does what the policy says about a failure that is on record.
    fn follow(&mut self, failure: FailureClass, agent: &A) -> Next {
        let count = self.row.failures(failure);
        let next = policy::after(Failure { failure, count, size: self.row.class }, SPREAD);
        self.row.reopen(failure, next, agent);
        self.by("reopen.sql");
        next
    }

    fn release(&mut self, agent: &A, lease_epoch: LeaseEpoch, statement: &'static str) -> Outcome {
        if !self.row.is_held_by(agent, lease_epoch) {
            return Err(Rejection::LeaseLost);
        }
        self.row.end(lease_epoch, AttemptOutcome::Released, None);
        self.row.place(JobState::Ready);
        self.by(statement);
        Ok(Answer::Changed(true))
    }

    fn restart(&mut self, agent: &A, is_quarantined: bool) -> Outcome {
        if is_quarantined {
            return Err(Rejection::Quarantined);
        }
        let released = self.release(agent, self.row.lease_epoch, "session_return.sql");
        Ok(released.unwrap_or(Answer::Changed(false)))
    }

    fn resume(&mut self, agent: &A, lease_epoch: LeaseEpoch) -> Answer {
        let row = &mut self.row;
        let may = matches!(row.state, JobState::Ready | JobState::Delayed)
            && row.lease_epoch == lease_epoch
            && lease_epoch.0 > 0
            && row.failure == Some(FailureClass::AgentDied)
            && row.deadline != Deadline::Passed
            && row.history.iter().any(|attempt| has_expired(attempt, lease_epoch));
        if !may {
            return Answer::Changed(false);
        }
        row.place(JobState::Leased);
        row.lease = Some(Lease { holder: agent.clone(), is_over: false, limit_is_over: false });
        for attempt in row.history.iter_mut().filter(|attempt| has_expired(attempt, lease_epoch)) {
            attempt.outcome = AttemptOutcome::Running;
            attempt.agent = agent.clone();
            attempt.counted = true;
            attempt.failure = None;
        }
        self.by("resume.sql");
        Answer::Changed(true)
    }

    fn expire(&mut self) -> Answer {
        let Some(lease) = self.row.lease.clone().filter(|lease| lease.is_over) else {
            return Answer::Expired(None);
        };
        let (failure, _) = decide::expired(lease.limit_is_over);
        self.row.end(self.row.lease_epoch, AttemptOutcome::Expired, Some(failure));
        Answer::Expired(Some((failure, self.follow(failure, &lease.holder))))
    }

    fn promote(&mut self) -> Answer {
        let may = self.row.state == JobState::Delayed && self.row.pause_is_over;
        if may {
            self.row.place(JobState::Ready);
            self.by("promote.sql");
        }
        Answer::Changed(may)
    }

    fn pass_deadline(&mut self) -> Answer {
        let row = &mut self.row;
        let waits =
            matches!(row.state, JobState::Ready | JobState::Delayed | JobState::InputWanted);
        let may = waits && row.deadline == Deadline::Passed;
        if may {
            row.place(JobState::Dead);
            row.failure = Some(FailureClass::PastDeadline);
            self.by("past_deadline.sql");
        }
        Answer::Changed(may)
    }

    fn forgive(&mut self, nobody_is_left: bool) -> Answer {
        let may =
            self.row.state == JobState::Ready && !self.row.excluded.is_empty() && nobody_is_left;
        if may {
            self.row.excluded.clear();
        }
        Answer::Changed(may)
    }

    fn upload(&mut self, is_object: bool, epoch: EpochState) -> Outcome {
        require_open(epoch)?;
        let may = self.row.state == JobState::InputWanted;
        if may {
            self.row.place(JobState::Ready);
            self.by(if is_object { "input_uploaded.sql" } else { "artifact_put_many.sql" });
        }
        Ok(Answer::Changed(may))
    }

    fn lose_result(&mut self) -> bool {
        let Some(Made { result, .. }) = self.row.made.clone() else { return false };
        for attempt in &mut self.row.history {
            if attempt.result.as_ref() == Some(&result) && is_completed(attempt.outcome) {
                attempt.outcome = AttemptOutcome::ResultLost;
            }
        }
        self.row.place(JobState::Ready);
        self.row.failure = Some(FailureClass::ResultLost);
        self.by("reopen_lost.sql");
        true
    }

    fn reject(&mut self, result: &D, is_readable: bool) -> Answer {
        let Some(made) = self.row.made.clone().filter(|made| made.result == *result) else {
            return Answer::Rejected(RejectOutcome::Stale);
        };
        if !is_readable {
            self.lose_result();
            return Answer::Rejected(RejectOutcome::Reopened);
        }
        let failure = FailureClass::InvalidProof;
        for attempt in &mut self.row.history {
            if attempt.agent == made.agent
                && attempt.result.as_ref() == Some(result)
                && is_completed(attempt.outcome)
            {
                attempt.outcome = AttemptOutcome::Rejected;
                attempt.failure = Some(failure);
            }
        }
        self.effects.charged = Some(made.agent.clone());
        Answer::Rejected(decide::rejected(self.follow(failure, &made.agent)))
    }

    fn cancel(&mut self, states: &[JobState], statement: &'static str) -> Answer {
        let may = states.contains(&self.row.state);
        if may {
            self.row.end_all(AttemptOutcome::Cancelled);
            self.row.place(JobState::Cancelled);
            self.by(statement);
        }
        Answer::Changed(may)
    }

    fn replay(&mut self) -> Answer {
        let may = self.row.state == JobState::Dead;
        if may {
            self.row.place(JobState::Ready);
            self.row.excluded.clear();
            self.row.uncount();
            self.by("replay.sql");
        }
        Answer::Changed(may)
    }
}

fn completed(outcome: CompleteOutcome, late: bool, repeated: bool) -> Answer {
    Answer::Completed(Completion { outcome, late, repeated })
}

fn has_expired<A, D>(attempt: &Attempt<A, D>, lease_epoch: LeaseEpoch) -> bool {
    attempt.lease_epoch == Some(lease_epoch) && attempt.outcome == AttemptOutcome::Expired
}

fn is_completed(outcome: AttemptOutcome) -> bool {
    matches!(outcome, AttemptOutcome::Completed | AttemptOutcome::CompletedLate)
}

fn require_open(epoch: EpochState) -> Result<(), Rejection> {
    match epoch {
        EpochState::Open => Ok(()),
        EpochState::Closing => Err(Rejection::EpochClosing),
        EpochState::Gone => Err(Rejection::EpochGone),
    }
}
