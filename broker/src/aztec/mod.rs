//! The interface for Aztec's own prover nodes and agents: JSON-RPC 2.0 in the form of
//! `@aztec/prover-client`, served from the broker's own jobs.
//!
//! `docs/book/aztec.md` says how to use it, what it guarantees and what differs from Aztec's broker;
//! docs/adr/0034 says why it is built so. Facts about the wire are from `@aztec/prover-client`,
//! `@aztec/foundation` and `@aztec/stdlib` 4.1.2 and 5.2.0 on npm, in the folders `proving_broker`,
//! `json-rpc` and `interfaces`.
//!
//! - [`types`] the numbers of the job types, which differ between versions.
//! - [`methods`] the table of methods.
//! - [`wire`] requests and answers; [`body`] their bytes; [`mod@headers`] what tells versions apart.
//! - [`producer`] and [`agent`] what the methods do.

mod agent;
mod body;
mod headers;
mod methods;
mod producer;
mod types;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use rollmill_broker_client::routes::Admission;
use rollmill_broker_client::{Grant, LeaseRef, ReleaseRequest, Role};
use tokio::sync::{Notify, SemaphorePermit};

use crate::api::admission::Memory;
use crate::api::{direct, error_response};
use crate::background::Task;
use crate::broker::Shared;
use crate::config::Config;
use crate::credential::Credential;
use crate::error::BrokerError;
use crate::limits::Admitted;
use crate::retention::ROUND_MAX;
use crate::store::limited;
use crate::store::tokens::{Bearer, Naming};
pub(crate) use headers::headers;
use methods::{Kind, Method};
pub(crate) use types::is_aztec;
use wire::{Answer, Call, Fault, Parsed};

/// Longest pause between two deletions of old epochs. A job of a new epoch ends it.
const OLD_EPOCHS: Duration = Duration::from_secs(60);
/// How long a status request waits for the database.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// What the settings say about this interface.
#[derive(Debug)]
pub(crate) struct Settings {
    root_token: Option<rollmill_service::Secret>,
    body_bytes_max: usize,
    epochs_kept: u32,
    wait: Duration,
    pinned: headers::Pinned,
    /// Epochs may have become old.
    old: Notify,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            root_token: config.aztec_root_token.clone(),
            // A body is little more than the artifact in it.
            body_bytes_max: config.aztec_body_bytes_max.min(config.artifact_bytes_max),
            epochs_kept: config.aztec_epochs_kept,
            wait: Duration::from_secs(config.aztec_wait_seconds),
            pinned: headers::Pinned::of(&config.aztec_headers),
            old: Notify::new(),
        }
    }
}

/// The routes: one with the token in the path, and without a path where that is switched on.
pub(crate) fn router(settings: &Settings) -> Router<Arc<Shared>> {
    let router = Router::new().route("/aztec/{token}", post(with_token));
    match settings.root_token {
        Some(_) => router.route("/", post(without_token)).route("/status", get(status)),
        None => router,
    }
}

async fn with_token(
    State(shared): State<Arc<Shared>>,
    Path(token): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    respond(&shared, &token, peer, request).await
}

async fn without_token(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let token = shared.aztec.root_token.as_ref().map_or("", |token| token.reveal()).to_owned();
    respond(&shared, &token, peer, request).await
}

/// What Aztec's own server answers to probes of its health.
async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let probe = async {
        let _place = shared.admission.place(Admission::Bounded).await.ok()?;
        tokio::time::timeout(STATUS_LIMIT, shared.store.probe()).await.ok()?.ok()
    };
    let ok = probe.await.is_some();
    let status = if ok { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, axum::Json(serde_json::json!({ "ok": ok }))).into_response()
}

