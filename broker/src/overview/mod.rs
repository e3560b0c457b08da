//! The overview that the web page shows, for all who follow it.
//!
//! What the broker counts anyway, every 5 s, comes from memory: queue, epochs, agents wanted. The rest is read by three
//! statements a second for each tenant that somebody follows, however many do, and by none while nobody does.

mod headline;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use parking_lot::Mutex;
use rollmill_broker_client::Overview;
use rollmill_broker_client::overview::{OVERVIEW, event};
use rollmill_service::Conditions;
use rollmill_service::prometheus::IntGauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

pub(crate) use view::Counted;

use crate::background::Task;
use crate::broker::Shared;
use crate::error::BrokerError;
use crate::store::{EpochJobs, Tenant};
use view::Sources;

/// Least time between two readings for one tenant.
const ROUND: Duration = Duration::from_secs(1);
/// Least time between two counts of the jobs of open epochs, which grow with the jobs.
const JOBS: Duration = Duration::from_secs(5);
/// Such a count takes at most this part of one connection's time.
const JOBS_PART: u32 = 20;
/// Longest time of a reading.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Most streams at a time.
pub(crate) const STREAMS_MAX: usize = 128;

/// An overview as it is sent.
#[derive(Clone, Debug, Default)]
struct Shown {
    /// When it was read; [`None`] before the first reading.
    read: Option<Instant>,
    overview: Option<Arc<Overview>>,
    /// The overview as an event.
    event: Bytes,
}

impl Shown {
    fn number(&self) -> u64 {
        self.overview.as_ref().map_or(0, |overview| overview.number)
    }

