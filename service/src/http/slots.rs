//! The slots for connections: how many there are, and which connection is evicted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::connection::{Ended, Progress};
use super::{HttpMetrics, UnknownLimits};
use crate::Outage;

#[derive(Debug)]
struct Place {
    peer: IpAddr,
    opened: Instant,
    progress: Arc<Progress>,
    evicted: Arc<Notify>,
}

/// Open connections by number.
#[derive(Debug)]
pub(super) struct Slots {
    total: usize,
    per_peer: usize,
    unknown: Option<UnknownLimits>,
    metrics: HttpMetrics,
    places: Mutex<HashMap<u64, Place>>,
    next: AtomicU64,
    /// Connections whose task has not ended, evicted ones included.
    running: watch::Sender<usize>,
    closings: Outage,
    accept_errors: Outage,
}

/// A slot that a connection occupies until it is released.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    id: u64,
    pub(super) progress: Arc<Progress>,
    pub(super) evicted: Arc<Notify>,
}

impl Slots {
    pub(super) fn new(
        total: usize,
        per_peer: usize,
        unknown: Option<UnknownLimits>,
        metrics: HttpMetrics,
    ) -> Self {
        Self {
            total,
            per_peer,
            unknown,
            metrics,
            places: Mutex::default(),
            next: AtomicU64::new(0),
            running: watch::Sender::new(0),
            closings: Outage::default(),
            accept_errors: Outage::default(),
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<u64, Place>> {
        self.places.lock()
    }

    /// Returns a slot for a connection of `peer`. At a limit the connection that has been silent
    /// longest is evicted: one of `peer` if that is at its own limit, else one of the peer with the
    /// most connections. `None` when all of those have requests in progress.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Slot> {
        let mut places = self.places();
        self.evict_unknown(&mut places, peer);
        let of_peer = places.values().filter(|place| place.peer == peer).count();
        let is_free = if of_peer >= self.per_peer {
            self.evict(&mut places, Some(peer))
        } else if places.len() >= self.total {
            self.evict(&mut places, None)
        } else {
            true
        };
        if !is_free {
            drop(places);
            self.closed(Ended::Full);
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (progress, evicted) = (Arc::new(Progress::new()), Arc::new(Notify::new()));
        let opened = Instant::now();
        let place =
            Place { peer, opened, progress: Arc::clone(&progress), evicted: Arc::clone(&evicted) };
        places.insert(id, place);
        self.metrics.0.connections.set(i64::try_from(places.len()).unwrap_or(i64::MAX));
        drop(places);
        self.running.send_modify(|running| *running += 1);
        Some(Slot { slots: Arc::clone(self), id, progress, evicted })
    }

    /// Closes the most silent connection, to get its file descriptor back.
    pub(super) fn evict_one(&self) {
        self.evict(&mut self.places(), None);
    }

    fn evict(&self, places: &mut HashMap<u64, Place>, peer: Option<IpAddr>) -> bool {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for place in places.values() {
            *counts.entry(place.peer).or_default() += 1;
        }
        let candidates = places.iter().filter(|(_, place)| peer.is_none_or(|p| p == place.peer));
        // Of the busiest peer first, then the longest silence.
        let victim = candidates
            .filter_map(|(id, place)| {
                let silent_since = place.progress.waits_for_peer_since()?;
                let of_peer = counts.get(&place.peer).copied().unwrap_or_default();
                Some((std::cmp::Reverse(of_peer), silent_since, *id))
            })
            .min();
        let Some((_, _, id)) = victim else { return false };
        if let Some(place) = places.remove(&id) {
            place.evicted.notify_one();
        }
        true
    }

    /// Closes connections that nobody has vouched for, the most silent first, so that one more is within their limits.
    fn evict_unknown(&self, places: &mut HashMap<u64, Place>, peer: IpAddr) {
        let Some(limits) = self.unknown else { return };
        if peer.is_loopback() && !limits.count_loopback {
            return;
        }
        let mut unknown: Vec<(Instant, u64, IpAddr)> = places
            .iter()
            .filter(|(_, place)| limits.count_loopback || !place.peer.is_loopback())
            .filter(|(_, place)| !place.progress.is_known())
            .filter(|(_, place)| place.opened.elapsed() >= limits.after)
            .filter_map(|(id, place)| {
                Some((place.progress.waits_for_peer_since()?, *id, place.peer))
            })
            .collect();
        unknown.sort_unstable();
        let of_peer = unknown.iter().filter(|(_, _, of)| *of == peer).count();
        let mut beyond_of_peer = (of_peer + 1).saturating_sub(limits.connections_per_peer);
        let mut beyond = (unknown.len() + 1).saturating_sub(limits.connections);
        for (_, id, of) in unknown {
            let is_of_peer = of == peer && beyond_of_peer > 0;
            if !is_of_peer && beyond <= beyond_of_peer {
                continue;
            }
            if let Some(place) = places.remove(&id) {
                place.evicted.notify_one();
            }
            beyond = beyond.saturating_sub(1);
            beyond_of_peer = beyond_of_peer.saturating_sub(usize::from(is_of_peer));
        }
    }

    /// Counts a connection that the server closed.
    fn closed(&self, ended: Ended) {
        let Some(reason) = ended.reason() else { return };
        self.metrics.0.connections_closed_total.with_label_values(&[reason]).inc();
        if let Some(repeated) = self.closings.failed() {
            tracing::warn!(reason, repeated, "connection closed by the server");
        }
    }

    pub(super) fn report_accept_error(&self, error: &std::io::Error) {
        if let Some(repeated) = self.accept_errors.failed() {
            let error = rollmill_errors::InWords(error).to_string();
            tracing::error!(error, repeated, "cannot accept connections; retrying");
        }
    }

    /// Waits until no connection is open.
    pub(super) async fn empty(&self) {
        let mut running = self.running.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = running.wait_for(|running| *running == 0).await;
    }
}

impl Slot {
    /// Releases the slot.
    pub(super) fn release(self, ended: Ended) {
        self.slots.closed(ended);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut places = self.slots.places();
        places.remove(&self.id);
        self.slots.metrics.0.connections.set(i64::try_from(places.len()).unwrap_or(i64::MAX));
        drop(places);
        self.slots.running.send_modify(|running| *running = running.saturating_sub(1));
    }
}
