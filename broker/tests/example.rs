//! The example does what it says, on a real Postgres: a stranger starts from it.

#[path = "../examples/producer.rs"]
#[allow(dead_code, unreachable_pub)] // The example's own `main`, and what it shows.
mod producer;

use std::time::Duration;

use rollmill_broker_client::{
    Capability, ClaimRequest, CompleteRequest, Digest, LeaseRef, SizeClass,
};
use rollmill_broker_testing::TestSchema;

const PATIENCE: Duration = Duration::from_secs(60);

/// Goal: jobs are done and checked, and a producer that runs again has its results at once.
#[tokio::test]
async fn the_producer_gets_its_results_and_runs_again_without_an_agent() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let inputs = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let agent = tokio::spawn({
        let client = client.clone();
        async move { producer::work(&client, "agent", 3).await.map_err(|error| error.to_string()) }
    });
    let first = producer::produce(&client, &inputs, PATIENCE).await.expect("done");
    agent.await.expect("no panic").expect("the agent did its jobs");
    let expected: Vec<_> =
        inputs.iter().map(|input| Digest::of(input).to_string().into_bytes()).collect();
    assert_eq!(first, expected);
    let again = producer::produce(&client, &inputs, PATIENCE).await.expect("done before");
    assert_eq!(again, expected);
    broker.stop().await;
}

/// Goal: a wrong result is rejected and the job done by another agent.
#[tokio::test]
async fn a_wrong_result_is_rejected_and_another_agent_does_the_job() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let liar = {
        let client = client.clone();
        async move {
            let request = ClaimRequest {
                agent: "liar".parse().expect("a name"),
                capabilities: vec![Capability {
                    kind: "sha256".parse().expect("a type"),
                    version: "1".parse().expect("a version"),
                }],
                class: SizeClass::SMALLEST,
                wait_ms: 20_000,
                info: serde_json::Value::Null,
            };
            let grant = client.claim(&request).await.expect("asked").expect("a job");
            let lease = LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch };
            let result = client.put_artifact(1, b"a lie".to_vec()).await.expect("stored");
            let stats = serde_json::Value::Null;
            let agent = request.agent;
            let request = CompleteRequest { agent, lease, result, stats };
            client.complete(&request).await.expect("reported");
            // Only now does an honest agent come.
            producer::work(&client, "honest", 1).await.expect("done");
        }
    };
    let inputs = [b"one".to_vec()];
    let (results, ()) = tokio::join!(producer::produce(&client, &inputs, PATIENCE), liar);
    assert_eq!(results.expect("done"), [Digest::of(b"one").to_string().into_bytes()]);
    broker.stop().await;
}
