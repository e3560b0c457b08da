//! The flush lanes of real replicas over a real PostgreSQL: one bad item, a connection that ends in the middle of a
//! flush, and two replicas.

use crate::support::{Bench, agent, blocked, blocked_many, job};
use rollmill_broker::store::{READ_CONNECTIONS, ROW_ARTIFACT_BYTES_MAX};
use rollmill_broker_client::{
    AgentId, Answer, ClaimRequest, CompleteOutcome, CompleteRequest, Digest, EpochOutcome,
    HeartbeatRequest, JobState, LeaseEpoch, LeaseRef, NewJob, ProgressRequest, ReleaseRequest,
};
use rollmill_broker_testing::TestBroker;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

/// This many jobs, leased to agents `a-0`, `a-1` and so on, and a stored result for all.
async fn leased(bench: &Bench, count: usize) -> (Vec<(AgentId, LeaseRef)>, Digest) {
    let mut jobs: Vec<NewJob> = Vec::new();
    for n in 0..count {
        jobs.push(job(7, "leaf", bench.put(7, &n.to_le_bytes()).await));
    }
    bench.store.enqueue(&bench.tenant, &jobs).await.unwrap();
    let mut leases = Vec::new();
    for n in 0..count {
        let name = format!("a-{n}");
        leases.push((agent(&name), bench.lease(&name).await));
    }
    (leases, bench.put(7, b"a result").await)
}

fn complete_all(
    broker: &TestBroker,
    leases: &[(AgentId, LeaseRef)],
    result: Digest,
) -> JoinSet<Result<CompleteOutcome, rollmill_broker_client::ClientError>> {
    let mut running = JoinSet::new();
    for (agent, lease) in leases.iter().cloned() {
        let client = broker.client();
        running.spawn(
            async move { client.complete(&CompleteRequest::new(agent, lease, result)).await },
        );
    }
    running
}

async fn completions(bench: &Bench) -> i64 {
    let count = "SELECT count(*) FROM attempt WHERE outcome IN ('completed', 'completed_late')";
    sqlx::query_scalar(count).fetch_one(bench.store.pool()).await.unwrap()
}

async fn done(bench: &Bench) -> usize {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM job WHERE state = 'done'")
        .fetch_one(bench.store.pool())
        .await
        .unwrap();
    usize::try_from(count).unwrap()
}

/// A connection that holds a table which completions read.
async fn lock_agents(bench: &Bench) -> PgConnection {
    let mut other = PgConnection::connect_with(&bench.schema.connect_options()).await.unwrap();
    sqlx::query("BEGIN").execute(&mut other).await.unwrap();
    sqlx::query("LOCK TABLE agent IN ACCESS EXCLUSIVE MODE").execute(&mut other).await.unwrap();
    other
}

/// Fault: one of many completions has a value that no statement can carry. It is rejected, and no other.
#[tokio::test]
async fn a_bad_completion_fails_no_other() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let (mut leases, result) = leased(&bench, 24).await;
    leases[11].1.lease_epoch = LeaseEpoch(u64::MAX);
    let answers = complete_all(&broker, &leases, result).join_all().await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(good.len(), 23);
    assert!(good.into_iter().all(|answer| answer.unwrap() == CompleteOutcome::Accepted));
    assert_eq!(bad[0].as_ref().unwrap_err().answer(), Answer::Incompatible);
    assert_eq!(done(&bench).await, 23);
    broker.stop().await;
}

/// Fault: the connection of a flush is ended while the flush waits for a locked table. The flush is sent again, and every
/// completion is accepted once.
#[tokio::test]
async fn a_flush_whose_connection_is_killed_is_written_again() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let (leases, result) = leased(&bench, 12).await;
    let mut other = lock_agents(&bench).await;
    let running = complete_all(&broker, &leases, result);
    let lane = blocked(&mut other, "-- complete_many.sql%").await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(lane).execute(&mut other).await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    for answer in running.join_all().await {
        assert_eq!(answer.unwrap(), CompleteOutcome::Accepted);
    }
    assert_eq!(done(&bench).await, 12);
    assert_eq!(completions(&bench).await, 12);
    broker.stop().await;
}

