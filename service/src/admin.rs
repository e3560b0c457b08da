//! The admin address: `/metrics`, `/status`, `/health`, `/ready`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use parking_lot::Mutex;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Value, json};

use crate::conditions::Conditions;

const STARTING: u8 = 0;
const READY: u8 = 1;
const ENDING: u8 = 2;

type Reader = Arc<dyn Fn() -> Value + Send + Sync>;

/// Readiness of a process and the values it shows under `/status`. Clones share one state.
#[derive(Clone)]
pub struct StatusPage {
    inner: Arc<Inner>,
}

struct Inner {
    name: &'static str,
    started: Instant,
    phase: AtomicU8,
    facts: Mutex<BTreeMap<&'static str, Reader>>,
    conditions: Conditions,
}

impl std::fmt::Debug for StatusPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusPage").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl StatusPage {
    pub(crate) fn new(name: &'static str) -> Self {
        let inner = Inner {
            name,
            started: Instant::now(),
            phase: AtomicU8::new(STARTING),
            facts: Mutex::new(BTreeMap::new()),
            conditions: Conditions::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Shows `read()` under `key`. It is called at each request and must not wait.
    pub fn show(&self, key: &'static str, read: impl Fn() -> Value + Send + Sync + 'static) {
        let mut facts = self.inner.facts.lock();
        facts.insert(key, Arc::new(read));
    }

    /// The named conditions of readiness.
    pub fn conditions(&self) -> &Conditions {
        &self.inner.conditions
    }

    /// Why the process is not ready, as (name, reason): the conditions that do not hold, and `process`
    /// while it starts or shuts down. `/ready` returns 200 when the list is empty, else 503.
    pub fn not_ready(&self) -> Vec<(&'static str, String)> {
        let mut reasons = self.inner.conditions.failing();
        if self.phase() != "ready" {
            reasons.push(("process", self.phase().to_owned()));
        }
        reasons
    }

    /// The JSON of `/status`: name, phase, uptime in seconds and the values added with [`Self::show`].
    pub fn status(&self) -> Value {
        let facts: Vec<(&'static str, Reader)> = {
            let facts = self.inner.facts.lock();
            facts.iter().map(|(key, read)| (*key, read.clone())).collect()
        };
        let mut status = json!({
            "name": self.inner.name,
            "version": env!("CARGO_PKG_VERSION"),
            "phase": self.phase(),
            "uptime_seconds": self.inner.started.elapsed().as_secs(),
            "ready": self.not_ready().is_empty(),
            "conditions": self.inner.conditions.to_json(),
        });
        for (key, read) in facts {
            status[key] = read();
        }
        status
    }

    pub(crate) fn ready(&self) {
        let _ = self.inner.phase.compare_exchange(
            STARTING,
            READY,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    pub(crate) fn ending(&self) {
        self.inner.phase.store(ENDING, Ordering::Relaxed);
    }

    fn phase(&self) -> &'static str {
        match self.inner.phase.load(Ordering::Relaxed) {
            READY => "ready",
            ENDING => "ending",
            _ => "starting",
        }
    }
}

pub(crate) fn router(status_page: StatusPage, metrics: Registry) -> Router {
    let (health, ready) = (status_page.clone(), status_page.clone());
    Router::new()
        .route("/metrics", get(move || async move { render(&metrics) }))
        .route("/status", get(move || async move { axum::Json(status_page.status()) }))
        .route(
            "/health",
            get(move || async move {
                let phase = health.phase();
                let code = match phase {
                    "ready" => StatusCode::OK,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                (code, axum::Json(json!({ "phase": phase })))
            }),
        )
        .route(
            "/ready",
            get(move || async move {
                let reasons = ready.not_ready();
                let code = match reasons.is_empty() {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                };
                let because: serde_json::Map<String, Value> =
                    reasons.into_iter().map(|(name, why)| (name.to_owned(), why.into())).collect();
                (code, axum::Json(json!({ "ready": because.is_empty(), "because": because })))
            }),
        )
}

fn render(metrics: &Registry) -> axum::response::Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&metrics.gather(), &mut text) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
