//! Agents as the broker remembers them.

use rollmill_broker_client::{AgentId, AgentView, ClaimRequest};
use sqlx::Row;

use super::view::agent_id;
use super::{Store, Tenant, corrupt_row};
use crate::ability::Ability;
use crate::error::BrokerError;

impl Store {
    /// Notes that an agent asks for work and what it can do, and refuses it when quarantined.
    pub async fn admit(&self, tenant: &Tenant, request: &ClaimRequest) -> Result<(), BrokerError> {
        let ClaimRequest { agent, info, class, capabilities, .. } = request;
        let able: Vec<String> =
            capabilities.iter().map(|c| format!("{}/{}", c.kind, c.version)).collect();
        let quarantined: bool = sqlx::query_scalar(
            "INSERT INTO agent (tenant, id, info, class, able) VALUES ($1, $2, $3::jsonb, $4, $5)
             ON CONFLICT (tenant, id) DO UPDATE
             SET info = excluded.info, class = excluded.class, able = excluded.able,
                 last_seen_at = now()
             RETURNING quarantined_at IS NOT NULL",
        )
        .bind(&tenant.0)
        .bind(agent.as_str())
        .bind(info.to_string())
        .bind(i16::from(*class))
        .bind(able)
        .fetch_one(&self.pool)
        .await?;
        if quarantined {
            return Err(BrokerError::Quarantined { agent: agent.clone() });
        }
        Ok(())
    }

    /// Notes that an agent is alive.
    pub async fn seen(&self, tenant: &Tenant, agent: &AgentId) -> Result<(), BrokerError> {
        sqlx::query("UPDATE agent SET last_seen_at = now() WHERE tenant = $1 AND id = $2")
            .bind(&tenant.0)
            .bind(agent.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends a quarantine and forgets what led to it.
    pub async fn pardon(&self, tenant: &Tenant, agent: &AgentId) -> Result<u64, BrokerError> {
        let pardoned = sqlx::query(
            "UPDATE agent SET quarantined_at = NULL, rejected = 0
             WHERE tenant = $1 AND id = $2 AND quarantined_at IS NOT NULL",
        )
        .bind(&tenant.0)
        .bind(agent.as_str())
        .execute(&self.pool)
        .await?;
        Ok(pardoned.rows_affected())
    }

    /// What the agents seen within a day and not in quarantine can do, of every tenant.
    pub async fn abilities(&self) -> Result<Vec<Ability>, BrokerError> {
        let rows = sqlx::query(
            "SELECT tenant, able, class,
                    extract(epoch FROM now() - last_seen_at)::float8 AS seen_seconds
             FROM agent
             WHERE quarantined_at IS NULL AND last_seen_at > now() - interval '1 day'",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Ability {
                    tenant: Tenant(row.try_get("tenant")?),
                    able: row.try_get("able")?,
                    class: u8::try_from(row.try_get::<i16, _>("class")?).unwrap_or(0),
                    seen_seconds: row.try_get("seen_seconds")?,
                })
            })
            .collect()
    }

    /// Agents seen within a day, latest first.
    pub async fn agents(&self, tenant: &Tenant) -> Result<Vec<AgentView>, BrokerError> {
        let rows = sqlx::query(
            "SELECT a.id, a.info::text AS info, a.rejected,
                    a.quarantined_at IS NOT NULL AS quarantined,
                    extract(epoch FROM now() - a.last_seen_at)::float8 AS last_seen_seconds,
                    (SELECT count(*) FROM job j WHERE j.tenant = a.tenant
                       AND j.state = 'leased' AND j.lease_holder = a.id) AS leases
             FROM agent a
             WHERE a.tenant = $1 AND a.last_seen_at > now() - interval '1 day'
             ORDER BY a.last_seen_at DESC LIMIT 1000",
        )
        .bind(&tenant.0)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let info: Option<String> = row.try_get("info")?;
                Ok(AgentView {
                    agent: agent_id(&row.try_get::<String, _>("id")?)?,
                    info: info
                        .map(|info| serde_json::from_str(&info))
                        .transpose()
                        .map_err(|_| corrupt_row("an agent's info"))?
                        .unwrap_or_default(),
                    last_seen_seconds: row.try_get("last_seen_seconds")?,
                    leases: u32::try_from(row.try_get::<i64, _>("leases")?).unwrap_or(0),
                    rejected: u32::try_from(row.try_get::<i32, _>("rejected")?).unwrap_or(0),
                    quarantined: row.try_get("quarantined")?,
                })
            })
            .collect()
    }
}
