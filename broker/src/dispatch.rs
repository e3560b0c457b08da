//! Hands ready jobs to the agents that wait for them.
//!
//! Agents wait in memory, in the order they came. One loop peeks at the heads of their queues, lets the scheduler
//! decide in memory ([`crate::matching`]), and leases the matches in one statement. So the database sees one claimer
//! per broker, however many agents wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{AgentId, ClaimRequest, Grant, LeaseRef, ReleaseRequest};
use rollmill_broker_schedule::Work;
use rollmill_service::Traces;
use tokio::sync::{oneshot, watch};

use crate::drains::Drains;
use crate::error::BrokerError;
use crate::hub::Hub;
use crate::matching::{Ability, IdleAgent, Matching, Round, WaitingAgent, combinations};
use crate::metrics::Metrics;
use crate::store::{Candidate, Granted, Match, Store, Tenant, limited};
use crate::traces;

/// Most agents that may wait at one replica.
const WAITING_MAX: usize = 10_000;
/// Jobs of a type and class that are peeked at beyond one for each waiting agent.
///
/// One for each agent is all that a round can grant of a type, and the scheduler takes those of a type in the order in
/// which they are read. So what lies behind them decides nothing, however many types and keys there are: each type has
/// heads of its own, and a key in memory only chooses between the heads of types. Beyond them lie replacements for
/// jobs that exclude who waits. Where they are not enough, the dispatcher reads more.
const PEEK_SPARE: usize = 16;
/// By how much the spare jobs grow where they are not enough.
const PEEK_GROWTH: usize = 4;
/// Most jobs that one peek reads of a type and class. With more agents the next round goes on, and an agent that is
/// excluded from that many would hardly do the next one.
const PEEK_MAX: usize = 500;
/// How long a claim whose time is over waits for its first round.
const ROUND_WAIT: Duration = Duration::from_secs(2);
/// Different abilities that are remembered while no agent has them.
const ABILITIES_KEPT_MAX: usize = 1024;

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
    matching: Mutex<Matching>,
    /// The last ticket that a round has looked at.
    served: watch::Sender<u64>,
    metrics: Metrics,
    traces: Traces,
}

