//! A broker with agents in memory: the trait for speed, the same over HTTP for the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::routes::{Artifacts, Payload as _};
use rollmill_broker_client::{
    AgentId, ArtifactsResponse, BATCH_MAX, ChangesRequest, ChangesResponse, ClientError,
    CountResponse, Digest, EnqueueRequest, EpochOutcome, EpochState, ErrorBody, FailureClass,
    FailureView, IdsRequest, JobId, JobState, JobView, JobsResponse, ListQuery, NewJob,
    ROLLUP_LABEL, RejectOutcome, RejectRequest, RejectResponse,
};
use rollmill_prover_node::jobs::Broker;
use rollmill_prover_node::jobs::answers::Route;

/// What an honest agent makes of an input.
pub(crate) fn result_of(input: &[u8]) -> Vec<u8> {
    [b"result of ", &Digest::of(input).0[..]].concat()
}

/// A response that the fake returns instead of handling the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    /// Without one the response is a proxy's page.
    pub(crate) code: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) artifacts: BTreeMap<Digest, Vec<u8>>,
    pub(crate) jobs: BTreeMap<JobId, JobView>,
    /// Jobs that agents may take, best rank first.
    ready: BTreeSet<(std::cmp::Reverse<u32>, JobId)>,
    /// Faults of a route, first come first served.
    pub(crate) faults: Vec<(Route, Fault)>,
    pub(crate) rejected: Vec<JobId>,
    pub(crate) replayed: usize,
    pub(crate) cancelled: usize,
    /// Pages of jobs that were listed.
    pub(crate) lists: usize,
    /// Lists have the jobs of every label, whichever is asked for.
    pub(crate) ignores_labels: bool,
    pub(crate) uploads: usize,
    /// Ids that queries named and jobs that feeds returned, all together.
    pub(crate) ids_read: usize,
    /// What feeds have shown of each job, and the number of that change.
    shown: BTreeMap<JobId, (JobState, Option<Digest>, u32, u64)>,
    changes: u64,
    pub(crate) requests: usize,
    /// The next results are wrong.
    pub(crate) wrong: usize,
    /// The next jobs become dead letters.
    pub(crate) deaths: usize,
    /// The epoch takes nothing, for this reason.
    pub(crate) closed: Option<&'static str>,
    /// Times that it was opened again.
    pub(crate) opened: usize,
    /// Deadlines before this are past.
    pub(crate) now: u64,
    /// Deadlines of the jobs that were enqueued, in order.
    pub(crate) deadlines: Vec<Option<u64>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fake {
    inner: Mutex<Inner>,
    /// Jobs that the agents finish between two waits.
    pub(crate) pace: usize,
}

