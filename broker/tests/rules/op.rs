//! What can be done to the jobs: drawn at random, done by a store, and foretold by the rules.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rollmill_broker::error::BrokerError;
use rollmill_broker::policy::Next;
use rollmill_broker::store::{Arrival, Beat, Match, Opening, Second, Store, Tenant};
use rollmill_broker_client::{
    AgentId, ClaimRequest, CompleteRequest, Digest, EpochOutcome, EpochState, FailRequest,
    FailureClass, HeartbeatRequest, Installation, JobState, LeaseEpoch, LeaseRef, RejectRequest,
    ReleaseRequest, SessionId, SizeClass,
};
use rollmill_broker_rules::{
    Answer, Completion, Deadline, Event, Offered, Rejection, Row, SPREAD, Step, step,
};

use super::second::{self, SECONDS_MAX};
use super::world::{
    AGENTS, EPOCH, JOBS, JobRow, Observed, Shelf, World, input, is_large, job_id, new_job, result,
};
use crate::support::{agent, capability, digest};

/// A deadline so far away that no test meets it, and one that has passed.
const FAR: u64 = 1 << 40;
const PASSED: u64 = 1;

/// One request, or one round of the broker.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Enqueue { job: usize, class: SizeClass, deadline: Option<u64> },
    Claim { job: usize, agent: AgentId },
    Heartbeat { job: usize, agent: AgentId, lease_epoch: LeaseEpoch, in_lane: bool },
    Complete { job: usize, agent: AgentId, lease_epoch: LeaseEpoch, result: Digest, in_lane: bool },
    Fail { job: usize, agent: AgentId, lease_epoch: LeaseEpoch, class: FailureClass },
    Release { job: usize, agent: AgentId, lease_epoch: LeaseEpoch, in_lane: bool },
    Restart { agent: AgentId },
    Resume { job: usize, agent: AgentId, lease_epoch: LeaseEpoch },
    Expire,
    Promote,
    PassDeadline,
    Reject { job: usize, result: Digest },
    LoseResult { job: usize, result: Digest },
    Cancel { job: usize },
    Drop { job: usize },
    Replay { job: usize },
    Close,
    Open,
    Pardon { agent: AgentId },
    Drain { agent: AgentId, undo: bool },
    Upload { job: usize },
    Second { job: usize, agent: AgentId, lease_epoch: LeaseEpoch },
    EndSecond { job: usize, agent: AgentId, lease_epoch: LeaseEpoch },
}

/// What an operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    One(Result<Answer, Rejection>),
    Unknown,
    Count(u64),
    /// Of several jobs, in no order.
    Expired(Vec<String>),
    Rejected(Rejection),
}

/// What the rules say about an operation.
#[derive(Clone, Debug)]
pub(crate) struct Foretold {
    pub(crate) world: World,
    pub(crate) reply: Reply,
    /// The moves that a trigger of the table sees: statement, state before and after.
    pub(crate) moves: Vec<(String, Option<String>, String)>,
    /// The jobs whose change the feed shows.
    pub(crate) told: Vec<bool>,
}

