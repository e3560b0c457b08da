//! The scrubber: damage of stored artifacts is found before somebody fetches them, and heals as it does then. Intact
//! ones stay as they are, and no more is read than the rate allows.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::support::{Bench, agent, capability};
use rollmill_broker::Config;
use rollmill_broker::store::{ROW_ARTIFACT_BYTES_MAX, ScrubBatch, Store, StoredCopy, Verdict};
use rollmill_broker_client::{
    ClaimRequest, CompleteOutcome, Digest, EpochOutcome, FailureClass, JobState, LeaseRef,
    SizeClass,
};

/// Between two passes.
const PASS: Duration = Duration::from_secs(24 * 3600);
/// Faster than any test.
const FAST: NonZeroU64 = NonZeroU64::MAX;

const LARGE: usize = ROW_ARTIFACT_BYTES_MAX + 1;

impl Bench {
    /// The next batch is due.
    async fn due(&self) {
        self.sql("UPDATE scrub SET due_at = now() - interval '1 s'").await;
    }

    async fn take(&self, store: &Store, bytes_per_second: NonZeroU64) -> ScrubBatch {
        self.due().await;
        store.scrub_take(bytes_per_second, PASS).await.unwrap()
    }

    /// What one pass finds of each copy, in its order, and how many jobs were reopened.
    async fn pass(&self) -> (Vec<(StoredCopy, Verdict)>, u64) {
        let (mut found, mut jobs) = (Vec::new(), 0);
        loop {
            let batch = self.take(&self.store, FAST).await;
            if batch.copies.is_empty() {
                return (found, jobs);
            }
            for copy in batch.copies {
                let (verdict, reopened) = self.store.scrub(&copy).await.unwrap();
                jobs += reopened;
                found.push((copy, verdict));
            }
        }
    }

    /// A job of epoch 7 that is done, with this result.
    async fn done(&self, rank: u32, result: &[u8]) -> (LeaseRef, Digest) {
        self.ready_job(7, "leaf", rank).await;
        let lease = self.lease("a").await;
        let digest = self.put(7, result).await;
        let done = self.complete("a", &lease, digest).await.unwrap();
        assert_eq!(done.outcome, CompleteOutcome::Accepted);
        (lease, digest)
    }

    /// Other bytes of the same length in the object of an artifact.
    fn damage_object(&self, epoch: u64, digest: Digest) {
        let object = self.schema.objects().join(format!("default/{epoch}/{digest}"));
        let mut bytes = std::fs::read(&object).unwrap();
        bytes[1000..1004].copy_from_slice(&[1; 4]);
        std::fs::write(&object, bytes).unwrap();
    }

    /// The bodies in the database, with the version of each row.
    async fn rows(&self) -> Vec<(String, Vec<u8>)> {
        let rows = "SELECT xmin::text, body FROM artifact_body ORDER BY epoch, digest";
        sqlx::query_as(rows).fetch_all(self.store.pool()).await.unwrap()
    }
}

fn of(found: &[(StoredCopy, Verdict)], verdict: Verdict) -> BTreeSet<(u64, Digest)> {
    let those = found.iter().filter(|(_, it)| *it == verdict);
    those.map(|(copy, _)| (copy.epoch, copy.digest)).collect()
}

/// Fault: a disk changes bytes of results, in PostgreSQL and in a directory. Goal: their jobs are open again, without
/// blame, before anybody fetched them; everything else stays as it is.
#[tokio::test]
async fn damaged_results_are_found_in_both_places_and_their_jobs_are_open_again() {
    let bench = Bench::new().await;
    let (small, small_result) = bench.done(1, b"a small proof").await;
    let (large, large_result) = bench.done(2, &vec![7; LARGE]).await;
    let (kept, _) = bench.done(3, b"an intact proof").await;
    let (kept_large, intact) = bench.done(4, &vec![8; LARGE]).await;
    let (found, jobs) = bench.pass().await;
    assert_eq!((found.len(), jobs), (8, 0), "four inputs and four results");
    assert_eq!(of(&found, Verdict::Whole).len(), 8, "{found:?}");

    bench.sql("UPDATE artifact_body SET body = 'A small proof' WHERE body = 'a small proof'").await;
    bench.damage_object(7, large_result);
    let before = bench.rows().await;
    let (found, jobs) = bench.pass().await;
    assert_eq!(jobs, 2);
    assert_eq!(
        of(&found, Verdict::Damaged),
        BTreeSet::from([(7, small_result), (7, large_result)])
    );
    assert_eq!(of(&found, Verdict::Whole).len(), 6);
    assert_eq!(bench.rows().await, before, "no body was written");
    for lease in [&small, &large] {
        let view = bench.view(lease).await;
        assert_eq!((view.state, view.result), (JobState::Ready, None));
        assert_eq!(view.failure.unwrap().class, FailureClass::ResultLost);
        assert_eq!(bench.outcomes(lease).await, ["result_lost"]);
    }
    for lease in [&kept, &kept_large] {
        assert_eq!(bench.view(lease).await.state, JobState::Done);
        assert_eq!(bench.outcomes(lease).await, ["completed"]);
    }
    assert_eq!(bench.store.get_artifact(&bench.tenant, intact).await.unwrap(), vec![8; LARGE]);

    // Made again, they are whole again.
    let again = [bench.lease("b").await, bench.lease("b").await];
    for lease in &again {
        let body = if lease.job == small.job { b"a small proof".to_vec() } else { vec![7; LARGE] };
        let result = bench.put(7, &body).await;
        bench.complete("b", lease, result).await.unwrap();
    }
    let (found, jobs) = bench.pass().await;
    assert_eq!((of(&found, Verdict::Whole).len(), jobs), (8, 0), "{found:?}");
}

