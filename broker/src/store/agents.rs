//! Agents as the broker remembers them.

use rollmill_broker_client::{AgentId, AgentView, ClaimRequest};

use super::sql::{AgentAbilities, AgentAdmit, AgentPardon, AgentSeen, Agents, Statement};
use super::{Store, Tenant, corrupt};
use crate::ability::Ability;
use crate::error::BrokerError;

impl Store {
    /// Records that an agent asks for work and what it can do; rejects it when quarantined.
    pub async fn admit(&self, tenant: &Tenant, request: &ClaimRequest) -> Result<(), BrokerError> {
        let ClaimRequest { agent, info, class, capabilities, .. } = request;
        let able = capabilities.iter().map(|c| format!("{}/{}", c.kind, c.version)).collect();
        let admit = AgentAdmit { tenant, agent, info: info.to_string(), size: *class, able };
        if admit.one(&self.pool).await?.quarantined {
            return Err(BrokerError::Quarantined { agent: agent.clone() });
        }
        Ok(())
    }

    /// Records that an agent is alive.
    pub async fn seen(&self, tenant: &Tenant, agent: &AgentId) -> Result<(), BrokerError> {
        AgentSeen { tenant, agent }.run(&self.pool).await.map(drop)
    }

    /// Ends a quarantine and clears what led to it.
    pub async fn pardon(&self, tenant: &Tenant, agent: &AgentId) -> Result<u64, BrokerError> {
        AgentPardon { tenant, agent }.run(&self.pool).await
    }

    /// What the agents seen within a day and not in quarantine can do, of every tenant.
    pub async fn abilities(&self) -> Result<Vec<Ability<Tenant>>, BrokerError> {
        let rows = AgentAbilities {}.all(&self.pool).await?;
        let ability = |row: super::sql::AbilityRow| Ability {
            tenant: Tenant(row.tenant),
            capabilities: row.able,
            class: row.class.0,
            seen_seconds: row.seen_seconds,
        };
        Ok(rows.into_iter().map(ability).collect())
    }

    /// Agents seen within a day, latest first.
    pub async fn agents(&self, tenant: &Tenant) -> Result<Vec<AgentView>, BrokerError> {
        let rows = Agents { tenant }.all(&self.pool).await?;
        rows.into_iter()
            .map(|row| {
                let info = row.info.map(|info| serde_json::from_str(&info)).transpose();
                Ok(AgentView {
                    agent: row.id.0,
                    // An agent that never asked for work has reported nothing about itself.
                    info: info.map_err(|_| corrupt("an agent's info"))?.unwrap_or_default(),
                    last_seen_seconds: row.last_seen_seconds,
                    leases: row.leases.0,
                    rejected: row.rejected.0,
                    quarantined: row.quarantined,
                })
            })
            .collect()
    }
}