impl Op {
    /// Draws one that has a chance to do something.
    pub(crate) fn draw(rng: &mut ChaCha8Rng, world: &World) -> Self {
        if rng.gen_bool(0.3)
            && let Some(op) = second::draw(rng, world)
        {
            return op;
        }
        let job = rng.gen_range(0..JOBS);
        let Some(row) = &world.rows[job] else {
            // Its input may have gone with its epoch.
            return if rng.gen_bool(0.5) { Self::Upload { job } } else { Self::enqueue(rng, job) };
        };
        let name = agent(AGENTS.choose(rng).unwrap());
        let (agent, lease_epoch) = lease(rng, row, &name);
        let wrong = rng.gen_bool(0.4).then_some(&agent);
        let result = digest(&self::result(job, wrong));
        let in_lane = rng.gen_bool(0.5);
        match rng.gen_range(0..100) {
            0..8 => Self::enqueue(rng, job),
            8..28 => Self::Claim { job, agent: name },
            28..34 => Self::Heartbeat { job, agent, lease_epoch, in_lane },
            34..52 => Self::Complete { job, agent, lease_epoch, result, in_lane },
            52..60 => Self::Fail { job, agent, lease_epoch, class: *CLASSES.choose(rng).unwrap() },
            60..64 => Self::Release { job, agent, lease_epoch, in_lane },
            64..65 => Self::Restart { agent: name },
            65..66 => {
                let undo = world.standing(&name).is_draining || rng.gen_bool(0.5);
                Self::Drain { agent: name, undo }
            }
            66..69 => Self::Resume { job, agent, lease_epoch },
            69..74 => Self::Expire,
            74..78 => Self::Promote,
            78..81 => Self::PassDeadline,
            81..86 => match &row.made {
                Some(made) if rng.gen_bool(0.9) => Self::Reject { job, result: made.result },
                _ => Self::Reject { job, result },
            },
            86..88 => match &row.made {
                Some(made) => Self::LoseResult { job, result: made.result },
                None => Self::Upload { job },
            },
            88..90 => Self::Upload { job },
            90..92 => Self::Cancel { job },
            92..93 => Self::Drop { job },
            93..96 => Self::Replay { job },
            96..97 => Self::Close,
            97..99 => Self::Open,
            _ => Self::Pardon { agent: name },
        }
    }

    fn enqueue(rng: &mut ChaCha8Rng, job: usize) -> Self {
        let class = SizeClass::new(u8::from(rng.gen_bool(0.1))).unwrap();
        let deadline = match rng.gen_range(0..10) {
            0..5 => None,
            5..9 => Some(FAR),
            _ => Some(PASSED),
        };
        Self::Enqueue { job, class, deadline }
    }

    /// Whether each transaction of it decides by itself, so that a fault leaves the state before or after it.
    pub(crate) fn is_one_transaction(&self) -> bool {
        !matches!(self, Self::Upload { .. } | Self::Enqueue { .. })
    }
}

const CLASSES: [FailureClass; 10] = [
    FailureClass::Transient,
    FailureClass::InputMissing,
    FailureClass::InputMissing,
    FailureClass::InputMissing,
    FailureClass::InputMissing,
    FailureClass::OutOfMemory,
    FailureClass::InvalidProof,
    FailureClass::VersionMismatch,
    FailureClass::BadInput,
    FailureClass::ResultTooLarge,
];

/// Mostly the present lease or an old one with its agent; sometimes one that never was.
fn lease(rng: &mut ChaCha8Rng, row: &JobRow, name: &AgentId) -> (AgentId, LeaseEpoch) {
    let present = row.lease.as_ref().map(|lease| (lease.holder.clone(), row.lease_epoch));
    match (rng.gen_range(0..10), present) {
        (0..6, Some(present)) => present,
        (0..9, _) => match row.history.choose(rng) {
            Some(old) => (old.agent.clone(), old.lease_epoch.unwrap_or(LeaseEpoch(0))),
            None => (name.clone(), LeaseEpoch(1)),
        },
        _ => (name.clone(), LeaseEpoch(rng.gen_range(0..=row.lease_epoch.0 + 1))),
    }
}

