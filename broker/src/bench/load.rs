//! The fake producer and the fake agents.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::RngCore;
use rollmill_broker_client::{
    AgentId, BATCH_MAX, Capability, ClaimRequest, Client, ClientError, CompleteOutcome,
    CompleteRequest, Digest, Grant, HeartbeatRequest, JobId, JobView, KindName, NewJob,
};
use rollmill_service::Failure;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::server::Servers;

/// Pause before a request that did not succeed is repeated.
const AGAIN: Duration = Duration::from_millis(100);
/// Longest time without a completion before the run is given up.
const STALLED: Duration = Duration::from_secs(120);
/// Uploads at a time before the run.
const UPLOADS: usize = 64;
/// Claims wait as long as the broker lets them.
const WAIT: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Identifies the run: part of the names of its agents, which are the same in all its epochs.
    pub(super) run: u128,
    pub(super) jobs: usize,
    pub(super) agents: usize,
    pub(super) rate: u32,
    pub(super) batch: usize,
    pub(super) artifact_bytes: usize,
    pub(super) heartbeats: u32,
}

/// A percentile of durations, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Requests to a route that did not succeed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rejected {
    pub(super) route: &'static str,
    /// The code of the answer, or of the client where there was none.
    pub(super) code: String,
    pub(super) count: u64,
    /// All requests to the route.
    pub(super) of: u64,
}

impl Rejected {
    /// Whether a broker answered a heartbeat or a completion and did not take it. It promises to delay these at most; a
    /// broker that is gone answers nothing, which has a code of the client.
    pub(super) fn breaks_the_promise(&self) -> bool {
        let of_server = ["BRK-", "SVC-"].iter().any(|codes| self.code.starts_with(codes));
        of_server && matches!(self.route, "heartbeat" | "complete")
    }
}

/// One run: its jobs and what happened to them.
#[derive(Debug)]
pub(super) struct Load {
    plan: Plan,
    clients: Vec<Client>,
    epoch: u64,
    jobs: Vec<NewJob>,
    place: HashMap<JobId, usize>,
    inputs: Vec<Vec<u8>>,
    capability: Capability,
    result: Digest,
    start: Instant,
    /// Microseconds since `start` when the job was sent; 0 before.
    sent: Vec<AtomicU64>,
    /// Set when a completion of the job was accepted.
    accepted: Vec<AtomicU64>,
    done: AtomicUsize,
    finished: Notify,
    already_done: AtomicU64,
    dispatch: Mutex<Vec<u64>>,
    completion: Mutex<Vec<u64>>,
    heartbeat: Mutex<Vec<u64>>,
    requests: Mutex<BTreeMap<&'static str, u64>>,
    rejected: Mutex<BTreeMap<(&'static str, String), u64>>,
}

impl Load {
    /// Makes the jobs. Their inputs are uploaded now, unless transfers are part of the run.
    pub(super) async fn prepare(
        plan: Plan,
        clients: Vec<Client>,
        epoch: u64,
    ) -> Result<Self, Failure> {
        let run = rand::thread_rng().next_u64();
        let kind: KindName = format!("bench-{run:016x}").parse()?;
        let version: KindName = "bench".parse()?;
        let length = plan.artifact_bytes.max(16);
        let input = |n: usize| {
            let mut bytes = vec![0; length];
            bytes[..8].copy_from_slice(&run.to_le_bytes());
            bytes[8..16].copy_from_slice(&(n as u64).to_le_bytes());
            bytes
        };
        let inputs: Vec<Vec<u8>> = (0..plan.jobs).map(input).collect();
        let job = |bytes: &Vec<u8>| NewJob::new(epoch, &kind, version.clone(), Digest::of(bytes));
        let jobs: Vec<NewJob> = inputs.iter().map(job).collect();
        let place = jobs.iter().enumerate().map(|(n, job)| (job.id.clone(), n)).collect();
        let result = put(&clients, epoch, format!("result of {run}").into_bytes()).await?;
        let load = Self {
            plan,
            clients,
            epoch,
            place,
            capability: Capability { kind, version },
            result,
            start: Instant::now(),
            sent: jobs.iter().map(|_| AtomicU64::new(0)).collect(),
            accepted: jobs.iter().map(|_| AtomicU64::new(0)).collect(),
            jobs,
            inputs,
            done: AtomicUsize::new(0),
            finished: Notify::new(),
            already_done: AtomicU64::new(0),
            dispatch: Mutex::default(),
            completion: Mutex::default(),
            heartbeat: Mutex::default(),
            requests: Mutex::default(),
            rejected: Mutex::default(),
        };
        if plan.artifact_bytes == 0 {
            load.upload_all().await?;
        }
        Ok(load)
    }

