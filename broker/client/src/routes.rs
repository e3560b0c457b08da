//! The broker's HTTP routes, once: the server registers them from this table, [`crate::Client`] builds
//! its requests from it, and `docs/http.md` and `docs/openapi.json` are generated from it.
//!
//! A new route is a row of the table below. The server then does not compile until the route has a
//! handler of its types, and `every_route_of_the_table_has_a_method_of_the_client` fails until the client
//! calls it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::rules::{At, Described, Form, Violation};
use crate::{
    AgentId, ArtifactsResponse, AuditQuery, AuditResponse, AutoscaleResponse, ChangesRequest,
    ChangesResponse, ClaimRequest, ClaimResponse, CloseEpochRequest, Code, CompleteRequest,
    CompleteResponse, CountResponse, Digest, DrainRequest, EPOCH_MAX, EnqueueRequest, EpochQuery,
    EpochView, EpochsResponse, EventsQuery, FailRequest, HeartbeatRequest, HeartbeatResponse,
    HistoryResponse, IdError, IdsRequest, JobId, JobsResponse, ListQuery, NamedLeaseRequest,
    NamedLeaseResponse, NewToken, OverviewEvents, ProgressRequest, RejectRequest, RejectResponse,
    ReleaseRequest, Role, Rotation, SessionRequest, SessionResponse, StatusResponse, TokenLabel,
    TokenSecret, TokensResponse, WaitRequest, WaitResponse,
};

pub use crate::payloads::{
    Artifact, Artifacts, BodyLimit, Content, Document, Empty, EventForm, Json, Payload,
};

/// Largest JSON body that the broker reads: a full batch of jobs with labels.
pub const JSON_BYTES_MAX: usize = 4 << 20;

/// Largest body of several artifacts that the broker reads, their lengths included.
pub const ARTIFACTS_BYTES_MAX: usize = 8 << 20;

/// Errors that any route can answer with, besides those that the table lists for it.
pub const COMMON_CODES: &[Code] = &[
    Code::Request,
    Code::Unauthorized,
    Code::Forbidden,
    Code::TokenSuspended,
    Code::TooManyRequests,
    Code::TooLarge,
    Code::Overloaded,
    Code::Database,
];

/// Roles of a route that only reads; any token opens it.
const READERS: &[Role] = &Role::ALL;

/// Roles of those that do jobs.
const AGENTS: &[Role] = &[Agent, Fleet];

/// Roles of those that store artifacts.
const WRITERS: &[Role] = &[Producer, Agent, Fleet];

/// Roles of a route that only operators may call.
const OPERATORS: &[Role] = &[Role::Operator];

/// Method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    /// As HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// Under which bound on concurrent work the broker serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// One of the places of the setting `requests_max`; answered 503 when none is free.
    Bounded,
    /// Keeps a lease or a result alive: waits for a place of its own kind and is not answered 503 for
    /// lack of one.
    Urgent,
    /// A long poll: waits in memory and takes no place.
    LongPoll,
}

/// What a route is, as data.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub method: Method,
    /// With at most one parameter, in braces.
    pub path: &'static str,
    /// Type of that parameter; `()` for none.
    pub parameter: &'static str,
    /// What that parameter is; [`None`] for none.
    pub parameter_form: Option<&'static Form>,
    /// Type of the query.
    pub query: &'static str,
    /// Type of the body.
    pub body: &'static str,
    pub body_limit: BodyLimit,
    /// What the body is.
    pub body_form: Content,
    /// Fields of the body that this route requires, although their type can lack them.
    pub requires: &'static [&'static str],
    /// Type of the answer.
    pub answer: &'static str,
    /// What the body of the answer is.
    pub answer_form: Content,
    /// HTTP status of success.
    pub success: u16,
    /// Who may call it. An operator may call every route.
    pub roles: &'static [Role],
    pub admission: Admission,
    /// Errors besides [`COMMON_CODES`].
    pub codes: &'static [Code],
    /// What it does.
    pub doc: &'static str,
}