#[tokio::test]
async fn a_damaged_copy_is_written_again_from_the_one_of_another_epoch() {
    let bench = Bench::new().await;
    let (lease, small) = bench.done(1, b"a small proof").await;
    let large = bench.put(7, &vec![7; LARGE]).await;
    for body in [b"a small proof".as_slice(), vec![7; LARGE].as_slice()] {
        bench.put(8, body).await;
    }
    bench.sql("UPDATE artifact_body SET body = 'A small proof' WHERE epoch = 7 AND body = 'a small proof'").await;
    bench.damage_object(7, large);
    let (found, jobs) = bench.pass().await;
    assert_eq!(of(&found, Verdict::Mended), BTreeSet::from([(7, small), (7, large)]));
    assert_eq!(jobs, 0);
    assert_eq!(bench.view(&lease).await.state, JobState::Done);
    let (found, _) = bench.pass().await;
    assert_eq!(of(&found, Verdict::Whole).len(), found.len(), "{found:?}");
    // The copies of epoch 7 stand by themselves.
    bench.sql("DELETE FROM artifact WHERE epoch = 8").await;
    assert_eq!(bench.store.get_artifact(&bench.tenant, small).await.unwrap(), b"a small proof");
    assert_eq!(bench.store.get_artifact(&bench.tenant, large).await.unwrap(), vec![7; LARGE]);
}

/// Goal: whatever else is damaged, nothing is written and nobody is charged: an input, a result that no job has, bytes
/// that are missing, and an artifact that is deleted between the look and the reading.
#[tokio::test]
async fn damage_that_no_finished_job_depends_on_is_counted_alone() {
    let bench = Bench::new().await;
    let job = bench.ready_job_with(7, "leaf", 1, b"an input").await;
    let nobodys = bench.put(7, b"nobody's").await;
    let gone = bench.put(7, b"gone").await;
    bench.sql("UPDATE artifact_body SET body = 'An input' WHERE body = 'an input'").await;
    bench.sql("DELETE FROM artifact_body WHERE body = 'nobody''s'").await;
    let batch = bench.take(&bench.store, FAST).await;
    bench.sql("DELETE FROM artifact WHERE bytes = 4").await;
    let mut found = Vec::new();
    for copy in batch.copies {
        let (verdict, jobs) = bench.store.scrub(&copy).await.unwrap();
        assert_eq!(jobs, 0);
        found.push((copy, verdict));
    }
    assert_eq!(of(&found, Verdict::Damaged), BTreeSet::from([(7, job.id.input()), (7, nobodys)]));
    assert_eq!(of(&found, Verdict::Gone), BTreeSet::from([(7, gone)]));
    assert_eq!(bench.only_job().await.state, JobState::Ready);
}

/// Goal: only what may still be needed is read.
#[tokio::test]
async fn epochs_that_are_not_open_are_passed_over() {
    let bench = Bench::new().await;
    let open = bench.put(7, b"open").await;
    bench.put(8, b"closed").await;
    let closed = bench.store.close_epoch(&bench.tenant, 8, EpochOutcome::Final, None).await;
    closed.unwrap();
    let (found, _) = bench.pass().await;
    assert_eq!(of(&found, Verdict::Whole), BTreeSet::from([(7, open)]));
    assert_eq!(found.len(), 1);
}

