//! What the queue promises, on a real Postgres, one schema per test. Time is moved in the database; no
//! test waits for it.

use std::time::Duration;

use crate::support::{Bench, agent, capability, digest, job};
use rollmill_broker::error::BrokerError;
use rollmill_broker::policy::Next;
use rollmill_broker::store::Match;
use rollmill_broker_client::{
    ClaimRequest, CompleteOutcome, FailureClass, JobId, JobState, LeaseRef, ListQuery,
    RejectOutcome, SizeClass,
};

#[tokio::test]
async fn claims_take_the_oldest_epoch_first_and_then_the_highest_rank() {
    let bench = Bench::new().await;
    bench.ready_job(8, "leaf", 90).await;
    bench.ready_job(7, "leaf", 1).await;
    bench.ready_job(7, "root", 50).await;
    let order: Vec<String> =
        [bench.lease("a").await, bench.lease("a").await, bench.lease("a").await]
            .iter()
            .map(|lease| format!("{}:{}", lease.job.epoch(), lease.job.kind()))
            .collect();
    assert_eq!(order, ["7:root", "7:leaf", "8:leaf"]);
}

/// Fault: an agent waits, and the first jobs of its type exclude it, far more than are read for one agent. It gets the
/// job behind them.
#[tokio::test]
async fn an_agent_gets_the_job_behind_many_that_exclude_it() {
    let bench = Bench::new().await;
    bench
        .sql(
            "INSERT INTO job (tenant, id, kind, version, epoch, rank, class, input, excluded_agents)
             SELECT 'default', '7:leaf:' || encode(sha256(n::text::bytea), 'hex'), 'leaf', 'v1', 7, 5, 0,
                    sha256(n::text::bytea), '{a}'
             FROM generate_series(1, 300) AS n",
        )
        .await;
    let job = bench.ready_job(7, "leaf", 1).await;
    let broker = bench.schema.broker().await;
    let mut claim = ClaimRequest::new(agent("a"), vec![capability("leaf")]);
    // It waits: a grant takes a round of the dispatcher. Forgiveness would take longer.
    claim.wait_ms = 10_000;
    let grant = broker.client().claim(&claim).await.unwrap().expect("a job is ready");
    assert_eq!(grant.job, job.id);
    broker.stop().await;
}

#[tokio::test]
async fn enqueueing_again_changes_nothing_and_a_finished_id_answers_with_its_result() {
    let bench = Bench::new().await;
    let job = bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    let result = bench.put(7, b"proof").await;
    bench.complete("a", &lease, result).await.unwrap();
    let again = bench.store.enqueue(&bench.tenant, &[job.clone(), job.clone()]).await.unwrap();
    assert_eq!(again.len(), 2);
    assert_eq!(again[0].state, JobState::Done);
    assert_eq!(again[0].result, Some(result));
    assert_eq!(again[0].agent, Some(agent("a")));
    assert_eq!(again[0].attempts, 1);
}

#[tokio::test]
async fn a_job_whose_input_was_never_uploaded_or_is_damaged_is_rejected() {
    let bench = Bench::new().await;
    let job = crate::support::job(7, "leaf", digest(b"never put"));
    let error = bench.store.enqueue(&bench.tenant, &[job]).await.unwrap_err();
    assert!(matches!(error, BrokerError::NotUploaded { .. }), "{error}");
    let job = crate::support::job(7, "leaf", bench.put(7, b"whole").await);
    bench.sql("UPDATE artifact_body SET body = 'whale'").await;
    let error = bench.store.enqueue(&bench.tenant, &[job]).await.unwrap_err();
    assert!(matches!(error, BrokerError::NotUploaded { .. }), "{error}");
}

#[tokio::test]
async fn an_id_of_another_version_is_rejected() {
    let bench = Bench::new().await;
    let mut job = bench.ready_job(7, "leaf", 1).await;
    job.version = "v2".parse().unwrap();
    let error = bench.store.enqueue(&bench.tenant, &[job]).await.unwrap_err();
    assert!(matches!(error, BrokerError::VersionConflict { .. }), "{error}");
}

