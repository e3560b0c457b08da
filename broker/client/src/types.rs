//! What crosses the wire, as JSON. Times are milliseconds or seconds as the name says; every
//! request rejects unknown fields.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::named;
use crate::{AgentId, Digest, Incarnation, JobId, KindName, LeaseEpoch, SizeClass};

named! {
    /// The state of a job. `docs/book/states.md` shows which statement moves it from one to the next.
    pub enum JobState is "job state" {
        /// Waits for an agent.
        Ready = "ready",
        /// Waits for its backoff to pass.
        Delayed = "delayed",
        /// Its input cannot be read. The producer uploads it again, which makes the job ready.
        InputWanted = "input_wanted",
        /// An agent works on it.
        Leased = "leased",
        /// Has a result. The producer may still reject it, which reopens the job.
        Done = "done",
        /// A dead letter: not tried again until an operator or the producer replays it.
        Dead = "dead",
        /// No longer needed. Enqueueing it again reopens it.
        Cancelled = "cancelled",
    }

    /// The state or outcome of an attempt at a job.
    pub enum AttemptOutcome is "outcome of an attempt" {
        /// The agent holds the lease.
        Running = "running",
        /// The agent's result became the job's while it held the lease.
        Completed = "completed",
        /// The agent's result became the job's after its lease, or without one.
        CompletedLate = "completed_late",
        /// The agent reported a failure.
        Failed = "failed",
        /// The lease expired.
        Expired = "expired",
        /// The agent released the job.
        Released = "released",
        /// The producer rejected the result.
        Rejected = "rejected",
        /// Another agent's result came first.
        Superseded = "superseded",
        /// The job was cancelled meanwhile.
        Cancelled = "cancelled",
        /// The result was the job's, and its bytes can no longer be read.
        ResultLost = "result_lost",
    }

    /// Why an attempt ended without a result. Each class has a retry policy of its own
    /// (`rollmill_broker::policy`).
    pub enum FailureClass is "failure class" {
        /// Temporary: network, disk, a restart.
        Transient = "transient",
        /// The broker has no readable input for the job. It then reads the input itself: if it can, the
        /// failure counts as transient, else the job waits for its producer.
        InputMissing = "input_missing",
        /// The job does not fit on the agent's device. It goes to a larger class of agent.
        OutOfMemory = "out_of_memory",
        /// The agent's own check rejected its proof, or the producer did. Never the same agent again.
        InvalidProof = "invalid_proof",
        /// The agent does not have that version of the circuit after all.
        VersionMismatch = "version_mismatch",
        /// The input breaks a constraint or cannot be decoded. No retry can help.
        BadInput = "bad_input",
        /// The result is larger than the broker accepts. No retry can help.
        ResultTooLarge = "result_too_large",
        /// The lease expired without a heartbeat. Set by the broker only.
        AgentDied = "agent_died",
        /// The agent held the lease longer than the job's hard limit. Set by the broker only.
        HardLimit = "hard_limit",
        /// The job was done and its result's bytes can no longer be read. Nobody is blamed. Set by the
        /// broker only.
        ResultLost = "result_lost",
        /// The job's deadline passed before it was done. Set by the broker only.
        PastDeadline = "past_deadline",
    }

    /// What a rejection did.
    pub enum RejectOutcome is "outcome of a rejection" {
        /// The job waits for another agent; or for any, when the result's bytes could not be read and so
        /// nobody is to blame.
        Reopened = "reopened",
        /// The job is a dead letter: too many agents returned wrong proofs.
        DeadLettered = "given_up",
        /// That result was not, or is no longer, the job's. Nothing changed.
        Stale = "stale",
    }

    /// What a completion did.
    pub enum CompleteOutcome is "outcome of a completion" {
        /// This is the job's result now.
        Accepted = "accepted",
        /// The job had a result already, this one or another; the first one stays.
        AlreadyDone = "already_done",
    }

    /// What a token's bearer may do. The table of routes says which role each route needs.
    pub enum Role is "role" {
        /// Enqueue, read, reject, cancel, hold names.
        Producer = "producer",
        /// Claim and report.
        Agent = "agent",
        /// Everything.
        Operator = "operator",
        /// Read only.
        Reader = "reader",
    }
}

impl JobState {
    /// Whether nothing more happens to the job by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }

    /// Whether the producer has something to do: take a result, upload an input, or decide about a
    /// dead letter. [`crate::Client::wait`] returns on these.
    pub const fn awaits_producer(self) -> bool {
        self.is_final() || matches!(self, Self::InputWanted)
    }
}

impl FailureClass {
    /// Whether only the broker may report it.
    pub const fn is_brokers(self) -> bool {
        matches!(self, Self::AgentDied | Self::HardLimit | Self::ResultLost | Self::PastDeadline)
    }
}

/// Query of [`crate::routes::PutArtifact`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochQuery {
    /// The epoch that the artifact belongs to; dropping the epoch drops it.
    pub epoch: u64,
}

