//! Which requests are served, and when: a request takes a place only once its body has arrived.
//!
//! A body may take its sender a long time, so it is read before the request takes one of the places
//! that bound the work in progress; it takes memory from a budget as it arrives, so that a slow sender holds no more
//! than it has sent, and one token no more than half of the budget. What keeps leases and results alive has memory of
//! its own and waits in the flush lanes, whatever else is asked for. Others wait a moment for a place and are then
//! answered 503.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{header, request::Parts};
use rollmill_broker_client::routes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

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
    requests_max: usize,
    requests: Semaphore,
    bodies: Semaphore,
    urgent_bodies: Semaphore,
}

impl Admission {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self {
            requests_max,
            requests: Semaphore::new(requests_max),
            bodies: Semaphore::new(BODY_BYTES / UNIT),
            urgent_bodies: Semaphore::new(URGENT_BODY_BYTES / UNIT),
        }
    }

    /// The shares that are taken, from 0 to 1: of the places of requests, of the memory for bodies, and of that for urgent
    /// ones.
    pub(crate) fn fill(&self) -> [f64; 3] {
        [
            (&self.requests, self.requests_max),
            (&self.bodies, BODY_BYTES / UNIT),
            (&self.urgent_bodies, URGENT_BODY_BYTES / UNIT),
        ]
        .map(|(of, all)| all.saturating_sub(of.available_permits()) as f64 / all.max(1) as f64)
    }

    /// The memory of a body of at most `max` bytes, which takes it as it arrives. `share` is what its token may have of
    /// it. Returns [`BrokerError::Overloaded`] at once where there would not be enough.
    pub(super) fn memory(
        &self,
        admission: routes::Admission,
        parts: &Parts,
        max: usize,
        share: Option<Arc<Semaphore>>,
    ) -> Result<Memory<'_>, BrokerError> {
        let budget = match admission {
            routes::Admission::LongPoll | routes::Admission::Bounded => &self.bodies,
            routes::Admission::Urgent => &self.urgent_bodies,
        };
        // A body of unknown length can have any length; reading stops at the limit.
        let bytes = length(parts).map_or(max, |length| length.min(max));
        let free = share.as_ref().map_or(usize::MAX, |share| share.available_permits());
        if bytes.div_ceil(UNIT) > free.min(budget.available_permits()) {
            return Err(BrokerError::Overloaded);
        }
        Ok(Memory { budget, share, permit: None, shared: None, units: 0, max })
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

/// What the bodies of one token may take of a budget: half, so that they leave the others theirs.
pub(crate) fn share(is_urgent: bool) -> Semaphore {
    let budget = if is_urgent { URGENT_BODY_BYTES } else { BODY_BYTES };
    Semaphore::new(budget / UNIT / 2)
}

/// Memory that a body holds.
#[derive(Debug)]
pub(crate) struct Memory<'a> {
    budget: &'a Semaphore,
    share: Option<Arc<Semaphore>>,
    permit: Option<SemaphorePermit<'a>>,
    shared: Option<OwnedSemaphorePermit>,
    units: usize,
    max: usize,
}

impl Memory<'_> {
    /// Takes what a body needs of which this many bytes have arrived, and no more than its most.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), BrokerError> {
        let units = bytes.min(self.max).div_ceil(UNIT);
        let more = u32::try_from(units.saturating_sub(self.units)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        if let Some(share) = &self.share {
            let taken = Arc::clone(share).try_acquire_many_owned(more);
            let taken = taken.map_err(|_| BrokerError::Overloaded)?;
            match &mut self.shared {
                Some(held) => held.merge(taken),
                None => self.shared = Some(taken),
            }
        }
        let taken = self.budget.try_acquire_many(more).map_err(|_| BrokerError::Overloaded)?;
        match &mut self.permit {
            Some(held) => held.merge(taken),
            None => self.permit = Some(taken),
        }
        self.units = units;
        Ok(())
    }
}

pub(super) fn length(parts: &Parts) -> Option<usize> {
    parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(length: Option<usize>) -> Parts {
        let mut request = axum::http::Request::builder();
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn free(admission: &Admission) -> usize {
        admission.bodies.available_permits() * UNIT
    }

    /// Fault: clients that announce large bodies, or none, and send little of them for hours.
    #[test]
    fn a_body_holds_what_has_arrived_of_it() {
        let admission = Admission::new(1);
        let bounded = routes::Admission::Bounded;
        let slow: Vec<_> = [Some(4 << 20), None]
            .repeat(500)
            .into_iter()
            .map(|length| {
                let memory = admission.memory(bounded, &parts(length), 4 << 20, None);
                let mut memory = memory.unwrap();
                memory.grow(100).unwrap();
                memory
            })
            .collect();
        assert_eq!(free(&admission), BODY_BYTES - 1000 * UNIT);
        let [requests, bodies, urgent] = admission.fill();
        let held = (1000 * UNIT) as f64 / BODY_BYTES as f64;
        assert!((bodies - held).abs() < 1e-9, "{bodies} instead of {held}");
        assert!(requests == 0.0 && urgent == 0.0, "{requests}, {urgent}");
        drop(slow);
        let mut one = admission.memory(bounded, &parts(None), 10_000, None).unwrap();
        for (arrived, held) in
            [(1, 1024), (1024, 1024), (1025, 2048), (9000, 9216), (90_000, 10_240)]
        {
            one.grow(arrived).unwrap();
            assert_eq!(free(&admission), BODY_BYTES - held, "{arrived}");
        }
        drop(one);
        assert_eq!(free(&admission), BODY_BYTES);
        let large = admission.memory(bounded, &parts(Some(BODY_BYTES + 1)), usize::MAX, None);
        assert_eq!(large.unwrap_err().code(), "BRK-022");
    }

    /// Fault: one token's agents send as much as they can, and send it slowly, as heartbeats too. Those of others get
    /// in.
    #[test]
    fn one_token_leaves_memory_for_the_others() {
        let admission = Admission::new(1);
        for (kind, is_urgent, budget) in [
            (routes::Admission::Bounded, false, BODY_BYTES),
            (routes::Admission::Urgent, true, URGENT_BODY_BYTES),
        ] {
            let ask = |share: &Arc<Semaphore>| {
                let share = Some(Arc::clone(share));
                let mut memory = admission.memory(kind, &parts(None), 1 << 20, share)?;
                memory.grow(1 << 20).map(|()| memory)
            };
            let (greedy, other) = (Arc::new(share(is_urgent)), Arc::new(share(is_urgent)));
            let mut held = Vec::new();
            while let Ok(memory) = ask(&greedy) {
                held.push(memory);
            }
            assert_eq!(held.len(), (budget >> 20) / 2);
            ask(&other).unwrap();
            held.pop();
            ask(&greedy).unwrap();
        }
    }
}
