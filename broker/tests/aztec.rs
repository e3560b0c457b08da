//! The interface for Aztec's programs: the states of their jobs.

use crate::support::aztec::{Aztec, INPUTS, PROOF, id, job, quick, state};
use rollmill_broker::Config;
use rollmill_broker::store::{Store, Tenant};
use rollmill_broker_client::{Digest, HeartbeatRequest, JobId, LeaseEpoch, LeaseRef};
use serde_json::{Value, json};

/// Goal: enqueueing is how a facade that lost its memory finds its results.
#[tokio::test]
async fn a_job_that_is_known_is_answered_with_its_state() {
    let aztec = Aztec::with(quick()).await;
    let id = id(5, "a");
    assert_eq!(aztec.status(&id).await, state("not-found"));
    assert_eq!(aztec.status("nonsense").await, state("not-found"));
    assert_eq!(aztec.enqueue(&id).await, state("not-found"));
    assert_eq!(aztec.enqueue(&id).await, state("in-queue"));
    let grant = aztec.get().await;
    assert_eq!(grant["job"], job(&id));
    assert_eq!(aztec.enqueue(&id).await, state("in-progress"));
    assert_eq!(aztec.get().await, Value::Null, "one agent has it");
    aztec.result("reportProvingJobSuccess", json!([id, PROOF])).await;
    let fulfilled = json!({ "status": "fulfilled", "value": PROOF });
    assert_eq!(aztec.enqueue(&id).await, fulfilled);
    // The first result counts, and a second one changes nothing.
    aztec.result("reportProvingJobSuccess", json!([id, "data:,other"])).await;
    assert_eq!(aztec.status(&id).await, fulfilled);
    aztec.broker.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_is_rejected_for_every_version_and_revived_when_it_is_enqueued() {
    let aztec = Aztec::with(quick()).await;
    let id = id(5, "a");
    aztec.enqueue(&id).await;
    let grant = aztec.get().await;
    assert_eq!(aztec.result("cancelProvingJob", json!([id])).await, Value::Null);
    // `aborted` makes a client of version 4 fail.
    assert_eq!(aztec.status(&id).await, json!({ "status": "rejected", "reason": "Aborted" }));
    assert_eq!(aztec.result("getCompletedJobs", json!([[]])).await, json!([id]));
    let other = json!([id, grant["time"], { "allowList": [] }]);
    assert_eq!(aztec.result("reportProvingJobProgress", other.clone()).await, Value::Null);
    assert_eq!(aztec.enqueue(&id).await, state("in-queue"));
    assert_eq!(aztec.status(&id).await, state("in-queue"));
    assert_eq!(aztec.result("getCompletedJobs", json!([[id]])).await, json!([]));
    // The grant from before is over: its holder gets the job anew.
    let again = aztec.result("reportProvingJobProgress", other).await;
    assert_eq!(again["job"]["id"], json!(id));
    assert!(again["time"].as_u64() > grant["time"].as_u64());
    aztec.result("cancelProvingJob", json!(["5:PARITY_BASE:unknown"])).await;
    aztec.broker.stop().await;
}

/// Goal: the time of a grant fences. Method: a lease runs out, and another agent gets the job.
#[tokio::test]
async fn progress_keeps_the_lease_of_its_own_time_alone() {
    let aztec = Aztec::with(quick()).await;
    let id = id(5, "a");
    aztec.enqueue(&id).await;
    let progress = |time: &Value| json!([id, time, { "allowList": [] }]);
    let first = aztec.get().await["time"].clone();
    assert_eq!(aztec.result("reportProvingJobProgress", progress(&first)).await, Value::Null);

    // Nobody got the job since: its agent goes on, under the same time.
    aztec.expire().await;
    assert_eq!(aztec.status(&id).await, state("in-queue"));
    assert_eq!(aztec.result("reportProvingJobProgress", progress(&first)).await, Value::Null);
    assert_eq!(aztec.status(&id).await, state("in-progress"));
    let store = aztec.store().await;
    let history = store.history(&Tenant::default(), &id.parse().unwrap()).await.unwrap();
    let outcomes: Vec<_> = history.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["running"]);

    // Somebody did: it is given another job, so that it drops this one.
    aztec.expire().await;
    let second = aztec.get().await["time"].clone();
    assert!(second.as_u64() > first.as_u64());
    aztec.enqueue(&self::id(5, "b")).await;
    let replacement = aztec.result("reportProvingJobProgress", progress(&first)).await;
    assert_eq!(replacement["job"]["id"], json!(self::id(5, "b")));
    assert_eq!(aztec.result("reportProvingJobProgress", progress(&second)).await, Value::Null);
    for time in [json!(0), json!(-1), json!(1.5), json!(1e300)] {
        let kept = aztec.result("reportProvingJobProgress", progress(&time)).await;
        assert_eq!(kept, Value::Null, "{time}: there is no job to replace it with");
    }
    // A job that nobody knows is replaced too.
    aztec.enqueue(&self::id(5, "c")).await;
    let params = json!([self::id(5, "unknown"), first, { "allowList": [] }]);
    let replacement = aztec.result("reportProvingJobProgress", params).await;
    assert_eq!(replacement["job"]["id"], json!(self::id(5, "c")));
    aztec.broker.stop().await;
}

