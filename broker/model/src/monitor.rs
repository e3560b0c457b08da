//! What must hold, whatever happens. None of it calls the rules: it looks at what they did.

use rollmill_broker_client::{AttemptOutcome, CompleteOutcome, EpochState, JobState, LeaseEpoch};
use rollmill_broker_rules::states::TRANSITIONS;
use rollmill_broker_rules::{Answer, Effects, Event, Offered, Rejection, SecondEvent};
use stateright::Property;

use crate::Model;
use crate::state::{Agent, JobRow, Proof, SecondRow, State};

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal;)+) => {
        /// A property of every event or state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $rule,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// The rule as a sentence.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)+
                }
            }
        }

        /// The rules as properties: no state is reached by an event that broke one.
        pub(crate) fn properties() -> Vec<Property<Model>> {
            vec![$(Property::always($name, |_: &Model, state: &State| {
                state.broken != Some(Rule::$rule)
            })),+]
        }
    };
}

rules! {
    OneResult = "a done job keeps its result until it is reopened";
    Fence = "a lease that is not the present one changes nothing but by its result";
    OneLease = "a job is leased only while it is ready, so one lease at a time is live";
    FreshLease = "no number of a lease is issued twice";
    Banned = "a rejected result is not accepted again until the budget is renewed";
    Quarantined = "an agent in quarantine gets no lease, and its results are not accepted";
    Draining = "an agent that was asked to leave gets no lease";
    Honest = "what is answered is what happened";
    Blame = "an agent is charged only for its own result that was read and rejected";
    Unkept = "an event that is rejected changes nothing, but for a holder that repeats a rejected result";
    Timeout = "leases that end by themselves make no dead letter";
    Table = "every move is in the table of transitions";
    Told = "every end, and every return from an end that held, is in the feed";
    Shape = "there is a lease exactly while a job is leased, and a result exactly while it is done";
    Record = "the present lease has the one running attempt";
    Beside = "a second lease goes to an agent that may work, beside the holder of a lease, and a job has one at most";
    Second = "an agent goes on under a second lease only while it has that one and the job may have a result";
}

/// One event on one job, with what followed.
pub(crate) struct Happening<'a> {
    pub(crate) before: &'a JobRow,
    pub(crate) event: &'a Event<Agent, Proof>,
    pub(crate) after: &'a JobRow,
    pub(crate) answer: Result<Answer, Rejection>,
    pub(crate) effects: &'a Effects<Agent>,
    pub(crate) banned: &'a [Proof],
}

/// A rule, and whether it holds.
type Check = (Rule, fn(&Happening<'_>) -> bool);

/// The rule that an event broke.
pub(crate) fn of_event(happening: &Happening<'_>) -> Option<Rule> {
    let checks: [Check; 13] = [
        (Rule::OneResult, one_result),
        (Rule::Fence, fence),
        (Rule::OneLease, one_lease),
        (Rule::FreshLease, fresh_lease),
        (Rule::Banned, banned),
        (Rule::Quarantined, quarantined),
        (Rule::Draining, draining),
        (Rule::Honest, honest),
        (Rule::Blame, blame),
        (Rule::Unkept, unkept),
        (Rule::Timeout, timeout),
        (Rule::Table, table),
        (Rule::Told, told),
    ];
    checks.into_iter().find(|(_, holds)| !holds(happening)).map(|(rule, _)| rule)
}

/// The result that became the job's.
fn accepted<'a>(h: &Happening<'a>) -> Option<&'a Offered<Agent, Proof>> {
    let became_done = h.before.state != JobState::Done && h.after.state == JobState::Done;
    match h.event {
        Event::Complete(offered) | Event::CompleteMany(offered) if became_done => Some(offered),
        _ => None,
    }
}

fn one_result(h: &Happening<'_>) -> bool {
    let stays = h.before.state == JobState::Done && h.after.state == JobState::Done;
    (!stays || h.before.made == h.after.made)
        && (h.after.state != JobState::Done || stays || accepted(h).is_some())
}

fn is_present(row: &JobRow, agent: Agent, lease_epoch: LeaseEpoch) -> bool {
    row.lease_epoch == lease_epoch && row.lease.as_ref().is_some_and(|l| l.holder == agent)
}

fn fence(h: &Happening<'_>) -> bool {
    match h.event {
        Event::Heartbeat { agent, lease_epoch }
        | Event::Fail { agent, lease_epoch, .. }
        | Event::Release { agent, lease_epoch }
        | Event::ReleaseMany { agent, lease_epoch } => {
            is_present(h.before, *agent, *lease_epoch)
                || (h.before == h.after && h.answer != Ok(Answer::Held(true)))
        }
        _ => true,
    }
}

fn one_lease(h: &Happening<'_>) -> bool {
    let is_granted = matches!(h.answer, Ok(Answer::Granted(Some(_))));
    !is_granted || (h.before.state == JobState::Ready && h.before.lease.is_none())
}

fn fresh_lease(h: &Happening<'_>) -> bool {
    let Ok(Answer::Granted(Some(new))) = h.answer else { return true };
    let old = h.before.history.iter().filter_map(|attempt| attempt.lease_epoch).max();
    old.is_none_or(|old| old < new) && h.after.attempts == h.before.attempts + 1
}

fn banned(h: &Happening<'_>) -> bool {
    accepted(h).is_none_or(|offered| !h.banned.contains(&offered.result))
}

fn quarantined(h: &Happening<'_>) -> bool {
    let is_granted = matches!(h.answer, Ok(Answer::Granted(Some(_))));
    match h.event {
        Event::Claim { is_quarantined, .. } => !(*is_quarantined && is_granted),
        _ => accepted(h).is_none_or(|offered| !offered.is_quarantined),
    }
}

