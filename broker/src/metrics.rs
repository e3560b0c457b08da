//! What the broker counts. Names begin with `rollmill_broker_`, end in their unit, and carry no
//! label that grows with the work.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use rollmill_broker_client::{AttemptOutcome, Code, FailureClass, QueueView, UnableView};

use crate::store::Place;

/// Counters and gauges of one broker.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Jobs by type and state, refreshed every few seconds.
    pub queue_jobs: IntGaugeVec,
    /// Age of the oldest job by type and state.
    pub queue_oldest_seconds: IntGaugeVec,
    /// From the moment both a job and an agent for it were there until the grant was sent.
    pub dispatch_seconds: Histogram,
    /// From ready to granted.
    pub queue_wait_seconds: HistogramVec,
    /// Duration of the claim's statements.
    pub claim_seconds: Histogram,
    /// Agents that wait for a job.
    pub waiting_agents: IntGauge,
    /// Grants by type: attempts begun.
    pub claims_total: IntCounterVec,
    /// Attempts ended, by outcome.
    pub attempts_ended_total: IntCounterVec,
    /// Requests refused because the lease named no longer stood, by operation.
    pub fence_refusals_total: IntCounterVec,
    /// Artifact bytes moved, by direction and place.
    pub artifact_bytes_total: IntCounterVec,
    /// Requests answered with an error, by code.
    pub refusals_total: IntCounterVec,
    /// Dead letters made.
    pub dead_letters_total: IntCounter,
    /// Waiting jobs that no live agent can do, by type and class, refreshed with the queue.
    pub unable_jobs: IntGaugeVec,
    /// Done jobs that were opened again because their result could not be read.
    pub results_lost_total: IntCounter,
    /// Jobs that wait for their producer to upload the input again: how often that began.
    pub inputs_wanted_total: IntCounter,
    /// Jobs whose exclusions were forgiven because they left nobody.
    pub exclusions_forgiven_total: IntCounter,
}

const SECONDS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];

impl Metrics {
    /// Makes the metrics and registers them; a name that is taken is a second broker in one
    /// process, which keeps its own numbers unshown.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = |name: &str| format!("rollmill_broker_{name}");
        let gauges = |n: &str, help, labels| IntGaugeVec::new(Opts::new(name(n), help), labels);
        let counters = |n: &str, help, labels| IntCounterVec::new(Opts::new(name(n), help), labels);
        let counter = |n: &str, help: &str| IntCounter::new(name(n), help);
        let times =
            |n: &str, help: &str| HistogramOpts::new(name(n), help).buckets(SECONDS.to_vec());
        let metrics = Self {
            queue_jobs: gauges("queue_jobs", "Unfinished jobs", &["kind", "state"])?,
            queue_oldest_seconds: gauges(
                "queue_oldest_seconds",
                "Age of the oldest unfinished job",
                &["kind", "state"],
            )?,
            dispatch_seconds: Histogram::with_opts(times(
                "dispatch_seconds",
                "From job and agent both there to the grant",
            ))?,
            queue_wait_seconds: HistogramVec::new(
                times("queue_wait_seconds", "From ready to granted"),
                &["kind"],
            )?,
            claim_seconds: Histogram::with_opts(times("claim_seconds", "Claim statements"))?,
            waiting_agents: IntGauge::new(name("waiting_agents"), "Agents waiting for a job")?,
            claims_total: counters("claims_total", "Attempts begun", &["kind"])?,
            attempts_ended_total: counters("attempts_ended_total", "Attempts ended", &["outcome"])?,
            fence_refusals_total: counters(
                "fence_refusals_total",
                "Requests under a lease that no longer stood",
                &["operation"],
            )?,
            artifact_bytes_total: counters(
                "artifact_bytes_total",
                "Artifact bytes moved",
                &["direction", "place"],
            )?,
            refusals_total: counters("refusals_total", "Requests refused", &["code"])?,
            dead_letters_total: counter("dead_letters_total", "Dead letters made")?,
            unable_jobs: gauges(
                "unable_jobs",
                "Waiting jobs that no live agent can do",
                &["kind", "class"],
            )?,
            results_lost_total: counter(
                "results_lost_total",
                "Done jobs opened again because their result could not be read",
            )?,
            inputs_wanted_total: counter(
                "inputs_wanted_total",
                "Jobs that began to wait for their input to be uploaded again",
            )?,
            exclusions_forgiven_total: counter(
                "exclusions_forgiven_total",
                "Jobs whose exclusions were forgiven because they left nobody",
            )?,
        };
        metrics.create_series();
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn collectors(&self) -> Vec<Box<dyn prometheus::core::Collector>> {
        vec![
            Box::new(self.queue_jobs.clone()),
            Box::new(self.queue_oldest_seconds.clone()),
            Box::new(self.dispatch_seconds.clone()),
            Box::new(self.queue_wait_seconds.clone()),
            Box::new(self.claim_seconds.clone()),
            Box::new(self.waiting_agents.clone()),
            Box::new(self.claims_total.clone()),
            Box::new(self.attempts_ended_total.clone()),
            Box::new(self.fence_refusals_total.clone()),
            Box::new(self.artifact_bytes_total.clone()),
            Box::new(self.refusals_total.clone()),
            Box::new(self.dead_letters_total.clone()),
            Box::new(self.unable_jobs.clone()),
            Box::new(self.results_lost_total.clone()),
            Box::new(self.inputs_wanted_total.clone()),
            Box::new(self.exclusions_forgiven_total.clone()),
        ]
    }

