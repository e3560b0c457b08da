//! The feed of an epoch: nothing is missed and nothing comes twice, whatever the order in which transactions end.

use std::time::Duration;

use crate::support::{Bench, agent, job};
use rollmill_broker::store::{Cursor, Tenant};
use rollmill_broker_client::{BATCH_MAX, FailureClass, JobId, JobState, NewJob};
use sqlx::{Connection, PgConnection};

async fn read(bench: &Bench, epoch: u64, cursor: &mut Cursor) -> Vec<(JobId, JobState)> {
    let changed = bench.store.changes(&bench.tenant, epoch, cursor).await.unwrap();
    // As a producer has it: the text of the last answer.
    *cursor = changed.cursor.to_string().parse().unwrap();
    changed.jobs.into_iter().map(|job| (job.id, job.state)).collect()
}

#[tokio::test]
async fn a_feed_shows_each_change_of_its_epoch_once_and_the_state_that_is() {
    let bench = Bench::new().await;
    let mut cursor = Cursor::default();
    let first = bench.ready_job(7, "leaf", 2).await.id;
    let second = bench.ready_job(7, "leaf", 1).await.id;
    assert_eq!(read(&bench, 7, &mut cursor).await, []);

    let lease = bench.lease("a").await;
    assert_eq!(read(&bench, 7, &mut cursor).await, [], "a lease is no news to a producer");
    let wrong = bench.put(7, b"wrong").await;
    bench.complete("a", &lease, wrong).await.unwrap();
    let other = bench.lease("b").await;
    bench.fail("b", &other, FailureClass::BadInput).await.unwrap();
    let news = [(first.clone(), JobState::Done), (second.clone(), JobState::Dead)];
    assert_eq!(read(&bench, 7, &mut cursor).await, news);
    assert_eq!(read(&bench, 7, &mut cursor).await, []);

    // A job that changes twice comes once.
    bench.reject(&lease, wrong).await;
    let lease = bench.lease("c").await;
    let right = bench.put(7, b"right").await;
    bench.complete("c", &lease, right).await.unwrap();
    assert_eq!(read(&bench, 7, &mut cursor).await, [(first.clone(), JobState::Done)]);
    bench.store.replay(&bench.tenant, std::slice::from_ref(&second)).await.unwrap();
    bench.store.cancel(&bench.tenant, std::slice::from_ref(&second)).await.unwrap();
    assert_eq!(read(&bench, 7, &mut cursor).await, [(second.clone(), JobState::Cancelled)]);

    assert_eq!(read(&bench, 8, &mut Cursor::default()).await, []);
    let stranger = Tenant("stranger".into());
    let theirs = bench.store.changes(&stranger, 7, &Cursor::default()).await.unwrap();
    assert!(theirs.jobs.is_empty());
    let mut again = Cursor::default();
    assert_eq!(read(&bench, 7, &mut again).await.len(), 2);
}

/// Fault: a transaction changes a job, others end before it, and the producer reads in between.
#[tokio::test]
async fn a_change_that_commits_late_is_not_missed() {
    let bench = Bench::new().await;
    let mut cursor = Cursor::default();
    let late = bench.ready_job(7, "leaf", 2).await.id;
    let early = bench.ready_job(7, "leaf", 1).await.id;
    let mut slow = PgConnection::connect_with(&bench.schema.connect_options()).await.unwrap();
    let mut tx = slow.begin().await.unwrap();
    sqlx::query("UPDATE job SET state = 'cancelled' WHERE id = $1")
        .bind(late.as_str())
        .execute(&mut *tx)
        .await
        .unwrap();
    bench.store.cancel(&bench.tenant, std::slice::from_ref(&early)).await.unwrap();
    assert_eq!(read(&bench, 7, &mut cursor).await, [(early, JobState::Cancelled)]);
    assert_eq!(read(&bench, 7, &mut cursor).await, []);
    tx.commit().await.unwrap();
    assert_eq!(read(&bench, 7, &mut cursor).await, [(late, JobState::Cancelled)]);
    assert_eq!(read(&bench, 7, &mut cursor).await, []);
}