#[tokio::test]
async fn a_lease_that_ran_out_is_granted_again_under_the_next_epoch() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let first = bench.lease("a").await;
    bench.run_out(&first).await;
    let expired = bench.store.expire(0.5).await.unwrap();
    assert!(matches!(expired[..], [(FailureClass::AgentDied, Next::Retry { .. })]));
    let second = bench.lease("b").await;
    assert_eq!(second.lease_epoch.0, first.lease_epoch.0 + 1);
    assert_eq!(bench.view(&second).await.attempts, 2);
}

/// Fault: the database's clock is set by an hour between the moment that it is read, and found to be in order, and the
/// statement that expires leases. Goal: what had not run out when it was read stays.
#[tokio::test]
async fn what_runs_out_by_a_clock_that_was_just_set_does_not_expire() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    let read = bench.store.clock().await.unwrap();
    bench.run_out(&lease).await;
    let before = read.saturating_sub(Duration::from_secs(3_600));
    assert!(bench.store.expire_by(before, 0.5).await.unwrap().is_empty());
    assert!(bench.heartbeat("a", &lease).await.is_empty(), "the agent has it still");
    bench.run_out(&lease).await;
    let after = bench.store.clock().await.unwrap();
    assert_eq!(bench.store.expire_by(after, 0.5).await.unwrap().len(), 1);
}

/// Fault: the database's clock is set back by an hour. Goal: what an agent that is gone held, and what is to be tried
/// again soon, waits no hour. Method: the times in the database are moved instead, and those of an agent that has its
/// lease since are not.
#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_wait_for_as_long() {
    let bench = Bench::new().await;
    for rank in 1..=3 {
        bench.ready_job(7, "leaf", rank).await;
    }
    let failed = bench.lease("failing").await;
    bench.fail("failing", &failed, FailureClass::Transient).await.unwrap();
    let gone = bench.lease("gone").await;
    bench
        .sql(
            "UPDATE job SET ready_at = ready_at + interval '1 h', hard_limit_at = hard_limit_at + interval '1 h',
                            lease_expires_at = lease_expires_at + interval '1 h'
             WHERE state <> 'ready'",
        )
        .await;
    bench
        .sql(
            "INSERT INTO second_lease (job, lease_epoch, agent, expires_at, hard_limit_at)
             SELECT seq, lease_epoch, 'second', now() + interval '1 h', now() + interval '2 h'
             FROM job WHERE state = 'leased'",
        )
        .await;
    let live = bench.lease("live").await;
    let ends = async |lease: &LeaseRef| bench.view(lease).await.lease.unwrap().expires_in_ms;
    assert!(ends(&gone).await > 3_600_000);
    let of_live = ends(&live).await;
    bench.store.bound_waits().await.unwrap();
    assert!(ends(&gone).await <= 30_000, "as if it were granted now");
    assert!(ends(&live).await <= of_live);
    let left = async |text: &'static str| -> f64 {
        sqlx::query_scalar(text).fetch_one(bench.store.pool()).await.unwrap()
    };
    let limit = "SELECT extract(epoch FROM max(hard_limit_at) - now())::float8 FROM job WHERE state = 'leased'";
    assert!(left(limit).await <= 3_600.0);
    let second = "SELECT extract(epoch FROM expires_at - now())::float8 FROM second_lease";
    assert!(left(second).await <= 30.0);
    assert_eq!(bench.store.promote().await.unwrap(), 1, "the backoff is over");
}

/// Fault: whatever forgives exclusions has the rows locked while a broker looks, once, for what the clock's step back left in
/// the future. Goal: it does not pass for done, and what can be mended is.
#[tokio::test]
async fn what_is_locked_while_the_clocks_step_back_is_mended_is_mended_later() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    for text in [
        "UPDATE job SET excluded_agents = '{a}', stuck_at = now() + interval '1 h'",
        "UPDATE epoch SET opened_at = now() + interval '1 h'",
        "INSERT INTO agent (tenant, id, last_seen_at) VALUES ('default', 'a', now() + interval '1 h')",
    ] {
        bench.sql(text).await;
    }
    let left = async || -> (i64, i64, i64) {
        let text = "SELECT (SELECT count(*) FROM job WHERE stuck_at > now()),
                           (SELECT count(*) FROM epoch WHERE opened_at > now()),
                           (SELECT count(*) FROM agent WHERE last_seen_at > now())";
        sqlx::query_as(text).fetch_one(bench.store.pool()).await.unwrap()
    };
    for (lock, rest) in [
        ("SELECT 1 FROM job FOR UPDATE", (1, 0, 0)),
        ("SELECT 1 FROM epoch FOR NO KEY UPDATE", (0, 1, 0)),
    ] {
        bench.sql("UPDATE job SET stuck_at = now() + interval '1 h'").await;
        bench.sql("UPDATE epoch SET opened_at = now() + interval '1 h'").await;
        let mut other = bench.store.pool().begin().await.unwrap();
        sqlx::query(lock).fetch_one(&mut *other).await.unwrap();
        bench.store.bound_waits().await.unwrap_err();
        assert_eq!(left().await, rest, "{lock}");
        other.rollback().await.unwrap();
        bench.store.bound_waits().await.unwrap();
        assert_eq!(left().await, (0, 0, 0));
    }
}

