//! What a broker says of the agents that it needs, over HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{self, Bench, agent, capability, job};
use rollmill_broker::store::Tenant;
use rollmill_broker_client::{ClaimRequest, CompleteRequest, NewJob, SizeClass};
use rollmill_broker_testing::TestSchema;

/// Goal: agents wanted, the end of an epoch and its risk follow from what is enqueued, what jobs took and who is there.
#[tokio::test]
async fn wanted_agents_and_the_risk_of_an_epoch_follow_from_its_deadline() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut jobs = Vec::new();
    for input in 0..6_u8 {
        let digest = client.put_artifact(3, vec![input]).await.unwrap();
        let mut job = job(3, "leaf", digest);
        // Within the minute that L1 takes: no number of agents is enough.
        job.deadline_unix_seconds = Some(now + 50);
        jobs.push(job);
    }
    client.enqueue(jobs).await.unwrap();
    let counted = async {
        loop {
            let autoscale = client.autoscale().await.unwrap();
            if !autoscale.pools.is_empty() {
                return autoscale;
            }
        }
    };
    let autoscale = tokio::time::timeout(Duration::from_secs(60), counted).await.unwrap();
    let pool = &autoscale.pools[0];
    assert_eq!((pool.jobs, pool.wanted, pool.live, pool.measured), (6, 6, 0, false));
    assert_eq!(pool.kinds, ["leaf"]);
    let epochs = client.status().await.unwrap().epochs;
    assert_eq!((epochs[0].epoch, epochs[0].jobs, epochs[0].at_risk), (3, 6, true));
    assert_eq!(epochs[0].finish_in_seconds, None, "no agent is there");

    let asks = ClaimRequest {
        agent: agent("a"),
        capabilities: support::KINDS.map(capability).to_vec(),
        class: SizeClass::SMALLEST,
        wait_ms: 10_000,
        info: serde_json::Value::Null,
        session: None,
    };
    let grant = client.claim(&asks).await.unwrap().expect("a job is ready");
    let result = client.put_artifact(3, b"proof".to_vec()).await.unwrap();
    let complete = CompleteRequest::new(agent("a"), grant.lease(), result);
    client.complete(&complete).await.unwrap();
    let measured = async {
        loop {
            let autoscale = client.autoscale().await.unwrap();
            if autoscale.pools.iter().any(|pool| pool.measured) {
                return autoscale;
            }
        }
    };
    let autoscale = tokio::time::timeout(Duration::from_secs(60), measured).await.unwrap();
    assert_eq!((autoscale.live, autoscale.pools[0].live, autoscale.pools[0].jobs), (1, 1, 5));
    let epochs = client.status().await.unwrap().epochs;
    assert!(epochs[0].finish_in_seconds.is_some() && epochs[0].at_risk, "{epochs:?}");
    broker.stop().await;
}

/// Goal: an idle broker wants nobody.
#[tokio::test]
async fn without_jobs_no_agent_is_wanted() {
    let broker = TestSchema::new().await.broker().await;
    let autoscale = broker.client().autoscale().await.unwrap();
    assert_eq!((autoscale.wanted, autoscale.pools.len(), autoscale.removable.len()), (0, 0, 0));
    // Each class has its line all the same: an autoscaler finds its own.
    assert_eq!(autoscale.classes.len(), 4);
    assert!(autoscale.classes.iter().all(|class| class.wanted == 0 && class.live == 0));
    broker.stop().await;
}

/// Goal: an autoscaler of machines of one size reads what that size needs, over HTTP and as metrics. Method: a job of class 2,
/// an agent of class 1 and one of class 3.
#[tokio::test]
async fn agents_are_wanted_and_counted_by_size_class() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let class = |number| SizeClass::new(number).unwrap();
    for (name, number) in [("medium", 1), ("large", 3)] {
        let capabilities = vec![capability("root")];
        let asks =
            ClaimRequest { class: class(number), ..ClaimRequest::new(agent(name), capabilities) };
        assert!(client.claim(&ClaimRequest { wait_ms: 0, ..asks }).await.unwrap().is_none());
    }
    let digest = client.put_artifact(3, b"large".to_vec()).await.unwrap();
    let job = NewJob { class: class(2), ..job(3, "leaf", digest) };
    client.enqueue(vec![job]).await.unwrap();
    let counted = async {
        loop {
            let autoscale = client.autoscale().await.unwrap();
            if autoscale.wanted == 1 && autoscale.live == 2 {
                return autoscale;
            }
        }
    };
    let autoscale = tokio::time::timeout(Duration::from_secs(60), counted).await.unwrap();
    let classes: Vec<_> = autoscale
        .classes
        .iter()
        .map(|class| (class.class.number(), class.wanted, class.live))
        .collect();
    assert_eq!(classes, [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 0, 1)]);
    for (name, expected) in [
        ("rollmill_broker_agents_wanted", [0.0, 0.0, 1.0, 0.0]),
        ("rollmill_broker_live_agents", [0.0, 1.0, 0.0, 1.0]),
    ] {
        let shown = || {
            let families = broker.metrics.gather();
            let family = families.iter().find(|family| family.name() == name)?;
            // By label, so by class.
            let of = family.get_metric().iter().map(|metric| metric.get_gauge().get_value());
            Some(of.collect::<Vec<_>>())
        };
        while shown().is_none_or(|shown| shown != expected) {
            tokio::task::yield_now().await;
        }
    }
    broker.stop().await;
}

/// Goal: whoever holds a lease is known to be busy, whichever replica granted it, so that nobody is told to stop it.
#[tokio::test]
async fn an_agent_is_busy_while_it_holds_a_lease() {
    let bench = Bench::new().await;
    for rank in [1, 2] {
        bench.ready_job(7, "leaf", rank).await;
    }
    assert!(bench.store.busy_agents().await.unwrap().is_empty());
    let leases = [bench.lease("a").await, bench.lease("a").await];
    for lease in leases {
        let busy: Vec<_> = bench.store.busy_agents().await.unwrap().into_iter().collect();
        assert_eq!(busy, [(Tenant::default(), agent("a"))]);
        bench.release("a", &lease).await.unwrap();
    }
    assert!(bench.store.busy_agents().await.unwrap().is_empty());
}
