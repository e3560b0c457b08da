//! The shutdown signal, as a value.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    /// Finish open work, accept no new work.
    Draining,
    /// Exit immediately.
    Aborted,
}

/// Asks the parts of a process to stop. Clones share one state, which only moves forward.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A handle whose shutdown has not started.
    pub fn new() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Running)) }
    }

    /// Starts a graceful shutdown. A second call changes nothing.
    pub fn start(&self) {
        self.advance(Phase::Draining);
    }

    /// Requests an immediate exit.
    pub fn abort(&self) {
        self.advance(Phase::Aborted);
    }

    /// Whether a graceful shutdown or an immediate exit was requested.
    pub fn is_started(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Waits until a shutdown was requested. Cancel safe.
    pub async fn started(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until an immediate exit was requested. Cancel safe.
    pub async fn aborted(&self) {
        self.reached(Phase::Aborted).await;
    }

    /// Waits for `pause`, or until a shutdown was requested; returns true in the second case. Cancel
    /// safe.
    pub async fn within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.started()).await.is_ok()
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

/// The first SIGINT or SIGTERM starts a graceful shutdown, the second an immediate exit.
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
                tracing::warn!("second signal; exiting immediately");
                shutdown.abort();
            } else {
                tracing::info!("shutting down; send the signal again to exit immediately");
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
