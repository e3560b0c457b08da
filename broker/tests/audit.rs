//! The record of changes: what was done, and by whom.

use std::time::Duration;

use crate::identity::{Lab, code, label};
use crate::support::{self, Bench, agent, capability, digest, job};
use rollmill_broker::store::{Match, Retention, Role, Rules, Tenant};
use rollmill_broker_client::{
    AuditQuery, Client, CompleteRequest, Digest, EpochOutcome, JobState, RejectRequest, Rotation,
    SizeClass,
};
use rollmill_broker_testing::TestSchema;

/// Goal: each change of an operator or a producer is in the record, with who made it, and what changed nothing is not.
#[tokio::test]
async fn each_change_is_in_the_record_with_who_made_it() {
    let lab = Lab::new().await;
    let node = lab.add("node", Role::Producer).await;
    lab.operator
        .rotate_token(&label("node"), &Rotation { overlap_seconds: 60, valid_seconds: None })
        .await
        .unwrap();
    for input in ["a", "b", "c"] {
        lab.ready(input).await;
    }
    make_changes(&lab, &node).await;
    let record = lab.operator.audit(&AuditQuery::default()).await.unwrap();
    let found: Vec<(&str, &str)> = record
        .entries
        .iter()
        .rev()
        .map(|entry| (entry.by.as_str(), entry.action.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("broker", "add token"),
            ("me", "add token"),
            ("me", "rotate token"),
            ("node", "reject"),
            ("me", "pardon"),
            ("node", "replay dead letters"),
            ("node", "drop dead letters"),
            ("node", "cancel"),
            ("node", "acquire name"),
            ("node", "release name"),
            ("node", "drop epoch"),
            ("me", "revoke token"),
        ]
    );
    assert!(record.entries.iter().any(|entry| entry.detail.contains("as the test says")));
    assert_eq!(in_pages(&lab, 5).await, record.entries);
    let wrong = AuditQuery { before: None, limit: Some(1001) };
    assert_eq!(code(lab.operator.audit(&wrong).await), "BRK-010");
}

/// One change of each kind by the producer `node`, with some that change nothing.
async fn make_changes(lab: &Lab, node: &Client) {
    let store = &lab.store;
    let lease = async |name: &str| {
        let wanted: Vec<_> =
            support::KINDS.iter().map(|kind| (capability(kind), SizeClass::SMALLEST)).collect();
        let seq = store.peek(&Tenant::default(), &wanted, 1).await.unwrap()[0].seq;
        let granted = store.claim(&[Match { seq, agent: agent(name) }]).await.unwrap();
        granted[0].grant.lease()
    };
    let held = lease("a").await;
    let result = node.put_artifact(7, b"wrong".to_vec()).await.unwrap();
    let complete = CompleteRequest::new(agent("a"), held.clone(), result);
    store.complete(&Tenant::default(), &complete).await.unwrap();
    node.reject(&held.job, result, "as the test says").await.unwrap();
    sqlx::query("UPDATE agent SET quarantined_at = now()").execute(store.pool()).await.unwrap();
    lab.operator.pardon(&agent("a")).await.unwrap();
    sqlx::query("UPDATE job SET state = 'dead', finished_at = now()")
        .execute(store.pool())
        .await
        .unwrap();
    let input = |text: &str| job(7, "leaf", digest(text.as_bytes())).id;
    node.replay(&[input("a")]).await.unwrap();
    node.drop_dead(&[input("b")]).await.unwrap();
    node.cancel(&[input("a")]).await.unwrap();
    // Nothing is left to change.
    node.cancel(&[input("a")]).await.unwrap();
    node.reject(&held.job, Digest::of(b"another"), "stale").await.unwrap();
    lab.operator.pardon(&agent("a")).await.unwrap();
    let (holder, start) = (agent("n"), rollmill_broker_client::Incarnation::random());
    let ttl = Duration::from_secs(60);
    let fence = node.acquire_name("submitter", &holder, &start, ttl).await.unwrap().fence;
    node.renew_name("submitter", &holder, &start, fence, ttl).await.unwrap();
    node.release_name("submitter", &holder, &start, fence).await.unwrap();
    node.release_name("submitter", &holder, &start, fence).await.unwrap();
    node.drop_epoch(7).await.unwrap();
    lab.operator.revoke_token(&label("node")).await.unwrap();
}

/// The whole record, read in pages.
async fn in_pages(lab: &Lab, limit: u32) -> Vec<rollmill_broker_client::AuditView> {
    let mut paged = Vec::new();
    let mut query = AuditQuery { before: None, limit: Some(limit) };
    loop {
        let page = lab.operator.audit(&query).await.unwrap();
        query.before = page.entries.last().map(|entry| entry.number);
        paged.extend(page.entries);
        if !page.more {
            return paged;
        }
    }
}

/// Goal: what the broker deletes by itself is in the record as well, once, and so is a request that is repeated.
#[tokio::test]
async fn what_the_retention_deletes_is_in_the_record() {
    let zero = Duration::ZERO;
    let retention = Retention { final_epochs: zero, grace: zero, ..Retention::default() };
    let schema = TestSchema::with(Rules { retention, ..Rules::default() }).await;
    let (store, tenant) = (schema.store().await, Tenant::default());
    for epoch in [7, 8] {
        store.open_epoch(&tenant, epoch).await.unwrap();
    }
    store.close_epoch(&tenant, 7, EpochOutcome::Final, None).await.unwrap();
    for _ in 0..2 {
        store.retire(false).await.unwrap();
        store.drop_epoch(&tenant, 8).await.unwrap();
    }
    let record = store.audit(None, &AuditQuery::default()).await.unwrap().entries;
    let dropped: Vec<&str> = record
        .iter()
        .filter(|entry| (entry.by.as_str(), entry.action.as_str()) == ("broker", "drop epoch"))
        .map(|entry| entry.detail.as_str())
        .collect();
    assert_eq!(dropped, ["8", "7: final, and its time is over"]);
}

/// Goal: neither a change without its entry nor an entry without its change. Fault: the record cannot be written.
#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made() {
    let bench = Bench::new().await;
    let id = bench.ready_job(7, "leaf", 1).await.id;
    bench.sql("ALTER TABLE audit ADD CONSTRAINT full_disk CHECK (false) NOT VALID").await;
    let (tenant, store) = (&bench.tenant, &bench.store);
    store.cancel(tenant, std::slice::from_ref(&id)).await.unwrap_err();
    store.drop_epoch(tenant, 7).await.unwrap_err();
    store.add_token("t", Role::Reader, tenant).await.unwrap_err();
    let request = RejectRequest { id, result: digest(b"x"), reason: String::new() };
    store.reject(tenant, &request, 0.5).await.unwrap();
    assert_eq!(bench.only_job().await.state, JobState::Ready);
    assert!(store.tokens(None).await.unwrap().is_empty());
}
