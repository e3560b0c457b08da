//! Second leases: a second agent works on a job that another one holds. The row of the job does not depend on them, so
//! these rules read it and never change it.

use rollmill_broker_client::LeaseEpoch;

use crate::decide;
use crate::event::Answer;
use crate::row::{Deadline, Row};

/// A row of the table `second_lease`: an agent's right to go on with a job beside the holder of its lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Second<A> {
    pub agent: A,
    /// The lease that ran when this one was given. The agent offers its result under it.
    pub lease_epoch: LeaseEpoch,
    /// No heartbeat came in time. It is valid until [`SecondEvent::Clear`].
    pub is_over: bool,
    /// The agent has had it for as long as it may, so `is_over` holds as well.
    pub limit_is_over: bool,
}

/// What happens to the second lease of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecondEvent<A> {
    /// Before a second lease of any job is given, those that ended are deleted (`sql/second_free.sql`).
    Clear,
    /// A replica gives it to an agent that it chose while the lease `lease_epoch` ran (`sql/second_claim.sql`).
    Give {
        agent: A,
        lease_epoch: LeaseEpoch,
        /// By [`decide::may_claim`].
        may_claim: bool,
        /// As many agents as may work on second leases do.
        is_full: bool,
    },
    /// The agent says that it still works on the job (`sql/second_beat.sql`).
    Heartbeat { agent: A, lease_epoch: LeaseEpoch },
    /// The agent fails or returns the job, or was gone before the lease reached it (`sql/second_end.sql`).
    End { agent: A, lease_epoch: LeaseEpoch },
}

/// What an event does to the second lease of a job, and what the broker answers. Events on one job have an order, as
/// those of [`crate::step`] have.
pub fn second_step<A: Clone + PartialEq, D: Clone + PartialEq>(
    row: &Row<A, D>,
    second: Option<&Second<A>>,
    event: &SecondEvent<A>,
) -> (Option<Second<A>>, Answer) {
    let mut after = second.cloned();
    let is_its = |agent: &A, lease_epoch: LeaseEpoch| {
        second.is_some_and(|it| it.agent == *agent && it.lease_epoch == lease_epoch)
    };
    let is_wanted = decide::wants_second().contains(&row.state);
    let answer = match event {
        SecondEvent::Clear => {
            let has_ended = second.is_some_and(|it| it.is_over || !is_wanted);
            if has_ended {
                after = None;
            }
            Answer::Changed(has_ended)
        }
        SecondEvent::Give { agent, lease_epoch, may_claim, is_full } => {
            let is_free = *may_claim && !is_full && second.is_none();
            let given = (is_free && may_help(row, agent, *lease_epoch)).then_some(*lease_epoch);
            if let Some(lease_epoch) = given {
                let agent = agent.clone();
                after = Some(Second { agent, lease_epoch, is_over: false, limit_is_over: false });
            }
            Answer::Granted(given)
        }
        SecondEvent::Heartbeat { agent, lease_epoch } => match &mut after {
            Some(it) if is_its(agent, *lease_epoch) && is_wanted && !it.limit_is_over => {
                it.is_over = false;
                Answer::Held(true)
            }
            _ => Answer::Held(false),
        },
        SecondEvent::End { agent, lease_epoch } => {
            let ends = is_its(agent, *lease_epoch);
            if ends {
                after = None;
            }
            Answer::Changed(ends)
        }
    };
    (after, answer)
}

/// Whether an agent can be of help with a job: another one holds it, still under the lease that was seen, and a result
/// of this one would be taken.
fn may_help<A: Clone + PartialEq, D: Clone + PartialEq>(
    row: &Row<A, D>,
    agent: &A,
    lease_epoch: LeaseEpoch,
) -> bool {
    row.lease.as_ref().is_some_and(|lease| lease.holder != *agent)
        && row.lease_epoch == lease_epoch
        && row.deadline != Deadline::Passed
        && !row.excluded.contains(agent)
}