#[tokio::test]
async fn a_superseded_lease_allows_nothing_but_completion() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let first = bench.lease("a").await;
    bench.run_out(&first).await;
    bench.store.expire(0.5).await.unwrap();
    let second = bench.lease("b").await;

    assert_eq!(bench.heartbeat("a", &first).await, std::slice::from_ref(&first));
    assert!(bench.heartbeat("b", &second).await.is_empty());
    for rejected in [
        bench.fail("a", &first, FailureClass::Transient).await.map(drop),
        bench.release("a", &first).await,
        bench.progress("a", &first).await,
    ] {
        assert!(matches!(rejected, Err(BrokerError::LeaseLost { .. })), "{rejected:?}");
    }
    assert_eq!(bench.view(&second).await.lease.unwrap().agent, agent("b"));
}

/// Goal: valid work is never thrown away. Method: the first agent's lease runs out, a second agent
/// holds the job, and the first one completes after all.
#[tokio::test]
async fn a_late_completion_is_accepted_while_the_job_is_unfinished() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let first = bench.lease("a").await;
    bench.run_out(&first).await;
    bench.store.expire(0.5).await.unwrap();
    let second = bench.lease("b").await;

    let result = bench.put(7, b"late proof").await;
    let done = bench.complete("a", &first, result).await.unwrap();
    assert!(done.late);
    assert_eq!(done.outcome, CompleteOutcome::Accepted);
    assert_eq!(bench.heartbeat("b", &second).await, std::slice::from_ref(&second));

    let other = bench.put(7, b"second proof").await;
    let after = bench.complete("b", &second, other).await.unwrap();
    assert_eq!(after.outcome, CompleteOutcome::AlreadyDone);
    assert_eq!(bench.view(&second).await.result, Some(result));
    assert_eq!(bench.outcomes(&first).await, ["superseded", "completed_late"]);
}

#[tokio::test]
async fn an_agent_without_any_lease_may_complete_an_unfinished_job() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    let result = bench.put(7, b"proof").await;
    let done = bench.complete("stranger", &lease, result).await.unwrap();
    assert_eq!(done.outcome, CompleteOutcome::Accepted);
    assert_eq!(bench.view(&lease).await.agent, Some(agent("stranger")));
}

#[tokio::test]
async fn completion_needs_a_result_that_was_uploaded() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    let rejected = bench.complete("a", &lease, digest(b"nowhere")).await;
    assert!(matches!(rejected, Err(BrokerError::NotUploaded { .. })));
    assert_eq!(bench.view(&lease).await.state, JobState::Leased);
}

#[tokio::test]
async fn completing_twice_is_the_same_as_once() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    let result = bench.put(7, b"proof").await;
    bench.complete("a", &lease, result).await.unwrap();
    let again = bench.complete("a", &lease, result).await.unwrap();
    assert_eq!((again.outcome, again.repeated), (CompleteOutcome::Accepted, true));
    let other = bench.complete("b", &lease, result).await.unwrap();
    assert_eq!(other.outcome, CompleteOutcome::AlreadyDone);
    assert_eq!(bench.outcomes(&lease).await, ["completed"]);
}

