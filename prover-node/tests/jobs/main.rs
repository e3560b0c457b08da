//! Jobs, pipelines and proving tasks against a fake broker with agents.

mod fake;
mod lease;
mod ranges;

use std::sync::Arc;
use std::time::Duration;

use fake::{Fake, Fault, Local, result_of};
use rollmill_broker_client::{
    Client, Digest, EpochOutcome, JobId, JobState, KindName, NewJob, Options, ROLLUP_LABEL,
};
use rollmill_circuits::jobs::JobError;
use rollmill_prover_node::jobs::answers::Route;
use rollmill_prover_node::jobs::{Broker, Health, JobFailure, Jobs, Tempo, Verify};
use rollmill_prover_node::metrics::Metrics;
use rollmill_prover_node::work::WorkError;
use rollmill_service::prometheus::Registry;

const EPOCH: u64 = 7;
const MS: Duration = Duration::from_millis(1);

/// Pauses of no length that matters; each wait ends by an event.
const TEMPO: Tempo = Tempo {
    retry: (MS, Duration::from_millis(4)),
    token: MS,
    wait: Duration::from_secs(5),
    check: Duration::from_millis(20),
    replay: MS,
};

fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

fn jobs<B: Broker>(broker: B) -> (Jobs<B>, Metrics, Arc<Health>) {
    jobs_of("alpha", broker)
}

/// The jobs of one deployment.
fn jobs_of<B: Broker>(rollup: &str, broker: B) -> (Jobs<B>, Metrics, Arc<Health>) {
    let (metrics, health) = (metrics(), Arc::new(Health::default()));
    let jobs = Jobs::new(broker, rollup.into(), TEMPO, Arc::clone(&health), metrics.clone());
    (jobs, metrics, health)
}

fn http(url: &str) -> Client {
    let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(5) };
    Client::new(url, Some("token"), options).unwrap()
}

/// A job with its input, and the check of its result.
fn job(n: u64) -> (NewJob, Arc<Vec<u8>>, Verify) {
    let input = Arc::new(format!("input {n}").into_bytes());
    let kind: KindName = "tx_base".parse().unwrap();
    let job = NewJob::new(EPOCH, &kind, "v1".parse().unwrap(), Digest::of(&input));
    let expected = result_of(&input);
    let verify: Verify = Arc::new(move |result| match result == expected {
        true => Ok(()),
        false => Err(WorkError::Job(JobError::PublicInput { index: 0 })),
    });
    (job, input, verify)
}

/// Proves one job over HTTP after `arrange` has had its way with the broker.
async fn prove_over_http(
    arrange: impl FnOnce(&mut fake::Inner),
) -> (Result<Vec<u8>, JobFailure>, Arc<Fake>, Metrics) {
    let fake = Fake::new(10);
    arrange(&mut fake.lock());
    let (jobs, metrics, _) = jobs(http(&fake.serve().await));
    let (job, input, verify) = job(1);
    let done = jobs.prove(&job, &input, &verify).await.map(|done| done.result);
    if let Ok(result) = &done {
        assert_eq!(*result, result_of(&input));
    }
    (done, fake, metrics)
}

/// The required outcome of a fault: the job is done nevertheless, or an operator must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Proven,
    Parked,
}

