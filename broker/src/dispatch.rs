//! Hands ready jobs to the agents that wait for them.
//!
//! Agents wait in memory, in the order they came. One loop peeks at the heads of their queues,
//! matches in memory (oldest epoch first, then highest rank, so that a root never waits behind
//! leaves), and leases the matches in one statement. So the database sees one claimer a broker,
//! however many agents wait.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollmill_broker_client::{AgentId, Capability, ClaimRequest, Grant, LeaseRef, ReleaseRequest};
use tokio::sync::oneshot;

use crate::error::BrokerError;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::store::{Candidate, Granted, Match, Store, Tenant};

/// Most agents that may wait at one replica.
const WAITING_MAX: usize = 10_000;
/// Jobs peeked at beyond one an agent: some may be excluded, some taken by another replica.
const PEEK_SPARE: usize = 16;

/// An agent that waits, as far as matching needs it.
#[derive(Clone, Debug)]
pub(crate) struct Able {
    pub(crate) ticket: u64,
    pub(crate) tenant: Tenant,
    pub(crate) agent: AgentId,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) class: u8,
    since: Instant,
}

#[derive(Debug)]
struct Waiter {
    able: Able,
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

    /// Waits for a job. Dropping the future gives the place, or the job already granted, back.
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
            let able = Able {
                ticket: queue.next_ticket,
                tenant: tenant.clone(),
                agent: request.agent.clone(),
                capabilities: request.capabilities.clone(),
                class: request.class,
                since: Instant::now(),
            };
            queue.waiting.push_back(Waiter { able, reply });
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

    /// Gives out what is ready, until nothing more matches.
    pub(crate) async fn round(&self, store: &Store) -> Result<(), BrokerError> {
        loop {
            let waiting: Vec<Able> =
                self.lock().waiting.iter().map(|waiter| waiter.able.clone()).collect();
            let mut tenants: Vec<&Tenant> = Vec::new();
            for able in &waiting {
                if !tenants.contains(&&able.tenant) {
                    tenants.push(&able.tenant);
                }
            }
            let mut given = 0;
            for tenant in tenants {
                let able: Vec<&Able> =
                    waiting.iter().filter(|able| able.tenant == *tenant).collect();
                given += self.give(store, tenant, &able).await?;
            }
            // Whoever was passed over because another replica was faster gets another look.
            if given == 0 {
                return Ok(());
            }
        }
    }

    async fn give(
        &self,
        store: &Store,
        tenant: &Tenant,
        able: &[&Able],
    ) -> Result<usize, BrokerError> {
        let start = Instant::now();
        let candidates = store.peek(tenant, &combinations(able), able.len() + PEEK_SPARE).await?;
        let matches = match_jobs(candidates, able);
        if matches.is_empty() {
            return Ok(0);
        }
        let wanted: Vec<Match> = matches
            .iter()
            .map(|(seq, able)| Match { seq: *seq, agent: able.agent.clone() })
            .collect();
        let grants = store.claim(&wanted).await?;
        self.metrics.claim_seconds.observe(start.elapsed().as_secs_f64());
        let by_seq: HashMap<i64, &Able> = matches.into_iter().collect();
        let given = grants.len();
        for granted in grants {
            let able = by_seq.get(&granted.seq);
            self.deliver(store, tenant, able.copied(), granted).await?;
        }
        // Nothing granted although there were matches: another replica took them all. Its NOTIFY or
        // the poll brings this one back.
        Ok(given)
    }

    async fn deliver(
        &self,
        store: &Store,
        tenant: &Tenant,
        able: Option<&Able>,
        granted: Granted,
    ) -> Result<(), BrokerError> {
        let Granted { grant, agent, waited_seconds, .. } = granted;
        let reply = able.and_then(|able| self.remove(able.ticket));
        let kind = grant.job.kind().to_owned();
        let unsent = match reply {
            Some(reply) => reply.send(grant).err(),
            None => Some(grant),
        };
        let Some(grant) = unsent else {
            let waited_agent = able.map_or(0.0, |able| able.since.elapsed().as_secs_f64());
            self.metrics.dispatch_seconds.observe(waited_seconds.min(waited_agent));
            self.metrics.queue_wait_seconds.with_label_values(&[&kind]).observe(waited_seconds);
            self.metrics.claims_total.with_label_values(&[&kind]).inc();
            return Ok(());
        };
        // The agent went away between the match and the grant.
        let lease = LeaseRef { job: grant.job, lease_epoch: grant.lease_epoch };
        store.release(tenant, &ReleaseRequest { agent, lease }).await
    }

