//! Reports when jobs are final: enqueues in batches and watches any number of jobs with a few requests.
//!
//! The broker takes at most [`BATCH_MAX`] ids in one request, and a wait for many ids costs it a read of
//! each of them. So jobs are watched in groups of at most that many, a job leaves its group as soon
//! as it is final, and a group with many jobs pauses between its waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{BATCH_MAX, ClientError, JobId, JobView, NewJob};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::answers::{Action, Route};
use super::{Broker, Shared};

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

#[derive(Debug, Default)]
struct Group {
    jobs: Mutex<BTreeMap<JobId, Vec<Waiter>>>,
    grown: Notify,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Vec<Waiter>>> {
        self.jobs.lock()
    }

    /// Ids that a task waits for; removes the others.
    fn ids(&self) -> Vec<JobId> {
        let mut jobs = self.lock();
        jobs.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        jobs.keys().cloned().collect()
    }

    fn tell(&self, id: &JobId, news: impl Fn() -> News) {
        for waiter in self.lock().remove(id).into_iter().flatten() {
            // A task that no longer waits needs no news.
            let _ = waiter.send(news());
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    queue: mpsc::UnboundedSender<Item>,
    groups: Arc<Mutex<Vec<Arc<Group>>>>,
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
        let groups = Arc::default();
        let task = tokio::spawn(run(shared, items, Arc::clone(&groups))).abort_handle();
        Self { queue, groups, task }
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
        let groups = self.groups.lock();
        groups.iter().any(|group| {
            group.lock().get(id).is_some_and(|waiters| waiters.iter().any(|w| !w.is_closed()))
        })
    }

    /// Number of jobs that are waited for.
    pub(super) fn open(&self) -> usize {
        let groups = self.groups.lock();
        let is_live = |waiters: &&Vec<Waiter>| waiters.iter().any(|waiter| !waiter.is_closed());
        groups.iter().map(|group| group.lock().values().filter(is_live).count()).sum()
    }
}

async fn run<B: Broker>(
    shared: Arc<Shared<B>>,
    mut items: mpsc::UnboundedReceiver<Item>,
    groups: Arc<Mutex<Vec<Arc<Group>>>>,
) {
    let mut watchers = JoinSet::new();
    while let Some(first) = items.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut batch: BTreeMap<JobId, (NewJob, Vec<Waiter>)> = BTreeMap::new();
        let mut next = Some(first);
        while let Some(Item { job, waiter }) = next {
            let entry = batch.entry(job.id.clone()).or_insert((job, Vec::new()));
            entry.1.push(waiter);
            next = (batch.len() < BATCH_MAX).then(|| items.try_recv().ok()).flatten();
        }
        for (id, waiters) in enqueue(&shared, batch).await {
            watch(&shared, &groups, &mut watchers, id, waiters);
        }
    }
}

/// Enqueues a batch and returns the jobs that are not final yet. A batch that is rejected is halved until
/// the job at fault is alone.
async fn enqueue<B: Broker>(
    shared: &Shared<B>,
    batch: BTreeMap<JobId, (NewJob, Vec<Waiter>)>,
) -> Vec<(JobId, Vec<Waiter>)> {
    let mut open = Vec::new();
    let mut parts = VecDeque::from([batch.into_values().collect::<Vec<_>>()]);
    while let Some(mut part) = parts.pop_front() {
        let jobs: Vec<NewJob> = part.iter().map(|(job, _)| job.clone()).collect();
        match shared.call(Route::Enqueue, || shared.broker.enqueue(jobs.clone())).await {
            Ok(views) => {
                let mut finals: BTreeMap<JobId, JobView> = views
                    .into_iter()
                    .filter(|view| view.state.awaits_producer())
                    .map(|view| (view.id.clone(), view))
                    .collect();
                for (job, waiters) in part {
                    match finals.remove(&job.id) {
                        Some(view) => {
                            for waiter in waiters {
                                let _ = waiter.send(News::Final(Box::new(view.clone())));
                            }
                        }
                        None => open.push((job.id, waiters)),
                    }
                }
            }
            Err(_) if part.len() > 1 => {
                let half = part.split_off(part.len() / 2);
                parts.extend([part, half]);
            }
            Err((action, error)) => {
                let error = Arc::new(error);
                for waiter in part.into_iter().flat_map(|(_, waiters)| waiters) {
                    let _ = waiter.send(news_of(action, &error));
                }
            }
        }
    }
    open
}