    /// Takes a new reading; nothing of it is sent if it shows nothing new.
    fn take(&mut self, overview: Overview, now: Instant) -> Result<(), BrokerError> {
        self.read = Some(now);
        let number = self.number();
        let overview = Overview { number, ..overview };
        if self.overview.as_deref() == Some(&overview) {
            return Ok(());
        }
        let overview = Overview { number: number + 1, ..overview };
        self.event = event(OVERVIEW, &overview).map_err(|error| BrokerError::Internal {
            reason: format!("the overview cannot be written as JSON: {error}"),
        })?;
        self.overview = Some(Arc::new(overview));
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Overviews {
    tenants: Mutex<HashMap<Tenant, watch::Sender<Shown>>>,
    /// Somebody follows who did not.
    asked: Notify,
    streams: Arc<Semaphore>,
}

impl Default for Overviews {
    fn default() -> Self {
        Self {
            tenants: Mutex::default(),
            asked: Notify::new(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }
}

impl Overviews {
    /// Follows the tenant's overview, and counts the follower in `open`.
    ///
    /// # Errors
    /// [`BrokerError::Overloaded`] when as many follow as may.
    pub(crate) fn follow(&self, tenant: &Tenant, open: IntGauge) -> Result<Following, BrokerError> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        let place = place.map_err(|_| BrokerError::Overloaded)?;
        let shown = self.tenants.lock().entry(tenant.clone()).or_default().subscribe();
        self.asked.notify_one();
        open.inc();
        Ok(Following { shown, since: Instant::now(), seen: 0, open, _place: place })
    }

    /// Tenants whose overview is to be read now, and else how long until one is; [`None`] while nobody follows. Forgets
    /// those that nobody follows.
    fn due(&self, now: Instant) -> (Vec<Tenant>, Option<Duration>) {
        let left = |shown: &watch::Sender<Shown>| {
            let read = shown.borrow().read;
            read.map_or(Duration::ZERO, |read| {
                ROUND.saturating_sub(now.saturating_duration_since(read))
            })
        };
        let mut tenants = self.tenants.lock();
        // Whoever comes back within the time gets what was read already.
        tenants.retain(|_, shown| shown.receiver_count() > 0 || !left(shown).is_zero());
        let followed = || tenants.iter().filter(|(_, shown)| shown.receiver_count() > 0);
        let due = followed().filter(|(_, shown)| left(shown).is_zero());
        let due = due.map(|(tenant, _)| tenant.clone()).collect();
        (due, followed().map(|(_, shown)| left(shown)).min())
    }

    fn last(&self, tenant: &Tenant) -> Option<Arc<Overview>> {
        self.tenants.lock().get(tenant)?.borrow().overview.clone()
    }

    fn publish(
        &self,
        tenant: &Tenant,
        overview: Overview,
        now: Instant,
    ) -> Result<(), BrokerError> {
        let mut taken = Ok(());
        if let Some(shown) = self.tenants.lock().get(tenant) {
            shown.send_modify(|shown| taken = shown.take(overview, now));
        }
        taken
    }
}

/// Somebody who follows an overview.
#[derive(Debug)]
pub(crate) struct Following {
    shown: watch::Receiver<Shown>,
    since: Instant,
    /// Number of the last overview that was sent.
    seen: u64,
    open: IntGauge,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// The overview as an event, if there is one that was not sent and that is no older than a round.
    pub(crate) fn fresh(&mut self) -> Option<Bytes> {
        let shown = self.shown.borrow_and_update();
        let is_fresh = |read: Instant| self.since.saturating_duration_since(read) <= ROUND;
        if !shown.read.is_some_and(is_fresh) || shown.number() == self.seen {
            return None;
        }
        self.seen = shown.number();
        Some(shown.event.clone())
    }

    /// Waits until there was another reading. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.shown.changed().await.is_err() {
            // The sender is dropped only when nobody follows.
            std::future::pending().await
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Reads what is followed, until shutdown.
pub(crate) async fn keep(shared: &Shared, conditions: &Conditions) {
    let overviews = &shared.overviews;
    let mut task = Task::new("overview");
    let mut jobs: HashMap<Tenant, JobCounts> = HashMap::new();
    while !shared.shutdown.is_started() {
        let (due, pause) = overviews.due(Instant::now());
        if due.is_empty() {
            // What is counted anew is not worth keeping; a tenant that nobody follows any longer is forgotten by that.
            jobs.retain(|_, counts| !counts.is_due(Instant::now()));
            tokio::select! {
                () = overviews.asked.notified() => {}
                () = sleep(pause) => {}
                () = shared.shutdown.started() => return,
            }
            continue;
        }
        for tenant in due {
            let read =
                tokio::time::timeout(READ_LIMIT, read(shared, conditions, &tenant, &mut jobs));
            let read = tokio::select! {
                read = read => read,
                () = shared.shutdown.started() => return,
            };
            let read = read.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()));
            let (overview, read) = match read {
                Ok(overview) => (overview, Ok(())),
                Err(error) => {
                    let last = overviews.last(&tenant);
                    (view::unavailable(last.as_deref()), Err(error))
                }
            };
            let published = overviews.publish(&tenant, overview, Instant::now());
            task.report(read.and(published), &shared.shutdown).await;
        }
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Jobs of a tenant's open epochs, and when they are counted again.
#[derive(Debug, Default)]
struct JobCounts {
    jobs: Vec<EpochJobs>,
    next: Option<Instant>,
}

impl JobCounts {
    fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }
}

async fn read(
    shared: &Shared,
    conditions: &Conditions,
    tenant: &Tenant,
    jobs: &mut HashMap<Tenant, JobCounts>,
) -> Result<Overview, BrokerError> {
    let start = Instant::now();
    let store = &shared.store;
    let counts = jobs.entry(tenant.clone()).or_default();
    if counts.is_due(start) {
        counts.jobs = store.overview_jobs(tenant).await?;
        counts.next = Some(start + JOBS.max(start.elapsed() * JOBS_PART));
    }
    let agents = store.overview_agents(tenant).await?;
    let dead_letters = store.overview_dead(tenant).await?;
    shared.metrics.overview_seconds.observe(start.elapsed().as_secs_f64());
    let failing = conditions.failing();
    let failing: Vec<&str> = failing.iter().map(|(name, _)| *name).collect();
    let sources = Sources {
        failing: &failing,
        counted: &shared.counted(tenant),
        jobs: &counts.jobs,
        agents: &agents,
        dead_letters: &dead_letters,
        cents_per_hour: shared.agent_cents_per_hour,
    };
    Ok(sources.overview())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge() -> IntGauge {
        IntGauge::new("open", "open streams").unwrap()
    }

    fn overview(text: &str) -> Overview {
        let mut overview = view::unavailable(None);
        overview.headline.text = text.to_owned();
        overview
    }

    #[tokio::test]
    async fn a_tenant_is_read_once_a_round_while_somebody_follows_it() {
        let (overviews, open, read) = (Overviews::default(), gauge(), Instant::now());
        let tenant = Tenant("a".into());
        let due = |after: Duration| overviews.due(read + after);
        let now = Duration::ZERO;
        assert_eq!(due(now), (vec![], None));
        let follow = || overviews.follow(&tenant, open.clone()).unwrap();
        let (first, second) = (follow(), follow());
        assert_eq!(open.get(), 2);
        assert_eq!(due(now), (vec![tenant.clone()], Some(Duration::ZERO)));
        overviews.publish(&tenant, overview("1"), read).unwrap();
        assert_eq!(due(ROUND / 4), (vec![], Some(ROUND * 3 / 4)));
        assert_eq!(due(ROUND), (vec![tenant.clone()], Some(Duration::ZERO)));
        drop(first);
        assert_eq!(due(ROUND).0.len(), 1, "one follows still");
        drop(second);
        assert_eq!(due(now), (vec![], None));
        assert!(overviews.last(&tenant).is_some(), "whoever comes back soon gets it at once");
        assert_eq!(due(ROUND), (vec![], None));
        assert!(overviews.last(&tenant).is_none());
        assert_eq!(open.get(), 0);
    }

    #[tokio::test]
    async fn only_what_is_new_is_sent_and_everybody_gets_it() {
        let (overviews, tenant) = (Overviews::default(), Tenant::default());
        // After all that follows, so that no pause of this test makes it old.
        let read = Instant::now() + Duration::from_secs(3_600);
        let mut all: Vec<Following> =
            (0..3).map(|_| overviews.follow(&tenant, gauge()).unwrap()).collect();
        assert!(all.iter_mut().all(|one| one.fresh().is_none()), "nothing was read");
        let mut sent = Vec::new();
        for text in ["1", "1", "2", "2", "1"] {
            overviews.publish(&tenant, overview(text), read).unwrap();
            let events: Vec<Option<Bytes>> = all.iter_mut().map(Following::fresh).collect();
            assert!(events.iter().all(|event| *event == events[0]));
            sent.push(events[0].clone());
        }
        let is_sent: Vec<bool> = sent.iter().map(Option::is_some).collect();
        assert_eq!(is_sent, [true, false, true, false, true]);
        assert_eq!(overviews.last(&tenant).unwrap().number, 3);
        let mut late = overviews.follow(&tenant, gauge()).unwrap();
        assert_eq!(late.fresh(), sent[4].clone(), "the last one, as it is");
        let mut later = overviews.follow(&tenant, gauge()).unwrap();
        later.since = read + ROUND * 2;
        assert_eq!(later.fresh(), None, "it is too old for whoever comes then");
    }

    #[tokio::test]
    async fn the_number_of_followers_has_a_bound() {
        let (overviews, tenant) = (Overviews::default(), Tenant::default());
        let follow = || overviews.follow(&tenant, gauge());
        let mut all: Vec<Following> = (0..STREAMS_MAX).map(|_| follow().unwrap()).collect();
        assert_eq!(follow().unwrap_err().code(), "BRK-022");
        all.pop();
        follow().unwrap();
    }
}
