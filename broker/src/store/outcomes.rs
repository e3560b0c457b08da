//! How an attempt ends: completion, failure, release.

use rollmill_broker_client::{
    AgentId, CompleteOutcome, CompleteRequest, FailRequest, FailureClass, LeaseRef, ReleaseRequest,
};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::healing::Stored;
use super::jobs::signed;
use super::leases::{Reopening, lost};
use super::view::lease_epoch;
use super::{Store, Tenant};
use crate::error::BrokerError;
use crate::policy::{self, Failure, Next};

/// What a completion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    pub outcome: CompleteOutcome,
    /// The agent's lease was no longer held.
    pub late: bool,
    /// The same agent had completed the job with the same result before.
    pub repeated: bool,
}

impl Store {
    /// The completion rule: accepted from any agent while the job has no result; the first stays.
    /// A wrong one is found by the producer and rejected, and neither that result nor that agent's
    /// is accepted for the job again.
    pub async fn complete(
        &self,
        tenant: &Tenant,
        request: &CompleteRequest,
    ) -> Result<Completed, BrokerError> {
        let CompleteRequest { agent, lease, result, stats } = request;
        let mut tx = self.pool.begin().await?;
        let row = Self::lock(&mut tx, tenant, lease).await?;
        let seq: i64 = row.try_get("seq")?;
        let state: String = row.try_get("state")?;
        let late = !holds(&row, agent, lease)?;
        match state.as_str() {
            "done" => {
                let made: Option<Vec<u8>> = row.try_get("result")?;
                let maker: Option<String> = row.try_get("result_agent")?;
                // The answer to the first time was lost.
                let repeated = made.as_deref() == Some(&result.0[..])
                    && maker.as_deref() == Some(agent.as_str());
                let outcome = match repeated {
                    true => CompleteOutcome::Accepted,
                    false => CompleteOutcome::AlreadyDone,
                };
                return Ok(Completed { outcome, late, repeated });
            }
            "cancelled" => return Err(BrokerError::Cancelled { id: lease.job.clone() }),
            _ => {}
        }
        let excluded: Vec<String> = row.try_get("excluded_agents")?;
        let excluded = excluded.iter().any(|id| id == agent.as_str());
        if let Err(error) = self.refuse_distrusted(&mut tx, tenant, seq, excluded, request).await {
            if matches!(error, BrokerError::AlreadyRejected { .. }) && !late {
                self.hand_on(&mut tx, &row, request).await?;
                tx.commit().await?;
            }
            return Err(error);
        }
        let put: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM artifact WHERE tenant = $1 AND digest = $2)",
        )
        .bind(&tenant.0)
        .bind(&result.0[..])
        .fetch_one(&mut *tx)
        .await?;
        if !put {
            return Err(BrokerError::NotPut { digest: *result });
        }

        sqlx::query(include_str!("../sql/complete.sql"))
            .bind(&tenant.0)
            .bind(lease.job.as_str())
            .bind(&result.0[..])
            .bind(agent.as_str())
            .bind(stats.to_string())
            .execute(&mut *tx)
            .await?;
        let outcome = if late { "completed_late" } else { "completed" };
        let known = sqlx::query(
            "UPDATE attempt SET outcome = $4, result = $5, ended_at = now()
             WHERE job = $1 AND lease_epoch = $2 AND agent = $3",
        )
        .bind(seq)
        .bind(signed(lease.lease_epoch.0))
        .bind(agent.as_str())
        .bind(outcome)
        .bind(&result.0[..])
        .execute(&mut *tx)
        .await?;
        if known.rows_affected() == 0 {
            sqlx::query(
                "INSERT INTO attempt (job, agent, outcome, result, ended_at)
                 VALUES ($1, $2, $3, $4, now())",
            )
            .bind(seq)
            .bind(agent.as_str())
            .bind(outcome)
            .bind(&result.0[..])
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query(
            "UPDATE attempt SET outcome = 'superseded', ended_at = now()
             WHERE job = $1 AND outcome = 'running'",
        )
        .bind(seq)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Completed { outcome: CompleteOutcome::Accepted, late, repeated: false })
    }

    /// Gives a job whose holder can only make what was rejected before to somebody else. The holder is
    /// not charged, and excluded so that it does not make the same again.
    async fn hand_on(
        &self,
        tx: &mut PgConnection,
        row: &PgRow,
        request: &CompleteRequest,
    ) -> Result<(), BrokerError> {
        let CompleteRequest { agent, lease, .. } = request;
        let seq: i64 = row.try_get("seq")?;
        let (class, message) = (FailureClass::InvalidProof, "made what was rejected before");
        Self::end_attempt(tx, seq, lease.lease_epoch, "failed", Some((class, message))).await?;
        sqlx::query("UPDATE attempt SET counted = false WHERE job = $1 AND lease_epoch = $2")
            .bind(seq)
            .bind(signed(lease.lease_epoch.0))
            .execute(&mut *tx)
            .await?;
        let needs = u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(0);
        let next = Next::Retry { pause: std::time::Duration::ZERO, needs, exclude: true };
        let reopening = Reopening { seq, class, message, agent: agent.as_str(), needs, next };
        Self::reopen(tx, reopening).await
    }

    /// A rejected digest stays banned for the job; a rejected agent only while it is excluded, which
    /// a forgiveness ends.
    async fn refuse_distrusted(
        &self,
        tx: &mut PgConnection,
        tenant: &Tenant,
        seq: i64,
        excluded: bool,
        request: &CompleteRequest,
    ) -> Result<(), BrokerError> {
        let agent = request.agent.as_str();
        let quarantined: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM agent
                            WHERE tenant = $1 AND id = $2 AND quarantined_at IS NOT NULL)",
        )
        .bind(&tenant.0)
        .bind(agent)
        .fetch_one(&mut *tx)
        .await?;
        if quarantined {
            return Err(BrokerError::Quarantined { agent: request.agent.clone() });
        }
        let rejected: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM attempt
                            WHERE job = $1 AND outcome = 'rejected' AND counted
                              AND ((agent = $2 AND $4) OR result = $3))",
        )
        .bind(seq)
        .bind(agent)
        .bind(&request.result.0[..])
        .bind(excluded)
        .fetch_one(&mut *tx)
        .await?;
        if rejected {
            return Err(BrokerError::AlreadyRejected { id: request.lease.job.clone() });
        }
        Ok(())
    }

    /// Records a failed attempt and does what the policy says. An input that an agent could not fetch
    /// is read here first: where that succeeds, the failure was transient.
    pub async fn fail(
        &self,
        tenant: &Tenant,
        request: &FailRequest,
        spread: f64,
    ) -> Result<Next, BrokerError> {
        let FailRequest { agent, lease, message, .. } = request;
        let mut class = request.class;
        let mut tx = self.pool.begin().await?;
        let row = Self::lock_held(&mut tx, tenant, agent, lease).await?;
        let seq: i64 = row.try_get("seq")?;
        if class == FailureClass::InputMissing
            && matches!(self.read(&mut tx, tenant, lease.job.input()).await?, Stored::Whole(_))
        {
            class = FailureClass::Transient;
        }
        Self::end_attempt(&mut tx, seq, lease.lease_epoch, "failed", Some((class, message)))
            .await?;
        let count = Self::failures(&mut tx, seq, class).await?;
        let needs = u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(0);
        let next = policy::after(Failure { class, count, needs }, spread);
        let reopening = Reopening { seq, class, message, agent: agent.as_str(), needs, next };
        Self::reopen(&mut tx, reopening).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Puts a leased job back unharmed. The attempt stays counted.
    pub async fn release(
        &self,
        tenant: &Tenant,
        request: &ReleaseRequest,
    ) -> Result<(), BrokerError> {
        let ReleaseRequest { agent, lease } = request;
        let mut tx = self.pool.begin().await?;
        let row = Self::lock_held(&mut tx, tenant, agent, lease).await?;
        let seq: i64 = row.try_get("seq")?;
        Self::end_attempt(&mut tx, seq, lease.lease_epoch, "released", None).await?;
        sqlx::query(
            "UPDATE job
             SET state = 'ready', ready_at = now(), progress = NULL,
                 lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
             WHERE seq = $1",
        )
        .bind(seq)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn lock(
        tx: &mut PgConnection,
        tenant: &Tenant,
        lease: &LeaseRef,
    ) -> Result<PgRow, BrokerError> {
        sqlx::query(
            "SELECT seq, state, class, lease_epoch, lease_holder, excluded_agents, result,
                    result_agent
             FROM job WHERE tenant = $1 AND id = $2 FOR UPDATE",
        )
        .bind(&tenant.0)
        .bind(lease.job.as_str())
        .fetch_optional(tx)
        .await?
        .ok_or_else(|| BrokerError::UnknownJob { id: lease.job.clone() })
    }

    /// Locks the job and requires that the lease still stands: the fence.
    async fn lock_held(
        tx: &mut PgConnection,
        tenant: &Tenant,
        agent: &AgentId,
        lease: &LeaseRef,
    ) -> Result<PgRow, BrokerError> {
        let row = Self::lock(tx, tenant, lease).await?;
        if holds(&row, agent, lease)? {
            return Ok(row);
        }
        Err(lost(lease, lease_epoch(row.try_get("lease_epoch")?)))
    }
}

fn holds(row: &PgRow, agent: &AgentId, lease: &LeaseRef) -> Result<bool, BrokerError> {
    let holder: Option<String> = row.try_get("lease_holder")?;
    let epoch = lease_epoch(row.try_get("lease_epoch")?);
    Ok(holder.as_deref() == Some(agent.as_str()) && epoch == lease.lease_epoch)
}
