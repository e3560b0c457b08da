//! Second leases: a second agent works on a job whose first is slow, and nothing happens twice.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{self, Bench, agent, capability, job};
use rollmill_broker::store::{Beat, Pulse, Second};
use rollmill_broker_client::{
    ClaimRequest, CompleteOutcome, CompleteRequest, FailRequest, FailureClass, HeartbeatRequest,
    JobState, LeaseEpoch, LeaseRef, SizeClass,
};
use sqlx::Connection as _;

/// More second leases than a test gives.
const MANY: usize = 9;

impl Bench {
    /// A job that `a` holds, whose deadline is ahead. There are `b` and `d` besides, and `c` on the device of `a`.
    async fn held(&self) -> (i64, LeaseRef) {
        self.ready_job(7, "leaf", 1).await;
        let lease = self.lease("a").await;
        self.sql("UPDATE job SET deadline_at = now() + interval '1 h'").await;
        self.sql(
            "INSERT INTO agent (tenant, id, device) VALUES
                 ('default', 'a', 'gpu-1'), ('default', 'b', 'gpu-2'), ('default', 'c', 'gpu-1'), ('default', 'd', NULL)
             ON CONFLICT DO NOTHING",
        )
        .await;
        let running = self.store.second_candidates(&[(self.tenant.clone(), 7)]).await.unwrap();
        assert_eq!(running.len(), 1);
        assert_eq!((running[0].holder.as_str(), running[0].lease_epoch), ("a", lease.lease_epoch));
        assert!(!running[0].has_second && !running[0].is_crowded);
        (running[0].seq, lease)
    }

    /// Whether the agent got a second lease.
    async fn second(&self, seq: i64, name: &str, lease_epoch: LeaseEpoch) -> bool {
        let second = Second { seq, agent: agent(name), lease_epoch };
        let given = self.store.second_claim(&[second], MANY).await.unwrap();
        let granted = given.granted;
        for granted in &granted {
            assert_eq!((granted.seq, granted.agent.as_str()), (seq, name));
            assert_eq!(granted.grant.lease_epoch, lease_epoch);
        }
        granted.len() == 1
    }

    async fn goes_on(&self, name: &str, lease: &LeaseRef) -> bool {
        let beat = Beat {
            tenant: self.tenant.clone(),
            agent: agent(name),
            lease: lease.clone(),
            extends: true,
            progress: None,
        };
        let Pulse { held, within, .. } = self.store.beat(&[beat]).await.unwrap()[0];
        assert_eq!(held, within);
        held
    }

    async fn has_second(&self) -> bool {
        let running = self.store.second_candidates(&[(self.tenant.clone(), 7)]).await.unwrap();
        running[0].has_second
    }
}

#[tokio::test]
async fn a_second_agent_gets_a_running_job_and_the_first_result_stays() {
    let bench = Bench::new().await;
    let (seq, lease) = bench.held().await;
    let number = lease.lease_epoch;
    assert!(!bench.second(seq, "a", number).await, "it has the job");
    assert!(!bench.second(seq, "c", number).await, "it has the same device");
    assert!(!bench.second(seq, "unknown", number).await);
    assert!(!bench.second(seq, "b", LeaseEpoch(number.0 + 1)).await, "another lease");
    assert!(!bench.goes_on("b", &lease).await);
    assert!(bench.second(seq, "b", number).await);
    assert!(!bench.second(seq, "d", number).await, "one a job");
    assert!(bench.has_second().await);
    assert!(bench.goes_on("a", &lease).await && bench.goes_on("b", &lease).await);
    assert!(!bench.goes_on("d", &lease).await);
    assert_eq!(bench.outcomes(&lease).await, ["running"], "the record has one attempt");

    let (first, other) = (bench.put(7, b"first").await, bench.put(7, b"other").await);
    let done = bench.complete("b", &lease, first).await.unwrap();
    assert_eq!((done.outcome, done.repeated), (CompleteOutcome::Accepted, false));
    assert!(bench.complete("b", &lease, first).await.unwrap().repeated);
    let late = bench.complete("a", &lease, other).await.unwrap();
    assert_eq!(late.outcome, CompleteOutcome::AlreadyDone);
    let view = bench.view(&lease).await;
    assert_eq!((view.state, view.result, view.attempts), (JobState::Done, Some(first), 1));
    assert_eq!(view.agent.unwrap().as_str(), "b");
    let mut outcomes = bench.outcomes(&lease).await;
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["completed_late", "superseded"]);
    assert!(!bench.goes_on("a", &lease).await && !bench.goes_on("b", &lease).await);
}