#[tokio::test]
async fn a_rejected_result_reopens_the_job_for_another_agent_only() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    let wrong = bench.put(7, b"wrong").await;
    bench.complete("a", &lease, wrong).await.unwrap();

    assert_eq!(bench.reject(&lease, digest(b"other")).await.outcome, RejectOutcome::Stale);
    let rejected = bench.reject(&lease, wrong).await;
    assert_eq!(rejected.outcome, RejectOutcome::Reopened);
    assert!(!rejected.agent_quarantined);
    assert_eq!(bench.reject(&lease, wrong).await.outcome, RejectOutcome::Stale);

    for (who, what) in [("a", &b"another"[..]), ("b", b"wrong")] {
        let result = bench.put(7, what).await;
        let rejected = bench.complete(who, &lease, result).await;
        assert!(matches!(rejected, Err(BrokerError::AlreadyRejected { .. })), "{who}");
    }
    let candidates = bench.peek().await;
    assert_eq!(candidates[0].excluded, ["a"]);
    let good = bench.put(7, b"good").await;
    let second = bench.lease("b").await;
    bench.complete("b", &second, good).await.unwrap();
    assert_eq!(bench.view(&second).await.result, Some(good));
    assert_eq!(bench.outcomes(&second).await, ["completed", "rejected"]);
}

#[tokio::test]
async fn an_agent_is_quarantined_after_its_third_wrong_proof_and_can_be_pardoned() {
    let bench = Bench::new().await;
    for n in 0..3_u8 {
        bench.ready_job_with(7, "leaf", 1, &[n]).await;
        let lease = bench.lease("a").await;
        let wrong = bench.put(7, &[n, 1]).await;
        bench.complete("a", &lease, wrong).await.unwrap();
        let rejected = bench.reject(&lease, wrong).await;
        assert_eq!(rejected.agent_quarantined, n == 2);
        bench.store.cancel(&bench.tenant, &[lease.job]).await.unwrap();
    }
    let a = agent("a");
    let request = rollmill_broker_client::ClaimRequest {
        agent: a.clone(),
        capabilities: vec![],
        class: SizeClass::SMALLEST,
        wait_ms: 0,
        info: serde_json::Value::Null,
        session: None,
    };
    let admit = || bench.store.admit(&bench.tenant, &request);
    assert!(matches!(admit().await, Err(BrokerError::Quarantined { .. })));
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("b").await;
    let result = bench.put(7, b"proof").await;
    let rejected = bench.complete("a", &lease, result).await;
    assert!(matches!(rejected, Err(BrokerError::Quarantined { .. })));
    assert_eq!(bench.store.pardon(&bench.tenant, &a).await.unwrap(), 1);
    admit().await.unwrap();
}

#[tokio::test]
async fn each_failure_class_has_its_own_consequence() {
    let bench = Bench::new().await;
    let cases = [
        (FailureClass::Transient, JobState::Delayed, 0, false),
        (FailureClass::OutOfMemory, JobState::Ready, 1, false),
        (FailureClass::InvalidProof, JobState::Ready, 0, true),
        (FailureClass::VersionMismatch, JobState::Ready, 0, true),
        (FailureClass::BadInput, JobState::Dead, 0, false),
    ];
    for (n, (class, state, needs, excluded)) in (0_u8..).zip(cases) {
        bench.ready_job_with(7, "leaf", 1, &[n]).await;
        let lease = bench.lease("a").await;
        bench.fail("a", &lease, class).await.unwrap();
        let view = bench.view(&lease).await;
        assert_eq!((view.state, view.class.number()), (state, needs), "{class:?}");
        assert_eq!(view.failure.unwrap().class, class);
        let found = bench.peek_class(view.class).await.iter().any(|c| c.excluded == ["a"]);
        assert_eq!(found, excluded, "{class:?}");
        bench.store.cancel(&bench.tenant, &[lease.job]).await.unwrap();
    }
}

#[tokio::test]
async fn a_delayed_job_is_ready_again_once_its_pause_is_over() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    bench.fail("a", &lease, FailureClass::Transient).await.unwrap();
    assert_eq!(bench.store.promote().await.unwrap(), 0);
    bench.sql("UPDATE job SET ready_at = now() - interval '1 s'").await;
    assert_eq!(bench.store.promote().await.unwrap(), 1);
    assert_eq!(bench.view(&lease).await.state, JobState::Ready);
}

