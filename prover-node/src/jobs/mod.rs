//! Jobs at the broker: enqueues, watches, fetches and verifies each job, and restarts it until it is
//! done.

pub mod answers;
mod broker;
mod durations;
mod feed;
mod health;
mod job;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use answers::{Action, Route, action};
use rollmill_broker_client::ClientError;
use rollmill_service::{Backoff, Retry, Traces};

use crate::metrics::Metrics;
use crate::work::WorkError;

pub use broker::Broker;
pub use health::{Condition, Health};
pub use job::{Done, JobFailure, Verify};

use durations::Durations;
use feed::Feed;
use uploads::Uploads;

/// Maximum concurrent transfers of artifacts.
const TRANSFERS_MAX: usize = 32;

/// Pauses and limits. Tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Tempo {
    /// First and longest pause after a temporary failure.
    pub retry: (Duration, Duration),
    /// Pause after the token was rejected.
    pub token: Duration,
    /// Maximum time that one request of a feed may take at the broker.
    pub wait: Duration,
    /// Interval of the requests whether the broker still knows the jobs.
    pub check: Duration,
    /// Minimum time between two replays of a dead-lettered job.
    pub replay: Duration,
}

impl Tempo {
    fn backoff(&self) -> Backoff {
        let (first, longest) = self.retry;
        Backoff::new(first, longest)
    }

    fn retry(&self) -> Retry {
        let (first, longest) = self.retry;
        Retry::new(first, longest)
    }
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            retry: (Duration::from_millis(200), Duration::from_secs(10)),
            token: Duration::from_secs(30),
            wait: Duration::from_secs(10),
            check: Duration::from_secs(30),
            replay: Duration::from_secs(60),
        }
    }
}

/// State that all jobs share.
#[derive(Debug)]
struct Shared<B> {
    broker: B,
    /// Value of [`ROLLUP_LABEL`] of every job.
    rollup: String,
    tempo: Tempo,
    health: Arc<Health>,
    metrics: Metrics,
    durations: Mutex<Durations>,
}

impl<B: Broker> Shared<B> {
    /// Repeats a request until its response is final.
    async fn call<T, F>(
        &self,
        route: Route,
        ask: impl Fn() -> F,
    ) -> Result<T, (Action, ClientError)>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut backoff = self.tempo.backoff();
        loop {
            let error = match ask().await {
                Ok(answer) => {
                    self.health.answered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let answer = error.answer();
            self.health.failed(&error);
            match action(route, answer) {
                Action::Retry => tokio::time::sleep(backoff.pause()).await,
                Action::AwaitToken => {
                    tokio::time::sleep(Backoff::steady(self.tempo.token).pause()).await;
                }
                action => return Err((action, error)),
            }
        }
    }
}

/// The prover node's side of the broker. Clones share everything.
#[derive(Debug)]
pub struct Jobs<B> {
    shared: Arc<Shared<B>>,
    feed: Arc<Feed>,
    uploads: Arc<Uploads>,
    transfers: Arc<Semaphore>,
    work: Arc<Semaphore>,
    traces: Traces,
}

impl<B> Clone for Jobs<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            feed: Arc::clone(&self.feed),
            uploads: Arc::clone(&self.uploads),
            transfers: Arc::clone(&self.transfers),
            work: Arc::clone(&self.work),
            traces: self.traces.clone(),
        }
    }
}

impl<B: Broker> Jobs<B> {
    /// Starts watching; the last clone to be dropped stops it. `rollup` names the deployment whose jobs these are, and
    /// to no others is anything done.
    pub fn new(
        broker: B,
        rollup: String,
        tempo: Tempo,
        health: Arc<Health>,
        metrics: Metrics,
    ) -> Self {
        let durations = Mutex::default();
        let shared = Arc::new(Shared { broker, rollup, tempo, health, metrics, durations });
        let feed = Arc::new(Feed::start(Arc::clone(&shared)));
        let uploads = Arc::new(Uploads::start(Arc::clone(&shared)));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shared,
            feed,
            uploads,
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            work: Arc::new(Semaphore::new(cores)),
            traces: Traces::default(),
        }
    }

    /// Records what is done for each job, below the span that its task is about.
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// The broker itself, for requests that are not retried.
    pub fn broker(&self) -> &B {
        &self.shared.broker
    }

    /// Runs CPU-bound work on a thread that may block, at most one task per core at a time.
    pub async fn blocking<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> Result<T, WorkError> + Send + 'static,
    ) -> Result<T, WorkError> {
        let permit = Arc::clone(&self.work).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            body()
        });
        done.await?
    }
}