    /// Makes every labelled series whose labels are known from the start, so that a rate over the
    /// first event of each can be computed.
    fn create_series(&self) {
        for outcome in OUTCOMES {
            self.ended(Ended::With(outcome), 0);
        }
        for class in FailureClass::ALL {
            self.ended(Ended::Failed(class), 0);
        }
        for operation in Fenced::ALL {
            self.fenced(operation, 0);
        }
        for direction in ["in", "out"] {
            for place in Place::ALL {
                self.artifact_bytes_total.with_label_values(&[direction, place.as_str()]);
            }
        }
        for code in Code::ALL {
            self.refusals_total.with_label_values(&[code.text().as_str()]);
        }
    }

    /// Counts attempts that ended.
    pub(crate) fn ended(&self, how: Ended, count: u64) {
        let label = match how {
            Ended::With(outcome) => outcome.as_str(),
            Ended::Failed(class) => class.as_str(),
        };
        self.attempts_ended_total.with_label_values(&[label]).inc_by(count);
    }

    /// Counts requests under a lease that is no longer valid.
    pub(crate) fn fenced(&self, operation: Fenced, count: u64) {
        self.fence_refusals_total.with_label_values(&[operation.as_str()]).inc_by(count);
    }

    /// Makes the series of a job type, which the broker knows once a job of it is enqueued.
    pub(crate) fn know_kind(&self, kind: &str) {
        self.claims_total.with_label_values(&[kind]);
        self.queue_wait_seconds.with_label_values(&[kind]);
    }

    pub(crate) fn show_queue<'a>(
        &self,
        queue: impl Iterator<Item = &'a QueueView>,
        unable: impl Iterator<Item = &'a UnableView>,
    ) {
        // A type that is done would keep its last number for ever.
        self.forget_queue();
        for entry in queue {
            self.know_kind(&entry.kind);
            let labels = [entry.kind.as_str(), entry.state.as_str()];
            let count = i64::try_from(entry.count).unwrap_or(i64::MAX);
            self.queue_jobs.with_label_values(&labels).add(count);
            let oldest = self.queue_oldest_seconds.with_label_values(&labels);
            oldest.set(oldest.get().max(entry.oldest_seconds as i64));
        }
        for entry in unable {
            let class = entry.class.to_string();
            let gauge = self.unable_jobs.with_label_values(&[entry.kind.as_str(), &class]);
            gauge.add(i64::try_from(entry.jobs).unwrap_or(i64::MAX));
        }
    }

    /// Removes the gauges whose source, the database, cannot be read: an old number is worse than
    /// none.
    pub(crate) fn forget_queue(&self) {
        self.queue_jobs.reset();
        self.queue_oldest_seconds.reset();
        self.unable_jobs.reset();
    }
}

/// How an attempt ended, as it is counted: a failure by its class.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    /// With this outcome.
    With(AttemptOutcome),
    /// With [`AttemptOutcome::Failed`], for this reason.
    Failed(FailureClass),
}

/// The outcomes that are counted as such. Not among them: a running attempt, a failure (counted by
/// class), one superseded by a completion that is counted, and a result lost after its attempt had ended.
const OUTCOMES: [AttemptOutcome; 6] = [
    AttemptOutcome::Completed,
    AttemptOutcome::CompletedLate,
    AttemptOutcome::Released,
    AttemptOutcome::Expired,
    AttemptOutcome::Rejected,
    AttemptOutcome::Cancelled,
];

rollmill_broker_client::named! {
    /// Operations under a lease.
    pub enum Fenced is "operation under a lease" {
        Heartbeat = "heartbeat",
        Progress = "progress",
        Fail = "fail",
        Release = "release",
        RenewName = "renew_name",
    }
}