/// A job to enqueue. Its input must have been uploaded before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// Names epoch, type and input.
    pub id: JobId,
    /// Circuit-set id; only agents that have it get the job.
    pub version: KindName,
    /// How far the job is from the root. The highest goes first within an epoch; the broker only compares.
    /// The prover node sends the number of proofs on the path to the root, the job's own included.
    #[serde(default)]
    pub rank: u32,
    /// Smallest class of agent that can hold the job.
    #[serde(default)]
    pub class: SizeClass,
    /// When the epoch can no longer be proven, seconds since 1970. Until then time-outs never make
    /// the job a dead letter; without it they never do. Afterwards the job is not granted and
    /// becomes a dead letter of class [`FailureClass::PastDeadline`], until it is enqueued again
    /// with a later one.
    #[serde(default)]
    pub deadline_unix_seconds: Option<u64>,
    /// Longest time that one agent may hold the job, as it was first enqueued; the broker's setting
    /// `hard_limit_seconds` when absent. The prover node sends none, so that the setting decides.
    #[serde(default)]
    pub hard_limit_seconds: Option<u32>,
    /// Shown to people, never read. At most 16 entries of 200 bytes.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl NewJob {
    /// A job of rank and class 0 without deadline or labels.
    pub fn new(epoch: u64, kind: &KindName, version: KindName, input: Digest) -> Self {
        Self {
            id: JobId::new(epoch, kind, input),
            version,
            rank: 0,
            class: SizeClass::SMALLEST,
            deadline_unix_seconds: None,
            hard_limit_seconds: None,
            labels: BTreeMap::new(),
        }
    }
}

/// Most jobs or ids in one request.
pub const BATCH_MAX: usize = 1000;
/// Longest that the broker holds a long-polling request, in milliseconds.
pub const WAIT_MS_MAX: u64 = 30_000;
/// How long a prover node's lease on submitting lasts without a renewal.
pub const SUBMITTER_LEASE: Duration = Duration::from_secs(30);

/// A job as the broker knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    pub id: JobId,
    pub version: KindName,
    pub rank: u32,
    pub class: SizeClass,
    pub state: JobState,
    /// Times it was granted to an agent.
    pub attempts: u32,
    /// Holder and age of the present lease.
    pub lease: Option<LeaseView>,
    /// Digest of the result, once done.
    pub result: Option<Digest>,
    /// The agent that proved it.
    pub agent: Option<AgentId>,
    /// What that agent reported about its work; see [`WorkStats`].
    pub stats: Option<serde_json::Value>,
    /// The last failure, if any attempt failed.
    pub failure: Option<FailureView>,
    pub labels: BTreeMap<String, String>,
    pub created_unix_ms: u64,
    pub finished_unix_ms: Option<u64>,
}

/// A lease as shown to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaseView {
    pub agent: AgentId,
    pub lease_epoch: LeaseEpoch,
    /// Milliseconds until it runs out, by the database's clock; negative when overdue.
    pub expires_in_ms: i64,
    /// Last progress reported, 0 to 1.
    pub progress: Option<f32>,
}

/// Why the last attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    pub class: FailureClass,
    pub message: String,
}

/// What Rollmill's agents report with a result. The broker stores it as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkStats {
    /// Rows of the circuit, before padding.
    pub rows: u64,
    pub witness_seconds: f64,
    pub proving_seconds: f64,
    pub proof_bytes: u64,
    pub peak_memory_bytes: u64,
}

/// Body of [`crate::routes::Enqueue`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnqueueRequest {
    pub jobs: Vec<NewJob>,
}

/// Ids of jobs, at most [`BATCH_MAX`]: the body of queries, cancellations and of both requests about dead
/// letters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdsRequest {
    pub ids: Vec<JobId>,
}

/// Body of [`crate::routes::Wait`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    pub ids: Vec<JobId>,
    pub wait_ms: u64,
}

/// Answer to [`WaitRequest`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WaitResponse {
    /// The jobs that await their producer, see [`JobState::awaits_producer`].
    pub jobs: Vec<JobView>,
    /// Types of the producer's waiting jobs that no live agent can do.
    #[serde(default)]
    pub unable: Vec<UnableView>,
}

/// Jobs of a type wait and no live agent can do them: none has the type and version, or none is of
/// the class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnableView {
    pub kind: String,
    pub version: String,
    /// Smallest class of agent that the jobs need.
    pub class: SizeClass,
    /// Jobs that wait.
    pub jobs: u64,
    /// For how long this has been the case.
    pub since_seconds: f64,
}

/// Jobs, in the order asked for; unknown ids are left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobsResponse {
    pub jobs: Vec<JobView>,
}

/// How many rows a request changed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CountResponse {
    pub count: u64,
}

/// Body of [`crate::routes::Reject`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectRequest {
    pub id: JobId,
    /// The result that is wrong, so that a newer one is not rejected by accident.
    pub result: Digest,
    pub reason: String,
}

