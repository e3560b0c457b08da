//! Traces against a collector that takes them, one that is not there, one that does not answer, and without one.
//!
//! No test waits for a clock: each waits for spans, or for a limit of its own that cuts a wait short.

use std::time::Duration;

use prometheus::Registry;
use rollmill_net_testing::Authority;
use rollmill_service::traces::{SpanKind, Traceparent, span_id, trace_id};
use rollmill_service::{
    HttpLimits, HttpServer, Protection, Secret, Shutdown, Tls, TlsFiles, TraceSettings, Traces,
    listen, prometheus,
};
use rollmill_service_testing::{Collected, Collector, Silence};

/// Longer than any test takes: a limit that must not be what ends it.
const NEVER: Duration = Duration::from_secs(3600);
/// Spans that may wait in a process.
const QUEUE: u64 = 8192;

fn settings(url: &str) -> TraceSettings {
    TraceSettings { endpoint: Some(url.parse().unwrap()), headers: None }
}

fn started(url: &str) -> (Traces, Registry) {
    let registry = Registry::new();
    let traces = Traces::start("rollmill-test", &settings(url), &registry).unwrap();
    assert!(traces.is_on());
    (traces, registry)
}

/// The root of a trace that is recorded.
fn root() -> Traceparent {
    let trace = trace_id(&[b"a deployment", &7u64.to_be_bytes()]);
    Traceparent::new(trace, span_id(trace, &[b"epoch"]), true).unwrap()
}

/// Spans by outcome.
fn counted(registry: &Registry, outcome: &str) -> u64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == "rollmill_trace_spans_total");
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    let is_it = |metric: &&prometheus::proto::Metric| {
        metric.get_label().iter().any(|label| label.value() == outcome)
    };
    metrics.iter().find(is_it).map_or(0, |metric| metric.get_counter().get_value() as u64)
}

fn named<'a>(spans: &'a [Collected], name: &str) -> &'a Collected {
    spans.iter().find(|span| span.name == name).unwrap()
}

#[tokio::test]
async fn spans_arrive_below_their_parents_and_say_how_they_ended() {
    let collector = Collector::start().await;
    let (traces, registry) = started(collector.url());
    let root = root();
    let mut child = traces.below(Some(root), "child").of_kind(SpanKind::Client);
    child.set("rollmill.block", 3_i64);
    child.set("rollmill.job", "7:leaf:00".to_owned());
    let below = child.within(async { traces.here("failed") }).await;
    below.end_with(Some("AGT-001"));
    drop(traces.below(child.context(), "dropped"));
    traces.below(child.context(), "discarded").discard();
    let context = child.context().unwrap();
    child.end();
    traces.known(root, None, "epoch").end();
    let unsampled = Traceparent::new(root.trace(), 1, false);
    traces.below(unsampled, "not sampled").end();
    traces.below(None, "without a trace").end();
    traces.end(NEVER).await;
    let spans = collector.until(|spans| spans.len() >= 4).await;
    assert_eq!(spans.len(), 4, "{spans:#?}");
    assert_eq!((counted(&registry, "sent"), counted(&registry, "failed")), (4, 0));
    for span in &spans {
        assert_eq!((span.trace, span.service.as_str()), (root.trace(), "rollmill-test"));
        assert!(span.start > 0 && span.start <= span.end, "{span:?}");
    }
    let epoch = named(&spans, "epoch");
    assert_eq!((epoch.span, epoch.parent, epoch.error.as_str()), (root.span(), 0, ""));
    let child = named(&spans, "child");
    assert_eq!((child.span, child.parent), (context.span(), root.span()));
    assert_eq!(child.attribute("rollmill.block"), "3");
    assert_eq!(child.attribute("rollmill.job"), "7:leaf:00");
    let failed = named(&spans, "failed");
    assert_eq!((failed.parent, failed.error.as_str()), (context.span(), "AGT-001"));
    assert_eq!(failed.attribute("error.type"), "AGT-001");
    assert_eq!(named(&spans, "dropped").error, "cancelled");
}

