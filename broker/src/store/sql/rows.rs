//! Rows of results.

use rollmill_broker_client::{
    AgentId, AttemptOutcome, EpochOutcome, EpochState, FailureClass, Incarnation, Installation,
    JobId, JobState, KindName, Role, SessionId,
};

use super::super::Place;
use super::parameter::{Big, Int, Rank, Sha, Size, Text};

rows! {
    /// The key of a job.
    Seq { seq: i64, }

    /// The place of an item in the arrays of its statement, from 1.
    Placed { place: Big, }

    /// A lease that is held: its item's place, whether its hard limit is still ahead, and whether the deadline of its job
    /// is near.
    Held {
        place: Big,
        is_within: bool,
        is_near: bool,
    }

    /// An agent that was seen, and whether it is in quarantine.
    Sighted {
        tenant: String,
        id: Text<AgentId>,
        quarantined: bool,
    }

    /// An artifact that was sent: its item's place, whether its epoch is open and it was stored, and how many jobs
    /// waited for it.
    Stored {
        place: Big,
        is_open: bool,
        made_ready: Big,
    }

    /// A job that changed, and the snapshot that it was read under; only the snapshot where none did.
    Change {
        until: String,
        seq: Option<i64>,
        id: Option<Text<JobId>>,
        change: Option<i64>,
    }

    /// The body of an artifact's newest copy; NULL where it does not lie in the database.
    Newest { body: Option<Vec<u8>>, }

    /// A count.
    Count { count: Big, }

    /// Whether something is there.
    Exists { found: bool, }

    /// The name of a job.
    Id { id: Text<JobId>, }

    /// Where the scrubber is. Before the first artifact: no name, no digest and an epoch before all others.
    ScrubPlaceRow {
        tenant: String,
        digest: Vec<u8>,
        epoch: i64,
    }

    /// A copy of an artifact, and whether its epoch is open.
    ScrubNextRow {
        tenant: String,
        digest: Sha,
        epoch: Big,
        bytes: Big,
        is_open: bool,
    }

    /// How long the scrubber waits.
    ScrubWaitRow { wait_seconds: f64, }

    /// The address of an artifact.
    Address { digest: Sha, }

    /// An epoch.
    Epoch { epoch: Big, }

    /// Whether an agent is in quarantine.
    Quarantine { quarantined: bool, }

    /// Whether an agent was asked to leave, or not to, that was not before.
    DrainRow { changed: bool, }

    /// Who asked an agent to leave.
    DrainedBy { draining_by: Option<String>, }

    /// An agent that was asked to leave, and whether it is live still and not in quarantine.
    DrainingAgent {
        tenant: String,
        id: Text<AgentId>,
        live: bool,
    }

    /// What an agent can do.
    AbilityRow {
        tenant: String,
        able: Vec<String>,
        class: Size,
        seen_seconds: f64,
    }

    /// An agent that holds a lease.
    HolderRow {
        tenant: String,
        agent: Text<AgentId>,
    }

    /// Size and age of what the database holds.
    DatabaseRow {
        bytes: Big,
        live_rows: Big,
        dead_rows: Big,
        oldest_snapshot_seconds: f64,
    }

    /// An agent as shown to people.
    AgentRow {
        id: Text<AgentId>,
        info: Option<String>,
        rejected: Int,
        quarantined: bool,
        draining_by: Option<String>,
        last_seen_seconds: f64,
        leases: Rank,
    }

    /// An agent in the overview, with how many there are of each kind.
    OverviewAgent {
        id: Text<AgentId>,
        info: Option<String>,
        rejected: Int,
        quarantined: bool,
        draining: bool,
        live: bool,
        gone: bool,
        seen_seconds: Big,
        leases: Rank,
        all_count: Big,
        live_count: Big,
        silent_count: Big,
        quarantined_count: Big,
    }

    /// A dead letter in the overview, with how many there are.
    OverviewDead {
        id: Text<JobId>,
        failure_class: Option<Text<FailureClass>>,
        failure_message: Option<String>,
        dead_seconds: Option<Big>,
        all_count: Big,
    }

    /// Jobs of an open epoch in the overview.
    OverviewJobs {
        epoch: Big,
        kind: Option<String>,
        state: Option<Text<JobState>>,
        count: Big,
        rank: Big,
        seconds: f64,
    }

    /// Where a copy of an artifact lies.
    Copy {
        epoch: Big,
        place: Text<Place>,
        bytes: Big,
        generation: Big,
        version: String,
    }

    /// An epoch.
    EpochRow {
        number: Big,
        generation: Big,
        state: Text<EpochState>,
        outcome: Option<Text<EpochOutcome>>,
        swept: bool,
        forgotten: bool,
        opened_ms: Big,
        closed_ms: Option<Big>,
    }

    /// An epoch that retention is to do something about: end it, sweep it, or forget it.
    DueRow {
        tenant: String,
        number: Big,
        state: Text<EpochState>,
        outcome: Option<Text<EpochOutcome>>,
        forget: bool,
    }

    /// An epoch of a tenant, by its number.
    NumberRow {
        tenant: String,
        number: Big,
    }

    /// How many epochs are in a state.
    EpochsRow {
        state: Text<EpochState>,
        count: Big,
    }

    /// Bytes of artifacts by place.
    KeptRow {
        rows: Big,
        objects: Big,
    }

    /// Tables of bodies, and those of them that have yet to be dropped.
    PartitionsRow {
        present: Big,
        due: Big,
    }

    /// The object store of the database.
    StoreRow {
        identity: String,
        name: String,
    }

    /// The bytes of an artifact.
    Body { body: Vec<u8>, }

    /// A job under the caller's lock.
    LockedJob {
        seq: i64,
        state: Text<JobState>,
        class: Size,
        lease_epoch: Big,
        lease_holder: Option<Text<AgentId>>,
        excluded_agents: Vec<String>,
        result: Option<Sha>,
        result_agent: Option<Text<AgentId>>,
    }

    /// A job whose exclusions were looked at.
    Forgiven {
        id: Text<JobId>,
        forgive: bool,
    }

    /// Jobs of a type and epoch in a state.
    QueueRow {
        tenant: String,
        kind: String,
        version: String,
        class: Size,
        state: Text<JobState>,
        epoch: Big,
        count: Big,
        oldest_seconds: f64,
        lease_seconds: Option<f64>,
        rank: Rank,
        path_seconds: Option<f64>,
        deadline_seconds: Option<f64>,
    }

    /// A ready job, not locked.
    CandidateRow {
        seq: i64,
        kind: String,
        version: String,
        class: Size,
        epoch: i64,
        rank: i64,
        excluded_agents: Vec<String>,
        waited_seconds: f64,
    }

    /// A running job of an epoch that is at risk.
    SecondRow {
        seq: i64,
        tenant: String,
        kind: String,
        version: String,
        class: Size,
        epoch: Big,
        rank: Rank,
        lease_epoch: Big,
        lease_holder: Option<Text<AgentId>>,
        excluded_agents: Vec<String>,
        running_seconds: f64,
        has_second: bool,
        is_crowded: bool,
    }

    /// A job of an Aztec prover node.
    AztecJobRow {
        id: Text<JobId>,
        version: Text<KindName>,
        state: Text<JobState>,
        attempts: Int,
        input: Sha,
        result: Option<Sha>,
        lease_epoch: Big,
        lease_holder: Option<Text<AgentId>>,
        failure_message: Option<String>,
        created_ms: Big,
    }

    /// The newest epoch, if there is one.
    Height { epoch: Option<Big>, }

    /// An epoch of a tenant.
    OldEpoch {
        tenant: String,
        epoch: Big,
    }

    /// A job that was leased.
    GrantedRow {
        seq: i64,
        id: Text<JobId>,
        version: Text<KindName>,
        lease_epoch: Big,
        lease_holder: Option<Text<AgentId>>,
        deadline: Option<Big>,
        traceparent: Option<String>,
        hard_limit_seconds: Int,
        waited_seconds: f64,
    }

    /// A lease that goes on.
    Kept {
        id: Text<JobId>,
        lease_epoch: Big,
    }

    /// The present lease epoch of a job.
    LeaseEpochRow { lease_epoch: Big, }

    /// A lease that expired.
    OverdueRow {
        seq: i64,
        id: Text<JobId>,
        lease_epoch: Big,
        lease_holder: Option<Text<AgentId>>,
        class: Size,
        hard: Option<bool>,
    }

    /// A named lease.
    NameRow {
        holder: Option<Text<AgentId>>,
        incarnation: Option<Text<Incarnation>>,
        fence: Big,
        expires_in_ms: i64,
    }

    /// A token as listed. Times are milliseconds since 1970.
    TokenRow {
        label: String,
        role: Text<Role>,
        fleet: bool,
        tenant: String,
        agent: Option<Text<AgentId>>,
        certificate: Option<String>,
        requests_per_second: Option<Int>,
        connections: Option<Int>,
        rejected: Int,
        revoked: bool,
        suspended: bool,
        expired: bool,
        created_ms: Big,
        expires_ms: Option<Big>,
        previous_ms: Option<Big>,
    }

    /// A secret that is valid, or whose token is suspended. Its values are read one by one: a row that this release
    /// cannot read must not hide the others.
    BearerRow {
        hash: Vec<u8>,
        label: String,
        role: String,
        fleet: bool,
        tenant: String,
        agent: Option<String>,
        requests_per_second: Option<i32>,
        connections: Option<i32>,
        suspended: bool,
        expires: Option<Big>,
    }

    /// The name in the certificate that stands for a token.
    CertificateRow { certificate: Option<String>, }

    /// The tenant of what was changed.
    TenantName { tenant: String, }

    /// A token that is not suspended now, and whether it was.
    Resumed {
        tenant: String,
        suspended: bool,
    }

    /// Whether this charge suspended a token.
    Suspension { suspended: bool, }

    /// An entry of the record.
    AuditRow {
        id: Big,
        at_ms: Big,
        tenant: String,
        label: String,
        action: String,
        detail: String,
    }

    /// The name of an agent.
    AgentName { id: Text<AgentId>, }

    /// An agent that was charged, and what is behind it.
    Charged {
        quarantined: bool,
        token: Option<String>,
        device: Option<String>,
    }

    /// An agent that was seen, whether it is in quarantine, and its session.
    SeenRow {
        tenant: String,
        id: Text<AgentId>,
        quarantined: bool,
        session: Option<Text<SessionId>>,
    }

    /// An agent's session.
    PresentSession {
        session: Option<Text<SessionId>>,
        quarantined: bool,
    }

    /// What an agent's row had when it opened a session, and what came of it.
    SessionRow {
        free: bool,
        live: bool,
        session: Option<Text<SessionId>>,
        installation: Option<Text<Installation>>,
        opened: Big,
    }

    /// A job as shown to producers and people.
    JobRow {
        id: Text<JobId>,
        version: Text<KindName>,
        rank: Rank,
        class: Size,
        state: Text<JobState>,
        attempts: Int,
        lease_epoch: Big,
        lease_holder: Option<Text<AgentId>>,
        expires_in_ms: Option<i64>,
        progress: Option<f32>,
        result: Option<Sha>,
        result_agent: Option<Text<AgentId>>,
        stats: Option<String>,
        labels: String,
        failure_class: Option<Text<FailureClass>>,
        failure_message: Option<String>,
        created_ms: Big,
        finished_ms: Option<Big>,
    }

    /// An attempt at a job.
    AttemptRow {
        agent: Text<AgentId>,
        lease_epoch: Option<Big>,
        outcome: Text<AttemptOutcome>,
        failure_class: Option<Text<FailureClass>>,
        failure_message: Option<String>,
        result: Option<Sha>,
        started_ms: Big,
        ended_ms: Option<Big>,
    }

    /// The last migration, if there was one.
    Migration { version: Option<i64>, }

    /// The last migration that a release must know.
    OldestRelease { oldest: i64, }

    /// The clock of the database.
    ClockRow { unix_ms: Big, }

    /// The version of the server.
    ServerVersion {
        number: i32,
        text: String,
    }

    /// Whether an index is valid.
    IndexValid { valid: bool, }

    /// The schema that the broker uses, if the search path names one.
    Schema { name: Option<String>, }
}
