//! Jobs at the broker: one is enqueued, watched, fetched, verified, and restarted as often as it takes.

pub mod answers;
mod broker;
mod feed;
mod health;
mod job;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use answers::{Action, Route, action};
use rollmill_broker_client::ClientError;
use rollmill_service::{Backoff, Retry};

use crate::metrics::Metrics;

pub use broker::Broker;
pub use health::{Condition, Health};
pub use job::{Done, JobFailure, Verify};

use feed::Feed;

/// Transfers of artifacts at once.
const TRANSFERS_MAX: usize = 32;

/// Pauses and limits. Tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Tempo {
    /// First and longest pause after a passing failure.
    pub retry: (Duration, Duration),
    /// Pause after the token was rejected.
    pub token: Duration,
    /// Longest time that the broker holds a wait.
    pub wait: Duration,
    /// Shortest time that a wait is left alone although further jobs came up.
    pub regroup: Duration,
    /// How often the broker is asked whether it still knows the jobs.
    pub check: Duration,
    /// Shortest time between two replays of a dead job.
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
            regroup: Duration::from_millis(100),
            check: Duration::from_secs(30),
            replay: Duration::from_secs(60),
        }
    }
}

/// What all jobs share.
#[derive(Debug)]
struct Shared<B> {
    broker: B,
    tempo: Tempo,
    health: Arc<Health>,
    metrics: Metrics,
}

impl<B: Broker> Shared<B> {
    /// Asks until there is an answer that more of the same would not change.
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
    transfers: Arc<Semaphore>,
    work: Arc<Semaphore>,
}

impl<B> Clone for Jobs<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            feed: Arc::clone(&self.feed),
            transfers: Arc::clone(&self.transfers),
            work: Arc::clone(&self.work),
        }
    }
}

impl<B: Broker> Jobs<B> {
    /// Starts watching; ends with the last clone.
    pub fn new(broker: B, tempo: Tempo, health: Arc<Health>, metrics: Metrics) -> Self {
        let shared = Arc::new(Shared { broker, tempo, health, metrics });
        let feed = Arc::new(Feed::start(Arc::clone(&shared)));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shared,
            feed,
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            work: Arc::new(Semaphore::new(cores)),
        }
    }

    /// The broker itself, for what needs no patience.
    pub fn broker(&self) -> &B {
        &self.shared.broker
    }

    /// Runs heavy work on a thread that may block, as many at once as there are cores.
    pub async fn blocking<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let permit = Arc::clone(&self.work).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            body()
        });
        match done.await {
            Ok(result) => result,
            Err(panic) => Err(format!("the work panicked: {panic}")),
        }
    }
}
