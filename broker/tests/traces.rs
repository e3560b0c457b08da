//! The broker's spans, as a collector gets them.

use rollmill_broker::Config;
use rollmill_broker::store::{Role, Tenant};
use rollmill_broker_client::{
    Client, CompleteRequest, Grant, LeaseRef, NewJob, Options, TRACEPARENT_LABEL,
};
use rollmill_broker_testing::TestSchema;
use rollmill_service::TraceSettings;
use rollmill_service::traces::Traceparent;
use rollmill_service_testing::{Collected, Collector};

use crate::support::{agent, capability, job};

fn traced(collector: &Collector) -> Config {
    let endpoint = Some(collector.url().parse().unwrap());
    Config { traces: TraceSettings { endpoint, headers: None }, ..Config::default() }
}

fn span(trace: u128, span: u64) -> Traceparent {
    Traceparent::new(trace, span, true).unwrap()
}

/// Enqueues a job whose label is `label`, and claims it.
async fn lease(client: &Client, input: &[u8], label: Option<&str>) -> (NewJob, Grant) {
    let input = client.put_artifact(7, input.to_vec()).await.unwrap();
    let mut job = job(7, "leaf", input);
    job.labels.extend(label.map(|label| (TRACEPARENT_LABEL.to_owned(), label.to_owned())));
    client.enqueue(vec![job.clone()]).await.unwrap();
    let request = rollmill_broker_client::ClaimRequest::new(agent("a"), vec![capability("leaf")]);
    let grant = client.claim(&request).await.unwrap().unwrap();
    assert_eq!(grant.job, job.id);
    (job, grant)
}

fn named<'a>(spans: &'a [Collected], name: &str) -> Vec<&'a Collected> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Goal: the spans of a job are below that of its label, whichever request they come from, and those of a request
/// below the one that its header names.
#[tokio::test]
async fn a_jobs_spans_are_below_its_own_and_a_requests_below_its_senders() {
    let collector = Collector::start().await;
    let schema = TestSchema::new().await;
    let broker = schema.broker_with(traced(&collector)).await;
    let client = broker.client();
    let (of_job, of_report) = (span(1, 2), span(1, 3));
    let label = of_job.to_string();
    let (job, grant) = lease(&client, b"input", Some(&label)).await;
    assert_eq!(grant.traceparent.as_deref(), Some(label.as_str()));
    let result = client.put_artifact(7, b"proof".to_vec()).await.unwrap();
    let lease = LeaseRef { job: grant.job, lease_epoch: grant.lease_epoch };
    let complete = CompleteRequest::new(agent("a"), lease, result);
    of_report.scope(client.complete(&complete)).await.unwrap();
    of_report
        .scope(client.get_artifact(&rollmill_broker_client::Digest::of(b"none")))
        .await
        .unwrap_err();
    broker.stop().await;

    let spans = collector.until(|spans| spans.len() >= 4).await;
    assert_eq!(spans.len(), 4, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace == 1 && span.service == "rollmill-broker"));
    for name in ["enqueue", "claim"] {
        let found = named(&spans, name);
        assert_eq!((found.len(), found[0].parent, found[0].error.as_str()), (1, 2, ""), "{name}");
        assert_eq!(found[0].attribute("rollmill.job"), job.id.as_str());
        assert_eq!(found[0].attribute("rollmill.tenant"), "default");
    }
    assert_eq!(named(&spans, "claim")[0].attribute("rollmill.agent"), "a");
    let complete = named(&spans, "POST /v1/complete");
    assert_eq!(
        (complete[0].parent, complete[0].attribute("http.response.status_code")),
        (3, "200")
    );
    let get = named(&spans, "GET /v1/artifacts/{digest}");
    assert_eq!((get[0].parent, get[0].error.as_str()), (3, "BRK-014"));
}

/// Attack: labels and headers that are no trace, and requests of those who may not make them.
#[tokio::test]
async fn nothing_else_leaves_a_span() {
    let collector = Collector::start().await;
    let schema = TestSchema::new().await;
    let (store, tenant) = (schema.store().await, Tenant::default());
    let token = store.add_token("me", Role::Operator, &tenant).await.unwrap();
    let broker = schema.broker_with(traced(&collector)).await;
    let client = broker.client_with(Some(&token));
    let zero = "00-00000000000000000000000000000000-0000000000000001-01";
    for (input, label) in [(b"1", None), (b"2", Some("nonsense")), (b"3", Some(zero))] {
        let (_, grant) = lease(&client, input, label).await;
        assert_eq!(grant.traceparent, None, "{label:?}");
    }
    // Not recorded by the one that started it, and so by nobody; agents learn that.
    let unsampled = Traceparent::new(1, 2, false).unwrap().to_string();
    let (_, grant) = lease(&client, b"4", Some(&unsampled)).await;
    assert_eq!(grant.traceparent, Some(unsampled));
    let stranger = Client::new(
        &rollmill_broker::url_of(broker.address),
        Some("planted"),
        Options { patience: std::time::Duration::ZERO, ..Options::default() },
    );
    let stranger = stranger.unwrap();
    span(1, 2).scope(stranger.status()).await.unwrap_err();
    // One that does, so that the test knows that all were sent.
    span(1, 2).scope(client.status()).await.unwrap();
    broker.stop().await;
    let spans = collector.until(|spans| !spans.is_empty()).await;
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].name, "GET /v1/status");
    assert!(!format!("{spans:?}").contains("planted"));
}

/// Goal: another deployment's producer, or a prover node that restarted, enqueues a known job again, and with the
/// same label no row is written.
#[tokio::test]
async fn a_job_that_is_enqueued_again_stays_in_its_trace() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let client = broker.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let mut job = job(7, "leaf", input);
    job.labels.insert(TRACEPARENT_LABEL.to_owned(), span(1, 2).to_string());
    let version = || async {
        let rows = sqlx::query_scalar::<_, String>("SELECT xmin::text FROM job");
        rows.fetch_one(schema.store().await.pool()).await.unwrap()
    };
    client.enqueue(vec![job.clone()]).await.unwrap();
    let first = version().await;
    let views = client.enqueue(vec![job.clone()]).await.unwrap();
    assert_eq!((version().await, &views[0].labels), (first, &job.labels));
    broker.stop().await;
}
