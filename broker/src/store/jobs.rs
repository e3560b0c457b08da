//! What producers and operators do to jobs.

use std::collections::HashMap;

use rollmill_broker_client::{
    FailureClass, JobId, JobView, NewJob, QueueView, RejectOutcome, RejectRequest, RejectResponse,
};
use sqlx::Row;

use super::healing::Stored;
use super::leases::Reopening;
use super::{Store, Tenant, corrupt_row};
use crate::error::BrokerError;
use crate::policy::{self, Failure, Next};

impl Store {
    /// Adds jobs whose inputs were put; known ones answer as they stand. In the order given.
    pub async fn enqueue(
        &self,
        tenant: &Tenant,
        jobs: &[NewJob],
    ) -> Result<Vec<JobView>, BrokerError> {
        // One statement cannot touch a row twice; the first of equal ids stands for all.
        let mut unique: HashMap<&JobId, &NewJob> = HashMap::new();
        for job in jobs {
            unique.entry(&job.id).or_insert(job);
        }
        // A fixed order of locking keeps two producers of one batch from a deadlock.
        let mut unique: Vec<&NewJob> = unique.into_values().collect();
        unique.sort_by(|a, b| a.id.cmp(&b.id));
        self.require_inputs(tenant, &unique).await?;

        let column = |read: fn(&NewJob) -> String| -> Vec<String> {
            unique.iter().map(|job| read(job)).collect()
        };
        sqlx::query(include_str!("../sql/enqueue.sql"))
            .bind(&tenant.0)
            .bind(column(|job| job.id.to_string()))
            .bind(column(|job| job.id.kind().to_owned()))
            .bind(column(|job| job.version.to_string()))
            .bind(unique.iter().map(|job| signed(job.id.epoch())).collect::<Vec<_>>())
            .bind(unique.iter().map(|job| i64::from(job.rank)).collect::<Vec<_>>())
            .bind(unique.iter().map(|job| i16::from(job.class)).collect::<Vec<_>>())
            .bind(unique.iter().map(|job| job.id.input().0.to_vec()).collect::<Vec<_>>())
            .bind(column(|job| serde_json::to_string(&job.labels).unwrap_or_else(|_| "{}".into())))
            .bind(
                unique
                    .iter()
                    .map(|job| job.hard_limit_seconds.map(|s| i32::try_from(s).unwrap_or(i32::MAX)))
                    .collect::<Vec<Option<i32>>>(),
            )
            .bind(
                unique
                    .iter()
                    .map(|job| job.deadline_unix_seconds.map(|seconds| seconds as f64))
                    .collect::<Vec<Option<f64>>>(),
            )
            .execute(&self.pool)
            .await?;

        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        let views = self.jobs(tenant, &ids).await?;
        let versions: HashMap<&JobId, &NewJob> = unique.iter().map(|job| (&job.id, *job)).collect();
        for view in &views {
            if versions.get(&view.id).is_some_and(|job| job.version != view.version) {
                return Err(BrokerError::VersionConflict { id: view.id.clone() });
            }
        }
        Ok(views)
    }

    /// Requires that each job's input can be read. What is there but damaged is asked for as well.
    async fn require_inputs(&self, tenant: &Tenant, jobs: &[&NewJob]) -> Result<(), BrokerError> {
        let inputs = jobs.iter().map(|job| job.id.input()).collect();
        let mut connection = self.pool.acquire().await?;
        match self.unreadable(&mut connection, tenant, inputs).await?.first() {
            Some(digest) => Err(BrokerError::NotPut { digest: *digest }),
            None => Ok(()),
        }
    }

    /// Cancels unfinished jobs; returns how many were.
    pub async fn cancel(&self, tenant: &Tenant, ids: &[JobId]) -> Result<u64, BrokerError> {
        self.cancel_where(tenant, ids, &["ready", "delayed", "input_wanted", "leased"]).await
    }

    /// Cancels dead letters; returns how many.
    pub async fn drop_dead(&self, tenant: &Tenant, ids: &[JobId]) -> Result<u64, BrokerError> {
        self.cancel_where(tenant, ids, &["dead"]).await
    }

    async fn cancel_where(
        &self,
        tenant: &Tenant,
        ids: &[JobId],
        states: &[&str],
    ) -> Result<u64, BrokerError> {
        let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
        let mut tx = self.pool.begin().await?;
        let seqs: Vec<i64> = sqlx::query_scalar(
            "UPDATE job
             SET state = 'cancelled', finished_at = now(), progress = NULL, stuck_at = NULL,
                 lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
             WHERE seq = ANY (ARRAY(
                 SELECT seq FROM job
                 WHERE tenant = $1 AND id = ANY ($2) AND state = ANY ($3)
                 ORDER BY seq FOR UPDATE))
             RETURNING seq",
        )
        .bind(&tenant.0)
        .bind(ids)
        .bind(states)
        .fetch_all(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE attempt SET outcome = 'cancelled', ended_at = now()
             WHERE job = ANY ($1) AND outcome = 'running'",
        )
        .bind(&seqs)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(seqs.len() as u64)
    }

