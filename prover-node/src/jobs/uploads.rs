//! Uploads inputs many at a time. An upload that does not succeed so is left to the caller, who uploads it alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::BATCH_MAX;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::{Broker, Shared};

/// How long a batch waits for further inputs before it is sent.
const GATHER: Duration = Duration::from_millis(2);
/// Bytes after which a batch is full; also the size from which an input is alone.
const BYTES_MAX: usize = 4 << 20;
/// Batches sent at a time.
const BATCHES: usize = 4;

#[derive(Debug)]
struct Item {
    epoch: u64,
    input: Arc<Vec<u8>>,
    stored: oneshot::Sender<()>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Uploads {
    queue: mpsc::UnboundedSender<Item>,
    task: AbortHandle,
}

impl Drop for Uploads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Uploads {
    pub(super) fn start<B: Broker>(shared: Arc<Shared<B>>) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(shared, items)).abort_handle();
        Self { queue, task }
    }

    /// Uploads an input together with others; returns whether the broker has confirmed it.
    pub(super) async fn put(&self, epoch: u64, input: &Arc<Vec<u8>>) -> bool {
        if input.len() >= BYTES_MAX {
            return false;
        }
        let (stored, confirmed) = oneshot::channel();
        let item = Item { epoch, input: Arc::clone(input), stored };
        self.queue.send(item).is_ok() && confirmed.await.is_ok()
    }
}

async fn run<B: Broker>(shared: Arc<Shared<B>>, mut items: mpsc::UnboundedReceiver<Item>) {
    let places = Arc::new(Semaphore::new(BATCHES));
    let mut running = JoinSet::new();
    while let Some(first) = items.recv().await {
        tokio::time::sleep(GATHER).await;
        // More come while all places are taken.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let mut batches: BTreeMap<u64, Vec<Item>> = BTreeMap::new();
        let (mut count, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(item) = next {
            count += 1;
            bytes += item.input.len();
            // Whoever no longer waits, because its range is gone, needs no upload.
            if !item.stored.is_closed() {
                batches.entry(item.epoch).or_default().push(item);
            }
            let is_full = count >= BATCH_MAX || bytes >= BYTES_MAX;
            next = if is_full { None } else { items.try_recv().ok() };
        }
        let shared = Arc::clone(&shared);
        running.spawn(async move {
            for (epoch, batch) in batches {
                send(&shared, epoch, batch).await;
            }
            drop(place);
        });
        while running.try_join_next().is_some() {}
    }
}

async fn send<B: Broker>(shared: &Shared<B>, epoch: u64, batch: Vec<Item>) {
    let bodies = batch.iter().map(|item| item.input.as_ref().clone()).collect();
    if let Err(error) = shared.broker.put_artifacts(epoch, bodies).await {
        // The senders are dropped: each input is uploaded alone, where an error is named and retried.
        tracing::debug!(%error, "batch not stored");
        return;
    }
    shared.health.answered();
    for item in batch {
        // Whoever no longer waits needs no answer.
        let _ = item.stored.send(());
    }
}
