//! The background work of a replica: each task runs until shutdown and again after a failure.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollmill_broker_client::AttemptOutcome;
use rollmill_service::{Again, Conditions, Retry, Shutdown};
use tokio::task::JoinSet;

use crate::aztec;
use crate::broker::{Shared, spread};
use crate::clock::{Clock, Jump, Patience};
use crate::dispatch::POLL;
use crate::error::BrokerError;
use crate::lane::pause_after;
use crate::metrics::Ended;
use crate::store::limited;
use crate::{overview, retention, scrub, seconds};

const SWEEP: Duration = Duration::from_millis(200);
/// Pause between two readings of the tokens: a revoked one opens no replica 2 s later.
const TOKENS: Duration = Duration::from_secs(1);
const _: () =
    assert!(TOKENS.as_millis() <= 1000, "a reading takes time too, and 2 s is the promise");
/// Pause between two readings of the agents that were asked to leave. The page of the HTTP API states it, in the fields
/// `drain`.
const DRAINS: Duration = Duration::from_secs(1);
/// Pause between two writes of the times when agents were seen.
const SIGHTINGS: Duration = Duration::from_secs(5);
/// Pause between two looks at how full the buffers are.
const BUFFERS: Duration = Duration::from_secs(1);
/// Pause between two counts of the queue. The page of the HTTP API states it, in the fields `unable`.
const QUEUE: Duration = Duration::from_secs(5);
/// Pause between two readings of the database's size, which asks the file system for every table.
const SIZE: Duration = Duration::from_secs(30);
/// Pause between two probes of the database, and the longest that one may take.
const PROBE: Duration = Duration::from_secs(1);
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two probes of the object store.
const OBJECTS: Duration = Duration::from_secs(10);
/// Pause between two looks whether this release may still run on the schema.
const SCHEMA: Duration = Duration::from_secs(2);
/// How long background work may go on once the broker was told to stop.
const LAST: Duration = Duration::from_secs(5);
/// First and longest pause of a background task after a failure.
const TASK_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Starts all of it. `channel` is where the replicas of the database notify each other.
pub(crate) fn start(shared: &Arc<Shared>, conditions: &Conditions, channel: String) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let conditions = conditions.clone();
    for condition in ["database", "schema", "object_store", "disk"] {
        conditions.set(condition, Ok(()));
    }
    let of_objects = conditions.clone();
    spawn(&mut tasks, shared, |shared| async move { probe_objects(&shared, &of_objects).await });
    let of_schema = conditions.clone();
    spawn(&mut tasks, shared, |shared| async move { watch_schema(&shared, &of_schema).await });
    let of_disk = conditions.clone();
    spawn(&mut tasks, shared, |shared| async move {
        retention::watch_disk(&shared, &of_disk).await;
    });
    spawn(&mut tasks, shared, |shared| async move { retention::retire(&shared).await });
    if let Some(rate) = NonZeroU64::new(shared.scrub_bytes_per_second) {
        let of_artifacts = conditions.clone();
        spawn(&mut tasks, shared, |shared| async move {
            scrub::keep(&shared, &of_artifacts, rate).await;
        });
    }
    let of_all = conditions.clone();
    spawn(&mut tasks, shared, |shared| async move { overview::keep(&shared, &of_all).await });
    spawn(&mut tasks, shared, |shared| async move { probe(&shared, &conditions).await });
    spawn(&mut tasks, shared, |shared| async move {
        dispatch(&shared).await;
        shared.dispatcher.end();
    });
    spawn(&mut tasks, shared, |shared| async move { sweep(&shared).await });
    // The setting is that of the process: without second leases nothing has to wake up for them.
    if shared.second_leases_max_percent > 0 {
        spawn(&mut tasks, shared, |shared| async move { seconds::keep(&shared).await });
    }
    spawn(&mut tasks, shared, |shared| async move { keep_tokens(&shared).await });
    spawn(&mut tasks, shared, |shared| async move { keep_drains(&shared).await });
    spawn(&mut tasks, shared, |shared| async move { keep_queue(&shared).await });
    spawn(&mut tasks, shared, |shared| async move { keep_database(&shared).await });
    spawn(&mut tasks, shared, |shared| async move { keep_sightings(&shared).await });
    spawn(&mut tasks, shared, |shared| async move { watch_buffers(&shared).await });
    spawn(&mut tasks, shared, |shared| async move { aztec::drop_old_epochs(&shared).await });
    let (tell, hear) = (channel.clone(), channel);
    spawn(&mut tasks, shared, |shared| async move {
        shared.hub.notify_replicas(&shared.store, &tell, &shared.shutdown).await;
    });
    spawn(&mut tasks, shared, |shared| async move {
        shared.hub.listen_to_replicas(&shared.store, &hear, &shared.shutdown).await;
    });
    tasks
}

