//! What the overview shows that only the database knows. Each is one statement, with a bound on its rows.

use std::time::Duration;

use rollmill_broker_client::{AgentId, DeadLetterOverview, DeadLettersOverview, JobState};

use super::sql::{AgentsInOverview, DeadInOverview, JobsInOverview, OverviewDead, Statement};
use super::{Store, Tenant, corrupt};
use crate::error::BrokerError;

/// Most agents, dead letters and epochs that are shown, and rows of jobs of all epochs.
const AGENTS_MAX: i64 = 100;
const DEAD_MAX: i64 = 50;
const EPOCHS_MAX: i64 = 64;
const JOBS_MAX: i64 = 2_000;
/// An agent that is silent for this long is most likely stopped.
const GONE: Duration = Duration::from_secs(600);
/// Characters of a dead letter's message that are shown.
const MESSAGE_MAX: usize = 200;

/// An agent as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeenAgent {
    pub(crate) id: AgentId,
    /// What it says about itself.
    pub(crate) info: serde_json::Value,
    pub(crate) rejected: u32,
    pub(crate) leases: u32,
    pub(crate) is_quarantined: bool,
    /// It was asked to leave.
    pub(crate) is_draining: bool,
    pub(crate) is_live: bool,
    /// Silent for so long that it is most likely stopped.
    pub(crate) is_gone: bool,
    pub(crate) seen_unix_seconds: u64,
}

/// Agents of a tenant, those in trouble first, and how many there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SeenAgents {
    pub(crate) total: u64,
    pub(crate) live: u64,
    pub(crate) silent: u64,
    pub(crate) quarantined: u64,
    pub(crate) first: Vec<SeenAgent>,
}

/// Jobs of an open epoch in a state; without a type for an epoch that has none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EpochJobs {
    pub(crate) epoch: u64,
    pub(crate) of: Option<(String, JobState)>,
    pub(crate) count: u64,
    /// The highest among them.
    pub(crate) rank: u64,
    /// What agents say that they took.
    pub(crate) seconds: f64,
}

impl Store {
    /// The agents that were seen within a day, those in trouble first.
    pub(crate) async fn overview_agents(&self, tenant: &Tenant) -> Result<SeenAgents, BrokerError> {
        let live = self.rules.live;
        let statement =
            AgentsInOverview { tenant, live, gone: GONE.max(live * 2), most: AGENTS_MAX };
        let rows = statement.all(&self.pool).await?;
        let mut agents = match rows.first() {
            None => return Ok(SeenAgents::default()),
            Some(row) => SeenAgents {
                total: row.all_count.0,
                live: row.live_count.0,
                silent: row.silent_count.0,
                quarantined: row.quarantined_count.0,
                first: Vec::with_capacity(rows.len()),
            },
        };
        for row in rows {
            let info = row.info.map(|info| serde_json::from_str(&info)).transpose();
            agents.first.push(SeenAgent {
                id: row.id.0,
                info: info.map_err(|_| corrupt("an agent's info"))?.unwrap_or_default(),
                rejected: row.rejected.0,
                leases: row.leases.0,
                is_quarantined: row.quarantined,
                is_draining: row.draining,
                is_live: row.live,
                is_gone: row.gone,
                seen_unix_seconds: row.seen_seconds.0,
            });
        }
        Ok(agents)
    }

    /// The newest dead letters.
    pub(crate) async fn overview_dead(
        &self,
        tenant: &Tenant,
    ) -> Result<DeadLettersOverview, BrokerError> {
        let rows = DeadInOverview { tenant, most: DEAD_MAX }.all(&self.pool).await?;
        let letter = |row: OverviewDead| DeadLetterOverview {
            id: row.id.0,
            class: row.failure_class.map(|class| class.0),
            message: row.failure_message.unwrap_or_default().chars().take(MESSAGE_MAX).collect(),
            since_unix_seconds: row.dead_seconds.map(|seconds| seconds.0),
        };
        let total = rows.first().map_or(0, |row| row.all_count.0);
        Ok(DeadLettersOverview { total, shown: rows.into_iter().map(letter).collect() })
    }

    /// Jobs of the oldest open epochs, in the order of epochs. Its cost grows with the jobs of these epochs.
    pub(crate) async fn overview_jobs(
        &self,
        tenant: &Tenant,
    ) -> Result<Vec<EpochJobs>, BrokerError> {
        let statement = JobsInOverview { tenant, epochs: EPOCHS_MAX, most: JOBS_MAX };
        let rows = statement.all(&self.pool).await?;
        let jobs = rows.into_iter().map(|row| EpochJobs {
            epoch: row.epoch.0,
            of: row.kind.zip(row.state.map(|state| state.0)),
            count: row.count.0,
            rank: row.rank.0,
            seconds: row.seconds,
        });
        Ok(jobs.collect())
    }
}
