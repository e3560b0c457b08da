//! Second leases in the schedules: a second agent works on a job that another one holds, and either of them may finish
//! it, fall silent, give it up or be told to stop.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rollmill_broker_client::{AgentId, AttemptOutcome, FailureClass, JobState, LeaseEpoch};
use rollmill_broker_rules::{Answer, Attempt, Event, SecondEvent, decide, second_step};

use super::Lab;
use super::op::{Foretold, Op, Reply, one};
use super::world::{AGENTS, JOBS, Observed, World, result};
use crate::support::{agent, digest};

/// Agents that may work on second leases at a time: fewer than jobs, so that the bound is met.
pub(crate) const SECONDS_MAX: usize = 1;

/// What happened to second leases.
#[derive(Debug, Default)]
pub(super) struct Tally {
    given: u64,
    /// One was asked for while as many agents as may had one.
    full: u64,
    /// Jobs finished by the second agent while the first held them, and by the first beside a second.
    by_second: u64,
    by_first: u64,
    /// Jobs cancelled under both.
    cancelled: u64,
    /// Given up by the agent, and deleted because the agent was silent or its job had ended.
    ended: u64,
    cleared: u64,
}

impl Tally {
    /// That the schedules met all of it.
    pub(super) fn assert_all(&self) {
        let all = [self.given, self.full, self.by_second, self.by_first];
        let others = [self.cancelled, self.ended, self.cleared];
        assert!(all.iter().chain(&others).all(|count| *count > 0), "{self:?}");
    }
}

/// Draws what concerns the second lease of a job that has one, or of one that can get one; [`None`] where there is none.
pub(super) fn draw(rng: &mut ChaCha8Rng, world: &World) -> Option<Op> {
    let has_second = world.seconds.iter().any(Option::is_some) && rng.gen_bool(0.7);
    let is_meant = |job: &usize| {
        let is_leased = world.rows[*job].as_ref().is_some_and(|row| row.lease.is_some());
        match has_second {
            true => world.seconds[*job].is_some(),
            false => world.seconds[*job].is_none() && is_leased,
        }
    };
    let jobs: Vec<usize> = (0..JOBS).filter(is_meant).collect();
    let job = *jobs.choose(rng)?;
    let row = world.rows[job].as_ref()?;
    let holder = row.lease.as_ref().map(|lease| lease.holder.clone());
    // Now and then the holder itself.
    let others = AGENTS.iter().filter(|name| rng.gen_bool(0.1) || Some(agent(name)) != holder);
    let name = agent(others.collect::<Vec<_>>().choose(rng)?);
    let Some(second) = &world.seconds[job] else {
        let lease_epoch = LeaseEpoch(row.lease_epoch.0 - u64::from(rng.gen_bool(0.1)));
        return Some(Op::Second { job, agent: name, lease_epoch });
    };
    let (agent, lease_epoch) = (second.agent.clone(), second.lease_epoch);
    let wrong = rng.gen_bool(0.2);
    let complete = |agent: AgentId, lease_epoch: LeaseEpoch, in_lane: bool| {
        let result = digest(&result(job, wrong.then_some(&agent)));
        Op::Complete { job, agent, lease_epoch, result, in_lane }
    };
    Some(match rng.gen_range(0..14) {
        0..3 => Op::Heartbeat { job, agent, lease_epoch, in_lane: true },
        // A lane leaves it to the judgement that comes after.
        3..7 => complete(agent, lease_epoch, rng.gen_bool(0.2)),
        7..9 => match &row.lease {
            Some(lease) => complete(lease.holder.clone(), row.lease_epoch, rng.gen_bool(0.5)),
            None => complete(agent, lease_epoch, false),
        },
        9..11 => Op::EndSecond { job, agent, lease_epoch },
        11 => Op::Second { job, agent: name, lease_epoch: row.lease_epoch },
        12 => Op::Fail { job, agent, lease_epoch, class: FailureClass::Transient },
        _ => Op::Cancel { job },
    })
}

/// What the rules say about a second lease that is asked for: those that ended go first, of every job.
pub(super) fn given(
    foretold: &mut Foretold,
    job: usize,
    agent: &AgentId,
    lease_epoch: LeaseEpoch,
) -> Reply {
    if foretold.world.rows[job].is_none() {
        return Reply::Unknown;
    }
    for job in 0..JOBS {
        take(foretold, job, &SecondEvent::Clear);
    }
    let standing = foretold.world.standing(agent);
    let event = SecondEvent::Give {
        agent: agent.clone(),
        lease_epoch,
        may_claim: decide::may_claim(standing.is_quarantined, standing.is_draining),
        is_full: foretold.world.seconds.iter().flatten().count() >= SECONDS_MAX,
    };
    take(foretold, job, &event)
}

/// A heartbeat in the lane is about the lease, and about a second lease if the agent has not that lease.
pub(super) fn beaten(
    foretold: &mut Foretold,
    job: usize,
    agent: &AgentId,
    lease_epoch: LeaseEpoch,
) -> Reply {
    let agent = agent.clone();
    let row = foretold.world.rows[job].as_ref();
    if row.is_some_and(|row| row.is_held_by(&agent, lease_epoch)) {
        return one(foretold, job, &Event::Heartbeat { agent, lease_epoch });
    }
    take(foretold, job, &SecondEvent::Heartbeat { agent, lease_epoch })
}

