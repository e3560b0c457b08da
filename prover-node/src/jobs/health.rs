//! The connection to the broker as conditions, derived from its responses; also updated while idle.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{Answer, ClientError, UnableView};
use rollmill_service::Outage;

/// Temporary failures for this long make the condition `broker` false.
const PATIENCE: Duration = Duration::from_secs(30);

/// The reason of a condition before the first response.
const NOT_ASKED: &str = "the broker has not answered yet";

/// Whether something that the process needs is available, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub holds: bool,
    pub reason: String,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the broker has responded yet.
    answered: bool,
    outage: Outage,
    reason: String,
    token: Option<String>,
    /// Waiting job types that no live agent can do.
    unable: Vec<String>,
}

impl State {
    /// The broker responded, whatever it said.
    fn reached(&mut self) {
        if let Some(wait_seconds) = self.outage.ended() {
            tracing::info!(wait_seconds, "broker reachable again");
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The broker served a request.
    pub fn answered(&self) {
        let mut state = self.lock();
        state.reached();
        if state.token.take().is_some() {
            tracing::info!("broker token accepted again");
        }
        state.answered = true;
    }

    /// A request failed. Logged when the failures start, and then once a minute.
    pub fn failed(&self, error: &ClientError) {
        let answer = error.answer();
        let mut state = self.lock();
        let reason = rollmill_service::one_line(error);
        match answer {
            Answer::Transient => {
                if let Some(repeated) = state.outage.failed() {
                    tracing::warn!(error = reason, repeated, "broker unavailable; retrying");
                }
                state.reason = reason;
            }
            Answer::TokenRejected | Answer::Quarantined | Answer::IdentityTaken => {
                if state.token.is_none() {
                    tracing::error!(error = %reason, "broker token rejected; correct the setting token");
                }
                state.reached();
                state.token = Some(reason);
            }
            Answer::Incompatible
            | Answer::UnknownJob
            | Answer::VersionConflict
            | Answer::UnknownArtifact
            | Answer::ArtifactLost
            | Answer::NotUploaded
            | Answer::DigestMismatch
            | Answer::TooLarge
            | Answer::LeaseLost
            | Answer::Cancelled
            | Answer::UnknownSession
            | Answer::RejectedBefore => {
                state.reached();
                state.answered = true;
            }
        }
    }

    /// Records which waiting job types no live agent can do. Logged when it changes.
    pub fn unable(&self, types: &[UnableView]) {
        let text = |it: &UnableView| format!("{} {} of class {}", it.kind, it.version, it.class);
        let types: Vec<String> = types.iter().map(text).collect();
        let mut state = self.lock();
        if state.unable != types {
            if types.is_empty() {
                tracing::info!("live agents available for every waiting job");
            } else {
                tracing::warn!(
                    circuits = types.join(", "),
                    "no live agent for waiting jobs; start agents with these circuits and class"
                );
            }
            state.unable = types;
        }
    }

    /// Whether every waiting job has a live agent that can do it.
    pub fn agents(&self) -> Condition {
        let state = self.lock();
        Condition { holds: state.unable.is_empty(), reason: state.unable.join(", ") }
    }

    /// Whether the broker responds. Unknown before the first response, and no grace time applies until
    /// then.
    pub fn broker(&self) -> Condition {
        let state = self.lock();
        let failing = state.outage.lasted().map(|lasted| lasted >= PATIENCE);
        let answers = state.answered || state.token.is_some();
        let (holds, reason) = match failing {
            Some(true) => (false, state.reason.clone()),
            Some(false) if !answers => (false, state.reason.clone()),
            None if !answers => (false, NOT_ASKED.to_owned()),
            _ => (true, String::new()),
        };
        Condition { holds, reason }
    }

    /// Whether the broker accepts the token.
    pub fn token(&self) -> Condition {
        let state = self.lock();
        let (holds, reason) = match &state.token {
            Some(reason) => (false, reason.clone()),
            None if !state.answered => (false, NOT_ASKED.to_owned()),
            None => (true, String::new()),
        };
        Condition { holds, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A condition that holds is logged as met, and `/ready` depends on it.
    #[test]
    fn nothing_is_reported_to_hold_before_the_first_answer() {
        let health = Health::default();
        for condition in [health.broker(), health.token()] {
            assert_eq!(condition, Condition { holds: false, reason: NOT_ASKED.to_owned() });
        }
        health.failed(&ClientError::NotABroker { url: "http://x".to_owned(), status: 404 });
        assert!(!health.broker().holds && !health.broker().reason.is_empty());
        assert!(!health.token().holds);
        health.answered();
        assert!(health.broker().holds && health.token().holds);
        let rejected = ClientError::Rejected {
            status: 401,
            broker_code: "BRK-023".to_owned(),
            message: "a valid bearer token is required".to_owned(),
        };
        let fresh = Health::default();
        fresh.failed(&rejected);
        assert!(fresh.broker().holds, "it answers");
        assert!(!fresh.token().holds);
    }
}
