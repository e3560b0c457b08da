//! The broker's spans: one for each request whose header `traceparent` names a trace, and for each job whose label
//! does, one when it is enqueued and one when it is leased.
//!
//! Header and label are text from somebody else. They decide below which span of this broker's collector a span is
//! shown, and nothing else. Tenants that prove one rollup may share a trace, so each span names its tenant.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, StatusCode};
use rollmill_broker_client::routes::Route;
use rollmill_broker_client::{AgentId, Grant, LeaseRef, NewJob, TRACEPARENT_LABEL};
use rollmill_service::traces::{Span, SpanKind, Traceparent, Traces};

use crate::error::BrokerError;
use crate::store::Tenant;

/// The span of a request, if its header names a trace.
pub(crate) fn request<R: Route>(traces: &Traces, headers: &HeaderMap) -> Span {
    let header = headers.get(Traceparent::HEADER).filter(|_| traces.is_on());
    let parent = header.and_then(|value| Traceparent::parse(value.to_str().ok()?));
    if parent.is_none() {
        return Span::default();
    }
    let (method, path) = (R::SPEC.method.as_str(), R::SPEC.path);
    let mut span = traces.below(parent, format!("{method} {path}")).of_kind(SpanKind::Server);
    span.set("http.request.method", method);
    span.set("http.route", path);
    span
}

/// Ends the span of a request. One that its sender may not make leaves none: else anybody could fill the queue of
/// spans.
pub(crate) fn answered(mut span: Span, answer: Result<StatusCode, &BrokerError>) {
    let (status, code) = match answer {
        Ok(status) => (status.as_u16(), None),
        Err(error) => (error.status(), Some(error.code())),
    };
    if matches!(status, 401 | 403 | 429) {
        return span.discard();
    }
    span.set("http.response.status_code", i64::from(status));
    span.end_with(code);
}

/// The spans of jobs that are being enqueued, of those whose label names a trace.
pub(crate) fn enqueue(traces: &Traces, tenant: &Tenant, jobs: &[NewJob]) -> Vec<Span> {
    if !traces.is_on() {
        return Vec::new();
    }
    let span = |job: &NewJob| {
        let parent = Traceparent::parse(job.labels.get(TRACEPARENT_LABEL)?)?;
        let mut span = traces.below(Some(parent), "enqueue").of_kind(SpanKind::Server);
        span.set("rollmill.tenant", tenant.as_str().to_owned());
        span.set("rollmill.job", job.id.to_string());
        Some(span)
    };
    jobs.iter().filter_map(span).collect()
}

/// Ends the spans of jobs that were enqueued, or were not.
pub(crate) fn enqueued(spans: Vec<Span>, error: Option<&BrokerError>) {
    for span in spans {
        span.end_with(error.map(BrokerError::code));
    }
}

/// The job's span that a grant names.
pub(crate) fn of_grant(grant: &Grant) -> Option<Traceparent> {
    grant.traceparent.as_deref().and_then(Traceparent::parse)
}

/// Records that a job was leased, from when it was ready.
pub(crate) fn claimed(
    traces: &Traces,
    job: Option<Traceparent>,
    (tenant, agent, lease): (&Tenant, &AgentId, &LeaseRef),
    waited_seconds: f64,
) {
    let mut span = traces.below(job, "claim");
    if !span.is_recorded() {
        return;
    }
    let waited = Duration::try_from_secs_f64(waited_seconds).unwrap_or_default();
    if let Some(ready) = SystemTime::now().checked_sub(waited) {
        span.since(ready);
    }
    span.set("rollmill.tenant", tenant.as_str().to_owned());
    span.set("rollmill.job", lease.job.to_string());
    span.set("rollmill.agent", agent.to_string());
    span.set("rollmill.lease_epoch", i64::try_from(lease.lease_epoch.0).unwrap_or(i64::MAX));
    span.end();
}
