//! The table of transitions against what happens: each transition is made on a real PostgreSQL, and a
//! trigger records the statement and the states that the table of jobs saw.

use std::collections::BTreeSet;

use crate::support::{Bench, agent};
use rollmill_broker::policy::Next;
use rollmill_broker::states::TRANSITIONS;
use rollmill_broker::store::{Arrival, Opening, ROW_ARTIFACT_BYTES_MAX};
use rollmill_broker_client::{
    ClaimRequest, CompleteRequest, Digest, EpochOutcome, FailureClass, Installation, JobState,
    LeaseRef, NewJob, ReleaseRequest, SessionId,
};

/// Records each change of a state. Every statement begins with a comment that names its file.
const WATCH: [&str; 3] = [
    "CREATE TABLE seen (statement text, was text, becomes text)",
    "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
         IF TG_OP = 'INSERT' THEN
             INSERT INTO seen VALUES (split_part(substr(current_query(), 4), ':', 1), NULL, NEW.state);
         ELSIF OLD.state <> NEW.state THEN
             INSERT INTO seen VALUES (split_part(substr(current_query(), 4), ':', 1), OLD.state, NEW.state);
         END IF;
         RETURN NULL;
     END $$",
    "CREATE TRIGGER see AFTER INSERT OR UPDATE ON job FOR EACH ROW EXECUTE FUNCTION see()",
];

struct Lab {
    bench: Bench,
}

impl Lab {
    async fn new() -> Self {
        let bench = Bench::new().await;
        for statement in WATCH {
            bench.sql(statement).await;
        }
        Self { bench }
    }

    /// One ready job and no other.
    async fn ready(&self) -> NewJob {
        self.bench.sql("DELETE FROM job").await;
        self.bench.ready_job(7, "leaf", 1).await
    }

    async fn leased(&self) -> LeaseRef {
        self.ready().await;
        self.bench.lease("a").await
    }

    async fn done(&self) -> (LeaseRef, Digest) {
        let lease = self.leased().await;
        (lease.clone(), self.finish("a", &lease).await)
    }

    async fn finish(&self, agent: &str, lease: &LeaseRef) -> Digest {
        let result = self.bench.put(7, format!("a proof by {agent}").as_bytes()).await;
        self.bench.complete(agent, lease, result).await.unwrap();
        assert_eq!(self.bench.view(lease).await.state, JobState::Done);
        result
    }

    /// A job that failed, and is in the state that follows.
    async fn failed(&self, class: FailureClass) -> LeaseRef {
        let lease = self.leased().await;
        if class == FailureClass::InputMissing {
            self.bench.sql("DELETE FROM artifact_body").await;
        }
        self.bench.fail("a", &lease, class).await.unwrap();
        lease
    }

    /// A job in that state, of those that are not final.
    async fn waiting(&self, state: JobState) -> LeaseRef {
        let lease = match state {
            JobState::Ready => {
                let lease = self.leased().await;
                self.bench.release("a", &lease).await.unwrap();
                lease
            }
            JobState::Delayed => self.failed(FailureClass::Transient).await,
            JobState::InputWanted => self.failed(FailureClass::InputMissing).await,
            JobState::Leased => self.leased().await,
            JobState::Dead => self.failed(FailureClass::BadInput).await,
            JobState::Done | JobState::Cancelled => panic!("{state} is final"),
        };
        assert_eq!(self.bench.view(&lease).await.state, state);
        lease
    }

    /// Gives an expired lease back, and lets it run out again.
    async fn resume(&self, lease: &LeaseRef) {
        let (store, tenant) = (&self.bench.store, &self.bench.tenant);
        let agent = crate::support::agent("a");
        assert!(store.resume(tenant, &lease.job, lease.lease_epoch, &agent).await.unwrap());
        self.bench.run_out(lease).await;
        store.expire(0.5).await.unwrap();
    }

    async fn seen(&self) -> BTreeSet<(String, Option<String>, String)> {
        let rows = sqlx::query_as("SELECT DISTINCT statement, was, becomes FROM seen");
        rows.fetch_all(self.bench.store.pool()).await.unwrap().into_iter().collect()
    }
}

const OPEN: [JobState; 4] =
    [JobState::Ready, JobState::Delayed, JobState::InputWanted, JobState::Leased];

/// Goal: the state diagram is neither too small nor too large. Method: see the module; what the code does
/// beyond the table, and what the table has and nothing does, are both named.
#[tokio::test]
async fn every_transition_of_the_table_happens_and_no_other() {
    let lab = Lab::new().await;
    let (bench, tenant) = (&lab.bench, &lab.bench.tenant);

    // Completion in every state that has no result.
    for state in OPEN.into_iter().chain([JobState::Dead]) {
        let lease = lab.waiting(state).await;
        lab.finish("a", &lease).await;
    }
    // As the lanes do it, together with others.
    let lease = lab.leased().await;
    let release = ReleaseRequest { agent: agent("a"), lease };
    assert_eq!(bench.store.release_many(&[(tenant.clone(), release)]).await.unwrap(), [true]);
    let lease = bench.lease("a").await;
    let result = bench.put(7, b"a proof").await;
    let complete = CompleteRequest::new(agent("a"), lease, result);
    let done = bench.store.complete_many(&[(tenant.clone(), complete)]).await.unwrap();
    assert!(done[0].is_some());
    expiries_and_losses(&lab).await;
    ends_by_hand(&lab).await;

    let text = |state: JobState| state.as_str().to_owned();
    let table: BTreeSet<_> = TRANSITIONS
        .iter()
        .map(|t| (t.statement.to_owned(), t.from.map(text), text(t.to)))
        .collect();
    let seen = lab.seen().await;
    let missing: Vec<_> = table.difference(&seen).collect();
    let more: Vec<_> = seen.difference(&table).collect();
    assert!(missing.is_empty(), "in the table, and never seen: {missing:?}");
    assert!(more.is_empty(), "seen, and not in the table: {more:?}");
}