    fn remove(&self, ticket: u64) -> Option<oneshot::Sender<Grant>> {
        let mut queue = self.lock();
        let place = queue.waiting.iter().position(|waiter| waiter.able.ticket == ticket)?;
        let waiter = queue.waiting.remove(place)?;
        self.metrics.waiting_agents.dec();
        Some(waiter.reply)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code panics while it holds the lock, and a queue is whole after every step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given back when its agent hangs up.
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
            // Failing that, the lease runs out by itself.
            let _ = store.release(&tenant, &ReleaseRequest { agent, lease }).await;
        });
    }
}

fn combinations(able: &[&Able]) -> Vec<(Capability, u8)> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for able in able {
        for capability in &able.capabilities {
            for class in 0..=able.class {
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
fn match_jobs<'a>(mut jobs: Vec<Candidate>, able: &[&'a Able]) -> Vec<(i64, &'a Able)> {
    jobs.sort_by_key(|job| (job.epoch, std::cmp::Reverse(job.rank), job.seq));
    let mut free: Vec<&Able> = able.to_vec();
    let mut matches = Vec::new();
    for job in jobs {
        if free.is_empty() {
            break;
        }
        let fits = |able: &&Able| {
            able.class >= job.class
                && !job.excluded.iter().any(|agent| agent == able.agent.as_str())
                && able
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

    fn able(ticket: u64, kinds: &[&str], class: u8) -> Able {
        Able {
            ticket,
            tenant: Tenant::default(),
            agent: format!("agent-{ticket}").parse().unwrap(),
            capabilities: kinds
                .iter()
                .map(|kind| Capability {
                    kind: kind.parse().unwrap(),
                    version: "v1".parse().unwrap(),
                })
                .collect(),
            class,
            since: Instant::now(),
        }
    }

    fn job(seq: i64, kind: &str, epoch: i64, rank: i64) -> Candidate {
        Candidate {
            seq,
            kind: kind.into(),
            version: "v1".into(),
            class: 0,
            epoch,
            rank,
            excluded: vec![],
        }
    }

    fn pairs(jobs: Vec<Candidate>, able: &[Able]) -> Vec<(i64, u64)> {
        let able: Vec<&Able> = able.iter().collect();
        match_jobs(jobs, &able).into_iter().map(|(seq, able)| (seq, able.ticket)).collect()
    }

    #[test]
    fn the_oldest_epoch_goes_first_and_then_the_highest_rank() {
        let jobs = vec![job(1, "leaf", 8, 9), job(2, "leaf", 7, 1), job(3, "root", 7, 5)];
        let all = [able(1, &["leaf", "root"], 0), able(2, &["leaf", "root"], 0)];
        assert_eq!(pairs(jobs, &all), [(3, 1), (2, 2)]);
    }

    #[test]
    fn a_job_passes_over_agents_that_cannot_do_it() {
        let mut heavy = job(1, "root", 7, 5);
        heavy.class = 1;
        let mut refused = job(2, "leaf", 7, 4);
        refused.excluded = vec!["agent-1".into()];
        let all = [able(1, &["leaf", "root"], 0), able(2, &["leaf"], 0), able(3, &["root"], 1)];
        assert_eq!(pairs(vec![heavy, refused], &all), [(1, 3), (2, 2)]);
    }

    #[test]
    fn each_agent_gets_one_job() {
        let jobs = vec![job(1, "leaf", 7, 1), job(2, "leaf", 7, 1)];
        assert_eq!(pairs(jobs, &[able(1, &["leaf"], 0)]), [(1, 1)]);
    }
}