fn draining(h: &Happening<'_>) -> bool {
    let is_granted = matches!(h.answer, Ok(Answer::Granted(Some(_))));
    !matches!(h.event, Event::Claim { is_draining: true, .. }) || !is_granted
}

fn honest(h: &Happening<'_>) -> bool {
    let (Event::Complete(offered) | Event::CompleteMany(offered)) = h.event else { return true };
    let made = h.after.made.as_ref();
    let is_its =
        made.is_some_and(|made| (made.agent, made.result) == (offered.agent, offered.result));
    match h.answer {
        Ok(Answer::Completed(done)) if done.outcome == CompleteOutcome::Accepted => is_its,
        Ok(Answer::Completed(_)) => made.is_some() && h.before == h.after,
        _ => accepted(h).is_none(),
    }
}

fn blame(h: &Happening<'_>) -> bool {
    let Some(charged) = &h.effects.charged else { return true };
    let maker = h.before.made.as_ref().map(|made| &made.agent);
    maker == Some(charged) && matches!(h.event, Event::Reject { is_readable: true, .. })
}

fn unkept(h: &Happening<'_>) -> bool {
    let hands_on = h.answer == Err(Rejection::AlreadyRejected)
        && h.before.state == JobState::Leased
        && matches!(h.event, Event::Complete(_));
    h.answer.is_ok() || h.before == h.after || hands_on
}

fn timeout(h: &Happening<'_>) -> bool {
    *h.event != Event::Expire || h.after.state != JobState::Dead
}

fn table(h: &Happening<'_>) -> bool {
    let (from, to) = (h.before.state, h.after.state);
    let is_it = |statement: &str| {
        TRANSITIONS.iter().any(|t| (t.from, t.to, t.statement) == (Some(from), to, statement))
    };
    from == to || h.effects.statement.is_some_and(is_it)
}

fn told(h: &Happening<'_>) -> bool {
    let (from, to) = (h.before.state, h.after.state);
    let must_be = from != to && (to.is_final() || from == JobState::Done);
    !must_be || h.effects.is_told
}

/// One event on the second lease of a job, with what followed.
pub(crate) struct Seconds<'a> {
    pub(crate) row: &'a JobRow,
    pub(crate) before: Option<&'a SecondRow>,
    pub(crate) event: &'a SecondEvent<Agent>,
    pub(crate) after: Option<&'a SecondRow>,
    pub(crate) answer: Answer,
}

/// The rule that an event on a second lease broke.
pub(crate) fn of_second(h: &Seconds<'_>) -> Option<Rule> {
    if !beside(h) {
        return Some(Rule::Beside);
    }
    (!goes_on(h)).then_some(Rule::Second)
}

fn beside(h: &Seconds<'_>) -> bool {
    let SecondEvent::Give { agent, lease_epoch, may_claim, .. } = h.event else { return true };
    let given = h.after.is_some_and(|it| (it.agent, it.lease_epoch) == (*agent, *lease_epoch));
    match h.answer {
        Answer::Granted(Some(number)) => {
            let holder = h.row.lease.as_ref().map(|lease| lease.holder);
            given
                && h.before.is_none()
                && *may_claim
                && holder.is_some_and(|holder| holder != *agent)
                && number == h.row.lease_epoch
                && number == *lease_epoch
                && !h.row.excluded.contains(agent)
        }
        _ => h.before == h.after,
    }
}

fn goes_on(h: &Seconds<'_>) -> bool {
    let named = match h.event {
        SecondEvent::Heartbeat { agent, lease_epoch } | SecondEvent::End { agent, lease_epoch } => {
            (*agent, *lease_epoch)
        }
        SecondEvent::Clear | SecondEvent::Give { .. } => return true,
    };
    let is_its = h.before.is_some_and(|it| (it.agent, it.lease_epoch) == named);
    match h.answer {
        Answer::Held(true) => is_its && !h.row.state.is_final() && h.after.is_some(),
        Answer::Changed(true) => is_its && h.after.is_none(),
        _ => h.before == h.after,
    }
}

/// The rule that a state breaks.
pub(crate) fn of_state(state: &State) -> Option<Rule> {
    for row in state.jobs.iter().flatten() {
        let is_leased = row.state == JobState::Leased;
        let is_done = row.state == JobState::Done;
        if row.lease.is_some() != is_leased || row.made.is_some() != is_done {
            return Some(Rule::Shape);
        }
        let is_running = |outcome| outcome == AttemptOutcome::Running;
        let mut running = row.history.iter().filter(|attempt| is_running(attempt.outcome));
        let first = running.next();
        let is_the_lease = match (&row.lease, first) {
            (None, None) => true,
            (Some(lease), Some(attempt)) => {
                attempt.agent == lease.holder && attempt.lease_epoch == Some(row.lease_epoch)
            }
            _ => false,
        };
        if !is_the_lease || running.next().is_some() {
            return Some(Rule::Record);
        }
    }
    None
}

/// Keeps the record of rejected results.
pub(crate) fn remember(
    event: &Event<Agent, Proof>,
    before: &JobRow,
    after: &JobRow,
    banned: &mut Vec<Proof>,
) {
    match event {
        Event::Reject { result, is_readable: true } if before.state == JobState::Done => {
            banned.push(*result);
        }
        Event::Replay | Event::Enqueue { epoch: EpochState::Open, .. }
            if after.state == JobState::Ready
                && matches!(before.state, JobState::Dead | JobState::Cancelled) =>
        {
            // A job whose deadline moved keeps its record.
            let keeps = before.state == JobState::Dead && matches!(event, Event::Enqueue { .. });
            if !keeps {
                banned.clear();
            }
        }
        _ => {}
    }
}
