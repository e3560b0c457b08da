//! The conditions for a process to do its work, by name, shown by `/ready`, `/status` and two metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
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
    fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds conditions that do not hold yet. Call it before the first attempt to meet them.
    pub fn expect(&self, names: &[&'static str]) {
        for name in names {
            self.set(name, Err("not checked yet".to_owned()));
        }
    }

    /// Records whether `name` holds, or why it does not, and logs changes. Call it at each attempt.
    /// `Ok` also counts as a success of `name`, see [`Self::succeeded`].
    pub fn set(&self, name: &'static str, holds: Result<(), String>) {
        let reason = holds.clone().err();
        match (self.record(name, holds), reason) {
            (Some(false), None) => tracing::info!(condition = name, "condition met"),
            (Some(true), Some(reason)) => {
                tracing::warn!(condition = name, reason, "condition not met");
            }
            _ => {}
        }
    }

    /// As [`Self::set`] without a log event, for a caller that logs the failure itself. Returns whether
    /// `name` held before; `None` the first time.
    pub fn record(&self, name: &'static str, holds: Result<(), String>) -> Option<bool> {
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
        state.conditions.insert(name, Condition { reason, since });
        before.map(|(old, _)| old.is_none())
    }

    /// Removes `name`, which no longer applies to this process.
    pub fn remove(&self, name: &'static str) {
        self.lock().conditions.remove(name);
    }

    /// Records a success now, for `rollmill_last_success_timestamp_seconds{what}`.
    pub fn succeeded(&self, what: &'static str) {
        self.lock().successes.insert(what, now());
    }

    /// The conditions that do not hold, with the reason.
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

crate::metrics! {
    /// The conditions of a process.
    pub(crate) struct ConditionMetrics: "rollmill_" {
        /// 1 while the named readiness condition holds, else 0.
        condition: GaugeVec[name],
        /// Unix time of the last success of the named work.
        last_success_timestamp_seconds: GaugeVec[what],
    }
}

impl Collector for Conditions {
    fn desc(&self) -> Vec<&Desc> {
        // Unchecked: the series depend on the conditions set, which a registry need not know.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let state = self.lock();
        // Created at each collection, so that a removed condition is not shown.
        let shown = ConditionMetrics::create(&[]);
        for (name, condition) in &state.conditions {
            let holds = f64::from(u8::from(condition.reason.is_none()));
            shown.condition.with_label_values(&[*name]).set(holds);
        }
        for (what, at) in &state.successes {
            let success = shown.last_success_timestamp_seconds.with_label_values(&[*what]);
            success.set(*at as f64);
        }
        let mut families: Vec<_> =
            shown.collectors().iter().flat_map(|metric| metric.collect()).collect();
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

crate::metrics! {
    /// Metrics that describe the process.
    pub(crate) struct AboutMetrics: "rollmill_" {
        /// 1; the labels name the program and its version.
        build_info: GaugeVec[program, version],
        /// Unix time at which the process started.
        start_time_seconds: Gauge,
    }
}

pub(crate) fn about(name: &str, version: &str) -> AboutMetrics {
    let about = AboutMetrics::create(&[]);
    about.build_info.with_label_values(&[name, version]).set(1.0);
    about.start_time_seconds.set(now() as f64);
    about
}