pub(super) fn ended(
    foretold: &mut Foretold,
    job: usize,
    agent: &AgentId,
    lease_epoch: LeaseEpoch,
) -> Reply {
    take(foretold, job, &SecondEvent::End { agent: agent.clone(), lease_epoch })
}

fn take(foretold: &mut Foretold, job: usize, event: &SecondEvent<AgentId>) -> Reply {
    let Some(row) = &foretold.world.rows[job] else { return Reply::Unknown };
    let (after, answer) = second_step(row, foretold.world.seconds[job].as_ref(), event);
    foretold.world.seconds[job] = after;
    Reply::One(Ok(answer))
}

fn is_completed(attempt: &Attempt<AgentId, rollmill_broker_client::Digest>) -> bool {
    matches!(attempt.outcome, AttemptOutcome::Completed | AttemptOutcome::CompletedLate)
}

impl Lab {
    /// No heartbeat of a second agent came in time, or its time is up.
    pub(super) async fn tick_second(&mut self, job: usize) {
        let Some(second) = &mut self.seen.world.seconds[job] else { return };
        let end_limit = self.rng.gen_bool(0.3);
        second.is_over = true;
        second.limit_is_over |= end_limit;
        let statement = match end_limit {
            true => {
                "UPDATE second_lease SET expires_at = now() - interval '1 s',
                                         hard_limit_at = now() - interval '1 s' WHERE job = $1"
            }
            false => "UPDATE second_lease SET expires_at = now() - interval '1 s' WHERE job = $1",
        };
        let seq = self.seen.seqs[job];
        sqlx::query(statement).bind(seq).execute(&mut self.by_hand).await.unwrap();
        self.compare("a tick of a second lease").await;
    }

    /// What holds of second leases at all times, read from the rows and not from the rules: no more agents than may
    /// have them; a job that is done has one result in effect, and no other job has one.
    pub(super) fn assert_seconds(&self) {
        let seconds = self.seen.world.seconds.iter().flatten().count();
        assert!(seconds <= SECONDS_MAX, "seed {}: {:#?}", self.seed, self.seen.world.seconds);
        for row in self.seen.world.rows.iter().flatten() {
            let completed = row.history.iter().filter(|attempt| is_completed(attempt)).count();
            let is_done = usize::from(row.state == JobState::Done);
            assert_eq!(completed, is_done, "seed {}: {row:#?}", self.seed);
        }
    }

    /// Counts what a request did to second leases. Whoever had the job when another agent's result was taken is on
    /// record as superseded.
    pub(super) fn tally(&mut self, op: &Op, before: &Observed, reply: &Reply) {
        let (was, is) = (&before.world, &self.seen.world);
        let tally = &mut self.tally;
        match (op, reply) {
            (Op::Second { job, agent, lease_epoch }, Reply::One(Ok(Answer::Granted(granted)))) => {
                let row = was.rows[*job].as_ref();
                let lease = row.and_then(|row| row.lease.as_ref());
                let others = (0..JOBS).filter(|other| other != job);
                let present = others.filter(|other| is.seconds[*other].is_some()).count();
                let deleted = (0..JOBS).filter(|job| {
                    was.seconds[*job].is_some() && is.seconds[*job] != was.seconds[*job]
                });
                tally.cleared += deleted.count() as u64;
                tally.full += u64::from(granted.is_none() && present == SECONDS_MAX);
                if granted.is_some() {
                    assert!(lease.is_some_and(|lease| lease.holder != *agent), "{op:?}, {row:#?}");
                    assert_eq!(row.map(|row| row.lease_epoch), Some(*lease_epoch));
                    tally.given += 1;
                }
            }
            (Op::EndSecond { .. }, Reply::One(Ok(Answer::Changed(true)))) => tally.ended += 1,
            (Op::Cancel { job }, Reply::One(Ok(Answer::Changed(true)))) => {
                let held = was.rows[*job].as_ref().is_some_and(|row| row.lease.is_some());
                tally.cancelled += u64::from(held && was.seconds[*job].is_some());
            }
            (Op::Complete { job, agent, lease_epoch, .. }, _) => {
                let (Some(row), Some(now)) = (&was.rows[*job], &is.rows[*job]) else { return };
                let Some(lease) = &row.lease else { return };
                if now.state != JobState::Done {
                    return;
                }
                let of_lease = now.history.iter().find(|attempt| {
                    attempt.lease_epoch == Some(row.lease_epoch) && attempt.agent == lease.holder
                });
                let outcome = of_lease.map(|attempt| attempt.outcome);
                let is_first = row.is_held_by(agent, *lease_epoch);
                let expected = match is_first {
                    true => [AttemptOutcome::Completed, AttemptOutcome::CompletedLate],
                    false => [AttemptOutcome::Superseded; 2],
                };
                assert!(outcome.is_some_and(|it| expected.contains(&it)), "{op:?}, {now:#?}");
                if let Some(second) = &was.seconds[*job] {
                    tally.by_second += u64::from(!is_first && second.agent == *agent);
                    tally.by_first += u64::from(is_first);
                }
            }
            _ => {}
        }
    }
}