/// Goal: an agent's word that no retry helps counts in the third attempt; one that does not hold the job has
/// no word.
#[tokio::test]
async fn a_failure_is_retried_and_the_third_final_one_settles_the_job() {
    let aztec = Aztec::with(quick()).await;
    let store = aztec.store().await;
    let id = id(5, "a");
    aztec.enqueue(&id).await;
    let last = json!({ "allowList": [], "allowNewJobs": false });
    aztec.result("reportProvingJobError", json!([id, "not mine", false, last])).await;
    assert_eq!(aztec.status(&id).await, state("in-queue"), "nobody holds it");
    for attempt in 1..=3 {
        sqlx::query("UPDATE job SET ready_at = now()").execute(store.pool()).await.unwrap();
        store.promote().await.unwrap();
        let grant = aztec.result("getProvingJob", json!([])).await;
        assert_eq!(grant["job"]["id"], json!(id), "attempt {attempt}");
        let other = json!([id, "of another agent", false, { "allowList": [1] }]);
        aztec.result("reportProvingJobError", other).await;
        assert_eq!(aztec.status(&id).await, state("in-progress"));
        aztec.result("reportProvingJobError", json!([id, "out of memory", null, last])).await;
    }
    let rejected = json!({ "status": "rejected", "reason": "out of memory" });
    assert_eq!(aztec.status(&id).await, rejected);
    assert_eq!(aztec.enqueue(&id).await, rejected);
    assert_eq!(aztec.result("getCompletedJobs", json!([[]])).await, json!([id]));
    // An operator can open it again.
    let ids = [id.parse::<JobId>().unwrap()];
    assert_eq!(store.replay(&Tenant::default(), &ids).await.unwrap(), 1);
    assert_eq!(aztec.status(&id).await, state("in-queue"));
    aztec.broker.stop().await;
}

/// Goal: agents get the types they list, by the numbers of their version; the oldest epoch first, then the
/// type nearest to the root.
#[tokio::test]
async fn jobs_are_handed_out_by_type_epoch_and_nearness_to_the_root() {
    let aztec = Aztec::with(quick()).await;
    let digest = Digest::of(b"x");
    for (epoch, name, number) in [
        (6, "ROOT_ROLLUP", 15),
        (5, "PARITY_BASE", 16),
        (5, "TX_MERGE_ROLLUP", 4),
        (5, "INBOX_PARITY", 14),
    ] {
        let id = format!("{epoch}:{name}:{digest}");
        let job =
            json!({ "id": id, "type": number, "epochNumber": epoch, "inputsUri": "gs://a/b" });
        assert_eq!(aztec.result("enqueueProvingJob", json!([job])).await, state("not-found"));
    }
    let get = |filter: Value| aztec.result("getProvingJob", json!([filter]));
    assert_eq!(get(json!({ "allowList": [13, 99] })).await, Value::Null);
    let last = json!({ "allowList": [], "allowNewJobs": false });
    assert_eq!(get(last).await, Value::Null, "an agent that is about to stop");
    let merge = get(json!({ "allowList": [15, 4, 16], "later": 1 })).await;
    assert_eq!(merge["job"]["type"], 4);
    assert_eq!(merge["job"]["inputsUri"], "gs://a/b");
    assert_eq!(
        get(json!({ "allowList": [14] })).await["job"]["id"],
        format!("5:INBOX_PARITY:{digest}")
    );
    assert_eq!(get(json!({ "allowList": [] })).await["job"]["type"], 16);
    assert_eq!(get(json!({ "allowList": [], "allowNewJobs": true })).await["job"]["type"], 15);
    aztec.broker.stop().await;
}

