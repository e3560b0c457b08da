//! Whether the broker is reachable: logged when that changes and not with every request, and shown as
//! the condition `broker` of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollmill_broker_client::ClientError;
use rollmill_service::{Conditions, Outage, one_line};

/// The state of the connection to the broker. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    outage: Arc<Outage>,
    /// The last request was answered.
    is_up: Arc<AtomicBool>,
    conditions: Conditions,
}

impl Link {
    /// A link that has not been used yet.
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
        self.conditions.record("broker", Err(one_line(error)));
    }

    /// The broker answered as expected.
    pub(crate) fn reached(&self) {
        self.is_up.store(true, Ordering::Relaxed);
        self.conditions.record("broker", Ok(()));
        if let Some(wait_seconds) = self.outage.ended() {
            tracing::info!(wait_seconds, "broker reachable again");
        }
    }

    /// A request failed for now. Logged at once, and then once a minute.
    pub(crate) fn failed(&self, error: &ClientError) {
        self.is_up.store(false, Ordering::Relaxed);
        self.conditions.record("broker", Err(one_line(error)));
        if let Some(repeated) = self.outage.failed() {
            tracing::warn!(error = one_line(error), repeated, "broker unreachable; retrying");
        }
    }
}
