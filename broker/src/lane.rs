//! A flush lane: collects items of many requests and writes them together.
//!
//! One task per lane. The first item after an idle moment is flushed at once. While a flush runs, items
//! collect, and the next flush takes them all, up to a bound, after a short pause ([`pause_after`]). So a lone request
//! waits for nothing, and under load the number of statements depends on time and not on the
//! number of requests.
//!
//! An item is answered only after the flush that holds it has committed. A flush that the server rejects is
//! halved until the item at fault is alone, so that one bad item fails no other. A flush whose connection
//! breaks, also during COMMIT, is sent again as it was: every item is idempotent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollmill_service::prometheus::IntGauge;
use rollmill_service::{Again, Retry, Shutdown};
use tokio::sync::{mpsc, oneshot};

use crate::database;
use crate::error::BrokerError;
use crate::metrics::Metrics;

/// Time after the start of a flush beyond which no pause lasts.
const INTERVAL: Duration = Duration::from_millis(5);
/// Most items of one flush.
const ITEMS_MAX: usize = 500;
/// Most bytes of one flush, beyond its first item.
const BYTES_MAX: usize = 4 << 20;
/// How long a flush is sent again while the database cannot write. Its items are then answered 503, before
/// the clients' own requests time out after 30 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// First and longest pause before a flush is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How the items of a lane are written.
pub(crate) trait Flush: Send + Sync + 'static {
    /// What a request hands in.
    type Item: Send + Sync + 'static;
    /// What it gets back.
    type Verdict: Send + 'static;
    /// Of the metrics.
    const LANE: Name;

    /// Writes the items as a whole, and returns a verdict for each, in order. Doing it twice has the effect of
    /// doing it once.
    ///
    /// # Errors
    /// When nothing was written, or when it is unknown whether it was.
    fn flush(
        &self,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Self::Verdict>, BrokerError>> + Send;

    /// How many bytes an item adds to its flush.
    fn bytes(_item: &Self::Item) -> usize {
        0
    }
}

rollmill_broker_client::named! {
    /// The lanes.
    pub enum Name is "flush lane" {
        /// Completions.
        Completions = "completions",
        /// Jobs that are returned.
        Releases = "releases",
        /// Heartbeats and progress.
        Beats = "beats",
        /// Agents that ask for work and are new, or changed.
        Sightings = "sightings",
        /// Jobs of producers.
        Enqueues = "enqueues",
        /// Small artifacts.
        Uploads = "uploads",
    }
}

struct Entry<F: Flush> {
    item: F::Item,
    reply: oneshot::Sender<Result<F::Verdict, BrokerError>>,
}

/// The sending end of a lane.
#[derive(Debug)]
pub(crate) struct Lane<F: Flush> {
    /// Unbounded: each item belongs to a request that holds its share of the body memory.
    queue: mpsc::UnboundedSender<Entry<F>>,
    /// How many items are in it.
    waiting: IntGauge,
}

impl<F: Flush> std::fmt::Debug for Entry<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl<F: Flush> Lane<F> {
    /// The lane and its task, which ends when the lane is dropped.
    pub(crate) fn new(
        flush: F,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, entries) = mpsc::unbounded_channel();
        let waiting = metrics.flush_waiting.with_label_values(&[F::LANE.as_str()]);
        (Self { queue, waiting }, run(Arc::new(flush), entries, metrics, shutdown))
    }

    /// Hands in an item; returns its verdict after its flush has committed. Dropping the future does
    /// not take the item back.
    pub(crate) async fn send(&self, item: F::Item) -> Result<F::Verdict, BrokerError> {
        self.hand_in(item).await
    }

    /// Hands in items together; returns their verdicts in order.
    pub(crate) async fn send_all(
        &self,
        items: impl Iterator<Item = F::Item>,
    ) -> Result<Vec<F::Verdict>, BrokerError> {
        let waiting: Vec<_> = items.map(|item| self.hand_in(item)).collect();
        let mut verdicts = Vec::with_capacity(waiting.len());
        for verdict in waiting {
            verdicts.push(verdict.await?);
        }
        Ok(verdicts)
    }

    /// Hands in an item at once; the future is its verdict.
    fn hand_in(
        &self,
        item: F::Item,
    ) -> impl Future<Output = Result<F::Verdict, BrokerError>> + use<F> {
        let (reply, verdict) = oneshot::channel();
        // Before the lane's task can count it as taken.
        self.waiting.inc();
        // A lane that has ended drops the item, and so the sender of its verdict.
        if self.queue.send(Entry { item, reply }).is_err() {
            self.waiting.dec();
        }
        async move { verdict.await.map_err(|_| stopped("the broker is stopping"))? }
    }
}

