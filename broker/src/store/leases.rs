//! Granting leases and keeping them.

use std::time::Duration;

use rollmill_broker_client::{
    AgentId, AttemptOutcome, Capability, FailureClass, Grant, HeartbeatRequest, LeaseEpoch,
    LeaseRef, ProgressRequest, SizeClass,
};
use rollmill_broker_rules::decide;
use rollmill_service::traces::Traceparent;
use sqlx::{PgConnection, Postgres, Transaction};

use super::sql::{
    AgentBound, AttemptEnd, AttemptFailures, CandidateRow, Claim, EpochBound, GrantedRow,
    Heartbeat, LeaseBound, LeaseEpochOf, Overdue, PauseBound, Peek, Progress, Promote, Reopen,
    ScrubBound, SecondBound, Statement, StuckBound,
};
use super::{Store, Tenant, corrupt};
use crate::error::BrokerError;
use crate::policy::{self, Failure, Next};
use crate::scrub;

/// How long a bound waits for a row that is locked: shorter than the time after which the server looks for deadlocks, so
/// that whoever else waits goes on.
const BOUND_WAIT: &str = "SET LOCAL lock_timeout = '500ms'";

/// A ready job that could be granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub seq: i64,
    pub kind: String,
    pub version: String,
    pub class: SizeClass,
    pub epoch: i64,
    pub rank: i64,
    pub excluded: Vec<String>,
    /// How long it has been ready.
    pub waited_seconds: f64,
}

/// A job chosen for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub seq: i64,
    pub agent: AgentId,
}

/// A job leased to an agent.
#[derive(Clone, Debug)]
pub struct Granted {
    pub seq: i64,
    pub agent: AgentId,
    pub grant: Grant,
    /// How long the job was ready before.
    pub waited_seconds: f64,
}

pub(super) struct Reopening<'a> {
    pub(super) seq: i64,
    pub(super) failure: FailureClass,
    pub(super) message: &'a str,
    pub(super) agent: &'a AgentId,
    /// Class of agent that the job needs.
    pub(super) size: SizeClass,
    pub(super) next: Next,
}

impl Store {
    /// The first `limit` ready jobs of each combination of capability and class, without locking
    /// them.
    pub async fn peek(
        &self,
        tenant: &Tenant,
        wanted: &[(Capability, SizeClass)],
        limit: usize,
    ) -> Result<Vec<Candidate>, BrokerError> {
        let peek = Peek {
            tenant,
            versions: wanted.iter().map(|(c, _)| &c.version).collect(),
            kinds: wanted.iter().map(|(c, _)| &c.kind).collect(),
            sizes: wanted.iter().map(|(_, size)| *size).collect(),
            most: i64::try_from(limit).unwrap_or(i64::MAX),
        };
        let candidate = |row: CandidateRow| Candidate {
            seq: row.seq,
            kind: row.kind,
            version: row.version,
            class: row.class.0,
            epoch: row.epoch,
            rank: row.rank,
            excluded: row.excluded_agents,
            waited_seconds: row.waited_seconds,
        };
        Ok(self.grants.all(peek).await?.into_iter().map(candidate).collect())
    }

    /// Leases the chosen jobs; those that another broker took meanwhile are missing in the answer.
    pub async fn claim(&self, matches: &[Match]) -> Result<Vec<Granted>, BrokerError> {
        let lease = self.rules.lease;
        let claim = Claim {
            jobs: &matches.iter().map(|m| m.seq).collect::<Vec<_>>(),
            agents: matches.iter().map(|m| &m.agent).collect(),
            lease,
            hard_limit_seconds: self.hard_limit_seconds(),
        };
        let rows = self.grants.all(claim).await?;
        rows.into_iter().map(|row| Self::granted(row, lease)).collect()
    }

    pub(super) fn granted(row: GrantedRow, lease: Duration) -> Result<Granted, BrokerError> {
        Ok(Granted {
            seq: row.seq,
            agent: row.lease_holder.ok_or_else(|| corrupt("a lease without a holder"))?.0,
            grant: Grant {
                job: row.id.0,
                version: row.version.0,
                lease_epoch: row.lease_epoch.lease_epoch(),
                lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
                hard_limit_ms: u64::from(row.hard_limit_seconds.0) * 1000,
                deadline_unix_seconds: row.deadline.map(|seconds| seconds.0),
                traceparent: row.traceparent.filter(|it| Traceparent::parse(it).is_some()),
            },
            // Clocks of two transactions: one that is ready since a moment ago may look newer.
            waited_seconds: row.waited_seconds.max(0.0),
        })
    }

    /// Renews an agent's leases; returns those that it no longer has.
    pub async fn heartbeat(
        &self,
        tenant: &Tenant,
        request: &HeartbeatRequest,
    ) -> Result<Vec<LeaseRef>, BrokerError> {
        let heartbeat = Heartbeat {
            tenant,
            agent: &request.agent,
            jobs: request.leases.iter().map(|l| &l.job).collect(),
            lease_epochs: request.leases.iter().map(|l| l.lease_epoch).collect(),
            lease: self.rules.lease,
        };
        let kept = heartbeat.all(&self.pool).await?;
        let lost = |lease: &&LeaseRef| {
            !kept.iter().any(|row| {
                row.id.0 == lease.job && row.lease_epoch.lease_epoch() == lease.lease_epoch
            })
        };
        Ok(request.leases.iter().filter(lost).cloned().collect())
    }