/// One route: its types, and the rest as data.
pub trait Route: Send + Sync + 'static {
    /// The parameter in the path; `()` for none.
    type Parameter: Parameter;
    /// The query; [`NoQuery`] for none.
    type Query: Serialize + DeserializeOwned + Described + Send + Sync;
    /// The request's body.
    type Body: Payload;
    /// The body of a success.
    type Answer: Payload;
    /// The rest.
    const SPEC: Spec;

    /// Path and query are apart; this is the path for that parameter.
    fn path(parameter: &Self::Parameter) -> String {
        let path = Self::SPEC.path;
        match (parameter.text(), path.find('{'), path.find('}')) {
            (Some(text), Some(open), Some(close)) => {
                format!("{}{text}{}", &path[..open], &path[close + 1..])
            }
            _ => path.to_owned(),
        }
    }
}

/// A parameter in a path.
pub trait Parameter: Sized + Send + Sync {
    /// What it is; [`None`] where there is no parameter.
    const FORM: Option<&'static Form>;

    /// As text; [`None`] where there is no parameter.
    fn text(&self) -> Option<String>;

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the text, for the message of an error.
    fn read(text: Option<&str>) -> Result<Self, String>;
}

impl Parameter for () {
    const FORM: Option<&'static Form> = None;

    fn text(&self) -> Option<String> {
        None
    }

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            None => Ok(()),
            Some(_) => Err("this path has no parameter".to_owned()),
        }
    }
}

impl Parameter for u64 {
    const FORM: Option<&'static Form> =
        Some(&Form::Whole { min: 0, max: EPOCH_MAX, format: "int64" });

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn read(text: Option<&str>) -> Result<Self, String> {
        let wrong = || format!("an epoch is a number from 0 to {EPOCH_MAX}");
        let number: Option<Self> = text.and_then(|text| text.parse().ok());
        number.filter(|number| *number <= EPOCH_MAX).ok_or_else(wrong)
    }
}

macro_rules! id_parameters {
    ($($type:ty),*) => {$(
        impl Parameter for $type {
            const FORM: Option<&'static Form> = Some(<Self as Described>::FORM);

            fn text(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn read(text: Option<&str>) -> Result<Self, String> {
                text.unwrap_or_default().parse().map_err(|error: IdError| error.message())
            }
        }
    )*};
}

id_parameters!(Digest, JobId, AgentId);

impl Parameter for TokenLabel {
    const FORM: Option<&'static Form> = Some(<Self as Described>::FORM);

    fn text(&self) -> Option<String> {
        Some(self.in_path())
    }

    fn read(text: Option<&str>) -> Result<Self, String> {
        text.unwrap_or_default().parse().map_err(|error: IdError| error.message())
    }
}

/// The query of a route that has none; what is there is ignored.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct NoQuery {}

impl Described for NoQuery {
    const FORM: &'static Form = &Form::Shape("NoQuery");

    fn check(&self, _: &At) -> Result<(), Violation> {
        Ok(())
    }
}

macro_rules! routes {
    ($(
        $(#[doc = $doc:literal])+
        $route:ident: $method:ident $path:literal ($parameter:ty), $query:ty, $body:ty => $answer:ty,
        $roles:expr, $admission:ident, [$($code:ident)*] $(requires $required:ident)?;
    )+) => {
        /// Every route by name, for exhaustive matches.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RouteName {
            $($(#[doc = $doc])+ $route,)+
        }

        impl RouteName {
            /// Every route, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$route),+];

            /// The route as data.
            pub const fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$route => &<$route as Route>::SPEC,)+
                }
            }
        }

        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug)]
            pub struct $route;

            impl Route for $route {
                type Parameter = $parameter;
                type Query = $query;
                type Body = $body;
                type Answer = $answer;
                const SPEC: Spec = Spec {
                    method: Method::$method,
                    path: $path,
                    parameter: stringify!($parameter),
                    parameter_form: <$parameter as Parameter>::FORM,
                    query: stringify!($query),
                    body: stringify!($body),
                    body_limit: <$body as Payload>::LIMIT,
                    body_form: <$body as Payload>::FORM,
                    requires: &[$(stringify!($required))?],
                    answer: stringify!($answer),
                    answer_form: <$answer as Payload>::FORM,
                    success: <$answer as Payload>::SUCCESS,
                    roles: $roles,
                    admission: Admission::$admission,
                    codes: &[$(Code::$code),*],
                    doc: concat!($($doc),+),
                };
            }
        )+
    };
}

