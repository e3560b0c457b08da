//! Heartbeats, from an OS thread with its own runtime and connection.
//!
//! A prover takes every core and blocks for minutes. Beats sent from the same runtime would be late
//! exactly when the work is hardest, and a live agent would be declared dead.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rollmill_broker_client::{AgentId, Client, HeartbeatRequest, LeaseRef, Options, Scope};
use rollmill_service::{Again, Backoff, Retry, one_line};
use tokio::sync::Notify;

use crate::leave::Leaving;
use crate::link::Link;

/// Says to a worker that nobody waits for its result any more. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    inner: Arc<(Mutex<bool>, Condvar, Notify)>,
}

impl Cancel {
    /// Whether the work may stop.
    pub fn is_cancelled(&self) -> bool {
        *self.lock()
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        *self.lock() = true;
        self.inner.1.notify_all();
        self.inner.2.notify_waiters();
    }

    /// Waits until the work may stop. Cancel safe.
    pub async fn cancelled(&self) {
        loop {
            // Counts from here, so a cancellation between the two lines is not missed.
            let notified = self.inner.2.notified();
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }

    /// Blocks until the work may stop. For doubles that stand for a long proof.
    pub fn wait(&self) {
        let mut cancelled = self.lock();
        while !*cancelled {
            self.inner.1.wait(&mut cancelled);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.inner.0.lock()
    }
}

#[derive(Debug)]
struct Shared {
    agent: AgentId,
    leases: Mutex<HashMap<LeaseRef, Cancel>>,
    changed: Notify,
    ended: AtomicBool,
    failures: rollmill_service::prometheus::IntCounter,
    link: Link,
    leaving: Leaving,
}

impl Shared {
    fn leases(&self) -> MutexGuard<'_, HashMap<LeaseRef, Cancel>> {
        self.leases.lock()
    }
}

/// The thread that beats. Dropping it ends the thread.
#[derive(Debug)]
pub struct Heartbeat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts the thread. It beats only while a lease is held. `client` must not be used elsewhere:
    /// its connections belong to the thread's runtime.
    pub(crate) fn start(
        client: &Client,
        agent: AgentId,
        failures: rollmill_service::prometheus::IntCounter,
        link: Link,
        leaving: Leaving,
    ) -> std::io::Result<Self> {
        // A beat that is late is worthless: fail fast and send the next.
        let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(5) };
        let client = client.with_options(options);
        let shared = Arc::new(Shared {
            agent,
            leases: Mutex::default(),
            changed: Notify::new(),
            ended: AtomicBool::new(false),
            failures,
            link,
            leaving,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("heartbeat".into())
                .spawn(move || runtime.block_on(beat(&shared, &client)))?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Keeps a lease alive until the guard is dropped.
    pub fn keep_alive(&self, lease: LeaseRef) -> LeaseGuard<'_> {
        let cancel = Cancel::default();
        self.shared.leases().insert(lease.clone(), cancel.clone());
        self.shared.changed.notify_one();
        LeaseGuard { heartbeat: self, lease, cancel }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A lease that is kept alive.
#[derive(Debug)]
pub struct LeaseGuard<'a> {
    heartbeat: &'a Heartbeat,
    lease: LeaseRef,
    cancel: Cancel,
}

impl LeaseGuard<'_> {
    /// Pulled when the broker says that the lease is lost.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl Drop for LeaseGuard<'_> {
    fn drop(&mut self) {
        self.heartbeat.shared.leases().remove(&self.lease);
    }
}

async fn beat(shared: &Shared, client: &Client) {
    const RETRY: Duration = Duration::from_millis(500);
    /// Longest pause after a beat that the broker rejected. A rejected agent has no lease to keep, and the broker's
    /// interval may be unknown.
    const REJECTED: Duration = Duration::from_secs(10);
    let mut every = RETRY;
    let mut rejections = Retry::steady(REJECTED);
    while !shared.ended.load(Ordering::Relaxed) {
        let leases: Vec<LeaseRef> = shared.leases().keys().cloned().collect();
        if leases.is_empty() {
            shared.changed.notified().await;
            continue;
        }
        let request = HeartbeatRequest { agent: shared.agent.clone(), leases };
        let answer = tokio::select! {
            answer = client.heartbeat(&request) => answer,
            () = ended(shared) => return,
        };
        let pause = match answer {
            Ok(answer) => {
                shared.link.reached();
                rejections.succeeded(|wait_seconds| {
                    tracing::info!(wait_seconds, "heartbeats accepted again");
                });
                shared.leaving.heard(answer.drain, answer.drain_by.as_deref());
                for lost in &answer.cancel {
                    if let Some(cancel) = shared.leases().remove(lost) {
                        tracing::warn!(job = %lost.job, "lease lost");
                        cancel.cancel();
                    }
                }
                every = Duration::from_millis(answer.every_ms.clamp(50, 60_000));
                every
            }
            Err(error) => {
                shared.failures.inc();
                match error.answer().scope() {
                    Scope::Broker => {
                        shared.link.failed(&error);
                        Backoff::steady(every.min(RETRY)).pause()
                    }
                    // The agent's next claim meets the same answer and acts on it.
                    Scope::Client | Scope::Request => {
                        let log = |Again { repeated, retry_seconds }| {
                            let error = one_line(&error);
                            tracing::warn!(error, repeated, retry_seconds, "heartbeat rejected");
                        };
                        rejections.failed(shared.changed.notified(), log).await;
                        continue;
                    }
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A new lease wants its first beat; the end wants none.
            () = shared.changed.notified() => {}
        }
    }
}

async fn ended(shared: &Shared) {
    loop {
        shared.changed.notified().await;
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
    }
}
