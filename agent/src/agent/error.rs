//! Why an agent ends.

use rollmill_broker_client::ClientError;

/// Why an agent cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The broker rejected this agent's token, or the agent is in quarantine.
    #[error("{}: the broker rejects this agent; {remedy}", self.code())]
    Refused {
        remedy: String,
        #[source]
        source: ClientError,
    },

    /// The directory of finished proofs cannot be used.
    #[error("{}: cannot use {path}; check --spool-dir", self.code())]
    Spool {
        path: String,
        #[source]
        source: std::io::Error,
    },

    /// Another agent works with the directory of finished proofs.
    #[error("{}: {path} is in use by another agent; stop that agent, or give this one a --spool-dir of its own", self.code())]
    SpoolLocked { path: String },

    /// The worker names a type or version that cannot be one.
    #[error("{}: `{name}` cannot name a circuit or version", self.code())]
    CircuitName { name: String },

    /// The device went away while the agent ran. What supervises the process starts it again.
    #[error("{}: the device was lost: {reason}; start the agent again", self.code())]
    DeviceLost { reason: String },

    /// The heartbeat's thread cannot be started.
    #[error("{}: cannot start the heartbeat", self.code())]
    Heart {
        #[source]
        source: std::io::Error,
    },
}

impl AgentError {
    /// Stable identifier. Never reused.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "AGT-020",
            Self::CircuitName { .. } => "AGT-021",
            Self::Heart { .. } => "AGT-022",
            Self::DeviceLost { .. } => "AGT-023",
            Self::Spool { .. } => "AGT-024",
            Self::SpoolLocked { .. } => "AGT-025",
        }
    }
}