/// Goal: an epoch of more jobs than a page holds. Method: everything changes; half-way through the pages some jobs
/// change again, and come again afterwards.
#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let bench = Bench::new().await;
    let input = bench.put(7, b"input").await;
    let count = 2 * BATCH_MAX + 10;
    // Jobs of one input differ by their type.
    let jobs: Vec<NewJob> = (0..count).map(|n| job(7, &format!("k{n}"), input)).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
    for (jobs, ids) in jobs.chunks(BATCH_MAX).zip(ids.chunks(BATCH_MAX)) {
        bench.store.enqueue(&bench.tenant, jobs).await.unwrap();
        bench.store.cancel(&bench.tenant, ids).await.unwrap();
    }
    let mut cursor = Cursor::default();
    let mut all = read(&bench, 7, &mut cursor).await;
    assert_eq!(all.len(), BATCH_MAX);
    // One that was read and one that was not.
    let again = [ids[0].clone(), ids[count - 1].clone()];
    bench.store.enqueue(&bench.tenant, &[jobs[0].clone(), jobs[count - 1].clone()]).await.unwrap();
    bench.store.cancel(&bench.tenant, &again).await.unwrap();
    loop {
        let page = read(&bench, 7, &mut cursor).await;
        let is_last = page.len() < BATCH_MAX;
        all.extend(page);
        if is_last {
            break;
        }
    }
    assert_eq!(all.len(), count - 1);
    let mut last: Vec<JobId> =
        read(&bench, 7, &mut cursor).await.into_iter().map(|(id, _)| id).collect();
    last.sort();
    let mut wanted = again.to_vec();
    wanted.sort();
    assert_eq!(last, wanted);
    let mut seen: Vec<JobId> = all.into_iter().map(|(id, _)| id).chain(last).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

/// Fault: the database was restored, and its transactions count from an earlier number.
#[tokio::test]
async fn a_cursor_from_the_future_reads_from_the_beginning() {
    let bench = Bench::new().await;
    let id = bench.ready_job(7, "leaf", 1).await.id;
    bench.store.cancel(&bench.tenant, std::slice::from_ref(&id)).await.unwrap();
    let mut cursor: Cursor = "900000000000:900000000001:".parse().unwrap();
    assert_eq!(read(&bench, 7, &mut cursor).await, [(id, JobState::Cancelled)]);
    assert_eq!(read(&bench, 7, &mut cursor).await, []);
}

/// Jobs that were final before the feed existed are there, as the oldest.
#[tokio::test]
async fn jobs_of_an_older_release_are_in_the_feed() {
    let bench = Bench::new().await;
    let id = bench.ready_job(7, "leaf", 1).await.id;
    bench.store.cancel(&bench.tenant, std::slice::from_ref(&id)).await.unwrap();
    bench.sql("ALTER TABLE job DISABLE TRIGGER job_change").await;
    bench.sql("UPDATE job SET change = NULL").await;
    bench.sql("ALTER TABLE job ENABLE TRIGGER job_change").await;
    let mut cursor = Cursor::default();
    assert_eq!(read(&bench, 7, &mut cursor).await, [(id, JobState::Cancelled)]);
    assert_eq!(read(&bench, 7, &mut cursor).await, []);
}

/// Goal: a producer is woken by a completion, on the wire.
#[tokio::test]
async fn a_long_poll_of_the_feed_ends_with_the_change() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let client = broker.client();
    let id = bench.ready_job(7, "leaf", 1).await.id;
    let begin = client.changes(7, None, Duration::ZERO).await.unwrap();
    assert!(begin.jobs.is_empty() && !begin.more);
    let waiting = {
        let (client, cursor) = (client.clone(), begin.cursor.clone());
        tokio::spawn(async move { client.changes(7, Some(&cursor), Duration::from_secs(30)).await })
    };
    let lease = bench.lease("a").await;
    let result = bench.put(7, b"proof").await;
    let complete = rollmill_broker_client::CompleteRequest::new(agent("a"), lease.clone(), result);
    client.complete(&complete).await.unwrap();
    let news = waiting.await.unwrap().unwrap();
    assert_eq!(news.jobs.iter().map(|job| &job.id).collect::<Vec<_>>(), [&id]);
    let error = client.changes(7, Some("nonsense"), Duration::ZERO).await.unwrap_err();
    assert_eq!(error.answer(), rollmill_broker_client::Answer::Incompatible);
    broker.stop().await;
}
