//! Agents that were asked to leave, as this replica knows them.
//!
//! The row of an agent decides: `claim.sql` leases nothing to one that was asked. What is here saves everybody else a
//! statement for each request, and wakes those that wait. A replica reads the rows once a second; what it is asked
//! itself it knows at once. Whoever is found here is looked up before it is told, since it may have started again, or
//! somebody has taken the request back, at another replica.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rollmill_broker_client::AgentId;
use tokio::sync::watch;

use crate::error::BrokerError;
use crate::store::{Store, Tenant};

/// See the module.
#[derive(Debug)]
pub(crate) struct Drains {
    agents: watch::Sender<HashSet<(Tenant, AgentId)>>,
    /// Those that were added since the last reading began, which may not know them.
    since: Mutex<HashSet<(Tenant, AgentId)>>,
    /// How many of them were live when they were read last.
    live: AtomicUsize,
}

impl Default for Drains {
    fn default() -> Self {
        Self {
            agents: watch::Sender::new(HashSet::new()),
            since: Mutex::default(),
            live: AtomicUsize::new(0),
        }
    }
}

impl Drains {
    /// Reads those of every tenant.
    pub(crate) async fn read(&self, store: &Store) -> Result<(), BrokerError> {
        self.begin();
        let found = store.draining().await?;
        let live = found.iter().filter(|(_, _, is_live)| *is_live).count();
        self.live.store(live, Ordering::Relaxed);
        self.finish(found.into_iter().map(|(tenant, agent, _)| (tenant, agent)).collect());
        Ok(())
    }

    /// A reading begins. Whoever was added before is in its rows: the row comes first.
    fn begin(&self) {
        self.since.lock().clear();
    }

    /// A reading is over, with these rows. What was added meanwhile stays.
    fn finish(&self, mut found: HashSet<(Tenant, AgentId)>) {
        self.agents.send_if_modified(|agents| {
            found.extend(self.since.lock().iter().cloned());
            let is_news = *agents != found;
            if is_news {
                *agents = found;
            }
            is_news
        });
    }

    /// How many that are live were asked to leave, of every tenant.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// An agent was asked to leave here.
    pub(crate) fn add(&self, tenant: &Tenant, agent: &AgentId) {
        let key = (tenant.clone(), agent.clone());
        self.since.lock().insert(key.clone());
        self.agents.send_if_modified(|agents| agents.insert(key));
    }

    /// An agent is free again.
    pub(crate) fn remove(&self, tenant: &Tenant, agent: &AgentId) {
        let key = (tenant.clone(), agent.clone());
        self.agents.send_if_modified(|agents| agents.remove(&key));
    }

    /// Those of a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> HashSet<AgentId> {
        let agents = self.agents.borrow();
        let own = agents.iter().filter(|(of, _)| of == tenant);
        own.map(|(_, agent)| agent.clone()).collect()
    }

    /// Whether an agent was asked to leave, as far as this replica knows.
    pub(crate) fn has(&self, tenant: &Tenant, agent: &AgentId) -> bool {
        let agents = self.agents.borrow();
        !agents.is_empty() && agents.contains(&(tenant.clone(), agent.clone()))
    }

    /// Who asked an agent to leave, by its row. Reads it only where this replica knows that somebody did.
    pub(crate) async fn asked_by(
        &self,
        store: &Store,
        tenant: &Tenant,
        agent: &AgentId,
    ) -> Result<Option<String>, BrokerError> {
        if !self.has(tenant, agent) {
            return Ok(None);
        }
        let by = store.draining_by(tenant, agent).await?;
        if by.is_none() {
            self.remove(tenant, agent);
        }
        Ok(by)
    }

    /// Waits until an agent is asked to leave, as far as this replica knows.
    pub(crate) async fn until(&self, tenant: &Tenant, agent: &AgentId) {
        let key = (tenant.clone(), agent.clone());
        let mut agents = self.agents.subscribe();
        // The sender is this value's own, so that it does not end before.
        let _ = agents.wait_for(|agents| agents.contains(&key)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: who waits is woken by what concerns it, and by nothing else.
    #[tokio::test]
    async fn an_agent_that_waits_is_woken_when_it_is_asked_to_leave() {
        let (drains, tenant) = (Drains::default(), Tenant::default());
        let [a, b]: [AgentId; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        {
            let mut waits = Box::pin(drains.until(&tenant, &a));
            drains.add(&tenant, &b);
            drains.add(&Tenant("other".into()), &a);
            let early = std::future::poll_fn(|context| {
                std::task::Poll::Ready(waits.as_mut().poll(context).is_ready())
            });
            assert!(!early.await);
            drains.add(&tenant, &a);
            waits.await;
        }
        assert_eq!(drains.of(&tenant), HashSet::from([a.clone(), b.clone()]));
        drains.remove(&tenant, &a);
        assert!(!drains.has(&tenant, &a) && drains.has(&tenant, &b));
    }

    /// Fault: an agent is asked to leave while the rows are read, which do not have it yet.
    #[test]
    fn a_reading_that_is_older_than_a_request_does_not_hide_it() {
        let (drains, tenant) = (Drains::default(), Tenant::default());
        let [a, b]: [AgentId; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        drains.begin();
        drains.add(&tenant, &a);
        drains.finish(HashSet::from([(tenant.clone(), b.clone())]));
        assert!(drains.has(&tenant, &a) && drains.has(&tenant, &b));
        drains.begin();
        drains.finish(HashSet::new());
        assert!(!drains.has(&tenant, &a) && !drains.has(&tenant, &b));
    }
}