/// The design's table, written a second time: status and code, then the effect on upload, fetch,
/// enqueue, watch, reject and replay.
const TABLE: &[(u16, Option<&str>, [End; 6])] = {
    use End::{Parked as P, Proven as D};
    &[
        // Passing: no code of a broker's, or a status that passes.
        (301, None, [D, D, D, D, D, D]),
        (401, None, [D, D, D, D, D, D]),
        (403, None, [D, D, D, D, D, D]),
        (404, None, [D, D, D, D, D, D]),
        (405, None, [D, D, D, D, D, D]),
        (408, None, [D, D, D, D, D, D]),
        (425, None, [D, D, D, D, D, D]),
        (429, Some("BRK-022"), [D, D, D, D, D, D]),
        (500, Some("BRK-016"), [D, D, D, D, D, D]),
        (500, None, [D, D, D, D, D, D]),
        (502, None, [D, D, D, D, D, D]),
        (503, Some("BRK-001"), [D, D, D, D, D, D]),
        (504, None, [D, D, D, D, D, D]),
        // Another version of the broker.
        (400, Some("BRK-010"), [P, P, P, P, P, P]),
        (409, Some("BRK-099"), [P, P, P, P, P, P]),
        (409, Some("BRK-012"), [P, P, P, P, P, P]),
        // The token, until it is replaced.
        (401, Some("BRK-023"), [D, D, D, D, D, D]),
        (403, Some("BRK-024"), [D, D, D, D, D, D]),
        (403, Some("BRK-019"), [D, D, D, D, D, D]),
        // Restart the job.
        (404, Some("BRK-011"), [D, D, D, D, D, D]),
        (409, Some("BRK-020"), [D, D, D, D, D, D]),
        (404, Some("BRK-014"), [D, D, D, D, D, D]),
        (410, Some("BRK-026"), [D, D, D, D, D, D]),
        (422, Some("BRK-013"), [D, D, D, D, D, D]),
        (422, Some("BRK-015"), [D, P, P, P, P, P]),
        // The epoch is opened again.
        (409, Some("BRK-062"), [D, D, D, D, D, D]),
        (410, Some("BRK-063"), [D, D, D, D, D, D]),
        // One job alone cannot be made smaller.
        (413, Some("BRK-017"), [P, P, P, P, P, P]),
        // Responses to agents only.
        (409, Some("BRK-018"), [P, P, P, P, P, P]),
        (409, Some("BRK-021"), [P, P, P, P, P, P]),
    ]
};

/// Goal: each response on each route has the effect in the table, and none is charged to an agent.
#[tokio::test]
async fn every_answer_on_every_route_over_http() {
    let routes =
        [Route::Upload, Route::Fetch, Route::Enqueue, Route::Watch, Route::Reject, Route::Replay];
    for (status, code, ends) in TABLE {
        for (route, expected) in routes.into_iter().zip(ends) {
            let fault = Fault { status: *status, code: *code };
            let (done, fake, _) = prove_over_http(|inner| {
                inner.faults = vec![(route, fault), (route, fault)];
                // So that these routes are taken at all.
                inner.wrong = usize::from(route == Route::Reject);
                inner.deaths = usize::from(route == Route::Replay);
            })
            .await;
            let end = if done.is_ok() { End::Proven } else { End::Parked };
            assert_eq!(end, *expected, "{status} {code:?} on {route:?}: {done:?}");
            let inner = fake.lock();
            let blamed = inner.rejected.len();
            assert!(blamed <= usize::from(route == Route::Reject), "{status} {code:?} {route:?}");
            assert!(inner.faults.len() < 2, "{route:?} was never asked");
        }
    }
}

/// Goal: a job is proven through a broker that is not there yet.
#[tokio::test]
async fn no_connection_is_passing() {
    let fake = Fake::new(10);
    let url = fake.serve().await;
    let (job, input, verify) = job(1);
    let gone = "http://127.0.0.1:9";
    let (jobs, _, health) = jobs(http(gone));
    let waiting = jobs.prove(&job, &input, &verify);
    tokio::select! {
        done = waiting => panic!("nobody is there: {done:?}"),
        () = async {
            while !health.broker().reason.starts_with("BRC-011") {
                tokio::task::yield_now().await;
                tokio::time::sleep(MS).await;
            }
        } => {}
    }
    assert!(!health.broker().holds);
    let (jobs, ..) = self::jobs(http(&url));
    assert!(jobs.prove(&job, &input, &verify).await.is_ok());
}

