//! A state of the model: what the database holds, and what the replicas have in memory.
//!
//! Agents and the network have no state of their own. An agent may send any request about any lease that it ever had,
//! at any time, again and again or never: so requests get lost, are repeated and overtake each other, agents crash,
//! stop and come back with late results. The record of attempts names those leases.

use std::hash::{DefaultHasher, Hash, Hasher};

use rollmill_broker_client::{AttemptOutcome, EpochState, FailureClass, JobState, LeaseEpoch};
use rollmill_broker_rules::{Row, Second};

use crate::monitor::Rule;
use crate::{AGENTS, Bounds};

/// An agent.
pub type Agent = u8;

/// A result of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// The one that every honest agent makes.
    Right,
    Wrong,
}

impl Proof {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Right, Self::Wrong];
}

/// A job as the database has it.
pub type JobRow = Row<Agent, Proof>;

/// A second lease as the database has it.
pub type SecondRow = Second<Agent>;

/// What a replica remembers between two transactions, and loses when it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Memory {
    Nothing,
    /// It found a ready job for an agent that waits, and has not leased it yet.
    Chosen {
        job: usize,
        agent: Agent,
    },
    /// Its lane left a completion alone, and it has not judged it by itself yet.
    Left {
        job: usize,
        agent: Agent,
        lease_epoch: u64,
        proof: Proof,
    },
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// [`None`]: not enqueued yet.
    pub jobs: Vec<Option<JobRow>>,
    /// The second lease of each job.
    pub seconds: Vec<Option<SecondRow>>,
    pub epoch: EpochState,
    /// Rejected results of each agent.
    pub rejected: [u8; AGENTS],
    /// Whether each agent was asked to leave.
    pub draining: [bool; AGENTS],
    pub brokers: Vec<Memory>,
    /// No part of the broker: the results that the producer rejected since each job's budget was last renewed.
    pub banned: Vec<Vec<Proof>>,
    /// No part of the broker: the rule that the last event broke.
    pub broken: Option<Rule>,
}

impl State {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            jobs: vec![None; bounds.jobs],
            seconds: vec![None; bounds.jobs],
            epoch: EpochState::Open,
            rejected: [0; AGENTS],
            draining: [false; AGENTS],
            brokers: vec![Memory::Nothing; bounds.brokers],
            banned: vec![Vec::new(); bounds.jobs],
            broken: None,
        }
    }

    /// Whether an agent is in quarantine.
    pub fn is_quarantined(&self, bounds: Bounds, agent: Agent) -> bool {
        self.rejected.get(usize::from(agent)).is_some_and(|count| *count >= bounds.rejections_max)
    }

    /// Whether an agent was asked to leave.
    pub fn is_draining(&self, agent: Agent) -> bool {
        self.draining.get(usize::from(agent)).is_some_and(|is_draining| *is_draining)
    }

    /// Whether a job may still lose its lease or its result.
    pub(crate) fn may_go_back(&self, bounds: Bounds, job: usize) -> bool {
        let leases = |row: &Option<JobRow>| row.as_ref().map_or(0, |row| row.lease_epoch.0);
        leases(&self.jobs[job]) < bounds.leases
            && self.jobs.iter().map(leases).sum::<u64>() < bounds.leases_in_all
    }

    /// Erases what no rule reads, so that states that behave alike are one.
    pub(crate) fn abstracted(mut self, bounds: Bounds) -> Self {
        for row in self.jobs.iter_mut().flatten() {
            abstract_row(row, bounds);
        }
        for banned in &mut self.banned {
            banned.sort_unstable();
            banned.dedup();
        }
        self.brokers.sort_unstable();
        match bounds.is_symmetric {
            true => self.representative(),
            false => self,
        }
    }

    /// One of the states that are this one with other names.
    fn representative(self) -> Self {
        let renamed = self.with_agents_swapped();
        let mut all = vec![self, renamed];
        if all[0].jobs.len() == 2 {
            let swapped: Vec<Self> = all.iter().map(Self::with_jobs_swapped).collect();
            all.extend(swapped);
        }
        let least = (0..all.len()).min_by_key(|index| fingerprint(&all[*index])).unwrap_or(0);
        all.swap_remove(least)
    }

    fn with_agents_swapped(&self) -> Self {
        let other = |agent: &mut Agent| *agent = 1 - *agent;
        let mut state = self.clone();
        state.rejected.swap(0, 1);
        state.draining.swap(0, 1);
        for row in state.jobs.iter_mut().flatten() {
            row.lease.iter_mut().for_each(|lease| other(&mut lease.holder));
            row.made.iter_mut().for_each(|made| other(&mut made.agent));
            row.excluded.iter_mut().for_each(other);
            row.excluded.sort_unstable();
            row.history.iter_mut().for_each(|attempt| other(&mut attempt.agent));
            sort_history(row);
        }
        state.seconds.iter_mut().flatten().for_each(|second| other(&mut second.agent));
        for memory in &mut state.brokers {
            match memory {
                Memory::Nothing => {}
                Memory::Chosen { agent, .. } | Memory::Left { agent, .. } => other(agent),
            }
        }
        state.brokers.sort_unstable();
        state
    }

    fn with_jobs_swapped(&self) -> Self {
        let mut state = self.clone();
        state.jobs.reverse();
        state.seconds.reverse();
        state.banned.reverse();
        for memory in &mut state.brokers {
            match memory {
                Memory::Nothing => {}
                Memory::Chosen { job, .. } | Memory::Left { job, .. } => *job = 1 - *job,
            }
        }
        state.brokers.sort_unstable();
        state
    }
}