impl Dispatcher {
    pub(crate) fn new(metrics: Metrics, traces: Traces) -> Self {
        Self {
            queue: Mutex::default(),
            matching: Mutex::default(),
            served: watch::Sender::new(0),
            metrics,
            traces,
        }
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
        let (agent, class) = (&request.agent, request.class);
        let last = self.matching.lock().asks(tenant, agent, class, Instant::now());
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
                last,
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
    pub(crate) async fn round(&self, store: &Store, drains: &Drains) -> Result<(), BrokerError> {
        let last = self.lock().next_ticket;
        let done = self.grant_all(store, drains).await;
        self.served.send_replace(last);
        done
    }

    /// The share of the places of waiting agents that is taken.
    pub(crate) fn fill(&self) -> f64 {
        self.lock().waiting.len() as f64 / WAITING_MAX as f64
    }

    /// No more rounds follow.
    pub(crate) fn end(&self) {
        self.served.send_replace(u64::MAX);
    }

    /// A result was accepted under a lease, after `worked` seconds if the agent says so.
    pub(crate) fn completed(
        &self,
        tenant: &Tenant,
        agent: &AgentId,
        lease: &LeaseRef,
        worked: Option<f64>,
    ) {
        self.matching.lock().completed(tenant, agent, lease, worked, Instant::now());
    }

    /// What a job of the type takes the tenant's agents; whether it was measured here.
    pub(crate) fn work(&self, tenant: &Tenant, kind: &str, version: &str) -> (Work, bool) {
        self.matching.lock().work(tenant, kind, version)
    }

    /// Agents that asked here within `live`, with how long they have been granted nothing here.
    pub(crate) fn idle_agents(&self, live: Duration) -> Vec<IdleAgent> {
        self.matching.lock().idle(live, Instant::now())
    }

    /// Agents that wait although a round has looked for a job for them.
    pub(crate) fn waiting_in_vain(&self) -> Vec<Arc<WaitingAgent>> {
        let served = *self.served.borrow();
        let queue = self.lock();
        queue.waiting.range(..=served).map(|(_, waiter)| Arc::clone(&waiter.agent)).collect()
    }

    /// Hands a second lease to the agent that waits for a job; returns whether it got there. Where the agent has left or got
    /// another job meanwhile, the lease ends.
    pub(crate) async fn give_second(
        &self,
        store: &Store,
        waiting: &WaitingAgent,
        granted: Granted,
    ) -> Result<bool, BrokerError> {
        let lease = granted.grant.lease();
        let reply = self.remove(waiting.ticket);
        if reply.is_some_and(|reply| reply.send(granted.grant).is_ok()) {
            return Ok(true);
        }
        store.second_end(&waiting.tenant, &waiting.id, &lease).await?;
        Ok(false)
    }

    async fn grant_all(&self, store: &Store, drains: &Drains) -> Result<(), BrokerError> {
        let mut spare = PEEK_SPARE;
        loop {
            let mut tenants: Vec<(Tenant, Vec<Arc<WaitingAgent>>)> = Vec::new();
            let mut places: HashMap<Tenant, usize> = HashMap::new();
            for Waiter { agent, .. } in self.lock().waiting.values() {
                if let Some(place) = places.get(&agent.tenant) {
                    tenants[*place].1.push(Arc::clone(agent));
                } else {
                    places.insert(agent.tenant.clone(), tenants.len());
                    tenants.push((agent.tenant.clone(), vec![Arc::clone(agent)]));
                }
            }
            let start = Instant::now();
            let (mut rounds, mut is_cut, mut hides_jobs) = (Vec::new(), false, false);
            for (tenant, agents) in tenants {
                let most = peeked(agents.len(), spare);
                let jobs = store.peek(&tenant, &combinations(&agents), most).await?;
                let is_part = jobs.len() >= most;
                is_cut |= is_part;
                hides_jobs |= is_part && most < PEEK_MAX && excludes_many(&jobs);
                let draining = drains.of(&tenant);
                rounds.push(Round { tenant, agents, jobs, draining });
            }
            if self.grant(store, &rounds, is_cut, start).await? {
                continue;
            }
            if !hides_jobs {
                return Ok(());
            }
            // Behind jobs that exclude an agent may lie one that it can do.
            spare = spare.saturating_mul(PEEK_GROWTH);
        }
    }

    /// Grants jobs of a round; returns whether there may be more for its agents. `is_cut` says that more
    /// jobs are ready than were read.
    async fn grant(
        &self,
        store: &Store,
        rounds: &[Round],
        is_cut: bool,
        start: Instant,
    ) -> Result<bool, BrokerError> {
        let random = rand::Rng::r#gen(&mut rand::thread_rng());
        let matches = self.matching.lock().decide(rounds, random);
        if matches.is_empty() {
            return Ok(false);
        }
        let chosen: Vec<Match> = matches
            .iter()
            .map(|(seq, agent)| Match { seq: *seq, agent: agent.id.clone() })
            .collect();
        rollmill_service::failpoint!("broker.before_claims");
        let grants = store.claim(&chosen).await?;
        rollmill_service::failpoint!("broker.after_claims");
        self.metrics.claim_seconds.observe(start.elapsed().as_secs_f64());
        let by_seq: HashMap<i64, Arc<WaitingAgent>> = matches.into_iter().collect();
        let (count, wanted) = (grants.len(), by_seq.len());
        for granted in grants {
            // The statement returns only what it was asked for.
            let Some(waiting) = by_seq.get(&granted.seq) else { continue };
            self.deliver(store, waiting, granted).await?;
        }
        // Where another replica took jobs, agents may get the next ones; where it took them all, its NOTIFY or
        // the poll brings this one back.
        let lost_some = count > 0 && count < wanted;
        let agents: usize = rounds.iter().map(|round| round.agents.len()).sum();
        Ok(lost_some || (count > 0 && is_cut && wanted < agents))
    }

    async fn deliver(
        &self,
        store: &Store,
        waiting: &WaitingAgent,
        granted: Granted,
    ) -> Result<(), BrokerError> {
        let Granted { grant, agent, waited_seconds, .. } = granted;
        let (kind, job) = (grant.job.kind().to_owned(), traces::of_grant(&grant));
        let (lease, version) = (grant.lease(), grant.version.to_string());
        let unsent = match self.remove(waiting.ticket) {
            Some(reply) => reply.send(grant).err(),
            None => Some(grant),
        };
        if unsent.is_none() {
            let waited_agent = waiting.since.elapsed().as_secs_f64();
            self.metrics.dispatch_seconds.observe(waited_seconds.min(waited_agent));
            self.metrics.queue_wait_seconds.with_label_values(&[&kind]).observe(waited_seconds);
            self.metrics.claims_total.with_label_values(&[&kind]).inc();
            let of = (&waiting.tenant, &agent, &lease);
            traces::claimed(&self.traces, job, of, waited_seconds);
            self.matching.lock().granted(waiting, lease, (kind, version), Instant::now());
            return Ok(());
        }
        // The agent disconnected between the match and the grant.
        let request = ReleaseRequest { agent, lease };
        limited(store.rules().silence, store.release(&waiting.tenant, &request)).await
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

/// Jobs of each type and class that are read for this many agents.
fn peeked(agents: usize, spare: usize) -> usize {
    agents.saturating_add(spare).min(PEEK_MAX)
}

/// Whether so many of the jobs exclude somebody that the spare ones may not replace them. Each of one type may exclude
/// another agent, so that is an estimate: it is true too often and never too rarely.
fn excludes_many(jobs: &[Candidate]) -> bool {
    jobs.iter().filter(|job| !job.excluded.is_empty()).count() > PEEK_SPARE
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
            let request = ReleaseRequest { agent, lease };
            let limit = store.rules().silence;
            let released = limited(limit, store.release(&tenant, &request)).await;
            // If this fails as well, the lease expires.
            if let Err(BrokerError::LeaseLost { .. }) = released {
                // It was a second one.
                let ReleaseRequest { agent, lease } = &request;
                let _ = limited(limit, store.second_end(&tenant, agent, lease)).await;
            }
        });
    }
}