/// Goal: the prover node waits until the broker reopens the job of a lost result; no agent is charged.
#[tokio::test]
async fn a_lost_result_is_waited_for_and_blames_nobody() {
    let lost = Fault { status: 410, code: Some("BRK-026") };
    let (done, fake, metrics) = prove_over_http(|inner| {
        inner.faults = vec![(Route::Fetch, lost); 5];
    })
    .await;
    assert!(done.is_ok());
    assert_eq!(metrics.results_lost_total.get(), 5);
    assert!(fake.lock().rejected.is_empty());

    let fake = Fake::new(10);
    let (jobs, metrics, _) = jobs(Local(Arc::clone(&fake)));
    let (job, input, verify) = job(1);
    assert!(jobs.prove(&job, &input, &verify).await.is_ok());
    let digest = fake.lock().jobs[&job.id].result.unwrap();
    fake.lock().artifacts.remove(&digest);
    let again = jobs.prove(&job, &input, &verify);
    let heal = async {
        while metrics.results_lost_total.get() == 0 {
            tokio::time::sleep(MS).await;
        }
        fake.lock().lose_result_of(&job.id);
    };
    let (done, ()) = tokio::join!(again, heal);
    assert!(done.is_ok());
    assert!(fake.lock().rejected.is_empty());
}

/// Goal: only bytes that were read whole and are wrong are charged, once each.
#[tokio::test]
async fn a_wrong_result_is_rejected_and_proven_again() {
    let (done, fake, metrics) = prove_over_http(|inner| inner.wrong = 3).await;
    assert!(done.is_ok());
    assert_eq!(fake.lock().rejected.len(), 3);
    assert_eq!(metrics.results_rejected_total.get(), 3);
}

#[tokio::test]
async fn a_dead_job_is_replayed_as_often_as_it_takes() {
    let (done, fake, metrics) = prove_over_http(|inner| inner.deaths = 8).await;
    assert!(done.is_ok());
    assert_eq!((fake.lock().replayed, metrics.jobs_dead_total.get()), (8, 8));
}

