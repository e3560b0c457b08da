//! One operation that a task repeats until it succeeds: the pauses between its tries, and what of its failures
//! is logged.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::{Backoff, Outage};

/// An operation that one task repeats until it succeeds. Both halves of what every such loop needs are here:
/// the pauses of a [`Backoff`], with jitter and a maximum, and the log of an [`Outage`]: an event for the first
/// failure, one a minute with the number of failures since, and one when it is over.
///
/// ```
/// use std::time::Duration;
/// use rollmill_net::{Again, Retry};
///
/// async fn follow(shutdown: impl Future<Output = ()> + Clone, mut step: impl FnMut() -> Result<(), String>) {
///     let mut retry = Retry::new(Duration::from_millis(200), Duration::from_secs(10));
///     loop {
///         match step() {
///             Ok(()) => break retry.succeeded(|wait_seconds| println!("done after {wait_seconds} s")),
///             Err(error) => {
///                 let log = |Again { repeated, retry_seconds }| {
///                     println!("{error}, {repeated} times more; retrying in {retry_seconds} s");
///                 };
///                 retry.failed(shutdown.clone(), log).await;
///             }
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Retry {
    backoff: Backoff,
    outage: Outage,
}

/// What belongs into the log event of a failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Again {
    /// Failures since the last event of this outage, this one included; 0 for the first.
    pub repeated: u64,
    /// Time until the next try.
    pub retry_seconds: f64,
}

impl Retry {
    /// The pause after a first failure is at most `first`; each later one is at most twice its predecessor's
    /// maximum and at most `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { backoff: Backoff::new(first, longest), outage: Outage::default() }
    }

    /// Pauses that do not grow: from half of `pause` to all of it.
    pub fn steady(pause: Duration) -> Self {
        Self::new(pause, pause)
    }

    /// A try failed: calls `log` if an event is due, then pauses, at most until `end`. `end` is the shutdown of the
    /// process, a deadline, or whatever else makes the next try worth its while; it is [`std::future::pending`]
    /// where the task is dropped by its owner. Cancel safe: the failure is recorded at the first poll.
    pub async fn failed(&mut self, end: impl Future<Output = ()>, log: impl FnOnce(Again)) {
        let pause = self.failed_at(Instant::now(), log);
        // Both ends of the pause are fine.
        let _ = tokio::time::timeout(pause, end).await;
    }

    /// A try succeeded: the next pause is the first again. Calls `log` after failures, with the seconds since the
    /// first of them.
    pub fn succeeded(&mut self, log: impl FnOnce(f64)) {
        self.succeeded_at(Instant::now(), log);
    }

    /// The next failure is logged whenever it comes: it is of another kind than the last one.
    pub fn changed(&mut self) {
        self.outage.changed();
    }

    fn failed_at(&mut self, now: Instant, log: impl FnOnce(Again)) -> Duration {
        let pause = self.backoff.pause();
        if let Some(repeated) = self.outage.failed_at(now) {
            log(Again { repeated, retry_seconds: pause.as_secs_f64() });
        }
        pause
    }

    fn succeeded_at(&mut self, now: Instant, log: impl FnOnce(f64)) {
        self.backoff.reset();
        if let Some(wait_seconds) = self.outage.ended_at(now) {
            log(wait_seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(10);

    /// An hour without success, on a clock that the pauses alone advance.
    #[test]
    fn an_outage_is_logged_at_its_start_each_minute_and_at_its_end_and_its_pauses_grow() {
        let (mut retry, start) = (Retry::new(FIRST, LONGEST), Instant::now());
        for outage in 0..2 {
            let (mut now, mut events, mut failures) = (start, Vec::new(), 0u64);
            while now < start + Duration::from_secs(3600) {
                let mut due = None;
                let pause = retry.failed_at(now, |again| due = Some(again));
                let most = LONGEST.min(FIRST * 2u32.pow(u32::try_from(failures.min(6)).unwrap()));
                assert!((most.mul_f64(0.499)..=most).contains(&pause), "{failures}: {pause:?}");
                if let Some(again) = due {
                    assert_eq!(again.retry_seconds, pause.as_secs_f64());
                    events.push((now, again.repeated));
                }
                (now, failures) = (now + pause, failures + 1);
            }
            assert_eq!(events[0], (start, 0), "outage {outage}");
            let gaps = events.windows(2).map(|pair| pair[1].0 - pair[0].0);
            for gap in gaps {
                assert!((60.0..70.1).contains(&gap.as_secs_f64()), "{gap:?} between two events");
            }
            // Every failure but the first, and but those after the last event, is counted once.
            let counted: u64 = events.iter().map(|(_, repeated)| repeated).sum();
            assert!((failures - 15..failures).contains(&counted), "{counted} of {failures}");
            let mut ends = Vec::new();
            retry.succeeded_at(now, |wait_seconds| ends.push(wait_seconds));
            retry.succeeded_at(now, |wait_seconds| ends.push(wait_seconds));
            assert_eq!(ends, [(now - start).as_secs_f64()], "one end for one outage");
        }
    }

    #[test]
    fn a_failure_of_another_kind_is_logged_at_once_and_its_pause_grows_on() {
        let (mut retry, now) = (Retry::new(FIRST, LONGEST), Instant::now());
        let mut events = Vec::new();
        retry.failed_at(now, |again| events.push(again.repeated));
        retry.failed_at(now, |again| events.push(again.repeated));
        retry.changed();
        let pause = retry.failed_at(now, |again| events.push(again.repeated));
        assert_eq!(events, [0, 2]);
        assert!(pause > FIRST, "{pause:?}");
    }

    /// An end that has come ends the longest pause; without one the pause ends by itself.
    #[tokio::test]
    async fn a_pause_ends_with_its_end_or_by_itself() {
        let mut retry = Retry::steady(Duration::MAX);
        let mut events = 0;
        retry.failed(std::future::ready(()), |_| events += 1).await;
        let mut retry = Retry::steady(Duration::from_millis(1));
        retry.failed(std::future::pending(), |_| events += 1).await;
        assert_eq!(events, 2);
    }
}
