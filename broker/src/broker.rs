//! One replica: its background work and its HTTP interface.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rollmill_broker_client::{AttemptOutcome, UnableView};
use rollmill_service::{Conditions, HttpLimits, HttpMetrics, Process, Shutdown, serve_within};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ability;
use crate::api::{self, admission::Admission};
use crate::config::Config;
use crate::dispatch::{Dispatcher, POLL};
use crate::error::BrokerError;
use crate::hub::Hub;
use crate::metrics::{Ended, Metrics};
use crate::policy::Next;
use crate::store::tokens::{Bearer, hash};
use crate::store::{Store, Tenant};

const SWEEP: Duration = Duration::from_millis(200);
const TOKENS: Duration = Duration::from_secs(5);
const QUEUE: Duration = Duration::from_secs(5);
/// Pause between two probes of the database, and the longest that one may take.
const PROBE: Duration = Duration::from_secs(1);
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Bounds of the listener. An agent has a few connections and many agents may share an address; the
/// memory of their bodies has a bound of its own.
const LIMITS: HttpLimits = HttpLimits {
    connections: 10_000,
    connections_per_peer: 4_096,
    idle: Duration::from_secs(75),
    head: Duration::from_secs(10),
    body: Duration::from_secs(10),
    body_bytes_per_second: 1_024,
    write_stall: Duration::from_secs(30),
    drain: Duration::from_secs(2),
};

/// What the parts of a replica share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    pub(crate) artifact_bytes_max: usize,
    pub(crate) admission: Admission,
    /// What waits and no live agent can do, as of the last count.
    unable: RwLock<Vec<(Tenant, UnableView)>>,
    bearers: RwLock<HashMap<[u8; 32], Bearer>>,
    /// A token is required.
    closed: AtomicBool,
}

impl Shared {
    pub(crate) fn bearer(&self, token: Option<&str>) -> Result<Bearer, BrokerError> {
        let bearers = self.bearers.read().unwrap_or_else(PoisonError::into_inner);
        if !self.closed.load(Ordering::Relaxed) {
            // Loopback only, or `serve` would have refused to start.
            return Ok(Bearer::loopback());
        }
        token.and_then(|token| bearers.get(&hash(token))).cloned().ok_or(BrokerError::Unauthorized)
    }

    /// Reads the valid tokens; returns whether one is required. Revoking the last one does not
    /// open what was closed while this replica runs.
    async fn read_tokens(&self) -> Result<bool, BrokerError> {
        let read: HashMap<_, _> = self.store.bearers().await?.into_iter().collect();
        if !read.is_empty() {
            self.closed.store(true, Ordering::Relaxed);
        }
        *self.bearers.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(self.closed.load(Ordering::Relaxed))
    }

    pub(crate) fn count_next(&self, next: Next) {
        match next {
            Next::GiveUp => {
                self.metrics.dead_letters_total.inc();
                self.hub.became_final();
            }
            Next::AwaitInput => {
                self.metrics.inputs_wanted_total.inc();
                self.hub.became_final();
            }
            Next::Retry { .. } => self.hub.became_ready(),
        }
    }

    /// Counts done jobs that were opened again, and wakes who waits for jobs.
    pub(crate) fn count_lost(&self, reopened: u64) {
        if reopened > 0 {
            self.metrics.results_lost_total.inc_by(reopened);
            self.hub.became_ready();
        }
    }

    /// What of the tenant's jobs no live agent can do.
    pub(crate) fn unable(&self, tenant: &Tenant) -> Vec<UnableView> {
        let unable = self.unable.read().unwrap_or_else(PoisonError::into_inner);
        unable.iter().filter(|(of, _)| of == tenant).map(|(_, view)| view.clone()).collect()
    }

    /// Counts the queue and finds what nobody can do; logs where that began and ended.
    async fn count_queue(&self) -> Result<(), BrokerError> {
        let queue = self.store.queue(None).await?;
        let agents = self.store.abilities().await?;
        let rules = self.store.rules();
        let found = ability::unable(&queue, &agents, rules.live, rules.unable_after);
        self.metrics
            .show_queue(queue.iter().map(|(_, view)| view), found.iter().map(|(_, view)| view));
        let mut unable = self.unable.write().unwrap_or_else(PoisonError::into_inner);
        let same = |(a, x): &(Tenant, UnableView), (b, y): &(Tenant, UnableView)| {
            (a, &x.kind, &x.version, x.class) == (b, &y.kind, &y.version, y.class)
        };
        for entry in found.iter().filter(|new| !unable.iter().any(|old| same(old, new))) {
            let UnableView { kind, version, class, jobs, since_seconds } = &entry.1;
            tracing::warn!(
                circuit = kind,
                version,
                class,
                jobs,
                since_seconds,
                "no live agent for waiting jobs"
            );
        }
        for (_, view) in unable.iter().filter(|old| !found.iter().any(|new| same(old, new))) {
            let UnableView { kind, version, class, since_seconds, .. } = view;
            tracing::info!(
                circuit = kind,
                version,
                class,
                since_seconds,
                "live agent available again"
            );
        }
        *unable = found;
        Ok(())
    }
}

/// A number in `[0, 1)` for spreading retries.
pub(crate) fn spread() -> f64 {
    rand::Rng::gen_range(&mut rand::thread_rng(), 0.0..1.0)
}

