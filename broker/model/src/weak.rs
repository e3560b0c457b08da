//! The rules with one of them missing. Each is a change that somebody could make by accident; the tests require that
//! the model finds it.

use rollmill_broker_client::{AttemptOutcome, EpochState, JobState, LeaseEpoch};
use rollmill_broker_rules::{Answer, Event, Lease, Offered, SecondEvent, Step, second_step, step};

use crate::monitor::Rule;
use crate::state::{Agent, JobRow, Proof, SecondRow};
use crate::{SecondFn, StepFn};

/// How a weakness shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// By a state that breaks this rule.
    Breaks(Rule),
    /// By a job that can never be finished.
    Loses,
}

/// A rule that is missing.
#[derive(Clone, Copy, Debug)]
pub struct Weakness {
    pub name: &'static str,
    pub step: StepFn,
    pub second: SecondFn,
    pub finding: Finding,
}

/// Every weakness.
pub const WEAKNESSES: &[Weakness] = &[
    weakness("a failure ends any lease of the job", any_failure, Finding::Breaks(Rule::Fence)),
    weakness("a release ends any lease of the job", any_release, Finding::Breaks(Rule::Fence)),
    weakness("a heartbeat keeps any lease", any_heartbeat, Finding::Breaks(Rule::Fence)),
    weakness("a claim does not look at the state", claim_anything, Finding::Breaks(Rule::OneLease)),
    weakness(
        "a claim does not count the lease",
        claim_uncounted,
        Finding::Breaks(Rule::FreshLease),
    ),
    weakness(
        "a claim does not look at quarantines",
        claim_for_any,
        Finding::Breaks(Rule::Quarantined),
    ),
    weakness(
        "a claim does not look at who is to leave",
        claim_for_the_draining,
        Finding::Breaks(Rule::Draining),
    ),
    weakness("the last result stays", last_result, Finding::Breaks(Rule::OneResult)),
    weakness("a cancelled job takes a result", take_cancelled, Finding::Breaks(Rule::Table)),
    weakness("a late result overwrites a rejection", overwrite, Finding::Breaks(Rule::Banned)),
    weakness("a rejection bans nothing", ban_nothing, Finding::Breaks(Rule::Banned)),
    weakness("unread bytes are blamed", blame_unread, Finding::Breaks(Rule::Blame)),
    weakness("expired leases give the job up", give_up, Finding::Breaks(Rule::Timeout)),
    weakness("a cancellation leaves the attempt", cancel_half, Finding::Breaks(Rule::Record)),
    weakness("an acknowledged result is not kept", acknowledge_only, Finding::Breaks(Rule::Honest)),
    weakness("an upload makes nothing ready", ignore_upload, Finding::Loses),
    weakness("a pause never ends", ignore_pause, Finding::Loses),
    weakness("exclusions are not forgiven", never_forgive, Finding::Loses),
    second("a second lease goes to the holder", second_for_the_holder, Rule::Beside),
    second("a second lease goes to an agent in quarantine", second_for_any, Rule::Beside),
    second("a second lease replaces one that runs", second_for_another, Rule::Beside),
    second("a second lease goes on by its number alone", second_by_number, Rule::Second),
    second("a second lease goes on when its job has ended", second_for_ever, Rule::Second),
];

const fn weakness(name: &'static str, step: StepFn, finding: Finding) -> Weakness {
    Weakness { name, step, second: second_step, finding }
}

const fn second(name: &'static str, second: SecondFn, rule: Rule) -> Weakness {
    Weakness { name, step, second, finding: Finding::Breaks(rule) }
}

type E = Event<Agent, Proof>;
type S = Step<Agent, Proof>;

/// The row and event with the lease that is there, whatever the request names.
fn present(row: &JobRow) -> Option<(Agent, LeaseEpoch)> {
    row.lease.as_ref().map(|lease| (lease.holder, row.lease_epoch))
}

