//! The interface to what does the jobs.

use std::sync::Arc;

use rollmill_broker_client::{FailureClass, WorkStats};
use serde::Serialize;

use crate::heartbeat::Cancel;
use crate::pace::Pace;

/// A job that needs only the device: call it to prove. `cancel` is as for [`Worker::prepare`].
pub type Prepared = Box<dyn FnOnce(&Cancel) -> Result<WorkOutput, WorkError> + Send>;

/// Something that can do jobs: a prover on a device, or a double in a test.
///
/// It is called from threads that may be busy for minutes: one proves at a time, while others
/// prepare.
pub trait Worker: Send + Sync + 'static {
    /// Types and versions of job it can do, as (type, version). Asked once, at start.
    fn circuits(&self) -> Vec<(String, String)>;

    /// The device it proves on, for the broker and for people.
    fn device(&self) -> DeviceReport {
        DeviceReport::default()
    }

    /// Types of job whose keys are loaded, for the broker's operator.
    fn resident_keys(&self) -> Vec<String> {
        Vec::new()
    }

    /// Proofs at a time and jobs to prepare meanwhile, where the settings do not say: one and none for a device
    /// whose proofs take every core that would prepare others.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// The part of a job of `kind` with this input that needs no device: reads and checks the input
    /// and computes the witness.
    ///
    /// `cancel` is set when the result is no longer needed; check it between stages and return
    /// [`WorkError::Cancelled`]. Ignoring it only costs time.
    fn prepare(
        self: Arc<Self>,
        kind: &str,
        input: &[u8],
        cancel: &Cancel,
    ) -> Result<Prepared, WorkError>;

    /// Loads one key that jobs would have to wait for, the most requested first. It is called while no
    /// job is held; `cancel` is set when one arrives, which the load must not delay.
    fn warm(&self, _cancel: &Cancel) -> Result<Warmed, WorkError> {
        Ok(Warmed::Nothing)
    }

    /// Checks a result as its producer will, before it leaves the machine.
    fn verify(&self, kind: &str, input: &[u8], result: &[u8]) -> Result<(), WorkError>;
}

/// What [`Worker::warm`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warmed {
    /// Loaded the key of this name.
    Loaded(String),
    /// Ended early, as it was asked to.
    Stopped,
    /// There is nothing left to load, or no memory.
    Nothing,
}

/// The device in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// `cpu`, `cuda`, `wgpu` or `icicle`; empty for a double.
    pub kind: String,
    /// As the device names itself.
    pub name: String,
    /// Of an NVIDIA card.
    pub uuid: Option<String>,
    /// The device's own memory; the machine's for the CPU.
    pub memory_bytes: Option<u64>,
    /// Version of the driver, where it is known.
    pub driver: Option<String>,
    /// Threads in use on the host.
    pub threads: usize,
}

/// A finished job.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkOutput {
    /// The result as it will be stored: canonical bytes.
    pub result: Vec<u8>,
    /// Reported with it.
    pub stats: WorkStats,
}

/// Why a job could not be done. The broker reads the class, not the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// Temporary failure. Retrying may succeed, on this agent or another.
    ///
    /// Do: Nothing: the broker offers the job again. If it recurs on one agent, read that agent's
    /// log and run `rollmill-agent check`.
    #[error("{}: {message}", self.code())]
    Transient { message: String },

    /// The job does not fit in the memory of this device.
    ///
    /// Do: Nothing: the broker offers the job to an agent of a larger `--class`. If `rollmill-broker status`
    /// lists no such agent, start one, or lower `--proofs-in-flight` and `--key-cache-mib`.
    #[error("{}: does not fit in memory: {message}", self.code())]
    OutOfMemory { message: String },

    /// The device was lost, and every proof on it. The agent exits.
    ///
    /// Do: Let a supervisor restart the agent. If it recurs, read the driver's log (`dmesg` shows
    /// Xid lines for NVIDIA cards) and replace the card.
    #[error("{}: the device was lost: {message}", self.code())]
    DeviceLost { message: String },

    /// The proof made here does not verify. The device or its driver computes wrong values.
    ///
    /// Do: Take the agent out of service and test the device: `rollmill-bench run --only msm,ntt` compares
    /// it with the CPU. After repair, release the agent from quarantine with `rollmill-broker pardon`.
    #[error("{}: the proof made here does not verify: {message}", self.code())]
    InvalidProof { message: String },

    /// The worker does not know the job's circuit.
    ///
    /// Do: Run agent, broker and prover node of the same release.
    #[error("{}: no circuit `{kind}` of the requested version; run agent, broker and prover node of the same release", self.code())]
    VersionMismatch { kind: String },

    /// The input cannot be decoded or violates a constraint. Retrying cannot help.
    ///
    /// Do: Run agent and prover node of the same release. If they are, run `rollmill-prover-node replay` on
    /// the range's capture and report the job that it names.
    #[error("{}: the input is wrong: {message}", self.code())]
    BadInput { message: String },

    /// The work was cancelled because its lease was lost.
    ///
    /// Do: Nothing: another agent has the job, or nobody needs it any more.
    #[error("{}: cancelled, because the lease was lost", self.code())]
    Cancelled,
}

rollmill_errors::coded! {
    WorkError {
        Self::Transient { .. } => "AGT-001",
        Self::OutOfMemory { .. } => "AGT-002",
        Self::InvalidProof { .. } => "AGT-003",
        Self::VersionMismatch { .. } => "AGT-004",
        Self::BadInput { .. } => "AGT-005",
        Self::Cancelled => "AGT-006",
        Self::DeviceLost { .. } => "AGT-007",
    }
}

impl WorkError {
    /// The class that the broker gets; none when the lease is lost.
    pub const fn class(&self) -> Option<FailureClass> {
        match self {
            // The job is unharmed: another agent can do it immediately.
            Self::Transient { .. } | Self::DeviceLost { .. } => Some(FailureClass::Transient),
            Self::OutOfMemory { .. } => Some(FailureClass::OutOfMemory),
            Self::InvalidProof { .. } => Some(FailureClass::InvalidProof),
            Self::VersionMismatch { .. } => Some(FailureClass::VersionMismatch),
            Self::BadInput { .. } => Some(FailureClass::BadInput),
            Self::Cancelled => None,
        }
    }
}
