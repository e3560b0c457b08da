//! Metrics of the broker. They carry no label that grows with the work.

use std::collections::BTreeMap;
use std::time::Duration;

use rollmill_broker_client::routes::{RouteName, Spec};
use rollmill_broker_client::{
    AttemptOutcome, Code, EpochOutcome, FailureClass, QueueView, SizeClass, UnableView,
};

use crate::ability::Ability;
use crate::autoscale::Outlook;
use crate::lane::Name as Lane;
use crate::store::{Database, Place, Tenant, Verdict};

const SECONDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];

const ITEMS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// How attempts end: by the broker's own outcomes, and by failure class.
fn outcomes() -> impl Iterator<Item = &'static str> {
    let own = OUTCOMES.into_iter().map(|outcome| outcome.as_str());
    own.chain(FailureClass::ALL.into_iter().map(|class| class.as_str()))
}

fn operations() -> impl Iterator<Item = &'static str> {
    Fenced::ALL.into_iter().map(|operation| operation.as_str())
}

fn places() -> impl Iterator<Item = &'static str> {
    Place::ALL.into_iter().map(|place| place.as_str())
}

fn verdicts() -> impl Iterator<Item = &'static str> {
    Verdict::ALL.into_iter().map(|verdict| verdict.as_str())
}

fn epoch_outcomes() -> impl Iterator<Item = &'static str> {
    EpochOutcome::ALL.into_iter().map(|outcome| outcome.as_str())
}

fn lanes() -> impl Iterator<Item = &'static str> {
    Lane::ALL.into_iter().map(|lane| lane.as_str())
}

fn buffers() -> impl Iterator<Item = &'static str> {
    Buffer::ALL.into_iter().map(|buffer| buffer.as_str())
}

/// What a route is called in metrics.
fn route(spec: &Spec) -> String {
    format!("{} {}", spec.method.as_str(), spec.path)
}

fn routes() -> impl Iterator<Item = String> {
    RouteName::ALL.iter().map(|name| route(name.spec()))
}

fn codes() -> impl Iterator<Item = String> {
    Code::ALL.into_iter().map(|code| code.text())
}

