//! Granting leases and keeping them.

use rollmill_broker_client::{
    AgentId, Capability, FailureClass, Grant, HeartbeatRequest, JobId, KindName, LeaseEpoch,
    LeaseRef, ProgressRequest,
};
use sqlx::{PgConnection, Row};

use super::jobs::signed;
use super::view::{agent_id, lease_epoch};
use super::{Store, Tenant, corrupt_row, millis};
use crate::error::BrokerError;
use crate::policy::{self, Failure, Next};

/// A ready job that could be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub seq: i64,
    pub kind: String,
    pub version: String,
    pub class: u8,
    pub epoch: i64,
    pub rank: i64,
    pub excluded: Vec<String>,
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
    pub(super) class: FailureClass,
    pub(super) message: &'a str,
    pub(super) agent: &'a str,
    pub(super) needs: u8,
    pub(super) next: Next,
}

impl Store {
    /// The first `limit` ready jobs of each combination of capability and class, without locking
    /// them.
    pub async fn peek(
        &self,
        tenant: &Tenant,
        wanted: &[(Capability, u8)],
        limit: usize,
    ) -> Result<Vec<Candidate>, BrokerError> {
        let rows = sqlx::query(include_str!("../sql/peek.sql"))
            .bind(&tenant.0)
            .bind(wanted.iter().map(|(c, _)| c.version.as_str()).collect::<Vec<_>>())
            .bind(wanted.iter().map(|(c, _)| c.kind.as_str()).collect::<Vec<_>>())
            .bind(wanted.iter().map(|(_, class)| i16::from(*class)).collect::<Vec<_>>())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Candidate {
                    seq: row.try_get("seq")?,
                    kind: row.try_get("kind")?,
                    version: row.try_get("version")?,
                    class: u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(u8::MAX),
                    epoch: row.try_get("epoch")?,
                    rank: row.try_get("rank")?,
                    excluded: row.try_get("excluded_agents")?,
                })
            })
            .collect()
    }

    /// Leases the chosen jobs; those that another broker took meanwhile are missing in the answer.
    pub async fn claim(&self, matches: &[Match]) -> Result<Vec<Granted>, BrokerError> {
        let hard_limit = i32::try_from(self.rules.hard_limit.as_secs()).unwrap_or(i32::MAX);
        let rows = sqlx::query(include_str!("../sql/claim.sql"))
            .bind(matches.iter().map(|m| m.seq).collect::<Vec<_>>())
            .bind(matches.iter().map(|m| m.agent.as_str()).collect::<Vec<_>>())
            .bind(millis(self.rules.lease))
            .bind(hard_limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let job: JobId =
                    row.try_get::<String, _>("id")?.parse().map_err(|_| corrupt_row("a job id"))?;
                let version: KindName = row
                    .try_get::<String, _>("version")?
                    .parse()
                    .map_err(|_| corrupt_row("a version"))?;
                let hard: i32 = row.try_get("hard_limit_seconds")?;
                Ok(Granted {
                    seq: row.try_get("seq")?,
                    agent: agent_id(&row.try_get::<String, _>("lease_holder")?)?,
                    grant: Grant {
                        job,
                        version,
                        lease_epoch: lease_epoch(row.try_get("lease_epoch")?),
                        lease_ms: millis(self.rules.lease).unsigned_abs(),
                        hard_limit_ms: u64::from(hard.max(0).unsigned_abs()) * 1000,
                        deadline_unix_seconds: row
                            .try_get::<Option<i64>, _>("deadline")?
                            .map(|seconds| seconds.max(0).unsigned_abs()),
                    },
                    waited_seconds: row.try_get::<f64, _>("waited_seconds")?.max(0.0),
                })
            })
            .collect()
    }

    /// Keeps an agent's leases; returns those it no longer has.
    pub async fn heartbeat(
        &self,
        tenant: &Tenant,
        request: &HeartbeatRequest,
    ) -> Result<Vec<LeaseRef>, BrokerError> {
        let rows = sqlx::query(include_str!("../sql/heartbeat.sql"))
            .bind(&tenant.0)
            .bind(request.agent.as_str())
            .bind(request.leases.iter().map(|l| l.job.as_str()).collect::<Vec<_>>())
            .bind(request.leases.iter().map(|l| signed(l.lease_epoch.0)).collect::<Vec<_>>())
            .bind(millis(self.rules.lease))
            .fetch_all(&self.pool)
            .await?;
        let mut kept = Vec::with_capacity(rows.len());
        for row in &rows {
            kept.push((row.try_get::<String, _>(0)?, lease_epoch(row.try_get(1)?)));
        }
        let lost = |lease: &&LeaseRef| {
            !kept.iter().any(|(id, at)| id == lease.job.as_str() && *at == lease.lease_epoch)
        };
        Ok(request.leases.iter().filter(lost).cloned().collect())
    }

    /// Notes how far a lease's work is.
    pub async fn progress(
        &self,
        tenant: &Tenant,
        request: &ProgressRequest,
    ) -> Result<(), BrokerError> {
        let done = sqlx::query(
            "UPDATE job SET progress = $5
             WHERE tenant = $1 AND id = $2 AND state = 'leased' AND lease_holder = $3
               AND lease_epoch = $4",
        )
        .bind(&tenant.0)
        .bind(request.lease.job.as_str())
        .bind(request.agent.as_str())
        .bind(signed(request.lease.lease_epoch.0))
        .bind(request.progress)
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        let current: Option<i64> =
            sqlx::query_scalar("SELECT lease_epoch FROM job WHERE tenant = $1 AND id = $2")
                .bind(&tenant.0)
                .bind(request.lease.job.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Err(match current {
            None => BrokerError::UnknownJob { id: request.lease.job.clone() },
            Some(current) => lost(&request.lease, lease_epoch(current)),
        })
    }

    /// Makes jobs ready whose backoff has passed; returns how many.
    pub async fn promote(&self) -> Result<u64, BrokerError> {
        let promoted = sqlx::query(
            "UPDATE job SET state = 'ready'
             WHERE seq = ANY (ARRAY(
                 SELECT seq FROM job WHERE state = 'delayed' AND ready_at <= now()
                 ORDER BY ready_at LIMIT 1000 FOR UPDATE SKIP LOCKED))",
        )
        .execute(&self.pool)
        .await?;
        Ok(promoted.rows_affected())
    }

    /// Takes back leases that ran out, by the database's clock. Returns the classes counted.
    pub async fn expire(&self, spread: f64) -> Result<Vec<(FailureClass, Next)>, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let rows = sqlx::query(include_str!("../sql/overdue.sql"))
            .bind(100_i64)
            .fetch_all(&mut *tx)
            .await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in &rows {
            let seq: i64 = row.try_get("seq")?;
            let agent: String = row.try_get("lease_holder")?;
            let (class, message) = if row.try_get("hard")? {
                (FailureClass::HardLimit, "held longer than its hard limit")
            } else {
                (FailureClass::AgentDied, "no heartbeat within the lease")
            };
            Self::end_attempt(
                &mut tx,
                seq,
                lease_epoch(row.try_get("lease_epoch")?),
                "expired",
                Some((class, message)),
            )
            .await?;
            let count = Self::failures(&mut tx, seq, class).await?;
            let needs = u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(0);
            let next = policy::after(Failure { class, count, needs }, spread);
            Self::reopen(&mut tx, Reopening { seq, class, message, agent: &agent, needs, next })
                .await?;
            tracing::warn!(
                job = row.try_get::<String, _>("id")?,
                agent,
                class = class.as_str(),
                "lease expired"
            );
            taken.push((class, next));
        }
        tx.commit().await?;
        Ok(taken)
    }

    pub(super) async fn failures(
        tx: &mut PgConnection,
        seq: i64,
        class: FailureClass,
    ) -> Result<u32, BrokerError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM attempt WHERE job = $1 AND failure_class = $2 AND counted",
        )
        .bind(seq)
        .bind(class.as_str())
        .fetch_one(tx)
        .await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(super) async fn end_attempt(
        tx: &mut PgConnection,
        seq: i64,
        epoch: LeaseEpoch,
        outcome: &str,
        failure: Option<(FailureClass, &str)>,
    ) -> Result<(), BrokerError> {
        sqlx::query(
            "UPDATE attempt
             SET outcome = $3, failure_class = $4, failure_message = $5, ended_at = now()
             WHERE job = $1 AND lease_epoch = $2 AND outcome = 'running'",
        )
        .bind(seq)
        .bind(signed(epoch.0))
        .bind(outcome)
        .bind(failure.map(|(class, _)| class.as_str()))
        .bind(failure.map(|(_, message)| message))
        .execute(tx)
        .await?;
        Ok(())
    }

    pub(super) async fn reopen(
        tx: &mut PgConnection,
        Reopening { seq, class, message, agent, needs, next }: Reopening<'_>,
    ) -> Result<(), BrokerError> {
        let (state, pause, needs, excluded) = match next {
            Next::GiveUp => ("dead", 0, needs, None),
            Next::AwaitInput => ("input_wanted", 0, needs, None),
            Next::Retry { pause, needs, exclude } => {
                let state = if pause.is_zero() { "ready" } else { "delayed" };
                (state, millis(pause), needs, exclude.then_some(agent))
            }
        };
        sqlx::query(include_str!("../sql/reopen.sql"))
            .bind(seq)
            .bind(state)
            .bind(pause)
            .bind(class.as_str())
            .bind(message)
            .bind(i16::from(needs))
            .bind(excluded)
            .execute(tx)
            .await?;
        Ok(())
    }
}

pub(super) fn lost(lease: &LeaseRef, current: LeaseEpoch) -> BrokerError {
    BrokerError::LeaseLost { job: lease.job.clone(), held: lease.lease_epoch, current }
}
