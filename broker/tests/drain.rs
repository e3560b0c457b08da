//! Agents that are asked to leave: what they get, what they are told, and by which replica.

use std::time::Duration;

use crate::identity::{Lab, claim, often, once, session, soon};
use crate::support::{Bench, agent};
use rollmill_broker::store::{Match, Role};
use rollmill_broker_client::{
    AuditQuery, ClaimRequest, ClaimResponse, Client, CompleteRequest, HeartbeatRequest,
    Installation, SessionId,
};
use rollmill_broker_testing::TestBroker;

fn gauge(broker: &TestBroker, name: &str, state: Option<&str>) -> f64 {
    let families = broker.metrics.gather();
    let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
    let is_it = |metric: &&rollmill_service::prometheus::proto::Metric| {
        let mut labels = metric.get_label().iter();
        state.is_none_or(|state| labels.any(|label| label.value() == state))
    };
    family.get_metric().iter().filter(is_it).map(|metric| metric.get_gauge().get_value()).sum()
}

/// A client of the one agent `gpu` at the lab's broker, and one at another replica.
async fn gpu(lab: &Lab, other: &TestBroker) -> [Client; 2] {
    let secret = lab.operator.add_token(&often("gpu", Role::Agent)).await.unwrap();
    let clients = [&lab.broker, other].map(|broker| once(broker, &secret.token));
    for client in &clients {
        soon(async || client.status().await.is_ok()).await;
    }
    clients
}

async fn asks(client: &Client, session: Option<&SessionId>) -> ClaimResponse {
    let request = ClaimRequest { session: session.cloned(), ..claim("x") };
    client.claim_or_leave(&request).await.unwrap()
}

/// Goal: from the request on the agent gets nothing, at every replica, and keeps what it has. It is told who asked. Taken
/// back, it gets jobs again. The record has each change once.
#[tokio::test]
async fn an_agent_that_is_asked_to_leave_gets_nothing_more_and_keeps_what_it_has() {
    let lab = Lab::new().await;
    let other = lab.schema.broker().await;
    let [gpu, there] = gpu(&lab, &other).await;
    lab.ready("a").await;
    lab.ready("b").await;
    let held = asks(&gpu, None).await;
    assert_eq!((held.drain, held.drain_by), (false, None));
    let held = held.grant.unwrap();

    assert!(!lab.operator.drain(&agent("nobody"), false).await.unwrap());
    for _ in 0..2 {
        assert!(lab.operator.drain(&agent("gpu"), false).await.unwrap());
    }
    let told = asks(&gpu, None).await;
    assert_eq!((told.grant, told.drain, told.drain_by.as_deref()), (None, true, Some("me")));
    let beat = HeartbeatRequest { agent: agent("x"), leases: vec![held.lease()] };
    let told = gpu.heartbeat(&beat).await.unwrap();
    assert_eq!((told.cancel, told.drain, told.drain_by.as_deref()), (vec![], true, Some("me")));
    // The other replica knows it a second later, and grants nothing before.
    soon(async || {
        let answer = asks(&there, None).await;
        assert_eq!(answer.grant, None);
        answer.drain
    })
    .await;
    assert!(there.heartbeat(&beat).await.unwrap().drain);
    let seen = lab.operator.status().await.unwrap().agents.remove(0);
    assert_eq!((seen.leases, seen.draining_by.as_deref()), (1, Some("me")));
    let result = gpu.put_artifact(7, b"proof".to_vec()).await.unwrap();
    gpu.complete(&CompleteRequest::new(agent("x"), held.lease(), result)).await.unwrap();

    for _ in 0..2 {
        assert!(lab.operator.drain(&agent("gpu"), true).await.unwrap());
    }
    // At the other replica at once, which looks at the row before it tells anybody.
    assert!(!there.heartbeat(&beat).await.unwrap().drain);
    soon(async || asks(&there, None).await.grant.is_some()).await;
    let record = lab.operator.audit(&AuditQuery::default()).await.unwrap().entries;
    let drains: Vec<_> = record
        .iter()
        .rev()
        .filter(|entry| entry.action.contains("drain"))
        .map(|entry| (entry.by.as_str(), entry.action.as_str(), entry.detail.as_str()))
        .collect();
    assert_eq!(drains, [("me", "drain", "gpu"), ("me", "undo drain", "gpu")]);
}