/// Serves on `listener` until `process.shutdown`, over a store that is migrated.
///
/// # Errors
/// [`BrokerError::OpenToAll`] when the address is reachable from outside and there is no token;
/// what [`Store::check`] refuses; and errors of the HTTP server.
pub async fn serve(
    process: &Process<Config>,
    store: Store,
    listener: TcpListener,
) -> Result<(), rollmill_service::Failure> {
    store.check().await?;
    let metrics = Metrics::new(&process.metrics)?;
    let shutdown = process.shutdown.clone();
    let channel = store.channel().await?;
    let shared = Arc::new(Shared {
        store,
        hub: Hub::new(),
        dispatcher: Dispatcher::new(metrics.clone()),
        metrics,
        shutdown: shutdown.clone(),
        artifact_bytes_max: process.config.artifact_bytes_max,
        admission: Admission::new(process.config.requests_max),
        unable: RwLock::default(),
        bearers: RwLock::default(),
        closed: AtomicBool::new(false),
    });
    let address = listener.local_addr()?;
    if !shared.read_tokens().await? && !address.ip().is_loopback() {
        return Err(BrokerError::OpenToAll { address: address.to_string() }.into());
    }

    let mut tasks = JoinSet::new();
    let conditions = process.conditions.clone();
    conditions.set("database", Ok(()));
    spawn(&mut tasks, &shared, |shared| async move { probe(&shared, &conditions).await });
    spawn(&mut tasks, &shared, |shared| async move { dispatch(&shared).await });
    spawn(&mut tasks, &shared, |shared| async move { sweep(&shared).await });
    spawn(&mut tasks, &shared, |shared| async move { keep_tokens(&shared).await });
    spawn(&mut tasks, &shared, |shared| async move { keep_queue(&shared).await });
    let names = [channel.clone(), channel];
    let [tell, hear] = names;
    spawn(&mut tasks, &shared, |shared| async move {
        shared.hub.tell_others(&shared.store, &tell, &shared.shutdown).await;
    });
    spawn(&mut tasks, &shared, |shared| async move {
        shared.hub.hear_others(&shared.store, &hear, &shared.shutdown).await;
    });

    tracing::info!(%address, "serving");
    process.ready();
    let connections = HttpMetrics::new("broker");
    connections.register(&process.metrics)?;
    let router = api::router(shared);
    let served = serve_within(listener, router, LIMITS, connections, shutdown.clone()).await;
    shutdown.start();
    while tasks.join_next().await.is_some() {}
    Ok(served?)
}

fn spawn<F: Future<Output = ()> + Send + 'static>(
    tasks: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    body: impl FnOnce(Arc<Shared>) -> F,
) {
    tasks.spawn(body(shared.clone()));
}

async fn dispatch(shared: &Shared) {
    while !shared.shutdown.is_started() {
        tokio::select! {
            () = shared.hub.ready.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            () = shared.shutdown.started() => return,
        }
        if let Err(error) = shared.dispatcher.round(&shared.store).await {
            away("dispatch", &error).await;
        }
    }
}

/// Ends backoffs and takes back leases. A broker that was away first lets agents beat: their
/// leases ran out through no fault of theirs.
async fn sweep(shared: &Shared) {
    let patience = tokio::time::Instant::now() + shared.store.rules().lease;
    while !shared.shutdown.is_started() {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = shared.shutdown.started() => return,
        }
        match shared.store.promote().await {
            Ok(0) => {}
            Ok(_) => shared.hub.became_ready(),
            Err(error) => away("sweep", &error).await,
        }
        match shared.store.past_deadline().await {
            Ok(0) => {}
            Ok(dead) => {
                shared.metrics.dead_letters_total.inc_by(dead);
                shared.hub.became_final();
            }
            Err(error) => away("sweep", &error).await,
        }
        if tokio::time::Instant::now() < patience {
            continue;
        }
        match shared.store.expire(spread()).await {
            Ok(expired) => {
                for (_, next) in expired {
                    shared.metrics.ended(Ended::With(AttemptOutcome::Expired), 1);
                    shared.count_next(next);
                }
            }
            Err(error) => away("sweep", &error).await,
        }
    }
}

async fn keep_tokens(shared: &Shared) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TOKENS) => {}
            () = shared.shutdown.started() => return,
        }
        if let Err(error) = shared.read_tokens().await {
            away("tokens", &error).await;
        }
    }
}

async fn keep_queue(shared: &Shared) {
    loop {
        if let Err(error) = shared.count_queue().await {
            shared.metrics.forget_queue();
            away("queue", &error).await;
        }
        match shared.store.forgive().await {
            Ok(forgiven) if forgiven.is_empty() => {}
            Ok(forgiven) => {
                shared.metrics.exclusions_forgiven_total.inc_by(forgiven.len() as u64);
                shared.hub.became_ready();
            }
            Err(error) => away("forgiveness", &error).await,
        }
        tokio::select! {
            () = tokio::time::sleep(QUEUE) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

/// Keeps the condition `database`: a statement on the table of jobs is answered in time. It takes a
/// connection like any other, so a pool or a table that is held up shows too.
async fn probe(shared: &Shared, conditions: &Conditions) {
    while !shared.shutdown.is_started() {
        let probed = tokio::time::timeout(PROBE_LIMIT, shared.store.probe()).await;
        conditions.set(
            "database",
            match probed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(rollmill_service::one_line(&error)),
                Err(_) => Err(format!("no answer within {} s", PROBE_LIMIT.as_secs())),
            },
        );
        tokio::select! {
            () = tokio::time::sleep(PROBE) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

async fn away(what: &'static str, error: &BrokerError) {
    tracing::warn!(
        task = what,
        error = rollmill_service::one_line(error),
        "background task failed; retrying"
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// The address to tell others, for a listener on port 0.
pub fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}