/// An error of the database that is answered 503, so that the client sends the request again.
fn stopped(why: &str) -> BrokerError {
    BrokerError::from(sqlx::Error::Io(std::io::Error::other(why.to_owned())))
}

/// Shortest pause after work that took less than [`INTERVAL`].
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// How long work that took this long pauses, so that what comes meanwhile goes together: as long again, but not beyond
/// [`INTERVAL`] after its start. A database that answers soon is asked soon, one that is slow gets more at once.
pub(crate) fn pause_after(took: Duration) -> Duration {
    took.max(PAUSE_MIN).min(INTERVAL.saturating_sub(took))
}

async fn run<F: Flush>(
    flush: Arc<F>,
    mut entries: mpsc::UnboundedReceiver<Entry<F>>,
    metrics: Metrics,
    shutdown: Shutdown,
) {
    let lane = [F::LANE.as_str()];
    let waiting = metrics.flush_waiting.with_label_values(&lane);
    let mut batch = Vec::new();
    while let Some(first) = entries.recv().await {
        let start = Instant::now();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(entry) = next {
            waiting.dec();
            bytes += F::bytes(&entry.item);
            batch.push(entry);
            let is_full = batch.len() >= ITEMS_MAX || bytes >= BYTES_MAX;
            next = if is_full { None } else { entries.try_recv().ok() };
        }
        metrics.flush_items.with_label_values(&lane).observe(batch.len() as f64);
        write(&*flush, std::mem::take(&mut batch), &shutdown).await;
        metrics.flush_seconds.with_label_values(&lane).observe(start.elapsed().as_secs_f64());
        // What came meanwhile goes together.
        tokio::time::sleep(pause_after(start.elapsed())).await;
    }
}

/// Writes a batch, in halves if need be, and answers every item.
async fn write<F: Flush>(flush: &F, batch: Vec<Entry<F>>, shutdown: &Shutdown) {
    let mut parts = VecDeque::from([batch]);
    while let Some(part) = parts.pop_front() {
        let (mut items, mut replies) = (Vec::new(), Vec::new());
        for Entry { item, reply } in part {
            items.push(item);
            replies.push(reply);
        }
        let error = match patiently(flush, &items, shutdown).await {
            Ok(verdicts) => {
                debug_assert_eq!(verdicts.len(), replies.len(), "a verdict for each item");
                for (verdict, reply) in verdicts.into_iter().zip(replies) {
                    // The client may have gone.
                    let _ = reply.send(Ok(verdict));
                }
                continue;
            }
            Err(error) => error,
        };
        if items.len() > 1 && !is_unavailable(&error) {
            let half = items.len() / 2;
            let mut entries: Vec<Entry<F>> =
                items.into_iter().zip(replies).map(|(item, reply)| Entry { item, reply }).collect();
            let rest = entries.split_off(half);
            parts.push_front(rest);
            parts.push_front(entries);
            continue;
        }
        let text = rollmill_service::one_line(&error);
        let mut error = Some(error);
        for reply in replies {
            // Errors cannot be copied; the others say the same.
            let _ = reply.send(Err(error.take().unwrap_or_else(|| stopped(&text))));
        }
    }
}

/// Flushes, and again while the database cannot write.
async fn patiently<F: Flush>(
    flush: &F,
    items: &[F::Item],
    shutdown: &Shutdown,
) -> Result<Vec<F::Verdict>, BrokerError> {
    let lane = F::LANE.as_str();
    let start = Instant::now();
    let mut retry = Retry::new(PAUSE.0, PAUSE.1);
    loop {
        let error = match flush.flush(items).await {
            Ok(verdicts) => {
                retry.succeeded(|wait_seconds| {
                    tracing::info!(lane, wait_seconds, "flush written");
                });
                return Ok(verdicts);
            }
            Err(error) => error,
        };
        if !is_unavailable(&error) || start.elapsed() > PATIENCE || shutdown.is_started() {
            return Err(error);
        }
        let error = rollmill_service::one_line(&error);
        let log = |Again { repeated, retry_seconds }| {
            tracing::warn!(lane, error, repeated, retry_seconds, "flush not written; retrying");
        };
        retry.failed(shutdown.started(), log).await;
    }
}