/// Goal: the rate holds, counted in bytes: a batch is worth a second of it, or is one larger artifact, and the pause
/// after it is what its bytes take. Nothing is taken before.
#[tokio::test]
async fn no_more_is_read_than_the_rate_allows() {
    let bench = Bench::new().await;
    for n in 0..20_u8 {
        bench.put(7, &[n; 100]).await;
    }
    bench.put(7, &[0; 5_000]).await;
    let rate = NonZeroU64::new(1_000).unwrap();
    let (mut bytes, mut paused) = (0, Duration::ZERO);
    loop {
        let batch = bench.take(&bench.store, rate).await;
        let own: u64 = batch.copies.iter().map(|copy| copy.bytes).sum();
        assert!(own <= 1_000 || batch.copies.len() == 1, "{batch:?}");
        assert_eq!(batch.pause, Duration::from_millis(own));
        if own == 0 {
            break;
        }
        (bytes, paused) = (bytes + own, paused + batch.pause);
    }
    assert_eq!(bytes, 20 * 100 + 5_000);
    assert_eq!(paused, Duration::from_secs(7));

    // The next pass waits for its time, and so does whoever asks.
    let slow = NonZeroU64::MIN;
    let batch = bench.store.scrub_take(slow, PASS).await.unwrap();
    assert_eq!(batch.copies, []);
    assert!(batch.pause > PASS - Duration::from_secs(3600), "{batch:?}");
    let batch = bench.take(&bench.store, slow).await;
    assert_eq!(batch.copies.len(), 1);
    for _ in 0..2 {
        let next = bench.store.scrub_take(slow, PASS).await.unwrap();
        assert_eq!(next.copies, []);
        assert!(next.pause <= batch.pause, "{next:?} after {batch:?}");
    }
}

/// Goal: replicas share a pass, and one that starts goes on where the others were.
#[tokio::test]
async fn replicas_share_a_pass_and_a_restart_does_not_begin_anew() {
    let bench = Bench::new().await;
    for n in 0..9_u8 {
        bench.put(7, &[n; 100]).await;
    }
    let rate = NonZeroU64::new(200).unwrap();
    let mut taken = Vec::new();
    for round in 0..5 {
        // Another one each time: what it knows it has from the database.
        let store = bench.schema.store().await;
        let batch = bench.take(&store, rate).await;
        assert_eq!(batch.copies.len(), if round < 4 { 2 } else { 1 });
        taken.extend(batch.copies);
        store.close().await;
    }
    let each: BTreeSet<Digest> = taken.iter().map(|copy| copy.digest).collect();
    assert_eq!((taken.len(), each.len()), (9, 9), "each once");
    assert!(taken.is_sorted_by_key(|copy| copy.digest));

    // Two at the same moment: the one that comes second waits for nothing and takes nothing.
    assert_eq!(bench.take(&bench.store, rate).await.copies, [], "the end of the pass");
    bench.due().await;
    let mut other = bench.store.pool().begin().await.unwrap();
    let place = include_str!("../src/sql/scrub_place.sql");
    sqlx::raw_sql(place).execute(&mut *other).await.unwrap();
    assert_eq!(bench.store.scrub_take(rate, PASS).await.unwrap(), ScrubBatch::default());
    other.rollback().await.unwrap();
    assert_eq!(bench.store.scrub_take(rate, PASS).await.unwrap().copies.len(), 2);
}

/// Goal: a broker does it by itself, counts it, and stays ready.
#[tokio::test]
async fn a_broker_scrubs_by_itself_unless_it_is_told_not_to() {
    let bench = Bench::new().await;
    let (lease, _) = bench.done(1, b"a small proof").await;
    bench.sql("UPDATE artifact_body SET body = 'A small proof' WHERE body = 'a small proof'").await;
    bench.due().await;
    let off = bench.schema.broker_with(Config { scrub_bytes_per_second: 0, ..Config::default() });
    let off = off.await;
    assert!(off.conditions.to_json().get("artifacts").is_none());
    off.stop().await;
    assert_eq!(bench.view(&lease).await.state, JobState::Done);

    let broker = bench.schema.broker().await;
    let request = ClaimRequest {
        agent: agent("b"),
        capabilities: vec![capability("leaf")],
        class: SizeClass::SMALLEST,
        wait_ms: 20_000,
        info: serde_json::Value::Null,
        session: None,
    };
    let grant = broker.client().claim(&request).await.unwrap().expect("the job is open again");
    assert_eq!(grant.job, lease.job);
    let counted = |name: &str, label: Option<&str>| -> f64 {
        let families = broker.metrics.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let own = family.get_metric().iter().filter(|metric| {
            label.is_none_or(|label| metric.get_label().iter().any(|of| of.value() == label))
        });
        own.map(|metric| metric.get_counter().get_value()).sum()
    };
    let scrubbed = "rollmill_broker_scrubbed_artifacts_total";
    // The job was open before the count, by a moment.
    let all = async {
        while counted(scrubbed, None) < 1.5 || counted(scrubbed, Some("damaged")) < 0.5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    assert!((counted(scrubbed, Some("whole")) - 1.0).abs() < 0.5, "the input");
    assert!((counted("rollmill_broker_results_lost_total", None) - 1.0).abs() < 0.5);
    assert_eq!(broker.conditions.to_json()["artifacts"]["ok"], true);
    broker.stop().await;
}
