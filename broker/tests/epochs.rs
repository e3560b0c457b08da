//! Epochs: who opens one, what a closed one takes, and that what is kept is what should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Bench, agent, blocked, digest, job};
use rollmill_broker::store::{
    Partitions, ROW_ARTIFACT_BYTES_MAX, Retention, Retired, Rules, Store, Tenant,
};
use rollmill_broker_client::{
    CompleteRequest, Digest, EpochOutcome, EpochState, EpochView, JobState, NewJob, Role,
};
use rollmill_broker_testing::TestSchema;

const FINAL: EpochOutcome = EpochOutcome::Final;

fn code<T: std::fmt::Debug>(result: Result<T, rollmill_broker::BrokerError>) -> String {
    result.unwrap_err().code().to_owned()
}

async fn bench_with(retention: Retention) -> Bench {
    let schema = TestSchema::with(Rules { retention, ..Rules::default() }).await;
    let store = schema.store().await;
    Bench { schema, store, tenant: Tenant::default() }
}

/// Everything is due at once, except that an epoch is remembered.
fn at_once() -> Retention {
    let zero = Duration::ZERO;
    let month = Duration::from_secs(30 * 24 * 3600);
    Retention {
        final_epochs: zero,
        given_up_epochs: zero,
        silent_epochs: month,
        grace: zero,
        tombstones: month,
        agents: month,
        audit: month,
    }
}

async fn close(bench: &Bench, epoch: u64) -> EpochView {
    bench.store.close_epoch(&bench.tenant, epoch, FINAL, None).await.unwrap().epoch
}

async fn count(bench: &Bench, table: &str) -> i64 {
    let text = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(bench.store.pool()).await.unwrap()
}

async fn tables(bench: &Bench) -> i64 {
    count(bench, "pg_inherits WHERE inhparent = 'artifact_body'::regclass").await
}

/// Moves the times of an epoch into the past, by the database's clock.
async fn age(bench: &Bench, epoch: u64, interval: &'static str) {
    let text = format!(
        "UPDATE epoch SET opened_at = opened_at - interval '{interval}', closed_at = closed_at - interval '{interval}',
                gone_at = gone_at - interval '{interval}' WHERE number = $1"
    );
    let moved = sqlx::query(sqlx::AssertSqlSafe(text)).bind(i64::try_from(epoch).unwrap());
    assert_eq!(moved.execute(bench.store.pool()).await.unwrap().rows_affected(), 1);
}

/// Fault: an agent makes up epochs. It opens none, and no table is made, whatever it uploads; a producer opens each by its
/// first upload or enqueue, and has a bounded number of them open.
#[tokio::test]
async fn only_producers_open_epochs_and_only_so_many() {
    let schema = TestSchema::with(Rules { epochs_open_max: 3, ..Rules::default() }).await;
    let (store, tenant) = (schema.store().await, Tenant::default());
    let producer = store.add_token("p", Role::Producer, &tenant).await.unwrap();
    let agent = store.add_token("a", Role::Agent, &tenant).await.unwrap();
    let broker = schema.broker().await;
    let (producer, agent) = (broker.client_with(Some(&producer)), broker.client_with(Some(&agent)));
    let refused = |error: rollmill_broker_client::ClientError| {
        rollmill_service::Coded::code(&error).to_owned()
    };
    let large = vec![1; ROW_ARTIFACT_BYTES_MAX + 1];
    for epoch in 0..20 {
        assert_eq!(refused(agent.put_artifact(epoch, b"x".to_vec()).await.unwrap_err()), "BRK-063");
        assert_eq!(refused(agent.put_artifact(epoch, large.clone()).await.unwrap_err()), "BRK-063");
    }
    let bench = Bench { schema, store, tenant };
    assert_eq!((tables(&bench).await, count(&bench, "epoch").await), (0, 0));
    for epoch in 1..=3 {
        producer.put_artifact(epoch, b"x".to_vec()).await.unwrap();
        agent.put_artifact(epoch, b"y".to_vec()).await.unwrap();
    }
    let once = producer.with_options(rollmill_broker_client::Options {
        patience: Duration::ZERO,
        ..Default::default()
    });
    assert_eq!(refused(once.put_artifact(4, b"x".to_vec()).await.unwrap_err()), "BRK-064");
    producer.put_artifact(3, b"z".to_vec()).await.unwrap();
    producer.close_epoch(1, FINAL, None).await.unwrap();
    producer.put_artifact(4, b"x".to_vec()).await.unwrap();
    assert_eq!(tables(&bench).await, 4);
    broker.stop().await;
}