/// Whether the database cannot write now, so that the items themselves are not at fault.
fn is_unavailable(error: &BrokerError) -> bool {
    match error {
        BrokerError::Database { reason } => {
            database::is_outage(&reason.0) || database::is_congestion(&reason.0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Fails as a whole when it holds an item that is bad, and breaks as often as it is told to.
    #[derive(Default)]
    struct Fake {
        flushes: Mutex<Vec<Vec<u32>>>,
        breaks: Mutex<u32>,
    }

    const BAD: u32 = 13;

    impl Flush for Arc<Fake> {
        type Item = u32;
        type Verdict = u32;
        const LANE: Name = Name::Completions;

        async fn flush(&self, items: &[u32]) -> Result<Vec<u32>, BrokerError> {
            self.flushes.lock().push(items.to_vec());
            {
                let mut breaks = self.breaks.lock();
                if *breaks > 0 {
                    *breaks -= 1;
                    return Err(stopped("connection reset"));
                }
            }
            match items.contains(&BAD) {
                true => Err(BrokerError::bad("a bad item")),
                false => Ok(items.iter().map(|item| item * 2).collect()),
            }
        }
    }

    async fn send_all(fake: &Arc<Fake>, items: &[u32]) -> Vec<Result<u32, BrokerError>> {
        let registry = rollmill_service::prometheus::Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let (lane, task) = Lane::new(Arc::clone(fake), metrics, Shutdown::default());
        let lane = Arc::new(lane);
        // The items are there before the lane's task starts, so they are one flush.
        let sent: Vec<_> = items
            .iter()
            .map(|item| {
                let (lane, item) = (Arc::clone(&lane), *item);
                tokio::spawn(async move { lane.send(item).await })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(lane);
        let task = tokio::spawn(task);
        let mut answers = Vec::new();
        for answer in sent {
            answers.push(answer.await.unwrap());
        }
        task.await.unwrap();
        answers
    }

    #[test]
    fn a_pause_is_as_long_as_the_work_and_ends_in_time() {
        for (took, pause) in [(0, 1000), (500, 1000), (1500, 1500), (2500, 2500), (4000, 1000)] {
            assert_eq!(pause_after(Duration::from_micros(took)), Duration::from_micros(pause));
        }
        for took in [5, 6, 100] {
            assert_eq!(pause_after(Duration::from_millis(took)), Duration::ZERO);
        }
    }

    #[tokio::test]
    async fn items_that_wait_together_are_one_flush() {
        let fake = Arc::new(Fake::default());
        let answers = send_all(&fake, &[1, 2, 3]).await;
        let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [2, 4, 6]);
        assert_eq!(*fake.flushes.lock(), [vec![1, 2, 3]]);
    }

    /// Never writes: its flush waits until the test lets it go.
    struct Stuck(Arc<tokio::sync::Semaphore>);

    impl Flush for Stuck {
        type Item = u32;
        type Verdict = ();
        const LANE: Name = Name::Beats;

        async fn flush(&self, items: &[u32]) -> Result<Vec<()>, BrokerError> {
            let _go = self.0.acquire().await;
            Ok(vec![(); items.len()])
        }
    }

    /// Fault: the database takes long to write a flush. Goal: whoever watches sees what waits behind it, before the flush
    /// ends.
    #[tokio::test]
    async fn items_behind_a_flush_that_takes_long_are_counted_while_they_wait() {
        let registry = rollmill_service::prometheus::Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let waiting = metrics.flush_waiting.with_label_values(&[Name::Beats.as_str()]);
        let go = Arc::new(tokio::sync::Semaphore::new(0));
        let (lane, task) = Lane::new(Stuck(Arc::clone(&go)), metrics, Shutdown::default());
        let task = tokio::spawn(task);
        let first = lane.hand_in(1);
        while waiting.get() > 0 {
            tokio::task::yield_now().await;
        }
        let rest: Vec<_> = (2..=4).map(|item| lane.hand_in(item)).collect();
        tokio::task::yield_now().await;
        assert_eq!(waiting.get(), 3);
        go.add_permits(1);
        first.await.unwrap();
        for item in rest {
            item.await.unwrap();
        }
        assert_eq!(waiting.get(), 0);
        drop(lane);
        task.await.unwrap();
    }

    /// Fault: one item of a flush is rejected by the server. Only it fails.
    #[tokio::test]
    async fn a_bad_item_fails_alone() {
        let fake = Arc::new(Fake::default());
        let items: Vec<u32> = (1..=20).collect();
        let answers = send_all(&fake, &items).await;
        for (item, answer) in items.iter().zip(answers) {
            match (*item == BAD, answer) {
                (true, answer) => assert_eq!(answer.unwrap_err().code(), "BRK-010"),
                (false, answer) => assert_eq!(answer.unwrap(), item * 2),
            }
        }
        // 20, 10 + 10, 5 + 5, 2 + 3, 1 + 2 or less: halving, not one by one.
        assert!(fake.flushes.lock().len() <= 11, "{:?}", fake.flushes.lock());
    }

    /// Fault: the connection breaks twice. The same items are sent again, and each is answered once.
    #[tokio::test]
    async fn a_broken_flush_is_sent_again_as_it_was() {
        let fake = Arc::new(Fake::default());
        *fake.breaks.lock() = 2;
        let answers = send_all(&fake, &[1, 2]).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
        assert_eq!(*fake.flushes.lock(), [vec![1, 2], vec![1, 2], vec![1, 2]]);
    }
}
