//! What a database holds, in the terms of the rules, and what the rules say that it should hold.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rollmill_broker::store::{ROW_ARTIFACT_BYTES_MAX, Store};
use rollmill_broker_client::{
    AgentId, AttemptOutcome, Digest, EpochState, FailureClass, JobId, JobState, LeaseEpoch, NewJob,
    SizeClass,
};
use rollmill_broker_rules::{Attempt, Deadline, Lease, Made, Row, Second, Stored, decide};
use sqlx::PgConnection;

use crate::support::{agent, digest, job};

/// The epoch of all jobs, and another one that has results only.
pub(crate) const EPOCH: u64 = 7;
pub(crate) const OTHER: u64 = 8;

pub(crate) const AGENTS: [&str; 3] = ["a", "b", "c"];

/// The last has a large input.
pub(crate) const JOBS: usize = 3;

/// Rejected results of an agent that lead to its quarantine.
pub(crate) const REJECTIONS_MAX: u32 = 2;

pub(crate) type JobRow = Row<AgentId, Digest>;

/// Everything that the rules decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct World {
    /// [`None`]: nobody opened it.
    pub(crate) epoch: Option<EpochState>,
    /// [`None`]: not enqueued.
    pub(crate) rows: Vec<Option<JobRow>>,
    /// The second lease of each job, until it is deleted.
    pub(crate) seconds: Vec<Option<Second<AgentId>>>,
    pub(crate) agents: Vec<Standing>,
}

/// What is held against an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) rejected: u32,
    pub(crate) is_quarantined: bool,
    /// It was asked to leave.
    pub(crate) is_draining: bool,
}

impl World {
    /// Before anything happened.
    pub(crate) fn new() -> Self {
        Self {
            epoch: None,
            rows: vec![None; JOBS],
            seconds: vec![None; JOBS],
            agents: vec![Standing::default(); AGENTS.len()],
        }
    }

    /// That of an agent; of one that is not among [`AGENTS`] nothing is held.
    pub(crate) fn standing(&self, agent: &AgentId) -> Standing {
        let mut all = self.agents.iter().zip(AGENTS);
        let found = all.find(|(_, name)| *name == agent.as_str());
        found.map(|(standing, _)| *standing).unwrap_or_default()
    }

    pub(crate) fn standing_mut(&mut self, agent: &AgentId) -> Option<&mut Standing> {
        let mut all = self.agents.iter_mut().zip(AGENTS);
        all.find(|(_, name)| *name == agent.as_str()).map(|(standing, _)| standing)
    }

    pub(crate) fn is_quarantined(&self, agent: &AgentId) -> bool {
        self.standing(agent).is_quarantined
    }

    /// Charges a rejected result.
    pub(crate) fn charge(&mut self, agent: &AgentId) {
        if let Some(standing) = self.standing_mut(agent) {
            standing.rejected += 1;
            standing.is_quarantined |= standing.rejected >= REJECTIONS_MAX;
        }
    }

    /// Whether every agent that may work is excluded from a job, and there is one.
    pub(crate) fn nobody_is_left(&self, row: &JobRow) -> bool {
        let free: Vec<AgentId> = AGENTS
            .iter()
            .zip(&self.agents)
            .filter(|(_, of)| decide::may_claim(of.is_quarantined, of.is_draining))
            .map(|(name, _)| agent(name))
            .collect();
        !free.is_empty() && free.iter().all(|agent| row.excluded.contains(agent))
    }
}

/// A world as it was read, with what identifies rows in the database.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) world: World,
    pub(crate) seqs: Vec<Option<i64>>,
    /// The column `change` of each job.
    pub(crate) changes: Vec<Option<i64>>,
}

/// Where the copies of an artifact are: for each epoch whether there is one, and whether its bytes can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf(BTreeMap<Digest, BTreeMap<u64, bool>>);

impl Shelf {
    pub(crate) fn put(&mut self, digest: Digest, epoch: u64) {
        self.0.entry(digest).or_default().insert(epoch, true);
    }

    /// The bytes of every copy are gone. Of a large one, the rows as well.
    pub(crate) fn damage(&mut self, digest: Digest, is_large: bool) {
        if is_large {
            self.0.remove(&digest);
        }
        for is_whole in self.0.entry(digest).or_default().values_mut() {
            *is_whole = false;
        }
    }