/// Goal: each state takes and answers what the table of the states says.
#[tokio::test]
async fn each_state_takes_what_it_should() {
    let bench = bench_with(at_once()).await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    let first = bench.ready_job(7, "leaf", 1).await;
    let second = bench.ready_job(7, "leaf", 0).await;
    let lease = bench.lease("a").await;
    assert_eq!(lease.job, first.id);

    let closed = close(&bench, 7).await;
    assert_eq!(
        (closed.state, closed.outcome, closed.generation),
        (EpochState::Closing, Some(FINAL), 1)
    );
    assert_eq!(
        bench.heartbeat("a", &lease).await,
        std::slice::from_ref(&lease),
        "the lease is cancelled"
    );
    let views = store.jobs(tenant, &[first.id.clone(), second.id.clone()]).await.unwrap();
    assert!(views.iter().all(|view| view.state == JobState::Cancelled));
    assert!(bench.peek().await.is_empty());
    let large = vec![1; ROW_ARTIFACT_BYTES_MAX + 1];
    for body in [b"late".to_vec(), large.clone()] {
        assert_eq!(code(store.put_artifact(tenant, 7, digest(&body), body).await), "BRK-062");
    }
    assert_eq!(code(store.enqueue(tenant, std::slice::from_ref(&first)).await), "BRK-062");
    assert_eq!(store.get_artifact(tenant, first.id.input()).await.unwrap(), b"7leaf1");

    // The reorg brought it back: it goes on as it was.
    assert_eq!(store.open_epoch(tenant, 7).await.unwrap().generation, 1);
    store.enqueue(tenant, std::slice::from_ref(&first)).await.unwrap();
    let lease = bench.lease("a").await;
    let result = bench.put(7, b"proof").await;
    close(&bench, 7).await;
    assert_eq!(code(bench.complete("a", &lease, result).await), "BRK-020");

    let done = store.retire(false).await.unwrap();
    let dropped = Retired::Dropped { tenant: tenant.clone(), epoch: 7, outcome: FINAL, jobs: 2 };
    assert_eq!(done, [dropped]);
    for table in ["job", "attempt", "artifact", "artifact_body"] {
        assert_eq!(count(&bench, table).await, 0, "{table}");
    }
    assert_eq!(tables(&bench).await, 0);
    for body in [b"late".to_vec(), large.clone()] {
        assert_eq!(code(store.put_artifact(tenant, 7, digest(&body), body).await), "BRK-063");
    }
    assert_eq!(code(store.enqueue(tenant, std::slice::from_ref(&first)).await), "BRK-063");
    assert_eq!(code(bench.complete("a", &lease, result).await), "BRK-011");
    assert_eq!(code(store.close_epoch(tenant, 7, FINAL, None).await), "BRK-063");

    // A new generation begins empty.
    assert_eq!(store.open_epoch(tenant, 7).await.unwrap().generation, 2);
    assert_eq!(code(store.enqueue(tenant, std::slice::from_ref(&first)).await), "BRK-013");
    bench.put(7, b"7leaf1").await;
    bench.put(7, &large).await;
    assert!(bench.schema.objects().join(format!("default/7.2/{}", digest(&large))).exists());
    store.enqueue(tenant, std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(bench.lease("a").await.job, first.id);
}

/// Goal: what is kept, and for how long, is what the settings say, per outcome. The times are those of the database.
#[tokio::test]
async fn epochs_age_out_by_outcome() {
    let hour = Duration::from_secs(3600);
    let keep = Retention {
        final_epochs: 24 * hour,
        given_up_epochs: 72 * hour,
        silent_epochs: 168 * hour,
        grace: hour / 6,
        tombstones: 720 * hour,
        ..Retention::default()
    };
    let bench = bench_with(keep).await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    let outcomes = [FINAL, EpochOutcome::Superseded, EpochOutcome::GivenUp];
    for (epoch, outcome) in (1..).zip(outcomes) {
        bench.ready_job(epoch, "leaf", 0).await;
        store.close_epoch(tenant, epoch, outcome, None).await.unwrap();
    }
    let states = async |epoch: u64| {
        let all = store.epochs(tenant).await.unwrap();
        all.into_iter().find(|view| view.epoch == epoch).map(|view| view.state)
    };
    assert_eq!(store.retire(false).await.unwrap(), []);
    for epoch in 1..=3 {
        age(&bench, epoch, "25 h").await;
    }
    assert_eq!(store.retire(false).await.unwrap().len(), 1);
    assert_eq!(states(1).await, Some(EpochState::Gone));
    assert_eq!(states(2).await, Some(EpochState::Closing));
    for epoch in 2..=3 {
        age(&bench, epoch, "48 h").await;
    }
    assert_eq!(store.retire(false).await.unwrap().len(), 2);
    // Its end is remembered, and then forgotten.
    age(&bench, 1, "719 h").await;
    store.retire(false).await.unwrap();
    assert_eq!(states(1).await, Some(EpochState::Gone));
    age(&bench, 1, "2 h").await;
    store.retire(false).await.unwrap();
    assert_eq!(states(1).await, None);

    // Silence: nothing came for a week, and no deadline is younger.
    let job = bench.ready_job(9, "leaf", 0).await;
    age(&bench, 9, "169 h").await;
    assert_eq!(store.retire(false).await.unwrap(), [], "it has a young job");
    bench.sql("UPDATE job SET created_at = created_at - interval '169 h'").await;
    assert_eq!(store.retire(false).await.unwrap(), [], "it has a young artifact");
    bench.sql("UPDATE artifact SET created_at = created_at - interval '169 h'").await;
    bench.sql("UPDATE job SET deadline_at = now() - interval '1 h'").await;
    assert_eq!(store.retire(false).await.unwrap(), [], "its deadline was an hour ago");
    bench.sql("UPDATE job SET deadline_at = deadline_at - interval '169 h'").await;
    let closed = Retired::Closed { tenant: tenant.clone(), epoch: 9 };
    assert_eq!(store.retire(false).await.unwrap(), [closed]);
    assert_eq!(code(store.enqueue(tenant, &[job]).await), "BRK-062");
}

/// Goal: with a full disk the final epoch that was closed first goes early, one in a round, never before its grace, and no
/// other.
#[tokio::test]
async fn a_full_disk_ends_final_epochs_early() {
    let bench = bench_with(Retention::default()).await;
    for (epoch, outcome) in [(1, FINAL), (2, EpochOutcome::GivenUp), (3, FINAL), (4, FINAL)] {
        bench.put(epoch, b"x").await;
        bench.store.close_epoch(&bench.tenant, epoch, outcome, None).await.unwrap();
    }
    for (epoch, ago) in [(1, "1 h"), (2, "3 h"), (3, "2 h")] {
        age(&bench, epoch, ago).await;
    }
    assert_eq!(bench.store.retire(false).await.unwrap(), []);
    for wanted in [Some(3), Some(1), None] {
        let done = bench.store.retire(true).await.unwrap();
        let epochs: Vec<u64> = done
            .iter()
            .map(|retired| match retired {
                Retired::Dropped { epoch, .. }
                | Retired::Closed { epoch, .. }
                | Retired::Kept { epoch, .. } => *epoch,
            })
            .collect();
        assert_eq!(epochs, wanted.into_iter().collect::<Vec<u64>>());
    }
}

/// Goal: a deployment closes only what is its own. Jobs of another keep the epoch open; finished ones do not.
#[tokio::test]
async fn another_producers_unfinished_jobs_keep_an_epoch_open() {
    let bench = Bench::new().await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    let mine: NewJob = {
        let mut job = job(7, "leaf", bench.put(7, b"mine").await);
        job.labels.insert("rollup".into(), "0x1".into());
        job
    };
    let others = bench.ready_job(7, "leaf", 0).await;
    store.enqueue(tenant, std::slice::from_ref(&mine)).await.unwrap();
    let label = Some(("rollup", "0x1"));
    let kept = store.close_epoch(tenant, 7, FINAL, label).await.unwrap();
    assert_eq!((kept.epoch.state, kept.cancelled), (EpochState::Open, None));
    store.cancel(tenant, std::slice::from_ref(&others.id)).await.unwrap();
    let closed = store.close_epoch(tenant, 7, FINAL, label).await.unwrap();
    assert_eq!(closed.epoch.state, EpochState::Closing);
    assert_eq!(closed.cancelled.unwrap().jobs, 1);
    // Again: nothing changes.
    let again = store.close_epoch(tenant, 7, EpochOutcome::GivenUp, label).await.unwrap();
    assert_eq!((again.epoch.outcome, again.cancelled), (Some(FINAL), None));
}

/// Goal: closing an epoch of many jobs keeps nobody waiting. Fault: somebody holds one of its jobs; uploads are
/// answered all the same. And whoever closed it dies before all jobs are cancelled; the retention cancels the rest.
#[tokio::test]
async fn an_epoch_is_closed_before_its_jobs_are_cancelled() {
    let bench = Bench::new().await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    for epoch in [7, 8] {
        store.open_epoch(tenant, epoch).await.unwrap();
    }
    bench
        .sql(
            "INSERT INTO job (tenant, id, kind, version, epoch, rank, class, input)
             SELECT 'default', gen_random_uuid()::text, 'leaf', 'v1', 7 + n % 2, 0, 0, sha256(n::text::bytea)
             FROM generate_series(1, 5000) AS n",
        )
        .await;
    let mut held = store.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM job WHERE epoch = 7 ORDER BY seq DESC LIMIT 1 FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let closing = {
        let (store, tenant) = (store.clone(), tenant.clone());
        tokio::spawn(async move { store.close_epoch(&tenant, 7, FINAL, None).await })
    };
    blocked(&mut held, "%").await;
    assert_eq!(
        code(store.put_artifact(tenant, 7, digest(b"late"), b"late".to_vec()).await),
        "BRK-062"
    );
    held.rollback().await.unwrap();
    let closed = closing.await.unwrap().unwrap();
    assert_eq!((closed.epoch.state, closed.cancelled.unwrap().jobs), (EpochState::Closing, 2500));

    bench
        .sql("UPDATE epoch SET state = 'closing', outcome = 'final', closed_at = now() WHERE number = 8")
        .await;
    assert_eq!(store.retire(false).await.unwrap(), []);
    let left = "job WHERE state <> 'cancelled'";
    assert_eq!(count(&bench, left).await, 0);
}

/// Fault: an artifact of one epoch is named by a job of another, and the first is dropped. The other has a copy of its own,
/// small or large, input or result.
#[tokio::test]
async fn what_a_job_names_is_copied_into_its_epoch() {
    let bench = Bench::new().await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    for (n, length) in [(0, 100), (1, ROW_ARTIFACT_BYTES_MAX + 1)] {
        let (input, result) = (vec![2 * n; length], vec![2 * n + 1; length]);
        let input = bench.put(1, &input).await;
        let result = bench.put(1, &result).await;
        store.open_epoch(tenant, 2).await.unwrap();
        store.enqueue(tenant, &[job(2, "leaf", input)]).await.unwrap();
        let lease = bench.lease("a").await;
        bench.complete("a", &lease, result).await.unwrap();
        store.drop_epoch(tenant, 1).await.unwrap();
        for digest in [input, result] {
            assert_eq!(store.get_artifact(tenant, digest).await.unwrap().len(), length);
        }
        store.drop_epoch(tenant, 2).await.unwrap();
        assert_eq!(code(store.get_artifact(tenant, input).await), "BRK-014");
    }
}

/// Fault: a result has to be copied into the job's epoch, which is being closed. Whoever closes it waits for the job,
/// so the copy must not wait for the epoch while it holds the job.
#[tokio::test]
async fn a_result_that_is_copied_waits_without_its_job() {
    let bench = Bench::new().await;
    bench.ready_job(2, "leaf", 0).await;
    let lease = bench.lease("a").await;
    let result = bench.put(1, b"of another epoch").await;
    let mut closing = bench.store.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM epoch WHERE number = 2 FOR UPDATE")
        .execute(&mut *closing)
        .await
        .unwrap();
    let (store, tenant) = (bench.store.clone(), bench.tenant.clone());
    let request = CompleteRequest::new(agent("a"), lease.clone(), result);
    let completing = tokio::spawn(async move { store.complete(&tenant, &request).await });
    blocked(&mut closing, "%").await;
    sqlx::query("SELECT FROM job FOR UPDATE NOWAIT")
        .execute(&mut *closing)
        .await
        .expect("the job is free");
    closing.rollback().await.unwrap();
    completing.await.unwrap().unwrap();
    assert_eq!(bench.view(&lease).await.state, JobState::Done);
}

/// Fault: two replicas make the partition of an epoch at once. The second waits, and takes that of the first.
#[tokio::test]
async fn a_partition_that_another_replica_makes_meanwhile_is_taken() {
    let bench = Bench::new().await;
    let make = "SELECT artifact_body_partition(9)";
    let mut first = bench.store.pool().begin().await.unwrap();
    sqlx::query(make).execute(&mut *first).await.unwrap();
    let pool = bench.store.pool().clone();
    let second = tokio::spawn(async move { sqlx::query(make).execute(&pool).await });
    blocked(&mut first, "%").await;
    assert!(!second.is_finished(), "it waits for the first");
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
}

/// Goal: an operator sees tables that should be gone. Method: of three epochs one is dropped, whose table somebody reads so
/// that it cannot be; and one has another tenant's bodies too, which keep its table in use.
#[tokio::test]
async fn tables_of_epochs_that_are_gone_count_as_due() {
    let bench = bench_with(at_once()).await;
    let (store, other) = (&bench.store, Tenant("other".into()));
    for epoch in [1, 2, 10] {
        bench.put(epoch, b"body").await;
    }
    store.open_epoch(&other, 2).await.unwrap();
    let body = b"of another tenant".to_vec();
    store.put_artifact(&other, 2, Digest::of(&body), body).await.unwrap();
    assert_eq!(store.partitions().await.unwrap(), Partitions { used: 3, due: 0 });
    let mut reading = store.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM artifact_body_1").execute(&mut *reading).await.unwrap();
    for epoch in [1, 2] {
        close(&bench, epoch).await;
    }
    assert_eq!(store.partitions().await.unwrap(), Partitions { used: 3, due: 0 });
    store.retire(false).await.unwrap();
    assert_eq!(store.partitions().await.unwrap(), Partitions { used: 2, due: 1 });
    reading.rollback().await.unwrap();
    store.retire(false).await.unwrap();
    assert_eq!(store.partitions().await.unwrap(), Partitions { used: 2, due: 0 });
}

/// Fault: an epoch is dropped while others upload to it and enqueue. Whatever was acknowledged after the drop is there;
/// what is not there was not acknowledged in the epoch that is open now. Method: many rounds with four writers each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_under_uploads_loses_nothing_of_an_open_epoch() {
    let bench = Bench::new().await;
    let other = Tenant("other".into());
    let upload = async |store: Store, tenant: Tenant, n: u64, round: u64| {
        let body = format!("{round} {n}").into_bytes();
        let digest = Digest::of(&body);
        store.put_artifact(&tenant, 7, digest, body).await.map(|_| digest)
    };
    for round in 0..20 {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..4 {
            // The other tenant shares the partition, and never drops.
            let tenant = if n % 2 == 0 { bench.tenant.clone() } else { other.clone() };
            let store = bench.schema.store().await;
            tasks.spawn(async move { (tenant.clone(), upload(store, tenant, n, round).await) });
        }
        let dropped = bench.store.drop_epoch(&bench.tenant, 7).await;
        let stored = tasks.join_all().await;
        // A drop that gave way to an upload is repeated by the retention.
        assert!(dropped.is_ok() || code(dropped) == "BRK-001");
        for (tenant, stored) in stored {
            if tenant == other {
                let digest = stored.expect("the other tenant's epoch stays open");
                assert!(bench.store.get_artifact(&other, digest).await.is_ok(), "round {round}");
            }
        }
        bench.store.drop_epoch(&bench.tenant, 7).await.unwrap();
        let digest = bench.put(7, b"after").await;
        assert_eq!(bench.store.get_artifact(&bench.tenant, digest).await.unwrap(), b"after");
    }
}