async fn respond(
    shared: &Arc<Shared>,
    token: &str,
    peer: SocketAddr,
    request: Request,
) -> Response {
    match serve(shared, token, peer, request).await {
        Ok(response) => response,
        Err(error) => {
            let mut response = error_response(shared, &error);
            // 429 elsewhere, after which Aztec's clients give up.
            if matches!(error, BrokerError::TooManyRequests { .. }) {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    }
}

/// Serves one request: who asks, what is asked, and all of its calls. An error is one of the whole
/// request: Aztec's clients repeat after a 5xx and give up after a 4xx.
async fn serve(
    shared: &Arc<Shared>,
    token: &str,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, BrokerError> {
    let credential = Credential::secret(token);
    let bearer = shared.bearer(&credential)?;
    bearer.require(&[Role::Producer, Role::Agent, Role::Fleet])?;
    // Aztec's agents send no name; the one that is made here must come back as it is.
    let bearer = Arc::new(Bearer { naming: Naming::Given, ..Bearer::clone(&bearer) });
    let (parts, body) = request.into_parts();
    let connection = parts.extensions.get::<rollmill_service::Connection>();
    let Admitted { is_within, share } = shared.usage.arrive(&bearer, connection, Instant::now());
    if let Some(connection) = connection.filter(|_| is_within) {
        connection.vouch();
    }
    require_json(&parts.headers)?;
    let (body, memory) = body::read(shared, &parts, body, share).await?;
    let session = Session::new(shared, &bearer, peer, memory);
    let (calls, is_batch) = match wire::parse(&body) {
        Parsed::Batch(calls) => (calls, true),
        Parsed::Single(call) => (vec![call], false),
        Parsed::Unreadable(fault) => {
            shared.usage.count(&bearer, false, Instant::now())?;
            let answers = wire::single(&Answer::unnamed(fault));
            return body::write(&parts.headers, StatusCode::BAD_REQUEST, answers).await;
        }
    };
    let admission = admission(&calls);
    shared.usage.count(&bearer, admission == Admission::Urgent, Instant::now())?;
    let place = shared.admission.place(admission).await?;
    let wait = (calls.len() == 1).then_some(shared.aztec.wait);
    let answered = tokio::select! {
        answered = session.answer_all(calls, wait) => answered,
        // A wait for a job may last longer than the token.
        error = shared.until_closed_to(&credential) => Err(error),
    };
    let answers = match answered {
        Ok(answers) => answers,
        Err(error) => {
            session.take_back_grants().await;
            return Err(error);
        }
    };
    drop(place);
    let (status, bytes) = match (is_batch, answers.as_slice()) {
        (false, [answer]) if answer.is_fault() => (StatusCode::BAD_REQUEST, wire::single(answer)),
        (false, [answer]) => (StatusCode::OK, wire::single(answer)),
        _ => (StatusCode::OK, wire::batch(&answers)),
    };
    let mut response = body::write(&parts.headers, status, bytes).await?;
    drop(session);
    shared.aztec.pinned.add(&bearer.tenant, response.headers_mut());
    Ok(response)
}

/// Rejects what a browser can send to another site without asking it.
fn require_json(headers: &HeaderMap) -> Result<(), BrokerError> {
    match direct::is_json(headers) {
        true => Ok(()),
        false => Err(BrokerError::bad("the content type is application/json")),
    }
}

/// Under which bound a request is served: a wait of an idle agent takes no place, and what keeps a lease or a
/// result alive waits for one.
fn admission(calls: &[Call<'_>]) -> Admission {
    let all = |kind: Kind| {
        calls.iter().all(|call| call.method.as_ref().is_ok_and(|method| method.kind() == kind))
    };
    match () {
        () if all(Kind::Claim) => Admission::LongPoll,
        () if all(Kind::Report) => Admission::Urgent,
        () => Admission::Bounded,
    }
}

/// Why a call has no result.
#[derive(Debug)]
enum Refusal {
    /// This call is wrong: the fault is its answer.
    Call(Fault),
    /// The whole request fails, and its client repeats it.
    Request(BrokerError),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Call(fault)
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        match error.status() {
            // An item with an error would fail the job for good.
            401 | 403 | 413 | 500.. => Self::Request(error),
            _ => Self::Call(Fault::execution(&error)),
        }
    }
}

/// One request while it is served.
struct Session<'a> {
    shared: &'a Arc<Shared>,
    bearer: &'a Arc<Bearer>,
    peer: SocketAddr,
    /// Memory of the body and of the answers, until they are sent.
    memory: Mutex<Held<'a>>,
    /// What was granted and is not sent yet.
    grants: Mutex<Vec<ReleaseRequest>>,
    /// There was no job for one of the calls.
    is_dry: AtomicBool,
}

struct Held<'a> {
    /// For the body, until the answers are sent.
    _body: Memory<'a>,
    permits: Vec<SemaphorePermit<'a>>,
    /// Bytes of proofs and inputs in the answers.
    answered: usize,
}

impl<'a> Session<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        bearer: &'a Arc<Bearer>,
        peer: SocketAddr,
        (body, permits): body::Taken<'a>,
    ) -> Self {
        let memory = Mutex::new(Held { _body: body, permits, answered: 0 });
        Self {
            shared,
            bearer,
            peer,
            memory,
            grants: Mutex::default(),
            is_dry: AtomicBool::new(false),
        }
    }

    /// Answers in the order asked. `wait` is how long the one call may wait for a job.
    async fn answer_all<'b>(
        &self,
        calls: Vec<Call<'b>>,
        wait: Option<Duration>,
    ) -> Result<Vec<Answer<'b>>, BrokerError> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let outcome = match &call.method {
                Ok(method) => self.answer(*method, &call, wait).await,
                Err(fault) => Err(fault.clone().into()),
            };
            let outcome = match outcome {
                Ok(result) => Ok(result),
                Err(Refusal::Call(fault)) => Err(fault),
                Err(Refusal::Request(error)) => return Err(error),
            };
            answers.push(Answer { id: call.id, outcome });
        }
        Ok(answers)
    }

    async fn answer(
        &self,
        method: Method,
        call: &Call<'_>,
        wait: Option<Duration>,
    ) -> Result<wire::Outcome, Refusal> {
        self.bearer.require(method.roles())?;
        let arguments = wire::Arguments::of(call.params)?;
        match method {
            Method::EnqueueProvingJob => self.enqueue(&arguments).await,
            Method::GetProvingJobStatus => self.job_status(&arguments).await,
            Method::CancelProvingJob => self.cancel(&arguments).await,
            Method::GetCompletedJobs => self.completed(&arguments).await,
            Method::GetProvingJob => self.get_job(&arguments, wait).await,
            Method::ReportProvingJobSuccess => self.success(&arguments).await,
            Method::ReportProvingJobError => self.error(&arguments).await,
            Method::ReportProvingJobProgress => self.progress(&arguments).await,
        }
    }

    /// Takes memory for what an answer holds. Returns `false` when the answers hold enough already, so that
    /// this one has to be asked for again.
    fn hold(&self, bytes: usize) -> Result<bool, BrokerError> {
        let mut memory = self.memory.lock();
        if memory.answered > 0 && memory.answered + bytes > self.shared.aztec.body_bytes_max {
            return Ok(false);
        }
        let permit = self.shared.admission.more(bytes)?;
        memory.permits.push(permit);
        memory.answered += bytes;
        Ok(true)
    }

    fn granted(&self, grant: &Grant, agent: rollmill_broker_client::AgentId) {
        let lease = LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch };
        self.grants.lock().push(ReleaseRequest { agent, lease });
    }

    /// Returns what was granted last.
    async fn take_back_last(&self) {
        let last = self.grants.lock().pop();
        if let Some(grant) = last {
            // If this fails, the lease expires.
            let _ = direct::release(self.shared, self.bearer, grant).await;
        }
    }

    /// Returns what was granted in a request that failed.
    async fn take_back_grants(&self) {
        let grants = std::mem::take(&mut *self.grants.lock());
        for grant in grants {
            // If this fails, the lease expires.
            let _ = direct::release(self.shared, self.bearer, grant).await;
        }
    }
}

/// Deletes the epochs that lie too far behind, until shutdown.
pub(crate) async fn drop_old_epochs(shared: &Shared) {
    let mut task = Task::new("old epochs");
    loop {
        tokio::select! {
            () = tokio::time::sleep(OLD_EPOCHS) => {}
            () = shared.aztec.old.notified() => {}
            () = shared.shutdown.started() => return,
        }
        let dropped = limited(ROUND_MAX, drop_old(shared)).await;
        task.report(dropped, &shared.shutdown).await;
    }
}

async fn drop_old(shared: &Shared) -> Result<(), BrokerError> {
    for (tenant, epoch) in shared.store.aztec_old(shared.aztec.epochs_kept).await? {
        let jobs = shared.store.drop_epoch(&tenant, epoch).await?;
        tracing::info!(tenant = tenant.as_str(), epoch, jobs, "old epoch deleted");
        shared.hub.became_final();
    }
    Ok(())
}