/// Goal: an agent that waits for a job hears at once that it is to leave, wherever it waits.
#[tokio::test]
async fn an_agent_that_waits_for_a_job_is_told_while_it_waits() {
    let lab = Lab::new().await;
    let other = lab.schema.broker().await;
    let clients = gpu(&lab, &other).await;
    for (broker, gpu) in [&lab.broker, &other].into_iter().zip(clients) {
        let waiting = tokio::spawn(async move {
            let request = ClaimRequest { wait_ms: 30_000, ..claim("x") };
            gpu.claim_or_leave(&request).await.unwrap()
        });
        let waits = "rollmill_broker_waiting_agents";
        soon(async || gauge(broker, waits, None) > 0.5).await;
        lab.operator.drain(&agent("gpu"), false).await.unwrap();
        // Half of the time for which it would have waited.
        let told = tokio::time::timeout(Duration::from_secs(15), waiting).await;
        assert!(told.expect("it is woken").unwrap().drain);
        lab.operator.drain(&agent("gpu"), true).await.unwrap();
    }
}

/// Goal: whoever starts an agent again wants it to work, whatever was asked of the one before. A process that only opens
/// another session is the same one.
#[tokio::test]
async fn a_new_start_is_free_and_a_new_session_of_the_same_process_is_not() {
    let lab = Lab::new().await;
    let other = lab.schema.broker().await;
    let [gpu, there] = gpu(&lab, &other).await;
    let here = Installation::random();
    let open =
        async |replaces| gpu.open_session(&session("x", &here, replaces)).await.unwrap().session;
    let first = open(None).await;
    lab.operator.drain(&agent("gpu"), false).await.unwrap();
    let second = open(Some(first)).await;
    soon(async || asks(&there, Some(&second)).await.drain).await;
    assert!(asks(&gpu, Some(&second)).await.drain);
    // The other replica has read that it is to leave, and looks again before it says so.
    let third = open(None).await;
    lab.ready("a").await;
    soon(async || {
        let answer = asks(&there, Some(&third)).await;
        assert!(!answer.drain);
        answer.grant.is_some()
    })
    .await;
    assert!(!asks(&gpu, Some(&third)).await.drain);
}

/// Goal: whoever counts agents counts on none that leaves.
#[tokio::test]
async fn an_agent_that_leaves_is_counted_apart() {
    const AGENTS: &str = "rollmill_broker_agents";
    let lab = Lab::new().await;
    let gpu = lab.add("gpu", Role::Agent).await;
    let live = async |wanted: u64| {
        soon(async || {
            asks(&gpu, None).await;
            lab.operator.autoscale().await.unwrap().live == wanted
        })
        .await;
    };
    live(1).await;
    lab.operator.drain(&agent("gpu"), false).await.unwrap();
    live(0).await;
    soon(async || gauge(&lab.broker, AGENTS, Some("draining")) > 0.5).await;
    soon(async || gauge(&lab.broker, AGENTS, Some("live")) < 0.5).await;
    assert!(lab.operator.autoscale().await.unwrap().removable.is_empty());
    lab.operator.drain(&agent("gpu"), true).await.unwrap();
    live(1).await;
    soon(async || gauge(&lab.broker, AGENTS, Some("draining")) < 0.5).await;
}

/// Goal: a job does not wait for an agent that leaves, where everybody else is excluded from it.
#[tokio::test]
async fn exclusions_that_leave_only_an_agent_that_leaves_are_forgiven() {
    let bench = Bench::new().await;
    bench.ready_job(7, "leaf", 1).await;
    for name in ["a", "b"] {
        bench.store.admit(&bench.tenant, &claim(name)).await.unwrap();
    }
    bench.sql("UPDATE job SET excluded_agents = '{a}'").await;
    let forgiven = async || {
        bench.store.forgive().await.unwrap();
        bench.sql("UPDATE job SET stuck_at = stuck_at - interval '30 days'").await;
        bench.store.forgive().await.unwrap().len()
    };
    assert_eq!(forgiven().await, 0, "b can do it");
    bench.store.drain(&bench.tenant, &agent("b"), false).await.unwrap();
    assert_eq!(forgiven().await, 1);
    // Nor does a replica that has chosen it lease anything to it.
    let seq = bench.peek().await[0].seq;
    let chosen = |name: &str| [Match { seq, agent: agent(name) }];
    assert!(bench.store.claim(&chosen("b")).await.unwrap().is_empty());
    assert_eq!(bench.store.claim(&chosen("a")).await.unwrap().len(), 1);
}