    /// Records the progress of the work under a lease.
    pub async fn progress(
        &self,
        tenant: &Tenant,
        request: &ProgressRequest,
    ) -> Result<(), BrokerError> {
        let ProgressRequest { agent, lease, progress } = request;
        let (job, lease_epoch) = (&lease.job, lease.lease_epoch);
        let update = Progress { tenant, job, agent, lease_epoch, progress: *progress };
        if update.run(&self.pool).await? == 1 {
            return Ok(());
        }
        let current = LeaseEpochOf { tenant, job }.optional(&self.pool).await?;
        Err(match current {
            None => BrokerError::UnknownJob { id: job.clone() },
            Some(row) => lost(lease, row.lease_epoch.lease_epoch()),
        })
    }

    /// Makes jobs ready whose backoff has passed; returns how many.
    pub async fn promote(&self) -> Result<u64, BrokerError> {
        Promote { most: 1000 }.run(&self.pool).await
    }

    /// The hard limit of jobs that name none.
    fn hard_limit_seconds(&self) -> i32 {
        i32::try_from(self.rules.hard_limit.as_secs()).unwrap_or(i32::MAX)
    }

    /// Shortens what would wait for longer than anything that begins now, because the database's clock was set back:
    /// the lease of an agent that is gone would else last for as long as the clock was set by. So would a backoff, the
    /// agent itself, an exclusion, an epoch and the pause of the scrubber. Changes nothing where the clock was not set. A
    /// named lease is shortened when somebody asks for it ([`Self::acquire_name`]).
    ///
    /// # Errors
    /// Those of the database. Where a row stays locked the call fails too; repeat it.
    pub async fn bound_waits(&self) -> Result<(), BrokerError> {
        let (lease, hard_limit_seconds) = (self.rules.lease, self.hard_limit_seconds());
        LeaseBound { lease, hard_limit_seconds }.run(&self.pool).await?;
        SecondBound { lease }.run(&self.pool).await?;
        PauseBound { longest: policy::PAUSE_MAX }.run(&self.pool).await?;
        ScrubBound { pass: scrub::PASS }.run(&self.pool).await?;
        // One that finds a row locked keeps none of the others from theirs.
        let [stuck, agents, epochs] =
            [self.bound_stuck().await, self.bound_agents().await, self.bound_epochs().await];
        stuck.and(agents).and(epochs)
    }

    async fn bound_stuck(&self) -> Result<(), BrokerError> {
        let mut tx = self.patient().await?;
        StuckBound {}.run(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn bound_agents(&self) -> Result<(), BrokerError> {
        let mut tx = self.patient().await?;
        AgentBound {}.run(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn bound_epochs(&self) -> Result<(), BrokerError> {
        let mut tx = self.patient().await?;
        EpochBound {}.run(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// A transaction for a statement that waits for locked rows, but not for long.
    async fn patient(&self) -> Result<Transaction<'static, Postgres>, BrokerError> {
        let mut tx = self.pool.begin().await?;
        sqlx::raw_sql(BOUND_WAIT).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Expires overdue leases, by the database's clock. Returns the failure classes.
    pub async fn expire(&self, spread: f64) -> Result<Vec<(FailureClass, Next)>, BrokerError> {
        self.expire_until(None, spread).await
    }

    /// As [`Self::expire`], of leases that had run out when the database's clock read `clock`, since 1970.
    pub async fn expire_by(
        &self,
        clock: Duration,
        spread: f64,
    ) -> Result<Vec<(FailureClass, Next)>, BrokerError> {
        self.expire_until(Some(clock), spread).await
    }

    async fn expire_until(
        &self,
        clock: Option<Duration>,
        spread: f64,
    ) -> Result<Vec<(FailureClass, Next)>, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let rows = Overdue { most: 100, clock }.all(&mut *tx).await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in rows {
            let (seq, size, job) = (row.seq, row.class.0, row.id.0);
            let agent = row.lease_holder.ok_or_else(|| corrupt("a lease without a holder"))?.0;
            let (failure, message) = decide::expired(row.hard == Some(true));
            let epoch = row.lease_epoch.lease_epoch();
            let ended = (AttemptOutcome::Expired, Some((failure, message)));
            Self::end_attempt(&mut tx, seq, epoch, ended).await?;
            let count = Self::failures(&mut tx, seq, failure).await?;
            let next = policy::after(Failure { failure, count, size }, spread);
            let reopening = Reopening { seq, failure, message, agent: &agent, size, next };
            Self::reopen(&mut tx, reopening).await?;
            tracing::warn!(%job, %agent, class = failure.as_str(), "lease expired");
            taken.push((failure, next));
        }
        tx.commit().await?;
        Ok(taken)
    }

    pub(super) async fn failures(
        tx: &mut PgConnection,
        job: i64,
        failure: FailureClass,
    ) -> Result<u32, BrokerError> {
        let count = AttemptFailures { job, failure }.one(tx).await?.count.0;
        // Beyond four billion the policy has long decided.
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(super) async fn end_attempt(
        tx: &mut PgConnection,
        job: i64,
        lease_epoch: LeaseEpoch,
        (outcome, failure): (AttemptOutcome, Option<(FailureClass, &str)>),
    ) -> Result<(), BrokerError> {
        let (failure, message) = failure.unzip();
        AttemptEnd { job, lease_epoch, outcome, failure, message }.run(tx).await.map(drop)
    }

    pub(super) async fn reopen(
        tx: &mut PgConnection,
        Reopening { seq: job, failure, message, agent, size, next }: Reopening<'_>,
    ) -> Result<(), BrokerError> {
        let decide::Reopened { state, pause, size, excludes } = decide::reopened(next, size);
        let excluded = excludes.then_some(agent);
        let reopen = Reopen { job, state, pause, failure, message, size, excluded };
        reopen.run(tx).await.map(drop)
    }
}

pub(super) fn lost(lease: &LeaseRef, current: LeaseEpoch) -> BrokerError {
    BrokerError::LeaseLost { job: lease.job.clone(), held: lease.lease_epoch, current }
}
