//! Hands ready jobs to the agents that wait for them.
//!
//! Agents wait in memory, in the order they came. One loop peeks at the heads of their queues,
//! matches in memory (oldest epoch first, then highest rank, so that a root never waits behind
//! leaves), and leases the matches in one statement. So the database sees one claimer per
//! broker, however many agents wait.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{
    AgentId, Capability, ClaimRequest, Grant, LeaseRef, ReleaseRequest, SizeClass,
};
use tokio::sync::oneshot;

use crate::error::BrokerError;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::store::{Candidate, Granted, Match, Store, Tenant};

/// Most agents that may wait at one replica.
const WAITING_MAX: usize = 10_000;
/// Jobs peeked at beyond one per agent: some may be excluded, some taken by another replica.
const PEEK_SPARE: usize = 16;

/// An agent that waits, as far as matching needs it.
#[derive(Clone, Debug)]
pub(crate) struct WaitingAgent {
    pub(crate) ticket: u64,
    pub(crate) tenant: Tenant,
    pub(crate) id: AgentId,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) class: SizeClass,
    since: Instant,
}

#[derive(Debug)]
struct Waiter {
    agent: WaitingAgent,
    reply: oneshot::Sender<Grant>,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    waiting: VecDeque<Waiter>,
}

/// The agents that wait at this replica.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    queue: Mutex<Queue>,
    metrics: Metrics,
}

impl Dispatcher {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { queue: Mutex::default(), metrics }
    }

    /// Waits for a job. Dropping the future releases the place, or the job already granted.
    pub(crate) async fn wait(
        &self,
        store: &Store,
        hub: &Hub,
        tenant: &Tenant,
        request: &ClaimRequest,
        limit: impl Future<Output = ()>,
    ) -> Result<Option<Grant>, BrokerError> {
        let (reply, answer) = oneshot::channel();
        let ticket = {
            let mut queue = self.lock();
            if queue.waiting.len() >= WAITING_MAX {
                return Err(BrokerError::Overloaded);
            }
            queue.next_ticket += 1;
            let agent = WaitingAgent {
                ticket: queue.next_ticket,
                tenant: tenant.clone(),
                id: request.agent.clone(),
                capabilities: request.capabilities.clone(),
                class: request.class,
                since: Instant::now(),
            };
            queue.waiting.push_back(Waiter { agent, reply });
            queue.next_ticket
        };
        self.metrics.waiting_agents.inc();
        let mut place = Place {
            dispatcher: self,
            store: store.clone(),
            tenant: tenant.clone(),
            agent: request.agent.clone(),
            ticket,
            answer: Some(answer),
        };
        hub.ready.notify_one();
        if let Some(answer) = place.answer.as_mut() {
            tokio::select! {
                biased;
                granted = answer => {
                    place.answer = None;
                    return Ok(granted.ok());
                }
                () = limit => {}
            }
        }
        Ok(place.leave())
    }

    /// Grants ready jobs, until nothing more matches.
    pub(crate) async fn round(&self, store: &Store) -> Result<(), BrokerError> {
        loop {
            let waiting: Vec<WaitingAgent> =
                self.lock().waiting.iter().map(|waiter| waiter.agent.clone()).collect();
            let mut tenants: Vec<&Tenant> = Vec::new();
            for agent in &waiting {
                if !tenants.contains(&&agent.tenant) {
                    tenants.push(&agent.tenant);
                }
            }
            let mut granted = 0;
            for tenant in tenants {
                let agents: Vec<&WaitingAgent> =
                    waiting.iter().filter(|agent| agent.tenant == *tenant).collect();
                granted += self.grant(store, tenant, &agents).await?;
            }
            // Retry agents that lost the race to another replica.
            if granted == 0 {
                return Ok(());
            }
        }
    }

    async fn grant(
        &self,
        store: &Store,
        tenant: &Tenant,
        agents: &[&WaitingAgent],
    ) -> Result<usize, BrokerError> {
        let start = Instant::now();
        let candidates =
            store.peek(tenant, &combinations(agents), agents.len() + PEEK_SPARE).await?;
        let matches = match_jobs(candidates, agents);
        if matches.is_empty() {
            return Ok(0);
        }
        let chosen: Vec<Match> = matches
            .iter()
            .map(|(seq, agent)| Match { seq: *seq, agent: agent.id.clone() })
            .collect();
        let grants = store.claim(&chosen).await?;
        self.metrics.claim_seconds.observe(start.elapsed().as_secs_f64());
        let by_seq: HashMap<i64, &WaitingAgent> = matches.into_iter().collect();
        let count = grants.len();
        for granted in grants {
            let waiting = by_seq.get(&granted.seq);
            self.deliver(store, tenant, waiting.copied(), granted).await?;
        }
        // Nothing granted although there were matches: another replica took them all. Its NOTIFY or
        // the poll brings this one back.
        Ok(count)
    }

    async fn deliver(
        &self,
        store: &Store,
        tenant: &Tenant,
        waiting: Option<&WaitingAgent>,
        granted: Granted,
    ) -> Result<(), BrokerError> {
        let Granted { grant, agent, waited_seconds, .. } = granted;
        let reply = waiting.and_then(|waiting| self.remove(waiting.ticket));
        let kind = grant.job.kind().to_owned();
        let unsent = match reply {
            Some(reply) => reply.send(grant).err(),
            None => Some(grant),
        };
        let Some(grant) = unsent else {
            let waited_agent = waiting.map_or(0.0, |waiting| waiting.since.elapsed().as_secs_f64());
            self.metrics.dispatch_seconds.observe(waited_seconds.min(waited_agent));
            self.metrics.queue_wait_seconds.with_label_values(&[&kind]).observe(waited_seconds);
            self.metrics.claims_total.with_label_values(&[&kind]).inc();
            return Ok(());
        };
        // The agent disconnected between the match and the grant.
        let lease = LeaseRef { job: grant.job, lease_epoch: grant.lease_epoch };
        store.release(tenant, &ReleaseRequest { agent, lease }).await
    }

    fn remove(&self, ticket: u64) -> Option<oneshot::Sender<Grant>> {
        let mut queue = self.lock();
        let place = queue.waiting.iter().position(|waiter| waiter.agent.ticket == ticket)?;
        let waiter = queue.waiting.remove(place)?;
        self.metrics.waiting_agents.dec();
        Some(waiter.reply)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}

