//! Hands ready jobs to the agents that wait for them.
//!
//! Agents wait in memory, in the order they came. One loop peeks at the heads of their queues,
//! matches in memory (oldest epoch first, then highest rank, so that a root never waits behind
//! leaves), and leases the matches in one statement. So the database sees one claimer per
//! broker, however many agents wait.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{
    AgentId, Capability, ClaimRequest, Grant, LeaseRef, ReleaseRequest, SizeClass,
};
use tokio::sync::{oneshot, watch};

use crate::error::BrokerError;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::store::{Candidate, Granted, Match, Store, Tenant};

/// Most agents that may wait at one replica.
const WAITING_MAX: usize = 10_000;
/// Jobs peeked at beyond one per agent: some may be excluded, some taken by another replica.
const PEEK_SPARE: usize = 16;
/// Most jobs that one peek reads of a type and class.
const PEEK_MAX: usize = 500;
/// How long a claim whose time is over waits for its first round.
const ROUND_WAIT: Duration = Duration::from_secs(2);
/// Different abilities that are remembered while no agent has them.
const ABILITIES_KEPT_MAX: usize = 1024;

/// What an agent can do. Agents that can do the same share one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Ability {
    capabilities: Vec<Capability>,
    class: SizeClass,
}

impl Ability {
    fn fits(&self, job: &Candidate) -> bool {
        let is_of =
            |c: &Capability| c.kind.as_str() == job.kind && c.version.as_str() == job.version;
        self.class >= job.class && self.capabilities.iter().any(is_of)
    }
}

/// An agent that waits, as far as matching needs it.
#[derive(Debug)]
struct WaitingAgent {
    ticket: u64,
    tenant: Tenant,
    id: AgentId,
    ability: Arc<Ability>,
    since: Instant,
}

#[derive(Debug)]
struct Waiter {
    agent: Arc<WaitingAgent>,
    reply: oneshot::Sender<Grant>,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    /// By ticket, so in the order they came.
    waiting: BTreeMap<u64, Waiter>,
    abilities: HashMap<Arc<Ability>, ()>,
}

impl Queue {
    fn ability(&mut self, request: &ClaimRequest) -> Arc<Ability> {
        let (capabilities, class) = (request.capabilities.clone(), request.class);
        let ability = Arc::new(Ability { capabilities, class });
        if let Some((known, ())) = self.abilities.get_key_value(&ability) {
            return Arc::clone(known);
        }
        if self.abilities.len() >= ABILITIES_KEPT_MAX {
            self.abilities.retain(|known, ()| Arc::strong_count(known) > 1);
        }
        self.abilities.insert(Arc::clone(&ability), ());
        ability
    }
}

/// The agents that wait at this replica.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    queue: Mutex<Queue>,
    /// The last ticket that a round has looked at.
    served: watch::Sender<u64>,
    metrics: Metrics,
}

