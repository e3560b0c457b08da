//! For tests of processes: a collector of traces, which takes OTLP over HTTP as a real one does and keeps the spans, and
//! a small disk.
//!
//! The functions panic where a test could not go on.

mod disk;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use disk::{MEANS, Means, SmallDisk};

/// Longest wait for something that comes at once.
const WAIT: Duration = Duration::from_secs(60);

/// A span as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected {
    /// Name of the service that sent it.
    pub service: String,
    pub name: String,
    pub trace: u128,
    pub span: u64,
    /// 0 without one.
    pub parent: u64,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    /// Description of an error; empty without one.
    pub error: String,
    /// As text.
    pub attributes: BTreeMap<String, String>,
}

impl Collected {
    /// An attribute; empty if it is not there.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// What has arrived.
#[derive(Clone, Debug, Default)]
struct Arrived {
    spans: Vec<Collected>,
    /// Headers of the last request.
    headers: HeaderMap,
}

/// A collector on a port of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Collector {
    url: String,
    arrived: watch::Sender<Arrived>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let (listener, url) = listen().await;
        let arrived = watch::Sender::new(Arrived::default());
        let router = router(arrived.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                panic!("the collector of a test stopped: {error}");
            }
        });
        Self { url, arrived, task }
    }

    /// Its address, as programs take it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its interface, for a server that a test makes itself. What arrives there arrives here.
    pub fn router(&self) -> Router {
        router(self.arrived.clone())
    }

    /// The spans that have arrived.
    pub fn spans(&self) -> Vec<Collected> {
        self.arrived.borrow().spans.clone()
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        let arrived = self.arrived.borrow();
        arrived.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    /// Waits until the spans that have arrived are as wanted, and returns them.
    ///
    /// # Panics
    /// When they are not in time.
    pub async fn until(&self, mut is_enough: impl FnMut(&[Collected]) -> bool) -> Vec<Collected> {
        let mut arrived = self.arrived.subscribe();
        let enough = arrived.wait_for(|arrived| is_enough(&arrived.spans));
        match tokio::time::timeout(WAIT, enough).await {
            Ok(Ok(arrived)) => arrived.spans.clone(),
            Ok(Err(_)) | Err(_) => panic!("spans are missing; there are {:#?}", self.spans()),
        }
    }
}

/// A server that takes connections and requests, and answers nothing. Dropping it closes them.
#[derive(Debug)]
pub struct Silence {
    url: String,
    asked: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Silence {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let (listener, url) = listen().await;
        let (told, asked) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if stream.read_u8().await.is_ok() {
                    told.send_replace(true);
                }
                open.push(stream);
            }
        });
        Self { url, asked, task }
    }

    /// Its address, as programs take it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits for a request.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn asked(&self) {
        let mut asked = self.asked.clone();
        let asked = asked.wait_for(|asked| *asked);
        let in_time = tokio::time::timeout(WAIT, asked).await;
        assert!(matches!(in_time, Ok(Ok(_))), "no request came");
    }
}

async fn listen() -> (TcpListener, String) {
    let bound = TcpListener::bind("127.0.0.1:0").await;
    let listener = bound.unwrap_or_else(|error| panic!("no port for a collector: {error}"));
    match listener.local_addr() {
        Ok(address) => (listener, format!("http://{address}")),
        Err(error) => panic!("no port for a collector: {error}"),
    }
}

fn router(arrived: watch::Sender<Arrived>) -> Router {
    Router::new().route("/v1/traces", post(take)).with_state(arrived)
}

async fn take(
    State(arrived): State<watch::Sender<Arrived>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    arrived.send_modify(|arrived| {
        for resource in request.resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes);
            let attributes = texts(attributes.unwrap_or_default());
            let service = attributes.get("service.name").cloned().unwrap_or_default();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            arrived.spans.extend(spans.map(|span| collected(&service, span)));
        }
        arrived.headers = headers;
    });
    // Without content: everything was taken.
    ([(header::CONTENT_TYPE, "application/x-protobuf")], Bytes::new()).into_response()
}

fn collected(service: &str, span: Span) -> Collected {
    Collected {
        service: service.to_owned(),
        name: span.name,
        trace: number(&span.trace_id),
        span: id(&span.span_id),
        parent: id(&span.parent_span_id),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        error: span.status.map(|status| status.message).unwrap_or_default(),
        attributes: texts(span.attributes),
    }
}

fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0_u128, |number, byte| (number << 8) | u128::from(*byte))
}

fn id(bytes: &[u8]) -> u64 {
    u64::try_from(number(bytes)).unwrap_or_else(|_| panic!("an id of a span has 8 bytes"))
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::DoubleValue(number)) => number.to_string(),
            Some(Value::BoolValue(is_true)) => is_true.to_string(),
            other => panic!("a test reads no attribute such as {other:?}"),
        };
        (attribute.key, value)
    };
    attributes.into_iter().map(text).collect()
}