/// What the rules say.
pub(crate) fn foretell(before: &World, shelf: &Shelf, op: &Op) -> Foretold {
    let mut foretold = Foretold {
        world: before.clone(),
        reply: Reply::Unknown,
        moves: Vec::new(),
        told: vec![false; JOBS],
    };
    foretold.reply = match op {
        Op::Enqueue { job, class, deadline } => {
            // Producers open an epoch that never was.
            let epoch = *foretold.world.epoch.get_or_insert(EpochState::Open);
            let input_is_readable = shelf.is_readable(job_id(*job).input());
            let deadline =
                deadline.map(|at| if at == FAR { Deadline::Ahead } else { Deadline::Passed });
            let event = Event::Enqueue { class: *class, deadline, epoch, input_is_readable };
            match before.rows[*job] {
                Some(_) => one(&mut foretold, *job, &event),
                None => added(&mut foretold, *job, &event),
            }
        }
        Op::Upload { job } => {
            let epoch = *foretold.world.epoch.get_or_insert(EpochState::Open);
            let event = Event::Upload { is_object: is_large(*job), epoch };
            match (one(&mut foretold, *job, &event), epoch) {
                (Reply::Unknown, EpochState::Open) => Reply::One(Ok(Answer::Changed(false))),
                (Reply::Unknown, _) => Reply::One(Err(Rejection::EpochClosing)),
                (reply, _) => reply,
            }
        }
        Op::Restart { agent } => {
            let is_quarantined = before.is_quarantined(agent);
            match is_quarantined {
                true => Reply::Rejected(Rejection::Quarantined),
                false => {
                    if let Some(standing) = foretold.world.standing_mut(agent) {
                        standing.is_draining = false;
                    }
                    all(&mut foretold, &Event::Restart { agent: agent.clone(), is_quarantined })
                }
            }
        }
        Op::Heartbeat { job, agent, lease_epoch, in_lane: true } => {
            second::beaten(&mut foretold, *job, agent, *lease_epoch)
        }
        Op::Second { job, agent, lease_epoch } => {
            second::given(&mut foretold, *job, agent, *lease_epoch)
        }
        Op::EndSecond { job, agent, lease_epoch } => {
            second::ended(&mut foretold, *job, agent, *lease_epoch)
        }
        Op::Expire => expired(&mut foretold),
        Op::Promote => all(&mut foretold, &Event::Promote),
        Op::PassDeadline => all(&mut foretold, &Event::PassDeadline),
        Op::Close | Op::Open | Op::Pardon { .. } | Op::Drain { .. } => {
            of_nobodys_job(&mut foretold, before, op)
        }
        Op::LoseResult { job, result } => {
            let made = before.rows[*job].as_ref().and_then(|row| row.made.as_ref());
            match made.is_some_and(|made| made.result == *result) {
                true => one(&mut foretold, *job, &Event::LoseResult),
                false => Reply::One(Ok(Answer::Changed(false))),
            }
        }
        op => {
            let (job, event) = event(before, shelf, op);
            one(&mut foretold, job, &event)
        }
    };
    foretold
}

/// What producers and operators do to an epoch and to an agent.
fn of_nobodys_job(foretold: &mut Foretold, before: &World, op: &Op) -> Reply {
    match op {
        Op::Close => match before.epoch {
            None | Some(EpochState::Gone) => Reply::Rejected(Rejection::EpochGone),
            // Closing again cancels what was opened since, such as a job whose result was rejected.
            Some(EpochState::Open | EpochState::Closing) => {
                foretold.world.epoch = Some(EpochState::Closing);
                all(foretold, &Event::CloseEpoch)
            }
        },
        Op::Open => {
            foretold.world.epoch = Some(EpochState::Open);
            Reply::Count(0)
        }
        Op::Pardon { agent } => {
            let is_in = before.is_quarantined(agent);
            if let Some(standing) = foretold.world.standing_mut(agent).filter(|_| is_in) {
                (standing.rejected, standing.is_quarantined) = (0, false);
            }
            Reply::Count(u64::from(is_in))
        }
        Op::Drain { agent, undo } => {
            let standing = foretold.world.standing_mut(agent);
            let is_known = standing.is_some();
            if let Some(standing) = standing {
                standing.is_draining = !undo;
            }
            Reply::Count(u64::from(is_known))
        }
        op => panic!("{op:?} is about jobs"),
    }
}

