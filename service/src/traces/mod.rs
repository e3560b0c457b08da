//! Traces by OpenTelemetry: spans of what a process does for an epoch, sent to a collector by OTLP over HTTP.
//!
//! Off unless the settings or the environment name a collector ([`TraceSettings`]). Spans never delay or fail the
//! work that they describe: they wait in a queue of bounded length, and are dropped and counted when it is full or
//! the collector does not take them.
//!
//! A span is made below another one, whose [`Traceparent`] came with a job or a request; there is no trace without.
//! The one that starts a trace computes the ids of the trace and of the spans that several processes refer to from
//! what they are about ([`trace_id`], [`span_id`]), so that whoever continues the work continues the trace.
//!
//! ```
//! # async fn work() {}
//! # async fn example() {
//! use rollmill_service::traces::{Traces, Traceparent, span_id, trace_id};
//!
//! let traces = Traces::default();
//! let trace = trace_id(&[b"rollup", &7u64.to_be_bytes()]);
//! let epoch = Traceparent::new(trace, span_id(trace, &[b"epoch"]), traces.samples(trace));
//! let mut span = traces.below(epoch, "gather");
//! span.set("rollmill.block", 3_i64);
//! span.within(work()).await;
//! span.end();
//! # }
//! ```

mod export;
mod settings;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;
use opentelemetry::{KeyValue, trace::Status};
use prometheus::Registry;
use rollmill_net::Tls;
pub use rollmill_net::Traceparent;
use sha2::{Digest, Sha256};

use crate::Error;
use export::Exporter;
pub(crate) use export::declared;
use settings::Plan;
pub use settings::TraceSettings;

/// What a span that was dropped before its end says.
const CANCELLED: &str = "cancelled";

/// The id of a trace that is about `parts`. Never 0.
pub fn trace_id(parts: &[&[u8]]) -> u128 {
    let bytes = digest(b"rollmill trace 1", parts);
    let id = bytes.iter().take(16).fold(0_u128, |id, byte| (id << 8) | u128::from(*byte));
    id.max(1)
}

/// The id of the span of a trace that is about `parts`. Never 0.
pub fn span_id(trace: u128, parts: &[&[u8]]) -> u64 {
    let trace = trace.to_be_bytes();
    let parts: Vec<&[u8]> = std::iter::once(&trace[..]).chain(parts.iter().copied()).collect();
    let bytes = digest(b"rollmill span 1", &parts);
    let id = bytes.iter().take(8).fold(0_u64, |id, byte| (id << 8) | u64::from(*byte));
    id.max(1)
}

fn digest(domain: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(domain);
    for part in parts {
        // With its length, so that no two lists of parts are hashed alike.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The traces of a process. Clones share one queue. The default records nothing.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    exporter: Option<Arc<Exporter>>,
}

impl Traces {
    /// Starts to send the spans of `program` where its settings or the environment say, if they say it. Call it in the
    /// runtime of the process.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting or a variable that cannot be used.
    pub fn start(
        program: &str,
        settings: &TraceSettings,
        registry: &Registry,
    ) -> Result<Self, Error> {
        Self::with_tls(program, settings, registry, &Tls::of_process())
    }

    /// As [`Self::start`], with other TLS than that of this process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_tls(
        program: &str,
        settings: &TraceSettings,
        registry: &Registry,
        tls: &Tls,
    ) -> Result<Self, Error> {
        let plan = Plan::of(settings, |name| std::env::var(name).ok())?;
        let exporter = plan.map(|plan| Exporter::open(plan, program, registry, tls)).transpose()?;
        Ok(Self { exporter: exporter.map(Arc::new) })
    }

    /// Whether spans are recorded at all.
    pub fn is_on(&self) -> bool {
        self.exporter.is_some()
    }

    /// Whether a trace that starts in this process is recorded. The same id always gets the same answer.
    pub fn samples(&self, trace: u128) -> bool {
        self.exporter.as_ref().is_some_and(|exporter| exporter.samples(trace, None))
    }

    /// Starts a span below `parent`. Where nothing is recorded, because of the settings, the trace, or for want of a
    /// parent, what is below the span is below `parent`.
    pub fn below(&self, parent: Option<Traceparent>, name: impl Into<Cow<'static, str>>) -> Span {
        let recorded =
            self.exporter.as_ref().zip(parent).filter(|(exporter, above)| {
                exporter.samples(above.trace(), Some(above.is_sampled()))
            });
        let Some((exporter, above)) = recorded else {
            return Span { context: parent, open: None };
        };
        let context = Traceparent::new(above.trace(), exporter.new_span_id(), true);
        Span::open(exporter, context, parent, name.into())
    }

    /// Starts a span below the one that the requests of this task are about.
    pub fn here(&self, name: impl Into<Cow<'static, str>>) -> Span {
        self.below(Traceparent::current(), name)
    }

    /// Starts the span `context`, whose id its maker computed. Several processes may compute the same; one of them
    /// ends it.
    pub fn known(
        &self,
        context: Traceparent,
        parent: Option<Traceparent>,
        name: impl Into<Cow<'static, str>>,
    ) -> Span {
        match &self.exporter {
            Some(exporter) if context.is_sampled() => {
                Span::open(exporter, Some(context), parent, name.into())
            }
            _ => Span { context: Some(context), open: None },
        }
    }

    /// Sends what waits, for `limit` at most. Spans that end later are lost.
    pub async fn end(&self, limit: Duration) {
        let Some(exporter) = self.exporter.clone() else { return };
        // It blocks its thread, and its requests need this runtime.
        let ended = tokio::task::spawn_blocking(move || exporter.end(limit)).await;
        if !matches!(ended, Ok(true)) {
            tracing::warn!(limit_seconds = limit.as_secs_f64(), "last traces not sent");
        }
    }
}