/// Fault: the retention of another replica sweeps an epoch that a producer drops, opens again and fills. What is
/// acknowledged after the drop is there. Method: many rounds, with a retention that makes no pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retention_of_another_replica_deletes_nothing_that_came_after_a_drop() {
    let bench = bench_with(at_once()).await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    let (other, is_over) = (bench.schema.store().await, Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&is_over);
    let retention = tokio::spawn(async move {
        while !until.load(Ordering::Relaxed) {
            other.retire(false).await.unwrap();
        }
    });
    let large = |n: u8| vec![n; ROW_ARTIFACT_BYTES_MAX + 1];
    for n in 0..40 {
        // One that gave way to the other's locks is repeated.
        while let Err(error) = store.drop_epoch(tenant, 7).await {
            assert_eq!(error.code(), "BRK-001");
        }
        let digests = [bench.put(7, &[n]).await, bench.put(7, &large(n)).await];
        let jobs = digests.map(|digest| job(7, "leaf", digest));
        store.enqueue(tenant, &jobs).await.unwrap();
        for digest in digests {
            let read = store.get_artifact(tenant, digest).await;
            assert!(read.is_ok(), "round {n}: {read:?}");
        }
        let ids = jobs.map(|job| job.id);
        assert_eq!(store.jobs(tenant, &ids).await.unwrap().len(), 2, "round {n}");
    }
    is_over.store(true, Ordering::Relaxed);
    retention.await.unwrap();
}