    /// Gives dead letters a fresh budget, every agent included, and makes them ready.
    pub async fn replay(&self, tenant: &Tenant, ids: &[JobId]) -> Result<u64, BrokerError> {
        let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
        let mut tx = self.pool.begin().await?;
        let seqs: Vec<i64> = sqlx::query_scalar(
            "UPDATE job
             SET state = 'ready', ready_at = now(), finished_at = NULL, excluded_agents = '{}',
                 stuck_at = NULL
             WHERE tenant = $1 AND id = ANY ($2) AND state = 'dead'
             RETURNING seq",
        )
        .bind(&tenant.0)
        .bind(ids)
        .fetch_all(&mut *tx)
        .await?;
        sqlx::query("UPDATE attempt SET counted = false WHERE job = ANY ($1)")
            .bind(&seqs)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(seqs.len() as u64)
    }

    /// Reopens a job whose result its producer found wrong, and counts that against the agent; without
    /// blame where the bytes cannot be read, since nobody can have found them wrong.
    pub async fn reject(
        &self,
        tenant: &Tenant,
        request: &RejectRequest,
        spread: f64,
    ) -> Result<RejectResponse, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query(
            "SELECT seq, state, result, result_agent, class
             FROM job WHERE tenant = $1 AND id = $2 FOR UPDATE",
        )
        .bind(&tenant.0)
        .bind(request.id.as_str())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| BrokerError::UnknownJob { id: request.id.clone() })?;
        let result: Option<Vec<u8>> = row.try_get("result")?;
        if result.as_deref() != Some(&request.result.0[..]) {
            return Ok(RejectResponse { outcome: RejectOutcome::Stale, agent_quarantined: false });
        }
        let seq: i64 = row.try_get("seq")?;
        if !matches!(self.read(&mut tx, tenant, request.result).await?, Stored::Whole(_)) {
            Self::reopen_without_blame(&mut tx, &[seq], request.result).await?;
            tx.commit().await?;
            return Ok(RejectResponse {
                outcome: RejectOutcome::Reopened,
                agent_quarantined: false,
            });
        }
        let agent: Option<String> = row.try_get("result_agent")?;
        let agent = agent.ok_or_else(|| corrupt_row("the maker of a result"))?;

        sqlx::query(
            "UPDATE attempt
             SET outcome = 'rejected', failure_class = 'invalid_proof', failure_message = $4
             WHERE job = $1 AND agent = $2 AND result = $3 AND outcome LIKE 'completed%'",
        )
        .bind(seq)
        .bind(&agent)
        .bind(&request.result.0[..])
        .bind(&request.reason)
        .execute(&mut *tx)
        .await?;
        let agent_quarantined: bool = sqlx::query_scalar(
            "INSERT INTO agent (tenant, id, rejected, quarantined_at)
             VALUES ($1, $2, 1, CASE WHEN $3 <= 1 THEN now() END)
             ON CONFLICT (tenant, id) DO UPDATE
             SET rejected = agent.rejected + 1,
                 quarantined_at = CASE WHEN agent.rejected + 1 >= $3
                                       THEN coalesce(agent.quarantined_at, now())
                                       ELSE agent.quarantined_at END
             RETURNING quarantined_at IS NOT NULL",
        )
        .bind(&tenant.0)
        .bind(&agent)
        .bind(i32::try_from(self.rules.rejections_max).unwrap_or(i32::MAX))
        .fetch_one(&mut *tx)
        .await?;

        let class = FailureClass::InvalidProof;
        let count = Self::failures(&mut tx, seq, class).await?;
        let needs = u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(0);
        let next = policy::after(Failure { class, count, needs }, spread);
        Self::reopen(
            &mut tx,
            Reopening { seq, class, message: &request.reason, agent: &agent, needs, next },
        )
        .await?;
        tx.commit().await?;
        let outcome =
            if next == Next::GiveUp { RejectOutcome::GivenUp } else { RejectOutcome::Reopened };
        Ok(RejectResponse { outcome, agent_quarantined })
    }

    /// Forgets an epoch. Jobs go first, so that no job is left whose input is gone.
    pub async fn drop_epoch(&self, tenant: &Tenant, epoch: u64) -> Result<u64, BrokerError> {
        let jobs = sqlx::query("DELETE FROM job WHERE tenant = $1 AND epoch = $2")
            .bind(&tenant.0)
            .bind(signed(epoch))
            .execute(&self.pool)
            .await?
            .rows_affected();
        self.drop_artifacts(tenant, epoch).await?;
        Ok(jobs)
    }

    /// What waits and what runs, by tenant and type; of every tenant when none is given.
    pub async fn queue(
        &self,
        tenant: Option<&Tenant>,
    ) -> Result<Vec<(Tenant, QueueView)>, BrokerError> {
        let rows = sqlx::query(include_str!("../sql/queue.sql"))
            .bind(tenant.map(|tenant| &tenant.0))
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let state: String = row.try_get("state")?;
                let view = QueueView {
                    kind: row.try_get("kind")?,
                    version: row.try_get("version")?,
                    state: rollmill_broker_client::JobState::parse(&state)
                        .ok_or_else(|| corrupt_row("a state"))?,
                    count: row.try_get::<i64, _>("count")?.max(0).unsigned_abs(),
                    class: u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(0),
                    oldest_seconds: row.try_get("oldest_seconds")?,
                };
                Ok((Tenant(row.try_get("tenant")?), view))
            })
            .collect()
    }

    /// How many dead letters there are.
    pub async fn dead_letters(&self, tenant: &Tenant) -> Result<u64, BrokerError> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM job WHERE tenant = $1 AND state = 'dead'")
                .bind(&tenant.0)
                .fetch_one(&self.pool)
                .await?;
        Ok(count.max(0).unsigned_abs())
    }
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