/// A span. One that is dropped before its end says that its work was cancelled. The default records nothing.
#[derive(Debug, Default)]
pub struct Span {
    context: Option<Traceparent>,
    open: Option<Box<Open>>,
}

/// What is recorded of a span.
#[derive(Debug)]
struct Open {
    exporter: Arc<Exporter>,
    record: Record,
}

/// A span as it is exported.
#[derive(Debug)]
struct Record {
    context: Traceparent,
    parent: Option<Traceparent>,
    name: Cow<'static, str>,
    kind: SpanKind,
    start: SystemTime,
    /// Now if unset.
    end: Option<SystemTime>,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Span {
    fn open(
        exporter: &Arc<Exporter>,
        context: Option<Traceparent>,
        parent: Option<Traceparent>,
        name: Cow<'static, str>,
    ) -> Self {
        let open = context.map(|context| {
            let (kind, start) = (SpanKind::Internal, SystemTime::now());
            let (end, attributes, status) = (None, Vec::new(), Status::Unset);
            let record = Record { context, parent, name, kind, start, end, attributes, status };
            Box::new(Open { exporter: Arc::clone(exporter), record })
        });
        Self { context, open }
    }

    /// The same span of another kind than internal.
    pub fn of_kind(mut self, kind: SpanKind) -> Self {
        if let Some(open) = &mut self.open {
            open.record.kind = kind;
        }
        self
    }

    /// What is below this span: it is the parent of further spans, and goes along with requests.
    pub fn context(&self) -> Option<Traceparent> {
        self.context
    }

    /// Whether attributes are kept.
    pub fn is_recorded(&self) -> bool {
        self.open.is_some()
    }

    /// Sets an attribute. It must hold no secret, and no URL but scheme, host and port.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.open {
            open.record.attributes.push(KeyValue::new(key, value));
        }
    }

    /// The span started at another time than now.
    pub fn since(&mut self, start: SystemTime) {
        if let Some(open) = &mut self.open {
            open.record.start = start;
        }
    }

    /// The span ended at another time than that of its end.
    pub fn until(&mut self, end: SystemTime) {
        if let Some(open) = &mut self.open {
            open.record.end = Some(end);
        }
    }

    /// Runs `work`, whose requests to a broker say that they are below this span.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> T {
        match self.context {
            Some(context) => context.scope(work).await,
            None => work.await,
        }
    }

    /// Ends the span.
    pub fn end(self) {
        self.end_with(None);
    }

    /// Ends the span, whose work failed if there is an `error`: a stable code or another word of a fixed list.
    pub fn end_with(mut self, error: Option<&str>) {
        if let Some(open) = self.open.take() {
            open.close(error);
        }
    }

    /// Records nothing after all.
    pub fn discard(mut self) {
        self.open = None;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.close(Some(CANCELLED));
        }
    }
}

impl Open {
    fn close(self, error: Option<&str>) {
        let Self { exporter, mut record } = self;
        if let Some(error) = error {
            record.attributes.push(KeyValue::new("error.type", error.to_owned()));
            record.status = Status::error(error.to_owned());
        }
        exporter.export(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_what_they_are_about_and_differ_where_that_does() {
        let epoch = |number: u64| trace_id(&[b"rollup", &number.to_be_bytes()]);
        // A later release must continue the traces of this one.
        assert_eq!(epoch(7), epoch(7));
        assert_ne!(epoch(7), epoch(8));
        assert_ne!(trace_id(&[b"ab", b"c"]), trace_id(&[b"a", b"bc"]));
        let job = |trace, job: &[u8]| span_id(trace, &[b"job", job]);
        assert_eq!(job(epoch(7), b"1"), job(epoch(7), b"1"));
        assert_ne!(job(epoch(7), b"1"), job(epoch(7), b"2"));
        assert_ne!(job(epoch(7), b"1"), job(epoch(8), b"1"));
    }

    /// Goal: a process without traces passes the trace on, so that those after it stay in it.
    #[tokio::test]
    async fn traces_that_are_off_record_nothing_and_pass_the_parent_on() {
        let traces = Traces::default();
        assert!(!traces.is_on() && !traces.samples(1));
        let parent = Traceparent::new(1, 2, true);
        let mut span = traces.below(parent, "work");
        span.set("rollmill.block", 3_i64);
        assert_eq!((span.context(), span.is_recorded()), (parent, false));
        span.within(async { assert_eq!(Traceparent::current(), parent) }).await;
        let known = traces.known(parent.unwrap(), None, "epoch");
        assert_eq!((known.context(), known.is_recorded()), (parent, false));
        let none = traces.here("nothing");
        none.within(async { assert_eq!(Traceparent::current(), None) }).await;
        traces.end(Duration::ZERO).await;
    }
}
