//! When the agent leaves: why, and until when it may finish what it holds.
//!
//! It takes no more jobs from then on, and returns those that have not reached the device. What the broker asks can be
//! withdrawn until the agent has left; a signal, a machine that is reclaimed and a fault cannot.

use std::sync::Arc;
use std::time::Duration;

use rollmill_service::Shutdown;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// Longest time that a notice leaves: one that names a later end is wrong.
const LEFT_MAX: Duration = Duration::from_secs(86_400);

/// Why an agent takes no more jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The process was told to stop.
    Signal,
    /// Somebody asked the broker for it.
    Drain,
    /// The machine is taken away.
    Reclaim,
    /// The device is gone, or the broker rejects the agent.
    Fault,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Signal, Self::Drain, Self::Reclaim, Self::Fault];

    /// As it is logged and counted.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Drain => "drain",
            Self::Reclaim => "reclaim",
            Self::Fault => "fault",
        }
    }

    /// Every reason, as its series is labelled.
    pub(crate) fn labels() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::as_str)
    }
}

#[derive(Clone, Debug)]
struct Leave {
    reason: Reason,
    /// Who asked, where somebody did.
    label: Option<String>,
    /// What is not finished then is returned.
    until: Instant,
    /// It is not withdrawn.
    is_final: bool,
}

/// Whether the agent leaves. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    state: Arc<watch::Sender<Option<Leave>>>,
    /// Time to finish, where nothing else says how much there is.
    drain: Duration,
    metrics: Metrics,
}

impl Leaving {
    pub(crate) fn new(drain: Duration, metrics: Metrics) -> Self {
        Self { state: Arc::new(watch::Sender::new(None)), drain, metrics }
    }

    /// What the broker answered: whether somebody asks the agent to leave, and who.
    pub(crate) fn heard(&self, drain: bool, by: Option<&str>) {
        match drain {
            true => self.begin(Reason::Drain, by, self.drain),
            false => self.stay(),
        }
    }

    /// The machine is taken away, after `left` if that is known.
    pub(crate) fn reclaimed(&self, left: Option<Duration>) {
        self.begin(Reason::Reclaim, None, left.unwrap_or(self.drain));
    }

    /// The agent can do nothing more. It leaves for this reason unless it does for another.
    pub(crate) fn fail(&self) {
        self.begin(Reason::Fault, None, self.drain);
    }

