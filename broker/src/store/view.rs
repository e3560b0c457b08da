//! Reading jobs back.

use rollmill_broker_client::{
    AttemptView, BATCH_MAX, FailureClass, FailureView, JobId, JobView, LeaseView, ListQuery, rules,
};

use super::sql::{AttemptRow, Attempts, JobRow, List, Statement, Text, View};
use super::{Store, Tenant, corrupt};
use crate::error::BrokerError;

/// Jobs as listed.
pub type Listed = Vec<JobView>;

/// Jobs in a list without a limit.
const LIST_DEFAULT: u32 = 100;

impl Store {
    /// Jobs of these ids, in that order; unknown ones are left out.
    pub async fn jobs(&self, tenant: &Tenant, ids: &[JobId]) -> Result<Listed, BrokerError> {
        let view = View { tenant, jobs: ids.iter().collect() };
        view.all(&self.pool).await?.into_iter().map(job).collect()
    }

    /// The newest jobs that match.
    ///
    /// # Errors
    /// [`BrokerError::UnknownJob`] for a page after a job that is gone, so that no list ends early unnoticed.
    pub async fn list(&self, tenant: &Tenant, query: &ListQuery) -> Result<Listed, BrokerError> {
        let ListQuery { state, epoch, ref label, limit, ref before } = *query;
        let (label, value) = label.as_deref().map(rules::pair).transpose()?.unzip();
        let limit = limit.unwrap_or(LIST_DEFAULT);
        // A longer list than the interface offers is cut, as the route says.
        let most = i64::from(limit).min(i64::try_from(BATCH_MAX).unwrap_or(i64::MAX));
        let before = before.as_ref();
        let rows =
            List { tenant, state, epoch, label, value, before, most }.all(&self.pool).await?;
        if let Some(id) = before.filter(|_| rows.is_empty())
            && self.jobs(tenant, std::slice::from_ref(id)).await?.is_empty()
        {
            return Err(BrokerError::UnknownJob { id: id.clone() });
        }
        let ids: Vec<JobId> = rows.into_iter().map(|row| row.id.0).collect();
        self.jobs(tenant, &ids).await
    }

    /// Every attempt at a job, newest first.
    pub async fn history(
        &self,
        tenant: &Tenant,
        id: &JobId,
    ) -> Result<Vec<AttemptView>, BrokerError> {
        let rows = Attempts { tenant, job: id }.all(&self.pool).await?;
        Ok(rows.into_iter().map(attempt).collect())
    }
}

pub(super) fn job(row: JobRow) -> Result<JobView, BrokerError> {
    let lease = match row.lease_holder {
        Some(holder) => Some(LeaseView {
            agent: holder.0,
            lease_epoch: row.lease_epoch.lease_epoch(),
            expires_in_ms: row.expires_in_ms.ok_or_else(|| corrupt("a lease without an end"))?,
            progress: row.progress,
        }),
        None => None,
    };
    let stats = row.stats.map(|stats| serde_json::from_str(&stats)).transpose();
    Ok(JobView {
        id: row.id.0,
        version: row.version.0,
        rank: row.rank.0,
        class: row.class.0,
        state: row.state.0,
        attempts: row.attempts.0,
        lease,
        result: row.result.map(|digest| digest.0),
        agent: row.result_agent.map(|agent| agent.0),
        stats: stats.map_err(|_| corrupt("stats"))?,
        failure: failure(row.failure_class, row.failure_message),
        labels: serde_json::from_str(&row.labels).map_err(|_| corrupt("labels"))?,
        created_unix_ms: row.created_ms.0,
        finished_unix_ms: row.finished_ms.map(|ms| ms.0),
    })
}

fn attempt(row: AttemptRow) -> AttemptView {
    AttemptView {
        agent: row.agent.0,
        lease_epoch: row.lease_epoch.map(|epoch| epoch.lease_epoch()),
        outcome: row.outcome.0,
        failure: failure(row.failure_class, row.failure_message),
        result: row.result.map(|digest| digest.0),
        started_unix_ms: row.started_ms.0,
        ended_unix_ms: row.ended_ms.map(|ms| ms.0),
    }
}

fn failure(class: Option<Text<FailureClass>>, message: Option<String>) -> Option<FailureView> {
    class.map(|class| FailureView { class: class.0, message: message.unwrap_or_default() })
}
