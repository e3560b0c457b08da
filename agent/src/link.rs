//! Whether the broker can be reached, told once and not with every request, and shown as the condition
//! `broker` of the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rollmill_broker_client::ClientError;
use rollmill_service::{Conditions, one_line};

/// How often a broker that stays unreachable is mentioned again.
const AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Outage {
    since: Instant,
    told: Instant,
    repeated: u32,
}

/// The state of the way to the broker. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    outage: Arc<Mutex<Option<Outage>>>,
    /// The last request was answered.
    is_up: Arc<AtomicBool>,
    conditions: Conditions,
}

impl Link {
    /// A link that was not tried yet.
    pub(crate) fn new(conditions: Conditions) -> Self {
        conditions.expect(&["broker"]);
        Self { conditions, ..Self::default() }
    }

    /// Whether the last request was answered. Before the first one, nobody knows.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// The broker responds, but not as one of this release would.
    pub(crate) fn differs(&self, error: &ClientError) {
        self.is_up.store(true, Ordering::Relaxed);
        self.conditions.set("broker", Err(one_line(error)));
    }

    /// The broker answered as it should.
    pub(crate) fn reached(&self) {
        self.is_up.store(true, Ordering::Relaxed);
        self.conditions.set("broker", Ok(()));
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Outage { since, .. }) = outage.take() {
            let wait_seconds = since.elapsed().as_secs_f64();
            tracing::info!(wait_seconds, "broker reachable again");
        }
    }

    /// A request got no answer that counts. Told at once, and again once a minute.
    pub(crate) fn failed(&self, error: &ClientError) {
        self.is_up.store(false, Ordering::Relaxed);
        self.conditions.set("broker", Err(one_line(error)));
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(known) = &mut *outage else {
            tracing::warn!(error = one_line(error), "broker unreachable; retrying");
            *outage = Some(Outage { since: now, told: now, repeated: 0 });
            return;
        };
        known.repeated += 1;
        if now - known.told >= AGAIN {
            let wait_seconds = known.since.elapsed().as_secs_f64();
            tracing::warn!(
                error = one_line(error),
                wait_seconds,
                repeated = known.repeated,
                "broker still unreachable"
            );
            known.told = now;
        }
    }
}