    /// Follows the shutdown of the process, and starts it once the time is over: from then on the process has its grace
    /// period and no more.
    pub(crate) async fn follow(&self, shutdown: &Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.over() => {
                self.seal();
                shutdown.start();
            }
        }
        self.begin(Reason::Signal, None, self.drain);
        shutdown.aborted().await;
        self.begin(Reason::Signal, None, Duration::ZERO);
    }

    fn begin(&self, reason: Reason, label: Option<&str>, within: Duration) {
        let until = Instant::now() + within.min(LEFT_MAX);
        let is_final = reason != Reason::Drain;
        let mut begins = false;
        self.state.send_if_modified(|state| {
            let before = state.as_ref().map(|leave| (leave.is_final, leave.until));
            begins = before.is_none_or(|(was_final, _)| is_final && !was_final);
            // What is asked again does not move the end.
            let until = match before {
                Some((_, before)) if is_final => before.min(until),
                Some((_, before)) => before,
                None => until,
            };
            let is_moved = before.is_some_and(|(_, before)| before != until);
            if begins {
                let label = label.map(str::to_owned);
                *state = Some(Leave { reason, label, until, is_final });
            } else if let Some(leave) = state {
                leave.until = until;
            }
            begins || is_moved
        });
        if begins {
            let (reason, limit_seconds) = (reason.as_str(), within.as_secs_f64());
            self.metrics.leaving_total.with_label_values(&[reason]).inc();
            tracing::info!(reason, label, limit_seconds, "leaving; no further jobs claimed");
        }
    }

    /// What the broker asked is withdrawn.
    fn stay(&self) {
        let stays = self.state.send_if_modified(|state| {
            let may_stay = state.as_ref().is_some_and(|leave| !leave.is_final);
            if may_stay {
                *state = None;
            }
            may_stay
        });
        if stays {
            tracing::info!("no longer asked to leave; claiming continues");
        }
    }

    /// Nothing is withdrawn any more.
    pub(crate) fn seal(&self) {
        self.state.send_if_modified(|state| {
            if let Some(leave) = state {
                leave.is_final = true;
            }
            false
        });
    }

    /// Whether the agent takes no more jobs.
    pub(crate) fn is_started(&self) -> bool {
        self.state.borrow().is_some()
    }

    /// Waits until the agent takes no more jobs. Cancel safe.
    pub(crate) async fn started(&self) {
        let mut state = self.state.subscribe();
        // The sender is this value's own.
        let _ = state.wait_for(Option::is_some).await;
    }

    /// Waits for `pause`, or until the agent takes no more jobs. Cancel safe.
    pub(crate) async fn within(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.started()).await;
    }

    /// Waits until what the agent holds must be returned. Cancel safe.
    pub(crate) async fn over(&self) {
        let mut state = self.state.subscribe();
        loop {
            let until = state.borrow_and_update().as_ref().map(|leave| leave.until);
            let time = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => return,
                _ = state.changed() => {}
            }
        }
    }

    /// Waits until it is decided whether the agent goes, once it takes no more jobs. Returns that. Cancel safe.
    pub(crate) async fn decided(&self) -> bool {
        let mut state = self.state.subscribe();
        loop {
            let leave =
                state.borrow_and_update().as_ref().map(|leave| (leave.is_final, leave.until));
            let until = match leave {
                None => return false,
                Some((true, _)) => return true,
                Some((false, until)) => until,
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                _ = state.changed() => {}
            }
        }
    }

    /// Why the agent leaves, and who asked for it.
    pub(crate) fn why(&self) -> Option<(&'static str, Option<String>)> {
        let state = self.state.borrow();
        state.as_ref().map(|leave| (leave.reason.as_str(), leave.label.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn leaving(drain: Duration) -> Leaving {
        let metrics = Metrics::new(&rollmill_service::prometheus::Registry::new()).unwrap();
        Leaving::new(drain, metrics)
    }

    fn count(leaving: &Leaving, reason: Reason) -> u64 {
        leaving.metrics.leaving_total.with_label_values(&[reason.as_str()]).get()
    }

    fn reason(leaving: &Leaving) -> Option<&'static str> {
        leaving.why().map(|(reason, _)| reason)
    }

    #[tokio::test]
    async fn what_the_broker_asks_is_taken_back_and_what_others_say_is_not() {
        let leaving = leaving(LONG);
        leaving.heard(false, None);
        assert!(!leaving.is_started());
        for _ in 0..2 {
            leaving.heard(true, Some("me"));
        }
        assert_eq!(leaving.why(), Some(("drain", Some("me".to_owned()))));
        leaving.heard(false, None);
        assert!(!leaving.is_started() && !leaving.decided().await);
        leaving.heard(true, Some("me"));
        leaving.reclaimed(Some(LONG));
        leaving.heard(false, None);
        leaving.heard(true, Some("me"));
        assert_eq!(reason(&leaving), Some("reclaim"));
        assert!(leaving.decided().await);
        assert_eq!([Reason::Drain, Reason::Reclaim].map(|of| count(&leaving, of)), [2, 1]);
    }

    #[tokio::test]
    async fn a_drain_is_decided_once_its_time_is_over_or_it_is_sealed() {
        let over = leaving(Duration::ZERO);
        over.heard(true, None);
        assert!(over.decided().await);
        over.over().await;
        let sealed = leaving(LONG);
        sealed.heard(true, None);
        sealed.seal();
        sealed.heard(false, None);
        assert!(sealed.decided().await && sealed.is_started());
    }

    /// Goal: the earliest end counts, whichever comes last, and the first reason that is final stays.
    #[tokio::test]
    async fn the_earliest_end_counts() {
        for reclaim_first in [true, false] {
            let (leaving, shutdown) = (leaving(LONG), Shutdown::new());
            if reclaim_first {
                leaving.reclaimed(Some(Duration::ZERO));
            }
            shutdown.start();
            let follow = leaving.follow(&shutdown);
            let both = async {
                if !reclaim_first {
                    leaving.started().await;
                    leaving.reclaimed(Some(Duration::ZERO));
                }
                leaving.over().await;
            };
            tokio::select! {
                () = follow => {}
                () = both => {}
            }
            let first = if reclaim_first { "reclaim" } else { "signal" };
            assert_eq!(reason(&leaving), Some(first));
        }
    }

    /// Goal: a second signal ends the wait, and a time that is over starts the process's own end.
    #[tokio::test]
    async fn the_end_of_the_process_and_of_the_time_are_one() {
        let (first, shutdown) = (leaving(LONG), Shutdown::new());
        shutdown.abort();
        tokio::select! {
            () = first.follow(&shutdown) => {}
            () = async { first.started().await; first.over().await } => {}
        }
        first.over().await;
        let (second, shutdown) = (leaving(Duration::ZERO), Shutdown::new());
        second.heard(true, Some("me"));
        tokio::select! {
            () = second.follow(&shutdown) => {}
            () = shutdown.started() => {}
        }
        assert_eq!(reason(&second), Some("drain"), "no signal came");
    }
}
