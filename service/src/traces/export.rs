//! The way of spans to the collector: OpenTelemetry's batch processor and OTLP exporter over this workspace's HTTP
//! client.
//!
//! The processor has a thread of its own. The HTTP client needs the runtime of the process, so requests are tasks
//! there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, SpanData,
    SpanEvents, SpanExporter, SpanLinks, SpanProcessor as _,
};
use parking_lot::Mutex;
use prometheus::Registry;
use rollmill_net::{Outage, Tls, Unreachable};
use tokio::runtime::Handle;

use super::settings::{Plan, Sampling};
use super::{Record, Traceparent};
use crate::Error;

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for a request.
const REQUEST: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read. It is empty, or says in a few words which spans were not taken.
const ANSWER_BYTES_MAX: usize = 64 << 10;

crate::metrics! {
    /// The spans of a process.
    pub(crate) struct TraceMetrics: "rollmill_trace_" {
        /// Spans that ended: taken by the collector, not taken, or dropped since too many waited. Exists only if
        /// traces are on.
        spans_total: IntCounterVec[outcome in ["sent", "failed", "dropped"]],
    }
}

/// The metrics of traces.
pub(crate) fn declared() -> Vec<crate::metrics::Declared> {
    TraceMetrics::declared()
}

/// Takes spans that have ended.
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    counts: Arc<Counts>,
    sampling: Sampling,
    scope: InstrumentationScope,
    ids: RandomIdGenerator,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Starts the processor. Nothing is sent yet.
    pub(super) fn open(
        plan: Plan,
        program: &str,
        registry: &Registry,
        tls: &Tls,
    ) -> Result<Self, Error> {
        let runtime = |source| Error::Runtime { source };
        let metrics =
            TraceMetrics::new(registry).map_err(|source| runtime(std::io::Error::other(source)))?;
        let counts = Arc::new(Counts {
            metrics,
            waiting: AtomicUsize::new(0),
            most: plan.queue,
            outage: Outage::default(),
            failure: Mutex::default(),
        });
        let http = tls
            .http_client()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            // A redirect would carry the headers to another server.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|source| runtime(std::io::Error::other(source)))?;
        let sender = Sender {
            http,
            runtime: Handle::current(),
            origin: plan.origin.clone(),
            counts: Arc::clone(&counts),
        };
        let otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(plan.url)
            .with_headers(plan.headers)
            .with_http_client(sender)
            .build()
            .map_err(|error| Error::Setting { message: format!("traces: {error}") })?;
        let exporter = Counted { otlp, counts: Arc::clone(&counts) };
        let config = BatchConfigBuilder::default().with_max_queue_size(plan.queue).build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        processor.set_resource(&resource(program, plan.service));
        tracing::info!(url = plan.origin, "traces enabled");
        let version = env!("CARGO_PKG_VERSION");
        Ok(Self {
            processor,
            counts,
            sampling: plan.sampling,
            scope: InstrumentationScope::builder("rollmill").with_version(version).build(),
            ids: RandomIdGenerator::default(),
        })
    }

    pub(super) fn samples(&self, trace: u128, parent: Option<bool>) -> bool {
        self.sampling.takes(trace, parent)
    }

    pub(super) fn new_span_id(&self) -> u64 {
        u64::from_be_bytes(self.ids.new_span_id().to_bytes()).max(1)
    }

    /// Takes a span that ends now, or drops it.
    pub(super) fn export(&self, record: Record) {
        if !self.counts.has_place() {
            return;
        }
        let Record { context, parent, name, kind, start, end, attributes, status } = record;
        self.processor.on_end(SpanData {
            span_context: span_context(&context),
            parent_span_id: SpanId::from_bytes(parent.map_or([0; 8], |p| p.span().to_be_bytes())),
            parent_span_is_remote: matches!(kind, SpanKind::Server | SpanKind::Consumer),
            span_kind: kind,
            name,
            start_time: start,
            end_time: end.unwrap_or_else(SystemTime::now).max(start),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Sends what waits, for `limit` at most; returns whether everything was handed to the exporter. Blocks.
    pub(super) fn end(&self, limit: Duration) -> bool {
        self.processor.shutdown_with_timeout(limit).is_ok()
    }
}

fn span_context(of: &Traceparent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(of.trace().to_be_bytes()),
        SpanId::from_bytes(of.span().to_be_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

/// What describes the process. OTEL_RESOURCE_ATTRIBUTES counts more than the program's own words, and
/// OTEL_SERVICE_NAME more than both.
fn resource(program: &str, service: Option<String>) -> Resource {
    let own = [
        KeyValue::new("service.name", program.to_owned()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let resource = Resource::builder_empty()
        .with_attributes(own)
        .with_detector(Box::new(EnvResourceDetector::new()));
    match service {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// How many spans wait, and how the last requests ended.
#[derive(Debug)]
struct Counts {
    metrics: TraceMetrics,
    waiting: AtomicUsize,
    most: usize,
    outage: Outage,
    /// Why the last request failed.
    failure: Mutex<Option<String>>,
}

impl Counts {
    fn count(&self, outcome: &str, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        self.metrics.spans_total.with_label_values(&[outcome]).inc_by(spans);
    }

    /// Takes a place for one more span; counts it as dropped where there is none.
    fn has_place(&self) -> bool {
        let is_free = self.waiting.fetch_add(1, Ordering::Relaxed) < self.most;
        if !is_free {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.count("dropped", 1);
        }
        is_free
    }

    /// A batch has left the queue, one way or the other.
    fn ended(&self, spans: usize, result: &OTelSdkResult) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        match result {
            Ok(()) => {
                self.count("sent", spans);
                if let Some(wait_seconds) = self.outage.ended() {
                    tracing::info!(wait_seconds, "traces sent again");
                }
            }
            Err(error) => {
                self.count("failed", spans);
                let failure = self.failure.lock().take();
                if let Some(repeated) = self.outage.failed() {
                    let error = failure.unwrap_or_else(|| error.to_string());
                    tracing::warn!(error, repeated, "traces not sent");
                }
            }
        }
    }
}

/// The exporter, with its batches counted.
#[derive(Debug)]
struct Counted {
    otlp: opentelemetry_otlp::SpanExporter,
    counts: Arc<Counts>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.otlp.export(batch).await;
        self.counts.ended(spans, &result);
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

/// Sends requests from a thread without a runtime.
#[derive(Debug)]
struct Sender {
    http: reqwest::Client,
    runtime: Handle,
    origin: String,
    counts: Arc<Counts>,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let failed = |why: String| *self.counts.failure.lock() = Some(why);
        match self.runtime.spawn(post(self.http.clone(), request)).await? {
            Ok(response) => {
                if !response.status().is_success() {
                    failed(format!("{} answers HTTP {}", self.origin, response.status().as_u16()));
                }
                Ok(response)
            }
            Err(error) => {
                let unreachable = Unreachable::new(&self.origin, error).to_string();
                failed(unreachable.clone());
                Err(unreachable.into())
            }
        }
    }
}

/// Sends a request, and reads the beginning of the answer.
async fn post(
    http: reqwest::Client,
    request: reqwest::Request,
) -> Result<Response<Bytes>, reqwest::Error> {
    let mut response = http.execute(request).await?;
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Some(part) = response.chunk().await?
    {
        body.extend_from_slice(&part);
    }
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    Ok(answer)
}