/// The event of an operation on one job.
fn event(before: &World, shelf: &Shelf, op: &Op) -> (usize, Event<AgentId, Digest>) {
    let is_in = |agent: &AgentId| before.is_quarantined(agent);
    match op.clone() {
        Op::Claim { job, agent } => {
            let standing = before.standing(&agent);
            let (is_quarantined, is_draining) = (standing.is_quarantined, standing.is_draining);
            (job, Event::Claim { agent, is_quarantined, is_draining })
        }
        Op::Heartbeat { job, agent, lease_epoch, .. } => {
            (job, Event::Heartbeat { agent, lease_epoch })
        }
        Op::Complete { job, agent, lease_epoch, result, in_lane } => {
            let offered = Offered {
                is_quarantined: is_in(&agent),
                agent,
                lease_epoch,
                result,
                stored: shelf.stored(result),
                epoch: before.epoch.unwrap_or(EpochState::Gone),
            };
            match in_lane {
                true => (job, Event::CompleteMany(offered)),
                false => (job, Event::Complete(offered)),
            }
        }
        Op::Fail { job, agent, lease_epoch, class } => {
            let input_is_readable = shelf.is_readable(job_id(job).input());
            (job, Event::Fail { agent, lease_epoch, class, input_is_readable })
        }
        Op::Release { job, agent, lease_epoch, in_lane: true } => {
            (job, Event::ReleaseMany { agent, lease_epoch })
        }
        Op::Release { job, agent, lease_epoch, in_lane: false } => {
            (job, Event::Release { agent, lease_epoch })
        }
        Op::Resume { job, agent, lease_epoch } => (job, Event::Resume { agent, lease_epoch }),
        Op::Reject { job, result } => {
            (job, Event::Reject { result, is_readable: shelf.is_readable(result) })
        }
        Op::Cancel { job } => (job, Event::Cancel),
        Op::Drop { job } => (job, Event::Drop),
        Op::Replay { job } => (job, Event::Replay),
        op => panic!("{op:?} is no event of one job"),
    }
}

fn take(
    foretold: &mut Foretold,
    job: usize,
    event: &Event<AgentId, Digest>,
) -> Option<Result<Answer, Rejection>> {
    let before = foretold.world.rows[job].as_ref()?;
    let Step { row, answer, effects } = step(before, event);
    if let Some(statement) = effects.statement {
        let (from, to) = (before.state.as_str().to_owned(), row.state.as_str().to_owned());
        foretold.moves.push((statement.to_owned(), Some(from), to));
    }
    foretold.told[job] = effects.is_told;
    if let Some(agent) = &effects.charged {
        foretold.world.charge(agent);
    }
    foretold.world.rows[job] = Some(row);
    Some(answer)
}

pub(super) fn one(foretold: &mut Foretold, job: usize, event: &Event<AgentId, Digest>) -> Reply {
    take(foretold, job, event).map_or(Reply::Unknown, Reply::One)
}

/// An event of every job; counts those that it changed.
fn all(foretold: &mut Foretold, event: &Event<AgentId, Digest>) -> Reply {
    let answers: Vec<_> = (0..JOBS).map(|job| take(foretold, job, event)).collect();
    let changed = answers.iter().filter(|answer| matches!(answer, Some(Ok(Answer::Changed(true)))));
    Reply::Count(changed.count() as u64)
}

fn expired(foretold: &mut Foretold) -> Reply {
    let answers: Vec<_> = (0..JOBS).map(|job| take(foretold, job, &Event::Expire)).collect();
    let ended = answers.into_iter().filter_map(|answer| match answer {
        Some(Ok(Answer::Expired(ended))) => ended,
        _ => None,
    });
    Reply::Expired(sorted(ended))
}

fn sorted(ended: impl IntoIterator<Item = (FailureClass, Next)>) -> Vec<String> {
    let mut ended: Vec<String> = ended.into_iter().map(|one| format!("{one:?}")).collect();
    ended.sort();
    ended
}

/// A job that is enqueued for the first time meets the same conditions as one that is known.
fn added(foretold: &mut Foretold, job: usize, event: &Event<AgentId, Digest>) -> Reply {
    let &Event::Enqueue { class, deadline, .. } = event else { return Reply::Unknown };
    let new: JobRow = Row::new(class, deadline.unwrap_or(Deadline::None));
    let answer = step(&new, event).answer;
    if answer.is_ok() {
        foretold.world.rows[job] = Some(new);
        foretold.moves.push(("enqueue.sql".to_owned(), None, "ready".to_owned()));
    }
    Reply::One(answer)
}

