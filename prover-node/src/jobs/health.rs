//! What the broker's answers say about the connection, as conditions that are told while idle too.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollmill_broker_client::{Answer, ClientError, UnableView};

/// Passing failures for this long make the condition `broker` false.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether something that the process needs is there, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub holds: bool,
    pub reason: String,
}

#[derive(Debug, Default)]
struct State {
    /// Whether anything was answered yet.
    answered: bool,
    failing_since: Option<Instant>,
    reason: String,
    token: Option<String>,
    /// Waiting job types that no live agent can do.
    unable: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker did what it was asked.
    pub fn answered(&self) {
        let mut state = self.lock();
        if let Some(since) = state.failing_since.take() {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!(seconds, "broker is reachable again");
        }
        if state.token.take().is_some() {
            tracing::info!("broker accepts the token again");
        }
        state.answered = true;
    }

    /// The broker did not. Logged when it starts.
    pub fn failed(&self, error: &ClientError) {
        let answer = error.answer();
        let mut state = self.lock();
        let reason = rollmill_service::one_line(error);
        match answer {
            Answer::Passing => {
                if state.failing_since.is_none() {
                    tracing::warn!(error = %reason, "broker is unavailable; retrying until it answers");
                    state.failing_since = Some(Instant::now());
                }
                state.reason = reason;
            }
            Answer::TokenRejected | Answer::Quarantined => {
                if state.token.is_none() {
                    tracing::error!(error = %reason, "broker rejects the token; check the setting token; retrying every 30 s");
                }
                state.failing_since = None;
                state.token = Some(reason);
            }
            _ => {
                state.failing_since = None;
                state.answered = true;
            }
        }
    }

    /// Takes in which waiting job types no live agent can do. Logged when it changes.
    pub fn unable(&self, types: &[UnableView]) {
        let text = |it: &UnableView| format!("{} {} of class {}", it.kind, it.version, it.class);
        let types: Vec<String> = types.iter().map(text).collect();
        let mut state = self.lock();
        if state.unable != types {
            if types.is_empty() {
                tracing::info!("every waiting job has an agent able to do it");
            } else {
                tracing::warn!(
                    types = types.join(", "),
                    "jobs wait and no live agent can do them; start agents with these circuits and class"
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

    /// Whether the broker answers.
    pub fn broker(&self) -> Condition {
        let state = self.lock();
        let failing = state.failing_since.is_some_and(|since| {
            // Before the first answer there is nothing to be patient about.
            !state.answered || since.elapsed() >= PATIENCE
        });
        Condition {
            holds: !failing,
            reason: if failing { state.reason.clone() } else { String::new() },
        }
    }

    /// Whether the broker accepts the token.
    pub fn token(&self) -> Condition {
        let state = self.lock();
        Condition { holds: state.token.is_none(), reason: state.token.clone().unwrap_or_default() }
    }
}
