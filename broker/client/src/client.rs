//! The typed client.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    AgentId, ClaimRequest, ClaimResponse, ClientError, CompleteOutcome, CompleteRequest,
    CompleteResponse, CountResponse, Digest, EnqueueRequest, ErrorBody, FailRequest, Grant,
    HeartbeatRequest, HeartbeatResponse, HistoryResponse, IdsRequest, JobId, JobView, JobsResponse,
    ListQuery, NamedLeaseRequest, NamedLeaseResponse, NewJob, ProgressRequest, RejectRequest,
    RejectResponse, ReleaseRequest, StatusResponse, WAIT_MS_MAX, WaitRequest,
};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long requests are repeated while the broker is away or overloaded.
    pub patience: Duration,
    /// How long one answer may take, beyond the wait that a long poll asks for.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: Duration::from_secs(20), timeout: Duration::from_secs(30) }
    }
}

/// A connection to a broker. Clones share one pool.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    options: Options,
}

impl Client {
    /// A client of the broker at `url` (`http://host:port`), with its bearer token if it wants one.
    ///
    /// # Errors
    /// [`ClientError::Address`] when `url` or the token cannot be used. Nothing is contacted yet.
    pub fn new(url: &str, token: Option<&str>, options: Options) -> Result<Self, ClientError> {
        let address = || ClientError::Address { url: url.to_owned() };
        let parsed = reqwest::Url::parse(url).map_err(|_| address())?;
        if parsed.scheme() != "http" || !parsed.has_host() {
            return Err(address());
        }
        let mut headers = header::HeaderMap::new();
        if let Some(token) = token {
            let mut value =
                header::HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| address())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|source| ClientError::Unreachable { url: url.to_owned(), source })?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), options })
    }

    /// The broker's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same client with other options.
    pub fn with_options(&self, options: Options) -> Self {
        Self { options, ..self.clone() }
    }

    // Artifacts

    /// Stores `bytes` for `epoch` and returns their address. Storing them again changes nothing.
    pub async fn put_artifact(&self, epoch: u64, bytes: Vec<u8>) -> Result<Digest, ClientError> {
        let digest = Digest::of(&bytes);
        let path = format!("/v1/artifacts/{digest}?epoch={epoch}");
        let body: reqwest::Body = bytes.into();
        // A body made of bytes can be cloned for a repetition without copying them.
        let request = self.request(Method::PUT, &path).body(body);
        self.send(request, Duration::ZERO).await?;
        Ok(digest)
    }

    /// Fetches an artifact and checks it against its address.
    pub async fn get_artifact(&self, digest: &Digest) -> Result<Vec<u8>, ClientError> {
        let request = self.request(Method::GET, &format!("/v1/artifacts/{digest}"));
        let response = self.send(request, Duration::ZERO).await?;
        let bytes = response.bytes().await.map_err(|source| self.unreachable(source))?;
        let got = Digest::of(&bytes);
        if got != *digest {
            return Err(ClientError::Corrupt { wanted: *digest, got });
        }
        Ok(bytes.into())
    }

    // Producers

    /// Enqueues jobs; those already known answer as they stand, finished ones with their result.
    /// In the order given. At most [`crate::BATCH_MAX`].
    pub async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<JobView>, ClientError> {
        let answer: JobsResponse = self.post("/v1/jobs", &EnqueueRequest { jobs }).await?;
        Ok(answer.jobs)
    }

    /// The jobs of these ids; unknown ones are left out.
    pub async fn jobs(&self, ids: &[JobId]) -> Result<Vec<JobView>, ClientError> {
        let request = IdsRequest { ids: ids.to_vec() };
        let answer: JobsResponse = self.post("/v1/jobs/query", &request).await?;
        Ok(answer.jobs)
    }

    /// Waits until one of the jobs is final (done, dead, cancelled) and returns all that are; empty
    /// when none was within `wait` (at most 30 s).
    pub async fn wait(&self, ids: &[JobId], wait: Duration) -> Result<Vec<JobView>, ClientError> {
        let wait = wait.min(Duration::from_millis(WAIT_MS_MAX));
        let request = WaitRequest { ids: ids.to_vec(), wait_ms: millis(wait) };
        let answer: JobsResponse = self.post_long("/v1/jobs/wait", &request, wait).await?;
        Ok(answer.jobs)
    }

    /// Says that a job's result is wrong: it is proven again, by another agent.
    pub async fn reject(
        &self,
        id: &JobId,
        result: Digest,
        reason: &str,
    ) -> Result<RejectResponse, ClientError> {
        let request = RejectRequest { id: id.clone(), result, reason: reason.to_owned() };
        self.post("/v1/jobs/reject", &request).await
    }

    /// Cancels unfinished jobs; returns how many were.
    pub async fn cancel(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        self.count("/v1/jobs/cancel", ids).await
    }

    /// Forgets an epoch: its jobs, their history and their artifacts. Returns how many jobs.
    pub async fn drop_epoch(&self, epoch: u64) -> Result<u64, ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/epochs/{epoch}"));
        let answer: CountResponse = self.json(request, Duration::ZERO).await?;
        Ok(answer.count)
    }

    /// Takes a name, or says who holds it.
    pub async fn acquire_name(
        &self,
        name: &str,
        holder: &AgentId,
        ttl: Duration,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.named("acquire", name, holder, None, ttl).await
    }

    /// Holds a name for longer; `held` is false when it was lost.
    pub async fn renew_name(
        &self,
        name: &str,
        holder: &AgentId,
        fence: u64,
        ttl: Duration,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.named("renew", name, holder, Some(fence), ttl).await
    }

    /// Gives a name up.
    pub async fn release_name(
        &self,
        name: &str,
        holder: &AgentId,
        fence: u64,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.named("release", name, holder, Some(fence), Duration::ZERO).await
    }

    async fn named(
        &self,
        verb: &str,
        name: &str,
        holder: &AgentId,
        fence: Option<u64>,
        ttl: Duration,
    ) -> Result<NamedLeaseResponse, ClientError> {
        let request = NamedLeaseRequest {
            name: name.to_owned(),
            holder: holder.clone(),
            fence,
            ttl_ms: millis(ttl),
        };
        self.post(&format!("/v1/named-leases/{verb}"), &request).await
    }

    // Agents

    /// Waits for a job; `None` when there was none in the time asked for.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<Option<Grant>, ClientError> {
        let wait = Duration::from_millis(request.wait_ms);
        let answer: ClaimResponse = self.post_long("/v1/claim", request, wait).await?;
        Ok(answer.grant)
    }

    /// Keeps leases alive; the answer names those that were lost.
    pub async fn heartbeat(
        &self,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, ClientError> {
        self.post("/v1/heartbeat", request).await
    }

    /// Reports progress on a lease.
    pub async fn progress(&self, request: &ProgressRequest) -> Result<(), ClientError> {
        self.post::<_, CountResponse>("/v1/progress", request).await.map(drop)
    }

    /// Hands in a result.
    pub async fn complete(
        &self,
        request: &CompleteRequest,
    ) -> Result<CompleteOutcome, ClientError> {
        let answer: CompleteResponse = self.post("/v1/complete", request).await?;
        Ok(answer.outcome)
    }

    /// Reports that the job could not be done.
    pub async fn fail(&self, request: &FailRequest) -> Result<(), ClientError> {
        self.post::<_, CountResponse>("/v1/fail", request).await.map(drop)
    }

    /// Hands the job back unharmed.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<(), ClientError> {
        self.post::<_, CountResponse>("/v1/release", request).await.map(drop)
    }

    // Operators

    /// Queue, agents and dead letters at a glance.
    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        self.json(self.request(Method::GET, "/v1/status"), Duration::ZERO).await
    }

    /// The newest jobs that match.
    pub async fn list(&self, query: &ListQuery) -> Result<Vec<JobView>, ClientError> {
        let request = self.request(Method::GET, "/v1/jobs").query(query);
        let answer: JobsResponse = self.json(request, Duration::ZERO).await?;
        Ok(answer.jobs)
    }

    /// Every attempt at a job, newest first.
    pub async fn history(&self, id: &JobId) -> Result<HistoryResponse, ClientError> {
        let request = self.request(Method::GET, &format!("/v1/jobs/{id}/history"));
        self.json(request, Duration::ZERO).await
    }

    /// Gives dead letters a fresh budget and makes them ready; returns how many.
    pub async fn replay(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        self.count("/v1/dead-letters/replay", ids).await
    }

    /// Cancels dead letters; returns how many.
    pub async fn drop_dead(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        self.count("/v1/dead-letters/drop", ids).await
    }

    /// Ends an agent's quarantine; returns 1 if it was in one.
    pub async fn pardon(&self, agent: &AgentId) -> Result<u64, ClientError> {
        let request = self.request(Method::POST, &format!("/v1/agents/{agent}/pardon"));
        let answer: CountResponse = self.json(request, Duration::ZERO).await?;
        Ok(answer.count)
    }

    // Transport

    async fn count(&self, path: &str, ids: &[JobId]) -> Result<u64, ClientError> {
        let answer: CountResponse = self.post(path, &IdsRequest { ids: ids.to_vec() }).await?;
        Ok(answer.count)
    }

    async fn post<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<A, ClientError> {
        self.post_long(path, body, Duration::ZERO).await
    }

    async fn post_long<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        wait: Duration,
    ) -> Result<A, ClientError> {
        self.json(self.request(Method::POST, path).json(body), wait).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    async fn json<A: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        wait: Duration,
    ) -> Result<A, ClientError> {
        let response = self.send(request, wait).await?;
        let bytes = response.bytes().await.map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&bytes)
            .map_err(|source| ClientError::Answer { url: self.url.clone(), source: source.into() })
    }

    /// Sends, and repeats with a growing pause while the broker is away or asks to come later.
    async fn send(&self, request: RequestBuilder, wait: Duration) -> Result<Response, ClientError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let attempt = request.try_clone().unwrap_or_else(|| {
                // Only a streamed body cannot be cloned, and no request here has one.
                self.http.get(&self.url)
            });
            let result = match attempt.timeout(self.options.timeout + wait).send().await {
                Ok(response) => self.judge(response).await,
                Err(source) => Err(self.unreachable(source)),
            };
            match result {
                Err(error) if error.is_transient() && start.elapsed() < self.options.patience => {
                    tracing::debug!(%error, "broker away; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                other => return other,
            }
        }
    }

    async fn judge(&self, response: Response) -> Result<Response, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.unwrap_or_default();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| ErrorBody {
            code: "-".into(),
            message: String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned(),
        });
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let message = format!("{}: {}", body.code, body.message);
            return Err(ClientError::Overloaded { url: self.url.clone(), message });
        }
        Err(ClientError::Refused {
            status: status.as_u16(),
            broker_code: body.code,
            message: body.message,
        })
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), source }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
