//! What is stored can be lost, and who may do a job can run out: both heal without a person, and
//! nobody is blamed. On a real Postgres; time is moved in the database.

use std::time::Duration;

use crate::support::{Bench, agent, capability, digest, job};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use rollmill_broker::error::BrokerError;
use rollmill_broker::objects::Objects;
use rollmill_broker::store::{ROW_ARTIFACT_BYTES_MAX, Rules, Tenant};
use rollmill_broker_client::{
    Answer, ClaimRequest, Client, CompleteRequest, Digest, FailRequest, FailureClass, Grant,
    JobState, JobView, LeaseRef, NewJob, SizeClass,
};
use rollmill_broker_testing::{TestBroker, TestSchema};

const WAIT: Duration = Duration::from_secs(20);

/// A broker and the verbs of its producer and agents.
struct Lab {
    schema: TestSchema,
    broker: TestBroker,
    client: Client,
}

impl Lab {
    async fn new() -> Self {
        let schema = TestSchema::new().await;
        let broker = schema.broker().await;
        let client = broker.client();
        Self { schema, broker, client }
    }

    async fn sql(&self, statement: &'static str) -> u64 {
        let store = self.schema.store().await;
        let done = sqlx::query(statement).execute(store.pool()).await.unwrap().rows_affected();
        store.pool().close().await;
        done
    }

    async fn enqueue(&self, kind: &str, input: &[u8]) -> NewJob {
        let input = self.client.put_artifact(7, input.to_vec()).await.unwrap();
        let job = job(7, kind, input);
        self.client.enqueue(vec![job.clone()]).await.unwrap();
        job
    }

    async fn claim(&self, name: &str) -> Grant {
        let request = ClaimRequest {
            agent: agent(name),
            capabilities: crate::support::KINDS.map(capability).to_vec(),
            class: SizeClass::SMALLEST,
            wait_ms: u64::try_from(WAIT.as_millis()).unwrap(),
            info: serde_json::Value::Null,
            session: None,
        };
        self.client.claim(&request).await.unwrap().expect("a job is ready")
    }

    async fn complete(&self, name: &str, grant: &Grant, result: &[u8]) -> Digest {
        let result = self.client.put_artifact(7, result.to_vec()).await.unwrap();
        let (agent, lease) = (agent(name), lease(grant));
        let stats = serde_json::Value::Null;
        let request = CompleteRequest { agent, lease, result, stats };
        self.client.complete(&request).await.unwrap();
        result
    }

    async fn view(&self, job: &NewJob) -> JobView {
        self.client.jobs(std::slice::from_ref(&job.id)).await.unwrap().remove(0)
    }

    async fn history(&self, job: &NewJob) -> Vec<&'static str> {
        let attempts = self.client.history(&job.id).await.unwrap().attempts;
        attempts.into_iter().map(|attempt| attempt.outcome.as_str()).collect()
    }

    /// No agent was charged with anything.
    async fn assert_nobody_blamed(&self) {
        for agent in self.client.status().await.unwrap().agents {
            assert_eq!((agent.rejected, agent.quarantined), (0, false), "{agent:?}");
        }
    }

    fn counted(&self, name: &str) -> f64 {
        let families = self.broker.metrics.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(|m| m.get_counter().get_value()).sum()
    }
}

fn lease(grant: &Grant) -> LeaseRef {
    LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch }
}

/// Ways in which a small result is lost.
const LOSSES: [&str; 4] = [
    "UPDATE artifact_body SET body = overlay(body placing '\\xdeadbeef'::bytea from 1)
     WHERE body = 'a whole proof'",
    "DELETE FROM artifact_body WHERE body = 'a whole proof'",
    "DELETE FROM artifact WHERE bytes = 13",
    "WITH gone AS (DELETE FROM artifact_body WHERE body = 'a whole proof')
     DELETE FROM artifact WHERE bytes = 13",
];

