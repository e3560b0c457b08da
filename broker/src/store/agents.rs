//! Agents as the broker remembers them: what they are, their sessions, and what is held against them.

use std::collections::HashSet;

use rollmill_broker_client::{
    AgentId, AgentView, AttemptOutcome, ClaimRequest, Installation, Role, SessionId,
};
use sqlx::PgConnection;

use super::audit::By;
use super::sql::{
    AgentAbilities, AgentAdmit, AgentCharge, AgentDrain, AgentDraining, AgentPardon, AgentSeen,
    Agents, AgentsBusy, AgentsDraining, DeviceAgents, DeviceCharge, DrainRow, SessionOf,
    SessionOpen, SessionReturn, SessionRow, Sessions, Statement, TokenCharge,
};
use super::{Store, Tenant, corrupt};
use crate::ability::Ability;
use crate::error::BrokerError;

/// Most agents that are read as those that were asked to leave. For others `claim.sql` alone keeps jobs from them.
const DRAINING_MAX: i64 = 20_000;

/// How long an agent that starts waits for a job that is locked: then it asks again.
const RETURN_WAIT: &str = "SET LOCAL lock_timeout = '2s'";

/// An agent that asks for work, under the identity that its token gives it.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub tenant: Tenant,
    /// Label of its token.
    pub token: String,
    pub request: ClaimRequest,
}

impl Arrival {
    /// Longest identity of a device that counts.
    const DEVICE_MAX: usize = 100;

    /// The device that the agent names in what it says about itself.
    pub(crate) fn device(request: &ClaimRequest) -> Option<&str> {
        let device = request.info.get("device")?.get("uuid")?.as_str()?;
        let is_plain = !device.is_empty()
            && device.len() <= Self::DEVICE_MAX
            && device.bytes().all(|b| b.is_ascii_graphic());
        is_plain.then_some(device)
    }
}

/// A session to open.
#[derive(Clone, Debug)]
pub struct Opening {
    /// With what the agent says about itself.
    pub arrival: Arrival,
    pub session: SessionId,
    pub installation: Installation,
    /// The session that the process had.
    pub replaces: Option<SessionId>,
}

/// A session that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// Leases of the session before that were returned.
    pub returned: u64,
    /// Two live agents have this installation.
    pub is_shared: bool,
}

/// What a rejected result led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blame {
    pub(crate) quarantined: bool,
    /// Label of the token that this suspended.
    pub(crate) suspended: Option<String>,
}

impl Store {
    /// Records that an agent asks for work and what it can do; rejects it when quarantined.
    pub async fn admit(&self, tenant: &Tenant, request: &ClaimRequest) -> Result<(), BrokerError> {
        let mut connection = self.pool.acquire().await?;
        Self::admit_in(&mut connection, tenant, None, request).await
    }

    async fn admit_in(
        connection: &mut PgConnection,
        tenant: &Tenant,
        token: Option<&str>,
        request: &ClaimRequest,
    ) -> Result<(), BrokerError> {
        let ClaimRequest { agent, info, class, capabilities, .. } = request;
        let able = capabilities.iter().map(|c| format!("{}/{}", c.kind, c.version)).collect();
        let device = Arrival::device(request);
        let info = info.to_string();
        let admit = AgentAdmit { tenant, agent, info, size: *class, able, token, device };
        if admit.one(connection).await?.quarantined {
            return Err(BrokerError::Quarantined { agent: agent.clone() });
        }
        Ok(())
    }

    /// Opens an agent's session, and ends the one that its installation had: see `sql/session_return.sql` and
    /// `sql/session_open.sql`.
    pub async fn open_session(&self, opening: &Opening) -> Result<OpenedSession, BrokerError> {
        let Opening { arrival, session, installation, replaces } = opening;
        let (tenant, agent) = (&arrival.tenant, &arrival.request.agent);
        let live = self.rules.live;
        let open = || {
            let fresh = replaces.is_none();
            SessionOpen { tenant, agent, session, installation, live, fresh }
        };
        let token = Some(arrival.token.as_str());
        let mut tx = self.pool.begin().await?;
        sqlx::raw_sql(RETURN_WAIT).execute(&mut *tx).await?;
        let outcome = AttemptOutcome::Released;
        let ended = SessionReturn { tenant, agent, installation, live, outcome };
        let returned = ended.one(&mut *tx).await?.count.0;
        let mut found = open().optional(&mut *tx).await?;
        if found.as_ref().is_some_and(|row| !row.free) {
            return Err(BrokerError::IdentityTaken { agent: agent.clone() });
        }
        Self::admit_in(&mut tx, tenant, token, &arrival.request).await?;
        if found.is_none() {
            // Its row is there now. Another process of the identity may have been quicker.
            found = open().optional(&mut *tx).await?;
        }
        let row = found.filter(|row| row.free && row.opened.0 == 1);
        let row = row.ok_or_else(|| BrokerError::IdentityTaken { agent: agent.clone() })?;
        tx.commit().await?;
        let is_shared = row.live
            && row.installation.as_ref().is_some_and(|before| before.0 == *installation)
            && is_anothers(&row, replaces.as_ref());
        Ok(OpenedSession { returned, is_shared })
    }