/// Fault: every completion reaches both of two replicas at the same time. Each job is completed once, and each
/// agent is told that its result was accepted.
#[tokio::test]
async fn two_replicas_complete_each_job_once() {
    let bench = Bench::new().await;
    let (first, second) = (bench.schema.broker().await, bench.schema.broker().await);
    let (leases, result) = leased(&bench, 60).await;
    let backwards: Vec<_> = leases.iter().rev().cloned().collect();
    let mut running = complete_all(&first, &leases, result);
    let mut others = complete_all(&second, &backwards, result);
    while let Some(answer) = running.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), CompleteOutcome::Accepted);
    }
    while let Some(answer) = others.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), CompleteOutcome::Accepted);
    }
    assert_eq!(done(&bench).await, 60);
    assert_eq!(completions(&bench).await, 60);
    first.stop().await;
    second.stop().await;
}

/// Goal: what the lanes do for one request is what the store does for it, on the way that is as usual and on every other.
#[tokio::test]
async fn heartbeats_progress_and_returns_are_judged_one_by_one() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let client = broker.client();
    let (leases, _) = leased(&bench, 3).await;
    let (holder, kept) = leases[0].clone();
    let foreign = leases[1].1.clone();
    let beat = HeartbeatRequest {
        agent: holder.clone(),
        leases: vec![kept.clone(), foreign.clone(), kept.clone()],
    };
    bench.run_out(&kept).await;
    let answer = client.heartbeat(&beat).await.unwrap();
    assert_eq!(answer.cancel, std::slice::from_ref(&foreign));
    let view = bench.view(&kept).await;
    assert!(view.lease.unwrap().expires_in_ms > 0, "the lease was moved on");

    let progress = ProgressRequest { agent: holder.clone(), lease: kept.clone(), progress: 0.25 };
    client.progress(&progress).await.unwrap();
    assert_eq!(bench.view(&kept).await.lease.unwrap().progress, Some(0.25));
    let stranger = ProgressRequest { lease: foreign.clone(), ..progress.clone() };
    let lost = client.progress(&stranger).await.unwrap_err();
    assert_eq!(lost.answer(), Answer::LeaseLost);

    bench.sql("UPDATE job SET hard_limit_at = now() - interval '1 s'").await;
    let answer = client.heartbeat(&beat).await.unwrap();
    assert_eq!(answer.cancel, [kept.clone(), foreign.clone(), kept.clone()]);

    let release = ReleaseRequest { agent: holder, lease: kept.clone() };
    client.release(&release).await.unwrap();
    assert_eq!(bench.view(&kept).await.state, JobState::Ready);
    assert_eq!(client.release(&release).await.unwrap_err().answer(), Answer::LeaseLost);
    assert_eq!(bench.outcomes(&kept).await, ["released"]);
    broker.stop().await;
}

/// Goal: an agent hears of a cancellation within a second where one is likely, and is not asked to beat every
/// second otherwise. What it hears names the jobs that were cancelled and those of an epoch that was closed.
#[tokio::test]
async fn heartbeats_name_what_was_cancelled_or_closed_and_come_every_second_while_more_may_follow()
{
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let client = broker.client();
    let mut leases = Vec::new();
    for (epoch, input) in [(7, b"a"), (7, b"b"), (8, b"c")] {
        bench.ready_job_with(epoch, "leaf", 0, input).await;
        leases.push(bench.lease("a").await);
    }
    let quarter = u64::try_from(bench.store.rules().lease.as_millis()).unwrap() / 4;
    assert!(quarter > 1_000, "the lease is long enough to tell the two apart");
    let beat = |leases: &[LeaseRef]| {
        let (client, request) =
            (client.clone(), HeartbeatRequest { agent: agent("a"), leases: leases.to_vec() });
        async move {
            let answer = client.heartbeat(&request).await.unwrap();
            (answer.cancel, answer.every_ms)
        }
    };
    assert_eq!(beat(&leases).await, (vec![], quarter));
    for deadline in ["59 s", "-1 s"] {
        let set = "UPDATE job SET deadline_at = now() + $1::text::interval WHERE id = $2";
        let job = leases[0].job.as_str();
        sqlx::query(set).bind(deadline).bind(job).execute(bench.store.pool()).await.unwrap();
        assert_eq!(beat(&leases).await, (vec![], 1_000), "{deadline}");
        assert_eq!(beat(&leases[1..]).await, (vec![], quarter), "another job has that deadline");
    }
    bench.sql("UPDATE job SET deadline_at = now() + interval '1 day'").await;
    assert_eq!(beat(&leases).await, (vec![], quarter));

    client.cancel(&[leases[0].job.clone()]).await.unwrap();
    assert_eq!(beat(&leases).await, (vec![leases[0].clone()], 1_000));
    assert_eq!(beat(&leases[1..]).await, (vec![], quarter));
    client.close_epoch(8, EpochOutcome::GivenUp, None).await.unwrap();
    assert_eq!(beat(&leases[1..]).await, (vec![leases[2].clone()], 1_000));
    assert_eq!(
        beat(&leases[2..]).await,
        (vec![leases[2].clone()], quarter),
        "none is left to lose"
    );
    broker.stop().await;
}

