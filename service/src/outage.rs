//! Decides when to log a repeating failure: when it starts, once a minute while it lasts, and when it
//! ends.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Interval of the log events while a failure lasts.
const INTERVAL: Duration = Duration::from_secs(60);

/// The state of something that can fail repeatedly, such as a connection.
///
/// ```
/// let outage = rollmill_service::Outage::default();
/// assert_eq!(outage.failed(), Some(0)); // log it: it has just started
/// assert_eq!(outage.failed(), None); // counted only
/// let wait_seconds = outage.ended(); // log it: it is over
/// assert!(wait_seconds.is_some());
/// assert_eq!(outage.ended(), None);
/// ```
#[derive(Debug, Default)]
pub struct Outage {
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    logged: Instant,
    repeated: u64,
}

impl Outage {
    /// Records a failure. `Some` when a log event is due, with the number of failures since the last
    /// event.
    pub fn failed(&self) -> Option<u64> {
        self.failed_at(Instant::now())
    }

    /// Records a success. `Some` after failures, with the seconds since the first of them.
    pub fn ended(&self) -> Option<f64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.take().map(|state| state.since.elapsed().as_secs_f64())
    }

    fn failed_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = &mut *state else {
            *state = Some(State { since: now, logged: now, repeated: 0 });
            return Some(0);
        };
        known.repeated += 1;
        if now.saturating_duration_since(known.logged) < INTERVAL {
            return None;
        }
        known.logged = now;
        Some(std::mem::take(&mut known.repeated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_at_its_start_and_then_once_a_minute_with_a_count() {
        let (outage, start) = (Outage::default(), Instant::now());
        let logged: Vec<(u64, u64)> = (0..=150)
            .filter_map(|second| {
                let repeated = outage.failed_at(start + Duration::from_secs(second))?;
                Some((second, repeated))
            })
            .collect();
        assert_eq!(logged, [(0, 0), (60, 60), (120, 60)]);
    }

    #[test]
    fn a_failure_that_comes_back_is_logged_at_once() {
        let (outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.failed_at(start), Some(0));
        assert!(outage.ended().is_some());
        assert_eq!(outage.ended(), None);
        assert_eq!(outage.failed_at(start + Duration::from_secs(1)), Some(0));
    }
}
