//! How an agent asks for a job: in a session, where it has an installation and the broker knows sessions.

use std::time::Duration;

use rollmill_broker_client::{
    Answer, ClaimRequest, ClientError, Grant, HeartbeatRequest, Scope, SessionDevice,
    SessionRequest,
};
use rollmill_service::{Backoff, one_line};

use super::{Agent, AgentError, INCOMPATIBLE};
use crate::session::Wanted;
use crate::worker::Worker;

/// Name and release of this program.
const SOFTWARE: &str = concat!("rollmill-agent ", env!("CARGO_PKG_VERSION"));
const CLAIM_WAIT: Duration = Duration::from_secs(20);

/// What whoever runs an agent can do about an answer that ends it.
fn remedy(answer: Answer) -> &'static str {
    match answer {
        Answer::Quarantined => {
            "an operator can end it with `rollmill-broker pardon` and the name that the broker states"
        }
        Answer::IdentityTaken => {
            "give each agent a --name of its own, and under a token of the role agent run one"
        }
        _ => "set --token to a token of role agent (`rollmill-broker tokens add`)",
    }
}

impl<W: Worker + ?Sized> Agent<W> {
    /// Asks for a job once. None if there was none in time, the broker cannot be reached, the spool is
    /// full, or the agent is to stop. `retry` has the pauses after requests that failed.
    pub(super) async fn claim(&self, retry: &mut Backoff) -> Result<Option<Grant>, AgentError> {
        if self.leaving.is_started() {
            return Ok(None);
        }
        if !self.spool.has_space() {
            self.wait_for_spool().await;
            return Ok(None);
        }
        if !self.link.is_up() {
            self.greet().await;
        }
        rollmill_service::failpoint!("agent.before_claim");
        let token = self.token.as_ref().map(|token| (token, token.present()));
        let claimed = tokio::select! {
            claimed = self.ask_for_job() => claimed,
            () = self.leaving.started() => return Ok(None),
        };
        let source = match claimed {
            Ok(grant) => {
                self.link.reached();
                retry.reset();
                return Ok(grant);
            }
            Err(source) => source,
        };
        let answer = source.answer();
        let next = match (answer, answer.scope()) {
            // The next claim opens another.
            (Answer::UnknownSession, _) => {
                self.sessions.ended();
                retry.pause()
            }
            // A broker of a release before sessions is among the replicas. It takes a claim without one.
            (Answer::Incompatible, _) if self.sessions.give_up() => retry.pause(),
            // It was rotated, and the overlap is over.
            (Answer::TokenRejected, _)
                if token.as_ref().is_some_and(|(token, before)| token.is_other_than(before)) =>
            {
                retry.pause()
            }
            (_, Scope::Client) => {
                return Err(AgentError::Refused { remedy: remedy(answer).to_owned(), source });
            }
            (_, Scope::Broker) => {
                self.link.failed(&source);
                // An answer that was lost may have been a grant, of which nobody would know until the lease expires. A
                // new session returns it at once; it would return what the agent works on, too.
                if source.broker_code().is_none() && self.held().is_empty() {
                    self.sessions.ended();
                }
                retry.pause()
            }
            // Nothing that a claim is answered with, or of another release. An upgrade of either
            // side changes it.
            (_, Scope::Request) => {
                self.link.differs(&source);
                let pause = Backoff::steady(INCOMPATIBLE).pause();
                let (error, retry_seconds) = (one_line(&source), pause.as_secs_f64());
                tracing::error!(error, retry_seconds, "broker incompatible with this agent");
                pause
            }
        };
        self.leaving.within(next).await;
        Ok(None)
    }

    /// Opens a session if there is none, and claims a job in it.
    async fn ask_for_job(&self) -> Result<Option<Grant>, ClientError> {
        if let Some(request) = self.sessions.wanted() {
            let request = self.session_request(request);
            let opened = self.once.open_session(&request).await?;
            if opened.is_shared {
                tracing::warn!(
                    agent = %opened.agent,
                    "another live agent has this installation; was its disk copied?"
                );
            }
            tracing::info!(agent = %opened.agent, returned = opened.returned, "session opened");
            self.sessions.opened(opened.session);
        }
        let answer = self.once.claim_or_leave(&self.claim_request()).await?;
        self.leaving.heard(answer.drain, answer.drain_by.as_deref());
        Ok(answer.grant)
    }

    fn session_request(&self, Wanted { installation, replaces }: Wanted) -> SessionRequest {
        let device = self.worker.device();
        SessionRequest {
            agent: self.id.clone(),
            installation,
            replaces,
            capabilities: self.capabilities.clone(),
            class: self.class,
            software: SOFTWARE.to_owned(),
            device: SessionDevice {
                uuid: device.uuid,
                kind: device.kind,
                name: device.name,
                memory_bytes: device.memory_bytes,
                driver: device.driver,
                threads: u64::try_from(device.threads).ok(),
            },
            resident_keys: self.worker.resident_keys(),
            seconds: std::collections::BTreeMap::new(),
        }
    }

    /// Asks the broker for nothing. A claim is answered when there is a job, so that before the first one
    /// and after an outage nobody would know for a while whether the broker is there.
    async fn greet(&self) {
        let nothing = HeartbeatRequest { agent: self.id.clone(), leases: Vec::new() };
        match self.once.heartbeat(&nothing).await {
            Ok(answer) => {
                self.link.reached();
                self.leaving.heard(answer.drain, answer.drain_by.as_deref());
            }
            Err(error) if error.answer() == Answer::Transient => self.link.failed(&error),
            // The claim is answered with the same, and acts on it.
            Err(_) => {}
        }
    }

    fn claim_request(&self) -> ClaimRequest {
        ClaimRequest {
            agent: self.id.clone(),
            capabilities: self.capabilities.clone(),
            class: self.class,
            wait_ms: u64::try_from(CLAIM_WAIT.as_millis()).unwrap_or(u64::MAX),
            info: serde_json::json!({
                "software": SOFTWARE,
                "device": self.worker.device(),
            }),
            session: self.sessions.current(),
        }
    }
}