/// Fault: somebody reads in the table of one epoch and does not end. That epoch stays, and no other waits for it.
#[tokio::test]
async fn an_epoch_that_cannot_be_deleted_holds_up_no_other() {
    let bench = bench_with(at_once()).await;
    for epoch in [1, 2] {
        bench.put(epoch, b"x").await;
        close(&bench, epoch).await;
    }
    let mut reader = bench.store.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM artifact_body_1").execute(&mut *reader).await.unwrap();
    let done = bench.store.retire(false).await.unwrap();
    let [Retired::Kept { epoch: 1, reason, .. }, Retired::Dropped { epoch: 2, .. }] = &done[..]
    else {
        panic!("{done:?}");
    };
    assert!(reason.contains("55P03"), "{reason}");
    reader.rollback().await.unwrap();
    let done = bench.store.retire(false).await.unwrap();
    assert!(matches!(done[..], [Retired::Dropped { epoch: 1, .. }]), "{done:?}");
}

/// Goal: a number that was dropped is another generation from then on, so that what is on its way to the one before
/// goes nowhere. Fault: an upload that took long ends after the drop.
#[tokio::test]
async fn what_was_on_its_way_when_an_epoch_was_dropped_is_not_of_the_next_one() {
    let bench = Bench::new().await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    let body = vec![3; ROW_ARTIFACT_BYTES_MAX + 1];
    let mut slow = store.write_object(tenant, 7, digest(&body), true).await.unwrap();
    slow.write.put(body.clone().into()).await.unwrap();
    store.drop_epoch(tenant, 7).await.unwrap();
    assert!(store.epochs(tenant).await.unwrap().is_empty(), "as if it had never been");
    bench.put(7, b"of the next one").await;
    assert_eq!(store.epochs(tenant).await.unwrap()[0].generation, 2);
    assert_eq!(code(store.end_object(slow).await), "BRK-062");
    assert_eq!(code(store.get_artifact(tenant, digest(&body)).await), "BRK-014");
    // An agent opens none that was dropped.
    store.drop_epoch(tenant, 7).await.unwrap();
    assert_eq!(code(store.require_open(tenant, 7, false).await), "BRK-063");
    assert_eq!(store.require_open(tenant, 7, true).await.unwrap(), 3);
}