#[tokio::test]
async fn the_first_agent_may_win_and_the_second_is_told() {
    let bench = Bench::new().await;
    let (seq, lease) = bench.held().await;
    assert!(bench.second(seq, "b", lease.lease_epoch).await);
    let result = bench.put(7, b"result").await;
    let done = bench.complete("a", &lease, result).await.unwrap();
    assert_eq!((done.outcome, done.late), (CompleteOutcome::Accepted, false));
    let again = bench.complete("b", &lease, result).await.unwrap();
    assert_eq!(again.outcome, CompleteOutcome::AlreadyDone);
    assert_eq!(bench.outcomes(&lease).await, ["completed"]);
    assert!(!bench.goes_on("b", &lease).await);
}

#[tokio::test]
async fn a_second_agent_goes_on_when_the_first_fails_and_stops_when_the_job_is_cancelled() {
    let bench = Bench::new().await;
    let (seq, lease) = bench.held().await;
    assert!(bench.second(seq, "b", lease.lease_epoch).await);
    bench.release("a", &lease).await.unwrap();
    assert!(bench.goes_on("b", &lease).await, "the job waits for a third agent");
    let next = bench.lease("d").await;
    assert!(bench.goes_on("b", &lease).await && bench.goes_on("d", &next).await);
    bench.store.cancel(&bench.tenant, std::slice::from_ref(&lease.job)).await.unwrap();
    assert!(!bench.goes_on("b", &lease).await && !bench.goes_on("d", &next).await);
    let result = bench.put(7, b"result").await;
    assert_eq!(bench.complete("b", &lease, result).await.unwrap_err().code(), "BRK-020");
}

#[tokio::test]
async fn a_second_lease_that_ran_out_or_was_given_up_is_free_for_another_agent() {
    let bench = Bench::new().await;
    let (seq, lease) = bench.held().await;
    let number = lease.lease_epoch;
    assert!(bench.second(seq, "b", number).await);
    let end = async |name: &str| {
        bench.store.second_end(&bench.tenant, &agent(name), &lease).await.unwrap()
    };
    assert!(!end("d").await, "it is not its own");
    assert!(end("b").await && !end("b").await);
    assert!(!bench.has_second().await);
    assert!(bench.second(seq, "d", number).await);
    let busy = bench.store.busy_agents().await.unwrap();
    assert!(busy.contains(&(bench.tenant.clone(), agent("d"))));
    bench.sql("UPDATE second_lease SET expires_at = now() - interval '1 s'").await;
    assert!(!bench.has_second().await);
    assert!(bench.second(seq, "b", number).await);
    assert!(!bench.goes_on("d", &lease).await && bench.goes_on("b", &lease).await);
    bench.sql("UPDATE second_lease SET hard_limit_at = now() - interval '1 s'").await;
    assert!(!bench.goes_on("b", &lease).await, "not beyond its hard limit");
}

#[tokio::test]
async fn who_must_not_get_the_job_gets_no_second_lease_of_it() {
    let bench = Bench::new().await;
    let (seq, lease) = bench.held().await;
    let number = lease.lease_epoch;
    bench.sql("UPDATE job SET excluded_agents = '{b}'").await;
    assert!(!bench.second(seq, "b", number).await);
    bench.sql("UPDATE agent SET quarantined_at = now() WHERE id = 'd'").await;
    assert!(!bench.second(seq, "d", number).await);
    bench.sql("UPDATE agent SET quarantined_at = NULL, draining_by = 'me'").await;
    assert!(!bench.second(seq, "d", number).await);
    bench.sql("UPDATE agent SET draining_by = NULL").await;
    bench.sql("UPDATE job SET deadline_at = now() - interval '1 s'").await;
    assert!(!bench.second(seq, "d", number).await, "nobody waits for it");
    bench.sql("UPDATE job SET deadline_at = now() + interval '1 h'").await;
    assert!(bench.second(seq, "d", number).await);
    let waits = bench.ready_job(7, "leaf", 2).await;
    let running = bench.store.second_candidates(&[(bench.tenant.clone(), 7)]).await.unwrap();
    assert!(running[0].is_crowded, "{} waits", waits.id);
    let none = bench.store.second_candidates(&[(bench.tenant.clone(), 8)]).await.unwrap();
    assert_eq!(none, []);
}

