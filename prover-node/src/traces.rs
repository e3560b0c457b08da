//! The trace of an epoch: its ids, and the spans that outlive a process.
//!
//! A prover node that restarts continues the jobs of the one before, and a standby waits for the same jobs. So the
//! ids of the trace, of the spans of ranges, blocks and jobs follow from what they are about, for every prover node
//! of one prover alike, and the jobs' labels with them. Whoever holds the submitter's lease when such a span ends
//! exports it. Other spans are the process's own.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollmill_broker_client::{JobId, JobView};
use rollmill_protocol::EthAddress;
use rollmill_protocol::field::to_bytes;
use rollmill_service::traces::{Span, Traceparent, Traces, Value, span_id, trace_id};

use crate::ranges::RangeBlock;

/// The traces of a prover's epochs. The default records nothing.
#[derive(Debug, Clone, Default)]
pub struct EpochTraces(Option<Arc<Prover>>);

/// What the ids follow from.
struct Prover {
    traces: Traces,
    chain_id: u64,
    rollup: EthAddress,
    /// Who is paid: another prover's epoch is another trace, also at the same broker and collector.
    id: EthAddress,
    /// Whether this process exports the spans that others compute alike.
    exports: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").field("id", &self.id).finish_non_exhaustive()
    }
}

impl EpochTraces {
    /// The traces of the prover `id` in a deployment. `exports` says whether this process is the one of the prover's
    /// that exports the spans that all of them compute.
    pub fn new(
        traces: Traces,
        chain_id: u64,
        rollup: EthAddress,
        id: EthAddress,
        exports: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let exports = Box::new(exports);
        let is_on = traces.is_on();
        Self(is_on.then(|| Arc::new(Prover { traces, chain_id, rollup, id, exports })))
    }

    /// The span of a range, which has no parent. An epoch that is proven in several ranges has several.
    pub fn range(&self, epoch: u64, first_block: u64) -> SharedSpan {
        self.range_of(epoch, first_block).unwrap_or_default()
    }

    fn range_of(&self, epoch: u64, first_block: u64) -> Option<SharedSpan> {
        let prover = self.0.as_ref()?;
        let (chain, number) = (prover.chain_id.to_be_bytes(), epoch.to_be_bytes());
        let trace = trace_id(&[&chain, &prover.rollup.0, &prover.id.0, &number]);
        let span = span_id(trace, &[b"range", &first_block.to_be_bytes()]);
        let context = Traceparent::new(trace, span, prover.traces.samples(trace))?;
        if !context.is_sampled() {
            return None;
        }
        let attributes = vec![
            ("rollmill.epoch", integer(epoch)),
            ("rollmill.first_block", integer(first_block)),
            ("rollmill.chain_id", integer(prover.chain_id)),
            ("rollmill.rollup", prover.rollup.to_string().into()),
            ("rollmill.prover", prover.id.to_string().into()),
        ];
        Some(SharedSpan(Some(Arc::new(Inner {
            prover: Arc::clone(prover),
            above: None,
            name: "epoch".into(),
            context,
            made: unix_ms(),
            since: AtomicU64::new(unix_ms()),
            attributes,
        }))))
    }
}

/// A span that every prover node of the prover computes alike. Clones are one span. The default records nothing.
#[derive(Debug, Clone, Default)]
pub struct SharedSpan(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    prover: Arc<Prover>,
    above: Option<Arc<Inner>>,
    name: Cow<'static, str>,
    context: Traceparent,
    /// When this process started it, in milliseconds since 1970.
    made: u64,
    /// When it started, with what an earlier process did of it.
    since: AtomicU64,
    attributes: Vec<(&'static str, Value)>,
}

impl SharedSpan {
    fn child(
        &self,
        name: impl Into<Cow<'static, str>>,
        parts: &[&[u8]],
        attributes: Vec<(&'static str, Value)>,
    ) -> Self {
        let child = self.0.as_ref().and_then(|above| {
            let trace = above.context.trace();
            Some(Inner {
                prover: Arc::clone(&above.prover),
                above: Some(Arc::clone(above)),
                name: name.into(),
                context: Traceparent::new(trace, span_id(trace, parts), true)?,
                made: unix_ms(),
                since: AtomicU64::new(unix_ms()),
                attributes,
            })
        });
        Self(child.map(Arc::new))
    }

    /// The span of a block of the range.
    pub fn block(&self, block: &RangeBlock) -> Self {
        let (number, hash) = (block.number.to_be_bytes(), to_bytes(&block.header_hash));
        let attributes = vec![("rollmill.block", integer(block.number))];
        self.child("block", &[b"block", &number, &hash], attributes)
    }

    /// The span of a job.
    pub fn job(&self, id: &JobId) -> Self {
        if self.0.is_none() {
            return Self::default();
        }
        let attributes = vec![("rollmill.job", id.to_string().into())];
        self.child(format!("job {}", id.kind()), &[b"job", id.as_str().as_bytes()], attributes)
    }

    /// What is below it.
    pub fn context(&self) -> Option<Traceparent> {
        self.0.as_ref().map(|inner| inner.context)
    }

    /// Starts a span of this process below it.
    pub fn start(&self, name: &'static str) -> Span {
        self.0.as_ref().map_or_else(Span::default, |inner| {
            inner.prover.traces.below(Some(inner.context), name)
        })
    }

    /// Runs `work`, whose requests to the broker say that they are below it.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> T {
        match self.context() {
            Some(context) => context.scope(work).await,
            None => work.await,
        }
    }

    /// Ends the span of a job whose result is verified. It started when the job was first enqueued, and so did what
    /// is above it at the latest.
    pub fn done(&self, view: &JobView) {
        let mut next = self.0.as_ref();
        while let Some(inner) = next {
            inner.since.fetch_min(view.created_unix_ms, Ordering::Relaxed);
            next = inner.above.as_ref();
        }
        let agent = view.agent.as_ref().map_or_else(String::new, ToString::to_string);
        let more = [
            ("rollmill.agent", agent.into()),
            ("rollmill.attempts", integer(view.attempts.into())),
        ];
        self.export(None, &more, view.finished_unix_ms);
    }

    /// Ends the span, whose work failed if there is an `error`.
    pub fn ended(&self, error: Option<&str>) {
        self.export(error, &[], None);
    }

    /// `finished` is when the work was done, if another process may have ended the span already.
    fn export(&self, error: Option<&str>, more: &[(&'static str, Value)], finished: Option<u64>) {
        let Some(inner) = &self.0 else { return };
        if !(inner.prover.exports)() {
            return;
        }
        let above = inner.above.as_ref().map(|above| above.context);
        let mut span = inner.prover.traces.known(inner.context, above, inner.name.clone());
        span.since(time(inner.since.load(Ordering::Relaxed)));
        if let Some(finished) = finished.filter(|finished| *finished < inner.made) {
            span.until(time(finished));
        }
        for (key, value) in inner.attributes.iter().chain(more) {
            span.set(key, value.clone());
        }
        span.end_with(error);
    }
}

fn integer(number: u64) -> Value {
    Value::I64(i64::try_from(number).unwrap_or(i64::MAX))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)).unwrap_or(UNIX_EPOCH)
}
