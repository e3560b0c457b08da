//! Agents as this replica has seen them, so that a request of a known agent writes nothing.
//!
//! The first claim of an agent, and one that says something new, is written before it is served. After that its
//! requests are only remembered, and the time of the last is written every few seconds together with those of
//! all others. A replica that dies loses that much of the time, which decides nothing sooner than
//! [`crate::store::Rules::live`].
//!
//! An agent with a session says what it is when it opens it. Its claims name the session, which a replica compares
//! with what it remembers. One that it does not know it reads once; that another replica has opened a newer one it
//! learns with the next write of the times.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use rollmill_broker_client::{AgentId, Capability, ClaimRequest, SessionId, SizeClass};

use crate::error::BrokerError;
use crate::lanes::Lanes;
use crate::store::tokens::Bearer;
use crate::store::{Arrival, OpenedSession, Opening, Rules, Sighting, Store, Tenant};

/// Most agents that a replica remembers. Requests of others are written one by one.
const AGENTS_MAX: usize = 20_000;
/// Agents in one statement.
const BATCH: usize = 1000;

/// What an agent said about itself, and with which token.
#[derive(Clone, Debug, PartialEq)]
struct Description {
    token: String,
    capabilities: Vec<Capability>,
    class: SizeClass,
    info: serde_json::Value,
}

#[derive(Debug)]
struct Known {
    /// As it was last written; absent while it must be written again.
    written: Option<Description>,
    /// Absent while it must be read again.
    session: Option<SessionId>,
    seen: Instant,
    is_dirty: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    agents: Mutex<HashMap<(Tenant, AgentId), Known>>,
}

impl Sightings {
    /// Lets an agent ask for work, as [`Store::admit`] does. `request` has the identity that the token gives. The
    /// quarantine of a known agent is found with the next write of its time; until then `claim.sql` keeps it from a
    /// job.
    pub(crate) async fn admit(
        &self,
        lanes: &Lanes,
        store: &Store,
        bearer: &Bearer,
        request: &ClaimRequest,
    ) -> Result<(), BrokerError> {
        match &request.session {
            Some(session) => self.admit_session(store, bearer, &request.agent, session).await,
            None => self.admit_described(lanes, bearer, request).await,
        }
    }

    async fn admit_session(
        &self,
        store: &Store,
        bearer: &Bearer,
        agent: &AgentId,
        session: &SessionId,
    ) -> Result<(), BrokerError> {
        let key = (bearer.tenant.clone(), agent.clone());
        if let Some(known) = self.agents.lock().get_mut(&key)
            && known.session.as_ref() == Some(session)
        {
            (known.seen, known.is_dirty) = (Instant::now(), true);
            return Ok(());
        }
        if !store.is_session(&bearer.tenant, agent, session).await? {
            return Err(BrokerError::UnknownSession { agent: agent.clone() });
        }
        self.remember(key, None, Some(session.clone()), true);
        Ok(())
    }

    async fn admit_described(
        &self,
        lanes: &Lanes,
        bearer: &Bearer,
        request: &ClaimRequest,
    ) -> Result<(), BrokerError> {
        let key = (bearer.tenant.clone(), request.agent.clone());
        let said = Description {
            token: bearer.label.clone(),
            capabilities: request.capabilities.clone(),
            class: request.class,
            info: request.info.clone(),
        };
        if let Some(known) = self.agents.lock().get_mut(&key)
            && known.written.as_ref() == Some(&said)
        {
            (known.seen, known.is_dirty) = (Instant::now(), true);
            return Ok(());
        }
        let (tenant, token) = (bearer.tenant.clone(), bearer.label.clone());
        if lanes.sight(Arrival { tenant, token, request: request.clone() }).await? {
            self.agents.lock().remove(&key);
            return Err(BrokerError::Quarantined { agent: request.agent.clone() });
        }
        self.remember(key, Some(said), None, false);
        Ok(())
    }

    /// Opens an agent's session, as [`Store::open_session`] does.
    pub(crate) async fn open(
        &self,
        store: &Store,
        opening: &Opening,
    ) -> Result<OpenedSession, BrokerError> {
        let opened = store.open_session(opening).await?;
        let key = (opening.arrival.tenant.clone(), opening.arrival.request.agent.clone());
        self.remember(key, None, Some(opening.session.clone()), false);
        Ok(opened)
    }

    fn remember(
        &self,
        key: (Tenant, AgentId),
        written: Option<Description>,
        session: Option<SessionId>,
        is_dirty: bool,
    ) {
        let mut agents = self.agents.lock();
        if agents.len() < AGENTS_MAX || agents.contains_key(&key) {
            let known = Known { written, session, seen: Instant::now(), is_dirty };
            agents.insert(key, known);
        }
    }

    /// An agent is alive.
    pub(crate) fn touch(&self, tenant: &Tenant, agent: &AgentId) {
        let key = (tenant.clone(), agent.clone());
        if let Some(known) = self.agents.lock().get_mut(&key) {
            (known.seen, known.is_dirty) = (Instant::now(), true);
            return;
        }
        // It asked another replica for work.
        self.remember(key, None, None, true);
    }

    /// The share of the agents that this replica may remember that it does.
    pub(crate) fn fill(&self) -> f64 {
        self.agents.lock().len() as f64 / AGENTS_MAX as f64
    }

    /// Every agent must be written or read again before its next claim is served: one of them may be in quarantine.
    pub(crate) fn doubt(&self) {
        for known in self.agents.lock().values_mut() {
            (known.written, known.session) = (None, None);
        }
    }

    /// Writes the times of agents that were seen since the last write, and forgets those that are gone.
    pub(crate) async fn write(&self, store: &Store, rules: &Rules) -> Result<(), BrokerError> {
        let dirty: Vec<(Tenant, AgentId)> = {
            let mut agents = self.agents.lock();
            agents.retain(|_, known| known.seen.elapsed() < rules.live);
            let dirty = agents.iter_mut().filter(|(_, known)| known.is_dirty);
            dirty
                .map(|(key, known)| {
                    known.is_dirty = false;
                    key.clone()
                })
                .collect()
        };
        for batch in dirty.chunks(BATCH) {
            let seen = store.seen_many(batch).await;
            let seen = seen.inspect_err(|_| {
                let mut agents = self.agents.lock();
                for key in batch {
                    if let Some(known) = agents.get_mut(key) {
                        known.is_dirty = true;
                    }
                }
            })?;
            let mut agents = self.agents.lock();
            for Sighting { tenant, agent, quarantined, session } in seen {
                let Some(known) = agents.get_mut(&(tenant, agent)) else { continue };
                if quarantined {
                    known.written = None;
                }
                // Another replica has opened a newer one.
                if quarantined || known.session != session {
                    known.session = None;
                }
            }
        }
        Ok(())
    }
}