impl Bench {
    /// Three jobs, each held by an agent of its own, and agents for second leases of them.
    async fn three_held(&self) -> Vec<Second> {
        let mut chosen = Vec::new();
        for (rank, (holder, name)) in (0..).zip([("a", "x"), ("b", "y"), ("c", "z")]) {
            self.ready_job(7, "leaf", rank).await;
            let lease_epoch = self.lease(holder).await.lease_epoch;
            chosen.push(Second { seq: 0, agent: agent(name), lease_epoch });
        }
        self.sql("UPDATE job SET deadline_at = now() + interval '1 h'").await;
        self.sql("INSERT INTO agent (tenant, id) SELECT 'default', unnest('{x,y,z}'::text[])")
            .await;
        let mut running = self.store.second_candidates(&[(self.tenant.clone(), 7)]).await.unwrap();
        running.sort_by(|one, other| one.holder.as_str().cmp(other.holder.as_str()));
        for (second, running) in chosen.iter_mut().zip(&running) {
            second.seq = running.seq;
        }
        chosen
    }

    /// The agents that have second leases, ended ones included.
    async fn seconds(&self) -> Vec<String> {
        let all = "SELECT agent FROM second_lease ORDER BY agent";
        sqlx::query_scalar(all).fetch_all(self.store.pool()).await.unwrap()
    }
}