/// Goal: an idle agent gets a job as soon as there is one.
#[tokio::test]
async fn an_idle_agent_waits_for_a_job() {
    let aztec = Aztec::with(Config { aztec_wait_seconds: 30, ..Config::default() }).await;
    let (grant, _) = tokio::join!(aztec.get(), async {
        while aztec.broker.client().status().await.unwrap().agents.is_empty() {
            tokio::task::yield_now().await;
        }
        aztec.enqueue(&id(5, "a")).await
    });
    assert_eq!(grant["job"]["id"], json!(id(5, "a")));
    aztec.broker.stop().await;
}

#[tokio::test]
async fn epochs_that_lie_too_far_behind_are_rejected_and_deleted() {
    let aztec = Aztec::with(quick()).await;
    let store = aztec.store().await;
    let own = crate::support::job(3, "leaf", store_input(&store).await);
    store.enqueue(&Tenant::default(), std::slice::from_ref(&own)).await.unwrap();
    for epoch in [3, 5, 7, 6] {
        assert_eq!(aztec.enqueue(&id(epoch, "a")).await, state("not-found"));
    }
    let (code, message) = aztec.error("enqueueProvingJob", json!([job(&id(5, "b"))])).await;
    assert_eq!((code, message.as_str()), (-32702, "Epoch too old: job epoch 5, current epoch: 7"));
    while aztec.status(&id(5, "a")).await != state("not-found") {}
    assert_eq!(aztec.status(&id(6, "a")).await, state("in-queue"));
    let kept = aztec.status(&id(3, "a")).await;
    assert_eq!(kept, state("in-queue"), "the epoch has a job of another producer");
    assert_eq!(store.aztec_old(1).await.unwrap(), []);
    assert_eq!(store.aztec_old(0).await.unwrap(), [(Tenant::default(), 6)]);
    aztec.broker.stop().await;
}

async fn store_input(store: &Store) -> Digest {
    let digest = Digest::of(b"own");
    store.put_artifact(&Tenant::default(), 3, digest, b"own".to_vec()).await.unwrap();
    digest
}

/// Fault: the bytes of a result, or of inputs, are lost.
#[tokio::test]
async fn what_is_lost_is_made_again() {
    let aztec = Aztec::with(quick()).await;
    let store = aztec.store().await;
    let id = id(5, "a");
    aztec.enqueue(&id).await;
    aztec.get().await;
    aztec.result("reportProvingJobSuccess", json!([id, PROOF])).await;
    let lose = |text: &str| {
        let digest = Digest::of(text.as_bytes()).0.to_vec();
        sqlx::query("DELETE FROM artifact_body WHERE digest = $1")
            .bind(digest)
            .execute(store.pool())
    };
    lose(PROOF).await.unwrap();
    assert_eq!(aztec.status(&id).await, state("in-queue"));
    lose(INPUTS).await.unwrap();
    assert_eq!(aztec.get().await, Value::Null, "the inputs cannot be read");
    let lost = json!({ "status": "rejected", "reason": "Inputs lost; enqueue again" });
    assert_eq!(aztec.status(&id).await, lost);
    assert_eq!(aztec.enqueue(&id).await, state("in-queue"));
    assert_eq!(aztec.get().await["job"], job(&id));
    aztec.broker.stop().await;
}

/// Fault: a lease of a job that somebody works on again, or that is settled, is asked back.
#[tokio::test]
async fn only_the_last_lease_is_given_back() {
    let aztec = Aztec::with(quick()).await;
    let store = aztec.store().await;
    let (tenant, text) = (Tenant::default(), id(5, "a"));
    let id: JobId = text.parse().unwrap();
    let agent = crate::support::agent("a");
    let resume = |lease: u64| store.resume(&tenant, &id, LeaseEpoch(lease), &agent);
    assert!(!resume(1).await.unwrap(), "there is no such job");
    aztec.enqueue(&text).await;
    assert!(!resume(0).await.unwrap(), "it was never granted");
    aztec.get().await;
    assert!(!resume(1).await.unwrap(), "it is leased");
    aztec.expire().await;
    for lease in [0, 2] {
        assert!(!resume(lease).await.unwrap(), "not the last lease");
    }
    assert!(resume(1).await.unwrap());
    let lease = LeaseRef { job: id.clone(), lease_epoch: LeaseEpoch(1) };
    let request = HeartbeatRequest { agent: agent.clone(), leases: vec![lease] };
    assert_eq!(store.heartbeat(&tenant, &request).await.unwrap(), []);
    store.cancel(&tenant, std::slice::from_ref(&id)).await.unwrap();
    assert!(!resume(1).await.unwrap(), "it is cancelled");
    aztec.broker.stop().await;
}