#[tokio::test]
async fn a_job_that_spends_its_budget_is_a_dead_letter_until_replayed() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    for name in ["a", "b", "c"] {
        let lease = bench.lease(name).await;
        bench.fail(name, &lease, FailureClass::InvalidProof).await.unwrap();
    }
    assert_eq!(bench.store.dead_letters(&bench.tenant).await.unwrap(), 1);
    assert!(bench.peek().await.is_empty());
    let id = bench.only_job().await.id;
    assert_eq!(bench.store.replay(&bench.tenant, std::slice::from_ref(&id)).await.unwrap(), 1);
    assert_eq!(bench.store.replay(&bench.tenant, std::slice::from_ref(&id)).await.unwrap(), 0);
    let lease = bench.lease("a").await;
    assert!(matches!(
        bench.fail("a", &lease, FailureClass::InvalidProof).await.unwrap(),
        Next::Retry { .. }
    ));

    let lease = bench.lease("b").await;
    bench.fail("b", &lease, FailureClass::BadInput).await.unwrap();
    assert_eq!(bench.store.drop_dead(&bench.tenant, &[id]).await.unwrap(), 1);
    assert_eq!(bench.only_job().await.state, JobState::Cancelled);
}

#[tokio::test]
async fn a_dead_letter_still_takes_a_valid_late_completion() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    bench.fail("a", &lease, FailureClass::BadInput).await.unwrap();
    let result = bench.put(7, b"proof").await;
    bench.complete("b", &lease, result).await.unwrap();
    assert_eq!(bench.only_job().await.state, JobState::Done);
}

#[tokio::test]
async fn heartbeats_cannot_carry_a_lease_past_its_hard_limit() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    bench.run_out(&lease).await;
    assert!(bench.heartbeat("a", &lease).await.is_empty(), "not taken yet, so still its own");
    bench
        .sql("UPDATE job SET hard_limit_at = now() - interval '1 s', lease_expires_at = now() - interval '1 s'")
        .await;
    assert_eq!(bench.heartbeat("a", &lease).await, std::slice::from_ref(&lease));
    let expired = bench.store.expire(0.5).await.unwrap();
    assert_eq!(expired[0].0, FailureClass::HardLimit);
}

/// A producer may send a limit with a job. Without one the broker's setting applies.
#[tokio::test]
async fn a_jobs_own_hard_limit_is_the_longest_that_an_agent_holds_it() {
    let bench = Bench::new().await;
    let default = bench.store.rules().hard_limit;
    assert!(bench.store.rules().lease > Duration::from_secs(2));
    for (n, own) in [(0, None), (1, Some(2))] {
        let mut job = job(7, "leaf", bench.put(7, &[n]).await);
        job.hard_limit_seconds = own;
        bench.store.enqueue(&bench.tenant, std::slice::from_ref(&job)).await.unwrap();
        let seq = bench.peek().await[0].seq;
        let granted = bench.store.claim(&[Match { seq, agent: agent("a") }]).await.unwrap();
        let limit = own.map_or(default, |seconds| Duration::from_secs(u64::from(seconds)));
        let limit_ms = u64::try_from(limit.as_millis()).unwrap();
        assert_eq!(granted[0].grant.hard_limit_ms, limit_ms, "{own:?}");
        let held = "SELECT extract(epoch FROM hard_limit_at - now()) <= $1
                        AND lease_expires_at <= hard_limit_at FROM job WHERE seq = $2";
        let held = sqlx::query_scalar::<_, bool>(held).bind(limit.as_secs_f64()).bind(seq);
        assert!(held.fetch_one(bench.store.pool()).await.unwrap(), "{own:?}");
    }
}

#[tokio::test]
async fn a_time_out_past_the_deadline_ends_as_a_dead_letter() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    bench.run_out(&lease).await;
    bench.sql("UPDATE job SET deadline_at = now() - interval '1 s'").await;
    assert!(matches!(bench.store.expire(0.5).await.unwrap()[0].1, Next::Retry { .. }));
    assert_eq!(bench.store.past_deadline().await.unwrap(), 1);
    assert_eq!(bench.only_job().await.state, JobState::Dead);
}

#[tokio::test]
async fn a_released_job_is_ready_at_once_and_its_attempt_stays_counted() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    bench.release("a", &lease).await.unwrap();
    let view = bench.view(&lease).await;
    assert_eq!((view.state, view.attempts), (JobState::Ready, 1));
}