    pub(crate) fn drop_epoch(&mut self, epoch: u64) {
        for copies in self.0.values_mut() {
            copies.remove(&epoch);
        }
    }

    pub(crate) fn is_readable(&self, digest: Digest) -> bool {
        self.0.get(&digest).is_some_and(|copies| copies.values().any(|is_whole| *is_whole))
    }

    pub(crate) fn stored(&self, digest: Digest) -> Stored {
        let copies = self.0.get(&digest);
        match copies {
            Some(copies) if copies.contains_key(&EPOCH) => Stored::Here,
            Some(copies) if copies.get(&OTHER) == Some(&true) => Stored::Elsewhere,
            _ => Stored::Nowhere,
        }
    }
}

/// The input of a job.
pub(crate) fn input(index: usize) -> Vec<u8> {
    let mut bytes = format!("input {index}").into_bytes();
    if is_large(index) {
        bytes.resize(ROW_ARTIFACT_BYTES_MAX + 1, b'.');
    }
    bytes
}

pub(crate) fn is_large(index: usize) -> bool {
    index == JOBS - 1
}

pub(crate) fn job_id(index: usize) -> JobId {
    new_job(index).id
}

pub(crate) fn new_job(index: usize) -> NewJob {
    static INPUTS: OnceLock<Vec<Digest>> = OnceLock::new();
    let inputs = INPUTS.get_or_init(|| (0..JOBS).map(|index| digest(&input(index))).collect());
    job(EPOCH, "leaf", inputs[index])
}

/// A result of a job: honest agents make the same one, each of the others makes one of its own.
pub(crate) fn result(index: usize, wrong: Option<&AgentId>) -> Vec<u8> {
    match wrong {
        None => format!("result of {index}").into_bytes(),
        Some(agent) => format!("wrong result of {index} by {agent}").into_bytes(),
    }
}

type JobColumns = (
    i64,
    String,
    i16,
    i64,
    i64,
    Option<String>,
    Option<bool>,
    Option<bool>,
    bool,
    Option<bool>,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Vec<String>,
    Option<i64>,
);

const JOB: &str = "SELECT seq, state, class, lease_epoch, attempts::bigint, lease_holder,
           lease_expires_at <= now(), hard_limit_at <= now(), ready_at <= now(), deadline_at <= now(),
           result, result_agent, failure_class, excluded_agents, change
    FROM job WHERE id = $1";

const ATTEMPTS: &str = "SELECT lease_epoch, agent, outcome, failure_class, result, counted
    FROM attempt WHERE job = $1 ORDER BY id";

type SecondColumns = (String, i64, bool, bool);

const SECOND: &str = "SELECT agent, lease_epoch, expires_at <= now(), hard_limit_at <= now()
    FROM second_lease WHERE job = $1";

fn read_second((name, number, is_over, limit_is_over): SecondColumns) -> Second<AgentId> {
    let lease_epoch = LeaseEpoch(number.try_into().unwrap());
    Second { agent: agent(&name), lease_epoch, is_over, limit_is_over }
}

