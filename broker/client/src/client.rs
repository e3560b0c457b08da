//! The typed client.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Method, header};
use rollmill_net::{Answer, Backoff, ErrorBody, Limits, Tls, Traceparent, Transport};
use tokio::task::JoinSet;

use crate::batches::batches;
use crate::routes::{self, Json, NoQuery, Payload, Route};
use crate::{
    AgentId, BATCH_MAX, ChangesRequest, ChangesResponse, ClaimRequest, ClaimResponse, ClientError,
    CloseEpochRequest, CompleteOutcome, CompleteRequest, CountResponse, Digest, EnqueueRequest,
    EpochOutcome, EpochQuery, EpochView, FailRequest, Grant, HeartbeatRequest, HeartbeatResponse,
    IdsRequest, Incarnation, JobId, JobView, NamedLeaseRequest, NamedLeaseResponse, NewJob,
    Options, ProgressRequest, RejectRequest, RejectResponse, ReleaseRequest, SessionRequest,
    SessionResponse, WAIT_MS_MAX, WaitRequest, WaitResponse,
};

/// First pause before a request is repeated; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest pause that a `Retry-After` can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Time for a connection, after which a broker counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests at a time of [`Client::put_artifacts`].
const UPLOADS: usize = 8;
/// Largest answer that is read: the broker's largest artifact, and lists of a full batch of jobs.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection to a broker. Clones share one pool.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    options: Options,
}

impl Client {
    /// A client of the broker at `url` (`http://host:port` or `https://host:port`), with its bearer token if it requires one.
    /// White space around the token is dropped: a token that was read from a file ends with a newline.
    ///
    /// # Errors
    /// [`ClientError::Address`] when `url` cannot be used, [`ClientError::Token`] when no broker could
    /// accept the token, and [`ClientError::Exposed`] when the token would go over plain HTTP to another machine,
    /// unless [`Tls::with_plain_tokens`] allows it. Nothing is contacted yet.
    pub fn new(url: &str, token: Option<&str>, options: Options) -> Result<Self, ClientError> {
        Self::with_tls(url, token, options, &Tls::of_process())
    }