/// Does it, by this store. Errors are those of the database; what the broker rejects is a reply.
pub(crate) async fn perform(store: &Store, seen: &Observed, op: &Op) -> Result<Reply, BrokerError> {
    match answered(store, seen, op).await {
        Ok(reply) => Ok(reply),
        Err(BrokerError::UnknownJob { .. }) => Ok(Reply::Unknown),
        Err(error) => {
            let rejection = match &error {
                BrokerError::LeaseLost { .. } => Rejection::LeaseLost,
                BrokerError::Cancelled { .. } => Rejection::Cancelled,
                BrokerError::Quarantined { .. } => Rejection::Quarantined,
                BrokerError::AlreadyRejected { .. } => Rejection::AlreadyRejected,
                BrokerError::NotUploaded { .. } => Rejection::NotUploaded,
                BrokerError::EpochClosing { .. } => Rejection::EpochClosing,
                BrokerError::EpochGone { .. } => Rejection::EpochGone,
                _ => return Err(error),
            };
            Ok(match op {
                Op::Restart { .. } | Op::Close => Reply::Rejected(rejection),
                _ => Reply::One(Err(rejection)),
            })
        }
    }
}

async fn answered(store: &Store, seen: &Observed, op: &Op) -> Result<Reply, BrokerError> {
    let tenant = Tenant::default();
    let answer = match op.clone() {
        Op::Enqueue { job, class, deadline } => {
            let mut new = new_job(job);
            (new.class, new.deadline_unix_seconds) = (class, deadline);
            Answer::Enqueued(store.enqueue(&tenant, &[new]).await?[0].state)
        }
        Op::Claim { job, agent } => {
            let Some(seq) = seen.seqs[job] else { return Ok(Reply::Unknown) };
            let granted = store.claim(&[Match { seq, agent }]).await?;
            Answer::Granted(granted.first().map(|granted| granted.grant.lease_epoch))
        }
        Op::Second { job, agent, lease_epoch } => {
            let Some(seq) = seen.seqs[job] else { return Ok(Reply::Unknown) };
            let chosen = [Second { seq, agent, lease_epoch }];
            let given = store.second_claim(&chosen, SECONDS_MAX).await?;
            Answer::Granted(given.granted.first().map(|granted| granted.grant.lease_epoch))
        }
        Op::Restart { agent } => {
            return Ok(Reply::Count(store.open_session(&opening(agent)).await?.returned));
        }
        Op::Resume { job, agent, lease_epoch } => {
            if seen.seqs[job].is_none() {
                return Ok(Reply::Unknown);
            }
            Answer::Changed(store.resume(&tenant, &job_id(job), lease_epoch, &agent).await?)
        }
        Op::Expire => return Ok(Reply::Expired(sorted(store.expire(SPREAD).await?))),
        Op::Promote => return Ok(Reply::Count(store.promote().await?)),
        Op::PassDeadline => return Ok(Reply::Count(store.past_deadline().await?)),
        Op::Close => {
            let closed = store.close_epoch(&tenant, EPOCH, EpochOutcome::Final, None).await?;
            return Ok(Reply::Count(closed.cancelled.map_or(0, |cancelled| cancelled.jobs)));
        }
        Op::Open => {
            store.open_epoch(&tenant, EPOCH).await?;
            return Ok(Reply::Count(0));
        }
        Op::Pardon { agent } => return Ok(Reply::Count(store.pardon(&tenant, &agent).await?)),
        Op::Drain { agent, undo } => {
            let is_known = store.drain(&tenant, &agent, undo).await?;
            return Ok(Reply::Count(u64::from(is_known)));
        }
        Op::LoseResult { result, .. } => match store.get_artifact(&tenant, result).await {
            Err(BrokerError::ArtifactLost { reopened, .. }) => Answer::Changed(reopened > 0),
            Err(BrokerError::UnknownArtifact { .. }) | Ok(_) => Answer::Changed(false),
            Err(error) => return Err(error),
        },
        Op::Upload { job } => {
            let body = input(job);
            let done = store.put_artifact(&tenant, EPOCH, digest(&body), body).await?;
            Answer::Changed(done.made_ready > 0)
        }
        Op::Reject { job, result } => {
            let request = RejectRequest { id: job_id(job), result, reason: "is wrong".into() };
            Answer::Rejected(store.reject(&tenant, &request, SPREAD).await?.outcome)
        }
        Op::Cancel { job } if seen.seqs[job].is_some() => {
            Answer::Changed(store.cancel(&tenant, &[job_id(job)]).await?.jobs == 1)
        }
        Op::Drop { job } if seen.seqs[job].is_some() => {
            Answer::Changed(store.drop_dead(&tenant, &[job_id(job)]).await? == 1)
        }
        Op::Replay { job } if seen.seqs[job].is_some() => {
            Answer::Changed(store.replay(&tenant, &[job_id(job)]).await? == 1)
        }
        Op::Cancel { .. } | Op::Drop { .. } | Op::Replay { .. } => return Ok(Reply::Unknown),
        op => return of_agent(store, seen, op).await,
    };
    Ok(Reply::One(Ok(answer)))
}