/// Fault: a replica dies between the end of an epoch and the deletion of its objects. The next round deletes the rest.
#[tokio::test]
async fn a_deletion_that_broke_off_goes_on() {
    let bench = bench_with(at_once()).await;
    let large = vec![1; ROW_ARTIFACT_BYTES_MAX + 1];
    let digest = bench.put(7, &large).await;
    close(&bench, 7).await;
    // What the first half does.
    bench.sql("UPDATE epoch SET state = 'gone', gone_at = now()").await;
    bench.sql("DELETE FROM artifact").await;
    let object = bench.schema.objects().join(format!("default/7/{digest}"));
    assert!(object.exists());
    assert_eq!(code(bench.store.open_epoch(&bench.tenant, 7).await), "BRK-062", "not swept yet");
    assert_eq!(bench.store.retire(false).await.unwrap().len(), 1);
    assert!(!object.exists());
    assert_eq!(bench.store.retire(false).await.unwrap(), []);
    bench.store.open_epoch(&bench.tenant, 7).await.unwrap();
}

/// Fault: a replica of the release before adds a job; it knows no epochs. The epoch has a row all the same.
#[tokio::test]
async fn jobs_of_an_older_release_have_an_epoch() {
    let bench = Bench::new().await;
    bench
        .sql(
            "INSERT INTO job (tenant, id, kind, version, epoch, rank, class, input)
             SELECT 'default', 'job-' || n, 'leaf', 'v1', n % 2, 0, 0, sha256(n::text::bytea)
             FROM generate_series(1, 10) AS n",
        )
        .await;
    let epochs = bench.store.epochs(&bench.tenant).await.unwrap();
    assert_eq!(epochs.iter().map(|view| view.epoch).collect::<Vec<_>>(), [1, 0]);
    assert!(epochs.iter().all(|view| view.state == EpochState::Open));
}

/// Agents that were not seen and old records go; an agent in quarantine stays.
#[tokio::test]
async fn agents_and_records_are_forgotten() {
    let bench = Bench::new().await;
    bench
        .sql(
            "INSERT INTO agent (tenant, id, last_seen_at, quarantined_at) VALUES
             ('default', 'old', now() - interval '8 days', NULL), ('default', 'young', now(), NULL),
             ('default', 'bad', now() - interval '80 days', now())",
        )
        .await;
    bench
        .sql(
            "INSERT INTO audit (at, tenant, label, action, detail) VALUES
             (now() - interval '401 days', 'default', 'l', 'a', 'd'), (now(), 'default', 'l', 'a', 'd')",
        )
        .await;
    bench.store.retire(false).await.unwrap();
    assert_eq!((count(&bench, "agent").await, count(&bench, "audit").await), (2, 1));
}