/// Rejected results, leases that expire, and results and inputs that are lost.
async fn expiries_and_losses(lab: &Lab) {
    let (bench, tenant) = (&lab.bench, &lab.bench.tenant);
    // Rejections by the producer, up to the third.
    lab.ready().await;
    for agent in ["b", "c", "d"] {
        let lease = bench.lease(agent).await;
        let result = lab.finish(agent, &lease).await;
        bench.reject(&lease, result).await;
    }
    // Leases that expire: at once the first time, with a pause the second.
    let lease = lab.leased().await;
    bench.run_out(&lease).await;
    bench.store.expire(0.5).await.unwrap();
    lab.resume(&lease).await;
    let lease = bench.lease("a").await;
    bench.run_out(&lease).await;
    let expired = bench.store.expire(0.5).await.unwrap();
    assert!(matches!(expired[..], [(FailureClass::AgentDied, Next::Retry { .. })]));
    lab.resume(&lease).await;
    bench.sql("UPDATE job SET ready_at = now()").await;
    assert_eq!(bench.store.promote().await.unwrap(), 1);
    // Its agent starts again.
    let open = Opening {
        arrival: Arrival {
            tenant: tenant.clone(),
            token: "t".into(),
            request: ClaimRequest::new(agent("a"), vec![]),
        },
        session: SessionId::random(),
        installation: Installation::random(),
        replaces: None,
    };
    bench.store.open_session(&open).await.unwrap();
    lab.leased().await;
    let again = Opening { session: SessionId::random(), ..open };
    assert_eq!(bench.store.open_session(&again).await.unwrap().returned, 1);
    // A result and an input that are lost.
    let (_, result) = lab.done().await;
    bench.sql("DELETE FROM artifact_body").await;
    bench.store.get_artifact(tenant, result).await.unwrap_err();
    let lease = lab.waiting(JobState::InputWanted).await;
    bench.put(7, b"7leaf1").await;
    assert_eq!(bench.view(&lease).await.state, JobState::Ready);
    lab.bench.sql("DELETE FROM job").await;
    let large = vec![7; ROW_ARTIFACT_BYTES_MAX + 1];
    bench.ready_job_with(7, "leaf", 1, &large).await;
    let lease = bench.lease("a").await;
    bench.sql("DELETE FROM artifact").await;
    bench.fail("a", &lease, FailureClass::InputMissing).await.unwrap();
    bench.put(7, &large).await;
    assert_eq!(bench.view(&lease).await.state, JobState::Ready);
}

/// Deadlines, and what a producer or operator ends and starts again.
async fn ends_by_hand(lab: &Lab) {
    let (bench, tenant) = (&lab.bench, &lab.bench.tenant);
    for state in [JobState::Ready, JobState::Delayed, JobState::InputWanted] {
        lab.waiting(state).await;
        bench.sql("UPDATE job SET deadline_at = now() - interval '1 s'").await;
        assert_eq!(bench.store.past_deadline().await.unwrap(), 1);
    }
    let mut job = lab.ready().await;
    bench.sql("UPDATE job SET deadline_at = now() - interval '1 s'").await;
    bench.store.past_deadline().await.unwrap();
    job.deadline_unix_seconds = Some(1 << 40);
    bench.store.enqueue(tenant, std::slice::from_ref(&job)).await.unwrap();
    for state in OPEN {
        let lease = lab.waiting(state).await;
        assert_eq!(bench.store.cancel(tenant, &[lease.job]).await.unwrap().jobs, 1);
    }
    for state in OPEN {
        lab.waiting(state).await;
        let closed = bench.store.close_epoch(tenant, 7, EpochOutcome::Final, None).await.unwrap();
        assert_eq!(closed.cancelled.unwrap().jobs, 1);
        bench.store.open_epoch(tenant, 7).await.unwrap();
    }
    let job = lab.ready().await;
    bench.store.cancel(tenant, std::slice::from_ref(&job.id)).await.unwrap();
    bench.store.enqueue(tenant, std::slice::from_ref(&job)).await.unwrap();
    let lease = lab.waiting(JobState::Dead).await;
    assert_eq!(bench.store.replay(tenant, std::slice::from_ref(&lease.job)).await.unwrap(), 1);
    let lease = lab.waiting(JobState::Dead).await;
    assert_eq!(bench.store.drop_dead(tenant, &[lease.job]).await.unwrap(), 1);
}

/// Fault: the input of a job is lost while a late agent still holds a proof. The proof is the job's result:
/// it was acknowledged before and then forgotten, and the agent had dropped it.
#[tokio::test]
async fn a_late_completion_of_a_job_that_waits_for_its_input_is_kept() {
    let lab = Lab::new().await;
    let lease = lab.waiting(JobState::InputWanted).await;
    let result = lab.finish("a", &lease).await;
    assert_eq!(lab.bench.view(&lease).await.result, Some(result));
}