/// A place in the queue, released when its agent disconnects.
struct Place<'a> {
    dispatcher: &'a Dispatcher,
    store: Store,
    tenant: Tenant,
    agent: AgentId,
    ticket: u64,
    answer: Option<oneshot::Receiver<Grant>>,
}

impl Place<'_> {
    /// Leaves the queue; returns the grant that was sent just before, if one was.
    fn leave(&mut self) -> Option<Grant> {
        let mut answer = self.answer.take()?;
        self.dispatcher.remove(self.ticket);
        answer.try_recv().ok()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(grant) = self.leave() else { return };
        let (store, tenant, agent) = (self.store.clone(), self.tenant.clone(), self.agent.clone());
        tokio::spawn(async move {
            let lease = LeaseRef { job: grant.job, lease_epoch: grant.lease_epoch };
            // If this fails, the lease expires.
            let _ = store.release(&tenant, &ReleaseRequest { agent, lease }).await;
        });
    }
}

fn combinations(agents: &[&WaitingAgent]) -> Vec<(Capability, SizeClass)> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for agent in agents {
        for capability in &agent.capabilities {
            for class in agent.class.holds() {
                if seen.insert((&capability.kind, &capability.version, class)) {
                    out.push((capability.clone(), class));
                }
            }
        }
    }
    out
}

/// Pairs jobs with agents: each job, best first, goes to the agent that has waited longest of those
/// that can do it.
fn match_jobs<'a>(
    mut jobs: Vec<Candidate>,
    agents: &[&'a WaitingAgent],
) -> Vec<(i64, &'a WaitingAgent)> {
    jobs.sort_by_key(|job| (job.epoch, std::cmp::Reverse(job.rank), job.seq));
    let mut free: Vec<&WaitingAgent> = agents.to_vec();
    let mut matches = Vec::new();
    for job in jobs {
        if free.is_empty() {
            break;
        }
        let fits = |agent: &&WaitingAgent| {
            agent.class >= job.class
                && !job.excluded.iter().any(|excluded| excluded == agent.id.as_str())
                && agent
                    .capabilities
                    .iter()
                    .any(|c| c.kind.as_str() == job.kind && c.version.as_str() == job.version)
        };
        if let Some(place) = free.iter().position(fits) {
            matches.push((job.seq, free.remove(place)));
        }
    }
    matches
}

/// How long the dispatcher sleeps when nothing wakes it: the fallback for a lost notification.
pub(crate) const POLL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(ticket: u64, kinds: &[&str], class: u8) -> WaitingAgent {
        WaitingAgent {
            ticket,
            tenant: Tenant::default(),
            id: format!("agent-{ticket}").parse().unwrap(),
            capabilities: kinds
                .iter()
                .map(|kind| Capability {
                    kind: kind.parse().unwrap(),
                    version: "v1".parse().unwrap(),
                })
                .collect(),
            class: SizeClass::new(class).unwrap(),
            since: Instant::now(),
        }
    }

    fn job(seq: i64, kind: &str, epoch: i64, rank: i64) -> Candidate {
        Candidate {
            seq,
            kind: kind.into(),
            version: "v1".into(),
            class: SizeClass::SMALLEST,
            epoch,
            rank,
            excluded: vec![],
        }
    }

    fn pairs(jobs: Vec<Candidate>, agents: &[WaitingAgent]) -> Vec<(i64, u64)> {
        let agents: Vec<&WaitingAgent> = agents.iter().collect();
        match_jobs(jobs, &agents).into_iter().map(|(seq, agent)| (seq, agent.ticket)).collect()
    }

    #[test]
    fn the_oldest_epoch_goes_first_and_then_the_highest_rank() {
        let jobs = vec![job(1, "leaf", 8, 9), job(2, "leaf", 7, 1), job(3, "root", 7, 5)];
        let all = [waiting(1, &["leaf", "root"], 0), waiting(2, &["leaf", "root"], 0)];
        assert_eq!(pairs(jobs, &all), [(3, 1), (2, 2)]);
    }

    #[test]
    fn a_job_passes_over_agents_that_cannot_do_it() {
        let mut heavy = job(1, "root", 7, 5);
        heavy.class = SizeClass::new(1).unwrap();
        let mut excluding = job(2, "leaf", 7, 4);
        excluding.excluded = vec!["agent-1".into()];
        let all =
            [waiting(1, &["leaf", "root"], 0), waiting(2, &["leaf"], 0), waiting(3, &["root"], 1)];
        assert_eq!(pairs(vec![heavy, excluding], &all), [(1, 3), (2, 2)]);
    }

    #[test]
    fn each_agent_gets_one_job() {
        let jobs = vec![job(1, "leaf", 7, 1), job(2, "leaf", 7, 1)];
        assert_eq!(pairs(jobs, &[waiting(1, &["leaf"], 0)]), [(1, 1)]);
    }
}