fn news_of(action: Action, error: &Arc<ClientError>) -> News {
    match action {
        Action::StartAgain | Action::UploadAgain | Action::AwaitReopening | Action::Nothing => {
            News::Again
        }
        Action::Retry | Action::AwaitToken | Action::Park | Action::Split => {
            News::Rejected(Arc::clone(error))
        }
    }
}

/// Adds a job to a group with space, or to a new one.
fn watch<B: Broker>(
    shared: &Arc<Shared<B>>,
    groups: &Arc<Mutex<Vec<Arc<Group>>>>,
    watchers: &mut JoinSet<()>,
    id: JobId,
    waiters: Vec<Waiter>,
) {
    let mut groups = groups.lock();
    let holds = |group: &&Arc<Group>| group.lock().contains_key(&id);
    let has_capacity = |group: &&Arc<Group>| group.lock().len() < BATCH_MAX;
    let found = groups.iter().find(holds).or_else(|| groups.iter().find(has_capacity)).cloned();
    let group = found.unwrap_or_else(|| {
        let group = Arc::<Group>::default();
        groups.push(Arc::clone(&group));
        watchers.spawn(watch_group(Arc::clone(shared), Arc::clone(&group)));
        group
    });
    group.lock().entry(id).or_default().extend(waiters);
    group.grown.notify_one();
}

/// Watches a group until the feed is dropped.
async fn watch_group<B: Broker>(shared: Arc<Shared<B>>, group: Arc<Group>) {
    let tempo = shared.tempo;
    let mut checked = Instant::now();
    loop {
        let ids = group.ids();
        if ids.is_empty() {
            group.grown.notified().await;
            checked = Instant::now();
            continue;
        }
        let more = async {
            tokio::time::sleep(tempo.regroup).await;
            group.grown.notified().await;
        };
        let answer = tokio::select! {
            biased;
            answer = shared.call(Route::Watch, || shared.broker.wait(&ids, tempo.wait)) => answer,
            () = more => continue,
        };
        let answer = answer.map(|answer| {
            shared.health.unable(&answer.unable);
            answer.jobs
        });
        take(&group, &ids, answer);
        if checked.elapsed() >= tempo.check {
            // A broker that lost its database no longer names these jobs.
            let ids = group.ids();
            let answer = shared.call(Route::Watch, || shared.broker.jobs(&ids)).await;
            if let Ok(known) = &answer {
                let known: std::collections::BTreeSet<_> = known.iter().map(|v| &v.id).collect();
                for id in ids.iter().filter(|id| !known.contains(id)) {
                    group.tell(id, || News::Again);
                }
            }
            take(&group, &ids, answer);
            checked = Instant::now();
        }
        // The cost of a wait grows with the number of ids.
        tokio::time::sleep(
            Duration::from_micros(250) * u32::try_from(ids.len()).unwrap_or(u32::MAX),
        )
        .await;
    }
}

fn take(group: &Group, ids: &[JobId], answer: Result<Vec<JobView>, (Action, ClientError)>) {
    match answer {
        Ok(views) => {
            for view in views.into_iter().filter(|view| view.state.awaits_producer()) {
                group.tell(&view.id, || News::Final(Box::new(view.clone())));
            }
        }
        Err((action, error)) => {
            let error = Arc::new(error);
            for id in ids {
                group.tell(id, || news_of(action, &error));
            }
        }
    }
}