impl Fake {
    pub(crate) fn new(pace: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), pace })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Serves it over HTTP and returns the address.
    pub(crate) async fn serve(self: &Arc<Self>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/v1/artifacts", post(http_put_all))
            .route("/v1/artifacts/{digest}", put(http_put).get(http_get))
            .route("/v1/jobs", post(http_enqueue).get(http_list))
            .route("/v1/jobs/query", post(http_query))
            .route("/v1/epochs/{epoch}/changes", post(http_changes))
            .route("/v1/jobs/reject", post(http_reject))
            .route("/v1/jobs/cancel", post(http_cancel))
            .route("/v1/dead-letters/replay", post(http_replay))
            .route("/v1/epochs/{epoch}", delete(|| async { StatusCode::NOT_FOUND }))
            .route("/v1/status", get(|| async { StatusCode::NOT_FOUND }))
            .with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

impl Inner {
    /// The database is gone.
    pub(crate) fn lose_everything(&mut self) {
        (self.artifacts, self.jobs, self.ready) = Default::default();
    }

    /// A finished job's result is unreadable: the job reopens, as a broker does it.
    pub(crate) fn lose_result(&mut self, id: &JobId) {
        let job = self.jobs.get_mut(id).unwrap();
        let digest = job.result.take().unwrap();
        job.state = JobState::Ready;
        self.artifacts.remove(&digest);
        self.ready.insert((std::cmp::Reverse(job.rank), id.clone()));
    }

    fn open(&mut self, id: &JobId, state: JobState) {
        let job = self.jobs.get_mut(id).unwrap();
        (job.state, job.result) = (state, None);
        if state == JobState::Ready {
            self.ready.insert((std::cmp::Reverse(job.rank), id.clone()));
        }
    }

    /// The agents finish up to `count` jobs.
    pub(crate) fn work(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let Some((_, id)) = self.ready.pop_first() else { return };
            if self.jobs[&id].state != JobState::Ready {
                continue;
            }
            left -= 1;
            let job = self.jobs.get_mut(&id).unwrap();
            job.attempts += 1;
            if self.deaths > 0 {
                self.deaths -= 1;
                job.state = JobState::Dead;
                let (class, message) = (FailureClass::Transient, "the agent's disk".to_owned());
                job.failure = Some(FailureView { class, message });
                continue;
            }
            let Some(input) = self.artifacts.get(&id.input()) else {
                job.state = JobState::InputWanted;
                continue;
            };
            let mut result = result_of(input);
            if self.wrong > 0 {
                self.wrong -= 1;
                result.push(0);
            }
            let digest = Digest::of(&result);
            self.artifacts.insert(digest, result);
            (job.state, job.result) = (JobState::Done, Some(digest));
            job.agent = Some("agent".parse::<AgentId>().unwrap());
        }
    }

    pub(crate) fn put(&mut self, bytes: Vec<u8>) -> Digest {
        self.uploads += 1;
        let digest = Digest::of(&bytes);
        self.artifacts.insert(digest, bytes);
        let needed: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.state == JobState::InputWanted && job.id.input() == digest)
            .map(|job| job.id.clone())
            .collect();
        for id in needed {
            self.open(&id, JobState::Ready);
        }
        digest
    }

    pub(crate) fn enqueue(&mut self, jobs: Vec<NewJob>) -> Result<Vec<JobView>, Fault> {
        assert!(jobs.len() <= BATCH_MAX, "a batch of {}", jobs.len());
        if jobs.iter().any(|job| !self.artifacts.contains_key(&job.id.input())) {
            return Err(Fault { status: 422, code: Some("BRK-013") });
        }
        let mut views = Vec::new();
        for job in jobs {
            self.deadlines.push(job.deadline_unix_seconds);
            let is_late = job.deadline_unix_seconds.is_some_and(|at| at < self.now);
            let of_late = |known: &JobView| {
                let class = known.failure.as_ref().map(|failure| failure.class);
                class == Some(FailureClass::PastDeadline) && !is_late
            };
            if let Some(known) = self.jobs.get_mut(&job.id) {
                known.labels.clone_from(&job.labels);
            }
            let known = self.jobs.get(&job.id);
            if known.is_none_or(|known| known.state == JobState::Cancelled || of_late(known)) {
                self.jobs.insert(job.id.clone(), view(&job));
                self.open(&job.id, JobState::Ready);
                if is_late {
                    let job = self.jobs.get_mut(&job.id).unwrap();
                    job.state = JobState::Dead;
                    let (class, message) = (FailureClass::PastDeadline, "late".to_owned());
                    job.failure = Some(FailureView { class, message });
                }
            }
            views.push(self.jobs[&job.id].clone());
        }
        Ok(views)
    }

    fn query(&mut self, ids: &[JobId]) -> Vec<JobView> {
        assert!(ids.len() <= BATCH_MAX, "{} ids at once", ids.len());
        self.ids_read += ids.len();
        ids.iter().filter_map(|id| self.jobs.get(id).cloned()).collect()
    }

    /// The jobs of the epoch that changed since, at most a page of them.
    fn changed(&mut self, epoch: u64, cursor: Option<&str>) -> ChangesResponse {
        for job in self.jobs.values() {
            let now = (job.state, job.result, job.attempts);
            let shown = self.shown.get(&job.id);
            let is_news = job.state.awaits_producer()
                && shown
                    .is_none_or(|(state, result, attempts, _)| now != (*state, *result, *attempts));
            if is_news {
                self.changes += 1;
                self.shown.insert(job.id.clone(), (now.0, now.1, now.2, self.changes));
            }
        }
        let cursor: u64 = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let mut news: Vec<(u64, JobId)> = self
            .shown
            .iter()
            .filter(|(id, (.., change))| id.epoch() == epoch && *change > cursor)
            .map(|(id, (.., change))| (*change, id.clone()))
            .collect();
        news.sort_unstable();
        let more = news.len() > BATCH_MAX;
        news.truncate(BATCH_MAX);
        self.ids_read += news.len();
        let cursor = news.last().map_or(cursor, |(change, _)| *change).to_string();
        let jobs = news.iter().filter_map(|(_, id)| self.jobs.get(id).cloned()).collect();
        ChangesResponse { jobs, cursor, more, unable: Vec::new() }
    }

    fn reject(&mut self, id: &JobId) -> RejectResponse {
        self.rejected.push(id.clone());
        self.open(id, JobState::Ready);
        RejectResponse { outcome: RejectOutcome::Reopened, agent_quarantined: false }
    }

    fn replay(&mut self, ids: &[JobId]) -> u64 {
        self.replayed += ids.len();
        for id in ids {
            self.open(id, JobState::Ready);
        }
        ids.len() as u64
    }

    pub(crate) fn cancel(&mut self, ids: &[JobId]) -> u64 {
        assert!(ids.len() <= BATCH_MAX, "{} ids at once", ids.len());
        for id in ids {
            self.open(id, JobState::Cancelled);
        }
        self.cancelled += ids.len();
        ids.len() as u64
    }

    /// As a broker lists, with the largest id as the newest job.
    fn list(&mut self, query: &ListQuery) -> Vec<JobView> {
        self.lists += 1;
        let label = query.label.as_deref().and_then(|label| label.split_once('='));
        let of = |job: &&JobView| {
            let is_labelled =
                |(name, value): (&str, &str)| job.labels.get(name).is_some_and(|of| of == value);
            (label.is_none_or(is_labelled) || self.ignores_labels)
                && query.state.is_none_or(|state| state == job.state)
                && query.epoch.is_none_or(|epoch| epoch == job.id.epoch())
                && query.before.as_ref().is_none_or(|before| job.id < *before)
        };
        let limit = query.limit.map_or(100, |limit| (limit as usize).min(BATCH_MAX));
        self.jobs.values().rev().filter(of).take(limit).cloned().collect()
    }
}