pub(crate) fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// The rules read the end of an attempt only where it is `running`, `completed`, `rejected` or, of the last lease,
/// `expired`; its failure only while it counts, and of the classes here those whose number decides something within the
/// bounds; its result only where it may be rejected, or is. What makers of a rejected result are counted for is out of
/// reach with two agents.
fn abstract_row(row: &mut JobRow, bounds: Bounds) {
    let last = row.lease_epoch;
    let has_expired = row.history.iter().any(|attempt| {
        attempt.lease_epoch == Some(last) && attempt.outcome == AttemptOutcome::Expired
    });
    let resumable = bounds.has_resume
        && has_expired
        && row.failure == Some(FailureClass::AgentDied)
        && matches!(row.state, JobState::Ready | JobState::Delayed | JobState::Cancelled);
    let has_no_time = bounds.has_deadlines
        && row.failure == Some(FailureClass::PastDeadline)
        && row.state == JobState::Dead;
    if !resumable && !has_no_time {
        row.failure = None;
    }
    for attempt in &mut row.history {
        let decides =
            matches!(attempt.failure, Some(FailureClass::InvalidProof | FailureClass::AgentDied));
        if !decides || !attempt.counted {
            attempt.failure = None;
        }
        attempt.outcome = match attempt.outcome {
            AttemptOutcome::Rejected if attempt.counted => AttemptOutcome::Rejected,
            AttemptOutcome::Expired if resumable && attempt.lease_epoch == Some(last) => {
                AttemptOutcome::Expired
            }
            AttemptOutcome::Completed | AttemptOutcome::CompletedLate => AttemptOutcome::Completed,
            AttemptOutcome::Running => AttemptOutcome::Running,
            _ => AttemptOutcome::Released,
        };
        attempt.counted = true;
        if !matches!(attempt.outcome, AttemptOutcome::Completed | AttemptOutcome::Rejected) {
            attempt.result = None;
        }
    }
    row.history.retain(|attempt| {
        attempt.lease_epoch.is_some()
            || attempt.outcome != AttemptOutcome::Released
            || attempt.failure.is_some()
    });
    row.excluded.sort_unstable();
    sort_history(row);
    // Equal to the number of the last lease, which a rule of its own checks.
    row.attempts = row.lease_epoch.0;
}

/// The order of attempts is read only where makers are counted.
fn sort_history(row: &mut JobRow) {
    row.history.sort_by_key(|attempt| {
        let number = attempt.lease_epoch.unwrap_or(LeaseEpoch(0));
        (
            number,
            attempt.agent,
            attempt.outcome.as_str(),
            attempt.result,
            attempt.failure.map(FailureClass::as_str),
        )
    });
}