fn any_failure(row: &JobRow, event: &E) -> S {
    match (event, present(row)) {
        (&Event::Fail { class, input_is_readable, .. }, Some((agent, lease_epoch))) => {
            step(row, &Event::Fail { agent, lease_epoch, class, input_is_readable })
        }
        _ => step(row, event),
    }
}

fn any_release(row: &JobRow, event: &E) -> S {
    match (event, present(row)) {
        (Event::Release { .. }, Some((agent, lease_epoch))) => {
            step(row, &Event::Release { agent, lease_epoch })
        }
        _ => step(row, event),
    }
}

fn any_heartbeat(row: &JobRow, event: &E) -> S {
    match (event, present(row)) {
        (Event::Heartbeat { .. }, Some((agent, lease_epoch))) => {
            step(row, &Event::Heartbeat { agent, lease_epoch })
        }
        _ => step(row, event),
    }
}

fn claim_anything(row: &JobRow, event: &E) -> S {
    match event {
        Event::Claim { .. } => step(&JobRow { state: JobState::Ready, ..row.clone() }, event),
        _ => step(row, event),
    }
}

fn claim_uncounted(row: &JobRow, event: &E) -> S {
    let mut done = step(row, event);
    // The first lease has a number, and the next ones have that number too.
    if matches!(done.answer, Ok(Answer::Granted(Some(_)))) && row.lease_epoch.0 > 0 {
        done.row.lease_epoch = row.lease_epoch;
        if let Some(attempt) = done.row.history.last_mut() {
            attempt.lease_epoch = Some(row.lease_epoch);
        }
        done.answer = Ok(Answer::Granted(Some(row.lease_epoch)));
    }
    done
}

fn claim_for_any(row: &JobRow, event: &E) -> S {
    match *event {
        Event::Claim { agent, is_draining, .. } => {
            step(row, &Event::Claim { agent, is_quarantined: false, is_draining })
        }
        _ => step(row, event),
    }
}

fn claim_for_the_draining(row: &JobRow, event: &E) -> S {
    match *event {
        Event::Claim { agent, is_quarantined, .. } => {
            step(row, &Event::Claim { agent, is_quarantined, is_draining: false })
        }
        _ => step(row, event),
    }
}

/// The job as if it had no result.
fn reopened(row: &JobRow) -> JobRow {
    JobRow { state: JobState::Ready, made: None, ..row.clone() }
}

fn last_result(row: &JobRow, event: &E) -> S {
    match event {
        Event::Complete(_) if row.state == JobState::Done => step(&reopened(row), event),
        _ => step(row, event),
    }
}

fn take_cancelled(row: &JobRow, event: &E) -> S {
    match event {
        Event::Complete(offered) if row.state == JobState::Cancelled => {
            let offered = Offered { epoch: EpochState::Open, ..offered.clone() };
            step(&reopened(row), &Event::Complete(offered))
        }
        _ => step(row, event),
    }
}

/// What `attempt_complete.sql` did before this model found it.
fn overwrite(row: &JobRow, event: &E) -> S {
    let mut done = step(row, event);
    let Event::Complete(offered) = event else { return done };
    let is_accepted = row.state != JobState::Done && done.row.state == JobState::Done;
    let is_it = |outcome| outcome == AttemptOutcome::Rejected;
    let rejection = done.row.history.iter().position(|attempt| {
        is_it(attempt.outcome)
            && attempt.agent == offered.agent
            && attempt.lease_epoch == Some(offered.lease_epoch)
    });
    if let Some(rejection) = rejection.filter(|_| is_accepted) {
        done.row.history.pop();
        let attempt = &mut done.row.history[rejection];
        attempt.outcome = AttemptOutcome::CompletedLate;
        attempt.result = Some(offered.result);
    }
    done
}

fn ban_nothing(row: &JobRow, event: &E) -> S {
    let mut done = step(row, event);
    if let Event::Reject { .. } = event {
        for attempt in &mut done.row.history {
            if attempt.outcome == AttemptOutcome::Rejected {
                attempt.outcome = AttemptOutcome::Failed;
            }
        }
    }
    done
}