/// What an agent says about a lease.
async fn of_agent(store: &Store, seen: &Observed, op: Op) -> Result<Reply, BrokerError> {
    let tenant = Tenant::default();
    let lease = |job: usize, lease_epoch| LeaseRef { job: job_id(job), lease_epoch };
    let answer = match op {
        Op::Heartbeat { job, .. }
        | Op::EndSecond { job, .. }
        | Op::Complete { job, in_lane: true, .. }
        | Op::Release { job, in_lane: true, .. }
            if seen.seqs[job].is_none() =>
        {
            // These name no reason.
            return Ok(Reply::Unknown);
        }
        Op::Heartbeat { job, agent, lease_epoch, in_lane: true } => {
            let lease = lease(job, lease_epoch);
            let beat = Beat { tenant, agent, lease, extends: true, progress: Some(0.5) };
            Answer::Held(store.beat(&[beat]).await?[0].within)
        }
        Op::Heartbeat { job, agent, lease_epoch, in_lane: false } => {
            let request = HeartbeatRequest { agent, leases: vec![lease(job, lease_epoch)] };
            Answer::Held(store.heartbeat(&tenant, &request).await?.is_empty())
        }
        Op::Complete { job, agent, lease_epoch, result, in_lane: true } => {
            let request = CompleteRequest::new(agent, lease(job, lease_epoch), result);
            match store.complete_many(&[(tenant, request)]).await?[0] {
                Some(done) => Answer::Completed(completion(done)),
                None => Answer::Left,
            }
        }
        Op::Complete { job, agent, lease_epoch, result, in_lane: false } => {
            let request = CompleteRequest::new(agent, lease(job, lease_epoch), result);
            Answer::Completed(completion(store.complete(&tenant, &request).await?))
        }
        Op::Fail { job, agent, lease_epoch, class } => {
            let lease = lease(job, lease_epoch);
            let request = FailRequest { agent, lease, class, message: "as drawn".into() };
            Answer::Failed(store.fail(&tenant, &request, SPREAD).await?)
        }
        Op::Release { job, agent, lease_epoch, in_lane: true } => {
            let request = ReleaseRequest { agent, lease: lease(job, lease_epoch) };
            match store.release_many(&[(tenant, request)]).await?[0] {
                true => Answer::Changed(true),
                false => Answer::Left,
            }
        }
        Op::Release { job, agent, lease_epoch, in_lane: false } => {
            let request = ReleaseRequest { agent, lease: lease(job, lease_epoch) };
            store.release(&tenant, &request).await?;
            Answer::Changed(true)
        }
        Op::EndSecond { job, agent, lease_epoch } => {
            let lease = lease(job, lease_epoch);
            Answer::Changed(store.second_end(&tenant, &agent, &lease).await?)
        }
        op => panic!("{op:?} is no word of an agent"),
    };
    Ok(Reply::One(Ok(answer)))
}

fn completion(done: rollmill_broker::store::Completed) -> Completion {
    Completion { outcome: done.outcome, late: done.late, repeated: done.repeated }
}

/// A new session of an agent's one installation.
pub(crate) fn opening(name: AgentId) -> Opening {
    let installation: Installation = format!("disk-of-{name}").parse().unwrap();
    let mut request = ClaimRequest::new(name, vec![capability("leaf")]);
    request.class = SizeClass::LARGEST;
    Opening {
        arrival: Arrival { tenant: Tenant::default(), token: "t".into(), request },
        session: SessionId::random(),
        installation,
        replaces: None,
    }
}

/// Whether a job waits for its pause, which the driver keeps from ending by itself.
pub(crate) fn is_paused(row: &JobRow) -> bool {
    row.state == JobState::Delayed && !row.pause_is_over
}
