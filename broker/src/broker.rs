//! One replica: its background work and its HTTP interface.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rollmill_service::{Process, Shutdown};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api;
use crate::config::Config;
use crate::dispatch::{Dispatcher, POLL};
use crate::error::BrokerError;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::policy::Next;
use crate::store::Store;
use crate::store::tokens::{Bearer, hash};

const SWEEP: Duration = Duration::from_millis(200);
const TOKENS: Duration = Duration::from_secs(5);
const QUEUE: Duration = Duration::from_secs(5);

/// What the parts of a replica share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    pub(crate) artifact_bytes_max: usize,
    pub(crate) requests: Semaphore,
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
            Next::Retry { .. } => self.hub.became_ready(),
        }
    }
}

/// A number in `[0, 1)` for spreading retries.
pub(crate) fn spread() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / (f64::from(u32::MAX) + 1.0)
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
        requests: Semaphore::new(process.config.requests_max),
        bearers: RwLock::default(),
        closed: AtomicBool::new(false),
    });
    let address = listener.local_addr()?;
    if !shared.read_tokens().await? && !address.ip().is_loopback() {
        return Err(BrokerError::OpenToAll { address: address.to_string() }.into());
    }

    let mut tasks = JoinSet::new();
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
    let served = rollmill_service::serve(listener, api::router(shared), shutdown.clone()).await;
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
        if tokio::time::Instant::now() < patience {
            continue;
        }
        match shared.store.expire(spread()).await {
            Ok(expired) => {
                for (_, next) in expired {
                    shared.metrics.attempts_ended_total.with_label_values(&["expired"]).inc();
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
        match shared.store.queue(None).await {
            Ok(queue) => shared.metrics.show_queue(&queue),
            Err(error) => away("queue", &error).await,
        }
        tokio::select! {
            () = tokio::time::sleep(QUEUE) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

async fn away(what: &'static str, error: &BrokerError) {
    tracing::warn!(what, error = rollmill_service::one_line(error), "trying again");
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// The address to tell others, for a listener on port 0.
pub fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}