/// Answer to [`RejectRequest`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RejectResponse {
    pub outcome: RejectOutcome,
    /// The agent may claim no more, until an operator pardons it.
    pub agent_quarantined: bool,
}

/// A type and version of job an agent can do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    pub kind: KindName,
    pub version: KindName,
}

/// Body of [`crate::routes::Claim`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    pub agent: AgentId,
    pub capabilities: Vec<Capability>,
    /// The agent's class.
    pub class: SizeClass,
    pub wait_ms: u64,
    /// Shown to people: software, device, memory. At most 4 kB of JSON.
    #[serde(default)]
    pub info: serde_json::Value,
}

/// Answer to [`ClaimRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClaimResponse {
    pub grant: Option<Grant>,
}

/// A job leased to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub job: JobId,
    pub version: KindName,
    pub lease_epoch: LeaseEpoch,
    /// The lease expires after this long without a heartbeat.
    pub lease_ms: u64,
    /// The lease expires after this long despite heartbeats.
    pub hard_limit_ms: u64,
    /// When the result is no longer needed, seconds since 1970; absent: never.
    #[serde(default)]
    pub deadline_unix_seconds: Option<u64>,
}

/// A lease as its holder names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRef {
    pub job: JobId,
    pub lease_epoch: LeaseEpoch,
}

/// Body of [`crate::routes::Heartbeat`]: all leases the agent holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatRequest {
    pub agent: AgentId,
    pub leases: Vec<LeaseRef>,
}

/// Answer to [`HeartbeatRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeartbeatResponse {
    /// Leases that the agent no longer has: stop that work and do not report it.
    pub cancel: Vec<LeaseRef>,
    /// Send heartbeats at least this often.
    pub every_ms: u64,
}

/// Body of [`crate::routes::Progress`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressRequest {
    pub agent: AgentId,
    pub lease: LeaseRef,
    /// Share of the work done, 0 to 1.
    pub progress: f32,
}

/// Body of [`crate::routes::Complete`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteRequest {
    pub agent: AgentId,
    pub lease: LeaseRef,
    /// The result, uploaded before.
    pub result: Digest,
    /// At most 4 kB of JSON.
    #[serde(default)]
    pub stats: serde_json::Value,
}

/// Answer to [`CompleteRequest`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CompleteResponse {
    pub outcome: CompleteOutcome,
}

/// Body of [`crate::routes::Fail`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailRequest {
    pub agent: AgentId,
    pub lease: LeaseRef,
    pub class: FailureClass,
    pub message: String,
}

/// Body of [`crate::routes::Release`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    pub agent: AgentId,
    pub lease: LeaseRef,
}

/// One attempt at a job, newest first in a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    pub agent: AgentId,
    pub lease_epoch: Option<LeaseEpoch>,
    pub outcome: AttemptOutcome,
    pub failure: Option<FailureView>,
    pub result: Option<Digest>,
    pub started_unix_ms: u64,
    pub ended_unix_ms: Option<u64>,
}

/// Answer to [`crate::routes::History`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryResponse {
    pub attempts: Vec<AttemptView>,
}

/// Query of [`crate::routes::List`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    pub state: Option<JobState>,
    pub epoch: Option<u64>,
    /// At most [`BATCH_MAX`]; 100 when absent.
    pub limit: Option<u32>,
}

/// Body of the requests about named leases: one holder at a time for a name such as
/// `submitter/<prover id>`, so that only one of several instances acts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedLeaseRequest {
    pub name: String,
    /// An identity that outlives the process.
    pub holder: AgentId,
    /// The incarnation of the holder. While one holds the name, another of the same holder does
    /// not get it.
    pub incarnation: Incarnation,
    /// The fence returned by the acquisition; required to renew and release.
    #[serde(default)]
    pub fence: Option<u64>,
    /// How long it lasts from now; ignored by release.
    #[serde(default)]
    pub ttl_ms: u64,
}

/// Answer to [`NamedLeaseRequest`].
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
    pub expires_in_ms: i64,
}

/// Answer to [`crate::routes::Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusResponse {
    pub queue: Vec<QueueView>,
    pub agents: Vec<AgentView>,
    pub dead_letters: u64,
    /// Waiting types of job that no live agent can do.
    #[serde(default)]
    pub unable: Vec<UnableView>,
}

/// Jobs of a type in a state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueView {
    pub kind: String,
    pub version: String,
    /// Smallest class of agent that the jobs need.
    #[serde(default)]
    pub class: SizeClass,
    pub state: JobState,
    pub count: u64,
    /// Age of the oldest.
    pub oldest_seconds: f64,
}

/// An agent that has contacted the broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentView {
    pub agent: AgentId,
    pub info: serde_json::Value,
    pub last_seen_seconds: f64,
    pub leases: u32,
    pub rejected: u32,
    pub quarantined: bool,
}

/// The body of every error response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable code, `BRK-…`.
    pub code: String,
    pub message: String,
}