/// Attack: the token for the collector is shown. It goes into the header, and nowhere else.
#[tokio::test]
async fn the_collectors_token_goes_into_its_header() {
    let collector = Collector::start().await;
    let headers = Some(Secret::generated("authorization=Bearer planted"));
    let settings = TraceSettings { headers, ..settings(collector.url()) };
    let traces = Traces::start("rollmill-test", &settings, &Registry::new()).unwrap();
    assert!(!format!("{traces:?} {settings:?}").contains("planted"));
    traces.known(root(), None, "epoch").end();
    traces.end(NEVER).await;
    let spans = collector.until(|spans| !spans.is_empty()).await;
    assert_eq!(collector.header("authorization").as_deref(), Some("Bearer planted"));
    assert_eq!(collector.header("content-type").as_deref(), Some("application/x-protobuf"));
    assert!(!format!("{spans:?}").contains("planted"));
}

/// Fault: nothing listens where the collector should be, or something else does.
#[tokio::test]
async fn spans_that_no_collector_takes_are_counted() {
    let other = Collector::start().await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for url in [gone, format!("{}/elsewhere", other.url())] {
        let (traces, registry) = started(&url);
        for _ in 0..3 {
            traces.below(Some(root()), "work").end();
        }
        traces.end(NEVER).await;
        assert_eq!((counted(&registry, "failed"), counted(&registry, "sent")), (3, 0), "{url}");
    }
    assert!(other.spans().is_empty());
}

/// Fault: the collector takes connections and never answers. Spans beyond the queue are dropped and counted, whoever
/// ends them waits for nothing, and the process ends when its time is over.
#[tokio::test]
async fn a_collector_that_does_not_answer_delays_nothing() {
    let silence = Silence::start().await;
    let (traces, registry) = started(silence.url());
    for _ in 0..QUEUE + 10 {
        traces.below(Some(root()), "work").end();
    }
    assert_eq!(counted(&registry, "dropped"), 10);
    silence.asked().await;
    traces.end(Duration::from_millis(1)).await;
    assert_eq!(counted(&registry, "sent"), 0);
    // Later ones go nowhere, and harm nobody.
    traces.below(Some(root()), "late").end();
}

#[tokio::test]
async fn without_a_collector_nothing_is_started() {
    let registry = Registry::new();
    let traces = Traces::start("rollmill-test", &TraceSettings::default(), &registry).unwrap();
    assert!(!traces.is_on());
    assert!(registry.gather().is_empty());
    let span = traces.below(Some(root()), "work");
    assert_eq!((span.context(), span.is_recorded()), (Some(root()), false));
}

/// Goal: the collector is checked as every server is, by the authorities of the process's settings.
#[tokio::test]
async fn a_collector_is_trusted_as_other_servers_are() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let signed = ours.sign("collector", &["localhost"]);
    let (cert, key) = (Some(signed.cert), Some(signed.key));
    let protection = Protection { table: "test.", cert, key, client_ca: None, hosts: Vec::new() };
    let registry = Registry::new();
    let limits = HttpLimits { handshake: NEVER, idle: NEVER, ..HttpLimits::default() };
    let server = HttpServer::open("test", "127.0.0.1:0", limits, &protection, &registry).unwrap();
    let listener = listen("127.0.0.1:0", "--listen").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (collector, shutdown) = (Collector::start().await, Shutdown::new());
    let serving = tokio::spawn(server.serve(listener, collector.router(), shutdown.clone()));
    for (authority, outcome) in [(&other, "failed"), (&ours, "sent")] {
        let registry = Registry::new();
        let tls = Tls::open(TlsFiles { ca: Some(authority.file()), identity: None }).unwrap();
        let traces = Traces::with_tls("rollmill-test", &settings(&url), &registry, &tls).unwrap();
        traces.known(root(), None, "epoch").end();
        traces.end(NEVER).await;
        assert_eq!(counted(&registry, outcome), 1, "{outcome}");
    }
    assert_eq!(collector.spans().len(), 1);
    shutdown.start();
    serving.await.unwrap().unwrap();
}
