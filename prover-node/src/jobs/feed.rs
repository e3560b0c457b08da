//! Reports when jobs are final: enqueues in batches and follows the broker's feed of each epoch.
//!
//! The broker takes at most [`BATCH_MAX`] jobs in one request. What became of them is read from the feed of
//! their epoch, whose cost grows with what changed and not with how many jobs are open. A job is waited for
//! before it is enqueued, so that no news of it comes too early.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{BATCH_MAX, ClientError, JobId, JobView, NewJob};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::answers::{Action, Route};
use super::{Broker, Shared};

/// How long an epoch without a job that is waited for is remembered, with how far its feed was read.
const IDLE: Duration = Duration::from_secs(600);
/// Least time between two requests of one feed that returned jobs: what changes meanwhile comes together.
const GATHER_NEWS: Duration = Duration::from_millis(20);
/// How long a batch waits for further jobs before it is sent.
const GATHER: Duration = Duration::from_millis(2);

/// The status of an enqueued job.
#[derive(Debug)]
pub(super) enum News {
    /// It is final, or needs its input again.
    Final(Box<JobView>),
    /// The broker no longer knows it, or its input is missing: restart the job.
    Again,
    /// The broker rejects it.
    Rejected(Arc<ClientError>),
}

type Waiter = oneshot::Sender<News>;

#[derive(Debug)]
struct Item {
    job: NewJob,
    waiter: Waiter,
}

/// Who waits for a job.
#[derive(Debug, Default)]
struct Waiting {
    waiters: Vec<Waiter>,
    /// Whether the broker has confirmed the job. Until then it need not know it.
    enqueued: bool,
}

/// The jobs of an epoch that are waited for.
#[derive(Debug, Default)]
struct Epoch {
    jobs: Mutex<BTreeMap<JobId, Waiting>>,
    grown: Notify,
}

type Epochs = Arc<Mutex<BTreeMap<u64, Arc<Epoch>>>>;

impl Epoch {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Waiting>> {
        self.jobs.lock()
    }

    /// Whether a task waits for a job; removes those that nobody waits for.
    fn is_wanted(&self) -> bool {
        let mut jobs = self.lock();
        jobs.retain(|_, waiting| {
            waiting.waiters.retain(|waiter| !waiter.is_closed());
            !waiting.waiters.is_empty()
        });
        !jobs.is_empty()
    }

    /// Ids of the jobs that the broker has confirmed.
    fn enqueued(&self) -> Vec<JobId> {
        let jobs = self.lock();
        jobs.iter().filter(|(_, waiting)| waiting.enqueued).map(|(id, _)| id.clone()).collect()
    }

    fn tell(&self, id: &JobId, news: impl Fn() -> News) {
        for waiter in self.lock().remove(id).into_iter().flat_map(|waiting| waiting.waiters) {
            // A task that no longer waits needs no news.
            let _ = waiter.send(news());
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    queue: mpsc::UnboundedSender<Item>,
    epochs: Epochs,
    task: AbortHandle,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    pub(super) fn start<B: Broker>(shared: Arc<Shared<B>>) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let epochs = Epochs::default();
        let task = tokio::spawn(run(shared, items, Arc::clone(&epochs))).abort_handle();
        Self { queue, epochs, task }
    }

    /// Enqueues a job and waits until it is final. Drop the future to stop waiting; the job stays.
    pub(super) async fn finished(&self, job: NewJob) -> News {
        let (waiter, news) = oneshot::channel();
        if self.queue.send(Item { job, waiter }).is_err() {
            return News::Again;
        }
        news.await.unwrap_or(News::Again)
    }

    /// Whether a task waits for the job.
    pub(super) fn wants(&self, id: &JobId) -> bool {
        let epoch = self.epochs.lock().get(&id.epoch()).cloned();
        epoch.is_some_and(|epoch| {
            epoch
                .lock()
                .get(id)
                .is_some_and(|waiting| waiting.waiters.iter().any(|w| !w.is_closed()))
        })
    }

    /// Number of jobs that are waited for.
    pub(super) fn open(&self) -> usize {
        let epochs = self.epochs.lock();
        let is_live = |waiting: &&Waiting| waiting.waiters.iter().any(|waiter| !waiter.is_closed());
        epochs.values().map(|epoch| epoch.lock().values().filter(is_live).count()).sum()
    }
}

async fn run<B: Broker>(
    shared: Arc<Shared<B>>,
    mut items: mpsc::UnboundedReceiver<Item>,
    epochs: Epochs,
) {
    let mut watchers = JoinSet::new();
    while let Some(first) = items.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut batch: BTreeMap<JobId, NewJob> = BTreeMap::new();
        let mut next = Some(first);
        while let Some(Item { job, waiter }) = next {
            watch(&shared, &epochs, &mut watchers, job.id.clone(), waiter);
            batch.entry(job.id.clone()).or_insert(job);
            next = (batch.len() < BATCH_MAX).then(|| items.try_recv().ok()).flatten();
        }
        enqueue(&shared, &epochs, batch.into_values().collect()).await;
        // Watchers of epochs that are over.
        while watchers.try_join_next().is_some() {}
    }
}

