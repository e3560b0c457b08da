//! Reading jobs back.

use rollmill_broker_client::{
    AgentId, AttemptView, Digest, FailureClass, FailureView, JobId, JobState, JobView, LeaseEpoch,
    LeaseView, ListQuery,
};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Store, Tenant, corrupt_row};
use crate::error::BrokerError;

/// Jobs as listed.
pub type Listed = Vec<JobView>;

impl Store {
    /// Jobs of these ids, in that order; unknown ones are left out.
    pub async fn jobs(&self, tenant: &Tenant, ids: &[JobId]) -> Result<Listed, BrokerError> {
        let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
        let rows = sqlx::query(include_str!("../sql/view.sql"))
            .bind(&tenant.0)
            .bind(ids)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(job).collect()
    }

    /// The newest jobs that match.
    pub async fn list(&self, tenant: &Tenant, query: &ListQuery) -> Result<Listed, BrokerError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM job
             WHERE tenant = $1 AND ($2::text IS NULL OR state = $2)
               AND ($3::bigint IS NULL OR epoch = $3)
             ORDER BY seq DESC LIMIT $4",
        )
        .bind(&tenant.0)
        .bind(query.state.map(JobState::as_str))
        .bind(query.epoch.map(|epoch| i64::try_from(epoch).unwrap_or(i64::MAX)))
        .bind(i64::from(query.limit.unwrap_or(100).min(1000)))
        .fetch_all(&self.pool)
        .await?;
        let ids: Result<Vec<JobId>, _> = ids.iter().map(|id| id.parse()).collect();
        self.jobs(tenant, &ids.map_err(|_| corrupt_row("a job id"))?).await
    }

    /// Every attempt at a job, newest first.
    pub async fn history(
        &self,
        tenant: &Tenant,
        id: &JobId,
    ) -> Result<Vec<AttemptView>, BrokerError> {
        let rows = sqlx::query(
            "SELECT a.agent, a.lease_epoch, a.outcome, a.failure_class, a.failure_message, a.result,
                    (extract(epoch FROM a.started_at) * 1000)::bigint AS started_ms,
                    (extract(epoch FROM a.ended_at) * 1000)::bigint AS ended_ms
             FROM attempt a JOIN job j ON j.seq = a.job
             WHERE j.tenant = $1 AND j.id = $2
             ORDER BY a.id DESC LIMIT 1000",
        )
        .bind(&tenant.0)
        .bind(id.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(attempt).collect()
    }
}

fn job(row: &PgRow) -> Result<JobView, BrokerError> {
    let state: String = row.try_get("state")?;
    let holder: Option<String> = row.try_get("lease_holder")?;
    let lease = match holder {
        Some(holder) => Some(LeaseView {
            agent: agent_id(&holder)?,
            lease_epoch: lease_epoch(row.try_get("lease_epoch")?),
            expires_in_ms: row.try_get::<Option<i64>, _>("expires_in_ms")?.unwrap_or(0),
            progress: row.try_get("progress")?,
        }),
        None => None,
    };
    let stats: Option<String> = row.try_get("stats")?;
    let labels: String = row.try_get("labels")?;
    let agent: Option<String> = row.try_get("result_agent")?;
    Ok(JobView {
        id: text(row, "id")?,
        version: text(row, "version")?,
        rank: unsigned(row.try_get::<i64, _>("rank")?),
        class: u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(0),
        state: JobState::parse(&state).ok_or_else(|| corrupt_row("a state"))?,
        attempts: u32::try_from(row.try_get::<i32, _>("attempts")?).unwrap_or(0),
        lease,
        result: digest(row.try_get("result")?)?,
        agent: agent.as_deref().map(agent_id).transpose()?,
        stats: stats
            .map(|stats| serde_json::from_str(&stats))
            .transpose()
            .map_err(|_| corrupt_row("stats"))?,
        failure: failure(row)?,
        labels: serde_json::from_str(&labels).map_err(|_| corrupt_row("labels"))?,
        created_unix_ms: row.try_get::<i64, _>("created_ms")?.max(0).unsigned_abs(),
        finished_unix_ms: row
            .try_get::<Option<i64>, _>("finished_ms")?
            .map(|ms| ms.max(0).unsigned_abs()),
    })
}

fn attempt(row: &PgRow) -> Result<AttemptView, BrokerError> {
    let agent: String = row.try_get("agent")?;
    Ok(AttemptView {
        agent: agent_id(&agent)?,
        lease_epoch: row.try_get::<Option<i64>, _>("lease_epoch")?.map(lease_epoch),
        outcome: row.try_get("outcome")?,
        failure: failure(row)?,
        result: digest(row.try_get("result")?)?,
        started_unix_ms: row.try_get::<i64, _>("started_ms")?.max(0).unsigned_abs(),
        ended_unix_ms: row
            .try_get::<Option<i64>, _>("ended_ms")?
            .map(|ms| ms.max(0).unsigned_abs()),
    })
}

fn failure(row: &PgRow) -> Result<Option<FailureView>, BrokerError> {
    let class: Option<String> = row.try_get("failure_class")?;
    let message: Option<String> = row.try_get("failure_message")?;
    class
        .map(|class| {
            let class =
                FailureClass::parse(&class).ok_or_else(|| corrupt_row("a failure class"))?;
            Ok(FailureView { class, message: message.unwrap_or_default() })
        })
        .transpose()
}

fn text<T: std::str::FromStr>(row: &PgRow, column: &'static str) -> Result<T, BrokerError> {
    row.try_get::<String, _>(column)?.parse().map_err(|_| corrupt_row(column))
}

pub(super) fn digest(bytes: Option<Vec<u8>>) -> Result<Option<Digest>, BrokerError> {
    bytes
        .map(|bytes| <[u8; 32]>::try_from(bytes).map(Digest).map_err(|_| corrupt_row("a digest")))
        .transpose()
}

pub(super) fn agent_id(text: &str) -> Result<AgentId, BrokerError> {
    text.parse().map_err(|_| corrupt_row("an agent id"))
}

pub(super) fn lease_epoch(value: i64) -> LeaseEpoch {
    LeaseEpoch(value.max(0).unsigned_abs())
}

fn unsigned(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(super) fn digests(rows: Vec<Vec<u8>>) -> Result<Vec<Digest>, BrokerError> {
    rows.into_iter()
        .map(|bytes| <[u8; 32]>::try_from(bytes).map(Digest).map_err(|_| corrupt_row("a digest")))
        .collect()
}