rollmill_service::metrics! {
    /// What a broker counts. The series of a job type exist once a job of it is enqueued.
    pub struct Metrics: "rollmill_broker_" {
        /// Unfinished jobs by type and state, counted every 5 s; absent while the database is unavailable.
        pub queue_jobs: IntGaugeVec[kind, state],
        /// Age of the oldest unfinished job by type and state; absent while the database is unavailable.
        pub queue_oldest_seconds: IntGaugeVec[kind, state],
        /// Age of the oldest lease by type of job, from its grant; absent while no job of the type is leased, and while the
        /// database is unavailable.
        pub lease_oldest_seconds: GaugeVec[kind],
        /// Waiting jobs that no live agent has been able to do for 10 s, by type and size class; absent
        /// while the database is unavailable.
        pub unable_jobs: IntGaugeVec[kind, class],
        /// Agents that should be there, by the smallest class that their jobs need; absent while the database is unavailable.
        pub agents_wanted: IntGaugeVec[class],
        /// Live agents by their size class, those that were asked to leave and those in quarantine left out; absent while the
        /// database is unavailable. An agent also does the jobs of smaller classes.
        pub live_agents: IntGaugeVec[class],
        /// Epochs with unfinished jobs by what is expected of them, `in_time` or `at_risk`; absent while the database is
        /// unavailable.
        pub unfinished_epochs: IntGaugeVec[outlook],
        /// Least time between the predicted finish of an unfinished epoch and its deadline, negative if it will be late;
        /// absent while no epoch has both, and while the database is unavailable.
        pub epoch_spare_seconds: GaugeVec,
        /// Time until the predicted finish of the unfinished epoch that finishes last; absent while none is predicted, and
        /// while the database is unavailable.
        pub epoch_finish_seconds: GaugeVec,
        /// Agents not in quarantine by state: `live`; `draining`, live still and asked to leave; or `silent`, which a broker
        /// heard of within a day but not lately. Absent while the database is unavailable.
        pub agents: IntGaugeVec[state],
        /// Sessions of agents that a broker heard of lately, those in quarantine and those asked to leave included; absent
        /// while the database is unavailable.
        pub sessions: IntGaugeVec,
        /// Size of the database; absent while it is unavailable.
        pub database_bytes: IntGaugeVec,
        /// Rows of the tables by state, `live` and `dead`, as PostgreSQL estimates them; absent while the database
        /// is unavailable.
        pub database_rows: IntGaugeVec[state],
        /// Age of the oldest open transaction, which keeps dead rows from being removed; absent while the database
        /// is unavailable.
        pub database_oldest_snapshot_seconds: GaugeVec,
        /// Unix time at which a token ends, by its label; absent for one without an end, and for one that is not valid.
        pub token_expiry_timestamp_seconds: IntGaugeVec[token],
        /// Open streams of events, one for each open web page.
        pub event_streams: IntGauge,
        /// Duration of a reading for the web page: one a second and tenant, while somebody looks.
        pub overview_seconds: Histogram(SECONDS),
        /// Agents that wait for a job.
        pub waiting_agents: IntGauge,
        /// Share of a bounded buffer of this replica that is taken, read every second: `claims`, places of agents that wait
        /// for a job; `agents`, those that the replica remembers; `requests`, places of requests in progress; `bodies`,
        /// memory of their bodies; or `urgent_bodies`, that of heartbeats and outcomes.
        pub buffer_fill_ratio: GaugeVec[buffer in buffers()],
        /// Time from the moment when job and agent are both available to the grant.
        pub dispatch_seconds: Histogram(SECONDS),
        /// Time from ready to granted.
        pub queue_wait_seconds: HistogramVec[kind](SECONDS),
        /// Duration of the claim's statements.
        pub claim_seconds: Histogram(SECONDS),
        /// Duration of a flush, by lane: from its first item to the answers.
        pub flush_seconds: HistogramVec[lane in lanes()](SECONDS),
        /// Items of a flush, by lane.
        pub flush_items: HistogramVec[lane in lanes()](ITEMS),
        /// Items that wait for the next flush, by lane; those of the flush that is being written are not among them.
        pub flush_waiting: IntGaugeVec[lane in lanes()],
        /// Attempts started, by job type.
        pub claims_total: IntCounterVec[kind],
        /// Second leases granted, of jobs that another agent works on.
        pub second_leases_total: IntCounter,
        /// Attempts ended, by outcome or failure class.
        pub attempts_ended_total: IntCounterVec[outcome in outcomes()],
        /// Jobs dead-lettered.
        pub dead_letters_total: IntCounter,
        /// Jobs cancelled by their producer or an operator, dead-lettered ones included.
        pub jobs_cancelled_total: IntCounter,
        /// Done jobs reopened because their result could not be read.
        pub results_lost_total: IntCounter,
        /// Jobs that started to wait for their input to be uploaded again.
        pub inputs_wanted_total: IntCounter,
        /// Jobs whose exclusions were cleared because they left no agent.
        pub exclusions_forgiven_total: IntCounter,
        /// Requests under a superseded or expired lease, by operation.
        pub fence_refusals_total: IntCounterVec[operation in operations()],
        /// Secrets of tokens that this release cannot read, and that open nothing: a newer release wrote them, or
        /// somebody by hand. The log names one of them.
        pub unreadable_tokens: IntGauge,
        /// Requests of the HTTP API by route and outcome: `ok`, `rejected` (4xx) or `failed` (5xx).
        pub requests_total: IntCounterVec[route in routes(), outcome in ["ok", "rejected", "failed"]],
        /// Requests rejected, by error code.
        pub refusals_total: IntCounterVec[code in codes()],
        /// Epochs by state, of every tenant; absent while the database is unavailable.
        pub epochs: IntGaugeVec[state],
        /// Epochs that this broker deleted, by outcome.
        pub epochs_dropped_total: IntCounterVec[outcome in epoch_outcomes()],
        /// Bytes that artifacts take, by place; those in the database with their indexes. Absent while the database is
        /// unavailable.
        pub kept_bytes: IntGaugeVec[place],
        /// Tables of artifacts' bodies, one for each epoch with a body in the database: `used`, of an epoch that is open or
        /// closing; or `due`, of one that is gone, which retention drops next. Absent while the database is unavailable.
        pub partitions: IntGaugeVec[state],
        /// Bytes of stored artifacts that the scrubber read.
        pub scrubbed_bytes_total: IntCounter,
        /// Copies of stored artifacts that the scrubber checked: `whole`; `mended`, damaged and replaced by a whole copy;
        /// `damaged`, without another copy; `gone`, deleted meanwhile; or `unread`.
        pub scrubbed_artifacts_total: IntCounterVec[verdict in verdicts()],
        /// Artifact bytes transferred, by direction and place.
        pub artifact_bytes_total: IntCounterVec[direction in ["in", "out"], place in places()],
    }
}