fn spawn<F: Future<Output = ()> + Send + 'static>(
    tasks: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    body: impl FnOnce(Arc<Shared>) -> F,
) {
    tasks.spawn(body(shared.clone()));
}

/// Work on the database that ends although the database is silent, and soon once the broker was told to stop. A task that
/// waited for ever would never run again: leases would not expire, and revoked tokens would open the broker.
pub(crate) async fn within<T>(
    shared: &Shared,
    work: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    let stopping = async {
        shared.shutdown.started().await;
        tokio::time::sleep(LAST).await;
    };
    tokio::select! {
        done = limited(shared.store.rules().silence, work) => done,
        () = stopping => Err(sqlx::Error::PoolClosed.into()),
    }
}

async fn dispatch(shared: &Shared) {
    let mut task = Task::new("dispatch");
    while !shared.shutdown.is_started() {
        tokio::select! {
            () = shared.hub.ready.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            () = shared.shutdown.started() => return,
        }
        let start = tokio::time::Instant::now();
        let granted = shared.dispatcher.round(&shared.store, &shared.drains).await;
        task.report(granted, &shared.shutdown).await;
        // Agents and jobs that come meanwhile are matched together.
        tokio::time::sleep(pause_after(start.elapsed())).await;
    }
}

/// Ends backoffs and expires leases. A broker that was down first waits for heartbeats, and so does one whose database had
/// its clock set: those leases expired through no fault of their agents.
async fn sweep(shared: &Shared) {
    let lease = shared.store.rules().lease;
    let mut patience = Patience::new(lease, tokio::time::Instant::now());
    // It may have been set back while no broker ran, which leaves nothing to compare it with.
    let (mut clock, mut was_set_back) = (Clock::new(lease), true);
    let [mut promotion, mut deadlines, mut reading, mut bounding, mut expiry] =
        ["promotion", "deadlines", "clock", "bounds", "expiry"].map(Task::new);
    while !shared.shutdown.is_started() {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = shared.shutdown.started() => return,
        }
        let promoted = within(shared, shared.store.promote()).await;
        if promotion.report(promoted, &shared.shutdown).await.is_some_and(|ready| ready > 0) {
            shared.hub.became_ready();
        }
        let late = within(shared, shared.store.past_deadline()).await;
        let dead = deadlines.report(late, &shared.shutdown).await.unwrap_or(0);
        if dead > 0 {
            shared.metrics.dead_letters_total.inc_by(dead);
            shared.hub.became_final();
        }
        let asked = tokio::time::Instant::now();
        let read = within(shared, shared.store.clock()).await;
        let Some(read) = reading.report(read, &shared.shutdown).await else { continue };
        let now = tokio::time::Instant::now();
        if let Some(jump) = clock.jump(read, asked, now) {
            let seconds = match jump {
                Jump::Ahead(by) => by.as_secs_f64(),
                Jump::Back(by) => -by.as_secs_f64(),
            };
            let lease_seconds = lease.as_secs_f64();
            tracing::warn!(
                seconds,
                lease_seconds,
                "clock of the database was set; leases expire after one lease"
            );
            patience.extend(now);
            was_set_back |= matches!(jump, Jump::Back(_));
        }
        if was_set_back {
            let bounded = within(shared, shared.store.bound_waits()).await;
            was_set_back = bounding.report(bounded, &shared.shutdown).await.is_none();
        }
        if !patience.is_over(now) {
            continue;
        }
        // Not by the present time: the clock may have been set since it was read.
        let expired = within(shared, shared.store.expire_by(read, spread())).await;
        let expired = expiry.report(expired, &shared.shutdown).await;
        for (_, next) in expired.into_iter().flatten() {
            shared.metrics.ended(Ended::With(AttemptOutcome::Expired), 1);
            shared.count_next(next);
        }
    }
}

async fn keep_tokens(shared: &Shared) {
    let mut task = Task::new("tokens");
    loop {
        tokio::select! {
            () = tokio::time::sleep(TOKENS) => {}
            () = shared.shutdown.started() => return,
        }
        let read = within(shared, shared.read_tokens()).await;
        task.report(read, &shared.shutdown).await;
    }
}

/// Follows which agents were asked to leave at other replicas.
async fn keep_drains(shared: &Shared) {
    let mut task = Task::new("drains");
    loop {
        tokio::select! {
            () = tokio::time::sleep(DRAINS) => {}
            () = shared.shutdown.started() => return,
        }
        let read = within(shared, shared.drains.read(&shared.store)).await;
        task.report(read, &shared.shutdown).await;
    }
}

