//! Loading ahead: while an agent holds no job it loads what the first job of each type would wait for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::agent::run_blocking;
use crate::heartbeat::Cancel;
use crate::metrics::Metrics;
use crate::worker::{Warmed, Worker};

/// Counts the jobs that an agent holds, and stops the loading when one comes.
#[derive(Debug)]
pub(crate) struct Idle {
    jobs: watch::Sender<usize>,
    loading: Mutex<Cancel>,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self { jobs: watch::Sender::new(0), loading: Mutex::default() }
    }

    /// A job is held until the answer is dropped.
    pub(crate) fn job(&self) -> Held<'_> {
        self.end();
        Held(self)
    }

    /// Stops the loading for good. Ending its task is not enough: one that runs at the moment goes on until
    /// it has something to wait for.
    pub(crate) fn end(&self) {
        self.jobs.send_modify(|jobs| *jobs += 1);
        self.loading().cancel();
    }

    fn loading(&self) -> MutexGuard<'_, Cancel> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a load is to watch, fresh unless a job is held.
    fn begin(&self) -> Cancel {
        let cancel = Cancel::default();
        *self.loading() = cancel.clone();
        // A job that came before the line above told the one before.
        if *self.jobs.borrow() > 0 {
            cancel.cancel();
        }
        cancel
    }
}

/// See [`Idle::job`].
pub(crate) struct Held<'a>(&'a Idle);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.jobs.send_modify(|jobs| *jobs -= 1);
    }
}

/// Loads piece by piece while no job is held, until nothing is left.
pub(crate) async fn warm<W: Worker + ?Sized>(worker: Arc<W>, idle: Arc<Idle>, metrics: Metrics) {
    let mut jobs = idle.jobs.subscribe();
    // Cannot fail: `idle` holds the sender.
    while jobs.wait_for(|jobs| *jobs == 0).await.is_ok() {
        let (cancel, started) = (idle.begin(), Instant::now());
        let worker = worker.clone();
        match run_blocking(move || worker.warm(&cancel)).await {
            Ok(Warmed::Loaded(what)) => {
                metrics.keys_warmed_total.inc();
                let seconds = started.elapsed().as_secs_f64();
                tracing::info!(circuit = what, seconds, "key loaded ahead");
            }
            Ok(Warmed::Stopped) => {}
            Ok(Warmed::Nothing) => return,
            Err(error) => {
                // The job that needs it will say so again, to those who can do something.
                tracing::warn!(%error, "loading keys ahead stopped");
                return;
            }
        }
    }
}
