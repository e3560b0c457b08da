//! Wakes what waits for a change of the queue: agents and producers of this replica, and the other
//! replicas by NOTIFY.
//!
//! NOTIFY takes a database-wide lock at commit, so it is sent apart from every transaction, at
//! most once in [`FLUSH`], and only while another replica was heard a moment ago. For that each replica
//! says once a second that it is there. A replica that misses a notification still polls.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollmill_service::{Again, Retry, Shutdown};
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::error::BrokerError;
use crate::store::{Store, limited};

const FLUSH: Duration = Duration::from_millis(5);
/// Pause between two words that this replica is there.
const HELLO: Duration = Duration::from_secs(1);
/// A replica that was not heard for this long is gone.
const GONE: Duration = Duration::from_secs(5);
/// A connection for notifications that brings nothing for this long is lost: it would bring this replica's own words.
const SILENT: Duration = Duration::from_secs(15);
/// Replicas that are remembered.
const PEERS_MAX: usize = 256;
/// First and longest pause before the connection for notifications is opened again.
const RECONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// One per broker.
#[derive(Debug)]
pub(crate) struct Hub {
    id: String,
    /// Jobs may be ready: wakes the dispatcher.
    pub(crate) ready: Notify,
    finished: watch::Sender<u64>,
    notify_ready: AtomicBool,
    notify_finished: AtomicBool,
    notify: Notify,
    /// Other replicas, and when each was heard last.
    peers: Mutex<HashMap<String, Instant>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            id: Uuid::new_v4().simple().to_string(),
            ready: Notify::new(),
            finished: watch::Sender::new(0),
            notify_ready: AtomicBool::new(false),
            notify_finished: AtomicBool::new(false),
            notify: Notify::new(),
            peers: Mutex::default(),
        }
    }

    /// Jobs became ready.
    pub(crate) fn became_ready(&self) {
        self.ready.notify_one();
        self.notify_ready.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    /// Jobs became final.
    pub(crate) fn became_final(&self) {
        self.finished.send_modify(|n| *n += 1);
        self.notify_finished.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    /// A receiver that changes when a job may have become final.
    pub(crate) fn finals(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    /// Notifies the other replicas of changes, until shutdown.
    pub(crate) async fn notify_replicas(&self, store: &Store, channel: &str, shutdown: &Shutdown) {
        let mut hello = tokio::time::interval(HELLO);
        hello.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shutdown.is_started() {
            let is_hello = tokio::select! {
                () = self.notify.notified() => false,
                _ = hello.tick() => true,
                () = shutdown.started() => return,
            };
            let ready = self.notify_ready.swap(false, Ordering::Relaxed);
            let finished = self.notify_finished.swap(false, Ordering::Relaxed);
            if is_hello || self.has_peers() {
                let payload = format!("{} {}{}", self.id, u8::from(ready), u8::from(finished));
                let sent = limited(store.rules().silence, store.notify(channel, &payload)).await;
                if let Err(error) = sent {
                    tracing::debug!(%error, "notification not sent; other replicas poll");
                }
            }
            tokio::time::sleep(FLUSH).await;
        }
    }

    fn has_peers(&self) -> bool {
        self.peers.lock().values().any(|heard| heard.elapsed() < GONE)
    }

    fn heard(&self, from: &str) {
        let mut peers = self.peers.lock();
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, heard| heard.elapsed() < GONE);
        }
        if let Some(heard) = peers.get_mut(from) {
            *heard = Instant::now();
        } else if peers.len() < PEERS_MAX {
            peers.insert(from.to_owned(), Instant::now());
        }
    }

    /// Listens to the other replicas, until shutdown.
    pub(crate) async fn listen_to_replicas(
        &self,
        store: &Store,
        channel: &str,
        shutdown: &Shutdown,
    ) {
        let mut retry = Retry::new(RECONNECT.0, RECONNECT.1);
        while !shutdown.is_started() {
            let Err(error) = tokio::select! {
                lost = self.listen(store, channel, &mut retry) => lost,
                () = shutdown.started() => return,
            };
            let log = |Again { repeated, retry_seconds }| {
                let error = rollmill_service::one_line(&error);
                tracing::warn!(
                    error,
                    repeated,
                    retry_seconds,
                    "notifications unavailable; polling"
                );
            };
            retry.failed(shutdown.started(), log).await;
        }
    }

    /// Listens until the connection is lost, which ends an outage of `retry` once there is one.
    async fn listen(
        &self,
        store: &Store,
        channel: &str,
        retry: &mut Retry,
    ) -> Result<Infallible, BrokerError> {
        let mut listener = PgListener::connect_with(&store.listening()).await?;
        listener.listen(channel).await?;
        retry.succeeded(|wait_seconds| {
            tracing::info!(wait_seconds, "notifications available again");
        });
        // Earlier notifications are lost, so poll once.
        self.ready.notify_one();
        self.finished.send_modify(|n| *n += 1);
        loop {
            let received = tokio::time::timeout(SILENT, listener.try_recv()).await;
            let received = received.unwrap_or(Err(sqlx::Error::PoolTimedOut));
            let Some(notification) = received? else {
                self.ready.notify_one();
                self.finished.send_modify(|n| *n += 1);
                continue;
            };
            let Some((from, flags)) = notification.payload().split_once(' ') else { continue };
            if from == self.id {
                continue;
            }
            self.heard(from);
            if flags.starts_with('1') {
                self.ready.notify_one();
            }
            if flags.ends_with('1') {
                self.finished.send_modify(|n| *n += 1);
            }
        }
    }
}
