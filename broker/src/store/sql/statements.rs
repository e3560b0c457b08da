//! Every statement of the broker.

use std::time::Duration;

use rollmill_broker_client::{
    AgentId, AttemptOutcome, Digest, EpochOutcome, FailureClass, Incarnation, Installation, JobId,
    JobState, KindName, LeaseEpoch, Role, SessionId, SizeClass, TokenLabel,
};

use super::super::{Place, Tenant};
use super::rows::*;

statements! {
    // Jobs of producers and operators.
    Enqueue<'a> = "enqueue.sql" {
        tenant: &'a Tenant,
        ids: Vec<&'a JobId>,
        kinds: Vec<&'a str>,
        versions: Vec<&'a KindName>,
        epochs: Vec<u64>,
        ranks: Vec<u32>,
        sizes: Vec<SizeClass>,
        inputs: Vec<Digest>,
        labels: Vec<String>,
        hard_limits: Vec<Option<i32>>,
        deadlines: Vec<Option<f64>>,
        paths: Vec<Option<i32>>,
    } -> ();
    View<'a> = "view.sql" { tenant: &'a Tenant, jobs: Vec<&'a JobId> } -> JobRow;
    Changes<'a> = "changes.sql" {
        tenant: &'a Tenant,
        epoch: u64,
        seen: Option<&'a str>,
        until: Option<&'a str>,
        after_change: i64,
        after_seq: i64,
        most: i64,
    } -> Change;
    List<'a> = "list.sql" {
        tenant: &'a Tenant,
        state: Option<JobState>,
        epoch: Option<u64>,
        label: Option<&'a str>,
        value: Option<&'a str>,
        before: Option<&'a JobId>,
        most: i64,
    } -> Id;
    Attempts<'a> = "attempts.sql" { tenant: &'a Tenant, job: &'a JobId } -> AttemptRow;
    Queue<'a> = "queue.sql" { tenant: Option<&'a Tenant>, hard_limit_seconds: i32 } -> QueueRow;
    DeadLetters<'a> = "dead_letters.sql" { tenant: &'a Tenant } -> Count;
    Cancel<'a> = "cancel.sql" {
        tenant: &'a Tenant,
        jobs: Vec<&'a JobId>,
        states: Vec<JobState>,
    } -> Seq;
    Replay<'a> = "replay.sql" { tenant: &'a Tenant, jobs: Vec<&'a JobId> } -> Seq;

    // Leases.
    Peek<'a> = "peek.sql" {
        tenant: &'a Tenant,
        versions: Vec<&'a KindName>,
        kinds: Vec<&'a KindName>,
        sizes: Vec<SizeClass>,
        most: i64,
    } -> CandidateRow;
    Claim<'a> = "claim.sql" {
        jobs: &'a [i64],
        agents: Vec<&'a AgentId>,
        lease: Duration,
        hard_limit_seconds: i32,
    } -> GrantedRow;
    Heartbeat<'a> = "heartbeat.sql" {
        tenant: &'a Tenant,
        agent: &'a AgentId,
        jobs: Vec<&'a JobId>,
        lease_epochs: Vec<LeaseEpoch>,
        lease: Duration,
    } -> Kept;
    Progress<'a> = "progress.sql" {
        tenant: &'a Tenant,
        job: &'a JobId,
        agent: &'a AgentId,
        lease_epoch: LeaseEpoch,
        progress: f32,
    } -> ();
    BeatMany<'a> = "beat_many.sql" {
        tenants: Vec<&'a Tenant>,
        jobs: Vec<&'a JobId>,
        agents: Vec<&'a AgentId>,
        lease_epochs: Vec<LeaseEpoch>,
        extends: Vec<bool>,
        progresses: Vec<Option<f32>>,
        lease: Duration,
    } -> Held;
    SecondCandidates<'a> = "second_candidates.sql" {
        tenants: Vec<&'a Tenant>,
        epochs: Vec<u64>,
        most: i64,
    } -> SecondRow;
    SecondLock = "second_lock.sql" {} -> ();
    SecondBound = "second_bound.sql" { lease: Duration } -> ();
    SecondFree = "second_free.sql" { states: Vec<JobState> } -> Count;
    SecondClaim<'a> = "second_claim.sql" {
        jobs: &'a [i64],
        agents: Vec<&'a AgentId>,
        lease_epochs: Vec<LeaseEpoch>,
        lease: Duration,
        hard_limit_seconds: i32,
    } -> GrantedRow;
    SecondBeat<'a> = "second_beat.sql" {
        tenants: Vec<&'a Tenant>,
        jobs: Vec<&'a JobId>,
        agents: Vec<&'a AgentId>,
        lease_epochs: Vec<LeaseEpoch>,
        states: Vec<JobState>,
        lease: Duration,
    } -> Held;
    SecondEnd<'a> = "second_end.sql" {
        tenant: &'a Tenant,
        job: &'a JobId,
        agent: &'a AgentId,
        lease_epoch: LeaseEpoch,
    } -> ();
    CompleteMany<'a> = "complete_many.sql" {
        tenants: Vec<&'a Tenant>,
        jobs: Vec<&'a JobId>,
        agents: Vec<&'a AgentId>,
        lease_epochs: Vec<LeaseEpoch>,
        results: Vec<Digest>,
        stats: Vec<String>,
        outcome: AttemptOutcome,
    } -> Placed;
    ReleaseMany<'a> = "release_many.sql" {
        tenants: Vec<&'a Tenant>,
        jobs: Vec<&'a JobId>,
        agents: Vec<&'a AgentId>,
        lease_epochs: Vec<LeaseEpoch>,
        outcome: AttemptOutcome,
    } -> Placed;
    LeaseEpochOf<'a> = "lease_epoch.sql" { tenant: &'a Tenant, job: &'a JobId } -> LeaseEpochRow;
    Lock<'a> = "lock.sql" { tenant: &'a Tenant, job: &'a JobId } -> LockedJob;
    Complete<'a> = "complete.sql" {
        tenant: &'a Tenant,
        job: &'a JobId,
        result: Digest,
        agent: &'a AgentId,
        stats: String,
    } -> ();
    Release = "release.sql" { job: i64 } -> ();
    Reopen<'a> = "reopen.sql" {
        job: i64,
        state: JobState,
        pause: Duration,
        failure: FailureClass,
        message: &'a str,
        size: SizeClass,
        excluded: Option<&'a AgentId>,
    } -> ();

    // What happens by itself.
    Promote = "promote.sql" { most: i64 } -> ();
    Overdue = "overdue.sql" { most: i64, clock: Option<Duration> } -> OverdueRow;
    LeaseBound = "lease_bound.sql" { lease: Duration, hard_limit_seconds: i32 } -> ();
    PauseBound = "pause_bound.sql" { longest: Duration } -> ();
    StuckBound = "stuck_bound.sql" {} -> ();
    PastDeadline = "past_deadline.sql" { failure: FailureClass, most: i64 } -> Id;
    Forgive = "forgive.sql" { live_seconds: f64, forgive_seconds: f64 } -> Forgiven;
    LockResult<'a> = "lock_result.sql" { tenant: &'a Tenant, result: Digest } -> Seq;
    ReopenLost<'a> = "reopen_lost.sql" {
        jobs: &'a [i64],
        failure: FailureClass,
        message: String,
    } -> ();
    InputUploaded<'a> = "input_uploaded.sql" { tenant: &'a Tenant, input: Digest } -> ();

    // Attempts.
    AttemptAdd<'a> = "attempt_add.sql" {
        job: i64,
        agent: &'a AgentId,
        outcome: AttemptOutcome,
        result: Digest,
    } -> ();
    AttemptComplete<'a> = "attempt_complete.sql" {
        job: i64,
        lease_epoch: LeaseEpoch,
        agent: &'a AgentId,
        outcome: AttemptOutcome,
        result: Digest,
    } -> ();
    AttemptSupersede = "attempt_supersede.sql" { job: i64 } -> ();
    AttemptEnd<'a> = "attempt_end.sql" {
        job: i64,
        lease_epoch: LeaseEpoch,
        outcome: AttemptOutcome,
        failure: Option<FailureClass>,
        message: Option<&'a str>,
    } -> ();
    AttemptFailures = "attempt_failures.sql" { job: i64, failure: FailureClass } -> Count;
    AttemptDistrusted<'a> = "attempt_distrusted.sql" {
        job: i64,
        agent: &'a AgentId,
        result: Digest,
        excluded: bool,
    } -> Exists;
    AttemptReject<'a> = "attempt_reject.sql" {
        job: i64,
        agent: &'a AgentId,
        result: Digest,
        reason: &'a str,
    } -> ();
    AttemptResultLost<'a> = "attempt_result_lost.sql" { jobs: &'a [i64], result: Digest } -> ();
    AttemptCancel<'a> = "attempt_cancel.sql" { jobs: &'a [i64] } -> ();
    AttemptRepeat<'a> = "attempt_repeat.sql" {
        job: i64,
        lease_epoch: LeaseEpoch,
        result: Digest,
        failure: FailureClass,
        message: &'a str,
    } -> ();
    AttemptMakers = "attempt_makers.sql" { job: i64, result: Digest } -> Count;
    AttemptUncountAll<'a> = "attempt_uncount_all.sql" { jobs: &'a [i64] } -> ();

    // Agents.
    AgentAdmit<'a> = "agent_admit.sql" {
        tenant: &'a Tenant,
        agent: &'a AgentId,
        info: String,
        size: SizeClass,
        able: Vec<String>,
        token: Option<&'a str>,
        device: Option<&'a str>,
    } -> Quarantine;
    AgentSeen<'a> = "agent_seen.sql" { tenant: &'a Tenant, agent: &'a AgentId } -> ();
    AgentAdmitMany<'a> = "agent_admit_many.sql" {
        tenants: Vec<&'a Tenant>,
        agents: Vec<&'a AgentId>,
        infos: Vec<String>,
        sizes: Vec<SizeClass>,
        able: Vec<String>,
        tokens: Vec<&'a str>,
        devices: Vec<Option<&'a str>>,
    } -> Sighted;
    AgentSeenMany<'a> = "agent_seen_many.sql" {
        tenants: Vec<&'a Tenant>,
        agents: Vec<&'a AgentId>,
    } -> SeenRow;
    AgentPardon<'a> = "agent_pardon.sql" { tenant: &'a Tenant, agent: &'a AgentId } -> AgentName;
    AgentCharge<'a> = "agent_charge.sql" {
        tenant: &'a Tenant,
        agent: &'a AgentId,
        rejections_max: i32,
    } -> Charged;
    DeviceCharge<'a> = "device_charge.sql" {
        tenant: &'a Tenant,
        device: &'a str,
        rejections_max: i32,
    } -> Quarantine;
    DeviceAgents<'a> = "device_agents.sql" { tenant: &'a Tenant, device: &'a str } -> ();
    SessionOpen<'a> = "session_open.sql" {
        tenant: &'a Tenant,
        agent: &'a AgentId,
        session: &'a SessionId,
        installation: &'a Installation,
        live: Duration,
        fresh: bool,
    } -> SessionRow;
    SessionReturn<'a> = "session_return.sql" {
        tenant: &'a Tenant,
        agent: &'a AgentId,
        installation: &'a Installation,
        live: Duration,
        outcome: AttemptOutcome,
    } -> Count;
    SessionOf<'a> = "session_of.sql" { tenant: &'a Tenant, agent: &'a AgentId } -> PresentSession;
    AgentQuarantined<'a> = "agent_quarantined.sql" {
        tenant: &'a Tenant,
        agent: &'a AgentId,
    } -> Quarantine;
    AgentDrain<'a> = "agent_drain.sql" {
        tenant: &'a Tenant,
        agent: &'a AgentId,
        by: Option<&'a str>,
    } -> DrainRow;
    AgentDraining<'a> = "agent_draining.sql" { tenant: &'a Tenant, agent: &'a AgentId } -> DrainedBy;
    AgentsDraining = "agents_draining.sql" { live: Duration, most: i64 } -> DrainingAgent;
    AgentAbilities = "agent_abilities.sql" {} -> AbilityRow;
    AgentsBusy = "agents_busy.sql" {} -> HolderRow;
    AgentBound = "agent_bound.sql" {} -> ();
    Sessions = "sessions.sql" { live: Duration } -> Count;
    Agents<'a> = "agents.sql" { tenant: &'a Tenant } -> AgentRow;

    // The overview.
    AgentsInOverview<'a> = "overview_agents.sql" {
        tenant: &'a Tenant,
        live: Duration,
        gone: Duration,
        most: i64,
    } -> OverviewAgent;
    DeadInOverview<'a> = "overview_dead.sql" { tenant: &'a Tenant, most: i64 } -> OverviewDead;
    JobsInOverview<'a> = "overview_jobs.sql" {
        tenant: &'a Tenant,
        epochs: i64,
        most: i64,
    } -> OverviewJobs;

    // Artifacts.
    ArtifactPartition = "artifact_partition.sql" { epoch: u64 } -> ();
    ArtifactPutMany<'a> = "artifact_put_many.sql" {
        tenants: Vec<&'a Tenant>,
        digests: Vec<Digest>,
        epochs: Vec<u64>,
        bodies: Vec<&'a [u8]>,
        place: Place,
    } -> Stored;
    ArtifactNewest<'a> = "artifact_newest.sql" { tenant: &'a Tenant, digest: Digest } -> Newest;
    ArtifactPut<'a> = "artifact_put.sql" {
        tenant: &'a Tenant,
        digest: Digest,
        epoch: u64,
        bytes: u64,
        place: Place,
        generation: u64,
    } -> ();
    ArtifactExists<'a> = "artifact_exists.sql" {
        tenant: &'a Tenant,
        digest: Digest,
        epoch: u64,
    } -> Exists;
    ArtifactCopies<'a> = "artifact_copies.sql" { tenant: &'a Tenant, digest: Digest } -> Copy;
    ArtifactBody<'a> = "artifact_body.sql" {
        tenant: &'a Tenant,
        digest: Digest,
        epoch: u64,
    } -> Body;
    ArtifactEpochs<'a> = "artifact_epochs.sql" {
        tenant: &'a Tenant,
        digests: Vec<Digest>,
    } -> Epoch;
    ArtifactWhole<'a> = "artifact_whole.sql" {
        tenant: &'a Tenant,
        digests: Vec<Digest>,
        epoch: u64,
    } -> Address;

    // The scrubber.
    ScrubPlace = "scrub_place.sql" {} -> ScrubPlaceRow;
    ScrubNext<'a> = "scrub_next.sql" {
        tenant: &'a Tenant,
        digest: &'a [u8],
        epoch: i64,
        most: i64,
    } -> ScrubNextRow;
    ScrubMove<'a> = "scrub_move.sql" {
        tenant: &'a Tenant,
        digest: Digest,
        epoch: u64,
        pause: Duration,
    } -> ();
    ScrubAgain = "scrub_again.sql" { pass: Duration } -> ();
    ScrubBound = "scrub_bound.sql" { pass: Duration } -> ();
    ScrubWait = "scrub_wait.sql" {} -> ScrubWaitRow;

    // Epochs and how long things are kept.
    EpochStateOf<'a> = "epoch_state.sql" { tenant: &'a Tenant, number: u64 } -> EpochRow;
    Epochs<'a> = "epochs.sql" { tenant: &'a Tenant, most: i64 } -> EpochRow;
    EpochOpen<'a> = "epoch_open.sql" { tenant: &'a Tenant, number: u64, most: i64 } -> EpochRow;
    EpochLock<'a> = "epoch_lock.sql" { tenant: &'a Tenant, number: u64 } -> EpochRow;
    EpochWanted<'a> = "epoch_wanted.sql" {
        tenant: &'a Tenant,
        number: u64,
        states: Vec<JobState>,
        label: &'a str,
        value: &'a str,
    } -> Exists;
    EpochClose<'a> = "epoch_close.sql" {
        tenant: &'a Tenant,
        number: u64,
        outcome: EpochOutcome,
    } -> ();
    EpochCancel<'a> = "epoch_cancel.sql" {
        tenant: &'a Tenant,
        number: u64,
        states: Vec<JobState>,
        most: i64,
    } -> Seq;
    EpochsUnfinished = "epochs_unfinished.sql" { most: i64 } -> NumberRow;
    EpochEnd<'a> = "epoch_end.sql" {
        tenant: &'a Tenant,
        number: u64,
        outcome: EpochOutcome,
        forgotten: bool,
    } -> ();
    EpochGone<'a> = "epoch_gone.sql" { tenant: &'a Tenant, number: u64, generation: u64 } -> Exists;
    EpochSweepJobs<'a> = "epoch_sweep_jobs.sql" {
        tenant: &'a Tenant,
        number: u64,
        generation: u64,
        most: i64,
    } -> ();
    EpochSweepArtifacts<'a> = "epoch_sweep_artifacts.sql" {
        tenant: &'a Tenant,
        number: u64,
        generation: u64,
        most: i64,
    } -> ();
    EpochSweepBodies<'a> = "epoch_sweep_bodies.sql" {
        tenant: &'a Tenant,
        number: u64,
        generation: u64,
        most: i64,
    } -> ();
    EpochShared<'a> = "epoch_shared.sql" { tenant: &'a Tenant, number: u64 } -> Exists;
    EpochSwept<'a> = "epoch_swept.sql" { tenant: &'a Tenant, number: u64, generation: u64 } -> ();
    EpochForget<'a> = "epoch_forget.sql" {
        tenant: &'a Tenant,
        number: u64,
        tombstone_seconds: f64,
    } -> ();
    EpochsDue = "epochs_due.sql" {
        final_seconds: f64,
        given_up_seconds: f64,
        grace_seconds: f64,
        tombstone_seconds: f64,
        most: i64,
    } -> DueRow;
    EpochsSilent = "epochs_silent.sql" { silent_seconds: f64, most: i64 } -> NumberRow;
    EpochsEarly = "epochs_early.sql" { grace_seconds: f64 } -> NumberRow;
    EpochBound = "epoch_bound.sql" {} -> ();
    EpochsCount = "epochs_count.sql" {} -> EpochsRow;
    KeptBytes = "kept_bytes.sql" {} -> KeptRow;
    PartitionsOf = "partitions.sql" {} -> PartitionsRow;
    AgentsForget = "agents_forget.sql" { seconds: f64, most: i64 } -> ();
    AuditForget = "audit_forget.sql" { seconds: f64, most: i64 } -> ();

    // The object store.
    ObjectsJoin<'a> = "objects_join.sql" { identity: Option<&'a str>, name: &'a str } -> StoreRow;
    ObjectsAdopt<'a> = "objects_adopt.sql" { identity: &'a str, name: &'a str } -> ();

    // Jobs of Aztec's prover nodes.
    AztecJobs<'a> = "aztec_jobs.sql" { tenant: &'a Tenant, jobs: Vec<&'a JobId> } -> AztecJobRow;
    AztecFinished<'a> = "aztec_finished.sql" {
        tenant: &'a Tenant,
        within: Duration,
        most: i64,
    } -> Id;
    AztecHeight<'a> = "aztec_height.sql" { tenant: &'a Tenant } -> Height;
    AztecOld = "aztec_old.sql" { kept: i64 } -> OldEpoch;
    Resume<'a> = "resume.sql" {
        tenant: &'a Tenant,
        job: &'a JobId,
        lease_epoch: LeaseEpoch,
        agent: &'a AgentId,
        lease: Duration,
        hard_limit_seconds: i32,
    } -> Seq;

    // Named leases.
    NameBound<'a> = "name_bound.sql" { tenant: &'a Tenant, name: &'a str } -> ();
    NameAcquire<'a> = "name_acquire.sql" {
        tenant: &'a Tenant,
        name: &'a str,
        holder: &'a AgentId,
        ttl: Duration,
        incarnation: &'a Incarnation,
    } -> NameRow;
    NameRenew<'a> = "name_renew.sql" {
        tenant: &'a Tenant,
        name: &'a str,
        holder: &'a AgentId,
        fence: u64,
        ttl: Duration,
        incarnation: &'a Incarnation,
    } -> NameRow;
    NameRelease<'a> = "name_release.sql" {
        tenant: &'a Tenant,
        name: &'a str,
        holder: &'a AgentId,
        fence: u64,
        incarnation: &'a Incarnation,
    } -> ();
    NameHolder<'a> = "name_holder.sql" { tenant: &'a Tenant, name: &'a str } -> NameRow;

    // Tokens.
    TokenAdd<'a> = "token_add.sql" {
        hash: &'a [u8],
        label: &'a str,
        role: Role,
        tenant: &'a Tenant,
        fleet: bool,
        agent: Option<&'a AgentId>,
        valid_seconds: Option<f64>,
        requests_per_second: Option<i32>,
        connections: Option<i32>,
        certificate: Option<&'a str>,
    } -> ();
    TokenFree<'a> = "token_free.sql" { hash: &'a [u8] } -> ();
    TokenLabelled<'a> = "token_labelled.sql" { label: &'a str } -> Exists;
    TokenCertificate<'a> = "token_certificate.sql" {
        label: &'a TokenLabel,
        tenant: Option<&'a Tenant>,
    } -> CertificateRow;
    TokenRotate<'a> = "token_rotate.sql" {
        label: &'a TokenLabel,
        hash: &'a [u8],
        overlap_seconds: f64,
        valid_seconds: Option<f64>,
        tenant: Option<&'a Tenant>,
    } -> TenantName;
    TokenRevoke<'a> = "token_revoke.sql" {
        label: &'a TokenLabel,
        tenant: Option<&'a Tenant>,
    } -> TenantName;
    TokenResume<'a> = "token_resume.sql" {
        label: &'a TokenLabel,
        tenant: Option<&'a Tenant>,
    } -> Resumed;
    TokenCharge<'a> = "token_charge.sql" {
        label: &'a str,
        role: Role,
        rejections_max: i32,
        tenant: &'a Tenant,
    } -> Suspension;
    TokensAny = "tokens_any.sql" {} -> Exists;
    Tokens<'a> = "tokens.sql" { tenant: Option<&'a Tenant> } -> TokenRow;
    Bearers = "bearers.sql" {} -> BearerRow;
    AuditList<'a> = "audit_list.sql" {
        tenant: Option<&'a Tenant>,
        before: i64,
        most: i64,
    } -> AuditRow;
    Audit<'a> = "audit.sql" {
        tenant: &'a Tenant,
        label: &'a str,
        action: &'a str,
        detail: &'a str,
    } -> ();

    // The server.
    Probe = "probe.sql" {} -> ();
    ClockOf = "clock.sql" {} -> ClockRow;
    MigrationsRecorded = "migrations_recorded.sql" {} -> Exists;
    MigrationLast = "migration_last.sql" {} -> Migration;
    SchemaOldest = "schema_oldest.sql" {} -> OldestRelease;
    DatabaseSize = "database_size.sql" {} -> DatabaseRow;
    ServerVersionOf = "server_version.sql" {} -> ServerVersion;
    IndexOf<'a> = "index_valid.sql" { index: &'a str } -> IndexValid;
    SchemaOf = "schema.sql" {} -> Schema;
    Notify<'a> = "notify.sql" { channel: &'a str, payload: &'a str } -> ();
}
