//! Second leases: what can happen to their rows, and what it leads to.

use rollmill_broker_client::{JobState, LeaseEpoch};
use rollmill_broker_rules::{SecondEvent, decide};

use crate::Model;
use crate::action::{Action, agents};
use crate::monitor::{self, Seconds};
use crate::state::{Agent, JobRow, Proof, State};

/// What happens to the second lease of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beside {
    /// A replica gives it, after it has deleted those that ended.
    Give {
        agent: Agent,
    },
    Heartbeat {
        agent: Agent,
        lease_epoch: u64,
    },
    /// The agent fails or returns the job.
    End {
        agent: Agent,
        lease_epoch: u64,
    },
    /// No heartbeat came in time.
    RunsOut,
}

/// What may happen to the second lease of a job. Any agent may send anything about it: it may have had it before.
pub(crate) fn possible(state: &State, (job, row): (usize, &JobRow), actions: &mut Vec<Action>) {
    let is = |what| Action::Second { job, what };
    if row.state == JobState::Leased {
        actions.extend(agents().map(|agent| is(Beside::Give { agent })));
    }
    let Some(second) = &state.seconds[job] else { return };
    let lease_epoch = second.lease_epoch.0;
    actions.push(is(Beside::RunsOut));
    for agent in agents() {
        actions.push(is(Beside::Heartbeat { agent, lease_epoch }));
        actions.push(is(Beside::End { agent, lease_epoch }));
    }
    // Its result, also after the first lease has ended and another one runs.
    let agent = second.agent;
    let offer = |proof| Action::Offer { job, agent, lease_epoch, proof };
    actions.extend(Proof::ALL.map(offer));
}

/// What follows from it.
pub(crate) fn apply(model: &Model, state: &mut State, job: usize, what: Beside) -> Option<()> {
    let event = match what {
        Beside::RunsOut => {
            state.seconds[job].as_mut()?.is_over = true;
            return Some(());
        }
        Beside::Give { agent } => {
            let lease_epoch = state.jobs[job].as_ref()?.lease_epoch;
            let is_quarantined = state.is_quarantined(model.bounds, agent);
            let may_claim = decide::may_claim(is_quarantined, state.is_draining(agent));
            one(model, state, job, &SecondEvent::Clear)?;
            SecondEvent::Give { agent, lease_epoch, may_claim, is_full: false }
        }
        Beside::Heartbeat { agent, lease_epoch } => {
            SecondEvent::Heartbeat { agent, lease_epoch: LeaseEpoch(lease_epoch) }
        }
        Beside::End { agent, lease_epoch } => {
            SecondEvent::End { agent, lease_epoch: LeaseEpoch(lease_epoch) }
        }
    };
    one(model, state, job, &event)
}

fn one(model: &Model, state: &mut State, job: usize, event: &SecondEvent<Agent>) -> Option<()> {
    let row = state.jobs[job].as_ref()?;
    let before = state.seconds[job].as_ref();
    let (after, answer) = (model.second)(row, before, event);
    let broken = monitor::of_second(&Seconds { row, before, event, after: after.as_ref(), answer });
    state.broken = state.broken.or(broken);
    state.seconds[job] = after;
    Some(())
}