#[tokio::test]
async fn no_more_agents_work_on_second_leases_than_may() {
    let bench = Bench::new().await;
    let chosen = bench.three_held().await;
    let given = bench.store.second_claim(&chosen, 2).await.unwrap();
    assert_eq!((given.granted.len(), given.tried), (2, 2));
    let given = bench.store.second_claim(&chosen[2..], 2).await.unwrap();
    assert_eq!((given.granted.len(), given.tried), (0, 0), "both places are taken");
    assert_eq!(bench.seconds().await, ["x", "y"]);

    // One whose first agent has lost the job goes on, and counts.
    bench.sql("UPDATE job SET state = 'ready', lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
               WHERE seq = (SELECT job FROM second_lease WHERE agent = 'x')").await;
    assert_eq!(bench.store.second_claim(&chosen[2..], 2).await.unwrap().tried, 0);
    // One of a job that nobody needs any more does not.
    bench
        .sql(
            "UPDATE job SET state = 'cancelled', finished_at = now()
               WHERE seq = (SELECT job FROM second_lease WHERE agent = 'x')",
        )
        .await;
    assert_eq!(bench.store.second_claim(&chosen[2..], 2).await.unwrap().granted.len(), 1);
    assert_eq!(bench.seconds().await, ["y", "z"]);
}

/// Fault: a second lease runs out while its agent is slow to say that it works, and another agent gets one. The first
/// is not moved on again beside it.
#[tokio::test]
async fn a_second_lease_that_was_replaced_is_not_moved_on() {
    let bench = Bench::new().await;
    let chosen = bench.three_held().await;
    assert_eq!(bench.store.second_claim(&chosen[..1], 1).await.unwrap().granted.len(), 1);
    bench.sql("UPDATE second_lease SET expires_at = now() - interval '1 s'").await;
    assert_eq!(bench.store.second_claim(&chosen[1..2], 1).await.unwrap().granted.len(), 1);
    let id: String = sqlx::query_scalar("SELECT id FROM job WHERE seq = $1")
        .bind(chosen[0].seq)
        .fetch_one(bench.store.pool())
        .await
        .unwrap();
    let lease = LeaseRef { job: id.parse().unwrap(), lease_epoch: chosen[0].lease_epoch };
    assert!(!bench.goes_on("x", &lease).await);
    assert_eq!(bench.seconds().await, ["y"]);
}

/// Fault: two replicas give second leases at the same moment, each in the belief that there is a place.
#[tokio::test]
async fn replicas_that_give_second_leases_at_once_give_no_more_than_may_be() {
    let bench = Bench::new().await;
    let chosen = bench.three_held().await;
    let mut other = bench.store.pool().acquire().await.unwrap();
    let mut tx = other.begin().await.unwrap();
    sqlx::raw_sql(include_str!("../src/sql/second_lock.sql")).execute(&mut *tx).await.unwrap();
    sqlx::query(
        "INSERT INTO second_lease (job, lease_epoch, agent, expires_at, hard_limit_at)
         VALUES ($1, 1, 'x', now() + interval '1 h', now() + interval '1 h')",
    )
    .bind(chosen[0].seq)
    .execute(&mut *tx)
    .await
    .unwrap();
    let store = bench.store.clone();
    let late = chosen[1..2].to_vec();
    let late = tokio::spawn(async move { store.second_claim(&late, 1).await.unwrap() });
    support::blocked(&mut tx, "-- second_lock.sql%").await;
    tx.commit().await.unwrap();
    let given = late.await.unwrap();
    assert_eq!((given.granted.len(), given.tried), (0, 0));
    assert_eq!(bench.seconds().await, ["x"]);
}

fn asks(name: &str) -> ClaimRequest {
    ClaimRequest {
        agent: agent(name),
        capabilities: support::KINDS.map(capability).to_vec(),
        class: SizeClass::SMALLEST,
        wait_ms: 10_000,
        info: serde_json::Value::Null,
        session: None,
    }
}

/// Goal: an agent without work gets the job of a slow one whose epoch is at risk. Its answers are those of any agent, and
/// when it fails, nothing of that is recorded.
#[tokio::test]
async fn an_idle_agent_gets_the_slow_job_of_an_epoch_at_risk() {
    let bench = Bench::new().await;
    let broker = bench.schema.broker().await;
    let client = broker.client();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut jobs = Vec::new();
    for input in [b"quick", b"slow!"] {
        let mut job = job(3, "leaf", client.put_artifact(3, input.to_vec()).await.unwrap());
        // Within the minute that L1 takes, so it is at risk.
        job.deadline_unix_seconds = Some(now + 58);
        jobs.push(job);
    }
    client.enqueue(jobs).await.unwrap();
    let result = client.put_artifact(3, b"proof".to_vec()).await.unwrap();
    let quick = client.claim(&asks("a")).await.unwrap().expect("a job is ready");
    client.complete(&CompleteRequest::new(agent("a"), quick.lease(), result)).await.unwrap();
    let slow = client.claim(&asks("a")).await.unwrap().expect("a job is ready").lease();
    bench
        .sql("UPDATE attempt SET started_at = now() - interval '1 h' WHERE ended_at IS NULL")
        .await;

    let idle = async |name: &str| {
        let granted = async {
            loop {
                if let Some(grant) = client.claim(&asks(name)).await.unwrap() {
                    return grant.lease();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(50), granted).await.unwrap()
    };
    assert_eq!(idle("b").await, slow);
    let failed = FailRequest {
        agent: agent("b"),
        lease: slow.clone(),
        class: FailureClass::BadInput,
        message: "as the test says".into(),
    };
    client.fail(&failed).await.unwrap();
    assert_eq!(bench.view(&slow).await.state, JobState::Leased, "the job is the first agent's");

    assert_eq!(idle("c").await, slow);
    let beat = |name: &str| HeartbeatRequest { agent: agent(name), leases: vec![slow.clone()] };
    assert_eq!(client.heartbeat(&beat("c")).await.unwrap().cancel, []);
    assert_eq!(client.heartbeat(&beat("a")).await.unwrap().cancel, []);
    let complete = CompleteRequest::new(agent("c"), slow.clone(), result);
    assert_eq!(client.complete(&complete).await.unwrap(), CompleteOutcome::Accepted);
    assert_eq!(client.heartbeat(&beat("a")).await.unwrap().cancel, std::slice::from_ref(&slow));
    let late = CompleteRequest::new(agent("a"), slow.clone(), result);
    assert_eq!(client.complete(&late).await.unwrap(), CompleteOutcome::AlreadyDone);
    broker.stop().await;
}
