//! Loading ahead: an idle agent loads the keys that the first job of each type would wait for.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::agent::run_blocking;
use crate::heartbeat::Cancel;
use crate::metrics::Metrics;
use crate::worker::{Warmed, Worker};

/// Counts the jobs that an agent holds, and stops the loading when one arrives.
#[derive(Debug)]
pub(crate) struct Idle {
    jobs: watch::Sender<usize>,
    loading: Mutex<Cancel>,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self { jobs: watch::Sender::new(0), loading: Mutex::default() }
    }

    /// Counts a job until the returned guard is dropped.
    pub(crate) fn job(&self) -> JobGuard<'_> {
        self.end();
        JobGuard(self)
    }

    /// Stops the loading for good. Aborting its task is not enough: a running load continues until it
    /// awaits.
    pub(crate) fn end(&self) {
        self.jobs.send_modify(|jobs| *jobs += 1);
        self.loading().cancel();
    }

    fn loading(&self) -> MutexGuard<'_, Cancel> {
        self.loading.lock()
    }

    /// The cancellation flag of a load, set immediately if a job is held.
    fn begin(&self) -> Cancel {
        let cancel = Cancel::default();
        *self.loading() = cancel.clone();
        // A job that arrived before the line above cancelled the previous flag.
        if *self.jobs.borrow() > 0 {
            cancel.cancel();
        }
        cancel
    }
}

/// See [`Idle::job`].
pub(crate) struct JobGuard<'a>(&'a Idle);

impl Drop for JobGuard<'_> {
    fn drop(&mut self) {
        self.0.jobs.send_modify(|jobs| *jobs -= 1);
    }
}

/// Loads one key at a time while no job is held, until nothing is left.
pub(crate) async fn warm<W: Worker + ?Sized>(worker: Arc<W>, idle: Arc<Idle>, metrics: Metrics) {
    let mut jobs = idle.jobs.subscribe();
    // Cannot fail: `idle` owns the sender.
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
                // The job that needs the key will report this again, with its consequence.
                tracing::warn!(%error, "loading keys ahead stopped");
                return;
            }
        }
    }
}