/// Fault: a done job's result is damaged or gone, found by the fetch of its producer. The job is
/// made again, by the same agent and with the same bytes, and nobody is charged.
#[tokio::test]
async fn a_result_that_a_fetch_cannot_read_reopens_its_job() {
    for loss in LOSSES {
        let lab = Lab::new().await;
        let job = lab.enqueue("leaf", b"input").await;
        let grant = lab.claim("a").await;
        let result = lab.complete("a", &grant, b"a whole proof").await;
        assert_eq!(lab.sql(loss).await, 1, "{loss}");

        let error = lab.client.get_artifact(&result).await.unwrap_err();
        assert_eq!(error.answer(), Answer::ArtifactLost, "{error} after {loss}");
        let view = lab.view(&job).await;
        assert_eq!((view.state, view.result), (JobState::Ready, None));
        assert_eq!(view.failure.unwrap().class, FailureClass::ResultLost);
        assert_eq!(lab.history(&job).await, ["result_lost"]);
        assert!(lab.counted("rollmill_broker_results_lost_total") > 0.5);

        let again = lab.claim("a").await;
        assert_eq!(lab.complete("a", &again, b"a whole proof").await, result);
        assert_eq!(lab.client.get_artifact(&result).await.unwrap(), b"a whole proof");
        assert_eq!(lab.view(&job).await.state, JobState::Done);
        lab.assert_nobody_blamed().await;
    }
}

/// As above for a result in the object store.
#[tokio::test]
async fn a_large_result_that_is_damaged_or_gone_reopens_its_job() {
    let lab = Lab::new().await;
    let body = vec![7; ROW_ARTIFACT_BYTES_MAX + 1];
    let job = lab.enqueue("leaf", b"input").await;
    for damage in [true, false] {
        let grant = lab.claim("a").await;
        let result = lab.complete("a", &grant, &body).await;
        let object = lab.schema.objects().join(format!("default/7/{result}"));
        if damage {
            let mut bytes = std::fs::read(&object).unwrap();
            bytes[1000..1004].copy_from_slice(&[1; 4]);
            std::fs::write(&object, bytes).unwrap();
        } else {
            std::fs::remove_file(&object).unwrap();
        }
        let found = lab.client.enqueue(vec![job.clone()]).await.unwrap();
        assert_eq!(found[0].state, JobState::Ready, "damaged: {damage}");
    }
    assert_eq!(lab.history(&job).await, ["result_lost", "result_lost"]);
    lab.assert_nobody_blamed().await;
}

