//! An agent's spans, as a collector gets them, at a broker that records none itself.

use std::sync::Arc;
use std::time::Duration;

use rollmill_agent::{Agent, Config};
use rollmill_broker_client::{Client, JobState, JobView, NewJob, TRACEPARENT_LABEL};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::traces::Traceparent;
use rollmill_service::{Process, TraceSettings, Traces};
use rollmill_service_testing::{Collected, Collector, Silence};

use crate::worker::Reversing;

const WAIT: Duration = Duration::from_secs(30);

fn traces(url: Option<&str>) -> TraceSettings {
    TraceSettings { endpoint: url.map(|url| url.parse().unwrap()), headers: None }
}

/// Runs an agent until the job is done, and its last spans for at most `limit`. Its job is labelled as `span`.
async fn prove(
    broker: &TestBroker,
    settings: TraceSettings,
    (input, span): (&[u8], Option<Traceparent>),
    limit: Duration,
) -> JobView {
    let client = broker.client();
    let digest = client.put_artifact(7, input.to_vec()).await.unwrap();
    let mut job = NewJob::new(7, &"leaf".parse().unwrap(), "v1".parse().unwrap(), digest);
    job.labels.extend(span.map(|span| (TRACEPARENT_LABEL.to_owned(), span.to_string())));
    client.enqueue(vec![job.clone()]).await.unwrap();
    let config = Config {
        broker: rollmill_broker::url_of(broker.address),
        name: Some("a".parse().unwrap()),
        ..Config::default()
    };
    let mut process = Process::new("agent", config);
    process.traces = Traces::start("rollmill-agent", &settings, &process.metrics).unwrap();
    let (shutdown, traces) = (process.shutdown.clone(), process.traces.clone());
    let agent = Agent::new(&process, Arc::new(Reversing::default())).unwrap();
    let task = tokio::spawn(async move { agent.serve(&process.shutdown).await });
    let view = finished(&client, &job).await;
    shutdown.start();
    task.await.unwrap().unwrap();
    traces.end(limit).await;
    view
}

async fn finished(client: &Client, job: &NewJob) -> JobView {
    let mut jobs = client.wait(std::slice::from_ref(&job.id), WAIT).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1, "{} is not final in time", job.id);
    jobs.remove(0)
}

fn named<'a>(spans: &'a [Collected], name: &str) -> &'a Collected {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_does_for_a_job_is_below_the_jobs_span() {
    let collector = Collector::start().await;
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let job = Traceparent::new(1, 2, true);
    let view = prove(&broker, traces(Some(collector.url())), (b"input", job), WAIT).await;
    assert_eq!(view.state, JobState::Done);
    let spans = collector.until(|spans| spans.len() >= 8).await;
    assert_eq!(spans.len(), 8, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace == 1 && span.service == "rollmill-agent"));
    let attempt = named(&spans, "attempt");
    assert_eq!((attempt.parent, attempt.error.as_str()), (2, ""));
    assert_eq!(attempt.attribute("rollmill.job"), view.id.as_str());
    assert_eq!(attempt.attribute("rollmill.agent"), "a");
    assert_eq!(attempt.attribute("rollmill.outcome"), "completed");
    let mut before = attempt.start;
    for name in ["fetch", "witness", "wait for device", "prove", "verify", "upload", "report"] {
        let stage = named(&spans, name);
        assert_eq!((stage.parent, stage.error.as_str()), (attempt.span, ""), "{name}");
        assert!(stage.start >= before && stage.end <= attempt.end, "{name}: {spans:#?}");
        before = stage.start;
    }
    broker.stop().await;
}

/// Fault: the collector does not answer. Attack: a label that is no trace. A job without a trace leaves no span.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_done_whatever_their_trace_and_its_collector() {
    let (collector, silence) = (Collector::start().await, Silence::start().await);
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let none = Duration::from_millis(1);
    let settings = [traces(None), traces(Some(silence.url())), traces(Some(collector.url()))];
    for (n, settings) in settings.into_iter().enumerate() {
        let job = Traceparent::new(1, 2, true).filter(|_| n < 2);
        let limit = if n < 2 { none } else { WAIT };
        let view = prove(&broker, settings, (&[u8::try_from(n).unwrap()], job), limit).await;
        assert_eq!(view.state, JobState::Done, "{n}");
    }
    assert!(collector.spans().is_empty());
    broker.stop().await;
}