impl Dispatcher {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { queue: Mutex::default(), served: watch::Sender::new(0), metrics }
    }

    /// Waits for a job, at least until a round has looked for one: so a claim that does not wait gets what is
    /// there. Dropping the future releases the place, or the job already granted.
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
            let ticket = queue.next_ticket;
            let agent = Arc::new(WaitingAgent {
                ticket,
                tenant: tenant.clone(),
                id: request.agent.clone(),
                ability: queue.ability(request),
                since: Instant::now(),
            });
            queue.waiting.insert(ticket, Waiter { agent, reply });
            ticket
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
        let mut served = self.served.subscribe();
        let limit = async {
            limit.await;
            // Where rounds fail or have ended, the agent comes again.
            let _ = tokio::time::timeout(ROUND_WAIT, served.wait_for(|last| *last >= ticket)).await;
        };
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
        let last = self.lock().next_ticket;
        let done = self.grant_all(store).await;
        self.served.send_replace(last);
        done
    }

    /// No more rounds follow.
    pub(crate) fn end(&self) {
        self.served.send_replace(u64::MAX);
    }

    async fn grant_all(&self, store: &Store) -> Result<(), BrokerError> {
        loop {
            let mut tenants: Vec<(Tenant, Vec<Arc<WaitingAgent>>)> = Vec::new();
            for Waiter { agent, .. } in self.lock().waiting.values() {
                match tenants.iter_mut().find(|(tenant, _)| *tenant == agent.tenant) {
                    Some((_, agents)) => agents.push(Arc::clone(agent)),
                    None => tenants.push((agent.tenant.clone(), vec![Arc::clone(agent)])),
                }
            }
            let mut again = false;
            for (tenant, agents) in tenants {
                again |= self.grant(store, &tenant, &agents).await?;
            }
            if !again {
                return Ok(());
            }
        }
    }

    /// Grants a tenant's jobs; returns whether there may be more for these agents.
    async fn grant(
        &self,
        store: &Store,
        tenant: &Tenant,
        agents: &[Arc<WaitingAgent>],
    ) -> Result<bool, BrokerError> {
        let start = Instant::now();
        let most = (agents.len() + PEEK_SPARE).min(PEEK_MAX);
        let candidates = store.peek(tenant, &combinations(agents), most).await?;
        let peeked_all = candidates.len() < most;
        let matches = match_jobs(candidates, agents);
        if matches.is_empty() {
            return Ok(false);
        }
        let chosen: Vec<Match> = matches
            .iter()
            .map(|(seq, agent)| Match { seq: *seq, agent: agent.id.clone() })
            .collect();
        let grants = store.claim(&chosen).await?;
        self.metrics.claim_seconds.observe(start.elapsed().as_secs_f64());
        let by_seq: HashMap<i64, &Arc<WaitingAgent>> = matches.into_iter().collect();
        let (count, wanted) = (grants.len(), by_seq.len());
        for granted in grants {
            let waiting = by_seq.get(&granted.seq);
            self.deliver(store, tenant, waiting.map(|agent| &***agent), granted).await?;
        }
        // Where another replica took jobs, agents may get the next ones; where it took them all, its NOTIFY or
        // the poll brings this one back.
        let lost_some = count > 0 && count < wanted;
        Ok(lost_some || (count > 0 && !peeked_all && wanted < agents.len()))
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
        let waiter = queue.waiting.remove(&ticket)?;
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

/// The agents of each ability, in the order they came.
fn by_ability(agents: &[Arc<WaitingAgent>]) -> Vec<(&Ability, VecDeque<&Arc<WaitingAgent>>)> {
    let mut places: HashMap<*const Ability, usize> = HashMap::new();
    let mut all: Vec<(&Ability, VecDeque<&Arc<WaitingAgent>>)> = Vec::new();
    for agent in agents {
        let place = *places.entry(Arc::as_ptr(&agent.ability)).or_insert_with(|| {
            all.push((&agent.ability, VecDeque::new()));
            all.len() - 1
        });
        all[place].1.push_back(agent);
    }
    all
}

fn combinations(agents: &[Arc<WaitingAgent>]) -> Vec<(Capability, SizeClass)> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for (ability, _) in by_ability(agents) {
        for capability in &ability.capabilities {
            for class in ability.class.holds() {
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
fn match_jobs(
    mut jobs: Vec<Candidate>,
    agents: &[Arc<WaitingAgent>],
) -> Vec<(i64, &Arc<WaitingAgent>)> {
    jobs.sort_by_key(|job| (job.epoch, std::cmp::Reverse(job.rank), job.seq));
    let mut free = by_ability(agents);
    let mut matches = Vec::new();
    for job in jobs {
        if matches.len() == agents.len() {
            break;
        }
        let is_excluded = |agent: &&Arc<WaitingAgent>| {
            job.excluded.iter().any(|excluded| excluded == agent.id.as_str())
        };
        let first = free
            .iter()
            .enumerate()
            .filter(|(_, (ability, waiting))| !waiting.is_empty() && ability.fits(&job))
            .filter_map(|(place, (_, waiting))| {
                let within = waiting.iter().position(|agent| !is_excluded(agent))?;
                Some((waiting[within].ticket, place, within))
            })
            .min();
        if let Some((_, place, within)) = first
            && let Some(agent) = free[place].1.remove(within)
        {
            matches.push((job.seq, agent));
        }
    }
    matches
}

/// How long the dispatcher sleeps when nothing wakes it: the fallback for a lost notification.
pub(crate) const POLL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(ticket: u64, kinds: &[&str], class: u8) -> Arc<WaitingAgent> {
        let capabilities = kinds
            .iter()
            .map(|kind| Capability { kind: kind.parse().unwrap(), version: "v1".parse().unwrap() })
            .collect();
        Arc::new(WaitingAgent {
            ticket,
            tenant: Tenant::default(),
            id: format!("agent-{ticket}").parse().unwrap(),
            ability: Arc::new(Ability { capabilities, class: SizeClass::new(class).unwrap() }),
            since: Instant::now(),
        })
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

    fn pairs(jobs: Vec<Candidate>, agents: &[Arc<WaitingAgent>]) -> Vec<(i64, u64)> {
        match_jobs(jobs, agents).into_iter().map(|(seq, agent)| (seq, agent.ticket)).collect()
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