async fn keep_sightings(shared: &Shared) {
    let mut task = Task::new("sightings");
    loop {
        tokio::select! {
            () = tokio::time::sleep(SIGHTINGS) => {}
            () = shared.shutdown.started() => return,
        }
        shared.usage.tidy(Instant::now());
        let written = shared.sightings.write(&shared.store, shared.store.rules()).await;
        task.report(written, &shared.shutdown).await;
    }
}

async fn watch_buffers(shared: &Shared) {
    loop {
        shared.show_buffers();
        tokio::select! {
            () = tokio::time::sleep(BUFFERS) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

async fn keep_queue(shared: &Shared) {
    let [mut count, mut forgiveness] = ["queue", "forgiveness"].map(Task::new);
    loop {
        let counted = within(shared, shared.count_queue()).await;
        if counted.is_err() {
            shared.metrics.forget_queue();
        }
        count.report(counted, &shared.shutdown).await;
        let forgiven = within(shared, shared.store.forgive()).await;
        let forgiven = forgiveness.report(forgiven, &shared.shutdown).await.unwrap_or_default();
        if !forgiven.is_empty() {
            shared.metrics.exclusions_forgiven_total.inc_by(forgiven.len() as u64);
            shared.hub.became_ready();
        }
        tokio::select! {
            () = tokio::time::sleep(QUEUE) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

/// Shows the size of the database.
async fn keep_database(shared: &Shared) {
    let mut task = Task::new("database size");
    shared.metrics.forget_database();
    loop {
        let read = within(shared, shared.store.database()).await;
        match &read {
            Ok(database) => shared.metrics.show_database(database),
            Err(_) => shared.metrics.forget_database(),
        }
        task.report(read, &shared.shutdown).await;
        tokio::select! {
            () = tokio::time::sleep(SIZE) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

/// Keeps the condition `database`: a statement that would change the table of jobs is answered in time. It takes a
/// connection like any other, so an exhausted pool, a locked table and a standby show too.
async fn probe(shared: &Shared, conditions: &Conditions) {
    while !shared.shutdown.is_started() {
        let probed = tokio::time::timeout(PROBE_LIMIT, shared.store.probe()).await;
        conditions.set(
            "database",
            match probed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(rollmill_service::one_line(&error)),
                Err(_) => Err(format!("no answer within {} s", PROBE_LIMIT.as_secs())),
            },
        );
        tokio::select! {
            () = tokio::time::sleep(PROBE) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

/// Keeps the condition `schema`: a newer release that migrates the schema of running brokers says which releases may go on.
/// One that may not is the last to know, since its statements fail only where the schema differs.
async fn watch_schema(shared: &Shared, conditions: &Conditions) {
    loop {
        match within(shared, shared.store.check_release()).await {
            Ok(()) => conditions.set("schema", Ok(())),
            Err(error @ BrokerError::SchemaNewer { .. }) => {
                conditions.set("schema", Err(rollmill_service::one_line(&error)));
            }
            // The condition `database` says so.
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(SCHEMA) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

/// Keeps the condition `object_store`: the store answers, and is still the one of the database.
async fn probe_objects(shared: &Shared, conditions: &Conditions) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(OBJECTS) => {}
            () = shared.shutdown.started() => return,
        }
        let probed = tokio::select! {
            probed = shared.store.probe_objects() => probed,
            () = shared.shutdown.started() => return,
        };
        match probed {
            Ok(()) => conditions.set("object_store", Ok(())),
            // The condition `database` says so.
            Err(BrokerError::Database { .. }) => {}
            Err(error) => conditions.set("object_store", Err(rollmill_service::one_line(&error))),
        }
    }
}

/// One background task, which runs again after a failure.
pub(crate) struct Task {
    name: &'static str,
    retry: Retry,
}

impl Task {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, retry: Retry::new(TASK_PAUSE.0, TASK_PAUSE.1) }
    }

    /// The value of a run that succeeded. After one that failed it pauses, at most until shutdown, and
    /// returns `None`.
    pub(crate) async fn report<T>(
        &mut self,
        done: Result<T, BrokerError>,
        shutdown: &Shutdown,
    ) -> Option<T> {
        let task = self.name;
        let error = match done {
            Ok(value) => {
                self.retry.succeeded(|wait_seconds| {
                    tracing::info!(task, wait_seconds, "background task recovered");
                });
                return Some(value);
            }
            Err(error) => rollmill_service::one_line(&error),
        };
        let log = |Again { repeated, retry_seconds }| {
            tracing::warn!(
                task,
                error,
                repeated,
                retry_seconds,
                "background task failed; retrying"
            );
        };
        self.retry.failed(shutdown.started(), log).await;
        None
    }
}
