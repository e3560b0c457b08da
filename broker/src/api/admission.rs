//! Which requests are served, and when: a request takes a place only once its body has arrived.
//!
//! A body may take its sender a long time, so it is read before the request takes one of the places
//! that bound the work in progress; it takes only the memory that it needs, from a budget. What keeps
//! leases and results alive has memory of its own and waits in the flush lanes, whatever else is asked for.
//! Others wait a moment for a place and are then answered 503.

use std::time::Duration;

use axum::http::{header, request::Parts};
use rollmill_broker_client::routes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::BrokerError;

/// Bytes of bodies that may be in memory, of artifacts and of requests that can come again.
const BODY_BYTES: usize = 256 << 20;
/// Bytes of bodies that may be in memory, of heartbeats and outcomes.
const URGENT_BODY_BYTES: usize = 64 << 20;
/// How long a request waits for a place before it is answered 503.
const PLACE_WAIT: Duration = Duration::from_secs(2);
/// Unit in which body memory is counted.
const UNIT: usize = 1024;

/// Places and memory for requests.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Semaphore,
    bodies: Semaphore,
    urgent_bodies: Semaphore,
}

impl Admission {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self {
            requests: Semaphore::new(requests_max),
            bodies: Semaphore::new(BODY_BYTES / UNIT),
            urgent_bodies: Semaphore::new(URGENT_BODY_BYTES / UNIT),
        }
    }

    /// Takes memory for a body of at most `max` bytes before it is read. Returns
    /// [`BrokerError::Overloaded`] at once where there is none.
    pub(super) fn memory(
        &self,
        admission: routes::Admission,
        parts: &Parts,
        max: usize,
    ) -> Result<Option<SemaphorePermit<'_>>, BrokerError> {
        let memory = match admission {
            routes::Admission::LongPoll | routes::Admission::Bounded => &self.bodies,
            routes::Admission::Urgent => &self.urgent_bodies,
        };
        // A body of unknown length can have any length; reading stops at the limit.
        let bytes = length(parts).map_or(max, |length| length.min(max));
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        memory.try_acquire_many(units).map(Some).map_err(|_| BrokerError::Overloaded)
    }

    /// Takes more memory for a body, which turned out to be larger than its length said, or for an
    /// answer.
    pub(crate) fn more(&self, bytes: usize) -> Result<SemaphorePermit<'_>, BrokerError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        self.bodies.try_acquire_many(units).map_err(|_| BrokerError::Overloaded)
    }

    /// Takes a place, once the body has arrived. A long poll takes none, and an urgent request waits in its lane
    /// instead.
    pub(crate) async fn place(
        &self,
        admission: routes::Admission,
    ) -> Result<Option<SemaphorePermit<'_>>, BrokerError> {
        match admission {
            routes::Admission::LongPoll | routes::Admission::Urgent => Ok(None),
            routes::Admission::Bounded => {
                let place = tokio::time::timeout(PLACE_WAIT, self.requests.acquire()).await;
                place.ok().and_then(Result::ok).map(Some).ok_or(BrokerError::Overloaded)
            }
        }
    }
}

/// Returns the memory that a body of this length does not need.
pub(super) fn trim(mut memory: SemaphorePermit<'_>, bytes: usize) -> SemaphorePermit<'_> {
    memory.split(bytes.div_ceil(UNIT)).unwrap_or(memory)
}

pub(super) fn length(parts: &Parts) -> Option<usize> {
    parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