/// How long the dispatcher sleeps when nothing wakes it: the fallback for a lost notification.
pub(crate) const POLL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rollmill_broker_client::{Capability, SizeClass};

    use super::*;

    /// Numbers from a seed.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: u64) -> u64 {
            let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
            self.0 = next.wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    fn kind(number: u64) -> String {
        format!("kind-{number}")
    }

    /// Agents of a few abilities. Each has the key of some type in memory, or none.
    fn agents(random: &mut Numbers, kinds: u64) -> Vec<Arc<WaitingAgent>> {
        let capability = |number| Capability {
            kind: kind(number).parse().unwrap(),
            version: "v1".parse().unwrap(),
        };
        let mut abilities = Vec::new();
        for _ in 0..3 {
            let able = (0..kinds).filter(|_| random.below(4) > 0);
            let capabilities = able.map(capability).collect();
            abilities.push(Arc::new(Ability { capabilities, class: SizeClass::SMALLEST }));
        }
        let agent = |ticket| {
            let last = Arc::new((kind(random.below(kinds)), "v1".to_owned()));
            Arc::new(WaitingAgent {
                ticket,
                tenant: Tenant::default(),
                id: format!("agent-{ticket}").parse().unwrap(),
                ability: Arc::clone(&abilities[random.below(3) as usize]),
                last: Some(last).filter(|_| random.below(3) > 0),
                since: Instant::now(),
            })
        };
        (1..=20).map(agent).collect()
    }

    /// Jobs of a type in the order in which a peek reads them. No more of them than [`PEEK_SPARE`] exclude somebody.
    fn jobs(random: &mut Numbers, number: u64) -> Vec<Candidate> {
        let mut excluding = 0;
        let mut jobs = Vec::new();
        for n in 0..random.below(80) {
            let mut excluded = Vec::new();
            if excluding < PEEK_SPARE && random.below(3) == 0 {
                excluding += 1;
                let named = (1..=20).filter(|_| random.below(3) > 0);
                excluded = named.map(|ticket| format!("agent-{ticket}")).collect();
            }
            jobs.push(Candidate {
                seq: (number * 100 + n + 1) as i64,
                kind: kind(number),
                version: "v1".into(),
                class: SizeClass::SMALLEST,
                epoch: random.below(2) as i64,
                rank: random.below(3) as i64,
                excluded,
                waited_seconds: random.below(200) as f64,
            });
        }
        jobs.sort_by_key(|job| (job.epoch, std::cmp::Reverse(job.rank), job.seq));
        jobs
    }

    /// Goal: what a peek leaves out changes no decision, however many types there are and whatever keys agents have in
    /// memory. Method: random queues, decided with all of their jobs and with those that are read.
    #[test]
    fn the_heads_that_are_read_decide_as_the_whole_queue_does() {
        let mut granted = 0;
        for seed in 0..100 {
            let random = &mut Numbers(seed);
            let kinds = 1 + random.below(30);
            let agents = agents(random, kinds);
            let queues: Vec<Vec<Candidate>> = (0..kinds).map(|n| jobs(random, n)).collect();
            let decided = |most: usize| -> Vec<(i64, u64)> {
                let heads = queues.iter().flat_map(|jobs| jobs.iter().take(most).cloned());
                let (tenant, jobs) = (Tenant::default(), heads.collect());
                let draining = HashSet::new();
                let round = Round { tenant, agents: agents.clone(), jobs, draining };
                let pairs = Matching::default().decide(&[round], seed);
                pairs.into_iter().map(|(seq, agent)| (seq, agent.ticket)).collect()
            };
            let all = decided(usize::MAX);
            assert_eq!(decided(peeked(agents.len(), PEEK_SPARE)), all, "seed {seed}");
            granted += all.len();
        }
        assert!(granted > 1_000, "{granted}");
    }
}