impl Metrics {
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

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, spec: &Spec, status: u16) {
        let outcome = match status {
            ..=399 => "ok",
            400..=499 => "rejected",
            500.. => "failed",
        };
        self.requests_total.with_label_values(&[route(spec).as_str(), outcome]).inc();
    }

    pub(crate) fn show_queue<'a>(
        &self,
        queue: impl Iterator<Item = &'a QueueView>,
        unable: impl Iterator<Item = &'a UnableView>,
    ) {
        // Without this a finished type would keep its last value for ever.
        self.forget_queue();
        for entry in queue {
            self.know("kind", &entry.kind);
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

    /// Shows how old leases are.
    pub(crate) fn show_leases<'a>(&self, leases: impl Iterator<Item = (&'a str, f64)>) {
        let mut oldest: BTreeMap<&str, f64> = BTreeMap::new();
        for (kind, seconds) in leases {
            let of_kind = oldest.entry(kind).or_default();
            *of_kind = of_kind.max(seconds);
        }
        self.lease_oldest_seconds.reset();
        for (kind, seconds) in oldest {
            self.lease_oldest_seconds.with_label_values(&[kind]).set(seconds);
        }
    }

    /// Shows when tokens end.
    pub(crate) fn show_tokens<'a>(&self, tokens: impl Iterator<Item = (&'a str, u64)>) {
        self.token_expiry_timestamp_seconds.reset();
        for (label, end) in tokens {
            let end = i64::try_from(end).unwrap_or(i64::MAX);
            self.token_expiry_timestamp_seconds.with_label_values(&[label]).set(end);
        }
    }

    /// Shows the agents seen within a day, those of them within `live`, and how many live ones were asked to leave besides.
    pub(crate) fn show_agents(&self, agents: &[Ability<Tenant>], draining: usize, live: Duration) {
        let is_live = |agent: &&Ability<Tenant>| agent.seen_seconds <= live.as_secs_f64();
        let found = agents.iter().filter(is_live).count();
        let silent = agents.len() - found;
        for (state, count) in [("live", found), ("draining", draining), ("silent", silent)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.agents.with_label_values(&[state]).set(count);
        }
    }

    /// Shows how many sessions of live agents there are.
    pub(crate) fn show_sessions(&self, sessions: u64) {
        let none: [&str; 0] = [];
        self.sessions.with_label_values(&none).set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }

    /// Shows how much of a buffer is taken, from 0 to 1.
    pub(crate) fn show_buffer(&self, buffer: Buffer, share: f64) {
        self.buffer_fill_ratio.with_label_values(&[buffer.as_str()]).set(share);
    }

    /// Shows how many agents should be there, and how many epochs are at risk.
    pub(crate) fn show_outlooks<'a>(&self, outlooks: impl Iterator<Item = &'a Outlook>) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        // A gauge that exists from the start can be scaled by.
        let mut classes: BTreeMap<SizeClass, (u64, u64)> =
            SizeClass::LARGEST.holds().map(|class| (class, (0, 0))).collect();
        let (mut in_time, mut at_risk) = (0, 0);
        let (mut spare, mut finish) = (None::<f64>, None::<f64>);
        for Outlook { epochs, autoscale } in outlooks {
            for class in &autoscale.classes {
                let (wanted, live) = classes.entry(class.class).or_default();
                *wanted = wanted.saturating_add(class.wanted);
                *live = live.saturating_add(class.live);
            }
            for epoch in epochs {
                let left = epoch.deadline_in_seconds.zip(epoch.finish_in_seconds);
                let left = left.map(|(deadline, finish)| deadline - finish);
                spare = left.into_iter().chain(spare).reduce(f64::min);
                finish = epoch.finish_in_seconds.into_iter().chain(finish).reduce(f64::max);
                *(if epoch.at_risk { &mut at_risk } else { &mut in_time }) += 1;
            }
        }
        // Each is set once: who reads in between must not see fewer agents wanted.
        for (class, (wanted, live)) in classes {
            let label = [class.to_string()];
            self.agents_wanted.with_label_values(&label).set(number(wanted));
            self.live_agents.with_label_values(&label).set(number(live));
        }
        for (outlook, epochs) in [("in_time", in_time), ("at_risk", at_risk)] {
            self.unfinished_epochs.with_label_values(&[outlook]).set(epochs);
        }
        let none: [&str; 0] = [];
        for (gauge, seconds) in
            [(&self.epoch_spare_seconds, spare), (&self.epoch_finish_seconds, finish)]
        {
            match seconds {
                Some(seconds) => gauge.with_label_values(&none).set(seconds),
                None => gauge.reset(),
            }
        }
    }

    /// Removes the gauges whose source, the database, cannot be read: an old number is worse than
    /// none.
    pub(crate) fn forget_queue(&self) {
        self.queue_jobs.reset();
        self.queue_oldest_seconds.reset();
        self.lease_oldest_seconds.reset();
        self.unable_jobs.reset();
        self.agents.reset();
        self.sessions.reset();
        self.agents_wanted.reset();
        self.live_agents.reset();
        self.unfinished_epochs.reset();
        self.epoch_spare_seconds.reset();
        self.epoch_finish_seconds.reset();
    }

    pub(crate) fn show_database(&self, database: &Database) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let none: [&str; 0] = [];
        self.database_bytes.with_label_values(&none).set(number(database.bytes));
        for (state, rows) in [("live", database.live_rows), ("dead", database.dead_rows)] {
            self.database_rows.with_label_values(&[state]).set(number(rows));
        }
        let age = database.oldest_snapshot_seconds;
        self.database_oldest_snapshot_seconds.with_label_values(&none).set(age);
    }

    /// Removes what [`Self::show_database`] shows.
    pub(crate) fn forget_database(&self) {
        self.database_bytes.reset();
        self.database_rows.reset();
        self.database_oldest_snapshot_seconds.reset();
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

    /// Buffers of a replica that have a bound. What finds one full is answered 503, or is served more slowly.
    pub enum Buffer is "buffer" {
        Claims = "claims",
        Agents = "agents",
        Requests = "requests",
        Bodies = "bodies",
        UrgentBodies = "urgent_bodies",
    }
}
