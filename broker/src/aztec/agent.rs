//! What agents ask for and report.
//!
//! They send no name and no number of a lease. A name is made of the address and the types that the agent
//! lists. The `time` of a grant, which an agent sends back with its progress, is the lease: the time when
//! the job was enqueued, in milliseconds, plus the number of the lease.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use rollmill_broker_client::{
    AgentId, ClaimRequest, CompleteRequest, Digest, FailRequest, FailureClass, Grant,
    HeartbeatRequest, JobState, LeaseEpoch, LeaseRef, SizeClass,
};

use super::producer::{parse_id, text};
use super::types;
use super::wire::{Arguments, Filter, Granted, GrantedJob, Outcome, Text};
use super::{Refusal, Session};
use crate::api::{clean_text, direct};
use crate::error::BrokerError;
use crate::store::AztecJob;

/// How long a report waits for the next job, which comes with its answer.
const NEXT: Duration = Duration::from_millis(200);
/// The attempt from which on an agent is believed that no retry helps. Aztec's broker makes as many.
const ATTEMPTS: u32 = 3;

impl Session<'_> {
    pub(super) async fn get_job(
        &self,
        arguments: &Arguments<'_>,
        wait: Option<Duration>,
    ) -> Result<Outcome, Refusal> {
        let filter = arguments.optional(0, "filter")?;
        self.hand_out(filter.as_ref(), wait.unwrap_or(NEXT).max(NEXT)).await
    }

    /// Takes a result: the first one of a job, from whom ever, as Aztec's broker does.
    pub(super) async fn success(&self, arguments: &Arguments<'_>) -> Result<Outcome, Refusal> {
        let (Text(id), Text(uri)) =
            (arguments.required(0, "id")?, arguments.required(1, "resultUri")?);
        let filter: Option<Filter> = arguments.optional(2, "filter")?;
        let id = parse_id(&id)?;
        if let Some(job) = self.find(&id).await?
            && !matches!(job.state, JobState::Done | JobState::Cancelled)
        {
            let _copy = self.shared.admission.more(uri.len())?;
            let uri = Bytes::from(uri.into_owned());
            let result = direct::put_artifact(self.shared, self.bearer, id.epoch(), uri).await?;
            let lease = LeaseRef { job: id, lease_epoch: job.lease_epoch };
            let request = CompleteRequest::new(self.agent(filter.as_ref()), lease, result);
            match direct::complete(self.shared, self.bearer, request).await {
                // It was settled or deleted meanwhile.
                Ok(_) | Err(BrokerError::Cancelled { .. } | BrokerError::UnknownJob { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.hand_out(filter.as_ref(), NEXT).await
    }

    /// Takes a failure of the agent that holds the job. That no retry helps is believed in the third attempt:
    /// programs that fail for want of memory say so too.
    pub(super) async fn error(&self, arguments: &Arguments<'_>) -> Result<Outcome, Refusal> {
        let (Text(id), Text(message)) =
            (arguments.required(0, "id")?, arguments.required(1, "message")?);
        let retry = arguments.optional(2, "retry")?.unwrap_or(false);
        let filter: Option<Filter> = arguments.optional(3, "filter")?;
        let (id, agent) = (parse_id(&id)?, self.agent(filter.as_ref()));
        if let Some(job) = self.find(&id).await?
            && job.holder.as_ref() == Some(&agent)
        {
            let class = match retry || job.attempts < ATTEMPTS {
                true => FailureClass::Transient,
                false => FailureClass::BadInput,
            };
            let lease = LeaseRef { job: id, lease_epoch: job.lease_epoch };
            let request = FailRequest { agent, lease, class, message: clean_text(&message) };
            match direct::fail(self.shared, self.bearer, request).await {
                Ok(()) | Err(BrokerError::LeaseLost { .. } | BrokerError::UnknownJob { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.hand_out(filter.as_ref(), NEXT).await
    }

    /// Keeps a lease. Whoever lost it gets another job, which makes its agent drop this one.
    pub(super) async fn progress(&self, arguments: &Arguments<'_>) -> Result<Outcome, Refusal> {
        let Text(id) = arguments.required(0, "id")?;
        let time: f64 = arguments.required(1, "startedAt")?;
        let filter: Option<Filter> = arguments.optional(2, "filter")?;
        let id = parse_id(&id)?;
        let kept = match self.find(&id).await? {
            Some(job) => self.keep(&job, time, filter.as_ref()).await?,
            None => false,
        };
        match kept {
            true => Ok(Outcome::Nothing),
            false => self.hand_out(filter.as_ref(), NEXT).await,
        }
    }

    async fn keep(
        &self,
        job: &AztecJob,
        time: f64,
        filter: Option<&Filter>,
    ) -> Result<bool, BrokerError> {
        if lease_of(job, time) != Some(job.lease_epoch) {
            return Ok(false);
        }
        let lease = LeaseRef { job: job.id.clone(), lease_epoch: job.lease_epoch };
        match (&job.holder, job.state) {
            (Some(holder), _) => {
                let request = HeartbeatRequest { agent: holder.clone(), leases: vec![lease] };
                direct::heartbeat(self.shared, self.bearer, request).await
            }
            (None, JobState::Ready | JobState::Delayed) => {
                let agent = self.agent(filter);
                let store = &self.shared.store;
                store.resume(&self.bearer.tenant, &job.id, job.lease_epoch, &agent).await
            }
            (None, _) => Ok(false),
        }
    }

    /// A job that the agent can do, if there is one within `wait`.
    async fn hand_out(&self, filter: Option<&Filter>, wait: Duration) -> Result<Outcome, Refusal> {
        let (allowed, wants) = match filter {
            Some(filter) => (filter.allow_list.0.as_slice(), filter.allow_new_jobs != Some(false)),
            None => (&[][..], true),
        };
        let capabilities = types::capabilities(allowed);
        // One wait for nothing is enough for a request, however many of its calls would get a job.
        if !wants || capabilities.is_empty() || self.is_dry.load(Ordering::Relaxed) {
            return Ok(Outcome::Nothing);
        }
        let agent = self.agent(filter);
        let request = ClaimRequest {
            agent: agent.clone(),
            capabilities,
            class: SizeClass::LARGEST,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0),
            info: serde_json::json!({ "software": "aztec" }),
            session: None,
        };
        match direct::claim(self.shared, self.bearer, request).await? {
            None => {
                self.is_dry.store(true, Ordering::Relaxed);
                Ok(Outcome::Nothing)
            }
            Some(grant) => self.granted_job(grant, agent).await,
        }
    }

    async fn granted_job(&self, grant: Grant, agent: AgentId) -> Result<Outcome, Refusal> {
        self.granted(&grant, agent.clone());
        let Some(job) = self.find(&grant.job).await? else {
            // Deleted with its epoch since.
            return Ok(Outcome::Nothing);
        };
        let uri = match direct::get_artifact(self.shared, self.bearer, job.input).await {
            Ok(uri) => uri,
            Err(BrokerError::ArtifactLost { .. } | BrokerError::UnknownArtifact { .. }) => {
                let lease = LeaseRef { job: job.id, lease_epoch: grant.lease_epoch };
                let message = "the broker cannot read the inputs".to_owned();
                let class = FailureClass::InputMissing;
                let request = FailRequest { agent, lease, class, message };
                direct::fail(self.shared, self.bearer, request).await?;
                return Ok(Outcome::Nothing);
            }
            Err(error) => return Err(error.into()),
        };
        if !self.hold(uri.len())? {
            // The other answers of this request hold enough; whoever asks next gets it.
            self.take_back_last().await;
            return Ok(Outcome::Nothing);
        }
        let number = types::number_of(&job.version)
            .ok_or_else(|| BrokerError::Corrupt { what: "an Aztec job's version".into() })?;
        let time = job.created_unix_ms.saturating_add(grant.lease_epoch.0);
        let (id, epoch_number) = (job.id.to_string(), job.id.epoch());
        let job = GrantedJob { id, r#type: number, epoch_number, inputs_uri: text(uri)? };
        Ok(Outcome::Granted(Granted { job, time }))
    }

    fn agent(&self, filter: Option<&Filter>) -> AgentId {
        agent_of(self.peer, filter.map_or(&[], |filter| &filter.allow_list.0))
    }
}

/// The lease that a time stands for.
fn lease_of(job: &AztecJob, time: f64) -> Option<LeaseEpoch> {
    let since = time - job.created_unix_ms as f64;
    // Exact: both are whole numbers below 2^53.
    (since.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&since))
        .then_some(LeaseEpoch(since as u64))
}

/// The name of an agent at this address that lists these types.
fn agent_of(peer: SocketAddr, allowed: &[u32]) -> AgentId {
    let host = match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.to_string().replace(':', "-"),
    };
    let mut sorted = allowed.to_vec();
    sorted.sort_unstable();
    let list: Vec<u8> = sorted.iter().flat_map(|number| number.to_be_bytes()).collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(|byte| Digest::of(&list).0[byte]);
    AgentId::of_process(&format!("aztec-{host}"), u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::JobId;

    use super::*;

    #[test]
    fn a_time_is_a_lease_of_its_job_or_none() {
        let id: JobId = format!("5:PARITY_BASE:{}", Digest::of(b"x")).parse().unwrap();
        let job = AztecJob {
            input: id.input(),
            id,
            version: "aztec.16".parse().unwrap(),
            state: JobState::Ready,
            attempts: 0,
            result: None,
            lease_epoch: LeaseEpoch(0),
            holder: None,
            failure: None,
            created_unix_ms: 1_764_000_000_000,
        };
        for (time, lease) in [
            (1_764_000_000_000.0, None),
            (1_764_000_000_001.0, Some(1)),
            (1_764_000_000_001.5, None),
            (1_764_004_294_967.0, Some(4_294_967)),
            (1_763_999_999_999.0, None),
            (f64::MAX, None),
            (0.0, None),
        ] {
            assert_eq!(lease_of(&job, time), lease.map(LeaseEpoch), "{time}");
        }
    }

    #[test]
    fn an_agent_is_named_by_its_address_and_its_list() {
        let name =
            |peer: &str, allowed: &[u32]| agent_of(peer.parse().unwrap(), allowed).to_string();
        let all = name("10.0.0.5:4711", &[]);
        assert!(all.starts_with("aztec-10.0.0.5-"), "{all}");
        assert_eq!(name("10.0.0.5:1", &[]), all, "the port changes");
        assert_eq!(name("[::ffff:10.0.0.5]:1", &[]), all);
        assert_ne!(name("10.0.0.6:1", &[]), all);
        assert_ne!(name("10.0.0.5:1", &[3]), all);
        assert_eq!(name("10.0.0.5:1", &[3, 4]), name("10.0.0.5:1", &[4, 3]));
        assert!(name("[2001:db8::1]:1", &[]).starts_with("aztec-2001-db8--1-"));
    }
}
