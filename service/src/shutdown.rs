//! The shutdown signal, as a value.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Error, Failure, Outcome};

/// How long a process that serves may take to release open work after a second signal: a few requests to servers
/// that answer. Then it ends although some of it is held.
pub(crate) const HAND_BACK: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    /// Finish open work, accept no new work.
    Draining,
    /// Release open work instead of finishing it.
    Aborted,
}

/// Asks the parts of a process to stop. Clones share one state, which only moves forward.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
    /// Why a part of the process ended it.
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A handle whose shutdown has not started.
    pub fn new() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Running)), failure: Arc::default() }
    }

    /// Starts a graceful shutdown. A second call changes nothing.
    pub fn start(&self) {
        self.advance(Phase::Draining);
    }

    /// Starts a graceful shutdown because a part of the process failed. The process then ends with this failure,
    /// unless its body ends with one of its own. Of several the first counts.
    pub fn fail(&self, failure: impl Into<Failure>) {
        self.failure.lock().get_or_insert_with(|| failure.into());
        self.start();
    }

    /// Asks to release open work at once instead of finishing it.
    pub fn abort(&self) {
        self.advance(Phase::Aborted);
    }

    /// Whether a shutdown was requested, graceful or not.
    pub fn is_started(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Waits until a shutdown was requested. Cancel safe.
    pub async fn started(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until open work must be released at once. Cancel safe.
    pub async fn aborted(&self) {
        self.reached(Phase::Aborted).await;
    }

    /// Waits for `pause`, or until a shutdown was requested; returns true in the second case. Cancel
    /// safe.
    pub async fn within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.started()).await.is_ok()
    }

    /// How a process ends whose body ended like this: with the failure of [`Self::fail`], if it has none of its own.
    pub(crate) fn settle(&self, outcome: Outcome) -> Outcome {
        match self.failure.lock().take() {
            Some(failure) if outcome.is_ok() => Err(failure),
            _ => outcome,
        }
    }

    /// Ready when the body of a process must end: its grace period is over, or a second signal has come and
    /// `hand_back` has passed since.
    pub(crate) async fn over(&self, grace: Duration, hand_back: Duration) -> Error {
        let aborted = async {
            self.aborted().await;
            tokio::time::sleep(hand_back).await;
        };
        tokio::select! {
            () = tokio::time::sleep(grace) => Error::Grace { seconds: grace.as_secs() },
            () = aborted => Error::Aborted,
        }
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let forward = to > *phase;
            if forward {
                *phase = to;
            }
            forward
        });
    }

    async fn reached(&self, requested: Phase) {
        let mut receiver = self.phase.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|phase| *phase >= requested).await;
    }
}

/// The first SIGINT or SIGTERM starts a graceful shutdown; after the second, open work is released at once.
pub(crate) fn on_signals(shutdown: &Shutdown) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let open = |kind| signal(kind).map_err(|source| Error::Runtime { source });
    let mut interrupt = open(SignalKind::interrupt())?;
    let mut terminate = open(SignalKind::terminate())?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if shutdown.is_started() {
                tracing::warn!("second signal; releasing open work");
                shutdown.abort();
            } else {
                tracing::info!("shutting down; send the signal again to release open work at once");
                shutdown.start();
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shutdown_ends_a_pause() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.within(Duration::ZERO).await);
        let waiting = shutdown.clone();
        let pause = tokio::spawn(async move { waiting.within(Duration::MAX).await });
        tokio::task::yield_now().await;
        shutdown.start();
        assert!(pause.await.unwrap());
        assert!(shutdown.within(Duration::MAX).await);
    }
}