/// Enqueues a batch and tells of the jobs that are final already. A batch that is rejected is halved until the job at
/// fault is alone.
async fn enqueue<B: Broker>(shared: &Shared<B>, epochs: &Epochs, batch: Vec<NewJob>) {
    let tell = |id: &JobId, news: &dyn Fn() -> News| {
        let epoch = epochs.lock().get(&id.epoch()).cloned();
        if let Some(epoch) = epoch {
            epoch.tell(id, news);
        }
    };
    let mut parts = VecDeque::from([batch]);
    while let Some(mut part) = parts.pop_front() {
        let answer = shared.call(Route::Enqueue, || shared.broker.enqueue(part.clone())).await;
        match answer {
            Ok(views) => {
                confirm(epochs, &part);
                for view in views.into_iter().filter(|view| view.state.awaits_producer()) {
                    tell(&view.id, &|| News::Final(Box::new(view.clone())));
                }
            }
            Err(_) if part.len() > 1 => {
                let half = part.split_off(part.len() / 2);
                parts.extend([part, half]);
            }
            Err((action, error)) => {
                let error = Arc::new(error);
                for job in part {
                    tell(&job.id, &|| news_of(action, &error));
                }
            }
        }
    }
}

/// Notes that the broker knows these jobs.
fn confirm(epochs: &Epochs, jobs: &[NewJob]) {
    let known = epochs.lock();
    for job in jobs {
        if let Some(epoch) = known.get(&job.id.epoch())
            && let Some(waiting) = epoch.lock().get_mut(&job.id)
        {
            waiting.enqueued = true;
        }
    }
}

fn news_of(action: Action, error: &Arc<ClientError>) -> News {
    match action {
        Action::StartAgain
        | Action::UploadAgain
        | Action::OpenEpoch
        | Action::AwaitReopening
        | Action::Nothing => News::Again,
        Action::Retry | Action::AwaitToken | Action::Park | Action::Split => {
            News::Rejected(Arc::clone(error))
        }
    }
}

/// Adds a job to its epoch, which is watched from its first job on.
fn watch<B: Broker>(
    shared: &Arc<Shared<B>>,
    epochs: &Epochs,
    watchers: &mut JoinSet<()>,
    id: JobId,
    waiter: Waiter,
) {
    let number = id.epoch();
    // The lock is held until the job is in, so that the epoch's watcher does not end meanwhile.
    let mut known = epochs.lock();
    let epoch = known.entry(number).or_insert_with(|| {
        let epoch = Arc::<Epoch>::default();
        let task = watch_epoch(Arc::clone(shared), Arc::clone(epochs), number, Arc::clone(&epoch));
        watchers.spawn(task);
        epoch
    });
    epoch.lock().entry(id).or_default().waiters.push(waiter);
    epoch.grown.notify_one();
}

/// Follows the feed of an epoch until nobody has waited for its jobs for a while.
async fn watch_epoch<B: Broker>(
    shared: Arc<Shared<B>>,
    epochs: Epochs,
    number: u64,
    epoch: Arc<Epoch>,
) {
    let tempo = shared.tempo;
    let mut cursor: Option<String> = None;
    let mut checked = Instant::now();
    loop {
        if !epoch.is_wanted() {
            if tokio::time::timeout(IDLE, epoch.grown.notified()).await.is_err() {
                let mut known = epochs.lock();
                if epoch.lock().is_empty() {
                    known.remove(&number);
                    return;
                }
            }
            checked = Instant::now();
            continue;
        }
        let from = cursor.clone();
        let ask = || shared.broker.changes(number, from.as_deref(), tempo.wait);
        match shared.call(Route::Watch, ask).await {
            Ok(answer) => {
                shared.health.unable(&answer.unable);
                let is_empty = answer.jobs.is_empty();
                cursor = Some(answer.cursor);
                take(&epoch, answer.jobs);
                if !is_empty && !answer.more {
                    tokio::time::sleep(GATHER_NEWS).await;
                }
            }
            Err((action, error)) => {
                cursor = None;
                fail(&epoch, &epoch.enqueued(), action, error);
            }
        }
        if checked.elapsed() >= tempo.check {
            check(&shared, &epoch).await;
            checked = Instant::now();
        }
    }
}

/// Asks for each job that the broker confirmed: one that lost its database no longer knows it, and has no news of it.
async fn check<B: Broker>(shared: &Shared<B>, epoch: &Epoch) {
    for ids in epoch.enqueued().chunks(BATCH_MAX) {
        match shared.call(Route::Watch, || shared.broker.jobs(ids)).await {
            Ok(known) => {
                let found: std::collections::BTreeSet<_> = known.iter().map(|v| &v.id).collect();
                for id in ids.iter().filter(|id| !found.contains(id)) {
                    epoch.tell(id, || News::Again);
                }
                take(epoch, known);
            }
            Err((action, error)) => fail(epoch, ids, action, error),
        }
    }
}

fn take(epoch: &Epoch, views: Vec<JobView>) {
    for view in views.into_iter().filter(|view| view.state.awaits_producer()) {
        epoch.tell(&view.id, || News::Final(Box::new(view.clone())));
    }
}

fn fail(epoch: &Epoch, ids: &[JobId], action: Action, error: ClientError) {
    let error = Arc::new(error);
    for id in ids {
        epoch.tell(id, || news_of(action, &error));
    }
}
