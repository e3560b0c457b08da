//! A failure that repeats: when to log it, so that it is logged when it starts, once a minute while it
//! lasts, and when it ends.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Interval of the log events while a failure lasts.
const INTERVAL: Duration = Duration::from_secs(60);

/// The state of one thing that several tasks use and that can fail again and again, such as a connection.
/// A task that alone repeats an operation has a [`crate::Retry`], which contains one of these. Where successes come
/// between the failures, such as requests of many clients, leave out [`Self::ended`]: it then limits the log to
/// one event a minute.
///
/// ```
/// let outage = rollmill_net::Outage::default();
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
    /// When the last log event was due; `None` if the next failure is logged whenever it comes.
    logged: Option<Instant>,
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
        self.ended_at(Instant::now())
    }

    /// How long it has lasted; `None` while there is none.
    pub fn lasted(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.as_ref().map(|state| state.since.elapsed())
    }

    /// The next failure is logged whenever it comes, since it is of another kind than the last one.
    pub(crate) fn changed(&self) {
        let mut state = self.state.lock();
        if let Some(known) = &mut *state {
            known.logged = None;
        }
    }

    pub(crate) fn failed_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        let Some(known) = &mut *state else {
            *state = Some(State { since: now, logged: Some(now), repeated: 0 });
            return Some(0);
        };
        known.repeated += 1;
        if known.logged.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL) {
            return None;
        }
        known.logged = Some(now);
        Some(std::mem::take(&mut known.repeated))
    }

    pub(crate) fn ended_at(&self, now: Instant) -> Option<f64> {
        let mut state = self.state.lock();
        state.take().map(|state| now.saturating_duration_since(state.since).as_secs_f64())
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
        assert!(outage.lasted().is_some());
        assert!(outage.ended().is_some());
        assert_eq!((outage.ended(), outage.lasted()), (None, None));
        assert_eq!(outage.failed_at(start + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn a_failure_of_another_kind_is_logged_at_once() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |second| outage.failed_at(start + Duration::from_secs(second));
        assert_eq!((at(0), at(1)), (Some(0), None));
        outage.changed();
        assert_eq!((at(2), at(3), at(61)), (Some(2), None, None));
        assert_eq!(at(62), Some(3), "a minute after the last event");
    }
}