    /// As [`Self::new`], with other TLS than that of this process.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tls(
        url: &str,
        token: Option<&str>,
        options: Options,
        tls: &Tls,
    ) -> Result<Self, ClientError> {
        let limits = Limits {
            connect: CONNECT_TIMEOUT,
            request: options.timeout,
            answer_bytes: ANSWER_BYTES_MAX,
        };
        match Transport::new(url, token, limits, tls) {
            Ok(transport) => Ok(Self { transport, options }),
            Err(error) => Err(ClientError::of_transport(error)),
        }
    }

    /// Scheme, host and port of the broker's address.
    pub fn url(&self) -> &str {
        self.transport.url()
    }

    /// Sends another token from now on, as do all clones of this client: it was rotated.
    ///
    /// # Errors
    /// [`ClientError::Token`] and [`ClientError::Exposed`], as [`Self::new`]; the one before stays.
    pub fn set_token(&self, token: &str) -> Result<(), ClientError> {
        self.transport.set_token(token).map_err(ClientError::of_transport)
    }

    /// The same client with other options.
    pub fn with_options(&self, options: Options) -> Self {
        Self { options, ..self.clone() }
    }

    // Artifacts

    /// Stores `bytes` for `epoch` and returns their address. Storing them again changes nothing.
    pub async fn put_artifact(&self, epoch: u64, bytes: Vec<u8>) -> Result<Digest, ClientError> {
        let digest = Digest::of(&bytes);
        let (query, body) = (EpochQuery { epoch }, bytes.into());
        let call = Call::<routes::PutArtifact>::new(&digest, &query, &body);
        self.call(call, Duration::ZERO, Ok).await?;
        Ok(digest)
    }

    /// Stores each of `bodies` for `epoch`, many in a request; returns their addresses in the order
    /// given. After an error some of them may be stored, which is harmless.
    pub async fn put_artifacts(
        &self,
        epoch: u64,
        bodies: Vec<Vec<u8>>,
    ) -> Result<Vec<Digest>, ClientError> {
        let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
        let digests = bodies.iter().map(|body| Digest::of(body)).collect();
        let mut batches = batches(bodies).into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < UPLOADS
                && let Some(batch) = batches.next()
            {
                let client = self.clone();
                running.spawn(async move { client.put_batch(epoch, batch).await });
            }
            match running.join_next().await {
                None => return Ok(digests),
                Some(ended) => ended.unwrap_or_else(resume)?,
            }
        }
    }

    async fn put_batch(&self, epoch: u64, batch: Vec<Bytes>) -> Result<(), ClientError> {
        if let [body] = &batch[..] {
            return self.put_artifact(epoch, body.to_vec()).await.map(drop);
        }
        let query = EpochQuery { epoch };
        let call = Call::<routes::PutArtifacts>::new(&(), &query, &batch);
        self.call(call, Duration::ZERO, |answer| {
            let pairs = batch.iter().map(|body| Digest::of(body)).zip(&answer.digests);
            let wrong = pairs.clone().find(|(wanted, got)| wanted != *got);
            match wrong {
                Some((wanted, got)) => Err(ClientError::Corrupt { wanted, got: *got }),
                None if answer.digests.len() != batch.len() => Err(ClientError::Answer {
                    url: self.url().to_owned(),
                    source: "it has a digest too many or too few".into(),
                }),
                None => Ok(()),
            }
        })
        .await
    }

    /// Fetches an artifact and checks it against its address.
    pub async fn get_artifact(&self, digest: &Digest) -> Result<Vec<u8>, ClientError> {
        let call = Call::<routes::GetArtifact>::new(digest, &NoQuery {}, &());
        self.call(call, Duration::ZERO, |bytes| {
            let got = Digest::of(&bytes);
            match got == *digest {
                true => Ok(bytes.into()),
                false => Err(ClientError::Corrupt { wanted: *digest, got }),
            }
        })
        .await
    }

    // Producers

    /// Enqueues any number of jobs, in requests of [`BATCH_MAX`], and returns them in the order
    /// given: a known job as it is, a finished one with its result. A known job takes over the
    /// rank, labels and deadline, and the class where it is larger.
    pub async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<JobView>, ClientError> {
        let mut views = Vec::with_capacity(jobs.len());
        for chunk in jobs.chunks(BATCH_MAX) {
            let request = EnqueueRequest { jobs: chunk.to_vec() };
            let answer = self.post::<routes::Enqueue>(&request).await?;
            views.extend(answer.jobs);
        }
        Ok(views)
    }

    /// The jobs of these ids, any number; unknown ones are left out.
    pub async fn jobs(&self, ids: &[JobId]) -> Result<Vec<JobView>, ClientError> {
        let mut views = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(BATCH_MAX) {
            let request = IdsRequest { ids: chunk.to_vec() };
            let answer = self.post::<routes::Query>(&request).await?;
            views.extend(answer.jobs);
        }
        Ok(views)
    }

    /// Waits until one of the jobs awaits its producer (see [`crate::JobState::awaits_producer`]) and
    /// returns those that do; no jobs when there was none within `wait` (at most 30 s). The answer
    /// also says which waiting types no live agent can do.
    ///
    /// Ids that the broker does not know are ignored. If the wait returns no jobs, enqueue them again,
    /// which changes nothing for those that are there: otherwise a producer waits for ever for jobs of
    /// a database that was restored, or of an epoch that was dropped.
    ///
    /// Any number of ids. Beyond [`BATCH_MAX`] the first part to answer ends the wait, so jobs of
    /// other parts may be left for the next call.
    pub async fn wait(&self, ids: &[JobId], wait: Duration) -> Result<WaitResponse, ClientError> {
        let wait = wait.min(Duration::from_millis(WAIT_MS_MAX));
        if ids.len() <= BATCH_MAX {
            return self.wait_once(ids.to_vec(), wait).await;
        }
        let mut running = JoinSet::new();
        for chunk in ids.chunks(BATCH_MAX) {
            let (client, ids) = (self.clone(), chunk.to_vec());
            running.spawn(async move { client.wait_once(ids, wait).await });
        }
        let mut all = WaitResponse::default();
        while let Some(ended) = running.join_next().await {
            let answer = ended.unwrap_or_else(resume)?;
            all.jobs.extend(answer.jobs);
            for unable in answer.unable {
                if !all.unable.contains(&unable) {
                    all.unable.push(unable);
                }
            }
            if !all.jobs.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    async fn wait_once(
        &self,
        ids: Vec<JobId>,
        wait: Duration,
    ) -> Result<WaitResponse, ClientError> {
        let request = WaitRequest { ids, wait_ms: millis(wait) };
        self.call(Call::<routes::Wait>::new(&(), &NoQuery {}, &request), wait, Ok).await
    }

    /// Waits until jobs of an epoch changed since `cursor` in a way that their producer must see, and returns
    /// those; no jobs when there was none within `wait` (at most 30 s). The answer has the cursor of the next call.
    /// Without a cursor it returns all that ever changed so. Its cost grows with what changed, not with what is open.
    pub async fn changes(
        &self,
        epoch: u64,
        cursor: Option<&str>,
        wait: Duration,
    ) -> Result<ChangesResponse, ClientError> {
        let wait = wait.min(Duration::from_millis(WAIT_MS_MAX));
        let request = ChangesRequest { cursor: cursor.map(str::to_owned), wait_ms: millis(wait) };
        let call = Call::<routes::Changes>::new(&epoch, &NoQuery {}, &request);
        self.call(call, wait, Ok).await
    }

    /// Rejects a job's result: another agent proves the job again.
    pub async fn reject(
        &self,
        id: &JobId,
        result: Digest,
        reason: &str,
    ) -> Result<RejectResponse, ClientError> {
        let request = RejectRequest { id: id.clone(), result, reason: reason.to_owned() };
        self.post::<routes::Reject>(&request).await
    }

    /// Cancels unfinished jobs; returns how many were.
    pub async fn cancel(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        self.count::<routes::Cancel>(ids).await
    }

    /// The newest epochs and their states, the highest number first.
    pub async fn epochs(&self) -> Result<Vec<EpochView>, ClientError> {
        Ok(self.ask::<routes::Epochs>(&(), &NoQuery {}).await?.epochs)
    }

    /// Opens an epoch: one that is closing again, one that is gone as a new generation.
    pub async fn open_epoch(&self, epoch: u64) -> Result<EpochView, ClientError> {
        self.ask::<routes::OpenEpoch>(&epoch, &NoQuery {}).await
    }

    /// Closes an epoch, unless it has unfinished jobs without the label `NAME=VALUE`; returns it as it is then.
    pub async fn close_epoch(
        &self,
        epoch: u64,
        outcome: EpochOutcome,
        label: Option<&str>,
    ) -> Result<EpochView, ClientError> {
        let request = CloseEpochRequest { outcome, label: label.map(str::to_owned) };
        let call = Call::<routes::CloseEpoch>::new(&epoch, &NoQuery {}, &request);
        self.call(call, Duration::ZERO, Ok).await
    }

    /// Forgets an epoch at once: its jobs, their history and their artifacts. Returns how many jobs.
    pub async fn drop_epoch(&self, epoch: u64) -> Result<u64, ClientError> {
        Ok(self.ask::<routes::DropEpoch>(&epoch, &NoQuery {}).await?.count)
    }

    /// Acquires a name for `ttl`, or reports who holds it. The present holder acquires it again,
    /// under a new fence, if it is the same incarnation.
    pub async fn acquire_name(
        &self,
        name: &str,
        holder: &AgentId,
        incarnation: &Incarnation,
        ttl: Duration,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.named::<routes::AcquireName>(name, (holder, incarnation), None, ttl).await
    }

    /// Extends a named lease to `ttl` from now; `held` is false when it was lost.
    pub async fn renew_name(
        &self,
        name: &str,
        holder: &AgentId,
        incarnation: &Incarnation,
        fence: u64,
        ttl: Duration,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.named::<routes::RenewName>(name, (holder, incarnation), Some(fence), ttl).await
    }

    /// Releases a name. Releasing one that is not held changes nothing.
    pub async fn release_name(
        &self,
        name: &str,
        holder: &AgentId,
        incarnation: &Incarnation,
        fence: u64,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.named::<routes::ReleaseName>(name, (holder, incarnation), Some(fence), Duration::ZERO)
            .await
    }

    async fn named<R>(
        &self,
        name: &str,
        (holder, incarnation): (&AgentId, &Incarnation),
        fence: Option<u64>,
        ttl: Duration,
    ) -> Result<NamedLeaseResponse, ClientError>
    where
        R: Route<
                Parameter = (),
                Query = NoQuery,
                Body = Json<NamedLeaseRequest>,
                Answer = Json<NamedLeaseResponse>,
            >,
    {
        let request = NamedLeaseRequest {
            name: name.to_owned(),
            holder: holder.clone(),
            incarnation: incarnation.clone(),
            fence,
            ttl_ms: millis(ttl),
        };
        self.post::<R>(&request).await
    }

    // Agents

    /// Opens the agent's session, and ends the one that this installation had.
    pub async fn open_session(
        &self,
        request: &SessionRequest,
    ) -> Result<SessionResponse, ClientError> {
        self.post::<routes::OpenSession>(request).await
    }

    /// Waits for a job; `None` when there was none in the time asked for.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<Option<Grant>, ClientError> {
        Ok(self.claim_or_leave(request).await?.grant)
    }

    /// As [`Self::claim`], with whether somebody asked the agent to leave.
    pub async fn claim_or_leave(
        &self,
        request: &ClaimRequest,
    ) -> Result<ClaimResponse, ClientError> {
        let wait = Duration::from_millis(request.wait_ms);
        let call = Call::<routes::Claim>::new(&(), &NoQuery {}, request);
        self.call(call, wait, Ok).await
    }

    /// Keeps leases alive; the answer names those that were lost.
    pub async fn heartbeat(
        &self,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, ClientError> {
        self.post::<routes::Heartbeat>(request).await
    }

    /// Reports progress on a lease.
    pub async fn progress(&self, request: &ProgressRequest) -> Result<(), ClientError> {
        self.post::<routes::Progress>(request).await.map(drop)
    }

    /// Submits a result.
    pub async fn complete(
        &self,
        request: &CompleteRequest,
    ) -> Result<CompleteOutcome, ClientError> {
        Ok(self.post::<routes::Complete>(request).await?.outcome)
    }

    /// Reports that the job could not be done.
    pub async fn fail(&self, request: &FailRequest) -> Result<(), ClientError> {
        self.post::<routes::Fail>(request).await.map(drop)
    }

    /// Releases the job, without a failure.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<(), ClientError> {
        self.post::<routes::Release>(request).await.map(drop)
    }

    // Transport

    /// Sends ids in parts and adds up the counts of the answers.
    pub(crate) async fn count<R>(&self, ids: &[JobId]) -> Result<u64, ClientError>
    where
        R: Route<
                Parameter = (),
                Query = NoQuery,
                Body = Json<IdsRequest>,
                Answer = Json<CountResponse>,
            >,
    {
        let mut count = 0;
        for chunk in ids.chunks(BATCH_MAX) {
            count += self.post::<R>(&IdsRequest { ids: chunk.to_vec() }).await?.count;
        }
        Ok(count)
    }

    /// Calls a route that has only a body.
    pub(crate) async fn post<R: Route<Parameter = (), Query = NoQuery>>(
        &self,
        body: &Value<R::Body>,
    ) -> Result<Value<R::Answer>, ClientError> {
        self.call(Call::<R>::new(&(), &NoQuery {}, body), Duration::ZERO, Ok).await
    }

    /// Calls a route that has no body.
    pub(crate) async fn ask<R: Route<Body = routes::Empty>>(
        &self,
        parameter: &R::Parameter,
        query: &R::Query,
    ) -> Result<Value<R::Answer>, ClientError> {
        self.call(Call::<R>::new(parameter, query, &()), Duration::ZERO, Ok).await
    }

    /// Calls a route, and repeats the request with a growing pause while the answers are passing.
    /// `read` checks the response; what it rejects may be temporary as well.
    pub(crate) async fn call<R: Route, A>(
        &self,
        call: Call<'_, R>,
        wait: Duration,
        read: impl Fn(Value<R::Answer>) -> Result<A, ClientError>,
    ) -> Result<A, ClientError> {
        let Call { parameter, query, body } = call;
        let unwritten =
            |source: serde_json::Error| ClientError::Request { path: R::SPEC.path, source };
        let path = R::path(parameter);
        let body = R::Body::encode(body).map_err(unwritten)?;
        let unreadable = |source: serde_json::Error| ClientError::Answer {
            url: self.url().to_owned(),
            source: source.into(),
        };
        let start = Instant::now();
        let mut retry = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        loop {
            // The bytes are shared, so a repetition does not copy them.
            let mut request = self
                .transport
                .request(method(R::SPEC.method), &path)
                .query(query)
                .timeout(self.options.timeout + wait);
            if let Some(content_type) = R::Body::CONTENT_TYPE {
                request = request.header(header::CONTENT_TYPE, content_type).body(body.clone());
            }
            if let Some(span) = Traceparent::current() {
                request = request.header(Traceparent::HEADER, span.to_string());
            }
            let (retry_after, result) = match self.once(request).await {
                Ok(bytes) => {
                    (None, R::Answer::decode(bytes.into()).map_err(unreadable).and_then(&read))
                }
                Err(Failed { retry_after, error }) => (retry_after, Err(error)),
            };
            match result {
                Err(error) if error.is_transient() && start.elapsed() < self.options.patience => {
                    // What the broker asks for is the least; the pause on top spreads the clients.
                    let next = retry_after.unwrap_or_default() + retry.pause();
                    tracing::debug!(
                        error = %error,
                        retry_seconds = next.as_secs_f64(),
                        "request repeated"
                    );
                    let left = self.options.patience.saturating_sub(start.elapsed());
                    tokio::time::sleep(next.min(left)).await;
                }
                other => return other,
            }
        }
    }

    /// One request: its whole answer, if that is a success.
    async fn once(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, Failed> {
        let failed = |error| Failed { retry_after: None, error: ClientError::of_transport(error) };
        let answer = self.transport.answer(request).await.map_err(failed)?;
        let Answer { status, headers, body: bytes } = answer;
        let retry_after = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        if status.is_success() {
            return Ok(bytes);
        }
        let error = ClientError::of_answer(self.url(), status.as_u16(), ErrorBody::read(&bytes));
        Err(Failed { retry_after, error })
    }
}

/// What a payload carries.
pub(crate) type Value<P> = <P as Payload>::Value;

/// One call of a route.
pub(crate) struct Call<'a, R: Route> {
    parameter: &'a R::Parameter,
    query: &'a R::Query,
    body: &'a Value<R::Body>,
}

impl<'a, R: Route> Call<'a, R> {
    pub(crate) fn new(
        parameter: &'a R::Parameter,
        query: &'a R::Query,
        body: &'a Value<R::Body>,
    ) -> Self {
        Self { parameter, query, body }
    }
}

fn method(method: routes::Method) -> Method {
    match method {
        routes::Method::Get => Method::GET,
        routes::Method::Put => Method::PUT,
        routes::Method::Post => Method::POST,
        routes::Method::Delete => Method::DELETE,
    }
}

/// A failed request, and the delay after which its response asks to repeat it.
struct Failed {
    retry_after: Option<Duration>,
    error: ClientError,
}

/// Continues the panic of a task.
fn resume<T>(error: tokio::task::JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Nobody aborts these tasks, so this is a runtime that shuts down, where nothing runs on.
        Err(error) => std::panic::resume_unwind(Box::new(error.to_string())),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