/// Goal: a claim that does not wait gets a job that is there, and costs none an attempt that nobody made.
#[tokio::test]
async fn a_claim_that_does_not_wait_gets_what_is_ready() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let client = broker.client();
    let mut claim = ClaimRequest::new(agent("a"), vec![crate::support::capability("leaf")]);
    claim.wait_ms = 0;
    assert_eq!(client.claim(&claim).await.unwrap(), None);
    for rank in 0..10 {
        let job = bench.ready_job(7, "leaf", rank).await;
        let grant = client.claim(&claim).await.unwrap().expect("a job is ready");
        assert_eq!(grant.job, job.id);
        assert_eq!(bench.view(&grant.lease()).await.attempts, 1);
    }
    broker.stop().await;
}

/// Fault: many more fetches of artifacts than the broker has connections wait in the database. Goal: they wait on
/// connections of their own, so jobs are listed and cancelled meanwhile.
#[tokio::test]
async fn fetches_that_wait_in_the_database_leave_other_requests_their_connections() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let client = broker.client();
    let job = bench.ready_job(7, "leaf", 0).await;
    let mut other = PgConnection::connect_with(&bench.schema.connect_options()).await.unwrap();
    sqlx::query("BEGIN").execute(&mut other).await.unwrap();
    let lock = "LOCK TABLE artifact_body IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut other).await.unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..40 {
        let (client, input) = (broker.client(), job.id.input());
        readers.spawn(async move { client.get_artifact(&input).await });
    }
    let most = usize::try_from(READ_CONNECTIONS).unwrap();
    let fetch = "-- artifact_newest.sql%";
    assert_eq!(blocked_many(&mut other, fetch, most).await.len(), most);

    let ids = [job.id.clone()];
    assert_eq!(client.jobs(&ids).await.unwrap()[0].state, JobState::Ready);
    assert_eq!(client.cancel(&ids).await.unwrap(), 1);
    assert_eq!(
        blocked_many(&mut other, fetch, most).await.len(),
        most,
        "the others wait their turn"
    );

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    for bytes in readers.join_all().await {
        assert_eq!(bytes.unwrap(), b"7leaf0");
    }
    broker.stop().await;
}

/// Goal: artifacts of every size in one request. Fault: their epoch is dropped, with its partition, which the
/// replica remembers; the next upload makes another.
#[tokio::test]
async fn a_batch_of_artifacts_is_stored_also_after_its_epoch_was_dropped() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let client = broker.client();
    let bodies: Vec<Vec<u8>> =
        [0, 10, ROW_ARTIFACT_BYTES_MAX, ROW_ARTIFACT_BYTES_MAX + 1, 11].map(|n| vec![7; n]).into();
    for _ in 0..2 {
        let digests = client.put_artifacts(7, bodies.clone()).await.unwrap();
        for (digest, body) in digests.iter().zip(&bodies) {
            assert_eq!(client.get_artifact(digest).await.unwrap(), *body);
        }
        client.drop_epoch(7).await.unwrap();
        assert_eq!(
            client.get_artifact(&digests[1]).await.unwrap_err().answer(),
            Answer::UnknownArtifact
        );
    }
    broker.stop().await;
}

/// Fault: the connection of a lane ends between two flushes. What is sent next is written.
#[tokio::test]
async fn a_lane_connects_again_after_its_connection_has_ended() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let (leases, result) = leased(&bench, 4).await;
    let mut other = lock_agents(&bench).await;
    let first = complete_all(&broker, &leases[..2], result);
    let lane = blocked(&mut other, "-- complete_many.sql%").await;
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert!(first.join_all().await.into_iter().all(|answer| answer.is_ok()));
    sqlx::query("SELECT pg_terminate_backend($1)").bind(lane).execute(&mut other).await.unwrap();
    for answer in complete_all(&broker, &leases[2..], result).join_all().await {
        assert_eq!(answer.unwrap(), CompleteOutcome::Accepted);
    }
    assert_eq!(completions(&bench).await, 4);
    broker.stop().await;
}