fn blame_unread(row: &JobRow, event: &E) -> S {
    match *event {
        Event::Reject { result, is_readable: false } => {
            step(row, &Event::Reject { result, is_readable: true })
        }
        _ => step(row, event),
    }
}

fn give_up(row: &JobRow, event: &E) -> S {
    let mut done = step(row, event);
    if *event == Event::Expire && done.row.state == JobState::Delayed {
        done.row.state = JobState::Dead;
        done.effects.is_told = true;
    }
    done
}

fn cancel_half(row: &JobRow, event: &E) -> S {
    let mut done = step(row, event);
    if *event == Event::Cancel && done.row.state == JobState::Cancelled {
        done.row.history.clone_from(&row.history);
    }
    done
}

fn acknowledge_only(row: &JobRow, event: &E) -> S {
    let done = step(row, event);
    let is_late = row.state != JobState::Leased && done.row.state == JobState::Done;
    match event {
        Event::Complete(_) if is_late && row.state != JobState::Done => {
            S { row: row.clone(), answer: done.answer, effects: step(row, &Event::Promote).effects }
        }
        _ => done,
    }
}

/// The event does nothing.
fn without(row: &JobRow, event: &E) -> S {
    S { row: row.clone(), ..step(&JobRow { state: JobState::Cancelled, ..row.clone() }, event) }
}

fn ignore_upload(row: &JobRow, event: &E) -> S {
    match event {
        Event::Upload { .. } => without(row, event),
        _ => step(row, event),
    }
}

fn ignore_pause(row: &JobRow, event: &E) -> S {
    match event {
        Event::Promote => without(&JobRow { pause_is_over: false, ..row.clone() }, event),
        _ => step(row, event),
    }
}

fn never_forgive(row: &JobRow, event: &E) -> S {
    match event {
        Event::Forgive { .. } => step(row, &Event::Forgive { nobody_is_left: false }),
        _ => step(row, event),
    }
}

type SecondE = SecondEvent<Agent>;
type SecondS = (Option<SecondRow>, Answer);

fn second_for_the_holder(row: &JobRow, second: Option<&SecondRow>, event: &SecondE) -> SecondS {
    let SecondEvent::Give { agent, .. } = event else { return second_step(row, second, event) };
    let other = |lease: &Lease<Agent>| Lease { holder: 1 - *agent, ..lease.clone() };
    let row = JobRow { lease: row.lease.as_ref().map(other), ..row.clone() };
    second_step(&row, second, event)
}

fn second_for_any(row: &JobRow, second: Option<&SecondRow>, event: &SecondE) -> SecondS {
    match *event {
        SecondEvent::Give { agent, lease_epoch, is_full, .. } => {
            let event = SecondEvent::Give { agent, lease_epoch, may_claim: true, is_full };
            second_step(row, second, &event)
        }
        _ => second_step(row, second, event),
    }
}

fn second_for_another(row: &JobRow, second: Option<&SecondRow>, event: &SecondE) -> SecondS {
    let given = match event {
        SecondEvent::Give { .. } => second_step(row, None, event),
        _ => second_step(row, second, event),
    };
    match given.0 {
        Some(_) => given,
        None => second_step(row, second, event),
    }
}

fn second_by_number(row: &JobRow, second: Option<&SecondRow>, event: &SecondE) -> SecondS {
    match (event, second) {
        (&SecondEvent::Heartbeat { lease_epoch, .. }, Some(SecondRow { agent, .. })) => {
            second_step(row, second, &SecondEvent::Heartbeat { agent: *agent, lease_epoch })
        }
        _ => second_step(row, second, event),
    }
}

fn second_for_ever(row: &JobRow, second: Option<&SecondRow>, event: &SecondE) -> SecondS {
    match event {
        SecondEvent::Heartbeat { .. } => {
            let row = JobRow { state: JobState::Ready, ..row.clone() };
            second_step(&row, second, event)
        }
        _ => second_step(row, second, event),
    }
}