    async fn upload_all(&self) -> Result<(), Failure> {
        let mut running = JoinSet::new();
        let mut inputs = self.inputs.chunks(BATCH_MAX);
        loop {
            while running.len() < UPLOADS
                && let Some(chunk) = inputs.next()
            {
                let (clients, epoch, bodies) = (self.clients.clone(), self.epoch, chunk.to_vec());
                running.spawn(async move {
                    loop {
                        match clients[0].put_artifacts(epoch, bodies.clone()).await {
                            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
                            other => return other,
                        }
                    }
                });
            }
            match running.join_next().await {
                None => return Ok(()),
                Some(done) => drop(done??),
            }
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Sends a request until it succeeds or can never succeed; counts each that does not.
    async fn send<T, F>(
        &self,
        route: &'static str,
        first: usize,
        ask: impl Fn(Client) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut turn = first;
        loop {
            *self.requests.lock().entry(route).or_default() += 1;
            let client = self.clients[turn % self.clients.len()].clone();
            let error = match ask(client).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let code = rollmill_service::Coded::code(&error).to_owned();
            *self.rejected.lock().entry((route, code)).or_default() += 1;
            if !error.is_transient() {
                return Err(error);
            }
            turn += usize::from(matches!(error, ClientError::Unreachable { .. }));
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Enqueues everything: in batches one after the other, or one job at each due time.
    async fn produce(self: Arc<Self>) -> Result<(), Failure> {
        if self.plan.rate == 0 {
            for first in (0..self.plan.jobs).step_by(self.plan.batch) {
                let last = self.plan.jobs.min(first + self.plan.batch);
                self.enqueue(first, last, self.now()).await?;
            }
            return Ok(());
        }
        let mut running = JoinSet::new();
        let period = Duration::from_secs(1) / self.plan.rate;
        let begin = Instant::now();
        for n in 0..self.plan.jobs {
            let due = begin + period * u32::try_from(n).unwrap_or(u32::MAX);
            tokio::time::sleep_until(due.into()).await;
            let due = due.saturating_duration_since(self.start);
            let due = u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
            let load = Arc::clone(&self);
            running.spawn(async move { load.enqueue(n, n + 1, due).await });
            while let Some(ended) = running.try_join_next() {
                ended??;
            }
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn enqueue(&self, first: usize, last: usize, at: u64) -> Result<(), ClientError> {
        if self.plan.artifact_bytes > 0 {
            let bodies = &self.inputs[first..last];
            let put = |client: Client| async move {
                client.put_artifacts(self.epoch, bodies.to_vec()).await
            };
            self.send("put inputs", first, put).await?;
        }
        for sent in &self.sent[first..last] {
            sent.store(at.max(1), Ordering::Relaxed);
        }
        let jobs = &self.jobs[first..last];
        let enqueue = |client: Client| async move { client.enqueue(jobs.to_vec()).await };
        self.send("enqueue", first, enqueue).await.map(drop)
    }

    /// Claims and completes until everything is done.
    async fn work(self: Arc<Self>, number: usize) -> Result<(), ClientError> {
        let name = format!("bench-{:x}-{number}", self.plan.run);
        let Ok(agent) = name.parse::<AgentId>() else { return Ok(()) };
        let claim = ClaimRequest::new(agent.clone(), vec![self.capability.clone()]);
        let claim = &ClaimRequest { wait_ms: WAIT.as_millis() as u64, ..claim };
        let mut jobs = 0_u32;
        loop {
            let granted = tokio::select! {
                granted = self.send("claim", number, |client| async move { client.claim(claim).await }) => granted?,
                () = self.finished.notified() => {
                    self.finished.notify_one();
                    return Ok(());
                }
            };
            let Some(grant) = granted else { continue };
            jobs += 1;
            let beats = self.plan.heartbeats;
            self.do_job(number, &agent, &grant, beats > 0 && jobs.is_multiple_of(beats)).await?;
        }
    }

    async fn do_job(
        &self,
        number: usize,
        agent: &AgentId,
        grant: &Grant,
        beats: bool,
    ) -> Result<(), ClientError> {
        // A job of an earlier run in the same epoch and type cannot be: the type is random.
        let Some(&place) = self.place.get(&grant.job) else { return Ok(()) };
        let sent = self.sent[place].load(Ordering::Relaxed);
        self.dispatch.lock().push(self.now().saturating_sub(sent));
        if beats {
            let request = HeartbeatRequest { agent: agent.clone(), leases: vec![grant.lease()] };
            let (request, start) = (&request, self.now());
            let beat = |client: Client| async move { client.heartbeat(request).await };
            self.send("heartbeat", number, beat).await?;
            self.heartbeat.lock().push(self.now() - start);
        }
        let result = match self.plan.artifact_bytes {
            0 => self.result,
            bytes => self.transfer(number, grant, bytes).await?,
        };
        let request = &CompleteRequest::new(agent.clone(), grant.lease(), result);
        let start = self.now();
        let complete = |client: Client| async move { client.complete(request).await };
        let outcome = self.send("complete", number, complete).await?;
        self.completion.lock().push(self.now() - start);
        match outcome {
            CompleteOutcome::Accepted => {
                if self.accepted[place].fetch_add(1, Ordering::Relaxed) == 0
                    && self.done.fetch_add(1, Ordering::Relaxed) + 1 == self.plan.jobs
                {
                    self.finished.notify_one();
                }
            }
            CompleteOutcome::AlreadyDone => {
                self.already_done.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Fetches the input and uploads a result of the same size.
    async fn transfer(
        &self,
        number: usize,
        grant: &Grant,
        bytes: usize,
    ) -> Result<Digest, ClientError> {
        let input = &grant.job.input();
        let fetch = |client: Client| async move { client.get_artifact(input).await };
        let mut body = self.send("get artifact", number, fetch).await?;
        body.resize(bytes.max(16), 0);
        body.reverse();
        let body = &body;
        let put =
            |client: Client| async move { client.put_artifact(self.epoch, body.clone()).await };
        self.send("put artifact", number, put).await
    }

    pub(super) async fn views(&self) -> Result<Vec<JobView>, Failure> {
        let ids: Vec<JobId> = self.jobs.iter().map(|job| job.id.clone()).collect();
        let ids = &ids;
        let jobs = |client: Client| async move { client.jobs(ids).await };
        Ok(self.send("jobs", self.clients.len() - 1, jobs).await?)
    }

    /// Drops the run's epoch at a broker that goes on.
    pub(super) async fn clean_up(&self) -> Result<(), Failure> {
        self.send("drop epoch", 0, |client| async move { client.drop_epoch(self.epoch).await })
            .await?;
        Ok(())
    }

    pub(super) fn dispatch(&self) -> Option<Percentiles> {
        percentiles(&mut self.dispatch.lock())
    }

    pub(super) fn completion(&self) -> Option<Percentiles> {
        percentiles(&mut self.completion.lock())
    }

    pub(super) fn heartbeats(&self) -> Option<Percentiles> {
        percentiles(&mut self.heartbeat.lock())
    }

    pub(super) fn already_done(&self) -> u64 {
        self.already_done.load(Ordering::Relaxed)
    }

    pub(super) fn rejected(&self) -> Vec<Rejected> {
        let requests = self.requests.lock();
        let rejected = self.rejected.lock();
        let of = |route: &&'static str| requests.get(*route).copied().unwrap_or(0);
        rejected
            .iter()
            .map(|((route, code), count)| Rejected {
                route,
                code: code.clone(),
                count: *count,
                of: of(route),
            })
            .collect()
    }
}

async fn put(clients: &[Client], epoch: u64, body: Vec<u8>) -> Result<Digest, ClientError> {
    loop {
        match clients[0].put_artifact(epoch, body.clone()).await {
            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
            other => return other,
        }
    }
}

/// Runs the load; returns the seconds from the first enqueue to the last completion. Half-way it kills
/// the first of `servers`.
pub(super) async fn drive(load: &Arc<Load>, servers: Option<&Servers>) -> Result<f64, Failure> {
    let mut agents = JoinSet::new();
    for number in 0..load.plan.agents {
        agents.spawn(Arc::clone(load).work(number));
    }
    let start = Instant::now();
    let mut producer = tokio::spawn(Arc::clone(load).produce());
    let (mut produced, mut killed, mut moved) = (false, false, (0, Instant::now()));
    while load.done.load(Ordering::Relaxed) < load.plan.jobs {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
            ended = &mut producer, if !produced => {
                ended??;
                produced = true;
            }
            Some(ended) = agents.join_next() => ended??,
        }
        let done = load.done.load(Ordering::Relaxed);
        if let Some(servers) = servers
            && !killed
            && done >= load.plan.jobs / 2
        {
            servers.kill_first();
            killed = true;
        }
        if done > moved.0 {
            moved = (done, Instant::now());
        } else if moved.1.elapsed() > STALLED {
            // The report counts what is left as lost.
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    agents.shutdown().await;
    producer.abort();
    Ok(seconds)
}

fn percentiles(micros: &mut [u64]) -> Option<Percentiles> {
    micros.sort_unstable();
    let last = micros.len().checked_sub(1)?;
    let at = |share: f64| micros[(last as f64 * share).round() as usize] as f64 / 1000.0;
    Some(Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_broker_promises_to_take_is_a_fault_when_it_is_rejected() {
        for (route, code, is_fault) in [
            ("heartbeat", "BRK-013", true),
            ("complete", "SVC-013", true),
            ("complete", "BRC-011", false),
            ("claim", "BRK-013", false),
        ] {
            let rejected = Rejected { route, code: code.to_owned(), count: 1, of: 2 };
            assert_eq!(rejected.breaks_the_promise(), is_fault, "{rejected:?}");
        }
    }
}