/// Fault: the object store is slow. Who looks whether a result can still be read takes no connection to the database
/// meanwhile, of which there are few. Method: the pool is looked at for as long as the store takes.
#[tokio::test]
async fn a_slow_object_store_takes_no_connection_to_the_database() {
    let schema = TestSchema::new().await;
    let slow = ThrottleConfig { wait_get_per_call: Duration::from_secs(1), ..Default::default() };
    let slow = Objects::over(ThrottledStore::new(InMemory::new(), slow), "slow");
    let store = schema.store_with(slow).await;
    let bench = Bench { schema, store, tenant: Tenant::default() };
    let id = bench.ready_job(7, "leaf", 1).await.id;
    let lease = bench.lease("a").await;
    let result = bench.put(7, &vec![7; ROW_ARTIFACT_BYTES_MAX + 1]).await;
    bench.complete("a", &lease, result).await.unwrap();
    let (store, tenant) = (bench.store.clone(), bench.tenant.clone());
    let mut views = store.jobs(&tenant, &[id]).await.unwrap();
    let healing = tokio::spawn(async move { store.heal(&tenant, &mut views).await });
    let (pool, mut free, mut taken) = (bench.store.pool(), 0, 0);
    while !healing.is_finished() {
        match pool.num_idle() == pool.size() as usize {
            true => free += 1,
            false => taken += 1,
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(healing.await.unwrap().unwrap(), 0);
    assert!(free > taken, "{free} looks found it free, {taken} taken");
}

/// Fault: a lost result, found when the job is enqueued again or waited for. A producer that starts
/// again is never told that a job is done whose result it cannot have.
#[tokio::test]
async fn a_done_job_whose_result_is_lost_is_not_shown_as_done() {
    for loss in LOSSES {
        let lab = Lab::new().await;
        let job = lab.enqueue("leaf", b"input").await;
        let grant = lab.claim("a").await;
        lab.complete("a", &grant, b"a whole proof").await;
        lab.sql(loss).await;
        let waited = lab.client.wait(std::slice::from_ref(&job.id), Duration::ZERO).await.unwrap();
        assert_eq!(waited.jobs, [], "{loss}");
        let grant = lab.claim("a").await;
        lab.complete("a", &grant, b"a whole proof").await;
        lab.sql(loss).await;
        let enqueued = lab.client.enqueue(vec![job.clone()]).await.unwrap();
        assert_eq!(enqueued[0].state, JobState::Ready, "{loss}");
        lab.assert_nobody_blamed().await;
    }
}

/// Fault: a producer rejects a result whose bytes nobody can have read. No blame follows, and the
/// same bytes are accepted later.
#[tokio::test]
async fn a_rejection_of_bytes_that_cannot_be_read_blames_nobody() {
    let lab = Lab::new().await;
    let job = lab.enqueue("leaf", b"input").await;
    let grant = lab.claim("a").await;
    let result = lab.complete("a", &grant, b"a whole proof").await;
    lab.sql(LOSSES[1]).await;
    let rejected = lab.client.reject(&job.id, result, "its artifact is missing").await.unwrap();
    assert_eq!(rejected.outcome, rollmill_broker_client::RejectOutcome::Reopened);
    lab.assert_nobody_blamed().await;
    let again = lab.claim("a").await;
    lab.complete("a", &again, b"a whole proof").await;
    assert_eq!(lab.view(&job).await.state, JobState::Done);
}

/// Fault: an artifact of two epochs is damaged in the newer one. The other copy serves.
#[tokio::test]
async fn another_epochs_copy_of_damaged_bytes_serves() {
    let bench = Bench::new().await;
    let digest = bench.put(7, b"shared").await;
    bench.put(8, b"shared").await;
    bench.sql("UPDATE artifact_body SET body = 'damage' WHERE epoch = 8").await;
    assert_eq!(bench.store.get_artifact(&bench.tenant, digest).await.unwrap(), b"shared");
}

async fn fail_for_input(lab: &Lab, name: &str, grant: &Grant) {
    let request = FailRequest {
        agent: agent(name),
        lease: lease(grant),
        class: FailureClass::InputMissing,
        message: "cannot fetch".into(),
    };
    lab.client.fail(&request).await.unwrap();
}

/// Fault: the input is lost, before an agent fetches it or after. The job leaves the queue, its
/// waiting producer is told, and the upload makes it ready.
#[tokio::test]
async fn an_unreadable_input_is_requested_from_its_producer() {
    for loss in [
        "UPDATE artifact_body SET body = overlay(body placing '\\xdeadbeef'::bytea from 1)",
        "DELETE FROM artifact_body",
        "DELETE FROM artifact",
    ] {
        let lab = Lab::new().await;
        let job = lab.enqueue("leaf", b"an input").await;
        let grant = lab.claim("a").await;
        lab.sql(loss).await;
        let error = lab.client.get_artifact(&job.id.input()).await.unwrap_err();
        assert!(
            matches!(error.answer(), Answer::ArtifactLost | Answer::UnknownArtifact),
            "{error}"
        );
        fail_for_input(&lab, "a", &grant).await;
        let waited = lab.client.wait(std::slice::from_ref(&job.id), WAIT).await.unwrap();
        assert_eq!(waited.jobs[0].state, JobState::InputWanted, "{loss}");
        // Enqueueing alone does not help: the broker asks for the bytes.
        let error = lab.client.enqueue(vec![job.clone()]).await.unwrap_err();
        assert_eq!(error.answer(), Answer::NotUploaded);
        lab.client.put_artifact(7, b"an input".to_vec()).await.unwrap();
        assert_eq!(lab.view(&job).await.state, JobState::Ready);
        let again = lab.claim("a").await;
        assert_eq!(lab.client.get_artifact(&again.job.input()).await.unwrap(), b"an input");
        lab.complete("a", &again, b"a whole proof").await;
        assert_eq!(lab.view(&job).await.state, JobState::Done);
        assert!(lab.counted("rollmill_broker_inputs_wanted_total") > 0.5);
        lab.assert_nobody_blamed().await;
    }
}

#[tokio::test]
async fn an_input_that_the_broker_can_read_is_not_missing() {
    let lab = Lab::new().await;
    let job = lab.enqueue("leaf", b"an input").await;
    let grant = lab.claim("a").await;
    fail_for_input(&lab, "a", &grant).await;
    let view = lab.view(&job).await;
    // Delayed by the policy for transient failures, or ready again already.
    assert_ne!(view.state, JobState::InputWanted);
    assert_eq!(view.failure.unwrap().class, FailureClass::Transient);
}

/// Goal: of three jobs only those are forgiven of which every live able agent is excluded, and only
/// after the time for it, which doubles.
#[tokio::test]
async fn an_exclusion_that_leaves_nobody_is_forgiven_after_a_while() {
    let bench = Bench::new().await;
    let admit = |name: &str, kinds: &[&str]| {
        let request = ClaimRequest {
            agent: agent(name),
            capabilities: kinds.iter().map(|kind| capability(kind)).collect(),
            class: SizeClass::SMALLEST,
            wait_ms: 0,
            info: serde_json::Value::Null,
            session: None,
        };
        let (store, tenant) = (bench.store.clone(), bench.tenant.clone());
        async move { store.admit(&tenant, &request).await.unwrap() }
    };
    admit("a", &["leaf", "root"]).await;
    admit("b", &["root"]).await;
    // Of `leaf` only a is able, of `root` b as well.
    for (kind, rank) in [("leaf", 1), ("root", 2)] {
        bench.ready_job(7, kind, rank).await;
        let lease = bench.lease("a").await;
        assert_eq!(lease.job.kind(), kind);
        bench.fail("a", &lease, FailureClass::InvalidProof).await.unwrap();
    }
    let forgiven = || async { bench.store.forgive().await.unwrap() };
    assert!(forgiven().await.is_empty(), "noted, not forgiven at once");
    bench.sql("UPDATE job SET stuck_at = stuck_at - interval '29 s'").await;
    assert!(forgiven().await.is_empty());
    bench.sql("UPDATE job SET stuck_at = stuck_at - interval '2 s'").await;
    let ids = forgiven().await;
    assert_eq!(ids.iter().map(|id| id.kind()).collect::<Vec<_>>(), ["leaf"]);
    assert!(bench.peek().await.iter().any(|c| c.kind == "leaf" && c.excluded.is_empty()));
    assert!(bench.peek().await.iter().any(|c| c.kind == "root" && c.excluded == ["a"]));

    // The second time takes a minute.
    bench.sql("UPDATE job SET rank = 9 WHERE kind = 'leaf'").await;
    let lease = bench.lease("a").await;
    assert_eq!(lease.job.kind(), "leaf");
    bench.fail("a", &lease, FailureClass::InvalidProof).await.unwrap();
    assert!(forgiven().await.is_empty());
    bench.sql("UPDATE job SET stuck_at = stuck_at - interval '59 s'").await;
    assert!(forgiven().await.is_empty());
    bench.sql("UPDATE job SET stuck_at = stuck_at - interval '2 s'").await;
    assert_eq!(forgiven().await.len(), 1);

    // When b is gone, `root` is stuck as well; when b is back, it no longer is.
    bench.sql("UPDATE agent SET last_seen_at = now() - interval '1 min' WHERE id = 'b'").await;
    forgiven().await;
    let stuck = "SELECT count(*) FROM job WHERE stuck_at IS NOT NULL";
    let count = || async {
        sqlx::query_scalar::<_, i64>(stuck).fetch_one(bench.store.pool()).await.unwrap()
    };
    assert_eq!(count().await, 1);
    admit("b", &["root"]).await;
    forgiven().await;
    assert_eq!(count().await, 0);
}

/// Goal: forgiveness lets the agent back to the job; the digest that was found wrong stays banned.
#[tokio::test]
async fn a_forgiven_agent_may_complete_with_other_bytes() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    let wrong = bench.put(7, b"wrong").await;
    bench.complete("a", &lease, wrong).await.unwrap();
    bench.reject(&lease, wrong).await;
    let good = bench.put(7, b"good").await;
    let rejected = bench.complete("a", &lease, good).await;
    assert!(matches!(rejected, Err(BrokerError::AlreadyRejected { .. })));
    bench.sql("UPDATE job SET excluded_agents = '{}', forgiven = 1").await;
    let rejected = bench.complete("a", &lease, wrong).await;
    assert!(matches!(rejected, Err(BrokerError::AlreadyRejected { .. })));
    bench.complete("a", &lease, good).await.unwrap();
    assert_eq!(bench.only_job().await.state, JobState::Done);
}

/// Makes a job whose result its producer rejected, and lets these agents make the same bytes again.
async fn repeated(bench: &Bench, agents: &[&str]) -> (LeaseRef, Digest) {
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("first").await;
    let bytes = bench.put(7, b"the only result there is").await;
    bench.complete("first", &lease, bytes).await.unwrap();
    bench.reject(&lease, bytes).await;
    for name in agents {
        let lease = bench.lease(name).await;
        let repeated = bench.complete(name, &lease, bytes).await;
        assert!(matches!(repeated, Err(BrokerError::AlreadyRejected { .. })), "{name}");
    }
    (lease, bytes)
}

/// Goal: a producer that rejects the right result stops the job where an operator sees it, with the cause; and once
/// it is replayed, the same bytes are accepted.
#[tokio::test]
async fn a_rejected_result_that_three_agents_make_is_given_up_and_accepted_after_a_replay() {
    let bench = Bench::new().await;
    let (lease, bytes) = repeated(&bench, &["second"]).await;
    assert_eq!(bench.only_job().await.state, JobState::Ready);
    let third = bench.lease("third").await;
    bench.complete("third", &third, bytes).await.unwrap_err();
    let job = bench.only_job().await;
    assert_eq!(job.state, JobState::Dead);
    let message = job.failure.unwrap().message;
    assert!(
        message.starts_with("3 agents made the result that its producer rejected"),
        "{message}"
    );

    bench.store.replay(&bench.tenant, std::slice::from_ref(&lease.job)).await.unwrap();
    let again = bench.lease("second").await;
    bench.complete("second", &again, bytes).await.unwrap();
    assert_eq!(bench.only_job().await.state, JobState::Done);
    // Rejected once more, the count starts anew.
    bench.reject(&again, bytes).await;
    let next = bench.lease("first").await;
    bench.complete("first", &next, bytes).await.unwrap_err();
    assert_eq!(bench.only_job().await.state, JobState::Ready);
}

/// Goal: one agent that repeats itself is one, however often it is let back.
#[tokio::test]
async fn an_agent_that_repeats_a_rejected_result_counts_once() {
    let bench = Bench::new().await;
    let (_, bytes) = repeated(&bench, &["second"]).await;
    for _ in 0..4 {
        bench.sql("UPDATE job SET excluded_agents = '{}'").await;
        let lease = bench.lease("second").await;
        bench.complete("second", &lease, bytes).await.unwrap_err();
        assert_eq!(bench.only_job().await.state, JobState::Ready);
    }
}

/// Goal: a producer that cancels a job and adds it again judges its results anew, from every agent.
#[tokio::test]
async fn a_job_that_is_added_again_after_a_cancellation_has_no_past() {
    let bench = Bench::new().await;
    let (lease, bytes) = repeated(&bench, &["second"]).await;
    bench.store.cancel(&bench.tenant, std::slice::from_ref(&lease.job)).await.unwrap();
    bench.ready_job(7, "leaf", 1).await;
    assert_eq!(bench.peek().await[0].excluded, [""; 0]);
    let again = bench.lease("first").await;
    bench.complete("first", &again, bytes).await.unwrap();
    assert_eq!(bench.only_job().await.state, JobState::Done);
}

/// Goal: a job that no agent can do is reported: in the status, in a gauge, and to its
/// waiting producer; and no longer once somebody can.
#[tokio::test]
async fn a_type_that_no_live_agent_can_do_is_reported() {
    let rules = Rules { unable_after: Duration::ZERO, ..Rules::default() };
    let schema = TestSchema::with(rules).await;
    let setup = schema.broker().await;
    let client = setup.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let mut heavy = job(7, "leaf", input);
    heavy.class = SizeClass::new(2).unwrap();
    client.enqueue(vec![heavy.clone()]).await.unwrap();
    let small = ClaimRequest {
        agent: agent("small"),
        capabilities: vec![capability("leaf")],
        class: SizeClass::new(1).unwrap(),
        wait_ms: 0,
        info: serde_json::Value::Null,
        session: None,
    };
    assert!(client.claim(&small).await.unwrap().is_none());
    setup.stop().await;

    // The count is made when a replica starts and every few seconds.
    let broker = schema.broker().await;
    let client = broker.client();
    let unable = loop {
        let unable = client.status().await.unwrap().unable;
        if !unable.is_empty() {
            break unable;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (unable[0].kind.as_str(), unable[0].class, unable[0].jobs),
        ("leaf", heavy.class, 1)
    );
    let waited = client.wait(std::slice::from_ref(&heavy.id), Duration::ZERO).await.unwrap();
    assert_eq!(waited.unable.len(), 1);
    let shown = |broker: &TestBroker| {
        let families = broker.metrics.gather();
        let family = families.iter().find(|f| f.name() == "rollmill_broker_unable_jobs");
        family.map_or(0.0, |f| f.get_metric().iter().map(|m| m.get_gauge().get_value()).sum())
    };
    assert!(shown(&broker) > 0.5);
    let other = client.wait(&[job(7, "root", digest(b"x")).id], Duration::ZERO).await.unwrap();
    assert_eq!(other.unable, [], "not told about other jobs");

    // It waits: a grant takes a round of the dispatcher.
    let large =
        ClaimRequest { agent: agent("large"), class: SizeClass::LARGEST, wait_ms: 20_000, ..small };
    assert!(client.claim(&large).await.unwrap().is_some());
    broker.stop().await;
    let broker = schema.broker().await;
    while status_lists_unable_types(&broker).await {
        tokio::task::yield_now().await;
    }
}

async fn status_lists_unable_types(broker: &TestBroker) -> bool {
    !broker.client().status().await.unwrap().unable.is_empty()
}

/// Goal: a deadline that passed takes the job out of the queue, and a later one brings it back.
#[tokio::test]
async fn a_job_is_not_granted_after_its_deadline_unless_the_producer_moves_it() {
    let bench = Bench::new().await;
    let mut late = bench.ready_job(7, "leaf", 1).await;
    bench.sql("UPDATE job SET deadline_at = now() - interval '1 s'").await;
    // Not even before the sweep has seen it.
    let seq = bench.peek().await[0].seq;
    let wanted = rollmill_broker::store::Match { seq, agent: agent("a") };
    assert!(bench.store.claim(&[wanted]).await.unwrap().is_empty());
    assert_eq!(bench.store.past_deadline().await.unwrap(), 1);
    let view = bench.only_job().await;
    assert_eq!(view.state, JobState::Dead);
    assert_eq!(view.failure.unwrap().class, FailureClass::PastDeadline);

    // Enqueueing it again changes nothing while the deadline stays where it was.
    let again = bench.store.enqueue(&bench.tenant, std::slice::from_ref(&late)).await.unwrap();
    assert_eq!(again[0].state, JobState::Dead);
    late.deadline_unix_seconds = Some(1 << 40);
    let again = bench.store.enqueue(&bench.tenant, std::slice::from_ref(&late)).await.unwrap();
    assert_eq!(again[0].state, JobState::Ready);
    assert_eq!(bench.lease("a").await.job, late.id);
}

#[tokio::test]
async fn enqueueing_again_takes_over_rank_deadline_labels_and_a_larger_class() {
    let bench = Bench::new().await;
    let mut job = bench.ready_job(7, "leaf", 1).await;
    job.rank = 40;
    job.path_ms = Some(40_500);
    job.class = SizeClass::new(2).unwrap();
    job.deadline_unix_seconds = Some(1 << 40);
    job.labels.insert("block".into(), "3".into());
    let view = bench.store.enqueue(&bench.tenant, std::slice::from_ref(&job)).await.unwrap();
    assert_eq!((view[0].rank, view[0].class, &view[0].labels), (40, job.class, &job.labels));
    let deadline = "SELECT extract(epoch FROM deadline_at)::bigint FROM job";
    let read = || async {
        sqlx::query_scalar::<_, i64>(deadline).fetch_one(bench.store.pool()).await.unwrap()
    };
    assert_eq!(read().await, 1 << 40);
    let backlog = bench.store.backlog(Some(&bench.tenant)).await.unwrap();
    assert_eq!((backlog[0].rank, backlog[0].path_seconds), (0, Some(40.5)));
    // What memory has shown is not undone, nor a deadline that is not sent again.
    let class = std::mem::take(&mut job.class);
    job.deadline_unix_seconds = None;
    let view = bench.store.enqueue(&bench.tenant, std::slice::from_ref(&job)).await.unwrap();
    assert_eq!((view[0].class, read().await), (class, 1 << 40));
    // A path that is not sent again is not known any more: the rank may have another unit then.
    job.path_ms = None;
    bench.store.enqueue(&bench.tenant, std::slice::from_ref(&job)).await.unwrap();
    let backlog = bench.store.backlog(Some(&bench.tenant)).await.unwrap();
    assert_eq!((backlog[0].rank, backlog[0].path_seconds), (40, None));
}
