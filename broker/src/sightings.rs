//! Agents as this replica has seen them, so that a request of a known agent writes nothing.
//!
//! The first claim of an agent, and one that says something new, is written before it is served. After that its
//! requests are only remembered, and the time of the last is written every few seconds together with those of
//! all others. A replica that dies loses that much of the time, which decides nothing sooner than
//! [`crate::store::Rules::live`].

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use rollmill_broker_client::{AgentId, Capability, ClaimRequest, SizeClass};

use crate::error::BrokerError;
use crate::lanes::Lanes;
use crate::store::{Rules, Sighting, Store, Tenant};

/// Most agents that a replica remembers. Requests of others are written one by one.
const AGENTS_MAX: usize = 20_000;
/// Agents in one statement.
const BATCH: usize = 1000;

/// What an agent said about itself.
#[derive(Clone, Debug, PartialEq)]
struct Description {
    capabilities: Vec<Capability>,
    class: SizeClass,
    info: serde_json::Value,
}

#[derive(Debug)]
struct Known {
    /// As it was last written; absent while it must be written again.
    written: Option<Description>,
    seen: Instant,
    is_dirty: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    agents: Mutex<HashMap<(Tenant, AgentId), Known>>,
}

impl Sightings {
    /// Lets an agent ask for work, as [`Store::admit`] does. The quarantine of a known agent is found with the
    /// next write of its time; until then `claim.sql` keeps it from a job.
    pub(crate) async fn admit(
        &self,
        lanes: &Lanes,
        tenant: &Tenant,
        request: &ClaimRequest,
    ) -> Result<(), BrokerError> {
        let key = (tenant.clone(), request.agent.clone());
        let said = Description {
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
        if lanes.sight(tenant, request).await? {
            self.agents.lock().remove(&key);
            return Err(BrokerError::Quarantined { agent: request.agent.clone() });
        }
        let mut agents = self.agents.lock();
        if agents.len() < AGENTS_MAX || agents.contains_key(&key) {
            let known = Known { written: Some(said), seen: Instant::now(), is_dirty: false };
            agents.insert(key, known);
        }
        Ok(())
    }

    /// An agent is alive.
    pub(crate) fn touch(&self, tenant: &Tenant, agent: &AgentId) {
        let mut agents = self.agents.lock();
        let key = (tenant.clone(), agent.clone());
        let is_full = agents.len() >= AGENTS_MAX;
        match agents.get_mut(&key) {
            Some(known) => (known.seen, known.is_dirty) = (Instant::now(), true),
            // It asked another replica for work.
            None if !is_full => {
                let known = Known { written: None, seen: Instant::now(), is_dirty: true };
                agents.insert(key, known);
            }
            None => {}
        }
    }

    /// Every agent must be written again before its next claim is served: one of them may be in quarantine.
    pub(crate) fn doubt(&self) {
        for known in self.agents.lock().values_mut() {
            known.written = None;
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
            for Sighting { tenant, agent, quarantined } in seen {
                if quarantined && let Some(known) = agents.get_mut(&(tenant, agent)) {
                    known.written = None;
                }
            }
        }
        Ok(())
    }
}
