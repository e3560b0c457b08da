//! What crosses the wire, as JSON. Times are milliseconds or seconds as the name says; every
//! request rejects unknown fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::limits::{
    BATCH_MAX, DEADLINE_UNIX_SECONDS_MAX, EPOCH_MAX, FREE_JSON_BYTES_MAX, HARD_LIMIT_SECONDS_MAX,
    LABELS_MAX, LIST_MAX, NAMED_LEASE_MS_MAX, PATH_MS_MAX, ROLLUP_LABEL, SUBMITTER_LEASE,
    TRACEPARENT_LABEL, WAIT_MS_MAX,
};
use crate::rules::Rule::{self, AtMost, Not, Opaque, Pair, Share, Within};
use crate::rules::{Characters, LABEL, Text};
use crate::shapes::wire;
use crate::{
    AgentId, AttemptOutcome, CompleteOutcome, Digest, EpochOutcome, EpochState, FailureClass,
    Incarnation, JobId, JobState, KindName, LeaseEpoch, RejectOutcome, SessionId, SizeClass,
};

/// The name that a [`NamedLeaseRequest`] is about.
pub const LEASE_NAME: Text = Text::new(Characters::Printable, 1, 200);

wire! {
    /// To whom an artifact belongs.
    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct EpochQuery {
        /// The epoch that the artifact belongs to; dropping the epoch drops it.
        #[rule(Within(0, EPOCH_MAX))]
        pub epoch: u64,
    }

    /// A job to enqueue. Its input must have been uploaded before.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct NewJob {
        /// Epoch, type and digest of the input.
        pub id: JobId,
        /// Only agents with this version of the type get the job. Rollmill's is the digest of its circuits.
        pub version: KindName,
        /// How far the job is from the root. The highest goes first within an epoch, so use one unit for all jobs of it.
        /// Without `path_ms`, send the number of jobs that must follow each other up to the root, the job's own included:
        /// forecasts take it for that.
        #[serde(default)]
        pub rank: u32,
        /// Milliseconds that the jobs take that must follow each other up to the root, the job's own included, as they were
        /// measured. Forecasts use it instead of `rank`; the prover node sends the same number as both.
        #[rule(Within(0, PATH_MS_MAX))]
        #[serde(default)]
        pub path_ms: Option<u32>,
        /// Smallest class of agent that can do the job, 0 to [`SizeClass::LARGEST`]; classes are sizes of memory.
        #[serde(default)]
        pub class: SizeClass,
        /// When the result is no longer needed, in seconds since 1970; at most 2^40. Afterwards the job is
        /// not granted. It becomes a dead letter of class `past_deadline`, until it is enqueued again with
        /// a later deadline. Lost agents alone never make a dead letter, with or without a deadline.
        #[rule(Within(0, DEADLINE_UNIX_SECONDS_MAX))]
        #[serde(default)]
        pub deadline_unix_seconds: Option<u64>,
        /// Longest time one agent may hold the job, at least 1; the setting `hard_limit_seconds` when absent. The
        /// prover node sends none, so that the setting decides.
        #[rule(Within(1, HARD_LIMIT_SECONDS_MAX))]
        #[serde(default)]
        pub hard_limit_seconds: Option<u32>,
        /// Shown to people, and compared when a list asks for one. `traceparent` is also passed on to the job's agents;
        /// nothing else reads them. At most 16 entries, each key and value of at most 200 characters without control
        /// characters.
        #[rule(AtMost(LABELS_MAX), Rule::Text(&LABEL))]
        #[serde(default)]
        pub labels: BTreeMap<String, String>,
    }

    /// A job as the broker knows it.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct JobView {
        /// Epoch, type and digest of the input.
        pub id: JobId,
        /// As enqueued.
        pub version: KindName,
        /// As last enqueued.
        pub rank: u32,
        /// As enqueued, or larger: a job that did not fit into an agent's memory needs a larger class.
        pub class: SizeClass,
        /// Where it stands.
        pub state: JobState,
        /// Times it was granted to an agent.
        pub attempts: u32,
        /// The present lease, while an agent works on the job.
        pub lease: Option<LeaseView>,
        /// Digest of the result, once done.
        pub result: Option<Digest>,
        /// The agent whose result it is.
        pub agent: Option<AgentId>,
        /// What that agent reported about its work. Rollmill's agents report `WorkStats`.
        pub stats: Option<serde_json::Value>,
        /// The last failure, if any attempt failed. It stays when a later attempt succeeds: decide by
        /// `state`.
        pub failure: Option<FailureView>,
        /// As last enqueued.
        pub labels: BTreeMap<String, String>,
        /// When it was first enqueued, in milliseconds since 1970.
        pub created_unix_ms: u64,
        /// When it became done, dead or cancelled.
        pub finished_unix_ms: Option<u64>,
    }

    /// A lease as shown to people.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct LeaseView {
        /// The holder.
        pub agent: AgentId,
        /// Number of the lease.
        pub lease_epoch: LeaseEpoch,
        /// Milliseconds until it runs out, by the database's clock; negative when overdue.
        pub expires_in_ms: i64,
        /// Last progress reported, 0 to 1.
        #[rule(Share)]
        pub progress: Option<f32>,
    }

    /// Why the last attempt failed.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct FailureView {
        /// What kind of failure.
        pub class: FailureClass,
        /// What the agent, the producer or the broker wrote about it.
        pub message: String,
    }

    /// What Rollmill's agents report with a result. The broker stores it as it is.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct WorkStats {
        /// Rows of the circuit, before padding.
        pub rows: u64,
        /// Time to generate the witness.
        pub witness_seconds: f64,
        /// Time to prove.
        pub proving_seconds: f64,
        /// Size of the proof.
        pub proof_bytes: u64,
        /// Most memory that the agent used.
        pub peak_memory_bytes: u64,
    }

    /// Artifacts that were stored.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct ArtifactsResponse {
        /// The digests of the bytes that arrived, in the order of the request.
        pub digests: Vec<Digest>,
    }

    /// Jobs to enqueue.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct EnqueueRequest {
        /// At most [`BATCH_MAX`].
        #[rule(AtMost(BATCH_MAX))]
        pub jobs: Vec<NewJob>,
    }

    /// Jobs by id.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct IdsRequest {
        /// At most [`BATCH_MAX`].
        #[rule(AtMost(BATCH_MAX))]
        pub ids: Vec<JobId>,
    }

    /// Jobs to wait for.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct WaitRequest {
        /// At most [`BATCH_MAX`]. Unknown ids are ignored, so that nothing but unknown ids waits for the whole time.
        #[rule(AtMost(BATCH_MAX))]
        pub ids: Vec<JobId>,
        /// Longest wait; the broker shortens it to [`WAIT_MS_MAX`].
        pub wait_ms: u64,
    }

    /// What a wait ended with.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct WaitResponse {
        /// The jobs that await their producer: those that are `done`, `dead`, `cancelled` or
        /// `input_wanted`. None when the time was over.
        pub jobs: Vec<JobView>,
        /// Types of the producer's waiting jobs that no live agent can do. The broker counts every 5 s.
        #[serde(default)]
        pub unable: Vec<UnableView>,
    }

    /// What to read of an epoch's feed.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ChangesRequest {
        /// As the last answer returned it; absent to read from the beginning.
        #[rule(Opaque)]
        #[serde(default)]
        pub cursor: Option<String>,
        /// Longest wait; the broker shortens it to [`WAIT_MS_MAX`].
        #[serde(default)]
        pub wait_ms: u64,
    }

    /// The jobs of an epoch that changed.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct ChangesResponse {
        /// Jobs that became `done`, `dead`, `cancelled` or `input_wanted`, or were reopened after they were done, as they
        /// are now, the oldest change first. A job that changed several times comes once. None when the time was over.
        pub jobs: Vec<JobView>,
        /// For the next request.
        pub cursor: String,
        /// There is more to read already, so the next request does not wait.
        #[serde(default)]
        pub more: bool,
        /// Types of the tenant's waiting jobs that no live agent can do. The broker counts every 5 s.
        #[serde(default)]
        pub unable: Vec<UnableView>,
    }

    /// Jobs of a type wait and no live agent can do them: none has the type and version, or none is of
    /// the class.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct UnableView {
        /// Type of the jobs.
        pub kind: String,
        /// Version of the jobs.
        pub version: String,
        /// Smallest class of agent that the jobs need.
        pub class: SizeClass,
        /// Jobs that wait.
        pub jobs: u64,
        /// For how long this has been the case.
        pub since_seconds: f64,
    }

    /// Several jobs.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct JobsResponse {
        /// In the order of the request, the newest first for a list; unknown ids are left out.
        pub jobs: Vec<JobView>,
    }

    /// Why an epoch is closed.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct CloseEpochRequest {
        /// Why: `final`, `superseded` or `given_up`.
        #[rule(Not(EpochOutcome::OF_BROKER))]
        pub outcome: EpochOutcome,
        /// A label as `NAME=VALUE`: an epoch with unfinished jobs without it, of other producers, stays open.
        #[rule(Pair)]
        #[serde(default)]
        pub label: Option<String>,
    }

    /// An epoch.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct EpochView {
        /// Its number.
        pub epoch: u64,
        /// How often it was opened anew after it was gone, and 1.
        pub generation: u64,
        /// Its state.
        pub state: EpochState,
        /// Why it was closed; absent while it is open.
        #[serde(default)]
        pub outcome: Option<EpochOutcome>,
        /// When it was opened, in milliseconds since 1970.
        pub opened_unix_ms: u64,
        /// When it was closed, in milliseconds since 1970.
        #[serde(default)]
        pub closed_unix_ms: Option<u64>,
    }

    /// Several epochs.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct EpochsResponse {
        /// The highest number first, at most 1,000.
        pub epochs: Vec<EpochView>,
    }

    /// How much a request changed.
    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    pub struct CountResponse {
        /// How many jobs, agents or leases.
        pub count: u64,
    }

    /// A result that its producer found wrong.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RejectRequest {
        /// The job.
        pub id: JobId,
        /// The result that is wrong, so that a newer one is not rejected by accident.
        pub result: Digest,
        /// What is wrong, for the job's history.
        pub reason: String,
    }

    /// What a rejection did.
    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    pub struct RejectResponse {
        /// What follows for the job.
        pub outcome: RejectOutcome,
        /// Whether the agent can claim nothing more until an operator pardons it.
        pub agent_quarantined: bool,
    }

    /// A type and version of job an agent can do.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Capability {
        /// Type of job.
        pub kind: KindName,
        /// Version of the type.
        pub version: KindName,
    }

    /// An agent that wants a job.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ClaimRequest {
        /// The agent's name: the same one in all its requests, and after a restart. With a token of the role `fleet` it and
        /// the token's label have at most 99 characters together.
        pub agent: AgentId,
        /// At most [`LIST_MAX`].
        #[rule(AtMost(LIST_MAX))]
        pub capabilities: Vec<Capability>,
        /// The agent's class, 0 to [`SizeClass::LARGEST`]. It gets jobs of its class and below.
        pub class: SizeClass,
        /// Longest wait; the broker shortens it to [`WAIT_MS_MAX`].
        pub wait_ms: u64,
        /// Shown to people, at most [`FREE_JSON_BYTES_MAX`] bytes of JSON. Of an object
        /// `device` in it `rollmill-broker status` prints `name`, `memory_bytes` and `threads`.
        #[serde(default)]
        pub info: serde_json::Value,
        /// The agent's session, if it has opened one. The claim is then answered BRK-039 once another session has
        /// superseded it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub session: Option<SessionId>,
    }

    /// What a claim ended with.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct ClaimResponse {
        /// The job; null when there was none in the time.
        pub grant: Option<Grant>,
        /// As in the answer to a heartbeat. The broker answers claims of such an agent without a job, within 1 s.
        #[serde(default)]
        pub drain: bool,
        /// As in the answer to a heartbeat.
        #[serde(default)]
        pub drain_by: Option<String>,
    }

    /// A job leased to an agent.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Grant {
        /// The job. Its id ends with the digest of the input.
        pub job: JobId,
        /// One of the versions that the agent named.
        pub version: KindName,
        /// Number of the lease.
        pub lease_epoch: LeaseEpoch,
        /// The lease expires after this long without a heartbeat.
        pub lease_ms: u64,
        /// The lease expires after this long despite heartbeats.
        pub hard_limit_ms: u64,
        /// When the result is no longer needed, in seconds since 1970; null: never.
        #[serde(default)]
        pub deadline_unix_seconds: Option<u64>,
        /// The job's label of this name, if it is what W3C's header `traceparent` may be.
        #[serde(default)]
        pub traceparent: Option<String>,
    }

    /// A lease as its holder names it.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct LeaseRef {
        /// As granted.
        pub job: JobId,
        /// As granted.
        pub lease_epoch: LeaseEpoch,
    }

    /// Leases to keep.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct HeartbeatRequest {
        /// The holder.
        pub agent: AgentId,
        /// All leases that the agent holds, at most [`LIST_MAX`]. Each is extended by its `lease_ms`.
        #[rule(AtMost(LIST_MAX))]
        pub leases: Vec<LeaseRef>,
    }

    /// What became of the leases.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct HeartbeatResponse {
        /// Leases that the agent no longer holds: stop that work, and do not report a failure. A result that
        /// is finished already can still be handed in.
        pub cancel: Vec<LeaseRef>,
        /// Send heartbeats at least this often: a quarter of a lease, and every second where that is sooner while leases may
        /// be cancelled: the deadline of a job is less than a minute away or over, or some of the leases were lost.
        pub every_ms: u64,
        /// Somebody asked the agent to leave: it gets no more jobs, and exits once it has finished or returned what it
        /// holds. False while nobody has, once that was withdrawn, and for up to 2 s at a replica that does not know yet.
        #[serde(default)]
        pub drain: bool,
        /// Label of the token of whoever asked; null while `drain` is false.
        #[serde(default)]
        pub drain_by: Option<String>,
    }

    /// How far the work on a job is.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ProgressRequest {
        /// The holder.
        pub agent: AgentId,
        /// Its lease.
        pub lease: LeaseRef,
        /// Share of the work done, 0 to 1.
        #[rule(Share)]
        pub progress: f32,
    }

    /// A job's result.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct CompleteRequest {
        /// The holder.
        pub agent: AgentId,
        /// Its lease.
        pub lease: LeaseRef,
        /// Digest of the result, uploaded before.
        pub result: Digest,
        /// What the work took, at most [`FREE_JSON_BYTES_MAX`] bytes of JSON. The producer finds it in `JobView`. The numbers
        /// `witness_seconds` and `proving_seconds` of an object are what the broker forecasts by.
        #[serde(default)]
        pub stats: serde_json::Value,
    }

    /// What a completion did.
    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    pub struct CompleteResponse {
        /// Whose result the job has.
        pub outcome: CompleteOutcome,
    }

    /// A failed attempt.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct FailRequest {
        /// The holder.
        pub agent: AgentId,
        /// Its lease.
        pub lease: LeaseRef,
        /// Decides what happens to the job. `agent_died`, `hard_limit`, `result_lost` and `past_deadline` are
        /// set by the broker only.
        #[rule(Not(FailureClass::OF_BROKER))]
        pub class: FailureClass,
        /// What went wrong, for the producer and the job's history.
        pub message: String,
    }

    /// A job that is returned.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ReleaseRequest {
        /// The holder.
        pub agent: AgentId,
        /// Its lease.
        pub lease: LeaseRef,
    }

    /// One attempt at a job.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct AttemptView {
        /// Whose attempt.
        pub agent: AgentId,
        /// Number of its lease; null for a result from an agent that held none.
        pub lease_epoch: Option<LeaseEpoch>,
        /// How it ended.
        pub outcome: AttemptOutcome,
        /// Why it failed.
        pub failure: Option<FailureView>,
        /// Digest of the result that it handed in.
        pub result: Option<Digest>,
        /// When it was granted, in milliseconds since 1970.
        pub started_unix_ms: u64,
        /// When it ended; null while it runs.
        pub ended_unix_ms: Option<u64>,
    }

    /// The attempts at a job.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct HistoryResponse {
        /// The newest first.
        pub attempts: Vec<AttemptView>,
    }

    /// Which jobs to list.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ListQuery {
        /// Only jobs in this state.
        pub state: Option<JobState>,
        /// Only jobs of this epoch.
        #[rule(Within(0, EPOCH_MAX))]
        pub epoch: Option<u64>,
        /// Only jobs with this label, as `NAME=VALUE`.
        #[rule(Pair)]
        pub label: Option<String>,
        /// At most [`BATCH_MAX`] are returned, whatever it says; 100 when absent.
        pub limit: Option<u32>,
        /// Only jobs that were enqueued before this one: the last job of a page, to list the next page.
        pub before: Option<JobId>,
    }

    /// A name that one holder has at a time, so that only one of several instances acts.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct NamedLeaseRequest {
        /// 1 to 200 characters without control characters, such as `submitter/7`.
        #[rule(Rule::Text(&LEASE_NAME))]
        pub name: String,
        /// An identity that outlives the process.
        pub holder: AgentId,
        /// The incarnation of the holder. While one holds the name, another of the same holder does
        /// not get it.
        pub incarnation: Incarnation,
        /// The fence returned by the acquisition; required to renew and release.
        #[rule(Within(0, EPOCH_MAX))]
        #[serde(default)]
        pub fence: Option<u64>,
        /// How long it lasts from now, at most a day; ignored by release.
        #[rule(Within(0, NAMED_LEASE_MS_MAX))]
        #[serde(default)]
        pub ttl_ms: u64,
    }

    /// Who holds a name.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct NamedLeaseResponse {
        /// Whether the caller holds the name now.
        pub held: bool,
        /// Grows with each acquisition. The holder passes it on with what it does under the name, so that
        /// late requests of an older holder are recognised.
        pub fence: u64,
        /// The present holder; absent while the name is free.
        pub holder: Option<AgentId>,
        /// The incarnation that holds the name.
        #[serde(default)]
        pub incarnation: Option<Incarnation>,
        /// Milliseconds until it expires, by the database's clock.
        pub expires_in_ms: i64,
    }

    /// An error.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ErrorBody {
        /// Stable code, `BRK-…`, or `SVC-…` for what the frame of the server rejects.
        pub code: String,
        /// For people.
        pub message: String,
    }
}