#[tokio::test]
async fn a_cancelled_job_takes_no_result_and_comes_back_when_enqueued_again() {
    let bench = Bench::new().await;
    let job = bench.ready_job(7, "leaf", 1).await;
    let lease = bench.lease("a").await;
    assert_eq!(
        bench.store.cancel(&bench.tenant, std::slice::from_ref(&job.id)).await.unwrap().jobs,
        1
    );
    assert_eq!(bench.heartbeat("a", &lease).await, std::slice::from_ref(&lease));
    let result = bench.put(7, b"proof").await;
    let rejected = bench.complete("a", &lease, result).await;
    assert!(matches!(rejected, Err(BrokerError::Cancelled { .. })));
    let again = bench.store.enqueue(&bench.tenant, &[job]).await.unwrap();
    assert_eq!(again[0].state, JobState::Ready);
}

#[tokio::test]
async fn dropping_an_epoch_leaves_the_others_alone() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    let kept = bench.ready_job(8, "leaf", 1).await;
    let shared = bench.put(7, b"shared").await;
    bench.put(8, b"shared").await;
    assert_eq!(bench.store.drop_epoch(&bench.tenant, 7).await.unwrap(), 1);
    assert_eq!(bench.store.get_artifact(&bench.tenant, shared).await.unwrap(), b"shared");
    assert_eq!(bench.only_job().await.id, kept.id);
    bench.put(7, b"epoch 7 can come back").await;
}

/// Two producers share an epoch number; each lists its own jobs by a label.
#[tokio::test]
async fn a_list_with_a_label_has_the_jobs_with_that_value_alone() {
    let bench = Bench::new().await;
    let mut jobs = [bench.ready_job(7, "leaf", 1).await, bench.ready_job(7, "leaf", 2).await];
    for (job, of) in jobs.iter_mut().zip(["alpha", "beta"]) {
        job.labels.insert("of".into(), of.into());
    }
    bench.store.enqueue(&bench.tenant, &jobs).await.unwrap();
    let list = async |label: &str| {
        let query = ListQuery { label: Some(label.into()), ..ListQuery::default() };
        let jobs = bench.store.list(&bench.tenant, &query).await?;
        Ok::<Vec<JobId>, BrokerError>(jobs.into_iter().map(|job| job.id).collect())
    };
    assert_eq!(list("of=alpha").await.unwrap(), [jobs[0].id.clone()]);
    assert_eq!(list("of=beta").await.unwrap(), [jobs[1].id.clone()]);
    for nobodys in ["of=", "of=alph", "with=alpha"] {
        assert!(list(nobodys).await.unwrap().is_empty(), "{nobodys}");
    }
    for wrong in ["alpha", "=alpha"] {
        assert!(matches!(list(wrong).await, Err(BrokerError::BadRequest { .. })), "{wrong}");
    }
}

/// Goal: a list goes on after a page, also if the page's jobs changed since. A job that is gone ends no list quietly.
#[tokio::test]
async fn a_list_goes_on_before_the_last_job_of_a_page() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(bench.ready_job(7, "leaf", n).await.id);
    }
    let list = async |before: Option<&JobId>| {
        let (state, before) = (Some(JobState::Ready), before.cloned());
        let query = ListQuery { state, before, limit: Some(2), ..ListQuery::default() };
        let jobs = bench.store.list(&bench.tenant, &query).await?;
        Ok::<Vec<JobId>, BrokerError>(jobs.into_iter().map(|job| job.id).collect())
    };
    let first = list(None).await.unwrap();
    assert_eq!(first, [ids[2].clone(), ids[1].clone()]);
    bench.store.cancel(&bench.tenant, &first).await.unwrap();
    assert_eq!(list(first.last()).await.unwrap(), [ids[0].clone()]);
    assert!(list(ids.first()).await.unwrap().is_empty());
    bench.store.drop_epoch(&bench.tenant, 7).await.unwrap();
    assert!(matches!(list(first.last()).await, Err(BrokerError::UnknownJob { .. })));
}

#[tokio::test]
async fn one_tenant_sees_nothing_of_another() {
    let bench = Bench::new().await;
    let job = bench.ready_job(7, "leaf", 1).await;
    let other = rollmill_broker::store::Tenant("other".into());
    assert!(bench.store.jobs(&other, std::slice::from_ref(&job.id)).await.unwrap().is_empty());
    let missing = bench.store.get_artifact(&other, job.id.input()).await;
    assert!(matches!(missing, Err(BrokerError::UnknownArtifact { .. })));
    assert_eq!(bench.store.cancel(&other, &[job.id]).await.unwrap().jobs, 0);
}