use Role::{Agent, Fleet, Producer};

// Method, path and its parameter, query, body and answer, roles, admission, errors, a field that the body cannot lack.
routes! {
    /// Store an artifact under its SHA-256 digest, for an epoch. Storing it again repairs a damaged copy
    /// and makes the jobs ready that wait for it as their input.
    PutArtifact: Put "/v1/artifacts/{digest}" (Digest), EpochQuery, Artifact => Empty,
        WRITERS, Bounded, [DigestMismatch Objects EpochClosing EpochGone EpochsOpen DiskFull];

    /// Store several artifacts for an epoch, at most 1,000, each under the SHA-256 digest of its bytes. Returns the
    /// digests, for the sender to compare.
    PutArtifacts: Post "/v1/artifacts" (()), EpochQuery, Artifacts => Json<ArtifactsResponse>,
        WRITERS, Bounded, [Objects EpochClosing EpochGone EpochsOpen DiskFull];

    /// Fetch an artifact. If its bytes can no longer be read, the jobs whose result it was are reopened.
    GetArtifact: Get "/v1/artifacts/{digest}" (Digest), NoQuery, Empty => Artifact,
        READERS, Bounded, [UnknownArtifact ArtifactLost Objects];

    /// Enqueue jobs whose inputs are stored, at most 1,000. Returns all of them in order; a known job is
    /// returned as it is, a finished one with its result.
    Enqueue: Post "/v1/jobs" (()), NoQuery, Json<EnqueueRequest> => Json<JobsResponse>,
        &[Producer], Bounded,
        [VersionConflict NotUploaded Objects EpochClosing EpochGone EpochsOpen DiskFull];

    /// List the newest jobs that match. A full page may have a next one: ask again with its last job as `before`.
    List: Get "/v1/jobs" (()), ListQuery, Empty => Json<JobsResponse>,
        READERS, Bounded, [UnknownJob];

    /// Return the jobs of these ids, in order; unknown ones are left out.
    Query: Post "/v1/jobs/query" (()), NoQuery, Json<IdsRequest> => Json<JobsResponse>,
        READERS, Bounded, [];

    /// Wait until one of the jobs awaits its producer, and return those that do; an empty list when the
    /// time is over.
    Wait: Post "/v1/jobs/wait" (()), NoQuery, Json<WaitRequest> => Json<WaitResponse>,
        READERS, LongPoll, [Objects];

    /// Wait until jobs of the epoch changed since the cursor in a way that their producer must see, and return those,
    /// at most 1,000; an empty list when the time is over. Without a cursor: all that ever did.
    Changes: Post "/v1/epochs/{epoch}/changes" (u64), NoQuery, Json<ChangesRequest> => Json<ChangesResponse>,
        READERS, LongPoll, [Objects];

    /// Report that a job's result is wrong: another agent proves the job again.
    Reject: Post "/v1/jobs/reject" (()), NoQuery, Json<RejectRequest> => Json<RejectResponse>,
        &[Producer], Bounded, [UnknownJob Objects];

    /// Cancel unfinished jobs. Returns how many were.
    Cancel: Post "/v1/jobs/cancel" (()), NoQuery, Json<IdsRequest> => Json<CountResponse>,
        &[Producer], Bounded, [];

    /// Return every attempt at a job, the newest first.
    History: Get "/v1/jobs/{id}/history" (JobId), NoQuery, Empty => Json<HistoryResponse>,
        READERS, Bounded, [UnknownJob];

    /// List the newest epochs and their states.
    Epochs: Get "/v1/epochs" (()), NoQuery, Empty => Json<EpochsResponse>,
        READERS, Bounded, [];

    /// Open an epoch: one that is closing again, one that is gone as a new generation. An upload or enqueue of a
    /// producer opens an epoch that never was.
    OpenEpoch: Post "/v1/epochs/{epoch}/open" (u64), NoQuery, Empty => Json<EpochView>,
        &[Producer], Bounded, [EpochClosing EpochsOpen];

    /// Close an epoch: it takes nothing more, its unfinished jobs are cancelled, and it is deleted after a time that depends
    /// on the outcome. Returns the epoch as it is then.
    CloseEpoch: Post "/v1/epochs/{epoch}/close" (u64), NoQuery, Json<CloseEpochRequest> => Json<EpochView>,
        &[Producer], Bounded, [EpochGone];

    /// Forget an epoch at once: its jobs, their attempts and their artifacts. Returns the number of jobs.
    DropEpoch: Delete "/v1/epochs/{epoch}" (u64), NoQuery, Empty => Json<CountResponse>,
        &[Producer], Bounded, [Objects];

    /// Acquire a name, or learn who holds it. The holder's own incarnation acquires it again, under a
    /// new fence.
    AcquireName: Post "/v1/named-leases/acquire" (()), NoQuery, Json<NamedLeaseRequest> => Json<NamedLeaseResponse>,
        &[Producer], Bounded, [];

    /// Extend a name held under this fence; `held` is false when it was lost.
    RenewName: Post "/v1/named-leases/renew" (()), NoQuery, Json<NamedLeaseRequest> => Json<NamedLeaseResponse>,
        &[Producer], Bounded, [] requires fence;

    /// Release a name. Releasing one that is not held changes nothing.
    ReleaseName: Post "/v1/named-leases/release" (()), NoQuery, Json<NamedLeaseRequest> => Json<NamedLeaseResponse>,
        &[Producer], Bounded, [] requires fence;

    /// Open an agent's session, and end the one that the same installation had: its leases return to the queue, and nobody
    /// is blamed. Another installation is rejected while the identity is alive.
    OpenSession: Post "/v1/sessions" (()), NoQuery, Json<SessionRequest> => Json<SessionResponse>,
        AGENTS, Bounded, [Quarantined IdentityTaken];

    /// Wait for a job that the agent can do; no grant when there was none in the time.
    Claim: Post "/v1/claim" (()), NoQuery, Json<ClaimRequest> => Json<ClaimResponse>,
        AGENTS, LongPoll, [Quarantined UnknownSession];

    /// Keep leases alive. The answer names those that the agent no longer holds.
    Heartbeat: Post "/v1/heartbeat" (()), NoQuery, Json<HeartbeatRequest> => Json<HeartbeatResponse>,
        AGENTS, Urgent, [];

    /// Report the share of the work that is done.
    Progress: Post "/v1/progress" (()), NoQuery, Json<ProgressRequest> => Json<CountResponse>,
        AGENTS, Bounded, [UnknownJob LeaseLost];

    /// Hand in a result. It is accepted from any agent while the job has none, even after its lease.
    Complete: Post "/v1/complete" (()), NoQuery, Json<CompleteRequest> => Json<CompleteResponse>,
        AGENTS, Urgent,
        [UnknownJob NotUploaded Quarantined Cancelled RejectedBefore Objects EpochClosing EpochGone];

    /// Report that an attempt failed, and why.
    Fail: Post "/v1/fail" (()), NoQuery, Json<FailRequest> => Json<CountResponse>,
        AGENTS, Urgent, [UnknownJob LeaseLost Objects];

    /// Return a leased job unharmed, for instance at shutdown.
    Release: Post "/v1/release" (()), NoQuery, Json<ReleaseRequest> => Json<CountResponse>,
        AGENTS, Urgent, [UnknownJob LeaseLost];

    /// Return the queue by type and state, the agents and the number of dead letters.
    Status: Get "/v1/status" (()), NoQuery, Empty => Json<StatusResponse>,
        READERS, Bounded, [];

    /// Return how many agents should be there, and which may be stopped.
    Autoscale: Get "/v1/autoscale" (()), NoQuery, Empty => Json<AutoscaleResponse>,
        READERS, Bounded, [];

    /// Follow what the broker's web page shows: epochs, agents, queue and dead letters, as server-sent events.
    Events: Get "/v1/events" (()), EventsQuery, Empty => OverviewEvents,
        READERS, LongPoll, [];

    /// Give dead letters a fresh budget of attempts and make them ready. Returns how many.
    ReplayDead: Post "/v1/dead-letters/replay" (()), NoQuery, Json<IdsRequest> => Json<CountResponse>,
        &[Producer], Bounded, [];

    /// Cancel dead letters. Returns how many.
    DropDead: Post "/v1/dead-letters/drop" (()), NoQuery, Json<IdsRequest> => Json<CountResponse>,
        &[Producer], Bounded, [];

    /// End an agent's quarantine. Returns 1 if it was in one, else 0.
    Pardon: Post "/v1/agents/{agent}/pardon" (AgentId), NoQuery, Empty => Json<CountResponse>,
        OPERATORS, Bounded, [];

    /// Ask an agent to leave: it is granted nothing more, finishes or returns what it holds, and exits. Or take that back.
    /// A new start of the agent is free again, if it opens a session. Returns 1 if the broker knows the agent, else 0.
    Drain: Post "/v1/agents/{agent}/drain" (AgentId), NoQuery, Json<DrainRequest> => Json<CountResponse>,
        OPERATORS, Bounded, [];

    /// List the tokens of the caller's tenant; of all tenants for an operator of the tenant `default`.
    ListTokens: Get "/v1/tokens" (()), NoQuery, Empty => Json<TokensResponse>,
        OPERATORS, Bounded, [];

    /// Create a token. The answer has its secret, which is never shown again, and which is empty where a certificate stands for
    /// the token.
    AddToken: Post "/v1/tokens" (()), NoQuery, Json<NewToken> => Json<TokenSecret>,
        OPERATORS, Bounded, [LabelTaken CertificateTaken];

    /// Give a token another secret. The one before stays valid for the time asked for.
    RotateToken: Post "/v1/tokens/{label}/rotate" (TokenLabel), NoQuery, Json<Rotation> => Json<TokenSecret>,
        OPERATORS, Bounded, [UnknownToken NoSecret];

    /// Revoke a token, for good and within 2 s at every replica.
    RevokeToken: Post "/v1/tokens/{label}/revoke" (TokenLabel), NoQuery, Empty => Json<CountResponse>,
        OPERATORS, Bounded, [UnknownToken];

    /// End the suspension of a token, and forget what led to it. Returns 1 if it was suspended, else 0.
    ResumeToken: Post "/v1/tokens/{label}/resume" (TokenLabel), NoQuery, Empty => Json<CountResponse>,
        OPERATORS, Bounded, [UnknownToken];

    /// Read who changed what, the newest first: of the caller's tenant, of all tenants for an operator of the tenant
    /// `default`.
    Audit: Get "/v1/audit" (()), AuditQuery, Empty => Json<AuditResponse>,
        OPERATORS, Bounded, [];

    /// Return the OpenAPI document of these routes.
    OpenApi: Get "/openapi.json" (()), NoQuery, Empty => Document,
        READERS, Bounded, [];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the parameter of the path is the one that the types name, and each route is there once.
    #[test]
    fn paths_are_well_formed_and_no_two_routes_are_one() {
        for (n, route) in RouteName::ALL.iter().enumerate() {
            let Spec { method, path, parameter, doc, .. } = route.spec();
            let is_versioned = path.starts_with("/v1/") || route == &RouteName::OpenApi;
            assert!(is_versioned, "{route:?}");
            let wanted = usize::from(*parameter != "()");
            assert_eq!(path.matches('{').count(), wanted, "{route:?}: parameters of {path}");
            assert!(doc.trim_end().ends_with('.'), "{route:?}");
            for other in &RouteName::ALL[..n] {
                let other = other.spec();
                assert!((other.method, other.path) != (*method, *path), "{route:?} is there twice");
            }
        }
    }

    #[test]
    fn a_path_carries_its_parameter() {
        let digest = Digest::of(b"x");
        assert_eq!(GetArtifact::path(&digest), format!("/v1/artifacts/{digest}"));
        let agent: AgentId = "a".parse().unwrap();
        assert_eq!(Pardon::path(&agent), "/v1/agents/a/pardon");
        assert_eq!(Status::path(&()), "/v1/status");
    }
}
