//! Why an agent ends.

use rollmill_broker_client::ClientError;

/// Why an agent cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The broker rejected this agent: missing or invalid token, or quarantined.
    ///
    /// Do: Do what the message says: correct `--token`, or release the agent with `rollmill-broker pardon`.
    #[error("{}: the broker rejects this agent; {remedy}", self.code())]
    Refused {
        remedy: String,
        #[source]
        source: ClientError,
    },

    /// The directory for finished proofs cannot be used.
    ///
    /// Do: Check that `--spool-dir` exists or can be created, is writable, and has free space.
    #[error("{}: cannot use {path}; check --spool-dir", self.code())]
    Spool {
        path: String,
        #[source]
        source: std::io::Error,
    },

    /// Another agent uses the directory for finished proofs.
    ///
    /// Do: Stop the other agent, or set another `--spool-dir`.
    #[error("{}: {path} is in use by another agent; stop that agent, or give this one a --spool-dir of its own", self.code())]
    SpoolLocked { path: String },

    /// The name of a circuit or version is not one that the protocol allows.
    ///
    /// Do: A bug in Rollmill: report it with the log.
    #[error("{}: `{name}` cannot name a circuit or version", self.code())]
    CircuitName { name: String },

    /// The device was lost while the agent ran. The agent exits.
    ///
    /// Do: Let a supervisor restart the agent. If it recurs, read the driver's log and test the
    /// device.
    #[error("{}: the device was lost: {reason}; start the agent again", self.code())]
    DeviceLost { reason: String },

    /// The heartbeat thread cannot be started.
    ///
    /// Do: Raise the limit of threads or memory of the process (`ulimit -u`, the container's
    /// limits).
    #[error("{}: cannot start the heartbeat", self.code())]
    Heartbeat {
        #[source]
        source: std::io::Error,
    },
}

rollmill_errors::coded! {
    AgentError {
        Self::Refused { .. } => "AGT-020",
        Self::CircuitName { .. } => "AGT-021",
        Self::Heartbeat { .. } => "AGT-022",
        Self::DeviceLost { .. } => "AGT-023",
        Self::Spool { .. } => "AGT-024",
        Self::SpoolLocked { .. } => "AGT-025",
    }
}