fn view(job: &NewJob) -> JobView {
    JobView {
        id: job.id.clone(),
        version: job.version.clone(),
        rank: job.rank,
        class: job.class,
        state: JobState::Ready,
        attempts: 0,
        lease: None,
        result: None,
        agent: None,
        stats: None,
        failure: None,
        labels: job.labels.clone(),
        created_unix_ms: 0,
        finished_unix_ms: None,
    }
}

fn rejected(fault: Fault) -> ClientError {
    let broker_code = fault.code.unwrap_or("-").to_owned();
    ClientError::Rejected { status: fault.status, broker_code, message: String::new() }
}

/// The fake without HTTP between.
#[derive(Debug, Clone)]
pub(crate) struct Local(pub(crate) Arc<Fake>);

impl std::ops::Deref for Local {
    type Target = Arc<Fake>;

    fn deref(&self) -> &Arc<Fake> {
        &self.0
    }
}

impl Local {
    fn open_or_error(&self) -> Result<(), ClientError> {
        let status = |code: &str| if code == "BRK-063" { 410 } else { 409 };
        let closed = self.lock().closed;
        closed
            .map_or(Ok(()), |code| Err(rejected(Fault { status: status(code), code: Some(code) })))
    }
}

impl Broker for Local {
    async fn put_artifact(&self, _epoch: u64, bytes: Vec<u8>) -> Result<Digest, ClientError> {
        self.open_or_error()?;
        Ok(self.lock().put(bytes))
    }

    async fn put_artifacts(
        &self,
        _epoch: u64,
        bodies: Vec<Vec<u8>>,
    ) -> Result<Vec<Digest>, ClientError> {
        self.lock().requests += 1;
        self.open_or_error()?;
        Ok(bodies.into_iter().map(|body| self.lock().put(body)).collect())
    }

