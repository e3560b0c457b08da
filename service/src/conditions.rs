//! What must hold for a process to do its work, by name: `/ready`, `/status` and two metrics.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, Opts};
use serde_json::{Value, json};

#[derive(Debug, Clone)]
struct Condition {
    /// `None` when it holds.
    reason: Option<String>,
    /// Unix seconds since it holds, or does not.
    since: u64,
}

#[derive(Debug, Default)]
struct State {
    conditions: BTreeMap<&'static str, Condition>,
    successes: BTreeMap<&'static str, u64>,
}

/// The named conditions of a process, such as `broker`, `database`, `l1`, `keys` or `device`. Clones
/// share one state.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    state: Arc<Mutex<State>>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

impl Conditions {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change is one insertion, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names conditions that do not hold yet: call it before anything is tried.
    pub fn expect(&self, names: &[&'static str]) {
        for name in names {
            self.set(name, Err("not checked yet".to_owned()));
        }
    }

    /// Says that `name` holds, or why it does not. Call it at each try; only changes are logged. An
    /// `Ok` counts as a success of `name`, see [`Self::succeeded`].
    pub fn set(&self, name: &'static str, holds: Result<(), String>) {
        let mut state = self.lock();
        if holds.is_ok() {
            state.successes.insert(name, now());
        }
        let reason = holds.err();
        let before = state.conditions.get(name).map(|c| (c.reason.clone(), c.since));
        let since = match &before {
            Some((old, since)) if old.is_some() == reason.is_some() => *since,
            _ => now(),
        };
        state.conditions.insert(name, Condition { reason: reason.clone(), since });
        drop(state);
        let held = before.map(|(old, _)| old.is_none());
        match (held, reason) {
            (Some(false), None) => tracing::info!(condition = name, "condition met"),
            (Some(true), Some(reason)) => {
                tracing::warn!(condition = name, reason, "condition not met");
            }
            _ => {}
        }
    }

    /// Takes `name` off: it says nothing about this process any more.
    pub fn remove(&self, name: &'static str) {
        self.lock().conditions.remove(name);
    }

    /// Notes a success now, for `rollmill_last_success_timestamp_seconds{what}`.
    pub fn succeeded(&self, what: &'static str) {
        self.lock().successes.insert(what, now());
    }

    /// Those that do not hold, with the reason.
    pub fn failing(&self) -> Vec<(&'static str, String)> {
        let state = self.lock();
        let failing =
            state.conditions.iter().filter_map(|(name, c)| Some((*name, c.reason.clone()?)));
        failing.collect()
    }

    /// `{name: {ok, reason, since_unix_seconds}}`.
    pub fn to_json(&self) -> Value {
        let state = self.lock();
        state
            .conditions
            .iter()
            .map(|(name, c)| {
                let value = json!({
                    "ok": c.reason.is_none(), "reason": c.reason, "since_unix_seconds": c.since
                });
                ((*name).to_owned(), value)
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

impl Collector for Conditions {
    fn desc(&self) -> Vec<&Desc> {
        // Unchecked: the series follow what was set, which a registry does not need to know.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let state = self.lock();
        let vec =
            |name: &str, help: &str, label: &str| GaugeVec::new(Opts::new(name, help), &[label]);
        let (Ok(holds), Ok(successes)) = (
            vec(
                "rollmill_condition",
                "1 while the named condition of readiness holds, else 0",
                "name",
            ),
            vec(
                "rollmill_last_success_timestamp_seconds",
                "Unix time of the last success of the named work",
                "what",
            ),
        ) else {
            return Vec::new();
        };
        for (name, condition) in &state.conditions {
            holds.with_label_values(&[*name]).set(f64::from(u8::from(condition.reason.is_none())));
        }
        for (what, at) in &state.successes {
            successes.with_label_values(&[*what]).set(*at as f64);
        }
        let mut families = holds.collect();
        families.extend(successes.collect());
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

/// Creates every series of a labelled metric, so that each exists, at 0, before its first event:
/// Prometheus computes no rate of a series that first appears at 1. `values` holds the values of each
/// label, in the labels' order; all combinations are created.
pub fn create_series<B: prometheus::core::MetricVecBuilder>(
    metric: &prometheus::core::MetricVec<B>,
    values: &[&[&str]],
) {
    let mut rows: Vec<Vec<&str>> = vec![Vec::new()];
    for label in values {
        rows = rows
            .iter()
            .flat_map(|row| label.iter().map(move |value| [&row[..], &[*value]].concat()))
            .collect();
    }
    for row in rows {
        // A wrong number of labels is the caller's slip, which a test of its series shows.
        if metric.get_metric_with_label_values(&row).is_err() {
            tracing::error!(labels = row.len(), "metric does not have this number of labels");
        }
    }
}

/// A metric that is shown only while its source can be read. Register it in place of the metric.
#[derive(Debug, Clone)]
pub struct WhileKnown<M> {
    metric: M,
    known: Arc<std::sync::atomic::AtomicBool>,
}

impl<M> WhileKnown<M> {
    /// Not shown until [`Self::known`] is called.
    pub fn new(metric: M) -> Self {
        Self { metric, known: Arc::default() }
    }

    /// The metric, to be set by whoever has just read the source; it is shown from now on.
    pub fn known(&self) -> &M {
        self.known.store(true, std::sync::atomic::Ordering::Relaxed);
        &self.metric
    }

    /// The source cannot be read: the series disappear until the next [`Self::known`].
    pub fn unknown(&self) {
        self.known.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}

impl<M: Collector> Collector for WhileKnown<M> {
    fn desc(&self) -> Vec<&Desc> {
        self.metric.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let known = self.known.load(std::sync::atomic::Ordering::Relaxed);
        if known { self.metric.collect() } else { Vec::new() }
    }
}

/// `rollmill_build_info` and `rollmill_start_time_seconds`.
pub(crate) fn about(name: &str, version: &str) -> prometheus::Result<[Box<dyn Collector>; 2]> {
    let labels = HashMap::from([
        ("program".to_owned(), name.to_owned()),
        ("version".to_owned(), version.to_owned()),
    ]);
    let opts = Opts::new("rollmill_build_info", "1; the labels say which program this is");
    let build = Gauge::with_opts(opts.const_labels(labels))?;
    build.set(1.0);
    let start =
        Gauge::new("rollmill_start_time_seconds", "Unix time at which the process started")?;
    start.set(now() as f64);
    Ok([Box::new(build), Box::new(start)])
}
