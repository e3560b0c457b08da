//! What the model found, each as it was seen by a producer or an agent.

use rollmill_broker::error::BrokerError;
use rollmill_broker::store::Match;
use rollmill_broker_client::{
    CompleteOutcome, EpochOutcome, FailureClass, JobState, LeaseRef, RejectOutcome,
};

use crate::support::{Bench, agent};

async fn complete(bench: &Bench, name: &str, lease: &LeaseRef, body: &[u8]) -> bool {
    let result = bench.put(7, body).await;
    match bench.complete(name, lease, result).await {
        Ok(done) => done.outcome == CompleteOutcome::Accepted,
        Err(BrokerError::AlreadyRejected { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Fault: an agent whose result was rejected is forgiven, and completes late under that lease. Its new result was
/// written over the rejection, and the rejected result was accepted again.
#[tokio::test]
async fn a_late_result_does_not_end_the_ban_on_the_one_before() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 0).await;
    let lease = bench.lease("a").await;
    assert!(complete(&bench, "a", &lease, b"wrong").await);
    let wrong = bench.put(7, b"wrong").await;
    bench.reject(&lease, wrong).await;
    bench.sql("UPDATE job SET excluded_agents = '{}'").await;
    assert!(complete(&bench, "a", &lease, b"right").await);
    bench.sql("DELETE FROM artifact_body WHERE body = 'right'").await;
    let right = crate::support::digest(b"right");
    bench.store.get_artifact(&bench.tenant, right).await.unwrap_err();
    assert_eq!(bench.view(&lease).await.state, JobState::Ready);
    assert!(!complete(&bench, "b", &lease, b"wrong").await);
}

/// Fault: a job is cancelled and enqueued again while an agent works on it. Its late result was recorded where nothing
/// counts, so the rejection of that result banned nothing.
#[tokio::test]
async fn a_result_from_before_a_renewal_is_banned_once_it_is_rejected() {
    let bench = Bench::new().await;
    let job = bench.ready_job(7, "leaf", 0).await;
    let lease = bench.lease("a").await;
    bench.store.cancel(&bench.tenant, std::slice::from_ref(&job.id)).await.unwrap();
    bench.store.enqueue(&bench.tenant, std::slice::from_ref(&job)).await.unwrap();
    assert!(complete(&bench, "a", &lease, b"wrong").await);
    let wrong = bench.put(7, b"wrong").await;
    assert_eq!(bench.reject(&lease, wrong).await.outcome, RejectOutcome::Reopened);
    assert!(!complete(&bench, "a", &lease, b"wrong").await);
    assert!(!complete(&bench, "b", &lease, b"wrong").await);
    assert_eq!(bench.view(&lease).await.state, JobState::Ready);
}

/// Fault: another agent of an Aztec prover node takes an expired lease up. What it made was recorded nowhere, so that a
/// rejection banned nothing, and the attempt never ended.
#[tokio::test]
async fn a_lease_that_another_agent_takes_up_is_that_agents_attempt() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 0).await;
    let lease = bench.lease("a").await;
    bench.run_out(&lease).await;
    bench.store.expire(0.5).await.unwrap();
    let (tenant, id) = (&bench.tenant, &lease.job);
    assert!(bench.store.resume(tenant, id, lease.lease_epoch, &agent("b")).await.unwrap());
    let wrong = bench.put(7, b"wrong").await;
    let request = rollmill_broker_client::CompleteRequest::new(agent("b"), lease.clone(), wrong);
    let done = bench.store.complete_many(&[(tenant.clone(), request)]).await.unwrap();
    assert!(done[0].is_some());
    assert_eq!(bench.outcomes(&lease).await, ["completed"]);
    bench.reject(&lease, wrong).await;
    assert_eq!(bench.outcomes(&lease).await, ["rejected"]);
    assert!(!complete(&bench, "c", &lease, b"wrong").await);
}

/// Fault: an agent returns a job whose lease before had expired, and asks to go on. It got a lease without an attempt.
#[tokio::test]
async fn a_lease_that_was_returned_is_not_taken_up_again() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 0).await;
    let lease = bench.lease("a").await;
    bench.run_out(&lease).await;
    bench.store.expire(0.5).await.unwrap();
    let lease = bench.lease("a").await;
    bench.release("a", &lease).await.unwrap();
    let (tenant, id) = (&bench.tenant, &lease.job);
    assert!(!bench.store.resume(tenant, id, lease.lease_epoch, &agent("a")).await.unwrap());
}

/// Fault: a producer enqueues a job of an epoch that was closed. The lane answered with the cancelled job, as if it had
/// been added.
#[tokio::test]
async fn a_lane_adds_nothing_to_a_closed_epoch_in_silence() {
    let bench = Bench::new().await;
    let job = bench.ready_job(7, "leaf", 0).await;
    let (store, tenant) = (&bench.store, &bench.tenant);
    store.close_epoch(tenant, 7, EpochOutcome::Final, None).await.unwrap();
    let answers = store.enqueue_many(&[(tenant.clone(), vec![job])]).await.unwrap();
    assert_eq!(answers, [None]);
}

/// Not a fault that anything follows from: two replicas found one ready job for one agent, and the agent is excluded by
/// the time the second leases it. It can only repeat what was rejected, and the job goes on to another one.
#[tokio::test]
async fn a_lease_for_an_agent_that_was_excluded_meanwhile_leads_nowhere() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 0).await;
    let seq = bench.peek().await[0].seq;
    let lease = bench.lease("a").await;
    assert!(complete(&bench, "a", &lease, b"wrong").await);
    let wrong = bench.put(7, b"wrong").await;
    bench.reject(&lease, wrong).await;
    let late = bench.store.claim(&[Match { seq, agent: agent("a") }]).await.unwrap();
    let lease_epoch = late[0].grant.lease_epoch;
    let lease = LeaseRef { lease_epoch, ..lease };
    assert!(!complete(&bench, "a", &lease, b"wrong").await);
    assert_eq!(bench.view(&lease).await.state, JobState::Ready);
    assert!(bench.fail("a", &lease, FailureClass::Transient).await.is_err());
}