    /// Whether this is the session that an agent opened last. Rejects an agent in quarantine.
    pub async fn is_session(
        &self,
        tenant: &Tenant,
        agent: &AgentId,
        session: &SessionId,
    ) -> Result<bool, BrokerError> {
        let found = SessionOf { tenant, agent }.optional(&self.pool).await?;
        let Some(found) = found else { return Ok(false) };
        if found.quarantined {
            return Err(BrokerError::Quarantined { agent: agent.clone() });
        }
        Ok(found.session.is_some_and(|present| present.0 == *session))
    }

    /// Records that an agent is alive.
    pub async fn seen(&self, tenant: &Tenant, agent: &AgentId) -> Result<(), BrokerError> {
        AgentSeen { tenant, agent }.run(&self.pool).await.map(drop)
    }

    /// Charges a wrong proof to an agent, to its device and to its token, each of which has its own limit.
    pub(super) async fn charge(
        &self,
        tx: &mut PgConnection,
        tenant: &Tenant,
        agent: &AgentId,
    ) -> Result<Blame, BrokerError> {
        let rejections_max = i32::try_from(self.rules.rejections_max).unwrap_or(i32::MAX);
        let charged = AgentCharge { tenant, agent, rejections_max }.one(&mut *tx).await?;
        let mut blame = Blame { quarantined: charged.quarantined, suspended: None };
        if let Some(device) = charged.device.as_deref() {
            let charge = DeviceCharge { tenant, device, rejections_max };
            if charge.one(&mut *tx).await?.quarantined {
                DeviceAgents { tenant, device }.run(&mut *tx).await?;
                blame.quarantined = true;
            }
        }
        if let Some(label) = charged.token {
            let rejections_max = i32::try_from(self.rules.token_rejections_max).unwrap_or(i32::MAX);
            let charge = TokenCharge { label: &label, role: Role::Agent, rejections_max, tenant };
            if charge.optional(&mut *tx).await?.is_some_and(|row| row.suspended) {
                By::from(tenant).record(tx, "suspend token", &label).await?;
                blame.suspended = Some(label);
            }
        }
        Ok(blame)
    }

    /// Ends a quarantine and clears what led to it, for the agent's device too.
    pub async fn pardon<'a>(
        &self,
        by: impl Into<By<'a>>,
        agent: &AgentId,
    ) -> Result<u64, BrokerError> {
        let by = by.into();
        let mut tx = self.pool.begin().await?;
        let pardoned = AgentPardon { tenant: by.tenant, agent }.all(&mut *tx).await?;
        for name in &pardoned {
            by.record(&mut tx, "pardon", name.id.0.as_str()).await?;
        }
        tx.commit().await?;
        Ok(pardoned.len() as u64)
    }

    /// Asks an agent to leave, or takes that back with `undo`. Returns whether the agent is known.
    pub async fn drain<'a>(
        &self,
        by: impl Into<By<'a>>,
        agent: &AgentId,
        undo: bool,
    ) -> Result<bool, BrokerError> {
        let by = by.into();
        let mut tx = self.pool.begin().await?;
        let asks = (!undo).then_some(by.label);
        let asked = AgentDrain { tenant: by.tenant, agent, by: asks }.optional(&mut *tx).await?;
        let Some(DrainRow { changed }) = asked else { return Ok(false) };
        if changed {
            let action = if undo { "undo drain" } else { "drain" };
            by.record(&mut tx, action, agent.as_str()).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Who asked an agent to leave.
    pub async fn draining_by(
        &self,
        tenant: &Tenant,
        agent: &AgentId,
    ) -> Result<Option<String>, BrokerError> {
        let found = AgentDraining { tenant, agent }.optional(&self.pool).await?;
        Ok(found.and_then(|row| row.draining_by))
    }

    /// The agents that were asked to leave, of every tenant, and whether each is live still.
    pub(crate) async fn draining(&self) -> Result<Vec<(Tenant, AgentId, bool)>, BrokerError> {
        let draining = AgentsDraining { live: self.rules.live, most: DRAINING_MAX };
        let rows = draining.all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (Tenant(row.tenant), row.id.0, row.live)).collect())
    }

    /// What the agents seen within a day can do, of every tenant, without those in quarantine and those that were asked to
    /// leave.
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

    /// Who holds a lease, of every tenant.
    pub async fn busy_agents(&self) -> Result<HashSet<(Tenant, AgentId)>, BrokerError> {
        let rows = AgentsBusy {}.all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (Tenant(row.tenant), row.agent.0)).collect())
    }

    /// How many agents with a session were seen lately, of every tenant.
    pub async fn count_sessions(&self) -> Result<u64, BrokerError> {
        Ok(Sessions { live: self.rules.live }.one(&self.pool).await?.count.0)
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
                    draining_by: row.draining_by,
                })
            })
            .collect()
    }
}

/// Whether the session found is neither none nor the one that the process had: two processes have one installation.
fn is_anothers(row: &SessionRow, had: Option<&SessionId>) -> bool {
    match (&row.session, had) {
        (Some(found), Some(had)) => found.0 != *had,
        _ => false,
    }
}
