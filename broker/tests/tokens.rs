//! Tokens that end while something waits, that fail to be read, and of which none is left.

use crate::identity::{Lab, claim, code, label, often, once, soon};
use rollmill_broker::BrokerError;
use rollmill_broker::store::{Role, Tenant};
use rollmill_broker_client::{ClaimRequest, JobState, NewToken, Rotation, TokenState};
use rollmill_broker_testing::{TestBroker, TestSchema};

fn gauge(broker: &TestBroker, name: &str) -> f64 {
    let families = broker.metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric()[0].get_gauge().get_value()
}

/// Goal: a revoked token gets nothing more, not by a request either that waits since before. Fault: an agent that waits
/// for a job, whose token is revoked, and then there is a job.
#[tokio::test]
async fn a_token_that_is_revoked_while_it_waits_gets_no_job() {
    let lab = Lab::new().await;
    let gpu = lab.add("gpu", Role::Agent).await;
    let request = ClaimRequest { wait_ms: 30_000, ..claim("x") };
    let waiting = tokio::spawn(async move { gpu.claim(&request).await });
    let waits = "rollmill_broker_waiting_agents";
    soon(async || gauge(&lab.broker, waits) > 0.5).await;
    lab.operator.revoke_token(&label("gpu")).await.unwrap();
    assert_eq!(code(waiting.await.unwrap()), "BRK-023");
    soon(async || gauge(&lab.broker, waits) < 0.5).await;
    lab.ready("a").await;
    let jobs = lab.operator.list(&rollmill_broker_client::ListQuery::default()).await.unwrap();
    assert_eq!(jobs[0].state, JobState::Ready);
}

/// Fault: the last token has ended, and the broker starts again. It does not take everybody for an operator.
#[tokio::test]
async fn a_broker_whose_tokens_have_all_ended_stays_closed_when_it_starts_again() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let tenant = Tenant::default();
    store.add_token("only", Role::Operator, &tenant).await.unwrap();
    for end in ["revoked_at = now()", "revoked_at = NULL, expires_at = now()"] {
        let end = format!("UPDATE token SET {end}");
        sqlx::query(sqlx::AssertSqlSafe(end)).execute(store.pool()).await.unwrap();
        let broker = schema.broker().await;
        let error = broker.client().status().await.unwrap_err();
        assert_eq!(error.broker_code(), Some("BRK-023"));
        broker.stop().await;
    }
}

/// Fault: the tokens cannot be read at the moment when one is changed. The change is made, and its secret reaches who
/// asked for it: nobody could read it again.
#[tokio::test]
async fn a_secret_is_answered_although_the_tokens_cannot_be_read() {
    let lab = Lab::new().await;
    lab.add("viewer", Role::Reader).await;
    // Only who reads them all asks for this column.
    let damage = "ALTER TABLE token RENAME COLUMN suspended_at TO gone";
    sqlx::query(damage).execute(lab.store.pool()).await.unwrap();
    let added = lab.operator.add_token(&often("late", Role::Reader)).await.unwrap();
    let rotated = lab.operator.rotate_token(&label("viewer"), &Rotation::default()).await.unwrap();
    let repair = "ALTER TABLE token RENAME COLUMN gone TO suspended_at";
    sqlx::query(repair).execute(lab.store.pool()).await.unwrap();
    for secret in [added, rotated] {
        let client = once(&lab.broker, &secret.token);
        soon(async || client.status().await.is_ok()).await;
    }
}

/// Fault: a newer release, or somebody by hand, wrote rows of tokens that this release cannot read. Those tokens open
/// nothing and are reported; of the others a new one gets in and a revoked one does not.
#[tokio::test]
async fn a_token_that_cannot_be_read_stops_no_other() {
    let lab = Lab::new().await;
    let viewer = lab.add("viewer", Role::Reader).await;
    let mut newer = Vec::new();
    for (name, damage) in [
        ("role", "role = 'auditor'"),
        ("agent", "agent = 'a b'"),
        ("limit", "requests_per_second = -1"),
        ("hash", "hash = '\\x00'"),
    ] {
        newer.push(lab.add(name, Role::Reader).await);
        let damage = format!(
            "ALTER TABLE token DROP CONSTRAINT IF EXISTS token_role_check,
                               DROP CONSTRAINT IF EXISTS token_hash_check;
             UPDATE token SET {damage} WHERE label = '{name}'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(damage)).execute(lab.store.pool()).await.unwrap();
    }
    let unreadable = "rollmill_broker_unreadable_tokens";
    soon(async || gauge(&lab.broker, unreadable) > 3.5).await;
    for client in &newer {
        assert_eq!(code(client.status().await), "BRK-023");
    }
    let late = lab.add("late", Role::Reader).await;
    late.status().await.unwrap();
    lab.operator.revoke_token(&label("viewer")).await.unwrap();
    assert_eq!(code(viewer.status().await), "BRK-023");
    let repair = "UPDATE token SET role = 'reader', agent = NULL, requests_per_second = 1000
                  WHERE label IN ('role', 'agent', 'limit')";
    sqlx::query(repair).execute(lab.store.pool()).await.unwrap();
    soon(async || gauge(&lab.broker, unreadable) < 1.5).await;
    newer[0].status().await.unwrap();
}

/// Goal: nobody's entries in the record look like the broker's own.
#[tokio::test]
async fn a_label_that_stands_for_the_broker_is_rejected() {
    let store = TestSchema::new().await.store().await;
    for name in ["broker", "database", "loopback", "operator.token"] {
        let new = NewToken::new(name, Role::Operator);
        let error = store.create_token(&Tenant::default(), &new).await.unwrap_err();
        assert!(matches!(error, BrokerError::BadRequest { .. }), "{error}");
        assert!(error.to_string().contains("stand for the broker itself"), "{error}");
    }
}

/// Goal: what single cards of a farm do wrong over a long time does not suspend the token of all.
#[tokio::test]
async fn wrong_results_that_lie_days_apart_suspend_no_token() {
    let lab = Lab::new().await;
    let fleet = lab.add("farm", Role::Fleet).await;
    for n in 0..12 {
        lab.wrong(&fleet, &claim(&format!("name-{n}")), n).await;
        sqlx::query("UPDATE token SET rejected_at = rejected_at - interval '25 h'")
            .execute(lab.store.pool())
            .await
            .unwrap();
    }
    let view = lab.view("farm").await;
    assert_eq!((view.state, view.rejected), (TokenState::Valid, 1));
    fleet.claim(&claim("still")).await.unwrap();
}