/// Reads everything, once no transaction of others holds a lock on it: one that failed is rolled back a moment after
/// its error is returned, and statements pass over what it holds.
pub(crate) async fn observe(on: &mut PgConnection) -> Observed {
    for wait in [
        "SELECT 1 FROM epoch FOR UPDATE",
        "SELECT 1 FROM job FOR UPDATE",
        "SELECT 1 FROM agent FOR UPDATE",
        "SELECT 1 FROM second_lease FOR UPDATE",
    ] {
        sqlx::query(wait).execute(&mut *on).await.unwrap();
    }
    let mut seen =
        Observed { world: World::new(), seqs: vec![None; JOBS], changes: vec![None; JOBS] };
    // One that its producer dropped is as if nobody had opened it; its row keeps the count of generations.
    let epoch = "SELECT state FROM epoch WHERE number = $1 AND NOT (state = 'gone' AND forgotten)";
    let epoch: Option<String> =
        sqlx::query_scalar(epoch).bind(EPOCH as i64).fetch_optional(&mut *on).await.unwrap();
    seen.world.epoch = epoch.map(|state| EpochState::parse(&state).unwrap());
    for (standing, name) in seen.world.agents.iter_mut().zip(AGENTS) {
        let found = "SELECT rejected, quarantined_at IS NOT NULL, draining_by IS NOT NULL
                     FROM agent WHERE id = $1";
        let (rejected, is_quarantined, is_draining): (i32, bool, bool) =
            sqlx::query_as(found).bind(name).fetch_one(&mut *on).await.unwrap();
        let rejected = u32::try_from(rejected).unwrap();
        *standing = Standing { rejected, is_quarantined, is_draining };
    }
    for index in 0..JOBS {
        let row: Option<JobColumns> = sqlx::query_as(JOB)
            .bind(job_id(index).as_str())
            .fetch_optional(&mut *on)
            .await
            .unwrap();
        let Some(row) = row else { continue };
        seen.seqs[index] = Some(row.0);
        seen.changes[index] = row.14;
        let history = sqlx::query_as(ATTEMPTS).bind(row.0).fetch_all(&mut *on).await.unwrap();
        let second: Option<SecondColumns> =
            sqlx::query_as(SECOND).bind(row.0).fetch_optional(&mut *on).await.unwrap();
        seen.world.seconds[index] = second.map(read_second);
        seen.world.rows[index] = Some(read(row, history));
    }
    seen
}

type AttemptColumns = (Option<i64>, String, String, Option<String>, Option<Vec<u8>>, bool);

fn read(columns: JobColumns, history: Vec<AttemptColumns>) -> JobRow {
    let (_, state, class, lease_epoch, attempts, holder, is_over, limit_is_over, ..) = &columns;
    let (.., pause_is_over, passed, made, maker, failure, excluded, _) = &columns;
    let state = JobState::parse(state).unwrap();
    let lease = holder.as_ref().map(|holder| Lease {
        holder: agent(holder),
        is_over: is_over.unwrap(),
        limit_is_over: limit_is_over.unwrap(),
    });
    let made =
        made.as_ref().map(|made| Made { agent: agent(maker.as_ref().unwrap()), result: sha(made) });
    let attempt =
        |(lease_epoch, name, outcome, failure, result, counted): AttemptColumns| Attempt {
            lease_epoch: lease_epoch.map(|number| LeaseEpoch(number.try_into().unwrap())),
            agent: agent(&name),
            outcome: AttemptOutcome::parse(&outcome).unwrap(),
            failure: failure.map(|class| FailureClass::parse(&class).unwrap()),
            result: result.map(|result| sha(&result)),
            counted,
        };
    Row {
        state,
        class: SizeClass::new(u8::try_from(*class).unwrap()).unwrap(),
        lease_epoch: LeaseEpoch(u64::try_from(*lease_epoch).unwrap()),
        attempts: u64::try_from(*attempts).unwrap(),
        lease,
        pause_is_over: state == JobState::Delayed && *pause_is_over,
        deadline: match passed {
            None => Deadline::None,
            Some(false) => Deadline::Ahead,
            Some(true) => Deadline::Passed,
        },
        made,
        failure: failure.as_ref().map(|class| FailureClass::parse(class).unwrap()),
        excluded: excluded.iter().map(|name| agent(name)).collect(),
        history: history.into_iter().map(attempt).collect(),
    }
}

fn sha(bytes: &[u8]) -> Digest {
    Digest(bytes.try_into().unwrap())
}

/// The deeds that change nothing which the rules decide: uploads of results, and what damages artifacts.
pub(crate) async fn damage(on: &mut PgConnection, digest: Digest, is_large: bool) {
    let statement = match is_large {
        true => "DELETE FROM artifact WHERE digest = $1",
        false => "DELETE FROM artifact_body WHERE digest = $1",
    };
    sqlx::query(statement).bind(digest.0.as_slice()).execute(on).await.unwrap();
}

/// Uploads bytes where that is allowed.
pub(crate) async fn upload(store: &Store, epoch: u64, bytes: Vec<u8>) -> Digest {
    let digest = digest(&bytes);
    store.put_artifact(&Default::default(), epoch, digest, bytes).await.unwrap();
    digest
}