    async fn get_artifact(&self, digest: &Digest) -> Result<Vec<u8>, ClientError> {
        let lost = Fault { status: 404, code: Some("BRK-014") };
        self.lock().artifacts.get(digest).cloned().ok_or_else(|| rejected(lost))
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<JobView>, ClientError> {
        self.lock().requests += 1;
        self.lock().enqueue(jobs).map_err(rejected)
    }

    async fn jobs(&self, ids: &[JobId]) -> Result<Vec<JobView>, ClientError> {
        Ok(self.lock().query(ids))
    }

    async fn changes(
        &self,
        epoch: u64,
        cursor: Option<&str>,
        wait: Duration,
    ) -> Result<ChangesResponse, ClientError> {
        Ok(changes_of(&self.0, epoch, cursor, wait).await)
    }

    async fn open_epoch(&self, _: u64) -> Result<(), ClientError> {
        self.lock().closed = None;
        self.lock().opened += 1;
        Ok(())
    }

    async fn close_epoch(
        &self,
        _: u64,
        _: &str,
        _: EpochOutcome,
    ) -> Result<EpochState, ClientError> {
        match self.lock().closed {
            Some("BRK-063") => Err(rejected(Fault { status: 410, code: Some("BRK-063") })),
            _ => Ok(EpochState::Closing),
        }
    }

    async fn reject(&self, id: &JobId, _: Digest, _: &str) -> Result<RejectResponse, ClientError> {
        Ok(self.lock().reject(id))
    }

    async fn replay(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        Ok(self.lock().replay(ids))
    }

    async fn cancel(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        Ok(self.lock().cancel(ids))
    }

    async fn list_all(
        &self,
        epoch: u64,
        rollup: &str,
        state: JobState,
    ) -> Result<Vec<JobView>, ClientError> {
        let own = |job: &JobView| job.labels.get(ROLLUP_LABEL).is_some_and(|of| of == rollup);
        let inner = self.lock();
        let jobs = inner.jobs.values().filter(|job| job.state == state && job.id.epoch() == epoch);
        Ok(jobs.filter(|job| own(job)).cloned().collect())
    }
}

async fn changes_of(
    fake: &Arc<Fake>,
    epoch: u64,
    cursor: Option<&str>,
    wait: Duration,
) -> ChangesResponse {
    let until = tokio::time::Instant::now() + wait;
    loop {
        {
            let mut inner = fake.lock();
            inner.requests += 1;
            inner.work(fake.pace);
            let answer = inner.changed(epoch, cursor);
            if !answer.jobs.is_empty() || tokio::time::Instant::now() >= until {
                return answer;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// The same over HTTP

type Shared = State<Arc<Fake>>;

impl Fake {
    /// The fault that is due on this route.
    fn due(&self, route: Route) -> Option<Response> {
        let mut inner = self.lock();
        let at = inner.faults.iter().position(|(of, _)| *of == route)?;
        Some(response(inner.faults.remove(at).1))
    }
}

fn response(fault: Fault) -> Response {
    let status = StatusCode::from_u16(fault.status).unwrap();
    match fault.code {
        Some(code) => {
            let (code, message) = (code.to_owned(), "as the test wants it".to_owned());
            (status, Json(ErrorBody { code, message })).into_response()
        }
        None => (status, "<html>a proxy</html>").into_response(),
    }
}

macro_rules! or_fault {
    ($fake:expr, $route:expr) => {
        if let Some(response) = $fake.due($route) {
            return response;
        }
    };
}

async fn http_put(State(fake): Shared, Path(digest): Path<String>, body: Bytes) -> Response {
    or_fault!(fake, Route::Upload);
    assert_eq!(fake.lock().put(body.to_vec()).to_string(), digest);
    StatusCode::NO_CONTENT.into_response()
}

/// While a fault of uploads is due there is no such route, as at an older broker: the fault is for a single upload.
async fn http_put_all(State(fake): Shared, body: Bytes) -> Response {
    if fake.lock().faults.iter().any(|(route, _)| *route == Route::Upload) {
        return response(Fault { status: 404, code: Some("BRK-032") });
    }
    let bodies = Artifacts::decode(body).unwrap();
    let digests = bodies.into_iter().map(|body| fake.lock().put(body.to_vec())).collect();
    Json(ArtifactsResponse { digests }).into_response()
}

async fn http_get(State(fake): Shared, Path(digest): Path<String>) -> Response {
    or_fault!(fake, Route::Fetch);
    match fake.lock().artifacts.get(&digest.parse().unwrap()) {
        Some(bytes) => bytes.clone().into_response(),
        None => response(Fault { status: 404, code: Some("BRK-014") }),
    }
}

async fn http_enqueue(State(fake): Shared, Json(request): Json<EnqueueRequest>) -> Response {
    or_fault!(fake, Route::Enqueue);
    match fake.lock().enqueue(request.jobs) {
        Ok(jobs) => Json(JobsResponse { jobs }).into_response(),
        Err(fault) => response(fault),
    }
}

async fn http_list(State(fake): Shared, Query(query): Query<ListQuery>) -> Response {
    or_fault!(fake, Route::Cancel);
    let jobs = fake.lock().list(&query);
    Json(JobsResponse { jobs }).into_response()
}

async fn http_query(State(fake): Shared, Json(request): Json<IdsRequest>) -> Response {
    or_fault!(fake, Route::Watch);
    Json(JobsResponse { jobs: fake.lock().query(&request.ids) }).into_response()
}

async fn http_changes(
    State(fake): Shared,
    Path(epoch): Path<u64>,
    Json(request): Json<ChangesRequest>,
) -> Response {
    or_fault!(fake, Route::Watch);
    let wait = Duration::from_millis(request.wait_ms);
    Json(changes_of(&fake, epoch, request.cursor.as_deref(), wait).await).into_response()
}

async fn http_reject(State(fake): Shared, Json(request): Json<RejectRequest>) -> Response {
    or_fault!(fake, Route::Reject);
    Json(fake.lock().reject(&request.id)).into_response()
}

async fn http_cancel(State(fake): Shared, Json(request): Json<IdsRequest>) -> Response {
    or_fault!(fake, Route::Cancel);
    Json(CountResponse { count: fake.lock().cancel(&request.ids) }).into_response()
}

async fn http_replay(State(fake): Shared, Json(request): Json<IdsRequest>) -> Response {
    or_fault!(fake, Route::Replay);
    Json(CountResponse { count: fake.lock().replay(&request.ids) }).into_response()
}