/// Goal: a deadline is an estimate: a job that is still wanted after it is enqueued with the next one.
/// Method: the deadline moves by one with each read and is in the past at first.
#[tokio::test]
async fn a_deadline_that_was_too_early_costs_time_and_nothing_else() {
    let fake = Fake::new(1);
    fake.lock().now = 13;
    let (jobs, metrics, _) = jobs(Local(Arc::clone(&fake)));
    let (job, input, verify) = job(1);
    let next = std::sync::atomic::AtomicU64::new(10);
    let deadline = || Some(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    assert!(jobs.prove_by(&job, deadline, &input, &verify).await.is_ok());
    let inner = fake.lock();
    assert_eq!(inner.deadlines, [10, 11, 12, 13].map(Some));
    assert_eq!((inner.replayed, metrics.jobs_dead_total.get()), (0, 0));
}

/// Goal: an input that the broker lost is uploaded again, without a replay and without blame.
#[tokio::test]
async fn a_lost_input_is_uploaded_again() {
    let fake = Fake::new(0);
    let (jobs, metrics, _) = jobs(Local(Arc::clone(&fake)));
    let (job, input, verify) = job(1);
    let lose = async {
        while !fake.lock().jobs.contains_key(&job.id) {
            tokio::time::sleep(MS).await;
        }
        fake.lock().artifacts.clear();
        fake.lock().work(1);
        while fake.lock().jobs[&job.id].state != JobState::Ready {
            tokio::time::sleep(MS).await;
        }
        fake.lock().work(1);
    };
    let (done, ()) = tokio::join!(jobs.prove(&job, &input, &verify), lose);
    assert!(done.is_ok());
    let inner = fake.lock();
    assert_eq!((inner.replayed, inner.rejected.len(), inner.uploads), (0, 0, 2));
    assert_eq!(metrics.inputs_wanted_total.get(), 1);
}

/// Goal: jobs that somebody else cancelled, or whose database was lost, are restarted.
#[tokio::test]
async fn cancelled_and_forgotten_jobs_are_restarted() {
    for forget in [true, false] {
        let fake = Fake::new(0);
        let (jobs, ..) = jobs(Local(Arc::clone(&fake)));
        let (job, input, verify) = job(1);
        let harm = async {
            while !fake.lock().jobs.contains_key(&job.id) {
                tokio::time::sleep(MS).await;
            }
            if forget {
                fake.lock().lose_everything();
            } else {
                fake.lock().cancel(std::slice::from_ref(&job.id));
            }
            let is_ready =
                || fake.lock().jobs.get(&job.id).is_some_and(|j| j.state == JobState::Ready);
            while !is_ready() {
                tokio::time::sleep(MS).await;
            }
            fake.lock().work(1);
        };
        let (done, ()) = tokio::join!(jobs.prove(&job, &input, &verify), harm);
        assert!(done.is_ok(), "forget {forget}");
    }
}

/// Fault: the broker closed the epoch that a range needs again, after a reorg. It is opened, and the job proven. A closed
/// epoch that nobody needs stays closed, and one that is gone counts as closed.
#[tokio::test]
async fn a_closed_epoch_is_opened_again_while_a_range_needs_it() {
    let fake = Fake::new(1);
    let (jobs, ..) = jobs(Local(Arc::clone(&fake)));
    let (job, input, verify) = job(1);
    fake.lock().closed = Some("BRK-062");
    assert!(jobs.close_epoch(EPOCH, EpochOutcome::Final).await.unwrap());
    assert_eq!(fake.lock().opened, 0);
    jobs.prove(&job, &input, &verify).await.unwrap();
    assert_eq!(fake.lock().opened, 1);
    fake.lock().closed = Some("BRK-063");
    assert!(jobs.close_epoch(EPOCH, EpochOutcome::Final).await.unwrap());
}

/// Goal: jobs that no task waits for are cancelled, also beyond one batch; jobs of another range stay.
#[tokio::test]
async fn only_unwanted_jobs_are_cancelled() {
    let fake = Fake::new(0);
    let (jobs, ..) = jobs(Local(Arc::clone(&fake)));
    let mut tasks = tokio::task::JoinSet::new();
    let mut unwanted: Vec<JobId> = Vec::new();
    for n in 0..2_300 {
        let (job, input, verify) = job(n);
        let jobs = jobs.clone();
        if n > 0 {
            unwanted.push(job.id.clone());
        }
        tasks.spawn(async move { jobs.prove(&job, &input, &verify).await.map(drop) });
    }
    while jobs.open() < 2_300 {
        tokio::time::sleep(MS).await;
    }
    assert_eq!(jobs.cancel_unwanted(EPOCH).await.unwrap(), 0);
    tasks.shutdown().await;
    let (needed, input, verify) = job(0);
    let kept = jobs.clone();
    let kept = tokio::spawn(async move { kept.prove(&needed, &input, &verify).await.map(drop) });
    while jobs.open() == 0 {
        tokio::time::sleep(MS).await;
    }
    assert_eq!(jobs.cancel_unwanted(EPOCH).await.unwrap(), 2_299);
    fake.lock().work(1);
    kept.await.unwrap().unwrap();
}

/// Attack: a deployment that tidies up after a range ends the work of another with the same epoch number. Over HTTP, so
/// that the request names the deployment too.
#[tokio::test]
async fn jobs_of_another_deployment_are_never_cancelled() {
    let fake = Fake::new(0);
    let url = fake.serve().await;
    let (alpha, ..) = jobs_of("alpha", http(&url));
    let (beta, ..) = jobs_of("beta", http(&url));
    let mut tasks = tokio::task::JoinSet::new();
    for (n, of) in [(1, &alpha), (2, &beta)] {
        let ((job, input, verify), of) = (job(n), of.clone());
        tasks.spawn(async move { of.prove(&job, &input, &verify).await.map(drop) });
    }
    while alpha.open() + beta.open() < 2 {
        tokio::time::sleep(MS).await;
    }
    tasks.shutdown().await;
    assert_eq!(alpha.cancel_unwanted(EPOCH).await.unwrap(), 1);
    let state = |n| fake.lock().jobs[&job(n).0.id].state;
    assert_eq!((state(1), state(2)), (JobState::Cancelled, JobState::Ready));
    assert_eq!(beta.cancel_unwanted(EPOCH).await.unwrap(), 1);
}

/// Goal: the unwanted jobs of an epoch are found behind any number of wanted ones. Method: 2,100 jobs that are waited for
/// fill the first pages of the list, and the ten that nobody waits for are on the last one.
#[tokio::test]
async fn unwanted_jobs_are_found_behind_pages_of_wanted_ones() {
    let fake = Fake::new(0);
    let (jobs, ..) = jobs(http(&fake.serve().await));
    let mut all: Vec<_> = (0..2_110).map(job).collect();
    all.sort_by(|(a, ..), (b, ..)| a.id.cmp(&b.id));
    // The fake lists the largest id first.
    let wanted = all.split_off(10);
    enqueue(&fake, &all, Some("alpha"));
    let mut tasks = tokio::task::JoinSet::new();
    for (job, input, verify) in wanted {
        let jobs = jobs.clone();
        tasks.spawn(async move { jobs.prove(&job, &input, &verify).await.map(drop) });
    }
    while fake.lock().jobs.len() < 2_110 {
        tokio::time::sleep(MS).await;
    }
    fake.lock().lists = 0;
    assert_eq!(jobs.cancel_unwanted(EPOCH).await.unwrap(), 10);
    let inner = fake.lock();
    let is_cancelled = |id: &JobId| inner.jobs[id].state == JobState::Cancelled;
    assert!(all.iter().all(|(job, ..)| is_cancelled(&job.id)));
    assert_eq!(inner.jobs.values().filter(|job| job.state == JobState::Ready).count(), 2_100);
    // Three pages of jobs that are ready, and an empty one of each other state.
    assert_eq!(inner.lists, 3 + 4);
}

/// Attack: a broker lists jobs of another deployment, and jobs without a label, as this deployment's. A job without one is of
/// an older release, perhaps another deployment's: whoever still needs it enqueues it again, with its label.
#[tokio::test]
async fn jobs_with_another_label_or_none_are_never_cancelled() {
    let fake = Fake::new(0);
    let (alpha, ..) = jobs_of("alpha", http(&fake.serve().await));
    let labels = [Some("alpha"), Some("beta"), None];
    for (n, label) in (1..).zip(labels) {
        enqueue(&fake, &[job(n)], label);
    }
    let states = || [1, 2, 3].map(|n| fake.lock().jobs[&job(n).0.id].state);
    for ignores_labels in [false, true] {
        fake.lock().ignores_labels = ignores_labels;
        let own = u64::from(!ignores_labels);
        assert_eq!(alpha.cancel_unwanted(EPOCH).await.unwrap(), own, "{ignores_labels}");
        assert_eq!(states(), [JobState::Cancelled, JobState::Ready, JobState::Ready]);
    }
    // The older release's job is this deployment's after all: it is needed, and then no longer.
    let (needed, input, verify) = job(3);
    let of = alpha.clone();
    let task = tokio::spawn(async move { of.prove(&needed, &input, &verify).await.map(drop) });
    while fake.lock().jobs[&job(3).0.id].labels.is_empty() {
        tokio::time::sleep(MS).await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(alpha.cancel_unwanted(EPOCH).await.unwrap(), 1);
    assert_eq!(states(), [JobState::Cancelled, JobState::Ready, JobState::Cancelled]);
}

/// Puts jobs into the queue for which nobody waits.
fn enqueue(fake: &Fake, jobs: &[(NewJob, Arc<Vec<u8>>, Verify)], rollup: Option<&str>) {
    let mut inner = fake.lock();
    for (job, input, _) in jobs {
        let mut job = job.clone();
        job.labels.extend(rollup.map(|of| (ROLLUP_LABEL.to_owned(), of.to_owned())));
        inner.put(input.to_vec());
        inner.enqueue(vec![job]).unwrap();
    }
}

impl fake::Inner {
    /// The broker notices what is missing already.
    fn lose_result_of(&mut self, id: &JobId) {
        let result = self.jobs[id].result.unwrap();
        self.artifacts.insert(result, Vec::new());
        self.lose_result(id);
    }
}
